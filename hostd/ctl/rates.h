/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Per second, from two samples. */
#ifndef CTL_RATES_H
#define CTL_RATES_H

#include "sample.h"

/* Of counters only; per second. */
struct rates {
	bool known;
	double values[FIELDS];
};

/*
 * Unknown where there is nothing to compare: before is NULL, is another session (pvhcad
 * was started anew and counts sessions from 1), or no time passed.
 */
void rates_between(const struct ctl_session *before, const struct ctl_session *now, double seconds,
		   struct rates *rates);
/* Adds what is known. */
void rates_sum(struct rates *to, const struct rates *from);

#endif
