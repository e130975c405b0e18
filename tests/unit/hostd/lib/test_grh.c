// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "lib/grh.h"

static const uint8_t v4_a[16] = { [10] = 0xff, 0xff, 10, 0, 0, 1 };
static const uint8_t v4_b[16] = { [10] = 0xff, 0xff, 224, 1, 2, 3 };
static const uint8_t v6[16] = { 0xfe, 0x80, [15] = 9 };

static const struct av av = {
	.flow_label = 0xabcde,
	.traffic_class = 0x42,
	.hop_limit = 7,
};

START_TEST(v4_mapped_gids_give_an_ipv4_header_in_the_second_half)
{
	/* Its checksum by hand: 0x4542 + 0x004c + 0x4000 + 0x0711 + 0x0a00 + 0x0001 + 0xe001 + 0x0203 */
	static const uint8_t want[40] = {
		[20] = 0x45, 0x42, 0x00, 0x4c, 0x00, 0x00, 0x40, 0x00, 0x07, 0x11,
		0x87,	     0x5a, 10,	 0,    0,    1,	   224,	 1,    2,    3,
	};
	uint8_t grh[GRH_LEN];

	memset(grh, 0xee, sizeof(grh));
	grh_fill(grh, &av, v4_a, v4_b, 21);
	ck_assert_mem_eq(grh, want, sizeof(want));
}
END_TEST

START_TEST(checksum_over_the_header_is_right)
{
	uint8_t grh[GRH_LEN];
	uint32_t sum = 0, i, len;

	for (len = 0; len <= 4096; len += 17) {
		grh_fill(grh, &av, v4_a, v4_b, len);
		for (sum = 0, i = 20; i < 40; i += 2)
			sum += grh[i] << 8 | grh[i + 1];
		ck_assert_uint_eq((sum & 0xffff) + (sum >> 16), 0xffff);
	}
}
END_TEST

START_TEST(other_gids_give_an_ipv6_header)
{
	uint8_t grh[GRH_LEN];

	grh_fill(grh, &av, v6, v4_a, 100);
	ck_assert_uint_eq(grh[0] >> 4, 6);
	ck_assert_uint_eq((grh[0] & 15) << 4 | grh[1] >> 4, 0x42);
	ck_assert_uint_eq((grh[1] & 15) << 16 | grh[2] << 8 | grh[3], 0xabcde);
	ck_assert_uint_eq(grh[4] << 8 | grh[5], 8 + 12 + 8 + 100 + 4);
	ck_assert_uint_eq(grh[6], 17);
	ck_assert_uint_eq(grh[7], 7);
	ck_assert_mem_eq(grh + 8, v6, 16);
	ck_assert_mem_eq(grh + 24, v4_a, 16);
}
END_TEST

/* As it stands in the memory of who received it; the first 20 bytes before IPv4 are anything. */
START_TEST(a_header_tells_its_type)
{
	uint8_t grh[GRH_LEN];

	for (unsigned int first = 0; first < 256; first++) {
		grh_fill(grh, &av, v4_a, v4_b, 64);
		memset(grh, first, 20);
		ck_assert_uint_eq(grh_header_type(grh), grh_packet_type(v4_a, v4_b));
	}
	grh_fill(grh, &av, v6, v6, 64);
	ck_assert_uint_eq(grh_header_type(grh), grh_packet_type(v6, v6));
	/* An address that looks like the beginning of an IPv4 header. */
	grh[20] = 0x45;
	ck_assert_uint_eq(grh_header_type(grh), GRH_SL_ROCE_V2 | GRH_SL_IPV6);
}
END_TEST

/* rxe, for packets that stay on its device. */
START_TEST(an_ipv4_header_need_not_have_a_checksum)
{
	uint8_t grh[GRH_LEN];

	grh_fill(grh, &av, v4_a, v4_b, 64);
	grh[30] = grh[31] = 0;
	ck_assert_uint_eq(grh_header_type(grh), GRH_SL_ROCE_V2 | GRH_SL_IPV4);
	/* Unless it could be the second half of an IPv6 header. */
	grh[0] = 0x60;
	ck_assert_uint_eq(grh_header_type(grh), GRH_SL_ROCE_V2 | GRH_SL_IPV6);
}
END_TEST

START_TEST(what_is_no_header_has_no_type)
{
	uint8_t grh[GRH_LEN] = { 0 };

	ck_assert_uint_eq(grh_header_type(grh), 0);
	grh_fill(grh, &av, v4_a, v4_b, 64);
	grh[20] = 0x46; /* options */
	ck_assert_uint_eq(grh_header_type(grh), 0);
}
END_TEST

START_TEST(addresses_are_read_and_replaced)
{
	static const uint8_t v6_b[16] = { 0xfd, [15] = 0xb };
	uint8_t grh[GRH_LEN], other[GRH_LEN], source[16], destination[16];
	uint8_t type = grh_packet_type(v4_a, v4_b);

	grh_fill(grh, &av, v4_a, v4_b, 64);
	grh_addresses(grh, type, source, destination);
	ck_assert_mem_eq(source, v4_a, 16);
	ck_assert_mem_eq(destination, v4_b, 16);
	grh_set_addresses(grh, type, v4_b, v4_a);
	grh_fill(other, &av, v4_b, v4_a, 64);
	ck_assert_mem_eq(grh, other, GRH_LEN);
	type = grh_packet_type(v6, v6_b);
	grh_fill(grh, &av, v6, v6_b, 64);
	grh_addresses(grh, type, source, destination);
	ck_assert_mem_eq(source, v6, 16);
	ck_assert_mem_eq(destination, v6_b, 16);
	grh_set_addresses(grh, type, v6_b, v6);
	grh_fill(other, &av, v6_b, v6, 64);
	ck_assert_mem_eq(grh, other, GRH_LEN);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("grh");
	TCase *tcase = tcase_create("headers");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, v4_mapped_gids_give_an_ipv4_header_in_the_second_half);
	tcase_add_test(tcase, checksum_over_the_header_is_right);
	tcase_add_test(tcase, other_gids_give_an_ipv6_header);
	tcase_add_test(tcase, a_header_tells_its_type);
	tcase_add_test(tcase, an_ipv4_header_need_not_have_a_checksum);
	tcase_add_test(tcase, what_is_no_header_has_no_type);
	tcase_add_test(tcase, addresses_are_read_and_replaced);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
