// SPDX-License-Identifier: GPL-2.0-or-later
/* One pass over the rings; the test is the worker, and its clock. */
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "suite.h"
#include "vm/cq_blocked.h"
#include "vm/pass.h"
#include "worker/private.h"
#include "worker/recent.h"
#include "worker/rig.h"

#define NOW    NS_PER_S
#define GUESTS 6 /* more than the contexts that are all looked at in each pass */

static struct worker *worker;
static struct guest *guest[GUESTS];
static unsigned int guests;
static unsigned int (*poll)(struct pass *pass, struct vm *vm); /* that of the rig */

static void start(unsigned int count)
{
	for (; guests < count; guests++)
		guest[guests] = guest_start(guests);
}

static void setup(void)
{
	rig_setup();
	worker = rig_worker();
	poll = rig.ops.vm_poll;
	rig.ops.vm_poll = NULL;
}

static void teardown(void)
{
	while (guests)
		guest_stop(guest[--guests]);
	rig_worker_free();
}

/* Of a fabric that takes receives as messages arrive. */
static void without_receives(void)
{
	rig.qp.serve_receives = NULL;
	rig.ops.srq_serve = NULL;
}

START_TEST(a_pass_without_work_serves_nothing)
{
	ck_assert_uint_eq(rig_pass(NOW), 0);
	start(2);
	guest_qp(guest[1], 3);
	ck_assert_uint_eq(rig_pass(NOW), 0);
	ck_assert_str_eq(rig.log, "");
}
END_TEST

START_TEST(all_receives_are_handed_over_before_any_send)
{
	start(2);
	guest_qp(guest[0], 0);
	guest_qp(guest[0], 4095);
	guest_qp(guest[1], 63);
	guest_qp(guest[1], 64);
	guest_announce(guest[0], 0);
	guest_announce(guest[0], 4095);
	guest_announce(guest[1], 63);
	guest_announce(guest[1], 64);
	ck_assert_uint_eq(rig_pass(NOW), 8);
	ck_assert_str_eq(rig.log, "R0.0 R0.4095 R1.63 R1.64 S0.0 S0.4095 S1.63 S1.64");
	ck_assert_uint_eq(rig_pass(NOW), 0);
}
END_TEST

START_TEST(only_what_is_announced_is_served)
{
	start(2);
	without_receives();
	for (uint32_t slot = 0; slot < 130; slot++)
		guest_qp(guest[1], slot);
	guest_announce(guest[1], 65);
	guest_announce(guest[1], 129);
	ck_assert_uint_eq(rig_pass(NOW), 2);
	ck_assert_str_eq(rig.log, "S1.65 S1.129");
}
END_TEST

START_TEST(what_both_sides_ask_for_is_served_once)
{
	start(1);
	without_receives();
	guest_qp(guest[0], 70);
	guest_qp(guest[0], 71);
	guest_announce(guest[0], 70);
	guest_announce(guest[0], 71);
	context_again(&guest[0]->context, 70);
	ck_assert_uint_eq(rig_pass(NOW), 2);
	ck_assert_str_eq(rig.log, "S0.70 S0.71");
	ck_assert_uint_eq(rig_pass(NOW), 0);
}
END_TEST

START_TEST(what_pvhcad_asks_for_again_is_served_without_the_guest)
{
	start(1);
	guest_qp(guest[0], 0);
	guest_qp(guest[0], 4000);
	context_again(&guest[0]->context, 0);
	context_again(&guest[0]->context, 4000);
	ck_assert_uint_eq(rig_pass(NOW), 4);
	ck_assert_str_eq(rig.log, "R0.0 R0.4000 S0.0 S0.4000");
	ck_assert_uint_eq(rig_pass(NOW), 0);
}
END_TEST

/* A QP that is served posts on one that was, and one that was not yet there. */
static void post_elsewhere(struct pass *pass, struct qp *qp)
{
	(void)pass;
	if (qp->slot != 5)
		return;
	guest_announce(guest[0], 1);
	guest_announce(guest[0], 9);
	context_again(&guest[0]->context, 5);
}

START_TEST(a_qp_announced_while_the_pass_runs_is_served_in_the_next)
{
	start(1);
	without_receives();
	guest_qp(guest[0], 1);
	guest_qp(guest[0], 5);
	guest_qp(guest[0], 9);
	guest_announce(guest[0], 1);
	guest_announce(guest[0], 5);
	rig.on_serve = post_elsewhere;
	ck_assert_uint_eq(rig_pass(NOW), 2);
	ck_assert_str_eq(rig.log, "S0.1 S0.5");
	rig.on_serve = NULL;
	/* It goes on behind the one that was served last. */
	ck_assert_uint_eq(rig_pass(NOW), 3);
	ck_assert_str_eq(rig.log, "S0.9 S0.1 S0.5");
	ck_assert_uint_eq(rig_pass(NOW), 0);
}
END_TEST

