// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * What one thread posts another may complete, and then destroy the queue, while the
 * first is still on its way out of the call: as soon as the queue is unlocked. Here
 * its memory is then taken away, so that looking at it once more ends the test.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel.h"

static void unlock_and_lose(struct pvhca_lock *lock);
#define pvhca_unlock(lock) unlock_and_lose(lock)

#include "../../../providers/pvhca/buf.c"
#include "../../../providers/pvhca/qp_table.c"
#include "../../../providers/pvhca/poll.c"
#include "../../../providers/pvhca/post.c"
#include "../../../providers/pvhca/cq.c"
#include "../../../providers/pvhca/cq_ex.c"
#include "../../../providers/pvhca/pd.c"
#include "../../../providers/pvhca/wr.c"
#include "../../../providers/pvhca/qp.c"
#include "../../../providers/pvhca/srq.c"

/* On pages of their own. */
struct objects {
	struct pvhca_qp qp;
	struct pvhca_cq cq;
	struct pvhca_srq srq;
};

static struct objects *o;
static bool losing;
static uint64_t srq_wrid[ENTRIES];
static uint16_t free_tags[ENTRIES];
static struct pvhca_mr mr = { .handle = 0x55, .bindable = true };
static struct pvhca_mw mw = { .ibv_mw = { .type = IBV_MW_TYPE_1 }, .handle = 0x66 };

static void lose(void)
{
	ck_assert_int_eq(mprotect(o, sizeof(*o), PROT_NONE), 0);
}

static void unlock_and_lose(struct pvhca_lock *lock)
{
	(pvhca_unlock)(lock);
	if (losing)
		lose();
}

static void setup_gone(void)
{
	setup_kernel();
	test_page.need_kick = htole64(~0ULL);
	o = mmap(NULL, sizeof(*o), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(o, MAP_FAILED);
	o->qp = test_qp;
	o->cq = test_cq;
	o->srq.ctx = &test_ctx;
	o->srq.slot = SLOT;
	o->srq.doorbell = doorbells + QP_DOORBELL;
	setup_queue(&o->srq.q, queues.rq, &queues.header.rq_pi, srq_wrid);
	o->srq.free_tags = free_tags;
	o->srq.num_free = ENTRIES;
	pvhca_set_wr_ops(&o->qp, IBV_QP_EX_WITH_SEND);
	pvhca_set_cq_ex_ops(&o->cq, PVHCA_CQ_WC_FLAGS);
	losing = true;
}

static void teardown_gone(void)
{
	losing = false;
	teardown_kernel();
}

static void announced(void)
{
	ck_assert_uint_eq(le64toh(test_page.pending[SLOT / 64]), 1 << SLOT % 64);
	ck_assert_uint_eq(rings, 1);
	ck_assert_ptr_eq(rung, doorbells + QP_DOORBELL);
}

START_TEST(send_does_not_look_back)
{
	struct ibv_send_wr wr = { .opcode = IBV_WR_SEND }, *bad;

	ck_assert_int_eq(pvhca_post_send(&o->qp.vqp.qp, &wr, &bad), 0);
	announced();
}
END_TEST

START_TEST(batch_does_not_look_back)
{
	struct ibv_qp_ex *ex = &o->qp.vqp.qp_ex;

	ibv_wr_start(ex);
	ex->wr_id = ex->wr_flags = 0;
	ibv_wr_send(ex);
	ck_assert_int_eq(ibv_wr_complete(ex), 0);
	announced();
}
END_TEST

START_TEST(bind_does_not_look_back)
{
	struct ibv_mw_bind bind = { .bind_info = { .mr = &mr.vmr.ibv_mr, .length = 1 } };

	ck_assert_int_eq(pvhca_post_bind(&o->qp, &mw.ibv_mw, &bind), 0);
	announced();
}
END_TEST

START_TEST(receive_does_not_look_back)
{
	struct ibv_recv_wr wr = {}, *bad;

	ck_assert_int_eq(pvhca_post_recv(&o->qp.vqp.qp, &wr, &bad), 0);
	announced();
}
END_TEST

START_TEST(shared_receive_does_not_look_back)
{
	struct ibv_recv_wr wr = {}, *bad;

	ck_assert_int_eq(pvhca_post_srq_recv(&o->srq.vsrq.srq, &wr, &bad), 0);
	announced();
}
END_TEST

START_TEST(request_for_an_event_does_not_look_back)
{
	ck_assert_int_eq(pvhca_req_notify_cq(&o->cq.vcq.cq, 0), 0);
	ck_assert_uint_eq(le32toh(cq_mem.header.arm_any), 1);
}
END_TEST

START_TEST(polls_do_not_look_back)
{
	struct ibv_poll_cq_attr attr = {};
	struct ibv_wc wc;

	if (_i)
		ck_assert_int_eq(ibv_start_poll(&o->cq.vcq.cq_ex, &attr), ENOENT);
	else
		ck_assert_int_eq(pvhca_poll_cq(&o->cq.vcq.cq, 1, &wc), 0);
}
END_TEST

/* ------------------------- and who destroys it waits --------------------- */

static struct {
	enum { SQ, RQ, CQ, SRQ, QUEUES } kind;
	struct ibv_qp *ibqp;
	struct ibv_cq *ibcq;
	struct ibv_srq *ibsrq;
	struct pvhca_lock *lock;
	bool done; /* atomic */
} victim;

static void make_victim(void)
{
	struct ibv_qp_init_attr attr = {
		.send_cq = &test_cq.vcq.cq,
		.recv_cq = &test_cq.vcq.cq,
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 1, .max_recv_wr = 1 },
	};
	struct ibv_srq_init_attr srq_attr = { .attr = { .max_wr = 1 } };

	if (victim.kind == CQ) {
		victim.ibcq = pvhca_create_cq(&test_ctx.vctx.context, 1, NULL, 0);
		victim.lock = &to_pvhca_cq(victim.ibcq)->lock;
	} else if (victim.kind == SRQ) {
		victim.ibsrq = pvhca_create_srq(&test_pd.ibv_pd, &srq_attr);
		victim.lock = &to_pvhca_srq(victim.ibsrq)->q.lock;
	} else {
		victim.ibqp = pvhca_create_qp(&test_pd.ibv_pd, &attr);
		victim.lock = victim.kind == SQ ? &to_pvhca_qp(victim.ibqp)->sq.lock :
						  &to_pvhca_qp(victim.ibqp)->rq.lock;
	}
}

