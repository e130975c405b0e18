// SPDX-License-Identifier: GPL-2.0-or-later
/* pvhcactl show VM: what it is and what it has, beside its quotas. */
#include <stdio.h>

#include "client.h"
#include "ctl.h"
#include "format.h"
#include "output.h"

static void show_line(const char *title, char *text)
{
	printf("  %-12s  %s\n", title, text);
	g_free(text);
}

/* Quotas of bytes are so large that only the short form can be read. */
static char *show_number(const struct ctl_number *number, enum field_id id)
{
	return field_is_bytes(id) ? output_short(number, true) : output_exact(number);
}

static void show_objects(const struct ctl_session *session)
{
	struct columns *columns = columns_new("lrrl", "OBJECTS", "NOW", "QUOTA", "");

	for (int i = 0; i < FIELDS; i++) {
		if (fields[i].kind == FIELD_COUNTER)
			continue;
		columns_add(columns, fields[i].name);
		columns_take(columns, show_number(&session->values[i], i));
		columns_take(columns,
			     fields[i].kind == FIELD_OBJECT ? show_number(&session->quota[i], i) :
							      g_strdup("-"));
		columns_add(columns, fields[i].text);
	}
	output_columns(columns, "  ");
}

/* A limit of so many a second. */
static char *show_rate(const struct ctl_number *rate, bool bytes)
{
	char *number, *text;

	if (rate->known && !rate->value)
		return g_strdup("no limit");
	number = output_short(rate, bytes);
	text = g_strdup_printf("%s a second", number);
	g_free(number);
	return text;
}

static void show_session(const struct ctl_session *session)
{
	char *name = output_name(session);

	printf("VM %s\n", name);
	g_free(name);
	show_line("session", g_strdup_printf("%" G_GUINT64_FORMAT, session->id));
	show_line("UUID", *session->uuid ? format_printable(session->uuid) : g_strdup("-"));
	show_line("state", format_printable(session->state));
	show_line("network",
		  *session->network ? format_printable(session->network) : g_strdup("-"));
	show_line("guest memory",
		  session->regions.known ? g_strdup_printf("%" G_GUINT64_FORMAT " region%s passed",
							   session->regions.value,
							   session->regions.value == 1 ? "" : "s") :
					   g_strdup("-"));
	show_line("share", output_exact(&session->share));
	show_line("rate", show_rate(&session->rate, true));
	show_line("message rate", show_rate(&session->message_rate, false));
	putchar('\n');
	show_objects(session);
}

bool cmd_show(const struct ctl_options *options, GError **error)
{
	struct ctl_sample *sample;

	sample = client_sample(options->socket, options->vm, error);
	if (!sample)
		return false;
	if (options->json) {
		JsonBuilder *builder = json_builder_new();

		json_builder_begin_object(builder);
		output_sample(builder, sample);
		json_builder_end_object(builder);
		output_json(builder, true);
	} else {
		for (unsigned int i = 0; i < sample->count; i++) {
			if (i)
				putchar('\n');
			show_session(&sample->sessions[i]);
		}
	}
	sample_free(sample);
	return true;
}
