// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A handle is generation << 20 | index. The last handle of a place stays behind
 * when its object goes, and the next object there gets the following generation.
 * Generations begin at 1, so that 0 is no handle; the last index is never
 * used, so that PVHCA_NO_HANDLE is none either.
 */
#include "table.h"

#include <stdlib.h>

#include "pvhca/pvhca-admin.h"

#define TABLE_INDEX_BITS	20
#define TABLE_INDEX_MASK	((1u << TABLE_INDEX_BITS) - 1)
#define TABLE_FIRST_SIZE	16u

_Static_assert(TABLE_LIMIT_MAX < TABLE_INDEX_MASK, "NO_HANDLE must be no handle");

void table_init(struct table *table, uint32_t limit)
{
	*table = (struct table) {
		.limit = limit < TABLE_LIMIT_MAX ? limit : TABLE_LIMIT_MAX,
	};
}

void table_fini(struct table *table)
{
	free(table->objects);
	free(table->handles);
	table_init(table, table->limit);
}

static int table_grow(struct table *table)
{
	uint32_t size = table->size ? table->size * 2 : TABLE_FIRST_SIZE;
	uint32_t *handles;
	void **objects;

	if (size > table->limit)
		size = table->limit;
	objects = realloc(table->objects, size * sizeof(*objects));
	if (!objects)
		return PVHCA_ST_NO_MEMORY;
	table->objects = objects;
	handles = realloc(table->handles, size * sizeof(*handles));
	if (!handles)
		return PVHCA_ST_NO_MEMORY;
	table->handles = handles;

	for (uint32_t i = table->size; i < size; i++) {
		objects[i] = NULL;
		handles[i] = i;		/* generation 0: not yet used */
	}
	table->size = size;
	return PVHCA_ST_OK;
}

/* used is also read by the statistics, in another thread. */
static void table_set_used(struct table *table, uint32_t used)
{
	__atomic_store_n(&table->used, used, __ATOMIC_RELAXED);
}

int table_add(struct table *table, void *object, uint32_t *handle)
{
	uint32_t at, next;
	int status;

	if (table->used >= table->limit)
		return PVHCA_ST_QUOTA;
	if (table->used == table->size) {
		table->hint = table->size;
		status = table_grow(table);
		if (status)
			return status;
	}

	/* No place before hint is free, and some place is. */
	for (at = table->hint; table->objects[at]; at++)
		;
	next = table->handles[at] + (1u << TABLE_INDEX_BITS);
	if (next <= TABLE_INDEX_MASK)	/* wrapped to generation 0 */
		next += 1u << TABLE_INDEX_BITS;
	table->handles[at] = next;
	table->objects[at] = object;
	table->hint = at + 1;
	table_set_used(table, table->used + 1);
	*handle = next;
	return PVHCA_ST_OK;
}

void *table_find(const struct table *table, uint32_t handle)
{
	uint32_t at = handle & TABLE_INDEX_MASK;

	if (at >= table->size || table->handles[at] != handle)
		return NULL;
	return table->objects[at];
}

void table_del(struct table *table, uint32_t handle)
{
	uint32_t at = handle & TABLE_INDEX_MASK;

	if (!table_find(table, handle))
		return;
	table->objects[at] = NULL;
	if (at < table->hint)
		table->hint = at;
	table_set_used(table, table->used - 1);
}

uint32_t table_used(const struct table *table)
{
	return __atomic_load_n(&table->used, __ATOMIC_RELAXED);
}

void table_for_each(struct table *table, void (*fn)(void *object, void *arg),
		    void *arg)
{
	for (uint32_t i = 0; i < table->size; i++)
		if (table->objects[i])
			fn(table->objects[i], arg);
}
