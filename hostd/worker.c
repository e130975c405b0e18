// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Worker threads
 *
 * A worker makes passes. In each it looks at the summary word of every context
 * of its sessions, serves the QPs named there, lets the fabric collect
 * completions, retries what guests had no room for, and raises the events that
 * were asked for. Between passes it is quiescent for liburcu.
 *
 * After passes that found nothing for some time (the spin time) it prepares to
 * sleep: it sets need_kick in each context, makes a full barrier, looks at
 * everything once more, and waits in epoll for a doorbell, an event of the host
 * device, or a deadline. The spin time learns, as KVM's halt polling does: a
 * sleep that ended soon would have been better spent polling, so it doubles up
 * to the configured limit; a long one halves it. On a machine with few
 * processors a polling worker lets others go first; when it then gets its
 * processor back late, somebody else needs it, perhaps the very guest whose work
 * is awaited, and the worker sleeps at once (unless give-way=false). Where the
 * engine has much to do anyway it only naps, for a time that it learns: being
 * woken for each completion, and a doorbell for each post, would cost more than
 * looking at them a few together.
 *
 * Of many contexts few are busy. Those are looked at in each pass, the others
 * fifty thousand times a second at most, so that they cost the busy ones next to
 * nothing; a context that wakes up is served that much later, once.
 *
 * Which sessions and contexts a worker has stands in an array that is replaced
 * as a whole (RCU). Descriptors in epoll are named by session id, not by
 * pointer, for an event may be returned after its session has gone.
 */
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <urcu-qsbr.h>

#include "cpuset.h"
#include "cq.h"
#include "log.h"
#include "objects.h"
#include "qp_dispatch.h"
#include "session.h"
#include "worker.h"

#define NS_PER_US		1000ull
#define NS_PER_MS		1000000ull
/* How long and how often worker_settle() waits at most: 100 ms in all. */
#define SETTLE_NS		(100 * NS_PER_US)
#define SETTLE_TRIES		1000
#define SPIN_MIN_NS		(20 * NS_PER_US)
/* How often a sleeping worker looks whether a guest has made room. */
#define BLOCKED_RETRY_NS	(2 * NS_PER_MS)
/* Naps, and how many sends the engine must have meanwhile. */
#define NAP_MIN_NS		(100 * NS_PER_US)
#define NAP_MAX_NS		(4 * NS_PER_MS)
#define NAP_IN_FLIGHT		8
/* So many in a row without any work: the engine waits for something, and we do too. */
#define NAPS_IN_VAIN		8
/* Who waits that long for its turn shares the processor with somebody busy. */
#define CROWDED_NS		(100 * NS_PER_US)
/* Of more contexts than this the idle ones are looked at less often: */
#define FEW_CONTEXTS		4
#define LOOK_AT_IDLE_NS		(20 * NS_PER_US)
/* Idle is who had nothing to serve for so long. */
#define BUSY_NS			(1 * NS_PER_MS)
#define DIRTY_MAX		256
#define EPOLL_BATCH		32

/* What a descriptor in epoll is for; the id of its session stands above. */
enum source {
	SOURCE_WAKE,
	SOURCE_DOORBELL,
	SOURCE_FABRIC,
};

/**
 * struct assignment - what a worker polls; replaced as a whole
 * @busy, @num_busy: those of the contexts that had something to do lately, and
 * @looked_ns: when the others were looked at last; the worker's own
 */
struct assignment {
	unsigned int num_sessions;
	unsigned int num_contexts;
	struct session **sessions;
	struct context **contexts;
	struct context **busy;
	unsigned int num_busy;
	uint64_t looked_ns;
};

struct worker {
	unsigned int index;
	pthread_t thread;
	int epoll_fd;
	int wake_fd;
	struct assignment *assignment;		/* RCU */
	unsigned int load;			/* sessions; under workers.lock */

	/* The thread's own */
	uint64_t now;
	uint64_t spin_ns;
	uint64_t spin_limit_ns;
	uint64_t nap_ns;
	unsigned int naps_in_vain;
	bool few_cpus;		/* let others go first, for they make our work */
	bool give_way;
	unsigned int priority;
	struct cq *dirty[DIRTY_MAX];
	unsigned int num_dirty;

