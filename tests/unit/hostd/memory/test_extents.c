// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs of guest memory, and their being laid out one behind the other. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "memory/private.h"
#include "pvhca/pvhca-admin.h"
#include "suite.h"

#define K4    4096ull
#define PAGES 1024
#define HIGH  (1ull << 32)
#define MANY  (1ull << 40)

static struct memory *memory;
static uint8_t *low, *high;
static int low_fd, high_fd;
static struct extents_builder builder;
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
	extents_begin(&builder, memory);
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

static void add(uint64_t gpa, uint64_t len)
{
	ck_assert_int_eq(extents_add(&builder, gpa, len), 0);
}

static void end(void)
{
	extents_put(extents);
	extents = extents_end(&builder);
	extents_begin(&builder, memory);
}

/* Backwards, so that none can be merged. */
static void add_apart(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		add(HIGH + (PAGES - 1 - i % PAGES) * K4, K4);
}

START_TEST(runs_that_follow_are_one)
{
	add(0, K4);
	add(K4, 2 * K4);
	add(3 * K4, K4);
	end();
	ck_assert_uint_eq(extents->count, 1);
	ck_assert_uint_eq(extents->length, 4 * K4);
}
END_TEST

START_TEST(runs_apart_and_in_other_order_stay_apart)
{
	add(5 * K4, K4);
	add(4 * K4, K4);
	add(HIGH, 2 * K4);
	add(4 * K4, K4);
	end();
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
	add((PAGES - 1) * K4, 2 * K4);
	end();
	ck_assert_uint_eq(extents->count, 2);
	ck_assert_int_eq(extents_add(&builder, (PAGES - 1) * K4, 3 * K4), PVHCA_ST_BAD_ADDRESS);
	end();
}
END_TEST

START_TEST(runs_that_are_no_granules_or_overflow_are_refused)
{
	ck_assert_int_eq(extents_add(&builder, 0, 0), PVHCA_ST_INVALID);
	ck_assert_int_eq(extents_add(&builder, K4, K4 - 1), PVHCA_ST_INVALID);
	ck_assert_int_eq(extents_add(&builder, 1, K4), PVHCA_ST_INVALID);
	ck_assert_int_eq(extents_add(&builder, UINT64_MAX - K4 + 1, 2 * K4), PVHCA_ST_INVALID);
	end();
	ck_assert_ptr_null(extents);
}
END_TEST

START_TEST(as_many_runs_as_there_are)
{
	add_apart(2000);
	end();
	ck_assert_uint_eq(extents->length, 2000 * K4);
	for (unsigned int i = 0; i < 2000; i++)
		ck_assert_ptr_eq(extents_find(extents, i * K4 + 17), &extents->extent[i]);
}
END_TEST

/* -------------------------------- stitching -------------------------------- */

START_TEST(one_extent_is_used_where_it_lies)
{
	struct stitch stitch;

	add(3 * K4, 2 * K4);
	end();
	ck_assert_int_eq(stitch_map(NULL, extents, &stitch), 0);
	ck_assert_ptr_eq(stitch.base, extents->extent[0].host);
	ck_assert_uint_eq(stitch.mappings, 0);
	stitch_unmap(&stitch);
	/* Still mapped. */
	ck_assert_uint_eq(*extents->extent[0].host, 0);
}
END_TEST

START_TEST(stitched_memory_is_the_guests_in_its_order)
{
	struct stitch stitch;

	add_apart(1000);
	for (unsigned int i = 0; i < PAGES; i++)
		memset(high + i * K4, i, K4);
	end();
	ck_assert_int_eq(stitch_map(NULL, extents, &stitch), 0);
	ck_assert_uint_eq(stitch.length, 1000 * K4);
	ck_assert_uint_eq(stitch.mappings, 1000);
	for (unsigned int i = 0; i < 1000; i++) {
		ck_assert_uint_eq(stitch.base[i * K4 + 100], (uint8_t)(PAGES - 1 - i));
		stitch.base[i * K4] = 99;
	}
	ck_assert_uint_eq(high[(PAGES - 1) * K4], 99);
	stitch_unmap(&stitch);
}
END_TEST

START_TEST(stitched_memory_that_vanishes_marks_the_region_it_is_of)
{
	struct stitch stitch;

	add(5 * K4, K4);
	add(HIGH + 5 * K4, K4);
	add(7 * K4, K4);
	end();
	ck_assert_int_eq(stitch_map(NULL, extents, &stitch), 0);
	memset(stitch.base, 1, 3 * K4);
	ck_assert_int_eq(ftruncate(high_fd, 0), 0);
	ck_assert_uint_eq(stitch.base[K4 + 3], 0);
	ck_assert(atomic_load(&extents->extent[1].region->faulted));
	ck_assert(!atomic_load(&extents->extent[0].region->faulted));
	ck_assert_uint_eq(stitch.base[3], 1);
	ck_assert_uint_eq(stitch.base[2 * K4 + 3], 1);
	stitch_unmap(&stitch);
}
END_TEST

