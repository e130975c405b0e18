// SPDX-License-Identifier: GPL-2.0-or-later
/* When the host's CQs of a session wake its worker: verbs_cq.c with a host device that is played here. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/grh.h"
#include "vm/cq.h"
#include "suite.h"
#include "fabric/verbs/private.h"
#include "worker/worker.h"

static struct {
	struct ibv_cq *cq[8];
	unsigned int cqs;
	unsigned int notified[8];
	int refuse_notify;
	struct ibv_wc wc;
	bool has_wc;
	bool scanty;	       /* it sets no more of it than it must */
	struct ibv_wc many[8]; /* that one look finds */
	int num_many;
	unsigned int events, asked; /* CQs 0 to events - 1 have one each */
	unsigned int woken, delivered;
	struct pvhca_cqe cqe; /* delivered last */
	bool no_room;	      /* for it */
	uint32_t written;     /* bytes of headers */
} host;

static unsigned int index_of(const struct ibv_cq *cq)
{
	unsigned int i = 0;

	while (host.cq[i] != cq)
		i++;
	return i;
}

static int host_req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	ck_assert(!solicited_only);
	if (host.refuse_notify)
		return host.refuse_notify;
	host.notified[index_of(cq)]++;
	return 0;
}

static int host_poll_cq(struct ibv_cq *cq, int num, struct ibv_wc *wc)
{
	(void)cq;
	ck_assert_int_gt(num, 0);
	if (host.num_many) {
		num = host.num_many;
		memcpy(wc, host.many, num * sizeof(*wc));
		host.num_many = 0;
		return num;
	}
	if (!host.has_wc)
		return 0;
	host.has_wc = false;
	if (host.scanty) {
		wc->wr_id = host.wc.wr_id;
		wc->status = host.wc.status;
		wc->opcode = host.wc.opcode;
		wc->wc_flags = 0;
	} else {
		*wc = host.wc;
	}
	return 1;
}

static struct ibv_pd host_pd;
static struct ibv_context host_context = {
	.ops.req_notify_cq = host_req_notify_cq,
	.ops.poll_cq = host_poll_cq,
};

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe, void *arg,
			     struct ibv_comp_channel *channel, int vector)
{
	struct ibv_cq *cq = calloc(1, sizeof(*cq));

	(void)channel;
	(void)vector;
	cq->context = context;
	cq->cq_context = arg;
	cq->cqe = cqe;
	host.cq[host.cqs++] = cq;
	return cq;
}

int ibv_destroy_cq(struct ibv_cq *cq)
{
	free(cq);
	return 0;
}

int ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **cq_context)
{
	(void)channel;
	host.asked++;
	if (!host.events) {
		errno = EAGAIN;
		return -1;
	}
	*cq = host.cq[--host.events];
	*cq_context = (*cq)->cq_context;
	return 0;
}

void ibv_ack_cq_events(struct ibv_cq *cq, unsigned int n)
{
	(void)cq;
	ck_assert_uint_eq(n, 1);
}

/* ---------------------------- the rest of pvhcad --------------------------- */

void worker_wake(struct worker *worker)
{
	(void)worker;
	host.woken++;
}

bool cq_push_many(struct pass *pass, struct cq *cq, struct cq_held *held,
		  const struct pvhca_cqe *cqes, unsigned int count)
{
	(void)pass;
	(void)held;
	(void)cq;
	host.cqe = cqes[count - 1];
	host.cqe.flags &= ~CQ_F_SOLICITED;
	host.delivered += count;
	return !host.no_room;
}

struct qp *verbs_qp_by_num(struct verbs_vm *vv, uint32_t qpn)
{
	(void)vv;
	(void)qpn;
	return NULL;
}

int verbs_status(int err)
{
	(void)err;
	return PVHCA_ST_IO;
}

void vm_guest_fault(struct vm *vm, const char *format, ...)
{
	(void)vm;
	(void)format;
	ck_abort();
}

