/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counters for Prometheus: GET /metrics on a unix socket or a port of the loopback
 * interface. All in the main thread.
 */
#ifndef HOSTD_STATS_METRICS_H
#define HOSTD_STATS_METRICS_H

#include <stdbool.h>
#include <stddef.h>

struct listener_access;
struct metrics;

/* The exposition (format 0.0.4), of *length bytes; to be freed with free(3). NULL: no memory. */
char *metrics_text(const char *fabric, size_t *length);

/*
 * The HTTP status of the answer to a request that begins with these bytes, or 0 while
 * the end of the header is missing. *head: the answer has no body.
 */
unsigned int metrics_request(const char *data, size_t length, bool *head);

/*
 * Listen at address (valid for metrics_address_parse()); access: of a unix socket. NULL with *error a
 * negative errno, as listener_open().
 */
struct metrics *metrics_open(const char *address, const struct listener_access *access,
			     const char *fabric, int *error);
void metrics_close(struct metrics *metrics);

#endif
