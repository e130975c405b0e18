/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR Linux-OpenIB) */
/*
 * pvhca admin ABI: guest driver and pvhcad, through guest memory.
 *
 * Theory of operation
 *
 * The driver fills a struct pvhca_admin_area, gives its address to the device
 * (PVHCA_REG_ADMIN_*) and writes ENABLE. pvhcad checks the area, fills in its own
 * part and serves the admin queue from then on: the driver writes a command at
 * sq_pi, store-releases sq_pi + 1 and writes the admin doorbell, which is the
 * hypercall: the vCPU goes on at once. pvhcad copies a command once, carries it
 * out, writes a completion and raises PVHCA_VECTOR_ADMIN. Match answers by cookie
 * only.
 *
 * Order. Commands of one VM are carried out one after the other, in order, unless the
 * driver has asked for PVHCA_FEATURE_UNORDERED and pvhcad has accepted it. Then commands
 * that have nothing to do with each other may be carried out at the same time, and
 * answers come in any order. Two commands keep their order if one of them changes or
 * ends an object (by its handle, or by its index for an entry of the GID table) that the
 * other one names. For this, a command that ends an object also names those that it was
 * made of: its context, PD, CQs, SRQ, CEQ. So a PD that is freed behind the end of its
 * last region is free. What a work request has bound to what pvhcad does not know: a
 * region is to be ended after the answer of the end of its windows. An object exists for
 * the driver from the answer on that names it.
 *
 * A driver whose command times out must RESET the device: only then may memory
 * that the command named be given to others. A pvhcad that finds the queue
 * abused (more commands than entries, bad opcode is not abuse) reports
 * PVHCA_DEV_ERR_GUEST and stops serving.
 *
 * Memory lists. Where a command names memory (a region to register, a ring) it
 * names a list of extents: guest-physical runs of bytes, multiples of
 * PVHCA_GRANULE, in virtual order. Up to PVHCA_INLINE_EXTENTS stand in the
 * command; else the command has the guest-physical address of a chain of
 * struct pvhca_extent_chunk, one granule each, all but the last full. The count
 * of extents in the command bounds the walk. Chunks are read before the command
 * completes and not later.
 *
 * All fields are little endian and naturally aligned; reserved ones are 0 and
 * refused otherwise (PVHCA_ST_INVALID).
 */
#ifndef PVHCA_ADMIN_H
#define PVHCA_ADMIN_H

#include <linux/types.h>

/* The major differs: refused. Of minors the lower is spoken. */
#define PVHCA_ADMIN_ABI_MAJOR 1
#define PVHCA_ADMIN_ABI_MINOR 1

#define PVHCA_ADMIN_MAGIC	    0x4d444150 /* "PADM" */
#define PVHCA_ADMIN_MAX_LOG_ENTRIES 8
#define PVHCA_EQ_MAX_LOG_ENTRIES    17
#define PVHCA_VERSION_LEN	    32
#define PVHCA_MESSAGE_LEN	    160

/*
 * Features: the driver names all that it knows, pvhcad those of them that are in use.
 *
 * PAIR (minor 1): the adapter belongs to a network interface that the guest has got
 * besides, the one whose permanent address is pvhca_rsp_query_device.mac. The driver
 * makes none of its own. Where pvhcad wants that and the driver does not know it,
 * ENABLE is refused (PVHCA_DEV_ERR_VERSION).
 * VLAN (minor 1): addresses of VLAN interfaces: pvhca_cmd_add_gid.vlan may be other
 * than PVHCA_NO_VLAN, and MADs to such an address say so (PVHCA_CQE_F_VLAN).
 * UNORDERED (minor 1): see "Order".
 * NET (minor 1): the interface that the driver makes carries packets: PVHCA_QPT_NET.
 * NET_TSO (minor 1): with NET: packets of TCP that are longer than the MTU, see there.
 */
#define PVHCA_FEATURE_PAIR	(1ull << 0)
#define PVHCA_FEATURE_VLAN	(1ull << 1)
#define PVHCA_FEATURE_UNORDERED (1ull << 2)
#define PVHCA_FEATURE_NET	(1ull << 3)
#define PVHCA_FEATURE_NET_TSO	(1ull << 4)

