# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests' initramfs: the agent as /init, and the modules that lead to the root file system."""

import gzip
import hashlib
import os
import subprocess
from pathlib import Path

from . import paths
from .errors import HarnessError
from .system import HERE

MODULES = ("virtio_pci", "virtio_console", "virtio_net", "9p", "9pnet_virtio", "overlay")


def module_files(*names, system=HERE):
    """Files of the modules and of all they depend on, in the order to load them."""
    files = []
    for name in names:
        listing = subprocess.run(["/sbin/modprobe", "-d", system.kernel_root, "-S", system.kernel, "--show-depends", name],
                                 capture_output=True, text=True)
        if listing.returncode:
            raise HarnessError(f"modprobe --show-depends {name}: {listing.stderr.strip()}")
        for line in listing.stdout.splitlines():
            word, _, rest = line.partition(" ")
            if word == "insmod" and (file := "/" + rest.split()[0].lstrip("/")) not in files:   # it begins with // below /
                files.append(file)
    return files


def _hash(parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _write(path, data):
    """Whole or not at all: another harness may be making or using the same file."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.rename(path)


def agent(system=HERE):
    """The agent's binary, compiled when its source has changed."""
    sources = sorted((paths.VM_TESTS / "agent").glob("*.[ch]"))
    binary = paths.cache() / f"agent-{system.name}-{_hash([source.read_bytes() for source in sources])}"
    if not binary.exists():
        draft = binary.with_name(f"{binary.name}.{os.getpid()}")
        command = [system.compiler, "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-s", "-static", "-o", str(draft)]
        command += [str(source) for source in sources if source.suffix == ".c"]
        compiled = subprocess.run(command, capture_output=True, text=True)
        if compiled.returncode:
            raise HarnessError(f"the guest agent does not compile:\n{compiled.stderr}")
        draft.rename(binary)
    return binary


def _entry(name, mode, data=b"", number=[0]):
    """One member of a "newc" cpio archive."""
    number[0] += 1
    encoded = name.encode() + b"\0"
    fields = (number[0], mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def image(system=HERE):
    """The initramfs for that system's kernel."""
    binary, modules = agent(system), module_files(*MODULES, system=system)
    stamps = [f"{module} {os.stat(module).st_size} {os.stat(module).st_mtime_ns}" for module in modules]
    path = paths.cache() / f"initramfs-{_hash([binary.name, system.kernel, *stamps])}"
    if path.exists():
        return path
    archive = b"".join(_entry(folder, 0o040755) for folder in
                       ("dev", "proc", "sys", "modules", "new", "ro", "rw"))
    archive += _entry("init", 0o100755, binary.read_bytes())
    order = []
    for module in modules:
        inside = f"modules/{Path(module).name}"
        order.append(f"/{inside}\n")
        archive += _entry(inside, 0o100644, Path(module).read_bytes())
    archive += _entry("modules/order", 0o100644, "".join(order).encode())
    archive += _entry("TRAILER!!!", 0)
    _write(path, gzip.compress(archive, 1, mtime=0))
    return path
