// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A pass over the rings of a worker's guests
 *
 * Of many contexts few are busy. Those are looked at in each pass, the others
 * fifty thousand times a second at most, so that they cost the busy ones next to
 * nothing; a context that wakes up is served that much later, once.
 */
#include <endian.h>

#include <urcu-qsbr.h>

#include "lib/clock.h"
#include "vm/vm.h"
#include "worker/private.h"

/* Of more contexts than this the idle ones are looked at less often: */
#define FEW_CONTEXTS	4
#define LOOK_AT_IDLE_NS (20 * NS_PER_US)
/* Idle is who had nothing to serve for so long. */
#define BUSY_NS (1 * NS_PER_MS)
/* How long and how often worker_settle() waits at most: 100 ms in all. */
#define SETTLE_NS    (100 * NS_PER_US)
#define SETTLE_TRIES 1000

/* ---------------------------------- serve ---------------------------------- */

typedef unsigned int serve_fn(struct pass *pass, struct qp *qp);

static unsigned int serve_receives(struct pass *pass, struct qp *qp)
{
	(void)pass;
	return qp->ops->serve_receives ? qp->ops->serve_receives(qp) : 0;
}

static unsigned int serve_all(struct pass *pass, struct qp *qp)
{
	return qp->ops->serve(pass, qp);
}

/* A slot without a QP: what is posted on its SRQ is taken with the receives. */
static unsigned int serve_srq(struct worker *worker, struct context *context, unsigned int slot)
{
	const struct fabric_ops *ops = context->vm->ops;
	unsigned int served;
	struct srq *srq;

	srq = rcu_dereference(context->srq_slots[slot]);
	if (!srq || !ops->srq_serve)
		return 0;
	pthread_mutex_lock(&srq->lock);
	served = ops->srq_serve(&worker->pass, srq);
	pthread_mutex_unlock(&srq->lock);
	return served;
}

/* Call serve for each QP of a context that the pass has taken. */
static unsigned int serve_taken(struct worker *worker, struct context *context, serve_fn *serve)
{
	uint64_t words = context->taken_summary, bits;
	unsigned int word, slot, served = 0;
	struct qp *qp;

	for (; words; words &= words - 1) {
		word = __builtin_ctzll(words);
		bits = context->taken[word];
		for (; bits; bits &= bits - 1) {
			slot = word * 64 + __builtin_ctzll(bits);
			qp = rcu_dereference(context->slots[slot]);
			if (!qp && serve == serve_receives)
				served += serve_srq(worker, context, slot);
			if (!qp)
				continue;
			pthread_mutex_lock(&qp->lock);
			served += serve(&worker->pass, qp);
			pthread_mutex_unlock(&qp->lock);
		}
	}
	return served;
}

/* ----------------------------- what is announced --------------------------- */

/* Turn what has waited long enough into what is to be served again. */
static void expire_timed(struct worker *worker, struct context *context)
{
	uint64_t words = atomic_exchange(&context->timed_summary, 0), bits;
	struct qp *qp;
	unsigned int word, slot;

	for (; words; words &= words - 1) {
		word = __builtin_ctzll(words);
		bits = atomic_exchange(&context->timed[word], 0);
		for (; bits; bits &= bits - 1) {
			slot = word * 64 + __builtin_ctzll(bits);
			qp = rcu_dereference(context->slots[slot]);
			if (!qp)
				continue;
			if (qp->deadline_ns <= worker->pass.now)
				context_again(context, slot);
			else
				context_timed(context, slot);
		}
	}
}

static void take(struct context *context, unsigned int word, uint64_t bits)
{
	if (context->taken_summary & 1ull << word)
		bits |= context->taken[word];
	context->taken[word] = bits;
	context->taken_summary |= 1ull << word;
}

/* Of which slots the guest says that something was posted; added to those taken. */
static void take_pending(struct context *context)
{
	_Atomic uint64_t *summary = (_Atomic uint64_t *)&context->page->summary;
	_Atomic uint64_t *pending = (_Atomic uint64_t *)context->page->pending;
	uint64_t words, bits;
	unsigned int word;

	/* The usual case, nothing, costs a load of a line that stays shared. */
	if (!atomic_load_explicit(summary, memory_order_relaxed))
		return;
	words = le64toh(atomic_exchange(summary, 0));
	for (; words; words &= words - 1) {
		word = __builtin_ctzll(words);
		bits = le64toh(atomic_exchange(&pending[word], 0));
		take(context, word, bits);
	}
}

/* Likewise those that pvhcad itself wants to serve again. */
static void take_again(struct worker *worker, struct context *context)
{
	uint64_t words, bits;
	unsigned int word;

	if (atomic_load_explicit(&context->timed_summary, memory_order_relaxed))
		expire_timed(worker, context);
	if (!atomic_load_explicit(&context->again_summary, memory_order_relaxed))
		return;
	words = atomic_exchange(&context->again_summary, 0);
	for (; words; words &= words - 1) {
		word = __builtin_ctzll(words);
		bits = atomic_exchange(&context->again[word], 0);
		take(context, word, bits);
	}
}

