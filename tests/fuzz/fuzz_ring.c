// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Entries of send and receive queues of each type of queue pair. A driver has made one of all
 * objects; its queue pairs are connected and may do everything. Pieces of an input (fuzz.h), by
 * their kind:
 *
 *   0x00 + n  an entry for the send queue of the n-th queue pair (queues[])
 *   0x10 + n  an entry for its receive queue
 *   0x20      an entry for the shared receive queue
 *   0x30      bytes for RAM: the address (4 bytes), the bytes
 *   0x31      the doorbells are signalled, and nothing is posted
 *   0x32      completions are polled up to this index (4 bytes)
 *   0x33      a queue pair (1 byte) is to be in a state (1 byte, enum ibv_qp_state)
 *   0x40 | x  like x, with the next one to be served at the same time
 *
 * A word 0xfffff0NN of an entry is replaced by name NN: what numbers and keys an object got
 * differs from tree to tree. the enumeration below says which are which.
 */
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <infiniband/verbs.h>

#include "fuzz.h"
#include "guest.h"
#include "host.h"

#define TOGETHER 0x40

/* Places in guest RAM, each but DATA of two granules. */
#define CEQ	  0x8000u
#define PAGE	  0xa000u
#define CQ	  0xc000u
#define SRQ	  0xe000u
#define QUEUES_AT 0x10000u
#define PAGES	  0x30000u
#define DATA	  0x40000u
#define DATA_LEN  0x10000u
#define IOVA	  0x10000u

#define LOG_ENTRIES   4u
#define SQ_LOG_STRIDE 8u
#define RQ_LOG_STRIDE 6u
#define RQ_OFFSET     256u

enum { RC_A, RC_B, UC_A, UC_B, UD, GSI, RC_SRQ, NET, QUEUES };

static const struct {
	uint32_t type;
	unsigned int peer;
	uint32_t flags;
} queues[QUEUES] = {
	[RC_A] = { PVHCA_QPT_RC, RC_B, 0 },
	[RC_B] = { PVHCA_QPT_RC, RC_A, PVHCA_CREATE_QP_SIG_ALL },
	[UC_A] = { PVHCA_QPT_UC, UC_B, 0 },
	[UC_B] = { PVHCA_QPT_UC, UC_A, 0 },
	[UD] = { PVHCA_QPT_UD, UD, 0 },
	[GSI] = { PVHCA_QPT_GSI, GSI, 0 },
	[RC_SRQ] = { PVHCA_QPT_RC, RC_SRQ, PVHCA_CREATE_QP_SRQ },
	[NET] = { PVHCA_QPT_NET, NET, 0 },
};

static const uint8_t own_gid_6[16] = { 0xfd, [15] = 1 };
static const uint8_t own_gid[16] = { [10] = 0xff, 0xff, 10, 0, 0, 1 };
static const uint8_t group[16] = { 0xff, 0x0e, [10] = 0xff, 0xff, 239, 1, 1, 1 };

/* 0xfffff0NN in entries. */
enum {
	NAME_LKEY,
	NAME_RKEY,
	NAME_FAST_KEY, /* of the region for REG_MR */
	NAME_WINDOW_1, /* rkeys of windows, by type */
	NAME_WINDOW_2,
	NAME_AH,
	NAME_MR,
	NAME_FAST_MR,
	NAME_MW_1,
	NAME_MW_2,
	NAME_GROUP_AH,
	NAME_QPN,
	NAMES = NAME_QPN + QUEUES,
};

/* What is made once, in this order. */
enum {
	MAKE_GID,
	MAKE_CEQ,
	MAKE_CONTEXT,
	MAKE_PD,
	MAKE_CQ,
	MAKE_MR,
	MAKE_FAST_MR,
	MAKE_MW_1,
	MAKE_MW_2,
	MAKE_AH,
	MAKE_GROUP_AH,
	MAKE_SRQ,
	MAKE_QUEUES,
	MADE = MAKE_QUEUES + QUEUES, /* objects; the rest changes them */
	MAKE_INIT = MADE,
	MAKE_RTR = MAKE_INIT + QUEUES,
	MAKE_RTS = MAKE_RTR + QUEUES,
	MAKE_GROUP = MAKE_RTS + QUEUES,
	MAKE_GID_6,
	MAKE_ALL,
};

