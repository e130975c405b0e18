/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs fabric: guests' verbs calls made on a host device by libibverbs.
 *
 *   fabric/verbs/verbs.c  device, port, async events
 *   fabric/verbs/address.c guests' addresses, and the host's in their place
 *   fabric/verbs/vlan.c    VLANs of the host's interfaces
 *   fabric/verbs/mr.c      protection domains and memory regions
 *   fabric/verbs/mw.c      memory windows
 *   fabric/verbs/ah.c      address vectors, address handles
 *   fabric/verbs/cq.c      the host's CQs and what they deliver
 *   fabric/verbs/qp.c      queue pairs
 *   fabric/verbs/srq.c     shared receive queues
 *   fabric/verbs/group.c   the host's own membership in multicast groups
 *   fabric/verbs/mcast.c   multicast groups
 *   fabric/verbs/post.c    from guests' rings to ibv_post_send
 *   fabric/verbs/batch.c   from their entries to work requests
 *   fabric/verbs/recv.c    from guests' rings to ibv_post_recv, ibv_post_srq_recv
 *   fabric/verbs/headers.c where received datagrams have their headers
 *
 * Each session opens the device for itself, so that the engine keeps the VMs
 * apart and closing the context gives everything back.
 *
 * Guests' CQs have no counterpart on the host. A session has few host CQs,
 * shared by its QPs, so that polling and arming cost the same however many CQs
 * the guest has; the completion names the QP by its work request id, and the QP
 * knows its guest CQs. QPs reserve their share of a host CQ, so none overruns.
 *
 * Addresses. A guest's address is the host device's, or it is translated: the VM keeps an
 * address of its own, and on the wire stands one of the host's. That is decided once, when
 * the guest takes the address. From then on the host's is put in where a QP or an address
 * handle is given its path, for the guest's own end and for a peer that is a VM of this
 * pvhcad or, by peer=, of another. No message is touched but datagrams to a VM with such
 * addresses, whose header shows the guest what it knows. QP numbers and keys are the host's
 * in any case, so several VMs share a host's address as its processes do.
 */
#ifndef HOSTD_FABRIC_VERBS_PRIVATE_H
#define HOSTD_FABRIC_VERBS_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "lib/hash.h"
#include "vm/objects.h"
#include "vm/pass.h"
#include "vm/vm.h"

#define VERBS_HOST_CQS	    256 /* of one session */
#define VERBS_QP_INDEX_BITS 16
#define VERBS_NUM_BUCKETS   256
#define VERBS_MAX_MCASTS    64 /* multicast groups of one QP */
#define VERBS_GROUPS	    64 /* multicast groups of one session */
/* Inline data: the most that is tried, and the step of the search; bytes. */
#define VERBS_MAX_INLINE  1024
#define VERBS_INLINE_STEP 4

struct fabric {
	struct ibv_device **list; /* keeps the device */
	struct ibv_device *device;
	uint8_t port;
	uint8_t mac[6]; /* of the port's netdev */
	uint32_t netdev_mtu;
	int netdev_ifindex;  /* 0: not known */
	uint32_t max_inline; /* bytes; found by trying */
	struct verbs_addresses *addresses;
};

/* Apart, for an event that announces a receive is not to come with each send, too. */
enum verbs_completions {
	VERBS_SENDS,
	VERBS_RECEIVES,
};

/**
 * struct verbs_host_cq - a host CQ
 * @what: it is for
 * @capacity, @reserved: completions it holds, and those the QPs may have
 *	outstanding, which grows under verbs_vm.lock
 * @armed: an event is to come; its worker only
 */
struct verbs_host_cq {
	struct ibv_cq *cq;
	enum verbs_completions what;
	uint32_t capacity;
	_Atomic uint32_t reserved;
	bool armed;
};

/* A multicast group that the host is a member of for a guest; see fabric/verbs/group.c. */
struct verbs_group {
	union ibv_gid gid;
	unsigned int users; /* attachments; 0: the place is free */
	int fd;
};

/**
 * struct verbs_address - an entry of a guest's GID table
 * @known, @since: among all VMs', and which came first; under the lock of address.c
 * @gid: the guest's address; @host: the one of the host's device in its place, perhaps the same
 * @ifindex: of the host's interface that has it
 * @index: last known place in the host's table, as any thread found it
 */
struct verbs_address {
	struct hash_node known;
	uint64_t since;
	bool used;
	uint8_t gid[16];
	uint8_t host[16];
	uint32_t ifindex;
	_Atomic int index;
};

/**
 * struct verbs_vm - a VM's part
 * @lock: commands go side by side; this covers @qp_taken, @next_qp, @group, changes of
 *	@by_num and the making of host CQs. The last one for locks, and no worker waits
 *	for it, for an engine may take long to make a CQ
 * @generation: any thread
 * @address: by the index of the guest's table. Written under a lock of address.c, while no
 *	command names the entry
 * @translated: how many of these are not the host's
 */