const uint8_t *verbs_mr_at(struct verbs_vm *session, const struct verbs_mr **last, uint32_t lkey,
			   uint64_t addr, uint32_t length)
{
	(void)session;
	(void)last;
	(void)length;
	return lkey == 7 ? (const uint8_t *)(uintptr_t)addr : NULL;
}

bool verbs_mr_write(struct verbs_vm *session, const struct ibv_pd *pd, uint32_t lkey, uint64_t addr,
		    const void *from, uint32_t length)
{
	(void)session;
	ck_assert_ptr_eq(pd, &host_pd);
	ck_assert_uint_eq(lkey, 7);
	memcpy((void *)(uintptr_t)addr, from, length);
	host.written += length;
	return true;
}

/* The QP 0x77 is known: it speaks for the address that ends with 0x99. */
bool verbs_address_show(struct vm *guest, uint32_t src_qpn, uint8_t source[16],
			uint8_t destination[16])
{
	(void)guest;
	(void)destination;
	if (src_qpn != 0x77)
		return false;
	source[15] = 0x99;
	return true;
}

/* -------------------------------- a session -------------------------------- */

#define SLOT   9
#define QP_ID  0x50000u
#define SQ_LOG 4

static struct vm vm;
static struct verbs_vm vv;
static struct verbs_host_cq *sends, *receives;
static struct context context;
static struct verbs_qp vqp;
static struct qp qp, *qps[1] = { &qp };
static struct pd pd = { .fabric = &host_pd };

static void setup(void)
{
	memset(&host, 0, sizeof(host));
	memset(&vv, 0, sizeof(vv));
	vv.context = &host_context;
	vv.attr.max_cqe = 4096;
	pthread_mutex_init(&vv.poll_lock, NULL);
	vm.fabric_vm = &vv;
	memset(&context, 0, sizeof(context));
	memset(&qp, 0, sizeof(qp));
	qp.vm = &vm;
	qp.pd = &pd;
	qp.context = &context;
	qp.slot = SLOT;
	qp.sq.entries = 1u << SQ_LOG;
	qp.fabric = &vqp;
	vqp = (struct verbs_qp){ .id = QP_ID, .retired = UINT32_MAX };
	vv.qps = qps;
	vv.max_qps = 1;
	ck_assert_int_eq(verbs_host_cq_reserve(&vv, VERBS_SENDS, 16, &sends), PVHCA_ST_OK);
	ck_assert_int_eq(verbs_host_cq_reserve(&vv, VERBS_RECEIVES, 16, &receives), PVHCA_ST_OK);
}

static void teardown(void)
{
	verbs_host_cqs_destroy(&vv);
}

static unsigned int notified(const struct verbs_host_cq *host_cq)
{
	return host.notified[index_of(host_cq->cq)];
}

START_TEST(sends_and_receives_complete_apart)
{
	struct verbs_host_cq *host_cq;

	ck_assert_ptr_ne(sends->cq, receives->cq);
	ck_assert_int_eq(verbs_host_cq_reserve(&vv, VERBS_RECEIVES, 100, &host_cq), PVHCA_ST_OK);
	ck_assert_ptr_eq(host_cq, receives);
	/* No room: another one. */
	ck_assert_int_eq(verbs_host_cq_reserve(&vv, VERBS_SENDS, 4096, &host_cq), PVHCA_ST_OK);
	ck_assert_ptr_ne(host_cq, sends);
	ck_assert_uint_eq(host.cqs, 3);
}
END_TEST

START_TEST(no_event_is_asked_for_while_nothing_can_complete)
{
	ck_assert(!verbs_vm_arm(NULL, &vm));
	ck_assert_uint_eq(notified(sends) + notified(receives), 0);
}
END_TEST

