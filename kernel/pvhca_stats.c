// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Counters for `rdma statistic` and sysfs, from the start of a session. Work and
 * doorbells do not pass through the driver, so pvhcad counts them.
 */

#include "pvhca.h"

static const struct rdma_stat_desc pvhca_stat_descs[PVHCA_STATS] = {
	[PVHCA_STAT_ADMIN_COMMANDS].name = "admin_commands",
	[PVHCA_STAT_ADMIN_REFUSALS].name = "admin_refusals",
	[PVHCA_STAT_ADMIN_TIMEOUTS].name = "admin_timeouts",
	[PVHCA_STAT_ADMIN_ABANDONED].name = "admin_abandoned",
	[PVHCA_STAT_COMP_EVENTS].name = "completion_events",
	[PVHCA_STAT_ASYNC_EVENTS].name = "async_events",
	[PVHCA_STAT_STALE_EVENTS].name = "stale_events",
};

/**
 * pvhca_alloc_hw_port_stats - ib_device_ops.alloc_hw_port_stats
 * @ibdev: device
 * @port: number
 *
 * Return: room for the counters, or NULL.
 */
struct rdma_hw_stats *pvhca_alloc_hw_port_stats(struct ib_device *ibdev, u32 port)
{
	return rdma_alloc_hw_stats_struct(pvhca_stat_descs, PVHCA_STATS,
					  RDMA_HW_STATS_DEFAULT_LIFESPAN);
}

/**
 * pvhca_get_hw_stats - ib_device_ops.get_hw_stats
 * @ibdev: device
 * @stats: room for the counters
 * @port: number, or 0 for the device, which has none
 * @index: index of the counter that is wanted
 *
 * Return: how many were filled in: all.
 */
int pvhca_get_hw_stats(struct ib_device *ibdev, struct rdma_hw_stats *stats, u32 port, int index)
{
	struct pvhca_dev *dev = to_pvhca_dev(ibdev);
	int i;

	if (!port)
		return -EOPNOTSUPP;
	for (i = 0; i < PVHCA_STATS; i++)
		stats->value[i] = atomic64_read(&dev->stats[i]);
	return PVHCA_STATS;
}