struct verbs_vm {
	pthread_mutex_t lock;
	struct fabric *fabric;
	struct ibv_context *context;
	struct ibv_device_attr attr;
	struct ibv_comp_channel *channel;
	struct verbs_host_cq host_cq[VERBS_HOST_CQS];
	_Atomic uint32_t num_host_cqs; /* only grows */
	uint32_t next_poll;	       /* host CQ to be polled first; under poll_lock */
	pthread_mutex_t poll_lock;     /* who polls: the order of completions is kept */
	uint32_t max_qps;
	uint32_t next_qp;
	bool *qp_taken; /* by index; before and after there is a QP in qps, too */
	_Atomic uint16_t generation;
	struct verbs_group group[VERBS_GROUPS];
	struct verbs_address address[VM_GIDS];
	_Atomic unsigned int translated;
	_Atomic uint32_t in_flight;	      /* sum of its QPs' */
	_Atomic uint32_t receivers;	      /* QPs and SRQs that are receiving */
	struct cm_vm *cm;		      /* or NULL: no connections to native peers */
	pthread_mutex_t keys_lock;	      /* of keys, and of the life of its regions */
	struct hash keys;		      /* struct verbs_mr by lkey */
	struct qp **qps;		      /* by index; RCU */
	struct qp *by_num[VERBS_NUM_BUCKETS]; /* QPs with an SRQ, by QP number; RCU */
};

/**
 * struct verbs_srq - an SRQ's part
 * @host_cq: receives of all its QPs complete there
 * @stalled: the host's queue was full; go on after the next receive
 * @failed: an entry was refused; under srq->lock
 * @receiving: the engine was given a receive; under srq->lock
 * @headers: of its receives
 */
struct verbs_srq {
	struct ibv_srq *srq;
	struct verbs_host_cq *host_cq;
	_Atomic bool stalled;
	bool failed;
	bool receiving;
	struct verbs_headers *headers;
};

/* A region's part. The range as the guest names it, and where it is mapped here. */
struct verbs_mr {
	struct hash_node key;
	struct ibv_mr *mr;
	struct stitch *stitch;
	uint64_t iova;
	uint64_t length;
	uint8_t *base;
	bool writable; /* by the engine, on its own behalf */
};

static inline struct ibv_mr *verbs_mr_host(const struct mr *mr)
{
	return ((const struct verbs_mr *)mr->fabric)->mr;
}

struct verbs_mcast;

/* A UD QP, by its number, and whose it is; under the lock of address.c. */
struct verbs_datagrams {
	struct hash_node node;
	struct verbs_vm *vv;
};

/**
 * struct verbs_qp - a QP's part
 * @id: index in verbs_vm.qps and a generation above; stands in work request
 *	ids, so that completions from before a RESET or of a destroyed QP are known.
 *	Under qp->rq_lock
 * @send_stalled, @recv_stalled: the host's queue was full; go on after its next
 *	completion
 * @held: the next entry of the send queue was refused, and nothing is taken until those
 *	before it have completed; @held_bind: it was to bind a window. @recv_held: likewise of
 *	the receive queue
 * @told: the last send that the engine has completes visibly, so that in_flight falls to 0
 * @failing: a refused entry had its turn: the host QP is in error and flushes
 * @qp: NULL: it has ended
 * @broken: the process abused its rings: the QP is in error, and not served until RESET. Or it
 *	ends
 * @overrun: a completion found no room that was reserved for it: the QP is to be stopped
 * @receiving: the engine was given a receive since the last RESET; under qp->lock
 * @in_flight: sends that the engine was given and that no completion has retired
 * @retired: place in the send queue of the last that was; under qp->rq_lock
 * @receives: that the engine has, without those of an SRQ
 * @headers: of a UD QP's own receives, or NULL
 * @send_cq, @recv_cq: host CQs, the second one an SRQ's if there is one; and what is
 * @send_share, @recv_share: reserved in them for this QP
 * @next_by_num: in a bucket of verbs_vm.by_num
 * @datagrams: of a UD QP, verbs_address_qp_add(); @by_cm: cm_qp_add()
 * @av: as the guest gave it; under qp->lock
 * @mcasts, @num_mcasts: groups it is attached to; of commands that have the QP alone
 */
struct verbs_qp {
	struct ibv_qp *qp;
	struct verbs_host_cq *send_cq, *recv_cq;
	uint32_t send_share, recv_share;
	uint32_t id;
	uint32_t send_opcodes;
	_Atomic bool send_stalled;
	_Atomic bool recv_stalled;
	_Atomic bool held;
	_Atomic bool recv_held;
	bool held_bind;
	bool told;
	bool failing;
	bool broken;
	_Atomic bool overrun;
	bool receiving;
	_Atomic uint32_t in_flight;
	uint32_t retired;
	_Atomic uint32_t receives;
	struct verbs_headers *headers;
	struct qp *next_by_num;
	struct verbs_datagrams datagrams;
	struct hash_node by_cm;
	struct av av;
	struct verbs_mcast *mcasts;
	unsigned int num_mcasts;
};

