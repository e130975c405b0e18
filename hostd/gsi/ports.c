// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which session has which address and which GSI queue pair. Addresses are in one table for all
 * VMs, so that to find the owner of one takes the same time whatever the others have. It keeps
 * nodes of the ports, so that to add one cannot fail.
 */
#include <string.h>

#include "gsi/private.h"
#include "lib/heap.h"

pthread_mutex_t gsi_lock = PTHREAD_MUTEX_INITIALIZER;

static struct hash gids; /* struct gsi_gid by its address */

struct gsi_port *gsi_port_get(struct vm *vm)
{
	if (!vm->gsi_port)
		vm->gsi_port = heap_zalloc(vm->heap, sizeof(*vm->gsi_port));
	if (vm->gsi_port)
		vm->gsi_port->vm = vm;
	return vm->gsi_port;
}

void gsi_port_put(struct vm *vm)
{
	struct gsi_port *port = vm->gsi_port;

	if (!port || port->qp || port->num_gids)
		return;
	vm->gsi_port = NULL;
	heap_free(port);
}

/* ----------------------------------- finding ------------------------------- */

static struct gsi_gid *gid_is(struct hash_node *node, const uint8_t gid[16])
{
	struct gsi_gid *entry = hash_object(node, struct gsi_gid, node);

	return entry && !memcmp(entry->gid, gid, 16) ? entry : NULL;
}

static struct gsi_target target_of(const struct gsi_gid *entry)
{
	const struct gsi_port *port = entry->port;

	return (struct gsi_target){ port->vm, port->qp, entry->vlan };
}

struct gsi_target gsi_route(const struct gsi_port *from, const uint8_t gid[16])
{
	struct hash_node *node = hash_first(&gids, hash_bytes(gid, 16));
	const struct gsi_gid *entry, *found = NULL;

	for (; node; node = hash_next(node)) {
		entry = gid_is(node, gid);
		if (!entry || entry->port->vm->network != from->vm->network)
			continue;
		if (entry->port == from)
			return target_of(entry);
		found = entry;
	}
	return found ? target_of(found) : (struct gsi_target){ 0 };
}

struct gsi_target gsi_port_target(struct vm *vm, const uint8_t gid[16])
{
	struct gsi_target target = { vm, NULL, PVHCA_NO_VLAN };
	struct gsi_port *port = vm->gsi_port;

	if (!port)
		return target;
	target.qp = port->qp;
	for (unsigned int i = 0, left = port->num_gids; left; i++) {
		if (!port->gid[i])
			continue;
		if (!memcmp(port->gid[i]->gid, gid, 16)) {
			target.vlan = port->gid[i]->vlan;
			break;
		}
		left--;
	}
	return target;
}

/* ---------------------------------- addresses ------------------------------ */

/* With gsi_lock held. */
static int gid_insert(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan)
{
	struct gsi_port *port = gsi_port_get(vm);
	struct gsi_gid *entry;

	if (!port)
		return PVHCA_ST_NO_MEMORY;
	entry = heap_zalloc(vm->heap, sizeof(*entry));
	if (!entry) {
		gsi_port_put(vm);
		return PVHCA_ST_NO_MEMORY;
	}
	entry->port = port;
	entry->vlan = vlan;
	memcpy(entry->gid, gid, sizeof(entry->gid));
	hash_add(&gids, &entry->node, hash_bytes(gid, 16));
	port->gid[index] = entry;
	port->num_gids++;
	return PVHCA_ST_OK;
}

/* Likewise. */
static void gid_remove(struct gsi_port *port, uint32_t index)
{
	struct gsi_gid *entry = port->gid[index];

	if (!entry)
		return;
	port->gid[index] = NULL;
	port->num_gids--;
	hash_del(&gids, &entry->node);
	heap_free(entry);
}

int gsi_gid_add(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan)
{
	int status;

	pthread_mutex_lock(&gsi_lock);
	status = gid_insert(vm, index, gid, vlan);
	pthread_mutex_unlock(&gsi_lock);
	return status;
}

void gsi_gid_del(struct vm *vm, uint32_t index)
{
	pthread_mutex_lock(&gsi_lock);
	if (vm->gsi_port) {
		gid_remove(vm->gsi_port, index);
		gsi_port_put(vm);
	}
	pthread_mutex_unlock(&gsi_lock);
}

void gsi_hide(struct vm *vm)
{
	struct gsi_port *port;

	pthread_mutex_lock(&gsi_lock);
	port = vm->gsi_port;
	if (port) {
		port->qp = NULL;
		for (unsigned int i = 0; i < VM_GIDS; i++)
			gid_remove(port, i);
		gsi_port_put(vm);
	}
	pthread_mutex_unlock(&gsi_lock);
}
