// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The verbs fabric's device: opening it, what it can do, and its async events. See fabric/verbs/private.h for the whole.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/setting.h"
#include "fabric/verbs/cm/cm.h"
#include "vm/events.h"
#include "lib/calls.h"
#include "lib/heap.h"
#include "lib/log.h"
#include "fabric/verbs/private.h"

/* libibverbs and its providers: a device is opened for each VM, described by files of /sys. */
CALLS_ON("verbs",
	 "open openat access faccessat faccessat2 stat lstat statx readlink "
	 "readlinkat getdents64 getcwd ioctl uname sysinfo eventfd2 pipe2 "
	 "epoll_create1 epoll_ctl epoll_wait epoll_pwait getrusage prlimit64 "
	 "getrlimit gettimeofday time sched_getaffinity pread64");

int verbs_status(int err)
{
	switch (err) {
	case 0:
		return PVHCA_ST_OK;
	case EINVAL:
	case ERANGE:
		return PVHCA_ST_INVALID;
	case EDQUOT:
		return PVHCA_ST_QUOTA;
	case ENOMEM:
	case ENOSPC:
	case EMFILE:
	case ENFILE:
		return PVHCA_ST_NO_MEMORY;
	case EOPNOTSUPP:
	case ENOSYS:
	case EPROTONOSUPPORT:
		return PVHCA_ST_UNSUPPORTED;
	case EPERM:
	case EACCES:
		return PVHCA_ST_DENIED;
	case EBUSY:
		return PVHCA_ST_BUSY;
	case EFAULT:
		return PVHCA_ST_BAD_ADDRESS;
	case ETIMEDOUT:
		return PVHCA_ST_TIMED_OUT;
	case ENETUNREACH:
	case EHOSTUNREACH:
		return PVHCA_ST_UNREACHABLE;
	case EAGAIN:
		return PVHCA_ST_AGAIN;
	default:
		return PVHCA_ST_IO;
	}
}

/* --------------------------------- settings -------------------------------- */

/* ibdev: NULL: the first one */
static struct verbs_settings {
	char *ibdev;
	unsigned int ib_port;
} verbs_settings = {
	.ib_port = 1,
};

#define AT(field) offsetof(struct verbs_settings, field)
static const struct setting verbs_setting_rows[] = {
	{ "ibdev", SETTING_TEXT, AT(ibdev), 0, 63, NULL, "NAME",
	  "Host device of the verbs fabric" },
	{ "ib-port", SETTING_NUMBER, AT(ib_port), 1, 255, NULL, "N", "Its port" },
};
#undef AT

static const struct setting_table verbs_setting_table = {
	.settings = verbs_setting_rows,
	.count = G_N_ELEMENTS(verbs_setting_rows),
	.values = &verbs_settings,
};

/* --------------------------- the device, as a whole ------------------------ */

/* By name, or the first. */
static struct ibv_device *find_device(struct ibv_device **list, const char *name)
{
	for (; *list; list++)
		if (!name || !strcmp(ibv_get_device_name(*list), name))
			return *list;
	return NULL;
}

/* MAC and MTU of the netdev behind the port's first RoCE address. */
static void read_netdev(struct fabric *fabric, struct ibv_context *context)
{
	struct ifreq ifr = { 0 };
	struct ibv_gid_entry entry;
	int fd;

	fabric->netdev_mtu = 1500;
	if (ibv_query_gid_ex(context, fabric->port, 0, &entry, 0) ||
	    !if_indextoname(entry.ndev_ifindex, ifr.ifr_name))
		return;
	fabric->netdev_ifindex = entry.ndev_ifindex;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (!ioctl(fd, SIOCGIFHWADDR, &ifr))
		memcpy(fabric->mac, ifr.ifr_hwaddr.sa_data, sizeof(fabric->mac));
	if (!ioctl(fd, SIOCGIFMTU, &ifr))
		fabric->netdev_mtu = ifr.ifr_mtu;
	close(fd);
}

static bool can_inline(struct ibv_pd *pd, struct ibv_cq *cq, uint32_t bytes)
{
	struct ibv_qp_init_attr attr = {
		.send_cq = cq,
		.recv_cq = cq,
		.cap = {
			.max_send_wr = 1,
			.max_recv_wr = 1,
			.max_send_sge = 1,
			.max_recv_sge = 1,
			.max_inline_data = bytes,
		},
		.qp_type = IBV_QPT_RC,
	};
	struct ibv_qp *qp = ibv_create_qp(pd, &attr);

	if (qp)
		ibv_destroy_qp(qp);
	return qp;
}

