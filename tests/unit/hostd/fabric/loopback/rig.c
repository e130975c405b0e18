// SPDX-License-Identifier: GPL-2.0-or-later
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "lib/grace.h"
#include "vm/cq.h"
#include "vm/events.h"
#include "fabric/loopback/rig.h"
#include "vm/pass.h"
#include "worker/worker.h"
#include "vm/cq_blocked.h"

struct rig rig;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* events, blocked */

/* -------------------------- stubs of other parts --------------------------- */

void worker_wake(struct worker *worker)
{
	ck_assert_ptr_nonnull(worker);
	rig.wakes++;
}

void pass_add_cq(struct pass *pass, struct cq *cq)
{
	(void)pass;
	cq_notify(NULL, cq);
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
	unsigned int i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < rig.num_blocked; i++)
		if (rig.blocked[i] == cq)
			break;
	ck_assert_uint_lt(i, RIG_BLOCKED);
	rig.blocked[i] = cq;
	if (i == rig.num_blocked)
		rig.num_blocked++;
	pthread_mutex_unlock(&lock);
}

void events_async(struct vm *vm, uint32_t event, uint32_t object)
{
	pthread_mutex_lock(&lock);
	ck_assert_uint_lt(rig.num_events, RIG_EVENTS);
	rig.events[rig.num_events++] = (struct rig_event){ vm, event, object };
	pthread_mutex_unlock(&lock);
}

bool events_completion(struct ceq *ceq, uint32_t cq_handle)
{
	(void)ceq;
	(void)cq_handle;
	rig.completion_events++;
	return true;
}

void extents_get(struct extents *extents)
{
	(void)extents;
}

/* Memory of rings, with a reference of rig_ring_free(), outlives them, as that of regions does. */
void extents_put(struct extents *extents)
{
	uint32_t i;

	for (i = 0; i < extents->count && !extents->refs; i++)
		free(extents->extent[i].host);
	free(extents);
}

const struct extent *extents_find(const struct extents *extents, uint64_t at)
{
	uint32_t i;

	for (i = 0; i < extents->count; i++)
		if (at - extents->extent[i].start < extents->extent[i].len)
			return &extents->extent[i];
	ck_abort_msg("byte %llu is not in the extents", (unsigned long long)at);
	return NULL;
}

void extents_touch(const struct extents *extents)
{
	ck_assert_ptr_nonnull(extents);
	rig.touched += extents->length;
}

/* --------------------------------- guests ---------------------------------- */

static struct rig_vm *vm_new(uint8_t id)
{
	struct rig_vm *vm = calloc(1, sizeof(*vm));
	struct vm_gid *gid = &vm->vm.gids[0];

	vm->vm.id = id;
	vm->vm.mac[5] = id;
	vm->vm.ops = &fabric_loopback;
	vm->vm.fabric = rig.fabric;
	vm->vm.worker = (struct worker *)vm; /* never looked into */
	vm->context.vm = &vm->vm;
	vm->context.page = &vm->page;
	vm->context.slots[0] = &vm->group;
	vm->pd.vm = &vm->vm;
	vm->pd.context = &vm->context;
	table_init_rcu(&vm->vm.ahs, NULL, 100);
	table_init_rcu(&vm->vm.mrs, NULL, 100);
	table_init_rcu(&vm->vm.mws, NULL, 100);
	ck_assert_int_eq(fabric_loopback.vm_open(rig.fabric, &vm->vm), 0);

	memcpy(gid->gid, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0", 15);
	gid->gid[15] = id;
	gid->used = true;
	ck_assert_int_eq(fabric_loopback.gid_add(&vm->vm, 0, gid->gid, PVHCA_NO_VLAN), 0);
	return vm;
}

void rig_gid_del(struct rig_vm *vm, uint32_t index, const uint8_t gid[16])
{
	fabric_loopback.gid_hide(&vm->vm, index, gid);
	grace_wait();
	fabric_loopback.gid_del(&vm->vm, index, gid);
}

static void vm_free(struct rig_vm *vm)
{
	if (vm->vm.gids[0].used)
		rig_gid_del(vm, 0, vm->vm.gids[0].gid);
	fabric_loopback.vm_close(&vm->vm);
	table_fini(&vm->vm.ahs);
	table_fini(&vm->vm.mrs);
	table_fini(&vm->vm.mws);
	free(vm);
}

void rig_setup(void)
{
	memset(&rig, 0, sizeof(rig));
	rig.now = 1000000000;
	rig.fabric = fabric_loopback.start();
	ck_assert_ptr_nonnull(rig.fabric);
	rig.a = vm_new(1);
	rig.b = vm_new(2);
}

void rig_teardown(void)
{
	vm_free(rig.a);
	vm_free(rig.b);
	fabric_loopback.stop(rig.fabric);
}

/* --------------------------------- memory ---------------------------------- */

static struct extents *extents_new(unsigned int runs, uint64_t run_len)
{
	struct extents *extents;
	unsigned int i;

