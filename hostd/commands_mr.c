// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory regions. Registering can take long and be large: nothing is locked meanwhile, and
 * what a VM may register is bounded by its quota before its list is walked.
 */
#include <endian.h>
#include <stdlib.h>

#include "commands.h"
#include "log.h"

#define MR_ACCESS	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | \
			 IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC | \
			 IBV_ACCESS_MW_BIND)
/* IB_ACCESS_OPTIONAL of the kernel: hints, which may be dropped. */
#define MR_ACCESS_OPTIONAL	0x3ff00000u

static int mr_check(const struct session *session,
		    const struct pvhca_cmd_reg_mr *reg, uint32_t access)
{
	uint64_t length = le64toh(reg->length), offset = le64toh(reg->offset);
	uint64_t iova = le64toh(reg->iova), end;

	(void)session;
	if (access & ~MR_ACCESS)
		return PVHCA_ST_INVALID;
	/* As ibv_reg_mr(3): who lets others write must be able to write. */
	if ((access & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)) &&
	    !(access & IBV_ACCESS_LOCAL_WRITE))
		return PVHCA_ST_INVALID;
	if (!length || __builtin_add_overflow(iova, length, &end) ||
	    __builtin_add_overflow(offset, length, &end) ||
	    end > le64toh(reg->mem.length))
		return PVHCA_ST_INVALID;
	/* Whether iova may differ from the memory's place in its page is the engine's word. */
	return PVHCA_ST_OK;
}

/* Bytes that this registration pins, against the VM's quota. */
static int mr_check_pinned(struct session *session, uint64_t length)
{
	uint64_t quota = session->policy->quota.pinned_bytes;

	if (length > quota - atomic_load(&session->pinned_bytes))
		return commands_quota(session, "pinned-bytes", quota);
	return PVHCA_ST_OK;
}

int commands_reg_mr(struct session *session, const struct pvhca_admin_cmd *cmd,
		    struct pvhca_admin_rsp *rsp)
{
	const struct pvhca_cmd_reg_mr *reg = &cmd->reg_mr;
	uint32_t access = le32toh(reg->access) & ~MR_ACCESS_OPTIONAL;
	uint64_t pinned = le64toh(reg->mem.length);
	struct pd *pd = table_find(&session->pds, le32toh(reg->pd));
	struct mr *mr;
	int status;

	if (!pd)
		return PVHCA_ST_INVALID;
	status = mr_check(session, reg, access);
	if (!status)
		status = mr_check_pinned(session, pinned);
	if (status)
		return status;

	mr = calloc(1, sizeof(*mr));
	if (!mr)
		return PVHCA_ST_NO_MEMORY;
	mr->session = session;
	mr->pd = pd;
	mr->access = access;
	mr->iova = le64toh(reg->iova);
	mr->length = le64toh(reg->length);
	mr->offset = le64toh(reg->offset);
	status = extents_from_list(session->memory, &reg->mem, pinned,
				   &mr->extents);
	if (status)
		goto err_free;
	status = commands_table_add(session, &session->mrs, "mrs", mr,
				    &mr->handle);
	if (status)
		goto err_free_extents;
	status = session->ops->mr_reg(mr);
	if (status)
		goto err_del;
	pd->users++;
	atomic_fetch_add(&session->pinned_bytes, mr->extents->length);
	rsp->reg_mr.handle = htole32(mr->handle);
	rsp->reg_mr.lkey = htole32(mr->lkey);
	rsp->reg_mr.rkey = htole32(mr->rkey);
	return PVHCA_ST_OK;

err_del:
	table_del(&session->mrs, mr->handle);
err_free_extents:
	extents_free(mr->extents);
err_free:
	free(mr);
	return status;
}

void commands_free_mr(void *object, void *arg)
{
	struct session *session = arg;
	struct mr *mr = object;

	table_del(&session->mrs, mr->handle);
	session->ops->mr_dereg(mr);
	atomic_fetch_sub(&session->pinned_bytes, mr->extents->length);
	mr->pd->users--;
	extents_free(mr->extents);
	free(mr);
}

int commands_dereg_mr(struct session *session,
		      const struct pvhca_admin_cmd *cmd,
		      struct pvhca_admin_rsp *rsp)
{
	struct mr *mr = table_find(&session->mrs,
				   le32toh(cmd->destroy.handle));

	(void)rsp;
	if (!mr || cmd->destroy.reserved)
		return PVHCA_ST_INVALID;
	commands_free_mr(mr, session);
	return PVHCA_ST_OK;
}
