// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "config/setting.h"
#include "config/text.h"
#include "lib/address.h"
#include "vm/policy.h"
#include "vm/vm.h"
#include "suite.h"

/* As config/ is told of fabrics. */
static const char *const fabric_names[] = { "loopback", NULL };
static const struct setting_table *const fabric_tables[] = { NULL };
static const struct config_fabrics fabrics = { fabric_names, fabric_tables, "loopback" };

static struct config *config;
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

static struct fabric_ops ops = { .default_mac = default_mac };

/* Settings from the text of a configuration file. */
static void configure(const char *text)
{
	config_free(config);
	config = config_of_text(text, &fabrics);
	for (int i = 0; i < 3; i++)
		vms[i].config = config;
}

/* As the settings have it for the VM of this name. */
static void be(int vm, const char *name)
{
	static const uint8_t no_uuid[16];

	vms[vm].policy = config_policy_new(config, name, no_uuid);
	g_strlcpy(vms[vm].name, name, sizeof(vms[vm].name));
}

static void teardown(void)
{
	for (int i = 0; i < 3; i++)
		if (vms[i].policy != &policies[i])
			config_policy_free(vms[i].policy);
	config_free(config);
}

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
	configure("");
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

START_TEST(each_network_has_its_own_owners)
{
	configure("[vm one]\nnetwork=red\naddresses=10.0.0.1\nmac=02:00:00:00:00:01\n"
		  "[vm two]\nnetwork=blue\n[vm three]\nnetwork=red\n");
	be(0, "one");
	be(1, "two");
	be(2, "three");
	for (int i = 0; i < 3; i++)
		vms[i].network = vms[i].policy->network;
	ck_assert_uint_ne(vms[0].network, vms[1].network);
	ck_assert_uint_eq(vms[0].network, vms[2].network);
	ck_assert_str_eq(config_network_name(vms[0].network), "red");
	ck_assert_str_eq(config_network_name(0), "default");

	ck_assert_int_eq(claim(2, "10.0.0.1"), PVHCA_ST_DENIED);
	ck_assert_int_eq(claim(1, "10.0.0.1"), PVHCA_ST_OK);
	ck_assert_int_eq(claim(0, "10.0.0.1"), PVHCA_ST_OK);
	ck_assert_int_eq(claim(1, "10.0.0.2"), PVHCA_ST_OK);
	ck_assert_int_eq(claim(2, "10.0.0.2"), PVHCA_ST_OK);
	release(1, "10.0.0.2");
	ck_assert_int_eq(claim(2, "10.0.0.2"), PVHCA_ST_OK);
	release(2, "10.0.0.2");
	release(2, "10.0.0.2");
	release(1, "10.0.0.1");
	release(0, "10.0.0.1");

	ck_assert_int_eq(policy_claim_mac(&vms[0]), PVHCA_ST_OK);
	memcpy(vms[1].hello_mac, vms[0].mac, 6);
	memcpy(vms[2].hello_mac, vms[0].mac, 6);
	ck_assert_int_eq(policy_claim_mac(&vms[1]), PVHCA_ST_OK);
	ck_assert_int_eq(policy_claim_mac(&vms[2]), PVHCA_ST_OK);
	ck_assert(!memcmp(vms[1].mac, vms[0].mac, 6));
	ck_assert(memcmp(vms[2].mac, vms[0].mac, 6));
	for (int i = 0; i < 3; i++)
		policy_release_mac(&vms[i]);
}
END_TEST

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

START_TEST(a_vm_may_have_an_address_more_than_once)
{
	ck_assert_int_eq(claim(0, "fe80::1"), PVHCA_ST_OK);
	ck_assert_int_eq(claim(0, "fe80::1"), PVHCA_ST_OK);
	release(0, "fe80::1");
	ck_assert_int_eq(claim(1, "fe80::1"), PVHCA_ST_IN_USE);
	release(0, "fe80::1");
	ck_assert_int_eq(claim(1, "fe80::1"), PVHCA_ST_OK);
	release(1, "fe80::1");
}
END_TEST

