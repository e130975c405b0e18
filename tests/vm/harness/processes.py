# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes of the machine the harness runs on. None outlives the harness, however that ends."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
from pathlib import Path

_requests = queue.SimpleQueue()
_starter = None


def _start_all():
    while True:
        args, kwargs, done, outcome = _requests.get()
        try:
            outcome.append(subprocess.Popen(args, **kwargs))
        except BaseException as error:
            outcome.append(error)
        done.set()


def start(args, **kwargs):
    """A Popen in a process group of its own that the kernel kills when the harness dies.

    The parent-death signal follows the *thread* that forked, so that one long-lived thread starts all of them.
    """
    global _starter
    if _starter is None:
        _starter = threading.Thread(target=_start_all, name="starter", daemon=True)
        _starter.start()
    done, outcome = threading.Event(), []
    command = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", *map(str, args)]
    _requests.put((command, {"start_new_session": True, **kwargs}, done, outcome))
    done.wait()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def threads(pid):
    """What each thread of a process is at: name, state, where it sleeps in the kernel, its system call and arguments."""
    found = []
    for task in sorted(Path(f"/proc/{pid}/task").glob("*")):
        with contextlib.suppress(OSError):      # a thread that ends meanwhile
            name, wchan, call = ((task / file).read_text().strip() for file in ("comm", "wchan", "syscall"))
            state = (task / "stat").read_text().rpartition(") ")[2].split()[0]
            found.append(f"thread {task.name} {name}: {state} {wchan} {call}")
    return found


def busy_seconds(pid):
    """What its threads have run, or were ready to run and had no processor."""
    used = 0
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):      # a thread that ends meanwhile
            used += sum(map(int, (task / "schedstat").read_text().split()[:2]))
    return used / 1e9


def signal_group(process, number):
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, number)


def stop(process, grace=0.0):
    """End the process and its group: by SIGTERM when it has grace seconds to go by itself, then by SIGKILL."""
    if grace:
        signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(grace)
    signal_group(process, signal.SIGKILL)
    return process.wait()
