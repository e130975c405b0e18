# SPDX-License-Identifier: GPL-2.0-or-later
"""Allocations that fail, one after the other: whoever asked is told, nothing leaks, pvhcad goes on, and the same works when
there is memory."""
import json
import os
import socket
import struct
import tempfile
import unittest

from allocations import FOR_EVER, CountedDaemon
from neighbour import RTR, RTS, Neighbour, attributes
from pvhca import *

GROUP = bytes(10) + b"\xff\xff" + bytes([239, 9, 9, 9])
MANY = 200      # points of one command: so many there are never
OBJECTS = ("contexts", "pds", "mrs", "mws", "ahs", "cqs", "srqs", "qps", "ceqs", "pinned_bytes", "mappings")


class FaultCase(unittest.TestCase):
    fabric = "loopback"

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="pvhca-")
        metrics = os.path.join(cls.folder.name, "metrics")
        cls.daemon = CountedDaemon("--fabric", cls.fabric, "--metrics", metrics, log_level="message")
        cls.daemon.metrics = metrics
        guest = Guest(cls.daemon)
        guest.world()
        guest.close()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.daemon.end_well()
        finally:
            cls.folder.cleanup()

    def idle(self):
        return not self.daemon.totals()["sessions"]

    def at_each_point(self, run, for_ever=False):
        """run(), with the first allocation failing, the second, and so on (and all that follow). Its results."""
        results = []
        for point in range(1, MANY):
            self.daemon.fail(point, FOR_EVER if for_ever else point)
            try:
                results.append(run())
            finally:
                failed = self.daemon.heal()
            self.assertTrue(self.daemon.alive(), self.daemon.log()[-4000:])
            if not failed:
                return results
        self.fail("never without a failure")


class Commands:
    """Each admin command of a guest."""

    gids = True
    kinds = (RC, UC, UD)

    def setUp(self):
        # The guest of the test before may still be going.
        wait_for(self.idle, "sessions to end")
        self.guest = Neighbour(self.daemon, name=b"poor") if self.gids else Guest(self.daemon, name=b"poor", size=64 << 20)
        self.addCleanup(self.guest.close)
        self.q = self.guest.q if self.gids else self.guest.rc_qp()
        self.page = self.guest.alloc(GRANULE)
        self.ring = self.guest.alloc(2 * GRANULE)

    def counts(self):
        totals = self.daemon.totals()
        return {name: totals[name] for name in OBJECTS}

    def each(self, opcode, payload, undo=None):
        """undo: the opcode that destroys what was made, or a function."""
        guest = self.guest

        def run():
            status, response = guest.command(opcode, payload() if callable(payload) else payload)
            self.daemon.pause()
            self.assertIn(status, (ST_OK, ST_NO_MEMORY))
            if status == ST_OK:
                take_back(struct.unpack_from("<I", response)[0])
            return status

        def take_back(handle):
            if callable(undo):
                undo()
            elif undo:
                self.assertEqual(guest.destroy(undo, handle), ST_OK)

        # Twice: the first time tables grow.
        for _ in range(2):
            before, heap, fds = self.counts(), self.daemon.totals()["heap_bytes"], self.daemon.fds()
            for for_ever in (False, True):
                results = self.at_each_point(run, for_ever)
                self.assertEqual(results[-1], ST_OK)
            self.assertEqual(self.counts(), before)
        self.assertEqual(self.daemon.totals()["heap_bytes"], heap)
        wait_for(lambda: self.daemon.fds() <= fds, "descriptors to be closed")

    def test_ceqs(self):
        addr = self.guest.alloc(2 * GRANULE)
        self.each(CREATE_CEQ, struct.pack("<QII", addr, 6, 2), DESTROY_CEQ)

    def test_contexts(self):
        self.each(ALLOC_CONTEXT, context_payload(self.page), DEALLOC_CONTEXT)

    def test_protection_domains(self):
        self.each(ALLOC_PD, struct.pack("<II", self.q.context, 0), DEALLOC_PD)

    def test_regions(self):
        self.each(REG_MR, mr_payload(self.q.pd, [(self.page, GRANULE)], GRANULE), DEREG_MR)

    def test_regions_of_many_pieces(self):
        pages, at = 1530, 0
        two = self.guest.alloc(3 * GRANULE)
        for first in range(pages - 255, -1, -255):
            chunk = self.guest.alloc(GRANULE)
            self.guest.write(chunk, struct.pack("<QQ", at, 0) + b"".join(
                struct.pack("<QQ", two + 2 * (i & 1) * GRANULE, GRANULE) for i in range(first, first + 255)))
            at = chunk
        self.each(REG_MR, mr_payload(self.q.pd, [], GRANULE, mem_length=pages * GRANULE, num=pages, chunk=at), DEREG_MR)

    def test_completion_queues(self):
        ceq = self.guest.ceq()
        self.each(CREATE_CQ, cq_payload(self.q.context, ceq, 5, [(self.ring, 2 * GRANULE)]), DESTROY_CQ)

    def test_resizing_a_completion_queue(self):
        buffers = [self.guest.alloc(2 * GRANULE) for _ in range(2)]
        self.each(RESIZE_CQ, lambda: resize_payload(self.q.cq, 6, [(buffers[0], 2 * GRANULE)]))

    def test_queue_pairs(self):
        for kind in self.kinds:
            with self.subTest(kind):
                self.each(CREATE_QP, qp_payload(self.q.context, self.q.pd, self.q.cq, self.q.cq,
                                                [(self.ring, 2 * GRANULE)], kind=kind), DESTROY_QP)

    def endings(self):
        """How an object is made, by the opcode that ends it."""
        guest, q, ring = self.guest, self.q, [(self.ring, 2 * GRANULE)]
        ceq = guest.ceq()
        return {
            DESTROY_CQ: lambda: guest.create(CREATE_CQ, cq_payload(q.context, ceq, 5, ring)),
            DESTROY_QP: lambda: guest.create(CREATE_QP, qp_payload(q.context, q.pd, q.cq, q.cq, ring)),
            DEREG_MR: lambda: guest.create(REG_MR, mr_payload(q.pd, [(self.page, GRANULE)], GRANULE)),
            DEALLOC_PD: lambda: guest.pd(q.context),
        }

    def test_objects_end_without_memory(self):
        for opcode, make in self.endings().items():
            with self.subTest(opcode):
                for for_ever in (False, True):
                    handles = [make() for _ in range(4)]
                    self.assertEqual(set(self.at_each_point(lambda: self.guest.destroy(opcode, handles.pop()), for_ever)),
                                     {ST_OK})


