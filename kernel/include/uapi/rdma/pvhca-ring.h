/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR Linux-OpenIB) */
/*
 * pvhca ring ABI: the provider and pvhcad, through pinned guest memory. The driver
 * posts the work of kernel consumers in the same way.
 *
 * Theory of operation
 *
 * Send, receive and completion queues are rings in guest memory. pvhcad plays
 * the part of the hardware: it reads work queue entries in place and writes
 * completion queue entries in place. No message crosses the hypervisor:
 *
 *   post:   write the entries;
 *           store-release the producer index;
 *           full barrier;
 *           mark the queue's slot in the context page: set its bit in pending[],
 *           then the word's bit in summary. A bit that is seen set after the
 *           barrier need not be set again: pvhcad clears summary before
 *           pending[] and pending[] before it reads the producer index;
 *           full barrier (the atomic or is one);
 *           load need_kick; if the word's bit is set there, atomically clear it,
 *           and if this thread cleared it, write the queue's doorbell.
 *
 *   pvhcad: swap summary with 0, swap the words named there with 0, serve the
 *           slots named there. With nothing left to do it sets need_kick, full
 *           barrier, looks at summary once more, and sleeps on its eventfd.
 *
 *   poll:   entry at ci is valid when its phase bit is that of the current lap
 *           (1 on the first); load-acquire it, read the rest; after a batch
 *           store-release ci.
 *
 * Either side of a "publish, barrier, look at the other's flag" pair sees the
 * other's store, so no wake-up is lost (store buffering forbidden by the two
 * full barriers).
 *
 * All fields are little endian and naturally aligned; imm_data is passed as it
 * is (big endian by the verbs' convention). Reserved fields are 0 and work with
 * a non-zero reserved field, unknown opcode or flag completes in error.
 * pvhcad copies an entry once before it checks and uses it.
 *
 * Rings may lie anywhere in user memory: entries have power-of-two strides and
 * never cross a 4 KiB granule, so each side may address them granule by granule.
 * Indices are free running 32-bit counters; the entry of index i is i modulo
 * the (power-of-two) number of entries.
 */
#ifndef PVHCA_RING_H
#define PVHCA_RING_H

#include <linux/types.h>

/*
 * Checked by pvhcad when a context is made; the provider says what it speaks.
 * The major differs: refused. The minor only adds.
 */
#define PVHCA_RING_ABI_MAJOR 1
#define PVHCA_RING_ABI_MINOR 0

#define PVHCA_GRANULE_SHIFT	   12 /* 4 KiB, whatever the guest's page size */
#define PVHCA_GRANULE		   (1u << PVHCA_GRANULE_SHIFT)
#define PVHCA_RING_MAX_LOG_ENTRIES 15 /* SQ, RQ, SRQ: 32768 entries */
#define PVHCA_CQ_MAX_LOG_ENTRIES   20
#define PVHCA_SQ_MIN_LOG_STRIDE	   6  /* 64 bytes */
#define PVHCA_RQ_MIN_LOG_STRIDE	   5  /* 32 bytes */
#define PVHCA_RING_MAX_LOG_STRIDE  12 /* one granule */

/* -------- context page: one per open device, made by the guest driver ------ */

#define PVHCA_SLOT_WORDS 64
#define PVHCA_SLOTS	 (PVHCA_SLOT_WORDS * 64) /* QPs and SRQs of one context */

/**
 * struct pvhca_context_page - what is pending in one context
 * @alive: 1; 0 once the device is gone (driver unbound, pvhcad lost). Written by
 *	the guest driver only; pvhcad does not read it. Work posted and CQs polled
 *	after that fail with EIO instead of waiting for ever.
 * @need_kick: bit w: who posts to a slot of word w must ring the doorbell.
 *	Set by pvhcad before it sleeps; cleared by the guest thread that rings, or
 *	by pvhcad when it wakes of itself.
 * @summary: bit w: pending[w] may be non-zero
 * @pending: bit s % 64 of word s / 64: slot s has something posted
 *
 * Each group of fields with one writer has a 64-byte line of its own (two, where
 * adjacent-line prefetch would make them one).
 */
