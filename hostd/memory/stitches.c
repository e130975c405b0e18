// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stitches of all sessions: those in use, by their extents, so that regions over the
 * same memory share one; and unused ones that are kept for the next registration.
 *
 * A kept stitch is a mapping and its page tables, nothing else. It pins no page, and no
 * engine knows it, so the key of a deregistered region leads to nothing. It maps memory
 * of its own VM, which pvhcad has mapped anyway. If QEMU discards pages, they are gone
 * from this mapping, too.
 *
 * The oldest ones go when too much is kept, and all when a mapping cannot be made.
 * Regions that QEMU takes away are forgotten at once (stitches_forget).
 *
 * Large mappings take long to unmap (130 ms have been seen for 1 GiB of small pages). A
 * thread of its own does that, so that a deregistration does not wait for the mappings
 * of others. stitches_forget() waits until those of its memory are gone, and for no others.
 *
 * The lock covers the tree, the queue and the counts of users. Nothing is mapped or
 * unmapped under it.
 */
#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "lib/heap.h"
#include "lib/log.h"
#include "memory/private.h"

/* A part of vm.max_map_count, which is 65530 by default. */
#define KEPT_MAPPINGS 8192u
#define KEPT_BYTES    (4ull << 30)
/* More than this is unmapped by a thread of its own. */
#define UNMAP_BYTES (32ull << 20)

struct shared_stitch {
	struct stitch stitch;
	struct memory *memory;
	struct extents *extents; /* a reference */
	unsigned int users;
	bool listed;		    /* in the tree */
	GList kept;		    /* in the queue while there are no users */
	struct shared_stitch *next; /* of those that are to be unmapped */
};

