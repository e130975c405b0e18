// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cpuset.h"
#include "lib/log.h"

static int parse_cpu(const char **at)
{
	unsigned long cpu;
	char *end;

	if (!g_ascii_isdigit(**at))
		return -EINVAL;
	cpu = strtoul(*at, &end, 10);
	if (cpu >= CPU_SETSIZE)
		return -EINVAL;
	*at = end;
	return cpu;
}

static int parse_list(const char *at, cpu_set_t *set)
{
	int first, last;

	CPU_ZERO(set);
	for (;;) {
		first = last = parse_cpu(&at);
		if (first >= 0 && *at == '-') {
			at++;
			last = parse_cpu(&at);
		}
		if (first < 0 || last < first)
			return -EINVAL;
		for (; first <= last; first++)
			CPU_SET(first, set);
		if (!*at)
			return 0;
		if (*at++ != ',')
			return -EINVAL;
	}
}

int cpuset_count(const char *list)
{
	cpu_set_t set;

	return parse_list(list, &set) ? -EINVAL : CPU_COUNT(&set);
}

void cpuset_pin(pthread_t thread, const char *list, unsigned int index)
{
	cpu_set_t set, one;
	int cpu = -1, err;

	if (!list || parse_list(list, &set))
		return;
	index %= CPU_COUNT(&set);
	do {
		cpu++;
		if (CPU_ISSET(cpu, &set) && !index--)
			break;
	} while (cpu < CPU_SETSIZE - 1);

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	err = pthread_setaffinity_np(thread, sizeof(one), &one);
	if (err)
		g_warning("cannot pin a worker to processor %d: %s", cpu, log_strerror(err));
}
