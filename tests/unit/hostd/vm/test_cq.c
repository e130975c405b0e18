// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "vm/cq.h"
#include "vm/events.h"
#include "vm/vm.h"
#include "vm/cq_blocked.h"
#include "vm/pass.h"
#include "suite.h"

#define LOG_ENTRIES 3
#define ENTRIES	    (1u << LOG_ENTRIES)
#define QPS	    10
#define VECTOR	    5

static struct pass a_pass;
#define PASS (&a_pass)

static unsigned int events, dirty, blocked, interrupts, put_off;
static bool no_room_for_events;

bool events_completion(struct ceq *ceq, uint32_t cq_handle)
{
	(void)ceq;
	ck_assert_uint_eq(cq_handle, 42);
	if (no_room_for_events)
		return false;
	events++;
	return true;
}

void events_interrupt(struct vm *from, uint32_t vector)
{
	(void)from;
	ck_assert_uint_eq(vector, VECTOR);
	interrupts++;
}

void pass_add_ceq(struct pass *pass, struct ceq *of)
{
	(void)pass;
	ck_assert_uint_eq(of->vector, VECTOR);
	put_off++;
}

void pass_add_cq(struct pass *pass, struct cq *cq)
{
	(void)pass;
	(void)cq;
	dirty++;
}

void cq_blocked_add(struct cq *cq)
{
	(void)cq;
	blocked++;
}

static struct vm vm;
static struct ceq ceq = { .vm = &vm, .vector = VECTOR };
static struct cq cq;
static struct ring_buffer *buffer;
static uint8_t *memory;
static struct cq_held held[QPS];

static void setup(void)
{
	events = dirty = blocked = interrupts = put_off = 0;
	no_room_for_events = false;
	memory = aligned_alloc(PVHCA_GRANULE, PVHCA_GRANULE);
	memset(memory, 0, PVHCA_GRANULE);
	buffer = malloc(sizeof(*buffer) + sizeof(buffer->granule[0]));
	*buffer = (struct ring_buffer){ .granules = 1 };
	buffer->granule[0] = memory;
	memset(&vm, 0, sizeof(vm));
	cq = (struct cq){
		.vm = &vm,
		.handle = 42,
		.ceq = &ceq,
		.buffer = buffer,
		.log_entries = LOG_ENTRIES,
	};
	ck_assert_int_eq(cq_init(&cq), 0);
	ck_assert_int_eq(cq_reserve(&cq, 200), 0);
}

static void teardown(void)
{
	for (unsigned int i = 0; i < QPS; i++)
		cq_forget(&cq, &held[i]);
	ck_assert_uint_eq(cq.backlog_count, 0);
	cq_fini(&cq);
	free(buffer);
	free(memory);
}

static struct pvhca_cqe *guest_entry(uint32_t index)
{
	return (struct pvhca_cqe *)(memory + PVHCA_CQ_HEADER_SIZE) + index % ENTRIES;
}

static bool guest_sees(uint32_t index)
{
	bool phase = guest_entry(index)->flags & PVHCA_CQE_F_PHASE;

	return phase == !(index / ENTRIES & 1);
}

static bool push(uint32_t qpn, uint16_t index, uint8_t status, bool solicited)
{
	struct pvhca_cqe cqe = {
		.qpn = htole32(qpn),
		.wqe_index = htole16(index),
		.status = status,
	};

	return cq_push(PASS, &cq, &held[qpn], &cqe, solicited);
}

static bool retry_for(int64_t ns)
{
	struct pass pass;

	pass.clock = NULL;
	pass_begin_turn(&pass, ns, 0);
	return cq_retry(&pass, &cq);
}

static bool retry(void)
{
	return retry_for(PASS_UNLIMITED);
}

