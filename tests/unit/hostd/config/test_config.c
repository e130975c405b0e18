// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "config/setting.h"
#include "suite.h"

/* Fabrics as config/ is told of them. */
static struct fabric_values {
	char *ibdev;
	unsigned int ib_port;
} fabric_values = {
	.ib_port = 1,
};

static const struct setting fabric_settings[] = {
	{ "ibdev", SETTING_TEXT, offsetof(struct fabric_values, ibdev), 0, 63, NULL, "NAME", "" },
	{ "ib-port", SETTING_NUMBER, offsetof(struct fabric_values, ib_port), 1, 255, NULL, "N",
	  "" },
};

static const struct setting_table fabric_table = { fabric_settings, 2, &fabric_values };
static const char *const fabric_names[] = { "loopback", "verbs", NULL };
static const struct setting_table *const fabric_tables[] = { &fabric_table, NULL };
static const struct config_fabrics fabrics = { fabric_names, fabric_tables, "loopback" };

static char *path;
static GError *error;

static void setup(void)
{
	int fd = g_file_open_tmp("pvhca-XXXXXX", &path, NULL);

	ck_assert_int_ge(fd, 0);
	close(fd);
}

static void teardown(void)
{
	g_unlink(path);
	g_free(path);
	g_clear_error(&error);
}

/* Load a file's text and options, separated by blanks. */
static struct config *load(const char *text, const char *options)
{
	char *line = g_strdup_printf("pvhcad --config %s %s", path, options);
	char **words = g_strsplit(g_strstrip(line), " ", -1);
	char **argv = g_memdup2(words, (g_strv_length(words) + 1) * sizeof(*words));
	int argc = g_strv_length(words);
	struct config_actions actions;
	struct config *config;

	g_file_set_contents(path, text, -1, NULL);
	config = config_load(&argc, &argv, &fabrics, &actions, &error);
	g_free(argv);
	g_strfreev(words);
	g_free(line);
	return config;
}

static const uint8_t no_uuid[16];

START_TEST(an_empty_file_gives_the_defaults)
{
	struct config *config = load("", "");

	ck_assert_ptr_nonnull(config);
	ck_assert_str_eq(config->socket, "/run/pvhca/pvhcad.sock");
	ck_assert_str_eq(config->fabric, "loopback");
	ck_assert_uint_eq(config->socket_access.mode, 0660);
	ck_assert_uint_eq(config->max_sessions, 256);
	ck_assert_uint_eq(config->quota.qps, 4096);
	ck_assert_uint_eq(config->quota.pinned_bytes, 64ull << 30);
	ck_assert_ptr_null(fabric_values.ibdev);
	ck_assert(config->unlisted_vms);
	config_free(config);
}
END_TEST

START_TEST(the_command_line_wins_over_the_file)
{
	struct config *config = load("[pvhcad]\nworkers=2\nspin-us=7\npriority=10\nibdev=rxe0\n",
				     "--workers 3 --fabric=verbs");

	ck_assert_ptr_nonnull(config);
	ck_assert_uint_eq(config->workers, 3);
	ck_assert_uint_eq(config->spin_us, 7);
	ck_assert_uint_eq(config->priority, 10);
	ck_assert_str_eq(config->fabric, "verbs");
	ck_assert_str_eq(fabric_values.ibdev, "rxe0");
	config_free(config);
	ck_assert_ptr_null(fabric_values.ibdev);
}
END_TEST

START_TEST(a_vm_inherits_quotas_wherever_they_stand)
{
	struct config *config = load("[vm a]\nqps=3\n[quota]\nqps=2\nmrs=5\n",
				     "--quota cqs=9 --quota pinned-bytes=8K");
	struct vm_policy *policy;

	ck_assert_ptr_nonnull(config);
	policy = config_policy_new(config, "a", no_uuid);
	ck_assert_uint_eq(policy->quota.qps, 3);
	ck_assert_uint_eq(policy->quota.mrs, 5);
	ck_assert_uint_eq(policy->quota.cqs, 9);
	config_policy_free(policy);
	policy = config_policy_new(config, "b", no_uuid);
	ck_assert_uint_eq(policy->quota.qps, 2);
	config_policy_free(policy);
	config_free(config);
}
END_TEST

