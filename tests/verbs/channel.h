/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way beside RDMA: a TCP connection between the two processes of a test, to
 * exchange QP numbers and keys and to keep step. Both ends are the same program;
 * what is exchanged are its structs, between machines of one byte order.
 */
#ifndef PVHCA_TEST_CHANNEL_H
#define PVHCA_TEST_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

#define CHANNEL_DEFAULT_PORT "18600"

struct channel {
	int fd;
	bool server;
};

/* Connect to host, trying for a minute; with NULL wait for the peer to connect. */
void channel_open(struct channel *c, const char *host, const char *port);
void channel_close(struct channel *c);

/* These end the program when the peer has gone. */
void channel_send(struct channel *c, const void *data, size_t length);
void channel_receive(struct channel *c, void *data, size_t length);
/* Swap small (some KiB) pieces of the same size. */
void channel_exchange(struct channel *c, const void *mine, void *theirs, size_t length);
/* Return once both ends are here; both must name the same place. */
void channel_barrier(struct channel *c, unsigned int place);

/* False when the peer has closed its end or died. */
bool channel_alive(struct channel *c);

/*
 * Both ends in one go: fork, so that the child serves and the parent is its
 * client. In the parent channel_join_child() returns the child's exit status.
 * Before any device is opened.
 */
const char *channel_fork(void);
int channel_join_child(void);

#endif
