/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attributes between the guest's form (pvhca-admin.h, little endian) and vm/attributes.h.
 * The functions copy: whether values are in range is the commands' own concern.
 */
#ifndef HOSTD_ADMIN_COMMANDS_ATTR_H
#define HOSTD_ADMIN_COMMANDS_ATTR_H

#include <stdbool.h>

#include "pvhca/pvhca-admin.h"
#include "vm/attributes.h"

struct vm;

/* Is this address vector right, and its source an address of the guest's? */
bool commands_av_valid(const struct vm *vm, const struct pvhca_av *av);

void commands_read_qp_cap(const struct pvhca_qp_cap *from, struct qp_cap *to);
void commands_write_qp_cap(const struct qp_cap *from, struct pvhca_qp_cap *to);

void commands_read_qp_attr(const struct pvhca_qp_attr *from, struct qp_attr *to);
/* cap: the QP's, which stands in the guest's form, too. */
void commands_write_qp_attr(const struct qp_attr *from, const struct qp_cap *cap,
			    struct pvhca_qp_attr *to);

/* max_contexts, mac and kernel_caps are not the fabric's: they become 0. */
void commands_write_device(const struct device_limits *from, struct pvhca_rsp_query_device *to);
void commands_write_port(const struct port_attr *from, struct pvhca_rsp_query_port *to);

#endif
