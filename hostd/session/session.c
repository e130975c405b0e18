// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A session: its thread, its link to QEMU, and its life.
 *
 * The thread runs a GMainContext of its own with these sources: the link to QEMU, the
 * admin doorbell while enabled, the fabric's async events while enabled, and timers.
 * Each source handles a bounded number of things and comes back, so that a guest
 * that floods one does not keep the others away. All state is the thread's;
 * others reach it by vm_fail(), vm_retry_soon() and session_quit(), which leave a mark
 * and wake it.
 *
 * session/messages.c has what QEMU says, session/enable.c what the driver then has.
 */
#include <errno.h>
#include <glib-unix.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "session/private.h"
#include "vm/policy.h"

#define MESSAGES_PER_WAKE 16
#define HELLO_MS	  10000 /* who says nothing for that long goes */

static void session_end(struct session *session)
{
	atomic_store(&session->quit, true);
}

/* --------------------------------- sources --------------------------------- */

GSource *session_attach(struct session *session, GSource *source, GSourceFunc fn)
{
	g_source_set_callback(source, fn, session, NULL);
	/*
	 * No callback runs the context. Without this GLib takes the source's descriptor
	 * out of the poll for each call and wakes the thread up for it, twice.
	 */
	g_source_set_can_recurse(source, TRUE);
	g_source_attach(source, session->context);
	return source;
}

GSource *session_attach_fd(struct session *session, int fd, GIOCondition condition,
			   GUnixFDSourceFunc fn)
{
	return session_attach(session, g_unix_fd_source_new(fd, condition), G_SOURCE_FUNC(fn));
}

void session_detach(GSource **source)
{
	if (!*source)
		return;
	g_source_destroy(*source);
	g_source_unref(*source);
	*source = NULL;
}

/* ----------------------------- sending to QEMU ----------------------------- */

static gboolean session_on_writable(int fd, GIOCondition condition, void *arg)
{
	struct session *session = arg;

	(void)fd;
	(void)condition;
	if (link_flush(&session->link)) {
		session_end(session);
		return G_SOURCE_REMOVE;
	}
	if (!link_wants_write(&session->link))
		session_detach(&session->link_out);
	return session->link_out ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

void session_send(struct session *session, uint32_t type, const void *payload, uint32_t size)
{
	int ret = link_send(&session->link, type, payload, size);

	if (ret) {
		g_info("VM %s: cannot send to QEMU: %s", session->vm.name, g_strerror(-ret));
		session_end(session);
	} else if (link_wants_write(&session->link) && !session->link_out) {
		session->link_out =
			session_attach_fd(session, session->link.fd, G_IO_OUT, session_on_writable);
	}
}

void session_reply(struct session *session, uint32_t type, uint64_t id, uint32_t error)
{
	struct pvhca_link_reply reply = { .id = id, .error = error };

	session_send(session, type, &reply, sizeof(reply));
}

/* ---------------------------- receiving from it ---------------------------- */

static gboolean session_on_readable(int fd, GIOCondition condition, void *arg)
{
	struct session *session = arg;
	const char *reason;
	int ret;

	(void)fd;
	(void)condition;
	ret = link_receive(&session->link, MESSAGES_PER_WAKE, session_on_message, session, &reason);
	if (!ret)
		return G_SOURCE_CONTINUE;
	if (reason)
		session_refuse(session, "%s", reason);
	else
		g_info("VM %s: connection ends: %s", session->vm.name,
		       ret == -ECONNRESET ? "closed by QEMU" : g_strerror(-ret));
	session_end(session);
	return G_SOURCE_REMOVE;
}

static gboolean session_on_hello_timeout(void *arg)
{
	struct session *session = arg;

	g_warning("session %u: no HELLO within %u s", session->vm.id, HELLO_MS / 1000);
	session_end(session);
	return G_SOURCE_REMOVE;
}

/* ------------------------------ life and death ----------------------------- */

struct session *session_new(int fd, unsigned int id, const struct config *config,
			    const struct fabric_ops *ops, struct fabric *fabric)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session || vm_init(&session->vm, id, config, &session_thread_ops)) {
		free(session);
		close(fd);
		return NULL;
	}
	session->vm.ops = ops;
	session->vm.fabric = fabric;
	session->context = g_main_context_new();
	link_init(&session->link, fd);
	return session;
}

void session_run(struct session *session)
{
	g_main_context_push_thread_default(session->context);
	session->link_in = session_attach_fd(session, session->link.fd,
					     G_IO_IN | G_IO_HUP | G_IO_ERR, session_on_readable);
	session->hello_timer =
		session_attach(session, g_timeout_source_new(HELLO_MS), session_on_hello_timeout);
	while (!atomic_load(&session->quit))
		g_main_context_iteration(session->context, TRUE);
	session_detach(&session->hello_timer);
	session_detach(&session->link_in);
	session_detach(&session->link_out);
	session_tear_down(session);
	policy_release_mac(&session->vm);
	g_main_context_pop_thread_default(session->context);
	g_message("VM %s: session %u ended", session->vm.name, session->vm.id);
}

void session_quit(struct session *session)
{
	atomic_store(&session->quit, true);
	g_main_context_wakeup(session->context);
}

void session_free(struct session *session)
{
	link_fini(&session->link);
	g_main_context_unref(session->context);
	vm_fini(&session->vm);
	free(session);
}
