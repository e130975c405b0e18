# SPDX-License-Identifier: GPL-2.0-or-later
"""Without virtual machines: events and interrupts of owners that sleep, and what a guest that does little costs its host."""

import re
import time
from pathlib import Path

from harness import HarnessError, processes
from harness.paths import build

from .samples import in_turn

RING_EVENTS = "tests/ring/pvhca-ring-events"
RING_PACE = "tests/ring/pvhca-ring-pace"
MESSAGES = 50000
ANSWERING = "process that answers"
# What the guest does a second, as the program's options.
LOADS = {"idle": (), "1 poll a second": ("--polls", 1), "1000 messages a second": ("--messages", 1000)}
PACE_SECONDS, SETTLE_SECONDS = 5, 0.5


def events_round(rings, samples, number):
    for side in in_turn(rings, number):
        ring = rings[side]
        # As speed_round(): the provider's side is this build's.
        for found in ring.run("--messages", max(1000, MESSAGES * ring.options.percent // 100),
                              program=build() / RING_EVENTS, rounds=False):
            samples.add("events", found["figure"], 0, side, number, found["value"], found["unit"])


def _used(pid):
    """Processor time of all threads of a process, seconds, and how often they slept and were woken."""
    seconds = wakes = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        seconds += int((task / "schedstat").read_text().split()[0]) / 1e9
        wakes += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.M)[1])
    return seconds, wakes


def _pace(samples, number, side, load, process, pid):
    """pid: None for that of the program's line."""
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"going (\d+)\n", line)
        if not found:
            raise HarnessError(f"{RING_PACE}: {line}{process.stdout.read()}")
        time.sleep(SETTLE_SECONDS)
        began, before = time.monotonic(), _used(pid or int(found[1]))
        time.sleep(PACE_SECONDS)
        after, took = _used(pid or int(found[1])), time.monotonic() - began
    finally:
        processes.stop(process)
    samples.add("idle", f"{load}: processor time", 0, side, number, (after[0] - before[0]) * 1e3 / took, "ms/s")
    samples.add("idle", f"{load}: wake-ups", 0, side, number, (after[1] - before[1]) / took, "/s")


def idle_round(rings, samples, number):
    program = build() / RING_PACE
    for load, options in LOADS.items():
        for side in in_turn([*rings, ANSWERING], number):
            if side == ANSWERING:
                process = processes.start([program, *options], stdout=processes.subprocess.PIPE,
                                          stderr=processes.subprocess.STDOUT, text=True)
                _pace(samples, number, side, load, process, None)
            else:
                _pace(samples, number, side, load, rings[side].start(*options, program=program), rings[side].daemon.pid)
                rings[side].wait_left()
