// SPDX-License-Identifier: GPL-2.0-or-later
/* Heads of packets that make sense, and those that do not; errors, and what none may answer. */
#include <check.h>
#include <string.h>

#include "net/packet.h"
#include "pvhca/pvhca-admin.h"
#include "suite.h"

static const uint8_t v4[] = {
	0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8,
};

static struct packet packet_of(const uint8_t *bytes, uint32_t length)
{
	struct packet packet = { .length = length };

	packet.head_len = length < PACKET_HEAD ? length : PACKET_HEAD;
	memcpy(packet.head, bytes, packet.head_len);
	return packet;
}

static struct packet ipv4_packet(void)
{
	return packet_of(v4, sizeof(v4));
}

static struct packet ipv6_packet(uint32_t payload)
{
	uint8_t bytes[PACKET_HEAD] = { 0x60, 0, 0, 0, payload >> 8, payload, 17, 64 };

	bytes[8] = bytes[24] = 0xfd;
	bytes[23] = 1;
	bytes[39] = 2;
	return packet_of(bytes, 40 + payload);
}

START_TEST(addresses_are_read)
{
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff, 10, 0, 0, 1 };
	static const uint8_t native[16] = { 0xfd, [15] = 2 };
	struct packet packet = ipv4_packet();

	ck_assert(packet_parse(&packet));
	ck_assert(packet.ipv4);
	ck_assert_mem_eq(packet.source, mapped, 16);
	ck_assert_uint_eq(packet.header_len, 20);
	packet = ipv6_packet(60000);
	ck_assert(packet_parse(&packet));
	ck_assert(!packet.ipv4);
	ck_assert_mem_eq(packet.destination, native, 16);
	ck_assert_uint_eq(packet.length, 60040);
}
END_TEST

START_TEST(no_length_is_believed_beyond_the_packet)
{
	for (uint32_t length = 0; length < sizeof(v4); length++) {
		struct packet packet = packet_of(v4, length);

		ck_assert(!packet_parse(&packet));
	}
	for (uint32_t length = 0; length < 100; length++) {
		struct packet packet = ipv6_packet(60);

		packet.length = length;
		packet.head_len = length;
		ck_assert(!packet_parse(&packet));
	}
}
END_TEST

START_TEST(headers_that_lie_are_refused)
{
	static const struct {
		uint8_t at, value;
	} lies[] = { { 0, 0x44 }, { 0, 0x4f }, { 0, 0x55 }, { 0, 0x05 },
		     { 2, 0xff }, { 3, 19 },   { 3, 29 } };

	for (unsigned int i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct packet packet = ipv4_packet();

		packet.head[lies[i].at] = lies[i].value;
		ck_assert(!packet_parse(&packet));
	}
}
END_TEST

START_TEST(place_of_a_checksum_lies_in_the_packet)
{
	struct packet packet = ipv4_packet();

	ck_assert(packet_parse(&packet));
	ck_assert(packet_checksum_is_valid(&packet, 0));
	ck_assert(packet_checksum_is_valid(&packet, 20 | 6u << 16));
	ck_assert(!packet_checksum_is_valid(&packet, 20 | 7u << 16));
	ck_assert(!packet_checksum_is_valid(&packet, 19 | 6u << 16));
	ck_assert(!packet_checksum_is_valid(&packet, 0xffffffff));
}
END_TEST

/* What the receiver of the answer sums up is all ones. */
static uint16_t sum(const uint8_t *from, uint32_t length, uint32_t start)
{
	for (uint32_t i = 0; i < length; i++)
		start += i % 2 ? from[i] : from[i] << 8;
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return start;
}

START_TEST(errors_are_right)
{
	static const enum packet_answer why[] = { PACKET_UNREACHABLE, PACKET_PROHIBITED,
						  PACKET_TOO_BIG };
	uint8_t answer[PACKET_ANSWER];
	struct packet packet;
	uint32_t length;

	for (unsigned int i = 0; i < 3; i++) {
		packet = ipv4_packet();
		ck_assert(packet_parse(&packet));
		length = packet_answer(&packet, why[i], 1500, answer);
		ck_assert_uint_eq(length, 28 + sizeof(v4));
		ck_assert_uint_eq(sum(answer, 20, 0), 0xffff);
		ck_assert_uint_eq(sum(answer + 20, length - 20, 0), 0xffff);
		ck_assert_mem_eq(answer + 28, v4, sizeof(v4));
		ck_assert_mem_eq(answer + 16, v4 + 12, 4);
		for (uint32_t payload = 0; payload < 200; payload += 13) {
			packet = ipv6_packet(payload);
			ck_assert(packet_parse(&packet));
			length = packet_answer(&packet, why[i], 1500, answer);
			ck_assert_uint_eq(length, 48 + packet.head_len);
			ck_assert_uint_le(length, PACKET_ANSWER);
			ck_assert_uint_eq(sum(answer + 8, length - 8, length - 40 + 58), 0xffff);
		}
	}
}
END_TEST

