/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processors for the workers, as a list like "2-3,6". */
#ifndef HOSTD_LIB_CPUSET_H
#define HOSTD_LIB_CPUSET_H

#include <pthread.h>

/* Number of processors named by a list, or -EINVAL if it is none. */
int cpuset_count(const char *list);

/*
 * Pin a thread to the index-th processor of the list, counting round; nothing
 * for a NULL list. Failure is logged: an unpinned worker works too.
 */
void cpuset_pin(pthread_t thread, const char *list, unsigned int index);

#endif
