// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The provider's sources are included, with its one write to device memory, the
 * doorbell, turned into what KVM would make of it: an eventfd write. A doorbell's
 * address is that of a struct doorbell here.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>

#include <util/mmio.h>

#include "objects.h"

struct doorbell {
	struct guest *guest;
	uint32_t offset;
};

static void write_doorbell(void *address)
{
	struct doorbell *doorbell = address;

	guest_ring_doorbell(doorbell->guest, doorbell->offset);
}

#undef mmio_write32_le
#define mmio_write32_le(address, value) write_doorbell(address)
#include "post.c"
#include "poll.c"
#include "qp_table.c"

static void *new_doorbell(struct guest *guest, uint32_t offset)
{
	struct doorbell *doorbell = malloc(sizeof(*doorbell));

	if (doorbell)
		*doorbell = (struct doorbell){ guest, offset };
	return doorbell;
}

static int command(struct guest *guest, const char *name, struct pvhca_admin_cmd *cmd,
		   struct pvhca_admin_rsp *rsp)
{
	int status = guest_command(guest, cmd, rsp);

	if (status > 0)
		fprintf(stderr, "%s: refused with status %d\n", name, status);
	return status ? -1 : 0;
}

int guest_add_gid(struct guest *guest, uint32_t index, const uint8_t gid[16])
{
	struct pvhca_admin_cmd cmd = {
		.opcode = htole16(PVHCA_CMD_ADD_GID),
		.add_gid = {
			.index = htole32(index),
			.port = htole32(1),
			.gid_type = htole32(1),
			.vlan = htole16(0xffff),
		},
	};
	struct pvhca_admin_rsp rsp;

	memcpy(cmd.add_gid.gid, gid, 16);
	return command(guest, "ADD_GID", &cmd, &rsp);
}

int guest_context_open(struct guest *guest, struct guest_context *context)
{
	struct pvhca_admin_cmd cmd = {
		.opcode = htole16(PVHCA_CMD_ALLOC_CONTEXT),
		.alloc_context = {
			.ring_abi_major = htole16(PVHCA_RING_ABI_MAJOR),
			.ring_abi_minor = htole16(PVHCA_RING_ABI_MINOR),
		},
	};
	struct pvhca_context_page *page = guest_alloc(guest, sizeof(*page));
	struct pvhca_admin_rsp rsp;

	if (!page)
		return -1;
	page->alive = htole32(1);
	cmd.alloc_context.page = htole64(guest_physical(guest, page));
	if (command(guest, "ALLOC_CONTEXT", &cmd, &rsp))
		return -1;
	*context = (struct guest_context){
		.guest = guest,
		.provider.page = page,
		.handle = le32toh(rsp.alloc_context.handle),
	};

	cmd = (struct pvhca_admin_cmd){
		.opcode = htole16(PVHCA_CMD_ALLOC_PD),
		.alloc_pd.context = htole32(context->handle),
	};
	if (command(guest, "ALLOC_PD", &cmd, &rsp))
		return -1;
	context->pd = le32toh(rsp.created.handle);
	return 0;
}

int guest_mr_reg(struct guest_context *context, size_t length, struct guest_mr *mr)
{
	struct pvhca_admin_cmd cmd = {
		.opcode = htole16(PVHCA_CMD_REG_MR),
		.reg_mr = {
			.pd = htole32(context->pd),
			.access = htole32(IBV_ACCESS_LOCAL_WRITE |
					  IBV_ACCESS_REMOTE_WRITE |
					  IBV_ACCESS_REMOTE_READ |
					  IBV_ACCESS_REMOTE_ATOMIC),
			.length = htole64(length),
		},
	};
	struct pvhca_admin_rsp rsp;

	mr->addr = guest_alloc(context->guest, length);
	mr->length = length;
	if (!mr->addr)
		return -1;
	/* A driver pins it first: then its pages are there. */
	memset(mr->addr, 0, length);
	cmd.reg_mr.iova = htole64((uintptr_t)mr->addr);
	guest_memory(context->guest, mr->addr, length, &cmd.reg_mr.mem);
	if (command(context->guest, "REG_MR", &cmd, &rsp))
		return -1;
	mr->lkey = le32toh(rsp.reg_mr.lkey);
	mr->rkey = le32toh(rsp.reg_mr.rkey);
	return 0;
}

