// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A session that is enabled, and how that ends
 *
 * While enabled the session has, in this order of being made: admin queue and
 * async event queue, the fabric's session, a worker; then the guest's objects.
 * session_tear_down() gives all back in the opposite order, whatever the reason:
 * RESET, a fault, QEMU's going, or the daemon's.
 */
#include <stddef.h>
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

static struct session *session_of(struct vm *vm)
{
	return (struct session *)((char *)vm - offsetof(struct session, vm));
}

void session_tear_down(struct session *session)
{
	if (!session->vm.admin)
		return;
	session_detach(&session->on_doorbell);
	session_detach(&session->on_more);
	session_detach(&session->on_async);
	commands_destroy_all(&session->vm);
	worker_detach(&session->vm);
	session->vm.ops->vm_close(&session->vm);
	admin_close(&session->vm);
}

/* ---------------------------- serving the guest ---------------------------- */

static gboolean session_on_more(void *arg)
{
	struct session *session = arg;

	if (admin_serve(&session->vm, COMMANDS_PER_WAKE))
		return G_SOURCE_CONTINUE;
	session_detach(&session->on_more);
	return G_SOURCE_REMOVE;
}

static void session_serve(struct session *session)
{
	if (!session->on_more && admin_serve(&session->vm, COMMANDS_PER_WAKE))
		session->on_more =
			session_attach(session, g_timeout_source_new(0), session_on_more);
}

static gboolean session_on_doorbell(int fd, GIOCondition condition, void *arg)
{
	struct session *session = arg;
	uint64_t count = 0;

	(void)condition;
	if (read(fd, &count, sizeof(count)) == sizeof(count))
		counter_add(&session->vm.counters.doorbells, count);
	session_serve(session);
	return G_SOURCE_CONTINUE;
}

static gboolean session_on_async(int fd, GIOCondition condition, void *arg)
{
	struct session *session = arg;

	(void)fd;
	(void)condition;
	session->vm.ops->vm_async(&session->vm);
	return G_SOURCE_CONTINUE;
}

static gboolean session_on_retry(void *arg)
{
	struct session *session = arg;

	atomic_store(&session->vm.retrying, false);
	if (session->vm.admin) {
		events_retry(&session->vm);
		session_serve(session);
	}
	return G_SOURCE_REMOVE;
}

static void session_retry(struct vm *vm)
{
	struct session *session = session_of(vm);

	g_source_unref(session_attach(session, g_timeout_source_new(RETRY_MS), session_on_retry));
}

/* ---------------------------------- enable --------------------------------- */

static bool session_has_event_fds(const struct session *session)
{
	if (session->vm.admin_doorbell_fd < 0)
		return false;
	for (uint32_t i = 0; i < session->vm.num_doorbells; i++)
		if (session->vm.doorbell_fds[i] < 0)
			return false;
	for (uint32_t i = PVHCA_VECTOR_ADMIN; i < session->vm.num_vectors; i++)
		if (session->vm.vector_fds[i] < 0)
			return false;
	return true;
}

/* Sources that serve the guest. What it posted before is seen, as eventfds count. */
static void session_attach_sources(struct session *session)
{
	int fd = -1;

	session->on_doorbell = session_attach_fd(session, session->vm.admin_doorbell_fd, G_IO_IN,
						 session_on_doorbell);
	if (session->vm.ops->vm_async_fd)
		fd = session->vm.ops->vm_async_fd(&session->vm);
	if (fd >= 0)
		session->on_async = session_attach_fd(session, fd, G_IO_IN, session_on_async);
}

/* Returns an enum pvhca_dev_error; *why for the driver's log. */
static uint32_t session_bring_up(struct session *session, const char **why)
{
	*why = "the host device cannot be opened; see pvhcad's log";
	if (session->vm.ops->vm_open(session->vm.fabric, &session->vm))
		return PVHCA_DEV_ERR_HOST;
	*why = "the MAC in this VM's settings is in use by another VM";
	if (policy_claim_mac(&session->vm))
		goto err_close;
	*why = "no worker can serve this VM; see pvhcad's log";
	if (worker_attach(&session->vm))
		goto err_close;
	session_attach_sources(session);
	*why = "";
	return PVHCA_DEV_ERR_NONE;

err_close:
	session->vm.ops->vm_close(&session->vm);
	return PVHCA_DEV_ERR_HOST;
}

uint32_t session_enable(struct session *session, uint64_t gpa)
{
	const char *why = "";
	uint32_t error;

	if (atomic_load(&session->vm.state) != VM_IDLE)
		return PVHCA_DEV_ERR_BAD_STATE;
	if (!session_has_event_fds(session)) {
		g_warning("VM %s: ENABLE before all event descriptors", session->vm.name);
		error = PVHCA_DEV_ERR_BAD_STATE;
		goto err;
	}
	error = PVHCA_DEV_ERR_MEMORY;
	if (memory_faulted(session->vm.memory))
		goto err;
	atomic_store(&session->vm.failing, PVHCA_DEV_ERR_NONE);
	error = admin_open(&session->vm, gpa);
	if (error)
		goto err;
	error = session_bring_up(session, &why);
	admin_answer(&session->vm, error, why);
	if (error) {
		admin_close(&session->vm);
		goto err;
	}
	vm_set_state(&session->vm, VM_ENABLED);
	g_message("VM %s: device enabled", session->vm.name);
	return PVHCA_DEV_ERR_NONE;

err:
	g_message("VM %s: device not enabled, error %u%s%s", session->vm.name, error,
		  *why ? ": " : "", why);
	vm_set_state(&session->vm, VM_FAILED);
	return error;
}

/* ---------------------------------- faults --------------------------------- */

static gboolean session_on_failing(void *arg)
{
	struct session *session = arg;
	uint32_t error = atomic_load(&session->vm.failing);

	/* A RESET that came first has done all. */
	if (!error || atomic_load(&session->vm.state) != VM_ENABLED)
		return G_SOURCE_REMOVE;
	session_tear_down(session);
	vm_set_state(&session->vm, VM_FAILED);
	session_reply(session, PVHCA_LINK_FATAL, 0, error);
	return G_SOURCE_REMOVE;
}

static void session_failed(struct vm *vm)
{
	struct session *session = session_of(vm);

	g_source_unref(session_attach(session, g_timeout_source_new(0), session_on_failing));
}

const struct vm_thread_ops session_thread_ops = {
	.failed = session_failed,
	.retry = session_retry,
};

static gboolean session_on_check_memory(void *arg)
{
	struct session *session = arg;

	if (memory_faulted(session->vm.memory) && atomic_load(&session->vm.state) == VM_ENABLED)
		vm_fail(&session->vm, PVHCA_DEV_ERR_MEMORY,
			"memory of the VM vanished (its file was cut)");
	return G_SOURCE_REMOVE;
}

void session_check_memory(struct session *session)
{
	g_source_unref(session_attach(session, g_timeout_source_new(0), session_on_check_memory));
}
