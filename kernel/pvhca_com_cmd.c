// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The commands, a function for each: arguments to wire format, completion to
 * result, status to errno.
 *
 * All of them sleep, and may be called with rtnl_lock() held. Those that make
 * something or ask give 0 or a negative errno, -EIO for a dead session; what
 * that means for memory is said at pvhca_com_exec().
 *
 * A process that is killed does not wait for the answer to what it asked for
 * (-EINTR). Those commands that end something are waited for.
 *
 * Those that destroy something succeed on a dead session, where the RESET has
 * destroyed everything; after success pvhcad uses nothing of the object any more.
 * A refusal means that driver and pvhcad disagree about the objects that exist. No
 * caller could handle that, so it kills the session. Regions are the exception: they
 * may be in use by windows, which the core does not count.
 */

#include "pvhca.h"
#include "pvhca_com_cmd.h"

static int pvhca_com_status_to_errno(u32 status)
{
	switch (status) {
	case PVHCA_ST_OK:
		return 0;
	case PVHCA_ST_INVALID:
		return -EINVAL;
	case PVHCA_ST_NO_MEMORY:
	case PVHCA_ST_QUOTA:
		return -ENOMEM;
	case PVHCA_ST_UNSUPPORTED:
		return -EOPNOTSUPP;
	case PVHCA_ST_DENIED:
		return -EPERM;
	case PVHCA_ST_BUSY:
		return -EBUSY;
	case PVHCA_ST_BAD_ADDRESS:
		return -EFAULT;
	case PVHCA_ST_VERSION:
		return -EPROTO;
	case PVHCA_ST_IN_USE:
		return -EADDRINUSE;
	case PVHCA_ST_NOT_FOUND:
		return -ENODEV;
	case PVHCA_ST_TIMED_OUT:
		return -ETIMEDOUT;
	case PVHCA_ST_UNREACHABLE:
		return -ENETUNREACH;
	case PVHCA_ST_AGAIN:
		return -EAGAIN;
	case PVHCA_ST_IO:
	default:
		return -EIO;
	}
}

static int pvhca_com_run_leaving(struct pvhca_dev *dev, enum pvhca_admin_opcode opcode,
				 struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp,
				 const struct pvhca_com_leave *leave)
{
	int err;

	cmd->opcode = cpu_to_le16(opcode);
	err = pvhca_com_exec(&dev->com, cmd, rsp, leave);
	if (err)
		return err;
	err = pvhca_com_status_to_errno(le32_to_cpu(rsp->status));
	if (err) {
		pvhca_stat_inc(dev, PVHCA_STAT_ADMIN_REFUSALS);
		dev_dbg(pvhca_to_dma_device(dev), "admin command %d: status %u\n", opcode,
			le32_to_cpu(rsp->status));
	}
	return err;
}

/* A command that is waited for to its end. */
static int pvhca_com_run(struct pvhca_dev *dev, enum pvhca_admin_opcode opcode,
			 struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp)
{
	return pvhca_com_run_leaving(dev, opcode, cmd, rsp, NULL);
}

/* ---------------------------------- ends ----------------------------------- */

static int pvhca_com_send_destroy(struct pvhca_dev *dev, enum pvhca_admin_opcode opcode, u32 handle)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;

	cmd.destroy.handle = cpu_to_le32(handle);
	return pvhca_com_run(dev, opcode, &cmd, &rsp);
}

/* Returns 0, or -EBUSY if @opcode may be refused for that. */
static int pvhca_com_destroyed(struct pvhca_dev *dev, enum pvhca_admin_opcode opcode, int err)
{
	if (!err || pvhca_dev_is_dead(dev))
		return 0;
	if (err == -EBUSY && opcode == PVHCA_CMD_DEREG_MR)
		return err;
	dev_err_ratelimited(pvhca_to_dma_device(dev), "admin command %d was refused: %d\n", opcode,
			    err);
	pvhca_dev_kill(dev, "an object could not be destroyed");
	pvhca_dev_may_free(dev);
	return 0;
}

/* Returns as pvhca_com_destroyed(). An abandoned command's object may be in the way. */
static int pvhca_com_run_destroy(struct pvhca_dev *dev, enum pvhca_admin_opcode opcode, u32 handle)
{
	bool more;
	u32 count;
	int err;

	for (;;) {
		count = pvhca_com_count_settled(&dev->com, &more);
		err = pvhca_com_send_destroy(dev, opcode, handle);
		if (err != -EBUSY || !more)
			return pvhca_com_destroyed(dev, opcode, err);
		pvhca_com_wait_settled(&dev->com, count);
	}
}