class More(Commands):
    """What the null fabric has not."""

    def endings(self):
        guest, q, ring = self.guest, self.q, [(self.ring, 2 * GRANULE)]
        return {
            **super().endings(),
            DESTROY_AH: lambda: guest.create(CREATE_AH, ah_payload(q.pd, guest.gid)),
            DESTROY_SRQ: lambda: guest.create(CREATE_SRQ, srq_payload(q.context, q.pd, ring)),
            DEALLOC_MW: lambda: guest.create(ALLOC_MW, struct.pack("<II", q.pd, 1)),
        }

    def test_changing_and_asking_a_shared_receive_queue(self):
        srq = self.guest.create(CREATE_SRQ, srq_payload(self.q.context, self.q.pd, [(self.ring, 2 * GRANULE)]))
        self.each(MODIFY_SRQ, struct.pack("<IIII", srq, 2, 4, 0))
        self.each(QUERY_SRQ, struct.pack("<II", srq, 0))

    def test_addresses(self):
        guest, gid = self.guest, v4(10, 0, 0, 9)

        def undo():
            self.assertEqual(guest.command(DEL_GID, struct.pack("<II", 5, 1))[0], ST_OK)
        self.each(ADD_GID, gid_payload(gid, index=5), undo)

    def test_address_handles(self):
        self.each(CREATE_AH, ah_payload(self.q.pd, self.guest.gid), DESTROY_AH)

    def test_shared_receive_queues_and_their_queue_pairs(self):
        payload = srq_payload(self.q.context, self.q.pd, [(self.ring, 2 * GRANULE)])
        self.each(CREATE_SRQ, payload, DESTROY_SRQ)
        srq = self.guest.create(CREATE_SRQ, payload)
        self.each(CREATE_QP, qp_payload(self.q.context, self.q.pd, self.q.cq, self.q.cq, [(self.ring, 2 * GRANULE)],
                                        srq=srq, flags=QP_F_SRQ, cap=(16, 0, 1, 0, 0), rq=(0, 0), rq_offset=0), DESTROY_QP)

    def test_windows(self):
        for kind in (1, 2):
            self.each(ALLOC_MW, struct.pack("<II", self.q.pd, kind), DEALLOC_MW)

    def test_queue_pairs_of_the_connection_manager(self):
        kernel = self.guest.create(ALLOC_CONTEXT, struct.pack("<QHHI32s", self.page, 1, 0, CONTEXT_KERNEL, b""))
        pd, cq = self.guest.pd(kernel), self.guest.new_cq(kernel, self.guest.ceq())
        self.each(CREATE_QP, qp_payload(kernel, pd, cq, cq, [(self.ring, 2 * GRANULE)], kind=GSI), DESTROY_QP)

    def test_changing_a_region(self):
        mr = self.guest.create(REG_MR, mr_payload(self.q.pd, [(self.page, GRANULE)], GRANULE))
        self.each(REREG_MR, rereg_payload(mr, 1, iova=0x10000, length=GRANULE, extents=[(self.ring, GRANULE)]))

    def test_multicast(self):
        qp = self.guest.create(CREATE_QP, qp_payload(self.q.context, self.q.pd, self.q.cq, self.q.cq,
                                                     [(self.ring, 2 * GRANULE)], kind=UD))

        def undo():
            self.assertEqual(self.guest.command(DETACH_MCAST, mcast_payload(GROUP, qp))[0], ST_OK)
        self.each(ATTACH_MCAST, mcast_payload(GROUP, qp), undo)

    def test_states_and_queries(self):
        q = self.guest.queue_pair(self.ring, 4)
        for state, mask in ((1, 0x39), (RTR, RTR_MASK), (RTS, RTS_MASK)):
            payload = struct.pack("<II", q.handle, mask) + attributes(state, q.qpn, self.guest.gid)
            self.assertEqual(self.at_each_point(lambda: self.guest.command(MODIFY_QP, payload)[0])[-1], ST_OK)
        self.each(QUERY_QP, struct.pack("<II", q.handle, 0x3F))
        self.each(QUERY_DEVICE, b"")
        self.each(QUERY_PORT, struct.pack("<II", 1, 0))


