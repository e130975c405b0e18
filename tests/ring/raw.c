// SPDX-License-Identifier: GPL-2.0-or-later
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "raw.h"

#define RING 1024u

uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

struct line {
	_Alignas(128) _Atomic uint64_t value;
};

struct ping {
	struct line ping, pong;
	uint64_t rounds;
};

static void *answer_pings(void *arg)
{
	struct ping *ping = arg;
	uint64_t i;

	for (i = 1; i <= ping->rounds; i++) {
		while (atomic_load_explicit(&ping->ping.value, memory_order_acquire) != i)
			;
		atomic_store_explicit(&ping->pong.value, i, memory_order_release);
	}
	return NULL;
}

double raw_round_trip_ns(uint64_t rounds)
{
	struct ping *ping = aligned_alloc(128, sizeof(*ping));
	uint64_t i, began;
	pthread_t thread;
	double ns;

	memset(ping, 0, sizeof(*ping));
	ping->rounds = rounds;
	pthread_create(&thread, NULL, answer_pings, ping);
	began = monotonic_ns();
	for (i = 1; i <= rounds; i++) {
		atomic_store_explicit(&ping->ping.value, i, memory_order_release);
		while (atomic_load_explicit(&ping->pong.value, memory_order_acquire) != i)
			;
	}
	ns = (double)(monotonic_ns() - began) / rounds;
	pthread_join(thread, NULL);
	free(ping);
	return ns;
}

struct wake {
	int there, back;
	uint64_t rounds;
};

static void *answer_wakes(void *arg)
{
	struct wake *wake = arg;
	eventfd_t count;
	uint64_t i;

	for (i = 0; i < wake->rounds; i++)
		if (eventfd_read(wake->there, &count) || eventfd_write(wake->back, 1))
			abort();
	return NULL;
}

double raw_wake_round_trip_ns(uint64_t rounds)
{
	struct wake wake = {
		.there = eventfd(0, EFD_CLOEXEC),
		.back = eventfd(0, EFD_CLOEXEC),
		.rounds = rounds,
	};
	pthread_t thread;
	eventfd_t count;
	uint64_t i, began;
	double ns;

	pthread_create(&thread, NULL, answer_wakes, &wake);
	began = monotonic_ns();
	for (i = 0; i < rounds; i++)
		if (eventfd_write(wake.there, 1) || eventfd_read(wake.back, &count))
			abort();
	ns = (double)(monotonic_ns() - began) / rounds;
	pthread_join(thread, NULL);
	close(wake.there);
	close(wake.back);
	return ns;
}

struct entry {
	uint64_t words[8];
};

struct completion {
	uint64_t words[4];
};

struct raw_ring {
	struct line produced, consumed;
	_Alignas(128) struct entry entries[RING];
	_Alignas(128) struct completion completions[RING];
	uint8_t source[RING][64], target[RING][64];
	uint64_t messages;
};

static void *consume(void *arg)
{
	struct raw_ring *ring = arg;
	uint64_t ci = 0, pi;
	struct entry entry;

	while (ci < ring->messages) {
		pi = atomic_load_explicit(&ring->produced.value, memory_order_acquire);
		for (; ci < pi; ci++) {
			entry = ring->entries[ci % RING];
			memcpy(ring->target[entry.words[0] % RING],
			       ring->source[entry.words[0] % RING], 64);
			ring->completions[ci % RING].words[3] = entry.words[0];
		}
		atomic_store_explicit(&ring->consumed.value, ci, memory_order_release);
	}
	return NULL;
}

double raw_ring_rate(uint64_t messages, unsigned int batch)
{
	struct raw_ring *ring = aligned_alloc(128, sizeof(*ring));
	uint64_t pi = 0, ci = 0, began, done, sum = 0;
	pthread_t thread;
	unsigned int i;
	double rate;

	memset(ring, 0, sizeof(*ring));
	ring->messages = messages;
	pthread_create(&thread, NULL, consume, ring);
	began = monotonic_ns();
	while (ci < messages) {
		for (i = 0; i < batch && pi < messages && pi - ci < RING; i++)
			ring->entries[pi % RING].words[0] = pi, pi++;
		atomic_store_explicit(&ring->produced.value, pi, memory_order_release);
		done = atomic_load_explicit(&ring->consumed.value, memory_order_acquire);
		for (; ci < done; ci++)
			sum += ring->completions[ci % RING].words[3];
	}
	rate = messages * 1e9 / (monotonic_ns() - began);
	pthread_join(thread, NULL);
	if (sum != messages * (messages - 1) / 2)
		abort(); /* the yardstick itself is wrong */
	free(ring);
	return rate;
}

double raw_memcpy_rate(uint8_t *to, const uint8_t *from, size_t area_size, size_t size,
		       uint64_t total)
{
	uint64_t moved = 0, began = monotonic_ns();
	size_t at = 0;

	while (moved < total) {
		memcpy(to + at, from + at, size);
		__asm__ volatile("" : : "r"(to + at) : "memory");
		moved += size;
		at += size;
		if (at + size > area_size)
			at = 0;
	}
	return moved * 1e9 / (monotonic_ns() - began);
}
