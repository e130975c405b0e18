/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One end of an error case: fresh objects for every case, as a QP in error is of
 * no more use, and a record of what came out.
 */
#ifndef PVHCA_TEST_SIDE_H
#define PVHCA_TEST_SIDE_H

#include <stdbool.h>

#include "channel.h"
#include "endpoint.h"

#define SIDE_PAGE   4096
#define SIDE_QUEUE  8 /* send and receive queue entries */
#define SIDE_SGES   2
#define SIDE_INLINE 64
#define SIDE_RECORD 256

#define SIDE_ALL_RIGHTS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)

/* What the responder tells the requester of its memory. */
struct side_offer {
	uint64_t address;
	uint32_t rkey;
};

struct side {
	struct device *device;
	struct channel *channel;
	bool requester;
	unsigned int expected; /* completions that this case is to bring at this end */
	unsigned int patience; /* seconds until what has not come is taken not to come */
	/* Three pages, all registered with full rights (lkey of `all`), the middle one also as `mr`. */
	uint8_t *memory;
	uint8_t *page; /* the middle one */
	struct ibv_pd *pd;
	struct ibv_pd *other_pd;
	struct ibv_mr *all;
	struct ibv_mr *mr;
	struct ibv_mr *other_mr; /* the middle page, in the other PD */
	struct ibv_mr *windowed; /* NULL, or a region that a case made for windows */
	struct ibv_mw *mw;	 /* NULL, or a window that a case made */
	struct ibv_cq *send_cq;
	struct ibv_cq *receive_cq;
	struct ibv_qp *qp;
	struct side_offer offer; /* by the responder; after the exchange at the requester, too */
	char statuses[SIDE_RECORD];
	char events[SIDE_RECORD];
};

/* mr_access: of `mr`. The QP is in RESET. */
void side_init(struct side *s, int mr_access);
/* What is left is destroyed; the pointers of what the case destroyed itself are NULL. */
void side_free(struct side *s);
/* To RTS towards the peer's QP. */
void side_connect(struct side *s, const struct endpoint_settings *settings);

/* Add one result to the record. */
void side_record(struct side *s, const char *result);
/* Add "what:EINVAL", or "what:0". A verb that returns a pointer: error is 0 or errno. */
void side_record_call(struct side *s, const char *what, int error);

/* Record whether something is as it should be: "what:ok" or "what:WRONG". */
void side_record_check(struct side *s, const char *what, bool good);
/* The next completion, not recorded; false when patience is at an end. */
bool side_wait(struct side *s, struct ibv_cq *cq, struct ibv_wc *wc);
/*
 * Take completions of a CQ, recording their statuses in order, until count came
 * or patience is at an end. "+INV" follows a status that invalidated a key.
 */
void side_collect(struct side *s, struct ibv_cq *cq, unsigned int count);
/* Record asynchronous events until count came, or patience is at an end; then what else is there. */
void side_collect_events(struct side *s, unsigned int count);

/* Post; what fails is recorded as "post_send:..." */
bool side_post(struct side *s, enum ibv_wr_opcode opcode, unsigned int flags, struct ibv_sge *sge,
	       int sges, uint64_t remote, uint32_t rkey);
/* A signaled operation on length bytes at the start of the middle page. */
bool side_post_plain(struct side *s, enum ibv_wr_opcode opcode, uint32_t length, uint64_t remote,
		     uint32_t rkey);
bool side_post_receive(struct side *s, void *memory, uint32_t length, uint32_t lkey);

#endif
