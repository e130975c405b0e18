// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Page tables are filled here before an engine pins the pages, and before a worker copies into
 * them, which would have a fault for each page.
 *
 * Linux fills a whole range on demand (MADV_POPULATE_READ, since 5.14). As on any first read of a
 * file's page it maps up to 16 pages in one go, aligned 64 KiB by default (fault_around_bytes),
 * and writable if the file's pages are not written back, as with memfds. On a write, or a pin for
 * writing, it maps one page only. An exception for each 64 KiB takes ten times as long under a
 * hypervisor, so they are what remains where that call is not there, or fails: of a truncated
 * file the load of a byte ends in memory/fault.c.
 *
 * Memory that is mapped already costs a load for each 64 KiB; the call would look at each page.
 *
 * A few threads share a large region: the kernel handles faults of one address space in
 * parallel.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/calls.h"
#include "memory/private.h"

CALLS("getrusage");

#define FAULT_AROUND (64ull << 10)
/* One call fills so much: others' mmap() waits for it, and faults behind that. 30 to 70 us. */
#define STEP (2ull << 20)
/* A thread that is worth starting has so much to touch. */
#define THREAD_BYTES (32ull << 20)
#define MAX_THREADS  4u

/* Bytes [from, to) of extents, mapped at base, or where each extent lies. */
struct part {
	const uint8_t *base;
	const struct extents *extents;
	uint64_t from, to;
	pthread_t thread;
};

static uintptr_t least(uintptr_t a, uintptr_t b)
{
	return a < b ? a : b;
}

static void load(uintptr_t at)
{
	(void)*(const volatile uint8_t *)at;
}

static long count_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* Load a byte. Whether its page had to be mapped for that. */
static bool load_faults(uintptr_t at)
{
	long before = count_faults();

	load(at);
	return count_faults() != before;
}

static void load_each(uintptr_t at, uintptr_t end)
{
	for (; at < end; at = (at | (FAULT_AROUND - 1)) + 1)
		load(at);
}

/* False: it is not for this kernel, or this memory. */
static bool populate(uintptr_t at, uintptr_t end)
{
	uintptr_t page = at & -(uintptr_t)sysconf(_SC_PAGESIZE);

	return !madvise((void *)page, end - page, MADV_POPULATE_READ);
}

/* What follows an unmapped page is taken for unmapped, too. */
static void touch(const uint8_t *base, uint64_t length)
{
	uintptr_t at = (uintptr_t)base, end = at + length, next;
	bool unmapped = false;

	for (; at < end; at = next) {
		next = least(end, (at | (STEP - 1)) + 1);
		if (next - at > FAULT_AROUND)
			unmapped = unmapped || load_faults(at);
		if (!unmapped || !populate(at, next))
			load_each(at, next);
	}
}

/* At base they are one behind the other, each in a mapping of its own. */
static void *touch_part(void *arg)
{
	const struct part *part = arg;
	const struct extent *extent;
	uint64_t from, to;

	if (part->base) {
		touch(part->base + part->from, part->to - part->from);
		return NULL;
	}
	extent = extents_find(part->extents, part->from);
	for (from = part->from; from < part->to; from = to, extent++) {
		to = least(extent->start + extent->len, part->to);
		touch(extent->host + (from - extent->start), to - from);
	}
	return NULL;
}

static unsigned int count_threads(uint64_t length)
{
	uint64_t count = length / THREAD_BYTES;
	long cpus;

	/* Small regions are to be quick: to ask for the processors is to read a file. */
	if (count <= 1)
		return 1;
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (cpus > 0 && count > (uint64_t)cpus)
		count = cpus;
	if (count > MAX_THREADS)
		count = MAX_THREADS;
	return count;
}

void memory_touch(const uint8_t *base, const struct extents *extents)
{
	unsigned int i, count = count_threads(extents->length), started;
	uint64_t each = extents->length / count & ~(STEP - 1);
	struct part part[MAX_THREADS];

	for (i = 0; i < count; i++)
		part[i] = (struct part){
			.base = base,
			.extents = extents,
			.from = i * each,
			.to = i + 1 < count ? (i + 1) * each : extents->length,
		};
	/* This thread does the first part, and the parts for which no thread could be made. */
	for (started = 1; started < count; started++)
		if (pthread_create(&part[started].thread, NULL, touch_part, &part[started]))
			break;
	touch_part(&part[0]);
	for (i = started; i < count; i++)
		touch_part(&part[i]);
	for (i = 1; i < started; i++)
		pthread_join(part[i].thread, NULL);
}