START_TEST(large_runs_keep_their_place_in_huge_pages)
{
	struct stitch stitch;

	add(512 * K4, 512 * K4);
	add(HIGH, 512 * K4);
	end();
	ck_assert_int_eq(stitch_map(NULL, extents, &stitch), 0);
	ck_assert_uint_eq((uintptr_t)stitch.base & ((2 << 20) - 1), 0);
	stitch_unmap(&stitch);
}
END_TEST

START_TEST(nothing_stays_mapped_when_mappings_run_out)
{
	struct stitch stitch[200];
	unsigned int n = 0;
	int ret = 0;

	add_apart(1000);
	end();
	while (n < 200 && !ret) {
		ret = stitch_map(NULL, extents, &stitch[n]);
		n += !ret;
	}
	ck_assert_int_eq(ret, -ENOMEM);
	/* What could be had before can be had again. */
	while (n > 2)
		stitch_unmap(&stitch[--n]);
	ck_assert_int_eq(stitch_map(NULL, extents, &stitch[n++]), 0);
	while (n)
		stitch_unmap(&stitch[--n]);
}
END_TEST

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* As the kernel maps 16 pages in a fault, but for a write. */
START_TEST(memory_that_was_touched_is_written_without_a_fault_for_each_page)
{
	long before;

	memset(low, 1, PAGES * K4);
	memset(high, 1, PAGES * K4);
	add(0, PAGES * K4);
	add(HIGH, PAGES * K4);
	end();
	extents_touch(extents);
	before = faults();
	for (uint32_t i = 0; i < extents->count; i++)
		for (uint64_t at = 0; at < extents->extent[i].len; at += K4)
			extents->extent[i].host[at] = 2;
	ck_assert_int_lt(faults() - before, PAGES);
	ck_assert_uint_eq(low[(PAGES - 1) * K4] + high[0], 4);
}
END_TEST

/* Here each page has a mapping of its own, beyond which a fault maps nothing. */
START_TEST(stitched_memory_is_written_without_a_fault_for_each_page)
{
	struct stitch stitch;
	long before;

	memset(high, 1, PAGES * K4);
	add_apart(PAGES);
	end();
	ck_assert_int_eq(stitch_map(NULL, extents, &stitch), 0);
	before = faults();
	memset(stitch.base, 2, PAGES * K4);
	ck_assert_int_lt(faults() - before, PAGES / 2);
	stitch_unmap(&stitch);
}
END_TEST

START_TEST(memory_that_vanished_before_it_is_touched_marks_its_region)
{
	memset(low, 1, PAGES * K4);
	memset(high, 1, PAGES * K4);
	ck_assert_int_eq(ftruncate(high_fd, PAGES * K4 - K4), 0);
	add(HIGH, PAGES * K4);
	add(0, PAGES * K4);
	end();
	extents_touch(extents);
	/* Which of its bytes are touched is not promised. */
	ck_assert_uint_eq(extents->extent[0].host[(PAGES - 1) * K4], 0);
	ck_assert(atomic_load(&extents->extent[0].region->faulted));
	ck_assert(!atomic_load(&extents->extent[1].region->faulted));
	ck_assert_uint_eq(extents->extent[1].host[(PAGES - 1) * K4], 1);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("extents");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, runs_that_follow_are_one);
	tcase_add_test(tc, runs_apart_and_in_other_order_stay_apart);
	tcase_add_test(tc, a_run_may_cross_from_one_region_into_the_next);
	tcase_add_test(tc, runs_that_are_no_granules_or_overflow_are_refused);
	tcase_add_test(tc, as_many_runs_as_there_are);
	tcase_add_test(tc, one_extent_is_used_where_it_lies);
	tcase_add_test(tc, stitched_memory_is_the_guests_in_its_order);
	tcase_add_test(tc, stitched_memory_that_vanishes_marks_the_region_it_is_of);
	tcase_add_test(tc, large_runs_keep_their_place_in_huge_pages);
	tcase_add_test(tc, memory_that_was_touched_is_written_without_a_fault_for_each_page);
	tcase_add_test(tc, stitched_memory_is_written_without_a_fault_for_each_page);
	tcase_add_test(tc, memory_that_vanished_before_it_is_touched_marks_its_region);
	tcase_add_test(tc, nothing_stays_mapped_when_mappings_run_out);
	return suite_run("extents", tc);
}
