/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CQs that hold completions or an event back until the guest makes room, which it
 * does without a word: its worker tries again in each turn of the VM.
 */
#ifndef HOSTD_VM_CQ_BLOCKED_H
#define HOSTD_VM_CQ_BLOCKED_H

#include <pthread.h>
#include <stdbool.h>

#include <urcu/list.h>

struct cq;
struct pass;

/**
 * struct cq_blocked_list - of one VM
 * @lock: covers cqs, num, and each cq->listed and cq->blocked
 * @cqs: by cq->blocked, that which is tried first at the head
 * @thread: the worker's, which needs no waking
 * @wake_fd: eventfd that wakes the worker from its sleep
 */
struct cq_blocked_list {
	pthread_mutex_t lock;
	struct cds_list_head cqs;
	unsigned int num;
	pthread_t thread;
	int wake_fd;
};

void cq_blocked_init(struct cq_blocked_list *list, pthread_t thread, int wake_fd);
void cq_blocked_fini(struct cq_blocked_list *list);

/*
 * Put a CQ on the list of its VM, and wake the worker. Any thread.
 */
void cq_blocked_add(struct cq *cq);
/* Take a CQ that is being destroyed off the list. */
void cq_blocked_del(struct cq *cq);
/*
 * Deliver the completions that have room by now, as many as the turn allows; the CQs that it
 * did not come to are first the next time. The worker's thread.
 */
void cq_blocked_retry(struct pass *pass, struct cq_blocked_list *list);

/* Is a CQ on the list? An outdated answer only puts the retry off to the next pass. */
static inline bool cq_blocked_any(const struct cq_blocked_list *list)
{
	return __atomic_load_n(&list->num, __ATOMIC_RELAXED);
}

#endif
