// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Address space and mappings are the whole process's: 128 TiB, and vm.max_map_count.
 * Without them no thread starts, and no other VM can connect or register memory. So each
 * VM has limits, and besides a VM may never have more than is left for all the others
 * together. One VM that takes all it can get has half; of n such each has the (n+1)th
 * part, and as much is left for the next one.
 *
 * A quarter of the mappings is no VM's: threads, heap, libraries, devices, and the zero
 * pages of memory/fault.c.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "memory/private.h"

#define BYTES_OF_ALL	 (96ull << 40)
#define MAPPINGS_DEFAULT 65530ull /* Linux's */

static struct {
	pthread_mutex_t lock;
	uint64_t bytes, mappings; /* left */
} budget_left = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.bytes = BYTES_OF_ALL,
	.mappings = MAPPINGS_DEFAULT / 4 * 3,
};

void memory_budget_init(void)
{
	FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
	unsigned long long count = MAPPINGS_DEFAULT;

	if (file) {
		if (fscanf(file, "%llu", &count) != 1)
			count = MAPPINGS_DEFAULT;
		fclose(file);
	}
	budget_left.mappings = count / 4 * 3;
}

static bool exceeds(uint64_t has, uint64_t more, uint64_t limit)
{
	return more && (has > limit || more > limit - has);
}

int budget_take(struct budget *budget, uint64_t bytes, uint64_t mappings)
{
	int ret = 0;

	pthread_mutex_lock(&budget_left.lock);
	if (exceeds(budget->bytes, bytes, budget->max_bytes) ||
	    exceeds(budget->mappings, mappings, budget->max_mappings)) {
		ret = -EDQUOT;
	} else if (exceeds(budget->bytes + bytes, bytes, budget_left.bytes) ||
		   exceeds(budget->mappings + mappings, mappings, budget_left.mappings)) {
		ret = -ENOMEM;
	} else {
		budget->bytes += bytes;
		budget->mappings += mappings;
		budget_left.bytes -= bytes;
		budget_left.mappings -= mappings;
	}
	pthread_mutex_unlock(&budget_left.lock);
	return ret;
}

void budget_give(struct budget *budget, uint64_t bytes, uint64_t mappings)
{
	pthread_mutex_lock(&budget_left.lock);
	budget->bytes -= bytes;
	budget->mappings -= mappings;
	budget_left.bytes += bytes;
	budget_left.mappings += mappings;
	pthread_mutex_unlock(&budget_left.lock);
}

void budget_limit(struct budget *budget, uint64_t bytes, uint64_t mappings)
{
	pthread_mutex_lock(&budget_left.lock);
	budget->max_bytes = bytes;
	budget->max_mappings = mappings;
	pthread_mutex_unlock(&budget_left.lock);
}

uint64_t budget_bytes(struct budget *budget)
{
	uint64_t bytes;

	pthread_mutex_lock(&budget_left.lock);
	bytes = budget->bytes;
	pthread_mutex_unlock(&budget_left.lock);
	return bytes;
}
