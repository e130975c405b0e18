// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A session: its state machine and its thread.
 *
 * The thread runs a GMainContext of its own with these sources: the link to QEMU, the
 * admin doorbell while enabled, the fabric's async events while enabled, and timers.
 * Each source handles a bounded number of things and comes back, so that a guest
 * that floods one does not keep the others away. All state is the thread's;
 * others reach it by session_fail(), session_retry_soon() and session_quit(), which
 * leave a mark and wake it.
 *
 * While enabled the session has, in this order of being made: admin queue and
 * async event queue, the fabric's session, a worker; then the guest's objects.
 * session_tear_down() gives all back in the opposite order, whatever the reason:
 * RESET, a fault, QEMU's going, or the daemon's.
 */
#include "session.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pvhca-version.h>

#include "address.h"
#include "admin.h"
#include "commands.h"
#include "events.h"
#include "link.h"
#include "log.h"
#include "memory.h"
#include "policy.h"
#include "worker.h"

#define MESSAGES_PER_WAKE	16
#define COMMANDS_PER_WAKE	16
#define RETRY_MS		2
#define HELLO_MS		10000	/* who says nothing for that long goes */

struct session_own {
	struct link link;
	GMainContext *context;
	GSource *link_in;
	GSource *link_out;		/* while something waits to be sent */
	GSource *hello_timer;
	GSource *doorbell;		/* while enabled */
	GSource *more;			/* while more commands are there */
	GSource *async;			/* while enabled, if the fabric has a descriptor */
	_Atomic bool quit;
	_Atomic bool retrying;		/* a retry timer is attached */
	_Atomic uint32_t failing;	/* enum pvhca_dev_error */
};

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

static void session_set_state(struct session *session, enum session_state state)
{
	atomic_store(&session->state, state);
}

static void session_end(struct session *session)
{
	atomic_store(&session->own->quit, true);
}

/* --------------------------------- sources --------------------------------- */

static GSource *session_attach(struct session *session, GSource *source,
			       GSourceFunc fn)
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

static GSource *session_attach_fd(struct session *session, int fd,
				  GIOCondition condition, GUnixFDSourceFunc fn)
{
	return session_attach(session, g_unix_fd_source_new(fd, condition),
			      G_SOURCE_FUNC(fn));
}

static void session_detach(GSource **source)
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

static void session_send(struct session *session, uint32_t type,
			 const void *payload, uint32_t size)
{
	struct session_own *own = session->own;
	int ret = link_send(&own->link, type, payload, size);

	if (ret) {
		g_info("VM %s: cannot send to QEMU: %s", session->name,
		       g_strerror(-ret));
		session_end(session);
	} else if (link_wants_write(&own->link) && !own->link_out) {
		own->link_out = session_attach_fd(session, own->link.fd,
						  G_IO_OUT,
						  session_on_writable);
	}
}

static void session_reply(struct session *session, uint32_t type, uint64_t id,
			  uint32_t error)
{
	struct pvhca_link_reply reply = { .id = id, .error = error };

	session_send(session, type, &reply, sizeof(reply));
}

/* ---------------------------- enabled, and not ----------------------------- */

/* Give back all that came with ENABLE and after. */
static void session_tear_down(struct session *session)
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
	session->fabric_session = NULL;
	admin_close(session);
}

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
		session->own->more = session_attach(session,
						    g_timeout_source_new(0),
						    session_on_more);
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
		g_source_unref(session_attach(session,
					      g_timeout_source_new(RETRY_MS),
					      session_on_retry));
}

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

	own->doorbell = session_attach_fd(session, session->admin_doorbell_fd,
					  G_IO_IN, session_on_doorbell);
	if (session->ops->session_async_fd)
		fd = session->ops->session_async_fd(session);
	if (fd >= 0)
		own->async = session_attach_fd(session, fd, G_IO_IN,
					       session_on_async);
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
	session->fabric_session = NULL;
	return PVHCA_DEV_ERR_HOST;
}

