# SPDX-License-Identifier: GPL-2.0-or-later
"""Without virtual machines: the provider's ring code in one process, pvhcad in another, at native speed."""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from harness import HarnessError, daemon, limits, processes
from harness.paths import build

sys.path.append(str(Path(__file__).resolve().parents[2] / "ring"))

import instructions  # noqa: E402

from . import commands, counts, events  # noqa: E402
from .samples import in_turn  # noqa: E402

RING_BENCH = "tests/ring/pvhca-ring-bench"
RING_KINDS = "tests/ring/pvhca-ring-kinds"
RING_WORKERS = "tests/ring/pvhca-ring-workers"
NULL_ENGINE = "tests/ring/libpvhca-null-engine.so"
PVHCAD = "hostd/pvhcad"
# The side of another build, which --against names.
OTHER = "other build"
SECONDS = limits.scaled(600)
IDLE_SECONDS, SETTLE_SECONDS = 2, 0.5
# Side to the ring benchmark's options: what is there beside the one pair that works.
GROWTH = {"2 QPs": (), "1000 QPs": ("--qps", 1000), "64 sessions": ("--sessions", 64)}
# Side to the VMs that post; pvhcad has a worker, and a processor, for each of two.
WORKERS = {"one worker": 1, "two workers": 2}
WORKER_PROCESSORS = 2
# Each run of a program has memory of its own. Where a hypervisor keeps page tables of its own, pvhcad's first write to a
# page of it is an exit of about 18 us, in no kernel's counts, and a first round of short messages shows little else.
WARM_ROUNDS = 2
YARDSTICKS = {"rate": "raw ring", "latency": "line round trip", "bandwidth": "memcpy", "admin": "wake round trip"}


def release_of(programs):
    """What a build's pvhcad calls itself."""
    shown = processes.subprocess.run([programs / PVHCAD, "--version"], capture_output=True, text=True, check=True).stdout
    return shown.split()[-1]


def releases(options):
    """This build's, and that of the build beside it."""
    return {"release": release_of(build())} | ({"other release": release_of(options.against)} if options.against else {})


def _last_round(found):
    """Of the rounds of a program the last one's values."""
    return {**found, **{name.removesuffix("s"): found[name][-1] for name in ("values", "yardstick_values") if name in found}}


class Ring:
    """A pvhcad, and the ring benchmark of the same build; programs: None for this one, which tests may replace in part;
    engine: the fabric, and what pvhcad finds in its environment."""

    def __init__(self, directory, logs, options, programs=None, name="pvhcad", engine=(("--fabric", "loopback"), {})):
        self._directory, self.options = directory, options
        self._bench = (programs or build()) / RING_BENCH
        self.daemon = daemon.Daemon(directory, logs, [*engine[0], "--log-level", "warning", *options.daemon.split()],
                                    program=programs and programs / PVHCAD, name=name, environment=engine[1])
        self.daemon.start()

    def start(self, *arguments, program=None):
        return processes.start([program or self._bench, "--socket", self.daemon.socket, *arguments],
                               stdout=processes.subprocess.PIPE, stderr=processes.subprocess.STDOUT, text=True)

    def run(self, *arguments, program=None, rounds=True):
        """A round of the ring benchmark, or of another program with such results: what it found, the last round's value."""
        out = self._directory / "round.json"
        one = ("--rounds", WARM_ROUNDS, "--percent", self.options.percent) if rounds else ()
        process = self.start(*one, "--json", out, *arguments, program=program)
        try:
            said, _ = process.communicate(timeout=SECONDS)
        finally:
            processes.stop(process)
        if process.returncode:
            raise HarnessError(f"ring benchmark: {said}\n{self.daemon.log_tail()}")
        self.wait_left()
        return [_last_round(found) for found in json.loads(out.read_text())]

    def wait_left(self):
        """Until pvhcad has noticed that all sessions have ended: the next ones want the same addresses."""
        deadline = time.monotonic() + SECONDS
        while self.daemon.stats()["sessions"]:
            if time.monotonic() > deadline:
                raise HarnessError("sessions stay in pvhcad")
            time.sleep(0.05)

    def close(self):
        self.daemon.kill()


def speed_round(rings, samples, number):
    for side in in_turn(rings, number):
        ring = rings[side]
        sizes = ",".join(map(str, ring.options.ring_sizes))
        for found in ring.run("--sizes", sizes):
            cell = (found["figure"], found["size"])
            samples.add("ring", *cell, side, number, found["value"], found["unit"])
            if side != OTHER:
                samples.add("ring", *cell, YARDSTICKS[found["figure"]], number, found["yardstick_value"], found["unit"])
        # The provider's side is this build's here, whatever pvhcad is: older ones lack the program.
        for found in ring.run(program=build() / RING_KINDS):
            samples.add("ring", found["figure"], found["size"], side, number, found["value"], found["unit"])


