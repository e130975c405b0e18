# SPDX-License-Identifier: GPL-2.0-or-later
"""An engine whose calls the test lets go on, one by one: pvhcad's --null-gate."""
import os
import socket
import tempfile
import threading

from pvhca import give_to_daemon, wait_for


class Gate:
    """Calls of the null fabric pass at once, but those named in `shut` wait here."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="pvhca-gate-")
        give_to_daemon(self.folder.name)
        self.path = os.path.join(self.folder.name, "gate")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        give_to_daemon(self.path)
        self.listener.listen(256)
        self.lock = threading.Lock()
        self.shut = set()
        self.held = []      # (name, connection), in the order of arrival
        self.passed = []    # names of all that went through
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            name = b""
            while not name.endswith(b"\n"):
                name += connection.recv(64)
            name = name.decode().strip()
            with self.lock:
                if name in self.shut:
                    self.held.append((name, connection))
                    continue
                self.passed.append(name)
            connection.close()

    def close_for(self, *names):
        with self.lock:
            self.shut.update(names)

    def waiting(self, name=None):
        with self.lock:
            return sum(name in (None, held) for held, _ in self.held)

    def wait_for(self, name, count=1):
        wait_for(lambda: self.waiting(name) >= count, "%d calls of %s" % (count, name))

    def let_go(self, name=None, count=None):
        """Those that wait, the first first."""
        with self.lock:
            going = [held for held in self.held if name in (None, held[0])][:count]
            for held in going:
                self.held.remove(held)
                self.passed.append(held[0])
        for _, connection in going:
            connection.close()

    def open(self):
        """For all that wait and all that come."""
        with self.lock:
            self.shut.clear()
        self.let_go()

    def close(self):
        self.open()
        self.listener.close()
        self.folder.cleanup()