static struct qp *late;
static uint32_t late_seen;

/* While guest 0's receives are handed over, guest 1's process posts. */
static void post_late(struct pass *pass, struct qp *qp)
{
	(void)pass;
	if (qp->vm->id == 0)
		guest_post(guest[1], late);
}

static void note_seen(struct pass *pass, struct qp *qp)
{
	(void)pass;
	if (qp == late)
		late_seen = work_queue_seen(&qp->sq, work_queue_posted(&qp->sq));
}

/* Its receive goes out with this pass, so that a send after it is sure to find it. */
START_TEST(of_a_qp_announced_among_the_receives_only_receives_go_out)
{
	start(2);
	guest_qp(guest[0], 0);
	late = guest_qp(guest[1], 7);
	guest_announce(guest[0], 0);
	rig.on_receives = post_late;
	rig.on_serve = note_seen;
	late_seen = UINT32_MAX;
	rig_pass(NOW);
	ck_assert_str_eq(rig.log, "R0.0 R1.7 S0.0 S1.7");
	ck_assert_uint_eq(late_seen, 0);
	/* The fabric asks again for what it left there. */
	context_again(&guest[1]->context, 7);
	rig_pass(NOW);
	ck_assert_uint_eq(late_seen, 1);
}
END_TEST

START_TEST(a_slot_without_a_qp_is_passed_over)
{
	start(1);
	guest_qp(guest[0], 2);
	guest_announce(guest[0], 1);
	guest_announce(guest[0], 2);
	guest_announce(guest[0], 3);
	guest_announce(guest[0], 4095);
	context_again(&guest[0]->context, 4);
	ck_assert_uint_eq(rig_pass(NOW), 2);
	ck_assert_str_eq(rig.log, "R0.2 S0.2");
	ck_assert_uint_eq(rig_pass(NOW), 0);
}
END_TEST

START_TEST(a_guest_that_sets_all_bits_costs_one_look_at_each_slot)
{
	start(1);
	without_receives();
	guest_qp(guest[0], 100);
	memset(&guest[0]->page, 0xff, sizeof(guest[0]->page));
	ck_assert_uint_eq(rig_pass(NOW), 1);
	ck_assert_str_eq(rig.log, "S0.100");
	ck_assert_uint_eq(rig_pass(NOW), 0);
	/* A summary with nothing under it, likewise. */
	guest[0]->page.summary = UINT64_MAX;
	ck_assert_uint_eq(rig_pass(NOW), 0);
}
END_TEST

START_TEST(an_srq_is_served_once_and_with_the_receives)
{
	start(1);
	guest_qp(guest[0], 1);
	guest_srq(guest[0], 2);
	guest_qp(guest[0], 3);
	guest_announce(guest[0], 1);
	guest_announce(guest[0], 2);
	guest_announce(guest[0], 3);
	ck_assert_uint_eq(rig_pass(NOW), 5);
	ck_assert_str_eq(rig.log, "R0.1 Q0.2 R0.3 S0.1 S0.3");
	ck_assert_uint_eq(rig_pass(NOW), 0);
}
END_TEST

START_TEST(srqs_are_served_also_where_qps_have_no_receives)
{
	start(1);
	rig.qp.serve_receives = NULL;
	guest_qp(guest[0], 1);
	guest_srq(guest[0], 2);
	guest_announce(guest[0], 1);
	guest_announce(guest[0], 2);
	ck_assert_uint_eq(rig_pass(NOW), 2);
	ck_assert_str_eq(rig.log, "S0.1 Q0.2");
}
END_TEST

START_TEST(an_srq_of_a_fabric_that_takes_entries_itself_is_left_alone)
{
	start(1);
	rig.ops.srq_serve = NULL;
	guest_srq(guest[0], 2);
	guest_announce(guest[0], 2);
	ck_assert_uint_eq(rig_pass(NOW), 0);
	ck_assert_str_eq(rig.log, "");
}
END_TEST

static struct qp *timed_qp(uint32_t slot, uint64_t deadline)
{
	struct qp *qp = guest_qp(guest[0], slot);

	qp->deadline_ns = deadline;
	context_timed(&guest[0]->context, slot, deadline);
	return qp;
}

START_TEST(a_timed_qp_is_served_at_its_deadline_and_once)
{
	start(1);
	without_receives();
	timed_qp(10, NOW + 5);
	timed_qp(11, NOW + 3);
	timed_qp(4095, NOW + 3);
	ck_assert_uint_eq(rig_pass(NOW), 0);
	ck_assert_uint_eq(rig_pass(NOW + 2), 0);
	ck_assert_uint_eq(rig_pass(NOW + 3), 2);
	ck_assert_str_eq(rig.log, "S0.11 S0.4095");
	ck_assert_uint_eq(rig_pass(NOW + 4), 0);
	ck_assert_uint_eq(rig_pass(NOW + 6), 1);
	ck_assert_str_eq(rig.log, "S0.10");
	ck_assert_uint_eq(rig_pass(NOW + NS_PER_S), 0);
}
END_TEST

