// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The loopback fabric's operations: start and stop, sessions, what the guest's
 * device looks like, addresses. fabric/loopback/private.h tells how it works.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "fabric/fabric.h"
#include "lib/log.h"
#include "fabric/loopback/private.h"
#include "pvhca-version.h"
#include "vm/vm.h"

/* Limits of the fabric; quotas are the tighter ones as a rule. */
#define MAX_QP	65536u
#define MAX_CQ	65536u
#define MAX_MR	(1u << 20)
#define MAX_PD	65536u
#define MAX_AH	(1u << 20)
#define MAX_WR	(1u << PVHCA_RING_MAX_LOG_ENTRIES)
#define MAX_CQE ((1u << PVHCA_CQ_MAX_LOG_ENTRIES) - 1)

/*
 * What is copied has no line rate. 4 lanes of 25 Gb/s are about what one
 * processor copies, so that software which scales by the port's rate does
 * something sensible; both codes as in ibv_query_port(3).
 */
#define PORT_WIDTH_4X  2
#define PORT_SPEED_EDR 32
#define PORT_LINK_UP   5
/* Holds a path MTU of 4096 and the headers of RoCE. */
#define NETDEV_MTU 9000

/* ----------------------------- start and stop ------------------------------ */

static struct fabric *loopback_start(const struct config *config)
{
	struct loopback *fabric = calloc(1, sizeof(*fabric));

	(void)config;
	if (!fabric) {
		g_critical("loopback fabric: no memory");
		return NULL;
	}
	pthread_mutex_init(&fabric->lock, NULL);
	loopback_table_init(&fabric->qps);
	loopback_table_init(&fabric->mrs);
	fabric->key_variant = g_random_int();
	return (struct fabric *)fabric;
}

static void loopback_stop(struct fabric *opaque)
{
	struct loopback *fabric = (struct loopback *)opaque;

	pthread_mutex_destroy(&fabric->lock);
	free(fabric);
}

static int loopback_vm_open(struct fabric *opaque, struct vm *vm)
{
	struct loopback_vm *ls = calloc(1, sizeof(*ls));

	if (!ls)
		return PVHCA_ST_NO_MEMORY;
	ls->fabric = (struct loopback *)opaque;
	CDS_INIT_LIST_HEAD(&ls->qps);
	CDS_INIT_LIST_HEAD(&ls->windows);
	vm->fabric_vm = ls;
	return PVHCA_ST_OK;
}

static void loopback_vm_close(struct vm *vm)
{
	struct loopback_vm *ls = vm->fabric_vm;

	loopback_address_del_all(ls->fabric, vm);
	free(ls);
	vm->fabric_vm = NULL;
}

static int loopback_async_fd(struct vm *vm)
{
	(void)vm;
	return -1;
}

static void loopback_async(struct vm *vm)
{
	(void)vm;
}

/* -------------------------------- the device ------------------------------- */

/* EUI-64 of the netdev's MAC, as the kernel makes it of an Ethernet address. */
static uint64_t system_guid(const struct vm *vm)
{
	const uint8_t *mac = vm->mac;
	uint8_t guid[8] = { mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5] };
	uint64_t be;

	memcpy(&be, guid, sizeof(be));
	return be;
}

