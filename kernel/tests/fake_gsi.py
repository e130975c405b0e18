# SPDX-License-Identifier: GPL-2.0-or-later
"""The fake pvhcad's GSI queue pair: rings as in pvhca-ring.h, served when a test asks for it and not before.

So a test decides whether sends ever complete. Layouts of MADs: InfiniBand Architecture Specification volume 1, 12.6
and 13.4.2; of the 40 bytes before a received one: pvhca-admin.h.
"""

import socket
import struct

GRANULE = 4096
CQ_HEADER, CQE_SIZE = 128, 32
CONTEXT_NEED_KICK, CONTEXT_SUMMARY, CONTEXT_PENDING = 128, 256, 512
CONTEXT_KERNEL = 1
GSI = 1
OWN_QKEY = 0x80000000       # high bit: that of the QP itself (10.2.5)
LKEY_DMA = 0xffffff00
CQE_SEND, CQE_RECV, CQE_PHASE, CQE_GRH = 0, 16, 0x80, 1
WQE_SIGNALED, WQE_AV = 1, 16
FLUSHED = 5
REQ, REJ, REP = 0x10, 0x12, 0x13
MAD_SIZE, GRH_SIZE = 256, 40


class Buffer:
    """Guest memory by its extents."""

    def __init__(self, memory, extents):
        self._memory, self._extents = memory, extents

    def _find(self, offset):
        for gpa, size in self._extents:
            if offset < size:
                return gpa + offset
            offset -= size
        raise ValueError("behind the buffer")

    def read(self, offset, size):       # entries do not cross granules
        return self._memory.read(self._find(offset), size)

    def write(self, offset, data):
        self._memory.write(self._find(offset), data)

    def word(self, offset):
        return struct.unpack("<I", self.read(offset, 4))[0]


class CompletionQueue:
    def __init__(self, memory, extents, log_entries, raise_event):
        self._buffer, self._log, self._raise = Buffer(memory, extents), log_entries, raise_event
        self._next, self._armed = 0, 0

    def put(self, qpn, byte_len, src_qp, place, opcode, status=0, flags=0):
        assert self._next - self._buffer.word(0) & 0xffffffff < 1 << self._log, "the CQ is full"
        at = CQ_HEADER + self._next % (1 << self._log) * CQE_SIZE
        phase = 0 if self._next >> self._log & 1 else CQE_PHASE
        self._buffer.write(at, struct.pack("<IIIIQHH", qpn, byte_len, 0, src_qp, 0, 0, place))
        self._buffer.write(at + 28, struct.pack("<4B", opcode, status, 0, flags | phase))
        self._next += 1
        armed = self._buffer.word(4)
        if armed != self._armed:
            self._armed = armed
            self._raise()


