# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver of an adapter that is paired with the guest's own interface, and a host that is late, gone or wrong.

What the interface itself may do is in tests/vm/test_pairing.py.
"""

import contextlib
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from test_driver import ACTIVE, ADDRESS, DOWN, PORT_ACTIVE, PORT_ERR, Bench, drivertest

WAITING = "waiting for the network interface with address"
# The admin time-out that Bench sets is a minute: who waits for an answer waits longer than this.
SOON = 20


@contextlib.contextmanager
def pairing(rig):
    """A bench whose adapter is paired; afterwards it has an interface of its own again."""
    guest, bench = rig.guests[0], Bench(rig)
    bench.own = guest.netdev
    switch(bench, rig.mac(guest))
    bench.virtio = guest.check(f"readlink -f /sys/class/net/{guest.netdev}/device").strip().rpartition("/")[2]
    yield bench
    guest.check(f"ip addr del {ADDRESS}/24 dev {guest.netdev}")
    switch(bench, None)


def switch(bench, mac):
    """From now on the host pairs the adapter with that address, or does not."""
    bench.guest.paired = bool(mac)
    bench.set(pair=mac)
    bench.begins_anew()


def switch_interface(bench, verb):
    bench.guest.check(f"echo {bench.virtio} >/sys/bus/virtio/drivers/virtio_net/{verb}", timeout=SOON)


def interface_back(bench):
    """As it was before switch_interface("unbind")."""
    switch_interface(bench, "bind")
    bench.guest.check(f"ip link set eth0 up && ip addr replace {bench.guest.net_ip}/24 dev eth0")
    bench.attached()


def interfaces(bench):
    return set(bench.guest.check("ls /sys/class/net").split())


@drivertest
def pairing_is_the_hosts_to_choose_at_each_session(rig):
    with pairing(rig) as bench:
        assert interfaces(bench) == {"lo", "eth0"}, interfaces(bench)
        assert "netdev eth0" in bench.guest.check("rdma link show")
    assert interfaces(bench) == {"lo", "eth0", bench.own}, interfaces(bench)
    assert f"netdev {bench.own}" in bench.guest.check("rdma link show")


@drivertest
def port_is_up_while_the_host_and_the_interface_want_it(rig):
    with pairing(rig) as bench:
        def state():
            return int(bench.sysfs(f"/sys/class/infiniband/{bench.guest.ibdev}/ports/1/state").split(":")[0])

        assert state() == ACTIVE
        bench.set(port_state=DOWN)
        bench.host("async_event", PORT_ERR, 1)
        assert state() == DOWN
        bench.guest.check("ip link set eth0 down")
        bench.set(port_state=ACTIVE)
        bench.host("async_event", PORT_ACTIVE, 1)
        assert state() == DOWN
        bench.guest.check("ip link set eth0 up")
        bench.wait(lambda: state() == ACTIVE, "the port stays down")
        # Its MTU and its state are nobody's business.
        assert bench.sysfs("/sys/class/net/eth0/mtu") == "1500" and bench.sysfs("/sys/class/net/eth0/carrier") == "1"


@drivertest(timeout=400)
def interface_goes_although_the_host_answers_nothing(rig):
    """Whoever takes the interface away waits neither for a command nor for the reset."""
    with pairing(rig) as bench:
        application = bench.start()
        bench.set(drop=["DEL_GID", "QUERY_PORT", "DEREG_MR", "DESTROY_QP", "DESTROY_CQ", "DEALLOC_PD", "DEALLOC_CONTEXT",
                        "DESTROY_CEQ"], reset_ends=False)
        began = time.monotonic()
        switch_interface(bench, "unbind")
        assert time.monotonic() - began < SOON * bench.guest.slowness
        assert "eth0" not in interfaces(bench)
        # The host goes, which ends the reset.
        bench.behave()
        bench.host("hang_up")
        bench.ends(application)
        bench.said(WAITING)
        interface_back(bench)
        bench.check()


@drivertest
def driver_goes_while_it_waits_for_the_interface(rig):
    with pairing(rig) as bench:
        switch_interface(bench, "unbind")
        bench.said(WAITING)
        bench.guest.check("/sbin/rmmod pvhca")
        bench.guest.load_driver()
        bench.wait(lambda: bench.guest.dmesg()[bench.logged:].count(WAITING) == 2, "it does not wait again")
        assert not bench.guest.check("ls /sys/class/infiniband")
        interface_back(bench)
        bench.check()


@drivertest
def host_goes_while_the_interface_is_waited_for(rig):
    with pairing(rig) as bench:
        switch_interface(bench, "unbind")
        bench.said(WAITING)
        for times in (2, 3):
            bench.host("hang_up")
            bench.wait(lambda: bench.guest.dmesg()[bench.logged:].count(WAITING) >= times, "it does not wait again")
        interface_back(bench)
        bench.check()


@drivertest
def host_that_pairs_with_nobodys_address_or_grants_what_was_not_asked_is_refused(rig):
    with pairing(rig) as bench:
        mac = rig.mac(bench.guest)
        bench.set(pair="00:00:00:00:00:00")
        bench.host("hang_up")
        bench.said("pvhcad pairs with an invalid MAC address")
        bench.set(pair=mac)
        bench.begins_anew()
        bench.set(features=1 << 40)
        bench.host("hang_up")
        bench.said("features 0x10000000001")
        bench.begins_anew()
