// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The loopback fabric with a worker for each guest, while the control path
 * resets QPs and takes regions away under them. What is looked for is deadlock,
 * use of what is freed, and messages that do not come out as they went in.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <check.h>
#include <urcu-qsbr.h>

#include "lib/grace.h"
#include "fabric/loopback/rig.h"

#define ALL_ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)
#define DEPTH	   8
#define ROUNDS	   150
#define LEN	   3000

/* A guest: its application's part is covered by lock, its worker is not. */
struct guest {
	pthread_t thread;
	pthread_mutex_t lock;
	struct rig_vm *vm;
	struct guest *peer;
	struct qp *qp;
	struct mr *mr;
	unsigned int sends, receives; /* outstanding */
	uint64_t sent, received, errors;
	_Atomic uint64_t ok;
	bool calm; /* from here on nothing may fail */
};

static struct guest guests[2];
static atomic_bool stop;

static uint64_t iova_of(const struct guest *guest)
{
	return 0x10000000ull * (1 + (guest - guests));
}

static struct pvhca_sge sge_at(const struct guest *guest, uint64_t at)
{
	return (struct pvhca_sge){ htole64(iova_of(guest) + at), htole32(LEN),
				   htole32(guest->mr->lkey) };
}

/* Sends from the first half of memory, a pattern by number; receives to the second. */
static void guest_post(struct guest *guest)
{
	struct pvhca_sq_wqe wqe = {
		.opcode = PVHCA_WQE_SEND_IMM,
		.flags = PVHCA_WQE_F_SIGNALED,
		.num_sge = htole16(1),
	};
	struct pvhca_sge sge;
	uint64_t at;

	while (guest->receives < DEPTH) {
		at = (DEPTH + (atomic_load(guest->qp->rq.pi) % DEPTH)) * PVHCA_GRANULE;
		sge = sge_at(guest, at);
		rig_post_recv(guest->qp, &sge, 1);
		guest->receives++;
	}
	while (guest->sends < DEPTH) {
		at = (atomic_load(guest->qp->sq.pi) % DEPTH) * PVHCA_GRANULE;
		rig_fill(guest->mr, iova_of(guest) + at, LEN, guest->sent);
		wqe.imm_data = htobe32(guest->sent++);
		sge = sge_at(guest, at);
		rig_post_send(guest->qp, wqe, &sge, NULL);
		guest->sends++;
	}
}

static void check_status(struct guest *guest, const struct pvhca_cqe *cqe)
{
	switch (cqe->status) {
	case IBV_WC_SUCCESS:
		guest->ok++;
		return;
	case IBV_WC_WR_FLUSH_ERR:
	case IBV_WC_LOC_PROT_ERR:
	case IBV_WC_REM_OP_ERR:
	case IBV_WC_RETRY_EXC_ERR:
		ck_assert(!guest->calm);
		guest->errors++;
		return;
	default:
		ck_abort_msg("status %d", cqe->status);
	}
}

static void guest_poll(struct guest *guest)
{
	struct pvhca_cqe cqe;
	uint64_t at;

	while (rig_poll(guest->qp->send_cq, &cqe)) {
		check_status(guest, &cqe);
		guest->sends--;
	}
	while (rig_poll(guest->qp->recv_cq, &cqe)) {
		check_status(guest, &cqe);
		guest->receives--;
		if (cqe.status)
			continue;
		at = (DEPTH + le16toh(cqe.wqe_index) % DEPTH) * PVHCA_GRANULE;
		ck_assert(
			rig_is_filled(guest->mr, iova_of(guest) + at, LEN, be32toh(cqe.imm_data)));
		if (guest->calm)
			ck_assert_uint_eq(be32toh(cqe.imm_data), (uint32_t)guest->received);
		guest->received = be32toh(cqe.imm_data) + 1;
	}
}

