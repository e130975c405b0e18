/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What pvhcad tells of each session, numbered, from the lists of counters.h. */
#ifndef CTL_FIELDS_H
#define CTL_FIELDS_H

#include <stdbool.h>

#include "lib/counters.h"

enum field_id {
#define FIELD_ID(name, text) FIELD_##name,
	COUNTERS(FIELD_ID) OBJECTS(FIELD_ID) AMOUNTS(FIELD_ID)
#undef FIELD_ID
		FIELDS,
};

enum field_kind {
	FIELD_COUNTER, /* only grows */
	FIELD_OBJECT,  /* as of now, with a quota */
	FIELD_AMOUNT,  /* as of now */
};

struct field {
	const char *name; /* in pvhcad's JSON */
	const char *text;
	enum field_kind kind;
};

extern const struct field fields[FIELDS];

/* Its name says so. */
bool field_is_bytes(enum field_id id);

#endif
