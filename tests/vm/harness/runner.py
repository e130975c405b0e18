# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the tests of test files on one rig and reports them, one TAP line each."""

import contextlib
import importlib.util
import json
import os
import select
import shutil
import signal
import termios
import time
import traceback
import tty
from pathlib import Path

from . import paths, testcase
from .arm64 import RIGS
from .errors import GuestHung, HarnessError, Interrupted, Skip, TestTimeout, TimedOut
from .qemu import EMULATOR_FAULTS
from .rigs import NO_ANSWER

SKIP_EXIT_CODE = 77
# Tests of one file that may be tried once more: a slow moment of the machine meets one, a fault of ours more.
SECOND_ATTEMPTS = 2


@contextlib.contextmanager
def time_limit(seconds):
    def expire(*_):
        raise TestTimeout(f"the test took longer than {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextlib.contextmanager
def interruptible():
    """SIGINT and SIGTERM unwind the stack, so that everything gets cleaned up."""
    def interrupt(number, _):
        signal.signal(number, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def load(path):
    path = Path(path).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Runner:
    """soak: the long tests, and no others. rig: one that an earlier runner has left, which this one now owns; keep: leave it to
    take_rig() at the end, and boot what serves many files."""

    def __init__(self, rig_name, logs, strict=False, soak=False, rig=None, keep=False):
        self.rig_name, self.logs, self.strict, self._soak = rig_name, logs, strict, soak
        self._names = {rig_name, RIGS[rig_name].like}
        self.count = self.failed = self.skipped = 0
        self._rig, self._keep = rig, keep
        self._second_attempts = 0
        self._kept = False
        self._booted = len(list(logs.glob("boot*")))
        self._finished = logs / "finished"

    def run(self, selections):
        """selections: (file, test's name or None). Returns the exit code."""
        with interruptible():
            try:
                finished = self._resume()
                for file, name in selections:
                    self._run_file(Path(file), name, finished)
                self._kept = self._keep
            except Interrupted as interrupted:
                print(f"Bail out! {interrupted}", flush=True)
                return 130
            finally:
                if not self._kept:
                    self._close_rig()
        print(f"1..{self.count}", flush=True)
        if self.failed:
            print(f"# {self.failed} of {self.count} failed; logs: {self.logs}", flush=True)
            return 1
        return SKIP_EXIT_CODE if self.skipped == self.count else 0

    def take_rig(self):
        """The rig that is kept, if there is one: the caller's from now on."""
        rig, self._rig = self._rig, None
        return rig

    def _resume(self):
        """Count what an earlier run with these logs, which was cut short, had finished. Returns their titles."""
        lines = self._finished.read_text("utf-8").splitlines() if self._finished.exists() else []
        titles = set()
        for verdict, _, title in (line.partition(" ") for line in lines):
            titles.add(title)
            self.count += 1
            self.failed += verdict == "failed"
            self.skipped += verdict == "skipped"
        return titles

    def _note_finished(self, verdict, title):
        with self._finished.open("a", encoding="utf-8") as file:
            file.write(f"{verdict} {title}\n")

    def _run_file(self, file, name, finished):
        cases = [case for case in testcase.cases(load(file)) if name in (None, case.name)]
        if not cases:
            raise HarnessError(f"{file} has no test{' ' + name if name else 's'}")
        cases = [case for case in cases if f"{file.stem}::{case.name}" not in finished]
        if not name:
            cases = self._choose(file, cases)
        self._second_attempts = SECOND_ATTEMPTS
        setups = list(dict.fromkeys(case.setup for case in cases))
        while setups:
            setup = min(setups, key=self._effort)
            setups.remove(setup)
            for case in cases:
                if case.setup == setup:
                    self._run_case(file.stem, case)
        if self._rig:
            self._rig.end_file()

    def _choose(self, file, cases):
        """Those that are due: the long ones, or the others."""
        long = [case for case in cases if self._names & set(case.soak)]
        if long and not self._soak:
            print(f"# {len(long)} long test(s) of {file.stem} are left to scripts/soak", flush=True)
        return long if self._soak else [case for case in cases if case not in long]

    def _effort(self, setup):
        """How much has to be done for a setup: the least comes first, as in the file when that is equal."""
        if not self._rig:
            return 2
        return 0 if self._rig.serves(setup) else 1 if self._rig.adapts_to(setup) else 2

    def _run_case(self, stem, case, first=True):
        title = f"{stem}::{case.name}"
        started = time.monotonic()
        try:
            if not self._names & set(case.rigs):
                raise Skip(f"not for the {self.rig_name} rig")
            rig = self._rig_for(case.setup)
            rig.results = self.logs
            with time_limit(case.timeout * rig.slowness):
                case.function(rig)
            problems = rig.problems()
            error = None
        except Skip as skip:
            self._report_skip(title, case, skip)
            return
        except Interrupted:
            raise
        except BaseException as raised:
            error, problems = raised, self._problems_after_failure()
        seconds = time.monotonic() - started
        excuse = first and self._excuse(error, problems)
        if excuse and self._second_attempts:
            self._second_attempts -= 1
            print(f"# {title}: {excuse}; once more, with new guests", flush=True)
            self._explain_failure(error, problems)
            self._close_rig()
            self._run_case(stem, case, first=False)
            return
        if error or problems:
            self._report_failure(title, seconds, error, problems)
        else:
            self._report("ok", title, f"({self.rig_name}, {seconds:.1f} s{'' if first else ', at the second attempt'})")
            self._note_finished("passed", title)
        self._after(case, bool(error or problems))

    def _rig_for(self, setup):
        """The rig that there is, as it is or with another pvhcad; else a new one."""
        if self._rig and not self._rig.serves(setup):
            if self._rig.adapts_to(setup):
                self._adapt(setup)
            else:
                self._close_rig()
        return self._rig or self._boot(setup)

    def _adapt(self, setup):
        started = time.monotonic()
        try:
            self._rig.adapt(setup)
            problems = self._rig.problems()
        except (HarnessError, AssertionError) as error:
            problems = [str(error)]
        if problems:
            raise HarnessError("while pvhcad got other settings:\n" + "\n".join(problems))
        print(f"# the guests have another pvhcad after {time.monotonic() - started:.1f} s", flush=True)

    def _boot(self, setup):
        if self._keep:
            setup = setup.enlarged(*RIGS[self.rig_name].roomy)
        self._booted += 1
        logs = self.logs / f"boot{self._booted}"
        logs.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        self._rig = RIGS[self.rig_name](setup, logs)
        devices = "with" if setup.device else "without"
        print(f"# {setup.guests} guest(s) {devices} device booted in {time.monotonic() - started:.1f} s", flush=True)
        booting = self._rig.problems()
        if booting:
            raise HarnessError("while booting:\n" + "\n".join(booting))
        return self._rig

    def _after(self, case, failed):
        """The next test gets this rig when it is fit for that, else one of its own."""
        if not self._rig:
            return
        try:
            if not failed and not case.reboot_after:
                self._rig.sweep()
                return
        except (HarnessError, AssertionError) as error:
            print(f"# {error}: the next test gets new guests", flush=True)
        self._close_rig()

    def _problems_after_failure(self):
        if not self._rig:
            return []
        try:
            return self._rig.problems()
        except (HarnessError, AssertionError) as error:
            return [str(error)]

    def _excuse(self, error, problems):
        """Why a failure says little about what is tested; None otherwise, as where a kernel or a sanitizer complained."""
        if not error:
            return None
        if self._emulator_failed(error):
            return "the emulator's own assertion ended a machine"
        if any(NO_ANSWER not in problem for problem in problems):
            return None
        if isinstance(error, GuestHung) or isinstance(error, TimedOut) and not problems:
            return "it did not end in its time"
        return None

    def _emulator_failed(self, error):
        return any(fault in str(error) for fault in EMULATOR_FAULTS) or \
            bool(self._rig) and any(guest.emulator_failed() for guest in self._rig.guests)

    def _close_rig(self):
        rig, self._rig = self._rig, None
        if rig:
            try:
                rig.end_file()
            finally:
                rig.close()

    def _report(self, verdict, title, rest):
        self.count += 1
        print(f"{verdict} {self.count} - {title} {rest}", flush=True)

    def _report_skip(self, title, case, skip):
        missing = "is not built" in str(skip)
        if missing and self.strict:
            self.failed += 1
            self._report("not ok", title, f"({skip})")
            self._note_finished("failed", title)
            return
        self.skipped += 1
        self._note_finished("skipped", title)
        self._report("ok", title, f"# SKIP {skip}")

    def _report_failure(self, title, seconds, error, problems):
        self.failed += 1
        self._report("not ok", title, f"({self.rig_name}, {seconds:.1f} s)")
        self._note_finished("failed", title)
        self._explain_failure(error, problems)

    def _explain_failure(self, error, problems):
        lines = []
        if error:
            lines += self._where(error)
        lines += [line for problem in problems for line in problem.splitlines()]
        if self._rig:
            for host in self._rig.hosts():
                for result in host.recent:
                    lines += [f"last on {host.name}: {line}" for line in str(result).splitlines()]
            if self._rig.daemon:
                lines += [f"pvhcad: {line}" for line in self._rig.daemon.log_tail().splitlines()]
                lines += self._counters()
            lines.append(f"logs: {self._rig.logs}")
        else:
            lines.append(f"logs: {self.logs}")
        for line in lines:
            print(f"#   {line}", flush=True)

    def _counters(self):
        try:
            return [f"pvhcad's counters: {json.dumps(session)}" for session in self._rig.daemon.stats()["sessions"]]
        except (OSError, ValueError) as error:
            return [f"pvhcad gives no counters: {error}"]

    @staticmethod
    def _where(error):
        """The error, and the lines of test files that led there; the harness's own only when it is to blame."""
        frames = traceback.extract_tb(error.__traceback__)
        inside = str(paths.VM_TESTS / "harness")
        shown = frames if not isinstance(error, (AssertionError, HarnessError)) else \
            [frame for frame in frames if not frame.filename.startswith(inside)]
        lines = [f"{frame.filename}:{frame.lineno}: {frame.line}" for frame in shown]
        return lines + traceback.format_exception_only(error)[-1].splitlines()


def shell(rig_name, logs, setup):
    """A shell in guest 0 of a newly booted rig; commands typed here go to its terminal."""
    with interruptible():
        rig = RIGS[rig_name](setup, logs)
        try:
            interact(rig.guests[0])
        finally:
            rig.close()


def interact(host):
    """Connect this terminal with one of a guest's, and a shell there."""
    size = shutil.get_terminal_size()
    print(f"# a shell in {host.name}; `exit` ends it\r", flush=True)
    saved = termios.tcgetattr(0) if os.isatty(0) else None
    running = host.terminal(["/bin/sh", "-c", f"stty rows {size.lines} cols {size.columns}; exec bash -i"],
                            lambda _, data: os.write(1, data))
    try:
        if saved:
            tty.setraw(0)
        typing = [0]
        while running.running:
            if select.select(typing, [], [], 0.1)[0]:
                data = os.read(0, 4096)
                typing = [0] if data else []
                running.send(data or b"\nexit\n")   # an end of input would be lost on whatever runs now
    finally:
        if saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