START_TEST(a_completion_appears_with_the_phase_of_its_lap)
{
	uint32_t i;

	for (i = 0; i < 3 * ENTRIES; i++) {
		ck_assert(!guest_sees(i));
		ck_assert(push(7, i, 0, false));
		ck_assert(guest_sees(i));
		ck_assert_uint_eq(le16toh(guest_entry(i)->wqe_index), i);
		cq.header->ci = htole32(i + 1);
	}
	ck_assert_uint_eq(blocked, 0);
}
END_TEST

/* A group begins anywhere in a lap; what finds no room waits, and does not overtake. */
START_TEST(a_group_goes_on_in_the_next_lap_and_behind_its_end_waits)
{
	struct pvhca_cqe group[ENTRIES];
	uint32_t i;

	for (i = 0; i < 5; i++)
		ck_assert(push(7, i, 0, false));
	cq.header->ci = htole32(5);
	for (i = 0; i < ENTRIES; i++)
		group[i] = (struct pvhca_cqe){ .qpn = htole32(7), .wqe_index = htole16(5 + i) };
	ck_assert(cq_push_many(PASS, &cq, &held[7], group, ENTRIES));
	ck_assert_uint_eq(blocked, 0);
	for (i = 5; i < 5 + ENTRIES; i++) {
		ck_assert(guest_sees(i));
		ck_assert_uint_eq(le16toh(guest_entry(i)->wqe_index), i);
	}
	cq.header->ci = htole32(8);
	ck_assert(cq_push_many(PASS, &cq, &held[7], group, ENTRIES));
	ck_assert_uint_eq(blocked, 1);
	ck_assert_uint_eq(cq.backlog_count, ENTRIES - 3);
	for (i = 0; i < 3; i++)
		ck_assert_uint_eq(le16toh(guest_entry(5 + ENTRIES + i)->wqe_index), 5 + i);
	cq.header->ci = htole32(5 + ENTRIES + 3);
	ck_assert(retry());
	for (i = 3; i < ENTRIES; i++)
		ck_assert_uint_eq(le16toh(guest_entry(5 + ENTRIES + i)->wqe_index), 5 + i);
}
END_TEST

START_TEST(a_full_ring_keeps_completions_and_their_order)
{
	uint32_t i, ci = 0;

	for (i = 0; i < 150; i++)
		ck_assert(push(7, i, 0, false));
	ck_assert_uint_ge(blocked, 1);
	ck_assert(cq.header->flags & htole32(PVHCA_CQ_F_BLOCKED));
	ck_assert(!retry());
	while (ci < 150) {
		ck_assert(guest_sees(ci));
		ck_assert_uint_eq(le16toh(guest_entry(ci)->wqe_index), ci);
		cq.header->ci = htole32(++ci);
		retry();
	}
	ck_assert(retry());
	ck_assert_uint_eq(cq.header->flags, 0);
}
END_TEST

START_TEST(more_than_was_reserved_is_refused_and_bounded)
{
	uint32_t i;

	for (i = 0; i < ENTRIES + 200; i++)
		ck_assert(push(7, i, 0, false));
	ck_assert(!push(7, i, 0, false));
}
END_TEST

START_TEST(a_consumer_index_without_sense_only_blocks)
{
	uint32_t i;

	cq.header->ci = htole32(0x80000000u);
	for (i = 0; i < 100; i++)
		ck_assert(push(7, i, 0, false));
	ck_assert_uint_le(cq.pi, ENTRIES);
}
END_TEST

START_TEST(a_forgotten_qp_leaves_the_others_in_order)
{
	uint32_t i;

	for (i = 0; i < ENTRIES + 20; i++)
		push(i & 1 ? 7 : 8, i, 0, false);
	cq_forget(&cq, &held[7]);
	cq.header->ci = htole32(ENTRIES);
	retry();
	for (i = 0; i < ENTRIES; i++)
		ck_assert_uint_eq(le16toh(guest_entry(ENTRIES + i)->wqe_index), ENTRIES + 2 * i);
}
END_TEST

