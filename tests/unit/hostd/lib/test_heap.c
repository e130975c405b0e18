// SPDX-License-Identifier: GPL-2.0-or-later
#include "suite.h"

#include <stdint.h>
#include <string.h>

#include "lib/heap.h"

#define OWN HEAP_BLOCK_BYTES

static struct heap *heap;

static void setup(void)
{
	heap = heap_new();
}

static void teardown(void)
{
	ck_assert_uint_eq(heap_bytes(heap), 0);
	heap_end(heap);
}

START_TEST(what_is_taken_counts_until_it_is_free)
{
	uint8_t *a = heap_zalloc(heap, 100), *b = heap_zalloc_aligned(heap, 64, 10);

	ck_assert_uint_eq(heap_bytes(heap), 110 + 2 * OWN + 2 * 64);
	ck_assert_uint_eq((uintptr_t)b % 64, 0);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(a[i], 0);
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(b[i], 0);
	heap_free(a);
	ck_assert_uint_eq(heap_bytes(heap), 10 + OWN + 2 * 64);
	heap_free(b);
	heap_free(NULL);
}
END_TEST

START_TEST(beyond_the_limit_is_nothing)
{
	void *a, *b;

	heap_limit(heap, 100 + OWN);
	ck_assert_uint_eq(heap_max(heap), 100 + OWN);
	ck_assert(!heap_refused(heap));
	ck_assert_ptr_null(heap_zalloc(heap, 101));
	ck_assert(heap_refused(heap));
	ck_assert(!heap_refused(heap));
	ck_assert_uint_eq(heap_bytes(heap), 0);
	a = heap_zalloc(heap, 100);
	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_null(heap_zalloc(heap, 0));
	b = heap_zalloc_beyond(heap, 50);
	ck_assert_ptr_nonnull(b);
	ck_assert_uint_eq(heap_bytes(heap), 150 + 2 * OWN);
	heap_free(a);
	heap_free(b);
}
END_TEST

START_TEST(what_is_not_there_does_not_count)
{
	ck_assert_ptr_null(heap_zalloc(heap, SIZE_MAX - 100));
	ck_assert_ptr_null(heap_zalloc(heap, 1ull << 47));
	ck_assert(!heap_refused(heap));
}
END_TEST

START_TEST(a_block_changes_its_size)
{
	uint8_t *a = heap_resize(heap, NULL, 10), *b;

	a[9] = 7;
	a = heap_resize(NULL, a, 1000);
	ck_assert_uint_eq(a[9], 7);
	ck_assert_uint_eq(heap_bytes(heap), 1000 + OWN);
	heap_limit(heap, 1000 + OWN);
	ck_assert_ptr_null(heap_resize(heap, a, 1001));
	ck_assert_uint_eq(heap_bytes(heap), 1000 + OWN);
	b = heap_resize(heap, a, 20);
	ck_assert_uint_eq(b[9], 7);
	ck_assert_uint_eq(heap_bytes(heap), 20 + OWN);
	heap_free(b);
}
END_TEST

START_TEST(an_account_outlives_its_end_while_it_has_a_block)
{
	struct heap *other = heap_new();
	void *block = heap_zalloc(other, 1);

	heap_end(other);
	heap_free(block); /* and the account: the leak checker tells */
}
END_TEST

START_TEST(a_block_of_no_account_is_just_memory)
{
	void *block = heap_zalloc(NULL, 100);

	block = heap_resize(NULL, block, 200);
	ck_assert_uint_eq(heap_bytes(NULL), 0);
	ck_assert(!heap_refused(NULL));
	heap_free(block);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("heap");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_taken_counts_until_it_is_free);
	tcase_add_test(tc, beyond_the_limit_is_nothing);
	tcase_add_test(tc, what_is_not_there_does_not_count);
	tcase_add_test(tc, a_block_changes_its_size);
	tcase_add_test(tc, an_account_outlives_its_end_while_it_has_a_block);
	tcase_add_test(tc, a_block_of_no_account_is_just_memory);
	return suite_run("heap", tc);
}
