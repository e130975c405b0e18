/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Eventfds that another process has, too, and may do anything with. No call blocks,
 * whatever the other does with its count and its flags.
 */
#ifndef HOSTD_LIB_SHARED_EVENT_H
#define HOSTD_LIB_SHARED_EVENT_H

#include <stdbool.h>

/*
 * Once, at start. 0, or a negative errno: the kernel has no asynchronous I/O, and
 * shared_event_signal() is a write(2) that another process can make block.
 */
int shared_event_init(void);

/* Is it an eventfd? No file system is asked, for it might not answer. */
bool shared_event_is_one(int fd);

/*
 * Add 1 to the count, and wake who waits for it. A count at its end stays there. Any thread. To be
 * woken by the other process once for each signal, whatever the count, wait with EPOLLET.
 */
void shared_event_signal(int fd);

#endif
