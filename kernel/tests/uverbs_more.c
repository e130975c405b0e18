// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Objects of the kinds that not every application has: queue pairs without a
 * connection, shared receive queues, address handles, windows; and changes to
 * regions and completion queues. What must not work is tried, too.
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "uverbs.h"

#define MASK_SRQ_MAX_WR 1
#define MASK_SRQ_LIMIT	2
#define REREG_TRANS	1
#define REREG_ACCESS	4

static void must_not(bool allowed, const char *what)
{
	if (allowed)
		printf("allowed what it must not: %s\n", what);
}

/* ------------------------------------ SRQ ---------------------------------- */

static bool create_srq(struct app *app, uint32_t max_wr, uint32_t buf_len, uint32_t sq_offset)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_create_srq core;
		struct pvhca_create_qp_req driver;
	} in = {
		.core = { .pd_handle = app->pd, .max_wr = max_wr, .max_sge = 1, .srq_limit = 7 },
		.driver = { .buf_addr = (uintptr_t)app->ring + SRQ_AT,
			    .buf_len = buf_len,
			    .sq_offset = sq_offset,
			    .rq_offset = PVHCA_QUEUE_HEADER_SIZE,
			    .rq_log_entries = 4,
			    .rq_log_stride = PVHCA_RQ_MIN_LOG_STRIDE },
	};
	struct {
		struct ib_uverbs_create_srq_resp core;
		struct pvhca_create_srq_resp driver;
	} out = {};

	if (!COMMAND(app, CREATE_SRQ, in, out))
		return false;
	app->srq = out.core.srq_handle;
	printf("srq slot %u doorbell %u max_wr %u\n", out.driver.slot, out.driver.doorbell,
	       out.core.max_wr);
	return true;
}

static bool modify_srq(struct app *app, uint32_t mask, uint32_t limit)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_modify_srq core;
	} in = { .core = { .srq_handle = app->srq,
			   .attr_mask = mask,
			   .max_wr = 32,
			   .srq_limit = limit } };

	return COMMAND_SILENT(app, MODIFY_SRQ, in);
}

static bool query_srq(struct app *app)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_query_srq core;
	} in = { .core.srq_handle = app->srq };
	struct ib_uverbs_query_srq_resp out = {};

	if (!COMMAND(app, QUERY_SRQ, in, out))
		return false;
	printf("srq limit %u\n", out.srq_limit);
	return true;
}

static bool use_srq(struct app *app)
{
	uint32_t qp;

	must_not(create_srq(app, 1000000, 8192, 0), "an SRQ larger than any");
	must_not(create_srq(app, 16, 8192, 256), "an SRQ with a send queue");
	must_not(create_srq(app, 16, 100, 0), "an SRQ without room for its header");
	if (!create_srq(app, 16, 8192, 0) || !modify_srq(app, MASK_SRQ_LIMIT, 5) || !query_srq(app))
		return false;
	must_not(modify_srq(app, MASK_SRQ_MAX_WR, 0), "an SRQ grows");
	return create_qp(app, RC, true, SRQ_QP_AT, &qp);
}

/* ------------------------------------ UD ----------------------------------- */

static bool create_ah(struct app *app, bool global)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_create_ah core;
	} in = { .core = { .pd_handle = app->pd,
			   .attr = { .grh = { .sgid_index = app->gid_index,
					      .hop_limit = 9,
					      .traffic_class = 32,
					      .flow_label = 0x12345 },
				     .sl = 3,
				     .is_global = global,
				     .port_num = 1 } } };
	struct {
		struct ib_uverbs_create_ah_resp core;
		struct pvhca_create_ah_resp driver;
	} out = {};

	inet_pton(AF_INET6, "::ffff:10.77.0.11", in.core.attr.grh.dgid);
	if (!COMMAND(app, CREATE_AH, in, out))
		return false;
	printf("ah %u\n", out.driver.ah);
	return true;
}

