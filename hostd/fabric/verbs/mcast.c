// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Multicast groups of UD QPs. The host refuses to destroy a QP that is attached, so
 * what is attached is kept here.
 */
#include <stdlib.h>
#include <string.h>

#include "fabric/verbs/private.h"
#include "lib/heap.h"

struct verbs_mcast {
	struct verbs_mcast *next;
	union ibv_gid gid;
	uint16_t lid;
};

static struct verbs_mcast **mcast_find(struct verbs_qp *vqp, const uint8_t gid[16], uint16_t lid)
{
	struct verbs_mcast **at;

	for (at = &vqp->mcasts; *at; at = &(*at)->next)
		if ((*at)->lid == lid && !memcmp((*at)->gid.raw, gid, sizeof((*at)->gid.raw)))
			break;
	return at;
}

int verbs_mcast_attach(struct qp *qp, const uint8_t gid[16], uint16_t lid)
{
	struct verbs_vm *vv = qp->vm->fabric_vm;
	struct verbs_qp *vqp = qp->fabric;
	struct verbs_mcast *mcast;
	int status, err;

	if (*mcast_find(vqp, gid, lid))
		return PVHCA_ST_OK; /* as the host's verbs have it */
	if (vqp->num_mcasts == VERBS_MAX_MCASTS)
		return PVHCA_ST_NO_MEMORY;
	mcast = heap_zalloc(qp->vm->heap, sizeof(*mcast));
	if (!mcast)
		return PVHCA_ST_NO_MEMORY;
	memcpy(mcast->gid.raw, gid, sizeof(mcast->gid.raw));
	mcast->lid = lid;
	status = verbs_group_join(vv, &mcast->gid);
	if (status)
		goto err_free;
	err = ibv_attach_mcast(vqp->qp, &mcast->gid, lid);
	if (err) {
		status = verbs_status(err);
		goto err_leave;
	}
	mcast->next = vqp->mcasts;
	vqp->mcasts = mcast;
	vqp->num_mcasts++;
	return PVHCA_ST_OK;

err_leave:
	verbs_group_leave(vv, &mcast->gid);
err_free:
	heap_free(mcast);
	return status;
}

static int mcast_detach(struct verbs_vm *vv, struct verbs_qp *vqp, struct verbs_mcast **at)
{
	struct verbs_mcast *mcast = *at;
	int err = ibv_detach_mcast(vqp->qp, &mcast->gid, mcast->lid);

	if (err)
		return verbs_status(err);
	*at = mcast->next;
	vqp->num_mcasts--;
	verbs_group_leave(vv, &mcast->gid);
	heap_free(mcast);
	return PVHCA_ST_OK;
}

int verbs_mcast_detach(struct qp *qp, const uint8_t gid[16], uint16_t lid)
{
	struct verbs_qp *vqp = qp->fabric;
	struct verbs_mcast **at = mcast_find(vqp, gid, lid);

	return *at ? mcast_detach(qp->vm->fabric_vm, vqp, at) : PVHCA_ST_INVALID;
}

void verbs_mcast_detach_all(struct verbs_vm *vv, struct verbs_qp *vqp)
{
	struct verbs_mcast *mcast;

	while (vqp->mcasts && !mcast_detach(vv, vqp, &vqp->mcasts))
		;
	/* Where the host fails to detach, destroying the QP fails and says so. */
	while ((mcast = vqp->mcasts)) {
		vqp->mcasts = mcast->next;
		verbs_group_leave(vv, &mcast->gid);
		heap_free(mcast);
	}
}
