// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest pages of one size on a host with pages of another. What a ring is addressed by, and what commands name memory
 * by, is the granule, whatever the pages are; only what is mapped once more for an engine depends on the host's.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/private.h"
#include "rdma/pvhca-ring.h"
#include "suite.h"
#include "vm/ring.h"

#define RAM   (1ull << 20)
#define SIZES 3

static const uint64_t sizes[SIZES] = { 4096, 16384, 65536 };
/* Of the guest's pages, in the order in which they are named. */
static const unsigned int order[] = { 1, 3, 2 };
#define PAGES (sizeof(order) / sizeof(order[0]))

static struct memory *memory;
static uint64_t guest_page, host_page;
static uint8_t *ram;
static int ram_fd;

long __real_sysconf(int name);
long __wrap_sysconf(int name);

/* The host's page size as pvhcad sees it. Memory is mapped by this machine, whose pages are no larger. */
long __wrap_sysconf(int name)
{
	return name == _SC_PAGESIZE && host_page ? (long)host_page : __real_sysconf(name);
}

static void setup_sizes(int test)
{
	guest_page = sizes[test % SIZES];
	host_page = sizes[test / SIZES];
	memory_fault_init();
	memory = memory_new(NULL);
	ram_fd = memfd_create("guest", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(ram_fd, RAM), 0);
	ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
	ck_assert_ptr_ne(ram, MAP_FAILED);
	ck_assert_int_eq(memory_add(memory, 0, RAM, 0, PVHCA_GRANULE, dup(ram_fd)), 0);
}

static void teardown_sizes(void)
{
	memory_free(memory);
	munmap(ram, RAM);
	close(ram_fd);
	host_page = 0;
}

static struct extents *scattered_pages(void)
{
	struct extents_builder builder;

	extents_begin(&builder, memory);
	for (unsigned int i = 0; i < PAGES; i++)
		ck_assert_int_eq(extents_add(&builder, order[i] * guest_page, guest_page), 0);
	return extents_end(&builder);
}

/* Where a byte of the scattered pages lies in the guest's RAM. */
static uint8_t *in_ram(uint64_t at)
{
	return ram + order[at / guest_page] * guest_page + at % guest_page;
}

START_TEST(a_ring_is_addressed_granule_by_granule)
{
	struct ring_buffer *buffer;

	setup_sizes(_i);
	buffer = ring_buffer_new(NULL, scattered_pages());
	ck_assert_ptr_nonnull(buffer);
	for (uint64_t at = 0; at < PAGES * guest_page; at += PVHCA_GRANULE / 2) {
		*in_ram(at) = at / (PVHCA_GRANULE / 2) + 1;
		ck_assert_uint_eq(*(uint8_t *)ring_buffer_at(buffer, at),
				  (uint8_t)(at / (PVHCA_GRANULE / 2) + 1));
	}
	ring_buffer_free(buffer);
	teardown_sizes();
}
END_TEST

START_TEST(a_region_is_laid_out_or_refused_where_pages_are_smaller_than_the_hosts)
{
	struct extents *extents;
	struct stitch *stitch;
	int error = 0;
	bool reused;

	setup_sizes(_i);
	extents = scattered_pages();
	stitch = stitches_get(memory, extents, &reused, &error);
	if (guest_page < host_page) {
		ck_assert_ptr_null(stitch);
		ck_assert_int_eq(error, EOPNOTSUPP);
	} else {
		ck_assert_ptr_nonnull(stitch);
		for (uint64_t at = 0; at < PAGES * guest_page; at += PVHCA_GRANULE) {
			*in_ram(at) = at / PVHCA_GRANULE + 7;
			ck_assert_uint_eq(stitch->base[at], (uint8_t)(at / PVHCA_GRANULE + 7));
		}
		stitches_put(stitch);
	}
	extents_put(extents);
	teardown_sizes();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("pages");

	tcase_add_loop_test(tc, a_ring_is_addressed_granule_by_granule, 0, SIZES * SIZES);
	tcase_add_loop_test(tc,
			    a_region_is_laid_out_or_refused_where_pages_are_smaller_than_the_hosts,
			    0, SIZES * SIZES);
	return suite_run("pages", tc);
}