/**
 * struct pvhca_admin_area - one granule, aligned to it
 * @magic: PVHCA_ADMIN_MAGIC
 * @abi_major, @abi_minor: of the driver
 * @features: that the driver knows, PVHCA_FEATURE_*
 * @sq_addr: 1 << sq_log_entries commands, physically contiguous, on a granule
 * @cq_addr: 1 << cq_log_entries completions, likewise; not fewer than commands
 * @aeq_addr: async event queue: struct pvhca_eq_header and 1 << aeq_log_entries
 *	struct pvhca_aeqe, likewise
 * @driver_version: text, NUL padded
 *
 * Written by pvhcad while it handles ENABLE:
 * @hostd_status: enum pvhca_dev_error
 * @hostd_abi_major, @hostd_abi_minor: pvhcad's
 * @hostd_features: in use, of @features
 * @hostd_version: text
 * @hostd_message: why it was refused, for the driver's log
 *
 * @sq_pi: next free command; written by the driver
 * @cq_ci: next completion to be read; written by the driver
 * Both are free running.
 */
struct pvhca_admin_area {
	__le32 magic;
	__le16 abi_major;
	__le16 abi_minor;
	__le64 features;
	__le64 sq_addr;
	__le64 cq_addr;
	__le64 aeq_addr;
	__u8 sq_log_entries;
	__u8 cq_log_entries;
	__u8 aeq_log_entries;
	__u8 reserved0[5];
	char driver_version[PVHCA_VERSION_LEN];
	__u8 reserved1[944];

	__le32 hostd_status;
	__le16 hostd_abi_major;
	__le16 hostd_abi_minor;
	__le64 hostd_features;
	char hostd_version[PVHCA_VERSION_LEN];
	char hostd_message[PVHCA_MESSAGE_LEN];
	__u8 reserved2[816];

	__le32 sq_pi;
	__u8 reserved3[60];
	__le32 cq_ci;
	__u8 reserved4[1980];
};

/* ------------------------------- event queues ------------------------------ */

/**
 * struct pvhca_eq_header - start of an event queue
 * @ci: next entry the driver reads, free running; written by the driver
 */
struct pvhca_eq_header {
	__le32 ci;
	__u8 reserved[60];
};
#define PVHCA_EQ_HEADER_SIZE 64

#define PVHCA_EQE_F_PHASE (1u << 31)

/*
 * Completion event: CQ cq_handle had what was asked for. The phase bit in flags
 * is as in a CQ; flags are written last, with release. With a full queue pvhcad
 * holds events back.
 */
struct pvhca_ceqe {
	__le32 cq_handle;
	__le32 flags;
};

/* clang-format off */
enum pvhca_async_event {	/* values of enum ibv_event_type / ib_event_type where they agree */
	PVHCA_EVENT_CQ_ERR		= 0,
	PVHCA_EVENT_QP_FATAL		= 1,
	PVHCA_EVENT_QP_REQ_ERR		= 2,
	PVHCA_EVENT_QP_ACCESS_ERR	= 3,
	PVHCA_EVENT_COMM_EST		= 4,
	PVHCA_EVENT_SQ_DRAINED		= 5,
	PVHCA_EVENT_PATH_MIG		= 6,
	PVHCA_EVENT_PATH_MIG_ERR	= 7,
	PVHCA_EVENT_DEVICE_FATAL	= 8,	/* host device is gone; object 0 */
	PVHCA_EVENT_PORT_ACTIVE		= 9,	/* object: port */
	PVHCA_EVENT_PORT_ERR		= 10,
	PVHCA_EVENT_LID_CHANGE		= 11,
	PVHCA_EVENT_PKEY_CHANGE		= 12,
	PVHCA_EVENT_SM_CHANGE		= 13,
	PVHCA_EVENT_SRQ_ERR		= 14,
	PVHCA_EVENT_SRQ_LIMIT_REACHED	= 15,
	PVHCA_EVENT_QP_LAST_WQE_REACHED	= 16,
	PVHCA_EVENT_CLIENT_REREGISTER	= 17,
	PVHCA_EVENT_GID_CHANGE		= 18,
	PVHCA_EVENT_PORT_ATTR		= 64,	/* link state, speed or MTU of port changed; query it */
};
/* clang-format on */

/* Async event: event happened to the object of that handle (QP, CQ, SRQ). */
struct pvhca_aeqe {
	__le32 event;  /* enum pvhca_async_event */
	__le32 object; /* handle, or port number */
	__le32 reserved;
	__le32 flags; /* PVHCA_EQE_F_PHASE */
};

/* --------------------------------- commands -------------------------------- */

