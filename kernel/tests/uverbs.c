// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-uverbs: an application of the driver's without libibverbs.
 *
 * Opens the device, makes one object of each kind by the system calls that a
 * provider makes, says "ready", reports events and ends when the device does or
 * when its standard input closes. Prints a line per fact: a word, then values.
 * Exit status: 0, or 1 if something failed.
 *
 *   -l BYTES   length of the memory region (default 10000)
 *   -o BYTES   of its start from a page's (default 123)
 *   -H         ask for huge pages
 *   -S         have pages scattered over physical memory
 *   -R         a region that may only be read
 *   -r MAJOR   ring ABI
 *   -v TEXT    version, which providers of pvhca 0.1 tell
 *   -u         each call is also made by a newer provider: see newer()
 *   -q         query the QP over and over until that fails
 *   -d         destroy the QP before the end
 *   -x         make objects of the other kinds, too
 *   -g INDEX   of the GID that they use
 *   -D         register a DMA buffer, too
 *   -w         wait for events until the end
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uverbs.h"

#define HUGE	   (2ul << 20)
#define STATE_INIT 1
#define STATE_RTS  3
#define MASK_STATE 1
#define MASK_INIT  (1 | 8 | 16 | 32) /* state, access, pkey, port */

static struct {
	unsigned long length, offset;
	int ring_abi;
	const char *version;
	bool huge, scattered, read_only, query, destroy, wait, more, dmabuf, newer;
} options = { .length = 10000, .offset = 123, .ring_abi = PVHCA_RING_ABI_MAJOR, .version = "" };

static bool send_command(struct app *app, uint32_t number, void *in, size_t in_size, void *out,
			 size_t out_size)
{
	struct ib_uverbs_cmd_hdr *header = in;

	header->command = number;
	header->in_words = in_size / 4;
	header->out_words = out_size / 4;
	if (out_size)
		*(uint64_t *)(header + 1) = (uintptr_t)out;
	return write(app->device, in, in_size) == (ssize_t)in_size;
}

/* Has the driver a part in this call's input? The core refuses what it does not know itself. */
static bool takes_driver_data(uint32_t number)
{
	switch (number) {
	case IB_USER_VERBS_CMD_GET_CONTEXT:
	case IB_USER_VERBS_CMD_ALLOC_PD:
	case IB_USER_VERBS_CMD_REG_MR:
	case IB_USER_VERBS_CMD_REREG_MR:
	case IB_USER_VERBS_CMD_ALLOC_MW:
	case IB_USER_VERBS_CMD_CREATE_CQ:
	case IB_USER_VERBS_CMD_RESIZE_CQ:
	case IB_USER_VERBS_CMD_CREATE_QP:
	case IB_USER_VERBS_CMD_CREATE_AH:
	case IB_USER_VERBS_CMD_CREATE_SRQ:
	case IB_USER_VERBS_CMD_MODIFY_SRQ:
		return true;
	default:
		return false;
	}
}

#define MORE 16 /* bytes that a newer provider adds */

/*
 * A newer provider sends more than the driver knows, and has room for a longer answer.
 * What the driver does not know must be zero, and what it does not answer it zeroes.
 */
static bool newer(struct app *app, uint32_t number, const char *name, const void *in,
		  size_t in_size, void *out, size_t out_size)
{
	unsigned char input[1024] = {}, answer[1024];

	memcpy(input, in, in_size);
	input[in_size + MORE - 1] = 1;
	if (send_command(app, number, input, in_size + MORE, out, out_size))
		printf("allowed what it must not: %s with input that is not known\n", name);
	else
		printf("newer %s %s\n", name, strerror(errno));

	input[in_size + MORE - 1] = 0;
	memset(answer, 0xff, sizeof(answer));
	if (!send_command(app, number, input, in_size + MORE, answer,
			  out_size ? out_size + MORE : 0))
		return false;
	for (size_t i = out_size; out_size && i < out_size + MORE; i++)
		if (answer[i])
			printf("left what it must not: byte %zu of the answer to %s\n", i, name);
	if (out_size)
		memcpy(out, answer, out_size);
	return true;
}

