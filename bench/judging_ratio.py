#!/usr/bin/env python3
"""What judging a dump costs, as a part of a trial: bench/README.md tells what is measured.

  bench/judging_ratio.py [-n TRIALS] [-k KERNEL] [-b BUILD] [SCENARIO]

Exits 0 if it is at most a twentieth of the median trial, 1 if it is not, 3 if it could not be measured."""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def seconds(duration):
    return float(duration.rstrip("s"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=5, help="trials that count")
    parser.add_argument("-k", help="a kernel reference")
    parser.add_argument("-b", type=pathlib.Path, default=ROOT / "build/release", help="a build folder")
    parser.add_argument("scenario", nargs="?", type=pathlib.Path, default=ROOT / "scenarios/single-panic.yaml")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        command = [options.b / "harness/cli/panicroom", "run", options.scenario, "--repeat", str(options.n + 1), "--out", out]
        if options.k:
            command += ["--kernel", options.k]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        try:
            runs = json.loads((pathlib.Path(out) / "report.json").read_text())["runs"][1:]
        except (OSError, KeyError) as error:
            print(f"judging_ratio: no report: {error}", file=sys.stderr)
            return 3
    samplings, judgings, ratios = [], [], []
    for run in runs:
        at = {stage["name"]: seconds(stage["at"]) for stage in run.get("stages", [])}
        if not {"jump", "memory-sampled", "vmcore-opened", "dump-verified"} <= at.keys():
            print(f"judging_ratio: trial {run.get('repeat')} did not dump: {run.get('detail')}", file=sys.stderr)
            return 3
        samplings.append(at["memory-sampled"] - at.get("capture-image-checked", at["jump"]))
        judgings.append(at["dump-verified"] - at["vmcore-opened"])
        ratios.append((samplings[-1] + judgings[-1]) / seconds(run["wall"]))
    if not ratios:
        print("judging_ratio: no trial after the first", file=sys.stderr)
        return 3
    trials = [seconds(run["wall"]) for run in runs]
    print(f"trial                     median {statistics.median(trials):.3f} s of {len(trials)}")
    print(f"sampling at the jump      median {statistics.median(samplings):.3f} s")
    print(f"judging the opened vmcore median {statistics.median(judgings):.3f} s")
    print(f"both, of a trial          median {100 * statistics.median(ratios):.1f} %, most {100 * max(ratios):.1f} %")
    return 0 if statistics.median(ratios) <= 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())
