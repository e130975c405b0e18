# SPDX-License-Identifier: GPL-2.0-or-later
"""Two KVM guests on pvhcad's loopback fabric, beside memcpy on their host and TCP over virtio-net with vhost."""

import json
import re

from harness import rigs, testcase
from harness.paths import build

from .guests import attempt, perftest, pin_guests, seat
from .samples import in_turn

RING_BENCH = "tests/ring/pvhca-ring-bench"
IPERF_PORT, QPERF_PORT = 5201, 19765
MOST_IPERF_BYTES = 1 << 20      # that iperf3 takes for one write


class LoopbackInL1(rigs.VerbsRig):
    """The verbs rig's machines with the other fabric."""

    name = "loopback in L1"

    def _fabric(self):
        return ["--fabric", "loopback"]


def memcpy(rig, size, options):
    shown = rig.native.check([build() / RING_BENCH, "--figures", "memcpy", "--sizes", size, "--rounds", 1,
                              "--percent", options.percent])
    return float(re.search(r"memcpy +\d+ B +([0-9.]+) GB/s", shown)[1]) * 1e3


def tcp_bandwidth(rig, size, options):
    server, client = rig.guests[1], rig.guests[0]
    listening = server.spawn(f"exec iperf3 -s -1 -p {IPERF_PORT}")
    try:
        server.wait_port(IPERF_PORT)
        shown = client.check(f"iperf3 -c {server.net_ip} -p {IPERF_PORT} -J -n {max(options.bytes, 10 * size)} "
                             f"-l {min(size, MOST_IPERF_BYTES)}", timeout=120)
        return json.loads(shown)["end"]["sum_received"]["bits_per_second"] / 8e6
    finally:
        if listening.running and not listening.ended_within(5):
            listening.kill(9)


def tcp_latency(rig, size):
    """us one way, as perftest has it: half of a round trip."""
    server, client = rig.guests[1], rig.guests[0]
    listening = server.spawn(f"exec qperf -lp {QPERF_PORT}")
    try:
        server.wait_port(QPERF_PORT)
        shown = client.check(f"qperf {server.net_ip} -lp {QPERF_PORT} -m {size} -t 2 tcp_lat", timeout=60)
        value, unit = re.search(r"latency += +([0-9.]+) (\w+)", shown).groups()
        return float(value) * {"ns": 1e-3, "us": 1, "ms": 1e3, "sec": 1e6}[unit]
    finally:
        listening.kill(9)


def one_round(rig, samples, number, options):
    pair = (seat(rig.guests[1]), seat(rig.guests[0]))
    for size in options.sizes:
        ways = {"pvhca-pvhca": lambda: perftest("pvhca-pvhca", pair, "bandwidth", "ib_write_bw", size, options),
                "memcpy": lambda: memcpy(rig, size, options), "tcp-vhost": lambda: tcp_bandwidth(rig, size, options)}
        for side in in_turn(ways, number):
            cell = ("loopback", "bandwidth", size, side, number)
            attempt(rig, samples, cell, lambda: samples.add(*cell, ways[side](), "MB/s"))
    for size in options.latency_sizes:
        ways = {"pvhca-pvhca": lambda: perftest("pvhca-pvhca", pair, "latency", "ib_send_lat", size, options),
                "tcp-vhost": lambda: tcp_latency(rig, size)}
        for side in in_turn(ways, number):
            cell = ("loopback", "latency", size, side, number)
            attempt(rig, samples, cell, lambda: samples.add(*cell, ways[side](), "us"))


def run(samples, logs, options):
    rounds = [number for number in range(options.rounds) if not samples.is_done("loopback", number)]
    if not rounds:
        return
    rig = LoopbackInL1(testcase.Setup(guests=2, cpus=1, vhost=True, daemon_args=tuple(options.daemon.split())), logs)
    try:
        pin_guests(rig)
        for number in rounds:
            one_round(rig, samples, number, options)
            samples.mark_done("loopback", number)
            print(f"# loopback fabric: round {number + 1} of {options.rounds}", flush=True)
        for problem in rig.problems():
            print(f"# {problem}", flush=True)
    finally:
        rig.close()
