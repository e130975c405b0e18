// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connections as such: where they are found, how long they stay, and what is said
 * to the guest about them.
 */
#include <netinet/in.h>
#include <stdlib.h>

#include "lib/address.h"
#include "lib/clock.h"
#include "fabric/verbs/cm/private.h"
#include "gsi/gsi.h"

/*
 * How long each state may last: the timer runs out repeats + 1 times, and says
 * again what was said until the last time. Guests' CMs give up after some 16
 * tries of 4 seconds.
 */
static const struct {
	unsigned int ms;
	unsigned int repeats;
	unsigned int patient_ms; /* once the guest has asked for time */
} cm_times[CM_STATES] = {
	/* clang-format off */
	[CM_RESOLVING] = { 15000, 0, 0 },
	[CM_ASKING] = { 120000, 0, 0 },
	[CM_ANSWERED] = { 1000, 30, 60000 },
	[CM_ASKED] = { 1000, 30, 60000 },
	[CM_ACCEPTED] = { 120000, 0, 0 },
	[CM_ESTABLISHED] = { 0, 0, 0 },
	[CM_LEAVING] = { 60000, 0, 0 },
	[CM_LEFT] = { 1000, 10, 0 },
	[CM_OVER] = { 75000, 0, 0 },
	/* clang-format on */
};

/*
 * All connections by our id; and by their timers. Those of a list run equally long, so whoever
 * comes later ends later. The thread's own.
 */
static struct hash cm_conns;
static uint32_t cm_last_id;
static struct cds_list_head cm_timers[CM_STATES][2];

/* -------------------------------- addresses -------------------------------- */

void cm_sockaddr(const uint8_t gid[16], uint16_t port, uint32_t scope,
		 struct sockaddr_storage *address)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;
	struct sockaddr_in *in = (struct sockaddr_in *)address;

	memset(address, 0, sizeof(*address));
	if (address_is_ipv4(gid)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, gid + 12, 4);
		return;
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, gid, 16);
	if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
		in6->sin6_scope_id = scope;
}

bool cm_sockaddr_gid(const struct sockaddr *address, uint8_t gid[16])
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	const struct sockaddr_in *in = (const struct sockaddr_in *)address;

	switch (address->sa_family) {
	case AF_INET:
		address_from_ipv4((const uint8_t *)&in->sin_addr, gid);
		return true;
	case AF_INET6:
		memcpy(gid, &in6->sin6_addr, 16);
		return true;
	default:
		return false;
	}
}

uint64_t cm_peer_guid(const uint8_t peer[16])
{
	uint64_t guid = 0;

	for (int i = 0; i < 16; i++)
		guid ^= (uint64_t)peer[i] << (i % 8 * 8);
	return guid;
}

/* ----------------------------- finding, ending ----------------------------- */

struct cm_conn *cm_conn_find(struct cm_vm *cv, uint32_t id)
{
	struct cm_conn *conn = hash_object(hash_first(&cm_conns, id), struct cm_conn, by_id);

	return conn && conn->cv == cv ? conn : NULL;
}

struct cm_conn *cm_conn_find_guest(struct cm_vm *cv, uint32_t guest_id)
{
	return hash_object(hash_first(&cv->by_guest, guest_id), struct cm_conn, by_guest);
}

/* Not 0, and none that is in use; the first tries do. */
static uint32_t cm_new_id(void)
{
	do {
		cm_last_id++;
	} while (!cm_last_id || hash_first(&cm_conns, cm_last_id));
	return cm_last_id;
}

/* Room for one more: the oldest that is only remembered goes. */
static bool cm_make_room(struct cm_vm *cv)
{
	uint32_t limit = cv->vm->policy->quota.connections;
	struct cm_conn *conn;

	if (cv->num_conns < limit)
		return true;
	cds_list_for_each_entry (conn, &cv->conns, node) {
		if (conn->state != CM_OVER)
			continue;
		cm_conn_drop(conn);
		return true;
	}
	vm_warning(
		cv->vm,
		"has its quota of connections=%u to native peers; raise it in group [quota] or [vm %s] of the configuration",
		limit, cv->vm->name);
	return false;
}

