// SPDX-License-Identifier: GPL-2.0-or-later
/* What QEMU says: what is taken, and what ends the session. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory/memory.h"
#include "session/rig.h"
#include "suite.h"

static struct qemu *qemu;

static void setup(void)
{
	rig_setup();
	qemu = qemu_new();
}

static void teardown(void)
{
	qemu_free(qemu);
	rig_teardown();
}

static void expect_state(enum vm_state state)
{
	ck_assert_uint_eq(atomic_load(&qemu->vm->state), state);
}

/* All that was sent is handled. */
static void settle(void)
{
	qemu_reset(qemu);
}

/* ----------------------------------- HELLO --------------------------------- */

static struct pvhca_link_hello_reply say(const struct pvhca_link_hello *hello)
{
	struct pvhca_link_hello_reply reply;

	qemu_send(qemu, PVHCA_LINK_HELLO, hello, sizeof(*hello), NULL, 0);
	qemu_receive(qemu, PVHCA_LINK_HELLO_REPLY, &reply, sizeof(reply));
	ck_assert_uint_eq(reply.abi_major, PVHCA_LINK_ABI_MAJOR);
	ck_assert_uint_eq(reply.abi_minor, PVHCA_LINK_ABI_MINOR);
	ck_assert_uint_eq(
		reply.features,
		hello->abi_major == PVHCA_LINK_ABI_MAJOR ? hello->features & PVHCA_LINK_F_PAIR : 0);
	ck_assert_ptr_nonnull(memchr(reply.version, '\0', sizeof(reply.version)));
	ck_assert_uint_ne(reply.version[0], '\0');
	ck_assert_ptr_nonnull(memchr(reply.reason, '\0', sizeof(reply.reason)));
	return reply;
}

START_TEST(a_hello_is_accepted_and_kept)
{
	struct pvhca_link_hello hello = qemu_hello();
	struct pvhca_link_hello_reply reply;

	expect_state(VM_CONNECTED);
	memcpy(hello.uuid, "0123456789abcdef", 16);
	memcpy(hello.mac, "\x02\1\2\3\4\5", 6);
	hello.features = 0xff;
	reply = say(&hello);
	ck_assert_uint_eq(reply.refused, 0);
	ck_assert_str_eq(reply.reason, "");
	expect_state(VM_IDLE);
	ck_assert_str_eq(qemu->vm->name, "guest");
	ck_assert_mem_eq(qemu->vm->uuid, hello.uuid, 16);
	ck_assert_mem_eq(qemu->vm->hello_mac, hello.mac, 6);
	ck_assert(qemu->vm->hello_pair);
	ck_assert_uint_eq(qemu->vm->num_vectors, RIG_VECTORS);
	ck_assert_uint_eq(qemu->vm->num_doorbells, RIG_DOORBELLS);
}
END_TEST

static const struct {
	const char *name, *uuid, *expected;
} names[] = {
	{ "a b\n\x1b[31m\xc3\xa4", "0123456789abcdef", "a b??[31m??" },
	{ "", "0123456789abcdef", "30313233-3435-3637-3839-616263646566" },
	{ "", "", "session-1" },
	{ "x23456789012345678901234567890123456789012345678901234567890123", "",
	  "x23456789012345678901234567890123456789012345678901234567890123" },
};

START_TEST(a_vm_is_named_by_name_or_uuid_or_number)
{
	struct pvhca_link_hello hello = qemu_hello();

	ck_assert_uint_lt(strlen(names[_i].name), sizeof(hello.name));
	memset(hello.name, 0, sizeof(hello.name));
	strcpy(hello.name, names[_i].name);
	memcpy(hello.uuid, names[_i].uuid, strlen(names[_i].uuid));
	ck_assert_uint_eq(say(&hello).refused, 0);
	ck_assert_str_eq(qemu->vm->name, names[_i].expected);
}
END_TEST

static const struct {
	uint32_t vectors, doorbells;
	bool ok;
} counts[] = {
	{ 3, 1, true },	  { 66, 64, true },	    { 2, 1, false },
	{ 0, 1, false },  { 67, 1, false },	    { 3, 0, false },
	{ 3, 65, false }, { UINT32_MAX, 1, false }, { 3, UINT32_MAX, false },
};

