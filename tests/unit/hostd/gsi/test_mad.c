// SPDX-License-Identifier: GPL-2.0-or-later
#include <check.h>

#include "gsi/mad.h"
#include "suite.h"

START_TEST(fields_stand_where_the_specification_has_them)
{
	struct mad mad;

	memset(&mad, 0, sizeof(mad));
	mad_set(&mad, REQ_QPN, 0x123456);
	ck_assert_uint_eq(mad.bytes[24 + 32], 0x12);
	ck_assert_uint_eq(mad.bytes[24 + 34], 0x56);
	mad_set(&mad, REQ_RESPONDER, 0x7f);
	ck_assert_uint_eq(mad.bytes[24 + 35], 0x7f);
	/* Table 103: five bits of time-out, then three of retries. */
	mad_set(&mad, REQ_LOCAL_TIMEOUT, 20);
	mad_set(&mad, REQ_RETRY_COUNT, 7);
	ck_assert_uint_eq(mad.bytes[24 + 47], 20 << 3 | 7);
	mad_set(&mad, REQ_SERVICE_ID, 0x0000000001061c06ull);
	ck_assert_uint_eq(mad.bytes[24 + 12], 1);
	ck_assert_uint_eq(mad.bytes[24 + 15], 0x06);
}
END_TEST

START_TEST(what_was_set_is_got_and_neighbours_stay)
{
	struct mad mad;

	memset(&mad, 0xff, sizeof(mad));
	mad_set(&mad, REP_ACK_DELAY, 0);
	mad_set(&mad, REP_FLOW_CONTROL, 0);
	ck_assert_uint_eq(mad_get(&mad, REP_ACK_DELAY), 0);
	ck_assert_uint_eq(mad_get(&mad, REP_FAILOVER), 3);
	ck_assert_uint_eq(mad_get(&mad, REP_FLOW_CONTROL), 0);
	ck_assert_uint_eq(mad_get(&mad, REP_RNR_RETRY), 7);
	mad_set(&mad, REP_RNR_RETRY, 0xfd);
	ck_assert_uint_eq(mad_get(&mad, REP_RNR_RETRY), 5);
	ck_assert_uint_eq(mad_get(&mad, REP_SRQ), 1);
	mad_set(&mad, REP_CA_GUID, 0x0123456789abcdefull);
	ck_assert_uint_eq(mad_get(&mad, REP_CA_GUID), 0x0123456789abcdefull);
}
END_TEST

START_TEST(only_the_cm_class_is_recognised)
{
	struct mad mad;

	mad_init(&mad, MAD_DREQ, 77);
	ck_assert(mad_is_cm(&mad));
	ck_assert_uint_eq(mad_get(&mad, MAD_ATTRIBUTE), MAD_DREQ);
	ck_assert_uint_eq(mad_get(&mad, MAD_TID), 77);
	mad_set(&mad, MAD_CLASS, 4); /* performance management */
	ck_assert(!mad_is_cm(&mad));
	mad_init(&mad, MAD_DREQ, 77);
	mad_set(&mad, MAD_METHOD, 1);
	ck_assert(!mad_is_cm(&mad));
}
END_TEST

START_TEST(addresses_of_ip_requests_come_back)
{
	static const struct ip_cm_request v4 = {
		.protocol = IP_CM_TCP,
		.port = 7174,
		.source_port = 40000,
		.source = { [10] = 0xff, 0xff, 10, 0, 0, 1 },
		.destination = { [10] = 0xff, 0xff, 10, 0, 0, 2 },
	};
	static const struct ip_cm_request v6 = {
		.protocol = IP_CM_UDP,
		.port = 1,
		.source_port = 2,
		.source = { 0xfd, [15] = 1 },
		.destination = { 0xfd, [15] = 2 },
	};
	uint8_t header[IP_CM_HEADER_LEN];
	struct ip_cm_request got;

	memset(header, 0, sizeof(header));
	memset(&got, 0, sizeof(got));
	ip_cm_build(&v4, header);
	ck_assert_uint_eq(header[1], 0x40);
	ck_assert_uint_eq(header[14], 0); /* no mapped prefix on the wire */
	ck_assert_uint_eq(header[16], 10);
	ck_assert(ip_cm_parse(ip_cm_service_id(&v4), header, &got));
	ck_assert(!memcmp(&v4, &got, sizeof(got)));

	memset(&got, 0, sizeof(got));
	ip_cm_build(&v6, header);
	ck_assert(ip_cm_parse(ip_cm_service_id(&v6), header, &got));
	ck_assert(!memcmp(&v6, &got, sizeof(got)));
}
END_TEST

START_TEST(other_services_and_versions_are_no_ip_requests)
{
	uint8_t header[IP_CM_HEADER_LEN] = { 0, 0x40 };
	struct ip_cm_request got;

	ck_assert(ip_cm_parse(0x0000000001060001ull, header, &got));
	ck_assert(!ip_cm_parse(0x00000000013f0001ull, header, &got));
	ck_assert(!ip_cm_parse(0x1000000001060001ull, header, &got));
	header[1] = 0x50;
	ck_assert(!ip_cm_parse(0x0000000001060001ull, header, &got));
	header[1] = 0x40;
	header[0] = 1;
	ck_assert(!ip_cm_parse(0x0000000001060001ull, header, &got));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("mad");

	tcase_add_test(tc, fields_stand_where_the_specification_has_them);
	tcase_add_test(tc, what_was_set_is_got_and_neighbours_stay);
	tcase_add_test(tc, only_the_cm_class_is_recognised);
	tcase_add_test(tc, addresses_of_ip_requests_come_back);
	tcase_add_test(tc, other_services_and_versions_are_no_ip_requests);
	return suite_run("mad", tc);
}
