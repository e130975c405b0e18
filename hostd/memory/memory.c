// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest RAM regions of one session, sorted by guest-physical address. The lock
 * covers the array only; guest memory is never touched under it, and regions live on
 * by their reference counts.
 */
#include "memory/private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/calls.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "pvhca-link.h"
#include "rdma/pvhca-ring.h"

CALLS("fstatfs");

/* To take out so much takes some 10 ms. */
#define UNMAP_STEP (32ull << 20)

/* refs: a region counts, for it may outlive memory_free(). */
struct memory {
	atomic_uint refs;
	struct heap *heap; /* of what commands make; only while the VM is there */
	struct budget budget;
	pthread_mutex_t lock;
	unsigned int count;
	struct region *regions[PVHCA_LINK_MAX_REGIONS];
	struct stitch_counts stitches;
};

/* A region with its watch, which this file alone needs. */
struct region_own {
	struct region region;
	struct memory *memory; /* a reference */
	void *watch;
};

/* Details only; what QEMU may not do is told by the session. */
static struct log_source memory_log;

static void memory_put(struct memory *memory)
{
	if (atomic_fetch_sub(&memory->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&memory->lock);
	heap_free(memory);
}

void memory_region_get(struct region *region)
{
	atomic_fetch_add(&region->refs, 1);
}

void memory_region_put(struct region *region)
{
	struct region_own *own = (struct region_own *)region;

	if (!region || atomic_fetch_sub(&region->refs, 1) != 1)
		return;
	memory_fault_unwatch(own->watch);
	memory_unmap(region->map, region->map_length);
	close(region->fd);
	budget_give(&own->memory->budget, region->map_length, 1);
	memory_put(own->memory);
	heap_free(own);
}

struct memory *memory_new(struct heap *heap)
{
	struct memory *memory = heap_zalloc(heap, sizeof(*memory));

	if (!memory)
		return NULL;
	memory->heap = heap;
	atomic_init(&memory->refs, 1);
	budget_limit(&memory->budget, UINT64_MAX, UINT64_MAX);
	pthread_mutex_init(&memory->lock, NULL);
	return memory;
}

void memory_free(struct memory *memory)
{
	if (!memory)
		return;
	stitches_forget(memory, NULL);
	for (unsigned int i = 0; i < memory->count; i++)
		memory_region_put(memory->regions[i]);
	memory_put(memory);
}

void memory_limit(struct memory *memory, uint64_t bytes, uint64_t mappings)
{
	budget_limit(&memory->budget, bytes, mappings);
}

void memory_unmap(uint8_t *base, uint64_t length)
{
	for (uint64_t at = 0; at < length; at += UNMAP_STEP)
		if (madvise(base + at, length - at < UNMAP_STEP ? length - at : UNMAP_STEP,
			    MADV_DONTNEED))
			break;
	munmap(base, length);
}

static bool memory_granular(uint64_t n)
{
	return !(n & (PVHCA_GRANULE - 1));
}

/*
 * The page size of the file in bytes. It decides how the file can be mapped, so the
 * sender's value is not used. 0: the pages of this file cannot be mapped.
 */
static uint64_t memory_page_size(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return 0;
	if (fs.f_type == HUGETLBFS_MAGIC)
		return fs.f_bsize;
	return sysconf(_SC_PAGESIZE);
}

/*
 * Check the descriptor and fill in the fields that follow from it. Pages of any other file
 * system are read when they are touched, by whoever touches them; and a file system such as
 * one of FUSE need never answer, not even fstat(2). Only files of tmpfs and hugetlbfs have
 * seals, which the kernel itself knows.
 */
static int memory_check_file(struct region *region)
{
	struct stat st;
	int flags, seals;

	seals = fcntl(region->fd, F_GET_SEALS);
	if (seals < 0)
		return -EMEDIUMTYPE;
	if (fstat(region->fd, &st))
		return -errno;
	flags = fcntl(region->fd, F_GETFL);
	if (!S_ISREG(st.st_mode) || flags < 0 || (flags & O_ACCMODE) != O_RDWR)
		return -EINVAL;
	if (!(seals & F_SEAL_SHRINK))
		log_from(&memory_log, G_LOG_LEVEL_DEBUG,
			 "guest memory whose file can be cut; a memfd can be sealed against that");
	if (st.st_size < 0 || (uint64_t)st.st_size < region->fd_offset + region->size)
		return -EINVAL;
	region->page_size = memory_page_size(region->fd);
	if (!region->page_size || (region->page_size & (region->page_size - 1)))
		return -EINVAL;
	return 0;
}

static int region_map(struct region_own *own)
{
	struct region *region = &own->region;
	uint64_t mask = region->page_size - 1;
	uint64_t start = region->fd_offset & ~mask;
	uint64_t end = (region->fd_offset + region->size + mask) & ~mask;
	int ret;

	region->map_length = end - start;
	ret = budget_take(&own->memory->budget, region->map_length, 1);
	if (ret)
		return ret;
	region->map = mmap(NULL, region->map_length, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd,
			   start);
	if (region->map == MAP_FAILED) {
		ret = -errno;
		goto err_give;
	}
	region->base = region->map + (region->fd_offset - start);
	/* A core dump of pvhcad must not contain the guests' memory. */
	madvise(region->map, region->map_length, MADV_DONTDUMP);
	own->watch = memory_fault_watch(own->memory->heap, region->map, region->map_length, region,
					NULL);
	if (own->watch)
		return 0;
	ret = -ENOMEM;
	munmap(region->map, region->map_length);
err_give:
	budget_give(&own->memory->budget, region->map_length, 1);
	return ret;
}

static struct region *region_new(struct memory *memory, uint64_t gpa, uint64_t size,
				 uint64_t fd_offset, int fd, int *error)
{
	struct region_own *own = heap_zalloc(memory->heap, sizeof(*own));
	struct region *region;

	*error = -ENOMEM;
	if (!own)
		return NULL;
	own->memory = memory;
	region = &own->region;
	atomic_init(&region->refs, 1);
	region->gpa = gpa;
	region->size = size;
	region->fd_offset = fd_offset;
	region->fd = fd;
	*error = memory_check_file(region);
	if (!*error)
		*error = region_map(own);
	if (*error) {
		heap_free(own);
		return NULL;
	}
	atomic_fetch_add(&memory->refs, 1);
	return region;
}

/* Place of the first region that ends above gpa. Lock held. */
static unsigned int memory_place(const struct memory *memory, uint64_t gpa)
{
	unsigned int low = 0, high = memory->count;

	while (low < high) {
		unsigned int middle = (low + high) / 2;
		const struct region *region = memory->regions[middle];

		if (region->gpa + region->size <= gpa)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int memory_insert(struct memory *memory, struct region *region)
{
	unsigned int at;
	int ret = 0;

	pthread_mutex_lock(&memory->lock);
	at = memory_place(memory, region->gpa);
	if (memory->count == PVHCA_LINK_MAX_REGIONS) {
		ret = -ENOSPC;
	} else if (at < memory->count && memory->regions[at]->gpa < region->gpa + region->size) {
		ret = -EINVAL;
	} else {
		memmove(&memory->regions[at + 1], &memory->regions[at],
			(memory->count - at) * sizeof(memory->regions[0]));
		memory->regions[at] = region;
		memory->count++;
	}
	pthread_mutex_unlock(&memory->lock);
	return ret;
}

int memory_add(struct memory *memory, uint64_t gpa, uint64_t size, uint64_t fd_offset,
	       uint64_t page_size, int fd)
{
	struct region *region;
	uint64_t end;
	int ret = -EINVAL;

	if (!size || !memory_granular(gpa) || !memory_granular(size) || !memory_granular(fd_offset))
		goto err_close;
	if (page_size < PVHCA_GRANULE || (page_size & (page_size - 1)))
		goto err_close;
	if (__builtin_add_overflow(gpa, size, &end) ||
	    __builtin_add_overflow(fd_offset, size, &end) || end > INT64_MAX)
		goto err_close;
	region = region_new(memory, gpa, size, fd_offset, fd, &ret);
	if (!region)
		goto err_close;
	if (region->page_size != page_size)
		log_from(&memory_log, G_LOG_LEVEL_DEBUG,
			 "a memory region has pages of %" G_GUINT64_FORMAT
			 " bytes, not %" G_GUINT64_FORMAT " as QEMU says",
			 region->page_size, page_size);
	ret = memory_insert(memory, region);
	if (ret)
		memory_region_put(region); /* closes fd, too */
	return ret;

err_close:
	close(fd);
	return ret;
}

int memory_del(struct memory *memory, uint64_t gpa, uint64_t size)
{
	struct region *region = NULL;
	unsigned int at;

	pthread_mutex_lock(&memory->lock);
	at = memory_place(memory, gpa);
	if (at < memory->count && memory->regions[at]->gpa == gpa &&
	    memory->regions[at]->size == size) {
		region = memory->regions[at];
		memory->count--;
		memmove(&memory->regions[at], &memory->regions[at + 1],
			(memory->count - at) * sizeof(memory->regions[0]));
	}
	pthread_mutex_unlock(&memory->lock);
	if (!region)
		return -ENOENT;
	atomic_store(&region->removed, true);
	stitches_forget(memory, region);
	memory_region_put(region);
	return 0;
}

bool memory_faulted(struct memory *memory)
{
	bool faulted = false;

	pthread_mutex_lock(&memory->lock);
	for (unsigned int i = 0; i < memory->count && !faulted; i++)
		faulted = atomic_load(&memory->regions[i]->faulted);
	pthread_mutex_unlock(&memory->lock);
	return faulted;
}

unsigned int memory_regions(struct memory *memory)
{
	unsigned int count;

	pthread_mutex_lock(&memory->lock);
	count = memory->count;
	pthread_mutex_unlock(&memory->lock);
	return count;
}

uint64_t memory_bytes(struct memory *memory)
{
	return budget_bytes(&memory->budget);
}

struct stitch_counts *memory_stitch_counts(struct memory *memory)
{
	return &memory->stitches;
}

struct heap *memory_heap(const struct memory *memory)
{
	return memory->heap;
}

struct budget *memory_budget(struct memory *memory)
{
	return &memory->budget;
}

uint64_t memory_mappings(const struct memory *memory)
{
	return atomic_load(&memory->stitches.used);
}

uint64_t memory_mappings_kept(const struct memory *memory)
{
	return atomic_load(&memory->stitches.kept);
}

struct region *memory_region(struct memory *memory, uint64_t gpa)
{
	struct region *region = NULL;
	unsigned int at;

	pthread_mutex_lock(&memory->lock);
	at = memory_place(memory, gpa);
	if (at < memory->count && memory->regions[at]->gpa <= gpa) {
		region = memory->regions[at];
		memory_region_get(region);
	}
	pthread_mutex_unlock(&memory->lock);
	return region;
}

void *memory_resolve(struct memory *memory, uint64_t gpa, uint64_t len, struct region **region)
{
	struct region *found = memory_region(memory, gpa);

	if (!found)
		return NULL;
	if (!len || len > found->size - (gpa - found->gpa)) {
		memory_region_put(found);
		return NULL;
	}
	*region = found;
	return found->base + (gpa - found->gpa);
}

/* The part of a range that its first region holds: *at and *n bytes. */
static struct region *memory_first(struct memory *memory, uint64_t gpa, size_t len, uint8_t **at,
				   size_t *n)
{
	struct region *region = memory_region(memory, gpa);
	uint64_t offset;

	if (!region)
		return NULL;
	offset = gpa - region->gpa;
	*at = region->base + offset;
	*n = region->size - offset < len ? region->size - offset : len;
	return region;
}

int memory_read(struct memory *memory, uint64_t gpa, void *to, size_t len)
{
	struct region *region;
	uint8_t *out = to, *at;
	size_t n;

	for (; len; out += n, gpa += n, len -= n) {
		region = memory_first(memory, gpa, len, &at, &n);
		if (!region)
			return -EFAULT;
		memcpy(out, at, n);
		memory_region_put(region);
	}
	return 0;
}

int memory_write(struct memory *memory, uint64_t gpa, const void *from, size_t len)
{
	const uint8_t *in = from;
	struct region *region;
	uint8_t *at;
	size_t n;

	for (; len; in += n, gpa += n, len -= n) {
		region = memory_first(memory, gpa, len, &at, &n);
		if (!region)
			return -EFAULT;
		memcpy(at, in, n);
		memory_region_put(region);
	}
	return 0;
}
