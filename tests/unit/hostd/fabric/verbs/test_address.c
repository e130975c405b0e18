// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fabric/verbs/address.c with a host's table of addresses that is played here: which of them
 * stands for a guest's, where peers are, and what the headers of datagrams show.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/setting.h"
#include "config/text.h"
#include "fabric/verbs/cm/cm.h"
#include "fabric/verbs/private.h"
#include "lib/address.h"
#include "suite.h"

#define VLAN_OF_THE_HOST 7
#define PLAIN		 3 /* indices of interfaces */
#define TAGGED		 4

/* ------------------------------- the host's table -------------------------- */

static struct ibv_gid_entry table[8];
static unsigned int asked; /* entries of it */

int _ibv_query_gid_ex(struct ibv_context *context, uint32_t port, uint32_t index,
		      struct ibv_gid_entry *entry, uint32_t flags, size_t size)
{
	static const uint8_t none[16];

	(void)context;
	(void)flags;
	(void)size;
	ck_assert_uint_eq(port, 1);
	asked++;
	if (index >= G_N_ELEMENTS(table) || !memcmp(table[index].gid.raw, none, sizeof(none)))
		return ENODATA;
	*entry = table[index];
	return 0;
}

uint16_t verbs_vlan_of(uint32_t ifindex)
{
	return ifindex == TAGGED ? VLAN_OF_THE_HOST : PVHCA_NO_VLAN;
}

static void gid_of(const char *text, uint8_t gid[16])
{
	struct address_prefix prefix;

	ck_assert(address_parse(text, &prefix));
	memcpy(gid, prefix.gid, 16);
}

static void host_has(unsigned int index, const char *text, uint32_t ifindex, uint32_t type)
{
	gid_of(text, table[index].gid.raw);
	table[index].ndev_ifindex = ifindex;
	table[index].gid_type = type;
}

/* ---------------------------- the rest of pvhcad --------------------------- */

static char cm_last[ADDRESS_TEXT];
static unsigned int cm_gids;
static bool cm_full;

int cm_gid_add(struct cm_vm *cv, const uint8_t gid[16], const uint8_t host[16], uint32_t ifindex)
{
	(void)cv;
	(void)gid;
	(void)ifindex;
	address_text(host, cm_last);
	cm_gids += !cm_full;
	return cm_full ? -ENOMEM : 0;
}

void cm_gid_del(struct cm_vm *cv, const uint8_t gid[16])
{
	(void)cv;
	(void)gid;
	cm_gids--;
}

/* ----------------------------------- two VMs ------------------------------- */

static struct config *config;
static struct vm vms[2];
static struct verbs_vm vvs[2];
static struct fabric fabric = { .port = 1 };
static struct verbs_context *verbs_context;

static int host_query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *attr,
			   size_t size)
{
	(void)context;
	(void)port;
	(void)size;
	attr->gid_tbl_len = G_N_ELEMENTS(table);
	return 0;
}

/* As config/ is told of fabrics. */
static const char *const fabric_names[] = { "loopback", NULL };
static const struct setting_table *const fabric_tables[] = { NULL };
static const struct config_fabrics fabrics = { fabric_names, fabric_tables, "loopback" };

/* The VMs are "a" and "b", with settings from the text of a configuration file. */
static void configure(const char *text)
{
	static const uint8_t no_uuid[16];

	for (int i = 0; i < 2; i++)
		config_policy_free(vms[i].policy);
	config_free(config);
	config = config_of_text(text, &fabrics);
	for (int i = 0; i < 2; i++) {
		vms[i].config = config;
		vms[i].policy = config_policy_new(config, i ? "b" : "a", no_uuid);
	}
}

#define TRANSLATE "[pvhcad]\ntranslate=true\n"

