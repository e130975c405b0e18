# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is: its processor's architecture, its kernel, its user space.

    system.architecture     as uname calls its processor
    system.root             its root file system, a folder of this machine
    system.kernel           version
    system.kernel_root      where boot/ and lib/modules/ of that kernel are
    system.modules_at       the same as the guest sees it
    system.libraries        folder of its shared libraries
    system.page_size
    system.ram_start        guest-physical address of the first byte of RAM
    system.starts_itself    whether its own init runs, and brings up what is installed: driver, provider, services
    system.emulator()       a QEMU as a distribution has it, for that processor

Programs, provider and driver that were built are at the same paths in each guest, whatever its architecture
(tests/arm64/prepare).
"""

import functools
import os
import re
from pathlib import Path

from . import kernelimage, paths
from .errors import Skip


class System:
    """As this machine."""

    name = "x86"
    compiler = os.environ.get("CC", "cc")
    architecture = "x86_64"
    machine = "q35"
    cpu = "qemu64"
    console = "ttyS0"
    append = "tsc=reliable"
    libraries = "/usr/lib/x86_64-linux-gnu"
    root = Path("/")
    page_size = 4096
    ram_start = 0
    starts_itself = False

    @property
    def kernel(self):
        return paths.kernel()

    @property
    def kernel_root(self):
        return paths.kernel_root()

    @property
    def modules_at(self):
        return paths.kernel_root()

    def kernel_image(self):
        return kernelimage.file()

    def kernel_module(self):
        return paths.kernel_module()

    def emulator(self):
        return paths.stock_qemu()


class Installed(System):
    """A release of Debian in a folder, with kernel, driver and provider where its package manager put them. As on a
    machine, systemd starts it and udev loads the driver."""

    append = "tsc=reliable net.ifnames=0 vmtest.init=/sbin/init"
    modules_at = Path("/")
    starts_itself = True

    def __init__(self, root):
        self.root = Path(root)

    @property
    def kernel_root(self):
        return self.root

    @functools.cached_property
    def kernel(self):
        found = [image.name.removeprefix("vmlinuz-") for image in (self.root / "boot").glob("vmlinuz-*")]
        found += [image.parent.name for image in (self.root / "usr/lib/modules").glob("*/vmlinuz")]
        if not found:
            raise Skip(f"there is no kernel in {self.root}: it is not built")
        return max(found, key=paths.version_key)

    def kernel_image(self):
        # Packages of Linux 7.2 and later have it beside the modules; a loader's hook may bring it to /boot.
        beside = self.root / "usr/lib/modules" / self.kernel / "vmlinuz"
        return beside if beside.exists() else self.root / "boot" / f"vmlinuz-{self.kernel}"

    def kernel_module(self):
        folder = self.root / "lib/modules" / self.kernel / "updates/dkms"
        return next(folder.glob("pvhca.ko*"), None) or paths.product(folder / "pvhca.ko")


class Arm64(System):
    """Debian 13 for arm64, unpacked; its kernel is one of those in there."""

    name = "arm64"
    compiler = "aarch64-linux-gnu-gcc"
    architecture = "aarch64"
    machine = "virt,gic-version=3,its=on"
    cpu = "neoverse-n1"     # has pages of all sizes, and no pointer authentication, which is slow to emulate
    console = "ttyAMA0"
    append = "nokaslr"
    libraries = "/usr/lib/aarch64-linux-gnu"
    modules_at = Path("/")
    ram_start = 0x40000000

    def __init__(self, flavour, page_size):
        self._flavour, self.page_size = flavour, page_size

    @property
    def root(self):
        return paths.build() / "arm64" / "root"

    @property
    def kernel_root(self):
        return self.root

    @functools.cached_property
    def kernel(self):
        found = [image.name.removeprefix("vmlinuz-") for image in (self.root / "boot").glob("vmlinuz-*")]
        found = [version for version in found if re.search(rf"\d-{self._flavour}$|\+deb\d+-{self._flavour}$", version)]
        if not found:
            raise Skip(f"there is no arm64 guest: {self.root} is not built")
        return found[0]

    def kernel_image(self):
        return self.root / "boot" / f"vmlinuz-{self.kernel}"

    def kernel_module(self):
        """Where the guest has it."""
        path = paths.build() / "kernel" / self.kernel / "pvhca.ko"
        paths.product(self.root / path.relative_to("/"))
        return path

    def emulator(self):
        return paths.product(paths.build() / "arm64" / "emulator" / "qemu-system-aarch64")


HERE = System()
ARM64 = Arm64("arm64", 4096)
ARM64_16K = Arm64("arm64-16k", 16384)
