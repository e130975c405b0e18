// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Listening on the host for guests, on each of a VM's addresses and each port
 * that its settings name, in both port spaces.
 */
#include <errno.h>
#include <netinet/in.h>

#include "lib/address.h"
#include "fabric/verbs/cm/private.h"

/* The host's bound applies where it is lower. */
#define BACKLOG 1024

static void cm_listener_free(struct cm_listener *listener)
{
	if (listener->rdma)
		rdma_destroy_id(listener->rdma);
	heap_free(listener);
}

static int cm_listener_open(struct cm_listener *listener, const struct cm_gid *gid)
{
	struct sockaddr_storage address;

	if (rdma_create_id(cm_channel(), &listener->rdma, listener,
			   listener->ud ? RDMA_PS_UDP : RDMA_PS_TCP)) {
		listener->rdma = NULL;
		return -errno;
	}
	cm_sockaddr(gid->host, listener->port, gid->ifindex, &address);
	if (rdma_bind_addr(listener->rdma, (struct sockaddr *)&address))
		return -errno;
	if (!cm_right_device(listener->rdma))
		return -ENODEV;
	return rdma_listen(listener->rdma, BACKLOG) ? -errno : 0;
}

static void cm_listen_refused(const struct cm_listener *listener, const struct cm_gid *gid,
			      int error)
{
	char text[ADDRESS_TEXT];
	const char *why = error == -EADDRINUSE || error == -EADDRNOTAVAIL ?
		"another VM or a program of the host does" :
		error == -ENODEV ? "another device of the host has the address" :
				   log_strerror(-error);

	address_text(gid->host, text);
	vm_log(listener->cv->vm,
	       address_is_link_local(gid->host) ? G_LOG_LEVEL_INFO : G_LOG_LEVEL_WARNING,
	       "cannot listen on %s port %u (%s): %s; native peers do not reach it there", text,
	       listener->port, listener->ud ? "UDP" : "TCP", why);
}

/* False: refused; the reason is logged. */
static bool cm_listen_one(struct cm_vm *cv, struct cm_gid *gid, uint16_t port, bool ud)
{
	struct cm_listener *listener = heap_zalloc(cv->vm->heap, sizeof(*listener));
	int error;

	if (!listener) {
		vm_warning(cv->vm, "no memory to listen on port %u for it", port);
		return false;
	}
	listener->kind = CM_LISTENER;
	listener->cv = cv;
	listener->port = port;
	listener->ud = ud;
	memcpy(listener->gid, gid->gid, sizeof(listener->gid));
	error = cm_listener_open(listener, gid);
	if (error) {
		cm_listen_refused(listener, gid, error);
		cm_listener_free(listener);
		return false;
	}
	cds_list_add(&listener->node, &gid->listeners);
	return true;
}

bool cm_is_translated(const struct cm_gid *gid)
{
	return memcmp(gid->gid, gid->host, sizeof(gid->gid)) != 0;
}

/* The ports that all have by default are not for VMs that share an address. */
static const struct port_list *cm_ports(const struct cm_vm *cv, const struct cm_gid *gid)
{
	static const struct port_list none;
	const struct vm_policy *policy = cv->vm->policy;

	return cm_is_translated(gid) && !policy->has_listen ? &none : &policy->listen;
}

static bool cm_listens(const struct cm_vm *cv, const struct cm_gid *gid)
{
	struct cm_gid *other;

	cds_list_for_each_entry (other, &cv->gids, node)
		if (!cds_list_empty(&other->listeners) &&
		    !memcmp(other->host, gid->host, sizeof(other->host)))
			return true;
	return false;
}

void cm_listen(struct cm_vm *cv, struct cm_gid *gid)
{
	const struct port_list *ports = cm_ports(cv, gid);

	if (cm_listens(cv, gid))
		return;
	for (unsigned int i = 0; i < ports->count; i++)
		for (uint32_t port = ports->range[i].first; port <= ports->range[i].last; port++)
			/* Who has one of the two has, as a rule, both. */
			if (cm_listen_one(cv, gid, port, false))
				cm_listen_one(cv, gid, port, true);
}

void cm_unlisten(struct cm_gid *gid)
{
	struct cm_listener *listener, *next;

	cds_list_for_each_entry_safe (listener, next, &gid->listeners, node)
		cm_listener_free(listener);
	CDS_INIT_LIST_HEAD(&gid->listeners);
}
