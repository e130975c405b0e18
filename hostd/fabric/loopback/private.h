/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loopback fabric: RDMA between the QPs of one pvhcad, by one copy straight
 * from one guest's memory into the other's.
 *
 * Theory of operation
 *
 * The requester's worker does all the work of a message: it takes the entry from
 * its send queue, finds the responder by QP number, makes the checks that both
 * ends of a real adapter would make, copies, and writes both completions. So
 * requests of one QP are executed one after the other and synchronously: a READ
 * or an atomic has ended before the next request begins, and a fence has nothing
 * to wait for. A long message is moved piece by piece, one piece per call of
 * qp_serve; between pieces regions and the responder are looked up anew.
 *
 * What looks like loss on a wire (no such responder, or one that is not ready)
 * starts the retry timer; a missing receive starts the RNR timer. Both wait by
 * qp->deadline_ns and keep the request in struct loopback_sq.
 *
 * An unreliable connection's message goes the same way, but for what would come
 * back. A datagram is routed by address and number, or goes to each QP of a group
 * in turn; nothing waits for it. Keys of windows and of fast registration count
 * their users (fabric/loopback/key.c); all others are kept by RCU.
 *
 * A send queue's and a receive queue's ci move when the entry completes, not
 * when it is read: until then it counts as outstanding and is flushed in its
 * turn if the QP fails, by whoever flushes.
 *
 * Locks, outermost first (one thread has at most one of each line):
 *
 *   qp->lock		of the QP being served or modified
 *   fabric->lock	tables' writers, addresses; session threads only
 *   qp->rq_lock	of any QP, the one being served included
 *   srq->lock
 *   cq->lock and what is inside it
 *
 * A worker that holds its own QP's lock never takes another QP's: to fail the
 * responder it sets @failed under the responder's rq_lock and asks the
 * responder's worker to serve it, which makes it the state and flushes. As no
 * thread waits for a qp->lock while it holds a rq_lock, and none for a second
 * lock of the same line, there is no cycle, whichever QPs are connected to each
 * other (or to themselves).
 *
 * Who may read what of another session's QP: atomics at any time; the connection
 * (source, dgid, dest_qpn) and the receive queue with its rq_lock held. As
 * comparing the connection for every message would mean taking that lock for a
 * WRITE, it is stamped: @stamp is a number never used before, given anew
 * whenever the connection changes; a requester that saw its responder's stamp
 * fit once, under the lock, needs only to see the same number again.
 */
#ifndef HOSTD_FABRIC_LOOPBACK_PRIVATE_H
#define HOSTD_FABRIC_LOOPBACK_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <urcu/hlist.h>
#include <urcu/list.h>

#include "vm/objects.h"

struct pass;

#define LOOPBACK_MAX_SGE       32u
#define LOOPBACK_MAX_INLINE    1024u
#define LOOPBACK_MAX_RD_ATOMIC 128u
#define LOOPBACK_MAX_UD	       4096u	    /* bytes: the port's MTU */
#define LOOPBACK_MAX_MSG       (1ull << 31) /* bytes; IB vol 1, 9.7.2: the limit of a message */
#define LOOPBACK_MAX_MR	       (1ull << 46) /* bytes */
#define LOOPBACK_MAX_FR_PAGES  1024u	    /* of one fast registration: each costs a look-up */
#define LOOPBACK_GID_LEN       16
#define LOOPBACK_ADDRESS_BITS  8
#define LOOPBACK_GROUP_BITS    8
/* QPs of one VM in one multicast group, and in all. */
#define LOOPBACK_MAX_MCAST_ATTACH 64u
#define LOOPBACK_MAX_MCAST_TOTAL  8192u

/* ------------------------- numbers: fabric/loopback/table.c ----------------------- */

#define LOOPBACK_PAGE_SHIFT 12
#define LOOPBACK_PAGE_SLOTS (1u << LOOPBACK_PAGE_SHIFT)
#define LOOPBACK_NUMBERS    (1u << 24)
#define LOOPBACK_PAGES	    (LOOPBACK_NUMBERS >> LOOPBACK_PAGE_SHIFT)

struct loopback_page {
	unsigned int used; /* slots reserved */
	uint64_t reserved[LOOPBACK_PAGE_SLOTS / 64];
	_Atomic(void *) slots[LOOPBACK_PAGE_SLOTS];
};

