// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Everything that guests and the control path can do to each other's queues and
 * keys on the loopback fabric, at random, with a worker for each guest. What is
 * looked for is deadlock, use of what is freed, and keys that stay busy.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <check.h>
#include <urcu-qsbr.h>

#include "fabric/loopback/rig.h"

#define ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_MW_BIND)
#define REGION (4 * PVHCA_GRANULE)
#define DEPTH  8
#define ROUNDS 200

static const uint8_t group[16] = { [10] = 0xff, 0xff, 239, 1, 2, 3 };

/* A guest: its application's part is covered by lock, its worker is not. */
struct guest {
	pthread_t thread;
	pthread_mutex_t lock;
	struct rig_vm *vm;
	struct guest *peer;
	struct srq *srq;
	struct qp *rc, *ud;
	unsigned int rc_sends, ud_sends; /* outstanding */
	struct mr *mr;
	struct mw *mw[2];
	struct ah *to_peer, *to_group;
	_Atomic uint32_t key[2]; /* of mw, as last bound */
	_Atomic uint64_t ok, received;
	unsigned int seed;
};

static struct guest guests[2];
static atomic_bool stop;

static uint64_t iova_of(const struct guest *guest)
{
	return 0x10000000ull * (1 + (guest - guests));
}

static struct pvhca_sge sge_of(const struct guest *guest, uint32_t len)
{
	return (struct pvhca_sge){ htole64(iova_of(guest)), htole32(len),
				   htole32(guest->mr->lkey) };
}

static void post_bind(struct guest *guest, unsigned int which)
{
	uint32_t key = guest->key[which];
	struct pvhca_sq_wqe wqe = { .opcode = PVHCA_WQE_BIND_MW, .flags = PVHCA_WQE_F_SIGNALED };
	struct pvhca_bind_seg seg = {
		.addr = htole64(iova_of(guest)),
		.length = htole64(REGION),
		.mr_handle = htole32(guest->mr->handle),
		.mw_handle = htole32(guest->mw[which]->handle),
		.access = htole32(IBV_ACCESS_REMOTE_WRITE),
	};

	key = (key & ~0xffu) | ((key + 1) & 0xff);
	guest->key[which] = key;
	seg.rkey = htole32(key);
	rig_post_segment(guest->rc, wqe, &seg, sizeof(seg));
}

static void post_rc(struct guest *guest)
{
	static const uint8_t opcodes[] = {
		PVHCA_WQE_SEND,	     PVHCA_WQE_SEND_IMM,  PVHCA_WQE_SEND_INV, PVHCA_WQE_WRITE,
		PVHCA_WQE_WRITE_IMM, PVHCA_WQE_LOCAL_INV, PVHCA_WQE_BIND_MW,  PVHCA_WQE_BIND_MW,
	};
	unsigned int which = rand_r(&guest->seed) % 2;
	struct pvhca_sge sge = sge_of(guest, rand_r(&guest->seed) % REGION);
	struct pvhca_sq_wqe wqe = {
		.opcode = opcodes[rand_r(&guest->seed) % sizeof(opcodes)],
		.flags = PVHCA_WQE_F_SIGNALED,
		.num_sge = htole16(1),
	};

	guest->rc_sends++;
	switch (wqe.opcode) {
	case PVHCA_WQE_BIND_MW:
		post_bind(guest, which);
		return;
	case PVHCA_WQE_LOCAL_INV:
		wqe.inv_rkey = htole32(guest->key[1]);
		wqe.num_sge = 0;
		break;
	case PVHCA_WQE_SEND_INV:
		wqe.inv_rkey = htole32(guest->peer->key[1]);
		break;
	case PVHCA_WQE_WRITE:
	case PVHCA_WQE_WRITE_IMM:
		wqe.rkey = htole32(guest->peer->key[which]);
		wqe.remote_addr = htole64(iova_of(guest->peer));
		break;
	}
	rig_post_send(guest->rc, wqe, &sge, NULL);
}

