# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks: VMs of different ones have the same addresses, and none sees the other."""
import struct
import subprocess
import types
import unittest

from case import DaemonCase
from pvhca import *

CONFIG = "[vm red]\nnetwork=red\nmac=02:00:00:00:00:05\naddresses=10.0.0.5\n" \
    "[vm red2]\nnetwork=red\n[vm blue]\nnetwork=blue\n[vm blue2]\nnetwork=blue\n" \
    "[vm plain]\nnetwork=default\n"
MAC = bytes.fromhex("020000000005")
GROUP = bytes.fromhex("ff0e") + bytes(13) + b"\x01"
IOVA = 0x10000
QKEY = 0x1234
GSI_QKEY = 0x80000000
LKEY_DMA = 0xFFFFFF00
SEND, WRITE = 0, 3
SIGNALED, AV = 1, 16
GRH, MAD = 40, 256
CQE_SEND, CQE_RECV = 0, 16
RETRY_EXC = 12


class Networks(DaemonCase):
    config = CONFIG

    def guest(self, name, **kwargs):
        guest = Guest(self.daemon, name=name, **kwargs)
        self.addCleanup(guest.close)
        return guest

    def four(self):
        """Two VMs in each of two networks, of the same two addresses."""
        guests = [self.guest(name) for name in (b"red", b"red2", b"blue", b"blue2")]
        for i, guest in enumerate(guests):
            guest.ok(ADD_GID, gid_payload(v4(10, 0, 0, 5 + i % 2)))
        return guests

    def datagrams(self, guest):
        """A UD queue pair with a receive, able to send."""
        q = guest.rc_qp(kind=UD)
        for state, mask in ((1, 0x71), (2, 1), (3, 1 | 1 << 16)):
            attr = struct.pack("<BBBBI", state, 0, 0, 0, QKEY).ljust(33, b"\0") + b"\1"
            guest.ok(MODIFY_QP, struct.pack("<II", q.handle, mask) + attr)
        guest.post_recv(q, sge(IOVA + GRANULE, GRANULE, q.lkey))
        return q

    def send_datagram(self, guest, q, ah, qpn):
        """Sent, and delivered or dropped, by the time this returns."""
        guest.write(q.data, b"datagram")
        guest.post_send(q, struct.pack("<BBHIIIIIQ", SEND, SIGNALED, 1, 0, 0, ah, qpn, QKEY, 0) +
                        sge(IOVA, 8, q.lkey))
        self.assertEqual(guest.poll_cq(q)[2:4], (CQE_SEND, 0))

    def has_datagram(self, guest, q):
        """Takes the datagram, and posts the next receive."""
        if bool(guest.read(q.cq_at + 128 + q.cq_ci % 64 * 32 + 31, 1)[0] & 0x80) == bool(q.cq_ci // 64 & 1):
            return False
        self.assertEqual(guest.poll_cq(q)[1:4], (GRH + 8, CQE_RECV, 0))
        guest.post_recv(q, sge(IOVA + GRANULE, GRANULE, q.lkey))
        return True

    def test_an_address_is_there_once_in_each(self):
        red, red2, blue, blue2 = self.four()
        for guest, address in ((red2, 5), (blue, 6), (blue2, 5)):
            self.assertEqual(guest.command(ADD_GID, gid_payload(v4(10, 0, 0, address), 1))[0],
                             ST_DENIED if guest is red2 else ST_IN_USE)
        plain = self.guest(b"plain")
        unlisted = self.guest(b"unlisted")
        self.assertEqual(plain.command(ADD_GID, gid_payload(v4(10, 0, 0, 5)))[0], ST_OK)
        self.assertEqual(unlisted.command(ADD_GID, gid_payload(v4(10, 0, 0, 5)))[0], ST_IN_USE)

    def test_a_mac_is_there_once_in_each(self):
        red = self.guest(b"red")
        same = self.guest(b"red2", mac=MAC)
        other = self.guest(b"blue", mac=MAC)
        self.assertEqual([MAC in guest.ok(QUERY_DEVICE) for guest in (red, same, other)],
                         [True, False, True])

    def test_connections_stay_in_theirs(self):
        red, red2, blue, blue2 = self.four()
        q, other = red.rc_qp(), blue2.rc_qp()
        red.connect(q, other.qpn, v4(10, 0, 0, 6))
        blue2.connect(other, q.qpn, v4(10, 0, 0, 5))
        red.write(q.data, b"secret")
        red.post_send(q, sq_wqe(WRITE, [sge(IOVA, 6, q.lkey)], other.rkey, IOVA))
        self.assertEqual(red.poll_cq(q)[3], RETRY_EXC)
        self.assertEqual(blue2.read(other.data, 6), bytes(6))
        # Likewise, in one network.
        q, own = red.rc_qp(), red2.rc_qp()
        red.connect(q, own.qpn, v4(10, 0, 0, 6))
        red2.connect(own, q.qpn, v4(10, 0, 0, 5))
        red.post_send(q, sq_wqe(WRITE, [sge(IOVA, 6, q.lkey)], other.rkey, IOVA))
        self.assertNotEqual(red.poll_cq(q)[3], 0)
        self.assertEqual(blue2.read(other.data, 6), bytes(6))

    def test_connections_within_one_are_as_ever(self):
        red, red2, blue, blue2 = self.four()
        for one, two in ((red, red2), (blue, blue2)):
            q, peer = one.rc_qp(), two.rc_qp()
            one.connect(q, peer.qpn, v4(10, 0, 0, 6))
            two.connect(peer, q.qpn, v4(10, 0, 0, 5))
            one.write(q.data, b"hello")
            one.post_send(q, sq_wqe(WRITE, [sge(IOVA, 5, q.lkey)], peer.rkey, IOVA))
            self.assertEqual(one.poll_cq(q)[3], 0)
            self.assertEqual(two.read(peer.data, 5), b"hello")

    def test_datagrams_stay_in_theirs(self):
        guests = self.four()
        qps = [self.datagrams(guest) for guest in guests]
        ah = guests[0].create(CREATE_AH, ah_payload(qps[0].pd, v4(10, 0, 0, 6)))
        # The number of a queue pair in another network, under the address that both networks have.
        self.send_datagram(guests[0], qps[0], ah, qps[3].qpn)
        self.assertFalse(self.has_datagram(guests[3], qps[3]))
        self.send_datagram(guests[0], qps[0], ah, qps[1].qpn)
        self.assertTrue(self.has_datagram(guests[1], qps[1]))

    def test_groups_stay_in_theirs(self):
        guests = self.four()
        qps = [self.datagrams(guest) for guest in guests]
        for guest, q in zip(guests, qps):
            guest.ok(ATTACH_MCAST, mcast_payload(GROUP, q.handle))
        for sender, receivers in ((0, (0, 1)), (3, (2, 3))):
            q = qps[sender]
            ah = guests[sender].create(CREATE_AH, ah_payload(q.pd, GROUP))
            guests[sender].write(q.data, b"datagram")
            guests[sender].post_send(
                q, struct.pack("<BBHIIIIIQ", SEND, SIGNALED, 1, 0, 0, ah, 0xFFFFFF, QKEY, 0) +
                sge(IOVA, 8, q.lkey))
            kinds = sorted(guests[sender].poll_cq(q)[2] for _ in range(2))
            self.assertEqual(kinds, [CQE_SEND, CQE_RECV])
            guests[sender].post_recv(q, sge(IOVA + GRANULE, GRANULE, q.lkey))
            for i, guest in enumerate(guests):
                if i != sender:
                    self.assertEqual(self.has_datagram(guest, qps[i]), i in receivers, i)

    def gsi(self, guest):
        """The driver's own queue pair 1, with a receive."""
        q = types.SimpleNamespace(page=guest.alloc(GRANULE))
        guest.write(q.page, bytes(GRANULE))
        q.context = guest.create(ALLOC_CONTEXT, struct.pack("<QHHI32s", q.page, 1, 0, CONTEXT_KERNEL, b""))
        q.cq_at = guest.alloc(2 * GRANULE)
        cq = guest.create(CREATE_CQ, cq_payload(q.context, guest.ceq(), 6, [(q.cq_at, 2 * GRANULE)]))
        q.ring_at = guest.alloc(2 * GRANULE)
        q.cq_ci = q.sq_pi = q.rq_pi = 0
        q.handle, q.qpn, q.slot, q.doorbell = struct.unpack_from("<4I", guest.ok(
            CREATE_QP, qp_payload(q.context, guest.pd(q.context), cq, cq, [(q.ring_at, 2 * GRANULE)],
                                  kind=GSI, sq=(4, 7))))
        for state, mask in ((1, 0x71), (2, 1), (3, 1 | 1 << 16)):
            attr = struct.pack("<BBBBI", state, 0, 0, 0, GSI_QKEY).ljust(33, b"\0") + b"\1"
            guest.ok(MODIFY_QP, struct.pack("<II", q.handle, mask) + attr)
        q.data = guest.alloc(2 * GRANULE)
        guest.post_recv(q, sge(q.data + GRANULE, GRANULE, LKEY_DMA))
        return q

    def test_connection_managers_stay_in_theirs(self):
        guests = self.four()
        qps = [self.gsi(guest) for guest in guests]
        red, q = guests[0], qps[0]
        red.write(q.data, bytes([1, 7, 2, 3]) + bytes(MAD - 4))
        red.write(q.ring_at + 4096, struct.pack("<BBHIIIIIQ", SEND, SIGNALED | AV, 1, 0, 0, 0, 1, GSI_QKEY, 0) +
                  av_payload(v4(10, 0, 0, 6)) + sge(q.data, MAD, LKEY_DMA))
        q.sq_pi = 1
        red.write(q.ring_at, struct.pack("<I", 1))
        red.mark(q)
        self.assertEqual(red.poll_cq(q)[2:4], (CQE_SEND, 0))
        self.assertEqual(guests[1].poll_cq(qps[1])[1:4], (GRH + MAD, CQE_RECV, 0))
        by_name = {session["name"]: session["mads_received"] for session in self.daemon.stats()["sessions"]}
        self.assertEqual((by_name["red2"], by_name["blue"], by_name["blue2"]), (1, 0, 0))

    def test_numbers_do_not_tell_those_of_others(self):
        """Neither queue pairs nor keys follow each other in steps."""
        guest = self.guest(b"red", size=16 << 20)
        world = guest.world()
        qpns, keys = [], []
        for _ in range(32):
            rings = [(guest.alloc(2 * GRANULE), 2 * GRANULE)]
            rsp = guest.ok(CREATE_QP, qp_payload(world["context"], world["pd"], world["cq"], world["cq"], rings))
            qpns.append(struct.unpack_from("<4I", rsp)[1])
            memory = [(guest.alloc(GRANULE), GRANULE)]
            keys.append(struct.unpack_from("<3I", guest.ok(REG_MR, mr_payload(world["pd"], memory, GRANULE)))[2] >> 8)
        for numbers in (qpns, keys):
            steps = [b - a for a, b in zip(numbers, numbers[1:])]
            self.assertEqual(len(set(numbers)), 32)
            # Two equal ones by chance: once in 30,000 runs.
            self.assertGreater(len(set(steps)), len(steps) - 2)

    def test_a_fabric_of_the_hosts_addresses_has_none(self):
        done = subprocess.run([self.daemon.program, "--config", self.daemon.config, "--fabric", "verbs",
                               "--check-config"], capture_output=True, text=True, timeout=PROGRAM_SECONDS)
        self.assertEqual(done.returncode, 2)
        self.assertIn("has no networks", done.stdout + done.stderr)

    def test_statistics_name_them(self):
        self.four()
        self.guest(b"unlisted")
        self.assertEqual({session["name"]: session["network"] for session in self.daemon.stats()["sessions"]},
                         {"red": "red", "red2": "red", "blue": "blue", "blue2": "blue", "unlisted": "default"})


if __name__ == "__main__":
    unittest.main()
