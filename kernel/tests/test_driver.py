# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver against a host that is slow, gone or wrong: see fake_pvhcad.py. Run by ctest, or

    PVHCA_DAEMON=kernel/tests/fake_pvhcad.py tests/vm/run kernel/tests/test_driver.py
"""

import json
import math
import re
import socket
import time

from harness import CommandFailed, TimedOut, limits, paths, vmtest

ADDRESS, OTHER_ADDRESS = "10.77.0.10", "10.77.0.99"
QP_FATAL, CQ_ERR, DEVICE_FATAL, PORT_ACTIVE, PORT_ERR, PORT_ATTR = 1, 0, 8, 9, 10, 64
ERROR_VERSION, ERROR_HOST = 4, 6
ACTIVE, DOWN = 4, 1
QP_LAST_WQE, SRQ_LIMIT, GID_CHANGE, SRQ_ERR = 16, 15, 18, 14
NO_HANDLE = 0xffffffff
QPT_NET = 5
TIMEOUT = math.ceil(limits.scaled(3))   # seconds that a command may take, where that matters


def drivertest(function=None, **more):
    """Pages that the guest frees are zeroed: what the host still reads then is seen to be gone."""
    return vmtest(function, rigs=("loopback",), bring_up=False, append="init_on_free=1", **more)


class Bench:
    """A guest with the driver, the host that it is served by, and an application."""

    def __init__(self, rig, timeout=60):
        self.guest, self.daemon = rig.guests[0], rig.daemon
        self.logged = len(self.guest.dmesg())
        self.behave()
        self.guest.load_driver()
        self.attached()
        self.guest.check(f"echo {timeout * 1000} >/sys/module/pvhca/parameters/admin_timeout_ms")

    def host(self, method, *arguments, **named):
        """Of fake_pvhcad's Control."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30 * self.guest.slowness)
            sock.connect(f"{self.daemon.socket}.control")
            sock.sendall(json.dumps([method, named or arguments]).encode() + b"\n")
            answer = json.loads(sock.makefile().read())
        assert "error" not in answer, answer
        return answer["answer"]

    def set(self, **values):
        self.host("set", **values)

    def behave(self):
        self.wait(lambda: self.attempt("behave"), "the fake pvhcad has no connection")

    def attempt(self, method, *arguments):
        try:
            self.host(method, *arguments)
            return True
        except (AssertionError, OSError):
            return False

    def attached(self):
        """The device is there, and has its GID. One that is about to go may deceive for a moment."""
        for attempt in range(5):
            try:
                self.guest.find_device()
                self.guest.configure_address(ADDRESS)
                self.gid_index = self.guest.wait_gid(ADDRESS)
                return
            except CommandFailed:
                if attempt == 4:
                    raise

    def commands(self, name):
        """What pvhcad was told by the commands of that name, in this session."""
        return [details for command, details in self.host("commands") if command == name]

    def command(self, options):
        return f"exec {paths.build()}/kernel/pvhca-test-uverbs {options}"

    def run(self, options=""):
        return self.guest.run(self.command(options), timeout=60)

    def check(self, options=""):
        result = self.run(options)
        assert result.rc == 0 and "must not" not in result.out and "end alive 1" in result.out, result
        return result

    def more(self, options=""):
        """Make objects of all kinds."""
        return self.run(f"-x -g {self.gid_index} {options}")

    def nothing_left(self):
        """Whoever ended has left no object on the host."""
        self.wait(lambda: not self.host("alive"), "objects are left")

    def start(self, options="-w"):
        application = self.guest.spawn(self.command(options), input=None)
        application.expect("ready")
        return application

    def begun(self, command, options=""):
        """An application, once it has come to a command. The session may be that of the test before."""
        told = len(self.commands(command))
        application = self.guest.spawn(self.command(options))
        self.wait(lambda: len(self.commands(command)) > told, f"the application does not come to {command}")
        return application

    def ends(self, application):
        """The application, which waits for events, learns that the device is gone; returns what it printed."""
        result = application.wait(60)
        assert f"async {DEVICE_FATAL} alive 0" in result.out and "end alive 0" in result.out, result
        return result

    def recovers(self):
        """A new session is there and works; the old one may still be on its way out."""
        self.wait(lambda: self.attempt("commands") and self.commands("QUERY_DEVICE"), "no new session")
        self.attached()
        self.check()

    def begins_anew(self):
        """With a host that behaves. A pvhcad that is gone in between is not held to have failed again and again."""
        self.logged = len(self.guest.dmesg())
        self.behave()
        self.host("hang_up")
        self.recovers()

    def said(self, text):
        """Wait for a line of the guest's kernel log, since the test began."""
        self.wait(lambda: text in self.guest.dmesg()[self.logged:],
                  lambda: f"no {text!r} in the kernel log, but:\n{self.guest.dmesg()[self.logged:]}")

    def wait(self, condition, what, timeout=40):
        """what: is not so; a text, or a function that returns it."""
        deadline = time.monotonic() + timeout * self.guest.slowness
        while not condition():
            if time.monotonic() > deadline:
                raise TimedOut(what() if callable(what) else what)
            time.sleep(0.1)

    def sysfs(self, path):
        return self.guest.check(f"cat {path}").strip()


