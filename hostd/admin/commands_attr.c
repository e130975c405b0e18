// SPDX-License-Identifier: GPL-2.0-or-later
#include "admin/commands_attr.h"

#include <endian.h>
#include <string.h>

#include "vm/ring.h"
#include "vm/vm.h"

/* ----------------------------- address vectors ----------------------------- */

bool commands_av_valid(const struct vm *vm, const struct pvhca_av *av)
{
	return av->is_global == 1 && av->port == 1 && !av->reserved0 && !av->reserved1 &&
		vm_gid(vm, av->sgid_index, NULL);
}

static void write_av(const struct av *from, struct pvhca_av *to)
{
	*to = (struct pvhca_av){
		.flow_label = htole32(from->flow_label),
		.sgid_index = from->sgid_index,
		.hop_limit = from->hop_limit,
		.traffic_class = from->traffic_class,
		.sl = from->sl,
		.port = from->port,
		.static_rate = from->static_rate,
		.is_global = from->is_global,
	};
	memcpy(to->dgid, from->dgid, sizeof(to->dgid));
}

/* -------------------------------- queue pairs ------------------------------ */

void commands_read_qp_cap(const struct pvhca_qp_cap *from, struct qp_cap *to)
{
	*to = (struct qp_cap){
		.max_send_wr = le32toh(from->max_send_wr),
		.max_recv_wr = le32toh(from->max_recv_wr),
		.max_send_sge = le32toh(from->max_send_sge),
		.max_recv_sge = le32toh(from->max_recv_sge),
		.max_inline = le32toh(from->max_inline),
	};
}

void commands_write_qp_cap(const struct qp_cap *from, struct pvhca_qp_cap *to)
{
	*to = (struct pvhca_qp_cap){
		.max_send_wr = htole32(from->max_send_wr),
		.max_recv_wr = htole32(from->max_recv_wr),
		.max_send_sge = htole32(from->max_send_sge),
		.max_recv_sge = htole32(from->max_recv_sge),
		.max_inline = htole32(from->max_inline),
	};
}

void commands_read_qp_attr(const struct pvhca_qp_attr *from, struct qp_attr *to)
{
	*to = (struct qp_attr){
		.qp_state = from->qp_state,
		.cur_qp_state = from->cur_qp_state,
		.path_mtu = from->path_mtu,
		.path_mig_state = from->path_mig_state,
		.qkey = le32toh(from->qkey),
		.rq_psn = le32toh(from->rq_psn),
		.sq_psn = le32toh(from->sq_psn),
		.dest_qp_num = le32toh(from->dest_qp_num),
		.qp_access_flags = le32toh(from->qp_access_flags),
		.pkey_index = le16toh(from->pkey_index),
		.en_sqd_async_notify = from->en_sqd_async_notify,
		.sq_draining = from->sq_draining,
		.max_rd_atomic = from->max_rd_atomic,
		.max_dest_rd_atomic = from->max_dest_rd_atomic,
		.min_rnr_timer = from->min_rnr_timer,
		.port_num = from->port_num,
		.timeout = from->timeout,
		.retry_cnt = from->retry_cnt,
		.rnr_retry = from->rnr_retry,
		.rate_limit = le32toh(from->rate_limit),
	};
	ring_read_av(&from->av, &to->av);
}

void commands_write_qp_attr(const struct qp_attr *from, const struct qp_cap *cap,
			    struct pvhca_qp_attr *to)
{
	*to = (struct pvhca_qp_attr){
		.qp_state = from->qp_state,
		.cur_qp_state = from->cur_qp_state,
		.path_mtu = from->path_mtu,
		.path_mig_state = from->path_mig_state,
		.qkey = htole32(from->qkey),
		.rq_psn = htole32(from->rq_psn),
		.sq_psn = htole32(from->sq_psn),
		.dest_qp_num = htole32(from->dest_qp_num),
		.qp_access_flags = htole32(from->qp_access_flags),
		.pkey_index = htole16(from->pkey_index),
		.en_sqd_async_notify = from->en_sqd_async_notify,
		.sq_draining = from->sq_draining,
		.max_rd_atomic = from->max_rd_atomic,
		.max_dest_rd_atomic = from->max_dest_rd_atomic,
		.min_rnr_timer = from->min_rnr_timer,
		.port_num = from->port_num,
		.timeout = from->timeout,
		.retry_cnt = from->retry_cnt,
		.rnr_retry = from->rnr_retry,
		.rate_limit = htole32(from->rate_limit),
	};
	commands_write_qp_cap(cap, &to->cap);
	write_av(&from->av, &to->av);
}

