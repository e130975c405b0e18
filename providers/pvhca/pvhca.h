/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * libpvhca: user-space driver of the paravirtual adapter pvhca.
 *
 *   pvhca.c     finding and opening the device
 *   verbs.c     queries, multicast groups
 *   pd.c        protection domains, thread domains, parent domains
 *   mr.c, mw.c  memory regions, memory windows
 *   ah.c        address handles
 *   cq.c, qp.c, srq.c  control path of completion queues, queue pairs and
 *               shared receive queues
 *   post.c      posting to send, receive and shared receive queues
 *   wr.c        posting to send queues as ibv_wr_post(3) has it
 *   wqe.h       work queue entries, for both
 *   poll.c      polling, arming and cleaning completion queues
 *   cq_ex.c     polling as ibv_create_cq_ex(3) has it
 *   cqe.h       completion queue entries, for both
 *   ring.h      how memory shared with the host is read, written and announced
 *   lock.h      locks of queues
 *   buf.c       memory of the rings
 *   qp_table.c  from a QP number to the QP
 *
 * post.c, wr.c, poll.c, cq_ex.c, the headers and qp_table.c call nothing of
 * libibverbs.
 *
 * Locks, outermost first:
 *   CQ resize_lock      a resize
 *   CQ lock             consumer index, ring, skip marks, last_qp; of two CQs
 *                       that of the lower address first. ibv_start_poll() leaves
 *                       it locked until ibv_end_poll(); a thread that makes or
 *                       destroys a QP meanwhile does not lock it again.
 *   context qp_lock     writers of the QP table
 *   send queue lock     \ producer index and wrid[] of the queue, QP state;
 *   receive queue lock  / both needed to change the state. ibv_wr_start() leaves
 *                       the former locked until ibv_wr_complete() or _abort().
 *   SRQ's queue lock    producer index, wrid[] and free tags
 * A queue's ci moves under the lock of the CQ that it completes to.
 *
 * No lock is held over a command to the kernel. A command may take long, and one
 * that destroys a queue waits until the application has acknowledged its events;
 * the thread that does so may make and destroy other objects before. The exception
 * is resize_lock: while the host moves the entries of a CQ nobody can use that CQ.
 * A thread that waits for it holds no other lock.
 */
#ifndef __PVHCA_H__
#define __PVHCA_H__

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include <ccan/ilog.h>
#include <infiniband/driver.h>
#include <rdma/pvhca-ring.h>

#include "lock.h"

#define PVHCA_CACHE_LINE 64

struct pvhca_device {
	struct verbs_device vdev;
};

/* What memory is for: resource_type of a parent domain's allocators. */
enum pvhca_resource {
	PVHCA_RESOURCE_CQ = 1,
	PVHCA_RESOURCE_QP = 2,
	PVHCA_RESOURCE_SRQ = 3,
};

struct pvhca_pd;
struct pvhca_qp;
struct pvhca_srq;

/*
 * Memory of a ring, shared with the host while its object exists.
 * @owner: parent domain whose allocator it comes from; NULL: our own
 */
struct pvhca_buf {
	uint8_t *addr;
	size_t len;
	struct pvhca_pd *owner;
	enum pvhca_resource resource;
};

/*
 * QPs by their 24-bit number: see qp_table.c. Twice the slots that a context has.
 */
#define PVHCA_QP_TABLE_BITS 13
#define PVHCA_QP_TABLE_SIZE (1u << PVHCA_QP_TABLE_BITS)
#define PVHCA_QPN_BITS	    24

/* @qp: NULL: a free place */
struct pvhca_qp_entry {
	struct pvhca_qp *qp;
	uint32_t qpn;
};

/**
 * struct pvhca_qp_table - from numbers to QPs
 * @changes: odd while entries change; written under qp_lock
 * @used: entries; under qp_lock
 */
struct pvhca_qp_table {
	uint32_t changes;
	uint32_t used;
	struct pvhca_qp_entry entries[PVHCA_QP_TABLE_SIZE];
};

