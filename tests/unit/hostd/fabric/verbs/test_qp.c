// SPDX-License-Identifier: GPL-2.0-or-later
/* verbs_qp.c with a host device that is played here. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "vm/cq.h"
#include "suite.h"
#include "fabric/verbs/cm/cm.h"
#include "fabric/verbs/private.h"
#include "stubs.h"
#include "worker/worker.h"
#include "vm/events.h"

static struct {
	struct ibv_qp_init_attr made;
	struct ibv_qp_attr modified;
	int mask;
	int fail;
	int qps, cqs;
	uint32_t next_qpn;
	unsigned int sent, sent_before_modify, forgotten;
	bool ex;
	uint32_t create_flags;
	/* Receives of an SRQ's QP: in the CQ, and how many more an error and an end make. */
	unsigned int received, flushed, left;
	uint32_t receiver;
	unsigned int delivered;
} host;

static struct ibv_qp *host_qp(void)
{
	struct ibv_qp *qp;

	if (host.fail) {
		errno = host.fail;
		return NULL;
	}
	qp = calloc(1, sizeof(*qp));
	qp->qp_num = host.next_qpn++;
	host.qps++;
	return qp;
}

static int host_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	(void)qp;
	(void)bad;
	for (; wr; wr = wr->next)
		host.sent++;
	return 0;
}

static int host_poll_cq(struct ibv_cq *cq, int num, struct ibv_wc *wc)
{
	int n;

	(void)cq;
	for (n = 0; n < num && host.received; n++, host.received--)
		wc[n] = (struct ibv_wc){
			.wr_id = WR_ID_RECV | WR_ID_SRQ,
			.qp_num = host.receiver,
		};
	return n;
}

static struct verbs_context *verbs_context;

static int host_query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *attr,
			   size_t size)
{
	(void)size;
	(void)context;
	ck_assert_uint_eq(port, 3);
	attr->active_mtu = IBV_MTU_1024;
	return 0;
}

struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	struct ibv_qp *qp = host_qp();

	if (qp)
		qp->context = pd->context;
	host.made = *attr;
	attr->cap.max_send_wr += 5;
	return qp;
}

static struct ibv_qp *host_create_qp_ex(struct ibv_context *context,
					struct ibv_qp_init_attr_ex *attr)
{
	struct ibv_qp *qp = host_qp();

	if (qp)
		qp->context = context;
	host.ex = true;
	host.create_flags = attr->create_flags;
	return qp;
}

int ibv_destroy_qp(struct ibv_qp *qp)
{
	free(qp);
	host.qps--;
	host.received += host.left;
	host.left = 0;
	return 0;
}

int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	(void)qp;
	host.modified = *attr;
	host.mask = mask;
	host.sent_before_modify = host.sent;
	if (attr->qp_state == IBV_QPS_ERR) {
		host.received += host.flushed;
		host.flushed = 0;
	}
	return host.fail;
}

int ibv_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask,
		 struct ibv_qp_init_attr *init)
{
	(void)qp;
	(void)mask;
	(void)init;
	*attr = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_SQD,
		.sq_draining = 1,
		.qkey = 0x11,
		.port_num = 3,
		.ah_attr.is_global = 1,
	};
	return host.fail;
}

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe, void *arg,
			     struct ibv_comp_channel *channel, int vector)
{
	struct ibv_cq *cq = calloc(1, sizeof(*cq));

	(void)context;
	(void)arg;
	(void)channel;
	(void)vector;
	cq->cqe = cqe;
	host.cqs++;
	return cq;
}

int ibv_destroy_cq(struct ibv_cq *cq)
{
	free(cq);
	host.cqs--;
	return 0;
}

/* ---------------------------- the rest of pvhcad --------------------------- */

bool cq_push_many(struct pass *pass, struct cq *cq, struct cq_held *held,
		  const struct pvhca_cqe *cqes, unsigned int count)
{
	(void)pass;
	(void)held;
	(void)cq;
	(void)cqes;
	host.delivered += count;
	return true;
}

void cq_forget(struct cq *cq, struct cq_held *held)
{
	(void)cq;
	(void)held;
	host.forgotten++;
}

