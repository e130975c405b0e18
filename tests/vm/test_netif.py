# SPDX-License-Identifier: GPL-2.0-or-later
"""The adapter's own interface carries packets between the guests of one pvhcad."""

import json
import operator
import re
import statistics

from harness import vmtest
from harness.paths import build
from programs import totals, wait_until
from test_cm import load_cm, rping
from test_pairing import rping_in_containers
from test_programs import PORT, REMOTE, RSOCKET, mpi_program, over_rdma, run_mpi, serve_and_ask

LOOPBACK = ("loopback", "stock")
NOWHERE = ("10.77.0.199", "fd00:77::199")


def address6(guest):
    return f"fd00:77::{10 + guest.index}"


def add_address6(rig, *guests):
    """On the loopback fabric, and True. On the other one a guest has addresses of the host only."""
    for guest in guests if rig.native is None else ():
        guest.check(f"ip addr replace {address6(guest)}/64 dev {guest.netdev} nodad")
        wait_until(lambda guest=guest: "tentative" not in guest.check(f"ip -6 addr show dev {guest.netdev}"),
                   "the address stays tentative", 30, guest.slowness)
        guest.wait_gid(address6(guest))
    return rig.native is None


def ping(guest, address, options=""):
    return guest.run(f"ping -n -c 3 -i 0.2 -W 30 {options} {address}", timeout=60)


def check_ping(guest, address, options=""):
    said = ping(guest, address, options)
    assert said.rc == 0 and " 0% packet loss" in said.out, said


def mtu_of(guest, mtu):
    guest.check(f"ip link set {guest.netdev} mtu {mtu}")


def iperf3_server(server, options=""):
    running = server.spawn(f"exec iperf3 -s -p 18710 {options}")
    server.wait_port(18710)
    return running


def bits_per_second(server, client, address, options):
    """What the server received from, or with -R sent to, the client. It serves once: between two tests iperf3 closes its
    socket, and whoever connects at that moment is sent away."""
    running = iperf3_server(server, "-1")
    said = json.loads(client.check(f"iperf3 -J -c {address} -p 18710 {options}", timeout=120))
    running.wait(30)
    assert "error" not in said and said["end"]["sum_received"]["bytes"] > 0, said
    return said["end"]["sum_received"]["bits_per_second"]


@vmtest(guests=2)
def guests_ping_each_other(rig):
    a, b = rig.guests
    both = add_address6(rig, a, b)
    before = totals(rig)["packets_sent"]
    for size in (0, 1, 100, 300, 1400, 8000, 30000):
        check_ping(a, b.rdma_ip, f"-s {size}")
        check_ping(b, address6(a) if both else a.rdma_ip, f"-s {size}")
    assert totals(rig)["packets_sent"] - before >= 2 * 7 * 2 * 3
    count = int(a.check(f"cat /sys/class/net/{a.netdev}/statistics/rx_packets"))
    assert count >= 7 * 2 * 3, count


@vmtest(guests=2, rigs=LOOPBACK)
def tcp_flows_in_both_directions(rig):
    server, client = rig.guests
    for mtu in (9000, 1500):
        for guest in rig.guests:
            mtu_of(guest, mtu)
        for options in ("-n 8M", "-n 8M -R", "-n 2M --bidir", "-n 2M -u -b 100M"):
            bits_per_second(server, client, server.rdma_ip, options)
    for guest in rig.guests:
        mtu_of(guest, 9000)


def bytes_per_packet(server, client, options):
    """Of what the server's interface received in a test."""
    counts = [f"/sys/class/net/{server.netdev}/statistics/rx_{name}" for name in ("bytes", "packets")]
    before = [int(server.check(f"cat {count}")) for count in counts]
    bits_per_second(server, client, server.rdma_ip, options)
    return operator.truediv(*(int(server.check(f"cat {count}")) - start for count, start in zip(counts, before)))