/*
 * The verbs have no query for the longest inline data; what a QP can be made
 * with is found by trying.
 */
static void probe_inline(struct fabric *fabric, struct ibv_context *context)
{
	uint32_t low = 0, high = VERBS_MAX_INLINE / VERBS_INLINE_STEP + 1, mid;
	struct ibv_pd *pd = ibv_alloc_pd(context);
	struct ibv_cq *cq = ibv_create_cq(context, 2, NULL, NULL, 0);

	while (pd && cq && high - low > 1) {
		mid = (low + high) / 2;
		if (can_inline(pd, cq, mid * VERBS_INLINE_STEP))
			low = mid;
		else
			high = mid;
	}
	fabric->max_inline = low * VERBS_INLINE_STEP;
	if (cq)
		ibv_destroy_cq(cq);
	if (pd)
		ibv_dealloc_pd(pd);
}

/* Refuse now what could only fail later. */
static int check_device(struct fabric *fabric, struct ibv_context *context)
{
	const char *name = ibv_get_device_name(fabric->device);
	struct ibv_port_attr port;
	int err;

	err = ibv_query_port(context, fabric->port, &port);
	if (err) {
		g_critical("%s has no port %u: %s", name, fabric->port, log_strerror(err));
		return -err;
	}
	if (fabric->device->transport_type != IBV_TRANSPORT_IB ||
	    port.link_layer != IBV_LINK_LAYER_ETHERNET) {
		g_critical("%s port %u is not RoCE; only RoCE devices are supported", name,
			   fabric->port);
		return -EOPNOTSUPP;
	}
	read_netdev(fabric, context);
	probe_inline(fabric, context);
	return 0;
}

static void log_devices(struct ibv_device **list)
{
	for (; *list; list++)
		g_critical("there is: %s", ibv_get_device_name(*list));
}

static void fabric_free(struct fabric *fabric)
{
	verbs_addresses_free(fabric->addresses);
	if (fabric->list)
		ibv_free_device_list(fabric->list);
	free(fabric);
}

static struct fabric *verbs_start(void)
{
	struct ibv_context *context;
	struct fabric *fabric;
	int err;

	fabric = calloc(1, sizeof(*fabric));
	if (!fabric)
		return NULL;
	fabric->port = verbs_settings.ib_port;
	fabric->addresses = verbs_addresses_new();
	fabric->list = ibv_get_device_list(NULL);
	if (!fabric->list || !fabric->addresses) {
		g_critical("cannot list RDMA devices: %s", log_strerror(errno));
		goto err_free;
	}
	fabric->device = find_device(fabric->list, verbs_settings.ibdev);
	if (!fabric->device) {
		g_critical("there is no RDMA device%s%s (see ibv_devices(1))",
			   verbs_settings.ibdev ? " " : "", verbs_settings.ibdev ?: "");
		log_devices(fabric->list);
		goto err_free;
	}
	context = ibv_open_device(fabric->device);
	if (!context) {
		g_critical("cannot open %s: %s", ibv_get_device_name(fabric->device),
			   log_strerror(errno));
		goto err_free;
	}
	err = check_device(fabric, context);
	ibv_close_device(context);
	if (err)
		goto err_free;
	cm_start(ibv_get_device_name(fabric->device));
	return fabric;

err_free:
	fabric_free(fabric);
	return NULL;
}

static void verbs_stop(struct fabric *fabric)
{
	cm_stop();
	fabric_free(fabric);
}

/* --------------------------------- sessions -------------------------------- */

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? errno : 0;
}

static int open_device(struct verbs_vm *vv)
{
	int err;

	vv->context = ibv_open_device(vv->fabric->device);
	if (!vv->context)
		return errno ? errno : EIO;
	err = ibv_query_device(vv->context, &vv->attr);
	if (err)
		goto err_close;
	vv->channel = ibv_create_comp_channel(vv->context);
	if (!vv->channel) {
		err = errno;
		goto err_close;
	}
	err = set_nonblocking(vv->channel->fd);
	if (!err)
		err = set_nonblocking(vv->context->async_fd);
	if (err)
		goto err_destroy_channel;
	return 0;

err_destroy_channel:
	ibv_destroy_comp_channel(vv->channel);
err_close:
	ibv_close_device(vv->context);
	return err;
}