bool vm_gid(const struct vm *vm, uint32_t index, const uint8_t **gid)
{
	(void)vm;
	(void)gid;
	return index == 2;
}

int verbs_gid_index(struct verbs_vm *vv, struct verbs_address *address)
{
	return address == &vv->address[2] ? 7 : -1;
}

int verbs_status(int err)
{
	return err == EINVAL ? PVHCA_ST_INVALID : PVHCA_ST_IO;
}

/* ------------------------------- the guest's ------------------------------- */

static struct vm vm;
static struct verbs_vm vv;
static struct fabric fabric = { .port = 3 };
static struct context context;
static struct ibv_pd host_pd;
static struct pd pd;
static struct cq cq;
static struct qp *qps[4];
static bool qp_taken[4];

static void setup(void)
{
	memset(&host, 0, sizeof(host));
	memset(&vv, 0, sizeof(vv));
	host.next_qpn = 0x11;
	verbs_context = calloc(1, sizeof(*verbs_context));
	verbs_context->sz = sizeof(*verbs_context);
	verbs_context->query_port = host_query_port;
	verbs_context->context.abi_compat = __VERBS_ABI_IS_EXTENDED;
	verbs_context->context.ops.post_send = host_post_send;
	verbs_context->context.ops.poll_cq = host_poll_cq;
	verbs_context->create_qp_ex = host_create_qp_ex;
	host_pd.context = &verbs_context->context;
	vv.context = &verbs_context->context;
	vv.fabric = &fabric;
	vv.attr.max_cqe = 1 << 16;
	vv.attr.atomic_cap = IBV_ATOMIC_HCA;
	vv.qps = qps;
	vv.qp_taken = qp_taken;
	vv.max_qps = 4;
	pthread_mutex_init(&vv.poll_lock, NULL);
	vm.fabric_vm = &vv;
	pd = (struct pd){ .vm = &vm, .fabric = &host_pd };
}

static void teardown(void)
{
	verbs_host_cqs_destroy(&vv);
	ck_assert_int_eq(host.qps, 0);
	ck_assert_int_eq(host.cqs, 0);
	free(verbs_context);
}

/* What a QP needs to be on an SRQ. */
static struct {
	struct ibv_cq cq;
	struct ibv_srq srq;
	struct verbs_host_cq vhcq;
	struct verbs_srq vsrq;
	struct srq guest;
} shared;

static void setup_srq(void)
{
	memset(&shared, 0, sizeof(shared));
	shared.cq.context = &verbs_context->context;
	shared.vhcq =
		(struct verbs_host_cq){ .cq = &shared.cq, .what = VERBS_RECEIVES, .capacity = 64 };
	shared.vsrq = (struct verbs_srq){ .srq = &shared.srq, .host_cq = &shared.vhcq };
	shared.guest.fabric = &shared.vsrq;
}

static struct qp new_qp(enum pvhca_qp_type type)
{
	struct qp qp = {
		.vm = &vm,
		.context = &context,
		.pd = &pd,
		.send_cq = &cq,
		.recv_cq = &cq,
		.type = type,
		.cap = { .max_send_wr = 16,
			 .max_recv_wr = 8,
			 .max_send_sge = 2,
			 .max_recv_sge = 1,
			 .max_inline = 64 },
	};

	pthread_mutex_init(&qp.rq_lock, NULL);
	return qp;
}

