// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/memory.h"
#include "suite.h"

#define K4   4096ull
#define SIZE (64 * K4)

static struct memory *memory;
static int fd;
static uint8_t *ours; /* the same memory, as QEMU sees it */

static void setup(void)
{
	ck_assert_int_eq(memory_fault_init(), 0);
	memory = memory_new();
	fd = memfd_create("guest", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	ours = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static void teardown(void)
{
	memory_free(memory);
	munmap(ours, SIZE);
	close(fd);
}

static int add(uint64_t gpa, uint64_t size, uint64_t offset)
{
	return memory_add(memory, gpa, size, offset, K4, dup(fd));
}

START_TEST(what_the_guest_writes_is_seen_where_it_says)
{
	struct region *region;
	uint8_t *at;

	ck_assert_int_eq(add(0x100000, 16 * K4, 8 * K4), 0);
	ours[8 * K4 + 5] = 42;
	at = memory_resolve(memory, 0x100005, 1, &region);
	ck_assert_ptr_nonnull(at);
	ck_assert_uint_eq(*at, 42);
	region_put(region);
}
END_TEST

START_TEST(resolving_stays_inside_one_region)
{
	struct region *region;

	ck_assert_int_eq(add(K4, K4, 0), 0);
	ck_assert_int_eq(add(2 * K4, K4, K4), 0);
	ck_assert_ptr_null(memory_resolve(memory, K4, K4 + 1, &region));
	ck_assert_ptr_null(memory_resolve(memory, K4, 0, &region));
	ck_assert_ptr_null(memory_resolve(memory, K4 - 1, 1, &region));
	ck_assert_ptr_null(memory_resolve(memory, 3 * K4, 1, &region));
	ck_assert_ptr_null(memory_resolve(memory, K4, UINT64_MAX, &region));
	ck_assert_ptr_null(memory_resolve(memory, UINT64_MAX, 1, &region));
	ck_assert_ptr_nonnull(memory_resolve(memory, 3 * K4 - 1, 1, &region));
	region_put(region);
}
END_TEST

START_TEST(reading_crosses_regions_that_meet)
{
	uint8_t copy[16];

	/* In the other order in the file. */
	ck_assert_int_eq(add(0, K4, K4), 0);
	ck_assert_int_eq(add(K4, K4, 0), 0);
	memset(ours + 2 * K4 - 8, 1, 8);
	memset(ours, 2, 8);
	ck_assert_int_eq(memory_read(memory, K4 - 8, copy, 16), 0);
	ck_assert_uint_eq(copy[7], 1);
	ck_assert_uint_eq(copy[8], 2);
	ck_assert_int_eq(memory_read(memory, 2 * K4 - 8, copy, 16), -EFAULT);
}
END_TEST

START_TEST(overlaps_are_refused_and_neighbours_are_not)
{
	ck_assert_int_eq(add(4 * K4, 4 * K4, 0), 0);
	ck_assert_int_eq(add(4 * K4, 4 * K4, 0), -EINVAL);
	ck_assert_int_eq(add(0, 5 * K4, 0), -EINVAL);
	ck_assert_int_eq(add(7 * K4, K4, 0), -EINVAL);
	ck_assert_int_eq(add(0, 16 * K4, 0), -EINVAL);
	ck_assert_int_eq(add(5 * K4, K4, 0), -EINVAL);
	ck_assert_int_eq(add(0, 4 * K4, 0), 0);
	ck_assert_int_eq(add(8 * K4, 4 * K4, 0), 0);
	ck_assert_uint_eq(memory_regions(memory), 3);
}
END_TEST

START_TEST(what_is_taken_away_lives_on_for_who_has_it)
{
	struct region *region;
	uint8_t *at;

	ck_assert_int_eq(add(0, SIZE, 0), 0);
	at = memory_resolve(memory, 0, SIZE, &region);
	ck_assert_int_eq(memory_del(memory, 0, SIZE - K4), -ENOENT);
	ck_assert_int_eq(memory_del(memory, K4, SIZE), -ENOENT);
	ck_assert_int_eq(memory_del(memory, 0, SIZE), 0);
	ck_assert_int_eq(memory_del(memory, 0, SIZE), -ENOENT);
	ck_assert_ptr_null(memory_region(memory, 0));
	ours[77] = 7;
	ck_assert_uint_eq(at[77], 7);
	region_put(region);
}
END_TEST

START_TEST(a_descriptor_is_taken_over_also_on_failure)
{
	int copy = dup(fd);

	ck_assert_int_eq(memory_add(memory, 1, K4, 0, K4, copy), -EINVAL);
	ck_assert_int_eq(fcntl(copy, F_GETFD), -1);
	copy = dup(fd);
	ck_assert_int_eq(memory_add(memory, 0, K4, 0, K4, copy), 0);
	ck_assert_int_eq(memory_del(memory, 0, K4), 0);
	ck_assert_int_eq(fcntl(copy, F_GETFD), -1);
}
END_TEST

START_TEST(a_file_that_cannot_be_mapped_is_told)
{
	int sealed = memfd_create("sealed", MFD_ALLOW_SEALING);

	ck_assert_int_eq(ftruncate(sealed, K4), 0);
	ck_assert_int_eq(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
	ck_assert_int_eq(memory_add(memory, 0, K4, 0, K4, sealed), -EPERM);
	ck_assert_uint_eq(memory_regions(memory), 0);
}
END_TEST

/* ------------------------- memory that vanishes ------------------------- */

static bool fault_is_told(void)
{
	uint64_t count;

	return read(memory_fault_fd(), &count, sizeof(count)) == sizeof(count);
}

START_TEST(a_page_that_vanished_reads_as_zero_and_marks_its_region)
{
	struct region *region, *other;
	uint8_t *at;

	ck_assert_int_eq(add(0, 32 * K4, 0), 0);
	ck_assert_int_eq(add(1ull << 32, 32 * K4, 32 * K4), 0);
	at = memory_resolve(memory, 0, 32 * K4, &region);
	memory_resolve(memory, 1ull << 32, K4, &other);
	memset(ours, 1, SIZE);
	ck_assert(!memory_faulted(memory));
	ck_assert_int_eq(ftruncate(fd, 16 * K4), 0);
	ck_assert_uint_eq(at[16 * K4 - 1], 1);
	ck_assert(!fault_is_told());
	ck_assert_uint_eq(at[16 * K4 + 9], 0);
	ck_assert(fault_is_told());
	ck_assert(memory_faulted(memory));
	ck_assert(atomic_load(&region->faulted));
	ck_assert(!atomic_load(&other->faulted));
	/* It can also be written, and the next one is handled too. */
	memset(at + 16 * K4, 5, 16 * K4);
	ck_assert_uint_eq(at[31 * K4], 5);
	region_put(region);
	region_put(other);
}
END_TEST

START_TEST(a_system_call_on_what_vanished_fails_without_harm)
{
	struct region *region;
	uint8_t *at;
	int out[2];

	ck_assert_int_eq(pipe(out), 0);
	ck_assert_int_eq(add(0, SIZE, 0), 0);
	at = memory_resolve(memory, 0, SIZE, &region);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(write(out[1], at, 8), -1);
	ck_assert_int_eq(errno, EFAULT);
	region_put(region);
}
END_TEST

START_TEST(a_fault_elsewhere_still_ends_the_process)
{
	uint8_t *at = mmap(NULL, K4, PROT_READ, MAP_SHARED, fd, 0);

	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_uint_eq(*(volatile uint8_t *)at, 1);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("memory");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_the_guest_writes_is_seen_where_it_says);
	tcase_add_test(tc, resolving_stays_inside_one_region);
	tcase_add_test(tc, reading_crosses_regions_that_meet);
	tcase_add_test(tc, overlaps_are_refused_and_neighbours_are_not);
	tcase_add_test(tc, what_is_taken_away_lives_on_for_who_has_it);
	tcase_add_test(tc, a_descriptor_is_taken_over_also_on_failure);
	tcase_add_test(tc, a_file_that_cannot_be_mapped_is_told);
	tcase_add_test(tc, a_page_that_vanished_reads_as_zero_and_marks_its_region);
	tcase_add_test(tc, a_system_call_on_what_vanished_fails_without_harm);
	tcase_add_test_raise_signal(tc, a_fault_elsewhere_still_ends_the_process, SIGBUS);
	return suite_run("memory", tc);
}