@drivertest
def objects_are_made_and_destroyed(rig):
    bench = Bench(rig)
    out = bench.check("-d").out
    assert "entries 128" in out and "state 1" in out, out
    made = [bench.commands(name)[-1]["made"] for name in ("ALLOC_CONTEXT", "ALLOC_PD", "REG_MR", "CREATE_CQ", "CREATE_QP")]
    gone = [bench.commands(name)[-1]["handle"]
            for name in ("DEALLOC_CONTEXT", "DEALLOC_PD", "DEREG_MR", "DESTROY_CQ", "DESTROY_QP")]
    assert made == gone


@drivertest
def objects_of_all_kinds_are_made_used_and_destroyed(rig):
    bench = Bench(rig)
    result = bench.more()
    assert result.rc == 0 and "must not" not in result.out and "end alive 1" in result.out, result
    for fact in ("doorbell 16 max_wr 16", "srq limit 5", "rkey 0x300", "lkey 0x101 rkey 0x201", "entries 512"):
        assert fact in result.out, (fact, result)
    bench.nothing_left()
    qps = bench.commands("CREATE_QP")[-4:]
    assert [qp["type"] for qp in qps] == [2, 2, 3, 4]
    srq = bench.commands("CREATE_SRQ")[-1]
    # A limit is not armed by creating the queue; a QP that has one has no receive queue.
    assert srq["limit"] == 0 and bench.commands("MODIFY_SRQ")[-1]["limit"] == 5
    assert qps[1]["srq"] == srq["made"] and qps[1]["flags"] & 2 and qps[1]["max_recv_wr"] == 0
    assert all(qp["srq"] == NO_HANDLE for qp in (qps[0], *qps[2:]))
    ah = bench.commands("CREATE_AH")[-1]
    assert f"ah {ah['made']}\n" in result.out
    # The hop limit is the core's, which looks for the route.
    del ah["made"], ah["hop_limit"]
    assert ah == {"dgid": "::ffff:10.77.0.11", "flow_label": 0x12345, "sgid_index": bench.gid_index,
                  "traffic_class": 32, "sl": 3}
    assert [mw["type"] for mw in bench.commands("ALLOC_MW")[-2:]] == [1, 2]
    access, move, both = bench.commands("REREG_MR")[-3:]
    assert access["access"] == 1 and move["length"] == both["length"] == 5000 and move["iova"] % 4096 == 77
    groups = [member["member"][1] for member in bench.commands("DETACH_MCAST")[-2:]]
    assert groups == ["ff0e::1", "ff0e::2"]


@drivertest
def region_is_pinned_anew_when_it_becomes_writable(rig):
    bench = Bench(rig)
    # The memory itself may only be read.
    assert "failed REREG_MR Bad address" in bench.more("-R -l 20000 -o 0").out
    bench.nothing_left()


@drivertest
def host_sees_the_bytes_of_a_dma_buffer(rig):
    bench = Bench(rig)
    bench.guest.load_modules("vgem")
    out = bench.check("-D").out
    seen = bench.commands("REG_MR")[-1]
    assert seen["length"] == 20000 and seen["iova"] == 4097
    assert seen["sum"] == int(re.search(r"dmabuf sum (\d+)", out)[1]), (seen, out)
    bench.nothing_left()


@drivertest(timeout=300)
def host_refuses_and_nothing_is_left(rig):
    bench = Bench(rig)
    for name, status, said in (("CREATE_SRQ", "NO_MEMORY", "Cannot allocate memory"),
                               ("MODIFY_SRQ", "INVALID", "Invalid argument"),
                               ("QUERY_SRQ", "UNSUPPORTED", "Operation not supported"),
                               ("CREATE_AH", "UNREACHABLE", "Network is unreachable"),
                               ("CREATE_AH", "TIMED_OUT", "Connection timed out"),
                               ("ATTACH_MCAST", "UNSUPPORTED", "Operation not supported"),
                               ("ALLOC_MW", "UNSUPPORTED", "Operation not supported"),
                               ("REREG_MR", "INVALID", "Invalid argument"),
                               ("REREG_MR", "IO", "Input/output error"),
                               ("RESIZE_CQ", "INVALID", "Invalid argument")):
        bench.set(refuse={name: status})
        result = bench.more()
        assert f"failed {name} {said}" in result.out and "end alive 1" in result.out, (name, result)
        bench.behave()
        bench.nothing_left()
    assert bench.more().rc == 0


