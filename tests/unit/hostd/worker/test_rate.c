// SPDX-License-Identifier: GPL-2.0-or-later
/* Rates and shares of VMs: the test is the clock. */
#include <string.h>

#include "lib/clock.h"
#include "suite.h"
#include "vm/pass.h"
#include "worker/private.h"
#include "worker/rig.h"

#define NOW    NS_PER_S
#define GUESTS 3

static struct worker *worker;
static struct guest *guest[GUESTS];
static unsigned int guests;
static uint64_t bytes[GUESTS], messages[GUESTS], size;

/* As a fabric does it that gives whole requests to an engine. */
static void send(struct pass *pass, struct qp *qp)
{
	while (pass_goes_on(pass) && pass_may_send(pass)) {
		pass_spend(pass, PASS_ENTRY_NS);
		pass_rate_messages(pass, 1);
		pass_rate_bytes(pass, size);
		messages[qp->vm->id]++;
		bytes[qp->vm->id] += size;
	}
	context_again(qp->context, qp->slot);
}

static void setup(void)
{
	rig_setup();
	rig.ops.vm_poll = NULL;
	rig.ops.srq_serve = NULL;
	rig.qp.serve_receives = NULL;
	rig.quiet = true;
	rig.on_serve = send;
	worker = rig_worker();
	size = 1000;
	for (; guests < GUESTS; guests++) {
		guest[guests] = guest_start(guests);
		guest_qp(guest[guests], 0);
	}
}

static void teardown(void)
{
	while (guests)
		guest_stop(guest[--guests]);
	rig_worker_free();
}

static void limit(unsigned int i, struct quota quota)
{
	if (!quota.share)
		quota.share = 100;
	vm_set_schedule(&guest[i]->vm, &quota);
	guest_announce(guest[i], 0);
}

/* Passes for so long, a step apart: at once when there is work, else a step later. */
static void run(uint64_t ns, uint64_t step)
{
	static uint64_t now = NOW;
	const uint64_t end = now + ns;

	for (; now < end; now += step)
		rig_pass(now);
}

#define expect_about(have, want, per_mille)                                  \
	do {                                                                 \
		ck_assert_uint_ge(have, (want) / 1000 * (1000 - per_mille)); \
		ck_assert_uint_le(have, (want) / 1000 * (1000 + per_mille)); \
	} while (0)

static const uint64_t rates[] = { 1000000, 100000000, 1000000000 };
/* Passes as often as with much to do, and as rarely as after a sleep. */
static const uint64_t steps[] = { 3 * NS_PER_US + 1, 100 * NS_PER_US, 2 * NS_PER_MS };

START_TEST(bytes_a_second_are_kept_within_5_percent)
{
	const uint64_t rate = rates[_i % 3], step = steps[_i / 3];

	/* More is possible in a turn than the rate has. */
	size = rate >= 100000000 ? 50000 : 100;
	if (rate == 1000000000 && step > 20 * NS_PER_US)
		size = 1000000;
	limit(0, (struct quota){ .rate = rate });
	run(NS_PER_S, step);
	expect_about(bytes[0], rate, 50);
	run(NS_PER_S, step);
	expect_about(bytes[0], 2 * rate, 50);
}
END_TEST

START_TEST(messages_a_second_are_kept_within_5_percent)
{
	const uint64_t rate = _i % 2 ? 100 : 20000;

	limit(0, (struct quota){ .message_rate = rate });
	run(NS_PER_S, steps[_i / 2]);
	ck_assert_uint_ge(messages[0], rate * 95 / 100);
	ck_assert_uint_le(messages[0], rate * 105 / 100);
	run(NS_PER_S, steps[_i / 2]);
	ck_assert_uint_ge(messages[0], 2 * rate * 95 / 100);
	ck_assert_uint_le(messages[0], 2 * rate * 105 / 100);
}
END_TEST

START_TEST(a_burst_goes_at_once_and_no_more)
{
	limit(0, (struct quota){ .message_rate = 10, .message_burst = 50 });
	run(100 * NS_PER_US, NS_PER_US);
	ck_assert_uint_eq(messages[0], 50);
	run(NS_PER_S, NS_PER_MS);
	ck_assert_uint_ge(messages[0], 59);
	ck_assert_uint_le(messages[0], 61);
}
END_TEST

START_TEST(a_request_larger_than_the_burst_waits_afterwards)
{
	size = 10000000;
	limit(0, (struct quota){ .rate = 1000000, .rate_burst = 4096 });
	run(NS_PER_S, NS_PER_MS);
	ck_assert_uint_eq(messages[0], 1);
	run(10 * NS_PER_S, NS_PER_MS);
	ck_assert_uint_eq(messages[0], 2);
}
END_TEST

START_TEST(one_without_a_rate_is_not_held_up)
{
	limit(0, (struct quota){ .message_rate = 10 });
	limit(1, (struct quota){ 0 });
	run(10 * NS_PER_MS, 100 * NS_PER_US);
	ck_assert_uint_ge(messages[1], 100 * (PASS_TURN_NS / PASS_ENTRY_NS));
	ck_assert_uint_eq(guest[1]->vm.counters.throttled_ns, 0);
	ck_assert_uint_gt(guest[0]->vm.counters.throttled_ns, 8 * NS_PER_MS);
	ck_assert_uint_le(guest[0]->vm.counters.throttled_ns, 10 * NS_PER_MS);
}
END_TEST

