// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest memory that vanishes.
 *
 * QEMU passed the descriptor and can truncate the file. The next access to the mapping
 * then raises SIGBUS in the accessing thread, which may be a worker that serves other
 * VMs, too. The handler maps zero pages in place, marks the region and lets the access go
 * on. An eventfd tells the main loop, and the sessions then look at their regions.
 *
 * It never maps page by page: each mapping is one of the vm.max_map_count that the process
 * may have. A page beyond the end of the file tells that all behind it is gone, too; and as
 * the kernel took these pages out of all mappings, one mapping over the whole rest takes no
 * time. A page inside the file (no room in its file system or among the huge pages, broken
 * hardware) may have pages behind it that are mapped, and to take these out takes time, in
 * a thread that others wait for. So a part of the rest is replaced, twice as much each time.
 * A part of a hugetlbfs page cannot be replaced; all begins and ends on whole ones.
 *
 * The handler looks the address up in a tree of all mappings of guest memory.
 * SIGBUS is synchronous: it comes in the thread that touched guest memory, and
 * no thread touches guest memory while it holds the tree's lock. So the handler may
 * wait for that lock: its holder is another thread, and goes on.
 * A SIGBUS from elsewhere gets the default action.
 */
#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/heap.h"
#include "lib/log.h"
#include "memory/private.h"

/* What is replaced first where the file goes on; taking out so much takes some 5 ms at most. */
#define FAULT_PART  (16ull << 20)
#define FAULT_PARTS 24u /* the last doubling */

struct watch {
	uintptr_t base;
	uint64_t length;
	struct region *region;
	const struct extents *extents;
};

/* A piece of a region that is mapped at [low, high). Its file begins there at offset. */
struct place {
	struct region *region;
	uintptr_t low, high;
	uint64_t offset;
};

/* tsearch(3)'s node, which is the VM's, too. */
#define FAULT_NODE 32u

static pthread_spinlock_t fault_lock;
static void *fault_tree; /* tsearch(3), of struct watch; they do not overlap */
static int fault_fd = -1;

static int fault_compare(const void *a, const void *b)
{
	const struct watch *x = a, *y = b;

	if (x->base + x->length <= y->base)
		return -1;
	return x->base >= y->base + y->length;
}

static void fault_place(const struct watch *watch, uintptr_t at, struct place *place)
{
	const struct extent *extent;

	place->region = watch->region;
	place->low = watch->base;
	place->high = watch->base + watch->length;
	if (watch->extents) {
		extent = extents_find(watch->extents, at - watch->base);
		place->region = extent->region;
		place->low = watch->base + extent->start;
		place->high = place->low + extent->len;
		place->offset = extent->region->fd_offset + (extent->host - extent->region->base);
	} else {
		place->offset =
			watch->region->fd_offset - (watch->region->base - watch->region->map);
	}
}

/* Where this address is mapped from; false: it is not guest memory. */
static bool fault_find(uintptr_t at, struct place *place)
{
	const struct watch key = { .base = at, .length = 1 };
	struct watch **found;

	pthread_spin_lock(&fault_lock);
	found = tfind(&key, &fault_tree, fault_compare);
	if (found)
		fault_place(*found, at, place);
	pthread_spin_unlock(&fault_lock);
	return found;
}

static bool fault_map(uintptr_t low, uintptr_t high)
{
	return mmap((void *)low, high - low, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

/* Zero pages at this address, and behind it as far as the top tells. */
static bool fault_replace(const struct place *place, uintptr_t at)
{
	uintptr_t mask = place->region->page_size - 1, from = at & ~mask, to;
	uintptr_t low = place->low & ~mask, high = (place->high + mask) & ~mask;
	unsigned int faults = atomic_fetch_add(&place->region->faults, 1);
	uint64_t part, offset;
	struct stat st;

	offset = place->offset + (from - place->low);
	part = FAULT_PART << (faults < FAULT_PARTS ? faults : FAULT_PARTS);
	to = high;
	if (!fstat(place->region->fd, &st) && (uint64_t)st.st_size > offset && high - from > part)
		to = from + ((part + mask) & ~mask);
	/* A whole piece for a whole piece needs no mapping more. */
	return fault_map(from, to) || fault_map(low, high);
}

static void fault_handler(int signal, siginfo_t *info, void *context)
{
	static const uint64_t one = 1;
	uintptr_t at = (uintptr_t)info->si_addr;
	int saved = errno;
	struct place place;

	(void)context;
	/* The kernel's, not kill(2)'s. */
	if (info->si_code <= 0 || !fault_find(at, &place) || !fault_replace(&place, at))
		goto fatal;
	atomic_store(&place.region->faulted, true);
	/* The write fails only while earlier marks are unread; then another is not needed. */
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

	if (fault_fd >= 0)
		return 0;
	fault_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fault_fd < 0)
		return -errno;
	pthread_spin_init(&fault_lock, PTHREAD_PROCESS_PRIVATE);
	if (sigaction(SIGBUS, &action, NULL))
		return -errno;
	return 0;
}

int memory_fault_fd(void)
{
	return fault_fd;
}

void *memory_fault_watch(struct heap *heap, uint8_t *base, uint64_t length, struct region *region,
			 const struct extents *extents)
{
	struct watch *watch = heap_zalloc(heap, sizeof(*watch) + FAULT_NODE);
	bool added;

	if (!watch)
		return NULL;
	*watch = (struct watch){
		.base = (uintptr_t)base,
		.length = length,
		.region = region,
		.extents = extents,
	};
	pthread_spin_lock(&fault_lock);
	added = tsearch(watch, &fault_tree, fault_compare);
	pthread_spin_unlock(&fault_lock);
	if (added)
		return watch;
	heap_free(watch);
	return NULL;
}

void memory_fault_unwatch(void *watch)
{
	if (!watch)
		return;
	pthread_spin_lock(&fault_lock);
	tdelete(watch, &fault_tree, fault_compare);
	pthread_spin_unlock(&fault_lock);
	heap_free(watch);
}