@drivertest(timeout=400)
def answer_that_cannot_be_ends_the_session(rig):
    bench = Bench(rig)
    for name, index, value in (("CREATE_QP", 2, 64 * 64), ("CREATE_QP", 3, 1 << 20), ("CREATE_CQ", 1, 3),
                               ("CREATE_SRQ", 2, 1 << 31), ("CREATE_SRQ", 3, 4096)):
        bench.set(mangle={name: (index, value)})
        result = bench.more()
        assert f"failed {name} Input/output error" in result.out and "end alive 0" in result.out, (name, result)
        bench.said("pvhcad returned an invalid slot or doorbell")
        bench.begins_anew()
    application = bench.start(f"-x -w -g {bench.gid_index}")
    for name in ("CREATE_CQ", "CREATE_QP", "CREATE_SRQ"):
        bench.set(mangle={name: (0, bench.commands(name)[-1]["made"])})
        assert f"failed {name} Input/output error" in bench.more().out
        bench.said("pvhcad gave two objects the same handle")
        bench.ends(application)
        bench.begins_anew()
        application = bench.start(f"-x -w -g {bench.gid_index}")
    application.send(b"")


@drivertest
def counters_tell_what_passed_through_the_driver(rig):
    bench = Bench(rig)

    def counter(name):
        return int(bench.sysfs(f"/sys/class/infiniband/{bench.guest.ibdev}/ports/1/hw_counters/{name}"))

    def grows(name, amount, action):
        before = counter(name)
        action()
        bench.wait(lambda: counter(name) >= before + amount, f"{name} does not grow")

    grows("admin_commands", 10, bench.check)
    bench.set(refuse={"ALLOC_PD": "DENIED"})
    grows("admin_refusals", 1, bench.run)
    bench.behave()
    application = bench.start()
    grows("completion_events", 1, lambda: bench.host("completion_event", bench.commands("CREATE_CQ")[-1]["made"]))
    grows("async_events", 1, lambda: bench.host("async_event", QP_FATAL, bench.commands("CREATE_QP")[-1]["made"]))
    grows("stale_events", 1, lambda: bench.host("async_event", QP_FATAL, 12345))
    application.send(b"")
    assert application.wait().rc == 0 and counter("admin_timeouts") == 0


@drivertest
def host_sees_the_bytes_of_a_region_of_any_alignment_and_size(rig):
    bench = Bench(rig)
    for length, offset in ((1, 0), (1, 4095), (2, 4095), (4096, 0), (4096, 1), (10000, 123), (5_000_000, 4000)):
        out = bench.check(f"-l {length} -o {offset}").out
        seen = bench.commands("REG_MR")[-1]
        assert seen["length"] == length and seen["iova"] % 4096 == offset
        assert seen["sum"] == int(re.search(r"sum (\d+)", out)[1]), (length, offset)


@drivertest
def read_only_memory_can_be_registered_for_reading(rig):
    bench = Bench(rig)
    bench.check("-R -l 20000 -o 0")
    assert bench.commands("REG_MR")[-1]["access"] == 0


@drivertest
def neighbouring_pages_are_one_extent(rig):
    bench = Bench(rig)
    length = 32 << 20
    bench.check(f"-H -l {length} -o 0")
    # At worst each huge page is alone.
    assert bench.commands("REG_MR")[-1]["extents"] <= length >> 21


@drivertest
def list_that_does_not_fit_the_command_goes_by_chunks(rig):
    bench = Bench(rig)
    out = bench.check("-S -l 40000000 -o 5").out
    seen = bench.commands("REG_MR")[-1]
    assert seen["extents"] > 255 and seen["sum"] == int(re.search(r"sum (\d+)", out)[1]), seen["extents"]


@drivertest
def events_reach_the_object_they_name(rig):
    bench = Bench(rig)
    application = bench.start(f"-x -w -g {bench.gid_index}")
    qp, cq, srq = (bench.commands(name)[-1]["made"] for name in ("CREATE_QP", "CREATE_CQ", "CREATE_SRQ"))
    bench.host("completion_event", cq)
    application.expect("completion")
    bench.host("async_event", QP_FATAL, qp)
    application.expect(f"async {QP_FATAL} alive 1")
    bench.host("async_event", CQ_ERR, cq)
    application.expect(f"async {CQ_ERR} alive 1")
    for event, handle in ((QP_LAST_WQE, qp), (SRQ_LIMIT, srq), (SRQ_ERR, srq)):
        bench.host("async_event", event, handle)
        application.expect(f"async {event} alive 1")
    bench.host("async_event", QP_FATAL, 12345)      # nobody's
    for _ in range(600):                            # several laps of the queue
        bench.host("async_event", QP_FATAL, qp)
    bench.wait(lambda: application.out.count(f"async {QP_FATAL} ") == 601, "events were lost")
    application.send(b"")
    assert application.wait().rc == 0


