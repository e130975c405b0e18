// SPDX-License-Identifier: GPL-2.0-or-later
#include "format.h"

#include <glib.h>

#define FORMAT_EXACT 99999.5 /* from here on digits are left out */

/*
 * Three digits of number, which is divided by base until it is below it; unit: how often.
 * Rounding may lead to base itself (999.7): that is the next unit's 1.
 */
static char *format_scaled(double number, double base, unsigned int most, unsigned int *unit)
{
	for (*unit = 0; number >= base - 0.5 && *unit < most; ++*unit)
		number /= base;
	return g_strdup_printf("%.*f", number < 9.995 ? 2 : number < 99.95 ? 1 : 0, number);
}

char *format_count(double number)
{
	static const char units[] = "\0kMGTPE";
	unsigned int unit;
	char *digits, *text;

	if (number < FORMAT_EXACT)
		return g_strdup_printf("%.0f", number);
	digits = format_scaled(number, 1000, sizeof(units) - 2, &unit);
	text = g_strdup_printf("%s%c", digits, units[unit]);
	g_free(digits);
	return text;
}

char *format_bytes(double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned int unit;
	char *digits, *text;

	if (bytes < 1023.5)
		return g_strdup_printf("%.0f B", bytes);
	digits = format_scaled(bytes, 1024, G_N_ELEMENTS(units) - 1, &unit);
	text = g_strdup_printf("%s %s", digits, units[unit]);
	g_free(digits);
	return text;
}

char *format_rate(double per_second)
{
	if (per_second > 0 && per_second < 9.95)
		return g_strdup_printf("%.1f", per_second);
	return format_count(per_second);
}

char *format_printable(const char *text)
{
	GString *to = g_string_new(NULL);

	while (*text) {
		gunichar c = g_utf8_get_char_validated(text, -1);

		if (c == (gunichar)-1 || c == (gunichar)-2) {
			g_string_append_c(to, '?');
			text++;
			continue;
		}
		if (g_unichar_isprint(c))
			g_string_append_unichar(to, c);
		else
			g_string_append_c(to, '?');
		text = g_utf8_next_char(text);
	}
	return g_string_free(to, FALSE);
}
