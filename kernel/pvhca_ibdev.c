// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The verbs device: its attributes and operations, and registration.
 *
 * Kernel verbs (post_send() and its like) depend on pvhcad; without them the core
 * offers the device to user space only.
 */

#include <linux/module.h>
#include <net/addrconf.h>

#include "pvhca.h"
#include "pvhca_kverbs.h"

/* Capabilities of a host that guests can use. */
#define PVHCA_DEVICE_CAPS                                                                    \
	(IB_DEVICE_RC_RNR_NAK_GEN | IB_DEVICE_SYS_IMAGE_GUID | IB_DEVICE_PORT_ACTIVE_EVENT | \
	 IB_DEVICE_CURR_QP_STATE_MOD | IB_DEVICE_BAD_PKEY_CNTR | IB_DEVICE_BAD_QKEY_CNTR |   \
	 IB_DEVICE_UD_AV_PORT_ENFORCE | IB_DEVICE_N_NOTIFY_CQ | IB_DEVICE_MEM_WINDOW |       \
	 IB_DEVICE_MEM_WINDOW_TYPE_2A | IB_DEVICE_MEM_WINDOW_TYPE_2B |                       \
	 IB_DEVICE_MEM_MGT_EXTENSIONS)

static int pvhca_query_device(struct ib_device *ibdev, struct ib_device_attr *attr,
			      struct ib_udata *udata)
{
	const struct pvhca_rsp_query_device *host = &to_pvhca_dev(ibdev)->attr;
	int err;

	err = ib_no_udata_io(udata);
	if (err)
		return err;

	memset(attr, 0, sizeof(*attr));
	attr->sys_image_guid = (__force __be64)host->sys_image_guid;
	attr->max_mr_size = le64_to_cpu(host->max_mr_size);
	attr->page_size_cap = le64_to_cpu(host->page_size_cap);
	attr->vendor_id = le32_to_cpu(host->vendor_id);
	attr->vendor_part_id = le32_to_cpu(host->vendor_part_id);
	attr->hw_ver = le32_to_cpu(host->hw_ver);
	attr->max_qp = le32_to_cpu(host->max_qp);
	attr->max_qp_wr = le32_to_cpu(host->max_qp_wr);
	attr->device_cap_flags = le64_to_cpu(host->device_cap_flags) & PVHCA_DEVICE_CAPS;
	attr->max_send_sge = le32_to_cpu(host->max_sge);
	attr->max_recv_sge = le32_to_cpu(host->max_sge);
	attr->max_sge_rd = le32_to_cpu(host->max_sge_rd);
	attr->max_cq = le32_to_cpu(host->max_cq);
	attr->max_cqe = le32_to_cpu(host->max_cqe);
	attr->max_mr = le32_to_cpu(host->max_mr);
	attr->max_pd = le32_to_cpu(host->max_pd);
	attr->max_qp_rd_atom = le32_to_cpu(host->max_qp_rd_atom);
	attr->max_res_rd_atom = le32_to_cpu(host->max_res_rd_atom);
	attr->max_qp_init_rd_atom = le32_to_cpu(host->max_qp_init_rd_atom);
	attr->atomic_cap = (enum ib_atomic_cap)le32_to_cpu(host->atomic_cap);
	attr->max_ah = le32_to_cpu(host->max_ah);
	attr->max_mw = le32_to_cpu(host->max_mw);
	attr->max_mcast_grp = le32_to_cpu(host->max_mcast_grp);
	attr->max_mcast_qp_attach = le32_to_cpu(host->max_mcast_qp_attach);
	attr->max_total_mcast_qp_attach = le32_to_cpu(host->max_total_mcast_qp_attach);
	attr->max_srq = le32_to_cpu(host->max_srq);
	attr->max_srq_wr = le32_to_cpu(host->max_srq_wr);
	attr->max_srq_sge = le32_to_cpu(host->max_srq_sge);
	if (le16_to_cpu(host->kernel_caps) & PVHCA_KERNEL_REG_MR)
		attr->max_fast_reg_page_list_len = PVHCA_KMR_MAX_PAGES;
	if (to_pvhca_dev(ibdev)->kctx)
		attr->kernel_cap_flags = IBK_LOCAL_DMA_LKEY;
	attr->max_pkeys = PVHCA_PKEYS;
	attr->local_ca_ack_delay = host->local_ca_ack_delay;
	attr->timestamp_mask = le64_to_cpu(host->timestamp_mask);
	attr->hca_core_clock = le64_to_cpu(host->hca_core_clock);
	return 0;
}

static void pvhca_get_fw_str(struct ib_device *ibdev, char *str)
{
	const struct pvhca_rsp_query_device *host = &to_pvhca_dev(ibdev)->attr;

	snprintf(str, IB_FW_VERSION_NAME_MAX, "%*pE", PVHCA_TEXT_LEN(host->fw_ver), host->fw_ver);
}