	pthread_mutex_t blocked_lock;
	struct cq **blocked;			/* CQs with something held back */
	unsigned int num_blocked, max_blocked;
	_Atomic bool stop;
};

static struct {
	pthread_mutex_t lock;			/* assignments' writers, load */
	struct worker *worker;
	unsigned int count;
} workers = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

uint64_t worker_now(const struct worker *worker)
{
	return worker->now;
}

void worker_wake(struct worker *worker)
{
	eventfd_write(worker->wake_fd, 1);
}

/* ---------------------------- CQs to look after ---------------------------- */

static void flush_dirty(struct worker *worker)
{
	unsigned int i;

	for (i = 0; i < worker->num_dirty; i++)
		cq_notify(worker->dirty[i]);
	worker->num_dirty = 0;
}

void worker_cq_dirty(struct worker *worker, struct cq *cq)
{
	if (worker->num_dirty == DIRTY_MAX)
		flush_dirty(worker);
	worker->dirty[worker->num_dirty++] = cq;
}

void worker_cq_blocked(struct cq *cq)
{
	struct worker *worker = cq->session->worker;
	struct cq **blocked;

	pthread_mutex_lock(&worker->blocked_lock);
	if (cq->listed)
		goto unlock;
	if (worker->num_blocked == worker->max_blocked) {
		blocked = realloc(worker->blocked,
				  (worker->max_blocked + 64) * sizeof(*blocked));
		if (!blocked) {
			/* The next completion of this CQ tries again. */
			g_warning("no memory to look after a full CQ");
			goto unlock;
		}
		worker->blocked = blocked;
		worker->max_blocked += 64;
	}
	worker->blocked[worker->num_blocked++] = cq;
	cq->listed = true;
	if (!pthread_equal(pthread_self(), worker->thread))
		worker_wake(worker);
unlock:
	pthread_mutex_unlock(&worker->blocked_lock);
}

void worker_del_cq(struct cq *cq)
{
	struct worker *worker = cq->session->worker;
	unsigned int i;

	pthread_mutex_lock(&worker->blocked_lock);
	for (i = 0; cq->listed && i < worker->num_blocked; i++) {
		if (worker->blocked[i] != cq)
			continue;
		worker->blocked[i] = worker->blocked[--worker->num_blocked];
		cq->listed = false;
	}
	pthread_mutex_unlock(&worker->blocked_lock);
}

/* Returns how many are still held back. */
static unsigned int retry_blocked(struct worker *worker)
{
	unsigned int i = 0;

	/* An outdated look only puts the retry off to the next pass. */
	if (!__atomic_load_n(&worker->num_blocked, __ATOMIC_RELAXED))
		return 0;
	pthread_mutex_lock(&worker->blocked_lock);
	while (i < worker->num_blocked) {
		if (cq_retry(worker->blocked[i])) {
			worker->blocked[i]->listed = false;
			worker->blocked[i] =
				worker->blocked[--worker->num_blocked];
		} else {
			i++;
		}
	}
	i = worker->num_blocked;
	pthread_mutex_unlock(&worker->blocked_lock);
	return i;
}

/* --------------------------------- a pass ---------------------------------- */

typedef unsigned int serve_fn(struct worker *worker, struct qp *qp);

static unsigned int serve_receives(struct worker *worker, struct qp *qp)
{
	(void)worker;
	return qp_dispatch_serve_receives(qp);
}

static unsigned int serve_all(struct worker *worker, struct qp *qp)
{
	return qp_dispatch_serve(worker, qp);
}

/* A slot without a QP: what is posted on its SRQ is taken with the receives. */
static unsigned int serve_srq(struct worker *worker, struct context *context,
			      unsigned int slot)
{
	const struct fabric_ops *ops = context->session->ops;
	unsigned int served;
	struct srq *srq;

	srq = rcu_dereference(context->srq_slots[slot]);
	if (!srq || !ops->srq_serve)
		return 0;
	pthread_mutex_lock(&srq->lock);
	served = ops->srq_serve(worker, srq);
	pthread_mutex_unlock(&srq->lock);
	return served;
}

