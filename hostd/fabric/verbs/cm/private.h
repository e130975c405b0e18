/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the connection manager; see fabric/verbs/cm/cm.h. Everything here is its thread's but
 * for what says otherwise.
 */
#ifndef HOSTD_FABRIC_VERBS_CM_PRIVATE_H
#define HOSTD_FABRIC_VERBS_CM_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include <rdma/rdma_cma.h>
#include <urcu/list.h>

#include "fabric/verbs/cm/cm.h"
#include "lib/hash.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "gsi/mad.h"
#include "vm/vm.h"

/* What is first in rdma_cm_id->context. */
enum cm_kind { CM_CONN, CM_LISTENER };

/**
 * struct cm_job - something for the thread to do; the first member of what it needs for that
 * @node: among those of its session. Under the lock of thread.c
 * @run: in the thread; the job is its own from here on
 * @done: set when it is done, or NULL. Likewise
 */
struct cm_job {
	struct cds_list_head node;
	void (*run)(struct cm_job *job);
	struct cm_vm *cv;
	bool *done;
};

/**
 * struct cm_gid - an address of a guest's and the host's in its place, with what listens on that
 * @job: makes it known to the thread, which it belongs to then
 */
struct cm_gid {
	struct cm_job job;
	struct cds_list_head node;
	uint8_t gid[16];
	uint8_t host[16];
	uint32_t ifindex;
	struct cds_list_head listeners;
};

/**
 * struct cm_vm - a session's part
 * @queued: MADs that wait for the thread
 * @jobs, @ready: for the thread; in its list of those with jobs. Under the lock of thread.c
 * @lock: covers qpns and peers, which commands use, too
 * @qpns: QP numbers of the guest
 * @peers: connections with terms, being made or there, by their peers
 * @gids: struct cm_gid
 * @by_guest: connections by the guest's communication id
 * @conns, @num_conns: all connections, the oldest first
 */
struct cm_vm {
	struct vm *vm;
	_Atomic unsigned int queued;
	struct cds_list_head jobs;
	struct cds_list_head ready;

	pthread_mutex_t lock;
	struct hash qpns;
	struct hash peers;

	struct cds_list_head gids;
	struct hash by_guest;
	struct cds_list_head conns;
	unsigned int num_conns;
};

enum cm_state {
	CM_RESOLVING, /* active: address or route; rdma_connect is to come */
	CM_ASKING,    /* active: the peer is asked */
	CM_ANSWERED,  /* active: REP is with the guest */
	CM_ASKED,     /* passive: REQ or SIDR_REQ is with the guest */
	CM_ACCEPTED,  /* passive: REP is with the peer */
	CM_ESTABLISHED,
	CM_LEAVING, /* the guest's DREQ is with the peer */
	CM_LEFT,    /* the peer's DREQ is with the guest */
	CM_OVER,    /* stays for a while: repeated questions get the same answer */
	CM_STATES,
};

/* What a guest's request asks for, kept until the route is known. */
struct cm_request {
	uint64_t service_id;
	uint32_t psn;
	struct rdma_conn_param param;
	uint8_t private_data[SIDR_REQ_PRIVATE_LEN];
};

/**
 * struct cm_conn - a connection, being made, there, or ending; or a SIDR exchange
 * @node: in cv->conns
 * @id, @by_id: our communication id towards the guest
 * @guest_id, @by_guest: the guest's, once known
 * @own, @peer: addresses, as the guest sees them
 * @qpn: the guest's QP
 * @peer_qpn, @terms, @has_terms, @by_peer: the peer's QP, and what the host's CM agreed on with
 *	it; written under cv->lock
 * @tid: of the guest's request
 * @rdma: owned; NULL when it has come to its end
 * @said, @has_said: the MAD that is repeated until the guest answers it, or when
 *	it asks again
 * @patient: the guest asked for time (MRA): @said is not repeated by itself
 * @repeats: how often the timer may still run out
 * @timer, @timer_ms: in the list of those that run equally long; 0: none runs
 * @end_ns: when it runs out; CLOCK_MONOTONIC
 */
struct cm_conn {
	enum cm_kind kind;
	struct cm_vm *cv;
	struct cds_list_head node;
	struct hash_node by_id;
	struct hash_node by_guest;
	struct hash_node by_peer;
	struct cm_terms terms;
	uint32_t id;
	uint32_t guest_id;
	bool has_guest_id;
	bool active;
	bool ud;
	bool has_terms;
	bool counted; /* in vm->connections */
	enum cm_state state;
	uint8_t own[16];
	uint8_t peer[16];
	uint32_t qpn;
	uint32_t peer_qpn;
	uint64_t tid;
	struct cm_request asked; /* active */
	struct rdma_cm_id *rdma;
	struct mad said;
	bool has_said;
	bool patient;
	unsigned int repeats;
	struct cds_list_head timer;
	unsigned int timer_ms;
	uint64_t end_ns;
};

