/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One VM's device: what QEMU passed over the link, what the guest has on the
 * host, and the thread that carries out its commands.
 */
#ifndef HOSTD_SESSION_SESSION_H
#define HOSTD_SESSION_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/log.h"
#include "pvhca/pvhca-regs.h"
#include "lib/counters.h"
#include "config/config.h"
#include "fabric/fabric.h"
#include "lib/table.h"

struct admin;
struct async_queue;
struct cm_session;
struct memory;
struct session_own;
struct worker;

#define SESSION_GIDS 256

/* A guest's GID table entry. */
struct session_gid {
	bool used;
	uint8_t gid[16];
	uint32_t host_index;
};

/*
 * CONNECTED --HELLO--> IDLE --ENABLE--> ENABLED
 * ENABLE refused, a fault of the guest, the host or the memory: --> FAILED
 * RESET from any but CONNECTED: --> IDLE
 */
enum session_state {
	SESSION_CONNECTED,
	SESSION_IDLE,
	SESSION_ENABLED,
	SESSION_FAILED,
	SESSION_STATES,
};

/**
 * struct session - see above
 * @thread-owned fields are the session thread's alone unless said otherwise.
 * @vector_fds, @doorbell_fds: -1 where not received
 * @quota: this VM's limits, constant after HELLO
 * @mac, @mac_chosen, @mac_shared: chosen at the first ENABLE; shared when it is
 *	the host's own, which other sessions have too
 * @pinned_bytes: registered, in granules
 * @doorbell: byte offset of the data doorbell that wakes its worker
 */
struct session {
	unsigned int id;
	char name[64];
	uint8_t uuid[16];
	uint8_t mac[6];
	bool mac_chosen;
	bool mac_shared;
	uint8_t hello_mac[6]; /* QEMU's wish; 0: none */
	const struct config *config;
	struct vm_policy *policy;
	_Atomic unsigned int state; /* enum session_state; written by its thread */
	const struct fabric_ops *ops;
	struct fabric *fabric;
	void *fabric_session;
	struct cm_session *cm; /* fabric/verbs/cm/cm.h's part, or NULL */

	struct memory *memory;
	int admin_doorbell_fd;
	int doorbell_fds[PVHCA_DB_MAX];
	int vector_fds[PVHCA_VECTORS_MAX];
	uint32_t num_doorbells;
	uint32_t num_vectors;

	struct admin *admin;	 /* while enabled */
	struct async_queue *aeq; /* while enabled; vm/events.c */
	struct table contexts, pds, mrs, mws, ahs, cqs, srqs, qps, ceqs;
	struct session_gid gids[SESSION_GIDS];
	_Atomic uint64_t pinned_bytes;
	_Atomic uint64_t connections; /* that fabric/verbs/cm/cm.h has for it */

	struct worker *worker; /* while attached */
	bool wake_worker;      /* once the guest knows of its commands' ends; admin/admin.c */
	uint32_t doorbell;
	struct counters counters; /* any thread */
	struct log_limit quota_log;
	struct log_limit fault_log;
	struct session_own *own; /* session/private.h */
};

/* Host index of a guest GID table entry; false if the guest has none there. */
bool session_gid(const struct session *session, uint32_t index, uint32_t *host_index,
		 const uint8_t **gid);

/*
 * The guest broke the protocol: log it once (rate-limited) with what it did, stop
 * serving this session and tell QEMU (PVHCA_LINK_FATAL). Any thread; the tear-down follows in the
 * session's thread.
 */
void session_guest_fault(struct session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Likewise for another reason (enum pvhca_dev_error), such as PVHCA_DEV_ERR_HOST. */
void session_fail(struct session *session, uint32_t error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The above happened and the tear-down is still to come. */
bool session_failing(const struct session *session);

/*
 * Look soon (milliseconds) again at what waits for room in guest memory: admin completions,
 * async events. Any thread.
 */
void session_retry_soon(struct session *session);

/* session/sessions.c: all sessions of the daemon. The functions below are the main thread's. */

/* Before the first; config, ops and fabric outlive all sessions. */
void sessions_init(const struct config *config, const struct fabric_ops *ops,
		   struct fabric *fabric);
/* A connection; takes fd over, and closes it where it cannot be served. */
void sessions_accept(int fd);
/* Memory of some region vanished: each session looks whether it was its own. */
void sessions_check_memory(void);
/* End all and wait for them. */
void sessions_stop(void);
/* Calls fn for each session, which lives until fn returns. Any thread. */
void sessions_for_each(void (*fn)(struct session *session, void *arg), void *arg);
const char *session_state_name(const struct session *session);

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
