// SPDX-License-Identifier: GPL-2.0-or-later
/* Waiting for a server to listen without starting a process for each look. */
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define TCP_LISTEN 0x0a
#define WAITS	   8

static struct wait {
	uint32_t id; /* 0: free */
	uint16_t port;
	uint64_t deadline; /* milliseconds of the monotonic clock */
} waits[WAITS];

static uint64_t listen_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool listen_in_table(const char *table, uint16_t port)
{
	FILE *file = fopen(table, "re");
	unsigned int local, state;
	bool found = false;
	char line[512];

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x", &local,
			       &state) == 2 &&
			local == port && state == TCP_LISTEN;
	fclose(file);
	return found;
}

void listen_wait(uint32_t id, uint16_t port, uint32_t milliseconds)
{
	size_t i;

	for (i = 0; i < WAITS; i++) {
		if (waits[i].id)
			continue;
		waits[i] = (struct wait){ .id = id,
					  .port = port,
					  .deadline = listen_now() + milliseconds };
		listen_check();
		return;
	}
	channel_done(id, DONE_FAILED, EBUSY);
}

bool listen_pending(void)
{
	size_t i;

	for (i = 0; i < WAITS; i++)
		if (waits[i].id)
			return true;
	return false;
}

void listen_check(void)
{
	size_t i;

	for (i = 0; i < WAITS; i++) {
		struct wait *wait = &waits[i];

		if (!wait->id)
			continue;
		if (listen_in_table("/proc/net/tcp", wait->port) ||
		    listen_in_table("/proc/net/tcp6", wait->port))
			channel_done(wait->id, DONE_EXITED, 0);
		else if (listen_now() >= wait->deadline)
			channel_done(wait->id, DONE_FAILED, ETIMEDOUT);
		else
			continue;
		wait->id = 0;
	}
}
