// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Network headers of datagrams: RoCE v2 (IB vol 1, annex 17) over IPv4 (RFC 791) or
 * IPv6 (RFC 8200).
 */
#include "lib/address.h"
#include "lib/grh.h"

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define UDP_LEN		 8u
#define BTH_LEN		 12u
#define DETH_LEN	 8u
#define ICRC_LEN	 4u
#define PROTOCOL_UDP	 17
#define IPV4_DF		 0x4000
#define IPV4_AT		 20   /* of the header in the 40 bytes */
#define IPV4_VERSION_IHL 0x45 /* 4, and 5 words */

struct ipv4 {
	uint8_t version_ihl;
	uint8_t tos;
	uint16_t length;
	uint16_t id;
	uint16_t fragment;
	uint8_t ttl;
	uint8_t protocol;
	uint16_t checksum;
	uint8_t source[4];
	uint8_t destination[4];
};

struct ipv6 {
	uint32_t version_class_flow;
	uint16_t length;
	uint8_t next_header;
	uint8_t hop_limit;
	uint8_t source[16];
	uint8_t destination[16];
};

_Static_assert(sizeof(struct ipv4) == GRH_LEN - IPV4_AT, "RFC 791, 3.1");
_Static_assert(sizeof(struct ipv6) == GRH_LEN, "RFC 8200, 3");

/* RFC 1071, of bytes as they stand. */
static uint16_t checksum(const void *header, unsigned int len)
{
	const uint8_t *byte = header;
	uint32_t sum = 0;
	unsigned int i;

	for (i = 0; i < len; i += 2)
		sum += byte[i] << 8 | byte[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htobe16(~sum);
}

static bool grh_is_ipv4(const uint8_t source[16], const uint8_t destination[16])
{
	return address_is_ipv4(source) && address_is_ipv4(destination);
}

uint8_t grh_packet_type(const uint8_t source[16], const uint8_t destination[16])
{
	return GRH_SL_ROCE_V2 | (grh_is_ipv4(source, destination) ? GRH_SL_IPV4 : GRH_SL_IPV6);
}

/*
 * Before an IPv4 header stands anything, perhaps what looks like IPv6. Then IPv4 has to prove
 * itself: no options, as annex 17 demands, and a checksum that is right. Else that is not
 * asked for: rxe makes none for packets that stay on its device.
 */
uint8_t grh_header_type(const uint8_t grh[GRH_LEN])
{
	const uint8_t *v4 = grh + IPV4_AT;

	if (grh[0] >> 4 != 6)
		return v4[0] == IPV4_VERSION_IHL ? GRH_SL_ROCE_V2 | GRH_SL_IPV4 : 0;
	if (v4[0] == IPV4_VERSION_IHL && !checksum(v4, sizeof(struct ipv4)))
		return GRH_SL_ROCE_V2 | GRH_SL_IPV4;
	return GRH_SL_ROCE_V2 | GRH_SL_IPV6;
}

void grh_fill(uint8_t grh[GRH_LEN], const struct av *av, const uint8_t source[16],
	      const uint8_t destination[16], uint32_t payload)
{
	/* Payload is padded to words: IB vol 1, 9.2.3. */
	uint32_t length = UDP_LEN + BTH_LEN + DETH_LEN + ((payload + 3) & ~3u) + ICRC_LEN;
	struct ipv4 v4 = {
		.version_ihl = IPV4_VERSION_IHL,
		.tos = av->traffic_class,
		.length = htobe16(sizeof(v4) + length),
		.fragment = htobe16(IPV4_DF),
		.ttl = av->hop_limit,
		.protocol = PROTOCOL_UDP,
	};
	struct ipv6 v6 = {
		.version_class_flow = htobe32(6u << 28 | (uint32_t)av->traffic_class << 20 |
					      (av->flow_label & 0xfffff)),
		.length = htobe16(length),
		.next_header = PROTOCOL_UDP,
		.hop_limit = av->hop_limit,
	};

	if (grh_is_ipv4(source, destination)) {
		memcpy(v4.source, source + 12, sizeof(v4.source));
		memcpy(v4.destination, destination + 12, sizeof(v4.destination));
		v4.checksum = checksum(&v4, sizeof(v4));
		memset(grh, 0, IPV4_AT);
		memcpy(grh + IPV4_AT, &v4, sizeof(v4));
		return;
	}
	memcpy(v6.source, source, sizeof(v6.source));
	memcpy(v6.destination, destination, sizeof(v6.destination));
	memcpy(grh, &v6, sizeof(v6));
}

static bool grh_type_is_ipv4(uint8_t type)
{
	return type == (GRH_SL_ROCE_V2 | GRH_SL_IPV4);
}

void grh_addresses(const uint8_t grh[GRH_LEN], uint8_t type, uint8_t source[16],
		   uint8_t destination[16])
{
	struct ipv4 v4;
	struct ipv6 v6;

	if (grh_type_is_ipv4(type)) {
		memcpy(&v4, grh + IPV4_AT, sizeof(v4));
		address_from_ipv4(v4.source, source);
		address_from_ipv4(v4.destination, destination);
		return;
	}
	memcpy(&v6, grh, sizeof(v6));
	memcpy(source, v6.source, sizeof(v6.source));
	memcpy(destination, v6.destination, sizeof(v6.destination));
}

void grh_set_addresses(uint8_t grh[GRH_LEN], uint8_t type, const uint8_t source[16],
		       const uint8_t destination[16])
{
	struct ipv4 v4;

	if (grh_type_is_ipv4(type)) {
		memcpy(&v4, grh + IPV4_AT, sizeof(v4));
		memcpy(v4.source, source + 12, sizeof(v4.source));
		memcpy(v4.destination, destination + 12, sizeof(v4.destination));
		v4.checksum = 0;
		v4.checksum = checksum(&v4, sizeof(v4));
		memcpy(grh + IPV4_AT, &v4, sizeof(v4));
		return;
	}
	memcpy(grh + offsetof(struct ipv6, source), source, 16);
	memcpy(grh + offsetof(struct ipv6, destination), destination, 16);
}