START_TEST(vectors_and_doorbells_are_as_many_as_the_device_may_have)
{
	struct pvhca_link_hello hello = qemu_hello();

	hello.num_vectors = counts[_i].vectors;
	hello.num_doorbells = counts[_i].doorbells;
	if (counts[_i].ok) {
		ck_assert_uint_eq(say(&hello).refused, 0);
		return;
	}
	qemu_send(qemu, PVHCA_LINK_HELLO, &hello, sizeof(hello), NULL, 0);
	qemu_expect_end(qemu);
}
END_TEST

static void spoil_name(struct pvhca_link_hello *hello)
{
	memset(hello->name, 'a', sizeof(hello->name));
}

static void spoil_version(struct pvhca_link_hello *hello)
{
	memset(hello->version, 'a', sizeof(hello->version));
}

static void spoil_reserved0(struct pvhca_link_hello *hello)
{
	hello->reserved0 = 1;
}

static void spoil_reserved1(struct pvhca_link_hello *hello)
{
	hello->reserved1[9] = 1;
}

static void (*const spoil[])(struct pvhca_link_hello *hello) = {
	spoil_name,
	spoil_version,
	spoil_reserved0,
	spoil_reserved1,
};

START_TEST(a_malformed_hello_ends_the_session_without_an_answer)
{
	struct pvhca_link_hello hello = qemu_hello();

	spoil[_i](&hello);
	qemu_send(qemu, PVHCA_LINK_HELLO, &hello, sizeof(hello), NULL, 0);
	qemu_expect_end(qemu);
}
END_TEST

START_TEST(another_major_version_is_told_both_and_nothing_else_of_it_is_checked)
{
	struct pvhca_link_hello hello;
	struct pvhca_link_hello_reply reply;

	memset(&hello, 0xff, sizeof(hello));
	hello.abi_major = PVHCA_LINK_ABI_MAJOR + 1;
	hello.abi_minor = 77;
	reply = say(&hello);
	ck_assert_uint_eq(reply.refused, EPROTO);
	ck_assert_ptr_nonnull(strstr(reply.reason, "2.77"));
	ck_assert_ptr_nonnull(strstr(reply.reason, "1.1"));
	qemu_expect_end(qemu);
}
END_TEST

START_TEST(another_minor_version_is_accepted)
{
	struct pvhca_link_hello hello = qemu_hello();

	hello.abi_minor = PVHCA_LINK_ABI_MINOR + 5;
	ck_assert_uint_eq(say(&hello).refused, 0);
}
END_TEST

START_TEST(a_vm_that_is_not_listed_is_refused_where_it_must_be)
{
	struct pvhca_link_hello hello = qemu_hello();
	struct pvhca_link_hello_reply reply;

	qemu_free(qemu);
	rig_configure("[pvhcad]\nunlisted-vms=false\n[vm known]\n");
	qemu = qemu_new();
	reply = say(&hello);
	ck_assert_uint_eq(reply.refused, EACCES);
	ck_assert_uint_ne(reply.reason[0], '\0');
	qemu_expect_end(qemu);
	qemu_free(qemu);
	qemu = qemu_new();
	strcpy(hello.name, "known");
	ck_assert_uint_eq(say(&hello).refused, 0);
}
END_TEST

START_TEST(a_vms_own_settings_hold_from_hello_on)
{
	struct pvhca_link_hello hello = qemu_hello();

	qemu_free(qemu);
	rig_configure("[quota]\nqps=100\n[vm guest]\nqps=7\n");
	qemu = qemu_new();
	say(&hello);
	ck_assert_uint_eq(qemu->vm->policy->quota.qps, 7);
	ck_assert_uint_eq(qemu->vm->qps.limit, 7);
}
END_TEST

START_TEST(a_second_hello_ends_the_session)
{
	struct pvhca_link_hello hello = qemu_hello();

	qemu_connect(qemu);
	qemu_send(qemu, PVHCA_LINK_HELLO, &hello, sizeof(hello), NULL, 0);
	qemu_expect_end(qemu);
}
END_TEST

static const struct {
	uint32_t type, size, num_fds;
} others[] = {
	{ PVHCA_LINK_EVENT_FDS, sizeof(struct pvhca_link_event_fds), 1 },
	{ PVHCA_LINK_MEM_ADD, sizeof(struct pvhca_link_mem), 1 },
	{ PVHCA_LINK_MEM_DEL, sizeof(struct pvhca_link_mem), 0 },
	{ PVHCA_LINK_ENABLE, sizeof(struct pvhca_link_enable), 0 },
	{ PVHCA_LINK_RESET, sizeof(struct pvhca_link_reset), 0 },
};

