// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

void die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void die_errno(int error, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(error < 0 ? -error : error));
	exit(1);
}

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

#define NAME(prefix, name) [prefix##name] = #name

static const char *const status_names[] = {
	NAME(IBV_WC_, SUCCESS),		  NAME(IBV_WC_, LOC_LEN_ERR),
	NAME(IBV_WC_, LOC_QP_OP_ERR),	  NAME(IBV_WC_, LOC_EEC_OP_ERR),
	NAME(IBV_WC_, LOC_PROT_ERR),	  NAME(IBV_WC_, WR_FLUSH_ERR),
	NAME(IBV_WC_, MW_BIND_ERR),	  NAME(IBV_WC_, BAD_RESP_ERR),
	NAME(IBV_WC_, LOC_ACCESS_ERR),	  NAME(IBV_WC_, REM_INV_REQ_ERR),
	NAME(IBV_WC_, REM_ACCESS_ERR),	  NAME(IBV_WC_, REM_OP_ERR),
	NAME(IBV_WC_, RETRY_EXC_ERR),	  NAME(IBV_WC_, RNR_RETRY_EXC_ERR),
	NAME(IBV_WC_, LOC_RDD_VIOL_ERR),  NAME(IBV_WC_, REM_INV_RD_REQ_ERR),
	NAME(IBV_WC_, REM_ABORT_ERR),	  NAME(IBV_WC_, INV_EECN_ERR),
	NAME(IBV_WC_, INV_EEC_STATE_ERR), NAME(IBV_WC_, FATAL_ERR),
	NAME(IBV_WC_, RESP_TIMEOUT_ERR),  NAME(IBV_WC_, GENERAL_ERR),
};

static const char *const event_names[] = {
	NAME(IBV_EVENT_, CQ_ERR),
	NAME(IBV_EVENT_, QP_FATAL),
	NAME(IBV_EVENT_, QP_REQ_ERR),
	NAME(IBV_EVENT_, QP_ACCESS_ERR),
	NAME(IBV_EVENT_, COMM_EST),
	NAME(IBV_EVENT_, SQ_DRAINED),
	NAME(IBV_EVENT_, PATH_MIG),
	NAME(IBV_EVENT_, PATH_MIG_ERR),
	NAME(IBV_EVENT_, DEVICE_FATAL),
	NAME(IBV_EVENT_, PORT_ACTIVE),
	NAME(IBV_EVENT_, PORT_ERR),
	NAME(IBV_EVENT_, LID_CHANGE),
	NAME(IBV_EVENT_, PKEY_CHANGE),
	NAME(IBV_EVENT_, SM_CHANGE),
	NAME(IBV_EVENT_, SRQ_ERR),
	NAME(IBV_EVENT_, SRQ_LIMIT_REACHED),
	NAME(IBV_EVENT_, QP_LAST_WQE_REACHED),
	NAME(IBV_EVENT_, CLIENT_REREGISTER),
	NAME(IBV_EVENT_, GID_CHANGE),
};

#define NAME_OF(table, index)                                                         \
	((unsigned int)(index) < sizeof(table) / sizeof(*(table)) && (table)[index] ? \
		 (table)[index] :                                                     \
		 "?")

const char *status_name(enum ibv_wc_status status)
{
	return NAME_OF(status_names, status);
}

const char *event_name(enum ibv_event_type event)
{
	return NAME_OF(event_names, event);
}

const char *errno_name(int error)
{
	const char *name = strerrorname_np(error < 0 ? -error : error);

	return !error ? "0" : name ? name : "?";
}