/* clang-format off */
enum pvhca_admin_opcode {
	PVHCA_CMD_NOP			= 0,	/* nothing: measures the round trip */
	PVHCA_CMD_QUERY_DEVICE		= 1,
	PVHCA_CMD_QUERY_PORT		= 2,
	PVHCA_CMD_CREATE_CEQ		= 3,
	PVHCA_CMD_DESTROY_CEQ		= 4,
	PVHCA_CMD_ADD_GID		= 5,
	PVHCA_CMD_DEL_GID		= 6,
	PVHCA_CMD_ALLOC_CONTEXT		= 7,
	PVHCA_CMD_DEALLOC_CONTEXT	= 8,
	PVHCA_CMD_ALLOC_PD		= 9,
	PVHCA_CMD_DEALLOC_PD		= 10,
	PVHCA_CMD_REG_MR		= 11,
	PVHCA_CMD_DEREG_MR		= 12,
	PVHCA_CMD_CREATE_CQ		= 13,
	PVHCA_CMD_DESTROY_CQ		= 14,
	PVHCA_CMD_CREATE_QP		= 15,
	PVHCA_CMD_MODIFY_QP		= 16,
	PVHCA_CMD_QUERY_QP		= 17,
	PVHCA_CMD_DESTROY_QP		= 18,
	PVHCA_CMD_CREATE_AH		= 19,
	PVHCA_CMD_DESTROY_AH		= 20,
	PVHCA_CMD_CREATE_SRQ		= 21,
	PVHCA_CMD_MODIFY_SRQ		= 22,
	PVHCA_CMD_QUERY_SRQ		= 23,
	PVHCA_CMD_DESTROY_SRQ		= 24,
	PVHCA_CMD_ALLOC_MW		= 25,
	PVHCA_CMD_DEALLOC_MW		= 26,
	PVHCA_CMD_REREG_MR		= 27,
	PVHCA_CMD_RESIZE_CQ		= 28,
	PVHCA_CMD_ATTACH_MCAST		= 29,
	PVHCA_CMD_DETACH_MCAST		= 30,
	PVHCA_CMD_ALLOC_MR		= 31,	/* for PVHCA_WQE_REG_MR; kernel consumers */
};
/* clang-format on */

/* Each side translates these in one function: from and to errno. */
/* clang-format off */
enum pvhca_admin_status {
	PVHCA_ST_OK			= 0,
	PVHCA_ST_INVALID		= 1,	/* EINVAL: an attribute, handle or state is wrong */
	PVHCA_ST_NO_MEMORY		= 2,	/* ENOMEM: host memory, mappings or device objects ran out */
	PVHCA_ST_QUOTA			= 3,	/* ENOMEM: this VM's limit; pvhcad logs which */
	PVHCA_ST_UNSUPPORTED		= 4,	/* EOPNOTSUPP */
	PVHCA_ST_DENIED			= 5,	/* EPERM: policy */
	PVHCA_ST_BUSY			= 6,	/* EBUSY: object is still in use */
	PVHCA_ST_BAD_ADDRESS		= 7,	/* EFAULT: an extent is not guest RAM */
	PVHCA_ST_VERSION		= 8,	/* EPROTO: ring ABI refused */
	PVHCA_ST_IO			= 9,	/* EIO: the host device failed */
	PVHCA_ST_IN_USE			= 10,	/* EADDRINUSE: address is another VM's */
	PVHCA_ST_NOT_FOUND		= 11,	/* ENODEV: the host has no such address */
	PVHCA_ST_TIMED_OUT		= 12,	/* ETIMEDOUT: e.g. address resolution on the host */
	PVHCA_ST_UNREACHABLE		= 13,	/* ENETUNREACH */
	PVHCA_ST_AGAIN			= 14,	/* EAGAIN */
};
/* clang-format on */

struct pvhca_extent {
	__le64 addr; /* guest-physical, multiple of PVHCA_GRANULE */
	__le64 len;  /* bytes, likewise, not 0 */
};

#define PVHCA_CHUNK_EXTENTS 255
struct pvhca_extent_chunk {
	__le64 next; /* guest-physical address of the next chunk, on a granule; 0 in the last */
	__le64 reserved;
	struct pvhca_extent extents[PVHCA_CHUNK_EXTENTS];
};

#define PVHCA_INLINE_EXTENTS 4
/**
 * struct pvhca_mem_list - memory that a command names
 * @num_extents: at least 1
 * @chunk: first chunk, where num_extents > PVHCA_INLINE_EXTENTS; else 0
 * @extents: the extents otherwise
 * @length: bytes in all extents: their sum, checked
 */
struct pvhca_mem_list {
	__le32 num_extents;
	__le32 reserved;
	__le64 length;
	__le64 chunk;
	struct pvhca_extent extents[PVHCA_INLINE_EXTENTS];
};

/*
 * What kernel consumers in the guest can have.
 * GSI: QP 1, so the guest's own CM. QP: queue pairs of their own, with
 * PVHCA_LKEY_DMA. REG_MR: ALLOC_MR and PVHCA_WQE_REG_MR.
 */
