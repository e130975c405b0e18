# SPDX-License-Identifier: GPL-2.0-or-later
"""The page that shows how fast each release was, from results whose outcome is known."""

import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))

from benchmark import history  # noqa: E402


def result(release, against, **ratios):
    """Ratios by unit: one figure each."""
    figures = [{"part": "ring", "name": f"in {unit}, pvhca", "unit": unit.replace("_", "/"), "value": 10 * ratio, "other": 10.0,
                "beside": "other build", "compared": ratio, "compared_spread": [ratio, ratio]} for unit, ratio in ratios.items()]
    beside = {"part": "ring", "name": "rate, pvhca", "unit": "M/s", "value": 1, "other": 2, "beside": "raw ring", "compared": 0.5,
              "compared_spread": [0.5, 0.5]}
    return {"meta": {"release": release, "other release": against, "version": "abc", "date": "2026-11-29", "processor": "one",
                     "processors": 2, "rounds": 1}, "figures": [*figures, beside]}


def curve(kept, name):
    return history.curves(kept, lambda figure: True)[name]


class History(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        (self.directory / history.PAGE).write_text(f"before\n{history.BEGIN}\nold\n{history.END}\nafter\n")

    def record(self, *arguments, **ratios):
        history.record(self.directory, result(*arguments, **ratios))
        return history.load(self.directory / history.FILE)

    def test_ratios_multiply_from_release_to_release(self):
        self.record("0.2.0", "0.1.0", M_s=2)
        kept = self.record("0.3.0", "0.2.0", M_s=1.5)
        self.assertEqual(curve(kept, "in M_s"), {"0.1.0": 1, "0.2.0": 2, "0.3.0": 3})

    def test_fewer_nanoseconds_are_better(self):
        self.assertEqual(curve(self.record("0.2.0", "0.1.0", ns=0.5), "in ns")["0.2.0"], 2)

    def test_a_figure_that_is_new_begins_where_it_was_first_measured(self):
        self.record("0.2.0", "0.1.0", M_s=2)
        kept = self.record("0.3.0", "0.2.0", M_s=1, ns=0.5)
        self.assertEqual(curve(kept, "in ns"), {"0.2.0": 1, "0.3.0": 2})

    def test_a_release_measured_again_gets_the_new_figures_and_keeps_the_others(self):
        self.record("0.2.0", "0.1.0", M_s=2, ns=0.5)
        kept = self.record("0.2.0", "0.1.0", M_s=4)
        self.assertEqual(len(kept), 1)
        self.assertEqual(curve(kept, "in M_s")["0.2.0"], 4)
        self.assertEqual(curve(kept, "in ns")["0.2.0"], 2)

    def test_only_what_stands_beside_another_build_is_kept(self):
        kept, = self.record("0.2.0", "0.1.0", M_s=2)
        self.assertEqual([figure["name"] for figure in kept["figures"]], ["in M_s"])
        with self.assertRaises(ValueError):
            self.record("0.3.0", "0.2.0")

    def test_the_page_has_a_table_for_each_run_and_plots(self):
        self.record("0.2.0", "0.1.0", M_s=2, ns=0.5, instructions=0.5)
        self.record("0.3.0", "0.2.0", M_s=2)
        text = (self.directory / history.PAGE).read_text()
        self.assertTrue(text.startswith("before\n") and text.endswith("\nafter\n"))
        self.assertNotIn("old", text)
        for heading in ("### 0.2.0 beside 0.1.0", "### 0.3.0 beside 0.2.0"):
            self.assertEqual(text.count(heading), 1)
        if shutil.which("gnuplot"):
            for plot in history.PLOTS:
                self.assertIn(f"({plot}.svg)", text)
                self.assertIn("0.2.0", (self.directory / f"{plot}.svg").read_text())


if __name__ == "__main__":
    unittest.main()
