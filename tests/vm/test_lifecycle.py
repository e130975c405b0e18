# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes and goes: drivers, applications, guests, pvhcad. Nothing stays behind on the host, nobody hangs."""

from harness import vmtest
from programs import PORT, check_nothing_left, check_programs, command, host_side, totals, wait_until

# Exit status of pvhca-test-lifecycle: sums of these.
BAD_COMPLETION, POLL_ERROR, DEVICE_FATAL, STALL = 4, 8, 16, 64
BROKEN = 2      # of pvhca-test-stream


def start_application(guest, options=""):
    application = guest.spawn(command(guest, "lifecycle", options))
    application.expect("ready", timeout=120)
    return application


def check_works(guest):
    guest.check(command(guest, "integrity", "--self --rounds 1 --size 20000"), timeout=120)


def check_ended_by_fatal(result):
    assert result.rc & DEVICE_FATAL and not result.rc & STALL, result


def held(rig, guest):
    """What pvhcad has for that guest; there may be another one."""
    session = next(session for session in rig.daemon.stats()["sessions"] if session["name"] == guest.name)
    return {kind: session[kind] for kind in ("pds", "mrs", "cqs", "qps", "contexts", "pinned_bytes")}


def pci_address(guest):
    return guest.check(f"readlink -f /sys/class/infiniband/{guest.ibdev}/device").strip().rpartition("/")[2]


@vmtest
def driver_loads_unloads_and_loads_again(rig):
    guest = rig.guests[0]
    check_works(guest)
    loaded = host_side(rig)
    for _ in range(1 if rig.native else 3):
        guest.unload_driver()
        assert not guest.check("ls /sys/class/infiniband")
        assert not any(held(rig, guest).values()), held(rig, guest)
        guest.bring_up_device()
        check_works(guest)
        check_nothing_left(rig, loaded)


@vmtest(soak=("verbs",))
def driver_in_use_is_not_unloaded(rig):
    guest = rig.guests[0]
    application = start_application(guest, "--qps 2")
    result = guest.run("/sbin/rmmod pvhca")
    # With disassociation the module may go; then the application is told.
    if result.rc == 0:
        check_ended_by_fatal(application.wait())
        guest.bring_up_device()
    else:
        application.kill()
        assert application.wait().rc == 0, application.result()
    check_works(guest)


@vmtest
def application_learns_that_its_device_was_unbound(rig):
    guest = rig.guests[0]
    check_works(guest)
    before = host_side(rig)
    address = pci_address(guest)
    application = start_application(guest, "--qps 8")
    guest.check(f"echo {address} >/sys/bus/pci/drivers/pvhca/unbind", timeout=60)
    check_ended_by_fatal(application.wait(60))
    guest.check(f"echo {address} >/sys/bus/pci/drivers/pvhca/bind", timeout=60)
    guest.wait_device()
    check_works(guest)
    check_nothing_left(rig, before)


@vmtest(timeout=300)
def killed_application_with_64_queue_pairs_leaves_nothing(rig):
    guest = rig.guests[0]
    check_works(guest)
    before = host_side(rig)
    for _ in range(3):
        application = start_application(guest, "--qps 64")
        assert totals(rig)["qps"] >= before["qps"] + 64
        application.kill(9)
        assert application.wait().rc == 137
        check_nothing_left(rig, before)
    check_works(guest)


@vmtest(timeout=300, soak=("verbs",))
def killed_application_that_was_idle_leaves_nothing(rig):
    guest = rig.guests[0]
    check_works(guest)
    before = host_side(rig)
    application = start_application(guest, "--qps 64 --idle")
    application.kill(9)
    application.wait()
    check_nothing_left(rig, before)


@vmtest(timeout=400, soak=("verbs",))
def rebooted_guest_leaves_nothing_and_works_again(rig):
    guest = rig.guests[0]
    check_works(guest)
    before = host_side(rig)
    start_application(guest, "--qps 64")
    guest.reboot()
    check_nothing_left(rig, before)
    check_works(guest)


@vmtest(timeout=400, soak=("verbs",))
def reset_guest_leaves_nothing_and_works_again(rig):
    guest = rig.guests[0]
    check_works(guest)
    before = host_side(rig)
    start_application(guest, "--qps 64")
    guest.reset()
    check_nothing_left(rig, before)
    check_works(guest)


@vmtest(guests=2, timeout=500)
def guest_killed_in_mid_transfer_leaves_nothing_and_its_peer_is_told(rig):
    server, client = rig.guests
    check_programs(server, client, "stream", "--count 100")
    before = host_side(rig)
    running = server.spawn(f"{command(server, 'stream')} -p {PORT}")
    server.wait_port(PORT)
    streaming = client.spawn(f"{command(client, 'stream', '--seconds 1000 --timeout 14')} -p {PORT} {server.net_ip}")
    streaming.expect("ready")
    messages = totals(rig)["messages"]
    wait_until(lambda: totals(rig)["messages"] > messages + 200, "the stream does not flow", 60, client.slowness)
    sessions = len(rig.daemon.stats()["sessions"])
    server.kill()
    result = streaming.wait(120)
    assert result.rc == BROKEN and ("RETRY_EXC_ERR" in result.out or "server has gone" in result.out), result
    wait_until(lambda: len(rig.daemon.stats()["sessions"]) == sessions - 1, "the dead guest's session stays", 30,
               client.slowness)
    check_works(client)
    assert running.host is server
    server.start()
    server.wait_booted()
    server.bring_up_device()
    check_programs(server, client, "stream", "--count 100")
    check_nothing_left(rig, before)


def applications_survive_loss_of_the_daemon(rig, lose):
    guest = rig.guests[0]
    check_works(guest)
    application = start_application(guest, "--qps 16")
    lose()
    check_ended_by_fatal(application.wait(120))
    rig.daemon.start()
    guest.wait_device()
    check_works(guest)


@vmtest(timeout=400, soak=("verbs",))
def restarted_daemon_is_fatal_to_applications_and_the_device_comes_back(rig):
    guest = rig.guests[0]
    boots = guest.boots
    applications_survive_loss_of_the_daemon(rig, rig.daemon.stop)
    assert guest.boots == boots


@vmtest(timeout=400)
def killed_daemon_is_fatal_to_applications_and_the_device_comes_back(rig):
    applications_survive_loss_of_the_daemon(rig, rig.daemon.kill)
    # And again: coming back is not a thing that works once.
    applications_survive_loss_of_the_daemon(rig, rig.daemon.kill)


@vmtest(guests=2, timeout=400, soak=("verbs",))
def one_guests_end_does_not_touch_the_other(rig):
    stays, goes = rig.guests
    check_works(goes)
    application = start_application(stays, "--qps 8")
    start_application(goes, "--qps 8")
    goes.reset()
    check_works(goes)
    assert application.running, application.result()
    application.kill()
    assert application.wait().rc == 0, application.result()
