// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Shared receive queues on the host device. Receives of all QPs of an SRQ complete
 * in one host CQ, in which the SRQ has room reserved for all its entries.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/heap.h"
#include "lib/log.h"
#include "fabric/verbs/private.h"

int verbs_srq_create(struct srq *srq)
{
	struct verbs_vm *vv = srq->vm->fabric_vm;
	struct ibv_srq_init_attr attr = {
		.srq_context = srq,
		.attr = { .max_wr = srq->max_wr, .max_sge = srq->max_sge },
	};
	struct verbs_srq *vsrq;
	int status;

	vsrq = heap_zalloc(srq->vm->heap, sizeof(*vsrq));
	if (!vsrq)
		return PVHCA_ST_NO_MEMORY;
	status = PVHCA_ST_NO_MEMORY;
	vsrq->headers = verbs_headers_new(srq->vm->heap, srq->rq.entries);
	if (!vsrq->headers)
		goto err_free;
	status = verbs_host_cq_reserve(vv, VERBS_RECEIVES, srq->rq.entries, &vsrq->host_cq);
	if (status)
		goto err_free;
	errno = 0;
	vsrq->srq = ibv_create_srq(srq->pd->fabric, &attr);
	if (!vsrq->srq) {
		status = verbs_status(errno ?: EIO);
		goto err_release_cq;
	}
	srq->max_wr = attr.attr.max_wr;
	srq->max_sge = attr.attr.max_sge;
	if (ibv_get_srq_num(vsrq->srq, &srq->srqn))
		srq->srqn = 0;
	srq->fabric = vsrq;
	return PVHCA_ST_OK;

err_release_cq:
	verbs_host_cq_release(vsrq->host_cq, srq->rq.entries);
err_free:
	verbs_headers_free(vsrq->headers);
	heap_free(vsrq);
	return status;
}

void verbs_srq_destroy(struct srq *srq)
{
	struct verbs_srq *vsrq = srq->fabric;
	int err = ibv_destroy_srq(vsrq->srq);

	if (err)
		vm_warning(srq->vm, "host SRQ could not be destroyed: %s", log_strerror(err));
	verbs_receiving_ends(srq->vm, &vsrq->receiving);
	verbs_host_cq_release(vsrq->host_cq, srq->rq.entries);
	verbs_headers_free(vsrq->headers);
	heap_free(vsrq);
}

int verbs_srq_set_limit(struct srq *srq, uint32_t limit)
{
	struct verbs_srq *vsrq = srq->fabric;
	struct ibv_srq_attr attr = { .srq_limit = limit };
	int err;

	/* What was posted before counts. */
	pthread_mutex_lock(&srq->lock);
	verbs_srq_serve(NULL, srq);
	srq->limit = limit;
	pthread_mutex_unlock(&srq->lock);
	err = ibv_modify_srq(vsrq->srq, &attr, IBV_SRQ_LIMIT);
	return err ? verbs_status(err) : PVHCA_ST_OK;
}

int verbs_srq_query(struct srq *srq, uint32_t *limit)
{
	struct verbs_srq *vsrq = srq->fabric;
	struct ibv_srq_attr attr;
	int err = ibv_query_srq(vsrq->srq, &attr);

	if (err)
		return verbs_status(err);
	*limit = attr.srq_limit;
	return PVHCA_ST_OK;
}
