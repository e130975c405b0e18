// SPDX-License-Identifier: GPL-2.0-or-later
/* Mappings of scattered memory that regions share, and that outlast them. */
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/private.h"
#include "suite.h"

#define K4	 4096ull
#define PAGES	 64
#define HIGH	 (1ull << 32)
#define PIECES	 3
#define MAPPINGS 100000ul /* more than vm.max_map_count usually allows */

static struct memory *memory;
static uint8_t *low;
static int low_fd;

static int add_region(uint64_t gpa)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, PAGES * K4), 0);
	ck_assert_int_eq(memory_add(memory, gpa, PAGES * K4, 0, K4, dup(fd)), 0);
	return fd;
}

static void setup(void)
{
	memory_fault_init();
	memory = memory_new(NULL);
	low_fd = add_region(0);
	low = mmap(NULL, PAGES * K4, PROT_READ | PROT_WRITE, MAP_SHARED, low_fd, 0);
	close(add_region(HIGH));
}

static void teardown(void)
{
	memory_free(memory);
	munmap(low, PAGES * K4);
	close(low_fd);
}

/* Three single pages, first being the first's number; the last one may be in the other region. */
static struct extents *pages(uint64_t first, uint64_t last)
{
	struct extents_builder builder;

	extents_begin(&builder, memory);
	ck_assert_int_eq(extents_add(&builder, first * K4, K4), 0);
	ck_assert_int_eq(extents_add(&builder, (first + 2) * K4, K4), 0);
	ck_assert_int_eq(extents_add(&builder, last, K4), 0);
	return extents_end(&builder);
}

/* As a region is registered: the list is the region's own for as long as it lives. */
static struct stitch *get(uint64_t first, uint64_t last, bool expect_reused)
{
	struct extents *extents = pages(first, last);
	struct stitch *stitch;
	bool reused;
	int error;

	stitch = stitches_get(memory, extents, &reused, &error);
	ck_assert_ptr_nonnull(stitch);
	ck_assert_int_eq(reused, expect_reused);
	extents_put(extents);
	return stitch;
}

static void check_counts(uint64_t used, uint64_t kept)
{
	ck_assert_uint_eq(memory_mappings(memory), used);
	ck_assert_uint_eq(memory_mappings_kept(memory), kept);
}

static bool is_mapped(const void *base)
{
	return !msync((void *)base, K4, MS_ASYNC);
}

static unsigned long max_map_count(void)
{
	FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
	unsigned long count = 0;

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%lu", &count), 1);
	fclose(file);
	return count;
}

START_TEST(the_same_memory_is_mapped_once)
{
	struct stitch *one = get(1, 20 * K4, false), *two = get(1, 20 * K4, true);

	ck_assert_ptr_eq(one, two);
	check_counts(PIECES, 0);
	stitches_put(one);
	check_counts(PIECES, 0);
	two->base[2 * K4] = 42;
	ck_assert_uint_eq(low[20 * K4], 42);
	stitches_put(two);
}
END_TEST

START_TEST(what_is_registered_again_is_mapped_still)
{
	struct stitch *stitch = get(1, 20 * K4, false);
	uint8_t *base = stitch->base;

	stitches_put(stitch);
	check_counts(0, PIECES);
	ck_assert(is_mapped(base));
	low[3 * K4 + 7] = 43;
	stitch = get(1, 20 * K4, true);
	ck_assert_ptr_eq(stitch->base, base);
	ck_assert_uint_eq(base[K4 + 7], 43);
	check_counts(PIECES, 0);
	stitches_put(stitch);
}
END_TEST

START_TEST(other_memory_is_mapped_anew)
{
	struct stitch *one, *two;

	stitches_put(get(1, 20 * K4, false));
	one = get(1, 21 * K4, false);
	two = get(1, HIGH + 20 * K4, false);
	ck_assert_ptr_ne(one->base, two->base);
	check_counts(2 * PIECES, PIECES);
	stitches_put(one);
	stitches_put(two);
}
END_TEST

