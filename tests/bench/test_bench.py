# SPDX-License-Identifier: GPL-2.0-or-later
"""One short run of the parts that need no virtual machines: what comes out, not how fast."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "common"))

from timescale import scaled  # noqa: E402

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench"
SHORT = "--parts ring,workers,growth --rounds 1 --percent 1 --ring-sizes 64,65536".split()


class Bench(unittest.TestCase):
    def test_a_run_leaves_table_json_and_plots(self):
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            run = subprocess.run([BENCH, *SHORT, "--output", directory], capture_output=True, text=True, timeout=scaled(900))
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            result = json.loads((directory / "results.json").read_text())
            shown = (directory / "table.txt").read_text()
            again = subprocess.run([BENCH, "--from", directory / "results.json"], capture_output=True, text=True, timeout=scaled(120))
            plots = {file.name for file in directory.iterdir() if file.suffix in (".svg", ".png") and file.stat().st_size}
        self.assertIn(shown, run.stdout)
        self.assertEqual(again.stdout, shown)
        self.assertEqual(result["failures"], [])
        names = {figure["name"] for figure in result["figures"]}
        for name in ("rate 64 B, pvhca", "latency 8 B, pvhca", "bandwidth 65536 B, pvhca", "admin, pvhca",
                     "rate 64 B, 1000 QPs", "latency 8 B, 64 sessions", "pvhcad, 8 sessions idle, pvhca"):
            self.assertIn(name, names)
            self.assertIn(name, shown)
        if len(os.sched_getaffinity(0)) > 1:
            self.assertIn("workers alone 64 B, two workers", names)
        for figure in result["figures"]:
            self.assertGreaterEqual(figure["value"], 0, figure)
        self.assertEqual(plots, {f"ring-{figure}.{suffix}" for figure in ("bandwidth", "latency")
                                 for suffix in ("svg", "png")})

    def test_another_build_runs_in_turn(self):
        build = os.environ.get("PVHCA_BUILD", BENCH.parents[1] / "build")
        with tempfile.TemporaryDirectory() as name:
            run = subprocess.run([BENCH, "--parts", "ring", "--rounds", "1", "--percent", "1", "--ring-sizes", "64",
                                  "--against", build, "--output", name], capture_output=True, text=True, timeout=scaled(900))
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            result = json.loads((Path(name) / "results.json").read_text())
        beside = {figure["name"] for figure in result["figures"] if figure["beside"] == "other build"}
        for figure in ("rate 64 B, pvhca", "admin, pvhca", "stream send, pvhca", "alone write, pvhca"):
            self.assertIn(figure, beside)

    def test_a_build_that_is_none_is_refused(self):
        run = subprocess.run([BENCH, "--against", "/nowhere"], capture_output=True, text=True, timeout=scaled(120))
        self.assertEqual(run.returncode, 2)
        self.assertIn("/nowhere", run.stderr)

    def test_an_unknown_part_is_refused(self):
        run = subprocess.run([BENCH, "--parts", "speed"], capture_output=True, text=True, timeout=scaled(120))
        self.assertEqual(run.returncode, 2)
        self.assertIn("speed", run.stderr)


if __name__ == "__main__":
    unittest.main()
