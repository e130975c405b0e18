# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections by rdma_cm: the programs of librdmacm and perftest, between guests and with the native peer."""

import re

from harness import test_program, vmtest
from programs import totals, wait_until


def load_cm(*hosts):
    for host in hosts:
        host.check("modprobe rdma_ucm")


def wait_listening(host, program, running=None):
    """Until the program listens; it is bound to an address, hence to the device. running: it, which must not end."""
    def listens():
        assert not running or running.running, running.result()
        shown = host.run("rdma resource show cm_id").out
        return any("state LISTEN" in line and f"comm {program[:15]}" in line for line in shown.splitlines())

    wait_until(listens, f"{host.name}: {program} does not listen", 30, host.slowness)


def talk(server, client, server_command, client_command, timeout=60):
    """Start both; returns both results, the server's first. exec: a signal is for the program."""
    load_cm(server, client)
    running = server.spawn(f"exec {server_command}")
    wait_listening(server, server_command.split()[0].rpartition("/")[2], running)
    result = client.run(client_command, timeout=timeout)
    return running.wait(timeout), result


def both_end_well(results):
    for result in results:
        assert result.rc == 0, results
    return results


def rping(server, client, server_ip=None, client_ip=None):
    address, source = server_ip or server.rdma_ip, client_ip or client.rdma_ip
    served, asked = talk(server, client, f"rping -s -a {address} -v -C 5", f"rping -c -a {address} -I {source} -v -C 5")
    assert len(re.findall(r"^server ping data: rdma-ping-\d", served.out, re.MULTILINE)) == 5, (served, asked)
    assert len(re.findall(r"^ping data: rdma-ping-\d", asked.out, re.MULTILINE)) == 5, (served, asked)


def bound_pair(server, client, program, options, client_options=""):
    """Programs whose options -b and -s name addresses."""
    return both_end_well(talk(server, client, f"{program} -b {server.rdma_ip} {options}",
                              f"{program} -s {server.rdma_ip} -b {client.rdma_ip} {options} {client_options}"))


def ucmatose(server, client):
    for result in bound_pair(server, client, "ucmatose", "-c 4 -C 20 -S 4096"):
        assert "test complete" in result.out and "return status 0" in result.out, result


def udaddy(server, client):
    for result in bound_pair(server, client, "udaddy", "-c 2 -C 10 -S 512"):
        assert "test complete" in result.out and "return status 0" in result.out, result


def rdma_client(server, client):
    served, asked = talk(server, client, f"rdma_server -s {server.rdma_ip}", f"rdma_client -s {server.rdma_ip}")
    assert "rdma_server: end 0" in served.out and "rdma_client: end 0" in asked.out, (served, asked)


def rsockets(server, client, program):
    options = "-C 50 -S 16384 -T v"
    bound_pair(server, client, program, options)


def perftest(server, client, program="ib_send_bw", port=18515):
    options = f"-R -F -n 100 -p {port}"
    load_cm(server, client)
    # Bound to all addresses, it is not shown as a listener; its output is read as it comes.
    running = server.spawn(f"exec stdbuf -oL {program} -d {server.ibdev} -x {server.gid_index} {options}")
    running.expect("Waiting for client to connect")
    result = client.run(f"{program} -d {client.ibdev} -x {client.gid_index} {options} {server.rdma_ip}", timeout=60)
    both_end_well((running.wait(60), result))


def pinging(server, client):
    """rping that goes on until somebody ends it; both programs."""
    load_cm(server, client)
    served = server.spawn(f"exec rping -s -a {server.rdma_ip} -v")
    wait_listening(server, "rping")
    asking = client.spawn(f"exec rping -c -a {server.rdma_ip} -v")
    asking.expect("ping data: rdma-ping-")
    return served, asking


def cmtime(server, client):
    load_cm(server, client)
    running = server.spawn(f"exec cmtime -b {server.rdma_ip} -c 20")
    wait_listening(server, "cmtime")
    result = client.run(f"cmtime -s {server.rdma_ip} -b {client.rdma_ip} -c 20", timeout=60)
    running.kill()
    # "cm connect" since rdma-core 56, whose cmtime also opens a TCP connection to that address.
    assert result.rc == 0 and re.search(r"^(cm )?connect\b", result.out, re.MULTILINE), result


def multicast(receiver, sender, group):
    """Datagrams may be lost, and mckey waits for as many as it was told: so more are sent."""
    load_cm(receiver, sender)
    receiving = receiver.spawn(f"exec stdbuf -oL mckey -m {group} -b {receiver.rdma_ip} -C 10")
    receiving.expect("receiving data transfers")
    both_end_well((sender.run(f"mckey -m {group} -b {sender.rdma_ip} -s -C 40", timeout=60), receiving.wait(60)))


