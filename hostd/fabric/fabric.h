/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What pvhcad asks of a fabric, which carries RDMA for its guests, and what a fabric
 * may ask of pvhcad. docs/adding-a-fabric.md goes through it step by step.
 *
 * Two kinds of operation, with different rules:
 *
 *  - Control operations may block and may take long. They return 0 or an enum
 *    pvhca_admin_status; where they fail nothing is left behind. Of one VM there is one
 *    at a time, with vm->lock held, unless the fabric has vm_side_by_side: see there.
 *  - Data operations ("Data:" below) run in the session's worker thread inside an
 *    RCU read section, which ends when the worker's pass ends. They never block, do
 *    a bounded amount of work, and count what they did.
 *
 * Operations may be missing: the pointer is NULL then. There is one rule.
 *
 *  - "Needed" operations must be there.
 *  - Without an operation of "what guests can have" the command answers
 *    PVHCA_ST_UNSUPPORTED. Callers use fabric_call().
 *  - Without an operation of "where there is something to do" nothing is done. The
 *    caller goes on as if it had returned 0, false or, for a descriptor, -1. Callers
 *    use fabric_hook(), or test for NULL where a whole loop can be left out.
 *  - Operations in one block belong together: all of them or none.
 *
 * fabrics_incomplete() checks a table; pvhcad does not start with one that lacks some.
 *
 * Parameters and results are host endian. admin/ has checked handles, values, ring
 * geometry and quota before a control operation is called; objects passed are the
 * session's own. An object's field "fabric" is the fabric's, nobody else looks at it.
 *
 * What a fabric may call:
 *
 *   lib/               all; counters as below; table_find_rcu() with the tables of its VM
 *   config/config.h    config_route and others that may be called by any thread
 *   memory/            memory_resolve, _read, _write; memory_region_put, extents_*, stitches_*
 *   vm/vm.h            vm_gid; vm_grace; vm_guest_fault, vm_fail for the end of a VM
 *   vm/objects.h       context_again, context_timed: have a QP served again
 *   vm/pass.h          pass_*: how long the turn of the VM still goes on, and its rate
 *   vm/work_queue.h    work_queue_*
 *   vm/cq.h            cq_push, cq_timestamp, cq_forget
 *   vm/events.h        events_async
 *   worker/worker.h    worker_wake, after context_again() from any other thread
 *   gsi/gsi.h          gsi_deliver: a MAD from a peer that is no VM
 *
 * What a fabric must count, by counter_add(), in the counters of the VM that owns the
 * queue (lib/counters.h; events, interrupts and commands are counted elsewhere):
 *
 *   messages               send queue entries taken, those that are flushed included
 *   receives               receive queue entries taken, likewise
 *   completions            calls of cq_push()
 *   errors                 completions with another status than success
 *   payload_bytes_sent     of requests that completed with success
 *   inline_bytes           of these, those that stood in the entry
 *   payload_bytes_copied   payload bytes that pvhcad itself copied
 *   protocol_errors        entries that broke the ABI: more posted than a queue holds
 *   mappings_reused        regions for which stitches_get() said so
 *   vm->connections        not a counter: connections there are, under quota.connections
 */
#ifndef HOSTD_FABRIC_FABRIC_H
#define HOSTD_FABRIC_FABRIC_H

#include <stdbool.h>
#include <stdint.h>

#include "pvhca/pvhca-admin.h"

struct ah;
struct cq;
struct device_limits;
struct mr;
struct mw;
struct pass;
struct pd;
struct port_attr;
struct qp;
struct qp_attr;
struct setting_table; /* config/setting.h */
struct srq;
struct vm;

struct fabric; /* the fabric's own */

/* Operations of a queue pair; set when it is made, for as long as it lives. */
struct qp_ops {
	/* ------------------------------- needed ------------------------------ */
	/*
	 * qp->cap: asked for on entry, given on return, never less. Sets qp->qpn, 24
	 * bits, of which no other QP of the VM has the same now. create is called
	 * before, destroy after the QP is to be found in its context's slots (a
	 * grace period lies between). After destroy no completion of it appears.
	 */
	int (*create)(struct qp *qp);
	void (*destroy)(struct qp *qp);
	/*
	 * attr_mask: enum ibv_qp_attr_mask, without IBV_QP_CAP; only those fields of attr
	 * count. Whether they go with the transition is the fabric's to check. Called
	 * with qp->lock held; attr->av.sgid_index is the guest's (vm_gid()). Must set
	 * qp->state, with qp->rq_lock held too, as the QP now is. Receives that the
	 * guest posted before the command count as posted before the change. On
	 * RESET both rings begin at index 0 again (work_queue_reset()) and no
	 * completion of older work appears any more. In ERR all that is posted
	 * completes with IBV_WC_WR_FLUSH_ERR; the caller has the QP served.
	 */
	int (*modify)(struct qp *qp, uint32_t attr_mask, const struct qp_attr *attr);
	/* Sets at least the fields in attr_mask. attr is zeroed before. */
	int (*query)(struct qp *qp, uint32_t attr_mask, struct qp_attr *attr);
	/*
	 * Data: serve what is posted on one QP, with qp->lock held. A bounded batch, and
	 * no longer than the turn goes on (vm/pass.h); what remains is asked for again by
	 * context_again(). Returns the number of entries taken.
	 */
	unsigned int (*serve)(struct pass *pass, struct qp *qp);

