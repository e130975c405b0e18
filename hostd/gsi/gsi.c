// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * GSI queue pairs: their life and their states. gsi/send.c and gsi/receive.c carry their
 * datagrams, and gsi/ports.c knows the owners of addresses.
 */
#include <endian.h>
#include <glib.h>
#include <string.h>

#include "lib/counters.h"
#include "lib/heap.h"
#include "vm/cq.h"
#include "gsi/private.h"

bool gsi_complete(struct pass *pass, struct qp *qp, struct pvhca_cqe *cqe)
{
	const bool recv = cqe->opcode == PVHCA_CQE_RECV;
	struct cq *cq = recv ? qp->recv_cq : qp->send_cq;

	cqe->qpn = htole32(qp->qpn);
	cqe->timestamp = cq_timestamp(cq);
	counter_add(&qp->vm->counters.completions, 1);
	if (cqe->status)
		counter_add(&qp->vm->counters.errors, 1);
	return cq_push(pass, cq, recv ? &qp->recv_held : &qp->send_held, cqe, false);
}

void gsi_set_state(struct qp *qp, enum ibv_qp_state state)
{
	pthread_mutex_lock(&qp->rq_lock);
	atomic_store(&qp->state, state);
	pthread_mutex_unlock(&qp->rq_lock);
}

void gsi_abused(struct qp *qp)
{
	struct gsi *own = qp->fabric;

	own->broken = true;
	vm_guest_fault(qp->vm, "more work on its GSI queue pair than that holds");
}

static unsigned int gsi_qp_serve(struct pass *pass, struct qp *qp)
{
	struct gsi *own = qp->fabric;
	unsigned int taken;

	if (own->broken)
		return 0;
	if (atomic_load(&own->failed) && atomic_load(&qp->state) != IBV_QPS_ERR)
		gsi_set_state(qp, IBV_QPS_ERR);
	taken = gsi_serve_sends(pass, qp);
	if (!own->broken && atomic_load(&qp->state) == IBV_QPS_ERR)
		taken += gsi_flush_receives(pass, qp);
	return taken;
}

/* ------------------------------- control operations ------------------------ */

static int gsi_qp_create(struct qp *qp)
{
	struct gsi_port *port;
	struct gsi *own;

	if (!qp->context->kernel || qp->srq || !qp->sq.entries || !qp->rq.entries ||
	    qp->sq.max_sge > GSI_MAX_SGE || qp->rq.max_sge > GSI_MAX_SGE)
		return PVHCA_ST_INVALID;
	own = heap_zalloc(qp->vm->heap, sizeof(*own));
	if (!own)
		return PVHCA_ST_NO_MEMORY;

	pthread_mutex_lock(&gsi_lock);
	port = gsi_port_get(qp->vm);
	if (!port || port->qp) {
		pthread_mutex_unlock(&gsi_lock);
		heap_free(own);
		return port ? PVHCA_ST_BUSY : PVHCA_ST_NO_MEMORY;
	}
	pthread_mutex_init(&own->delivery, NULL);
	qp->qpn = GSI_QPN;
	qp->fabric = own;
	port->qp = qp;
	pthread_mutex_unlock(&gsi_lock);
	return PVHCA_ST_OK;
}

static void gsi_qp_hide(struct qp *qp)
{
	struct vm *vm = qp->vm;

	pthread_mutex_lock(&gsi_lock);
	if (vm->gsi_port && vm->gsi_port->qp == qp) {
		vm->gsi_port->qp = NULL;
		gsi_port_put(vm);
	}
	pthread_mutex_unlock(&gsi_lock);
}

/* It is hidden, or its VM is: gsi_hide(). No worker knows it any more. */
static void gsi_qp_destroy(struct qp *qp)
{
	struct gsi *own = qp->fabric;

	/* Another thread may be about to have delivered to it. */
	pthread_mutex_lock(&own->delivery);
	pthread_mutex_unlock(&own->delivery);
	pthread_mutex_destroy(&own->delivery);
	heap_free(own);
	qp->fabric = NULL;
}

/* IB vol 1, 10.3.1, without SQD; the same state again changes attributes. */
static bool gsi_may_become(enum ibv_qp_state from, enum ibv_qp_state to)
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
		return from == IBV_QPS_RTR || from == IBV_QPS_RTS || from == IBV_QPS_SQE;
	default:
		return false;
	}
}

/* Both rings begin anew, and nothing of before is delivered. */
static void gsi_reset(struct qp *qp)
{
	struct gsi *own = qp->fabric;

	pthread_mutex_lock(&qp->rq_lock);
	work_queue_reset(&qp->sq);
	work_queue_reset(&qp->rq);
	atomic_store(&own->failed, false);
	pthread_mutex_unlock(&qp->rq_lock);
	memset(&own->attr, 0, sizeof(own->attr));
}

#define GSI_MODIFY_MASK                                                                    \
	(IBV_QP_STATE | IBV_QP_CUR_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY | \
	 IBV_QP_SQ_PSN)

static int gsi_qp_modify(struct qp *qp, uint32_t attr_mask, const struct qp_attr *attr)
{
	enum ibv_qp_state state = atomic_load(&qp->state);
	struct gsi *own = qp->fabric;

	if (attr_mask & ~(uint32_t)GSI_MODIFY_MASK)
		return PVHCA_ST_INVALID;
	if (atomic_load(&own->failed))
		state = IBV_QPS_ERR;
	if (attr_mask & IBV_QP_CUR_STATE && attr->cur_qp_state != state)
		return PVHCA_ST_INVALID;
	if (attr_mask & IBV_QP_STATE && !gsi_may_become(state, attr->qp_state))
		return PVHCA_ST_INVALID;

	if (attr_mask & IBV_QP_STATE) {
		gsi_set_state(qp, attr->qp_state);
		if (attr->qp_state == IBV_QPS_RESET)
			gsi_reset(qp);
	}
	if (attr_mask & IBV_QP_PKEY_INDEX)
		own->attr.pkey_index = attr->pkey_index;
	if (attr_mask & IBV_QP_QKEY)
		own->attr.qkey = attr->qkey;
	if (attr_mask & IBV_QP_SQ_PSN)
		own->attr.sq_psn = attr->sq_psn;
	return PVHCA_ST_OK;
}

static int gsi_qp_query(struct qp *qp, uint32_t attr_mask, struct qp_attr *attr)
{
	struct gsi *own = qp->fabric;

	(void)attr_mask;
	*attr = own->attr;
	attr->qp_state = atomic_load(&own->failed) ? IBV_QPS_ERR : atomic_load(&qp->state);
	attr->cur_qp_state = attr->qp_state;
	attr->port_num = 1;
	return PVHCA_ST_OK;
}

const struct qp_ops gsi_qp_ops = {
	.create = gsi_qp_create,
	.hide = gsi_qp_hide,
	.destroy = gsi_qp_destroy,
	.modify = gsi_qp_modify,
	.query = gsi_qp_query,
	.serve = gsi_qp_serve,
};
