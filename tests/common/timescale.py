#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How many times slower than the reference this machine is: all time limits of tests are multiplied by it.

    timescale.py            prints the factor: $PVHCA_TIMEOUT_SCALE if that is set, else what is measured (0.5 s)

A limit is there to end a hang. It is written down for the reference, several times wider than what was seen there,
and scaled() makes it longer where the machine is slower. ctest and scripts/check measure once and pass the factor on
by the environment; a test that is started alone measures for itself. timescale.h is the same for C.
"""

import hashlib
import os
import statistics
import subprocess
import time

VARIABLE = "PVHCA_TIMEOUT_SCALE"
# Seconds of one round on the reference: two processors of a cloud machine of 2026, idle.
REFERENCE_SECONDS = 0.100
WORKERS = 2         # tests of guests keep two processors busy
ROUNDS = 5
MOST = 20.0         # beyond that it is not the machine that is slow


def _work():
    """Some of all that tests wait for: an interpreter, the processor, the memory, new processes."""
    words = {}
    for number in range(600000):
        words[number % 997] = words.get(number % 997, 0) + number
    data = bytes(1 << 20)
    for _ in range(60):
        data = hashlib.sha256(data).digest() * (1 << 15)
    for _ in range(40):
        subprocess.run(["/bin/true"], check=True)


def _round():
    """Seconds until all workers, started together, are done."""
    started = time.monotonic()
    workers = []
    for _ in range(WORKERS):
        worker = os.fork()
        if not worker:
            try:
                _work()
            finally:
                os._exit(0)
        workers.append(worker)
    for worker in workers:
        os.waitpid(worker, 0)
    return time.monotonic() - started


def measure():
    """The factor, never below 1. The median: one round may have met a moment of load."""
    seconds = statistics.median(_round() for _ in range(ROUNDS))
    return round(min(max(seconds / REFERENCE_SECONDS, 1.0), MOST), 1)


def scale():
    """The factor that was passed on; measured, and passed on to what this process starts, if there is none."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = str(measure())
    return max(float(os.environ[VARIABLE]), 1.0)


def scaled(seconds, most=float("inf")):
    """A time limit for this machine, in seconds, and no more than most of them."""
    return min(seconds * scale(), most)


if __name__ == "__main__":
    print(scale())
