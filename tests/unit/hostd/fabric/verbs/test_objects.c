// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * verbs_{srq,mw,ah,mcast,mr,cq}.c with a host device that is played here: what is
 * asked of it, what is undone, and whom a completion of an SRQ's receive is for.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>

#include "memory/stitches.h"
#include "vm/cq.h"
#include "suite.h"
#include "fabric/verbs/cm/cm.h"
#include "fabric/verbs/private.h"
#include "worker/worker.h"
#include "vm/events.h"
#include "memory/private.h"

/* ------------------------------- the host device --------------------------- */

static struct {
	int fail;    /* errno of what is made next */
	int keep_mr; /* deregistering fails */
	int objects;
	int cqs;
	int attached;
	int mapped;
	struct ibv_ah_attr ah;
	struct ibv_srq_attr srq;
	uint32_t next_key;
	void *mr_addr;
	uint64_t mr_iova;
	struct ibv_wc wc[8];
	int num_wc;
} host;

static void *host_make(size_t size)
{
	if (host.fail) {
		errno = host.fail;
		host.fail = 0;
		return NULL;
	}
	host.objects++;
	return calloc(1, size);
}

static int host_free(void *object)
{
	free(object);
	host.objects--;
	return 0;
}

struct ibv_srq *ibv_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attr)
{
	struct ibv_srq *srq = host_make(sizeof(*srq));

	if (srq)
		srq->context = pd->context;
	attr->attr.max_wr += 3;
	host.srq = attr->attr;
	return srq;
}

int ibv_destroy_srq(struct ibv_srq *srq)
{
	return host_free(srq);
}

int ibv_modify_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr, int mask)
{
	(void)srq;
	ck_assert_int_eq(mask, IBV_SRQ_LIMIT);
	host.srq.srq_limit = attr->srq_limit;
	return 0;
}

int ibv_query_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr)
{
	(void)srq;
	*attr = host.srq;
	return 0;
}

struct ibv_ah *ibv_create_ah(struct ibv_pd *pd, struct ibv_ah_attr *attr)
{
	(void)pd;
	host.ah = *attr;
	return host_make(sizeof(struct ibv_ah));
}

int ibv_destroy_ah(struct ibv_ah *ah)
{
	return host_free(ah);
}

int ibv_attach_mcast(struct ibv_qp *qp, const union ibv_gid *gid, uint16_t lid)
{
	(void)qp;
	(void)gid;
	(void)lid;
	if (host.fail)
		return host.fail;
	host.attached++;
	return 0;
}

int ibv_detach_mcast(struct ibv_qp *qp, const union ibv_gid *gid, uint16_t lid)
{
	(void)qp;
	(void)gid;
	(void)lid;
	host.attached--;
	return 0;
}

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe, void *arg,
			     struct ibv_comp_channel *channel, int vector)
{
	struct ibv_cq *cq = calloc(1, sizeof(*cq));

	(void)arg;
	(void)channel;
	(void)vector;
	cq->context = context;
	cq->cqe = cqe;
	host.cqs++;
	return cq;
}

int ibv_destroy_cq(struct ibv_cq *cq)
{
	free(cq);
	host.cqs--;
	return 0;
}

int ibv_query_gid(struct ibv_context *context, uint8_t port, int index, union ibv_gid *gid)
{
	(void)context;
	(void)port;
	memset(gid, index, sizeof(*gid));
	return 0;
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova,
				unsigned int access)
{
	struct ibv_mr *mr = host_make(sizeof(*mr));

	(void)length;
	(void)access;
	host.mr_addr = addr;
	host.mr_iova = iova;
	if (mr)
		*mr = (struct ibv_mr){ .pd = pd, .lkey = ++host.next_key, .rkey = host.next_key };
	return mr;
}

#undef ibv_reg_mr_iova
struct ibv_mr *ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova,
			       int access)
{
	return ibv_reg_mr_iova2(pd, addr, length, iova, access);
}

