/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * The commands: see pvhca_com_cmd.c.
 */
#ifndef PVHCA_COM_CMD_H
#define PVHCA_COM_CMD_H

#include <rdma/ib_verbs.h>
#include <pvhca/pvhca-admin.h>

struct pvhca_com_hold;
struct pvhca_dev;

/**
 * struct pvhca_com_alloc_context_params - for pvhca_com_alloc_context()
 * @page: DMA address of the context page
 * @ring_abi_major: the provider's
 * @ring_abi_minor: the provider's
 * @flags: PVHCA_CONTEXT_*
 * @hold: hold of the page; NULL: the driver's own, which waits
 */
struct pvhca_com_alloc_context_params {
	u64 page;
	u16 ring_abi_major;
	u16 ring_abi_minor;
	u32 flags;
	struct pvhca_com_hold *hold;
};

/**
 * struct pvhca_com_alloc_context_result - of pvhca_com_alloc_context()
 * @handle: handle of the context
 * @ring_abi_major: pvhcad's; also valid with -EPROTO
 * @ring_abi_minor: spoken; also valid with -EPROTO
 */
struct pvhca_com_alloc_context_result {
	u32 handle;
	u16 ring_abi_major;
	u16 ring_abi_minor;
};

/**
 * struct pvhca_com_reg_mr_params - for pvhca_com_reg_mr() and pvhca_com_rereg_mr()
 * @pd: handle
 * @access: IB_ACCESS_*
 * @iova: address of the first byte in the keys' address space
 * @length: bytes
 * @offset: offset of the first byte in @mem, bytes
 * @mem: the memory; may be NULL if only something else changes
 * @hold: hold of @mem
 */
struct pvhca_com_reg_mr_params {
	u32 pd;
	u32 access;
	u64 iova;
	u64 length;
	u64 offset;
	const struct pvhca_mem_list *mem;
	struct pvhca_com_hold *hold;
};

/**
 * struct pvhca_com_reg_mr_result - of pvhca_com_reg_mr() and pvhca_com_rereg_mr()
 * @handle: handle of the region
 * @lkey: the host's
 * @rkey: the host's
 */
struct pvhca_com_reg_mr_result {
	u32 handle;
	u32 lkey;
	u32 rkey;
};

/**
 * struct pvhca_com_create_cq_params - for pvhca_com_create_cq()
 * @context: handle
 * @ceq: handle of the event queue
 * @log_entries: log2 of the number of entries
 * @flags: PVHCA_CREATE_CQ_*
 * @mem: the ring
 * @hold: hold of @mem; NULL: a kernel consumer's, which waits
 */
struct pvhca_com_create_cq_params {
	u32 context;
	u32 ceq;
	u32 log_entries;
	u32 flags;
	const struct pvhca_mem_list *mem;
	struct pvhca_com_hold *hold;
};

/**
 * struct pvhca_com_create_cq_result - of pvhca_com_create_cq()
 * @handle: handle of the CQ
 * @doorbell: byte offset in the window
 */
struct pvhca_com_create_cq_result {
	u32 handle;
	u32 doorbell;
};

/**
 * struct pvhca_com_create_qp_params - for pvhca_com_create_qp()
 * @context: handle
 * @pd: handle
 * @send_cq: handle
 * @recv_cq: handle
 * @srq: handle or PVHCA_NO_HANDLE
 * @type: type of the QP
 * @flags: PVHCA_CREATE_QP_*
 * @cap: wanted
 * @ring: where in @mem the rings are
 * @mem: the rings
 * @hold: hold of @mem; NULL: a kernel consumer's, which waits
 */
struct pvhca_com_create_qp_params {
	u32 context;
	u32 pd;
	u32 send_cq;
	u32 recv_cq;
	u32 srq;
	enum ib_qp_type type;
	u32 flags;
	const struct ib_qp_cap *cap;
	const struct pvhca_create_qp_req *ring;
	const struct pvhca_mem_list *mem;
	struct pvhca_com_hold *hold;
};

/**
 * struct pvhca_com_create_qp_result - of pvhca_com_create_qp()
 * @handle: handle of the QP
 * @qpn: its number, the host's
 * @slot: in the context page
 * @doorbell: byte offset in the window
 * @cap: given
 */
struct pvhca_com_create_qp_result {
	u32 handle;
	u32 qpn;
	u32 slot;
	u32 doorbell;
	struct ib_qp_cap cap;
};

/**
 * struct pvhca_com_create_srq_params - for pvhca_com_create_srq()
 * @context: handle
 * @pd: handle
 * @max_wr: wanted
 * @max_sge: wanted
 * @ring: where in @mem the ring is, as a receive queue
 * @mem: the ring
 * @hold: hold of @mem
 */
