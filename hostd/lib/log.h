/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages to standard error or the journal (GLib's structured log), by level.
 */
#ifndef HOSTD_LIB_LOG_H
#define HOSTD_LIB_LOG_H

#ifndef G_LOG_DOMAIN
#define G_LOG_DOMAIN "pvhcad"
#endif
#include <glib.h>
#include <stdint.h>

/* g_debug, g_info, g_message, g_warning, g_critical; never g_error: it aborts. */

/*
 * Show messages of this level and above: error, warning, message, info, debug.
 * 0, or -EINVAL for another word. The first call also installs the writer.
 */
int log_init(const char *level);

/* At most one message a second from one place and one session; the next tells how many were left out. */
struct log_limit {
	_Atomic uint64_t next_ns; /* CLOCK_MONOTONIC */
	_Atomic unsigned int suppressed;
};
_Bool log_allowed(struct log_limit *limit, unsigned int *suppressed);
/* g_warning() under such a limit, with that number at its end where it is not 0. */
void log_warning_limited(struct log_limit *limit, const char *format, ...) G_GNUC_PRINTF(2, 3);

#endif
