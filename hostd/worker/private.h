/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files of this room. Other rooms use worker/worker.h. */
#ifndef HOSTD_WORKER_PRIVATE_H
#define HOSTD_WORKER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/slot_set.h"
#include "vm/cq_blocked.h"
#include "vm/objects.h"
#include "vm/pass.h"
#include "vm/vm.h"
#include "worker/worker.h"

/* The purpose of a descriptor in epoll. The id of its session is in the bits above. */
enum worker_source {
	SOURCE_WAKE,
	SOURCE_DOORBELL,
	SOURCE_FABRIC,
};

/**
 * struct context_list - the contexts of a VM; replaced as a whole
 * @busy, @num_busy: those that had something to do lately; the worker's own
 */
struct context_list {
	unsigned int count;
	unsigned int num_busy;
	struct context **busy;
	struct context *context[];
};

/**
 * struct bucket - tokens of a rate
 * @tokens: that are there; below 0: more were taken
 * @filled_ns: time up to which they were added; 0: there is no limit
 */
struct bucket {
	int64_t tokens;
	uint64_t filled_ns;
};

/**
 * struct worker_vm - a VM as its worker has it: vm->worker_vm
 * @contexts: RCU; the session's thread replaces it
 * @blocked_cqs: CQs that it leaves no room in
 * @doorbell_fd: an epoll of its own that has its doorbell, in the worker's
 * @left: the worker's last assignment with this VM, after worker_leave(); else NULL
 *
 * The worker's own:
 *
 * @next_context: its next turn begins with that one
 * @next_look, @next_timed: the next look at contexts likewise
 * @credit: ns that it may take in its next turn; below 0: it has taken more than its share
 * @busy_until_ns: it is looked at in each pass until then
 * @ready: it waits for its turn
 * @receiving: receives of it are still to be handed over: its sends wait for that
 * @bytes, @messages: what its rates leave
 * @throttled_until_ns: it has work that has to wait for tokens until then; 0: it has not
 * @throttled_since_ns: and waits since then
 * @listed: it is among the turns
 * @counted: it is among the busy ones
 * @at: its place in the assignment
 */
struct worker_vm {
	struct vm *vm;
	struct context_list *contexts;
	int doorbell_fd;
	struct assignment *left;
	unsigned int next_context;
	unsigned int next_look;
	unsigned int next_timed;
	int64_t credit;
	uint64_t busy_until_ns;
	bool ready;
	bool receiving;
	struct bucket bytes;
	struct bucket messages;
	uint64_t throttled_until_ns;
	uint64_t throttled_since_ns;
	bool listed;
	bool counted;
	unsigned int at;
	struct cq_blocked_list blocked_cqs;
};

/**
 * struct assignment - VMs that a worker serves; replaced as a whole
 *
 * The worker's own:
 *
 * @begun: it has been used in a pass
 * @first: looks at all VMs begin with that one
 * @busy, @num_busy: VMs that had something to do lately
 * @looked_ns: time of the last look at others; 0: there was none
 * @next_look: the VM that the next of these begins with
 * @turn, @num_turns: VMs that wait for their turn, in this order
 * @next_receives, @next_poll: whose receives, and completions, come first in the next pass
 */
struct assignment {
	unsigned int num_vms;
	struct worker_vm **vms;
	bool begun;
	unsigned int first;
	struct worker_vm **busy;
	unsigned int num_busy;
	uint64_t looked_ns;
	unsigned int next_look;
	struct worker_vm **turn;
	unsigned int num_turns;
	unsigned int next_receives;
	unsigned int next_poll;
};

/* A VM: by its id and, should it have gone, by its place among those of its worker. */
struct worker_place {
	unsigned int id;
	unsigned int at;
};

struct worker {
	unsigned int index;
	pthread_t thread;
	int epoll_fd;
	int wake_fd;
	struct assignment *assignment; /* RCU */
	unsigned int load;	       /* sessions; under worker_pool.lock */

