// SPDX-License-Identifier: GPL-2.0-or-later
/* From guests' send queues to a host engine that is played here. */
#include <check.h>
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "fabric/verbs/private.h"
#include "suite.h"
#include "vm/events.h"

#define DEPTH_LOG 4
#define DEPTH	  (1u << DEPTH_LOG)

/* ------------------------------ the host engine ---------------------------- */

static struct {
	uint64_t wr_id[256];
	enum ibv_wr_opcode opcode[256];
	unsigned int flags[256];
	uint8_t inline_byte[256];
	uint64_t remote_addr[256];
	struct ibv_sge sge[256]; /* the first of each */
	int num_sge[256];
	struct ibv_ah *to[256];
	unsigned int sends;
	struct ibv_send_wr last;
	uint32_t key_at_bind;
	unsigned int room; /* sends that still fit */
	int refuse_index;  /* this one is refused with EINVAL */
	unsigned int to_error;
	unsigned int faults, events;
} host;

static int host_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	(void)qp;
	for (; wr; wr = wr->next) {
		*bad = wr;
		if (!host.room)
			return ENOMEM;
		if (!(wr->wr_id & WR_ID_BAD) &&
		    (int)(wr->wr_id & WR_ID_INDEX_MASK) == host.refuse_index)
			return EINVAL;
		host.room--;
		host.wr_id[host.sends] = wr->wr_id;
		host.opcode[host.sends] = wr->opcode;
		host.flags[host.sends] = wr->send_flags;
		host.last = *wr;
		host.to[host.sends] = wr->wr.ud.ah;
		if (wr->opcode == IBV_WR_BIND_MW)
			host.key_at_bind = wr->bind_mw.mw->rkey;
		host.remote_addr[host.sends] = wr->wr.rdma.remote_addr;
		host.num_sge[host.sends] = wr->num_sge;
		if (wr->num_sge)
			host.sge[host.sends] = *wr->sg_list;
		if (wr->send_flags & IBV_SEND_INLINE)
			host.inline_byte[host.sends] = *(uint8_t *)(uintptr_t)wr->sg_list->addr;
		host.sends++;
	}
	return 0;
}

int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	(void)qp;
	ck_assert_int_eq(mask, IBV_QP_STATE);
	ck_assert_int_eq(attr->qp_state, IBV_QPS_ERR);
	host.to_error++;
	return 0;
}

void events_async(struct vm *vm, uint32_t event, uint32_t object)
{
	(void)vm;
	(void)object;
	ck_assert_uint_eq(event, PVHCA_EVENT_QP_FATAL);
	host.events++;
}

void verbs_receiving_begins(struct vm *vm, bool *receiving)
{
	(void)vm;
	(void)receiving;
}

void vm_guest_fault(struct vm *vm, const char *format, ...)
{
	(void)vm;
	(void)format;
	host.faults++;
}

/* ------------------------------- the guest's QP ---------------------------- */

static struct vm vm;
static struct verbs_vm verbs_vm;
static struct context context;
static struct pd pd;
static struct ah ah;
static struct mr mr;
static struct mw mw;
static struct ibv_ah host_ah;
static struct ibv_mr host_mr;
static struct verbs_mr vmr = { .mr = &host_mr };
static struct ibv_mw host_mw;
static struct verbs_qp vqp;
static struct qp qp;
static struct ibv_context host_context;
static struct ibv_qp host_qp;
static struct pvhca_queue_header *header;
static uint8_t *memory;

static void publish(struct table *table, void *object, uint32_t *handle)
{
	table_init_rcu(table, NULL, 4);
	ck_assert_int_eq(table_add(table, object, handle), PVHCA_ST_OK);
	table_publish(table, *handle);
}