static void setup(void)
{
	memset(table, 0, sizeof(table));
	host_has(0, "fe80::1", PLAIN, IBV_GID_TYPE_ROCE_V1);
	host_has(1, "fe80::1", PLAIN, IBV_GID_TYPE_ROCE_V2);
	host_has(2, "10.0.0.1", PLAIN, IBV_GID_TYPE_ROCE_V2);
	host_has(3, "10.0.0.2", PLAIN, IBV_GID_TYPE_ROCE_V2);
	host_has(4, "fd00::1", PLAIN, IBV_GID_TYPE_ROCE_V2);
	host_has(5, "10.7.0.1", TAGGED, IBV_GID_TYPE_ROCE_V2);
	host_has(6, "fe80::1", TAGGED, IBV_GID_TYPE_ROCE_V2);
	verbs_context = calloc(1, sizeof(*verbs_context));
	verbs_context->sz = sizeof(*verbs_context);
	verbs_context->query_port = host_query_port;
	verbs_context->context.abi_compat = __VERBS_ABI_IS_EXTENDED;
	fabric.addresses = verbs_addresses_new();
	configure(TRANSLATE);
	for (int i = 0; i < 2; i++) {
		vvs[i].fabric = &fabric;
		vvs[i].context = &verbs_context->context;
		vms[i].fabric_vm = &vvs[i];
		pthread_mutex_init(&vms[i].gid_lock, NULL);
	}
}

static void teardown(void)
{
	for (int vm = 0; vm < 2; vm++)
		for (unsigned int i = 0; i < VM_GIDS; i++)
			if (vms[vm].gids[i].used) {
				verbs_gid_del(&vms[vm], i, vms[vm].gids[i].gid);
				vm_set_gid(&vms[vm], i, NULL, PVHCA_NO_VLAN);
			}
	ck_assert_uint_eq(cm_gids, 0);
	ck_assert_uint_eq(vvs[0].translated, 0);
	verbs_addresses_free(fabric.addresses);
	for (int i = 0; i < 2; i++)
		config_policy_free(vms[i].policy);
	config_free(config);
	free(verbs_context);
}

static int take(int vm, uint32_t index, const char *text, uint16_t vlan)
{
	uint8_t gid[16];
	int status;

	gid_of(text, gid);
	status = verbs_gid_add(&vms[vm], index, gid, vlan);
	if (!status)
		vm_set_gid(&vms[vm], index, gid, vlan);
	return status;
}

/* Which of the host's an entry has become. */
static int place(int vm, uint32_t index)
{
	return verbs_gid_index(&vvs[vm], &vvs[vm].address[index]);
}

static void give_back(int vm, uint32_t index)
{
	verbs_gid_del(&vms[vm], index, vms[vm].gids[index].gid);
	vm_set_gid(&vms[vm], index, NULL, PVHCA_NO_VLAN);
}

#define PLAINLY PVHCA_NO_VLAN

START_TEST(an_address_of_the_hosts_is_itself)
{
	ck_assert_int_eq(take(0, 0, "10.0.0.2", PLAINLY), PVHCA_ST_OK);
	ck_assert_int_eq(place(0, 0), 3);
	ck_assert(!verbs_address_is_translated(&vvs[0].address[0]));
	ck_assert_uint_eq(vvs[0].translated, 0);
	ck_assert_str_eq(cm_last, "10.0.0.2");
}
END_TEST

START_TEST(without_translation_there_are_no_others)
{
	configure("");
	ck_assert_int_eq(take(0, 0, "192.168.0.9", PLAINLY), PVHCA_ST_NOT_FOUND);
	ck_assert_int_eq(take(0, 0, "10.0.0.1", PLAINLY), PVHCA_ST_OK);
	/* The address decides, whatever VLAN the guest has it on. */
	ck_assert_int_eq(take(0, 1, "10.0.0.1", 9), PVHCA_ST_OK);
	ck_assert_int_eq(place(0, 1), 2);
}
END_TEST

