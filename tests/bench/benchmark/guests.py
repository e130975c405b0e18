# SPDX-License-Identifier: GPL-2.0-or-later
"""One boot of the nested KVM host: native rxe, pvhca's guests on it, and rxe inside a guest over virtio-net."""

import collections
import os
import time

from harness import check_pair, native, rigs, testcase
from harness.gid import gid_of
from programs import perftest_rows

from . import control, counts
from .samples import in_turn

PARTS = ("bandwidth", "latency", "control", "counts")
PROGRAMS = {"bandwidth": ("ib_write_bw", "ib_read_bw", "ib_send_bw"),
            "latency": ("ib_write_lat", "ib_read_lat", "ib_send_lat")}
COLUMN = {"bandwidth": 2, "latency": 3}     # behind the size: average MB/s; typical us
UNIT = {"bandwidth": "MB/s", "latency": "us"}
SIDES = ("native", "native-shared", "pvhca", "pvhca-pvhca", "rxe-vhost")
# Both native ends on one processor: what pollers that must share cost without any guest. For latency only.
SHARED = "native-shared"
SHARED_PART = 20            # of the messages: it is slow
MOST_MESSAGES = 20000       # of a bandwidth measurement: small ones are not to take for ever
GUEST_RXE, HOST_RXE = "rxe0", "rxe1"
IDLE_SECONDS = 2

# A device, as a program on a host has to be told of it.
Seat = collections.namedtuple("Seat", "host ibdev gid_index")


def seat(host):
    return Seat(host, host.ibdev, host.gid_index)


def find_gid(host, ibdev, address):
    """Index of the RoCE v2 GID of an IPv4 address, waited for."""
    gid = gid_of(address)
    base = f"/sys/class/infiniband/{ibdev}/ports/1"
    return int(host.check(f"""i=0; while [ $i -lt 100 ]; do
        for f in {base}/gids/*; do
            g=; read -r g <$f; [ "$g" = {gid} ] || continue
            t=; read -r t <{base}/gid_attrs/types/${{f##*/}}; [ "$t" = "RoCE v2" ] && echo ${{f##*/}} && exit 0
        done; sleep 0.2; i=$((i + 1)); done; exit 1"""))


def add_rxe(host, ibdev, netdev, address):
    host.check(f"rdma link add {ibdev} type rxe netdev {netdev}")
    return Seat(host, ibdev, find_gid(host, ibdev, address))


def seats(rig, sides):
    """Side to (server, client)."""
    native, guest = seat(rig.native), seat(rig.guests[0])
    found = {"native": (native, native), SHARED: (native, native), "pvhca": (native, guest)}
    if "pvhca-pvhca" in sides:
        found["pvhca-pvhca"] = (seat(rig.guests[1]), guest)
    if "rxe-vhost" in sides:
        rig.guests[0].load_modules("rdma_rxe")
        found["rxe-vhost"] = (add_rxe(rig.native, HOST_RXE, rig.network.NAME, rig.native.net_ip),
                              add_rxe(rig.guests[0], GUEST_RXE, "eth0", rig.guests[0].net_ip))
    return {side: found[side] for side in sides}


# Who polls where on L1's two processors, on all sides alike: clients on one, servers on the other. Left to the
# scheduler, whoever moves the data now and then shares a processor with one poller, now and then with the other.
CLIENT_CPU, SERVER_CPU = 0, 1


def pin_guests(rig):
    """The client's processor and the server's, if that is a guest, each to one of L1's."""
    for guest, cpu in zip(rig.guests, (CLIENT_CPU, SERVER_CPU)):
        for thread in guest.qmp("query-cpus-fast"):
            os.sched_setaffinity(thread["thread-id"], {cpu})


def pinned(host, cpu, command):
    """A native process is bound by its command, a guest's by its guest."""
    return f"taskset -c {cpu} {command}" if isinstance(host, native.Native) else command


def processors(side):
    """The server's and the client's."""
    return (SERVER_CPU, SERVER_CPU if side == SHARED else CLIENT_CPU)


def perftest(side, pair, part, program, size, options):
    server, client = pair
    messages = options.messages if part == "latency" else max(10, min(MOST_MESSAGES, options.bytes // size))
    if side == SHARED:
        messages = max(10, messages // SHARED_PART)
    commands = [pinned(end.host, cpu, f"{program} -s {size} -n {messages} -F -d {end.ibdev} -x {end.gid_index}")
                for end, cpu in zip(pair, processors(side))]
    _, result = check_pair(server.host, client.host, commands[0], client_command=commands[1], timeout=100)
    return perftest_rows(result.out)[size][COLUMN[part]]


def attempt(rig, samples, cell, measure):
    """A measurement that fails is noted and leaves nothing running; a lost guest ends all."""
    try:
        measure()
    except AssertionError as error:
        samples.failed(*cell, str(error))
        rig.sweep()


def perftest_round(rig, samples, number, part, pairs, options):
    programs = [program for program in PROGRAMS[part] if not options.programs or program in options.programs]
    sizes = options.sizes if part == "bandwidth" else options.latency_sizes
    for program in programs:
        for size in sizes:
            for side in in_turn(pairs, number):
                cell = (part, program, size, side, number)
                attempt(rig, samples, cell, lambda: samples.add(
                    *cell, perftest(side, pairs[side], part, program, size, options), UNIT[part]))


def idle(rig, samples, number):
    before = counts.daemon_seconds(rig.daemon)
    time.sleep(IDLE_SECONDS)
    used = counts.daemon_seconds(rig.daemon) - before
    samples.add("counts", "pvhcad, guests idle", 0, "pvhca", number, used * 1e3 / IDLE_SECONDS, "ms/s")


def one_round(rig, samples, number, pairs, options):
    if "latency" in options.parts:
        perftest_round(rig, samples, number, "latency", pairs, options)
    pairs = {side: pair for side, pair in pairs.items() if side != SHARED}
    if "bandwidth" in options.parts:
        perftest_round(rig, samples, number, "bandwidth", pairs, options)
    if "control" in options.parts:
        for side in in_turn([side for side in ("native", "pvhca") if side in pairs], number):
            attempt(rig, samples, ("control", "verbs", 0, side, number), lambda: control.measure(
                rig, samples, number, side, pairs[side][1], options))
    if "counts" in options.parts:
        for side in in_turn(pairs, number):
            attempt(rig, samples, ("counts", "stream", options.count_size, side, number), lambda: counts.measure(
                rig, samples, number, side, pairs[side], options))
        idle(rig, samples, number)


def run(samples, logs, options):
    rounds = [number for number in range(options.rounds) if not samples.is_done("verbs", number)]
    if not rounds:
        return
    setup = testcase.Setup(guests=2 if "pvhca-pvhca" in options.sides else 1, cpus=1, vhost=True,
                           memory=control.guest_memory(options), daemon_args=tuple(options.daemon.split()))
    rig = rigs.VerbsRig(setup, logs)
    try:
        pin_guests(rig)
        pairs = seats(rig, options.sides)
        for number in rounds:
            one_round(rig, samples, number, pairs, options)
            samples.mark_done("verbs", number)
            print(f"# verbs fabric: round {number + 1} of {options.rounds}", flush=True)
        for problem in rig.problems():
            print(f"# {problem}", flush=True)
    finally:
        rig.native.run(f"rdma link del {HOST_RXE}")
        rig.close()
