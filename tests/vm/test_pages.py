# SPDX-License-Identifier: GPL-2.0-or-later
"""What depends on the size of the guest's pages."""

import re

from harness import vmtest
from programs import command

DOORBELL_BAR = 2
DOORBELL_BAR_SIZE = 128 << 10


@vmtest
def guest_has_the_processor_and_the_pages_of_its_rig(rig):
    guest = rig.guests[0]
    code = "import os; print(os.uname().machine, os.sysconf('SC_PAGESIZE'))"
    assert guest.check(["python3", "-c", code]).split() == [guest.system.architecture, str(guest.system.page_size)]


@vmtest
def a_process_maps_doorbells_and_context_page_and_nothing_beside_them(rig):
    guest = rig.guests[0]
    application = guest.spawn(command(guest, "lifecycle", "--qps 1"))
    application.expect("ready", timeout=120)
    maps = guest.check("cat /proc/$(pgrep -f '[p]vhca-test-lifecycle')/maps")
    sizes = [int(end, 16) - int(start, 16) for start, end in re.findall(r"^(\w+)-(\w+) .*/uverbs\d+$", maps, re.MULTILINE)]
    assert sizes == [guest.system.page_size] * 2, maps
    bars = guest.check(f"cat /sys/class/infiniband/{guest.ibdev}/device/resource").splitlines()
    start, end = (int(word, 16) for word in bars[DOORBELL_BAR].split()[:2])
    # So the page begins where the window does, and the BAR's rest is the device's, too.
    assert end - start + 1 == DOORBELL_BAR_SIZE and start % DOORBELL_BAR_SIZE == 0, bars
    application.kill()
    assert application.wait().rc == 0, application.result()
