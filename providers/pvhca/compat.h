/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * One spelling for functions whose arguments differ between the versions of
 * rdma-core that this provider is built with (44 and newer). The private ABI number tells them apart: it is 34
 * up to 56 and follows the version from 57 on.
 *
 * What goes upstream has no such header: scripts/export-series leaves it out. So all
 * that the branch for the newest version holds are macros, and their text takes the
 * place of their names there.
 */
#ifndef __PVHCA_COMPAT_H__
#define __PVHCA_COMPAT_H__

#include <config.h>
#include <infiniband/driver.h>

#if IBVERBS_PABI_VERSION >= 59
#define pvhca_cmd_create_cq_ex(context, attr, cq, cmd, cmd_size, resp,     \
			       resp_size)                                  \
	ibv_cmd_create_cq_ex(context, attr, NULL, cq, cmd, cmd_size, resp, \
			     resp_size, 0)
#else
#define pvhca_cmd_create_cq_ex(context, attr, cq, cmd, cmd_size, resp, \
			       resp_size)                              \
	ibv_cmd_create_cq_ex(context, attr, cq, cmd, cmd_size, resp,   \
			     resp_size, 0)
#endif

#if IBVERBS_PABI_VERSION >= 64
#define pvhca_cmd_create_qp_ex2(context, qp, attr, cmd, cmd_size, resp, \
				resp_size)                              \
	ibv_cmd_create_qp_ex2(context, qp, attr, cmd, cmd_size, resp,   \
			      resp_size, NULL)
#else
#define pvhca_cmd_create_qp_ex2 ibv_cmd_create_qp_ex2
#endif

#if IBVERBS_PABI_VERSION >= 57
#define pvhca_cmd_get_context(vctx, cmd, cmd_size, resp, resp_size) \
	ibv_cmd_get_context(vctx, cmd, cmd_size, NULL, resp, resp_size)
#define pvhca_cmd_reg_dmabuf_mr(pd, offset, length, iova, fd, access, vmr) \
	ibv_cmd_reg_dmabuf_mr(pd, offset, length, iova, fd, access, vmr, NULL)
#define pvhca_set_qp_ex(vqp) ((vqp)->comp_mask |= VERBS_QP_EX)
#else
#define pvhca_cmd_get_context(vctx, cmd, cmd_size, resp, resp_size) \
	ibv_cmd_get_context(vctx, cmd, cmd_size, resp, resp_size)

/*
 * The last argument, NULL here, came after 44 within the same private ABI. Where
 * it is not expected it is not seen; so the call is the same for all.
 */
static inline int pvhca_cmd_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset,
					  size_t length, uint64_t iova, int fd,
					  int access, struct verbs_mr *vmr)
{
	int (*call)(struct ibv_pd *, uint64_t, size_t, uint64_t, int, int,
		    struct verbs_mr *, void *);

	call = (void *)ibv_cmd_reg_dmabuf_mr;
	return call(pd, offset, length, iova, fd, access, vmr, NULL);
}

/*
 * Tells libibverbs that a QP has the interface of ibv_wr_post(3). In rdma-core 44
 * struct ibv_qp_ex ends with wr_atomic_write, and yet the private ABI is that of
 * 56: there libibverbs looks for comp_mask where later versions have wr_flush,
 * which nobody is offered here. So it is written to both places.
 */
static inline void pvhca_set_qp_ex(struct verbs_qp *vqp)
{
	uint32_t *behind_atomic_write =
		(uint32_t *)(&vqp->qp_ex.wr_atomic_write + 1);

	*behind_atomic_write = VERBS_QP_EX;
	vqp->comp_mask |= VERBS_QP_EX;
}
#endif

/*
 * A driver of pvhca 0.1 demands 32 bytes behind struct pvhca_uctx_req, for a version as
 * text. Zeroes are no text, and every other driver takes them, too. No kernel had such a
 * driver, so what goes upstream does not know of it.
 */
#ifndef PVHCA_UPSTREAM
struct pvhca_get_context_0_1 {
	struct ibv_get_context ibv_cmd;
	__u32 comp_mask;
	__u16 ring_abi_major;
	__u16 ring_abi_minor;
	__u8 version[32];
};

#define PVHCA_GET_CONTEXT struct pvhca_get_context_0_1
#else
#define PVHCA_GET_CONTEXT struct pvhca_ucmd_get_context
#endif

#endif /* __PVHCA_COMPAT_H__ */
