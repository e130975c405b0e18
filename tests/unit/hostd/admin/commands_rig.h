/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session with guest memory and a fabric that counts what it has, and that fails
 * when told to. Session, workers and CQ delivery are stubs.
 */
#ifndef COMMANDS_RIG_H
#define COMMANDS_RIG_H

#include "admin/commands.h"

#define RIG_K4	4096ull
#define RIG_RAM (4096 * RIG_K4)

extern struct rig {
	struct vm vm;
	struct vm_policy policy;
	struct config config;
	uint8_t *ram;
	uint64_t next;	    /* free guest memory */
	int objects;	    /* of the fabric's, alive */
	int contexts;	    /* given to the worker */
	int left;	    /* worker_leave() */
	int fail_in;	    /* this many fabric calls from now; < 0: never */
	bool bound;	    /* windows are bound to all regions */
	uint32_t gid_index; /* of the last address that the fabric was given */
	uint8_t gid_last;   /* its last byte */
	unsigned int calls;
	unsigned int faults, retries;
	unsigned int wakes;	    /* of the worker */
	uint64_t told;		    /* interrupts there were before the last of them */
	struct qp_attr attr;	    /* that a QP was last changed by */
	struct pvhca_admin_rsp rsp; /* of the last command */
} rig;

/* A test may take operations away; each runs in a process of its own. */
extern struct fabric_ops rig_ops;

void rig_setup(void);
/* All that the commands made must be gone, by rig_expect_nothing(). */
void rig_teardown(void);
void rig_expect_nothing(void);

uint64_t rig_alloc(uint64_t size);
/* Run a command: its status. */
uint32_t rig_run(uint16_t opcode, const void *args, size_t size);
uint32_t rig_destroy(uint16_t opcode, uint32_t handle);

/* Arguments that are right; handles as given. */
struct pvhca_cmd_create_ceq rig_ceq(void);
struct pvhca_cmd_alloc_context rig_context(void);
struct pvhca_cmd_alloc_pd rig_pd(uint32_t context);
struct pvhca_cmd_reg_mr rig_mr(uint32_t pd);
struct pvhca_cmd_create_cq rig_cq(uint32_t context, uint32_t ceq);
struct pvhca_cmd_create_qp rig_qp(uint32_t context, uint32_t pd, uint32_t cq);

/* Run with such arguments; the handle, after checking that it worked. */
#define RIG_MAKE(opcode, args)                                                                \
	({                                                                                    \
		__auto_type rig_args = (args);                                                \
		ck_assert_uint_eq(rig_run(opcode, &rig_args, sizeof(rig_args)), PVHCA_ST_OK); \
		rig.rsp.created.handle;                                                       \
	})

struct rig_world {
	uint32_t ceq, context, pd, mr, cq, qp;
};
struct rig_world rig_world(void);

#endif
