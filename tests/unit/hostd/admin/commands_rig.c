// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "admin/commands_rig.h"
#include "lib/heap.h"
#include "memory/memory.h"
#include "vm/policy.h"
#include "worker/worker.h"
#include "vm/pass.h"
#include "vm/cq_blocked.h"

struct rig rig;

/* ---------------------------------- stubs ---------------------------------- */

void vm_guest_fault(struct vm *vm, const char *format, ...)
{
	(void)vm;
	(void)format;
	rig.faults++;
}

bool vm_failing(const struct vm *vm)
{
	(void)vm;
	return rig.faults;
}

void vm_retry_soon(struct vm *vm)
{
	(void)vm;
	rig.retries++;
}

int worker_add_context(struct context *context)
{
	(void)context;
	if (!rig.fail_in--)
		return -1;
	rig.contexts++;
	return 0;
}

void worker_del_context(struct context *context)
{
	(void)context;
	rig.contexts--;
}

void worker_leave(struct vm *vm)
{
	(void)vm;
	rig.left++;
}

void worker_wake(struct worker *worker)
{
	(void)worker;
	rig.wakes++;
	rig.told = rig.vm.counters.interrupts;
}

void worker_settle(struct context *context)
{
	(void)context;
}

void cq_blocked_del(struct cq *cq)
{
	(void)cq;
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

void cq_blocked_add(struct cq *cq)
{
	(void)cq;
}

/* ---------------------------------- fabric --------------------------------- */

static int rig_make(void)
{
	rig.calls++;
	if (!rig.fail_in--)
		return PVHCA_ST_IO;
	rig.objects++;
	return PVHCA_ST_OK;
}

static int rig_query_device(struct vm *vm, struct device_limits *limits)
{
	(void)vm;
	limits->max_qp = 1000000;
	limits->max_cqe = 1 << 20;
	limits->max_srq = 1000;
	limits->max_mr = 5;
	limits->max_mr_size = UINT64_MAX;
	limits->gid_tbl_len = 1024;
	return PVHCA_ST_OK;
}

static int rig_query_port(struct vm *vm, struct port_attr *port)
{
	(void)vm;
	port->gid_tbl_len = 1024;
	return PVHCA_ST_OK;
}

static int rig_gid_add(struct vm *vm, uint32_t index, const uint8_t gid[16], uint16_t vlan)
{
	(void)vm;
	(void)vlan;
	rig.gid_index = index;
	rig.gid_last = gid[15];
	return rig_make();
}

static void rig_gid_del(struct vm *vm, uint32_t index, const uint8_t gid[16])
{
	(void)vm;
	(void)index;
	(void)gid;
	rig.objects--;
}

static int rig_pd_alloc(struct pd *pd)
{
	(void)pd;
	return rig_make();
}

static void rig_pd_free(struct pd *pd)
{
	ck_assert_uint_eq(pd->users, 0);
	rig.objects--;
}

static int rig_mr_reg(struct mr *mr)
{
	mr->lkey = 11;
	mr->rkey = 22;
	return rig_make();
}

static int rig_mr_dereg(struct mr *mr)
{
	ck_assert(mr->extents || mr->max_pages);
	ck_assert_ptr_null(table_find_rcu(&rig.vm.mrs, mr->handle));
	if (rig.bound)
		return PVHCA_ST_BUSY;
	rig.objects--;
	return PVHCA_ST_OK;
}

/* As a fabric does that makes the new region before it gives up the old one. */
static int rig_mr_rereg(struct mr *mr, uint32_t flags, struct mr *next)
{
	ck_assert_ptr_null(table_find_rcu(&rig.vm.mrs, mr->handle));
	ck_assert_uint_ne(flags, 0);
	if (!rig.fail_in--)
		return PVHCA_ST_IO;
	next->lkey = mr->lkey + 1;
	next->rkey = mr->rkey + 1;
	return PVHCA_ST_OK;
}

static int rig_mr_alloc(struct mr *mr)
{
	mr->lkey = mr->rkey = 33;
	return rig_make();
}

static int rig_mw_alloc(struct mw *mw)
{
	mw->rkey = 44;
	return rig_make();
}

static void rig_mw_dealloc(struct mw *mw)
{
	ck_assert_ptr_null(table_find_rcu(&rig.vm.mws, mw->handle));
	rig.objects--;
}

static int rig_ah_create(struct ah *ah)
{
	ck_assert_ptr_null(table_find_rcu(&rig.vm.ahs, ah->handle));
	return rig_make();
}

static void rig_ah_destroy(struct ah *ah)
{
	ck_assert_ptr_null(table_find_rcu(&rig.vm.ahs, ah->handle));
	rig.objects--;
}

static int rig_mcast(struct qp *qp, const uint8_t gid[16], uint16_t lid)
{
	(void)lid;
	ck_assert_uint_eq(qp->type, PVHCA_QPT_UD);
	ck_assert(gid[0] == 0xff || gid[12] == 230);
	rig.calls++;
	return PVHCA_ST_OK;
}

static int rig_srq_create(struct srq *srq)
{
	ck_assert_ptr_null(context_srq(srq->context, srq->slot));
	ck_assert_uint_ne(srq->rq.entries, 0);
	srq->srqn = 0x77;
	return rig_make();
}

static void rig_srq_destroy(struct srq *srq)
{
	ck_assert_ptr_null(context_srq(srq->context, srq->slot));
	ck_assert_uint_eq(srq->users, 0);
	rig.objects--;
}

static int rig_srq_set_limit(struct srq *srq, uint32_t limit)
{
	if (!rig.fail_in--)
		return PVHCA_ST_IO;
	srq->limit = limit;
	return PVHCA_ST_OK;
}

static int rig_srq_query(struct srq *srq, uint32_t *limit)
{
	*limit = srq->limit;
	return PVHCA_ST_OK;
}

static int rig_qp_create(struct qp *qp)
{
	/* Not yet to be found by the worker. */
	ck_assert_ptr_null(context_qp(qp->context, qp->slot));
	qp->qpn = 0x123;
	return rig_make();
}

static void rig_qp_destroy(struct qp *qp)
{
	ck_assert_ptr_null(context_qp(qp->context, qp->slot));
	rig.objects--;
}

static int rig_qp_modify(struct qp *qp, uint32_t mask, const struct qp_attr *attr)
{
	rig.attr = *attr;
	if (mask & IBV_QP_STATE)
		qp->state = attr->qp_state;
	return PVHCA_ST_OK;
}

static int rig_qp_query(struct qp *qp, uint32_t mask, struct qp_attr *attr)
{
	(void)mask;
	attr->qp_state = qp->state;
	return PVHCA_ST_OK;
}

static const struct qp_ops rig_qp_ops = {
	.create = rig_qp_create,
	.destroy = rig_qp_destroy,
	.modify = rig_qp_modify,
	.query = rig_qp_query,
};

struct fabric_ops rig_ops = {
	.name = "rig",
	.query_device = rig_query_device,
	.query_port = rig_query_port,
	.gid_add = rig_gid_add,
	.gid_del = rig_gid_del,
	.pd_alloc = rig_pd_alloc,
	.pd_free = rig_pd_free,
	.mr_reg = rig_mr_reg,
	.mr_dereg = rig_mr_dereg,
	.mr_rereg = rig_mr_rereg,
	.mr_alloc = rig_mr_alloc,
	.mw_alloc = rig_mw_alloc,
	.mw_dealloc = rig_mw_dealloc,
	.ah_create = rig_ah_create,
	.ah_destroy = rig_ah_destroy,
	.mcast_attach = rig_mcast,
	.mcast_detach = rig_mcast,
	.srq_create = rig_srq_create,
	.srq_destroy = rig_srq_destroy,
	.srq_set_limit = rig_srq_set_limit,
	.srq_query = rig_srq_query,
	.qp = &rig_qp_ops,
};

/* ----------------------------------- rig ----------------------------------- */

void rig_setup(void)
{
	struct vm *vm = &rig.vm;
	int fd = memfd_create("guest", MFD_CLOEXEC);

	memset(&rig, 0, sizeof(rig));
	rig.fail_in = -1;
	rig.policy.quota = (struct quota){
		.contexts = 3,
		.pds = 3,
		.mrs = 3,
		.cqs = 3,
		.qps = 3,
		.mws = 3,
		.ahs = 3,
		.srqs = 3,
		.max_wr = 64,
		.max_cqe = 64,
		.gids = 2,
		.pinned_bytes = 1 << 20,
	};
	memory_fault_init();
	ck_assert_int_eq(ftruncate(fd, RIG_RAM), 0);
	rig.ram = mmap(NULL, RIG_RAM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	vm->heap = heap_new();
	vm->memory = memory_new(vm->heap);
	ck_assert_int_eq(memory_add(vm->memory, 0, RIG_RAM, 0, RIG_K4, fd), 0);
	vm->ops = &rig_ops;
	rig.config.vms = g_hash_table_new(g_str_hash, g_str_equal);
	vm->config = &rig.config;
	vm->policy = &rig.policy;
	vm->num_vectors = 4;
	vm->num_doorbells = 2;
	vm->doorbell = 8;
	for (int i = 0; i < PVHCA_VECTORS_MAX; i++)
		vm->vector_fds[i] = -1;
	table_init(&vm->contexts, vm->heap, 3);
	table_init(&vm->pds, vm->heap, 3);
	table_init_rcu(&vm->mrs, vm->heap, 3);
	table_init_rcu(&vm->mws, vm->heap, 3);
	table_init_rcu(&vm->ahs, vm->heap, 3);
	table_init(&vm->srqs, vm->heap, 3);
	table_init(&vm->cqs, vm->heap, 3);
	table_init(&vm->qps, vm->heap, 3);
	table_init(&vm->ceqs, vm->heap, 8);
	strcpy(vm->name, "rig");
}

void rig_expect_nothing(void)
{
	struct vm *vm = &rig.vm;

	ck_assert_int_eq(rig.objects, 0);
	ck_assert_int_eq(rig.contexts, 0);
	ck_assert_uint_eq(vm->pinned_bytes, 0);
	ck_assert_uint_eq(table_used(&vm->contexts), 0);
	ck_assert_uint_eq(table_used(&vm->pds), 0);
	ck_assert_uint_eq(table_used(&vm->mrs), 0);
	ck_assert_uint_eq(table_used(&vm->mws), 0);
	ck_assert_uint_eq(table_used(&vm->ahs), 0);
	ck_assert_uint_eq(table_used(&vm->srqs), 0);
	ck_assert_uint_eq(table_used(&vm->cqs), 0);
	ck_assert_uint_eq(table_used(&vm->qps), 0);
	ck_assert_uint_eq(table_used(&vm->ceqs), 0);
}

void rig_teardown(void)
{
	struct vm *vm = &rig.vm;

	pthread_mutex_lock(&vm->lock);
	commands_destroy_all(vm);
	pthread_mutex_unlock(&vm->lock);
	rig_expect_nothing();
	table_fini(&vm->contexts);
	table_fini(&vm->pds);
	table_fini(&vm->mrs);
	table_fini(&vm->mws);
	table_fini(&vm->ahs);
	table_fini(&vm->srqs);
	table_fini(&vm->cqs);
	table_fini(&vm->qps);
	table_fini(&vm->ceqs);
	memory_free(vm->memory);
	/* All that was taken was given back. */
	ck_assert_uint_eq(heap_bytes(vm->heap), 0);
	heap_end(vm->heap);
	munmap(rig.ram, RIG_RAM);
}

uint64_t rig_alloc(uint64_t size)
{
	uint64_t at = rig.next;

	rig.next += (size + RIG_K4 - 1) & ~(RIG_K4 - 1);
	ck_assert_uint_le(rig.next, RIG_RAM);
	return at;
}

uint32_t rig_run(uint16_t opcode, const void *args, size_t size)
{
	struct pvhca_admin_cmd cmd = { .opcode = opcode };
	uint32_t status;

	ck_assert_uint_le(size, sizeof(cmd.raw));
	memcpy(cmd.raw, args, size);
	memset(&rig.rsp, 0, sizeof(rig.rsp));
	pthread_mutex_lock(&rig.vm.lock);
	status = commands_execute(&rig.vm, &cmd, &rig.rsp);
	pthread_mutex_unlock(&rig.vm.lock);
	return status;
}

uint32_t rig_destroy(uint16_t opcode, uint32_t handle)
{
	struct pvhca_handle args = { .handle = handle };

	return rig_run(opcode, &args, sizeof(args));
}

static struct pvhca_mem_list rig_list(uint64_t size)
{
	struct pvhca_mem_list list = { .num_extents = 1, .length = size };

	list.extents[0].addr = rig_alloc(size);
	list.extents[0].len = size;
	return list;
}

struct pvhca_cmd_create_ceq rig_ceq(void)
{
	return (struct pvhca_cmd_create_ceq){
		.addr = rig_alloc(RIG_K4),
		.log_entries = 4,
		.vector = 2,
	};
}

struct pvhca_cmd_alloc_context rig_context(void)
{
	return (struct pvhca_cmd_alloc_context){
		.page = rig_alloc(RIG_K4),
		.ring_abi_major = PVHCA_RING_ABI_MAJOR,
	};
}

struct pvhca_cmd_alloc_pd rig_pd(uint32_t context)
{
	return (struct pvhca_cmd_alloc_pd){ .context = context };
}

struct pvhca_cmd_reg_mr rig_mr(uint32_t pd)
{
	return (struct pvhca_cmd_reg_mr){
		.pd = pd,
		.access = IBV_ACCESS_LOCAL_WRITE,
		.length = RIG_K4,
		.mem = rig_list(RIG_K4),
	};
}

struct pvhca_cmd_create_cq rig_cq(uint32_t context, uint32_t ceq)
{
	return (struct pvhca_cmd_create_cq){
		.context = context,
		.ceq = ceq,
		.log_entries = 4,
		.mem = rig_list(RIG_K4),
	};
}

struct pvhca_cmd_create_qp rig_qp(uint32_t context, uint32_t pd, uint32_t cq)
{
	return (struct pvhca_cmd_create_qp){
		.context = context,
		.pd = pd,
		.send_cq = cq,
		.recv_cq = cq,
		.srq = PVHCA_NO_HANDLE,
		.type = PVHCA_QPT_RC,
		.cap = { 16, 16, 2, 1, 32 },
		.sq_offset = 4096,
		.rq_offset = 256,
		.sq_log_entries = 4,
		.sq_log_stride = 6,
		.rq_log_entries = 4,
		.rq_log_stride = 5,
		.mem = rig_list(2 * RIG_K4),
	};
}

struct rig_world rig_world(void)
{
	struct rig_world world;

	world.ceq = RIG_MAKE(PVHCA_CMD_CREATE_CEQ, rig_ceq());
	world.context = RIG_MAKE(PVHCA_CMD_ALLOC_CONTEXT, rig_context());
	world.pd = RIG_MAKE(PVHCA_CMD_ALLOC_PD, rig_pd(world.context));
	world.mr = RIG_MAKE(PVHCA_CMD_REG_MR, rig_mr(world.pd));
	world.cq = RIG_MAKE(PVHCA_CMD_CREATE_CQ, rig_cq(world.context, world.ceq));
	world.qp = RIG_MAKE(PVHCA_CMD_CREATE_QP, rig_qp(world.context, world.pd, world.cq));
	return world;
}
