# SPDX-License-Identifier: GPL-2.0-or-later
"""The device's two homes, one behind the other in the same L1: our QEMU, and a distribution's with pvhca-vfio-user.

Each side of a round has a guest of its own, alone on the host, with a native peer.
"""

import dataclasses
import time

from harness import rigs, stock, testcase
from harness.paths import build

from . import counts
from .guests import attempt, perftest, pin_guests, seat
from .samples import in_turn

OURS, STOCK = "our QEMU", "stock QEMU"
RIGS = {OURS: rigs.VerbsRig, STOCK: stock.StockVerbsRig}
DOORBELL = "tests/bench/pvhca-bench-doorbell"
RINGS = 500                     # of each kind
KINDS = ("exits", "MMIO exits", "interrupts", "doorbells")
SLEEPER = ("--spin-us", "0")    # pvhcad never polls: each message rings
PART_OF_SLEEPER = 10            # of the messages: it is slow


class Side:
    """One side of a round, while its guest is there."""

    def __init__(self, rig, samples, number, name, options):
        self.rig, self.samples, self.number, self.name, self.options = rig, samples, number, name, options
        self.guest = rig.guests[0]

    @property
    def pair(self):
        return seat(self.rig.native), seat(self.guest)

    def add(self, figure, value, unit, size=0):
        self.samples.add("stock", figure, size, self.name, self.number, value, unit)

    def attempt(self, figure, measure, *arguments):
        attempt(self.rig, self.samples, ("stock", figure, 0, self.name, self.number), lambda: measure(*arguments))

    def latency(self, program, when=""):
        self.add(program + when, perftest(self.name, self.pair, "latency", program, 8, self.options), "us", 8)

    def bandwidth(self, program):
        self.add(program, perftest(self.name, self.pair, "bandwidth", program, 65536, self.options), "MB/s", 65536)

    def counts(self, when, messages, more):
        counted = counts.per_message(self.rig, self.pair, messages, f"--size {self.options.count_size} {more}")
        for kind in KINDS:
            self.add(kind + when, counted[kind] * 1000, "/1000 messages")

    def registers(self, when):
        shown = self.guest.check(f"{build() / DOORBELL} -d {self.guest.ibdev} -g {self.guest.gid_index} -n {RINGS}",
                                 timeout=120)
        times = {words[0]: float(words[2]) / 1e3 for words in map(str.split, shown.splitlines())}
        for name, figure in (("doorbell", "a doorbell"), ("doorbells", "doorbells, one behind the other"),
                             ("register", "a register read"), ("command", "an empty admin command")):
            self.add(figure + when, times[name], "us")

    def registers_under_load(self):
        """Beside a stream that never ends."""
        server, client = self.pair
        listening = self.rig.native.spawn(counts.command(server, "--seconds 3600"))
        try:
            self.rig.native.wait_port(counts.PORT)
            streaming = self.guest.spawn(f"{counts.command(client, '--seconds 3600')} {self.rig.native.net_ip}")
            try:
                self.registers(", under load")
                assert streaming.running, streaming.result()
            finally:
                streaming.kill(9)
        finally:
            listening.kill(9)

    def restart(self, *more):
        """Another pvhcad, with more options, under the running guest."""
        self.rig.daemon.stop()
        self.guest.wait_device_gone()
        self.rig.setup = dataclasses.replace(self.rig.setup, daemon_args=self.rig.setup.daemon_args + more)
        started = time.monotonic()
        self.rig.start_daemon()
        self.guest.wait_device()
        self.add("pvhcad's start until the device is back", time.monotonic() - started, "s")

    def measure(self):
        self.add("QEMU's start until the device is ready", time.monotonic() - self.guest.started, "s")
        pin_guests(self.rig)
        for program in ("ib_write_lat", "ib_send_lat"):
            self.attempt(program, self.latency, program)
        for program in ("ib_write_bw", "ib_send_bw"):
            self.attempt(program, self.bandwidth, program)
        self.attempt("counts", self.counts, "", self.options.count, "")
        self.attempt("registers", self.registers, ", idle")
        self.attempt("registers", self.registers_under_load)
        self.restart(*SLEEPER)
        asleep = ", pvhcad asleep"
        self.attempt("ib_write_lat", self.latency, "ib_write_lat", asleep)
        self.attempt("counts", self.counts, asleep, self.options.count // PART_OF_SLEEPER, "--window 1")


def one_side(samples, number, name, logs, options):
    logs = logs / f"{name.split()[0]}-{number}"
    logs.mkdir(exist_ok=True)
    # The guest's root may map registers that a driver has.
    setup = testcase.Setup(guests=1, cpus=1, append="iomem=relaxed", daemon_args=tuple(options.daemon.split()))
    rig = RIGS[name](setup, logs)
    try:
        Side(rig, samples, number, name, options).measure()
        for problem in rig.problems():
            print(f"# {problem}", flush=True)
    finally:
        rig.close()


def run(samples, logs, options):
    for number in range(options.rounds):
        for name in in_turn(RIGS, number):
            if not samples.is_done(name, number):
                one_side(samples, number, name, logs, options)
                samples.mark_done(name, number)
        print(f"# both homes of the device: round {number + 1} of {options.rounds}", flush=True)
