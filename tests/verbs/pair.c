// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <time.h>

#include "pair.h"
#include "report.h"
#include "timescale.h"

#define STALL_SECONDS ((int)scaled(120))

static struct ibv_qp *create(struct pair *p, struct device *d, struct ibv_pd *pd,
			     unsigned int depth)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.send_cq = p->cq,
		.recv_cq = p->cq,
		.cap = { .max_send_wr = depth,
			 .max_recv_wr = 1,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};

	return endpoint_create(d, pd, &attr);
}

void pair_init(struct pair *p, struct device *d, struct ibv_pd *pd, unsigned int depth,
	       struct ibv_cq *cq)
{
	p->cq = cq ? cq : ibv_create_cq(d->context, depth + 1, NULL, NULL, 0);
	if (!p->cq)
		die_errno(errno, "ibv_create_cq");
	p->active = create(p, d, pd, depth);
	p->passive = create(p, d, pd, 1);
	endpoint_connect_pair(d, p->active, p->passive);
}

int pair_free(struct pair *p, int with_cq)
{
	int error = ibv_destroy_qp(p->active);

	error = error ? error : ibv_destroy_qp(p->passive);
	if (with_cq && !error)
		error = ibv_destroy_cq(p->cq);
	return error;
}

enum ibv_wc_status pair_move(struct pair *p, enum ibv_wr_opcode opcode, uint64_t local,
			     uint32_t lkey, uint32_t length, uint64_t remote, uint32_t rkey)
{
	struct ibv_sge sge = { .addr = local, .length = length, .lkey = lkey };
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = opcode,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { .remote_addr = remote, .rkey = rkey },
	}, *bad;
	const time_t start = time(NULL);
	struct ibv_wc wc;
	int error, n;

	error = ibv_post_send(p->active, &wr, &bad);
	if (error)
		die_errno(error, "ibv_post_send");
	while (!(n = ibv_poll_cq(p->cq, 1, &wc))) {
		if (time(NULL) - start > STALL_SECONDS)
			die("no completion for %d s", STALL_SECONDS);
	}
	if (n < 0)
		die_errno(n, "ibv_poll_cq");
	return wc.status;
}
