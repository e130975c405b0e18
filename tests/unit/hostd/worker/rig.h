/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests that announce work as the ring ABI has it, and a fabric that carries nothing but
 * tells what it was asked for. CQs are stubs that tell likewise.
 */
#ifndef WORKER_RIG_H
#define WORKER_RIG_H

#include <stdatomic.h>

#include "fabric/fabric.h"
#include "vm/objects.h"
#include "vm/vm.h"
#include "worker/worker.h"

#define RIG_DOORBELLS 4
#define RIG_ENTRIES   16 /* of a send queue */
#define RIG_LOG	      1024

/* A VM with one open device. */
struct guest {
	struct context context;
	struct pvhca_context_page page;
	struct vm vm;
	int fabric_fd; /* eventfd, or -1 */
	_Atomic uint64_t served, polls, arms, events, destroyed;
	_Atomic unsigned int in_flight;
};

/**
 * struct rig - one per process; each test runs in its own
 * @ops, @qp: the fabric's operations; a test may take some away
 * @log: what was asked for, in order, while logging is on: R1.5 receives of slot 5 of guest
 *	1, S1.5 its sends, Q1.5 an SRQ, P1 completions of guest 1, N7 an event for CQ 7,
 *	T7 a retry of it
 * @on_receives, @on_serve, @on_arm: called by these operations, if set
 * @quiet: no log is kept
 * @cq_has_room: what a retry of a CQ finds
 * @poll_found: what vm_poll() says that it collected
 * @event_ns: what an event of a CQ costs; @notified: how many there were
 */
extern struct rig {
	struct fabric_ops ops;
	struct qp_ops qp;
	char log[RIG_LOG];
	bool logging, quiet;
	void (*on_receives)(struct pass *pass, struct qp *qp);
	void (*on_serve)(struct pass *pass, struct qp *qp);
	bool (*on_arm)(struct guest *guest);
	bool cq_has_room;
	unsigned int poll_found;
	int64_t event_ns;
	unsigned int notified;
} rig;

void rig_setup(void);

/* A worker without a thread, as the only one: the test makes its passes. */
struct worker *rig_worker(void);
void rig_worker_free(void);
/* A pass at this time (ns): how much it served. The log is that of this pass. */
unsigned int rig_pass(uint64_t now);

struct guest *guest_new(unsigned int id);
/* It is attached to no worker. */
void guest_free(struct guest *guest);
/* It leaves its worker. */
void guest_leave(struct guest *guest);
/* Both attached to a worker; and neither. */
struct guest *guest_start(unsigned int id);
void guest_stop(struct guest *guest);

struct qp *guest_qp(struct guest *guest, uint32_t slot);
struct srq *guest_srq(struct guest *guest, uint32_t slot);

/* As who posts has to do it: the bits, then the doorbell where it is asked for. */
void guest_announce(struct guest *guest, uint32_t slot);
/* Likewise after one more entry in the send queue. */
void guest_post(struct guest *guest, struct qp *qp);
uint64_t guest_need_kick(struct guest *guest);

#endif