int ibv_rereg_mr(struct ibv_mr *mr, int flags, struct ibv_pd *pd, void *addr, size_t length,
		 int access)
{
	(void)mr;
	(void)access;
	ck_assert_int_eq(flags, IBV_REREG_MR_CHANGE_ACCESS);
	ck_assert_ptr_null(pd);
	ck_assert_ptr_null(addr);
	ck_assert_uint_eq(length, 0);
	errno = host.fail;
	return host.fail ? IBV_REREG_MR_ERR_CMD : 0;
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	if (host.keep_mr && !--host.keep_mr)
		return EINVAL;
	return host_free(mr);
}

static struct ibv_mw *host_alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type)
{
	struct ibv_mw *mw = host_make(sizeof(*mw));

	if (mw) {
		mw->context = pd->context;
		mw->type = type;
		mw->rkey = 0x55;
	}
	return mw;
}

static int host_dealloc_mw(struct ibv_mw *mw)
{
	return host_free(mw);
}

static int host_poll_cq(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
	int n = host.num_wc;

	(void)cq;
	ck_assert_int_ge(count, n);
	memcpy(wc, host.wc, n * sizeof(*wc));
	host.num_wc = 0;
	return n;
}

/* ---------------------------- the rest of pvhcad --------------------------- */

static struct {
	struct cq *cq;
	struct pvhca_cqe cqe;
	bool solicited;
	unsigned int count;
} pushed;

bool cq_push_many(struct pass *pass, struct cq *cq, struct cq_held *held,
		  const struct pvhca_cqe *cqes, unsigned int count)
{
	(void)pass;
	(void)held;
	pushed.cq = cq;
	pushed.cqe = cqes[count - 1];
	pushed.cqe.flags &= ~CQ_F_SOLICITED;
	pushed.solicited = cqes[count - 1].flags & CQ_F_SOLICITED;
	pushed.count += count;
	return true;
}

void cq_forget(struct cq *cq, struct cq_held *held)
{
	(void)cq;
	(void)held;
}

static uint8_t guest_memory[4096];

struct stitch *stitches_get(struct memory *memory, struct extents *extents, bool *reused,
			    int *error)
{
	static struct stitch stitch = { .base = guest_memory };

	(void)memory;
	(void)extents;
	*reused = host.mapped > 0;
	*error = 0;
	host.mapped++;
	return &stitch;
}

void stitches_put(struct stitch *stitch)
{
	(void)stitch;
	host.mapped--;
}

/* verbs_mr.c uses memory_stitches.c; this is its whole surface. */
void stitches_forget(struct memory *memory, const struct region *region)
{
	(void)memory;
	(void)region;
}

void stitches_limit(uint64_t bytes)
{
	(void)bytes;
}

bool vm_gid(const struct vm *vm, uint32_t index, const uint8_t **gid)
{
	static uint8_t own[16];

	(void)vm;
	memset(own, 7, sizeof(own));
	if (gid)
		*gid = own;
	return index == 2;
}

int verbs_gid_index(struct verbs_vm *vv, struct verbs_address *address)
{
	return address == &vv->address[2] ? address->index : -1;
}

int verbs_status(int err)
{
	return err == ENOMEM	 ? PVHCA_ST_NO_MEMORY :
		err == ETIMEDOUT ? PVHCA_ST_TIMED_OUT :
				   PVHCA_ST_IO;
}

/* ------------------------------- the guest's ------------------------------- */

static struct vm vm;
static struct verbs_vm vv;
static struct fabric fabric = { .port = 3 };
static struct context context;
static struct ibv_context *host_context;
static struct verbs_context *verbs_context;
static struct ibv_pd host_pd;
static struct pd pd;
static struct extents *extents;

static void setup(void)
{
	memset(&host, 0, sizeof(host));
	memset(&pushed, 0, sizeof(pushed));
	memset(&vv, 0, sizeof(vv));
	verbs_context = calloc(1, sizeof(*verbs_context));
	host_context = &verbs_context->context;
	host_context->ops.alloc_mw = host_alloc_mw;
	host_context->ops.dealloc_mw = host_dealloc_mw;
	host_context->ops.poll_cq = host_poll_cq;
	host_pd.context = host_context;
	vv.context = host_context;
	vv.fabric = &fabric;
	vv.attr.max_cqe = 1 << 16;
	vm.fabric_vm = &vv;
	pd = (struct pd){ .vm = &vm, .fabric = &host_pd };
	extents = calloc(1, sizeof(*extents));
	extents->count = 4;
}

