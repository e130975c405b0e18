# SPDX-License-Identifier: GPL-2.0-or-later
"""What test_upgrade.py has done in a root that systemd runs, with packages of the last version in /old and of this in /new.

A client, two false guests as those of tests/link, is connected all the time: it sees the device go and come back.
Writes "ok" for each step, and how it ended, to /var/log/upgrade.
"""

import os
import pwd
import random
import re
import subprocess
import sys
import types

sys.path.insert(0, "/src/tests/link")

from pvhca import *  # noqa: E402,F403

SOCKET = "/run/pvhca/pvhcad.sock"
SIZE, IOVA, WRITE = 1 << 20, 0x10000, 3
log = open("/var/log/upgrade", "w", buffering=1)


def run(*command, **options):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options).stdout


def apt(*command):
    run("apt-get", "-q", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold", *command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def active():
    return subprocess.run(["systemctl", "-q", "is-active", "pvhcad"]).returncode == 0


def version():
    return re.search(r"[0-9.]+", run("/usr/sbin/pvhcad", "--version"))[0]


def served():
    """Whether a client is taken now."""
    try:
        Qemu(types.SimpleNamespace(socket=SOCKET), name=b"look").close()
        return True
    except (OSError, EOFError):
        return False


def pair():
    """Two guests with a connected queue pair each."""
    guests = []
    for number in (1, 2):
        guest = Guest(types.SimpleNamespace(socket=SOCKET), size=SIZE + (8 << 20), name=b"upgrade%d" % number)
        guest.ok(ADD_GID, gid_payload(v4(10, 0, 0, number)))
        queue = guest.rc_qp()
        queue.at = guest.alloc(SIZE)
        reply = guest.ok(REG_MR, mr_payload(queue.pd, [(queue.at, SIZE)], SIZE, 0xF))
        queue.mr, queue.lkey, queue.rkey = struct.unpack_from("<3I", reply)
        guests.append((guest, queue))
    (a, qa), (b, qb) = guests
    a.connect(qa, qb.qpn, v4(10, 0, 0, 2))
    b.connect(qb, qa.qpn, v4(10, 0, 0, 1))
    return guests


def move(guests):
    (a, qa), (b, qb) = guests
    data = random.randbytes(SIZE)
    a.write(qa.at, data)
    a.post_send(qa, sq_wqe(WRITE, [sge(IOVA, SIZE, qa.lkey)], qb.rkey, IOVA))
    assert a.poll_cq(qa)[3] == 0
    assert b.read(qb.at, SIZE) == data


def goes(guests):
    """Both see the end of their connection."""
    for guest, _ in guests:
        assert guest.qemu.is_closed()
        guest.qemu.close()


def main():
    old, new = sys.argv[1:]
    apt("install", f"/old/pvhcad_{old}_amd64.deb")
    wait_for(served, "the old pvhcad")
    assert active() and version() == old
    with open("/etc/pvhca/pvhcad.conf", "a") as settings:
        settings.write("# mine\n")
    clients = pair()
    move(clients)
    print("ok installed", file=log)

    apt("install", f"/new/pvhcad_{new}_amd64.deb")
    goes(clients)
    wait_for(served, "the new pvhcad")
    assert active() and version() == new
    assert "# mine" in open("/etc/pvhca/pvhcad.conf").read()
    clients = pair()
    move(clients)
    print("ok upgraded: the client saw the device go and come back", file=log)

    apt("remove", "pvhcad")
    goes(clients)
    assert not active() and not os.path.exists(SOCKET)
    assert "# mine" in open("/etc/pvhca/pvhcad.conf").read()
    print("ok removed", file=log)

    apt("purge", "pvhcad")
    assert not os.path.exists("/etc/pvhca") and not os.path.exists("/run/pvhca")
    assert "pvhca" not in [user.pw_name for user in pwd.getpwall()]
    print("ok purged", file=log)

    apt("install", f"/new/pvhcad_{new}_amd64.deb")
    wait_for(served, "pvhcad again")
    move(pair())
    print("ok installed again", file=log)


try:
    main()
    print("passed", file=log)
except BaseException as error:
    output = getattr(error, "output", None) or ""
    print(f"failed: {error!r}\n{output}\n{run('journalctl', '-b', '-u', 'pvhcad', '-n', '30')}", file=log)
finally:
    log.close()
    subprocess.run(["systemctl", "--no-block", "poweroff"])
