// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "core_rig.h"
#include "suite.h"

#define LINK	  PVHCA_STATUS_LINK
#define ENABLED	  PVHCA_STATUS_ENABLED
#define RESETTING PVHCA_STATUS_RESETTING
#define FAILED	  PVHCA_STATUS_FAILED

static PvhcaDevice device;
static struct rig rig;

static void setup(void)
{
	rig_init(&rig, &device.client);
	pvhca_device_init(&device, &rig_transport, rig_raise, &rig);
	rig_identify(&device.identity, 5, 3);
}

static void teardown(void)
{
	pvhca_device_cleanup(&device);
	rig_forget(&device.identity);
	rig_fini(&rig);
}

static uint32_t reg(uint32_t offset)
{
	return pvhca_device_read(&device, offset, 4);
}

static void control(uint32_t value)
{
	pvhca_device_write(&device, PVHCA_REG_CONTROL, value, 4);
}

/* Interrupts since this was last asked. */
static unsigned int interrupts(void)
{
	unsigned int n = rig.interrupts;

	rig.interrupts = 0;
	return n;
}

static void link_up(void)
{
	pvhca_client_opened(&device.client);
	rig_accept(&rig);
	ck_assert_uint_eq(reg(PVHCA_REG_STATUS) & LINK, LINK);
	ck_assert_uint_eq(interrupts(), 1);
}

static uint64_t ask_enable(void)
{
	struct pvhca_link_enable enable;

	control(PVHCA_CONTROL_ENABLE);
	ck_assert_uint_eq(rig_take(&rig, &enable, sizeof(enable)).type, PVHCA_LINK_ENABLE);
	return enable.id;
}

static uint64_t take_reset(void)
{
	struct pvhca_link_reset reset;

	ck_assert_uint_eq(rig_take(&rig, &reset, sizeof(reset)).type, PVHCA_LINK_RESET);
	ck_assert(rig_quiet(&rig));
	return reset.id;
}

static void enable(void)
{
	rig_reply(&rig, PVHCA_LINK_ENABLE_REPLY, ask_enable(), 0);
	ck_assert_uint_eq(reg(PVHCA_REG_STATUS), LINK | ENABLED);
	ck_assert_uint_eq(interrupts(), 1);
}

static void expect(uint32_t status, uint32_t error, unsigned int raised)
{
	ck_assert_uint_eq(reg(PVHCA_REG_STATUS), status);
	ck_assert_uint_eq(reg(PVHCA_REG_ERROR), error);
	ck_assert_uint_eq(interrupts(), raised);
}

START_TEST(identity_is_readable)
{
	ck_assert_uint_eq(reg(PVHCA_REG_MAGIC), PVHCA_MAGIC);
	ck_assert_uint_eq(reg(PVHCA_REG_ABI), 0x10000);
	ck_assert_uint_eq(reg(PVHCA_REG_NUM_VECTORS), 5);
	ck_assert_uint_eq(reg(PVHCA_REG_NUM_DOORBELLS), 3);
	ck_assert_uint_eq(reg(PVHCA_REG_GENERATION), 0);
	ck_assert_uint_eq(reg(PVHCA_REG_QEMU_VERSION), 0x2e322e31);
	expect(0, 0, 0);
}
END_TEST

START_TEST(every_read_of_every_size_and_alignment_is_answered)
{
	uint8_t image[PVHCA_BAR_REGS_SIZE + 8] = { 0 };

	for (unsigned int i = 0; i < PVHCA_BAR_REGS_SIZE; i += 4) {
		uint32_t word = GUINT32_TO_LE(reg(i));

		memcpy(image + i, &word, sizeof(word));
	}
	for (unsigned int size = 1; size <= 8; size++) {
		for (unsigned int at = 0; at < PVHCA_BAR_REGS_SIZE; at++) {
			uint64_t want = 0;

			memcpy(&want, image + at, size);
			ck_assert_uint_eq(pvhca_device_read(&device, at, size),
					  GUINT64_FROM_LE(want));
		}
	}
}
END_TEST

