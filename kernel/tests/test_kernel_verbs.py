# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel verbs: the guest's MAD layer and connection manager on the GSI queue pair of a fake pvhcad (fake_gsi.py).
Run as test_driver.py is.
"""

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import fake_gsi
from harness import paths
from test_driver import ADDRESS, DEVICE_FATAL, Bench, drivertest

PEER = "10.77.0.77"
GSI_CAP, QP_CAP = 1, 2
RECEIVES = 512      # that ib_mad keeps posted
STATES = [1, 2, 3]  # INIT, RTR, RTS


class KernelBench(Bench):
    """A guest whose driver has kernel verbs."""

    def __init__(self, rig, caps=GSI_CAP):
        rig.guests[0].run("/sbin/rmmod pvhca")
        self.daemon = rig.daemon
        self.guest = rig.guests[0]
        self.wait(lambda: self.attempt("set", kernel_caps=caps), "the fake pvhcad has no connection")
        super().__init__(rig)
        self.guest.install_provider()

    def attempt(self, method, *arguments, **named):
        try:
            self.host(method, *arguments, **named)
            return True
        except (AssertionError, OSError):
            return False

    def connects(self, options=""):
        """A client that asks PEER for a connection."""
        return self.guest.spawn(f"rping -c -v -d -a {PEER} -C 1 {options}", input=None)

    def mads(self, attribute, complete=True):
        """Those of an attribute that have been sent since the last call."""
        found = [(to, bytes.fromhex(mad)) for to, mad in self.host("mads", complete)]
        return [(to, mad) for to, mad in found if fake_gsi.attribute(mad) == attribute]

    def wait_mad(self, attribute, complete=True):
        found = []

        def look():
            found.extend(self.mads(attribute, complete))
            return found

        self.wait(look, f"no MAD {attribute:#x}")
        return found[0]

    def put(self, mad):
        self.host("put_mad", PEER, ADDRESS, mad.hex())

    def recovers(self, sessions):
        """There is another session than these, and the MAD layer has taken it up."""
        self.wait(lambda: self.host("sessions") > sessions, "no new session")
        self.attached()
        self.wait(lambda: self.host("gsi_receives") == RECEIVES, "ib_mad is not back")
        self.check()


@drivertest
def mad_layer_opens_queue_pair_1(rig):
    bench = KernelBench(rig)
    context = bench.commands("ALLOC_CONTEXT")[0]
    assert context["flags"] == fake_gsi.CONTEXT_KERNEL, context
    made = bench.commands("CREATE_QP")[0]
    assert made["type"] == fake_gsi.GSI, made
    states = [each["state"] for each in bench.commands("MODIFY_QP") if each["handle"] == made["made"] and each["mask"] & 1]
    assert states == STATES, states
    assert bench.host("gsi_receives") == RECEIVES
    bench.said("connection manager only, no kernel consumers")
    bench.check()


@drivertest
def without_the_gsi_queue_pair_the_device_is_user_space_s_alone(rig):
    bench = KernelBench(rig, caps=0)
    assert not bench.commands("CREATE_QP")
    bench.said("no connection manager (rdma_cm), no kernel consumers")
    bench.check()
    assert bench.guest.run("ls /sys/class/infiniband_mad/umad0").rc != 0


@drivertest
def request_goes_out_and_its_rejection_comes_in(rig):
    bench = KernelBench(rig)
    bench.host("gsi_sleeps")
    client = bench.connects()
    to, request = bench.wait_mad(fake_gsi.REQ)
    assert to == f"::ffff:{PEER}", to
    assert bench.host("gsi_sleeps"), "the doorbell did not ring"
    assert bench.host("gsi_pending")
    bench.put(fake_gsi.rejection(request))
    result = client.wait(30)
    assert result.rc != 0 and "REJECTED" in result.out + result.err, result
    assert bench.host("gsi_receives") == RECEIVES


@drivertest
def request_that_comes_in_is_answered_to_where_it_came_from(rig):
    bench = KernelBench(rig)
    client = bench.connects()
    _, request = bench.wait_mad(fake_gsi.REQ)
    client.kill()
    server = bench.guest.spawn(f"rping -s -v -d -a {ADDRESS} -C 1", input=None)
    bench.wait(lambda: "LISTEN" in bench.guest.run("rdma resource show cm_id").out, "nobody listens")
    bench.put(fake_gsi.mirrored(request))
    to, answer = bench.wait_mad(fake_gsi.REP)
    assert to == f"::ffff:{PEER}", to
    assert struct.unpack_from(">I", answer, 28)[0] == 0x77
    server.kill()


@drivertest
def many_datagrams_go_around_the_rings(rig):
    bench = KernelBench(rig)
    client = bench.connects()
    _, request = bench.wait_mad(fake_gsi.REQ)
    stray = bytearray(fake_gsi.rejection(request))
    stray[28:32] = b"\xff\xff\xff\xff"          # of a connection that nobody knows
    for _ in range(3 * RECEIVES):
        bench.put(bytes(stray))
        if bench.host("gsi_receives") < 64:
            bench.wait(lambda: bench.host("gsi_receives") > 128, "receives are not posted again")
    bench.put(fake_gsi.rejection(request))
    assert client.wait(30).rc != 0
    bench.wait(lambda: bench.host("gsi_receives") == RECEIVES, "receives are missing")


@drivertest(timeout=300)
def device_goes_with_datagrams_that_never_complete(rig):
    bench = KernelBench(rig)

    for end in (lambda: bench.host("hang_up"), lambda: bench.host("fail", 6),
                lambda: bench.host("async_event", DEVICE_FATAL, 0)):
        client = bench.connects()
        bench.wait_mad(fake_gsi.REQ, complete=False)
        sessions = bench.host("sessions")
        end()
        bench.recovers(sessions)
        client.kill()


@drivertest(timeout=300)
def driver_goes_with_datagrams_that_never_complete(rig):
    bench = KernelBench(rig)
    guest = bench.guest
    for _ in range(2):
        client = bench.connects()
        bench.wait_mad(fake_gsi.REQ, complete=False)
        sessions = bench.host("sessions")
        guest.check("/sbin/rmmod pvhca", timeout=40)
        client.kill()
        guest.load_driver()
        bench.recovers(sessions)


@drivertest(timeout=300)
def command_that_times_out_takes_the_mad_layer_along(rig):
    bench = KernelBench(rig)
    bench.guest.check("echo 3000 >/sys/module/pvhca/parameters/admin_timeout_ms")
    bench.set(drop=["QUERY_QP"])
    client = bench.connects()
    bench.wait_mad(fake_gsi.REQ, complete=False)
    sessions = bench.host("sessions")
    bench.run()
    bench.behave()
    bench.recovers(sessions)
    client.kill()
    bench.guest.check("echo 60000 >/sys/module/pvhca/parameters/admin_timeout_ms")


@drivertest
def empty_list_is_posted_in_any_state(rig):
    bench = KernelBench(rig, GSI_CAP | QP_CAP)
    module = paths.kernel_module().parent / "tests" / "module" / "pvhca_test_verbs.ko"
    bench.guest.load_module(module)
    for fact in ("empty send 0", "empty receive 0", "send -22", "receive -22", "done"):
        bench.said(f"pvhca_test_verbs: {fact}")
    bench.guest.check("/sbin/rmmod pvhca_test_verbs")
