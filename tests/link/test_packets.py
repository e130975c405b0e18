# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets between guests, byte by byte as the ABI has them, and what a hostile guest may put in their rings."""
import ipaddress
import os
import random
import struct
import time
import types
import unittest

from case import DaemonCase
from pvhca import *

SEED = int(os.environ.get("PVHCA_SEED", "1"))
ROUNDS = int(os.environ.get("PVHCA_ROUNDS", "400"))
ENTRIES = 16
MTU = 4096
SEND, CQE_SEND, CQE_RECV = 0, 0, 16
SIGNALED, INLINE = 1, 8
PROT_ERR, LEN_ERR, OP_ERR, FLUSHED = 4, 1, 2, 5
F_VLAN = 8
UDP, ICMP, ICMPV6 = 17, 1, 58
TCP = 6
UNREACHABLE, PROHIBITED, TOO_BIG = "unreachable", "prohibited", "too big"


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ipv4(source, destination, payload=b"", protocol=UDP, fragment=0, length=None, ihl=5, version=4):
    head = struct.pack(">BBHHHBBH4s4s", version << 4 | ihl, 0, 20 + len(payload) if length is None else length, 1,
                       fragment, 64, protocol, 0, ipaddress.IPv4Address(source).packed,
                       ipaddress.IPv4Address(destination).packed)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ipv6(source, destination, payload=b"", protocol=UDP, length=None):
    return struct.pack(">IHBB16s16s", 6 << 28, len(payload) if length is None else length, protocol, 64,
                       ipaddress.IPv6Address(source).packed, ipaddress.IPv6Address(destination).packed) + payload


def gid(address):
    address = ipaddress.ip_address(address)
    return address.packed if address.version == 6 else v4(*address.packed)


