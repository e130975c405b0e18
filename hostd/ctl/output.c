// SPDX-License-Identifier: GPL-2.0-or-later
#include "output.h"

#include <stdio.h>

#include "format.h"

void output_json(JsonBuilder *builder, bool pretty)
{
	JsonGenerator *generator = json_generator_new();
	JsonNode *root = json_builder_get_root(builder);
	char *text;

	json_generator_set_root(generator, root);
	json_generator_set_pretty(generator, pretty);
	text = json_generator_to_data(generator, NULL);
	puts(text);
	g_free(text);
	json_node_unref(root);
	g_object_unref(generator);
	g_object_unref(builder);
}

void output_sample(JsonBuilder *builder, const struct ctl_sample *sample)
{
	json_builder_set_member_name(builder, "version");
	json_builder_add_string_value(builder, sample->version);
	json_builder_set_member_name(builder, "fabric");
	json_builder_add_string_value(builder, sample->fabric);
	json_builder_set_member_name(builder, "sessions");
	json_builder_begin_array(builder);
	for (unsigned int i = 0; i < sample->count; i++) {
		JsonNode *node = json_node_new(JSON_NODE_OBJECT);

		json_node_set_object(node, sample->sessions[i].json);
		json_builder_add_value(builder, node);
	}
	json_builder_end_array(builder);
}

void output_columns(struct columns *columns, const char *indent)
{
	char *text = columns_text(columns, indent);

	fputs(text, stdout);
	g_free(text);
	columns_free(columns);
}

char *output_exact(const struct ctl_number *number)
{
	return number->known ? g_strdup_printf("%" G_GUINT64_FORMAT, number->value) : g_strdup("-");
}

char *output_short(const struct ctl_number *number, bool bytes)
{
	if (!number->known)
		return g_strdup("-");
	return bytes ? format_bytes(number->value) : format_count(number->value);
}

char *output_name(const struct ctl_session *session)
{
	return *session->name ? format_printable(session->name) : g_strdup("-");
}