static void teardown(void)
{
	verbs_host_cqs_destroy(&vv);
	ck_assert_uint_eq(vv.keys.count, 0);
	hash_fini(&vv.keys);
	ck_assert_int_eq(host.objects, 0);
	ck_assert_int_eq(host.cqs, 0);
	ck_assert_int_eq(host.mapped, 0);
	free(extents);
	free(verbs_context);
}

static struct srq new_srq(void)
{
	struct srq srq = {
		.vm = &vm,
		.context = &context,
		.pd = &pd,
		.slot = 9,
		.max_wr = 10,
		.max_sge = 2,
		.rq.entries = 16,
	};

	pthread_mutex_init(&srq.lock, NULL);
	return srq;
}

START_TEST(an_srq_has_room_in_one_host_cq)
{
	struct srq srq = new_srq();
	struct verbs_srq *vsrq;

	ck_assert_int_eq(verbs_srq_create(&srq), PVHCA_ST_OK);
	vsrq = srq.fabric;
	ck_assert_uint_eq(srq.max_wr, 13);
	ck_assert_uint_eq(vsrq->host_cq->reserved, 16);
	verbs_srq_destroy(&srq);
	ck_assert_uint_eq(vv.host_cq[0].reserved, 0);
	host.fail = ENOMEM;
	ck_assert_int_eq(verbs_srq_create(&srq), PVHCA_ST_NO_MEMORY);
	ck_assert_uint_eq(vv.host_cq[0].reserved, 0);
}
END_TEST

START_TEST(an_srqs_limit_is_the_hosts)
{
	uint32_t pi = 0;
	uint32_t limit = 0;
	struct srq srq = new_srq();

	srq.rq.pi = (_Atomic uint32_t *)&pi;
	ck_assert_int_eq(verbs_srq_create(&srq), PVHCA_ST_OK);
	ck_assert_int_eq(verbs_srq_set_limit(&srq, 4), PVHCA_ST_OK);
	ck_assert_uint_eq(host.srq.srq_limit, 4);
	ck_assert_int_eq(verbs_srq_query(&srq, &limit), PVHCA_ST_OK);
	ck_assert_uint_eq(limit, 4);
	verbs_receiving_begins(&vm, &((struct verbs_srq *)srq.fabric)->receiving);
	verbs_srq_destroy(&srq);
	ck_assert_uint_eq(vv.receivers, 0);
}
END_TEST

START_TEST(a_window_has_the_hosts_key)
{
	struct mw mw = { .vm = &vm, .pd = &pd, .type = 2 };

	ck_assert_int_eq(verbs_mw_alloc(&mw), PVHCA_ST_OK);
	ck_assert_uint_eq(mw.rkey, 0x55);
	verbs_mw_dealloc(&mw);
	host.fail = ENOMEM;
	ck_assert_int_eq(verbs_mw_alloc(&mw), PVHCA_ST_NO_MEMORY);
}
END_TEST

START_TEST(an_address_is_the_hosts_with_the_index_of_its_table)
{
	struct ah ah = {
		.vm = &vm,
		.pd = &pd,
		.av = { .is_global = 1,
			.port = 1,
			.sgid_index = 2,
			.sl = 5,
			.hop_limit = 64,
			.flow_label = 0x12345,
			.dgid = { [15] = 1 } },
	};
	struct av back;

	vv.address[2].index = 7;
	ck_assert_int_eq(verbs_ah_create(&ah), PVHCA_ST_OK);
	ck_assert_uint_eq(host.ah.grh.sgid_index, 7);
	ck_assert_uint_eq(host.ah.port_num, 3);
	ck_assert_uint_eq(host.ah.sl, 5);
	ck_assert_uint_eq(host.ah.grh.flow_label, 0x12345);
	ck_assert_uint_eq(host.ah.grh.dgid.raw[15], 1);
	verbs_av_from_host(&host.ah, &ah.av, &back);
	ck_assert_mem_eq(&back, &ah.av, offsetof(struct av, is_global) + 1);
	verbs_ah_destroy(&ah);
	/* A peer that is somewhere else: the guest goes on seeing it where it does. */
	ah.av.dgid[0] = 0xcc;
	ck_assert_int_eq(verbs_ah_create(&ah), PVHCA_ST_OK);
	ck_assert_uint_eq(host.ah.grh.dgid.raw[0], 0xdd);
	verbs_av_from_host(&host.ah, &ah.av, &back);
	ck_assert_mem_eq(back.dgid, ah.av.dgid, 16);
	verbs_ah_destroy(&ah);
	host.fail = ETIMEDOUT;
	ck_assert_int_eq(verbs_ah_create(&ah), PVHCA_ST_TIMED_OUT);
	ah.av.sgid_index = 3;
	ck_assert_int_eq(verbs_ah_create(&ah), PVHCA_ST_INVALID);
}
END_TEST

