# SPDX-License-Identifier: GPL-2.0-or-later
"""How a test file says what it tests and on what."""

import dataclasses

RIGS = ("loopback", "verbs", "stock", "stock-verbs", "arm64", "arm64-16k", "arm64-mixed")


@dataclasses.dataclass(frozen=True)
class Setup:
    """What has to be booted. Tests of a file that ask for the same share it, in the order of the file."""

    guests: int = 1
    device: bool = True             # with pvhcad, and in each guest the device with its driver, address and GID
    memory: str = "1G"
    cpus: int = 0                   # of each guest; 0: 2 for a single guest, else 1
    daemon_config: str | None = None
    daemon_args: tuple = ()
    second_daemon_config: str | None = None     # verbs rig: another pvhcad, as of another host, has every second guest
    device_options: str = ""        # appended to QEMU's -device pvhca,...
    paired: bool = False            # the device belongs to the plain network's interface, and has its address
    qemu_args: tuple = ()
    append: str = ""                # to the guests' kernel command line
    vhost: bool = False             # verbs rig: vhost-net for the plain network
    roots: tuple = ()               # of each guest: a folder with a Debian of its own (system.Installed); None: this machine
    bring_up: bool = True           # False: the test loads the driver itself

    def same_machines(self, other):
        """Whether the two differ in pvhcad's settings at most."""
        return dataclasses.replace(other, daemon_config=self.daemon_config, daemon_args=self.daemon_args) == self

    def enlarged(self, guests, memory):
        """As this, with at least so many guests of at least so much memory."""
        return dataclasses.replace(self, guests=max(self.guests, guests), memory=max(self.memory, memory, key=mebibytes))


def mebibytes(size):
    """Of a size as QEMU's -m takes it."""
    return int(size[:-1]) * {"M": 1, "G": 1024}[size[-1]]


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    function: object
    setup: Setup
    rigs: tuple
    timeout: float
    reboot_after: bool
    soak: tuple     # rigs on which only scripts/soak runs it


def vmtest(function=None, *, rigs=RIGS, timeout=180, reboot_after=False, soak=(), **setup):
    """Mark a function as a test: it is called with a rig (see rigs.py), set up as the other arguments say (see Setup).

    reboot_after: what the test leaves behind is unfit for others, so they get newly booted guests.
    soak: True, or some rigs: there the test is one of the long ones, which scripts/soak runs and ctest does not.
    """
    def mark(marked):
        marked.vmtest = Case(marked.__name__, marked, Setup(**setup), tuple(rigs), timeout, reboot_after,
                             tuple(rigs) if soak is True else tuple(soak))
        return marked

    return mark(function) if function else mark


def cases(module):
    """The tests of a loaded test file, in its order."""
    return [value.vmtest for value in vars(module).values() if isinstance(getattr(value, "vmtest", None), Case)]
