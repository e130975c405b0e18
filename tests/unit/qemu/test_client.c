// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core_rig.h"
#include "suite.h"

static PvhcaClient client;
static PvhcaIdentity identity;
static struct rig rig;
static unsigned int fds_before;

/* What the client has reported. */
static struct {
	unsigned int hellos, ups, downs, downs_of_sessions, refusals, replies, fatals;
	uint32_t link_abi, error;
	uint64_t id;
	char version[64];
} said;

static void said_hello(void *opaque, const char *version)
{
	ck_assert_ptr_eq(opaque, &said);
	said.hellos++;
	g_strlcpy(said.version, version, sizeof(said.version));
}

static void said_up(void *opaque G_GNUC_UNUSED, uint32_t link_abi)
{
	said.ups++;
	said.link_abi = link_abi;
}

static void said_down(void *opaque G_GNUC_UNUSED, bool was_up)
{
	said.downs++;
	said.downs_of_sessions += was_up;
}

static void said_refused(void *opaque G_GNUC_UNUSED)
{
	said.refusals++;
}

static void said_reply(void *opaque G_GNUC_UNUSED, uint64_t id, uint32_t error)
{
	said.replies++;
	said.id = id;
	said.error = error;
}

static void said_fatal(void *opaque G_GNUC_UNUSED, uint32_t error)
{
	said.fatals++;
	said.error = error;
}

static const PvhcaClientListener listener = {
	.hello = said_hello,
	.up = said_up,
	.down = said_down,
	.refused = said_refused,
	.enable_reply = said_reply,
	.reset_reply = said_reply,
	.fatal = said_fatal,
};

static void setup(void)
{
	memset(&said, 0, sizeof(said));
	memset(&identity, 0, sizeof(identity));
	fds_before = rig_count_fds();
	rig_identify(&identity, 12, 9);
	rig_init(&rig, &client);
	pvhca_client_init(&client, &rig_transport, &rig, &listener, &said, &identity);
}

/* Whatever happened, no descriptor is left. */
static void teardown(void)
{
	pvhca_client_cleanup(&client);
	ck_assert(!rig.waits);
	rig_fini(&rig);
	rig_forget(&identity);
	ck_assert_uint_eq(rig_count_fds(), fds_before);
}

static struct pvhca_link_mem ram(uint64_t gpa, uint64_t size)
{
	return (struct pvhca_link_mem){
		.gpa = gpa, .size = size, .fd_offset = gpa + 4096, .page_size = 4096
	};
}

START_TEST(hello_says_who_we_are_and_nothing_follows_before_the_answer)
{
	struct pvhca_link_mem mem = ram(0, 4096);
	struct pvhca_link_hello hello;

	pvhca_client_opened(&client);
	pvhca_client_add_ram(&client, &mem, identity.admin_db);
	ck_assert_uint_eq(rig_take(&rig, &hello, sizeof(hello)).type, PVHCA_LINK_HELLO);
	ck_assert_uint_eq(hello.abi_major, PVHCA_LINK_ABI_MAJOR);
	ck_assert_uint_eq(hello.num_vectors, 12);
	ck_assert_uint_eq(hello.num_doorbells, 9);
	ck_assert_str_eq(hello.name, "vm1");
	ck_assert_str_eq(hello.version, "1.2.3 rig");
	ck_assert(rig_quiet(&rig));
}
END_TEST

START_TEST(session_begins_with_every_eventfd_once_and_all_ram)
{
	struct pvhca_link_mem mem[2] = { ram(0, 4096), ram(1 << 20, 8192) }, got;
	struct pvhca_link_event_fds events;
	unsigned int seen[3] = { 0 };

	for (int i = 0; i < 2; i++)
		ck_assert(pvhca_client_add_ram(&client, &mem[i], identity.admin_db));
	pvhca_client_opened(&client);
	rig_take(&rig, NULL, 0);
	rig_hello(&rig, PVHCA_LINK_ABI_MAJOR, 0, "hostd");
	for (int i = 0; i < 1 + 2 + 2; i++) {
		ck_assert_uint_eq(rig_take(&rig, &events, sizeof(events)).type,
				  PVHCA_LINK_EVENT_FDS);
		ck_assert_uint_eq(events.first,
				  seen[events.kind] + (events.kind == PVHCA_LINK_EVENT_VECTOR));
		seen[events.kind] += events.count;
	}
	ck_assert_uint_eq(seen[PVHCA_LINK_EVENT_ADMIN_DB], 1);
	ck_assert_uint_eq(seen[PVHCA_LINK_EVENT_DATA_DB], 9);
	ck_assert_uint_eq(seen[PVHCA_LINK_EVENT_VECTOR], 11);
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(rig_take(&rig, &got, sizeof(got)).type, PVHCA_LINK_MEM_ADD);
		ck_assert_mem_eq(&got, &mem[i], sizeof(got));
	}
	ck_assert(rig_quiet(&rig));
	ck_assert_uint_eq(rig.num_fds, 1 + 9 + 11 + 2);
	ck_assert_uint_eq(said.ups, 1);
	ck_assert_uint_eq(said.link_abi, 0x10000);
	ck_assert_str_eq(said.version, "hostd");
}
END_TEST

