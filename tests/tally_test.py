"""Tests of tally.py, on results as CTest 3.25 and GoogleTest 1.12 write them."""

import contextlib
import io
import pathlib
import tempfile
import unittest

import tally

CTEST = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="(empty)" tests="9">
  <testcase name="g_test" status="fail"><failure message=""/><system-out>a</system-out></testcase>
  <testcase name="crash_test" status="fail"><failure message=""/></testcase>
  <testcase name="late_test" status="fail"><failure message=""/></testcase>
  <testcase name="ok" status="run"><system-out></system-out></testcase>
  <testcase name="skip" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/><system-out>x
no kernel here
</system-out></testcase>
  <testcase name="off" status="disabled"><system-out>Disabled</system-out></testcase>
  <testcase name="gone" status="notrun"><skipped message="Unable to find executable"/></testcase>
</testsuite>
"""
GTEST = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites><testsuite name="A">
  <testcase name="Ok" status="run" result="completed" classname="A" />
  <testcase name="Bad" status="run" result="completed" classname="A"><failure message="x"></failure></testcase>
  <testcase name="Skip" status="run" result="skipped" classname="A"><skipped message="g.cc:2&#x0A;no kernel"/></testcase>
  <testcase name="DISABLED_x" status="notrun" result="suppressed" classname="A" />
</testsuite></testsuites>
"""
LATE = """<testsuites><testsuite name="A"><testcase name="Late" status="run" classname="A"/></testsuite></testsuites>"""
GOOD = """<testsuite><testcase name="ok" status="run"/></testsuite>"""


class TallyTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.results = pathlib.Path(scratch.name) / "dev" / "test-results"
        (self.results / "gtest").mkdir(parents=True)

    def run_main(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = tally.main([str(self.results)])
        return status, out.getvalue().splitlines()

    def test_every_kind_of_result_is_counted_with_its_reason(self):
        (self.results / "ctest.xml").write_text(CTEST)
        (self.results / "gtest" / "g_test.xml").write_text(GTEST)
        (self.results / "gtest" / "late_test.xml").write_text(LATE)
        status, lines = self.run_main()
        self.assertEqual(status, 1)
        self.assertEqual(lines, [
            "skipped  dev: A.Skip: no kernel",
            "skipped  dev: A.DISABLED_x: disabled in the source",
            "skipped  dev: skip: no kernel here",
            "skipped  dev: off: disabled in CMakeLists.txt",
            "FAILED   dev: A.Bad",
            "FAILED   dev: late_test (the program failed after its tests)",
            "FAILED   dev: crash_test",
            "FAILED   dev: gone: Unable to find executable",
            "3 passed, 4 failed, 4 skipped",
        ])

    def test_passes_alone_end_in_0(self):
        (self.results / "ctest.xml").write_text(GOOD)
        self.assertEqual(self.run_main(), (0, ["1 passed, 0 failed, 0 skipped"]))

    def test_nothing_run_is_a_failure(self):
        (self.results / "ctest.xml").write_text("<testsuite/>")
        self.assertEqual(self.run_main(), (1, ["0 passed, 0 failed, 0 skipped"]))

    def test_missing_or_broken_results_are_failures(self):
        self.assertEqual(self.run_main()[1][-1], "0 passed, 1 failed, 0 skipped")
        (self.results / "ctest.xml").write_text(GOOD)
        (self.results / "gtest" / "g_test.xml").write_text("<testsuites>")
        self.assertEqual(self.run_main()[0], 1)


if __name__ == "__main__":
    unittest.main()
