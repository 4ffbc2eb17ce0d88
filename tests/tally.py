"""Counts test results: CTest's JUnit file and the GoogleTest XML files of the programs that CTest ran.

A GoogleTest program counts with its cases, anything else that CTest ran (fuzz targets, checks of the sources) as one test.
Prints every failure and every skip with its reason, then "N passed, N failed, N skipped". Exits 1 if a test failed or
none ran.
"""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def add_gtest(self, build, path):
        """Adds a program's cases; returns whether any of them failed."""
        any_failed = False
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            name = f"{build}: {case.get('classname')}.{case.get('name')}"
            skipped = case.find("skipped")
            if case.find("failure") is not None:
                self.failed.append(name)
                any_failed = True
            elif skipped is not None:
                # The message's first line is the place in the source.
                reason = (skipped.get("message") or "").split("\n", 1)[-1]
                self.skipped.append((name, reason))
            elif case.get("status") == "notrun":
                self.skipped.append((name, "disabled in the source"))
            else:
                self.passed += 1
        return any_failed

    def add_ctest(self, build, case):
        name = f"{build}: {case.get('name')}"
        skipped = case.find("skipped")
        if case.get("status") == "run":
            self.passed += 1
        elif case.get("status") == "disabled":
            self.skipped.append((name, "disabled in CMakeLists.txt"))
        elif skipped is not None and skipped.get("message", "").startswith("SKIP_"):
            output = (case.findtext("system-out") or "").strip().split("\n")[-1]
            self.skipped.append((name, output))
        elif skipped is not None:  # A program that is not there, or a fixture that failed: nothing was tested.
            self.failed.append(f"{name}: {skipped.get('message')}")
        else:
            self.failed.append(name)

    def add_results(self, folder):
        build = folder.parent.name
        ctest = folder / "ctest.xml"
        try:
            cases = {case.get("name"): case for case in ElementTree.parse(ctest).getroot().iter("testcase")}
        except (OSError, ElementTree.ParseError) as error:
            self.failed.append(f"{build}: ctest left no results: {error}")
            return
        for path in sorted((folder / "gtest").glob("*.xml")):
            try:
                any_failed = self.add_gtest(build, path)
            except ElementTree.ParseError as error:
                self.failed.append(f"{build}: {path.stem}: its results are broken: {error}")
                any_failed = True
            case = cases.pop(path.stem, None)
            # Cases that all passed in a program that failed: it crashed, leaked or timed out after them.
            if case is not None and case.get("status") == "fail" and not any_failed:
                self.failed.append(f"{build}: {path.stem} (the program failed after its tests)")
        for case in cases.values():
            self.add_ctest(build, case)


def one_line(text):
    return " ".join(text.split())


def main(folders):
    tally = Tally()
    for folder in folders:
        tally.add_results(pathlib.Path(folder))
    for name, reason in tally.skipped:
        print(f"skipped  {one_line(name)}: {one_line(reason) or 'no reason given'}")
    for name in tally.failed:
        print(f"FAILED   {one_line(name)}")
    print(f"{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
    return 1 if tally.failed or tally.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
