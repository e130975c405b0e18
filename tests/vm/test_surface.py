# SPDX-License-Identifier: GPL-2.0-or-later
"""The rest of the verbs in use: perftest beyond plain RC, and what windows, atomics, shared receive
queues and datagrams do when used rightly and wrongly (tests/verbs/*_cases.c)."""

from harness import vmtest
from programs import check_nothing_left, check_programs, command, host_side
from test_perftest import run

# perftest's message sizes: what a datagram can carry, and what is usual for the rest.
UD_SIZE = 1024
NEW, OLD, EVENTS = "", "--use_old_post_send", "-e"


def size_of(program, kind):
    if "atomic" in program:
        return 8
    return UD_SIZE if kind == "UD" else 65536 if program.endswith("_bw") else 2


def perftest(name, kind, programs, ways, soak=()):
    """A test that runs the programs over one kind of QP, in each of the ways."""
    def test(rig):
        for program in programs:
            for way in ways:
                # perftest has no -e for writes.
                if way == EVENTS and "write" in program:
                    continue
                size = size_of(program, kind)
                run(*rig.guests, program, f"-c {kind} {way} {'' if 'atomic' in program else f'-s {size}'}",
                    sizes=(size,), iterations=20)

    test.__name__ = name
    globals()[name] = vmtest(guests=2, timeout=600, soak=soak)(test)


ATOMIC, UC, UD = ("ib_atomic_bw", "ib_atomic_lat"), ("ib_send_bw", "ib_send_lat", "ib_write_bw", "ib_write_lat"), \
    ("ib_send_bw", "ib_send_lat")

perftest("atomics_run_between_guests", "RC", ATOMIC, (NEW, EVENTS))
perftest("uc_runs_between_guests", "UC", UC, (NEW, EVENTS))
perftest("ud_runs_between_guests", "UD", UD, (NEW, EVENTS))
# The old posting call ends in the same provider on both rigs.
perftest("atomics_run_by_the_old_posting_call", "RC", ATOMIC, (OLD,), soak=("verbs",))
perftest("rc_latency_runs_by_the_old_posting_call", "RC", ("ib_send_lat", "ib_write_lat", "ib_read_lat"), (OLD,),
         soak=("verbs",))
perftest("uc_runs_by_the_old_posting_call", "UC", UC, (OLD,), soak=("verbs",))
perftest("ud_runs_by_the_old_posting_call", "UD", UD, (OLD,), soak=("verbs",))


@vmtest(guests=2, timeout=400)
def every_byte_of_unreliable_messages_arrives(rig):
    for kind in ("ud", "uc"):
        check_programs(*rig.guests, "messages", f"--type {kind}")


def known(rig):
    return "" if rig.name == "loopback" else "--known rxe"


@vmtest(guests=2, timeout=400)
def windows_and_atomics_between_guests_are_as_specified(rig):
    check_programs(*rig.guests, "windows", f"{known(rig)} --patience 5", timeout=300)


def within_a_guest(rig, name):
    guest = rig.guests[0]
    # What pvhcad makes for a VM's first queue pair stays.
    guest.check(command(guest, "integrity", "--self --rounds 1 --size 20000"), timeout=120)
    before = host_side(rig)
    guest.check(command(guest, name, f"--self {known(rig)} --patience 5"), timeout=300)
    check_nothing_left(rig, before)


@vmtest(guests=2, timeout=400)
def windows_and_atomics_within_a_guest_are_as_specified(rig):
    within_a_guest(rig, "windows")


@vmtest(guests=2, timeout=400)
def shared_receive_queues_are_as_specified(rig):
    within_a_guest(rig, "srq")


@vmtest(guests=2, timeout=400)
def datagrams_are_as_specified(rig):
    within_a_guest(rig, "datagrams")


@vmtest(guests=2, rigs=("verbs",), timeout=400, soak=True)
def the_native_engine_is_known_by_its_departures(rig):
    for name in ("windows", "srq", "datagrams"):
        rig.native.check(command(rig.native, name, "--self --known rxe --patience 5"), timeout=200)
    for kind in ("ud", "uc"):
        rig.native.check(command(rig.native, "messages", f"--self --type {kind}"))
