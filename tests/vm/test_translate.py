# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs fabric: guests keep the addresses of their own interfaces, and pvhcad puts the host's on the wire."""

import re

from harness import check_pair, vmtest
from harness.paths import build
from programs import totals, wait_until
from test_cm import both_end_well, load_cm, talk
from test_programs import RSOCKET, over_rdma, serve_and_ask

NATIVE_PORT = 18610
ANOTHER_OF_THE_HOST = "10.77.0.13"
QPERF_PORT = 18701
# qperf's server listens on a port of the kernel's choice, by rdma_cm. The kernel chooses among these, if it is told to.
CHOSEN = 18720, 18723
PERFTEST = "ib_write_bw", "ib_read_bw", "ib_send_lat"

# Both want 7999: the one that comes second does not get it.
CONFIG = f"""[pvhcad]
translate=true
[vm guest0]
listen=7174, 7471, 18515, 7999, {CHOSEN[0]}-{CHOSEN[1]}
[vm guest1]
listen=7999
"""

# TCP to the host's address reaches the guest as by any forwarding of ports.
FORWARD = """
import socket, sys, threading
def copy(a, b):
    while data := a.recv(65536):
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
def forward(server, there):
    while True:
        a, b = server.accept()[0], socket.create_connection(there)
        for pair in ((a, b), (b, a)):
            threading.Thread(target=copy, args=pair).start()
here, there, *ports = sys.argv[1:]
for port in map(int, ports):
    threading.Thread(target=forward, args=(socket.create_server((here, port)), (there, port))).start()
"""


def translated(function=None, **more):
    return vmtest(function, **{"rigs": ("verbs",), "guests": 2, "paired": True, "daemon_config": CONFIG, **more})


def meet_by_tcp(rig):
    """The native peers' addresses are for TCP and RDMA; guests reach them through the host. Linux' rdma_cm refuses
    a peer, too, to which there is no route."""
    for guest in rig.guests:
        guest.check(f"ip route replace 10.77.0.0/24 via {rig.native.net_ip}")


def run_cm(server, client, served, asked, pattern=None, count=1):
    served, asked = both_end_well(talk(server, client, served, asked))
    if pattern:
        for result in (served, asked):
            assert len(re.findall(pattern, result.out, re.MULTILINE)) >= count, (served, asked)


def pings(server, client, bound, address, port=7174):
    run_cm(server, client, f"rping -s -a {bound} -p {port} -v -C 5", f"rping -c -a {address} -p {port} -v -C 5",
           "ping data: rdma-ping-", 5)


def streams(server, client, bound, address, port=7471):
    options = f"-p {port} -C 50 -S 16384 -T v"
    run_cm(server, client, f"rstream -b {bound} {options}", f"rstream -s {address} {options}")


def datagrams(server, client, bound, address):
    """One that is answered, by the address in its header. All of udaddy's receives share a buffer: see connections.md.
    Its port is 7174."""
    options = "-c 1 -C 1 -S 512"
    run_cm(server, client, f"udaddy -b {bound} {options}", f"udaddy -s {address} {options}", "return status 0")


def perftest(server, client, address, port, programs=PERFTEST):
    load_cm(server, client)
    for program in programs:
        options = f"-R -F -n 100 -p {port}"
        running = server.spawn(f"exec stdbuf -oL {program} -d {server.ibdev} {options}")
        running.expect("Waiting for client to connect")
        result = client.run(f"{program} -d {client.ibdev} {options} {address}", timeout=60)
        both_end_well((running.wait(60), result))


def sockets_over_rdma(rig, server, client, bound, address, port=7471):
    """A program of TCP that librspreload carries; by TCP itself it would reach its server as well, so bytes are counted."""
    echo = f"{build() / 'tests' / 'programs' / 'pvhca-test-echo'}"
    over_rdma(rig, 20 * 5000, serve_and_ask, server, client, f"{echo} {bound} {port} serve", f"{echo} {address} {port}",
              lambda running: running.expect("listening"), {"LD_PRELOAD": RSOCKET})


def qperf(server, client, address, tests=("tcp_bw", "rc_bw", "rc_lat")):
    # Its server ends each test over the connection manager by ibv_destroy_qp() of a null pointer; the client has
    # its result by then.
    server.log.allow(r"qperf\[\d+\]: segfault at 0 .* in libibverbs")
    load_cm(server, client)
    running = server.spawn(f"exec qperf -lp {QPERF_PORT}")
    server.wait_port(QPERF_PORT)
    for test in tests:
        shown = client.check(f"qperf -lp {QPERF_PORT} -to 60 -cm 1 -t 1 {address} {test}", timeout=60)
        assert re.search(r"(bw|latency)\s+=\s+\d", shown), shown
    running.kill()


def no_connection_stays(rig):
    wait_until(lambda: totals(rig)["connections"] == 0, "connections stay in pvhcad", 30, rig.native.slowness)


