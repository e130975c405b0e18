/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest's admin commands do. Handlers get a private copy of the command and a
 * zeroed response, and return an enum pvhca_admin_status; where they fail they leave
 * nothing behind.
 *
 * All with vm->lock held. A handler calls the fabric by COMMANDS_FABRIC() and waits for
 * readers by commands_wait_for_readers(): both may give the lock up meanwhile. Then
 * other commands of the VM are carried out, but none whose claims conflict with those of
 * this one (commands_claims()). So a handler may keep pointers to objects that it claims
 * over such a call, and nothing else: what it counts, it counts before or after. An
 * object that it makes is not to be found by its handle before table_made().
 */
#ifndef HOSTD_ADMIN_COMMANDS_H
#define HOSTD_ADMIN_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "admin/claims.h"
#include "vm/objects.h"
#include "pvhca/pvhca-admin.h"
#include "vm/vm.h"

uint32_t commands_execute(struct vm *vm, const struct pvhca_admin_cmd *cmd,
			  struct pvhca_admin_rsp *rsp);
/* What was completed before shall not wait for this one. */
bool commands_may_take_long(const struct pvhca_admin_cmd *cmd);
/* It may give vm->lock up, and take as long as an engine or a process of the guest's likes. */
#define COMMANDS_LONG_LIST \
	1024u /* runs of memory; to walk more takes some tenths of a millisecond */
bool commands_may_wait(const struct vm *vm, const struct pvhca_admin_cmd *cmd);
/* The objects that it names, and where it ends one those which that hangs on. */
void commands_claims(const struct vm *vm, const struct pvhca_admin_cmd *cmd, struct claims *claims);
/* For the log. */
const char *commands_name(const struct pvhca_admin_cmd *cmd);

/* Call a control operation of "what guests can have", or one that is needed. */
#define COMMANDS_FABRIC(vm, op, ...)                                       \
	({                                                                 \
		int commands_status;                                       \
                                                                           \
		vm_leave(vm);                                              \
		commands_status = fabric_call((vm)->ops, op, __VA_ARGS__); \
		vm_enter(vm);                                              \
		commands_status;                                           \
	})
/* Likewise one that returns nothing, if it is there. */
#define COMMANDS_FABRIC_VOID(vm, op, ...)                         \
	do {                                                      \
		vm_leave(vm);                                     \
		fabric_hook((vm)->ops, (void)0, op, __VA_ARGS__); \
		vm_enter(vm);                                     \
	} while (0)
/* No worker is in a pass that began before the call when it returns. */
void commands_wait_for_readers(struct vm *vm);

/*
 * Give back all that the guest has: QPs, SRQs, AHs, MWs, CQs, MRs, PDs, GIDs, contexts, CEQs;
 * after one grace period for all of it. The VM has left its worker then (worker_leave()).
 */
void commands_destroy_all(struct vm *vm);

/* Log (rate-limited) which quota is exhausted and how to raise it. Returns PVHCA_ST_QUOTA. */
int commands_quota(struct vm *vm, const char *key, uint64_t limit);
/* table_reserve() that logs. */
int commands_table_add(struct vm *vm, struct table *table, const char *key, void *object,
		       uint32_t *handle);

typedef int command_fn(struct vm *vm, const struct pvhca_admin_cmd *cmd,
		       struct pvhca_admin_rsp *rsp);

/*
 * IBV_ACCESS_* that a guest asks for, without hints that may be dropped; false where
 * a region or QP cannot have them.
 */
bool commands_mr_access(uint32_t *access);

/* Do iova, length and offset of a region fit each other and bytes of memory? */
bool commands_mr_range_valid(const struct mr *mr, uint64_t bytes);

/*
 * admin/commands_memory.c: read and check the memory list of a command, at most
 * max_length bytes. PVHCA_ST_* (INVALID, BAD_ADDRESS, NO_MEMORY); *extents is the
 * caller's, to be given up by extents_put(). Does not need the lock.
 */
int commands_read_memory(struct memory *memory, const struct pvhca_mem_list *list,
			 uint64_t max_length, struct extents **extents);

/* A slot in the context's page. False: all are in use, or there is no memory for it. */
bool commands_slot_take(struct context *context, uint32_t *slot);
void commands_slot_give(struct context *context, uint32_t slot);

/* admin/commands_device.c */
command_fn commands_nop, commands_query_device, commands_query_port;
/* admin/commands_ceq.c */
command_fn commands_create_ceq, commands_destroy_ceq;
void commands_free_ceq(void *ceq, void *vm);
/* admin/commands_gid.c */
command_fn commands_add_gid, commands_del_gid;
void commands_free_gids(struct vm *vm);
/* admin/commands_context.c */
command_fn commands_alloc_context, commands_dealloc_context;
command_fn commands_alloc_pd, commands_dealloc_pd;
void commands_free_context(void *context, void *vm);
void commands_free_pd(void *pd, void *vm);
/* admin/commands_mr.c */
command_fn commands_reg_mr, commands_dereg_mr, commands_alloc_mr;
/* What a region counts against the quota of pinned bytes. */
uint64_t commands_mr_pinned(const struct mr *mr);
/* More bytes count against that quota: PVHCA_ST_OK or QUOTA; and their end. */
int commands_pin(struct vm *vm, uint64_t bytes);
void commands_unpin(struct vm *vm, uint64_t bytes);
/* commands_read_memory() of a region; a long list is read without the lock. */
int commands_read_region(struct vm *vm, const struct pvhca_mem_list *list,
			 struct extents **extents);
void commands_free_mr(void *mr, void *vm);
/* admin/commands_rereg.c */
command_fn commands_rereg_mr;
/* admin/commands_mw.c */
command_fn commands_alloc_mw, commands_dealloc_mw;
void commands_free_mw(void *mw, void *vm);
/* admin/commands_ah.c */
command_fn commands_create_ah, commands_destroy_ah;
void commands_free_ah(void *ah, void *vm);
/* admin/commands_cq.c */
command_fn commands_create_cq, commands_destroy_cq, commands_resize_cq;
void commands_free_cq(void *cq, void *vm);
/* admin/commands_srq.c */
command_fn commands_create_srq, commands_destroy_srq;
command_fn commands_modify_srq, commands_query_srq;
void commands_unpublish_srq(void *srq, void *vm);
/* The SRQ was unpublished, and a grace period has passed; it has no QPs. */
void commands_free_srq(void *srq, void *vm);
/* admin/commands_qp.c */
command_fn commands_create_qp, commands_destroy_qp;
void commands_unpublish_qp(void *qp, void *vm);
/* The QP was unpublished, and a grace period has passed. */
void commands_free_qp(void *qp, void *vm);
/* admin/commands_qp_state.c */
command_fn commands_modify_qp, commands_query_qp;
/* admin/commands_mcast.c */
command_fn commands_attach_mcast, commands_detach_mcast;

#endif
