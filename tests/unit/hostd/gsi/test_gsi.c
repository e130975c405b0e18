// SPDX-License-Identifier: GPL-2.0-or-later
/* Two VMs' GSI queue pairs, each with its own memory. */
#include <check.h>
#include <endian.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm/cq.h"
#include "vm/events.h"
#include "gsi/gsi.h"
#include "gsi/mad.h"
#include "memory/memory.h"
#include "vm/vm.h"
#include "suite.h"
#include "worker/worker.h"
#include "vm/pass.h"
#include "vm/cq_blocked.h"

#define GRANULES     16
#define RAM	     (GRANULES * PVHCA_GRANULE)
#define BUFFER_AT    PVHCA_GRANULE /* of the QP, two granules */
#define SEND_DATA_AT (4 * PVHCA_GRANULE)
#define RECV_DATA_AT (6 * PVHCA_GRANULE)
#define MESSAGE	     (GSI_GRH_LEN + GSI_MAD_LEN)
#define DEPTH_LOG    3
#define QKEY	     0x80000000u /* as Linux sends it */

static unsigned int faults, outside, events;

void vm_guest_fault(struct vm *vm, const char *format, ...)
{
	(void)vm;
	(void)format;
	faults++;
}

static bool outside_send(struct vm *vm, const uint8_t source[16], const uint8_t destination[16],
			 const void *mad)
{
	(void)vm;
	(void)source;
	(void)mad;
	ck_assert_uint_eq(destination[15], 9);
	outside++;
	return true;
}

bool events_completion(struct ceq *ceq, uint32_t cq_handle)
{
	(void)ceq;
	(void)cq_handle;
	events++;
	return true;
}

void pass_add_cq(struct pass *pass, struct cq *cq)
{
	(void)pass;
	(void)cq;
}

void pass_add_ceq(struct pass *pass, struct ceq *ceq)
{
	(void)pass;
	(void)ceq;
}

void events_interrupt(struct vm *vm, uint32_t vector)
{
	(void)vm;
	(void)vector;
}

void cq_blocked_add(struct cq *cq)
{
	(void)cq;
}

void worker_wake(struct worker *worker)
{
	(void)worker;
}

static const struct fabric_ops fabric = { .mad_send = outside_send };

static struct ceq ceq;

/* ---------------------------------- a VM ----------------------------------- */

struct guest {
	struct vm vm;
	struct context context;
	struct qp qp;
	struct cq cq;
	uint8_t *ram;
	struct ring_buffer *cq_buffer;
	struct pvhca_queue_header *header;
	uint32_t polled;
};

static struct guest a, b;
static const uint8_t gid_a[16] = { [10] = 0xff, 0xff, 10, 0, 0, 1 };
static const uint8_t gid_b[16] = { [10] = 0xff, 0xff, 10, 0, 0, 2 };
static const uint8_t gid_b6[16] = { 0xfd, [15] = 2 };
static const uint8_t gid_a6[16] = { 0xfd, [15] = 1 };
static const uint8_t gid_outside[16] = { [10] = 0xff, 0xff, 10, 0, 0, 9 };

static struct ring_buffer *buffer_new(uint8_t *at, unsigned int granules)
{
	struct ring_buffer *buffer;

	buffer = calloc(1, sizeof(*buffer) + granules * sizeof(uint8_t *));
	buffer->granules = granules;
	for (unsigned int i = 0; i < granules; i++)
		buffer->granule[i] = at + i * PVHCA_GRANULE;
	return buffer;
}

