# SPDX-License-Identifier: GPL-2.0-or-later
"""The rigs; "stock" and "stock-verbs" are in stock.py, those of arm64 in arm64.py. A test sees the same on all:

    rig.name        "loopback", "verbs", "stock", "stock-verbs", "arm64", "arm64-16k" or "arm64-mixed"
    rig.guests      the booted guests (guest.Guest)
    rig.daemon      pvhcad (daemon.Daemon), None in a setup without device
    rig.native      the verbs rig's host itself (native.Native): a native peer with its own device; None on loopback
    rig.results     the directory of the running file's logs, for what should be kept
    rig.directory   a directory of the host for the test's own files; gone afterwards

loopback: emulated guests, pvhcad with the loopback fabric, on the machine that runs the tests.
verbs:    inside L1 (see nested.py), KVM guests, pvhcad with the verbs fabric on L1's rxe device.
"""

import contextlib
import dataclasses
import os
import shutil
import tempfile
from pathlib import Path

from . import limits, paths
from .daemon import Daemon
from .errors import HarnessError
from .guest import Guest
from .native import Native
from .network import Bridge, Hub
from .qemu import Machine
from .system import HERE, Installed

NET = "10.88.0"         # plain network
RDMA = "10.77.0"        # addresses of the rdma devices, hence their GIDs
HOST_NUMBER = 1
FIRST_GUEST = 10

RDMA_LINK, RDMA_LINK_PEER, RXE = "veth0", "veth1", "rxe0"
SECOND_RXE, SECOND_HOST_NUMBER = "rxe1", 2
HOST_MODULES = "kvm_amd veth rdma_rxe ib_uverbs rdma_ucm ib_umad tun bridge vhost_net"


PREFIX = "pvhca-vm-"
NO_ANSWER = "no longer answers"     # a host, says problems()