#define PVHCA_KERNEL_GSI    (1u << 0)
#define PVHCA_KERNEL_QP	    (1u << 1)
#define PVHCA_KERNEL_REG_MR (1u << 2)

/* QUERY_DEVICE: no arguments. Limits are after quota. Names as in ibv_query_device(3). */
struct pvhca_rsp_query_device {
	__le64 max_mr_size;
	__le64 page_size_cap;
	__le64 device_cap_flags; /* IBV_DEVICE_* of what guests can use */
	__le64 sys_image_guid;	 /* big endian, as in the verbs */
	__le64 hca_core_clock;	 /* kHz; 0: none */
	__le64 timestamp_mask;
	__le32 vendor_id;
	__le32 vendor_part_id;
	__le32 hw_ver;
	__le32 max_qp;
	__le32 max_qp_wr;
	__le32 max_sge;
	__le32 max_sge_rd;
	__le32 max_inline;
	__le32 max_cq;
	__le32 max_cqe;
	__le32 max_mr;
	__le32 max_pd;
	__le32 max_qp_rd_atom;
	__le32 max_res_rd_atom;
	__le32 max_qp_init_rd_atom;
	__le32 atomic_cap;
	__le32 max_mw;
	__le32 max_mcast_grp;
	__le32 max_mcast_qp_attach;
	__le32 max_total_mcast_qp_attach;
	__le32 max_ah;
	__le32 max_srq;
	__le32 max_srq_wr;
	__le32 max_srq_sge;
	__le32 max_pkeys;
	__le32 max_contexts;
	__le32 gid_tbl_len;
	__u8 local_ca_ack_delay;
	__u8 reserved0[3];
	__u8 mac[6];	      /* of the guest's netdev: its own or the one to pair with */
	__le16 kernel_caps;   /* PVHCA_KERNEL_* */
	char fw_ver[32];      /* host device's, or pvhcad's version */
	char host_device[32]; /* name of the fabric or host device, for the log */
};

struct pvhca_cmd_query_port {
	__le32 port; /* 1 */
};

struct pvhca_rsp_query_port {
	__u8 state; /* enum ibv_port_state */
	__u8 phys_state;
	__u8 max_mtu; /* enum ibv_mtu */
	__u8 active_mtu;
	__u8 active_width; /* as in ibv_query_port(3) */
	__u8 max_vl_num;
	__le16 active_speed;
	__le32 max_msg_sz;
	__le32 pkey_tbl_len;
	__le32 gid_tbl_len;
	__le32 netdev_mtu; /* for the guest's netdev */
	__le32 port_cap_flags;
	__le32 reserved;
};

/* Completion event queue, one per completion vector. */
struct pvhca_cmd_create_ceq {
	__le64 addr; /* struct pvhca_eq_header, then entries; contiguous, on a granule */
	__le32 log_entries;
	__le32 vector; /* MSI-X vector, >= PVHCA_VECTOR_ADMIN */
};

/* Answer of all that make an object; argument of all that destroy one. */
struct pvhca_handle {
	__le32 handle;
	__le32 reserved;
};

/*
 * The same GID may be there more than once, with different VLANs: that of a link-local
 * address is, as a VLAN interface has the address of the interface below. pvhcad routes
 * by GID alone.
 */
#define PVHCA_NO_VLAN 0xffff
struct pvhca_cmd_add_gid {
	__u8 gid[16]; /* network order */
	__le32 index; /* in the guest's table */
	__le32 port;
	__le32 gid_type; /* 1: RoCE v2; others are refused */
	__le16 vlan; /* PVHCA_NO_VLAN: none; others need PVHCA_FEATURE_VLAN, and are below 4096 */
	__le16 reserved;
};

struct pvhca_cmd_del_gid {
	__le32 index;
	__le32 port;
};

/*
 * A process's open device, or the driver itself for kernel consumers: SGEs of its
 * QPs may then name PVHCA_LKEY_DMA.
 */
#define PVHCA_CONTEXT_KERNEL (1u << 0)

struct pvhca_cmd_alloc_context {
	__le64 page; /* struct pvhca_context_page, zeroed but for alive */
	__le16 ring_abi_major;
	__le16 ring_abi_minor;
	__le32 flags;	   /* PVHCA_CONTEXT_* */
	__u8 reserved[32]; /* text of a driver of 0.1 */
};

struct pvhca_rsp_alloc_context {
	__le32 handle;
	__le16 ring_abi_major; /* pvhcad's; also valid with PVHCA_ST_VERSION */
	__le16 ring_abi_minor;
};