/* ------------------------------ device and port ---------------------------- */

void commands_write_device(const struct device_limits *from, struct pvhca_rsp_query_device *to)
{
	_Static_assert(sizeof(from->fw_ver) == sizeof(to->fw_ver), "copied as it is");
	_Static_assert(sizeof(from->host_device) == sizeof(to->host_device), "copied as it is");

	*to = (struct pvhca_rsp_query_device){
		.max_mr_size = htole64(from->max_mr_size),
		.page_size_cap = htole64(from->page_size_cap),
		.device_cap_flags = htole64(from->device_cap_flags),
		.sys_image_guid = from->sys_image_guid, /* big endian on both sides */
		.hca_core_clock = htole64(from->hca_core_clock),
		.timestamp_mask = htole64(from->timestamp_mask),
		.vendor_id = htole32(from->vendor_id),
		.vendor_part_id = htole32(from->vendor_part_id),
		.hw_ver = htole32(from->hw_ver),
		.max_qp = htole32(from->max_qp),
		.max_qp_wr = htole32(from->max_qp_wr),
		.max_sge = htole32(from->max_sge),
		.max_sge_rd = htole32(from->max_sge_rd),
		.max_inline = htole32(from->max_inline),
		.max_cq = htole32(from->max_cq),
		.max_cqe = htole32(from->max_cqe),
		.max_mr = htole32(from->max_mr),
		.max_pd = htole32(from->max_pd),
		.max_qp_rd_atom = htole32(from->max_qp_rd_atom),
		.max_res_rd_atom = htole32(from->max_res_rd_atom),
		.max_qp_init_rd_atom = htole32(from->max_qp_init_rd_atom),
		.atomic_cap = htole32(from->atomic_cap),
		.max_mw = htole32(from->max_mw),
		.max_mcast_grp = htole32(from->max_mcast_grp),
		.max_mcast_qp_attach = htole32(from->max_mcast_qp_attach),
		.max_total_mcast_qp_attach = htole32(from->max_total_mcast_qp_attach),
		.max_ah = htole32(from->max_ah),
		.max_srq = htole32(from->max_srq),
		.max_srq_wr = htole32(from->max_srq_wr),
		.max_srq_sge = htole32(from->max_srq_sge),
		.max_pkeys = htole32(from->max_pkeys),
		.gid_tbl_len = htole32(from->gid_tbl_len),
		.local_ca_ack_delay = from->local_ca_ack_delay,
	};
	memcpy(to->fw_ver, from->fw_ver, sizeof(to->fw_ver));
	memcpy(to->host_device, from->host_device, sizeof(to->host_device));
}

void commands_write_port(const struct port_attr *from, struct pvhca_rsp_query_port *to)
{
	*to = (struct pvhca_rsp_query_port){
		.state = from->state,
		.phys_state = from->phys_state,
		.max_mtu = from->max_mtu,
		.active_mtu = from->active_mtu,
		.active_width = from->active_width,
		.max_vl_num = from->max_vl_num,
		.active_speed = htole16(from->active_speed),
		.max_msg_sz = htole32(from->max_msg_sz),
		.pkey_tbl_len = htole32(from->pkey_tbl_len),
		.gid_tbl_len = htole32(from->gid_tbl_len),
		.netdev_mtu = htole32(from->netdev_mtu),
		.port_cap_flags = htole32(from->port_cap_flags),
	};
}
