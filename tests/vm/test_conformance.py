# SPDX-License-Identifier: GPL-2.0-or-later
"""rdma-core's own Python tests in a guest: none fails, and none is worse than natively or than it has been.

tests/conformance has what runs them and what they must give. Results are left in the logs, where scripts/conformance
finds them.
"""

import sys

from harness import paths, vmtest

CONFORMANCE = paths.SOURCE / "tests" / "conformance"
sys.path.insert(0, str(CONFORMANCE))

import report  # noqa: E402

HUGE_PAGES = 32     # of 2 MiB: some tests want some
LIMIT = 120         # seconds for a test; natively none takes one


def run_tests(host, rig, column):
    """All tests on a host: name to report.Result."""
    host.run(f"echo {HUGE_PAGES} >/proc/sys/vm/nr_hugepages")
    with (rig.results / f"{column}.results").open("wb", buffering=0) as file:
        def keep(stream, data):
            if stream == "out":
                file.write(data)

        running = host.spawn(f"exec {CONFORMANCE}/run_pyverbs.py --dev {host.ibdev} --gid {host.gid_index} "
                             f"--limit {LIMIT}", on_output=keep)
        assert running.wait(1800).rc == 0, running.result()
    host.run("echo 0 >/proc/sys/vm/nr_hugepages")
    return report.parse_results(running.out)


def check(results, native, expected, column):
    """native: outcomes of this run, or those that are known of it."""
    least = {test: outcomes[column] for test, (outcomes, _) in expected.items()}
    wrong = report.failures(results, native) + report.worse(results, native, "natively") + \
        report.worse(results, least, "expected")
    assert not wrong, "\n".join(dict.fromkeys(wrong))


# On the verbs rig it takes long, and what it then finds beside the loopback rig is mostly the engine's.
@vmtest(guests=1, timeout=3600, soak=("verbs",))
def rdma_cores_tests_give_in_a_guest_what_is_known_of_them(rig):
    expected = report.read_expected()
    native = {test: outcomes["native"] for test, (outcomes, _) in expected.items()}
    check(run_tests(rig.guests[0], rig, rig.name), native, expected, rig.like or rig.name)


# The engine's own results change with the kernel only; scripts/conformance runs this, too.
@vmtest(guests=1, rigs=("verbs",), timeout=3600, soak=True)
def rdma_cores_tests_give_in_a_guest_what_they_give_natively(rig):
    native = {test: result.outcome for test, result in run_tests(rig.native, rig, "native").items()}
    check(run_tests(rig.guests[0], rig, rig.name), native, report.read_expected(), rig.like or rig.name)