START_TEST(sends_in_flight_have_an_event)
{
	vv.in_flight = 1;
	ck_assert(!verbs_vm_arm(NULL, &vm));
	ck_assert_uint_eq(notified(sends), 1);
	ck_assert_uint_eq(notified(receives), 0);
	/* Until it came, it is to come. */
	ck_assert(!verbs_vm_arm(NULL, &vm));
	ck_assert_uint_eq(notified(sends), 1);
	host.events = 1;
	verbs_vm_event(NULL, &vm);
	ck_assert(!verbs_vm_arm(NULL, &vm));
	ck_assert_uint_eq(notified(sends), 2);
}
END_TEST

START_TEST(receives_have_an_event_from_the_first_to_the_last)
{
	bool one = false, other = false;

	verbs_receiving_begins(&vm, &one);
	verbs_receiving_begins(&vm, &one);
	/* The worker may be asleep without it. */
	ck_assert_uint_eq(host.woken, 1);
	verbs_receiving_begins(&vm, &other);
	ck_assert_uint_eq(host.woken, 1);
	verbs_receiving_ends(&vm, &one);
	verbs_receiving_ends(&vm, &one);
	ck_assert(!verbs_vm_arm(NULL, &vm));
	ck_assert_uint_eq(notified(receives), 1);
	ck_assert_uint_eq(notified(sends), 0);

	host.events = 2;
	verbs_vm_event(NULL, &vm);
	verbs_receiving_ends(&vm, &other);
	ck_assert(!verbs_vm_arm(NULL, &vm));
	ck_assert_uint_eq(notified(receives), 1);
	verbs_receiving_begins(&vm, &one);
	ck_assert_uint_eq(host.woken, 2);
}
END_TEST

START_TEST(what_completed_before_is_not_slept_over)
{
	vv.in_flight = 1;
	host.has_wc = true;
	ck_assert(verbs_vm_arm(NULL, &vm));
	ck_assert(!verbs_vm_arm(NULL, &vm));
}
END_TEST

START_TEST(who_cannot_be_woken_does_not_sleep)
{
	vv.in_flight = 1;
	host.refuse_notify = EIO;
	ck_assert(verbs_vm_arm(NULL, &vm));
	host.refuse_notify = 0;
	ck_assert(!verbs_vm_arm(NULL, &vm));
	ck_assert_uint_eq(notified(sends), 1);
}
END_TEST

START_TEST(events_are_read_as_long_as_there_may_be_some)
{
	verbs_vm_event(NULL, &vm);
	ck_assert_uint_eq(host.asked, 0);

	vv.in_flight = vv.receivers = 1;
	verbs_vm_arm(NULL, &vm);
	host.events = 2;
	verbs_vm_event(NULL, &vm);
	ck_assert_uint_eq(host.asked, 2);
	/* One of two: the other is asked for. */
	verbs_vm_arm(NULL, &vm);
	host.events = 1;
	verbs_vm_event(NULL, &vm);
	ck_assert_uint_eq(host.asked, 4);
	ck_assert(!sends->armed);
	ck_assert(receives->armed);
}
END_TEST

static void complete(uint64_t flags, enum ibv_wc_status status)
{
	host.wc.wr_id = verbs_wr_id(&vqp, flags & ~WR_ID_INDEX_MASK, flags & WR_ID_INDEX_MASK);
	host.wc.status = status;
	host.has_wc = true;
	verbs_vm_poll(NULL, &vm);
}

static bool is_asked_for(void)
{
	return context.again[0] & 1ull << SLOT;
}

/* The guest has more work outstanding than its queues hold. */
START_TEST(a_completion_without_room_has_its_queue_pair_stopped)
{
	complete(WR_ID_RECV, IBV_WC_SUCCESS);
	ck_assert(!vqp.overrun);
	ck_assert(!is_asked_for());
	host.no_room = true;
	complete(WR_ID_RECV, IBV_WC_SUCCESS);
	ck_assert(vqp.overrun);
	ck_assert(is_asked_for());
}
END_TEST

