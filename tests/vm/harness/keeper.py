# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps a rig between the runs of the harness: booting is what short tests wait for.

    run --rig RIG --start           a keeper in the background; on the verbs rig it boots L1
    run --rig RIG --shared FILE...  has the keeper run the tests; without a keeper it runs them itself
    run --rig RIG --stop            ends the keeper, and fails if a kernel complained since the last test

The keeper starts the harness once more (run --serve), in L1 or on this machine, and gives it one request after the
other; that one keeps the guests it has booted as long as they serve the next test. A file with a failure takes all
of it with it: the next gets a new L1. So does one whose client went away.

No keeper outlives the process that started it, ctest for instance, however that ends; and what a keeper has started
does not outlive the keeper.
"""

import contextlib
import errno
import hashlib
import json
import os
import queue
import select
import signal
import socket
import struct
import sys
import threading
import time

from . import limits, nested, paths
from .arm64 import RIGS
from .errors import GuestDied, HarnessError, Interrupted
from .native import Native
from .runner import SKIP_EXIT_CODE, interruptible

DONE = "\x1e done "     # begins the line by which run --serve ends its answer
WELL = (0, SKIP_EXIT_CODE)
POLL_SECONDS = 0.1
GOING_SECONDS = 60


def address(rig, build):
    """An abstract socket, that goes with its process: one for a rig of a build tree."""
    return f"\0pvhca-keeper-{rig}-{hashlib.sha256(os.fsencode(build)).hexdigest()[:16]}"


def logs_root():
    """Where all logs go that a keeper's tests write: L1 sees it."""
    root = paths.build() / "tests" / "logs"
    root.mkdir(parents=True, exist_ok=True)
    return root


class Connection:
    """Messages, each a line of JSON."""

    def __init__(self, sock):
        self._sock = sock
        self._lines = sock.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()

    def fileno(self):
        return self._sock.fileno()

    def send(self, **message):
        with self._lock, contextlib.suppress(OSError):
            self._sock.sendall(json.dumps(message).encode() + b"\n")

    def receive(self):
        """The next message, None when the other side has gone."""
        try:
            line = self._lines.readline()
        except OSError:
            return None
        return json.loads(line) if line.endswith("\n") else None

    def gone(self):
        """A client says nothing after its request: what can be read is its end."""
        return bool(select.select([self._sock], [], [], 0)[0])

    def close(self):
        self._lines.close()
        self._sock.close()


# ------------------------------------------------------------- client

def connect(rig):
    """A connection to the rig's keeper, None when there is none."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(address(rig, paths.build()))
    except OSError:
        sock.close()
        return None
    peer_uid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    if peer_uid not in (0, os.getuid()):
        sock.close()
        return None
    return Connection(sock)


def ask(connection, **request):
    """Carry out a request, showing what is written. Returns its exit code, None when the keeper does not take it."""
    connection.send(**request)
    try:
        while message := connection.receive():
            if "refused" in message:
                print(f"# the keeper: {message['refused']}", flush=True)
                return None
            if "rc" in message:
                return message["rc"]
            target = sys.stdout if message["stream"] == "out" else sys.stderr
            target.write(message["data"])
            target.flush()
    finally:
        connection.close()
    raise HarnessError("the keeper has gone")


# ------------------------------------------------------------- keeper

class Keeper:
    def __init__(self, rig, logs, environment, l1_options):
        self._rig, self._logs, self._environment, self._l1_options = rig, logs, environment, l1_options
        self._nested = RIGS[rig].nested
        self._host = self._server = None
        self._hosts = 0
        self._answers = queue.SimpleQueue()
        self._show = None
        self._line = b""

    def boot(self):
        """What the requests are served by: L1, or this machine."""
        self._hosts += 1
        logs = self._logs / f"host{self._hosts}"
        logs.mkdir(parents=True)
        self._host = nested.start_l1(logs, share=logs_root(), **self._l1_options) if self._nested else \
            Native(logs, name="keeper")

    def run(self, request, show, abandoned):
        """One request, to its exit code; on another L1 if this one is lost. None: abandoned, by whoever asked."""
        for attempts_left in reversed(range(nested.ATTEMPTS)):
            try:
                rc = self._once(request, show, abandoned)
                if rc not in WELL:
                    self.discard()
                return rc
            except HarnessError as error:
                show("out", f"{'#' if attempts_left else 'Bail out!'} {error}\n")
                if self._host and self._nested:
                    show("out", "".join(f"#   {line}\n" for line in self._host.console_tail().splitlines()))
                self.discard()
        return 1

    def end(self, show):
        """Let the server end by itself, which looks at its kernels once more. Returns the exit code."""
        rc = 0
        if self._server and self._server.running:
            self._show = show
            self._server.send(b"")
            rc = self._server.wait(120).rc
        if self._host and self._nested:
            rc = self._verdict(rc, show)
        return rc

    def discard(self):
        """The server, with its guests, and L1. The next request gets new ones."""
        server, self._server = self._server, None
        host, self._host = self._host, None
        if server and server.running:
            server.kill(signal.SIGTERM)     # it ends its guests and removes its directories
            if not server.ended_within(30 * host.slowness):
                server.kill(signal.SIGKILL)
        if host:
            host.close()

    def _once(self, request, show, abandoned):
        if not self._host:
            self.boot()
        if not self._server or not self._server.running:
            self._start()
        self._show = show
        self._server.send(json.dumps(request) + "\n")
        rc = self._answer(abandoned)
        if rc is None:
            self.discard()
            return None
        return self._verdict(rc, show) if self._nested else rc

    def _verdict(self, rc, show):
        complaints = nested.complaints(self._host) if rc in WELL else []
        for complaint in complaints:
            show("out", f"# l1's kernel log: {complaint}\n")
        return 1 if complaints else rc

    def _start(self):
        command = ["/usr/bin/python3", paths.VM_TESTS / "run", "--rig", self._rig, "--inside", "--serve"]
        self._answers = queue.SimpleQueue()
        self._line = b""
        self._server = self._host.spawn(command, input=None, env=self._environment, cwd=str(paths.SOURCE),
                                        on_output=self._output)

    def _answer(self, abandoned):
        """The exit code that the server tells. HarnessError: there is no server any more."""
        looked, silent = time.monotonic(), 0
        while True:
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=POLL_SECONDS)
            if abandoned():
                return None
            if not self._server.running:
                raise HarnessError(f"the harness ended: {self._server.result().rc}")
            if time.monotonic() - looked > nested.LOOK_SECONDS:
                silent = 0 if self._host.responds() else silent + 1
                if silent == nested.SILENT_LOOKS:
                    raise GuestDied(f"l1 does not answer any more; {self._host.machine_state()}")
                looked = time.monotonic()

    def _output(self, stream, data):
        """Called from the host's thread. Standard output comes by lines: one of them may be the answer."""
        if stream == "err":
            self._show(stream, data.decode("utf-8", "replace"))
            return
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace")
            if text.startswith(DONE):
                self._answers.put(int(text.removeprefix(DONE)))
            else:
                self._show(stream, text + "\n")


