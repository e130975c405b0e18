/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a session share. All of it is the session's thread's. */
#ifndef HOSTD_SESSION_PRIVATE_H
#define HOSTD_SESSION_PRIVATE_H

#include <glib-unix.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "session/link.h"
#include "session/session.h"
#include "vm/vm.h"

/**
 * struct session - a VM with its link and its thread
 * @vm: the VM; all other rooms know this part only
 * @link_out: while something waits to be sent
 * @on_doorbell, @on_async: while enabled; the latter if the fabric has a descriptor
 * @on_more: while more commands are there
 */
struct session {
	struct vm vm;
	struct link link;
	GMainContext *context;
	GSource *link_in;
	GSource *link_out;
	GSource *hello_timer;
	GSource *on_doorbell;
	GSource *on_more;
	GSource *on_async;
	_Atomic bool quit;
};

/* -------------------------------- session/session.c -------------------------------- */

/* A source of the thread's that calls fn; the caller's reference. */
GSource *session_attach(struct session *session, GSource *source, GSourceFunc fn);
GSource *session_attach_fd(struct session *session, int fd, GIOCondition condition,
			   GUnixFDSourceFunc fn);
/* Ends *source, drops the reference and forgets it; NULL: nothing. */
void session_detach(GSource **source);

/* To QEMU; what it does not take at once waits. A failure ends the session. */
void session_send(struct session *session, uint32_t type, const void *payload, uint32_t size);
void session_reply(struct session *session, uint32_t type, uint64_t id, uint32_t error);

/* ---------------------------- session/messages.c --------------------------- */

/* For link_receive(). Returns 0, or a negative errno to close the connection. */
int session_on_message(void *arg, struct link_message *message);
/* A protocol error of QEMU's: logged here. Returns -EPROTO: close the connection. */
int session_refuse(struct session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ----------------------------- session/enable.c ---------------------------- */

extern const struct vm_thread_ops session_thread_ops;

/* Returns an enum pvhca_dev_error. gpa: of the admin queue's page. */
uint32_t session_enable(struct session *session, uint64_t gpa);
/* Give back all that came with ENABLE and after; nothing if it is not enabled. */
void session_tear_down(struct session *session);

#endif
