// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory lists of commands (pvhca-admin.h) turned into extents. Everything in
 * a list is the guest's word: it is copied once, and the number of extents that
 * the command claims bounds the walk, whatever the chain of chunks looks like;
 * and as each extent has a granule at least, the bytes that the command may name
 * bound the number.
 */
#include <endian.h>
#include <stdlib.h>

#include "memory/memory.h"
#include "rdma/pvhca-ring.h"

#define EXTENTS_FIRST 4u

/* The list as it grows. */
struct builder {
	struct memory *memory;
	struct extents *extents;
	uint32_t room;
	struct region *last; /* of the latest extent; its reference is ours too */
};

void extents_get(struct extents *extents)
{
	atomic_fetch_add(&extents->refs, 1);
}

void extents_put(struct extents *extents)
{
	if (!extents || atomic_fetch_sub(&extents->refs, 1) != 1)
		return;
	for (uint32_t i = 0; i < extents->count; i++)
		region_put(extents->extent[i].region);
	free(extents);
}

const struct extent *extents_find(const struct extents *extents, uint64_t at)
{
	uint32_t low = 0, high = extents->count - 1;

	while (low < high) {
		uint32_t middle = low + (high - low + 1) / 2;

		if (extents->extent[middle].start <= at)
			low = middle;
		else
			high = middle - 1;
	}
	return &extents->extent[low];
}

static int builder_resize(struct builder *builder, uint32_t room)
{
	struct extents *extents;
	size_t bytes;

	if (__builtin_mul_overflow(room, sizeof(struct extent), &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(*extents), &bytes))
		return PVHCA_ST_NO_MEMORY;
	extents = realloc(builder->extents, bytes);
	if (!extents)
		return PVHCA_ST_NO_MEMORY;
	if (!builder->extents) {
		atomic_init(&extents->refs, 1);
		extents->count = 0;
		extents->length = 0;
	}
	builder->extents = extents;
	builder->room = room;
	return PVHCA_ST_OK;
}

/* Add a run inside one region, or lengthen the last one by it. */
static int builder_add_run(struct builder *builder, struct region *region, uint8_t *host,
			   uint64_t len)
{
	struct extents *extents = builder->extents;
	struct extent *last;
	int status;

	if (extents->count) {
		last = &extents->extent[extents->count - 1];
		if (last->region == region && last->host + last->len == host) {
			last->len += len;
			extents->length += len;
			return PVHCA_ST_OK;
		}
	}
	if (extents->count == builder->room) {
		if (builder->room > UINT32_MAX / 2)
			return PVHCA_ST_NO_MEMORY;
		status = builder_resize(builder, builder->room * 2);
		if (status)
			return status;
		extents = builder->extents;
	}
	region_get(region);
	extents->extent[extents->count++] = (struct extent){
		.host = host,
		.start = extents->length,
		.len = len,
		.region = region,
	};
	extents->length += len;
	return PVHCA_ST_OK;
}

/* Guest-physical addresses may run on from one region into the next. */
static int builder_add(struct builder *builder, uint64_t gpa, uint64_t len)
{
	while (len) {
		struct region *region = builder->last;
		uint64_t at, n;
		int status;

		if (!region || gpa < region->gpa || gpa - region->gpa >= region->size) {
			region_put(region);
			region = memory_region(builder->memory, gpa);
			builder->last = region;
			if (!region)
				return PVHCA_ST_BAD_ADDRESS;
		}
		at = gpa - region->gpa;
		n = region->size - at < len ? region->size - at : len;
		status = builder_add_run(builder, region, region->base + at, n);
		if (status)
			return status;
		gpa += n;
		len -= n;
	}
	return PVHCA_ST_OK;
}

/* left: bytes that the list may still name. */
static int builder_add_checked(struct builder *builder, const struct pvhca_extent *extent,
			       uint64_t *left)
{
	uint64_t gpa = le64toh(extent->addr);
	uint64_t len = le64toh(extent->len);
	uint64_t end;

	if (!len || ((gpa | len) & (PVHCA_GRANULE - 1)) || __builtin_add_overflow(gpa, len, &end) ||
	    len > *left)
		return PVHCA_ST_INVALID;
	*left -= len;
	return builder_add(builder, gpa, len);
}

static int builder_walk_chunks(struct builder *builder, uint64_t gpa, uint32_t left_extents,
			       uint64_t *left)
{
	struct pvhca_extent_chunk chunk;
	uint32_t n;
	int status;

	while (left_extents) {
		if (gpa & (PVHCA_GRANULE - 1))
			return PVHCA_ST_INVALID;
		if (memory_read(builder->memory, gpa, &chunk, sizeof(chunk)))
			return PVHCA_ST_BAD_ADDRESS;
		if (chunk.reserved)
			return PVHCA_ST_INVALID;
		n = left_extents < PVHCA_CHUNK_EXTENTS ? left_extents : PVHCA_CHUNK_EXTENTS;
		for (uint32_t i = 0; i < n; i++) {
			status = builder_add_checked(builder, &chunk.extents[i], left);
			if (status)
				return status;
		}
		left_extents -= n;
		gpa = le64toh(chunk.next);
		/* The end of the chain and of the count must be the same. */
		if (!left_extents != !gpa)
			return PVHCA_ST_INVALID;
	}
	return PVHCA_ST_OK;
}

int extents_from_list(struct memory *memory, const struct pvhca_mem_list *list, uint64_t max_length,
		      struct extents **extents)
{
	struct builder builder = { .memory = memory };
	uint32_t count = le32toh(list->num_extents);
	uint64_t length = le64toh(list->length);
	uint64_t left = length;
	int status;

	if (!count || list->reserved || length > max_length || (length & (PVHCA_GRANULE - 1)) ||
	    count > length / PVHCA_GRANULE)
		return PVHCA_ST_INVALID;
	if (count <= PVHCA_INLINE_EXTENTS && list->chunk)
		return PVHCA_ST_INVALID;

	status = builder_resize(&builder, EXTENTS_FIRST);
	if (status)
		return status;
	if (count > PVHCA_INLINE_EXTENTS) {
		status = builder_walk_chunks(&builder, le64toh(list->chunk), count, &left);
	} else {
		for (uint32_t i = 0; i < count && !status; i++)
			status = builder_add_checked(&builder, &list->extents[i], &left);
	}
	region_put(builder.last);
	if (!status && left)
		status = PVHCA_ST_INVALID;
	if (status) {
		extents_put(builder.extents);
		return status;
	}
	*extents = builder.extents;
	return PVHCA_ST_OK;
}