static void vm_open(struct guest *vm)
{
	int fd = memfd_create("vm", MFD_CLOEXEC);

	memset(vm, 0, sizeof(*vm));
	vm->vm.ops = &fabric;
	ck_assert_int_eq(ftruncate(fd, RAM), 0);
	vm->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	vm->vm.memory = memory_new(NULL);
	/* Two regions, so that data may cross from one to the other. */
	ck_assert(!memory_add(vm->vm.memory, 0, RAM / 2, 0, 4096, dup(fd)));
	ck_assert(!memory_add(vm->vm.memory, RAM / 2, RAM / 2, RAM / 2, 4096, fd));
	vm->context.vm = &vm->vm;
	vm->context.kernel = true;

	vm->cq_buffer = buffer_new(vm->ram, 1);
	vm->cq = (struct cq){
		.vm = &vm->vm,
		.ceq = &ceq,
		.log_entries = 5,
		.buffer = vm->cq_buffer,
	};
	cq_init(&vm->cq);
	cq_reserve(&vm->cq, 16);

	vm->header = (struct pvhca_queue_header *)(vm->ram + BUFFER_AT);
	vm->qp.vm = &vm->vm;
	vm->qp.context = &vm->context;
	vm->qp.type = PVHCA_QPT_GSI;
	vm->qp.send_cq = vm->qp.recv_cq = &vm->cq;
	vm->qp.buffer = buffer_new(vm->ram + BUFFER_AT, 2);
	pthread_mutex_init(&vm->qp.lock, NULL);
	pthread_mutex_init(&vm->qp.rq_lock, NULL);
	ck_assert(!work_queue_init(&vm->qp.sq, vm->qp.buffer, &vm->header->sq_pi, 1024, DEPTH_LOG,
				   7, 6, PVHCA_SQ_WQE_DATA, 2));
	ck_assert(!work_queue_init(&vm->qp.rq, vm->qp.buffer, &vm->header->rq_pi, 4096, DEPTH_LOG,
				   6, 5, PVHCA_RQ_WQE_DATA, 2));
}

static void vm_close(struct guest *vm)
{
	gsi_hide(&vm->vm);
	if (vm->qp.fabric)
		gsi_qp_ops.destroy(&vm->qp);
	ck_assert_ptr_null(vm->vm.gsi_port);
	cq_fini(&vm->cq);
	free(vm->qp.buffer);
	free(vm->cq_buffer);
	memory_free(vm->vm.memory);
	munmap(vm->ram, RAM);
}

static int modify(struct guest *vm, enum ibv_qp_state state)
{
	struct qp_attr attr = { .qp_state = state };

	return gsi_qp_ops.modify(&vm->qp, IBV_QP_STATE, &attr);
}

static void vm_up(struct guest *vm)
{
	ck_assert_int_eq(gsi_qp_ops.create(&vm->qp), PVHCA_ST_OK);
	ck_assert_uint_eq(vm->qp.qpn, 1);
	ck_assert_int_eq(modify(vm, IBV_QPS_INIT), PVHCA_ST_OK);
	ck_assert_int_eq(modify(vm, IBV_QPS_RTR), PVHCA_ST_OK);
	ck_assert_int_eq(modify(vm, IBV_QPS_RTS), PVHCA_ST_OK);
}

static void post_receive(struct guest *vm, uint64_t at, uint32_t length)
{
	uint32_t pi = le32toh(vm->header->rq_pi);
	struct pvhca_rq_wqe *wqe;
	struct pvhca_sge *sge;

	wqe = (struct pvhca_rq_wqe *)work_queue_entry(&vm->qp.rq, pi);
	memset(wqe, 0, sizeof(*wqe));
	wqe->num_sge = htole16(1);
	wqe->tag = htole16(pi);
	sge = (struct pvhca_sge *)(wqe + 1);
	*sge = (struct pvhca_sge){ htole64(at), htole32(length), htole32(PVHCA_LKEY_DMA) };
	vm->header->rq_pi = htole32(pi + 1);
}

/* A MAD at SEND_DATA_AT, in two pieces. */
static struct pvhca_sq_wqe *post_send(struct guest *vm, const uint8_t to[16])
{
	uint32_t pi = le32toh(vm->header->sq_pi);
	struct pvhca_sq_wqe *wqe;
	struct pvhca_sge *sge;
	struct pvhca_av *av;

