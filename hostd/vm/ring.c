// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory of rings, granule by granule. */
#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "lib/heap.h"
#include "memory/memory.h"
#include "rdma/pvhca-ring.h"
#include "vm/ring.h"

/* Room for each region that extents lie in, and references to them. False: no memory. */
static bool ring_hold(struct heap *heap, struct ring_buffer *buffer, const struct extents *extents)
{
	struct region *region, *last = NULL, **regions;
	uint32_t i, at;

	for (i = 0; i < extents->count; i++) {
		region = extents->extent[i].region;
		if (region == last)
			continue;
		last = region;
		for (at = 0; at < buffer->num_regions && buffer->regions[at] != region; at++)
			;
		if (at < buffer->num_regions)
			continue;
		regions = heap_resize(heap, buffer->regions, (at + 1) * sizeof(region));
		if (!regions)
			return false;
		memory_region_get(region);
		regions[at] = region;
		buffer->regions = regions;
		buffer->num_regions = at + 1;
	}
	return true;
}

struct ring_buffer *ring_buffer_new(struct heap *heap, struct extents *extents)
{
	struct ring_buffer *buffer = NULL;
	uint64_t granules = extents->length >> PVHCA_GRANULE_SHIFT;
	uint32_t i, granule = 0;
	uint64_t at;

	if (granules > UINT32_MAX || extents->length & (PVHCA_GRANULE - 1))
		goto out;
	buffer = heap_zalloc(heap, sizeof(*buffer) + granules * sizeof(buffer->granule[0]));
	if (!buffer)
		goto out;
	if (!ring_hold(heap, buffer, extents)) {
		ring_buffer_free(buffer);
		buffer = NULL;
		goto out;
	}
	buffer->granules = granules;
	for (i = 0; i < extents->count; i++)
		for (at = 0; at < extents->extent[i].len; at += PVHCA_GRANULE)
			buffer->granule[granule++] = extents->extent[i].host + at;
out:
	extents_put(extents);
	return buffer;
}

void ring_buffer_free(struct ring_buffer *buffer)
{
	if (!buffer)
		return;
	while (buffer->num_regions)
		memory_region_put(buffer->regions[--buffer->num_regions]);
	heap_free(buffer->regions);
	heap_free(buffer);
}

/* Of a packet's fields: a RoCE packet has 3 bits for the priority that the service level is. */
#define FLOW_LABEL_MASK 0xfffffu
#define SL_MASK		7

void ring_read_av(const struct pvhca_av *from, struct av *to)
{
	*to = (struct av){
		.flow_label = le32toh(from->flow_label) & FLOW_LABEL_MASK,
		.sgid_index = from->sgid_index,
		.hop_limit = from->hop_limit,
		.traffic_class = from->traffic_class,
		.sl = from->sl & SL_MASK,
		.port = from->port,
		.static_rate = from->static_rate,
		.is_global = from->is_global,
	};
	memcpy(to->dgid, from->dgid, sizeof(to->dgid));
}
