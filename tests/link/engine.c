// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Preloaded into a pvhcad on the verbs fabric: a RoCE device whose objects can be made and
 * ended, and with which nothing is ever sent. libibverbs and librdmacm are played, as far as
 * pvhcad calls them; each object is memory of malloc(3), so that it can fail. Connections are
 * looked for and never found.
 *
 * Its addresses are 10.0.0.0 to 10.0.0.255, in that order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#define GIDS	256
#define IFINDEX 1 /* any that there is: the loopback interface */

static struct ibv_device device = { .name = "engine0", .transport_type = IBV_TRANSPORT_IB };
static _Atomic uint32_t numbers;

static void *make(size_t bytes)
{
	void *object = calloc(1, bytes);

	if (!object)
		errno = ENOMEM;
	return object;
}

static int end(void *object)
{
	free(object);
	return 0;
}

/* --------------------------------- the device ------------------------------ */

struct ibv_device **ibv_get_device_list(int *count)
{
	struct ibv_device **list = make(2 * sizeof(*list));

	if (list)
		list[0] = &device;
	if (count)
		*count = 1;
	return list;
}

void ibv_free_device_list(struct ibv_device **list)
{
	free(list);
}

const char *ibv_get_device_name(struct ibv_device *which)
{
	return which->name;
}

static int poll_cq(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
	(void)cq;
	(void)count;
	(void)wc;
	return 0;
}

static int req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	(void)cq;
	(void)solicited_only;
	return 0;
}

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	(void)qp;
	(void)wr;
	(void)bad;
	return 0;
}

static int post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	(void)qp;
	(void)wr;
	(void)bad;
	return 0;
}

static int post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	(void)srq;
	(void)wr;
	(void)bad;
	return 0;
}

static struct ibv_mw *alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type)
{
	struct ibv_mw *mw = make(sizeof(*mw));

	if (mw)
		*mw = (struct ibv_mw){
			.context = pd->context, .pd = pd, .rkey = ++numbers, .type = type
		};
	return mw;
}

static int dealloc_mw(struct ibv_mw *mw)
{
	return end(mw);
}

struct ibv_context *ibv_open_device(struct ibv_device *which)
{
	struct ibv_context *context = make(sizeof(*context));

	if (!context)
		return NULL;
	context->device = which;
	context->ops.poll_cq = poll_cq;
	context->ops.req_notify_cq = req_notify_cq;
	context->ops.post_send = post_send;
	context->ops.post_recv = post_recv;
	context->ops.post_srq_recv = post_srq_recv;
	context->ops.alloc_mw = alloc_mw;
	context->ops.dealloc_mw = dealloc_mw;
	context->async_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return context;
}

int ibv_close_device(struct ibv_context *context)
{
	close(context->async_fd);
	return end(context);
}

int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attr)
{
	(void)context;
	*attr = (struct ibv_device_attr){
		.max_mr_size = UINT64_MAX,
		.page_size_cap = 4096,
		.max_qp = 1 << 16,
		.max_qp_wr = 1 << 15,
		.device_cap_flags = IBV_DEVICE_MEM_WINDOW | IBV_DEVICE_MEM_WINDOW_TYPE_2B,
		.max_sge = 16,
		.max_cq = 1 << 16,
		.max_cqe = 1 << 22,
		.max_mr = 1 << 20,
		.max_pd = 1 << 16,
		.max_qp_rd_atom = 16,
		.max_qp_init_rd_atom = 16,
		.max_mw = 1 << 16,
		.max_ah = 1 << 16,
		.max_mcast_grp = 64,
		.max_mcast_qp_attach = 64,
		.max_total_mcast_qp_attach = 4096,
		.max_srq = 1 << 16,
		.max_srq_wr = 1 << 15,
		.max_srq_sge = 16,
		.max_pkeys = 1,
		.phys_port_cnt = 1,
	};
	return 0;
}

#undef ibv_query_port
int ibv_query_port(struct ibv_context *context, uint8_t port, struct _compat_ibv_port_attr *attr)
{
	struct ibv_port_attr own = {
		.state = IBV_PORT_ACTIVE,
		.max_mtu = IBV_MTU_4096,
		.active_mtu = IBV_MTU_1024,
		.gid_tbl_len = GIDS,
		.max_msg_sz = 1u << 31,
		.pkey_tbl_len = 1,
		.active_width = 1,
		.active_speed = 1,
		.phys_state = 5,
		.link_layer = IBV_LINK_LAYER_ETHERNET,
	};

	(void)context;
	if (port != 1)
		return EINVAL;
	/* As far as libraries of before the last fields know it. */
	memcpy(attr, &own, offsetof(struct ibv_port_attr, port_cap_flags2));
	return 0;
}

int _ibv_query_gid_ex(struct ibv_context *context, uint32_t port, uint32_t index,
		      struct ibv_gid_entry *entry, uint32_t flags, size_t size)
{
	(void)context;
	(void)flags;
	(void)size;
	if (index >= GIDS)
		return ENODATA;
	*entry = (struct ibv_gid_entry){
		.gid.raw = { [10] = 0xff, 0xff, 10, 0, 0, index },
		.gid_index = index,
		.port_num = port,
		.gid_type = IBV_GID_TYPE_ROCE_V2,
		.ndev_ifindex = IFINDEX,
	};
	return 0;
}

struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *context)
{
	struct ibv_comp_channel *channel = make(sizeof(*channel));

	if (!channel)
		return NULL;
	channel->context = context;
	channel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return channel;
}

int ibv_destroy_comp_channel(struct ibv_comp_channel *channel)
{
	close(channel->fd);
	return end(channel);
}

