// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "memory/private.h"
#include "suite.h"

#define K4   4096ull
#define SIZE (64 * K4)

static struct memory *memory;
static int fd;
static uint8_t *ours; /* the same memory, as QEMU sees it */

static void setup(void)
{
	ck_assert_int_eq(memory_fault_init(), 0);
	memory = memory_new(NULL);
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
	memory_region_put(region);
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
	memory_region_put(region);
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
	memory_region_put(region);
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

START_TEST(a_file_that_is_no_memory_is_refused)
{
	char name[] = "./not-memory-XXXXXX";
	struct statfs fs;
	int file = mkstemp(name), pipes[2];

	ck_assert_int_ge(file, 0);
	unlink(name);
	ck_assert_int_eq(ftruncate(file, K4), 0);
	ck_assert_int_eq(fstatfs(file, &fs), 0);
	/* A build folder in tmpfs has no such file. */
	ck_assert_int_eq(memory_add(memory, 0, K4, 0, K4, file),
			 fs.f_type == TMPFS_MAGIC ? 0 : -EMEDIUMTYPE);
	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(memory_add(memory, 1ull << 32, K4, 0, K4, pipes[0]), -EMEDIUMTYPE);
	close(pipes[1]);
}
END_TEST

/* ---------------------------------- limits --------------------------------- */

START_TEST(a_vm_has_no_more_bytes_and_regions_than_it_may)
{
	memory_limit(memory, 8 * K4, 3);
	ck_assert_int_eq(add(0, 4 * K4, 0), 0);
	ck_assert_int_eq(add(1ull << 32, 5 * K4, 0), -EDQUOT);
	ck_assert_int_eq(add(1ull << 32, 4 * K4, 0), 0);
	ck_assert_uint_eq(memory_bytes(memory), 8 * K4);
	ck_assert_int_eq(memory_del(memory, 0, 4 * K4), 0);
	ck_assert_int_eq(add(0, K4, 0), 0);
	ck_assert_int_eq(add(K4, K4, 0), 0);
	ck_assert_int_eq(add(2 * K4, K4, 0), -EDQUOT);
	ck_assert_uint_eq(memory_bytes(memory), 6 * K4);
	/* A lower limit takes nothing away. */
	memory_limit(memory, K4, 1);
	ck_assert_int_eq(memory_del(memory, 0, K4), 0);
	ck_assert_int_eq(add(0, K4, 0), -EDQUOT);
}
END_TEST

START_TEST(who_takes_all_that_it_can_get_leaves_as_much_for_the_next)
{
	struct budget hog = { 0 }, second = { 0 }, third = { 0 };
	uint64_t total, n = 0;

	budget_limit(&hog, UINT64_MAX, UINT64_MAX);
	budget_limit(&second, UINT64_MAX, UINT64_MAX);
	budget_limit(&third, UINT64_MAX, UINT64_MAX);
	while (!budget_take(&hog, 0, 100))
		;
	while (!budget_take(&second, 0, 100))
		;
	while (!budget_take(&third, 0, 100))
		n++;
	total = hog.mappings + second.mappings + third.mappings;
	ck_assert_uint_gt(n, 10);
	ck_assert_uint_gt(second.mappings, hog.mappings / 3);
	ck_assert_uint_gt(third.mappings, second.mappings / 3);
	ck_assert_int_eq(budget_take(&third, 1ull << 50, 0), -ENOMEM);
	budget_give(&hog, 0, hog.mappings);
	while (!budget_take(&third, 0, 100))
		;
	ck_assert_uint_gt(third.mappings, total / 3);
}
END_TEST

START_TEST(what_cannot_be_mapped_costs_nothing)
{
	int sealed = memfd_create("sealed", MFD_ALLOW_SEALING);

	ck_assert_int_eq(ftruncate(sealed, K4), 0);
	ck_assert_int_eq(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
	ck_assert_int_lt(memory_add(memory, 0, K4, 0, K4, sealed), 0);
	ck_assert_int_eq(add(0, K4, 0), 0);
	ck_assert_int_eq(add(0, K4, 0), -EINVAL);
	ck_assert_uint_eq(memory_bytes(memory), K4);
}
END_TEST

/* ------------------------- memory that vanishes ------------------------- */

static unsigned int count_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned int lines = 0;
	int c;

	ck_assert_ptr_nonnull(maps);
	while ((c = getc(maps)) != EOF)
		lines += c == '\n';
	fclose(maps);
	return lines;
}

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
	memory_region_put(region);
	memory_region_put(other);
}
END_TEST

