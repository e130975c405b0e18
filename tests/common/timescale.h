/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time limits of test programs, for the machine they run on: timescale.py tells how it is measured. */
#ifndef PVHCA_TEST_TIMESCALE_H
#define PVHCA_TEST_TIMESCALE_H

#include <stdlib.h>

#define TIMESCALE_VARIABLE "PVHCA_TIMEOUT_SCALE"

/* A limit that is wide enough on the reference, in whatever unit, made longer where the machine is slower. */
static inline unsigned int scaled(unsigned int limit)
{
	const char *text = getenv(TIMESCALE_VARIABLE);
	double factor = text ? strtod(text, NULL) : 1;

	return factor > 1 ? (unsigned int)(limit * factor + 0.5) : limit;
}

#endif
