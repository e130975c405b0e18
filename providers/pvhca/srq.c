// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Control path of shared receive queues.
 */
#include <errno.h>
#include <stdlib.h>

#include <ccan/minmax.h>
#include <util/util.h>

#include "pvhca.h"
#include "pvhca-abi.h"
#include "ring.h"

static unsigned int srq_stride_for(uint32_t max_sge)
{
	return max_t(unsigned int, PVHCA_RQ_MIN_LOG_STRIDE,
		     pvhca_log2_up(PVHCA_RQ_WQE_DATA +
				   max_sge * sizeof(struct pvhca_sge)));
}

static int check_srq_attr(const struct pvhca_context *ctx,
			  const struct ibv_srq_attr *attr)
{
	if (!ctx->max_srq_wr)
		return EOPNOTSUPP;
	if (!attr->max_wr || attr->max_wr > ctx->max_srq_wr ||
	    attr->max_sge > ctx->max_srq_sge ||
	    srq_stride_for(attr->max_sge) > PVHCA_RING_MAX_LOG_STRIDE)
		return EINVAL;
	return 0;
}

/* Offset of the ring in the buffer, bytes. */
static size_t ring_offset(unsigned int log_stride)
{
	return align((size_t)PVHCA_QUEUE_HEADER_SIZE, (size_t)1 << log_stride);
}

/* Buffer, ring and tags of an SRQ that is not known to the kernel yet. */
static int init_srq(struct pvhca_srq *srq, const struct ibv_srq_attr *attr)
{
	unsigned int log_entries = pvhca_log2_up(attr->max_wr);
	unsigned int log_stride = srq_stride_for(attr->max_sge);
	struct pvhca_queue_header *header;
	size_t offset = ring_offset(log_stride);
	int err;

	err = pvhca_buf_alloc(
		&srq->buf, offset + ((size_t)1 << (log_entries + log_stride)),
		srq->parent, PVHCA_RESOURCE_SRQ);
	if (err)
		return err;
	/*
	 * A thread domain promises that one thread at a time uses the SRQ, but not
	 * which threads poll the CQs of its QPs; those give tags back. So it is
	 * locked in any case.
	 */
	err = pvhca_init_queue(&srq->q, log_entries, log_stride, false);
	if (err)
		goto err_free_buf;
	srq->free_tags =
		calloc((size_t)1 << log_entries, sizeof(*srq->free_tags));
	if (!srq->free_tags) {
		err = ENOMEM;
		goto err_free_queue;
	}

	header = (struct pvhca_queue_header *)srq->buf.addr;
	srq->q.shared_pi = &header->rq_pi;
	srq->q.entries = srq->buf.addr + offset;
	return 0;

err_free_queue:
	pvhca_free_queue(&srq->q);
err_free_buf:
	pvhca_buf_free(&srq->buf);
	return err;
}

static void free_srq(struct pvhca_srq *srq)
{
	pvhca_free_queue(&srq->q);
	free(srq->free_tags);
	pvhca_buf_free(&srq->buf);
	pvhca_put_parent(srq->parent);
	free(srq);
}

/* Cuts the numbers that the host gave to the room in the ring. */
static void set_srq_limits(struct pvhca_srq *srq, struct ibv_srq_attr *attr)
{
	struct pvhca_queue *q = &srq->q;
	uint32_t room = (1u << q->log_stride) - PVHCA_RQ_WQE_DATA;
	uint32_t i;

	attr->max_wr = min_t(uint32_t, attr->max_wr, q->mask + 1);
	attr->max_sge =
		min_t(uint32_t, attr->max_sge, room / sizeof(struct pvhca_sge));
	q->max_wr = attr->max_wr;
	q->max_sge = attr->max_sge;
	for (i = 0; i < q->max_wr; i++)
		srq->free_tags[i] = q->max_wr - 1 - i;
	srq->num_free = q->max_wr;
	srq->attr = *attr;
}

