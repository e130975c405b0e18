// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include <pvhca-version.h>

#include "admin/commands.h"

/* What pvhcad itself does for kernel consumers, on every fabric. */
#define KERNEL_CAPS PVHCA_KERNEL_GSI

/* Names as in the fabric's answer; the lower of the host's limit and the quota. */
static __le32 device_lower(__le32 host, uint32_t quota)
{
	uint32_t limit = le32toh(host);

	return htole32(limit < quota ? limit : quota);
}

static uint32_t device_power_of_two(uint32_t n)
{
	return n ? 1u << (31 - __builtin_clz(n)) : 0;
}

int commands_nop(struct vm *vm, const struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	(void)vm;
	(void)cmd;
	(void)rsp;
	return PVHCA_ST_OK;
}

int commands_query_device(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			  struct pvhca_admin_rsp *rsp)
{
	struct pvhca_rsp_query_device *device = &rsp->query_device;
	const struct quota *quota = &vm->policy->quota;
	uint64_t max_mr_size;
	int status;

	(void)cmd;
	status = vm->ops->query_device(vm, device);
	if (status)
		return status;

	max_mr_size = le64toh(device->max_mr_size);
	if (max_mr_size > quota->pinned_bytes)
		device->max_mr_size = htole64(quota->pinned_bytes);
	device->max_qp = device_lower(device->max_qp, quota->qps);
	device->max_qp_wr = device_lower(device->max_qp_wr, quota->max_wr);
	device->max_cq = device_lower(device->max_cq, quota->cqs);
	/* Rings have a power of two of entries, so no CQ can have more than that. */
	device->max_cqe = device_lower(device->max_cqe, device_power_of_two(quota->max_cqe));
	device->max_mr = device_lower(device->max_mr, quota->mrs);
	device->max_pd = device_lower(device->max_pd, quota->pds);
	device->gid_tbl_len = device_lower(device->gid_tbl_len, quota->gids);
	device->max_contexts = htole32(quota->contexts);
	device->max_mw = device_lower(device->max_mw, quota->mws);
	device->max_ah = device_lower(device->max_ah, quota->ahs);
	device->max_srq = device_lower(device->max_srq, quota->srqs);
	device->max_srq_wr = device_lower(device->max_srq_wr, quota->max_wr);
	memcpy(device->mac, vm->mac, sizeof(device->mac));
	device->kernel_caps = htole16(vm->ops->kernel_caps | KERNEL_CAPS);
	if (!device->fw_ver[0])
		snprintf(device->fw_ver, sizeof(device->fw_ver), "%s", PVHCA_VERSION);
	return PVHCA_ST_OK;
}

int commands_query_port(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			struct pvhca_admin_rsp *rsp)
{
	struct pvhca_rsp_query_port *port = &rsp->query_port;
	int status;

	if (le32toh(cmd->query_port.port) != 1)
		return PVHCA_ST_INVALID;
	status = vm->ops->query_port(vm, port);
	if (!status)
		port->gid_tbl_len = device_lower(port->gid_tbl_len, vm->policy->quota.gids);
	return status;
}
