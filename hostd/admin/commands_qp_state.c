// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changing and asking for the attributes of queue pairs. Which attributes go with
 * which transition is the fabric's to say (the host's verbs know); here is checked
 * what could harm: values out of range, addresses that are not the guest's.
 */
#include <endian.h>

#include "admin/commands.h"
#include "admin/commands_attr.h"
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
#define MASK_24_BITS 0xffffffu
#define MASK_5_BITS  31
#define MASK_3_BITS  7

/*
 * What could harm is refused. Of fields with more bits than the specification has, the
 * surplus is dropped, as adapters do: programs rely on it. The fabric looks at the access
 * flags that concern a QP and at no others.
 */
static bool attr_take(uint32_t mask, struct qp_attr *attr)
{
	if ((mask & IBV_QP_PORT) && attr->port_num != 1)
		return false;
	if ((mask & IBV_QP_PATH_MTU) &&
	    (attr->path_mtu < IBV_MTU_256 || attr->path_mtu > IBV_MTU_4096))
		return false;
	if (((mask & IBV_QP_STATE) && attr->qp_state > IBV_QPS_ERR) ||
	    ((mask & IBV_QP_CUR_STATE) && attr->cur_qp_state > IBV_QPS_ERR) ||
	    ((mask & IBV_QP_PKEY_INDEX) && attr->pkey_index))
		return false;
	attr->qp_access_flags &= QP_ACCESS;
	attr->timeout &= MASK_5_BITS;
	attr->min_rnr_timer &= MASK_5_BITS;
	attr->retry_cnt &= MASK_3_BITS;
	attr->rnr_retry &= MASK_3_BITS;
	attr->rq_psn &= MASK_24_BITS;
	attr->sq_psn &= MASK_24_BITS;
	attr->dest_qp_num &= MASK_24_BITS;
	return true;
}

static int qp_modify(struct qp *qp, uint32_t mask, const struct qp_attr *attr)
{
	int status;

	atomic_store(&qp->changing, true);
	pthread_mutex_lock(&qp->lock);
	status = qp->ops->modify(qp, mask, attr);
	if (!status && qp->state == IBV_QPS_RESET) {
		cq_forget(qp->send_cq, &qp->send_held);
		cq_forget(qp->recv_cq, &qp->recv_held);
	}
	pthread_mutex_unlock(&qp->lock);
	atomic_store(&qp->changing, false);
	return status;
}

int commands_modify_qp(struct vm *vm, const struct pvhca_admin_cmd *cmd,
		       struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_modify_qp *modify = &cmd->modify_qp;
	uint32_t mask = le32toh(modify->attr_mask);
	struct qp *qp = table_find(&vm->qps, le32toh(modify->qp));
	struct qp_attr attr;
	int status;

	(void)rsp;
	if (!qp || mask & ~(QP_MODIFY_MASK | QP_UNSUPPORTED_MASK))
		return PVHCA_ST_INVALID;
	if (mask & QP_UNSUPPORTED_MASK)
		return PVHCA_ST_UNSUPPORTED;
	commands_read_qp_attr(&modify->attr, &attr);
	if (modify->attr.reserved0 || !attr_take(mask, &attr) ||
	    (mask & IBV_QP_AV && !commands_av_valid(vm, &modify->attr.av)))
		return PVHCA_ST_INVALID;

	vm_leave(vm);
	status = qp_modify(qp, mask, &attr);
	vm_enter(vm);

	/*
	 * What was posted before may be served, or flushed, now. Whatever the status is,
	 * the engine may have been given work for the change; and a worker may have passed
	 * the QP over meanwhile.
	 */
	context_again(qp->context, qp->slot);
	vm->wake_worker = true;
	return status;
}

int commands_query_qp(struct vm *vm, const struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	uint32_t mask = le32toh(cmd->query_qp.attr_mask);
	struct qp *qp = table_find(&vm->qps, le32toh(cmd->query_qp.qp));
	struct qp_attr attr = { 0 };
	int status;

	if (!qp || mask & ~QP_QUERY_MASK)
		return PVHCA_ST_INVALID;
	vm_leave(vm);
	status = qp->ops->query(qp, mask, &attr);
	vm_enter(vm);
	if (!status)
		commands_write_qp_attr(&attr, &qp->cap, &rsp->query_qp.attr);
	return status;
}
