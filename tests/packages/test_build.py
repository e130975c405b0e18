# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages are built in clean roots of Debian 12 and 13, without network, and lintian is content."""

import hashlib
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import debian_root
from debian_root import PACKAGES, SOURCE, Root

EM_AARCH64 = 183


def sums(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.deb")}


class Build(unittest.TestCase):
    def lintian(self, suite, folder):
        root = Root(suite, f"build-{suite}", fresh=False)
        _, output = root.run("lintian --allow-root --fail-on error,warning --display-info /packages/*.changes",
                             binds=[(folder, "/packages")], check=False)
        (debian_root.LOGS / f"lintian-{suite}.log").write_text(output)
        findings = [line for line in output.splitlines() if re.match(r"[EW]:", line)]
        self.assertEqual(findings, [])

    def hardening(self, suite, folder):
        """Of each program and plugin: position independent, all relocations before the start, fortified."""
        root = Root(suite, f"build-{suite}", fresh=False)
        root.add("devscripts")
        output = root.run("""
            for deb in pvhcad pvhca-vfio-user ibverbs-provider-pvhca pvhca-tests; do
                dpkg-deb -x /packages/${deb}_*.deb /tmp/$deb
            done
            find /tmp/pvhca* /tmp/ibv* -type f \\( -perm -u+x -o -name '*.so' \\) -exec hardening-check -q -c {} + 2>&1
            """, binds=[(folder, "/packages")], check=False)[1]
        missing = [line for line in output.splitlines()
                   if re.search(r"Position Independent|Immediate binding|Read-only relocations|Stack protected", line)
                   and "no," in line]
        self.assertEqual(missing, [], output)

    def packages_are_whole(self, folder):
        self.assertEqual(sorted(path.name.split("_")[0] for path in debian_root.debs(folder)), sorted(PACKAGES))

    def test_debian_12_builds_them(self):
        folder = debian_root.build("bookworm")
        self.packages_are_whole(folder)
        self.lintian("bookworm", folder)
        self.hardening("bookworm", folder)

    def test_debian_13_builds_them_and_passes_unit_and_link_tests(self):
        folder = debian_root.build("trixie", check=True)
        self.packages_are_whole(folder)
        self.lintian("trixie", folder)
        log = (debian_root.LOGS / "build-trixie.log")
        if log.exists():
            self.assertRegex(log.read_text(), r"100% tests passed, 0 tests failed out of \d\d")


class Reproducible(unittest.TestCase):
    """Takes minutes more, so only scripts/soak runs it."""

    def test_debian_12_builds_twice_the_same(self):
        folder = debian_root.build("bookworm")
        again = folder.with_name("bookworm-again")
        shutil.rmtree(again, ignore_errors=True)
        again.mkdir()
        debian_root.build_once("bookworm", folder / "source", again, check=False)
        self.assertEqual(sums(folder), sums(again))


class Arm64(unittest.TestCase):
    """Takes minutes more, so only scripts/soak runs it."""

    def test_debian_13_cross_builds_them(self):
        folder = debian_root.BUILD / "tests/packages/trixie-arm64"
        shutil.rmtree(folder, ignore_errors=True)
        debian_root.copy_tree(folder / "source")
        output = debian_root.build_for("arm64", "trixie", folder / "source", folder)
        self.assertEqual(re.findall(r"^.*: warning: .*\[-W.*$", output, re.MULTILINE), [])
        built = {path.name.split("_")[0]: path for path in debian_root.debs(folder)}
        self.assertEqual(sorted(built), sorted(PACKAGES))
        for package, path in built.items():
            self.assertTrue(path.name.endswith("_all.deb" if package == "pvhca-dkms" else "_arm64.deb"), path)
        self.assert_programs_are_arm64(built["pvhcad"], "usr/sbin/pvhcad")
        self.assert_programs_are_arm64(built["ibverbs-provider-pvhca"], "usr/lib/aarch64-linux-gnu/libibverbs/libpvhca-rdmav34.so")

    def assert_programs_are_arm64(self, deb, *names):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["dpkg-deb", "-x", deb, folder], check=True)
            for name in names:
                header = (Path(folder) / name).read_bytes()[:20]
                # ELF: e_machine is the 16-bit number at 18.
                self.assertEqual((header[:4], int.from_bytes(header[18:20], "little")), (b"\x7fELF", EM_AARCH64), name)


class Files(unittest.TestCase):
    """What needs no root."""

    def test_version_of_packages_is_that_of_the_project(self):
        project = re.search(r"project\(pvhca VERSION ([0-9.]+)", (SOURCE / "CMakeLists.txt").read_text())[1]
        package = re.match(r"pvhca \(([0-9.]+)\)", (SOURCE / "debian/changelog").read_text())[1]
        self.assertEqual(package, project)

    def test_headers_of_rdma_core_are_as_it_has_them(self):
        tree = debian_root.BUILD / "rdma-core-src"
        if not tree.exists():
            self.skipTest("the tree of rdma-core is not there")
        subprocess.run([SOURCE / "debian/vendor-rdma-core", tree, "--check"], check=True)


if __name__ == "__main__":
    unittest.main()
