# SPDX-License-Identifier: GPL-2.0-or-later
"""ibv_rc_pingpong and perftest, unmodified: every operation, size and option runs to its end. No speed is judged.

What an option changes is the guest's provider, which is the same on both rigs: the loopback rig shows it.
"""

import re

from harness import check_pair, vmtest
from programs import perftest_rows, wait_until

BANDWIDTH = ("ib_send_bw", "ib_write_bw", "ib_read_bw")
LATENCY = ("ib_send_lat", "ib_write_lat", "ib_read_lat")
ALL_SIZES = [2 ** power for power in range(1, 24)]
SOME_SIZES = (1, 4097, 1 << 20)     # short, just over a page, of many packets


def check_table(out, sizes, iterations):
    """Every size with all its iterations, and something other than zero measured: the last column of a bandwidth
    program is messages, of a latency program the slowest percentile."""
    table = perftest_rows(out)
    assert list(table) == sizes, f"sizes {list(table)}, not {sizes}:\n{out}"
    for size, columns in table.items():
        assert columns[0] >= iterations and columns[-1] > 0, f"{size} bytes: {columns}"


def run(server, client, program, options="", sizes=(65536,), iterations=50, timeout=240):
    _, result = check_pair(server, client, f"{program} {options} -n {iterations} -F", timeout=timeout)
    check_table(result.out, list(sizes), iterations)


def sized(program):
    """Default sizes: 65536 for bandwidth, 2 for latency."""
    return (65536,) if program in BANDWIDTH else (2,)


def between_guests(name, programs, options="", soak=(), **kwargs):
    """A test for each of the programs; on the rigs that soak names one for scripts/soak."""
    for program in programs:
        def test(rig, program=program):
            run(*rig.guests, program, options, **{"sizes": sized(program), **kwargs})

        test.__name__ = f"{program}_{name}"
        globals()[test.__name__] = vmtest(guests=2, timeout=300, soak=soak)(test)


def some_sizes_between_guests(programs):
    for program in programs:
        def test(rig, program=program):
            for size in SOME_SIZES:
                run(*rig.guests, program, f"-s {size}", sizes=(size,), iterations=5)

        test.__name__ = f"{program}_carries_some_sizes"
        globals()[test.__name__] = vmtest(guests=2, timeout=300)(test)


@vmtest(guests=2)
def rc_pingpong_runs_between_guests(rig):
    server, client = check_pair(*rig.guests, "ibv_rc_pingpong -n 200")
    for result in (server, client):
        assert "200 iters in" in result.out, result


@vmtest(guests=2)
def rc_pingpong_runs_on_completion_events(rig):
    server, client = check_pair(*rig.guests, "ibv_rc_pingpong -e -n 200")
    for result in (server, client):
        assert "200 iters in" in result.out, result


@vmtest(guests=2)
def rc_pingpong_finds_its_payload_valid(rig):
    for result in check_pair(*rig.guests, "ibv_rc_pingpong -c -s 10000 -n 100"):
        assert "invalid data" not in result.out + result.err, result


@vmtest(guests=1)
def rc_pingpong_runs_within_a_guest(rig):
    guest = rig.guests[0]
    check_pair(guest, guest, "ibv_rc_pingpong -n 100")


between_guests("runs_between_guests", BANDWIDTH + LATENCY)
some_sizes_between_guests(BANDWIDTH)
between_guests("carries_all_sizes", BANDWIDTH + LATENCY, "-a", soak=True, sizes=ALL_SIZES, iterations=5)
between_guests("runs_both_ways_at_once", BANDWIDTH, "-b", soak=("verbs",))
# perftest has no -e for writes.
between_guests("runs_on_completion_events", ("ib_send_bw", "ib_read_bw", "ib_send_lat", "ib_read_lat"), "-e",
               soak=("verbs",))
between_guests("runs_on_8_queue_pairs", BANDWIDTH, "-q 8", soak=("verbs",))
between_guests("sends_inline", ("ib_send_bw", "ib_write_bw", "ib_send_lat", "ib_write_lat"), "-s 64 -I 64",
               soak=("verbs",), sizes=[64])
between_guests("posts_lists", BANDWIDTH, "-l 8 -t 64", soak=("verbs",), iterations=64)
between_guests("moderates_completions", BANDWIDTH, "-Q 16 -t 64", soak=("verbs",), iterations=64)
between_guests("runs_by_the_old_posting_call", BANDWIDTH, "--use_old_post_send", soak=("verbs",))


@vmtest(guests=1, rigs=("verbs",), timeout=400)
def guest_is_client_of_a_native_server(rig):
    check_pair(rig.native, rig.guests[0], "ibv_rc_pingpong -c -n 100")
    for program in BANDWIDTH + LATENCY:
        run(rig.native, rig.guests[0], program, sizes=sized(program))


@vmtest(guests=1, rigs=("verbs",), timeout=400)
def guest_is_server_of_a_native_client(rig):
    check_pair(rig.guests[0], rig.native, "ibv_rc_pingpong -c -n 100")
    for program in BANDWIDTH + LATENCY:
        run(rig.guests[0], rig.native, program, sizes=sized(program))


@vmtest(guests=1, rigs=("verbs",), timeout=400, soak=True)
def all_sizes_pass_between_guest_and_native_peer(rig):
    for program in BANDWIDTH:
        run(rig.native, rig.guests[0], program, "-a", sizes=ALL_SIZES, iterations=5)
        run(rig.guests[0], rig.native, program, "-a", sizes=ALL_SIZES, iterations=5)


@vmtest(guests=1, rigs=("verbs",))
def queue_pair_numbers_are_those_of_the_hosts_engine(rig):
    guest, native = rig.guests[0], rig.native
    # Its output goes to a pipe and would come at the end only.
    pingpong = f"exec stdbuf -oL ibv_rc_pingpong -d {guest.ibdev} -g {guest.gid_index} -n 100000000"
    server = guest.spawn(pingpong)
    guest.wait_port(18515)
    client = guest.spawn(f"{pingpong} {guest.net_ip}")
    for running in (server, client):
        running.expect("remote address")
    printed = {int(number, 16) for number in re.findall(r"local address:.* QPN 0x([0-9a-f]+)", server.out + client.out)}
    printed |= {int(number, 16) for number in re.findall(r"remote address:.* QPN 0x([0-9a-f]+)", server.out)}

    def at_host():
        shown = native.check(f"rdma resource show qp link {native.ibdev}")
        return {int(number) for number in re.findall(r"lqpn (\d+) rqpn \d+ type RC state RTS", shown)}

    wait_until(lambda: printed and printed <= at_host(), lambda: (printed, at_host()), slowness=native.slowness)
    assert len(printed) == 2
    for running in (server, client):
        running.kill()
        running.wait()


@vmtest(guests=1, rigs=("verbs",))
def memory_keys_are_those_of_the_hosts_engine(rig):
    guest, native = rig.guests[0], rig.native
    code = ("import time\nfrom pyverbs.device import Context\nfrom pyverbs.pd import PD\nfrom pyverbs.mr import MR\n"
            f"m = MR(PD(Context(name='{guest.ibdev}')), 65536, 7)\n"
            "print('keys', m.rkey, m.lkey, flush=True)\ntime.sleep(1000)\n")
    application = guest.spawn(["python3", "-c", code])
    application.expect("keys")
    rkey = int(application.out.split()[1])
    shown = native.check(f"rdma -d resource show mr dev {native.ibdev} || rdma -d resource show mr")
    assert f"rkey {rkey:#x}" in shown, (application.out, shown)
    application.kill()
