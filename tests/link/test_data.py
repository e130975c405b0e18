# SPDX-License-Identifier: GPL-2.0-or-later
"""The data path between two guests, byte by byte as the ring ABI has it, and
with garbage in the rings."""
import os
import random
import struct
import unittest

from case import DaemonCase
from pvhca import *

SEED = int(os.environ.get("PVHCA_SEED", "1"))
ROUNDS = int(os.environ.get("PVHCA_ROUNDS", "400"))
IOVA = 0x10000
SEND, SEND_IMM, SEND_INV, WRITE, WRITE_IMM, READ, CMP_SWP, FETCH_ADD = range(8)
CQE_SEND, CQE_WRITE, CQE_READ, CQE_RECV = 0, 1, 2, 16
INLINE = 9


class Pair(DaemonCase):
    def setUp(self):
        super().setUp()
        self.a, self.qa = self.make(1)
        self.b, self.qb = self.make(2)
        self.a.connect(self.qa, self.qb.qpn, v4(10, 0, 0, 2))
        self.b.connect(self.qb, self.qa.qpn, v4(10, 0, 0, 1))

    def make(self, number):
        guest = Guest(self.daemon, name=b"guest%d" % number)
        self.addCleanup(guest.close)
        guest.ok(ADD_GID, gid_payload(v4(10, 0, 0, number)))
        return guest, guest.rc_qp()


class Work(Pair):
    def send(self, wqe, opcode, length=None):
        self.a.post_send(self.qa, wqe)
        qpn, got, cqe, status, index = self.a.poll_cq(self.qa)
        self.assertEqual((qpn, cqe, status, index),
                         (self.qa.qpn, opcode, 0, (self.qa.sq_pi - 1) % 16))
        if length is not None:
            self.assertEqual(got, length)

    def test_send_arrives_where_it_was_awaited(self):
        for i in range(100):
            text = b"message %d" % i
            self.a.write(self.qa.data, text)
            self.b.post_recv(self.qb, sge(IOVA + 8192, 4096, self.qb.lkey))
            self.send(sq_wqe(SEND, [sge(IOVA, len(text), self.qa.lkey)]),
                      CQE_SEND)
            qpn, length, opcode, status, index = self.b.poll_cq(self.qb)
            self.assertEqual((qpn, length, opcode, status, index),
                             (self.qb.qpn, len(text), CQE_RECV, 0, i % 16))
            self.assertEqual(self.b.read(self.qb.data + 8192, len(text)), text)

    def test_write_and_read(self):
        data = random.Random(SEED).randbytes(65536)
        self.a.write(self.qa.data, data)
        self.send(sq_wqe(WRITE, [sge(IOVA, 65536, self.qa.lkey)],
                         self.qb.rkey, IOVA), CQE_WRITE)
        self.assertEqual(self.b.read(self.qb.data, 65536), data)
        self.b.write(self.qb.data, data[::-1])
        self.send(sq_wqe(READ, [sge(IOVA, 65536, self.qa.lkey)],
                         self.qb.rkey, IOVA), CQE_READ, 65536)
        self.assertEqual(self.a.read(self.qa.data, 65536), data[::-1])

    def test_a_cq_has_room_for_what_was_posted_before_it_shrinks(self):
        at = self.a.alloc(GRANULE)
        self.a.write(at, bytes(GRANULE))
        # Not rung for: the worker sleeps, and finds it when asked to look.
        for _ in range(6):
            self.a.post_send(self.qa, sq_wqe(WRITE, [sge(IOVA, 8, self.qa.lkey)],
                                             self.qb.rkey, IOVA), ring=False)
        for log_entries, want in ((1, ST_INVALID), (3, ST_OK)):
            self.assertEqual(self.a.command(RESIZE_CQ, resize_payload(
                self.qa.cq, log_entries, [(at, GRANULE)]))[0], want)

    def assert_fails(self, wqe):
        self.b.write(self.qb.data, bytes(65536))
        self.a.post_send(self.qa, wqe)
        self.assertNotEqual(self.a.poll_cq(self.qa)[3], 0)
        self.assertEqual(self.b.read(self.qb.data, 65536), bytes(65536))

    def test_key_of_nobody(self):
        self.assert_fails(sq_wqe(WRITE, [sge(IOVA, 64, self.qa.lkey)],
                                 0x12345678, IOVA))

    def test_beyond_the_region(self):
        self.assert_fails(sq_wqe(WRITE, [sge(IOVA, 64, self.qa.lkey)],
                                 self.qb.rkey, IOVA + 65536 - 63))

    def test_before_the_region(self):
        self.assert_fails(sq_wqe(WRITE, [sge(IOVA, 64, self.qa.lkey)],
                                 self.qb.rkey, IOVA - 1))

    def test_address_that_wraps(self):
        self.assert_fails(sq_wqe(WRITE, [sge(IOVA, 64, self.qa.lkey)],
                                 self.qb.rkey, (1 << 64) - 32))

    def test_local_key_of_another_guest(self):
        self.assert_fails(sq_wqe(WRITE, [sge(IOVA, 64, self.qb.lkey)],
                                 self.qb.rkey, IOVA)
                          if self.qa.lkey != self.qb.lkey else
                          sq_wqe(WRITE, [sge(IOVA, 64, 0)], self.qb.rkey,
                                 IOVA))

    def test_unknown_opcode(self):
        self.assert_fails(sq_wqe(200, [sge(IOVA, 64, self.qa.lkey)],
                                 self.qb.rkey, IOVA))

    def test_more_sges_than_the_entry_holds(self):
        wqe = bytearray(sq_wqe(WRITE, [sge(IOVA, 64, self.qa.lkey)],
                               self.qb.rkey, IOVA))
        wqe[2:4] = b"\xff\xff"
        self.assert_fails(bytes(wqe))

    def test_more_inline_than_the_entry_holds(self):
        self.assert_fails(sq_wqe(WRITE, [], self.qb.rkey, IOVA, INLINE, 4096))

    def test_producer_index_that_jumps(self):
        self.a.write(self.qa.ring_at, struct.pack("<I", 0x7FFFFFFF))
        self.a.mark(self.qa)
        self.assertEqual(self.b.command(NOP)[0], ST_OK)