/* Call serve for each QP of a context that the pass has taken. */
static unsigned int serve_taken(struct worker *worker, struct context *context,
				serve_fn *serve)
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
			served += serve(worker, qp);
			pthread_mutex_unlock(&qp->lock);
		}
	}
	return served;
}

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
			if (qp->deadline_ns <= worker->now)
				context_again(context, slot);
			else
				context_timed(context, slot);
		}
	}
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
		if (context->taken_summary & 1ull << word)
			bits |= context->taken[word];
		context->taken[word] = bits;
		context->taken_summary |= 1ull << word;
	}
}

/* Likewise those that pvhcad itself wants to serve again. */
static void take_again(struct worker *worker, struct context *context)
{
	uint64_t words, bits;
	unsigned int word;

	if (atomic_load_explicit(&context->timed_summary, memory_order_relaxed))
		expire_timed(worker, context);
	if (!atomic_load_explicit(&context->again_summary,
				  memory_order_relaxed))
		return;
	words = atomic_exchange(&context->again_summary, 0);
	for (; words; words &= words - 1) {
		word = __builtin_ctzll(words);
		bits = atomic_exchange(&context->again[word], 0);
		if (context->taken_summary & 1ull << word)
			bits |= context->taken[word];
		context->taken[word] = bits;
		context->taken_summary |= 1ull << word;
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
			qp = rcu_dereference(context->slots[word * 64 +
					     __builtin_ctzll(bits)]);
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
	if (context->session->ops->qp_serve_receives)
		look_at_sends(context);
}

/* After take_context() of all contexts. */
static unsigned int take_receives(struct worker *worker, struct context *context)
{
	const struct fabric_ops *ops = context->session->ops;

	if (!ops->qp_serve_receives && !ops->srq_serve)
		return 0;
	take_pending(context);
	return serve_taken(worker, context, serve_receives);
}

/* All receives before any send; see qp_serve_receives in fabric.h. */
static unsigned int serve_contexts(struct worker *worker,
				   struct context **contexts,
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
		contexts[i]->busy_until_ns = worker->now + BUSY_NS;
		served += serve_taken(worker, contexts[i], serve_all);
	}
	return served;
}

static void find_busy(const struct worker *worker, struct assignment *assignment)
{
	unsigned int i;

	assignment->num_busy = 0;
	for (i = 0; i < assignment->num_contexts; i++)
		if (assignment->contexts[i]->busy_until_ns > worker->now)
			assignment->busy[assignment->num_busy++] =
				assignment->contexts[i];
	assignment->looked_ns = worker->now;
}

/* All sessions are of one fabric. */
static const struct fabric_ops *assignment_ops(const struct assignment *assignment)
{
	return assignment->num_sessions ? assignment->sessions[0]->ops : NULL;
}

/*
 * Where receives are handed to an engine no context is passed over: one that seems
 * idle may have posted the receive for a send of this pass.
 */
static bool may_pass_over_idle(const struct assignment *assignment)
{
	const struct fabric_ops *ops = assignment_ops(assignment);

	return assignment->num_contexts > FEW_CONTEXTS &&
	       !(ops && ops->qp_serve_receives);
}

static unsigned int serve_busy(struct worker *worker,
			       struct assignment *assignment)
{
	unsigned int served;

	if (worker->now - assignment->looked_ns < LOOK_AT_IDLE_NS)
		return serve_contexts(worker, assignment->busy,
				      assignment->num_busy);
	served = serve_contexts(worker, assignment->contexts,
				assignment->num_contexts);
	find_busy(worker, assignment);
	return served;
}

static unsigned int poll_sessions(struct worker *worker,
				  const struct assignment *assignment)
{
	const struct fabric_ops *ops = assignment_ops(assignment);
	unsigned int i, served = 0;

	if (!ops || !ops->session_poll)
		return 0;
	for (i = 0; i < assignment->num_sessions; i++)
		served += ops->session_poll(worker, assignment->sessions[i]);
	return served;
}

static unsigned int pass(struct worker *worker)
{
	struct assignment *assignment = rcu_dereference(worker->assignment);
	unsigned int served;

	if (may_pass_over_idle(assignment))
		served = serve_busy(worker, assignment);
	else
		served = serve_contexts(worker, assignment->contexts,
					assignment->num_contexts);
	served += poll_sessions(worker, assignment);
	retry_blocked(worker);
	flush_dirty(worker);
	return served;
}

