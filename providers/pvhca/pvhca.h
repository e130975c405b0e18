/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * libpvhca: user-space driver of the paravirtual adapter pvhca.
 *
 *   pvhca.c     finding and opening the device
 *   verbs.c     queries, protection domains, memory regions
 *   cq.c, qp.c  control path of completion queues and queue pairs
 *   post.c      posting to send and receive queues
 *   poll.c      polling, arming and cleaning completion queues
 *   ring.h      how memory shared with the host is read, written and announced
 *   buf.c       memory of the rings
 *   qp_table.c  from a QP number to the QP
 *
 * post.c, poll.c, ring.h and qp_table.c call nothing of libibverbs.
 *
 * Locks, outermost first:
 *   context qp_lock     creating and destroying QPs; sleeps in the kernel
 *   CQ lock             consumer index, skip marks, last_qp; of two CQs that of
 *                       the lower address first
 *   send queue lock     \ producer index and wrid[] of the queue, QP state;
 *   receive queue lock  / both needed to change the state
 * A queue's ci moves under the lock of the CQ that it completes to.
 */
#ifndef __PVHCA_H__
#define __PVHCA_H__

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include <ccan/ilog.h>
#include <infiniband/driver.h>
#include <rdma/pvhca-ring.h>

#define PVHCA_CACHE_LINE 64

struct pvhca_device {
	struct verbs_device vdev;
};

/* Memory of a ring, shared with the host while its object exists. */
struct pvhca_buf {
	uint8_t *addr;
	size_t len;
};

struct pvhca_qp;

/*
 * QPs by their 24-bit number, three levels of 256. Nodes are made by writers
 * under qp_lock and stay until the context ends, so readers need no lock; that
 * the QP itself stays is up to the CQ lock that every reader holds.
 */
#define PVHCA_QP_TABLE_BITS 8
#define PVHCA_QP_TABLE_FAN (1 << PVHCA_QP_TABLE_BITS)
#define PVHCA_QPN_BITS 24

struct pvhca_qp_leaf {
	struct pvhca_qp *qp[PVHCA_QP_TABLE_FAN];
};

struct pvhca_qp_node {
	struct pvhca_qp_leaf *leaf[PVHCA_QP_TABLE_FAN];
};

struct pvhca_qp_table {
	struct pvhca_qp_node *node[PVHCA_QP_TABLE_FAN];
};

struct pvhca_context {
	struct verbs_context vctx;

	struct pvhca_context_page *page;
	size_t page_len;
	uint8_t *doorbells;
	size_t doorbells_len;

	uint32_t max_cqe;
	uint32_t max_qp_wr;
	uint32_t max_sq_sge;
	uint32_t max_rq_sge;
	uint32_t max_inline;

	pthread_mutex_t qp_lock;
	struct pvhca_qp_table qp_table;
};

struct pvhca_pd {
	struct ibv_pd ibv_pd;
};

struct pvhca_ah {
	struct ibv_ah ibv_ah;
	uint32_t ah; /* for the work queue entry */
};

struct pvhca_cq {
	struct verbs_cq vcq;
	pthread_spinlock_t lock;

	struct pvhca_cq_header *header;
	struct pvhca_cqe *entries;
	unsigned int log_entries;
	uint32_t ci;
	struct pvhca_qp *last_qp; /* whose completion was polled last */

	struct pvhca_context *ctx;
	void *doorbell;
	struct pvhca_buf buf;
};

/**
 * struct pvhca_queue - a send or receive queue
 * @lock: serialises who posts
 * @pi: producer index, free running
 * @max_wr: entries that may be outstanding, at most those of the ring
 * @mask: entries of the ring - 1
 * @shared_pi: producer index as pvhcad sees it
 * @wrid: wr_id by place in the ring
 * @ci: entries below are retired; released by the poller once it has read
 *	wrid[], acquired by who posts before it writes wrid[] again
 *
 * The poller's field has a cache line of its own.
 */
