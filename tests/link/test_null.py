# SPDX-License-Identifier: GPL-2.0-or-later
"""The null fabric: objects as on any other, each request completes, nothing moves."""
import unittest

from case import DaemonCase
from pvhca import *

IOVA = 0x10000
SEND, WRITE, READ = 0, 3, 5
CQE_SEND, CQE_WRITE, CQE_READ = 0, 1, 2


class NullFabric(DaemonCase):
    options = ("--fabric", "null")

    def setUp(self):
        super().setUp()
        self.guest = Guest(self.daemon)
        self.addCleanup(self.guest.close)
        self.guest.ok(ADD_GID, gid_payload(v4(10, 0, 0, 1)))
        self.qp = self.guest.rc_qp()
        self.guest.connect(self.qp, self.qp.qpn, v4(10, 0, 0, 1))

    def test_posted_work_completes_and_moves_nothing(self):
        self.guest.write(self.qp.data, b"\x01" * 4096)
        self.guest.write(self.qp.data + 8192, b"\x02" * 4096)
        for i in range(100):
            opcode, cqe = ((SEND, CQE_SEND), (WRITE, CQE_WRITE), (READ, CQE_READ))[i % 3]
            self.guest.post_send(self.qp, sq_wqe(opcode, [sge(IOVA, 4096, self.qp.lkey)],
                                                 self.qp.rkey, IOVA + 8192))
            qpn, _, got, status, index = self.guest.poll_cq(self.qp)
            self.assertEqual((qpn, got, status, index), (self.qp.qpn, cqe, 0, i % 16))
        self.assertEqual(self.guest.read(self.qp.data, 4096), b"\x01" * 4096)
        self.assertEqual(self.guest.read(self.qp.data + 8192, 4096), b"\x02" * 4096)
        totals = self.daemon.totals()
        self.assertEqual(totals["payload_bytes_copied"], 0)

    def test_what_it_lacks_is_unsupported(self):
        status = self.guest.command(ALLOC_MW, struct.pack("<II", self.qp.pd, 1))[0]
        self.assertEqual(status, ST_UNSUPPORTED)

    def test_it_is_named_in_the_statistics(self):
        self.assertEqual(self.daemon.stats()["fabric"], "null")


if __name__ == "__main__":
    unittest.main()
