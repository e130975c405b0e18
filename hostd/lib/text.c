// SPDX-License-Identifier: GPL-2.0-or-later
#include "lib/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_ROOM 4096u

/* Room for so many bytes and the 0 at the end. */
static bool text_make_room(struct text *text, size_t more)
{
	size_t room = text->room ? text->room : FIRST_ROOM;
	char *data;

	while (room - text->length <= more)
		room *= 2;
	if (room == text->room)
		return true;
	data = realloc(text->data, room);
	if (!data)
		return false;
	text->data = data;
	text->room = room;
	return true;
}

void text_add(struct text *text, const char *format, ...)
{
	va_list args;
	int n;

	if (text->failed)
		return;
	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	text->failed = n < 0 || !text_make_room(text, n);
	if (text->failed)
		return;
	va_start(args, format);
	vsnprintf(text->data + text->length, n + 1, format, args);
	va_end(args);
	text->length += n;
}

char *text_end(struct text *text, size_t *length)
{
	char *data = text->data;

	*length = text->length;
	if (text->failed) {
		free(data);
		data = NULL;
	}
	*text = (struct text){ 0 };
	return data;
}