START_TEST(a_timed_slot_whose_qp_has_gone_is_forgotten)
{
	start(1);
	without_receives();
	context_timed(&guest[0]->context, 12, NOW);
	ck_assert_uint_eq(rig_pass(NOW), 0);
	guest_qp(guest[0], 12);
	ck_assert_uint_eq(rig_pass(NOW + NS_PER_S), 0);
}
END_TEST

START_TEST(a_timed_qp_that_is_announced_is_served_at_once_too)
{
	start(1);
	without_receives();
	timed_qp(10, NOW + 5);
	guest_announce(guest[0], 10);
	ck_assert_uint_eq(rig_pass(NOW), 1);
	ck_assert_uint_eq(rig_pass(NOW + 5), 1);
}
END_TEST

static struct cq cqs[3] = { { .handle = 100 }, { .handle = 101 }, { .handle = 102 } };

static void complete(struct pass *pass, struct qp *qp)
{
	pass_add_cq(pass, &cqs[qp->slot]);
}

START_TEST(events_are_raised_at_the_end_of_the_turn)
{
	start(2);
	without_receives();
	guest_qp(guest[0], 0);
	guest_qp(guest[1], 1);
	guest_announce(guest[0], 0);
	guest_announce(guest[1], 1);
	rig.on_serve = complete;
	rig_pass(NOW);
	ck_assert_str_eq(rig.log, "S0.0 N100 S1.1 N101");
	rig_pass(NOW);
	ck_assert_str_eq(rig.log, "");
}
END_TEST

START_TEST(completions_of_each_session_are_collected_in_each_pass)
{
	start(3);
	rig.ops.vm_poll = poll;
	without_receives();
	guest_qp(guest[1], 0);
	guest_announce(guest[1], 0);
	rig.poll_found = 4;
	ck_assert_uint_eq(rig_pass(NOW), 13);
	ck_assert_str_eq(rig.log, "S1.0 P0 P1 P2");
	rig.poll_found = 0;
	ck_assert_uint_eq(rig_pass(NOW), 0);
	ck_assert_str_eq(rig.log, "P0 P1 P2");
}
END_TEST

START_TEST(a_cq_that_is_held_back_is_tried_in_each_pass_until_there_is_room)
{
	start(1);
	cqs[2].vm = &guest[0]->vm;
	cq_blocked_add(&cqs[2]);
	rig_pass(NOW);
	ck_assert_str_eq(rig.log, "T102");
	rig_pass(NOW);
	ck_assert_str_eq(rig.log, "T102");
	rig.cq_has_room = true;
	rig_pass(NOW);
	ck_assert_str_eq(rig.log, "T102");
	rig_pass(NOW);
	ck_assert_str_eq(rig.log, "");
}
END_TEST

/* A CQ for each QP, and an event for each completion. */
static void complete_each(struct pass *pass, struct qp *qp)
{
	static struct cq each[PVHCA_SLOTS];

	pass_spend(pass, PASS_ENTRY_NS);
	pass_add_cq(pass, &each[qp->slot]);
	context_again(qp->context, qp->slot);
}

/* They were raised at the end of the pass, at nobody's cost: 256 of them, half a millisecond. */
START_TEST(events_that_a_vm_has_raised_are_of_its_turn)
{
	uint64_t served;

	start(2);
	without_receives();
	for (uint32_t slot = 0; slot < 1000; slot++) {
		guest_qp(guest[0], slot);
		guest_announce(guest[0], slot);
	}
	guest_qp(guest[1], 0);
	rig.on_serve = complete_each;
	rig.event_ns = PASS_EVENT_NS;
	rig.quiet = true;
	for (int i = 0; i < 100; i++) {
		rig.notified = 0;
		served = guest[0]->served;
		guest_announce(guest[1], 0);
		rig_pass(NOW + i * NS_PER_MS);
		ck_assert_uint_le(rig.notified, PASS_TURN_NS / PASS_EVENT_NS + PASS_CQS);
		ck_assert_uint_le(guest[0]->served - served,
				  PASS_TURN_NS / PASS_EVENT_NS + PASS_CQS);
		ck_assert_int_le(worker->spent, 2 * PASS_TURN_NS + PASS_CQS * PASS_EVENT_NS);
	}
	/* What it took too much it has less of afterwards: 10 us a pass, 1.25 us for each. */
	ck_assert_uint_le(guest[0]->served,
			  100 * PASS_TURN_NS / (PASS_ENTRY_NS + PASS_EVENT_NS) + 32);
	ck_assert_uint_ge(guest[1]->served, 90);
}
END_TEST

