// SPDX-License-Identifier: GPL-2.0-or-later
/* Which session has which address and which GSI queue pair. */
#include <string.h>

#include "gsi/private.h"
#include "lib/heap.h"

pthread_mutex_t gsi_lock = PTHREAD_MUTEX_INITIALIZER;

/* By session, few addresses each: MADs are rare, so a walk will do. Under gsi_lock. */
static CDS_LIST_HEAD(ports);

struct gsi_port *gsi_port_find(const struct vm *vm)
{
	struct gsi_port *port;

	cds_list_for_each_entry (port, &ports, node)
		if (port->vm == vm)
			return port;
	return NULL;
}

struct gsi_port *gsi_port_get(struct vm *vm)
{
	struct gsi_port *port = gsi_port_find(vm);

	if (port)
		return port;
	port = heap_zalloc(vm->heap, sizeof(*port));
	if (!port)
		return NULL;
	port->vm = vm;
	cds_list_add(&port->node, &ports);
	return port;
}

void gsi_port_put(struct gsi_port *port)
{
	if (port->qp || port->num_gids)
		return;
	cds_list_del(&port->node);
	heap_free(port);
}

/* Index of the first entry with this address, or -1. */
static int gsi_port_index(const struct gsi_port *port, const uint8_t gid[16])
{
	unsigned int left = port->num_gids;

	for (int i = 0; left; i++) {
		if (!port->used[i])
			continue;
		if (!memcmp(port->gid[i], gid, 16))
			return i;
		left--;
	}
	return -1;
}

static bool gsi_port_has(const struct gsi_port *port, const uint8_t gid[16])
{
	return gsi_port_index(port, gid) >= 0;
}

uint16_t gsi_port_vlan(const struct gsi_port *port, const uint8_t gid[16])
{
	int index = gsi_port_index(port, gid);

	return index < 0 ? PVHCA_NO_VLAN : port->vlan[index];
}

struct gsi_port *gsi_route(struct gsi_port *from, const uint8_t gid[16])
{
	struct gsi_port *port;

	if (gsi_port_has(from, gid))
		return from;
	cds_list_for_each_entry (port, &ports, node)
		if (port->vm->network == from->vm->network && gsi_port_has(port, gid))
			return port;
	return NULL;
}

int gsi_gid_add(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan)
{
	struct gsi_port *port;

	pthread_mutex_lock(&gsi_lock);
	port = gsi_port_get(vm);
	if (port) {
		memcpy(port->gid[index], gid, 16);
		port->vlan[index] = vlan;
		port->used[index] = true;
		port->num_gids++;
	}
	pthread_mutex_unlock(&gsi_lock);
	return port ? PVHCA_ST_OK : PVHCA_ST_NO_MEMORY;
}

void gsi_gid_del(struct vm *vm, uint32_t index)
{
	struct gsi_port *port;

	pthread_mutex_lock(&gsi_lock);
	port = gsi_port_find(vm);
	if (port && port->used[index]) {
		port->used[index] = false;
		port->num_gids--;
		gsi_port_put(port);
	}
	pthread_mutex_unlock(&gsi_lock);
}