static void *guest_main(void *arg)
{
	struct guest *guest = arg;
	struct timespec ts;

	rcu_register_thread();
	while (!atomic_load(&stop)) {
		if (!pthread_mutex_trylock(&guest->lock)) {
			guest_poll(guest);
			guest_post(guest);
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

static void lock_guests(void)
{
	pthread_mutex_lock(&guests[0].lock);
	pthread_mutex_lock(&guests[1].lock);
}

static void unlock_guests(void)
{
	pthread_mutex_unlock(&guests[1].lock);
	pthread_mutex_unlock(&guests[0].lock);
}

static void reset_guest(struct guest *guest)
{
	struct qp_attr attr = { .qp_state = IBV_QPS_RESET };
	struct pvhca_cqe cqe;

	ck_assert_int_eq(rig_modify(guest->qp, IBV_QP_STATE, attr), 0);
	atomic_store(guest->qp->sq.pi, 0);
	atomic_store(guest->qp->rq.pi, 0);
	while (rig_poll(guest->qp->send_cq, &cqe) || rig_poll(guest->qp->recv_cq, &cqe))
		check_status(guest, &cqe);
	guest->sends = guest->receives = 0;
	ck_assert_int_eq(rig_to_init(guest->qp), 0);
}

static void connect_guests(bool calm)
{
	unsigned int i;

	/* Both are reset before either is connected, or old work would fail. */
	for (i = 0; i < 2; i++)
		reset_guest(&guests[i]);
	for (i = 0; i < 2; i++) {
		guests[i].sent = guests[i].received = 0;
		guests[i].calm = calm;
		ck_assert_int_eq(rig_to_rtr(guests[i].qp, guests[!i].qp), 0);
	}
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(rig_to_rts(guests[i].qp, guests[!i].qp), 0);
	rig.num_events = 0;
}

/*
 * Other memory behind the same addresses, as it stood when the old region had
 * gone: what was received before may not have been looked at yet.
 */
static void replace_region(struct guest *guest)
{
	struct mr *old = guest->mr;
	uint64_t at;

	fabric_loopback.mr_hide(old);
	grace_wait();
	fabric_loopback.mr_dereg(old);
	guest->mr = rig_mr(guest->vm, old->iova, 2 * DEPTH, PVHCA_GRANULE, ALL_ACCESS);
	for (at = 0; at < old->length; at += PVHCA_GRANULE)
		memcpy(rig_byte(guest->mr, old->iova + at), rig_byte(old, old->iova + at),
		       PVHCA_GRANULE);
	extents_put(old->extents);
	free(old);
}

static void disturb(unsigned int round)
{
	struct guest *guest = &guests[round / 3 % 2];
	struct qp_attr attr = { .qp_state = IBV_QPS_ERR };

	switch (round % 3) {
	case 0:
		connect_guests(false);
		break;
	case 1:
		ck_assert_int_eq(rig_modify(guest->qp, IBV_QP_STATE, attr), 0);
		break;
	case 2:
		replace_region(guest);
		break;
	}
}

static void guest_start(struct guest *guest, struct rig_vm *vm)
{
	guest->vm = vm;
	pthread_mutex_init(&guest->lock, NULL);
	guest->qp = rig_qp(vm);
	guest->mr = rig_mr(vm, iova_of(guest), 2 * DEPTH, PVHCA_GRANULE, ALL_ACCESS);
}

static void guest_stop(struct guest *guest)
{
	rig_qp_free(guest->qp);
	rig_mr_free(guest->mr);
	pthread_mutex_destroy(&guest->lock);
}

START_TEST(guests_survive_what_the_control_path_does_to_them)
{
	uint64_t before;
	unsigned int i;

	rig_setup();
	for (i = 0; i < 2; i++)
		guest_start(&guests[i], i ? rig.b : rig.a);
	connect_guests(false);
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&guests[i].thread, NULL, guest_main, &guests[i]),
				 0);
	for (i = 0; i < ROUNDS; i++) {
		usleep(2000);
		lock_guests();
		disturb(i);
		unlock_guests();
	}

	lock_guests();
	connect_guests(true);
	before = guests[0].ok + guests[1].ok;
	unlock_guests();
	for (i = 0; i < 20000 && guests[0].ok + guests[1].ok < before + 1000; i++)
		usleep(1000);
	atomic_store(&stop, true);
	for (i = 0; i < 2; i++)
		pthread_join(guests[i].thread, NULL);
	ck_assert_uint_gt(guests[0].ok + guests[1].ok, before + 1000 - 1);
	ck_assert_uint_gt(guests[0].errors + guests[1].errors, 0);
	for (i = 0; i < 2; i++)
		guest_stop(&guests[i]);
	rig_teardown();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("loopback_threads");
	TCase *tcase = tcase_create("two workers");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, guests_survive_what_the_control_path_does_to_them);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