static void setup(void)
{
	memset(&host, 0, sizeof(host));
	memset(&context, 0, sizeof(context));
	host.room = 256;
	host.refuse_index = -1;
	host_context.ops.post_send = host_post_send;
	host_qp.context = &host_context;

	memory = aligned_alloc(PVHCA_GRANULE, 2 * PVHCA_GRANULE);
	memset(memory, 0, 2 * PVHCA_GRANULE);
	header = (struct pvhca_queue_header *)memory;
	vqp = (struct verbs_qp){ .qp = &host_qp, .id = 0x50003, .send_opcodes = UINT32_MAX };
	memset(&qp, 0, sizeof(qp));
	memset(&verbs_vm, 0, sizeof(verbs_vm));
	vm.fabric_vm = &verbs_vm;
	qp.pd = &pd;
	ah.pd = mr.pd = mw.pd = &pd;
	mr.iova = 0x10000;
	mr.length = 0x1000;
	ah.fabric = &host_ah;
	mr.fabric = &vmr;
	mw.fabric = &host_mw;
	host_mw.rkey = 0x4401;
	publish(&vm.ahs, &ah, &ah.handle);
	publish(&vm.mrs, &mr, &mr.handle);
	publish(&vm.mws, &mw, &mw.handle);
	qp.vm = &vm;
	qp.context = &context;
	qp.slot = 5;
	qp.state = IBV_QPS_RTS;
	qp.fabric = &vqp;
	qp.buffer = malloc(sizeof(*qp.buffer) + 2 * sizeof(uint8_t *));
	qp.buffer->granules = 2;
	qp.buffer->granule[0] = memory;
	qp.buffer->granule[1] = memory + PVHCA_GRANULE;
	ck_assert(!work_queue_init(&qp.sq, qp.buffer, &header->sq_pi, 256, DEPTH_LOG, 6, 6,
				   PVHCA_SQ_WQE_DATA, 2));
}

static void teardown(void)
{
	table_fini(&vm.ahs);
	table_fini(&vm.mrs);
	table_fini(&vm.mws);
	free(qp.buffer);
	free(memory);
}

static struct pvhca_sq_wqe *post(uint8_t opcode, uint8_t flags)
{
	uint32_t pi = le32toh(header->sq_pi);
	struct pvhca_sq_wqe *wqe;

	wqe = (struct pvhca_sq_wqe *)work_queue_entry(&qp.sq, pi);
	memset(wqe, 0, 64);
	wqe->opcode = opcode;
	wqe->flags = flags;
	wqe->remote_addr = htole64(0x1000 + pi);
	header->sq_pi = htole32(pi + 1);
	return wqe;
}

/* With one piece of memory, as most are. */
static struct pvhca_sq_wqe *post_plain(uint8_t opcode, uint8_t flags)
{
	const bool atomic = opcode == PVHCA_WQE_ATOMIC_CMP_SWP ||
		opcode == PVHCA_WQE_ATOMIC_FETCH_ADD;
	struct pvhca_sq_wqe *wqe = post(opcode, flags);
	struct pvhca_sge *sge = (struct pvhca_sge *)(wqe + 1) + atomic;

	wqe->num_sge = htole16(1);
	*sge = (struct pvhca_sge){ htole64(0x7000 + le32toh(header->sq_pi)), htole32(64),
				   htole32(0x99) };
	return wqe;
}

static bool wants_again(void)
{
	return context.again[0] & 1ull << qp.slot;
}

static unsigned int serve(void)
{
	work_queue_look(&qp.sq);
	return verbs_qp_serve(NULL, &qp);
}

/* The engine has completed all that it has. */
static void complete_all(void)
{
	vqp.in_flight = 0;
	verbs_vm.in_flight = 0;
}

START_TEST(posted_sends_reach_the_engine_in_order_with_their_place)
{
	unsigned int i;

	for (i = 0; i < DEPTH; i++)
		post(PVHCA_WQE_WRITE, i & 1 ? PVHCA_WQE_F_SIGNALED : 0);
	ck_assert_uint_eq(serve(), DEPTH);
	ck_assert_uint_eq(host.sends, DEPTH);
	for (i = 0; i < DEPTH; i++) {
		ck_assert_uint_eq(host.wr_id[i], 0x50003ull << 32 | i);
		ck_assert_int_eq(host.opcode[i], IBV_WR_RDMA_WRITE);
		ck_assert_uint_eq(host.flags[i], i & 1 ? IBV_SEND_SIGNALED : 0);
		ck_assert_uint_eq(host.remote_addr[i], 0x1000 + i);
	}
	ck_assert(!wants_again());
	ck_assert_uint_eq(serve(), 0);
	ck_assert_uint_eq(vqp.in_flight, DEPTH);
	ck_assert_uint_eq(verbs_vm.in_flight, DEPTH);
}
END_TEST

