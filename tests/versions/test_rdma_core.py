# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests whose libibverbs is not this machine's, but built with the provider in the tree of another rdma-core: that of Debian
13 as tests/unit/provider/in-tree has built it, the newest as test_builds.py has, with the series for upstream. The other guest has
this machine's libibverbs and the provider built by itself."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "packages")]

from debian_root import BUILD  # noqa: E402
from halves import give  # noqa: E402
from harness import check_pair, skip, vmtest  # noqa: E402

PINGPONGS = ("ibv_rc_pingpong", "ibv_ud_pingpong", "ibv_srq_pingpong")
TREES = {"34": BUILD / "tests/unit/provider/in-tree/build",     # rdma-core 56.1, private ABI 34 as that of 44
         "65": BUILD / "tests/series/rdma-core/tree/build"}
WRAPPERS = "/root/other"


def talks(rig, private_abi):
    """Each program as client and as server with the libibverbs of that tree."""
    build = TREES[private_abi]
    if not (build / "bin/ibv_rc_pingpong").exists():
        skip(f"{build} is not built")
    here, other = rig.guests
    for guest in rig.guests:
        give(guest)
    # Not the provider of the system, whatever finds it.
    other.check("rm /etc/libibverbs.d/pvhca.driver")
    environment = f"LD_LIBRARY_PATH={build}/lib RDMAV_DRIVERS={build}/lib/libpvhca"
    other.check(f"mkdir -p {WRAPPERS}")
    for program in PINGPONGS:
        other.put(f"{WRAPPERS}/{program}", f'#!/bin/sh\nexec env {environment} {build}/bin/{program} "$@"\n', 0o755)
    used = other.check(f"LD_DEBUG=files {WRAPPERS}/ibv_rc_pingpong -d none 2>&1 || true")
    assert f"{build}/lib/libibverbs.so" in used and f"{build}/lib/libpvhca-rdmav{private_abi}.so" in used, used
    for program in PINGPONGS:
        check_pair(here, other, f"{program} -n 100", client_command=f"{WRAPPERS}/{program} -n 100")
        check_pair(other, here, f"{WRAPPERS}/{program} -n 100", client_command=f"{program} -n 100")


@vmtest(guests=2, rigs=("loopback",), timeout=300)
def libibverbs_56_1_has_the_provider_in_its_tree(rig):
    talks(rig, "34")


@vmtest(guests=2, rigs=("loopback",), timeout=300)
def newest_libibverbs_has_the_provider_in_its_tree(rig):
    talks(rig, "65")