def _serve(keeper, listener, identity):
    """Clients, one after the other, until one of them ends it."""
    while True:
        connection = Connection(listener.accept()[0])
        try:
            request = connection.receive()

            def show(stream, data):
                connection.send(stream=stream, data=data)

            if request and request.get("stop"):
                connection.send(rc=keeper.end(show))
                return
            if request and request.pop("identity") != identity:
                connection.send(refused="it tests something else; these tests get a rig of their own")
            elif request:
                connection.send(rc=keeper.run(request, show, connection.gone))
        finally:
            connection.close()


def _follow(pid):
    """End this process, in order, when that one has ended."""
    def wait(descriptor):
        select.select([descriptor], [], [])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, args=(os.pidfd_open(pid),), daemon=True).start()


def _bind(listener, where):
    """A predecessor whose ctest was interrupted takes a moment to go."""
    deadline = time.monotonic() + limits.scaled(GOING_SECONDS)
    while True:
        try:
            listener.bind(where)
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def _keep(rig, logs, identity, environment, l1_options, owner, ready):
    """The keeper's process."""
    listener = socket.socket(socket.AF_UNIX)
    keeper = Keeper(rig, logs, environment, l1_options)
    with interruptible():
        try:
            _follow(owner)
            _bind(listener, address(rig, paths.build()))
            keeper.boot()
            listener.listen()
            os.write(ready, b"up")
            os.close(ready)
            _serve(keeper, listener, identity)
        except Interrupted as interrupted:
            print(f"# {interrupted}", flush=True)
        finally:
            keeper.discard()


def start(rig, logs, identity, environment, l1_options):
    """Start a keeper that lives until it is stopped, or the caller's parent ends. Returns an exit code.

    identity: it serves only clients that have the same; environment: of the harness that it starts.
    """
    owner = os.getppid()
    reader, ready = os.pipe()
    pid = os.fork()
    if pid:
        os.close(ready)
        try:
            with interruptible():
                up = os.read(reader, 16) == b"up"
        except Interrupted:
            os.kill(pid, signal.SIGTERM)
            raise
        print(f"# {'a' if up else 'no'} keeper of the {rig} rig: {logs}", flush=True)
        return 0 if up else 1
    os.setsid()
    os.close(reader)
    with open(os.devnull, "rb") as null, open(logs / "keeper.log", "ab") as log:
        os.dup2(null.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    status = 1
    try:
        _keep(rig, logs, identity, environment, l1_options, owner, ready)
        status = 0
    except BaseException as error:
        print(f"keeper: {error!r}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
