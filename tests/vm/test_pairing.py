# SPDX-License-Identifier: GPL-2.0-or-later
"""The adapter that is paired with the guest's own network interface: one address for TCP and RDMA."""

import re

from harness import vmtest
from harness.gid import gid_of
from programs import command, wait_until
from test_cm import both_end_well, load_cm, rping
from test_lifecycle import check_ended_by_fatal, start_application
from test_programs import open_mpi, over_rdma

LOOPBACK = ("loopback", "stock")


def paired(function=None, **more):
    """On the verbs fabric a guest's address is the host's, so never that of its own interface."""
    return vmtest(function, **{"rigs": LOOPBACK, "paired": True, **more})


def gids(guest):
    """Of RoCE v2: address of the GID to its interface."""
    base = f"/sys/class/infiniband/{guest.ibdev}/ports/1"
    rows = guest.check(f"""for f in {base}/gid_attrs/ndevs/*; do read -r n <$f 2>/dev/null || continue
        read -r g <{base}/gids/${{f##*/}}; read -r t <{base}/gid_attrs/types/${{f##*/}}; echo "$g $n $t"; done""")
    return [(row.split()[0], row.split()[1]) for row in rows.splitlines() if row.endswith("RoCE v2")]


def wait_gids(guest, *expected):
    """Until each (address, interface) of expected has its GID."""
    wanted = {(gid_of(address), netdev) for address, netdev in expected}
    wait_until(lambda: wanted <= set(gids(guest)), lambda: f"{wanted} not in {gids(guest)}", 30, guest.slowness)


def wait_no_gid(guest, address):
    wait_until(lambda: gid_of(address) not in dict(gids(guest)), f"the GID of {address} stays", 30, guest.slowness)


def link(guest):
    """The line of `rdma link` about the device."""
    lines = guest.check("rdma link show").splitlines()
    return next((line for line in lines if f"{guest.ibdev}/1" in line), "")


def wait_link(guest, *words):
    wait_until(lambda: all(word in link(guest) for word in words), lambda: f"{words}: {link(guest)}", 30, guest.slowness)


def port(guest, attribute):
    return guest.check(f"cat /sys/class/infiniband/{guest.ibdev}/ports/1/{attribute}").strip()


def active_mtu(guest):
    return int(re.search(r"active_mtu:\s+(\d+)", guest.check(f"ibv_devinfo -d {guest.ibdev}"))[1])


def virtio_device(guest):
    """The name of the interface's virtio device."""
    return guest.check(f"readlink -f /sys/class/net/{guest.netdev}/device").strip().rpartition("/")[2]


def check_self(guest):
    """It works. The core takes GIDs away and gives them back when something changes, in its own time."""
    guest.gid_index = guest.wait_gid(guest.rdma_ip)
    program = command(guest, "integrity", "--self --rounds 1 --size 20000")
    wait_until(lambda: guest.run(program, timeout=120).rc == 0, "it does not work", 20, guest.slowness)


def wait_back(guest):
    """The device is there again; a session that is about to go may deceive for a moment."""
    guest.wait_device()
    check_self(guest)


@paired
def adapter_belongs_to_the_interface_of_its_mac(rig):
    guest = rig.guests[0]
    assert f"netdev {guest.netdev}" in link(guest) and "state ACTIVE" in link(guest), link(guest)
    assert not guest.run(f"ls /sys/class/infiniband/{guest.ibdev}/device/net").out.strip()
    interfaces = set(guest.check("ls /sys/class/net").split())
    assert interfaces == {"lo", guest.netdev}, interfaces
    assert guest.dmesg().count(f"paired with {guest.netdev}, address {rig.mac(guest)}"), guest.dmesg()
    wait_gids(guest, (guest.net_ip, guest.netdev))
    check_self(guest)


