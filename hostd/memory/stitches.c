// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stitches of all sessions that are in use, by their extents, so that regions over the same
 * memory share one; and those that nobody uses but that may be wanted again.
 *
 * A kept stitch is a mapping and its page tables, nothing else: no page is pinned by it, and
 * no engine knows it, so that no key of a region that was deregistered leads to
 * anything. What it shows is memory of the VM it belongs to, which pvhcad has
 * mapped anyway; if QEMU discards pages of it, they are gone from this mapping, too.
 *
 * The oldest go when too much is kept, and all when a mapping cannot be made. Regions
 * that QEMU takes away are forgotten at once (stitches_forget).
 *
 * To unmap much takes long (130 ms for 1 GiB of small pages have been seen), and whoever
 * deregisters shall not wait for what others left: a thread of its own does that. Who
 * needs to know that mappings are gone waits for it.
 *
 * The lock covers the table, the queue and the counts of users; nothing is mapped or
 * unmapped under it.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "lib/log.h"
#include "memory/memory.h"

/* Of vm.max_map_count, 65530 by default. */
#define KEPT_MAPPINGS 8192u
#define KEPT_BYTES    (4ull << 30)
/* More than this is not unmapped by who happens to come by. */
#define UNMAP_BYTES (32ull << 20)

struct shared_stitch {
	struct stitch stitch;
	struct memory *memory;
	struct extents *extents; /* a reference */
	unsigned int users;
	bool listed; /* in the table */
	GList kept;  /* in the queue while there are no users */
};

static struct {
	pthread_mutex_t lock;
	GHashTable *by_extents; /* of struct shared_stitch, which is its own key */
	GQueue kept;		/* the latest first */
	uint64_t kept_bytes, kept_mappings;
	uint64_t max_bytes;
	unsigned int unmapping; /* threads that do */
	pthread_cond_t unmapped;
} stitches = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.unmapped = PTHREAD_COND_INITIALIZER,
	.max_bytes = KEPT_BYTES,
};

void stitches_limit(uint64_t bytes)
{
	stitches.max_bytes = bytes;
}

static guint hash(gconstpointer key)
{
	const struct extents *extents = ((const struct shared_stitch *)key)->extents;
	const struct extent *last = &extents->extent[extents->count - 1];
	uint64_t mix = (uintptr_t)extents->extent[0].host ^ extents->length;

	mix = (mix ^ (uintptr_t)last->host * 31) * 0x9e3779b97f4a7c15ull;
	return (mix ^ extents->count) >> 32;
}

static gboolean is_same(gconstpointer a, gconstpointer b)
{
	const struct extents *x = ((const struct shared_stitch *)a)->extents;
	const struct extents *y = ((const struct shared_stitch *)b)->extents;

	for (uint32_t i = 0; x->count == y->count && i < x->count; i++)
		if (x->extent[i].host != y->extent[i].host ||
		    x->extent[i].len != y->extent[i].len ||
		    x->extent[i].region != y->extent[i].region)
			return FALSE;
	return x->count == y->count;
}

static void count(struct shared_stitch *shared, bool kept, int sign)
{
	struct stitch_counts *counts = memory_stitch_counts(shared->memory);
	uint64_t n = (uint64_t)sign * shared->stitch.mappings;

	atomic_fetch_add(kept ? &counts->kept : &counts->used, n);
}

/* ------------------------- with the lock held ------------------------------ */

static void keep(struct shared_stitch *shared)
{
	g_queue_push_head_link(&stitches.kept, &shared->kept);
	stitches.kept_bytes += shared->stitch.length;
	stitches.kept_mappings += shared->stitch.mappings;
	count(shared, true, 1);
}

static void unkeep(struct shared_stitch *shared)
{
	g_queue_unlink(&stitches.kept, &shared->kept);
	stitches.kept_bytes -= shared->stitch.length;
	stitches.kept_mappings -= shared->stitch.mappings;
	count(shared, true, -1);
}

static void drop(struct shared_stitch *shared, GSList **dropped)
{
	unkeep(shared);
	g_hash_table_remove(stitches.by_extents, shared);
	*dropped = g_slist_prepend(*dropped, shared);
}

static void drop_oldest(uint64_t max_bytes, uint64_t max_mappings, GSList **dropped)
{
	while (stitches.kept.tail &&
	       (stitches.kept_bytes > max_bytes || stitches.kept_mappings > max_mappings))
		drop(stitches.kept.tail->data, dropped);
}

/* Whether there was anything to wait for. Lets go of the lock meanwhile. */
static bool wait_unmapped(void)
{
	bool waited = stitches.unmapping;

	while (stitches.unmapping)
		pthread_cond_wait(&stitches.unmapped, &stitches.lock);
	return waited;
}

/* ------------------------------ without it --------------------------------- */

static void shared_free(void *data)
{
	struct shared_stitch *shared = data;

	stitch_unmap(&shared->stitch);
	extents_put(shared->extents);
	g_free(shared);
}

static void *free_in_thread(void *dropped)
{
	g_slist_free_full(dropped, shared_free);
	pthread_mutex_lock(&stitches.lock);
	stitches.unmapping--;
	pthread_cond_broadcast(&stitches.unmapped);
	pthread_mutex_unlock(&stitches.lock);
	return NULL;
}

