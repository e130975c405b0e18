/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handles of one kind of object of one session. A handle is an index with a
 * generation, so that a stale one does not name the next object.
 *
 * Who uses a table holds its VM's lock (vm/vm.h). Workers find published objects by
 * table_find_rcu(), in tables that were made for that. Before such an object is freed, it is
 * unpublished, and a grace period passes.
 */
#ifndef HOSTD_LIB_TABLE_H
#define HOSTD_LIB_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#define TABLE_LIMIT_MAX ((1u << 20) - 2) /* objects of one table */

/* Of a handle. */
#define TABLE_INDEX_BITS 20

struct heap;

struct table_entry {
	uint32_t handle; /* the last that was given for this place */
	bool made;	 /* table_find() finds it */
	void *object;	 /* NULL: free */
	void *published; /* object, or NULL */
};

/* Replaced as a whole when it grows; RCU. */
struct table_entries {
	uint32_t size;
	struct table_entry entry[];
};

struct table {
	struct heap *heap;
	struct table_entries *entries;
	uint32_t limit; /* quota */
	uint32_t used;
	uint32_t hint; /* where to look for a free place */
	bool rcu;      /* workers look objects up: one that grows waits for a grace period */
};

/* limit is cut to TABLE_LIMIT_MAX; heap: account for the table. table_fini() leaves an empty table. */
void table_init(struct table *table, struct heap *heap, uint32_t limit);
/* Likewise one in which workers look objects up. */
void table_init_rcu(struct table *table, struct heap *heap, uint32_t limit);
/* Another limit from now on; what is there beyond it stays. As table_reserve(). */
void table_limit(struct table *table, uint32_t limit);
void table_fini(struct table *table);
/* 0; PVHCA_ST_QUOTA when limit objects are there, PVHCA_ST_NO_MEMORY. */
int table_add(struct table *table, void *object, uint32_t *handle);
/*
 * Likewise for an object that is still being made: it has its handle and counts, but
 * table_find() does not find it before table_made().
 */
int table_reserve(struct table *table, void *object, uint32_t *handle);
void table_made(struct table *table, uint32_t handle);
void *table_find(const struct table *table, uint32_t handle);
/* Workers find this object of the table from now on, or no longer. */
void table_publish(struct table *table, uint32_t handle);
void table_unpublish(struct table *table, uint32_t handle);
/* In a worker: a published object, or NULL. It lives until the pass ends. */
void *table_find_rcu(const struct table *table, uint32_t handle);
/* Unpublishes it, too. */
void table_del(struct table *table, uint32_t handle);

/* What no two objects of a table have in common at a time; TABLE_INDEX_BITS bits. */
static inline uint32_t table_index(uint32_t handle)
{
	return handle & ((1u << TABLE_INDEX_BITS) - 1);
}

/* Number of objects; any thread. */
uint32_t table_used(const struct table *table);

/* Calls fn for each object; fn may delete it. */
void table_for_each(struct table *table, void (*fn)(void *object, void *arg), void *arg);

#endif