static uint32_t session_enable(struct session *session, uint64_t gpa)
{
	const char *why = "";
	uint32_t error;

	if (atomic_load(&session->state) != SESSION_IDLE)
		return PVHCA_DEV_ERR_BAD_STATE;
	if (!session_has_event_fds(session)) {
		g_warning("VM %s: ENABLE before all event descriptors",
			  session->name);
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
	g_message("VM %s: device not enabled, error %u%s%s", session->name,
		  error, *why ? ": " : "", why);
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

static void session_vfail(struct session *session, uint32_t error,
			  const char *format, va_list args)
{
	uint32_t none = PVHCA_DEV_ERR_NONE;
	char what[256];

	if (!atomic_compare_exchange_strong(&session->own->failing, &none,
					    error))
		return;
	vsnprintf(what, sizeof(what), format, args);
	log_warning_limited(&session->fault_log, "VM %s: %s: %s", session->name,
			    error == PVHCA_DEV_ERR_GUEST ?
			    "the guest broke the protocol" : "stopped", what);
	if (error == PVHCA_DEV_ERR_GUEST)
		counter_add(&session->counters.protocol_errors, 1);
	g_source_unref(session_attach(session, g_timeout_source_new(0),
				      session_on_failing));
}

void session_fail(struct session *session, uint32_t error, const char *format,
		  ...)
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

	if (memory_faulted(session->memory) &&
	    atomic_load(&session->state) == SESSION_ENABLED)
		session_fail(session, PVHCA_DEV_ERR_MEMORY,
			     "memory of the VM vanished (its file was cut)");
	return G_SOURCE_REMOVE;
}

void session_check_memory(struct session *session)
{
	g_source_unref(session_attach(session, g_timeout_source_new(0),
				      session_on_check_memory));
}

/* -------------------------- messages from QEMU ----------------------------- */

/* A protocol error of QEMU's: logged here; the connection is closed. */
static int G_GNUC_PRINTF(2, 3)
session_refuse(struct session *session, const char *format, ...)
{
	va_list args;
	char *what;

	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	g_warning("VM %s: bad message from QEMU: %s", session->name, what);
	g_free(what);
	return -EPROTO;
}

static bool session_text_ends(const char *text, size_t size)
{
	return memchr(text, '\0', size);
}

/* A name for logs, of printable characters, never empty. */
static void session_set_name(struct session *session,
			     const struct pvhca_link_hello *hello)
{
	static const uint8_t no_uuid[16];
	char uuid[UUID_TEXT];

	if (hello->name[0])
		snprintf(session->name, sizeof(session->name), "%s",
			 hello->name);
	else if (memcmp(hello->uuid, no_uuid, sizeof(no_uuid)))
		snprintf(session->name, sizeof(session->name), "%s",
			 address_uuid_text(hello->uuid, uuid));
	for (char *c = session->name; *c; c++)
		if (!g_ascii_isprint(*c))
			*c = '?';
}

static int session_check_hello(struct session *session,
			       const struct pvhca_link_hello *hello)
{
	static const uint8_t zero[sizeof(hello->reserved1)];

	if (!session_text_ends(hello->name, sizeof(hello->name)) ||
	    !session_text_ends(hello->version, sizeof(hello->version)))
		return session_refuse(session, "text without end in HELLO");
	if (hello->reserved0 || memcmp(hello->reserved1, zero, sizeof(zero)))
		return session_refuse(session, "reserved field in HELLO");
	if (hello->num_vectors <= PVHCA_VECTOR_COMP ||
	    hello->num_vectors > PVHCA_VECTORS_MAX)
		return session_refuse(session, "%u vectors", hello->num_vectors);
	if (!hello->num_doorbells || hello->num_doorbells > PVHCA_DB_MAX)
		return session_refuse(session, "%u doorbells",
				      hello->num_doorbells);
	return 0;
}

/* Why this VM is not served: an errno and the reason, or 0. */
static uint32_t session_judge(struct session *session,
			      const struct pvhca_link_hello *hello,
			      struct pvhca_link_hello_reply *reply)
{
	if (hello->abi_major != PVHCA_LINK_ABI_MAJOR) {
		snprintf(reply->reason, sizeof(reply->reason),
			 "pvhcad %s speaks link ABI %u.%u, this QEMU %u.%u",
			 PVHCA_VERSION, PVHCA_LINK_ABI_MAJOR,
			 PVHCA_LINK_ABI_MINOR, hello->abi_major,
			 hello->abi_minor);
		return EPROTO;
	}
	if (session->policy->refused) {
		snprintf(reply->reason, sizeof(reply->reason),
			 "pvhcad's configuration has no [vm] group for this VM and unlisted-vms=false");
		return EACCES;
	}
	return 0;
}

static void session_init_quotas(struct session *session)
{
	const struct quota *quota = &session->policy->quota;

	table_init(&session->contexts, quota->contexts);
	table_init(&session->pds, quota->pds);
	table_init(&session->mrs, quota->mrs);
	table_init(&session->mws, quota->mws);
	table_init(&session->ahs, quota->ahs);
	table_init(&session->cqs, quota->cqs);
	table_init(&session->srqs, quota->srqs);
	table_init(&session->qps, quota->qps);
	table_init(&session->ceqs, PVHCA_VECTORS_MAX);
}

static int session_hello(struct session *session, struct link_message *message)
{
	const struct pvhca_link_hello *hello = &message->hello;
	struct pvhca_link_hello_reply reply = {
		.abi_major = PVHCA_LINK_ABI_MAJOR,
		.abi_minor = PVHCA_LINK_ABI_MINOR,
		.version = PVHCA_VERSION,
	};
	int ret;

	if (atomic_load(&session->state) != SESSION_CONNECTED)
		return session_refuse(session, "a second HELLO");
	/* What another major version says beyond its number is not ours to check. */
	if (hello->abi_major == PVHCA_LINK_ABI_MAJOR) {
		ret = session_check_hello(session, hello);
		if (ret)
			return ret;
		session_set_name(session, hello);
		memcpy(session->uuid, hello->uuid, sizeof(session->uuid));
		memcpy(session->hello_mac, hello->mac,
		       sizeof(session->hello_mac));
		session->num_vectors = hello->num_vectors;
		session->num_doorbells = hello->num_doorbells;
		vm_policy_free(session->policy);
		session->policy = vm_policy_new(session->config, hello->name,
						hello->uuid);
	}
	reply.refused = session_judge(session, hello, &reply);
	if (!reply.refused) {
		session_init_quotas(session);
		session_detach(&session->own->hello_timer);
		session_set_state(session, SESSION_IDLE);
	}
	/* Who has the answer finds all that it says in the statistics. */
	session_send(session, PVHCA_LINK_HELLO_REPLY, &reply, sizeof(reply));
	if (reply.refused) {
		g_message("VM %s: refused: %s", session->name, reply.reason);
		return -ECONNREFUSED;
	}
	g_message("VM %s: connected, session %u", session->name, session->id);
	return 0;
}

/* Is it an eventfd? Other kinds could block whoever writes. */
static bool session_is_eventfd(int fd)
{
	char path[32], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return !strcmp(target, "anon_inode:[eventfd]");
}

/* Where a received event descriptor belongs; NULL: nowhere. */
static int *session_event_place(struct session *session, uint32_t kind,
				uint32_t index)
{
	switch (kind) {
	case PVHCA_LINK_EVENT_ADMIN_DB:
		return index ? NULL : &session->admin_doorbell_fd;
	case PVHCA_LINK_EVENT_DATA_DB:
		return index < session->num_doorbells ?
			&session->doorbell_fds[index] : NULL;
	case PVHCA_LINK_EVENT_VECTOR:
		return index >= PVHCA_VECTOR_ADMIN &&
		       index < session->num_vectors ?
			&session->vector_fds[index] : NULL;
	default:
		return NULL;
	}
}

static int session_event_fds(struct session *session,
			     struct link_message *message)
{
	const struct pvhca_link_event_fds *event = &message->event_fds;

	if (event->count != message->num_fds || event->reserved ||
	    event->first >= PVHCA_VECTORS_MAX)
		return session_refuse(session, "EVENT_FDS of %u from %u with %u descriptors",
				      event->count, event->first,
				      message->num_fds);
	for (unsigned int i = 0; i < message->num_fds; i++) {
		int *place = session_event_place(session, event->kind,
						 event->first + i);
		int fd = message->fds[i];
		int flags;

		if (!place || *place >= 0)
			return session_refuse(session, "event descriptor %u of kind %u is unknown or was sent before",
					      event->first + i, event->kind);
		flags = fcntl(fd, F_GETFL);
		if (!session_is_eventfd(fd) || flags < 0 ||
		    fcntl(fd, F_SETFL, flags | O_NONBLOCK))
			return session_refuse(session, "event descriptor %u of kind %u is no eventfd",
					      event->first + i, event->kind);
		*place = fd;
		message->fds[i] = -1;
	}
	return 0;
}

static int session_mem_add(struct session *session,
			   struct link_message *message)
{
	const struct pvhca_link_mem *mem = &message->mem;
	int ret;

	ret = memory_add(session->memory, mem->gpa, mem->size, mem->fd_offset,
			 mem->page_size, message->fds[0]);
	message->fds[0] = -1;
	if (ret)
		return session_refuse(session, "memory at %#" G_GINT64_MODIFIER
				      "x, %" G_GUINT64_FORMAT " bytes: %s",
				      mem->gpa, mem->size, g_strerror(-ret));
	return 0;
}

static int session_mem_del(struct session *session,
			   struct link_message *message)
{
	const struct pvhca_link_mem *mem = &message->mem;

	if (mem->fd_offset || memory_del(session->memory, mem->gpa, mem->size))
		return session_refuse(session, "no memory at %#"
				      G_GINT64_MODIFIER "x of %"
				      G_GUINT64_FORMAT " bytes to take away",
				      mem->gpa, mem->size);
	return 0;
}

static int session_reset(struct session *session, struct link_message *message)
{
	session_tear_down(session);
	atomic_store(&session->own->failing, PVHCA_DEV_ERR_NONE);
	session_set_state(session, SESSION_IDLE);
	session_reply(session, PVHCA_LINK_RESET_REPLY, message->reset.id, 0);
	return 0;
}

/* Returns 0, or a negative errno to close the connection. */
static int session_on_message(void *arg, struct link_message *message)
{
	struct session *session = arg;

	if (message->type == PVHCA_LINK_HELLO)
		return session_hello(session, message);
	if (atomic_load(&session->state) == SESSION_CONNECTED)
		return session_refuse(session, "type %u before HELLO",
				      message->type);
	switch (message->type) {
	case PVHCA_LINK_EVENT_FDS:
		return session_event_fds(session, message);
	case PVHCA_LINK_MEM_ADD:
		return session_mem_add(session, message);
	case PVHCA_LINK_MEM_DEL:
		return session_mem_del(session, message);
	case PVHCA_LINK_ENABLE:
		session_reply(session, PVHCA_LINK_ENABLE_REPLY,
			      message->enable.id,
			      session_enable(session,
					     message->enable.admin_gpa));
		return 0;
	case PVHCA_LINK_RESET:
		return session_reset(session, message);
	}
	return session_refuse(session, "type %u", message->type);
}

static gboolean session_on_readable(int fd, GIOCondition condition, void *arg)
{
	struct session *session = arg;
	const char *reason;
	int ret;

	(void)fd;
	(void)condition;
	ret = link_receive(&session->own->link, MESSAGES_PER_WAKE,
			   session_on_message, session, &reason);
	if (!ret)
		return G_SOURCE_CONTINUE;
	if (reason)
		session_refuse(session, "%s", reason);
	else
		g_info("VM %s: connection ends: %s", session->name,
		       ret == -ECONNRESET ? "closed by QEMU" :
		       g_strerror(-ret));
	session_end(session);
	return G_SOURCE_REMOVE;
}

static gboolean session_on_hello_timeout(void *arg)
{
	struct session *session = arg;

	g_warning("session %u: no HELLO within %u s", session->id,
		  HELLO_MS / 1000);
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
	own->link_in = session_attach_fd(session, own->link.fd,
					 G_IO_IN | G_IO_HUP | G_IO_ERR,
					 session_on_readable);
	own->hello_timer = session_attach(session,
					  g_timeout_source_new(HELLO_MS),
					  session_on_hello_timeout);
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