START_TEST(completions_of_one_queue_come_in_order_and_none_is_left_behind)
{
	unsigned int next[QPS] = { 0 }, ci = ENTRIES;
	uint32_t i, qpn;

	for (i = 0; i < ENTRIES + 150; i++)
		push(i % 3, i / 3, 0, false);
	for (i = 0; i < ENTRIES; i++)
		next[i % 3]++;
	while (ci < ENTRIES + 150) {
		cq.header->ci = htole32(ci);
		retry();
		qpn = le32toh(guest_entry(ci)->qpn);
		ck_assert_uint_eq(le16toh(guest_entry(ci)->wqe_index), next[qpn]++);
		ci++;
	}
	ck_assert(retry());
	for (i = 0; i < 3; i++)
		ck_assert_uint_eq(next[i], (ENTRIES + 150 + 2 - i) / 3);
}
END_TEST

/* What a RESET drops may be reserved again, as often as a guest likes. */
START_TEST(a_forgotten_qp_gives_its_room_back)
{
	push(8, 0, 0, false);
	for (int round = 0; round < 50; round++) {
		for (uint32_t i = 0; i < 150; i++)
			ck_assert(push(7, i, 0, false));
		cq_forget(&cq, &held[7]);
		ck_assert_uint_eq(held[7].count, 0);
	}
	ck_assert_uint_eq(cq.backlog_count, 0);
}
END_TEST

START_TEST(a_retry_delivers_as_much_as_the_turn_has_time_for)
{
	for (uint32_t i = 0; i < ENTRIES + 6; i++)
		push(7, i, 0, false);
	cq.header->ci = htole32(ENTRIES);
	ck_assert(!retry_for(2 * PASS_COMPLETION_NS));
	ck_assert_uint_eq(cq.backlog_count, 4);
	ck_assert(!retry_for(2 * PASS_COMPLETION_NS));
	ck_assert_uint_eq(cq.backlog_count, 2);
	ck_assert(retry());
}
END_TEST

START_TEST(no_event_without_a_request)
{
	push(7, 0, 0, true);
	cq_notify(PASS, &cq);
	ck_assert_uint_eq(events, 0);
}
END_TEST

START_TEST(one_request_gives_one_event)
{
	cq.header->arm_any = htole32(1);
	push(7, 0, 0, false);
	push(7, 1, 0, false);
	ck_assert_uint_eq(dirty, 1);
	cq_notify(PASS, &cq);
	ck_assert_uint_eq(events, 1);
	ck_assert_uint_eq(put_off, 1);
	ck_assert_uint_eq(interrupts, 0);
	push(7, 2, 0, false);
	cq_notify(PASS, &cq);
	ck_assert_uint_eq(events, 1);
	cq.header->arm_any = htole32(2);
	cq_notify(PASS, &cq);
	ck_assert_uint_eq(events, 1);
	push(7, 3, 0, false);
	cq_notify(PASS, &cq);
	ck_assert_uint_eq(events, 2);
}
END_TEST

START_TEST(a_solicited_request_waits_for_a_solicited_message_or_an_error)
{
	cq.header->arm_solicited = htole32(1);
	push(7, 0, 0, false);
	cq_notify(PASS, &cq);
	ck_assert_uint_eq(events, 0);
	push(7, 1, 0, true);
	cq_notify(PASS, &cq);
	ck_assert_uint_eq(events, 1);
	ck_assert_uint_eq(guest_entry(1)->flags, PVHCA_CQE_F_PHASE);
	cq.header->arm_solicited = htole32(2);
	push(7, 2, IBV_WC_WR_FLUSH_ERR, false);
	cq_notify(PASS, &cq);
	ck_assert_uint_eq(events, 2);
}
END_TEST

