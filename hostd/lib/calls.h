/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system calls that a source file makes once pvhcad serves, listed beside the code that makes
 * them. The linker puts the lists together, of those files that are in the program; the filter
 * (sandbox/filter.c) is made from them. Names are those of the manual pages, separated by blanks;
 * one that this machine's architecture has not is passed over.
 */
#ifndef HOSTD_LIB_CALLS_H
#define HOSTD_LIB_CALLS_H

/**
 * struct calls - a list
 * @fabric: it holds on this fabric only; NULL: on all
 */
struct calls {
	const char *fabric;
	const char *names;
};

#define CALLS(list) CALLS_ON(NULL, list)
#define CALLS_ON(on, list)                                                             \
	static const struct calls calls_of_file = { .fabric = (on), .names = (list) }; \
	static const struct calls *const calls_of_file_entry                           \
		__attribute__((used, section("pvhcad_calls"))) = &calls_of_file

#endif
