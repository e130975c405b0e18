# SPDX-License-Identifier: GPL-2.0-or-later
"""What guests and the native host have in common: running commands."""

import dataclasses
import shlex
import signal
import threading
import time
from collections import deque

from . import limits
from .errors import CommandFailed, CommandTimeout, GuestDied, GuestHung

TAIL_LINES = 25
# What each process of the machine is doing, the kernel's threads left out.
PROCESSES = """for p in /proc/[0-9]*; do
    read -r line <$p/cmdline || [ -n "$line" ] && echo "$(cut -d ' ' -f 1-3,14,15 $p/stat) wchan=$(cat $p/wchan) syscall=$(cat $p/syscall)"
done; ss -tnH"""


def tail(text, lines=TAIL_LINES):
    return "\n".join(text.rstrip("\n").splitlines()[-lines:])


@dataclasses.dataclass
class Result:
    """rc is the exit code; 128 + signal when a signal ended the command, -errno when it could not be started."""

    command: str
    rc: int
    out: str
    err: str
    seconds: float

    def __str__(self):
        text = f"$ {self.command}\n-> {self.rc} after {self.seconds:.1f} s"
        for name, stream in (("out", self.out), ("err", self.err)):
            if stream.strip():
                text += "".join(f"\n{name}| {line}" for line in tail(stream).splitlines())
        return text


class Running:
    """A command that has been started. The host it runs on fills it in from a thread of its own."""

    def __init__(self, host, command, on_output=None):
        self.host = host
        self.command = command
        self._out, self._err = bytearray(), bytearray()
        self._on_output = on_output
        self._ended = threading.Event()
        self._started = time.monotonic()
        self._seconds = 0.0
        self._rc = None
        self._died = None

    @property
    def out(self):
        """Standard output so far."""
        return self._out.decode("utf-8", "replace")

    @property
    def err(self):
        return self._err.decode("utf-8", "replace")

    @property
    def running(self):
        return not self._ended.is_set()

    def ended_within(self, seconds):
        """Whether the command ends in that time; nothing happens to it if not."""
        return self._ended.wait(seconds)

    def result(self):
        return Result(self.command, -1 if self._rc is None else self._rc, self.out, self.err,
                      self._seconds or time.monotonic() - self._started)

    def wait(self, timeout=60):
        """The result, once the command has ended. A command that takes longer is killed: CommandTimeout."""
        timeout *= self.host.slowness
        if not self._ended.wait(timeout):
            seen = self.host.processes()
            self.kill(signal.SIGKILL)
            if not self._ended.wait(15 * self.host.slowness):
                self.host.lost(f"does not end a killed command: {self.command}")
            raise CommandTimeout(f"{self.host.name}: not done after {timeout:g} s: {self.command}\n{seen}", self._log())
        if self._died:
            raise GuestDied(f"{self.host.name}: {self._died}, while running: {self.command}")
        return self._log()

    def expect(self, text, timeout=60):
        """Wait until the command has written text to its standard output."""
        deadline = time.monotonic() + timeout * self.host.slowness
        while text not in self.out:
            if not self.running and text not in self.out:
                raise CommandFailed(f"{self.host.name}: ended without writing {text!r}\n{self.result()}")
            if time.monotonic() > deadline:
                raise CommandTimeout(f"{self.host.name}: {text!r} did not appear\n{self.result()}", self.result())
            time.sleep(0.02)

    def kill(self, number=signal.SIGTERM):
        """Signal the command and whatever it started in its session."""
        self.host._signal(self, number)

    def send(self, data):
        """Write to the command's standard input (it was started with input=None); b'' closes it."""
        self.host._input(self, data.encode() if isinstance(data, str) else data)

    def _log(self):
        result = self.result()
        self.host._remember(result)
        return result

    # Called by the host's thread.
    def _output(self, stream, data):
        (self._out if stream == "out" else self._err).extend(data)
        if self._on_output:
            self._on_output(stream, data)

    def _end(self, rc, died=None):
        self._seconds = time.monotonic() - self._started
        self._rc, self._died = rc, died
        self._ended.set()


class Host:
    """Base of whatever runs commands. `slowness` multiplies every time limit: how much slower than a process of this
    machine it is by its nature, times how slow this machine is (limits.scale)."""

    def __init__(self, name, slowness=1.0, transcript=None):
        self.name = name
        self.slowness = slowness
        self.recent = deque(maxlen=4)
        self._transcript = open(transcript, "a", encoding="utf-8", buffering=1) if transcript else None

    def run(self, command, timeout=60, input="", env=None, cwd="/"):
        """Run a shell command (a string) or a program (a list) to its end. Never raises for a bad exit code."""
        return self.spawn(command, input=input, env=env, cwd=cwd).wait(timeout)

    def check(self, command, timeout=60, **kwargs):
        """As run, but a bad exit code raises CommandFailed. Returns standard output."""
        result = self.run(command, timeout, **kwargs)
        if result.rc:
            raise CommandFailed(f"{self.name}: {result}")
        return result.out

    def spawn(self, command, input="", env=None, cwd="/", on_output=None):
        """Start a command. input=None leaves standard input open for send()."""
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(word) for word in command]
        shown = command if isinstance(command, str) else shlex.join(argv)
        running = Running(self, shown, on_output)
        data = input.encode() if isinstance(input, str) else input
        environment = {limits.VARIABLE: limits.scale(), **(env or {})}
        self._start(running, argv, data, {key: str(value) for key, value in environment.items()}, cwd)
        return running

    def processes(self):
        """What they are doing, for whoever wonders why something is not done."""
        look = self.spawn(PROCESSES)
        if not look.ended_within(10 * self.slowness):
            look.kill(signal.SIGKILL)
        return f"{look.out}{look.err}"

    def lost(self, why):
        raise GuestHung(f"{self.name} {why}")

    def _remember(self, result):
        self.recent.append(result)
        if self._transcript:
            self._transcript.write(f"{result.command}\n  -> {result.rc}, {result.seconds:.2f} s\n{result.out}")
            if result.err:
                self._transcript.write(f"  stderr:\n{result.err}")
            self._transcript.write("\n")

    def _start(self, running, argv, data, env, cwd):
        raise NotImplementedError

    def _signal(self, running, number):
        raise NotImplementedError

    def _input(self, running, data):
        raise NotImplementedError
