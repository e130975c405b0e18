// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A session: its thread, its link to QEMU, and its life.
 *
 * The thread runs a GMainContext of its own with these sources: the link to QEMU, the
 * admin doorbell while enabled, the fabric's async events while enabled, and timers.
 * Each source handles a bounded number of things and comes back, so that a guest
 * that floods one does not keep the others away. All state is the thread's;
 * others reach it by session_fail(), session_retry_soon() and session_quit(), which
 * leave a mark and wake it.
 *
 * session/messages.c has what QEMU says, session/enable.c what the driver then has.
 */
#include <errno.h>
#include <glib-unix.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "memory/memory.h"
#include "vm/policy.h"
#include "session/private.h"

#define MESSAGES_PER_WAKE 16
#define HELLO_MS	  10000 /* who says nothing for that long goes */

static const char *const session_state_names[SESSION_STATES] = {
	[SESSION_CONNECTED] = "connected",
	[SESSION_IDLE] = "idle",
	[SESSION_ENABLED] = "enabled",
	[SESSION_FAILED] = "failed",
};

const char *session_state_name(const struct session *session)
{
	return session_state_names[atomic_load(&session->state)];
}

void session_set_state(struct session *session, enum session_state state)
{
	atomic_store(&session->state, state);
}

static void session_end(struct session *session)
{
	atomic_store(&session->own->quit, true);
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
	g_source_attach(source, session->own->context);
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
	struct session_own *own = session->own;

	(void)fd;
	(void)condition;
	if (link_flush(&own->link)) {
		session_end(session);
		return G_SOURCE_REMOVE;
	}
	if (!link_wants_write(&own->link))
		session_detach(&own->link_out);
	return own->link_out ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

void session_send(struct session *session, uint32_t type, const void *payload, uint32_t size)
{
	struct session_own *own = session->own;
	int ret = link_send(&own->link, type, payload, size);

	if (ret) {
		g_info("VM %s: cannot send to QEMU: %s", session->name, g_strerror(-ret));
		session_end(session);
	} else if (link_wants_write(&own->link) && !own->link_out) {
		own->link_out =
			session_attach_fd(session, own->link.fd, G_IO_OUT, session_on_writable);
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
	ret = link_receive(&session->own->link, MESSAGES_PER_WAKE, session_on_message, session,
			   &reason);
	if (!ret)
		return G_SOURCE_CONTINUE;
	if (reason)
		session_refuse(session, "%s", reason);
	else
		g_info("VM %s: connection ends: %s", session->name,
		       ret == -ECONNRESET ? "closed by QEMU" : g_strerror(-ret));
	session_end(session);
	return G_SOURCE_REMOVE;
}

static gboolean session_on_hello_timeout(void *arg)
{
	struct session *session = arg;

	g_warning("session %u: no HELLO within %u s", session->id, HELLO_MS / 1000);
	session_end(session);
	return G_SOURCE_REMOVE;
}

/* ------------------------------ life and death ----------------------------- */

struct session *session_new(int fd, unsigned int id, const struct config *config,
			    const struct fabric_ops *ops, struct fabric *fabric)
{
	static const uint8_t no_uuid[16];
	struct session *session = calloc(1, sizeof(*session));
	struct session_own *own = calloc(1, sizeof(*own));

	if (!session || !own)
		goto err_free;
	session->memory = memory_new();
	if (!session->memory)
		goto err_free;
	session->own = own;
	session->id = id;
	session->config = config;
	session->ops = ops;
	session->fabric = fabric;
	snprintf(session->name, sizeof(session->name), "session-%u", id);
	session->policy = vm_policy_new(config, "", no_uuid);
	session->admin_doorbell_fd = -1;
	for (unsigned int i = 0; i < PVHCA_DB_MAX; i++)
		session->doorbell_fds[i] = -1;
	for (unsigned int i = 0; i < PVHCA_VECTORS_MAX; i++)
		session->vector_fds[i] = -1;
	own->context = g_main_context_new();
	link_init(&own->link, fd);
	return session;

err_free:
	free(own);
	free(session);
	close(fd);
	return NULL;
}

void session_run(struct session *session)
{
	struct session_own *own = session->own;

	g_main_context_push_thread_default(own->context);
	own->link_in = session_attach_fd(session, own->link.fd, G_IO_IN | G_IO_HUP | G_IO_ERR,
					 session_on_readable);
	own->hello_timer =
		session_attach(session, g_timeout_source_new(HELLO_MS), session_on_hello_timeout);
	while (!atomic_load(&own->quit))
		g_main_context_iteration(own->context, TRUE);
	session_detach(&own->hello_timer);
	session_detach(&own->link_in);
	session_detach(&own->link_out);
	session_tear_down(session);
	policy_release_mac(session);
	g_main_context_pop_thread_default(own->context);
	g_message("VM %s: session %u ended", session->name, session->id);
}

void session_quit(struct session *session)
{
	atomic_store(&session->own->quit, true);
	g_main_context_wakeup(session->own->context);
}

static void session_close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void session_free(struct session *session)
{
	struct session_own *own = session->own;

	session_close_fd(session->admin_doorbell_fd);
	for (unsigned int i = 0; i < PVHCA_DB_MAX; i++)
		session_close_fd(session->doorbell_fds[i]);
	for (unsigned int i = 0; i < PVHCA_VECTORS_MAX; i++)
		session_close_fd(session->vector_fds[i]);
	table_fini(&session->contexts);
	table_fini(&session->pds);
	table_fini(&session->mrs);
	table_fini(&session->mws);
	table_fini(&session->ahs);
	table_fini(&session->cqs);
	table_fini(&session->srqs);
	table_fini(&session->qps);
	table_fini(&session->ceqs);
	memory_free(session->memory);
	vm_policy_free(session->policy);
	link_fini(&own->link);
	g_main_context_unref(own->context);
	free(own);
	free(session);
}
