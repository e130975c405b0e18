# SPDX-License-Identifier: GPL-2.0-or-later
"""pvhcad's package under systemd: installed, upgraded with a client connected, removed, purged, installed again.

systemd runs in a root of its own by systemd-nspawn. The older packages are this tree's under an older version.
"""

import re
import shutil
import subprocess
import unittest

import debian_root
from debian_root import SOURCE, Root

OLD = "0.1.99"
LIMIT_SECONDS = 1200
UNIT = """[Unit]
After=network.target dbus.service
[Service]
Type=exec
ExecStart=/usr/bin/python3 -W ignore /src/tests/packages/upgrade_steps.py {old} {new}
Environment=PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8
[Install]
WantedBy=multi-user.target
"""


class Upgrade(unittest.TestCase):
    def test_a_client_sees_the_device_go_and_come_back(self):
        if not shutil.which("systemd-nspawn"):
            self.skipTest("systemd-nspawn is not installed (package systemd-container)")
        new = re.search(r"project\(pvhca VERSION ([0-9.]+)", (SOURCE / "CMakeLists.txt").read_text())[1]
        old_folder = debian_root.build("bookworm", version=OLD, name=f"bookworm-{OLD}")
        new_folder = debian_root.build("bookworm")
        root = Root("bookworm", "upgrade", ["systemd-sysv", "dbus", "python3"])
        self.addCleanup(root.remove)
        (root.path / "usr/sbin/policy-rc.d").unlink()
        unit = root.path / "etc/systemd/system/upgrade.service"
        unit.write_text(UNIT.format(old=OLD, new=new))
        root.run("systemctl enable upgrade.service")
        console = subprocess.run(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--directory", root.path, "--boot",
             f"--bind-ro={old_folder}:/old", f"--bind-ro={new_folder}:/new", f"--bind-ro={SOURCE}:/src"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=LIMIT_SECONDS).stdout
        log = root.path / "var/log/upgrade"
        self.assertTrue(log.exists(), console[-3000:])
        print(log.read_text())
        self.assertTrue(log.read_text().endswith("passed\n"), log.read_text())


if __name__ == "__main__":
    unittest.main()