static struct pvhca_link_event_fds take_events(void)
{
	struct pvhca_link_event_fds events;

	ck_assert_uint_eq(rig_take(&rig, &events, sizeof(events)).type, PVHCA_LINK_EVENT_FDS);
	return events;
}

START_TEST(vector_that_is_set_moves_where_pvhcad_knows_that)
{
	struct pvhca_link_event_fds events;

	/* Before the session: it follows the greeting. */
	pvhca_client_set_vector(&client, PVHCA_VECTOR_CONFIG, identity.admin_db);
	pvhca_client_opened(&client);
	rig_take(&rig, NULL, 0);
	rig_hello_minor(&rig, PVHCA_LINK_ABI_MAJOR, 7, 0, "hostd");
	ck_assert_uint_eq(said.link_abi, PVHCA_LINK_ABI_MAJOR << 16 | PVHCA_LINK_ABI_MINOR);
	for (int i = 0; i < 1 + 2 + 2; i++)
		ck_assert(take_events().kind != PVHCA_LINK_EVENT_VECTOR || i >= 3);
	events = take_events();
	ck_assert_uint_eq(events.kind, PVHCA_LINK_EVENT_VECTOR);
	ck_assert_uint_eq(events.first, PVHCA_VECTOR_CONFIG);
	ck_assert_uint_eq(events.count, 1);
	ck_assert(rig_quiet(&rig));
	/* In the session: at once. */
	pvhca_client_set_vector(&client, 5, identity.admin_db);
	events = take_events();
	ck_assert_uint_eq(events.first, 5);
	ck_assert_uint_eq(events.count, 1);
	/* In the next session both. */
	pvhca_client_closed(&client);
	pvhca_client_opened(&client);
	rig_take(&rig, NULL, 0);
	rig_hello_minor(&rig, PVHCA_LINK_ABI_MAJOR, 1, 0, "hostd");
	for (int i = 0; i < 1 + 2 + 2; i++)
		take_events();
	ck_assert_uint_eq(take_events().first, PVHCA_VECTOR_CONFIG);
	ck_assert_uint_eq(take_events().first, 5);
	ck_assert(rig_quiet(&rig));
}
END_TEST

START_TEST(vector_that_is_set_stays_where_pvhcad_does_not_know_that)
{
	pvhca_client_set_vector(&client, PVHCA_VECTOR_CONFIG, identity.admin_db);
	pvhca_client_opened(&client);
	rig_accept(&rig);
	pvhca_client_set_vector(&client, 5, identity.admin_db);
	ck_assert(rig_quiet(&rig));
	ck_assert_uint_eq(rig.num_fds, 1 + 9 + 11);
}
END_TEST

START_TEST(ram_comes_and_goes_during_a_session)
{
	struct pvhca_link_mem mem = ram(4096, 8192), got;

	pvhca_client_opened(&client);
	rig_accept(&rig);
	pvhca_client_add_ram(&client, &mem, identity.admin_db);
	ck_assert_uint_eq(rig_take(&rig, &got, sizeof(got)).type, PVHCA_LINK_MEM_ADD);
	pvhca_client_remove_ram(&client, 8192);
	ck_assert(rig_quiet(&rig));
	pvhca_client_remove_ram(&client, 4096);
	ck_assert_uint_eq(rig_take(&rig, &got, sizeof(got)).type, PVHCA_LINK_MEM_DEL);
	ck_assert_uint_eq(got.size, 8192);
	ck_assert_uint_eq(got.fd_offset, 0);
}
END_TEST

START_TEST(regions_beyond_the_links_number_are_refused)
{
	for (unsigned int i = 0; i < PVHCA_LINK_MAX_REGIONS; i++) {
		struct pvhca_link_mem mem = ram(i * 4096, 4096);

		ck_assert(pvhca_client_add_ram(&client, &mem, identity.admin_db));
	}
	struct pvhca_link_mem more = ram(1 << 30, 4096);

	ck_assert(!pvhca_client_add_ram(&client, &more, identity.admin_db));
	pvhca_client_remove_ram(&client, 0);
	ck_assert(pvhca_client_add_ram(&client, &more, identity.admin_db));
}
END_TEST