@drivertest
def network_interface_follows_the_port(rig):
    bench = Bench(rig)
    guest = bench.guest
    interface = f"/sys/class/net/{guest.netdev}"
    state = f"/sys/class/infiniband/{guest.ibdev}/ports/1/state"
    bench.set(port_state=DOWN)
    bench.host("async_event", PORT_ERR, 1)
    bench.wait(lambda: bench.sysfs(f"{interface}/carrier") == "0" and "DOWN" in bench.sysfs(state), "the port is up")
    bench.set(port_state=ACTIVE, netdev_mtu=1500)
    bench.host("async_event", PORT_ACTIVE, 1)
    bench.wait(lambda: bench.sysfs(f"{interface}/carrier") == "1" and "ACTIVE" in bench.sysfs(state), "the port is down")
    bench.wait(lambda: bench.sysfs(f"{interface}/mtu") == "1500", "the MTU is not the host's")
    bench.set(netdev_mtu=9000)
    bench.host("async_event", PORT_ATTR, 1)
    bench.wait(lambda: bench.sysfs(f"{interface}/mtu") == "9000", "the MTU is not the host's")


@drivertest
def application_is_told_each_change_of_the_port_once(rig):
    bench = Bench(rig)
    application = bench.start()
    for state, event, cause in ((DOWN, PORT_ERR, PORT_ERR), (ACTIVE, PORT_ACTIVE, PORT_ACTIVE),
                                (DOWN, PORT_ERR, PORT_ATTR), (ACTIVE, PORT_ACTIVE, PORT_ATTR)):
        told = application.out.count(f"async {event} ")
        bench.set(port_state=state)
        for _ in range(2):
            bench.host("async_event", cause, 1)
        bench.wait(lambda: application.out.count(f"async {event} ") > told, "the application is not told")
        asked = len(bench.commands("QUERY_PORT"))
        bench.host("async_event", PORT_ATTR, 1)
        bench.wait(lambda: len(bench.commands("QUERY_PORT")) > asked, "the port is not looked at")
        assert application.out.count(f"async {event} ") == told + 1, application.out
    application.send(b"")
    assert application.wait().rc == 0


@drivertest
def address_that_the_host_was_given_later_becomes_a_gid(rig):
    bench = Bench(rig)
    guest = bench.guest
    bench.set(refuse={"ADD_GID": "DENIED"})
    guest.check(f"ip addr add {OTHER_ADDRESS}/24 dev {guest.netdev}")
    bench.said(f"does not let this guest use address ::ffff:{OTHER_ADDRESS}")
    bench.behave()
    bench.host("async_event", GID_CHANGE, 1)
    guest.wait_gid(OTHER_ADDRESS)
    guest.check(f"ip addr del {OTHER_ADDRESS}/24 dev {guest.netdev}")


@drivertest
def address_comes_and_goes_as_a_gid(rig):
    bench = Bench(rig)
    guest = bench.guest
    guest.check(f"ip addr add {OTHER_ADDRESS}/24 dev {guest.netdev}")
    index = guest.wait_gid(OTHER_ADDRESS)
    assert bench.commands("ADD_GID")[-1] == {"gid": f"::ffff:{OTHER_ADDRESS}", "index": index}
    gone = len(bench.commands("DEL_GID"))   # in this session, which may be that of the test before
    guest.check(f"ip addr del {OTHER_ADDRESS}/24 dev {guest.netdev}")
    bench.wait(lambda: bench.commands("DEL_GID")[gone:] == [{"handle": index}], "the GID stays")
    bench.set(refuse={"ADD_GID": "DENIED"})
    guest.check(f"ip addr add {OTHER_ADDRESS}/24 dev {guest.netdev}")
    bench.said(f"does not let this guest use address ::ffff:{OTHER_ADDRESS}")
    guest.check(f"ip addr del {OTHER_ADDRESS}/24 dev {guest.netdev}")


@drivertest(timeout=300)
def application_learns_of_every_kind_of_end_and_the_next_works(rig):
    bench = Bench(rig)

    def restart():
        bench.daemon.kill()
        bench.daemon.start()

    for end in (restart, lambda: bench.host("hang_up"), lambda: bench.host("fail", ERROR_HOST),
                lambda: bench.host("async_event", DEVICE_FATAL, 0)):
        application = bench.start(f"-x -w -g {bench.gid_index}")
        end()
        assert "channel Input/output error" in bench.ends(application).out
        bench.recovers()


