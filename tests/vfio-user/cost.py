#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the process between a monitor and pvhcad costs, without a guest: medians, of Python's own calls too."""

import os
import select
import struct
import time
from pathlib import Path

from monitor import *
from rig import EVENT_DATA_DB, EVENT_VECTOR

ROUNDS = 5000
ONE = struct.pack("=Q", 1)


def measure(what, function):
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    times.sort()
    print(f"{what:45} median {times[ROUNDS // 2] * 1e6:6.1f} us, 99 % {times[ROUNDS * 99 // 100] * 1e6:6.1f} us")


def passing(send, fd):
    """Something is sent, and arrives as an event."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)

    def once():
        send()
        poll.poll()
        os.read(fd, 8)
    return once


def main():
    server = Server("--vectors", "4")
    with Client(server) as client:
        server.hostd.greet()
        trigger = eventfd()
        client.set_irqs(EVENTFD | TRIGGER, 1, 1, [trigger])
        events = server.hostd.events
        measure("an eventfd, from a process to itself", passing(lambda: os.write(trigger, ONE), trigger))
        measure("an interrupt of pvhcad's, to the monitor",
                passing(lambda: os.write(events[EVENT_VECTOR, 1], ONE), trigger))
        measure("a posted doorbell, from the monitor to pvhcad",
                passing(lambda: client.write(DOORBELL, 0, bytes(4), flags=NO_REPLY), events[EVENT_DATA_DB, 0]))
        measure("a write that waits for its reply", lambda: client.write(REGS, 0x10, bytes(4)))
        measure("a register that is read", lambda: client.read(REGS, 0x08))
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        print("memory of the server:", next(line for line in status.splitlines() if line.startswith("VmRSS")))
    server.close()


if __name__ == "__main__":
    main()