class Loopback(More, FaultCase):
    def test_regions_for_fast_registration(self):
        kernel = self.guest.create(ALLOC_CONTEXT, struct.pack("<QHHI32s", self.page, 1, 0, CONTEXT_KERNEL, b""))
        pd = self.guest.pd(kernel)
        self.each(ALLOC_MR, struct.pack("<II", pd, 16), DEREG_MR)


class Verbs(More, FaultCase):
    fabric = "verbs"


class Null(Commands, FaultCase):
    fabric = "null"
    gids = False
    kinds = (RC,)


class Statistics(FaultCase):
    def test_a_reader_of_statistics_gets_all_or_nothing(self):
        guest = Neighbour(self.daemon)
        self.addCleanup(guest.close)

        def run():
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(PATIENCE)
                s.connect(self.daemon.socket + ".stats")
                return b"".join(iter(lambda: s.recv(65536), b""))
        self.check([bool(json.loads(text)) if text else None for text in self.both(run)])

    def test_a_reader_of_metrics_gets_all_or_nothing(self):
        guest = Neighbour(self.daemon)
        self.addCleanup(guest.close)

        def run():
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(PATIENCE)
                s.connect(self.daemon.metrics)
                try:
                    s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                    return b"".join(iter(lambda: s.recv(65536), b""))
                except (BrokenPipeError, ConnectionResetError):
                    return b""
        self.check([text.startswith(b"HTTP/1.0 200") and b"pvhca_heap_bytes{" in text if text else None
                    for text in self.both(run)])

    def both(self, run):
        """A few points: a connection that is not taken for want of memory waits for half a second."""
        return self.at_each_point(run) + self.at_each_point(run, True)

    def check(self, answers):
        self.assertIn(None, answers)
        self.assertTrue(answers[-1])
        self.assertNotIn(False, answers)


class Sessions(FaultCase):
    def test_a_vm_that_connects_without_memory_is_told_or_comes_again(self):
        fds = self.daemon.fds()

        def run():
            try:
                guest = Guest(self.daemon, name=b"late")
            except (AssertionError, OSError, EOFError):
                return False
            guest.close()
            return True
        for for_ever in (False, True):
            self.assertTrue(self.at_each_point(run, for_ever)[-1])
            wait_for(self.idle, "sessions to end")
            wait_for(lambda: self.daemon.fds() <= fds, "descriptors to be closed")
            self.assertEqual(self.daemon.totals()["heap_bytes"], 0)
            self.assertEqual(self.daemon.mappings(), 0)

    def test_a_device_is_not_enabled_without_memory_and_is_with_it(self):
        guest = Guest(self.daemon, name=b"again", bring_up=False)
        self.addCleanup(guest.close)
        # Its answer tells that all before has been taken.
        self.assertEqual(guest.qemu.reset(), 0)
        for for_ever in (False, True):
            def run():
                guest.next_free = GRANULE
                guest.prepare()
                error = guest.qemu.enable(guest.area)
                self.daemon.pause()
                self.assertEqual(guest.qemu.reset(), 0)
                return error
            errors = self.at_each_point(run, for_ever)
            self.assertEqual(errors[-1], 0)
            self.assertLessEqual(set(errors), {0, DEV_ERR_HOST, DEV_ERR_ADMIN_QUEUE})

    def test_a_reset_needs_no_memory(self):
        guest = Guest(self.daemon, name=b"again")
        self.addCleanup(guest.close)
        guest.world()
        self.daemon.fail(1)
        self.assertEqual(guest.qemu.reset(), 0)
        self.daemon.heal()


if __name__ == "__main__":
    unittest.main()