int guest_cq_create(struct guest_context *context, unsigned int log_entries, struct guest_cq *cq)
{
	size_t size = PVHCA_CQ_HEADER_SIZE + (sizeof(struct pvhca_cqe) << log_entries);
	struct pvhca_admin_cmd cmd = {
		.opcode = htole16(PVHCA_CMD_CREATE_CQ),
		.create_cq = {
			.context = htole32(context->handle),
			.ceq = htole32(context->guest->ceq),
			.log_entries = htole32(log_entries),
		},
	};
	uint8_t *buffer = guest_alloc(context->guest, size);
	struct pvhca_admin_rsp rsp;

	if (!buffer)
		return -1;
	guest_memory(context->guest, buffer, size, &cmd.create_cq.mem);
	if (command(context->guest, "CREATE_CQ", &cmd, &rsp))
		return -1;

	memset(cq, 0, sizeof(*cq));
	cq->handle = le32toh(rsp.create_cq.handle);
	cq->provider.header = (struct pvhca_cq_header *)buffer;
	cq->provider.entries = (struct pvhca_cqe *)(buffer + PVHCA_CQ_HEADER_SIZE);
	cq->provider.log_entries = log_entries;
	cq->provider.ctx = &context->provider;
	cq->provider.doorbell = new_doorbell(context->guest, le32toh(rsp.create_cq.doorbell));
	pvhca_lock_init(&cq->provider.lock, false);
	return cq->provider.doorbell ? 0 : -1;
}

static int init_queue(struct pvhca_queue *queue, uint32_t depth, uint8_t *entries,
		      unsigned int log_stride, __le32 *pi)
{
	queue->max_wr = depth;
	queue->mask = depth - 1;
	queue->max_sge = 1;
	queue->log_stride = log_stride;
	queue->entries = entries;
	queue->shared_pi = pi;
	queue->wrid = calloc(depth, sizeof(*queue->wrid));
	pvhca_lock_init(&queue->lock, false);
	return queue->wrid ? 0 : -1;
}

static unsigned int log2_up(uint32_t n)
{
	unsigned int log = 0;

	while (1u << log < n)
		log++;
	return log;
}

size_t guest_qp_command(struct guest_context *context, struct guest_cq *cq, uint32_t depth,
			uint32_t max_inline, struct pvhca_admin_cmd *cmd)
{
	unsigned int log_depth = log2_up(depth), sq_stride, rq_stride = 5;
	uint32_t sq_offset, rq_offset;

	sq_stride = log2_up(PVHCA_SQ_WQE_DATA + max_inline);
	if (sq_stride < PVHCA_SQ_MIN_LOG_STRIDE)
		sq_stride = PVHCA_SQ_MIN_LOG_STRIDE;
	sq_offset = 1u << sq_stride;
	if (sq_offset < PVHCA_QUEUE_HEADER_SIZE)
		sq_offset = PVHCA_QUEUE_HEADER_SIZE;
	rq_offset = sq_offset + (1u << (sq_stride + log_depth));

	*cmd = (struct pvhca_admin_cmd) {
		.opcode = htole16(PVHCA_CMD_CREATE_QP),
		.create_qp = {
			.context = htole32(context->handle),
			.pd = htole32(context->pd),
			.send_cq = htole32(cq->handle),
			.recv_cq = htole32(cq->handle),
			.srq = htole32(PVHCA_NO_HANDLE),
			.type = htole32(PVHCA_QPT_RC),
			.cap = {
				.max_send_wr = htole32(depth),
				.max_recv_wr = htole32(depth),
				.max_send_sge = htole32(1),
				.max_recv_sge = htole32(1),
				.max_inline = htole32(max_inline),
			},
			.sq_offset = htole32(sq_offset),
			.rq_offset = htole32(rq_offset),
			.sq_log_entries = log_depth,
			.sq_log_stride = sq_stride,
			.rq_log_entries = log_depth,
			.rq_log_stride = rq_stride,
		},
	};
	return rq_offset + (1u << (rq_stride + log_depth));
}