	extents = calloc(1, sizeof(*extents) + runs * sizeof(extents->extent[0]));
	extents->count = runs;
	extents->length = runs * run_len;
	for (i = 0; i < runs; i++) {
		extents->extent[i].host = aligned_alloc(PVHCA_GRANULE, run_len);
		memset(extents->extent[i].host, 0, run_len);
		extents->extent[i].start = i * run_len;
		extents->extent[i].len = run_len;
	}
	return extents;
}

static struct ring_buffer *rig_ring(uint64_t bytes)
{
	struct extents *extents = extents_new(1, bytes);

	extents->refs = 1;
	return ring_buffer_new(NULL, extents);
}

static void rig_ring_free(struct ring_buffer *buffer)
{
	free(buffer->granule[0]);
	ring_buffer_free(buffer);
}

struct mr *rig_mr(struct rig_vm *vm, uint64_t iova, unsigned int runs, uint64_t run_len,
		  uint32_t access)
{
	struct mr *mr = calloc(1, sizeof(*mr));

	mr->vm = &vm->vm;
	mr->pd = &vm->pd;
	mr->access = access;
	mr->iova = iova;
	mr->extents = extents_new(runs, run_len);
	mr->offset = iova % PVHCA_GRANULE;
	mr->length = runs * run_len - mr->offset;
	ck_assert_int_eq(fabric_loopback.mr_reg(mr), 0);
	return mr;
}

void rig_mr_publish(struct mr *mr)
{
	ck_assert_int_eq(table_add(&mr->vm->mrs, mr, &mr->handle), 0);
	table_publish(&mr->vm->mrs, mr->handle);
}

struct mw *rig_mw(struct rig_vm *vm, enum ibv_mw_type type)
{
	struct mw *mw = calloc(1, sizeof(*mw));

	mw->vm = &vm->vm;
	mw->pd = &vm->pd;
	mw->type = type;
	ck_assert_int_eq(fabric_loopback.mw_alloc(mw), 0);
	ck_assert_int_eq(table_add(&vm->vm.mws, mw, &mw->handle), 0);
	table_publish(&vm->vm.mws, mw->handle);
	return mw;
}

void rig_mw_free(struct mw *mw)
{
	table_del(&mw->vm->mws, mw->handle);
	fabric_loopback.mw_hide(mw);
	grace_wait();
	fabric_loopback.mw_dealloc(mw);
	free(mw);
}

void rig_mr_free(struct mr *mr)
{
	if (mr->handle)
		table_del(&mr->vm->mrs, mr->handle);
	ck_assert_int_eq(fabric_loopback.mr_hide(mr), 0);
	grace_wait();
	ck_assert_int_eq(fabric_loopback.mr_dereg(mr), 0);
	if (mr->extents)
		extents_put(mr->extents);
	free(mr);
}

int rig_rereg(struct mr *mr, uint32_t flags, struct mr *next)
{
	int status = fabric_loopback.mr_hide(mr);

	if (status)
		return status;
	grace_wait();
	return fabric_loopback.mr_rereg(mr, flags, next);
}

uint8_t *rig_byte(const struct mr *mr, uint64_t addr)
{
	uint64_t at = mr->offset + (addr - mr->iova);
	const struct extent *extent = extents_find(mr->extents, at);

	return extent->host + (at - extent->start);
}

static uint8_t pattern(uint64_t i, uint32_t seed)
{
	return (i * 2654435761u >> 7) + seed;
}

void rig_fill(const struct mr *mr, uint64_t addr, uint64_t len, uint32_t seed)
{
	uint64_t i;

	for (i = 0; i < len; i++)
		*rig_byte(mr, addr + i) = pattern(i, seed);
}

bool rig_is_filled(const struct mr *mr, uint64_t addr, uint64_t len, uint32_t seed)
{
	uint64_t i;

	for (i = 0; i < len; i++)
		if (*rig_byte(mr, addr + i) != pattern(i, seed))
			return false;
	return true;
}

/* ---------------------------------- QPs ------------------------------------ */

static struct cq *cq_new(struct rig_vm *vm, uint32_t reserve)
{
	static struct ceq ceq;
	struct cq *cq = calloc(1, sizeof(*cq));

