/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's objects on the host: contexts, protection domains, memory regions and
 * windows, address handles, completion queues, shared receive queues, queue pairs.
 *
 * Life and locks
 *
 *  - Objects are made, changed and destroyed by commands. Handles are looked up, and
 *    reference counts between objects (pd->users, cq->users) changed, under vm->lock
 *    (vm/vm.h). It is taken first of all.
 *  - A command that gives that lock up while it waits (vm_leave) relies on its claims
 *    (admin/claims.h): an object that it names, or hangs its object on, stays; an
 *    object that it changes or ends is nobody else's meanwhile. An object that is being
 *    made is not to be found by its handle (table_reserve).
 *  - Workers find QPs by context_qp() and SRQs by context_srq(). They find
 *    the AHs, MRs and MWs that a WQE names by handle with table_find_rcu(), and MRs and
 *    QPs of other sessions by the fabric's tables. Between the removal of an object from
 *    these places and its end lies grace_wait() (liburcu, QSBR: a worker is
 *    quiescent between passes).
 *  - qp->lock keeps the serving of rings and control operations apart. It is taken first
 *    of those that workers take. A command may hold it for long, in an engine's call;
 *    qp->changing is set then, and a worker passes the QP over (worker/turn.c).
 *    qp->rq_lock covers the taking of entries from the receive queue, for fabrics in
 *    which other workers than the session's do so (loopback). A thread never holds two
 *    QPs' lock. On the loopback fabric one QP's lock comes before another's rq_lock.
 *  - cq->lock covers the guest's CQ ring. It is taken last. Only events_* is called
 *    under it, and their lock is the innermost.
 */
#ifndef HOSTD_VM_OBJECTS_H
#define HOSTD_VM_OBJECTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>
#include <urcu/list.h>

#include "lib/slot_set.h"
#include "pvhca/pvhca-admin.h"
#include "rdma/pvhca-ring.h"
#include "memory/extents.h"
#include "vm/attributes.h"
#include "vm/work_queue.h"

struct vm;

/* QPs and SRQs of 64 slots that follow each other; RCU. A slot has one or the other. */
struct slot_group {
	struct qp *qp[64];
	struct srq *srq[64];
};

/**
 * struct recent - the queue pair that was served last; the worker's own
 * @slot: its
 * @sq_pi, @rq_pi: the guest's producer indexes when it was served; 0 without such a queue
 * @until_ns: it is watched so long
 */
struct recent {
	uint32_t slot;
	uint32_t sq_pi;
	uint32_t rq_pi;
	uint64_t until_ns;
};

/**
 * struct context - a process's open device
 * @page: the guest's context page, in its RAM
 * @kernel: made by the driver for kernel consumers: PVHCA_LKEY_DMA is valid
 * @slots: QPs and SRQs by their slots, for workers: context_qp(), context_srq(). A group is made
 *	when the first of its slots is taken, and stays as long as the context; RCU
 * @again, @again_summary: slots that pvhcad itself wants to serve again
 *	(context_again_slots()); the guest's own are pending[] in its page
 * @timed, @timed_summary: likewise, slots whose QP waits for qp->deadline_ns
 * @timed_due_ns: no QP of these has an earlier deadline. Whoever adds one lowers it
 * @timed_word: the next word of timed to look at, if not all were in the last pass; the
 *	worker's own, as all up to @receives
 * @ready: slots to be served, the next one at or after @next_slot
 * @receives: slots whose receives are to be handed over, likewise
 * @busy_until_ns: the worker looks at the context in each pass until then
 * @held: ready or receives have members; written by the worker
 * @watched: recent is valid: worker/recent.h; the worker's own
 * @settling: a command waits in worker_settle(), so many times
 * @slot_used: slots in use; under vm->lock
 */
struct context {
	/* The fields that a worker reads in each pass, in one line of the cache. */
	_Alignas(64) struct pvhca_context_page *page;
	_Atomic uint64_t again_summary;
	_Atomic uint64_t timed_summary;
	_Atomic uint64_t timed_due_ns;
	uint64_t busy_until_ns;
	struct vm *vm;
	uint32_t next_slot;
	uint8_t timed_word;
	bool kernel;
	_Atomic bool held;
	bool watched;
	struct slot_set ready; /* its summary is in that line, too */

	struct recent recent;
	_Atomic unsigned int settling;

	struct slot_set receives;
	uint32_t next_receive;
	uint32_t handle;
	unsigned int users; /* PDs, CQs, QPs, SRQs */
	struct region *page_region;
	struct slot_group *slots[PVHCA_SLOT_WORDS];
	_Atomic uint64_t again[PVHCA_SLOT_WORDS];
	_Atomic uint64_t timed[PVHCA_SLOT_WORDS];
	uint64_t slot_used[PVHCA_SLOT_WORDS];
};

