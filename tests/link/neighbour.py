# SPDX-License-Identifier: GPL-2.0-or-later
"""A hostile neighbour: what one guest can do to hold up others that share its worker.

Each input is a function that gets the guest and how many queue pairs to use, and leaves it at
work. test_isolation.py counts what happens, isolation.py measures it."""
import os
import signal
import socket
import struct
import threading
import time
import traceback
import types

from pvhca import *

LKEY_DMA = 0xFFFFFF00
SEND, WRITE, READ, FETCH_ADD, LOCAL_INV, BIND_MW, REGISTER = 0, 3, 5, 7, 8, 9, 10
SIGNALED, INLINE, AV = 1, 8, 16
BIG = (1 << 20) - 1
RTR, RTS = 2, 3
UNREACHABLE, ALL_MEMBERS = 0xFFFFF0, 0xFFFFFF
EVIL_GID, VICTIM_GID = v4(10, 0, 0, 1), v4(10, 0, 0, 2)
GROUP = bytes(10) + b"\xff\xff" + bytes([239, 1, 2, 3])
STATE, PKEY, ACCESS, QKEY, PORT = 1, 1 << 4, 1 << 3, 1 << 6, 1 << 5


def attributes(state, peer, gid, rnr_timer=12, timeout=14, retry=7, rnr=7):
    av = struct.pack("<16sIBBBBBBBBI", gid, 0, 0, 64, 0, 0, 1, 0, 1, 0, 0)
    return struct.pack("<BBBBIIIIIHHBBBBBBBBBBBBI20s32s32s", state, 0, 3, 0, 0, 0, 0, peer, 0xF, 0, 0, 0, 0, 1, 1,
                       rnr_timer, 1, timeout, retry, rnr, 0, 0, 0, 0, bytes(20), av, bytes(32))


