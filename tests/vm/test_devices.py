# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest has the device, and the usual programs show it and use it."""

import re
import subprocess
from pathlib import Path

from harness import check_pair, paths, vmtest
from programs import wait_until


@vmtest(guests=2)
def device_is_listed_with_an_active_roce_port(rig):
    for guest in rig.guests:
        assert guest.ibdev in guest.check("ibv_devices")
        details = guest.check(f"ibv_devinfo -v -d {guest.ibdev}")
        assert "PORT_ACTIVE" in details and "link_layer:\t\tEthernet" in details, details
        assert f"::ffff:{guest.rdma_ip}, RoCE v2" in details, details


@vmtest(guests=2)
def pingpong_runs_between_guests(rig):
    check_pair(*rig.guests, "ibv_rc_pingpong -n 200")


@vmtest(guests=2)
def perftest_writes_between_guests(rig):
    server, client = rig.guests
    _, result = check_pair(server, client, "ib_write_bw -s 65536 -n 200")
    assert "65536" in result.out


@vmtest(guests=1, rigs=("verbs",))
def native_peer_and_guest_write_to_each_other(rig):
    guest = rig.guests[0]
    check_pair(guest, rig.native, "ib_write_bw -s 65536 -n 100")
    check_pair(rig.native, guest, "ib_write_bw -s 65536 -n 100")


@vmtest(guests=1)
def driver_unloads_and_loads_again(rig):
    guest = rig.guests[0]
    guest.unload_driver()
    guest.bring_up_device()
    assert guest.ibdev in guest.check("ibv_devices")


@vmtest(guests=1)
def guest_has_its_device_after_a_reboot(rig):
    guest = rig.guests[0]
    guest.reboot()
    assert guest.ibdev in guest.check("ibv_devices")


@vmtest(guests=1)
def device_comes_back_when_pvhcad_does(rig):
    guest = rig.guests[0]
    rig.daemon.kill()
    guest.wait_device_gone()
    rig.daemon.start()
    guest.wait_device()
    guest.check(f"ibv_devinfo -d {guest.ibdev}")


@vmtest(rigs=("verbs",), guests=1, reboot_after=True)
def port_follows_that_of_the_host(rig):
    guest = rig.guests[0]

    def is_port(state, carrier):
        return state in guest.check(f"cat /sys/class/infiniband/{guest.ibdev}/ports/1/state") and \
            guest.run(f"cat /sys/class/net/{guest.netdev}/carrier").out.strip() == carrier

    watching = guest.spawn(f"exec stdbuf -oL ibv_asyncwatch -d {guest.ibdev}")
    watching.expect("async event FD")
    rig.native.check("ip link set veth0 down")
    wait_until(lambda: is_port("DOWN", "0"), "the guest's port stays up", 30, guest.slowness)
    watching.expect("IBV_EVENT_PORT_ERR")
    rig.native.check("ip link set veth0 up")
    wait_until(lambda: is_port("ACTIVE", "1"), "the guest's port stays down", 30, guest.slowness)
    watching.expect("IBV_EVENT_PORT_ACTIVE")
    watching.kill()


@vmtest(guests=1, cpus=1, rigs=("loopback",))
def locked_instructions_of_a_guest_are_locked_for_the_host(rig):
    """The rings depend on it. Of a single emulated processor they would not be: see qemu/hw/pvhca/pvhca-tcg.c."""
    guest, times = rig.guests[0], 10_000_000
    program = paths.own_program("pvhca-test-shared-counter")
    memory = next(fd for fd in Path(f"/proc/{guest.pid}/fd").iterdir() if "memfd:memory-backend-memfd" in str(fd.readlink()))
    counting = guest.spawn(f"exec {program} guest {times}", input=None)
    counting.expect("at ")
    # All RAM lies in one piece: the guest has less than what fits below the PCI hole of an x86 one.
    offset = str(int(re.search(r"^at (\d+)$", counting.out, re.MULTILINE)[1]) - guest.system.ram_start)
    counting.send("go\n")
    of_host = 0
    while "counted" not in counting.out:
        subprocess.run([program, "host", memory, offset, str(times)], check=True, timeout=60)
        of_host += times
        assert counting.running, counting.result()
    counting.send("go\n")
    result = counting.wait()
    assert f"total {times + of_host}\n" in result.out, (times, of_host, result)
