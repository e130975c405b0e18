/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sessions: a VM's link to QEMU, and the thread that carries out its guest's commands.
 */
#ifndef HOSTD_SESSION_SESSION_H
#define HOSTD_SESSION_SESSION_H

struct config;
struct fabric;
struct fabric_ops;
struct session;
struct vm;

/* sessions.c: all sessions of the daemon. The functions below are the main thread's. */

/* Before the first; config, ops and fabric outlive all sessions. */
void sessions_init(const struct config *config, const struct fabric_ops *ops,
		   struct fabric *fabric);
/* A connection; takes fd over, and closes it where it cannot be served. */
void sessions_accept(int fd);
/* Memory of some region vanished: each session looks whether it was its own. */
void sessions_check_memory(void);
/* End all and wait for them. */
void sessions_stop(void);
/* Calls fn for each VM, which lives until fn returns. Any thread. */
void sessions_for_each(void (*fn)(struct vm *vm, void *arg), void *arg);

/* One session, for session/sessions.c. */

/* NULL: no memory; fd is closed then. */
struct session *session_new(int fd, unsigned int id, const struct config *config,
			    const struct fabric_ops *ops, struct fabric *fabric);
/* The session's thread: serves until the link closes or session_quit(). */
void session_run(struct session *session);
void session_quit(struct session *session);
void session_check_memory(struct session *session);
/* When its thread has ended. */
void session_free(struct session *session);

#endif
