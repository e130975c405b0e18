# SPDX-License-Identifier: GPL-2.0-or-later
"""Driver and provider of the last release beside those of this tree, in guests: what goes together works, and what does
not is refused by a message that names both versions. last_release.py tells where they come from."""

import re
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "packages")]

import last_release  # noqa: E402
from halves import give  # noqa: E402
from harness import check_pair, vmtest  # noqa: E402

neighbourtest = vmtest(guests=2, rigs=("loopback",), timeout=300)
COMMANDS = ("ibv_rc_pingpong -n 200", "ibv_ud_pingpong -n 200", "ibv_srq_pingpong -e -n 200",
            "ib_write_bw -s 65536 -n 100", "ib_atomic_lat -A FETCH_AND_ADD -n 100")


def driver_version(guest):
    return guest.check("cat /sys/module/pvhca/version").strip()


@neighbourtest
def provider_of_the_last_release_goes_with_the_driver(rig):
    for guest in rig.guests:
        give(guest, plugin=last_release.provider())
        assert driver_version(guest) != last_release.VERSION
    for command in COMMANDS:
        check_pair(*rig.guests, command)


@neighbourtest
def driver_of_the_last_release_goes_with_the_provider(rig):
    for guest in rig.guests:
        give(guest, module=last_release.module())
        assert driver_version(guest) == last_release.VERSION
    for command in COMMANDS:
        check_pair(*rig.guests, command)


@neighbourtest
def guest_of_the_last_release_and_a_guest_of_today_talk(rig):
    old, new = rig.guests
    give(old, last_release.module(), last_release.provider())
    give(new)
    for command in COMMANDS:
        check_pair(old, new, command)
    check_pair(new, old, COMMANDS[0])


@neighbourtest
def provider_of_another_ring_abi_is_refused_and_both_versions_named(rig):
    guest = rig.guests[0]
    give(guest, plugin=last_release.provider("other-ring"))
    assert guest.run("ibv_devinfo").rc != 0
    assert re.search(rf"provider speaks ring ABI 7\.\d+, pvhcad {driver_version(guest)} speaks 1\.\d+", guest.dmesg()), \
        guest.dmesg()[-2000:]


@neighbourtest
def provider_of_another_uverbs_abi_is_refused_and_both_versions_named(rig):
    guest = rig.guests[0]
    give(guest, plugin=last_release.provider("other-uverbs"))
    result = guest.run("IBV_SHOW_WARNINGS=1 ibv_devinfo")
    assert result.rc != 0, result
    assert re.search(r"Driver pvhca.* does not support the kernel ABI of 1 \(supports 7 to 7\)", result.err), result
