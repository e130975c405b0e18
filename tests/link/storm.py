#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A storm of sudden ends, without virtual machines: at random points one of those that talk is gone.

    storm.py [--points N] [--seed S]

Two VMs write to each other and read back; a third is busy with itself and with one of them. At each point the third, or
pvhcad, ends in one of the ways of KINDS. Afterwards nothing of it is left in pvhcad, the two have their data, and nobody
waited for more than ten seconds. The same seed gives the same points. PVHCAD names the daemon."""
import argparse
import random
import signal
import sys
import time

from neighbour import *
from pvhca import *

HANG = scaled(10)
IOVA = 0x10000
RESET_STATE = 0
SHARED = 8 * GRANULE
# Sizes on both sides of a piece of a message, 64 KiB, would need larger regions than rc_qp() has.
SIZES = (1, 8, 63, 4096, 20000, SHARED)
COUNTED = ("sessions", "contexts", "pds", "mrs", "mws", "ahs", "cqs", "srqs", "qps", "ceqs", "connections",
           "pinned_bytes", "mappings")


def application(storm):
    """a process of the guest is killed: its kernel gives all of its objects back, with work under way"""
    storm.guest.give_back()


def reset(storm):
    """the guest is reset, or its kernel panics: QEMU resets the device"""
    assert storm.guest.qemu.reset() == 0


def qemu(storm):
    """QEMU is killed"""
    storm.guest.close()


def silent(storm):
    """QEMU is killed while pvhcad has commands and doorbells of it to answer"""
    for _ in range(8):
        storm.guest.post(NOP)
    storm.guest.publish()
    storm.guest.qemu.ring()
    storm.guest.close()


def killed(storm):
    """pvhcad is killed"""
    storm.daemon.stop(signal.SIGKILL)


def stopped(storm):
    """pvhcad is stopped"""
    assert storm.daemon.stop() == 0, storm.daemon.log()[-4000:]


OF_A_VM = (application, reset, qemu, silent)
OF_PVHCAD = (killed, stopped)
KINDS = OF_A_VM + OF_PVHCAD


class Talker(Guest):
    """A VM that can give its objects back one by one, and waits for nothing for long."""

    def __init__(self, daemon, name, address, **kwargs):
        super().__init__(daemon, name=name, **kwargs)
        self.qemu.s.settimeout(HANG)
        self.gid = v4(10, 0, 0, address)
        self.ok(ADD_GID, gid_payload(self.gid))
        self.opened = []

    def open(self):
        self.opened.append(self.rc_qp())
        return self.opened[-1]

    def give_back(self, keep=0):
        """Those of all queue pairs but the first ones."""
        while len(self.opened) > keep:
            q = self.opened.pop()
            for opcode, handle in ((DESTROY_QP, q.handle), (DEREG_MR, q.mr), (DESTROY_CQ, q.cq), (DEALLOC_PD, q.pd),
                                   (DEALLOC_CONTEXT, q.context), (DESTROY_CEQ, q.ceq)):
                assert self.destroy(opcode, handle) == ST_OK

    def start_write(self, q, peer, size, at=0, times=1):
        for _ in range(times):
            self.post_send(q, sq_wqe(WRITE, [sge(IOVA + at, size, q.lkey)], peer.rkey, IOVA + at))


class Storm:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.daemon = Daemon(log_level="message")
        self.guest = None
        self.survivors()
        self.before = self.state()

    def survivors(self):
        """Two VMs that are connected."""
        self.a, self.b = (Talker(self.daemon, b"survivor%d" % i, i, size=64 << 20) for i in (1, 2))
        self.qa, self.qb = self.connect(self.a, self.b)

    @staticmethod
    def connect(one, other):
        q, p = one.open(), other.open()
        one.connect(q, p.qpn, other.gid)
        other.connect(p, q.qpn, one.gid)
        return q, p

    def state(self):
        """What pvhcad has for its VMs."""
        totals = self.daemon.totals()
        return {name: totals[name] for name in COUNTED}

    def exchange(self):
        """Data from one survivor to the other, and back by a READ."""
        size = self.random.choice(SIZES)
        data = self.random.randbytes(size)
        self.a.write(self.qa.data, data)
        self.a.start_write(self.qa, self.qb, size)
        self.expect(self.a, self.qa)
        assert self.b.read(self.qb.data, size) == data
        self.b.post_send(self.qb, sq_wqe(READ, [sge(IOVA + SHARED, size, self.qb.lkey)], self.qa.rkey, IOVA))
        self.expect(self.b, self.qb)
        assert self.b.read(self.qb.data + SHARED, size) == data

    @staticmethod
    def expect(guest, q):
        status = guest.poll_cq(q, HANG)[3]
        assert status == 0, f"a survivor's request ends with status {status}"

    def victim(self):
        """A VM at work with itself and with a survivor; what the survivor has for that."""
        self.guest = Talker(self.daemon, b"victim", 3, size=16 << 20)
        mine, yours = self.connect(self.guest, self.a)
        itself = self.guest.open()
        self.guest.connect(itself, itself.qpn, self.guest.gid)
        self.guest.start_write(itself, itself, SHARED, times=self.random.randint(1, 15))
        self.guest.start_write(mine, yours, 4096, SHARED, times=self.random.randint(1, 15))
        self.a.start_write(yours, mine, 4096, times=self.random.randint(0, 15))

    def point(self, kind):
        self.victim()
        for _ in range(self.random.randint(0, 3)):
            self.exchange()
        # Somewhere in what is under way.
        time.sleep(self.random.random() * 2e-3)
        kind(self)
        if kind in OF_PVHCAD:
            self.begin_anew()
        else:
            for _ in range(self.random.randint(1, 4)):
                self.exchange()
            if kind in (application, reset):
                self.guest.close()
            self.a.give_back(keep=1)
        self.exchange()
        wait_for(lambda: self.state() == self.before, f"{self.state()} to be {self.before}", HANG)

    def begin_anew(self):
        """Another pvhcad at the same socket, to which the VMs come again."""
        for guest in (self.guest, self.a, self.b):
            assert guest.qemu.is_closed()
            guest.close()
        self.daemon.start()
        self.survivors()

    def close(self):
        for guest in (self.a, self.b):
            guest.close()
        assert self.daemon.stop() == 0
        self.daemon.clean_up()


def run(seed, points, tell=print):
    """Raises AssertionError; the daemon's log is told then."""
    storm = Storm(seed)
    files, threads = storm.daemon.fds(), storm.daemon.threads()
    try:
        for i in range(points):
            kind = storm.random.choice(KINDS)
            begin = time.monotonic()
            try:
                storm.point(kind)
            except Exception:
                tell(f"point {i} of seed {seed}: {kind.__name__}\n{storm.daemon.log()[-4000:]}")
                raise
            tell(f"point {i}: {kind.__name__}, {time.monotonic() - begin:.2f} s")
        wait_for(lambda: storm.daemon.fds() <= files and storm.daemon.threads() <= threads,
                 "descriptors and threads to be as before", HANG)
        log = storm.daemon.log()
        assert "Sanitizer" not in log and "runtime error" not in log, log[-8000:]
        storm.close()
    finally:
        storm.daemon.clean_up()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="".join(f"  {kind.__name__:<12} {kind.__doc__}\n" for kind in KINDS))
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.points} points", flush=True)
    run(options.seed, options.points, lambda text: print(text, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
