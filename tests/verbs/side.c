// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "report.h"
#include "side.h"

#define MEMORY_SIZE (3 * SIDE_PAGE)
/* How long to look for an event that is not expected. */
#define STRAY_EVENT_MS 20

static struct ibv_mr *must_register(struct ibv_pd *pd, void *memory, size_t length, int access)
{
	struct ibv_mr *mr = ibv_reg_mr(pd, memory, length, access);

	if (!mr)
		die_errno(errno, "ibv_reg_mr");
	return mr;
}

static struct ibv_cq *must_create_cq(struct side *s)
{
	struct ibv_cq *cq = ibv_create_cq(s->device->context, 2 * SIDE_QUEUE, NULL, NULL, 0);

	if (!cq)
		die_errno(errno, "ibv_create_cq");
	return cq;
}

void side_init(struct side *s, int mr_access)
{
	struct ibv_qp_init_attr attr;

	s->statuses[0] = s->events[0] = '\0';
	s->windowed = NULL;
	s->mw = NULL;
	s->memory =
		mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->memory == MAP_FAILED)
		die_errno(errno, "mmap");
	s->page = s->memory + SIDE_PAGE;
	s->pd = ibv_alloc_pd(s->device->context);
	s->other_pd = ibv_alloc_pd(s->device->context);
	if (!s->pd || !s->other_pd)
		die_errno(errno, "ibv_alloc_pd");
	s->all = must_register(s->pd, s->memory, MEMORY_SIZE, SIDE_ALL_RIGHTS);
	s->mr = must_register(s->pd, s->page, SIDE_PAGE, mr_access);
	s->other_mr = must_register(s->other_pd, s->page, SIDE_PAGE, SIDE_ALL_RIGHTS);
	s->send_cq = must_create_cq(s);
	s->receive_cq = must_create_cq(s);
	attr = (struct ibv_qp_init_attr){
		.qp_type = IBV_QPT_RC,
		.send_cq = s->send_cq,
		.recv_cq = s->receive_cq,
		.cap = {
			.max_send_wr = SIDE_QUEUE,
			.max_recv_wr = SIDE_QUEUE,
			.max_send_sge = SIDE_SGES,
			.max_recv_sge = SIDE_SGES,
			.max_inline_data = SIDE_INLINE,
		},
	};
	s->qp = endpoint_create(s->device, s->pd, &attr);
	s->offer = (struct side_offer){ .address = (uintptr_t)s->page, .rkey = s->mr->rkey };
}

static void check_destroyed(const char *what, int error)
{
	if (error)
		die_errno(error, "%s", what);
}

void side_free(struct side *s)
{
	/* Before its QP: rxe of Linux 6.1 waits in vain for windows of type 2 when a QP that they are bound to goes. */
	if (s->mw)
		check_destroyed("ibv_dealloc_mw", ibv_dealloc_mw(s->mw));
	if (s->qp)
		check_destroyed("ibv_destroy_qp", ibv_destroy_qp(s->qp));
	if (s->windowed)
		check_destroyed("ibv_dereg_mr", ibv_dereg_mr(s->windowed));
	if (s->send_cq)
		check_destroyed("ibv_destroy_cq", ibv_destroy_cq(s->send_cq));
	if (s->receive_cq)
		check_destroyed("ibv_destroy_cq", ibv_destroy_cq(s->receive_cq));
	if (s->mr)
		check_destroyed("ibv_dereg_mr", ibv_dereg_mr(s->mr));
	check_destroyed("ibv_dereg_mr", ibv_dereg_mr(s->other_mr));
	check_destroyed("ibv_dereg_mr", ibv_dereg_mr(s->all));
	check_destroyed("ibv_dealloc_pd", ibv_dealloc_pd(s->other_pd));
	if (s->pd)
		check_destroyed("ibv_dealloc_pd", ibv_dealloc_pd(s->pd));
	munmap(s->memory, MEMORY_SIZE);
}

