# SPDX-License-Identifier: GPL-2.0-or-later
"""README's two commands in fresh roots of Debian 12 and 13, in a checkout as a user has it.

A root is no machine of its own: scripts/demo boots its guests there as anywhere, scripts/check runs what needs no guests.
What was compiled and downloaded before is taken from the caches of whoever runs this.
"""

import os
import shutil
import subprocess
import unittest
from pathlib import Path

import debian_root
from debian_root import BUILD, SOURCE, Root

CCACHE = Path(os.environ.get("CCACHE_DIR") or Path.home() / ".cache/ccache")
CHECK = "scripts/check -L 'unit|style|link'"


class Fresh(unittest.TestCase):
    def run_in(self, suite, command):
        """The command in a new root of the release, and in a new checkout. Returns what it printed."""
        checkout = BUILD / "tests/fresh" / suite
        shutil.rmtree(checkout, ignore_errors=True)
        subprocess.run(["git", "clone", "-q", SOURCE, checkout], check=True)
        root = Root(suite, f"fresh-{suite}")
        self.addCleanup(root.remove)
        self.addCleanup(shutil.rmtree, checkout, ignore_errors=True)
        (root.path / "etc/apt/apt.conf.d/90keep").write_text('APT::Keep-Downloaded-Packages "true";\n')
        CCACHE.mkdir(parents=True, exist_ok=True)
        status, output = root.run(f"cd /checkout/pvhca && {command}", check=False, binds=[
            (checkout, "/checkout/pvhca"), (debian_root.CACHE, "/root/.cache/pvhca"), (CCACHE, "/root/.cache/ccache"),
            (debian_root.downloads(suite, f"fresh-{suite}"), "/var/cache/apt/archives")])
        debian_root.LOGS.mkdir(parents=True, exist_ok=True)
        log = debian_root.LOGS / f"fresh-{suite}-{command.split('/')[1].split()[0]}.log"
        log.write_text(output)
        self.assertEqual(status, 0, f"{log}:\n{output[-6000:]}")
        return output

    def demo(self, suite):
        self.assertRegex(self.run_in(suite, "scripts/demo"), r"demo: done \(\d+ s\)\s*\Z")

    def check(self, suite):
        self.assertRegex(self.run_in(suite, CHECK), r"100% tests passed, 0 tests failed out of \d\d")

    def test_demo_on_debian_12(self):
        self.demo("bookworm")

    def test_demo_on_debian_13(self):
        self.demo("trixie")

    def test_check_on_debian_12(self):
        self.check("bookworm")

    def test_check_on_debian_13(self):
        self.check("trixie")


if __name__ == "__main__":
    unittest.main()
