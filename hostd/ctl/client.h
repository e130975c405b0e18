/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include "ctl.h"
#include "sample.h"

/*
 * Ask the pvhcad that has this socket; waits for some seconds at most. With vm, its
 * sessions alone. NULL with *error.
 */
struct ctl_sample *client_sample(const char *socket, const char *vm, GError **error);
/*
 * Have it carry out a request (control/control.h). Its answer, to be freed, or NULL with *error;
 * likewise for answers that begin with "error " or "none".
 */
char *client_request(const char *socket, const char *request, GError **error);

#endif
