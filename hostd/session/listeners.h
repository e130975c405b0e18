/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sockets that QEMUs connect to: one for all, and those of single VMs. The main thread
 * calls these functions.
 */
#ifndef HOSTD_SESSION_LISTENERS_H
#define HOSTD_SESSION_LISTENERS_H

#include <stdbool.h>

struct config;

/* Make all that the settings name. False, with *error to be freed: where, and why not. */
bool listeners_open(const struct config *config, char **error);
/* Give connections to sessions_accept() from now on. */
void listeners_start(void);
/*
 * Make and remove sockets of single VMs so that they are those of next, with its access. False,
 * with *error to be freed: nothing was made or removed. Sessions are not touched.
 */
bool listeners_change(const struct config *next, char **error);
/* Remove them. */
void listeners_close(void);

/* "cannot listen at WHERE: WHY", to be freed; error: of listener_open(). */
char *listeners_error(const char *where, int error);

#endif