@paired
def gids_follow_addresses(rig):
    guest = rig.guests[0]
    more = ("10.88.7.1/24", "10.88.8.1/24", "fd00:88::10/64", "fe80::1234/64")
    for address in more:
        guest.check(f"ip addr add {address} dev {guest.netdev}" + (" nodad" if ":" in address else ""))
    wait_gids(guest, (guest.net_ip, guest.netdev), *((address.split("/")[0], guest.netdev) for address in more))
    for address in more:
        guest.check(f"ip addr del {address} dev {guest.netdev}")
        wait_no_gid(guest, address.split("/")[0])
    wait_gids(guest, (guest.net_ip, guest.netdev))


@paired
def port_follows_the_interface(rig):
    guest = rig.guests[0]
    events = guest.spawn(f"exec stdbuf -oL ibv_asyncwatch -d {guest.ibdev}")
    events.expect("async event")
    guest.qmp("set_link", name="net0", up=False)
    wait_link(guest, "state DOWN")
    guest.qmp("set_link", name="net0", up=True)
    wait_link(guest, "state ACTIVE", "physical_state LINK_UP")
    guest.check(f"ip link set {guest.netdev} down")
    wait_link(guest, "state DOWN", "physical_state DISABLED")
    guest.check(f"ip link set {guest.netdev} up")
    wait_link(guest, "state ACTIVE")
    wait_until(lambda: events.out.count("PORT_ACTIVE") == 2 and events.out.count("PORT_ERR") == 2,
               lambda: f"not each change once: {events.out}", 30, guest.slowness)
    events.kill()

    for mtu, expected in ((1500, 1024), (9000, 4096), (2300, 2048), (1500, 1024)):
        guest.check(f"ip link set {guest.netdev} mtu {mtu}")
        assert active_mtu(guest) == expected, (mtu, active_mtu(guest))
    unknown = port(guest, "rate")
    guest.check(f"ethtool -s {guest.netdev} speed 25000 duplex full")
    assert port(guest, "rate").startswith("25 "), port(guest, "rate")
    guest.check(f"ethtool -s {guest.netdev} speed 40000 duplex full")
    assert port(guest, "rate").startswith("40 "), (unknown, port(guest, "rate"))
    check_self(guest)


@paired
def vlan_interface_has_gids_of_its_own(rig):
    guest = rig.guests[0]
    guest.check("modprobe 8021q")
    guest.check(f"ip link add link {guest.netdev} name vlan7 type vlan id 7 && ip link set vlan7 up && "
                "ip addr add 10.89.0.1/24 dev vlan7 && ip addr add fd00:89::1/64 dev vlan7 nodad")
    wait_gids(guest, (guest.net_ip, guest.netdev), ("10.89.0.1", "vlan7"), ("fd00:89::1", "vlan7"))
    # Its link-local address is that of the interface below: one GID, twice.
    local = guest.check("ip -o -6 addr show dev vlan7 scope link").split()[3].split("/")[0]
    wait_gids(guest, (local, "vlan7"))
    guest.check("ip link del vlan7")
    wait_no_gid(guest, "10.89.0.1")
    wait_gids(guest, (guest.net_ip, guest.netdev))
    check_self(guest)


@paired
def adapter_goes_and_comes_with_the_interface(rig):
    guest = rig.guests[0]
    virtio = virtio_device(guest)
    for _ in range(3):
        application = start_application(guest)
        said = guest.dmesg().count("waiting for the network interface")
        guest.check(f"echo {virtio} >/sys/bus/virtio/drivers/virtio_net/unbind", timeout=30)
        check_ended_by_fatal(application.wait())
        guest.wait_device_gone()
        wait_until(lambda: guest.dmesg().count(f"waiting for the network interface with address {rig.mac(guest)}") > said,
                   "the log does not say what is waited for", 30, guest.slowness)
        guest.check(f"echo {virtio} >/sys/bus/virtio/drivers/virtio_net/bind")
        wait_back(guest)
    guest.log.allow("is down: the network interface that it is paired with is gone")


