/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What pvhcad told at one moment. A pvhcad of another version may tell more, which is kept
 * for --json, or less, which shows as unknown.
 */
#ifndef CTL_SAMPLE_H
#define CTL_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include <json-glib/json-glib.h>

#include "fields.h"

struct ctl_number {
	bool known;
	uint64_t value;
};

struct ctl_session {
	uint64_t id;
	const char *name; /* as told: not for terminals */
	const char *uuid; /* "": none */
	const char *state;
	const char *network; /* "": not told */
	struct ctl_number regions;
	struct ctl_number share, rate,
		message_rate; /* of bytes and requests a second; 0: no limit */
	struct ctl_number values[FIELDS];
	struct ctl_number quota[FIELDS];
	JsonObject *json;
};

struct ctl_sample {
	JsonNode *root;
	const char *version, *fabric;
	int64_t when_us; /* monotonic */
	unsigned int count;
	struct ctl_session *sessions; /* by id */
	struct ctl_number totals[FIELDS];
};

/* NULL with *error: the text is not what pvhcad tells. */
struct ctl_sample *sample_parse(const char *text, size_t length, GError **error);
void sample_free(struct ctl_sample *sample);

/*
 * Leave the sessions that vm names: by name, else by UUID, else by the number of the
 * session. False: there is none. A VM with several adapters has as many sessions.
 */
bool sample_select(struct ctl_sample *sample, const char *vm);
/* NULL: not there. */
const struct ctl_session *sample_find(const struct ctl_sample *sample, uint64_t id);

#endif
