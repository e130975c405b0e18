// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/grace.h"

#include <stdatomic.h>

#include <urcu-qsbr.h>

static _Atomic uint64_t count;

void grace_wait(void)
{
	atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
	synchronize_rcu();
}

uint64_t grace_count(void)
{
	return atomic_load_explicit(&count, memory_order_relaxed);
}
