// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QPs of the loopback fabric: life, state changes from inside, queries.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "lib/counters.h"
#include "lib/heap.h"
#include "vm/cq.h"
#include "vm/events.h"
#include "fabric/loopback/key.h"
#include "fabric/loopback/private.h"
#include "fabric/loopback/qp.h"
#include "fabric/loopback/serve.h"
#include "vm/pass.h"
#include "vm/vm.h"
#include "worker/worker.h"

/* ---------------------------------- life ----------------------------------- */

static int qp_check(const struct qp *qp)
{
	if (qp->type != PVHCA_QPT_RC && qp->type != PVHCA_QPT_UC && qp->type != PVHCA_QPT_UD)
		return PVHCA_ST_UNSUPPORTED;
	if (qp->cap.max_send_sge > LOOPBACK_MAX_SGE || qp->cap.max_recv_sge > LOOPBACK_MAX_SGE ||
	    qp->cap.max_inline > LOOPBACK_MAX_INLINE)
		return PVHCA_ST_INVALID;
	return PVHCA_ST_OK;
}

/* With room for the SGEs of one entry of each queue. */
static struct loopback_qp *qp_new(struct qp *qp)
{
	const uint32_t receive = qp->srq ? qp->srq->rq.max_sge : qp->cap.max_recv_sge;
	const uint32_t send = qp->cap.max_send_sge;
	struct loopback_qp *lqp;

	lqp = heap_zalloc(qp->vm->heap, sizeof(*lqp) + (send + receive) * sizeof(lqp->sges[0]));
	if (!lqp)
		return NULL;
	lqp->qp = qp;
	lqp->sq.sge = lqp->sges;
	lqp->receive.sge = lqp->sges + send;
	return lqp;
}

int loopback_qp_create(struct qp *qp)
{
	struct loopback_vm *ls = qp->vm->fabric_vm;
	struct loopback *fabric = ls->fabric;
	struct loopback_qp *lqp;
	uint32_t qpn;
	int status;

	status = qp_check(qp);
	if (status)
		return status;
	lqp = qp_new(qp);
	if (!lqp)
		return PVHCA_ST_NO_MEMORY;
	lqp->fabric = fabric;

	pthread_mutex_lock(&fabric->lock);
	if (loopback_table_reserve(&fabric->qps, &qpn)) {
		pthread_mutex_unlock(&fabric->lock);
		heap_free(lqp);
		return PVHCA_ST_NO_MEMORY;
	}
	qp->qpn = qpn;
	qp->fabric = lqp;
	atomic_store(&qp->state, IBV_QPS_RESET);
	loopback_table_publish(&fabric->qps, qpn, qp);
	pthread_mutex_unlock(&fabric->lock);
	cds_list_add_tail(&lqp->node, &ls->qps);
	return PVHCA_ST_OK;
}

void loopback_qp_hide(struct qp *qp)
{
	struct loopback_qp *lqp = qp->fabric;
	struct loopback *fabric = lqp->fabric;

	loopback_mcast_detach_all(lqp);
	pthread_mutex_lock(&fabric->lock);
	lqp->gone = loopback_table_remove(&fabric->qps, qp->qpn);
	pthread_mutex_unlock(&fabric->lock);
}

/* No peer's worker completes receives of this QP: it is hidden, or loopback_vm_hide() did it. */
void loopback_qp_destroy(struct qp *qp)
{
	struct loopback_qp *lqp = qp->fabric;

	cds_list_del(&lqp->node);
	loopback_places_free(lqp->gone);
	loopback_mcast_free_all(lqp);
	loopback_mw_end_all(lqp);
	loopback_srq_forget(lqp);
	cq_forget(qp->send_cq, &qp->send_held);
	cq_forget(qp->recv_cq, &qp->recv_held);
	qp->fabric = NULL;
	heap_free(lqp);
}

/* ------------------------- state changes from inside ----------------------- */

void loopback_qp_set_state(struct loopback_qp *lqp, enum ibv_qp_state state)
{
	struct qp *qp = lqp->qp;

	pthread_mutex_lock(&qp->rq_lock);
	atomic_store_explicit(&qp->state, state, memory_order_release);
	atomic_store(&lqp->failed, false);
	pthread_mutex_unlock(&qp->rq_lock);
	if (state != IBV_QPS_SQD)
		atomic_store(&lqp->draining, false);
}

void loopback_qp_settle(struct loopback_qp *lqp)
{
	if (atomic_load_explicit(&lqp->failed, memory_order_acquire))
		loopback_qp_set_state(lqp, IBV_QPS_ERR);
}

bool loopback_qp_fits(const struct loopback_qp *lqp, const struct loopback_qp *peer)
{
	return lqp->has_source && peer->has_source && peer->qp->type == lqp->qp->type &&
		peer->qp->vm->network == lqp->qp->vm->network && peer->dest_qpn == lqp->qp->qpn &&
		lqp->dest_qpn == peer->qp->qpn &&
		!memcmp(peer->source, lqp->dgid, LOOPBACK_GID_LEN) &&
		!memcmp(peer->dgid, lqp->source, LOOPBACK_GID_LEN);
}

void loopback_qp_kick(struct loopback_qp *lqp, struct pass *pass)
{
	struct qp *qp = lqp->qp;

	atomic_store(&lqp->kicked, true);
	context_again(qp->context, qp->slot);
	/* A worker that is running sees again_summary in its next pass. */
	if (!pass || qp->vm->worker != pass->worker)
		worker_wake(qp->vm->worker);
}

void loopback_qp_fail(struct loopback_qp *lqp, uint32_t event)
{
	struct qp *qp = lqp->qp;

	if (atomic_exchange(&lqp->failed, true))
		return;
	if (event != LOOPBACK_NO_EVENT)
		events_async(qp->vm, event, qp->handle);
	loopback_qp_kick(lqp, NULL);
}

void loopback_qp_drained(struct loopback_qp *lqp)
{
	struct qp *qp = lqp->qp;

	if (atomic_load(&qp->state) != IBV_QPS_SQD)
		return;
	atomic_store(&lqp->draining, false);
	if (lqp->notify_drained)
		events_async(qp->vm, PVHCA_EVENT_SQ_DRAINED, qp->handle);
	lqp->notify_drained = false;
}

/* --------------------------------- queries --------------------------------- */

int loopback_qp_query(struct qp *qp, uint32_t attr_mask, struct qp_attr *attr)
{
	const struct loopback_qp *lqp = qp->fabric;

	(void)attr_mask; /* all attributes are at hand */
	*attr = lqp->attr;
	attr->qp_state = loopback_qp_state(lqp);
	attr->cur_qp_state = attr->qp_state;
	attr->sq_draining = atomic_load(&lqp->draining);
	attr->path_mig_state = IBV_MIG_MIGRATED;
	return PVHCA_ST_OK;
}