/**
 * struct loopback_table - objects by a 24-bit number
 * @pages: made when needed, RCU
 * @used: numbers given out
 * @next: where to look for a free number; numbers go round, so that one is not
 *	given out again soon
 *
 * Writers hold the fabric's lock. Readers are in an RCU read section, or hold
 * that lock.
 */
struct loopback_table {
	_Atomic(struct loopback_page *) pages[LOOPBACK_PAGES];
	uint32_t used;
	uint32_t next;
};

void loopback_table_init(struct loopback_table *table);
/* Reserve a number. 0 or -ENOMEM, -ENOSPC. */
int loopback_table_reserve(struct loopback_table *table, uint32_t *number);
void loopback_table_publish(struct loopback_table *table, uint32_t number, void *object);
/*
 * Give a number back. The page that it returns, if any, is to be freed after the
 * grace period that the object needs, too.
 */
struct loopback_page *loopback_table_remove(struct loopback_table *table, uint32_t number);

static inline void *loopback_table_find(struct loopback_table *table, uint32_t number)
{
	struct loopback_page *page;

	if (number >= LOOPBACK_NUMBERS)
		return NULL;
	page = atomic_load_explicit(&table->pages[number >> LOOPBACK_PAGE_SHIFT],
				    memory_order_acquire);
	if (!page)
		return NULL;
	return atomic_load_explicit(&page->slots[number & (LOOPBACK_PAGE_SLOTS - 1)],
				    memory_order_acquire);
}

/* ----------------------- the fabric: fabric/loopback/loopback.c --------------------- */

/**
 * struct loopback - the fabric
 * @lock: writers of the tables; addresses
 * @qps: struct qp by QP number
 * @mrs: struct mr by key >> 8; of windows and fast registration loopback_key.view
 * @key_variant: low byte of the next key
 * @addresses: who has which GID: fabric/loopback/address.c
 * @groups: multicast: fabric/loopback/mcast.c
 * @stamps: last connection stamp given
 */
struct loopback {
	pthread_mutex_t lock;
	struct loopback_table qps;
	struct loopback_table mrs;
	uint8_t key_variant;
	struct cds_hlist_head addresses[1 << LOOPBACK_ADDRESS_BITS];
	struct cds_hlist_head groups[1 << LOOPBACK_GROUP_BITS];
	_Atomic uint64_t stamps;
};

/* A session's part: vm->fabric_vm. Its own thread only. */
struct loopback_vm {
	struct loopback *fabric;
	struct cds_list_head qps;
	struct cds_list_head windows; /* loopback_key.node */
	unsigned int attachments;     /* to multicast groups */
};

/* ---------------------- addresses: fabric/loopback/address.c ---------------------- */

/* PVHCA_ST_OK, IN_USE or NO_MEMORY. One session may add an address several times. */
int loopback_address_add(struct loopback *fabric, struct vm *vm,
			 const uint8_t gid[LOOPBACK_GID_LEN]);
/* True: it was the last time, and no worker takes it for this session's any more. */
bool loopback_address_del(struct loopback *fabric, struct vm *vm,
			  const uint8_t gid[LOOPBACK_GID_LEN]);
void loopback_address_del_all(struct loopback *fabric, struct vm *vm);
/* Who has it, or NULL. In an RCU read section; a worker may only compare the answer. */
struct vm *loopback_address_owner(struct loopback *fabric, const uint8_t gid[LOOPBACK_GID_LEN]);

/* ----------------------- memory regions: fabric/loopback/mr.c --------------------- */

int loopback_mr_reg(struct mr *mr);
int loopback_mr_dereg(struct mr *mr);
int loopback_mr_rereg(struct mr *mr, uint32_t flags, struct mr *next);

/**
 * struct loopback_piece - memory of one side of a message, checked
 * @mr: region, or NULL: at is in pvhcad's own memory, or region's
 * @at: first byte, from the start of the region's extents
 * @host: first byte of own memory
 * @region: referenced; of guest-physical memory
 * @len: bytes
 *
 * Valid during one RCU read section, or until loopback_pieces_put().
 */
struct loopback_piece {
	const struct mr *mr;
	union {
		uint64_t at;
		uint8_t *host;
	};
	uint64_t len;
	struct region *region;
};

struct loopback_pieces {
	unsigned int count;
	bool held;					   /* there is something to be put */
	struct loopback_piece piece[LOOPBACK_MAX_SGE + 1]; /* and a header */
};