START_TEST(what_the_guest_did_not_ask_for_is_only_counted_as_done)
{
	vqp.in_flight = vv.in_flight = 5;
	complete(WR_ID_QUIET | 3, IBV_WC_SUCCESS);
	ck_assert_uint_eq(host.delivered, 0);
	ck_assert_uint_eq(vqp.in_flight, 1);
	ck_assert_uint_eq(vv.in_flight, 1);
	/* An error it is told. */
	complete(WR_ID_QUIET | 4, IBV_WC_RETRY_EXC_ERR);
	ck_assert_uint_eq(host.delivered, 1);
	ck_assert_uint_eq(host.cqe.status, IBV_WC_RETRY_EXC_ERR);
	ck_assert_uint_eq(le16toh(host.cqe.wqe_index), 4);
	ck_assert_uint_eq(vqp.in_flight, 0);
}
END_TEST

/* Engines set of a completion what it has: of the rest, what stood there is none of the guest's. */
START_TEST(a_guest_is_not_told_what_an_engine_did_not_set)
{
	host.wc.byte_len = 77;
	host.wc.src_qp = 5;
	host.wc.pkey_index = 6;
	host.wc.sl = 7;
	complete(WR_ID_RECV, IBV_WC_SUCCESS);
	ck_assert_uint_eq(le32toh(host.cqe.byte_len), 77);
	ck_assert_uint_eq(le32toh(host.cqe.src_qp), 5);
	ck_assert_uint_eq(le16toh(host.cqe.pkey_index), 6);
	ck_assert_uint_eq(host.cqe.sl, 7);
	host.scanty = true;
	complete(1, IBV_WC_SUCCESS);
	ck_assert_uint_eq(host.delivered, 2);
	ck_assert_uint_eq(host.cqe.byte_len, 0);
	ck_assert_uint_eq(host.cqe.src_qp, 0);
	ck_assert_uint_eq(host.cqe.pkey_index, 0);
	ck_assert_uint_eq(host.cqe.sl, 0);
}
END_TEST

/* Only what its guest finds in its CQ counts as written. */
START_TEST(completions_and_errors_are_counted)
{
	complete(WR_ID_QUIET, IBV_WC_SUCCESS);
	complete(1, IBV_WC_SUCCESS);
	complete(2, IBV_WC_RETRY_EXC_ERR);
	complete(WR_ID_RECV | 2, IBV_WC_WR_FLUSH_ERR);
	ck_assert_uint_eq(vm.counters.completions, 3);
	ck_assert_uint_eq(vm.counters.errors, 2);
}
END_TEST

static void add_one(uint32_t id, uint64_t flags, unsigned int index)
{
	host.many[host.num_many++] = (struct ibv_wc){
		.wr_id = (uint64_t)id << WR_ID_QP_SHIFT | flags | index,
		.status = IBV_WC_SUCCESS,
	};
}

/* What one look finds: runs of each queue, and what is from before a RESET among them. */
START_TEST(completions_of_one_look_are_counted_for_their_queues)
{
	const uint32_t id = verbs_wr_id(&vqp, 0, 0) >> WR_ID_QP_SHIFT;

	vqp.in_flight = vv.in_flight = 6;
	vqp.receives = 3;
	add_one(id, 0, 0);
	add_one(id, WR_ID_QUIET, 2);
	add_one(id, WR_ID_RECV, 0);
	add_one(id, WR_ID_RECV, 1);
	add_one(id, 0, 3);
	add_one(id ^ 1u << VERBS_QP_INDEX_BITS, 0, 9);
	add_one(id, 0, 4);
	verbs_vm_poll(NULL, &vm);
	ck_assert_uint_eq(host.delivered, 5);
	ck_assert_uint_eq(le16toh(host.cqe.wqe_index), 4);
	ck_assert_uint_eq(vqp.in_flight, 1);
	ck_assert_uint_eq(vv.in_flight, 1);
	ck_assert_uint_eq(vqp.receives, 1);
}
END_TEST

