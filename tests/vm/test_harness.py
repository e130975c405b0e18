# SPDX-License-Identifier: GPL-2.0-or-later
"""The harness itself, in guests without the device."""

import os
import re
import subprocess
import time

from harness import (CommandFailed, CommandTimeout, GuestDied, HarnessError, daemon, keeper, kernlog, limits, pair,
                     paths, processes, rigs, runner, testcase, vmtest)
from harness.gid import gid_of


def raises(kind, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


@vmtest(guests=0, device=False)
def log_scanner_knows_complaints_from_chatter(rig):
    complaints = (
        "WARNING: CPU: 0 PID: 61 at drivers/infiniband/core/verbs.c:353 ib_dealloc_pd_user+0x9b/0xa0 [ib_core]",
        "BUG: kernel NULL pointer dereference, address: 0000000000000010",
        "Oops: 0002 [#1] PREEMPT SMP NOPTI",
        "refcount_t: underflow; use-after-free.",
        "INFO: task ib_write_bw:99 blocked for more than 120 seconds.",
        "watchdog: BUG: soft lockup - CPU#1 stuck for 22s!",
        "BUG: scheduling while atomic: rping/88/0x00000002",
        "general protection fault, probably for non-canonical address 0xdead000000000108: 0000 [#1]",
        "WARNING: possible circular locking dependency detected",
        "BUG: KASAN: slab-use-after-free in pvhca_destroy_qp+0x1/0x2",
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "unregister_netdevice: waiting for pvhca0 to become free. Usage count = 2",
        "Kernel panic - not syncing: Fatal exception",
        "ib_write_bw[71]: segfault at 0 ip 00007f sp 00007f error 4 in libpvhca-rdmav34.so",
    )
    chatter = (
        "mtrr: your CPUs had inconsistent fixed MTRR settings",
        "pvhca: loading out-of-tree module taints kernel.",
        "NMI watchdog: Perf NMI watchdog permanently disabled",
        "Spectre V2 : User space: Vulnerable",
        "pvhca 0000:00:04.0: doorbell page at 0xfe000000",
    )
    for line in complaints:
        assert kernlog.complaint(line), line
    for line in chatter:
        assert not kernlog.complaint(line), line


@vmtest(guests=0, device=False)
def log_check_reports_a_complaint_once_and_honours_what_is_allowed(rig):
    log = kernlog.KernelLog("test")
    log.record(b"4,1,1000000,-;WARNING: CPU: 0 PID: 1 at a.c:1\n SUBSYSTEM=pci\n")
    assert log.check() == ["WARNING: CPU: 0 PID: 1 at a.c:1"]
    assert log.check() == []
    log.allow("at b.c")
    log.record(b"4,2,2000000,-;WARNING: CPU: 0 PID: 1 at b.c:1\n")
    log.record(b"4,3,2000000,-;WARNING: CPU: 0 PID: 1 at c.c:1\n")
    assert log.check() == ["WARNING: CPU: 0 PID: 1 at c.c:1"]
    log.record(b"4,4,2000000,-;WARNING: CPU: 0 PID: 1 at b.c:1\n")
    assert len(log.check()) == 1, "an allowance outlived its check"


STUB_DAEMON = """#!/usr/bin/python3
import json, os, socket, sys, threading
if "--fail" in sys.argv:
    sys.exit("this stub was told to fail")
path = sys.argv[sys.argv.index("--socket") + 1]
for name in (path, path + ".stats"):
    if os.path.exists(name):
        os.unlink(name)
stats = socket.socket(socket.AF_UNIX)
stats.bind(path + ".stats")
stats.listen()
link = socket.socket(socket.AF_UNIX)
link.bind(path)
link.listen()
print("up", flush=True)
while True:
    peer, _ = stats.accept()
    print("ERROR: AddressSanitizer: only pretending", flush=True)
    peer.sendall(json.dumps({"sessions": 0}).encode())
    peer.close()
"""


def stub_daemon(rig, *arguments):
    program = rig.directory / "stub"
    program.write_text(STUB_DAEMON)
    program.chmod(0o755)
    return daemon.Daemon(rig.directory, rig.logs, arguments, slowness=rig.slowness, program=program)


@vmtest(guests=0, device=False)
def daemon_lives_and_dies_as_told_and_shows_its_resources(rig):
    stub = stub_daemon(rig)
    stub.start()
    first = stub.pid
    assert stub.alive and stub.open_files() >= 5 and stub.mappings() > 10 and stub.rss() > 1 << 20
    assert stub.stats() == {"sessions": 0}
    stub.restart()
    assert stub.pid != first
    assert len(stub.check()) == 1, "the sanitizer's message was not seen"
    stub.kill()
    assert not stub.alive and not stub.check()


@vmtest(guests=0, device=False)
def daemon_that_ends_by_itself_is_a_failure(rig):
    assert "told to fail" in str(raises(HarnessError, stub_daemon(rig, "--fail").start))
    stub = stub_daemon(rig)
    stub.start()
    processes.stop(stub._process)
    assert stub.check() == ["pvhcad ended by itself (-9)"]


@vmtest(device=False)
def command_gives_exit_code_and_both_streams(rig):
    result = rig.guests[0].run("echo out; echo err >&2; exit 3")
    assert (result.rc, result.out, result.err) == (3, "out\n", "err\n")


@vmtest(device=False)
def command_ended_by_a_signal_has_128_and_the_signal_as_exit_code(rig):
    assert rig.guests[0].run("kill -9 $$").rc == 137


@vmtest(device=False)
def program_that_does_not_exist_gives_127(rig):
    assert rig.guests[0].run(["/nowhere/program"]).rc == 127


@vmtest(device=False)
def check_raises_on_a_bad_exit_code_and_shows_the_output(rig):
    guest = rig.guests[0]
    assert guest.check("echo fine") == "fine\n"
    assert "reason" in str(raises(CommandFailed, guest.check, "echo reason; false"))


@vmtest(device=False)
def command_that_takes_too_long_is_killed_with_what_it_started(rig):
    guest = rig.guests[0]
    error = raises(CommandTimeout, guest.run, "echo begun; sleep 1000 & sleep 1000", timeout=1)
    assert error.result.out == "begun\n"
    assert re.search(r"\(sleep\) S .*wchan=", str(error)), error      # what it was doing is told
    assert guest.run("ps -eo args | grep -c '[s]leep 1000'").out == "0\n"


@vmtest(device=False)
def commands_run_beside_one_another(rig):
    guest = rig.guests[0]
    waiting = [guest.spawn(f"read line; echo {number} $line", input=None) for number in range(8)]
    for running in reversed(waiting):
        running.send("go\n")
    for number, running in enumerate(waiting):
        assert running.wait().out == f"{number} go\n"


@vmtest(device=False)
def command_is_over_though_it_left_something_holding_its_output(rig):
    result = rig.guests[0].run("sleep 1000 & echo over", timeout=20)
    assert (result.rc, result.out) == (0, "over\n")


@vmtest(device=False)
def input_environment_and_directory_reach_the_command(rig):
    result = rig.guests[0].run("pwd; echo $COLOUR; cat", input="text", env={"COLOUR": "green"}, cwd="/tmp")
    assert result.out == "/tmp\ngreen\ntext"


@vmtest(device=False)
def large_output_arrives_whole(rig):
    result = rig.guests[0].run("seq 200000", timeout=90)
    assert result.out == "".join(f"{number}\n" for number in range(1, 200001))


@vmtest(device=False)
def file_survives_the_way_into_the_guest_and_back(rig):
    guest, data = rig.guests[0], bytes(range(256)) * 4096
    guest.put("/tmp/data", data, mode=0o640)
    assert guest.get("/tmp/data") == data
    assert guest.run("stat -c %a /tmp/data").out == "640\n"
    guest.put("/tmp/data", b"")
    assert guest.get("/tmp/data") == b""
    assert "No such file" in str(raises(CommandFailed, guest.get, "/tmp/none"))


@vmtest(device=False)
def guest_sees_the_hosts_files_and_cannot_change_them(rig):
    guest = rig.guests[0]
    mark = rig.directory / "mark"
    guest.check("echo changed >/etc/hostname; test -x /usr/bin/ibv_devinfo; uname -r")
    assert open("/etc/hostname", encoding="utf-8").read() != "changed\n"
    assert not mark.exists()


@vmtest(device=False)
def kernel_log_reaches_the_harness_and_a_complaint_is_found(rig):
    guest = rig.guests[0]
    guest.check("echo '<4>WARNING: CPU: 0 is only pretending' >/dev/kmsg")
    assert "only pretending" in guest.dmesg()
    assert guest.log.check() == ["WARNING: CPU: 0 is only pretending"]


@vmtest(device=False)
def listener_is_noticed_and_its_absence_as_well(rig):
    guest = rig.guests[0]
    server = guest.spawn(["python3", "-c", "import socket; s = socket.create_server(('', 7777)); s.accept()"])
    guest.wait_port(7777)
    raises(CommandFailed, guest.wait_port, 7778, timeout=1)
    server.kill(9)
    assert server.wait().rc == 137


@vmtest(device=False)
def modules_load_with_what_they_depend_on(rig):
    guest = rig.guests[0]
    guest.load_modules("ib_uverbs", "rdma_ucm")
    assert "rdma_ucm" in guest.check("cat /proc/modules")
    guest.check("test -c /dev/infiniband/rdma_cm")


@vmtest(device=False)
def interactive_shell_has_a_terminal(rig):
    guest = rig.guests[0]
    running = guest.terminal(["/bin/sh", "-c", "tty"], None)
    assert running.wait().out.strip().startswith("/dev/pts/")


@vmtest(device=False)
def guest_reboots_from_within_and_by_reset(rig):
    guest = rig.guests[0]
    first = guest.get("/proc/sys/kernel/random/boot_id")
    guest.reboot()
    second = guest.get("/proc/sys/kernel/random/boot_id")
    guest.reset()
    assert len({first, second, guest.get("/proc/sys/kernel/random/boot_id")}) == 3


@vmtest(device=False)
def guest_that_panics_ends_its_commands_and_comes_back(rig):
    guest = rig.guests[0]
    running = guest.spawn("sleep 1000")
    guest.panic()
    raises(GuestDied, running.wait)
    assert guest.check("echo back") == "back\n"
    guest.log.allow(".")
    guest.log.check()


@vmtest(device=False)
def guest_that_is_killed_ends_its_commands_and_can_be_started_again(rig):
    guest = rig.guests[0]
    running = guest.spawn("sleep 1000")
    guest.kill()
    raises(GuestDied, running.wait)
    assert not guest.alive
    guest.start()
    guest.wait_booted()
    assert guest.check("echo back") == "back\n"


SAY_HELLO = """python3 -c "
import socket
with socket.create_server(('', 18515)) as server:
    server.accept()[0].sendall(b'hello')
" """
HEAR_HELLO = """python3 -c "
import socket, sys
print(socket.create_connection((sys.argv[1], 18515)).recv(9))
" """


def exchange(server, client):
    """One TCP connection over the plain network."""
    said, heard = pair(server, client, SAY_HELLO, client_command=HEAR_HELLO.rstrip())
    assert said.rc == 0 and heard.out == "b'hello'\n", (said, heard)


@vmtest(guests=2, device=False)
def guests_reach_one_another_over_the_plain_network(rig):
    first, second = rig.guests
    exchange(first, second)
    exchange(second, first)


@vmtest(guests=2, device=False)
def killed_guest_is_back_on_the_plain_network_after_its_start(rig):
    first, second = rig.guests
    second.kill()
    second.start()
    second.wait_booted()
    exchange(first, second)


@vmtest(guests=0, device=False, rigs=("loopback",))
def gids_are_written_as_sysfs_does(_):
    assert gid_of("10.88.0.10") == "0000:0000:0000:0000:0000:ffff:0a58:000a"
    assert gid_of("fe80::1") == "fe80:0000:0000:0000:0000:0000:0000:0001"


@vmtest(guests=1, device=False, rigs=("loopback",))
def guest_that_does_nothing_while_it_boots_is_started_once_more(rig):
    guest = rig.guests[0]
    guest.kill()
    guest.start()
    guest.qmp("stop")
    guest.idle_seconds = 5
    guest.wait_booted()
    guest.check("true")


@vmtest(guests=1, device=False, rigs=("verbs",))
def native_host_reaches_its_guest_over_the_plain_network(rig):
    exchange(rig.guests[0], rig.native)
    exchange(rig.native, rig.guests[0])


@vmtest(guests=1, device=False, rigs=("verbs",), vhost=True)
def plain_network_works_with_vhost(rig):
    exchange(rig.native, rig.guests[0])
    assert rig.vm_exits(rig.guests[0]) > 0


@vmtest(guests=1, device=False, rigs=("verbs",))
def native_rdma_engine_carries_traffic(rig):
    native = rig.native
    server, client = pair(native, native, "ib_write_lat -n 200 -s 8")
    assert server.rc == 0 and client.rc == 0, (server, client)
    assert "t_avg" in client.out


@vmtest(guests=1, device=False, rigs=("verbs",))
def guests_of_this_rig_run_under_kvm(rig):
    clocks = rig.guests[0].get("/sys/devices/system/clocksource/clocksource0/available_clocksource")
    assert b"kvm-clock" in clocks


@vmtest(device=False)
def time_limits_hold_for_commands_of_the_shell_too(rig):
    started = time.monotonic()
    raises(CommandTimeout, rig.guests[0].run, "while :; do :; done", timeout=1)
    assert time.monotonic() - started < 20 * rig.slowness


def booted_with(kind, **setup):
    """A rig that was booted for that setup, as far as its choice for others goes."""
    rig = object.__new__(kind)
    rig.setup = testcase.Setup(**setup)
    return rig


@vmtest(guests=0, device=False)
def rig_serves_setups_that_its_machines_are_enough_for(rig):
    one, two, large = testcase.Setup(), testcase.Setup(guests=2), testcase.Setup(memory="3G")
    other_daemon = testcase.Setup(daemon_args=("--spin-us", "0"))
    loopback = booted_with(rigs.LoopbackRig, guests=2)
    assert loopback.serves(two) and not loopback.serves(one) and not loopback.adapts_to(one)
    verbs = booted_with(rigs.VerbsRig, guests=2, memory="3G")
    assert verbs.serves(one) and verbs.serves(two) and verbs.serves(large)
    assert not verbs.serves(other_daemon) and verbs.adapts_to(other_daemon)
    assert not verbs.adapts_to(testcase.Setup(append="quiet")) and not verbs.adapts_to(testcase.Setup(guests=3))
    assert not booted_with(rigs.VerbsRig, memory="512M").serves(one)
    assert two.enlarged(1, "3G") == testcase.Setup(guests=2, memory="3G")


ATTEMPTS_TEST = """import pathlib
from harness import TimedOut, vmtest

NOTES = pathlib.Path(__file__).with_suffix(".notes")
NOTES.touch()


def attempt(name):
    with NOTES.open("a") as notes:
        notes.write(name + chr(10))
    return NOTES.read_text().split().count(name)


def slow(name, times):
    if attempt(name) <= times:
        raise TimedOut("not in time")


@vmtest(guests=0, device=False)
def wrong(rig):
    assert attempt("wrong") > 1, "wrong"


@vmtest(guests=0, device=False)
def slow_once(rig):
    slow("slow_once", 1)


@vmtest(guests=0, device=False)
def slow_twice(rig):
    slow("slow_twice", 2)


@vmtest(guests=0, device=False)
def slow_like_two_others(rig):
    slow("slow_like_two_others", 1)
"""


@vmtest(guests=0, device=False, rigs=("loopback",))
def only_what_is_late_has_a_second_attempt_and_not_every_test_of_a_file(rig):
    test = rig.directory / "test_attempts.py"
    test.write_text(ATTEMPTS_TEST)
    done = subprocess.run([paths.VM_TESTS / "run", "--rig", "loopback", "--logs", rig.directory / "attempts", test],
                          capture_output=True, text=True, timeout=limits.scaled(300),
                          env={**os.environ, "PVHCA_BUILD": str(paths.build())})
    assert re.findall(r"^(ok|not ok) \d", done.stdout, re.MULTILINE) == ["not ok", "ok", "not ok", "not ok"], done
    assert done.returncode == 1 and done.stdout.count("; once more") == 2, done
    assert done.stdout.count("at the second attempt") == 1, done


KEPT_TEST = """from harness import vmtest
@vmtest(device=False)
def notes(rig):
    rig.guests[0].check("echo x >>/run/notes")
    print("notes", rig.guests[0].check("wc -l </run/notes").strip(), flush=True)
    assert not rig.guests[0].run("[ -e /run/fail ]").rc == 0
    rig.guests[0].check("[ $(wc -l </run/notes) -lt 3 ] || touch /run/fail")
"""


@vmtest(guests=0, device=False, rigs=("loopback",))
def keeper_keeps_guests_until_a_failure_and_ends_with_its_owner(rig):
    """Five runs by one keeper: three on one guest, the fourth fails on it, the fifth has a new one."""
    build, test = rig.directory / "build", rig.directory / "test_kept.py"
    (build / "tests").mkdir(parents=True)
    (build / "tests" / "cache").symlink_to(paths.cache())
    test.write_text(KEPT_TEST)
    run = f"{paths.VM_TESTS}/run --rig loopback --build {build}"
    script = f"{run} --start && for i in 1 2 3 4 5; do {run} --shared {test}; echo status $?; done"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=limits.scaled(600),
                          env={**os.environ, "PVHCA_QEMU": str(paths.qemu())})
    assert re.findall(r"^notes (\d)", done.stdout, re.MULTILINE) == ["1", "2", "3", "4", "1"], done
    assert re.findall(r"^status (\d+)", done.stdout, re.MULTILINE) == ["0", "0", "0", "1", "0"], done
    assert done.stdout.count("booted in") == 2, done
    deadline = time.monotonic() + limits.scaled(60)
    while keeper_sockets(build):
        assert time.monotonic() < deadline, "the keeper outlives the shell that started it"
        time.sleep(0.2)


@vmtest(guests=0, device=False, rigs=("loopback",))
def tests_that_would_begin_too_late_are_skipped_with_the_reason(rig):
    run = [paths.VM_TESTS / "run", "--logs", rig.directory / "late", f"{__file__}::wait_port_sees_a_listener"]
    late = subprocess.run(run, capture_output=True, text=True, env={**os.environ, limits.LAST_START: str(time.time() - 1)})
    assert late.returncode == runner.SKIP_EXIT_CODE and limits.LAST_START in late.stdout, late
    assert "booted" not in late.stdout, late


def keeper_sockets(build):
    """The lines of /proc/net/unix for the keeper of that build tree."""
    name = "@" + keeper.address("loopback", build.resolve())[1:]
    with open("/proc/net/unix", encoding="ascii") as sockets:
        return [line for line in sockets if line.rstrip().endswith(name)]
