// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Extents: runs of guest memory, put together run by run. Guest-physical addresses
 * are the guest's word and are checked here.
 */
#include <stdlib.h>

#include "memory/private.h"
#include "lib/heap.h"
#include "pvhca/pvhca-admin.h"
#include "rdma/pvhca-ring.h"

#define EXTENTS_FIRST 4u

void extents_get(struct extents *extents)
{
	atomic_fetch_add(&extents->refs, 1);
}

void extents_put(struct extents *extents)
{
	if (!extents || atomic_fetch_sub(&extents->refs, 1) != 1)
		return;
	for (uint32_t i = 0; i < extents->count; i++)
		memory_region_put(extents->extent[i].region);
	heap_free(extents);
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

static int builder_resize(struct extents_builder *builder, uint32_t room)
{
	struct extents *extents;
	size_t bytes;

	if (__builtin_mul_overflow(room, sizeof(struct extent), &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(*extents), &bytes))
		return PVHCA_ST_NO_MEMORY;
	extents = heap_resize(memory_heap(builder->memory), builder->extents, bytes);
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
static int builder_add_run(struct extents_builder *builder, struct region *region, uint8_t *host,
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
	memory_region_get(region);
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
static int builder_add(struct extents_builder *builder, uint64_t gpa, uint64_t len)
{
	while (len) {
		struct region *region = builder->last;
		uint64_t at, n;
		int status;

		if (!region || gpa < region->gpa || gpa - region->gpa >= region->size) {
			memory_region_put(region);
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

void extents_begin(struct extents_builder *builder, struct memory *memory)
{
	*builder = (struct extents_builder){ .memory = memory };
}

int extents_add(struct extents_builder *builder, uint64_t gpa, uint64_t len)
{
	uint64_t end;
	int status;

	if (!len || ((gpa | len) & (PVHCA_GRANULE - 1)) || __builtin_add_overflow(gpa, len, &end))
		return PVHCA_ST_INVALID;
	if (!builder->extents) {
		status = builder_resize(builder, EXTENTS_FIRST);
		if (status)
			return status;
	}
	return builder_add(builder, gpa, len);
}

struct extents *extents_end(struct extents_builder *builder)
{
	struct extents *extents = builder->extents, *fit;

	memory_region_put(builder->last);
	if (!extents || extents->count == builder->room)
		return extents;
	fit = heap_resize(NULL, extents,
			  sizeof(*extents) + extents->count * sizeof(extents->extent[0]));
	return fit ? fit : extents;
}

void extents_touch(const struct extents *extents)
{
	memory_touch(NULL, extents);
}