_Static_assert(offsetof(struct context, ready.words) == 64, "a pass reads one line of the cache");
/* NOLINTNEXTLINE(misc-redundant-expression): of two headers, which must agree */
_Static_assert(PVHCA_SLOTS == SLOT_SET_SLOTS, "a set holds the slots of a context");

struct pd {
	struct vm *vm;
	struct context *context;
	uint32_t handle;
	unsigned int users; /* MRs, MWs, AHs, SRQs, QPs */
	void *fabric;	    /* the fabric's part */
};

/* The fields of the data path come first, in one line of the cache. */
struct mr {
	struct pd *pd;
	void *fabric;
	uint32_t lkey;
	uint32_t rkey;
	uint32_t access; /* IBV_ACCESS_* */
	uint32_t handle;
	uint64_t iova;
	uint64_t length;
	uint64_t offset;	 /* of the first byte in extents */
	struct extents *extents; /* owned; NULL: made by ALLOC_MR */
	struct vm *vm;
	uint32_t max_pages; /* made by ALLOC_MR: of one PVHCA_WQE_REG_MR */
};

/* Do the length bytes at addr, an address of the region's own, lie in it? Neither may wrap. */
static inline bool mr_contains(const struct mr *mr, uint64_t addr, uint64_t length)
{
	uint64_t at = addr - mr->iova;

	return addr >= mr->iova && at <= mr->length && length <= mr->length - at;
}

struct mw {
	struct vm *vm;
	struct pd *pd;
	uint32_t handle;
	uint32_t rkey; /* as allocated; a type 2 window's changes with each bind */
	enum ibv_mw_type type;
	void *fabric;
};

struct ah {
	struct vm *vm;
	struct pd *pd;
	uint32_t handle;
	struct av av;
	void *fabric;
};

struct ceq; /* vm/events.h */

struct cq_chunk; /* vm/cq.c */

/**
 * struct cq_held - completions of one queue of a QP that found no room in its CQ
 * @node: in cq->backlog, while count is not 0
 * @first, @last: chunks of entries, in order
 * @taken: entries of the first chunk that have been delivered
 * @count: entries that have not
 *
 * Completions of one queue are kept in order. Those of different queues have none, so what a
 * queue holds back can be dropped without a look at what others do. Under cq->lock. All 0:
 * nothing is held back.
 */
struct cq_held {
	struct cds_list_head node;
	struct cq_chunk *first, *last;
	uint32_t taken;
	uint32_t count;
};

/**
 * struct cq - see vm/cq.h for the operations
 * @pi: next entry pvhcad writes
 * @ci_seen: the guest's ci when it was last read
 * @any_fired, @solicited_fired: counts of the guest's arm requests at the last event
 * @want_event, @want_solicited: completions were written since the last look at
 *	the arm counts
 * @backlog: struct cq_held of the queues that hold completions back for want of room
 * @backlog_count, @backlog_limit: how many these are, and may be: the QPs reserve that
 *	(cq_reserve), and no guest that keeps to its queues' sizes can have more outstanding
 * @event_held: an event found no room in the event queue
 * @blocked, @listed: on the worker's list of CQs to look after; under the worker's lock
 */
struct cq {
	struct vm *vm;
	struct context *context;
	uint32_t handle;
	unsigned int users;	    /* QPs; twice if a QP uses it for both */
	struct ring_buffer *buffer; /* owned */
	struct pvhca_cq_header *header;
	uint32_t log_entries;
	uint32_t flags; /* PVHCA_CREATE_CQ_* */
	struct ceq *ceq;

	pthread_mutex_t lock; /* covers all below */
	uint32_t pi;
	uint32_t ci_seen;
	uint32_t any_fired;
	uint32_t solicited_fired;
	bool want_event;
	bool want_solicited;
	bool event_held;
	struct cds_list_head backlog;
	uint32_t backlog_limit;
	uint32_t backlog_count;

	struct cds_list_head blocked;
	bool listed;
};

/**
 * struct srq_cq - a CQ in which receives of an SRQ complete: it has room reserved for all of them
 * @users: QPs
 */
struct srq_cq {
	struct cds_list_head node;
	struct cq *cq;
	unsigned int users;
};

/**
 * struct srq - shared receive queue
 * @cqs: struct srq_cq, by admin/commands_qp.c
 * @lock: taking entries from the queue, and limit; the order is that of qp->rq_lock
 * @limit: the event is armed: fewer entries than that raise it, once. 0: not armed
 */
