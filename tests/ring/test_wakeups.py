# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker that falls asleep just when something is posted: see tests/ring/wakeups.c."""
import os
import subprocess
import unittest

from pvhca import PROGRAM_SECONDS, Daemon

PROGRAM = os.environ["PVHCA_WAKEUPS"]
SECONDS = int(os.environ.get("PVHCA_WAKEUP_SECONDS", "4"))


class Wakeups(unittest.TestCase):
    def check(self, *options):
        daemon = Daemon("--log-level", "warning", *options)
        self.addCleanup(daemon.clean_up)
        done = subprocess.run([PROGRAM, "--socket", daemon.socket,
                               "--seconds", str(SECONDS)], capture_output=True,
                              text=True, timeout=PROGRAM_SECONDS + SECONDS)
        self.assertEqual(done.returncode, 0, done.stderr)
        requests, doorbells = map(int, done.stdout.split()[::2])
        # It did sleep, and often.
        self.assertGreater(requests, 100)
        self.assertGreater(doorbells, requests // 100)

    def test_worker_that_sleeps_at_once(self):
        self.check("--spin-us", "0")

    def test_worker_that_polls_for_a_while(self):
        self.check("--spin-us", "100")


if __name__ == "__main__":
    unittest.main()
