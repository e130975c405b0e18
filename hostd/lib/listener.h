/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A listening unix stream socket. */
#ifndef HOSTD_LIB_LISTENER_H
#define HOSTD_LIB_LISTENER_H

#include <stdbool.h>

struct listener;

/*
 * Listen at path with this mode. The socket of a daemon that has ended is replaced;
 * nothing else is. A missing directory is made, but not its parent. Returns NULL with
 * *error a negative errno: EADDRINUSE (another process listens), ENOTSOCK (the path is
 * something else), ENAMETOOLONG, or an error of the system calls.
 */
struct listener *listener_open(const char *path, unsigned int mode, int *error);
/* Also removes the socket if it is still ours. */
void listener_close(struct listener *listener);
int listener_fd(const struct listener *listener);
/* A connection (non-blocking), or a negative errno. */
int listener_accept(struct listener *listener);

#endif
