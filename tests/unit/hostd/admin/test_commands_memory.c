// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory lists of commands. */
#include <endian.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "admin/commands.h"
#include "memory/memory.h"
#include "suite.h"

#define K4    4096ull
#define PAGES 1024
#define HIGH  (1ull << 32)
#define MANY  (1ull << 40)

static struct memory *memory;
static uint8_t *low, *high;
static int low_fd, high_fd;
static struct pvhca_mem_list list;
static struct extents *extents;

static uint8_t *map_region(uint64_t gpa, int *fd)
{
	*fd = memfd_create("guest", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(*fd, PAGES * K4), 0);
	ck_assert_int_eq(memory_add(memory, gpa, PAGES * K4, 0, K4, dup(*fd)), 0);
	return mmap(NULL, PAGES * K4, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
}

static void setup(void)
{
	memory_fault_init();
	memory = memory_new(NULL);
	low = map_region(0, &low_fd);
	high = map_region(HIGH, &high_fd);
	memset(&list, 0, sizeof(list));
	extents = NULL;
}

static void teardown(void)
{
	extents_put(extents);
	memory_free(memory);
	munmap(low, PAGES * K4);
	munmap(high, PAGES * K4);
	close(low_fd);
	close(high_fd);
}

static void set(unsigned int i, uint64_t gpa, uint64_t len)
{
	list.extents[i].addr = htole64(gpa);
	list.extents[i].len = htole64(len);
	list.num_extents = htole32(i + 1);
	list.length = htole64(le64toh(list.length) + len);
}

static int parse(void)
{
	extents_put(extents);
	extents = NULL;
	return commands_read_memory(memory, &list, MANY, &extents);
}

START_TEST(runs_that_follow_are_one)
{
	set(0, 0, K4);
	set(1, K4, 2 * K4);
	set(2, 3 * K4, K4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(extents->count, 1);
	ck_assert_uint_eq(extents->length, 4 * K4);
}
END_TEST

START_TEST(runs_apart_and_in_other_order_stay_apart)
{
	set(0, 5 * K4, K4);
	set(1, 4 * K4, K4);
	set(2, HIGH, 2 * K4);
	set(3, 4 * K4, K4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(extents->count, 4);
	ck_assert_uint_eq(extents->extent[3].start, 4 * K4);
	ck_assert_ptr_eq(extents_find(extents, 0), &extents->extent[0]);
	ck_assert_ptr_eq(extents_find(extents, K4 - 1), &extents->extent[0]);
	ck_assert_ptr_eq(extents_find(extents, K4), &extents->extent[1]);
	ck_assert_ptr_eq(extents_find(extents, 4 * K4 - 1), &extents->extent[2]);
	ck_assert_ptr_eq(extents_find(extents, 5 * K4 - 1), &extents->extent[3]);
}
END_TEST

START_TEST(a_run_may_cross_from_one_region_into_the_next)
{
	ck_assert_int_eq(memory_add(memory, PAGES * K4, K4, 0, K4, dup(high_fd)), 0);
	set(0, (PAGES - 1) * K4, 2 * K4);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(extents->count, 2);
	set(0, (PAGES - 1) * K4, 3 * K4);
	list.length = htole64(3 * K4);
	ck_assert_int_eq(parse(), PVHCA_ST_BAD_ADDRESS);
}
END_TEST

START_TEST(more_than_the_bound_is_refused)
{
	set(0, 0, 4 * K4);
	ck_assert_int_eq(commands_read_memory(memory, &list, 4 * K4 - 1, &extents),
			 PVHCA_ST_INVALID);
	ck_assert_int_eq(commands_read_memory(memory, &list, 4 * K4, &extents), 0);
}
END_TEST

START_TEST(sums_that_overflow_are_refused)
{
	set(0, 0, UINT64_MAX - K4 + 1);
	set(1, 0, 2 * K4);
	ck_assert_uint_eq(le64toh(list.length), K4);
	ck_assert_int_eq(parse(), PVHCA_ST_INVALID);
	memset(&list, 0, sizeof(list));
	set(0, UINT64_MAX - K4 + 1, 2 * K4);
	ck_assert_int_eq(parse(), PVHCA_ST_INVALID);
}
END_TEST

START_TEST(a_count_that_the_bytes_cannot_hold_is_refused_before_the_walk)
{
	list.num_extents = htole32(UINT32_MAX);
	list.length = htole64(K4);
	list.chunk = htole64(K4);
	ck_assert_int_eq(parse(), PVHCA_ST_INVALID);
}
END_TEST

/* A chain of chunks at the end of low memory: all of page and the one after. */
static void make_chain(unsigned int count)
{
	struct pvhca_extent_chunk *chunk;
	unsigned int i, in_chunk = 0;
	uint64_t at = 512 * K4;

	list.chunk = htole64(at);
	list.num_extents = htole32(count);
	chunk = (void *)(low + at);
	memset(chunk, 0, sizeof(*chunk));
	for (i = 0; i < count; i++) {
		if (in_chunk == PVHCA_CHUNK_EXTENTS) {
			at += K4;
			chunk->next = htole64(at);
			chunk = (void *)(low + at);
			memset(chunk, 0, sizeof(*chunk));
			in_chunk = 0;
		}
		/* Backwards, so that none can be merged. */
		chunk->extents[in_chunk].addr = htole64(HIGH + (PAGES - 1 - i % PAGES) * K4);
		chunk->extents[in_chunk++].len = htole64(K4);
	}
	list.length = htole64(count * K4);
}

START_TEST(chains_of_each_length_around_full_chunks)
{
	static const unsigned int counts[] = {
		5, 254, 255, 256, 509, 510, 511, 1024, 2000,
	};

	make_chain(counts[_i]);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(extents->length, counts[_i] * K4);
	for (unsigned int i = 0; i < counts[_i]; i++)
		ck_assert_ptr_eq(extents_find(extents, i * K4 + 17), &extents->extent[i]);
}
END_TEST

START_TEST(a_chain_that_ends_early_or_late_is_refused)
{
	struct pvhca_extent_chunk *chunk = (void *)(low + 512 * K4);

	make_chain(300);
	chunk->next = 0;
	ck_assert_int_eq(parse(), PVHCA_ST_INVALID);
	make_chain(300);
	chunk[1].next = htole64(512 * K4);
	ck_assert_int_eq(parse(), PVHCA_ST_INVALID);
	make_chain(300);
	chunk->next = htole64(MANY);
	ck_assert_int_eq(parse(), PVHCA_ST_BAD_ADDRESS);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("lists");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, runs_that_follow_are_one);
	tcase_add_test(tc, runs_apart_and_in_other_order_stay_apart);
	tcase_add_test(tc, a_run_may_cross_from_one_region_into_the_next);
	tcase_add_test(tc, more_than_the_bound_is_refused);
	tcase_add_test(tc, sums_that_overflow_are_refused);
	tcase_add_test(tc, a_count_that_the_bytes_cannot_hold_is_refused_before_the_walk);
	tcase_add_loop_test(tc, chains_of_each_length_around_full_chunks, 0, 9);
	tcase_add_test(tc, a_chain_that_ends_early_or_late_is_refused);
	return suite_run("commands_memory", tc);
}
