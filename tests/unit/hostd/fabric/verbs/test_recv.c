// SPDX-License-Identifier: GPL-2.0-or-later
/* From guests' receive queues and SRQs to a host engine that is played here. */
#include <check.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "vm/events.h"
#include "suite.h"
#include "fabric/verbs/private.h"

#define DEPTH_LOG 6
#define DEPTH	  (1u << DEPTH_LOG)

/* ------------------------------ the host engine ---------------------------- */

static struct {
	uint64_t id[256];
	struct ibv_sge sge[256]; /* the first of each */
	int num_sge[256];
	unsigned int posted, room;
	int refuse; /* the tag that is */
	unsigned int failed, faults, events;
	bool told; /* that there will be receives */
} host;

static int host_post(struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	/* Told before, not after a completion may have come. */
	ck_assert(host.told);
	for (; wr; wr = wr->next) {
		*bad = wr;
		if (!host.room)
			return ENOMEM;
		if (!(wr->wr_id & WR_ID_BAD) && (int)(wr->wr_id & WR_ID_INDEX_MASK) == host.refuse)
			return EINVAL;
		host.room--;
		host.num_sge[host.posted] = wr->num_sge;
		if (wr->num_sge)
			host.sge[host.posted] = *wr->sg_list;
		host.id[host.posted++] = wr->wr_id;
	}
	return 0;
}

static int host_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	(void)qp;
	return host_post(wr, bad);
}

static int host_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	(void)srq;
	return host_post(wr, bad);
}

int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	(void)qp;
	(void)mask;
	ck_assert_int_eq(attr->qp_state, IBV_QPS_ERR);
	host.failed++;
	return 0;
}

void verbs_receiving_begins(struct vm *vm, bool *receiving)
{
	(void)vm;
	*receiving = true;
	host.told = true;
}

void vm_guest_fault(struct vm *vm, const char *format, ...)
{
	(void)vm;
	(void)format;
	host.faults++;
}

void events_async(struct vm *vm, uint32_t event, uint32_t object)
{
	(void)vm;
	ck_assert_uint_eq(event, object == 99 ? PVHCA_EVENT_SRQ_ERR : PVHCA_EVENT_QP_FATAL);
	host.events++;
}

/* ---------------------------- the guest's queues --------------------------- */

static struct vm vm;
static struct context context;
static struct verbs_qp vqp;
static struct verbs_srq vsrq;
static struct qp qp;
static struct srq srq;
static struct ibv_context host_context;
static struct ibv_qp host_qp;
static struct ibv_srq host_srq;
static struct pvhca_queue_header *header;
static struct ring_buffer *buffer;
static uint8_t *memory;

static void setup(void)
{
	memset(&host, 0, sizeof(host));
	memset(&context, 0, sizeof(context));
	memset(&vm.counters, 0, sizeof(vm.counters));
	host.room = 256;
	host.refuse = -1;
	host_context.ops.post_recv = host_post_recv;
	host_context.ops.post_srq_recv = host_post_srq_recv;
	host_qp.context = host_srq.context = &host_context;

	memory = aligned_alloc(PVHCA_GRANULE, 2 * PVHCA_GRANULE);
	memset(memory, 0, 2 * PVHCA_GRANULE);
	header = (struct pvhca_queue_header *)memory;
	buffer = malloc(sizeof(*buffer) + 2 * sizeof(uint8_t *));
	buffer->granules = 2;
	buffer->granule[0] = memory;
	buffer->granule[1] = memory + PVHCA_GRANULE;
	vqp = (struct verbs_qp){ .qp = &host_qp, .id = 0x50003 };
	vsrq = (struct verbs_srq){ .srq = &host_srq };
	memset(&qp, 0, sizeof(qp));
	memset(&srq, 0, sizeof(srq));
	qp.vm = srq.vm = &vm;
	qp.context = srq.context = &context;
	qp.slot = 5;
	qp.state = IBV_QPS_INIT;
	qp.fabric = &vqp;
	srq.handle = 99;
	srq.fabric = &vsrq;
	ck_assert(!work_queue_init(&qp.rq, buffer, &header->rq_pi, 4096, DEPTH_LOG, 5, 5,
				   PVHCA_RQ_WQE_DATA, 1));
	srq.rq = qp.rq;
}

