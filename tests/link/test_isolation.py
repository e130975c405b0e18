# SPDX-License-Identifier: GPL-2.0-or-later
"""What one guest does costs others on its worker little. Here it is counted; how long it takes is
measured by scripts/soak isolation."""
import struct
import unittest

from case import DaemonCase
from neighbour import *
from pvhca import *

FEW = 40                # queue pairs of an input
WRITES = 200


class Beside(DaemonCase):
    """A victim beside each input: it gets its turns, and so do its commands."""

    def setUp(self):
        super().setUp()
        self.victim = Neighbour(self.daemon, name=b"victim", gid=VICTIM_GID, size=16 << 20)
        self.addCleanup(self.victim.close)
        self.evil = Neighbour(self.daemon, size=64 << 20)
        self.addCleanup(self.evil.close)

    def write(self):
        q = self.victim.q
        self.victim.post_send(q, sq_wqe(WRITE, [sge(0x10000, 8, q.lkey)], q.rkey, 0x10000))
        self.assertEqual(self.victim.poll_cq(q)[3], 0)

    def beside(self, function):
        qps = function(self.evil, FEW)
        for _ in range(WRITES):
            self.write()
        for _ in range(10):
            self.victim.destroy(DEREG_MR, self.victim.mr(self.victim.q.pd))
            self.victim.qp(self.victim.q.context, self.victim.q.pd, self.victim.q.cq)
        self.evil.stop()
        # It is still served itself, and everything of it goes while it is under way.
        self.assertEqual(self.evil.command(NOP)[0], ST_OK)
        for qp in qps[:5]:
            self.evil.ok(MODIFY_QP, struct.pack("<II", qp.handle, STATE) + bytes(140))
        for qp in qps[3:8]:
            self.evil.destroy(DESTROY_QP, qp.handle)
        self.write()


def _add(function):
    def test(self):
        self.beside(function)
    test.__doc__ = function.__doc__
    setattr(Beside, f"test_{function.__name__}", test)


for _function in INPUTS:
    _add(_function)


class BesideOnAnotherWorker(Beside):
    options = ("--workers", "2")


class GracePeriods(DaemonCase):
    """Each waits for the end of a pass of every worker."""

    OBJECTS = 1000

    def guest(self):
        guest = Neighbour(self.daemon, size=64 << 20)
        self.addCleanup(guest.close)
        return guest

    def periods(self, function):
        before = self.daemon.stats()["grace_periods"]
        function()
        return self.daemon.stats()["grace_periods"] - before

    def fill(self, guest):
        """Some of each kind, in several contexts."""
        q, ceq = guest.q, guest.ceq()
        ring = guest.ring(b"")
        for _ in range(self.OBJECTS):
            guest.queue_pair(ring)
        for _ in range(100):
            guest.mr(q.pd)
            guest.ok(ALLOC_MW, struct.pack("<II", q.pd, 1))
            guest.create(CREATE_AH, ah_payload(q.pd, EVIL_GID))
            context = guest.context()
            guest.new_cq(context, ceq)
        for i in range(1, 20):
            guest.ok(ADD_GID, gid_payload(v4(10, 0, 1, i), index=i))

    def test_a_reset_waits_once_for_all_objects(self):
        guest = self.guest()
        self.fill(guest)
        self.assertEqual(self.periods(guest.qemu.reset), 1)

    def test_the_end_of_a_vm_waits_once_for_all_objects(self):
        guest = Neighbour(self.daemon, size=64 << 20)
        self.fill(guest)
        def end():
            guest.close()
            self.wait_idle()
        self.assertEqual(self.periods(end), 1)

    def test_the_end_of_one_object_waits_once(self):
        """For all workers together: its own VM's, and others that may come upon it."""
        guest = self.guest()
        q, ring, page = guest.q, guest.ring(b""), guest.alloc(GRANULE)
        kernel = guest.create(ALLOC_CONTEXT, struct.pack("<QHHI32s", page, 1, 0, CONTEXT_KERNEL, b""))
        kernel_pd = guest.pd(kernel)
        objects = {
            "queue pair": (DESTROY_QP, lambda: guest.queue_pair(ring).handle),
            "queue pair of datagrams": (DESTROY_QP, lambda: guest.queue_pair(ring, kind=UD).handle),
            "member of a group": (DESTROY_QP, lambda: self.member(guest, ring)),
            "shared receive queue": (DESTROY_SRQ, lambda: guest.create(CREATE_SRQ, srq_payload(
                q.context, q.pd, [(ring, 2 * GRANULE)]))),
            "region": (DEREG_MR, lambda: guest.mr(q.pd)),
            "region for fast registration": (DEREG_MR, lambda: guest.create(ALLOC_MR, struct.pack("<II", kernel_pd, 16))),
            "window": (DEALLOC_MW, lambda: guest.create(ALLOC_MW, struct.pack("<II", q.pd, 1))),
            "address handle": (DESTROY_AH, lambda: guest.create(CREATE_AH, ah_payload(q.pd, EVIL_GID))),
        }
        for name, (opcode, make) in objects.items():
            with self.subTest(name):
                handle = make()
                self.assertEqual(self.periods(lambda: self.assertEqual(guest.destroy(opcode, handle), ST_OK)), 1)

    def member(self, guest, ring):
        qp = guest.queue_pair(ring, kind=UD)
        guest.ok(ATTACH_MCAST, mcast_payload(bytes(10) + b"\xff\xff" + bytes([239, 9, 9, 9]), qp.handle))
        return qp.handle

    def test_a_reset_of_a_queue_pair_waits_for_none(self):
        guest = self.guest()
        qps = short(guest, 50)

        def reset():
            for qp in qps:
                guest.ok(MODIFY_QP, struct.pack("<II", qp.handle, STATE) + bytes(140))
        self.assertEqual(self.periods(reset), 0)


if __name__ == "__main__":
    unittest.main()