static int create_kernel_srq(struct pvhca_srq *srq, struct ibv_pd *ibpd,
			     struct ibv_srq_init_attr *attr)
{
	struct pvhca_ucmd_create_srq_resp resp = {};
	struct pvhca_ucmd_create_srq cmd = {};
	struct pvhca_context *ctx = srq->ctx;
	int err;

	cmd.buf_addr = (uintptr_t)srq->buf.addr;
	cmd.buf_len = srq->buf.len;
	cmd.rq_offset = srq->q.entries - srq->buf.addr;
	cmd.rq_log_entries = pvhca_log2_up(srq->q.mask + 1);
	cmd.rq_log_stride = srq->q.log_stride;
	err = ibv_cmd_create_srq(ibpd, &srq->vsrq.srq, attr, &cmd.ibv_cmd,
				 sizeof(cmd), &resp.ibv_resp, sizeof(resp));
	if (err)
		return err;

	if (resp.slot >= PVHCA_SLOTS ||
	    resp.doorbell > ctx->doorbells_len - sizeof(__le32)) {
		ibv_cmd_destroy_srq(&srq->vsrq.srq);
		return EPROTO;
	}
	srq->slot = resp.slot;
	srq->doorbell = ctx->doorbells + resp.doorbell;
	srq->srqn = resp.srqn;
	return 0;
}

struct ibv_srq *pvhca_create_srq(struct ibv_pd *ibpd,
				 struct ibv_srq_init_attr *init_attr)
{
	struct pvhca_context *ctx = to_pvhca_context(ibpd->context);
	struct ibv_srq_init_attr attr = *init_attr;
	struct pvhca_srq *srq;
	int err;

	attr.attr.srq_limit = 0; /* "irrelevant for ibv_create_srq" */
	err = check_srq_attr(ctx, &attr.attr);
	if (err)
		goto err;
	err = ENOMEM;
	srq = calloc(1, sizeof(*srq));
	if (!srq)
		goto err;
	srq->ctx = ctx;
	srq->parent = pvhca_get_parent(ibpd);

	err = init_srq(srq, &attr.attr);
	if (err) {
		pvhca_put_parent(srq->parent);
		free(srq);
		goto err;
	}
	err = create_kernel_srq(srq, ibpd, &attr);
	if (err) {
		free_srq(srq);
		goto err;
	}
	set_srq_limits(srq, &attr.attr);
	init_attr->attr.max_wr = attr.attr.max_wr;
	init_attr->attr.max_sge = attr.attr.max_sge;
	return &srq->vsrq.srq;

err:
	errno = err;
	return NULL;
}

/* The ring stays as large as it is made. */
int pvhca_modify_srq(struct ibv_srq *ibsrq, struct ibv_srq_attr *attr, int mask)
{
	struct ibv_modify_srq cmd = {};

	if (mask & ~IBV_SRQ_LIMIT)
		return mask & ~(IBV_SRQ_LIMIT | IBV_SRQ_MAX_WR) ? EINVAL :
								  EOPNOTSUPP;
	return ibv_cmd_modify_srq(ibsrq, attr, mask, &cmd, sizeof(cmd));
}

int pvhca_query_srq(struct ibv_srq *ibsrq, struct ibv_srq_attr *attr)
{
	struct pvhca_srq *srq = to_pvhca_srq(ibsrq);
	struct ibv_query_srq cmd;
	int err;

	err = ibv_cmd_query_srq(ibsrq, attr, &cmd, sizeof(cmd));
	if (err)
		return err;
	attr->max_wr = srq->attr.max_wr;
	attr->max_sge = srq->attr.max_sge;
	return 0;
}

int pvhca_get_srq_num(struct ibv_srq *ibsrq, uint32_t *srq_num)
{
	struct pvhca_srq *srq = to_pvhca_srq(ibsrq);

	if (!srq->srqn)
		return EOPNOTSUPP;
	*srq_num = srq->srqn;
	return 0;
}

/* No QP uses it any more, so no completion names it. */
int pvhca_destroy_srq(struct ibv_srq *ibsrq)
{
	int err;

	err = ibv_cmd_destroy_srq(ibsrq);
	if (err)
		return err;
	free_srq(to_pvhca_srq(ibsrq));
	return 0;
}
