# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that have pvhca by README's "Install", followed to the letter: in a fresh root of each release of Debian the packages
are built and the host's part is installed, where systemd runs, and in another one the guest's."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "packages"))

import debian_root  # noqa: E402
from debian_root import BUILD, SOURCE, Root  # noqa: E402

SUITES = ("bookworm", "trixie")
# Of a guest: the release, and what it has before pvhca: a kernel with its headers' place, an init, programs to try RDMA with.
GUESTS = {
    "bookworm": ("bookworm", "linux-image-amd64"),
    "trixie": ("trixie", "linux-image-amd64"),
    # A machine of Debian 13 has initramfs-tools; where there is none, this kernel's package brings dracut.
    "trixie-backports": ("trixie", "initramfs-tools", "linux-image-amd64/trixie-backports", "linux-headers-amd64/trixie-backports"),
}
MACHINE = ("systemd-sysv", "udev", "dbus", "iproute2", "kmod", "perftest", "rdmacm-utils")
FOLDER = BUILD / "tests/installed"
LIMIT_SECONDS = 1200
UNIT = """[Unit]
After=network.target dbus.service
[Service]
Type=oneshot
WorkingDirectory=/checkout/pvhca
ExecStart=/bin/sh -exc '{commands}'
ExecStopPost=/bin/sh -c 'echo "$SERVICE_RESULT" >/var/log/result; systemctl --no-block poweroff'
StandardOutput=file:/var/log/host
StandardError=inherit
Environment=DEBIAN_FRONTEND=noninteractive
[Install]
WantedBy=multi-user.target
"""


def of_readme():
    """The commands of the section "Install": to build, of a host, of a guest."""
    section = re.search(r"^## Install\n(.*?)^## ", (SOURCE / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]
    blocks = [block.split("\n") for block in re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)]
    build, host, guest = [[line.strip() for line in block if line] for block in blocks]
    return {"build": build, "host": host, "guest": guest}


def root(name):
    """Where the root of a guest is."""
    return BUILD / "tests/roots" / f"guest-{name}"


def _fresh(suite, name, *packages):
    """A root whose apt asks nothing. Downloads are kept for the next one."""
    made = Root(suite, name)
    (made.path / "etc/apt/apt.conf.d/90yes").write_text('APT::Get::Assume-Yes "true";\nAPT::Keep-Downloaded-Packages "true";\n')
    made.add(*packages)
    return made


def _binds(suite):
    return [(FOLDER / suite, "/checkout"), (debian_root.downloads(suite, f"installed-{suite}"), "/var/cache/apt/archives")]


def build(suite):
    """README's packages, in FOLDER/suite, unless they are there already from the same tree."""
    folder, stamp = FOLDER / suite, FOLDER / suite / "stamp"
    digest = debian_root.tree_digest(folder / "new")
    if stamp.exists() and stamp.read_text() == digest:
        return
    shutil.rmtree(folder, ignore_errors=True)
    debian_root.copy_tree(folder / "pvhca")
    made = _fresh(suite, f"readme-{suite}")
    made.run("cd /checkout/pvhca && apt-get update && " + " && ".join(of_readme()["build"]), binds=_binds(suite))
    stamp.write_text(digest)


def host(suite):
    """README's commands of a host, as a unit of a root that systemd runs. Returns what they printed."""
    made = _fresh(suite, f"host-{suite}", "systemd-sysv", "dbus")
    (made.path / "usr/sbin/policy-rc.d").unlink()
    (made.path / "etc/systemd/system/readme.service").write_text(UNIT.format(commands="; ".join(of_readme()["host"])))
    made.run("systemctl enable readme.service")
    binds = [f"--bind={here}:{there}" for here, there in _binds(suite)]
    console = subprocess.run(["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--directory", made.path, "--boot", *binds],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace", timeout=LIMIT_SECONDS).stdout
    result, output = made.path / "var/log/result", made.path / "var/log/host"
    if not result.exists() or result.read_text().strip() != "success":
        raise AssertionError(f"{suite}: {output.read_text() if output.exists() else console}")
    printed = output.read_text()
    made.remove()
    return printed


def guest(name):
    """The root of a guest with all that README has installed there. What needs the kernel is left to the guest."""
    suite, *packages = GUESTS[name]
    made = _fresh(suite, f"guest-{name}", *packages, *MACHINE)
    made.run("cd /checkout/pvhca && " + of_readme()["guest"][0], binds=_binds(suite))
    (made.path / "usr/sbin/policy-rc.d").unlink()


def make_all():
    for suite in SUITES:
        build(suite)
        print(f"# README's packages are built on {suite}", flush=True)
        listed = host(suite)
        print(f"# and installed on a host; its last words: {listed.splitlines()[-1]}", flush=True)
    for name in GUESTS:
        guest(name)
        print(f"# a guest of {name} has them", flush=True)
