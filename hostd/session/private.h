/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of this room. The session's thread calls these functions, unless they say otherwise. */
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

/* NULL: no memory; fd is closed then. */
struct session *session_new(int fd, unsigned int id, const struct config *config,
			    const struct fabric_ops *ops, struct fabric *fabric);
/* The session's thread: serves until the link closes or session_quit(). */
void session_run(struct session *session);
void session_quit(struct session *session);
void session_check_memory(struct session *session);
/* When its thread has ended. */
void session_free(struct session *session);

/* A source of the thread's that calls fn; the caller's reference. */
GSource *session_attach(struct session *session, GSource *source, GSourceFunc fn);
GSource *session_attach_fd(struct session *session, int fd, GIOCondition condition,
			   GUnixFDSourceFunc fn);
/* Ends *source, drops the reference and forgets it; NULL: nothing. */
void session_detach(GSource **source);

/* Send to QEMU. Bytes that it does not take at once wait. A failure ends the session. */
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
