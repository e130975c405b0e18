/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saying what happened. Results go to stdout, line by line; what ends a test to stderr. */
#ifndef PVHCA_TEST_REPORT_H
#define PVHCA_TEST_REPORT_H

#include <infiniband/verbs.h>

/* Print the message and end the program with status 1. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* die() with what errno, or a verb's return value, means appended. */
void die_errno(int error, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

/* Print a line at once, even into a pipe. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Short names as in the header: "LOC_PROT_ERR", "QP_ACCESS_ERR", "ENOMEM". */
const char *status_name(enum ibv_wc_status status);
const char *event_name(enum ibv_event_type event);
const char *errno_name(int error);

#endif