/* The provider's part of a QP that the command made, with rings in buffer. */
static int qp_init(struct guest_context *context, const struct pvhca_admin_cmd *cmd,
		   const struct pvhca_admin_rsp *rsp, uint8_t *buffer, struct guest_qp *qp)
{
	struct pvhca_queue_header *header = (struct pvhca_queue_header *)buffer;

	memset(qp, 0, sizeof(*qp));
	qp->context = context;
	qp->handle = le32toh(rsp->create_qp.handle);
	qp->provider.ctx = &context->provider;
	qp->provider.vqp.qp.qp_num = le32toh(rsp->create_qp.qpn);
	qp->provider.slot = le32toh(rsp->create_qp.slot);
	qp->provider.max_inline = le32toh(cmd->create_qp.cap.max_inline);
	qp->provider.doorbell = new_doorbell(context->guest, le32toh(rsp->create_qp.doorbell));
	if (!qp->provider.doorbell ||
	    init_queue(&qp->provider.sq, 1u << cmd->create_qp.sq_log_entries,
		       buffer + le32toh(cmd->create_qp.sq_offset), cmd->create_qp.sq_log_stride,
		       &header->sq_pi) ||
	    init_queue(&qp->provider.rq, 1u << cmd->create_qp.rq_log_entries,
		       buffer + le32toh(cmd->create_qp.rq_offset), cmd->create_qp.rq_log_stride,
		       &header->rq_pi))
		return -1;
	return pvhca_qp_table_insert(&context->provider.qp_table, qp->provider.vqp.qp.qp_num,
				     &qp->provider);
}

static int qp_create(struct guest_context *context, struct guest_cq *cq, enum pvhca_qp_type type,
		     uint32_t depth, uint32_t max_inline, struct guest_qp *qp)
{
	struct pvhca_admin_cmd cmd;
	struct pvhca_admin_rsp rsp;
	uint8_t *buffer;
	size_t size;

	size = guest_qp_command(context, cq, depth, max_inline, &cmd);
	cmd.create_qp.type = htole32(type);
	buffer = guest_alloc(context->guest, size);
	if (!buffer)
		return -1;
	guest_memory(context->guest, buffer, size, &cmd.create_qp.mem);
	if (command(context->guest, "CREATE_QP", &cmd, &rsp))
		return -1;
	return qp_init(context, &cmd, &rsp, buffer, qp);
}

int guest_qp_create(struct guest_context *context, struct guest_cq *cq, uint32_t depth,
		    uint32_t max_inline, struct guest_qp *qp)
{
	if (qp_create(context, cq, PVHCA_QPT_RC, depth, max_inline, qp))
		return -1;
	qp->provider.vqp.qp.qp_type = IBV_QPT_RC;
	return 0;
}

int guest_ud_create(struct guest_context *context, struct guest_cq *cq, uint32_t depth,
		    struct guest_qp *qp)
{
	if (qp_create(context, cq, PVHCA_QPT_UD, depth, 0, qp))
		return -1;
	qp->provider.vqp.qp.qp_type = IBV_QPT_UD;
	return 0;
}