_Static_assert(PVHCA_QP_TABLE_SIZE >= 2 * PVHCA_SLOTS,
	       "room for all QPs of a context");

struct pvhca_context {
	struct verbs_context vctx;

	struct pvhca_context_page *page;
	size_t page_len;
	uint8_t *doorbells;
	size_t doorbells_len;

	uint32_t max_cqe;
	uint32_t max_qp_wr;
	uint32_t max_srq_wr;
	uint32_t max_srq_sge;
	uint32_t max_sq_sge;
	uint32_t max_rq_sge;
	uint32_t max_inline;
	uint64_t send_ops; /* IBV_QP_EX_WITH_*: what the host's device can do */
	bool timestamps;

	pthread_mutex_t qp_lock;
	pthread_cond_t qp_cond; /* a QP has one visitor less */
	struct pvhca_qp_table qp_table;
};

/* @users: parent domains; atomic */
struct pvhca_td {
	struct ibv_td ibv_td;
	unsigned int users;
};

/**
 * struct pvhca_pd - a protection domain, or a parent domain that stands for one
 * @users: atomic; of a protection domain its parent domains, of a parent domain
 *	the queues made with it
 * @protection: of a parent domain the protection domain, else NULL
 * @td: of a parent domain: its queues are used by one thread at a time; or NULL
 * @alloc, @free, @context: of a parent domain its allocators, or NULL
 */
struct pvhca_pd {
	struct ibv_pd ibv_pd;
	unsigned int users;

	struct pvhca_pd *protection;
	struct pvhca_td *td;
	void *(*alloc)(struct ibv_pd *pd, void *context, size_t size,
		       size_t alignment, uint64_t resource);
	void (*free)(struct ibv_pd *pd, void *context, void *ptr,
		     uint64_t resource);
	void *context;
};

struct pvhca_mr {
	struct verbs_mr vmr;
	uint32_t handle; /* for binds */
	bool bindable;
};

struct pvhca_mw {
	struct ibv_mw ibv_mw;
	uint32_t handle; /* for binds */
};

struct pvhca_ah {
	struct ibv_ah ibv_ah;
	uint32_t ah; /* for the work queue entry */
};

/* A completion that was taken from a CQ; valid until the entry is released. */
struct pvhca_completion {
	const struct pvhca_cqe *cqe;
	uint32_t word; /* of the entry, its last */
	struct pvhca_qp *qp;
};

/**
 * struct pvhca_cq - completion queue
 * @lock: see above; taken by pvhca_lock_cq()
 * @resizing: the ring belongs to the kernel; others wait for resize_lock
 * @current: extended CQ: the completion that the read functions read, between
 *	start and end of a poll
 * @first: extended CQ: ci at the start of the poll
 * @poller: extended CQ: thread that is between start and end of a poll, so that it
 *	has the lock, or 0; atomic
 * @parent: parent domain that it was made with, or NULL
 */
struct pvhca_cq {
	struct verbs_cq vcq;
	struct pvhca_lock lock;
	bool resizing;

	struct pvhca_cq_header *header;
	struct pvhca_cqe *entries;
	unsigned int log_entries;
	uint32_t ci;
	struct pvhca_qp *last_qp; /* whose completion was polled last */

	struct pvhca_completion current;
	uint32_t first;
	uintptr_t poller;

	struct pvhca_context *ctx;
	struct pvhca_pd *parent;
	void *doorbell;
	struct pvhca_buf buf;
	pthread_mutex_t resize_lock;
};

/**
 * struct pvhca_queue - a send, receive or shared receive queue
 * @lock: serialises posts
 * @pi: producer index, free running
 * @max_wr: entries that may be outstanding, at most those of the ring
 * @mask: entries of the ring - 1
 * @shared_pi: producer index as pvhcad sees it
 * @wrid: wr_id by place in the ring; in an SRQ by tag
 * @ci: not used in an SRQ; entries below are retired; released by the poller once it has read
 *	wrid[], acquired by a post before it writes wrid[] again
 *
 * The poller's field has a cache line of its own.
 */
