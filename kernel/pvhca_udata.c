// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The provider's part of uverbs calls.
 *
 * Newer and older providers call this driver. The rule of rdma/pvhca-abi.h holds
 * for every call, those without a request or an answer of their own included.
 */

#include <rdma/uverbs_ioctl.h>

#include "pvhca.h"

/**
 * pvhca_udata_in - take the provider's part of a call
 * @udata: where from
 * @req: where to
 * @size: of it, bytes
 *
 * Return: 0; -EINVAL if there is less; -EOPNOTSUPP if there is more than we know
 * and it is used; -EFAULT.
 */
int pvhca_udata_in(struct ib_udata *udata, void *req, size_t size)
{
	if (udata->inlen < size)
		return -EINVAL;
	if (udata->inlen > size && !ib_is_udata_cleared(udata, size, udata->inlen - size))
		return -EOPNOTSUPP;
	return ib_copy_from_udata(req, udata, size);
}

/**
 * pvhca_udata_out - answer the provider
 * @udata: where to; takes what it has room for
 * @resp: the answer
 * @size: of it, bytes
 *
 * Return: 0 or -EFAULT.
 */
int pvhca_udata_out(struct ib_udata *udata, void *resp, size_t size)
{
	return ib_copy_to_udata(udata, resp, min(size, udata->outlen));
}
