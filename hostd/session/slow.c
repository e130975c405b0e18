// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whose eventfds took long to signal (vm/events.c). A worker finds that out by being held up, and
 * a QEMU can come again as another VM. So it is remembered by its user, for an hour, and a worker
 * is held up four times an hour by each user at most.
 */
#include <glib.h>

#include "lib/clock.h"
#include "session/private.h"

/* More users than that: the one whose time ends first is forgotten. */
#define USERS	    64u
#define REMEMBER_NS (3600 * NS_PER_S)

/* until_ns: CLOCK_MONOTONIC; 0: free. Under the lock. */
static GMutex slow_lock;
static struct {
	uint32_t user;
	uint64_t until_ns;
} slow[USERS];

void slow_remember(uint32_t user)
{
	unsigned int at = 0;

	g_mutex_lock(&slow_lock);
	for (unsigned int i = 1; i < USERS && slow[at].user != user; i++)
		if (slow[i].user == user || slow[i].until_ns < slow[at].until_ns)
			at = i;
	slow[at].user = user;
	slow[at].until_ns = clock_ns() + REMEMBER_NS;
	g_mutex_unlock(&slow_lock);
}

bool slow_is_remembered(uint32_t user)
{
	bool remembered = false;

	g_mutex_lock(&slow_lock);
	for (unsigned int i = 0; i < USERS; i++)
		remembered |= slow[i].user == user && slow[i].until_ns > clock_ns();
	g_mutex_unlock(&slow_lock);
	return remembered;
}
