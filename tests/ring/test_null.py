# SPDX-License-Identifier: GPL-2.0-or-later
"""The provider's ring code against a pvhcad without an engine, beside one that has one."""
import json
import os
import subprocess
import unittest

from pvhca import Daemon

PROGRAM = os.environ["PVHCA_RING_BENCH"]


class NullFabric(unittest.TestCase):
    def daemon(self, fabric):
        daemon = Daemon("--fabric", fabric, log_level="warning")
        self.addCleanup(daemon.clean_up)
        return daemon

    def test_the_benchmark_shows_both_of_the_same_rounds(self):
        loopback, null = self.daemon("loopback"), self.daemon("null")
        out = os.path.join(null.folder.name, "json")
        done = subprocess.run([PROGRAM, "--socket", loopback.socket, "--null", null.socket,
                               "--figures", "rate,latency", "--sizes", "8", "--rounds", "3",
                               "--percent", "1", "--json", out],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(out) as f:
            figures = {result["figure"]: result["values"] for result in json.load(f)}
        self.assertEqual(sorted(figures), ["latency", "latency-null", "rate", "rate-null"])
        for name, values in figures.items():
            self.assertEqual(len(values), 3, name)
            self.assertTrue(all(value > 0 for value in values), name)


if __name__ == "__main__":
    unittest.main()