	cq->ceq = &ceq;
	cq->vm = &vm->vm;
	cq->context = &vm->context;
	cq->log_entries = RIG_LOG_CQ;
	cq->buffer = rig_ring(PVHCA_GRANULE);
	ck_assert_int_eq(cq_init(cq), 0);
	ck_assert_int_eq(cq_reserve(cq, reserve), 0);
	return cq;
}

static void cq_free(struct cq *cq)
{
	cq_fini(cq);
	rig_ring_free(cq->buffer);
	free(cq);
}

struct ah *rig_ah(struct rig_vm *vm, const uint8_t dgid[16])
{
	struct ah *ah = calloc(1, sizeof(*ah));

	ah->vm = &vm->vm;
	ah->pd = &vm->pd;
	ah->av = (struct av){
		.flow_label = 0x12345,
		.traffic_class = 0x28,
		.hop_limit = 3,
		.sl = 2,
		.port = 1,
		.is_global = 1,
	};
	memcpy(ah->av.dgid, dgid, sizeof(ah->av.dgid));
	ck_assert_int_eq(fabric_loopback.ah_create(ah), 0);
	ck_assert_int_eq(table_add(&vm->vm.ahs, ah, &ah->handle), 0);
	table_publish(&vm->vm.ahs, ah->handle);
	return ah;
}

void rig_ah_free(struct ah *ah)
{
	table_del(&ah->vm->ahs, ah->handle);
	fabric_loopback.ah_destroy(ah);
	free(ah);
}

struct srq *rig_srq(struct rig_vm *vm)
{
	struct srq *srq = calloc(1, sizeof(*srq));
	struct pvhca_queue_header *header;

	srq->vm = &vm->vm;
	srq->context = &vm->context;
	srq->pd = &vm->pd;
	srq->slot = vm->slots++;
	srq->handle = 100 * vm->vm.id + srq->slot;
	srq->max_wr = 1 << RIG_LOG_RQ;
	srq->max_sge = RIG_SGES;
	srq->buffer = rig_ring(PVHCA_GRANULE + (1024 << RIG_LOG_RQ));
	header = ring_buffer_at(srq->buffer, 0);
	pthread_mutex_init(&srq->lock, NULL);
	ck_assert_int_eq(work_queue_init(&srq->rq, srq->buffer, &header->rq_pi, PVHCA_GRANULE,
					 RIG_LOG_RQ, 10, PVHCA_RQ_MIN_LOG_STRIDE, PVHCA_RQ_WQE_DATA,
					 RIG_SGES),
			 0);
	ck_assert_int_eq(fabric_loopback.srq_create(srq), 0);
	context_set_srq(&vm->context, srq->slot, srq);
	return srq;
}

void rig_srq_free(struct srq *srq)
{
	context_set_srq(srq->context, srq->slot, NULL);
	fabric_loopback.srq_destroy(srq);
	rig_ring_free(srq->buffer);
	pthread_mutex_destroy(&srq->lock);
	free(srq);
}

struct pvhca_sge rig_sge(const struct mr *mr, uint64_t addr, uint32_t len)
{
	return (struct pvhca_sge){ htole64(addr), htole32(len), htole32(mr->lkey) };
}

struct qp *rig_qp(struct rig_vm *vm)
{
	return rig_qp_of(vm, PVHCA_QPT_RC, NULL);
}

struct qp *rig_qp_of(struct rig_vm *vm, enum pvhca_qp_type type, struct srq *srq)
{
	const uint32_t sq_offset = PVHCA_GRANULE;
	const uint32_t rq_offset = sq_offset + (PVHCA_GRANULE << RIG_LOG_SQ);
	struct qp *qp = calloc(1, sizeof(*qp));
	struct pvhca_queue_header *header;

