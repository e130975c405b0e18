// SPDX-License-Identifier: GPL-2.0-or-later
#include "vm/cq_blocked.h"

#include <stdlib.h>
#include <sys/eventfd.h>

#include "lib/log.h"
#include "vm/cq.h"
#include "vm/vm.h"

#define LIST_STEP 64 /* places that a list grows by */

void cq_blocked_init(struct cq_blocked_list *list, int wake_fd)
{
	pthread_mutex_init(&list->lock, NULL);
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

void cq_blocked_retry(struct cq_blocked_list *list)
{
	unsigned int i = 0;

	/* An outdated look only puts the retry off to the next pass. */
	if (!__atomic_load_n(&list->num, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&list->lock);
	while (i < list->num) {
		if (cq_retry(list->cqs[i])) {
			list->cqs[i]->listed = false;
			list->cqs[i] = list->cqs[--list->num];
		} else {
			i++;
		}
	}
	pthread_mutex_unlock(&list->lock);
}