START_TEST(a_paired_vm_has_the_mac_that_it_was_given_or_none)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 0, 0, 7 };

	host_has_mac = true;
	vms[0].hello_pair = true;
	ck_assert(policy_is_paired(&vms[0]));
	ck_assert_int_eq(policy_claim_mac(&vms[0]), PVHCA_ST_INVALID);
	memcpy(vms[0].hello_mac, mac, 6);
	ck_assert_int_eq(policy_claim_mac(&vms[0]), PVHCA_ST_OK);
	ck_assert_mem_eq(vms[0].mac, mac, 6);
	/* Settings win over QEMU's wish, for one who pairs and for one who does not. */
	memcpy(policies[1].mac, mac, 6);
	policies[1].has_mac = policies[1].has_pair = policies[1].pair = true;
	ck_assert(policy_is_paired(&vms[1]));
	ck_assert_int_eq(policy_claim_mac(&vms[1]), PVHCA_ST_IN_USE);
	policy_release_mac(&vms[0]);
	ck_assert_int_eq(policy_claim_mac(&vms[1]), PVHCA_ST_OK);
	policy_release_mac(&vms[1]);
	policies[0].has_pair = true;
	ck_assert(!policy_is_paired(&vms[0]));
	ck_assert_int_eq(policy_claim_mac(&vms[0]), PVHCA_ST_OK);
	ck_assert_mem_eq(vms[0].mac, mac, 6);
	policy_release_mac(&vms[0]);
	memset(&policies, 0, sizeof(policies));
}
END_TEST

START_TEST(settings_say_which_addresses_a_vm_may_have)
{
	configure("[vm a]\naddresses=10.1.0.0/16, ,fd00::1\n");
	be(0, "a");
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

START_TEST(an_address_in_the_settings_is_kept_for_its_vm)
{
	configure("[vm a]\naddresses=10.0.0.5\n[vm b]\n[vm c]\naddresses=10.0.0.0/24\n");
	be(0, "a");
	be(1, "b");
	be(2, "c");
	/* Not for one with no list, not for one whose prefix has it, too. */
	ck_assert_int_eq(claim(1, "10.0.0.5"), PVHCA_ST_DENIED);
	ck_assert_int_eq(claim(2, "10.0.0.5"), PVHCA_ST_DENIED);
	ck_assert_int_eq(claim(0, "10.0.0.5"), PVHCA_ST_OK);
	release(0, "10.0.0.5");
	/* The rest of the prefix is the one's that has it. */
	ck_assert_int_eq(claim(1, "10.0.0.6"), PVHCA_ST_DENIED);
	ck_assert_int_eq(claim(2, "10.0.0.6"), PVHCA_ST_OK);
	ck_assert_int_eq(claim(1, "10.0.1.6"), PVHCA_ST_OK);
	release(2, "10.0.0.6");
	release(1, "10.0.1.6");
}
END_TEST

START_TEST(of_two_with_the_same_prefix_the_first_gets_an_address)
{
	configure("[vm a]\naddresses=10.0.0.0/24\n[vm b]\naddresses=10.0.0.0/24\n");
	be(0, "a");
	be(1, "b");
	ck_assert_int_eq(claim(1, "10.0.0.5"), PVHCA_ST_OK);
	ck_assert_int_eq(claim(0, "10.0.0.5"), PVHCA_ST_IN_USE);
	release(1, "10.0.0.5");
}
END_TEST

START_TEST(an_empty_list_means_no_address)
{
	configure("[vm a]\naddresses=\n");
	be(0, "a");
	ck_assert_int_eq(claim(0, "10.0.0.5"), PVHCA_ST_DENIED);
}
END_TEST

START_TEST(a_mac_in_the_settings_is_kept_for_its_vm)
{
	static const uint8_t set[6] = { 2, 0, 0, 0, 0, 8 };
	uint8_t gid[16];

	configure("[vm a]\nmac=02:00:00:00:00:08\n");
	be(0, "a");
	be(1, "b");
	memcpy(vms[1].hello_mac, set, 6);
	ck_assert_int_eq(policy_claim_mac(&vms[1]), PVHCA_ST_OK);
	ck_assert_mem_ne(vms[1].mac, set, 6);
	/* Nor the address that its guest's kernel makes from it. */
	address_link_local(set, gid);
	ck_assert_int_eq(policy_claim_gid(&vms[1], gid), PVHCA_ST_DENIED);
	ck_assert_int_eq(policy_claim_mac(&vms[0]), PVHCA_ST_OK);
	ck_assert_mem_eq(vms[0].mac, set, 6);
	ck_assert_int_eq(policy_claim_gid(&vms[0], gid), PVHCA_ST_OK);
}
END_TEST

START_TEST(the_link_local_address_of_a_vms_mac_is_its_own)
{
	uint8_t gid[16];

	ck_assert_int_eq(policy_claim_mac(&vms[0]), PVHCA_ST_OK);
	address_link_local(vms[0].mac, gid);
	ck_assert_int_eq(policy_claim_gid(&vms[1], gid), PVHCA_ST_IN_USE);
	ck_assert_int_eq(policy_claim_gid(&vms[0], gid), PVHCA_ST_OK);
}
END_TEST

START_TEST(who_wishes_for_the_hosts_mac_shares_it)
{
	uint8_t gid[16];

	host_has_mac = true;
	memcpy(vms[0].hello_mac, host_mac, 6);
	address_link_local(host_mac, gid);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(policy_claim_mac(&vms[i]), PVHCA_ST_OK);
		ck_assert_mem_eq(vms[i].mac, host_mac, 6);
		ck_assert_int_eq(policy_claim_gid(&vms[i], gid), PVHCA_ST_OK);
	}
}
END_TEST

