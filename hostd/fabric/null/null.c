// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The null fabric: each request completes at once with success, and nothing is moved.
 *
 * It serves tests and benchmarks: what remains is what pvhcad itself costs. It is also
 * the smallest fabric that there can be; docs/adding-a-fabric.md goes through it.
 *
 * Messages go nowhere, so receives never get one; they come back when the queue pair
 * fails. It has reliable and unreliable connections, and little that guests can do
 * without: no SRQs, windows, or queue pairs for kernel consumers, and address handles
 * only to be made and destroyed.
 *
 * It can be an engine that takes its time (fabric/null/slow.h): its control operations
 * wait, so that tests see what does not wait for them.
 */
#include <endian.h>
#include <stdlib.h>

#include "fabric/fabric.h"
#include "fabric/null/slow.h"
#include "lib/counters.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "vm/cq.h"
#include "vm/events.h"
#include "vm/pass.h"
#include "vm/vm.h"

#define NULL_MAX_WR	   16384u
#define NULL_MAX_SGE	   32u
#define NULL_MAX_INLINE	   1024u /* bytes */
#define NULL_MAX_OBJECTS   65536u
#define NULL_MAX_MR	   (1ull << 46) /* bytes */
#define NULL_MAX_RD_ATOMIC 128u
#define NULL_MAX_MSG	   (1u << 31) /* bytes */
#define NULL_FIRST_QPN	   2u	      /* 0 and 1 have a meaning of their own */
#define NULL_NETDEV_MTU	   9000u
/* Entries of one call, so that one queue pair does not hold up its VM's others. */
#define NULL_BATCH 64u

#define NULL_OPCODES                                                                  \
	(1u << PVHCA_WQE_SEND | 1u << PVHCA_WQE_SEND_IMM | 1u << PVHCA_WQE_SEND_INV | \
	 1u << PVHCA_WQE_WRITE | 1u << PVHCA_WQE_WRITE_IMM | 1u << PVHCA_WQE_READ |   \
	 1u << PVHCA_WQE_ATOMIC_CMP_SWP | 1u << PVHCA_WQE_ATOMIC_FETCH_ADD)

/* keys: the last that a region was given. */
struct fabric {
	_Atomic uint32_t keys;
};

/**
 * struct null_qp - a queue pair's part
 * @attr: as the guest set them
 * @broken: its rings were abused; it is not served until RESET
 * @inline_data: sized for the biggest stride
 *
 * All under qp->lock.
 */
struct null_qp {
	struct qp_attr attr;
	bool broken;
	uint8_t inline_data[PVHCA_GRANULE];
};

/* ----------------------------- start and stop ------------------------------ */

static struct fabric *null_start(void)
{
	struct fabric *fabric = calloc(1, sizeof(*fabric));

	if (!fabric)
		g_critical("null fabric: no memory");
	else
		g_message("the null fabric moves no data; it is for tests");
	return fabric;
}

static void null_stop(struct fabric *fabric)
{
	free(fabric);
}

static int null_vm_open(struct fabric *fabric, struct vm *vm)
{
	vm->fabric_vm = fabric;
	return PVHCA_ST_OK;
}

static void null_vm_close(struct vm *vm)
{
	vm->fabric_vm = NULL;
}

/* ------------------------------ device and port ---------------------------- */

static int null_query_device(struct vm *vm, struct device_limits *limits)
{
	(void)vm;
	*limits = (struct device_limits){
		.max_mr_size = NULL_MAX_MR,
		.page_size_cap = ~(uint64_t)(PVHCA_GRANULE - 1),
		.device_cap_flags = IBV_DEVICE_CURR_QP_STATE_MOD,
		.hca_core_clock = 1000000, /* timestamps are CLOCK_MONOTONIC in ns */
		.timestamp_mask = UINT64_MAX,
		.vendor_id = PVHCA_PCI_VENDOR_ID,
		.vendor_part_id = PVHCA_PCI_DEVICE_ID,
		.hw_ver = PVHCA_PCI_REVISION,
		.max_qp = NULL_MAX_OBJECTS,
		.max_qp_wr = NULL_MAX_WR,
		.max_sge = NULL_MAX_SGE,
		.max_sge_rd = NULL_MAX_SGE,
		.max_inline = NULL_MAX_INLINE,
		.max_cq = NULL_MAX_OBJECTS,
		.max_cqe = (1u << PVHCA_CQ_MAX_LOG_ENTRIES) - 1,
		.max_mr = NULL_MAX_OBJECTS,
		.max_pd = NULL_MAX_OBJECTS,
		.max_qp_rd_atom = NULL_MAX_RD_ATOMIC,
		.max_qp_init_rd_atom = NULL_MAX_RD_ATOMIC,
		.max_res_rd_atom = NULL_MAX_RD_ATOMIC * NULL_MAX_OBJECTS,
		.max_pkeys = 1,
		.gid_tbl_len = VM_GIDS,
		.host_device = "null",
	};
	return PVHCA_ST_OK;
}