START_TEST(no_error_answers_an_error)
{
	uint8_t answer[PACKET_ANSWER];
	struct packet packet = ipv4_packet();

	packet.head[9] = 1; /* ICMP */
	ck_assert(packet_parse(&packet));
	packet.head[20] = 3;
	ck_assert_uint_eq(packet_answer(&packet, PACKET_UNREACHABLE, 0, answer), 0);
	packet.head[20] = 8;
	ck_assert_uint_ne(packet_answer(&packet, PACKET_UNREACHABLE, 0, answer), 0);
	/* A later fragment. */
	packet.head[7] = 1;
	ck_assert_uint_eq(packet_answer(&packet, PACKET_UNREACHABLE, 0, answer), 0);

	packet = ipv6_packet(8);
	packet.head[6] = 58;
	ck_assert(packet_parse(&packet));
	packet.head[40] = 1;
	ck_assert_uint_eq(packet_answer(&packet, PACKET_UNREACHABLE, 0, answer), 0);
	packet.head[40] = 128;
	ck_assert_uint_ne(packet_answer(&packet, PACKET_UNREACHABLE, 0, answer), 0);
	packet = ipv6_packet(0);
	packet.head[6] = 58;
	ck_assert(packet_parse(&packet));
	ck_assert_uint_eq(packet_answer(&packet, PACKET_UNREACHABLE, 0, answer), 0);
}
END_TEST

START_TEST(groups_and_no_address_are_not_answered)
{
	uint8_t answer[PACKET_ANSWER];
	struct packet packet = ipv4_packet();

	packet.head[16] = 224;
	ck_assert(packet_parse(&packet));
	ck_assert(packet_is_for_many(&packet));
	ck_assert_uint_eq(packet_answer(&packet, PACKET_UNREACHABLE, 0, answer), 0);
	packet = ipv4_packet();
	memset(packet.head + 12, 0, 4);
	ck_assert(packet_parse(&packet));
	ck_assert_uint_eq(packet_answer(&packet, PACKET_UNREACHABLE, 0, answer), 0);
	packet = ipv4_packet();
	memset(packet.head + 16, 255, 4);
	ck_assert(packet_parse(&packet));
	ck_assert(packet_is_for_many(&packet));
}
END_TEST

/* ---------------------------------- pieces --------------------------------- */

#define PAYLOAD 5000u
#define SEGMENT 1400u
#define FLAGS	0x99 /* FIN, PSH, ACK, CWR */
#define PLACE	(16u << 16)

/* The sum of what TCP adds to its own bytes. */
static uint16_t pseudo_sum(const struct packet *packet, uint32_t length)
{
	return packet->ipv4 ? sum(packet->head + 12, 8, length + 6) :
			      sum(packet->head + 8, 32, length + 6);
}

/* With options of TCP, as a guest's kernel leaves it: the checksum is to be filled in. */
static struct packet tcp_packet(bool ipv4)
{
	struct packet packet = ipv4 ? ipv4_packet() : ipv6_packet(0);
	const uint32_t start = ipv4 ? 20 : 40, payload = 32 + PAYLOAD;
	uint8_t *tcp = packet.head + start;
	uint16_t partial;

	packet.length = start + payload;
	packet.head_len = PACKET_HEAD;
	packet.head[ipv4 ? 9 : 6] = 6;
	packet.head[ipv4 ? 2 : 4] = (ipv4 ? packet.length : payload) >> 8;
	packet.head[ipv4 ? 3 : 5] = ipv4 ? packet.length : payload;
	tcp[4] = tcp[5] = tcp[6] = tcp[7] = 0xff; /* the number runs over */
	tcp[12] = 8 << 4;
	tcp[13] = FLAGS;
	ck_assert(packet_parse(&packet));
	partial = pseudo_sum(&packet, payload);
	tcp[16] = partial >> 8;
	tcp[17] = partial;
	return packet;
}