/* ------------------------------- fabric/verbs/cm/thread.c ------------------------------- */

struct rdma_event_channel *cm_channel(void);
/* The host device that the id was bound to is the fabric's. */
bool cm_right_device(const struct rdma_cm_id *id);
/* Is it a port that the host gives to whoever asks for any? */
bool cm_is_for_anybody(uint16_t port);
/* Have cm_conns_on_alarm() called then (CLOCK_MONOTONIC); UINT64_MAX: not at all. Needs no memory. */
void cm_set_alarm(uint64_t ns);
bool cm_owns_qp(struct cm_vm *cv, uint32_t qpn);
/* peer_qpn: the peer's QP, rtr: of the host's CM, for ours to receive. */
void cm_terms_learn(struct cm_conn *conn, uint32_t peer_qpn, const struct ibv_qp_attr *rtr);
void cm_terms_forget(struct cm_conn *conn);
struct cm_gid *cm_find_gid(struct cm_vm *cv, const uint8_t gid[16]);

/* -------------------------------- fabric/verbs/cm/conn.c -------------------------------- */

/* The thread begins and ends; no connection is there. */
void cm_conns_init(void);
void cm_conns_fini(void);
void cm_conns_on_alarm(void);
/* NULL: the VM has as many as it may, or there is no memory. */
struct cm_conn *cm_conn_new(struct cm_vm *cv, const uint8_t own[16], const uint8_t peer[16]);
/* Gives all back: the host's CM tells the peer what is right in its state. */
void cm_conn_drop(struct cm_conn *conn);
void cm_conn_set_state(struct cm_conn *conn, enum cm_state state);
void cm_conn_set_guest_id(struct cm_conn *conn, uint32_t guest_id);
/* By our id, if it is that session's; by the guest's id. */
struct cm_conn *cm_conn_find(struct cm_vm *cv, uint32_t id);
struct cm_conn *cm_conn_find_guest(struct cm_vm *cv, uint32_t guest_id);
/* Send conn->said, and repeat it. */
void cm_conn_say(struct cm_conn *conn);
/* The host's side ends; said, if there is one, is the last word. */
void cm_conn_over(struct cm_conn *conn);

/* A message about the connection into conn->said; ids and header are set. */
void cm_conn_message(struct cm_conn *conn, enum mad_attribute attribute);
/* Refuse in the words of a REJ or SIDR_REP, and be over. */
void cm_conn_refuse(struct cm_conn *conn, enum mad_about about, uint32_t reason,
		    const void *private_data, unsigned int length);
/* The host's side has ended; the guest is told until it answers. */
void cm_conn_leave(struct cm_conn *conn);
/* Part of peers' GUIDs that tells them apart: made of the address. */
uint64_t cm_peer_guid(const uint8_t peer[16]);

/* A GID as an IP address; scope: of link-local ones. */
void cm_sockaddr(const uint8_t gid[16], uint16_t port, uint32_t scope,
		 struct sockaddr_storage *address);
/* False: no IP address. */
bool cm_sockaddr_gid(const struct sockaddr *address, uint8_t gid[16]);

/* -------------------------------- fabric/verbs/cm/guest.c ------------------------------- */

void cm_guest_mad(struct cm_vm *cv, const uint8_t source[16], const uint8_t destination[16],
		  const struct mad *mad);

/* -------------------------------- fabric/verbs/cm/peer.c -------------------------------- */

/* Handle what the channel has, a bounded number; false: there may be more. */
bool cm_peer_events(struct rdma_event_channel *channel);

/* ------------------------------- fabric/verbs/cm/listen.c ------------------------------- */

struct cm_listener {
	enum cm_kind kind;
	struct cds_list_head node; /* in listeners of its address */
	struct cm_vm *cv;
	struct rdma_cm_id *rdma;
	uint8_t gid[16];
	uint16_t port;
	bool ud;
};

/* One address of the VM listens for all that stand for the same one of the host. */
void cm_listen(struct cm_vm *cv, struct cm_gid *gid);
void cm_unlisten(struct cm_gid *gid);
bool cm_is_translated(const struct cm_gid *gid);

#endif
