// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An engine that does nothing: loaded before libibverbs (LD_PRELOAD) it is a RoCE device whose
 * QPs complete each request as it is posted, a send with the first receive of its peer, and
 * move no data. What pvhcad spends on the verbs fabric beside it is its own.
 *
 * For one thread that posts and polls, and for the commands of one session. It has the calls
 * and fields that pvhcad uses, no more, and no notion of what an application may do wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <infiniband/verbs.h>

#define MAX_QPS 1024u
#define FIRST	0x100u

struct engine_cq {
	struct ibv_cq cq;
	uint32_t mask, pi, ci;
	struct ibv_wc *wc;
};

struct engine_qp {
	struct ibv_qp qp;
	uint32_t dest;
	uint32_t mask, pi, ci; /* receives */
	uint64_t *receives;
};

static struct ibv_device device = {
	.node_type = IBV_NODE_CA,
	.transport_type = IBV_TRANSPORT_IB,
	.name = "null0",
	.dev_name = "uverbs0",
};
/* By number, less FIRST. */
static struct engine_qp *qps[MAX_QPS];
static uint32_t num_keys;

/* --------------------------------- data path ------------------------------- */

static struct ibv_wc *complete(struct ibv_cq *ibcq, uint64_t wr_id, enum ibv_wc_opcode opcode,
			       uint32_t qpn)
{
	struct engine_cq *cq = (struct engine_cq *)ibcq;
	struct ibv_wc *wc = &cq->wc[cq->pi++ & cq->mask];

	wc->wr_id = wr_id;
	wc->status = IBV_WC_SUCCESS;
	wc->opcode = opcode;
	wc->qp_num = qpn;
	wc->byte_len = 0;
	wc->wc_flags = 0;
	wc->vendor_err = 0;
	return wc;
}

static void receive(uint32_t qpn, const struct ibv_send_wr *wr, uint32_t from)
{
	struct engine_qp *qp = qps[qpn - FIRST];
	struct ibv_wc *wc;

	if (!qp || qp->ci == qp->pi)
		abort(); /* whoever measures has posted enough */
	wc = complete(qp->qp.recv_cq, qp->receives[qp->ci++ & qp->mask], IBV_WC_RECV, qpn);
	wc->byte_len = wr->num_sge ? wr->sg_list->length : 0;
	wc->src_qp = from;
}

static int post_send(struct ibv_qp *ibqp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	static const enum ibv_wc_opcode opcodes[] = {
		[IBV_WR_RDMA_WRITE] = IBV_WC_RDMA_WRITE,
		[IBV_WR_SEND] = IBV_WC_SEND,
		[IBV_WR_RDMA_READ] = IBV_WC_RDMA_READ,
		[IBV_WR_ATOMIC_FETCH_AND_ADD] = IBV_WC_FETCH_ADD,
	};
	struct engine_qp *qp = (struct engine_qp *)ibqp;

	(void)bad;
	for (; wr; wr = wr->next) {
		if (wr->opcode == IBV_WR_SEND)
			receive(ibqp->qp_type == IBV_QPT_UD ? wr->wr.ud.remote_qpn : qp->dest, wr,
				ibqp->qp_num);
		if (wr->send_flags & IBV_SEND_SIGNALED)
			complete(ibqp->send_cq, wr->wr_id, opcodes[wr->opcode], ibqp->qp_num);
	}
	return 0;
}

static int post_recv(struct ibv_qp *ibqp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	struct engine_qp *qp = (struct engine_qp *)ibqp;

	(void)bad;
	for (; wr; wr = wr->next)
		qp->receives[qp->pi++ & qp->mask] = wr->wr_id;
	return 0;
}

static int poll_cq(struct ibv_cq *ibcq, int count, struct ibv_wc *wc)
{
	struct engine_cq *cq = (struct engine_cq *)ibcq;
	int n = 0;

	for (; n < count && cq->ci != cq->pi; n++)
		wc[n] = cq->wc[cq->ci++ & cq->mask];
	return n;
}

static int req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	(void)cq;
	(void)solicited_only;
	return 0;
}

