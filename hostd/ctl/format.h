/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers and names for people. All return a text to be freed with g_free(). */
#ifndef CTL_FORMAT_H
#define CTL_FORMAT_H

#include <stdint.h>

/* 12345, 123k, 1.23M: exact below 100000, then three digits and k, M, G, T, P, E. */
char *format_count(double number);
/* 512 B, 4.00 KiB, 64.0 GiB: powers of 1024. */
char *format_bytes(double bytes);
/* As format_count(), with a decimal below 10 where there is one. */
char *format_rate(double per_second);

/*
 * Names are what QEMU says: control characters would reach the terminal. They, and what is
 * not UTF-8, become question marks.
 */
char *format_printable(const char *text);

#endif