START_TEST(what_a_full_engine_did_not_take_is_not_in_flight)
{
	unsigned int i;

	host.room = 3;
	for (i = 0; i < DEPTH; i++)
		post(PVHCA_WQE_WRITE, PVHCA_WQE_F_SIGNALED);
	ck_assert_uint_eq(serve(), 3);
	ck_assert_uint_eq(vqp.in_flight, 3);
	ck_assert_uint_eq(verbs_vm.in_flight, 3);
}
END_TEST

START_TEST(flags_and_inline_data_are_passed_on)
{
	struct pvhca_sq_wqe *wqe = post(PVHCA_WQE_SEND, PVHCA_WQE_F_MASK);

	wqe->inline_len = htole32(1);
	*(uint8_t *)(wqe + 1) = 0x5a;
	serve();
	ck_assert_uint_eq(host.flags[0],
			  IBV_SEND_SIGNALED | IBV_SEND_FENCE | IBV_SEND_SOLICITED |
				  IBV_SEND_INLINE);
	ck_assert_uint_eq(host.inline_byte[0], 0x5a);
	ck_assert_uint_eq(vm.counters.payload_bytes_copied, 0);
}
END_TEST

START_TEST(a_request_with_one_piece_of_memory_reaches_the_engine_in_full)
{
	static const struct {
		uint8_t opcode;
		enum ibv_wr_opcode host;
	} kinds[] = {
		{ PVHCA_WQE_WRITE, IBV_WR_RDMA_WRITE },
		{ PVHCA_WQE_ATOMIC_FETCH_ADD, IBV_WR_ATOMIC_FETCH_AND_ADD },
		{ PVHCA_WQE_WRITE_IMM, IBV_WR_RDMA_WRITE_WITH_IMM },
		{ PVHCA_WQE_READ, IBV_WR_RDMA_READ },
		{ PVHCA_WQE_ATOMIC_CMP_SWP, IBV_WR_ATOMIC_CMP_AND_SWP },
		{ PVHCA_WQE_SEND, IBV_WR_SEND },
		{ PVHCA_WQE_SEND_IMM, IBV_WR_SEND_WITH_IMM },
		{ PVHCA_WQE_SEND_INV, IBV_WR_SEND_WITH_INV },
	};
	struct pvhca_sq_wqe *wqe;

	for (unsigned int i = 0; i < G_N_ELEMENTS(kinds); i++) {
		wqe = post_plain(kinds[i].opcode, PVHCA_WQE_F_SIGNALED | PVHCA_WQE_F_FENCE);
		wqe->rkey = htole32(0x33);
		wqe->imm_data = 0x12345678;
		((struct pvhca_atomic_seg *)(wqe + 1))->compare_add = htole64(5);
		if (wqe->opcode == PVHCA_WQE_ATOMIC_CMP_SWP)
			((struct pvhca_atomic_seg *)(wqe + 1))->swap = htole64(6);
		else if (wqe->opcode != PVHCA_WQE_ATOMIC_FETCH_ADD)
			((struct pvhca_sge *)(wqe + 1))->addr = htole64(0x7001 + i);
		ck_assert_uint_eq(serve(), 1);
		ck_assert_uint_eq(host.wr_id[i], 0x50003ull << 32 | i);
		ck_assert_int_eq(host.opcode[i], kinds[i].host);
		ck_assert_uint_eq(host.flags[i], IBV_SEND_SIGNALED | IBV_SEND_FENCE);
		ck_assert_int_eq(host.num_sge[i], 1);
		ck_assert_uint_eq(host.sge[i].addr, 0x7001 + i);
		ck_assert_uint_eq(host.sge[i].length, 64);
		ck_assert_uint_eq(host.sge[i].lkey, 0x99);
		if (wqe->opcode == PVHCA_WQE_ATOMIC_CMP_SWP) {
			ck_assert_uint_eq(host.last.wr.atomic.swap, 6);
			ck_assert_uint_eq(host.last.wr.atomic.compare_add, 5);
			ck_assert_uint_eq(host.last.wr.atomic.rkey, 0x33);
			ck_assert_uint_eq(host.last.wr.atomic.remote_addr, 0x1000 + i);
		} else if (wqe->opcode == PVHCA_WQE_WRITE_IMM) {
			ck_assert_uint_eq(host.last.imm_data, 0x12345678);
			ck_assert_uint_eq(host.last.wr.rdma.rkey, 0x33);
			ck_assert_uint_eq(host.last.wr.rdma.remote_addr, 0x1000 + i);
		} else if (wqe->opcode == PVHCA_WQE_SEND_INV) {
			ck_assert_uint_eq(host.last.invalidate_rkey, 0x12345678);
		}
	}
	ck_assert_uint_eq(vm.counters.payload_bytes_sent, G_N_ELEMENTS(kinds) * 64);
}
END_TEST

