/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two QPs of this process, connected to one another: RDMA without a second process. */
#ifndef PVHCA_TEST_PAIR_H
#define PVHCA_TEST_PAIR_H

#include "endpoint.h"

struct pair {
	struct ibv_cq *cq;     /* of both */
	struct ibv_qp *active; /* posts */
	struct ibv_qp *passive;
};

/* depth: of the send queue. cq: that of another pair to share, or NULL for one of its own. */
void pair_init(struct pair *p, struct device *d, struct ibv_pd *pd, unsigned int depth,
	       struct ibv_cq *cq);
/* The first error of destroying them, or 0. with_cq: when it is the pair's own. */
int pair_free(struct pair *p, int with_cq);

/*
 * Do one operation and wait for it. local with its lkey, length in bytes, remote
 * with its rkey. After any but IBV_WC_SUCCESS the pair is of no more use.
 */
enum ibv_wc_status pair_move(struct pair *p, enum ibv_wr_opcode opcode, uint64_t local,
			     uint32_t lkey, uint32_t length, uint64_t remote, uint32_t rkey);

#endif
