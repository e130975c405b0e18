/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One VM's device: what QEMU passed over the link, what the guest has on the
 * host, and the thread that carries out its commands.
 */
#ifndef HOSTD_SESSION_H
#define HOSTD_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "pvhca/pvhca-regs.h"
#include "counters.h"
#include "config.h"
#include "fabric.h"
#include "table.h"

struct admin;
struct memory;
struct worker;

#define SESSION_GIDS	256

/* A guest's GID table entry. */
struct session_gid {
	bool used;
	uint8_t gid[16];
	uint32_t host_index;
};

/**
 * struct session - see above
 * @thread-owned fields are the session thread's alone unless said otherwise.
 * @vector_fds, @doorbell_fds: -1 where not received
 * @quota: this VM's limits, constant after HELLO
 * @doorbell: byte offset of the data doorbell that wakes its worker
 */
struct session {
	unsigned int id;
	char name[64];
	uint8_t uuid[16];
	uint8_t mac[6];
	const struct config *config;
	struct vm_policy *policy;
	const struct fabric_ops *ops;
	struct fabric *fabric;
	void *fabric_session;

	struct memory *memory;
	int admin_doorbell_fd;
	int doorbell_fds[PVHCA_DB_MAX];
	int vector_fds[PVHCA_VECTORS_MAX];
	uint32_t num_doorbells;
	uint32_t num_vectors;

	struct admin *admin;			/* while enabled */
	struct async_queue *aeq;		/* while enabled; events.c */
	struct table contexts, pds, mrs, cqs, qps, ceqs;
	struct session_gid gids[SESSION_GIDS];
	uint64_t pinned_bytes;
	_Atomic uint64_t mappings;		/* VMAs of stitched regions */

	struct worker *worker;			/* while attached */
	uint32_t doorbell;
	void *worker_session;			/* worker.c's part */
	struct counters counters;		/* any thread */
};

/* Host index of a guest GID table entry; false if the guest has none there. */
bool session_gid(const struct session *session, uint32_t index,
		 uint32_t *host_index, const uint8_t **gid);

/*
 * The guest broke the protocol: log it once (rate-limited) with what it did, stop
 * serving this session and tell QEMU (PVHCA_LINK_FATAL). Any thread; the tear-down follows in the
 * session's thread.
 */
void session_guest_fault(struct session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
