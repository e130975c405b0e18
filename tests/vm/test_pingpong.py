# SPDX-License-Identifier: GPL-2.0-or-later
"""The other pingpongs of libibverbs: connected without acknowledgement, datagrams, shared receive queues."""

from harness import check_pair, vmtest


@vmtest(guests=2)
def uc_pingpong_runs_between_guests(rig):
    check_pair(*rig.guests, "ibv_uc_pingpong -n 200")


@vmtest(guests=2)
def ud_pingpong_runs_between_guests(rig):
    check_pair(*rig.guests, "ibv_ud_pingpong -n 200")


@vmtest(guests=2)
def ud_pingpong_runs_on_completion_events(rig):
    check_pair(*rig.guests, "ibv_ud_pingpong -e -n 200")


@vmtest(guests=2)
def srq_pingpong_runs_between_guests(rig):
    check_pair(*rig.guests, "ibv_srq_pingpong -n 200")


@vmtest(guests=2)
def srq_pingpong_runs_on_completion_events(rig):
    check_pair(*rig.guests, "ibv_srq_pingpong -e -n 200")


@vmtest(guests=1, rigs=("verbs",))
def pingpongs_run_with_a_native_peer(rig):
    for command in ("ibv_uc_pingpong", "ibv_ud_pingpong", "ibv_srq_pingpong"):
        check_pair(rig.guests[0], rig.native, command + " -n 200")
        check_pair(rig.native, rig.guests[0], command + " -n 200")
