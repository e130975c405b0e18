/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * Kernel verbs: ib_mad, ib_cm, rdma_cm and upper layer protocols in the guest's
 * kernel call them.
 *
 * Theory of operation
 *
 * Here the driver does what the provider does for applications: it posts to and
 * polls the rings of rdma/pvhca-ring.h. The session has one context for itself
 * (struct pvhca_kctx), which all kernel consumers share. pvhcad says which of
 * them it can serve (PVHCA_KERNEL_*); without PVHCA_KERNEL_GSI there is no such
 * context, the operations are not offered, and the core keeps the device to user
 * space.
 *
 * Local memory is named by PVHCA_LKEY_DMA and guest-physical addresses, which is
 * what DMA addresses are (pvhca_check_dma()). Address handles are nothing but an
 * address, which goes into the work (PVHCA_WQE_F_AV), as they are made where
 * nothing can wait for a command.
 *
 * When a session is dead, consumers must get a completion for everything that they
 * have posted or still post, else they never let go of the device. But after a
 * completion they take their memory back, so no completion may come before pvhcad has
 * let go of it. Hence:
 *
 *   - until the RESET has ended (pvhca_dev.quiesced) only pvhcad's completions are
 *     reported, and posted work stays in the queue;
 *   - after it, pvhca_kctx.flushing is set, and polling reports the work that is left
 *     in the queues as flushed. flush_work raises the events for it. It never runs in
 *     the caller's context: a consumer may post with a lock held that its event
 *     handler takes.
 *
 * A RESET that does not end is the one case where memory may be given back that
 * pvhcad still writes to: a consumer cannot be made to lose it.
 *
 * Locks, outer first: xarray lock of pvhca_dev.cqs (flush_work only), those of
 * consumers, pvhca_kcq.lock, pvhca_kwq.lock. The last two are taken in any context.
 */
#ifndef PVHCA_KVERBS_H
#define PVHCA_KVERBS_H

#include <linux/cache.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <rdma/ib_verbs.h>
#include <pvhca/pvhca-kring.h>
#include <pvhca/pvhca-admin.h>

struct pvhca_cq;
struct pvhca_dev;
struct pvhca_mr;
struct pvhca_pd;
struct pvhca_qp;

/**
 * struct pvhca_kbuf - memory of the kernel's that pvhcad sees
 * @addr: for the driver; zeroed at first
 * @dma: for pvhcad
 * @size: bytes, whole pages; one extent
 */
struct pvhca_kbuf {
	void *addr;
	dma_addr_t dma;
	size_t size;
};

/**
 * struct pvhca_kctx - the driver's own context
 * @dev: session it belongs to
 * @handle: pvhcad's
 * @page: struct pvhca_context_page
 * @doorbells: window that doorbell offsets are counted from
 * @qps: struct pvhca_kqp by QP number, as completions have it
 * @flushing: work in the queues is reported as flushed; never cleared
 * @flush_work: raises the events that go with it
 */
struct pvhca_kctx {
	struct pvhca_dev *dev;
	u32 handle;
	struct pvhca_kbuf page;
	void __iomem *doorbells;
	struct xarray qps;
	bool flushing;
	struct work_struct flush_work;
};

/**
 * struct pvhca_kcq - the kernel's side of a CQ
 * @ibcq: the core's part
 * @kctx: context
 * @buf: header and entries
 * @doorbell: told when pvhcad waits for room
 * @log_entries: log2 of the number of entries
 * @lock: guards the fields that follow, and pvhca_kwq.ci of the queues that complete here
 * @ci: next entry to be polled, free running
 * @armed: an event was asked for and has not been raised yet
 * @senders: pvhca_kqp.send_link of the QPs whose sends complete here
 * @receivers: pvhca_kqp.recv_link of those whose receives do
 */
struct pvhca_kcq {
	struct ib_cq *ibcq;
	struct pvhca_kctx *kctx;
	struct pvhca_kbuf buf;
	void __iomem *doorbell;
	u8 log_entries;

	spinlock_t lock; /* see above */
	u32 ci;
	bool armed;
	struct list_head senders;
	struct list_head receivers;
};

/**
 * struct pvhca_kwq - a send or receive queue
 * @lock: one thread posts at a time
 * @pi: next entry to be written, free running; released with the entries that it covers
 * @max_wr: entries that may be outstanding
 * @max_sge: SGEs of an entry
 * @mask: entries of the ring - 1
 * @log_stride: bytes from an entry to the next
 * @entries: the ring, NULL without one
 * @shared_pi: @pi for pvhcad
 * @wr_ids: by place in the ring
 * @ci: entries below are retired. A thread that polls releases it after reading
 *	@wr_ids; a thread that posts acquires it before it writes there again
 */
