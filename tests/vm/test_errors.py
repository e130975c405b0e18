# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors are what the man pages and the specification say (tests/verbs/errors.c), or what the host's engine gives."""

from harness import vmtest
from programs import check_programs, command, totals

# rxe looks at the receive queue of a QP in error only if its task runs just then, so a receive is flushed, as it must
# be, or not, natively and in guests. The program itself holds the result to one of the two.
RACES = {"receive_posted_to_qp_in_error_is_flushed"}


def cases(out):
    """The lines of cases: name, statuses and events of both sides."""
    return {words[0]: words[1:5] for words in map(str.split, out.splitlines()) if len(words) == 6}


def differences(one, other):
    return [f"{name}: {one.get(name)} and {other.get(name)}" for name in {**one, **other}
            if one.get(name) != other.get(name) and not {name} & RACES]


@vmtest(guests=2, rigs=("loopback",), timeout=400)
def errors_between_guests_are_those_of_the_specification(rig):
    check_programs(*rig.guests, "errors", timeout=350)


@vmtest(guests=1, rigs=("loopback",), timeout=400)
def errors_within_a_guest_are_those_of_the_specification(rig):
    guest = rig.guests[0]
    guest.check(command(guest, "errors", "--self"), timeout=350)


@vmtest(guests=2, rigs=("verbs",), timeout=900)
def errors_between_guests_are_those_of_the_native_engine(rig):
    native = cases(rig.native.check(command(rig.native, "errors", "--self --known rxe"), timeout=200))
    _, client = check_programs(*rig.guests, "errors", "--known rxe", timeout=350)
    assert native and not differences(native, cases(client.out)), differences(native, cases(client.out))


@vmtest(guests=1, rigs=("verbs",), timeout=900)
def errors_between_guest_and_native_peer_are_those_of_the_native_engine(rig):
    guest, native = rig.guests[0], rig.native
    expected = cases(native.check(command(native, "errors", "--self --known rxe"), timeout=200))
    for server, client in ((native, guest), (guest, native)):
        _, result = check_programs(server, client, "errors", "--known rxe", timeout=350)
        assert not differences(expected, cases(result.out)), differences(expected, cases(result.out))


@vmtest(guests=1, timeout=400)
def failed_operations_leave_nothing_behind(rig):
    guest = rig.guests[0]
    known = "" if rig.name == "loopback" else "--known rxe"
    before = totals(rig)
    guest.run(command(guest, "errors", f"--self {known}"), timeout=350)
    after = totals(rig)
    for kind in ("contexts", "pds", "mrs", "cqs", "qps", "pinned_bytes", "mappings"):
        assert after[kind] == before[kind], (kind, before, after)
