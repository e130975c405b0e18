# SPDX-License-Identifier: GPL-2.0-or-later
"""SET_IRQS of all kinds, and interrupts on their way from pvhcad to the monitor."""

import contextlib
import errno
import os
import signal
import struct
from unittest import mock

from monitor import *
from rig import EVENT_VECTOR


class Interrupts(Case):
    def ready(self, *options):
        """A session, and an eventfd of the monitor for each vector."""
        server, client = self.linked("--vectors", "20", *options)
        self.fds = [eventfd() for _ in range(20)]
        self.addCleanup(lambda: [os.close(fd) for fd in self.fds])
        client.set_irqs(EVENTFD | TRIGGER, 0, 16, self.fds[:16])
        client.set_irqs(EVENTFD | TRIGGER, 16, 4, self.fds[16:])
        return server, client

    def signal(self, server, vector):
        server.hostd.catch_up()
        os.write(server.hostd.events[EVENT_VECTOR, vector], struct.pack("=Q", 1))

    def pending(self, client, vector):
        return bool(client.read(MSIX, PBA + vector // 8, 1)[0] >> vector % 8 & 1)

    def test_pvhcad_raises_vectors(self):
        server, _ = self.ready()
        for vector in (1, 2, 19):
            self.signal(server, vector)
            self.assertTrue(rung(self.fds[vector]))
        self.assertTrue(all(quiet(fd) for fd in self.fds))

    def test_change_of_status_raises_vector_0(self):
        server, client = self.ready()
        server.hostd.hang_up()
        self.assertTrue(rung(self.fds[0]))
        server.hostd.greet()
        self.assertTrue(rung(self.fds[0]))
        self.until_status(client, 1)

    def test_masked_vector_is_pending_and_not_lost(self):
        server, client = self.ready()
        for kind, booleans in ((NONE, b""), (BOOL, b"\1")):
            client.set_irqs(kind | MASK, 5, 1, booleans=booleans)
            self.signal(server, 5)
            server.until(lambda: self.pending(client, 5), "pending")
            self.assertEqual(client.read(MSIX, PBA, 8), bytes([1 << 5]) + bytes(7))
            self.assertTrue(quiet(self.fds[5]))
            client.set_irqs(kind | UNMASK, 5, 1, booleans=booleans)
            self.assertTrue(rung(self.fds[5]))
            self.assertFalse(self.pending(client, 5))

    def test_boolean_that_is_false_changes_nothing(self):
        server, client = self.ready()
        client.set_irqs(BOOL | MASK, 4, 3, booleans=b"\1\0\1")
        for vector in (4, 5, 6):
            self.signal(server, vector)
        self.assertTrue(rung(self.fds[5]))
        self.assertTrue(quiet(self.fds[4]) and quiet(self.fds[6]))
        client.set_irqs(BOOL | UNMASK, 4, 3, booleans=b"\0\1\1")
        self.assertTrue(rung(self.fds[6]))
        self.assertTrue(quiet(self.fds[4]))

    def test_vector_without_an_eventfd_is_pending(self):
        server, client = self.ready()
        client.set_irqs(EVENTFD | TRIGGER, 3, 2)
        self.signal(server, 3)
        server.until(lambda: self.pending(client, 3), "pending")
        client.set_irqs(EVENTFD | TRIGGER, 3, 1, [self.fds[4]])
        self.assertTrue(rung(self.fds[4]))
        self.assertTrue(quiet(self.fds[3]))

    def test_pvhcad_has_the_monitors_own_eventfds(self):
        server, client = self.ready()
        server.hostd.catch_up()
        server.process.send_signal(signal.SIGSTOP)
        try:
            self.signal(server, 1)
            self.assertTrue(rung(self.fds[1]))
        finally:
            server.process.send_signal(signal.SIGCONT)

    def test_pvhcad_can_tell_the_guest_that_the_server_died(self):
        server, client = self.ready()
        server.hostd.catch_up()
        server.die()
        self.signal_config(server)
        self.assertTrue(rung(self.fds[0]))

    def signal_config(self, server):
        """As pvhcad does when the connection ends."""
        self.assertRaises((Gone, ConnectionResetError), server.hostd.receive)
        os.write(server.hostd.events[EVENT_VECTOR, 0], struct.pack("=Q", 1))

    def test_config_vector_is_passed_on_before_the_session_and_in_the_next_one(self):
        server, client = self.connected("--vectors", "20")
        self.fds = [eventfd() for _ in range(20)]
        client.set_irqs(EVENTFD | TRIGGER, 0, 16, self.fds[:16])
        for _ in range(2):
            server.hostd.greet()
            os.write(server.hostd.events[EVENT_VECTOR, 0], struct.pack("=Q", 1))
            self.assertTrue(rung(self.fds[0]))
            self.until_status(client, 1)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.read(self.fds[0], 8)
            server.hostd.hang_up()

    def test_eventfd_can_be_replaced(self):
        server, client = self.ready()
        before = server.descriptors()
        for _ in range(100):
            client.set_irqs(EVENTFD | TRIGGER, 7, 1, [self.fds[8]])
        self.assertEqual(server.descriptors(), before)
        self.signal(server, 7)
        self.assertTrue(rung(self.fds[8]))

    def test_all_are_switched_off(self):
        server, client = self.ready()
        before = server.descriptors()
        client.set_irqs(NONE | MASK, 2, 1)
        client.set_irqs(NONE | TRIGGER, 0, 0)
        self.assertEqual(server.descriptors(), before - 20)
        server.hostd.hang_up()
        server.hostd.greet()
        self.until_status(client, 1)
        self.assertTrue(all(quiet(fd) for fd in self.fds))
        # A mask does not outlive that.
        client.set_irqs(EVENTFD | TRIGGER, 2, 1, [self.fds[2]])
        self.signal(server, 2)
        self.assertTrue(rung(self.fds[2]))

    def test_monitor_raises_vectors(self):
        _, client = self.ready()
        client.set_irqs(NONE | TRIGGER, 9, 2)
        self.assertTrue(rung(self.fds[9]) and rung(self.fds[10]))
        client.set_irqs(BOOL | TRIGGER, 9, 2, booleans=b"\0\1")
        self.assertTrue(rung(self.fds[10]))
        self.assertTrue(quiet(self.fds[9]))

    def test_reset_forgets_interrupts_that_wait(self):
        server, client = self.ready()
        client.set_irqs(NONE | MASK, 5, 1)
        self.signal(server, 5)
        server.until(lambda: self.pending(client, 5), "pending")
        client.call(DEVICE_RESET)
        self.assertFalse(self.pending(client, 5))

    def test_requests_that_make_no_sense_are_refused(self):
        server, client = self.ready()
        before = server.descriptors()
        for flags in (0, NONE, TRIGGER, NONE | BOOL | TRIGGER, NONE | EVENTFD | TRIGGER, NONE | MASK | UNMASK,
                      NONE | TRIGGER | 64, NONE | TRIGGER | 0x80000000):
            with self.subTest(flags=flags):
                self.refuses(errno.EINVAL, client.set_irqs, flags, 0, 1)
        for start, count in ((20, 1), (0, 21), (19, 2), (0xFFFFFFFF, 1), (1, 0xFFFFFFFF), (0, 0xFFFFFFFF), (1, 0)):
            with self.subTest(start=start, count=count):
                self.refuses(errno.EINVAL, client.set_irqs, NONE | TRIGGER, start, count)
                self.refuses(errno.EINVAL, client.set_irqs, EVENTFD | TRIGGER, start, count)
        self.refuses(errno.EINVAL, client.set_irqs, NONE | MASK, 0, 0)
        self.refuses(errno.EINVAL, client.set_irqs, NONE | TRIGGER, 0, 1, argsz=19)
        for index in (0, 1, 3, 4, 5, 0xFFFFFFFF):
            self.refuses(errno.EINVAL, client.set_irqs, NONE | TRIGGER, 0, 1, index=index)
            self.refuses(errno.EINVAL, client.set_irqs, EVENTFD | TRIGGER, 0, 1, [self.fds[0]], index=index)
        for booleans in (b"", b"\1", b"\1\1\1"):
            self.refuses(errno.EINVAL, client.set_irqs, BOOL | TRIGGER, 0, 2, booleans=booleans)
        for flags in (EVENTFD | MASK, EVENTFD | UNMASK):
            self.refuses(errno.ENOTSUP, client.set_irqs, flags, 0, 1, [self.fds[0]])
        self.assertEqual(server.descriptors(), before)
        # INTx and MSI, which we have not, can be switched off.
        for index in (0, 1):
            client.set_irqs(NONE | TRIGGER, 0, 0, index=index)
        self.signal(server, 1)
        self.assertTrue(rung(self.fds[1]))

    def test_numbers_of_descriptors_have_to_fit(self):
        server, client = self.ready()
        before = server.descriptors()
        for count, fds in ((1, 2), (2, 1), (16, 15)):
            self.refuses(errno.EINVAL, client.set_irqs, EVENTFD | TRIGGER, 0, count, self.fds[:fds])
        self.refuses(errno.EINVAL, client.set_irqs, NONE | TRIGGER, 0, 1, self.fds[:1])
        self.refuses(errno.EINVAL, client.set_irqs, NONE | TRIGGER, 0, 0, self.fds[:1])
        self.refuses(errno.EINVAL, client.set_irqs, BOOL | MASK, 0, 1, self.fds[:1], booleans=b"\1")
        self.assertEqual(server.descriptors(), before)

    def test_what_is_no_eventfd_is_refused(self):
        server, client = self.ready()
        before = server.descriptors()
        ends = [*os.pipe(), memory(4096), *(s.detach() for s in socket.socketpair()), os.open("/dev/null", os.O_RDWR),
                os.open("/", os.O_RDONLY)]
        for fd in ends:
            self.refuses(errno.EINVAL, client.set_irqs, EVENTFD | TRIGGER, 1, 1, [fd])
            # And the good ones that come with it are not taken.
            self.refuses(errno.EINVAL, client.set_irqs, EVENTFD | TRIGGER, 1, 2, [self.fds[9], fd])
            os.close(fd)
        self.assertEqual(server.descriptors(), before)
        self.signal(server, 1)
        self.assertTrue(rung(self.fds[1]))

    def test_eventfd_that_is_full_and_would_block_stops_nobody(self):
        server, client = self.ready()
        full = os.eventfd(0)
        os.write(full, struct.pack("=Q", (1 << 64) - 2))
        client.set_irqs(EVENTFD | TRIGGER, 1, 1, [full])
        for _ in range(10):
            with contextlib.suppress(BlockingIOError):      # as pvhcad takes it, too
                self.signal(server, 1)
            self.still_works(client)
        os.close(full)

    def test_monitor_that_goes_leaves_no_eventfd_and_no_mask_behind(self):
        server, client = self.ready()
        before = server.descriptors()
        client.set_irqs(NONE | MASK, 0, 20)
        client.close()
        self.assertRaises((Gone, ConnectionResetError), lambda: [server.hostd.receive() for _ in range(100)])
        with Client(server) as again:
            server.hostd.greet()
            self.until_status(again, 1)
            self.descriptors_stay(server, before - 20)
            again.set_irqs(EVENTFD | TRIGGER, 1, 1, [self.fds[1]])
            self.signal(server, 1)
            self.assertTrue(rung(self.fds[1]))


class InterruptsOfAnOlderPvhcad(Interrupts):
    """One that takes each eventfd once: all goes through the server."""

    test_pvhcad_has_the_monitors_own_eventfds = None
    test_pvhcad_can_tell_the_guest_that_the_server_died = None
    test_config_vector_is_passed_on_before_the_session_and_in_the_next_one = None

    def setUp(self):
        super().setUp()
        older = mock.patch.object(Server, "link_minor", 0)
        older.start()
        self.addCleanup(older.stop)


if __name__ == "__main__":
    unittest.main()