class Garbage(Pair):
    def setUp(self):
        super().setUp()
        self.rng = random.Random("%s %d" % (self.id(), SEED))

    def wqe(self):
        """What is right, but for a field or two or three."""
        rng = self.rng
        fields = dict(opcode=rng.choice((SEND, WRITE, READ)), flags=1,
                      length=rng.choice((0, 1, 64, 4096, 65536)), inline=0,
                      addr=IOVA, remote=IOVA, lkey=self.qa.lkey,
                      rkey=self.qb.rkey)
        wrong = dict(
            opcode=lambda: rng.randrange(12),
            flags=lambda: rng.randrange(32),
            length=lambda: rng.choice((65537, 1 << 31, 0xFFFFFFFF)),
            inline=lambda: rng.choice((16, 32, 33, 0xFFFFFFFF)),
            addr=lambda: rng.choice((IOVA + 65535, (1 << 64) - 1)),
            remote=lambda: rng.choice((IOVA + 65535, (1 << 64) - 1)),
            lkey=lambda: rng.choice((self.qb.lkey, rng.getrandbits(32))),
            rkey=lambda: rng.choice((self.qa.rkey, rng.getrandbits(32))))
        for _ in range(rng.randrange(4)):
            name = rng.choice(sorted(wrong))
            fields[name] = wrong[name]()
        wqe = bytearray(sq_wqe(
            fields["opcode"],
            [sge(fields["addr"], fields["length"], fields["lkey"])],
            fields["rkey"], fields["remote"], fields["flags"],
            fields["inline"]))
        if rng.random() < 0.2:
            wqe[rng.randrange(48)] = rng.randrange(256)
        return bytes(wqe)

    def take(self, guest, q, seconds=0.0):
        """Status of the next completion; None if none comes in time."""
        try:
            return guest.poll_cq(q, seconds)[3]
        except AssertionError:
            return None

    def again(self):
        """Both QPs back to RTS, as an application would."""
        for guest, q in ((self.a, self.qa), (self.b, self.qb)):
            guest.ok(MODIFY_QP, struct.pack("<II", q.handle, 1) + bytes(128))
            q.sq_pi = q.rq_pi = 0
            guest.write(q.ring_at, bytes(4))
            guest.write(q.ring_at + 64, bytes(4))
            while self.take(guest, q) is not None:
                pass
        self.a.connect(self.qa, self.qb.qpn, v4(10, 0, 0, 2))
        self.b.connect(self.qb, self.qa.qpn, v4(10, 0, 0, 1))

    def test_entries_that_are_nearly_right(self):
        seen = {}
        for i in range(ROUNDS):
            self.b.post_recv(self.qb, sge(IOVA, 65536, self.qb.lkey))
            self.a.post_send(self.qa, self.wqe())
            status = self.take(self.a, self.qa, 0.01)
            seen[status] = seen.get(status, 0) + 1
            # After an error; and before the queues, which take 16, are full.
            if status or i % 10 == 9:
                self.again()
        # It got past the first check, one way and the other.
        self.assertGreater(seen.get(0, 0), ROUNDS // 10, seen)
        self.assertGreater(len(seen), 3, seen)

    def test_rings_scribbled_over_while_they_are_served(self):
        for _ in range(ROUNDS):
            for guest, q in ((self.a, self.qa), (self.b, self.qb)):
                at = self.rng.choice((q.ring_at, q.ring_at + 64,
                                      q.ring_at + 256, q.ring_at + 4096,
                                      q.page, q.page + 256, q.page + 512,
                                      q.cq_at, q.cq_at + 64))
                at += self.rng.randrange(0, 256, 4)
                guest.write(at, self.rng.randbytes(
                    self.rng.choice((4, 8, 64))))
                guest.mark(q)
        for guest in (self.a, self.b):
            self.assertEqual(guest.qemu.reset(), 0)


if __name__ == "__main__":
    unittest.main()
