/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handles of one kind of object of one session. A handle is an index with a
 * generation, so that a stale one does not name the next object.
 *
 * A table belongs to the session's thread. What was published in it is found by
 * workers, too: table_find_rcu(). Who wants such an object gone unpublishes it and
 * waits for a grace period.
 */
#ifndef HOSTD_LIB_TABLE_H
#define HOSTD_LIB_TABLE_H

#include <stdint.h>

#define TABLE_LIMIT_MAX ((1u << 20) - 2) /* objects of one table */

struct table_entry {
	uint32_t handle; /* the last that was given for this place */
	void *object;	 /* NULL: free */
	void *published; /* object, or NULL */
};

/* Replaced as a whole when it grows; RCU. */
struct table_entries {
	uint32_t size;
	struct table_entry entry[];
};

struct table {
	struct table_entries *entries;
	uint32_t limit; /* quota */
	uint32_t used;
	uint32_t hint; /* where to look for a free place */
};

/* limit is cut to TABLE_LIMIT_MAX. table_fini() leaves an empty table. */
void table_init(struct table *table, uint32_t limit);
void table_fini(struct table *table);
/* 0; PVHCA_ST_QUOTA when limit objects are there, PVHCA_ST_NO_MEMORY. */
int table_add(struct table *table, void *object, uint32_t *handle);
void *table_find(const struct table *table, uint32_t handle);
/* Let workers find an object that is in the table, or no longer. */
void table_publish(struct table *table, uint32_t handle);
void table_unpublish(struct table *table, uint32_t handle);
/* In a worker: a published object, which lives until the pass ends; or NULL. */
void *table_find_rcu(const struct table *table, uint32_t handle);
/* Unpublishes it, too. */
void table_del(struct table *table, uint32_t handle);

/* Number of objects; any thread. */
uint32_t table_used(const struct table *table);

/* Calls fn for each object; fn may delete it. */
void table_for_each(struct table *table, void (*fn)(void *object, void *arg), void *arg);

#endif
