/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CQs that hold completions or an event back until the guest makes room, which it
 * does without a word: its worker tries again in each pass.
 */
#ifndef HOSTD_VM_CQ_BLOCKED_H
#define HOSTD_VM_CQ_BLOCKED_H

#include <pthread.h>

struct cq;

/**
 * struct cq_blocked_list - of one worker
 * @lock: covers cqs, num, max, and each cq->listed
 * @thread: the worker's, which needs no waking
 * @wake_fd: eventfd that wakes the worker from its sleep
 */
struct cq_blocked_list {
	pthread_mutex_t lock;
	struct cq **cqs;
	unsigned int num, max;
	pthread_t thread;
	int wake_fd;
};

/* Before the worker's thread is there; that sets list->thread first of all. */
void cq_blocked_init(struct cq_blocked_list *list, int wake_fd);
void cq_blocked_fini(struct cq_blocked_list *list);

/*
 * Put a CQ on the list of its VM's worker, and wake that. Any thread. Where there is no
 * memory the next completion of this CQ tries again.
 */
void cq_blocked_add(struct cq *cq);
/* Take a CQ that is being destroyed off the list. */
void cq_blocked_del(struct cq *cq);
/* Deliver what can be delivered by now. The worker's thread. */
void cq_blocked_retry(struct cq_blocked_list *list);

#endif
