/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A false socket to a false pvhcad, for the device's core. */
#ifndef CORE_RIG_H
#define CORE_RIG_H

#include "pvhca-device.h"

#define RIG_BYTES (4u << 20)

/* What the core has sent, and how the socket behaves. */
struct rig {
	PvhcaClient *client; /* set by the test */
	uint8_t *bytes;	     /* RIG_BYTES */
	size_t len;
	size_t taken;	      /* of len, by rig_take() */
	unsigned int num_fds; /* that went with messages */
	size_t room;	      /* bytes that the socket takes until it is full */
	bool fails;	      /* writes end with EPIPE */
	bool closes_in_write; /* the end is reported from inside a write */
	bool waits;	      /* wait_writable(true) is in effect */
	unsigned int disconnects;
	unsigned int warnings;
	char warning[512]; /* the last */
	unsigned int interrupts;
};

extern const PvhcaTransport rig_transport;

void rig_init(struct rig *rig, PvhcaClient *client);
void rig_fini(struct rig *rig);
void rig_raise(void *opaque);

/* Eventfds and numbers that a home would fill in. */
void rig_identify(PvhcaIdentity *identity, unsigned int vectors, unsigned int doorbells);
void rig_forget(PvhcaIdentity *identity);

/* The next whole message that was sent: its header; the payload to @payload. */
struct pvhca_link_header rig_take(struct rig *rig, void *payload, size_t size);
bool rig_quiet(const struct rig *rig);

/* pvhcad says. */
void rig_say(struct rig *rig, uint32_t type, const void *payload, size_t size);
void rig_hello(struct rig *rig, uint16_t major, uint32_t refused, const char *version);
void rig_hello_minor(struct rig *rig, uint16_t major, uint16_t minor, uint32_t refused,
		     const char *version);
void rig_reply(struct rig *rig, uint32_t type, uint64_t id, uint32_t error);

/* Take the HELLO, accept it, and take what begins the session. */
void rig_accept(struct rig *rig);

/* How many descriptors this process has. */
unsigned int rig_count_fds(void);

#endif