def remove_abandoned():
    """Directories of harnesses that were killed; their processes went with them."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        owner = directory.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(directory, ignore_errors=True)


# A limit of a minute is never more than six: limits are wide already, and what hangs is found while others still get their turn.
MOST_SLOWNESS = 6.0


class Rig:
    name = None
    like = None             # another rig whose tests are all this one's too
    nested = False          # whether it is inside L1
    accel = None
    cpu = None              # None: what the guest's system has
    nature = 2.0            # how much slower than a process of this machine a guest is; widens time limits
    # An emulated machine on a loaded one now and then hangs in its first moments (TCG: calibrating its timer; KVM on
    # emulated SVM: seen without the device, too), long before there is a driver.
    boot_attempts = 2
    lone_guest_cpus = 2     # two guests have one processor each
    roomy = (1, "1G")       # guests, and memory of each, to boot at least when the rig is to serve many files

    def __init__(self, setup, logs):
        self.setup, self.logs, self.results = setup, logs, logs
        self.slowness = max(self.nature, min(self.nature * limits.scale(), MOST_SLOWNESS))
        self.guests, self.daemon, self.native = [], None, None
        self.second_daemon = None
        self._undo = {}
        remove_abandoned()
        self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self._cleanup = contextlib.ExitStack()
        self._cleanup.callback(shutil.rmtree, self.directory, ignore_errors=True)
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self):
        if self.setup.device:       # all of it or a clear reason, before anything is booted
            paths.provider(), paths.daemon()
            for index in range(self.setup.guests):
                self.device_emulator(self.system(index)), self.system(index).kernel_module()
        self._prepare_host()
        self.network = self._make_network()
        self._cleanup.callback(self.network.close)
        if self.setup.device:
            self.start_daemon()
            self._cleanup.callback(lambda: self.daemon.kill())
            self._start_second_daemon()
        for index in range(self.setup.guests):
            number = FIRST_GUEST + index
            guest = Guest(f"guest{index}", self.logs, self._start_machine, self.slowness,
                          f"{NET}.{number}", f"{NET if self.setup.paired else RDMA}.{number}", self.system(index))
            guest.paired = self.setup.paired
            guest.index, guest.boot_attempts = index, self.boot_attempts
            self.guests.append(guest)
            self._cleanup.callback(guest.close)
            guest.start()
        for guest in self.guests:
            guest.wait_booted()
            if self.setup.device and self.setup.bring_up:
                guest.bring_up_device()

    def start_daemon(self):
        """A new pvhcad, as the setup says. The last one is gone."""
        self.daemon = Daemon(self.directory, self.logs, [*self._fabric(), *self.setup.daemon_args],
                             self.setup.daemon_config, self.slowness)
        self.daemon.start()
        self._known_starts = self.daemon.starts

    def _start_second_daemon(self):
        if self.setup.second_daemon_config is None:
            return
        self.second_daemon = Daemon(self.directory, self.logs, self._second_fabric(), self.setup.second_daemon_config,
                                    self.slowness, name="pvhcad2")
        self._cleanup.callback(self.second_daemon.kill)
        self.second_daemon.start()

    def _daemon_of(self, guest):
        return self.second_daemon if self.second_daemon and guest.index % 2 else self.daemon

    def serves(self, setup):
        """Whether tests that ask for setup can have this rig as it is."""
        return setup == self.setup

    def adapts_to(self, setup):
        """Whether adapt() can make it serve them."""
        return self.setup.device and self.setup.bring_up and setup.same_machines(self.setup)

    def adapt(self, setup):
        """Another pvhcad, with that setup's settings, for the same guests."""
        status = self.daemon.stop()
        if status or self.daemon.check():
            raise HarnessError(f"pvhcad ended with {status}:\n{self.daemon.log_tail()}")
        for guest in self.guests:
            guest.wait_device_gone()
        self.setup = dataclasses.replace(self.setup, daemon_config=setup.daemon_config, daemon_args=setup.daemon_args)
        self.start_daemon()
        for guest in self.guests:
            guest.wait_device()

    def _start_machine(self, guest):
        options, fds = self.network.options(guest.index, self.mac(guest))
        emulator = self.device_emulator(guest.system) if self.setup.device else self.plain_emulator(guest.system)
        if self.setup.device:
            options = [*options, *self.device_arguments(emulator, guest)]
        cpus = self.processors(self.setup.cpus or (self.lone_guest_cpus if self.setup.guests == 1 else 1))
        return Machine(guest.name, self.logs, emulator, self.setup.memory, cpus, self.accel, self.cpu or guest.system.cpu,
                       f"vmtest.net={guest.net_ip} {self.setup.append}", [*self.setup.qemu_args, *options], fds, guest.system)

    @staticmethod
    def mac(guest):
        """Of the guest's interface on the plain network."""
        return f"52:54:00:88:00:{FIRST_GUEST + guest.index:02x}"

    def device_settings(self, guest):
        """Of -device pvhca beside its chardev, as NAME=VALUE."""
        pair = [f"mac={self.mac(guest)}", "pair=on"] if self.setup.paired else []
        return pair + [option for option in self.setup.device_options.split(",") if option]

    def system(self, index):
        """Of the guest with that index."""
        root = dict(enumerate(self.setup.roots)).get(index)
        return Installed(root) if root else HERE

    def device_emulator(self, _system):
        return paths.qemu_with_device()

    def plain_emulator(self, _system):
        """For guests without the device."""
        return paths.qemu()

    def processors(self, number):
        """What QEMU's -smp says."""
        return number

    def device_arguments(self, emulator, guest):
        again = "reconnect-ms=500" if paths.qemu_version(emulator) >= (9, 2) else "reconnect=1"
        more = "".join(f",{setting}" for setting in self.device_settings(guest))
        return ["-chardev", f"socket,id=pv,path={self._daemon_of(guest).socket},{again}",
                "-device", f"pvhca,id=pvhca,chardev=pv{more}"]

    def plug(self, guest, ident, **where):
        """Give a running guest another adapter; `where` is more of QEMU's device_add, bus above all."""
        backend = {"type": "socket", "data": {"addr": {"type": "unix", "data": {"path": str(self.daemon.socket)}},
                                              "server": False, "reconnect-ms": 500}}
        guest.qmp("chardev-add", id=f"{ident}-link", backend=backend)
        guest.qmp("device_add", driver="pvhca", id=ident, chardev=f"{ident}-link", **where)

    def unplug(self, guest, ident, timeout=60):
        """Take an adapter away that plug() gave, and wait until the guest has let go of it."""
        guest.qmp("device_del", id=ident)
        guest.wait_event("DEVICE_DELETED", timeout, device=ident)
        guest.qmp("chardev-remove", id=f"{ident}-link")

    def _prepare_host(self):
        pass

    def _make_network(self):
        return Hub(self.setup.guests)

    def _fabric(self):
        raise NotImplementedError

    def hosts(self):
        """All whose kernel log belongs to the rig."""
        return [*self.guests, *([self.native] if self.native else [])]

    def problems(self):
        """What went wrong beside what a test looks at itself: kernel complaints, dead guests, a dead pvhcad."""
        found = []
        for host in self.hosts():
            if host.responds():
                host.dmesg()
            else:
                found.append(f"{host.name} {NO_ANSWER}, or restarted unasked\n{host.console_tail()}")
            found += [f"{host.name}'s kernel log: {line}" for line in host.log.check()]
        return found + [line for daemon in (self.daemon, self.second_daemon) if daemon for line in daemon.check()]

    def for_this_file(self, command, undo):
        """A change of the native host's settings that holds until the file's last test, done once."""
        if command not in self._undo:
            self.native.check(command)
            self._undo[command] = undo

    def end_file(self):
        """As the file found it."""
        undo, self._undo = self._undo, {}
        for command in undo.values():
            result = self.native.run(command)
            if result.rc:
                raise HarnessError(f"the host is not as it was: {result}")

    def healthy(self):
        return all(host.responds() for host in self.hosts()) and (not self.daemon or not self.daemon.check())

    def sweep(self):
        """Make ready for the next test: no process of the last one, pvhcad running, the devices up."""
        for host in self.hosts():
            host.sweep()
        if not self.daemon:
            return
        if not self.daemon.alive:
            raise HarnessError("pvhcad is not running")
        if self.setup.bring_up and any(guest.ibdev is None for guest in self.guests):
            raise HarnessError("a guest is without its device")
        if self.setup.bring_up and self.daemon.starts != self._known_starts:
            for guest in self.guests:       # the test was about one of them, perhaps
                guest.wait_device()
        self._known_starts = self.daemon.starts

    def close(self):
        self._cleanup.close()


