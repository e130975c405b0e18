/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Objects by a 32-bit hash. What is in the table are nodes inside of the objects, so to add
 * one cannot fail: where there is no memory for more buckets, the chains get longer. Not
 * locked.
 */
#ifndef HOSTD_LIB_HASH_H
#define HOSTD_LIB_HASH_H

#include <stddef.h>
#include <stdint.h>

struct heap;

struct hash_node {
	struct hash_node *next;
	uint32_t hash;
};

/**
 * struct hash - all 0: an empty table without an account
 * @heap: account that the buckets come from
 * @bucket: NULL: all are in @one
 * @size: number of buckets, a power of two; 0: @one is the only one
 */
struct hash {
	struct heap *heap;
	struct hash_node **bucket;
	struct hash_node *one;
	uint32_t size;
	uint32_t count;
};

void hash_add(struct hash *hash, struct hash_node *node, uint32_t value);
/* It is in the table. */
void hash_del(struct hash *hash, struct hash_node *node);
/* Empty afterwards; the nodes are the caller's. */
void hash_fini(struct hash *hash);

/* The first object of this hash, and the next one of the same; NULL: no more. */
struct hash_node *hash_first(const struct hash *hash, uint32_t value);
struct hash_node *hash_next(const struct hash_node *node);

/* FNV-1a. */
uint32_t hash_bytes(const void *bytes, size_t n);

/* The object of type that node, which may be NULL, is the member of. */
#define hash_object(node, type, member)                                                    \
	({                                                                                 \
		struct hash_node *hash_node_ = (node);                                     \
		hash_node_ ? (type *)((char *)hash_node_ - offsetof(type, member)) : NULL; \
	})

#endif