	wqe = (struct pvhca_sq_wqe *)work_queue_entry(&vm->qp.sq, pi);
	memset(wqe, 0, 128);
	wqe->opcode = PVHCA_WQE_SEND;
	wqe->flags = PVHCA_WQE_F_SIGNALED | PVHCA_WQE_F_AV;
	wqe->num_sge = htole16(2);
	wqe->remote_qpn = htole32(1);
	wqe->remote_qkey = htole32(QKEY);
	av = (struct pvhca_av *)(wqe + 1);
	memcpy(av->dgid, to, 16);
	av->is_global = 1;
	av->port = 1;
	sge = (struct pvhca_sge *)(av + 1);
	sge[0] = (struct pvhca_sge){ htole64(SEND_DATA_AT), htole32(24), htole32(PVHCA_LKEY_DMA) };
	sge[1] = (struct pvhca_sge){ htole64(SEND_DATA_AT + 24), htole32(232),
				     htole32(PVHCA_LKEY_DMA) };
	vm->header->sq_pi = htole32(pi + 1);
	return wqe;
}

static struct pvhca_sge *wqe_sges(struct pvhca_sq_wqe *wqe)
{
	return (struct pvhca_sge *)((struct pvhca_av *)(wqe + 1) + 1);
}

static struct mad *send_mad(struct guest *vm)
{
	return (struct mad *)(vm->ram + SEND_DATA_AT);
}

static struct pvhca_cqe *poll_cq(struct guest *vm)
{
	struct pvhca_cqe *cqe = (struct pvhca_cqe *)(vm->ram + PVHCA_CQ_HEADER_SIZE) + vm->polled;

	if (!(cqe->flags & PVHCA_CQE_F_PHASE))
		return NULL;
	vm->polled++;
	return cqe;
}

static void serve(struct guest *vm)
{
	static struct pass pass;

	pthread_mutex_lock(&vm->qp.lock);
	pass_begin_turn(&pass, PASS_UNLIMITED, 0);
	gsi_qp_ops.serve(&pass, &vm->qp);
	pthread_mutex_unlock(&vm->qp.lock);
}

static void setup(void)
{
	faults = outside = events = 0;
	memory_fault_init();
	vm_open(&a);
	vm_open(&b);
	vm_up(&a);
	vm_up(&b);
	ck_assert_int_eq(gsi_gid_add(&a.vm, 0, gid_a, PVHCA_NO_VLAN), PVHCA_ST_OK);
	ck_assert_int_eq(gsi_gid_add(&a.vm, 1, gid_a6, PVHCA_NO_VLAN), PVHCA_ST_OK);
	ck_assert_int_eq(gsi_gid_add(&b.vm, 0, gid_b, PVHCA_NO_VLAN), PVHCA_ST_OK);
	ck_assert_int_eq(gsi_gid_add(&b.vm, 1, gid_b6, PVHCA_NO_VLAN), PVHCA_ST_OK);
	mad_init(send_mad(&a), MAD_REQ, 5);
	memset(a.ram + SEND_DATA_AT + 24, 0x5a, 232);
}

static void teardown(void)
{
	vm_close(&a);
	vm_close(&b);
}

/* ---------------------------------- tests ---------------------------------- */

static void expect_send_done(struct guest *vm, enum ibv_wc_status status)
{
	struct pvhca_cqe *cqe = poll_cq(vm);

	ck_assert_ptr_nonnull(cqe);
	ck_assert_uint_eq(cqe->opcode, PVHCA_CQE_SEND);
	ck_assert_uint_eq(cqe->status, status);
	ck_assert_uint_eq(le32toh(cqe->qpn), 1);
}

