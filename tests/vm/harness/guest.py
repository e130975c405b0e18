# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest: commands and files through its agent, its kernel log, and its rdma device."""

import os
import struct
import threading
import time
from pathlib import Path

from . import channel, initramfs, paths, processes
from .commands import Host, Running, tail
from .errors import CommandFailed, GuestDied, GuestHung, HarnessError
from .gid import gid_of
from .kernlog import KernelLog
from .qemu import EMULATOR_FAULTS, LOST_SERVER_FAULTS
from .system import HERE

BOOT_SECONDS = 90
# A guest that comes up keeps a processor busy. One that does less than this for so long has lost an interrupt or a
# request: emulators of distributions have races there (qemu/patches). These seconds are the same on any machine.
IDLE_SECONDS, IDLE_SHARE = 60, 0.25
# The kernel's panic where an emulated machine's timer interrupts come late, in its first second.
LATE_TIMER = "IO-APIC + timer doesn't work"
STORE_CHUNK = 256 * 1024
BASE_MODULES = ("ib_uverbs", "rdma_ucm", "ib_umad")


class Guest(Host):
    """start_machine() returns a new qemu.Machine each time the guest is (re)started."""

    def __init__(self, name, logs, start_machine, slowness=1.0, net_ip=None, rdma_ip=None, system=HERE):
        super().__init__(name, slowness, logs / f"{name}.commands.log")
        self.system = system        # of the guest
        self.net_ip = net_ip        # on the plain network
        self.rdma_ip = rdma_ip      # of the device's network interface; also its GID
        self.ibdev = None           # set by bring_up_device
        self.gid_index = None
        self.netdev = None
        self.paired = False         # the device belongs to the interface of the plain network
        self.boots = 0
        self.started = None         # time.monotonic() when its QEMU was
        self.boot_attempts = 1      # more where a hang before the agent is up says nothing about the guest
        self.idle_seconds = IDLE_SECONDS
        self._start_machine = start_machine
        self._logs = logs
        self._hello = threading.Event()
        self._expect_restart = False
        self.log = KernelLog(name, logs / f"{name}.kernel.log", logs / f"{name}.console.log")
        self._machine = self._channel = None

    # Life

    def start(self):
        """Start the machine without waiting for the guest to come up."""
        self._hello.clear()
        self._expect_restart = True
        self.started = time.monotonic()
        self._machine = self._start_machine(self)
        self._channel = channel.Channel(self._machine.agent, self.log.record, self._on_hello)

    def wait_booted(self, timeout=BOOT_SECONDS):
        for attempts_left in reversed(range(self.boot_attempts)):
            state = self._wait_hello(timeout, attempts_left > 0)
            if state is None:
                self._expect_restart = False
                return
            print(f"# {self.name} did not come up: {state}", flush=True)
            if attempts_left:
                self.kill()
                if LATE_TIMER in self.console_tail():
                    self.log.pass_over_console()
                self.start()
        raise HarnessError(f"{self.name} did not come up: {state}; its console:\n{self.console_tail()}")

    def _wait_hello(self, timeout, not_idle):
        """None when the agent is there, else what its QEMU says. not_idle: one that is idle is not waited for."""
        deadline = time.monotonic() + timeout * self.slowness
        looked, busy = time.monotonic(), 0.0
        while not self._hello.wait(0.2):
            if not self._machine.alive:
                raise HarnessError(f"{self.name}: QEMU ended:\n{tail(self._machine.messages())}")
            now = time.monotonic()
            if now > deadline:
                return self._machine.state()
            if not_idle and now - looked > self.idle_seconds:
                before, busy = busy, processes.busy_seconds(self._machine.pid)
                if busy - before < IDLE_SHARE * (now - looked):
                    return f"it does nothing any more; {self._machine.state()}"
                looked = now
        return None

    def reboot(self, device=True):
        """Restart the guest from within, as `reboot` does, and bring the device up again if it was up."""
        had_device = self.ibdev is not None
        self._hello.clear()
        self._expect_restart = True
        self._request_only(channel.POWER, struct.pack("<I", 0))
        self.wait_booted()
        self._forget_device()
        if had_device and device:
            self.bring_up_device()

    def reset(self, device=True):
        """Restart the guest from outside, as a reset button does: it has no say in it."""
        had_device = self.ibdev is not None
        self._hello.clear()
        self._expect_restart = True
        self.qmp("system_reset")
        self.wait_booted()
        self._forget_device()
        if had_device and device:
            self.bring_up_device()

    def panic(self):
        """Crash the guest's kernel; it restarts by itself. Its complaints about that are expected."""
        self.log.allow(r"sysrq|Kernel panic|Call Trace|NULL pointer|BUG: |Oops|WARNING|unable to handle|RIP")
        self._hello.clear()
        self._expect_restart = True
        self._request_only(channel.RUN, channel.run_payload(
            0, "/", ["/bin/sh", "-c", "echo 1 >/proc/sys/kernel/panic_on_oops; echo c >/proc/sysrq-trigger"], {}))
        self.wait_booted()
        self._forget_device()

    def kill(self):
        """End QEMU by SIGKILL. start() and wait_booted() make a new one."""
        if self._machine:
            self._machine.kill()
            self._channel.close()
        self._forget_device()

    def close(self):
        self.kill()
        self.log.close()

    @property
    def pid(self):
        """QEMU's."""
        return self._machine.pid

    def emulator_failed(self):
        """Whether QEMU ended by an assertion that concerns only its emulation of a processor."""
        return self._ended_by(EMULATOR_FAULTS)

    def ended_with_server(self):
        """Whether QEMU ended by an assertion when the server of its device died (docs/vfio-user.md, "Limits")."""
        self._machine.give_time_to_end()
        return self._ended_by(LOST_SERVER_FAULTS)

    def _ended_by(self, faults):
        return not self.alive and self._machine is not None and any(fault in self._machine.messages() for fault in faults)

    @property
    def alive(self):
        return self._machine is not None and self._machine.alive

    def machine_state(self):
        """What QEMU says about its processors."""
        return self._machine.state()

    def qmp(self, command, /, **arguments):
        return self._machine.monitor.command(command, **arguments)

    def wait_event(self, name, timeout=60, **data):
        """Wait until QEMU has told of an event with that data, and forget it."""
        deadline = time.monotonic() + timeout * self.slowness
        while True:
            self.qmp("query-status")
            events = self._machine.monitor.events
            for event in events:
                if event["event"] == name and data.items() <= event.get("data", {}).items():
                    events.remove(event)
                    return
            if time.monotonic() > deadline:
                raise CommandFailed(f"{self.name}: QEMU did not tell of {name} {data}")
            time.sleep(0.1)

    def lost(self, why):
        state = self.machine_state() if self.alive else "its QEMU has ended"
        self.kill()
        super().lost(f"{why}\n{state}")

    def console_tail(self):
        try:
            return tail((self._logs / f"{self.name}.console.log").read_text("utf-8", "replace"))
        except FileNotFoundError:
            return ""

    def responds(self):
        """Whether the agent answers and the guest has not restarted behind the harness's back."""
        if not self.alive or not self._hello.is_set():
            return False
        try:
            self._ask(channel.SYNC, b"", timeout=20)
        except (CommandFailed, HarnessError):
            return False
        return True

    # Files

    def put(self, path, data, mode=0o644):
        """Write data (bytes or str) to a file of the guest."""
        data = data.encode() if isinstance(data, str) else data
        for at in range(0, max(len(data), 1), STORE_CHUNK):
            self._ask(channel.STORE, struct.pack("<2I", mode, at > 0) + path.encode() + b"\0" +
                      data[at:at + STORE_CHUNK], what=f"write {path}")

    def get(self, path):
        """A file's bytes."""
        return bytes(self._ask(channel.FETCH, path.encode() + b"\0", what=f"read {path}")._out)

    # Kernel

    def dmesg(self):
        self._ask(channel.SYNC, b"")
        return self.log.text()

    def load_module(self, path, params=""):
        """Load one module file, without what it depends on. A module that is loaded already is fine."""
        self._ask(channel.LOAD, os.fsencode(path) + b"\0" + params.encode() + b"\0", what=f"load {path}")

    def load_modules(self, *names):
        """Load modules of the guest's kernel by name, with what they depend on."""
        for file in initramfs.module_files(*names, system=self.system):
            self.load_module(self.system.modules_at / Path(file).relative_to(self.system.kernel_root))

    def wait_port(self, port, timeout=30):
        """Wait until something listens on a TCP port."""
        self._ask(channel.LISTEN, struct.pack("<2I", port, int(timeout * self.slowness * 1000)), timeout + 10,
                  f"wait for a listener on port {port}")

    def sweep(self):
        """Kill every process of the guest but the agent; not where services run."""
        if self.system.starts_itself:
            return
        self._ask(channel.SWEEP, b"")

    # The device

    def load_driver(self, module=None):
        """Load pvhca.ko, or another build of it, with what it depends on, and what user space needs to use an rdma
        device."""
        system = self.system
        module = module or system.kernel_module()
        if system.modules_at != Path("/"):
            self.check(f"ln -sfn {system.modules_at}/lib/modules/{system.kernel} /lib/modules/")
        self.load_modules(*BASE_MODULES)
        self.load_module(module)

    def unload_driver(self):
        self.check("/sbin/rmmod pvhca")
        self._forget_device()

    def install_provider(self, plugin=None):
        """Put the provider, or another build of it, where the system's libibverbs looks for it."""
        plugin, folder = plugin or paths.provider(), f"{self.system.libraries}/libibverbs"
        self.check(f"mkdir -p {folder} /etc/libibverbs.d && cp {plugin} {folder}/ && "
                   "echo driver pvhca >/etc/libibverbs.d/pvhca.driver")

    def bring_up_device(self, timeout=60):
        """Driver, provider, the network interface with its address; returns when the device has its GID."""
        if self.system.starts_itself:
            self.wait_started()
        else:
            self.load_driver()
            self.install_provider()
        self.wait_device(timeout)

    def wait_started(self, timeout=120):
        """Until the guest's own init has started all that it starts, and devices have the names that udev gives them."""
        script = f"""i=0; while [ $i -lt {int(timeout * 2 * self.slowness)} ]; do
            case $(systemctl is-system-running 2>/dev/null) in running|degraded) udevadm settle; exit; esac
            sleep 0.5; i=$((i + 1)); done; exit 1"""
        if self.run(script, timeout * 2 + 20).rc:
            raise CommandFailed(f"{self.name} is still starting: {self.run('systemctl list-jobs').out}\n{self.console_tail()}")

    def wait_device(self, timeout=60):
        """Wait for the device with its GID: after the driver was loaded, or pvhcad is back."""
        self.find_device(timeout)
        self.configure_address(self.rdma_ip)
        self.gid_index = self.wait_gid(self.rdma_ip, timeout)

    def wait_device_gone(self, timeout=60):
        """Wait until there is no rdma device, as after pvhcad ended."""
        if self._look_for_device('[ -z "$f" ]', timeout) is None:
            raise CommandFailed(f"{self.name}: {self.ibdev} is still there\n{tail(self.dmesg())}")
        self._forget_device()

    def find_device(self, timeout=60):
        """Wait for the rdma device; sets ibdev and netdev."""
        found = self._look_for_device('[ -n "$f" ]', timeout)
        if found is None:
            raise CommandFailed(f"{self.name}: no pvhca device under /sys/class/infiniband\n{tail(self.dmesg())}")
        self.ibdev = found
        self.netdev = self.check(f"ls /sys/class/infiniband/{self.ibdev}/device/net").split()[0] \
            if not self.paired else self.check("ls -d /sys/class/net/*/device").split("/")[4]

    def _look_for_device(self, condition, timeout):
        """Until the condition about $f, the device's name or nothing, holds: $f then, or None at the end of time."""
        script = f"""i=0; while [ $i -lt {int(timeout * 5 * self.slowness)} ]; do
            f=; for u in /sys/class/infiniband/*/device/uevent; do
                [ -e "$u" ] && while read -r l; do [ "$l" = DRIVER=pvhca ] && f=$u; done <"$u"
            done
            {condition} && echo "$f" && exit 0; sleep 0.2; i=$((i + 1)); done; exit 1"""
        result = self.run(script, timeout * 2 + 20)
        return None if result.rc else result.out.strip().removeprefix("/sys/class/infiniband/").partition("/")[0]

    def configure_address(self, address, prefix=24):
        self.check(f"ip link set {self.netdev} up && ip addr replace {address}/{prefix} dev {self.netdev}")

    def wait_gid(self, address, timeout=60):
        """Wait for the RoCE v2 GID of an IP address; returns its index."""
        gid = gid_of(address)
        base = f"/sys/class/infiniband/{self.ibdev}/ports/1"
        script = f"""i=0; while [ $i -lt {int(timeout * 5 * self.slowness)} ]; do
            for f in {base}/gids/*; do
                g=; read -r g <$f; [ "$g" = {gid} ] || continue
                t=; read -r t <{base}/gid_attrs/types/${{f##*/}}; [ "$t" = "RoCE v2" ] && echo ${{f##*/}} && exit 0
            done; sleep 0.2; i=$((i + 1)); done; exit 1"""
        result = self.run(script, timeout * 2 + 20)
        if result.rc:
            raise CommandFailed(f"{self.name}: {self.ibdev} did not get the GID {gid}\n{tail(self.dmesg())}")
        return int(result.out)

    # Plumbing

    def _on_hello(self):
        self.boots += 1
        if self._expect_restart:
            self._hello.set()
        else:
            self._hello.clear()     # responds() tells

    def _forget_device(self):
        self.ibdev = self.netdev = self.gid_index = None

    def _request_only(self, kind, payload):
        self._channel.request(kind, payload, Running(self, "power"))

    def _ask(self, kind, payload, timeout=30, what="ask the agent"):
        running = Running(self, what)
        self._channel.request(kind, payload, running)
        if not running._ended.wait(timeout * self.slowness):
            raise GuestHung(f"{self.name} does not answer: {what}")
        if running._died:
            raise GuestDied(f"{self.name}: {running._died}: {what}")
        if running._rc:
            raise CommandFailed(f"{self.name}: cannot {what}: {os.strerror(-running._rc)}")
        return running

    def _start(self, running, argv, data, env, cwd, flags=0):
        running.number = self._channel.request(channel.RUN, channel.run_payload(flags, cwd, argv, env), running)
        if data is not None:
            for at in range(0, len(data), STORE_CHUNK):
                self._input(running, data[at:at + STORE_CHUNK])
            self._input(running, b"")

    def _signal(self, running, number):
        self._channel.follow(channel.SIGNAL, running.number, struct.pack("<I", int(number)))

    def _input(self, running, data):
        self._channel.follow(channel.INPUT, running.number, data)

    def terminal(self, argv, on_output):
        """A command on a terminal of its own, for an interactive shell."""
        running = Running(self, " ".join(argv), on_output)
        self._start(running, argv, None, {"TERM": os.environ.get("TERM", "dumb")}, "/root", channel.TERMINAL)
        return running