struct cm_conn *cm_conn_new(struct cm_vm *cv, const uint8_t own[16], const uint8_t peer[16])
{
	struct cm_conn *conn;

	if (!cm_make_room(cv))
		return NULL;
	conn = heap_zalloc(cv->vm->heap, sizeof(*conn));
	if (!conn)
		return NULL;
	conn->kind = CM_CONN;
	conn->cv = cv;
	conn->id = cm_new_id();
	memcpy(conn->own, own, sizeof(conn->own));
	memcpy(conn->peer, peer, sizeof(conn->peer));
	hash_add(&cm_conns, &conn->by_id, conn->id);
	cds_list_add_tail(&conn->node, &cv->conns);
	cv->num_conns++;
	conn->counted = true;
	atomic_fetch_add(&cv->vm->connections, 1);
	return conn;
}

static void cm_conn_stop_timer(struct cm_conn *conn)
{
	if (!conn->timer_ms)
		return;
	cds_list_del(&conn->timer);
	conn->timer_ms = 0;
}

static void cm_conn_release(struct cm_conn *conn)
{
	cm_terms_forget(conn);
	if (conn->counted)
		atomic_fetch_sub(&conn->cv->vm->connections, 1);
	conn->counted = false;
	if (!conn->rdma)
		return;
	if (rdma_destroy_id(conn->rdma))
		vm_warning(conn->cv->vm, "a connection of the host could not be given back");
	conn->rdma = NULL;
}

void cm_conn_drop(struct cm_conn *conn)
{
	struct cm_vm *cv = conn->cv;

	cm_conn_stop_timer(conn);
	cm_conn_release(conn);
	if (conn->has_guest_id)
		hash_del(&cv->by_guest, &conn->by_guest);
	hash_del(&cm_conns, &conn->by_id);
	cds_list_del(&conn->node);
	cv->num_conns--;
	heap_free(conn);
}

void cm_conn_set_guest_id(struct cm_conn *conn, uint32_t guest_id)
{
	if (conn->has_guest_id)
		return;
	conn->guest_id = guest_id;
	conn->has_guest_id = true;
	hash_add(&conn->cv->by_guest, &conn->by_guest, guest_id);
}

/* ---------------------------------- timers --------------------------------- */

/* The state has lasted as long as it may. */
static void cm_conn_expire(struct cm_conn *conn)
{
	switch (conn->state) {
	case CM_RESOLVING:
		cm_conn_refuse(conn, MAD_ABOUT_REQ, MAD_REASON_BAD_GID, NULL, 0);
		return;
	case CM_ACCEPTED:
		cm_conn_refuse(conn, MAD_ABOUT_REP, MAD_REASON_TIMEOUT, NULL, 0);
		return;
	case CM_ANSWERED:
	case CM_ASKED:
		/* The guest says nothing: the peer is told at once. */
		rdma_reject(conn->rdma, NULL, 0);
		break;
	case CM_LEAVING:
		cm_conn_message(conn, MAD_DREP);
		cm_conn_over(conn);
		return;
	default:
		break;
	}
	cm_conn_drop(conn);
}

/* When the first timer runs out, whichever it is. */
static void cm_conns_set_alarm(void)
{
	uint64_t first = UINT64_MAX;

	for (int i = 0; i < CM_STATES * 2; i++) {
		struct cds_list_head *list = &cm_timers[i / 2][i % 2];

		if (!cds_list_empty(list))
			first = MIN(first,
				    cds_list_first_entry(list, struct cm_conn, timer)->end_ns);
	}
	cm_set_alarm(first);
}

static void cm_conn_start_timer(struct cm_conn *conn, unsigned int ms)
{
	conn->timer_ms = ms;
	conn->end_ns = clock_ns() + ms * NS_PER_MS;
	cds_list_add_tail(&conn->timer,
			  &cm_timers[conn->state][ms == cm_times[conn->state].patient_ms]);
}

static void cm_conn_on_timer(struct cm_conn *conn)
{
	unsigned int ms = conn->timer_ms;

	cm_conn_stop_timer(conn);
	if (!conn->repeats) {
		cm_conn_expire(conn);
		return;
	}
	conn->repeats--;
	cm_conn_start_timer(conn, ms);
	if (conn->has_said)
		gsi_deliver(conn->cv->vm, conn->peer, conn->own, &conn->said);
}