static bool use_group(struct app *app, uint32_t qp)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_attach_mcast core;
	} in = { .core.qp_handle = qp };

	/* Of the first nothing is left, the second is the kernel's to detach. */
	for (int group = 1; group <= 2; group++) {
		memcpy(in.core.gid, "\xff\x0e", 2);
		in.core.gid[15] = group;
		if (!COMMAND_SILENT(app, ATTACH_MCAST, in))
			return false;
		if (group == 1 && !COMMAND_SILENT(app, DETACH_MCAST, in))
			return false;
	}
	in.core.qp_handle = app->qp;
	must_not(COMMAND_SILENT(app, ATTACH_MCAST, in), "a connected QP in a group");
	return true;
}

static bool use_datagrams(struct app *app)
{
	uint32_t uc, ud;

	must_not(create_ah(app, false), "an address without a GRH");
	return create_qp(app, UC, false, UC_QP_AT, &uc) &&
		create_qp(app, UD, false, UD_QP_AT, &ud) && create_ah(app, true) &&
		use_group(app, ud);
}

/* ------------------------------ windows and regions ------------------------ */

static bool alloc_mw(struct app *app, int type)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_alloc_mw core;
	} in = { .core = { .pd_handle = app->pd, .mw_type = type } };
	struct {
		struct ib_uverbs_alloc_mw_resp core;
		struct pvhca_alloc_mw_resp driver;
	} out = {};

	if (!COMMAND(app, ALLOC_MW, in, out))
		return false;
	printf("mw %u rkey %#x\n", out.driver.mw_handle, out.core.rkey);
	return true;
}

static bool rereg_mr(struct app *app, uint32_t flags, unsigned long offset, uint32_t access)
{
	uint64_t start = (uintptr_t)app->ring + offset;
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_rereg_mr core;
	} in = { .core = { .mr_handle = app->mr,
			   .flags = flags,
			   .start = start,
			   .length = 5000,
			   .hca_va = start,
			   .pd_handle = app->pd,
			   .access_flags = access } };
	struct ib_uverbs_rereg_mr_resp out = {};

	if (!COMMAND(app, REREG_MR, in, out))
		return false;
	printf("rereg lkey %#x rkey %#x\n", out.lkey, out.rkey);
	return true;
}

static bool use_memory(struct app *app)
{
	return alloc_mw(app, 1) && alloc_mw(app, 2) && rereg_mr(app, REREG_ACCESS, 0, 1) &&
		rereg_mr(app, REREG_TRANS, 77, 0) &&
		rereg_mr(app, REREG_TRANS | REREG_ACCESS, 4096 + 5, 0);
}

/* ------------------------------------ CQ ----------------------------------- */

static bool resize_cq(struct app *app, uint32_t cqe, uint32_t flags)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_resize_cq core;
		struct pvhca_create_cq_req driver;
	} in = {
		.core = { .cq_handle = app->cq, .cqe = cqe },
		.driver = { .buf_addr = (uintptr_t)app->ring + NEW_CQ_AT,
			    .buf_len = PVHCA_CQ_HEADER_SIZE + (sizeof(struct pvhca_cqe) << 9),
			    .log_entries = 9,
			    .flags = flags },
	};
	struct {
		struct ib_uverbs_resize_cq_resp core;
		struct pvhca_resize_cq_resp driver;
	} out = {};

	if (!COMMAND(app, RESIZE_CQ, in, out))
		return false;
	printf("cq entries %u\n", out.core.cqe);
	return true;
}

static bool use_cq(struct app *app)
{
	must_not(resize_cq(app, 1000, 0), "a CQ of more entries than its buffer");
	must_not(resize_cq(app, 500, 1), "other flags for a CQ");
	return resize_cq(app, 500, 0);
}

bool make_more(struct app *app)
{
	return use_srq(app) && use_datagrams(app) && use_memory(app) && use_cq(app);
}