#define MANY 64
/* Whole ones in a pass. */
#define TURNS ((int)(PASS_NS / PASS_TURN_NS))

static struct guest *many[MANY];

/* VMs that have something to do. */
static void start_many(unsigned int count)
{
	without_receives();
	for (unsigned int i = 0; i < count; i++) {
		many[i] = guest_start(i % GUESTS);
		guest_qp(many[i], 0);
		guest_announce(many[i], 0);
	}
}

static void stop_many(void)
{
	for (unsigned int i = 0; i < MANY; i++)
		guest_stop(many[i]);
}

/* ----------------------------------- turns --------------------------------- */

static struct {
	unsigned int served[GUESTS];
	int64_t used[GUESTS], in_pass;
} had;

/* A request that takes as many us as the guest's number of the QP's slot tells, and has more to do. */
static void take_long(struct pass *pass, struct qp *qp)
{
	const int64_t ns = (qp->slot + 1) * NS_PER_US;
	int64_t before = pass->left;

	while (pass_goes_on(pass)) {
		pass_spend(pass, ns);
		had.served[qp->vm->id]++;
	}
	had.used[qp->vm->id] += before - pass->left;
	had.in_pass += before - pass->left;
	context_again(qp->context, qp->slot);
}

/* A whole turn, of any VM. */
static void take_long_of_many(struct pass *pass, struct qp *qp)
{
	pass_spend(pass, PASS_TURN_NS);
	context_again(qp->context, qp->slot);
}

static void be_busy(struct guest *who, uint32_t slot)
{
	guest_qp(who, slot);
	guest_announce(who, slot);
}

START_TEST(however_much_a_vm_has_to_do_its_turn_ends)
{
	start(2);
	without_receives();
	for (uint32_t slot = 0; slot < 4096; slot++)
		be_busy(guest[0], slot);
	be_busy(guest[1], 0);
	rig.on_serve = take_long;
	for (int i = 0; i < 100; i++) {
		memset(&had, 0, sizeof(had));
		rig_pass(NOW + i * NS_PER_MS);
		/* The last request of a turn may be longer than what is left of it. */
		ck_assert_int_le(had.used[0], PASS_TURN_NS + 4096 * (int64_t)NS_PER_US);
		ck_assert_uint_ge(had.served[1], 1);
	}
}
END_TEST

static uint32_t may_copy;

static void note_bytes(struct pass *pass, struct qp *qp)
{
	(void)qp;
	may_copy = pass->bytes;
}

/* A copy in one go is faster, but who comes second has not to wait for one. */
START_TEST(a_vm_alone_may_copy_more_at_a_time)
{
	static const uint32_t bytes[] = { 0, PASS_ALONE_BYTES, PASS_TURN_BYTES };

	start(_i);
	without_receives();
	be_busy(guest[0], 0);
	rig.on_serve = note_bytes;
	rig_pass(NOW);
	ck_assert_uint_eq(may_copy, bytes[_i]);
}
END_TEST

/* Over a while, though one has requests that take 30 times as long. */
START_TEST(vms_share_the_time_and_not_the_requests)
{
	start(2);
	without_receives();
	be_busy(guest[0], 59);
	be_busy(guest[1], 1);
	rig.on_serve = take_long;
	memset(&had, 0, sizeof(had));
	for (int i = 0; i < 1000; i++)
		rig_pass(NOW + i * NS_PER_MS);
	ck_assert_int_gt(had.used[0], had.used[1] * 9 / 10);
	ck_assert_int_lt(had.used[0], had.used[1] * 11 / 10);
}
END_TEST

START_TEST(a_pass_ends_and_the_next_goes_on_with_those_that_wait)
{
	start_many(MANY);
	rig.on_serve = take_long;
	memset(&had, 0, sizeof(had));
	for (int i = 0; i < 8; i++) {
		had.in_pass = 0;
		rig_pass(NOW + i * NS_PER_MS);
		ck_assert_int_ge(had.in_pass, PASS_NS - PASS_TURN_NS);
		ck_assert_int_le(had.in_pass, PASS_NS + PASS_TURN_NS);
	}
	/* 20 turns of 10 us a pass: each VM had two or three. */
	for (unsigned int i = 0; i < MANY; i++) {
		ck_assert_uint_ge(many[i]->served, 8 * TURNS / MANY);
		ck_assert_uint_le(many[i]->served, 8 * TURNS / MANY + 1);
	}
	stop_many();
}
END_TEST

