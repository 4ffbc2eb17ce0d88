#!/usr/bin/env python3
"""The race that panicroom began with, as a program: two CPUs panic, the second while the first starts the crash kernel.

    seed_race.py --server ADDRESS [--kernel REF] [--unfixed]

CPU 0 panics and is held inside __crash_kexec(), interrupts off, the lock taken. CPU 1 panics then. It has to find the gate
in panic() shut and stop itself, so that CPU 0's dump comes out. With --unfixed the gate is opened for it, as in kernels
before 93e13a360ba3: it stops CPU 0, and there is no dump. That is the control: if it dumps, the other one proves nothing.

The exit status is 0 if that is what happens, 1 if something else does, 2 for wrong input, 3 if there was no machine.
The same as scenarios: second-panic-must-not-stop-the-dump.yaml and second-panic-stops-the-dump.yaml.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from panicroom.v1 import control_pb2, report_pb2
from panicroom_client import (
    Client,
    ControlSession,
    InvalidRequestError,
    OptionsError,
    OutcomeError,
    PanicroomError,
    StoppedError,
    TlsFiles,
    printable,
)

AS_EXPECTED, OTHERWISE, WRONG_INPUT, HARNESS_ERROR = 0, 1, 2, 3
STOP_SECONDS = 300  # Far more than CPUs that do what they should take to the next place, emulated on a slow host.


def say(text: str) -> None:
    # What the guest wrote stands in it.
    print(printable(text), flush=True)


def go_to(machine: ControlSession, place: str, cpu: int) -> None:
    stopped = machine.run_to(place, [cpu], timeout=STOP_SECONDS)
    say(f"CPU {stopped.cpu} at {stopped.place or hex(stopped.rip)} ({place})")


def race(machine: ControlSession, unfixed: bool) -> report_pb2.Run:
    go_to(machine, "workload", 0)
    machine.panic(0, "first")
    go_to(machine, "__crash_kexec/lock-taken", 0)
    machine.hold(0)
    go_to(machine, "workload", 1)
    machine.panic(1, "second")
    # Unfixed, CPU 0 is let go only when CPU 1's NMI is on its way to it.
    go_to(machine, "ipi:nmi" if unfixed else "panic_smp_self_stop", 1)
    machine.release(0)
    return machine.await_outcome(60)


def what_is_wrong(run: report_pb2.Run, unfixed: bool) -> str:
    """Empty if it is the expected outcome."""
    wanted = report_pb2.OUTCOME_RESET if unfixed else report_pb2.OUTCOME_DUMPED
    if run.outcome != wanted:
        return f"expected {report_pb2.Outcome.Name(wanted)}"
    if unfixed:
        return ""
    dump = run.dump
    if dump.panic_cpu != 0 or dump.cpus_with_registers != 2 or dump.missing_cpus:
        return f"the dump names CPU {dump.panic_cpu} and has the registers of {dump.cpus_with_registers} CPUs"
    return "; ".join(f"{check.name}: {check.actual} instead of {check.expected}" for check in dump.checks if not check.ok)


def carry_out(client: Client, options: argparse.Namespace) -> int:
    say("booting")
    with client.control(
        kernel=options.kernel,
        machine=control_pb2.ControlMachine(vcpus=2, memory="512M", crashkernel="128M"),
        workload={"cpu0": "syscalls", "cpu1": "syscalls"},
        unfix=["panic-gate"] if options.unfixed else [],
        stop_ipi=[control_pb2.ControlStopIpi(deliver="as-sent")],
    ) as machine:
        say(f"{machine.opened.kernel_release} armed, {machine.opened.engine}")
        try:
            run = race(machine, options.unfixed)
        except (OutcomeError, StoppedError, TimeoutError) as error:
            say(f"the CPUs did not get to where they should: {error}")
            return OTHERWISE
    known = report_pb2.Outcome.items()
    outcome = next((name for name, number in known if number == run.outcome), str(run.outcome))
    say(f"{outcome}: {run.detail}" if run.detail else outcome)
    wrong = what_is_wrong(run, options.unfixed)
    say(wrong or "as expected")
    return OTHERWISE if wrong else AS_EXPECTED


def main() -> int:
    parser = argparse.ArgumentParser(description="The race that panicroom began with, on a server of panicroom's.")
    parser.add_argument("--server", required=True, metavar="ADDRESS", help="what `panicroom serve` prints")
    for name in ("certificate", "key", "ca"):
        parser.add_argument(f"--tls-{name}", type=Path, metavar="FILE", help="for a server with TLS, PEM")
    parser.add_argument("--kernel", default="", metavar="REF", help="the kernel (default: the server's)")
    parser.add_argument("--unfixed", action="store_true", help="open the gate for CPU 1: no dump is to come out")
    options = parser.parse_args()
    files = (options.tls_certificate, options.tls_key, options.tls_ca)
    if any(files) and not all(files):
        parser.error("TLS takes --tls-certificate, --tls-key and --tls-ca")
    try:
        with Client(options.server, TlsFiles(*files) if all(files) else None) as client:
            return carry_out(client, options)
    except (OptionsError, InvalidRequestError) as error:
        print(error, file=sys.stderr)
        return WRONG_INPUT
    except PanicroomError as error:
        print(error, file=sys.stderr)
        return HARNESS_ERROR


if __name__ == "__main__":
    sys.exit(main())