/* Somebody is on the way out of a call. */
static void hold(void)
{
	pvhca_lock(victim.lock);
}

static void *destroy_victim(void *arg)
{
	(void)arg;
	if (victim.kind == CQ)
		pvhca_destroy_cq(victim.ibcq);
	else if (victim.kind == SRQ)
		pvhca_destroy_srq(victim.ibsrq);
	else
		pvhca_destroy_qp(victim.ibqp);
	__atomic_store_n(&victim.done, true, __ATOMIC_RELEASE);
	return NULL;
}

START_TEST(queue_stays_until_it_is_unlocked)
{
	pthread_t thread;

	losing = false;
	victim.kind = _i;
	make_victim();
	if (victim.kind == CQ || victim.kind == SRQ)
		hold();
	else
		kernel.on_destroy_qp = hold;
	ck_assert_int_eq(pthread_create(&thread, NULL, destroy_victim, NULL), 0);
	usleep(100000);
	ck_assert(!__atomic_load_n(&victim.done, __ATOMIC_ACQUIRE));
	pvhca_unlock(victim.lock);
	pthread_join(thread, NULL);
	ck_assert(victim.done);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("provider gone queues");
	TCase *c = tcase_create("gone");

	tcase_add_checked_fixture(c, setup_gone, teardown_gone);
	tcase_add_test(c, send_does_not_look_back);
	tcase_add_test(c, batch_does_not_look_back);
	tcase_add_test(c, bind_does_not_look_back);
	tcase_add_test(c, receive_does_not_look_back);
	tcase_add_test(c, shared_receive_does_not_look_back);
	tcase_add_test(c, request_for_an_event_does_not_look_back);
	tcase_add_loop_test(c, polls_do_not_look_back, 0, 2);
	tcase_add_loop_test(c, queue_stays_until_it_is_unlocked, 0, QUEUES);
	suite_add_tcase(s, c);
	return run_suite(s);
}
