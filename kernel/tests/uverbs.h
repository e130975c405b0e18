/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of pvhca-test-uverbs share.
 */
#ifndef PVHCA_TEST_UVERBS_H
#define PVHCA_TEST_UVERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/pvhca-abi.h>
#include <rdma/pvhca-ring.h>

enum { RC = 2, UC = 3, UD = 4 };

/* Where in app.ring the buffers are. */
enum {
	CQ_AT = 0,
	QP_AT = 0x10000,
	UC_QP_AT = 0x20000,
	UD_QP_AT = 0x30000,
	SRQ_AT = 0x40000,
	SRQ_QP_AT = 0x50000,
	NEW_CQ_AT = 0x60000,
};

/**
 * struct app - the application
 * @device, @async, @comp: descriptors: device, async events, completion channel
 * @page, @doorbells: mapped
 * @ring: memory for rings, a megabyte
 * @gid_index: of the address to send from
 * @pd, @mr, @cq, @qp, @srq: uverbs handles
 */
struct app {
	int device, async, comp;
	volatile struct pvhca_context_page *page;
	volatile uint32_t *doorbells;
	char *ring;
	int gid_index;
	uint32_t pd, mr, cq, qp, srq;
};

/*
 * A uverbs command. @in begins with the header; where there is an answer, its
 * address comes next. Returns whether it succeeded, and prints why not.
 */
bool command(struct app *app, uint32_t number, const char *name, void *in, size_t in_size,
	     void *out, size_t out_size);

#define COMMAND(app, name, in, out) \
	command(app, IB_USER_VERBS_CMD_##name, #name, &(in), sizeof(in), &(out), sizeof(out))
#define COMMAND_SILENT(app, name, in) \
	command(app, IB_USER_VERBS_CMD_##name, #name, &(in), sizeof(in), NULL, 0)

/* A QP with 16 entries in each queue, or without a receive queue if it has an SRQ. */
bool create_qp(struct app *app, int type, bool has_srq, unsigned long at, uint32_t *handle);

/* Objects of the other kinds, made and used. */
bool make_more(struct app *app);

/* A region of a DMA buffer. */
bool make_dmabuf_mr(struct app *app);

#endif /* PVHCA_TEST_UVERBS_H */