START_TEST(requests_of_all_kinds_keep_their_order_in_one_batch)
{
	struct pvhca_sq_wqe *wqe;
	unsigned int i;

	for (i = 0; i < 12; i++) {
		wqe = i % 3 == 1 ? post(PVHCA_WQE_WRITE, PVHCA_WQE_F_INLINE) :
				   post_plain(PVHCA_WQE_WRITE, 0);
		if (i % 3 == 1)
			wqe->inline_len = htole32(8);
		if (i % 3 == 2)
			wqe->num_sge = htole16(2);
	}
	ck_assert_uint_eq(serve(), 12);
	ck_assert_uint_eq(host.sends, 12);
	for (i = 0; i < 12; i++) {
		ck_assert_uint_eq(host.wr_id[i] & WR_ID_INDEX_MASK, i);
		ck_assert_int_eq(host.num_sge[i], i % 3 == 2 ? 2 : 1);
		ck_assert_uint_eq(host.remote_addr[i], 0x1000 + i);
		if (i % 3 != 1)
			ck_assert_uint_eq(host.sge[i].addr, 0x7001 + i);
	}
}
END_TEST

/* What one load finds, the other way refuses, too. */
START_TEST(an_entry_that_is_plain_but_for_one_thing_is_refused)
{
	vqp.send_opcodes = 1u << PVHCA_WQE_WRITE;
	post_plain(PVHCA_WQE_WRITE, 0)->reserved = 1;
	post_plain(PVHCA_WQE_WRITE, PVHCA_WQE_F_MASK + 1);
	post_plain(PVHCA_WQE_WRITE, 0)->inline_len = htole32(1);
	post_plain(PVHCA_WQE_READ, 0);
	post_plain(PVHCA_WQE_WRITE, 0)->num_sge = htole16(3);
	for (unsigned int i = 0; i < 5; i++) {
		ck_assert_uint_eq(serve(), 1);
		ck_assert_uint_eq(host.wr_id[i], 0x50003ull << 32 | WR_ID_BAD | i);
	}
	qp.sq.max_sge = 0;
	post_plain(PVHCA_WQE_WRITE, 0);
	ck_assert_uint_eq(serve(), 1);
	ck_assert_uint_eq(host.wr_id[5], 0x50003ull << 32 | WR_ID_BAD | 5);
}
END_TEST

START_TEST(datagrams_of_one_batch_go_where_each_of_them_says)
{
	struct ibv_ah other_host_ah;
	struct ah other = { .pd = &pd, .fabric = &other_host_ah };
	const uint8_t which[] = { 0, 0, 1, 0, 1 };
	struct pvhca_sq_wqe *wqe;
	struct pd strange;
	unsigned int i;

	ck_assert_int_eq(table_add(&vm.ahs, &other, &other.handle), PVHCA_ST_OK);
	table_publish(&vm.ahs, other.handle);
	qp.type = PVHCA_QPT_UD;
	for (i = 0; i < sizeof(which); i++) {
		wqe = post_plain(PVHCA_WQE_SEND_IMM, 0);
		wqe->ah = htole32(which[i] ? other.handle : ah.handle);
		wqe->remote_qpn = htole32(70 + i);
		wqe->remote_qkey = htole32(0x1234 + i);
		wqe->imm_data = 9;
	}
	ck_assert_uint_eq(serve(), sizeof(which));
	for (i = 0; i < sizeof(which); i++)
		ck_assert_ptr_eq(host.to[i], which[i] ? &other_host_ah : &host_ah);
	ck_assert_uint_eq(host.last.wr.ud.remote_qpn, 74);
	ck_assert_uint_eq(host.last.wr.ud.remote_qkey, 0x1238);
	ck_assert_uint_eq(host.last.imm_data, 9);
	/* Behind one that is there, one that is not the PD's. */
	complete_all();
	other.pd = &strange;
	post_plain(PVHCA_WQE_SEND, 0)->ah = htole32(ah.handle);
	post_plain(PVHCA_WQE_SEND, 0)->ah = htole32(other.handle);
	ck_assert_uint_eq(serve(), 1);
	ck_assert(vqp.held);
}
END_TEST

