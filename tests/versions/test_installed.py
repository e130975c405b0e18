# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests of Debian 12 and 13, each in a root of its own in which only the package manager has put something: the kernel, and
pvhca's packages by the commands of README's "Install". systemd starts them. "installed" here makes the roots."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import installed  # noqa: E402
from harness import check_pair, vmtest  # noqa: E402

DRIVER_CAME_FROM = "/updates/dkms/pvhca.ko"
PROGRAMS = ("ibv_rc_pingpong -n 200", "ibv_ud_pingpong -n 200", "ib_write_bw -s 65536 -n 200", "ib_read_lat -n 100",
            "ib_send_bw -s 4096 -n 200")


def guests(of):
    """Of Debian 12, and of 13 with one of its kernels."""
    return vmtest(guests=2, rigs=("loopback",), timeout=600, roots=tuple(str(installed.root(name)) for name in ("bookworm", of)))


def is_as_installed(guest, release):
    assert guest.check("cat /etc/debian_version").startswith(release)
    kernel = guest.check("uname -r").strip()
    assert DRIVER_CAME_FROM in guest.check("/sbin/modinfo -n pvhca"), kernel
    # Its device had it loaded, and it the others.
    loaded = guest.check("cat /proc/modules")
    for module in ("pvhca", "ib_uverbs", "rdma_ucm"):
        assert f"\n{module} " in f"\n{loaded}", module
    for command in installed.of_readme()["guest"][1:]:
        output = guest.check(command)
    assert guest.ibdev in output, output
    assert guest.check("systemctl --failed --no-legend --plain").split() == []


def talk(rig):
    here, there = rig.guests
    is_as_installed(here, "12")
    is_as_installed(there, "13")
    for command in PROGRAMS:
        check_pair(here, there, command)
        check_pair(there, here, command)
    for server, client in ((here, there), (there, here)):
        rping(server, client)


def rping(server, client):
    listening = server.spawn(f"rping -s -a {server.rdma_ip} -C 20 -v")
    done = client.run(f"for i in 1 2 3 4 5; do rping -c -a {server.rdma_ip} -C 20 -v && exit 0; sleep 1; done; exit 1")
    assert done.rc == 0 and done.out.count("ping data: ") == 20, done
    assert listening.wait(60).rc == 0


@guests("trixie")
def debian_13_and_debian_12_talk(rig):
    talk(rig)


@guests("trixie-backports")
def debian_13_with_the_newest_kernel_and_debian_12_talk(rig):
    talk(rig)
