/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The data path: a QP's send queue is served batch by batch. */
#ifndef HOSTD_FABRIC_LOOPBACK_SERVE_H
#define HOSTD_FABRIC_LOOPBACK_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include <urcu/list.h>

#include "fabric/loopback/mr.h"
#include "fabric/loopback/qp.h"
#include "vm/objects.h"

struct pass;

/* One call of qp_serve: counts are collected here and added up at its end. */
struct loopback_serve {
	struct pass *pass;
	struct loopback_qp *lqp;
	struct vm *receiver;   /* of receives */
	unsigned int taken;    /* entries, of both queues */
	unsigned int messages; /* send queue entries */
	uint64_t moved;	       /* bytes */
	uint64_t sent;	       /* bytes */
	uint64_t inlined;      /* bytes */
	uint64_t errors;
	uint64_t completions; /* of the send queue */
	uint64_t receives;    /* each has a completion */
};

/* Entries of one call, so that one QP does not hold up its VM's others. */
#define LOOPBACK_BATCH 64u

unsigned int loopback_qp_serve(struct pass *pass, struct qp *qp);
/* The guest has more outstanding than its queues hold, or claims so: its QP ends. */
void loopback_stop_abused(struct loopback_serve *serve);

/* ----------------------- receives: fabric/loopback/receive.c ---------------------- */

enum loopback_take {
	LOOPBACK_TAKE_OK,   /* rx->receive is it */
	LOOPBACK_TAKE_NONE, /* none is posted */
	LOOPBACK_TAKE_BAD,  /* the entry is invalid: rx has failed */
};

enum loopback_flush {
	LOOPBACK_FLUSH_ALL,
	LOOPBACK_FLUSH_MORE,   /* the batch is full */
	LOOPBACK_FLUSH_ABUSED, /* more posted than the queue holds */
};

/* All with rx's rq_lock held. */

/*
 * The receive for the message that begins or goes on. Where there is none waiter,
 * unless NULL, is kicked once there may be one.
 */
enum loopback_take loopback_receive_take(struct loopback_serve *serve, struct loopback_qp *rx,
					 const struct loopback_qp *waiter);
/* Complete the receive that was taken. */
void loopback_receive_done(struct loopback_serve *serve, struct loopback_qp *rx,
			   struct pvhca_cqe *cqe, bool solicited);
/* Complete it with an error, which is rx's end. */
void loopback_receive_fail(struct loopback_serve *serve, struct loopback_qp *rx,
			   enum ibv_wc_status status);
enum loopback_flush loopback_receive_flush(struct loopback_serve *serve, struct loopback_qp *rx);
/* So many of that VM have completed. */
void loopback_count_receives(struct loopback_serve *serve, struct vm *vm, unsigned int count);
/* At the end of a call. */
void loopback_add_receives(const struct loopback_serve *serve);

/* ------------------- shared receive queues: fabric/loopback/srq.c ----------------- */

/**
 * struct loopback_srq - the fabric's part of an SRQ
 * @waiting: responders (loopback_qp.srq_node) whose requesters wait for an entry
 * @broken: it was abused, and its guest was told
 *
 * Under srq->lock.
 */
struct loopback_srq {
	struct cds_list_head waiting;
	bool broken;
};

int loopback_srq_create(struct srq *srq);
void loopback_srq_destroy(struct srq *srq);
int loopback_srq_set_limit(struct srq *srq, uint32_t limit);
int loopback_srq_query(struct srq *srq, uint32_t *limit);
/* Something was posted: wake the requesters that wait for it. */
unsigned int loopback_srq_serve(struct pass *pass, struct srq *srq);
/* For loopback_receive_take(). */
enum loopback_take loopback_srq_take(struct loopback_qp *rx, const struct loopback_qp *waiter);
/* No requester waits on behalf of rx any more. */
void loopback_srq_forget(struct loopback_qp *rx);

/* ---------------------- RC and UC: fabric/loopback/rc.c --------------------------- */