struct pvhca_kwq {
	spinlock_t lock; /* see above */
	u32 pi;
	u32 max_wr;
	u32 max_sge;
	u32 mask;
	u8 log_stride;
	void *entries;
	__le32 *shared_pi;
	u64 *wr_ids;

	u32 ci ____cacheline_aligned_in_smp;
};

/**
 * struct pvhca_kqp - the kernel's side of a QP
 * @ibqp: the core's part
 * @kctx: context
 * @buf: header and rings
 * @sq: send queue
 * @rq: receive queue
 * @slot: in the context page
 * @doorbell: told when pvhcad sleeps
 * @qpn: as pvhcad has it in completions
 * @state: that posting goes by
 * @max_inline: bytes
 * @send_link: in pvhca_kcq.senders
 * @recv_link: in pvhca_kcq.receivers
 */
struct pvhca_kqp {
	struct ib_qp *ibqp;
	struct pvhca_kctx *kctx;
	struct pvhca_kbuf buf;
	struct pvhca_kwq sq;
	struct pvhca_kwq rq;
	u32 slot;
	void __iomem *doorbell;
	u32 qpn;
	enum ib_qp_state state;
	u32 max_inline;
	struct list_head send_link;
	struct list_head recv_link;
};

/**
 * struct pvhca_kmr - the kernel's side of a region for fast registration
 * @pages: __le64 addresses
 * @max_pages: that there is room for
 * @num_pages: pages of the memory that was mapped last
 */
struct pvhca_kmr {
	struct pvhca_kbuf pages;
	u32 max_pages;
	u32 num_pages;
};

/* The biggest fast registration; its list takes one page. */
#define PVHCA_KMR_MAX_PAGES 512

/* pvhca_kctx.c */
int pvhca_kctx_create(struct pvhca_dev *dev);
void pvhca_kctx_destroy(struct pvhca_dev *dev);
void pvhca_kctx_flush(struct pvhca_dev *dev);
void pvhca_kctx_schedule_flush(struct pvhca_kctx *kctx);
bool pvhca_kctx_is_flushing(const struct pvhca_kctx *kctx);
bool pvhca_kctx_notify(struct pvhca_kctx *kctx, u32 slot);
void __iomem *pvhca_kctx_doorbell(struct pvhca_kctx *kctx, u32 offset);
int pvhca_kbuf_alloc(struct pvhca_dev *dev, struct pvhca_kbuf *buf, size_t size);
void pvhca_kbuf_free(struct pvhca_dev *dev, struct pvhca_kbuf *buf);
void pvhca_kbuf_list(const struct pvhca_kbuf *buf, struct pvhca_mem_list *list);

/* pvhca_kcq.c */
int pvhca_kcq_create(struct pvhca_cq *cq, const struct ib_cq_init_attr *attr);
void pvhca_kcq_destroy(struct pvhca_cq *cq);
void pvhca_kcq_add_qp(struct pvhca_kqp *kqp);
void pvhca_kcq_remove_qp(struct pvhca_kqp *kqp);
void pvhca_kcq_reset_qp(struct pvhca_kqp *kqp);
bool pvhca_kcq_take_event(struct pvhca_kcq *kcq);
void pvhca_kcq_event_raised(struct pvhca_kcq *kcq);
int pvhca_poll_cq(struct ib_cq *ibcq, int num_entries, struct ib_wc *wc);
int pvhca_req_notify_cq(struct ib_cq *ibcq, enum ib_cq_notify_flags flags);

/* pvhca_kqp.c */
int pvhca_kqp_create(struct pvhca_qp *qp, struct ib_qp_init_attr *attr);
void pvhca_kqp_destroy(struct pvhca_qp *qp);
int pvhca_kqp_modified(struct pvhca_qp *qp, const struct ib_qp_attr *attr, int mask, int err);

/* pvhca_kpost.c */
int pvhca_post_send(struct ib_qp *ibqp, const struct ib_send_wr *wr,
		    const struct ib_send_wr **bad_wr);
int pvhca_post_recv(struct ib_qp *ibqp, const struct ib_recv_wr *wr,
		    const struct ib_recv_wr **bad_wr);

/* pvhca_kmr.c */
struct ib_mr *pvhca_get_dma_mr(struct ib_pd *ibpd, int access);
struct ib_mr *pvhca_alloc_mr(struct ib_pd *ibpd, enum ib_mr_type type, u32 max_num_sg);
int pvhca_map_mr_sg(struct ib_mr *ibmr, struct scatterlist *sg, int sg_nents,
		    unsigned int *sg_offset);
int pvhca_kmr_destroy(struct pvhca_mr *mr);

#endif /* PVHCA_KVERBS_H */