@paired
def only_an_interface_with_a_device_behind_it_will_do(rig):
    guest, mac = rig.guests[0], rig.mac(rig.guests[0])
    virtio = virtio_device(guest)
    guest.check("modprobe dummy; modprobe bonding max_bonds=0; modprobe bridge; modprobe macvlan; modprobe 8021q")
    guest.check(f"echo {virtio} >/sys/bus/virtio/drivers/virtio_net/unbind")
    guest.wait_device_gone()
    guest.check(f"""ip link add d0 address {mac} type dummy && ip link add b0 address {mac} type bridge &&
        ip link add bond7 address {mac} type bond && ip link add link d0 m0 address {mac} type macvlan &&
        ip link add link d0 v0 type vlan id 3 && ip link set d0 up && ip link set b0 up""")
    guest.check("sleep 2")
    assert not guest.check("ls /sys/class/infiniband"), guest.dmesg()
    guest.check(f"echo {virtio} >/sys/bus/virtio/drivers/virtio_net/bind")
    wait_back(guest)
    assert f"netdev {guest.netdev}" in link(guest), link(guest)
    guest.check("ip link del m0; ip link del v0; ip link del d0; ip link del b0; ip link del bond7")


@paired
def interface_is_renamed(rig):
    guest = rig.guests[0]
    old, application = guest.netdev, start_application(guest)
    guest.check(f"ip link set {old} down && ip link set {old} name lan0 && ip link set lan0 up")
    wait_link(guest, "netdev lan0", "state ACTIVE")
    wait_gids(guest, (guest.net_ip, "lan0"))
    guest.check(f"ip link set lan0 down && ip link set lan0 name {old} && ip link set {old} up")
    wait_link(guest, f"netdev {old}", "state ACTIVE")
    assert application.running
    application.kill()
    check_self(guest)


@paired
def interface_joins_a_bridge_and_leaves_it(rig):
    guest = rig.guests[0]
    application = start_application(guest)
    guest.check(f"""modprobe bridge; ip link add br0 type bridge && ip link set br0 up &&
        ip link set {guest.netdev} master br0 && ip addr add 10.88.3.1/24 dev br0""")
    wait_gids(guest, ("10.88.3.1", "br0"))
    guest.check(f"ip link set {guest.netdev} nomaster && ip link del br0")
    wait_no_gid(guest, "10.88.3.1")
    wait_gids(guest, (guest.net_ip, guest.netdev))
    assert application.running
    application.kill()
    check_self(guest)


@paired
def interface_joins_a_bond_and_leaves_it(rig):
    guest = rig.guests[0]
    application = start_application(guest)
    guest.check(f"""modprobe bonding max_bonds=0; ip link add bond0 type bond mode active-backup miimon 100 &&
        ip link set {guest.netdev} down && ip link set {guest.netdev} master bond0 && ip link set bond0 up &&
        ip addr add 10.88.4.1/24 dev bond0""")
    wait_gids(guest, ("10.88.4.1", "bond0"))
    wait_link(guest, f"netdev {guest.netdev}", "state ACTIVE")
    guest.check(f"ip link set {guest.netdev} nomaster && ip link del bond0 && ip link set {guest.netdev} up")
    wait_no_gid(guest, "10.88.4.1")
    guest.configure_address(guest.net_ip)
    wait_gids(guest, (guest.net_ip, guest.netdev))
    assert application.running
    application.kill()
    check_self(guest)