/* A message of a VM with a rate counts, and so does its length. */
START_TEST(a_batch_ends_where_the_turn_or_the_rate_does)
{
	struct pass pass = { 0 };

	for (unsigned int i = 0; i < 12; i++)
		post_plain(PVHCA_WQE_WRITE, 0);
	work_queue_look(&qp.sq);
	pass_begin_turn(&pass, 3 * PASS_ENTRY_NS, 0);
	ck_assert_uint_eq(verbs_qp_serve(&pass, &qp), 3);
	pass_begin_turn(&pass, PASS_TURN_NS, 0);
	pass.limited = true;
	pass.rate_messages = 2;
	ck_assert_uint_eq(verbs_qp_serve(&pass, &qp), 2);
	ck_assert_int_eq(pass.rate_messages, 0);
	pass_begin_turn(&pass, PASS_TURN_NS, 0);
	pass.limited = true;
	pass.rate_bytes = 65;
	ck_assert_uint_eq(verbs_qp_serve(&pass, &qp), 2);
	ck_assert_int_eq(pass.rate_bytes, -63);
	ck_assert(wants_again());
	pass_begin_turn(&pass, PASS_TURN_NS, 0);
	ck_assert_uint_eq(verbs_qp_serve(&pass, &qp), 5);
}
END_TEST

START_TEST(what_was_posted_after_the_look_waits_for_the_next_pass)
{
	post(PVHCA_WQE_SEND, 0);
	work_queue_look(&qp.sq);
	post(PVHCA_WQE_SEND, 0);
	ck_assert_uint_eq(verbs_qp_serve(NULL, &qp), 1);
	ck_assert(wants_again());
	ck_assert_uint_eq(serve(), 1);
}
END_TEST

START_TEST(an_outdated_look_takes_nothing)
{
	post(PVHCA_WQE_SEND, 0);
	serve();
	ck_assert_uint_eq(verbs_qp_serve(NULL, &qp), 0);
	/* Taken without a look, as before a change of state. */
	post(PVHCA_WQE_SEND, 0);
	ck_assert_uint_eq(verbs_serve_sends(&qp), 1);
	ck_assert_uint_eq(verbs_qp_serve(NULL, &qp), 0);
	post(PVHCA_WQE_SEND, 0);
	work_queue_look(&qp.sq);
	header->sq_pi = 0;
	work_queue_reset(&qp.sq);
	ck_assert_uint_eq(verbs_qp_serve(NULL, &qp), 0);
	ck_assert_uint_eq(host.faults, 0);
}
END_TEST

START_TEST(all_sends_are_taken_before_a_drain)
{
	for (unsigned int i = 0; i < DEPTH; i++)
		post(PVHCA_WQE_WRITE, 0);
	ck_assert_uint_eq(verbs_serve_sends(&qp), DEPTH);
	ck_assert_uint_eq(host.sends, DEPTH);
}
END_TEST

START_TEST(a_datagram_goes_where_its_address_handle_says)
{
	struct pvhca_sq_wqe *wqe = post(PVHCA_WQE_SEND, 0);

	qp.type = PVHCA_QPT_UD;
	wqe->ah = htole32(ah.handle);
	wqe->remote_qpn = htole32(77);
	wqe->remote_qkey = htole32(0x1234);
	ck_assert_uint_eq(serve(), 1);
	ck_assert_ptr_eq(host.last.wr.ud.ah, &host_ah);
	ck_assert_uint_eq(host.last.wr.ud.remote_qpn, 77);
	ck_assert_uint_eq(host.last.wr.ud.remote_qkey, 0x1234);
	ck_assert_uint_eq(host.to_error, 0);
}
END_TEST

/* Also in the completion of a datagram that was refused: libraries look at it. */
START_TEST(an_address_handle_that_is_not_there_is_refused)
{
	struct pd other = { 0 };

	qp.type = PVHCA_QPT_UD;
	post(PVHCA_WQE_SEND, 0)->ah = htole32(ah.handle + 1);
	ck_assert_uint_eq(serve(), 1);
	ck_assert_uint_eq(host.wr_id[0], 0x50003ull << 32 | WR_ID_BAD);
	ck_assert_ptr_nonnull(host.last.wr.ud.ah);
	ck_assert_uint_eq(host.to_error, 1);
	ah.pd = &other;
	post(PVHCA_WQE_SEND, 0)->ah = htole32(ah.handle);
	serve();
	ck_assert_uint_eq(host.wr_id[1], 0x50003ull << 32 | WR_ID_BAD | 1);
	ah.pd = &pd;
	table_unpublish(&vm.ahs, ah.handle);
	post(PVHCA_WQE_SEND, 0)->ah = htole32(ah.handle);
	serve();
	ck_assert_uint_eq(host.wr_id[2], 0x50003ull << 32 | WR_ID_BAD | 2);
}
END_TEST