int ibv_get_async_event(struct ibv_context *context, struct ibv_async_event *event)
{
	(void)context;
	(void)event;
	errno = EAGAIN;
	return -1;
}

void ibv_ack_async_event(struct ibv_async_event *event)
{
	(void)event;
}

int ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **cq_context)
{
	(void)channel;
	(void)cq;
	(void)cq_context;
	errno = EAGAIN;
	return -1;
}

void ibv_ack_cq_events(struct ibv_cq *cq, unsigned int count)
{
	(void)cq;
	(void)count;
}

/* ---------------------------------- objects -------------------------------- */

struct ibv_pd *ibv_alloc_pd(struct ibv_context *context)
{
	struct ibv_pd *pd = make(sizeof(*pd));

	if (pd)
		pd->context = context;
	return pd;
}

int ibv_dealloc_pd(struct ibv_pd *pd)
{
	return end(pd);
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova,
				unsigned int access)
{
	struct ibv_mr *mr = make(sizeof(*mr));

	(void)iova;
	(void)access;
	if (mr)
		*mr = (struct ibv_mr){
			.context = pd->context, .pd = pd, .addr = addr, .length = length
		};
	if (mr)
		mr->lkey = mr->rkey = ++numbers;
	return mr;
}

int ibv_rereg_mr(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr, size_t length,
		 int access)
{
	(void)flags;
	(void)access;
	if (pd)
		mr->pd = pd;
	mr->addr = addr;
	mr->length = length;
	return 0;
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	return end(mr);
}

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe, void *cq_context,
			     struct ibv_comp_channel *channel, int vector)
{
	struct ibv_cq *cq = make(sizeof(*cq));

	(void)vector;
	if (cq)
		*cq = (struct ibv_cq){
			.context = context, .channel = channel, .cq_context = cq_context, .cqe = cqe
		};
	return cq;
}

int ibv_destroy_cq(struct ibv_cq *cq)
{
	return end(cq);
}

struct ibv_srq *ibv_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attr)
{
	struct ibv_srq *srq = make(sizeof(*srq));

	if (srq)
		*srq = (struct ibv_srq){ .context = pd->context,
					 .srq_context = attr->srq_context,
					 .pd = pd };
	return srq;
}

int ibv_modify_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr, int mask)
{
	(void)srq;
	(void)attr;
	(void)mask;
	return 0;
}

int ibv_query_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr)
{
	(void)srq;
	*attr = (struct ibv_srq_attr){ 0 };
	return 0;
}

int ibv_destroy_srq(struct ibv_srq *srq)
{
	return end(srq);
}

struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	struct ibv_qp *qp = make(sizeof(*qp));

	if (!qp)
		return NULL;
	*qp = (struct ibv_qp){
		.context = pd->context,
		.qp_context = attr->qp_context,
		.pd = pd,
		.send_cq = attr->send_cq,
		.recv_cq = attr->recv_cq,
		.srq = attr->srq,
		.qp_num = 0x10 + ++numbers,
		.qp_type = attr->qp_type,
	};
	return qp;
}

int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	if (mask & IBV_QP_STATE)
		qp->state = attr->qp_state;
	return 0;
}

int ibv_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask,
		 struct ibv_qp_init_attr *init)
{
	(void)mask;
	(void)init;
	*attr = (struct ibv_qp_attr){ .qp_state = qp->state, .cur_qp_state = qp->state };
	return 0;
}

int ibv_destroy_qp(struct ibv_qp *qp)
{
	return end(qp);
}

struct ibv_ah *ibv_create_ah(struct ibv_pd *pd, struct ibv_ah_attr *attr)
{
	struct ibv_ah *ah = make(sizeof(*ah));

	(void)attr;
	if (ah)
		*ah = (struct ibv_ah){ .context = pd->context, .pd = pd };
	return ah;
}

int ibv_destroy_ah(struct ibv_ah *ah)
{
	return end(ah);
}

int ibv_attach_mcast(struct ibv_qp *qp, const union ibv_gid *gid, uint16_t lid)
{
	(void)qp;
	(void)gid;
	(void)lid;
	return 0;
}

int ibv_detach_mcast(struct ibv_qp *qp, const union ibv_gid *gid, uint16_t lid)
{
	(void)qp;
	(void)gid;
	(void)lid;
	return 0;
}

/* -------------------------------- connections ------------------------------ */

/* What the ids are bound to. */
static struct ibv_context bound = { .device = &device };

struct rdma_event_channel *rdma_create_event_channel(void)
{
	struct rdma_event_channel *channel = make(sizeof(*channel));

	if (channel)
		channel->fd = eventfd(0, EFD_CLOEXEC);
	return channel;
}

void rdma_destroy_event_channel(struct rdma_event_channel *channel)
{
	close(channel->fd);
	end(channel);
}

int rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **to, void *context,
		   enum rdma_port_space ps)
{
	struct rdma_cm_id *id = make(sizeof(*id));

	if (!id)
		return -1;
	*id = (struct rdma_cm_id){ .channel = channel, .context = context, .ps = ps };
	*to = id;
	return 0;
}

int rdma_destroy_id(struct rdma_cm_id *id)
{
	return end(id);
}

int rdma_bind_addr(struct rdma_cm_id *id, struct sockaddr *address)
{
	(void)address;
	id->verbs = &bound;
	return 0;
}

int rdma_listen(struct rdma_cm_id *id, int backlog)
{
	(void)id;
	(void)backlog;
	return 0;
}

int rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *from, struct sockaddr *to,
		      int timeout_ms)
{
	(void)id;
	(void)from;
	(void)to;
	(void)timeout_ms;
	return 0;
}

int rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **event)
{
	(void)channel;
	(void)event;
	errno = EAGAIN;
	return -1;
}