struct srq {
	struct vm *vm;
	struct context *context;
	struct pd *pd;
	uint32_t handle;
	uint32_t srqn;
	uint32_t slot;
	unsigned int users; /* QPs */
	struct cds_list_head cqs;
	uint32_t max_wr;
	uint32_t max_sge;
	struct ring_buffer *buffer; /* owned */

	pthread_mutex_t lock;
	struct work_queue rq;
	uint32_t limit;
	void *fabric;
};

struct qp {
	const struct qp_ops *ops;
	struct vm *vm;
	struct context *context;
	struct pd *pd;
	struct cq *send_cq;
	struct cq *recv_cq;
	struct srq *srq; /* or NULL: it has a receive queue of its own */
	uint32_t handle;
	uint32_t qpn; /* as the guest and its peers see it */
	uint32_t slot;
	enum pvhca_qp_type type;
	uint32_t flags; /* PVHCA_CREATE_QP_* */
	struct qp_cap cap;
	struct ring_buffer *buffer; /* owned */

	pthread_mutex_t lock;  /* sq and state; see above */
	_Atomic bool changing; /* a command has the lock, or waits for it */
	struct work_queue sq;
	_Atomic uint32_t state;	  /* enum ibv_qp_state; written under lock and rq_lock */
	uint64_t deadline_ns;	  /* CLOCK_MONOTONIC, while its timed bit is set */
	struct cq_held send_held; /* under send_cq->lock */
	struct cq_held recv_held; /* under recv_cq->lock */

	pthread_mutex_t rq_lock;
	struct work_queue rq;
	void *fabric;
};

/* Does a QP in this state take messages? IB vol 1, 10.3.1. */
static inline bool qp_state_responds(enum ibv_qp_state state)
{
	switch (state) {
	case IBV_QPS_RTR:
	case IBV_QPS_RTS:
	case IBV_QPS_SQD:
	case IBV_QPS_SQE:
		return true;
	default:
		return false;
	}
}

/* The QP of a slot, or NULL. In a worker, or under vm->lock. */
static inline struct qp *context_qp(const struct context *context, uint32_t slot)
{
	const struct slot_group *group =
		__atomic_load_n(&context->slots[slot / 64], __ATOMIC_ACQUIRE);

	return group ? __atomic_load_n(&group->qp[slot % 64], __ATOMIC_ACQUIRE) : NULL;
}

/* Likewise its SRQ. */
static inline struct srq *context_srq(const struct context *context, uint32_t slot)
{
	const struct slot_group *group =
		__atomic_load_n(&context->slots[slot / 64], __ATOMIC_ACQUIRE);

	return group ? __atomic_load_n(&group->srq[slot % 64], __ATOMIC_ACQUIRE) : NULL;
}

/* Publish an object in its slot, which was taken, or NULL. Under vm->lock. */
static inline void context_set_qp(struct context *context, uint32_t slot, struct qp *qp)
{
	__atomic_store_n(&context->slots[slot / 64]->qp[slot % 64], qp, __ATOMIC_RELEASE);
}

static inline void context_set_srq(struct context *context, uint32_t slot, struct srq *srq)
{
	__atomic_store_n(&context->slots[slot / 64]->srq[slot % 64], srq, __ATOMIC_RELEASE);
}

/* Slots that the guest posted on, and slots that pvhcad itself wants to serve. */
static inline struct shared_slots context_pending_slots(struct context *context)
{
	return (struct shared_slots){ (_Atomic uint64_t *)&context->page->summary,
				      (_Atomic uint64_t *)context->page->pending };
}

static inline struct shared_slots context_again_slots(struct context *context)
{
	return (struct shared_slots){ &context->again_summary, context->again };
}

static inline struct shared_slots context_timed_slots(struct context *context)
{
	return (struct shared_slots){ &context->timed_summary, context->timed };
}

/*
 * Ask the context's worker to serve a slot (again). Any thread. It does not wake a sleeping
 * worker.
 */
static inline void context_again(struct context *context, uint32_t slot)
{
	shared_slots_add(context_again_slots(context), slot);
}

/* Of the timed slots one has this deadline. */
static inline void context_due(struct context *context, uint64_t deadline_ns)
{
	uint64_t due = atomic_load(&context->timed_due_ns);

	while (deadline_ns < due)
		if (atomic_compare_exchange_weak(&context->timed_due_ns, &due, deadline_ns))
			break;
}

/*
 * Ask for the slot's QP to be served once CLOCK_MONOTONIC has passed its deadline_ns, which is
 * set and given here once more. Under qp->lock. It does not wake a sleeping worker.
 */
static inline void context_timed(struct context *context, uint32_t slot, uint64_t deadline_ns)
{
	shared_slots_add(context_timed_slots(context), slot);
	context_due(context, deadline_ns);
}

#endif
