// SPDX-License-Identifier: GPL-2.0-or-later
#include "fields.h"

#include <string.h>

#define FIELD_ENTRY(id, what, of) [FIELD_##id] = { .name = #id, .text = what, .kind = of },
#define COUNTER_ENTRY(name, text) FIELD_ENTRY(name, text, FIELD_COUNTER)
#define OBJECT_ENTRY(name, text)  FIELD_ENTRY(name, text, FIELD_OBJECT)
#define AMOUNT_ENTRY(name, text)  FIELD_ENTRY(name, text, FIELD_AMOUNT)

const struct field fields[FIELDS] = { COUNTERS(COUNTER_ENTRY) OBJECTS(OBJECT_ENTRY)
					      AMOUNTS(AMOUNT_ENTRY) };

bool field_is_bytes(enum field_id id)
{
	return strstr(fields[id].name, "bytes");
}