@drivertest(timeout=300)
def driver_goes_and_comes_with_applications_alive(rig):
    bench = Bench(rig)
    guest = bench.guest
    address = guest.check(f"readlink -f /sys/class/infiniband/{guest.ibdev}/device").strip().rpartition("/")[2]
    for go, come in ((f"echo {address} >/sys/bus/pci/drivers/pvhca/unbind",
                      f"echo {address} >/sys/bus/pci/drivers/pvhca/bind"),
                     (f"echo 1 >/sys/bus/pci/devices/{address}/remove", "echo 1 >/sys/bus/pci/rescan"),
                     ("/sbin/rmmod pvhca", None)):
        waits, asks = (bench.start(f"-x {what} -g {bench.gid_index}") for what in ("-w", "-q"))
        guest.check(go)
        bench.ends(waits)
        assert "failed QUERY_QP Input/output error" in asks.wait().out
        guest.check(come) if come else guest.load_driver()
        bench.recovers()


@drivertest(timeout=900)
def timed_out_command_resets_the_device_and_its_late_answer_is_nobodys(rig):
    bench = Bench(rig, TIMEOUT)
    for name in ("QUERY_QP", "REG_MR", "CREATE_CQ", "DEALLOC_PD", "DEALLOC_CONTEXT", "CREATE_SRQ", "RESIZE_CQ",
                 "REREG_MR", "DETACH_MCAST", "DESTROY_SRQ"):
        other = bench.start()
        bench.set(drop=[name])
        bench.host("answer_late")   # what is left of other tests
        result = bench.more()
        # Some come when the application has ended.
        assert "end alive 0" in result.out or name.startswith(("DEALLOC", "DESTROY")), (name, result)
        bench.ends(other)
        bench.begins_anew()
        assert bench.host("answer_late") == 1
        bench.said("answers no admin command")
    bench.guest.check("echo 60000 >/sys/module/pvhca/parameters/admin_timeout_ms")


@drivertest(timeout=300)
def command_that_times_out_with_the_network_lock_held_does_not_block_the_reset(rig):
    bench = Bench(rig, TIMEOUT)
    bench.set(drop=["ADD_GID"])
    bench.guest.check(f"ip addr add {OTHER_ADDRESS}/24 dev {bench.guest.netdev}")
    bench.said("admin command 5 timed out")
    bench.behave()
    bench.recovers()
    bench.guest.wait_gid(OTHER_ADDRESS)
    bench.guest.check(f"ip addr del {OTHER_ADDRESS}/24 dev {bench.guest.netdev}")


@drivertest
def queue_that_goes_on_is_not_timed_out(rig):
    bench = Bench(rig, TIMEOUT)
    bench.set(delay={"ALLOC_PD": TIMEOUT / 2})
    applications = [bench.guest.spawn(bench.command("")) for _ in range(5)]
    for application in applications:
        result = application.wait()
        assert result.rc == 0 and "end alive 1" in result.out, result


@drivertest
def driver_is_unbound_without_waiting_for_an_answer(rig):
    bench = Bench(rig, 50)
    bench.set(drop=["ALLOC_PD"])
    application = bench.begun("ALLOC_PD")
    bench.guest.check("/sbin/rmmod pvhca", timeout=20)
    assert "failed ALLOC_PD Input/output error" in application.wait(20).out


@drivertest
def command_under_way_fails_when_pvhcad_dies(rig):
    bench = Bench(rig, 50)
    bench.set(drop=["ALLOC_PD"])
    application = bench.begun("ALLOC_PD")
    bench.daemon.kill()
    assert "failed ALLOC_PD Input/output error" in application.wait(20).out
    bench.daemon.start()
    bench.recovers()


@drivertest
def refused_destruction_resets_the_device(rig):
    bench = Bench(rig)
    bench.set(refuse={"DESTROY_QP": "INVALID"})
    result = bench.run("-d")
    assert result.rc == 0 and "end alive 0" in result.out, result
    bench.behave()
    bench.recovers()


@drivertest
def provider_of_another_ring_abi_is_refused_by_name(rig):
    bench = Bench(rig)
    bench.set(refuse={"ALLOC_CONTEXT": "VERSION"})
    assert "failed GET_CONTEXT Protocol error" in bench.run("-r 7").out
    bench.said("provider speaks ring ABI 7.0, pvhcad fake 0 speaks 1.0")


@drivertest(timeout=300)
def refusals_are_logged_with_their_reason(rig):
    bench = Bench(rig)
    bench.set(enable_error=ERROR_VERSION)
    bench.host("hang_up")
    bench.said("pvhcad fake 0 refused the driver, error 4: it was asked to refuse")
    bench.set(enable_error=0, admin_major=7)
    bench.host("hang_up")
    bench.said("pvhcad fake 0 speaks admin ABI 7.1")
    bench.set(admin_major=1, hello_refused=True)
    bench.host("hang_up")
    bench.said("pvhcad fake 0 and QEMU's device")
    bench.set(hello_refused=False)
    bench.recovers()


