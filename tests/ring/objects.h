/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Verbs objects of a guest without a virtual machine: made by admin commands, as the
 * guest driver makes them, and driven by the provider's own post.c and poll.c.
 */
#ifndef TESTS_RING_OBJECTS_H
#define TESTS_RING_OBJECTS_H

#include "guest.h"

/* The provider's, unchanged; see objects.c for how doorbells are redirected. */
#include "pvhca.h"

struct guest_context {
	struct guest *guest;
	struct pvhca_context provider;
	uint32_t handle;
	uint32_t pd;
};

struct guest_mr {
	uint8_t *addr;
	size_t length;
	uint32_t lkey, rkey;
};

struct guest_cq {
	struct pvhca_cq provider;
	uint32_t handle;
};

struct guest_qp {
	struct guest_context *context;
	struct pvhca_qp provider;
	uint32_t handle;
};

/* All return 0, or -1 with the reason on standard error. */
int guest_add_gid(struct guest *guest, uint32_t index, const uint8_t gid[16]);
int guest_context_open(struct guest *guest, struct guest_context *context);
int guest_mr_reg(struct guest_context *context, size_t length, struct guest_mr *mr);
int guest_cq_create(struct guest_context *context, unsigned int log_entries, struct guest_cq *cq);
int guest_qp_create(struct guest_context *context, struct guest_cq *cq, uint32_t depth,
		    uint32_t max_inline, struct guest_qp *qp);
/* The command that makes such a QP, but for its memory; the bytes that its rings take. */
size_t guest_qp_command(struct guest_context *context, struct guest_cq *cq, uint32_t depth,
			uint32_t max_inline, struct pvhca_admin_cmd *cmd);
/* INIT, RTR, RTS, towards another QP. */
int guest_qp_connect(struct guest_qp *qp, uint32_t dest_qpn, const uint8_t dgid[16]);
/* A QP for datagrams, and its way to RTS with the Q_Key GUEST_QKEY. */
#define GUEST_QKEY 0x11111111u
int guest_ud_create(struct guest_context *context, struct guest_cq *cq, uint32_t depth,
		    struct guest_qp *qp);
int guest_ud_start(struct guest_qp *qp);
int guest_ah_create(struct guest_context *context, const uint8_t dgid[16], struct pvhca_ah *ah);

/* ibv_post_send, ibv_post_recv, ibv_poll_cq as the provider has them. */
int guest_post_send(struct guest_qp *qp, struct ibv_send_wr *wr);
int guest_post_recv(struct guest_qp *qp, struct ibv_recv_wr *wr);
/* ibv_req_notify_cq for any completion. */
int guest_arm_cq(struct guest_cq *cq);
int guest_poll_cq(struct guest_cq *cq, int num, struct ibv_wc *wc);
/* Whether n completions are there to be polled; only the line of the last of them is looked at. */
bool guest_cq_holds(const struct guest_cq *cq, unsigned int n);

#endif