struct pvhca_cmd_alloc_pd {
	__le32 context;
	__le32 reserved;
};

/**
 * struct pvhca_cmd_reg_mr - register memory
 * @pd: handle
 * @access: IB_ACCESS_* (enum ibv_access_flags), unsupported ones refused, but those
 *	in IB_ACCESS_OPTIONAL, which are passed on or dropped
 * @iova: address of the first byte in keys' address space (ibv_reg_mr_iova)
 * @length: bytes of the region
 * @offset: of the first byte from the start of the first extent, bytes
 * @mem: the memory; offset + length <= mem.length
 */
struct pvhca_cmd_reg_mr {
	__le32 pd;
	__le32 access;
	__le64 iova;
	__le64 length;
	__le64 offset;
	struct pvhca_mem_list mem;
};

struct pvhca_rsp_reg_mr {
	__le32 handle;
	__le32 lkey; /* the host's */
	__le32 rkey;
	__le32 reserved;
};

struct pvhca_cmd_create_cq {
	__le32 context;
	__le32 ceq; /* handle */
	__le32 log_entries;
	__le32 flags;		   /* PVHCA_CREATE_CQ_* */
	struct pvhca_mem_list mem; /* struct pvhca_cq_header and entries */
};

struct pvhca_rsp_create_cq {
	__le32 handle;
	__le32 doorbell; /* byte offset in the window */
};

/*
 * enum ibv_qp_type. GSI is QP 1: only in a context of the driver itself, at most
 * one per VM. It is pvhcad's own work, whatever the fabric: its sends are MADs of
 * up to 256 bytes, whose WQEs carry struct pvhca_av (PVHCA_WQE_F_AV). CM MADs to
 * other VMs of this pvhcad reach their GSI QP; those to other hosts become calls
 * of librdmacm; others than CM are dropped.
 *
 * A MAD that arrives takes one receive entry: 40 bytes in the place of the GRH,
 * then the 256 bytes of the MAD. The guest's core takes the addresses of both
 * ends from these 40 bytes and from nothing else, and tells the kinds of header
 * apart by looking at them:
 *   IPv4 (both GIDs are v4-mapped): 20 bytes of 0; then an IPv4 header of 20
 *	bytes: version 4, IHL 5, TOS, total length (of a RoCE v2 packet: 20 + 8
 *	of UDP + 12 of BTH + 8 of DETH + 256 + 4 of ICRC), id 0, DF, TTL (64),
 *	protocol 17, a right checksum, source, destination.
 *   IPv6: an IPv6 header: version 6, class, flow label, payload length, next
 *	header 17 (another value would mean RoCE v1), hop limit (64), source GID,
 *	destination GID.
 * The destination is the receiver's own address, an entry of its GID table, the
 * source the sender's. The completion is RECV with PVHCA_CQE_F_GRH, byte_len 40
 * + 256, src_qp 1, pkey_index 0, sl of the sender's address vector; qpn is what
 * CREATE_QP answered, which should be 1. A MAD that finds no receive entry is
 * dropped: CM sends again. A send completes as soon as the MAD has been copied.
 * The QP is moved through INIT (PKEY_INDEX, QKEY), RTR and RTS (SQ_PSN) as the
 * verbs have it, and takes MADs from RTR on.
 *
 * NET carries IP packets to and from the other VMs of this pvhcad, for the network
 * interface that the driver makes; only with PVHCA_FEATURE_NET, and else as GSI: in a
 * context of the driver itself, at most one per VM, pvhcad's own work. It has no
 * states: it works from CREATE_QP on to DESTROY_QP, and MODIFY_QP is refused. Its
 * number is 0. Its entries have at most PVHCA_NET_MAX_SGE SGEs, of PVHCA_LKEY_DMA.
 *   A send (PVHCA_WQE_SEND) is an IPv4 or IPv6 packet, from the first byte of its
 * header on, 65535 bytes at most. It goes to the VM that has its destination among its
 * GIDs, if the sender has its source among its own. Groups and the broadcast address
 * get nothing. For any other packet the sender receives an ICMP error whose source
 * is the packet's destination. A send completes as soon as the packet has been copied,
 * or dropped.
 *   A receive takes one packet. Its length is the MTU of the VM, at least
 * PVHCA_NET_MIN_MTU: a longer packet is answered by "too big" with that MTU. Nobody
 * waits for a receive, so that posting one need not be announced in the context page:
 * a packet that finds none is lost. The driver keeps more than half of the queue posted:
 * what is beyond that is for any sender, of the rest pvhcad keeps some for those who
 * send less than others.
 *   Checksums: remote_qpn of the send says where one is to be filled in, 0: nowhere.
 * Bits 15:0 are the place from which bytes are summed up, bits 31:16 the place of the
 * checksum itself, counted from there (as skb->csum_start and csum_offset). src_qp of
 * the receive's completion has the same value: the packet's checksum is not there, and
 * was not needed. With PVHCA_CQE_F_VLAN the completion names the VLAN of the
 * destination.
 *   Segments, with PVHCA_FEATURE_NET_TSO: remote_qkey of the send is 0 or the payload in
 * bytes of each of the packets of TCP that the packet stands for, at least
 * PVHCA_NET_MIN_SEGMENT; the last has what is left. The header of IP is followed by that
 * of TCP, remote_qpn has the place of TCP's checksum, both headers lie in the first 128
 * bytes, and lengths and sums in them are those of the whole. The first SGE of a receive
 * is the MTU then, and the others hold what a packet that stands for several has beyond
 * that; pkey_index of its completion is the payload of each. If the receive is shorter
 * than the packet, or if its driver does not know NET_TSO, pvhcad cuts the packet, and
 * each piece takes a receive.
 */