START_TEST(a_refused_entry_has_its_turn_after_the_last_before_it)
{
	vqp.in_flight = vv.in_flight = 2;
	vqp.held = true;
	complete(0, IBV_WC_SUCCESS);
	ck_assert(!is_asked_for());
	complete(1, IBV_WC_SUCCESS);
	ck_assert(is_asked_for());

	memset(&context, 0, sizeof(context));
	vqp.held = false;
	vqp.recv_held = true;
	vqp.receives = 2;
	complete(WR_ID_RECV, IBV_WC_SUCCESS);
	ck_assert(!is_asked_for());
	complete(WR_ID_RECV | 1, IBV_WC_SUCCESS);
	ck_assert(is_asked_for());
}
END_TEST

/* --------------------------- what precedes a datagram ---------------------- */

static uint8_t grh[GRH_LEN];

static void receive_datagram(const struct ibv_sge *sge, unsigned int num_sge)
{
	vqp.headers = verbs_headers_new(NULL, 4);
	qp.type = PVHCA_QPT_UD;
	verbs_headers_note(vqp.headers, 3, sge, num_sge);
	complete(WR_ID_RECV | 3, IBV_WC_SUCCESS);
	verbs_headers_free(vqp.headers);
}

static void make_grh(bool ipv4)
{
	static const uint8_t gid[2][16] = { { 0xfe, 0x80, [15] = 1 },
					    { [10] = 0xff, 0xff, 10, 0, 0, 1 } };
	static const struct av av = { .hop_limit = 1 };

	grh_fill(grh, &av, gid[ipv4], gid[ipv4], 100);
}

START_TEST(a_datagram_has_the_type_of_its_header)
{
	struct ibv_sge sge = { (uintptr_t)grh, 100, 7 };

	make_grh(true);
	receive_datagram(&sge, 1);
	ck_assert_uint_eq(host.cqe.sl, GRH_SL_ROCE_V2 | GRH_SL_IPV4);
	make_grh(false);
	receive_datagram(&sge, 1);
	ck_assert_uint_eq(host.cqe.sl, GRH_SL_ROCE_V2 | GRH_SL_IPV6);
	/* An engine that says it is believed, whatever is there. */
	host.wc.sl = 3;
	receive_datagram(&sge, 1);
	ck_assert_uint_eq(host.cqe.sl, 3);
}
END_TEST

START_TEST(a_header_in_two_pieces_is_put_together)
{
	uint8_t head[17], tail[23];
	struct ibv_sge sge[] = { { (uintptr_t)head, sizeof(head), 7 },
				 { (uintptr_t)tail, sizeof(tail), 7 } };

	make_grh(true);
	memcpy(head, grh, sizeof(head));
	memcpy(tail, grh + sizeof(head), sizeof(tail));
	receive_datagram(sge, 2);
	ck_assert_uint_eq(host.cqe.sl, GRH_SL_ROCE_V2 | GRH_SL_IPV4);
}
END_TEST

/* Of a VM that has translated addresses. */
START_TEST(a_header_shows_the_addresses_that_the_guest_knows)
{
	uint8_t head[30], tail[10], source[16], destination[16];
	const uint8_t type = GRH_SL_ROCE_V2 | GRH_SL_IPV4;
	struct ibv_sge sge[] = { { (uintptr_t)head, sizeof(head), 7 },
				 { (uintptr_t)tail, sizeof(tail), 7 } };

	make_grh(true);
	memcpy(head, grh, sizeof(head));
	memcpy(tail, grh + sizeof(head), sizeof(tail));
	host.wc.src_qp = 0x77;
	receive_datagram(sge, 2);
	ck_assert_uint_eq(host.written, 0);
	vv.translated = 1;
	host.wc.src_qp = 0x78; /* a peer's */
	receive_datagram(sge, 2);
	ck_assert_uint_eq(host.written, 0);
	host.wc.src_qp = 0x77;
	receive_datagram(sge, 2);
	ck_assert_uint_eq(host.written, GRH_LEN);
	ck_assert_uint_eq(host.cqe.sl, type);
	memcpy(grh, head, sizeof(head));
	memcpy(grh + sizeof(head), tail, sizeof(tail));
	ck_assert_uint_eq(grh_header_type(grh), type);
	grh_addresses(grh, type, source, destination);
	ck_assert_uint_eq(source[15], 0x99);
	ck_assert_uint_ne(destination[15], 0x99);
	/* No header, so nothing to change. */
	memset(head, 0, sizeof(head));
	receive_datagram(sge, 2);
	ck_assert_uint_eq(host.written, GRH_LEN);
}
END_TEST

