#!/usr/bin/env python3
"""Runs scenarios on a server, as a step of CI: shows what happens line by line, fetches the files.

    run_catalogue.py --server ADDRESS [options] PATH...

PATH is a scenario file or a folder of them here, or catalogue:NAME for one of the server's own ("catalogue:seed";
"catalogue:." is all of it). The exit status is that of `panicroom run`:

    0    every verdict is pass or skip
    1    some verdict is fail, none is error
    2    the command line or a scenario is wrong; nothing was started
    3    some verdict is error, or the run could not be carried out
    130  ended by Ctrl-C, which cancels the run; a second one leaves at once, and the run goes on
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Optional

from panicroom.v1 import report_pb2, run_events_pb2
from panicroom_client import CallError, Client, InvalidRequestError, NotFoundError, OptionsError, PanicroomError, TlsFiles
from panicroom_client import printable

WRONG_INPUT, HARNESS_ERROR, INTERRUPTED = 2, 3, 130
CATALOGUE = "catalogue:"


def say(text: str) -> None:
    # What scenarios and guests wrote stands in it.
    print(printable(text), flush=True)


class Cancelling:
    """Ctrl-C and SIGTERM cancel the run, whether it is known already or not; the second time they leave."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._name: Optional[str] = None
        self._wanted = False
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    def set_run(self, name: str) -> None:
        self._name = name
        if self._wanted:
            self._cancel()

    def _on_signal(self, number: int, frame: Optional[FrameType]) -> None:
        if self._wanted:
            raise KeyboardInterrupt
        self._wanted = True
        say("cancelling the run; once more leaves at once")
        if self._name is not None:
            # Not here: the signal may have come in the middle of another call.
            threading.Thread(target=self._cancel, daemon=True).start()

    def _cancel(self) -> None:
        try:
            assert self._name is not None
            self._client.cancel_run(self._name)
            say(f"{self._name} is being cancelled")
        except PanicroomError as error:
            say(f"it could not be cancelled: {error}")


def show(event: run_events_pb2.RunEvent) -> None:
    what = event.WhichOneof("what")
    if what == "begun":
        begun = event.begun
        say(f"{begun.trials} trials of {begun.scenarios} scenarios on {begun.kernels} kernels, {begun.engine}")
    elif what == "activity" and event.activity.subject:
        activity = event.activity
        trial = f", trial {activity.trial} of {activity.trials}" if activity.trial else ""
        say(f"  {activity.subject}{trial}: {activity.stage or 'begins'}")
    elif what == "notice":
        say(f"notice: {event.notice.text}")
    elif what == "trial_decided":
        run = event.trial_decided.run
        verdict = name_of(report_pb2.Verdict.items(), run.verdict, "VERDICT_").upper()
        outcome = name_of(report_pb2.Outcome.items(), run.outcome, "OUTCOME_")
        detail = f": {run.detail}" if run.detail else ""
        say(f"{verdict} {run.scenario} on {run.kernel_release}, trial {run.repeat}: {outcome}{detail}")


def name_of(names: list[tuple[str, int]], value: int, prefix: str) -> str:
    """The enumerator's name as people read it; the number of one that is newer than this program."""
    return next((name[len(prefix) :].lower() for name, number in names if number == value), str(value))


def carry_out(client: Client, options: argparse.Namespace) -> int:
    cancelling = Cancelling(client)
    run = client.start_run(
        [path for path in options.paths if not path.startswith(CATALOGUE)],
        catalogue=[path[len(CATALOGUE) :] for path in options.paths if path.startswith(CATALOGUE)],
        kernels=options.kernel,
        tiers=options.tier,
        repeat=options.repeat,
        jobs=options.jobs,
    )
    cancelling.set_run(run.name)
    say(f"{run.name} at {client.address}")
    ended = run_events_pb2.RunEnded()
    for event in client.watch(run.name):
        show(event)
        ended = event.ended
    files = client.fetch(run.name, options.out)
    say(f"{len(files)} files in {options.out}")
    counts = ended.counts
    say(f"{counts.passed} passed, {counts.failed} failed, {counts.errors} errors, {counts.skipped} skipped")
    state = name_of(run_events_pb2.RunState.items(), ended.state, "RUN_STATE_")
    say(f"{run.name} {state}" + (f": {ended.error}" if ended.error else ""))
    return ended.exit_status


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs scenarios on a server of panicroom's.")
    parser.add_argument("--server", required=True, metavar="ADDRESS", help="what `panicroom serve` prints")
    for name in ("certificate", "key", "ca"):
        parser.add_argument(f"--tls-{name}", type=Path, metavar="FILE", help="for a server with TLS, PEM")
    parser.add_argument("--kernel", action="append", default=[], metavar="REF", help="may be given several times")
    parser.add_argument("--tier", action="append", default=[], metavar="NAME", help="may be given several times")
    parser.add_argument("--repeat", type=int, default=0, metavar="N", help="trials of each scenario")
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="machines at a time")
    parser.add_argument("--out", type=Path, default=Path("panicroom-out"), metavar="DIR", help="for the run's files")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file, a folder, or catalogue:NAME")
    options = parser.parse_args()
    files = (options.tls_certificate, options.tls_key, options.tls_ca)
    if any(files) and not all(files):
        parser.error("TLS takes --tls-certificate, --tls-key and --tls-ca")
    if options.repeat < 0 or options.jobs < 0:
        parser.error("--repeat and --jobs are numbers from 0")
    try:
        with Client(options.server, TlsFiles(*files) if all(files) else None, on_trouble=say) as client:
            return carry_out(client, options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OptionsError, InvalidRequestError, NotFoundError) as error:
        print(error, file=sys.stderr)
        return WRONG_INPUT
    except (CallError, PanicroomError, OSError) as error:
        print(error, file=sys.stderr)
        return HARNESS_ERROR


if __name__ == "__main__":
    sys.exit(main())