struct pvhca_context_page {
	__le32 alive;
	__u8 reserved0[124];
	__le64 need_kick;
	__u8 reserved1[120];
	__le64 summary;
	__u8 reserved2[120];
	__u8 reserved3[128];
	__le64 pending[PVHCA_SLOT_WORDS];
	__u8 reserved4[3072];
};

/* ----------------------------- queue pair buffer --------------------------- */

/**
 * struct pvhca_queue_header - start of the buffer of a QP or an SRQ
 * @sq_pi: producer index of the send queue; unused in an SRQ
 * @rq_pi: producer index of the receive queue or SRQ
 * @reserved2: for pvhcad's use
 *
 * The entries follow where the create command says (sq_offset, rq_offset: from
 * the start of the buffer, multiples of the stride and at least
 * PVHCA_QUEUE_HEADER_SIZE). The buffer starts on a granule.
 */
struct pvhca_queue_header {
	__le32 sq_pi;
	__u8 reserved0[60];
	__le32 rq_pi;
	__u8 reserved1[60];
	__u8 reserved2[128];
};
#define PVHCA_QUEUE_HEADER_SIZE 256

/* clang-format off */
enum pvhca_wqe_opcode {
	PVHCA_WQE_SEND			= 0,
	PVHCA_WQE_SEND_IMM		= 1,
	PVHCA_WQE_SEND_INV		= 2,
	PVHCA_WQE_WRITE			= 3,
	PVHCA_WQE_WRITE_IMM		= 4,
	PVHCA_WQE_READ			= 5,
	PVHCA_WQE_ATOMIC_CMP_SWP	= 6,
	PVHCA_WQE_ATOMIC_FETCH_ADD	= 7,
	PVHCA_WQE_LOCAL_INV		= 8,
	PVHCA_WQE_BIND_MW		= 9,
	/* 10 is the kernel's. */
};
/* clang-format on */

#define PVHCA_WQE_F_SIGNALED  (1 << 0)
#define PVHCA_WQE_F_SOLICITED (1 << 1)
#define PVHCA_WQE_F_FENCE     (1 << 2)
#define PVHCA_WQE_F_INLINE    (1 << 3) /* data stand in the entry */
#define PVHCA_WQE_F_MASK      0x0f     /* of these; bit 4 is the kernel's */

/* A piece of local memory; addresses are the application's, keys the host's. */
struct pvhca_sge {
	__le64 addr;
	__le32 length; /* bytes */
	__le32 lkey;
};

/**
 * struct pvhca_sq_wqe - fixed part of a send queue entry, 32 bytes
 * @opcode: enum pvhca_wqe_opcode
 * @flags: PVHCA_WQE_F_*
 * @num_sge: entries in the SGE list, 0 with INLINE
 * @inline_len: bytes of inline data, 0 without INLINE
 * @imm_data: immediate data as posted (big endian), or
 * @inv_rkey: with SEND_INV and LOCAL_INV the key to invalidate
 * @rkey: WRITE, READ, atomics: remote key
 * @remote_addr: WRITE, READ, atomics: remote address
 * @ah: UD: address handle, as CREATE_AH gave it
 * @remote_qpn: UD: 24 bits
 * @remote_qkey: UD
 *
 * Behind it stand the SGE list or the inline data, at PVHCA_SQ_WQE_DATA; with
 * atomics and binds first the segment of that operation (struct pvhca_atomic_seg,
 * pvhca_bind_seg), then the SGE list.
 */
struct pvhca_sq_wqe {
	__u8 opcode;
	__u8 flags;
	__le16 num_sge;
	__le32 inline_len;
	union {
		__be32 imm_data;
		__le32 inv_rkey;
	};
	union {
		__le32 rkey;
		__le32 ah;
	};
	union {
		__le64 remote_addr;
		struct {
			__le32 remote_qpn;
			__le32 remote_qkey;
		};
	};
	__le64 reserved;
};
#define PVHCA_SQ_WQE_DATA 32

