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

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pvhca-version.h>

#include "lib/log.h"
#include "lib/text.h"
#include "stats/stats.h"

/* session="N",vm="NAME", each character of which may be escaped, or replaced by three bytes. */
#define LABEL 256

struct exposition {
	struct text text;
	struct stats_session *sessions;
	char (*labels)[LABEL]; /* of each session; empty: not known yet */
	unsigned int count;
};

/* The format escapes three characters; it is UTF-8, which a VM's name need not be. */
static void metrics_escape(char *to, const char *value)
{
	bool is_valid = g_utf8_validate(value, -1, NULL);

	for (; *value; value++) {
		if (*value & 0x80 && !is_valid) {
			to = stpcpy(to, "\xef\xbf\xbd");
			continue;
		}
		if (*value == '\n' || *value == '\\' || *value == '"')
			*to++ = '\\';
		*to++ = *value == '\n' ? 'n' : *value;
	}
	*to = '\0';
}

static void metrics_label(char label[LABEL], const struct stats_session *session)
{
	char name[3 * sizeof(session->name)];

	if (!session->greeted)
		return;
	metrics_escape(name, session->name);
	snprintf(label, LABEL, "session=\"%u\",vm=\"%s\"", session->id, name);
}

static void metrics_head(struct exposition *to, const char *name, const char *type,
			 const char *help)
{
	text_add(&to->text, "# HELP pvhca_%s %s\n# TYPE pvhca_%s %s\n", name, help, name, type);
}

/* One sample per session; offset: of its uint64_t in struct stats_session. */
static void metrics_samples(struct exposition *to, const char *name, const char *type,
			    const char *help, size_t offset)
{
	metrics_head(to, name, type, help);
	for (unsigned int i = 0; i < to->count; i++)
		if (to->labels[i][0])
			text_add(&to->text, "pvhca_%s{%s} %" G_GUINT64_FORMAT "\n", name,
				 to->labels[i], *(uint64_t *)((char *)&to->sessions[i] + offset));
}

static void metrics_daemon(struct exposition *to, const char *fabric)
{
	metrics_head(to, "build_info", "gauge", "Version and fabric of pvhcad.");
	text_add(&to->text, "pvhca_build_info{version=\"%s\",fabric=\"%s\"} 1\n", PVHCA_VERSION,
		 fabric);
	metrics_head(to, "sessions", "gauge", "Connections of QEMU.");
	text_add(&to->text, "pvhca_sessions %u\n", to->count);
}

static void metrics_sessions(struct exposition *to)
{
	metrics_head(to, "session_info", "gauge",
		     "State of the device, UUID and network of the VM.");
	for (unsigned int i = 0; i < to->count; i++)
		if (to->labels[i][0])
			text_add(
				&to->text,
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
#define METRICS_QUOTA(name, help)                                                                \
	metrics_head(to, #name "_quota", "gauge", "Quota: " help);                               \
	for (unsigned int i = 0; i < to->count; i++)                                             \
		if (to->labels[i][0])                                                            \
			text_add(&to->text, "pvhca_" #name "_quota{%s} %" G_GUINT64_FORMAT "\n", \
				 to->labels[i], (uint64_t)to->sessions[i].quota.name);
	OBJECTS(METRICS_QUOTA)
#undef METRICS_QUOTA
}

char *metrics_text(const char *fabric, size_t *length)
{
	struct exposition to = { 0 };

	to.sessions = stats_sessions(&to.count);
	to.labels = calloc(to.count + 1, sizeof(*to.labels));
	to.text.failed = !to.sessions || !to.labels;
	if (!to.text.failed) {
		for (unsigned int i = 0; i < to.count; i++)
			metrics_label(to.labels[i], &to.sessions[i]);
		metrics_daemon(&to, fabric);
		metrics_sessions(&to);
		metrics_values(&to);
		metrics_quotas(&to);
	}
	free(to.labels);
	free(to.sessions);
	return text_end(&to.text, length);
}
