// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The text is made at once from counters that others go on writing, and then
 * sent as fast as the reader takes it.
 */
#include "stats/stats.h"

#include <string.h>
#include <unistd.h>

#include <json-glib/json-glib.h>

#include <pvhca-version.h>

#include "lib/grace.h"
#include "lib/heap.h"
#include "lib/log.h"
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

static void stats_add_schedule(JsonBuilder *json, const struct stats_session *vm)
{
	stats_number(json, "share", vm->share);
	stats_number(json, "rate", vm->rate);
	stats_number(json, "message_rate", vm->message_rate);
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
	stats_text_member(json, "network", vm->network ? vm->network : "");
	stats_number(json, "regions", vm->regions);
	stats_add_schedule(json, vm);
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
	stats_number(json, "grace_periods", grace_count());
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

static struct client_list stats_readers;

static gboolean stats_on_writable(int fd, GIOCondition condition, void *arg)
{
	struct client *reader = arg;

	(void)fd;
	(void)condition;
	return client_send(reader) == CLIENT_SENT_SOME ? G_SOURCE_CONTINUE : client_end(reader);
}

void stats_accept(int fd, const char *fabric)
{
	unsigned long length = 0;
	struct client *reader;

	if (client_list_full(&stats_readers)) {
		close(fd);
		return;
	}
	reader = g_new0(struct client, 1);
	reader->answer = stats_text(fabric, &length);
	reader->length = length;
	client_start(reader, &stats_readers, fd);
	client_watch(reader, G_IO_OUT, stats_on_writable);
}

void stats_stop(void)
{
	client_list_stop(&stats_readers);
}
