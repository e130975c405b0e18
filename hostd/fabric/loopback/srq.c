// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Shared receive queues of the loopback fabric. Entries are taken as messages
 * arrive, by whichever requester's pass, under srq->lock, which is taken inside
 * the responder's rq_lock.
 */
#include <endian.h>
#include <stdlib.h>

#include "lib/counters.h"
#include "lib/heap.h"
#include "vm/events.h"
#include "fabric/loopback/private.h"
#include "fabric/loopback/qp.h"
#include "fabric/loopback/serve.h"
#include "vm/pass.h"
#include "vm/vm.h"
#include "worker/worker.h"

/* To wake a requester, whose worker may be another one; ns. */
#define KICK_NS 500

int loopback_srq_create(struct srq *srq)
{
	struct loopback_srq *lsrq;

	if (srq->max_sge > LOOPBACK_MAX_SGE || srq->rq.max_sge > LOOPBACK_MAX_SGE)
		return PVHCA_ST_INVALID;
	lsrq = heap_zalloc(srq->vm->heap, sizeof(*lsrq));
	if (!lsrq)
		return PVHCA_ST_NO_MEMORY;
	CDS_INIT_LIST_HEAD(&lsrq->waiting);
	srq->fabric = lsrq;
	srq->srqn = srq->handle & 0xffffff;
	return PVHCA_ST_OK;
}

void loopback_srq_destroy(struct srq *srq)
{
	heap_free(srq->fabric);
	srq->fabric = NULL;
}

/* One event for an armed limit; with srq->lock held. */
static void check_limit(struct srq *srq, uint32_t posted)
{
	if (posted >= srq->limit)
		return;
	srq->limit = 0;
	events_async(srq->vm, PVHCA_EVENT_SRQ_LIMIT_REACHED, srq->handle);
}

int loopback_srq_set_limit(struct srq *srq, uint32_t limit)
{
	uint32_t posted;
	int status = PVHCA_ST_OK;

	pthread_mutex_lock(&srq->lock);
	if (limit > srq->max_wr) {
		status = PVHCA_ST_INVALID;
	} else {
		srq->limit = limit;
		posted = work_queue_posted(&srq->rq);
		check_limit(srq, posted);
	}
	pthread_mutex_unlock(&srq->lock);
	return status;
}

int loopback_srq_query(struct srq *srq, uint32_t *limit)
{
	pthread_mutex_lock(&srq->lock);
	*limit = srq->limit;
	pthread_mutex_unlock(&srq->lock);
	return PVHCA_ST_OK;
}

/* Have waiter woken when something is posted; with srq->lock held. */
static void wait_for_entry(struct loopback_qp *rx, const struct loopback_qp *waiter)
{
	struct loopback_srq *lsrq = rx->qp->srq->fabric;

	rx->srq_waiter = waiter->qp->qpn;
	if (!rx->srq_waits)
		cds_list_add_tail(&rx->srq_node, &lsrq->waiting);
	rx->srq_waits = true;
}

void loopback_srq_forget(struct loopback_qp *rx)
{
	struct srq *srq = rx->qp->srq;

	if (!srq)
		return;
	pthread_mutex_lock(&srq->lock);
	if (rx->srq_waits)
		cds_list_del(&rx->srq_node);
	rx->srq_waits = false;
	pthread_mutex_unlock(&srq->lock);
}

/* The guest claims more than the SRQ holds: each QP that needs an entry fails. */
static void srq_abused(struct srq *srq)
{
	struct loopback_srq *lsrq = srq->fabric;

	if (lsrq->broken)
		return;
	lsrq->broken = true;
	counter_add(&srq->vm->counters.protocol_errors, 1);
	events_async(srq->vm, PVHCA_EVENT_SRQ_ERR, srq->handle);
}

static enum loopback_take take_entry(struct loopback_qp *rx, const struct loopback_qp *waiter)
{
	struct loopback_receive *receive = &rx->receive;
	struct srq *srq = rx->qp->srq;
	uint32_t posted = work_queue_posted(&srq->rq);

	if (!posted) {
		if (waiter)
			wait_for_entry(rx, waiter);
		return LOOPBACK_TAKE_NONE;
	}
	if (posted == UINT32_MAX) {
		srq_abused(srq);
		loopback_qp_fail(rx, PVHCA_EVENT_QP_FATAL);
		return LOOPBACK_TAKE_BAD;
	}
	receive->status =
		work_queue_take_recv(&srq->rq, srq->rq.ci, &receive->request, receive->sge);
	receive->taken = true;
	srq->rq.ci++;
	check_limit(srq, posted - 1);
	return LOOPBACK_TAKE_OK;
}

enum loopback_take loopback_srq_take(struct loopback_qp *rx, const struct loopback_qp *waiter)
{
	enum loopback_take taken;

	pthread_mutex_lock(&rx->qp->srq->lock);
	taken = take_entry(rx, waiter);
	pthread_mutex_unlock(&rx->qp->srq->lock);
	return taken;
}

unsigned int loopback_srq_serve(struct pass *pass, struct srq *srq)
{
	struct loopback_srq *lsrq = srq->fabric;
	struct loopback *fabric = ((struct loopback_vm *)srq->vm->fabric_vm)->fabric;
	struct loopback_qp *rx, *next;
	struct qp *waiter;

	if (cds_list_empty(&lsrq->waiting) || !work_queue_posted(&srq->rq))
		return 0;
	cds_list_for_each_entry_safe (rx, next, &lsrq->waiting, srq_node) {
		cds_list_del(&rx->srq_node);
		rx->srq_waits = false;
		waiter = loopback_table_find(&fabric->qps, rx->srq_waiter);
		if (waiter)
			loopback_qp_kick(waiter->fabric, pass);
		pass_spend(pass, KICK_NS);
		if (!pass_goes_on(pass)) {
			context_again(srq->context, srq->slot);
			break;
		}
	}
	return 0;
}