START_TEST(message_in_single_bytes_is_put_together)
{
	struct pvhca_link_header header = {
		.magic = PVHCA_LINK_MAGIC,
		.type = PVHCA_LINK_HELLO_REPLY,
		.size = sizeof(struct pvhca_link_hello_reply),
	};
	struct pvhca_link_hello_reply reply = { .abi_major = PVHCA_LINK_ABI_MAJOR };
	uint8_t bytes[sizeof(header) + sizeof(reply)];

	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), &reply, sizeof(reply));
	pvhca_client_opened(&client);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		ck_assert_uint_ge(pvhca_client_wanted(&client), 1);
		ck_assert_uint_eq(said.ups, 0);
		pvhca_client_receive(&client, bytes + i, 1);
	}
	ck_assert_uint_eq(said.ups, 1);
}
END_TEST

START_TEST(text_of_pvhcads_is_made_printable)
{
	struct pvhca_link_hello_reply reply = { .abi_major = PVHCA_LINK_ABI_MAJOR };

	memset(reply.version, '\n', sizeof(reply.version));
	pvhca_client_opened(&client);
	rig_say(&rig, PVHCA_LINK_HELLO_REPLY, &reply, sizeof(reply));
	ck_assert_uint_eq(strlen(said.version), sizeof(reply.version) - 1);
	ck_assert_uint_eq(strspn(said.version, "?"), sizeof(reply.version) - 1);
}
END_TEST

START_TEST(other_versions_are_refused)
{
	pvhca_client_opened(&client);
	rig_hello(&rig, 2, 0, "hostd 2.0");
	ck_assert_uint_eq(said.refusals, 1);
	ck_assert_uint_eq(said.ups, 0);
	ck_assert_uint_eq(said.downs, 1);
	ck_assert_uint_eq(said.downs_of_sessions, 0);
	ck_assert_uint_eq(rig.disconnects, 1);
	ck_assert_ptr_nonnull(strstr(rig.warning, "speaks version 2.0 of the link, this rig 1.1"));
}
END_TEST

START_TEST(refusal_is_logged_once_while_it_stays_the_same)
{
	for (int i = 0; i < 3; i++) {
		pvhca_client_opened(&client);
		rig_hello(&rig, PVHCA_LINK_ABI_MAJOR, EACCES, "hostd");
	}
	ck_assert_uint_eq(rig.warnings, 1);
	ck_assert_uint_eq(said.refusals, 0);
	pvhca_client_opened(&client);
	rig_hello(&rig, PVHCA_LINK_ABI_MAJOR, EBUSY, "hostd");
	ck_assert_uint_eq(rig.warnings, 2);
}
END_TEST

START_TEST(full_socket_makes_messages_wait_in_order)
{
	pvhca_client_opened(&client);
	rig_accept(&rig);
	rig.room = 10;
	for (uint64_t id = 1; id <= 20; id++)
		pvhca_client_send_reset(&client, id);
	ck_assert(rig.waits);
	while (rig.waits) {
		rig.room = 7;
		rig.waits = false;
		pvhca_client_writable(&client);
	}
	for (uint64_t id = 1; id <= 20; id++) {
		struct pvhca_link_reset reset;

		ck_assert_uint_eq(rig_take(&rig, &reset, sizeof(reset)).type, PVHCA_LINK_RESET);
		ck_assert_uint_eq(reset.id, id);
	}
	ck_assert(rig_quiet(&rig));
}
END_TEST

START_TEST(descriptors_go_with_the_first_byte_only)
{
	struct pvhca_link_mem mem = ram(0, 4096);
	unsigned int before;

	pvhca_client_opened(&client);
	rig_accept(&rig);
	before = rig.num_fds;
	rig.room = 1;
	pvhca_client_add_ram(&client, &mem, identity.admin_db);
	ck_assert_uint_eq(rig.num_fds, before + 1);
	rig.room = SIZE_MAX;
	rig.waits = false;
	pvhca_client_writable(&client);
	ck_assert_uint_eq(rig_take(&rig, NULL, 0).type, PVHCA_LINK_MEM_ADD);
	ck_assert_uint_eq(rig.num_fds, before + 1);
}
END_TEST

