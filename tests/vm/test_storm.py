# SPDX-License-Identifier: GPL-2.0-or-later
"""A storm of sudden ends: at random points one of those that talk is killed. Nothing is left of it, the others have their
data, and nobody hangs. tests/link/storm.py has the same without guests, and many more points.

PVHCA_STORM_SEED says which points, the same ones for the same seed, and PVHCA_STORM_POINTS how many."""

import os
import random
import time

from harness import GuestDied, vmtest
from programs import PORT, check_nothing_left, check_programs, command, host_side, totals, wait_until
from test_lifecycle import check_ended_by_fatal, check_works, start_application

SEED = int(os.environ.get("PVHCA_STORM_SEED", "1"))
# Each takes about 15 s on the loopback rig.
POINTS = {"loopback": 60, "stock": 40, "verbs": 20, "stock-verbs": 20}
HANG = 10
STREAM_PORT = PORT + 1


def application(storm):
    """An application of the victim."""
    storm.application.kill(9)
    assert storm.application.wait(HANG).rc == 137


def reset(storm):
    """The victim, by its reset button."""
    storm.victim.reset()


def panic(storm):
    """The victim's kernel."""
    storm.victim.panic()
    storm.victim.bring_up_device()


def qemu(storm):
    """The victim's QEMU."""
    storm.victim.kill()
    storm.begin_again(storm.victim)


def server(storm):
    """The victim's pvhca-vfio-user: a device that QEMU cannot have back, so the VM starts again."""
    storm.rig.kill_server(storm.victim.name)
    try:
        check_ended_by_fatal(storm.application.wait(HANG))
    except GuestDied:
        if not storm.victim.ended_with_server():
            raise
        print("# its QEMU ended itself, as it does now and then when its server dies (docs/vfio-user.md)", flush=True)
    storm.victim.kill()
    storm.begin_again(storm.victim)


def native(storm):
    """A native peer of the victim."""
    storm.native.kill(9)
    storm.native.wait(HANG)


def pvhcad(storm):
    """pvhcad: all applications are told, and all devices come back."""
    storm.rig.daemon.kill()
    check_ended_by_fatal(storm.application.wait(HANG))
    # Of the two one may wait for the other's word, which does not come.
    for running in storm.pair:
        running.kill(9)
        running.wait(HANG)
    storm.rig.daemon.start()
    for guest in storm.rig.guests:
        guest.wait_device()


KINDS = {"loopback": (application, reset, panic, qemu, pvhcad),
         "stock": (application, reset, panic, qemu, server, pvhcad),
         "verbs": (application, reset, panic, qemu, native, pvhcad),
         "stock-verbs": (application, reset, panic, qemu, server, native, pvhcad)}


class Storm:
    def __init__(self, rig):
        self.rig = rig
        *self.others, self.victim = rig.guests
        self.random = random.Random(SEED)
        self.native = None

    @staticmethod
    def begin_again(guest):
        guest.start()
        guest.wait_booted()
        guest.bring_up_device()

    def talk(self):
        """The others with each other, the victim with itself, with one of the others, and with a native peer."""
        server, client = self.others
        options = "--rounds 4 --qps 8 --ops 200 --size 100000"
        first = server.spawn(f"{command(server, 'integrity')} -p {PORT}")
        server.wait_port(PORT)
        self.pair = first, client.spawn(f"{command(client, 'integrity', options)} -p {PORT} {server.net_ip}")
        self.application = start_application(self.victim, "--qps 16")
        self.streams = self.stream(server)
        if self.rig.native:
            self.native = self.stream(self.rig.native)[0]

    def stream(self, host):
        """From the victim to host; both ends."""
        receiver = host.spawn(f"{command(host, 'stream')} -p {STREAM_PORT}")
        host.wait_port(STREAM_PORT)
        sender = self.victim.spawn(
            f"{command(self.victim, 'stream', '--seconds 1000 --timeout 14')} -p {STREAM_PORT} {host.net_ip}")
        sender.expect("ready")
        return receiver, sender

    def point(self, kind):
        self.talk()
        messages = totals(self.rig)["messages"]
        wait_until(lambda: totals(self.rig)["messages"] > messages, "nobody talks", 60, self.victim.slowness)
        time.sleep(self.random.random())
        kind(self)
        if kind is not pvhcad:
            for running in self.pair:
                result = running.wait(300)
                assert result.rc == 0 and "PASS rounds=" in result.out, result
        # A peer's kernel may not tell the stream's other end that it has gone.
        for host in (*self.rig.guests, *filter(None, [self.rig.native])):
            host.run("pkill -9 -f [p]vhca-test-")
        for guest in self.rig.guests:
            check_works(guest)


def run(rig, kinds):
    storm = Storm(rig)
    for guest in rig.guests:
        check_works(guest)
    check_programs(*storm.others, "stream", "--count 100")
    before = host_side(rig)
    for number, kind in enumerate(kinds(storm)):
        begin = time.monotonic()
        try:
            storm.point(kind)
            check_nothing_left(rig, before, HANG)
        except Exception as error:
            raise AssertionError(f"point {number} of seed {SEED}: {kind.__name__}: {error}") from error
        print(f"# point {number} of seed {SEED}: {kind.__name__}, {time.monotonic() - begin:.0f} s", flush=True)


@vmtest(guests=3, timeout=600, rigs=("loopback",), reboot_after=True)
def after_an_application_a_qemu_and_pvhcad_were_killed_nothing_is_left(rig):
    run(rig, lambda storm: (application, qemu, pvhcad))


@vmtest(guests=3, timeout=7200, rigs=tuple(POINTS), soak=True, reboot_after=True)
def whoever_is_killed_nothing_is_left_and_the_others_have_their_data(rig):
    points = int(os.environ.get("PVHCA_STORM_POINTS", POINTS[rig.name]))
    run(rig, lambda storm: (storm.random.choice(KINDS[rig.name]) for _ in range(points)))