class QueuePair:
    """QP 1. Everything in it is the driver's, so whatever is odd fails the test."""

    def __init__(self, memory, extents, command, send_cq, recv_cq, context):
        self._memory, self._buffer = memory, Buffer(memory, extents)
        self._send_cq, self._recv_cq, self._context = send_cq, recv_cq, context
        (self._sq, self._rq, self._sq_log, self._sq_stride, self._rq_log, self._rq_stride) = struct.unpack("<II4B", command)
        self._sent = self._received = 0
        self.uncompleted = []       # places

    def set_need_kick(self):
        """As pvhcad does before it sleeps."""
        self._memory.write(self._context + CONTEXT_NEED_KICK, b"\xff" * 8)

    def is_pending(self, slot):
        word, bit = divmod(slot, 64)
        summary = struct.unpack("<Q", self._memory.read(self._context + CONTEXT_SUMMARY, 8))[0]
        pending = struct.unpack("<Q", self._memory.read(self._context + CONTEXT_PENDING + 8 * word, 8))[0]
        return bool(summary >> word & 1 and pending >> bit & 1)

    def receives(self):
        """That are posted."""
        return self._buffer.word(64) - self._received & 0xffffffff

    def take(self, complete):
        """Read what has been sent since: (destination GID, MAD)."""
        found = []
        while self._sent != self._buffer.word(0):
            place = self._sent % (1 << self._sq_log)
            found.append(self._send(self._buffer.read(self._sq + (place << self._sq_stride), 1 << self._sq_stride)))
            self.uncompleted.append(place)
            self._sent = self._sent + 1 & 0xffffffff
        if complete:
            for place in self.uncompleted:
                self._send_cq.put(GSI, 0, 0, place, CQE_SEND)
            self.uncompleted = []
        return found

    def _send(self, entry):
        opcode, flags, num_sge, inline_len, _, handle, qpn, qkey, reserved = struct.unpack_from("<BBHIIIIIQ", entry)
        assert (opcode, flags, inline_len, handle, reserved) == (0, WQE_SIGNALED | WQE_AV, 0, 0, 0), entry.hex()
        assert (qpn, qkey) == (GSI, OWN_QKEY), (qpn, hex(qkey))
        dgid, _, _, _, _, _, port, _, is_global, _, _ = struct.unpack_from("<16sI8BI", entry, 32)
        assert port == is_global == 1, entry.hex()
        mad = b"".join(self._sges(entry, 64, num_sge, lambda gpa, size: self._memory.read(gpa, size)))
        assert len(mad) == MAD_SIZE, mad.hex()
        return socket.inet_ntop(socket.AF_INET6, dgid), mad

    def _sges(self, entry, at, count, use):
        for i in range(count):
            gpa, size, key = struct.unpack_from("<QII", entry, at + 16 * i)
            assert key == LKEY_DMA, hex(key)
            yield use(gpa, size)

    def put(self, source, destination, mad):
        """A MAD comes in, from an IPv4 address to another."""
        assert self.receives() and len(mad) == MAD_SIZE
        place = self._received % (1 << self._rq_log)
        entry = self._buffer.read(self._rq + (place << self._rq_stride), 1 << self._rq_stride)
        num_sge, tag, reserved, reserved1 = struct.unpack_from("<HHIQ", entry)
        assert (num_sge, tag, reserved, reserved1) == (1, place, 0, 0)
        data = ipv4_header(source, destination) + mad

        def write(gpa, size):
            assert size >= len(data)
            self._memory.write(gpa, data)

        list(self._sges(entry, 16, 1, write))
        self._received = self._received + 1 & 0xffffffff
        self._recv_cq.put(GSI, len(data), GSI, place, CQE_RECV, flags=CQE_GRH)


def ipv4_header(source, destination):
    """What stands in the place of the GRH."""
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + 8 + 12 + 8 + MAD_SIZE + 4, 0, 0x4000, 64, 17, 0,
                         socket.inet_aton(source), socket.inet_aton(destination))
    total = sum(struct.unpack(">10H", header))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return bytes(20) + header[:10] + struct.pack(">H", ~total & 0xffff) + header[12:]


def attribute(mad):
    return struct.unpack_from(">H", mad, 16)[0]


def rejection(request):
    """A REJ that answers a REQ: invalid service ID."""
    header = request[:16] + struct.pack(">HHI", REJ, 0, 0)
    return (header + bytes(4) + request[24:28] + struct.pack(">BBH", 0, 0, 8)).ljust(MAD_SIZE, b"\0")


def mirrored(request):
    """The REQ that the peer would have sent: the same with the addresses the other way round."""
    mad = bytearray(request)
    mad[8:16] = struct.pack(">Q", 0x1234)                   # transaction
    mad[24:28] = struct.pack(">I", 0x77)                    # local communication ID
    mad[40:48] = struct.pack(">Q", 0x1111)                  # CA
    mad[56:59] = b"\x00\x45\x67"                            # QP
    mad[80:96], mad[96:112] = request[96:112], request[80:96]
    mad[164 + 4:164 + 20], mad[164 + 20:164 + 36] = request[164 + 20:164 + 36], request[164 + 4:164 + 20]
    return bytes(mad)
