# SPDX-License-Identifier: GPL-2.0-or-later
"""A pvhcad to test, and false QEMUs and guest drivers that talk to it.

Everything is bytes: what the headers under kernel/include and qemu/include
say is written down here a second time, by hand, so that a change of layout
that was not meant shows as a failing test.
"""
import itertools
import json
import mmap
import os
import pwd
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import types

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "common"))

from timescale import scaled  # noqa: E402

# Seconds until what must happen counts as missing, and for a program to end.
PATIENCE = scaled(60)
PROGRAM_SECONDS = scaled(120)

GRANULE = 4096

# ---------------------------------------------------------------- link ABI

LINK_MAGIC = 0x4B4E4C50
HELLO, EVENT_FDS, MEM_ADD, MEM_DEL, ENABLE, RESET = range(1, 7)
HELLO_REPLY, ENABLE_REPLY, RESET_REPLY, FATAL = range(0x81, 0x85)
REPLY_SIZE = {HELLO_REPLY: 208, ENABLE_REPLY: 16, RESET_REPLY: 16, FATAL: 16}
ADMIN_DB, DATA_DB, VECTOR = range(3)

DEV_ERR_NONE, DEV_ERR_NO_BACKEND, DEV_ERR_BAD_STATE, DEV_ERR_ADMIN_AREA, \
    DEV_ERR_VERSION, DEV_ERR_ADMIN_QUEUE, DEV_ERR_HOST, DEV_ERR_GUEST, \
    DEV_ERR_MEMORY = range(9)

# --------------------------------------------------------------- admin ABI

ADMIN_MAGIC = 0x4D444150
(NOP, QUERY_DEVICE, QUERY_PORT, CREATE_CEQ, DESTROY_CEQ, ADD_GID, DEL_GID,
 ALLOC_CONTEXT, DEALLOC_CONTEXT, ALLOC_PD, DEALLOC_PD, REG_MR, DEREG_MR,
 CREATE_CQ, DESTROY_CQ, CREATE_QP, MODIFY_QP, QUERY_QP, DESTROY_QP,
 CREATE_AH, DESTROY_AH, CREATE_SRQ, MODIFY_SRQ, QUERY_SRQ, DESTROY_SRQ,
 ALLOC_MW, DEALLOC_MW, REREG_MR, RESIZE_CQ, ATTACH_MCAST, DETACH_MCAST,
 ALLOC_MR) = range(32)
LAST_OPCODE = ALLOC_MR
CONTEXT_KERNEL = 1
QP_F_SRQ, QP_F_BLOCK_LOOPBACK = 2, 4
GSI, RC, UC, UD, NET = range(1, 6)

# ibv_qp_attr_mask
RTR_MASK = 1 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 15 | 1 << 17 | 1 << 20
RTS_MASK = 1 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 13 | 1 << 16

(ST_OK, ST_INVALID, ST_NO_MEMORY, ST_QUOTA, ST_UNSUPPORTED, ST_DENIED,
 ST_BUSY, ST_BAD_ADDRESS, ST_VERSION, ST_IO, ST_IN_USE,
 ST_NOT_FOUND) = range(12)

NO_HANDLE = 0xFFFFFFFF
LINK_PAIR = 1 << 0
FEATURE_PAIR, FEATURE_VLAN, UNORDERED, FEATURE_NET, FEATURE_NET_TSO = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4
PHASE = 1 << 31
CMD_SIZE = 256
AREA_HOSTD = 1024
AREA_SQ_PI = 2048
AREA_CQ_CI = 2112


def header(kind, size, magic=LINK_MAGIC, reserved=0):
    return struct.pack("<IIII", magic, kind, size, reserved)


def message(kind, payload):
    return header(kind, len(payload)) + payload


def hello(major=1, minor=0, vectors=4, doorbells=2, reserved=0, features=0,
          uuid=bytes(16), name=b"vm", version=b"test", mac=bytes(6),
          tail=bytes(10)):
    return message(HELLO, struct.pack("<HHIIIQ16s64s32s6s10s", major, minor,
                                      vectors, doorbells, reserved, features,
                                      uuid, name, version, mac, tail))


def event_fds(kind, first, count, reserved=0):
    return message(EVENT_FDS, struct.pack("<IIII", kind, first, count,
                                          reserved))


def mem(kind, gpa, size, fd_offset=0, page_size=4096):
    return message(kind, struct.pack("<QQQQ", gpa, size, fd_offset,
                                     page_size))


