// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory lists of commands (pvhca-admin.h) turned into extents. Everything in
 * a list is the guest's word: it is copied once, and the number of extents that
 * the command claims bounds the walk, whatever the chain of chunks looks like;
 * and as each extent has a granule at least, the bytes that the command may name
 * bound the number.
 */
#include <endian.h>

#include "admin/commands.h"
#include "memory/memory.h"
#include "rdma/pvhca-ring.h"

/**
 * struct list_walk - a list as it is read
 * @left: bytes that it may still name
 */
struct list_walk {
	struct memory *memory;
	struct extents_builder builder;
	uint64_t left;
};

static int list_add(struct list_walk *walk, const struct pvhca_extent *extent)
{
	uint64_t len = le64toh(extent->len);

	if (len > walk->left)
		return PVHCA_ST_INVALID;
	walk->left -= len;
	return extents_add(&walk->builder, le64toh(extent->addr), len);
}

static int list_walk_chunks(struct list_walk *walk, uint64_t gpa, uint32_t left_extents)
{
	struct pvhca_extent_chunk chunk;
	uint32_t n;
	int status;

	while (left_extents) {
		if (gpa & (PVHCA_GRANULE - 1))
			return PVHCA_ST_INVALID;
		if (memory_read(walk->memory, gpa, &chunk, sizeof(chunk)))
			return PVHCA_ST_BAD_ADDRESS;
		if (chunk.reserved)
			return PVHCA_ST_INVALID;
		n = left_extents < PVHCA_CHUNK_EXTENTS ? left_extents : PVHCA_CHUNK_EXTENTS;
		for (uint32_t i = 0; i < n; i++) {
			status = list_add(walk, &chunk.extents[i]);
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

int commands_read_memory(struct memory *memory, const struct pvhca_mem_list *list,
			 uint64_t max_length, struct extents **extents)
{
	uint32_t count = le32toh(list->num_extents);
	uint64_t length = le64toh(list->length);
	struct list_walk walk = { .memory = memory, .left = length };
	struct extents *made;
	int status = PVHCA_ST_OK;

	if (!count || list->reserved || length > max_length || (length & (PVHCA_GRANULE - 1)) ||
	    count > length / PVHCA_GRANULE)
		return PVHCA_ST_INVALID;
	if (count <= PVHCA_INLINE_EXTENTS && list->chunk)
		return PVHCA_ST_INVALID;

	extents_begin(&walk.builder, memory);
	if (count > PVHCA_INLINE_EXTENTS) {
		status = list_walk_chunks(&walk, le64toh(list->chunk), count);
	} else {
		for (uint32_t i = 0; i < count && !status; i++)
			status = list_add(&walk, &list->extents[i]);
	}
	made = extents_end(&walk.builder);
	if (!status && walk.left)
		status = PVHCA_ST_INVALID;
	if (status) {
		extents_put(made);
		return status;
	}
	*extents = made;
	return PVHCA_ST_OK;
}