START_TEST(only_aligned_words_are_written)
{
	pvhca_device_write(&device, PVHCA_REG_ADMIN_LO, 0x11223344, 4);
	for (unsigned int size = 1; size <= 8; size++) {
		for (unsigned int at = 0x0a; at < 0x18; at++) {
			if (size == 4 && at % 4 == 0)
				continue;
			pvhca_device_write(&device, at, PVHCA_CONTROL_ENABLE, size);
			ck_assert_uint_eq(reg(PVHCA_REG_ADMIN_LO), 0x11223344);
			expect(0, 0, 0);
		}
	}
}
END_TEST

START_TEST(doorbells_are_their_aligned_words)
{
	const PvhcaIdentity *id = &device.identity;

	for (unsigned int i = 0; i < 3; i++)
		ck_assert_int_eq(pvhca_device_doorbell(&device, 8 * i, 4), id->data_db[i]);
	ck_assert_int_eq(pvhca_device_doorbell(&device, PVHCA_DB_ADMIN, 4), id->admin_db);
	for (unsigned int size = 0; size <= 8; size++)
		if (size != 4)
			ck_assert_int_eq(pvhca_device_doorbell(&device, 0, size), -1);
	ck_assert_int_eq(pvhca_device_doorbell(&device, 4, 4), -1);
	ck_assert_int_eq(pvhca_device_doorbell(&device, 1, 4), -1);
	ck_assert_int_eq(pvhca_device_doorbell(&device, 24, 4), -1);
	ck_assert_int_eq(pvhca_device_doorbell(&device, PVHCA_DB_ADMIN + 8, 4), -1);
	ck_assert_int_eq(pvhca_device_doorbell(&device, UINT64_MAX - 7, 4), -1);
}
END_TEST

START_TEST(link_is_shown_with_versions_and_generation)
{
	link_up();
	expect(LINK, 0, 0);
	ck_assert_uint_eq(reg(PVHCA_REG_GENERATION), 1);
	ck_assert_uint_eq(reg(PVHCA_REG_LINK_ABI), 0x10000);
	ck_assert_str_eq(device.hostd_version, "hostd 9.9");
	pvhca_client_closed(&device.client);
	expect(0, 0, 1);
	ck_assert_uint_eq(reg(PVHCA_REG_LINK_ABI), 0);
	ck_assert_uint_eq(reg(PVHCA_REG_HOSTD_VERSION), 0);
	link_up();
	ck_assert_uint_eq(reg(PVHCA_REG_GENERATION), 2);
}
END_TEST

START_TEST(enable_takes_the_address_of_this_moment)
{
	struct pvhca_link_enable got;

	link_up();
	pvhca_device_write(&device, PVHCA_REG_ADMIN_LO, 0x345000, 4);
	pvhca_device_write(&device, PVHCA_REG_ADMIN_HI, 1, 4);
	control(PVHCA_CONTROL_ENABLE);
	rig_take(&rig, &got, sizeof(got));
	ck_assert_uint_eq(got.admin_gpa, 0x100345000);
	expect(LINK, 0, 0);
	rig_reply(&rig, PVHCA_LINK_ENABLE_REPLY, got.id, 0);
	expect(LINK | ENABLED, 0, 1);
}
END_TEST

START_TEST(enable_without_pvhcad_fails)
{
	control(PVHCA_CONTROL_ENABLE);
	expect(FAILED, PVHCA_DEV_ERR_NO_BACKEND, 1);
	control(PVHCA_CONTROL_RESET);
	expect(0, 0, 1);
}
END_TEST

START_TEST(refused_enable_needs_a_reset)
{
	link_up();
	rig_reply(&rig, PVHCA_LINK_ENABLE_REPLY, ask_enable(), PVHCA_DEV_ERR_ADMIN_AREA);
	expect(LINK | FAILED, PVHCA_DEV_ERR_ADMIN_AREA, 1);
	control(PVHCA_CONTROL_ENABLE);
	expect(LINK | FAILED, PVHCA_DEV_ERR_BAD_STATE, 1);
	control(PVHCA_CONTROL_RESET);
	expect(LINK | RESETTING, 0, 0);
	rig_reply(&rig, PVHCA_LINK_RESET_REPLY, take_reset(), 0);
	expect(LINK, 0, 1);
	enable();
}
END_TEST

