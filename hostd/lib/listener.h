/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A unix stream socket that others connect to. */
#ifndef HOSTD_LIB_LISTENER_H
#define HOSTD_LIB_LISTENER_H

#include <stdbool.h>

struct listener;

/*
 * Listen at path with this mode. What a daemon that is gone left there is
 * replaced; nothing else is. The directory is made if it is missing (its
 * parent is not). NULL with *error a negative errno: EADDRINUSE (another listens), ENOTSOCK (something
 * else is there), ENAMETOOLONG, or of the system calls.
 */
struct listener *listener_open(const char *path, unsigned int mode, int *error);
/* Also removes the socket, if it still is ours. */
void listener_close(struct listener *listener);
int listener_fd(const struct listener *listener);
/* A connection (non-blocking), or a negative errno. */
int listener_accept(struct listener *listener);

#endif