	qp->vm = &vm->vm;
	qp->context = &vm->context;
	qp->pd = &vm->pd;
	qp->type = type;
	qp->srq = srq;
	qp->flags = srq ? PVHCA_CREATE_QP_SRQ : 0;
	qp->slot = vm->slots++;
	qp->handle = 100 * vm->vm.id + qp->slot;
	qp->cap.max_send_sge = RIG_SGES;
	qp->cap.max_recv_sge = RIG_SGES;
	qp->send_cq = cq_new(vm, 1 << RIG_LOG_SQ);
	qp->recv_cq = cq_new(vm, 1 << RIG_LOG_RQ);
	qp->buffer = rig_ring(rq_offset + (1024 << RIG_LOG_RQ));
	header = ring_buffer_at(qp->buffer, 0);
	pthread_mutex_init(&qp->lock, NULL);
	pthread_mutex_init(&qp->rq_lock, NULL);
	ck_assert_int_eq(work_queue_init(&qp->sq, qp->buffer, &header->sq_pi, sq_offset, RIG_LOG_SQ,
					 12, PVHCA_SQ_MIN_LOG_STRIDE, PVHCA_SQ_WQE_DATA, RIG_SGES),
			 0);
	if (!srq)
		ck_assert_int_eq(work_queue_init(&qp->rq, qp->buffer, &header->rq_pi, rq_offset,
						 RIG_LOG_RQ, 10, PVHCA_RQ_MIN_LOG_STRIDE,
						 PVHCA_RQ_WQE_DATA, RIG_SGES),
				 0);
	ck_assert_int_eq(fabric_loopback.qp->create(qp), 0);
	context_set_qp(&vm->context, qp->slot, qp);
	return qp;
}

void rig_qp_free(struct qp *qp)
{
	context_set_qp(qp->context, qp->slot, NULL);
	fabric_loopback.qp->hide(qp);
	grace_wait();
	fabric_loopback.qp->destroy(qp);
	rig_ring_free(qp->buffer);
	cq_free(qp->send_cq);
	cq_free(qp->recv_cq);
	pthread_mutex_destroy(&qp->lock);
	pthread_mutex_destroy(&qp->rq_lock);
	free(qp);
}

struct qp_attr rig_attr(const struct qp *qp, const struct qp *peer)
{
	struct qp_attr attr = {
		.path_mtu = IBV_MTU_1024,
		.qkey = RIG_QKEY,
		.dest_qp_num = peer->qpn,
		.qp_access_flags = htole32(IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
					   IBV_ACCESS_REMOTE_ATOMIC),
		.max_rd_atomic = 1,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.port_num = 1,
		.timeout = 14,
		.retry_cnt = 7,
		.rnr_retry = 7,
		.av = { .hop_limit = 64, .port = 1, .is_global = 1 },
	};

	(void)qp;
	memcpy(attr.av.dgid, peer->vm->gids[0].gid, sizeof(attr.av.dgid));
	return attr;
}

int rig_modify(struct qp *qp, uint32_t mask, struct qp_attr attr)
{
	int status;

	pthread_mutex_lock(&qp->lock);
	status = fabric_loopback.qp->modify(qp, mask, &attr);
	pthread_mutex_unlock(&qp->lock);
	return status;
}

int rig_to_init(struct qp *qp)
{
	struct qp_attr attr = rig_attr(qp, qp);

	attr.qp_state = IBV_QPS_INIT;
	return rig_modify(qp,
			  IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
				  (qp->type == PVHCA_QPT_UD ? IBV_QP_QKEY : IBV_QP_ACCESS_FLAGS),
			  attr);
}

int rig_to_rtr(struct qp *qp, const struct qp *peer)
{
	struct qp_attr attr = rig_attr(qp, peer);

	attr.qp_state = IBV_QPS_RTR;
	if (qp->type == PVHCA_QPT_UD)
		return rig_modify(qp, IBV_QP_STATE, attr);
	if (qp->type == PVHCA_QPT_UC)
		return rig_modify(qp,
				  IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
					  IBV_QP_RQ_PSN,
				  attr);
	return rig_modify(qp,
			  IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				  IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
			  attr);
}

int rig_to_rts(struct qp *qp, const struct qp *peer)
{
	struct qp_attr attr = rig_attr(qp, peer);

	attr.qp_state = IBV_QPS_RTS;
	if (qp->type != PVHCA_QPT_RC)
		return rig_modify(qp, IBV_QP_STATE | IBV_QP_SQ_PSN, attr);
	return rig_modify(qp,
			  IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				  IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
			  attr);
}

void rig_connect(struct qp *a, struct qp *b)
{
	ck_assert_int_eq(rig_to_init(a), 0);
	if (a != b)
		ck_assert_int_eq(rig_to_init(b), 0);
	ck_assert_int_eq(rig_to_rtr(a, b), 0);
	if (a != b)
		ck_assert_int_eq(rig_to_rtr(b, a), 0);
	ck_assert_int_eq(rig_to_rts(a, b), 0);
	if (a != b)
		ck_assert_int_eq(rig_to_rts(b, a), 0);
	rig_pump();
}

/* ---------------------------------- rings ---------------------------------- */

static void *next_entry(struct work_queue *queue)
{
	return (void *)work_queue_entry(queue, atomic_load(queue->pi));
}

static void posted(struct context *context, uint32_t slot, struct work_queue *queue)
{
	atomic_fetch_add(queue->pi, 1);
	context_again(context, slot);
}

void rig_post_send(struct qp *qp, struct pvhca_sq_wqe wqe, const struct pvhca_sge *sge,
		   const void *inline_data)
{
	uint8_t *entry = next_entry(&qp->sq);

	if (sge)
		memcpy(entry + PVHCA_SQ_WQE_DATA, sge, le16toh(wqe.num_sge) * sizeof(*sge));
	if (inline_data)
		memcpy(entry + PVHCA_SQ_WQE_DATA, inline_data, le32toh(wqe.inline_len));
	memcpy(entry, &wqe, sizeof(wqe));
	posted(qp->context, qp->slot, &qp->sq);
}

void rig_post_segment(struct qp *qp, struct pvhca_sq_wqe wqe, const void *segment, size_t len)
{
	uint8_t *entry = next_entry(&qp->sq);

	memcpy(entry, &wqe, sizeof(wqe));
	memcpy(entry + PVHCA_SQ_WQE_DATA, segment, len);
	posted(qp->context, qp->slot, &qp->sq);
}

void rig_post_atomic(struct qp *qp, struct pvhca_sq_wqe wqe, struct pvhca_atomic_seg seg,
		     struct pvhca_sge sge)
{
	uint8_t *entry = next_entry(&qp->sq);

