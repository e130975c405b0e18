// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/hash.h"

#include "lib/heap.h"

#define FIRST_SIZE 16u
#define MAX_SIZE   (1u << 20)

/* Bits that differ in keys that are handed out in sequence go to all places. */
static uint32_t hash_place(uint32_t value, uint32_t size)
{
	return (value * 2654435761u >> 8) & (size - 1);
}

static struct hash_node **hash_bucket(const struct hash *hash, uint32_t value)
{
	if (!hash->size)
		return (struct hash_node **)&hash->one;
	return &hash->bucket[hash_place(value, hash->size)];
}

static void hash_push(struct hash *hash, struct hash_node *node)
{
	struct hash_node **bucket = hash_bucket(hash, node->hash);

	node->next = *bucket;
	*bucket = node;
}

/* Twice the size, if there is memory. */
static void hash_grow(struct hash *hash)
{
	uint32_t size = hash->size ? hash->size * 2 : FIRST_SIZE;
	struct hash_node **bucket, *node, *next;
	struct hash old = *hash;

	if (size > MAX_SIZE)
		return;
	bucket = heap_zalloc(hash->heap, size * sizeof(*bucket));
	if (!bucket)
		return;
	hash->bucket = bucket;
	hash->size = size;
	hash->one = NULL;
	for (uint32_t i = 0; i < (old.size ? old.size : 1); i++)
		for (node = old.size ? old.bucket[i] : old.one; node; node = next) {
			next = node->next;
			hash_push(hash, node);
		}
	heap_free(old.bucket);
}

void hash_add(struct hash *hash, struct hash_node *node, uint32_t value)
{
	node->hash = value;
	if (hash->count >= (hash->size ? hash->size : 4))
		hash_grow(hash);
	hash_push(hash, node);
	hash->count++;
}

void hash_del(struct hash *hash, struct hash_node *node)
{
	struct hash_node **at = hash_bucket(hash, node->hash);

	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	hash->count--;
}

void hash_fini(struct hash *hash)
{
	heap_free(hash->bucket);
	*hash = (struct hash){ .heap = hash->heap };
}

struct hash_node *hash_first(const struct hash *hash, uint32_t value)
{
	struct hash_node *node = *hash_bucket(hash, value);

	while (node && node->hash != value)
		node = node->next;
	return node;
}

struct hash_node *hash_next(const struct hash_node *node)
{
	uint32_t value = node->hash;

	do
		node = node->next;
	while (node && node->hash != value);
	return (struct hash_node *)node;
}

uint32_t hash_bytes(const void *bytes, size_t n)
{
	uint32_t hash = 2166136261u;

	for (const uint8_t *at = bytes; n--; at++)
		hash = (hash ^ *at) * 16777619u;
	return hash;
}
