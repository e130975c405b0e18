// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pvhca-test-queues: queues that are shared by threads, reset, given up while
 * they are in use, waited on with events, and forked away from.
 *
 * One process with QPs connected to one another. Each case that is named, or
 * each at all, is run; the first that fails ends the program.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "endpoint.h"
#include "report.h"
#include "timescale.h"

#define ARENA	      65536
#define STALL_SECONDS ((int)scaled(120))

struct queues {
	struct device device;
	struct ibv_pd *pd;
	struct ibv_mr *mr;
	uint8_t *arena; /* the lower half is written from, the upper half to */
	unsigned int rounds;
	bool pvhca; /* what other engines need not do */
};

/* Two QPs that only one of works. */
struct link {
	struct ibv_cq *cq;
	struct ibv_qp *active, *passive;
};

static struct ibv_cq *create_cq(struct queues *t, unsigned int cqe,
				struct ibv_comp_channel *channel)
{
	struct ibv_cq *cq = ibv_create_cq(t->device.context, cqe, NULL, channel, 0);

	if (!cq)
		die_errno(errno, "ibv_create_cq");
	return cq;
}

static struct ibv_qp *create_qp(struct queues *t, struct ibv_cq *cq, unsigned int depth)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.send_cq = cq,
		.recv_cq = cq,
		.cap = { .max_send_wr = depth,
			 .max_recv_wr = depth,
			 .max_send_sge = 1,
			 .max_recv_sge = 1 },
	};

	return endpoint_create(&t->device, t->pd, &attr);
}

static struct link link_open(struct queues *t, struct ibv_cq *cq, unsigned int depth)
{
	struct link l = { .cq = cq };

	l.active = create_qp(t, cq, depth);
	l.passive = create_qp(t, cq, depth);
	endpoint_connect_pair(&t->device, l.active, l.passive);
	return l;
}

static void link_close(struct link *l)
{
	int error = ibv_destroy_qp(l->active);

	error = error ? error : ibv_destroy_qp(l->passive);
	if (error)
		die_errno(error, "ibv_destroy_qp");
}

static void destroy_cq(struct ibv_cq *cq)
{
	int error = ibv_destroy_cq(cq);

	if (error)
		die_errno(error, "ibv_destroy_cq");
}

/* Posts a write of 8 bytes from and to the given place in both halves of the arena. */
static int try_write(struct queues *t, struct link *l, uint64_t wr_id, unsigned int place,
		     int flags)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)t->arena + 8 * place,
		.length = 8,
		.lkey = t->mr->lkey,
	};
	struct ibv_send_wr wr = {
		.wr_id = wr_id,
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = flags,
		.wr.rdma = { .remote_addr = sge.addr + ARENA / 2, .rkey = t->mr->rkey },
	}, *bad;

	return ibv_post_send(l->active, &wr, &bad);
}

static void write_one(struct queues *t, struct link *l, uint64_t wr_id, unsigned int place,
		      int flags)
{
	int error = try_write(t, l, wr_id, place, flags);

	if (error)
		die_errno(error, "ibv_post_send");
}

/* Waits for the next completion, which has to be a success. */
static struct ibv_wc next_completion(struct ibv_cq *cq)
{
	const time_t start = time(NULL);
	struct ibv_wc wc;
	int n;

	while (!(n = ibv_poll_cq(cq, 1, &wc)))
		if (time(NULL) - start > STALL_SECONDS)
			die("no completion for %d s", STALL_SECONDS);
	if (n < 0)
		die("ibv_poll_cq: %d", n);
	if (wc.status)
		die("completion %lu: %s", (unsigned long)wc.wr_id, status_name(wc.status));
	return wc;
}

static void expect(struct ibv_cq *cq, uint64_t wr_id)
{
	struct ibv_wc wc = next_completion(cq);

	if (wc.wr_id != wr_id)
		die("completion %lu where %lu is due", (unsigned long)wc.wr_id,
		    (unsigned long)wr_id);
}

static void expect_none(struct ibv_cq *cq)
{
	struct ibv_wc wc;

	if (ibv_poll_cq(cq, 1, &wc))
		die("completion %lu where none is due", (unsigned long)wc.wr_id);
}

static void drain(struct ibv_cq *cq)
{
	struct ibv_wc wc;

	while (ibv_poll_cq(cq, 1, &wc) > 0)
		;
}

static void set_state(struct ibv_qp *qp, enum ibv_qp_state state)
{
	struct ibv_qp_attr attr = { .qp_state = state };
	int error = ibv_modify_qp(qp, &attr, IBV_QP_STATE);

	if (error)
		die_errno(error, "ibv_modify_qp");
}

/* ---------------------------------- cases --------------------------------- */

