// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * Pollers look for QPs that are there while others are entered and removed beside
 * them: each search must find its QP, or a completion would be lost.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pvhca.h"

/* Gives the others a chance, now and then, between any two atomic operations. */
static void preempt(void)
{
	static __thread uint32_t x;

	if (!x)
		x = (uint32_t)(uintptr_t)&x | 1;
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	if (x % 256 == 0)
		sched_yield();
}
#define __atomic_load_n(p, m)	  (preempt(), __atomic_load_n(p, m))
#define __atomic_store_n(p, v, m) (preempt(), __atomic_store_n(p, v, m))

#include "../../../providers/pvhca/qp_table.c"

#define fail(...) (fprintf(stderr, __VA_ARGS__), fflush(stderr), _exit(1))

#ifdef __SANITIZE_THREAD__
#define SEARCHES 200000
#else
#define SEARCHES 1000000
#endif
#define READERS 2
#define MEET	4 /* QPs whose search begins in the same place */
#define BESIDE	3000

static struct pvhca_qp_table table;
static uint32_t numbers[MEET];
static uint32_t stays; /* odd while the last of them is in the table */
static uint32_t searches;

static struct pvhca_qp *qp_of(uint32_t qpn)
{
	return (struct pvhca_qp *)((uintptr_t)(qpn + 1) * 64);
}

/* Looks for a QP that moves; what was found counts if it was there all the time. */
static void *reader(void *arg)
{
	uint32_t qpn = numbers[MEET - 1], before, after;
	const struct pvhca_qp *qp;
	unsigned int n = 0;

	(void)arg;
	while (n < SEARCHES) {
		before = __atomic_load_n(&stays, __ATOMIC_ACQUIRE);
		qp = pvhca_qp_table_find(&table, qpn);
		after = __atomic_load_n(&stays, __ATOMIC_ACQUIRE);
		if (!(before & 1) || before != after)
			continue;
		if (qp != qp_of(qpn))
			fail("QP %u is not found\n", qpn);
		if (pvhca_qp_table_find(&table, 0))
			fail("QP 0 is found and was never there\n");
		__atomic_fetch_add(&searches, 1, __ATOMIC_RELAXED);
		n++;
	}
	return NULL;
}

static void enter(uint32_t qpn)
{
	int err = pvhca_qp_table_insert(&table, qpn, qp_of(qpn));

	if (err)
		fail("QP %u is not entered: %d\n", qpn, err);
}

/* Enters all and removes all but the last, which so moves to the first place. */
static unsigned int change(void)
{
	unsigned int turns = 0, i;

	for (; __atomic_load_n(&searches, __ATOMIC_RELAXED) < READERS * SEARCHES; turns++) {
		for (i = 0; i < MEET; i++)
			enter(numbers[i]);
		__atomic_store_n(&stays, stays + 1, __ATOMIC_RELEASE);
		for (i = 0; i < MEET - 1; i++)
			pvhca_qp_table_remove(&table, numbers[i]);
		__atomic_store_n(&stays, stays + 1, __ATOMIC_RELEASE);
		pvhca_qp_table_remove(&table, numbers[MEET - 1]);
	}
	return turns;
}

int main(void)
{
	unsigned int i, n, turns;
	pthread_t threads[READERS];

	for (i = 1, n = 0; n < MEET; i++)
		if (home_of(i) == home_of(1))
			numbers[n++] = i;
	for (n = 0; n < BESIDE; i++)
		if (home_of(i) != home_of(1)) {
			enter(i);
			n++;
		}
	for (i = 0; i < READERS; i++)
		if (pthread_create(&threads[i], NULL, reader, NULL))
			abort();
	turns = change();
	for (i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	printf("%u searches, %u turns\n", searches, turns);
	return 0;
}
