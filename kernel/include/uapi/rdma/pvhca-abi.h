/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR Linux-OpenIB) */
/*
 * pvhca user ABI: the provider's driver data in uverbs commands. Host endian,
 * as all uverbs ABIs. What both then write into shared memory is in
 * pvhca-ring.h. The rule of uverbs ABIs holds: structs only grow at the end,
 * comp_mask says which of the grown fields are meant, a kernel refuses set bits
 * that it does not know, and neither side needs the other's upgrade.
 */
#ifndef PVHCA_ABI_USER_H
#define PVHCA_ABI_USER_H

#include <linux/types.h>

/* Increment only for a change that the rule above cannot express. */
#define PVHCA_UVERBS_ABI_VERSION 1

/*
 * alloc_ucontext. The provider tells its ring ABI; pvhcad refuses one that it does
 * not speak, and the driver's log then names both.
 */
struct pvhca_uctx_req {
	__u32 comp_mask;
	__u16 ring_abi_major;
	__u16 ring_abi_minor;
};

/**
 * struct pvhca_uctx_resp
 * @context_page: mmap offset of struct pvhca_context_page, PROT_READ|PROT_WRITE
 * @doorbells: mmap offset of the doorbell page, PROT_WRITE
 * @doorbells_len: bytes to map there
 * @context_page_len: bytes to map there
 * @max_sq_sge, @max_rq_sge, @max_inline: limits of one entry
 * @ring_abi_minor: spoken by pvhcad
 */
struct pvhca_uctx_resp {
	__u32 comp_mask;
	__u16 ring_abi_minor;
	__u16 reserved;
	__aligned_u64 context_page;
	__aligned_u64 doorbells;
	__u32 context_page_len;
	__u32 doorbells_len;
	__u32 max_sq_sge;
	__u32 max_rq_sge;
	__u32 max_inline;
	__u32 reserved2;
};

struct pvhca_alloc_pd_resp {
	__u32 comp_mask;
	__u32 pd_handle; /* pvhcad's */
};

/*
 * create_cq. The buffer is the provider's memory: struct pvhca_cq_header, then
 * 1 << log_entries entries. buf_addr is a multiple of 4096.
 */
struct pvhca_create_cq_req {
	__aligned_u64 buf_addr;
	__u32 buf_len;
	__u32 comp_mask;
	__u8 log_entries;
	__u8 reserved[3];
	__u32 flags; /* PVHCA_CREATE_CQ_* */
};

#define PVHCA_CREATE_CQ_TIMESTAMPS (1u << 0)

struct pvhca_create_cq_resp {
	__u32 comp_mask;
	__u32 cq_handle; /* pvhcad's */
	__u32 doorbell;	 /* byte offset in the doorbell page, for PVHCA_CQ_F_BLOCKED */
	__u32 reserved;
};

/*
 * create_qp, create_srq. The buffer is the provider's memory: struct
 * pvhca_queue_header, then the rings where the offsets say. Of a queue without
 * entries (max_wr 0; the RQ of a QP that uses an SRQ, an SRQ's send queue)
 * log_entries, log_stride and offset are 0, as are its SGEs and inline data.
 */
struct pvhca_create_qp_req {
	__aligned_u64 buf_addr; /* a multiple of 4096 */
	__u32 buf_len;
	__u32 comp_mask;
	__u32 sq_offset; /* bytes from buf_addr, a multiple of the stride */
	__u32 rq_offset;
	__u8 sq_log_entries;
	__u8 sq_log_stride; /* of bytes */
	__u8 rq_log_entries;
	__u8 rq_log_stride;
	__u32 flags; /* 0 */
};

struct pvhca_create_qp_resp {
	__u32 comp_mask;
	__u32 slot;	/* in the context page, < PVHCA_SLOTS */
	__u32 doorbell; /* byte offset in the doorbell page */
	__u32 reserved;
};

struct pvhca_create_srq_resp {
	__u32 comp_mask;
	__u32 slot;
	__u32 doorbell;
	__u32 srqn;
};

/*
 * resize_cq: struct pvhca_create_cq_req for the new buffer, its header and
 * entries zeroed; flags are 0. The old buffer may be freed when it succeeds.
 */
struct pvhca_resize_cq_resp {
	__u32 comp_mask;
	__u32 reserved;
};

struct pvhca_create_ah_resp {
	__u32 comp_mask;
	__u32 ah; /* for pvhca_sq_wqe.ah */
};

struct pvhca_alloc_mw_resp {
	__u32 comp_mask;
	__u32 mw_handle; /* for pvhca_bind_seg.mw_handle */
};

struct pvhca_reg_mr_resp {
	__u32 comp_mask;
	__u32 mr_handle; /* for pvhca_bind_seg.mr_handle */
};

#endif /* PVHCA_ABI_USER_H */