/* Remember how far the send queues of the slots taken go. */
static void look_at_sends(struct context *context)
{
	uint64_t words = context->taken_summary, bits;
	unsigned int word;
	struct qp *qp;

	for (; words; words &= words - 1) {
		word = __builtin_ctzll(words);
		bits = context->taken[word];
		for (; bits; bits &= bits - 1) {
			qp = rcu_dereference(context->slots[word * 64 + __builtin_ctzll(bits)]);
			if (qp)
				work_queue_look(&qp->sq);
		}
	}
}

/*
 * Find out which slots the pass is to serve. Where receives are handed to an
 * engine, a send goes out only if all receives posted before it went: the sends
 * of the pass are those seen now, and whatever receive came before them is
 * announced in what is looked at after them.
 */
static void take_context(struct worker *worker, struct context *context)
{
	context->taken_summary = 0;
	take_again(worker, context);
	take_pending(context);
	if (context->vm->ops->qp->serve_receives)
		look_at_sends(context);
}

/* After take_context() of all contexts. */
static unsigned int take_receives(struct worker *worker, struct context *context)
{
	const struct fabric_ops *ops = context->vm->ops;

	if (!ops->qp->serve_receives && !ops->srq_serve)
		return 0;
	take_pending(context);
	return serve_taken(worker, context, serve_receives);
}

/* --------------------------------- a pass ---------------------------------- */

/* All receives before any send; see serve_receives in fabric/fabric.h. */
static unsigned int serve_contexts(struct worker *worker, struct context **contexts,
				   unsigned int count)
{
	unsigned int i, served = 0;

	for (i = 0; i < count; i++)
		take_context(worker, contexts[i]);
	for (i = 0; i < count; i++)
		served += take_receives(worker, contexts[i]);
	for (i = 0; i < count; i++) {
		if (!contexts[i]->taken_summary)
			continue;
		contexts[i]->busy_until_ns = worker->pass.now + BUSY_NS;
		served += serve_taken(worker, contexts[i], serve_all);
	}
	return served;
}

static void find_busy(const struct worker *worker, struct assignment *assignment)
{
	unsigned int i;

	assignment->num_busy = 0;
	for (i = 0; i < assignment->num_contexts; i++)
		if (assignment->contexts[i]->busy_until_ns > worker->pass.now)
			assignment->busy[assignment->num_busy++] = assignment->contexts[i];
	assignment->looked_ns = worker->pass.now;
}

/* All sessions are of one fabric. */
static const struct fabric_ops *assignment_ops(const struct assignment *assignment)
{
	return assignment->num_vms ? assignment->vms[0]->ops : NULL;
}

/*
 * Where receives are handed to an engine no context is passed over: one that seems
 * idle may have posted the receive for a send of this pass.
 */
static bool may_pass_over_idle(const struct assignment *assignment)
{
	const struct fabric_ops *ops = assignment_ops(assignment);

	return assignment->num_contexts > FEW_CONTEXTS && !(ops && ops->qp->serve_receives);
}

static unsigned int serve_busy(struct worker *worker, struct assignment *assignment)
{
	unsigned int served;

	if (worker->pass.now - assignment->looked_ns < LOOK_AT_IDLE_NS)
		return serve_contexts(worker, assignment->busy, assignment->num_busy);
	served = serve_contexts(worker, assignment->contexts, assignment->num_contexts);
	find_busy(worker, assignment);
	return served;
}

static unsigned int poll_vms(struct worker *worker, const struct assignment *assignment)
{
	const struct fabric_ops *ops = assignment_ops(assignment);
	unsigned int i, served = 0;

	if (!ops || !ops->vm_poll)
		return 0;
	for (i = 0; i < assignment->num_vms; i++)
		served += ops->vm_poll(&worker->pass, assignment->vms[i]);
	return served;
}

unsigned int worker_pass(struct worker *worker)
{
	struct assignment *assignment = rcu_dereference(worker->assignment);
	unsigned int served;

	if (may_pass_over_idle(assignment))
		served = serve_busy(worker, assignment);
	else
		served = serve_contexts(worker, assignment->contexts, assignment->num_contexts);
	served += poll_vms(worker, assignment);
	cq_blocked_retry(&worker->blocked_cqs);
	pass_end(&worker->pass);
	return served;
}

bool worker_is_announced(struct context *context)
{
	return atomic_load((_Atomic uint64_t *)&context->page->summary) ||
		atomic_load(&context->again_summary);
}

void worker_settle(struct context *context)
{
	const struct timespec duration = { .tv_nsec = SETTLE_NS };
	unsigned int i;

	for (i = 0; i < SETTLE_TRIES; i++) {
		if (!worker_is_announced(context)) {
			/* The pass that took the last of it ends before this. */
			synchronize_rcu();
			if (!worker_is_announced(context))
				return;
		}
		worker_wake(context->vm->worker);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, NULL);
	}
}