/* ---------------------------------- sleep ---------------------------------- */

static void set_need_kick(const struct assignment *assignment, uint64_t value)
{
	unsigned int i;

	for (i = 0; i < assignment->num_contexts; i++)
		atomic_store_explicit((_Atomic uint64_t *)
				      &assignment->contexts[i]->page->need_kick,
				      value, memory_order_relaxed);
}

static bool is_anything_announced(struct context *context)
{
	return atomic_load((_Atomic uint64_t *)&context->page->summary) ||
	       atomic_load(&context->again_summary);
}

static bool is_anything_pending(struct worker *worker,
				const struct assignment *assignment)
{
	struct context *context;
	struct session *session;
	bool pending = false;
	unsigned int i;

	for (i = 0; i < assignment->num_contexts; i++) {
		context = assignment->contexts[i];
		pending |= is_anything_announced(context);
	}
	for (i = 0; i < assignment->num_sessions; i++) {
		session = assignment->sessions[i];
		if (session->ops->session_arm)
			pending |= session->ops->session_arm(worker, session);
	}
	return pending;
}

/* The earliest deadline of all waiting QPs, or UINT64_MAX. */
static uint64_t next_deadline(const struct assignment *assignment)
{
	uint64_t deadline = UINT64_MAX, words, bits;
	struct context *context;
	unsigned int i, word;
	struct qp *qp;

	for (i = 0; i < assignment->num_contexts; i++) {
		context = assignment->contexts[i];
		words = atomic_load(&context->timed_summary);
		for (; words; words &= words - 1) {
			word = __builtin_ctzll(words);
			bits = atomic_load(&context->timed[word]);
			for (; bits; bits &= bits - 1) {
				qp = rcu_dereference(context->slots[word * 64 +
						     __builtin_ctzll(bits)]);
				if (qp && qp->deadline_ns < deadline)
					deadline = qp->deadline_ns;
			}
		}
	}
	return deadline;
}

/* Milliseconds for epoll_wait, rounded up; -1: for ever. */
static int sleep_ms(struct worker *worker, const struct assignment *assignment)
{
	uint64_t deadline = next_deadline(assignment), now = monotonic_ns();

	if (__atomic_load_n(&worker->num_blocked, __ATOMIC_RELAXED) &&
	    deadline > now + BLOCKED_RETRY_NS)
		deadline = now + BLOCKED_RETRY_NS;
	if (deadline == UINT64_MAX)
		return -1;
	if (deadline <= now)
		return 0;
	deadline = (deadline - now + NS_PER_MS - 1) / NS_PER_MS;
	return deadline < INT_MAX ? (int)deadline : INT_MAX;
}

static void handle_source(struct worker *worker, uint64_t source)
{
	struct assignment *assignment = rcu_dereference(worker->assignment);
	struct session *session = NULL;
	eventfd_t count = 0;
	unsigned int i;

	if ((source & 3) == SOURCE_WAKE) {
		eventfd_read(worker->wake_fd, &count);
		return;
	}
	for (i = 0; i < assignment->num_sessions; i++)
		if (assignment->sessions[i]->id == source >> 2)
			session = assignment->sessions[i];
	if (!session)
		return;
	if ((source & 3) == SOURCE_FABRIC) {
		session->ops->session_event(worker, session);
		return;
	}
	i = session->doorbell / PVHCA_DB_STRIDE;
	if (!eventfd_read(session->doorbell_fds[i], &count))
		counter_add(&session->counters.doorbells, count);
}

static void learn_spin(struct worker *worker, uint64_t slept_ns)
{
	if (slept_ns < worker->spin_limit_ns)
		worker->spin_ns *= 2;
	else
		worker->spin_ns /= 2;
	if (worker->spin_ns < SPIN_MIN_NS)
		worker->spin_ns = SPIN_MIN_NS;
	if (worker->spin_ns > worker->spin_limit_ns)
		worker->spin_ns = worker->spin_limit_ns;
}

