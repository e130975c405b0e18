# SPDX-License-Identifier: GPL-2.0-or-later
"""From samples to the table, with samples whose outcome is known."""

import dataclasses
import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))

from benchmark import goals, report  # noqa: E402
from benchmark.samples import Samples, in_turn  # noqa: E402


class Goals(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.samples = Samples(self.directory / "samples.jsonl")

    def add(self, part, figure, size, unit="us", **sides):
        for side, values in sides.items():
            for number, value in enumerate(values):
                self.samples.add(part, figure, size, side.replace("_", "-"), number, value, unit)

    def figure(self, name, beside=""):
        found = [figure for figure in goals.figures(self.samples) if figure.name == name and figure.beside == beside]
        self.assertEqual(len(found), 1, [figure.name for figure in goals.figures(self.samples)])
        return found[0]

    def test_bandwidth_is_held_against_native_and_rxe_in_the_guest(self):
        self.add("bandwidth", "ib_write_bw", 65536, native=[100, 110, 90], pvhca=[99, 100, 98], rxe_vhost=[120, 1, 1])
        figure = self.figure("ib_write_bw 65536 B, pvhca", "native")
        self.assertEqual((figure.value, figure.other, figure.spread), (99, 100, (98, 100)))
        self.assertEqual((figure.goal, figure.met), (">= 0.98", True))
        self.assertAlmostEqual(figure.compared_spread[0], 100 / 110)    # of one round, not of two
        self.assertTrue(self.figure("ib_write_bw 65536 B, pvhca", "rxe-vhost").met)

    def test_latency_over_its_goal_is_not_met(self):
        self.add("latency", "ib_send_lat", 8, native=[10], pvhca=[14])
        self.assertIs(self.figure("ib_send_lat 8 B, pvhca", "native").met, False)

    def test_latency_also_stands_beside_native_ends_that_share_a_processor(self):
        self.add("latency", "ib_send_lat", 8, native=[10], native_shared=[8000], pvhca=[160])
        figure = self.figure("ib_send_lat 8 B, pvhca", "native-shared")
        self.assertEqual((figure.compared, figure.met), (0.02, None))

    def test_regions_registered_again_have_the_goals_of_the_first_time(self):
        self.add("control", "query_port", 0, native=[5], pvhca=[25])
        self.add("control", "reg_mr_again_64MiB", 0, native=[100], pvhca=[190])
        self.add("control", "reg_mr_again_1GiB_huge", 0, native=[100], pvhca=[30101])
        self.assertTrue(self.figure("reg_mr_again_64MiB, pvhca", "native").met)
        self.assertIs(self.figure("reg_mr_again_1GiB_huge, pvhca", "native").met, False)

    def test_two_workers_are_held_against_one(self):
        for side, rates in (("one worker", [5, 6, 7]), ("two workers", [9, 11, 12])):
            for number, rate in enumerate(rates):
                self.samples.add("workers", "workers alone", 64, side, number, rate, "M/s")
        figure = self.figure("workers alone 64 B, two workers", "one worker")
        self.assertEqual((figure.goal, figure.met), (">= 1.8", True))
        self.samples.add("workers", "workers alone", 64, "two workers", 1, 9, "M/s")
        self.assertIs(self.figure("workers alone 64 B, two workers", "one worker").met, False)

    def test_homes_of_the_device_are_compared_and_counts_by_their_difference(self):
        for side, latency, exits in (("our QEMU", 10, 0), ("stock QEMU", 15, 3)):
            self.samples.add("stock", "ib_write_lat", 8, side, 0, latency, "us")
            self.samples.add("stock", "exits", 0, side, 0, exits, "/1000 messages")
        self.assertEqual(self.figure("ib_write_lat 8 B, stock QEMU", "our QEMU").compared, 1.5)
        self.assertEqual(self.figure("exits, stock QEMU", "our QEMU").compared, 3)

    def test_verbs_may_take_two_empty_commands_more_than_native(self):
        self.add("control", "query_port", 0, native=[5], pvhca=[25])
        self.add("control", "create_cq", 0, native=[100], pvhca=[140])
        self.add("control", "create_qp", 0, native=[100], pvhca=[141])
        self.assertEqual(goals.round_trip(self.samples), 20)
        self.assertIs(self.figure("create_cq, pvhca", "native").met, True)
        self.assertIs(self.figure("create_qp, pvhca", "native").met, False)

    def test_a_verb_tells_how_many_commands_it_is(self):
        self.add("control", "query_port", 0, native=[5], pvhca=[25], commands=[1])
        self.add("control", "open_device", 0, native=[5], pvhca=[25], commands=[2])
        self.figure("query_port, pvhca (1 command)", "native")
        self.figure("open_device, pvhca (2 commands)", "native")

    def test_what_was_not_measured_is_not_in_the_table(self):
        self.add("bandwidth", "ib_write_bw", 65536, native=[100])
        self.add("control", "create_cq", 0, pvhca=[100])
        self.assertEqual(goals.figures(self.samples), [])

    def moved(self, unit, **sides):
        self.add("ring", "rate", 64, unit, **sides, **{"raw ring": [1] * 3})
        return report.moved(goals.figures(self.samples))

    def test_what_moved_in_each_round_is_told(self):
        line, = self.moved("M/s", pvhca=[4, 5, 8], **{"other build": [3, 4, 6]})
        self.assertEqual(line, "moved: rate 64 B, pvhca: 1.25 of the other build (1.25..1.33), better")

    def test_more_nanoseconds_are_worse(self):
        line, = self.moved("ns", pvhca=[4, 5, 8], **{"other build": [3, 4, 6]})
        self.assertTrue(line.endswith("worse"), line)

    def test_what_only_moved_in_some_rounds_has_not(self):
        self.assertEqual(self.moved("M/s", pvhca=[4, 5, 8], **{"other build": [3, 6, 6]}), [])

    def test_either_goal_of_small_writes_is_enough(self):
        self.add("ring", "rate", 64, "M/s", pvhca=[4], **{"raw ring": [4.5]})
        self.assertIs(self.figure("rate 64 B, pvhca", "raw ring").met, True)

    def test_a_round_that_is_begun_again_replaces_what_it_had(self):
        self.add("latency", "ib_send_lat", 8, native=[10])
        self.samples.mark_done("verbs", 0)
        again = Samples(self.directory / "samples.jsonl")
        self.assertTrue(again.is_done("verbs", 0))
        self.assertFalse(again.is_done("verbs", 1))
        again.add("latency", "ib_send_lat", 8, "native", 0, 12, "us")
        self.assertEqual(again.get("latency", "ib_send_lat", 8, "native"), {0: 12})

    def test_each_side_begins_a_round(self):
        self.assertEqual([in_turn("abc", number)[0] for number in range(4)], ["a", "b", "c", "a"])

    def test_the_documents_section_is_written_anew_and_nothing_else(self):
        self.add("latency", "ib_send_lat", 8, native=[10], pvhca=[14])
        self.samples.failed("latency", "ib_read_lat", 8, "pvhca", 0, "it hung\nfor long")
        meta = report.machine(Path(__file__).parent) | {"rounds": 1, "command": "scripts/bench"}
        figures = goals.figures(self.samples)
        result = json.loads(json.dumps(report.document(meta, self.samples, figures) | {"plots": []}))
        path = self.directory / "results.md"
        path.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
        for _ in range(2):
            report.rewrite(path, result)
        text = path.read_text()
        self.assertTrue(text.startswith("before\n") and text.endswith("\nafter\n"))
        self.assertNotIn("old", text)
        self.assertEqual(text.count("NOT met"), 1)
        self.assertIn("not measured: latency ib_read_lat, pvhca, round 1: it hung\n", text)
        self.assertEqual([goals.Figure(**figure) for figure in result["figures"]],
                         [dataclasses.replace(figure, spread=list(figure.spread),
                                              compared_spread=list(figure.compared_spread)) for figure in figures])


if __name__ == "__main__":
    unittest.main()
