# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs fabric: guests keep the addresses of their own interfaces, and pvhcad puts the host's on the wire."""

import re

from harness import check_pair, vmtest
from programs import totals, wait_until
from test_cm import both_end_well, load_cm, talk

NATIVE_PORT = 18610

# Both want 7999: the one that comes second does not get it.
CONFIG = """[pvhcad]
translate=true
[vm guest0]
listen=7174, 7471, 18515, 7999
[vm guest1]
listen=7999
"""


def translated(function=None, **more):
    return vmtest(function, **{"rigs": ("verbs",), "guests": 2, "paired": True, "daemon_config": CONFIG, **more})


def meet_by_tcp(rig):
    """The native peer's address is one for TCP and RDMA; guests reach it through the host."""
    for guest in rig.guests:
        guest.check(f"ip route replace {rig.native.rdma_ip} via {rig.native.net_ip}")


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


def datagrams(server, client, bound, address, port=7174):
    """One that is answered, by the address in its header. All of udaddy's receives share a buffer: see connections.md."""
    options = f"-p {port} -c 1 -C 1 -S 512"
    run_cm(server, client, f"udaddy -b {bound} {options}", f"udaddy -s {address} {options}", "return status 0")


def perftest(server, client, address, port):
    load_cm(server, client)
    options = f"-R -F -n 100 -p {port}"
    running = server.spawn(f"exec stdbuf -oL ib_send_bw -d {server.ibdev} {options}")
    running.expect("Waiting for client to connect")
    both_end_well((running.wait(60), client.run(f"ib_send_bw -d {client.ibdev} {options} {address}", timeout=60)))


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


@translated(timeout=300, soak=True)
def datagrams_between_guests_are_answered(rig):
    server, client = rig.guests
    datagrams(server, client, server.net_ip, server.net_ip)


@translated(timeout=400, soak=True)
def a_guest_is_client_of_a_native_server_by_one_address(rig):
    guest, native, address = rig.guests[0], rig.native, rig.native.rdma_ip
    meet_by_tcp(rig)
    # Not on the ports that pvhcad has for the guest: they are the host's.
    pings(native, guest, address, address, NATIVE_PORT)
    streams(native, guest, address, address, NATIVE_PORT)
    datagrams(native, guest, address, address, NATIVE_PORT)
    perftest(native, guest, address, NATIVE_PORT)
    # Its server ends each test over the connection manager by ibv_destroy_qp() of a null pointer; the client has
    # its result by then.
    native.log.allow(r"qperf\[\d+\]: segfault at 0 .* in libibverbs")
    qperf = native.spawn("exec qperf -lp 18701")
    native.wait_port(18701)
    for test in ("tcp_lat", "rc_lat"):
        shown = guest.check(f"qperf -lp 18701 -cm 1 -t 1 {address} {test}", timeout=60)
        assert re.search(r"latency\s+=\s+\d", shown), shown
    qperf.kill()
    no_connection_stays(rig)


@translated(timeout=400, soak=True)
def a_native_client_reaches_a_guest_by_the_hosts_address(rig):
    guest, native, address = rig.guests[0], rig.native, rig.native.rdma_ip
    meet_by_tcp(rig)
    pings(guest, native, guest.net_ip, address)
    streams(guest, native, guest.net_ip, address)
    datagrams(guest, native, guest.net_ip, address)
    perftest(guest, native, address, 18515)
    no_connection_stays(rig)


# -------------------------------- two hosts ----------------------------------

def second_host(number, other, via):
    return f"[pvhcad]\ntranslate=true\npeer=10.88.0.{other} via 10.77.0.{via}\n[vm guest{number}]\nlisten=7174\n"


def two_hosts(function=None, **more):
    """Each guest has a pvhcad of its own, on a device of its own."""
    return translated(function, **{"daemon_config": second_host(0, 11, 2), "second_daemon_config": second_host(1, 10, 1),
                                   **more})


@two_hosts(timeout=400, soak=True)
def vms_of_two_hosts_talk_by_their_own_addresses_and_by_their_hosts(rig):
    first, second = rig.guests
    check_pair(first, second, "ib_write_bw -s 4096 -n 100")
    check_pair(second, first, "ib_write_bw -s 4096 -n 100")
    for guest in rig.guests:
        guest.check(f"ip route replace 10.77.0.0/24 via {rig.native.net_ip}")
    for server, client, host in ((first, second, rig.native.rdma_ip), (second, first, rig.second_ip)):
        for address in (server.net_ip, host):
            pings(server, client, server.net_ip, address)
            datagrams(server, client, server.net_ip, address)
