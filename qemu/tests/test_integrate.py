#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of qemu/integrate on a tree that has only the lines it looks for."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


class Integrate(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name)
        for name, text in (("hw/meson.build", "subdir('pci')\nsubdir('z')\n"),
                           ("hw/Kconfig", "source pci/Kconfig\nsource z/Kconfig\n"),
                           ("meson.build", "  trace = [\n    'hw/pci',\n    'hw/z',\n  ]\n"),
                           ("configs/devices/x86_64-softmmu/default.mak", "")):
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run_it(self, *options, status=0):
        done = subprocess.run([HERE / "integrate", *options, self.tree], capture_output=True,
                              text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stderr

    def state(self):
        return {path: (os.lstat(path).st_mtime_ns, path.read_bytes())
                for path in self.tree.rglob("*") if path.is_file()}

    def test_lines_are_added_once_and_nothing_is_touched_again(self):
        for options in ([], ["--link"]):
            self.run_it(*options)
            first = self.state()
            self.run_it(*options)
            self.assertEqual(self.state(), first)
            self.assertEqual((self.tree / "hw/meson.build").read_text(),
                             "subdir('pci')\nsubdir('pvhca')\nsubdir('z')\n")
            self.assertEqual((self.tree / "hw/Kconfig").read_text(),
                             "source pci/Kconfig\nsource pvhca/Kconfig\nsource z/Kconfig\n")
            self.assertIn("    'hw/pci',\n    'hw/pvhca',\n", (self.tree / "meson.build").read_text())
            device = self.tree / "hw/pvhca/pvhca.c"
            self.assertEqual(device.is_symlink(), bool(options))
            self.assertEqual(device.read_bytes(), (HERE / "hw/pvhca/pvhca.c").read_bytes())
            for header in ("pvhca-regs.h", "pvhca-link.h", "pvhca-version.h", "pvhca-device.h",
                           "pvhca-device.c", "pvhca-client.h", "pvhca-client.c"):
                self.assertTrue((self.tree / "hw/pvhca" / header).exists(), header)

    def test_a_tree_without_the_expected_lines_is_refused(self):
        (self.tree / "hw/meson.build").write_text("something else\n")
        self.assertIn("has no line", self.run_it(status=1))

    def test_what_is_no_qemu_is_refused(self):
        (self.tree / "hw/Kconfig").unlink()
        self.assertIn("is not a source tree of QEMU", self.run_it(status=1))


if __name__ == "__main__":
    unittest.main()
