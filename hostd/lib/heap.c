// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A header stands before each block. What an account has includes the account itself
 * until heap_end(): so whoever takes it to 0 frees it, and no references are counted.
 */
#include "lib/heap.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct heap {
	_Atomic uint64_t used; /* bytes, and OWN until the end */
	_Atomic uint64_t limit;
	atomic_bool refused;
};

#define OWN 1u

/* @lead: bytes from the start of the allocation to the block. */
struct heap_header {
	struct heap *heap;
	uint64_t bytes : 48, lead : 16;
};

_Static_assert(sizeof(struct heap_header) == 16, "blocks are aligned as malloc(3) does it");

static struct heap_header *heap_header(void *block)
{
	return (struct heap_header *)block - 1;
}

struct heap *heap_new(void)
{
	struct heap *heap = malloc(sizeof(*heap));

	if (!heap)
		return NULL;
	atomic_init(&heap->used, OWN);
	atomic_init(&heap->limit, UINT64_MAX / 2);
	atomic_init(&heap->refused, false);
	return heap;
}

static void heap_give(struct heap *heap, uint64_t bytes)
{
	if (heap && atomic_fetch_sub(&heap->used, bytes) == bytes)
		free(heap);
}

void heap_end(struct heap *heap)
{
	heap_give(heap, OWN);
}

void heap_limit(struct heap *heap, uint64_t bytes)
{
	if (heap)
		atomic_store(&heap->limit, bytes < UINT64_MAX / 2 ? bytes : UINT64_MAX / 2);
}

uint64_t heap_bytes(const struct heap *heap)
{
	return heap ? atomic_load(&heap->used) - OWN : 0;
}

uint64_t heap_max(const struct heap *heap)
{
	return heap ? atomic_load(&heap->limit) : UINT64_MAX;
}

bool heap_refused(struct heap *heap)
{
	return heap && atomic_exchange(&heap->refused, false);
}

/* An account has one limit for all threads: who goes beyond it gives back at once. */
static bool heap_take(struct heap *heap, uint64_t bytes, bool beyond)
{
	if (!heap)
		return true;
	if (atomic_fetch_add(&heap->used, bytes) + bytes - OWN <= atomic_load(&heap->limit) ||
	    beyond)
		return true;
	atomic_fetch_sub(&heap->used, bytes);
	atomic_store(&heap->refused, true);
	return false;
}

/* What a block counts for: with its header and, where it was to be aligned, what that took. */
static uint64_t heap_cost(uint64_t bytes, size_t lead)
{
	return bytes + HEAP_BLOCK_BYTES + (lead > sizeof(struct heap_header) ? 2 * lead : 0);
}

static void *heap_alloc(struct heap *heap, size_t align, size_t bytes, bool beyond)
{
	size_t lead = align > sizeof(struct heap_header) ? align : sizeof(struct heap_header);
	uint8_t *start;

	if (bytes > UINT32_MAX * 64ull || !heap_take(heap, heap_cost(bytes, lead), beyond))
		return NULL;
	if (lead > sizeof(struct heap_header)) {
		start = aligned_alloc(align, (lead + bytes + align - 1) & ~(align - 1));
		if (start)
			memset(start, 0, lead + bytes);
	} else {
		start = calloc(1, lead + bytes);
	}
	if (!start) {
		heap_give(heap, heap_cost(bytes, lead));
		return NULL;
	}
	*heap_header(start + lead) =
		(struct heap_header){ .heap = heap, .bytes = bytes, .lead = lead };
	return start + lead;
}

void *heap_zalloc(struct heap *heap, size_t bytes)
{
	return heap_alloc(heap, 0, bytes, false);
}

void *heap_zalloc_aligned(struct heap *heap, size_t align, size_t bytes)
{
	return heap_alloc(heap, align, bytes, false);
}

void *heap_zalloc_beyond(struct heap *heap, size_t bytes)
{
	return heap_alloc(heap, 0, bytes, true);
}

void *heap_resize(struct heap *heap, void *block, size_t bytes)
{
	struct heap_header *header;
	uint64_t had;

	if (!block)
		return heap_zalloc(heap, bytes);
	header = heap_header(block);
	heap = header->heap;
	had = header->bytes;
	if (header->lead != sizeof(*header) || bytes > UINT32_MAX * 64ull ||
	    (bytes > had && !heap_take(heap, bytes - had, false)))
		return NULL;
	header = realloc(header, sizeof(*header) + bytes);
	if (!header) {
		if (bytes > had)
			heap_give(heap, bytes - had);
		return NULL;
	}
	if (bytes < had)
		heap_give(heap, had - bytes);
	header->bytes = bytes;
	return header + 1;
}

void heap_free(void *block)
{
	struct heap_header *header;
	struct heap *heap;
	uint64_t bytes;

	if (!block)
		return;
	header = heap_header(block);
	heap = header->heap;
	bytes = heap_cost(header->bytes, header->lead);
	free((uint8_t *)block - header->lead);
	heap_give(heap, bytes);
}
