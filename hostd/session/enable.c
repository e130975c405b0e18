// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A session that is enabled, and how that ends
 *
 * An enabled session gets, in this order: admin queue and async event queue, the
 * fabric's session, a worker; then the guest's objects. session_tear_down() waits for
 * commands that are under way, and then gives all back in the opposite order, after
 * RESET, after a fault, or at the end of QEMU or of the daemon.
 */
#include <stddef.h>

#include "admin/admin.h"
#include "admin/commands.h"
#include "vm/events.h"
#include "lib/log.h"
#include "memory/memory.h"
#include "vm/policy.h"
#include "session/private.h"
#include "worker/worker.h"

#define COMMANDS_PER_WAKE 16

static struct session *session_of(struct vm *vm)
{
	return (struct session *)((char *)vm - offsetof(struct session, vm));
}

void session_tear_down(struct session *session)
{
	if (!session->vm.admin)
		return;
	session_unlisten(session);
	admin_stop(&session->vm);
	pthread_mutex_lock(&session->vm.lock);
	commands_destroy_all(&session->vm); /* it leaves its worker first */
	pthread_mutex_unlock(&session->vm.lock);
	worker_detach(&session->vm);
	session->vm.ops->vm_close(&session->vm);
	admin_close(&session->vm);
}

/* ---------------------------- serving the guest ---------------------------- */

void session_serve(struct session *session)
{
	session->more = admin_serve(&session->vm, COMMANDS_PER_WAKE);
}

void session_on_doorbell(struct session *session)
{
	/* It is not read, which would take a call for each command: session_listen(). */
	counter_add(&session->vm.counters.doorbells, 1);
	session->more = true;
}

void session_on_retry(struct session *session)
{
	atomic_store(&session->vm.retrying, false);
	if (session->vm.admin) {
		events_retry(&session->vm);
		session->more = true;
	}
}

static void session_retry(struct vm *vm)
{
	session_mark(session_of(vm), SESSION_MARK_RETRY);
}

static void session_serve_soon(struct vm *vm)
{
	session_mark(session_of(vm), SESSION_MARK_SERVE);
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

/* Returns an enum pvhca_dev_error; *why for the driver's log. */
static uint32_t session_bring_up(struct session *session, const char **why)
{
	int ret;

	*why = "the host device cannot be opened; see pvhcad's log";
	if (session->vm.ops->vm_open(session->vm.fabric, &session->vm))
		return PVHCA_DEV_ERR_HOST;
	session->vm.side_by_side =
		fabric_hook(session->vm.ops, false, vm_side_by_side, &session->vm);
	*why = policy_is_paired(&session->vm) ?
		"no MAC to pair with, or another VM has it; see pvhcad's log" :
		"the MAC in this VM's settings is in use by another VM";
	if (policy_claim_mac(&session->vm))
		goto err_close;
	*why = "no worker can serve this VM; see pvhcad's log";
	if (worker_attach(&session->vm))
		goto err_close;
	*why = "pvhcad cannot watch this VM's doorbell; see pvhcad's log";
	ret = session_listen(session);
	if (ret) {
		vm_warning(&session->vm, "cannot watch its doorbell: %s", log_strerror(-ret));
		goto err_detach;
	}
	*why = "";
	return PVHCA_DEV_ERR_NONE;

err_detach:
	worker_leave(&session->vm);
	vm_grace(&session->vm);
	worker_detach(&session->vm);
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
		vm_warning(&session->vm, "ENABLE before all event descriptors");
		error = PVHCA_DEV_ERR_BAD_STATE;
		goto err;
	}
	error = PVHCA_DEV_ERR_MEMORY;
	if (memory_faulted(session->vm.memory))
		goto err;
	atomic_store(&session->vm.failing, PVHCA_DEV_ERR_NONE);
	if (slow_is_remembered(session->user))
		atomic_store(&session->vm.slow_events, true);
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
	vm_message(&session->vm, "device enabled");
	return PVHCA_DEV_ERR_NONE;

err:
	vm_message(&session->vm, "device not enabled, error %u%s%s", error, *why ? ": " : "", why);
	vm_set_state(&session->vm, VM_FAILED);
	return error;
}

/* ---------------------------------- faults --------------------------------- */

void session_on_failing(struct session *session)
{
	uint32_t error = atomic_load(&session->vm.failing);

	/* A RESET that came first has done all. */
	if (!error || atomic_load(&session->vm.state) != VM_ENABLED)
		return;
	session_tear_down(session);
	vm_set_state(&session->vm, VM_FAILED);
	session_reply(session, PVHCA_LINK_FATAL, 0, error);
}

static void session_failed(struct vm *vm)
{
	session_mark(session_of(vm), SESSION_MARK_FAILED);
}

static void session_interrupt(struct vm *vm)
{
	session_mark(session_of(vm), SESSION_MARK_INTERRUPT);
}

static void session_slow(struct vm *vm)
{
	session_mark(session_of(vm), SESSION_MARK_SLOW);
}

void session_on_slow(struct session *session)
{
	slow_remember(session->user);
	vm_warning(
		&session->vm,
		"its interrupts take long to signal (does its QEMU wait for them many times over?); its own thread does that from now on");
}

const struct vm_thread_ops session_thread_ops = {
	.failed = session_failed,
	.retry = session_retry,
	.serve = session_serve_soon,
	.interrupt = session_interrupt,
	.slow = session_slow,
};

void session_on_check_memory(struct session *session)
{
	if (memory_faulted(session->vm.memory) && atomic_load(&session->vm.state) == VM_ENABLED)
		vm_fail(&session->vm, PVHCA_DEV_ERR_MEMORY,
			"memory of the VM vanished (its file was cut)");
}
