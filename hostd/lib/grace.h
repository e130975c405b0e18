/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Grace periods of liburcu (QSBR): workers read without locks, and whoever takes something
 * out of their sight waits until none can be using it any more.
 */
#ifndef HOSTD_LIB_GRACE_H
#define HOSTD_LIB_GRACE_H

#include <stdint.h>

/* Wait until each worker has ended the pass that it is in. Not in a worker. */
void grace_wait(void);
/* How often that was done since the daemon began. Any thread. */
uint64_t grace_count(void);

#endif
