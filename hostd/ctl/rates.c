// SPDX-License-Identifier: GPL-2.0-or-later
#include "rates.h"

#include <string.h>

/* Counters of one session never fall. */
static bool rates_is_same(const struct ctl_session *before, const struct ctl_session *now)
{
	if (strcmp(before->name, now->name) || strcmp(before->uuid, now->uuid))
		return false;
	for (int i = 0; i < FIELDS; i++)
		if (fields[i].kind == FIELD_COUNTER &&
		    now->values[i].value < before->values[i].value)
			return false;
	return true;
}

void rates_between(const struct ctl_session *before, const struct ctl_session *now, double seconds,
		   struct rates *rates)
{
	memset(rates, 0, sizeof(*rates));
	if (!before || !(seconds > 0) || !rates_is_same(before, now))
		return;
	rates->known = true;
	for (int i = 0; i < FIELDS; i++)
		if (fields[i].kind == FIELD_COUNTER)
			rates->values[i] =
				(now->values[i].value - before->values[i].value) / seconds;
}

void rates_sum(struct rates *to, const struct rates *from)
{
	if (!from->known)
		return;
	to->known = true;
	for (int i = 0; i < FIELDS; i++)
		to->values[i] += from->values[i];
}