@paired
def interface_moves_to_another_network_namespace(rig):
    guest = rig.guests[0]
    application = start_application(guest)
    guest.check(f"ip netns add blue && ip link set {guest.netdev} netns blue")
    check_ended_by_fatal(application.wait())
    guest.check(f"ip -n blue link set {guest.netdev} up && ip -n blue addr add 10.88.0.77/24 dev {guest.netdev}")
    netdev, guest.paired = guest.netdev, True
    wait_until(lambda: guest._look_for_device('[ -n "$f" ]', 5), "the device does not come back", 30, guest.slowness)
    shown = wait_until(lambda: guest.run("ip netns exec blue rdma link show").out.strip(), "no device", 30, guest.slowness)
    assert f"netdev {netdev}" in shown, shown
    # The namespace goes, and the interface comes back by itself.
    guest.check("ip netns del blue")
    wait_until(lambda: guest.run(f"ls /sys/class/net/{netdev}").rc == 0, "the interface does not come back", 30,
               guest.slowness)
    wait_back(guest)
    guest.log.allow("is down: the network interface that it is paired with is gone")


@paired(timeout=300)
def either_is_unplugged_first(rig):
    """As by a hot-unplug: by the guest's PCI bus, since QEMU's own first bus cannot do that."""
    guest = rig.guests[0]
    for order in ("net adapter", "adapter net"):
        functions = {"net": guest.check(f"readlink -f /sys/class/net/{guest.netdev}/device").split("/")[-2],
                     "adapter": guest.check(f"readlink -f /sys/class/infiniband/{guest.ibdev}/device").split("/")[-1].strip()}
        application = start_application(guest)
        first, second = (functions[name] for name in order.split())
        guest.check(f"echo 1 >/sys/bus/pci/devices/{first}/remove", timeout=30)
        check_ended_by_fatal(application.wait())
        guest.wait_device_gone()
        guest.check(f"echo 1 >/sys/bus/pci/devices/{second}/remove", timeout=30)
        guest.check("echo 1 >/sys/bus/pci/rescan")
        wait_until(lambda: not guest.run("ls -d /sys/class/net/*/device").rc, "no interface", 30, guest.slowness)
        wait_back(guest)


# --------------------------------- two guests --------------------------------

@paired(guests=2, timeout=600)
def one_address_serves_tcp_and_rdma(rig):
    """Programs that know one address of their peer, while TCP is busy on it."""
    server, client = rig.guests
    address = server.net_ip
    load_cm(server, client)
    client.check(f"ping -c 2 -W 5 {address}")
    tcp = server.spawn("exec iperf3 -s -p 18700")
    server.wait_port(18700)
    beside = client.spawn(f"exec iperf3 -c {address} -p 18700 -t 600 -b 20M")

    # Its server ends each test over the connection manager by ibv_destroy_qp() of a null pointer; the client has
    # its result by then.
    server.log.allow(r"qperf\[\d+\]: segfault at 0 .* in libibverbs")
    qperf = server.spawn("exec qperf -lp 18701")
    server.wait_port(18701)
    # Its tests of datagrams do not use the connection manager, and know no RoCE without it.
    for test in ("tcp_bw", "rc_bw", "rc_lat", "rc_rdma_read_bw"):
        rdma = 0 if test == "tcp_bw" else 100
        def run(test=test):
            shown = client.check(f"qperf -lp 18701 -to 60 -cm 1 -t 2 {address} {test}", timeout=60)
            assert re.search(r"(bw|latency)\s+=\s+\d", shown), shown
        over_rdma(rig, rdma, run)
    qperf.kill()

    over_rdma(rig, 500 * 65536, check_plain, server, client, "ib_write_bw -s 65536 -n 500", 18515)
    rping(server, client)
    over_rdma(rig, 50 * 65536, check_plain, server, client, "ucx_perftest -t tag_bw -s 65536 -n 50 -w 10", 13337)
    assert beside.running and tcp.running
    moved = [client.check(f"cat /sys/class/net/{client.netdev}/statistics/tx_bytes") for _ in range(2)]
    assert int(moved[0]) > 1 << 20
    beside.kill()


def check_plain(server, client, program, port):
    """As server, and as client with the server's address: no device, no GID index, no second address."""
    running = server.spawn(f"exec {program}")
    server.wait_port(port)
    result = client.run(f"exec {program} {server.net_ip}", timeout=120)
    both_end_well((running.wait(60), result))


