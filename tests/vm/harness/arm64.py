# SPDX-License-Identifier: GPL-2.0-or-later
"""The arm64 rigs: guests of another processor on a host of this one.

arm64        the stock rig with qemu-system-aarch64: machine virt, interrupts by the GICv3's ITS, Debian 13 for arm64
             with its kernel of 4 KiB pages
arm64-16k    the same with the kernel of 16 KiB pages
arm64-mixed  the first guest arm64, the second as on the stock rig, on one pvhcad

tests/arm64/prepare makes what they boot.
"""

from . import stock
from .system import ARM64, ARM64_16K, HERE


class Arm64Rig(stock.StockRig):
    name = "arm64"
    nature = 4.0
    cpu = None
    systems = (ARM64, ARM64)

    def system(self, index):
        return self.systems[min(index, len(self.systems) - 1)]

    def plain_emulator(self, system):
        return system.emulator()


class Arm64With16KRig(Arm64Rig):
    name = "arm64-16k"
    systems = (ARM64_16K, ARM64_16K)


class MixedRig(Arm64Rig):
    name = "arm64-mixed"
    systems = (ARM64, HERE)


RIGS = {**stock.RIGS, **{rig.name: rig for rig in (Arm64Rig, Arm64With16KRig, MixedRig)}}