START_TEST(a_guests_own_address_becomes_the_first_of_its_kind)
{
	ck_assert_int_eq(take(0, 0, "192.168.0.9", PLAINLY), PVHCA_ST_OK);
	ck_assert_int_eq(place(0, 0), 2);
	ck_assert_str_eq(cm_last, "10.0.0.1");
	ck_assert_int_eq(take(0, 1, "fe80::1234", PLAINLY), PVHCA_ST_OK);
	ck_assert_int_eq(place(0, 1), 1);
	ck_assert_int_eq(take(0, 2, "fd00:9::9", PLAINLY), PVHCA_ST_OK);
	ck_assert_int_eq(place(0, 2), 4);
	ck_assert_uint_eq(vvs[0].translated, 3);
	/* Both kinds, in one VM. */
	ck_assert_int_eq(take(0, 3, "10.0.0.2", PLAINLY), PVHCA_ST_OK);
	ck_assert_int_eq(place(0, 3), 3);
	ck_assert_uint_eq(vvs[0].translated, 3);
}
END_TEST

START_TEST(an_address_of_a_vlan_becomes_one_of_that_vlan)
{
	ck_assert_int_eq(take(0, 0, "192.168.7.9", VLAN_OF_THE_HOST), PVHCA_ST_OK);
	ck_assert_int_eq(place(0, 0), 5);
	ck_assert_int_eq(take(0, 1, "fe80::1234", PLAINLY), PVHCA_ST_OK);
	ck_assert_int_eq(take(0, 2, "fe80::1234", VLAN_OF_THE_HOST), PVHCA_ST_OK);
	ck_assert_int_eq(place(0, 1), 1);
	ck_assert_int_eq(place(0, 2), 6);
	/* No other will do: it would leave the VLAN. */
	ck_assert_int_eq(take(0, 3, "192.168.8.9", 8), PVHCA_ST_NOT_FOUND);
}
END_TEST

START_TEST(settings_name_the_address_or_keep_it_for_others)
{
	configure(TRANSLATE "[vm b]\naddresses=10.0.0.1\n");
	ck_assert_int_eq(take(0, 0, "192.168.0.9", PLAINLY), PVHCA_ST_OK);
	ck_assert_int_eq(place(0, 0), 3);
	give_back(0, 0);
	memset(&table[1], 0, sizeof(table[1]));
	host_has(1, "10.0.0.7", PLAIN, IBV_GID_TYPE_ROCE_V2);
	configure(TRANSLATE "[vm a]\naddresses=10.0.0.1\n");
	ck_assert_int_eq(take(0, 0, "192.168.0.9", PLAINLY), PVHCA_ST_OK);
	ck_assert_int_eq(place(0, 0), 2);
}
END_TEST

START_TEST(the_hosts_table_may_change)
{
	struct ibv_gid_entry moved;

	ck_assert_int_eq(take(0, 0, "192.168.0.9", PLAINLY), PVHCA_ST_OK);
	asked = 0;
	ck_assert_int_eq(place(0, 0), 2);
	ck_assert_uint_eq(asked, 1);
	moved = table[2];
	memset(&table[2], 0, sizeof(table[2]));
	ck_assert_int_eq(place(0, 0), -1);
	table[7] = moved;
	ck_assert_int_eq(place(0, 0), 7);
	/* On another interface it is still the host's. */
	table[7].ndev_ifindex = 99;
	ck_assert_int_eq(place(0, 0), 7);
	table[7].ndev_ifindex = PLAIN;
}
END_TEST

static void check_host(int vm, const char *peer, const char *expected)
{
	uint8_t gid[16], host[16], wanted[16];

	gid_of(peer, gid);
	gid_of(expected, wanted);
	verbs_address_to_host(&vms[vm], gid, host);
	ck_assert_mem_eq(host, wanted, 16);
}

