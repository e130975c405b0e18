# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel logs, and what must not be in them. A kernel that complained during a test fails that test."""

import re
import threading

# What a kernel says when something is wrong with the kernel, whoever provoked it.
COMPLAINTS = re.compile("|".join((
    r"\bWARNING: ", r"\bBUG: ", r"\bBUG\b.* at ", r"kernel BUG at", r"\bOops\b", r"\bINFO: task .* blocked for more",
    r"\bINFO: (possible|suspicious|trying to register|inconsistent|rcu_)", r"\bINFO: .*(stall|RCU)",
    r"rcu.*detected .*stall", r"(soft|hard) lockup", r"LOCKUP", r"KASAN", r"KFENCE", r"KCSAN", r"UBSAN", r"KMSAN",
    r"refcount_t: ", r"scheduling while atomic", r"sleeping function called", r"bad unlock balance",
    r"general protection fault", r"unable to handle", r"Unable to handle", r"possible recursive locking",
    r"circular locking", r"lock held when returning", r"held lock freed", r"Kernel panic", r"double fault",
    r"stack guard page", r"Bad page (state|map)", r"list_(add|del) corruption", r"corrupted", r"leaked\b.*\bobjects",
    r"Objects remaining in", r"kobject.*(failed|not initialized)", r"sysfs: cannot create duplicate",
    r"unregister_netdevice: waiting for", r"DMA-API: ", r"slab error", r"memory leak", r"irq \d+: nobody cared",
    r"Call Trace:", r"Out of memory: ", r"segfault at", r"invalid opcode", r"divide error",
)))

# Complaints that say nothing about the code under test; each says why.
HARMLESS = re.compile("|".join((
    # QEMU's TCG has no performance counters for the hard-lockup detector; the kernel says so once at boot.
    r"NMI watchdog: Perf NMI watchdog permanently disabled",
)))


def complaint(line):
    """Whether one line of a kernel's log is a complaint."""
    return bool(COMPLAINTS.search(line)) and not HARMLESS.search(line)


class KernelLog:
    """What a kernel logged, from /dev/kmsg's records and, for what came last before a crash, from its console."""

    def __init__(self, name, file=None, console=None):
        self.name = name
        self.lines = []
        self._file = open(file, "a", encoding="utf-8", buffering=1) if file else None
        self._console = console
        self._console_at = 0
        self._checked = 0
        self._allowed = []
        self._lock = threading.Lock()

    def record(self, data):
        """One record as read from /dev/kmsg: 'priority,sequence,microseconds,flags;text', then lines of metadata."""
        head, _, rest = data.decode("utf-8", "replace").partition(";")
        text = rest.split("\n", 1)[0]
        try:
            microseconds = int(head.split(",")[2])
        except (IndexError, ValueError):
            microseconds = 0
        line = f"[{microseconds / 1e6:12.6f}] {text}"
        with self._lock:
            self.lines.append(line)
        if self._file:
            self._file.write(line + "\n")

    def text(self):
        with self._lock:
            return "\n".join(self.lines)

    def allow(self, pattern):
        """The running test provokes complaints that match: they do not count until the next check has passed."""
        self._allowed.append(re.compile(pattern))

    def check(self):
        """Complaints since the last check, oldest first."""
        with self._lock:
            fresh = self.lines[self._checked:]
            self._checked = len(self.lines)
        fresh += self._console_fresh()
        found = []
        for line in fresh:
            bare = re.sub(r"^\[ *\d+\.\d+\] ", "", line)
            if complaint(line) and bare not in found and not any(allowed.search(line) for allowed in self._allowed):
                found.append(bare)
        self._allowed.clear()
        return found

    def _console_fresh(self):
        if not self._console:
            return []
        try:
            with open(self._console, "rb") as console:
                console.seek(self._console_at)
                data = console.read()
        except FileNotFoundError:
            return []
        self._console_at += len(data)
        return data.decode("utf-8", "replace").replace("\r", "").splitlines()

    def pass_over_console(self):
        """What the console has shown so far is nobody's complaint."""
        self._console_fresh()

    def close(self):
        if self._file:
            self._file.close()
            self._file = None
