// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "endpoint.h"
#include "report.h"

const struct endpoint_settings endpoint_defaults = {
	.access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
	.timeout = 19, /* 2.1 s */
	.retries = 6,  /* rxe takes 7 to be for ever */
	.rnr_retries = 7,
	.rnr_timer = 12, /* 0.64 ms */
	.reads = 4,
};

static struct ibv_device *find(struct ibv_device **list, const char *name)
{
	for (; *list; list++) {
		if (!name || !strcmp(ibv_get_device_name(*list), name))
			return *list;
	}
	die("no RDMA device %s", name ? name : "at all");
}

static bool is_ipv4(const union ibv_gid *gid)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	return !memcmp(gid->raw, prefix, sizeof(prefix));
}

static int first_ipv4_gid(struct ibv_context *context)
{
	struct ibv_gid_entry entry;
	struct ibv_port_attr port;
	int i;

	if (ibv_query_port(context, RDMA_PORT, &port))
		die("ibv_query_port");
	for (i = 0; i < port.gid_tbl_len; i++) {
		if (ibv_query_gid_ex(context, RDMA_PORT, i, &entry, 0))
			continue;
		if (entry.gid_type == IBV_GID_TYPE_ROCE_V2 && is_ipv4(&entry.gid))
			return i;
	}
	die("%s has no RoCE v2 GID of an IPv4 address", ibv_get_device_name(context->device));
}

void device_open(struct device *d, const char *name, int gid_index)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_port_attr port;

	if (!list)
		die_errno(errno, "ibv_get_device_list");
	d->context = ibv_open_device(find(list, name));
	if (!d->context)
		die_errno(errno, "ibv_open_device");
	ibv_free_device_list(list);
	d->gid_index = gid_index == GID_INDEX_AUTO ? first_ipv4_gid(d->context) : gid_index;
	if (ibv_query_device(d->context, &d->attr))
		die("ibv_query_device");
	if (ibv_query_port(d->context, RDMA_PORT, &port))
		die("ibv_query_port");
	d->mtu = port.active_mtu;
	if (ibv_query_gid(d->context, RDMA_PORT, d->gid_index, &d->gid))
		die("GID %d of %s cannot be read", d->gid_index,
		    ibv_get_device_name(d->context->device));
}

void device_close(struct device *d)
{
	int error = ibv_close_device(d->context);

	if (error)
		die_errno(error, "ibv_close_device");
}

struct ibv_qp *endpoint_create(struct device *d, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	struct ibv_qp *qp = ibv_create_qp(pd, attr);

	if (!qp)
		die_errno(errno, "ibv_create_qp on %s", ibv_get_device_name(d->context->device));
	return qp;
}

struct endpoint_address endpoint_address(struct device *d, struct ibv_qp *qp)
{
	/* Any 24-bit PSN will do; one that soon wraps tries that, too. */
	return (struct endpoint_address){
		.qpn = qp->qp_num,
		.psn = (0xfffff0 + qp->qp_num) & 0xffffff,
		.gid = d->gid,
		.mtu = d->mtu,
	};
}

void endpoint_to_init(struct ibv_qp *qp, const struct endpoint_settings *settings)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = RDMA_PORT,
		.qp_access_flags = settings->access,
	};
	int error;

	error = ibv_modify_qp(qp, &attr,
			      IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
	if (error)
		die_errno(error, "QP to INIT");
}

static void to_rtr(struct device *d, struct ibv_qp *qp, const struct endpoint_address *peer,
		   const struct endpoint_settings *settings)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = peer->mtu < d->mtu ? peer->mtu : d->mtu,
		.dest_qp_num = peer->qpn,
		.rq_psn = peer->psn,
		.max_dest_rd_atomic = settings->reads,
		.min_rnr_timer = settings->rnr_timer,
		.ah_attr = {
			.is_global = 1,
			.grh = { .dgid = peer->gid, .sgid_index = d->gid_index, .hop_limit = 64 },
			.port_num = RDMA_PORT,
		},
	};
	int error;

	error = ibv_modify_qp(qp, &attr,
			      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				      IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
				      IBV_QP_MIN_RNR_TIMER);
	if (error)
		die_errno(error, "QP to RTR");
}

static void to_rts(struct device *d, struct ibv_qp *qp, const struct endpoint_settings *settings)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS,
		.sq_psn = endpoint_address(d, qp).psn,
		.timeout = settings->timeout,
		.retry_cnt = settings->retries,
		.rnr_retry = settings->rnr_retries,
		.max_rd_atomic = settings->reads,
	};
	int error;

	error = ibv_modify_qp(qp, &attr,
			      IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
				      IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC);
	if (error)
		die_errno(error, "QP to RTS");
}

void endpoint_connect(struct device *d, struct ibv_qp *qp, const struct endpoint_address *peer,
		      const struct endpoint_settings *settings)
{
	to_rtr(d, qp, peer, settings);
	to_rts(d, qp, settings);
}

void endpoint_connect_pair(struct device *d, struct ibv_qp *a, struct ibv_qp *b)
{
	struct endpoint_address address_a = endpoint_address(d, a),
				address_b = endpoint_address(d, b);

	endpoint_to_init(a, &endpoint_defaults);
	endpoint_to_init(b, &endpoint_defaults);
	endpoint_connect(d, a, &address_b, &endpoint_defaults);
	endpoint_connect(d, b, &address_a, &endpoint_defaults);
}
