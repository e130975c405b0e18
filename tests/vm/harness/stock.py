# SPDX-License-Identifier: GPL-2.0-or-later
"""The stock rigs: the loopback rig and the verbs rig with a distribution's QEMU, whose devices are served by
pvhca-vfio-user.

Each guest has a server of its own, which stays when the guest's QEMU ends and serves the next. Servers started by root
run as nobody, as they would on a host.
"""

import json
import os
import sys
import time
from pathlib import Path

from . import paths, processes, rigs
from .commands import tail
from .daemon import DEFECTS
from .errors import HarnessError

sys.path.insert(0, str(paths.SOURCE / "tests" / "common"))

from unix_sockets import listens  # noqa: E402

NOBODY = 65534
START_SECONDS = 10
PLACE = ("bus", "addr")      # settings of a device that are QEMU's, not the server's


class Server:
    """pvhca-vfio-user for one guest."""

    def __init__(self, name, directory, link, logs, options):
        self.name, self.socket = name, directory / f"{name}.sock"
        self.log = logs / f"{name}.vfio-user.log"
        self._checked = 0
        nobody = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
        command = ["/usr/bin/setpriv", *nobody, "--pdeathsig", "KILL", "--", paths.vfio_user(), "--socket", self.socket,
                   "--link", link, "--name", name, *options]
        with open(self.log, "ab") as log:
            self._process = processes.start(command, stdin=processes.subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not listens(self.socket):
            if not self.alive or time.monotonic() > deadline:
                raise HarnessError(f"pvhca-vfio-user does not listen:\n{tail(self.log_text())}")
            time.sleep(0.02)

    @property
    def alive(self):
        return self._process.poll() is None

    @property
    def pid(self):
        """Of the program itself: setpriv has become it."""
        return self._process.pid

    def log_text(self):
        return self.log.read_text("utf-8", "replace")

    def descriptors(self):
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def check(self):
        lines = self.log_text().splitlines()
        fresh, self._checked = lines[self._checked:], len(lines)
        found = [f"{self.name}'s pvhca-vfio-user: {line}" for line in fresh if DEFECTS.search(line)]
        if not self.alive:
            found.append(f"{self.name}'s pvhca-vfio-user ended by itself ({self._process.returncode})")
        return found

    def stop(self):
        processes.stop(self._process)

    kill = stop


class StockDevice:
    """What such a QEMU changes in a rig."""

    def _prepare_host(self):
        super()._prepare_host()
        self.servers = {}       # by guest's name
        self._sockets = self.directory / "vfio-user"
        self._sockets.mkdir()
        if os.geteuid() == 0:
            os.chown(self._sockets, NOBODY, NOBODY)
        self.directory.chmod(0o711)

    def _fabric(self):
        return [*super()._fabric(), "--socket-mode", "0666"]

    def device_emulator(self, system):
        paths.vfio_user()
        return system.emulator()

    def device_arguments(self, _emulator, guest):
        options, place = [], {}
        for setting in self.device_settings(guest):
            name, _, value = setting.partition("=")
            if name in PLACE:
                place[name] = value
            else:
                options += [f"--{name}"] + ([] if value == "on" else [value])
        return ["-device", json.dumps({**self.device("pvhca", guest.name, options), **place})]

    def plug(self, guest, ident, **where):
        guest.qmp("device_add", **self.device(ident, f"{guest.name}-{ident}"), **where)

    def unplug(self, guest, ident, timeout=60):
        guest.qmp("device_del", id=ident)
        guest.wait_event("DEVICE_DELETED", timeout, device=ident)

    def kill_server(self, name):
        """As a crash would. The next device of that name gets a new one, which listens when its socket is there."""
        server = self.servers.pop(name)
        server.kill()
        server.socket.unlink()

    def device(self, ident, name, options=()):
        """What QEMU's device_add is given; its server is started if there is none of that name."""
        if name not in self.servers:
            server = Server(name, self._sockets, self.daemon.socket, self.logs, options)
            self.servers[name] = server
            self._cleanup.callback(server.stop)
        return {"driver": "vfio-user-pci", "id": ident,
                "socket": {"type": "unix", "path": str(self.servers[name].socket)}}

    def problems(self):
        return super().problems() + [problem for server in self.servers.values() for problem in server.check()]


class StockRig(StockDevice, rigs.LoopbackRig):
    name = "stock"
    like = "loopback"

    def processors(self, number):
        # For a machine that can never have a second processor TCG makes locked instructions plain ones, and no
        # device of ours is there to prevent it.
        return f"{number},maxcpus={max(number, 2)}"


class StockVerbsRig(StockDevice, rigs.VerbsRig):
    name = "stock-verbs"
    like = "verbs"


RIGS = {**rigs.RIGS, **{rig.name: rig for rig in (StockRig, StockVerbsRig)}}