class Port:
    """A guest with a queue pair for packets, and so many receives."""

    receives = ENTRIES

    def __init__(self, case, number, addresses, features=UNORDERED | FEATURE_NET | FEATURE_VLAN, vlan=0xffff,
                 **kwargs):
        self.guest = Guest(case.daemon, driver_features=features, **kwargs)
        self.open = True
        case.addCleanup(self.close)
        for index, address in enumerate(addresses):
            self.guest.ok(ADD_GID, gid_payload(gid(address), index, vlan=vlan))
        self.q = self.make()

    def close(self):
        if self.open:
            self.guest.close()
        self.open = False

    def make(self):
        guest = self.guest
        q = types.SimpleNamespace(guest=guest, page=guest.alloc(GRANULE), ring_at=guest.alloc(2 * GRANULE),
                                  cq_at=guest.alloc(2 * GRANULE), cq_ci=0, sq_pi=0, rq_pi=0)
        guest.write(q.page, bytes(GRANULE))
        q.context = guest.create(ALLOC_CONTEXT, context_payload(q.page, reserved=CONTEXT_KERNEL))
        q.pd = guest.pd(q.context)
        q.cq = guest.create(CREATE_CQ, cq_payload(q.context, guest.ceq(), 6, [(q.cq_at, 2 * GRANULE)]))
        rsp = guest.ok(CREATE_QP, self.payload(q))
        q.handle, q.qpn, q.slot, q.doorbell = struct.unpack_from("<4I", rsp)
        q.data = guest.alloc(64 << 10)
        q.buffers = guest.alloc(self.receives * MTU)
        return q

    def payload(self, q, kind=NET, **kwargs):
        return qp_payload(q.context, q.pd, q.cq, q.cq, [(q.ring_at, 2 * GRANULE)], kind=kind,
                          cap=(ENTRIES, self.receives, 2, 1, 0), rq=(self.receives.bit_length() - 1, 5), **kwargs)

    def receive(self, count=None, length=MTU, key=0xffffff00, at=None):
        """Post receives; no doorbell is rung."""
        for _ in range(self.receives if count is None else count):
            index = self.q.rq_pi % self.receives
            place = self.q.buffers + index * MTU if at is None else at
            self.guest.write(self.q.ring_at + 256 + index * 32, struct.pack("<HHIQ", 1, index, 0, 0) + sge(place, length, key))
            self.q.rq_pi += 1
        self.guest.write(self.q.ring_at + 64, struct.pack("<I", self.q.rq_pi & 0xffffffff))

    def send(self, packet, place=0, flags=SIGNALED, opcode=SEND, cut=None, key=0xffffff00, segment=0):
        """Post a packet, in two pieces if cut says where."""
        place |= segment << 32
        if flags & INLINE:
            wqe = sq_wqe(opcode, [], remote=place, flags=flags, inline=len(packet)) + packet
        else:
            self.guest.write(self.q.data, packet)
            cuts = [0, len(packet)] if cut is None else [0, cut, len(packet)]
            wqe = sq_wqe(opcode, [sge(self.q.data + a, b - a, key) for a, b in zip(cuts, cuts[1:])], remote=place,
                         flags=flags)
        self.guest.post_send(self.q, wqe)

    def poll(self, seconds=PATIENCE):
        """The next completion: opcode, status, byte_len, src_qp, flags, vlan, pkey_index, index."""
        at = self.q.cq_at + 128 + self.q.cq_ci % 64 * 32
        end = time.monotonic() + seconds
        while bool(self.guest.read(at + 31, 1)[0] & 0x80) == bool(self.q.cq_ci // 64 & 1):
            assert time.monotonic() < end, "no completion"
            time.sleep(0.001)
        qpn, length, vlan, src = struct.unpack_from("<4I", entry := self.guest.read(at, 32))
        segment, index = struct.unpack_from("<2H", entry, 24)
        self.q.cq_ci += 1
        self.guest.write(self.q.cq_at, struct.pack("<I", self.q.cq_ci))
        assert qpn == self.q.qpn == 0
        return types.SimpleNamespace(opcode=entry[28], status=entry[29], length=length, place=src,
                                     flags=entry[31] & 0x7f, vlan=vlan, segment=segment, index=index)

    def sent(self):
        """The next send, with receives before it; it succeeded. Returns these."""
        received = []
        while (done := self.poll()).opcode != CQE_SEND:
            received.append(done)
        assert done.status == 0, done
        return received

    def got(self, done=None):
        """The bytes of a receive: of the next completion, unless one is given."""
        done = done or self.poll()
        assert (done.opcode, done.status) == (CQE_RECV, 0), done
        return self.guest.read(self.q.buffers + done.index * MTU, done.length)

    def error(self, packet):
        """The ICMP error that answers a packet: what it means, or None."""
        self.send(packet)
        received = self.sent()
        if not received:
            return None
        answer = self.got(received[0])
        self.receive(len(received))
        return meaning(answer, packet)


class ManyPort(Port):
    receives = 64


class LongPort(Port):
    """Its driver knows segments. A receive is one MTU in one piece, and room behind it in a second one."""

    def __init__(self, case, number, addresses, room=60 << 10, mtu=1500, **kwargs):
        self.room, self.mtu = room, mtu
        super().__init__(case, number, addresses, features=UNORDERED | FEATURE_NET | FEATURE_NET_TSO, **kwargs)
        self.rooms = self.guest.alloc(ENTRIES * self.room or GRANULE)

    def payload(self, q, kind=NET, **kwargs):
        return qp_payload(q.context, q.pd, q.cq, q.cq, [(q.ring_at, 2 * GRANULE)], kind=kind,
                          cap=(ENTRIES, ENTRIES, 2, 2, 0), rq=(4, 6), **kwargs)

    def receive(self, count=ENTRIES, **_):
        for _ in range(count):
            place = self.q.rq_pi % ENTRIES
            pieces = [sge(self.q.buffers + place * MTU, self.mtu, 0xffffff00)]
            if self.room:
                pieces.append(sge(self.rooms + place * self.room, self.room, 0xffffff00))
            self.guest.write(self.q.ring_at + 256 + place * 64, struct.pack("<HHIQ", len(pieces), place, 0, 0) + b"".join(pieces))
            self.q.rq_pi += 1
        self.guest.write(self.q.ring_at + 64, struct.pack("<I", self.q.rq_pi & 0xffffffff))

    def got(self, done=None):
        done = done or self.poll()
        assert (done.opcode, done.status) == (CQE_RECV, 0), done
        first = min(done.length, self.mtu)
        return self.guest.read(self.q.buffers + done.index * MTU, first) + \
            self.guest.read(self.rooms + done.index * self.room, done.length - first)


def tcp(wrap, source, destination, payload, number=0, flags=0x10, options=b""):
    """A packet as a guest's kernel leaves it for the adapter: the checksum's place has the sum of the pseudo header.
    Returns it, the place, and the length of the headers."""
    length = 20 + len(options) + len(payload)
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    head = struct.pack(">HHIIBBHHH", 1, 2, number, 7, (20 + len(options)) // 4 << 4, flags, 512,
                       ~checksum(addresses + struct.pack(">2I", length, TCP)) & 0xffff, 0)
    packet = wrap(source, destination, head + options + payload, TCP)
    return packet, len(packet) - length | 16 << 16, len(packet) - len(payload)


def meaning(answer, packet):
    """What an ICMP error says about the packet, and that it is right."""
    if answer[0] >> 4 == 4:
        assert checksum(answer[:20]) == 0 and checksum(answer[20:]) == 0 and answer[9] == ICMP
        assert answer[12:16] == packet[16:20] and answer[16:20] == packet[12:16]
        kind, quoted = answer[20:22], answer[28:]
        names = {b"\3\1": UNREACHABLE, b"\3\x0d": PROHIBITED, b"\3\4": (TOO_BIG, struct.unpack(">H", answer[26:28])[0])}
    else:
        pseudo = answer[8:40] + struct.pack(">II", len(answer) - 40, ICMPV6)
        assert checksum(pseudo + answer[40:]) == 0 and answer[6] == ICMPV6
        assert answer[8:24] == packet[24:40] and answer[24:40] == packet[8:24]
        kind, quoted = answer[40:42], answer[48:]
        names = {b"\1\3": UNREACHABLE, b"\1\1": PROHIBITED, b"\2\0": (TOO_BIG, struct.unpack(">I", answer[44:48])[0])}
    assert len(quoted) >= min(28, len(packet)) and packet.startswith(quoted)
    return names[kind]


class Pair(DaemonCase):
    def setUp(self):
        super().setUp()
        self.a = Port(self, 1, ("10.0.0.1", "fd00::1"))
        self.b = Port(self, 2, ("10.0.0.2", "fd00::2"))
        self.a.receive()
        self.b.receive()

    def arrives(self, packet, **kwargs):
        self.a.send(packet, **kwargs)
        self.a.sent()
        done = self.b.poll()
        self.assertEqual(self.b.got(done), packet)
        self.b.receive(1)
        return done


class Packets(Pair):
    def test_packets_arrive(self):
        for length in (0, 1, 99, 100, 101, 108, 500, 2000, MTU - 40):
            payload = random.Random(SEED).randbytes(length)
            self.arrives(ipv4("10.0.0.1", "10.0.0.2", payload))
            self.arrives(ipv6("fd00::1", "fd00::2", payload))
            for cut in (1, 20, 128, 129):
                if cut < 20 + length:
                    self.arrives(ipv4("10.0.0.1", "10.0.0.2", payload), cut=cut)
        totals = self.daemon.totals()
        self.assertEqual(totals["packets_lost"], 0)
        self.assertEqual(totals["packets_sent"], totals["packets_received"])

    def test_short_packet_stands_in_its_entry(self):
        self.arrives(ipv4("10.0.0.1", "10.0.0.2", b"0123456789ab"), flags=SIGNALED | INLINE)

    def test_bytes_behind_the_packet_do_not_arrive(self):
        packet = ipv4("10.0.0.1", "10.0.0.2", b"payload")
        self.a.send(packet + b"behind")
        self.a.sent()
        self.assertEqual(self.b.got(), packet)

    def test_place_of_a_checksum_arrives(self):
        packet = ipv4("10.0.0.1", "10.0.0.2", bytes(20))
        for place in (0, 20 | 6 << 16, 20 | 18 << 16):
            self.assertEqual(self.arrives(packet, place=place).place, place)
        for place in (20 | 19 << 16, 39, 19 | 6 << 16, 0xffff | 0xffff << 16, 0xffffffff, 1 << 16):
            self.a.send(packet, place=place)
            self.assertEqual(self.a.sent(), [])
        self.arrives(packet)

    def test_vlan_of_the_destination_is_told(self):
        Port(self, 3, ("10.0.7.3",), vlan=7).receive()
        c = Port(self, 4, ("10.0.7.4",), vlan=7)
        c.receive()
        self.a.send(ipv4("10.0.0.1", "10.0.7.4"))
        self.a.sent()
        done = c.poll()
        self.assertEqual((done.flags & F_VLAN, done.vlan), (F_VLAN, 7))

    def test_packet_that_finds_no_receive_is_lost(self):
        packet = ipv4("10.0.0.1", "10.0.0.2")
        before = self.daemon.totals()
        for _ in range(ENTRIES * 2):
            self.a.send(packet)
            self.assertEqual(self.a.sent(), [])
        after = self.daemon.totals()
        delivered = after["packets_sent"] - before["packets_sent"]
        # Half of the receives are for anybody.
        self.assertIn(delivered, range(ENTRIES // 2, ENTRIES))
        self.assertEqual(after["packets_lost"] - before["packets_lost"], ENTRIES * 2 - delivered)

    def test_flood_leaves_receives_for_others(self):
        quiet = Port(self, 3, ("10.0.0.3",))
        # So that the two are not taken for one.
        for _ in range(ENTRIES * 2):
            self.a.send(ipv4("10.0.0.1", "10.0.0.2"))
            self.a.sent()
        flooded = self.b.q.cq_ci
        quiet.send(ipv4("10.0.0.3", "10.0.0.2", b"quiet"))
        quiet.sent()
        while not (packet := self.b.got()).endswith(b"quiet"):
            self.assertEqual(packet, ipv4("10.0.0.1", "10.0.0.2"))
        self.assertGreater(self.b.q.cq_ci, flooded)

    def test_packet_goes_to_a_guest_itself(self):
        packet = ipv4("10.0.0.1", "10.0.0.1", b"self")
        self.a.send(packet)
        self.assertEqual(self.a.got(self.a.sent()[0]), packet)


class Answers(Pair):
    def test_address_of_nobody(self):
        for payload in (b"", bytes(8), bytes(2000)):
            self.assertEqual(self.a.error(ipv4("10.0.0.1", "10.9.9.9", payload)), UNREACHABLE)
            self.assertEqual(self.a.error(ipv6("fd00::1", "fd00::9", payload)), UNREACHABLE)

    def test_address_that_is_not_the_sender_s(self):
        for destination in ("10.0.0.2", "10.9.9.9"):
            self.assertEqual(self.a.error(ipv4("10.0.0.2", destination)), PROHIBITED)
            self.assertEqual(self.a.error(ipv4("10.7.7.7", destination)), PROHIBITED)
        self.assertEqual(self.a.error(ipv6("fd00::2", "fd00::2")), PROHIBITED)
        self.arrives(ipv4("10.0.0.1", "10.0.0.2"))

    def test_address_that_is_given_up(self):
        self.a.guest.ok(DEL_GID, struct.pack("<II", 0, 1))
        self.assertEqual(self.a.error(ipv4("10.0.0.1", "10.0.0.2")), PROHIBITED)
        self.b.guest.ok(DEL_GID, struct.pack("<II", 1, 1))
        self.assertEqual(self.a.error(ipv6("fd00::1", "fd00::2")), UNREACHABLE)

    def test_guest_without_queues_for_packets(self):
        other = Guest(self.daemon)
        self.addCleanup(other.close)
        other.ok(ADD_GID, gid_payload(v4(10, 0, 0, 3)))
        self.assertEqual(self.a.error(ipv4("10.0.0.1", "10.0.0.3")), UNREACHABLE)
        self.b.guest.ok(DESTROY_QP, struct.pack("<II", self.b.q.handle, 0))
        self.assertEqual(self.a.error(ipv4("10.0.0.1", "10.0.0.2")), UNREACHABLE)

    def test_guest_that_is_gone(self):
        self.b.guest.qemu.reset()
        self.assertEqual(self.a.error(ipv4("10.0.0.1", "10.0.0.2")), UNREACHABLE)

    def test_packet_longer_than_the_receive(self):
        self.assertEqual(self.a.error(ipv4("10.0.0.1", "10.0.0.2", bytes(MTU))), (TOO_BIG, MTU))
        self.assertEqual(self.a.error(ipv6("fd00::1", "fd00::2", bytes(MTU))), (TOO_BIG, MTU))
        # The receive is still there.
        self.arrives(ipv4("10.0.0.1", "10.0.0.2", bytes(MTU - 20)))

    def test_what_no_error_may_answer(self):
        for packet in (ipv4("10.0.0.1", "10.9.9.9", bytes([3, 1]) + bytes(30), ICMP),
                       ipv4("10.0.0.1", "10.9.9.9", b"", ICMP),
                       ipv6("fd00::1", "fd00::9", bytes([1, 3]) + bytes(30), ICMPV6),
                       ipv4("10.0.0.1", "10.9.9.9", bytes(30), fragment=100),
                       ipv4("0.0.0.0", "10.0.0.2"), ipv6("::", "fd00::2"),
                       ipv4("10.0.0.1", "224.0.0.1"), ipv4("10.0.0.1", "255.255.255.255"), ipv6("fd00::1", "ff02::1")):
            self.assertIsNone(self.a.error(packet), packet)
        self.assertEqual(self.a.error(ipv4("10.0.0.1", "10.9.9.9", bytes([8, 0]) + bytes(30), ICMP)), UNREACHABLE)
        self.assertEqual(self.a.error(ipv6("fd00::1", "fd00::9", bytes([128, 0]) + bytes(30), ICMPV6)), UNREACHABLE)

    def test_answers_find_no_receive(self):
        quiet = Port(self, 3, ("10.0.0.3",))
        for _ in range(ENTRIES):
            self.assertIsNone(quiet.error(ipv4("10.0.0.3", "10.9.9.9")))


ADDRESSES = ((ipv4, "10.0.0.3", "10.0.0.4"), (ipv6, "fd00::3", "fd00::4"))


class Segments(DaemonCase):
    """Packets of TCP that stand for several."""

    def ports(self, kind=LongPort, **kwargs):
        a = LongPort(self, 3, ("10.0.0.3", "fd00::3"), size=16 << 20)
        b = kind(self, 4, ("10.0.0.4", "fd00::4"), size=16 << 20, **kwargs)
        a.receive()
        b.receive()
        return a, b

    def test_whole_packet_arrives_where_there_is_room(self):
        a, b = self.ports()
        for wrap, source, destination in ADDRESSES:
            for length in (1461, 2920, 4000, 20000, 60000):
                packet, place, _ = tcp(wrap, source, destination, random.Random(length).randbytes(length))
                a.send(packet, place=place, segment=1400, cut=min(length, 1000))
                self.assertEqual(a.sent(), [])
                done = b.poll()
                self.assertEqual((done.segment, done.place), (1400, place))
                self.assertEqual(b.got(done), packet)
                b.receive(1)

    def arrive_in_pieces(self, a, b, post=lambda b: b.receive(1)):
        for wrap, source, destination in ADDRESSES:
            payload = random.Random(SEED).randbytes(3 * 1400 + 77)
            packet, place, headers = tcp(wrap, source, destination, payload, number=2**32 - 1000, flags=0x99, options=bytes(12))
            a.send(packet, place=place, segment=1400, cut=2000)
            self.assertEqual(a.sent(), [])
            for i, at in enumerate(range(0, len(payload), 1400)):
                done = b.poll()
                flags = 0x10 | (0x80 if not i else 0) | (0x09 if i == 3 else 0)
                wanted, _, _ = tcp(wrap, source, destination, payload[at:at + 1400], number=(2**32 - 1000 + at) % 2**32,
                                   flags=flags, options=bytes(12))
                got = b.got(done)
                if wrap is ipv4:
                    self.assertEqual(checksum(got[:20]), 0)
                    self.assertEqual(got[4:6], struct.pack(">H", 1 + i))
                    got = got[:4] + wanted[4:6] + got[6:10] + wanted[10:12] + got[12:]
                self.assertEqual(got, wanted)
                self.assertEqual((done.segment, done.place), (0, place))
                post(b)

    def test_packet_is_cut_for_a_driver_that_does_not_know_them(self):
        self.arrive_in_pieces(*self.ports(Port))

    def test_packet_is_cut_where_there_is_no_room(self):
        self.arrive_in_pieces(*self.ports(room=0))

    def test_more_pieces_than_go_in_one_turn_arrive_in_order(self):
        """Nor do they take more than half of the receives, which are for anybody."""
        a, b = self.ports(ManyPort)
        for wrap, source, destination in ADDRESSES:
            payload = random.Random(SEED).randbytes(29 * 1024 + 1)
            packet, place, headers = tcp(wrap, source, destination, payload)
            a.send(packet, place=place, segment=1024)
            self.assertEqual(a.sent(), [])
            pieces = [b.got() for _ in range(30)]
            self.assertEqual(b"".join(piece[headers:] for piece in pieces), payload)
            b.receive(30)
        self.assertEqual(self.daemon.totals()["packets_sent"], 2)

    def test_pieces_that_find_no_receive_are_lost(self):
        a, b = self.ports(Port)
        packet, place, _ = tcp(*ADDRESSES[0], bytes(40000))
        a.send(packet, place=place, segment=1024)
        self.assertEqual(a.sent(), [])
        totals = self.daemon.totals()
        self.assertEqual(totals["packets_received"] + totals["packets_lost"], 40)
        self.assertGreaterEqual(totals["packets_received"], ENTRIES // 2)

    def test_segments_longer_than_the_receivers_mtu(self):
        for kind, mtu in ((LongPort, 1500), (Port, MTU)):
            a, b = self.ports(kind)
            for wrap, source, destination in ADDRESSES:
                packet, place, _ = tcp(wrap, source, destination, bytes(9000))
                a.send(packet, place=place, segment=4090)
                self.assertEqual(meaning(a.got(a.sent()[0]), packet), (TOO_BIG, mtu))
            a.close()
            b.close()
            wait_for(lambda: not self.daemon.stats()["sessions"], "the VMs to go")

    def test_one_packet_longer_than_the_mtu_does_not_use_the_room(self):
        a, b = self.ports()
        packet = ipv4("10.0.0.3", "10.0.0.4", bytes(1481))
        a.send(packet)
        self.assertEqual(meaning(a.got(a.sent()[0]), packet), (TOO_BIG, 1500))
        a.send(packet[:2] + struct.pack(">H", 1500) + packet[4:1500])
        self.assertEqual(a.sent(), [])
        self.assertEqual(b.poll().length, 1500)

    def test_one_segment_is_a_packet(self):
        a, b = self.ports()
        packet, place, _ = tcp(*ADDRESSES[0], bytes(1400))
        a.send(packet, place=place, segment=1400)
        self.assertEqual(a.sent(), [])
        self.assertEqual(b.poll().segment, 0)

    def test_what_cannot_be_cut_is_dropped(self):
        a, b = self.ports()
        packet, place, _ = tcp(*ADDRESSES[0], bytes(5000))
        udp = ipv4("10.0.0.3", "10.0.0.4", bytes(5000))
        for what, at, segment in ((packet, place, 1), (packet, place, 1023), (packet, place, 1 << 16 | 1400), (packet, 0, 1400),
                                  (packet, 20 | 6 << 16, 1400), (packet, 24 | 16 << 16, 1400), (udp, place, 1400),
                                  (udp, 20 | 6 << 16, 1400), (ipv4("10.0.0.3", "10.0.0.4", bytes(9), TCP), 0, 1400)):
            before = self.daemon.totals()["packets_refused"]
            a.send(what, place=at, segment=segment)
            self.assertEqual(a.sent(), [])
            self.assertEqual(self.daemon.totals()["packets_refused"], before + 1)
        a.send(packet, place=place, segment=1400)
        self.assertEqual(a.sent(), [])
        self.assertEqual(b.got(), packet)

    def test_memory_of_the_payload_is_no_ram(self):
        for kind in (LongPort, Port):
            a, b = self.ports(kind)
            packet, place, headers = tcp(*ADDRESSES[0], bytes(5000))
            a.guest.write(a.q.data, packet[:200])
            a.guest.post_send(a.q, sq_wqe(SEND, [sge(a.q.data, 200, 0xffffff00), sge(1 << 40, 4840, 0xffffff00)],
                                          remote=place | 1400 << 32))
            while (done := a.poll()).opcode != CQE_SEND:
                pass
            self.assertEqual(done.status, PROT_ERR)
            a.close()
            b.close()
            wait_for(lambda: not self.daemon.stats()["sessions"], "the VMs to go")

    def test_without_the_feature_the_field_means_nothing(self):
        a = Port(self, 5, ("10.0.0.5",))
        b = Port(self, 6, ("10.0.0.6",))
        b.receive()
        packet = ipv4("10.0.0.5", "10.0.0.6", bytes(100))
        a.send(packet, segment=3)
        self.assertEqual(a.sent(), [])
        self.assertEqual(b.got(), packet)


class Hostile(Pair):
    def assert_dropped(self, packet):
        before = self.daemon.totals()["packets_refused"]
        self.a.send(packet)
        self.assertEqual(self.a.sent(), [])
        self.assertEqual(self.daemon.totals()["packets_refused"], before + 1)

    def test_heads_that_make_no_sense(self):
        whole = ipv4("10.0.0.1", "10.0.0.2", bytes(20))
        for packet in (b"", b"\x45", whole[:19], ipv6("fd00::1", "fd00::2")[:39],
                       ipv4("10.0.0.1", "10.0.0.2", bytes(20), ihl=4), ipv4("10.0.0.1", "10.0.0.2", ihl=15),
                       ipv4("10.0.0.1", "10.0.0.2", length=21), ipv4("10.0.0.1", "10.0.0.2", bytes(9), length=19),
                       ipv4("10.0.0.1", "10.0.0.2", length=0xffff), ipv6("fd00::1", "fd00::2", length=1),
                       ipv6("::ffff:10.0.0.1", "::ffff:10.0.0.2"), ipv4("10.0.0.1", "10.0.0.2", version=5),
                       ipv4("10.0.0.1", "10.0.0.2", version=0), bytes(64)):
            self.assert_dropped(packet)
        self.arrives(whole)

    def assert_stops(self, port):
        """An entry in error: what follows is flushed, and the guest may make its queues anew."""
        done = port.poll()
        while done.status == 0:
            done = port.poll()
        self.assertIn(done.status, (PROT_ERR, LEN_ERR, OP_ERR))
        port.send(ipv4("10.0.0.1", "10.0.0.2"))
        while done.opcode != CQE_SEND or done.status != FLUSHED:
            done = port.poll()
        port.guest.ok(DESTROY_QP, struct.pack("<II", port.q.handle, 0))
        port.q = port.make()
        port.receive()

    def test_entries_in_error(self):
        packet = ipv4("10.0.0.1", "10.0.0.2", bytes(100))
        for wrong in (dict(key=1), dict(opcode=1), dict(opcode=3), dict(opcode=200), dict(flags=0x81)):
            self.a.send(packet, **wrong)
            self.assert_stops(self.a)
            self.arrives(packet)

    def test_memory_that_is_no_ram(self):
        for at in (1 << 40, (1 << 64) - 50, self.a.guest.size - 50):
            self.a.guest.post_send(self.a.q, sq_wqe(SEND, [sge(at, 200, 0xffffff00)]))
            self.assert_stops(self.a)
        # The head is RAM, the rest is not.
        self.a.guest.write(self.a.q.data, ipv4("10.0.0.1", "10.0.0.2", bytes(180)))
        self.a.guest.post_send(self.a.q, sq_wqe(SEND, [sge(self.a.q.data, 128, 0xffffff00), sge(1 << 40, 72, 0xffffff00)]))
        self.assert_stops(self.a)
        self.arrives(ipv4("10.0.0.1", "10.0.0.2", bytes(300)))

    def test_packet_longer_than_any(self):
        self.a.guest.write(self.a.q.data, ipv4("10.0.0.1", "10.0.0.2", bytes(100)))
        piece = sge(self.a.q.data, 33 << 10, 0xffffff00)
        self.a.guest.post_send(self.a.q, sq_wqe(SEND, [piece, piece]))
        self.assert_stops(self.a)

    def test_receives_in_error(self):
        for wrong in (dict(key=1), dict(length=1279), dict(length=0), dict(at=1 << 40), dict(at=(8 << 20) - 8)):
            port = Port(self, 5, ("10.0.0.5",))
            port.receive(**wrong)
            self.assertEqual(self.a.error(ipv4("10.0.0.1", "10.0.0.5", bytes(100))), UNREACHABLE)
            self.assertIn(port.poll().status, (PROT_ERR, LEN_ERR, OP_ERR))
            # The others are flushed, and the sender does not suffer.
            for _ in range(ENTRIES - 1):
                self.assertEqual(port.poll().status, FLUSHED)
            port.close()
            wait_for(lambda: len(self.daemon.stats()["sessions"]) == 2, "the VM to go")

    def test_more_receives_than_the_queue_holds(self):
        self.b.guest.write(self.b.q.ring_at + 64, struct.pack("<I", 1000))
        self.assertEqual(self.a.error(ipv4("10.0.0.1", "10.0.0.2")), UNREACHABLE)
        self.assertEqual(self.b.guest.qemu.reply(FATAL), DEV_ERR_GUEST)

    def test_more_sends_than_the_queue_holds(self):
        self.a.guest.write(self.a.q.ring_at, struct.pack("<I", 1000))
        self.a.guest.mark(self.a.q)
        self.assertEqual(self.a.guest.qemu.reply(FATAL), DEV_ERR_GUEST)

    def test_garbage_in_the_rings(self):
        rng = random.Random(SEED)
        for _ in range(ROUNDS // 20):
            port = Port(self, 6, ("10.0.0.6",))
            port.receive()
            for at in (port.q.ring_at + 256, port.q.ring_at + 4096):
                if rng.random() < 0.5:
                    port.guest.write(at, rng.randbytes(512))
            for _ in range(8):
                entry = bytearray(sq_wqe(SEND, [sge(port.q.data, rng.randrange(300), 0xffffff00)]))
                port.guest.write(port.q.data, rng.choice((ipv4("10.0.0.6", "10.0.0.2", bytes(30)), rng.randbytes(64))))
                for _ in range(rng.randrange(3)):
                    entry[rng.randrange(len(entry))] = rng.randrange(256)
                port.guest.post_send(port.q, bytes(entry))
            port.close()
            # It was served, or stopped, before it went.
            wait_for(lambda: len(self.daemon.stats()["sessions"]) == 2, "the VM to go")
            self.a.send(ipv4("10.0.0.1", "10.0.0.2", b"still served"))
            self.a.sent()
            count = 1
            while not self.b.got().endswith(b"still served"):
                count += 1
            self.b.receive(count)


class Commands(Pair):
    def test_only_with_the_feature(self):
        self.assertEqual(self.a.guest.features() & FEATURE_NET, FEATURE_NET)
        with self.assertRaisesRegex(AssertionError, "status %d" % ST_INVALID):
            Port(self, 3, ("10.0.0.3",), features=UNORDERED)

    def test_one_for_each_guest(self):
        ring = self.a.guest.alloc(2 * GRANULE)
        self.a.guest.write(ring, bytes(2 * GRANULE))
        q = types.SimpleNamespace(**{**vars(self.a.q), "ring_at": ring})
        status, _ = self.a.guest.command(CREATE_QP, self.a.payload(q))
        self.assertEqual(status, ST_BUSY)

    def test_only_for_the_driver(self):
        other = Guest(self.daemon, driver_features=UNORDERED | FEATURE_NET)
        self.addCleanup(other.close)
        context = other.context()
        pd, cq = other.pd(context), other.new_cq(context, other.ceq())
        ring = other.alloc(2 * GRANULE)
        other.write(ring, bytes(2 * GRANULE))
        status, _ = other.command(CREATE_QP, qp_payload(context, pd, cq, cq, [(ring, 2 * GRANULE)], kind=NET))
        self.assertEqual(status, ST_DENIED)

    def test_it_has_no_states(self):
        attr = bytes([1]) + bytes(127)
        status, _ = self.a.guest.command(MODIFY_QP, struct.pack("<II", self.a.q.handle, 1) + attr)
        self.assertEqual(status, ST_UNSUPPORTED)
        rsp = self.a.guest.ok(QUERY_QP, struct.pack("<II", self.a.q.handle, 1))
        self.assertEqual(rsp[0], 3)


class Networks(DaemonCase):
    config = "[vm red]\nnetwork=red\n[vm red2]\nnetwork=red\n[vm blue]\nnetwork=blue\n[vm blue2]\nnetwork=blue\n"

    def test_packets_stay_in_theirs(self):
        """Two VMs in each of two networks, of the same two addresses, and one address that only blue has."""
        names = (b"red", b"red2", b"blue", b"blue2")
        ports = [Port(self, 1 + i, (f"10.0.0.{1 + i % 2}",) + (("10.0.0.9",) if i == 3 else ()), name=name)
                 for i, name in enumerate(names)]
        for port in ports:
            port.receive()
        for sender, receiver, name in ((*ports[:2], b"red"), (*ports[2:], b"blue")):
            packet = ipv4("10.0.0.1", "10.0.0.2", name)
            sender.send(packet)
            self.assertEqual(sender.sent(), [])
            self.assertEqual(receiver.got(), packet)
        red, _, blue, blue2 = ports
        self.assertEqual(red.error(ipv4("10.0.0.1", "10.0.0.9")), UNREACHABLE)
        blue.send(ipv4("10.0.0.1", "10.0.0.9", b"here"))
        self.assertEqual(blue.sent(), [])
        self.assertEqual(blue2.got(), ipv4("10.0.0.1", "10.0.0.9", b"here"))
        by_name = {session["name"]: session["packets_received"] for session in self.daemon.stats()["sessions"]}
        self.assertEqual(by_name, {"red": 1, "red2": 1, "blue": 0, "blue2": 2})


class Rates(DaemonCase):
    config = "[quota]\nrate=1000000\n"

    def test_packets_count_against_the_rate(self):
        a, b = Port(self, 1, ("10.0.0.1",)), Port(self, 2, ("10.0.0.2",))
        packet = ipv4("10.0.0.1", "10.0.0.2", bytes(MTU - 20))
        b.receive()
        # All are announced at once, and are three times what may go at once.
        a.guest.write(a.q.data, packet)
        for i in range(ENTRIES):
            entry = sq_wqe(SEND, [sge(a.q.data, MTU, 0xffffff00)])
            a.guest.write(a.q.ring_at + 4096 + i * 64, entry.ljust(64, b"\0"))
        a.guest.write(a.q.ring_at, struct.pack("<I", ENTRIES))
        a.guest.mark(a.q)
        for _ in range(ENTRIES):
            self.assertEqual(a.sent(), [])
        self.assertGreater(self.daemon.totals()["throttled_ns"], 0)


if __name__ == "__main__":
    unittest.main()