bool command(struct app *app, uint32_t number, const char *name, void *in, size_t in_size,
	     void *out, size_t out_size)
{
	bool fine = options.newer && takes_driver_data(number) ?
		newer(app, number, name, in, in_size, out, out_size) :
		send_command(app, number, in, in_size, out, out_size);

	if (!fine)
		printf("failed %s %s\n", name, strerror(errno));
	return fine;
}

static bool open_device(struct app *app)
{
	char path[64];

	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "/dev/infiniband/uverbs%d", i);
		app->device = open(path, O_RDWR | O_CLOEXEC);
		if (app->device >= 0)
			return true;
	}
	printf("failed open %s\n", strerror(errno));
	return false;
}

/* What must not be mapped. */
static void try_bad_mappings(struct app *app, const struct pvhca_uctx_resp *resp)
{
	const size_t len = resp->context_page_len;
	const off_t page = resp->context_page;

	if (mmap(NULL, 2 * len, PROT_READ, MAP_SHARED, app->device, page) != MAP_FAILED ||
	    mmap(NULL, len, PROT_READ, MAP_PRIVATE, app->device, page) != MAP_FAILED ||
	    mmap(NULL, len, PROT_READ | PROT_EXEC, MAP_SHARED, app->device, page) != MAP_FAILED ||
	    mmap(NULL, len, PROT_READ, MAP_SHARED, app->device, 100 * len) != MAP_FAILED)
		printf("mapped what it must not\n");
}

static bool make_context(struct app *app)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_get_context core;
		struct pvhca_uctx_req driver;
		__u8 version[32];
	} in = { .driver.ring_abi_major = options.ring_abi };
	struct {
		struct ib_uverbs_get_context_resp core;
		struct pvhca_uctx_resp driver;
	} out = {};

	memcpy(in.version, options.version, strnlen(options.version, sizeof(in.version)));
	if (!COMMAND(app, GET_CONTEXT, in, out))
		return false;
	app->async = out.core.async_fd;
	app->page = mmap(NULL, out.driver.context_page_len, PROT_READ | PROT_WRITE, MAP_SHARED,
			 app->device, out.driver.context_page);
	app->doorbells = mmap(NULL, out.driver.doorbells_len, PROT_WRITE, MAP_SHARED, app->device,
			      out.driver.doorbells);
	if (app->page == MAP_FAILED || app->doorbells == MAP_FAILED) {
		printf("failed mmap %s\n", strerror(errno));
		return false;
	}
	try_bad_mappings(app, &out.driver);
	printf("alive %u\n", app->page->alive);
	return true;
}

static bool make_pd(struct app *app)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_alloc_pd core;
	} in = {};
	struct {
		struct ib_uverbs_alloc_pd_resp core;
		struct pvhca_alloc_pd_resp driver;
	} out = {};

	if (!COMMAND(app, ALLOC_PD, in, out))
		return false;
	app->pd = out.core.pd_handle;
	return true;
}

/* Pages are taken one after the other: let the neighbours be another mapping's. */
static void scatter(unsigned char *memory, size_t size)
{
	volatile char *other =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (other == MAP_FAILED)
		abort();
	madvise((void *)other, size, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < size; i += 4096) {
		memory[i] = 0;
		other[i] = 1;
	}
}

