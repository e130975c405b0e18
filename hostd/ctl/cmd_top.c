// SPDX-License-Identifier: GPL-2.0-or-later
/* pvhcactl top: rates between this look and the one before, busiest first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client.h"
#include "ctl.h"
#include "format.h"
#include "output.h"
#include "rates.h"

#define TOP_CLEAR      "\033[H\033[2J"
#define TOP_HEAD_LINES 4 /* title, blank, titles, totals */

struct top_row {
	const struct ctl_session *session;
	struct rates rates;
};

struct top {
	const struct ctl_sample *sample;
	double seconds;
	struct top_row *rows;
	struct rates totals;
};

static const enum field_id top_fields[] = {
	FIELD_messages,
	FIELD_receives,
	FIELD_completions,
	FIELD_payload_bytes_sent,
	FIELD_payload_bytes_copied,
	FIELD_doorbells,
	FIELD_interrupts,
	FIELD_errors,
};

static double top_load(const struct rates *rates)
{
	return rates->values[FIELD_payload_bytes_sent] + rates->values[FIELD_payload_bytes_copied];
}

static int top_compare(const void *a, const void *b)
{
	const struct top_row *one = a, *other = b;
	double difference = top_load(&other->rates) - top_load(&one->rates);

	if (difference == 0)
		difference =
			other->rates.values[FIELD_messages] - one->rates.values[FIELD_messages];
	if (difference == 0)
		return (one->session->id > other->session->id) -
			(one->session->id < other->session->id);
	return difference < 0 ? -1 : 1;
}

static void top_fill(struct top *top, const struct ctl_sample *before, const struct ctl_sample *now)
{
	memset(top, 0, sizeof(*top));
	top->sample = now;
	top->seconds = (now->when_us - before->when_us) / 1e6;
	top->rows = g_new0(struct top_row, now->count);
	for (unsigned int i = 0; i < now->count; i++) {
		struct top_row *row = &top->rows[i];

		row->session = &now->sessions[i];
		rates_between(sample_find(before, row->session->id), row->session, top->seconds,
			      &row->rates);
		rates_sum(&top->totals, &row->rates);
	}
	if (now->count)
		qsort(top->rows, now->count, sizeof(*top->rows), top_compare);
}

/* ---------------------------------- text ----------------------------------- */

static void top_rates(struct columns *columns, const struct rates *rates,
		      const struct ctl_session *session)
{
	for (size_t i = 0; i < G_N_ELEMENTS(top_fields); i++) {
		enum field_id id = top_fields[i];
		double rate = rates->values[id];

		if (!rates->known || (session && !session->values[id].known))
			columns_add(columns, "-");
		else
			columns_take(columns,
				     field_is_bytes(id) ? format_bytes(rate) : format_rate(rate));
	}
}

/* Sessions that fit on the screen; all where there is none. */
static unsigned int top_rows_shown(const struct top *top)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) ||
	    size.ws_row <= TOP_HEAD_LINES + 1)
		return top->sample->count;
	return MIN(top->sample->count, (unsigned int)size.ws_row - TOP_HEAD_LINES - 1);
}

static void top_text(const struct top *top, bool first)
{
	struct columns *columns = columns_new("rllrrrrrrrrr", "ID", "VM", "STATE", "QPS", "MSG/s",
					      "RECV/s", "COMPL/s", "SENT/s", "COPIED/s", "EXIT/s",
					      "INTR/s", "ERR/s");
	unsigned int shown = top_rows_shown(top);

	fputs(isatty(STDOUT_FILENO) ? TOP_CLEAR : first ? "" : "\n", stdout);
	printf("pvhcad %s, fabric %s: %u session%s, rates over %.1f s\n\n", top->sample->version,
	       top->sample->fabric, top->sample->count, top->sample->count == 1 ? "" : "s",
	       top->seconds);
	for (unsigned int i = 0; i < shown; i++) {
		const struct ctl_session *session = top->rows[i].session;

		columns_take(columns, g_strdup_printf("%" G_GUINT64_FORMAT, session->id));
		columns_take(columns, output_name(session));
		columns_take(columns, format_printable(session->state));
		columns_take(columns, output_short(&session->values[FIELD_qps], false));
		top_rates(columns, &top->rows[i].rates, session);
	}
	columns_add(columns, "");
	columns_add(columns, "all");
	columns_add(columns, "");
	columns_take(columns, output_short(&top->sample->totals[FIELD_qps], false));
	top_rates(columns, &top->totals, NULL);
	output_columns(columns, "");
}

/* ---------------------------------- JSON ----------------------------------- */

static void top_json_rates(JsonBuilder *builder, const struct rates *rates)
{
	json_builder_set_member_name(builder, "rates");
	if (!rates->known) {
		json_builder_add_null_value(builder);
		return;
	}
	json_builder_begin_object(builder);
	for (int i = 0; i < FIELDS; i++) {
		if (fields[i].kind != FIELD_COUNTER)
			continue;
		json_builder_set_member_name(builder, fields[i].name);
		json_builder_add_double_value(builder, rates->values[i]);
	}
	json_builder_end_object(builder);
}

static void top_json_session(JsonBuilder *builder, const struct top_row *row)
{
	json_builder_begin_object(builder);
	json_builder_set_member_name(builder, "id");
	json_builder_add_int_value(builder, row->session->id);
	json_builder_set_member_name(builder, "name");
	json_builder_add_string_value(builder, row->session->name);
	json_builder_set_member_name(builder, "state");
	json_builder_add_string_value(builder, row->session->state);
	for (int i = 0; i < FIELDS; i++) {
		if (fields[i].kind == FIELD_COUNTER || !row->session->values[i].known)
			continue;
		json_builder_set_member_name(builder, fields[i].name);
		json_builder_add_int_value(builder, row->session->values[i].value);
	}
	top_json_rates(builder, &row->rates);
	json_builder_end_object(builder);
}

/* One line each, for readers that take line by line. */
static void top_json(const struct top *top)
{
	JsonBuilder *builder = json_builder_new();

	json_builder_begin_object(builder);
	json_builder_set_member_name(builder, "time");
	json_builder_add_double_value(builder, g_get_real_time() / 1e6);
	json_builder_set_member_name(builder, "seconds");
	json_builder_add_double_value(builder, top->seconds);
	json_builder_set_member_name(builder, "sessions");
	json_builder_begin_array(builder);
	for (unsigned int i = 0; i < top->sample->count; i++)
		top_json_session(builder, &top->rows[i]);
	json_builder_end_array(builder);
	json_builder_set_member_name(builder, "totals");
	json_builder_begin_object(builder);
	json_builder_set_member_name(builder, "sessions");
	json_builder_add_int_value(builder, top->sample->count);
	top_json_rates(builder, &top->totals);
	json_builder_end_object(builder);
	json_builder_end_object(builder);
	output_json(builder, false);
}

bool cmd_top(const struct ctl_options *options, GError **error)
{
	struct ctl_sample *before, *now;
	struct top top;

	before = client_sample(options->socket, NULL, error);
	for (int i = 0; before && (!options->count || i < options->count); i++) {
		g_usleep(options->interval * G_USEC_PER_SEC);
		now = client_sample(options->socket, NULL, error);
		if (now) {
			top_fill(&top, before, now);
			if (options->json)
				top_json(&top);
			else
				top_text(&top, !i);
			g_free(top.rows);
			fflush(stdout);
		}
		sample_free(before);
		before = now;
	}
	if (!before)
		return false;
	sample_free(before);
	return true;
}