static void verbs_locks_destroy(struct verbs_vm *vv)
{
	pthread_mutex_destroy(&vv->keys_lock);
	pthread_mutex_destroy(&vv->poll_lock);
	pthread_mutex_destroy(&vv->lock);
}

static int verbs_vm_open(struct fabric *fabric, struct vm *vm)
{
	struct verbs_vm *vv;
	int err;

	vv = heap_zalloc(vm->heap, sizeof(*vv));
	if (!vv)
		return PVHCA_ST_NO_MEMORY;
	vv->fabric = fabric;
	vv->max_qps = vm->policy->quota.qps;
	if (vv->max_qps > 1u << VERBS_QP_INDEX_BITS)
		vv->max_qps = 1u << VERBS_QP_INDEX_BITS;
	vv->qps = heap_zalloc(vm->heap, vv->max_qps * sizeof(*vv->qps));
	vv->qp_taken = heap_zalloc(vm->heap, vv->max_qps * sizeof(*vv->qp_taken));
	if (!vv->qps || !vv->qp_taken) {
		err = ENOMEM;
		goto err_free_qps;
	}
	err = open_device(vv);
	if (err) {
		vm_warning(vm, "cannot open %s: %s", ibv_get_device_name(fabric->device),
			   log_strerror(err));
		goto err_free_qps;
	}
	pthread_mutex_init(&vv->lock, NULL);
	pthread_mutex_init(&vv->poll_lock, NULL);
	pthread_mutex_init(&vv->keys_lock, NULL);
	vv->keys.heap = vm->heap;
	vm->fabric_vm = vv;
	err = -cm_vm_open(vm, &vv->cm);
	if (!err)
		return PVHCA_ST_OK;

	vm->fabric_vm = NULL;
	verbs_locks_destroy(vv);
	ibv_destroy_comp_channel(vv->channel);
	ibv_close_device(vv->context);
err_free_qps:
	heap_free(vv->qp_taken);
	heap_free(vv->qps);
	heap_free(vv);
	return verbs_status(err);
}

static void verbs_vm_close(struct vm *vm)
{
	struct verbs_vm *vv = vm->fabric_vm;
	int err;

	cm_vm_close(vv->cm);
	verbs_host_cqs_destroy(vv);
	ibv_destroy_comp_channel(vv->channel);
	err = ibv_close_device(vv->context);
	if (err)
		vm_warning(vm, "host device could not be closed: %s", log_strerror(err));
	hash_fini(&vv->keys);
	verbs_locks_destroy(vv);
	heap_free(vv->qp_taken);
	heap_free(vv->qps);
	heap_free(vv);
	vm->fabric_vm = NULL;
}

/* ------------------------------- async events ------------------------------ */

static int verbs_vm_async_fd(struct vm *vm)
{
	struct verbs_vm *vv = vm->fabric_vm;

	return vv->context->async_fd;
}

static void post_event(struct vm *vm, const struct ibv_async_event *event)
{
	struct verbs_vm *vv = vm->fabric_vm;
	struct srq *srq;
	struct qp *qp;

	switch (event->event_type) {
	case IBV_EVENT_QP_FATAL:
	case IBV_EVENT_QP_REQ_ERR:
	case IBV_EVENT_QP_ACCESS_ERR:
	case IBV_EVENT_COMM_EST:
	case IBV_EVENT_SQ_DRAINED:
	case IBV_EVENT_PATH_MIG:
	case IBV_EVENT_PATH_MIG_ERR:
	case IBV_EVENT_QP_LAST_WQE_REACHED:
		qp = event->element.qp->qp_context;
		events_async(vm, event->event_type, qp->handle);
		return;
	case IBV_EVENT_SRQ_ERR:
	case IBV_EVENT_SRQ_LIMIT_REACHED:
		srq = event->element.srq->srq_context;
		events_async(vm, event->event_type, srq->handle);
		return;
	case IBV_EVENT_CQ_ERR:
		/* A host CQ that several guest CQs share. */
		vm_critical(vm, "a host CQ failed");
		events_async(vm, PVHCA_EVENT_DEVICE_FATAL, 0);
		return;
	case IBV_EVENT_DEVICE_FATAL:
		events_async(vm, PVHCA_EVENT_DEVICE_FATAL, 0);
		return;
	case IBV_EVENT_PORT_ACTIVE:
	case IBV_EVENT_PORT_ERR:
	case IBV_EVENT_PKEY_CHANGE:
	case IBV_EVENT_GID_CHANGE:
		if (event->element.port_num == vv->fabric->port)
			events_async(vm, event->event_type, 1);
		return;
	default:
		return; /* of no concern to a RoCE guest */
	}
}