static void post_ud(struct guest *guest)
{
	bool all = rand_r(&guest->seed) % 2;
	struct pvhca_sge sge = sge_of(guest, rand_r(&guest->seed) % 2000);
	struct pvhca_sq_wqe wqe = {
		.opcode = PVHCA_WQE_SEND,
		.flags = PVHCA_WQE_F_SIGNALED,
		.num_sge = htole16(1),
		.ah = htole32((all ? guest->to_group : guest->to_peer)->handle),
		.remote_qpn = htole32(all ? 0xffffff : guest->peer->ud->qpn),
		.remote_qkey = htole32(RIG_QKEY),
	};

	guest->ud_sends++;
	rig_post_send(guest->ud, wqe, &sge, NULL);
}

static void fill_srq(struct guest *guest)
{
	struct pvhca_sge sge = sge_of(guest, REGION);
	uint32_t posted;

	pthread_mutex_lock(&guest->srq->lock);
	posted = work_queue_posted(&guest->srq->rq);
	pthread_mutex_unlock(&guest->srq->lock);
	for (; posted < DEPTH; posted++)
		rig_post_srq(guest->srq, posted, &sge, 1);
}

static void drain(struct guest *guest, struct qp *qp, unsigned int *sends)
{
	struct pvhca_cqe cqe;

	while (rig_poll(qp->send_cq, &cqe)) {
		guest->ok += !cqe.status;
		(*sends)--;
	}
	while (rig_poll(qp->recv_cq, &cqe))
		guest->received += !cqe.status;
}

static void application(struct guest *guest)
{
	drain(guest, guest->rc, &guest->rc_sends);
	drain(guest, guest->ud, &guest->ud_sends);
	fill_srq(guest);
	while (guest->rc_sends < DEPTH)
		post_rc(guest);
	while (guest->ud_sends < DEPTH)
		post_ud(guest);
}

static void *guest_main(void *arg)
{
	struct guest *guest = arg;
	struct timespec ts;

	rcu_register_thread();
	while (!atomic_load(&stop)) {
		if (!pthread_mutex_trylock(&guest->lock)) {
			application(guest);
			pthread_mutex_unlock(&guest->lock);
		}
		clock_gettime(CLOCK_MONOTONIC, &ts);
		rig.now = ts.tv_sec * 1000000000ull + ts.tv_nsec;
		rig_expire(guest->vm);
		if (!rig_serve(guest->vm))
			sched_yield();
		rcu_quiescent_state();
	}
	rcu_unregister_thread();
	return NULL;
}

/* ------------------------------ control path ------------------------------- */

static void reset(struct guest *guest, struct qp *qp, unsigned int *sends)
{
	struct qp_attr attr = { .qp_state = IBV_QPS_RESET };

	ck_assert_int_eq(rig_modify(qp, IBV_QP_STATE, attr), 0);
	atomic_store(qp->sq.pi, 0);
	drain(guest, qp, sends);
	*sends = 0;
}

static void connect_guests(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		reset(&guests[i], guests[i].rc, &guests[i].rc_sends);
		reset(&guests[i], guests[i].ud, &guests[i].ud_sends);
	}
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(rig_to_init(guests[i].rc), 0);
		ck_assert_int_eq(rig_to_rtr(guests[i].rc, guests[!i].rc), 0);
		ck_assert_int_eq(rig_to_init(guests[i].ud), 0);
		ck_assert_int_eq(rig_to_rtr(guests[i].ud, guests[i].ud), 0);
		ck_assert_int_eq(rig_to_rts(guests[i].ud, guests[i].ud), 0);
	}
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(rig_to_rts(guests[i].rc, guests[!i].rc), 0);
}

static void replace_window(struct guest *guest, unsigned int which)
{
	rig_mw_free(guest->mw[which]);
	guest->mw[which] = rig_mw(guest->vm, which ? IBV_MW_TYPE_2 : IBV_MW_TYPE_1);
	guest->key[which] = guest->mw[which]->rkey;
}

static void replace_handle(struct guest *guest)
{
	struct ah *old = guest->to_group;

	guest->to_group = rig_ah(guest->vm, group);
	table_unpublish(&old->vm->ahs, old->handle);
	synchronize_rcu();
	rig_ah_free(old);
}

