# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers that do not keep to the link protocol lose their connection, only that,
and leave nothing behind."""
import os
import random
import select
import socket
import struct
import unittest

from case import DaemonCase
from pvhca import *


class Framing(DaemonCase):
    def peer(self):
        peer = Peer(self.daemon)
        self.addCleanup(peer.close)
        return peer

    def assert_refused(self, data, fds=()):
        peer = self.peer()
        peer.try_send(data, fds)
        self.assertTrue(peer.is_closed())

    def test_unknown_types_close_the_connection(self):
        for kind in (0, 7, 0x81, 0x84, 0xFFFFFFFF):
            self.assert_refused(header(kind, 0))

    def test_wrong_magic_closes_the_connection(self):
        self.assert_refused(header(HELLO, 152, magic=LINK_MAGIC + 1))

    def test_reserved_field_of_the_header_is_zero(self):
        self.assert_refused(header(HELLO, 152, reserved=1))

    def test_wrong_sizes_close_the_connection(self):
        for size in (0, 151, 153, 512, 513, 0x7FFFFFFF, 0xFFFFFFFF):
            self.assert_refused(header(HELLO, size) + bytes(600))

    def test_partial_messages_leave_nothing_behind(self):
        whole = hello()
        for cut in (1, 15, 16, 17, len(whole) - 1):
            peer = Peer(self.daemon)
            peer.send(whole[:cut])
            peer.close()

    def test_message_in_single_bytes_is_understood(self):
        peer = self.peer()
        for i in range(len(hello())):
            peer.send(hello()[i:i + 1])
        self.assertEqual(peer.receive()[0], HELLO_REPLY)

    def test_messages_run_together_are_understood(self):
        peer = self.peer()
        peer.send(hello() + reset(1) + reset(2))
        self.assertEqual([peer.receive()[0] for _ in range(3)],
                         [HELLO_REPLY, RESET_REPLY, RESET_REPLY])

    def test_descriptors_where_none_belong_are_closed(self):
        with open("/dev/null") as null:
            self.assert_refused(hello(), [null.fileno()] * 8)

    def test_more_descriptors_than_a_message_may_have_are_closed(self):
        with open("/dev/null") as null:
            for count in (9, 64, 253):
                self.assert_refused(hello(), [null.fileno()] * count)

    def test_descriptors_inside_a_message_are_closed(self):
        with open("/dev/null") as null:
            peer = self.peer()
            peer.send(hello()[:20])
            # So that the two pieces are not read together:
            self.daemon.stats()
            peer.send(hello()[20:], [null.fileno()])
            self.assertTrue(peer.is_closed())

    def test_descriptors_with_a_partial_message_are_closed(self):
        with open("/dev/null") as null:
            peer = Peer(self.daemon)
            peer.send(mem(MEM_ADD, 0, 4096)[:10], [null.fileno()])
            self.daemon.stats()
            peer.close()

    def test_a_peer_that_does_not_read_is_dropped(self):
        peer = self.peer()
        peer.send(hello())
        try:
            peer.s.settimeout(5)
            for i in range(100000):
                peer.send(reset(i))
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass
        wait_for(lambda: self.daemon.totals()["sessions"] == 0,
                 "the session to go")

    def test_random_bytes(self):
        rng = random.Random(1)
        for _ in range(200):
            peer = Peer(self.daemon)
            data = bytearray(rng.randbytes(rng.randrange(1, 400)))
            if rng.random() < 0.7:
                data[:16] = header(rng.randrange(0, 9),
                                   rng.choice((152, 16, 32, 8,
                                               rng.randrange(600))))
            peer.try_send(bytes(data))
            peer.close()


class Hello(DaemonCase):
    def assert_closed_after(self, data):
        peer = Peer(self.daemon)
        self.addCleanup(peer.close)
        peer.send(data)
        self.assertTrue(peer.is_closed())

    def test_answer_names_version_and_accepts(self):
        qemu = Qemu(self.daemon)
        self.addCleanup(qemu.close)
        self.assertEqual(qemu.refused, 0)
        self.assertEqual(qemu.reason, "")

    def test_other_major_version_is_refused_with_both_named(self):
        qemu = Qemu(self.daemon, major=2, minor=7)
        self.addCleanup(qemu.close)
        self.assertEqual(qemu.refused, 71)  # EPROTO
        self.assertIn("1.1", qemu.reason)
        self.assertIn("2.7", qemu.reason)
        self.assertTrue(qemu.is_closed())

    def test_other_minor_version_is_accepted(self):
        qemu = Qemu(self.daemon, minor=99)
        self.addCleanup(qemu.close)
        self.assertEqual(qemu.refused, 0)

    def test_fields_out_of_range(self):
        for change in (dict(vectors=0), dict(vectors=2), dict(vectors=67),
                       dict(vectors=0xFFFFFFFF), dict(doorbells=0),
                       dict(doorbells=65), dict(reserved=1),
                       dict(tail=b"\1" + bytes(9)), dict(name=b"x" * 64),
                       dict(version=b"x" * 32)):
            with self.subTest(change):
                self.assert_closed_after(hello(**change))

    def test_second_hello_is_out_of_order(self):
        qemu = Qemu(self.daemon)
        self.addCleanup(qemu.close)
        qemu.send(hello())
        self.assertTrue(qemu.is_closed())

    def test_nothing_before_hello(self):
        with open("/dev/null") as null:
            for data, fds in ((enable(1, 0), ()), (reset(1), ()),
                              (mem(MEM_DEL, 0, 4096), ()),
                              (mem(MEM_ADD, 0, 4096), [null.fileno()]),
                              (event_fds(0, 0, 1), [null.fileno()])):
                peer = Peer(self.daemon)
                self.addCleanup(peer.close)
                peer.send(data, fds)
                self.assertTrue(peer.is_closed())

    def test_names_cannot_forge_log_lines(self):
        qemu = Qemu(self.daemon, name=b"a\nb\x1b[31m\xff\"")
        self.addCleanup(qemu.close)
        names = [s["name"] for s in self.daemon.stats()["sessions"]]
        self.assertEqual(names, ["a?b?[31m?\""])
        self.assertNotIn("\x1b", self.daemon.log())


class Events(DaemonCase):
    def setUp(self):
        super().setUp()
        self.qemu = Qemu(self.daemon, events=False)
        self.addCleanup(self.qemu.close)
        self.fds = [os.eventfd(0) for _ in range(8)]
        self.addCleanup(lambda: [os.close(fd) for fd in self.fds])

    def assert_closed_after(self, data, fds):
        self.qemu.send(data, fds)
        self.assertTrue(self.qemu.is_closed())

    def test_count_and_descriptors_differ(self):
        self.assert_closed_after(event_fds(VECTOR, 1, 2), self.fds[:1])

    def test_count_beyond_what_a_message_holds(self):
        self.assert_closed_after(event_fds(VECTOR, 1, 0xFFFFFFFF), self.fds)

    def test_indices_beyond_those_announced(self):
        self.assert_closed_after(event_fds(VECTOR, 1, 4), self.fds[:4])

    def test_index_that_wraps(self):
        self.assert_closed_after(event_fds(DATA_DB, 0xFFFFFFFF, 2),
                                 self.fds[:2])

    def test_config_vector_is_not_ours(self):
        self.assert_closed_after(event_fds(VECTOR, 0, 1), self.fds[:1])

    def test_unknown_kind(self):
        self.assert_closed_after(event_fds(3, 0, 1), self.fds[:1])

    def test_the_same_one_twice(self):
        self.qemu.send(event_fds(ADMIN_DB, 0, 1), self.fds[:1])
        self.assert_closed_after(event_fds(ADMIN_DB, 0, 1), self.fds[1:2])

    def test_what_is_no_eventfd(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        self.assert_closed_after(event_fds(ADMIN_DB, 0, 1), [write])

    def test_enable_before_all_are_there(self):
        self.qemu.send(event_fds(ADMIN_DB, 0, 1), self.fds[:1])
        self.assertEqual(self.qemu.enable(0), DEV_ERR_BAD_STATE)


class EventsAgain(DaemonCase):
    """From minor version 1 on a vector can move, and the config vector is known."""

    def setUp(self):
        super().setUp()
        self.guest = Guest(self.daemon, minor=1)
        self.qemu = self.guest.qemu
        self.addCleanup(self.guest.close)

    def eventfd(self):
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.addCleanup(os.close, fd)
        return fd

    def assert_raised(self, fd):
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        self.assertTrue(poll.poll(PATIENCE * 1000), "not raised")
        os.eventfd_read(fd)

    def test_vector_moves_and_may_be_raised_once_without_cause(self):
        old = self.qemu.events[VECTOR, 1]
        before = self.daemon.fds()
        for _ in range(100):
            new = self.eventfd()
            self.qemu.send(event_fds(VECTOR, 1, 1), [new])
            self.assert_raised(new)
        # The last one is the one that is raised from now on.
        self.guest.command(NOP)
        self.assert_raised(new)
        with self.assertRaises(BlockingIOError):
            while True:     # what came before the first one moved
                os.eventfd_read(old)
        self.assertEqual(self.daemon.fds(), before)

    def test_several_vectors_move_at_once(self):
        fds = [self.eventfd() for _ in range(3)]
        self.qemu.send(event_fds(VECTOR, 1, 3), fds)
        for fd in fds:
            self.assert_raised(fd)

    def test_what_is_no_eventfd_takes_no_place(self):
        with open("/dev/null", "wb") as null:
            self.qemu.send(event_fds(VECTOR, 1, 1), [null.fileno()])
        self.assertTrue(self.qemu.is_closed())

    def test_doorbell_does_not_move(self):
        self.qemu.send(event_fds(DATA_DB, 0, 1), [self.eventfd()])
        self.assertTrue(self.qemu.is_closed())

    def test_config_vector_is_raised_when_the_connection_ends_and_not_before(self):
        fd = self.eventfd()
        self.qemu.send(event_fds(VECTOR, 0, 1), [fd])
        self.assertEqual(self.qemu.reset(), 0)
        with self.assertRaises(BlockingIOError):
            os.eventfd_read(fd)
        self.qemu.s.close()
        self.assert_raised(fd)


class Limits(DaemonCase):
    options = ("--max-sessions", "3")

    def test_connections_beyond_the_limit_are_told_so(self):
        guests = [Qemu(self.daemon) for _ in range(3)]
        refused = Peer(self.daemon)
        kind, payload = refused.receive()
        self.assertEqual(kind, HELLO_REPLY)
        self.assertEqual(struct.unpack_from("<I", payload, 4)[0], 16)  # EBUSY
        self.assertTrue(refused.is_closed())
        refused.close()
        guests.pop().close()
        wait_for(lambda: self.daemon.totals()["sessions"] == 2,
                 "a session to end")
        again = Qemu(self.daemon)
        self.assertEqual(again.refused, 0)
        for qemu in guests + [again]:
            qemu.close()

    def test_a_storm_of_connections(self):
        for _ in range(20):
            peers = [Peer(self.daemon) for _ in range(20)]
            for peer in peers:
                peer.close()


if __name__ == "__main__":
    unittest.main()
