/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pvhca-vfio-user: what the process gives up before it serves anybody. */
#ifndef PVHCA_SANDBOX_H
#define PVHCA_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * The working directory becomes @link_dir, where pvhcad's socket is, and with a
 * mount view of our own there is no other.  Then no user but @uid and @gid (-1:
 * as we are), no capability, and none to be had.  A view that the machine does
 * not permit is logged and done without.  Returns false, with a message logged,
 * if rights remain.
 */
bool pvhca_sandbox_enter(const char *link_dir, uid_t uid, gid_t gid);

/*
 * No system call but those that the sources list: others kill the process.
 * Files can be removed from the directory @dir only: our own socket.  Returns
 * false, with a message logged, if there is no such filter.
 */
bool pvhca_sandbox_filter(int dir);

#endif /* PVHCA_SANDBOX_H */