static const struct ib_device_ops pvhca_ops = {
	.owner = THIS_MODULE,
	.driver_id = RDMA_DRIVER_UNKNOWN,
	.uverbs_abi_ver = PVHCA_UVERBS_ABI_VERSION,

	.query_device = pvhca_query_device,
	.get_dev_fw_str = pvhca_get_fw_str,
	.alloc_hw_port_stats = pvhca_alloc_hw_port_stats,
	.get_hw_stats = pvhca_get_hw_stats,
	.fill_res_qp_entry = pvhca_fill_res_qp_entry,
	/* clang-format off */
	PVHCA_FILL_RES_SRQ_ENTRY(pvhca_fill_res_srq_entry)
		/* clang-format on */
		.fill_res_cq_entry = pvhca_fill_res_cq_entry,
	.fill_res_mr_entry = pvhca_fill_res_mr_entry,

	.query_port = pvhca_query_port,
	/* clang-format off */
	PVHCA_QUERY_PORT_SPEED(pvhca_query_port_speed)
		/* clang-format on */
		.get_port_immutable = pvhca_get_port_immutable,
	/* clang-format off */
	PVHCA_REPORT_PORT_EVENT(pvhca_report_port_event)
		/* clang-format on */
		.get_link_layer = pvhca_get_link_layer,
	.query_pkey = pvhca_query_pkey,
	.add_gid = pvhca_add_gid,
	.del_gid = pvhca_del_gid,

	.alloc_ucontext = pvhca_alloc_ucontext,
	.dealloc_ucontext = pvhca_dealloc_ucontext,
	.disassociate_ucontext = pvhca_disassociate_ucontext,
	.mmap = pvhca_mmap,
	.mmap_free = pvhca_mmap_free,

	.alloc_pd = pvhca_alloc_pd,
	.dealloc_pd = pvhca_dealloc_pd,

	.reg_user_mr = pvhca_reg_user_mr,
	.reg_user_mr_dmabuf = pvhca_reg_user_mr_dmabuf,
	.rereg_user_mr = pvhca_rereg_user_mr,
	.dereg_mr = pvhca_dereg_mr,
	.alloc_mw = pvhca_alloc_mw,
	.dealloc_mw = pvhca_dealloc_mw,

	.create_cq = pvhca_create_cq,
	.resize_user_cq = pvhca_resize_user_cq,
	.destroy_cq = pvhca_destroy_cq,

	.create_qp = pvhca_create_qp,
	.modify_qp = pvhca_modify_qp,
	.query_qp = pvhca_query_qp,
	.destroy_qp = pvhca_destroy_qp,

	.create_srq = pvhca_create_srq,
	.modify_srq = pvhca_modify_srq,
	.query_srq = pvhca_query_srq,
	.destroy_srq = pvhca_destroy_srq,

	.attach_mcast = pvhca_attach_mcast,
	.detach_mcast = pvhca_detach_mcast,

	.create_ah = pvhca_create_ah,
	.create_user_ah = pvhca_create_user_ah,
	.query_ah = pvhca_query_ah,
	.destroy_ah = pvhca_destroy_ah,

	INIT_RDMA_OBJ_SIZE(ib_ah, pvhca_ah, ibah),
	INIT_RDMA_OBJ_SIZE(ib_ucontext, pvhca_ucontext, ibucontext),
	INIT_RDMA_OBJ_SIZE(ib_mw, pvhca_mw, ibmw),
	INIT_RDMA_OBJ_SIZE(ib_pd, pvhca_pd, ibpd),
	INIT_RDMA_OBJ_SIZE(ib_cq, pvhca_cq, ibcq),
	INIT_RDMA_OBJ_SIZE(ib_qp, pvhca_qp, ibqp),
	INIT_RDMA_OBJ_SIZE(ib_srq, pvhca_srq, ibsrq),
};

/* With these operations the core offers the device to kernel consumers. */
static const struct ib_device_ops pvhca_kernel_ops = {
	.post_send = pvhca_post_send,
	.post_recv = pvhca_post_recv,
	.poll_cq = pvhca_poll_cq,
	.req_notify_cq = pvhca_req_notify_cq,
	.get_dma_mr = pvhca_get_dma_mr,
	.alloc_mr = pvhca_alloc_mr,
	.map_mr_sg = pvhca_map_mr_sg,
};

/**
 * pvhca_ibdev_register - offer the device
 * @dev: session, complete, with a network interface; one to pair with may have gone
 *
 * Context: process, without rtnl_lock().
 * Return: 0 or a negative errno.
 */
int pvhca_ibdev_register(struct pvhca_dev *dev)
{
	struct device *parent = &dev->pci->pdev->dev;
	struct ib_device *ibdev = &dev->ibdev;
	int err;

	ibdev->node_type = RDMA_NODE_IB_CA;
	ibdev->phys_port_cnt = 1;
	ibdev->num_comp_vectors = dev->num_ceqs;
	ibdev->dev.parent = parent;
	addrconf_addr_eui48((u8 *)&ibdev->node_guid, dev->attr.mac);
	strscpy(ibdev->node_desc, PVHCA_DRV_NAME, sizeof(ibdev->node_desc));
	ib_set_device_ops(ibdev, &pvhca_ops);
	if (dev->kctx) {
		ib_set_device_ops(ibdev, &pvhca_kernel_ops);
		ibdev->local_dma_lkey = PVHCA_LKEY_DMA;
	}

	if (pvhca_is_paired(dev))
		err = pvhca_pair_attach(dev);
	else
		err = ib_device_set_netdev(ibdev, dev->pci->netdev, PVHCA_PORT);
	if (err)
		return err;
	err = ib_register_device(ibdev, PVHCA_DRV_NAME "%d", parent);
	if (err)
		return err;
	WRITE_ONCE(dev->registered, true);
	return 0;
}

/**
 * pvhca_ibdev_unregister - take the device away from all its users
 * @dev: dead session, registered
 *
 * All its objects are destroyed on return, applications may live on.
 *
 * Context: process, without rtnl_lock().
 */
void pvhca_ibdev_unregister(struct pvhca_dev *dev)
{
	struct ib_event event = {
		.device = &dev->ibdev,
		.element.port_num = PVHCA_PORT,
		.event = IB_EVENT_DEVICE_FATAL,
	};

	WRITE_ONCE(dev->registered, false);
	/* No thread that saw it registered is still at work, and none will be. */
	pvhca_dev_sync_admin(dev);
	cancel_work_sync(&dev->port_work);
	ib_dispatch_event(&event);
	ib_unregister_device(&dev->ibdev);
}