START_TEST(a_header_that_cannot_be_found_has_no_type)
{
	struct ibv_sge sge[] = { { (uintptr_t)grh, 39, 7 }, { (uintptr_t)grh, 0, 7 } };
	struct ibv_sge strange = { (uintptr_t)grh, 40, 8 };

	make_grh(true);
	receive_datagram(sge, 2);
	ck_assert_uint_eq(host.cqe.sl, 0);
	receive_datagram(&strange, 1);
	ck_assert_uint_eq(host.cqe.sl, 0);
	receive_datagram(NULL, 0);
	ck_assert_uint_eq(host.cqe.sl, 0);
	/* A tag beyond the queue is a guest's own affair. */
	vqp.headers = verbs_headers_new(NULL, 4);
	verbs_headers_note(vqp.headers, 4, &strange, 1);
	complete(WR_ID_RECV | 4, IBV_WC_SUCCESS);
	ck_assert_uint_eq(host.cqe.sl, 0);
	verbs_headers_free(vqp.headers);
}
END_TEST

START_TEST(a_message_that_is_no_datagram_is_not_looked_at)
{
	struct ibv_sge sge = { (uintptr_t)grh, 100, 7 };

	make_grh(true);
	vqp.headers = verbs_headers_new(NULL, 4);
	verbs_headers_note(vqp.headers, 3, &sge, 1);
	qp.type = PVHCA_QPT_RC;
	complete(WR_ID_RECV | 3, IBV_WC_SUCCESS);
	ck_assert_uint_eq(host.cqe.sl, 0);
	qp.type = PVHCA_QPT_UD;
	complete(WR_ID_RECV | 3, IBV_WC_WR_FLUSH_ERR);
	ck_assert_uint_eq(host.cqe.sl, 0);
	verbs_headers_free(vqp.headers);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("verbs_cq");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, sends_and_receives_complete_apart);
	tcase_add_test(tc, no_event_is_asked_for_while_nothing_can_complete);
	tcase_add_test(tc, sends_in_flight_have_an_event);
	tcase_add_test(tc, receives_have_an_event_from_the_first_to_the_last);
	tcase_add_test(tc, what_completed_before_is_not_slept_over);
	tcase_add_test(tc, who_cannot_be_woken_does_not_sleep);
	tcase_add_test(tc, events_are_read_as_long_as_there_may_be_some);
	tcase_add_test(tc, a_completion_without_room_has_its_queue_pair_stopped);
	tcase_add_test(tc, what_the_guest_did_not_ask_for_is_only_counted_as_done);
	tcase_add_test(tc, a_guest_is_not_told_what_an_engine_did_not_set);
	tcase_add_test(tc, completions_and_errors_are_counted);
	tcase_add_test(tc, completions_of_one_look_are_counted_for_their_queues);
	tcase_add_test(tc, a_refused_entry_has_its_turn_after_the_last_before_it);
	tcase_add_test(tc, a_datagram_has_the_type_of_its_header);
	tcase_add_test(tc, a_header_in_two_pieces_is_put_together);
	tcase_add_test(tc, a_header_shows_the_addresses_that_the_guest_knows);
	tcase_add_test(tc, a_header_that_cannot_be_found_has_no_type);
	tcase_add_test(tc, a_message_that_is_no_datagram_is_not_looked_at);
	return suite_run("verbs_cq", tc);
}