static void sleep_until_needed(struct worker *worker)
{
	struct assignment *assignment = rcu_dereference(worker->assignment);
	struct epoll_event events[EPOLL_BATCH];
	uint64_t began;
	int i, n, ms;

	set_need_kick(assignment, htole64(UINT64_MAX));
	/* Between our need_kick and the guests' summary; see pvhca-ring.h. */
	atomic_thread_fence(memory_order_seq_cst);
	if (is_anything_pending(worker, assignment)) {
		set_need_kick(assignment, 0);
		return;
	}
	ms = sleep_ms(worker, assignment);

	began = monotonic_ns();
	rcu_thread_offline();
	n = epoll_wait(worker->epoll_fd, events, EPOLL_BATCH, ms);
	rcu_thread_online();
	learn_spin(worker, monotonic_ns() - began);

	/* The assignment may have been replaced meanwhile. */
	set_need_kick(rcu_dereference(worker->assignment), 0);
	for (i = 0; i < n; i++)
		handle_source(worker, events[i].data.u64);
}

/*
 * Nothing to do, but too early to sleep. Returns whether the processor is wanted
 * by others.
 */
static bool poll_politely(struct worker *worker)
{
	uint64_t before;

	if (!worker->few_cpus)
		return false;
	before = monotonic_ns();
	sched_yield();
	if (!worker->give_way || monotonic_ns() - before < CROWDED_NS)
		return false;
	worker->spin_ns = SPIN_MIN_NS;
	return true;
}

/* Sends that the engines have of all sessions. */
static unsigned int count_in_flight(const struct worker *worker)
{
	const struct assignment *assignment = rcu_dereference(worker->assignment);
	const struct session *session;
	unsigned int i, count = 0;

	for (i = 0; i < assignment->num_sessions; i++) {
		session = assignment->sessions[i];
		if (session->ops->session_in_flight)
			count += session->ops->session_in_flight(session);
	}
	return count;
}

/*
 * Leave the processor to others for a moment, while the engine has in_flight
 * sends to work on. need_kick stays unset: nobody rings. The nap is to be as
 * long as it takes the engine to complete between an eighth and a quarter of
 * them.
 */
static void nap(struct worker *worker, unsigned int in_flight)
{
	struct timespec duration = { .tv_nsec = worker->nap_ns };
	unsigned int left;

	rcu_thread_offline();
	clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, NULL);
	rcu_thread_online();

	worker->now = monotonic_ns();
	if (pass(worker))
		worker->naps_in_vain = 0;
	else
		worker->naps_in_vain++;
	left = count_in_flight(worker);
	if (left > in_flight - in_flight / 8)
		worker->nap_ns *= 2;
	else if (left < in_flight - in_flight / 4)
		worker->nap_ns /= 2;
	if (worker->nap_ns < NAP_MIN_NS)
		worker->nap_ns = NAP_MIN_NS;
	if (worker->nap_ns > NAP_MAX_NS)
		worker->nap_ns = NAP_MAX_NS;
}

/* Nothing to do for now. */
static void rest(struct worker *worker)
{
	unsigned int in_flight = 0;

	if (worker->few_cpus && worker->give_way)
		in_flight = count_in_flight(worker);
	if (in_flight >= NAP_IN_FLIGHT &&
	    worker->naps_in_vain < NAPS_IN_VAIN) {
		nap(worker, in_flight);
		return;
	}
	sleep_until_needed(worker);
	worker->naps_in_vain = 0;
}

/* The thread's own nice value, as Linux has it. */
static void raise_priority(const struct worker *worker)
{
	int nice;

	if (!worker->priority)
		return;
	errno = 0;
	nice = getpriority(PRIO_PROCESS, 0);
	if (errno || setpriority(PRIO_PROCESS, 0,
				 nice - (int)worker->priority))
		g_warning("worker %u keeps its usual priority: %s",
			  worker->index, g_strerror(errno));
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	uint64_t last_work;

	raise_priority(worker);
	rcu_register_thread();
	last_work = monotonic_ns();
	while (!atomic_load_explicit(&worker->stop, memory_order_relaxed)) {
		worker->now = monotonic_ns();
		if (pass(worker)) {
			last_work = worker->now;
		} else if (worker->now - last_work > worker->spin_ns ||
			   poll_politely(worker)) {
			rest(worker);
			last_work = monotonic_ns();
		}
		rcu_quiescent_state();
	}
	rcu_unregister_thread();
	return NULL;
}

