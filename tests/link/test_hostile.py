# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMUs that use what they share with pvhcad to hold it up. Others notice nothing."""
import fcntl
import os
import struct
import threading
import unittest

from case import DaemonCase
from pvhca import *

FULL = 0xFFFFFFFFFFFFFFFE


def connected(daemon, number, **kwargs):
    """A guest with a QP that is connected to itself."""
    guest = Guest(daemon, **kwargs)
    gid = v4(10, 0, 0, number)
    guest.ok(ADD_GID, gid_payload(gid))
    guest.q = guest.rc_qp()
    guest.connect(guest.q, guest.q.qpn, gid)
    return guest


def post_write(guest):
    q = guest.q
    guest.post_send(q, sq_wqe(3, [sge(0x10000, 8, q.lkey)], q.rkey, 0x10000))


def write_once(guest):
    post_write(guest)
    return guest.poll_cq(guest.q)[3]


class EventsThatBlock(DaemonCase):
    options = ("--workers", "2")

    def guest(self, number, **kwargs):
        guest = connected(self.daemon, number, **kwargs)
        self.addCleanup(guest.close)
        return guest

    def victims(self):
        """One for each worker."""
        return [self.guest(n, name=b"victim-%d" % n) for n in (2, 3)]

    def assert_served(self, victims):
        for victim in victims:
            self.assertEqual(write_once(victim), 0)
            victim.ok(ALLOC_PD, struct.pack("<II", victim.q.context, 0))
        newcomer = self.guest(9, name=b"newcomer")
        self.assertEqual(write_once(newcomer), 0)

    def block(self, fd):
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
        os.eventfd_write(fd, FULL)

    def test_a_full_completion_vector_holds_up_nobody(self):
        evil, victims = self.guest(1, name=b"evil"), self.victims()
        self.block(evil.qemu.events[VECTOR, 2])
        for count in range(1, 4):
            evil.write(evil.q.cq_at + 4, struct.pack("<I", count))     # arm
            self.assertEqual(write_once(evil), 0)
        self.assert_served(victims)

    def test_a_full_admin_vector_holds_up_nobody_not_even_its_own_commands(self):
        evil, victims = self.guest(1, name=b"evil"), self.victims()
        self.block(evil.qemu.events[VECTOR, 1])
        evil.ok(NOP)
        self.assert_served(victims)

    def test_a_vector_that_is_filled_again_and_again_holds_up_nobody(self):
        evil, victims = self.guest(1, name=b"evil"), self.victims()
        fd, stop = evil.qemu.events[VECTOR, 2], threading.Event()

        def fill():
            while not stop.is_set():
                fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR | os.O_NONBLOCK)
                try:
                    os.eventfd_read(fd)
                    os.eventfd_write(fd, FULL)
                except BlockingIOError:
                    pass
                fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR)
        thread = threading.Thread(target=fill)
        thread.start()
        try:
            for count in range(1, 200):
                evil.write(evil.q.cq_at + 4, struct.pack("<I", count))
                self.assertEqual(write_once(evil), 0)
            self.assert_served(victims)
        finally:
            stop.set()
            thread.join()

    def test_an_empty_doorbell_that_blocks_holds_up_nobody(self):
        evil, victims = self.guest(1, name=b"evil"), self.victims()
        for place in ((ADMIN_DB, 0), (DATA_DB, 0), (DATA_DB, 1)):
            fd = evil.qemu.events[place]
            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR)
            os.eventfd_write(fd, 1)
        evil.ok(NOP)
        self.assertEqual(write_once(evil), 0)
        self.assert_served(victims)


class Semaphores(DaemonCase):
    """EFD_SEMAPHORE with a count that does not end."""

    def guest(self, kind):
        guest = Guest.__new__(Guest)
        guest.size, guest.base, guest.next_free = 8 << 20, 0, GRANULE
        guest.log_sq = guest.log_cq = guest.log_aeq = 4
        guest.cookie = 0
        guest.fd = os.memfd_create("guest", os.MFD_CLOEXEC)
        os.ftruncate(guest.fd, guest.size)
        guest.ram = mmap.mmap(guest.fd, guest.size)
        guest.qemu = Qemu(self.daemon, name=b"evil", events=False)
        for place, first, count in ((ADMIN_DB, 0, 1), (DATA_DB, 0, 2), (VECTOR, 1, 3)):
            flags = os.EFD_NONBLOCK | (os.EFD_SEMAPHORE if place == kind else 0)
            fds = [os.eventfd(0, flags) for _ in range(count)]
            for i, fd in enumerate(fds):
                guest.qemu.events[place, first + i] = fd
                if place == kind:
                    os.eventfd_write(fd, 1 << 60)
            guest.qemu.send(event_fds(place, first, count), fds)
        guest.qemu.add_memory(0, guest.size, guest.fd)
        self.addCleanup(guest.close)
        guest.prepare()
        self.assertEqual(guest.qemu.enable(guest.area), 0)
        return guest

    def doorbells(self):
        return next(s["doorbells"] for s in self.daemon.stats()["sessions"]
                    if s["name"] == "evil")

    def assert_quiet(self, guest, rung):
        """Each signal is served once; what is left in the count wakes nobody."""
        other = Guest(self.daemon)
        for _ in range(50):
            other.ok(NOP)
        other.close()
        self.assertLessEqual(self.doorbells(), rung + 2)

    def test_an_admin_doorbell_wakes_once_for_each_ring(self):
        guest = self.guest(ADMIN_DB)
        for _ in range(10):
            guest.ok(NOP)
        self.assert_quiet(guest, 10)

    def test_a_data_doorbell_wakes_once_for_each_ring(self):
        guest = self.guest(DATA_DB)
        gid = v4(10, 0, 0, 1)
        guest.ok(ADD_GID, gid_payload(gid))
        guest.q = guest.rc_qp()
        guest.connect(guest.q, guest.q.qpn, gid)
        before = self.doorbells()
        for _ in range(10):
            self.assertEqual(write_once(guest), 0)
        self.assert_quiet(guest, before + 10)


class Stopping(unittest.TestCase):
    def test_a_blocked_worker_or_session_does_not_keep_the_daemon(self):
        daemon = Daemon("--workers", "2")
        self.addCleanup(daemon.clean_up)
        evil = connected(daemon, 1, name=b"evil")
        self.addCleanup(evil.close)
        for index in (1, 2):
            fd = evil.qemu.events[VECTOR, index]
            fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR)
            os.eventfd_write(fd, FULL)
        evil.write(evil.q.cq_at + 4, struct.pack("<I", 1))
        post_write(evil)
        evil.post(NOP)
        evil.publish()
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main()