	/* --------------------- where there is something to do ---------------- */
	/*
	 * Before destroy, and before the grace period for it, which so is for other VMs'
	 * workers, too: nobody comes upon the QP from here on. It may take as long as destroy. A
	 * worker that found the QP in its slot before may still serve it. Not where its VM
	 * ends, see vm_hide.
	 */
	void (*hide)(struct qp *qp);
	/*
	 * Data: hand over the receives posted on one QP, with qp->lock held. Called
	 * for all QPs of a pass before serve is for any, for a receive may be
	 * what another QP's send, posted after it, needs. Returns the number of
	 * entries taken. What the turn has no room for is asked for again. A fabric that
	 * takes receives as messages arrive has none.
	 */
	unsigned int (*serve_receives)(struct pass *pass, struct qp *qp);
};

/**
 * struct fabric_ops - a fabric
 * @name: as in `--fabric NAME`: that of its folder
 * @settings: of its own, for pvhcad.conf and the command line; NULL: it has none
 * @host_addresses: a guest's GIDs are those of the host device
 * @locks_memory: registered memory counts as locked: RLIMIT_MEMLOCK is raised for it
 * @kernel_caps: PVHCA_KERNEL_* that it can do; GSI is not its work
 */
struct fabric_ops {
	const char *name;
	const struct setting_table *settings;
	bool host_addresses;
	bool locks_memory;
	uint32_t kernel_caps;

	/* ------------------------------- needed ------------------------------ */

	/*
	 * Start; its settings have their values. NULL on failure, with the reason
	 * logged. stop() when no session is left. The main thread.
	 */
	struct fabric *(*start)(void);
	void (*stop)(struct fabric *fabric);

	/*
	 * A session begins and ends to use the fabric (at ENABLE, at RESET or when
	 * the VM goes). open sets vm->fabric_vm, close makes it NULL;
	 * all objects are gone before close.
	 */
	int (*vm_open)(struct fabric *fabric, struct vm *vm);
	void (*vm_close)(struct vm *vm);

	/*
	 * The whole answers, the host's limits; they are zeroed before. The caller lowers
	 * them to the quota.
	 */
	int (*query_device)(struct vm *vm, struct device_limits *limits);
	int (*query_port)(struct vm *vm, struct port_attr *port);

	/*
	 * The guest gives itself a RoCE v2 address, the entry index of its table, for an
	 * interface of that VLAN or PVHCA_NO_VLAN; policy has allowed it.
	 * PVHCA_ST_NOT_FOUND when the host has no such address. What is to be undone at
	 * the end: gid_del below.
	 */
	int (*gid_add)(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan);

	/*
	 * mr->extents, offset, length, iova and access are set; sets mr->lkey and
	 * mr->rkey. mr_dereg returns 0 when no engine can touch the memory any more,
	 * or PVHCA_ST_BUSY where windows are bound to the region, which is as before
	 * then. Workers find the region by its handle between mr_reg and mr_dereg, a
	 * grace period lies before the latter.
	 */
	int (*mr_reg)(struct mr *mr);
	int (*mr_dereg)(struct mr *mr);

	const struct qp_ops *qp; /* of all QPs but QP 1 */

	/* ------------------------- what guests can have ---------------------- */

	/*
	 * Change a region in place (enum ibv_rereg_mr_flags). next holds the whole
	 * region as it is to be: its pd, access, iova, length, offset, extents, and the
	 * keys and the fabric's part of now; these are set there. No worker finds the
	 * region by its handle meanwhile, nor by the fabric's own tables: mr_hide, and a grace
	 * period, come before. On success the caller copies next into mr (the fabric may
	 * have done so), and frees the extents that mr had.
	 */
	int (*mr_rereg)(struct mr *mr, uint32_t flags, struct mr *next);

	/*
	 * A region without memory for PVHCA_WQE_REG_MR; mr->max_pages is set. Ended by
	 * mr_dereg. With PVHCA_KERNEL_REG_MR in kernel_caps.
	 */
	int (*mr_alloc)(struct mr *mr);

	/* mw->pd and type are set; sets mw->rkey. Found by workers as MRs are. */
	int (*mw_alloc)(struct mw *mw);
	void (*mw_dealloc)(struct mw *mw);

	/*
	 * ah->pd and av are set. Called before, destroyed after workers can find it (a
	 * grace period lies between).
	 */
	int (*ah_create)(struct ah *ah);
	void (*ah_destroy)(struct ah *ah);