START_TEST(what_lies_in_one_piece_is_not_mapped_again)
{
	struct extents_builder builder;
	struct extents *extents;
	struct stitch *stitch;
	bool reused;
	int error;

	extents_begin(&builder, memory);
	ck_assert_int_eq(extents_add(&builder, 5 * K4, 2 * K4), 0);
	extents = extents_end(&builder);
	stitch = stitches_get(memory, extents, &reused, &error);
	ck_assert_ptr_eq(stitch->base, extents->extent[0].host);
	stitches_put(stitch);
	check_counts(0, 0);
	ck_assert(is_mapped(extents->extent[0].host));
	extents_put(extents);
}
END_TEST

START_TEST(what_qemu_takes_away_is_forgotten)
{
	struct stitch *stitch = get(1, HIGH + 20 * K4, false);
	uint8_t *base = stitch->base;

	stitches_put(stitch);
	stitches_put(get(1, 20 * K4, false));
	check_counts(0, 2 * PIECES);
	ck_assert_int_eq(memory_del(memory, HIGH, PAGES * K4), 0);
	ck_assert(!is_mapped(base));
	check_counts(0, PIECES);
}
END_TEST

START_TEST(what_qemu_takes_away_while_it_is_used_is_not_kept)
{
	struct stitch *stitch = get(1, HIGH + 20 * K4, false);
	uint8_t *base = stitch->base;

	ck_assert_int_eq(memory_del(memory, HIGH, PAGES * K4), 0);
	base[2 * K4] = 1;
	stitches_put(stitch);
	ck_assert(!is_mapped(base));
	check_counts(0, 0);
}
END_TEST

START_TEST(a_vm_that_goes_leaves_nothing_and_others_theirs)
{
	struct memory *first = memory;
	struct stitch *stitch;
	uint8_t *base;

	stitch = get(1, 20 * K4, false);
	base = stitch->base;
	stitches_put(stitch);
	memory = memory_new(NULL);
	close(add_region(0));
	/* The same guest-physical pages are other memory here. */
	stitches_put(get(1, 20 * K4, false));
	memory_free(first);
	ck_assert(!is_mapped(base));
	check_counts(0, PIECES);
}
END_TEST

START_TEST(the_oldest_goes_when_too_much_is_kept)
{
	uint64_t first;

	stitches_limit(5 * PIECES * K4);
	for (first = 1; first <= 8; first++)
		stitches_put(get(first, 40 * K4, false));
	check_counts(0, 5 * PIECES);
	/* Whatever is used again is not the oldest. */
	stitches_put(get(4, 40 * K4, true));
	stitches_put(get(1, 40 * K4, false));
	stitches_put(get(4, 40 * K4, true));
	stitches_put(get(5, 40 * K4, false));
}
END_TEST

/* Much is unmapped by a thread; nothing of a VM is left when it has gone. */
START_TEST(what_takes_long_to_unmap_is_unmapped_behind)
{
	const uint64_t half = 20ull << 20;
	struct extents_builder builder;
	int fd = memfd_create("large", MFD_CLOEXEC), error;
	struct extents *extents;
	struct stitch *stitch;
	uint8_t *base;
	bool reused;

	ck_assert_int_eq(ftruncate(fd, 2 * half), 0);
	ck_assert_int_eq(memory_add(memory, 2 * HIGH, 2 * half, 0, K4, fd), 0);
	extents_begin(&builder, memory);
	ck_assert_int_eq(extents_add(&builder, 2 * HIGH + half, half), 0);
	ck_assert_int_eq(extents_add(&builder, 2 * HIGH, half), 0);
	extents = extents_end(&builder);
	stitches_limit(half);
	stitch = stitches_get(memory, extents, &reused, &error);
	ck_assert_ptr_nonnull(stitch);
	base = stitch->base;
	extents_put(extents);
	stitches_put(stitch);
	check_counts(0, 0);
	ck_assert_int_eq(memory_del(memory, 2 * HIGH, 2 * half), 0);
	ck_assert(!is_mapped(base));
}
END_TEST

/* The linker leads pvhcad's own calls here (--wrap). */
int __wrap_munmap(void *base, size_t length);
int __real_munmap(void *base, size_t length);

static sem_t held, go;
static void *_Atomic hold_at; /* the mapping whose unmapping waits */

int __wrap_munmap(void *base, size_t length)
{
	if (base == hold_at) {
		sem_post(&held);
		sem_wait(&go);
	}
	return __real_munmap(base, length);
}

static void *put_stitch(void *stitch)
{
	stitches_put(stitch);
	return NULL;
}

