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
#include <stdatomic.h>
#include <stdint.h>

/*
 * g_debug, g_info, g_message, g_warning, g_critical; never g_error: it aborts. GLib's own
 * allocate, and end the process where there is no memory; these do not.
 */
#undef g_debug
#undef g_info
#undef g_message
#undef g_warning
#undef g_critical
#define g_debug(...)	log_write(G_LOG_LEVEL_DEBUG, __VA_ARGS__)
#define g_info(...)	log_write(G_LOG_LEVEL_INFO, __VA_ARGS__)
#define g_message(...)	log_write(G_LOG_LEVEL_MESSAGE, __VA_ARGS__)
#define g_warning(...)	log_write(G_LOG_LEVEL_WARNING, __VA_ARGS__)
#define g_critical(...) log_write(G_LOG_LEVEL_CRITICAL, __VA_ARGS__)
void log_write(GLogLevelFlags level, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* What errno means, in English; g_strerror() allocates. */
const char *log_strerror(int error);

/*
 * Show messages of this level and above: error, warning, message, info, debug.
 * 0, or -EINVAL for another word. The first call also installs the writer.
 */
int log_init(const char *level);

/* At most one message a second from one place, whoever causes it. The next one tells how many were left out. */
struct log_limit {
	_Atomic uint64_t next_ns; /* CLOCK_MONOTONIC */
	_Atomic unsigned int suppressed;
};
_Bool log_allowed(struct log_limit *limit, unsigned int *suppressed);
/* g_warning() under such a limit. The number of messages left out stands at its end, unless it is 0. */
void log_warning_limited(struct log_limit *limit, const char *format, ...) G_GNUC_PRINTF(2, 3);

/*
 * What a VM, or whoever connects to a socket, can cause. At most LOG_BURST lines at once, and one each LOG_PACE_MS
 * after that; details (info, debug) have as many of their own. Any thread.
 */
#define LOG_BURST   32
#define LOG_PACE_MS 2000
#define LOG_START   8 /* of a source that begins within another one */

/**
 * struct log_source - zeroed: it has all its lines
 * @due_ns: CLOCK_MONOTONIC, when all its lines would be there again; important ones, details
 * @left_out: likewise, since the last line that was written
 * @dropped: counts those that were left out; or NULL
 */
struct log_source {
	_Atomic uint64_t due_ns[2];
	_Atomic unsigned int left_out[2];
	_Atomic uint64_t *dropped;
};

/* One that several hold; the last to drop it frees it. Dropping NULL does nothing. */
struct log_source *log_source_new(void);
struct log_source *log_source_hold(struct log_source *source);
void log_source_drop(struct log_source *source);
/* source begins with what of can spare: many that follow each other have no more lines than one. */
void log_source_start(struct log_source *source, struct log_source *of);
/*
 * As g_log() with this level; source NULL: without a limit. The last line that goes says that others will be left out, the next one that
 * goes after them how many were.
 */
void log_from(struct log_source *source, GLogLevelFlags level, const char *format, ...)
	G_GNUC_PRINTF(3, 4);

#endif
