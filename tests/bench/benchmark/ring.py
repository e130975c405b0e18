# SPDX-License-Identifier: GPL-2.0-or-later
"""Without virtual machines: the provider's ring code in one process, pvhcad in another, at native speed."""

import json
import tempfile
import time
from pathlib import Path

from harness import HarnessError, daemon, limits, processes
from harness.paths import build

from . import counts
from .samples import in_turn

RING_BENCH = "tests/ring/pvhca-ring-bench"
SECONDS = limits.scaled(600)
IDLE_SECONDS, SETTLE_SECONDS = 2, 0.5
# Side to the ring benchmark's options: what is there beside the one pair that works.
GROWTH = {"2 QPs": (), "1000 QPs": ("--qps", 1000), "64 sessions": ("--sessions", 64)}
YARDSTICKS = {"rate": "raw ring", "latency": "line round trip", "bandwidth": "memcpy", "admin": "wake round trip"}


class Ring:
    def __init__(self, directory, logs, options):
        self._directory, self.options = directory, options
        self.daemon = daemon.Daemon(directory, logs, ["--fabric", "loopback", "--log-level", "warning",
                                                      *options.daemon.split()])
        self.daemon.start()

    def start(self, *arguments):
        return processes.start([build() / RING_BENCH, "--socket", self.daemon.socket, *arguments],
                               stdout=processes.subprocess.PIPE, stderr=processes.subprocess.STDOUT, text=True)

    def run(self, *arguments):
        """One round of the ring benchmark: its results."""
        out = self._directory / "round.json"
        process = self.start("--rounds", 1, "--percent", self.options.percent, "--json", out, *arguments)
        try:
            said, _ = process.communicate(timeout=SECONDS)
        finally:
            processes.stop(process)
        if process.returncode:
            raise HarnessError(f"pvhca-ring-bench: {said}\n{self.daemon.log_tail()}")
        self._wait_left()
        return json.loads(out.read_text())

    def _wait_left(self):
        """Until pvhcad has noticed that all sessions have ended: the next ones want the same addresses."""
        deadline = time.monotonic() + SECONDS
        while self.daemon.stats()["sessions"]:
            if time.monotonic() > deadline:
                raise HarnessError("sessions stay in pvhcad")
            time.sleep(0.05)

    def close(self):
        self.daemon.kill()


def speed_round(ring, samples, number):
    sizes = ",".join(map(str, ring.options.ring_sizes))
    for found in ring.run("--sizes", sizes):
        cell = (found["figure"], found["size"])
        samples.add("ring", *cell, "pvhca", number, found["values"][0], found["unit"])
        samples.add("ring", *cell, YARDSTICKS[found["figure"]], number, found["yardstick_values"][0], found["unit"])


def growth_round(ring, samples, number):
    for side in in_turn(GROWTH, number):
        for found in ring.run("--figures", "rate,latency", "--sizes", 8, *GROWTH[side]):
            samples.add("growth", found["figure"], found["size"], side, number, found["values"][0], found["unit"])


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


def run(samples, logs, options):
    with tempfile.TemporaryDirectory(prefix="pvhca-bench-") as directory:
        ring = Ring(Path(directory), logs, options)
        try:
            for number in range(options.rounds):
                if "ring" in options.parts:
                    speed_round(ring, samples, number)
                if "growth" in options.parts:
                    growth_round(ring, samples, number)
                    idle_round(ring, samples, number)
                print(f"# rings: round {number + 1} of {options.rounds}", flush=True)
        finally:
            ring.close()