void loopback_pieces_release(struct loopback_pieces *pieces);

/* Done with what loopback_pieces_local() or _remote() gave. */
static inline void loopback_pieces_put(struct loopback_pieces *pieces)
{
	if (pieces->held)
		loopback_pieces_release(pieces);
}

/*
 * Bytes [skip, skip + length) of an SGE list, of which pd must be allowed access
 * (IBV_ACCESS_*; 0 to read locally). False: protection error.
 */
bool loopback_pieces_local(struct loopback *fabric, const struct pd *pd, const struct ibv_sge *sge,
			   unsigned int num_sge, uint32_t access, uint64_t skip, uint64_t length,
			   struct loopback_pieces *pieces);
/*
 * Bytes [skip, skip + part) of the remote range [addr, addr + length); the whole
 * range must be accessible by rkey for messages to qp.
 */
bool loopback_pieces_remote(struct loopback *fabric, const struct qp *qp, uint32_t rkey,
			    uint64_t addr, uint64_t length, uint32_t access, uint64_t skip,
			    uint64_t part, struct loopback_pieces *pieces);
/* Address of a single piece that does not leave its extent; else NULL. */
void *loopback_piece_address(const struct loopback_pieces *pieces);

/*
 * Copy length bytes, which both sides have. The sides may overlap where both
 * are one run. The last eight bytes become visible after all others: consumers
 * wait for the last byte of a WRITE by polling memory.
 */
void loopback_copy(const struct loopback_pieces *to, const struct loopback_pieces *from,
		   uint64_t length);

/* -------------------- changing keys: fabric/loopback/key.c ------------------------ */

enum loopback_key_kind {
	LOOPBACK_KEY_WINDOW_1,
	LOOPBACK_KEY_WINDOW_2,
	LOOPBACK_KEY_REGION, /* for fast registration */
};

enum loopback_key_state {
	LOOPBACK_KEY_FREE, /* nothing stands under it */
	LOOPBACK_KEY_BUSY, /* it is being changed */
	LOOPBACK_KEY_VALID,
};

/**
 * struct loopback_key - a key that work requests change
 * @users: who looks at it or uses it now
 * @view: what stands under it; view.fabric is this key, view.lkey 0 for windows.
 *	Read by users while it is valid, written while it is busy
 * @owner: the QP that bound a window of type 2
 * @bound: region of a window, likewise
 * @pages: memory of a REGION: room for its max_pages, regions referenced
 * @node: in loopback_vm.windows
 */
struct loopback_key {
	enum loopback_key_kind kind;
	uint32_t number;
	_Atomic uint32_t state;
	_Atomic uint32_t users;
	struct mr view;
	_Atomic(struct loopback_qp *) owner;
	struct mr *bound;
	struct extents *pages;
	struct cds_list_head node;
};

/* NULL: no memory or number. The session's thread, as for _destroy. */
struct loopback_key *loopback_key_new(struct vm *vm, struct pd *pd, enum loopback_key_kind kind);
/* Nobody can change it any more; who uses it is waited for. */
void loopback_key_destroy(struct loopback_key *key);

/* Use it, if it is valid; for short. */
bool loopback_key_enter(struct loopback_key *key);
void loopback_key_leave(struct loopback_key *key);

/* From this state to BUSY; false: it is in another. The caller changes it then. */
bool loopback_key_take(struct loopback_key *key, enum loopback_key_state from);
/*
 * Wait until nobody uses a busy key, and give back what it has. The caller uses no key
 * and holds no lock but its own QP's.
 */
void loopback_key_clear(struct loopback_key *key);
/* The change is over. */
void loopback_key_set(struct loopback_key *key, enum loopback_key_state state);
/* Make a valid key busy that lqp may invalidate; NULL: it may not. Then _free. */
struct loopback_key *loopback_key_revoke(struct loopback_qp *lqp, uint32_t value);
/* As _clear; and it is free. */
void loopback_key_free(struct loopback_key *key);

/* --------------- windows, fast registration: loopback_{mw,fr}.c ------------ */

int loopback_mw_alloc(struct mw *mw);
void loopback_mw_dealloc(struct mw *mw);
/* Windows of type 2 that a QP bound end with it, when no worker knows it any more. */
void loopback_mw_end_all(struct loopback_qp *lqp);
/* Carry out the BIND_MW at the head of the send queue. False: it is refused. */
bool loopback_mw_bind(struct loopback_qp *lqp);

