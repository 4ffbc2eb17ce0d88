"""The examples on a real kernel: guest_test.py RunCatalogue, guest_test.py SeedRace."""

import os
import subprocess
import sys

import support
from support import EXAMPLES, SCENARIOS, Server, TestCase

from google.protobuf import json_format
from panicroom.v1 import report_pb2, run_events_pb2 as events
from panicroom_client import Client

KERNEL = os.environ.get("PANICROOM_TEST_KERNEL", "")
NO_KERNEL = os.environ.get("PANICROOM_TEST_KERNEL_MISSING") or "PANICROOM_TEST_KERNEL names no bzImage to run"


class GuestTest(TestCase):
    def serve(self):
        server = Server(self.folder, "--catalogue", str(SCENARIOS), "--allow-kernels", os.path.dirname(KERNEL))
        self.addCleanup(server.end)
        return server

    def run_example(self, name, server, *arguments):
        done = subprocess.run(
            [sys.executable, "-B", EXAMPLES / name, "--server", server.address, "--kernel", KERNEL, *arguments],
            capture_output=True,
            text=True,
        )
        print(done.stdout)
        return done.returncode, done.stdout, done.stdout + done.stderr


class RunCatalogue(GuestTest):
    def test_a_scenario_of_the_catalogue(self):
        if not KERNEL:
            self.skipTest(NO_KERNEL)
        server = self.serve()
        arguments = ("--out", self.folder / "out", "catalogue:single-panic.yaml")
        status, out, everything = self.run_example("run_catalogue.py", server, *arguments)
        self.assertEqual(status, 0, everything)
        self.assertRegex(out, r"PASS single-panic on \S+, trial 1: dumped\n")
        self.assertIn("1 passed, 0 failed, 0 errors, 0 skipped\nruns/1 finished\n", out)
        (run,) = json_format.Parse((self.folder / "out/report.json").read_text(), report_pb2.Report()).runs
        self.assertEqual(run.outcome, report_pb2.OUTCOME_DUMPED)
        self.assertGreater((self.folder / "out" / run.artifacts / "console.log").stat().st_size, 0)
        with Client(server.address) as client:
            self.assertEqual(client.get_run("1").state, events.RUN_STATE_FINISHED)

    def test_a_scenario_that_fails(self):
        if not KERNEL:
            self.skipTest(NO_KERNEL)
        text = (SCENARIOS / "single-panic.yaml").read_text()
        self.assertIn("outcome: dumped", text)
        wrong = self.folder / "wrong.yaml"
        # Nothing but the outcome, of which no dump is to be judged then.
        wrong.write_text(text[: text.index("expect:")].replace("single-panic", "wrong") + "expect: {outcome: reset}\n")
        status, out, everything = self.run_example("run_catalogue.py", self.serve(), "--out", self.folder / "out", wrong)
        self.assertEqual(status, 1, everything)
        self.assertRegex(out, r"FAIL wrong on \S+, trial 1: dumped: ")


class SeedRace(GuestTest):
    def setUp(self):
        super().setUp()
        if not KERNEL:
            self.skipTest(NO_KERNEL)
        self.server = self.serve()

    def test_the_gate_lets_the_dump_come_out(self):
        status, out, everything = self.run_example("seed_race.py", self.server)
        self.assertEqual(status, 0, everything)
        self.assertIn("OUTCOME_DUMPED\nas expected\n", out)

    def test_the_control_does_not_dump(self):
        status, out, everything = self.run_example("seed_race.py", self.server, "--unfixed")
        self.assertEqual(status, 0, everything)
        self.assertRegex(out, r"OUTCOME_RESET.*\nas expected\n")


if __name__ == "__main__":
    if not support.PROGRAM:
        print("PANICROOM_PROGRAM does not name a built panicroom")
        sys.exit(support.SKIPPED)
    support.main()
