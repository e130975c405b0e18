# SPDX-License-Identifier: GPL-2.0-or-later
"""A false monitor: speaks vfio-user to a real pvhca-vfio-user, right or wrong.

The other end, pvhcad, is false too: the one of the QEMU device's tests.
"""

import array
import errno
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
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "qemu" / "tests"))

from rig import *  # noqa: E402,F401,F403
from rig import Gone, Hostd, PATIENCE  # noqa: E402

PROGRAM = os.environ.get("PVHCA_VFIO_USER", str(SOURCE / "build" / "qemu" / "pvhca-vfio-user"))
SANITIZED = PROGRAM.endswith("-asan")
NOBODY = 65534

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO = range(1, 6)
GET_REGION_IO_FDS, GET_IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE = range(6, 11)
DMA_READ, DMA_WRITE, DEVICE_RESET, DIRTY_PAGES, WRITE_MULTI = range(11, 16)
REPLY, NO_REPLY, ERROR = 1, 0x10, 0x20
READ_WRITE = 3
UNMAP_ALL = 2
REGS, MSIX, DOORBELL, CONFIG = 0, 1, 2, 7
PBA = 2048
SIZES = {REGS: 0x1000, MSIX: 0x1000, DOORBELL: 0x20000, CONFIG: 256}
NONE, BOOL, EVENTFD, MASK, UNMASK, TRIGGER = 1, 2, 4, 8, 16, 32
MSIX_INDEX = 2
MAX_FDS = 16
CAPABILITIES = {"capabilities": {"max_msg_fds": 8, "max_data_xfer_size": 1048576}}

# A reply has to be there within that time, whatever pvhcad does; more for the sanitizers on a loaded machine.
REPLY_SECONDS = 0.1 if not SANITIZED else 0.5


class Refused(Exception):
    """An error reply."""

    def __init__(self, number):
        super().__init__(errno.errorcode.get(number, number))
        self.errno = number


class Server:
    """pvhca-vfio-user, with a false pvhcad."""

    link_minor = 1      # of pvhcad's version of the link
    died = False

    def __init__(self, *options, hostd=True):
        self.folder = tempfile.mkdtemp(prefix="pvhca-vfio-user-")
        os.chmod(self.folder, 0o777)
        self.hostd = None
        if hostd:
            self.start_hostd()
        self.socket = f"{self.folder}/vm.sock"
        command = [PROGRAM, "--socket", self.socket, "--link", f"{self.folder}/hostd", *options]
        if os.geteuid() == 0:
            command = ["/usr/bin/setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--",
                       *command]
        self.log = open(f"{self.folder}/log", "w+")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.until(lambda: "waiting for a monitor" in self.output() or self.process.poll() is not None, "start")
        if self.process.poll() is not None:
            output = self.output()
            self.close()
            raise RuntimeError(output)

    def start_hostd(self):
        if os.path.exists(f"{self.folder}/hostd"):
            os.unlink(f"{self.folder}/hostd")
        self.hostd = Hostd(f"{self.folder}/hostd")
        self.hostd.minor = self.link_minor
        os.chmod(f"{self.folder}/hostd", 0o666)

    def stop_hostd(self):
        self.hostd.close()
        self.hostd = None

    def output(self):
        with open(self.log.name) as log:
            return log.read()

    def until(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"never: {what}; the server says: {self.output()}")
            time.sleep(0.005)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def die(self):
        """As if it had been killed; this end is expected."""
        self.process.kill()
        self.process.wait()
        self.died = True

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(PATIENCE)
        self.last_words = self.output()
        if self.hostd:
            self.hostd.close()
        self.log.close()
        shutil.rmtree(self.folder)
        return status