/* Those that a pass did not come to had none, as each change began anew with the first. */
START_TEST(vms_that_come_and_go_change_nobodys_turn)
{
	struct guest *newcomer;
	int i;

	start_many(MANY);
	for (i = 0; i < MANY; i++)
		many[i]->vm.id = i;
	rig.quiet = true;
	rig.on_serve = take_long_of_many;
	for (i = 0; i < 64; i++) {
		rig_pass(NOW + i * NS_PER_MS);
		newcomer = guest_start(MANY);
		rig_pass(NOW + i * NS_PER_MS + NS_PER_US);
		guest_stop(newcomer);
	}
	/* 128 passes of 20 turns: 40 for each. */
	for (i = 0; i < MANY; i++) {
		ck_assert_uint_ge(many[i]->served, 128 * TURNS / MANY - 2);
		ck_assert_uint_le(many[i]->served, 128 * TURNS / MANY + 2);
	}
	stop_many();
}
END_TEST

/* Its place is that of who stood behind it. */
START_TEST(also_if_the_one_that_was_next_goes)
{
	int i;

	start_many(MANY);
	for (i = 0; i < MANY; i++)
		many[i]->vm.id = i;
	rig.quiet = true;
	rig.on_serve = take_long_of_many;
	rig_pass(NOW);
	guest_leave(many[TURNS]);
	rig_pass(NOW + NS_PER_MS);
	for (i = 0; i < MANY; i++)
		ck_assert_uint_eq(many[i]->served, i <= 2 * TURNS && i != TURNS);
	guest_free(many[TURNS]);
	many[TURNS] = guest_start(TURNS);
	stop_many();
}
END_TEST

static unsigned int polled[MANY];

static unsigned int poll_long(struct pass *pass, struct vm *vm)
{
	pass_spend(pass, PASS_TURN_NS);
	polled[vm->id]++;
	return 1;
}

START_TEST(vms_that_come_and_go_change_nothing_for_completions)
{
	struct guest *newcomer;
	int i;

	rig.ops.vm_poll = poll_long;
	start_many(MANY - 1);
	for (i = 0; i < MANY - 1; i++)
		many[i]->vm.id = i;
	rig.quiet = true;
	for (i = 0; i < 64; i++) {
		rig_pass(NOW + i * NS_PER_MS);
		newcomer = guest_start(MANY - 1);
		rig_pass(NOW + i * NS_PER_MS + NS_PER_US);
		guest_stop(newcomer);
	}
	for (i = 0; i < MANY - 1; i++)
		ck_assert_uint_ge(polled[i], 128 * TURNS / MANY * 3 / 4);
	many[MANY - 1] = guest_start(MANY - 1);
	stop_many();
}
END_TEST

START_TEST(within_a_vm_each_qp_has_its_turn)
{
	unsigned int served[64] = { 0 };
	const char *at;

	start(1);
	without_receives();
	for (uint32_t slot = 0; slot < 64; slot++)
		be_busy(guest[0], slot);
	rig.on_serve = take_long;
	for (int i = 0; i < 128; i++) {
		rig_pass(NOW + i * NS_PER_MS);
		for (at = rig.log; (at = strstr(at, "S0.")); at++)
			served[atoi(at + 3)]++;
	}
	for (unsigned int i = 1; i < 64; i++) {
		ck_assert_uint_ge(served[i] + 1, served[0]);
		ck_assert_uint_le(served[i], served[0] + 1);
	}
}
END_TEST

static uint64_t fake_now;

static uint64_t fake_clock(void)
{
	return fake_now;
}

/* Requests that are counted as 1 us and take 50. */
static void take_longer_than_it_seems(struct pass *pass, struct qp *qp)
{
	while (pass_goes_on(pass)) {
		pass_spend(pass, NS_PER_US);
		fake_now += 50 * NS_PER_US;
		had.served[qp->vm->id]++;
	}
	context_again(qp->context, qp->slot);
}

START_TEST(a_turn_that_takes_longer_than_it_seems_ends_by_the_clock)
{
	start(2);
	without_receives();
	be_busy(guest[0], 0);
	worker->pass.clock = fake_clock;
	rig.on_serve = take_longer_than_it_seems;
	memset(&had, 0, sizeof(had));
	fake_now = NOW;
	rig_pass(fake_now);
	ck_assert_uint_ge(had.served[0], 1);
	ck_assert_uint_le(had.served[0], PASS_CHECK_NS / NS_PER_US);
}
END_TEST

/* 4000 QPs whose timers run out all the time. */
START_TEST(timers_without_end_leave_others_their_turn)
{
	unsigned int passes = 0;
	struct qp *qp;

	start(2);
	without_receives();
	rig.quiet = true;
	for (uint32_t slot = 0; slot < 4000; slot++)
		timed_qp(slot, NOW);
	qp = guest_qp(guest[1], 0);
	while (guest[0]->served < 4000) {
		const uint64_t before = guest[0]->served, beside = guest[1]->served;

		guest_post(guest[1], qp);
		rig_pass(NOW + ++passes);
		ck_assert_uint_eq(guest[1]->served, beside + 1);
		ck_assert_uint_le(guest[0]->served - before, PASS_TURN_NS / PASS_VISIT_NS + 1);
		ck_assert_uint_lt(passes, 1000);
	}
	/* The bit of the last one, which was only watched. */
	ck_assert_uint_le(rig_pass(NOW + NS_PER_S), 1);
	ck_assert_uint_eq(rig_pass(NOW + NS_PER_S), 0);
}
END_TEST