START_TEST(groups_are_left_before_the_qp_goes)
{
	struct verbs_qp vqp = { 0 };
	struct qp qp = { .vm = &vm, .fabric = &vqp };
	uint8_t gid[16] = { 0xff };

	for (int i = 0; i < VERBS_MAX_MCASTS; i++) {
		gid[15] = i;
		ck_assert_int_eq(verbs_mcast_attach(&qp, gid, 0), PVHCA_ST_OK);
	}
	gid[14] = 1;
	ck_assert_int_eq(verbs_mcast_attach(&qp, gid, 0), PVHCA_ST_NO_MEMORY);
	ck_assert_int_eq(verbs_mcast_detach(&qp, gid, 0), PVHCA_ST_INVALID);
	gid[14] = 0;
	gid[15] = 5;
	/* Twice is once. */
	ck_assert_int_eq(verbs_mcast_attach(&qp, gid, 0), PVHCA_ST_OK);
	ck_assert_int_eq(host.attached, VERBS_MAX_MCASTS);
	ck_assert_int_eq(verbs_mcast_detach(&qp, gid, 0), PVHCA_ST_OK);
	ck_assert_int_eq(verbs_mcast_detach(&qp, gid, 0), PVHCA_ST_INVALID);
	host.fail = ENOMEM;
	ck_assert_int_eq(verbs_mcast_attach(&qp, gid, 0), PVHCA_ST_NO_MEMORY);
	verbs_mcast_detach_all(&vv, &vqp);
	ck_assert_int_eq(host.attached, 0);
	ck_assert_uint_eq(vqp.num_mcasts, 0);
}
END_TEST

START_TEST(the_host_is_in_the_groups_of_its_guests)
{
	struct verbs_qp vqp[2] = { { 0 } };
	struct qp qp[2] = {
		{ .vm = &vm, .fabric = &vqp[0] },
		{ .vm = &vm, .fabric = &vqp[1] },
	};
	static const uint8_t group4[16] = { [10] = 0xff, 0xff, 239, 1, 1, 5 };
	int descriptor;

	vv.fabric->netdev_ifindex = if_nametoindex("lo");
	ck_assert_int_eq(verbs_mcast_attach(&qp[0], group4, 0), PVHCA_ST_OK);
	ck_assert_int_eq(verbs_mcast_attach(&qp[1], group4, 0), PVHCA_ST_OK);
	ck_assert_uint_eq(vv.group[0].users, 2);
	descriptor = vv.group[0].fd;
	ck_assert_int_eq(verbs_mcast_detach(&qp[0], group4, 0), PVHCA_ST_OK);
	ck_assert_int_ge(fcntl(descriptor, F_GETFD), 0);
	verbs_mcast_detach_all(&vv, &vqp[1]);
	ck_assert_uint_eq(vv.group[0].users, 0);
	ck_assert_int_eq(fcntl(descriptor, F_GETFD), -1);
	/* What the host does not take leaves no membership. */
	host.fail = ENOMEM;
	ck_assert_int_eq(verbs_mcast_attach(&qp[0], group4, 0), PVHCA_ST_NO_MEMORY);
	ck_assert_uint_eq(vv.group[0].users, 0);
	vv.fabric->netdev_ifindex = 0;
}
END_TEST

static struct mr new_mr(void)
{
	return (struct mr){
		.vm = &vm,
		.pd = &pd,
		.extents = extents,
		.iova = 0x5000,
		.offset = 0x80,
		.length = 64,
	};
}