void side_connect(struct side *s, const struct endpoint_settings *settings)
{
	struct endpoint_address mine = endpoint_address(s->device, s->qp), theirs;

	endpoint_to_init(s->qp, settings);
	channel_exchange(s->channel, &mine, &theirs, sizeof(mine));
	endpoint_connect(s->device, s->qp, &theirs, settings);
}

static void append(char *record, const char *text)
{
	size_t used = strlen(record);

	snprintf(record + used, SIDE_RECORD - used, "%s%s", used ? "," : "", text);
}

void side_record(struct side *s, const char *result)
{
	append(s->statuses, result);
}

void side_record_call(struct side *s, const char *what, int error)
{
	char text[64];

	snprintf(text, sizeof(text), "%s:%s", what, errno_name(error));
	append(s->statuses, text);
}

void side_record_check(struct side *s, const char *what, bool good)
{
	char text[64];

	snprintf(text, sizeof(text), "%s:%s", what, good ? "ok" : "WRONG");
	append(s->statuses, text);
}

bool side_wait(struct side *s, struct ibv_cq *cq, struct ibv_wc *wc)
{
	const time_t start = time(NULL);
	const struct timespec pause = { .tv_nsec = 200000 };
	int n;

	while (!(n = ibv_poll_cq(cq, 1, wc)) && time(NULL) - start <= s->patience)
		nanosleep(&pause, NULL);
	if (n < 0)
		side_record_call(s, "poll_cq", n);
	return n > 0;
}

static void record_completion(struct side *s, const struct ibv_wc *wc)
{
	char text[64];

	snprintf(text, sizeof(text), "%s%s", status_name(wc->status),
		 !wc->status && wc->wc_flags & IBV_WC_WITH_INV ? "+INV" : "");
	append(s->statuses, text);
}

void side_collect(struct side *s, struct ibv_cq *cq, unsigned int count)
{
	struct ibv_wc wc;

	for (; count && side_wait(s, cq, &wc); count--)
		record_completion(s, &wc);
	/* One more than was to come is a fault as well. */
	while (ibv_poll_cq(cq, 1, &wc) > 0)
		record_completion(s, &wc);
}

void side_collect_events(struct side *s, unsigned int count)
{
	struct pollfd fd = { .fd = s->device->context->async_fd, .events = POLLIN };
	struct ibv_async_event event;

	while (poll(&fd, 1, count ? (int)s->patience * 1000 : STRAY_EVENT_MS) > 0) {
		if (ibv_get_async_event(s->device->context, &event))
			die_errno(errno, "ibv_get_async_event");
		append(s->events, event_name(event.event_type));
		ibv_ack_async_event(&event);
		count -= count ? 1 : 0;
	}
}

bool side_post(struct side *s, enum ibv_wr_opcode opcode, unsigned int flags, struct ibv_sge *sge,
	       int sges, uint64_t remote, uint32_t rkey)
{
	struct ibv_send_wr wr = {
		.sg_list = sge,
		.num_sge = sges,
		.opcode = opcode,
		.send_flags = flags,
		.wr.rdma = { .remote_addr = remote, .rkey = rkey },
	}, *bad;
	int error = ibv_post_send(s->qp, &wr, &bad);

	if (error)
		side_record_call(s, "post_send", error);
	return !error;
}

bool side_post_plain(struct side *s, enum ibv_wr_opcode opcode, uint32_t length, uint64_t remote,
		     uint32_t rkey)
{
	struct ibv_sge sge = { .addr = (uintptr_t)s->page, .length = length, .lkey = s->all->lkey };

	return side_post(s, opcode, IBV_SEND_SIGNALED, &sge, 1, remote, rkey);
}

bool side_post_receive(struct side *s, void *memory, uint32_t length, uint32_t lkey)
{
	struct ibv_sge sge = { .addr = (uintptr_t)memory, .length = length, .lkey = lkey };
	struct ibv_recv_wr wr = { .sg_list = &sge, .num_sge = 1 }, *bad;
	int error = ibv_post_recv(s->qp, &wr, &bad);

	if (error)
		side_record_call(s, "post_recv", error);
	return !error;
}
