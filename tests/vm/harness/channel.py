# SPDX-License-Identifier: GPL-2.0-or-later
"""The harness's end of the channel to a guest's agent; agent/agent.h describes the frames."""

import errno
import itertools
import struct
import threading

MAGIC = 0x61767670
HEADER = struct.Struct("<4I")
PAIR = struct.Struct("<2I")
HELLO_TOKEN = b"\xff\x00\xfe\x01pvhca test agent\x01\xfe\x00\xff"
HELLO_FRAME = HEADER.pack(MAGIC, 0x80, 0, len(HELLO_TOKEN)) + HELLO_TOKEN
CHUNK = 256 * 1024

RUN, INPUT, SIGNAL, STORE, FETCH, LOAD, LISTEN, SYNC, SWEEP, POWER = range(1, 11)
HELLO, OUT, ERR, DONE, KMSG = range(0x80, 0x85)

EXITED, SIGNALLED, FAILED = range(3)
TERMINAL = 1


class Channel:
    """Sends requests and hands their answers to whoever made them.

    A request's handler has _output(stream, bytes) and _end(rc, died). They are called from the channel's thread.
    """

    def __init__(self, sock, on_kmsg, on_hello):
        self._sock = sock
        self._on_kmsg, self._on_hello = on_kmsg, on_hello
        self._ids = itertools.count(1)
        self._handlers = {}
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._closed = False
        self._buffer = bytearray()
        self._thread = threading.Thread(target=self._receive, name="channel", daemon=True)
        self._thread.start()

    def request(self, kind, payload, handler):
        number = next(self._ids)
        with self._lock:
            if self._closed:
                handler._end(-errno.EPIPE, "the guest is gone")
                return number
            self._handlers[number] = handler
        self._send(kind, number, payload)
        return number

    def follow(self, kind, number, payload):
        """A frame that belongs to an earlier request."""
        self._send(kind, number, payload)

    def drop(self, why):
        """Nothing that was asked will be answered."""
        with self._lock:
            handlers, self._handlers = self._handlers, {}
        for handler in handlers.values():
            handler._end(-errno.EPIPE, why)

    def close(self):
        self._closed = True
        self._sock.close()

    def _send(self, kind, number, payload):
        try:
            with self._send_lock:
                self._sock.sendall(HEADER.pack(MAGIC, kind, number, len(payload)) + payload)
        except OSError:
            self.drop("the guest is gone")

    def _receive(self):
        while True:
            try:
                data = self._sock.recv(CHUNK)
            except OSError:
                data = b""
            if not data:
                break
            self._buffer += data
            self._resynchronise()
            self._dispatch()
        self._closed = True
        self.drop("the guest is gone")

    def _resynchronise(self):
        """A guest that restarted begins anew, whatever its predecessor left unfinished."""
        at = self._buffer.rfind(HELLO_FRAME)
        if at >= 0:
            del self._buffer[:at + len(HELLO_FRAME)]
            self.drop("the guest restarted")
            self._on_hello()

    def _dispatch(self):
        at = 0
        while len(self._buffer) - at >= HEADER.size:
            magic, kind, number, length = HEADER.unpack_from(self._buffer, at)
            if magic != MAGIC:
                at = len(self._buffer)    # until the next hello
                break
            if len(self._buffer) - at < HEADER.size + length:
                break
            at += HEADER.size
            self._handle(kind, number, bytes(self._buffer[at:at + length]))
            at += length
        del self._buffer[:at]

    def _handle(self, kind, number, payload):
        if kind == KMSG:
            self._on_kmsg(payload)
            return
        with self._lock:
            handler = self._handlers.pop(number, None) if kind == DONE else self._handlers.get(number)
        if handler is None:
            return
        if kind == OUT:
            handler._output("out", payload)
        elif kind == ERR:
            handler._output("err", payload)
        elif kind == DONE:
            how, value = PAIR.unpack(payload)
            handler._end({EXITED: value, SIGNALLED: 128 + value}.get(how, -value))


def run_payload(flags, cwd, argv, env):
    strings = [cwd, *argv, *(f"{key}={value}" for key, value in env.items())]
    return struct.pack("<3I", flags, len(argv), len(env)) + b"".join(text.encode() + b"\0" for text in strings)
