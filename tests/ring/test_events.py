# SPDX-License-Identifier: GPL-2.0-or-later
"""Owners of connections that sleep until an event: see tests/ring/events.c. It fails by itself if an interrupt is missing."""
import json
import os
import subprocess
import unittest

from pvhca import PROGRAM_SECONDS, Daemon

PROGRAM = os.environ["PVHCA_EVENTS"]
MESSAGES = 2000


class Events(unittest.TestCase):
    def found(self, *options):
        daemon = Daemon("--log-level", "warning", *options)
        self.addCleanup(daemon.clean_up)
        out = os.path.join(daemon.folder.name, "json")
        done = subprocess.run([PROGRAM, "--socket", daemon.socket, "--messages", str(MESSAGES), "--json", out],
                              capture_output=True, text=True, timeout=PROGRAM_SECONDS)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(out, encoding="utf-8") as file:
            return {result["figure"]: result["value"] for result in json.load(file)}

    def check(self, *options):
        found = self.found(*options)
        # One message at a time: each is told, and at once.
        self.assertEqual(found["one: events"], 1000)
        self.assertLessEqual(found["one: interrupts"], 1000)
        # What completes together is told together. Each event had an interrupt of its own.
        self.assertEqual(found["all: events"], 1000)
        self.assertLess(found["all: interrupts"], 1000)

    def test_a_worker_that_polls(self):
        self.check("--spin-us", "100")

    def test_a_worker_that_sleeps(self):
        self.check("--spin-us", "0")


if __name__ == "__main__":
    unittest.main()