/* clang-format off */
enum pvhca_qp_type {
	PVHCA_QPT_GSI			= 1,
	PVHCA_QPT_RC			= 2,
	PVHCA_QPT_UC			= 3,
	PVHCA_QPT_UD			= 4,
	PVHCA_QPT_NET			= 5,
};
/* clang-format on */

#define PVHCA_NET_MAX_SGE 16u
#define PVHCA_NET_MIN_MTU 1280u /* bytes; what IPv6 asks for (RFC 8200, 5) */
/* Bytes; with headers of 60 bytes each it is shorter than the least MTU allows. */
#define PVHCA_NET_MIN_SEGMENT 1024u

#define PVHCA_CREATE_QP_SIG_ALL	       (1u << 0)
#define PVHCA_CREATE_QP_SRQ	       (1u << 1) /* srq is valid, there is no RQ */
#define PVHCA_CREATE_QP_BLOCK_LOOPBACK (1u << 2) /* multicast: not back to the sender */
#define PVHCA_NO_HANDLE		       0xffffffffu

struct pvhca_qp_cap { /* ibv_qp_cap */
	__le32 max_send_wr;
	__le32 max_recv_wr;
	__le32 max_send_sge;
	__le32 max_recv_sge;
	__le32 max_inline;
};

struct pvhca_cmd_create_qp {
	__le32 context;
	__le32 pd;
	__le32 send_cq;
	__le32 recv_cq;
	__le32 srq;   /* or PVHCA_NO_HANDLE */
	__le32 type;  /* enum pvhca_qp_type */
	__le32 flags; /* PVHCA_CREATE_QP_* */
	struct pvhca_qp_cap cap;
	__le32 sq_offset; /* ring layout: see pvhca-ring.h */
	__le32 rq_offset;
	__u8 sq_log_entries;
	__u8 sq_log_stride;
	__u8 rq_log_entries;
	__u8 rq_log_stride;
	__le32 reserved;
	struct pvhca_mem_list mem;
};

struct pvhca_rsp_create_qp {
	__le32 handle;
	__le32 qpn;		 /* the host's, 24 bits */
	__le32 slot;		 /* in the context page */
	__le32 doorbell;	 /* byte offset in the window */
	struct pvhca_qp_cap cap; /* what the host gave, never less than asked */
	__le32 reserved;
};

/* Address vector: ibv_ah_attr / rdma_ah_attr. The host resolves the MAC itself. */
struct pvhca_av {
	__u8 dgid[16];
	__le32 flow_label;
	__u8 sgid_index; /* in the guest's table */
	__u8 hop_limit;
	__u8 traffic_class;
	__u8 sl;
	__u8 port;
	__u8 static_rate;
	__u8 is_global; /* 1: RoCE demands it */
	__u8 reserved0;
	__le32 reserved1;
};

/* ibv_qp_attr; values are the verbs'. */
struct pvhca_qp_attr {
	__u8 qp_state;
	__u8 cur_qp_state;
	__u8 path_mtu;
	__u8 path_mig_state;
	__le32 qkey;
	__le32 rq_psn;
	__le32 sq_psn;
	__le32 dest_qp_num;
	__le32 qp_access_flags;
	__le16 pkey_index;
	__le16 alt_pkey_index;
	__u8 en_sqd_async_notify;
	__u8 sq_draining;
	__u8 max_rd_atomic;
	__u8 max_dest_rd_atomic;
	__u8 min_rnr_timer;
	__u8 port_num;
	__u8 timeout;
	__u8 retry_cnt;
	__u8 rnr_retry;
	__u8 alt_port_num;
	__u8 alt_timeout;
	__u8 reserved0;
	__le32 rate_limit;
	struct pvhca_qp_cap cap;
	struct pvhca_av av;
	struct pvhca_av alt_av;
};

