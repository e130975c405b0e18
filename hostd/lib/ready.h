/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef HOSTD_LIB_READY_H
#define HOSTD_LIB_READY_H

/*
 * Tell systemd that this process serves from now on, as sd_notify(3) does: what is
 * ordered behind the unit starts only then. Nothing where nobody asked for it by
 * NOTIFY_SOCKET. That it cannot be told is logged only.
 */
void ready_tell(void);

#endif
