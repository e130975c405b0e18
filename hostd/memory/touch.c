// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Page tables are filled here before an engine pins the pages.
 *
 * On the first read of a file's page Linux maps up to 16 pages that it has in memory,
 * aligned 64 KiB by default (fault_around_bytes). It maps them writable if the file's
 * pages are not written back, as with memfds. On a write, or a pin for writing, it
 * maps one page only. So after a read of one byte of each 64 KiB an engine that pins
 * page by page has next to no faults, and so has a worker that copies into them, which would
 * have one for each page. Where a mapping exists already this costs a load.
 *
 * A few threads share a large region: the kernel handles faults of one address space in
 * parallel.
 */
#include <pthread.h>
#include <unistd.h>

#include "memory/private.h"

#define FAULT_AROUND (64ull << 10)
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

static void touch(const uint8_t *base, uint64_t length)
{
	uintptr_t at = (uintptr_t)base, end = at + length;

	for (; at < end; at = (at | (FAULT_AROUND - 1)) + 1)
		(void)*(const volatile uint8_t *)at;
}

/* Extent by extent, for each has a mapping of its own, which the kernel does not look beyond. */
static void *touch_part(void *arg)
{
	const struct part *part = arg;
	const struct extent *extent = extents_find(part->extents, part->from);
	uint64_t from, to;

	for (from = part->from; from < part->to; from = to, extent++) {
		to = extent->start + extent->len;
		if (to > part->to)
			to = part->to;
		touch(part->base ? part->base + from : extent->host + (from - extent->start),
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
