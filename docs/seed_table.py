#!/usr/bin/env python3
"""Writes the tables of docs/seed-table.md from report.json of runs of scenarios/seed/.

    docs/seed_table.py REPORT.json...            prints the tables
    docs/seed_table.py --update FILE REPORT...   puts them between the two marks in FILE

Several reports are taken together. Each engine has tables of its own. A cell holds the outcomes of all trials of all kernels
if they agree, and else those of each kernel; then how long it took from the first panic() to the jump. Only trials with a verdict of pass or fail count: a
fault of the host or a skip says nothing about the kernel. Exits 1 if there is no trial to show.
"""

import argparse
import collections
import json
import pathlib
import re
import sys

BEGIN = "<!-- tables: written by seed_table.py -->"
END = "<!-- end of the tables -->"
NAME = re.compile(r"seed-(?P<who>[a-z]+)\.(?P<stop>[a-z-]+)\.(?P<target>[a-z-]+)")
WHO = {
    "one": "One CPU panics",
    "two": "A second CPU panics while the first is about to jump",
    "all": "All CPUs panic at once",
}


def seconds(stage):
    return float(stage["at"].rstrip("s"))


def time_to_jump(run):
    """From the first panic-entered to the jump, in seconds; None if there was no jump."""
    first = {}
    for stage in run.get("stages", []):
        first.setdefault(stage["name"], seconds(stage))
    if "panic-entered" not in first or "jump" not in first:
        return None
    return first["jump"] - first["panic-entered"]


def outcome(run):
    """The cell's word: what came out, and whose registers are not in it."""
    word = run.get("outcome", "OUTCOME_UNSPECIFIED").removeprefix("OUTCOME_").lower()
    missing = run.get("dump", {}).get("missingCpus", [])
    if missing:
        word += f", no registers of {', '.join(f'CPU {cpu}' for cpu in missing)}"
    return word


def version_key(release):
    return [int(part) for part in re.findall(r"\d+", release)]


def outcomes_text(runs):
    counts = collections.Counter(outcome(run) for run in runs).most_common()
    if len(counts) == 1:
        return counts[0][0]
    return "; ".join(f"{count} of {len(runs)} {word}" for word, count in counts)


def times_text(runs):
    times = [time for time in map(time_to_jump, runs) if time is not None]
    if not times:
        return ""
    low, high = f"{min(times):.2f}", f"{max(times):.2f}"
    return f"<br>{low} s" if low == high else f"<br>{low}–{high} s"


def cell(by_kernel):
    """Markdown for one combination; `by_kernel` has the trials of each kernel."""
    if not by_kernel:
        return "–"
    texts = {kernel: outcomes_text(runs) for kernel, runs in by_kernel.items()}
    if len(set(texts.values())) == 1:
        runs = [run for some in by_kernel.values() for run in some]
        return texts.popitem()[1] + times_text(runs)
    return "<br>".join(
        f"**{kernel}:** {texts[kernel]}{times_text(by_kernel[kernel])}"
        for kernel in sorted(by_kernel, key=version_key)
    )


def table(cells, stops, targets):
    lines = ["| CPU 1 \\ stop IPI | " + " | ".join(f"`{stop}`" for stop in stops) + " |"]
    lines.append("|---" * (len(stops) + 1) + "|")
    for target in targets:
        row = [cell(cells.get((stop, target), {})) for stop in stops]
        lines.append(f"| `{target}` | " + " | ".join(row) + " |")
    return lines


def tables(reports):
    """The Markdown lines; empty if there is nothing to show."""
    # Of an engine and who panics: of a stop IPI and a state of CPU 1: of a kernel: its trials.
    cells = collections.defaultdict(lambda: collections.defaultdict(lambda: collections.defaultdict(list)))
    stops, targets, trials = {}, {}, collections.Counter()
    left_out = 0
    for report in reports:
        for run in report.get("runs", []):
            name = NAME.fullmatch(run.get("scenario", ""))
            if not name:
                continue
            if run.get("verdict") not in ("VERDICT_PASS", "VERDICT_FAIL"):
                left_out += 1
                continue
            stops.setdefault(name["stop"])
            targets.setdefault(name["target"])
            kernel, engine = run["kernelRelease"], run.get("engine", "")
            trials[kernel, engine] += 1
            cells[engine, name["who"]][name["stop"], name["target"]][kernel].append(run)
    lines = []
    if not trials:
        return lines
    lines += ["| kernel | engine | trials |", "|---|---|---|"]
    for (kernel, engine), count in sorted(trials.items(), key=lambda item: version_key(item[0][0])):
        lines.append(f"| {kernel} | {engine} | {count} |")
    if left_out:
        lines += ["", f"Left out: {left_out} trials that a fault of the host ended or that were skipped."]
    engines = collections.Counter()
    for (_, engine), count in trials.items():
        engines[engine] += count
    several = len(engines) > 1
    for engine, _ in engines.most_common():
        tried = {stop for (of_engine, _), of_all in cells.items() if of_engine == engine for stop, _ in of_all}
        for who, heading in WHO.items():
            here = cells.get((engine, who))
            if not here:
                continue
            of_cpu1 = {target for _, target in here}
            lines += ["", f"### {heading}" + (f": {engine}" if several else ""), ""]
            lines += table(here, [stop for stop in stops if stop in tried], [target for target in targets if target in of_cpu1])
    return lines


def update(path, lines):
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"{path}: it must have the lines '{BEGIN}' and '{END}', each once")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(before + "\n".join([BEGIN, ""] + lines + ["", END]) + after, encoding="utf-8")


def main(arguments):
    parser = argparse.ArgumentParser(description="Writes the tables of docs/seed-table.md.")
    parser.add_argument("reports", nargs="+", type=pathlib.Path, metavar="REPORT")
    parser.add_argument("--update", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args(arguments)
    lines = tables([json.loads(path.read_text(encoding="utf-8")) for path in options.reports])
    if not lines:
        print("no trial of scenarios/seed/ in these reports", file=sys.stderr)
        return 1
    if options.update:
        update(options.update, lines)
    else:
        print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
