/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A listening unix stream socket, and who may connect to it. */
#ifndef HOSTD_LIB_LISTENER_H
#define HOSTD_LIB_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

struct listener;

#define LISTENER_NOBODY UINT32_MAX /* an owner or a group: listener_set_owner() */

/**
 * struct listener_access - who may connect: whoever may write to the socket
 * @mode: permission bits
 * @owner, @group: of the socket, or LISTENER_NOBODY
 */
struct listener_access {
	uint32_t mode;
	uint32_t owner, group;
};

/* Whom LISTENER_NOBODY means, and directories that are made belong to; without a call: the process. */
void listener_set_owner(uint32_t user, uint32_t group);

/*
 * Listen at path with this access. The socket of a daemon that has ended is replaced;
 * nothing else is. A missing directory is made, but not its parent. Returns NULL with
 * *error a negative errno: EADDRINUSE (another process listens), ENOTSOCK (the path is
 * something else), ENAMETOOLONG, or an error of the system calls.
 */
struct listener *listener_open(const char *path, const struct listener_access *access, int *error);
/* Other access from now on. 0 or a negative errno; then all is as before. */
int listener_set_access(struct listener *listener, const struct listener_access *access);
/* Also removes the socket if it is still ours. */
void listener_close(struct listener *listener);
int listener_fd(const struct listener *listener);
/* A connection (non-blocking), or a negative errno. */
int listener_accept(struct listener *listener);

#endif
