/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * One spelling for what moved between the rdma-core versions this provider is
 * built with (44 and newer). The private ABI number tells them apart: it is 34
 * up to 56 and follows the version from 57 on.
 */
#ifndef __PVHCA_COMPAT_H__
#define __PVHCA_COMPAT_H__

#include <config.h>
#include <infiniband/driver.h>

static inline int pvhca_cmd_get_context(struct verbs_context *vctx,
					struct ibv_get_context *cmd,
					size_t cmd_size,
					struct ib_uverbs_get_context_resp *resp,
					size_t resp_size)
{
#if IBVERBS_PABI_VERSION >= 57
	return ibv_cmd_get_context(vctx, cmd, cmd_size, NULL, resp, resp_size);
#else
	return ibv_cmd_get_context(vctx, cmd, cmd_size, resp, resp_size);
#endif
}

#endif /* __PVHCA_COMPAT_H__ */
