/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who a QP's operations belong to: the fabric, but for QP 1, which is gsi/gsi.c's.
 */
#ifndef HOSTD_ADMIN_QP_DISPATCH_H
#define HOSTD_ADMIN_QP_DISPATCH_H

#include "fabric/fabric.h"
#include "gsi/gsi.h"
#include "vm/objects.h"
#include "session/session.h"

static inline int qp_dispatch_create(struct qp *qp)
{
	if (qp->type == PVHCA_QPT_GSI)
		return gsi_qp_create(qp);
	return qp->session->ops->qp_create(qp);
}

static inline void qp_dispatch_destroy(struct qp *qp)
{
	if (qp->type == PVHCA_QPT_GSI)
		gsi_qp_destroy(qp);
	else
		qp->session->ops->qp_destroy(qp);
}

static inline int qp_dispatch_modify(struct qp *qp, uint32_t attr_mask,
				     const struct pvhca_qp_attr *attr)
{
	if (qp->type == PVHCA_QPT_GSI)
		return gsi_qp_modify(qp, attr_mask, attr);
	return qp->session->ops->qp_modify(qp, attr_mask, attr);
}

static inline int qp_dispatch_query(struct qp *qp, uint32_t attr_mask, struct pvhca_qp_attr *attr)
{
	if (qp->type == PVHCA_QPT_GSI)
		return gsi_qp_query(qp, attr_mask, attr);
	return qp->session->ops->qp_query(qp, attr_mask, attr);
}

static inline unsigned int qp_dispatch_serve(struct worker *worker, struct qp *qp)
{
	if (qp->type == PVHCA_QPT_GSI)
		return gsi_qp_serve(worker, qp);
	return qp->session->ops->qp_serve(worker, qp);
}

static inline unsigned int qp_dispatch_serve_receives(struct qp *qp)
{
	if (qp->type == PVHCA_QPT_GSI || !qp->session->ops->qp_serve_receives)
		return 0;
	return qp->session->ops->qp_serve_receives(qp);
}

#endif
