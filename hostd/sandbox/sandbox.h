/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What pvhcad gives up, wherever it is started from: root, all capabilities that its fabric does
 * not need, and the system calls that it does not make. The main thread calls these, in this order.
 *
 * A build with PVHCA_NO_SANDBOX gives up nothing: sanitizers and coverage need more than is left.
 */
#ifndef HOSTD_SANDBOX_SANDBOX_H
#define HOSTD_SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/account.h"

/* Whom root becomes if nobody says otherwise; where there is no such user: number SANDBOX_NOBODY. */
#define SANDBOX_USER   "pvhca"
#define SANDBOX_NOBODY 65534
#define SANDBOX_UNSET  UINT32_MAX /* of a user: as above */

/*
 * Whom pvhcad is to run as. False: only root can become another user; the reason is logged.
 */
bool sandbox_find_user(uint32_t wanted, struct account *account);

/*
 * Raise the limits of descriptors, of priority, and where locks_memory of locked memory, as far
 * as this process may.
 */
void sandbox_raise_limits(bool locks_memory);
/* Nothing bounds what this process locks; once the limits are raised. */
bool sandbox_may_lock(uint64_t bytes);

/*
 * Become the user, with the groups that /etc/group gives him, and keep no capability but those of
 * an engine: engine: CAP_NET_BIND_SERVICE and CAP_IPC_LOCK, if they are there. Before there is a second
 * thread. False: the reason is logged.
 */
bool sandbox_drop(const struct account *account, bool engine);

/*
 * From now on a system call that is in no list (lib/calls.h) for this fabric ends the process.
 * All threads. False: the reason is logged. Under valgrind, and where the kernel has no
 * seccomp (as qemu-user), it does nothing but say so.
 */
bool sandbox_filter(const char *fabric);

#endif
