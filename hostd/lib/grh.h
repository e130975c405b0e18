/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The network header of a packet, as it stands before a received datagram.
 */
#ifndef HOSTD_LIB_GRH_H
#define HOSTD_LIB_GRH_H

#include <stdint.h>

#include "lib/av.h"

#define GRH_LEN 40u

/*
 * Write the 40 bytes as a RoCE v2 adapter leaves them: between two v4-mapped GIDs 20
 * bytes of 0 and an IPv4 header, else an IPv6 header. payload is the length of the
 * message in bytes. av is the sender's; its dgid and sgid_index are not used.
 */
void grh_fill(uint8_t grh[GRH_LEN], const struct av *av, const uint8_t source[16],
	      const uint8_t destination[16], uint32_t payload);

/*
 * What ibv_wc.sl of a UD receive says besides the service level: that the packet is a
 * RoCE v2 one, and which header stands in the 40 bytes (IB vol 1, A17.4.5.1). Programs
 * such as UCX find the header by it. Bit 3: RoCE v2; bits 2:0: the header.
 */
#define GRH_SL_ROCE_V2 8u
#define GRH_SL_IPV6    1u
#define GRH_SL_IPV4    2u

/* For a datagram between these two. */
uint8_t grh_packet_type(const uint8_t source[16], const uint8_t destination[16]);
/*
 * For a datagram whose 40 bytes are these, as an adapter left them; the 20 before an IPv4
 * header may hold anything. 0: there is neither header in them.
 */
uint8_t grh_header_type(const uint8_t grh[GRH_LEN]);

/*
 * The addresses in a header of that type, which is not 0, and others of the same family in
 * their place, with IPv4's checksum.
 */
void grh_addresses(const uint8_t grh[GRH_LEN], uint8_t type, uint8_t source[16],
		   uint8_t destination[16]);
void grh_set_addresses(uint8_t grh[GRH_LEN], uint8_t type, const uint8_t source[16],
		       const uint8_t destination[16]);

#endif
