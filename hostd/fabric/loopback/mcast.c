// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Multicast groups of the loopback fabric: the UD QPs of a network that are attached to a
 * GID, for senders in any worker (RCU). A group begins with its first QP and ends with its
 * last.
 *
 * The number of QPs that each VM may attach to a group bounds the work of a sender for
 * one message. No VM can use up the share of others. What does not fit in a turn of the
 * sender's VM goes on in the next, with the members that were there when it began.
 */
#include <stdlib.h>
#include <string.h>

#include <urcu-qsbr.h>
#include <urcu/rcuhlist.h>

#include "lib/grace.h"
#include "lib/address.h"
#include "lib/heap.h"
#include "fabric/loopback/private.h"
#include "fabric/loopback/qp.h"
#include "vm/pass.h"
#include "vm/vm.h"

/**
 * struct loopback_attachment - a QP in a group
 * @in_group: RCU
 * @number: later ones have bigger numbers, and stand before it in the group; never 0
 * @next: the QP's next; under vm->lock
 */
struct loopback_attachment {
	struct cds_hlist_node in_group;
	uint64_t number;
	struct loopback_attachment *next;
	struct loopback_group *group;
	struct loopback_qp *lqp;
};

struct loopback_group {
	struct cds_hlist_node node;
	struct cds_hlist_head members;
	uint32_t network;
	uint8_t gid[LOOPBACK_GID_LEN];
};

/* In an RCU read section, or with fabric->lock held. */
static struct loopback_group *group_find(struct loopback *fabric, uint32_t network,
					 const uint8_t gid[LOOPBACK_GID_LEN])
{
	struct loopback_group *group;

	cds_hlist_for_each_entry_rcu_2 (group, &fabric->groups[loopback_gid_bucket(gid)], node)
		if (group->network == network && !memcmp(group->gid, gid, LOOPBACK_GID_LEN))
			return group;
	return NULL;
}

uint64_t loopback_mcast_for_each(struct loopback *fabric, uint32_t network,
				 const uint8_t gid[LOOPBACK_GID_LEN], uint64_t before,
				 struct pass *pass, void (*fn)(struct loopback_qp *lqp, void *arg),
				 void *arg)
{
	struct loopback_group *group = group_find(fabric, network, gid);
	struct loopback_attachment *attachment;
	bool first = true;

	if (!group)
		return 0;
	cds_hlist_for_each_entry_rcu_2 (attachment, &group->members, in_group) {
		pass_spend(pass, PASS_LOOK_NS);
		if (before && attachment->number >= before)
			continue;
		/* One at least, for else a small turn would never end. */
		if (!first && !pass_goes_on(pass))
			return attachment->number + 1;
		first = false;
		fn(attachment->lqp, arg);
	}
	return 0;
}

/* --------------------------------- attach ---------------------------------- */

static struct loopback_attachment **attachment_find(struct loopback_qp *lqp,
						    const uint8_t gid[LOOPBACK_GID_LEN])
{
	struct loopback_attachment **place = &lqp->attachments;

	while (*place && memcmp((*place)->group->gid, gid, LOOPBACK_GID_LEN))
		place = &(*place)->next;
	return place;
}

/* QPs that a VM has in a group; with fabric->lock held. */
static unsigned int count_members(const struct loopback_group *group, const struct vm *vm)
{
	struct loopback_attachment *attachment;
	unsigned int count = 0;

	cds_hlist_for_each_entry_rcu_2 (attachment, &group->members, in_group)
		count += attachment->lqp->qp->vm == vm;
	return count;
}

