// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Page tables are filled here before an engine pins the pages, and before a worker copies into
 * them, which would have a fault for each page.
 *
 * On the first read of a file's page Linux maps up to 16 pages that it has in memory,
 * aligned 64 KiB by default (fault_around_bytes). It maps them writable if the file's
 * pages are not written back, as with memfds. On a write, or a pin for writing, it
 * maps one page only. So one byte of each 64 KiB is touched. Where a mapping exists already
 * this costs a load.
 *
 * A load that faults is an exception, which under some hypervisors takes ten times as long as
 * the kernel's work. So where small pages turn out to be not mapped, the kernel is asked to map
 * them (MADV_POPULATE_READ, since 5.14): one page of each 64 KiB, and those around it come along.
 * To ask for all of a range is no better: it looks each page up again.
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
/* Of so many touches, which are a huge page's, the second tells whether small pages are unmapped. */
#define TOUCHES_OF_A_CHECK 32u
/* A thread that is worth starting has so much to touch. */
#define THREAD_BYTES (32ull << 20)
#define MAX_THREADS  4u

/**
 * struct part - what a thread touches
 * @base: where the extents are mapped, one behind the other; NULL: where each of them lies
 * @from, @to: bytes [from, to) of the extents
 * @touches: done by loads
 * @unmapped: small pages that are not mapped were seen
 */
struct part {
	const uint8_t *base;
	const struct extents *extents;
	uint64_t from, to;
	unsigned int touches;
	bool unmapped;
	pthread_t thread;
};

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

static bool load_faults(uintptr_t at)
{
	long before = count_faults();

	load(at);
	return count_faults() != before;
}

/* False: the kernel cannot, or there is no such page in the file; a load ends in memory/fault.c then. */
static bool populate(uintptr_t at)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return !madvise((void *)(at & -page), page, MADV_POPULATE_READ);
}

static void touch_one(struct part *part, uintptr_t at)
{
	if (!part->unmapped && part->touches++ % TOUCHES_OF_A_CHECK == 1)
		part->unmapped = load_faults(at);
	else if (!part->unmapped || !populate(at))
		load(at);
}

static void touch(struct part *part, const uint8_t *base, uint64_t length)
{
	uintptr_t at = (uintptr_t)base, end = at + length;

	for (; at < end; at = (at | (FAULT_AROUND - 1)) + 1)
		touch_one(part, at);
}

/* Extent by extent, for each has a mapping of its own, which the kernel does not look beyond. */
static void *touch_part(void *arg)
{
	struct part *part = arg;
	const struct extent *extent = extents_find(part->extents, part->from);
	uint64_t from, to;

	for (from = part->from; from < part->to; from = to, extent++) {
		to = extent->start + extent->len;
		if (to > part->to)
			to = part->to;
		touch(part,
		      part->base ? part->base + from : extent->host + (from - extent->start),
		      to - from);
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
	uint64_t each = extents->length / count;
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