/*
 * What was posted before a reset is gone, and the queues start anew. What had
 * completed is gone too, unless the engine leaves that to the application.
 */
static void reset_queues_start_anew(struct queues *t)
{
	struct ibv_cq *cq = create_cq(t, 64, NULL);
	struct link l = link_open(t, cq, 8);
	struct ibv_recv_wr receive = {}, *bad;
	unsigned int i, round;

	for (round = 0; round < t->rounds; round++) {
		for (i = 0; i < 1 + round % 7; i++)
			write_one(t, &l, i, i, i % 3 ? 0 : IBV_SEND_SIGNALED);
		for (i = 0; i < round % 5; i++)
			if (ibv_post_recv(l.active, &receive, &bad))
				die("ibv_post_recv");
		if (round % 2)
			usleep(2000); /* let completions come, and leave them there */
		set_state(l.active, IBV_QPS_RESET);
		set_state(l.passive, IBV_QPS_RESET);
		if (t->pvhca)
			expect_none(cq);
		else
			drain(cq);

		endpoint_connect_pair(&t->device, l.active, l.passive);
		write_one(t, &l, 100, 0, 0);
		write_one(t, &l, 101, 1, 0);
		write_one(t, &l, 102, 2, IBV_SEND_SIGNALED);
		expect(cq, 102);
		expect_none(cq);
	}
	link_close(&l);
	destroy_cq(cq);
}

#define THREADS 4
#define DEPTH	16

struct sharing {
	struct queues *t;
	struct link link;
	unsigned int per_thread;
	unsigned int index;	/* of the next thread */
	uint64_t last[THREADS]; /* completion of each thread's work */
	uint64_t posted;
	uint64_t completed;
	pthread_mutex_t lock;
};

static void reap(struct sharing *s)
{
	struct ibv_wc wc[8];
	unsigned int thread;
	int i, n;

	/* Polled under the lock: the order of completions is looked at. */
	pthread_mutex_lock(&s->lock);
	n = ibv_poll_cq(s->link.cq, 8, wc);
	if (n < 0)
		die("ibv_poll_cq: %d", n);
	for (i = 0; i < n; i++) {
		thread = wc[i].wr_id >> 32;
		if (wc[i].status || (uint32_t)wc[i].wr_id != s->last[thread] + 1)
			die("thread %u: %s of %u after %lu", thread, status_name(wc[i].status),
			    (uint32_t)wc[i].wr_id, (unsigned long)s->last[thread]);
		s->last[thread]++;
		__atomic_fetch_add(&s->completed, 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&s->lock);
}

/* rxe takes work as long as it keeps up, and would overrun the CQ. */
static bool cq_may_overrun(struct sharing *s)
{
	return !s->t->pvhca &&
		__atomic_load_n(&s->posted, __ATOMIC_RELAXED) -
			__atomic_load_n(&s->completed, __ATOMIC_RELAXED) >=
		DEPTH;
}

static void *share(void *arg)
{
	struct sharing *s = arg;
	const time_t start = time(NULL);
	uint64_t thread, i;
	int error;

	thread = __atomic_fetch_add(&s->index, 1, __ATOMIC_RELAXED);
	for (i = 1; i <= s->per_thread; i++) {
		while (cq_may_overrun(s))
			reap(s);
		__atomic_fetch_add(&s->posted, 1, __ATOMIC_RELAXED);
		while ((error = try_write(s->t, &s->link, thread << 32 | i, thread,
					  IBV_SEND_SIGNALED))) {
			if (error != ENOMEM)
				die_errno(error, "ibv_post_send");
			reap(s);
			if (time(NULL) - start > STALL_SECONDS)
				die("the send queue stays full");
		}
	}
	return NULL;
}

/* Threads post to one QP and poll one CQ: nothing is lost, doubled or out of order. */
static void threads_share_a_queue_pair(struct queues *t)
{
	struct sharing s = { .t = t,
			     .per_thread = 100 * t->rounds,
			     .lock = PTHREAD_MUTEX_INITIALIZER };
	const time_t start = time(NULL);
	pthread_t threads[THREADS];
	unsigned int i;

	s.link = link_open(t, create_cq(t, 2 * DEPTH, NULL), DEPTH);
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, share, &s))
			die("pthread_create");
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	while (s.completed != (uint64_t)THREADS * s.per_thread) {
		reap(&s);
		if (time(NULL) - start > STALL_SECONDS)
			die("%lu completions of %u", (unsigned long)s.completed,
			    THREADS * s.per_thread);
	}
	link_close(&s.link);
	destroy_cq(s.link.cq);
}

#define GONE 1000 /* wr_ids of QPs that are destroyed */

/*
 * Completions of QPs that are gone do not get in the way of those that stay; of
 * pvhca they are gone, too.
 */
