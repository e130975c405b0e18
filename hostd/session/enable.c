// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A session that is enabled, and how that ends
 *
 * While enabled the session has, in this order of being made: admin queue and
 * async event queue, the fabric's session, a worker; then the guest's objects.
 * session_tear_down() gives all back in the opposite order, whatever the reason:
 * RESET, a fault, QEMU's going, or the daemon's.
 */
#include <stdio.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/commands.h"
#include "vm/events.h"
#include "lib/log.h"
#include "memory/memory.h"
#include "vm/policy.h"
#include "session/private.h"
#include "worker/worker.h"

#define COMMANDS_PER_WAKE 16
#define RETRY_MS	  2

void session_tear_down(struct session *session)
{
	struct session_own *own = session->own;

	if (!session->admin)
		return;
	session_detach(&own->doorbell);
	session_detach(&own->more);
	session_detach(&own->async);
	commands_destroy_all(session);
	worker_detach(session);
	session->ops->session_close(session);
	admin_close(session);
}

/* ---------------------------- serving the guest ---------------------------- */

static gboolean session_on_more(void *arg)
{
	struct session *session = arg;

	if (admin_serve(session, COMMANDS_PER_WAKE))
		return G_SOURCE_CONTINUE;
	session_detach(&session->own->more);
	return G_SOURCE_REMOVE;
}

static void session_serve(struct session *session)
{
	if (!session->own->more && admin_serve(session, COMMANDS_PER_WAKE))
		session->own->more =
			session_attach(session, g_timeout_source_new(0), session_on_more);
}

static gboolean session_on_doorbell(int fd, GIOCondition condition, void *arg)
{
	struct session *session = arg;
	uint64_t count = 0;

	(void)condition;
	if (read(fd, &count, sizeof(count)) == sizeof(count))
		counter_add(&session->counters.doorbells, count);
	session_serve(session);
	return G_SOURCE_CONTINUE;
}

static gboolean session_on_async(int fd, GIOCondition condition, void *arg)
{
	struct session *session = arg;

	(void)fd;
	(void)condition;
	session->ops->session_async(session);
	return G_SOURCE_CONTINUE;
}

static gboolean session_on_retry(void *arg)
{
	struct session *session = arg;

	atomic_store(&session->own->retrying, false);
	if (session->admin) {
		events_retry(session);
		session_serve(session);
	}
	return G_SOURCE_REMOVE;
}

void session_retry_soon(struct session *session)
{
	if (!atomic_exchange(&session->own->retrying, true))
		g_source_unref(
			session_attach(session, g_timeout_source_new(RETRY_MS), session_on_retry));
}

/* ---------------------------------- enable --------------------------------- */

static bool session_has_event_fds(const struct session *session)
{
	if (session->admin_doorbell_fd < 0)
		return false;
	for (uint32_t i = 0; i < session->num_doorbells; i++)
		if (session->doorbell_fds[i] < 0)
			return false;
	for (uint32_t i = PVHCA_VECTOR_ADMIN; i < session->num_vectors; i++)
		if (session->vector_fds[i] < 0)
			return false;
	return true;
}

/* Sources that serve the guest. What it posted before is seen, as eventfds count. */
static void session_attach_sources(struct session *session)
{
	struct session_own *own = session->own;
	int fd = -1;

	own->doorbell = session_attach_fd(session, session->admin_doorbell_fd, G_IO_IN,
					  session_on_doorbell);
	if (session->ops->session_async_fd)
		fd = session->ops->session_async_fd(session);
	if (fd >= 0)
		own->async = session_attach_fd(session, fd, G_IO_IN, session_on_async);
}

/* Returns an enum pvhca_dev_error; *why for the driver's log. */
static uint32_t session_bring_up(struct session *session, const char **why)
{
	*why = "the host device cannot be opened; see pvhcad's log";
	if (session->ops->session_open(session->fabric, session))
		return PVHCA_DEV_ERR_HOST;
	*why = "the MAC in this VM's settings is in use by another VM";
	if (policy_claim_mac(session))
		goto err_close;
	*why = "no worker can serve this VM; see pvhcad's log";
	if (worker_attach(session))
		goto err_close;
	session_attach_sources(session);
	*why = "";
	return PVHCA_DEV_ERR_NONE;

err_close:
	session->ops->session_close(session);
	return PVHCA_DEV_ERR_HOST;
}

uint32_t session_enable(struct session *session, uint64_t gpa)
{
	const char *why = "";
	uint32_t error;

	if (atomic_load(&session->state) != SESSION_IDLE)
		return PVHCA_DEV_ERR_BAD_STATE;
	if (!session_has_event_fds(session)) {
		g_warning("VM %s: ENABLE before all event descriptors", session->name);
		error = PVHCA_DEV_ERR_BAD_STATE;
		goto err;
	}
	error = PVHCA_DEV_ERR_MEMORY;
	if (memory_faulted(session->memory))
		goto err;
	atomic_store(&session->own->failing, PVHCA_DEV_ERR_NONE);
	error = admin_open(session, gpa);
	if (error)
		goto err;
	error = session_bring_up(session, &why);
	admin_answer(session, error, why);
	if (error) {
		admin_close(session);
		goto err;
	}
	session_set_state(session, SESSION_ENABLED);
	g_message("VM %s: device enabled", session->name);
	return PVHCA_DEV_ERR_NONE;

err:
	g_message("VM %s: device not enabled, error %u%s%s", session->name, error, *why ? ": " : "",
		  why);
	session_set_state(session, SESSION_FAILED);
	return error;
}

/* ---------------------------------- faults --------------------------------- */

bool session_failing(const struct session *session)
{
	return atomic_load(&session->own->failing);
}

static gboolean session_on_failing(void *arg)
{
	struct session *session = arg;
	uint32_t error = atomic_load(&session->own->failing);

	/* A RESET that came first has done all. */
	if (!error || atomic_load(&session->state) != SESSION_ENABLED)
		return G_SOURCE_REMOVE;
	session_tear_down(session);
	session_set_state(session, SESSION_FAILED);
	session_reply(session, PVHCA_LINK_FATAL, 0, error);
	return G_SOURCE_REMOVE;
}

static void session_vfail(struct session *session, uint32_t error, const char *format, va_list args)
{
	uint32_t none = PVHCA_DEV_ERR_NONE;
	char what[256];

	if (!atomic_compare_exchange_strong(&session->own->failing, &none, error))
		return;
	vsnprintf(what, sizeof(what), format, args);
	log_warning_limited(
		&session->fault_log, "VM %s: %s: %s", session->name,
		error == PVHCA_DEV_ERR_GUEST ? "the guest broke the protocol" : "stopped", what);
	if (error == PVHCA_DEV_ERR_GUEST)
		counter_add(&session->counters.protocol_errors, 1);
	g_source_unref(session_attach(session, g_timeout_source_new(0), session_on_failing));
}

void session_fail(struct session *session, uint32_t error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	session_vfail(session, error, format, args);
	va_end(args);
}

void session_guest_fault(struct session *session, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	session_vfail(session, PVHCA_DEV_ERR_GUEST, format, args);
	va_end(args);
}

static gboolean session_on_check_memory(void *arg)
{
	struct session *session = arg;

	if (memory_faulted(session->memory) && atomic_load(&session->state) == SESSION_ENABLED)
		session_fail(session, PVHCA_DEV_ERR_MEMORY,
			     "memory of the VM vanished (its file was cut)");
	return G_SOURCE_REMOVE;
}

void session_check_memory(struct session *session)
{
	g_source_unref(session_attach(session, g_timeout_source_new(0), session_on_check_memory));
}
