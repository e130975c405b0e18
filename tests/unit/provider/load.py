#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
"""load.py PLUGIN: libibverbs loads the plugin and matches it to the device.

The device is a sysfs tree of our own and a node in a private /dev, for which a
mount namespace is needed; without the right to make one the test is skipped.
"""
import ctypes
import os
import pathlib
import subprocess
import sys
import tempfile

SKIPPED = 77
PCI = "pci:v00001AF4d000010F0sv00001AF4sd00001100bc02sc80i00\n"


def fake_sysfs(root, modalias, abi):
    """What libibverbs reads to list a device."""
    verbs = root / "class/infiniband_verbs/uverbs0"
    device = root / "class/infiniband/rdmap0s5"
    (device / "device").mkdir(parents=True)
    verbs.mkdir(parents=True)
    (root / "class/infiniband_verbs/abi_version").write_text("6\n")
    (verbs / "ibdev").write_text("rdmap0s5\n")
    (verbs / "dev").write_text("231:192\n")
    (verbs / "abi_version").write_text(f"{abi}\n")
    (device / "node_type").write_text("1: CA\n")
    (device / "node_guid").write_text("0011:22ff:fe33:4455\n")
    (device / "device/modalias").write_text(modalias)


def list_devices(plugin, modalias=PCI, abi=1):
    with tempfile.TemporaryDirectory() as tmp:
        fake_sysfs(pathlib.Path(tmp), modalias, abi)
        script = ("mount -t tmpfs none /dev && mkdir /dev/infiniband && "
                  ": >/dev/infiniband/uverbs0 && ibv_devices 2>&1")
        env = dict(os.environ, SYSFS_PATH=tmp,
                   RDMAV_DRIVERS=str(plugin).removesuffix(suffix(plugin)))
        run = subprocess.run(["unshare", "--mount", "--net", "sh", "-c", script],
                             env=env, capture_output=True, text=True, check=False)
        if run.returncode:
            print(run.stdout, run.stderr)
            sys.exit(SKIPPED)
        return run.stdout


def suffix(plugin):
    return plugin.name[plugin.name.index("-rdmav"):]


def main():
    plugin = pathlib.Path(sys.argv[1]).resolve()
    ctypes.CDLL(str(plugin), mode=os.RTLD_NOW)  # runs its constructor: registers with libibverbs

    listed = list_devices(plugin)
    assert "rdmap0s5" in listed, listed
    other = list_devices(plugin, modalias=PCI.replace("10F0", "1000"))
    assert "rdmap0s5 " not in other.split("GUID")[1], other
    newer = list_devices(plugin, abi=2)
    assert "rdmap0s5 " not in newer.split("GUID")[1], newer


if __name__ == "__main__":
    main()