START_TEST(each_type_is_the_hosts_with_its_operations)
{
	static const struct {
		enum pvhca_qp_type type;
		enum ibv_qp_type host;
		bool writes, reads;
	} types[] = {
		{ PVHCA_QPT_RC, IBV_QPT_RC, true, true },
		{ PVHCA_QPT_UC, IBV_QPT_UC, true, false },
		{ PVHCA_QPT_UD, IBV_QPT_UD, false, false },
	};

	for (int i = 0; i < 3; i++) {
		struct qp qp = new_qp(types[i].type);
		struct verbs_qp *vqp;

		ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
		vqp = qp.fabric;
		ck_assert_int_eq(host.made.qp_type, types[i].host);
		ck_assert_int_eq(host.made.sq_sig_all, 0);
		ck_assert_uint_eq(qp.cap.max_send_wr, 21);
		ck_assert_uint_eq(qp.qpn, 0x11 + i);
		ck_assert_uint_eq(vqp->send_cq->reserved, 16);
		ck_assert_uint_eq(vqp->recv_cq->reserved, 8);
		ck_assert_ptr_eq(vv.qps[vqp->id & 0xffff], &qp);
		ck_assert_uint_eq(stubs_datagram_qps, types[i].type == PVHCA_QPT_UD);
		ck_assert(vqp->send_opcodes & 1u << PVHCA_WQE_SEND);
		ck_assert(!(vqp->send_opcodes & 1u << PVHCA_WQE_WRITE) != types[i].writes);
		ck_assert(!(vqp->send_opcodes & 1u << PVHCA_WQE_READ) != types[i].reads);
		ck_assert(!(vqp->send_opcodes & 1u << PVHCA_WQE_ATOMIC_CMP_SWP) != types[i].reads);
		/* Kernel consumers' are no fabric's that has no DMA key. */
		ck_assert(!(vqp->send_opcodes & SEND_ALLOW_AV));
		ck_assert(!(vqp->send_opcodes & 1u << PVHCA_WQE_REG_MR));
		verbs_qp_destroy(&qp);
		ck_assert_uint_eq(vv.host_cq[0].reserved, 0);
		ck_assert_uint_eq(vv.host_cq[1].reserved, 0);
	}
}
END_TEST

START_TEST(without_atomics_on_the_host_there_are_none)
{
	struct qp qp = new_qp(PVHCA_QPT_RC);

	vv.attr.atomic_cap = IBV_ATOMIC_NONE;
	ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
	ck_assert(
		!(((struct verbs_qp *)qp.fabric)->send_opcodes & 1u << PVHCA_WQE_ATOMIC_FETCH_ADD));
	verbs_qp_destroy(&qp);
}
END_TEST

START_TEST(what_the_host_refuses_leaves_nothing)
{
	struct qp qp = new_qp(PVHCA_QPT_RC);

	host.fail = EINVAL;
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_INVALID);
	ck_assert_uint_eq(vv.host_cq[0].reserved, 0);
	ck_assert_uint_eq(vv.host_cq[1].reserved, 0);
	host.fail = 0;
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
		verbs_qp_destroy(&qp);
	}
}
END_TEST

START_TEST(multicast_that_does_not_come_back_is_asked_for_otherwise)
{
	struct qp qp = new_qp(PVHCA_QPT_UD);

	qp.flags = PVHCA_CREATE_QP_BLOCK_LOOPBACK;
	ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
	ck_assert(host.ex);
	ck_assert_uint_eq(host.create_flags, IBV_QP_CREATE_BLOCK_SELF_MCAST_LB);
	verbs_qp_destroy(&qp);
}
END_TEST

START_TEST(qps_with_an_srq_receive_in_its_cq_and_are_found_by_number)
{
	struct qp qp[3];

	setup_srq();
	for (int i = 0; i < 3; i++) {
		qp[i] = new_qp(PVHCA_QPT_RC);
		qp[i].srq = &shared.guest;
		qp[i].cap.max_recv_wr = 0;
		ck_assert_int_eq(verbs_qp_create(&qp[i]), PVHCA_ST_OK);
		ck_assert_ptr_eq(host.made.srq, &shared.srq);
		ck_assert_ptr_eq(host.made.recv_cq, &shared.cq);
		ck_assert_ptr_ne(host.made.send_cq, &shared.cq);
		host.next_qpn += VERBS_NUM_BUCKETS - 1; /* of one bucket */
	}
	for (int i = 0; i < 3; i++)
		ck_assert_ptr_eq(verbs_qp_by_num(&vv, qp[i].qpn), &qp[i]);
	ck_assert_ptr_null(verbs_qp_by_num(&vv, qp[0].qpn + 1));
	verbs_qp_destroy(&qp[1]);
	ck_assert_ptr_null(verbs_qp_by_num(&vv, qp[1].qpn));
	ck_assert_ptr_eq(verbs_qp_by_num(&vv, qp[0].qpn), &qp[0]);
	ck_assert_ptr_eq(verbs_qp_by_num(&vv, qp[2].qpn), &qp[2]);
	verbs_qp_destroy(&qp[0]);
	verbs_qp_destroy(&qp[2]);
}
END_TEST

