/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of a VM that were taken from its queue and are not carried out yet: those that
 * are under way, and those that wait for others, in the order in which the guest posted
 * them. All with vm->lock held.
 */
#ifndef HOSTD_ADMIN_JOBS_H
#define HOSTD_ADMIN_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include <urcu/list.h>

#include "admin/claims.h"
#include "pvhca/pvhca-admin.h"

struct vm;

/* What a VM can have there at a time; further commands stay in its queue. */
#define JOBS_MAX 64

/**
 * struct job - a command
 * @running: a thread carries it out
 * @claims: while it waits those of the moment: objects that it hangs on may change
 * @cmd: a private copy
 */
struct job {
	struct cds_list_head node;
	bool running;
	struct claims claims;
	struct pvhca_admin_cmd cmd;
};

/**
 * struct jobs - of a VM
 * @spare: for the next command. A command that ends something must not fail for want of
 *	memory; where there is none for another spare, the next one that ends becomes it
 */
struct jobs {
	struct cds_list_head list;
	unsigned int count;
	unsigned int running;
	struct job *spare;
};

/* 0 or -ENOMEM. */
int jobs_init(struct jobs *jobs, const struct vm *vm);
/* None is there any more. */
void jobs_fini(struct jobs *jobs);
/* Is another one to wait until one of those that are there has ended? */
bool jobs_full(struct jobs *jobs, const struct vm *vm);
/* Does a command have to wait for one that is there? */
bool jobs_in_the_way(struct jobs *jobs, const struct vm *vm, const struct claims *claims);
/* Takes a copy of the command. It is not full. */
void jobs_add(struct jobs *jobs, const struct pvhca_admin_cmd *cmd);
/* The first that may be carried out now; it is running then. NULL: none. */
struct job *jobs_start(struct jobs *jobs, const struct vm *vm);
/* How many may be. */
unsigned int jobs_ready(struct jobs *jobs, const struct vm *vm);
/* It was carried out. */
void jobs_end(struct jobs *jobs, struct job *job);
/* Forget all that are not running. */
void jobs_drop(struct jobs *jobs);

#endif
