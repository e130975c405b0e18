// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Polling as ibv_create_cq_ex(3) has it: the entry is read in place, so it is the
 * host's again only when the poll ends. The CQ is locked until then.
 */
#include <errno.h>

#include "cqe.h"

static int take_next(struct pvhca_cq *cq)
{
	struct ibv_cq_ex *ibcq = &cq->vcq.cq_ex;

	if (!pvhca_cq_next(cq, &cq->current))
		return ENOENT;
	ibcq->wr_id = pvhca_complete(&cq->current);
	ibcq->status = pvhca_wc_status(&cq->current);
	return 0;
}

static void end_poll(struct ibv_cq_ex *ibcq)
{
	struct pvhca_cq *cq = to_pvhca_cq_ex(ibcq);

	if (cq->ci != cq->first)
		pvhca_cq_release(cq);
	pvhca_cq_set_poller(cq, 0);
	pvhca_unlock_cq(cq);
}

/*
 * Return: 0; ENOENT: nothing there; EIO: neither, and the device is gone; EINVAL.
 * After an error there is no poll to be ended.
 */
static int start_poll(struct ibv_cq_ex *ibcq, struct ibv_poll_cq_attr *attr)
{
	struct pvhca_cq *cq = to_pvhca_cq_ex(ibcq);
	const struct pvhca_context_page *page = cq->ctx->page;
	int err;

	if (unlikely(attr->comp_mask))
		return EINVAL;

	pvhca_lock_cq(cq);
	pvhca_cq_set_poller(cq, (uintptr_t)pthread_self());
	cq->first = cq->ci;
	err = take_next(cq);
	if (!err)
		return 0;
	end_poll(ibcq);
	return pvhca_alive(page) ? err : EIO;
}

static int next_poll(struct ibv_cq_ex *ibcq)
{
	return take_next(to_pvhca_cq_ex(ibcq));
}

static enum ibv_wc_opcode read_opcode(struct ibv_cq_ex *ibcq)
{
	return pvhca_wc_opcode(&to_pvhca_cq_ex(ibcq)->current);
}

static uint32_t read_vendor_err(struct ibv_cq_ex *ibcq)
{
	return pvhca_wc_vendor_err(&to_pvhca_cq_ex(ibcq)->current);
}

static unsigned int read_wc_flags(struct ibv_cq_ex *ibcq)
{
	return pvhca_wc_flags(&to_pvhca_cq_ex(ibcq)->current);
}

static uint32_t read_byte_len(struct ibv_cq_ex *ibcq)
{
	return pvhca_wc_byte_len(&to_pvhca_cq_ex(ibcq)->current);
}

static __be32 read_imm_data(struct ibv_cq_ex *ibcq)
{
	return pvhca_wc_imm_data(&to_pvhca_cq_ex(ibcq)->current);
}

static uint32_t read_qp_num(struct ibv_cq_ex *ibcq)
{
	return le32toh(to_pvhca_cq_ex(ibcq)->current.cqe->qpn);
}

static uint32_t read_src_qp(struct ibv_cq_ex *ibcq)
{
	return le32toh(to_pvhca_cq_ex(ibcq)->current.cqe->src_qp);
}

static uint8_t read_sl(struct ibv_cq_ex *ibcq)
{
	return PVHCA_CQE_WORD_SL(to_pvhca_cq_ex(ibcq)->current.word);
}

/* RoCE has no LIDs. */
static uint32_t read_slid(struct ibv_cq_ex *ibcq)
{
	(void)ibcq;
	return 0;
}

static uint8_t read_dlid_path_bits(struct ibv_cq_ex *ibcq)
{
	(void)ibcq;
	return 0;
}

/* In ticks of the clock that ibv_query_device_ex(3) tells hca_core_clock of. */
static uint64_t read_completion_ts(struct ibv_cq_ex *ibcq)
{
	return le64toh(to_pvhca_cq_ex(ibcq)->current.cqe->timestamp);
}

/**
 * pvhca_set_cq_ex_ops() - let a CQ be polled in the extended way
 * @wc_flags: of PVHCA_CQ_WC_FLAGS, what the application wants to read
 */
void pvhca_set_cq_ex_ops(struct pvhca_cq *cq, uint64_t wc_flags)
{
	struct ibv_cq_ex *ibcq = &cq->vcq.cq_ex;

	ibcq->start_poll = start_poll;
	ibcq->next_poll = next_poll;
	ibcq->end_poll = end_poll;
	ibcq->read_opcode = read_opcode;
	ibcq->read_vendor_err = read_vendor_err;
	ibcq->read_wc_flags = read_wc_flags;
	if (wc_flags & IBV_WC_EX_WITH_BYTE_LEN)
		ibcq->read_byte_len = read_byte_len;
	if (wc_flags & IBV_WC_EX_WITH_IMM)
		ibcq->read_imm_data = read_imm_data;
	if (wc_flags & IBV_WC_EX_WITH_QP_NUM)
		ibcq->read_qp_num = read_qp_num;
	if (wc_flags & IBV_WC_EX_WITH_SRC_QP)
		ibcq->read_src_qp = read_src_qp;
	if (wc_flags & IBV_WC_EX_WITH_SLID)
		ibcq->read_slid = read_slid;
	if (wc_flags & IBV_WC_EX_WITH_SL)
		ibcq->read_sl = read_sl;
	if (wc_flags & IBV_WC_EX_WITH_DLID_PATH_BITS)
		ibcq->read_dlid_path_bits = read_dlid_path_bits;
	if (wc_flags & IBV_WC_EX_WITH_COMPLETION_TIMESTAMP)
		ibcq->read_completion_ts = read_completion_ts;
}
