/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * uverbs commands with the driver data of <rdma/pvhca-abi.h> behind them.
 *
 * The driver may be older or newer than the provider. Requests and answers are
 * zeroed before they are used. An older driver writes a shorter answer: the fields
 * behind it stay 0, which stands for "not there" in each field that is added. A
 * newer one writes no more than there is room for; bits of an answer's comp_mask
 * that are not known here are ignored. What all drivers tell is checked where a
 * wrong value would make the provider touch memory that it does not have.
 */
#ifndef __PVHCA_ABI_H__
#define __PVHCA_ABI_H__

#include <infiniband/kern-abi.h>
#include <rdma/pvhca-abi.h>
#include <kernel-abi/pvhca-abi.h>

DECLARE_DRV_CMD(pvhca_ucmd_get_context, IB_USER_VERBS_CMD_GET_CONTEXT,
		pvhca_uctx_req, pvhca_uctx_resp);
DECLARE_DRV_CMD(pvhca_ucmd_alloc_pd, IB_USER_VERBS_CMD_ALLOC_PD, empty,
		pvhca_alloc_pd_resp);
DECLARE_DRV_CMD(pvhca_ucmd_reg_mr, IB_USER_VERBS_CMD_REG_MR, empty,
		pvhca_reg_mr_resp);
DECLARE_DRV_CMD(pvhca_ucmd_alloc_mw, IB_USER_VERBS_CMD_ALLOC_MW, empty,
		pvhca_alloc_mw_resp);
DECLARE_DRV_CMD(pvhca_ucmd_create_ah, IB_USER_VERBS_CMD_CREATE_AH, empty,
		pvhca_create_ah_resp);
DECLARE_DRV_CMD(pvhca_ucmd_create_cq, IB_USER_VERBS_CMD_CREATE_CQ,
		pvhca_create_cq_req, pvhca_create_cq_resp);
DECLARE_DRV_CMD(pvhca_ucmd_create_cq_ex, IB_USER_VERBS_EX_CMD_CREATE_CQ,
		pvhca_create_cq_req, pvhca_create_cq_resp);
DECLARE_DRV_CMD(pvhca_ucmd_resize_cq, IB_USER_VERBS_CMD_RESIZE_CQ,
		pvhca_create_cq_req, pvhca_resize_cq_resp);
DECLARE_DRV_CMD(pvhca_ucmd_create_qp_ex, IB_USER_VERBS_EX_CMD_CREATE_QP,
		pvhca_create_qp_req, pvhca_create_qp_resp);
DECLARE_DRV_CMD(pvhca_ucmd_create_srq, IB_USER_VERBS_CMD_CREATE_SRQ,
		pvhca_create_qp_req, pvhca_create_srq_resp);

#endif /* __PVHCA_ABI_H__ */