/* --------------------------------- the device ------------------------------ */

struct ibv_device **ibv_get_device_list(int *num)
{
	struct ibv_device **list = calloc(2, sizeof(*list));

	if (list)
		list[0] = &device;
	if (num)
		*num = 1;
	return list;
}

void ibv_free_device_list(struct ibv_device **list)
{
	free(list);
}

const char *ibv_get_device_name(struct ibv_device *of)
{
	return of->name;
}

struct ibv_context *ibv_open_device(struct ibv_device *of)
{
	struct ibv_context *context = calloc(1, sizeof(*context));

	if (!context)
		return NULL;
	context->device = of;
	context->async_fd = eventfd(0, EFD_CLOEXEC);
	context->ops.poll_cq = poll_cq;
	context->ops.req_notify_cq = req_notify_cq;
	context->ops.post_send = post_send;
	context->ops.post_recv = post_recv;
	return context;
}

int ibv_close_device(struct ibv_context *context)
{
	close(context->async_fd);
	free(context);
	return 0;
}

int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attr)
{
	(void)context;
	*attr = (struct ibv_device_attr){
		.max_mr_size = UINT64_MAX,
		.page_size_cap = 4096,
		.max_qp = MAX_QPS,
		.max_qp_wr = 1 << 14,
		.max_sge = 16,
		.max_sge_rd = 16,
		.max_cq = 1 << 12,
		.max_cqe = 1 << 22,
		.max_mr = 1 << 16,
		.max_pd = 1 << 12,
		.max_ah = 1 << 12,
		.max_qp_rd_atom = 16,
		.max_qp_init_rd_atom = 16,
		.max_res_rd_atom = 1 << 16,
		.atomic_cap = IBV_ATOMIC_HCA,
		.max_pkeys = 1,
		.phys_port_cnt = 1,
	};
	return 0;
}

#undef ibv_query_port
int ibv_query_port(struct ibv_context *context, uint8_t number, struct _compat_ibv_port_attr *to)
{
	struct ibv_port_attr port = {
		.state = IBV_PORT_ACTIVE,
		.max_mtu = IBV_MTU_4096,
		.active_mtu = IBV_MTU_4096,
		.gid_tbl_len = 16,
		.max_msg_sz = 1u << 31,
		.pkey_tbl_len = 1,
		.link_layer = IBV_LINK_LAYER_ETHERNET,
	};

	(void)context;
	(void)number;
	/* As libibverbs: older fields only. */
	memcpy(to, &port, offsetof(struct ibv_port_attr, port_cap_flags2));
	return 0;
}

int _ibv_query_gid_ex(struct ibv_context *context, uint32_t number, uint32_t index,
		      struct ibv_gid_entry *entry, uint32_t flags, size_t size)
{
	/* The addresses of the programs that measure. */
	static const uint8_t gids[][16] = { { [10] = 0xff, 0xff, 10, 99, 2, 1 },
					    { [10] = 0xff, 0xff, 10, 99, 0, 1 } };

	(void)context;
	(void)flags;
	if (index >= sizeof(gids) / sizeof(gids[0]))
		return ENODATA;
	memset(entry, 0, size);
	memcpy(entry->gid.raw, gids[index], sizeof(gids[index]));
	entry->port_num = number;
	entry->gid_type = IBV_GID_TYPE_ROCE_V2;
	return 0;
}

/* ---------------------------------- objects -------------------------------- */

struct ibv_pd *ibv_alloc_pd(struct ibv_context *context)
{
	struct ibv_pd *pd = calloc(1, sizeof(*pd));

	if (pd)
		pd->context = context;
	return pd;
}

int ibv_dealloc_pd(struct ibv_pd *pd)
{
	free(pd);
	return 0;
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova,
				unsigned int access)
{
	struct ibv_mr *mr = calloc(1, sizeof(*mr));

	(void)iova;
	(void)access;
	if (!mr)
		return NULL;
	mr->context = pd->context;
	mr->pd = pd;
	mr->addr = addr;
	mr->length = length;
	mr->lkey = mr->rkey = ++num_keys << 8;
	return mr;
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	free(mr);
	return 0;
}

