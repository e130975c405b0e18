/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where counters are served to Prometheus: a unix socket or a port of the loopback interface. */
#ifndef HOSTD_LIB_METRICS_ADDRESS_H
#define HOSTD_LIB_METRICS_ADDRESS_H

#include <sys/socket.h>

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
 * "/PATH", "127.0.0.1:PORT" (or another of 127.0.0.0/8) or "[::1]:PORT". Returns NULL,
 * or a phrase that tells the error and follows text in a sentence. address->path is
 * text itself.
 */
const char *metrics_address_parse(const char *text, struct metrics_address *address);

#endif