/*
 * Work request ids: QP id, kind, and the guest's index or tag. An SRQ's receives
 * have no QP id: the completion has the QP's number.
 */
#define WR_ID_QP_SHIFT	 32
#define WR_ID_RECV	 (1u << 31)
#define WR_ID_BAD	 (1u << 30) /* stands for an entry that was refused */
#define WR_ID_SRQ	 (1u << 29)
#define WR_ID_BIND	 (1u << 28) /* with BAD: it was to bind a window */
#define WR_ID_QUIET	 (1u << 27) /* the guest did not ask for a completion unless it fails */
#define WR_ID_INDEX_MASK 0xffffu

/* The one translation of the host's errno (positive) to the admin ABI. */
int verbs_status(int err);

/* --------------------------- fabric/verbs/address.c --------------------------- */

/* What all VMs' addresses are in; NULL without memory. */
struct verbs_addresses *verbs_addresses_new(void);
void verbs_addresses_free(struct verbs_addresses *addresses);

/* fabric_ops.gid_add and gid_del */
int verbs_gid_add(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan);
void verbs_gid_del(struct vm *vm, uint32_t index, const uint8_t gid[16]);

/* Place in the host's table of what stands there for a guest's own address; -1: it is gone. */
int verbs_gid_index(struct verbs_vm *vv, struct verbs_address *address);
/* The guest has this one of its own, and the host has it not. */
bool verbs_address_is_translated(const struct verbs_address *address);
/*
 * What stands on the wire for the address of a peer: of a VM of this pvhcad that which its
 * own addresses are translated to, of a VM of another host that host's, else the same. Any
 * thread.
 */
void verbs_address_to_host(struct vm *vm, const uint8_t peer[16], uint8_t host[16]);

/* UD QPs of a VM: their numbers tell whose datagram it is. */
void verbs_address_qp_add(struct verbs_vm *vv, struct verbs_datagrams *qp, uint32_t qpn);
void verbs_address_qp_del(struct verbs_vm *vv, struct verbs_datagrams *qp);
/*
 * Addresses of a datagram to the VM as it came, from the QP src_qpn: change them to those
 * that the VM knows. False: they are as they were. Any worker.
 */
bool verbs_address_show(struct vm *vm, uint32_t src_qpn, uint8_t source[16],
			uint8_t destination[16]);

/* fabric/verbs/vlan.c: of the host's interface with this index, or PVHCA_NO_VLAN. */
uint16_t verbs_vlan_of(uint32_t ifindex);

int verbs_pd_alloc(struct pd *pd);
void verbs_pd_free(struct pd *pd);
int verbs_mr_reg(struct mr *mr);
int verbs_mr_dereg(struct mr *mr);
int verbs_mr_rereg(struct mr *mr, uint32_t flags, struct mr *next);

int verbs_mw_alloc(struct mw *mw);
void verbs_mw_dealloc(struct mw *mw);

/*
 * fabric/verbs/mr.c: where length bytes at an address of the region with this lkey are, or NULL:
 * there is none, or they do not lie in it. With vv->keys_lock held, and valid as long. *last: the
 * region that was found last, at first NULL. Any thread.
 */
const uint8_t *verbs_mr_at(struct verbs_vm *vv, const struct verbs_mr **last, uint32_t lkey,
			   uint64_t addr, uint32_t length);
/* Write them, as an engine would for a QP of that PD. */
bool verbs_mr_write(struct verbs_vm *vv, const struct ibv_pd *pd, uint32_t lkey, uint64_t addr,
		    const void *from, uint32_t length);

/*
 * fabric/verbs/headers.c: of receives with the tags 0 to tags - 1, and the datagrams that came
 * into them. NULL without memory.
 */
struct verbs_headers *verbs_headers_new(struct heap *heap, uint32_t tags);
void verbs_headers_free(struct verbs_headers *headers);
/* Before a receive with this tag is posted. */
void verbs_headers_note(struct verbs_headers *headers, uint16_t tag, const struct ibv_sge *sge,
			unsigned int num_sge);
/*
 * When some have completed: where the engine left sl 0, what grh_header_type() says of the header,
 * 0 if that cannot be found. Those in error are passed over.
 */
void verbs_headers_types(struct verbs_headers *headers, struct verbs_vm *vv, struct pvhca_cqe *cqes,
			 unsigned int count);
/*
 * Of one: have the header of a datagram from the QP src_qpn show the addresses that the
 * guest knows. pd: of the queue.
 */