START_TEST(ports_to_listen_on_are_the_vms_or_everybodys)
{
	struct config *config =
		load("[vm a]\nlisten=4420, 20049-20050\n[vm n]\nlisten=none\n", "--listen 1-3");
	struct vm_policy *policy;

	ck_assert_ptr_nonnull(config);
	policy = config_policy_new(config, "a", no_uuid);
	ck_assert_uint_eq(policy->listen.count, 2);
	ck_assert_uint_eq(policy->listen.range[0].first, 4420);
	ck_assert_uint_eq(policy->listen.range[0].last, 4420);
	ck_assert_uint_eq(policy->listen.range[1].last, 20050);
	config_policy_free(policy);
	policy = config_policy_new(config, "n", no_uuid);
	ck_assert_uint_eq(policy->listen.count, 0);
	config_policy_free(policy);
	policy = config_policy_new(config, "b", no_uuid);
	ck_assert_uint_eq(policy->listen.count, 1);
	ck_assert_uint_eq(policy->listen.range[0].last, 3);
	config_policy_free(policy);
	config_free(config);
	config = load("", "");
	ck_assert_uint_eq(config->listen.count, 3);
	config_free(config);
}
END_TEST

/* GLib reads a value for it, too. */
START_TEST(escape_that_is_none_is_refused)
{
	ck_assert_ptr_null(load("[pvhcad]\nsocket=/run/\\-x\n", ""));
	ck_assert_ptr_nonnull(strstr(error->message, "key socket"));
	g_clear_error(&error);
}
END_TEST

START_TEST(what_is_no_list_of_ports_is_refused)
{
	static const char *const wrong[] = {
		"0",
		"5-4",
		"1-257",
		"65536",
		"a",
		"1;2",
		"1-",
		"-1",
		"1 x",
		"18446744073709551617",
		"1-4294967297",
	};

	for (unsigned int i = 0; i < G_N_ELEMENTS(wrong); i++) {
		char *file = g_strdup_printf("[pvhcad]\nlisten=%s\n", wrong[i]);

		ck_assert_msg(!load(file, ""), "%s", wrong[i]);
		g_clear_error(&error);
		g_free(file);
	}
}
END_TEST

START_TEST(a_vm_is_found_by_uuid_in_either_case_before_its_name)
{
	static const uint8_t uuid[16] = {
		0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x11, 0x22,
		0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0x00,
	};
	struct config *config = load(
		"[vm AABBCCDD-eeff-1122-3344-556677889900]\nqps=1\n"
		"[vm name]\nqps=2\nmac=02:00:00:00:00:05\npair=true\naddresses=10.0.0.1, fd00::/8\n",
		"--unlisted-vms=false");
	struct vm_policy *policy;

	ck_assert_ptr_nonnull(config);
	policy = config_policy_new(config, "name", uuid);
	ck_assert_uint_eq(policy->quota.qps, 1);
	ck_assert(!policy->has_mac);
	ck_assert(!policy->has_pair);
	ck_assert_ptr_null(policy->addresses);
	config_policy_free(policy);

	policy = config_policy_new(config, "name", no_uuid);
	ck_assert_uint_eq(policy->quota.qps, 2);
	ck_assert(policy->has_mac);
	ck_assert_uint_eq(policy->mac[5], 5);
	ck_assert(policy->has_pair && policy->pair);
	ck_assert_uint_eq(policy->num_addresses, 2);
	ck_assert_uint_eq(policy->addresses[0].bits, 128);
	ck_assert_uint_eq(policy->addresses[1].bits, 8);
	config_policy_free(policy);
	config_free(config);
}
END_TEST

static const char *refusal(const struct config *config, const char *group, uint32_t user,
			   const char *name, uint8_t uuid)
{
	const uint8_t bytes[16] = { [15] = uuid };
	const struct config_peer peer = { group, user, name, bytes };
	struct vm_policy *policy;
	const char *reason;

	policy = config_admit(config, &peer, &reason);
	ck_assert_int_eq(!policy, reason != NULL);
	if (policy && group)
		ck_assert_str_eq(policy->group, group);
	config_policy_free(policy);
	return reason ? reason : "";
}

