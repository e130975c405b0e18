#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Many VMs of one pvhcad, without virtual machines: their start all at once, what each gets of the worker, how long a short
WRITE of one takes beside the others, what they cost in memory, and that nothing is left when all have gone at once.

    many.py [--vms N] [--seconds S]

What is counted is checked; times and rates are told. PVHCAD names the daemon."""
import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from isolation import one_write, percentile
from neighbour import *
from pvhca import *

# Of what a VM has beside the mean of all, over some seconds; they are all alike.
LEAST_SHARE = 0.5


def memory(daemon):
    """The daemon's own, without what guests passed."""
    text = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) << 10


def connect_all(daemon, count):
    """VMs that come in the same moment, and the seconds until the last is there, with a queue pair that works."""
    begin = time.monotonic()
    with ThreadPoolExecutor(count) as threads:
        guests = list(threads.map(lambda i: Neighbour(daemon, name=b"vm%d" % i, gid=v4(10, 0, 1, i), size=16 << 20),
                                  range(count)))
    return guests, time.monotonic() - begin


def sent(daemon):
    return {vm["name"]: vm["payload_bytes_sent"] for vm in daemon.stats()["sessions"]}


def talk(daemon, guests, seconds):
    """All write large messages but the first, whose short ones are timed: microseconds, and bytes a second of each."""
    first, *rest = guests
    first.wqe = sq_wqe(WRITE, [sge(0x10000, 8, first.q.lkey)], first.q.rkey, 0x10000)
    alone = [one_write(first) * 1e6 for _ in range(1000)]
    for guest in rest:
        bulk(guest, 1)
    wait_for(lambda: all(value for name, value in sent(daemon).items() if name != "vm0"), "all to talk")
    before, begin, beside = sent(daemon), time.monotonic(), []
    while time.monotonic() < begin + seconds:
        beside.append(one_write(first) * 1e6)
    after, took = sent(daemon), time.monotonic() - begin
    return alone, beside, [(after[name] - before[name]) / took for name in after if name != "vm0"]


def leave(daemon, guests):
    """All QEMUs end at once."""
    begin = time.monotonic()
    for guest in guests:
        guest.close()
    names = ("sessions", "contexts", "pds", "mrs", "cqs", "qps", "pinned_bytes", "mappings")
    wait_for(lambda: not any(daemon.totals()[name] for name in names), "all to be gone")
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    daemon = Daemon("--max-sessions", "1024", log_level="message")
    try:
        files, before = daemon.fds(), memory(daemon)
        guests, started = connect_all(daemon, options.vms)
        each = (memory(daemon) - before) / options.vms
        print(f"{options.vms} VMs: all there after {started:.2f} s; {each / 1024:.0f} KiB of pvhcad's memory each", flush=True)
        alone, beside, rates = talk(daemon, guests, options.seconds)
        mean = sum(rates) / len(rates)
        print(f"together {sum(rates) / 1e9:.2f} GB/s, each {min(rates) / 1e6:.1f} to {max(rates) / 1e6:.1f} MB/s; 8-byte WRITE "
              f"{percentile(alone, 0.5):.0f} us alone, beside the others median {percentile(beside, 0.5):.0f} us, "
              f"p99 {percentile(beside, 0.99):.0f} us", flush=True)
        print(f"all gone after {leave(daemon, guests):.2f} s", flush=True)
        wait_for(lambda: daemon.fds() <= files, "descriptors to be as before")
        assert min(rates) >= LEAST_SHARE * mean, f"a VM has {min(rates) / mean:.2f} of the mean"
        assert daemon.stop() == 0, daemon.log()[-4000:]
    finally:
        daemon.clean_up()
    return 0


if __name__ == "__main__":
    sys.exit(main())