static unsigned char *make_memory(void)
{
	size_t size = options.offset + options.length + 2 * HUGE;
	unsigned char *memory =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t sum = 0;

	if (memory == MAP_FAILED)
		abort();
	memory = (unsigned char *)(((uintptr_t)memory + HUGE - 1) & -HUGE);
	madvise(memory, size - HUGE, options.huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	if (options.scattered)
		scatter(memory, size - HUGE);
	memory += options.offset;
	for (unsigned long i = 0; i < options.length; i++)
		sum += memory[i] = i * 7 + (i >> 12);
	printf("sum %u\n", sum);
	return memory;
}

static bool make_mr(struct app *app)
{
	uint64_t start = (uintptr_t)make_memory();
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_reg_mr core;
	} in = { .core = { .start = start,
			   .hca_va = start,
			   .length = options.length,
			   .pd_handle = app->pd,
			   .access_flags = options.read_only ? 0 : 7 } };
	struct {
		struct ib_uverbs_reg_mr_resp core;
		struct pvhca_reg_mr_resp driver;
	} out = {};

	if (options.read_only)
		mprotect((void *)(start & -4096), options.length, PROT_READ);
	if (!COMMAND(app, REG_MR, in, out))
		return false;
	app->mr = out.core.mr_handle;
	printf("mr %u\n", out.driver.mr_handle);
	return true;
}

static bool make_cq(struct app *app)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_create_comp_channel core;
	} channel = {};
	struct ib_uverbs_create_comp_channel_resp channel_out = {};
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_create_cq core;
		struct pvhca_create_cq_req driver;
	} in = {};
	struct {
		struct ib_uverbs_create_cq_resp core;
		struct pvhca_create_cq_resp driver;
	} out = {};

	if (!COMMAND(app, CREATE_COMP_CHANNEL, channel, channel_out))
		return false;
	app->comp = channel_out.fd;
	in.core.cqe = 100;
	in.core.comp_channel = channel_out.fd;
	in.driver.buf_addr = (uintptr_t)app->ring + CQ_AT;
	in.driver.log_entries = 7;
	in.driver.buf_len = PVHCA_CQ_HEADER_SIZE + (sizeof(struct pvhca_cqe) << 7);
	if (!COMMAND(app, CREATE_CQ, in, out))
		return false;
	app->cq = out.core.cq_handle;
	printf("cq %u entries %u\n", out.driver.cq_handle, out.core.cqe);
	return true;
}

bool create_qp(struct app *app, int type, bool has_srq, unsigned long at, uint32_t *handle)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_create_qp core;
		struct pvhca_create_qp_req driver;
	} in = {};
	struct {
		struct ib_uverbs_create_qp_resp core;
		struct pvhca_create_qp_resp driver;
	} out = {};

	in.core.pd_handle = app->pd;
	in.core.send_cq_handle = in.core.recv_cq_handle = app->cq;
	in.core.max_send_wr = in.core.max_recv_wr = 16;
	in.core.max_send_sge = in.core.max_recv_sge = 1;
	in.core.qp_type = type;
	in.core.is_srq = has_srq;
	in.core.srq_handle = has_srq ? app->srq : 0;
	in.driver.buf_addr = (uintptr_t)app->ring + at;
	in.driver.buf_len = 8192;
	in.driver.sq_offset = PVHCA_QUEUE_HEADER_SIZE;
	in.driver.sq_log_entries = 4;
	in.driver.sq_log_stride = PVHCA_SQ_MIN_LOG_STRIDE;
	if (!has_srq) {
		in.driver.rq_offset = 4096;
		in.driver.rq_log_entries = 4;
		in.driver.rq_log_stride = PVHCA_RQ_MIN_LOG_STRIDE;
	}
	if (!COMMAND(app, CREATE_QP, in, out))
		return false;
	*handle = out.core.qp_handle;
	printf("qp %u type %d slot %u\n", out.core.qpn, type, out.driver.slot);
	return true;
}

static bool modify_qp(struct app *app, uint32_t state, uint32_t mask)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_modify_qp core;
	} in = {};

	in.core.qp_handle = app->qp;
	in.core.attr_mask = mask;
	in.core.qp_state = state;
	in.core.port_num = 1;
	return command(app, IB_USER_VERBS_CMD_MODIFY_QP, "MODIFY_QP", &in, sizeof(in), NULL, 0);
}