START_TEST(pages_here_and_there_that_vanished_take_no_mapping_each)
{
	const uint64_t size = 64ull << 20;
	struct region *region;
	unsigned int before;
	uint8_t *at;
	int large = memfd_create("large", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(large, size), 0);
	ck_assert_int_eq(memory_add(memory, 0, size, 0, K4, dup(large)), 0);
	at = memory_resolve(memory, 0, size, &region);
	memset(at, 1, size);
	before = count_mappings();
	/* Cut again and again, and touched from the end and from the beginning. */
	for (uint64_t cut = size - K4; cut; cut -= 51 * K4) {
		ck_assert_int_eq(ftruncate(large, cut), 0);
		ck_assert_uint_eq(at[cut + 51 * K4 < size ? cut + 7 * K4 : cut], 0);
		ck_assert_uint_eq(at[cut - 1], 1);
		if (cut < 51 * K4)
			break;
	}
	ck_assert_int_eq(ftruncate(large, 0), 0);
	for (uint64_t page = 0; page < size; page += 2 * K4)
		at[page] = 2;
	ck_assert_uint_le(count_mappings(), before + 2);
	memory_region_put(region);
	close(large);
}
END_TEST

/* A namespace for what this process mounts. */
static bool own_mounts(void)
{
	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* As a process of its own, for it does what it tries. */
static bool may_mount(void)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(!own_mounts());
	return waitpid(child, &status, 0) == child && !status;
}

/* A file system without room: the file is as long as ever, and has pages behind. */
START_TEST(pages_without_room_take_few_mappings)
{
	const uint64_t size = 8ull << 30;
	char name[] = "/tmp/pvhca-full-XXXXXX";
	struct region *region;
	unsigned int before;
	uint8_t *at;
	int full;

	ck_assert(own_mounts());
	ck_assert_ptr_nonnull(mkdtemp(name));
	ck_assert_int_eq(mount("full", name, "tmpfs", 0, "size=64k"), 0);
	full = open(name, O_TMPFILE | O_RDWR, 0600);
	ck_assert_int_ge(full, 0);
	ck_assert_int_eq(umount2(name, MNT_DETACH), 0);
	rmdir(name);
	ck_assert_int_eq(ftruncate(full, size), 0);
	ck_assert_int_eq(memory_add(memory, 0, size, 0, K4, full), 0);
	at = memory_resolve(memory, 0, size, &region);
	before = count_mappings();
	for (uint64_t page = 0; page < size; page += 1024 * K4)
		at[page] = 2;
	for (uint64_t page = size; page; page -= 512 * K4)
		at[page - K4] = 3;
	ck_assert_uint_le(count_mappings(), before + 50);
	ck_assert(memory_faulted(memory));
	memory_region_put(region);
}
END_TEST

START_TEST(a_stitch_that_vanished_takes_no_mappings_more)
{
	const unsigned int pieces = 500;
	const uint64_t size = 8ull << 20;
	struct extents_builder builder;
	struct extents *extents;
	struct stitch stitch;
	unsigned int before;
	int large = memfd_create("large", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(large, size), 0);
	ck_assert_int_eq(memory_add(memory, 0, size, 0, K4, dup(large)), 0);
	extents_begin(&builder, memory);
	for (unsigned int i = 0; i < pieces; i++)
		ck_assert_int_eq(extents_add(&builder, i * 3 * K4, (1 + i % 2) * K4), 0);
	extents = extents_end(&builder);
	/* Cut before it is touched: the engine's pages are not there from the beginning. */
	if (_i)
		ck_assert_int_eq(ftruncate(large, 0), 0);
	ck_assert_int_eq(stitch_map(NULL, extents, &stitch), 0);
	before = count_mappings();
	ck_assert_int_eq(ftruncate(large, 0), 0);
	for (uint64_t at = 0; at < extents->length; at += K4)
		stitch.base[at] = 1;
	ck_assert_uint_le(count_mappings(), before + 2);
	stitch_unmap(&stitch);
	extents_put(extents);
	close(large);
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
	memory_region_put(region);
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
	tcase_add_test(tc, a_file_that_is_no_memory_is_refused);
	tcase_add_test(tc, a_vm_has_no_more_bytes_and_regions_than_it_may);
	tcase_add_test(tc, who_takes_all_that_it_can_get_leaves_as_much_for_the_next);
	tcase_add_test(tc, what_cannot_be_mapped_costs_nothing);
	tcase_add_test(tc, pages_here_and_there_that_vanished_take_no_mapping_each);
	if (may_mount())
		tcase_add_test(tc, pages_without_room_take_few_mappings);
	else
		puts("skipped: pages_without_room_take_few_mappings: only root can mount a file system");
	tcase_add_loop_test(tc, a_stitch_that_vanished_takes_no_mappings_more, 0, 2);
	tcase_add_test(tc, a_system_call_on_what_vanished_fails_without_harm);
	tcase_add_test_raise_signal(tc, a_fault_elsewhere_still_ends_the_process, SIGBUS);
	return suite_run("memory", tc);
}