static void fill_limits(struct pvhca_rsp_query_device *rsp)
{
	rsp->max_mr_size = htole64(LOOPBACK_MAX_MR);
	rsp->page_size_cap = htole64(~(uint64_t)(PVHCA_GRANULE - 1));
	rsp->max_qp = htole32(MAX_QP);
	rsp->max_qp_wr = htole32(MAX_WR);
	rsp->max_sge = htole32(LOOPBACK_MAX_SGE);
	rsp->max_sge_rd = htole32(LOOPBACK_MAX_SGE);
	rsp->max_inline = htole32(LOOPBACK_MAX_INLINE);
	rsp->max_cq = htole32(MAX_CQ);
	rsp->max_cqe = htole32(MAX_CQE);
	rsp->max_mr = htole32(MAX_MR);
	rsp->max_pd = htole32(MAX_PD);
	rsp->max_qp_rd_atom = htole32(LOOPBACK_MAX_RD_ATOMIC);
	rsp->max_qp_init_rd_atom = htole32(LOOPBACK_MAX_RD_ATOMIC);
	rsp->max_res_rd_atom = htole32(LOOPBACK_MAX_RD_ATOMIC * MAX_QP);
	rsp->atomic_cap = htole32(IBV_ATOMIC_HCA);
	rsp->max_mw = htole32(MAX_MR);
	rsp->max_ah = htole32(MAX_AH);
	rsp->max_srq = htole32(MAX_QP);
	rsp->max_srq_wr = htole32(MAX_WR);
	rsp->max_srq_sge = htole32(LOOPBACK_MAX_SGE);
	rsp->max_mcast_grp = htole32(LOOPBACK_MAX_MCAST_TOTAL);
	rsp->max_mcast_qp_attach = htole32(LOOPBACK_MAX_MCAST_ATTACH);
	rsp->max_total_mcast_qp_attach = htole32(LOOPBACK_MAX_MCAST_TOTAL);
	rsp->max_pkeys = htole32(1);
	rsp->gid_tbl_len = htole32(VM_GIDS);
}

static int loopback_query_device(struct vm *vm, struct pvhca_rsp_query_device *rsp)
{
	memset(rsp, 0, sizeof(*rsp));
	fill_limits(rsp);
	rsp->device_cap_flags = htole64(
		IBV_DEVICE_CURR_QP_STATE_MOD | IBV_DEVICE_PORT_ACTIVE_EVENT |
		IBV_DEVICE_SYS_IMAGE_GUID | IBV_DEVICE_RC_RNR_NAK_GEN | IBV_DEVICE_MEM_WINDOW |
		IBV_DEVICE_MEM_WINDOW_TYPE_2B | IBV_DEVICE_MEM_MGT_EXTENSIONS);
	rsp->sys_image_guid = system_guid(vm);
	/* Timestamps are CLOCK_MONOTONIC in ns. */
	rsp->hca_core_clock = htole64(1000000);
	rsp->timestamp_mask = htole64(UINT64_MAX);
	rsp->vendor_id = htole32(PVHCA_PCI_VENDOR_ID);
	rsp->vendor_part_id = htole32(PVHCA_PCI_DEVICE_ID);
	rsp->hw_ver = htole32(PVHCA_PCI_REVISION);
	rsp->local_ca_ack_delay = 15;
	g_strlcpy(rsp->fw_ver, PVHCA_VERSION, sizeof(rsp->fw_ver));
	g_strlcpy(rsp->host_device, "loopback", sizeof(rsp->host_device));
	return PVHCA_ST_OK;
}

static int loopback_query_port(struct vm *vm, struct pvhca_rsp_query_port *rsp)
{
	(void)vm;
	*rsp = (struct pvhca_rsp_query_port){
		.state = IBV_PORT_ACTIVE,
		.phys_state = PORT_LINK_UP,
		.max_mtu = IBV_MTU_4096,
		.active_mtu = IBV_MTU_4096,
		.active_width = PORT_WIDTH_4X,
		.active_speed = htole16(PORT_SPEED_EDR),
		.max_vl_num = 1,
		.max_msg_sz = htole32(LOOPBACK_MAX_MSG),
		.pkey_tbl_len = htole32(1),
		.gid_tbl_len = htole32(VM_GIDS),
		.netdev_mtu = htole32(NETDEV_MTU),
		.port_cap_flags = htole32(IBV_PORT_CM_SUP | IBV_PORT_IP_BASED_GIDS),
	};
	return PVHCA_ST_OK;
}

/* -------------------------------- addresses -------------------------------- */