# One side asks with private data, the other rejects with private data; each prints what it got.
REJECTION = """
import sys
import pyverbs.cm_enums as ce
from pyverbs.cmid import AddrInfo, CMEvent, CMEventChannel, CMID, ConnParam
from pyverbs.enums import IBV_QPT_RC
from pyverbs.qp import QPCap, QPInitAttr

def event(channel, kind):
    got = CMEvent(channel)
    assert got.event_type == kind, got.event_str()
    return got

server, client = sys.argv[2:]
channel = CMEventChannel()
if sys.argv[1] == "server":
    listener = CMID(creator=channel)
    listener.bind_addr(AddrInfo(src=server, src_service="7471", flags=ce.RAI_PASSIVE))
    listener.listen()
    request = event(channel, ce.RDMA_CM_EVENT_CONNECT_REQUEST)
    peer = CMID(creator=request, listen_id=listener)
    print("request:", request.private_data)
    request.ack_cm_event()
    peer.reject(b"no thanks")
else:
    cmid = CMID(creator=channel)
    cmid.resolve_addr(AddrInfo(src=client, dst=server, dst_service="7471"))
    event(channel, ce.RDMA_CM_EVENT_ADDR_RESOLVED).ack_cm_event()
    cmid.resolve_route(2000)
    event(channel, ce.RDMA_CM_EVENT_ROUTE_RESOLVED).ack_cm_event()
    cmid.create_qp(QPInitAttr(qp_type=IBV_QPT_RC, cap=QPCap(max_recv_wr=1)))
    question = ConnParam(data_len=56)
    question.set_private_data(b"please")
    cmid.connect(question)
    answer = event(channel, ce.RDMA_CM_EVENT_REJECTED)
    print("rejection:", answer.private_data)
    answer.ack_cm_event()
"""


def rejection(server, client):
    for host in {server, client}:
        host.put("/run/rejection.py", REJECTION)
    arguments = f"{server.rdma_ip} {client.rdma_ip}"
    results = talk(server, client, f"/usr/bin/python3 /run/rejection.py server {arguments}",
                   f"/usr/bin/python3 /run/rejection.py client {arguments}")
    served, asked = both_end_well(results)
    assert "request: b'please\\x00" in served.out, results
    assert "rejection: b'no thanks\\x00" in asked.out, results


def private_data(server, client):
    """Of no, one and the most bytes, and one more, in questions, answers and rejections; and the limits of reads."""
    program = test_program("pvhca-test-connect")
    served, asked = both_end_well(talk(server, client, f"{program} -a {server.rdma_ip}",
                                       f"{program} -b {client.rdma_ip} {server.rdma_ip}", timeout=120))
    assert len(re.findall("^connection . ok", asked.out, re.MULTILINE)) == 7, asked


def echo(server, client, options=""):
    """An echo over rsockets, with rpoll() and its time-outs."""
    program = test_program("pvhca-test-streams")
    load_cm(server, client)
    running = server.spawn(f"exec {program} -s {server.rdma_ip}")
    running.expect("listening")
    asked = client.run(f"exec {program} {options} {server.rdma_ip}", timeout=60)
    both_end_well((running.wait(60), asked))
    assert "echo ok" in asked.out, asked


# ---------------------------------------------------- between guests

@vmtest(guests=2)
def rping_pings_between_guests(rig):
    rping(*rig.guests)


@vmtest(guests=2)
def rping_pings_within_a_guest(rig):
    rping(rig.guests[0], rig.guests[0])


@vmtest(guests=2)
def ucmatose_runs_between_guests(rig):
    ucmatose(*rig.guests)


@vmtest(guests=2)
def udaddy_runs_between_guests(rig):
    udaddy(*rig.guests)


@vmtest(guests=2, soak=("verbs",))
def rdma_client_meets_rdma_server_between_guests(rig):
    rdma_client(*rig.guests)


@vmtest(guests=2)
def rsockets_carry_streams_between_guests(rig):
    rsockets(*rig.guests, "rstream")


@vmtest(guests=2, soak=("verbs",))
def rsockets_do_io_between_guests(rig):
    rsockets(*rig.guests, "riostream")


@vmtest(guests=2)
def perftest_connects_by_rdma_cm(rig):
    perftest(*rig.guests)


@vmtest(guests=2, soak=("verbs",))
def cmtime_measures_connections(rig):
    cmtime(*rig.guests)


