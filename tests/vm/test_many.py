# SPDX-License-Identifier: GPL-2.0-or-later
"""Many guests of one pvhcad at a time. tests/link/many.py has many more, without guests."""

import time

from harness import vmtest
from programs import PORT, command, totals

GUESTS = 8


@vmtest(guests=GUESTS, rigs=("loopback",), memory="512M", timeout=3600, soak=True)
def eight_guests_all_talk_at_once(rig):
    """Each with the next one, in a ring: it is server and client at a time."""
    options = "--rounds 4 --qps 8 --ops 200 --size 100000"
    servers = [guest.spawn(f"{command(guest, 'integrity')} -p {PORT}") for guest in rig.guests]
    for guest in rig.guests:
        guest.wait_port(PORT)
    before, begin = totals(rig), time.monotonic()
    clients = [guest.spawn(f"{command(guest, 'integrity', options)} -p {PORT} {rig.guests[(i + 1) % GUESTS].net_ip}")
               for i, guest in enumerate(rig.guests)]
    for running in (*clients, *servers):
        result = running.wait(1200)
        assert result.rc == 0 and "PASS rounds=" in result.out, result
    seconds, after = time.monotonic() - begin, totals(rig)
    moved, messages = (after[name] - before[name] for name in ("payload_bytes_copied", "messages"))
    print(f"# {GUESTS} guests: {messages / seconds:.0f} messages/s, {moved / seconds / 1e6:.1f} MB/s, pvhcad's own memory "
          f"{rig.daemon.rss_anonymous() / 1e6:.1f} MB", flush=True)