START_TEST(addresses_of_the_host_are_for_vms_that_have_them_listed_where_no_others_are_served)
{
	static const char listed[] = "[vm a]\naddresses=10.0.0.5\n[vm b]\n[pvhcad]\nunlisted-vms=";
	char *text;

	ops.host_addresses = true;
	for (int unlisted = 0; unlisted < 2; unlisted++) {
		text = g_strconcat(listed, unlisted ? "true\n" : "false\n", NULL);
		configure(text);
		g_free(text);
		be(0, "a");
		be(1, "b");
		ck_assert_int_eq(claim(0, "10.0.0.5"), PVHCA_ST_OK);
		ck_assert_int_eq(claim(1, "10.0.0.6"), unlisted ? PVHCA_ST_OK : PVHCA_ST_DENIED);
		release(0, "10.0.0.5");
		for (int i = 0; i < 2; i++) {
			config_policy_free(vms[i].policy);
			vms[i].policy = &policies[i];
		}
	}
	ops.host_addresses = false;
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("policy");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, each_network_has_its_own_owners);
	tcase_add_test(tc, an_address_is_one_vms_until_it_is_released);
	tcase_add_test(tc, a_vm_may_have_an_address_more_than_once);
	tcase_add_test(tc, a_paired_vm_has_the_mac_that_it_was_given_or_none);
	tcase_add_test(tc, settings_say_which_addresses_a_vm_may_have);
	tcase_add_test(tc, the_default_address_of_the_hosts_mac_is_shared);
	tcase_add_test(tc, macs_come_from_settings_then_qemu_then_host_then_identity);
	tcase_add_test(tc, a_mac_in_the_settings_is_not_given_twice);
	tcase_add_test(tc, derived_macs_are_the_same_each_time_and_never_shared);
	tcase_add_test(tc, wishes_that_are_no_stations_address_are_ignored);
	tcase_add_test(tc, an_address_in_the_settings_is_kept_for_its_vm);
	tcase_add_test(tc, of_two_with_the_same_prefix_the_first_gets_an_address);
	tcase_add_test(tc, an_empty_list_means_no_address);
	tcase_add_test(tc, a_mac_in_the_settings_is_kept_for_its_vm);
	tcase_add_test(tc, the_link_local_address_of_a_vms_mac_is_its_own);
	tcase_add_test(tc, who_wishes_for_the_hosts_mac_shares_it);
	tcase_add_test(
		tc,
		addresses_of_the_host_are_for_vms_that_have_them_listed_where_no_others_are_served);
	return suite_run("policy", tc);
}
