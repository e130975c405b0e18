# SPDX-License-Identifier: GPL-2.0-or-later
"""A grace period lasts until each worker has ended its pass, so a command waits for one at most, on each fabric. Which commands
wait at all stands here."""
import os
import struct
import unittest

from neighbour import RTR, RTS, attributes
from pvhca import *

# Workers find what these end or change: once for all of it. ALLOC_CONTEXT has its worker begin with a new list.
ONCE = {DEL_GID, ALLOC_CONTEXT, DEALLOC_CONTEXT, DEREG_MR, REREG_MR, RESIZE_CQ, DESTROY_QP, DESTROY_AH, DESTROY_SRQ,
        DEALLOC_MW, DETACH_MCAST}
OWN, OTHER = v4(10, 0, 0, 1), v4(10, 0, 0, 9)
GROUP = bytes(10) + b"\xff\xff" + bytes([239, 9, 9, 9])
TRANSLATION, IN_PD, ACCESS = 1, 2, 4
SRQ_LIMIT = 2
# Tables begin with 16 places, and double.
GROWN = 40


class Table:
    """Each command, and all ways in which an object ends or changes."""

    lacks = frozenset()
    # The engine's own; pvhcad's workers find nothing of it.
    never = frozenset()
    env = None

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--fabric", cls.fabric, log_level="message", env=cls.env)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.end_well()

    def setUp(self):
        wait_for(lambda: not self.daemon.totals()["sessions"], "sessions to end")
        self.guest = Guest(self.daemon, size=32 << 20, driver_features=UNORDERED | FEATURE_NET)
        self.addCleanup(self.guest.close)
        self.guest.ok(ADD_GID, gid_payload(OWN))
        self.q = self.guest.rc_qp()
        self.ring = [(self.guest.alloc(2 * GRANULE), 2 * GRANULE)]
        self.page = self.guest.alloc(GRANULE)
        self.seen = set()

    def periods(self):
        return self.daemon.stats()["grace_periods"]

    def run_one(self, opcode, payload=b"", want=ST_OK, waits=None):
        """The handle of what was made, if any; None where the fabric lacks it."""
        self.seen.add(opcode)
        lacks = opcode in self.lacks
        if waits is None:
            waits = int(opcode in ONCE and not lacks and opcode not in self.never)
        before = self.periods()
        status, response = self.guest.command(opcode, payload)
        waited = self.periods() - before
        with self.subTest(opcode=opcode, payload=payload[:24].hex()):
            self.assertEqual(status, ST_UNSUPPORTED if lacks else want)
            self.assertEqual(waited, waits)
        return None if lacks else struct.unpack_from("<I", response)[0]

    def end(self, opcode, handle):
        if handle is not None:
            self.run_one(opcode, struct.pack("<II", handle, 0))

    def test_each_command(self):
        self.plain()
        self.addresses()
        self.queue_pairs()
        self.shared_queues()
        self.datagrams()
        self.regions()
        self.kernel()
        expected = set(range(LAST_OPCODE + 1))
        # What cannot be ended was never made.
        for lacking, ending in ((CREATE_SRQ, {MODIFY_SRQ, QUERY_SRQ, DESTROY_SRQ}), (ALLOC_MW, {DEALLOC_MW}),
                                (ATTACH_MCAST, {DETACH_MCAST})):
            if lacking in self.lacks:
                expected -= ending
        self.assertEqual(self.seen, expected)

    def plain(self):
        guest, q = self.guest, self.q
        self.run_one(NOP)
        self.run_one(QUERY_DEVICE)
        self.run_one(QUERY_PORT, struct.pack("<II", 1, 0))
        ceq = self.run_one(CREATE_CEQ, struct.pack("<QII", guest.alloc(GRANULE), 6, 2))
        context = self.run_one(ALLOC_CONTEXT, context_payload(self.page))
        pd = self.run_one(ALLOC_PD, struct.pack("<II", context, 0))
        cq = self.run_one(CREATE_CQ, cq_payload(context, ceq, 5, self.ring))
        bigger = guest.alloc(4 * GRANULE)
        self.run_one(RESIZE_CQ, resize_payload(cq, 8, [(bigger, 4 * GRANULE)]))
        self.end(DESTROY_CQ, cq)
        self.end(DEALLOC_PD, pd)
        self.end(DEALLOC_CONTEXT, context)
        self.end(DESTROY_CEQ, ceq)

    def addresses(self):
        self.run_one(ADD_GID, gid_payload(OTHER, index=3))
        self.run_one(DEL_GID, struct.pack("<II", 3, 1))
        ah = self.run_one(CREATE_AH, ah_payload(self.q.pd, OWN))
        self.end(DESTROY_AH, ah)

    def modify(self, qp, state, mask):
        self.run_one(MODIFY_QP, struct.pack("<II", qp, mask) + attributes(state, 2, OWN))

    def queue_pairs(self):
        q = self.q
        payload = qp_payload(q.context, q.pd, q.cq, q.cq, self.ring)
        qp = self.run_one(CREATE_QP, payload)
        for state, mask in ((1, 0x39), (RTR, RTR_MASK), (RTS, RTS_MASK), (6, 1), (0, 1)):
            self.modify(qp, state, mask)
        self.run_one(QUERY_QP, struct.pack("<II", qp, 1))
        self.end(DESTROY_QP, qp)
        # In use, too.
        qp = self.run_one(CREATE_QP, payload)
        for state, mask in ((1, 0x39), (RTR, RTR_MASK), (RTS, RTS_MASK)):
            self.modify(qp, state, mask)
        self.end(DESTROY_QP, qp)

    def shared_queues(self):
        q = self.q
        srq = self.run_one(CREATE_SRQ, srq_payload(q.context, q.pd, self.ring))
        if srq is None:
            return
        self.run_one(MODIFY_SRQ, struct.pack("<IIII", srq, SRQ_LIMIT, 4, 0))
        self.run_one(QUERY_SRQ, struct.pack("<II", srq, 0))
        for kind in (RC, UD):
            qp = self.run_one(CREATE_QP, qp_payload(q.context, q.pd, q.cq, q.cq, self.ring, srq=srq, flags=QP_F_SRQ, kind=kind,
                                                    cap=(16, 0, 1, 0, 0), rq=(0, 0), rq_offset=0))
            self.modify(qp, 1, 0x39 if kind == RC else 0x71)
            self.modify(qp, 0, 1)
            self.end(DESTROY_QP, qp)
        self.end(DESTROY_SRQ, srq)

    def datagrams(self):
        q = self.q
        if self.fabric == "null":
            self.run_one(ATTACH_MCAST, mcast_payload(GROUP, q.handle), want=ST_INVALID)
            self.run_one(DETACH_MCAST, mcast_payload(GROUP, q.handle), want=ST_INVALID, waits=0)
            return
        payload = qp_payload(q.context, q.pd, q.cq, q.cq, self.ring, kind=UD)
        qp = self.run_one(CREATE_QP, payload)
        self.run_one(ATTACH_MCAST, mcast_payload(GROUP, qp))
        self.run_one(DETACH_MCAST, mcast_payload(GROUP, qp))
        for last in range(240, 250):
            self.run_one(ATTACH_MCAST, mcast_payload(GROUP[:15] + bytes([last]), qp))
        self.end(DESTROY_QP, qp)

    def regions(self):
        guest, q = self.guest, self.q
        mr = self.run_one(REG_MR, mr_payload(q.pd, [(self.page, GRANULE)], GRANULE))
        pd = guest.pd(q.context)
        memory = dict(iova=0x10000, length=2 * GRANULE, extents=self.ring)
        for flags in range(1, 8):
            self.run_one(REREG_MR, rereg_payload(mr, flags, pd=pd if flags & 1 else q.pd, access=1, **memory))
        # What is wrong with a change shows before anyone waits for it.
        self.run_one(REREG_MR, rereg_payload(mr, TRANSLATION, **{**memory, "length": 3 * GRANULE}), want=ST_INVALID, waits=0)
        self.end(DEREG_MR, mr)
        mw = self.run_one(ALLOC_MW, struct.pack("<II", q.pd, 1))
        self.end(DEALLOC_MW, mw)

    def kernel(self):
        """What only the driver's own context has."""
        guest = self.guest
        kernel = guest.create(ALLOC_CONTEXT, context_payload(self.page, reserved=CONTEXT_KERNEL))
        pd = guest.pd(kernel)
        mr = self.run_one(ALLOC_MR, struct.pack("<II", pd, 16))
        self.end(DEREG_MR, mr)
        cq = guest.new_cq(kernel, guest.ceq())
        for kind in (GSI, NET):
            qp = self.run_one(CREATE_QP, qp_payload(kernel, pd, cq, cq, self.ring, kind=kind))
            if kind == GSI:
                self.modify(qp, 1, 0x71)
            self.end(DESTROY_QP, qp)

    def test_objects_that_workers_do_not_look_up_are_made_without_a_wait(self):
        guest, q = self.guest, self.q
        ceq = guest.ceq()
        for _ in range(GROWN):
            self.run_one(ALLOC_PD, struct.pack("<II", q.context, 0))
            self.run_one(CREATE_CQ, cq_payload(q.context, ceq, 5, self.ring))
            self.run_one(CREATE_QP, qp_payload(q.context, q.pd, q.cq, q.cq, self.ring))
            page = guest.alloc(GRANULE)
            self.run_one(ALLOC_CONTEXT, context_payload(page))

    def test_those_that_they_do_wait_only_when_the_table_grows(self):
        makes = {REG_MR: mr_payload(self.q.pd, [(self.page, GRANULE)], GRANULE), CREATE_AH: ah_payload(self.q.pd, OWN),
                 ALLOC_MW: struct.pack("<II", self.q.pd, 1)}
        for opcode, payload in makes.items():
            if opcode in self.lacks:
                continue
            waits = []
            for _ in range(GROWN):
                before = self.periods()
                self.guest.ok(opcode, payload)
                waits.append(self.periods() - before)
            with self.subTest(opcode):
                self.assertEqual((max(waits), sum(waits)), (1, 2))


class Loopback(Table, unittest.TestCase):
    fabric = "loopback"


class Verbs(Table, unittest.TestCase):
    """With a device that does nothing (engine.c)."""

    fabric = "verbs"
    lacks = frozenset({ALLOC_MR})
    never = frozenset({DETACH_MCAST})
    env = {"LD_PRELOAD": os.environ["PVHCA_ENGINE_LIBRARY"]}


class Null(Table, unittest.TestCase):
    fabric = "null"
    lacks = frozenset({CREATE_SRQ, ALLOC_MW, REREG_MR, ALLOC_MR})


if __name__ == "__main__":
    unittest.main()