struct pvhca_cmd_modify_qp {
	__le32 qp;
	__le32 attr_mask; /* enum ibv_qp_attr_mask; IBV_QP_CAP is refused */
	struct pvhca_qp_attr attr;
};

struct pvhca_cmd_query_qp {
	__le32 qp;
	__le32 attr_mask;
};

struct pvhca_rsp_query_qp {
	struct pvhca_qp_attr attr;
};

/*
 * Address handle; the host resolves the destination's MAC now. The answer's
 * handle goes into pvhca_sq_wqe.ah. The port and is_global must be 1.
 */
struct pvhca_cmd_create_ah {
	__le32 pd;
	__le32 reserved;
	struct pvhca_av av;
};

/*
 * Shared receive queue. Its buffer is a struct pvhca_queue_header and a receive
 * queue (sq_pi unused); its slot in the context page is marked as a QP's is.
 */
struct pvhca_cmd_create_srq {
	__le32 context;
	__le32 pd;
	__le32 max_wr;
	__le32 max_sge;
	__le32 limit; /* 0: no limit event */
	__le32 rq_offset;
	__u8 rq_log_entries;
	__u8 rq_log_stride;
	__u8 reserved0[2];
	__le32 reserved1;
	struct pvhca_mem_list mem;
};

struct pvhca_rsp_create_srq {
	__le32 handle;
	__le32 srqn; /* the host's, 0 where it has none */
	__le32 slot;
	__le32 doorbell;
	__le32 max_wr; /* what the host gave, never less than asked */
	__le32 max_sge;
};

struct pvhca_cmd_modify_srq {
	__le32 srq;
	__le32 attr_mask; /* enum ibv_srq_attr_mask; IBV_SRQ_MAX_WR is refused */
	__le32 limit;
	__le32 reserved;
};

struct pvhca_cmd_query_srq {
	__le32 srq;
	__le32 reserved;
};

struct pvhca_rsp_query_srq {
	__le32 max_wr;
	__le32 max_sge;
	__le32 limit;
	__le32 reserved;
};

struct pvhca_cmd_alloc_mw {
	__le32 pd;
	__le32 type; /* enum ibv_mw_type: 1 or 2 */
};

struct pvhca_rsp_alloc_mw {
	__le32 handle;
	__le32 rkey; /* the host's */
};

/**
 * struct pvhca_cmd_rereg_mr - change a region in place (ibv_rereg_mr)
 * @mr: handle
 * @flags: enum ibv_rereg_mr_flags; what it does not name is not looked at and 0
 * @pd, @access, @iova, @length, @offset, @mem: as in struct pvhca_cmd_reg_mr
 *
 * Answered by struct pvhca_rsp_reg_mr: the handle is the same, keys may be new.
 * Where it fails with any other status than PVHCA_ST_IO, the region is as before.
 */
struct pvhca_cmd_rereg_mr {
	__le32 mr;
	__le32 flags;
	__le32 pd;
	__le32 access;
	__le64 iova;
	__le64 length;
	__le64 offset;
	struct pvhca_mem_list mem;
};

/**
 * struct pvhca_cmd_resize_cq - give a CQ another buffer
 * @log_entries: of the new buffer
 * @mem: the new buffer: struct pvhca_cq_header, zeroed, and entries, zeroed
 *
 * The guest does not poll the CQ while the command is under way, and has
 * published its ci in the old buffer. pvhcad copies the entries that were not
 * polled to the new one from index 0 on, with phase bits of the first lap, takes
 * the counts of arm_any and arm_solicited over from the old header into the new
 * one, and never touches the old buffer again. Both sides go on with ci = 0.
 * PVHCA_ST_INVALID: what was not polled does not fit; the CQ is as before.
 */
struct pvhca_cmd_resize_cq {
	__le32 cq;
	__le32 log_entries;
	struct pvhca_mem_list mem;
};

/* ATTACH_MCAST, DETACH_MCAST: UD QPs */
struct pvhca_cmd_mcast {
	__u8 gid[16];
	__le32 qp;
	__le16 lid;
	__le16 reserved;
};

/*
 * A region without memory, for PVHCA_WQE_REG_MR; fabrics that cannot do that
 * answer UNSUPPORTED. Answered by struct pvhca_rsp_reg_mr; DEREG_MR ends it.
 */