/* A ring's producer index and what was posted in it. */
struct ring {
	uint32_t slot;
	uint32_t send_pi, recv_pi;
};

static struct guest guest;
static struct fuzz_input input;
static struct ring rings[QUEUES + 1]; /* the last one is the SRQ's */
static uint32_t names[NAMES];
static uint32_t handles[MADE]; /* of what was made */
static unsigned int prepared;  /* commands of the set-up that were posted */

/* ---------------------------------- set-up --------------------------------- */

static struct pvhca_mem_list memory(uint64_t at, uint64_t length)
{
	return (struct pvhca_mem_list){ .num_extents = 1,
					.length = length,
					.extents = { { at, length } } };
}

static struct pvhca_av address(const uint8_t gid[16])
{
	struct pvhca_av av = { .hop_limit = 64, .port = 1, .is_global = 1 };

	memcpy(av.dgid, gid, sizeof(av.dgid));
	return av;
}

static void create_queue(struct pvhca_cmd_create_qp *create, unsigned int queue)
{
	*create = (struct pvhca_cmd_create_qp){
		.context = handles[MAKE_CONTEXT],
		.pd = handles[MAKE_PD],
		.send_cq = handles[MAKE_CQ],
		.recv_cq = handles[MAKE_CQ],
		.srq = queues[queue].flags & PVHCA_CREATE_QP_SRQ ? handles[MAKE_SRQ] :
								   PVHCA_NO_HANDLE,
		.type = queues[queue].type,
		.flags = queues[queue].flags,
		.cap = { .max_send_wr = 1 << LOG_ENTRIES,
			 .max_recv_wr = 1 << LOG_ENTRIES,
			 .max_send_sge = 4,
			 .max_recv_sge = 2,
			 .max_inline = 128 },
		.sq_offset = PVHCA_GRANULE,
		.rq_offset = RQ_OFFSET,
		.sq_log_entries = LOG_ENTRIES,
		.sq_log_stride = SQ_LOG_STRIDE,
		.rq_log_entries = LOG_ENTRIES,
		.rq_log_stride = RQ_LOG_STRIDE,
		.mem = memory(QUEUES_AT + queue * 2 * PVHCA_GRANULE, 2 * PVHCA_GRANULE),
	};
	if (queue == NET)
		create->cap.max_inline = 0;
	if (queues[queue].flags & PVHCA_CREATE_QP_SRQ) {
		create->cap.max_recv_wr = create->cap.max_recv_sge = 0;
		create->rq_offset = create->rq_log_entries = create->rq_log_stride = 0;
	}
}

#define INIT_MASK (IBV_QP_STATE | IBV_QP_PKEY_INDEX)
#define RTR_MASK  (IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN)
#define RTR_RC	  (RTR_MASK | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER)
#define RTS_MASK  (IBV_QP_STATE | IBV_QP_SQ_PSN)
#define RTS_RC \
	(RTS_MASK | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC)

static uint32_t state_mask(uint32_t type, enum ibv_qp_state state)
{
	const bool datagrams = type == PVHCA_QPT_UD || type == PVHCA_QPT_GSI;
	const bool rc = type == PVHCA_QPT_RC;

	switch (state) {
	case IBV_QPS_INIT:
		if (type == PVHCA_QPT_GSI)
			return INIT_MASK | IBV_QP_QKEY;
		return INIT_MASK | IBV_QP_PORT | (datagrams ? IBV_QP_QKEY : IBV_QP_ACCESS_FLAGS);
	case IBV_QPS_RTR:
		return datagrams ? IBV_QP_STATE : rc ? RTR_RC : RTR_MASK;
	default:
		return rc ? RTS_RC : RTS_MASK;
	}
}

