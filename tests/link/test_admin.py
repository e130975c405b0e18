# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest drivers that get the admin queue wrong, and what each command refuses."""
import os
import struct
import time
import unittest

from case import DaemonCase
from pvhca import *


class GuestCase(DaemonCase):
    def guest(self, **kwargs):
        guest = Guest(self.daemon, **kwargs)
        self.addCleanup(guest.close)
        return guest


class Enable(GuestCase):
    def assert_fails(self, error, **changes):
        guest = self.guest(bring_up=False)
        guest.prepare(**changes)
        self.assertEqual(guest.qemu.enable(guest.area), error)
        self.assertEqual(guest.hostd_status(), error)
        self.assertTrue(guest.message())
        # Only RESET leads out.
        self.assertEqual(guest.qemu.enable(guest.area), DEV_ERR_BAD_STATE)
        self.assertEqual(guest.qemu.reset(), 0)
        guest.prepare()
        self.assertEqual(guest.qemu.enable(guest.area), 0)
        self.assertEqual(guest.command(NOP)[0], ST_OK)

    def test_area_outside_ram(self):
        for gpa in (1 << 40, 0xFFFFFFFFFFFFF000, 8 << 20, 0x1800):
            guest = self.guest(bring_up=False)
            self.assertEqual(guest.qemu.enable(gpa), DEV_ERR_ADMIN_AREA)

    def test_wrong_magic(self):
        self.assert_fails(DEV_ERR_ADMIN_AREA, magic=0)

    def test_other_major_version(self):
        self.assert_fails(DEV_ERR_VERSION, major=2)

    def test_other_minor_version_is_served(self):
        guest = self.guest(bring_up=False)
        guest.prepare(minor=77)
        self.assertEqual(guest.qemu.enable(guest.area), 0)

    def test_unknown_features_are_not_accepted_but_no_error(self):
        guest = self.guest(bring_up=False)
        guest.prepare(features=0xFFFF)
        self.assertEqual(guest.qemu.enable(guest.area), 0)
        self.assertEqual(guest.features(), FEATURE_VLAN | UNORDERED | FEATURE_NET | FEATURE_NET_TSO)

    def test_no_feature_without_the_drivers_wish(self):
        guest = self.guest(bring_up=False)
        guest.prepare(features=0)
        self.assertEqual(guest.qemu.enable(guest.area), 0)
        self.assertEqual(guest.features(), 0)

    def test_sizes_out_of_range(self):
        for change in (dict(log_sq=9), dict(log_cq=9), dict(log_cq=3),
                       dict(log_aeq=18), dict(log_sq=255)):
            with self.subTest(change):
                self.assert_fails(DEV_ERR_ADMIN_QUEUE, **change)

    def test_queues_outside_ram_or_unaligned(self):
        for name in ("sq", "cq", "aeq"):
            for gpa in (1 << 40, (8 << 20) - 2048, 0x10800, (1 << 64) - 4096):
                with self.subTest(queue=name, gpa=gpa):
                    self.assert_fails(DEV_ERR_ADMIN_QUEUE, **{name: gpa})

    def test_queue_that_leaves_ram_half_way(self):
        self.assert_fails(DEV_ERR_ADMIN_QUEUE, log_aeq=17,
                          aeq=(8 << 20) - 4096)

    def test_reserved_fields(self):
        self.assert_fails(DEV_ERR_ADMIN_QUEUE, reserved=1)

    def test_twice(self):
        guest = self.guest()
        self.assertEqual(guest.qemu.enable(guest.area), DEV_ERR_BAD_STATE)
        self.assertEqual(guest.command(NOP)[0], ST_OK)

    def test_reset_gives_all_back(self):
        guest = self.guest()
        guest.world()
        self.assertEqual(guest.qemu.reset(), 0)
        totals = self.daemon.totals()
        for name in ("contexts", "pds", "mrs", "cqs", "qps", "pinned_bytes"):
            self.assertEqual(totals[name], 0, name)
        guest.prepare()
        self.assertEqual(guest.qemu.enable(guest.area), 0)
        guest.world()


