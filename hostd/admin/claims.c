// SPDX-License-Identifier: GPL-2.0-or-later
#include "admin/claims.h"

#include "vm/events.h"
#include "vm/objects.h"
#include "vm/vm.h"

void claims_add(struct claims *claims, enum claim_kind kind, bool alone, uint32_t handle)
{
	claims->claim[claims->count++] = (struct claim){ kind, alone, handle };
}

static void add_parents_of_qp(struct claims *claims, const struct qp *qp)
{
	claims_add(claims, CLAIM_CONTEXT, false, qp->context->handle);
	claims_add(claims, CLAIM_PD, false, qp->pd->handle);
	claims_add(claims, CLAIM_CQ, false, qp->send_cq->handle);
	claims_add(claims, CLAIM_CQ, false, qp->recv_cq->handle);
	if (qp->srq)
		claims_add(claims, CLAIM_SRQ, false, qp->srq->handle);
}

/* PD of what has nothing else above it; NULL: no such object. */
static const struct pd *parent_pd(const struct vm *vm, enum claim_kind kind, uint32_t handle)
{
	const struct mr *mr;
	const struct mw *mw;
	const struct ah *ah;

	switch (kind) {
	case CLAIM_MR:
		mr = table_find(&vm->mrs, handle);
		return mr ? mr->pd : NULL;
	case CLAIM_MW:
		mw = table_find(&vm->mws, handle);
		return mw ? mw->pd : NULL;
	case CLAIM_AH:
		ah = table_find(&vm->ahs, handle);
		return ah ? ah->pd : NULL;
	default:
		return NULL;
	}
}

void claims_add_parents(struct claims *claims, const struct vm *vm, enum claim_kind kind,
			uint32_t handle)
{
	const struct pd *pd = NULL;
	const struct srq *srq;
	const struct cq *cq;
	const struct qp *qp;

	switch (kind) {
	case CLAIM_PD:
		pd = table_find(&vm->pds, handle);
		if (pd)
			claims_add(claims, CLAIM_CONTEXT, false, pd->context->handle);
		return;
	case CLAIM_CQ:
		cq = table_find(&vm->cqs, handle);
		if (!cq)
			return;
		claims_add(claims, CLAIM_CONTEXT, false, cq->context->handle);
		claims_add(claims, CLAIM_CEQ, false, cq->ceq->handle);
		return;
	case CLAIM_SRQ:
		srq = table_find(&vm->srqs, handle);
		if (!srq)
			return;
		claims_add(claims, CLAIM_CONTEXT, false, srq->context->handle);
		claims_add(claims, CLAIM_PD, false, srq->pd->handle);
		return;
	case CLAIM_QP:
		qp = table_find(&vm->qps, handle);
		if (qp)
			add_parents_of_qp(claims, qp);
		return;
	default:
		pd = parent_pd(vm, kind, handle);
		if (pd)
			claims_add(claims, CLAIM_PD, false, pd->handle);
	}
}

static bool conflict(const struct claim *a, const struct claim *b)
{
	return a->kind == b->kind && a->handle == b->handle && (a->alone || b->alone);
}

bool claims_conflict(const struct claims *a, const struct claims *b)
{
	for (unsigned int i = 0; i < a->count; i++)
		for (unsigned int j = 0; j < b->count; j++)
			if (conflict(&a->claim[i], &b->claim[j]))
				return true;
	return false;
}