static void modify_queue(struct pvhca_cmd_modify_qp *modify, unsigned int queue,
			 enum ibv_qp_state state)
{
	*modify = (struct pvhca_cmd_modify_qp){
		.qp = handles[MAKE_QUEUES + queue],
		.attr_mask = state_mask(queues[queue].type, state),
		.attr = { .qp_state = state,
			  .path_mtu = IBV_MTU_1024,
			  .qkey = 1,
			  .dest_qp_num = names[NAME_QPN + queues[queue].peer],
			  .qp_access_flags = 0xf,
			  .max_rd_atomic = 1,
			  .max_dest_rd_atomic = 1,
			  .min_rnr_timer = 12,
			  .port_num = 1,
			  .timeout = 14,
			  .retry_cnt = 7,
			  .rnr_retry = 2,
			  .av = address(own_gid) },
	};
}

static void make_queue(struct pvhca_admin_cmd *cmd, unsigned int number)
{
	const unsigned int queue = (number - MAKE_QUEUES) % QUEUES;

	if (number < MAKE_INIT) {
		cmd->opcode = PVHCA_CMD_CREATE_QP;
		create_queue(&cmd->create_qp, queue);
		return;
	}
	/* It has no states. */
	cmd->opcode = queue == NET ? PVHCA_CMD_NOP : PVHCA_CMD_MODIFY_QP;
	if (queue == NET)
		return;
	modify_queue(&cmd->modify_qp, queue, IBV_QPS_INIT + (number - MAKE_INIT) / QUEUES);
}

static void make(struct pvhca_admin_cmd *cmd, unsigned int number)
{
	switch (number) {
	case MAKE_GID:
	case MAKE_GID_6:
		cmd->opcode = PVHCA_CMD_ADD_GID;
		cmd->add_gid = (struct pvhca_cmd_add_gid){ .index = number == MAKE_GID ? 0 : 1,
							   .port = 1,
							   .gid_type = 1,
							   .vlan = PVHCA_NO_VLAN };
		memcpy(cmd->add_gid.gid, number == MAKE_GID ? own_gid : own_gid_6, sizeof(own_gid));
		break;
	case MAKE_CEQ:
		cmd->opcode = PVHCA_CMD_CREATE_CEQ;
		cmd->create_ceq =
			(struct pvhca_cmd_create_ceq){ CEQ, LOG_ENTRIES, PVHCA_VECTOR_COMP };
		break;
	case MAKE_CONTEXT:
		cmd->opcode = PVHCA_CMD_ALLOC_CONTEXT;
		cmd->alloc_context = (struct pvhca_cmd_alloc_context){
			.page = PAGE,
			.ring_abi_major = PVHCA_RING_ABI_MAJOR,
			.flags = PVHCA_CONTEXT_KERNEL,
		};
		break;
	case MAKE_PD:
		cmd->opcode = PVHCA_CMD_ALLOC_PD;
		cmd->alloc_pd.context = handles[MAKE_CONTEXT];
		break;
	case MAKE_CQ:
		cmd->opcode = PVHCA_CMD_CREATE_CQ;
		cmd->create_cq = (struct pvhca_cmd_create_cq){
			.context = handles[MAKE_CONTEXT],
			.ceq = handles[MAKE_CEQ],
			.log_entries = 6,
			.mem = memory(CQ, 2 * PVHCA_GRANULE),
		};
		break;
	case MAKE_MR:
		cmd->opcode = PVHCA_CMD_REG_MR;
		cmd->reg_mr = (struct pvhca_cmd_reg_mr){
			.pd = handles[MAKE_PD],
			.access = 0x1f,
			.iova = IOVA,
			.length = DATA_LEN,
			.mem = memory(DATA, DATA_LEN),
		};
		break;
	case MAKE_FAST_MR:
		cmd->opcode = PVHCA_CMD_ALLOC_MR;
		cmd->alloc_mr = (struct pvhca_cmd_alloc_mr){ handles[MAKE_PD], 8 };
		break;
	case MAKE_MW_1:
	case MAKE_MW_2:
		cmd->opcode = PVHCA_CMD_ALLOC_MW;
		cmd->alloc_mw.pd = handles[MAKE_PD];
		cmd->alloc_mw.type = number == MAKE_MW_1 ? 1 : 2;
		break;
	case MAKE_AH:
	case MAKE_GROUP_AH:
		cmd->opcode = PVHCA_CMD_CREATE_AH;
		cmd->create_ah.pd = handles[MAKE_PD];
		cmd->create_ah.av = address(number == MAKE_AH ? own_gid : group);
		break;
	case MAKE_SRQ:
		cmd->opcode = PVHCA_CMD_CREATE_SRQ;
		cmd->create_srq = (struct pvhca_cmd_create_srq){
			.context = handles[MAKE_CONTEXT],
			.pd = handles[MAKE_PD],
			.max_wr = 1 << LOG_ENTRIES,
			.max_sge = 2,
			.limit = 1,
			.rq_offset = RQ_OFFSET,
			.rq_log_entries = LOG_ENTRIES,
			.rq_log_stride = RQ_LOG_STRIDE,
			.mem = memory(SRQ, 2 * PVHCA_GRANULE),
		};
		break;
	case MAKE_GROUP:
		cmd->opcode = PVHCA_CMD_ATTACH_MCAST;
		cmd->mcast.qp = handles[MAKE_QUEUES + UD];
		memcpy(cmd->mcast.gid, group, sizeof(group));
		break;
	default:
		make_queue(cmd, number);
	}
}

