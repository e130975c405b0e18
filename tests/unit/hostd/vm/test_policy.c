// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "lib/address.h"
#include "vm/policy.h"
#include "vm/vm.h"
#include "suite.h"

static struct vm_policy policies[3];
static struct vm vms[3];
static bool host_has_mac;
static const uint8_t host_mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

static bool default_mac(struct vm *vm, uint8_t mac[6])
{
	(void)vm;
	if (host_has_mac)
		memcpy(mac, host_mac, 6);
	return host_has_mac;
}

static const struct fabric_ops ops = { .default_mac = default_mac };

static void setup(void)
{
	for (int i = 0; i < 3; i++) {
		vms[i] = (struct vm){
			.id = i,
			.ops = &ops,
			.policy = &policies[i],
		};
		strcpy(vms[i].name, "same");
	}
	host_has_mac = false;
}

static void gid_of(const char *text, uint8_t gid[16])
{
	struct address_prefix prefix;

	ck_assert(address_parse(text, &prefix));
	memcpy(gid, prefix.gid, 16);
}

static int claim(int vm, const char *text)
{
	uint8_t gid[16];

	gid_of(text, gid);
	return policy_claim_gid(&vms[vm], gid);
}

static void release(int vm, const char *text)
{
	uint8_t gid[16];

	gid_of(text, gid);
	policy_release_gid(&vms[vm], gid);
}

START_TEST(an_address_is_one_vms_until_it_is_released)
{
	ck_assert_int_eq(claim(0, "10.0.0.1"), PVHCA_ST_OK);
	ck_assert_int_eq(claim(1, "10.0.0.1"), PVHCA_ST_IN_USE);
	ck_assert_int_eq(claim(1, "10.0.0.2"), PVHCA_ST_OK);
	release(0, "10.0.0.1");
	ck_assert_int_eq(claim(1, "10.0.0.1"), PVHCA_ST_OK);
	release(1, "10.0.0.1");
	release(1, "10.0.0.2");
}
END_TEST

START_TEST(settings_say_which_addresses_a_vm_may_have)
{
	char *allowed[] = { "10.1.0.0/16", "", "fd00::1", NULL };

	policies[0].addresses = allowed;
	ck_assert_int_eq(policy_claim_mac(&vms[0]), PVHCA_ST_OK);
	ck_assert_int_eq(claim(0, "10.2.0.1"), PVHCA_ST_DENIED);
	ck_assert_int_eq(claim(0, "fd00::2"), PVHCA_ST_DENIED);
	ck_assert_int_eq(claim(0, "10.1.9.9"), PVHCA_ST_OK);
	ck_assert_int_eq(claim(0, "fd00::1"), PVHCA_ST_OK);
	/* The default GID of its own MAC needs no permission. */
	uint8_t own[16];

	address_link_local(vms[0].mac, own);
	ck_assert_int_eq(policy_claim_gid(&vms[0], own), PVHCA_ST_OK);
	vms[0].mac[5] ^= 1;
	address_link_local(vms[0].mac, own);
	vms[0].mac[5] ^= 1;
	ck_assert_int_eq(policy_claim_gid(&vms[0], own), PVHCA_ST_DENIED);
}
END_TEST

START_TEST(the_default_address_of_the_hosts_mac_is_shared)
{
	uint8_t gid[16];

	host_has_mac = true;
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(policy_claim_mac(&vms[i]), PVHCA_ST_OK);
		ck_assert_mem_eq(vms[i].mac, host_mac, 6);
	}
	address_link_local(host_mac, gid);
	ck_assert_int_eq(policy_claim_gid(&vms[0], gid), PVHCA_ST_OK);
	ck_assert_int_eq(policy_claim_gid(&vms[1], gid), PVHCA_ST_OK);
	/* Not with one that has another MAC. */
	host_has_mac = false;
	policy_claim_mac(&vms[2]);
	ck_assert_int_eq(policy_claim_gid(&vms[2], gid), PVHCA_ST_IN_USE);
	policy_release_gid(&vms[0], gid);
	ck_assert_int_eq(policy_claim_gid(&vms[2], gid), PVHCA_ST_IN_USE);
	policy_release_gid(&vms[1], gid);
	ck_assert_int_eq(policy_claim_gid(&vms[2], gid), PVHCA_ST_OK);
}
END_TEST

