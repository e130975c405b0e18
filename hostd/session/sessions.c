// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * All sessions: made by the main thread for each connection, each run by a thread
 * of its own, and taken away by the main thread when that has ended.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <urcu/list.h>

#include <pvhca-version.h>

#include "admin/pool.h"
#include "lib/address.h"
#include "lib/calls.h"
#include "lib/log.h"
#include "lib/watch.h"
#include "memory/memory.h"
#include "session/private.h"

/* Threads: of the C library. */
CALLS("sched_getaffinity");

/* What a session's thread may take for its end, when the daemon stops. */
#define STOP_SECONDS 10

/* ended: its thread has nothing more to do. Any thread */
struct seat {
	struct cds_list_head node;
	struct session *session;
	pthread_t thread;
	_Atomic bool ended;
};

/*
 * The lock covers the list, and keeps its sessions alive. ended_fd: eventfd, signalled when a
 * session's thread has ended; source: GLib's, by which the main loop waits for it. One for
 * each session would need memory.
 */
static struct {
	GMutex lock;
	struct cds_list_head seats;
	int ended_fd;
	GSource *source;
	unsigned int count;
	unsigned int last_id;
	const struct config *config;
	const struct fabric_ops *ops;
	struct fabric *fabric;
} sessions = { .seats = CDS_LIST_HEAD_INIT(sessions.seats), .ended_fd = -1 };

void sessions_limit_fds(int limit)
{
	link_limit_fds(limit);
}

/* Its thread has ended, or is about to. False: not until then (CLOCK_REALTIME). */
static bool seat_free(struct seat *seat, const struct timespec *until)
{
	if (until ? pthread_timedjoin_np(seat->thread, NULL, until) :
		    pthread_join(seat->thread, NULL))
		return false;
	session_free(seat->session);
	g_free(seat);
	return true;
}

/* Take ended sessions away. In the main loop. */
static gboolean sessions_reap(int fd, GIOCondition condition, void *arg)
{
	struct seat *seat, *next;
	CDS_LIST_HEAD(ended);
	eventfd_t count;

	(void)condition;
	(void)arg;
	eventfd_read(fd, &count);
	g_mutex_lock(&sessions.lock);
	cds_list_for_each_entry_safe (seat, next, &sessions.seats, node) {
		if (!atomic_load(&seat->ended))
			continue;
		cds_list_move(&seat->node, &ended);
		sessions.count--;
	}
	g_mutex_unlock(&sessions.lock);
	cds_list_for_each_entry_safe (seat, next, &ended, node)
		seat_free(seat, NULL);
	return G_SOURCE_CONTINUE;
}

int sessions_init(const struct config *config, const struct fabric_ops *ops, struct fabric *fabric)
{
	sessions.config = config;
	sessions.ops = ops;
	sessions.fabric = fabric;
	sessions.ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (sessions.ended_fd < 0)
		return -errno;
	sessions.source = watch_add(sessions.ended_fd, sessions_reap, NULL, NULL);
	return 0;
}

static void *seat_main(void *arg)
{
	struct seat *seat = arg;
	struct memory *memory;
	char name[16];

	snprintf(name, sizeof(name), "session-%u", seat->session->vm.id);
	pthread_setname_np(pthread_self(), name);
	session_run(seat->session);
	g_mutex_lock(&sessions.lock);
	memory = vm_take_memory(&seat->session->vm);
	g_mutex_unlock(&sessions.lock);
	/* Here, for it takes its time, and the main thread serves all others. */
	memory_free(memory);
	atomic_store(&seat->ended, true);
	eventfd_write(sessions.ended_fd, 1);
	return NULL;
}

/* QEMU is told why; that it may not listen yet is no matter. */
static void sessions_refuse(int fd, int error, const char *reason)
{
	struct pvhca_link_hello_reply reply = {
		.abi_major = PVHCA_LINK_ABI_MAJOR,
		.abi_minor = PVHCA_LINK_ABI_MINOR,
		.refused = error,
		.version = PVHCA_VERSION,
	};
	struct link link;

	snprintf(reply.reason, sizeof(reply.reason), "%s", reason);
	link_init(&link, fd);
	link_send(&link, PVHCA_LINK_HELLO_REPLY, &reply, sizeof(reply));
	link_fini(&link);
}

