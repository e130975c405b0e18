// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A pass over the rings of a worker's VMs
 *
 * VMs that have something to do have their turn one after the other (deficit round robin). A
 * turn lasts 10 us or 128 KiB at most, a pass about 200 us; who had no turn in it is the first
 * in the next. A VM's credit grows by its share of a turn with each pass. What a turn takes
 * beyond the credit, the next ones lack. So over a while each VM has its share of the time,
 * however long its single requests take. A VM that has nothing to do saves nothing.
 *
 * Usually few of many VMs and contexts are busy. Each pass looks at these. It looks at the
 * others at most fifty thousand times a second, at some of them in turn if there are many, so
 * they cost the busy ones little. A context that becomes busy is served that much later, once.
 */
#include <string.h>

#include <urcu-qsbr.h>

#include "lib/grace.h"
#include "lib/clock.h"
#include "vm/vm.h"
#include "worker/private.h"

/* If there are more VMs than this, the idle ones are looked at less often: */
#define FEW_VMS		4
#define LOOK_AT_IDLE_NS (20 * NS_PER_US)
/* So many at a time: what a look at one reads is in no cache any more. */
#define IDLE_VMS 16u
/* Of a pass, for receives of all VMs. Of a VM's turn, for receives, completions, blocked CQs. */
#define RECEIVES_NS	 (PASS_NS / 2)
#define TURN_RECEIVES_NS (PASS_TURN_NS / 2)
#define TURN_POLL_NS	 (PASS_TURN_NS / 2)
#define TURN_BLOCKED_NS	 (PASS_TURN_NS / 4)
/* The least that a VM's credit grows in a pass, ns; a small share is served rarely. */
#define QUANTUM_MIN_NS 100
/* What a turn took too much counts up to this. */
#define DEBT_MAX_NS (20 * PASS_TURN_NS)
/* How long and how often worker_settle() waits at most: 100 ms in all. */
#define SETTLE_NS    (100 * NS_PER_US)
#define SETTLE_TRIES 1000

/* ---------------------------------- turns ---------------------------------- */

/* A turn begins, about worker->spent ns after the pass. */
static void begin_turn(struct worker *worker, int64_t ns)
{
	pass_begin_turn(&worker->pass, ns, worker->pass.now + worker->spent);
}

/* It ends, with the events that it is to raise. Whoever takes long is measured, the others were counted. */
static void end_turn(struct worker *worker, struct worker_vm *wv)
{
	struct pass *pass = &worker->pass;
	int64_t took, measured;

	pass_end(pass);
	took = pass->granted - pass->left;
	if (took > PASS_CHECK_NS && pass->clock) {
		measured = (int64_t)(pass->clock() - pass->began);
		if (measured > took)
			took = measured;
	}
	worker->spent += took;
	wv->credit -= took;
	if (wv->credit < -DEBT_MAX_NS)
		wv->credit = -DEBT_MAX_NS;
}

static bool is_pass_over(const struct worker *worker)
{
	return worker->spent >= PASS_NS;
}

/* ----------------------------- whose turn it is ---------------------------- */

static int64_t share_of(const struct worker_vm *wv)
{
	const uint32_t share = atomic_load_explicit(&wv->vm->schedule.share, memory_order_relaxed);

	return share ? share : 1;
}

/* The biggest share of those that wait: its VM's credit grows by a whole turn. */
static int64_t biggest_share(const struct assignment *assignment)
{
	int64_t share, biggest = 1;
	unsigned int i;

	for (i = 0; i < assignment->num_turns; i++) {
		share = share_of(assignment->turn[i]);
		if (share > biggest)
			biggest = share;
	}
	return biggest;
}

static void add_credit(struct worker_vm *wv, int64_t biggest)
{
	int64_t quantum = PASS_TURN_NS * share_of(wv) / biggest;

	wv->credit += quantum > QUANTUM_MIN_NS ? quantum : QUANTUM_MIN_NS;
	if (wv->credit > PASS_TURN_NS)
		wv->credit = PASS_TURN_NS;
}

/* The VM waits for its turn, behind the others. */
static void wait_for_turn(struct assignment *assignment, struct worker_vm *wv)
{
	if (wv->listed)
		return;
	wv->listed = true;
	assignment->turn[assignment->num_turns++] = wv;
}

static void look_at(struct worker *worker, struct assignment *assignment, struct worker_vm *wv,
		    bool all)
{
	/* Who waits for tokens has looks and turns rarely; its guest need not ring meanwhile. */
	if (rate_waits(wv, worker->pass.now) && !worker_vm_has_receives(wv))
		return;
	worker_look(worker, wv, all);
	if (wv->ready)
		wait_for_turn(assignment, wv);
	else if (!wv->listed)
		/* No credit is saved, and a debt goes. */
		wv->credit = wv->credit < -PASS_TURN_NS ? wv->credit + PASS_TURN_NS : 0;
}

