/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys that work requests change: memory windows and fast registration. */
#ifndef HOSTD_FABRIC_LOOPBACK_KEY_H
#define HOSTD_FABRIC_LOOPBACK_KEY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <urcu/list.h>

#include "vm/objects.h"

struct loopback_qp;

enum loopback_key_kind {
	LOOPBACK_KEY_WINDOW_1,
	LOOPBACK_KEY_WINDOW_2,
	LOOPBACK_KEY_REGION, /* for fast registration */
};

enum loopback_key_state {
	LOOPBACK_KEY_FREE, /* nothing stands under it */
	LOOPBACK_KEY_BUSY, /* it is being changed */
	LOOPBACK_KEY_VALID,
};

/**
 * struct loopback_key - a key that work requests change
 * @users: pieces of messages that look at it or use it now
 * @view: the memory and rights under it; its part is this key, view.lkey 0 for
 *	windows. Read by users while the key is valid, written while it is busy
 * @owner: the QP that bound a window of type 2
 * @bound: region of a window, likewise
 * @pages: memory of a REGION: room for its max_pages, regions referenced
 * @gone: since it was hidden, loopback_table_remove()
 * @node: in loopback_vm.windows
 */
struct loopback_key {
	enum loopback_key_kind kind;
	uint32_t number;
	_Atomic uint32_t state;
	_Atomic uint32_t users;
	struct mr view;
	_Atomic(struct loopback_qp *) owner;
	struct mr *bound;
	struct extents *pages;
	struct loopback_places *gone;
	struct cds_list_head node;
};

/* NULL: no memory or number. Under vm->lock, as for _destroy. */
struct loopback_key *loopback_key_new(struct vm *vm, struct pd *pd, enum loopback_key_kind kind);
/* Nobody finds it by its number from here on. Then, after a grace period, _destroy. */
void loopback_key_hide(struct loopback_key *key);
/* The key cannot change any more, and has no users: it is hidden, or its VM is ending. */
void loopback_key_destroy(struct loopback_key *key);

/* Use it, if it is valid; for short. */
bool loopback_key_enter(struct loopback_key *key);
void loopback_key_leave(struct loopback_key *key);

/* From this state to BUSY; false: it is in another. The caller changes it then. */
bool loopback_key_take(struct loopback_key *key, enum loopback_key_state from);
/*
 * Wait for the users of a busy key, and give back its references. The caller uses no key
 * and holds no lock but its own QP's.
 */
void loopback_key_clear(struct loopback_key *key);
/* The change is over. */
void loopback_key_set(struct loopback_key *key, enum loopback_key_state state);
/* Make a valid key busy that lqp may invalidate; NULL: it may not. Then _free. */
struct loopback_key *loopback_key_revoke(struct loopback_qp *lqp, uint32_t value);
/* As _clear; and it is free. */
void loopback_key_free(struct loopback_key *key);

/* --------------- windows, fast registration: fabric/loopback/mw.c, fr.c ------------ */

int loopback_mw_alloc(struct mw *mw);
void loopback_mw_hide(struct mw *mw);
void loopback_mw_dealloc(struct mw *mw);
/* Windows of type 2 that a QP bound end with it, when no worker knows it any more. */
void loopback_mw_end_all(struct loopback_qp *lqp);
/* Carry out the BIND_MW at the head of the send queue. False: it is refused. */
bool loopback_mw_bind(struct loopback_qp *lqp);

int loopback_fr_alloc(struct mr *mr);
/* Likewise REG_MR. */
bool loopback_fr_reg(struct loopback_qp *lqp);

#endif