/* The command that destroys what @opcode made; PVHCA_CMD_NOP if it makes no object. */
static enum pvhca_admin_opcode pvhca_com_opposite(u16 opcode)
{
	switch (opcode) {
	case PVHCA_CMD_ALLOC_CONTEXT:
		return PVHCA_CMD_DEALLOC_CONTEXT;
	case PVHCA_CMD_ALLOC_PD:
		return PVHCA_CMD_DEALLOC_PD;
	case PVHCA_CMD_REG_MR:
		return PVHCA_CMD_DEREG_MR;
	case PVHCA_CMD_ALLOC_MW:
		return PVHCA_CMD_DEALLOC_MW;
	case PVHCA_CMD_CREATE_CQ:
		return PVHCA_CMD_DESTROY_CQ;
	case PVHCA_CMD_CREATE_QP:
		return PVHCA_CMD_DESTROY_QP;
	case PVHCA_CMD_CREATE_AH:
		return PVHCA_CMD_DESTROY_AH;
	case PVHCA_CMD_CREATE_SRQ:
		return PVHCA_CMD_DESTROY_SRQ;
	default:
		return PVHCA_CMD_NOP;
	}
}

/* The answers of all that make an object begin with its handle. */
#define PVHCA_HANDLE_IS_FIRST(type)                         \
	static_assert(offsetof(struct type, handle) == 0 && \
		      sizeof_field(struct type, handle) == sizeof(__le32))
PVHCA_HANDLE_IS_FIRST(pvhca_handle);
PVHCA_HANDLE_IS_FIRST(pvhca_rsp_alloc_context);
PVHCA_HANDLE_IS_FIRST(pvhca_rsp_reg_mr);
PVHCA_HANDLE_IS_FIRST(pvhca_rsp_alloc_mw);
PVHCA_HANDLE_IS_FIRST(pvhca_rsp_create_cq);
PVHCA_HANDLE_IS_FIRST(pvhca_rsp_create_qp);
PVHCA_HANDLE_IS_FIRST(pvhca_rsp_create_srq);

/*
 * pvhca_com_leave.settle: no process waits for the answer. A new object is destroyed;
 * nothing can use it, so pvhcad has no reason to refuse that. A change to an object
 * stays: the caller has taken care that it does no harm.
 */
static void pvhca_com_settle(struct pvhca_dev *dev, const struct pvhca_admin_cmd *cmd,
			     const struct pvhca_admin_rsp *rsp)
{
	u16 opcode = le16_to_cpu(cmd->opcode);
	enum pvhca_admin_opcode opposite = pvhca_com_opposite(opcode);
	struct pvhca_admin_cmd detach = {};
	struct pvhca_admin_rsp ignored;

	if (le32_to_cpu(rsp->status) != PVHCA_ST_OK)
		return;
	if (opposite != PVHCA_CMD_NOP) {
		pvhca_com_destroyed(dev, opposite,
				    pvhca_com_send_destroy(dev, opposite,
							   le32_to_cpu(rsp->created.handle)));
	} else if (opcode == PVHCA_CMD_ATTACH_MCAST) {
		/* A refusal is fine: the QP has been destroyed then. */
		detach.mcast = cmd->mcast;
		pvhca_com_run(dev, PVHCA_CMD_DETACH_MCAST, &detach, &ignored);
	}
}

/*
 * A command that a process need not wait for once it is killed: -EINTR. @hold is of
 * the memory that the command names, if any.
 */
static int pvhca_com_run_killable(struct pvhca_dev *dev, enum pvhca_admin_opcode opcode,
				  struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp,
				  struct pvhca_com_hold *hold)
{
	const struct pvhca_com_leave leave = { .hold = hold, .settle = pvhca_com_settle };

	return pvhca_com_run_leaving(dev, opcode, cmd, rsp, &leave);
}

/*
 * A command that applications and kernel consumers share. Only memory of applications
 * has a hold, and only applications may leave: a kernel consumer takes a command that
 * failed for one that has ended.
 */