#define ck_assert_refused(reason, word) ck_assert_msg(strstr(reason, word) != NULL, "%s", reason)

START_TEST(who_is_not_listed_is_served_if_the_settings_say_so)
{
	struct config *config = load("[vm a]\n", "");

	ck_assert_str_eq(refusal(config, NULL, 1, "b", 0), "");
	config_free(config);
	config = load("[vm a]\n", "--unlisted-vms=false");
	ck_assert_refused(refusal(config, NULL, 1, "b", 0), "unlisted-vms=false");
	ck_assert_refused(refusal(config, NULL, 1, "", 0), "unlisted-vms=false");
	ck_assert_str_eq(refusal(config, NULL, 1, "a", 0), "");
	config_free(config);
}
END_TEST

START_TEST(who_comes_by_a_vms_own_socket_is_that_vm)
{
	struct config *config = load("[vm a]\nsocket=/x\n"
				     "[vm 00000000-0000-0000-0000-000000000007]\nsocket=/y\n"
				     "[vm c]\n",
				     "");

	ck_assert_str_eq(refusal(config, "a", 1, "c", 7), "");
	/* And nobody else is. */
	ck_assert_refused(refusal(config, NULL, 1, "a", 0), "socket");
	ck_assert_refused(refusal(config, NULL, 1, "c", 7), "socket");
	ck_assert_str_eq(refusal(config, NULL, 1, "c", 8), "");
	ck_assert_refused(refusal(config, "gone", 1, "a", 0), "any more");
	config_free(config);
}
END_TEST

START_TEST(a_vm_may_be_for_some_users_only)
{
	struct config *config =
		load("[vm a]\nuid=root, 4294967294\n[vm b]\nsocket=/x\nuid=5\n", "");

	ck_assert_str_eq(refusal(config, NULL, 0, "a", 0), "");
	ck_assert_str_eq(refusal(config, NULL, 4294967294, "a", 0), "");
	ck_assert_refused(refusal(config, NULL, 1, "a", 0), "uid=");
	ck_assert_refused(refusal(config, "b", 0, "b", 0), "uid=");
	config_free(config);
}
END_TEST

START_TEST(a_network_has_a_name)
{
	struct config *config = load("[vm a]\nnetwork=red.1-x_Y\n[vm b]\nnetwork=default\n"
				     "[vm c]\nnetwork=red.1-x_Y\n[vm d]\n",
				     "");
	uint32_t network[5];

	for (int i = 0; i < 5; i++) {
		const char name[] = { 'a' + i, 0 };
		struct vm_policy *policy = config_policy_new(config, name, no_uuid);

		network[i] = policy->network;
		config_policy_free(policy);
	}
	ck_assert(config_has_networks(config));
	ck_assert_str_eq(config_network_name(network[0]), "red.1-x_Y");
	ck_assert_uint_eq(network[0], network[2]);
	ck_assert_str_eq(config_network_name(network[1]), "default");
	ck_assert_uint_eq(network[1], network[3]);
	ck_assert_uint_eq(network[1], network[4]);
	config_free(config);
	config = load("[vm b]\nnetwork=default\n", "");
	ck_assert(!config_has_networks(config));
	config_free(config);
}
END_TEST

static void take_socket(const struct config_socket *socket, void *arg)
{
	g_string_append_printf(arg, "%s %s %o %u %u\n", socket->group, socket->path,
			       socket->access.mode, socket->access.owner, socket->access.group);
}

START_TEST(a_vms_socket_is_as_the_one_for_all_unless_it_says_otherwise)
{
	struct config *config =
		load("[vm a]\nsocket=/x\n[pvhcad]\nsocket-mode=600\nsocket-group=7\n", "");
	GString *text = g_string_new(NULL);

	config_for_each_socket(config, take_socket, text);
	ck_assert_str_eq(text->str, "a /x 600 4294967295 7\n");
	config_free(config);
	g_string_truncate(text, 0);
	config = load("[vm a]\nsocket=/x\nsocket-mode=666\nsocket-owner=root\nsocket-group=\n"
		      "[pvhcad]\nsocket-group=7\n",
		      "");
	config_for_each_socket(config, take_socket, text);
	ck_assert_str_eq(text->str, "a /x 666 0 4294967295\n");
	config_free(config);
	g_string_free(text, TRUE);
}
END_TEST