@paired(guests=2, timeout=600)
def open_mpi_runs_in_two_guests(rig):
    open_mpi(rig, rig.guests)


@paired(guests=2, timeout=300)
def connections_over_a_vlan(rig):
    server, client = rig.guests
    for guest in rig.guests:
        guest.check("modprobe 8021q")
        guest.check(f"ip link add link {guest.netdev} name vlan7 type vlan id 7 && ip link set vlan7 up && "
                    f"ip addr add 10.89.0.{guest.index + 1}/24 dev vlan7 && "
                    f"ip addr add fd00:89::{guest.index + 1}/64 dev vlan7 nodad")
    for address in ("10.89.0.1", "fd00:89::1"):
        wait_until(lambda: client.run(f"ping -c 1 -W 2 {address}").rc == 0, f"no ping to {address}", 30, client.slowness)
    rping(server, client, "10.89.0.1", "10.89.0.2")
    rping(server, client, "fd00:89::1", "fd00:89::2")
    rping(server, client)
    for guest in rig.guests:
        guest.check("ip link del vlan7")
    rping(server, client)


def enter_container(guest, address):
    """The interface goes to a network namespace, blue; returns when the device is there again."""
    netdev, before = guest.netdev, guest.dmesg().count("paired with")
    guest.check(f"ip netns add blue && ip link set {netdev} netns blue && ip -n blue link set lo up && "
                f"ip -n blue link set {netdev} up && ip -n blue addr add {address}/24 dev {netdev}")
    wait_until(lambda: guest.dmesg().count("paired with") > before and guest.ibdev in guest.run("rdma link show").out,
               "the device does not come back", 60, guest.slowness)


def rping_in_containers(server, client, address):
    """Both are in a network namespace, blue, of their guest; address is the server's."""
    served = server.spawn(f"exec ip netns exec blue rping -s -a {address} -v -C 5")
    wait_until(lambda: "LISTEN" in server.run("ip netns exec blue rdma resource show cm_id").out, "does not listen", 30,
               server.slowness)
    asked = client.run(f"exec ip netns exec blue rping -c -a {address} -v -C 5", timeout=60)
    both_end_well((served.wait(60), asked))
    assert len(re.findall(r"^ping data: rdma-ping-\d", asked.out, re.MULTILINE)) == 5, asked


def check_containers(rig):
    server, client = rig.guests
    load_cm(server, client)
    wait_until(lambda: server.run(f"ip netns exec blue ping -c 1 -W 2 {client.net_ip}").rc == 0, "no ping", 60,
               server.slowness)
    rping_in_containers(server, client, server.net_ip)


@paired(guests=2, timeout=400, reboot_after=True)
def rdma_cm_in_a_container_with_the_device_shared(rig):
    for guest in rig.guests:
        load_cm(guest)
        enter_container(guest, guest.net_ip)
    check_containers(rig)


@paired(guests=2, timeout=400, reboot_after=True)
def rdma_cm_in_a_container_that_has_the_device(rig):
    for guest in rig.guests:
        load_cm(guest)
        guest.check("rdma system set netns exclusive")
        enter_container(guest, guest.net_ip)
        # A device begins in the first namespace, wherever its interface is.
        guest.check(f"rdma dev set {guest.ibdev} netns blue")
        assert guest.ibdev in guest.check("ip netns exec blue rdma link show")
        assert guest.ibdev not in guest.check("rdma link show")
        assert guest.ibdev in guest.check("ip netns exec blue ibv_devices")
    check_containers(rig)
    # The namespace ends: the interface comes back, and a new device with it.
    guest = rig.guests[0]
    guest.check("ip netns del blue")
    wait_until(lambda: guest.run(f"ls /sys/class/net/{guest.netdev}").rc == 0, "the interface does not come back", 60,
               guest.slowness)
    wait_back(guest)
