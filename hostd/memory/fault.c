// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest memory that vanishes.
 *
 * Whoever passed us a descriptor can truncate the file; the next access to the
 * mapping then raises SIGBUS in the thread that makes it: a worker serving other
 * VMs too. The handler maps zero pages over the page that is gone, of
 * the size that its file system maps at once (a part of a hugetlbfs page cannot be
 * replaced), marks the region, and lets the access go on. An eventfd tells
 * the main loop, and the sessions then look at their regions.
 *
 * The handler looks the address up in a tree of all mappings of guest memory.
 * SIGBUS is synchronous: it comes in the thread that touched guest memory, and
 * nobody touches guest memory while holding the tree's lock. So the handler may
 * wait for that lock: its holder is another thread, and goes on.
 * A SIGBUS from elsewhere gets the default action.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/log.h"
#include "memory/memory.h"

struct watch {
	uintptr_t base;
	uint64_t length;
	struct region *region;
	const struct extents *extents;
};

static pthread_spinlock_t fault_lock;
static GTree *fault_tree; /* struct watch by base; they do not overlap */
static int fault_fd = -1;

static int fault_compare(const void *a, const void *b)
{
	uintptr_t x = ((const struct watch *)a)->base;
	uintptr_t y = ((const struct watch *)b)->base;

	return x < y ? -1 : x > y;
}

/* Which way to go from this watch to the one that holds the address. */
static int fault_direction(const void *key, const void *data)
{
	const struct watch *watch = key;
	uintptr_t at = (uintptr_t)data;

	if (at < watch->base)
		return -1;
	return at - watch->base >= watch->length;
}

/* Region that is mapped at this address; NULL: it is not guest memory. */
static struct region *fault_find(uintptr_t at)
{
	struct region *region = NULL;
	struct watch *watch;

	pthread_spin_lock(&fault_lock);
	watch = g_tree_search(fault_tree, fault_direction, (void *)at);
	if (watch && watch->extents)
		region = extents_find(watch->extents, at - watch->base)->region;
	else if (watch)
		region = watch->region;
	pthread_spin_unlock(&fault_lock);
	return region;
}

static void fault_handler(int signal, siginfo_t *info, void *context)
{
	static const uint64_t one = 1;
	uintptr_t at = (uintptr_t)info->si_addr;
	struct region *region = NULL;
	int saved = errno;
	uintptr_t page;

	(void)context;
	if (info->si_code > 0) /* the kernel's, not kill(2)'s */
		region = fault_find(at);
	if (!region)
		goto fatal;

	page = at & ~(uintptr_t)(region->page_size - 1);
	if (mmap((void *)page, region->page_size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		goto fatal;
	atomic_store(&region->faulted, true);
	/* Full only if nobody has read what is there: then it is not needed. */
	if (write(fault_fd, &one, sizeof(one)) < 0)
		errno = 0;
	errno = saved;
	return;
fatal:
	/* The access is repeated, and this time ends the process. */
	sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	if (info->si_code <= 0)
		raise(signal);
	errno = saved;
}

int memory_fault_init(void)
{
	struct sigaction action = {
		.sa_sigaction = fault_handler,
		.sa_flags = SA_SIGINFO,
	};

	if (fault_tree)
		return 0;
	fault_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fault_fd < 0)
		return -errno;
	pthread_spin_init(&fault_lock, PTHREAD_PROCESS_PRIVATE);
	fault_tree = g_tree_new(fault_compare);
	if (sigaction(SIGBUS, &action, NULL))
		return -errno;
	return 0;
}

int memory_fault_fd(void)
{
	return fault_fd;
}

void *memory_fault_watch(uint8_t *base, uint64_t length, struct region *region,
			 const struct extents *extents)
{
	struct watch *watch = malloc(sizeof(*watch));

	if (!watch)
		return NULL;
	*watch = (struct watch){
		.base = (uintptr_t)base,
		.length = length,
		.region = region,
		.extents = extents,
	};
	pthread_spin_lock(&fault_lock);
	g_tree_insert(fault_tree, watch, watch);
	pthread_spin_unlock(&fault_lock);
	return watch;
}

void memory_fault_unwatch(void *watch)
{
	if (!watch)
		return;
	pthread_spin_lock(&fault_lock);
	g_tree_remove(fault_tree, watch);
	pthread_spin_unlock(&fault_lock);
	free(watch);
}
