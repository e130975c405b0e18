/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A text that grows as it is written. Without memory it fails, and the process goes on. */
#ifndef HOSTD_LIB_TEXT_H
#define HOSTD_LIB_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/**
 * struct text - all 0: empty
 * @data: ends with a 0, or NULL
 * @failed: there was no memory; what is added is dropped
 */
struct text {
	char *data;
	size_t length, room;
	bool failed;
};

void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What was written, to be freed with free(3); NULL: it failed. The text is empty then. */
char *text_end(struct text *text, size_t *length);

#endif