static void teardown(void)
{
	free(buffer);
	free(memory);
}

static void post(unsigned int n)
{
	uint32_t pi = le32toh(header->rq_pi);
	struct pvhca_rq_wqe *wqe;

	for (; n; n--, pi++) {
		wqe = (struct pvhca_rq_wqe *)work_queue_entry(&qp.rq, pi);
		memset(wqe, 0, 32);
		wqe->num_sge = htole16(1);
		wqe->tag = htole16(1000 + pi % DEPTH);
	}
	header->rq_pi = htole32(pi);
}

static void spoil(uint32_t index)
{
	struct pvhca_rq_wqe *wqe = (struct pvhca_rq_wqe *)work_queue_entry(&qp.rq, index);

	wqe->reserved1 = 1;
}

START_TEST(receives_reach_the_engine_with_their_tags)
{
	post(DEPTH);
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), DEPTH);
	ck_assert_uint_eq(host.posted, DEPTH);
	ck_assert_uint_eq(host.id[0], 0x50003ull << 32 | WR_ID_RECV | 1000);
	ck_assert_uint_eq(host.id[DEPTH - 1], 0x50003ull << 32 | WR_ID_RECV | (1000 + DEPTH - 1));
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 0);
	ck_assert_uint_eq(vqp.receives, DEPTH);
	ck_assert_uint_eq(vm.counters.receives, DEPTH);
}
END_TEST

START_TEST(receives_with_and_without_memory_keep_their_order)
{
	struct pvhca_rq_wqe *wqe;
	struct pvhca_sge *sge;
	unsigned int i;

	post(9);
	for (i = 0; i < 9; i++) {
		wqe = (struct pvhca_rq_wqe *)work_queue_entry(&qp.rq, i);
		sge = (struct pvhca_sge *)(wqe + 1);
		*sge = (struct pvhca_sge){ htole64(0x7000 + i), htole32(100 + i), htole32(0x99) };
		if (i % 3 == 1)
			wqe->num_sge = 0;
	}
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 9);
	for (i = 0; i < 9; i++) {
		ck_assert_uint_eq(host.id[i] & WR_ID_INDEX_MASK, 1000 + i);
		ck_assert_int_eq(host.num_sge[i], i % 3 != 1);
		if (i % 3 == 1)
			continue;
		ck_assert_uint_eq(host.sge[i].addr, 0x7000 + i);
		ck_assert_uint_eq(host.sge[i].length, 100 + i);
		ck_assert_uint_eq(host.sge[i].lkey, 0x99);
	}
}
END_TEST

START_TEST(nothing_is_taken_in_reset_or_without_a_queue)
{
	post(1);
	qp.state = IBV_QPS_RESET;
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 0);
	qp.state = IBV_QPS_RTS;
	qp.rq.entries = 0;
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 0);
}
END_TEST

START_TEST(a_receive_that_makes_no_sense_fails_the_qp_in_its_order)
{
	post(3);
	spoil(1);
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 1);
	ck_assert(vqp.recv_held);
	/* The one before it is still to be used, and then what is being sent is to complete. */
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 0);
	vqp.receives = 0;
	vqp.told = true;
	vqp.in_flight = 1;
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 0);
	ck_assert_uint_eq(host.failed, 0);
	vqp.in_flight = 0;
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 2);
	/* Sends that had to wait for that go on. */
	ck_assert(context.again[0] & 1ull << 5);
	ck_assert(!vqp.recv_held);
	ck_assert_uint_eq(host.failed, 1);
	ck_assert_uint_eq(host.id[1], 0x50003ull << 32 | WR_ID_RECV | WR_ID_BAD | 1);
	ck_assert_uint_eq(host.id[2], 0x50003ull << 32 | WR_ID_RECV | 1002);
}
END_TEST