static struct pvhca_bind_seg *post_bind(uint64_t length, uint32_t rkey)
{
	struct pvhca_sq_wqe *wqe = post(PVHCA_WQE_BIND_MW, PVHCA_WQE_F_SIGNALED);
	struct pvhca_bind_seg *seg = (struct pvhca_bind_seg *)(wqe + 1);

	*seg = (struct pvhca_bind_seg){
		.addr = htole64(0x10000),
		.length = htole64(length),
		.mr_handle = htole32(mr.handle),
		.mw_handle = htole32(mw.handle),
		.rkey = htole32(rkey),
		.access = htole32(IBV_ACCESS_REMOTE_READ),
	};
	return seg;
}

START_TEST(a_bind_has_the_windows_key_of_before_and_its_own)
{
	post_bind(64, 0x4402);
	post_bind(0, 0x4403);
	ck_assert_uint_eq(serve(), 1); /* one in a batch */
	ck_assert(wants_again());
	ck_assert_int_eq(host.opcode[0], IBV_WR_BIND_MW);
	ck_assert_ptr_eq(host.last.bind_mw.mw, &host_mw);
	ck_assert_ptr_eq(host.last.bind_mw.bind_info.mr, &host_mr);
	ck_assert_uint_eq(host.last.bind_mw.bind_info.addr, 0x10000);
	ck_assert_uint_eq(host.last.bind_mw.bind_info.length, 64);
	ck_assert_uint_eq(host.last.bind_mw.rkey, 0x4402);
	ck_assert_uint_eq(host.key_at_bind, 0x4401);
	ck_assert_uint_eq(serve(), 1);
	ck_assert_uint_eq(host.key_at_bind, 0x4402);
	/* Bound to nothing, and yet libraries want a region. */
	ck_assert_ptr_nonnull(host.last.bind_mw.bind_info.mr);
	ck_assert_ptr_ne(host.last.bind_mw.bind_info.mr, &host_mr);
	ck_assert_uint_eq(host_mw.rkey, 0x4403);
}
END_TEST

START_TEST(a_bind_of_what_is_not_there_fails_as_a_bind)
{
	struct pd other = { 0 };

	post_bind(64, 0x4402)->mw_handle = htole32(mw.handle + 1);
	ck_assert_uint_eq(serve(), 1);
	ck_assert_uint_eq(host.wr_id[0], 0x50003ull << 32 | WR_ID_BAD | WR_ID_BIND);
	post_bind(64, 0x4402)->mr_handle = htole32(PVHCA_NO_HANDLE);
	serve();
	mr.pd = &other;
	post_bind(64, 0x4402);
	serve();
	ck_assert_uint_eq(host.wr_id[2], 0x50003ull << 32 | WR_ID_BAD | WR_ID_BIND | 2);
	ck_assert_uint_eq(host_mw.rkey, 0x4401);
}
END_TEST

/* The rxe of Linux 6.1 takes a range that wraps: the whole of memory stood open to peers. */
START_TEST(a_bind_beyond_its_region_fails_as_a_bind)
{
	static const struct {
		uint64_t addr, length;
	} beyond[] = {
		{ 0xffff, 2 },		 { 0x10000, 0x1001 },
		{ 0x11000, 1 },		 { UINT64_MAX - 1023, 8192 },
		{ 0x10000, UINT64_MAX },
	};

	for (unsigned int i = 0; i < G_N_ELEMENTS(beyond); i++) {
		post_bind(beyond[i].length, 0x4402)->addr = htole64(beyond[i].addr);
		ck_assert_uint_eq(serve(), 1);
		ck_assert_uint_eq(host.wr_id[i], 0x50003ull << 32 | WR_ID_BAD | WR_ID_BIND | i);
	}
	ck_assert_uint_eq(host_mw.rkey, 0x4401);
}
END_TEST