START_TEST(peer_that_does_not_read_is_disconnected)
{
	pvhca_client_opened(&client);
	rig_accept(&rig);
	rig.room = 0;
	for (unsigned int i = 0; i < PVHCA_CLIENT_QUEUE_MAX; i++)
		pvhca_client_send_reset(&client, i + 1);
	ck_assert_uint_eq(rig.disconnects, 0);
	pvhca_client_send_reset(&client, 1);
	ck_assert_uint_eq(rig.disconnects, 1);
	ck_assert_str_eq(rig.warning, "pvhcad does not read, disconnecting");
	ck_assert_uint_eq(said.downs_of_sessions, 1);
	ck_assert(!rig.waits);
}
END_TEST

START_TEST(descriptors_that_wait_are_closed_with_the_connection)
{
	struct pvhca_link_mem mem = ram(0, 4096);
	unsigned int before;

	pvhca_client_opened(&client);
	rig_accept(&rig);
	rig.room = 0;
	before = rig_count_fds();
	pvhca_client_add_ram(&client, &mem, identity.admin_db);
	ck_assert_uint_eq(rig_count_fds(), before + 1);
	pvhca_client_closed(&client);
	ck_assert_uint_eq(rig_count_fds(), before);
}
END_TEST

START_TEST(end_that_is_reported_from_inside_a_write_is_survived)
{
	struct pvhca_link_mem mem = ram(0, 4096);

	pvhca_client_add_ram(&client, &mem, identity.admin_db);
	rig.closes_in_write = true;
	pvhca_client_opened(&client);
	rig_take(&rig, NULL, 0);
	rig.fails = true;
	rig_hello(&rig, PVHCA_LINK_ABI_MAJOR, 0, "hostd");
	ck_assert_uint_eq(said.ups, 0);
	ck_assert_uint_eq(said.downs, 1);
	rig.fails = false;
	rig.taken = rig.len;
	pvhca_client_opened(&client);
	rig_accept(&rig);
	ck_assert_uint_eq(said.ups, 1);
}
END_TEST

/* What pvhcad must not send, and whether a session has begun. */
static const struct {
	struct pvhca_link_header header;
	struct pvhca_link_reply reply;
	bool early;
} malformed[] = {
	{ { 1, PVHCA_LINK_RESET_REPLY, 16, 0 }, { 0 }, false },
	{ { PVHCA_LINK_MAGIC, PVHCA_LINK_RESET_REPLY, 16, 1 }, { 0 }, false },
	{ { PVHCA_LINK_MAGIC, 0x77, 16, 0 }, { 0 }, false },
	{ { PVHCA_LINK_MAGIC, PVHCA_LINK_RESET, 8, 0 }, { 0 }, false },
	{ { PVHCA_LINK_MAGIC, PVHCA_LINK_RESET_REPLY, 0, 0 }, { 0 }, false },
	{ { PVHCA_LINK_MAGIC, PVHCA_LINK_RESET_REPLY, 17, 0 }, { 0 }, false },
	{ { PVHCA_LINK_MAGIC, PVHCA_LINK_RESET_REPLY, UINT32_MAX, 0 }, { 0 }, false },
	{ { PVHCA_LINK_MAGIC, PVHCA_LINK_RESET_REPLY, 16, 0 }, { .reserved = 1 }, false },
	{ { PVHCA_LINK_MAGIC, PVHCA_LINK_ENABLE_REPLY, 16, 0 }, { .reserved = 1 }, false },
	{ { PVHCA_LINK_MAGIC, PVHCA_LINK_FATAL, 16, 0 }, { .error = 0 }, false },
	{ { PVHCA_LINK_MAGIC, PVHCA_LINK_FATAL, 16, 0 }, { .id = 1, .error = 6 }, false },
	{ { PVHCA_LINK_MAGIC, PVHCA_LINK_FATAL, 16, 0 }, { .error = 6 }, true },
};

START_TEST(malformed_message_ends_the_connection)
{
	uint8_t bytes[sizeof(struct pvhca_link_header) + sizeof(struct pvhca_link_reply)];

	pvhca_client_opened(&client);
	if (!malformed[_i].early)
		rig_accept(&rig);
	memcpy(bytes, &malformed[_i].header, sizeof(malformed[_i].header));
	memcpy(bytes + sizeof(malformed[_i].header), &malformed[_i].reply,
	       sizeof(malformed[_i].reply));
	pvhca_client_receive(&client, bytes, sizeof(bytes));
	ck_assert_uint_eq(rig.disconnects, 1);
	ck_assert_uint_eq(said.downs_of_sessions, !malformed[_i].early);
	ck_assert_uint_eq(said.replies + said.fatals, 0);
	rig.taken = rig.len;
	pvhca_client_opened(&client);
	rig_accept(&rig);
}
END_TEST