static int null_query_port(struct vm *vm, struct port_attr *port)
{
	(void)vm;
	*port = (struct port_attr){
		.state = IBV_PORT_ACTIVE,
		.phys_state = 5, /* link up; this and the next as in ibv_query_port(3) */
		.active_width = 2,
		.active_speed = 32,
		.max_mtu = IBV_MTU_4096,
		.active_mtu = IBV_MTU_4096,
		.max_vl_num = 1,
		.max_msg_sz = NULL_MAX_MSG,
		.pkey_tbl_len = 1,
		.gid_tbl_len = VM_GIDS,
		.netdev_mtu = NULL_NETDEV_MTU,
		.port_cap_flags = IBV_PORT_CM_SUP | IBV_PORT_IP_BASED_GIDS,
	};
	return PVHCA_ST_OK;
}

static int null_gid_add(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan)
{
	(void)vm;
	(void)index;
	(void)gid;
	(void)vlan;
	slow_down("gid_add");
	return PVHCA_ST_OK;
}

static bool null_vm_side_by_side(struct vm *vm)
{
	(void)vm;
	return slow_is_wanted();
}

/* --------------------- protection domains, addresses, regions -------------- */

static int null_pd_alloc(struct pd *pd)
{
	(void)pd;
	slow_down("pd_alloc");
	return PVHCA_ST_OK;
}

static void null_pd_free(struct pd *pd)
{
	(void)pd;
	slow_down("pd_free");
}

static int null_ah_create(struct ah *ah)
{
	(void)ah;
	slow_down("ah_create");
	return PVHCA_ST_OK;
}

static void null_ah_destroy(struct ah *ah)
{
	(void)ah;
	slow_down("ah_destroy");
}

static int null_mr_reg(struct mr *mr)
{
	struct fabric *fabric = mr->vm->fabric_vm;

	slow_down("mr_reg");
	mr->lkey = mr->rkey = atomic_fetch_add(&fabric->keys, 1) + 1;
	return PVHCA_ST_OK;
}

static int null_mr_dereg(struct mr *mr)
{
	(void)mr;
	slow_down("mr_dereg");
	return PVHCA_ST_OK;
}

/* ------------------------- queue pairs: control ----------------------------- */

static int null_qp_create(struct qp *qp)
{
	if (qp->type != PVHCA_QPT_RC && qp->type != PVHCA_QPT_UC)
		return PVHCA_ST_UNSUPPORTED;
	if (qp->sq.max_sge > NULL_MAX_SGE || qp->rq.max_sge > NULL_MAX_SGE ||
	    qp->cap.max_inline > NULL_MAX_INLINE)
		return PVHCA_ST_INVALID;
	slow_down("qp_create");
	qp->fabric = heap_zalloc(qp->vm->heap, sizeof(struct null_qp));
	if (!qp->fabric)
		return PVHCA_ST_NO_MEMORY;
	qp->qpn = NULL_FIRST_QPN + table_index(qp->handle);
	return PVHCA_ST_OK;
}

static void null_qp_destroy(struct qp *qp)
{
	slow_down("qp_destroy");
	heap_free(qp->fabric);
	qp->fabric = NULL;
}

