// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Control path of completion queues.
 */
#include <errno.h>
#include <stdlib.h>

#include "pvhca.h"
#include "pvhca-abi.h"

static int create_kernel_cq(struct pvhca_cq *cq, struct ibv_context *ibctx,
			    int cqe, struct ibv_comp_channel *channel,
			    int comp_vector)
{
	struct pvhca_ucmd_create_cq_resp resp = {};
	struct pvhca_ucmd_create_cq cmd = {};
	int err;

	cmd.buf_addr = (uintptr_t)cq->buf.addr;
	cmd.buf_len = cq->buf.len;
	cmd.log_entries = cq->log_entries;
	err = ibv_cmd_create_cq(ibctx, cqe, channel, comp_vector, &cq->vcq.cq,
				&cmd.ibv_cmd, sizeof(cmd), &resp.ibv_resp,
				sizeof(resp));
	if (err)
		return err;

	if (resp.doorbell > cq->ctx->doorbells_len - sizeof(__le32)) {
		ibv_cmd_destroy_cq(&cq->vcq.cq);
		return EPROTO;
	}
	cq->doorbell = cq->ctx->doorbells + resp.doorbell;
	return 0;
}

struct ibv_cq *pvhca_create_cq(struct ibv_context *ibctx, int cqe,
			       struct ibv_comp_channel *channel,
			       int comp_vector)
{
	struct pvhca_context *ctx = to_pvhca_context(ibctx);
	struct pvhca_cq *cq;
	int err;

	if (cqe < 1 || (uint32_t)cqe > ctx->max_cqe) {
		errno = EINVAL;
		return NULL;
	}

	cq = calloc(1, sizeof(*cq));
	if (!cq) {
		errno = ENOMEM;
		return NULL;
	}
	cq->ctx = ctx;
	cq->log_entries = pvhca_log2_up(cqe);
	pthread_spin_init(&cq->lock, PTHREAD_PROCESS_PRIVATE);

	err = pvhca_buf_alloc(&cq->buf, PVHCA_CQ_HEADER_SIZE +
				((size_t)sizeof(struct pvhca_cqe)
				 << cq->log_entries));
	if (err)
		goto err_free_cq;
	cq->header = (struct pvhca_cq_header *)cq->buf.addr;
	cq->entries = (struct pvhca_cqe *)(cq->buf.addr + PVHCA_CQ_HEADER_SIZE);

	err = create_kernel_cq(cq, ibctx, cqe, channel, comp_vector);
	if (err)
		goto err_free_buf;
	return &cq->vcq.cq;

err_free_buf:
	pvhca_buf_free(&cq->buf);
err_free_cq:
	pthread_spin_destroy(&cq->lock);
	free(cq);
	errno = err;
	return NULL;
}

int pvhca_destroy_cq(struct ibv_cq *ibcq)
{
	struct pvhca_cq *cq = to_pvhca_cq(ibcq);
	int err;

	err = ibv_cmd_destroy_cq(ibcq);
	if (err)
		return err;
	pvhca_buf_free(&cq->buf);
	pthread_spin_destroy(&cq->lock);
	free(cq);
	return 0;
}