START_TEST(an_event_that_finds_no_room_is_raised_later)
{
	no_room_for_events = true;
	cq.header->arm_any = htole32(1);
	push(7, 0, 0, false);
	cq_notify(PASS, &cq);
	ck_assert_uint_eq(events, 0);
	ck_assert_uint_eq(blocked, 1);
	ck_assert(!retry());
	no_room_for_events = false;
	ck_assert(retry());
	ck_assert_uint_eq(events, 1);
	ck_assert(retry());
	ck_assert_uint_eq(events, 1);
}
END_TEST

START_TEST(an_event_costs_the_turn_that_raises_it)
{
	struct pass pass = { .left = PASS_TURN_NS };

	push(7, 0, 0, false);
	cq_notify(&pass, &cq);
	ck_assert_int_eq(pass.left, PASS_TURN_NS);
	cq.header->arm_any = htole32(1);
	push(7, 1, 0, false);
	cq_notify(&pass, &cq);
	ck_assert_uint_eq(events, 1);
	ck_assert_int_eq(pass.left, PASS_TURN_NS - PASS_EVENT_NS);
	/* One that finds no room costs when it is raised. */
	no_room_for_events = true;
	cq.header->arm_any = htole32(2);
	push(7, 2, 0, false);
	cq_notify(&pass, &cq);
	ck_assert_int_eq(pass.left, PASS_TURN_NS - PASS_EVENT_NS);
	no_room_for_events = false;
	ck_assert(cq_retry(&pass, &cq));
	ck_assert_int_eq(pass.left, PASS_TURN_NS - 2 * PASS_EVENT_NS);
}
END_TEST

START_TEST(a_completion_that_is_kept_costs_the_turn)
{
	struct pass pass = { .left = PASS_TURN_NS };
	struct pvhca_cqe cqe[ENTRIES + 3] = { 0 };

	ck_assert(cq_push_many(&pass, &cq, &held[0], cqe, ENTRIES + 3));
	ck_assert_uint_eq(cq.backlog_count, 3);
	ck_assert_int_eq(pass.left, PASS_TURN_NS - 3 * PASS_HELD_NS);
	cq_forget(&cq, &held[0]);
}
END_TEST

START_TEST(completions_outside_a_worker_raise_their_event_at_once)
{
	struct pvhca_cqe cqe = { 0 };

	cq.header->arm_any = htole32(1);
	ck_assert(cq_push(NULL, &cq, &held[0], &cqe, false));
	ck_assert_uint_eq(events, 1);
	ck_assert_uint_eq(interrupts, 1);
	ck_assert_uint_eq(put_off, 0);
}
END_TEST

static struct ring_buffer *other_buffer(void)
{
	struct ring_buffer *other = malloc(sizeof(*other) + sizeof(other->granule[0]));

	*other = (struct ring_buffer){ .granules = 1 };
	other->granule[0] = aligned_alloc(PVHCA_GRANULE, PVHCA_GRANULE);
	memset(other->granule[0], 0, PVHCA_GRANULE);
	return other;
}