static void queue_pairs_come_and_go_beside_traffic(struct queues *t)
{
	struct ibv_cq *cq = create_cq(t, 256, NULL);
	struct link stays = link_open(t, cq, 16), goes;
	unsigned int i, round;
	struct ibv_wc wc;

	for (round = 0; round < t->rounds; round++) {
		goes = link_open(t, cq, 8);
		for (i = 0; i < 8; i++) {
			write_one(t, &goes, GONE + i, i, IBV_SEND_SIGNALED);
			write_one(t, &stays, i, i, IBV_SEND_SIGNALED);
		}
		if (round % 2)
			usleep(1000);
		link_close(&goes);
		for (i = 0; i < 8; i++) {
			do
				wc = next_completion(cq);
			while (!t->pvhca && wc.wr_id >= GONE);
			if (wc.wr_id != i)
				die("completion %lu where %u is due", (unsigned long)wc.wr_id, i);
		}
		if (t->pvhca)
			expect_none(cq);
	}
	link_close(&stays);
	destroy_cq(cq);
}

/* Each time: ask for an event, look once more, wait for it. */
static void events_are_never_missed(struct queues *t)
{
	struct ibv_comp_channel *channel = ibv_create_comp_channel(t->device.context);
	unsigned int round, events = 0, completions;
	struct ibv_cq *cq, *event_cq;
	struct ibv_wc wc;
	struct link l;
	void *context;
	int n;

	if (!channel)
		die_errno(errno, "ibv_create_comp_channel");
	cq = create_cq(t, 64, channel);
	l = link_open(t, cq, 8);
	alarm(STALL_SECONDS);
	for (round = 0; round < 10 * t->rounds; round++) {
		completions = 0;
		write_one(t, &l, round, round % 8, IBV_SEND_SIGNALED);
		if (round % 3)
			write_one(t, &l, round, round % 8, IBV_SEND_SIGNALED);
		while (completions < 1u + !!(round % 3)) {
			if (ibv_req_notify_cq(cq, 0))
				die("ibv_req_notify_cq");
			n = ibv_poll_cq(cq, 1, &wc);
			if (n < 0)
				die("ibv_poll_cq: %d", n);
			completions += n;
			if (n)
				continue;
			if (ibv_get_cq_event(channel, &event_cq, &context))
				die_errno(errno, "ibv_get_cq_event");
			events++;
		}
	}
	alarm(0);
	ibv_ack_cq_events(cq, events);
	link_close(&l);
	destroy_cq(cq);
	ibv_destroy_comp_channel(channel);
}

/* A child that lives on leaves the parent's queues and memory with the parent. */
static void parent_goes_on_after_a_fork(struct queues *t)
{
	struct ibv_cq *cq = create_cq(t, 64, NULL);
	struct link l = link_open(t, cq, 8);
	unsigned int round, i;
	uint64_t value;
	pid_t child;

	for (round = 0; round < 5; round++) {
		child = fork();
		if (child < 0)
			die_errno(errno, "fork");
		if (!child) {
			sleep(1);
			_exit(0);
		}
		for (i = 0; i < 100; i++) {
			value = (uint64_t)round << 32 | i;
			memcpy(t->arena, &value, sizeof(value));
			write_one(t, &l, i, 0, IBV_SEND_SIGNALED);
			expect(cq, i);
			if (memcmp(t->arena + ARENA / 2, &value, sizeof(value)))
				die("the write went elsewhere");
		}
		if (waitpid(child, NULL, 0) != child)
			die_errno(errno, "waitpid");
	}
	link_close(&l);
	destroy_cq(cq);
}

struct doomed {
	struct ibv_qp *qp;
	bool gone; /* atomic */
};

