# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands of one VM side by side: what a slow engine holds up, and what it does not."""
import os
import time
import unittest

from case import DaemonCase
from gate import Gate
from pvhca import *

# As in hostd/admin/pool.h and jobs.h.
POOL_THREADS, POOL_THREADS_VM, JOBS_MAX = 64, 8, 64

IDLE, INIT = 0, 1
QUERY_STATE = 1     # IBV_QP_STATE
ADDRESS = v4(10, 0, 0, 1)
OTHER_ADDRESS = v4(10, 0, 0, 2)


def modify_payload(qp, state=INIT, mask=0x39):
    attr = struct.pack("<BBBBIIIIIHHBBBBBBBBBBBBI20s32s32s", state, 0, 0, 0, 0, 0, 0, 0, 0xF, 0, 0,
                       0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, bytes(20), bytes(32), bytes(32))
    return struct.pack("<II", qp, mask) + attr


def handle_payload(handle):
    return struct.pack("<II", handle, 0)


class SideBySide(DaemonCase):
    @classmethod
    def setUpClass(cls):
        cls.gate = Gate()
        cls.options = ("--fabric", "null", "--null-gate", cls.gate.path)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.gate.close()

    def setUp(self):
        super().setUp()
        self.addCleanup(self.gate.open)
        self.guest = self.new_guest()
        self.guest.ok(ADD_GID, gid_payload(ADDRESS))
        self.q = self.guest.rc_qp()

    def new_guest(self, **kwargs):
        guest = Guest(self.daemon, log_sq=7, log_cq=7, **kwargs)
        self.addCleanup(guest.close)
        return guest

    def post(self, opcode, payload=b""):
        cookie = self.guest.post(opcode, payload)
        self.guest.publish()
        return cookie

    def answers(self, cookies):
        """Statuses of all of these commands, which have answers in any order."""
        got = {}
        while set(got) != set(cookies):
            cookie, status, _ = self.guest.complete()
            got[cookie] = status
        return [got[cookie] for cookie in cookies]

    def mr_payload(self, guest=None, q=None):
        guest, q = guest or self.guest, q or self.q
        return mr_payload(q.pd, [(q.data, GRANULE)], GRANULE)

    def expect_all_else_goes_on(self):
        """Commands of each kind on other objects; each is answered while the first waits."""
        guest, q = self.guest, self.guest.rc_qp()
        guest.ok(NOP)
        guest.ok(QUERY_DEVICE)
        guest.ok(QUERY_PORT, struct.pack("<II", 1, 0))
        guest.ok(QUERY_QP, struct.pack("<II", q.handle, QUERY_STATE))
        cq = guest.new_cq(q.context, guest.ceq())
        self.assertEqual(guest.destroy(DESTROY_CQ, cq), ST_OK)
        pd = guest.pd(q.context)
        self.assertEqual(guest.destroy(DEALLOC_PD, pd), ST_OK)

    # ------------------------------------------------------ nothing else waits

    def slow(self, name, opcode, payload):
        self.gate.close_for(name)
        cookie = self.post(opcode, payload)
        self.gate.wait_for(name)
        with self.gate.lock:
            self.gate.shut.clear()      # the others pass
        self.expect_all_else_goes_on()
        self.gate.let_go()
        self.assertEqual(self.guest.complete()[:2], (cookie, ST_OK))

    def test_a_slow_registration_holds_up_nothing(self):
        self.slow("mr_reg", REG_MR, self.mr_payload())

    def test_a_slow_end_of_a_region_holds_up_nothing(self):
        self.slow("mr_dereg", DEREG_MR, handle_payload(self.q.mr))

    def test_a_slow_address_handle_holds_up_nothing(self):
        self.slow("ah_create", CREATE_AH, ah_payload(self.q.pd, OTHER_ADDRESS))

    def test_a_slow_change_of_a_queue_pair_holds_up_nothing(self):
        self.slow("qp_modify", MODIFY_QP, modify_payload(self.q.handle))

    def test_a_slow_queue_pair_holds_up_nothing(self):
        ring = self.guest.alloc(2 * GRANULE)
        self.slow("qp_create", CREATE_QP, qp_payload(self.q.context, self.q.pd, self.q.cq, self.q.cq,
                                                     [(ring, 2 * GRANULE)]))

    def test_a_slow_end_of_a_queue_pair_holds_up_nothing(self):
        self.slow("qp_destroy", DESTROY_QP, handle_payload(self.q.handle))

    def test_a_slow_address_holds_up_nothing(self):
        self.slow("gid_add", ADD_GID, gid_payload(OTHER_ADDRESS, index=1))

    def test_data_of_other_queue_pairs_flows_while_one_is_changed(self):
        """A worker does not wait for a queue pair that a command has."""
        other = self.guest.rc_qp()
        self.guest.connect(other, other.qpn, ADDRESS)
        self.gate.close_for("qp_modify")
        cookie = self.post(MODIFY_QP, modify_payload(self.q.handle))
        self.gate.wait_for("qp_modify")
        for _ in range(8):
            self.guest.post_send(self.q, sq_wqe(0, [sge(0x10000, 8, self.q.lkey)]))
            self.guest.post_send(other, sq_wqe(0, [sge(0x10000, 8, other.lkey)]))
            self.assertEqual(self.guest.poll_cq(other)[3], 0)
        self.gate.open()
        self.assertEqual(self.guest.complete()[:2], (cookie, ST_OK))

    def test_what_was_posted_meanwhile_is_served_when_a_change_has_ended(self):
        self.guest.connect(self.q, self.q.qpn, ADDRESS)
        self.gate.close_for("qp_modify")
        cookie = self.post(MODIFY_QP, modify_payload(self.q.handle, 3, 1))
        self.gate.wait_for("qp_modify")
        self.guest.post_send(self.q, sq_wqe(0, [sge(0x10000, 8, self.q.lkey)]))
        self.gate.open()
        self.assertEqual(self.guest.complete()[:2], (cookie, ST_OK))
        self.assertEqual(self.guest.poll_cq(self.q)[3], 0)

    # ------------------------------------------------------ order

    def test_commands_on_one_object_keep_their_order(self):
        self.gate.close_for("qp_modify")
        cookies = [self.post(MODIFY_QP, modify_payload(self.q.handle)),
                   self.post(QUERY_QP, struct.pack("<II", self.q.handle, QUERY_STATE)),
                   self.post(DESTROY_QP, handle_payload(self.q.handle)),
                   self.post(MODIFY_QP, modify_payload(self.q.handle))]
        self.gate.wait_for("qp_modify")
        self.guest.ok(NOP)      # the only one that has an answer
        self.gate.open()
        answers = [self.guest.complete() for _ in cookies]
        self.assertEqual([cookie for cookie, _, _ in answers], cookies)
        self.assertEqual([status for _, status, _ in answers],
                         [ST_OK, ST_OK, ST_OK, ST_INVALID])
        self.assertEqual(answers[1][2][0], INIT)

    def test_what_an_object_is_made_of_ends_after_it(self):
        """Each one names what the one before hangs on: none is found busy."""
        self.gate.close_for("qp_destroy", "mr_dereg")
        cookies = [self.post(DESTROY_QP, handle_payload(self.q.handle)),
                   self.post(DESTROY_CQ, handle_payload(self.q.cq)),
                   self.post(DEREG_MR, handle_payload(self.q.mr)),
                   self.post(DEALLOC_PD, handle_payload(self.q.pd)),
                   self.post(DEALLOC_CONTEXT, handle_payload(self.q.context))]
        self.gate.wait_for("qp_destroy")
        self.gate.wait_for("mr_dereg")
        self.guest.ok(NOP)
        self.gate.open()
        self.assertEqual(self.answers(cookies), [ST_OK] * len(cookies))

    def test_what_is_made_of_an_object_comes_before_its_end(self):
        self.gate.close_for("mr_reg")
        cookies = [self.post(REG_MR, self.mr_payload()),
                   self.post(DEALLOC_PD, handle_payload(self.q.pd)),
                   self.post(REG_MR, self.mr_payload())]
        self.gate.wait_for("mr_reg")
        self.guest.ok(NOP)
        # The third does not overtake the second, which has the region's name first.
        self.assertEqual(self.gate.waiting(), 1)
        self.gate.open()
        self.assertEqual(self.answers(cookies), [ST_OK, ST_BUSY, ST_OK])

    def test_an_object_that_is_being_made_is_not_found(self):
        """Handles can be guessed: an index, and a generation above."""
        mr = self.guest.create(REG_MR, self.mr_payload())
        self.assertEqual(self.guest.destroy(DEREG_MR, mr), ST_OK)
        self.gate.close_for("mr_reg")
        cookie = self.post(REG_MR, self.mr_payload())
        self.gate.wait_for("mr_reg")
        guess = mr + (1 << 20)
        self.assertEqual(self.guest.destroy(DEREG_MR, guess), ST_INVALID)
        self.gate.open()
        got, status, rsp = self.guest.complete()
        self.assertEqual((got, status, struct.unpack_from("<I", rsp)[0]), (cookie, ST_OK, guess))

    def test_a_driver_that_does_not_ask_for_it_has_all_in_order(self):
        guest = self.guest = self.new_guest(driver_features=0)
        self.assertEqual(guest.features(), 0)
        pd = guest.pd(guest.context())
        self.gate.close_for("mr_reg")
        data = guest.alloc(GRANULE)
        cookies = [self.post(REG_MR, mr_payload(pd, [(data, GRANULE)], GRANULE)), self.post(NOP)]
        self.gate.wait_for("mr_reg")
        time.sleep(0.05)
        self.assertIsNone(guest.poll())
        self.gate.open()
        self.assertEqual([guest.complete()[0] for _ in cookies], cookies)

    def test_features_that_are_unknown_are_not_accepted(self):
        guest = self.new_guest(driver_features=(1 << 64) - 1 - FEATURE_VLAN)
        self.assertEqual(guest.features(), UNORDERED | FEATURE_NET | FEATURE_NET_TSO)

    # ------------------------------------------------------ bounds

    def threads(self):
        names = []
        for task in os.listdir("/proc/%d/task" % self.daemon.process.pid):
            try:
                with open("/proc/%d/task/%s/comm" % (self.daemon.process.pid, task)) as f:
                    names.append(f.read().strip())
            except (FileNotFoundError, ProcessLookupError):
                pass        # it has just ended
        return names.count("command")

    def test_a_vm_has_so_many_threads_and_no_more(self):
        self.gate.close_for("mr_reg")
        cookies = [self.post(REG_MR, self.mr_payload()) for _ in range(60)]
        self.gate.wait_for("mr_reg", POOL_THREADS_VM)
        self.guest.ok(NOP)
        self.assertEqual(self.gate.waiting(), POOL_THREADS_VM)
        self.assertLessEqual(self.threads(), POOL_THREADS_VM + 1)
        self.gate.open()
        self.assertEqual(self.answers(cookies), [ST_OK] * 60)

    def test_many_vms_leave_threads_to_others_and_none_is_left_without(self):
        self.gate.close_for("mr_reg")
        guests = []
        for _ in range(POOL_THREADS + 4):
            guest = self.new_guest()
            q = types.SimpleNamespace(pd=guest.pd(guest.context()), data=guest.alloc(GRANULE))
            for _ in range(16):
                guest.post(REG_MR, self.mr_payload(guest, q))
            before = self.gate.waiting()
            guest.publish()
            # It has at least one, its own if no other: each VM's commands go on.
            wait_for(lambda: self.gate.waiting() > before, "a call of the newest VM")
            guests.append(guest)
        self.assertLessEqual(self.threads(), POOL_THREADS)
        self.gate.open()
        for guest in guests:
            for _ in range(16):
                self.assertEqual(guest.complete()[1], ST_OK)

    def test_more_commands_than_may_be_under_way_wait_in_the_queue(self):
        self.gate.close_for("qp_modify")
        cookies = []
        for _ in range(JOBS_MAX + 32):
            cookies.append(self.guest.post(MODIFY_QP, modify_payload(self.q.handle)))
        self.guest.publish()
        self.gate.wait_for("qp_modify")
        self.gate.open()
        self.assertEqual([self.guest.complete()[0] for _ in cookies], cookies)

    def test_room_for_completions_is_kept_for_what_is_under_way(self):
        guest = self.guest = Guest(self.daemon, log_sq=3, log_cq=3)
        self.addCleanup(guest.close)
        pd, data = guest.pd(guest.context()), guest.alloc(GRANULE)
        self.gate.close_for("mr_reg")
        slow = self.post(REG_MR, mr_payload(pd, [(data, GRANULE)], GRANULE))
        self.gate.wait_for("mr_reg")
        quick = [guest.post(NOP) for _ in range(7)]
        guest.publish()
        guest.qemu.wait_event(VECTOR, 1)
        more = [guest.post(NOP) for _ in range(1)]
        guest.publish()
        time.sleep(0.02)
        self.gate.open()
        self.assertEqual(sorted(guest.complete()[0] for _ in range(9)),
                         sorted([slow] + quick + more))

    def test_threads_that_have_nothing_to_do_end(self):
        self.gate.close_for("mr_reg")
        cookies = [self.post(REG_MR, self.mr_payload()) for _ in range(4)]
        self.gate.wait_for("mr_reg", 4)
        self.gate.open()
        self.answers(cookies)
        wait_for(lambda: self.threads() == 0, "threads to end")

    # ------------------------------------------------------ the end

    def begin(self):
        """Commands under way, and one that waits for them."""
        self.gate.close_for("mr_reg", "qp_modify", "ah_create")
        self.post(REG_MR, self.mr_payload())
        self.post(MODIFY_QP, modify_payload(self.q.handle))
        self.post(CREATE_AH, ah_payload(self.q.pd, OTHER_ADDRESS))
        self.post(DESTROY_QP, handle_payload(self.q.handle))
        for name in ("mr_reg", "qp_modify", "ah_create"):
            self.gate.wait_for(name)

    def test_reset_waits_for_commands_under_way_and_leaves_nothing(self):
        self.begin()
        self.guest.qemu.ident += 1
        self.guest.qemu.send(reset(self.guest.qemu.ident))
        # Others are served meanwhile.
        self.new_guest().ok(NOP)
        self.gate.let_go("mr_reg")
        self.gate.let_go("ah_create")
        poll = select.poll()
        poll.register(self.guest.qemu.s, select.POLLIN)
        self.assertEqual(poll.poll(50), [])     # one is left
        self.gate.open()
        self.assertEqual(self.guest.qemu.reply(RESET_REPLY), 0)
        # What waited for others was not begun.
        totals = self.daemon.totals()
        self.assertEqual([totals[name] for name in ("qps", "mrs", "ahs", "pds", "contexts")], [0] * 5)
        self.guest.prepare()
        self.assertEqual(self.guest.qemu.enable(self.guest.area), 0)
        self.guest.world()

    def test_a_reset_that_waits_says_for_what(self):
        self.begin()
        self.guest.qemu.ident += 1
        self.guest.qemu.send(reset(self.guest.qemu.ident))
        wait_for(lambda: "for MODIFY_QP" in self.daemon.log(), "a message")
        self.assertNotIn("for DESTROY_QP", self.daemon.log())
        self.gate.open()
        self.assertEqual(self.guest.qemu.reply(RESET_REPLY), 0)

    def test_a_vm_that_goes_leaves_nothing(self):
        self.begin()
        self.guest.qemu.s.close()
        self.new_guest().ok(NOP)
        self.gate.open()
        self.wait_idle_but(1)

    def wait_idle_but(self, sessions):
        wait_for(lambda: self.daemon.totals()["sessions"] == sessions, "the session to end")

    def test_a_broken_guest_is_stopped_with_commands_under_way(self):
        self.begin()
        self.guest.write(self.guest.area + AREA_SQ_PI, struct.pack("<I", self.guest.sq_pi + 1000))
        self.guest.qemu.ring()
        self.new_guest().ok(NOP)
        self.gate.open()
        self.assertEqual(self.guest.qemu.reply(FATAL), DEV_ERR_GUEST)
        self.assertEqual(self.guest.qemu.reset(), 0)

    def test_the_daemon_ends_when_commands_do(self):
        daemon = Daemon(*self.options)
        self.addCleanup(daemon.clean_up)
        guest = Guest(daemon)
        self.addCleanup(guest.close)
        pd, data = guest.pd(guest.context()), guest.alloc(GRANULE)
        self.gate.close_for("mr_reg")
        guest.post(REG_MR, mr_payload(pd, [(data, GRANULE)], GRANULE))
        guest.publish()
        self.gate.wait_for("mr_reg")
        daemon.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        self.assertTrue(daemon.alive())
        self.gate.open()
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main()
