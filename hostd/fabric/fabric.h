/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What pvhcad asks of whatever carries RDMA for its guests.
 *
 * Two kinds of caller, with different rules:
 *
 *  - control operations run in the session's own thread, one at a time per
 *    session, may block and may take long. They return 0 or an enum
 *    pvhca_admin_status; where they fail nothing is left behind.
 *  - data operations run in the session's worker thread inside an RCU read
 *    section (ended when the worker's pass ends), never block, do a bounded
 *    amount of work, and count what they did.
 *
 * The generic part (commands_*.c) has checked handles, ring geometry and quota
 * before a control operation is called; objects passed are the session's own.
 */
#ifndef HOSTD_FABRIC_FABRIC_H
#define HOSTD_FABRIC_FABRIC_H

#include <stdbool.h>
#include <stdint.h>

#include "pvhca/pvhca-admin.h"

struct ah;
struct config;
struct context;
struct cq;
struct mr;
struct mw;
struct pd;
struct qp;
struct vm;
struct srq;
struct pass;

struct fabric;

/* Operations of a queue pair; set when it is made, for as long as it lives. */
struct qp_ops {
	/*
	 * qp->cap: asked for on entry, given on return, never less. Sets qp->qpn.
	 * create is called before, destroy after the QP is to be found in its
	 * context's slots (a grace period lies between).
	 */
	int (*create)(struct qp *qp);
	void (*destroy)(struct qp *qp);
	/*
	 * Called with qp->lock held. attr->av.sgid_index is the guest's; its host
	 * index is vm_gid(). Must set qp->state as the QP now is. Receives that
	 * the guest posted before the command count as posted before the change.
	 * On RESET both rings begin at index 0 again (work_queue_reset()) and no
	 * completion of older work appears any more.
	 */
	int (*modify)(struct qp *qp, uint32_t attr_mask, const struct pvhca_qp_attr *attr);
	int (*query)(struct qp *qp, uint32_t attr_mask, struct pvhca_qp_attr *attr);

	/*
	 * Data: serve what is posted on one QP, with qp->lock held. A bounded batch;
	 * what remains is asked for again by context_again(). Returns the number of
	 * entries taken.
	 */
	unsigned int (*serve)(struct pass *pass, struct qp *qp);
	/*
	 * Data: hand over the receives posted on one QP, with qp->lock held. Called
	 * for all QPs of a pass before serve is for any, for a receive may be
	 * what another QP's send, posted after it, needs. May be NULL. Returns the
	 * number of entries taken.
	 */
	unsigned int (*serve_receives)(struct qp *qp);
};

struct fabric_ops {
	const char *name;
	/* PVHCA_KERNEL_* that it can do; GSI is not its work. */
	uint32_t kernel_caps;

	/*
	 * Start with the daemon's configuration. NULL on failure, with the reason
	 * logged. stop() when no session is left.
	 */
	struct fabric *(*start)(const struct config *config);
	void (*stop)(struct fabric *fabric);

	/*
	 * A session begins and ends to use the fabric (at ENABLE, at RESET or when
	 * the VM goes). open sets vm->fabric_vm, close makes it NULL;
	 * all objects are gone before close.
	 */
	int (*vm_open)(struct fabric *fabric, struct vm *vm);
	void (*vm_close)(struct vm *vm);

	/*
	 * Descriptor that becomes readable when the host device has an async event,
	 * or -1; the session's thread then calls vm_async, which posts what
	 * concerns the guest to its async event queue.
	 */
	int (*vm_async_fd)(struct vm *vm);
	void (*vm_async)(struct vm *vm);

	/*
	 * The whole answers, the host's limits; the generic part then lowers them to
	 * the quota and fills in mac, max_contexts and host-independent fields.
	 */
	int (*query_device)(struct vm *vm, struct pvhca_rsp_query_device *rsp);
	int (*query_port)(struct vm *vm, struct pvhca_rsp_query_port *rsp);

	/*
	 * The guest gives itself a RoCE v2 address; policy has allowed it. Sets
	 * *host_index to what qp_modify needs (verbs: index in the host's table).
	 * PVHCA_ST_NOT_FOUND when the host has no such address.
	 */
	int (*gid_add)(struct vm *vm, const uint8_t gid[16], uint32_t *host_index);
	void (*gid_del)(struct vm *vm, const uint8_t gid[16]);
	/*
	 * Data: a MAD of the CM class from the guest's address source to a destination that
	 * is no VM's of this pvhcad. False: dropped. NULL: all are.
	 */
	bool (*mad_send)(struct vm *vm, const uint8_t source[16], const uint8_t destination[16],
			 const void *mad);
	/* Default MAC for a session's netdev: false = pvhcad derives one. */
	bool (*default_mac)(struct vm *vm, uint8_t mac[6]);

	int (*pd_alloc)(struct pd *pd);
	void (*pd_free)(struct pd *pd);

	/*
	 * mr->extents, offset, length, iova and access are set; sets mr->lkey and
	 * mr->rkey. mr_dereg returns 0 when no engine can touch the memory any more,
	 * or PVHCA_ST_BUSY where windows are bound to the region, which is as before
	 * then. Workers find the region by its handle between mr_reg and mr_dereg, a
	 * grace period lies before the latter.
	 */
	int (*mr_reg)(struct mr *mr);
	int (*mr_dereg)(struct mr *mr);

	/*
	 * Change a region in place (enum ibv_rereg_mr_flags). next holds the whole
	 * region as it is to be: its pd, access, iova, length, offset, extents, and the
	 * keys and the fabric's part of now; these are set there. No worker finds the
	 * region by its handle meanwhile; that none finds mr by the fabric's own tables
	 * while it changes is up to the fabric. On success the caller copies next into
	 * mr (the fabric may have done so), and frees the extents that mr had after
	 * another grace period. NULL: UNSUPPORTED.
	 */
	int (*mr_rereg)(struct mr *mr, uint32_t flags, struct mr *next);
	/*
	 * A region without memory for PVHCA_WQE_REG_MR; mr->max_pages is set. Ended by
	 * mr_dereg. NULL: UNSUPPORTED.
	 */
	int (*mr_alloc)(struct mr *mr);

	/* mw->pd and type are set; sets mw->rkey. Found by workers as MRs are. NULL: UNSUPPORTED. */
	int (*mw_alloc)(struct mw *mw);
	void (*mw_dealloc)(struct mw *mw);

	/*
	 * ah->pd, av and host_gid_index are set. Called before, destroyed after
	 * workers can find it (a grace period lies between). NULL: UNSUPPORTED.
	 */
	int (*ah_create)(struct ah *ah);
	void (*ah_destroy)(struct ah *ah);

	int (*cq_create)(struct cq *cq);
	void (*cq_destroy)(struct cq *cq);

	const struct qp_ops *qp; /* of all QPs but QP 1 */

	/* UD QPs. NULL: UNSUPPORTED. Attachments end with the QP, at the latest. */
	int (*mcast_attach)(struct qp *qp, const uint8_t gid[16], uint16_t lid);
	int (*mcast_detach)(struct qp *qp, const uint8_t gid[16], uint16_t lid);

	/*
	 * srq->max_wr, max_sge: asked for on entry, given on return, never less. Sets
	 * srq->srqn. Found by workers as QPs are. NULL: UNSUPPORTED.
	 */
	int (*srq_create)(struct srq *srq);
	void (*srq_destroy)(struct srq *srq);
	/* Arm the limit event: below limit entries there is one. 0: none any more. */
	int (*srq_set_limit)(struct srq *srq, uint32_t limit);
	int (*srq_query)(struct srq *srq, struct pvhca_rsp_query_srq *rsp);
	/*
	 * Data: hand over what is posted on an SRQ, with srq->lock held; in the phase of
	 * receives. NULL where the fabric takes entries as messages arrive. Returns the
	 * number of entries taken.
	 */
	unsigned int (*srq_serve)(struct pass *pass, struct srq *srq);

	/* Data: collect completions of a session. Returns their number. May be NULL. */
	unsigned int (*vm_poll)(struct pass *pass, struct vm *vm);
	/*
	 * Before the worker sleeps: arm, then look once more. Returns true if there
	 * is work after all. May be NULL.
	 */
	bool (*vm_arm)(struct pass *pass, struct vm *vm);
	/*
	 * How many sends the engine has that it has not completed, roughly: while
	 * they are many, a worker that is short of a processor may be away for a
	 * moment. NULL: none ever.
	 */
	unsigned int (*vm_in_flight)(const struct vm *vm);
	/* Descriptor to sleep on besides the doorbell, or -1; and its draining. May be NULL. */
	int (*vm_event_fd)(struct vm *vm);
	void (*vm_event)(struct pass *pass, struct vm *vm);
};

extern const struct fabric_ops fabric_loopback;
extern const struct fabric_ops fabric_verbs;

#endif
