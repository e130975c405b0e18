/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests as most are, many at a time: fabric/loopback/burst.c. */
#ifndef HOSTD_FABRIC_LOOPBACK_BURST_H
#define HOSTD_FABRIC_LOOPBACK_BURST_H

#include <stdbool.h>
#include <stdint.h>

#include "fabric/loopback/serve.h"
#include "lib/grh.h"
#include "rdma/pvhca-ring.h"

/* Requests of a group, whose completions are written together. */
#define LOOPBACK_GROUP 32u

/**
 * struct loopback_run - memory that was found by its key: one run here
 * @key: of the region
 * @access: IBV_ACCESS_* that it grants
 * @addr, @length: of the run, as requests name it; length 0: there is none
 * @host: its first byte
 *
 * A region that was registered by command. It stays for the pass (RCU), and so does what
 * is known of it.
 */
struct loopback_run {
	uint64_t addr;
	uint64_t length;
	uint8_t *host;
	uint32_t key;
	uint32_t access;
};

/**
 * struct loopback_burst - what the requests of one call have in common
 * @peer: the responder; NULL: not looked for yet
 * @stamp: of its connection, when it was found
 * @way: of datagrams; only those that go the same way are of one group
 * @grh, @grh_payload, @sl: their network header, for that many bytes behind it, and its type
 * @opcodes: that this transport has and a burst knows, by bits
 * @locked: the responder's rq_lock is held; then
 * @posted: entries of its receive queue that are there
 * @room: bytes that the group may still move
 * @local, @remote, @receive: memory of the requester, of the responder by remote key, and of
 *	the responder's receives, where the latest of each lay
 * @sent, @received: completions that are to be written, @num_sent and @num_received
 */
struct loopback_burst {
	struct loopback_serve *serve;
	struct loopback_qp *lqp;
	struct loopback_qp *peer;
	uint64_t stamp;
	struct loopback_way way;
	uint8_t grh[GRH_LEN];
	uint32_t grh_payload;
	uint32_t opcodes;
	uint32_t posted;
	bool locked;
	uint8_t sl;
	unsigned int num_sent;
	unsigned int num_received;
	uint32_t room;
	struct loopback_run local;
	struct loopback_run remote;
	struct loopback_run receive;
	struct pvhca_cqe sent[LOOPBACK_GROUP];
	struct pvhca_cqe received[LOOPBACK_GROUP];
};

/* A call of loopback_qp_serve begins. */
void loopback_burst_begin(struct loopback_burst *burst, struct loopback_serve *serve);
/*
 * Execute and complete the next requests of the send queue, max at most, as long as they
 * are plain. Returns how many: 0: the next one is for loopback_rc_execute(), or there is
 * none. No request is under way, and the QP is in RTS.
 */
unsigned int loopback_burst(struct loopback_burst *burst, unsigned int max);

#endif
