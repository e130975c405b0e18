// SPDX-License-Identifier: GPL-2.0-or-later
/* pvhcactl stats [VM]: counters, to the digit. */
#include <stdio.h>

#include "client.h"
#include "ctl.h"
#include "output.h"

static void stats_table(const struct ctl_number numbers[FIELDS])
{
	struct columns *columns = columns_new("lrl", "COUNTER", "VALUE", "");

	for (int i = 0; i < FIELDS; i++) {
		if (fields[i].kind != FIELD_COUNTER)
			continue;
		columns_add(columns, fields[i].name);
		columns_take(columns, output_exact(&numbers[i]));
		columns_add(columns, fields[i].text);
	}
	output_columns(columns, "  ");
}

static void stats_sessions_text(const struct ctl_sample *sample)
{
	for (unsigned int i = 0; i < sample->count; i++) {
		char *name = output_name(&sample->sessions[i]);

		printf("%sVM %s, session %" G_GUINT64_FORMAT "\n", i ? "\n" : "", name,
		       sample->sessions[i].id);
		g_free(name);
		stats_table(sample->sessions[i].values);
	}
}

/* As pvhcad tells it; the totals are of all, so not with a VM. */
static void stats_json(const struct ctl_sample *sample, bool totals)
{
	JsonObject *object = json_node_get_object(sample->root);
	JsonBuilder *builder = json_builder_new();

	json_builder_begin_object(builder);
	output_sample(builder, sample);
	if (totals && json_object_has_member(object, "totals")) {
		json_builder_set_member_name(builder, "totals");
		json_builder_add_value(builder, json_object_dup_member(object, "totals"));
	}
	json_builder_end_object(builder);
	output_json(builder, true);
}

bool cmd_stats(const struct ctl_options *options, GError **error)
{
	struct ctl_sample *sample;

	sample = client_sample(options->socket, options->vm, error);
	if (!sample)
		return false;
	if (options->json) {
		stats_json(sample, !options->vm);
	} else if (options->vm) {
		stats_sessions_text(sample);
	} else {
		printf("All of %u session%s\n", sample->count, sample->count == 1 ? "" : "s");
		stats_table(sample->totals);
	}
	sample_free(sample);
	return true;
}
