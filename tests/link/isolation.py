#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hostile neighbour costs others, measured: a victim's 8-byte WRITE and its commands beside each
input of neighbour.py on one worker, its reset beside them, and many VMs with one hostile among them.

    isolation.py [--qps N] [--seconds S] [--vms N] [INPUT...]

Bounds that are missed are told by "NOT met", and the exit status is 1 then. PVHCAD names the daemon. The
measuring itself needs a processor, the worker another one: on a busy machine the figures mean little, but
for the medians if this runs with `nice -n -20`.

What the hostile guest's own processor does (commands, doorbells) is a process apart. It has the one on
which is measured, while the victim pauses: a victim's figure is what pvhcad costs it, not its scheduler.
"""
import argparse
import os
import sys
import time

from neighbour import *
from pvhca import *

MEDIAN_TIMES, P99_MS, COMMAND_MS, RESET_S, SHARE = 5, 1, 10, 0.5, 0.9
RESET_QPS = 1000
# The victim's, in which others have its processor.
PAUSE_AFTER, PAUSE_S = 16, 200e-6
CPUS = sorted(os.sched_getaffinity(0))
# For pvhcad's other threads and the neighbour: neither the worker's nor, if there are enough, the victim's.
OTHERS = CPUS[1:-1] or CPUS[:1]
missed = []


def start(*options):
    """A daemon whose worker has a processor for itself, as the one who measures has another."""
    os.sched_setaffinity(0, CPUS)
    # As it is shipped: a worker polls for a while, and the time alone has no wake-up in it.
    daemon = Daemon("--cpus", str(CPUS[-1]), "--spin-us", "50", *options, log_level="message")
    # The main thread's; those of sessions have it from there. The worker has its own.
    os.sched_setaffinity(daemon.process.pid, OTHERS)
    os.sched_setaffinity(0, CPUS[:1])
    return daemon


def percentile(values, part):
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


def verdict(met, text):
    if not met:
        missed.append(text)
    return text if met else text + " NOT met"


def one_write(guest):
    """Seconds until an 8-byte WRITE has completed, seen without a system call."""
    q = guest.q
    at = q.cq_at + 128 + (q.cq_ci % 64) * 32 + 31
    before = q.cq_ci // 64 & 1
    begin = time.perf_counter()
    guest.post_send(q, guest.wqe)
    while (guest.ram[at] >> 7 & 1) == before:
        if time.perf_counter() - begin > 60:
            raise SystemExit("the victim's WRITE has no end")
    took = time.perf_counter() - begin
    q.cq_ci += 1
    guest.write(q.cq_at, struct.pack("<I", q.cq_ci))
    return took


def writes(guest, seconds):
    guest.wqe = sq_wqe(WRITE, [sge(0x10000, 8, guest.q.lkey)], guest.q.rkey, 0x10000)
    end, took = time.monotonic() + seconds, []
    while time.monotonic() < end:
        took.append(one_write(guest) * 1e3)
        if len(took) % PAUSE_AFTER == 0:
            time.sleep(PAUSE_S)
    return took


def commands(guest, times=100):
    """The longest registration and the longest creation of a QP, ms."""
    longest = [0, 0]
    for _ in range(times):
        for i, function in enumerate((lambda: guest.destroy(DEREG_MR, guest.mr(guest.q.pd)),
                                      lambda: guest.destroy(DESTROY_QP, guest.qp(guest.q.context, guest.q.pd,
                                                                               guest.q.cq)))):
            begin = time.perf_counter()
            function()
            longest[i] = max(longest[i], (time.perf_counter() - begin) * 1e3)
    return longest


def beside(function, count, seconds):
    daemon, evil = start(), None
    try:
        victim = Neighbour(daemon, name=b"victim", gid=VICTIM_GID, size=96 << 20)
        ring = victim.ring(b"")
        alone = percentile(writes(victim, seconds), 0.5)
        evil = Neighbour(daemon)
        evil.apart = OTHERS
        function(evil, count)
        time.sleep(0.2)
        took = writes(victim, seconds)
        median, p99 = percentile(took, 0.5), percentile(took, 0.99)
        registration, creation = commands(victim)
        for _ in range(RESET_QPS):
            victim.queue_pair(ring)
        begin = time.perf_counter()
        victim.qemu.reset()
        reset = time.perf_counter() - begin
        print(f"{function.__name__:<14}", "; ".join((
            verdict(median <= MEDIAN_TIMES * alone, f"median {median * 1e3:.0f} us, alone {alone * 1e3:.0f}"),
            verdict(p99 <= P99_MS, f"p99 {p99:.2f} ms"), f"longest {max(took):.1f} ms",
            verdict(registration <= COMMAND_MS, f"registration {registration:.1f} ms"),
            verdict(creation <= COMMAND_MS, f"QP {creation:.1f} ms"),
            verdict(reset <= RESET_S, f"RESET of {RESET_QPS} QPs {reset * 1e3:.0f} ms"))), flush=True)
    finally:
        if evil:
            evil.stop()
        daemon.process.kill()
        daemon.clean_up()


def sent(daemon, names):
    return {vm["name"]: vm["payload_bytes_sent"] for vm in daemon.stats()["sessions"] if vm["name"] in names}


def throughput(count, seconds, hostile):
    """Bytes a second of all VMs but the last, which has all the queue pairs it can have if it is hostile."""
    daemon = start("--max-sessions", "256")
    try:
        guests = [Neighbour(daemon, name=b"vm%d" % i, gid=v4(10, 0, 1, i), size=(192 if hostile else 16) << 20
                            if i == count - 1 else 16 << 20) for i in range(count)]
        for guest in guests[:-1]:
            bulk(guest, 1)
        if hostile:
            bulk(guests[-1], 4000)
        names = {f"vm{i}" for i in range(count - 1)}
        time.sleep(1)
        before, begin = sent(daemon, names), time.monotonic()
        time.sleep(seconds)
        after, took = sent(daemon, names), time.monotonic() - begin
        rates = [(after[name] - before[name]) / took for name in names]
        return sum(rates), min(rates), max(rates)
    finally:
        daemon.process.kill()
        daemon.clean_up()


def many(count, seconds):
    alone, _, _ = throughput(count, seconds, False)
    total, least, most = throughput(count, seconds, True)
    want = SHARE * (count - 1) / count
    print(f"{count} VMs, one hostile:", verdict(
        total >= want * alone, f"the others' throughput {total / 1e9:.2f} GB/s, {total / alone:.3f} of what they have "
        f"without it (bound {want:.3f})"), f"; each {least / 1e6:.0f} to {most / 1e6:.0f} MB/s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qps", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--vms", type=int, default=64, help="0: not")
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help=", ".join(f.__name__ for f in INPUTS))
    options = parser.parse_args()
    for function in INPUTS:
        if not options.inputs or function.__name__ in options.inputs:
            beside(function, options.qps if function is not backlog else min(options.qps, 256), options.seconds)
    if options.vms:
        many(options.vms, options.seconds)
    if missed:
        print(f"{len(missed)} bound(s) NOT met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
