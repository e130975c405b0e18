/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Framing of the link to QEMU (pvhca-link.h): whole, well-formed messages with
 * their descriptors, over a non-blocking stream socket.
 */
#ifndef HOSTD_SESSION_LINK_H
#define HOSTD_SESSION_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pvhca-link.h"

#define LINK_OUT_SIZE 8192 /* bytes kept for a peer that does not read */

/* A message received. A handler that keeps a descriptor puts -1 in its place. */
struct link_message {
	uint32_t type;
	uint32_t size;
	unsigned int num_fds;
	int fds[PVHCA_LINK_MAX_FDS];
	union {
		uint8_t raw[PVHCA_LINK_MAX_PAYLOAD];
		struct pvhca_link_hello hello;
		struct pvhca_link_event_fds event_fds;
		struct pvhca_link_mem mem;
		struct pvhca_link_enable enable;
		struct pvhca_link_reset reset;
	};
};

struct link {
	int fd; /* owned */
	struct pvhca_link_header header;
	size_t have;		     /* bytes of header and payload received */
	struct link_message message; /* being received */
	size_t out_used;
	uint8_t out[LINK_OUT_SIZE];
};

/*
 * Descriptors from outside are only taken below this number, so that above it some are
 * left for the daemon itself: GLib aborts where it cannot make its own. Once, at start.
 */
void link_limit_fds(int limit);
bool link_fd_fits(int fd);

/* Takes the socket over and makes it non-blocking. */
void link_init(struct link *link, int fd);
/* Closes it, and descriptors of a message that was not complete. */
void link_fini(struct link *link);

/*
 * Receive up to max messages and call handler for each. Descriptors that the handler
 * leaves are closed. Returns 0 when nothing more is there or max is reached;
 * -ECONNRESET at the end of the stream; -EPROTO for what is not a message, with *reason set;
 * another negative errno of recvmsg(2), or what the handler returned if not 0.
 * After an error the link is of no use.
 */
int link_receive(struct link *link, unsigned int max,
		 int (*handler)(void *arg, struct link_message *message), void *arg,
		 const char **reason);

/*
 * Send or keep a message. -ENOBUFS when the peer does not read, or a negative errno.
 */
int link_send(struct link *link, uint32_t type, const void *payload, uint32_t size);
/* Send what is kept, as far as it goes: 0 or a negative errno. */
int link_flush(struct link *link);
static inline bool link_wants_write(const struct link *link)
{
	return link->out_used;
}

#endif
