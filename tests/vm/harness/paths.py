# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are: the build's products, kernels, emulators."""

import functools
import os
import re
import subprocess
from pathlib import Path

from .errors import HarnessError, Skip

SOURCE = Path(__file__).resolve().parents[3]
VM_TESTS = SOURCE / "tests" / "vm"


def build():
    return Path(os.environ.get("PVHCA_BUILD", SOURCE / "build")).resolve()


def cache():
    """What is costly to make and depends only on what it is made from."""
    path = build() / "tests" / "cache"
    path.mkdir(parents=True, exist_ok=True)
    return path


def version_key(version):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", version)]


@functools.cache
def kernel():
    """The guests' kernel version: PVHCA_KERNEL, or the newest installed one that modules can be built for."""
    chosen = os.environ.get("PVHCA_KERNEL")
    if chosen:
        return chosen
    images = [image.name.removeprefix("vmlinuz-") for image in Path("/boot").glob("vmlinuz-*")]
    images = [version for version in images if Path("/lib/modules", version, "modules.dep").exists()]
    buildable = [version for version in images if Path("/lib/modules", version, "build").exists()]
    if not images:
        raise HarnessError("no kernel in /boot with its modules in /lib/modules")
    return max(buildable or images, key=version_key)


def kernel_root():
    """Where the guests' kernel is, boot/ and lib/modules/: this machine's root, or PVHCA_KERNEL_ROOT for a kernel that
    is not installed. It then has a name by PVHCA_KERNEL, and a list of its modules (depmod -b)."""
    return Path(os.environ.get("PVHCA_KERNEL_ROOT") or "/")


def kernel_image():
    return kernel_root() / "boot" / f"vmlinuz-{kernel()}"


def kernel_module():
    return product(build() / "kernel" / kernel() / "pvhca.ko")


def daemon():
    return product(Path(os.environ.get("PVHCA_DAEMON", build() / "hostd" / "pvhcad")))


def provider():
    """The provider's plugin; its name ends in the private ABI of the rdma-core that it was built for."""
    found = sorted((build() / "providers").glob("libpvhca-rdmav*.so"))
    return found[0] if found else product(build() / "providers" / "libpvhca-rdmav34.so")


def test_program(name):
    """A program of tests/verbs, to run in a guest or on the native host."""
    return product(build() / "tests" / "verbs" / name)


def own_program(name):
    """A program of tests/vm."""
    return product(build() / "tests" / "vm" / name)


def qemu_with_device():
    return product(Path(os.environ.get("PVHCA_QEMU", build() / "qemu" / "qemu-system-x86_64")))


def stock_qemu():
    """A QEMU as a distribution has it, with a client of vfio-user."""
    return product(Path(os.environ.get("PVHCA_STOCK_QEMU", build() / "qemu-11.1-bin" / "qemu-system-x86_64")))


def vfio_user():
    return product(build() / "qemu" / "pvhca-vfio-user")


def qemu():
    """An emulator for guests without the device, and for L1, where 10.0 is much steadier than Debian 12's 7.2."""
    candidates = [os.environ.get("PVHCA_QEMU"), build() / "qemu" / "qemu-system-x86_64",
                  "/usr/bin/qemu-system-x86_64"]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate)
    raise HarnessError("no qemu-system-x86_64: build qemu/ or install qemu-system-x86")


def qemu_data(emulator):
    """Options that lead an emulator that is not installed to its firmware: its own, else the system's."""
    if emulator.parent == Path("/usr/bin"):
        return []
    share = emulator.parent.parent / "share"
    folders = [emulator.parent / "pc-bios", share / "qemu", share / "seabios", "/usr/share/qemu", "/usr/share/seabios"]
    return [word for folder in folders if os.path.isdir(folder) for word in ("-L", str(folder))]


@functools.cache
def qemu_version(emulator):
    text = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def product(path):
    """The path, if what the build should have put there is there."""
    if not path.exists():
        raise Skip(f"{path} is not built")
    return path