/* 64 bytes at 0x5000, which lie 0x80 behind the beginning of the mapping. */
START_TEST(a_region_is_found_by_its_lkey_and_the_guests_addresses)
{
	const struct verbs_mr *last = NULL, *first;
	struct mr mr = new_mr(), next = new_mr();
	const uint8_t *at;

	for (unsigned int i = 0; i < sizeof(guest_memory); i++)
		guest_memory[i] = i - 0x80;
	ck_assert_int_eq(verbs_mr_reg(&mr), PVHCA_ST_OK);
	at = verbs_mr_at(&vv, &last, mr.lkey, 0x5000, 64);
	ck_assert_mem_eq(at, guest_memory + 0x80, 64);
	first = last;
	/* By what was found last, and anew. */
	for (unsigned int i = 0; i < 2; i++, last = NULL) {
		at = verbs_mr_at(&vv, &last, mr.lkey, 0x503f, 1);
		ck_assert_uint_eq(*at, 63);
		ck_assert(!verbs_mr_at(&vv, &last, mr.lkey, 0x4fff, 1));
		ck_assert(!verbs_mr_at(&vv, &last, mr.lkey, 0x503f, 2));
		ck_assert(!verbs_mr_at(&vv, &last, mr.lkey, 0x5001, 64));
		ck_assert(!verbs_mr_at(&vv, &last, mr.lkey, UINT64_MAX, 2));
		ck_assert(!verbs_mr_at(&vv, &last, mr.lkey + 1, 0x5000, 1));
	}
	/* Another one's key is not taken for that of the last. */
	ck_assert_int_eq(verbs_mr_reg(&next), PVHCA_ST_OK);
	last = first;
	ck_assert_ptr_nonnull(verbs_mr_at(&vv, &last, next.lkey, 0x5000, 1));
	ck_assert_ptr_ne(last, first);
	ck_assert_int_eq(verbs_mr_dereg(&next), PVHCA_ST_OK);
	ck_assert_int_eq(verbs_mr_dereg(&mr), PVHCA_ST_OK);
	last = NULL;
	ck_assert(!verbs_mr_at(&vv, &last, mr.lkey, 0x5000, 1));
}
END_TEST

START_TEST(a_region_is_written_as_its_own_pd_may)
{
	static const uint8_t bytes[4] = { 1, 2, 3, 4 };
	struct mr mr = new_mr();
	struct ibv_pd other;

	memset(guest_memory, 0, sizeof(guest_memory));
	mr.access = IBV_ACCESS_LOCAL_WRITE;
	ck_assert_int_eq(verbs_mr_reg(&mr), PVHCA_ST_OK);
	ck_assert(!verbs_mr_write(&vv, &other, mr.lkey, 0x5000, bytes, 4));
	ck_assert(!verbs_mr_write(&vv, &host_pd, mr.lkey, 0x503d, bytes, 4));
	ck_assert_uint_eq(guest_memory[0x80], 0);
	ck_assert(verbs_mr_write(&vv, &host_pd, mr.lkey, 0x503c, bytes, 4));
	ck_assert_mem_eq(guest_memory + 0x80 + 60, bytes, 4);
	ck_assert_int_eq(verbs_mr_dereg(&mr), PVHCA_ST_OK);
	mr.access = 0;
	ck_assert_int_eq(verbs_mr_reg(&mr), PVHCA_ST_OK);
	ck_assert(!verbs_mr_write(&vv, &host_pd, mr.lkey, 0x5000, bytes, 4));
	ck_assert_int_eq(verbs_mr_dereg(&mr), PVHCA_ST_OK);
}
END_TEST

