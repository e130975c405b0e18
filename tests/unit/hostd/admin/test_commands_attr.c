// SPDX-License-Identifier: GPL-2.0-or-later
/* Attributes between the guest's form and pvhcad's: no field is lost or takes another's place. */
#include <string.h>

#include "admin/commands_attr.h"
#include "suite.h"

/* Each byte another value; what has no counterpart is 0. */
static void fill(void *to, size_t size)
{
	uint8_t *byte = to;

	for (size_t i = 0; i < size; i++)
		byte[i] = i + 1;
}

static struct pvhca_qp_attr wire_attr(void)
{
	struct pvhca_qp_attr attr;

	fill(&attr, sizeof(attr));
	attr.alt_pkey_index = 0;
	attr.alt_port_num = 0;
	attr.alt_timeout = 0;
	attr.reserved0 = 0;
	attr.av.reserved0 = 0;
	attr.av.reserved1 = 0;
	/* Without the bits that a packet has no room for; those are dropped. */
	attr.av.flow_label &= htole32(0xfffff);
	attr.av.sl &= 7;
	memset(&attr.alt_av, 0, sizeof(attr.alt_av));
	return attr;
}

START_TEST(attributes_come_back_as_they_were)
{
	struct pvhca_qp_attr wire = wire_attr(), back;
	struct qp_attr attr;
	struct qp_cap cap;

	commands_read_qp_attr(&wire, &attr);
	commands_read_qp_cap(&wire.cap, &cap);
	memset(&back, 0xee, sizeof(back));
	commands_write_qp_attr(&attr, &cap, &back);
	ck_assert_mem_eq(&back, &wire, sizeof(wire));
}
END_TEST

START_TEST(attributes_are_host_endian)
{
	static const uint8_t number[4] = { 0x78, 0x56, 0x34, 0x12 };
	struct pvhca_qp_attr wire = { 0 };
	struct qp_attr attr;
	struct qp_cap cap;

	memcpy(&wire.dest_qp_num, number, sizeof(number));
	memcpy(&wire.pkey_index, number, sizeof(wire.pkey_index));
	memcpy(&wire.av.flow_label, number, sizeof(number));
	memcpy(&wire.cap.max_inline, number, sizeof(number));
	wire.av.dgid[15] = 7;
	commands_read_qp_attr(&wire, &attr);
	commands_read_qp_cap(&wire.cap, &cap);
	ck_assert_uint_eq(attr.dest_qp_num, 0x12345678);
	ck_assert_uint_eq(attr.pkey_index, 0x5678);
	ck_assert_uint_eq(attr.av.flow_label, 0x45678);
	ck_assert_uint_eq(attr.av.dgid[15], 7);
	ck_assert_uint_eq(cap.max_inline, 0x12345678);
}
END_TEST

/* All fields have the same order in both forms, so what is written goes up, too. */
START_TEST(the_devices_limits_keep_their_places)
{
	struct pvhca_rsp_query_device wire;
	struct device_limits limits;
	const uint64_t *wide = &limits.max_mr_size;
	const uint32_t *narrow = &limits.vendor_id;

	fill(&limits, sizeof(limits));
	commands_write_device(&limits, &wire);
	for (const __le64 *to = &wire.max_mr_size; to <= &wire.timestamp_mask; to++, wide++)
		ck_assert_uint_eq(le64toh(*to), *wide);
	for (const __le32 *to = &wire.vendor_id; to <= &wire.max_pkeys; to++, narrow++)
		ck_assert_uint_eq(le32toh(*to), *narrow);
	ck_assert_uint_eq(le32toh(wire.gid_tbl_len), limits.gid_tbl_len);
	ck_assert_uint_eq(wire.local_ca_ack_delay, limits.local_ca_ack_delay);
	ck_assert_mem_eq(wire.fw_ver, limits.fw_ver, sizeof(wire.fw_ver));
	ck_assert_mem_eq(wire.host_device, limits.host_device, sizeof(wire.host_device));
	ck_assert_uint_eq(wire.max_contexts, 0);
	ck_assert_uint_eq(wire.kernel_caps, 0);
}
END_TEST

START_TEST(the_ports_attributes_keep_their_places)
{
	struct pvhca_rsp_query_port wire;
	struct port_attr port;

	fill(&port, sizeof(port));
	commands_write_port(&port, &wire);
	ck_assert_uint_eq(wire.state, port.state);
	ck_assert_uint_eq(wire.phys_state, port.phys_state);
	ck_assert_uint_eq(wire.max_mtu, port.max_mtu);
	ck_assert_uint_eq(wire.active_mtu, port.active_mtu);
	ck_assert_uint_eq(wire.active_width, port.active_width);
	ck_assert_uint_eq(wire.max_vl_num, port.max_vl_num);
	ck_assert_uint_eq(le16toh(wire.active_speed), port.active_speed);
	ck_assert_uint_eq(le32toh(wire.max_msg_sz), port.max_msg_sz);
	ck_assert_uint_eq(le32toh(wire.pkey_tbl_len), port.pkey_tbl_len);
	ck_assert_uint_eq(le32toh(wire.gid_tbl_len), port.gid_tbl_len);
	ck_assert_uint_eq(le32toh(wire.netdev_mtu), port.netdev_mtu);
	ck_assert_uint_eq(le32toh(wire.port_cap_flags), port.port_cap_flags);
	ck_assert_uint_eq(wire.reserved, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("attributes");

	tcase_add_test(tc, attributes_come_back_as_they_were);
	tcase_add_test(tc, attributes_are_host_endian);
	tcase_add_test(tc, the_devices_limits_keep_their_places);
	tcase_add_test(tc, the_ports_attributes_keep_their_places);
	return suite_run("commands_attr", tc);
}
