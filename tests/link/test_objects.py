# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands of address handles, SRQs, windows, rereg, CQ resize,
multicast and kernel contexts refuse, and what they leave behind."""
import struct
import unittest

from case import DaemonCase
from pvhca import *

GROUP = b"\xff\x0e" + bytes(10) + bytes([239, 1, 2, 3])


class ObjectCase(DaemonCase):
    def setUp(self):
        super().setUp()
        self.g = Guest(self.daemon)
        self.addCleanup(self.g.close)
        self.h = self.g.world()

    def status(self, opcode, payload=b""):
        return self.g.command(opcode, payload)[0]

    def assert_none_works(self, opcode, payloads, want=ST_INVALID):
        for i, payload in enumerate(payloads):
            with self.subTest(i):
                self.assertEqual(self.status(opcode, payload), want)

    def address(self):
        gid = v4(10, 0, 0, 7)
        self.g.ok(ADD_GID, gid_payload(gid))
        return gid

    def queue(self):
        at = self.g.alloc(2 * GRANULE)
        self.g.write(at, bytes(2 * GRANULE))
        return [(at, 2 * GRANULE)]

    def srq(self, **kwargs):
        return self.g.create(CREATE_SRQ, srq_payload(
            self.h["context"], self.h["pd"], self.queue(), **kwargs))

    def qp_payload(self, srq=NO_HANDLE, **kwargs):
        h = self.h
        if srq != NO_HANDLE:
            kwargs = dict(flags=QP_F_SRQ, cap=(16, 0, 1, 0, 0), rq=(0, 0),
                          rq_offset=0, srq=srq) | kwargs
        return qp_payload(h["context"], h["pd"], h["cq"], h["cq"],
                          self.queue(), **kwargs)


class AddressHandles(ObjectCase):
    def test_one_that_is_right_and_its_pd_which_is_busy(self):
        gid = self.address()
        ah = self.g.create(CREATE_AH, ah_payload(self.h["pd"], gid))
        self.assertEqual(self.daemon.totals()["ahs"], 1)
        self.g.destroy(DESTROY_QP, self.h["qp"])
        self.g.destroy(DEREG_MR, self.h["mr"])
        self.assertEqual(self.g.destroy(DEALLOC_PD, self.h["pd"]), ST_BUSY)
        self.assertEqual(self.g.destroy(DESTROY_AH, ah), ST_OK)
        self.assertEqual(self.g.destroy(DESTROY_AH, ah), ST_INVALID)
        self.assertEqual(self.g.destroy(DEALLOC_PD, self.h["pd"]), ST_OK)

    def test_those_that_are_wrong(self):
        gid, pd = self.address(), self.h["pd"]
        self.assert_none_works(CREATE_AH, [
            ah_payload(0, gid), ah_payload(NO_HANDLE, gid),
            ah_payload(pd + 1, gid), ah_payload(pd, gid, reserved=1),
            ah_payload(pd, gid, sgid_index=1),
            ah_payload(pd, gid, sgid_index=255),
            ah_payload(pd, gid, port=0), ah_payload(pd, gid, port=2),
            ah_payload(pd, gid, is_global=0),
            ah_payload(pd, gid, is_global=2),
            ah_payload(pd, gid, reserved0=1), ah_payload(pd, gid, reserved1=1),
            ah_payload(pd, gid) + b"\1"])

    def test_surplus_bits_are_dropped(self):
        """As adapters do; UCX asks for a flow label of all ones."""
        gid, pd = self.address(), self.h["pd"]
        for field in ({"sl": 0xff}, {"flow_label": 0xffffffff}):
            handle = self.g.create(CREATE_AH, ah_payload(pd, gid, **field))
            self.assertEqual(self.g.destroy(DESTROY_AH, handle), ST_OK)


class SharedReceiveQueues(ObjectCase):
    def test_one_with_qps_is_busy(self):
        srq = self.srq()
        qps = [self.g.create(CREATE_QP, self.qp_payload(srq, kind=kind))
               for kind in (RC, UC, UD)]
        for qp in qps:
            self.assertEqual(self.g.destroy(DESTROY_SRQ, srq), ST_BUSY)
            self.assertEqual(self.g.destroy(DESTROY_QP, qp), ST_OK)
        self.assertEqual(self.g.destroy(DESTROY_SRQ, srq), ST_OK)
        self.assertEqual(self.g.destroy(DESTROY_SRQ, srq), ST_INVALID)

    def test_geometry(self):
        h, queue = self.h, self.queue()
        other = self.g.world()

        def payload(context=h["context"], pd=h["pd"], extents=queue, **kwargs):
            return srq_payload(context, pd, extents, **kwargs)

        self.assert_none_works(CREATE_SRQ, [
            payload(context=0), payload(pd=0), payload(pd=NO_HANDLE),
            payload(context=other["context"]), payload(pd=other["pd"]),
            payload(max_wr=0), payload(max_wr=17), payload(max_sge=2),
            payload(max_wr=0xFFFFFFFF), payload(max_sge=0xFFFFFFFF),
            payload(limit=17), payload(rq=(16, 5)), payload(rq=(255, 255)),
            payload(rq=(4, 4)), payload(rq=(4, 13)), payload(rq_offset=0),
            payload(rq_offset=264), payload(rq_offset=128),
            payload(rq_offset=8192), payload(rq_offset=0xFFFFFFE0),
            payload(reserved0=1), payload(reserved1=1),
            payload(length=GRANULE), payload(num=0)])
        self.assertEqual(self.status(CREATE_SRQ, payload(
            extents=[(1 << 40, 2 * GRANULE)])), ST_BAD_ADDRESS)
        self.assertEqual(self.status(CREATE_SRQ, payload()), ST_OK)

    def test_limits(self):
        srq = self.srq()

        def modify(handle, mask, limit=0, reserved=0):
            return struct.pack("<IIII", handle, mask, limit, reserved)

        self.assertEqual(self.status(MODIFY_SRQ, modify(srq, 2, 16)), ST_OK)
        self.assertEqual(self.status(MODIFY_SRQ, modify(srq, 2, 0)), ST_OK)
        self.assertEqual(self.status(MODIFY_SRQ, modify(srq, 1)),
                         ST_UNSUPPORTED)
        self.assert_none_works(MODIFY_SRQ, [
            modify(0, 2), modify(srq, 4), modify(srq, 2, 17),
            modify(srq, 2, 0xFFFFFFFF), modify(srq, 2, reserved=1)])
        rsp = self.g.ok(QUERY_SRQ, struct.pack("<II", srq, 0))
        self.assertEqual(struct.unpack_from("<III", rsp), (16, 1, 0))
        self.assert_none_works(QUERY_SRQ, [struct.pack("<II", srq, 1),
                                           struct.pack("<II", 0, 0)])

    def test_qps_that_say_it_wrong(self):
        srq = self.srq()
        self.assert_none_works(CREATE_QP, [
            self.qp_payload(srq, flags=0), self.qp_payload(srq + 1),
            self.qp_payload(srq, rq=(4, 5), rq_offset=256,
                            cap=(16, 16, 1, 1, 0)),
            self.qp_payload(srq, rq_offset=256),
            self.qp_payload(flags=QP_F_SRQ),
            self.qp_payload(flags=QP_F_BLOCK_LOOPBACK, kind=RC),
            self.qp_payload(flags=8, kind=UD)])

    def test_slots_are_shared_with_qps(self):
        h = self.h
        queue = self.queue()
        for _ in range(3):
            srqs = [self.g.create(CREATE_SRQ, srq_payload(h["context"],
                                                          h["pd"], queue))
                    for _ in range(100)]
            for srq in srqs:
                self.assertEqual(self.g.destroy(DESTROY_SRQ, srq), ST_OK)


class Windows(ObjectCase):
    def test_types_and_pds(self):
        pd = self.h["pd"]
        for kind in (1, 2):
            mw = self.g.create(ALLOC_MW, struct.pack("<II", pd, kind))
            self.assertEqual(self.g.destroy(DEALLOC_MW, mw), ST_OK)
            self.assertEqual(self.g.destroy(DEALLOC_MW, mw), ST_INVALID)
        self.assert_none_works(ALLOC_MW, [
            struct.pack("<II", 0, 1), struct.pack("<II", pd, 0),
            struct.pack("<II", pd, 3), struct.pack("<II", NO_HANDLE, 2)])


class Rereg(ObjectCase):
    def test_wrong_ones_leave_the_region_alone(self):
        g, h = self.g, self.h
        pinned = self.daemon.totals()["pinned_bytes"]
        other = g.world()
        ram = [(g.alloc(GRANULE), GRANULE)]

        def payload(mr=h["mr"], flags=1, length=GRANULE, extents=ram,
                    **kwargs):
            return rereg_payload(mr, flags, length=length, extents=extents,
                                 **kwargs)

        self.assert_none_works(REREG_MR, [
            payload(mr=0), payload(flags=0), payload(flags=8),
            payload(flags=2, pd=0), payload(flags=2, pd=other["pd"]),
            payload(flags=4, access=2), payload(flags=4, access=1 << 10),
            payload(length=0), payload(length=GRANULE + 1), payload(offset=1),
            payload(iova=(1 << 64) - 1), payload(num=2)])
        self.assertEqual(self.status(REREG_MR, payload(
            extents=[(1 << 40, GRANULE)])), ST_BAD_ADDRESS)
        self.assertEqual(self.daemon.totals()["pinned_bytes"],
                         pinned + GRANULE)
        self.assertEqual(g.destroy(DEREG_MR, h["mr"]), ST_OK)

    def test_again_and_again(self):
        g = self.g
        pinned = self.daemon.totals()["pinned_bytes"]
        pd = g.pd(self.h["context"])
        ram = [(g.alloc(2 * GRANULE), 2 * GRANULE)]
        mr = self.h["mr"]
        for i in range(50):
            rsp = g.ok(REREG_MR, rereg_payload(
                mr, 7, pd=pd, access=1, iova=0x1000 * i, length=GRANULE,
                offset=GRANULE, extents=ram))
            self.assertEqual(struct.unpack_from("<I", rsp)[0], mr)
        self.assertEqual(g.destroy(DEALLOC_PD, pd), ST_BUSY)
        self.assertEqual(self.daemon.totals()["pinned_bytes"],
                         pinned + GRANULE)
        self.assertEqual(g.destroy(DEREG_MR, mr), ST_OK)
        self.assertEqual(g.destroy(DEALLOC_PD, pd), ST_OK)


class ResizeCq(ObjectCase):
    # Below the ring ABI's own limit.
    options = ("--quota", "max-cqe=131072")

    def test_sizes(self):
        cq = self.h["cq"]
        at = self.g.alloc(4 * GRANULE)
        self.g.write(at, bytes(4 * GRANULE))
        ram = [(at, 4 * GRANULE)]
        for log_entries in (0, 8, 3):
            self.assertEqual(self.status(RESIZE_CQ, resize_payload(
                cq, log_entries, ram)), ST_OK)
        self.assertEqual(self.status(RESIZE_CQ, resize_payload(cq, 18, ram)),
                         ST_QUOTA)
        self.assert_none_works(RESIZE_CQ, [
            resize_payload(0, 4, ram), resize_payload(cq, 9, ram),
            resize_payload(cq, 21, ram), resize_payload(cq, 0xFFFFFFFF, ram),
            resize_payload(cq, 4, ram, num=0)])
        self.assertEqual(self.status(RESIZE_CQ, resize_payload(
            cq, 4, [(1 << 40, GRANULE)])), ST_BAD_ADDRESS)


class Multicast(ObjectCase):
    def test_groups_are_for_datagrams(self):
        qp = self.g.create(CREATE_QP, self.qp_payload(kind=UD))
        self.assert_none_works(ATTACH_MCAST, [
            mcast_payload(GROUP, 0), mcast_payload(GROUP, self.h["qp"]),
            mcast_payload(v4(10, 0, 0, 1), qp),
            mcast_payload(GROUP, qp, reserved=1)])
        self.assertEqual(self.status(ATTACH_MCAST, mcast_payload(GROUP, qp)),
                         ST_OK)
        self.assertEqual(self.status(DETACH_MCAST, mcast_payload(GROUP, qp)),
                         ST_OK)
        self.assertEqual(self.status(DETACH_MCAST, mcast_payload(GROUP, qp)),
                         ST_INVALID)
        # What is attached does not keep a QP.
        self.assertEqual(self.status(ATTACH_MCAST, mcast_payload(GROUP, qp)),
                         ST_OK)
        self.assertEqual(self.g.destroy(DESTROY_QP, qp), ST_OK)


class KernelContexts(ObjectCase):
    def test_what_is_only_for_them(self):
        h = self.h
        self.assertEqual(self.status(CREATE_QP, self.qp_payload(kind=GSI)),
                         ST_DENIED)
        self.assertEqual(self.status(ALLOC_MR, struct.pack("<II", h["pd"], 4)),
                         ST_DENIED)

    def test_regions_without_memory(self):
        page = self.g.alloc(GRANULE)
        self.g.write(page, bytes(GRANULE))
        context = self.g.create(ALLOC_CONTEXT, context_payload(
            page, reserved=CONTEXT_KERNEL))
        pd = self.g.pd(context)
        self.assert_none_works(ALLOC_MR, [struct.pack("<II", pd, 0),
                                          struct.pack("<II", 0, 4)])
        self.assertEqual(self.status(ALLOC_MR,
                                     struct.pack("<II", pd, 0xFFFFFFFF)),
                         ST_QUOTA)
        mr = self.g.create(ALLOC_MR, struct.pack("<II", pd, 4))
        # It has no memory that could be another.
        self.assertEqual(self.status(REREG_MR, rereg_payload(mr, 4, access=1)),
                         ST_INVALID)
        self.assertEqual(self.g.destroy(DEREG_MR, mr), ST_OK)


class Quota(ObjectCase):
    config = "[quota]\nmws=1\nahs=1\nsrqs=1\n"

    def test_each_ends(self):
        gid = self.address()
        for opcode, payload in (
                (ALLOC_MW, struct.pack("<II", self.h["pd"], 1)),
                (CREATE_AH, ah_payload(self.h["pd"], gid)),
                (CREATE_SRQ, srq_payload(self.h["context"], self.h["pd"],
                                         self.queue()))):
            self.assertEqual(self.status(opcode, payload), ST_OK)
            self.assertEqual(self.status(opcode, payload), ST_QUOTA)
        for key in ("mws", "ahs", "srqs"):
            self.assertEqual(self.daemon.totals()[key], 1)
        # The others follow within a second, which is not said again.
        self.assertIn("quota of mws=1", self.daemon.log())


class Kinds(ObjectCase):
    def test_handles_of_one_kind_are_none_of_another(self):
        gid = self.address()
        handles = {
            DESTROY_AH: self.g.create(CREATE_AH, ah_payload(self.h["pd"], gid)),
            DESTROY_SRQ: self.srq(),
            DEALLOC_MW: self.g.create(ALLOC_MW,
                                      struct.pack("<II", self.h["pd"], 2))}
        for opcode, handle in handles.items():
            self.assertEqual(self.g.destroy(opcode, handle + (1 << 20)),
                             ST_INVALID)
            self.assertEqual(self.g.destroy(opcode, handle + 1), ST_INVALID)
            self.assertEqual(self.g.destroy(opcode, NO_HANDLE), ST_INVALID)
            self.assertEqual(self.status(opcode,
                                         struct.pack("<II", handle, 1)),
                             ST_INVALID)
        # All are given back when the VM goes; see case.py.


if __name__ == "__main__":
    unittest.main()
