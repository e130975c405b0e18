// SPDX-License-Identifier: GPL-2.0-or-later
#include "vm/cq_blocked.h"

#include <sys/eventfd.h>

#include "vm/cq.h"
#include "vm/pass.h"
#include "vm/vm.h"

void cq_blocked_init(struct cq_blocked_list *list, pthread_t thread, int wake_fd)
{
	pthread_mutex_init(&list->lock, NULL);
	CDS_INIT_LIST_HEAD(&list->cqs);
	list->thread = thread;
	list->wake_fd = wake_fd;
}

void cq_blocked_fini(struct cq_blocked_list *list)
{
	pthread_mutex_destroy(&list->lock);
}

/* With list->lock held, as the next one. cq_blocked_any() reads it without. */
static void cq_blocked_count(struct cq_blocked_list *list, int more)
{
	__atomic_store_n(&list->num, list->num + more, __ATOMIC_RELAXED);
}

static void cq_blocked_remove(struct cq_blocked_list *list, struct cq *cq)
{
	cds_list_del(&cq->blocked);
	cq_blocked_count(list, -1);
	cq->listed = false;
}

void cq_blocked_add(struct cq *cq)
{
	struct cq_blocked_list *list = cq->vm->blocked_cqs;

	pthread_mutex_lock(&list->lock);
	if (!cq->listed) {
		cds_list_add_tail(&cq->blocked, &list->cqs);
		cq_blocked_count(list, 1);
		cq->listed = true;
		if (!pthread_equal(pthread_self(), list->thread))
			eventfd_write(list->wake_fd, 1);
	}
	pthread_mutex_unlock(&list->lock);
}

void cq_blocked_del(struct cq *cq)
{
	struct cq_blocked_list *list = cq->vm->blocked_cqs;

	pthread_mutex_lock(&list->lock);
	if (cq->listed)
		cq_blocked_remove(list, cq);
	pthread_mutex_unlock(&list->lock);
}

void cq_blocked_retry(struct pass *pass, struct cq_blocked_list *list)
{
	unsigned int tries;
	struct cq *cq;

	if (!cq_blocked_any(list))
		return;
	pthread_mutex_lock(&list->lock);
	for (tries = list->num; tries && pass_goes_on(pass); tries--) {
		cq = cds_list_first_entry(&list->cqs, struct cq, blocked);
		pass_spend(pass, PASS_VISIT_NS);
		if (cq_retry(pass, cq)) {
			cq_blocked_remove(list, cq);
		} else {
			cds_list_del(&cq->blocked);
			cds_list_add_tail(&cq->blocked, &list->cqs);
		}
	}
	pthread_mutex_unlock(&list->lock);
}