/* All that is made has to be: a target without it would try nothing. */
static void made(const struct pvhca_admin_rsp *rsp, unsigned int number)
{
	const unsigned int queue = number - MAKE_QUEUES;

	FUZZ_CHECK(!rsp->status);
	/* In the answer to each of them it is the first field. */
	if (number < MADE)
		handles[number] = rsp->created.handle;
	if (number == MAKE_MR) {
		names[NAME_MR] = rsp->reg_mr.handle;
		names[NAME_LKEY] = rsp->reg_mr.lkey;
		names[NAME_RKEY] = rsp->reg_mr.rkey;
	} else if (number == MAKE_FAST_MR) {
		names[NAME_FAST_MR] = rsp->reg_mr.handle;
		names[NAME_FAST_KEY] = rsp->reg_mr.lkey;
	} else if (number == MAKE_MW_1 || number == MAKE_MW_2) {
		names[NAME_MW_1 + number - MAKE_MW_1] = rsp->alloc_mw.handle;
		names[NAME_WINDOW_1 + number - MAKE_MW_1] = rsp->alloc_mw.rkey;
	} else if (number == MAKE_AH) {
		names[NAME_AH] = rsp->created.handle;
	} else if (number == MAKE_GROUP_AH) {
		names[NAME_GROUP_AH] = rsp->created.handle;
	} else if (number == MAKE_SRQ) {
		rings[QUEUES].slot = rsp->create_srq.slot;
	} else if (queue < QUEUES) {
		names[NAME_QPN + queue] = rsp->create_qp.qpn;
		rings[queue].slot = rsp->create_qp.slot;
	}
}

/* False: all is there. */
static bool prepare(void)
{
	struct pvhca_admin_cmd cmd = { 0 };
	struct pvhca_admin_rsp rsp;

	if (prepared > MAKE_ALL)
		return false;
	if (prepared) {
		guest_answer(&guest, &rsp);
		made(&rsp, prepared - 1);
	}
	if (prepared++ == MAKE_ALL)
		return false;
	make(&cmd, prepared - 1);
	guest_post(&guest, &cmd.opcode, sizeof(cmd) - sizeof(cmd.cookie));
	return true;
}

/* ---------------------------------- posting -------------------------------- */

static void announce(uint32_t slot)
{
	const uint64_t bit = 1ull << slot % 64, word = 1ull << slot / 64;

	guest_write(&guest,
		    PAGE + offsetof(struct pvhca_context_page, pending) + slot / 64 * sizeof(bit),
		    &bit, sizeof(bit));
	guest_write(&guest, PAGE + offsetof(struct pvhca_context_page, summary), &word,
		    sizeof(word));
}