static int pvhca_com_run_holding(struct pvhca_dev *dev, enum pvhca_admin_opcode opcode,
				 struct pvhca_admin_cmd *cmd, struct pvhca_admin_rsp *rsp,
				 struct pvhca_com_hold *hold)
{
	return hold ? pvhca_com_run_killable(dev, opcode, cmd, rsp, hold) :
		      pvhca_com_run(dev, opcode, cmd, rsp);
}

/* --------------------------------- commands -------------------------------- */

/*
 * User space writes to these places. If pvhcad names one outside of the page or of
 * the window, the session ends before anything is written there.
 */
static int pvhca_com_check_doorbell(struct pvhca_dev *dev, u32 slot, u32 doorbell)
{
	if (slot < PVHCA_SLOTS && doorbell < PVHCA_DB_MAX * PVHCA_DB_STRIDE &&
	    doorbell % PVHCA_DB_STRIDE == 0)
		return 0;
	dev_err_ratelimited(pvhca_to_dma_device(dev), "pvhcad returned slot %u, doorbell %#x\n",
			    slot, doorbell);
	pvhca_dev_kill(dev, "pvhcad returned an invalid slot or doorbell");
	pvhca_dev_may_free(dev);
	return -EIO;
}

/**
 * pvhca_com_query_device - ask for the device's attributes
 * @dev: session
 * @result: the attributes, as on the wire
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_query_device(struct pvhca_dev *dev, struct pvhca_rsp_query_device *result)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	err = pvhca_com_run(dev, PVHCA_CMD_QUERY_DEVICE, &cmd, &rsp);
	if (!err)
		*result = rsp.query_device;
	return err;
}

/**
 * pvhca_com_query_port - ask for the port's attributes
 * @dev: session
 * @port: number
 * @result: the attributes, as on the wire
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_query_port(struct pvhca_dev *dev, u32 port, struct pvhca_rsp_query_port *result)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.query_port.port = cpu_to_le32(port);
	err = pvhca_com_run_killable(dev, PVHCA_CMD_QUERY_PORT, &cmd, &rsp, NULL);
	if (!err)
		*result = rsp.query_port;
	return err;
}

/**
 * pvhca_com_create_ceq - make a completion event queue
 * @dev: session
 * @addr: DMA address of its header
 * @log_entries: log2 of the number of entries
 * @vector: MSI-X vector it raises
 * @handle: handle of the queue
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_create_ceq(struct pvhca_dev *dev, dma_addr_t addr, u32 log_entries, u32 vector,
			 u32 *handle)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.create_ceq.addr = cpu_to_le64(addr);
	cmd.create_ceq.log_entries = cpu_to_le32(log_entries);
	cmd.create_ceq.vector = cpu_to_le32(vector);
	err = pvhca_com_run(dev, PVHCA_CMD_CREATE_CEQ, &cmd, &rsp);
	if (!err)
		*handle = le32_to_cpu(rsp.created.handle);
	return err;
}

/**
 * pvhca_com_destroy_ceq - destroy a completion event queue
 * @dev: session
 * @handle: handle of the queue
 */
void pvhca_com_destroy_ceq(struct pvhca_dev *dev, u32 handle)
{
	pvhca_com_run_destroy(dev, PVHCA_CMD_DESTROY_CEQ, handle);
}

/**
 * pvhca_com_add_gid - fill an entry of the GID table
 * @dev: session
 * @port: number
 * @index: index of the entry
 * @gid: for it; RoCE v2
 * @vlan: of its interface; PVHCA_NO_VLAN: none
 *
 * Return: 0; -EPERM where policy refuses; -EADDRINUSE; -ENODEV if the host has
 * no such address; another negative errno.
 */
int pvhca_com_add_gid(struct pvhca_dev *dev, u32 port, u32 index, const union ib_gid *gid, u16 vlan)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;

	memcpy(cmd.add_gid.gid, gid->raw, sizeof(cmd.add_gid.gid));
	cmd.add_gid.index = cpu_to_le32(index);
	cmd.add_gid.port = cpu_to_le32(port);
	cmd.add_gid.gid_type = cpu_to_le32(1);
	cmd.add_gid.vlan = cpu_to_le16(vlan);
	return pvhca_com_run(dev, PVHCA_CMD_ADD_GID, &cmd, &rsp);
}

/**
 * pvhca_com_del_gid - empty an entry of the GID table
 * @dev: session
 * @port: number
 * @index: index of the entry
 *
 * Return: 0 or a negative errno; the entry is not used any more in either case.
 */
