// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * What "rdma -dd resource show" prints of objects: how pvhcad names them, and how far
 * the application's side of a queue has come. The rest is known to pvhcad only.
 *
 * Indices lie in memory that the application writes. They are printed as they are, and
 * nothing here relies on them. The object is alive while the core asks for it.
 */

#include <linux/highmem.h>
#include <net/netlink.h>
#include <rdma/rdma_netlink.h>
#include <rdma/restrack.h>

#include "pvhca.h"

/*
 * Copies the beginning of an object's buffer, of which the first granule has the header.
 * The copy is not one moment's.
 */
static bool pvhca_restrack_read(struct ib_umem *umem, void *header, size_t size)
{
	u64 offset;
	void *page;

	if (!umem)
		return false;
	offset = ib_umem_offset(umem);
	page = kmap_local_page(sg_page(umem->sgt_append.sgt.sgl));
	memcpy(header, page + offset, size);
	kunmap_local(page);
	return true;
}

/* The nest in which the rdma tool looks for what is the driver's own ends; empty if @err. */
static int pvhca_restrack_end(struct sk_buff *msg, struct nlattr *nest, int err)
{
	if (err)
		nla_nest_cancel(msg, nest);
	else
		nla_nest_end(msg, nest);
	return err;
}

/* Whether something is posted that pvhcad has not looked at, and whether it sleeps. */
static int pvhca_restrack_put_slot(struct sk_buff *msg, const struct pvhca_slot *slot)
{
	const struct pvhca_context_page *page;
	u32 word = slot->index / 64;
	u64 pending, need_kick;

	if (!slot->page || word >= PVHCA_SLOT_WORDS)
		return 0;
	page = slot->page;
	pending = le64_to_cpu(READ_ONCE(page->pending[word]));
	need_kick = le64_to_cpu(READ_ONCE(page->need_kick));
	if (rdma_nl_put_driver_u32(msg, "slot", slot->index) ||
	    rdma_nl_put_driver_u32(msg, "pending", pending >> slot->index % 64 & 1) ||
	    rdma_nl_put_driver_u32(msg, "host_sleeps", need_kick >> word & 1))
		return -EMSGSIZE;
	return 0;
}

static int pvhca_restrack_put_qp(struct sk_buff *msg, const struct pvhca_qp *qp)
{
	struct pvhca_queue_header header;

	if (rdma_nl_put_driver_u32(msg, "handle", qp->handle) ||
	    rdma_nl_put_driver_u32(msg, "state", READ_ONCE(qp->state)))
		return -EMSGSIZE;
	if (pvhca_restrack_read(qp->umem, &header, sizeof(header)) &&
	    (rdma_nl_put_driver_u32(msg, "sq_producer", le32_to_cpu(header.sq_pi)) ||
	     rdma_nl_put_driver_u32(msg, "rq_producer", le32_to_cpu(header.rq_pi))))
		return -EMSGSIZE;
	return pvhca_restrack_put_slot(msg, &qp->slot);
}

/**
 * pvhca_fill_res_qp_entry - ib_device_ops.fill_res_qp_entry
 * @msg: where to
 * @ibqp: QP
 *
 * Return: 0 or -EMSGSIZE.
 */
int pvhca_fill_res_qp_entry(struct sk_buff *msg, struct ib_qp *ibqp)
{
	struct nlattr *nest = nla_nest_start(msg, RDMA_NLDEV_ATTR_DRIVER);

	if (!nest)
		return -EMSGSIZE;
	return pvhca_restrack_end(msg, nest, pvhca_restrack_put_qp(msg, to_pvhca_qp(ibqp)));
}

static int pvhca_restrack_put_srq(struct sk_buff *msg, const struct pvhca_srq *srq)
{
	struct pvhca_queue_header header;

	if (rdma_nl_put_driver_u32(msg, "handle", srq->handle))
		return -EMSGSIZE;
	if (pvhca_restrack_read(srq->umem, &header, sizeof(header)) &&
	    rdma_nl_put_driver_u32(msg, "rq_producer", le32_to_cpu(header.rq_pi)))
		return -EMSGSIZE;
	return pvhca_restrack_put_slot(msg, &srq->slot);
}

/**
 * pvhca_fill_res_srq_entry - ib_device_ops.fill_res_srq_entry
 * @msg: where to
 * @ibsrq: SRQ
 *
 * Return: 0 or -EMSGSIZE.
 */
int pvhca_fill_res_srq_entry(struct sk_buff *msg, struct ib_srq *ibsrq)
{
	struct nlattr *nest = nla_nest_start(msg, RDMA_NLDEV_ATTR_DRIVER);

	if (!nest)
		return -EMSGSIZE;
	return pvhca_restrack_end(msg, nest, pvhca_restrack_put_srq(msg, to_pvhca_srq(ibsrq)));
}

/* A CQ that is being resized shows its handle only. */
static int pvhca_restrack_put_cq(struct sk_buff *msg, struct pvhca_cq *cq)
{
	struct pvhca_cq_header header;
	bool known;

	if (rdma_nl_put_driver_u32(msg, "handle", cq->handle))
		return -EMSGSIZE;
	if (!mutex_trylock(&cq->lock))
		return 0;
	known = pvhca_restrack_read(cq->umem, &header, sizeof(header));
	mutex_unlock(&cq->lock);
	if (known &&
	    (rdma_nl_put_driver_u32(msg, "consumer", le32_to_cpu(header.ci)) ||
	     rdma_nl_put_driver_u32(msg, "blocked",
				    le32_to_cpu(header.flags) & PVHCA_CQ_F_BLOCKED)))
		return -EMSGSIZE;
	return 0;
}

/**
 * pvhca_fill_res_cq_entry - ib_device_ops.fill_res_cq_entry
 * @msg: where to
 * @ibcq: CQ
 *
 * Return: 0 or -EMSGSIZE.
 */
int pvhca_fill_res_cq_entry(struct sk_buff *msg, struct ib_cq *ibcq)
{
	struct nlattr *nest = nla_nest_start(msg, RDMA_NLDEV_ATTR_DRIVER);

	if (!nest)
		return -EMSGSIZE;
	return pvhca_restrack_end(msg, nest, pvhca_restrack_put_cq(msg, to_pvhca_cq(ibcq)));
}

static int pvhca_restrack_put_mr(struct sk_buff *msg, const struct pvhca_mr *mr)
{
	if (rdma_nl_put_driver_u32(msg, "handle", mr->handle) ||
	    rdma_nl_put_driver_u32_hex(msg, "access", mr->access) ||
	    rdma_nl_put_driver_u32(msg, "failed", mr->failed))
		return -EMSGSIZE;
	return 0;
}

/**
 * pvhca_fill_res_mr_entry - ib_device_ops.fill_res_mr_entry
 * @msg: where to
 * @ibmr: region
 *
 * Return: 0 or -EMSGSIZE.
 */
int pvhca_fill_res_mr_entry(struct sk_buff *msg, struct ib_mr *ibmr)
{
	struct nlattr *nest = nla_nest_start(msg, RDMA_NLDEV_ATTR_DRIVER);

	if (!nest)
		return -EMSGSIZE;
	return pvhca_restrack_end(msg, nest, pvhca_restrack_put_mr(msg, to_pvhca_mr(ibmr)));
}