int loopback_fr_alloc(struct mr *mr);
/* Likewise REG_MR. */
bool loopback_fr_reg(struct loopback_qp *lqp);

/* ---------------------------- QPs: fabric/loopback/qp.c --------------------------- */

/**
 * struct loopback_sq - the request at the head of a send queue
 * @active: it was read from the ring; what follows is valid
 * @waiting: what for, until qp->deadline_ns
 * @done: bytes moved
 * @tries, @rnr_tries: retries left; only timers that ran out count
 * @inline_data: sized for the biggest stride
 *
 * Under qp->lock.
 */
struct loopback_sq {
	bool active;
	enum loopback_wait {
		LOOPBACK_WAIT_NONE,
		LOOPBACK_WAIT_ANSWER,
		LOOPBACK_WAIT_RECEIVE,
	} waiting;
	uint64_t done;
	unsigned int tries;
	unsigned int rnr_tries;
	struct send_request request;
	struct ibv_sge sge[LOOPBACK_MAX_SGE];
	uint8_t inline_data[PVHCA_GRANULE];
};

/**
 * struct loopback_receive - the receive that the message under way fills
 * @taken: there is one; what follows is valid
 * @status: of reading it
 *
 * Under rq_lock.
 */
struct loopback_receive {
	bool taken;
	enum ibv_wc_status status;
	struct recv_request request;
	struct ibv_sge sge[LOOPBACK_MAX_SGE];
};

/**
 * struct loopback_qp - the fabric's part of a QP
 * @node: in loopback_vm.qps
 * @attr: attributes as the guest set them; session's thread, under qp->lock
 * @broken: rings were abused; not served until RESET. Under qp->lock
 * @notify_drained: SQD: event when the request under way has ended. Likewise
 * @peer_stamp: stamp of the responder whose connection fits ours, or 0. Likewise
 * @has_source, @source, @dgid, @dest_qpn: the connection; written under lock and
 *	rq_lock, read under either
 * @stamp: see the top; 0: not connected. Written as the connection is
 * @receive: under rq_lock
 * @srq_node, @srq_waits, @srq_waiter: in loopback_srq.waiting, for the requester of
 *	that number; under srq->lock
 * @told_last: IBV_EVENT_QP_LAST_WQE_REACHED has been raised; under rq_lock
 * @failed: the state is to become ERR: set under rq_lock
 * @draining: SQD, and a request is under way
 * @established: IBV_EVENT_COMM_EST has been raised
 * @peer_waits: our requester waits for a receive or for us
 * @kicked: what this QP waits for may have come
 * @access, @max_dest_rd_atomic, @min_rnr_timer, @qkey: attributes that the peer's
 *	requester looks at
 * @windows: of type 2 that it has bound
 * @attachments: to multicast groups; the session's thread only
 */
struct loopback_qp {
	struct qp *qp;
	struct loopback *fabric;
	struct cds_list_head node;
	struct pvhca_qp_attr attr;

	bool broken;
	bool notify_drained;
	uint64_t peer_stamp;
	uint64_t timeout_ns;
	struct loopback_sq sq;

	bool has_source;
	uint8_t source[LOOPBACK_GID_LEN];
	uint8_t dgid[LOOPBACK_GID_LEN];
	uint32_t dest_qpn;

	struct loopback_receive receive;
	bool told_last;
	bool srq_waits;
	uint32_t srq_waiter;
	struct cds_list_head srq_node;

	_Atomic uint64_t stamp;
	atomic_bool failed;
	atomic_bool draining;
	atomic_bool established;
	atomic_bool peer_waits;
	atomic_bool kicked;
	_Atomic uint32_t access;
	_Atomic uint32_t max_dest_rd_atomic;
	_Atomic uint32_t min_rnr_timer;
	_Atomic uint32_t qkey;

	_Atomic uint32_t windows;
	struct loopback_attachment *attachments;
};

int loopback_qp_create(struct qp *qp);
void loopback_qp_destroy(struct qp *qp);
int loopback_qp_query(struct qp *qp, uint32_t attr_mask, struct pvhca_qp_attr *attr);