START_TEST(a_region_is_made_anew_before_the_old_one_goes)
{
	struct mr mr = new_mr(), next;

	ck_assert_int_eq(verbs_mr_reg(&mr), PVHCA_ST_OK);
	ck_assert_ptr_eq(host.mr_addr, guest_memory + 0x80);
	ck_assert_uint_eq(host.mr_iova, 0x5000);
	next = mr;
	next.iova = 0x9000;
	ck_assert_int_eq(verbs_mr_rereg(&mr, IBV_REREG_MR_CHANGE_TRANSLATION, &next), PVHCA_ST_OK);
	ck_assert_uint_eq(host.mr_iova, 0x9000);
	ck_assert_uint_ne(next.lkey, mr.lkey);
	ck_assert_uint_eq(verbs_mr_host(&next)->lkey, next.lkey);
	ck_assert_int_eq(host.objects, 1);
	ck_assert_int_eq(host.mapped, 1);
	ck_assert_uint_eq(vm.counters.mappings_reused, 1);
	ck_assert_int_eq(verbs_mr_dereg(&next), PVHCA_ST_OK);
	ck_assert_int_eq(host.mapped, 0);
}
END_TEST

START_TEST(a_change_of_rights_keeps_the_keys_or_is_refused)
{
	struct mr mr = new_mr(), next;

	ck_assert_int_eq(verbs_mr_reg(&mr), PVHCA_ST_OK);
	next = mr;
	next.access = IBV_ACCESS_LOCAL_WRITE;
	ck_assert_int_eq(verbs_mr_rereg(&mr, IBV_REREG_MR_CHANGE_ACCESS, &next), PVHCA_ST_OK);
	ck_assert_uint_eq(next.lkey, mr.lkey);
	ck_assert_ptr_eq(next.fabric, mr.fabric);
	host.fail = EOPNOTSUPP;
	ck_assert_int_eq(verbs_mr_rereg(&mr, IBV_REREG_MR_CHANGE_ACCESS, &next),
			 PVHCA_ST_UNSUPPORTED);
	host.fail = 0;
	ck_assert_int_eq(host.objects, 1);
	ck_assert_int_eq(verbs_mr_dereg(&mr), PVHCA_ST_OK);
}
END_TEST

START_TEST(a_region_that_cannot_change_stays)
{
	struct mr mr = new_mr(), next;

	ck_assert_int_eq(verbs_mr_reg(&mr), PVHCA_ST_OK);
	next = mr;
	host.fail = ENOMEM;
	ck_assert_int_eq(verbs_mr_rereg(&mr, IBV_REREG_MR_CHANGE_TRANSLATION, &next),
			 PVHCA_ST_NO_MEMORY);
	ck_assert_int_eq(host.objects, 1);
	/* Windows are bound to it: what was made is given back. */
	next = mr;
	host.keep_mr = 1;
	ck_assert_int_eq(verbs_mr_rereg(&mr, IBV_REREG_MR_CHANGE_TRANSLATION, &next),
			 PVHCA_ST_BUSY);
	ck_assert_int_eq(host.objects, 1);
	ck_assert_uint_eq(verbs_mr_host(&mr)->lkey, mr.lkey);
	host.keep_mr = 1;
	ck_assert_int_eq(verbs_mr_dereg(&mr), PVHCA_ST_BUSY);
	ck_assert_int_eq(verbs_mr_dereg(&mr), PVHCA_ST_OK);
}
END_TEST

/* Completions: one of an SRQ names its QP by number. */
START_TEST(an_srqs_receive_is_for_the_qp_of_its_number)
{
	struct srq srq = new_srq();
	struct cq cq[2] = { 0 };
	struct verbs_qp vqp[2] = { { .id = 1 }, { .id = 2 } };
	struct qp qp[2] = { 0 };

	ck_assert_int_eq(verbs_srq_create(&srq), PVHCA_ST_OK);
	for (int i = 0; i < 2; i++) {
		qp[i] = (struct qp){
			.vm = &vm,
			.context = &context,
			.srq = &srq,
			.recv_cq = &cq[i],
			.fabric = &vqp[i],
			/* of one bucket */
			.qpn = 17 + i * VERBS_NUM_BUCKETS,
		};
		pthread_mutex_init(&qp[i].rq_lock, NULL);
	}
	vqp[0].next_by_num = &qp[1];
	vv.by_num[17] = &qp[0];
	((struct verbs_srq *)srq.fabric)->stalled = true;
	host.wc[0] = (struct ibv_wc){
		.wr_id = WR_ID_RECV | WR_ID_SRQ | 0x1234,
		.qp_num = qp[1].qpn,
		.opcode = IBV_WC_RECV,
		.byte_len = 50,
		.wc_flags = IBV_WC_GRH,
		.src_qp = 0x99,
		.sl = 4,
	};
	host.wc[1] = host.wc[0];
	host.wc[1].qp_num = 18; /* gone */
	host.num_wc = 2;
	ck_assert_uint_eq(verbs_vm_poll(NULL, &vm), 2);
	ck_assert_uint_eq(pushed.count, 1);
	ck_assert_ptr_eq(pushed.cq, &cq[1]);
	ck_assert(pushed.solicited);
	ck_assert_uint_eq(pushed.cqe.qpn, qp[1].qpn);
	ck_assert_uint_eq(pushed.cqe.wqe_index, 0x1234);
	ck_assert_uint_eq(pushed.cqe.byte_len, 50);
	ck_assert_uint_eq(pushed.cqe.src_qp, 0x99);
	ck_assert_uint_eq(pushed.cqe.sl, 4);
	ck_assert_uint_eq(pushed.cqe.flags, PVHCA_CQE_F_GRH);
	ck_assert_uint_ne(pushed.cqe.timestamp, 0);
	/* A place in the host's SRQ is free again. */
	ck_assert(context.again[0] & 1 << 9);
	verbs_srq_destroy(&srq);
}
END_TEST