/* Those that are not busy any more leave the list of the busy ones. */
static void keep_busy(const struct worker *worker, struct assignment *assignment)
{
	unsigned int i, kept = 0;

	for (i = 0; i < assignment->num_busy; i++) {
		if (assignment->busy[i]->busy_until_ns > worker->pass.now)
			assignment->busy[kept++] = assignment->busy[i];
		else
			assignment->busy[i]->counted = false;
	}
	assignment->num_busy = kept;
}

static void note_busy(const struct worker *worker, struct assignment *assignment,
		      struct worker_vm *wv)
{
	if (wv->busy_until_ns <= worker->pass.now || wv->counted)
		return;
	wv->counted = true;
	assignment->busy[assignment->num_busy++] = wv;
}

/* All sessions are of one fabric. */
static const struct fabric_ops *assignment_ops(const struct assignment *assignment)
{
	return assignment->num_vms ? assignment->vms[0]->vm->ops : NULL;
}

static bool has_receives(const struct assignment *assignment)
{
	return assignment->num_vms && worker_vm_has_receives(assignment->vms[0]);
}

/*
 * Where receives are handed to an engine no VM is passed over: one that seems
 * idle may have posted the receive for a send of this pass.
 */
static void look_at_all(struct worker *worker, struct assignment *assignment, bool all)
{
	unsigned int i, at = assignment->first;

	for (i = 0; i < assignment->num_vms; i++, at++) {
		if (at >= assignment->num_vms)
			at = 0;
		look_at(worker, assignment, assignment->vms[at], all);
		note_busy(worker, assignment, assignment->vms[at]);
	}
}

/* The next of all VMs, some at a time; the first time after VMs came or went all of them. */
static void look_at_idle(struct worker *worker, struct assignment *assignment)
{
	struct worker_vm *wv;
	unsigned int i;

	for (i = 0; i < assignment->num_vms && (i < IDLE_VMS || !assignment->looked_ns); i++) {
		if (assignment->next_look >= assignment->num_vms)
			assignment->next_look = 0;
		wv = assignment->vms[assignment->next_look++];
		look_at(worker, assignment, wv, true);
		note_busy(worker, assignment, wv);
	}
}

static void look_at_vms(struct worker *worker, struct assignment *assignment)
{
	bool due = worker->pass.now - assignment->looked_ns >= LOOK_AT_IDLE_NS;
	unsigned int i;

	if (due)
		keep_busy(worker, assignment);
	if (assignment->num_vms <= FEW_VMS || has_receives(assignment)) {
		look_at_all(worker, assignment, due);
	} else {
		for (i = 0; i < assignment->num_busy; i++)
			look_at(worker, assignment, assignment->busy[i], false);
		if (due)
			look_at_idle(worker, assignment);
	}
	if (due)
		assignment->looked_ns = worker->pass.now;
}

/* The VMs that wait have had their turn, but for those from done on. */
static void end_turns(struct assignment *assignment, unsigned int done)
{
	for (unsigned int i = 0; i < done; i++)
		assignment->turn[i]->listed = false;
	assignment->num_turns -= done;
	memmove(assignment->turn, assignment->turn + done,
		assignment->num_turns * sizeof(*assignment->turn));
}

/* --------------------------------- a pass ---------------------------------- */

/*
 * All receives before any send; see serve_receives in fabric/fabric.h. If they take too long
 * for one pass, the VMs that it did not come to are the first in the next, and send then.
 */
static unsigned int hand_over_receives(struct worker *worker, struct assignment *assignment)
{
	unsigned int i, at = assignment->next_receives, served = 0;
	struct worker_vm *wv;

	for (i = 0; i < assignment->num_vms; i++, at++) {
		if (at >= assignment->num_vms)
			at = 0;
		wv = assignment->vms[at];
		if (!worker_look_again(worker, wv))
			continue;
		wait_for_turn(assignment, wv);
		if (worker->spent < RECEIVES_NS)
			assignment->next_receives = at + 1;
		begin_turn(worker, worker->spent < RECEIVES_NS ? TURN_RECEIVES_NS : 0);
		served += worker_hand_over_receives(worker, wv);
		end_turn(worker, wv);
	}
	return served;
}

static unsigned int serve_turn(struct worker *worker, struct worker_vm *wv, bool alone)
{
	unsigned int served;

	if (cq_blocked_any(&wv->blocked_cqs)) {
		begin_turn(worker, TURN_BLOCKED_NS);
		cq_blocked_retry(&worker->pass, &wv->blocked_cqs);
		end_turn(worker, wv);
	}
	begin_turn(worker, wv->credit);
	if (alone)
		worker->pass.bytes = PASS_ALONE_BYTES;
	rate_begin(wv, &worker->pass);
	served = worker_serve(worker, wv);
	rate_end(wv, &worker->pass);
	end_turn(worker, wv);
	return served;
}