/* The guest gets its entries back by their completions alone. */
START_TEST(what_a_qp_took_from_its_srq_is_completed_before_it_goes)
{
	struct qp_attr attr = { .qp_state = IBV_QPS_RESET };
	struct qp qp = new_qp(PVHCA_QPT_RC);

	setup_srq();
	qp.srq = &shared.guest;
	qp.recv_cq = &cq;
	qp.cap.max_recv_wr = 0;
	ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
	host.receiver = qp.qpn;

	host.received = 3;
	ck_assert_int_eq(verbs_qp_modify(&qp, IBV_QP_STATE, &attr), PVHCA_ST_OK);
	ck_assert_uint_eq(host.delivered, 3);

	host.received = 40;
	host.flushed = 1;
	host.left = 2;
	/* By a command, or because its VM goes. */
	if (_i) {
		verbs_qp_hide(&qp);
		ck_assert_int_eq(host.qps, 0);
		ck_assert_ptr_null(verbs_qp_by_num(&vv, qp.qpn));
		ck_assert_uint_eq(host.delivered, 3 + 43);
	}
	verbs_qp_destroy(&qp);
	ck_assert_uint_eq(host.delivered, 3 + 43);
	ck_assert_uint_eq(host.received, 0);
}
END_TEST

/* A worker that found it in its slot before may look at it until the grace period has passed. */
START_TEST(a_qp_that_was_ended_before_its_grace_period_is_not_served)
{
	uint8_t *memory = aligned_alloc(PVHCA_GRANULE, PVHCA_GRANULE);
	struct ring_buffer *buffer = malloc(sizeof(*buffer) + sizeof(uint8_t *));
	struct pvhca_queue_header *header = (void *)memory;
	struct qp qp = new_qp(PVHCA_QPT_RC);

	memset(memory, 0, PVHCA_GRANULE);
	buffer->granules = 1;
	buffer->granule[0] = memory;
	ck_assert(!work_queue_init(&qp.sq, buffer, &header->sq_pi, 1024, 4, 6, 6, PVHCA_SQ_WQE_DATA,
				   2));
	setup_srq();
	qp.srq = &shared.guest;
	qp.cap.max_recv_wr = 0;
	ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
	qp.state = IBV_QPS_RTS;
	header->sq_pi = htole32(4);
	work_queue_look(&qp.sq);
	verbs_qp_hide(&qp);
	atomic_store(&((struct verbs_qp *)qp.fabric)->overrun, true);
	ck_assert_uint_eq(verbs_qp_serve(NULL, &qp), 0);
	ck_assert_uint_eq(verbs_serve_receives(NULL, &qp), 0);
	ck_assert_uint_eq(host.sent, 0);
	verbs_qp_destroy(&qp);
	free(buffer);
	free(memory);
}
END_TEST

/* Another QP that receives for ever does not keep it. */
START_TEST(an_srq_that_is_busy_does_not_hold_up_the_end_of_a_qp)
{
	struct qp qp = new_qp(PVHCA_QPT_RC);

	setup_srq();
	qp.srq = &shared.guest;
	qp.cap.max_recv_wr = 0;
	ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
	host.receiver = qp.qpn;
	host.received = 1u << 30;
	verbs_qp_destroy(&qp);
	ck_assert_uint_ge(host.delivered, shared.vhcq.capacity);
}
END_TEST

