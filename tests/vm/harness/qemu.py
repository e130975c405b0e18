# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU process: its command line, its life, and its monitor."""

import contextlib
import json
import socket
import threading

from . import initramfs, limits, paths, processes
from .errors import HarnessError
from .system import HERE

# A processor that is emulated on a loaded machine is slow, which is no defect of the guest's kernel.
PATIENCE = "watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=300"
COMMAND_LINE = f"loglevel=5 panic=-1 mitigations=off random.trust_cpu=on {PATIENCE}"


# Assertions of QEMU's own emulation of a processor, which no test of ours is about.
EMULATOR_FAULTS = ("iotlb_to_section: Assertion",)
# QEMU 11.1.3 may set an error twice when the server of a vfio-user device is gone.
LOST_SERVER_FAULTS = ("error_setv: Assertion",)


class Monitor:
    """QMP, one command at a time; events are kept."""

    def __init__(self, sock):
        self._stream = sock.makefile("rwb")
        self._sock = sock
        self._lock = threading.Lock()
        self._ready = False
        self.events = []

    def command(self, name, /, **arguments):
        with self._lock:
            if not self._ready:
                self._stream.readline()
                self._exchange("qmp_capabilities", {})
                self._ready = True
            return self._exchange(name, arguments)

    def _exchange(self, name, arguments):
        message = {"execute": name, "arguments": {key.replace("_", "-"): value for key, value in arguments.items()}}
        self._stream.write(json.dumps(message).encode() + b"\n")
        self._stream.flush()
        while True:
            line = self._stream.readline()
            if not line:
                raise HarnessError(f"QEMU is gone; it was asked for {name}")
            answer = json.loads(line)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise HarnessError(f"{name}: {answer['error']['desc']}")
            else:
                return answer.get("return")

    def close(self):
        with contextlib.suppress(OSError):      # of what was asked of a QEMU that is gone
            self._stream.close()
        self._sock.close()


class Machine:
    """One virtual machine's emulator, with two sockets to it: the agent's port and the monitor. system: of the guest."""

    def __init__(self, name, logs, emulator, memory, cpus, accel, cpu, append="", extra=(), pass_fds=(), system=HERE):
        self.name = name
        self.log = logs / f"{name}.qemu.log"
        self.console = logs / f"{name}.console.log"
        self.agent, agent_peer = socket.socketpair()
        monitor, monitor_peer = socket.socketpair()
        command = [
            emulator, *paths.qemu_data(emulator), "-nodefaults", "-no-user-config", "-display", "none",
            "-name", name, "-accel", accel, "-cpu", cpu, "-smp", str(cpus), "-m", memory,
            "-object", f"memory-backend-memfd,id=ram,size={memory},share=on", "-machine", f"{system.machine},memory-backend=ram",
            "-kernel", system.kernel_image(), "-initrd", initramfs.image(system),
            "-append", f"console={system.console} {COMMAND_LINE} {system.append} vmtest.host={name} {append}",
            "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,fd={agent_peer.fileno()}",
            "-device", "virtserialport,chardev=agent,name=agent",
            "-chardev", f"socket,id=monitor,fd={monitor_peer.fileno()}", "-mon", "chardev=monitor,mode=control",
            "-virtfs", f"local,path={system.root},mount_tag=rootfs,security_model=none,readonly=on,multidevs=remap",
            *extra,
        ]
        with open(self.log, "ab") as log, agent_peer, monitor_peer:
            log.write((" ".join(map(str, command)) + "\n").encode())
            log.flush()
            self._said = log.tell()     # what stands before it is of earlier machines of that name
            self.process = processes.start(
                command, stdin=processes.subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[agent_peer.fileno(), monitor_peer.fileno(), *pass_fds])
        monitor.settimeout(limits.scaled(120))
        self.monitor = Monitor(monitor)

    @property
    def pid(self):
        return self.process.pid

    @property
    def alive(self):
        return self.process.poll() is None

    def give_time_to_end(self, timeout=5):
        """Its sockets are closed a moment before it is gone."""
        with contextlib.suppress(processes.subprocess.TimeoutExpired):
            self.process.wait(timeout)

    def state(self):
        """For a guest that does not move: where its processors and QEMU's threads are. All registers go to QEMU's log."""
        threads = "\n".join(processes.threads(self.pid))
        try:
            status = self.monitor.command("query-status")["status"]
            registers = [self.monitor.command("human-monitor-command", command_line="info registers -a")
                         for _ in range(2)]
        except (HarnessError, OSError, ValueError) as error:
            return f"its QEMU does not answer either ({error})\n{threads}"
        with open(self.log, "a", encoding="utf-8") as log:
            log.write("\n".join(registers))
        places = "\n".join(line.strip() for text in registers for line in text.splitlines()
                           if line.startswith(("CPU#", "RIP=", "PC=")))
        return f"QEMU says {status}; its processors, twice:\n{places}\n{threads}"

    def messages(self):
        """What this QEMU said, without its command line."""
        text = self.log.read_bytes()[self._said:].decode("utf-8", "replace")
        return "\n".join(line for line in text.splitlines() if "TCG doesn't support requested feature" not in line)

    def kill(self):
        processes.stop(self.process)
        self.monitor.close()