struct pvhca_cmd_alloc_mr {
	__le32 pd;
	__le32 max_pages;
};

#define PVHCA_CMD_SIZE 256
struct pvhca_admin_cmd {
	__le32 cookie; /* the driver's; echoed */
	__le16 opcode; /* enum pvhca_admin_opcode */
	__le16 flags;  /* 0 */
	union {
		__u8 raw[PVHCA_CMD_SIZE - 8];
		struct pvhca_cmd_query_port query_port;
		struct pvhca_cmd_create_ceq create_ceq;
		struct pvhca_cmd_add_gid add_gid;
		struct pvhca_cmd_del_gid del_gid;
		struct pvhca_cmd_alloc_context alloc_context;
		struct pvhca_cmd_alloc_pd alloc_pd;
		struct pvhca_cmd_reg_mr reg_mr;
		struct pvhca_cmd_create_cq create_cq;
		struct pvhca_cmd_create_qp create_qp;
		struct pvhca_cmd_modify_qp modify_qp;
		struct pvhca_cmd_query_qp query_qp;
		struct pvhca_cmd_create_ah create_ah;
		struct pvhca_cmd_create_srq create_srq;
		struct pvhca_cmd_modify_srq modify_srq;
		struct pvhca_cmd_query_srq query_srq;
		struct pvhca_cmd_alloc_mw alloc_mw;
		struct pvhca_cmd_rereg_mr rereg_mr;
		struct pvhca_cmd_resize_cq resize_cq;
		struct pvhca_cmd_mcast mcast;
		struct pvhca_cmd_alloc_mr alloc_mr;
		struct pvhca_handle destroy; /* DEALLOC_*, DEREG_*, DESTROY_* */
	};
};

/*
 * Completion. The word with the phase bit is written last, with release.
 */
#define PVHCA_ADMIN_RSP_F_PHASE (1u << 31)
struct pvhca_admin_rsp {
	union {
		__u8 raw[PVHCA_CMD_SIZE - 16];
		struct pvhca_rsp_query_device query_device;
		struct pvhca_rsp_query_port query_port;
		struct pvhca_handle created; /* CREATE_CEQ, ALLOC_PD, CREATE_AH */
		struct pvhca_rsp_alloc_context alloc_context;
		struct pvhca_rsp_reg_mr reg_mr; /* REG_MR, REREG_MR, ALLOC_MR */
		struct pvhca_rsp_create_srq create_srq;
		struct pvhca_rsp_query_srq query_srq;
		struct pvhca_rsp_alloc_mw alloc_mw;
		struct pvhca_rsp_create_cq create_cq;
		struct pvhca_rsp_create_qp create_qp;
		struct pvhca_rsp_query_qp query_qp;
	};
	__le32 reserved;
	__le32 cookie;
	__le32 status; /* enum pvhca_admin_status */
	__le32 flags;  /* PVHCA_ADMIN_RSP_F_PHASE */
};

#if defined(__KERNEL__)
#include <linux/build_bug.h>
#define PVHCA_ADMIN_ASSERT(e) static_assert(e, "pvhca admin ABI")
#else
#define PVHCA_ADMIN_ASSERT(e) _Static_assert(e, "pvhca admin ABI")
#endif
PVHCA_ADMIN_ASSERT(sizeof(struct pvhca_admin_area) == 4096);
PVHCA_ADMIN_ASSERT(__builtin_offsetof(struct pvhca_admin_area, hostd_status) == 1024);
PVHCA_ADMIN_ASSERT(__builtin_offsetof(struct pvhca_admin_area, sq_pi) == 2048);
PVHCA_ADMIN_ASSERT(sizeof(struct pvhca_ceqe) == 8);
PVHCA_ADMIN_ASSERT(sizeof(struct pvhca_aeqe) == 16);
PVHCA_ADMIN_ASSERT(sizeof(struct pvhca_extent_chunk) == 4096);
PVHCA_ADMIN_ASSERT(sizeof(struct pvhca_mem_list) == 88);
PVHCA_ADMIN_ASSERT(sizeof(struct pvhca_av) == 32);
PVHCA_ADMIN_ASSERT(sizeof(struct pvhca_qp_attr) == 128);
PVHCA_ADMIN_ASSERT(sizeof(struct pvhca_admin_cmd) == PVHCA_CMD_SIZE);
PVHCA_ADMIN_ASSERT(sizeof(struct pvhca_admin_rsp) == PVHCA_CMD_SIZE);

#endif /* PVHCA_ADMIN_H */