struct pvhca_atomic_seg {
	__le64 compare_add;
	__le64 swap;
};

/**
 * struct pvhca_bind_seg - BIND_MW
 * @addr: first byte of the window, in the address space of the region
 * @length: bytes; 0: the window has nothing from then on, mr_handle is not looked at
 * @mr_handle: handle of the region (struct pvhca_cmd_reg_mr), not its key
 * @mw_handle: handle of the window
 * @rkey: the key that the window has from then on, but for the lowest 8 bits that of
 *	before: of type 2 chosen by the application, of type 1 by the poster, who
 *	tells it the application when it is posted, as ibv_bind_mw(3) asks for
 * @access: IB_ACCESS_*
 */
struct pvhca_bind_seg {
	__le64 addr;
	__le64 length;
	__le32 mr_handle;
	__le32 mw_handle;
	__le32 rkey;
	__le32 access;
};

/**
 * struct pvhca_rq_wqe - fixed part of a receive queue or SRQ entry, 16 bytes
 * @num_sge: entries in the SGE list that follows at PVHCA_RQ_WQE_DATA
 * @tag: given back as wqe_index of the completion. In a receive queue the
 *	entry's own place; in an SRQ, where completions overtake each other,
 *	what the poster likes.
 */
struct pvhca_rq_wqe {
	__le16 num_sge;
	__le16 tag;
	__le32 reserved0;
	__le64 reserved1;
};
#define PVHCA_RQ_WQE_DATA 16

/* ------------------------------ completion queue --------------------------- */

/**
 * struct pvhca_cq_header - start of the buffer of a CQ
 * @ci: consumer index; written by the guest
 * @arm_any: counts requests for an event on any completion; written by the guest
 * @arm_solicited: the same for solicited ones and errors only
 * @flags: PVHCA_CQ_F_*; written by pvhcad
 *
 * Entries follow at PVHCA_CQ_HEADER_SIZE. pvhcad raises one event for the first
 * fitting completion after a count has moved past what it was at the last
 * event; so a request is consumed by one event. After it wrote an entry pvhcad
 * makes a full barrier before it reads the counts, as the guest does between
 * writing a count and its next poll.
 *
 * While ci leaves no free entry pvhcad holds completions back; none is lost.
 */
struct pvhca_cq_header {
	__le32 ci;
	__le32 arm_any;
	__le32 arm_solicited;
	__u8 reserved0[52];
	__le32 flags;
	__u8 reserved1[60];
};
#define PVHCA_CQ_HEADER_SIZE 128
/*
 * Completions are held back for want of room: who moves ci rings the CQ's
 * doorbell. Only a hint for speed (pvhcad also looks by itself now and then), so
 * the guest needs no barrier before it reads this.
 */
#define PVHCA_CQ_F_BLOCKED (1 << 0)

/* clang-format off */
enum pvhca_cqe_opcode {	/* enum ibv_wc_opcode's meaning, own numbers */
	PVHCA_CQE_SEND			= 0,
	PVHCA_CQE_WRITE			= 1,
	PVHCA_CQE_READ			= 2,
	PVHCA_CQE_COMP_SWAP		= 3,
	PVHCA_CQE_FETCH_ADD		= 4,
	PVHCA_CQE_BIND_MW		= 5,
	PVHCA_CQE_LOCAL_INV		= 6,
	/* 7 is the kernel's. */
	PVHCA_CQE_RECV			= 16,	/* from here on: of a receive queue */
	PVHCA_CQE_RECV_WRITE_IMM	= 17,
};
/* clang-format on */

#define PVHCA_CQE_F_PHASE (1 << 7)
#define PVHCA_CQE_F_GRH	  (1 << 0) /* UD: 40 bytes of GRH lead the buffer */
#define PVHCA_CQE_F_IMM	  (1 << 1) /* imm_data is valid */
#define PVHCA_CQE_F_INV	  (1 << 2) /* inv_rkey is valid */
/* Bit 3 is the kernel's. */

