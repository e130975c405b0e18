// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory windows of the loopback fabric (IB vol 1, 10.6.7): a part of a region
 * under a key of its own. Type 1 is bound anew while it is valid and serves all
 * QPs of its PD; type 2B is bound once, serves the QP that bound it, and ends by
 * an invalidation or with that QP.
 */
#include <stdlib.h>

#include "fabric/loopback/key.h"
#include "fabric/loopback/mr.h"
#include "fabric/loopback/private.h"
#include "fabric/loopback/qp.h"
#include "vm/vm.h"
#include "lib/table.h"

#define WINDOW_ACCESS (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC)
/* Rights of regions alone mean nothing to a window, and do no harm. */
#define IGNORED_ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND | IBV_ACCESS_OPTIONAL_RANGE)
#define WINDOW_WRITES  (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)

int loopback_mw_alloc(struct mw *mw)
{
	struct loopback_vm *ls = mw->vm->fabric_vm;
	struct loopback_key *key;

	if (mw->type != IBV_MW_TYPE_1 && mw->type != IBV_MW_TYPE_2)
		return PVHCA_ST_INVALID;
	key = loopback_key_new(mw->vm, mw->pd,
			       mw->type == IBV_MW_TYPE_1 ? LOOPBACK_KEY_WINDOW_1 :
							   LOOPBACK_KEY_WINDOW_2);
	if (!key)
		return PVHCA_ST_NO_MEMORY;
	mw->rkey = key->view.rkey;
	mw->fabric = key;
	cds_list_add_tail(&key->node, &ls->windows);
	return PVHCA_ST_OK;
}

void loopback_mw_hide(struct mw *mw)
{
	loopback_key_hide(mw->fabric);
}

void loopback_mw_dealloc(struct mw *mw)
{
	struct loopback_key *key = mw->fabric;

	cds_list_del(&key->node);
	loopback_key_destroy(key);
	mw->fabric = NULL;
}

void loopback_mw_end_all(struct loopback_qp *lqp)
{
	struct loopback_vm *ls = lqp->qp->vm->fabric_vm;
	struct loopback_key *key;

	if (!atomic_load(&lqp->windows))
		return;
	cds_list_for_each_entry (key, &ls->windows, node)
		if (atomic_load(&key->owner) == lqp && loopback_key_take(key, LOOPBACK_KEY_VALID))
			loopback_key_free(key);
}

/* ----------------------------------- bind ---------------------------------- */

static bool is_access_valid(const struct loopback_key *key, const struct bind_request *bind)
{
	uint32_t access = bind->access & ~(uint32_t)IGNORED_ACCESS;

	/* o10-36.2.2: only windows of type 2 may count from 0. */
	if (key->kind == LOOPBACK_KEY_WINDOW_2)
		access &= ~(uint32_t)IBV_ACCESS_ZERO_BASED;
	return !(access & ~(uint32_t)WINDOW_ACCESS);
}

/* C10-73 to 75: the region allows binding and the rights of the window, and contains it. */
static bool is_region_fit(const struct mr *mr, const struct pd *pd, const struct bind_request *bind)
{
	if (!mr || loopback_mr_key(mr) || mr->pd != pd || !(mr->access & IBV_ACCESS_MW_BIND) ||
	    (bind->access & WINDOW_WRITES && !(mr->access & IBV_ACCESS_LOCAL_WRITE)))
		return false;
	return mr_contains(mr, bind->addr, bind->length);
}

static void set_view(struct loopback_key *key, const struct bind_request *bind, const struct mr *mr)
{
	struct mr *view = &key->view;

	view->rkey = bind->rkey;
	view->access = bind->access & WINDOW_ACCESS;
	view->length = bind->length;
	if (!mr)
		return;
	view->iova = bind->access & IBV_ACCESS_ZERO_BASED ? 0 : bind->addr;
	view->offset = mr->offset + (bind->addr - mr->iova);
	view->extents = mr->extents;
}

/* Change the busy key, which the caller has taken, as the bind says. */
static void bind_key(struct loopback_key *key, const struct bind_request *bind, struct mr *mr,
		     struct loopback_qp *owner)
{
	loopback_key_clear(key);
	set_view(key, bind, mr);
	if (mr) {
		atomic_fetch_add(loopback_mr_windows(mr), 1);
		key->bound = mr;
	}
	if (owner) {
		atomic_fetch_add(&owner->windows, 1);
		atomic_store(&key->owner, owner);
	}
	loopback_key_set(key, mr ? LOOPBACK_KEY_VALID : LOOPBACK_KEY_FREE);
}

static bool bind_type_1(struct loopback_key *key, const struct bind_request *bind, struct mr *mr)
{
	if (!loopback_key_take(key, LOOPBACK_KEY_FREE) &&
	    !loopback_key_take(key, LOOPBACK_KEY_VALID))
		return false;
	bind_key(key, bind, mr, NULL);
	return true;
}

/* o10-37.2.30, 37.2.40: one that is bound is not bound again, nor to nothing. */
static bool bind_type_2(struct loopback_key *key, const struct bind_request *bind, struct mr *mr,
			struct loopback_qp *lqp)
{
	if (!mr || !loopback_key_take(key, LOOPBACK_KEY_FREE))
		return false;
	bind_key(key, bind, mr, lqp);
	return true;
}

bool loopback_mw_bind(struct loopback_qp *lqp)
{
	const struct bind_request *bind = &lqp->sq.request.bind;
	struct vm *vm = lqp->qp->vm;
	struct mw *mw = table_find_rcu(&vm->mws, bind->mw_handle);
	struct loopback_key *key;
	struct mr *mr = NULL;

	if (!mw || mw->pd != lqp->qp->pd)
		return false;
	key = mw->fabric;
	if (bind->rkey >> 8 != key->number || !is_access_valid(key, bind))
		return false;
	if (bind->length) {
		mr = table_find_rcu(&vm->mrs, bind->mr_handle);
		if (!is_region_fit(mr, lqp->qp->pd, bind))
			return false;
	}
	return key->kind == LOOPBACK_KEY_WINDOW_1 ? bind_type_1(key, bind, mr) :
						    bind_type_2(key, bind, mr, lqp);
}
