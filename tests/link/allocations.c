// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Preloaded into a pvhcad: counts what malloc(3) and its relatives give, and lets chosen
 * calls fail. allocations.py holds the other end of the file of PVHCA_ALLOCATIONS.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own, under names that need no dlsym(3), which allocates. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);
void __libc_free(void *block);

/**
 * struct control - shared with the test
 * @live: bytes that are allocated
 * @calls: calls since the test set it to 0
 * @fail_from, @fail_to: the calls that fail, from 1 on; 0: none
 * @failed: calls that did
 */
struct control {
	_Atomic uint64_t live;
	_Atomic uint64_t calls;
	_Atomic uint64_t fail_from, fail_to;
	_Atomic uint64_t failed;
};

static struct control before_start, *control = &before_start;

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("PVHCA_ALLOCATIONS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *shared;

	if (fd < 0)
		return;
	shared = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (shared != MAP_FAILED)
		control = shared;
}

static int fails(void)
{
	uint64_t call = atomic_fetch_add(&control->calls, 1) + 1;

	if (call < atomic_load(&control->fail_from) || call > atomic_load(&control->fail_to))
		return 0;
	atomic_fetch_add(&control->failed, 1);
	errno = ENOMEM;
	return 1;
}

static void *count(void *block)
{
	if (block)
		atomic_fetch_add(&control->live, malloc_usable_size(block));
	return block;
}

void *malloc(size_t bytes)
{
	return fails() ? NULL : count(__libc_malloc(bytes));
}

void *calloc(size_t n, size_t bytes)
{
	return fails() ? NULL : count(__libc_calloc(n, bytes));
}

void *realloc(void *block, size_t bytes)
{
	size_t had = block ? malloc_usable_size(block) : 0;
	void *next;

	/* What gets smaller does not fail in practice either. */
	if (bytes > had && fails())
		return NULL;
	next = __libc_realloc(block, bytes);
	if (next || !bytes)
		atomic_fetch_sub(&control->live, had);
	return count(next);
}

void *aligned_alloc(size_t align, size_t bytes)
{
	return fails() ? NULL : count(__libc_memalign(align, bytes));
}

int posix_memalign(void **block, size_t align, size_t bytes)
{
	*block = aligned_alloc(align, bytes);
	return *block ? 0 : ENOMEM;
}

void free(void *block)
{
	int saved = errno;

	if (block)
		atomic_fetch_sub(&control->live, malloc_usable_size(block));
	__libc_free(block);
	errno = saved;
}