static uint64_t count_bytes(GSList *dropped)
{
	uint64_t bytes = 0;

	for (; dropped; dropped = dropped->next)
		bytes += ((struct shared_stitch *)dropped->data)->stitch.length;
	return bytes;
}

/* Now if it is little, otherwise soon. */
static void free_dropped(GSList *dropped)
{
	pthread_t thread;

	if (count_bytes(dropped) < UNMAP_BYTES) {
		g_slist_free_full(dropped, shared_free);
		return;
	}
	pthread_mutex_lock(&stitches.lock);
	stitches.unmapping++;
	pthread_mutex_unlock(&stitches.lock);
	if (pthread_create(&thread, NULL, free_in_thread, dropped))
		free_in_thread(dropped);
	else
		pthread_detach(thread);
}

/* Whether anything was. */
static bool free_all_kept(void)
{
	GSList *dropped = NULL;
	bool freed;

	pthread_mutex_lock(&stitches.lock);
	drop_oldest(0, 0, &dropped);
	freed = wait_unmapped() || dropped;
	pthread_mutex_unlock(&stitches.lock);
	g_slist_free_full(dropped, shared_free);
	return freed;
}

static struct shared_stitch *find(struct extents *extents)
{
	struct shared_stitch key = { .extents = extents }, *shared = NULL;

	pthread_mutex_lock(&stitches.lock);
	if (stitches.by_extents)
		shared = g_hash_table_lookup(stitches.by_extents, &key);
	if (shared && !shared->users++) {
		unkeep(shared);
		count(shared, false, 1);
	}
	pthread_mutex_unlock(&stitches.lock);
	return shared;
}

/* What lies in one piece is mapped for as long as its region is. */
static void list(struct shared_stitch *shared)
{
	pthread_mutex_lock(&stitches.lock);
	if (!stitches.by_extents)
		stitches.by_extents = g_hash_table_new(hash, is_same);
	shared->listed = shared->stitch.mappings &&
		!g_hash_table_contains(stitches.by_extents, shared);
	if (shared->listed)
		g_hash_table_add(stitches.by_extents, shared);
	pthread_mutex_unlock(&stitches.lock);
}

static void tell(int error, const struct extents *extents)
{
	static struct log_limit limit;

	if (error == ENOMEM)
		log_warning_limited(
			&limit,
			"cannot map a memory region of %u pieces: raise the sysctl vm.max_map_count",
			extents->count);
	else if (error == EOPNOTSUPP)
		log_warning_limited(
			&limit,
			"cannot register memory that is scattered in parts of hugetlbfs pages: let the guest use huge pages, or give the VM memory of small pages");
	else
		log_warning_limited(&limit, "cannot map a memory region of %u pieces: %s",
				    extents->count, g_strerror(error));
}

struct stitch *stitch_get(struct memory *memory, struct extents *extents, bool *reused, int *error)
{
	struct shared_stitch *shared = find(extents);

	*reused = shared;
	if (shared)
		return &shared->stitch;
	*error = ENOMEM;
	shared = g_try_new0(struct shared_stitch, 1);
	if (!shared)
		return NULL;
	do
		*error = -stitch_map(extents, &shared->stitch);
	while (*error == ENOMEM && free_all_kept());
	if (*error) {
		tell(*error, extents);
		g_free(shared);
		return NULL;
	}
	shared->memory = memory;
	shared->extents = extents;
	shared->users = 1;
	shared->kept.data = shared;
	extents_get(extents);
	count(shared, false, 1);
	list(shared);
	return &shared->stitch;
}

/* Nobody can name it any more if QEMU took a part of it away. */
static bool is_worth_keeping(const struct shared_stitch *shared)
{
	const struct extents *extents = shared->extents;

	if (shared->stitch.mappings > KEPT_MAPPINGS)
		return false;
	for (uint32_t i = 0; i < extents->count; i++)
		if (atomic_load(&extents->extent[i].region->removed))
			return false;
	return true;
}

void stitch_put(struct stitch *stitch)
{
	struct shared_stitch *shared = (struct shared_stitch *)stitch;
	GSList *dropped = NULL;

	pthread_mutex_lock(&stitches.lock);
	if (--shared->users)
		goto unlock;
	count(shared, false, -1);
	if (!shared->listed) {
		dropped = g_slist_prepend(NULL, shared);
		goto unlock;
	}
	keep(shared);
	if (!is_worth_keeping(shared))
		drop(shared, &dropped);
	drop_oldest(stitches.max_bytes, KEPT_MAPPINGS, &dropped);
unlock:
	pthread_mutex_unlock(&stitches.lock);
	free_dropped(dropped);
}

static bool has_region(const struct extents *extents, const struct region *region)
{
	for (uint32_t i = 0; i < extents->count; i++)
		if (extents->extent[i].region == region)
			return true;
	return false;
}

void stitches_forget(struct memory *memory, const struct region *region)
{
	GSList *dropped = NULL;
	GList *link, *next;

	pthread_mutex_lock(&stitches.lock);
	for (link = stitches.kept.head; link; link = next) {
		struct shared_stitch *shared = link->data;

		next = link->next;
		if (shared->memory == memory && (!region || has_region(shared->extents, region)))
			drop(shared, &dropped);
	}
	wait_unmapped();
	pthread_mutex_unlock(&stitches.lock);
	g_slist_free_full(dropped, shared_free);
}
