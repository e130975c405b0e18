# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests with the programs of tests/verbs have in common, and the host's side of a rig, counted."""

import re
import time

from harness import TimedOut, check_pair, limits, test_program

PORT = 18600
OBJECTS = ("contexts", "pds", "mrs", "mws", "ahs", "srqs", "cqs", "qps", "connections", "pinned_bytes",
           "mappings")


def command(host, name, options=""):
    """The command line of pvhca-test-NAME on a guest or the native host."""
    # exec: a signal is for the program, not for a shell around it.
    return f"exec {test_program(f'pvhca-test-{name}')} -d {host.ibdev} -g {host.gid_index} {options}"


def check_programs(server, client, name, options="", server_options=None, timeout=180):
    """Run one as server and as client; both must exit with 0. Returns both results, the server's first."""
    server_options = options if server_options is None else server_options
    return check_pair(server, client, f"{command(server, name, server_options)} -p {PORT}", timeout=timeout,
                      client_command=f"{command(client, name, options)} -p {PORT}")


def perftest_rows(out):
    """perftest's table: message size to the other columns."""
    found = {}
    for line in out.splitlines():
        words = line.split()
        if len(words) >= 5 and all(re.fullmatch(r"\d+(\.\d+)?", word) for word in words):
            found[int(words[0])] = [float(word) for word in words[1:]]
    return found


def wait_until(condition, what, timeout=60, slowness=None):
    """Until the condition holds; its last value is returned. Only a hang is caught by time.

    slowness: of the host where it happens, if that is a guest.
    """
    slowness = slowness or limits.scale()
    deadline = time.monotonic() + timeout * slowness
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimedOut(f"not within {timeout * slowness:g} s: {what() if callable(what) else what}")
        time.sleep(0.1)
    return value


def totals(rig):
    return rig.daemon.stats()["totals"]


def host_side(rig):
    """Everything that pvhcad and the host's engine hold for guests."""
    counts = {name: totals(rig)[name] for name in OBJECTS}
    counts["open files"] = rig.daemon.open_files()
    # What is kept for regions registered again is not left behind.
    counts["memory maps"] = rig.daemon.file_mappings() - totals(rig)["mappings_kept"]
    counts["threads"] = rig.daemon.threads()
    if rig.native:
        words = rig.native.check("rdma resource show").split()
        counts |= {f"engine's {kind}": int(words[words.index(kind) + 1]) for kind in ("pd", "cq", "qp", "mr", "ctx")}
    return counts


def check_nothing_left(rig, before, timeout=30):
    """Nothing is more than it was. It may take a moment: pvhcad cleans up behind the guest's back.

    Less it may be: what pvhcad makes for a VM when it is first needed goes when the VM starts anew.
    """
    def difference():
        now = host_side(rig)
        return {key: (before[key], now[key]) for key in before if now[key] > before[key]}

    wait_until(lambda: not difference(), lambda: f"left behind (before, now): {difference()}", timeout,
               rig.guests[0].slowness)
