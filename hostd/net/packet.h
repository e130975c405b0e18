/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Heads of IP packets, as a guest wrote them, ICMP errors that answer them, and pieces of those
 * of TCP that stand for several packets: RFC 791, 792, 8200, 4443, 9293. Nothing here touches guest memory.
 */
#ifndef HOSTD_NET_PACKET_H
#define HOSTD_NET_PACKET_H

#include <stdbool.h>
#include <stdint.h>

/* So much of a packet is copied before it is looked at. Holds any IPv4 header. */
#define PACKET_HEAD 128u
/* The longest answer: IPv6 and ICMPv6 header, and the head. */
#define PACKET_ANSWER (40 + 8 + PACKET_HEAD)
/* The longest packet, bytes. */
#define PACKET_MAX 65535u

/**
 * struct packet - the head of a packet
 * @head, @head_len: the first bytes of it: PACKET_HEAD, or all
 * @length: of the packet: before packet_parse() what the guest gave, then what the header says
 * @header_len: of the IP header, without IPv6 extensions
 * @segment: payload of each of the packets of TCP that this one stands for; 0: it is one
 * @headers_len: with @segment: of the headers of IP and TCP
 * @ipv4: or IPv6
 * @source, @destination: as GIDs
 */
struct packet {
	uint8_t head[PACKET_HEAD];
	uint32_t head_len;
	uint32_t length;
	uint32_t header_len;
	uint16_t segment;
	uint32_t headers_len;
	bool ipv4;
	uint8_t source[16];
	uint8_t destination[16];
};

enum packet_answer {
	PACKET_UNREACHABLE, /* nobody has this address */
	PACKET_PROHIBITED,  /* the sender may not send from this address */
	PACKET_TOO_BIG,	    /* the receiver takes only so many bytes */
};

/* head, head_len and length are set. False: it is no IP packet that fits into its length. */
bool packet_parse(struct packet *packet);

/*
 * Is this the place of a checksum that the receiver is to fill in? As in
 * struct pvhca_sq_wqe.remote_qpn; 0: none.
 */
bool packet_checksum_is_valid(const struct packet *packet, uint32_t place);

/*
 * The packet stands for several, of segment bytes each: struct pvhca_sq_wqe.remote_qkey; its
 * checksum is to be filled in at that place. It does not, if one is enough. False: such a packet
 * cannot be cut.
 */
bool packet_set_segment(struct packet *packet, uint32_t place, uint32_t segment);

/* The number of packets that it stands for. */
uint32_t packet_pieces(const struct packet *packet);

/*
 * The head of the packet number index of them, whose payload is not in it. Returns the place of
 * the payload in the whole packet. The place of the checksum holds the sum for the piece's length.
 */
uint32_t packet_cut(const struct packet *whole, uint32_t index, struct packet *piece);

/* Of a group, or of all: it has no owner, and no error answers it. */
bool packet_is_for_many(const struct packet *packet);

/*
 * The ICMP error for a packet, from its destination to its source. mtu: with PACKET_TOO_BIG.
 * Returns its length, at most PACKET_ANSWER bytes, or 0: no error may answer this packet, for
 * it is an error itself or a later fragment (RFC 1122, 3.2.2; RFC 4443, 2.4).
 */
uint32_t packet_answer(const struct packet *packet, enum packet_answer why, uint32_t mtu,
		       uint8_t answer[PACKET_ANSWER]);

#endif
