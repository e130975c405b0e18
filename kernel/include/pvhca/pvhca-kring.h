/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR Linux-OpenIB) */
/*
 * pvhca ring ABI, what only the guest's kernel may use: additions to rdma/pvhca-ring.h
 * for the QPs, SRQs and CQs of a context that the driver made for kernel consumers
 * (struct pvhca_cmd_alloc_context, PVHCA_CONTEXT_KERNEL). Their version is that of the
 * ring ABI. In the rings of a process they complete in error.
 */
#ifndef PVHCA_KRING_H
#define PVHCA_KRING_H

#include <rdma/pvhca-ring.h>

/* enum pvhca_wqe_opcode */
#define PVHCA_WQE_REG_MR  10
#define PVHCA_WQE_OPCODES 11

/*
 * pvhca_sq_wqe.flags, of datagrams: the segment behind the entry is the destination, a
 * struct pvhca_av of pvhca-admin.h, and ah is 0. For the kernel makes its address handles
 * where it cannot wait for a command.
 */
#define PVHCA_WQE_F_AV (1 << 4)

/* pvhca_sge.lkey: all of a guest's RAM, addressed guest-physically. */
#define PVHCA_LKEY_DMA 0xffffff00u

/**
 * struct pvhca_reg_seg - REG_MR: give memory to a region made by ALLOC_MR
 * @iova: address of its first byte in keys' address space
 * @length: bytes
 * @pages: guest-physical address of a list of __le64, the guest-physical
 *	addresses of its pages; stays as it is until the work completes
 * @mr_handle: of the region
 * @key: new lkey and rkey: that of the region but for the lowest 8 bits
 * @access: IB_ACCESS_*
 * @num_pages: of the list; of 1 << log_page_size bytes each
 * @log_page_size: >= PVHCA_GRANULE_SHIFT
 *
 * The first byte lies at iova modulo the page size in the first page.
 */
struct pvhca_reg_seg {
	__le64 iova;
	__le64 length;
	__le64 pages;
	__le32 mr_handle;
	__le32 key;
	__le32 access;
	__le32 num_pages;
	__u8 log_page_size;
	__u8 reserved[7];
};

/* enum pvhca_cqe_opcode */
#define PVHCA_CQE_REG_MR 7

/*
 * pvhca_cqe.flags, of the receive of a MAD or a packet (PVHCA_QPT_NET): inv_rkey is the
 * VLAN of the address that it was sent to. Only with PVHCA_FEATURE_VLAN.
 */
#define PVHCA_CQE_F_VLAN (1 << 3)

PVHCA_RING_ASSERT(sizeof(struct pvhca_reg_seg) == 48);

#endif /* PVHCA_KRING_H */
