// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host's membership in the IP multicast groups of its guests' QPs.
 *
 * RoCE v2 messages come as IP packets. An engine in software, such as rxe, gets
 * those of a group only when the host itself is a member on that interface, and
 * switches forward them for the same reason. The kernel's rdma_cm joins for native
 * applications (drivers/infiniband/core/cma.c); the guest's cannot, so we do.
 *
 * A socket is a member for as long as it is open. A session has one for each
 * group, however many of its QPs are attached.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/address.h"
#include "lib/calls.h"
#include "lib/log.h"
#include "fabric/verbs/private.h"

CALLS_ON("verbs", "socket setsockopt");

static int join(int fd, const union ibv_gid *gid, int ifindex)
{
	struct ipv6_mreq group6 = { .ipv6mr_interface = ifindex };
	struct ip_mreqn group4 = { .imr_ifindex = ifindex };

	if (address_is_ipv4(gid->raw)) {
		memcpy(&group4.imr_multiaddr, gid->raw + 12, sizeof(group4.imr_multiaddr));
		return setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group4, sizeof(group4));
	}
	memcpy(&group6.ipv6mr_multiaddr, gid->raw, sizeof(group6.ipv6mr_multiaddr));
	return setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &group6, sizeof(group6));
}

/* A socket that is a member, or a negative errno. */
static int member_new(const union ibv_gid *gid, int ifindex)
{
	int err,
		fd = socket(address_is_ipv4(gid->raw) ? AF_INET : AF_INET6,
			    SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (!join(fd, gid, ifindex))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static struct verbs_group *find(struct verbs_vm *vv, const union ibv_gid *gid)
{
	for (unsigned int i = 0; i < VERBS_GROUPS; i++)
		if (vv->group[i].users && !memcmp(&vv->group[i].gid, gid, sizeof(*gid)))
			return &vv->group[i];
	return NULL;
}

static struct verbs_group *find_free(struct verbs_vm *vv)
{
	for (unsigned int i = 0; i < VERBS_GROUPS; i++)
		if (!vv->group[i].users)
			return &vv->group[i];
	return NULL;
}

static struct log_source group_log;

/* With vv->lock held. */
static int group_join(struct verbs_vm *vv, const union ibv_gid *gid)
{
	struct verbs_group *group = find(vv, gid);
	int fd;

	if (group) {
		group->users++;
		return PVHCA_ST_OK;
	}
	group = find_free(vv);
	if (!group)
		return PVHCA_ST_NO_MEMORY;
	fd = member_new(gid, vv->fabric->netdev_ifindex);
	if (fd < 0) {
		log_from(&group_log, G_LOG_LEVEL_INFO,
			 "the host cannot join a guest's multicast group: %s", log_strerror(-fd));
		return verbs_status(-fd);
	}
	*group = (struct verbs_group){ .gid = *gid, .users = 1, .fd = fd };
	return PVHCA_ST_OK;
}

int verbs_group_join(struct verbs_vm *vv, const union ibv_gid *gid)
{
	int status;

	if (!vv->fabric->netdev_ifindex)
		return PVHCA_ST_OK;
	pthread_mutex_lock(&vv->lock);
	status = group_join(vv, gid);
	pthread_mutex_unlock(&vv->lock);
	return status;
}

void verbs_group_leave(struct verbs_vm *vv, const union ibv_gid *gid)
{
	struct verbs_group *group;

	pthread_mutex_lock(&vv->lock);
	group = find(vv, gid);
	if (group && !--group->users)
		close(group->fd);
	pthread_mutex_unlock(&vv->lock);
}
