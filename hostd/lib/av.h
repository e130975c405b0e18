/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address vectors: where a connection or a datagram goes. Host endian; the guest's
 * form of them is struct pvhca_av, which vm/ring.h translates.
 */
#ifndef HOSTD_LIB_AV_H
#define HOSTD_LIB_AV_H

#include <stdint.h>

/* As ibv_ah_attr. */
struct av {
	uint8_t dgid[16]; /* network order */
	uint32_t flow_label;
	uint8_t sgid_index; /* in the guest's table: vm_gid() */
	uint8_t hop_limit;
	uint8_t traffic_class;
	uint8_t sl;
	uint8_t port;
	uint8_t static_rate;
	uint8_t is_global;
};

#endif
