#!/usr/bin/python3
"""What carrying out a scenario through the service adds to the local command, in one run. bench/README.md tells what is measured.

  bench/service_ratio.py [-r ROUNDS] [-n TRIALS] [-k KERNEL] [-b BUILD] [SCENARIO]
"""

import argparse
import datetime
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASKED = 1.03


def fail(what):
    print(f"service_ratio: {what}", file=sys.stderr)
    sys.exit(3)


def timed(command, environment):
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        fail(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.monotonic() - begin


def process_time(panicroom, address, number):
    """How long the server's own process for that run lived, by the server's record of it."""
    shown = subprocess.run(
        [panicroom, "runs", "show", str(number), "--server", address], capture_output=True, text=True, check=False)
    fields = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines())
    # Python 3.11 takes no nanoseconds.
    began, ended = (datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", fields[key])) for key in ("began", "ended"))
    return (ended - began).total_seconds()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-r", type=int, default=5, dest="rounds", help="pairs of runs")
    parser.add_argument("-n", type=int, default=5, dest="trials", help="trials of each run")
    parser.add_argument("-k", dest="kernel", default=os.environ.get("PANICROOM_TEST_KERNEL"))
    parser.add_argument("-b", dest="build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("scenario", nargs="?", default=str(ROOT / "scenarios/single-panic.yaml"))
    options = parser.parse_args()
    panicroom = str(options.build / "harness/cli/panicroom")
    kernel = options.kernel
    if not kernel:
        fetched = subprocess.run(
            [panicroom, "kernels", "fetch", "--print-path"], stdout=subprocess.PIPE, text=True, check=False)
        if fetched.returncode != 0:
            fail("no kernel: name one with -k")
        kernel = fetched.stdout.strip()
    with tempfile.TemporaryDirectory() as scratch:
        with open(f"{scratch}/server.log", "wb") as log:
            server = subprocess.Popen(
                [panicroom, "serve", "--state", f"{scratch}/state", "--allow-kernels", os.path.dirname(kernel)],
                stdout=subprocess.PIPE, stderr=log)
        address = server.stdout.readline().decode().strip()
        if not address:
            fail(pathlib.Path(f"{scratch}/server.log").read_text())
        run = [panicroom, "run", options.scenario, "--kernel", kernel, "--repeat", str(options.trials)]
        local, remote, around = [], [], []
        try:
            # In the order local, remote, remote, local, so that neither kind always follows the other.
            for number in range(options.rounds):
                kinds = [(local, []), (remote, ["--server", address])]
                for times, more in kinds if number % 2 == 0 else reversed(kinds):
                    out = f"{scratch}/out-{number}-{len(more)}"
                    times.append(timed([*run, "--out", out, *more], os.environ))
                around.append(remote[-1] - process_time(panicroom, address, number + 1))
                print(f"round {number + 1}: local {local[-1]:.2f} s, through the service {remote[-1]:.2f} s", flush=True)
        finally:
            server.terminate()
            server.wait()
    ratio = statistics.median(remote) / statistics.median(local)
    pairs = statistics.median(there / here for here, there in zip(local, remote))
    print(f"medians: local {statistics.median(local):.2f} s, through the service {statistics.median(remote):.2f} s, "
          f"ratio {ratio:.3f}; median ratio of the pairs {pairs:.3f} (asked: at most {ASKED})")
    print(f"of a run through the service, {1000 * statistics.median(around):.0f} ms are before and behind its process: "
          f"{100 * statistics.median(around) / statistics.median(remote):.1f} %")
    return 0 if pairs <= ASKED else 1


if __name__ == "__main__":
    sys.exit(main())
