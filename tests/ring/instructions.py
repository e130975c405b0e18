#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions that a message costs, counted by callgrind: they do not depend on how busy the machine is.

    instructions.py PROGRAMS            what each kind of message costs the programs of a build folder
    instructions.py PROGRAMS OTHERS     beside a pvhcad of another build

pvhcad: from the turn of a VM on, worker_serve(), with a full queue of requests posted at once. Provider: its calls to
post and poll, 32 requests a call. Setting up and looking around are not in it. Verbs fabric: pvhcad with an engine that
does nothing (null_engine.c), whose own instructions are not counted; here handing over receives and polling are in it.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "common"))

from timescale import scaled  # noqa: E402
from unix_sockets import listens  # noqa: E402

KINDS = ("write", "send", "read", "atomic", "datagram")
MESSAGES = 5120
CHAIN = 32
TURN = "worker_serve"
VERBS_TURN = ("worker_serve", "worker_hand_over_receives", "verbs_vm_poll")
CALLS = ("pvhca_post_send", "pvhca_post_recv", "pvhca_poll_cq")
SECONDS = scaled(300)


def callgrind(folder, functions, begins):
    """The command to put before a program's. A new part of its counts begins with each call of begins."""
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", f"--dump-before={begins}",
            "--separate-threads=no", *(f"--toggle-collect={name}" for name in functions)]


def instructions_outside(path, library):
    """Those of a part that are not a library's."""
    total, inside, called, names = 0, False, False, {}
    for line in path.read_text("utf-8").splitlines():
        if found := re.match(r"ob=\((\d+)\)(?: (.*))?$", line):
            names.setdefault(found[1], found[2])
            inside = (names[found[1]] or "").endswith(library)
        elif found := re.match(r"cob=\((\d+)\) (.*)$", line):
            names.setdefault(found[1], found[2])
        elif line.startswith("calls="):
            called = True       # the next line is the callee's
        elif re.match(r"[\d+*-]", line):
            if not called and not inside:
                total += int(line.split()[-1])
            called = False
    return total


def parts(folder, without=None):
    """The instructions of each part, in their order. A part of next to nothing is the end of a turn."""
    files = sorted(Path(folder).glob("out*"), key=lambda path: int(path.suffix[1:] or 0) if path.suffix else 1 << 30)
    counts = [re.search(r"^(?:summary|totals): (\d+)", path.read_text(), re.M) for path in files]
    return [instructions_outside(path, without) if without else int(count[1])
            for path, count in zip(files, counts) if count and int(count[1]) > MESSAGES]


class Pvhcad:
    """One on a socket of its own; under callgrind if it is told a command to put before."""

    def __init__(self, program, folder, before=(), engine=None):
        self.socket = Path(folder) / "socket"
        self._log = open(Path(folder) / "log", "w", encoding="utf-8")
        config = Path(folder) / "conf"
        config.write_text("")
        command = [*before, program, "--config", config, "--socket", self.socket, "--log-level", "warning",
                   "--workers", "1"]
        # What came later, and would change the user, or end a process that valgrind is in.
        options = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
        command += [word for name, value in (("user", "root"), ("sandbox", "false")) if f"--{name}=" in options
                    for word in (f"--{name}", value)]
        environment = os.environ | ({"LD_PRELOAD": str(engine)} if engine else {})
        command += ["--fabric", "verbs"] if engine else ["--fabric", "loopback"]
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        end = time.monotonic() + SECONDS
        while not listens(self.socket):
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(Path(self._log.name).read_text("utf-8"))
            time.sleep(0.02)

    def stop(self):
        self._process.terminate()
        self._process.wait(SECONDS)
        self._log.close()


def kinds(program, socket, chain, before=(), kind=None):
    """Send messages. Returns the names of the kinds and how many of each."""
    command = [*before, program, "--socket", socket, "--count", str(MESSAGES), "--chain", str(chain)]
    done = subprocess.run(command + (["--kind", kind] if kind else []), capture_output=True, text=True, timeout=SECONDS,
                          check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return [(name, int(count)) for name, count in re.findall(r"^(\w+) (\d+)$", done.stdout, re.M)]


def _by_kind(sent, found):
    if len(found) != len(sent):
        raise RuntimeError(f"{len(sent)} kinds of messages, and {len(found)} parts of the counts")
    return {name: count / messages for (name, messages), count in zip(sent, found)}


def turn_of(daemon):
    """The function that is a VM's turn; earlier versions had another."""
    names = subprocess.run(["nm", daemon], capture_output=True, text=True, check=True).stdout.split()
    return TURN if TURN in names else "serve_contexts"


def of_pvhcad(daemon, program):
    """Kind to instructions of pvhcad for a message."""
    with tempfile.TemporaryDirectory(prefix="pvhca-") as folder:
        pvhcad = Pvhcad(daemon, folder, callgrind(folder, [turn_of(daemon)], "cq_init"))
        try:
            sent = kinds(program, pvhcad.socket, 512)
        finally:
            pvhcad.stop()
        return _by_kind(sent, parts(folder))


def of_verbs(daemon, program, engine):
    """Likewise of pvhcad on the verbs fabric, without the engine's own."""
    found = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory(prefix="pvhca-") as folder:
            pvhcad = Pvhcad(daemon, folder, callgrind(folder, VERBS_TURN, "cq_init"), engine)
            try:
                sent = kinds(program, pvhcad.socket, 512, kind=kind)
            finally:
                pvhcad.stop()
            found |= {name: sum(parts(folder, Path(engine).name)) / count for name, count in sent}
    return found


def of_provider(daemon, program):
    """Likewise of the provider."""
    with tempfile.TemporaryDirectory(prefix="pvhca-") as folder:
        pvhcad = Pvhcad(daemon, folder)
        try:
            sent = kinds(program, pvhcad.socket, CHAIN, callgrind(folder, CALLS, "guest_cq_create"))
        finally:
            pvhcad.stop()
        return _by_kind(sent, parts(folder))


def main(builds):
    programs = [Path(build) for build in builds]
    kinds_program = programs[0] / "tests" / "ring" / "pvhca-ring-kinds"
    columns = {f"pvhcad of {build}": of_pvhcad(build / "hostd" / "pvhcad", kinds_program) for build in programs}
    engine = programs[0] / "tests" / "ring" / "libpvhca-null-engine.so"
    if engine.exists():
        columns["pvhcad, verbs fabric"] = of_verbs(programs[0] / "hostd" / "pvhcad", kinds_program, engine)
    columns["provider"] = of_provider(programs[0] / "hostd" / "pvhcad", kinds_program)
    for name, found in columns.items():
        print(f"{name}: " + ", ".join(f"{kind} {count:.1f}" for kind, count in found.items()))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1:])
