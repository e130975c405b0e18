# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests' kernel, unpacked.

Half of what it costs to boot a small emulated guest is the kernel unpacking itself. QEMU starts an unpacked one
directly when it has the entry point for that (CONFIG_PVH); any other is booted as it is.
"""

import gzip
import lzma
import os
import struct

from . import paths

# Linux Documentation/arch/x86/boot.rst: fields of the setup header, by offset.
SETUP_SECTORS, MAGIC, PROTOCOL, PAYLOAD = 0x1f1, 0x202, 0x206, 0x248
PAYLOAD_PROTOCOL = 0x0208   # the first version that says where the payload is
SECTOR = 512

UNPACKERS = {
    b"\xfd7zXZ\x00": lambda data: lzma.LZMADecompressor().decompress(data),
    b"\x1f\x8b": gzip.decompress,
}


def _boots_unpacked(version):
    try:
        with open(paths.kernel_root() / "boot" / f"config-{version}", encoding="utf-8") as config:
            return "CONFIG_PVH=y\n" in config
    except FileNotFoundError:
        return False


def _unpack(image):
    """The ELF file inside a bzImage, None when it is not packed in a way known here."""
    if image[MAGIC:MAGIC + 4] != b"HdrS" or struct.unpack_from("<H", image, PROTOCOL)[0] < PAYLOAD_PROTOCOL:
        return None
    offset, length = struct.unpack_from("<2I", image, PAYLOAD)
    start = ((image[SETUP_SECTORS] or 4) + 1) * SECTOR + offset
    payload = image[start:start + length]
    for magic, unpack in UNPACKERS.items():
        if payload.startswith(magic):
            try:
                return unpack(payload)
            except (OSError, EOFError, lzma.LZMAError):
                return None
    return None


def file():
    """What to give to QEMU's -kernel."""
    packed = paths.kernel_image()
    if not _boots_unpacked(paths.kernel()):
        return packed
    stat = os.stat(packed)
    unpacked = paths.cache() / f"vmlinux-{paths.kernel()}-{stat.st_size}-{stat.st_mtime_ns}"
    if unpacked.exists():
        return unpacked
    elf = _unpack(packed.read_bytes())
    if elf is None or not elf.startswith(b"\x7fELF"):
        return packed
    draft = unpacked.with_name(f"{unpacked.name}.{os.getpid()}")
    draft.write_bytes(elf)
    draft.rename(unpacked)
    return unpacked