def enable(ident, gpa):
    return message(ENABLE, struct.pack("<QQ", ident, gpa))


def reset(ident):
    return message(RESET, struct.pack("<Q", ident))


def mem_list(extents, length=None, num=None, chunk=0, reserved=0):
    if length is None:
        length = sum(size for _, size in extents)
    if num is None:
        num = len(extents)
    inline = (extents + [(0, 0)] * 4)[:4]
    return struct.pack("<IIQQ", num & 0xFFFFFFFF, reserved, length, chunk) + \
        b"".join(struct.pack("<QQ", addr, size) for addr, size in inline)


# ------------------------------------------------------------------ daemon

def daemon_user():
    """Whom a pvhcad becomes that root starts."""
    try:
        return pwd.getpwnam("pvhca").pw_uid
    except KeyError:
        return 65534


def give_to_daemon(path):
    """A folder or a socket that it has to work on; in a folder of its own it can remove its sockets again."""
    if os.geteuid() == 0:
        os.chown(path, daemon_user(), -1)


class Daemon:
    """A pvhcad of our own, on a socket of its own."""

    def __init__(self, *options, config=None, log_level="debug", fds=None, env=None):
        self.program = os.environ["PVHCAD"]
        self.folder = tempfile.TemporaryDirectory(prefix="pvhca-")
        give_to_daemon(self.folder.name)
        self.socket = os.path.join(self.folder.name, "sock")
        self.log_path = os.path.join(self.folder.name, "log")
        self.config = os.path.join(self.folder.name, "conf")
        with open(self.config, "w") as f:
            f.write(config or "")
        self.options = ["--log-level", log_level, "--spin-us", "0", *options]
        self.env = env
        self.limit = fds and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (fds, fds)))
        self.start()

    def start(self):
        """Also after stop(), or a kill: at the same socket, with a log that goes on."""
        self.log_file = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [self.program, "--config", self.config, "--socket", self.socket, *self.options],
            stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=subprocess.STDOUT, preexec_fn=self.limit,
            env=self.env and {**os.environ, **self.env})
        wait_for(self.answers_or_ended, "pvhcad to answer")

    def answers_or_ended(self):
        """An answer comes from the main loop: by then all sockets are open, with their modes."""
        if not self.alive():
            return True
        try:
            return bool(self.stats())
        except OSError:
            return False

    def alive(self):
        return self.process.poll() is None

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def threads(self):
        return len(os.listdir("/proc/%d/task" % self.process.pid))

    def mappings(self):
        """Mappings of memory that guests passed."""
        with open("/proc/%d/maps" % self.process.pid) as f:
            return sum("memfd:guest" in line for line in f)

    def stats(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            s.connect(self.socket + ".stats")
            text = b""
            while True:
                data = s.recv(65536)
                if not data:
                    return json.loads(text)
                text += data

    def totals(self):
        return self.stats()["totals"]

    def stop(self, sig=signal.SIGTERM):
        """Stop it; its exit status."""
        if self.alive():
            self.process.send_signal(sig)
        status = self.process.wait(PATIENCE)
        self.log_file.close()
        return status

    def clean_up(self):
        if self.alive():
            self.process.kill()
            self.process.wait()
        self.log_file.close()
        self.folder.cleanup()

    def end_well(self):
        """Stop it and clean up; it has to end with 0."""
        try:
            status = self.stop()
            assert status == 0, "status %d\n%s" % (status, self.log()[-4000:])
        finally:
            self.clean_up()


def wait_for(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited in vain for " + what)
        time.sleep(0.005)


# -------------------------------------------------------------------- QEMU

class Peer:
    """A connection to pvhcad, that sends what it is told. path: of another socket than the one for all."""

    def __init__(self, daemon, path=None):
        self.s = socket.socket(socket.AF_UNIX)
        # Blocking: with a timeout a full queue of connections is an error.
        self.s.connect(path or daemon.socket)
        self.s.settimeout(PATIENCE)

    def send(self, data, fds=()):
        if fds:
            socket.send_fds(self.s, [data], list(fds))
        else:
            self.s.sendall(data)

    def try_send(self, data, fds=()):
        """Send to a pvhcad that may have closed already."""
        try:
            self.send(data, fds)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def recv_exact(self, size):
        data = b""
        while len(data) < size:
            piece = self.s.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def receive(self):
        """The next message: type, payload."""
        magic, kind, size, reserved = struct.unpack("<IIII",
                                                    self.recv_exact(16))
        assert magic == LINK_MAGIC and reserved == 0
        assert size == REPLY_SIZE[kind]
        return kind, self.recv_exact(size)

    def is_closed(self):
        """pvhcad closes, having said nothing more."""
        try:
            return self.s.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.s.close()


class Qemu(Peer):
    """One that does it right, as far as it is asked to. Each is another VM, where no name is given: a VM is served once."""

    numbers = itertools.count()

    def __init__(self, daemon, vectors=4, doorbells=2, events=True, path=None, **kwargs):
        super().__init__(daemon, path)
        kwargs.setdefault("name", b"vm-%d" % next(self.numbers))
        self.vectors = vectors
        self.doorbells = doorbells
        self.ident = 0
        self.events = {}
        try:
            self.send(hello(vectors=vectors, doorbells=doorbells, **kwargs))
            kind, payload = self.receive()
            assert kind == HELLO_REPLY
            self.refused, self.features = struct.unpack_from("<IQ", payload, 4)
            self.reason = payload[48:].rstrip(b"\0").decode()
            if events and not self.refused:
                self.send_events()
        except (OSError, EOFError):
            self.close()
            raise

    def send_events(self):
        for kind, first, end in ((ADMIN_DB, 0, 1), (DATA_DB, 0, self.doorbells),
                                 (VECTOR, 1, self.vectors)):
            for at in range(first, end, 8):
                count = min(8, end - at)
                fds = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                       for _ in range(count)]
                for i, fd in enumerate(fds):
                    self.events[kind, at + i] = fd
                self.send(event_fds(kind, at, count), fds)

    def add_memory(self, gpa, size, fd, fd_offset=0):
        self.send(mem(MEM_ADD, gpa, size, fd_offset), [fd])

    def ring(self, kind=ADMIN_DB, index=0):
        os.eventfd_write(self.events[kind, index], 1)

    def wait_event(self, kind, index, seconds=PATIENCE):
        fd = self.events[kind, index]
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return os.eventfd_read(fd) if poll.poll(seconds * 1000) else 0

    def reply(self, want):
        """Error of the next reply, which must be of this kind."""
        kind, payload = self.receive()
        assert kind == want, "%#x instead of %#x" % (kind, want)
        ident, error, reserved = struct.unpack("<QII", payload)
        assert reserved == 0
        assert ident == (0 if want == FATAL else self.ident)
        return error

    def enable(self, gpa):
        self.ident += 1
        self.send(enable(self.ident, gpa))
        return self.reply(ENABLE_REPLY)

    def reset(self):
        self.ident += 1
        self.send(reset(self.ident))
        return self.reply(RESET_REPLY)

    def close_events(self):
        """Our copies of the descriptors; pvhcad keeps its own."""
        for fd in self.events.values():
            os.close(fd)
        self.events = {}

    def close(self):
        super().close()
        self.close_events()


# ------------------------------------------------------------------- guest

class Guest:
    """A VM with a driver: memory, a Qemu and an admin queue."""

    driver_features = UNORDERED    # that the driver knows

    def __init__(self, daemon, size=8 << 20, base=0, log_sq=4, log_cq=4,
                 log_aeq=4, bring_up=True, driver_features=UNORDERED, **kwargs):
        self.size = size
        self.base = base
        self.fd = os.memfd_create("guest", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size)
        self.ram = mmap.mmap(self.fd, size)
        self.next_free = base + GRANULE
        self.log_sq, self.log_cq, self.log_aeq = log_sq, log_cq, log_aeq
        self.driver_features = driver_features
        self.cookie = 0
        self.qemu = Qemu(daemon, **kwargs)
        assert not self.qemu.refused, self.qemu.reason
        self.qemu.add_memory(base, size, self.fd)
        if bring_up:
            self.prepare()
            error = self.qemu.enable(self.area)
            assert error == 0, "ENABLE: error %d, %s" % (error,
                                                         self.message())

    def alloc(self, size):
        """Guest-physical memory, on a granule."""
        at = self.next_free
        self.next_free += -(-size // GRANULE) * GRANULE
        assert self.next_free <= self.base + self.size
        return at

    def write(self, gpa, data):
        at = gpa - self.base
        self.ram[at:at + len(data)] = data

    def read(self, gpa, size):
        at = gpa - self.base
        return self.ram[at:at + size]

    def u32(self, gpa):
        return struct.unpack("<I", self.read(gpa, 4))[0]

    def prepare(self, **changes):
        """An admin area, with some of its fields changed."""
        self.area = self.alloc(GRANULE)
        self.sq = self.alloc(CMD_SIZE << self.log_sq)
        self.cq = self.alloc(CMD_SIZE << self.log_cq)
        self.aeq = self.alloc(64 + (16 << self.log_aeq))
        self.sq_pi = self.cq_ci = 0
        fields = dict(magic=ADMIN_MAGIC, major=1, minor=1, features=self.driver_features,
                      sq=self.sq, cq=self.cq, aeq=self.aeq,
                      log_sq=self.log_sq, log_cq=self.log_cq,
                      log_aeq=self.log_aeq, reserved=0)
        fields.update(changes)
        self.write(self.area, bytes(GRANULE))
        self.write(self.cq, bytes(CMD_SIZE << self.log_cq))
        self.write(self.aeq, bytes(64 + (16 << self.log_aeq)))
        self.write(self.area, struct.pack(
            "<IHHQQQQBBB5s32s", fields["magic"], fields["major"],
            fields["minor"], fields["features"], fields["sq"], fields["cq"],
            fields["aeq"], fields["log_sq"], fields["log_cq"],
            fields["log_aeq"], bytes([fields["reserved"]] * 5), b"test"))

    def features(self):
        """That pvhcad accepted, PVHCA_FEATURE_*."""
        return struct.unpack("<Q", self.read(self.area + AREA_HOSTD + 8, 8))[0]

    def hostd_status(self):
        return self.u32(self.area + AREA_HOSTD)

    def message(self):
        text = self.read(self.area + AREA_HOSTD + 48, 160)
        return text.rstrip(b"\0").decode()

    def post(self, opcode, payload=b"", flags=0):
        """Write a command without ringing. Its cookie."""
        self.cookie = (self.cookie + 1) & 0xFFFFFFFF
        data = struct.pack("<IHH", self.cookie, opcode, flags) + payload
        assert len(data) <= CMD_SIZE
        at = self.sq + (self.sq_pi % (1 << self.log_sq)) * CMD_SIZE
        self.write(at, data.ljust(CMD_SIZE, b"\0"))
        self.sq_pi = (self.sq_pi + 1) & 0xFFFFFFFF
        return self.cookie

    def publish(self):
        self.write(self.area + AREA_SQ_PI, struct.pack("<I", self.sq_pi))
        self.qemu.ring()

    def poll(self):
        """The next completion or None: cookie, status, response."""
        entries = 1 << self.log_cq
        at = self.cq + (self.cq_ci % entries) * CMD_SIZE
        # The phase alone first: a copy of all may have taken the rest before
        # pvhcad wrote it, and the phase after.
        flags = self.u32(at + CMD_SIZE - 4)
        if bool(flags & PHASE) == bool(self.cq_ci // entries & 1):
            return None
        entry = self.read(at, CMD_SIZE)
        cookie, status = struct.unpack_from("<II", entry, 244)
        self.cq_ci += 1
        self.write(self.area + AREA_CQ_CI, struct.pack("<I", self.cq_ci))
        return cookie, status, entry[:240]

    def complete(self, seconds=PATIENCE):
        end = time.monotonic() + seconds
        while True:
            done = self.poll()
            if done:
                return done
            if time.monotonic() > end:
                raise AssertionError("no completion")
            self.qemu.wait_event(VECTOR, 1, 0.05)

    def command(self, opcode, payload=b"", flags=0):
        """Carry out a command: status, response."""
        cookie = self.post(opcode, payload, flags)
        self.publish()
        got, status, response = self.complete()
        assert got == cookie
        return status, response

    def ok(self, opcode, payload=b""):
        status, response = self.command(opcode, payload)
        assert status == ST_OK, "opcode %d: status %d" % (opcode, status)
        return response

    def create(self, opcode, payload):
        return struct.unpack_from("<I", self.ok(opcode, payload))[0]

    def destroy(self, opcode, handle):
        return self.command(opcode, struct.pack("<II", handle, 0))[0]

    # What makes objects, with arguments that are right.

    def ceq(self, vector=2, log_entries=6):
        addr = self.alloc(64 + (8 << log_entries))
        return self.create(CREATE_CEQ, struct.pack("<QII", addr, log_entries,
                                                   vector))

    def context(self, page=None):
        if page is None:
            page = self.alloc(GRANULE)
            self.write(page, bytes(GRANULE))
        return self.create(ALLOC_CONTEXT, context_payload(page))

    def pd(self, context):
        return self.create(ALLOC_PD, struct.pack("<II", context, 0))

    def mr(self, pd, length=GRANULE, access=1):
        addr = self.alloc(length)
        return self.create(REG_MR, mr_payload(pd, [(addr, length)], length,
                                              access))

    def new_cq(self, context, ceq, log_entries=5):
        size = granules(128 + (32 << log_entries))
        addr = self.alloc(size)
        self.write(addr, bytes(size))
        return self.create(CREATE_CQ, cq_payload(context, ceq, log_entries,
                                                 [(addr, size)]))

    def qp(self, context, pd, cq, **kwargs):
        addr = self.alloc(2 * GRANULE)
        self.write(addr, bytes(2 * GRANULE))
        return self.create(CREATE_QP, qp_payload(context, pd, cq, cq,
                                                 [(addr, 2 * GRANULE)],
                                                 **kwargs))

    def rc_qp(self, **kwargs):
        """A context with all that a queue pair needs, by default RC: a namespace."""
        q = types.SimpleNamespace(guest=self)
        q.page = self.alloc(GRANULE)
        q.context = self.context(q.page)
        q.pd = self.pd(q.context)
        q.cq_at = self.alloc(2 * GRANULE)
        q.ceq = self.ceq()
        q.cq = self.create(CREATE_CQ, cq_payload(q.context, q.ceq, 6,
                                                 [(q.cq_at, 2 * GRANULE)]))
        q.cq_ci = q.sq_pi = q.rq_pi = 0
        q.ring_at = self.alloc(2 * GRANULE)
        rsp = self.ok(CREATE_QP, qp_payload(q.context, q.pd, q.cq, q.cq,
                                            [(q.ring_at, 2 * GRANULE)], **kwargs))
        q.handle, q.qpn, q.slot, q.doorbell = struct.unpack_from("<4I", rsp)
        q.data = self.alloc(16 * GRANULE)
        rsp = self.ok(REG_MR, mr_payload(q.pd, [(q.data, 16 * GRANULE)],
                                         16 * GRANULE, 0xF))
        q.mr, q.lkey, q.rkey = struct.unpack_from("<3I", rsp)
        return q

    def connect(self, q, peer_qpn, dgid, sgid_index=0):
        """RESET to RTS."""
        av = struct.pack("<16sIBBBBBBBBI", dgid, 0, sgid_index, 64, 0, 0, 1, 0,
                         1, 0, 0)
        for state, mask in ((1, 0x39), (2, RTR_MASK),
                            (3, RTS_MASK)):
            attr = struct.pack("<BBBBIIIIIHHBBBBBBBBBBBBI20s32s32s",
                               state, 0, 3, 0, 0, 0, 0, peer_qpn, 0xF, 0, 0,
                               0, 0, 1, 1, 12, 1, 14, 7, 7, 0, 0, 0, 0,
                               bytes(20), av, bytes(32))
            self.ok(MODIFY_QP, struct.pack("<II", q.handle, mask) + attr)

    def post_send(self, q, wqe, ring=True):
        at = q.ring_at + 4096 + (q.sq_pi % 16) * 64
        self.write(at, wqe.ljust(64, b"\0"))
        q.sq_pi += 1
        self.write(q.ring_at, struct.pack("<I", q.sq_pi))
        self.mark(q, ring)

    def post_recv(self, q, sge):
        at = q.ring_at + 256 + (q.rq_pi % 16) * 32
        self.write(at, struct.pack("<HHIQ", 1, q.rq_pi % 16, 0, 0) + sge)
        q.rq_pi += 1
        self.write(q.ring_at + 64, struct.pack("<I", q.rq_pi))
        self.mark(q)

    def mark(self, q, ring=True):
        """Set the slot's bits, not atomically: these guests post one at a
        time and ring always, unless told otherwise."""
        word = q.slot // 64
        self.write(q.page + 512 + 8 * word, struct.pack("<Q", 1 << q.slot % 64))
        self.write(q.page + 256, struct.pack("<Q", 1 << word))
        if ring:
            self.qemu.ring(DATA_DB, q.doorbell // 8)

    def poll_cq(self, q, seconds=PATIENCE):
        """The next completion: (qpn, byte_len, opcode, status, wqe_index)."""
        at = q.cq_at + 128 + (q.cq_ci % 64) * 32
        end = time.monotonic() + seconds
        while True:
            if bool(self.read(at + 31, 1)[0] & 0x80) != bool(q.cq_ci // 64 & 1):
                break       # and not before is the rest valid
            if time.monotonic() > end:
                raise AssertionError("no completion")
            time.sleep(0.001)
        entry = self.read(at, 32)
        q.cq_ci += 1
        self.write(q.cq_at, struct.pack("<I", q.cq_ci))
        qpn, length = struct.unpack_from("<II", entry)
        index, = struct.unpack_from("<H", entry, 26)
        return qpn, length, entry[28], entry[29], index

    def world(self):
        """One of each: handles by name."""
        ceq = self.ceq()
        context = self.context()
        pd = self.pd(context)
        mr = self.mr(pd)
        cq = self.new_cq(context, ceq)
        qp = self.qp(context, pd, cq)
        return dict(ceq=ceq, context=context, pd=pd, mr=mr, cq=cq, qp=qp)

    def close(self):
        self.qemu.close()
        self.ram.close()
        os.close(self.fd)


def granules(size):
    return -(-size // GRANULE) * GRANULE


def context_payload(page, major=1, minor=0, reserved=0):
    return struct.pack("<QHHI32s", page, major, minor, reserved, b"test")


def mr_payload(pd, extents, length, access=1, iova=0x10000, offset=0,
               mem_length=None, **kwargs):
    return struct.pack("<IIQQQ", pd, access, iova, length, offset) + \
        mem_list(extents, length=mem_length, **kwargs)


def cq_payload(context, ceq, log_entries, extents, flags=0, **kwargs):
    return struct.pack("<IIII", context, ceq, log_entries, flags) + \
        mem_list(extents, **kwargs)


def qp_payload(context, pd, send_cq, recv_cq, extents, srq=NO_HANDLE, kind=2,
               flags=0, cap=(16, 16, 1, 1, 0), sq_offset=4096, rq_offset=256,
               sq=(4, 6), rq=(4, 5), reserved=0, **kwargs):
    return struct.pack("<IIIIIII", context, pd, send_cq, recv_cq, srq, kind,
                       flags) + struct.pack("<5I", *cap) + \
        struct.pack("<IIBBBBI", sq_offset, rq_offset, *sq, *rq, reserved) + \
        mem_list(extents, **kwargs)


def av_payload(dgid, sgid_index=0, flow_label=0, sl=0, port=1, is_global=1,
               reserved0=0, reserved1=0):
    return struct.pack("<16sIBBBBBBBBI", dgid, flow_label, sgid_index, 64, 0,
                       sl, port, 0, is_global, reserved0, reserved1)


def ah_payload(pd, dgid, reserved=0, **kwargs):
    return struct.pack("<II", pd, reserved) + av_payload(dgid, **kwargs)


def srq_payload(context, pd, extents, max_wr=16, max_sge=1, limit=0,
                rq_offset=256, rq=(4, 5), reserved0=0, reserved1=0, **kwargs):
    return struct.pack("<IIIIIIBBHI", context, pd, max_wr, max_sge, limit,
                       rq_offset, *rq, reserved0, reserved1) + \
        mem_list(extents, **kwargs)


def rereg_payload(mr, flags, pd=0, access=0, iova=0, length=0, offset=0,
                  extents=(), **kwargs):
    return struct.pack("<IIIIQQQ", mr, flags, pd, access, iova, length,
                       offset) + mem_list(list(extents), **kwargs)


def resize_payload(cq, log_entries, extents, **kwargs):
    return struct.pack("<II", cq, log_entries) + mem_list(extents, **kwargs)


def mcast_payload(gid, qp, lid=0, reserved=0):
    return struct.pack("<16sIHH", gid, qp, lid, reserved)


def sge(addr, length, lkey):
    return struct.pack("<QII", addr, length, lkey)


def sq_wqe(opcode, sges, rkey=0, remote=0, flags=1, inline=0):
    """Signaled, unless flags say otherwise."""
    return struct.pack("<BBHIIIQQ", opcode, flags, len(sges), inline, 0, rkey,
                       remote, 0) + b"".join(sges)


def gid_payload(gid, index=0, port=1, kind=1, vlan=0xFFFF, reserved=0):
    return struct.pack("<16sIIIHH", gid, index, port, kind, vlan, reserved)


def v4(a, b, c, d):
    return bytes(10) + b"\xff\xff" + bytes([a, b, c, d])
