# SPDX-License-Identifier: GPL-2.0-or-later
"""How a test file says what it tests and on what."""

import dataclasses

RIGS = ("loopback", "verbs", "stock")


@dataclasses.dataclass(frozen=True)
class Setup:
    """What has to be booted. Tests of a file that ask for the same share it, in the order of the file."""

    guests: int = 1
    device: bool = True             # with pvhcad, and in each guest the device with its driver, address and GID
    memory: str = "1G"
    cpus: int = 0                   # of each guest; 0: 2 for a single guest, else 1
    daemon_config: str | None = None
    daemon_args: tuple = ()
    device_options: str = ""        # appended to QEMU's -device pvhca,...
    qemu_args: tuple = ()
    append: str = ""                # to the guests' kernel command line
    vhost: bool = False             # verbs rig: vhost-net for the plain network
    bring_up: bool = True           # False: the test loads the driver itself


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    function: object
    setup: Setup
    rigs: tuple
    timeout: float
    reboot_after: bool


def vmtest(function=None, *, rigs=RIGS, timeout=180, reboot_after=False, **setup):
    """Mark a function as a test: it is called with a rig (see rigs.py), set up as the other arguments say (see Setup).

    reboot_after: what the test leaves behind is unfit for others, so they get newly booted guests.
    """
    def mark(marked):
        marked.vmtest = Case(marked.__name__, marked, Setup(**setup), tuple(rigs), timeout, reboot_after)
        return marked

    return mark(function) if function else mark


def cases(module):
    """The tests of a loaded test file, in its order."""
    return [value.vmtest for value in vars(module).values() if isinstance(getattr(value, "vmtest", None), Case)]