struct ibv_ah *ibv_create_ah(struct ibv_pd *pd, struct ibv_ah_attr *attr)
{
	struct ibv_ah *ah = calloc(1, sizeof(*ah));

	(void)attr;
	if (ah) {
		ah->context = pd->context;
		ah->pd = pd;
	}
	return ah;
}

int ibv_destroy_ah(struct ibv_ah *ah)
{
	free(ah);
	return 0;
}

struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *context)
{
	struct ibv_comp_channel *channel = calloc(1, sizeof(*channel));

	if (channel) {
		channel->context = context;
		channel->fd = eventfd(0, EFD_CLOEXEC);
	}
	return channel;
}

int ibv_destroy_comp_channel(struct ibv_comp_channel *channel)
{
	close(channel->fd);
	free(channel);
	return 0;
}

int ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **cq_context)
{
	(void)channel;
	(void)cq;
	(void)cq_context;
	errno = EAGAIN;
	return -1;
}

void ibv_ack_cq_events(struct ibv_cq *cq, unsigned int events)
{
	(void)cq;
	(void)events;
}

static uint32_t power_of_two(uint32_t n)
{
	uint32_t size = 1;

	while (size < n)
		size *= 2;
	return size;
}

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe, void *cq_context,
			     struct ibv_comp_channel *channel, int vector)
{
	struct engine_cq *cq = calloc(1, sizeof(*cq));
	uint32_t size = power_of_two(cqe);

	(void)vector;
	if (!cq)
		return NULL;
	cq->wc = calloc(size, sizeof(*cq->wc));
	cq->mask = size - 1;
	cq->cq.context = context;
	cq->cq.channel = channel;
	cq->cq.cq_context = cq_context;
	cq->cq.cqe = size;
	return &cq->cq;
}

int ibv_destroy_cq(struct ibv_cq *ibcq)
{
	struct engine_cq *cq = (struct engine_cq *)ibcq;

	free(cq->wc);
	free(cq);
	return 0;
}

struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	struct engine_qp *qp = calloc(1, sizeof(*qp));
	uint32_t size = power_of_two(attr->cap.max_recv_wr), number;

	for (number = 0; number < MAX_QPS && qps[number]; number++)
		;
	if (!qp || number == MAX_QPS)
		return NULL;
	qp->receives = calloc(size, sizeof(*qp->receives));
	qp->mask = size - 1;
	qp->qp.context = pd->context;
	qp->qp.qp_context = attr->qp_context;
	qp->qp.pd = pd;
	qp->qp.send_cq = attr->send_cq;
	qp->qp.recv_cq = attr->recv_cq;
	qp->qp.qp_type = attr->qp_type;
	qp->qp.qp_num = FIRST + number;
	qps[number] = qp;
	return &qp->qp;
}

int ibv_destroy_qp(struct ibv_qp *ibqp)
{
	struct engine_qp *qp = (struct engine_qp *)ibqp;

	qps[ibqp->qp_num - FIRST] = NULL;
	free(qp->receives);
	free(qp);
	return 0;
}

int ibv_modify_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask)
{
	if (mask & IBV_QP_DEST_QPN)
		((struct engine_qp *)ibqp)->dest = attr->dest_qp_num;
	if (mask & IBV_QP_STATE)
		ibqp->state = attr->qp_state;
	return 0;
}

int ibv_query_qp(struct ibv_qp *ibqp, struct ibv_qp_attr *attr, int mask,
		 struct ibv_qp_init_attr *init)
{
	(void)mask;
	memset(attr, 0, sizeof(*attr));
	memset(init, 0, sizeof(*init));
	attr->qp_state = attr->cur_qp_state = ibqp->state;
	return 0;
}

/* It has no events. */
int ibv_get_async_event(struct ibv_context *context, struct ibv_async_event *event)
{
	(void)context;
	(void)event;
	errno = EAGAIN;
	return -1;
}
