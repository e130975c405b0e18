/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carries out plans over RDMA: posts, takes completions and holds them against
 * the plan. Both ends run one: as requester of its own plan and as responder of
 * its peer's, at the same time.
 */
#ifndef PVHCA_TEST_ENGINE_H
#define PVHCA_TEST_ENGINE_H

#include "channel.h"
#include "endpoint.h"
#include "plan.h"
#include "random.h"

enum engine_wait { ENGINE_POLL, ENGINE_EVENTS, ENGINE_WAITS };

/* One arena of this end, and the regions registered over it. */
struct engine_arena {
	uint8_t *memory;
	struct ibv_mr *mr[PLAN_MAX_KEYS];
};

struct engine_qp {
	struct ibv_qp *qp;
	uint32_t *order; /* this QP's operations of the own plan, by index */
	uint32_t count;
	uint32_t posted;
	uint32_t retired;
	uint32_t *receives; /* the peer's operations that receive here */
	uint32_t receive_count;
	uint32_t received;
};

struct engine {
	struct device device;
	struct channel *channel;
	struct plan_shape shape;
	struct ibv_pd *pd;
	struct ibv_comp_channel *events;
	struct ibv_cq **cq;
	uint32_t cqs;
	struct engine_qp *qp;
	struct engine_arena source; /* requester's arena of the own plan */
	struct engine_arena target; /* responder's arena of the peer's plan */
	uint64_t peer_target;	    /* address of the peer's target arena */
	uint32_t peer_rkey[PLAN_MAX_KEYS];
	bool late; /* receives are posted when the peer may be sending already, which is then not ready */
	struct random random; /* chances that need not be the same at both ends */
};

/* The device is open; the shape agreed upon. */
void engine_init(struct engine *e, struct channel *channel, const struct plan_shape *shape,
		 uint32_t cqs, uint64_t seed);
void engine_free(struct engine *e);

/* One round. False when anything was not as it must be; what, is then said on stdout. */
bool engine_run(struct engine *e, struct plan *own, struct plan *peer, enum engine_wait wait);

#endif
