// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A handle is generation << 20 | index. The last handle of a place stays behind
 * when its object goes, and the next object there gets the following generation.
 * Generations begin at 1, so that 0 is no handle; the last index is never
 * used, so that PVHCA_NO_HANDLE is none either.
 *
 * A worker reads the published object first and the handle after it. The handle
 * was written before the object was published, so a worker that has the object
 * sees its handle, or a later one, and a stale handle finds nothing.
 */
#include "lib/grace.h"
#include "lib/heap.h"
#include "lib/table.h"

#include <stdlib.h>

#include <urcu-qsbr.h>

#include "pvhca/pvhca-admin.h"

#define TABLE_INDEX_MASK ((1u << TABLE_INDEX_BITS) - 1)
#define TABLE_FIRST_SIZE 16u

_Static_assert(TABLE_LIMIT_MAX < TABLE_INDEX_MASK, "NO_HANDLE must be no handle");

void table_limit(struct table *table, uint32_t limit)
{
	table->limit = limit < TABLE_LIMIT_MAX ? limit : TABLE_LIMIT_MAX;
}

void table_init(struct table *table, struct heap *heap, uint32_t limit)
{
	*table = (struct table){
		.heap = heap,
		.limit = limit < TABLE_LIMIT_MAX ? limit : TABLE_LIMIT_MAX,
	};
}

void table_init_rcu(struct table *table, struct heap *heap, uint32_t limit)
{
	table_init(table, heap, limit);
	table->rcu = true;
}

void table_fini(struct table *table)
{
	heap_free(table->entries);
	table->entries = NULL;
	table->used = 0;
	table->hint = 0;
}

static uint32_t table_size(const struct table *table)
{
	return table->entries ? table->entries->size : 0;
}

static int table_grow(struct table *table)
{
	struct table_entries *old = table->entries, *entries;
	uint32_t used = table_size(table), size;

	size = used ? used * 2 : TABLE_FIRST_SIZE;
	if (size > table->limit)
		size = table->limit;
	entries = heap_zalloc(table->heap, sizeof(*entries) + size * sizeof(entries->entry[0]));
	if (!entries)
		return PVHCA_ST_NO_MEMORY;
	entries->size = size;
	for (uint32_t i = 0; i < size; i++)
		if (i < used)
			entries->entry[i] = old->entry[i];
		else
			entries->entry[i].handle = i; /* generation 0 */
	rcu_assign_pointer(table->entries, entries);
	if (old && table->rcu)
		grace_wait();
	heap_free(old);
	return PVHCA_ST_OK;
}

/* used is also read by the statistics, in another thread. */
static void table_set_used(struct table *table, uint32_t used)
{
	__atomic_store_n(&table->used, used, __ATOMIC_RELAXED);
}

int table_reserve(struct table *table, void *object, uint32_t *handle)
{
	struct table_entry *entry;
	uint32_t at, next;
	int status;

	if (table->used >= table->limit)
		return PVHCA_ST_QUOTA;
	if (table->used == table_size(table)) {
		table->hint = table_size(table);
		status = table_grow(table);
		if (status)
			return status;
	}

	/* No place before hint is free, and some place is. */
	for (at = table->hint; table->entries->entry[at].object; at++)
		;
	entry = &table->entries->entry[at];
	next = entry->handle + (1u << TABLE_INDEX_BITS);
	if (next <= TABLE_INDEX_MASK) /* wrapped to generation 0 */
		next += 1u << TABLE_INDEX_BITS;
	__atomic_store_n(&entry->handle, next, __ATOMIC_RELAXED);
	entry->object = object;
	entry->made = false;
	table->hint = at + 1;
	table_set_used(table, table->used + 1);
	*handle = next;
	return PVHCA_ST_OK;
}

static struct table_entry *table_entry(const struct table *table, uint32_t handle)
{
	uint32_t at = handle & TABLE_INDEX_MASK;

	if (at >= table_size(table) || table->entries->entry[at].handle != handle ||
	    !table->entries->entry[at].object)
		return NULL;
	return &table->entries->entry[at];
}

void table_made(struct table *table, uint32_t handle)
{
	struct table_entry *entry = table_entry(table, handle);

	if (entry)
		entry->made = true;
}

int table_add(struct table *table, void *object, uint32_t *handle)
{
	int status = table_reserve(table, object, handle);

	if (!status)
		table_made(table, *handle);
	return status;
}

void *table_find(const struct table *table, uint32_t handle)
{
	struct table_entry *entry = table_entry(table, handle);

	return entry && entry->made ? entry->object : NULL;
}

void table_publish(struct table *table, uint32_t handle)
{
	struct table_entry *entry = table_entry(table, handle);

	if (entry)
		__atomic_store_n(&entry->published, entry->object, __ATOMIC_RELEASE);
}

void table_unpublish(struct table *table, uint32_t handle)
{
	struct table_entry *entry = table_entry(table, handle);

	if (entry)
		__atomic_store_n(&entry->published, NULL, __ATOMIC_RELAXED);
}

void *table_find_rcu(const struct table *table, uint32_t handle)
{
	const struct table_entries *entries = rcu_dereference(table->entries);
	uint32_t at = handle & TABLE_INDEX_MASK;
	void *object;

	if (!entries || at >= entries->size)
		return NULL;
	object = __atomic_load_n(&entries->entry[at].published, __ATOMIC_ACQUIRE);
	if (__atomic_load_n(&entries->entry[at].handle, __ATOMIC_RELAXED) != handle)
		return NULL;
	return object;
}

void table_del(struct table *table, uint32_t handle)
{
	struct table_entry *entry = table_entry(table, handle);
	uint32_t at = handle & TABLE_INDEX_MASK;

	if (!entry)
		return;
	table_unpublish(table, handle);
	entry->object = NULL;
	if (at < table->hint)
		table->hint = at;
	table_set_used(table, table->used - 1);
}

uint32_t table_used(const struct table *table)
{
	return __atomic_load_n(&table->used, __ATOMIC_RELAXED);
}

void table_for_each(struct table *table, void (*fn)(void *object, void *arg), void *arg)
{
	for (uint32_t i = 0; i < table_size(table); i++)
		if (table->entries->entry[i].object)
			fn(table->entries->entry[i].object, arg);
}
