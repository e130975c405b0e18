// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Messages of QEMU to a session over the link (pvhca-link.h): its memory and descriptors,
 * and requests of its driver. session/hello.c has the first one. A message that does not fit closes
 * the connection.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/calls.h"
#include "lib/log.h"
#include "lib/shared_event.h"
#include "memory/memory.h"
#include "vm/events.h"
#include "session/private.h"

CALLS("dup3");

int session_refuse(struct session *session, const char *format, ...)
{
	char what[256];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	vm_warning(&session->vm, "bad message from QEMU: %s", what);
	return -EPROTO;
}

/* Where a received event descriptor belongs; NULL: nowhere. */
static int *session_event_place(struct session *session, uint32_t kind, uint32_t index)
{
	uint32_t first_vector = session->minor >= 1 ? PVHCA_VECTOR_CONFIG : PVHCA_VECTOR_ADMIN;

	switch (kind) {
	case PVHCA_LINK_EVENT_ADMIN_DB:
		return index ? NULL : &session->vm.admin_doorbell_fd;
	case PVHCA_LINK_EVENT_DATA_DB:
		return index < session->vm.num_doorbells ? &session->vm.doorbell_fds[index] : NULL;
	case PVHCA_LINK_EVENT_VECTOR:
		return index >= first_vector && index < session->vm.num_vectors ?
			&session->vm.vector_fds[index] :
			NULL;
	default:
		return NULL;
	}
}

/*
 * A vector's descriptor in the place of an earlier one. Its number stays, so that threads that
 * raise the vector need no lock. One that has raised the old one has posted its event before;
 * the interrupt without cause shows that to the guest.
 */
static int session_replace_vector(struct session *session, uint32_t vector, int fd)
{
	if (dup3(fd, session->vm.vector_fds[vector], O_CLOEXEC) < 0)
		return session_refuse(session, "vector %u cannot be replaced: %s", vector,
				      log_strerror(errno));
	if (vector != PVHCA_VECTOR_CONFIG && atomic_load(&session->vm.state) == VM_ENABLED)
		events_interrupt(&session->vm, vector);
	return 0;
}

static int session_event_fds(struct session *session, struct link_message *message)
{
	const struct pvhca_link_event_fds *event = &message->event_fds;

	if (event->count != message->num_fds || event->reserved ||
	    event->first >= PVHCA_VECTORS_MAX)
		return session_refuse(session, "EVENT_FDS of %u from %u with %u descriptors",
				      event->count, event->first, message->num_fds);
	for (unsigned int i = 0; i < message->num_fds; i++) {
		int *place = session_event_place(session, event->kind, event->first + i);
		bool again = event->kind == PVHCA_LINK_EVENT_VECTOR && session->minor >= 1;
		int fd = message->fds[i];

		if (!place || (*place >= 0 && !again))
			return session_refuse(
				session,
				"event descriptor %u of kind %u is unknown or was sent before",
				event->first + i, event->kind);
		if (!shared_event_is_one(fd))
			return session_refuse(session,
					      "event descriptor %u of kind %u is no eventfd",
					      event->first + i, event->kind);
		if (*place >= 0) {
			if (session_replace_vector(session, event->first + i, fd))
				return -EPROTO;
			continue;
		}
		*place = fd;
		message->fds[i] = -1;
	}
	return 0;
}

static const char *session_mem_error(int error)
{
	switch (error) {
	case EMEDIUMTYPE:
		return "its file is none of tmpfs or hugetlbfs, as memfds are";
	case EDQUOT:
		return "more than the VM's quota of memory-bytes or mappings";
	case ENOSPC:
		return "more regions than a VM may have";
	default:
		return log_strerror(error);
	}
}

static int session_mem_add(struct session *session, struct link_message *message)
{
	const struct pvhca_link_mem *mem = &message->mem;
	int ret;

	ret = memory_add(session->vm.memory, mem->gpa, mem->size, mem->fd_offset, mem->page_size,
			 message->fds[0]);
	message->fds[0] = -1;
	if (ret)
		return session_refuse(session,
				      "memory at %#" G_GINT64_MODIFIER "x, %" G_GUINT64_FORMAT
				      " bytes: %s",
				      mem->gpa, mem->size, session_mem_error(-ret));
	return 0;
}

static int session_mem_del(struct session *session, struct link_message *message)
{
	const struct pvhca_link_mem *mem = &message->mem;

	if (mem->fd_offset || memory_del(session->vm.memory, mem->gpa, mem->size))
		return session_refuse(session,
				      "no memory at %#" G_GINT64_MODIFIER "x of %" G_GUINT64_FORMAT
				      " bytes to take away",
				      mem->gpa, mem->size);
	return 0;
}

static int session_reset(struct session *session, struct link_message *message)
{
	session_tear_down(session);
	atomic_store(&session->vm.failing, PVHCA_DEV_ERR_NONE);
	vm_set_state(&session->vm, VM_IDLE);
	session_reply(session, PVHCA_LINK_RESET_REPLY, message->reset.id, 0);
	return 0;
}

int session_on_message(void *arg, struct link_message *message)
{
	struct session *session = arg;

	if (message->type == PVHCA_LINK_HELLO)
		return session_hello(session, message);
	if (atomic_load(&session->vm.state) == VM_CONNECTED)
		return session_refuse(session, "type %u before HELLO", message->type);
	switch (message->type) {
	case PVHCA_LINK_EVENT_FDS:
		return session_event_fds(session, message);
	case PVHCA_LINK_MEM_ADD:
		return session_mem_add(session, message);
	case PVHCA_LINK_MEM_DEL:
		return session_mem_del(session, message);
	case PVHCA_LINK_ENABLE:
		session_reply(session, PVHCA_LINK_ENABLE_REPLY, message->enable.id,
			      session_enable(session, message->enable.admin_gpa));
		return 0;
	case PVHCA_LINK_RESET:
		return session_reset(session, message);
	}
	return session_refuse(session, "type %u", message->type);
}