@vmtest(guests=2)
def segments_are_made_by_nobody(rig):
    """A packet of TCP that is longer than the MTU reaches the other guest as it is, unless the sender's user says no."""
    server, client = rig.guests
    usual = int(client.check(f"cat /sys/class/net/{client.netdev}/mtu"))
    for guest in rig.guests:
        mtu_of(guest, 1500)
    assert bytes_per_packet(server, client, "-n 16M") > 3000
    client.check(f"ethtool -K {client.netdev} tso off")
    assert bytes_per_packet(server, client, "-n 4M") <= 1500
    client.check(f"ethtool -K {client.netdev} tso on")
    for guest in rig.guests:
        mtu_of(guest, usual)


@vmtest(guests=2, timeout=400)
def one_address_serves_tcp_and_rdma(rig):
    server, client = rig.guests
    load_cm(server, client)
    tcp = iperf3_server(server)
    beside = client.spawn(f"exec iperf3 -c {server.rdma_ip} -p 18710 -t 600 -b 20M")
    # Its server ends each test over the connection manager by ibv_destroy_qp() of a null pointer.
    server.log.allow(r"qperf\[\d+\]: segfault at 0 .* in libibverbs")
    qperf = server.spawn("exec qperf -lp 18701")
    server.wait_port(18701)
    for test in ("tcp_bw", "rc_bw", "rc_lat"):
        shown = client.check(f"qperf -lp 18701 -to 60 -cm 1 -t 1 {server.rdma_ip} {test}", timeout=60)
        assert re.search(r"(bw|latency)\s+=\s+\d", shown), shown
    qperf.kill()
    rping(server, client)
    assert beside.running and tcp.running
    beside.kill()
    tcp.kill()


@vmtest(guests=2)
def address_of_nobody_is_answered_at_once(rig):
    """Not by a time-out, which would show as lost packets instead of errors."""
    guest = rig.guests[0]
    both = add_address6(rig, guest)
    for address in NOWHERE if both else (NOWHERE[0], rig.native.rdma_ip):
        said = ping(guest, address)
        assert said.rc == 1 and "+3 errors" in said.out and "nreachable" in said.out, said
    said = guest.run(f"curl -sS http://{NOWHERE[0]}/ || bash -c 'echo >/dev/tcp/{NOWHERE[0]}/80'", timeout=60)
    assert "No route to host" in said.err, said
    # Not known to the RDMA device, and so to nobody.
    guest.check("ip link add d0 type dummy && ip addr add 10.99.0.1/32 dev d0 && ip link set d0 up")
    said = ping(guest, rig.guests[1].rdma_ip, "-I 10.99.0.1")
    guest.check("ip link del d0")
    assert said.rc == 1 and "Packet filtered" in said.out, said


@vmtest(guests=2, rigs=LOOPBACK)
def receiver_with_a_smaller_mtu_says_so(rig):
    server, client = rig.guests
    mtu_of(server, 1500)
    said = ping(client, server.rdma_ip, "-M do -s 8000")
    assert said.rc == 1 and "mtu = 1500" in said.out + said.err or "mtu=1500" in said.out + said.err, said
    check_ping(client, server.rdma_ip, "-s 8000")
    bits_per_second(server, client, server.rdma_ip, "-n 4M")
    mtu_of(server, 9000)
    client.check("ip route flush cache")


@vmtest(guests=2, rigs=LOOPBACK, timeout=300)
def packets_flow_again_when_pvhcad_is_back(rig):
    server, client = rig.guests
    flood = client.spawn(f"exec ping -n -f {server.rdma_ip}")
    stream = iperf3_server(server)
    beside = client.spawn(f"exec iperf3 -c {server.rdma_ip} -p 18710 -t 600 -b 20M")
    rig.daemon.kill()
    rig.daemon.start()
    wait_until(lambda: ping(client, server.rdma_ip).rc == 0, "no packets", 60, client.slowness)
    assert flood.running
    flood.kill()
    beside.kill()
    stream.kill()
    for guest in rig.guests:
        guest.wait_device()


@vmtest(guests=2, rigs=LOOPBACK)
def interface_goes_down_and_up_under_traffic(rig):
    server, client = rig.guests
    flood = client.spawn(f"exec ping -n -f {server.rdma_ip}")
    for _ in range(3):
        for guest in rig.guests:
            guest.check(f"ip link set {guest.netdev} down && ip link set {guest.netdev} up")
    server.wait_gid(server.rdma_ip)
    client.wait_gid(client.rdma_ip)
    wait_until(lambda: ping(client, server.rdma_ip).rc == 0, "no packets", 60, client.slowness)
    flood.kill()


