// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include <pvhca-version.h>

#include "admin/commands.h"
#include "admin/commands_attr.h"

/* What pvhcad itself does for kernel consumers, on every fabric. */
#define KERNEL_CAPS PVHCA_KERNEL_GSI

/* The lower of the host's limit and the quota. */
static uint32_t device_lower(uint32_t host, uint32_t quota)
{
	return host < quota ? host : quota;
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

static void device_apply_quota(struct device_limits *limits, const struct quota *quota)
{
	if (limits->max_mr_size > quota->pinned_bytes)
		limits->max_mr_size = quota->pinned_bytes;
	limits->max_qp = device_lower(limits->max_qp, quota->qps);
	limits->max_qp_wr = device_lower(limits->max_qp_wr, quota->max_wr);
	limits->max_cq = device_lower(limits->max_cq, quota->cqs);
	/* Rings have a power of two of entries, so no CQ can have more than that. */
	limits->max_cqe = device_lower(limits->max_cqe, device_power_of_two(quota->max_cqe));
	limits->max_mr = device_lower(limits->max_mr, quota->mrs);
	limits->max_pd = device_lower(limits->max_pd, quota->pds);
	limits->gid_tbl_len = device_lower(limits->gid_tbl_len, quota->gids);
	limits->max_mw = device_lower(limits->max_mw, quota->mws);
	limits->max_ah = device_lower(limits->max_ah, quota->ahs);
	limits->max_srq = device_lower(limits->max_srq, quota->srqs);
	limits->max_srq_wr = device_lower(limits->max_srq_wr, quota->max_wr);
	if (!limits->fw_ver[0])
		snprintf(limits->fw_ver, sizeof(limits->fw_ver), "%s", PVHCA_VERSION);
}

int commands_query_device(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			  struct pvhca_admin_rsp *rsp)
{
	struct pvhca_rsp_query_device *device = &rsp->query_device;
	const struct quota *quota = &vm->policy->quota;
	struct device_limits limits = { 0 };
	int status;

	(void)cmd;
	status = vm->ops->query_device(vm, &limits);
	if (status)
		return status;
	device_apply_quota(&limits, quota);
	commands_write_device(&limits, device);
	device->max_contexts = htole32(quota->contexts);
	memcpy(device->mac, vm->mac, sizeof(device->mac));
	device->kernel_caps = htole16(vm->ops->kernel_caps | KERNEL_CAPS);
	return PVHCA_ST_OK;
}

int commands_query_port(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			struct pvhca_admin_rsp *rsp)
{
	struct port_attr port = { 0 };
	int status;

	if (le32toh(cmd->query_port.port) != 1)
		return PVHCA_ST_INVALID;
	status = COMMANDS_FABRIC(vm, query_port, vm, &port);
	if (status)
		return status;
	port.gid_tbl_len = device_lower(port.gid_tbl_len, vm->policy->quota.gids);
	commands_write_port(&port, &rsp->query_port);
	return PVHCA_ST_OK;
}