START_TEST(a_refused_bind_completes_as_one)
{
	struct cq cq = { 0 };
	struct verbs_qp vqp = { .id = 0x30000 };
	struct qp qp = {
		.vm = &vm, .context = &context, .send_cq = &cq,
		.fabric = &vqp, .sq.entries = 16,
	}, *qps[1] = { &qp };
	struct verbs_host_cq *host_cq;

	ck_assert_int_eq(verbs_host_cq_reserve(&vv, VERBS_SENDS, 4, &host_cq), PVHCA_ST_OK);
	pthread_mutex_init(&qp.rq_lock, NULL);
	vv.qps = qps;
	vv.max_qps = 1;
	host.wc[0] = (struct ibv_wc){
		.wr_id = verbs_wr_id(&vqp, WR_ID_BAD | WR_ID_BIND, 3),
		.status = IBV_WC_WR_FLUSH_ERR,
	};
	host.num_wc = 1;
	verbs_vm_poll(NULL, &vm);
	ck_assert_uint_eq(pushed.cqe.status, IBV_WC_MW_BIND_ERR);
	ck_assert_uint_eq(pushed.cqe.wqe_index, 3);
	host.wc[0].wr_id = verbs_wr_id(&vqp, WR_ID_BAD, 4);
	host.num_wc = 1;
	verbs_vm_poll(NULL, &vm);
	ck_assert_uint_eq(pushed.cqe.status, IBV_WC_LOC_QP_OP_ERR);
	/* Of before a RESET. */
	host.wc[0].wr_id = verbs_wr_id(&vqp, 0, 5);
	vqp.id = 0x40000;
	host.num_wc = 1;
	verbs_vm_poll(NULL, &vm);
	ck_assert_uint_eq(pushed.count, 2);
	verbs_host_cq_release(host_cq, 4);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("verbs_objects");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, an_srq_has_room_in_one_host_cq);
	tcase_add_test(tc, an_srqs_limit_is_the_hosts);
	tcase_add_test(tc, a_window_has_the_hosts_key);
	tcase_add_test(tc, an_address_is_the_hosts_with_the_index_of_its_table);
	tcase_add_test(tc, groups_are_left_before_the_qp_goes);
	tcase_add_test(tc, the_host_is_in_the_groups_of_its_guests);
	tcase_add_test(tc, a_region_is_found_by_its_lkey_and_the_guests_addresses);
	tcase_add_test(tc, a_region_is_written_as_its_own_pd_may);
	tcase_add_test(tc, a_region_is_made_anew_before_the_old_one_goes);
	tcase_add_test(tc, a_change_of_rights_keeps_the_keys_or_is_refused);
	tcase_add_test(tc, a_region_that_cannot_change_stays);
	tcase_add_test(tc, an_srqs_receive_is_for_the_qp_of_its_number);
	tcase_add_test(tc, a_refused_bind_completes_as_one);
	return suite_run("verbs_objects", tc);
}