@vmtest(guests=2, rigs=LOOPBACK)
def vlan_interfaces_carry_packets(rig):
    server, client = rig.guests
    for guest in rig.guests:
        guest.check("modprobe 8021q")
        guest.check(f"ip link add link {guest.netdev} name vlan7 type vlan id 7 && ip link set vlan7 up && "
                    f"ip addr add 10.79.0.{10 + guest.index}/24 dev vlan7")
        guest.wait_gid(f"10.79.0.{10 + guest.index}")
    check_ping(client, f"10.79.0.{10 + server.index}", "-s 1000")
    received = server.check("cat /sys/class/net/vlan7/statistics/rx_packets")
    assert int(received) >= 3, received
    for guest in rig.guests:
        guest.check("ip link del vlan7")


@vmtest(guests=2, rigs=LOOPBACK)
def programs_take_the_address_and_no_settings(rig):
    """No device, no interface, no transport is named: whatever they choose answers."""
    server, client = rig.guests
    load_cm(server, client)

    def run(program, port):
        running = server.spawn(f"exec {program}")
        server.wait_port(port)
        result = client.run(f"exec {program} {server.rdma_ip}", timeout=120)
        assert running.wait(60).rc == 0 and result.rc == 0, result

    over_rdma(rig, 100 * 65536, run, "ib_write_bw -s 65536 -n 100", 18515)
    over_rdma(rig, 20 * 65536, run, "ucx_perftest -t tag_bw -s 65536 -n 20 -w 2", 13337)
    echo = f"{build() / 'tests' / 'programs' / 'pvhca-test-echo'} {server.rdma_ip} {PORT}"
    for environment, least in ({"LD_PRELOAD": RSOCKET}, 2 * 20 * 5000), ({}, 0):
        over_rdma(rig, least, serve_and_ask, server, client, f"{echo} serve", echo,
                  lambda running: running.expect("listening"), environment)


def open_mpi(rig, options):
    hosts = ",".join(guest.rdma_ip for guest in rig.guests)
    run_mpi(rig, rig.guests, f"mpirun.openmpi --allow-run-as-root --oversubscribe {options} --host {hosts} "
            f"--mca plm_rsh_agent {REMOTE} -np 2 {mpi_program('openmpi')}", {})


@vmtest(guests=2, rigs=LOOPBACK, timeout=600)
def open_mpi_takes_the_address(rig):
    over_rdma(rig, 16 << 20, open_mpi, rig, "--mca pml ucx --mca osc ucx")


@vmtest(guests=2, rigs=LOOPBACK, timeout=600, soak=True)
def open_mpi_talks_tcp_over_all_interfaces(rig):
    before = totals(rig)["packet_bytes_sent"]
    # Of windows, too: by itself it takes UCX for them where there is an RDMA device.
    open_mpi(rig, "--mca pml ob1 --mca btl tcp,self --mca osc pt2pt")
    assert totals(rig)["packet_bytes_sent"] - before > 1 << 20


def enter_container(guest):
    """The interface, and the device, of which the namespace has no other, go to the namespace blue."""
    guest.check(f"ip netns add blue && ip -n blue link set lo up && ip link set {guest.netdev} netns blue && "
                f"rdma dev set {guest.ibdev} netns blue && ip -n blue link set {guest.netdev} up && "
                f"ip -n blue addr add {guest.rdma_ip}/24 dev {guest.netdev}")
    assert guest.ibdev in guest.check("ip netns exec blue rdma link show")
    assert guest.ibdev not in guest.check("rdma link show")