void verbs_headers_show(struct verbs_headers *headers, struct vm *vm, const struct ibv_pd *pd,
			uint16_t tag, uint32_t src_qpn);

/*
 * fabric/verbs/ah.c: address vectors, with addresses and indices of the other side. PVHCA_ST_*.
 * guest: what the guest gave, to be found again.
 */
int verbs_av_to_host(struct vm *vm, const struct av *av, struct ibv_ah_attr *ah);
void verbs_av_from_host(const struct ibv_ah_attr *ah, const struct av *guest, struct av *av);
int verbs_ah_create(struct ah *ah);
void verbs_ah_destroy(struct ah *ah);

/* fabric/verbs/cq.c: a host CQ with room for n more completions; PVHCA_ST_*. */
int verbs_host_cq_reserve(struct verbs_vm *vv, enum verbs_completions what, uint32_t n,
			  struct verbs_host_cq **host_cq);
void verbs_host_cq_release(struct verbs_host_cq *host_cq, uint32_t n);
void verbs_host_cqs_destroy(struct verbs_vm *vv);
/*
 * Deliver what is in a host CQ, when the guest is to find it before the session's
 * thread goes on.
 */
void verbs_host_cq_drain(struct vm *vm, struct verbs_host_cq *host_cq);
unsigned int verbs_vm_poll(struct pass *pass, struct vm *vm);
bool verbs_vm_arm(struct pass *pass, struct vm *vm);
unsigned int verbs_vm_in_flight(const struct vm *vm);
void verbs_vm_event(struct pass *pass, struct vm *vm);
/*
 * Before a QP's or SRQ's receives are handed over, and when none is left of them; the
 * flag is theirs. Between the two completions may come at any time.
 */
void verbs_receiving_begins(struct vm *vm, bool *receiving);
void verbs_receiving_ends(struct vm *vm, bool *receiving);

int verbs_qp_create(struct qp *qp);
void verbs_qp_hide(struct qp *qp);
void verbs_qp_destroy(struct qp *qp);
int verbs_qp_modify(struct qp *qp, uint32_t attr_mask, const struct qp_attr *attr);
int verbs_qp_query(struct qp *qp, uint32_t attr_mask, struct qp_attr *attr);

/* Nothing of a QP is in flight any more; no completion of it is delivered now. */
void verbs_forget_in_flight(struct verbs_vm *vv, struct verbs_qp *vqp);

/* A QP with an SRQ, in a worker. */
struct qp *verbs_qp_by_num(struct verbs_vm *vv, uint32_t qpn);
int verbs_srq_create(struct srq *srq);
void verbs_srq_destroy(struct srq *srq);
int verbs_srq_set_limit(struct srq *srq, uint32_t limit);
int verbs_srq_query(struct srq *srq, uint32_t *limit);

/* A guest's QP is in the group now, or no more: so is the host. */
int verbs_group_join(struct verbs_vm *vv, const union ibv_gid *gid);
void verbs_group_leave(struct verbs_vm *vv, const union ibv_gid *gid);

int verbs_mcast_attach(struct qp *qp, const uint8_t gid[16], uint16_t lid);
int verbs_mcast_detach(struct qp *qp, const uint8_t gid[16], uint16_t lid);
void verbs_mcast_detach_all(struct verbs_vm *vv, struct verbs_qp *vqp);

static inline uint64_t verbs_wr_id(const struct verbs_qp *vqp, uint32_t flags, uint16_t index)
{
	return (uint64_t)vqp->id << WR_ID_QP_SHIFT | flags | index;
}

/* A refused receive is the next that a message would take. */
static inline bool verbs_receive_is_due(const struct verbs_qp *vqp)
{
	return atomic_load(&vqp->recv_held) && !atomic_load(&vqp->receives);
}

/* fabric/verbs/post.c */
unsigned int verbs_qp_serve(struct pass *pass, struct qp *qp);
/* Hand all posted sends over; with qp->lock held. Returns their number. */
unsigned int verbs_serve_sends(struct qp *qp);

/* fabric/verbs/recv.c */
/*
 * Hand posted receives over, all or, with a pass, as many as the turn has room for; with
 * qp->lock held. Returns their number.
 */
unsigned int verbs_serve_receives(struct pass *pass, struct qp *qp);
unsigned int verbs_srq_serve(struct pass *pass, struct srq *srq);
/* Move the host QP to the error state; with qp->lock held. */
void verbs_qp_fail(struct qp *qp);
/*
 * The host's queue is full: the next completion has us look again, and so does
 * the clock, should none come.
 */
void verbs_retry_later(struct qp *qp, _Atomic bool *stalled);
/*
 * A process has posted more than its queue holds, or claims so. That costs it the QP, never the
 * VM its device. With qp->lock held.
 */
void verbs_stop_hostile(struct qp *qp, const char *queue);

#endif
