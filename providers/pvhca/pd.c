// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Protection domains, thread domains and parent domains.
 *
 * Only the first are known to the kernel. A parent domain stands for one of them,
 * has its handle, and says where the memory of queues comes from and whether they
 * need locks.
 */
#include <errno.h>
#include <stdlib.h>

#include "pvhca.h"
#include "pvhca-abi.h"

static void get(unsigned int *users)
{
	__atomic_fetch_add(users, 1, __ATOMIC_RELAXED);
}

static void put(unsigned int *users)
{
	__atomic_fetch_sub(users, 1, __ATOMIC_RELEASE);
}

static bool in_use(const unsigned int *users)
{
	return __atomic_load_n(users, __ATOMIC_ACQUIRE);
}

struct ibv_pd *pvhca_alloc_pd(struct ibv_context *ibctx)
{
	struct pvhca_ucmd_alloc_pd_resp resp = {};
	struct ibv_alloc_pd cmd;
	struct pvhca_pd *pd;
	int err;

	pd = calloc(1, sizeof(*pd));
	if (!pd) {
		errno = ENOMEM;
		return NULL;
	}

	err = ibv_cmd_alloc_pd(ibctx, &pd->ibv_pd, &cmd, sizeof(cmd),
			       &resp.ibv_resp, sizeof(resp));
	if (err) {
		free(pd);
		errno = err;
		return NULL;
	}
	return &pd->ibv_pd;
}

static void free_parent_domain(struct pvhca_pd *pd)
{
	put(&pd->protection->users);
	if (pd->td)
		put(&pd->td->users);
	free(pd);
}

int pvhca_dealloc_pd(struct ibv_pd *ibpd)
{
	struct pvhca_pd *pd = to_pvhca_pd(ibpd);
	int err;

	if (in_use(&pd->users))
		return EBUSY;
	if (pd->protection) {
		free_parent_domain(pd);
		return 0;
	}

	err = ibv_cmd_dealloc_pd(ibpd);
	if (err)
		return err;
	free(pd);
	return 0;
}

struct ibv_td *pvhca_alloc_td(struct ibv_context *ibctx,
			      struct ibv_td_init_attr *attr)
{
	struct pvhca_td *td;

	if (attr->comp_mask) {
		errno = EOPNOTSUPP;
		return NULL;
	}

	td = calloc(1, sizeof(*td));
	if (!td) {
		errno = ENOMEM;
		return NULL;
	}
	td->ibv_td.context = ibctx;
	return &td->ibv_td;
}

int pvhca_dealloc_td(struct ibv_td *ibtd)
{
	struct pvhca_td *td = to_pvhca_td(ibtd);

	if (in_use(&td->users))
		return EBUSY;
	free(td);
	return 0;
}

static int check_parent_attr(const struct ibv_parent_domain_init_attr *attr)
{
	if (!check_comp_mask(attr->comp_mask,
			     IBV_PARENT_DOMAIN_INIT_ATTR_ALLOCATORS |
				     IBV_PARENT_DOMAIN_INIT_ATTR_PD_CONTEXT))
		return EOPNOTSUPP;
	if (!attr->pd || to_pvhca_pd(attr->pd)->protection)
		return EINVAL;
	if (attr->comp_mask & IBV_PARENT_DOMAIN_INIT_ATTR_ALLOCATORS &&
	    (!attr->alloc || !attr->free))
		return EINVAL;
	return 0;
}

struct ibv_pd *
pvhca_alloc_parent_domain(struct ibv_context *ibctx,
			  struct ibv_parent_domain_init_attr *attr)
{
	struct pvhca_pd *pd;
	int err;

	(void)ibctx;
	err = check_parent_attr(attr);
	if (err) {
		errno = err;
		return NULL;
	}

	pd = calloc(1, sizeof(*pd));
	if (!pd) {
		errno = ENOMEM;
		return NULL;
	}
	ibv_initialize_parent_domain(&pd->ibv_pd, attr->pd);
	pd->protection = to_pvhca_pd(attr->pd);
	get(&pd->protection->users);
	if (attr->td) {
		pd->td = to_pvhca_td(attr->td);
		get(&pd->td->users);
	}
	if (attr->comp_mask & IBV_PARENT_DOMAIN_INIT_ATTR_ALLOCATORS) {
		pd->alloc = attr->alloc;
		pd->free = attr->free;
	}
	if (attr->comp_mask & IBV_PARENT_DOMAIN_INIT_ATTR_PD_CONTEXT)
		pd->context = attr->pd_context;
	return &pd->ibv_pd;
}

/**
 * pvhca_get_parent() - keep the parent domain that a queue is made with
 * @ibpd: any domain
 *
 * Return: it, to be given back by pvhca_put_parent(); NULL if @ibpd is an ordinary
 * protection domain.
 */
struct pvhca_pd *pvhca_get_parent(struct ibv_pd *ibpd)
{
	struct pvhca_pd *pd = to_pvhca_pd(ibpd);

	if (!pd->protection)
		return NULL;
	get(&pd->users);
	return pd;
}

void pvhca_put_parent(struct pvhca_pd *parent)
{
	if (parent)
		put(&parent->users);
}
