# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that pvhcad holds for a VM: all of it is counted, each object costs what docs/security.md says, and a VM that has
its quota is refused more."""
import os
import re
import struct
import unittest

from allocations import CountedDaemon
from neighbour import VICTIM_GID, Neighbour, blocked
from pvhca import *

DOCUMENT = os.path.join(os.path.dirname(__file__), "../../docs/security.md")
GROUP = bytes(10) + b"\xff\xff" + bytes([239, 9, 9, 9])
COUNT = 15      # with one more a table of 32 handles is not full
SHARED = 8192   # what the loopback fabric's tables, which are nobody's, may grow by meanwhile


def documented():
    """Bytes by object, of the table in the document."""
    with open(DOCUMENT) as f:
        rows = re.findall(r"^\| ([^|]+?) +\| ([0-9]+) ", f.read(), re.M)
    return {name: int(size) for name, size in rows}


def scattered(guest, pages):
    """A list of so many runs of memory, no two of which are neighbours; named in chunks."""
    two = guest.alloc(3 * GRANULE)
    runs = [(two + 2 * (i & 1) * GRANULE, GRANULE) for i in range(pages)]
    at, first = 0, -(-pages // 255) * 255
    for first in range(first - 255, -1, -255):
        chunk = guest.alloc(GRANULE)
        guest.write(chunk, struct.pack("<QQ", at, 0) + b"".join(
            struct.pack("<QQ", *run) for run in runs[first:first + 255]))
        at = chunk
    return at


class Heap(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = CountedDaemon(log_level="message")
        guest = Guest(cls.daemon)
        guest.world()
        guest.close()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.end_well()

    def setUp(self):
        wait_for(lambda: not self.daemon.totals()["sessions"], "sessions to end")

    def heap(self):
        return self.daemon.totals()["heap_bytes"]

    def counted(self, make):
        """How many bytes what make() makes counts for. All that was allocated for it must have been counted."""
        self.daemon.stats()
        heap, live = self.heap(), self.daemon.live()
        make()
        grown = self.heap() - heap
        # A reader of statistics that is going has memory, too.
        wait_for(lambda: self.daemon.live() - live <= grown + SHARED, "uncounted memory to be free")
        return grown

    def test_an_object_costs_what_the_document_says(self):
        table = documented()
        guest = Neighbour(self.daemon)
        self.addCleanup(guest.close)
        q, page = guest.q, guest.alloc(GRANULE)
        ring = guest.alloc(2 * GRANULE)
        kernel = guest.create(ALLOC_CONTEXT, struct.pack("<QHHI32s", guest.alloc(GRANULE), 1, 0, 1, b""))
        kernel_pd = guest.pd(kernel)
        chunk = scattered(guest, 1020)
        ceq = guest.ceq()
        gids = iter(range(1, 60))

        def one(opcode, payload):
            return lambda: guest.create(opcode, payload)

        kinds = {
            "context": (lambda: guest.context(page), DEALLOC_CONTEXT),
            "protection domain": (lambda: guest.pd(q.context), DEALLOC_PD),
            "memory region": (one(REG_MR, mr_payload(q.pd, [(page, GRANULE)], GRANULE)), DEREG_MR),
            "memory region of 1020 pieces": (one(REG_MR, mr_payload(
                q.pd, [], GRANULE, mem_length=1020 * GRANULE, num=1020, chunk=chunk)), DEREG_MR),
            "memory region for fast registration, of 256 pages": (
                one(ALLOC_MR, struct.pack("<II", kernel_pd, 256)), DEREG_MR),
            "memory window": (one(ALLOC_MW, struct.pack("<II", q.pd, 1)), DEALLOC_MW),
            "address handle": (one(CREATE_AH, ah_payload(q.pd, guest.gid)), DESTROY_AH),
            "completion queue of 64 entries": (lambda: guest.new_cq(q.context, ceq, 6), DESTROY_CQ),
            "shared receive queue": (one(CREATE_SRQ, srq_payload(q.context, q.pd, [(ring, 2 * GRANULE)])), DESTROY_SRQ),
            "queue pair": (lambda: guest.queue_pair(ring, 4).handle, DESTROY_QP),
            "queue pair of 513 granules": (one(CREATE_QP, qp_payload(
                q.context, q.pd, q.cq, q.cq, [], length=513 * GRANULE, num=513, chunk=scattered(guest, 513),
                sq=(9, 12), sq_offset=4096, cap=(512, 0, 1, 0, 0), rq=(0, 0), rq_offset=0)), DESTROY_QP),
            "address of the VM": (lambda: guest.ok(ADD_GID, gid_payload(v4(10, 9, 9, next(gids)), index=next(gids))), None),
        }
        measured = {}
        for name, (make, destroy) in kinds.items():
            with self.subTest(name):
                handles = [make() for _ in range(COUNT + 2)] if destroy else []
                for handle in handles:
                    self.assertEqual(guest.destroy(destroy, handle), ST_OK)
                grown = self.counted(lambda: handles.extend(make() for _ in range(COUNT)))
                measured[name] = grown / COUNT
                for handle in handles[COUNT + 2:]:
                    if destroy:
                        self.assertEqual(guest.destroy(destroy, handle), ST_OK)
        for name, size in measured.items():
            with self.subTest(name):
                self.assertLessEqual(size, table[name])
                self.assertLessEqual(table[name], size + 128)


    def test_an_enabled_vm_and_its_memory_cost_what_the_document_says(self):
        table = documented()
        guests = []
        self.addCleanup(lambda: [guest.close() for guest in guests])
        first = Guest(self.daemon)
        guests.append(first)
        before = self.heap()
        guests.append(Guest(self.daemon))
        one = self.heap() - before
        self.assertLessEqual(one, table["enabled VM with one region of RAM"])
        self.assertLessEqual(table["enabled VM with one region of RAM"], one + 1024)
        self.assertEqual(first.qemu.reset(), 0)
        fd = os.memfd_create("guest")
        os.ftruncate(fd, GRANULE)
        grown = self.counted(lambda: (first.qemu.add_memory(1 << 40, GRANULE, fd), first.qemu.reset()))
        os.close(fd)
        self.assertLessEqual(grown, table["region of RAM"])
        self.assertLessEqual(table["region of RAM"], grown + 128)

    def test_a_queue_pair_for_packets_costs_what_the_document_says(self):
        size = documented()["queue pair for packets"]
        guest = Guest(self.daemon, driver_features=FEATURE_NET)
        self.addCleanup(guest.close)
        context = guest.create(ALLOC_CONTEXT, context_payload(guest.alloc(GRANULE), reserved=CONTEXT_KERNEL))
        pd, ring = guest.pd(context), guest.alloc(2 * GRANULE)
        cq = guest.new_cq(context, guest.ceq(), 6)
        make = qp_payload(context, pd, cq, cq, [(ring, 2 * GRANULE)], kind=NET)
        # The first one has the table of handles made.
        self.assertEqual(guest.destroy(DESTROY_QP, guest.create(CREATE_QP, make)), ST_OK)
        grown = self.counted(lambda: guest.create(CREATE_QP, make))
        self.assertLessEqual(grown, size)
        self.assertLessEqual(size, grown + 128)

    def test_queue_pair_1_and_a_first_address_cost_what_the_document_says(self):
        table = documented()
        guest = Guest(self.daemon)
        self.addCleanup(guest.close)
        ring, page = guest.alloc(2 * GRANULE), guest.alloc(GRANULE)
        kernel = guest.create(ALLOC_CONTEXT, struct.pack("<QHHI32s", page, 1, 0, CONTEXT_KERNEL, b""))
        pd, cq = guest.pd(kernel), guest.new_cq(kernel, guest.ceq())
        payload = qp_payload(kernel, pd, cq, cq, [(ring, 2 * GRANULE)], kind=GSI)
        # The first time handles get their table.
        self.assertEqual(guest.destroy(DESTROY_QP, guest.create(CREATE_QP, payload)), ST_OK)
        grown = self.counted(lambda: guest.create(CREATE_QP, payload))
        size = table["queue pair 1"] + table["first address, or queue pair 1, of a VM"]
        self.assertLessEqual(grown, size)
        self.assertLessEqual(size, grown + 128)

    def test_completions_that_are_held_back_count(self):
        size = documented()["15 completions that a CQ holds back"]
        guest = Neighbour(self.daemon)
        self.addCleanup(guest.close)
        before = self.heap()
        qps = blocked(guest, 20)        # 16 completions each, and a CQ with room for one
        session = lambda: [s for s in self.daemon.stats()["sessions"] if s["name"] == "evil"][0]
        wait_for(lambda: session()["completions"] >= 20 * 16, "all completions")
        self.assertGreaterEqual(self.heap() - before, 20 * (size - 128))
        for qp in qps:
            self.assertEqual(guest.destroy(DESTROY_QP, qp.handle), ST_OK)
        self.assertLess(self.heap() - before, 20 * size * 2)

    def test_all_comes_back(self):
        start = self.heap()
        guest = Neighbour(self.daemon)
        blocked(guest, 20)
        guest.ok(REG_MR, mr_payload(guest.q.pd, [], GRANULE, mem_length=510 * GRANULE, num=510,
                                    chunk=scattered(guest, 510)))
        self.assertGreater(self.heap(), start + 50000)
        guest.close()
        wait_for(lambda: not self.daemon.totals()["sessions"], "the session to end")
        self.assertEqual(self.heap(), 0)


class Verbs(unittest.TestCase):
    """Without what is the engine's, which is no memory of the VM's account."""

    def test_an_object_costs_what_the_document_says(self):
        daemon, table, measured = CountedDaemon("--fabric", "verbs", log_level="message"), documented(), {}
        self.addCleanup(daemon.clean_up)
        before = daemon.totals()["heap_bytes"]
        empty = Guest(daemon)
        measured["VM, enabled"] = daemon.totals()["heap_bytes"] - before
        empty.close()
        guest = Neighbour(daemon)
        self.addCleanup(guest.close)
        wait_for(lambda: daemon.totals()["sessions"] == 1, "the first to end")
        q, page, ring, gids = guest.q, guest.alloc(GRANULE), guest.alloc(2 * GRANULE), iter(range(2, 100))

        def settle():
            """What listens at an address is made by another thread, in order; DEL_GID waits for it."""
            guest.ok(ADD_GID, gid_payload(v4(10, 0, 0, 200), index=1))
            guest.ok(DEL_GID, struct.pack("<II", 1, 1))

        def address():
            index = next(gids)
            guest.ok(ADD_GID, gid_payload(v4(10, 0, 0, index), index=index))
        for name, make in {
                "connected queue pair": lambda: guest.queue_pair(ring, 4),
                "queue pair for datagrams, of 16 receives": lambda: guest.queue_pair(ring, 4, kind=UD),
                "registered region": lambda: guest.create(REG_MR, mr_payload(q.pd, [(page, GRANULE)], GRANULE)),
                "receive queue for several": lambda: guest.create(
                    CREATE_SRQ, srq_payload(q.context, q.pd, [(ring, 2 * GRANULE)])),
                "window": lambda: guest.create(ALLOC_MW, struct.pack("<II", q.pd, 1)),
                "handle of an address": lambda: guest.create(CREATE_AH, ah_payload(q.pd, guest.gid)),
                "address, with one port in `listen=`": address,
        }.items():
            for _ in range(COUNT + 2):
                make()
            settle()
            before = daemon.totals()["heap_bytes"]
            for _ in range(COUNT):
                make()
            settle()
            measured[name] = (daemon.totals()["heap_bytes"] - before) / COUNT
        for name, size in measured.items():
            with self.subTest(name):
                self.assertLessEqual(size, table[name])
                self.assertLessEqual(table[name], size + 128)


class Quota(unittest.TestCase):
    """A VM that may have 1 MiB."""

    def setUp(self):
        self.daemon = Daemon(config="[quota]\nheap-bytes=8M\n[vm small]\nheap-bytes=1M\n", log_level="message")
        self.addCleanup(self.daemon.clean_up)
        self.guest = Neighbour(self.daemon, name=b"small")
        self.addCleanup(self.guest.close)

    def session(self):
        return [s for s in self.daemon.stats()["sessions"] if s["name"] == "small"][0]

    def fill(self, opcode, payload):
        handles = []
        while True:
            status, response = self.guest.command(opcode, payload)
            if status:
                return status, handles
            handles.append(struct.unpack_from("<I", response)[0])

    def check(self):
        self.assertLessEqual(self.session()["heap_bytes"], 1 << 20)
        self.assertEqual(self.session()["quota"]["heap_bytes"], 1 << 20)
        self.assertIn("has its quota of heap-bytes=1048576", self.daemon.log())
        # Nobody else is told no.
        other = Neighbour(self.daemon, name=b"other", gid=VICTIM_GID)
        other.pd(other.q.context)
        other.close()

    def test_rings_that_name_the_same_pages_again_and_again_end_at_the_quota(self):
        guest, q = self.guest, self.guest.q
        pages = 2049
        status, handles = self.fill(CREATE_QP, qp_payload(
            q.context, q.pd, q.cq, q.cq, [], length=pages * GRANULE, num=pages, chunk=scattered(guest, pages),
            sq=(11, 12), sq_offset=4096, cap=(2048, 0, 1, 0, 0), rq=(0, 0), rq_offset=0))
        self.assertEqual(status, ST_QUOTA)
        self.check()
        for handle in handles:
            self.assertEqual(guest.destroy(DESTROY_QP, handle), ST_OK)
        self.assertEqual(guest.command(CREATE_QP, qp_payload(
            q.context, q.pd, q.cq, q.cq, [(guest.alloc(2 * GRANULE), 2 * GRANULE)]))[0], ST_OK)

    def test_regions_of_scattered_memory_end_at_the_quota(self):
        guest = self.guest
        pages = 8 * 255
        status, handles = self.fill(REG_MR, mr_payload(
            guest.q.pd, [], GRANULE, mem_length=pages * GRANULE, num=pages, chunk=scattered(guest, pages)))
        self.assertEqual(status, ST_QUOTA)
        self.check()
        self.assertEqual(guest.destroy(DEREG_MR, handles[0]), ST_OK)
        guest.mr(guest.q.pd)

    def test_a_queue_pair_whose_completions_find_no_memory_fails_alone(self):
        guest = self.guest
        ceq, buffer = guest.ceq(), guest.alloc(GRANULE)
        cq = guest.create(CREATE_CQ, cq_payload(guest.q.context, ceq, 0, [(buffer, GRANULE)]))
        ring = guest.ring(sq_wqe(3, []), log_entries=12)
        qps = [guest.join(guest.queue_pair(ring, 12, cq=cq)) for _ in range(8)]
        guest.write(ring, struct.pack("<I", 1 << 12))
        guest.announce(qps)
        # 4096 completions of 32 bytes for each of these, and 1 MiB in all.
        wait_for(lambda: self.session()["state"] == "failed" or self.session()["async_events"] >= 1,
                 "the guest to be told")
        self.assertLessEqual(self.session()["heap_bytes"], 1 << 20)
        other = Neighbour(self.daemon, name=b"other", gid=VICTIM_GID)
        other.pd(other.q.context)
        other.close()


if __name__ == "__main__":
    unittest.main()
