# SPDX-License-Identifier: GPL-2.0-or-later
"""What the device's tests need: a QEMU without a guest and a false pvhcad.

QEMU runs under its qtest accelerator: the test is the guest's processor, by
port and memory accesses sent as lines of text.  The false pvhcad is the other
end of the device's socket and says what the test tells it to, right or wrong.
MSI-X messages are aimed at guest RAM, where the test reads them.
"""

import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "..", "tests", "common"))

from timescale import scaled  # noqa: E402

QEMU = os.environ.get("PVHCA_QEMU", "build/qemu/qemu-system-x86_64")
PATIENCE = scaled(60)     # seconds until something that must happen counts as missing
# Seconds without a message after which no more are expected.
# They pass in each test, so they are no more than they must be.
QUIET = scaled(0.3, most=0.6)

# pvhca-link.h
LINK_MAGIC = 0x4B4E4C50
HELLO, EVENT_FDS, MEM_ADD, MEM_DEL, ENABLE, RESET = range(1, 7)
HELLO_REPLY, ENABLE_REPLY, RESET_REPLY, FATAL = range(0x81, 0x85)
EVENT_ADMIN_DB, EVENT_DATA_DB, EVENT_VECTOR = range(3)

# pvhca-regs.h
REG_MAGIC, REG_ABI, REG_STATUS, REG_CONTROL = 0x00, 0x04, 0x08, 0x0C
REG_ADMIN_LO, REG_ADMIN_HI, REG_VECTORS, REG_DOORBELLS = 0x10, 0x14, 0x18, 0x1C
REG_ERROR, REG_GENERATION, REG_LINK_ABI = 0x20, 0x24, 0x28
REG_QEMU_VERSION, REG_HOSTD_VERSION, VERSION_LEN = 0x40, 0x80, 0x20
LINK, ENABLED, RESETTING, FAILED = 1, 2, 4, 8
CONTROL_RESET, CONTROL_ENABLE = 1, 2
ERR_NO_BACKEND, ERR_BAD_STATE, ERR_ADMIN_AREA = 1, 2, 3
ERR_HOST, ERR_BACKEND_VERSION = 6, 9
DB_STRIDE, DB_ADMIN = 8, 0x10000

# Where the rig puts the BARs and the MSI-X messages of vector n.
BAR = (0xE0000000, 0xE0100000, 0xE0200000)
MSG_AREA = 0x300000
SLOT = 4


class Gone(Exception):
    """The peer has closed the connection."""