START_TEST(second_enable_fails_and_its_reply_is_stale)
{
	uint64_t id;

	link_up();
	id = ask_enable();
	control(PVHCA_CONTROL_ENABLE);
	expect(LINK | FAILED, PVHCA_DEV_ERR_BAD_STATE, 1);
	rig_reply(&rig, PVHCA_LINK_ENABLE_REPLY, id, 0);
	expect(LINK | FAILED, PVHCA_DEV_ERR_BAD_STATE, 0);
}
END_TEST

START_TEST(enable_during_reset_fails_and_the_reset_still_ends)
{
	link_up();
	enable();
	control(PVHCA_CONTROL_RESET);
	control(PVHCA_CONTROL_ENABLE);
	expect(LINK | RESETTING | FAILED, PVHCA_DEV_ERR_BAD_STATE, 1);
	rig_reply(&rig, PVHCA_LINK_RESET_REPLY, take_reset(), 0);
	expect(LINK | FAILED, PVHCA_DEV_ERR_BAD_STATE, 1);
}
END_TEST

START_TEST(many_resets_send_one_message)
{
	link_up();
	enable();
	for (int i = 0; i < 100; i++)
		control(PVHCA_CONTROL_RESET);
	rig_reply(&rig, PVHCA_LINK_RESET_REPLY, take_reset(), 0);
	expect(LINK, 0, 1);
}
END_TEST

START_TEST(late_reply_is_not_taken_for_the_next_requests)
{
	uint64_t first, second;

	link_up();
	first = ask_enable();
	control(PVHCA_CONTROL_RESET);
	rig_reply(&rig, PVHCA_LINK_ENABLE_REPLY, first, 0);
	expect(LINK | RESETTING, 0, 0);
	rig_reply(&rig, PVHCA_LINK_RESET_REPLY, take_reset(), 0);
	expect(LINK, 0, 1);
	second = ask_enable();
	ck_assert_uint_ne(first, second);
	rig_reply(&rig, PVHCA_LINK_ENABLE_REPLY, first, 0);
	rig_reply(&rig, PVHCA_LINK_RESET_REPLY, second, 0);
	expect(LINK, 0, 0);
	rig_reply(&rig, PVHCA_LINK_ENABLE_REPLY, second, 0);
	expect(LINK | ENABLED, 0, 1);
}
END_TEST

START_TEST(request_of_another_connection_is_forgotten)
{
	uint64_t id;

	link_up();
	id = ask_enable();
	pvhca_client_closed(&device.client);
	expect(0, 0, 1);
	link_up();
	rig_reply(&rig, PVHCA_LINK_ENABLE_REPLY, id, 0);
	expect(LINK, 0, 0);
	enable();
}
END_TEST

START_TEST(fatal_fails_the_device_once)
{
	link_up();
	enable();
	rig_reply(&rig, PVHCA_LINK_FATAL, 0, PVHCA_DEV_ERR_HOST);
	expect(LINK | FAILED, PVHCA_DEV_ERR_HOST, 1);
	rig_reply(&rig, PVHCA_LINK_FATAL, 0, PVHCA_DEV_ERR_GUEST);
	expect(LINK | FAILED, PVHCA_DEV_ERR_HOST, 0);
	control(PVHCA_CONTROL_RESET);
	rig_reply(&rig, PVHCA_LINK_FATAL, 0, PVHCA_DEV_ERR_GUEST);
	expect(LINK | RESETTING, 0, 0);
}
END_TEST

START_TEST(failure_outlives_pvhcad)
{
	link_up();
	rig_reply(&rig, PVHCA_LINK_FATAL, 0, PVHCA_DEV_ERR_HOST);
	interrupts();
	pvhca_client_closed(&device.client);
	expect(FAILED, PVHCA_DEV_ERR_HOST, 1);
	link_up();
	expect(LINK | FAILED, PVHCA_DEV_ERR_HOST, 0);
}
END_TEST

