/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command lines of the programs here have in common. */
#ifndef TESTS_RING_OPTIONS_H
#define TESTS_RING_OPTIONS_H

#include <stdio.h>
#include <stdlib.h>

/* An option's number, from 1 to max; for anything else the usage, and exit status 2. */
static inline unsigned int option_number(const char *text, unsigned int max, void (*usage)(FILE *))
{
	unsigned long value = strtoul(text, NULL, 0);

	if (!value || value > max) {
		usage(stderr);
		exit(2);
	}
	return value;
}

#endif
