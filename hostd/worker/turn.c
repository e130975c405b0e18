// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The turn of a VM: what waits in its contexts is found, and served one QP after the other
 * until the turn ends. What is left over stays in context->ready, and the next turn goes on
 * behind it: with the next context, in that with the next slot.
 *
 * Where an engine takes receives, a VM goes through two steps again and again. First it
 * notes what is announced, and how far the send queues of these slots go; all receives that
 * were announced by then are handed over. That may take several turns. Then the sends go, no
 * further than the place noted, and a new round begins. So no send of the VM goes before a
 * receive that was posted before it, however small its turns are.
 */
#include <urcu-qsbr.h>

#include "lib/clock.h"
#include "vm/vm.h"
#include "worker/private.h"
#include "worker/recent.h"

/* If a VM has more contexts than this, the idle ones are looked at less often. */
#define FEW_CONTEXTS 4
/* A context without work for this long is idle. */
#define BUSY_NS (1 * NS_PER_MS)
/* The longest look at a VM in one pass; the next one goes on behind it. */
#define LOOK_NS (PASS_TURN_NS / 4)
/* A word of slots that is swapped; a timed slot. */
#define WORD_NS	 20
#define TIMED_NS 30

/* ------------------------------- find the slots ---------------------------- */

/* Of a word's timed slots those whose time has come, or whose QP has gone; lowers *due to the rest's. */
static uint64_t find_expired(struct context *context, unsigned int word, uint64_t bits,
			     uint64_t now, uint64_t *gone)
{
	uint64_t expired = 0;
	struct qp *qp;
	uint32_t slot;

	for (; bits; bits &= bits - 1) {
		slot = word * 64 + __builtin_ctzll(bits);
		qp = context_qp(context, slot);
		if (!qp)
			*gone |= bits & -bits;
		else if (qp->deadline_ns <= now)
			expired |= bits & -bits;
		else
			context_due(context, qp->deadline_ns);
	}
	return expired;
}

/*
 * Take into set the slots that have waited long enough, for so long; a later call goes on
 * with the others. Returns the ns that it took, about.
 */
static int64_t take_timed(struct context *context, struct slot_set *set, uint64_t now, int64_t ns)
{
	struct shared_slots timed = context_timed_slots(context);
	uint64_t words, bits, gone, expired;
	unsigned int word;
	int64_t took = 0;

	/* Lowered again by those that stay, and by whoever adds one from here on. */
	if (!context->timed_word)
		atomic_store(&context->timed_due_ns, UINT64_MAX);
	words = atomic_load(timed.summary) & ~0ull << context->timed_word;
	context->timed_word = 0;
	for (; words; words &= words - 1) {
		word = __builtin_ctzll(words);
		/* Word 0 is where a look begins. */
		if (took && took >= ns) {
			context->timed_word = word;
			break;
		}
		bits = atomic_load(&timed.words[word]);
		gone = 0;
		expired = find_expired(context, word, bits, now, &gone);
		took += WORD_NS + TIMED_NS * __builtin_popcountll(bits);
		if (expired | gone || !bits)
			shared_slots_take_some(timed, word, expired | gone);
		slot_set_add_word(set, word, expired);
	}
	return took;
}

static bool is_timed_due(const struct context *context, uint64_t now)
{
	return context->timed_word ||
		atomic_load_explicit(&context->timed_due_ns, memory_order_relaxed) <= now;
}

/* Take into set the slots on which the guest says that it posted. Returns the ns that it took. */
static int64_t take_pending(struct context *context, struct slot_set *set)
{
	/* In the usual case there are none, which costs a load of a shared line of the cache. */
	if (shared_slots_seem_empty(context_pending_slots(context)))
		return 0;
	return WORD_NS * slot_set_take_le(set, context_pending_slots(context));
}

/* Likewise those that pvhcad itself wants to serve again. */
static int64_t take_again(struct context *context, struct slot_set *set)
{
	if (shared_slots_seem_empty(context_again_slots(context)))
		return 0;
	return WORD_NS * slot_set_take(set, context_again_slots(context));
}

/* The slots of worker->taken are ready, and their receives are to be handed over first. */
static void add_taken(struct worker *worker, struct context *context, bool look)
{
	struct slot_set *taken = &worker->taken;
	struct qp *qp;
	uint32_t slot;

	if (look)
		slot_set_for_each (taken, slot) {
			qp = context_qp(context, slot);
			if (qp)
				work_queue_look(&qp->sq);
		}
	slot_set_add_all(&context->receives, taken);
	slot_set_add_all(&context->ready, taken);
	slot_set_clear(taken);
}

