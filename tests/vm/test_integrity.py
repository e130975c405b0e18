# SPDX-License-Identifier: GPL-2.0-or-later
"""Every byte of random traffic arrives where it should and none elsewhere (tests/verbs/integrity.c)."""

from harness import vmtest
from programs import check_programs, command, totals


def transfer(server, client, options, timeout=300):
    results = check_programs(server, client, "integrity", options, server_options="", timeout=timeout)
    for result in results:
        assert "PASS rounds=" in result.out, result


@vmtest(guests=2, timeout=400)
def random_operations_between_guests_leave_exactly_their_bytes(rig):
    transfer(*rig.guests, "--rounds 10")


@vmtest(guests=2, timeout=400)
def many_queue_pairs_on_many_completion_queues_stay_apart(rig):
    transfer(*rig.guests, "--rounds 4 --qps 64 --cqs 7 --ops 400 --size 30000")


@vmtest(guests=2, timeout=400, soak=("verbs",))
def messages_of_several_mib_arrive_whole(rig):
    transfer(*rig.guests, "--rounds 3 --qps 2 --ops 24 --size 4194304 --arena 16777216")


@vmtest(guests=2, timeout=400)
def short_send_queues_wrap_again_and_again(rig):
    transfer(*rig.guests, "--rounds 6 --qps 3 --ops 500 --depth 2 --size 2000")


@vmtest(guests=2, timeout=400, soak=("verbs",))
def each_operation_alone_works(rig):
    for operation in ("send", "send_imm", "write", "write_imm", "read"):
        transfer(*rig.guests, f"--rounds 2 --op {operation} --size 200000")


# Not on rxe of Linux 6.1, which natively, too, may never go on after "receiver not ready".
@vmtest(guests=2, rigs=("loopback",), timeout=400)
def sends_wait_for_receives_that_are_posted_late(rig):
    transfer(*rig.guests, "--rounds 6 --late --wait poll")
    transfer(*rig.guests, "--rounds 6 --late --wait events")


@vmtest(guests=2, timeout=400)
def completion_events_alone_carry_a_transfer(rig):
    transfer(*rig.guests, "--rounds 4 --wait events --ops 100 --size 50000")


@vmtest(guests=2, timeout=400)
def fenced_work_sees_what_was_read_before_it(rig):
    transfer(*rig.guests, "--rounds 10 --op read,write,send,fence,unsignaled --ops 100 --size 50000")


@vmtest(guests=1, timeout=400)
def two_processes_of_one_guest_reach_each_other(rig):
    guest = rig.guests[0]
    out = guest.check(command(guest, "integrity", "--self --rounds 5 --size 200000"), timeout=300)
    assert out.count("PASS") == 2, out


@vmtest(guests=1, rigs=("verbs",), timeout=400)
def random_operations_between_guest_and_native_peer_leave_exactly_their_bytes(rig):
    guest = rig.guests[0]
    transfer(rig.native, guest, "--rounds 6 --size 300000")
    transfer(guest, rig.native, "--rounds 6 --size 300000")


@vmtest(guests=2, rigs=("verbs",), timeout=400)
def pvhcad_copies_no_payload_on_a_verbs_engine(rig):
    before = totals(rig)
    transfer(*rig.guests, "--rounds 3 --op send,send_imm,write,write_imm,read,unsignaled")
    after = totals(rig)
    assert after["messages"] > before["messages"]
    assert after["payload_bytes_copied"] == before["payload_bytes_copied"]


@vmtest(guests=2, rigs=("loopback",), timeout=400)
def pvhcad_copies_each_byte_once_on_loopback(rig):
    before = totals(rig)
    _, client = check_programs(*rig.guests, "integrity", "--rounds 3 --op send,send_imm,write,write_imm,read",
                               server_options="", timeout=300)
    # Both ends print the bytes of both directions.
    sent = int(client.out.rpartition("bytes=")[2].split()[0])
    assert totals(rig)["payload_bytes_copied"] - before["payload_bytes_copied"] == sent