	/* UD QPs. Attachments end with the QP, at the latest. */
	int (*mcast_attach)(struct qp *qp, const uint8_t gid[16], uint16_t lid);
	int (*mcast_detach)(struct qp *qp, const uint8_t gid[16], uint16_t lid);

	/*
	 * srq->max_wr, max_sge: asked for on entry, given on return, never less. Sets
	 * srq->srqn. Found by workers as QPs are.
	 */
	int (*srq_create)(struct srq *srq);
	void (*srq_destroy)(struct srq *srq);
	/* Arm the limit event: below limit entries there is one. 0: none any more. */
	int (*srq_set_limit)(struct srq *srq, uint32_t limit);
	/* Sets *limit, as the above: 0 when the event has been raised. */
	int (*srq_query)(struct srq *srq, uint32_t *limit);

	/* --------------------- where there is something to do ---------------- */

	/*
	 * True: control operations on this VM's objects may take long, as an engine
	 * carries them out. Then they are called without vm->lock, by any thread, and
	 * those of different objects at the same time. Never two at a time for one
	 * object, nor one for an object that another is made of; but objects of one PD,
	 * CQ, SRQ or context may be made and ended at the same time. Changes of the GID
	 * table come one at a time, and not while an entry is in use for an address. Asked
	 * once, after vm_open.
	 */
	bool (*vm_side_by_side)(struct vm *vm);

	/*
	 * The VM goes with all its objects, which are destroyed one after the other from
	 * now on. No worker of another VM finds any of them after the next grace period, for
	 * which the caller waits; vm->ending is set then, and vm_grace() waits no more.
	 */
	void (*vm_hide)(struct vm *vm);
	/*
	 * Likewise of one region or window: before mr_dereg, mr_rereg or mw_dealloc and the grace
	 * period for it. mr_hide may return PVHCA_ST_BUSY as mr_dereg does, and has done nothing
	 * then; where mr_dereg or mr_rereg fails, the region is as before mr_hide.
	 */
	int (*mr_hide)(struct mr *mr);
	void (*mw_hide)(struct mw *mw);

	/*
	 * An address of the guest's goes: gid_hide before the grace period for it, but not where
	 * the VM ends (vm_hide), gid_del after it.
	 */
	void (*gid_hide)(struct vm *vm, uint32_t index, const uint8_t gid[16]);
	void (*gid_del)(struct vm *vm, uint32_t index, const uint8_t gid[16]);

	int (*pd_alloc)(struct pd *pd);
	void (*pd_free)(struct pd *pd);

	/*
	 * Descriptor that becomes readable when the host device has an async event,
	 * or -1; the session's thread then calls vm_async, which posts what
	 * concerns the guest to its async event queue.
	 */
	int (*vm_async_fd)(struct vm *vm);
	void (*vm_async)(struct vm *vm);

	/* Default MAC for a session's netdev: false = pvhcad derives one. */
	bool (*default_mac)(struct vm *vm, uint8_t mac[6]);

	/*
	 * Data: a MAD of the CM class from the guest's address source to a destination that
	 * is no VM's of this pvhcad. False: dropped.
	 */
	bool (*mad_send)(struct vm *vm, const uint8_t source[16], const uint8_t destination[16],
			 const void *mad);

	/*
	 * Data: hand over what is posted on an SRQ, with srq->lock held; in the phase of
	 * receives. Returns the number of entries taken. A fabric that takes entries as
	 * messages arrive has none.
	 */
	unsigned int (*srq_serve)(struct pass *pass, struct srq *srq);

	/*
	 * Data: collect completions of a session while the turn goes on; the next call goes
	 * on behind them. Returns their number.
	 */
	unsigned int (*vm_poll)(struct pass *pass, struct vm *vm);
	/*
	 * Data: before the worker sleeps: arm, then look once more. Returns true if there
	 * is work after all.
	 */
	bool (*vm_arm)(struct pass *pass, struct vm *vm);
	/*
	 * Data: how many sends the engine has that it has not completed, roughly: while
	 * they are many, a worker that is short of a processor may be away for a
	 * moment.
	 */
	unsigned int (*vm_in_flight)(const struct vm *vm);

	/* Data: descriptor to sleep on besides the doorbell, or -1; and its draining. */
	int (*vm_event_fd)(struct vm *vm);
	void (*vm_event)(struct pass *pass, struct vm *vm);
};

/* Call an operation of "what guests can have". */
#define fabric_call(ops, op, ...) ((ops)->op ? (ops)->op(__VA_ARGS__) : PVHCA_ST_UNSUPPORTED)

/* Call one of "where there is something to do"; otherwise: what a missing one returns. */
#define fabric_hook(ops, otherwise, op, ...) ((ops)->op ? (ops)->op(__VA_ARGS__) : (otherwise))

#endif