/* ------------------------------- assignments ------------------------------- */

static void assignment_free(struct assignment *assignment)
{
	if (!assignment)
		return;
	free(assignment->sessions);
	free(assignment->contexts);
	free(assignment->busy);
	free(assignment);
}

/* A copy of what is assigned with room for one more of each. */
static struct assignment *assignment_copy(const struct assignment *from)
{
	struct assignment *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	copy->sessions = calloc(from->num_sessions + 1,
				sizeof(*copy->sessions));
	copy->contexts = calloc(from->num_contexts + 1,
				sizeof(*copy->contexts));
	copy->busy = calloc(from->num_contexts + 1, sizeof(*copy->busy));
	if (!copy->sessions || !copy->contexts || !copy->busy) {
		assignment_free(copy);
		return NULL;
	}
	copy->num_sessions = from->num_sessions;
	copy->num_contexts = from->num_contexts;
	/* The first one has no arrays. */
	if (from->sessions)
		memcpy(copy->sessions, from->sessions,
		       from->num_sessions * sizeof(*copy->sessions));
	if (from->contexts)
		memcpy(copy->contexts, from->contexts,
		       from->num_contexts * sizeof(*copy->contexts));
	return copy;
}

static unsigned int pointer_remove(void **array, unsigned int count,
				   const void *pointer)
{
	unsigned int i, kept = 0;

	for (i = 0; i < count; i++)
		if (array[i] != pointer)
			array[kept++] = array[i];
	return kept;
}

/*
 * Publish a changed copy and wait until the worker has left the old one. With
 * workers.lock held; drops it for the wait.
 */
static void assignment_replace(struct worker *worker, struct assignment *next)
{
	struct assignment *old = worker->assignment;

	rcu_assign_pointer(worker->assignment, next);
	pthread_mutex_unlock(&workers.lock);
	worker_wake(worker);
	synchronize_rcu();
	assignment_free(old);
}

static int epoll_add(struct worker *worker, int fd, uint64_t source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = source };

	return epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) ?
		-errno : 0;
}

static int session_fabric_fd(struct session *session)
{
	return session->ops->session_event_fd ?
		session->ops->session_event_fd(session) : -1;
}

static struct worker *least_loaded(void)
{
	struct worker *best = &workers.worker[0];
	unsigned int i;

	for (i = 1; i < workers.count; i++)
		if (workers.worker[i].load < best->load)
			best = &workers.worker[i];
	return best;
}

int worker_attach(struct session *session)
{
	int fabric_fd = session_fabric_fd(session), err;
	struct assignment *next;
	struct worker *worker;
	unsigned int doorbell;

	pthread_mutex_lock(&workers.lock);
	worker = least_loaded();
	doorbell = worker->index % session->num_doorbells;
	next = assignment_copy(worker->assignment);
	err = -ENOMEM;
	if (!next)
		goto err_unlock;
	err = epoll_add(worker, session->doorbell_fds[doorbell],
			(uint64_t)session->id << 2 | SOURCE_DOORBELL);
	if (err)
		goto err_free;
	if (fabric_fd >= 0)
		err = epoll_add(worker, fabric_fd,
				(uint64_t)session->id << 2 | SOURCE_FABRIC);
	if (err)
		goto err_del_doorbell;

	session->worker = worker;
	session->doorbell = doorbell * PVHCA_DB_STRIDE;
	worker->load++;
	next->sessions[next->num_sessions++] = session;
	assignment_replace(worker, next);
	return 0;

err_del_doorbell:
	epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL,
		  session->doorbell_fds[doorbell], NULL);
err_free:
	assignment_free(next);
err_unlock:
	pthread_mutex_unlock(&workers.lock);
	return err;
}

/*
 * Take out what pointer names, be it a session or a context, which must not
 * fail. With workers.lock held; drops it.
 */