@vmtest(guests=2)
def a_port_without_a_listener_refuses(rig):
    server, client = rig.guests
    load_cm(server, client)
    result = client.run(f"ucmatose -s {server.rdma_ip} -b {client.rdma_ip} -p 9999", timeout=30)
    assert "RDMA_CM_EVENT_REJECTED, error: 8" in result.out, result


@vmtest(guests=2)
def private_data_of_every_length_and_limits_of_reads_travel(rig):
    private_data(*rig.guests)


@vmtest(guests=2, soak=("verbs",))
def rsockets_are_polled_with_a_time_out(rig):
    echo(*rig.guests)


@vmtest(guests=2, soak=("verbs",))
def a_rejection_carries_private_data(rig):
    rejection(*rig.guests)


@vmtest(guests=2, soak=("verbs",))
def a_multicast_group_has_members_in_guests(rig):
    multicast(*rig.guests, "239.1.1.1")


@vmtest(guests=2)
def addresses_of_the_infiniband_family_are_refused(rig):
    """The kernel's rdma_cm has AF_IB for InfiniBand ports only: the same on any RoCE device, see connections.md."""
    guest = rig.guests[0]
    load_cm(guest)
    result = guest.run(f"ucmatose -f gid -b ::ffff:{guest.rdma_ip}", timeout=30)
    assert result.rc and "bind address failed: No such device" in result.err, result


@vmtest(guests=2)
def an_address_belongs_to_one_vm_with_all_its_ports(rig):
    """So two VMs cannot want one port on one address."""
    owner, other = rig.guests
    logged = len(other.dmesg())
    other.check(f"ip addr add {owner.rdma_ip}/32 dev {other.netdev}")
    try:
        refusal = f"does not let this guest use address ::ffff:{owner.rdma_ip}"
        wait_until(lambda: refusal in other.dmesg()[logged:], f"no {refusal!r} in the kernel log", 20, other.slowness)
    finally:
        other.check(f"ip addr del {owner.rdma_ip}/32 dev {other.netdev}")
    rping(owner, other)


# It waits for the guest's kernel, whose time-outs are long and its own.
@vmtest(guests=2, rigs=("loopback",), timeout=300, soak=True)
def a_connection_to_a_vm_that_hangs_times_out(rig):
    server, client = rig.guests
    load_cm(server, client)
    listening = server.spawn(f"exec ucmatose -b {server.rdma_ip}")
    wait_listening(server, "ucmatose")
    server.qmp("stop")
    try:
        result = client.run(f"ucmatose -s {server.rdma_ip} -b {client.rdma_ip}", timeout=150)
    finally:
        server.qmp("cont")
    assert "RDMA_CM_EVENT_UNREACHABLE, error: -110" in result.out, result     # ETIMEDOUT, after all repetitions
    listening.kill()


@vmtest(guests=2, rigs=("loopback",), timeout=300)
def a_client_learns_of_a_killed_vm(rig):
    """Not with rxe: rdma_cm asks for 7 retries, which rxe takes for "for ever", natively, too."""
    server, client = rig.guests
    load_cm(server, client)
    options = f"-R -F -D 100 -s 4096 -x {server.gid_index}"
    serving = server.spawn(f"exec stdbuf -oL ib_write_bw -d {server.ibdev} {options}")
    serving.expect("Waiting for client to connect")
    messages = totals(rig)["messages"]
    writing = client.spawn(f"exec ib_write_bw -d {client.ibdev} {options} {server.rdma_ip}")
    wait_until(lambda: totals(rig)["messages"] > messages + 200, "the writes do not flow", 60, client.slowness)
    server.kill()
    result = writing.wait(120)
    assert "Failed status 12" in result.out + result.err, result     # RETRY_EXC_ERR: nobody answers
    server.start()
    server.wait_booted()
    server.bring_up_device()


@vmtest(guests=2)
def ipv6_addresses_connect(rig):
    server, client = rig.guests
    if rig.native:
        rig.native.check("for n in a b; do ip -6 addr replace fd77::$n/64 dev veth0 nodad; done")
    for host, number in ((server, "a"), (client, "b")):
        host.check(f"ip -6 addr replace fd77::{number}/64 dev {host.netdev} nodad")
        host.wait_gid(f"fd77::{number}")
    rping(server, client, "fd77::a", "fd77::b")
    for host, number in ((server, "a"), (client, "b")):
        host.check(f"ip -6 addr del fd77::{number}/64 dev {host.netdev}")
    if rig.native:
        rig.native.check("for n in a b; do ip -6 addr del fd77::$n/64 dev veth0; done")