def processors():
    """A list of the first of those that this process may use."""
    return ",".join(map(str, sorted(os.sched_getaffinity(0))[:WORKER_PROCESSORS]))


def workers_round(ring, samples, number):
    """Writes that were posted while pvhcad was stopped: workers, and nobody else at work."""
    for side in in_turn(WORKERS, number):
        for found in ring.run("--pid", ring.daemon.pid, "--vms", WORKERS[side], "--rounds", 1,
                              program=build() / RING_WORKERS, rounds=False):
            samples.add("workers", found["figure"], found["size"], side, number, found["value"], found["unit"])


def growth_round(ring, samples, number):
    for side in in_turn(GROWTH, number):
        for found in ring.run("--figures", "rate,latency", "--sizes", 8, *GROWTH[side]):
            samples.add("growth", found["figure"], found["size"], side, number, found["value"], found["unit"])


def idle_round(ring, samples, number):
    """Processor time of pvhcad while a guest with queue pairs does nothing."""
    milliseconds = int((IDLE_SECONDS + 2 * SETTLE_SECONDS) * 1e3)
    process = ring.start("--qps", 100, "--sessions", 8, "--idle", milliseconds, "--figures", "rate", "--percent", 1,
                         "--rounds", 1)
    try:
        while (line := process.stdout.readline()) and line != "idle\n":
            pass
        time.sleep(SETTLE_SECONDS)
        before = counts.daemon_seconds(ring.daemon)
        time.sleep(IDLE_SECONDS)
        used = counts.daemon_seconds(ring.daemon) - before
        process.communicate(timeout=SECONDS)
    finally:
        processes.stop(process)
    samples.add("growth", "pvhcad, 8 sessions idle", 0, "pvhca", number, used * 1e3 / IDLE_SECONDS, "ms/s")


def count(samples, options):
    """Instructions do not vary as times do: one round of them says all."""
    if not shutil.which("valgrind"):
        print("# no valgrind, no counts of instructions (scripts/setup installs it)", flush=True)
        return
    daemons = {"pvhca": build() / PVHCAD} | ({OTHER: options.against / PVHCAD} if options.against else {})
    for side, program in daemons.items():
        for kind, each in instructions.of_pvhcad(program, build() / RING_KINDS).items():
            samples.add("instructions", f"{kind}, pvhcad", 0, side, 0, each, "instructions")
    engine = build() / NULL_ENGINE
    for kind, each in instructions.of_verbs(daemons["pvhca"], build() / RING_KINDS, engine).items():
        samples.add("instructions", f"{kind}, pvhcad on the verbs fabric", 0, "pvhca", 0, each, "instructions")
    for kind, each in instructions.of_provider(daemons["pvhca"], build() / RING_KINDS).items():
        samples.add("instructions", f"{kind}, provider", 0, "pvhca", 0, each, "instructions")


def run(samples, logs, options):
    if "instructions" in options.parts:
        count(samples, options)
    if not {"ring", "workers", "growth", "events", "idle", "commands"} & set(options.parts):
        return
    with tempfile.TemporaryDirectory(prefix="pvhca-bench-") as directory, contextlib.ExitStack() as stack:
        rings, two = {"pvhca": Ring(Path(directory), logs, options)}, None
        stack.callback(rings["pvhca"].close)
        if options.against:
            rings[OTHER] = Ring(Path(directory), logs, options, options.against, "pvhcad-other")
            stack.callback(rings[OTHER].close)
        if "workers" in options.parts and len(os.sched_getaffinity(0)) < WORKER_PROCESSORS:
            print(f"# less than {WORKER_PROCESSORS} processors: no figure for two workers", flush=True)
        elif "workers" in options.parts:
            placed = argparse.Namespace(**{**vars(options), "daemon": f"--workers {WORKER_PROCESSORS} --cpus {processors()}"})
            two = Ring(Path(directory), logs, placed, name="pvhcad-workers")
            stack.callback(two.close)
        engines = {}
        if "commands" in options.parts:
            for name, engine in commands.engines(build() / NULL_ENGINE).items():
                engines[name] = Ring(Path(directory), logs, options, name=f"pvhcad-{name}", engine=engine)
                stack.callback(engines[name].close)
        for number in range(options.rounds):
            if "ring" in options.parts:
                speed_round(rings, samples, number)
            if two:
                workers_round(two, samples, number)
            if "commands" in options.parts:
                commands.commands_round(engines, samples, number)
            if "events" in options.parts:
                events.events_round(rings, samples, number)
            if "idle" in options.parts:
                events.idle_round(rings, samples, number)
            if "growth" in options.parts:
                growth_round(rings["pvhca"], samples, number)
                idle_round(rings["pvhca"], samples, number)
            print(f"# rings: round {number + 1} of {options.rounds}", flush=True)