int guest_ah_create(struct guest_context *context, const uint8_t dgid[16], struct pvhca_ah *ah)
{
	struct pvhca_admin_cmd cmd = {
		.opcode = htole16(PVHCA_CMD_CREATE_AH),
		.create_ah = {
			.pd = htole32(context->pd),
			.av = { .is_global = 1, .port = 1, .hop_limit = 64 },
		},
	};
	struct pvhca_admin_rsp rsp;

	memcpy(cmd.create_ah.av.dgid, dgid, 16);
	if (command(context->guest, "CREATE_AH", &cmd, &rsp))
		return -1;
	*ah = (struct pvhca_ah){ .ah = le32toh(rsp.created.handle) };
	return 0;
}

static int modify(struct guest_qp *qp, uint32_t mask, const struct pvhca_qp_attr *attr)
{
	struct pvhca_admin_cmd cmd = {
		.opcode = htole16(PVHCA_CMD_MODIFY_QP),
		.modify_qp = {
			.qp = htole32(qp->handle),
			.attr_mask = htole32(mask),
			.attr = *attr,
		},
	};
	struct pvhca_admin_rsp rsp;

	if (command(qp->context->guest, "MODIFY_QP", &cmd, &rsp))
		return -1;
	qp->provider.state = attr->qp_state;
	return 0;
}

int guest_qp_connect(struct guest_qp *qp, uint32_t dest_qpn, const uint8_t dgid[16])
{
	struct pvhca_qp_attr init = {
		.qp_state = IBV_QPS_INIT,
		.port_num = 1,
		.qp_access_flags = htole32(IBV_ACCESS_REMOTE_WRITE |
					   IBV_ACCESS_REMOTE_READ |
					   IBV_ACCESS_REMOTE_ATOMIC),
	}, rtr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = IBV_MTU_4096,
		.dest_qp_num = htole32(dest_qpn),
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.av = { .is_global = 1, .port = 1, .hop_limit = 64 },
	}, rts = {
		.qp_state = IBV_QPS_RTS,
		.timeout = 14,
		.retry_cnt = 7,
		.rnr_retry = 7,
		.max_rd_atomic = 1,
	};

	memcpy(rtr.av.dgid, dgid, 16);
	return modify(qp, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
		      &init) ||
			modify(qp,
			       IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				       IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
				       IBV_QP_MIN_RNR_TIMER,
			       &rtr) ||
			modify(qp,
			       IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				       IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
			       &rts) ?
		-1 :
		0;
}

int guest_ud_start(struct guest_qp *qp)
{
	struct pvhca_qp_attr init = {
		.qp_state = IBV_QPS_INIT,
		.port_num = 1,
		.qkey = htole32(GUEST_QKEY),
	}, rtr = { .qp_state = IBV_QPS_RTR }, rts = { .qp_state = IBV_QPS_RTS };

	return modify(qp, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY, &init) ||
			modify(qp, IBV_QP_STATE, &rtr) ||
			modify(qp, IBV_QP_STATE | IBV_QP_SQ_PSN, &rts) ?
		-1 :
		0;
}

int guest_post_send(struct guest_qp *qp, struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad;

	return pvhca_post_send(&qp->provider.vqp.qp, wr, &bad);
}

int guest_post_recv(struct guest_qp *qp, struct ibv_recv_wr *wr)
{
	struct ibv_recv_wr *bad;

	return pvhca_post_recv(&qp->provider.vqp.qp, wr, &bad);
}

int guest_poll_cq(struct guest_cq *cq, int num, struct ibv_wc *wc)
{
	return pvhca_poll_cq(&cq->provider.vcq.cq, num, wc);
}

bool guest_cq_holds(const struct guest_cq *cq, unsigned int n)
{
	const struct pvhca_cq *provider = &cq->provider;
	const uint32_t last = provider->ci + n - 1;
	uint32_t word;

	return pvhca_cqe_valid(pvhca_cq_entry(provider, last), last, provider->log_entries, &word);
}

int guest_arm_cq(struct guest_cq *cq)
{
	return pvhca_req_notify_cq(&cq->provider.vcq.cq, 0);
}
