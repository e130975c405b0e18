// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The text is made at once from counters that others go on writing, and then
 * sent as fast as the reader takes it. Readers are few at a time and
 * are given little time, so that slow ones cost nothing.
 */
#include "stats.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

#include <json-glib/json-glib.h>

#include <pvhca-version.h>

#include "log.h"
#include "memory.h"
#include "session.h"

#define STATS_READERS	16
#define STATS_MS	5000

struct reader {
	int fd;
	char *text;
	size_t length;
	size_t sent;
	guint writable;
	guint timer;
};

static GList *stats_readers;

/* ---------------------------------- text ----------------------------------- */

struct totals {
	uint64_t sessions;
	uint64_t contexts, pds, mrs, cqs, qps;
	uint64_t pinned_bytes, mappings;
#define TOTAL_FIELD(name, text) uint64_t name;
	COUNTERS(TOTAL_FIELD)
#undef TOTAL_FIELD
};

struct stats_builder {
	JsonBuilder *json;
	struct totals totals;
};

static void stats_number(JsonBuilder *json, const char *name, uint64_t value)
{
	json_builder_set_member_name(json, name);
	json_builder_add_int_value(json, value);
}

static void stats_text_member(JsonBuilder *json, const char *name,
			      const char *value)
{
	json_builder_set_member_name(json, name);
	json_builder_add_string_value(json, value);
}

static void stats_add_totals(JsonBuilder *json, const struct totals *totals)
{
#define TOTAL_MEMBER(name, text) stats_number(json, #name, totals->name);
	COUNTERS(TOTAL_MEMBER)
#undef TOTAL_MEMBER
	stats_number(json, "contexts", totals->contexts);
	stats_number(json, "pds", totals->pds);
	stats_number(json, "mrs", totals->mrs);
	stats_number(json, "cqs", totals->cqs);
	stats_number(json, "qps", totals->qps);
	stats_number(json, "pinned_bytes", totals->pinned_bytes);
	stats_number(json, "mappings", totals->mappings);
}

static void stats_sum(struct totals *to, const struct totals *from)
{
#define TOTAL_SUM(name, text) to->name += from->name;
	COUNTERS(TOTAL_SUM)
#undef TOTAL_SUM
	to->contexts += from->contexts;
	to->pds += from->pds;
	to->mrs += from->mrs;
	to->cqs += from->cqs;
	to->qps += from->qps;
	to->pinned_bytes += from->pinned_bytes;
	to->mappings += from->mappings;
	to->sessions++;
}

static void stats_read(struct session *session, struct totals *totals)
{
#define TOTAL_READ(name, text) \
	totals->name = atomic_load_explicit(&session->counters.name, \
					    memory_order_relaxed);
	COUNTERS(TOTAL_READ)
#undef TOTAL_READ
	totals->contexts = table_used(&session->contexts);
	totals->pds = table_used(&session->pds);
	totals->mrs = table_used(&session->mrs);
	totals->cqs = table_used(&session->cqs);
	totals->qps = table_used(&session->qps);
	totals->pinned_bytes = atomic_load(&session->pinned_bytes);
	totals->mappings = atomic_load(&session->mappings);
}

static void stats_add_session(struct session *session, void *arg)
{
	struct stats_builder *builder = arg;
	JsonBuilder *json = builder->json;
	struct totals own = { 0 };

	/* Its thread is setting name and tables until it leaves this state. */
	bool connected = atomic_load(&session->state) == SESSION_CONNECTED;

	if (!connected)
		stats_read(session, &own);
	stats_sum(&builder->totals, &own);
	json_builder_begin_object(json);
	stats_number(json, "id", session->id);
	stats_text_member(json, "name", connected ? "" : session->name);
	stats_text_member(json, "state", session_state_name(session));
	stats_number(json, "regions", memory_regions(session->memory));
	stats_add_totals(json, &own);
	json_builder_end_object(json);
}

char *stats_text(const char *fabric, unsigned long *length)
{
	struct stats_builder builder = { .json = json_builder_new() };
	JsonBuilder *json = builder.json;
	JsonGenerator *generator;
	JsonNode *root;
	char *text;

	json_builder_begin_object(json);
	stats_text_member(json, "version", PVHCA_VERSION);
	stats_text_member(json, "fabric", fabric);
	json_builder_set_member_name(json, "sessions");
	json_builder_begin_array(json);
	sessions_for_each(stats_add_session, &builder);
	json_builder_end_array(json);
	json_builder_set_member_name(json, "totals");
	json_builder_begin_object(json);
	stats_number(json, "sessions", builder.totals.sessions);
	stats_add_totals(json, &builder.totals);
	json_builder_end_object(json);
	json_builder_end_object(json);

	root = json_builder_get_root(json);
	generator = json_generator_new();
	json_generator_set_root(generator, root);
	json_generator_set_pretty(generator, TRUE);
	text = json_generator_to_data(generator, length);
	g_object_unref(generator);
	json_node_unref(root);
	g_object_unref(json);
	return text;
}

/* --------------------------------- readers --------------------------------- */

static void reader_free(struct reader *reader)
{
	stats_readers = g_list_remove(stats_readers, reader);
	if (reader->writable)
		g_source_remove(reader->writable);
	if (reader->timer)
		g_source_remove(reader->timer);
	close(reader->fd);
	g_free(reader->text);
	g_free(reader);
}

static gboolean reader_on_timeout(void *arg)
{
	struct reader *reader = arg;

	reader->timer = 0;
	reader_free(reader);
	return G_SOURCE_REMOVE;
}

static gboolean reader_on_writable(int fd, GIOCondition condition, void *arg)
{
	struct reader *reader = arg;
	ssize_t n;

	(void)condition;
	n = send(fd, reader->text + reader->sent, reader->length - reader->sent,
		 MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (n > 0)
		reader->sent += n;
	if (n > 0 && reader->sent < reader->length)
		return G_SOURCE_CONTINUE;
	reader->writable = 0;
	reader_free(reader);
	return G_SOURCE_REMOVE;
}

void stats_accept(int fd, const char *fabric)
{
	unsigned long length = 0;
	struct reader *reader;

	if (g_list_length(stats_readers) >= STATS_READERS) {
		close(fd);
		return;
	}
	reader = g_new0(struct reader, 1);
	reader->fd = fd;
	reader->text = stats_text(fabric, &length);
	reader->length = length;
	reader->writable = g_unix_fd_add(fd, G_IO_OUT | G_IO_HUP | G_IO_ERR,
					 reader_on_writable, reader);
	reader->timer = g_timeout_add(STATS_MS, reader_on_timeout, reader);
	stats_readers = g_list_prepend(stats_readers, reader);
}

void stats_stop(void)
{
	while (stats_readers)
		reader_free(stats_readers->data);
}