/* IB vol 1, 10.3.1, without SQD: nothing is ever under way that could drain. */
static bool null_may_become(enum ibv_qp_state from, enum ibv_qp_state to)
{
	switch (to) {
	case IBV_QPS_RESET:
	case IBV_QPS_ERR:
		return true;
	case IBV_QPS_INIT:
		return from == IBV_QPS_RESET || from == IBV_QPS_INIT;
	case IBV_QPS_RTR:
		return from == IBV_QPS_INIT;
	case IBV_QPS_RTS:
		return from == IBV_QPS_RTR || from == IBV_QPS_RTS;
	default:
		return false;
	}
}

static void null_set_state(struct qp *qp, enum ibv_qp_state state)
{
	pthread_mutex_lock(&qp->rq_lock);
	atomic_store(&qp->state, state);
	pthread_mutex_unlock(&qp->rq_lock);
}

static int null_qp_modify(struct qp *qp, uint32_t attr_mask, const struct qp_attr *attr)
{
	enum ibv_qp_state state = atomic_load(&qp->state);
	struct null_qp *own = qp->fabric;

	slow_down("qp_modify");
	if (attr_mask & IBV_QP_CUR_STATE && attr->cur_qp_state != state)
		return PVHCA_ST_INVALID;
	if (attr_mask & IBV_QP_STATE && !null_may_become(state, attr->qp_state))
		return PVHCA_ST_INVALID;
	attributes_set_qp(&own->attr, attr_mask, attr);
	if (!(attr_mask & IBV_QP_STATE))
		return PVHCA_ST_OK;
	null_set_state(qp, attr->qp_state);
	if (attr->qp_state == IBV_QPS_RESET) {
		own->attr = (struct qp_attr){ 0 };
		own->broken = false;
		work_queue_reset(&qp->sq);
		work_queue_reset(&qp->rq);
	}
	return PVHCA_ST_OK;
}

static int null_qp_query(struct qp *qp, uint32_t attr_mask, struct qp_attr *attr)
{
	const struct null_qp *own = qp->fabric;

	(void)attr_mask; /* all attributes are at hand */
	slow_down("qp_query");
	pthread_mutex_lock(&qp->lock);
	*attr = own->attr;
	attr->qp_state = attr->cur_qp_state = atomic_load(&qp->state);
	pthread_mutex_unlock(&qp->lock);
	return PVHCA_ST_OK;
}

/* --------------------------- queue pairs: data ------------------------------ */

/* One call of serve: counts are collected here and added up at its end. */
struct null_serve {
	struct pass *pass;
	struct qp *qp;
	unsigned int messages;
	unsigned int receives;
	unsigned int completions;
	unsigned int errors;
	uint64_t sent;	  /* bytes */
	uint64_t inlined; /* bytes */
};

/* The guest has more outstanding than its queues hold, or claims so. */
static void null_stop_abused(struct qp *qp)
{
	struct null_qp *own = qp->fabric;

	own->broken = true;
	counter_add(&qp->vm->counters.protocol_errors, 1);
	null_set_state(qp, IBV_QPS_ERR);
	events_async(qp->vm, PVHCA_EVENT_QP_FATAL, qp->handle);
}

/* False: it found no place, the queue pair is stopped. */
static bool null_complete(struct null_serve *serve, struct cq *cq, struct cq_held *held,
			  struct pvhca_cqe *cqe)
{
	cqe->qpn = htole32(serve->qp->qpn);
	cqe->timestamp = cq_timestamp(cq);
	serve->completions++;
	if (cqe->status)
		serve->errors++;
	if (cq_push(serve->pass, cq, held, cqe, false))
		return true;
	null_stop_abused(serve->qp);
	return false;
}

/* Take the entry at the head of the send queue, and complete it. Likewise. */
static bool null_serve_send(struct null_serve *serve)
{
	bool flush = atomic_load(&serve->qp->state) == IBV_QPS_ERR;
	struct qp *qp = serve->qp;
	struct null_qp *own = qp->fabric;
	struct ibv_sge sge[NULL_MAX_SGE];
	struct send_request request;
	enum ibv_wc_status status;
	struct pvhca_cqe cqe;

	status = work_queue_take_send(&qp->sq, qp->sq.ci++, NULL_OPCODES, &request, sge,
				      own->inline_data);
	serve->messages++;
	if (flush)
		status = IBV_WC_WR_FLUSH_ERR;
	else if (status)
		null_set_state(qp, IBV_QPS_ERR);
	if (!status) {
		serve->sent += request.length;
		serve->inlined += request.inline_len;
		if (!(request.flags & PVHCA_WQE_F_SIGNALED || qp->flags & PVHCA_CREATE_QP_SIG_ALL))
			return true;
	}
	cqe = (struct pvhca_cqe){
		.wqe_index = htole16(request.index),
		.opcode = ring_cqe_opcode(request.opcode),
		.status = status,
		.byte_len = htole32(status ? 0 : request.length),
	};
	return null_complete(serve, qp->send_cq, &qp->send_held, &cqe);
}