/* What was not looked at in one pass is in another, whatever is added meanwhile. */
START_TEST(no_timer_is_lost_among_many)
{
	start(1);
	without_receives();
	rig.quiet = true;
	for (uint32_t slot = 0; slot < 4096; slot += 2)
		timed_qp(slot, NOW + slot);
	for (unsigned int i = 0; i < 4096; i++) {
		rig_pass(NOW + i);
		if (i % 2 && i < 2048)
			timed_qp(i, NOW + 4096 + i);
	}
	for (unsigned int i = 0; i < 400; i++)
		rig_pass(NOW + NS_PER_S);
	ck_assert_uint_eq(guest[0]->served, 2048 + 1024);
	ck_assert_uint_eq(guest[0]->context.timed_due_ns, UINT64_MAX);
}
END_TEST

/* A command may hold a QP for long. */
START_TEST(a_qp_that_a_command_holds_is_served_later_and_holds_nobody_up)
{
	struct qp *held;

	start(2);
	held = guest_qp(guest[0], 0);
	guest_qp(guest[1], 0);
	guest_announce(guest[0], 0);
	guest_announce(guest[1], 0);
	pthread_mutex_lock(&held->lock);
	rig_pass(NOW);
	ck_assert_str_eq(rig.log, "R1.0 S1.0");
	pthread_mutex_unlock(&held->lock);
	rig_pass(NOW);
	ck_assert_str_eq(rig.log, "R0.0 S0.0");
}
END_TEST

/* So many QPs that their receives take several turns. */
static void receives_take_long(struct pass *pass, struct qp *qp)
{
	(void)qp;
	pass_spend(pass, NS_PER_US);
}

START_TEST(sends_wait_until_all_receives_before_them_are_handed_over)
{
	unsigned int passes = 0;

	start(2);
	for (uint32_t slot = 0; slot < 100; slot++)
		be_busy(guest[0], slot);
	guest_qp(guest[1], 0);
	rig.on_receives = receives_take_long;
	do {
		guest_announce(guest[1], 0);
		rig_pass(NOW + passes++);
		/* The neighbour goes on meanwhile. */
		ck_assert_ptr_nonnull(strstr(rig.log, "S1.0"));
		/* The sends come behind the last of the receives. */
		ck_assert(!strstr(rig.log, "S0.") || strstr(rig.log, "R0.99"));
		ck_assert_uint_lt(passes, 100);
	} while (!strstr(rig.log, "S0."));
	ck_assert_uint_gt(passes, 5);
}
END_TEST

/* --------------------------------- idle ones ------------------------------- */

/* Passes, a microsecond apart, until this guest is served; the clock goes on. */
static unsigned int passes_until_served(uint64_t *now, struct guest *who)
{
	const uint64_t before = who->served;
	unsigned int passes = 0;

	guest_post(who, context_qp(&who->context, 0));
	while (who->served == before) {
		rig_pass(*now += NS_PER_US);
		ck_assert_uint_lt(++passes, 1000);
	}
	return passes;
}

static void start_with_qps(unsigned int count)
{
	start(count);
	for (unsigned int i = 0; i < count; i++)
		guest_qp(guest[i], 0);
}

START_TEST(of_many_contexts_idle_ones_are_looked_at_less_often_but_not_never)
{
	uint64_t now = NOW;

	start_with_qps(GUESTS);
	without_receives();
	rig_pass(now);
	for (unsigned int i = 0; i < GUESTS; i++) {
		unsigned int passes = passes_until_served(&now, guest[i]);

		ck_assert_uint_gt(passes, 2);
		ck_assert_uint_lt(passes, 100);
	}
}
END_TEST

START_TEST(of_many_contexts_busy_ones_are_looked_at_in_each_pass)
{
	uint64_t now = NOW;

	start_with_qps(GUESTS);
	without_receives();
	rig_pass(now);
	passes_until_served(&now, guest[2]);
	for (int i = 0; i < 500; i++)
		ck_assert_uint_eq(passes_until_served(&now, guest[2]), 1);
	/* Who has had nothing for long is idle. */
	for (int i = 0; i < 2005; i++)
		rig_pass(now += NS_PER_US);
	ck_assert_uint_gt(passes_until_served(&now, guest[2]), 2);
}
END_TEST

static unsigned int served_of_many(void)
{
	unsigned int served = 0;

	for (unsigned int i = 0; i < MANY; i++)
		served += many[i]->served;
	return served;
}

