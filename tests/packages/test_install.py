# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages in clean roots: what installing, using, upgrading, removing and purging them does, without guests.

What needs systemd is in test_upgrade.py, what needs a kernel in tests/versions.
"""

import re
import unittest

import debian_root
from debian_root import SOURCE, Root

# Kernel headers of the release, against which DKMS builds.
HEADERS = "linux-headers-amd64"


class Install(unittest.TestCase):
    suite = None

    @classmethod
    def setUpClass(cls):
        if cls is Install:
            raise unittest.SkipTest("the parent of the others")
        cls.folder = debian_root.build(cls.suite, check=cls.suite == "trixie")
        cls.root = Root(cls.suite, f"install-{cls.suite}", ["python3", "ibverbs-utils", HEADERS])

    @classmethod
    def tearDownClass(cls):
        cls.root.remove()

    def shell(self, command, **options):
        return self.root.run(command, binds=[(self.folder, "/packages"), (SOURCE, "/src")], **options)

    def apt(self, command, check=True):
        return self.shell(f"apt-get -q -y --no-install-recommends {command}", check=check)

    def names(self, table):
        return {line.split(":")[0] for line in self.shell(f"cat /etc/{table}").splitlines()}

    def files(self, folder, *packages):
        debs = debian_root.debs(folder, *packages)
        return " ".join(f"/packages/{path.relative_to(self.folder)}" for path in debs)

    def test_1_a_provider_of_another_private_abi_is_refused(self):
        """Against a libibverbs1 of another private ABI, here an empty package of that version."""
        output = self.shell("""
            mkdir -p /tmp/other/DEBIAN
            printf '%s\\n' 'Package: libibverbs1' 'Version: 65.0-1' "Architecture: $(dpkg --print-architecture)" \\
                'Maintainer: nobody <nobody@example.org>' 'Description: stands in' >/tmp/other/DEBIAN/control
            dpkg-deb -b /tmp/other /tmp/other.deb
            ! apt-get -q -y -s install /tmp/other.deb /packages/ibverbs-provider-pvhca_*.deb 2>&1
            """)
        self.assertIn("libibverbs1 (< 57)", output)

    def test_2_all_are_installed_and_dkms_builds_the_driver(self):
        output = self.apt("install " + self.files(self.folder))
        kernel = self.shell("ls /lib/modules").split()[-1]
        state = self.shell(f"dkms status -m pvhca -k {kernel}")
        self.assertIn("installed", state, output[-3000:])
        module = self.shell(f"modinfo -k {kernel} pvhca")
        self.assertRegex(module, r"alias:\s+pci:v00001AF4d000010F")

    def test_3_pvhcad_serves_as_its_own_user(self):
        self.assertIn("pvhca", self.names("passwd"))
        self.assertLessEqual({"pvhca", "kvm"}, self.names("group"))
        self.shell("pvhcad --version; pvhcactl --version; pvhca-vfio-user --help >/dev/null")
        output = self.shell("cd /src && PYTHONDONTWRITEBYTECODE=1 debian/tests/link")
        self.assertIn(f"{1 << 30} bytes moved", output)
        self.shell("cd /src && debian/tests/provider")

    def test_4_installed_files_are_where_they_belong(self):
        listed = self.shell("dpkg -L pvhcad pvhca-vfio-user ibverbs-provider-pvhca pvhca-dkms")
        for path in ("/usr/sbin/pvhcad", "/usr/sbin/pvhcactl", "/etc/pvhca/pvhcad.conf", "/etc/libibverbs.d/pvhca.driver",
                     "/usr/share/bash-completion/completions/pvhcactl", "/usr/share/man/man8/pvhcad.8.gz",
                     "/usr/share/man/man5/pvhcad.conf.5.gz", "/usr/bin/pvhca-vfio-user",
                     "/usr/lib/modprobe.d/pvhca.conf"):
            self.assertIn(path + "\n", listed)
        for unit in ("pvhcad.service", "pvhca-vfio-user@.service"):
            self.assertRegex(listed, rf"/lib/systemd/system/{re.escape(unit)}\n")
        self.assertIn("/etc/pvhca/pvhcad.conf", self.shell("dpkg-query -W -f '${Conffiles}' pvhcad"))

    def test_5_settings_outlive_removal_and_purge_leaves_nothing(self):
        self.shell("echo '# mine' >>/etc/pvhca/pvhcad.conf")
        names = "pvhcad pvhca-vfio-user pvhca-dkms ibverbs-provider-pvhca pvhca-tests"
        self.apt(f"remove {names}")
        self.assertIn("# mine", self.shell("cat /etc/pvhca/pvhcad.conf"))
        self.assertEqual(self.shell("find /lib/modules /usr/lib/modules -name 'pvhca.ko*'"), "")
        # All but the driver, which DKMS would only build once more.
        again = (name for name in debian_root.PACKAGES if name != "pvhca-dkms")
        self.apt("install " + self.files(self.folder, *again))
        self.assertIn("# mine", self.shell("cat /etc/pvhca/pvhcad.conf"))
        self.apt(f"purge {names}")
        self.apt("autopurge")
        self.assertNotIn("pvhca", self.names("passwd") | self.names("group"))
        left = self.shell("find / \\( -path /proc -o -path /sys -o -path /dev -o -path /packages -o -path /src "
                          "-o -path /var/log -o -path /.pvhca-root \\) -prune -o -name '*pvhca*' -print")
        self.assertEqual(left.splitlines(), [])


class Debian12(Install):
    suite = "bookworm"


class Debian13(Install):
    suite = "trixie"


if __name__ == "__main__":
    unittest.main()