static bool query_qp(struct app *app, uint8_t *state)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_query_qp core;
	} in = { .core = { .qp_handle = app->qp, .attr_mask = MASK_STATE } };
	struct ib_uverbs_query_qp_resp out = {};

	if (!COMMAND(app, QUERY_QP, in, out))
		return false;
	*state = out.qp_state;
	return true;
}

static bool destroy_qp(struct app *app)
{
	struct {
		struct ib_uverbs_cmd_hdr header;
		struct ib_uverbs_destroy_qp core;
	} in = { .core.qp_handle = app->qp };
	struct ib_uverbs_destroy_qp_resp out;

	return COMMAND(app, DESTROY_QP, in, out);
}

static bool use_qp(struct app *app)
{
	uint8_t state;

	if (!modify_qp(app, STATE_INIT, MASK_INIT))
		return false;
	/* That is no transition. */
	if (modify_qp(app, STATE_RTS, MASK_STATE))
		printf("allowed what it must not\n");
	if (!query_qp(app, &state))
		return false;
	printf("state %u\n", state);
	return true;
}

/* False once the device is gone for all that looks at it. */
static bool report(struct app *app, struct pollfd *fds)
{
	struct ib_uverbs_async_event_desc event;
	struct ib_uverbs_comp_event_desc completion;

	if (fds[0].revents && read(app->async, &event, sizeof(event)) == sizeof(event))
		printf("async %u alive %u\n", event.event_type, app->page->alive);
	if (!fds[1].revents)
		return true;
	if (read(app->comp, &completion, sizeof(completion)) == sizeof(completion)) {
		printf("completion\n");
		return true;
	}
	printf("channel %s alive %u\n", strerror(errno), app->page->alive);
	return false;
}

static void wait_for_events(struct app *app)
{
	struct pollfd fds[] = { { app->async, POLLIN, 0 },
				{ app->comp, POLLIN, 0 },
				{ 0, POLLIN, 0 } };

	while (poll(fds, 3, -1) > 0 && !fds[2].revents)
		if (!report(app, fds))
			break;
}

static bool run(struct app *app)
{
	uint8_t state;

	app->ring = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!open_device(app) || !make_context(app) || !make_pd(app) || !make_mr(app) ||
	    !make_cq(app) || !create_qp(app, RC, false, QP_AT, &app->qp) || !use_qp(app) ||
	    (options.more && !make_more(app)) || (options.dmabuf && !make_dmabuf_mr(app)))
		return false;
	printf("ready\n");
	while (options.query && query_qp(app, &state))
		;
	if (options.wait)
		wait_for_events(app);
	if (options.destroy && !destroy_qp(app))
		return false;
	return true;
}

int main(int argc, char **argv)
{
	struct app app = {};
	bool fine;
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "g:l:o:r:v:DHSRqduwx")) != -1) {
		switch (c) {
		case 'l':
			options.length = strtoul(optarg, NULL, 0);
			break;
		case 'o':
			options.offset = strtoul(optarg, NULL, 0);
			break;
		case 'r':
			options.ring_abi = atoi(optarg);
			break;
		case 'v':
			options.version = optarg;
			break;
		case 'u':
			options.newer = true;
			break;
		case 'H':
			options.huge = true;
			break;
		case 'S':
			options.scattered = true;
			break;
		case 'R':
			options.read_only = true;
			break;
		case 'q':
			options.query = true;
			break;
		case 'd':
			options.destroy = true;
			break;
		case 'g':
			app.gid_index = atoi(optarg);
			break;
		case 'D':
			options.dmabuf = true;
			break;
		case 'x':
			options.more = true;
			break;
		case 'w':
			options.wait = true;
			break;
		default:
			return 1;
		}
	}
	fine = run(&app);
	/* A doorbell that is gone is still there to be written. */
	if (app.doorbells) {
		*app.doorbells = 1;
		printf("end alive %u\n", app.page->alive);
	}
	return !fine;
}