void sessions_accept(int fd, const char *group, struct log_source *log)
{
	static struct log_limit limit;
	struct seat *seat = NULL;
	int error;

	/* Only this thread adds, so that count cannot grow meanwhile. */
	if (sessions.count >= sessions.config->max_sessions) {
		log_warning_limited(
			&limit,
			"connection refused: there are %u sessions, the most that max-sessions allows",
			sessions.count);
		sessions_refuse(fd, EBUSY, "pvhcad serves as many VMs as max-sessions allows");
		return;
	}
	if (!link_fd_fits(fd)) {
		log_warning_limited(&limit,
				    "connection refused: out of descriptors; raise RLIMIT_NOFILE");
		sessions_refuse(fd, EMFILE, "pvhcad is out of descriptors");
		return;
	}
	seat = g_try_new0(struct seat, 1);
	if (!seat) {
		close(fd);
		return;
	}
	seat->session = session_new(fd, group, log, ++sessions.last_id, sessions.config,
				    sessions.ops, sessions.fabric);
	if (!seat->session)
		goto err_free;

	g_mutex_lock(&sessions.lock);
	cds_list_add(&seat->node, &sessions.seats);
	sessions.count++;
	error = pthread_create(&seat->thread, NULL, seat_main, seat);
	if (error) {
		cds_list_del(&seat->node);
		sessions.count--;
	}
	g_mutex_unlock(&sessions.lock);
	if (!error)
		return;
	log_warning_limited(&limit, "cannot serve a connection: %s", log_strerror(error));
	session_free(seat->session);
err_free:
	g_free(seat);
}

void sessions_for_each(void (*fn)(struct vm *vm, void *arg), void *arg)
{
	struct seat *seat;

	g_mutex_lock(&sessions.lock);
	cds_list_for_each_entry (seat, &sessions.seats, node)
		fn(&seat->session->vm, arg);
	g_mutex_unlock(&sessions.lock);
}

static void sessions_each(void (*fn)(struct session *session))
{
	struct seat *seat;

	g_mutex_lock(&sessions.lock);
	cds_list_for_each_entry (seat, &sessions.seats, node)
		fn(seat->session);
	g_mutex_unlock(&sessions.lock);
}

void sessions_reload(void)
{
	sessions_each(session_reload);
}

/* Ways to name a VM, in their order. */
static bool is_name(const struct vm *vm, const char *text)
{
	return !vm->anonymous && !strcmp(vm->name, text);
}

static bool is_uuid(const struct vm *vm, const char *text)
{
	uint8_t uuid[sizeof(vm->uuid)];

	return address_parse_uuid(text, uuid) && !memcmp(vm->uuid, uuid, sizeof(uuid));
}

static bool is_number(const struct vm *vm, const char *text)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", vm->id);
	return !strcmp(number, text);
}

unsigned int sessions_evict(const char *text)
{
	static bool (*const ways[])(const struct vm *vm, const char *text) = { is_name, is_uuid,
									       is_number };
	unsigned int ended = 0;
	struct seat *seat;

	g_mutex_lock(&sessions.lock);
	for (size_t way = 0; way < G_N_ELEMENTS(ways) && !ended; way++)
		cds_list_for_each_entry (seat, &sessions.seats, node) {
			struct session *session = seat->session;

			if (atomic_load(&session->vm.state) == VM_CONNECTED ||
			    !ways[way](&session->vm, text))
				continue;
			session_quit(session);
			ended++;
		}
	g_mutex_unlock(&sessions.lock);
	return ended;
}

void sessions_check_memory(void)
{
	sessions_each(session_check_memory);
}

bool sessions_stop(void)
{
	struct seat *seat, *next;
	struct timespec until;
	CDS_LIST_HEAD(seats);
	bool all = true;

	watch_remove(sessions.source);
	sessions.source = NULL;
	sessions_each(session_quit);
	g_mutex_lock(&sessions.lock);
	cds_list_splice(&sessions.seats, &seats);
	CDS_INIT_LIST_HEAD(&sessions.seats);
	sessions.count = 0;
	g_mutex_unlock(&sessions.lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_SECONDS;
	cds_list_for_each_entry_safe (seat, next, &seats, node)
		all &= seat_free(seat, &until);
	/* A session that has not ended may have a command under way, and writes to ended_fd. */
	if (all) {
		pool_stop();
		close(sessions.ended_fd);
		sessions.ended_fd = -1;
	}
	return all;
}
