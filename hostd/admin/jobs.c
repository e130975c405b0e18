// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A job may start when it conflicts with none that was posted before it, running or not.
 * So the order is kept per object, and a job that needs an object alone is not overtaken
 * by a stream of those that share it.
 *
 * Nothing is kept of who waits for whom. The list is short, and what a waiting job claims
 * may change: a region that is ended may have moved to another PD meanwhile.
 */
#include "admin/jobs.h"

#include <errno.h>
#include <stdlib.h>

#include "admin/commands.h"
#include "lib/heap.h"

/* False: no memory. Its limit is not asked, for there are few. */
static bool jobs_have_spare(struct jobs *jobs, const struct vm *vm)
{
	if (!jobs->spare)
		jobs->spare = heap_zalloc_beyond(vm->heap, sizeof(*jobs->spare));
	return jobs->spare;
}

int jobs_init(struct jobs *jobs, const struct vm *vm)
{
	*jobs = (struct jobs){ 0 };
	CDS_INIT_LIST_HEAD(&jobs->list);
	return jobs_have_spare(jobs, vm) ? 0 : -ENOMEM;
}

void jobs_fini(struct jobs *jobs)
{
	heap_free(jobs->spare);
	jobs->spare = NULL;
}

bool jobs_full(struct jobs *jobs, const struct vm *vm)
{
	return jobs->count == JOBS_MAX || !jobs_have_spare(jobs, vm);
}

/* The claims of the moment. Those of a job that runs stay as they are. */
static const struct claims *claims_of(struct job *job, const struct vm *vm)
{
	if (!job->running)
		commands_claims(vm, &job->cmd, &job->claims);
	return &job->claims;
}

bool jobs_in_the_way(struct jobs *jobs, const struct vm *vm, const struct claims *claims)
{
	struct job *job;

	cds_list_for_each_entry (job, &jobs->list, node)
		if (claims_conflict(claims_of(job, vm), claims))
			return true;
	return false;
}

void jobs_add(struct jobs *jobs, const struct pvhca_admin_cmd *cmd)
{
	struct job *job = jobs->spare;

	jobs->spare = NULL;
	*job = (struct job){ .cmd = *cmd };
	cds_list_add_tail(&job->node, &jobs->list);
	jobs->count++;
}

/* Once there was none, the spare comes from here. */
static void jobs_take_out(struct jobs *jobs, struct job *job)
{
	cds_list_del(&job->node);
	jobs->count--;
	if (jobs->spare)
		heap_free(job);
	else
		jobs->spare = job;
}

/* Those before it were asked just now, or run, so that their claims are up to date. */
static bool may_start(struct jobs *jobs, struct job *job, const struct vm *vm)
{
	const struct claims *claims = claims_of(job, vm);
	const struct job *earlier;

	if (job->running)
		return false;
	cds_list_for_each_entry (earlier, &jobs->list, node) {
		if (earlier == job)
			break;
		if (claims_conflict(&earlier->claims, claims))
			return false;
	}
	return true;
}

struct job *jobs_start(struct jobs *jobs, const struct vm *vm)
{
	struct job *job;

	cds_list_for_each_entry (job, &jobs->list, node) {
		if (!may_start(jobs, job, vm))
			continue;
		job->running = true;
		jobs->running++;
		return job;
	}
	return NULL;
}

unsigned int jobs_ready(struct jobs *jobs, const struct vm *vm)
{
	unsigned int ready = 0;
	struct job *job;

	cds_list_for_each_entry (job, &jobs->list, node)
		ready += may_start(jobs, job, vm);
	return ready;
}

void jobs_end(struct jobs *jobs, struct job *job)
{
	jobs->running--;
	jobs_take_out(jobs, job);
}

void jobs_drop(struct jobs *jobs)
{
	struct job *job, *next;

	cds_list_for_each_entry_safe (job, next, &jobs->list, node)
		if (!job->running)
			jobs_take_out(jobs, job);
}