@vmtest(guests=2, rigs=LOOPBACK, timeout=400, reboot_after=True)
def a_container_has_the_interface_and_the_device(rig):
    """Packets and connections between containers of their own in two guests, and then without these again."""
    server, client = rig.guests
    load_cm(server, client)
    for guest in rig.guests:
        guest.check("rdma system set netns exclusive")
        enter_container(guest)
    wait_until(lambda: client.run(f"ip netns exec blue ping -c 1 -W 2 {server.rdma_ip}").rc == 0, "no ping", 60,
               client.slowness)
    rping_in_containers(server, client, server.rdma_ip)
    for guest in rig.guests:
        guest.check("ip netns del blue")
        wait_until(lambda guest=guest: guest.run(f"ls /sys/class/net/{guest.netdev}").rc == 0,
                   "the interface does not come back", 60, guest.slowness)
        guest.wait_device()
    check_ping(client, server.rdma_ip)
    rping(server, client)


@vmtest(guests=2, rigs=LOOPBACK, timeout=400)
def a_container_has_the_interface_and_shares_the_device(rig):
    server, client = rig.guests
    load_cm(server, client)
    for guest in rig.guests:
        guest.check(f"ip netns add blue && ip -n blue link set lo up && ip link set {guest.netdev} netns blue && "
                    f"ip -n blue link set {guest.netdev} up && ip -n blue addr add {guest.rdma_ip}/24 dev {guest.netdev}")
    wait_until(lambda: client.run(f"ip netns exec blue ping -c 1 -W 2 {server.rdma_ip}").rc == 0, "no ping", 60,
               client.slowness)
    rping_in_containers(server, client, server.rdma_ip)
    for guest in rig.guests:
        guest.check(f"ip -n blue link set {guest.netdev} netns 1 && ip netns del blue")
        guest.wait_device()
    check_ping(client, server.rdma_ip)
    rping(server, client)


def compare_bandwidth(rig):
    """iperf3 on both interfaces of the same guests, in turn; the log has all."""
    server, client = rig.guests
    for options in ("-t 5", "-t 5 -R"):
        rates = [[bits_per_second(server, client, address, options) for address in (server.rdma_ip, server.net_ip)]
                 for _ in range(3)]
        own, other = (statistics.median(column) for column in zip(*rates))
        print(f"# iperf3 {options}: own {own / 1e6:.0f} Mb/s, virtio-net {other / 1e6:.0f} Mb/s, {own / other:.2f}")
        assert own > 0.3 * other, rates


@vmtest(guests=2, rigs=LOOPBACK, timeout=300, soak=True)
def bandwidth_beside_virtio_net(rig):
    compare_bandwidth(rig)


@vmtest(guests=2, rigs=("verbs",), timeout=300, soak=True, vhost=True)
def bandwidth_beside_vhost_net(rig):
    """The kernel's own server of virtio-net, and a bridge of the kernel's."""
    compare_bandwidth(rig)


def round_trip(guest, address):
    """Median of pings, in ms. None is lost."""
    said = guest.check(f"ping -n -c 100 -i 0.05 -W 30 {address}", timeout=120)
    times = [float(time) for time in re.findall(r"time=([0-9.]+) ms", said)]
    assert len(times) == 100, said
    return statistics.median(times)


@vmtest(guests=3, rigs=LOOPBACK, timeout=300, soak=True)
def flood_leaves_room_for_others(rig):
    """Of a guest's receives another one keeps some free, however much the first sends: none of its packets is lost, and
    they take at most three times as long. Guests share this machine's processors. So the measure is a neighbour that is
    busy by itself."""
    server, peer, flooder = rig.guests
    running = iperf3_server(server)
    alone = round_trip(peer, server.rdma_ip)
    busy = flooder.spawn("while :; do :; done")
    beside_busy = round_trip(peer, server.rdma_ip)
    busy.kill(9)
    flood = flooder.spawn(f"exec iperf3 -u -b 0 -l 8000 -c {server.rdma_ip} -p 18710 -t 600")
    before = totals(rig)["packets_sent"]
    wait_until(lambda: totals(rig)["packets_sent"] > before + 10000, "no flood", 60, flooder.slowness)
    beside_flood = round_trip(peer, server.rdma_ip)
    assert flood.running
    flood.kill()
    running.kill()
    print(f"# ping, median: alone {alone:.2f} ms, beside a busy guest {beside_busy:.2f}, beside a flood {beside_flood:.2f}")
    assert beside_flood < 3 * max(alone, beside_busy)