START_TEST(macs_come_from_settings_then_qemu_then_host_then_identity)
{
	static const uint8_t wish[6] = { 2, 0, 0, 0, 0, 7 };
	static const uint8_t set[6] = { 2, 0, 0, 0, 0, 8 };

	memcpy(policies[0].mac, set, 6);
	policies[0].has_mac = true;
	memcpy(vms[0].hello_mac, wish, 6);
	ck_assert_int_eq(policy_claim_mac(&vms[0]), PVHCA_ST_OK);
	ck_assert_mem_eq(vms[0].mac, set, 6);

	host_has_mac = true;
	memcpy(vms[1].hello_mac, wish, 6);
	ck_assert_int_eq(policy_claim_mac(&vms[1]), PVHCA_ST_OK);
	ck_assert_mem_eq(vms[1].mac, wish, 6);

	/* The wish is taken already. */
	memcpy(vms[2].hello_mac, wish, 6);
	ck_assert_int_eq(policy_claim_mac(&vms[2]), PVHCA_ST_OK);
	ck_assert_mem_eq(vms[2].mac, host_mac, 6);
}
END_TEST

START_TEST(a_mac_in_the_settings_is_not_given_twice)
{
	static const uint8_t set[6] = { 2, 0, 0, 0, 0, 8 };

	for (int i = 0; i < 2; i++) {
		memcpy(policies[i].mac, set, 6);
		policies[i].has_mac = true;
	}
	ck_assert_int_eq(policy_claim_mac(&vms[0]), PVHCA_ST_OK);
	ck_assert_int_eq(policy_claim_mac(&vms[1]), PVHCA_ST_IN_USE);
	policy_release_mac(&vms[0]);
	ck_assert_int_eq(policy_claim_mac(&vms[1]), PVHCA_ST_OK);
}
END_TEST

START_TEST(derived_macs_are_the_same_each_time_and_never_shared)
{
	uint8_t first[6];

	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(policy_claim_mac(&vms[i]), PVHCA_ST_OK);
		ck_assert(address_mac_valid(vms[i].mac));
		ck_assert_uint_eq(vms[i].mac[0], 2);
	}
	ck_assert_mem_ne(vms[0].mac, vms[1].mac, 6);
	ck_assert_mem_ne(vms[1].mac, vms[2].mac, 6);
	memcpy(first, vms[0].mac, 6);
	policy_release_mac(&vms[0]);
	policy_claim_mac(&vms[0]);
	ck_assert_mem_eq(vms[0].mac, first, 6);
}
END_TEST

START_TEST(wishes_that_are_no_stations_address_are_ignored)
{
	vms[0].hello_mac[0] = 0x01;
	ck_assert_int_eq(policy_claim_mac(&vms[0]), PVHCA_ST_OK);
	ck_assert(address_mac_valid(vms[0].mac));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("policy");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, an_address_is_one_vms_until_it_is_released);
	tcase_add_test(tc, settings_say_which_addresses_a_vm_may_have);
	tcase_add_test(tc, the_default_address_of_the_hosts_mac_is_shared);
	tcase_add_test(tc, macs_come_from_settings_then_qemu_then_host_then_identity);
	tcase_add_test(tc, a_mac_in_the_settings_is_not_given_twice);
	tcase_add_test(tc, derived_macs_are_the_same_each_time_and_never_shared);
	tcase_add_test(tc, wishes_that_are_no_stations_address_are_ignored);
	return suite_run("policy", tc);
}
