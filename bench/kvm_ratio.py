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

    ours = [bench / "panicroom_bench_first_instruction", bench / "bench_first_instruction"]
    # Neither's end is timed: what it takes to give up a VM is the kernel's affair.
    qemu = ["qemu-system-x86_64", "-accel", "kvm", "-M", "microvm", "-m", "512", "-nodefaults", "-display", "none",
            "-bios", bench / "bench_first_instruction.rom", "-chardev", "stdio,id=told,signal=off", "-device", "isa-debugcon,iobase=0xf4,chardev=told"]
    pairs = []
    for _ in range(options.rounds):
        pairs.append((first_byte(ours), first_byte(qemu)))
    mine, theirs = (statistics.median(column) for column in zip(*pairs))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"process start to the guest's first instruction: {mine * 1e3:.1f} ms, QEMU's microvm {theirs * 1e3:.1f} ms, "
          f"median ratio of {len(pairs)} pairs {ratio:.3f} (at most {ASKED} is asked)", flush=True)
    done = subprocess.run([bench / "panicroom_bench_kvm", bench / "bench_exits", bench / "bench_memory", str(options.rounds)], check=False)
    sys.exit(done.returncode if done.returncode != 0 else int(ratio > ASKED))


if __name__ == "__main__":
    main()