@translated
def a_guest_has_its_own_address_and_a_port_that_two_want_is_refused(rig):
    for guest in rig.guests:
        assert guest.rdma_ip == guest.net_ip and guest.wait_gid(guest.net_ip) >= 0
    # Of the port that both want. pvhcad's connection manager works behind the command that takes the address.
    refusal = rf"VM guest\d: cannot listen on {rig.native.rdma_ip} port 7999 \(TCP\): another VM"
    wait_until(lambda: re.search(refusal, rig.daemon.log_text()), rig.daemon.log_text, 30, rig.native.slowness)


@translated(timeout=300)
def guests_talk_by_their_own_addresses(rig):
    server, client = rig.guests
    check_pair(server, client, "ib_write_bw -s 4096 -n 200")
    check_pair(server, client, "ibv_ud_pingpong -n 100")
    pings(server, client, server.net_ip, server.net_ip)


@translated(timeout=600, soak=True)
def guests_run_all_kinds_of_programs_by_their_own_addresses(rig):
    server, client = rig.guests
    for program in ("ibv_rc_pingpong", "ib_read_bw", "ib_send_lat", "ib_atomic_lat", "ib_send_bw -c UD"):
        check_pair(server, client, f"{program} -n 100")
    datagrams(server, client, server.net_ip, server.net_ip)
    streams(server, client, server.net_ip, server.net_ip)
    sockets_over_rdma(rig, server, client, server.net_ip, server.net_ip)
    perftest(server, client, server.net_ip, 18515)
    qperf(server, client, server.net_ip)
    no_connection_stays(rig)


@translated(timeout=600, soak=True)
def a_guest_is_client_of_a_native_server_by_one_address(rig):
    guest, native, address = rig.guests[0], rig.native, rig.native.rdma_ip
    meet_by_tcp(rig)
    # Not on the ports that pvhcad has for the guest: they are the host's.
    pings(native, guest, address, address, NATIVE_PORT)
    streams(native, guest, address, address, NATIVE_PORT)
    sockets_over_rdma(rig, native, guest, address, address, NATIVE_PORT)
    # udaddy's port is pvhcad's, on that address.
    datagrams(native, guest, ANOTHER_OF_THE_HOST, ANOTHER_OF_THE_HOST)
    perftest(native, guest, address, NATIVE_PORT)
    qperf(native, guest, address)
    no_connection_stays(rig)


@translated(timeout=600, soak=True)
def a_native_client_reaches_a_guest_by_the_hosts_address(rig):
    guest, native, address = rig.guests[0], rig.native, rig.native.rdma_ip
    meet_by_tcp(rig)
    pings(guest, native, guest.net_ip, address)
    streams(guest, native, guest.net_ip, address)
    sockets_over_rdma(rig, guest, native, guest.net_ip, address)
    datagrams(guest, native, guest.net_ip, address)
    perftest(guest, native, address, 18515)
    no_connection_stays(rig)


@translated(timeout=400, soak=True)
def a_guests_server_that_lets_its_kernel_choose_the_port_is_reached(rig):
    """By ports of listen= that are all that the guest's kernel chooses from."""
    guest, native, address = rig.guests[0], rig.native, rig.native.rdma_ip
    setting = "/proc/sys/net/ipv4/ip_local_port_range"
    meet_by_tcp(rig)
    usual = guest.check(f"cat {setting}").strip()
    guest.check(f"echo {CHOSEN[0]} {CHOSEN[1]} >{setting}")
    ports = QPERF_PORT, *range(CHOSEN[0], CHOSEN[1] + 1)
    forward = native.spawn(["/usr/bin/python3", "-c", FORWARD, address, guest.net_ip, *map(str, ports)])
    for port in ports:
        native.wait_port(port)
    qperf(guest, native, address)
    forward.kill()
    guest.check(f"echo {usual} >{setting}")


# -------------------------------- two hosts ----------------------------------

def second_host(number, other, via):
    return f"[pvhcad]\ntranslate=true\npeer=10.88.0.{other} via 10.77.0.{via}\n[vm guest{number}]\nlisten=7174, 7471, 18515\n"


def two_hosts(function=None, **more):
    """Each guest has a pvhcad of its own, on a device of its own."""
    return translated(function, **{"daemon_config": second_host(0, 11, 2), "second_daemon_config": second_host(1, 10, 1),
                                   **more})


@two_hosts(timeout=900, soak=True)
def vms_of_two_hosts_talk_by_their_own_addresses_and_by_their_hosts(rig):
    first, second = rig.guests
    for program in ("ib_write_bw -s 4096", "ibv_ud_pingpong"):
        check_pair(first, second, f"{program} -n 100")
        check_pair(second, first, f"{program} -n 100")
    meet_by_tcp(rig)
    for server, client, host in ((first, second, rig.native.rdma_ip), (second, first, rig.second_ip)):
        for address in (server.net_ip, host):
            pings(server, client, server.net_ip, address)
            datagrams(server, client, server.net_ip, address)
            streams(server, client, server.net_ip, address)
            perftest(server, client, address, 18515, ("ib_write_bw",))