START_TEST(who_waits_for_tokens_is_served_rarely_and_asks_for_no_kick)
{
	uint64_t served;

	limit(0, (struct quota){ .message_rate = 10 });
	run(10 * NS_PER_MS, 10 * NS_PER_US);
	served = guest[0]->served;
	/* A turn a millisecond, for what costs no tokens. */
	run(100 * NS_PER_MS, 10 * NS_PER_US);
	ck_assert_uint_ge(guest[0]->served - served, 90);
	ck_assert_uint_le(guest[0]->served - served, 110);
	/* The worker sleeps, and not for ever; only the others' guests are to ring. */
	worker_rest(worker);
	ck_assert_uint_eq(guest_need_kick(guest[0]), 0);
}
END_TEST

static uint64_t kicks_while_asleep[2];

static bool note_kicks(struct guest *who)
{
	if (who->vm.id < 2)
		kicks_while_asleep[who->vm.id] = guest_need_kick(who);
	return false;
}

START_TEST(only_guests_without_tokens_to_wait_for_ring_while_the_worker_sleeps)
{
	rig.on_arm = note_kicks;
	limit(0, (struct quota){ .message_rate = 10 });
	run(10 * NS_PER_MS, 10 * NS_PER_US);
	worker_rest(worker);
	ck_assert_uint_eq(kicks_while_asleep[0], 0);
	ck_assert_uint_eq(kicks_while_asleep[1], UINT64_MAX);
}
END_TEST

START_TEST(a_rate_can_be_changed_and_ended_while_it_holds)
{
	limit(0, (struct quota){ .message_rate = 10 });
	run(100 * NS_PER_MS, 100 * NS_PER_US);
	ck_assert_uint_le(messages[0], 4);
	limit(0, (struct quota){ 0 });
	run(10 * NS_PER_MS, 100 * NS_PER_US);
	ck_assert_uint_ge(messages[0], 80 * (PASS_TURN_NS / PASS_ENTRY_NS));
}
END_TEST

START_TEST(what_a_command_handed_over_is_paid_for_afterwards)
{
	limit(0, (struct quota){ .message_rate = 100, .message_burst = 2 });
	atomic_store(&guest[0]->vm.unpaid_messages, 102);
	run(NS_PER_S, NS_PER_MS);
	ck_assert_uint_le(messages[0], 1);
	run(NS_PER_S, NS_PER_MS);
	ck_assert_uint_ge(messages[0], 95);
}
END_TEST

START_TEST(time_is_given_by_shares)
{
	limit(0, (struct quota){ .share = 100 });
	limit(1, (struct quota){ .share = 300 });
	limit(2, (struct quota){ .share = 50 });
	run(100 * NS_PER_MS, 20 * NS_PER_US);
	expect_about(messages[1], messages[0] * 3, 50);
	expect_about(messages[0], messages[2] * 2, 50);
}
END_TEST

START_TEST(a_small_share_alone_has_all)
{
	limit(0, (struct quota){ .share = 1 });
	run(10 * NS_PER_MS, 20 * NS_PER_US);
	ck_assert_uint_ge(messages[0], 490 * (PASS_TURN_NS / PASS_ENTRY_NS));
}
END_TEST

START_TEST(no_time_is_lost_however_often_a_bucket_is_filled)
{
	struct bucket bucket = { 0 };
	const uint64_t rate = 12345;
	uint64_t now = NOW;
	int64_t got = 0;

	rate_bucket_fill(&bucket, rate, 100, now);
	bucket.tokens = 0;
	for (; now < NOW + NS_PER_S; now += 777) {
		rate_bucket_fill(&bucket, rate, 100, now);
		got += bucket.tokens;
		bucket.tokens = 0;
	}
	ck_assert_int_ge(got, (int64_t)rate - 2);
	ck_assert_int_le(got, (int64_t)rate);
	ck_assert_uint_eq(rate_bucket_ns_until(&bucket, 1000, 10), 10 * NS_PER_MS + 1);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("rate");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, bytes_a_second_are_kept_within_5_percent, 0, 9);
	tcase_add_loop_test(tc, messages_a_second_are_kept_within_5_percent, 0, 6);
	tcase_add_test(tc, a_burst_goes_at_once_and_no_more);
	tcase_add_test(tc, a_request_larger_than_the_burst_waits_afterwards);
	tcase_add_test(tc, one_without_a_rate_is_not_held_up);
	tcase_add_test(tc, who_waits_for_tokens_is_served_rarely_and_asks_for_no_kick);
	tcase_add_test(tc, only_guests_without_tokens_to_wait_for_ring_while_the_worker_sleeps);
	tcase_add_test(tc, a_rate_can_be_changed_and_ended_while_it_holds);
	tcase_add_test(tc, what_a_command_handed_over_is_paid_for_afterwards);
	tcase_add_test(tc, time_is_given_by_shares);
	tcase_add_test(tc, a_small_share_alone_has_all);
	tcase_add_test(tc, no_time_is_lost_however_often_a_bucket_is_filled);
	return suite_run("worker rate", tc);
}