class Hostd:
    """A false pvhcad: listens, and speaks the link protocol byte by byte."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(5)
        self.listener.settimeout(PATIENCE)
        self.sock = None
        self.minor = 0          # of the link's version
        self.forget()

    def forget(self):
        for fd in [fd for _, _, fds in getattr(self, "kept", []) for fd in fds]:
            os.close(fd)
        self.kept = []          # (type, payload, fds) of the session's beginning
        self.events = {}        # (kind, index): fd
        self.memory = {}        # gpa: (size, fd_offset, page_size, fd)

    def accept(self):
        self.hang_up()
        self.sock, _ = self.listener.accept()
        self.sock.settimeout(PATIENCE)

    def hang_up(self):
        if self.sock:
            self.sock.close()
            self.sock = None
        self.forget()

    def close(self):
        self.hang_up()
        self.listener.close()

    def receive(self):
        """The next message: (type, payload, descriptors)."""
        data, fds, _, _ = socket.recv_fds(self.sock, 16, 8)
        if not data:
            raise Gone()
        while len(data) < 16:
            data += self.sock.recv(16 - len(data))
        magic, kind, size, reserved = struct.unpack("=4I", data)
        assert magic == LINK_MAGIC and reserved == 0, data
        payload = b""
        while len(payload) < size:
            more = self.sock.recv(size - len(payload))
            if not more:
                raise Gone()
            payload += more
        return kind, payload, fds

    def send(self, kind, payload=b"", magic=LINK_MAGIC, size=None, reserved=0, fds=()):
        if size is None:
            size = len(payload)
        data = struct.pack("=4I", magic, kind, size, reserved) + payload
        if fds:
            socket.send_fds(self.sock, [data], fds)
        else:
            self.sock.sendall(data)

    @staticmethod
    def hello_reply(major=1, minor=0, refused=0, features=0, version=b"hostd 9.9",
                    reason=b""):
        return struct.pack("=HHIQ32s160s", major, minor, refused, features, version,
                           reason)

    def reply(self, kind, ident, error=0, reserved=0):
        self.send(kind, struct.pack("=QII", ident, error, reserved))

    def take(self, message):
        """Keep what EVENT_FDS, MEM_ADD and MEM_DEL say."""
        kind, payload, fds = message
        self.kept.append(message)
        if kind == EVENT_FDS:
            event, first, count, reserved = struct.unpack("=4I", payload)
            assert count == len(fds) and 1 <= count <= 8 and reserved == 0, message
            for i, fd in enumerate(fds):
                again = (event, first + i) in self.events
                assert not again or (event == EVENT_VECTOR and self.minor >= 1), message
                assert event != EVENT_VECTOR or first + i > 0 or self.minor >= 1, message
                self.events[event, first + i] = fd
        elif kind == MEM_ADD:
            gpa, size, offset, page = struct.unpack("=4Q", payload)
            assert len(fds) == 1, message
            for other, (other_size, *_) in self.memory.items():
                assert gpa + size <= other or other + other_size <= gpa, "overlap"
            self.memory[gpa] = (size, offset, page, fds[0])
        elif kind == MEM_DEL:
            gpa, size, offset, _ = struct.unpack("=4Q", payload)
            assert not fds and offset == 0, message
            assert self.memory[gpa][0] == size, message
            del self.memory[gpa]
        else:
            raise AssertionError(f"unexpected message {message}")

    def catch_up(self):
        """Take the messages that are there."""
        while select.select([self.sock], [], [], 0)[0]:
            self.take(self.receive())

    def settle(self, quiet=QUIET):
        """Take messages until there are none for a while."""
        self.sock.settimeout(quiet)
        try:
            while True:
                self.take(self.receive())
        except socket.timeout:
            pass
        finally:
            self.sock.settimeout(PATIENCE)

    def greet(self):
        """The whole beginning of a session; returns the HELLO's payload."""
        self.accept()
        kind, payload, fds = self.receive()
        assert kind == HELLO and not fds, (kind, fds)
        self.send(HELLO_REPLY, self.hello_reply(minor=self.minor))
        self.settle()
        return payload