START_TEST(all_that_was_posted_is_there_before_a_drain)
{
	uint8_t *memory = aligned_alloc(PVHCA_GRANULE, PVHCA_GRANULE);
	struct ring_buffer *buffer = malloc(sizeof(*buffer) + sizeof(uint8_t *));
	struct pvhca_queue_header *header = (void *)memory;
	struct qp_attr attr = { .qp_state = IBV_QPS_SQD };
	struct qp qp = new_qp(PVHCA_QPT_RC);
	struct verbs_qp *vqp;
	uint32_t id;

	memset(memory, 0, PVHCA_GRANULE);
	buffer->granules = 1;
	buffer->granule[0] = memory;
	ck_assert(!work_queue_init(&qp.sq, buffer, &header->sq_pi, 1024, 4, 6, 6, PVHCA_SQ_WQE_DATA,
				   2));
	ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
	vqp = qp.fabric;
	id = vqp->id;
	header->sq_pi = htole32(16);
	qp.state = IBV_QPS_RTS;
	ck_assert_int_eq(verbs_qp_modify(&qp, IBV_QP_STATE, &attr), PVHCA_ST_OK);
	ck_assert_uint_eq(host.sent_before_modify, 16);
	ck_assert_uint_eq(qp.state, IBV_QPS_SQD);
	ck_assert_uint_eq(verbs_vm_in_flight(&vm), 16);
	verbs_receiving_begins(&vm, &vqp->receiving);
	attr.qp_state = IBV_QPS_RESET;
	ck_assert_int_eq(verbs_qp_modify(&qp, IBV_QP_STATE, &attr), PVHCA_ST_OK);
	ck_assert_uint_eq(qp.sq.ci, 0);
	ck_assert_uint_ne(vqp->id, id);
	ck_assert_uint_eq(verbs_vm_in_flight(&vm), 0);
	ck_assert_uint_eq(vv.receivers, 0);
	verbs_receiving_begins(&vm, &vqp->receiving);
	verbs_qp_destroy(&qp);
	ck_assert_uint_eq(vv.receivers, 0);
	free(buffer);
	free(memory);
}
END_TEST

START_TEST(a_change_that_the_host_refuses_is_none)
{
	struct qp_attr attr = { .qp_state = IBV_QPS_RTS };
	struct qp qp = new_qp(PVHCA_QPT_RC);

	ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
	host.fail = EINVAL;
	ck_assert_int_eq(verbs_qp_modify(&qp, IBV_QP_STATE, &attr), PVHCA_ST_INVALID);
	ck_assert_uint_eq(qp.state, IBV_QPS_RESET);
	/* An address that is none of the guest's. */
	attr.av.is_global = 1;
	host.fail = 0;
	ck_assert_int_eq(verbs_qp_modify(&qp, IBV_QP_AV, &attr), PVHCA_ST_INVALID);
	ck_assert_int_eq(verbs_qp_modify(&qp, IBV_QP_ALT_PATH, &attr), PVHCA_ST_UNSUPPORTED);
	verbs_qp_destroy(&qp);
}
END_TEST

#define TO_RTR (IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN)

static struct qp_attr to_peer(void)
{
	return (struct qp_attr){
		.path_mtu = IBV_MTU_4096,
		.rq_psn = 1,
		.dest_qp_num = 9,
		.av = { .is_global = 1, .sgid_index = 2, .dgid = { 0xcc } },
	};
}

START_TEST(the_path_is_put_in_terms_of_the_host)
{
	struct qp qp = new_qp(PVHCA_QPT_RC);
	struct qp_attr attr = to_peer(), back;

	ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
	ck_assert_int_eq(verbs_qp_modify(&qp, TO_RTR, &attr), PVHCA_ST_OK);
	ck_assert_uint_eq(host.modified.ah_attr.grh.sgid_index, 7);
	ck_assert_uint_eq(host.modified.ah_attr.grh.dgid.raw[0], 0xdd);
	ck_assert_uint_eq(host.modified.path_mtu, IBV_MTU_4096);
	ck_assert_int_eq(verbs_qp_query(&qp, IBV_QP_AV, &back), PVHCA_ST_OK);
	ck_assert_uint_eq(back.av.sgid_index, 2);
	ck_assert_mem_eq(back.av.dgid, attr.av.dgid, 16);
	/* A change that fails changes nothing of that. */
	attr.av.dgid[0] = 0xab;
	host.fail = EINVAL;
	ck_assert_int_ne(verbs_qp_modify(&qp, TO_RTR, &attr), PVHCA_ST_OK);
	host.fail = 0;
	ck_assert_int_eq(verbs_qp_query(&qp, IBV_QP_AV, &back), PVHCA_ST_OK);
	ck_assert_uint_eq(back.av.dgid[0], 0xcc);
	verbs_qp_destroy(&qp);
}
END_TEST