START_TEST(second_answer_to_hello_ends_the_connection)
{
	pvhca_client_opened(&client);
	rig_accept(&rig);
	rig_hello(&rig, PVHCA_LINK_ABI_MAJOR, 0, "hostd");
	ck_assert_uint_eq(rig.disconnects, 1);
}
END_TEST

START_TEST(feature_never_offered_ends_the_connection)
{
	struct pvhca_link_hello_reply reply = { .abi_major = PVHCA_LINK_ABI_MAJOR, .features = 1 };

	pvhca_client_opened(&client);
	rig_say(&rig, PVHCA_LINK_HELLO_REPLY, &reply, sizeof(reply));
	ck_assert_uint_eq(rig.disconnects, 1);
	ck_assert_uint_eq(said.ups, 0);
}
END_TEST

/* What a HELLO with this wish is answered leads to, or not, a session. */
static void wish_to_pair(bool pair, uint64_t answered, bool accepted)
{
	struct pvhca_link_hello_reply reply = {
		.abi_major = PVHCA_LINK_ABI_MAJOR,
		.features = answered,
		.version = "hostd 1.0",
	};
	struct pvhca_link_hello hello;
	unsigned int ups = said.ups;

	identity.pair = pair;
	pvhca_client_opened(&client);
	rig_take(&rig, &hello, sizeof(hello));
	ck_assert_uint_eq(hello.features, pair ? PVHCA_LINK_F_PAIR : 0);
	rig_say(&rig, PVHCA_LINK_HELLO_REPLY, &reply, sizeof(reply));
	ck_assert_uint_eq(said.ups, ups + accepted);
}

START_TEST(pairing_needs_a_pvhcad_that_knows_it)
{
	wish_to_pair(true, 0, false);
	ck_assert_uint_eq(said.refusals, 1);
	ck_assert_ptr_nonnull(strstr(rig.warning, "pvhcad hostd 1.0 is too old for 'pair'"));
	wish_to_pair(true, PVHCA_LINK_F_PAIR | 2, false);
	wish_to_pair(false, PVHCA_LINK_F_PAIR, false);
	ck_assert_uint_eq(said.refusals, 1);
	wish_to_pair(true, PVHCA_LINK_F_PAIR, true);
}
END_TEST

START_TEST(descriptor_ends_the_connection)
{
	pvhca_client_opened(&client);
	pvhca_client_descriptor(&client);
	ck_assert_uint_eq(rig.disconnects, 1);
	pvhca_client_descriptor(&client);
	ck_assert_uint_eq(rig.disconnects, 1);
}
END_TEST

START_TEST(stop_says_nothing_to_the_listener)
{
	pvhca_client_opened(&client);
	rig_accept(&rig);
	rig.room = 0;
	pvhca_client_send_reset(&client, 1);
	pvhca_client_stop(&client);
	ck_assert_uint_eq(said.downs, 0);
	ck_assert(!rig.waits);
	pvhca_client_send_reset(&client, 2);
	ck_assert_uint_eq(rig.disconnects, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("client");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, hello_says_who_we_are_and_nothing_follows_before_the_answer);
	tcase_add_test(tc, session_begins_with_every_eventfd_once_and_all_ram);
	tcase_add_test(tc, vector_that_is_set_moves_where_pvhcad_knows_that);
	tcase_add_test(tc, vector_that_is_set_stays_where_pvhcad_does_not_know_that);
	tcase_add_test(tc, ram_comes_and_goes_during_a_session);
	tcase_add_test(tc, regions_beyond_the_links_number_are_refused);
	tcase_add_test(tc, message_in_single_bytes_is_put_together);
	tcase_add_test(tc, text_of_pvhcads_is_made_printable);
	tcase_add_test(tc, other_versions_are_refused);
	tcase_add_test(tc, pairing_needs_a_pvhcad_that_knows_it);
	tcase_add_test(tc, refusal_is_logged_once_while_it_stays_the_same);
	tcase_add_test(tc, full_socket_makes_messages_wait_in_order);
	tcase_add_test(tc, descriptors_go_with_the_first_byte_only);
	tcase_add_test(tc, peer_that_does_not_read_is_disconnected);
	tcase_add_test(tc, descriptors_that_wait_are_closed_with_the_connection);
	tcase_add_test(tc, end_that_is_reported_from_inside_a_write_is_survived);
	tcase_add_loop_test(tc, malformed_message_ends_the_connection, 0, G_N_ELEMENTS(malformed));
	tcase_add_test(tc, second_answer_to_hello_ends_the_connection);
	tcase_add_test(tc, feature_never_offered_ends_the_connection);
	tcase_add_test(tc, descriptor_ends_the_connection);
	tcase_add_test(tc, stop_says_nothing_to_the_listener);
	return suite_run("client", tc);
}
