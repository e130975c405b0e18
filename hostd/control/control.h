/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an administrator tells a running pvhcad, by a socket of its own, which only the account of
 * pvhcad and root may connect to: a line of text, and a line in answer. All in the main thread.
 *
 * "reload", "evict VM". The answer begins with "ok ", "none " (there is no such VM) or "error ".
 */
#ifndef HOSTD_CONTROL_CONTROL_H
#define HOSTD_CONTROL_CONTROL_H

#include <stdbool.h>

#define CONTROL_MAX_LINE 256 /* bytes of a request */

struct listener;

/**
 * struct control_ops - who carries it out
 * @reload: returns the answer without its newline, to be freed
 * @evict: likewise
 */
struct control_ops {
	char *(*reload)(void *arg);
	char *(*evict)(const char *vm, void *arg);
};

/* Take connections from now on; ops and listener stay until control_stop(). 0 or a negative errno. */
int control_start(struct listener *listener, const struct control_ops *ops, void *arg);
/* No more connections, and the end of those that are there. */
void control_stop(void);

#endif
