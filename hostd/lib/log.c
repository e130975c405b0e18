// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One writer function for GLib's structured log. A line of text is written with a single
 * write(2), so that threads do not mix their lines. Under systemd standard error is the
 * journal; there the line begins with its priority, as sd-daemon(3) has it. The journal's own
 * socket, which lies in /run/systemd, is not for pvhcad.
 */
#include "lib/calls.h"
#include "lib/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"

/* A failed assertion of the C library. */
CALLS("writev");

#define LOG_INTERVAL_NS NS_PER_S
#define LOG_LINE	1024 /* longer messages are cut */

static const struct {
	const char *name, *priority;
	GLogLevelFlags level;
} log_levels[] = {
	{ "error", "<3>", G_LOG_LEVEL_CRITICAL },  { "warning", "<4>", G_LOG_LEVEL_WARNING },
	{ "message", "<5>", G_LOG_LEVEL_MESSAGE }, { "info", "<6>", G_LOG_LEVEL_INFO },
	{ "debug", "<7>", G_LOG_LEVEL_DEBUG },
};

/* GLib's levels: a more important one is the lower bit. */
static _Atomic unsigned int log_threshold = G_LOG_LEVEL_MESSAGE;
static bool log_to_journal;

static const char *log_level_name(GLogLevelFlags level)
{
	for (unsigned int i = 0; i < G_N_ELEMENTS(log_levels); i++)
		if (level & log_levels[i].level)
			return log_levels[i].name;
	return "error";
}

static const char *log_priority(GLogLevelFlags level)
{
	for (unsigned int i = 0; i < G_N_ELEMENTS(log_levels); i++)
		if (level & log_levels[i].level)
			return log_levels[i].priority;
	return "<3>";
}

static const char *log_field(const GLogField *fields, gsize n_fields, const char *key)
{
	for (gsize i = 0; i < n_fields; i++)
		if (!strcmp(fields[i].key, key) && fields[i].length < 0)
			return fields[i].value;
	return "";
}

static bool log_shows(GLogLevelFlags level)
{
	return (unsigned int)(level & G_LOG_LEVEL_MASK) <= atomic_load(&log_threshold);
}

static GLogWriterOutput log_writer(GLogLevelFlags level, const GLogField *fields, gsize n_fields,
				   gpointer data)
{
	char line[LOG_LINE];
	int saved = errno;
	int n;

	(void)data;
	if (!log_shows(level))
		return G_LOG_WRITER_HANDLED;
	n = snprintf(line, sizeof(line), "%s%s: %s\n",
		     log_to_journal ? log_priority(level) : "pvhcad: ", log_level_name(level),
		     log_field(fields, n_fields, "MESSAGE"));
	if (n >= (int)sizeof(line)) {
		n = sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	/* An error of the log cannot be reported anywhere. */
	if (n > 0 && write(STDERR_FILENO, line, n) < 0)
		n = 0;
	errno = saved;
	return G_LOG_WRITER_HANDLED;
}

void log_write(GLogLevelFlags level, const char *format, ...)
{
	char text[LOG_LINE];
	const GLogField fields[] = {
		{ "MESSAGE", text, -1 },
		{ "GLIB_DOMAIN", G_LOG_DOMAIN, -1 },
	};
	int saved = errno;
	va_list args;

	if (!log_shows(level))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	g_log_structured_array(level, fields, G_N_ELEMENTS(fields));
	errno = saved;
}

const char *log_strerror(int error)
{
	const char *text = strerrordesc_np(error);

	return text ? text : "unknown error";
}

int log_init(const char *level)
{
	static bool installed;

	for (unsigned int i = 0; i < G_N_ELEMENTS(log_levels); i++) {
		if (strcmp(level, log_levels[i].name))
			continue;
		atomic_store(&log_threshold, log_levels[i].level);
		if (!installed) {
			log_to_journal = g_log_writer_is_journald(STDERR_FILENO);
			g_log_set_writer_func(log_writer, NULL, NULL);
			installed = true;
		}
		return 0;
	}
	return -EINVAL;
}

_Bool log_allowed(struct log_limit *limit, unsigned int *suppressed)
{
	uint64_t now = clock_ns(), next;

	next = atomic_load(&limit->next_ns);
	/* If several threads come at the same time, one wins. The others count as left out. */
	if (now < next ||
	    !atomic_compare_exchange_strong(&limit->next_ns, &next, now + LOG_INTERVAL_NS)) {
		atomic_fetch_add(&limit->suppressed, 1);
		return false;
	}
	*suppressed = atomic_exchange(&limit->suppressed, 0);
	return true;
}

void log_warning_limited(struct log_limit *limit, const char *format, ...)
{
	unsigned int suppressed;
	char text[LOG_LINE];
	va_list args;

	if (!log_allowed(limit, &suppressed))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (suppressed)
		g_warning("%s (and %u messages like this)", text, suppressed);
	else
		g_warning("%s", text);
}

/* ---------------------------------- sources -------------------------------- */

#define LOG_PACE_NS (LOG_PACE_MS * NS_PER_MS)
#define LOG_ROOM_NS (LOG_BURST * LOG_PACE_NS)
#define LOG_DETAILS (G_LOG_LEVEL_INFO | G_LOG_LEVEL_DEBUG)

/* Up to wanted lines of it, and whether these are its last. */
static unsigned int log_take(_Atomic uint64_t *due_ns, unsigned int wanted, bool *last)
{
	uint64_t now = clock_ns(), due = atomic_load(due_ns), from, room;
	unsigned int got;

	do {
		from = due > now ? due : now;
		room = now + LOG_ROOM_NS - from;
		got = from > now + LOG_ROOM_NS ? 0 : room / LOG_PACE_NS;
		if (got > wanted)
			got = wanted;
		if (!got)
			return 0;
	} while (!atomic_compare_exchange_weak(due_ns, &due, from + got * LOG_PACE_NS));
	*last = room / LOG_PACE_NS == got;
	return got;
}

struct log_source *log_source_new(void)
{
	return g_atomic_rc_box_new0(struct log_source);
}

struct log_source *log_source_hold(struct log_source *source)
{
	return g_atomic_rc_box_acquire(source);
}

void log_source_drop(struct log_source *source)
{
	if (source)
		g_atomic_rc_box_release(source);
}

void log_source_start(struct log_source *source, struct log_source *of)
{
	uint64_t now = clock_ns();
	unsigned int lines;
	bool last;

	for (unsigned int i = 0; i < G_N_ELEMENTS(source->due_ns); i++) {
		lines = log_take(&of->due_ns[i], LOG_START, &last);
		atomic_store(&source->due_ns[i], now + (LOG_BURST - lines) * LOG_PACE_NS);
	}
}

void log_from(struct log_source *source, GLogLevelFlags level, const char *format, ...)
{
	const unsigned int kind = level & LOG_DETAILS ? 1 : 0;
	unsigned int left_out = 0;
	char text[LOG_LINE];
	bool last = false;
	va_list args;

	if (!log_shows(level))
		return;
	if (source && !log_take(&source->due_ns[kind], 1, &last)) {
		atomic_fetch_add(&source->left_out[kind], 1);
		if (source->dropped)
			atomic_fetch_add_explicit(source->dropped, 1, memory_order_relaxed);
		return;
	}
	if (source)
		left_out = atomic_exchange(&source->left_out[kind], 0);
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (left_out)
		log_write(level, "%s (%u lines before this one were left out)", text, left_out);
	else
		log_write(level, "%s%s", text,
			  last ? " (for now, more lines like these are left out)" : "");
}
