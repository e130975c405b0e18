/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest's admin commands do. All in the session's thread. Handlers get a
 * private copy of the command and a zeroed response, and return an enum
 * pvhca_admin_status; where they fail they leave nothing behind.
 */
#ifndef HOSTD_COMMANDS_H
#define HOSTD_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "objects.h"
#include "pvhca/pvhca-admin.h"
#include "session.h"

/*
 * Memory lists of rings may be this much longer than the ring, bytes: the guest's
 * pages may be larger than ours. A bound, as each granule costs us a pointer.
 */
#define COMMANDS_RING_SLACK	(64u << 10)

uint32_t commands_execute(struct session *session,
			  const struct pvhca_admin_cmd *cmd,
			  struct pvhca_admin_rsp *rsp);
/* What was completed before shall not wait for this one. */
bool commands_may_take_long(const struct pvhca_admin_cmd *cmd);

/* Give back all that the guest has: QPs, CQs, MRs, PDs, GIDs, contexts, CEQs. */
void commands_destroy_all(struct session *session);

/* Log (rate-limited) which quota is exhausted and how to raise it. Returns PVHCA_ST_QUOTA. */
int commands_quota(struct session *session, const char *key, uint64_t limit);
/* table_add() that logs. */
int commands_table_add(struct session *session, struct table *table,
		       const char *key, void *object, uint32_t *handle);

typedef int command_fn(struct session *session,
		       const struct pvhca_admin_cmd *cmd,
		       struct pvhca_admin_rsp *rsp);

/* commands_device.c */
command_fn commands_nop, commands_query_device, commands_query_port;
/* commands_ceq.c */
command_fn commands_create_ceq, commands_destroy_ceq;
void commands_free_ceq(void *ceq, void *session);
/* commands_gid.c */
command_fn commands_add_gid, commands_del_gid;
void commands_free_gids(struct session *session);
/* commands_context.c */
command_fn commands_alloc_context, commands_dealloc_context;
command_fn commands_alloc_pd, commands_dealloc_pd;
void commands_free_context(void *context, void *session);
void commands_free_pd(void *pd, void *session);
/* commands_mr.c */
command_fn commands_reg_mr, commands_dereg_mr;
void commands_free_mr(void *mr, void *session);
/* commands_cq.c */
command_fn commands_create_cq, commands_destroy_cq;
void commands_free_cq(void *cq, void *session);
/* commands_qp.c */
command_fn commands_create_qp, commands_destroy_qp;
void commands_unpublish_qp(void *qp, void *session);
/* The QP was unpublished, and a grace period has passed. */
void commands_free_qp(void *qp, void *session);
/* commands_qp_state.c */
command_fn commands_modify_qp, commands_query_qp;

#endif
