/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two guests on the loopback fabric, without threads of its own: what a pass,
 * the event queues and a session would do is done here when a test pumps. Time
 * is rig.now. The stubs may be called by several threads.
 */
#ifndef LOOPBACK_RIG_H
#define LOOPBACK_RIG_H

#include "fabric/fabric.h"
#include "fabric/loopback/key.h"
#include "fabric/loopback/mr.h"
#include "fabric/loopback/private.h"
#include "fabric/loopback/qp.h"
#include "fabric/loopback/serve.h"
#include "vm/pass.h"
#include "vm/vm.h"

extern const struct fabric_ops fabric_loopback;

#define RIG_LOG_SQ  4 /* 16 entries of 4 KiB */
#define RIG_LOG_RQ  4 /* 16 entries of 1 KiB */
#define RIG_LOG_CQ  6
#define RIG_SGES    8
#define RIG_EVENTS  64
#define RIG_QKEY    0x11111111u
#define RIG_BLOCKED 16

struct rig_event {
	struct vm *vm;
	uint32_t event;
	uint32_t object;
};

/* One guest: a session with one context and one PD. */
struct rig_vm {
	struct vm vm;
	struct context context;
	struct slot_group group;
	struct pvhca_context_page page;
	struct pd pd;
	uint32_t slots;
};

/*
 * turn_ns, rate_bytes, rate_messages: what a QP that is served finds in its pass; 0: no limit.
 * turn: if one of them is set, the pass of the last QP, afterwards
 */
extern struct rig {
	_Atomic uint64_t now; /* CLOCK_MONOTONIC, ns */
	_Atomic unsigned int wakes;
	uint64_t touched; /* bytes of regions, before they could be used */
	struct fabric *fabric;
	struct rig_vm *a, *b;
	struct rig_event events[RIG_EVENTS];
	unsigned int num_events;
	_Atomic unsigned int completion_events;
	struct cq *blocked[RIG_BLOCKED];
	unsigned int num_blocked;
	_Atomic unsigned int serves;
	int64_t turn_ns, rate_bytes, rate_messages;
	struct pass turn;
} rig;

void rig_setup(void);
void rig_teardown(void);

/* Memory of a guest: of runs pieces that are not neighbours here, each of run_len bytes. */
struct mr *rig_mr(struct rig_vm *vm, uint64_t iova, unsigned int runs, uint64_t run_len,
		  uint32_t access);
void rig_mr_free(struct mr *mr);
/* As the command does: hidden, a grace period, changed. */
int rig_rereg(struct mr *mr, uint32_t flags, struct mr *next);
/* Likewise an address is taken back. */
void rig_gid_del(struct rig_vm *vm, uint32_t index, const uint8_t gid[16]);
/* Let workers find a region by its handle. */
void rig_mr_publish(struct mr *mr);
struct mw *rig_mw(struct rig_vm *vm, enum ibv_mw_type type);
void rig_mw_free(struct mw *mw);
/* Byte of a region by its address in the guest. */
uint8_t *rig_byte(const struct mr *mr, uint64_t addr);
void rig_fill(const struct mr *mr, uint64_t addr, uint64_t len, uint32_t seed);
bool rig_is_filled(const struct mr *mr, uint64_t addr, uint64_t len, uint32_t seed);

/* What a request says of len bytes at addr in mr. */
struct pvhca_sge rig_sge(const struct mr *mr, uint64_t addr, uint32_t len);
/* A QP with a CQ for each queue. */
struct qp *rig_qp(struct rig_vm *vm);
struct qp *rig_qp_of(struct rig_vm *vm, enum pvhca_qp_type type, struct srq *srq);
void rig_qp_free(struct qp *qp);
/* An address handle that workers find. */
struct ah *rig_ah(struct rig_vm *vm, const uint8_t dgid[16]);
void rig_ah_free(struct ah *ah);
struct srq *rig_srq(struct rig_vm *vm);
void rig_srq_free(struct srq *srq);
/* Attributes that connect qp to peer. */
struct qp_attr rig_attr(const struct qp *qp, const struct qp *peer);
int rig_modify(struct qp *qp, uint32_t mask, struct qp_attr attr);
int rig_to_init(struct qp *qp);
int rig_to_rtr(struct qp *qp, const struct qp *peer);
int rig_to_rts(struct qp *qp, const struct qp *peer);
/* Both to RTS. */
void rig_connect(struct qp *a, struct qp *b);

/* Post as the provider does; data or sge may be NULL. */
void rig_post_send(struct qp *qp, struct pvhca_sq_wqe wqe, const struct pvhca_sge *sge,
		   const void *inline_data);
/* With the segment of its operation. */
void rig_post_segment(struct qp *qp, struct pvhca_sq_wqe wqe, const void *segment, size_t len);
void rig_post_atomic(struct qp *qp, struct pvhca_sq_wqe wqe, struct pvhca_atomic_seg seg,
		     struct pvhca_sge sge);
void rig_post_recv(struct qp *qp, const struct pvhca_sge *sge, unsigned int num_sge);
void rig_post_srq(struct srq *srq, uint16_t tag, const struct pvhca_sge *sge, unsigned int num_sge);
/* Serve until nothing is left to be done now. */
void rig_pump(void);
/* One round of what asked to be served; false: nothing did. */
bool rig_pump_once(void);
/* A worker's pass over one guest alone. */
bool rig_serve(struct rig_vm *vm);
void rig_expire(struct rig_vm *vm);
/* Pump, with the clock going on to the next deadline, at most this many times. */
void rig_pump_timers(unsigned int times);
bool rig_is_waiting(void);

/* As the guest polls. */
bool rig_poll(struct cq *cq, struct pvhca_cqe *cqe);
struct pvhca_cqe rig_expect(struct cq *cq, enum ibv_wc_status status);
void rig_expect_none(struct cq *cq);
unsigned int rig_count_events(const struct vm *vm, uint32_t object, uint32_t event);
void rig_forget_events(void);
bool rig_had_event(const struct qp *qp, uint32_t event);

#endif