/**
 * struct pvhca_cqe - completion queue entry, 32 bytes
 * @qpn: of the QP whose work completed
 * @byte_len: bytes received or read; on error vendor_err
 * @imm_data: as received (big endian), or
 * @inv_rkey: key that a SEND_INV invalidated
 * @src_qp: UD receive: sender's QP number
 * @timestamp: of the host device's clock where it gives one, else of the host's
 *	CLOCK_MONOTONIC in ns; valid when the CQ was made with timestamps
 * @pkey_index: UD receive
 * @wqe_index: place of the entry in its send queue, or tag of the receive entry.
 *	A send completion also retires all unsignaled entries before it.
 * @opcode: enum pvhca_cqe_opcode; on error only "receive or not" is valid
 * @status: enum ibv_wc_status, by number
 * @sl: UD receive: the packet's type, as RoCE adapters tell it (IB vol 1, A17.4.5.1). Bit 3:
 *	RoCE v2; bits 2:0: the network header in the first 40 bytes, 0 GRH, 1 IPv6, 2 IPv4
 * @flags: PVHCA_CQE_F_*; written last, with release
 *
 * The last four bytes are written as one 32-bit word.
 */
struct pvhca_cqe {
	__le32 qpn;
	union {
		__le32 byte_len;
		__le32 vendor_err;
	};
	union {
		__be32 imm_data;
		__le32 inv_rkey;
	};
	__le32 src_qp;
	__le64 timestamp;
	__le16 pkey_index;
	__le16 wqe_index;
	__u8 opcode;
	__u8 status;
	__u8 sl;
	__u8 flags;
};

#if defined(__KERNEL__)
#include <linux/build_bug.h>
#define PVHCA_RING_ASSERT(e) static_assert(e, "pvhca ring ABI")
#elif defined(__cplusplus)
#define PVHCA_RING_ASSERT(e) static_assert(e, "pvhca ring ABI")
#else
#define PVHCA_RING_ASSERT(e) _Static_assert(e, "pvhca ring ABI")
#endif
PVHCA_RING_ASSERT(sizeof(struct pvhca_context_page) == 4096);
PVHCA_RING_ASSERT(__builtin_offsetof(struct pvhca_context_page, need_kick) == 128);
PVHCA_RING_ASSERT(__builtin_offsetof(struct pvhca_context_page, summary) == 256);
PVHCA_RING_ASSERT(__builtin_offsetof(struct pvhca_context_page, pending) == 512);
PVHCA_RING_ASSERT(sizeof(struct pvhca_queue_header) == PVHCA_QUEUE_HEADER_SIZE);
PVHCA_RING_ASSERT(__builtin_offsetof(struct pvhca_queue_header, rq_pi) == 64);
PVHCA_RING_ASSERT(sizeof(struct pvhca_sq_wqe) == PVHCA_SQ_WQE_DATA);
PVHCA_RING_ASSERT(__builtin_offsetof(struct pvhca_sq_wqe, remote_addr) == 16);
PVHCA_RING_ASSERT(sizeof(struct pvhca_rq_wqe) == PVHCA_RQ_WQE_DATA);
PVHCA_RING_ASSERT(sizeof(struct pvhca_sge) == 16);
PVHCA_RING_ASSERT(sizeof(struct pvhca_bind_seg) == 32);
PVHCA_RING_ASSERT(sizeof(struct pvhca_cq_header) == PVHCA_CQ_HEADER_SIZE);
PVHCA_RING_ASSERT(__builtin_offsetof(struct pvhca_cq_header, flags) == 64);
PVHCA_RING_ASSERT(sizeof(struct pvhca_cqe) == 32);
PVHCA_RING_ASSERT(__builtin_offsetof(struct pvhca_cqe, opcode) == 28);

#endif /* PVHCA_RING_H */
