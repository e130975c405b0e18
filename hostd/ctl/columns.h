/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A table as wide as what is in it. */
#ifndef CTL_COLUMNS_H
#define CTL_COLUMNS_H

#include <glib.h>

struct columns;

/* align: 'l' or 'r' per column; then as many titles. */
struct columns *columns_new(const char *align, ...);
/* The next cell of the row, or the first of the next row; takes text over. */
void columns_take(struct columns *columns, char *text);
void columns_add(struct columns *columns, const char *text);
/* Titles and rows, each line after indent; the last row must be full. */
char *columns_text(const struct columns *columns, const char *indent);
void columns_free(struct columns *columns);

#endif
