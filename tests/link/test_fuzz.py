# SPDX-License-Identifier: GPL-2.0-or-later
"""Garbage in each place that a guest writes, from a seed: PVHCA_SEED, printed
by a failing test, and PVHCA_ROUNDS for longer runs."""
import os
import random
import struct
import unittest

from case import DaemonCase
from pvhca import *

SEED = int(os.environ.get("PVHCA_SEED", "1"))
ROUNDS = int(os.environ.get("PVHCA_ROUNDS", "400"))


class Fuzz(DaemonCase):
    def setUp(self):
        super().setUp()
        self.rng = random.Random("%s %d" % (self.id(), SEED))
        self.healthy = Guest(self.daemon, name=b"healthy")
        self.addCleanup(self.healthy.close)
        self.healthy.world()

    def value(self, bits):
        rng = self.rng
        kind = rng.randrange(4)
        if kind == 0:
            return rng.getrandbits(bits)
        if kind == 1:
            return rng.randrange(16)
        if kind == 2:
            return (1 << bits) - 1 - rng.randrange(2)
        return 1 << rng.randrange(bits)

    def assert_served(self):
        self.assertEqual(self.healthy.command(NOP)[0], ST_OK)

    def test_random_payload_for_each_opcode(self):
        guest = Guest(self.daemon)
        self.addCleanup(guest.close)
        for _ in range(ROUNDS):
            for opcode in range(LAST_OPCODE + 2):
                payload = b"".join(
                    struct.pack("<I", self.value(32))
                    for _ in range(self.rng.randrange(1, 62)))
                status, _ = guest.command(opcode, payload)
                self.assertLessEqual(status, 14)
        self.assert_served()

    def mutated(self, payload):
        """Right arguments with one or two fields that are not."""
        payload = bytearray(payload)
        for _ in range(self.rng.randrange(1, 3)):
            size = self.rng.choice((1, 2, 4, 8))
            at = self.rng.randrange(0, len(payload) - size + 1, size)
            payload[at:at + size] = self.value(8 * size).to_bytes(size,
                                                                  "little")
        return bytes(payload)

    def test_right_arguments_with_wrong_fields(self):
        guest = Guest(self.daemon, bring_up=False)
        self.addCleanup(guest.close)
        # Where a wrong bit or byte of an address below does not lead: pvhcad
        # writes where it is told, and a guest's queue is its own to spoil.
        guest.next_free = 0x300000
        guest.prepare()
        self.assertEqual(guest.qemu.enable(guest.area), 0)
        guest.next_free = 0x588000
        world = guest.world()
        at = guest.alloc(8 * GRANULE)
        ram = [(at, 2 * GRANULE)]
        chunk = guest.alloc(GRANULE)
        samples = (
            (CREATE_CEQ, struct.pack("<QII", at, 4, 2)),
            (ALLOC_CONTEXT, context_payload(at)),
            (ALLOC_PD, struct.pack("<II", world["context"], 0)),
            (REG_MR, mr_payload(world["pd"], ram, GRANULE, 7)),
            (REG_MR, mr_payload(world["pd"], [], GRANULE, 7, num=6,
                                chunk=chunk, mem_length=6 * GRANULE)),
            (CREATE_CQ, cq_payload(world["context"], world["ceq"], 5, ram)),
            (CREATE_QP, qp_payload(world["context"], world["pd"], world["cq"],
                                   world["cq"], ram)),
            (MODIFY_QP, struct.pack("<II", world["qp"], 1) + bytes(128)),
            (QUERY_QP, struct.pack("<II", world["qp"], 1)),
            (ADD_GID, gid_payload(v4(10, 9, 8, 7))),
            (DEL_GID, struct.pack("<II", 0, 1)))
        destroy = {CREATE_CEQ: DESTROY_CEQ, ALLOC_CONTEXT: DEALLOC_CONTEXT,
                   ALLOC_PD: DEALLOC_PD, REG_MR: DEREG_MR,
                   CREATE_CQ: DESTROY_CQ, CREATE_QP: DESTROY_QP}
        for _ in range(ROUNDS):
            for opcode, payload in samples:
                guest.write(chunk, self.mutated(struct.pack(
                    "<QQ", 0, 0) + struct.pack("<QQ", at, GRANULE) * 6))
                status, rsp = guest.command(opcode, self.mutated(payload))
                self.assertLessEqual(status, 14)
                if status == ST_OK and opcode in destroy and \
                        self.rng.random() < 0.9:
                    guest.destroy(destroy[opcode],
                                  struct.unpack_from("<I", rsp)[0])
        self.assert_served()

    def test_all_of_its_memory_is_scribbled_over(self):
        for _ in range(max(1, ROUNDS // 20)):
            guest = Guest(self.daemon, size=1 << 20)
            handles = guest.world()
            self.assertTrue(handles)
            end = guest.alloc(0)
            for _ in range(200):
                size = self.rng.choice((4, 8, 64, 4096))
                at = self.rng.randrange(0, end - size, 4)
                data = self.rng.randbytes(size) if self.rng.random() < 0.7 \
                    else self.value(32).to_bytes(4, "little")
                guest.write(at, data)
                guest.qemu.ring(self.rng.choice((ADMIN_DB, DATA_DB)), 0)
                guest.qemu.ring(DATA_DB, 1)
            guest.close()
            self.assert_served()

    def test_random_messages_after_hello(self):
        for _ in range(ROUNDS // 4):
            qemu = Qemu(self.daemon, name=b"fuzz")
            fd = os.memfd_create("guest")
            os.ftruncate(fd, 1 << 20)
            for _ in range(20):
                kind = self.rng.randrange(2, 8)
                fields = [self.value(64) if self.rng.random() < 0.3 else
                          self.rng.randrange(4) << 12 for _ in range(4)]
                size = {2: 16, 3: 32, 4: 32, 5: 16, 6: 8}.get(kind, 8)
                payload = struct.pack("<4Q", *fields)[:size]
                fds = [fd] * self.rng.choice((0, 1, 1, 2)) if kind in (2, 3) \
                    else []
                qemu.try_send(message(kind, payload), fds)
            os.close(fd)
            qemu.close()
        self.assert_served()

    def test_commands_race_with_reset_and_disconnect(self):
        for i in range(ROUNDS // 8):
            guest = Guest(self.daemon)
            world = guest.world()
            page = guest.alloc(8 * GRANULE)
            for _ in range(5):
                guest.post(CREATE_QP, qp_payload(
                    world["context"], world["pd"], world["cq"], world["cq"],
                    [(page, 2 * GRANULE)]))
                guest.post(REG_MR, mr_payload(world["pd"],
                                              [(page, 8 * GRANULE)], 4096))
            guest.publish()
            if i % 2:
                guest.qemu.reset()
            guest.close()
        self.assert_served()


if __name__ == "__main__":
    unittest.main()