static void assignment_remove(struct worker *worker, const void *pointer)
{
	struct assignment *next;

	while (!(next = assignment_copy(worker->assignment))) {
		pthread_mutex_unlock(&workers.lock);
		g_warning("no memory to change a worker's assignment; waiting");
		sleep(1);
		pthread_mutex_lock(&workers.lock);
	}
	next->num_sessions = pointer_remove((void **)next->sessions,
					    next->num_sessions, pointer);
	next->num_contexts = pointer_remove((void **)next->contexts,
					    next->num_contexts, pointer);
	assignment_replace(worker, next);
}

void worker_detach(struct session *session)
{
	struct worker *worker = session->worker;
	int fabric_fd = session_fabric_fd(session);
	unsigned int doorbell = session->doorbell / PVHCA_DB_STRIDE;

	epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL,
		  session->doorbell_fds[doorbell], NULL);
	if (fabric_fd >= 0)
		epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, fabric_fd, NULL);

	pthread_mutex_lock(&workers.lock);
	worker->load--;
	assignment_remove(worker, session);
	session->worker = NULL;
}

int worker_add_context(struct context *context)
{
	struct worker *worker = context->session->worker;
	struct assignment *next;

	pthread_mutex_lock(&workers.lock);
	next = assignment_copy(worker->assignment);
	if (!next) {
		pthread_mutex_unlock(&workers.lock);
		return -ENOMEM;
	}
	next->contexts[next->num_contexts++] = context;
	assignment_replace(worker, next);
	return 0;
}

void worker_del_context(struct context *context)
{
	pthread_mutex_lock(&workers.lock);
	assignment_remove(context->session->worker, context);
}

void worker_settle(struct context *context)
{
	const struct timespec duration = { .tv_nsec = SETTLE_NS };
	unsigned int i;

	for (i = 0; i < SETTLE_TRIES; i++) {
		if (!is_anything_announced(context)) {
			/* The pass that took the last of it ends before this. */
			synchronize_rcu();
			if (!is_anything_announced(context))
				return;
		}
		worker_wake(context->session->worker);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, NULL);
	}
}

/* ----------------------------- start and stop ------------------------------ */

static int worker_init(struct worker *worker, unsigned int index,
		       const struct config *config)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int err;

	worker->index = index;
	worker->spin_limit_ns = config->spin_us * NS_PER_US;
	worker->spin_ns = worker->spin_limit_ns < SPIN_MIN_NS ?
		worker->spin_limit_ns : SPIN_MIN_NS;
	worker->few_cpus = cpus < (long)config->workers + 4;
	worker->give_way = config->give_way;
	worker->priority = config->priority;
	worker->nap_ns = NAP_MIN_NS;
	pthread_mutex_init(&worker->blocked_lock, NULL);

	worker->assignment = calloc(1, sizeof(*worker->assignment));
	if (!worker->assignment)
		return -ENOMEM;
	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (worker->epoll_fd < 0) {
		err = -errno;
		goto err_free;
	}
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->wake_fd < 0) {
		err = -errno;
		goto err_close_epoll;
	}
	err = epoll_add(worker, worker->wake_fd, SOURCE_WAKE);
	if (!err)
		err = -pthread_create(&worker->thread, NULL, worker_main,
				      worker);
	if (err)
		goto err_close_wake;
	cpuset_pin(worker->thread, config->cpus, index);
	return 0;

err_close_wake:
	close(worker->wake_fd);
err_close_epoll:
	close(worker->epoll_fd);
err_free:
	assignment_free(worker->assignment);
	return err;
}

static void worker_fini(struct worker *worker)
{
	atomic_store(&worker->stop, true);
	worker_wake(worker);
	pthread_join(worker->thread, NULL);
	close(worker->wake_fd);
	close(worker->epoll_fd);
	assignment_free(worker->assignment);
	free(worker->blocked);
	pthread_mutex_destroy(&worker->blocked_lock);
}

int workers_start(const struct config *config)
{
	int err;

	workers.worker = calloc(config->workers, sizeof(*workers.worker));
	if (!workers.worker)
		return -ENOMEM;
	for (; workers.count < config->workers; workers.count++) {
		err = worker_init(&workers.worker[workers.count],
				  workers.count, config);
		if (err) {
			workers_stop();
			return err;
		}
	}
	return 0;
}

void workers_stop(void)
{
	while (workers.count)
		worker_fini(&workers.worker[--workers.count]);
	free(workers.worker);
	workers.worker = NULL;
}
