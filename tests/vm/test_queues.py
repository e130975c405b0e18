# SPDX-License-Identifier: GPL-2.0-or-later
"""Queues under threads, resets, events and forks (tests/verbs/queues.c)."""

from harness import vmtest
from programs import command


@vmtest(guests=1, timeout=400)
def queues_survive_what_applications_do_to_them(rig):
    guest = rig.guests[0]
    out = guest.check(command(guest, "queues", "-o"), timeout=300)
    if rig.name == "loopback":  # rxe raises no event, so that nothing waits for one
        assert "raises no event" not in out, out


@vmtest(guests=1, rigs=("verbs",), timeout=400, soak=True)
def queues_of_the_native_engine_survive_it_too(rig):
    rig.native.check(command(rig.native, "queues"), timeout=300)