@drivertest(timeout=300)
def host_that_failed_for_a_while_is_tried_again(rig):
    bench = Bench(rig)
    bench.set(enable_error=ERROR_HOST)
    bench.host("fail", ERROR_HOST)
    bench.said("pvhcad fake 0 refused the driver, error 6")
    time.sleep(3)
    bench.set(enable_error=0)
    bench.recovers()


@drivertest(timeout=300)
def final_refusal_is_logged_after_a_failure_of_another_kind(rig):
    """By the same pvhcad: of failures that are tried again only the first is logged."""
    bench = Bench(rig)
    bench.set(enable_error=ERROR_HOST)
    bench.host("hang_up")
    bench.said("pvhcad fake 0 refused the driver, error 6")
    bench.set(enable_error=ERROR_VERSION)
    bench.said("pvhcad fake 0 refused the driver, error 4")
    bench.behave()
    bench.host("hang_up")
    bench.recovers()


@drivertest(timeout=300)
def memory_is_lost_rather_than_freed_when_a_reset_does_not_end(rig):
    bench = Bench(rig, TIMEOUT)
    bench.set(reset_ends=False, drop=["QUERY_QP"])
    result = bench.run()
    assert "failed QUERY_QP Input/output error" in result.out, result
    bench.said("memory that pvhcad may still use is not freed")
    bench.behave()
    bench.host("hang_up")
    bench.recovers()


@drivertest
def input_that_is_not_known_is_refused_for_every_object_and_longer_answers_are_zeroed(rig):
    bench = Bench(rig)
    result = bench.more("-u")
    assert result.rc == 0 and "must not" not in result.out, result
    for name in ("GET_CONTEXT", "ALLOC_PD", "REG_MR", "REREG_MR", "ALLOC_MW", "CREATE_CQ", "RESIZE_CQ", "CREATE_QP",
                 "CREATE_AH", "CREATE_SRQ", "MODIFY_SRQ"):
        assert f"newer {name} Operation not supported" in result.out, (name, result)
    bench.nothing_left()


@drivertest
def texts_of_others_are_escaped_in_the_log(rig):
    bench = Bench(rig)
    text = "a\nforged\x1b[31m"
    logged = r"a\x5cnforged\x5ce[31m"       # /dev/kmsg escapes the backslashes once more
    register = "a?forged?[31m"              # what QEMU makes of it
    bench.set(refuse={"ALLOC_CONTEXT": "VERSION"}, version=text, message=text, host_device=text)
    bench.run(f"-v '{text}'")
    bench.said("provider speaks ring ABI 1.0, pvhcad fake 0 speaks")     # which is still the name that it gave
    bench.host("hang_up")
    bench.said(f"attached to pvhcad {register}, host device {logged}, QEMU's device")
    bench.set(enable_error=ERROR_VERSION)
    bench.host("hang_up")
    bench.said(f"pvhcad {register} refused the driver, error 4: {logged}")
    bench.set(enable_error=0, admin_major=7)
    bench.host("hang_up")
    bench.said(f"pvhcad {logged} speaks admin ABI 7.1")
    bench.set(admin_major=1, hello_refused=True)
    bench.host("hang_up")
    bench.said(f"pvhcad {register} and QEMU's device")
    bench.set(hello_refused=False)
    assert r"\x0a" not in bench.guest.dmesg()[bench.logged:]
    bench.behave()
    bench.recovers()


@drivertest
def port_goes_down_and_up_with_the_network_interface(rig):
    bench = Bench(rig)
    guest = bench.guest
    state = f"/sys/class/infiniband/{guest.ibdev}/ports/1/state"
    application = bench.start()

    def switched(way, event, seen):
        told = application.out.count(f"async {event} ")
        guest.check(f"ip link set {guest.netdev} {way}")
        bench.wait(lambda: application.out.count(f"async {event} ") > told, "the application is not told")
        assert seen in bench.sysfs(state), bench.sysfs(state)
        # The host's port has no part in it, and what it says does not bring the port up.
        asked = len(bench.commands("QUERY_PORT"))
        bench.host("async_event", PORT_ACTIVE, 1)
        bench.wait(lambda: len(bench.commands("QUERY_PORT")) > asked, "the port is not looked at")
        assert application.out.count(f"async {event} ") == told + 1, application.out
        assert seen in bench.sysfs(state), bench.sysfs(state)

    for _ in range(2):
        switched("down", PORT_ERR, "DOWN")
        switched("up", PORT_ACTIVE, "ACTIVE")
    # Without a session it is set down for the next one.
    application.send(b"")
    guest.check(f"ip link set {guest.netdev} down")
    bench.host("hang_up")
    bench.wait(lambda: bench.attempt("commands") and bench.commands("QUERY_PORT"), "no new session")
    guest.find_device()
    bench.wait(lambda: "DOWN" in bench.sysfs(state), "the port is up")
    bench.recovers()