class Queue(GuestCase):
    def test_answers_come_in_order_over_many_laps(self):
        guest = self.guest(log_sq=2, log_cq=3)
        for _ in range(30):
            cookies = [guest.post(NOP) for _ in range(4)]
            guest.publish()
            self.assertEqual([guest.complete()[0] for _ in range(4)], cookies)

    def test_a_queue_of_one(self):
        guest = self.guest(log_sq=0, log_cq=0, log_aeq=0)
        for _ in range(10):
            self.assertEqual(guest.command(NOP)[0], ST_OK)

    def test_full_completion_queue_makes_it_wait(self):
        guest = self.guest(log_sq=4, log_cq=4)
        for _ in range(16):
            guest.post(NOP)
        guest.publish()
        wait_for(lambda: self.daemon.totals()["admin_commands"] == 16, "16")
        for _ in range(16):
            guest.post(NOP)
        guest.publish()
        time.sleep(0.05)
        self.assertEqual(self.daemon.totals()["admin_commands"], 16)
        for _ in range(32):
            self.assertEqual(guest.complete()[1], ST_OK)

    def test_producer_index_jumps(self):
        for jump in (17, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            with self.subTest(jump):
                guest = self.guest()
                guest.sq_pi = jump
                guest.publish()
                self.assertEqual(guest.qemu.reply(FATAL), DEV_ERR_GUEST)
                self.assertEqual(guest.qemu.reset(), 0)
                guest.prepare()
                self.assertEqual(guest.qemu.enable(guest.area), 0)

    def test_consumer_index_jumps(self):
        guest = self.guest()
        guest.write(guest.area + AREA_CQ_CI, struct.pack("<I", 100))
        for _ in range(16):
            guest.post(NOP)
        guest.publish()
        for _ in range(16):
            guest.post(NOP)
        guest.publish()
        self.assertEqual(guest.qemu.reply(FATAL), DEV_ERR_GUEST)

    def test_unknown_opcodes(self):
        guest = self.guest()
        for opcode in list(range(LAST_OPCODE + 1, 48)) + [0xFFFF]:
            self.assertEqual(guest.command(opcode)[0], ST_UNSUPPORTED)

    def test_flags_and_the_rest_of_a_command_are_reserved(self):
        guest = self.guest()
        self.assertEqual(guest.command(NOP, flags=1)[0], ST_INVALID)
        for at in range(0, 248):
            self.assertEqual(guest.command(NOP, bytes(at) + b"\1")[0],
                             ST_INVALID)

    def test_doorbell_without_command(self):
        guest = self.guest()
        for _ in range(1000):
            guest.qemu.ring()
        self.assertEqual(guest.command(NOP)[0], ST_OK)


class Commands(GuestCase):
    # Below the ring ABI's own limit.
    options = ("--quota", "max-cqe=131072")

    def setUp(self):
        super().setUp()
        self.g = self.guest()

    def status(self, opcode, payload=b""):
        return self.g.command(opcode, payload)[0]

    def test_query_device(self):
        rsp = self.g.ok(QUERY_DEVICE)
        max_mr_size = struct.unpack_from("<Q", rsp)[0]
        self.assertEqual(max_mr_size, 64 << 30)
        self.assertTrue(rsp.rstrip(b"\0"))

    def test_query_port(self):
        self.g.ok(QUERY_PORT, struct.pack("<I", 1))
        for port in (0, 2, 0xFFFFFFFF):
            self.assertEqual(self.status(QUERY_PORT, struct.pack("<I", port)),
                             ST_INVALID)

    def test_stale_and_false_handles(self):
        handles = self.g.world()
        order = ((DESTROY_QP, "qp"), (DESTROY_CQ, "cq"), (DEREG_MR, "mr"),
                 (DEALLOC_PD, "pd"), (DEALLOC_CONTEXT, "context"),
                 (DESTROY_CEQ, "ceq"))
        for opcode, _ in order:
            for handle in (0, 1, 0xFFFFF, 0x7FFFFFFF, NO_HANDLE):
                self.assertEqual(self.g.destroy(opcode, handle), ST_INVALID)
        for opcode, name in order:
            self.assertEqual(self.status(opcode,
                                         struct.pack("<II", handles[name], 1)),
                             ST_INVALID)
            self.assertEqual(self.g.destroy(opcode, handles[name]), ST_OK)
            self.assertEqual(self.g.destroy(opcode, handles[name]), ST_INVALID)

    def test_what_is_in_use_stays(self):
        handles = self.g.world()
        for opcode, name in ((DESTROY_CQ, "cq"), (DEALLOC_PD, "pd"),
                             (DEALLOC_CONTEXT, "context"),
                             (DESTROY_CEQ, "ceq")):
            self.assertEqual(self.g.destroy(opcode, handles[name]), ST_BUSY)

    def test_context(self):
        page = self.g.alloc(GRANULE)
        self.assertEqual(self.status(ALLOC_CONTEXT, context_payload(page, 2)),
                         ST_VERSION)
        self.assertEqual(self.status(ALLOC_CONTEXT,
                                     context_payload(page, reserved=2)),
                         ST_INVALID)
        self.assertEqual(self.status(ALLOC_CONTEXT,
                                     context_payload(page + 8)), ST_INVALID)
        for bad in (8 << 20, 1 << 50, (1 << 64) - 4096):
            self.assertEqual(self.status(ALLOC_CONTEXT, context_payload(bad)),
                             ST_BAD_ADDRESS)

    def test_ceq(self):
        addr = self.g.alloc(GRANULE)
        for payload, status in (
                (struct.pack("<QII", addr, 4, 0), ST_INVALID),
                (struct.pack("<QII", addr, 4, 4), ST_INVALID),
                (struct.pack("<QII", addr, 18, 2), ST_INVALID),
                (struct.pack("<QII", addr, 0xFFFFFFFF, 2), ST_INVALID),
                (struct.pack("<QII", addr + 64, 4, 2), ST_INVALID),
                (struct.pack("<QII", 1 << 40, 4, 2), ST_BAD_ADDRESS),
                (struct.pack("<QII", (8 << 20) - 4096, 17, 2),
                 ST_BAD_ADDRESS)):
            self.assertEqual(self.status(CREATE_CEQ, payload), status)

    def test_mr_arguments(self):
        g = self.g
        pd = g.pd(g.context())
        at = g.alloc(4 * GRANULE)
        whole = [(at, 4 * GRANULE)]

        def status(*args, **kwargs):
            return self.status(REG_MR, mr_payload(*args, **kwargs))

        self.assertEqual(status(pd, whole, 4 * GRANULE, 0xF), ST_OK)
        self.assertEqual(status(0, whole, GRANULE), ST_INVALID)
        for access in (2, 8, 0x21, 0x41, 0x81, 0x101, 0x80000001):
            self.assertEqual(status(pd, whole, GRANULE, access), ST_INVALID)
        # Hints are dropped.
        self.assertEqual(status(pd, whole, GRANULE, 0x100001), ST_OK)
        self.assertEqual(status(pd, whole, 0), ST_INVALID)
        self.assertEqual(status(pd, whole, 4 * GRANULE + 1), ST_INVALID)
        self.assertEqual(status(pd, whole, 4 * GRANULE, iova=1, offset=1),
                         ST_INVALID)
        # As the engine likes; this one does not mind.
        self.assertEqual(status(pd, whole, GRANULE, iova=1, offset=0), ST_OK)
        self.assertEqual(status(pd, whole, GRANULE, iova=(1 << 64) - 4096),
                         ST_INVALID)
        self.assertEqual(status(pd, whole, GRANULE, offset=(1 << 64) - 4096),
                         ST_INVALID)
        self.assertEqual(status(pd, whole, (1 << 64) - 1, offset=4096),
                         ST_INVALID)

    def test_mr_extents(self):
        g = self.g
        pd = g.pd(g.context())
        at = g.alloc(8 * GRANULE)

        def status(extents, **kwargs):
            payload = struct.pack("<IIQQQ", pd, 1, 0, GRANULE, 0) + \
                mem_list(extents, **kwargs)
            return self.status(REG_MR, payload)

        self.assertEqual(status([(at, GRANULE)] * 4), ST_OK)
        self.assertEqual(status([], length=GRANULE, num=0), ST_INVALID)
        self.assertEqual(status([(at, GRANULE)], reserved=1), ST_INVALID)
        self.assertEqual(status([(at + 1, GRANULE)]), ST_INVALID)
        self.assertEqual(status([(at, GRANULE + 1)]), ST_INVALID)
        self.assertEqual(status([(at, 0), (at, GRANULE)]), ST_INVALID)
        self.assertEqual(status([(at, GRANULE)], chunk=at), ST_INVALID)
        # The sum is checked, both ways.
        self.assertEqual(status([(at, GRANULE)], length=2 * GRANULE),
                         ST_INVALID)
        self.assertEqual(status([(at, 2 * GRANULE)], length=GRANULE),
                         ST_INVALID)
        self.assertEqual(status([((1 << 64) - GRANULE, 2 * GRANULE)]),
                         ST_INVALID)
        self.assertEqual(status([(at, (1 << 64) - GRANULE), (at, 2 * GRANULE)],
                                length=GRANULE), ST_INVALID)
        self.assertEqual(status([(1 << 40, GRANULE)]), ST_BAD_ADDRESS)
        self.assertEqual(status([((8 << 20) - GRANULE, 2 * GRANULE)]),
                         ST_BAD_ADDRESS)
        self.assertEqual(status([(at, GRANULE)], num=0xFFFFFFFF,
                                length=GRANULE), ST_INVALID)

    def chunk(self, at, extents, following=0, reserved=0):
        data = struct.pack("<QQ", following, reserved) + b"".join(
            struct.pack("<QQ", addr, size) for addr, size in extents)
        self.g.write(at, data.ljust(GRANULE, b"\0"))

    def test_chunks(self):
        g = self.g
        pd = g.pd(g.context())
        page = g.alloc(GRANULE)
        first, second = g.alloc(GRANULE), g.alloc(GRANULE)
        length = 300 * GRANULE

        def status(num=300, chunk=first, length=length):
            payload = struct.pack("<IIQQQ", pd, 1, 0, GRANULE, 0) + \
                mem_list([], num=num, chunk=chunk, length=length)
            return self.status(REG_MR, payload)

        self.chunk(first, [(page, GRANULE)] * 255, second)
        self.chunk(second, [(page, GRANULE)] * 45)
        self.assertEqual(status(), ST_OK)
        self.assertEqual(status(chunk=first + 8), ST_INVALID)
        self.assertEqual(status(chunk=1 << 40), ST_BAD_ADDRESS)
        self.assertEqual(status(chunk=0), ST_INVALID)
        # More or fewer chunks than the count says.
        self.assertEqual(status(num=255, length=255 * GRANULE), ST_INVALID)
        self.assertEqual(status(num=600, length=600 * GRANULE), ST_INVALID)
        self.chunk(first, [(page, GRANULE)] * 255, second, 1)
        self.assertEqual(status(), ST_INVALID)
        self.chunk(first, [(page, GRANULE)] * 255, second + 1)
        self.assertEqual(status(), ST_INVALID)

    def test_chunk_that_follows_itself(self):
        g = self.g
        pd = g.pd(g.context())
        page, loop = g.alloc(GRANULE), g.alloc(GRANULE)
        self.chunk(loop, [(page, GRANULE)] * 255, loop)
        for num in (256, 5000, 100000):
            payload = struct.pack("<IIQQQ", pd, 1, 0, GRANULE, 0) + \
                mem_list([], num=num, chunk=loop, length=num * GRANULE)
            self.assertEqual(self.status(REG_MR, payload), ST_INVALID)
        # The quota on bytes bounds what a loop can make us do.
        num = 0xFFFFFFFF
        payload = struct.pack("<IIQQQ", pd, 1, 0, GRANULE, 0) + \
            mem_list([], num=num, chunk=loop, length=num * GRANULE)
        self.assertEqual(self.status(REG_MR, payload), ST_QUOTA)

    def test_cq(self):
        g = self.g
        ceq, context = g.ceq(), g.context()
        at = g.alloc(4 * GRANULE)
        ram = [(at, 4 * GRANULE)]

        def status(*args, **kwargs):
            return self.status(CREATE_CQ, cq_payload(*args, **kwargs))

        self.assertEqual(status(0, ceq, 4, ram), ST_INVALID)
        self.assertEqual(status(context, 0, 4, ram), ST_INVALID)
        self.assertEqual(status(context, context, 4, ram, flags=2), ST_INVALID)
        self.assertEqual(status(context, ceq, 9, ram), ST_INVALID)
        self.assertEqual(status(context, ceq, 18, ram), ST_QUOTA)
        self.assertEqual(status(context, ceq, 21, ram), ST_INVALID)
        self.assertEqual(status(context, ceq, 0xFFFFFFFF, ram), ST_INVALID)
        self.assertEqual(status(context, ceq, 0, [(at, 64 * GRANULE)]),
                         ST_INVALID)
        self.assertEqual(status(context, ceq, 0, ram), ST_OK)

    def test_qp(self):
        g = self.g
        h = g.world()
        other = g.world()
        at = g.alloc(2 * GRANULE)
        ram = [(at, 2 * GRANULE)]

        def status(context=h["context"], pd=h["pd"], scq=h["cq"], rcq=h["cq"],
                   extents=ram, **kwargs):
            return self.status(CREATE_QP, qp_payload(context, pd, scq, rcq,
                                                     extents, **kwargs))

        self.assertEqual(status(), ST_OK)
        for change in (
                dict(context=0), dict(pd=0), dict(scq=0), dict(rcq=0),
                dict(context=other["context"]), dict(pd=other["pd"]),
                dict(scq=other["cq"]), dict(rcq=other["cq"]),
                dict(srq=0), dict(kind=0), dict(kind=5), dict(kind=8),
                dict(flags=4), dict(reserved=1),
                dict(sq=(16, 6)), dict(sq=(4, 13)), dict(sq=(4, 5)),
                dict(sq=(255, 255)), dict(rq=(4, 4)), dict(rq=(31, 31)),
                dict(sq_offset=0), dict(sq_offset=4128), dict(rq_offset=128),
                dict(sq_offset=7424), dict(sq_offset=0xFFFFFFC0),
                dict(sq_offset=256), dict(rq_offset=4096),
                dict(cap=(17, 16, 1, 1, 0)), dict(cap=(16, 17, 1, 1, 0)),
                dict(cap=(16, 16, 3, 1, 0)), dict(cap=(16, 16, 1, 2, 0)),
                dict(cap=(16, 16, 1, 1, 33)),
                dict(cap=(0xFFFFFFFF, 16, 1, 1, 0)),
                dict(cap=(16, 16, 0xFFFFFFFF, 1, 0)),
                dict(cap=(16, 16, 1, 1, 0xFFFFFFFF)),
                dict(cap=(0, 16, 0, 1, 0)), dict(cap=(16, 0, 1, 0, 0)),
                dict(extents=[(at, GRANULE)]),
                dict(extents=[(at, 64 * GRANULE)])):
            with self.subTest(change):
                self.assertEqual(status(**change), ST_INVALID)
        self.assertEqual(status(flags=2), ST_INVALID)
        self.assertEqual(status(extents=[(1 << 40, 2 * GRANULE)]),
                         ST_BAD_ADDRESS)

    def test_slots_and_completions_are_given_back(self):
        g = self.g
        h = g.world()
        for _ in range(300):
            qp = g.create(CREATE_QP, qp_payload(h["context"], h["pd"], h["cq"],
                                                h["cq"], [(g.sq, 8192)]))
            self.assertEqual(g.destroy(DESTROY_QP, qp), ST_OK)

    def test_modify_qp(self):
        g = self.g
        qp = g.world()["qp"]

        def status(mask, handle=qp, at=None, value=0):
            attr = bytearray(128)
            if at is not None:
                attr[at] = value
            return self.status(MODIFY_QP,
                               struct.pack("<II", handle, mask) + bytes(attr))

        self.assertEqual(status(1, handle=0), ST_INVALID)
        self.assertEqual(status(1 << 19), ST_INVALID)      # IBV_QP_CAP
        self.assertEqual(status(0x80000000), ST_INVALID)
        self.assertEqual(status(1 << 14), ST_UNSUPPORTED)  # alternate path
        self.assertEqual(status(1, at=0, value=7), ST_INVALID)
        self.assertEqual(status(1 << 5, at=33, value=2), ST_INVALID)
        self.assertEqual(status(1 << 8, at=2, value=6), ST_INVALID)
        self.assertEqual(status(1 << 7), ST_INVALID)       # an AV of zeros
        self.assertEqual(status(1, at=39, value=1), ST_INVALID)

    def test_query_qp(self):
        g = self.g
        qp = g.world()["qp"]
        self.assertEqual(self.status(QUERY_QP, struct.pack("<II", qp, 1)),
                         ST_OK)
        self.assertEqual(self.status(QUERY_QP,
                                     struct.pack("<II", qp, 1 << 31)),
                         ST_INVALID)
        self.assertEqual(self.status(QUERY_QP, struct.pack("<II", 0, 1)),
                         ST_INVALID)

    def test_gids(self):
        def status(*args, **kwargs):
            return self.status(ADD_GID, gid_payload(*args, **kwargs))

        gid = v4(10, 0, 0, 1)
        self.assertEqual(status(gid), ST_OK)
        self.assertEqual(status(gid), ST_INVALID)              # index in use
        self.assertEqual(status(gid, index=1), ST_INVALID)     # twice
        other = v4(10, 0, 0, 2)
        for change in (dict(index=256), dict(index=NO_HANDLE), dict(port=0),
                       dict(port=2), dict(kind=0), dict(kind=2), dict(vlan=1),
                       dict(reserved=1)):
            self.assertEqual(status(other, **{"index": 1, **change}),
                             ST_INVALID)
        self.assertEqual(status(bytes(16), index=1), ST_INVALID)
        self.assertEqual(status(b"\xff\x02" + bytes(14), index=1), ST_INVALID)
        self.assertEqual(status(other, index=64), ST_QUOTA)
        for index, port in ((1, 1), (256, 1), (0, 2), (NO_HANDLE, 1)):
            self.assertEqual(self.status(DEL_GID,
                                         struct.pack("<II", index, port)),
                             ST_INVALID)
        self.assertEqual(self.status(DEL_GID, struct.pack("<II", 0, 1)), ST_OK)
        self.assertEqual(status(gid, index=1), ST_OK)

    def test_gids_of_vlans(self):
        g = self.guest(name=b"vlans", driver_features=FEATURE_VLAN)

        def status(*args, **kwargs):
            return g.command(ADD_GID, gid_payload(*args, **kwargs))[0]

        gid = v4(10, 0, 1, 1)
        self.assertEqual(status(gid), ST_OK)
        self.assertEqual(status(gid, index=1, vlan=7), ST_OK)
        self.assertEqual(status(gid, index=2, vlan=7), ST_INVALID)
        self.assertEqual(status(gid, index=2, vlan=4095), ST_OK)
        self.assertEqual(status(gid, index=3, vlan=4096), ST_INVALID)
        other = self.guest(name=b"other")
        for index in (1, 0, 2):
            self.assertEqual(other.command(ADD_GID, gid_payload(gid))[0],
                             ST_IN_USE)
            g.ok(DEL_GID, struct.pack("<II", index, 1))
        self.assertEqual(other.command(ADD_GID, gid_payload(gid))[0], ST_OK)

    def test_an_address_belongs_to_one_vm_until_it_goes(self):
        gid = v4(10, 0, 0, 9)
        other = self.guest(name=b"other")
        self.g.ok(ADD_GID, gid_payload(gid))
        self.assertEqual(other.command(ADD_GID, gid_payload(gid))[0],
                         ST_IN_USE)
        self.assertEqual(self.g.qemu.reset(), 0)
        self.assertEqual(other.command(ADD_GID, gid_payload(gid))[0], ST_OK)


class Quota(GuestCase):
    config = """
[quota]
contexts=2
pds=2
mrs=2
cqs=2
qps=2
gids=1
max-wr=16
max-cqe=32
pinned-bytes=64K

[vm big]
qps=3
mac=02:00:00:00:00:aa
addresses=10.1.0.0/16, fd00::1

[vm twin]
mac=02:00:00:00:00:aa

[vm 12345678-1234-1234-1234-1234567890AB]
mac=02:00:00:00:00:bb
"""

    def test_each_ends_and_says_which(self):
        g = self.guest(name=b"small")
        h, other = g.world(), g.world()
        self.assertNotEqual(h, other)
        page = g.alloc(8 * GRANULE)
        for opcode, payload, key in (
                (ALLOC_CONTEXT, context_payload(page), "contexts"),
                (ALLOC_PD, struct.pack("<II", h["context"], 0), "pds"),
                (REG_MR, mr_payload(h["pd"], [(page, GRANULE)], GRANULE),
                 "mrs"),
                (CREATE_CQ, cq_payload(h["context"], h["ceq"], 5,
                                       [(page, 2 * GRANULE)]), "cqs"),
                (CREATE_CQ, cq_payload(h["context"], h["ceq"], 6,
                                       [(page, 2 * GRANULE)]), "max-cqe"),
                (CREATE_QP, qp_payload(h["context"], h["pd"], h["cq"], h["cq"],
                                       [(page, 2 * GRANULE)]), "qps"),
                (CREATE_QP, qp_payload(h["context"], h["pd"], h["cq"], h["cq"],
                                       [(page, 8 * GRANULE)],
                                       cap=(17, 16, 1, 1, 0), sq=(5, 6)),
                 "max-wr"),
                (ADD_GID, gid_payload(v4(1, 2, 3, 4), index=1), "gids")):
            with self.subTest(key):
                self.assertEqual(g.command(opcode, payload)[0], ST_QUOTA)

        def told():
            # This class has connected often: the VM begins without lines of its own, and gets them with time.
            self.assertEqual(g.command(ALLOC_CONTEXT, context_payload(page))[0], ST_QUOTA)
            return "quota of contexts=2" in self.daemon.log()
        wait_for(told, "a line of the log")

    def test_pinned_bytes_end_and_come_back(self):
        g = self.guest(name=b"small")
        pd = g.pd(g.context())
        mr = g.mr(pd, 64 << 10)
        page = g.alloc(GRANULE)
        payload = mr_payload(pd, [(page, GRANULE)], 1)
        self.assertEqual(g.command(REG_MR, payload)[0], ST_QUOTA)
        self.assertEqual(self.daemon.totals()["pinned_bytes"], 64 << 10)
        self.assertEqual(g.destroy(DEREG_MR, mr), ST_OK)
        self.assertEqual(g.command(REG_MR, payload)[0], ST_OK)
        self.assertEqual(self.daemon.totals()["pinned_bytes"], GRANULE)

    def test_a_vms_own_group(self):
        g = self.guest(name=b"big")
        rsp = g.ok(QUERY_DEVICE)
        self.assertIn(bytes.fromhex("0200000000aa"), rsp)
        self.assertEqual(g.command(ADD_GID, gid_payload(v4(10, 2, 0, 1)))[0],
                         ST_DENIED)
        self.assertEqual(g.command(ADD_GID, gid_payload(v4(10, 1, 0, 1)))[0],
                         ST_OK)

    def test_a_vms_group_by_uuid_wins_over_its_name(self):
        g = self.guest(name=b"big", uuid=bytes.fromhex(
            "123456781234123412341234567890ab"))
        self.assertIn(bytes.fromhex("0200000000bb"), g.ok(QUERY_DEVICE))

    def test_wishes_for_the_same_mac(self):
        mac = bytes.fromhex("020000000077")
        first = self.guest(name=b"first", mac=mac)
        second = self.guest(name=b"second", mac=mac)
        self.assertIn(mac, first.ok(QUERY_DEVICE))
        self.assertNotIn(mac, second.ok(QUERY_DEVICE))

    def test_two_vms_with_the_same_mac_in_their_groups(self):
        first = self.guest(name=b"big")
        second = self.guest(name=b"twin", bring_up=False)
        second.prepare()
        self.assertEqual(second.qemu.enable(second.area), DEV_ERR_HOST)
        self.assertIn("MAC", second.message())
        self.assertEqual(first.command(NOP)[0], ST_OK)


class Pair(GuestCase):
    config = """
[vm set]
mac=02:00:00:00:00:cc
pair=true

[vm unset]
pair=false

[vm nameless]
pair=true
"""
    mac = bytes.fromhex("020000000078")

    def test_the_driver_is_told(self):
        guest = self.guest(mac=self.mac, features=LINK_PAIR,
                           driver_features=FEATURE_PAIR)
        self.assertEqual(guest.qemu.features, LINK_PAIR)
        self.assertEqual(guest.features(), FEATURE_PAIR)
        self.assertIn(self.mac, guest.ok(QUERY_DEVICE))

    def test_settings_pair_without_qemus_wish(self):
        guest = self.guest(name=b"set", driver_features=FEATURE_PAIR)
        self.assertEqual(guest.features(), FEATURE_PAIR)
        self.assertIn(bytes.fromhex("0200000000cc"), guest.ok(QUERY_DEVICE))

    def test_settings_win_over_qemus_wish(self):
        guest = self.guest(name=b"unset", mac=self.mac, features=LINK_PAIR,
                           driver_features=FEATURE_PAIR)
        self.assertEqual(guest.features(), 0)

    def assert_refused(self, error, text, driver_features, **kwargs):
        guest = self.guest(bring_up=False, **kwargs)
        guest.prepare(features=driver_features)
        self.assertEqual(guest.qemu.enable(guest.area), error)
        self.assertIn(text, guest.message())

    def test_a_driver_that_cannot_pair_is_refused(self):
        self.assert_refused(DEV_ERR_VERSION, "paired", 0, name=b"set")

    def test_without_a_mac_there_is_nothing_to_pair_with(self):
        self.assert_refused(DEV_ERR_HOST, "MAC", FEATURE_PAIR,
                            name=b"nameless")

    def test_two_vms_with_one_mac(self):
        self.guest(name=b"set", driver_features=FEATURE_PAIR)
        self.assert_refused(DEV_ERR_HOST, "MAC", FEATURE_PAIR,
                            mac=bytes.fromhex("0200000000cc"),
                            features=LINK_PAIR)


if __name__ == "__main__":
    unittest.main()