struct pvhca_queue {
	struct pvhca_lock lock;
	uint32_t pi;
	uint32_t max_wr;
	uint32_t mask;
	uint32_t max_sge;
	unsigned int log_stride;
	uint8_t *entries;
	__le32 *shared_pi;
	uint64_t *wrid;

	uint8_t pad0[PVHCA_CACHE_LINE];
	uint32_t ci;
	uint8_t pad1[PVHCA_CACHE_LINE - sizeof(uint32_t)];
};

/**
 * struct pvhca_srq - shared receive queue
 * @q: its lock also serialises the pollers that give tags back
 * @free_tags: tags that no posted receive has, the last one is taken first
 * @num_free: of them; 0: the queue is full
 *
 * Receives complete in any order, so each carries a tag, and its place in the ring
 * says nothing. Places need no care of their own: pvhcad takes entries in the order
 * of the ring, so with less than all of them outstanding the next one is free.
 */
struct pvhca_srq {
	struct verbs_srq vsrq;
	struct pvhca_context *ctx;
	struct pvhca_pd *parent;

	struct pvhca_queue q;
	uint16_t *free_tags;
	uint32_t num_free;

	uint32_t srqn; /* 0: the host gives none */
	uint32_t slot;
	void *doorbell;
	struct pvhca_buf buf;
	struct ibv_srq_attr attr;
};

struct pvhca_send_op;

/**
 * struct pvhca_wr_builder - work requests between ibv_wr_start() and its end
 * @err: the first error; nothing will be posted
 * @refused: error of each request, for the state of the QP; a batch without
 *	requests is none
 * @pi: behind the last request
 * @op: of the last request; NULL before the first, and after an error
 * @wqe: its entry
 * @data: where SGEs go
 */
struct pvhca_wr_builder {
	int err;
	int refused;
	uint32_t pi;
	const struct pvhca_send_op *op;
	struct pvhca_sq_wqe *wqe;
	uint8_t *data;
};

/**
 * struct pvhca_qp - queue pair
 * @destroying: the destroy command is under way, so that the host may have given
 *	the number to another QP; under qp_lock
 * @visitors: threads that make a QP of the same number and take this one out of
 *	the table; under qp_lock. The QP stays until they are gone.
 */
struct pvhca_qp {
	struct verbs_qp vqp;
	struct pvhca_context *ctx;
	struct pvhca_pd *parent;

	struct pvhca_queue sq;
	struct pvhca_wr_builder wr;
	struct pvhca_queue rq;
	enum ibv_qp_state state;
	uint32_t max_inline;
	bool sq_sig_all;

	uint32_t slot;
	void *doorbell;
	struct pvhca_buf buf;
	struct ibv_qp_cap cap;

	bool destroying;
	unsigned int visitors;
};

static inline struct pvhca_context *to_pvhca_context(struct ibv_context *ibctx)
{
	return container_of(ibctx, struct pvhca_context, vctx.context);
}

static inline struct pvhca_pd *to_pvhca_pd(struct ibv_pd *ibpd)
{
	return container_of(ibpd, struct pvhca_pd, ibv_pd);
}

static inline struct pvhca_td *to_pvhca_td(struct ibv_td *ibtd)
{
	return container_of(ibtd, struct pvhca_td, ibv_td);
}

static inline struct pvhca_mr *to_pvhca_mr(struct ibv_mr *ibmr)
{
	return container_of(ibmr, struct pvhca_mr, vmr.ibv_mr);
}

static inline struct pvhca_mw *to_pvhca_mw(struct ibv_mw *ibmw)
{
	return container_of(ibmw, struct pvhca_mw, ibv_mw);
}

static inline struct pvhca_ah *to_pvhca_ah(struct ibv_ah *ibah)
{
	return container_of(ibah, struct pvhca_ah, ibv_ah);
}

