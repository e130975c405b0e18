// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One writer function for GLib's structured log. Under systemd standard error is
 * the journal, and fields and priorities are kept; else a line of text is
 * written with a single write(2), so that threads do not mix their lines.
 */
#include "lib/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"

#define LOG_INTERVAL_NS NS_PER_S
#define LOG_LINE	1024 /* longer messages are cut */

static const struct {
	const char *name;
	GLogLevelFlags level;
} log_levels[] = {
	{ "error", G_LOG_LEVEL_CRITICAL },  { "warning", G_LOG_LEVEL_WARNING },
	{ "message", G_LOG_LEVEL_MESSAGE }, { "info", G_LOG_LEVEL_INFO },
	{ "debug", G_LOG_LEVEL_DEBUG },
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

static const char *log_field(const GLogField *fields, gsize n_fields, const char *key)
{
	for (gsize i = 0; i < n_fields; i++)
		if (!strcmp(fields[i].key, key) && fields[i].length < 0)
			return fields[i].value;
	return "";
}

static GLogWriterOutput log_writer(GLogLevelFlags level, const GLogField *fields, gsize n_fields,
				   gpointer data)
{
	char line[LOG_LINE];
	int saved = errno;
	int n;

	(void)data;
	if ((unsigned int)(level & G_LOG_LEVEL_MASK) > atomic_load(&log_threshold))
		return G_LOG_WRITER_HANDLED;
	if (log_to_journal &&
	    g_log_writer_journald(level, fields, n_fields, NULL) == G_LOG_WRITER_HANDLED)
		goto out;

	n = snprintf(line, sizeof(line), "pvhcad: %s: %s\n", log_level_name(level),
		     log_field(fields, n_fields, "MESSAGE"));
	if (n >= (int)sizeof(line)) {
		n = sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	/* Nobody can be told of a log that cannot be written. */
	if (n > 0 && write(STDERR_FILENO, line, n) < 0)
		n = 0;
out:
	errno = saved;
	return G_LOG_WRITER_HANDLED;
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
	/* Of threads that come at the same time one wins, the others count as left out. */
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