class Neighbour(Guest):
    """A guest whose queue pairs share rings: so many of them need little memory. apart: processors on which a process of its
    own does what it does again and again, so that nobody waits for the interpreter because of it."""

    apart = None

    def __init__(self, daemon, name=b"evil", gid=EVIL_GID, size=192 << 20, driver_features=UNORDERED | FEATURE_NET | FEATURE_NET_TSO, **kwargs):
        super().__init__(daemon, name=name, size=size, driver_features=driver_features, **kwargs)
        self.daemon, self.gid = daemon, gid
        self.ok(ADD_GID, gid_payload(gid))
        self.q = self.rc_qp()
        self.connect(self.q, self.q.qpn, gid)
        self.threads, self.stopping = [], threading.Event()
        self.processes, self.others = [], []

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        processes, self.processes = self.processes, []
        for process in processes:
            ended = os.waitpid(process, os.WNOHANG)[0]
            assert not ended, "the neighbour gave up"
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)

    def close(self):
        self.stop()
        for other in self.others:
            other.close()
        super().close()

    def ring(self, wqe, log_entries=4, log_stride=6):
        """A send ring full of one entry; posted by publish_ring()."""
        ring = self.alloc(granules(GRANULE + (1 << log_stride + log_entries)))
        self.write(ring, bytes(GRANULE))
        self.write(ring + GRANULE, wqe.ljust(1 << log_stride, b"\0") * (1 << log_entries))
        return ring

    def queue_pair(self, ring, log_entries=4, q=None, cq=None, kind=2, log_stride=6, num_sge=1, recv=16, **kwargs):
        q = q or self.q
        max_wr = min(1 << log_entries, 16384 if log_entries == 15 else 1 << 15)
        length = granules(GRANULE + (1 << log_stride + log_entries))
        answer = self.ok(CREATE_QP, qp_payload(
            q.context, q.pd, cq or q.cq, cq or q.cq, [(ring, length)], kind=kind,
            cap=(max_wr, recv, num_sge, 1 if recv else 0, 0), sq=(log_entries, log_stride), **kwargs))
        handle, qpn, slot, doorbell = struct.unpack_from("<4I", answer)
        return types.SimpleNamespace(handle=handle, qpn=qpn, slot=slot, doorbell=doorbell, page=q.page)

    def join(self, qp, peer=None, **kwargs):
        for state, mask in ((1, 0x39), (RTR, RTR_MASK), (RTS, RTS_MASK)):
            self.ok(MODIFY_QP, struct.pack("<II", qp.handle, mask)
                    + attributes(state, qp.qpn if peer is None else peer, self.gid, **kwargs))
        return qp

    def announce(self, qps):
        """As the provider does for one, for all of them at once."""
        pages = {}
        for qp in qps:
            words = pages.setdefault(qp.page, {})
            words[qp.slot // 64] = words.get(qp.slot // 64, 0) | 1 << qp.slot % 64
        for page, words in pages.items():
            for word, bits in words.items():
                self.write(page + 512 + 8 * word, struct.pack("<Q", bits))
            self.write(page + 256, struct.pack("<Q", sum(1 << word for word in words)))
        self.qemu.ring(DATA_DB, self.q.doorbell // 8)

    def at_work(self, count, wqe, log_entries=15, log_stride=6, num_sge=1, **kwargs):
        """So many queue pairs that are connected to themselves, with a ring full of this entry."""
        ring = self.ring(wqe, log_entries, log_stride)
        qps = [self.join(self.queue_pair(ring, log_entries, log_stride=log_stride, num_sge=num_sge), **kwargs)
               for _ in range(count)]
        self.write(ring, struct.pack("<I", 1 << log_entries))
        self.announce(qps)
        return qps

    def region(self, length):
        at = self.alloc(length)
        answer = self.ok(REG_MR, mr_payload(self.q.pd, [(at, length)], length, 0xF))
        return struct.unpack_from("<3I", answer)[1:]

    def again_and_again(self, function):
        """Until stop(). With apart the admin queue is that process's from now on."""
        def run():
            while not self.stopping.is_set():
                function()
        if self.apart:
            process = os.fork()
            if process:
                self.processes.append(process)
                return
            try:
                # Who measures goes first.
                os.nice(10)
                os.sched_setaffinity(0, self.apart)
                run()
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()


def bulk(guest, count, opcode=WRITE):
    """rings full of WRITEs of 1 MiB"""
    lkey, rkey = guest.region(4 << 20)
    return guest.at_work(count, sq_wqe(opcode, [sge(0x10000, BIG, lkey)], rkey, 0x10000 + (2 << 20), flags=0))


def reads(guest, count):
    """rings full of READs of 1 MiB"""
    return bulk(guest, count, READ)


def short(guest, count):
    """rings full of WRITEs of 8 bytes"""
    q = guest.q
    return guest.at_work(count, sq_wqe(WRITE, [sge(0x10000, 8, q.lkey)], q.rkey, 0x10000, flags=0))


def atomics(guest, count):
    """rings full of atomics"""
    q = guest.q
    local = sge(0x10100, 8, q.lkey)
    head = sq_wqe(FETCH_ADD, [local], q.rkey, 0x10000, flags=0)[:32]
    return guest.at_work(count, head + struct.pack("<QQ", 1, 0) + local)


def rnr(guest, count):
    """SENDs without a receiver, retried every 10 us for ever"""
    q = guest.q
    return guest.at_work(count, sq_wqe(SEND, [sge(0x10000, 8, q.lkey)]), log_entries=4, rnr_timer=1)


def lost(guest, count):
    """WRITEs to a peer that is not there, retried for ever"""
    q = guest.q
    return guest.at_work(count, sq_wqe(WRITE, [sge(0x10000, 8, q.lkey)], q.rkey, 0x10000), log_entries=4,
                         peer=UNREACHABLE, timeout=1)


def blocked(guest, count):
    """a CQ for each queue pair that is never polled"""
    q, ceq = guest.q, guest.ceq()
    buffer = guest.alloc(GRANULE)
    guest.write(buffer, bytes(GRANULE))
    ring = guest.ring(sq_wqe(WRITE, [sge(0x10000, 8, q.lkey)], q.rkey, 0x10000))
    qps = []
    for _ in range(count):
        cq = guest.create(CREATE_CQ, cq_payload(q.context, ceq, 0, [(buffer, GRANULE)]))
        qps.append(guest.join(guest.queue_pair(ring, cq=cq)))
    guest.write(ring, struct.pack("<I", 16))
    guest.announce(qps)
    return qps


def backlog(guest, count):
    """many completions held back by one CQ, while queue pairs of it are reset again and again"""
    ceq, buffer = guest.ceq(), guest.alloc(GRANULE)
    guest.write(buffer, bytes(GRANULE))
    cq = guest.create(CREATE_CQ, cq_payload(guest.q.context, ceq, 0, [(buffer, GRANULE)]))
    ring = guest.ring(sq_wqe(WRITE, []), log_entries=12)
    qps = [guest.join(guest.queue_pair(ring, 12, cq=cq)) for _ in range(count)]
    guest.write(ring, struct.pack("<I", 1 << 12))
    guest.announce(qps)
    other = guest.queue_pair(ring, 12, cq=cq)

    def reset():
        guest.ok(MODIFY_QP, struct.pack("<II", other.handle, STATE) + bytes(140))
    guest.again_and_again(reset)
    return qps


def datagrams(guest, count):
    """datagrams of 4 KiB to a group that 64 queue pairs are in"""
    q = guest.q
    ah = guest.create(CREATE_AH, ah_payload(q.pd, GROUP))
    wqe = sq_wqe(SEND, [sge(0x10000, 4096, q.lkey)], ah, ALL_MEMBERS, flags=0)
    ring = guest.ring(wqe, log_entries=12)
    qps = []
    for _ in range(min(count, 64)):
        qp = guest.queue_pair(ring, 12, kind=UD)
        for state, mask in ((1, STATE | PKEY | PORT | QKEY), (RTR, STATE), (RTS, STATE | 1 << 16)):
            guest.ok(MODIFY_QP, struct.pack("<II", qp.handle, mask) + attributes(state, 0, guest.gid))
        guest.ok(ATTACH_MCAST, mcast_payload(GROUP, qp.handle))
        qps.append(qp)
    guest.write(ring, struct.pack("<I", 1 << 12))
    guest.announce(qps)
    return qps


def storm(guest, count):
    """all bits of all slots of many contexts set again and again, with nothing behind them"""
    pages = [guest.q.page] + [guest.alloc(GRANULE) for _ in range(min(count, 200))]
    for page in pages[1:]:
        guest.write(page, bytes(GRANULE))
        guest.create(ALLOC_CONTEXT, context_payload(page))
    ones = b"\xff" * 512

    def announce():
        for page in pages:
            guest.write(page + 512, ones)
            guest.write(page + 256, b"\xff" * 8)
        guest.qemu.ring(DATA_DB, guest.q.doorbell // 8)
    guest.again_and_again(announce)
    return []


def registrations(guest, count):
    """commands without end"""
    def register():
        guest.destroy(DEREG_MR, guest.mr(guest.q.pd))
    guest.again_and_again(register)
    return []


def kernel_context(guest):
    """A context as the driver has one, with a CQ: a namespace."""
    q = types.SimpleNamespace(page=guest.alloc(GRANULE), cq_at=guest.alloc(2 * GRANULE), cq_ci=0)
    guest.write(q.page, bytes(GRANULE))
    q.context = guest.create(ALLOC_CONTEXT, context_payload(q.page, reserved=CONTEXT_KERNEL))
    q.pd = guest.pd(q.context)
    q.cq = guest.create(CREATE_CQ, cq_payload(q.context, guest.ceq(), 6, [(q.cq_at, 2 * GRANULE)]))
    return q


def fill_again(guest, q, qp, ring, entries):
    """Post the whole ring as soon as its last entry, the only signaled one, has completed."""
    posted = 0

    def fill():
        nonlocal posted
        posted += entries
        guest.write(ring, struct.pack("<I", posted & 0xffffffff))
        guest.announce([qp])
        assert guest.poll_cq(q)[3] == 0
    guest.again_and_again(fill)


def packets(guest, count):
    """a ring full of packets, to nobody and to itself, without receives; filled again as soon as it is empty"""
    q = kernel_context(guest)
    own, head = guest.gid[12:], struct.pack(">BBHIBBH", 0x45, 0, 28, 0, 64, 17, 0)
    entries = [sq_wqe(SEND, [], flags=INLINE, inline=28) + head + own + to + bytes(8)
               for to in (bytes([10, 9, 9, 9]), own)]
    log_entries = 12
    ring = guest.ring(b"", log_entries)
    for i in range(1 << log_entries):
        guest.write(ring + GRANULE + 64 * i, entries[i % 2])
    # The last one tells that all are done.
    guest.write(ring + GRANULE + 64 * i + 1, bytes([SIGNALED | INLINE]))
    fill_again(guest, q, guest.queue_pair(ring, log_entries, q, q.cq, NET), ring, 1 << log_entries)
    return []


def big_packets(guest, count):
    """packets of 9000 bytes without end, to itself, which has no receives for them"""
    q = kernel_context(guest)
    own, log_entries = guest.gid[12:], 12
    memory = guest.alloc(9000)
    guest.write(memory, struct.pack(">BBHIBBH", 0x45, 0, 9000, 0, 64, 17, 0) + own + own + bytes(8))
    ring = guest.ring(sq_wqe(SEND, [sge(memory, 9000, LKEY_DMA)], flags=0), log_entries)
    guest.write(ring + GRANULE + (64 << log_entries) - 63, bytes([SIGNALED]))
    fill_again(guest, q, guest.queue_pair(ring, log_entries, q, q.cq, NET), ring, 1 << log_entries)
    return []


def segments(guest, count):
    """packets of TCP that stand for 63 each, to itself, whose receives are so short that pvhcad cuts them"""
    q = kernel_context(guest)
    own, log_receives, sends, length = guest.gid[12:], 12, 32, 20 + 20 + 63 * 1024
    receives = 1 << log_receives
    packet, buffer = guest.alloc(granules(length)), guest.alloc(GRANULE)
    guest.write(packet, struct.pack(">BBHIBBH", 0x45, 0, length, 0, 64, 6, 0) + own + own + bytes(12) + b"\x50\x10" + bytes(6))
    cq_at = guest.alloc(granules(128 + 32 * receives))
    recv_cq = guest.create(CREATE_CQ, cq_payload(q.context, guest.ceq(), log_receives, [(cq_at, granules(128 + 32 * receives))]))
    ring_length = granules(GRANULE + 64 * sends) + 32 * receives
    ring = guest.alloc(ring_length)
    guest.write(ring, bytes(ring_length))
    wqe = sq_wqe(SEND, [sge(packet, length, LKEY_DMA)], flags=0, remote=20 | 16 << 16 | 1024 << 32)
    guest.write(ring + GRANULE, wqe.ljust(64, b"\0") * sends)
    # The last one tells that all are done.
    guest.write(ring + GRANULE + 64 * (sends - 1) + 1, bytes([SIGNALED]))
    guest.write(ring + 2 * GRANULE, (struct.pack("<HHIQ", 1, 0, 0, 0) + sge(buffer, 1280, LKEY_DMA)) * receives)
    handle, qpn, slot, doorbell = struct.unpack_from("<4I", guest.ok(CREATE_QP, qp_payload(
        q.context, q.pd, q.cq, recv_cq, [(ring, ring_length)], kind=NET, cap=(sends, receives, 1, 1, 0),
        sq=(5, 6), rq_offset=2 * GRANULE, rq=(log_receives, 5))))
    qp = types.SimpleNamespace(handle=handle, qpn=qpn, slot=slot, doorbell=doorbell, page=q.page)
    posted = received = 0

    def send():
        nonlocal posted, received
        posted += sends
        guest.write(ring + 64, struct.pack("<I", received + receives & 0xffffffff))
        guest.write(ring, struct.pack("<I", posted & 0xffffffff))
        guest.announce([qp])
        assert guest.poll_cq(q)[3] == 0
        # Their phases: as many as differ from those of the lap before have been received.
        phases = guest.read(cq_at + 128, 32 * receives)[31::32]
        while phases[received % receives] & 0x80 == (0 if received // receives & 1 else 0x80):
            received += 1
        guest.write(cq_at, struct.pack("<I", received & 0xffffffff))
    guest.again_and_again(send)
    return []


def mads(guest, count):
    """datagrams of connection managers: to an address that nobody has, and to the victim, which has nobody for them"""
    q = kernel_context(guest)
    mad, log_entries = guest.alloc(GRANULE), 8
    guest.write(mad, bytes([1, 7, 2, 3]) + bytes(252))
    ring = guest.ring(b"", log_entries, log_stride=7)
    for i in range(1 << log_entries):
        last = i == (1 << log_entries) - 1
        to = VICTIM_GID if i % 2 else v4(10, 9, 9, 9)
        guest.write(ring + GRANULE + 128 * i, struct.pack(
            "<BBHIIIIIQ", SEND, AV | (SIGNALED if last else 0), 1, 0, 0, 0, 1, 0x80000000, 0)
            + av_payload(to) + sge(mad, 256, LKEY_DMA))
    qp = guest.queue_pair(ring, log_entries, q, q.cq, GSI, log_stride=7)
    for state, mask in ((1, 0x71), (RTR, 1), (RTS, 1 | 1 << 16)):
        attr = struct.pack("<BBBBI", state, 0, 0, 0, 0x80000000).ljust(33, b"\0") + b"\1"
        guest.ok(MODIFY_QP, struct.pack("<II", qp.handle, mask) + attr)
    fill_again(guest, q, qp, ring, 1 << log_entries)
    return []


def interrupts(guest, count):
    """a CQ for each queue pair, all armed all the time, so that each completion raises an event"""
    q, count = guest.q, min(count, 512)
    log_ceq, log_cq, each = 12, 5, 4
    events, buffer = guest.alloc(64 + (8 << log_ceq)), guest.alloc(granules(128 + (32 << log_cq)))
    ceq = guest.create(CREATE_CEQ, struct.pack("<QII", events, log_ceq, 2))
    guest.write(buffer, bytes(GRANULE))
    ring = guest.ring(sq_wqe(WRITE, [sge(0x10000, 8, q.lkey)], q.rkey, 0x10000))
    qps = [guest.join(guest.queue_pair(ring, cq=guest.create(CREATE_CQ, cq_payload(
        q.context, ceq, log_cq, [(buffer, granules(128 + (32 << log_cq)))])))) for _ in range(count)]
    posted = raised = 0

    def post():
        """All share one ring and one buffer, so one number each posts, polls and arms for all of them."""
        nonlocal posted, raised
        guest.write(buffer, struct.pack("<III", posted, posted + 1, 0))
        guest.write(events, struct.pack("<I", raised))
        posted, raised = posted + each & 0xffffffff, raised + count & 0xffffffff
        guest.write(ring, struct.pack("<I", posted))
        guest.announce(qps)
    guest.again_and_again(post)
    return qps


def limits(guest, count):
    """a shared receive queue that is below its limit, which is set again and again: an event each time"""
    q = guest.q
    ring = guest.alloc(2 * GRANULE)
    srq = guest.create(CREATE_SRQ, srq_payload(q.context, q.pd, [(ring, 2 * GRANULE)]))
    guest.again_and_again(lambda: guest.ok(MODIFY_SRQ, struct.pack("<IIII", srq, 2, 8, 0)))
    return []


def shared(guest, count):
    """requesters that all wait for one shared receive queue, to which entries are posted one by one"""
    q, count = guest.q, min(count, 1000)
    receives = guest.alloc(2 * GRANULE)
    guest.write(receives, bytes(2 * GRANULE))
    answer = guest.ok(CREATE_SRQ, srq_payload(q.context, q.pd, [(receives, 2 * GRANULE)]))
    srq, _, slot, _ = struct.unpack_from("<4I", answer)
    for i in range(16):
        guest.write(receives + 256 + 32 * i, struct.pack("<HHIQ", 1, i, 0, 0) + sge(0x10000, 64, q.lkey))
    sends = guest.ring(sq_wqe(SEND, [sge(0x10000, 8, q.lkey)], flags=0), log_entries=12)
    qps = [guest.join(guest.queue_pair(sends, 12, srq=srq, flags=QP_F_SRQ, rq=(0, 0), rq_offset=0, recv=0))
           for _ in range(count)]
    guest.write(sends, struct.pack("<I", 1 << 12))
    guest.announce(qps)
    posted = 0

    def post():
        """No one polls: once the CQ's room is used up the queue pairs hold their completions back."""
        nonlocal posted
        posted = posted + 1 & 0xffffffff
        guest.write(receives + 64, struct.pack("<I", posted))
        guest.announce([types.SimpleNamespace(page=q.page, slot=slot)])
        # As many as it has are posted at a time, at most: more would be an abuse, and end it.
        if not posted % 16:
            time.sleep(0.001)
    guest.again_and_again(post)
    return qps


def resizes(guest, count):
    """a CQ whose ring is replaced again and again, while its queue pairs never have nothing to do"""
    q, log_entries = guest.q, 6
    buffers = [guest.alloc(2 * GRANULE) for _ in range(2)]
    for at in buffers:
        guest.write(at, bytes(2 * GRANULE))
    cq = guest.create(CREATE_CQ, cq_payload(q.context, guest.ceq(), log_entries, [(buffers[0], 2 * GRANULE)]))
    qps = short(guest, min(count, 100))
    turn = 0

    def resize():
        nonlocal turn
        turn += 1
        guest.ok(RESIZE_CQ, resize_payload(cq, log_entries, [(buffers[turn % 2], 2 * GRANULE)]))
    guest.again_and_again(resize)
    return qps


def changes(guest, count):
    """a region, an address and a queue pair in an error, changed again and again: each waits for all workers"""
    q, ring = guest.q, guest.ring(b"")
    memory = [(guest.alloc(GRANULE), GRANULE)]
    mr = guest.create(REG_MR, mr_payload(q.pd, memory, GRANULE))
    other = v4(10, 0, 7, 7)

    def change():
        guest.ok(REREG_MR, rereg_payload(mr, 1, iova=0x10000, length=GRANULE, extents=memory))
        guest.ok(ADD_GID, gid_payload(other, index=9))
        guest.ok(DEL_GID, struct.pack("<II", 9, 1))
        qp = guest.queue_pair(ring)
        guest.ok(MODIFY_QP, struct.pack("<II", qp.handle, STATE) + b"\6" + bytes(139))
        guest.destroy(DESTROY_QP, qp.handle)
    guest.again_and_again(change)
    return []


def failing(guest, count):
    """queue pairs that fail again and again, with an event each"""
    q, count = guest.q, min(count, 64)
    ring = guest.ring(sq_wqe(WRITE, [sge(0x10000, 8, q.lkey + 1)], q.rkey, 0x10000))
    guest.write(ring, struct.pack("<I", 16))
    qps = [guest.queue_pair(ring) for _ in range(count)]

    def fail():
        for qp in qps:
            guest.join(qp)
        guest.announce(qps)
        for qp in qps:
            guest.ok(MODIFY_QP, struct.pack("<II", qp.handle, STATE) + bytes(140))
    guest.again_and_again(fail)
    return qps


def restarts(guest, count):
    """another VM of its that is enabled and reset without end, beside queue pairs that always have work"""
    other = Guest(guest.daemon, name=b"evil-too", bring_up=False)
    guest.others.append(other)

    def restart():
        other.next_free = GRANULE
        other.prepare()
        assert not other.qemu.enable(other.area)
        assert not other.qemu.reset()
    guest.again_and_again(restart)
    return short(guest, min(count, 100))


def callers(guest, count):
    """connections that say nothing and end again, as many as there may be"""
    def call():
        peers = [Peer(guest.daemon) for _ in range(16)]
        for peer in peers:
            peer.close()
    guest.again_and_again(call)
    return []


def readers(guest, count):
    """readers of the statistics that take no more than a byte of them, and end"""
    def read():
        sockets = [socket.socket(socket.AF_UNIX) for _ in range(8)]
        for s in sockets:
            s.connect(guest.daemon.socket + ".stats")
        for s in sockets:
            s.recv(1)
            s.close()
    guest.again_and_again(read)
    return []


def pieces(guest, count):
    """messages of thirty pieces of a byte each; half of them find no receive, and are tried again and again"""
    q = guest.q
    sges = [sge(0x10000 + i, 1, q.lkey) for i in range(30)]
    return [qp for opcode in (SEND, WRITE) for qp in guest.at_work(
        count // 2 or 1, sq_wqe(opcode, sges, q.rkey, 0x18000, flags=0), log_entries=11, log_stride=9, num_sge=30,
        rnr_timer=1)]


def binds(guest, count):
    """windows bound again and again"""
    q = guest.q
    mr = guest.create(REG_MR, mr_payload(q.pd, [(guest.alloc(GRANULE), GRANULE)], GRANULE, 0x1F))
    mw, rkey = struct.unpack_from("<II", guest.ok(ALLOC_MW, struct.pack("<II", q.pd, 1)))
    return guest.at_work(count, sq_wqe(BIND_MW, [], flags=0) + struct.pack("<QQIIII", 0x10000, GRANULE, mr, mw, rkey, 2))


def fast(guest, count):
    """fast registrations of a thousand pages each, invalidated again"""
    pages, page = 1000, guest.alloc(GRANULE)
    guest.write(page, bytes(GRANULE))
    q = types.SimpleNamespace(page=page)
    q.context = guest.create(ALLOC_CONTEXT, context_payload(page, reserved=CONTEXT_KERNEL))
    q.pd = guest.pd(q.context)
    q.cq = guest.new_cq(q.context, guest.ceq())
    memory, at = guest.alloc(2 * pages * GRANULE), guest.alloc(2 * GRANULE)
    guest.write(at, b"".join(struct.pack("<Q", memory + 2 * i * GRANULE) for i in range(pages)))
    qps = []
    for _ in range(min(count, 32)):
        mr, key = struct.unpack_from("<II", guest.ok(ALLOC_MR, struct.pack("<II", q.pd, pages)))
        register = struct.pack("<QQQIIIIB7x", 0x10000, pages * GRANULE, at, mr, key, 7, pages, 12)
        forget = struct.pack("<BBHIIIQQ", LOCAL_INV, 0, 0, 0, key, 0, 0, 0)
        both = (sq_wqe(REGISTER, [], flags=0) + register).ljust(128, b"\0") + forget
        ring = guest.ring(both, log_entries=9, log_stride=8)
        qps.append(guest.join(guest.queue_pair(ring, 10, q, log_stride=7)))
        guest.write(ring, struct.pack("<I", 1 << 10))
    guest.announce(qps)
    return qps


def mix(guest, count):
    """some of each"""
    return [qp for function in (bulk, reads, short, rnr, lost) for qp in function(guest, count // 5 or 1)]


INPUTS = (bulk, reads, short, atomics, rnr, lost, blocked, backlog, datagrams, storm, registrations, packets, big_packets, segments,
          mads, interrupts, limits, shared, resizes, changes, failing, restarts, callers, readers, pieces, binds, fast, mix)
