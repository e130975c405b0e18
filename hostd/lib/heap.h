/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that pvhcad holds for a VM, counted: whatever a guest or its QEMU can make pvhcad
 * allocate comes from here, and has a limit in sum (quota heap-bytes). Who has no account
 * (NULL) is not counted.
 *
 * A block knows its account, so that whoever frees it need not. An account lives until it
 * was ended and its last block is free: some blocks outlast their VM for a moment.
 *
 * Any thread.
 */
#ifndef HOSTD_LIB_HEAP_H
#define HOSTD_LIB_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap;

/* Bytes that a block counts for besides its own: a header, and malloc(3)'s. */
#define HEAP_BLOCK_BYTES 32u

/* Without a limit; NULL: no memory. */
struct heap *heap_new(void);
void heap_end(struct heap *heap);
/* What is there stays. */
void heap_limit(struct heap *heap, uint64_t bytes);
uint64_t heap_bytes(const struct heap *heap);
uint64_t heap_max(const struct heap *heap);
/* Was something refused for the limit since the last call? */
bool heap_refused(struct heap *heap);

/* Zeroed memory, or NULL: none, or more than the limit. */
void *heap_zalloc(struct heap *heap, size_t bytes);
/* Likewise; align is a power of two, of 4096 at most. */
void *heap_zalloc_aligned(struct heap *heap, size_t align, size_t bytes);
/* Likewise, whatever the limit is: for what is needed to give something back. */
void *heap_zalloc_beyond(struct heap *heap, size_t bytes);
/*
 * A block of another size, with the same account. NULL: it is as before. block NULL: a new
 * one. What is added is not zeroed.
 */
void *heap_resize(struct heap *heap, void *block, size_t bytes);
/* block may be NULL. */
void heap_free(void *block);

#endif
