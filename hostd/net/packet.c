// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/packet.h"

#include <string.h>

#include "lib/address.h"
#include "pvhca/pvhca-admin.h"

#define IPV4_MIN	20u
#define IPV4_MORE	0x2000
#define IPV4_FRAGMENT	0x1fff
#define IPV6_LEN	40u
#define ICMP_LEN	8u
#define PROTOCOL_ICMP	1
#define PROTOCOL_TCP	6
#define PROTOCOL_ICMPV6 58
#define TTL		64
/* RFC 792: of the packet that it answers an error has the header and so much more. */
#define ICMP_QUOTE 8u

/* In the header of TCP: RFC 9293, RFC 3168. */
#define TCP_MIN	     20u
#define TCP_SEQUENCE 4
#define TCP_OFFSET   12
#define TCP_FLAGS    13
#define TCP_CHECKSUM 16
#define TCP_FIN	     0x01
#define TCP_PSH	     0x08
#define TCP_CWR	     0x80

/* Types and codes: RFC 792, RFC 1191, RFC 1812; RFC 4443. */
#define ICMP_UNREACHABLE    3
#define ICMP_HOST	    1
#define ICMP_TOO_BIG	    4
#define ICMP_PROHIBITED	    13
#define ICMPV6_UNREACHABLE  1
#define ICMPV6_PROHIBITED   1
#define ICMPV6_ADDRESS	    3
#define ICMPV6_TOO_BIG	    2
#define ICMPV6_FIRST_NO_ERR 128

static uint16_t get16(const uint8_t *from)
{
	return from[0] << 8 | from[1];
}

static uint32_t get32(const uint8_t *from)
{
	return (uint32_t)get16(from) << 16 | get16(from + 2);
}

static void put16(uint8_t *to, uint16_t value)
{
	to[0] = value >> 8;
	to[1] = value;
}

static void put32(uint8_t *to, uint32_t value)
{
	put16(to, value >> 16);
	put16(to + 2, value);
}

/* RFC 1071; an odd byte at the end counts as if a zero followed. */
static uint32_t sum16(const uint8_t *from, uint32_t length, uint32_t sum)
{
	for (; length > 1; from += 2, length -= 2)
		sum += get16(from);
	return length ? sum + (from[0] << 8) : sum;
}