static void verbs_vm_async(struct vm *vm)
{
	struct verbs_vm *vv = vm->fabric_vm;
	struct ibv_async_event event;

	while (!ibv_get_async_event(vv->context, &event)) {
		post_event(vm, &event);
		ibv_ack_async_event(&event);
	}
}

/* Each of them is a call of the host's kernel, which asks a device and, for addresses, the network. */
static bool verbs_vm_side_by_side(struct vm *vm)
{
	(void)vm;
	return true;
}

/* ------------------------------ device and port ---------------------------- */

#define DEVICE_CAPS_MW \
	(IBV_DEVICE_MEM_WINDOW | IBV_DEVICE_MEM_WINDOW_TYPE_2A | IBV_DEVICE_MEM_WINDOW_TYPE_2B)
/* What the guest can use if the host device has it. */
#define DEVICE_CAPS                                                                              \
	(IBV_DEVICE_BAD_PKEY_CNTR | IBV_DEVICE_BAD_QKEY_CNTR | IBV_DEVICE_CURR_QP_STATE_MOD |    \
	 IBV_DEVICE_MEM_MGT_EXTENSIONS | IBV_DEVICE_PORT_ACTIVE_EVENT |                          \
	 IBV_DEVICE_RC_RNR_NAK_GEN | IBV_DEVICE_SYS_IMAGE_GUID | IBV_DEVICE_UD_AV_PORT_ENFORCE | \
	 DEVICE_CAPS_MW)

static int verbs_query_device(struct vm *vm, struct device_limits *limits)
{
	struct verbs_vm *vv = vm->fabric_vm;
	const struct ibv_device_attr *attr = &vv->attr;

	*limits = (struct device_limits){
		.max_mr_size = attr->max_mr_size,
		.page_size_cap = attr->page_size_cap,
		.device_cap_flags = attr->device_cap_flags & DEVICE_CAPS,
		.sys_image_guid = attr->sys_image_guid,
		.vendor_id = attr->vendor_id,
		.vendor_part_id = attr->vendor_part_id,
		.hw_ver = attr->hw_ver,
		.max_qp = attr->max_qp,
		.max_qp_wr = attr->max_qp_wr,
		.max_sge = attr->max_sge,
		.max_sge_rd = attr->max_sge_rd,
		.max_inline = vv->fabric->max_inline,
		.max_cq = attr->max_cq,
		.max_cqe = 1u << PVHCA_CQ_MAX_LOG_ENTRIES,
		.max_mr = attr->max_mr,
		.max_pd = attr->max_pd,
		.max_qp_rd_atom = attr->max_qp_rd_atom,
		.max_res_rd_atom = attr->max_res_rd_atom,
		.max_qp_init_rd_atom = attr->max_qp_init_rd_atom,
		.atomic_cap = attr->atomic_cap,
		.max_mw = attr->device_cap_flags & DEVICE_CAPS_MW ? attr->max_mw : 0,
		.max_mcast_grp = attr->max_mcast_grp,
		.max_mcast_qp_attach = attr->max_mcast_qp_attach,
		.max_total_mcast_qp_attach = attr->max_total_mcast_qp_attach,
		.max_ah = attr->max_ah,
		.max_srq = attr->max_srq,
		.max_srq_wr = attr->max_srq_wr,
		.max_srq_sge = attr->max_srq_sge,
		.max_pkeys = attr->max_pkeys,
		/* Of completions; pvhcad's own clock, CLOCK_MONOTONIC in ns. */
		.hca_core_clock = 1000000,
		.timestamp_mask = UINT64_MAX,
		.local_ca_ack_delay = attr->local_ca_ack_delay,
	};
	snprintf(limits->fw_ver, sizeof(limits->fw_ver), "%.31s", attr->fw_ver);
	snprintf(limits->host_device, sizeof(limits->host_device), "%.31s",
		 ibv_get_device_name(vv->fabric->device));
	return PVHCA_ST_OK;
}