static inline struct pvhca_cq *to_pvhca_cq(struct ibv_cq *ibcq)
{
	return container_of(ibcq, struct pvhca_cq, vcq.cq);
}

static inline struct pvhca_cq *to_pvhca_cq_ex(struct ibv_cq_ex *ibcq)
{
	return container_of(ibcq, struct pvhca_cq, vcq.cq_ex);
}

static inline struct pvhca_srq *to_pvhca_srq(struct ibv_srq *ibsrq)
{
	return container_of(ibsrq, struct pvhca_srq, vsrq.srq);
}

static inline struct pvhca_qp *to_pvhca_qp_ex(struct ibv_qp_ex *ibqp)
{
	return container_of(ibqp, struct pvhca_qp, vqp.qp_ex);
}

static inline struct pvhca_qp *to_pvhca_qp(struct ibv_qp *ibqp)
{
	return container_of(ibqp, struct pvhca_qp, vqp.qp);
}

/* The smallest n with x <= 1 << n. */
static inline unsigned int pvhca_log2_up(uint32_t x)
{
	return x > 1 ? ilog32(x - 1) : 0;
}

/* buf.c */
int pvhca_buf_alloc(struct pvhca_buf *buf, size_t len, struct pvhca_pd *parent,
		    enum pvhca_resource resource);
void pvhca_buf_free(struct pvhca_buf *buf);

/* qp_table.c */
int pvhca_qp_table_insert(struct pvhca_qp_table *table, uint32_t qpn,
			  struct pvhca_qp *qp);
void pvhca_qp_table_remove(struct pvhca_qp_table *table, uint32_t qpn);
struct pvhca_qp *pvhca_qp_table_find(const struct pvhca_qp_table *table,
				     uint32_t qpn);

/* verbs.c */
int pvhca_query_device_ex(struct ibv_context *ibctx,
			  const struct ibv_query_device_ex_input *input,
			  struct ibv_device_attr_ex *attr, size_t attr_size);
int pvhca_query_port(struct ibv_context *ibctx, uint8_t port,
		     struct ibv_port_attr *attr);
int pvhca_attach_mcast(struct ibv_qp *ibqp, const union ibv_gid *gid,
		       uint16_t lid);
int pvhca_detach_mcast(struct ibv_qp *ibqp, const union ibv_gid *gid,
		       uint16_t lid);

/* pd.c */
struct ibv_pd *pvhca_alloc_pd(struct ibv_context *ibctx);
int pvhca_dealloc_pd(struct ibv_pd *ibpd);
struct ibv_td *pvhca_alloc_td(struct ibv_context *ibctx,
			      struct ibv_td_init_attr *attr);
int pvhca_dealloc_td(struct ibv_td *ibtd);
struct ibv_pd *
pvhca_alloc_parent_domain(struct ibv_context *ibctx,
			  struct ibv_parent_domain_init_attr *attr);
struct pvhca_pd *pvhca_get_parent(struct ibv_pd *ibpd);
void pvhca_put_parent(struct pvhca_pd *parent);

/* mr.c */
struct ibv_mr *pvhca_reg_mr(struct ibv_pd *ibpd, void *addr, size_t length,
			    uint64_t hca_va, int access);
struct ibv_mr *pvhca_reg_dmabuf_mr(struct ibv_pd *ibpd, uint64_t offset,
				   size_t length, uint64_t iova, int fd,
				   int access);
int pvhca_rereg_mr(struct verbs_mr *vmr, int flags, struct ibv_pd *ibpd,
		   void *addr, size_t length, int access);
int pvhca_dereg_mr(struct verbs_mr *vmr);

/* mw.c */
struct ibv_mw *pvhca_alloc_mw(struct ibv_pd *ibpd, enum ibv_mw_type type);
int pvhca_dealloc_mw(struct ibv_mw *ibmw);
int pvhca_bind_mw(struct ibv_qp *ibqp, struct ibv_mw *ibmw,
		  struct ibv_mw_bind *bind);