/* A look at 1000 of them took longer than the time between two looks. */
START_TEST(of_many_vms_some_idle_ones_are_looked_at_at_a_time)
{
	unsigned int i, served, before;
	uint64_t now = NOW;

	start_many(MANY);
	/* The first time all of them are; then nobody has anything for long. */
	for (i = 0; i < 2005; i++)
		rig_pass(now += NS_PER_US);
	before = served_of_many();
	ck_assert_uint_eq(before, MANY);
	for (i = 0; i < MANY; i++)
		guest_announce(many[i], 0);
	for (i = 0; before < 2 * MANY; i++, before = served) {
		ck_assert_uint_lt(i, MANY);
		/* Between two looks nobody else is. */
		rig_pass(now += NS_PER_US);
		rig_pass(now += 20 * NS_PER_US);
		served = served_of_many();
		ck_assert_uint_gt(served, before);
		ck_assert_uint_le(served, before + 16);
	}
	stop_many();
}
END_TEST

START_TEST(few_contexts_are_all_looked_at_in_each_pass)
{
	uint64_t now = NOW;

	start_with_qps(4);
	without_receives();
	rig_pass(now);
	for (int i = 0; i < 50; i++)
		ck_assert_uint_eq(passes_until_served(&now, guest[i % 4]), 1);
}
END_TEST

/* One that seems idle may have posted the receive for a send of this pass. */
START_TEST(where_receives_are_handed_over_no_context_is_passed_over)
{
	uint64_t now = NOW;

	start_with_qps(GUESTS);
	rig_pass(now);
	for (int i = 0; i < 50; i++)
		ck_assert_uint_eq(passes_until_served(&now, guest[i % GUESTS]), 1);
}
END_TEST

/* ------------------------- the QP that was served last --------------------- */

static bool are_bits_set(void)
{
	return guest[0]->page.summary;
}

/* Served at NOW, and its bits are taken. */
static struct qp *start_recent(void)
{
	struct qp *qp;

	start(1);
	without_receives();
	qp = guest_qp(guest[0], 70);
	guest_qp(guest[0], 71);
	guest_post(guest[0], qp);
	ck_assert_uint_eq(rig_pass(NOW), 1);
	ck_assert(!are_bits_set());
	return qp;
}

START_TEST(where_work_came_last_the_index_is_looked_at)
{
	struct qp *qp = start_recent();

	/* Before its bit is to be seen. */
	atomic_fetch_add(qp->sq.pi, 1);
	ck_assert_uint_eq(rig_pass(NOW + 1), 1);
	ck_assert_str_eq(rig.log, "S0.70");
	ck_assert_uint_eq(rig_pass(NOW + 2), 0);
	guest_announce(guest[0], 70);
	ck_assert_uint_eq(rig_pass(NOW + 3), 0);
	ck_assert(are_bits_set());
}
END_TEST

START_TEST(bits_that_were_left_alone_are_taken_when_nothing_new_comes)
{
	struct qp *qp = start_recent();
	uint64_t now = NOW;

	for (int i = 0; i < 100; i++) {
		guest_post(guest[0], qp);
		ck_assert_uint_eq(rig_pass(now += RECENT_NS / 2), 1);
		ck_assert(are_bits_set());
	}
	rig_pass(now += RECENT_NS / 2);
	ck_assert(are_bits_set());
	/* What they say is looked at once more. */
	ck_assert_uint_eq(rig_pass(now += RECENT_NS), 1);
	ck_assert(!are_bits_set());
	ck_assert(!guest[0]->context.watched || !rig_pass(now += RECENT_NS));
}
END_TEST

START_TEST(bits_are_taken_at_once_when_another_is_set)
{
	struct qp *qp = start_recent();

	guest_post(guest[0], qp);
	guest_announce(guest[0], 71);
	ck_assert_uint_eq(rig_pass(NOW + 1), 2);
	ck_assert(!are_bits_set());
	/* Of another word, too. */
	guest_qp(guest[0], 200);
	guest_announce(guest[0], 71);
	guest_announce(guest[0], 200);
	ck_assert_uint_eq(rig_pass(NOW + 2), 2);
	ck_assert(!are_bits_set());
}
END_TEST

START_TEST(bits_are_taken_at_once_when_a_command_waits)
{
	struct qp *qp = start_recent();

	guest_post(guest[0], qp);
	rig_pass(NOW + 1);
	ck_assert(are_bits_set());
	atomic_fetch_add(&guest[0]->context.settling, 1);
	rig_pass(NOW + 2);
	ck_assert(!are_bits_set());
}
END_TEST

START_TEST(a_qp_that_has_gone_is_not_looked_at)
{
	struct qp *qp = start_recent();

	context_set_qp(&guest[0]->context, qp->slot, NULL);
	ck_assert_uint_eq(rig_pass(NOW + 1), 0);
	guest_announce(guest[0], 71);
	ck_assert_uint_eq(rig_pass(NOW + 2), 1);
	context_set_qp(&guest[0]->context, qp->slot, qp);
}
END_TEST