int pvhca_com_del_gid(struct pvhca_dev *dev, u32 port, u32 index)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;

	cmd.del_gid.index = cpu_to_le32(index);
	cmd.del_gid.port = cpu_to_le32(port);
	return pvhca_com_run(dev, PVHCA_CMD_DEL_GID, &cmd, &rsp);
}

/**
 * pvhca_com_alloc_context - introduce a process, or the driver
 * @dev: session
 * @params: description of the process
 * @result: handle and versions; the versions are also valid with -EPROTO
 *
 * Return: 0; -EPROTO if pvhcad does not speak the provider's ring ABI; another
 * negative errno.
 */
int pvhca_com_alloc_context(struct pvhca_dev *dev,
			    const struct pvhca_com_alloc_context_params *params,
			    struct pvhca_com_alloc_context_result *result)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp = {};
	int err;

	cmd.alloc_context.page = cpu_to_le64(params->page);
	cmd.alloc_context.ring_abi_major = cpu_to_le16(params->ring_abi_major);
	cmd.alloc_context.ring_abi_minor = cpu_to_le16(params->ring_abi_minor);
	cmd.alloc_context.flags = cpu_to_le32(params->flags);
	err = pvhca_com_run_holding(dev, PVHCA_CMD_ALLOC_CONTEXT, &cmd, &rsp, params->hold);
	result->handle = le32_to_cpu(rsp.alloc_context.handle);
	result->ring_abi_major = le16_to_cpu(rsp.alloc_context.ring_abi_major);
	result->ring_abi_minor = le16_to_cpu(rsp.alloc_context.ring_abi_minor);
	return err;
}

/**
 * pvhca_com_dealloc_context - a process is done
 * @dev: session
 * @handle: handle of the context
 */
void pvhca_com_dealloc_context(struct pvhca_dev *dev, u32 handle)
{
	pvhca_com_run_destroy(dev, PVHCA_CMD_DEALLOC_CONTEXT, handle);
}

/**
 * pvhca_com_alloc_pd - make a protection domain
 * @dev: session
 * @context: handle
 * @handle: handle of the protection domain
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_alloc_pd(struct pvhca_dev *dev, u32 context, u32 *handle)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.alloc_pd.context = cpu_to_le32(context);
	err = pvhca_com_run_killable(dev, PVHCA_CMD_ALLOC_PD, &cmd, &rsp, NULL);
	if (!err)
		*handle = le32_to_cpu(rsp.created.handle);
	return err;
}

/**
 * pvhca_com_dealloc_pd - destroy a protection domain
 * @dev: session
 * @handle: handle of the protection domain
 */
void pvhca_com_dealloc_pd(struct pvhca_dev *dev, u32 handle)
{
	pvhca_com_run_destroy(dev, PVHCA_CMD_DEALLOC_PD, handle);
}

/**
 * pvhca_com_reg_mr - register memory
 * @dev: session
 * @params: which
 * @result: keys
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_reg_mr(struct pvhca_dev *dev, const struct pvhca_com_reg_mr_params *params,
		     struct pvhca_com_reg_mr_result *result)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.reg_mr.pd = cpu_to_le32(params->pd);
	cmd.reg_mr.access = cpu_to_le32(params->access);
	cmd.reg_mr.iova = cpu_to_le64(params->iova);
	cmd.reg_mr.length = cpu_to_le64(params->length);
	cmd.reg_mr.offset = cpu_to_le64(params->offset);
	cmd.reg_mr.mem = *params->mem;
	err = pvhca_com_run_holding(dev, PVHCA_CMD_REG_MR, &cmd, &rsp, params->hold);
	if (err)
		return err;

	result->handle = le32_to_cpu(rsp.reg_mr.handle);
	result->lkey = le32_to_cpu(rsp.reg_mr.lkey);
	result->rkey = le32_to_cpu(rsp.reg_mr.rkey);
	return 0;
}

/**
 * pvhca_com_rereg_mr - change a region in place
 * @dev: session
 * @handle: handle of the region
 * @flags: enum ib_mr_rereg_flags
 * @params: values that @flags name
 * @result: the same handle; keys
 *
 * Return: 0; -EIO if the region is not what it was any more; another negative
 * errno.
 */