/* ah.c */
struct ibv_ah *pvhca_create_ah(struct ibv_pd *ibpd, struct ibv_ah_attr *attr);
int pvhca_destroy_ah(struct ibv_ah *ibah);

/* cq.c */
struct ibv_cq *pvhca_create_cq(struct ibv_context *ibctx, int cqe,
			       struct ibv_comp_channel *channel,
			       int comp_vector);
struct ibv_cq_ex *pvhca_create_cq_ex(struct ibv_context *ibctx,
				     struct ibv_cq_init_attr_ex *attr);
int pvhca_resize_cq(struct ibv_cq *ibcq, int cqe);
int pvhca_destroy_cq(struct ibv_cq *ibcq);

/* cq_ex.c */
#define PVHCA_CQ_WC_FLAGS \
	(IBV_WC_STANDARD_FLAGS | IBV_WC_EX_WITH_COMPLETION_TIMESTAMP)
void pvhca_set_cq_ex_ops(struct pvhca_cq *cq, uint64_t wc_flags);

/* srq.c */
struct ibv_srq *pvhca_create_srq(struct ibv_pd *ibpd,
				 struct ibv_srq_init_attr *attr);
int pvhca_modify_srq(struct ibv_srq *ibsrq, struct ibv_srq_attr *attr,
		     int mask);
int pvhca_query_srq(struct ibv_srq *ibsrq, struct ibv_srq_attr *attr);
int pvhca_get_srq_num(struct ibv_srq *ibsrq, uint32_t *srq_num);
int pvhca_destroy_srq(struct ibv_srq *ibsrq);

/* qp.c */
struct ibv_qp *pvhca_create_qp(struct ibv_pd *ibpd,
			       struct ibv_qp_init_attr *attr);
struct ibv_qp *pvhca_create_qp_ex(struct ibv_context *ibctx,
				  struct ibv_qp_init_attr_ex *attr);
int pvhca_modify_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask);
int pvhca_query_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask,
		   struct ibv_qp_init_attr *init_attr);
int pvhca_destroy_qp(struct ibv_qp *ibqp);
int pvhca_init_queue(struct pvhca_queue *q, unsigned int log_entries,
		     unsigned int log_stride, bool one_thread);
void pvhca_free_queue(struct pvhca_queue *q);

/* post.c */
int pvhca_post_send(struct ibv_qp *ibqp, struct ibv_send_wr *wr,
		    struct ibv_send_wr **bad_wr);
int pvhca_post_recv(struct ibv_qp *ibqp, struct ibv_recv_wr *wr,
		    struct ibv_recv_wr **bad_wr);
int pvhca_post_srq_recv(struct ibv_srq *ibsrq, struct ibv_recv_wr *wr,
			struct ibv_recv_wr **bad_wr);
int pvhca_post_bind(struct pvhca_qp *qp, struct ibv_mw *ibmw,
		    const struct ibv_mw_bind *bind);

/* wr.c */
uint64_t pvhca_device_send_ops(const struct ibv_device_attr *attr);
int pvhca_check_send_ops(const struct pvhca_context *ctx, enum ibv_qp_type type,
			 uint64_t send_ops);
void pvhca_set_wr_ops(struct pvhca_qp *qp, uint64_t send_ops);

/* poll.c */
int pvhca_poll_cq(struct ibv_cq *ibcq, int num_entries, struct ibv_wc *wc);
int pvhca_req_notify_cq(struct ibv_cq *ibcq, int solicited_only);
void pvhca_cq_clean(struct pvhca_cq *cq, struct pvhca_qp *qp);
void pvhca_lock_cq(struct pvhca_cq *cq);
void pvhca_unlock_cq(struct pvhca_cq *cq);
void pvhca_lock_cqs(struct pvhca_cq *a, struct pvhca_cq *b);
void pvhca_unlock_cqs(struct pvhca_cq *a, struct pvhca_cq *b);

#endif /* __PVHCA_H__ */