static void rereg(struct guest *guest)
{
	struct mr next = *guest->mr;
	int status;

	table_unpublish(&guest->vm->vm.mrs, guest->mr->handle);
	status = rig_rereg(guest->mr, IBV_REREG_MR_CHANGE_ACCESS, &next);
	ck_assert(status == 0 || status == PVHCA_ST_BUSY);
	table_publish(&guest->vm->vm.mrs, guest->mr->handle);
}

static void disturb(unsigned int round)
{
	struct guest *guest = &guests[round / 8 % 2];
	struct qp_attr attr = { .qp_state = IBV_QPS_ERR };

	switch (round % 8) {
	case 0:
	case 4:
		connect_guests();
		break;
	case 1:
		ck_assert_int_eq(rig_modify(guest->rc, IBV_QP_STATE, attr), 0);
		break;
	case 2:
		replace_window(guest, round / 16 % 2);
		break;
	case 3:
		fabric_loopback.mcast_detach(guest->ud, group, 0);
		break;
	case 5:
		replace_handle(guest);
		ck_assert_int_eq(fabric_loopback.mcast_attach(guest->ud, group, 0), 0);
		break;
	case 6:
		rereg(guest);
		break;
	case 7:
		ck_assert_int_eq(fabric_loopback.srq_set_limit(guest->srq, 4), 0);
		break;
	}
	rig_forget_events();
}

static void guest_start(struct guest *guest, struct rig_vm *vm)
{
	guest->vm = vm;
	guest->peer = &guests[guest == &guests[0]];
	guest->seed = guest - guests;
	pthread_mutex_init(&guest->lock, NULL);
	guest->srq = rig_srq(vm);
	guest->rc = rig_qp_of(vm, PVHCA_QPT_RC, guest->srq);
	guest->ud = rig_qp_of(vm, PVHCA_QPT_UD, guest->srq);
	guest->mr = rig_mr(vm, iova_of(guest), 1, REGION, ACCESS);
	rig_mr_publish(guest->mr);
	guest->mw[0] = rig_mw(vm, IBV_MW_TYPE_1);
	guest->mw[1] = rig_mw(vm, IBV_MW_TYPE_2);
	guest->key[0] = guest->mw[0]->rkey;
	guest->key[1] = guest->mw[1]->rkey;
	guest->to_group = rig_ah(vm, group);
}

static void guest_stop(struct guest *guest)
{
	rig_ah_free(guest->to_group);
	rig_ah_free(guest->to_peer);
	rig_mw_free(guest->mw[0]);
	rig_mw_free(guest->mw[1]);
	rig_qp_free(guest->rc);
	rig_qp_free(guest->ud);
	rig_srq_free(guest->srq);
	ck_assert_uint_eq(*loopback_mr_windows(guest->mr), 0);
	rig_mr_free(guest->mr);
	pthread_mutex_destroy(&guest->lock);
}

START_TEST(nothing_hangs_and_nothing_is_left)
{
	unsigned int i;

	rig_setup();
	guest_start(&guests[0], rig.a);
	guest_start(&guests[1], rig.b);
	for (i = 0; i < 2; i++)
		guests[i].to_peer = rig_ah(guests[i].vm, guests[!i].vm->vm.gids[0].gid);
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&guests[i].thread, NULL, guest_main, &guests[i]),
				 0);
	for (i = 0; i < ROUNDS; i++) {
		usleep(2000);
		pthread_mutex_lock(&guests[0].lock);
		pthread_mutex_lock(&guests[1].lock);
		disturb(i);
		pthread_mutex_unlock(&guests[1].lock);
		pthread_mutex_unlock(&guests[0].lock);
	}
	atomic_store(&stop, true);
	for (i = 0; i < 2; i++)
		pthread_join(guests[i].thread, NULL);
	ck_assert_uint_gt(guests[0].ok + guests[1].ok, 1000);
	ck_assert_uint_gt(guests[0].received + guests[1].received, 100);
	for (i = 0; i < 2; i++)
		guest_stop(&guests[i]);
	rig_teardown();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loopback_mix");
	TCase *tcase = tcase_create("two workers");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, nothing_hangs_and_nothing_is_left);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