static void put_names(uint8_t *entry, size_t size)
{
	uint32_t word;

	for (size_t at = 0; at + sizeof(word) <= size; at += sizeof(word)) {
		memcpy(&word, entry + at, sizeof(word));
		if (word >> 8 == 0xfffff0)
			memcpy(entry + at, &names[(word & 0xff) % NAMES], sizeof(word));
	}
}

static void post(const struct fuzz_piece *piece, uint64_t buffer, uint32_t *pi, bool send,
		 uint32_t slot)
{
	uint8_t entry[1 << SQ_LOG_STRIDE] = { 0 };
	const size_t stride = send ? 1 << SQ_LOG_STRIDE : 1 << RQ_LOG_STRIDE;
	const uint64_t ring = buffer + (send ? PVHCA_GRANULE : RQ_OFFSET);
	const uint64_t index = buffer +
		(send ? offsetof(struct pvhca_queue_header, sq_pi) :
			offsetof(struct pvhca_queue_header, rq_pi));

	memcpy(entry, piece->data, piece->size < stride ? piece->size : stride);
	put_names(entry, stride);
	guest_write(&guest, ring + *pi % (1 << LOG_ENTRIES) * stride, entry, stride);
	++*pi;
	guest_write(&guest, index, pi, sizeof(*pi));
	announce(slot);
}

static void change(unsigned int queue, enum ibv_qp_state state)
{
	struct pvhca_admin_cmd cmd = { .opcode = PVHCA_CMD_MODIFY_QP };

	modify_queue(&cmd.modify_qp, queue, state);
	if (state > IBV_QPS_RTS || !state)
		cmd.modify_qp.attr_mask = IBV_QP_STATE;
	guest_post(&guest, &cmd.opcode, sizeof(cmd) - sizeof(cmd.cookie));
}

static void play(struct fuzz_piece *piece)
{
	const unsigned int kind = piece->kind & ~TOGETHER, queue = (kind & 0xf) % QUEUES;
	const uint64_t buffer = QUEUES_AT + queue * 2 * PVHCA_GRANULE;
	uint32_t at;

	if (kind < 0x10) {
		post(piece, buffer, &rings[queue].send_pi, true, rings[queue].slot);
	} else if (kind < 0x20) {
		post(piece, buffer, &rings[queue].recv_pi, false, rings[queue].slot);
	} else if (kind == 0x20) {
		post(piece, SRQ, &rings[QUEUES].recv_pi, false, rings[QUEUES].slot);
	} else if (kind == 0x30) {
		at = fuzz_number(piece, 4);
		guest_write(&guest, at, piece->data, piece->size);
	} else if (kind == 0x31) {
		eventfd_write(guest.fds[GUEST_FD_EVENT], 1);
	} else if (kind == 0x32) {
		at = fuzz_number(piece, 4);
		guest_write(&guest, CQ, &at, sizeof(at));
	} else if (kind == 0x33) {
		at = fuzz_number(piece, 1) % QUEUES;
		change(at, fuzz_number(piece, 1));
	}
}

static bool next(void *arg)
{
	struct fuzz_piece piece;

	(void)arg;
	if (prepare())
		return true;
	do {
		if (!fuzz_next(&input, &piece)) {
			shutdown(guest.link, SHUT_WR);
			return false;
		}
		play(&piece);
	} while (piece.kind & TOGETHER);
	return true;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	host_init("");
	guest_init(&guest);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int link;

	input = (struct fuzz_input){ data, size };
	memset(rings, 0, sizeof(rings));
	prepared = 0;
	host_begin();
	link = guest_begin(&guest);
	guest_bring_up(&guest,
		       PVHCA_FEATURE_VLAN | PVHCA_FEATURE_UNORDERED | PVHCA_FEATURE_NET |
			       PVHCA_FEATURE_NET_TSO);
	host_run(host_session(link), next, NULL);
	guest_end(&guest);
	host_end();
	return 0;
}
