/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of this room. The session's thread calls these functions, unless they say otherwise. */
#ifndef HOSTD_SESSION_PRIVATE_H
#define HOSTD_SESSION_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <urcu/list.h>

#include "session/link.h"
#include "session/session.h"
#include "vm/vm.h"

#define SESSION_HELLO_MS 10000 /* a silent connection is closed after that */

/* What other threads ask the session's thread for. */
enum session_mark {
	SESSION_MARK_FAILED = 1 << 0,
	SESSION_MARK_RETRY = 1 << 1,
	SESSION_MARK_MEMORY = 1 << 2,
	SESSION_MARK_SERVE = 1 << 3,
	SESSION_MARK_SETTINGS = 1 << 4,
	SESSION_MARK_INTERRUPT = 1 << 5,
	SESSION_MARK_SLOW = 1 << 6,
};

/**
 * struct session - a VM with its link and its thread
 * @vm: the VM; all other rooms know this part only
 * @identity: session/identity.c's
 * @group: the [vm] group by whose own socket QEMU came; NULL: by the one for all
 * @door_log: that of the socket by which QEMU came, held; or NULL
 * @said_name: of the VM, as QEMU said it; from HELLO on
 * @user: that QEMU ran as when it connected
 * @epoll_fd: what the thread waits for
 * @wake_fd: eventfd of our own, signalled after @marks or @quit were set
 * @marks: of enum session_mark. Any thread
 * @quit: any thread
 * @link_out: something waits to be sent
 * @async_fd: the fabric's, while enabled, or -1
 * @hello_ns: when HELLO must have been answered; 0: it has. CLOCK_MONOTONIC, as the next two
 * @again_ns: when to look again whether this VM's former session has ended; 0: not waiting
 * @retry_ns: when to retry; 0: nothing waits for that
 * @more: more commands are there
 * @minor: of the link's version, the lower of both sides; from HELLO on
 */
struct session {
	struct vm vm;
	struct cds_list_head identity;
	char *group;
	struct log_source *door_log;
	char said_name[64];
	uint32_t user;
	struct link link;
	int epoll_fd;
	int wake_fd;
	_Atomic unsigned int marks;
	unsigned int minor;
	_Atomic bool quit;
	bool link_out;
	int async_fd;
	uint64_t hello_ns;
	uint64_t again_ns;
	uint64_t retry_ns;
	bool more;
};

/* -------------------------------- session/session.c -------------------------------- */

/* group: struct session; log: sessions_accept(). NULL: no memory; fd is closed then. */
struct session *session_new(int fd, const char *group, struct log_source *log, unsigned int id,
			    const struct config *config, const struct fabric_ops *ops,
			    struct fabric *fabric);
/* The session's thread: serves until the link closes or session_quit(). */
void session_run(struct session *session);
void session_quit(struct session *session);
void session_check_memory(struct session *session);
void session_reload(struct session *session);
/* When its thread has ended. */
void session_free(struct session *session);

/* Ask the thread for something. Any thread; it neither blocks nor allocates. */
void session_mark(struct session *session, enum session_mark mark);
/* Start and stop waiting for the admin doorbell and the fabric's async events. 0 or a negative errno. */
int session_listen(struct session *session);
void session_unlisten(struct session *session);

/* Send to QEMU. Bytes that it does not take at once wait. A failure ends the session. */
void session_send(struct session *session, uint32_t type, const void *payload, uint32_t size);
void session_reply(struct session *session, uint32_t type, uint64_t id, uint32_t error);

/* ------------------------------- session/slow.c ---------------------------- */

/* This user's eventfds take long to signal; for a while all of its VMs begin with vm->slow_events. */
void slow_remember(uint32_t user);
bool slow_is_remembered(uint32_t user);

/* ------------------------------ session/hello.c ---------------------------- */

/* As session_on_message(), for the first one. */
int session_hello(struct session *session, struct link_message *message);
/* At again_ns. */
void session_hello_again(struct session *session);
/* The settings have changed: those of this VM hold from now on. */
void session_on_settings(struct session *session);

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

/* The thread's calls, in its turn: the guest rang; carry out commands; what session_mark() asked for. */
void session_on_doorbell(struct session *session);
void session_serve(struct session *session);
void session_on_retry(struct session *session);
void session_on_failing(struct session *session);
void session_on_check_memory(struct session *session);
void session_on_slow(struct session *session);

#endif