static uint16_t checksum(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* ---------------------------------- parse ---------------------------------- */

static void gid_of_ipv4(const uint8_t address[4], uint8_t gid[16])
{
	memset(gid, 0, 10);
	memset(gid + 10, 0xff, 2);
	memcpy(gid + 12, address, 4);
}

static bool parse_ipv4(struct packet *packet)
{
	const uint8_t *head = packet->head;
	uint32_t total;

	if (packet->head_len < IPV4_MIN)
		return false;
	packet->header_len = (head[0] & 15) * 4;
	total = get16(head + 2);
	if (packet->header_len < IPV4_MIN || total < packet->header_len || total > packet->length)
		return false;
	packet->length = total;
	gid_of_ipv4(head + 12, packet->source);
	gid_of_ipv4(head + 16, packet->destination);
	return true;
}

static bool parse_ipv6(struct packet *packet)
{
	const uint8_t *head = packet->head;

	if (packet->head_len < IPV6_LEN || IPV6_LEN + get16(head + 4) > packet->length)
		return false;
	packet->header_len = IPV6_LEN;
	packet->length = IPV6_LEN + get16(head + 4);
	memcpy(packet->source, head + 8, 16);
	memcpy(packet->destination, head + 24, 16);
	/* These would be taken for IPv4 addresses, and never stand in a packet. */
	return !address_is_ipv4(packet->source) && !address_is_ipv4(packet->destination);
}

bool packet_parse(struct packet *packet)
{
	const uint8_t version = packet->head_len ? packet->head[0] >> 4 : 0;
	bool ok;

	packet->ipv4 = version == 4;
	if (version != 4 && version != 6)
		return false;
	ok = packet->ipv4 ? parse_ipv4(packet) : parse_ipv6(packet);
	if (ok && packet->head_len > packet->length)
		packet->head_len = packet->length;
	return ok;
}

bool packet_checksum_is_valid(const struct packet *packet, uint32_t place)
{
	const uint32_t start = place & 0xffff, offset = place >> 16;

	return !place ||
		(start >= packet->header_len &&
		 start + offset + sizeof(uint16_t) <= packet->length);
}

bool packet_is_for_many(const struct packet *packet)
{
	static const uint8_t all[4] = { 255, 255, 255, 255 };

	return address_is_group(packet->destination) ||
		(packet->ipv4 && !memcmp(packet->destination + 12, all, sizeof(all)));
}

/* ---------------------------------- pieces --------------------------------- */

/* TCP behind the header of IP, in one packet. */
static bool is_tcp(const struct packet *packet)
{
	const uint8_t *head = packet->head;

	if (!packet->ipv4)
		return head[6] == PROTOCOL_TCP;
	return head[9] == PROTOCOL_TCP && !(get16(head + 6) & (IPV4_MORE | IPV4_FRAGMENT));
}

bool packet_set_segment(struct packet *packet, uint32_t place, uint32_t segment)
{
	const uint32_t start = packet->header_len;

	if (segment < PVHCA_NET_MIN_SEGMENT || segment > UINT16_MAX || !is_tcp(packet) ||
	    place != (start | TCP_CHECKSUM << 16) || start + TCP_MIN > packet->head_len)
		return false;
	packet->headers_len = start + (packet->head[start + TCP_OFFSET] >> 4) * 4;
	if (packet->headers_len < start + TCP_MIN || packet->headers_len > packet->head_len)
		return false;
	if (packet->headers_len + segment < packet->length)
		packet->segment = segment;
	return true;
}

uint32_t packet_pieces(const struct packet *packet)
{
	const uint32_t payload = packet->length - packet->headers_len;

	return packet->segment ? (payload + packet->segment - 1) / packet->segment : 1;
}

/* The sum of the pseudo header has the length of TCP, which was old and is length now. */
static void change_sum(uint8_t *at, uint32_t old, uint32_t length)
{
	put16(at, ~checksum(get16(at) + (uint16_t)~old + length));
}

static void cut_ipv4(const struct packet *whole, uint32_t index, struct packet *piece)
{
	uint8_t *head = piece->head;

	put16(head + 2, piece->length);
	put16(head + 4, get16(whole->head + 4) + index);
	put16(head + 10, 0);
	put16(head + 10, checksum(sum16(head, whole->header_len, 0)));
}

uint32_t packet_cut(const struct packet *whole, uint32_t index, struct packet *piece)
{
	const uint32_t done = index * whole->segment, at = whole->headers_len + done;
	const uint32_t start = whole->header_len, left = whole->length - at;
	const bool last = left <= whole->segment;
	uint8_t *tcp = piece->head + start;

	*piece = *whole;
	piece->segment = 0;
	piece->head_len = whole->headers_len;
	piece->length = whole->headers_len + (last ? left : whole->segment);
	if (whole->ipv4)
		cut_ipv4(whole, index, piece);
	else
		put16(piece->head + 4, piece->length - IPV6_LEN);
	put32(tcp + TCP_SEQUENCE, get32(tcp + TCP_SEQUENCE) + done);
	if (!last)
		tcp[TCP_FLAGS] &= ~(TCP_FIN | TCP_PSH);
	if (index)
		tcp[TCP_FLAGS] &= ~TCP_CWR;
	change_sum(tcp + TCP_CHECKSUM, whole->length - start, piece->length - start);
	return at;
}

/* ---------------------------------- answer --------------------------------- */

/* The first byte behind the IP header, or -1: the head does not have it. */
static int first_of_payload(const struct packet *packet)
{
	return packet->header_len < packet->head_len ? packet->head[packet->header_len] : -1;
}

static bool is_no_address(const struct packet *packet)
{
	static const uint8_t zero[16];

	if (packet->ipv4)
		return !memcmp(packet->source + 12, zero, 4);
	return !memcmp(packet->source, zero, sizeof(zero));
}

static bool may_answer_ipv4(const struct packet *packet)
{
	const uint8_t *head = packet->head;

	if (get16(head + 6) & IPV4_FRAGMENT)
		return false;
	if (head[9] != PROTOCOL_ICMP)
		return true;
	switch (first_of_payload(packet)) {
	case 0:	 /* echo reply */
	case 8:	 /* echo */
	case 13: /* timestamp, and its reply */
	case 14:
		return true;
	default:
		return false;
	}
}

static bool may_answer_ipv6(const struct packet *packet)
{
	return packet->head[6] != PROTOCOL_ICMPV6 ||
		first_of_payload(packet) >= ICMPV6_FIRST_NO_ERR;
}

static uint32_t answer_ipv4(const struct packet *packet, enum packet_answer why, uint32_t mtu,
			    uint8_t *to)
{
	static const uint8_t codes[] = {
		[PACKET_UNREACHABLE] = ICMP_HOST,
		[PACKET_PROHIBITED] = ICMP_PROHIBITED,
		[PACKET_TOO_BIG] = ICMP_TOO_BIG,
	};
	uint32_t quote = packet->header_len + ICMP_QUOTE, length;
	uint8_t *icmp = to + IPV4_MIN;

	if (quote > packet->head_len)
		quote = packet->head_len;
	length = IPV4_MIN + ICMP_LEN + quote;
	memset(to, 0, IPV4_MIN + ICMP_LEN);
	to[0] = 4 << 4 | IPV4_MIN / 4;
	put16(to + 2, length);
	to[8] = TTL;
	to[9] = PROTOCOL_ICMP;
	memcpy(to + 12, packet->head + 16, 4);
	memcpy(to + 16, packet->head + 12, 4);
	put16(to + 10, checksum(sum16(to, IPV4_MIN, 0)));

	icmp[0] = ICMP_UNREACHABLE;
	icmp[1] = codes[why];
	if (why == PACKET_TOO_BIG)
		put16(icmp + 6, mtu < UINT16_MAX ? mtu : UINT16_MAX);
	memcpy(icmp + ICMP_LEN, packet->head, quote);
	put16(icmp + 2, checksum(sum16(icmp, ICMP_LEN + quote, 0)));
	return length;
}

static uint32_t answer_ipv6(const struct packet *packet, enum packet_answer why, uint32_t mtu,
			    uint8_t *to)
{
	const uint32_t quote = packet->head_len, payload = ICMP_LEN + quote;
	uint8_t *icmp = to + IPV6_LEN;

	memset(to, 0, IPV6_LEN + ICMP_LEN);
	to[0] = 6 << 4;
	put16(to + 4, payload);
	to[6] = PROTOCOL_ICMPV6;
	to[7] = TTL;
	memcpy(to + 8, packet->destination, 16);
	memcpy(to + 24, packet->source, 16);

	icmp[0] = why == PACKET_TOO_BIG ? ICMPV6_TOO_BIG : ICMPV6_UNREACHABLE;
	if (why != PACKET_TOO_BIG)
		icmp[1] = why == PACKET_PROHIBITED ? ICMPV6_PROHIBITED : ICMPV6_ADDRESS;
	else
		put16(icmp + 6, mtu < UINT16_MAX ? mtu : UINT16_MAX);
	memcpy(icmp + ICMP_LEN, packet->head, quote);
	/* With the addresses, the length and the protocol: RFC 8200, 8.1. */
	put16(icmp + 2,
	      checksum(sum16(icmp, payload, sum16(to + 8, 32, payload + PROTOCOL_ICMPV6))));
	return IPV6_LEN + payload;
}

uint32_t packet_answer(const struct packet *packet, enum packet_answer why, uint32_t mtu,
		       uint8_t answer[PACKET_ANSWER])
{
	if (is_no_address(packet) || packet_is_for_many(packet))
		return 0;
	if (packet->ipv4)
		return may_answer_ipv4(packet) ? answer_ipv4(packet, why, mtu, answer) : 0;
	return may_answer_ipv6(packet) ? answer_ipv6(packet, why, mtu, answer) : 0;
}
