# SPDX-License-Identifier: GPL-2.0-or-later
"""What the results of rdma-core's tests must be, and the document about them.

expected.tsv holds for each test the outcome on each of three columns, and why it is not "passed" somewhere. It is a
minimum: a run may be better, not worse. docs/conformance.md is made from it and from nothing else.
"""

import collections
import dataclasses
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = Path(__file__).resolve().parent / "expected.tsv"
DOCUMENT = ROOT / "docs" / "conformance.md"

COLUMNS = {"native": "rxe, native", "verbs": "guest on rxe", "loopback": "guest on loopback"}
RANK = {"failed": 0, "skipped": 1, "passed": 2}
OTHERS_HARDWARE = re.compile(r"test_(mlx5|efa|cuda)")
REASON_LENGTH = 140


@dataclasses.dataclass(frozen=True)
class Result:
    outcome: str
    reason: str = ""

    @property
    def brief(self):
        """The last line of the reason, without what differs from run to run."""
        lines = self.reason.strip().splitlines()
        return re.sub(r"\s+", " ", lines[-1])[:REASON_LENGTH] if lines else ""


def parse_results(text):
    """Of run_pyverbs.py's output: test to Result."""
    return {record["test"]: Result(record["outcome"], record["reason"]) for record in map(json.loads, text.splitlines())}


def read_expected(path=EXPECTED):
    """Test to (column to outcome, reason)."""
    expected = {}
    for line in path.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            test, *outcomes, reason = line.split("\t")
            expected[test] = (dict(zip(COLUMNS, outcomes, strict=True)), reason)
    return expected


def write_expected(results, path=EXPECTED):
    """results: column to (test to Result), all three columns."""
    lines = ["# The least that each of rdma-core's Python tests must give; written by scripts/conformance.",
             "# " + "\t".join(("test", *COLUMNS, "why not passed"))]
    for test in sorted(set().union(*results.values())):
        row = [results[column].get(test, Result("failed", "did not run")) for column in COLUMNS]
        reason = next((result.brief for result in reversed(row) if result.outcome != "passed"), "")
        lines.append("\t".join((test, *(result.outcome for result in row), reason)))
    path.write_text("\n".join(lines) + "\n", "utf-8")


def worse(results, reference, reasons):
    """Tests that give less than the reference (test to outcome), as lines."""
    found = []
    for test, outcome in sorted(reference.items()):
        result = results.get(test, Result("failed", "did not run"))
        if RANK[result.outcome] < RANK[outcome]:
            found.append(f"{test}: {result.outcome}, {reasons} {outcome}: {result.brief}")
    return found


def failures(results, native):
    """Tests that fail and do not natively, as lines. native: test to outcome."""
    return [f"{test}: failed: {result.brief}" for test, result in sorted(results.items())
            if result.outcome == "failed" and native.get(test) != "failed"]


def counts(outcomes):
    count = collections.Counter(outcomes)
    return f"{count['passed']} / {count['skipped']} / {count['failed']}"


def table(expected):
    modules = collections.defaultdict(list)
    for test, (outcomes, _) in sorted(expected.items()):
        module = test.partition(".")[0]
        modules["others' hardware" if OTHERS_HARDWARE.match(module) else module].append(outcomes)
    rows = [(name, *(counts(outcomes[column] for outcomes in tests) for column in COLUMNS))
            for name, tests in sorted(modules.items(), key=lambda item: (item[0] == "others' hardware", item[0]))]
    everything = [outcomes for tests in modules.values() for outcomes in tests]
    rows.append(("**all**", *(counts(outcomes[column] for outcomes in everything) for column in COLUMNS)))
    head = [f"| module | {' | '.join(COLUMNS.values())} |", "|---|---|---|---|"]
    return "\n".join(head + ["| " + " | ".join(row) + " |" for row in rows])


def differences(expected):
    """Tests whose outcome differs between the columns."""
    rows = [f"| {test.removeprefix('test_')} | {' | '.join(outcomes.values())} | {reason} |"
            for test, (outcomes, reason) in sorted(expected.items()) if len(set(outcomes.values())) > 1]
    head = [f"| test | {' | '.join(COLUMNS.values())} | why not passed |", "|---|---|---|---|---|"]
    return "\n".join(head + rows)


def remaining(expected):
    """What is the same everywhere and not passed, by reason."""
    reasons = collections.defaultdict(list)
    for test, (outcomes, reason) in sorted(expected.items()):
        if set(outcomes.values()) in ({"skipped"}, {"failed"}) and not OTHERS_HARDWARE.match(test):
            reasons[f"{outcomes['native']}: {reason}"].append(test)
    return "\n".join(f"| {reason} | {len(tests)} | {', '.join(sorted({test.partition('.')[0] for test in tests}))} |"
                     for reason, tests in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])))


def document(expected):
    return f"""# Conformance

rdma-core 44 comes with {len(expected)} Python tests. CI on Debian 12 runs all of them three times: natively on the host's
software engine (rxe of Linux 6.1), in a guest on the verbs fabric with the same engine, and in a guest on the loopback fabric.
In a guest no test may fail, except tests that fail natively too. No test may give less in a guest than natively, or less than
this page shows. So this page shows the minimum; `tests/conformance/expected.tsv` has it test by test.

    scripts/conformance          runs all, and writes both files anew

`scripts/conformance` writes this page. Its numbers are passed / skipped / failed.

{table(expected)}

"Others' hardware" means the tests for the drivers of mlx5 and efa, and for CUDA.

## Where the columns differ

{differences(expected)}

Natively none of the tests of rdma_cm runs: they cannot find the network interface of rxe on a virtual Ethernet pair. In a
guest they run.

## What no column passes

| outcome and reason | tests | modules |
|---|---|---|
{remaining(expected)}
"""
