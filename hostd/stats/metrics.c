// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The exposition: Prometheus text format, version 0.0.4. All samples of one metric
 * stand together under its HELP and TYPE, as the format demands; so each metric
 * goes over all sessions, of which there is a snapshot.
 *
 * There are no sums over sessions: they would fall when a session ends, which a
 * counter must not do. Prometheus can add them up.
 */
#include "stats/metrics.h"

#include <pvhca-version.h>

#include "lib/log.h"
#include "stats/stats.h"

struct exposition {
	GString *text;
	struct stats_session *sessions;
	char **labels; /* of each session; NULL: not known yet */
	unsigned int count;
};

/* The format escapes three characters; it is UTF-8, which a VM's name need not be. */
static char *metrics_escape(const char *value)
{
	char *valid = g_utf8_make_valid(value, -1);
	GString *text = g_string_new(NULL);

	for (const char *c = valid; *c; c++) {
		if (*c == '\n') {
			g_string_append(text, "\\n");
			continue;
		}
		if (*c == '\\' || *c == '"')
			g_string_append_c(text, '\\');
		g_string_append_c(text, *c);
	}
	g_free(valid);
	return g_string_free(text, FALSE);
}

static void metrics_head(struct exposition *to, const char *name, const char *type,
			 const char *help)
{
	g_string_append_printf(to->text, "# HELP pvhca_%s %s\n# TYPE pvhca_%s %s\n", name, help,
			       name, type);
}

/* One sample per session; offset: of its uint64_t in struct stats_session. */
static void metrics_samples(struct exposition *to, const char *name, const char *type,
			    const char *help, size_t offset)
{
	metrics_head(to, name, type, help);
	for (unsigned int i = 0; i < to->count; i++)
		if (to->labels[i])
			g_string_append_printf(to->text, "pvhca_%s{%s} %" G_GUINT64_FORMAT "\n",
					       name, to->labels[i],
					       *(uint64_t *)((char *)&to->sessions[i] + offset));
}

static void metrics_daemon(struct exposition *to, const char *fabric)
{
	metrics_head(to, "build_info", "gauge", "Version and fabric of pvhcad.");
	g_string_append_printf(to->text, "pvhca_build_info{version=\"%s\",fabric=\"%s\"} 1\n",
			       PVHCA_VERSION, fabric);
	metrics_head(to, "sessions", "gauge", "Connections of QEMU.");
	g_string_append_printf(to->text, "pvhca_sessions %u\n", to->count);
}

static void metrics_sessions(struct exposition *to)
{
	metrics_head(to, "session_info", "gauge",
		     "State of the device, UUID and network of the VM.");
	for (unsigned int i = 0; i < to->count; i++)
		if (to->labels[i])
			g_string_append_printf(
				to->text,
				"pvhca_session_info{%s,uuid=\"%s\",state=\"%s\",network=\"%s\"} 1\n",
				to->labels[i], to->sessions[i].uuid, to->sessions[i].state,
				to->sessions[i].network);
	metrics_samples(to, "memory_regions_passed", "gauge",
			"Pieces of guest memory that QEMU passed.",
			offsetof(struct stats_session, regions));
	metrics_samples(to, "share", "gauge", "Share of its worker's time.",
			offsetof(struct stats_session, share));
	metrics_samples(to, "rate_limit", "gauge",
			"Bytes a second that the VM may send; 0: no limit.",
			offsetof(struct stats_session, rate));
	metrics_samples(to, "message_rate_limit", "gauge",
			"Requests a second that the VM may make; 0: no limit.",
			offsetof(struct stats_session, message_rate));
}

static void metrics_values(struct exposition *to)
{
#define AT(name)		    offsetof(struct stats_session, values.name)
#define METRICS_COUNTER(name, help) metrics_samples(to, #name "_total", "counter", help, AT(name));
#define METRICS_GAUGE(name, help)   metrics_samples(to, #name, "gauge", help, AT(name));
	COUNTERS(METRICS_COUNTER)
	OBJECTS(METRICS_GAUGE)
	AMOUNTS(METRICS_GAUGE)
#undef METRICS_GAUGE
#undef METRICS_COUNTER
#undef AT
}

/* Quotas differ in width. */
static void metrics_quotas(struct exposition *to)
{
#define METRICS_QUOTA(name, help)                                                              \
	metrics_head(to, #name "_quota", "gauge", "Quota: " help);                             \
	for (unsigned int i = 0; i < to->count; i++)                                           \
		if (to->labels[i])                                                             \
			g_string_append_printf(                                                \
				to->text, "pvhca_" #name "_quota{%s} %" G_GUINT64_FORMAT "\n", \
				to->labels[i], (uint64_t)to->sessions[i].quota.name);
	OBJECTS(METRICS_QUOTA)
#undef METRICS_QUOTA
}

char *metrics_text(const char *fabric, size_t *length)
{
	struct exposition to = { .text = g_string_new(NULL) };

	to.sessions = stats_sessions(&to.count);
	to.labels = g_new0(char *, to.count + 1);
	for (unsigned int i = 0; i < to.count; i++) {
		char *name;

		if (!to.sessions[i].greeted)
			continue;
		name = metrics_escape(to.sessions[i].name);
		to.labels[i] = g_strdup_printf("session=\"%u\",vm=\"%s\"", to.sessions[i].id, name);
		g_free(name);
	}
	metrics_daemon(&to, fabric);
	metrics_sessions(&to);
	metrics_values(&to);
	metrics_quotas(&to);
	for (unsigned int i = 0; i < to.count; i++)
		g_free(to.labels[i]);
	g_free(to.labels);
	g_free(to.sessions);
	*length = to.text->len;
	return g_string_free(to.text, FALSE);
}
