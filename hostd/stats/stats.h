/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Statistics: a connection to the statistics socket gets one JSON text and the end of
 * the stream. All in the main thread.
 */
#ifndef HOSTD_STATS_STATS_H
#define HOSTD_STATS_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/address.h"
#include "config/config.h"
#include "lib/counters.h"

struct stats_values {
#define STATS_FIELD(name, text) uint64_t name;
	COUNTERS(STATS_FIELD)
	OBJECTS(STATS_FIELD)
	AMOUNTS(STATS_FIELD)
#undef STATS_FIELD
};

/**
 * struct stats_session - one session at a moment
 * @greeted: HELLO came; without it, all but id, state and regions are empty
 * @uuid: empty: none
 */
struct stats_session {
	unsigned int id;
	bool greeted;
	char name[64];
	char uuid[UUID_TEXT];
	const char *state;
	const char *network; /* its name; NULL: not greeted */
	uint64_t regions;
	uint64_t share, rate, message_rate; /* struct vm_schedule */
	struct quota quota;
	struct stats_values values;
};

/* All sessions; to be freed with free(3). NULL: no memory. */
struct stats_session *stats_sessions(unsigned int *count);

/* The text, of *length bytes; likewise. */
char *stats_text(const char *fabric, size_t *length);

/* Before the first connection: 0 or a negative errno. */
int stats_start(void);

/* A connection; takes fd over. It is closed when it took all, or after a while; at once where
 * there is no memory. */
void stats_accept(int fd, const char *fabric);
/* Close those that are still there. */
void stats_stop(void);

#endif