int pvhca_com_rereg_mr(struct pvhca_dev *dev, u32 handle, u32 flags,
		       const struct pvhca_com_reg_mr_params *params,
		       struct pvhca_com_reg_mr_result *result)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.rereg_mr.mr = cpu_to_le32(handle);
	cmd.rereg_mr.flags = cpu_to_le32(flags);
	cmd.rereg_mr.pd = cpu_to_le32(params->pd);
	cmd.rereg_mr.access = cpu_to_le32(params->access);
	cmd.rereg_mr.iova = cpu_to_le64(params->iova);
	cmd.rereg_mr.length = cpu_to_le64(params->length);
	cmd.rereg_mr.offset = cpu_to_le64(params->offset);
	if (params->mem)
		cmd.rereg_mr.mem = *params->mem;
	err = pvhca_com_run_killable(dev, PVHCA_CMD_REREG_MR, &cmd, &rsp, params->hold);
	if (err)
		return err;

	result->handle = handle;
	result->lkey = le32_to_cpu(rsp.reg_mr.lkey);
	result->rkey = le32_to_cpu(rsp.reg_mr.rkey);
	return 0;
}

/**
 * pvhca_com_dereg_mr - deregister memory
 * @dev: session
 * @handle: handle of the region
 *
 * Return: 0 or -EBUSY.
 */
int pvhca_com_dereg_mr(struct pvhca_dev *dev, u32 handle)
{
	return pvhca_com_run_destroy(dev, PVHCA_CMD_DEREG_MR, handle);
}

/**
 * pvhca_com_alloc_mw - make a memory window
 * @dev: session
 * @pd: handle
 * @type: enum ib_mw_type
 * @handle: handle of the window
 * @rkey: its key, the host's
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_alloc_mw(struct pvhca_dev *dev, u32 pd, u32 type, u32 *handle, u32 *rkey)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.alloc_mw.pd = cpu_to_le32(pd);
	cmd.alloc_mw.type = cpu_to_le32(type);
	err = pvhca_com_run_killable(dev, PVHCA_CMD_ALLOC_MW, &cmd, &rsp, NULL);
	if (err)
		return err;
	*handle = le32_to_cpu(rsp.alloc_mw.handle);
	*rkey = le32_to_cpu(rsp.alloc_mw.rkey);
	return 0;
}

/**
 * pvhca_com_dealloc_mw - destroy a memory window
 * @dev: session
 * @handle: handle of the window
 */
void pvhca_com_dealloc_mw(struct pvhca_dev *dev, u32 handle)
{
	pvhca_com_run_destroy(dev, PVHCA_CMD_DEALLOC_MW, handle);
}

/**
 * pvhca_com_create_cq - make a completion queue
 * @dev: session
 * @params: parameters of the object
 * @result: handle and doorbell
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_create_cq(struct pvhca_dev *dev, const struct pvhca_com_create_cq_params *params,
			struct pvhca_com_create_cq_result *result)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.create_cq.context = cpu_to_le32(params->context);
	cmd.create_cq.ceq = cpu_to_le32(params->ceq);
	cmd.create_cq.log_entries = cpu_to_le32(params->log_entries);
	cmd.create_cq.flags = cpu_to_le32(params->flags);
	cmd.create_cq.mem = *params->mem;
	err = pvhca_com_run_holding(dev, PVHCA_CMD_CREATE_CQ, &cmd, &rsp, params->hold);
	if (err)
		return err;

	result->handle = le32_to_cpu(rsp.create_cq.handle);
	result->doorbell = le32_to_cpu(rsp.create_cq.doorbell);
	return pvhca_com_check_doorbell(dev, 0, result->doorbell);
}

/**
 * pvhca_com_destroy_cq - destroy a completion queue
 * @dev: session
 * @handle: handle of the CQ
 */
void pvhca_com_destroy_cq(struct pvhca_dev *dev, u32 handle)
{
	pvhca_com_run_destroy(dev, PVHCA_CMD_DESTROY_CQ, handle);
}

/**
 * pvhca_com_resize_cq - give a completion queue another buffer
 * @dev: session
 * @handle: handle of the CQ
 * @log_entries: log2 of the number of entries of the new buffer
 * @mem: the new buffer
 * @hold: hold of @mem
 *
 * Return: 0: the old buffer is not touched any more; -EINTR: both may be; or another
 * negative errno: the new one is not.
 */
