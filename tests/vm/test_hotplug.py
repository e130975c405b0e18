# SPDX-License-Identifier: GPL-2.0-or-later
"""Adapters and memory that come and go while the guest runs."""

import copy
import os
import time
from pathlib import Path

from harness import paths, skip, vmtest
from harness.errors import GuestDied
from programs import command, host_side, wait_until
from test_lifecycle import check_ended_by_fatal, check_works, start_application

ADDRESSES = "10.77.0.10"             # and the slot's number
LAST_THAT_CANNOT_UNPLUG = (11, 1)     # of QEMUs with a client of vfio-user, as far as has been seen
MENDED = "PVHCA_STOCK_QEMU_UNPLUGS"   # set for a QEMU of such a version whose fault is mended
FATAL_SECONDS = 5                   # until applications know that their device is lost

# A VM is served once, unless its settings allow it more adapters. pvhca-vfio-user gives each a name of its own.
ADAPTERS = "[quota]\nadapters=2\n"

# A slot of its own for each adapter; q35's own bus takes nothing while the machine runs.
SLOTS = 4
PORTS = tuple(word for i in range(SLOTS)
              for word in ("-device", f"pcie-root-port,id=slot{i},chassis={i + 1},addr={0x10 + i:#x}"))


def devices(guest):
    return set(guest.check("ls /sys/class/infiniband").split())


def wait_devices(guest, number):
    wait_until(lambda: len(devices(guest)) == number, lambda: f"{number} devices, but {devices(guest)}", 60,
               guest.slowness)


def plug(rig, guest, slot=0):
    """Plug another adapter; a view of the guest whose device it is."""
    before = devices(guest)
    rig.plug(guest, f"hot{slot}", bus=f"slot{slot}")
    wait_devices(guest, len(before) + 1)
    other = copy.copy(guest)
    other.ibdev = (devices(guest) - before).pop()
    other.netdev = other.check(f"ls /sys/class/infiniband/{other.ibdev}/device/net").split()[0]
    other.configure_address(f"{ADDRESSES}{slot}")
    other.gid_index = other.wait_gid(f"{ADDRESSES}{slot}")
    return other


def emulator_side(guest):
    """What QEMU has open and mapped. Its heaps and stacks are its own affair."""
    proc = Path(f"/proc/{guest.pid}")
    maps = [line.split() for line in (proc / "maps").read_text().splitlines()]
    return {"QEMU's open files": len(os.listdir(proc / "fd")),
            "QEMU's shared memory": sum(len(words) > 5 and "memfd:" in words[5] for words in maps)}


def everything(rig, guest):
    return {**host_side(rig), **emulator_side(guest), "devices": len(devices(guest)),
            "interfaces": len(guest.check("ls /sys/class/net").split())}


def check_as_before(rig, guest, before):
    def more():
        now = everything(rig, guest)
        return {key: (before[key], now[key]) for key in before if now[key] > before[key]}

    wait_until(lambda: not more(), lambda: f"left behind (before, now): {more()}", 60, guest.slowness)


def can_unplug(rig):
    return (rig.name != "stock" or MENDED in os.environ
            or paths.qemu_version(rig.device_emulator(rig.guests[0].system)) > LAST_THAT_CANNOT_UNPLUG)


def plug_and_unplug(rig, rounds):
    """Each time the adapter goes with an application on it, and one goes on on the adapter beside it."""
    guest = rig.guests[0]
    if not can_unplug(rig):
        skip("this QEMU ends itself when a vfio-user device is unplugged (docs/vfio-user.md)")
    check_works(guest)
    stays = start_application(guest, "--qps 4")
    before = None
    for _ in range(rounds):
        other = plug(rig, guest)
        check_works(other)
        application = start_application(other, "--qps 4")
        rig.unplug(guest, "hot0")
        check_ended_by_fatal(application.wait(60))
        wait_devices(guest, 1)
        # What is made when it is first needed stays.
        before = before or everything(rig, guest)
    check_as_before(rig, guest, before)
    assert stays.running, stays.result()
    stays.kill()
    assert stays.wait().rc == 0, stays.result()
    check_works(guest)


@vmtest(qemu_args=PORTS, rigs=("loopback",), timeout=500, daemon_config=ADAPTERS)
def adapter_is_plugged_and_unplugged_with_applications_running(rig):
    plug_and_unplug(rig, 4)


@vmtest(qemu_args=PORTS, rigs=("loopback", "stock"), timeout=3000, soak=True, daemon_config=ADAPTERS)
def adapter_is_plugged_and_unplugged_fifty_times(rig):
    plug_and_unplug(rig, 50)


