// SPDX-License-Identifier: GPL-2.0-or-later
#include "sample.h"

#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static struct ctl_number sample_number(JsonObject *object, const char *name)
{
	JsonNode *node = json_object_get_member(object, name);
	gint64 value;

	if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_INT64)
		return (struct ctl_number){ false, 0 };
	value = json_node_get_int(node);
	/* Counters are written as signed numbers, the only ones that JSON-GLib has. */
	return (struct ctl_number){ true, value };
}

/* Never NULL. */
static const char *sample_word(JsonObject *object, const char *name)
{
	JsonNode *node = json_object_get_member(object, name);

	if (!node || !JSON_NODE_HOLDS_VALUE(node) ||
	    json_node_get_value_type(node) != G_TYPE_STRING)
		return "";
	return json_node_get_string(node);
}

static JsonObject *sample_object(JsonObject *object, const char *name)
{
	JsonNode *node = json_object_get_member(object, name);

	return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

static void sample_numbers(JsonObject *object, struct ctl_number numbers[FIELDS])
{
	if (!object)
		return;
	for (int i = 0; i < FIELDS; i++)
		numbers[i] = sample_number(object, fields[i].name);
}

static bool sample_parse_session(JsonNode *node, struct ctl_session *session)
{
	struct ctl_number id;

	if (!JSON_NODE_HOLDS_OBJECT(node))
		return false;
	session->json = json_node_get_object(node);
	id = sample_number(session->json, "id");
	session->id = id.value;
	session->name = sample_word(session->json, "name");
	session->uuid = sample_word(session->json, "uuid");
	session->state = sample_word(session->json, "state");
	session->network = sample_word(session->json, "network");
	session->regions = sample_number(session->json, "regions");
	session->share = sample_number(session->json, "share");
	session->rate = sample_number(session->json, "rate");
	session->message_rate = sample_number(session->json, "message_rate");
	sample_numbers(session->json, session->values);
	sample_numbers(sample_object(session->json, "quota"), session->quota);
	return id.known;
}

static int sample_compare(const void *a, const void *b)
{
	const struct ctl_session *one = a, *other = b;

	return (one->id > other->id) - (one->id < other->id);
}

static bool sample_parse_sessions(struct ctl_sample *sample, JsonObject *object)
{
	JsonNode *node = json_object_get_member(object, "sessions");
	JsonArray *array;

	if (!node || !JSON_NODE_HOLDS_ARRAY(node))
		return false;
	array = json_node_get_array(node);
	sample->count = json_array_get_length(array);
	sample->sessions = g_new0(struct ctl_session, sample->count);
	for (unsigned int i = 0; i < sample->count; i++)
		if (!sample_parse_session(json_array_get_element(array, i), &sample->sessions[i]))
			return false;
	/* Nothing to sort may be a null pointer. */
	if (sample->count)
		qsort(sample->sessions, sample->count, sizeof(*sample->sessions), sample_compare);
	return true;
}

static bool sample_fill(struct ctl_sample *sample)
{
	JsonObject *object;

	if (!sample->root || !JSON_NODE_HOLDS_OBJECT(sample->root))
		return false;
	object = json_node_get_object(sample->root);
	sample->version = sample_word(object, "version");
	sample->fabric = sample_word(object, "fabric");
	sample_numbers(sample_object(object, "totals"), sample->totals);
	return sample_parse_sessions(sample, object);
}

struct ctl_sample *sample_parse(const char *text, size_t length, GError **error)
{
	struct ctl_sample *sample = g_new0(struct ctl_sample, 1);
	JsonParser *parser = json_parser_new();
	GError *failure = NULL;

	sample->when_us = g_get_monotonic_time();
	if (json_parser_load_from_data(parser, text, length, &failure))
		sample->root = json_parser_steal_root(parser);
	g_object_unref(parser);
	if (!failure && sample_fill(sample))
		return sample;
	g_set_error(error, CTL_ERROR, CTL_FAILED, "the answer is not pvhcad's statistics%s%s",
		    failure ? ": " : "", failure ? failure->message : "");
	g_clear_error(&failure);
	sample_free(sample);
	return NULL;
}

void sample_free(struct ctl_sample *sample)
{
	if (!sample)
		return;
	if (sample->root)
		json_node_unref(sample->root);
	g_free(sample->sessions);
	g_free(sample);
}

static bool sample_has_name(const struct ctl_session *session, const char *vm)
{
	return !strcmp(session->name, vm);
}

static bool sample_has_uuid(const struct ctl_session *session, const char *vm)
{
	return !g_ascii_strcasecmp(session->uuid, vm);
}

static bool sample_has_id(const struct ctl_session *session, const char *vm)
{
	guint64 id;

	return g_ascii_string_to_unsigned(vm, 10, 0, G_MAXUINT64, &id, NULL) && session->id == id;
}

bool sample_select(struct ctl_sample *sample, const char *vm)
{
	static bool (*const ways[])(const struct ctl_session *, const char *) = {
		sample_has_name,
		sample_has_uuid,
		sample_has_id,
	};
	unsigned int kept = 0;

	/* "" is the name of those that have not said theirs. */
	if (!*vm)
		return false;
	for (size_t way = 0; way < G_N_ELEMENTS(ways) && !kept; way++)
		for (unsigned int i = 0; i < sample->count; i++)
			if (ways[way](&sample->sessions[i], vm))
				sample->sessions[kept++] = sample->sessions[i];
	if (kept)
		sample->count = kept;
	return kept;
}

const struct ctl_session *sample_find(const struct ctl_sample *sample, uint64_t id)
{
	struct ctl_session key = { .id = id };

	return sample->count ?
		bsearch(&key, sample->sessions, sample->count, sizeof(key), sample_compare) :
		NULL;
}