int pvhca_com_resize_cq(struct pvhca_dev *dev, u32 handle, u32 log_entries,
			const struct pvhca_mem_list *mem, struct pvhca_com_hold *hold)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;

	cmd.resize_cq.cq = cpu_to_le32(handle);
	cmd.resize_cq.log_entries = cpu_to_le32(log_entries);
	cmd.resize_cq.mem = *mem;
	return pvhca_com_run_killable(dev, PVHCA_CMD_RESIZE_CQ, &cmd, &rsp, hold);
}

static void pvhca_com_cap_to_wire(struct pvhca_qp_cap *wire, const struct ib_qp_cap *cap)
{
	wire->max_send_wr = cpu_to_le32(cap->max_send_wr);
	wire->max_recv_wr = cpu_to_le32(cap->max_recv_wr);
	wire->max_send_sge = cpu_to_le32(cap->max_send_sge);
	wire->max_recv_sge = cpu_to_le32(cap->max_recv_sge);
	wire->max_inline = cpu_to_le32(cap->max_inline_data);
}

static void pvhca_com_cap_from_wire(struct ib_qp_cap *cap, const struct pvhca_qp_cap *wire)
{
	cap->max_send_wr = le32_to_cpu(wire->max_send_wr);
	cap->max_recv_wr = le32_to_cpu(wire->max_recv_wr);
	cap->max_send_sge = le32_to_cpu(wire->max_send_sge);
	cap->max_recv_sge = le32_to_cpu(wire->max_recv_sge);
	cap->max_inline_data = le32_to_cpu(wire->max_inline);
}

