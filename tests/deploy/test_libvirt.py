# SPDX-License-Identifier: GPL-2.0-or-later
"""The domains of deploy/libvirt: valid, and started as libvirt would start them.

libvirt is used as a library (its "embed" driver): no daemon is there, and nothing of the machine's own is touched.
"""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests" / "common"))

from timescale import scaled  # noqa: E402

BUILD = Path(os.environ.get("PVHCA_BUILD", SOURCE / "build"))
DOMAINS = SOURCE / "deploy" / "libvirt"
OURS = Path(os.environ.get("PVHCA_QEMU", BUILD / "qemu" / "qemu-system-x86_64"))
STOCK = Path(os.environ.get("PVHCA_STOCK_QEMU", BUILD / "qemu-11.1-bin" / "qemu-system-x86_64"))
NOBODY = 65534
VENDOR, DEVICE = 0x1AF4, 0x10F0


def need(*programs):
    missing = [program for program in programs if not shutil.which(str(program), path=os.environ["PATH"] + ":/usr/sbin")]
    if missing:
        raise unittest.SkipTest(f"not here: {', '.join(map(str, missing))}")


class Valid(unittest.TestCase):
    def test_domains_are_valid(self):
        need("virt-xml-validate", "xmllint")
        for domain in sorted(DOMAINS.glob("*.xml")):
            with self.subTest(domain.name):
                done = subprocess.run(["virt-xml-validate", domain, "domain"], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Started(unittest.TestCase):
    def setUp(self):
        need("virsh", "setpriv", BUILD / "hostd" / "pvhcad", BUILD / "qemu" / "pvhca-vfio-user")
        if not list(Path("/usr/lib").glob("*/libvirt/connection-driver/libvirt_driver_qemu.so")):
            self.skipTest("not here: libvirt's QEMU driver")
        folder = tempfile.TemporaryDirectory(prefix="pvhca-libvirt-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        if os.geteuid() == 0:
            os.chown(folder.name, NOBODY, NOBODY)
        self.environment = {"PATH": os.environ["PATH"], "HOME": folder.name, "LC_ALL": "C",
                            **{f"XDG_{name}_HOME": folder.name for name in ("CONFIG", "CACHE", "DATA")},
                            "XDG_RUNTIME_DIR": folder.name}
        self.processes = []
        self.addCleanup(self.stop)

    def command(self, *words):
        """As a user who is nobody: libvirt's driver for root wants the machine's own users and folders."""
        user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
        return ["setpriv", *user, "--pdeathsig", "KILL", "--", *map(str, words)]

    def start(self, name, *words):
        with open(self.folder / f"{name}.log", "w") as log:
            self.processes.append(subprocess.Popen(self.command(*words), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                   env=self.environment, cwd=self.folder))

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(scaled(20))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_until(self, condition, what):
        deadline = time.monotonic() + scaled(30)
        while not condition():
            logs = "\n".join(log.read_text() for log in self.folder.glob("*.log"))
            self.assertTrue(all(process.poll() is None for process in self.processes), logs)
            self.assertLess(time.monotonic(), deadline, f"{what} never came\n{logs}")
            time.sleep(0.05)

    def wait_for(self, path):
        self.wait_until(path.exists, path)

    def arguments(self, domain, emulator):
        """QEMU's, as libvirt makes them for the domain with another emulator, no KVM and our own sockets."""
        text = (DOMAINS / domain).read_text()
        for old, new in (("<domain type='kvm'", "<domain type='qemu'"), ("<cpu mode='host-passthrough'/>", ""),
                         ("unit='GiB'>4<", "unit='MiB'>256<"),
                         ("/run/pvhca-vfio-user/vm1/socket", str(self.folder / "vm1.sock")),
                         ("/run/pvhca/pvhcad.sock", str(self.folder / "pvhcad.sock"))):
            text = text.replace(old, new)
        head, _, rest = text.partition("<emulator>")
        text = f"{head}<emulator>{emulator}{rest[rest.index('</emulator>'):]}"
        self.assertNotIn("/run/", text)
        file = self.folder / domain
        file.write_text(text)
        done = subprocess.run(self.command("virsh", "-c", f"qemu:///embed?root={self.folder}/root", "domxml-to-native",
                                           "qemu-argv", file), capture_output=True, text=True, env=self.environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        words = shlex.split(done.stdout)
        return words[words.index(str(emulator)):]

    def prepare_folders(self, arguments):
        """What libvirt makes before it starts a domain."""
        monitor = next(word for word in arguments if word.startswith("socket,id=charmonitor,"))
        path = Path(monitor.partition("path=")[2].partition(",")[0])
        secret = path.parent / "master-key.aes"
        path.parent.mkdir(parents=True, exist_ok=True)
        secret.write_bytes(bytes(32))
        if os.geteuid() == 0:
            for name in (path.parent, secret):
                os.chown(name, NOBODY, NOBODY)
        return path

    def devices(self, monitor):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(scaled(30))
            sock.connect(str(monitor))
            stream = sock.makefile("rwb")
            stream.readline()
            for name in ("qmp_capabilities", "query-pci"):
                stream.write(json.dumps({"execute": name}).encode() + b"\n")
                stream.flush()
                answer = json.loads(stream.readline())
            return [(device["id"]["vendor"], device["id"]["device"], device["slot"])
                    for bus in answer["return"] for device in bus["devices"]]

    def run_domain(self, domain, emulator):
        if not os.access(emulator, os.X_OK):
            self.skipTest(f"not here: {emulator}")
        self.start("pvhcad", BUILD / "hostd" / "pvhcad", "--socket", self.folder / "pvhcad.sock", "--fabric", "loopback")
        self.wait_for(self.folder / "pvhcad.sock")
        self.start("server", BUILD / "qemu" / "pvhca-vfio-user", "--socket", self.folder / "vm1.sock",
                   "--link", self.folder / "pvhcad.sock", "--name", "vm1")
        self.wait_for(self.folder / "vm1.sock")
        arguments = self.arguments(domain, emulator)
        monitor = self.prepare_folders(arguments)
        self.start("qemu", *arguments)
        self.wait_for(monitor)
        self.assertIn((VENDOR, DEVICE, 0x10), self.devices(monitor))
        self.wait_until(lambda: "VM vm1: connected" in (self.folder / "pvhcad.log").read_text(), "the VM's connection")

    def test_domain_with_vfio_user_starts(self):
        self.run_domain("vm1-vfio-user.xml", STOCK)

    def test_domain_with_our_device_starts(self):
        self.run_domain("vm1-pvhca.xml", OURS)


if __name__ == "__main__":
    unittest.main()