static int loopback_gid_add(struct vm *vm, const uint8_t gid[16], uint32_t *host_index)
{
	struct loopback_vm *ls = vm->fabric_vm;

	*host_index = 0; /* QPs are given the GID itself */
	return loopback_address_add(ls->fabric, vm, gid);
}

/* QPs that have this address can no longer speak for it. */
static void disconnect_qps(struct loopback_vm *ls, const uint8_t gid[LOOPBACK_GID_LEN])
{
	struct loopback_qp *lqp;

	cds_list_for_each_entry (lqp, &ls->qps, node) {
		struct qp *qp = lqp->qp;

		pthread_mutex_lock(&qp->lock);
		pthread_mutex_lock(&qp->rq_lock);
		if (lqp->has_source && !memcmp(lqp->source, gid, LOOPBACK_GID_LEN)) {
			lqp->has_source = false;
			lqp->peer_stamp = 0;
			atomic_store(&lqp->stamp, 0);
		}
		pthread_mutex_unlock(&qp->rq_lock);
		pthread_mutex_unlock(&qp->lock);
	}
}

static void loopback_gid_del(struct vm *vm, const uint8_t gid[16])
{
	struct loopback_vm *ls = vm->fabric_vm;

	if (loopback_address_del(ls->fabric, vm, gid))
		disconnect_qps(ls, gid);
}

static bool loopback_default_mac(struct vm *vm, uint8_t mac[6])
{
	(void)vm;
	(void)mac;
	return false;
}

/* ---------------------------- nothing to be done --------------------------- */

static int loopback_pd_alloc(struct pd *pd)
{
	(void)pd; /* regions and QPs are compared by their struct pd */
	return PVHCA_ST_OK;
}

static void loopback_pd_free(struct pd *pd)
{
	(void)pd;
}

static int loopback_cq_create(struct cq *cq)
{
	(void)cq; /* vm/cq.c does it all */
	return PVHCA_ST_OK;
}

static void loopback_cq_destroy(struct cq *cq)
{
	(void)cq;
}

static const struct qp_ops loopback_qp_ops = {
	.create = loopback_qp_create,
	.destroy = loopback_qp_destroy,
	.modify = loopback_qp_modify,
	.query = loopback_qp_query,
	.serve = loopback_qp_serve,
};

const struct fabric_ops fabric_loopback = {
	.name = "loopback",
	.kernel_caps = PVHCA_KERNEL_QP | PVHCA_KERNEL_REG_MR,
	.start = loopback_start,
	.stop = loopback_stop,
	.vm_open = loopback_vm_open,
	.vm_close = loopback_vm_close,
	.vm_async_fd = loopback_async_fd,
	.vm_async = loopback_async,
	.query_device = loopback_query_device,
	.query_port = loopback_query_port,
	.gid_add = loopback_gid_add,
	.gid_del = loopback_gid_del,
	.default_mac = loopback_default_mac,
	.pd_alloc = loopback_pd_alloc,
	.pd_free = loopback_pd_free,
	.mr_reg = loopback_mr_reg,
	.mr_dereg = loopback_mr_dereg,
	.mr_rereg = loopback_mr_rereg,
	.mr_alloc = loopback_fr_alloc,
	.mw_alloc = loopback_mw_alloc,
	.mw_dealloc = loopback_mw_dealloc,
	.cq_create = loopback_cq_create,
	.cq_destroy = loopback_cq_destroy,
	.qp = &loopback_qp_ops,
	.ah_create = loopback_ah_create,
	.ah_destroy = loopback_ah_destroy,
	.mcast_attach = loopback_mcast_attach,
	.mcast_detach = loopback_mcast_detach,
	.srq_create = loopback_srq_create,
	.srq_destroy = loopback_srq_destroy,
	.srq_set_limit = loopback_srq_set_limit,
	.srq_query = loopback_srq_query,
	.srq_serve = loopback_srq_serve,
};
