// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-largest: a message of as many bytes as the port allows, 2^31 on most (IB vol 1,
 * 9.7.2), written and sent within one process; with -b one of a byte more, which fails.
 *
 * Memory for that is not needed: each buffer is the same few pages over and over.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "endpoint.h"
#include "report.h"
#include "timescale.h"

#define PIECE	      (1u << 20)
#define LIMIT	      (1u << 31)
#define STALL_SECONDS ((int)scaled(600))

struct buffer {
	uint8_t *memory; /* length bytes and a piece, all of one piece */
	struct ibv_mr *mr;
};

struct largest {
	struct device device;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_qp *active, *passive;
	uint32_t length;
	struct buffer from, to;
};

static void map(struct largest *t, struct buffer *b)
{
	const size_t size = (size_t)t->length + PIECE;
	int fd = memfd_create("piece", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, PIECE))
		die_errno(errno, "memfd_create");
	b->memory = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (b->memory == MAP_FAILED)
		die_errno(errno, "mmap");
	for (size_t at = 0; at < size; at += PIECE)
		if (mmap(b->memory + at, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			 0) == MAP_FAILED)
			die_errno(errno, "mmap");
	close(fd);
	b->mr = ibv_reg_mr(t->pd, b->memory, size,
			   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	if (!b->mr)
		die_errno(errno, "ibv_reg_mr of %zu bytes", size);
}

static struct ibv_wc next_completion(struct largest *t)
{
	const time_t start = time(NULL);
	struct ibv_wc wc;
	int n;

	while (!(n = ibv_poll_cq(t->cq, 1, &wc))) {
		if (time(NULL) - start > STALL_SECONDS)
			die("no completion for %d s", STALL_SECONDS);
		usleep(1000);
	}
	if (n < 0)
		die("ibv_poll_cq: %d", n);
	return wc;
}

static int post(struct largest *t, enum ibv_wr_opcode opcode, uint32_t length)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)t->from.memory,
		.length = length,
		.lkey = t->from.mr->lkey,
	};
	struct ibv_send_wr wr = {
		.wr_id = 1,
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = opcode,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { .remote_addr = (uintptr_t)t->to.memory, .rkey = t->to.mr->rkey },
	}, *bad;

	return ibv_post_send(t->active, &wr, &bad);
}

static void post_receive(struct largest *t)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)t->to.memory,
		.length = t->length,
		.lkey = t->to.mr->lkey,
	};
	struct ibv_recv_wr wr = { .wr_id = 2, .sg_list = &sge, .num_sge = 1 }, *bad;
	int error = ibv_post_recv(t->passive, &wr, &bad);

	if (error)
		die_errno(error, "ibv_post_recv");
}

/* Fill what is sent, and clear what it goes to. */
static void prepare(struct largest *t, unsigned int seed)
{
	for (size_t i = 0; i < PIECE; i++)
		t->from.memory[i] = (seed + i) * 37 >> 3;
	memset(t->to.memory, 0, PIECE);
}

static void run(struct largest *t, enum ibv_wr_opcode opcode, const char *what)
{
	struct ibv_wc wc;
	int error;

	prepare(t, opcode);
	if (opcode == IBV_WR_SEND)
		post_receive(t);
	error = post(t, opcode, t->length);
	if (error)
		die_errno(error, "ibv_post_send");
	for (int left = opcode == IBV_WR_SEND ? 2 : 1; left; left--) {
		wc = next_completion(t);
		if (wc.status)
			die("%s of %u bytes: %s", what, t->length, status_name(wc.status));
		if (wc.wr_id == 2 && wc.byte_len != t->length)
			die("%u bytes came of %u", wc.byte_len, t->length);
	}
	if (memcmp(t->from.memory, t->to.memory, PIECE))
		die("%s of %u bytes brought others", what, t->length);
	say("%s of %u bytes ok", what, t->length);
}

/* Where it is posted, or when it is carried out. */
static void run_beyond(struct largest *t)
{
	struct ibv_wc wc;

	if (!post(t, IBV_WR_RDMA_WRITE, t->length + 1)) {
		wc = next_completion(t);
		if (!wc.status)
			die("a write of %u bytes succeeded", t->length + 1);
	}
	say("write of %u bytes refused", t->length + 1);
}

static struct ibv_qp *create_qp(struct largest *t)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.send_cq = t->cq,
		.recv_cq = t->cq,
		.cap = { .max_send_wr = 4, .max_recv_wr = 4, .max_send_sge = 1, .max_recv_sge = 1 },
	};

	return endpoint_create(&t->device, t->pd, &attr);
}

static void set_up(struct largest *t, const char *device, int gid)
{
	struct ibv_port_attr port;

	device_open(&t->device, device, gid);
	if (ibv_query_port(t->device.context, RDMA_PORT, &port))
		die("ibv_query_port");
	t->length = port.max_msg_sz < LIMIT ? port.max_msg_sz : LIMIT;
	t->pd = ibv_alloc_pd(t->device.context);
	t->cq = ibv_create_cq(t->device.context, 16, NULL, NULL, 0);
	if (!t->pd || !t->cq)
		die_errno(errno, "making a PD and a CQ");
	t->active = create_qp(t);
	t->passive = create_qp(t);
	endpoint_connect_pair(&t->device, t->active, t->passive);
	map(t, &t->from);
	map(t, &t->to);
}

int main(int argc, char **argv)
{
	struct largest t = { 0 };
	const char *device = NULL;
	int gid = GID_INDEX_AUTO;
	bool beyond = false;
	int c;

	while ((c = getopt(argc, argv, "d:g:b")) != -1) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'g':
			gid = atoi(optarg);
			break;
		case 'b':
			beyond = true;
			break;
		default:
			die("pvhca-test-largest [-d DEVICE] [-g GID] [-b]");
		}
	}
	set_up(&t, device, gid);
	run(&t, IBV_WR_RDMA_WRITE, "write");
	run(&t, IBV_WR_SEND, "send");
	if (beyond)
		run_beyond(&t);
	if (ibv_destroy_qp(t.active) || ibv_destroy_qp(t.passive) || ibv_destroy_cq(t.cq) ||
	    ibv_dereg_mr(t.from.mr) || ibv_dereg_mr(t.to.mr) || ibv_dealloc_pd(t.pd))
		die("something is still in use");
	device_close(&t.device);
	return 0;
}
