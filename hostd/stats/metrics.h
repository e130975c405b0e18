/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counters for Prometheus: GET /metrics on a unix socket or a port of the loopback
 * interface. All in the main thread.
 */
#ifndef HOSTD_STATS_METRICS_H
#define HOSTD_STATS_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct metrics;

/**
 * struct metrics_address - where to listen
 * @path: of a unix socket; NULL: inet
 * @inet, @length: a loopback address with its port
 */
struct metrics_address {
	const char *path;
	struct sockaddr_storage inet;
	socklen_t length;
};

/*
 * "/PATH", "127.0.0.1:PORT" (or another of 127.0.0.0/8) or "[::1]:PORT". NULL, or
 * what is wrong with text, to follow it in a sentence. address->path is text itself.
 */
const char *metrics_address_parse(const char *text, struct metrics_address *address);

/* The exposition (format 0.0.4), of *length bytes; to be freed with g_free(). */
char *metrics_text(const char *fabric, size_t *length);

/*
 * What to answer to the first bytes of a request: an HTTP status, or 0 as long as
 * the end of the header is not there. *head: the answer has no body.
 */
unsigned int metrics_request(const char *data, size_t length, bool *head);

/*
 * Listen at address (as above, right); mode: of a unix socket. NULL with *error a
 * negative errno, as listener_open().
 */
struct metrics *metrics_open(const char *address, unsigned int mode, const char *fabric,
			     int *error);
void metrics_close(struct metrics *metrics);

#endif
