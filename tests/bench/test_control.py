# SPDX-License-Identifier: GPL-2.0-or-later
"""Stepping through the control path: admin commands are ascribed to the verb that caused them."""

import sys
import tempfile
import types
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "vm"))

from benchmark import control  # noqa: E402
from harness import CommandFailed  # noqa: E402
from harness.native import Native  # noqa: E402

# Says what pvhca-bench-control says; each verb "causes" commands by adding to a file.
PROGRAM = """
verb() { echo "next $1"; read -r line || exit 1; echo "$3" >>"$0.commands"; echo "call $1 $2 1500 1000 2000"; }
verb alloc_pd 4 8
echo unasked-for
verb create_qp 2 3
echo "next cm_connect"; read -r line; echo "missing cm_connect connect: no such device"
echo end
"""


class Step(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.host = Native(self.directory)
        self.addCleanup(self.host.close)
        self.calls, self.missing = [], []

    def step(self, text):
        program = self.directory / "program"
        program.write_text(text)

        def totals(_):
            file = Path(f"{program}.commands")
            return {"admin_commands": sum(map(int, file.read_text().split())) if file.exists() else 0}

        running = self.host.spawn(["/bin/sh", program], input=None)
        client = types.SimpleNamespace(host=self.host)
        with mock.patch.object(control, "totals", totals):
            control.step(None, client, running, lambda *call: self.calls.append(call),
                         lambda *what: self.missing.append(what))
        running.wait(10)

    def test_each_verb_has_its_own_commands(self):
        self.step(PROGRAM)
        self.assertEqual(self.calls, [("alloc_pd", 1500.0, 2.0), ("create_qp", 1500.0, 1.5)])
        self.assertEqual(self.missing, [("cm_connect", "connect: no such device")])

    def test_a_program_that_ends_early_is_a_failure(self):
        with self.assertRaises(CommandFailed):
            self.step("echo 'next alloc_pd'; read -r line; exit 1")
        self.assertEqual(self.calls, [])


if __name__ == "__main__":
    unittest.main()