static unsigned int serve_turns(struct worker *worker, struct assignment *assignment)
{
	const int64_t biggest = biggest_share(assignment);
	unsigned int i, served = 0;
	struct worker_vm *wv;

	for (i = 0; i < assignment->num_turns && !is_pass_over(worker); i++) {
		wv = assignment->turn[i];
		if (assignment->num_turns == 1)
			wv->credit = PASS_TURN_NS;
		else
			add_credit(wv, biggest);
		/* Who waits for credit or for his receives goes on soon. */
		if (wv->credit <= 0 || wv->receiving)
			served++;
		else if (!rate_waits(wv, worker->pass.now))
			served += serve_turn(worker, wv, assignment->num_vms == 1);
	}
	/* The same for those that the pass did not come to. */
	if (i < assignment->num_turns)
		served++;
	end_turns(assignment, i);
	return served;
}

static unsigned int poll_vms(struct worker *worker, struct assignment *assignment)
{
	const struct fabric_ops *ops = assignment_ops(assignment);
	unsigned int i, served = 0;
	struct worker_vm *wv;

	if (!ops || !ops->vm_poll)
		return 0;
	for (i = 0; i < assignment->num_vms; i++) {
		if (assignment->next_poll >= assignment->num_vms)
			assignment->next_poll = 0;
		if (i && is_pass_over(worker))
			break;
		wv = assignment->vms[assignment->next_poll++];
		begin_turn(worker, TURN_POLL_NS);
		served += ops->vm_poll(&worker->pass, wv->vm);
		end_turn(worker, wv);
	}
	return served;
}

/* ------------------------- from one assignment to the next ----------------- */

/* The place of the VM that was to be next, or of the one that stood behind it. */
static unsigned int find_place(const struct assignment *assignment,
			       const struct worker_place *place)
{
	unsigned int i;

	for (i = 0; i < assignment->num_vms; i++)
		if (assignment->vms[i]->vm->id == place->id)
			return i;
	return place->at < assignment->num_vms ? place->at : 0;
}

/*
 * VMs that come and go, as often as they like, change nobody's turn: a new assignment goes on
 * with the VM that would have been next. What stood in the old one is gone.
 */
static void begin_assignment(const struct worker *worker, struct assignment *assignment)
{
	unsigned int i;

	for (i = 0; i < assignment->num_vms; i++) {
		assignment->vms[i]->listed = false;
		assignment->vms[i]->counted = false;
		assignment->vms[i]->at = i;
	}
	assignment->first = find_place(assignment, &worker->next_turn);
	assignment->next_look = assignment->first;
	assignment->next_receives = find_place(assignment, &worker->next_receives);
	assignment->next_poll = find_place(assignment, &worker->next_poll);
	assignment->begun = true;
}

static struct worker_place place_of(const struct worker_vm *wv)
{
	return (struct worker_place){ .id = wv->vm->id, .at = wv->at };
}

static struct worker_place place_at(const struct assignment *assignment, unsigned int at)
{
	return place_of(assignment->vms[at < assignment->num_vms ? at : 0]);
}

static void note_places(struct worker *worker, const struct assignment *assignment)
{
	if (assignment->num_vms < 2)
		return;
	if (assignment->num_turns)
		worker->next_turn = place_of(assignment->turn[0]);
	worker->next_receives = place_at(assignment, assignment->next_receives);
	worker->next_poll = place_at(assignment, assignment->next_poll);
}

unsigned int worker_pass(struct worker *worker)
{
	struct assignment *assignment = rcu_dereference(worker->assignment);
	unsigned int served = 0;

	worker->spent = 0;
	if (!assignment->begun)
		begin_assignment(worker, assignment);
	look_at_vms(worker, assignment);
	if (assignment->num_turns) {
		if (has_receives(assignment))
			served += hand_over_receives(worker, assignment);
		served += serve_turns(worker, assignment);
	}
	served += poll_vms(worker, assignment);
	pass_end(&worker->pass);
	note_places(worker, assignment);
	return served;
}

bool worker_is_announced(struct context *context)
{
	return !shared_slots_are_empty(context_pending_slots(context)) ||
		!shared_slots_are_empty(context_again_slots(context)) ||
		atomic_load(&context->held);
}

void worker_settle(struct context *context)
{
	const struct timespec duration = { .tv_nsec = SETTLE_NS };
	unsigned int i;

	/* It takes what it has only watched. */
	atomic_fetch_add(&context->settling, 1);
	for (i = 0; i < SETTLE_TRIES; i++) {
		if (!worker_is_announced(context)) {
			/* The pass that took the last of it ends before this. */
			grace_wait();
			if (!worker_is_announced(context))
				break;
		}
		worker_wake(context->vm->worker);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, NULL);
	}
	atomic_fetch_sub(&context->settling, 1);
}