void cm_conns_on_alarm(void)
{
	uint64_t now = clock_ns();
	struct cm_conn *conn;

	for (int i = 0; i < CM_STATES * 2; i++) {
		struct cds_list_head *list = &cm_timers[i / 2][i % 2];

		while (!cds_list_empty(list)) {
			conn = cds_list_first_entry(list, struct cm_conn, timer);
			if (conn->end_ns > now)
				break;
			cm_conn_on_timer(conn);
		}
	}
	cm_conns_set_alarm();
}

void cm_conns_init(void)
{
	for (int i = 0; i < CM_STATES * 2; i++)
		CDS_INIT_LIST_HEAD(&cm_timers[i / 2][i % 2]);
}

void cm_conns_fini(void)
{
	hash_fini(&cm_conns);
}

void cm_conn_set_state(struct cm_conn *conn, enum cm_state state)
{
	unsigned int ms = cm_times[state].ms;

	conn->state = state;
	conn->repeats = cm_times[state].repeats;
	if (conn->patient && cm_times[state].patient_ms) {
		/* And then asked once more, which it may answer so again. */
		ms = cm_times[state].patient_ms;
		conn->repeats = 1;
	}
	cm_conn_stop_timer(conn);
	if (!ms)
		return;
	cm_conn_start_timer(conn, ms);
	cm_conns_set_alarm();
}

/* --------------------------------- messages -------------------------------- */

void cm_conn_say(struct cm_conn *conn)
{
	if (conn->has_said)
		gsi_deliver(conn->cv->vm, conn->peer, conn->own, &conn->said);
}

void cm_conn_message(struct cm_conn *conn, enum mad_attribute attribute)
{
	/* An answer bears the id of what it answers, ours one of our own. */
	mad_init(&conn->said, attribute, conn->tid ?: conn->id);
	conn->has_said = true;
	conn->patient = false;
	if (attribute == MAD_SIDR_REQ) {
		mad_set(&conn->said, SIDR_REQ_ID, conn->id);
		return;
	}
	if (attribute == MAD_SIDR_REP) {
		mad_set(&conn->said, SIDR_REP_ID, conn->guest_id);
		return;
	}
	mad_set(&conn->said, MAD_LOCAL_ID, conn->id);
	if (attribute != MAD_REQ)
		mad_set(&conn->said, MAD_REMOTE_ID, conn->guest_id);
}

void cm_conn_over(struct cm_conn *conn)
{
	cm_conn_release(conn);
	cm_conn_set_state(conn, CM_OVER);
	cm_conn_say(conn);
}

void cm_conn_refuse(struct cm_conn *conn, enum mad_about about, uint32_t reason,
		    const void *private_data, unsigned int length)
{
	if (conn->ud) {
		cm_conn_message(conn, MAD_SIDR_REP);
		mad_set(&conn->said, SIDR_REP_STATUS, MAD_SIDR_REJECTED);
		mad_set_private(&conn->said, SIDR_REP_PRIVATE, SIDR_REP_PRIVATE_LEN, private_data,
				length);
	} else {
		cm_conn_message(conn, MAD_REJ);
		mad_set(&conn->said, REJ_MESSAGE, about);
		mad_set(&conn->said, REJ_REASON, reason);
		/* 12.6.7.2: who gave up may not know the other's id. */
		if (reason == MAD_REASON_TIMEOUT) {
			mad_set(&conn->said, REJ_INFO_LEN, sizeof(uint64_t));
			mad_set(&conn->said, REJ_INFO_GUID, cm_peer_guid(conn->peer));
		}
		mad_set_private(&conn->said, REJ_PRIVATE, REJ_PRIVATE_LEN, private_data, length);
	}
	cm_conn_over(conn);
}

void cm_conn_leave(struct cm_conn *conn)
{
	cm_conn_message(conn, MAD_DREQ);
	mad_set(&conn->said, DREQ_QPN, conn->qpn);
	cm_conn_over(conn);
	cm_conn_set_state(conn, CM_LEFT);
}
