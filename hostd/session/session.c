// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A session: its thread, its link to QEMU, and its life.
 *
 * The thread waits in epoll for the link to QEMU, and while enabled for the admin doorbell
 * and the fabric's async events. In each turn it handles a bounded number of things of each,
 * so that a guest that floods one does not keep the others away. All state belongs to the
 * thread. Other threads reach it by session_mark() and session_quit(), which leave a mark
 * and wake it.
 *
 * The loop is not GLib's: that allocates for each source and each timer, and ends the
 * process where it gets no memory. Here nothing is allocated after session_new().
 *
 * session/hello.c decides who is served, session/messages.c handles QEMU's messages,
 * session/enable.c the time from ENABLE on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/calls.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "session/identity.h"
#include "session/private.h"
#include "vm/events.h"
#include "vm/policy.h"

CALLS("eventfd2 epoll_create1 epoll_ctl epoll_wait epoll_pwait getsockopt");

#define MESSAGES_PER_WAKE 16
#define RETRY_MS	  2

/* The purpose of a descriptor in epoll. */
enum session_source {
	SOURCE_LINK,
	SOURCE_WAKE,
	SOURCE_DOORBELL,
	SOURCE_ASYNC,
	SOURCES,
};

static void session_end(struct session *session)
{
	atomic_store(&session->quit, true);
}

/* --------------------------------- sources --------------------------------- */

static int session_watch(struct session *session, int op, int fd, uint32_t events,
			 enum session_source source)
{
	struct epoll_event event = { .events = events, .data.u32 = source };

	return epoll_ctl(session->epoll_fd, op, fd, &event) ? -errno : 0;
}

/*
 * The doorbell is watched for edges: each of its signals wakes us once, whatever its count
 * is. So nobody reads it. Earlier signals are not lost, as eventfds count.
 */
int session_listen(struct session *session)
{
	int fd, ret;

	ret = session_watch(session, EPOLL_CTL_ADD, session->vm.admin_doorbell_fd,
			    EPOLLIN | EPOLLET, SOURCE_DOORBELL);
	if (ret)
		return ret;
	fd = fabric_hook(session->vm.ops, -1, vm_async_fd, &session->vm);
	if (fd < 0)
		return 0;
	ret = session_watch(session, EPOLL_CTL_ADD, fd, EPOLLIN, SOURCE_ASYNC);
	if (ret)
		session_unlisten(session);
	else
		session->async_fd = fd;
	return ret;
}

void session_unlisten(struct session *session)
{
	session_watch(session, EPOLL_CTL_DEL, session->vm.admin_doorbell_fd, 0, SOURCE_DOORBELL);
	if (session->async_fd >= 0)
		session_watch(session, EPOLL_CTL_DEL, session->async_fd, 0, SOURCE_ASYNC);
	session->async_fd = -1;
	session->more = false;
}

static void session_wake(struct session *session)
{
	eventfd_write(session->wake_fd, 1);
}

void session_mark(struct session *session, enum session_mark mark)
{
	atomic_fetch_or(&session->marks, mark);
	session_wake(session);
}

/* ----------------------------- sending to QEMU ----------------------------- */

/* Have epoll tell when QEMU reads, as long as something waits. */
static void session_watch_link(struct session *session)
{
	bool out = link_wants_write(&session->link);

	if (out == session->link_out)
		return;
	if (session_watch(session, EPOLL_CTL_MOD, session->link.fd,
			  out ? EPOLLIN | EPOLLOUT : EPOLLIN, SOURCE_LINK))
		session_end(session);
	session->link_out = out;
}

static void session_on_writable(struct session *session)
{
	if (link_flush(&session->link))
		session_end(session);
	else
		session_watch_link(session);
}

void session_send(struct session *session, uint32_t type, const void *payload, uint32_t size)
{
	int ret = link_send(&session->link, type, payload, size);

	if (ret) {
		vm_info(&session->vm, "cannot send to QEMU: %s", log_strerror(-ret));
		session_end(session);
	} else {
		session_watch_link(session);
	}
}

void session_reply(struct session *session, uint32_t type, uint64_t id, uint32_t error)
{
	struct pvhca_link_reply reply = { .id = id, .error = error };

	session_send(session, type, &reply, sizeof(reply));
}

/* ---------------------------- receiving from it ---------------------------- */

static void session_on_readable(struct session *session)
{
	const char *reason;
	int ret;

	ret = link_receive(&session->link, MESSAGES_PER_WAKE, session_on_message, session, &reason);
	if (!ret)
		return;
	if (reason)
		session_refuse(session, "%s", reason);
	else
		vm_info(&session->vm, "connection ends: %s",
			ret == -ECONNRESET ? "closed by QEMU" : log_strerror(-ret));
	session_end(session);
}

static void session_on_link(struct session *session, uint32_t events)
{
	if (events & EPOLLOUT)
		session_on_writable(session);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !atomic_load(&session->quit))
		session_on_readable(session);
}

/* --------------------------------- the loop -------------------------------- */

static void session_on_marks(struct session *session)
{
	unsigned int marks = atomic_exchange(&session->marks, 0);

	if (marks & SESSION_MARK_INTERRUPT)
		events_relay(&session->vm);
	if (marks & SESSION_MARK_SLOW)
		session_on_slow(session);
	if (marks & SESSION_MARK_FAILED)
		session_on_failing(session);
	if (marks & SESSION_MARK_MEMORY)
		session_on_check_memory(session);
	if (marks & SESSION_MARK_SETTINGS)
		session_on_settings(session);
	if (marks & SESSION_MARK_SERVE && session->vm.admin)
		session->more = true;
	if (marks & SESSION_MARK_RETRY)
		session->retry_ns = clock_ns() + RETRY_MS * NS_PER_MS;
}

