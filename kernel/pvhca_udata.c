// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The provider's part of uverbs calls.
 *
 * Newer and older providers call this driver. The rule of rdma/pvhca-abi.h holds
 * for every call, those without a request or an answer of their own included.
 */

#include <linux/uaccess.h>
#include <rdma/uverbs_ioctl.h>

#include "pvhca.h"

/**
 * pvhca_udata_in - take the provider's part of a call
 * @udata: where from; NULL if the kernel calls
 * @req: where to; NULL if no part is known, with @size 0
 * @size: size of it, bytes
 *
 * Return: 0; -EINVAL if there is less; -EOPNOTSUPP if there is more than we know
 * and it is used; -EFAULT.
 */
int pvhca_udata_in(struct ib_udata *udata, void *req, size_t size)
{
	if (!udata)
		return 0;
	if (udata->inlen < size)
		return -EINVAL;
	if (udata->inlen > size && !ib_is_udata_cleared(udata, size, udata->inlen - size))
		return -EOPNOTSUPP;
	return size ? ib_copy_from_udata(req, udata, size) : 0;
}

/**
 * pvhca_udata_out - answer the provider
 * @udata: where to; NULL if the kernel calls. It takes what it has room for; what it
 *	has room for beyond the answer is zero
 * @resp: the answer; NULL if there is none, with @size 0
 * @size: size of it, bytes
 *
 * Return: 0 or -EFAULT.
 */
int pvhca_udata_out(struct ib_udata *udata, void *resp, size_t size)
{
	if (!udata)
		return 0;
	if (size && ib_copy_to_udata(udata, resp, min(size, udata->outlen)))
		return -EFAULT;
	if (udata->outlen > size && clear_user(udata->outbuf + size, udata->outlen - size))
		return -EFAULT;
	return 0;
}

/**
 * pvhca_udata_none - take and answer the provider's part of a call that has none
 * @udata: provider's part of the call; NULL if the kernel calls
 *
 * Return: as pvhca_udata_in() and pvhca_udata_out().
 */
int pvhca_udata_none(struct ib_udata *udata)
{
	int err = pvhca_udata_in(udata, NULL, 0);

	return err ? err : pvhca_udata_out(udata, NULL, 0);
}