START_TEST(nothing_is_taken_in_reset)
{
	post(PVHCA_WQE_SEND, 0);
	qp.state = IBV_QPS_RESET;
	ck_assert_uint_eq(serve(), 0);
	qp.state = IBV_QPS_RTR;
	ck_assert_uint_eq(serve(), 0);
}
END_TEST

START_TEST(a_full_engine_is_tried_again_after_its_next_completion)
{
	unsigned int i;

	host.room = 3;
	for (i = 0; i < 5; i++)
		post(PVHCA_WQE_WRITE, 0);
	ck_assert_uint_eq(serve(), 3);
	ck_assert(vqp.send_stalled);
	ck_assert(context.timed[0] & 1ull << qp.slot);
	ck_assert_uint_eq(host.to_error, 0);
	host.room = 10;
	ck_assert_uint_eq(serve(), 2);
	ck_assert_uint_eq(host.wr_id[4] & WR_ID_INDEX_MASK, 4);
}
END_TEST

/* What was posted before it is good, and may not be flushed with it. */
START_TEST(an_entry_that_the_engine_refuses_completes_in_its_order)
{
	unsigned int i;

	for (i = 0; i < 5; i++)
		post(PVHCA_WQE_WRITE, PVHCA_WQE_F_SIGNALED);
	host.refuse_index = 2;
	ck_assert_uint_eq(serve(), 2);
	ck_assert_uint_eq(host.to_error, 0);
	ck_assert(vqp.held);
	/* However long that takes, nothing more is taken, and nothing asked for. */
	ck_assert_uint_eq(serve(), 0);
	ck_assert_uint_eq(verbs_serve_sends(&qp), 0);
	ck_assert(!wants_again());
	ck_assert_uint_eq(host.sends, 2);
	ck_assert_uint_eq(vqp.in_flight, 2);

	complete_all();
	ck_assert_uint_eq(serve(), 1);
	ck_assert_uint_eq(host.to_error, 1);
	ck_assert(!vqp.held);
	ck_assert(wants_again());
	ck_assert_uint_eq(host.sends, 3);
	ck_assert_uint_eq(host.wr_id[2], 0x50003ull << 32 | WR_ID_BAD | 2);
	ck_assert_uint_eq(host.flags[2], IBV_SEND_SIGNALED);
	/* The rest goes to the engine to be flushed there. */
	ck_assert_uint_eq(serve(), 2);
	ck_assert_uint_eq(host.wr_id[4], 0x50003ull << 32 | 4);
	/* So does what is refused now: the engine keeps the order. */
	host.refuse_index = 5;
	post(PVHCA_WQE_WRITE, PVHCA_WQE_F_SIGNALED);
	ck_assert_uint_eq(serve(), 1);
	ck_assert_uint_eq(host.wr_id[5], 0x50003ull << 32 | WR_ID_BAD | 5);
	ck_assert_uint_eq(host.to_error, 1);
}
END_TEST

/* Its completion is pvhcad's own, for nothing else would tell that it has completed. */
START_TEST(the_last_of_a_batch_completes_for_pvhcad_if_for_nobody_else)
{
	for (unsigned int i = 0; i < 3; i++)
		post(PVHCA_WQE_WRITE, 0);
	ck_assert_uint_eq(serve(), 3);
	ck_assert_uint_eq(host.flags[0] | host.flags[1], 0);
	ck_assert_uint_eq(host.flags[2], IBV_SEND_SIGNALED);
	ck_assert_uint_eq(host.wr_id[2], 0x50003ull << 32 | WR_ID_QUIET | 2);
}
END_TEST

/* A part of a batch, without the last of it: its end cannot be seen, so it is not waited for. */
START_TEST(what_completes_without_a_word_does_not_hold_a_queue_for_ever)
{
	host.room = 1;
	post(PVHCA_WQE_WRITE, 0);
	post(200, 0);
	post(PVHCA_WQE_WRITE, 0);
	/* The first batch ends before the entry that makes no sense. */
	ck_assert_uint_eq(serve(), 1);
	ck_assert(vqp.held && vqp.told);
	complete_all();
	vqp.in_flight = verbs_vm.in_flight = 1;
	vqp.told = false;
	host.room = 9;
	ck_assert_uint_eq(serve(), 1);
	ck_assert_uint_eq(host.to_error, 1);
}
END_TEST

