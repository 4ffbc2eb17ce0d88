"""Runs clang-tidy over every source in the compile commands, several at a time, and remembers what had no findings.

Most of clang-tidy's time goes into the library headers that each source includes, so the sources of one target are analysed
together, as one unit; where they do not compile so (two anonymous functions of one name), one by one.
A unit is not analysed again while its preprocessed text (comments included, because of NOLINT), its compile command, the
configuration and clang-tidy itself are what they were when it had no findings. Exits 1 if there are findings.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

SOURCES_IN_A_UNIT = 12


def compile_flags(entry):
    """The words of the entry's compile command without the compiler, its launcher, the source and the outputs."""
    words = shlex.split(entry["command"])
    flags = []
    after_compiler = skip = False
    for word in words:
        if not after_compiler:
            after_compiler = "ccache" not in os.path.basename(word)
        elif skip:
            skip = False
        elif word in ("-o", "-MF", "-MT", "-MQ"):
            skip = True
        elif word not in ("-c", "-MD", "-MMD", entry["file"]):
            flags.append(word)
    return tuple(flags)


def run(command, folder):
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


class Checker:
    def __init__(self, options):
        self.options = options
        options.cache.mkdir(parents=True, exist_ok=True)
        version = subprocess.run([options.clang_tidy, "--version"], stdout=subprocess.PIPE, check=True).stdout
        self.common = version + (options.source / ".clang-tidy").read_bytes()
        self.units = options.build / "clang-tidy-units"
        self.units.mkdir(exist_ok=True)

    def unit_file(self, sources):
        """Returns the file to analyse and where each source begins in it: [(first line - 1, source)].

        The sources stand in it one after the other, not as #includes: the analyzer looks at the main file only. What an
        earlier source has included already is blanked once, so that only a second time in one source counts as twice.
        """
        if len(sources) == 1:
            return pathlib.Path(sources[0]), []
        lines, starts, seen = [], [], set()
        for source in sources:
            starts.append((len(lines), source))
            text = pathlib.Path(source).read_text(encoding="utf-8", errors="surrogateescape").split("\n")
            once = set(seen)
            for line in text:
                lines.append("" if line in once else line)
                once.discard(line)
            seen.update(line for line in text if line.startswith("#include"))
        name = hashlib.sha256("\0".join(sources).encode()).hexdigest()[:16]
        path = self.units / (name + pathlib.Path(sources[0]).suffix)
        path.write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")
        return path, starts

    @staticmethod
    def in_sources(findings, unit, starts):
        """The findings with places in the unit told as places in its sources."""
        def place(match):
            line = int(match[1])
            start, source = [entry for entry in starts if entry[0] < line][-1]
            return f"{source}:{line - start}:"
        return re.sub(re.escape(str(unit)) + r":(\d+):", place, findings) if starts else findings

    def check(self, folder, flags, sources):
        """Returns (how many sources were analysed, how many were remembered, findings)."""
        unit, starts = self.unit_file(sources)
        language = [] if unit.suffix == ".c" else ["-x", "c++"]
        compiler = "clang" if unit.suffix == ".c" else "clang++"
        text = run([compiler, *flags, "-E", "-C", *language, str(unit)], folder)
        known = None
        if text.returncode == 0:
            key = hashlib.sha256(b"\0".join([self.common, repr(flags).encode(), text.stdout])).hexdigest()
            known = self.options.cache / key
            if known.exists():
                return 0, len(sources), ""
        if len(sources) > 1 and run([compiler, *flags, "-fsyntax-only", "-w", str(unit)], folder).returncode != 0:
            parts = [self.check(folder, flags, [source]) for source in sources]
            return sum(part[0] for part in parts), sum(part[1] for part in parts), "".join(part[2] for part in parts)
        tidy = run([self.options.clang_tidy, "--quiet", f"--config-file={self.options.source / '.clang-tidy'}", str(unit),
                    "--", *flags], folder)
        if tidy.returncode == 0:
            if known is not None:
                known.touch()
            return len(sources), 0, ""
        findings = (tidy.stdout if tidy.stdout.strip() else tidy.stderr).decode(errors="replace")
        return len(sources), 0, self.in_sources(findings, unit, starts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clang-tidy", required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("files", nargs="*", help="only sources whose path contains one of these")
    options = parser.parse_args()

    checker = Checker(options)
    generated = str(options.source / "build") + os.sep
    targets = collections.defaultdict(dict)
    for entry in json.loads((options.build / "compile_commands.json").read_text()):
        name = entry["file"]
        if name.startswith(generated) or not re.search(r"\.(cc|c)$", name):
            continue
        if not options.files or any(part in name for part in options.files):
            targets[(entry["directory"], compile_flags(entry), os.path.dirname(name), name.endswith("_fuzz.cc"))][name] = None
    units = []
    for (folder, flags, _, fuzz), names in targets.items():
        # Every fuzz target defines the same function.
        size = 1 if fuzz else SOURCES_IN_A_UNIT
        names = sorted(names)
        units += [(folder, flags, names[i:i + size]) for i in range(0, len(names), size)]
    if not units:
        print("no sources to check")
        return 1

    analysed = remembered = failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for future in concurrent.futures.as_completed([pool.submit(checker.check, *unit) for unit in units]):
            some_analysed, some_remembered, findings = future.result()
            analysed += some_analysed
            remembered += some_remembered
            if findings:
                failed += 1
                print(findings, flush=True)
    print(f"{analysed} sources analysed, {remembered} as they were when they had no findings, {failed} units with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
