// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The text is made at once from counters that others go on writing, and then
 * sent as fast as the reader takes it.
 */
#include "stats/stats.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pvhca-version.h>

#include "lib/grace.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "lib/text.h"
#include "memory/memory.h"
#include "session/session.h"
#include "stats/client.h"
#include "vm/vm.h"

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
	values->heap_bytes = heap_bytes(vm->heap);
	values->connections = atomic_load(&vm->connections);
	if (!vm->memory)
		return;
	values->memory_bytes = memory_bytes(vm->memory);
	values->mappings = memory_mappings(vm->memory);
	values->mappings_kept = memory_mappings_kept(vm->memory);
}

struct snapshot {
	struct stats_session *sessions;
	unsigned int count;
	bool failed;
};

/* Room for one more than there is. */
static void stats_append(struct snapshot *snapshot, const struct stats_session *session)
{
	struct stats_session *sessions;

	if (snapshot->failed)
		return;
	snapshot->sessions[snapshot->count++] = *session;
	sessions = realloc(snapshot->sessions, (snapshot->count + 1) * sizeof(*sessions));
	snapshot->failed = !sessions;
	if (sessions)
		snapshot->sessions = sessions;
}

static void stats_take(struct vm *vm, void *arg)
{
	static const uint8_t no_uuid[sizeof(vm->uuid)];
	struct stats_session own = { .id = vm->id };

	own.state = vm_state_name(vm);
	own.regions = vm->memory ? memory_regions(vm->memory) : 0;
	/* Its thread is setting name and tables until it leaves this state. */
	own.greeted = atomic_load(&vm->state) != VM_CONNECTED;
	if (own.greeted) {
		g_strlcpy(own.name, vm->name, sizeof(own.name));
		if (memcmp(vm->uuid, no_uuid, sizeof(no_uuid)))
			address_uuid_text(vm->uuid, own.uuid);
		own.network = config_network_name(vm->network);
		own.quota = vm->policy->quota;
		own.share = atomic_load(&vm->schedule.share);
		own.rate = atomic_load(&vm->schedule.rate);
		own.message_rate = atomic_load(&vm->schedule.message_rate);
		stats_read(vm, &own.values);
	}
	stats_append(arg, &own);
}

struct stats_session *stats_sessions(unsigned int *count)
{
	struct snapshot snapshot = { .sessions = malloc(sizeof(struct stats_session)) };

	snapshot.failed = !snapshot.sessions;
	sessions_for_each(stats_take, &snapshot);
	*count = snapshot.count;
	if (!snapshot.failed)
		return snapshot.sessions;
	free(snapshot.sessions);
	return NULL;
}

/* ---------------------------------- text ----------------------------------- */

/* Each member begins a line; *comma: what stands before it. */
struct json {
	struct text text;
	const char *comma;
};

static void stats_member(struct json *json, const char *name)
{
	text_add(&json->text, "%s\n\"%s\" : ", json->comma, name);
	json->comma = ",";
}

static void stats_begin(struct json *json, const char *bracket)
{
	text_add(&json->text, "%s", bracket);
	json->comma = "";
}

static void stats_end(struct json *json, const char *bracket)
{
	text_add(&json->text, "\n%s", bracket);
	json->comma = ",";
}

static void stats_number(struct json *json, const char *name, uint64_t value)
{
	stats_member(json, name);
	/* JSON's readers know signed numbers. */
	text_add(&json->text, "%" G_GINT64_FORMAT, (int64_t)value);
}

/* Names are printable ASCII (session/hello.c), others are pvhcad's own or the settings'. */
static void stats_text_member(struct json *json, const char *name, const char *value)
{
	stats_member(json, name);
	text_add(&json->text, "\"");
	for (; *value; value++)
		if (*value == '"' || *value == '\\')
			text_add(&json->text, "\\%c", *value);
		else if ((unsigned char)*value < ' ')
			text_add(&json->text, "\\u%04x", *value);
		else
			text_add(&json->text, "%c", *value);
	text_add(&json->text, "\"");
}

static void stats_add_values(struct json *json, const struct stats_values *values)
{
#define STATS_MEMBER(name, text) stats_number(json, #name, values->name);
	COUNTERS(STATS_MEMBER)
	OBJECTS(STATS_MEMBER)
	AMOUNTS(STATS_MEMBER)
#undef STATS_MEMBER
}

static void stats_add_schedule(struct json *json, const struct stats_session *vm)
{
	stats_number(json, "share", vm->share);
	stats_number(json, "rate", vm->rate);
	stats_number(json, "message_rate", vm->message_rate);
}

static void stats_add_quota(struct json *json, const struct quota *quota)
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

static void stats_add_session(struct json *json, const struct stats_session *vm)
{
	text_add(&json->text, "%s\n", json->comma);
	stats_begin(json, "{");
	stats_number(json, "id", vm->id);
	stats_text_member(json, "name", vm->name);
	stats_text_member(json, "uuid", vm->uuid);
	stats_text_member(json, "state", vm->state);
	stats_text_member(json, "network", vm->network ? vm->network : "");
	stats_number(json, "regions", vm->regions);
	stats_add_schedule(json, vm);
	stats_add_values(json, &vm->values);
	stats_member(json, "quota");
	stats_begin(json, "{");
	stats_add_quota(json, &vm->quota);
	stats_end(json, "}");
	stats_end(json, "}");
}

char *stats_text(const char *fabric, size_t *length)
{
	struct stats_values totals = { 0 };
	struct json json = { .comma = "" };
	struct stats_session *sessions;
	unsigned int count;

	sessions = stats_sessions(&count);
	if (!sessions)
		return NULL;
	stats_begin(&json, "{");
	stats_text_member(&json, "version", PVHCA_VERSION);
	stats_text_member(&json, "fabric", fabric);
	stats_number(&json, "grace_periods", grace_count());
	stats_member(&json, "sessions");
	stats_begin(&json, "[");
	for (unsigned int i = 0; i < count; i++) {
		stats_sum(&totals, &sessions[i].values);
		stats_add_session(&json, &sessions[i]);
	}
	free(sessions);
	stats_end(&json, "]");
	stats_member(&json, "totals");
	stats_begin(&json, "{");
	stats_number(&json, "sessions", count);
	stats_add_values(&json, &totals);
	stats_end(&json, "}");
	stats_end(&json, "}");
	return text_end(&json.text, length);
}

/* --------------------------------- readers --------------------------------- */

static struct client_list stats_readers;

static gboolean stats_on_writable(int fd, GIOCondition condition, void *arg)
{
	struct client *reader = arg;

	(void)fd;
	(void)condition;
	return client_send(reader) == CLIENT_SENT_SOME ? G_SOURCE_CONTINUE : client_end(reader);
}

int stats_start(void)
{
	return client_list_start(&stats_readers);
}

void stats_accept(int fd, const char *fabric)
{
	struct client *reader;

	if (client_list_full(&stats_readers))
		goto err_close;
	reader = calloc(1, sizeof(*reader));
	if (!reader)
		goto err_close;
	reader->answer = stats_text(fabric, &reader->length);
	if (!reader->answer)
		goto err_free;
	client_start(reader, &stats_readers, fd);
	client_watch(reader, G_IO_OUT, stats_on_writable);
	return;

err_free:
	free(reader);
err_close:
	close(fd);
}

void stats_stop(void)
{
	client_list_stop(&stats_readers);
}