START_TEST(statistics_have_a_mode_and_a_group_of_their_own)
{
	struct config *config = load("", "--socket-mode 600");

	ck_assert_uint_eq(config->stats_access.mode, 0600);
	config_free(config);
	config = load("[pvhcad]\nstats-mode=640\nstats-group=root\n", "--socket-mode 600");
	ck_assert_uint_eq(config->stats_access.mode, 0640);
	ck_assert_uint_eq(config->stats_access.group, 0);
	ck_assert_uint_eq(config->socket_access.mode, 0600);
	config_free(config);
}
END_TEST

static const struct {
	const char *text, *options, *word;
} wrong[] = {
	{ "[vm x]\nsocket=/a\n[vm y]\nsocket=/a\n", "", "/a" },
	{ "[vm x]\nsocket=/run/pvhca/pvhcad.sock.stats\n", "", "another's" },
	{ "[vm x]\nuid=nobody-of-this-name\n", "", "nobody-of-this-name" },
	{ "[vm x]\nuid=4294967295\n", "", "4294967295" },
	{ "[vm x]\nuid=\n", "", "uid" },
	{ "[vm x]\nsocket-group=no-such-group\n", "", "no-such-group" },
	{ "[vm x]\nsocket=\n", "", "[vm x]" },
	{ "[pvhcad]\nnone=1\n", "", "none" },
	{ "[none]\n", "", "[none]" },
	{ "[quota]\nqps=0\n", "", "qps" },
	{ "[quota]\nqps=1K\n", "", "1K" },
	{ "[quota]\nmax-wr=32769\n", "", "32768" },
	{ "[quota]\npinned-bytes=1KK\n", "", "1KK" },
	{ "[quota]\npinned-bytes=17179869184G\n", "", "pinned-bytes" },
	{ "[quota]\npinned-bytes= -1\n", "", "pinned-bytes" },
	{ "[vm x]\nmac=x\n", "", "[vm x]" },
	{ "[vm x]\npair=on\n", "", "true or false" },
	{ "[vm x]\nfabric=verbs\n", "", "fabric" },
	{ "[vm x]\n[vm x ]\n", "", "already" },
	{ "[pvhcad]\nsocket=\n", "", "socket" },
	{ "garbage", "", "garbage" },
	{ "", "--quota qps", "KEY=VALUE" },
	{ "", "--quota none=1", "none" },
	{ "", "--socket-mode 8", "--socket-mode" },
	{ "", "--socket-mode 1777", "0777" },
	{ "", "extra", "extra" },
};

static bool route(const struct config *config, const char *address, const char *via)
{
	struct address_prefix prefix, expected;
	uint8_t to[16];

	ck_assert(address_parse(address, &prefix) && address_parse(via, &expected));
	return config_route(config, prefix.gid, to) && !memcmp(to, expected.gid, sizeof(to));
}

START_TEST(vms_of_other_hosts_are_where_peer_says)
{
	struct config *config =
		load("[pvhcad]\npeer=10.1.0.0/16 via 10.0.0.2 , 10.1.2.3  via 10.0.0.3,"
		     "fd00:1::/64 via fd00::2\n",
		     "");
	struct address_prefix via, only;
	uint8_t to[16];

	ck_assert_ptr_nonnull(config);
	ck_assert(route(config, "10.1.9.9", "10.0.0.2"));
	ck_assert(route(config, "10.1.2.3", "10.0.0.3"));
	ck_assert(route(config, "fd00:1::7", "fd00::2"));
	ck_assert(!route(config, "10.2.0.1", "10.0.0.2"));
	/* Backwards only where it is one. */
	address_parse("10.0.0.3", &via);
	address_parse("10.1.2.3", &only);
	ck_assert(config_route_back(config, via.gid, to));
	ck_assert_mem_eq(to, only.gid, 16);
	address_parse("10.0.0.2", &via);
	ck_assert(!config_route_back(config, via.gid, to));
	config_free(config);
	config = load("[pvhcad]\npeer=\n", "--translate true");
	ck_assert_ptr_nonnull(config);
	ck_assert(config->translate);
	ck_assert_uint_eq(config->peer.count, 0);
	config_free(config);
}
END_TEST

