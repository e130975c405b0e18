// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Work requests that need no responder: they change keys.
 */
#include "fabric/loopback/key.h"
#include "fabric/loopback/qp.h"
#include "fabric/loopback/serve.h"
#include "vm/pass.h"

#define PAGE_NS 10

static bool invalidate(struct loopback_qp *lqp)
{
	struct loopback_key *key = loopback_key_revoke(lqp, lqp->sq.request.inv_rkey);

	if (!key)
		return false;
	loopback_key_free(key);
	return true;
}

enum loopback_result loopback_local_execute(struct loopback_serve *serve,
					    enum ibv_wc_status *status)
{
	struct loopback_qp *lqp = serve->lqp;
	bool done;

	switch (lqp->sq.request.opcode) {
	case PVHCA_WQE_LOCAL_INV:
		done = invalidate(lqp);
		break;
	case PVHCA_WQE_BIND_MW:
		done = loopback_mw_bind(lqp);
		break;
	default:
		done = loopback_fr_reg(lqp);
		/* Each page is looked at, but few are looked up. */
		pass_spend(serve->pass, PAGE_NS * (int64_t)lqp->sq.request.reg.num_pages);
		break;
	}
	/* 11.6.2: "memory management operation error", by its older name. */
	*status = IBV_WC_MW_BIND_ERR;
	return done ? LOOPBACK_DONE : LOOPBACK_FAILED;
}
