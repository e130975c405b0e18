/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What fabric/verbs/stubs.c plays. */
#ifndef TESTS_FABRIC_VERBS_STUBS_H
#define TESTS_FABRIC_VERBS_STUBS_H

/* cm_terms(): of every peer, if there is a cm_vm at all. The path MTU is IBV_MTU_256. */
#define STUBS_CM_PSN 0x123456u

extern unsigned int stubs_datagram_qps; /* numbers of UD QPs that are known */

#endif