START_TEST(what_is_no_route_is_refused)
{
	static const char *const routes[] = {
		"10.1.0.0/16",
		"10.1.0.0/16 over 10.0.0.2",
		"10.1.0.0/16 via 10.0.0.0/8",
		"10.1.0.0/16 via fd00::1",
		"10.1.0.0/16 via 10.0.0.2 x",
		"10.1.0.1 via 10.0.0.2,",
		"x via 10.0.0.2",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(routes); i++) {
		char *text = g_strdup_printf("[pvhcad]\npeer=%s\n", routes[i]);

		ck_assert_ptr_null(load(text, ""));
		ck_assert_ptr_nonnull(strstr(error->message, "key peer"));
		g_clear_error(&error);
		g_free(text);
	}
}
END_TEST

START_TEST(addresses_are_translated_for_all_or_for_some)
{
	struct config *config = load("[pvhcad]\ntranslate=true\n[vm own]\ntranslate=false\n"
				     "addresses=10.0.0.5, 10.0.1.0/24\n[vm a]\n",
				     "");
	struct vm_policy *own = config_policy_new(config, "own", no_uuid);
	struct vm_policy *a = config_policy_new(config, "a", no_uuid);
	struct address_prefix prefix;

	ck_assert(!own->translate);
	ck_assert(a->translate);
	/* What is listed as it is. */
	address_parse("10.0.0.5", &prefix);
	ck_assert_int_eq(config_listing(config, own, prefix.gid), CONFIG_LISTED_FOR_IT);
	ck_assert_int_eq(config_listing(config, a, prefix.gid), CONFIG_LISTED_FOR_OTHERS);
	address_parse("10.0.1.5", &prefix);
	ck_assert_int_eq(config_listing(config, own, prefix.gid), CONFIG_LISTED_FOR_NONE);
	ck_assert_int_eq(config_listing(config, a, prefix.gid), CONFIG_LISTED_FOR_NONE);
	config_policy_free(own);
	config_policy_free(a);
	config_free(config);
}
END_TEST

START_TEST(an_error_names_what_is_wrong)
{
	struct config *config = load(wrong[_i].text, wrong[_i].options);

	ck_assert_msg(!config, "%s %s", wrong[_i].text, wrong[_i].options);
	ck_assert_msg(strstr(error->message, wrong[_i].word) != NULL, "%s", error->message);
	if (!wrong[_i].options[0])
		ck_assert_ptr_nonnull(strstr(error->message, path));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("config");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, an_empty_file_gives_the_defaults);
	tcase_add_test(tc, the_command_line_wins_over_the_file);
	tcase_add_test(tc, a_vm_inherits_quotas_wherever_they_stand);
	tcase_add_test(tc, ports_to_listen_on_are_the_vms_or_everybodys);
	tcase_add_test(tc, escape_that_is_none_is_refused);
	tcase_add_test(tc, what_is_no_list_of_ports_is_refused);
	tcase_add_test(tc, a_vm_is_found_by_uuid_in_either_case_before_its_name);
	tcase_add_test(tc, who_is_not_listed_is_served_if_the_settings_say_so);
	tcase_add_test(tc, who_comes_by_a_vms_own_socket_is_that_vm);
	tcase_add_test(tc, a_vm_may_be_for_some_users_only);
	tcase_add_test(tc, a_network_has_a_name);
	tcase_add_test(tc, a_vms_socket_is_as_the_one_for_all_unless_it_says_otherwise);
	tcase_add_test(tc, statistics_have_a_mode_and_a_group_of_their_own);
	tcase_add_test(tc, vms_of_other_hosts_are_where_peer_says);
	tcase_add_test(tc, what_is_no_route_is_refused);
	tcase_add_test(tc, addresses_are_translated_for_all_or_for_some);
	tcase_add_loop_test(tc, an_error_names_what_is_wrong, 0, sizeof(wrong) / sizeof(wrong[0]));
	return suite_run("config", tc);
}