/* State as it is or is about to be. */
static inline enum ibv_qp_state loopback_qp_state(const struct loopback_qp *lqp)
{
	if (atomic_load_explicit(&lqp->failed, memory_order_acquire))
		return IBV_QPS_ERR;
	return atomic_load_explicit(&lqp->qp->state, memory_order_acquire);
}

/* Does it take messages? */
static inline bool loopback_qp_responds(const struct loopback_qp *lqp)
{
	return qp_state_responds(loopback_qp_state(lqp));
}

/* Change the state; with qp->lock held, without rq_lock. */
void loopback_qp_set_state(struct loopback_qp *lqp, enum ibv_qp_state state);
/* What others found wrong becomes the state; with qp->lock held. */
void loopback_qp_settle(struct loopback_qp *lqp);
/*
 * Fail a QP from any pass, with its rq_lock held: async event (enum
 * pvhca_async_event, or LOOPBACK_NO_EVENT), state ERR, flush by its own worker.
 */
#define LOOPBACK_NO_EVENT 0xffffffffu
void loopback_qp_fail(struct loopback_qp *lqp, uint32_t event);
/*
 * Is peer, whose rq_lock is held, connected to lqp as lqp is to it? lqp is read
 * under its qp->lock.
 */
bool loopback_qp_fits(const struct loopback_qp *lqp, const struct loopback_qp *peer);
/* Have a QP served that may wait for what has now come. */
void loopback_qp_kick(struct loopback_qp *lqp, struct pass *pass);
/* End of SQD's draining, if it is that; with qp->lock held. */
void loopback_qp_drained(struct loopback_qp *lqp);

/* -------------------- state machine: fabric/loopback/modify.c --------------------- */

int loopback_qp_modify(struct qp *qp, uint32_t attr_mask, const struct pvhca_qp_attr *attr);
bool loopback_av_is_valid(const struct vm *vm, const struct pvhca_av *av);

/* ----------------------- data path: fabric/loopback/serve.c ----------------------- */

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

/* Entries of one call, so that one QP does not hold up its worker's others. */
#define LOOPBACK_BATCH 64u

unsigned int loopback_qp_serve(struct pass *pass, struct qp *qp);

/* ----------------------- receives: fabric/loopback/receive.c ---------------------- */

enum loopback_take {
	LOOPBACK_TAKE_OK,   /* rx->receive is it */
	LOOPBACK_TAKE_NONE, /* none is posted */
	LOOPBACK_TAKE_BAD,  /* what is posted is no good: rx has failed */
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
int loopback_srq_query(struct srq *srq, struct pvhca_rsp_query_srq *rsp);
/* Something was posted: wake who waits for it. */
unsigned int loopback_srq_serve(struct pass *pass, struct srq *srq);
/* For loopback_receive_take(). */
enum loopback_take loopback_srq_take(struct loopback_qp *rx, const struct loopback_qp *waiter);
/* Nobody waits on behalf of rx any more. */
void loopback_srq_forget(struct loopback_qp *rx);

/* ---------------------- RC and UC: fabric/loopback/rc.c --------------------------- */

enum loopback_result {
	LOOPBACK_DONE,	 /* executed */
	LOOPBACK_MORE,	 /* a piece was moved, others remain */
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
/* Execute the request at the head of the send queue: DONE or FAILED. */
enum loopback_result loopback_ud_execute(struct loopback_serve *serve, enum ibv_wc_status *status);

/* ---------------------- multicast: fabric/loopback/mcast.c ------------------------ */

int loopback_mcast_attach(struct qp *qp, const uint8_t gid[16], uint16_t lid);
int loopback_mcast_detach(struct qp *qp, const uint8_t gid[16], uint16_t lid);
/* Call fn for each QP that is attached; in an RCU read section. */
void loopback_mcast_for_each(struct loopback *fabric, const uint8_t gid[LOOPBACK_GID_LEN],
			     void (*fn)(struct loopback_qp *lqp, void *arg), void *arg);
/* Of a QP that goes: no sender finds it any more; and, a grace period later, the rest. */
void loopback_mcast_detach_all(struct loopback_qp *lqp);
void loopback_mcast_free_all(struct loopback_qp *lqp);

/* Durations of IB vol 1, 9.7.6.1.3 and 9.7.5.2.8; ns. 0: for ever. */
uint64_t loopback_timeout_ns(uint8_t timeout);
uint64_t loopback_rnr_ns(uint32_t timer);

#endif