static struct {
	pthread_mutex_t lock;
	void *by_extents; /* tsearch(3), of struct shared_stitch */
	GQueue kept;	  /* the latest first */
	uint64_t kept_bytes, kept_mappings;
	uint64_t max_bytes;
	unsigned int unmapping; /* stitches, of all */
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

#define COMPARE(a, b)                              \
	do {                                       \
		if ((a) != (b))                    \
			return (a) < (b) ? -1 : 1; \
	} while (0)

/* An order of lists of extents: any will do. */
static int compare(const void *a, const void *b)
{
	const struct extents *x = ((const struct shared_stitch *)a)->extents;
	const struct extents *y = ((const struct shared_stitch *)b)->extents;

	COMPARE(x->length, y->length);
	COMPARE(x->count, y->count);
	for (uint32_t i = 0; i < x->count; i++) {
		COMPARE((uintptr_t)x->extent[i].host, (uintptr_t)y->extent[i].host);
		COMPARE(x->extent[i].len, y->extent[i].len);
		COMPARE((uintptr_t)x->extent[i].region, (uintptr_t)y->extent[i].region);
	}
	return 0;
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

/* To be given to free_dropped() without the lock. */
static void drop_unlisted(struct shared_stitch *shared, struct shared_stitch **dropped)
{
	stitches.unmapping++;
	memory_stitch_counts(shared->memory)->unmapping++;
	shared->next = *dropped;
	*dropped = shared;
}

static void drop(struct shared_stitch *shared, struct shared_stitch **dropped)
{
	unkeep(shared);
	tdelete(shared, &stitches.by_extents, compare);
	drop_unlisted(shared, dropped);
}

static void drop_oldest(uint64_t max_bytes, uint64_t max_mappings, struct shared_stitch **dropped)
{
	while (stitches.kept.tail &&
	       (stitches.kept_bytes > max_bytes || stitches.kept_mappings > max_mappings))
		drop(stitches.kept.tail->data, dropped);
}

static bool has_region(const struct extents *extents, const struct region *region)
{
	for (uint32_t i = 0; i < extents->count; i++)
		if (extents->extent[i].region == region)
			return true;
	return false;
}

static void drop_of(struct memory *memory, const struct region *region,
		    struct shared_stitch **dropped)
{
	GList *link, *next;

	for (link = stitches.kept.head; link; link = next) {
		struct shared_stitch *shared = link->data;

		next = link->next;
		if (shared->memory == memory && (!region || has_region(shared->extents, region)))
			drop(shared, dropped);
	}
}

/* ------------------------------ without it --------------------------------- */

static void free_one(struct shared_stitch *shared)
{
	struct memory *memory = shared->memory;

	uint64_t mappings = shared->stitch.mappings;

	stitch_unmap(&shared->stitch);
	budget_give(memory_budget(memory), 0, mappings);
	extents_put(shared->extents);
	heap_free(shared);
	pthread_mutex_lock(&stitches.lock);
	stitches.unmapping--;
	memory_stitch_counts(memory)->unmapping--;
	pthread_cond_broadcast(&stitches.unmapped);
	pthread_mutex_unlock(&stitches.lock);
}

static void *free_all(void *dropped)
{
	struct shared_stitch *shared, *next;

	for (shared = dropped; shared; shared = next) {
		next = shared->next;
		free_one(shared);
	}
	return NULL;
}

static uint64_t count_bytes(const struct shared_stitch *dropped)
{
	uint64_t bytes = 0;

	for (; dropped; dropped = dropped->next)
		bytes += dropped->stitch.length;
	return bytes;
}

/* Now if it is little, otherwise soon. */
static void free_dropped(struct shared_stitch *dropped)
{
	pthread_t thread;

	if (count_bytes(dropped) < UNMAP_BYTES || pthread_create(&thread, NULL, free_all, dropped))
		free_all(dropped);
	else
		pthread_detach(thread);
}

/* Those of one memory. Whether there were any. */
static bool free_kept(struct memory *memory)
{
	struct shared_stitch *dropped = NULL;

	pthread_mutex_lock(&stitches.lock);
	drop_of(memory, NULL, &dropped);
	pthread_mutex_unlock(&stitches.lock);
	free_all(dropped);
	return dropped;
}

/* Whether anything was, or is being, unmapped. */
static bool free_all_kept(void)
{
	struct shared_stitch *dropped = NULL;
	bool freed;

	pthread_mutex_lock(&stitches.lock);
	freed = stitches.unmapping;
	drop_oldest(0, 0, &dropped);
	pthread_mutex_unlock(&stitches.lock);
	freed |= dropped != NULL;
	free_all(dropped);
	pthread_mutex_lock(&stitches.lock);
	while (stitches.unmapping)
		pthread_cond_wait(&stitches.unmapped, &stitches.lock);
	pthread_mutex_unlock(&stitches.lock);
	return freed;
}

static struct shared_stitch *find(struct extents *extents)
{
	struct shared_stitch key = { .extents = extents }, **found, *shared = NULL;

	pthread_mutex_lock(&stitches.lock);
	found = tfind(&key, &stitches.by_extents, compare);
	if (found)
		shared = *found;
	if (shared && !shared->users++) {
		unkeep(shared);
		count(shared, false, 1);
	}
	pthread_mutex_unlock(&stitches.lock);
	return shared;
}

/*
 * A single extent is mapped as long as its region. What is not listed, also for want of
 * memory, is unmapped after its use.
 */
static void list(struct shared_stitch *shared)
{
	struct shared_stitch **found;

	if (!shared->stitch.mappings)
		return;
	pthread_mutex_lock(&stitches.lock);
	found = tsearch(shared, &stitches.by_extents, compare);
	shared->listed = found && *found == shared;
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
	else if (error == EDQUOT)
		log_warning_limited(
			&limit,
			"cannot map a memory region of %u pieces: its VM has its quota of mappings",
			extents->count);
	else if (error == EOPNOTSUPP)
		log_warning_limited(
			&limit,
			"cannot register memory that is scattered in parts of hugetlbfs pages: let the guest use huge pages, or give the VM memory of small pages");
	else
		log_warning_limited(&limit, "cannot map a memory region of %u pieces: %s",
				    extents->count, log_strerror(error));
}

/* Mappings for the budget; room for them is made among what is kept. 0 or an errno. */
static int take_budget(struct memory *memory, uint64_t mappings)
{
	int ret;

	do
		ret = -budget_take(memory_budget(memory), 0, mappings);
	while (ret && (free_kept(memory) || (ret == ENOMEM && free_all_kept())));
	return ret;
}

/* 0 or an errno. */
static int map_anew(struct memory *memory, struct extents *extents, struct stitch *stitch)
{
	/* One extent needs none. */
	uint64_t mappings = extents->count > 1 ? extents->count : 0;
	int error = take_budget(memory, mappings);

	if (error)
		return error;
	do
		error = -stitch_map(memory_heap(memory), extents, stitch);
	while (error == ENOMEM && free_all_kept());
	if (error)
		budget_give(memory_budget(memory), 0, mappings);
	return error;
}

struct stitch *stitches_get(struct memory *memory, struct extents *extents, bool *reused,
			    int *error)
{
	struct shared_stitch *shared = find(extents);

	*reused = shared;
	if (shared)
		return &shared->stitch;
	*error = ENOMEM;
	shared = heap_zalloc(memory_heap(memory), sizeof(*shared));
	if (!shared)
		return NULL;
	*error = map_anew(memory, extents, &shared->stitch);
	if (*error) {
		tell(*error, extents);
		heap_free(shared);
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

/* No command can name it any more if QEMU took a part of it away. */
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

void stitches_put(struct stitch *stitch)
{
	struct shared_stitch *shared = (struct shared_stitch *)stitch;
	struct shared_stitch *dropped = NULL;

	pthread_mutex_lock(&stitches.lock);
	if (--shared->users)
		goto unlock;
	count(shared, false, -1);
	if (!shared->listed) {
		drop_unlisted(shared, &dropped);
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

void stitches_forget(struct memory *memory, const struct region *region)
{
	struct shared_stitch *dropped = NULL;

	pthread_mutex_lock(&stitches.lock);
	drop_of(memory, region, &dropped);
	pthread_mutex_unlock(&stitches.lock);
	free_all(dropped);
	pthread_mutex_lock(&stitches.lock);
	while (memory_stitch_counts(memory)->unmapping)
		pthread_cond_wait(&stitches.unmapped, &stitches.lock);
	pthread_mutex_unlock(&stitches.lock);
}