START_TEST(nothing_but_hello_comes_first)
{
	const uint8_t zero[PVHCA_LINK_MAX_PAYLOAD] = { 0 };
	const int fd = STDIN_FILENO;

	qemu_send(qemu, others[_i].type, zero, others[_i].size, &fd, others[_i].num_fds);
	qemu_expect_end(qemu);
}
END_TEST

START_TEST(what_is_no_message_ends_the_session)
{
	const struct pvhca_link_reply reply = { 0 };

	qemu_connect(qemu);
	qemu_send(qemu, PVHCA_LINK_FATAL, &reply, sizeof(reply), NULL, 0);
	qemu_expect_end(qemu);
}
END_TEST

START_TEST(many_messages_at_once_are_all_answered_in_order)
{
	qemu_connect(qemu);
	for (int i = 0; i < 100; i++)
		qemu_ask_reset(qemu);
	for (uint64_t i = 1; i <= 100; i++) {
		struct pvhca_link_reply reply;

		qemu_receive(qemu, PVHCA_LINK_RESET_REPLY, &reply, sizeof(reply));
		ck_assert_uint_eq(reply.id, i);
	}
}
END_TEST

START_TEST(the_session_ends_when_qemu_goes)
{
	qemu_connect(qemu);
	shutdown(qemu->fd, SHUT_WR);
	qemu_expect_end(qemu);
}
END_TEST

/* -------------------------------- EVENT_FDS -------------------------------- */

static int fds[PVHCA_LINK_MAX_FDS];

