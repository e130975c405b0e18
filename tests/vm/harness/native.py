# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine that the harness itself runs on, as a host for commands: inside L1, the native peer of the guests."""

import contextlib
import os
import subprocess
import threading
import time

from . import processes
from .commands import Host
from .errors import CommandTimeout
from .kernlog import KernelLog

TCP_LISTEN = "0A"


class Native(Host):
    def __init__(self, logs, slowness=1.0, name="native"):
        super().__init__(name, slowness, logs / f"{name}.commands.log")
        self.net_ip = self.rdma_ip = self.ibdev = self.gid_index = None
        self.log = KernelLog(name, logs / f"{name}.kernel.log")
        self._kmsg = None
        self._running = {}

    def follow_kernel_log(self):
        """From now on; only where this machine's kernel is the rig's own."""
        self._kmsg = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._kmsg, 0, os.SEEK_END)    # what came before was another rig's

    def dmesg(self):
        while self._kmsg is not None:
            try:
                self.log.record(os.read(self._kmsg, 8192))
            except BrokenPipeError:
                continue
            except BlockingIOError:
                break
        return self.log.text()

    def put(self, path, data, mode=0o644):
        with open(path, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        os.chmod(path, mode)

    def get(self, path):
        with open(path, "rb") as file:
            return file.read()

    def wait_port(self, port, timeout=30):
        deadline = time.monotonic() + timeout * self.slowness
        while not self._listens(port):
            if time.monotonic() > deadline:
                raise CommandTimeout(f"{self.name}: nothing listens on port {port}", None)
            time.sleep(0.03)

    @staticmethod
    def _listens(port):
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with contextlib.suppress(FileNotFoundError), open(table, encoding="ascii") as lines:
                for line in lines:
                    fields = line.split()
                    if fields[3] == TCP_LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                        return True
        return False

    def responds(self):
        return True

    def sweep(self):
        """Kill what commands have left running."""
        for running in list(self._running):
            running.kill(9)

    def close(self):
        self.sweep()
        if self._kmsg is not None:
            os.close(self._kmsg)
            self._kmsg = None
        self.log.close()

    def _start(self, running, argv, data, env, cwd):
        process = processes.start(argv, cwd=cwd, env={**os.environ, **env}, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self._running[running] = process
        readers = [threading.Thread(target=self._read, args=(running, stream, pipe), daemon=True)
                   for stream, pipe in (("out", process.stdout), ("err", process.stderr))]
        for reader in readers:
            reader.start()
        threading.Thread(target=self._wait, args=(running, process, readers), daemon=True).start()
        if data is not None:
            threading.Thread(target=self._feed, args=(process, data), daemon=True).start()

    @staticmethod
    def _read(running, stream, pipe):
        with contextlib.suppress(OSError, ValueError):
            while data := pipe.read(65536):
                running._output(stream, data)

    @staticmethod
    def _feed(process, data):
        with contextlib.suppress(OSError):
            process.stdin.write(data)
        process.stdin.close()

    def _wait(self, running, process, readers):
        rc = process.wait()
        for reader in readers:
            reader.join(0.5)        # what it left in the background may hold the pipes for ever
        self._running.pop(running, None)
        running._end(rc if rc >= 0 else 128 - rc)

    def _signal(self, running, number):
        if running in self._running:
            processes.signal_group(self._running[running], number)

    def _input(self, running, data):
        process = self._running.get(running)
        if process:
            with contextlib.suppress(OSError):
                if data:
                    process.stdin.write(data)
                else:
                    process.stdin.close()