class LoopbackRig(Rig):
    name = "loopback"
    accel = "tcg,thread=multi"

    def _fabric(self):
        return ["--fabric", "loopback"]


class VerbsRig(Rig):
    name = "verbs"
    nested = True
    lone_guest_cpus = 1     # L1 has two, and the host's part of the work needs one
    accel = "kvm"
    cpu = "host"
    nature = 5.0
    roomy = (2, "3G")

    def _fits(self, setup):
        """A guest has one processor here, alone or not: tests do not see that there is more than they asked for."""
        return setup.enlarged(self.setup.guests, self.setup.memory)

    def serves(self, setup):
        return super().serves(self._fits(setup))

    def adapts_to(self, setup):
        return super().adapts_to(self._fits(setup))

    def _prepare_host(self):
        self.native = Native(self.logs, self.slowness)
        self._cleanup.callback(self.native.close)
        self.native.follow_kernel_log()
        self._make_rxe()
        self.native.net_ip, self.native.rdma_ip = f"{NET}.{HOST_NUMBER}", f"{RDMA}.{HOST_NUMBER}"
        self.native.ibdev = RXE
        self.native.gid_index = self._gid_index(self.native.rdma_ip)

    def _make_rxe(self):
        """The host's verbs device. A guest's GID has to be one of the host device's, so it gets their addresses."""
        if Path(f"/sys/class/infiniband/{RXE}").exists():
            return
        commands = [f"modprobe {module}" for module in HOST_MODULES.split()]
        commands += [f"ip link add {RDMA_LINK} type veth peer name {RDMA_LINK_PEER}",
                     f"ip link set {RDMA_LINK} up", f"ip link set {RDMA_LINK_PEER} up"]
        commands += [f"ip addr add {RDMA}.{number}/24 dev {RDMA_LINK}"
                     for number in (HOST_NUMBER, *range(FIRST_GUEST, FIRST_GUEST + 4))]
        commands += [f"rdma link add {RXE} type rxe netdev {RDMA_LINK}"]
        self.native.check(" && ".join(commands), timeout=120)

    @staticmethod
    def _gid_index(address):
        words = [int(part) for part in address.split(".")]
        gid = "0000:0000:0000:0000:0000:ffff:%02x%02x:%02x%02x" % tuple(words)
        for file in Path(f"/sys/class/infiniband/{RXE}/ports/1/gids").iterdir():
            with contextlib.suppress(OSError):
                if file.read_text().strip() == gid:
                    return int(file.name)
        raise HarnessError(f"{RXE} has no GID for {address}")

    @staticmethod
    def vm_exits(guest):
        """How often the guest's virtual processors have left it, by KVM's count."""
        return sum(int(file.read_text()) for file in Path("/sys/kernel/debug/kvm").glob(f"{guest.pid}-*/vcpu*/exits")) \
            or sum(int(file.read_text()) for file in Path("/sys/kernel/debug/kvm").glob(f"{guest.pid}-*/exits"))

    def _make_network(self):
        return Bridge(self.native, self.setup.guests, f"{NET}.{HOST_NUMBER}", self.setup.vhost)

    def _fabric(self):
        return ["--fabric", "verbs", "--ibdev", RXE]

    def _second_fabric(self):
        """The other end of rxe0's link, as another host's device: packets come from an address that is this host's, too."""
        self.second_ip = f"{RDMA}.{SECOND_HOST_NUMBER}"
        links = (RDMA_LINK, RDMA_LINK_PEER)
        self._cleanup.callback(lambda: self.native.check(" && ".join([
            f"rdma link delete {SECOND_RXE}", f"ip addr del {self.second_ip}/24 dev {RDMA_LINK_PEER}",
            *(f"echo 0 >/proc/sys/net/ipv4/conf/{link}/accept_local" for link in links)])))
        self.native.check(" && ".join([
            *(f"echo 1 >/proc/sys/net/ipv4/conf/{link}/accept_local" for link in links),
            *(f"echo 0 >/proc/sys/net/ipv4/conf/{link}/rp_filter" for link in ("all", *links)),
            f"ip addr add {self.second_ip}/24 dev {RDMA_LINK_PEER}",
            f"rdma link add {SECOND_RXE} type rxe netdev {RDMA_LINK_PEER}"]))
        return ["--fabric", "verbs", "--ibdev", SECOND_RXE]


RIGS = {rig.name: rig for rig in (LoopbackRig, VerbsRig)}
