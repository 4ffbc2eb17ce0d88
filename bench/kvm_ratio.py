#!/usr/bin/python3
"""What the engine kvm costs against QEMU, in one run. bench/README.md tells what is measured.

  bench/kvm_ratio.py [-r ROUNDS] [-b BUILD]
"""

import argparse
import pathlib
import select
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASKED = 0.05


def fail(what):
    print(f"kvm_ratio: {what}", file=sys.stderr)
    sys.exit(3)


def first_byte(command):
    """From the process's start to the byte on its standard output that the guest's first instruction brings about."""
    begin = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        ready, _, _ = select.select([process.stdout], [], [], 120)
        byte = process.stdout.read(1) if ready else b""
        took = time.monotonic() - begin
        process.kill()
        if not byte:
            fail(f"{' '.join(map(str, command))} told nothing: {process.stderr.read().decode(errors='replace').strip()}")
    return took


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-r", dest="rounds", type=int, default=20)
    parser.add_argument("-b", dest="build", type=pathlib.Path, default=ROOT / "build" / "release")
    options = parser.parse_args()
    bench = options.build / "bench"

    ours = [[bench / f"panicroom_bench_first_instruction{linked}", bench / "bench_first_instruction"] for linked in ("", "_static")]
    # Neither's end is timed: what it takes to give up a VM is the kernel's affair.
    qemu = ["qemu-system-x86_64", "-accel", "kvm", "-M", "microvm", "-m", "512", "-nodefaults", "-display", "none",
            "-bios", bench / "bench_first_instruction.rom", "-chardev", "stdio,id=told,signal=off", "-device", "isa-debugcon,iobase=0xf4,chardev=told"]
    rounds = [[first_byte(command) for command in (*ours, qemu)] for _ in range(options.rounds)]
    for column, linked in enumerate(("shared libraries", "linked statically")):
        mine, theirs = (statistics.median(took[i] for took in rounds) for i in (column, -1))
        ratio = statistics.median(took[column] / took[-1] for took in rounds)
        print(f"process start to the guest's first instruction, {linked}: {mine * 1e3:.1f} ms, QEMU's microvm {theirs * 1e3:.1f} ms, "
              f"median ratio of {len(rounds)} rounds {ratio:.3f} (at most {ASKED} is asked)", flush=True)
    done = subprocess.run([bench / "panicroom_bench_kvm", bench / "bench_exits", bench / "bench_memory", str(options.rounds)], check=False)
    sys.exit(done.returncode if done.returncode != 0 else int(ratio > ASKED))


if __name__ == "__main__":
    main()
