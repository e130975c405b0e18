# SPDX-License-Identifier: GPL-2.0-or-later
"""How often guest and hypervisor meet. Counted, never timed."""

import re

from harness import vmtest
from programs import check_programs, totals

# As long as pvhcad polls, nobody rings: with this it does so throughout a test.
ALWAYS_POLL = ("--spin-us", "10000000", "--give-way", "false")
MESSAGES = 20000


def stream(rig, server, client, options):
    """The numbers of messages, and of doorbells and admin commands meanwhile, the making of objects included."""
    before = totals(rig)
    _, result = check_programs(server, client, "stream", options, timeout=240)
    after = totals(rig)
    messages = int(re.search(r"messages=(\d+)", result.out)[1])
    return messages, {name: after[name] - before[name] for name in ("doorbells", "admin_commands", "messages")}


@vmtest(guests=2, daemon_args=ALWAYS_POLL, timeout=400)
def polled_stream_between_guests_needs_no_doorbells(rig):
    messages, counted = stream(rig, *rig.guests, f"--size 1024 --count {MESSAGES}")
    assert messages == MESSAGES and counted["messages"] >= MESSAGES
    assert counted["doorbells"] < MESSAGES / 100, counted


@vmtest(guests=2, daemon_args=ALWAYS_POLL, timeout=400)
def data_path_uses_no_admin_command(rig):
    _, few = stream(rig, *rig.guests, "--size 64 --count 10")
    _, many = stream(rig, *rig.guests, "--size 64 --count 5000")
    assert few["admin_commands"] == many["admin_commands"], (few, many)


@vmtest(guests=1, daemon_args=ALWAYS_POLL, rigs=("verbs",), timeout=400)
def polled_stream_to_a_native_peer_leaves_the_guest_by_no_mmio(rig):
    guest, native = rig.guests[0], rig.native

    def mmio_exits():
        return int(native.check(f"cat /sys/kernel/debug/kvm/{guest.pid}-*/mmio_exits"))

    before = mmio_exits()
    messages, counted = stream(rig, native, guest, f"--size 1024 --count {MESSAGES}")
    exits = mmio_exits() - before
    assert counted["doorbells"] < messages / 100, counted
    assert exits < messages / 100, f"{exits} MMIO exits in {messages} messages"


@vmtest(guests=2, daemon_args=("--spin-us", "0"), timeout=400, rigs=("loopback",))
def sleeping_daemon_is_woken_and_loses_nothing(rig):
    messages, counted = stream(rig, *rig.guests, "--size 1024 --count 2000 --window 1")
    assert messages == 2000 and counted["doorbells"] > 0
