/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * Differences between the kernels that the driver is built for, 6.1 to 7.3. The rest of
 * the source is written for the newest.
 *
 * What goes upstream has no such header: scripts/export-series leaves it out. So all that
 * the branches for the newest kernel hold are macros, and their text takes the place of
 * their names there; and the source uses nothing that only an old branch has.
 */
#ifndef PVHCA_COMPAT_H
#define PVHCA_COMPAT_H

#include <linux/netdevice.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <rdma/ib_umem.h>
#include <rdma/ib_verbs.h>
#include <rdma/uverbs_ioctl.h>
#include <rdma/pvhca-abi.h>

/* 6.11: create_cq() is given the attribute bundle instead of the udata in it. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#define pvhca_create_cq_arg	     uverbs_attr_bundle
#define PVHCA_CREATE_CQ_UDATA(attrs) ((attrs) ? &(attrs)->driver_udata : NULL)
#else
#define pvhca_create_cq_arg	     ib_udata
#define PVHCA_CREATE_CQ_UDATA(attrs) (attrs)
#endif

/* 6.17: registrations may name a DMA handle, which this device has no use for. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
#define PVHCA_REG_MR_DMAH_ARG struct ib_dmah *dmah,
#define PVHCA_REG_MR_HAS_DMAH (dmah)
#else
#define PVHCA_REG_MR_DMAH_ARG
#define PVHCA_REG_MR_HAS_DMAH false
#endif

/* 6.12: reg_user_mr_dmabuf() is given the attribute bundle, too. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define pvhca_reg_dmabuf_arg	      uverbs_attr_bundle
#define PVHCA_REG_DMABUF_UDATA(attrs) (&(attrs)->driver_udata)
#else
#define pvhca_reg_dmabuf_arg	      ib_udata
#define PVHCA_REG_DMABUF_UDATA(attrs) (attrs)
#endif

/*
 * 6.14: the core tells users of the port when its network interface goes up or down,
 * unless the driver says that it does.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
#define PVHCA_REPORT_PORT_EVENT(function) .report_port_event = (function),
#else
#define PVHCA_REPORT_PORT_EVENT(function)
#endif

/* 6.5: SRQs are told of, too. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define PVHCA_FILL_RES_SRQ_ENTRY(function) .fill_res_srq_entry = (function),
#else
#define PVHCA_FILL_RES_SRQ_ENTRY(function)
#endif

/* 7.2: pinning by address has a name of its own; CQs of the kernel cannot be resized. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 2, 0)
#define PVHCA_RESIZE_CQE unsigned int
#else
#define PVHCA_RESIZE_CQE int
#define ib_umem_get_va	 ib_umem_get
#define resize_user_cq	 resize_cq
#endif

/*
 * 7.3: the rules of the core for a region whose memory stays when its rights change. Some
 * older kernels got it, too; so it has a name of its own.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0)
#define pvhca_umem_check_rereg ib_umem_check_rereg
#else
static inline int pvhca_umem_check_rereg(struct ib_umem *umem, int flags, int access)
{
	if (umem->is_dmabuf)
		return -EOPNOTSUPP;
	if ((flags & IB_MR_REREG_ACCESS) && !(flags & IB_MR_REREG_TRANS) &&
	    ib_access_writable(access) && !umem->writable)
		return -EACCES;
	return 0;
}
#endif

/* 7.0: the speed of a port as a number, which no older kernel asks for. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#define PVHCA_QUERY_PORT_SPEED(function) .query_port_speed = (function),
#else
#define PVHCA_QUERY_PORT_SPEED(function)
struct ib_port_speed_info {
	int rate;
};

static inline int ib_port_attr_to_speed_info(struct ib_port_attr *attr,
					     struct ib_port_speed_info *info)
{
	return -EOPNOTSUPP;
}
#endif

/* 7.0: memory for one object, by the object. */
#ifndef kzalloc_obj
#define kzalloc_obj(object) kzalloc(sizeof(object), GFP_KERNEL)
#endif

/*
 * 7.2: the core has the rules for the provider's part of calls, which are those of
 * rdma/pvhca-abi.h: what is longer than the kernel knows has to be zero there, what the
 * caller has room for beyond the answer becomes zero.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 2, 0)
static inline int _ib_copy_validate_udata_in(struct ib_udata *udata, void *req, size_t kernel_size,
					     size_t minimum_size)
{
	int err;

	if (udata->inlen < minimum_size)
		return -EINVAL;
	err = copy_struct_from_user(req, kernel_size, udata->inbuf, udata->inlen);
	return err == -E2BIG ? -EOPNOTSUPP : err;
}

#define ib_copy_validate_udata_in(udata, req, end_member)        \
	_ib_copy_validate_udata_in((udata), &(req), sizeof(req), \
				   offsetofend(typeof(req), end_member))

static inline int ib_is_udata_in_empty(struct ib_udata *udata)
{
	if (!udata || !udata->inlen)
		return 0;
	return _ib_copy_validate_udata_in(udata, NULL, 0, 0);
}

static inline int _ib_respond_udata(struct ib_udata *udata, const void *resp, size_t size)
{
	size_t copied = min(size, udata->outlen);

	if (copy_to_user(udata->outbuf, resp, copied) ||
	    clear_user(udata->outbuf + copied, udata->outlen - copied))
		return -EFAULT;
	return 0;
}

#define ib_respond_udata(udata, resp) _ib_respond_udata((udata), &(resp), sizeof(resp))

static inline int ib_respond_empty_udata(struct ib_udata *udata)
{
	return udata ? _ib_respond_udata(udata, NULL, 0) : 0;
}

static inline int ib_no_udata_io(struct ib_udata *udata)
{
	int err = ib_is_udata_in_empty(udata);

	return err ? err : ib_respond_empty_udata(udata);
}
#endif

/*
 * Providers of pvhca 0.1 have their version as text behind struct pvhca_uctx_req. No kernel
 * had such a driver, so what goes upstream does not know of it.
 */
#ifndef PVHCA_UPSTREAM
struct pvhca_uctx_req_0_1 {
	struct pvhca_uctx_req req;
	__u8 version[32];
};

static inline int _pvhca_copy_uctx_req(struct ib_udata *udata, struct pvhca_uctx_req *req)
{
	struct pvhca_uctx_req_0_1 longer;
	int err;

	err = ib_copy_validate_udata_in(udata, longer, req.ring_abi_minor);
	*req = longer.req;
	return err;
}

#define pvhca_copy_uctx_req(udata, request) _pvhca_copy_uctx_req(udata, &(request))
#else
#define pvhca_copy_uctx_req(udata, request) \
	ib_copy_validate_udata_in(udata, request, ring_abi_minor)
#endif

#endif /* PVHCA_COMPAT_H */