/* Look at the queue pair that was served last. True: there is nothing else to be found. */
static bool watch(const struct worker *worker, struct context *context)
{
	if (recent_has_news(context, worker->pass.now))
		slot_set_add(&context->ready, context->recent.slot);
	return context->watched && recent_is_all(context);
}

/* Find the slots of a context that have something to do. Returns the ns that it took. */
static int64_t take_context(struct worker *worker, struct context *context, bool receives)
{
	struct slot_set *set = receives ? &worker->taken : &context->ready;
	int64_t took;

	took = PASS_LOOK_NS + take_again(context, set);
	if (!context->watched || !watch(worker, context))
		took += take_pending(context, set);
	if (receives && !slot_set_is_empty(set))
		add_taken(worker, context, true);
	return took;
}

static bool has_work(const struct context *context)
{
	return !slot_set_is_empty(&context->ready) || !slot_set_is_empty(&context->receives);
}

/* Whether the VM waits for its turn because of this context. */
static void note_work(const struct worker *worker, struct worker_vm *wv, struct context *context)
{
	if (!has_work(context))
		return;
	context->busy_until_ns = worker->pass.now + BUSY_NS;
	wv->ready = true;
}

/* Slots whose time has come, of some contexts. Many contexts have their looks in turn. */
static int64_t look_at_timed(struct worker *worker, struct worker_vm *wv,
			     struct context *const *contexts, unsigned int count)
{
	const bool receives = worker_vm_has_receives(wv);
	struct context *context;
	int64_t took = 0;
	unsigned int i;

	for (i = 0; i < count && took < LOOK_NS; i++) {
		context = contexts[wv->next_timed++ % count];
		if (!is_timed_due(context, worker->pass.now))
			continue;
		took += take_timed(context, receives ? &worker->taken : &context->ready,
				   worker->pass.now, LOOK_NS - took);
		if (!slot_set_is_empty(&worker->taken))
			add_taken(worker, context, true);
		note_work(worker, wv, context);
	}
	return took;
}

static int64_t look_at(struct worker *worker, struct worker_vm *wv, struct context *const *contexts,
		       unsigned int count)
{
	const bool receives = worker_vm_has_receives(wv);
	struct context *context;
	int64_t took = 0;
	bool due = false;
	unsigned int i;

	for (i = 0; i < count && took < LOOK_NS; i++) {
		if (wv->next_look >= count)
			wv->next_look = 0;
		context = contexts[wv->next_look++];
		took += take_context(worker, context, receives);
		due |= is_timed_due(context, worker->pass.now);
		note_work(worker, wv, context);
	}
	if (due)
		took += look_at_timed(worker, wv, contexts, count);
	return took;
}

static void find_busy(const struct worker *worker, struct context_list *list)
{
	unsigned int i;

	list->num_busy = 0;
	for (i = 0; i < list->count; i++)
		if (list->context[i]->busy_until_ns > worker->pass.now)
			list->busy[list->num_busy++] = list->context[i];
}

void worker_look(struct worker *worker, struct worker_vm *wv, bool all)
{
	struct context_list *list = rcu_dereference(wv->contexts);
	int64_t took;

	wv->ready = wv->receiving;
	/* First the round that is under way. */
	if (wv->receiving)
		return;
	if (list->count <= FEW_CONTEXTS || all || worker_vm_has_receives(wv)) {
		took = look_at(worker, wv, list->context, list->count);
		if (list->count > FEW_CONTEXTS)
			find_busy(worker, list);
	} else {
		took = look_at(worker, wv, list->busy, list->num_busy);
	}
	if (cq_blocked_any(&wv->blocked_cqs))
		wv->ready = true;
	if (wv->ready)
		wv->busy_until_ns = worker->pass.now + BUSY_NS;
	wv->credit -= took;
	worker->spent += took;
}

bool worker_look_again(struct worker *worker, struct worker_vm *wv)
{
	const struct context_list *list = rcu_dereference(wv->contexts);
	struct context *context;
	int64_t took = 0;
	unsigned int i;

	for (i = 0; i < list->count && took < LOOK_NS && !wv->receiving; i++) {
		context = list->context[i];
		took += take_pending(context, &worker->taken);
		if (!slot_set_is_empty(&worker->taken))
			add_taken(worker, context, false);
		note_work(worker, wv, context);
	}
	wv->credit -= took;
	worker->spent += took;
	return wv->ready;
}

/* ---------------------------------- serve ---------------------------------- */

bool worker_vm_has_receives(const struct worker_vm *wv)
{
	return wv->vm->ops->qp->serve_receives;
}

