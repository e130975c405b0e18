// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The loopback fabric's operations: start and stop, sessions, properties of the guest's
 * device, addresses. fabric/loopback/private.h tells how it works.
 */
#include <stdlib.h>
#include <string.h>

#include "fabric/fabric.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "fabric/loopback/key.h"
#include "fabric/loopback/mr.h"
#include "fabric/loopback/private.h"
#include "fabric/loopback/qp.h"
#include "fabric/loopback/serve.h"
#include "lib/table.h"
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
 * Copies have no line rate. One processor copies about as much as 4 lanes of
 * 25 Gb/s carry, so software that scales by the port's rate gets a sensible value.
 * Both codes are those of ibv_query_port(3).
 */
#define PORT_WIDTH_4X  2
#define PORT_SPEED_EDR 32
#define PORT_LINK_UP   5
/* Holds a path MTU of 4096 and the headers of RoCE. */
#define NETDEV_MTU 9000

/* ----------------------------- start and stop ------------------------------ */

static void loopback_stop(struct fabric *opaque)
{
	struct loopback *fabric = (struct loopback *)opaque;

	loopback_table_fini(&fabric->qps);
	loopback_table_fini(&fabric->mrs);
	pthread_mutex_destroy(&fabric->lock);
	free(fabric);
}

static struct fabric *loopback_start(void)
{
	struct loopback *fabric = calloc(1, sizeof(*fabric));

	if (!fabric) {
		g_critical("loopback fabric: no memory");
		return NULL;
	}
	pthread_mutex_init(&fabric->lock, NULL);
	if (loopback_table_init(&fabric->qps) || loopback_table_init(&fabric->mrs)) {
		g_critical("loopback fabric: no memory");
		loopback_stop((struct fabric *)fabric);
		return NULL;
	}
	fabric->key_variant = g_random_int();
	return (struct fabric *)fabric;
}

static int loopback_vm_open(struct fabric *opaque, struct vm *vm)
{
	struct loopback_vm *ls = heap_zalloc(vm->heap, sizeof(*ls));

	if (!ls)
		return PVHCA_ST_NO_MEMORY;
	ls->fabric = (struct loopback *)opaque;
	CDS_INIT_LIST_HEAD(&ls->qps);
	CDS_INIT_LIST_HEAD(&ls->windows);
	vm->fabric_vm = ls;
	return PVHCA_ST_OK;
}

/* With fabric->lock held; what the table gives back may be read until a grace period has passed. */
static void hide_number(struct loopback_vm *ls, struct loopback_table *table, uint32_t number)
{
	struct loopback_places *gone = loopback_table_remove(table, number), *last;

	if (!gone)
		return;
	for (last = gone; last->next; last = last->next)
		;
	last->next = ls->places;
	ls->places = gone;
}

static void hide_mr(void *object, void *arg)
{
	struct loopback_vm *ls = arg;
	const struct mr *mr = object;
	const struct loopback_key *key = loopback_mr_key(mr);

	hide_number(ls, &ls->fabric->mrs, key ? key->number : mr->lkey >> 8);
}

static void loopback_vm_hide(struct vm *vm)
{
	struct loopback_vm *ls = vm->fabric_vm;
	struct loopback_qp *lqp;
	struct loopback_key *key;

	cds_list_for_each_entry (lqp, &ls->qps, node)
		loopback_mcast_detach_all(lqp);
	pthread_mutex_lock(&ls->fabric->lock);
	cds_list_for_each_entry (lqp, &ls->qps, node)
		hide_number(ls, &ls->fabric->qps, lqp->qp->qpn);
	cds_list_for_each_entry (key, &ls->windows, node)
		hide_number(ls, &ls->fabric->mrs, key->number);
	table_for_each(&vm->mrs, hide_mr, ls);
	pthread_mutex_unlock(&ls->fabric->lock);
	ls->addresses = loopback_address_del_all(ls->fabric, vm);
}