class Client:
    """The monitor's end of the socket."""

    def __init__(self, server, greet=True):
        self.server = server
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(server.socket)
        self.sock.settimeout(PATIENCE)
        self.ident = 0
        self.slowest = 0.0
        if greet:
            self.greet()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Messages

    def send(self, command, payload=b"", fds=(), flags=0, size=None, error=0):
        self.ident = (self.ident + 1) & 0xFFFF
        size = 16 + len(payload) if size is None else size
        data = struct.pack("=HHIII", self.ident, command, size, flags, error) + payload
        self.send_bytes(data, fds)
        return self.ident

    def send_bytes(self, data, fds=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.sock.sendmsg([data], ancillary)
        if sent < len(data):
            self.sock.sendall(data[sent:])

    def receive_bytes(self, size):
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise Gone()
            data += more
        return data

    def receive(self):
        """A reply: (id, command, flags, error, payload)."""
        ident, command, size, flags, error = struct.unpack("=HHIII", self.receive_bytes(16))
        assert 16 <= size <= 16 + 16 + 4096, size
        return ident, command, flags, error, self.receive_bytes(size - 16)

    def call(self, command, payload=b"", fds=(), **more):
        """Send a command; returns its reply's payload."""
        start = time.monotonic()
        sent = self.send(command, payload, fds, **more)
        ident, of, flags, error, answer = self.receive()
        self.slowest = max(self.slowest, time.monotonic() - start)
        assert (ident, of) == (sent, command), (ident, of, sent, command)
        if flags & ERROR:
            assert flags == REPLY | ERROR and not answer, (flags, answer)
            raise Refused(error)
        assert flags == REPLY and error == 0, (flags, error)
        return answer

    def gone(self):
        """Read up to the end of the connection; whether it came, not a time limit."""
        try:
            while self.sock.recv(4096):
                pass
        except ConnectionResetError:
            pass
        except socket.timeout:
            return False
        return True

    # Commands

    def greet(self, major=0, minor=0, offer=CAPABILITIES):
        data = json.dumps(offer).encode() + b"\0" if offer is not None else b""
        answer = self.call(VERSION, struct.pack("=HH", major, minor) + data)
        self.version = struct.unpack("=HH", answer[:4])
        assert answer[-1:] == b"\0" and answer.count(b"\0", 4) == 1, answer
        self.offer = json.loads(answer[4:-1])

    def map(self, address, size, fd=None, offset=0, flags=READ_WRITE, argsz=32):
        self.call(DMA_MAP, struct.pack("=IIQQQ", argsz, flags, offset, address, size), [fd] if fd is not None else ())

    def unmap(self, address, size, flags=0, argsz=24):
        return self.call(DMA_UNMAP, struct.pack("=IIQQ", argsz, flags, address, size))

    def read(self, region, offset, count=4):
        answer = self.call(REGION_READ, struct.pack("=QII", offset, region, count))
        assert struct.unpack("=QII", answer[:16]) == (offset, region, count), answer
        assert len(answer) == 16 + count, answer
        return answer[16:]

    def write(self, region, offset, data, flags=0):
        payload = struct.pack("=QII", offset, region, len(data)) + data
        if flags & NO_REPLY:
            self.send(REGION_WRITE, payload, flags=flags)
            return
        answer = self.call(REGION_WRITE, payload, flags=flags)
        assert struct.unpack("=QII", answer) == (offset, region, len(data)), answer

    def reg(self, offset):
        return struct.unpack("<I", self.read(REGS, offset))[0]

    def set_reg(self, offset, value):
        self.write(REGS, offset, struct.pack("<I", value))

    def set_irqs(self, flags, start, count, fds=(), booleans=b"", index=MSIX_INDEX, argsz=None):
        argsz = 20 + len(booleans) if argsz is None else argsz
        self.call(SET_IRQS, struct.pack("=5I", argsz, flags, index, start, count) + booleans, fds)


class Case(unittest.TestCase):
    def server(self, *options, **more):
        server = Server(*options, **more)
        self.addCleanup(self.finish, server)
        return server

    def finish(self, server):
        running = server.process.poll() is None
        status, output = server.close(), server.last_words
        if not server.died:
            self.assertEqual((running, status), (True, 0), f"the server ended badly: {output}")
        self.assertNotIn("runtime error", output)

    def connected(self, *options, **more):
        """A server and a monitor that has said VERSION."""
        server = self.server(*options, **more)
        client = Client(server)
        self.addCleanup(client.close)
        return server, client

    def linked(self, *options):
        """And pvhcad's session."""
        server, client = self.connected(*options)
        server.hostd.greet()
        self.until_status(client, 1)
        return server, client

    def until_status(self, client, status):
        client.server.until(lambda: client.reg(0x08) == status, f"status {status:#x}")

    def refuses(self, number, function, *arguments, **more):
        with self.assertRaises(Refused) as caught:
            function(*arguments, **more)
        self.assertEqual(caught.exception.errno, number, caught.exception)

    def still_works(self, client):
        self.assertEqual(client.reg(0), struct.unpack("<I", b"PVHC")[0])

    def descriptors_stay(self, server, before):
        server.until(lambda: server.descriptors() == before, f"{before} descriptors, there are {server.descriptors()}")


def memory(size):
    """A descriptor of shared memory."""
    fd = os.memfd_create("guest", os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    return fd


def rung(fd):
    """Whether the eventfd has been written since this was last asked."""
    if not select.select([fd], [], [], 1.0)[0]:
        return False
    os.read(fd, 8)
    return True


def quiet(fd):
    return not select.select([fd], [], [], 0.05)[0]


def eventfd():
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