/* With fabric->lock held. */
static int attach(struct loopback *fabric, struct loopback_qp *lqp,
		  const uint8_t gid[LOOPBACK_GID_LEN], struct loopback_attachment *attachment)
{
	const struct vm *vm = lqp->qp->vm;
	struct loopback_group *group = group_find(fabric, vm->network, gid);

	if (group && count_members(group, vm) >= LOOPBACK_MAX_MCAST_ATTACH)
		return PVHCA_ST_QUOTA;
	if (!group) {
		group = calloc(1, sizeof(*group));
		if (!group)
			return PVHCA_ST_NO_MEMORY;
		group->network = vm->network;
		memcpy(group->gid, gid, LOOPBACK_GID_LEN);
		cds_hlist_add_head_rcu(&group->node, &fabric->groups[loopback_gid_bucket(gid)]);
	}
	attachment->group = group;
	attachment->lqp = lqp;
	attachment->number = ++fabric->attachments;
	cds_hlist_add_head_rcu(&attachment->in_group, &group->members);
	return PVHCA_ST_OK;
}

int loopback_mcast_attach(struct qp *qp, const uint8_t gid[16], uint16_t lid)
{
	struct loopback_vm *ls = qp->vm->fabric_vm;
	struct loopback_attachment *attachment;
	struct loopback_qp *lqp = qp->fabric;
	int status;

	(void)lid; /* of InfiniBand's links */
	if (qp->type != PVHCA_QPT_UD || !address_is_group(gid))
		return PVHCA_ST_INVALID;
	/* A second time changes nothing: one copy of a message is delivered. */
	if (*attachment_find(lqp, gid))
		return PVHCA_ST_OK;
	if (ls->attachments >= LOOPBACK_MAX_MCAST_TOTAL)
		return PVHCA_ST_QUOTA;
	attachment = heap_zalloc(qp->vm->heap, sizeof(*attachment));
	if (!attachment)
		return PVHCA_ST_NO_MEMORY;
	pthread_mutex_lock(&ls->fabric->lock);
	status = attach(ls->fabric, lqp, gid, attachment);
	pthread_mutex_unlock(&ls->fabric->lock);
	if (status) {
		heap_free(attachment);
		return status;
	}
	attachment->next = lqp->attachments;
	lqp->attachments = attachment;
	ls->attachments++;
	return PVHCA_ST_OK;
}

/* --------------------------------- detach ---------------------------------- */

/* Returns whether the group is empty now, and so gone. With fabric->lock held. */
static bool detach(struct loopback_attachment *attachment)
{
	struct loopback_group *group = attachment->group;

	cds_hlist_del_rcu(&attachment->in_group);
	if (group->members.next)
		return false;
	cds_hlist_del_rcu(&group->node);
	return true;
}

int loopback_mcast_detach(struct qp *qp, const uint8_t gid[16], uint16_t lid)
{
	struct loopback_vm *ls = qp->vm->fabric_vm;
	struct loopback_attachment **place, *attachment;
	struct loopback_qp *lqp = qp->fabric;
	bool last;

	(void)lid;
	place = attachment_find(lqp, gid);
	attachment = *place;
	if (!attachment)
		return PVHCA_ST_INVALID;
	*place = attachment->next;
	ls->attachments--;
	pthread_mutex_lock(&ls->fabric->lock);
	last = detach(attachment);
	pthread_mutex_unlock(&ls->fabric->lock);
	grace_wait();
	if (last)
		free(attachment->group);
	heap_free(attachment);
	return PVHCA_ST_OK;
}

void loopback_mcast_detach_all(struct loopback_qp *lqp)
{
	struct loopback_vm *ls = lqp->qp->vm->fabric_vm;
	struct loopback_attachment *attachment;

	pthread_mutex_lock(&ls->fabric->lock);
	for (attachment = lqp->attachments; attachment; attachment = attachment->next)
		if (!detach(attachment))
			attachment->group = NULL;
	pthread_mutex_unlock(&ls->fabric->lock);
}

void loopback_mcast_free_all(struct loopback_qp *lqp)
{
	struct loopback_vm *ls = lqp->qp->vm->fabric_vm;
	struct loopback_attachment *attachment;

	while ((attachment = lqp->attachments)) {
		lqp->attachments = attachment->next;
		free(attachment->group);
		heap_free(attachment);
		ls->attachments--;
	}
}