	wqe.num_sge = htole16(1);
	memcpy(entry, &wqe, sizeof(wqe));
	memcpy(entry + PVHCA_SQ_WQE_DATA, &seg, sizeof(seg));
	memcpy(entry + PVHCA_SQ_WQE_DATA + sizeof(seg), &sge, sizeof(sge));
	posted(qp->context, qp->slot, &qp->sq);
}

static void write_recv(struct work_queue *queue, uint16_t tag, const struct pvhca_sge *sge,
		       unsigned int num_sge)
{
	struct pvhca_rq_wqe wqe = {
		.num_sge = htole16(num_sge),
		.tag = htole16(tag),
	};
	uint8_t *entry = next_entry(queue);

	memcpy(entry, &wqe, sizeof(wqe));
	if (num_sge)
		memcpy(entry + PVHCA_RQ_WQE_DATA, sge, num_sge * sizeof(*sge));
}

void rig_post_recv(struct qp *qp, const struct pvhca_sge *sge, unsigned int num_sge)
{
	write_recv(&qp->rq, work_queue_index(&qp->rq, atomic_load(qp->rq.pi)), sge, num_sge);
	posted(qp->context, qp->slot, &qp->rq);
}

void rig_post_srq(struct srq *srq, uint16_t tag, const struct pvhca_sge *sge, unsigned int num_sge)
{
	write_recv(&srq->rq, tag, sge, num_sge);
	posted(srq->context, srq->slot, &srq->rq);
}

static void serve_slot(struct rig_vm *vm, unsigned int slot)
{
	struct srq *srq = context_srq(&vm->context, slot);
	struct qp *qp = context_qp(&vm->context, slot);
	struct pass pass = { .worker = vm->vm.worker, .now = rig.now };

	pass_begin_turn(&pass, rig.turn_ns ? rig.turn_ns : PASS_UNLIMITED, rig.now);
	pass.limited = rig.rate_messages || rig.rate_bytes;
	if (rig.rate_messages)
		pass.rate_messages = rig.rate_messages;
	if (rig.rate_bytes)
		pass.rate_bytes = rig.rate_bytes;
	if (srq) {
		pthread_mutex_lock(&srq->lock);
		fabric_loopback.srq_serve(&pass, srq);
		pthread_mutex_unlock(&srq->lock);
	}
	if (!qp)
		return;
	pthread_mutex_lock(&qp->lock);
	fabric_loopback.qp->serve(&pass, qp);
	pthread_mutex_unlock(&qp->lock);
	rig.serves++;
	if (rig.turn_ns || rig.rate_bytes || rig.rate_messages)
		rig.turn = pass;
}

bool rig_serve(struct rig_vm *vm)
{
	uint64_t bits;
	bool any;

	atomic_store(&vm->context.again_summary, 0);
	bits = atomic_exchange(&vm->context.again[0], 0);
	any = bits;
	for (; bits; bits &= bits - 1)
		serve_slot(vm, __builtin_ctzll(bits));
	return any;
}

bool rig_pump_once(void)
{
	bool any = rig_serve(rig.a);

	return rig_serve(rig.b) || any;
}

void rig_pump(void)
{
	struct pass pass = { .now = rig.now };
	unsigned int i, n = 0;

	while (rig_pump_once())
		ck_assert_uint_lt(n++, 100000);
	pass_begin_turn(&pass, PASS_UNLIMITED, 0);
	for (i = 0; i < rig.num_blocked; i++)
		if (cq_retry(&pass, rig.blocked[i]))
			rig.blocked[i--] = rig.blocked[--rig.num_blocked];
}

static uint64_t deadline_of(struct rig_vm *vm)
{
	uint64_t bits = atomic_load(&vm->context.timed[0]);
	uint64_t deadline = UINT64_MAX;
	struct qp *qp;

	for (; bits; bits &= bits - 1) {
		qp = context_qp(&vm->context, __builtin_ctzll(bits));
		if (qp && qp->deadline_ns < deadline)
			deadline = qp->deadline_ns;
	}
	return deadline;
}

bool rig_is_waiting(void)
{
	return deadline_of(rig.a) != UINT64_MAX || deadline_of(rig.b) != UINT64_MAX;
}

void rig_expire(struct rig_vm *vm)
{
	uint64_t bits = atomic_exchange(&vm->context.timed[0], 0);
	unsigned int slot;

	for (; bits; bits &= bits - 1) {
		slot = __builtin_ctzll(bits);
		if (!context_qp(&vm->context, slot))
			continue;
		if (context_qp(&vm->context, slot)->deadline_ns <= rig.now)
			context_again(&vm->context, slot);
		else
			context_timed(&vm->context, slot,
				      context_qp(&vm->context, slot)->deadline_ns);
	}
}

void rig_pump_timers(unsigned int times)
{
	uint64_t deadline;

	rig_pump();
	while (times-- && rig_is_waiting()) {
		deadline = deadline_of(rig.a);
		if (deadline_of(rig.b) < deadline)
			deadline = deadline_of(rig.b);
		if (deadline > rig.now)
			rig.now = deadline;
		rig_expire(rig.a);
		rig_expire(rig.b);
		rig_pump();
	}
}

bool rig_poll(struct cq *cq, struct pvhca_cqe *cqe)
{
	_Atomic uint32_t *shared_ci = (_Atomic uint32_t *)&cq->header->ci;
	uint32_t ci = le32toh(atomic_load(shared_ci)), last;
	uint8_t phase = ci >> cq->log_entries & 1 ? 0 : PVHCA_CQE_F_PHASE;
	struct pvhca_cqe *entry;

	entry = ring_buffer_at(cq->buffer,
			       PVHCA_CQ_HEADER_SIZE +
				       (ci & ((1u << cq->log_entries) - 1)) * sizeof(*entry));
	last = atomic_load((_Atomic uint32_t *)&entry->opcode);
	memcpy(&cqe->opcode, &last, sizeof(last));
	if ((cqe->flags & PVHCA_CQE_F_PHASE) != phase)
		return false;
	memcpy(cqe, entry, offsetof(struct pvhca_cqe, opcode));
	cqe->flags &= ~PVHCA_CQE_F_PHASE;
	atomic_store(shared_ci, htole32(ci + 1));
	return true;
}

struct pvhca_cqe rig_expect(struct cq *cq, enum ibv_wc_status status)
{
	struct pvhca_cqe cqe;

	ck_assert_msg(rig_poll(cq, &cqe), "no completion, expected status %d", status);
	ck_assert_int_eq(cqe.status, status);
	return cqe;
}

void rig_expect_none(struct cq *cq)
{
	struct pvhca_cqe cqe;

	ck_assert_msg(!rig_poll(cq, &cqe), "status %d", cqe.status);
}

unsigned int rig_count_events(const struct vm *vm, uint32_t object, uint32_t event)
{
	unsigned int i, count = 0;

	for (i = 0; i < rig.num_events; i++)
		count += rig.events[i].vm == vm && rig.events[i].object == object &&
			rig.events[i].event == event;
	return count;
}

void rig_forget_events(void)
{
	pthread_mutex_lock(&lock);
	rig.num_events = 0;
	pthread_mutex_unlock(&lock);
}

bool rig_had_event(const struct qp *qp, uint32_t event)
{
	return rig_count_events(qp->vm, qp->handle, event);
}