@drivertest(timeout=300)
def killed_process_does_not_wait_for_its_command(rig):
    bench = Bench(rig)
    bench.host("answer_late")   # what is left of other tests
    sessions = bench.host("sessions")
    for name in ("ALLOC_CONTEXT", "ALLOC_PD", "REG_MR", "CREATE_CQ", "CREATE_QP", "MODIFY_QP", "QUERY_QP", "CREATE_SRQ",
                 "CREATE_AH", "ATTACH_MCAST", "ALLOC_MW", "REREG_MR", "RESIZE_CQ"):
        bench.set(drop=[name])
        application = bench.begun(name, f"-x -g {bench.gid_index}")
        bench.set(drop=[])
        application.kill()
        application.wait(20)
        assert bench.host("answer_late") == 1
        # What the late answer made is destroyed, and the session goes on.
        bench.nothing_left()
        if name == "ATTACH_MCAST":
            joined = bench.commands(name)[-1]["member"]
            bench.wait(lambda: joined in [left["member"] for left in bench.commands("DETACH_MCAST")],
                       "the group is not left")
        bench.check()
    assert bench.host("sessions") == sessions


@drivertest
def memory_of_an_abandoned_command_stays_until_its_answer(rig):
    bench = Bench(rig)

    def pinned():
        # Each processor counts for itself; this adds up.
        bench.guest.check("cat /proc/sys/vm/stat_refresh")
        return sum(int(bench.guest.check(f"grep nr_foll_pin_{way} /proc/vmstat").split()[1]) * sign
                   for way, sign in (("acquired", 1), ("released", -1)))

    before = pinned()
    bench.set(drop=["REG_MR"])
    application = bench.begun("REG_MR", "-S -l 5000000 -o 5")
    seen = bench.commands("REG_MR")[-1]
    assert seen["extents"] > 255
    bench.set(drop=[])
    application.kill()
    application.wait(20)
    bench.wait(lambda: pinned() >= before + 5000000 // 4096, "the pages are not pinned any more")
    # The list is there as well: pages that are freed are zeroed.
    assert bench.host("unanswered_sum") == seen["sum"]
    bench.host("answer_late")
    bench.nothing_left()
    bench.wait(lambda: pinned() == before, "pages stay pinned")


@drivertest
def object_that_an_abandoned_command_made_is_not_in_the_way(rig):
    bench = Bench(rig)
    sessions = bench.host("sessions")
    bench.set(drop=["CREATE_QP"], refuse={"DESTROY_CQ": "BUSY"})
    application = bench.begun("CREATE_QP")
    refused = len(bench.commands("DESTROY_CQ"))
    application.kill()
    bench.wait(lambda: len(bench.commands("DESTROY_CQ")) > refused, "the process does not end")
    bench.set(drop=[], refuse={})
    bench.host("answer_late")
    application.wait(20)
    bench.nothing_left()
    bench.check()
    assert bench.host("sessions") == sessions


@drivertest
def abandoned_command_times_out_too(rig):
    bench = Bench(rig, TIMEOUT)
    sessions = bench.host("sessions")
    bench.set(drop=["CREATE_QP"])
    application = bench.begun("CREATE_QP")
    application.kill()
    application.wait(20)
    bench.wait(lambda: bench.host("sessions") > sessions, "no new session")
    bench.said("admin command 15 timed out")
    bench.begins_anew()
    bench.guest.check("echo 60000 >/sys/module/pvhca/parameters/admin_timeout_ms")


@drivertest
def driver_goes_with_an_abandoned_command(rig):
    bench = Bench(rig)
    bench.set(drop=["CREATE_QP"])
    application = bench.begun("CREATE_QP")
    application.kill()
    application.wait(20)
    bench.guest.check("/sbin/rmmod pvhca", timeout=20)
    bench.behave()
    bench.guest.load_driver()
    bench.recovers()


@drivertest
def lost_admin_interrupt_loses_no_event(rig):
    bench = Bench(rig, 2)
    application = bench.start()
    qp = bench.commands("CREATE_QP")[-1]["made"]
    # After that no interrupt comes any more.
    bench.set(silent=["ALLOC_PD"], event_before={"ALLOC_PD": [QP_FATAL, qp]}, drop=["REG_MR"])
    bench.run()
    bench.said("admin command 9 completed without an interrupt")
    bench.said("admin command 11 timed out")
    assert f"async {QP_FATAL} alive 1" in bench.ends(application).out, application.out
    bench.begins_anew()
    bench.guest.check("echo 60000 >/sys/module/pvhca/parameters/admin_timeout_ms")


@drivertest
def list_of_a_timed_out_command_is_lost_rather_than_freed_when_the_reset_does_not_end(rig):
    bench = Bench(rig, 2)
    bench.set(reset_ends=False, drop=["REG_MR"])
    result = bench.run("-S -l 5000000 -o 5")
    assert "failed REG_MR Input/output error" in result.out, result
    bench.said("memory that pvhcad may still use is not freed")
    assert bench.host("unanswered_sum") == int(re.search(r"sum (\d+)", result.out)[1])
    bench.behave()
    bench.host("hang_up")
    bench.recovers()
    bench.guest.check("echo 60000 >/sys/module/pvhca/parameters/admin_timeout_ms")


@drivertest
def port_is_left_alone_while_the_device_goes(rig):
    bench = Bench(rig)
    guest = bench.guest
    tracing = "/sys/kernel/tracing"

    def rescans():
        return int(guest.check(f"cat {tracing}/kprobe_profile").split()[1])

    guest.check(f"mountpoint -q {tracing} || mount -t tracefs tracefs {tracing}; cd {tracing} && "
                "echo p:rescan ib_core:rdma_roce_rescan_device >kprobe_events && echo 1 >events/kprobes/rescan/enable")
    bench.host("async_event", GID_CHANGE, 1)
    bench.wait(lambda: rescans() == 1, "the addresses are not looked at")
    # Now the work waits for an answer until the reset has ended; so does the removal.
    bench.set(drop=["QUERY_PORT"], reset_delay=0.5)
    asked = len(bench.commands("QUERY_PORT"))
    bench.host("async_event", GID_CHANGE, 1)
    bench.wait(lambda: len(bench.commands("QUERY_PORT")) > asked, "the port is not looked at")
    guest.check("/sbin/rmmod pvhca", timeout=20)
    assert rescans() == 1, "the device was rescanned while it went"
    guest.check(f"cd {tracing} && echo 0 >events/kprobes/rescan/enable && echo >kprobe_events")
    bench.behave()
    guest.load_driver()
    bench.recovers()


@drivertest(timeout=400, reboot_after=True)
def driver_waits_for_a_pvhcad_that_comes_late(rig):
    bench = Bench(rig)
    guest = bench.guest
    bench.start()
    bench.daemon.kill()
    guest.reboot(device=False)
    guest.load_driver()
    time.sleep(1)
    assert not guest.check("ls /sys/class/infiniband")
    guest.unload_driver()
    guest.load_driver()
    bench.daemon.start()
    bench.recovers()


@drivertest
def resources_are_shown_with_what_only_driver_and_host_know(rig):
    bench = Bench(rig)
    application = bench.start()

    def shown(kind):
        lines = bench.guest.check(f"rdma -dd resource show {kind} link {bench.guest.ibdev}"
                                  if kind == "qp" else f"rdma -dd resource show {kind} dev {bench.guest.ibdev}")
        return [dict(re.findall(r"drv_(\w+) (\w+)", line)) for line in lines.splitlines() if "drv_" in line]

    queue = re.search(r"qp (\d+) type 2 slot (\d+)", application.out)
    seen = [fields for fields in shown("qp") if fields.get("slot") == queue[2]]
    assert len(seen) == 1 and {"handle", "state", "sq_producer", "rq_producer", "pending", "host_sleeps"} <= seen[0].keys(), seen
    made = bench.commands("CREATE_QP")[-1]
    assert int(seen[0]["handle"]) == made["made"], (seen, made)
    for kind, name, fields in (("cq", "CREATE_CQ", {"handle", "consumer", "blocked"}),
                               ("mr", "REG_MR", {"handle", "access", "failed"})):
        handles = {str(command["made"]) for command in bench.commands(name)}
        assert any(fields <= found.keys() and found["handle"] in handles for found in shown(kind)), (kind, shown(kind))
    application.kill()
    application.wait(20)


@drivertest
def interface_of_a_host_that_carries_no_packets_answers_at_once(rig):
    """Not by a time-out, which would show as lost packets instead of errors."""
    bench = Bench(rig)
    said = bench.guest.run(f"ping -n -c 3 -i 0.2 -W 30 {OTHER_ADDRESS}", timeout=60)
    assert said.rc == 1 and "+3 errors" in said.out and "nreachable" in said.out, said
    assert not [made for made in bench.commands("CREATE_QP") if made.get("type") == QPT_NET]
    assert "tcp-segmentation-offload: off" in bench.guest.check(f"ethtool -k {bench.guest.netdev}")
    bench.check()
