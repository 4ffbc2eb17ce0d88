"""Tests of docs/seed_table.py, on reports as panicroom writes them."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "docs"))
import seed_table  # noqa: E402


def run(scenario, kernel="6.1.0-56-cloud-amd64", outcome="DUMPED", verdict="PASS", missing=(), jump=1.25, engine="qemu (tcg)"):
    stages = [
        {"name": "panic-entered", "cpu": 0, "at": "0.250s"},
        {"name": "panic-entered", "cpu": 2, "at": "0.900s"},
    ]
    if jump is not None:
        stages.append({"name": "jump", "cpu": 0, "at": f"{jump}s"})
    return {
        "scenario": scenario,
        "kernelRelease": kernel,
        "engine": engine,
        "outcome": f"OUTCOME_{outcome}",
        "verdict": f"VERDICT_{verdict}",
        "stages": stages,
        "dump": {"missingCpus": list(missing)},
    }


def text(*runs):
    return "\n".join(seed_table.tables([{"runs": list(runs)}]))


class SeedTableTest(unittest.TestCase):
    def test_a_cell_has_outcome_lost_registers_and_time(self):
        shown = text(
            run("seed-one.nmi.idle"),
            run("seed-one.drop.idle", outcome="DUMP_INCOMPLETE", missing=[1], jump=1.5),
        )
        self.assertIn("| `idle` | dumped<br>1.00 s | dump_incomplete, no registers of CPU 1<br>1.25 s |", shown)
        self.assertIn("| 6.1.0-56-cloud-amd64 | qemu (tcg) | 2 |", shown)

    def test_kernels_that_agree_share_a_cell_and_others_do_not(self):
        same = text(run("seed-one.nmi.idle"), run("seed-one.nmi.idle", kernel="5.10.0-46-cloud-amd64", jump=2.25))
        self.assertIn("| dumped<br>1.00–2.00 s |", same)
        other = text(
            run("seed-one.nmi.idle", kernel="6.12.1-a"),
            run("seed-one.nmi.idle", kernel="6.1.0-a", outcome="HUNG", verdict="FAIL", jump=None),
        )
        self.assertIn("| **6.1.0-a:** hung<br>**6.12.1-a:** dumped<br>1.00 s |", other)

    def test_trials_that_differ_are_counted(self):
        shown = text(*[run("seed-one.nmi.idle")] * 2, run("seed-one.nmi.idle", outcome="RESET", jump=None))
        self.assertIn("2 of 3 dumped; 1 of 3 reset", shown)

    def test_what_says_nothing_about_the_kernel_is_left_out_and_counted(self):
        shown = text(run("seed-one.nmi.idle"), run("seed-one.nmi.user", verdict="ERROR"), run("single-panic"))
        self.assertNotIn("user", shown)
        self.assertIn("Left out: 1 trials", shown)

    def test_a_combination_that_there_is_not(self):
        shown = text(run("seed-one.nmi.held"), run("seed-all.drop.idle"))
        self.assertIn("### All CPUs panic at once", shown)
        self.assertIn("| `idle` | – | dumped<br>1.00 s |", shown)
        self.assertEqual(shown.count("`held`"), 1)

    def test_each_engine_has_tables_with_what_was_tried_on_it(self):
        shown = text(
            run("seed-one.nmi.idle"), run("seed-one.drop.user"), run("seed-one.drop.idle", engine="kvm (emulating)", jump=99.25)
        )
        tcg, kvm = shown.split("### One CPU panics: kvm (emulating)")
        self.assertIn("### One CPU panics: qemu (tcg)", tcg)
        self.assertIn("| `idle` | dumped<br>1.00 s | – |", tcg)
        self.assertEqual(kvm.strip().splitlines(), ["| CPU 1 \\ stop IPI | `drop` |", "|---|---|", "| `idle` | dumped<br>99.00 s |"])

    def test_update_replaces_what_is_between_the_marks(self):
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder) / "page.md"
            report = pathlib.Path(folder) / "report.json"
            page.write_text(f"before\n{seed_table.BEGIN}\nold\n{seed_table.END}\nafter\n", encoding="utf-8")
            report.write_text(json.dumps({"runs": [run("seed-one.nmi.idle")]}), encoding="utf-8")
            for _ in range(2):
                self.assertEqual(seed_table.main(["--update", str(page), str(report)]), 0)
            shown = page.read_text(encoding="utf-8")
            self.assertNotIn("old", shown)
            self.assertTrue(shown.startswith("before\n"))
            self.assertTrue(shown.endswith(f"{seed_table.END}\nafter\n"))
            self.assertEqual(shown.count("### One CPU panics"), 1)
            page.write_text("no marks", encoding="utf-8")
            with self.assertRaises(SystemExit):
                seed_table.main(["--update", str(page), str(report)])

    def test_nothing_to_show(self):
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder) / "report.json"
            report.write_text(json.dumps({"runs": [run("single-panic")]}), encoding="utf-8")
            with contextlib.redirect_stderr(io.StringIO()):
                self.assertEqual(seed_table.main([str(report)]), 1)


if __name__ == "__main__":
    unittest.main()