START_TEST(a_resize_takes_along_what_was_not_polled)
{
	struct ring_buffer *other = other_buffer(), *old = NULL;
	struct pvhca_cqe *entries;

	cq.header->arm_any = htole32(5);
	for (uint32_t i = 0; i < ENTRIES + 12; i++) {
		push(7, i, 0, false);
		if (i < 5)
			cq.header->ci = htole32(i + 1);
	}
	cq_notify(PASS, &cq);
	ck_assert_uint_eq(events, 1);
	/* 8 in the ring, 7 held back; of both sizes only the larger fits. */
	ck_assert_int_eq(cq_resize(&cq, other, LOG_ENTRIES - 1, &old), PVHCA_ST_INVALID);
	ck_assert_ptr_eq(cq.buffer, buffer);
	ck_assert_int_eq(cq_resize(&cq, other, LOG_ENTRIES + 1, &old), PVHCA_ST_OK);
	ck_assert_ptr_eq(old, buffer);
	memset(memory, 0xee, PVHCA_GRANULE); /* nobody looks at it any more */
	entries = (struct pvhca_cqe *)(other->granule[0] + PVHCA_CQ_HEADER_SIZE);
	ck_assert_uint_eq(le32toh(cq.header->flags), PVHCA_CQ_F_BLOCKED);
	ck_assert(retry());
	for (uint32_t i = 0; i < 15; i++) {
		ck_assert_uint_eq(le16toh(entries[i].wqe_index), 5 + i);
		ck_assert(entries[i].flags & PVHCA_CQE_F_PHASE);
	}
	ck_assert(!(entries[15].flags & PVHCA_CQE_F_PHASE));
	ck_assert_uint_eq(cq.header->flags, 0);
	/* The request for an event was taken along as one that is done. */
	cq_notify(PASS, &cq);
	ck_assert_uint_eq(events, 1);
	cq.header->arm_any = htole32(6);
	cq.header->ci = htole32(15);
	push(7, 20, 0, false);
	push(7, 21, 0, false);
	cq_notify(PASS, &cq);
	ck_assert_uint_eq(events, 2);
	ck_assert_uint_eq(le16toh(entries[15].wqe_index), 20);
	ck_assert_uint_eq(le16toh(entries[0].wqe_index), 21);
	ck_assert(!(entries[0].flags & PVHCA_CQE_F_PHASE));
	free(other->granule[0]);
	free(other);
}
END_TEST

START_TEST(a_consumer_index_without_sense_refuses_a_resize)
{
	struct ring_buffer *other = other_buffer(), *old = NULL;

	push(7, 0, 0, false);
	cq.header->ci = htole32(2);
	ck_assert_int_eq(cq_resize(&cq, other, LOG_ENTRIES + 1, &old), PVHCA_ST_INVALID);
	cq.header->ci = htole32(0x80000000u);
	ck_assert_int_eq(cq_resize(&cq, other, LOG_ENTRIES + 1, &old), PVHCA_ST_INVALID);
	free(other->granule[0]);
	free(other);
}
END_TEST

START_TEST(reservations_cannot_overflow)
{
	ck_assert_int_eq(cq_reserve(&cq, UINT32_MAX), -ENOMEM);
	cq_unreserve(&cq, 200);
	ck_assert_uint_eq(cq.backlog_limit, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("cq");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_completion_appears_with_the_phase_of_its_lap);
	tcase_add_test(tc, a_group_goes_on_in_the_next_lap_and_behind_its_end_waits);
	tcase_add_test(tc, a_full_ring_keeps_completions_and_their_order);
	tcase_add_test(tc, more_than_was_reserved_is_refused_and_bounded);
	tcase_add_test(tc, a_consumer_index_without_sense_only_blocks);
	tcase_add_test(tc, a_forgotten_qp_leaves_the_others_in_order);
	tcase_add_test(tc, completions_of_one_queue_come_in_order_and_none_is_left_behind);
	tcase_add_test(tc, a_forgotten_qp_gives_its_room_back);
	tcase_add_test(tc, a_retry_delivers_as_much_as_the_turn_has_time_for);
	tcase_add_test(tc, no_event_without_a_request);
	tcase_add_test(tc, one_request_gives_one_event);
	tcase_add_test(tc, a_solicited_request_waits_for_a_solicited_message_or_an_error);
	tcase_add_test(tc, an_event_that_finds_no_room_is_raised_later);
	tcase_add_test(tc, an_event_costs_the_turn_that_raises_it);
	tcase_add_test(tc, a_completion_that_is_kept_costs_the_turn);
	tcase_add_test(tc, completions_outside_a_worker_raise_their_event_at_once);
	tcase_add_test(tc, a_resize_takes_along_what_was_not_polled);
	tcase_add_test(tc, a_consumer_index_without_sense_refuses_a_resize);
	tcase_add_test(tc, reservations_cannot_overflow);
	return suite_run("cq", tc);
}
