// SPDX-License-Identifier: GPL-2.0-or-later
#include "suite.h"

#include "lib/hash.h"
#include "lib/heap.h"

#define OBJECTS 5000u

struct object {
	unsigned int key;
	struct hash_node node;
};

static struct object objects[OBJECTS];
static struct hash hash;

static struct object *find(uint32_t key)
{
	struct hash_node *node = hash_first(&hash, key);

	while (node && hash_object(node, struct object, node)->key != key)
		node = hash_next(node);
	return hash_object(node, struct object, node);
}

static void add_all(void)
{
	for (unsigned int i = 0; i < OBJECTS; i++) {
		objects[i].key = i * 3;
		hash_add(&hash, &objects[i].node, i * 3);
	}
}

static void teardown(void)
{
	struct heap *heap = hash.heap;

	hash_fini(&hash);
	ck_assert_uint_eq(heap_bytes(heap), 0);
	if (heap)
		heap_end(heap);
}

START_TEST(what_was_added_is_found_until_it_is_deleted)
{
	add_all();
	for (unsigned int i = 0; i < OBJECTS; i++) {
		ck_assert_ptr_eq(find(i * 3), &objects[i]);
		ck_assert_ptr_null(find(i * 3 + 1));
	}
	for (unsigned int i = 0; i < OBJECTS; i += 2)
		hash_del(&hash, &objects[i].node);
	for (unsigned int i = 0; i < OBJECTS; i++)
		ck_assert_ptr_eq(find(i * 3), i % 2 ? &objects[i] : NULL);
	ck_assert_uint_eq(hash.count, OBJECTS / 2);
}
END_TEST

START_TEST(objects_of_one_hash_are_all_found)
{
	for (unsigned int i = 0; i < 100; i++) {
		objects[i].key = i;
		hash_add(&hash, &objects[i].node, 7);
	}
	for (unsigned int i = 0; i < 100; i++) {
		struct hash_node *node = hash_first(&hash, 7);

		while (hash_object(node, struct object, node)->key != i)
			node = hash_next(node);
		ck_assert_ptr_eq(node, &objects[i].node);
	}
	ck_assert_ptr_null(hash_first(&hash, 8));
}
END_TEST

START_TEST(without_memory_it_goes_on_as_a_list)
{
	hash.heap = heap_new();
	heap_limit(hash.heap, 1024);
	add_all();
	ck_assert_uint_le(heap_bytes(hash.heap), 1024);
	for (unsigned int i = 0; i < OBJECTS; i += 100)
		ck_assert_ptr_eq(find(i * 3), &objects[i]);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("hash");

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, what_was_added_is_found_until_it_is_deleted);
	tcase_add_test(tc, objects_of_one_hash_are_all_found);
	tcase_add_test(tc, without_memory_it_goes_on_as_a_list);
	return suite_run("hash", tc);
}
