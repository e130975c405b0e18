/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What admin commands set of an object and ask about it, host endian. The guest's form
 * of it (pvhca-admin.h) is read and written in admin/ alone. Names, values and units
 * are those of the verbs.
 */
#ifndef HOSTD_VM_ATTRIBUTES_H
#define HOSTD_VM_ATTRIBUTES_H

#include <stdint.h>

#include "lib/av.h"

/* As ibv_qp_cap. */
struct qp_cap {
	uint32_t max_send_wr;
	uint32_t max_recv_wr;
	uint32_t max_send_sge;
	uint32_t max_recv_sge;
	uint32_t max_inline; /* bytes */
};

/* As ibv_qp_attr, without cap, which is qp->cap. RoCE has no alternate paths. */
struct qp_attr {
	uint8_t qp_state;     /* enum ibv_qp_state */
	uint8_t cur_qp_state; /* likewise */
	uint8_t path_mtu;     /* enum ibv_mtu */
	uint8_t path_mig_state;
	uint32_t qkey;
	uint32_t rq_psn;
	uint32_t sq_psn;
	uint32_t dest_qp_num;
	uint32_t qp_access_flags; /* IBV_ACCESS_* */
	uint16_t pkey_index;
	uint8_t en_sqd_async_notify;
	uint8_t sq_draining;
	uint8_t max_rd_atomic;
	uint8_t max_dest_rd_atomic;
	uint8_t min_rnr_timer;
	uint8_t port_num;
	uint8_t timeout;
	uint8_t retry_cnt;
	uint8_t rnr_retry;
	uint32_t rate_limit;
	struct av av;
};

/*
 * For those who keep a QP's attributes: take over those in mask (enum ibv_qp_attr_mask) that
 * are not states.
 */
void attributes_set_qp(struct qp_attr *to, uint32_t mask, const struct qp_attr *from);

/* What a fabric can do: ibv_device_attr, as far as guests see it. */
struct device_limits {
	uint64_t max_mr_size; /* bytes */
	uint64_t page_size_cap;
	uint64_t device_cap_flags; /* IBV_DEVICE_* of what guests can use */
	uint64_t sys_image_guid;   /* big endian, as in the verbs */
	uint64_t hca_core_clock;   /* kHz; 0: none */
	uint64_t timestamp_mask;
	uint32_t vendor_id;
	uint32_t vendor_part_id;
	uint32_t hw_ver;
	uint32_t max_qp;
	uint32_t max_qp_wr;
	uint32_t max_sge;
	uint32_t max_sge_rd;
	uint32_t max_inline; /* bytes */
	uint32_t max_cq;
	uint32_t max_cqe;
	uint32_t max_mr;
	uint32_t max_pd;
	uint32_t max_qp_rd_atom;
	uint32_t max_res_rd_atom;
	uint32_t max_qp_init_rd_atom;
	uint32_t atomic_cap; /* enum ibv_atomic_cap */
	uint32_t max_mw;
	uint32_t max_mcast_grp;
	uint32_t max_mcast_qp_attach;
	uint32_t max_total_mcast_qp_attach;
	uint32_t max_ah;
	uint32_t max_srq;
	uint32_t max_srq_wr;
	uint32_t max_srq_sge;
	uint32_t max_pkeys;
	uint32_t gid_tbl_len;
	uint8_t local_ca_ack_delay;
	char fw_ver[32];      /* "": pvhcad's version */
	char host_device[32]; /* name of the fabric or host device, for the guest's log */
};

/* As ibv_port_attr. */
struct port_attr {
	uint8_t state; /* enum ibv_port_state */
	uint8_t phys_state;
	uint8_t max_mtu; /* enum ibv_mtu */
	uint8_t active_mtu;
	uint8_t active_width; /* codes of ibv_query_port(3) */
	uint8_t max_vl_num;
	uint16_t active_speed; /* likewise */
	uint32_t max_msg_sz;   /* bytes */
	uint32_t pkey_tbl_len;
	uint32_t gid_tbl_len;
	uint32_t netdev_mtu;	 /* of the guest's netdev, bytes */
	uint32_t port_cap_flags; /* IBV_PORT_* */
};

#endif
