// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "lib/address.h"
#include "suite.h"

static bool matches(const char *prefix, const char *address)
{
	struct address_prefix a, b;

	ck_assert_msg(address_parse(prefix, &a), "%s", prefix);
	ck_assert_msg(address_parse(address, &b), "%s", address);
	return address_matches(&a, b.gid);
}

START_TEST(addresses_match_themselves_only)
{
	ck_assert(matches("10.0.0.1", "10.0.0.1"));
	ck_assert(!matches("10.0.0.1", "10.0.0.2"));
	ck_assert(matches("fd00::1", "fd00::1"));
	ck_assert(!matches("fd00::1", "fd00::2"));
	ck_assert(!matches("10.0.0.1", "::10.0.0.1"));
}
END_TEST

START_TEST(prefixes_match_to_the_bit)
{
	ck_assert(matches("10.0.0.0/8", "10.255.1.2"));
	ck_assert(!matches("10.0.0.0/8", "11.0.0.0"));
	ck_assert(matches("10.0.0.0/31", "10.0.0.1"));
	ck_assert(!matches("10.0.0.0/31", "10.0.0.2"));
	ck_assert(matches("192.168.128.0/17", "192.168.255.255"));
	ck_assert(!matches("192.168.128.0/17", "192.168.127.255"));
	ck_assert(matches("0.0.0.0/0", "1.2.3.4"));
	ck_assert(!matches("0.0.0.0/0", "fd00::1"));
	ck_assert(matches("::/0", "1.2.3.4"));
	ck_assert(matches("fd00::/9", "fd7f::1"));
	ck_assert(!matches("fd00::/9", "fd80::1"));
}
END_TEST

START_TEST(what_is_no_address_is_refused)
{
	static const char *const wrong[] = {
		"",
		"x",
		"10.0.0",
		"10.0.0.256",
		"10.0.0.0/",
		"10.0.0.0/33",
		"10.0.0.0/-1",
		"10.0.0.0/8x",
		"fd00::/129",
		"fd00:::1",
		"/8",
		"10.0.0.0/ 8",
		"10.0.0.0/99999999999999999999",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:1111:2222:3333:4444",
	};
	struct address_prefix prefix;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(!address_parse(wrong[i], &prefix), "%s", wrong[i]);
}
END_TEST

START_TEST(texts)
{
	uint8_t uuid[16] = { 0x12, 0x34, 0x56, 0x78, 0x9a, [15] = 0xff };
	struct address_prefix prefix;
	char text[ADDRESS_TEXT];

	address_parse("10.1.2.3", &prefix);
	ck_assert_str_eq(address_text(prefix.gid, text), "10.1.2.3");
	address_parse("fe80::1", &prefix);
	ck_assert_str_eq(address_text(prefix.gid, text), "fe80::1");
	ck_assert_str_eq(address_uuid_text(uuid, text), "12345678-9a00-0000-0000-0000000000ff");
}
END_TEST

START_TEST(macs)
{
	static const char *const wrong[] = {
		"",
		"02:00:00:00:00",
		"02:00:00:00:00:0",
		"02-00-00-00-00-01",
		"02:00:00:00:00:01x",
		"01:00:00:00:00:01",
		"00:00:00:00:00:00",
		"g2:00:00:00:00:01",
		"ff:ff:ff:ff:ff:ff",
	};
	uint8_t mac[6], gid[16];
	char text[ADDRESS_TEXT];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(!address_parse_mac(wrong[i], mac), "%s", wrong[i]);
	ck_assert(address_parse_mac("52:54:00:aB:cd:01", mac));
	address_link_local(mac, gid);
	ck_assert_str_eq(address_text(gid, text), "fe80::5054:ff:feab:cd01");
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("address");

	tcase_add_test(tc, addresses_match_themselves_only);
	tcase_add_test(tc, prefixes_match_to_the_bit);
	tcase_add_test(tc, what_is_no_address_is_refused);
	tcase_add_test(tc, texts);
	tcase_add_test(tc, macs);
	return suite_run("address", tc);
}
