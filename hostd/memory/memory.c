// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest RAM regions of one session, sorted by guest-physical address. The lock
 * covers the array only; guest memory is never touched under it, and regions live on
 * by their reference counts.
 */
#include "memory/memory.h"

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

#include "lib/log.h"
#include "pvhca-link.h"
#include "rdma/pvhca-ring.h"

struct memory {
	pthread_mutex_t lock;
	unsigned int count;
	struct region *regions[PVHCA_LINK_MAX_REGIONS];
	struct stitch_counts stitches;
};

/* A region keeps its watch behind it; nobody else needs it. */
struct region_own {
	struct region region;
	void *watch;
};

void region_get(struct region *region)
{
	atomic_fetch_add(&region->refs, 1);
}

void region_put(struct region *region)
{
	struct region_own *own = (struct region_own *)region;

	if (!region || atomic_fetch_sub(&region->refs, 1) != 1)
		return;
	memory_fault_unwatch(own->watch);
	munmap(region->map, region->map_length);
	close(region->fd);
	free(own);
}

struct memory *memory_new(void)
{
	struct memory *memory = calloc(1, sizeof(*memory));

	if (memory)
		pthread_mutex_init(&memory->lock, NULL);
	return memory;
}

void memory_free(struct memory *memory)
{
	if (!memory)
		return;
	stitches_forget(memory, NULL);
	for (unsigned int i = 0; i < memory->count; i++)
		region_put(memory->regions[i]);
	pthread_mutex_destroy(&memory->lock);
	free(memory);
}

static bool memory_granular(uint64_t n)
{
	return !(n & (PVHCA_GRANULE - 1));
}

/*
 * Bytes of the pages of the file, which decides what can be mapped: its word
 * counts, not that of whoever sent it. 0: not a file whose pages we can map.
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

/* Fill in what the descriptor gives, after checking that it is what it should be. */
static int memory_check_file(struct region *region)
{
	struct stat st;
	int flags;

	if (fstat(region->fd, &st))
		return -errno;
	flags = fcntl(region->fd, F_GETFL);
	if (!S_ISREG(st.st_mode) || flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) != O_RDWR)
		return -EINVAL;
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
	region->map = mmap(NULL, region->map_length, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd,
			   start);
	if (region->map == MAP_FAILED)
		return -errno;
	region->base = region->map + (region->fd_offset - start);
	/* A core dump of ours shall not hold the guests' memory. */
	madvise(region->map, region->map_length, MADV_DONTDUMP);
	own->watch = memory_fault_watch(region->map, region->map_length, region, NULL);
	if (!own->watch) {
		ret = -ENOMEM;
		munmap(region->map, region->map_length);
		return ret;
	}
	return 0;
}

static struct region *region_new(uint64_t gpa, uint64_t size, uint64_t fd_offset, int fd,
				 int *error)
{
	struct region_own *own = calloc(1, sizeof(*own));
	struct region *region;

	*error = -ENOMEM;
	if (!own)
		return NULL;
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
		free(own);
		return NULL;
	}
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
	region = region_new(gpa, size, fd_offset, fd, &ret);
	if (!region)
		goto err_close;
	if (region->page_size != page_size)
		g_debug("a memory region has pages of %" G_GUINT64_FORMAT
			" bytes, not %" G_GUINT64_FORMAT " as QEMU says",
			region->page_size, page_size);
	ret = memory_insert(memory, region);
	if (ret)
		region_put(region); /* closes fd, too */
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
	region_put(region);
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

struct stitch_counts *memory_stitch_counts(struct memory *memory)
{
	return &memory->stitches;
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
		region_get(region);
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
		region_put(found);
		return NULL;
	}
	*region = found;
	return found->base + (gpa - found->gpa);
}

/* Of a range that may cross regions: how much the first one holds, and where. */
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
		region_put(region);
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
		region_put(region);
	}
	return 0;
}
