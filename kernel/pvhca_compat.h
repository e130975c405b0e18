/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * Differences between the kernels that the driver is built for. The rest of the
 * source is written for the newest.
 */
#ifndef PVHCA_COMPAT_H
#define PVHCA_COMPAT_H

#include <linux/netdevice.h>
#include <linux/version.h>
#include <rdma/ib_verbs.h>
#include <rdma/uverbs_ioctl.h>

/* 6.11: create_cq() is given the attribute bundle instead of the udata in it. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#define pvhca_create_cq_arg uverbs_attr_bundle
static inline struct ib_udata *pvhca_create_cq_udata(struct uverbs_attr_bundle *attrs)
{
	return attrs ? &attrs->driver_udata : NULL;
}
#else
#define pvhca_create_cq_arg ib_udata
static inline struct ib_udata *pvhca_create_cq_udata(struct ib_udata *udata)
{
	return udata;
}
#endif

/* 6.17: registrations may name a DMA handle, which this device has no use for. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
#define PVHCA_REG_MR_DMAH_ARG struct ib_dmah *dmah,
#define PVHCA_REG_MR_HAS_DMAH (!!dmah)
#else
#define PVHCA_REG_MR_DMAH_ARG
#define PVHCA_REG_MR_HAS_DMAH false
#endif

/* 6.12: reg_user_mr_dmabuf() is given the attribute bundle, too. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define pvhca_reg_dmabuf_arg uverbs_attr_bundle
static inline struct ib_udata *pvhca_reg_dmabuf_udata(struct uverbs_attr_bundle *attrs)
{
	return &attrs->driver_udata;
}
#else
#define pvhca_reg_dmabuf_arg ib_udata
static inline struct ib_udata *pvhca_reg_dmabuf_udata(struct ib_udata *udata)
{
	return udata;
}
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

/* 6.12: "transmit takes no lock" is a field instead of a feature flag. */
static inline void pvhca_netdev_set_lltx(struct net_device *netdev)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	netdev->lltx = true;
#else
	netdev->features |= NETIF_F_LLTX;
#endif
}

#endif /* PVHCA_COMPAT_H */