static void session_on_time(struct session *session)
{
	uint64_t now;

	if (!session->hello_ns && !session->retry_ns)
		return;
	now = clock_ns();
	if (session->hello_ns && now >= session->hello_ns) {
		if (session->again_ns)
			vm_warning(&session->vm, "its former session has not ended in time");
		else
			vm_warning(&session->vm, "no HELLO in time");
		session_end(session);
	}
	if (session->again_ns && now >= session->again_ns)
		session_hello_again(session);
	if (session->retry_ns && now >= session->retry_ns) {
		session->retry_ns = 0;
		session_on_retry(session);
	}
}

/* Milliseconds for epoll_wait, rounded up; -1: for ever. */
static int session_wait_ms(const struct session *session)
{
	uint64_t deadline = UINT64_MAX, now;

	if (session->more)
		return 0;
	if (session->hello_ns)
		deadline = session->hello_ns;
	if (session->again_ns && session->again_ns < deadline)
		deadline = session->again_ns;
	if (session->retry_ns && session->retry_ns < deadline)
		deadline = session->retry_ns;
	if (deadline == UINT64_MAX)
		return -1;
	now = clock_ns();
	return deadline <= now ? 0 : (int)((deadline - now + NS_PER_MS - 1) / NS_PER_MS);
}

/* What epoll told, by source. A source that an earlier one has ended meanwhile is left out. */
static void session_turn(struct session *session, const uint32_t *events)
{
	eventfd_t count;

	if (events[SOURCE_LINK])
		session_on_link(session, events[SOURCE_LINK]);
	if (events[SOURCE_DOORBELL] && session->vm.admin)
		session_on_doorbell(session);
	if (events[SOURCE_ASYNC] && session->async_fd >= 0)
		session->vm.ops->vm_async(&session->vm);
	if (session->more)
		session_serve(session);
	if (events[SOURCE_WAKE]) {
		eventfd_read(session->wake_fd, &count);
		session_on_marks(session);
	}
	session_on_time(session);
}

void session_run(struct session *session)
{
	struct epoll_event event[SOURCES];
	uint32_t events[SOURCES];
	int n;

	while (!atomic_load(&session->quit)) {
		n = epoll_wait(session->epoll_fd, event, SOURCES, session_wait_ms(session));
		memset(events, 0, sizeof(events));
		for (int i = 0; i < n; i++)
			events[event[i].data.u32] = event[i].events;
		session_turn(session, events);
	}
	session_tear_down(session);
	policy_release_mac(&session->vm);
	identity_release(session);
	/* Who served the guest's registers may be gone: then only we can make it look at them. */
	events_interrupt_now(&session->vm, PVHCA_VECTOR_CONFIG);
	vm_message(&session->vm, "session %u ended", session->vm.id);
}

void session_quit(struct session *session)
{
	atomic_store(&session->quit, true);
	session_wake(session);
}

void session_reload(struct session *session)
{
	session_mark(session, SESSION_MARK_SETTINGS);
}

void session_check_memory(struct session *session)
{
	session_mark(session, SESSION_MARK_MEMORY);
}

/* ------------------------------ life and death ----------------------------- */

/* 0 or a negative errno, with nothing left open. */
static int session_open_loop(struct session *session)
{
	int ret = -ENOMEM;

	session->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	session->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (session->epoll_fd >= 0 && session->wake_fd >= 0)
		ret = session_watch(session, EPOLL_CTL_ADD, session->wake_fd, EPOLLIN, SOURCE_WAKE);
	if (!ret)
		ret = session_watch(session, EPOLL_CTL_ADD, session->link.fd, EPOLLIN, SOURCE_LINK);
	if (!ret)
		return 0;
	if (session->epoll_fd >= 0)
		close(session->epoll_fd);
	if (session->wake_fd >= 0)
		close(session->wake_fd);
	return ret;
}

/* Of the process that connected; nobody's number if that cannot be told. */
static uint32_t session_peer_user(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) ? UINT32_MAX : peer.uid;
}

struct session *session_new(int fd, const char *group, struct log_source *log, unsigned int id,
			    const struct config *config, const struct fabric_ops *ops,
			    struct fabric *fabric)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		goto err_free;
	if (group) {
		session->group = strdup(group);
		if (!session->group)
			goto err_free;
	}
	if (vm_init(&session->vm, id, config, &session_thread_ops))
		goto err_free_group;
	session->user = session_peer_user(fd);
	if (log) {
		session->door_log = log_source_hold(log);
		session->vm.log = log;
	}
	session->vm.ops = ops;
	session->vm.fabric = fabric;
	session->async_fd = -1;
	session->hello_ns = clock_ns() + SESSION_HELLO_MS * NS_PER_MS;
	link_init(&session->link, fd);
	if (session_open_loop(session))
		goto err_fini;
	return session;

err_fini:
	log_source_drop(session->door_log);
	vm_fini(&session->vm);
err_free_group:
	free(session->group);
err_free:
	free(session);
	close(fd);
	return NULL;
}

void session_free(struct session *session)
{
	link_fini(&session->link);
	close(session->epoll_fd);
	close(session->wake_fd);
	vm_fini(&session->vm);
	log_source_drop(session->door_log);
	free(session->group);
	free(session);
}
