// SPDX-License-Identifier: GPL-2.0-or-later
#include "vm/cq_blocked.h"

#include <stdlib.h>
#include <sys/eventfd.h>

#include "lib/log.h"
#include "vm/cq.h"
#include "vm/pass.h"
#include "vm/vm.h"

#define LIST_STEP 64 /* places that a list grows by */

void cq_blocked_init(struct cq_blocked_list *list, pthread_t thread, int wake_fd)
{
	pthread_mutex_init(&list->lock, NULL);
	list->thread = thread;
	list->wake_fd = wake_fd;
}

void cq_blocked_fini(struct cq_blocked_list *list)
{
	free(list->cqs);
	pthread_mutex_destroy(&list->lock);
}

/* With list->lock held. */
static bool cq_blocked_make_room(struct cq_blocked_list *list)
{
	struct cq **cqs;

	if (list->num < list->max)
		return true;
	cqs = realloc(list->cqs, (list->max + LIST_STEP) * sizeof(*cqs));
	if (!cqs) {
		g_warning("no memory to look after a full CQ");
		return false;
	}
	list->cqs = cqs;
	list->max += LIST_STEP;
	return true;
}

void cq_blocked_add(struct cq *cq)
{
	struct cq_blocked_list *list = cq->vm->blocked_cqs;

	pthread_mutex_lock(&list->lock);
	if (!cq->listed && cq_blocked_make_room(list)) {
		list->cqs[list->num++] = cq;
		cq->listed = true;
		if (!pthread_equal(pthread_self(), list->thread))
			eventfd_write(list->wake_fd, 1);
	}
	pthread_mutex_unlock(&list->lock);
}

void cq_blocked_del(struct cq *cq)
{
	struct cq_blocked_list *list = cq->vm->blocked_cqs;
	unsigned int i;

	pthread_mutex_lock(&list->lock);
	for (i = 0; cq->listed && i < list->num; i++) {
		if (list->cqs[i] != cq)
			continue;
		list->cqs[i] = list->cqs[--list->num];
		cq->listed = false;
	}
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
		if (list->next >= list->num)
			list->next = 0;
		cq = list->cqs[list->next];
		pass_spend(pass, PASS_VISIT_NS);
		if (cq_retry(pass, cq)) {
			cq->listed = false;
			list->cqs[list->next] = list->cqs[--list->num];
		} else {
			list->next++;
		}
	}
	pthread_mutex_unlock(&list->lock);
}
