/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PVHCA_TEST_ERRORS_H
#define PVHCA_TEST_ERRORS_H

#include "side.h"

/*
 * What a case leads to: results joined by commas in the order in which they came,
 * "" for none. Every result is a completion's status or "call:ERRNO".
 */
struct outcome {
	const char *requester;
	const char *responder;
	const char *requester_events;
	const char *responder_events;
};

struct error_case {
	const char *name;
	/* Local cases need no connection, and only the requester does anything. */
	bool local;
	bool peer_vanishes;    /* the responder destroys its QP before anything is sent */
	bool no_receive;       /* the requester soon gives up when the responder is not ready */
	int mr_access;	       /* of the responder's region; 0: all rights */
	int qp_access;	       /* of the responder's QP; 0: all rights */
	unsigned int receives; /* that the responder posts: 64 bytes each in the middle page */
	void (*prepare)(struct side *s); /* responder, once connected */
	void (*act)(struct side *s);	 /* requester; posts, or calls and records */
	struct outcome expected;	 /* by the InfiniBand specification and the man pages */
	/* What rxe of Linux 6.1 is known to give instead; members that are NULL are as expected. */
	struct outcome rxe;
	/* And the requester in a guest on it, where a refusal to post comes as a completion. */
	const char *rxe_in_guest;
	const char *rxe_why;
};

extern const struct error_case error_cases[];
extern const unsigned int error_case_count;

#endif