START_TEST(a_datagram_reaches_the_vm_that_has_the_address)
{
	const uint8_t *got = b.ram + RECV_DATA_AT;
	struct pvhca_cqe *cqe;

	b.cq.header->arm_any = htole32(1);
	post_receive(&b, RECV_DATA_AT, MESSAGE);
	post_send(&a, gid_b);
	serve(&a);
	expect_send_done(&a, IBV_WC_SUCCESS);
	cqe = poll_cq(&b);
	ck_assert_ptr_nonnull(cqe);
	ck_assert_uint_eq(cqe->opcode, PVHCA_CQE_RECV);
	ck_assert_uint_eq(cqe->status, IBV_WC_SUCCESS);
	ck_assert_uint_eq(cqe->flags & ~PVHCA_CQE_F_PHASE, PVHCA_CQE_F_GRH);
	ck_assert_uint_eq(le32toh(cqe->byte_len), MESSAGE);
	ck_assert_uint_eq(le32toh(cqe->src_qp), 1);
	ck_assert_uint_eq(events, 1);

	ck_assert_uint_eq(got[20], 0x45);
	ck_assert(!memcmp(got + 32, gid_a + 12, 4));
	ck_assert(!memcmp(got + 36, gid_b + 12, 4));
	ck_assert(!memcmp(got + 40, a.ram + SEND_DATA_AT, 256));
	ck_assert_uint_eq(a.vm.counters.mads_sent, 1);
	ck_assert_uint_eq(b.vm.counters.mads_received, 1);
	ck_assert_uint_eq(b.vm.counters.mads_dropped, 0);
}
END_TEST

START_TEST(the_header_is_ipv6_between_ipv6_addresses)
{
	const uint8_t *got = b.ram + RECV_DATA_AT;
	struct pvhca_av *av;

	post_receive(&b, RECV_DATA_AT, MESSAGE);
	av = (struct pvhca_av *)(post_send(&a, gid_b6) + 1);
	av->sgid_index = 1;
	serve(&a);
	ck_assert_ptr_nonnull(poll_cq(&b));
	ck_assert_uint_eq(got[0] >> 4, 6);
	ck_assert_uint_eq(got[6], 17);
	ck_assert(!memcmp(got + 8, gid_a6, 16));
	ck_assert(!memcmp(got + 24, gid_b6, 16));
}
END_TEST

START_TEST(a_datagram_stays_in_its_network)
{
	static const struct fabric_ops nowhere;

	a.vm.ops = &nowhere;
	b.vm.network = 1;
	post_receive(&b, RECV_DATA_AT, MESSAGE);
	post_send(&a, gid_b);
	serve(&a);
	expect_send_done(&a, IBV_WC_SUCCESS);
	ck_assert_ptr_null(poll_cq(&b));
	ck_assert_uint_eq(a.vm.counters.mads_dropped, 1);
	ck_assert_uint_eq(b.vm.counters.mads_dropped, 0);
}
END_TEST

