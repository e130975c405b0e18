#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run rdma-core's Python tests on a device and tell the result of each.

    run_pyverbs.py --dev DEVICE --gid INDEX [TEST...]

Debian ships the tests with rdma-core's documentation, some of them compressed; the package python3-pyverbs is what
they test through. Each result is a line of JSON on standard output: test, outcome (passed, skipped, failed), reason,
seconds. TEST selects by the beginning of a test's name, test_mr.MRTest for instance.

The tests run in a process of their own. One that hangs or dies takes the running test with it, which has failed then,
and another process goes on behind it. The limit of a test begins with the test: loading and listing the tests, and
what is done between two of them, has a wide limit of its own.

Many of the tests choose sizes and flags at random: the generator starts from the test's name, so that natively and in
a guest the same is tried.
"""

import argparse
import contextlib
import gzip
import importlib.machinery
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "common"))

from timescale import scaled  # noqa: E402

SOURCES = ("/usr/share/doc/rdma-core/tests", "/usr/share/doc/python3-pyverbs/tests")
TODO, STARTED = "todo", "started"
REASON_LENGTH = 300


def parse():
    parser = argparse.ArgumentParser(description="Run rdma-core's Python tests and tell each result.")
    parser.add_argument("--dev", required=True)
    parser.add_argument("--gid", required=True)
    parser.add_argument("--source", action="append", help="folder with the tests (default: where Debian has them)")
    parser.add_argument("--limit", type=float, default=60, help="seconds for a test (longer on a slow machine)")
    parser.add_argument("--load-limit", type=float, default=600, help="seconds to load and list them (likewise)")
    parser.add_argument("--seed", default="")
    parser.add_argument("--output", default="full", choices=("full", "reason"), help="how much of a failure is told")
    parser.add_argument("--unpacked", help=argparse.SUPPRESS)
    parser.add_argument("--without", help=argparse.SUPPRESS)
    parser.add_argument("tests", nargs="*", metavar="TEST")
    return parser.parse_args()


def unpack(sources, target):
    """The tests as plain files in target/tests: as a package they have to be called that."""
    source = next((Path(folder) for folder in sources if Path(folder, "__init__.py").exists()), None)
    if not source:
        sys.exit(f"run_pyverbs: no tests in {' or '.join(sources)}")
    folder = Path(target, "tests")
    folder.mkdir()
    for file in source.iterdir():
        if file.suffix == ".gz":
            (folder / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        else:
            shutil.copy(file, folder)
    return folder


class Teller(unittest.TestResult):
    """Tells of each test when it starts and how it ends."""

    def __init__(self, seed, full):
        super().__init__()
        # A test may write to standard output, and forks.
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._seed, self._full = seed, full
        self._outcome = None
        self._since = time.monotonic()

    def tell(self, test, outcome, reason="", seconds=0.0):
        record = {"test": test, "outcome": outcome, "reason": reason, "seconds": round(seconds, 2)}
        self._out.write(json.dumps(record) + "\n")

    def startTest(self, test):
        super().startTest(test)
        self._outcome = ("failed", "said nothing")
        self._since = time.monotonic()
        self.tell(name_of(test), STARTED)
        random.seed(f"{self._seed}{name_of(test)}")

    def stopTest(self, test):
        self.tell(name_of(test), *self._outcome, time.monotonic() - self._since)
        self._outcome = None
        super().stopTest(test)

    def _end(self, test, outcome, reason=""):
        if self._outcome:
            self._outcome = (outcome, reason)
        else:           # of a class or module: for all of its tests
            self.tell(str(test), outcome, reason)

    def addSuccess(self, test):
        self._end(test, "passed")

    def addSkip(self, test, reason):
        self._end(test, "skipped", reason)

    def addExpectedFailure(self, test, error):
        self._end(test, "passed", "failed as expected")

    def addUnexpectedSuccess(self, test):
        self._end(test, "failed", "passed unexpectedly")

    def addError(self, test, error):
        super().addError(test, error)
        self._failed(test, error)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._failed(test, error)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            self._failed(test, error)

    def _failed(self, test, error):
        text = self._exc_info_to_string(error, test).strip()
        self._end(test, "failed", text if self._full else text.splitlines()[-1][:REASON_LENGTH])


def name_of(test):
    """module.Class.method"""
    return test.id().removeprefix("tests.")


def all_tests(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from all_tests(test)
        else:
            yield test


def run_here(options):
    """In the process for the tests."""
    folder = Path(options.unpacked)
    sys.path.insert(0, str(folder))
    sys.argv[1:] = ["--dev", options.dev, "--gid", options.gid]
    from args_parser import parser
    parser.parse_args()
    package = importlib.machinery.SourceFileLoader("tests", str(folder / "__init__.py")).load_module()
    loader = unittest.TestLoader()
    wanted, without = tuple(options.tests), set(json.loads(options.without))
    tests = [test for module in package.__test_modules__ for test in all_tests(loader.loadTestsFromModule(module))]
    tests = [test for test in tests if name_of(test).startswith(wanted or "") and name_of(test) not in without]
    teller = Teller(options.seed, options.output == "full")
    for test in tests:
        teller.tell(name_of(test), TODO)
    unittest.TestSuite(tests).run(teller)


def records_of(process, limit, load_limit):
    """What the tests tell, as it comes. Ends when they do, or take longer than the limit of what is going on."""
    pending = b""
    descriptor = process.stdout.fileno()
    running = False
    while select.select([descriptor], [], [], scaled(limit if running else load_limit))[0]:
        data = os.read(descriptor, 65536)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            record = json.loads(line)
            running = record["outcome"] == STARTED
            yield record


def end(process):
    """How the process for the tests ended, or that it had to be ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(scaled(30))
    hung = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)      # with what its tests have started
    rc = process.wait()
    process.stdout.close()
    if hung:
        return "hung"
    return f"killed by {signal.Signals(-rc).name}" if rc < 0 else f"the process ended with {rc}"


def run_all(options, folder):
    done, todo = set(), set()
    while True:
        command = [sys.executable, __file__, "--unpacked", str(folder), "--dev", options.dev, "--gid", options.gid,
                   "--seed", options.seed, "--output", options.output, "--without", json.dumps(sorted(done)),
                   *options.tests]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True)
        started, before = None, len(done)
        for record in records_of(process, options.limit, options.load_limit):
            if record["outcome"] == TODO:
                todo.add(record["test"])
                continue
            started = record["test"] if record["outcome"] == STARTED else None
            if not started:
                done.add(record["test"])
                print(json.dumps(record), flush=True)
        how = end(process)
        if started:
            done.add(started)
            print(json.dumps({"test": started, "outcome": "failed", "reason": how, "seconds": scaled(options.limit)}),
                  flush=True)
        elif not todo - done or len(done) == before:
            break
    if not todo:
        sys.exit(f"run_pyverbs: no test ran: {how}")
    for test in sorted(todo - done):        # of a class that could not be set up: it has told why
        print(json.dumps({"test": test, "outcome": "failed", "reason": "did not run", "seconds": 0}), flush=True)


def main():
    options = parse()
    if options.unpacked:
        run_here(options)
        return
    with tempfile.TemporaryDirectory() as directory:
        run_all(options, unpack(options.source or SOURCES, directory))


if __name__ == "__main__":
    main()