struct pvhca_com_create_srq_params {
	u32 context;
	u32 pd;
	u32 max_wr;
	u32 max_sge;
	const struct pvhca_create_qp_req *ring;
	const struct pvhca_mem_list *mem;
	struct pvhca_com_hold *hold;
};

/**
 * struct pvhca_com_create_srq_result - of pvhca_com_create_srq()
 * @handle: handle of the SRQ
 * @srqn: its number, the host's
 * @slot: in the context page
 * @doorbell: byte offset in the window
 * @max_wr: given
 * @max_sge: given
 */
struct pvhca_com_create_srq_result {
	u32 handle;
	u32 srqn;
	u32 slot;
	u32 doorbell;
	u32 max_wr;
	u32 max_sge;
};

int pvhca_com_query_device(struct pvhca_dev *dev, struct pvhca_rsp_query_device *result);
int pvhca_com_query_port(struct pvhca_dev *dev, u32 port, struct pvhca_rsp_query_port *result);
int pvhca_com_create_ceq(struct pvhca_dev *dev, dma_addr_t addr, u32 log_entries, u32 vector,
			 u32 *handle);
void pvhca_com_destroy_ceq(struct pvhca_dev *dev, u32 handle);
int pvhca_com_add_gid(struct pvhca_dev *dev, u32 port, u32 index, const union ib_gid *gid,
		      u16 vlan);
int pvhca_com_del_gid(struct pvhca_dev *dev, u32 port, u32 index);
int pvhca_com_alloc_context(struct pvhca_dev *dev,
			    const struct pvhca_com_alloc_context_params *params,
			    struct pvhca_com_alloc_context_result *result);
void pvhca_com_dealloc_context(struct pvhca_dev *dev, u32 handle);
int pvhca_com_alloc_pd(struct pvhca_dev *dev, u32 context, u32 *handle);
void pvhca_com_dealloc_pd(struct pvhca_dev *dev, u32 handle);
int pvhca_com_reg_mr(struct pvhca_dev *dev, const struct pvhca_com_reg_mr_params *params,
		     struct pvhca_com_reg_mr_result *result);
int pvhca_com_rereg_mr(struct pvhca_dev *dev, u32 handle, u32 flags,
		       const struct pvhca_com_reg_mr_params *params,
		       struct pvhca_com_reg_mr_result *result);
int pvhca_com_dereg_mr(struct pvhca_dev *dev, u32 handle);
int pvhca_com_alloc_mr(struct pvhca_dev *dev, u32 pd, u32 max_pages,
		       struct pvhca_com_reg_mr_result *result);
int pvhca_com_alloc_mw(struct pvhca_dev *dev, u32 pd, u32 type, u32 *handle, u32 *rkey);
void pvhca_com_dealloc_mw(struct pvhca_dev *dev, u32 handle);
int pvhca_com_create_cq(struct pvhca_dev *dev, const struct pvhca_com_create_cq_params *params,
			struct pvhca_com_create_cq_result *result);
int pvhca_com_resize_cq(struct pvhca_dev *dev, u32 handle, u32 log_entries,
			const struct pvhca_mem_list *mem, struct pvhca_com_hold *hold);
void pvhca_com_destroy_cq(struct pvhca_dev *dev, u32 handle);
int pvhca_com_create_qp(struct pvhca_dev *dev, const struct pvhca_com_create_qp_params *params,
			struct pvhca_com_create_qp_result *result);
int pvhca_com_modify_qp(struct pvhca_dev *dev, u32 handle, u32 mask,
			const struct pvhca_qp_attr *attr, bool killable);
int pvhca_com_query_qp(struct pvhca_dev *dev, u32 handle, u32 mask, struct pvhca_qp_attr *result);
void pvhca_com_destroy_qp(struct pvhca_dev *dev, u32 handle);
int pvhca_com_create_ah(struct pvhca_dev *dev, u32 pd, const struct pvhca_av *av, u32 *handle);
void pvhca_com_destroy_ah(struct pvhca_dev *dev, u32 handle);
int pvhca_com_create_srq(struct pvhca_dev *dev, const struct pvhca_com_create_srq_params *params,
			 struct pvhca_com_create_srq_result *result);
int pvhca_com_modify_srq(struct pvhca_dev *dev, u32 handle, u32 mask, u32 limit);
int pvhca_com_query_srq(struct pvhca_dev *dev, u32 handle, struct ib_srq_attr *result);
void pvhca_com_destroy_srq(struct pvhca_dev *dev, u32 handle);
int pvhca_com_attach_mcast(struct pvhca_dev *dev, u32 qp, const union ib_gid *gid, u16 lid);
int pvhca_com_detach_mcast(struct pvhca_dev *dev, u32 qp, const union ib_gid *gid, u16 lid);

#endif /* PVHCA_COM_CMD_H */