	/* The thread's own */
	struct pass pass;
	int64_t spent;	       /* ns of the pass, estimated */
	struct slot_set taken; /* worker/turn.c */
	/* Who goes on in the next assignment, see assignment.first, .next_receives, .next_poll */
	struct worker_place next_turn, next_receives, next_poll;
	uint64_t spin_ns;
	uint64_t spin_limit_ns;
	uint64_t nap_ns;
	uint64_t yielded_ns; /* the last time that others went first */
	unsigned int naps_in_vain;
	bool few_cpus; /* let others go first, for they make our work */
	bool give_way;
	unsigned int priority;

	_Atomic bool stop;
};

struct worker_pool {
	pthread_mutex_t lock; /* assignments' writers, load */
	struct worker *worker;
	unsigned int count;
};

extern struct worker_pool worker_pool;

/* ----------------------------- worker/pass.c ------------------------------- */

/* Serve all that is announced; returns how much that was. */
unsigned int worker_pass(struct worker *worker);
/* Did the guest, or pvhcad, announce something in it that no pass has served? */
bool worker_is_announced(struct context *context);

/* ------------------------------ worker/turn.c ------------------------------ */

/* All in an RCU read section, in the worker's thread. */

/*
 * Look at the VM's contexts and find the slots to be served; sets wv->ready. all: at its idle
 * contexts, too.
 */
void worker_look(struct worker *worker, struct worker_vm *wv, bool all);
/*
 * Hand over receives, or serve what is ready, collect completions, until the turn's end.
 * The turn has begun. They return how much was done.
 */
unsigned int worker_hand_over_receives(struct worker *worker, struct worker_vm *wv);
unsigned int worker_serve(struct worker *worker, struct worker_vm *wv);
/* Is something announced, or left over? */
bool worker_has_work(const struct worker_vm *wv);
/* Before receives are handed over: find what was announced since. Returns wv->ready. */
bool worker_look_again(struct worker *worker, struct worker_vm *wv);
/* An engine takes receives, and is to have them before any send. */
bool worker_vm_has_receives(const struct worker_vm *wv);

/* ------------------------------ worker/rate.c ------------------------------ */

/* Add the tokens of the time since the last call, rate > 0 a second, up to burst > 0. */
void rate_bucket_fill(struct bucket *bucket, uint64_t rate, int64_t burst, uint64_t now);
/* The time until so many are there, ns; 10 s at most. */
uint64_t rate_bucket_ns_until(const struct bucket *bucket, uint64_t rate, int64_t tokens);
/* After pass_begin_turn(): what the VM's rates leave to the turn. */
void rate_begin(struct worker_vm *wv, struct pass *pass);
/*
 * After a turn: what it took. Sets throttled_until_ns if there is too little left for another
 * request, and the VM has more work.
 */
void rate_end(struct worker_vm *wv, const struct pass *pass);

/* Does the VM wait for tokens now? */
static inline bool rate_waits(const struct worker_vm *wv, uint64_t now)
{
	return wv->throttled_until_ns > now;
}

/* ----------------------------- worker/sleep.c ------------------------------ */

void worker_sleep_init(struct worker *worker, const struct config *config);
/* Have a sleeping worker woken by fd, of this session's. 0 or a negative errno. */
int worker_listen(struct worker *worker, int fd, unsigned int vm, enum worker_source source);
void worker_unlisten(struct worker *worker, int fd);
/*
 * Nothing to do, but too early to sleep. Returns whether the processor is wanted
 * by others.
 */
bool worker_poll_politely(struct worker *worker, uint64_t last_work);
/* Nothing to do for now: nap, or sleep until the worker is woken. */
void worker_rest(struct worker *worker);

/* ----------------------------- worker/assign.c ----------------------------- */

void worker_assignment_free(struct assignment *assignment);

#endif