START_TEST(a_vm_reaches_itself)
{
	post_receive(&a, RECV_DATA_AT, MESSAGE);
	post_send(&a, gid_a);
	serve(&a);
	ck_assert_uint_eq(poll_cq(&a)->opcode, PVHCA_CQE_RECV);
	expect_send_done(&a, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(the_vlan_of_the_address_is_told)
{
	struct pvhca_cqe *cqe;

	gsi_gid_del(&b.vm, 0);
	gsi_gid_add(&b.vm, 0, gid_b, 77);
	post_receive(&b, RECV_DATA_AT, MESSAGE);
	post_send(&a, gid_b);
	serve(&a);
	cqe = poll_cq(&b);
	ck_assert_ptr_nonnull(cqe);
	ck_assert_uint_eq(cqe->flags & ~PVHCA_CQE_F_PHASE, PVHCA_CQE_F_GRH | PVHCA_CQE_F_VLAN);
	ck_assert_uint_eq(le32toh(cqe->inv_rkey), 77);
}
END_TEST

START_TEST(an_address_that_both_have_is_the_senders_own)
{
	static const uint8_t shared[16] = { 0xfe, 0x80, [15] = 1 };

	gsi_gid_del(&a.vm, 1);
	gsi_gid_del(&b.vm, 1);
	gsi_gid_add(&b.vm, 1, shared, PVHCA_NO_VLAN);
	gsi_gid_add(&a.vm, 1, shared, PVHCA_NO_VLAN);
	post_receive(&a, RECV_DATA_AT, MESSAGE);
	post_receive(&b, RECV_DATA_AT, MESSAGE);
	((struct pvhca_av *)(post_send(&a, shared) + 1))->sgid_index = 1;
	serve(&a);
	ck_assert_uint_eq(poll_cq(&a)->opcode, PVHCA_CQE_RECV);
	ck_assert_ptr_null(poll_cq(&b));
}
END_TEST

START_TEST(without_a_receive_it_is_lost_and_counted)
{
	post_send(&a, gid_b);
	serve(&a);
	expect_send_done(&a, IBV_WC_SUCCESS);
	ck_assert_uint_eq(b.vm.counters.mads_dropped, 1);
	ck_assert_ptr_null(poll_cq(&b));
}
END_TEST

START_TEST(other_addresses_are_left_to_the_hosts_cm)
{
	post_send(&a, gid_outside);
	serve(&a);
	expect_send_done(&a, IBV_WC_SUCCESS);
	ck_assert_uint_eq(outside, 1);
	ck_assert_uint_eq(a.vm.counters.mads_dropped, 0);
}
END_TEST

START_TEST(nothing_but_cm_between_gsi_qps_is_carried)
{
	struct pvhca_sq_wqe *wqe;

	post_receive(&b, RECV_DATA_AT, MESSAGE);
	mad_set(send_mad(&a), MAD_CLASS, 3); /* subnet administration */
	post_send(&a, gid_b);
	serve(&a);
	mad_set(send_mad(&a), MAD_CLASS, 7);
	wqe = post_send(&a, gid_b);
	wqe->remote_qpn = htole32(2);
	wqe = post_send(&a, gid_b);
	wqe->remote_qkey = htole32(1);
	((struct pvhca_av *)(post_send(&a, gid_b) + 1))->sgid_index = 7;
	((struct pvhca_av *)(post_send(&a, gid_b6) + 1))->sgid_index = 0;
	serve(&a);
	for (int i = 0; i < 5; i++)
		expect_send_done(&a, IBV_WC_SUCCESS);
	ck_assert_uint_eq(a.vm.counters.mads_dropped, 5);
	ck_assert_ptr_null(poll_cq(&b));
	ck_assert_uint_eq(outside, 0);
}
END_TEST

START_TEST(memory_that_is_not_the_guests_stops_its_sends_only)
{
	struct pvhca_sge *sge = wqe_sges(post_send(&a, gid_b));

	sge[1].addr = htole64(RAM - 8);
	post_send(&a, gid_b);
	serve(&a);
	expect_send_done(&a, IBV_WC_LOC_PROT_ERR);
	expect_send_done(&a, IBV_WC_WR_FLUSH_ERR);
	ck_assert_int_eq(a.qp.state, IBV_QPS_SQE);

	/* Receives go on, and sends after a change to RTS. */
	post_receive(&a, RECV_DATA_AT, MESSAGE);
	ck_assert(gsi_deliver(&a.vm, gid_b, gid_a, send_mad(&a)));
	ck_assert_int_eq(modify(&a, IBV_QPS_RTS), PVHCA_ST_OK);
	post_receive(&b, RECV_DATA_AT, MESSAGE);
	post_send(&a, gid_b);
	serve(&a);
	ck_assert_ptr_nonnull(poll_cq(&b));
}
END_TEST

START_TEST(other_keys_and_lengths_are_refused)
{
	struct pvhca_sge *sge = wqe_sges(post_send(&a, gid_b));

	sge[0].lkey = htole32(5);
	serve(&a);
	expect_send_done(&a, IBV_WC_LOC_PROT_ERR);
	modify(&a, IBV_QPS_RTS);
	sge = wqe_sges(post_send(&a, gid_b));
	sge[1].length = htole32(233);
	serve(&a);
	expect_send_done(&a, IBV_WC_LOC_LEN_ERR);
	modify(&a, IBV_QPS_RTS);
	post_send(&a, gid_b)->flags = PVHCA_WQE_F_SIGNALED;
	serve(&a);
	expect_send_done(&a, IBV_WC_LOC_QP_OP_ERR);
}
END_TEST

START_TEST(a_receive_that_is_too_short_fails_its_owner)
{
	struct pvhca_cqe *cqe;

	post_receive(&b, RECV_DATA_AT, MESSAGE - 1);
	post_receive(&b, RECV_DATA_AT, MESSAGE);
	post_send(&a, gid_b);
	post_send(&a, gid_b);
	serve(&a);
	expect_send_done(&a, IBV_WC_SUCCESS);
	expect_send_done(&a, IBV_WC_SUCCESS);
	cqe = poll_cq(&b);
	ck_assert_uint_eq(cqe->status, IBV_WC_LOC_LEN_ERR);
	ck_assert_ptr_null(poll_cq(&b));
	ck_assert(b.context.again_summary);
	serve(&b);
	ck_assert_int_eq(b.qp.state, IBV_QPS_ERR);
	ck_assert_uint_eq(poll_cq(&b)->status, IBV_WC_WR_FLUSH_ERR);

	/* And after RESET all is well again. */
	ck_assert_int_eq(modify(&b, IBV_QPS_RESET), PVHCA_ST_OK);
	b.header->rq_pi = 0;
	modify(&b, IBV_QPS_INIT);
	modify(&b, IBV_QPS_RTR);
	post_receive(&b, RECV_DATA_AT, MESSAGE);
	post_send(&a, gid_b);
	serve(&a);
	ck_assert_uint_eq(poll_cq(&b)->status, IBV_WC_SUCCESS);
}
END_TEST

START_TEST(data_may_cross_regions)
{
	const uint64_t at = RAM / 2 - 100;

	post_receive(&b, at, MESSAGE);
	post_send(&a, gid_b);
	serve(&a);
	ck_assert_uint_eq(poll_cq(&b)->status, IBV_WC_SUCCESS);
	ck_assert(!memcmp(b.ram + at + 40, a.ram + SEND_DATA_AT, 256));
}
END_TEST

START_TEST(more_than_the_queue_holds_is_a_fault_of_the_guest)
{
	a.header->sq_pi = htole32(9);
	serve(&a);
	ck_assert_uint_eq(faults, 1);
	serve(&a);
	ck_assert_uint_eq(faults, 1);
	b.header->rq_pi = htole32(9);
	ck_assert(!gsi_deliver(&b.vm, gid_a, gid_b, send_mad(&a)));
	ck_assert_uint_eq(faults, 2);
}
END_TEST

START_TEST(there_is_one_per_vm_and_only_the_drivers)
{
	struct qp other = a.qp;

	ck_assert_int_eq(gsi_qp_ops.create(&other), PVHCA_ST_BUSY);
	gsi_qp_ops.hide(&a.qp);
	gsi_qp_ops.destroy(&a.qp);
	a.context.kernel = false;
	ck_assert_int_eq(gsi_qp_ops.create(&a.qp), PVHCA_ST_INVALID);
	a.context.kernel = true;
	a.qp.state = IBV_QPS_RESET;
	vm_up(&a);
}
END_TEST

START_TEST(who_has_gone_gets_nothing)
{
	gsi_qp_ops.hide(&b.qp);
	gsi_qp_ops.destroy(&b.qp);
	post_send(&a, gid_b);
	serve(&a);
	expect_send_done(&a, IBV_WC_SUCCESS);
	ck_assert_uint_eq(b.vm.counters.mads_dropped, 1);
	gsi_gid_del(&b.vm, 0);
	ck_assert(!gsi_deliver(&b.vm, gid_a, gid_b, send_mad(&a)));
}
END_TEST

static void *serve_a(void *arg)
{
	(void)arg;
	serve(&a);
	return NULL;
}

/* Its receive queue is held, as while its memory is slow; an end by time is the failure. */
START_TEST(who_waits_for_one_vm_is_in_the_way_of_no_other)
{
	pthread_t worker;
	struct guest c;

	vm_open(&c);
	vm_up(&c);
	pthread_mutex_lock(&b.qp.rq_lock);
	post_send(&a, gid_b);
	ck_assert(!pthread_create(&worker, NULL, serve_a, NULL));
	/* It counts the message just before it waits. */
	while (!atomic_load_explicit(&a.vm.counters.mads_sent, memory_order_relaxed))
		sched_yield();
	usleep(1000);
	ck_assert_int_eq(gsi_gid_add(&c.vm, 0, gid_outside, PVHCA_NO_VLAN), PVHCA_ST_OK);
	post_receive(&c, RECV_DATA_AT, MESSAGE);
	ck_assert(gsi_deliver(&c.vm, gid_a, gid_outside, send_mad(&a)));
	pthread_mutex_unlock(&b.qp.rq_lock);
	pthread_join(worker, NULL);
	vm_close(&c);
}
END_TEST

START_TEST(states_follow_the_verbs)
{
	struct qp_attr attr = { .qp_state = IBV_QPS_RTS };

	ck_assert_int_eq(modify(&a, IBV_QPS_INIT), PVHCA_ST_INVALID);
	ck_assert_int_eq(modify(&a, IBV_QPS_SQD), PVHCA_ST_INVALID);
	ck_assert_int_eq(gsi_qp_ops.modify(&a.qp, IBV_QP_AV, &attr), PVHCA_ST_INVALID);
	ck_assert_int_eq(modify(&a, IBV_QPS_ERR), PVHCA_ST_OK);
	post_send(&a, gid_b);
	post_receive(&a, RECV_DATA_AT, MESSAGE);
	serve(&a);
	expect_send_done(&a, IBV_WC_WR_FLUSH_ERR);
	ck_assert_uint_eq(poll_cq(&a)->status, IBV_WC_WR_FLUSH_ERR);
	attr.pkey_index = 0;
	ck_assert_int_eq(gsi_qp_ops.query(&a.qp, 0, &attr), PVHCA_ST_OK);
	ck_assert_uint_eq(attr.qp_state, IBV_QPS_ERR);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("gsi");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_datagram_reaches_the_vm_that_has_the_address);
	tcase_add_test(tc, the_header_is_ipv6_between_ipv6_addresses);
	tcase_add_test(tc, a_datagram_stays_in_its_network);
	tcase_add_test(tc, a_vm_reaches_itself);
	tcase_add_test(tc, the_vlan_of_the_address_is_told);
	tcase_add_test(tc, an_address_that_both_have_is_the_senders_own);
	tcase_add_test(tc, without_a_receive_it_is_lost_and_counted);
	tcase_add_test(tc, other_addresses_are_left_to_the_hosts_cm);
	tcase_add_test(tc, nothing_but_cm_between_gsi_qps_is_carried);
	tcase_add_test(tc, memory_that_is_not_the_guests_stops_its_sends_only);
	tcase_add_test(tc, other_keys_and_lengths_are_refused);
	tcase_add_test(tc, a_receive_that_is_too_short_fails_its_owner);
	tcase_add_test(tc, data_may_cross_regions);
	tcase_add_test(tc, more_than_the_queue_holds_is_a_fault_of_the_guest);
	tcase_add_test(tc, there_is_one_per_vm_and_only_the_drivers);
	tcase_add_test(tc, who_has_gone_gets_nothing);
	tcase_add_test(tc, who_waits_for_one_vm_is_in_the_way_of_no_other);
	tcase_add_test(tc, states_follow_the_verbs);
	return suite_run("gsi", tc);
}
