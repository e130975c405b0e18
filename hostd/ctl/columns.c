// SPDX-License-Identifier: GPL-2.0-or-later
#include "columns.h"

#include <stdarg.h>
#include <string.h>

struct columns {
	char *align;
	unsigned int count;
	GPtrArray *cells; /* row by row, titles first */
};

struct columns *columns_new(const char *align, ...)
{
	struct columns *columns = g_new0(struct columns, 1);
	va_list titles;

	columns->align = g_strdup(align);
	columns->count = strlen(align);
	columns->cells = g_ptr_array_new_with_free_func(g_free);
	va_start(titles, align);
	for (unsigned int i = 0; i < columns->count; i++)
		columns_add(columns, va_arg(titles, const char *));
	va_end(titles);
	return columns;
}

void columns_take(struct columns *columns, char *text)
{
	g_ptr_array_add(columns->cells, text);
}

void columns_add(struct columns *columns, const char *text)
{
	columns_take(columns, g_strdup(text));
}

static glong columns_width(const struct columns *columns, unsigned int column)
{
	glong width = 0;

	for (guint i = column; i < columns->cells->len; i += columns->count)
		width = MAX(width, g_utf8_strlen(columns->cells->pdata[i], -1));
	return width;
}

static void columns_pad(GString *text, glong spaces)
{
	while (spaces-- > 0)
		g_string_append_c(text, ' ');
}

static void columns_line(const struct columns *columns, const glong *widths, guint first,
			 GString *text)
{
	glong owed = 0; /* spaces, left out at the end of the line */

	for (unsigned int i = 0; i < columns->count; i++) {
		const char *cell = columns->cells->pdata[first + i];
		glong space = widths[i] - g_utf8_strlen(cell, -1);

		if (columns->align[i] == 'r')
			owed += space;
		if (*cell) {
			columns_pad(text, owed);
			g_string_append(text, cell);
			owed = 0;
		} else if (columns->align[i] == 'r') {
			space = 0;
		}
		owed += 2 + (columns->align[i] == 'r' ? 0 : space);
	}
	g_string_append_c(text, '\n');
}

char *columns_text(const struct columns *columns, const char *indent)
{
	glong *widths = g_new(glong, columns->count);
	GString *text = g_string_new(NULL);

	for (unsigned int i = 0; i < columns->count; i++)
		widths[i] = columns_width(columns, i);
	for (guint i = 0; i < columns->cells->len; i += columns->count) {
		g_string_append(text, indent);
		columns_line(columns, widths, i, text);
	}
	g_free(widths);
	return g_string_free(text, FALSE);
}

void columns_free(struct columns *columns)
{
	g_ptr_array_free(columns->cells, TRUE);
	g_free(columns->align);
	g_free(columns);
}