START_TEST(a_vm_does_not_wait_until_the_memory_of_another_is_unmapped)
{
	struct memory *first = memory, *second;
	struct stitch *stitch;
	pthread_t thread;

	sem_init(&held, 0, 0);
	sem_init(&go, 0, 0);
	stitches_limit(0);
	stitch = get(1, 20 * K4, false);
	hold_at = stitch->base;
	ck_assert_int_eq(pthread_create(&thread, NULL, put_stitch, stitch), 0);
	sem_wait(&held);
	second = memory = memory_new(NULL);
	close(add_region(0));
	stitches_put(get(1, 20 * K4, false));
	ck_assert_int_eq(memory_del(memory, 0, PAGES * K4), 0);
	memory_free(second);
	sem_post(&go);
	pthread_join(thread, NULL);
	memory = first;
}
END_TEST

START_TEST(a_vm_has_no_more_mappings_than_it_may)
{
	struct extents *extents;
	struct stitch *stitch;
	bool reused;
	int error;

	/* Two regions, and two times three pieces. */
	memory_limit(memory, UINT64_MAX, 2 + 2 * PIECES);
	stitch = get(1, 20 * K4, false);
	stitches_put(get(2, 20 * K4, false));
	check_counts(PIECES, PIECES);
	/* What is kept gives way. */
	stitches_put(get(3, 20 * K4, false));
	check_counts(PIECES, PIECES);
	memory_limit(memory, UINT64_MAX, 1 + 2 * PIECES);
	extents = pages(4, 20 * K4);
	ck_assert_ptr_null(stitches_get(memory, extents, &reused, &error));
	ck_assert_int_eq(error, EDQUOT);
	extents_put(extents);
	stitches_put(stitch);
}
END_TEST

START_TEST(nothing_is_kept_where_that_is_not_wanted)
{
	struct stitch *stitch;
	uint8_t *base;

	stitches_limit(0);
	stitch = get(1, 20 * K4, false);
	base = stitch->base;
	stitches_put(stitch);
	ck_assert(!is_mapped(base));
	check_counts(0, 0);
}
END_TEST

START_TEST(what_is_kept_gives_way_to_what_cannot_be_mapped)
{
	struct stitch *stitch;
	unsigned int at;
	uint8_t *room;

	for (uint64_t first = 1; first < 30; first++)
		stitches_put(get(first, 60 * K4, false));
	check_counts(0, 29 * PIECES);
	/* Rights that alternate make a mapping of each page: until there is no more. */
	room = mmap(NULL, MAPPINGS * K4, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		    0);
	ck_assert_ptr_ne(room, MAP_FAILED);
	for (at = 0; at < MAPPINGS; at += 2)
		if (mprotect(room + at * K4, K4, PROT_READ))
			break;
	if (at < MAPPINGS) {
		stitch = get(1, HIGH, false);
		check_counts(PIECES, 0);
		stitches_put(stitch);
	}
	munmap(room, MAPPINGS * K4);
	/* vm.max_map_count may be what it is by default, or have been raised. */
	ck_assert_msg(at < MAPPINGS || max_map_count() > MAPPINGS, "mappings ran not out");
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("stitches");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_same_memory_is_mapped_once);
	tcase_add_test(tc, what_is_registered_again_is_mapped_still);
	tcase_add_test(tc, other_memory_is_mapped_anew);
	tcase_add_test(tc, what_lies_in_one_piece_is_not_mapped_again);
	tcase_add_test(tc, what_qemu_takes_away_is_forgotten);
	tcase_add_test(tc, what_qemu_takes_away_while_it_is_used_is_not_kept);
	tcase_add_test(tc, a_vm_that_goes_leaves_nothing_and_others_theirs);
	tcase_add_test(tc, the_oldest_goes_when_too_much_is_kept);
	tcase_add_test(tc, what_takes_long_to_unmap_is_unmapped_behind);
	tcase_add_test(tc, a_vm_does_not_wait_until_the_memory_of_another_is_unmapped);
	tcase_add_test(tc, a_vm_has_no_more_mappings_than_it_may);
	tcase_add_test(tc, nothing_is_kept_where_that_is_not_wanted);
	tcase_add_test(tc, what_is_kept_gives_way_to_what_cannot_be_mapped);
	return suite_run("stitches", tc);
}