/* A VM that got nothing has not been hidden. */
static void loopback_vm_close(struct vm *vm)
{
	struct loopback_vm *ls = vm->fabric_vm;

	loopback_address_free_all(ls->addresses);
	loopback_places_free(ls->places);
	heap_free(ls);
	vm->fabric_vm = NULL;
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

static void fill_limits(struct device_limits *limits)
{
	limits->max_mr_size = LOOPBACK_MAX_MR;
	limits->page_size_cap = ~(uint64_t)(PVHCA_GRANULE - 1);
	limits->max_qp = MAX_QP;
	limits->max_qp_wr = MAX_WR;
	limits->max_sge = LOOPBACK_MAX_SGE;
	limits->max_sge_rd = LOOPBACK_MAX_SGE;
	limits->max_inline = LOOPBACK_MAX_INLINE;
	limits->max_cq = MAX_CQ;
	limits->max_cqe = MAX_CQE;
	limits->max_mr = MAX_MR;
	limits->max_pd = MAX_PD;
	limits->max_qp_rd_atom = LOOPBACK_MAX_RD_ATOMIC;
	limits->max_qp_init_rd_atom = LOOPBACK_MAX_RD_ATOMIC;
	limits->max_res_rd_atom = LOOPBACK_MAX_RD_ATOMIC * MAX_QP;
	limits->atomic_cap = IBV_ATOMIC_HCA;
	limits->max_mw = MAX_MR;
	limits->max_ah = MAX_AH;
	limits->max_srq = MAX_QP;
	limits->max_srq_wr = MAX_WR;
	limits->max_srq_sge = LOOPBACK_MAX_SGE;
	limits->max_mcast_grp = LOOPBACK_MAX_MCAST_TOTAL;
	limits->max_mcast_qp_attach = LOOPBACK_MAX_MCAST_ATTACH;
	limits->max_total_mcast_qp_attach = LOOPBACK_MAX_MCAST_TOTAL;
	limits->max_pkeys = 1;
	limits->gid_tbl_len = VM_GIDS;
}

static int loopback_query_device(struct vm *vm, struct device_limits *limits)
{
	memset(limits, 0, sizeof(*limits));
	fill_limits(limits);
	limits->device_cap_flags = IBV_DEVICE_CURR_QP_STATE_MOD | IBV_DEVICE_PORT_ACTIVE_EVENT |
		IBV_DEVICE_SYS_IMAGE_GUID | IBV_DEVICE_RC_RNR_NAK_GEN | IBV_DEVICE_MEM_WINDOW |
		IBV_DEVICE_MEM_WINDOW_TYPE_2B | IBV_DEVICE_MEM_MGT_EXTENSIONS;
	limits->sys_image_guid = system_guid(vm);
	/* Timestamps are CLOCK_MONOTONIC in ns. */
	limits->hca_core_clock = 1000000;
	limits->timestamp_mask = UINT64_MAX;
	limits->vendor_id = PVHCA_PCI_VENDOR_ID;
	limits->vendor_part_id = PVHCA_PCI_DEVICE_ID;
	limits->hw_ver = PVHCA_PCI_REVISION;
	limits->local_ca_ack_delay = 15;
	g_strlcpy(limits->fw_ver, PVHCA_VERSION, sizeof(limits->fw_ver));
	g_strlcpy(limits->host_device, "loopback", sizeof(limits->host_device));
	return PVHCA_ST_OK;
}

static int loopback_query_port(struct vm *vm, struct port_attr *port)
{
	(void)vm;
	*port = (struct port_attr){
		.state = IBV_PORT_ACTIVE,
		.phys_state = PORT_LINK_UP,
		.max_mtu = IBV_MTU_4096,
		.active_mtu = IBV_MTU_4096,
		.active_width = PORT_WIDTH_4X,
		.active_speed = PORT_SPEED_EDR,
		.max_vl_num = 1,
		.max_msg_sz = LOOPBACK_MAX_MSG,
		.pkey_tbl_len = 1,
		.gid_tbl_len = VM_GIDS,
		.netdev_mtu = NETDEV_MTU,
		.port_cap_flags = IBV_PORT_CM_SUP | IBV_PORT_IP_BASED_GIDS,
	};
	return PVHCA_ST_OK;
}

/* -------------------------------- addresses -------------------------------- */

/* It has no wire, so no VLANs. */
static int loopback_gid_add(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan)
{
	struct loopback_vm *ls = vm->fabric_vm;

	(void)index; /* QPs are given the GID itself */
	(void)vlan;
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

/* Commands that change the table of GIDs come one at a time. */
static void loopback_gid_hide(struct vm *vm, uint32_t index, const uint8_t gid[16])
{
	struct loopback_vm *ls = vm->fabric_vm;

	(void)index;
	ls->hidden = loopback_address_del(ls->fabric, vm, gid);
}

static void loopback_gid_del(struct vm *vm, uint32_t index, const uint8_t gid[16])
{
	struct loopback_vm *ls = vm->fabric_vm;

	(void)index;
	if (!ls->hidden)
		return;
	loopback_address_free_all(ls->hidden);
	ls->hidden = NULL;
	disconnect_qps(ls, gid);
}

static const struct qp_ops loopback_qp_ops = {
	.create = loopback_qp_create,
	.hide = loopback_qp_hide,
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
	.query_device = loopback_query_device,
	.query_port = loopback_query_port,
	.gid_add = loopback_gid_add,
	.vm_hide = loopback_vm_hide,
	.gid_hide = loopback_gid_hide,
	.gid_del = loopback_gid_del,
	.mr_reg = loopback_mr_reg,
	.mr_hide = loopback_mr_hide,
	.mr_dereg = loopback_mr_dereg,
	.mr_rereg = loopback_mr_rereg,
	.mr_alloc = loopback_fr_alloc,
	.mw_alloc = loopback_mw_alloc,
	.mw_hide = loopback_mw_hide,
	.mw_dealloc = loopback_mw_dealloc,
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