/* All before a refused receive is used: what is sent from here on is sent after it. */
START_TEST(sends_wait_for_a_refused_receive_that_has_its_turn)
{
	vqp.recv_held = true;
	vqp.receives = 1;
	post(PVHCA_WQE_WRITE, 0);
	ck_assert_uint_eq(serve(), 1);
	vqp.receives = 0;
	post(PVHCA_WQE_WRITE, 0);
	ck_assert_uint_eq(serve(), 0);
	ck_assert(!wants_again());
	vqp.recv_held = false;
	ck_assert_uint_eq(serve(), 1);
}
END_TEST

START_TEST(an_entry_without_sense_completes_in_its_order)
{
	post(PVHCA_WQE_WRITE, 0);
	post(200, 0);
	ck_assert_uint_eq(serve(), 1);
	complete_all();
	ck_assert_uint_eq(serve(), 1);
	ck_assert_uint_eq(host.sends, 2);
	ck_assert_uint_eq(host.to_error, 1);
	ck_assert_uint_eq(host.wr_id[1], 0x50003ull << 32 | WR_ID_BAD | 1);
	ck_assert_uint_eq(vm.counters.protocol_errors, 1);
}
END_TEST

/* A process can write any index: it loses the QP, and the VM keeps its device. */
START_TEST(a_producer_index_beyond_the_ring_costs_the_queue_pair)
{
	header->sq_pi = htole32(DEPTH + 1);
	ck_assert_uint_eq(serve(), 0);
	ck_assert_uint_eq(host.to_error, 1);
	ck_assert_uint_eq(host.events, 1);
	ck_assert_uint_eq(vm.counters.protocol_errors, 1);
	/* Once: it is not looked at any more. */
	ck_assert_uint_eq(serve(), 0);
	ck_assert_uint_eq(host.events, 1);
	ck_assert_uint_eq(host.faults, 0);
}
END_TEST

START_TEST(a_completion_without_room_costs_the_queue_pair)
{
	vqp.overrun = true;
	post(PVHCA_WQE_SEND, 0);
	ck_assert_uint_eq(serve(), 0);
	ck_assert_uint_eq(host.to_error, 1);
	ck_assert_uint_eq(host.events, 1);
	ck_assert_uint_eq(host.faults, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("verbs_post");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, posted_sends_reach_the_engine_in_order_with_their_place);
	tcase_add_test(tc, what_a_full_engine_did_not_take_is_not_in_flight);
	tcase_add_test(tc, flags_and_inline_data_are_passed_on);
	tcase_add_test(tc, a_request_with_one_piece_of_memory_reaches_the_engine_in_full);
	tcase_add_test(tc, requests_of_all_kinds_keep_their_order_in_one_batch);
	tcase_add_test(tc, an_entry_that_is_plain_but_for_one_thing_is_refused);
	tcase_add_test(tc, datagrams_of_one_batch_go_where_each_of_them_says);
	tcase_add_test(tc, a_batch_ends_where_the_turn_or_the_rate_does);
	tcase_add_test(tc, what_was_posted_after_the_look_waits_for_the_next_pass);
	tcase_add_test(tc, an_outdated_look_takes_nothing);
	tcase_add_test(tc, all_sends_are_taken_before_a_drain);
	tcase_add_test(tc, a_datagram_goes_where_its_address_handle_says);
	tcase_add_test(tc, an_address_handle_that_is_not_there_is_refused);
	tcase_add_test(tc, a_bind_has_the_windows_key_of_before_and_its_own);
	tcase_add_test(tc, a_bind_of_what_is_not_there_fails_as_a_bind);
	tcase_add_test(tc, a_bind_beyond_its_region_fails_as_a_bind);
	tcase_add_test(tc, nothing_is_taken_in_reset);
	tcase_add_test(tc, a_full_engine_is_tried_again_after_its_next_completion);
	tcase_add_test(tc, an_entry_that_the_engine_refuses_completes_in_its_order);
	tcase_add_test(tc, the_last_of_a_batch_completes_for_pvhcad_if_for_nobody_else);
	tcase_add_test(tc, what_completes_without_a_word_does_not_hold_a_queue_for_ever);
	tcase_add_test(tc, sends_wait_for_a_refused_receive_that_has_its_turn);
	tcase_add_test(tc, an_entry_without_sense_completes_in_its_order);
	tcase_add_test(tc, a_producer_index_beyond_the_ring_costs_the_queue_pair);
	tcase_add_test(tc, a_completion_without_room_costs_the_queue_pair);
	return suite_run("verbs_post", tc);
}
