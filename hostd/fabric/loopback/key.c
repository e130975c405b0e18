// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keys whose meaning work requests change: of memory windows and of regions for
 * fast registration.
 *
 * A user of such a key counts itself in, then looks whether the key is valid. A
 * changer makes the key busy, then waits until there are no users. Both steps are in
 * a total order, so either the user finds the key busy or the changer finds the user.
 * A user is one piece of one message. It waits for rq_locks, whose holders do not wait
 * for users. So a changer may wait while it holds no lock but its own QP's and uses no
 * key itself.
 *
 * Regions that were registered by command need none of that: they go after a
 * grace period.
 */
#include <sched.h>
#include <stdlib.h>

#include "fabric/loopback/key.h"
#include "fabric/loopback/mr.h"
#include "fabric/loopback/private.h"
#include "fabric/loopback/qp.h"
#include "memory/memory.h"
#include "vm/vm.h"
#include "lib/heap.h"

/* ---------------------------------- users ---------------------------------- */

bool loopback_key_enter(struct loopback_key *key)
{
	atomic_fetch_add(&key->users, 1);
	if (atomic_load(&key->state) == LOOPBACK_KEY_VALID)
		return true;
	loopback_key_leave(key);
	return false;
}

void loopback_key_leave(struct loopback_key *key)
{
	atomic_fetch_sub(&key->users, 1);
}

/* --------------------------------- changers -------------------------------- */

bool loopback_key_take(struct loopback_key *key, enum loopback_key_state from)
{
	uint32_t state = from;

	return atomic_compare_exchange_strong(&key->state, &state, LOOPBACK_KEY_BUSY);
}

/* Give back the references of a key without users. */
static void let_go(struct loopback_key *key)
{
	struct loopback_qp *owner = atomic_load(&key->owner);
	uint32_t i;

	if (key->bound)
		atomic_fetch_sub(loopback_mr_windows(key->bound), 1);
	key->bound = NULL;
	if (owner)
		atomic_fetch_sub(&owner->windows, 1);
	atomic_store(&key->owner, NULL);
	for (i = 0; key->pages && i < key->pages->count; i++)
		memory_region_put(key->pages->extent[i].region);
	if (key->pages)
		key->pages->count = 0;
}

void loopback_key_clear(struct loopback_key *key)
{
	while (atomic_load(&key->users))
		sched_yield();
	let_go(key);
}

void loopback_key_set(struct loopback_key *key, enum loopback_key_state state)
{
	atomic_store(&key->state, state);
}

/* May lqp invalidate this key? It is not changing. */
static bool is_revocable(const struct loopback_key *key, const struct loopback_qp *lqp,
			 uint32_t value)
{
	if (key->view.rkey != value || key->view.pd != lqp->qp->pd)
		return false;
	/* IB vol 1, 10.6.7.2.3: windows of type 1 end by a bind; 2B by their QP. */
	return key->kind == LOOPBACK_KEY_REGION ||
		(key->kind == LOOPBACK_KEY_WINDOW_2 && atomic_load(&key->owner) == lqp);
}

struct loopback_key *loopback_key_revoke(struct loopback_qp *lqp, uint32_t value)
{
	const struct mr *view = loopback_table_find(&lqp->fabric->mrs, value >> 8);
	struct loopback_key *key;
	bool may;

	key = view ? loopback_mr_key(view) : NULL;
	if (!key)
		return NULL;
	/* As a user first: a QP that may not change the key must not disturb its users. */
	if (!loopback_key_enter(key))
		return NULL;
	may = is_revocable(key, lqp, value);
	loopback_key_leave(key);
	if (!may || !loopback_key_take(key, LOOPBACK_KEY_VALID))
		return NULL;
	if (is_revocable(key, lqp, value))
		return key;
	/* It was changed in between. */
	loopback_key_set(key, LOOPBACK_KEY_VALID);
	return NULL;
}

void loopback_key_free(struct loopback_key *key)
{
	loopback_key_clear(key);
	loopback_key_set(key, LOOPBACK_KEY_FREE);
}

/* ----------------------------------- life ---------------------------------- */

struct loopback_key *loopback_key_new(struct vm *vm, struct pd *pd, enum loopback_key_kind kind)
{
	struct loopback_vm *ls = vm->fabric_vm;
	struct loopback *fabric = ls->fabric;
	struct loopback_key *key = heap_zalloc(vm->heap, sizeof(*key));
	uint32_t number;

	if (!key)
		return NULL;
	key->kind = kind;
	key->view.vm = vm;
	key->view.pd = pd;
	loopback_mr_set_key(&key->view, key);
	pthread_mutex_lock(&fabric->lock);
	if (loopback_table_reserve(&fabric->mrs, &number)) {
		pthread_mutex_unlock(&fabric->lock);
		heap_free(key);
		return NULL;
	}
	key->number = number;
	key->view.rkey = number << 8 | fabric->key_variant++;
	loopback_table_publish(&fabric->mrs, number, &key->view);
	pthread_mutex_unlock(&fabric->lock);
	return key;
}

void loopback_key_hide(struct loopback_key *key)
{
	struct loopback_vm *ls = key->view.vm->fabric_vm;

	pthread_mutex_lock(&ls->fabric->lock);
	key->gone = loopback_table_remove(&ls->fabric->mrs, key->number);
	pthread_mutex_unlock(&ls->fabric->lock);
}

void loopback_key_destroy(struct loopback_key *key)
{
	loopback_places_free(key->gone);
	let_go(key);
	heap_free(key->pages);
	heap_free(key);
}
