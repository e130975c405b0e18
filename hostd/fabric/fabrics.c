// SPDX-License-Identifier: GPL-2.0-or-later
#include "fabric/fabrics.h"

#include <string.h>

#include "fabrics-list.h" /* FABRICS(X): X(name), made by CMake */

#define DECLARE(name) extern const struct fabric_ops fabric_##name;
FABRICS(DECLARE)
#undef DECLARE

#define ENTRY(name) &fabric_##name,
const struct fabric_ops *const fabrics[] = { FABRICS(ENTRY) NULL };
#undef ENTRY

#define NUM_FABRICS (sizeof(fabrics) / sizeof(fabrics[0]) - 1)

const struct fabric_ops *fabrics_find(const char *name)
{
	for (size_t i = 0; i < NUM_FABRICS; i++)
		if (!strcmp(fabrics[i]->name, name))
			return fabrics[i];
	return NULL;
}

const struct config_fabrics *fabrics_config(void)
{
	static const char *names[NUM_FABRICS + 1];
	static const struct setting_table *tables[NUM_FABRICS + 1];
	static const struct config_fabrics config = { names, tables, FABRICS_STANDARD };
	size_t num_tables = 0;

	for (size_t i = 0; i < NUM_FABRICS; i++) {
		names[i] = fabrics[i]->name;
		if (fabrics[i]->settings)
			tables[num_tables++] = fabrics[i]->settings;
	}
	return &config;
}

/* clang-format off */
#define NEEDED(op)	{ #op, !ops->op }
#define WITH(first, op)	{ #op, !ops->op && ops->first }, { #first, !ops->first && ops->op }
/* clang-format on */

const char *fabrics_incomplete(const struct fabric_ops *ops)
{
	const struct {
		const char *name;
		bool missing;
	} checks[] = {
		NEEDED(name),
		NEEDED(start),
		NEEDED(stop),
		NEEDED(vm_open),
		NEEDED(vm_close),
		NEEDED(query_device),
		NEEDED(query_port),
		NEEDED(gid_add),
		NEEDED(mr_reg),
		NEEDED(mr_dereg),
		NEEDED(qp),
		{ "qp->create", ops->qp && !ops->qp->create },
		{ "qp->destroy", ops->qp && !ops->qp->destroy },
		{ "qp->modify", ops->qp && !ops->qp->modify },
		{ "qp->query", ops->qp && !ops->qp->query },
		{ "qp->serve", ops->qp && !ops->qp->serve },
		WITH(mw_alloc, mw_dealloc),
		WITH(ah_create, ah_destroy),
		WITH(mcast_attach, mcast_detach),
		WITH(srq_create, srq_destroy),
		WITH(srq_create, srq_set_limit),
		WITH(srq_create, srq_query),
		WITH(pd_alloc, pd_free),
		WITH(vm_async_fd, vm_async),
		WITH(vm_event_fd, vm_event),
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		if (checks[i].missing)
			return checks[i].name;
	return NULL;
}