START_TEST(the_path_mtu_is_the_less_of_the_guests_and_the_hosts)
{
	struct qp qp = new_qp(PVHCA_QPT_RC);
	struct qp_attr attr = to_peer();

	vv.translated = 1;
	ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
	ck_assert_int_eq(verbs_qp_modify(&qp, TO_RTR, &attr), PVHCA_ST_OK);
	ck_assert_uint_eq(host.modified.path_mtu, IBV_MTU_1024);
	attr.path_mtu = IBV_MTU_512;
	ck_assert_int_eq(verbs_qp_modify(&qp, TO_RTR, &attr), PVHCA_ST_OK);
	ck_assert_uint_eq(host.modified.path_mtu, IBV_MTU_512);
	verbs_qp_destroy(&qp);
}
END_TEST

START_TEST(what_the_hosts_connection_manager_agreed_on_holds)
{
	struct qp qp = new_qp(PVHCA_QPT_RC);
	struct qp_attr attr = to_peer();

	vv.cm = (struct cm_vm *)&host;
	ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
	ck_assert_int_eq(verbs_qp_modify(&qp, TO_RTR, &attr), PVHCA_ST_OK);
	ck_assert_uint_eq(host.modified.path_mtu, IBV_MTU_256);
	ck_assert_uint_eq(host.modified.rq_psn, STUBS_CM_PSN);
	/* Of a change that is not about the peer nothing is known. */
	ck_assert_int_eq(verbs_qp_modify(&qp, IBV_QP_RQ_PSN, &attr), PVHCA_ST_OK);
	ck_assert_uint_eq(host.modified.rq_psn, 1);
	verbs_qp_destroy(&qp);
}
END_TEST

START_TEST(a_query_tells_what_the_host_tells)
{
	struct qp qp = new_qp(PVHCA_QPT_UD);
	struct qp_attr attr;

	ck_assert_int_eq(verbs_qp_create(&qp), PVHCA_ST_OK);
	ck_assert_int_eq(verbs_qp_query(&qp, IBV_QP_STATE, &attr), PVHCA_ST_OK);
	ck_assert_uint_eq(attr.qp_state, IBV_QPS_SQD);
	ck_assert_uint_eq(attr.sq_draining, 1);
	ck_assert_uint_eq(attr.qkey, 0x11);
	ck_assert_uint_eq(attr.port_num, 1); /* the guest's */
	verbs_qp_destroy(&qp);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("verbs_qp");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, each_type_is_the_hosts_with_its_operations);
	tcase_add_test(tc, without_atomics_on_the_host_there_are_none);
	tcase_add_test(tc, what_the_host_refuses_leaves_nothing);
	tcase_add_test(tc, multicast_that_does_not_come_back_is_asked_for_otherwise);
	tcase_add_test(tc, qps_with_an_srq_receive_in_its_cq_and_are_found_by_number);
	tcase_add_loop_test(tc, what_a_qp_took_from_its_srq_is_completed_before_it_goes, 0, 2);
	tcase_add_test(tc, a_qp_that_was_ended_before_its_grace_period_is_not_served);
	tcase_add_test(tc, an_srq_that_is_busy_does_not_hold_up_the_end_of_a_qp);
	tcase_add_test(tc, all_that_was_posted_is_there_before_a_drain);
	tcase_add_test(tc, a_change_that_the_host_refuses_is_none);
	tcase_add_test(tc, the_path_is_put_in_terms_of_the_host);
	tcase_add_test(tc, the_path_mtu_is_the_less_of_the_guests_and_the_hosts);
	tcase_add_test(tc, what_the_hosts_connection_manager_agreed_on_holds);
	tcase_add_test(tc, a_query_tells_what_the_host_tells);
	return suite_run("verbs_qp", tc);
}
