# SPDX-License-Identifier: GPL-2.0-or-later
"""pvhca-check-host on hosts that are made of files."""

import os
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "deploy" / "pvhca-check-host"
GID = "0000:0000:0000:0000:0000:ffff:0a4d:0001"
LINK_LOCAL = "fe80:0000:0000:0000:0202:03ff:fe04:0506"


class CheckHost(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name) / "root"
        self.bin = Path(folder.name) / "bin"
        self.bin.mkdir()
        # One on which all is well.
        self.file("dev/kvm")
        self.file("proc/77/comm", "pvhcad\n")
        self.file("proc/77/limits", "Limit  Soft  Hard  Units\nMax locked memory  unlimited  unlimited  bytes\n")
        self.file("proc/meminfo", "MemTotal: 1 kB\nHugePages_Total: 8\nHugePages_Free: 3\nHugepagesize: 2048 kB\n")
        self.file("run/pvhca/pvhcad.sock").chmod(0o666)
        self.device("mlx5_0")
        for name in ("pvhcad", "pvhcactl", "pvhca-vfio-user"):
            self.program(name, "exit 0")
        self.emulator('name "vfio-user-pci"')

    def file(self, name, text=""):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def device(self, name, link="Ethernet", state="4: ACTIVE", gid=GID, kind="RoCE v2"):
        port = f"sys/class/infiniband/{name}/ports/1"
        self.file(f"{port}/link_layer", link)
        self.file(f"{port}/state", state)
        self.file(f"{port}/gids/0", gid)
        self.file(f"{port}/gid_attrs/types/0", kind)
        self.file("dev/infiniband/uverbs0")
        self.file("dev/infiniband/rdma_cm")

    def program(self, name, script):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def emulator(self, devices):
        return self.program("qemu-system-x86_64", f"""case $1 in
            --version) echo 'QEMU emulator version 11.1.3 (of the test)' ;;
            *) echo '{devices}' ;; esac""")

    def check(self, *options, status=0):
        done = subprocess.run([PROGRAM, "--root", self.root, *options], capture_output=True, text=True,
                              env={"PATH": f"{self.bin}:/usr/bin:/bin"}, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def lacks(self, what, *options):
        found = self.check(*options, status=1)
        self.assertEqual([line for line in found.splitlines() if line.startswith("MISSING") and what in line] != [],
                         True, found)
        return found

    def test_nothing_is_missing(self):
        found = self.check("--fabric", "verbs")
        self.assertNotIn("MISSING", found)
        self.assertIn("qemu-system-x86_64 11.1.3 has vfio-user-pci", found)
        self.assertIn("mlx5_0: ::ffff:10.77.0.1", found)
        self.assertIn("everybody may connect", found)
        self.assertIn("3 of 8 free", found)
        self.assertIn("nothing is missing", found)

    def test_kvm(self):
        (self.root / "dev/kvm").unlink()
        self.lacks("/dev/kvm")

    def test_qemu_that_has_neither_device(self):
        self.emulator('name "virtio-net-pci"')
        self.lacks("neither vfio-user-pci nor pvhca")

    def test_qemu_with_our_device_is_enough(self):
        self.emulator('name "pvhca"')
        self.assertIn("pvhca-vfio-user is not needed", self.check())

    def test_qemu_that_is_not_there(self):
        (self.bin / "qemu-system-x86_64").unlink()
        self.lacks("no qemu-system-x86_64")

    def test_qemu_that_is_named(self):
        other = self.program("other-qemu", "echo 'name \"pvhca\"'")
        self.emulator("nothing")
        self.check("--qemu", str(other))

    def test_daemon_that_is_not_installed(self):
        (self.bin / "pvhcad").unlink()
        self.lacks("no pvhcad")

    def test_daemon_that_does_not_run(self):
        (self.root / "proc/77/comm").unlink()
        self.lacks("pvhcad does not run")

    def test_locked_memory_counts_on_the_verbs_fabric(self):
        self.file("proc/77/limits", "Max locked memory  8388608  8388608  bytes\n")
        self.lacks("may lock 8 MiB only", "--fabric", "verbs")
        self.assertIn("may lock 8 MiB only", self.check())

    def test_socket_that_nobody_may_use(self):
        (self.root / "run/pvhca/pvhcad.sock").chmod(0o600)
        self.assertIn("its user only", self.check())

    def test_devices_that_cannot_be_used(self):
        for change, reason in (({"link": "InfiniBand"}, "RoCE only"), ({"state": "1: DOWN"}, "port is 1: DOWN"),
                               ({"kind": "IB/RoCE v1"}, "no RoCE v2 GID"), ({"gid": LINK_LOCAL}, "no RoCE v2 GID"),
                               ({"gid": "0000:" * 7 + "0000"}, "no RoCE v2 GID")):
            with self.subTest(change):
                self.device("mlx5_0", **change)
                self.assertIn(reason, self.lacks("no RoCE device that can be used", "--fabric", "verbs"))
                self.assertIn(reason, self.check())     # the loopback fabric needs none

    def test_modules_of_the_host(self):
        (self.root / "dev/infiniband/uverbs0").unlink()
        self.lacks("uverbs")
        self.device("mlx5_0")
        (self.root / "dev/infiniband/rdma_cm").unlink()
        self.lacks("modprobe rdma_ucm")

    def test_user_namespaces_and_huge_pages_are_notes(self):
        self.file("proc/sys/kernel/unprivileged_userns_clone", "0\n")
        self.file("proc/meminfo", "HugePages_Total: 0\n")
        found = self.check()
        self.assertIn("without a mount view of its own", found)
        self.assertIn("no huge pages", found)

    def test_this_machine_is_looked_at_without_an_error(self):
        done = subprocess.run([PROGRAM], capture_output=True, text=True, stdin=subprocess.DEVNULL, env=os.environ)
        self.assertIn(done.returncode, (0, 1))
        self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    unittest.main()