static void make_fds(void)
{
	for (unsigned int i = 0; i < PVHCA_LINK_MAX_FDS; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void close_fds(void)
{
	for (unsigned int i = 0; i < PVHCA_LINK_MAX_FDS; i++)
		close(fds[i]);
}

START_TEST(event_descriptors_go_to_their_places)
{
	eventfd_t count;

	make_fds();
	qemu_connect(qemu);
	qemu_send_events(qemu, PVHCA_LINK_EVENT_VECTOR, 2, &fds[0], 2);
	qemu_send_events(qemu, PVHCA_LINK_EVENT_DATA_DB, 1, &fds[2], 1);
	qemu_send_events(qemu, PVHCA_LINK_EVENT_ADMIN_DB, 0, &fds[3], 1);
	settle();
	ck_assert_int_lt(qemu->vm->vector_fds[1], 0);
	ck_assert_int_lt(qemu->vm->doorbell_fds[0], 0);
	eventfd_write(qemu->vm->vector_fds[2], 11);
	eventfd_write(qemu->vm->vector_fds[3], 12);
	eventfd_write(qemu->vm->doorbell_fds[1], 13);
	eventfd_write(qemu->vm->admin_doorbell_fd, 14);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_int_eq(eventfd_read(fds[i], &count), 0);
		ck_assert_uint_eq(count, 11 + i);
	}
	close_fds();
}
END_TEST

static const struct {
	uint32_t kind, first, count, num_fds, reserved;
} misplaced[] = {
	{ PVHCA_LINK_EVENT_ADMIN_DB, 1, 1, 1, 0 },
	{ PVHCA_LINK_EVENT_ADMIN_DB, 0, 2, 2, 0 },
	{ PVHCA_LINK_EVENT_DATA_DB, RIG_DOORBELLS, 1, 1, 0 },
	{ PVHCA_LINK_EVENT_DATA_DB, RIG_DOORBELLS - 1, 2, 2, 0 },
	{ PVHCA_LINK_EVENT_VECTOR, RIG_VECTORS, 1, 1, 0 },
	{ PVHCA_LINK_EVENT_VECTOR, RIG_VECTORS - 1, 2, 2, 0 },
	{ PVHCA_LINK_EVENT_VECTOR, PVHCA_VECTORS_MAX, 1, 1, 0 },
	{ PVHCA_LINK_EVENT_VECTOR, UINT32_MAX, 2, 2, 0 },
	{ PVHCA_LINK_EVENT_VECTOR + 1, 1, 1, 1, 0 },
	{ UINT32_MAX, 0, 1, 1, 0 },
	{ PVHCA_LINK_EVENT_VECTOR, 1, 2, 1, 0 },
	{ PVHCA_LINK_EVENT_VECTOR, 1, 1, 2, 0 },
	{ PVHCA_LINK_EVENT_VECTOR, 1, 0, 1, 0 },
	{ PVHCA_LINK_EVENT_VECTOR, 1, 1, 1, 1 },
};

START_TEST(event_descriptors_without_a_place_end_the_session)
{
	struct pvhca_link_event_fds event = {
		.kind = misplaced[_i].kind,
		.first = misplaced[_i].first,
		.count = misplaced[_i].count,
		.reserved = misplaced[_i].reserved,
	};

	make_fds();
	qemu_connect(qemu);
	qemu_send(qemu, PVHCA_LINK_EVENT_FDS, &event, sizeof(event), fds, misplaced[_i].num_fds);
	qemu_expect_end(qemu);
	close_fds();
}
END_TEST

/* Without a minor version in which a vector can be sent again: of any kind. */
START_TEST(an_event_descriptor_is_sent_once)
{
	struct pvhca_link_hello hello = qemu_hello();

	hello.abi_minor = 0;
	make_fds();
	qemu_connect_as(qemu, &hello);
	qemu_send_events(qemu, _i, 1 - !_i, fds, 1);
	settle();
	qemu_send_events(qemu, _i, 1 - !_i, fds, 1);
	qemu_expect_end(qemu);
	close_fds();
}
END_TEST

START_TEST(a_doorbell_is_sent_once_in_every_version)
{
	make_fds();
	qemu_connect(qemu);
	qemu_send_events(qemu, _i, 0, fds, 1);
	settle();
	qemu_send_events(qemu, _i, 0, fds, 1);
	qemu_expect_end(qemu);
	close_fds();
}
END_TEST

START_TEST(the_config_vector_is_unknown_to_the_first_version)
{
	struct pvhca_link_hello hello = qemu_hello();

	hello.abi_minor = 0;
	make_fds();
	qemu_connect_as(qemu, &hello);
	qemu_send_events(qemu, PVHCA_LINK_EVENT_VECTOR, PVHCA_VECTOR_CONFIG, fds, 1);
	qemu_expect_end(qemu);
	close_fds();
}
END_TEST

START_TEST(a_vector_that_is_sent_again_moves_and_keeps_its_number)
{
	eventfd_t count;
	int number;

	make_fds();
	qemu_connect(qemu);
	qemu_send_events(qemu, PVHCA_LINK_EVENT_VECTOR, 1, &fds[0], 1);
	settle();
	number = qemu->vm->vector_fds[1];
	qemu_send_events(qemu, PVHCA_LINK_EVENT_VECTOR, 1, &fds[1], 1);
	settle();
	ck_assert_int_eq(qemu->vm->vector_fds[1], number);
	/* Nothing is enabled, so nothing can have been lost. */
	ck_assert_int_lt(eventfd_read(fds[1], &count), 0);
	eventfd_write(number, 5);
	ck_assert_int_eq(eventfd_read(fds[1], &count), 0);
	ck_assert_uint_eq(count, 5);
	ck_assert_int_lt(eventfd_read(fds[0], &count), 0);
	close_fds();
}
END_TEST

/* Another kind could make pvhcad wait when it writes. */
START_TEST(an_event_descriptor_is_an_eventfd)
{
	int pair[2], fd;

	qemu_connect(qemu);
	ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
	fd = _i ? pair[1] : qemu->fd;
	qemu_send_events(qemu, PVHCA_LINK_EVENT_VECTOR, 1, &fd, 1);
	qemu_expect_end(qemu);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

/* ----------------------------------- memory -------------------------------- */

#define K4 4096ull

static void send_mem(uint32_t type, uint64_t gpa, uint64_t size, uint64_t fd_offset,
		     uint64_t page_size)
{
	struct pvhca_link_mem mem = {
		.gpa = gpa,
		.size = size,
		.fd_offset = fd_offset,
		.page_size = page_size,
	};
	int fd = memfd_create("ram", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 16 * K4), 0);
	qemu_send(qemu, type, &mem, sizeof(mem), &fd, type == PVHCA_LINK_MEM_ADD);
	close(fd);
}

START_TEST(memory_comes_and_goes)
{
	qemu_connect(qemu);
	send_mem(PVHCA_LINK_MEM_ADD, 0, 4 * K4, 0, K4);
	send_mem(PVHCA_LINK_MEM_ADD, 4 * K4, 4 * K4, 12 * K4, K4);
	settle();
	ck_assert_uint_eq(memory_regions(qemu->vm->memory), 2);
	send_mem(PVHCA_LINK_MEM_DEL, 0, 4 * K4, 0, K4);
	settle();
	ck_assert_uint_eq(memory_regions(qemu->vm->memory), 1);
	send_mem(PVHCA_LINK_MEM_ADD, 0, 4 * K4, 0, K4);
	settle();
	ck_assert_uint_eq(memory_regions(qemu->vm->memory), 2);
}
END_TEST

static const struct pvhca_link_mem bad_memory[] = {
	{ 1, K4, 0, K4 },	{ 0, 100, 0, K4 },	 { 0, 0, 0, K4 },
	{ 0, K4, 100, K4 },	{ 0, 17 * K4, 0, K4 }, /* the file is shorter */
	{ 0, K4, 16 * K4, K4 }, { 0, K4, 0, 0 },	 { 0, K4, 0, 5000 },
	{ -K4, 2 * K4, 0, K4 }, { 101 * K4, K4, 0, K4 }, /* part of it is there */
};

START_TEST(memory_that_cannot_be_ends_the_session)
{
	const struct pvhca_link_mem *mem = &bad_memory[_i];

	qemu_connect(qemu);
	send_mem(PVHCA_LINK_MEM_ADD, 100 * K4, 3 * K4, 0, K4);
	settle();
	send_mem(PVHCA_LINK_MEM_ADD, mem->gpa, mem->size, mem->fd_offset, mem->page_size);
	qemu_expect_end(qemu);
}
END_TEST

static const struct pvhca_link_mem other_memory[] = {
	{ 99 * K4, 3 * K4, 0, K4 },
	{ 100 * K4, 2 * K4, 0, K4 },
	{ 101 * K4, 2 * K4, 0, K4 },
	{ 100 * K4, 3 * K4, K4, K4 },
};

START_TEST(only_memory_that_was_added_is_taken_away)
{
	const struct pvhca_link_mem *mem = &other_memory[_i];

	qemu_connect(qemu);
	send_mem(PVHCA_LINK_MEM_ADD, 100 * K4, 3 * K4, 0, K4);
	settle();
	send_mem(PVHCA_LINK_MEM_DEL, mem->gpa, mem->size, mem->fd_offset, mem->page_size);
	qemu_expect_end(qemu);
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof(array[0]))

int main(void)
{
	TCase *tc = tcase_create("messages");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_hello_is_accepted_and_kept);
	tcase_add_loop_test(tc, a_vm_is_named_by_name_or_uuid_or_number, 0, COUNT(names));
	tcase_add_loop_test(tc, vectors_and_doorbells_are_as_many_as_the_device_may_have, 0,
			    COUNT(counts));
	tcase_add_loop_test(tc, a_malformed_hello_ends_the_session_without_an_answer, 0,
			    COUNT(spoil));
	tcase_add_test(tc, another_major_version_is_told_both_and_nothing_else_of_it_is_checked);
	tcase_add_test(tc, another_minor_version_is_accepted);
	tcase_add_test(tc, a_vm_that_is_not_listed_is_refused_where_it_must_be);
	tcase_add_test(tc, a_vms_own_settings_hold_from_hello_on);
	tcase_add_test(tc, a_second_hello_ends_the_session);
	tcase_add_loop_test(tc, nothing_but_hello_comes_first, 0, COUNT(others));
	tcase_add_test(tc, what_is_no_message_ends_the_session);
	tcase_add_test(tc, many_messages_at_once_are_all_answered_in_order);
	tcase_add_test(tc, the_session_ends_when_qemu_goes);
	tcase_add_test(tc, event_descriptors_go_to_their_places);
	tcase_add_loop_test(tc, event_descriptors_without_a_place_end_the_session, 0,
			    COUNT(misplaced));
	tcase_add_loop_test(tc, an_event_descriptor_is_sent_once, 0, 3);
	tcase_add_loop_test(tc, a_doorbell_is_sent_once_in_every_version, 0, 2);
	tcase_add_test(tc, the_config_vector_is_unknown_to_the_first_version);
	tcase_add_test(tc, a_vector_that_is_sent_again_moves_and_keeps_its_number);
	tcase_add_loop_test(tc, an_event_descriptor_is_an_eventfd, 0, 2);
	tcase_add_test(tc, memory_comes_and_goes);
	tcase_add_loop_test(tc, memory_that_cannot_be_ends_the_session, 0, COUNT(bad_memory));
	tcase_add_loop_test(tc, only_memory_that_was_added_is_taken_away, 0, COUNT(other_memory));
	return suite_run("messages", tc);
}