class Machine:
    """A QEMU with the device, and the registers of both."""

    def __init__(self, *extra, device="", ram="memfd", machine="q35",
                 chardev=",reconnect-ms=50", size="64M"):
        self.folder = tempfile.mkdtemp(prefix="pvhca-qtest-")
        path = os.path.join(self.folder, "hostd")
        self.hostd = Hostd(path)
        qtest = self.listen("qtest")
        qmp = self.listen("qmp")
        args = [QEMU, "-accel", "qtest", "-display", "none", "-nodefaults", "-S",
                "-machine", machine, "-m", size + ",slots=2,maxmem=16G",
                "-qtest", f"unix:{self.folder}/qtest", "-qtest-log", "/dev/null",
                "-qmp", f"unix:{self.folder}/qmp"]
        if ram == "memfd":
            args += ["-object", f"memory-backend-memfd,id=ram,size={size},share=on",
                     "-machine", "memory-backend=ram"]
        if chardev is not None:
            args += ["-chardev", f"socket,id=hostd,path={path}{chardev}",
                     "-device", f"pvhca,id=hca,addr={SLOT},chardev=hostd{device}"]
        args += extra
        self.log = open(os.path.join(self.folder, "log"), "w+")
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)
        try:
            self.qtest = self.wait_for(qtest)
            with self.wait_for(qmp) as sock:
                self.qmp = sock.makefile("rwb")
            json.loads(self.qmp.readline())
            self.command("qmp_capabilities")
        except (OSError, ValueError):
            self.process.wait(PATIENCE)
            output = self.output()
            self.close()
            raise RuntimeError("QEMU did not start: " + output) from None
        except BaseException:
            self.close()
            raise
        finally:
            qtest.close()
            qmp.close()
        self.pending = b""

    def listen(self, name):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(os.path.join(self.folder, name))
        sock.listen(1)
        return sock

    def wait_for(self, listener):
        deadline = time.monotonic() + PATIENCE
        listener.settimeout(0.1)
        while True:
            try:
                sock, _ = listener.accept()
                sock.settimeout(PATIENCE)
                return sock
            except socket.timeout:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("QEMU did not start: " + self.output()) from None

    def output(self):
        self.log.flush()
        with open(self.log.name) as log:
            return log.read()

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(PATIENCE)
        for end in ("qtest", "qmp"):
            if hasattr(self, end):
                getattr(self, end).close()
        self.hostd.close()
        self.log.close()
        shutil.rmtree(self.folder)
        return status

    # QMP

    def command(self, name, **arguments):
        request = {"execute": name, "arguments": arguments}
        self.qmp.write(json.dumps(request).encode() + b"\n")
        self.qmp.flush()
        while True:
            answer = json.loads(self.qmp.readline())
            if "event" not in answer:
                return answer

    # qtest

    def line(self, text):
        self.qtest.sendall(text.encode() + b"\n")
        while True:
            while b"\n" not in self.pending:
                more = self.qtest.recv(4096)
                if not more:
                    raise Gone()
                self.pending += more
            answer, self.pending = self.pending.split(b"\n", 1)
            words = answer.decode().split()
            if words[0] == "IRQ":
                continue
            assert words[0] == "OK", (text, answer)
            return int(words[1], 0) if len(words) > 1 else None

    def read(self, address, size=4):
        return self.line(f"read{ {1: 'b', 2: 'w', 4: 'l', 8: 'q'}[size] } {address:#x}")

    def write(self, address, value, size=4):
        suffix = {1: "b", 2: "w", 4: "l", 8: "q"}[size]
        self.line(f"write{suffix} {address:#x} {value:#x}")

    def config_address(self, offset, slot):
        self.line(f"outl 0xcf8 {0x80000000 | slot << 11 | offset & ~3:#x}")

    def config_read(self, offset, slot=SLOT):
        self.config_address(offset, slot)
        return self.line("inl 0xcfc")

    def config_write(self, offset, value, slot=SLOT):
        self.config_address(offset, slot)
        self.line(f"outl 0xcfc {value:#x}")

    def config_write_byte(self, offset, value, slot=SLOT):
        self.config_address(offset, slot)
        self.line(f"outb {0xCFC + offset % 4:#x} {value:#x}")

    def reg(self, offset):
        return self.read(BAR[0] + offset)

    def set_reg(self, offset, value):
        self.write(BAR[0] + offset, value)

    def text(self, offset):
        raw = b"".join(struct.pack("<I", self.reg(offset + i))
                       for i in range(0, VERSION_LEN, 4))
        return raw.rstrip(b"\0").decode()

    def setup(self):
        """Place the BARs and switch MSI-X on, all vectors unmasked."""
        for i, base in enumerate(BAR):
            self.config_write(0x10 + 4 * i, base)
        self.config_write(0x04, 0x6)
        self.msix = self.config_read(0x34) & 0xFF
        while self.config_read(self.msix) & 0xFF != 0x11:
            self.msix = self.config_read(self.msix) >> 8 & 0xFF
        self.vectors = (self.config_read(self.msix) >> 16 & 0x7FF) + 1
        self.pba = BAR[1] + (self.config_read(self.msix + 8) & ~7)
        for vector in range(self.vectors):
            entry = BAR[1] + 16 * vector
            self.write(entry, MSG_AREA + 8 * vector)
            self.write(entry + 4, 0)
            self.write(entry + 8, 0x1000 + vector)
            self.write(entry + 12, 0)
            self.write(MSG_AREA + 8 * vector, 0)
        self.enable_msix(True)

    def enable_msix(self, on):
        self.config_write(self.msix, (0x80000000 if on else 0) | 0x11)

    def mask(self, vector, masked):
        self.write(BAR[1] + 16 * vector + 12, int(masked))

    def raised(self, vector):
        """Whether the vector has been raised since this was last asked."""
        value = self.read(MSG_AREA + 8 * vector)
        if value:       # else one that comes just now would be wiped out
            self.write(MSG_AREA + 8 * vector, 0)
        assert value in (0, 0x1000 + vector), hex(value)
        return value != 0

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"never: {what}; QEMU says: {self.output()}")
            time.sleep(0.01)

    def until_raised(self, vector):
        self.until(lambda: self.raised(vector), f"vector {vector}")

    def until_status(self, status):
        self.until(lambda: self.reg(REG_STATUS) == status, f"status {status:#x}")
