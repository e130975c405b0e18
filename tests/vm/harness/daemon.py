# SPDX-License-Identifier: GPL-2.0-or-later
"""pvhcad, as a test sees it: life, resources, counters."""

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

from . import paths, processes
from .commands import tail
from .errors import HarnessError

START_SECONDS = 60

# What a sanitizer or the C library says about a defect, whatever the daemon does next.
DEFECTS = re.compile(r"ERROR: \w+Sanitizer|runtime error: |WARNING: ThreadSanitizer|Assertion .* failed|"
                     r"stack smashing detected|double free|malloc\(\)|corrupted")


class Daemon:
    def __init__(self, directory, logs, arguments, config=None, slowness=1.0, program=None,
                 name="pvhcad", environment=None):
        self.socket = directory / f"{name}.sock"
        self.log = logs / f"{name}.log"
        self._arguments = list(arguments)
        self._config = directory / f"{name}.conf" if config is not None else None
        if config is not None:
            self._config.write_text(config)
        self._process = None
        self._program = program or paths.daemon()
        self._slowness = slowness
        self._environment = {**os.environ, **(environment or {})}
        self._checked = len(self.log_text().splitlines())
        self.wanted = False         # between start and stop or kill
        self.starts = 0

    def start(self):
        command = [self._program, "--socket", self.socket, *self._arguments]
        if self._config:
            command += ["--config", self._config]
        with open(self.log, "ab") as log:
            self._process = processes.start(command, stdin=processes.subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self._environment)
        self.wanted = True
        self.starts += 1
        deadline = time.monotonic() + START_SECONDS * self._slowness
        while not self._accepts():
            if not self.alive:
                self.wanted = False
                raise HarnessError(f"pvhcad ended at start:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise HarnessError(f"pvhcad does not listen on {self.socket}:\n{self.log_tail()}")
            time.sleep(0.05)

    def _accepts(self):
        """The socket of a predecessor may still be there, so its presence says nothing about a listener."""
        inodes = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
        listening = {fields[6] for fields in inodes
                     if len(fields) > 7 and fields[7] == str(self.socket) and fields[3] == "00010000"}
        return bool(listening & self._socket_inodes())

    def _socket_inodes(self):
        found = set()
        try:
            for fd in Path(f"/proc/{self.pid}/fd").iterdir():
                match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(fd))
                if match:
                    found.add(match[1])
        except FileNotFoundError:
            pass
        return found

    def stop(self, timeout=60):
        """SIGTERM; returns the exit code."""
        self.wanted = False
        if not self._process:
            return None
        processes.signal_group(self._process, signal.SIGTERM)
        try:
            return self._process.wait(timeout * self._slowness)
        except processes.subprocess.TimeoutExpired:
            processes.stop(self._process)
            raise HarnessError(f"pvhcad did not end on SIGTERM:\n{self.log_tail()}") from None

    def kill(self):
        """SIGKILL: what a crash looks like from outside."""
        self.wanted = False
        if self._process:
            processes.stop(self._process)

    def restart(self):
        self.stop()
        self.start()

    @property
    def alive(self):
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self):
        return self._process.pid

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def mappings(self):
        return len(self._maps())

    def file_mappings(self):
        """Without the C library's: it keeps stacks and heaps of threads that ended."""
        return sum(len(line.split()) > 5 and line.split()[5].startswith(b"/") for line in self._maps())

    def _maps(self):
        return Path(f"/proc/{self.pid}/maps").read_bytes().splitlines()

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def _status(self, field):
        found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0

    def rss(self):
        """Resident bytes, shared guest memory included."""
        return self._status("VmRSS")

    def rss_anonymous(self):
        """Resident bytes of the daemon's own."""
        return self._status("RssAnon")

    def pinned(self):
        return self._status("VmPin") + self._status("VmLck")

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stats(self):
        """The daemon's counters: one JSON document, written to whoever connects to the socket beside its own."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30 * self._slowness)
            sock.connect(f"{self.socket}.stats")
            document = b"".join(iter(lambda: sock.recv(65536), b""))
        return json.loads(document)

    def log_text(self):
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def log_tail(self):
        return tail(self.log_text())

    def check(self):
        """What is wrong with the daemon, since the last check: it ended by itself, or a sanitizer spoke."""
        lines = self.log_text().splitlines()
        fresh, self._checked = lines[self._checked:], len(lines)
        found = [f"pvhcad: {line}" for line in fresh if DEFECTS.search(line)]
        if self.wanted and not self.alive:
            found.append(f"pvhcad ended by itself ({self._process.returncode})")
        return found
