# SPDX-License-Identifier: GPL-2.0-or-later
"""The control path: pvhca-bench-control steps through the verbs, and pvhcad's admin commands are counted meanwhile."""

import time

from harness import CommandFailed, CommandTimeout
from harness.paths import build
from programs import totals

PROGRAM = "tests/bench/pvhca-bench-control"
SECONDS = 300
GIB = 1 << 30


def program():
    return str(build() / PROGRAM)


def guest_memory(options):
    return "2G" if "control" in options.parts and options.max_region >= GIB else "1G"


def _lines(running, timeout):
    """Its complete lines, as they come, until it says end."""
    deadline, taken = time.monotonic() + timeout, 0
    while time.monotonic() < deadline:
        ended = not running.running
        lines = running.out.split("\n")[:-1]
        for line in lines[taken:]:
            yield line.split(maxsplit=2)
            if line == "end":
                return
        taken = len(lines)
        if ended:
            raise CommandFailed(f"it ended early: {running.result()}")
        time.sleep(0.01)
    raise CommandTimeout(f"not done after {timeout:g} s: {running.command}", running.result())


def step(rig, client, running, add, missing):
    """Tells add(verb, ns, admin commands a call) of every verb."""
    def commands():
        return totals(rig)["admin_commands"]

    pending, before = None, 0
    for word, *rest in _lines(running, SECONDS * client.host.slowness):
        if pending and word in ("next", "end"):
            verb, count, nanoseconds = pending
            add(verb, nanoseconds, (commands() - before) / count)
            pending = None
        if word == "next":
            before = commands()
            running.send("\n")
        elif word == "call":
            count, median, *_ = rest[1].split()
            pending = rest[0], int(count), float(median)
        elif word == "missing":
            missing(*rest)


def measure(rig, samples, number, side, client, options):
    server = None
    command = [program(), "-d", client.ibdev, "-g", str(client.gid_index), "-n", str(options.repeat),
               "-m", str(options.max_region), "--step"]
    if options.cm:
        server = rig.native.spawn([program(), "--cm-server", rig.native.rdma_ip])
        server.expect("listening")
        command += ["--cm", rig.native.rdma_ip]

    def add(verb, nanoseconds, commands):
        samples.add("control", verb, 0, side, number, nanoseconds / 1e3, "us")
        if side == "pvhca":
            samples.add("control", verb, 0, "commands", number, commands, "commands")

    def missing(verb, why=""):
        samples.failed("control", verb, 0, side, number, why)

    running = client.host.spawn(command, input=None)
    try:
        step(rig, client, running, add, missing)
        running.wait(30)
    finally:
        for left in (running, server):
            if left and left.running:
                left.kill(9)
