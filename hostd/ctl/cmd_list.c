// SPDX-License-Identifier: GPL-2.0-or-later
/* pvhcactl list: who is there. */
#include <stdio.h>

#include "client.h"
#include "ctl.h"
#include "format.h"
#include "output.h"

static const enum field_id list_fields[] = {
	FIELD_contexts, FIELD_mrs, FIELD_cqs, FIELD_qps, FIELD_pinned_bytes,
};

/* For scripts and completion. */
static void list_names(const struct ctl_sample *sample)
{
	for (unsigned int i = 0; i < sample->count; i++) {
		char *name;

		if (!*sample->sessions[i].name)
			continue;
		name = output_name(&sample->sessions[i]);
		puts(name);
		g_free(name);
	}
}

static void list_table(const struct ctl_sample *sample)
{
	struct columns *columns = columns_new("rlllrrrrr", "ID", "VM", "STATE", "UUID", "CONTEXTS",
					      "MRS", "CQS", "QPS", "REGISTERED");

	for (unsigned int i = 0; i < sample->count; i++) {
		const struct ctl_session *session = &sample->sessions[i];

		columns_take(columns, g_strdup_printf("%" G_GUINT64_FORMAT, session->id));
		columns_take(columns, output_name(session));
		columns_take(columns, format_printable(session->state));
		columns_take(columns,
			     *session->uuid ? format_printable(session->uuid) : g_strdup("-"));
		for (size_t j = 0; j < G_N_ELEMENTS(list_fields); j++)
			columns_take(columns,
				     output_short(&session->values[list_fields[j]],
						  field_is_bytes(list_fields[j])));
	}
	output_columns(columns, "");
}

/* Who they are and what they have; counters are for stats. */
static void list_json(const struct ctl_sample *sample)
{
	JsonBuilder *builder = json_builder_new();

	for (unsigned int i = 0; i < sample->count; i++)
		for (int j = 0; j < FIELDS; j++)
			if (fields[j].kind == FIELD_COUNTER)
				json_object_remove_member(sample->sessions[i].json, fields[j].name);
	json_builder_begin_object(builder);
	output_sample(builder, sample);
	json_builder_end_object(builder);
	output_json(builder, true);
}

bool cmd_list(const struct ctl_options *options, GError **error)
{
	struct ctl_sample *sample;

	sample = client_sample(options->socket, NULL, error);
	if (!sample)
		return false;
	if (options->json)
		list_json(sample);
	else if (options->names)
		list_names(sample);
	else
		list_table(sample);
	sample_free(sample);
	return true;
}