START_TEST(pieces_are_packets_of_their_own)
{
	const bool ipv4 = _i;
	struct packet whole = tcp_packet(ipv4), piece;
	const uint32_t start = whole.header_len;

	ck_assert(packet_set_segment(&whole, start | PLACE, SEGMENT));
	ck_assert_uint_eq(whole.headers_len, start + 32);
	ck_assert_uint_eq(packet_pieces(&whole), 4);
	for (uint32_t i = 0; i < 4; i++) {
		const uint32_t payload = i < 3 ? SEGMENT : PAYLOAD - 3 * SEGMENT;
		const uint8_t *tcp = piece.head + start;

		ck_assert_uint_eq(packet_cut(&whole, i, &piece), whole.headers_len + i * SEGMENT);
		ck_assert_uint_eq(piece.length, whole.headers_len + payload);
		ck_assert_uint_eq(piece.head_len, whole.headers_len);
		ck_assert_uint_eq((uint32_t)tcp[4] << 24 | tcp[5] << 16 | tcp[6] << 8 | tcp[7],
				  0xffffffffu + i * SEGMENT);
		ck_assert_uint_eq(tcp[13], 0x10 | (i ? 0 : 0x80) | (i < 3 ? 0 : 0x09));
		ck_assert_uint_eq(tcp[16] << 8 | tcp[17], pseudo_sum(&piece, 32 + payload));
		/* Its head, taken for itself. */
		piece.head_len = piece.length < PACKET_HEAD ? piece.length : PACKET_HEAD;
		ck_assert(packet_parse(&piece));
		ck_assert_uint_eq(piece.length, whole.headers_len + payload);
		if (!ipv4)
			continue;
		ck_assert_uint_eq(sum(piece.head, 20, 0), 0xffff);
		ck_assert_uint_eq(piece.head[5], 1 + i);
	}
}
END_TEST

START_TEST(packet_that_fits_is_one)
{
	struct packet packet = tcp_packet(true);

	ck_assert(packet_set_segment(&packet, 20 | PLACE, PAYLOAD));
	ck_assert_uint_eq(packet.segment, 0);
	ck_assert_uint_eq(packet_pieces(&packet), 1);
	ck_assert(packet_set_segment(&packet, 20 | PLACE, PAYLOAD - 1));
	ck_assert_uint_eq(packet_pieces(&packet), 2);
}
END_TEST

START_TEST(what_is_no_tcp_is_not_cut)
{
	static const struct {
		uint8_t at, value;
	} lies[] = {
		{ 9, 17 },	/* UDP */
		{ 6, 0x20 },	/* a fragment, and more follow */
		{ 7, 1 },	/* a later one */
		{ 32, 4 << 4 }, /* a header of 16 bytes */
	};
	struct packet packet;

	for (unsigned int i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		packet = tcp_packet(true);
		packet.head[lies[i].at] = lies[i].value;
		ck_assert(!packet_set_segment(&packet, 20 | PLACE, SEGMENT));
	}
	packet = tcp_packet(true);
	ck_assert(!packet_set_segment(&packet, 0, SEGMENT));
	ck_assert(!packet_set_segment(&packet, 24 | PLACE, SEGMENT));
	ck_assert(!packet_set_segment(&packet, 20 | 6u << 16, SEGMENT));
	ck_assert(!packet_set_segment(&packet, 20 | PLACE, PVHCA_NET_MIN_SEGMENT - 1));
	ck_assert(!packet_set_segment(&packet, 20 | PLACE, 1 << 16 | SEGMENT));
	packet.head_len = 39;
	ck_assert(!packet_set_segment(&packet, 20 | PLACE, SEGMENT));
	packet.head_len = 51;
	ck_assert(!packet_set_segment(&packet, 20 | PLACE, SEGMENT));
	packet = tcp_packet(false);
	packet.head[6] = 0; /* hop-by-hop options */
	ck_assert(!packet_set_segment(&packet, 40 | PLACE, SEGMENT));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("packet");

	tcase_add_test(tc, addresses_are_read);
	tcase_add_test(tc, no_length_is_believed_beyond_the_packet);
	tcase_add_test(tc, headers_that_lie_are_refused);
	tcase_add_test(tc, place_of_a_checksum_lies_in_the_packet);
	tcase_add_test(tc, errors_are_right);
	tcase_add_test(tc, no_error_answers_an_error);
	tcase_add_test(tc, groups_and_no_address_are_not_answered);
	tcase_add_loop_test(tc, pieces_are_packets_of_their_own, 0, 2);
	tcase_add_test(tc, packet_that_fits_is_one);
	tcase_add_test(tc, what_is_no_tcp_is_not_cut);
	return suite_run("packet", tc);
}
