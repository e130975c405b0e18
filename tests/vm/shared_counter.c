// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-shared-counter: are a guest's atomic operations atomic for the host?
 *
 *   pvhca-test-shared-counter guest COUNT         in a guest, as root: prints the guest-physical
 *                                                 address of a counter, waits for a line, counts
 *                                                 COUNT times, waits for a line, prints the counter
 *   pvhca-test-shared-counter host FILE OFFSET COUNT
 *                                                 counts COUNT times in the memory of a guest
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ul /* mapped; guest and host have pages of this size or larger */
/* Documentation/admin-guide/mm/pagemap.rst: 8 bytes a page, bits 0 to 54 are its frame. */
#define FRAME_MASK ((1ull << 55) - 1)

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void *map(int fd, off_t offset)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED : MAP_SHARED;
	void *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, flags, fd, offset);

	if (at == MAP_FAILED)
		fail("mmap");
	return at;
}

static void count(uint64_t *counter, uint64_t times)
{
	while (times--)
		__atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
}

static uint64_t physical_address(const void *at)
{
	const uint64_t page = sysconf(_SC_PAGESIZE);
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;

	if (fd < 0 ||
	    pread(fd, &entry, sizeof(entry), (uintptr_t)at / page * sizeof(entry)) != sizeof(entry))
		fail("pagemap");
	close(fd);
	return (entry & FRAME_MASK) * page;
}

static void wait_for_line(void)
{
	char line[16];

	if (!fgets(line, sizeof(line), stdin))
		fail("standard input");
}

static void in_guest(uint64_t times)
{
	uint64_t *counter = map(-1, 0);

	*counter = 0;
	setlinebuf(stdout);
	printf("at %llu\n", (unsigned long long)physical_address(counter));
	wait_for_line();
	count(counter, times);
	puts("counted");
	wait_for_line();
	printf("total %llu\n", (unsigned long long)*counter);
}

static void on_host(const char *file, off_t offset, uint64_t times)
{
	int fd = open(file, O_RDWR);

	if (fd < 0)
		fail(file);
	count((uint64_t *)((char *)map(fd, offset & -PAGE) + offset % PAGE), times);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "guest")) {
		in_guest(strtoull(argv[2], NULL, 0));
	} else if (argc == 5 && !strcmp(argv[1], "host")) {
		on_host(argv[2], strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0));
	} else {
		fputs("usage: pvhca-test-shared-counter guest COUNT | host FILE OFFSET COUNT\n",
		      stderr);
		return 2;
	}
	return 0;
}