START_TEST(a_full_receive_queue_is_tried_again)
{
	host.room = 2;
	post(3);
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 2);
	ck_assert_uint_eq(vqp.receives, 2);
	ck_assert(vqp.recv_stalled);
	ck_assert(context.timed[0] & 1ull << 5);
	host.room = 9;
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 1);
}
END_TEST

START_TEST(too_many_receives_cost_the_queue_pair)
{
	header->rq_pi = htole32(DEPTH + 1);
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 0);
	ck_assert_uint_eq(host.events, 1);
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 0);
	ck_assert_uint_eq(host.events, 1);
	ck_assert_uint_eq(host.faults, 0);
	ck_assert_uint_eq(host.failed, 1);
}
END_TEST

START_TEST(an_srqs_receives_have_no_qp)
{
	post(DEPTH);
	ck_assert_uint_eq(verbs_srq_serve(NULL, &srq), DEPTH);
	ck_assert_uint_eq(host.id[0], WR_ID_RECV | WR_ID_SRQ | 1000);
	ck_assert_uint_eq(host.id[DEPTH - 1], WR_ID_RECV | WR_ID_SRQ | (1000 + DEPTH - 1));
	ck_assert_uint_eq(verbs_srq_serve(NULL, &srq), 0);
}
END_TEST

START_TEST(an_srq_with_a_bad_entry_has_its_event_and_is_left_alone)
{
	post(3);
	spoil(1);
	ck_assert_uint_eq(verbs_srq_serve(NULL, &srq), 1);
	ck_assert_uint_eq(host.events, 1);
	ck_assert_uint_eq(verbs_srq_serve(NULL, &srq), 0);
	ck_assert_uint_eq(host.events, 1);
	ck_assert_uint_eq(host.faults, 0);
}
END_TEST

START_TEST(an_srq_that_the_engine_refuses_has_its_event)
{
	post(3);
	host.refuse = 1002;
	ck_assert_uint_eq(verbs_srq_serve(NULL, &srq), 2);
	ck_assert_uint_eq(host.events, 1);
}
END_TEST

START_TEST(a_full_srq_waits)
{
	host.room = 2;
	post(3);
	ck_assert_uint_eq(verbs_srq_serve(NULL, &srq), 2);
	ck_assert(vsrq.stalled);
	ck_assert_uint_eq(host.events, 0);
	host.room = 9;
	ck_assert_uint_eq(verbs_srq_serve(NULL, &srq), 1);
}
END_TEST

START_TEST(more_on_an_srq_than_it_holds_costs_the_srq)
{
	header->rq_pi = htole32(0x80000000u);
	ck_assert_uint_eq(verbs_srq_serve(NULL, &srq), 0);
	ck_assert_uint_eq(host.events, 1);
	ck_assert_uint_eq(verbs_srq_serve(NULL, &srq), 0);
	ck_assert_uint_eq(host.events, 1);
	ck_assert_uint_eq(host.faults, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("verbs_recv");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, receives_reach_the_engine_with_their_tags);
	tcase_add_test(tc, receives_with_and_without_memory_keep_their_order);
	tcase_add_test(tc, nothing_is_taken_in_reset_or_without_a_queue);
	tcase_add_test(tc, a_receive_that_makes_no_sense_fails_the_qp_in_its_order);
	tcase_add_test(tc, a_full_receive_queue_is_tried_again);
	tcase_add_test(tc, too_many_receives_cost_the_queue_pair);
	tcase_add_test(tc, an_srqs_receives_have_no_qp);
	tcase_add_test(tc, an_srq_with_a_bad_entry_has_its_event_and_is_left_alone);
	tcase_add_test(tc, an_srq_that_the_engine_refuses_has_its_event);
	tcase_add_test(tc, a_full_srq_waits);
	tcase_add_test(tc, more_on_an_srq_than_it_holds_costs_the_srq);
	return suite_run("verbs_recv", tc);
}