static void *destroy_doomed(void *arg)
{
	struct doomed *d = arg;
	int error = ibv_destroy_qp(d->qp);

	if (error)
		die_errno(error, "ibv_destroy_qp");
	__atomic_store_n(&d->gone, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Makes the engine raise an event on the passive QP. False if it raises none. */
static bool raise_event(struct queues *t, struct link *l)
{
	struct pollfd pfd = { .fd = t->device.context->async_fd, .events = POLLIN };
	struct ibv_sge sge = { .addr = (uintptr_t)t->arena, .length = 8, .lkey = t->mr->lkey };
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE,
		.wr.rdma = { .remote_addr = sge.addr, .rkey = ~t->mr->rkey },
	}, *bad;
	int error = ibv_post_send(l->active, &wr, &bad);

	if (error)
		die_errno(error, "ibv_post_send");
	return poll(&pfd, 1, 5000) == 1;
}

/*
 * To destroy a QP waits until its events are acknowledged. The thread that does so
 * may make, use and destroy other QPs first.
 */
static void destroyed_queue_pair_that_waits_holds_up_no_other(struct queues *t)
{
	struct ibv_cq *cq = create_cq(t, 16, NULL), *other_cq = create_cq(t, 16, NULL);
	struct link failing = link_open(t, cq, 1), other;
	struct doomed doomed = { .qp = failing.passive };
	struct ibv_async_event event;
	pthread_t thread;
	int error;

	if (!raise_event(t, &failing)) {
		say("this engine raises no event for a wrong key");
		link_close(&failing);
		goto out;
	}
	if (ibv_get_async_event(t->device.context, &event))
		die_errno(errno, "ibv_get_async_event");
	if (event.element.qp != doomed.qp)
		die("event %d, not of the QP", event.event_type);
	if (pthread_create(&thread, NULL, destroy_doomed, &doomed))
		die("no thread");
	usleep(200000); /* for the thread to wait */

	other = link_open(t, other_cq, 1);
	write_one(t, &other, 7, 0, IBV_SEND_SIGNALED);
	expect(other_cq, 7);
	link_close(&other);
	if (__atomic_load_n(&doomed.gone, __ATOMIC_ACQUIRE))
		die("destroyed before its event was acknowledged");
	ibv_ack_async_event(&event);
	pthread_join(thread, NULL);
	error = ibv_destroy_qp(failing.active);
	if (error)
		die_errno(error, "ibv_destroy_qp");
out:
	destroy_cq(other_cq);
	destroy_cq(cq);
}

/* On other engines that would overrun. */
static void too_small_a_completion_queue_loses_nothing(struct queues *t)
{
	struct ibv_cq *cq = create_cq(t, 2, NULL);
	struct link l = link_open(t, cq, 64);
	unsigned int round, i;

	for (round = 0; round < t->rounds && t->pvhca; round++) {
		for (i = 0; i < 64; i++)
			write_one(t, &l, i, i, IBV_SEND_SIGNALED);
		if (round % 4 == 0)
			usleep(5000);
		for (i = 0; i < 64; i++)
			expect(cq, i);
		expect_none(cq);
	}
	link_close(&l);
	destroy_cq(cq);
}

static const struct {
	const char *name;
	void (*run)(struct queues *t);
} cases[] = {
	{ "reset_queues_start_anew", reset_queues_start_anew },
	{ "threads_share_a_queue_pair", threads_share_a_queue_pair },
	{ "queue_pairs_come_and_go_beside_traffic", queue_pairs_come_and_go_beside_traffic },
	{ "events_are_never_missed", events_are_never_missed },
	{ "destroyed_queue_pair_that_waits_holds_up_no_other",
	  destroyed_queue_pair_that_waits_holds_up_no_other },
	{ "parent_goes_on_after_a_fork", parent_goes_on_after_a_fork },
	{ "too_small_a_completion_queue_loses_nothing",
	  too_small_a_completion_queue_loses_nothing },
};

static const char usage[] =
	"pvhca-test-queues [OPTION...] [CASE...]\n"
	"  -d DEVICE    -g GID-INDEX\n"
	"  -n ROUNDS    50\n"
	"  -o           what pvhca does and others need not: completions go with their\n"
	"               QP and with a reset, a full completion queue loses nothing\n";

static bool chosen(const char *name, char **names, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (!strcmp(name, names[i]))
			return true;
	return !count;
}

static void set_up(struct queues *t, const char *device, int gid)
{
	if (ibv_fork_init())
		die("ibv_fork_init");
	device_open(&t->device, device, gid);
	t->pd = ibv_alloc_pd(t->device.context);
	if (!t->pd)
		die_errno(errno, "ibv_alloc_pd");
	if (posix_memalign((void **)&t->arena, 4096, ARENA))
		die("no memory");
	memset(t->arena, 0, ARENA);
	t->mr = ibv_reg_mr(t->pd, t->arena, ARENA,
			   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	if (!t->mr)
		die_errno(errno, "ibv_reg_mr");
}

int main(int argc, char **argv)
{
	struct queues t = { .rounds = 50 };
	const char *device = NULL;
	int gid = GID_INDEX_AUTO;
	size_t i;
	int c;

	while ((c = getopt(argc, argv, "d:g:n:oh")) != -1) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'g':
			gid = atoi(optarg);
			break;
		case 'n':
			t.rounds = atoi(optarg);
			break;
		case 'o':
			t.pvhca = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 1;
		}
	}
	set_up(&t, device, gid);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!chosen(cases[i].name, argv + optind, argc - optind))
			continue;
		cases[i].run(&t);
		say("%s ok", cases[i].name);
	}
	if (ibv_dereg_mr(t.mr) || ibv_dealloc_pd(t.pd))
		die("something is still in use");
	device_close(&t.device);
	free(t.arena);
	return 0;
}