/* For others than the worker: is there something that it has taken and not served? */
static void tell_held(struct context *context)
{
	bool held = has_work(context);

	if (atomic_load_explicit(&context->held, memory_order_relaxed) != held)
		atomic_store(&context->held, held);
}

/*
 * Take a QP's lock. A worker does not wait for whoever holds it: it comes again. A command
 * that changes the QP may take long; it has the QP served once more itself when it is done.
 */
static bool try_qp(struct context *context, struct qp *qp)
{
	if (!pthread_mutex_trylock(&qp->lock))
		return true;
	if (!atomic_load(&qp->changing))
		context_again(context, qp->slot);
	return false;
}

static unsigned int serve_srq(struct pass *pass, struct context *context, uint32_t slot)
{
	const struct fabric_ops *ops = context->vm->ops;
	unsigned int served;
	struct srq *srq;

	srq = context_srq(context, slot);
	if (!srq || !ops->srq_serve || pthread_mutex_trylock(&srq->lock)) {
		if (srq && ops->srq_serve)
			context_again(context, slot);
		return 0;
	}
	served = ops->srq_serve(pass, srq);
	pthread_mutex_unlock(&srq->lock);
	return served;
}

static unsigned int serve_slot(struct pass *pass, struct context *context, uint32_t slot)
{
	struct qp *qp = context_qp(context, slot);
	unsigned int served;

	pass_spend(pass, PASS_LOOK_NS);
	/* Without a QP: where an engine takes receives its SRQ has been served with them. */
	if (!qp)
		return context->vm->ops->qp->serve_receives ? 0 : serve_srq(pass, context, slot);
	pass_spend(pass, PASS_VISIT_NS);
	if (!try_qp(context, qp))
		return 0;
	if (!context->vm->ops->qp->serve_receives)
		recent_note(context, qp, pass->now);
	served = qp->ops->serve(pass, qp);
	pthread_mutex_unlock(&qp->lock);
	return served;
}

static unsigned int serve_receives(struct pass *pass, struct context *context, uint32_t slot)
{
	struct qp *qp = context_qp(context, slot);
	unsigned int served;

	pass_spend(pass, PASS_LOOK_NS);
	if (!qp)
		return serve_srq(pass, context, slot);
	if (!qp->ops->serve_receives || !try_qp(context, qp))
		return 0;
	served = qp->ops->serve_receives(pass, qp);
	pthread_mutex_unlock(&qp->lock);
	return served;
}

typedef unsigned int slot_fn(struct pass *pass, struct context *context, uint32_t slot);

/* Call fn for the members of a set, from *next on, until there is none or the turn ends. */
static unsigned int for_slots(struct pass *pass, struct context *context, struct slot_set *set,
			      uint32_t *next, slot_fn *fn)
{
	unsigned int served = 0;
	uint32_t slot;

	while (!slot_set_is_empty(set) && pass_goes_on(pass)) {
		slot = *next;
		slot_set_pop(set, &slot);
		*next = (slot + 1) % SLOT_SET_SLOTS;
		served += fn(pass, context, slot);
	}
	return served;
}

unsigned int worker_hand_over_receives(struct worker *worker, struct worker_vm *wv)
{
	const struct context_list *list = rcu_dereference(wv->contexts);
	unsigned int i, served = 0;
	struct context *context;

	wv->receiving = false;
	for (i = 0; i < list->count; i++) {
		context = list->context[i];
		if (slot_set_is_empty(&context->receives))
			continue;
		served += for_slots(&worker->pass, context, &context->receives,
				    &context->next_receive, serve_receives);
		wv->receiving |= !slot_set_is_empty(&context->receives);
		tell_held(context);
	}
	return served;
}

unsigned int worker_serve(struct worker *worker, struct worker_vm *wv)
{
	const struct context_list *list = rcu_dereference(wv->contexts);
	struct pass *pass = &worker->pass;
	unsigned int i, at = wv->next_context, served = 0;
	struct context *context;

	for (i = 0; i < list->count; i++, at++) {
		if (at >= list->count)
			at = 0;
		context = list->context[at];
		if (slot_set_is_empty(&context->ready))
			continue;
		if (!pass_goes_on(pass))
			break;
		served +=
			for_slots(pass, context, &context->ready, &context->next_slot, serve_slot);
		tell_held(context);
	}
	wv->next_context = at;
	return served;
}

bool worker_has_work(const struct worker_vm *wv)
{
	const struct context_list *list = rcu_dereference(wv->contexts);

	for (unsigned int i = 0; i < list->count; i++)
		if (has_work(list->context[i]) ||
		    !shared_slots_seem_empty(context_again_slots(list->context[i])) ||
		    !shared_slots_seem_empty(context_pending_slots(list->context[i])))
			return true;
	return false;
}
