// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Extents laid out contiguously: an engine registers one range of our address
 * space, while the guest's pages lie anywhere in its RAM. The range is reserved
 * first, then each extent's part of its region's file is mapped over its place.
 *
 * Pages of hugetlbfs can only be mapped whole. So there an extent must begin and
 * end on such a page, except for the beginning of the first and the end of the last.
 * Memory of memfds with transparent huge pages has no such rule. There the start of
 * the range is chosen so that addresses and file offsets agree modulo 2 MiB, and
 * huge pages of the file can be mapped as huge pages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/private.h"
#include "lib/heap.h"

#define STITCH_ALIGN (2ull << 20)

/* The part of a region's file that an extent is, extended to whole pages. */
struct piece {
	uint64_t offset; /* in the file */
	uint64_t length;
	uint64_t lead; /* bytes of it before the extent */
};

static uint64_t stitch_file_offset(const struct extent *extent)
{
	return extent->region->fd_offset + (extent->host - extent->region->base);
}

/* False if the extent cuts a page which another extent needs too. */
static bool stitch_piece(const struct extents *extents, uint32_t i, struct piece *piece)
{
	const struct extent *extent = &extents->extent[i];
	uint64_t mask = extent->region->page_size - 1;
	uint64_t start = stitch_file_offset(extent);
	uint64_t end = start + extent->len;

	if ((i && (start & mask)) || (i + 1 < extents->count && (end & mask)))
		return false;
	piece->offset = start & ~mask;
	piece->lead = start - piece->offset;
	piece->length = ((end + mask) & ~mask) - piece->offset;
	return true;
}

/* The place of each extent must suit its pages, too. */
static int stitch_check(const struct extents *extents, uint64_t *align)
{
	uint64_t first = 0; /* where the first begins, modulo any page size */
	struct piece piece;

	*align = STITCH_ALIGN;
	for (uint32_t i = 0; i < extents->count; i++) {
		uint64_t page = extents->extent[i].region->page_size;

		if (!stitch_piece(extents, i, &piece))
			return -EOPNOTSUPP;
		if (!i)
			first = piece.offset + piece.lead;
		else if ((first + extents->extent[i].start) & (page - 1))
			return -EOPNOTSUPP;
		if (page > *align)
			*align = page;
	}
	return 0;
}

/*
 * Reserve room whose address is phase modulo align. *whole is the mapping to unmap.
 */
static uint8_t *stitch_reserve(uint64_t length, uint64_t align, uint64_t phase, uint8_t **whole)
{
	uint8_t *map, *base;
	uintptr_t low;

	if (length > SIZE_MAX - 2 * align)
		return NULL;
	map = mmap(NULL, length + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		   0);
	if (map == MAP_FAILED)
		return NULL;
	low = (uintptr_t)map;
	base = map + ((phase - low) & (align - 1));
	if (base > map)
		munmap(map, base - map);
	if (base < map + align)
		munmap(base + length, map + align - base);
	*whole = base;
	return base;
}

static int stitch_map_pieces(const struct extents *extents, uint8_t *base)
{
	struct piece piece;
	uint8_t *at;

	for (uint32_t i = 0; i < extents->count; i++) {
		const struct extent *extent = &extents->extent[i];

		stitch_piece(extents, i, &piece);
		at = base + extent->start - piece.lead;
		if (mmap(at, piece.length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 extent->region->fd, piece.offset) == MAP_FAILED)
			return -errno;
	}
	return 0;
}

/*
 * For stitch_unmap(): the whole mapping, which begins and ends on pages of the file
 * and so may be larger than the extents.
 */
struct stitch_map {
	uint8_t *whole;
	uint64_t length;
	void *watch;
};

int stitch_map(struct heap *heap, const struct extents *extents, struct stitch *stitch)
{
	const struct extent *last = &extents->extent[extents->count - 1];
	struct piece first_piece, last_piece;
	struct stitch_map *map = NULL;
	uint8_t *base, *whole = NULL;
	uint64_t align, length = 0;
	int ret;

	*stitch = (struct stitch){ .length = extents->length };
	if (extents->count == 1) {
		stitch->base = extents->extent[0].host;
		memory_touch(stitch->base, extents);
		return 0;
	}

	ret = stitch_check(extents, &align);
	if (ret)
		goto err;
	ret = -ENOMEM;
	map = heap_zalloc(heap, sizeof(*map));
	if (!map)
		goto err;
	stitch_piece(extents, 0, &first_piece);
	stitch_piece(extents, extents->count - 1, &last_piece);
	/* last_piece.lead is 0: only the first extent may begin inside a page. */
	length = first_piece.lead + last->start + last_piece.length;
	whole = stitch_reserve(length, align, first_piece.offset, &whole);
	if (!whole)
		goto err;
	base = whole + first_piece.lead;
	ret = stitch_map_pieces(extents, base);
	if (ret)
		goto err_unmap;
	madvise(whole, length, MADV_DONTDUMP);
	map->whole = whole;
	map->length = length;
	ret = -ENOMEM;
	map->watch = memory_fault_watch(heap, base, extents->length, NULL, extents);
	if (!map->watch)
		goto err_unmap;
	stitch->base = base;
	stitch->mappings = extents->count;
	stitch->fault = map;
	memory_touch(base, extents);
	return 0;

err_unmap:
	munmap(whole, length);
err:
	heap_free(map);
	return ret;
}

void stitch_unmap(struct stitch *stitch)
{
	struct stitch_map *map = stitch->fault;

	if (map) {
		memory_fault_unwatch(map->watch);
		memory_unmap(map->whole, map->length);
		heap_free(map);
	}
	*stitch = (struct stitch){ 0 };
}
