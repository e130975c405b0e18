// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * From a QP number to the QP. The host chooses the numbers, which may lie
 * anywhere in 24 bits.
 */
#include <errno.h>
#include <stdlib.h>

#include "pvhca.h"

static unsigned int level_index(uint32_t qpn, unsigned int level)
{
	return qpn >> level * PVHCA_QP_TABLE_BITS & (PVHCA_QP_TABLE_FAN - 1);
}

/* Nodes are made on demand; readers may look meanwhile. */
static struct pvhca_qp_node *get_node(struct pvhca_qp_table *table,
				      unsigned int i)
{
	struct pvhca_qp_node *node = table->node[i];

	if (!node) {
		node = calloc(1, sizeof(*node));
		__atomic_store_n(&table->node[i], node, __ATOMIC_RELEASE);
	}
	return node;
}

static struct pvhca_qp_leaf *get_leaf(struct pvhca_qp_node *node,
				      unsigned int i)
{
	struct pvhca_qp_leaf *leaf = node->leaf[i];

	if (!leaf) {
		leaf = calloc(1, sizeof(*leaf));
		__atomic_store_n(&node->leaf[i], leaf, __ATOMIC_RELEASE);
	}
	return leaf;
}

/**
 * pvhca_qp_table_insert() - enter a QP under its number
 *
 * Caller holds qp_lock.
 *
 * Return: 0, ENOMEM, EINVAL for a number beyond 24 bits, or EEXIST.
 */
int pvhca_qp_table_insert(struct pvhca_qp_table *table, uint32_t qpn,
			  struct pvhca_qp *qp)
{
	struct pvhca_qp_node *node;
	struct pvhca_qp_leaf *leaf;
	struct pvhca_qp **slot;

	if (qpn >> PVHCA_QPN_BITS)
		return EINVAL;

	node = get_node(table, level_index(qpn, 2));
	if (!node)
		return ENOMEM;
	leaf = get_leaf(node, level_index(qpn, 1));
	if (!leaf)
		return ENOMEM;

	slot = &leaf->qp[level_index(qpn, 0)];
	if (*slot)
		return EEXIST;
	__atomic_store_n(slot, qp, __ATOMIC_RELEASE);
	return 0;
}

static struct pvhca_qp **find_slot(const struct pvhca_qp_table *table,
				   uint32_t qpn)
{
	struct pvhca_qp_node *node;
	struct pvhca_qp_leaf *leaf;

	if (qpn >> PVHCA_QPN_BITS)
		return NULL;
	node = __atomic_load_n(&table->node[level_index(qpn, 2)],
			       __ATOMIC_ACQUIRE);
	if (!node)
		return NULL;
	leaf = __atomic_load_n(&node->leaf[level_index(qpn, 1)],
			       __ATOMIC_ACQUIRE);
	return leaf ? &leaf->qp[level_index(qpn, 0)] : NULL;
}

/* Caller holds qp_lock, and the locks of the CQs whose pollers could find it. */
void pvhca_qp_table_remove(struct pvhca_qp_table *table, uint32_t qpn)
{
	struct pvhca_qp **slot = find_slot(table, qpn);

	if (slot)
		__atomic_store_n(slot, NULL, __ATOMIC_RELEASE);
}

/* Caller holds the lock of a CQ of the QP that is sought. NULL if unknown. */
struct pvhca_qp *pvhca_qp_table_find(const struct pvhca_qp_table *table,
				     uint32_t qpn)
{
	struct pvhca_qp **slot = find_slot(table, qpn);

	return slot ? __atomic_load_n(slot, __ATOMIC_ACQUIRE) : NULL;
}

/* Frees the table's own memory, not the QPs. */
void pvhca_qp_table_free(struct pvhca_qp_table *table)
{
	unsigned int i, j;

	for (i = 0; i < PVHCA_QP_TABLE_FAN; i++) {
		if (!table->node[i])
			continue;
		for (j = 0; j < PVHCA_QP_TABLE_FAN; j++)
			free(table->node[i]->leaf[j]);
		free(table->node[i]);
		table->node[i] = NULL;
	}
}
