# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMUs that use what they share with pvhcad to hold it up. Others notice nothing."""
import fcntl
import os
import select
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


def fill_and_block(fd):
    """An eventfd on which the next write blocks. An interrupt may still come late, meanwhile."""
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR | os.O_NONBLOCK)
    while True:
        try:
            os.eventfd_write(fd, FULL)
            break
        except BlockingIOError:
            pass
        try:
            os.eventfd_read(fd)
        except BlockingIOError:
            pass
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR)


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

    def test_a_full_completion_vector_holds_up_nobody(self):
        evil, victims = self.guest(1, name=b"evil"), self.victims()
        fill_and_block(evil.qemu.events[VECTOR, 2])
        for count in range(1, 4):
            evil.write(evil.q.cq_at + 4, struct.pack("<I", count))     # arm
            self.assertEqual(write_once(evil), 0)
        self.assert_served(victims)

    def test_a_full_admin_vector_holds_up_nobody_not_even_its_own_commands(self):
        evil, victims = self.guest(1, name=b"evil"), self.victims()
        fill_and_block(evil.qemu.events[VECTOR, 1])
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


class EventsWithManyWaiters(DaemonCase):
    """Each signal of an eventfd, each read, wakes all that wait for it; QEMU can make these a million by epoll. A worker
    that signals it is held up for so long, four times at most; then the session's thread does that."""

    DESCRIPTORS, EPOLLS = 500, 300

    def burden(self, fd):
        """As many waiters as are enough to be told from a signal without."""
        copies = [os.dup(fd) for _ in range(self.DESCRIPTORS)]
        self.addCleanup(lambda: [os.close(copy) for copy in copies])
        for _ in range(self.EPOLLS):
            epoll = select.epoll()
            self.addCleanup(epoll.close)
            for copy in copies:
                epoll.register(copy, select.EPOLLIN)

    def evil(self):
        guest = connected(self.daemon, 1, name=b"evil")
        self.addCleanup(guest.close)
        self.armed = 0
        return guest

    def interrupted(self, guest):
        """Is there an interrupt for a completion?"""
        self.armed += 1
        guest.write(guest.q.cq_at + 4, struct.pack("<I", self.armed))
        self.assertEqual(write_once(guest), 0)
        return guest.qemu.wait_event(VECTOR, 2)

    def is_told(self):
        return any("take long to signal" in line and "evil" in line for line in self.daemon.log().splitlines())

    def test_the_worker_leaves_them_to_the_sessions_thread_and_each_interrupt_comes(self):
        guest = self.evil()
        self.assertTrue(self.interrupted(guest))
        self.burden(guest.qemu.events[VECTOR, 2])
        # Each signal from here on takes a millisecond.
        for _ in range(1000):
            self.assertTrue(self.interrupted(guest))
            if self.is_told():
                break
        self.assertTrue(self.is_told())
        for _ in range(20):
            self.assertTrue(self.interrupted(guest))
        guest.ok(NOP)
        # Whoever comes as the same user begins so.
        other = connected(self.daemon, 2, name=b"other")
        self.addCleanup(other.close)
        self.armed = 0
        for _ in range(20):
            self.assertTrue(self.interrupted(other))

    def test_a_doorbell_with_waiters_is_never_read_by_the_worker(self):
        guest = self.evil()
        doorbell = guest.qemu.events[DATA_DB, guest.q.doorbell // 8]
        for _ in range(10):
            self.assertEqual(write_once(guest), 0)
        self.assertEqual(os.eventfd_read(doorbell), 10)
        # That somebody else has emptied it is no reason to sleep on.
        for _ in range(10):
            self.assertEqual(write_once(guest), 0)


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


class MemoryThatIsCut(DaemonCase):
    """A file cut under a VM costs that VM its device, and nobody else anything."""

    SIZE = 64 << 20

    def evil(self, size=SIZE):
        guest = connected(self.daemon, 1, name=b"evil", size=size)
        self.addCleanup(guest.close)
        return guest

    def all_mappings(self):
        with open("/proc/%d/maps" % self.daemon.process.pid) as f:
            return sum(1 for _ in f)

    def assert_lost_alone(self, guest, before, reasons=(DEV_ERR_MEMORY,)):
        """Each fault is handled, and they leave no mapping for each page behind."""
        kind, payload = guest.qemu.receive()
        self.assertEqual(kind, FATAL)
        self.assertIn(struct.unpack("<QII", payload)[1], reasons)
        self.assertLess(self.all_mappings(), before + 100)
        victim = connected(self.daemon, 2, name=b"victim")
        self.addCleanup(victim.close)
        self.assertEqual(write_once(victim), 0)

    def test_writes_over_every_second_page_of_a_file_that_was_cut(self):
        guest = self.evil()
        # A region that names each second page: nothing of it is contiguous.
        pages = 4000
        first = guest.alloc(2 * pages * GRANULE)
        at = self.chain(guest, [(first + 2 * i * GRANULE, GRANULE) for i in range(pages)])
        rsp = guest.ok(REG_MR, mr_payload(guest.q.pd, [], pages * GRANULE, 0xF, num=pages,
                                          mem_length=pages * GRANULE, chunk=at))
        _, lkey, rkey = struct.unpack_from("<3I", rsp)
        before = self.all_mappings()
        half = pages // 2 * GRANULE
        # The rings stay, what is written goes.
        os.ftruncate(guest.fd, first)
        q = guest.q
        guest.post_send(q, sq_wqe(3, [sge(0x10000, half, lkey)], rkey, 0x10000 + half))
        self.assert_lost_alone(guest, before)

    def test_all_of_it_is_cut(self):
        guest = self.evil()
        before = self.all_mappings()
        os.ftruncate(guest.fd, 0)
        guest.qemu.ring()
        guest.qemu.ring(DATA_DB, guest.q.doorbell // 8)
        # Its queues of zeros may be seen first.
        self.assert_lost_alone(guest, before, (DEV_ERR_MEMORY, DEV_ERR_GUEST))

    def test_it_is_cut_and_grows_again_and_again(self):
        guest = self.evil()
        before = self.all_mappings()
        first = guest.alloc(2 * GRANULE)
        for cut in range(60, 20, -1):
            os.ftruncate(guest.fd, cut << 20)
            os.ftruncate(guest.fd, self.SIZE)
        os.ftruncate(guest.fd, first)
        rsp = guest.ok(REG_MR, mr_payload(guest.q.pd, [(first, 2 * GRANULE)], 2 * GRANULE, 0xF))
        _, lkey, rkey = struct.unpack_from("<3I", rsp)
        # From one place to another: a copy onto itself may be left out.
        guest.post_send(guest.q, sq_wqe(3, [sge(0x10000, 8, lkey)], rkey, 0x10000 + GRANULE))
        self.assert_lost_alone(guest, before)

    def chain(self, guest, extents):
        """A list of extents in guest memory: the address of its first chunk."""
        chunks = [extents[i:i + 255] for i in range(0, len(extents), 255)]
        at = guest.alloc(len(chunks) * GRANULE)
        for i, chunk in enumerate(chunks):
            after = at + (i + 1) * GRANULE if i + 1 < len(chunks) else 0
            guest.write(at + i * GRANULE, struct.pack("<QQ", after, 0) +
                        b"".join(struct.pack("<QQ", *extent) for extent in chunk))
        return at


class MemoryThatIsNone(DaemonCase):
    config = "[quota]\nmemory-bytes=16M\nmappings=4\n"

    def refused(self, fd, size=GRANULE, gpa=0, count=1):
        qemu = Qemu(self.daemon, name=b"evil")
        self.addCleanup(qemu.close)
        for i in range(count):
            try:
                qemu.add_memory(gpa + i * (1 << 32), size, fd)
            except (BrokenPipeError, ConnectionResetError):
                break
        self.assertTrue(qemu.is_closed())
        return self.daemon.log().splitlines()

    def test_files_of_other_file_systems_are_refused_and_the_log_says_why(self):
        # Of a kind that no reader can hold up here; those that can, such as FUSE, are told likewise.
        with open("/proc/self/comm", "r+b") as f:
            log = self.refused(f.fileno())
        self.assertTrue(any("tmpfs" in line and "evil" in line for line in log), log[-5:])

    def test_more_bytes_than_the_quota(self):
        fd = os.memfd_create("guest")
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, 1 << 45)
        log = self.refused(fd, 1 << 45)
        self.assertTrue(any("memory-bytes" in line for line in log), log[-5:])

    def test_more_regions_than_the_quota_of_mappings(self):
        fd = os.memfd_create("guest")
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, GRANULE)
        self.refused(fd, count=5)

    def test_statistics_have_what_is_there(self):
        guest = Guest(self.daemon, name=b"counted")
        self.addCleanup(guest.close)
        session, = self.daemon.stats()["sessions"]
        self.assertEqual(session["memory_bytes"], guest.size)
        self.assertEqual(session["quota"]["memory_bytes"], 16 << 20)


class Stopping(unittest.TestCase):
    def test_a_blocked_worker_or_session_does_not_keep_the_daemon(self):
        daemon = Daemon("--workers", "2")
        self.addCleanup(daemon.clean_up)
        evil = connected(daemon, 1, name=b"evil")
        self.addCleanup(evil.close)
        for index in (1, 2):
            fill_and_block(evil.qemu.events[VECTOR, index])
        evil.write(evil.q.cq_at + 4, struct.pack("<I", 1))
        post_write(evil)
        evil.post(NOP)
        evil.publish()
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main()