enum loopback_result {
	LOOPBACK_DONE,	 /* executed */
	LOOPBACK_MORE,	 /* others remain; sq->done tells whether a piece was moved */
	LOOPBACK_LOST,	 /* no answer */
	LOOPBACK_RNR,	 /* receiver not ready; *rnr_timer is set */
	LOOPBACK_FAILED, /* *status is set */
};

#define LOOPBACK_UD_OPCODES (1u << PVHCA_WQE_SEND | 1u << PVHCA_WQE_SEND_IMM)
/* Such that loopback_local_execute() is for; REG_MR in the driver's own QPs. */
#define LOOPBACK_LOCAL_OPCODES \
	(1u << PVHCA_WQE_LOCAL_INV | 1u << PVHCA_WQE_BIND_MW | 1u << PVHCA_WQE_REG_MR)
#define LOOPBACK_UC_OPCODES                                                              \
	(1u << PVHCA_WQE_SEND | 1u << PVHCA_WQE_SEND_IMM | 1u << PVHCA_WQE_SEND_INV |    \
	 1u << PVHCA_WQE_WRITE | 1u << PVHCA_WQE_WRITE_IMM | 1u << PVHCA_WQE_LOCAL_INV | \
	 1u << PVHCA_WQE_BIND_MW)
#define LOOPBACK_RC_OPCODES                                                            \
	(LOOPBACK_UC_OPCODES | 1u << PVHCA_WQE_READ | 1u << PVHCA_WQE_ATOMIC_CMP_SWP | \
	 1u << PVHCA_WQE_ATOMIC_FETCH_ADD)

/* Execute a piece of the request at the head of the send queue. */
enum loopback_result loopback_rc_execute(struct loopback_serve *serve, enum ibv_wc_status *status,
					 uint32_t *rnr_timer);

/*
 * The QP that lqp's connection leads to, and the stamp of its connection, which fits. NULL: there
 * is none, or it takes no messages.
 */
struct loopback_qp *loopback_rc_find_peer(struct loopback_qp *lqp, uint64_t *stamp);
/* Execute an atomic operation (enum pvhca_wqe_opcode); returns what stood there before. */
uint64_t loopback_atomic(uint8_t opcode, _Atomic uint64_t *target, uint64_t compare_add,
			 uint64_t swap);

/*
 * Bytes [skip, skip + length) of the requester's side of the request at the head of
 * its queue, of which lqp's PD must be allowed access. False: protection error.
 */
bool loopback_pieces_request(struct loopback_qp *lqp, uint32_t access, uint64_t skip,
			     uint64_t length, struct loopback_pieces *pieces);

/* --------------------- local work: fabric/loopback/local.c ------------------------ */

/* Execute the request at the head of the send queue: DONE or FAILED. */
enum loopback_result loopback_local_execute(struct loopback_serve *serve,
					    enum ibv_wc_status *status);

/* ------------------------------ UD: fabric/loopback/ud.c -------------------------- */

int loopback_ah_create(struct ah *ah);
void loopback_ah_destroy(struct ah *ah);
/* The way of datagrams by an address handle to one QP. */
struct loopback_way {
	uint32_t ah;
	uint32_t qpn;
	const struct av *av;
	uint8_t source[LOOPBACK_GID_LEN];
};

/* The QP that a way leads to, for this pass. NULL: there is none, or it may be many. */
struct loopback_qp *loopback_ud_find_peer(struct loopback_qp *lqp, uint32_t ah, uint32_t qpn,
					  struct loopback_way *way);
/* The Q_Key that a request means. */
uint32_t loopback_ud_qkey(const struct loopback_qp *lqp, uint32_t qkey);
/*
 * Execute the request at the head of the send queue: DONE or FAILED; or MORE: it goes to other
 * members of its group in another turn.
 */
enum loopback_result loopback_ud_execute(struct loopback_serve *serve, enum ibv_wc_status *status);

#endif
