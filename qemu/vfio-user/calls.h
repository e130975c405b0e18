/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system calls of a source file, listed beside the code that makes them;
 * sandbox.c puts the lists together.
 */
#ifndef PVHCA_CALLS_H
#define PVHCA_CALLS_H

#include <seccomp.h>

#define PVHCA_CALLS_END INT32_MIN
/* PVHCA_CALLS(name, SCMP_SYS(read), ...): an array called @name. */
#define PVHCA_CALLS(name, ...) \
    extern const int name[];   \
    const int name[] = { __VA_ARGS__, PVHCA_CALLS_END }

#endif /* PVHCA_CALLS_H */