struct pvhca_queue {
	pthread_spinlock_t lock;
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

struct pvhca_qp {
	struct verbs_qp vqp;
	struct pvhca_context *ctx;

	struct pvhca_queue sq;
	struct pvhca_queue rq;
	enum ibv_qp_state state;
	uint32_t max_inline;
	bool sq_sig_all;

	uint32_t slot;
	void *doorbell;
	struct pvhca_buf buf;
	struct ibv_qp_cap cap;
};

static inline struct pvhca_context *to_pvhca_context(struct ibv_context *ibctx)
{
	return container_of(ibctx, struct pvhca_context, vctx.context);
}

static inline struct pvhca_pd *to_pvhca_pd(struct ibv_pd *ibpd)
{
	return container_of(ibpd, struct pvhca_pd, ibv_pd);
}

static inline struct pvhca_ah *to_pvhca_ah(struct ibv_ah *ibah)
{
	return container_of(ibah, struct pvhca_ah, ibv_ah);
}

static inline struct pvhca_cq *to_pvhca_cq(struct ibv_cq *ibcq)
{
	return container_of(ibcq, struct pvhca_cq, vcq.cq);
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
int pvhca_buf_alloc(struct pvhca_buf *buf, size_t len);
void pvhca_buf_free(struct pvhca_buf *buf);

/* qp_table.c */
int pvhca_qp_table_insert(struct pvhca_qp_table *table, uint32_t qpn,
			  struct pvhca_qp *qp);
void pvhca_qp_table_remove(struct pvhca_qp_table *table, uint32_t qpn);
struct pvhca_qp *pvhca_qp_table_find(const struct pvhca_qp_table *table,
				     uint32_t qpn);
void pvhca_qp_table_free(struct pvhca_qp_table *table);

/* verbs.c */
int pvhca_query_device_ex(struct ibv_context *ibctx,
			  const struct ibv_query_device_ex_input *input,
			  struct ibv_device_attr_ex *attr, size_t attr_size);
int pvhca_query_port(struct ibv_context *ibctx, uint8_t port,
		     struct ibv_port_attr *attr);
struct ibv_pd *pvhca_alloc_pd(struct ibv_context *ibctx);
int pvhca_dealloc_pd(struct ibv_pd *ibpd);
struct ibv_mr *pvhca_reg_mr(struct ibv_pd *ibpd, void *addr, size_t length,
			    uint64_t hca_va, int access);
int pvhca_dereg_mr(struct verbs_mr *vmr);

/* cq.c */
struct ibv_cq *pvhca_create_cq(struct ibv_context *ibctx, int cqe,
			       struct ibv_comp_channel *channel,
			       int comp_vector);
int pvhca_destroy_cq(struct ibv_cq *ibcq);

/* qp.c */
struct ibv_qp *pvhca_create_qp(struct ibv_pd *ibpd,
			       struct ibv_qp_init_attr *init_attr);
int pvhca_modify_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask);
int pvhca_query_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask,
		   struct ibv_qp_init_attr *init_attr);
int pvhca_destroy_qp(struct ibv_qp *ibqp);

/* post.c */
int pvhca_post_send(struct ibv_qp *ibqp, struct ibv_send_wr *wr,
		    struct ibv_send_wr **bad_wr);
int pvhca_post_recv(struct ibv_qp *ibqp, struct ibv_recv_wr *wr,
		    struct ibv_recv_wr **bad_wr);

/* poll.c */
int pvhca_poll_cq(struct ibv_cq *ibcq, int num_entries, struct ibv_wc *wc);
int pvhca_req_notify_cq(struct ibv_cq *ibcq, int solicited_only);
void pvhca_cq_clean(struct pvhca_cq *cq, uint32_t qpn);
void pvhca_lock_cqs(struct pvhca_cq *a, struct pvhca_cq *b);
void pvhca_unlock_cqs(struct pvhca_cq *a, struct pvhca_cq *b);

#endif /* __PVHCA_H__ */