START_TEST(peers_are_vms_of_this_host_or_of_others_or_none)
{
	take(0, 0, "192.168.0.9", PLAINLY);
	take(1, 0, "192.168.0.8", PLAINLY);
	take(1, 1, "10.0.0.2", PLAINLY);
	configure(TRANSLATE "peer=192.168.0.0/24 via 10.0.0.3\n");
	check_host(0, "192.168.0.8", "10.0.0.1");
	check_host(0, "10.0.0.2", "10.0.0.2");
	check_host(0, "192.168.0.77", "10.0.0.3");
	check_host(0, "10.99.0.1", "10.99.0.1");
	give_back(1, 0);
	check_host(0, "192.168.0.8", "10.0.0.3");
}
END_TEST

static bool show(int vm, uint32_t qpn, const char *source, const char *destination,
		 const char *as_source, const char *as_destination)
{
	uint8_t from[16], to[16], as_from[16], as_to[16];
	bool changed;

	gid_of(source, from);
	gid_of(destination, to);
	gid_of(as_source, as_from);
	gid_of(as_destination, as_to);
	changed = verbs_address_show(&vms[vm], qpn, from, to);
	ck_assert_mem_eq(from, as_from, 16);
	ck_assert_mem_eq(to, as_to, 16);
	return changed;
}

START_TEST(an_address_that_the_connection_manager_has_no_memory_for_is_refused)
{
	cm_full = true;
	ck_assert_int_eq(take(0, 0, "10.0.0.2", PLAINLY), PVHCA_ST_NO_MEMORY);
	ck_assert(!vvs[0].address[0].used);
	cm_full = false;
	ck_assert_int_eq(take(0, 0, "10.0.0.2", PLAINLY), PVHCA_ST_OK);
}
END_TEST

START_TEST(a_datagram_shows_the_guests_own_addresses)
{
	struct verbs_datagrams qp;

	take(0, 0, "192.168.0.9", PLAINLY);
	take(1, 0, "192.168.0.8", PLAINLY);
	verbs_address_qp_add(&vvs[1], &qp, 0x11);
	/* Of the other VM, and of a peer's QP with the same number. */
	ck_assert(show(0, 0x11, "10.0.0.1", "10.0.0.1", "192.168.0.8", "192.168.0.9"));
	ck_assert(show(0, 0x11, "10.0.0.66", "10.0.0.1", "10.0.0.66", "192.168.0.9"));
	ck_assert(show(0, 0x11, "10.0.0.1", "239.1.1.1", "192.168.0.8", "239.1.1.1"));
	ck_assert(!show(0, 0x12, "10.0.0.66", "10.0.0.2", "10.0.0.66", "10.0.0.2"));
	/* Of a VM of another host, the only one there. */
	configure(TRANSLATE "peer=192.168.0.5 via 10.0.0.3\n");
	ck_assert(show(0, 0x12, "10.0.0.3", "10.0.0.1", "192.168.0.5", "192.168.0.9"));
	/* To one who has the host's address itself, it came there. */
	take(0, 1, "10.0.0.1", PLAINLY);
	ck_assert(!show(0, 0x12, "10.0.0.66", "10.0.0.1", "10.0.0.66", "10.0.0.1"));
	ck_assert(show(0, 0x11, "10.0.0.1", "10.0.0.2", "192.168.0.8", "10.0.0.2"));
	verbs_address_qp_del(&vvs[1], &qp);
	ck_assert(!show(0, 0x11, "10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2"));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("verbs_address");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, an_address_of_the_hosts_is_itself);
	tcase_add_test(tc, without_translation_there_are_no_others);
	tcase_add_test(tc, a_guests_own_address_becomes_the_first_of_its_kind);
	tcase_add_test(tc, an_address_of_a_vlan_becomes_one_of_that_vlan);
	tcase_add_test(tc, settings_name_the_address_or_keep_it_for_others);
	tcase_add_test(tc, the_hosts_table_may_change);
	tcase_add_test(tc, peers_are_vms_of_this_host_or_of_others_or_none);
	tcase_add_test(tc, an_address_that_the_connection_manager_has_no_memory_for_is_refused);
	tcase_add_test(tc, a_datagram_shows_the_guests_own_addresses);
	return suite_run("verbs_address", tc);
}
