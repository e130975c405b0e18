// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The text is made at once from counters that others go on writing, and then
 * sent as fast as the reader takes it. Readers are few at a time and
 * are given little time, so that slow ones cost nothing.
 */
#include "stats/stats.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <json-glib/json-glib.h>

#include <pvhca-version.h>

#include "lib/log.h"
#include "memory/memory.h"
#include "session/session.h"
#include "vm/vm.h"

#define STATS_READERS 16
#define STATS_MS      5000

struct reader {
	int fd;
	char *text;
	size_t length;
	size_t sent;
	guint writable;
	guint timer;
};

static GList *stats_readers;

/* -------------------------------- snapshots -------------------------------- */

static void stats_read(struct vm *vm, struct stats_values *values)
{
#define STATS_READ(name, text) \
	values->name = atomic_load_explicit(&vm->counters.name, memory_order_relaxed);
	COUNTERS(STATS_READ)
#undef STATS_READ
	values->contexts = table_used(&vm->contexts);
	values->pds = table_used(&vm->pds);
	values->mrs = table_used(&vm->mrs);
	values->mws = table_used(&vm->mws);
	values->ahs = table_used(&vm->ahs);
	values->srqs = table_used(&vm->srqs);
	values->cqs = table_used(&vm->cqs);
	values->qps = table_used(&vm->qps);
	values->ceqs = table_used(&vm->ceqs);
	values->pinned_bytes = atomic_load(&vm->pinned_bytes);
	values->connections = atomic_load(&vm->connections);
	values->mappings = memory_mappings(vm->memory);
	values->mappings_kept = memory_mappings_kept(vm->memory);
}

static void stats_take(struct vm *vm, void *arg)
{
	static const uint8_t no_uuid[sizeof(vm->uuid)];
	struct stats_session own = { .id = vm->id };

	own.state = vm_state_name(vm);
	own.regions = memory_regions(vm->memory);
	/* Its thread is setting name and tables until it leaves this state. */
	own.greeted = atomic_load(&vm->state) != VM_CONNECTED;
	if (own.greeted) {
		g_strlcpy(own.name, vm->name, sizeof(own.name));
		if (memcmp(vm->uuid, no_uuid, sizeof(no_uuid)))
			address_uuid_text(vm->uuid, own.uuid);
		own.quota = vm->policy->quota;
		stats_read(vm, &own.values);
	}
	g_array_append_val(arg, own);
}

struct stats_session *stats_sessions(unsigned int *count)
{
	GArray *array = g_array_new(FALSE, FALSE, sizeof(struct stats_session));

	sessions_for_each(stats_take, array);
	*count = array->len;
	return (struct stats_session *)g_array_free(array, FALSE);
}

/* ---------------------------------- text ----------------------------------- */

static void stats_number(JsonBuilder *json, const char *name, uint64_t value)
{
	json_builder_set_member_name(json, name);
	json_builder_add_int_value(json, value);
}

static void stats_text_member(JsonBuilder *json, const char *name, const char *value)
{
	json_builder_set_member_name(json, name);
	json_builder_add_string_value(json, value);
}

static void stats_add_values(JsonBuilder *json, const struct stats_values *values)
{
#define STATS_MEMBER(name, text) stats_number(json, #name, values->name);
	COUNTERS(STATS_MEMBER)
	OBJECTS(STATS_MEMBER)
	AMOUNTS(STATS_MEMBER)
#undef STATS_MEMBER
}

static void stats_add_quota(JsonBuilder *json, const struct quota *quota)
{
#define STATS_MEMBER(name, text) stats_number(json, #name, quota->name);
	OBJECTS(STATS_MEMBER)
#undef STATS_MEMBER
}

static void stats_sum(struct stats_values *to, const struct stats_values *from)
{
#define STATS_SUM(name, text) to->name += from->name;
	COUNTERS(STATS_SUM)
	OBJECTS(STATS_SUM)
	AMOUNTS(STATS_SUM)
#undef STATS_SUM
}

static void stats_add_session(JsonBuilder *json, const struct stats_session *vm)
{
	json_builder_begin_object(json);
	stats_number(json, "id", vm->id);
	stats_text_member(json, "name", vm->name);
	stats_text_member(json, "uuid", vm->uuid);
	stats_text_member(json, "state", vm->state);
	stats_number(json, "regions", vm->regions);
	stats_add_values(json, &vm->values);
	json_builder_set_member_name(json, "quota");
	json_builder_begin_object(json);
	stats_add_quota(json, &vm->quota);
	json_builder_end_object(json);
	json_builder_end_object(json);
}

char *stats_text(const char *fabric, unsigned long *length)
{
	struct stats_values totals = { 0 };
	JsonBuilder *json = json_builder_new();
	struct stats_session *sessions;
	JsonGenerator *generator;
	unsigned int count;
	JsonNode *root;
	char *text;

	sessions = stats_sessions(&count);
	json_builder_begin_object(json);
	stats_text_member(json, "version", PVHCA_VERSION);
	stats_text_member(json, "fabric", fabric);
	json_builder_set_member_name(json, "sessions");
	json_builder_begin_array(json);
	for (unsigned int i = 0; i < count; i++) {
		stats_sum(&totals, &sessions[i].values);
		stats_add_session(json, &sessions[i]);
	}
	g_free(sessions);
	json_builder_end_array(json);
	json_builder_set_member_name(json, "totals");
	json_builder_begin_object(json);
	stats_number(json, "sessions", count);
	stats_add_values(json, &totals);
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
	reader->writable =
		g_unix_fd_add(fd, G_IO_OUT | G_IO_HUP | G_IO_ERR, reader_on_writable, reader);
	reader->timer = g_timeout_add(STATS_MS, reader_on_timeout, reader);
	stats_readers = g_list_prepend(stats_readers, reader);
}

void stats_stop(void)
{
	while (stats_readers)
		reader_free(stats_readers->data);
}