START_TEST(where_receives_are_handed_over_only_bits_count)
{
	struct qp *qp;

	start(1);
	qp = guest_qp(guest[0], 70);
	guest_post(guest[0], qp);
	rig_pass(NOW);
	atomic_fetch_add(qp->sq.pi, 1);
	ck_assert_uint_eq(rig_pass(NOW + 1), 0);
	guest_announce(guest[0], 70);
	ck_assert_uint_ne(rig_pass(NOW + 2), 0);
	ck_assert(!are_bits_set());
}
END_TEST

/* --------------------------------- settling -------------------------------- */

/* As a process that posts on and on: whenever it is looked at there is something. */
START_TEST(settling_does_not_wait_for_ever)
{
	start(1);
	if (_i)
		context_again(&guest[0]->context, 7);
	else
		guest_announce(guest[0], 7);
	worker_settle(&guest[0]->context);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("pass");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_pass_without_work_serves_nothing);
	tcase_add_test(tc, all_receives_are_handed_over_before_any_send);
	tcase_add_test(tc, only_what_is_announced_is_served);
	tcase_add_test(tc, what_both_sides_ask_for_is_served_once);
	tcase_add_test(tc, what_pvhcad_asks_for_again_is_served_without_the_guest);
	tcase_add_test(tc, a_qp_announced_while_the_pass_runs_is_served_in_the_next);
	tcase_add_test(tc, of_a_qp_announced_among_the_receives_only_receives_go_out);
	tcase_add_test(tc, a_slot_without_a_qp_is_passed_over);
	tcase_add_test(tc, where_work_came_last_the_index_is_looked_at);
	tcase_add_test(tc, bits_that_were_left_alone_are_taken_when_nothing_new_comes);
	tcase_add_test(tc, bits_are_taken_at_once_when_another_is_set);
	tcase_add_test(tc, bits_are_taken_at_once_when_a_command_waits);
	tcase_add_test(tc, a_qp_that_has_gone_is_not_looked_at);
	tcase_add_test(tc, where_receives_are_handed_over_only_bits_count);
	tcase_add_test(tc, a_guest_that_sets_all_bits_costs_one_look_at_each_slot);
	tcase_add_test(tc, an_srq_is_served_once_and_with_the_receives);
	tcase_add_test(tc, srqs_are_served_also_where_qps_have_no_receives);
	tcase_add_test(tc, an_srq_of_a_fabric_that_takes_entries_itself_is_left_alone);
	tcase_add_test(tc, a_timed_qp_is_served_at_its_deadline_and_once);
	tcase_add_test(tc, a_timed_slot_whose_qp_has_gone_is_forgotten);
	tcase_add_test(tc, a_timed_qp_that_is_announced_is_served_at_once_too);
	tcase_add_test(tc, events_are_raised_at_the_end_of_the_turn);
	tcase_add_test(tc, events_that_a_vm_has_raised_are_of_its_turn);
	tcase_add_test(tc, completions_of_each_session_are_collected_in_each_pass);
	tcase_add_test(tc, a_cq_that_is_held_back_is_tried_in_each_pass_until_there_is_room);
	tcase_add_test(tc, however_much_a_vm_has_to_do_its_turn_ends);
	tcase_add_loop_test(tc, a_vm_alone_may_copy_more_at_a_time, 1, 3);
	tcase_add_test(tc, vms_share_the_time_and_not_the_requests);
	tcase_add_test(tc, a_pass_ends_and_the_next_goes_on_with_those_that_wait);
	tcase_add_test(tc, vms_that_come_and_go_change_nobodys_turn);
	tcase_add_test(tc, also_if_the_one_that_was_next_goes);
	tcase_add_test(tc, vms_that_come_and_go_change_nothing_for_completions);
	tcase_add_test(tc, within_a_vm_each_qp_has_its_turn);
	tcase_add_test(tc, a_turn_that_takes_longer_than_it_seems_ends_by_the_clock);
	tcase_add_test(tc, timers_without_end_leave_others_their_turn);
	tcase_add_test(tc, no_timer_is_lost_among_many);
	tcase_add_test(tc, a_qp_that_a_command_holds_is_served_later_and_holds_nobody_up);
	tcase_add_test(tc, sends_wait_until_all_receives_before_them_are_handed_over);
	tcase_add_test(tc, of_many_contexts_idle_ones_are_looked_at_less_often_but_not_never);
	tcase_add_test(tc, of_many_contexts_busy_ones_are_looked_at_in_each_pass);
	tcase_add_test(tc, of_many_vms_some_idle_ones_are_looked_at_at_a_time);
	tcase_add_test(tc, few_contexts_are_all_looked_at_in_each_pass);
	tcase_add_test(tc, where_receives_are_handed_over_no_context_is_passed_over);
	tcase_add_loop_test(tc, settling_does_not_wait_for_ever, 0, 2);
	return suite_run("worker pass", tc);
}
