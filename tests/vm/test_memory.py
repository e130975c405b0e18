# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of all kinds can be registered and is then what RDMA reaches (tests/verbs/memory.c)."""

import re

from harness import vmtest
from programs import check_nothing_left, command, host_side, totals

MIB = 1 << 20
HUGE_SIZES = "/sys/kernel/mm/hugepages"


def run(guest, options="", timeout=300):
    return guest.check(command(guest, "memory", options), timeout=timeout)


def set_huge_pages(guest, sizes, number):
    """How many there are of each size, in KiB."""
    guest.check("; ".join(f"echo {number} >{HUGE_SIZES}/hugepages-{size}kB/nr_hugepages" for size in sizes))


def used_host_side(rig):
    """What the host holds for a guest that has used the device: its first queue pair brings what then stays."""
    run(rig.guests[0], "region_of_4_kib_is_reached")
    return host_side(rig)


@vmtest(memory="3G", timeout=500)
def memory_of_all_kinds_and_sizes_is_registered_and_reached(rig):
    guest = rig.guests[0]
    # Two of each size there is, but what a guest has no room for: x86 has 2 MiB, arm64 64 KiB to 32 MiB.
    sizes = [int(size) for size in re.findall(r"hugepages-(\d+)kB", guest.check(f"ls {HUGE_SIZES}"))]
    sizes = [size for size in sizes if size * 1024 < 256 * MIB]
    set_huge_pages(guest, sizes, 2)
    before = used_host_side(rig)
    out = run(guest, timeout=400)
    assert out.count(" ok") >= 18, out
    skipped = [line for line in out.splitlines() if " skipped " in line and "quota" not in line]
    assert not skipped, skipped
    reached = re.search(r"^huge_pages_are_reached ok (.*)$", out, re.MULTILINE)[1]
    assert sorted(reached.split(", ")) == sorted(f"{size} kB" for size in sizes), (reached, sizes)
    set_huge_pages(guest, sizes, 0)
    check_nothing_left(rig, before)


@vmtest(memory="1G", daemon_config="[quota]\npinned-bytes=48M\n", soak=("verbs",))
def registering_over_the_quota_fails_cleanly(rig):
    guest = rig.guests[0]
    before = used_host_side(rig)
    assert "ok ENOMEM after" in run(guest, f"--quota {48 * MIB} memory_over_quota_is_refused")
    check_nothing_left(rig, before)
    run(guest, f"--max {32 * MIB}")


# A quota is pvhcad's, whatever the fabric; the one above is tried on both by scripts/soak.
@vmtest(memory="1G", daemon_config="[quota]\nmrs=20\n", rigs=("loopback",))
def more_regions_than_the_quota_fail_cleanly(rig):
    guest = rig.guests[0]
    before = used_host_side(rig)
    result = guest.run(command(guest, "memory", "thousand_regions_are_told_apart"), timeout=60)
    assert result.rc == 1 and "Cannot allocate memory" in result.err, result
    check_nothing_left(rig, before)
    run(guest, "region_of_1_mib_is_reached")


@vmtest(memory="1G", rigs=("verbs",))
def region_of_more_pieces_than_the_host_can_map_is_refused_and_later_taken(rig):
    guest, native = rig.guests[0], rig.native
    limit = native.get("/proc/sys/vm/max_map_count").decode().strip()
    # What an earlier test had mapped in as many pieces may be mapped still: begin with a pvhcad that has nothing.
    rig.daemon.stop()
    guest.wait_device_gone()
    rig.daemon.start()
    guest.wait_device()
    before = used_host_side(rig)
    try:
        native.check(f"echo {rig.daemon.mappings() + 500} >/proc/sys/vm/max_map_count")
        result = guest.run(command(guest, "memory", "region_of_scattered_pages_is_reached"), timeout=100)
        assert result.rc == 1 and "scattered pages: Cannot allocate memory" in result.err, result
        # What fits is not affected.
        run(guest, "region_of_4_kib_is_reached")
    finally:
        native.check(f"echo {limit} >/proc/sys/vm/max_map_count")
    run(guest, "region_of_scattered_pages_is_reached")
    check_nothing_left(rig, before)


@vmtest(memory="1G", rigs=("verbs",))
def memory_that_is_registered_again_is_mapped_still(rig):
    guest = rig.guests[0]
    before = used_host_side(rig)
    reused = totals(rig)["mappings_reused"]
    run(guest, "scattered_pages_are_reached_when_registered_again")
    now = totals(rig)
    assert now["mappings_reused"] >= reused + 3, now
    assert now["mappings_kept"] > 0 and now["mappings"] == 0, now
    check_nothing_left(rig, before)


@vmtest(memory="1G", rigs=("verbs",), daemon_args=("--keep-mapped", "0"))
def nothing_stays_mapped_where_that_is_not_wanted(rig):
    guest = rig.guests[0]
    before = used_host_side(rig)
    run(guest, "scattered_pages_are_reached_when_registered_again")
    now = totals(rig)
    assert now["mappings_reused"] == 0 and now["mappings_kept"] == 0, now
    check_nothing_left(rig, before)


@vmtest(memory="1G")
def registering_and_deregistering_leaves_nothing_on_the_host(rig):
    guest = rig.guests[0]
    run(guest, "registering_again_and_again_works")
    before = used_host_side(rig)
    for _ in range(3):
        run(guest, "registering_again_and_again_works")
    check_nothing_left(rig, before)