/* Receives get no message: they come back when the queue pair fails. Likewise. */
static bool null_flush_receive(struct null_serve *serve)
{
	struct qp *qp = serve->qp;
	struct ibv_sge sge[NULL_MAX_SGE];
	struct recv_request request;
	struct pvhca_cqe cqe = {
		.opcode = PVHCA_CQE_RECV,
		.status = IBV_WC_WR_FLUSH_ERR,
	};

	(void)work_queue_take_recv(&qp->rq, qp->rq.ci++, &request, sge);
	serve->receives++;
	cqe.wqe_index = htole16(request.tag);
	return null_complete(serve, qp->recv_cq, &qp->recv_held, &cqe);
}

/* A batch of one queue; what is left is asked for again. */
static void null_serve_queue(struct null_serve *serve, const struct work_queue *queue,
			     bool (*serve_one)(struct null_serve *serve))
{
	uint32_t posted = work_queue_posted(queue);
	struct qp *qp = serve->qp;

	if (posted == UINT32_MAX) {
		null_stop_abused(qp);
		return;
	}
	for (unsigned int n = 0; n < NULL_BATCH && posted && pass_goes_on(serve->pass);
	     n++, posted--) {
		pass_spend(serve->pass, PASS_ENTRY_NS / 2);
		if (!serve_one(serve))
			return;
	}
	if (posted)
		context_again(qp->context, qp->slot);
}

static void null_count(const struct null_serve *serve)
{
	struct counters *counters = &serve->qp->vm->counters;

	if (serve->messages)
		counter_add(&counters->messages, serve->messages);
	if (serve->receives)
		counter_add(&counters->receives, serve->receives);
	if (serve->completions)
		counter_add(&counters->completions, serve->completions);
	if (serve->errors)
		counter_add(&counters->errors, serve->errors);
	if (serve->sent)
		counter_add(&counters->payload_bytes_sent, serve->sent);
	if (serve->inlined)
		counter_add(&counters->inline_bytes, serve->inlined);
}

static unsigned int null_qp_serve(struct pass *pass, struct qp *qp)
{
	const struct null_qp *own = qp->fabric;
	struct null_serve serve = { .pass = pass, .qp = qp };
	enum ibv_qp_state state = atomic_load(&qp->state);

	if (!own->broken && (state == IBV_QPS_RTS || state == IBV_QPS_ERR))
		null_serve_queue(&serve, &qp->sq, null_serve_send);
	/* Also if it has just come to that. */
	if (!own->broken && atomic_load(&qp->state) == IBV_QPS_ERR)
		null_serve_queue(&serve, &qp->rq, null_flush_receive);
	null_count(&serve);
	return serve.messages + serve.receives;
}

/* -------------------------------- operations -------------------------------- */

static const struct qp_ops null_qp_ops = {
	.create = null_qp_create,
	.destroy = null_qp_destroy,
	.modify = null_qp_modify,
	.query = null_qp_query,
	.serve = null_qp_serve,
};

const struct fabric_ops fabric_null = {
	.name = "null",
	.settings = &slow_setting_table,
	.start = null_start,
	.stop = null_stop,
	.vm_open = null_vm_open,
	.vm_close = null_vm_close,
	.query_device = null_query_device,
	.query_port = null_query_port,
	.gid_add = null_gid_add,
	.vm_side_by_side = null_vm_side_by_side,
	.pd_alloc = null_pd_alloc,
	.pd_free = null_pd_free,
	.ah_create = null_ah_create,
	.ah_destroy = null_ah_destroy,
	.mr_reg = null_mr_reg,
	.mr_dereg = null_mr_dereg,
	.qp = &null_qp_ops,
};