START_TEST(other_version_is_shown_with_both_texts)
{
	pvhca_client_opened(&device.client);
	rig_take(&rig, NULL, 0);
	rig_hello(&rig, 2, 0, "hostd 2.0");
	expect(FAILED, PVHCA_DEV_ERR_BACKEND_VERSION, 1);
	ck_assert_str_eq(device.hostd_version, "hostd 2.0");
	/* Once, however often it is tried. */
	pvhca_client_opened(&device.client);
	rig_take(&rig, NULL, 0);
	rig_hello(&rig, 2, 0, "hostd 2.0");
	expect(FAILED, PVHCA_DEV_ERR_BACKEND_VERSION, 0);
	/* A pvhcad that fits is used when it comes. */
	link_up();
	expect(LINK | FAILED, PVHCA_DEV_ERR_BACKEND_VERSION, 0);
}
END_TEST

START_TEST(machine_reset_is_sent_only_for_what_was_used)
{
	link_up();
	pvhca_device_write(&device, PVHCA_REG_ADMIN_LO, 0x1000, 4);
	pvhca_device_reset(&device);
	ck_assert(rig_quiet(&rig));
	expect(LINK, 0, 0);
	ck_assert_uint_eq(reg(PVHCA_REG_ADMIN_LO), 0);
	enable();
	pvhca_device_reset(&device);
	expect(LINK | RESETTING, 0, 0);
	rig_reply(&rig, PVHCA_LINK_RESET_REPLY, take_reset(), 0);
	expect(LINK, 0, 1);
}
END_TEST

START_TEST(machine_reset_clears_a_failure_without_pvhcad)
{
	control(PVHCA_CONTROL_ENABLE);
	interrupts();
	pvhca_device_reset(&device);
	expect(0, 0, 0);
}
END_TEST

START_TEST(settings_are_checked)
{
	PvhcaIdentity id = { .num_vectors = 3, .num_doorbells = 1 };
	const char *setting = NULL;

	ck_assert_ptr_null(pvhca_device_check(&id, &setting));
	for (uint32_t n = 0; n < 100; n++) {
		id.num_vectors = n;
		ck_assert(!pvhca_device_check(&id, &setting) == (n >= 3 && n <= 66));
	}
	ck_assert_str_eq(setting, "vectors");
	id.num_vectors = 66;
	for (uint32_t n = 0; n < 100; n++) {
		id.num_doorbells = n;
		ck_assert(!pvhca_device_check(&id, &setting) == (n >= 1 && n <= 64));
	}
	ck_assert_str_eq(setting, "doorbells");
	id.num_doorbells = 64;
	id.mac[0] = 1;
	ck_assert_ptr_nonnull(pvhca_device_check(&id, &setting));
	ck_assert_str_eq(setting, "mac");
	id.mac[0] = 0;
	id.pair = true;
	ck_assert_ptr_nonnull(pvhca_device_check(&id, &setting));
	ck_assert_str_eq(setting, "pair");
	id.mac[5] = 1;
	ck_assert_ptr_null(pvhca_device_check(&id, &setting));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("device");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, identity_is_readable);
	tcase_add_test(tc, every_read_of_every_size_and_alignment_is_answered);
	tcase_add_test(tc, only_aligned_words_are_written);
	tcase_add_test(tc, doorbells_are_their_aligned_words);
	tcase_add_test(tc, link_is_shown_with_versions_and_generation);
	tcase_add_test(tc, enable_takes_the_address_of_this_moment);
	tcase_add_test(tc, enable_without_pvhcad_fails);
	tcase_add_test(tc, refused_enable_needs_a_reset);
	tcase_add_test(tc, second_enable_fails_and_its_reply_is_stale);
	tcase_add_test(tc, enable_during_reset_fails_and_the_reset_still_ends);
	tcase_add_test(tc, many_resets_send_one_message);
	tcase_add_test(tc, late_reply_is_not_taken_for_the_next_requests);
	tcase_add_test(tc, request_of_another_connection_is_forgotten);
	tcase_add_test(tc, fatal_fails_the_device_once);
	tcase_add_test(tc, failure_outlives_pvhcad);
	tcase_add_test(tc, other_version_is_shown_with_both_texts);
	tcase_add_test(tc, machine_reset_is_sent_only_for_what_was_used);
	tcase_add_test(tc, machine_reset_clears_a_failure_without_pvhcad);
	tcase_add_test(tc, settings_are_checked);
	return suite_run("device", tc);
}
