// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * NET queue pairs: their life. net/send.c and net/deliver.c carry the packets, and net/route.c
 * knows the owners of addresses.
 */
#include <endian.h>
#include <string.h>

#include <urcu-qsbr.h>

#include "lib/counters.h"
#include "lib/heap.h"
#include "net/private.h"
#include "vm/cq.h"
#include "worker/worker.h"

bool net_complete(struct pass *pass, struct qp *qp, struct pvhca_cqe *cqe)
{
	const bool recv = cqe->opcode == PVHCA_CQE_RECV;
	struct cq *cq = recv ? qp->recv_cq : qp->send_cq;

	cqe->qpn = htole32(NET_QPN);
	cqe->timestamp = cq_timestamp(cq);
	counter_add(&qp->vm->counters.completions, 1);
	if (cqe->status)
		counter_add(&qp->vm->counters.errors, 1);
	return cq_push(pass, cq, recv ? &qp->recv_held : &qp->send_held, cqe, false);
}

void net_fail(struct qp *qp)
{
	struct net *own = qp->fabric;

	if (atomic_exchange(&own->failed, true))
		return;
	context_again(qp->context, qp->slot);
	worker_wake(qp->vm->worker);
}

void net_abused(struct qp *qp)
{
	struct net *own = qp->fabric;

	atomic_store(&own->failed, true);
	vm_guest_fault(qp->vm, "more work on its queue pair for packets than that holds");
}

static void net_set_state(struct qp *qp, enum ibv_qp_state state)
{
	pthread_mutex_lock(&qp->rq_lock);
	atomic_store(&qp->state, state);
	pthread_mutex_unlock(&qp->rq_lock);
}

static unsigned int net_qp_serve(struct pass *pass, struct qp *qp)
{
	struct net *own = qp->fabric;
	unsigned int taken;

	if (own->broken)
		return 0;
	if (atomic_load(&own->failed) && atomic_load(&qp->state) != IBV_QPS_ERR)
		net_set_state(qp, IBV_QPS_ERR);
	taken = net_serve_sends(pass, qp);
	if (!own->broken && atomic_load(&qp->state) == IBV_QPS_ERR)
		taken += net_flush_receives(pass, qp);
	return taken;
}

/* ------------------------------- control operations ------------------------ */

static int net_qp_create(struct qp *qp)
{
	struct vm *vm = qp->vm;
	struct net *own;

	if (!qp->context->kernel || qp->srq || !qp->sq.entries || !qp->rq.entries ||
	    qp->sq.max_sge > PVHCA_NET_MAX_SGE || qp->rq.max_sge > PVHCA_NET_MAX_SGE)
		return PVHCA_ST_INVALID;
	own = heap_zalloc(vm->heap, sizeof(*own));
	if (!own)
		return PVHCA_ST_NO_MEMORY;
	qp->qpn = NET_QPN;
	own->tso = vm->features & PVHCA_FEATURE_NET_TSO;
	qp->fabric = own;
	atomic_store(&qp->state, IBV_QPS_RTS);
	/* Commands that make QPs may go side by side. */
	if (uatomic_cmpxchg(&vm->net_qp, NULL, qp)) {
		qp->fabric = NULL;
		heap_free(own);
		return PVHCA_ST_BUSY;
	}
	return PVHCA_ST_OK;
}

static void net_qp_hide(struct qp *qp)
{
	uatomic_cmpxchg(&qp->vm->net_qp, qp, NULL);
}

/* It is hidden, or its VM is: net_hide(). */
static void net_qp_destroy(struct qp *qp)
{
	heap_free(qp->fabric);
	qp->fabric = NULL;
}

/* It has no states that a guest could set: it works as long as it lives. */
static int net_qp_modify(struct qp *qp, uint32_t attr_mask, const struct qp_attr *attr)
{
	(void)qp;
	(void)attr_mask;
	(void)attr;
	return PVHCA_ST_UNSUPPORTED;
}

static int net_qp_query(struct qp *qp, uint32_t attr_mask, struct qp_attr *attr)
{
	const struct net *own = qp->fabric;

	(void)attr_mask;
	attr->qp_state = atomic_load(&own->failed) ? IBV_QPS_ERR : atomic_load(&qp->state);
	attr->cur_qp_state = attr->qp_state;
	attr->port_num = 1;
	return PVHCA_ST_OK;
}

const struct qp_ops net_qp_ops = {
	.create = net_qp_create,
	.hide = net_qp_hide,
	.destroy = net_qp_destroy,
	.modify = net_qp_modify,
	.query = net_qp_query,
	.serve = net_qp_serve,
};