@vmtest(guests=2)
def a_server_learns_of_a_killed_client(rig):
    served, asking = pinging(*rig.guests)
    asking.kill(9)
    asking.wait(20)
    served.wait(30)         # by itself, not at the end of the CM's time-outs


# -------------------------------------------------- with native peers

def speak_by_the_natives_address(rig, guest):
    """Not every program can be told its own address; by itself it would take the guest's, which is the host's, too."""
    route = f"ip route replace table local local {guest.rdma_ip} dev veth0 proto kernel scope host src"
    rig.for_this_file(f"{route} {rig.native.rdma_ip}", undo=f"{route} {guest.rdma_ip}")


def with_native(name, run, soak=()):
    """In both directions, and nothing of it stays in pvhcad."""
    def test(rig, server, client):
        run(server, client)
        wait_until(lambda: totals(rig)["connections"] == 0, "connections stay in pvhcad", 30, rig.native.slowness)

    def to_native(rig):
        test(rig, rig.native, rig.guests[0])

    def from_native(rig):
        guest = rig.guests[0]
        speak_by_the_natives_address(rig, guest)
        test(rig, guest, rig.native)

    for function, how in ((to_native, "reaches_the_native_peer"), (from_native, "is_reached_by_the_native_peer")):
        function.__name__ = f"{name}_{how}"
        globals()[function.__name__] = vmtest(guests=2, rigs=("verbs",), soak=soak)(function)


with_native("rping", rping)
with_native("ucmatose", ucmatose)
with_native("udaddy", udaddy)
with_native("rdma_client", rdma_client, soak=True)
# Questions, answers and rejections with private data are in the one below, too.
with_native("rejection", rejection, soak=True)
with_native("private_data", private_data)
with_native("echo", echo, soak=True)
with_native("rstream", lambda server, client: rsockets(server, client, "rstream"))
with_native("riostream", lambda server, client: rsockets(server, client, "riostream"), soak=True)
with_native("cmtime", cmtime, soak=True)
# perftest's server wants all addresses: its usual port pvhcad has for the guests on theirs (see connections.md).
with_native("perftest", lambda server, client: perftest(server, client, port=18600 if server.name == "native" else 18515))


@vmtest(guests=2, rigs=("verbs",))
def multicast_messages_pass_between_guest_and_native_peer(rig):
    speak_by_the_natives_address(rig, rig.guests[0])
    multicast(rig.native, rig.guests[0], "239.1.1.2")
    multicast(rig.guests[0], rig.native, "239.1.1.3")


@vmtest(guests=2, rigs=("verbs",))
def a_native_port_without_a_listener_refuses(rig):
    guest = rig.guests[0]
    load_cm(guest)
    result = guest.run(f"ucmatose -s {rig.native.rdma_ip} -b {guest.rdma_ip} -p 9999", timeout=60)
    assert "RDMA_CM_EVENT_REJECTED, error: 8" in result.out, result


@vmtest(guests=2, rigs=("verbs",))
def a_guests_port_without_a_listener_refuses_the_native_peer(rig):
    """pvhcad listens there; that the guest does not becomes a rejection, not silence."""
    guest = rig.guests[0]
    load_cm(guest)
    result = rig.native.run(f"ucmatose -s {guest.rdma_ip} -b {rig.native.rdma_ip} -p 7471", timeout=60)
    assert "RDMA_CM_EVENT_REJECTED" in result.out, result


@vmtest(guests=2, rigs=("verbs",))
def a_native_server_learns_of_a_killed_guest_process(rig):
    served, asking = pinging(rig.native, rig.guests[0])
    asking.kill(9)
    asking.wait(20)
    served.wait(30)
    wait_until(lambda: totals(rig)["connections"] == 0, "a connection stays in pvhcad", 30, rig.native.slowness)


@vmtest(guests=2, rigs=("verbs",), timeout=300)
def a_native_server_learns_of_a_killed_vm(rig):
    """pvhcad says the DREQ that the dead VM cannot."""
    client = rig.guests[0]
    served, _ = pinging(rig.native, client)
    client.kill()
    served.wait(30)
    client.start()
    client.wait_booted()
    client.bring_up_device()


@vmtest(guests=2, rigs=("verbs",))
def a_native_program_cannot_take_a_port_that_a_vm_listens_on(rig):
    guest = rig.guests[0]
    result = rig.native.run(f"ucmatose -b {guest.rdma_ip} -p 7471", timeout=30)
    assert result.rc and "Address already in use" in result.err, result