@vmtest(qemu_args=PORTS, timeout=300, rigs=("stock",), reboot_after=True)
def adapters_are_plugged_in_with_applications_running(rig):
    """As far as QEMU 11.1.3 goes, which cannot unplug them again."""
    guest = rig.guests[0]
    others = []
    for slot in range(3):
        others.append(plug(rig, guest, slot))
        check_works(others[-1])
        others[-1].application = start_application(others[-1], "--qps 4")
    assert len(rig.daemon.stats()["sessions"]) == 4
    for other in others:
        assert other.application.running, other.application.result()
        other.application.kill()
        assert other.application.wait().rc == 0, other.application.result()
    check_works(guest)


@vmtest(qemu_args=PORTS, timeout=400, rigs=("stock",), reboot_after=True)
def dead_server_is_fatal_to_applications_and_a_new_one_brings_a_device(rig):
    guest = rig.guests[0]
    other = plug(rig, guest)
    application = start_application(other, "--qps 8 --linger 1")
    stays = start_application(guest, "--qps 4")
    sessions = len(rig.daemon.stats()["sessions"])
    started = time.monotonic()
    rig.kill_server(f"{guest.name}-hot0")
    try:
        result = application.wait(FATAL_SECONDS)
    except GuestDied:
        if not guest.ended_with_server():
            raise
        skip("this QEMU ended itself when its server died, as it does now and then (docs/vfio-user.md)")
    print(f"# the application had ended {time.monotonic() - started:.1f} s later, 1 s of it by its own wish")
    check_ended_by_fatal(result)
    wait_until(lambda: len(rig.daemon.stats()["sessions"]) == sessions - 1, "the session stays", 30, guest.slowness)
    wait_devices(guest, 1)
    assert "the device is gone" in guest.dmesg()
    if can_unplug(rig):
        rig.unplug(guest, "hot0")
        again = plug(rig, guest)
    else:
        # The dead one's place in the guest is given up, another one is plugged beside it.
        again = plug(rig, guest, 1)
    check_works(again)
    assert stays.running, stays.result()
    stays.kill()
    assert stays.wait().rc == 0, stays.result()


def add_dimm(guest, size):
    guest.qmp("object-add", qom_type="memory-backend-memfd", id="more", size=size, share=True)
    guest.qmp("device_add", driver="pc-dimm", id="dimm", memdev="more")


def offer_virtio_mem(guest, size):
    guest.load_modules("virtio_mem")
    guest.qmp("qom-set", path="/machine/peripheral/vmem", property="requested-size", value=size)


ALMOST = 64 << 20       # bytes that the kernel may keep of what it gets; less than a block of any kind


def check_memory_that_comes(guest, add):
    """add(guest, bytes) gives the guest more memory; RDMA reaches it, with an application that runs all the while."""
    region = command(guest, "memory", "region_of_1_gib_is_reached")
    # More than the guest had: it cannot lie elsewhere.
    before = free_memory(guest)
    assert before < 1 << 30
    application = start_application(guest, "--qps 4")
    add(guest, 1 << 30)
    online = "for f in /sys/devices/system/memory/memory*/online; do [ $(cat $f) = 1 ] || echo 1 >$f; done"

    def arrived():
        guest.run(online)
        return free_memory(guest) > before + (1 << 30) - ALMOST

    wait_until(arrived, "the guest does not see the memory", 60, guest.slowness)
    guest.check("echo 3 >/proc/sys/vm/drop_caches")
    guest.check(region, timeout=200)
    assert application.running, application.result()
    application.kill()
    assert application.wait().rc == 0, application.result()


def free_memory(guest):
    """Bytes in all that the guest's kernel has."""
    return int(guest.check("grep MemTotal /proc/meminfo").split()[1]) * 1024


@vmtest(memory="1G", qemu_args=("-m", "slots=2,maxmem=4G"), timeout=300, rigs=("loopback", "stock"), reboot_after=True)
def memory_that_is_plugged_in_is_registered_and_reached(rig):
    check_memory_that_comes(rig.guests[0], add_dimm)


# It arrives in pieces of the block size, of which there may be 256.
VIRTIO_MEM = ("-m", "slots=1,maxmem=4G", "-object", "memory-backend-memfd,id=pool,size=2G,share=on",
              "-device", "virtio-mem-pci,id=vmem,memdev=pool,requested-size=0,block-size=128M")


@vmtest(memory="1G", qemu_args=VIRTIO_MEM, timeout=300, rigs=("stock",), reboot_after=True)
def memory_of_a_virtio_mem_device_is_registered_and_reached(rig):
    check_memory_that_comes(rig.guests[0], offer_virtio_mem)
