// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Page tables filled before an engine pins what they map.
 *
 * When a page of a file is read for the first time, Linux maps up to 16 of its pages that it
 * has, aligned 64 KiB by default (fault_around_bytes); to be written, too, where
 * a file's pages are not written back, as those of memfds are not. When a page is
 * written, or pinned to be written, it maps just that one. So to read a byte of each
 * 64 KiB leaves an engine, which pins page by page, next to no faults. It costs a load
 * where there is a mapping already.
 *
 * Large regions are shared among a few threads: faults of one address space go on
 * side by side.
 */
#include <pthread.h>
#include <unistd.h>

#include "memory/memory.h"

#define FAULT_AROUND (64ull << 10)
/* A thread that is worth starting has so much to touch. */
#define THREAD_BYTES (32ull << 20)
#define MAX_THREADS  4u

/* Bytes [from, to) of extents. */
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
		touch(part->base + from, to - from);
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
	/* The first part is ours, and so is what no thread can be had for. */
	for (started = 1; started < count; started++)
		if (pthread_create(&part[started].thread, NULL, touch_part, &part[started]))
			break;
	touch_part(&part[0]);
	for (i = started; i < count; i++)
		touch_part(&part[i]);
	for (i = 1; i < started; i++)
		pthread_join(part[i].thread, NULL);
}