static int verbs_query_port(struct vm *vm, struct port_attr *port)
{
	struct verbs_vm *vv = vm->fabric_vm;
	struct ibv_port_attr attr;
	int err;

	err = ibv_query_port(vv->context, vv->fabric->port, &attr);
	if (err)
		return verbs_status(err);
	*port = (struct port_attr){
		.state = attr.state,
		.phys_state = attr.phys_state,
		.max_mtu = attr.max_mtu,
		.active_mtu = attr.active_mtu,
		.active_width = attr.active_width,
		.active_speed = attr.active_speed,
		.max_vl_num = attr.max_vl_num,
		.max_msg_sz = attr.max_msg_sz,
		.pkey_tbl_len = attr.pkey_tbl_len,
		.gid_tbl_len = VM_GIDS,
		.netdev_mtu = vv->fabric->netdev_mtu,
		.port_cap_flags = attr.port_cap_flags & (IBV_PORT_CM_SUP | IBV_PORT_IP_BASED_GIDS),
	};
	return PVHCA_ST_OK;
}

/* --------------------------------- addresses ------------------------------- */

static bool verbs_mad_send(struct vm *vm, const uint8_t source[16], const uint8_t destination[16],
			   const void *mad)
{
	struct verbs_vm *vv = vm->fabric_vm;

	return cm_send(vv->cm, source, destination, mad);
}

/*
 * The host's own: so the guest's default (link-local) address is the host's, and
 * exists there.
 */
static bool verbs_default_mac(struct vm *vm, uint8_t mac[6])
{
	static const uint8_t none[6];
	const struct fabric *fabric = vm->fabric;

	memcpy(mac, fabric->mac, sizeof(fabric->mac));
	return memcmp(mac, none, sizeof(none)) != 0;
}

static int verbs_vm_event_fd(struct vm *vm)
{
	struct verbs_vm *vv = vm->fabric_vm;

	return vv->channel->fd;
}

static const struct qp_ops verbs_qp_ops = {
	.create = verbs_qp_create,
	.hide = verbs_qp_hide,
	.destroy = verbs_qp_destroy,
	.modify = verbs_qp_modify,
	.query = verbs_qp_query,
	.serve = verbs_qp_serve,
	.serve_receives = verbs_serve_receives,
};

const struct fabric_ops fabric_verbs = {
	.name = "verbs",
	.settings = &verbs_setting_table,
	.host_addresses = true,
	.locks_memory = true,
	.start = verbs_start,
	.stop = verbs_stop,
	.vm_open = verbs_vm_open,
	.vm_close = verbs_vm_close,
	.vm_side_by_side = verbs_vm_side_by_side,
	.vm_async_fd = verbs_vm_async_fd,
	.vm_async = verbs_vm_async,
	.query_device = verbs_query_device,
	.query_port = verbs_query_port,
	.gid_add = verbs_gid_add,
	.gid_del = verbs_gid_del,
	.mad_send = verbs_mad_send,
	.default_mac = verbs_default_mac,
	.pd_alloc = verbs_pd_alloc,
	.pd_free = verbs_pd_free,
	.mr_reg = verbs_mr_reg,
	.mr_dereg = verbs_mr_dereg,
	.mr_rereg = verbs_mr_rereg,
	.mw_alloc = verbs_mw_alloc,
	.mw_dealloc = verbs_mw_dealloc,
	.ah_create = verbs_ah_create,
	.ah_destroy = verbs_ah_destroy,
	.qp = &verbs_qp_ops,
	.mcast_attach = verbs_mcast_attach,
	.mcast_detach = verbs_mcast_detach,
	.srq_create = verbs_srq_create,
	.srq_destroy = verbs_srq_destroy,
	.srq_set_limit = verbs_srq_set_limit,
	.srq_query = verbs_srq_query,
	.srq_serve = verbs_srq_serve,
	.vm_poll = verbs_vm_poll,
	.vm_arm = verbs_vm_arm,
	.vm_in_flight = verbs_vm_in_flight,
	.vm_event_fd = verbs_vm_event_fd,
	.vm_event = verbs_vm_event,
};