static int pvhca_com_qp_type_to_wire(enum ib_qp_type type, __le32 *wire)
{
	switch (type) {
	case IB_QPT_GSI:
		*wire = cpu_to_le32(PVHCA_QPT_GSI);
		return 0;
	case IB_QPT_RC:
		*wire = cpu_to_le32(PVHCA_QPT_RC);
		return 0;
	case IB_QPT_UC:
		*wire = cpu_to_le32(PVHCA_QPT_UC);
		return 0;
	case IB_QPT_UD:
		*wire = cpu_to_le32(PVHCA_QPT_UD);
		return 0;
	case IB_QPT_DRIVER:
		*wire = cpu_to_le32(PVHCA_QPT_NET);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/**
 * pvhca_com_create_qp - make a queue pair
 * @dev: session
 * @params: parameters of the object
 * @result: handle, number and where work is announced
 *
 * Return: 0; -EOPNOTSUPP for a type that pvhcad does not have; another negative errno.
 */
int pvhca_com_create_qp(struct pvhca_dev *dev, const struct pvhca_com_create_qp_params *params,
			struct pvhca_com_create_qp_result *result)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.create_qp.context = cpu_to_le32(params->context);
	cmd.create_qp.pd = cpu_to_le32(params->pd);
	cmd.create_qp.send_cq = cpu_to_le32(params->send_cq);
	cmd.create_qp.recv_cq = cpu_to_le32(params->recv_cq);
	cmd.create_qp.srq = cpu_to_le32(params->srq);
	err = pvhca_com_qp_type_to_wire(params->type, &cmd.create_qp.type);
	if (err)
		return err;
	cmd.create_qp.flags = cpu_to_le32(params->flags);
	pvhca_com_cap_to_wire(&cmd.create_qp.cap, params->cap);
	cmd.create_qp.sq_offset = cpu_to_le32(params->ring->sq_offset);
	cmd.create_qp.rq_offset = cpu_to_le32(params->ring->rq_offset);
	cmd.create_qp.sq_log_entries = params->ring->sq_log_entries;
	cmd.create_qp.sq_log_stride = params->ring->sq_log_stride;
	cmd.create_qp.rq_log_entries = params->ring->rq_log_entries;
	cmd.create_qp.rq_log_stride = params->ring->rq_log_stride;
	cmd.create_qp.mem = *params->mem;
	err = pvhca_com_run_holding(dev, PVHCA_CMD_CREATE_QP, &cmd, &rsp, params->hold);
	if (err)
		return err;

	result->handle = le32_to_cpu(rsp.create_qp.handle);
	result->qpn = le32_to_cpu(rsp.create_qp.qpn);
	result->slot = le32_to_cpu(rsp.create_qp.slot);
	result->doorbell = le32_to_cpu(rsp.create_qp.doorbell);
	pvhca_com_cap_from_wire(&result->cap, &rsp.create_qp.cap);
	return pvhca_com_check_doorbell(dev, result->slot, result->doorbell);
}

/**
 * pvhca_com_modify_qp - change a queue pair
 * @dev: session
 * @handle: handle of the QP
 * @mask: enum ib_qp_attr_mask
 * @attr: as on the wire
 * @killable: a process that is killed need not wait; the state is unknown then
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_modify_qp(struct pvhca_dev *dev, u32 handle, u32 mask,
			const struct pvhca_qp_attr *attr, bool killable)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;

	cmd.modify_qp.qp = cpu_to_le32(handle);
	cmd.modify_qp.attr_mask = cpu_to_le32(mask);
	cmd.modify_qp.attr = *attr;
	return killable ? pvhca_com_run_killable(dev, PVHCA_CMD_MODIFY_QP, &cmd, &rsp, NULL) :
			  pvhca_com_run(dev, PVHCA_CMD_MODIFY_QP, &cmd, &rsp);
}

/**
 * pvhca_com_query_qp - ask for a queue pair's attributes
 * @dev: session
 * @handle: handle of the QP
 * @mask: enum ib_qp_attr_mask
 * @result: as on the wire
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_query_qp(struct pvhca_dev *dev, u32 handle, u32 mask, struct pvhca_qp_attr *result)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.query_qp.qp = cpu_to_le32(handle);
	cmd.query_qp.attr_mask = cpu_to_le32(mask);
	err = pvhca_com_run_killable(dev, PVHCA_CMD_QUERY_QP, &cmd, &rsp, NULL);
	if (!err)
		*result = rsp.query_qp.attr;
	return err;
}

/**
 * pvhca_com_destroy_qp - destroy a queue pair
 * @dev: session
 * @handle: handle of the QP
 */
void pvhca_com_destroy_qp(struct pvhca_dev *dev, u32 handle)
{
	pvhca_com_run_destroy(dev, PVHCA_CMD_DESTROY_QP, handle);
}

/**
 * pvhca_com_create_ah - make an address handle
 * @dev: session
 * @pd: handle
 * @av: the address
 * @handle: handle of the address handle
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_create_ah(struct pvhca_dev *dev, u32 pd, const struct pvhca_av *av, u32 *handle)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.create_ah.pd = cpu_to_le32(pd);
	cmd.create_ah.av = *av;
	err = pvhca_com_run_killable(dev, PVHCA_CMD_CREATE_AH, &cmd, &rsp, NULL);
	if (!err)
		*handle = le32_to_cpu(rsp.created.handle);
	return err;
}

/**
 * pvhca_com_destroy_ah - destroy an address handle
 * @dev: session
 * @handle: handle of the address handle
 */
void pvhca_com_destroy_ah(struct pvhca_dev *dev, u32 handle)
{
	pvhca_com_run_destroy(dev, PVHCA_CMD_DESTROY_AH, handle);
}

/**
 * pvhca_com_create_srq - make a shared receive queue
 * @dev: session
 * @params: parameters of the object
 * @result: handle and where work is announced
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_create_srq(struct pvhca_dev *dev, const struct pvhca_com_create_srq_params *params,
			 struct pvhca_com_create_srq_result *result)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.create_srq.context = cpu_to_le32(params->context);
	cmd.create_srq.pd = cpu_to_le32(params->pd);
	cmd.create_srq.max_wr = cpu_to_le32(params->max_wr);
	cmd.create_srq.max_sge = cpu_to_le32(params->max_sge);
	cmd.create_srq.rq_offset = cpu_to_le32(params->ring->rq_offset);
	cmd.create_srq.rq_log_entries = params->ring->rq_log_entries;
	cmd.create_srq.rq_log_stride = params->ring->rq_log_stride;
	cmd.create_srq.mem = *params->mem;
	err = pvhca_com_run_killable(dev, PVHCA_CMD_CREATE_SRQ, &cmd, &rsp, params->hold);
	if (err)
		return err;

	result->handle = le32_to_cpu(rsp.create_srq.handle);
	result->srqn = le32_to_cpu(rsp.create_srq.srqn);
	result->slot = le32_to_cpu(rsp.create_srq.slot);
	result->doorbell = le32_to_cpu(rsp.create_srq.doorbell);
	result->max_wr = le32_to_cpu(rsp.create_srq.max_wr);
	result->max_sge = le32_to_cpu(rsp.create_srq.max_sge);
	return pvhca_com_check_doorbell(dev, result->slot, result->doorbell);
}

/**
 * pvhca_com_modify_srq - change a shared receive queue
 * @dev: session
 * @handle: handle of the SRQ
 * @mask: enum ib_srq_attr_mask
 * @limit: entries below which the event comes, 0 for none
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_modify_srq(struct pvhca_dev *dev, u32 handle, u32 mask, u32 limit)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;

	cmd.modify_srq.srq = cpu_to_le32(handle);
	cmd.modify_srq.attr_mask = cpu_to_le32(mask);
	cmd.modify_srq.limit = cpu_to_le32(limit);
	return pvhca_com_run_killable(dev, PVHCA_CMD_MODIFY_SRQ, &cmd, &rsp, NULL);
}

/**
 * pvhca_com_query_srq - ask for a shared receive queue's attributes
 * @dev: session
 * @handle: handle of the SRQ
 * @result: the attributes
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_query_srq(struct pvhca_dev *dev, u32 handle, struct ib_srq_attr *result)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.query_srq.srq = cpu_to_le32(handle);
	err = pvhca_com_run_killable(dev, PVHCA_CMD_QUERY_SRQ, &cmd, &rsp, NULL);
	if (err)
		return err;
	result->max_wr = le32_to_cpu(rsp.query_srq.max_wr);
	result->max_sge = le32_to_cpu(rsp.query_srq.max_sge);
	result->srq_limit = le32_to_cpu(rsp.query_srq.limit);
	return 0;
}

/**
 * pvhca_com_destroy_srq - destroy a shared receive queue
 * @dev: session
 * @handle: handle of the SRQ
 */
void pvhca_com_destroy_srq(struct pvhca_dev *dev, u32 handle)
{
	pvhca_com_run_destroy(dev, PVHCA_CMD_DESTROY_SRQ, handle);
}

static void pvhca_com_fill_mcast(struct pvhca_cmd_mcast *mcast, u32 qp, const union ib_gid *gid,
				 u16 lid)
{
	memcpy(mcast->gid, gid->raw, sizeof(mcast->gid));
	mcast->qp = cpu_to_le32(qp);
	mcast->lid = cpu_to_le16(lid);
}

/**
 * pvhca_com_attach_mcast - have a queue pair receive what is sent to a group
 * @dev: session
 * @qp: handle
 * @gid: GID of the group
 * @lid: LID of the group
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_attach_mcast(struct pvhca_dev *dev, u32 qp, const union ib_gid *gid, u16 lid)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;

	pvhca_com_fill_mcast(&cmd.mcast, qp, gid, lid);
	return pvhca_com_run_killable(dev, PVHCA_CMD_ATTACH_MCAST, &cmd, &rsp, NULL);
}

/**
 * pvhca_com_detach_mcast - undo pvhca_com_attach_mcast()
 * @dev: session
 * @qp: handle
 * @gid: GID of the group
 * @lid: LID of the group
 *
 * Return: 0 or a negative errno.
 */
int pvhca_com_detach_mcast(struct pvhca_dev *dev, u32 qp, const union ib_gid *gid, u16 lid)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;

	pvhca_com_fill_mcast(&cmd.mcast, qp, gid, lid);
	return pvhca_com_run(dev, PVHCA_CMD_DETACH_MCAST, &cmd, &rsp);
}

/**
 * pvhca_com_alloc_mr - make a region that gets its memory by work requests
 * @dev: session
 * @pd: handle
 * @max_pages: that it can have
 * @result: keys
 *
 * Return: 0; -EOPNOTSUPP if the fabric has no such thing; another negative errno.
 */
int pvhca_com_alloc_mr(struct pvhca_dev *dev, u32 pd, u32 max_pages,
		       struct pvhca_com_reg_mr_result *result)
{
	struct pvhca_admin_cmd cmd = {};
	struct pvhca_admin_rsp rsp;
	int err;

	cmd.alloc_mr.pd = cpu_to_le32(pd);
	cmd.alloc_mr.max_pages = cpu_to_le32(max_pages);
	err = pvhca_com_run(dev, PVHCA_CMD_ALLOC_MR, &cmd, &rsp);
	if (err)
		return err;
	result->handle = le32_to_cpu(rsp.reg_mr.handle);
	result->lkey = le32_to_cpu(rsp.reg_mr.lkey);
	result->rkey = le32_to_cpu(rsp.reg_mr.rkey);
	return 0;
}
