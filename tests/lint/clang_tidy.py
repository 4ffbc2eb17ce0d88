"""Runs clang-tidy over every source in the compile commands, several at a time, and remembers what had no findings.

Most of clang-tidy's time goes into the library headers that each source includes, so many sources are analysed together, as
one unit. No two of a unit declare the same name (an anonymous function, a fixture); a source that still does not compile
after the others of its unit is analysed apart from them.
A unit is not analysed again while its preprocessed text (comments included, because of NOLINT), its compile command, the
configuration and clang-tidy itself are what they were when it had no findings. Exits 1 if there are findings.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

SOURCES_IN_A_UNIT = 24
FUZZ_ENTRY = "LLVMFuzzerTestOneInput"


def compile_flags(entry):
    """The words of the entry's compile command without the compiler, its launcher, the source, the outputs and what is
    precompiled, which would stand for an #include that a source lacks."""
    words = shlex.split(entry["command"])
    launcher = next((i for i, word in enumerate(words) if os.path.basename(word) == "ccache"), -1)
    flags = []
    skip = False
    for word in words[launcher + 2:]:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MT", "-MQ", "-include", "-Xclang"):
            skip = True
        elif word not in ("-c", "-MD", "-MMD", "-Winvalid-pch", entry["file"]):
            flags.append(word)
    return tuple(flags)


def split_flags(flags):
    """The flags in which targets differ (definitions, system folders), as a list of tuples, and the others."""
    differing, others = [], []
    words = iter(flags)
    for word in words:
        if word == "-isystem":
            differing.append((word, next(words)))
        elif word.startswith("-D"):
            differing.append((word,))
        else:
            others.append(word)
    return differing, tuple(others)


def declared_names(text):
    """What the text declares in each namespace, by its layout: clang-format puts such declarations into column 0.

    A name too many only makes a unit smaller. One that is missed is found when the unit does not compile.
    """
    names, namespaces = set(), [""]
    for line in text.split("\n"):
        if re.match(r"(?:namespace \w+ =|using namespace )", line):
            continue
        if match := re.match(r"namespace(?: ([\w:]+))? \{", line):
            namespaces.append(namespaces[-1] + (f"::{match[1]}" if match[1] else ""))
        elif re.match(r"\}  // namespace", line) and len(namespaces) > 1:
            namespaces.pop()
        elif match := re.match(r"(?:INSTANTIATE_)?TEST\w*\((\w+), (\w+)", line):
            names.add(f"{namespaces[-1]}::{match[1]}.{match[2]}")
        elif match := re.match(r"#define (\w+)", line):
            names.add(match[1])
        elif match := re.match(r"(?:class|struct|enum class|enum) (?:\[\[\w+\]\] )?(\w+)[^;]*$", line):
            names.add(f"{namespaces[-1]}::{match[1]}")
        elif match := re.match(r"using (\w+) = ", line):
            names.add(f"{namespaces[-1]}::{match[1]}")
        elif match := re.match(r"[A-Za-z_][^=(]*?\b(\w+)(?:\[\w*\])? ?[=({]", line):
            names.add(f"{namespaces[-1]}::{match[1]}")
    return names - {"::" + FUZZ_ENTRY}


def plan(entries):
    """The units: [(folder, flags, sources)]. Targets whose flags do not contradict each other share units."""
    groups = []
    for folder, flags, name in entries:
        differing, others = split_flags(flags)
        kind = next((end for end in ("_fuzz.cc", "_test.cc") if name.endswith(end)), pathlib.Path(name).suffix)
        values = dict((words[0].split("=")[0], words) for words in differing if words[0] != "-isystem")
        for group in groups:
            if group["key"] == (folder, others, kind) and all(group["values"].get(k, v) == v for k, v in values.items()):
                break
        else:
            group = {"key": (folder, others, kind), "values": {}, "differing": {}, "names": []}
            groups.append(group)
        group["values"].update(values)
        group["differing"].update(dict.fromkeys(differing))
        group["names"].append(name)
    units = []
    for group in groups:
        folder, others, _ = group["key"]
        flags = tuple(word for words in group["differing"] for word in words) + others
        open_units = []  # [(sources, the names they declare)]: first fit, so that an edit moves as few sources as can be.
        for name in sorted(set(group["names"])):
            names = declared_names(pathlib.Path(name).read_text(encoding="utf-8", errors="surrogateescape"))
            for sources, taken in open_units:
                if len(sources) < SOURCES_IN_A_UNIT and not taken & names:
                    break
            else:
                sources, taken = [], set()
                open_units.append((sources, taken))
            sources.append(name)
            taken |= names
        units += [(folder, flags, sources) for sources, _ in open_units]
    return units


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
            # Every fuzz target defines the same function.
            if source.endswith("_fuzz.cc"):
                lines += ["#undef " + FUZZ_ENTRY, f"#define {FUZZ_ENTRY} fuzz_entry_{len(starts)}"]
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
            start, source = ([entry for entry in starts if entry[0] < line] or starts[:1])[-1]
            return f"{source}:{line - start}:"
        return re.sub(re.escape(str(unit)) + r":(\d+):", place, findings) if starts else findings

    @staticmethod
    def do_not_compile_together(folder, flags, unit, starts):
        """The sources, never all, that have to leave the unit for it to compile."""
        if not starts:
            return []
        compiled = run(["clang++", *flags, "-fsyntax-only", "-w", "-ferror-limit=0", "-fno-caret-diagnostics", str(unit)],
                       folder)
        if compiled.returncode == 0:
            return []
        errors = compiled.stderr.decode(errors="replace")
        lines = [int(line) for line in re.findall(rf"^{re.escape(str(unit))}:(\d+):\d+: (?:fatal )?error:", errors, re.M)]
        guilty = {([entry for entry in starts if entry[0] < line] or starts[:1])[-1][1] for line in lines}
        sources = [source for _, source in starts]
        apart = [source for source in sources[1:] if source in guilty]
        return apart or sources[len(sources) // 2:]

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
        apart = self.do_not_compile_together(folder, flags, unit, starts)
        if apart:
            parts = [self.check(folder, flags, part) for part in ([s for s in sources if s not in apart], apart)]
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
    entries = []
    for entry in json.loads((options.build / "compile_commands.json").read_text()):
        name = entry["file"]
        if name.startswith(generated) or not re.search(r"\.cc?$", name):
            continue
        if not options.files or any(part in name for part in options.files):
            entries.append((entry["directory"], compile_flags(entry), name))
    units = plan(entries)
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
