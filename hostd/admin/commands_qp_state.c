// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changing and asking for the attributes of queue pairs. Which attributes go with
 * which transition is the fabric's to say (the host's verbs know); here is checked
 * what could harm: values out of range, addresses that are not the guest's.
 */
#include <endian.h>

#include "admin/commands.h"
#include "vm/cq.h"

/* Attributes that can be changed; paths migrate on InfiniBand only. */
#define QP_MODIFY_MASK                                                                        \
	(IBV_QP_STATE | IBV_QP_CUR_STATE | IBV_QP_EN_SQD_ASYNC_NOTIFY | IBV_QP_ACCESS_FLAGS | \
	 IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY | IBV_QP_AV | IBV_QP_PATH_MTU |        \
	 IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_RQ_PSN |               \
	 IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER | IBV_QP_SQ_PSN |                     \
	 IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_DEST_QPN)
#define QP_UNSUPPORTED_MASK (IBV_QP_ALT_PATH | IBV_QP_PATH_MIG_STATE | IBV_QP_RATE_LIMIT)
#define QP_QUERY_MASK	    (QP_MODIFY_MASK | QP_UNSUPPORTED_MASK | IBV_QP_CAP)

#define QP_ACCESS                                                                    \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
	 IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_MW_BIND)
#define MAX_24_BITS 0xffffffu
#define MAX_5_BITS  31
#define MAX_3_BITS  7

/* Where bit is set in mask, value must not exceed max. */
static bool at_most(uint32_t mask, uint32_t bit, uint32_t value, uint32_t max)
{
	return !(mask & bit) || value <= max;
}

static bool attr_is_valid(const struct vm *vm, uint32_t mask, const struct pvhca_qp_attr *attr)
{
	if (attr->reserved0)
		return false;
	if ((mask & IBV_QP_PORT) && attr->port_num != 1)
		return false;
	if ((mask & IBV_QP_PATH_MTU) &&
	    (attr->path_mtu < IBV_MTU_256 || attr->path_mtu > IBV_MTU_4096))
		return false;
	if ((mask & IBV_QP_ACCESS_FLAGS) && le32toh(attr->qp_access_flags) & ~QP_ACCESS)
		return false;
	if ((mask & IBV_QP_AV) && !commands_av_valid(vm, &attr->av))
		return false;
	return at_most(mask, IBV_QP_STATE, attr->qp_state, IBV_QPS_ERR) &&
		at_most(mask, IBV_QP_CUR_STATE, attr->cur_qp_state, IBV_QPS_ERR) &&
		at_most(mask, IBV_QP_PKEY_INDEX, le16toh(attr->pkey_index), 0) &&
		at_most(mask, IBV_QP_TIMEOUT, attr->timeout, MAX_5_BITS) &&
		at_most(mask, IBV_QP_MIN_RNR_TIMER, attr->min_rnr_timer, MAX_5_BITS) &&
		at_most(mask, IBV_QP_RETRY_CNT, attr->retry_cnt, MAX_3_BITS) &&
		at_most(mask, IBV_QP_RNR_RETRY, attr->rnr_retry, MAX_3_BITS) &&
		at_most(mask, IBV_QP_RQ_PSN, le32toh(attr->rq_psn), MAX_24_BITS) &&
		at_most(mask, IBV_QP_SQ_PSN, le32toh(attr->sq_psn), MAX_24_BITS) &&
		at_most(mask, IBV_QP_DEST_QPN, le32toh(attr->dest_qp_num), MAX_24_BITS);
}

int commands_modify_qp(struct vm *vm, const struct pvhca_admin_cmd *cmd,
		       struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_modify_qp *modify = &cmd->modify_qp;
	uint32_t mask = le32toh(modify->attr_mask);
	struct qp *qp = table_find(&vm->qps, le32toh(modify->qp));
	struct pvhca_qp_attr attr = modify->attr;
	int status;

	(void)rsp;
	if (!qp || mask & ~(QP_MODIFY_MASK | QP_UNSUPPORTED_MASK))
		return PVHCA_ST_INVALID;
	if (mask & QP_UNSUPPORTED_MASK)
		return PVHCA_ST_UNSUPPORTED;
	if (!attr_is_valid(vm, mask, &attr))
		return PVHCA_ST_INVALID;

	pthread_mutex_lock(&qp->lock);
	status = qp->ops->modify(qp, mask, &attr);
	if (!status && qp->state == IBV_QPS_RESET) {
		cq_forget(qp->send_cq, qp->qpn);
		cq_forget(qp->recv_cq, qp->qpn);
	}
	pthread_mutex_unlock(&qp->lock);

	/*
	 * What was posted before may be served, or flushed, now. Whatever the status is,
	 * the engine may have been given work for the change.
	 */
	context_again(qp->context, qp->slot);
	vm->wake_worker = true;
	return status;
}

int commands_query_qp(struct vm *vm, const struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	uint32_t mask = le32toh(cmd->query_qp.attr_mask);
	struct qp *qp = table_find(&vm->qps, le32toh(cmd->query_qp.qp));
	int status;

	if (!qp || mask & ~QP_QUERY_MASK)
		return PVHCA_ST_INVALID;
	status = qp->ops->query(qp, mask, &rsp->query_qp.attr);
	if (!status)
		rsp->query_qp.attr.cap = qp->cap;
	return status;
}
