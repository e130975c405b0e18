# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/stock-qemu, with QEMUs that are none: which one is taken."""

import os
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "stock-qemu"
# What -device help lists.
WITH_CLIENT = 'name "vfio-user-pci", bus PCI'
WITHOUT = 'name "vfio-pci", bus PCI'


class StockQemu(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.path = self.folder / "bin"
        self.fetched = self.folder / "fetched"
        self.fetched.mkdir()
        (self.fetched / ".pvhca-fetched").touch()   # so that nothing is fetched

    def emulator(self, folder, devices, status=0):
        folder.mkdir(exist_ok=True)
        file = folder / "qemu-system-x86_64"
        file.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo QEMU of the test || echo '{devices}'\nexit {status}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        return file

    def choose(self, **environment):
        path = f"{self.path}:/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run([SCRIPT, self.fetched], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={"HOME": str(self.folder), "PATH": path, **environment})
        self.assertLessEqual(done.returncode, 1, done.stderr)
        return Path(done.stdout.strip()) if done.returncode == 0 else None

    def test_the_machines_own_is_taken_where_it_has_the_client(self):
        own = self.emulator(self.path, WITH_CLIENT)
        self.emulator(self.fetched, WITH_CLIENT)
        self.assertEqual(self.choose(), own)

    def test_debians_is_taken_where_the_machines_own_has_no_client(self):
        self.emulator(self.path, WITHOUT)
        fetched = self.emulator(self.fetched, WITH_CLIENT)
        self.assertEqual(self.choose(), fetched)

    def test_one_that_does_not_run_is_none(self):
        self.emulator(self.path, WITHOUT)
        self.emulator(self.fetched, "", status=127)
        self.assertIsNone(self.choose())

    def test_one_that_is_named_is_taken_before_others_and_must_have_the_client(self):
        self.emulator(self.path, WITH_CLIENT)
        named = self.emulator(self.folder / "named", WITH_CLIENT)
        self.assertEqual(self.choose(PVHCA_STOCK_QEMU=str(named)), named)
        self.emulator(self.folder / "named", WITHOUT)
        self.assertIsNone(self.choose(PVHCA_STOCK_QEMU=str(named)))


if __name__ == "__main__":
    unittest.main()
