// SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
/*
 * The table of QPs: that it finds what is in it, and that no number leaves memory
 * behind, whatever the host gives: numbers in turn, numbers at random, a few for
 * ever.
 */
#include <check.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "pvhca.h"

static size_t allocated; /* bytes that the table has, besides itself */

static __attribute__((unused)) void *count_calloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	allocated += malloc_usable_size(p);
	return p;
}

static __attribute__((unused)) void count_free(void *p)
{
	allocated -= malloc_usable_size(p);
	free(p);
}
#define calloc(n, size) count_calloc(n, size)
#define free(p)		count_free(p)
#include "../../../providers/pvhca/qp_table.c"
#undef calloc
#undef free

#define MILLION	 1000000
#define QPN_MASK ((1u << PVHCA_QPN_BITS) - 1)
#define MOST	 PVHCA_SLOTS /* QPs that a context can have */
#define FLAT	 65536u	     /* bytes */

static struct pvhca_qp_table table;
static uint32_t qpns[MOST]; /* 0: not there */
static uint32_t rnd;

static void setup(void)
{
	memset(&table, 0, sizeof(table));
	memset(qpns, 0, sizeof(qpns));
	allocated = 0;
	rnd = 1;
}

static uint32_t next_random(void)
{
	rnd ^= rnd << 13;
	rnd ^= rnd >> 17;
	rnd ^= rnd << 5;
	return rnd;
}

/* A QP is as good as any other address. */
static struct pvhca_qp *qp_of(uint32_t qpn)
{
	return (struct pvhca_qp *)((uintptr_t)(qpn + 1) * 64);
}

/* An assertion that holds costs a system call, too much for millions of them. */
#define must(condition)                                 \
	do {                                            \
		if (!(condition))                       \
			ck_abort_msg("%s", #condition); \
	} while (0)

static void insert(uint32_t qpn)
{
	must(!pvhca_qp_table_insert(&table, qpn, qp_of(qpn)));
}

static void found(uint32_t qpn)
{
	must(pvhca_qp_table_find(&table, qpn) == qp_of(qpn));
}

static void unknown(uint32_t qpn)
{
	must(!pvhca_qp_table_find(&table, qpn));
}

/* A million made and destroyed, with eight of them there at a time. */
static void million(uint32_t (*qpn_of)(uint32_t i))
{
	uint32_t i, old, living[8] = {};

	for (i = 0; i < MILLION; i++) {
		old = living[i % 8];
		if (old) {
			found(old);
			pvhca_qp_table_remove(&table, old);
			unknown(old);
		}
		living[i % 8] = qpn_of(i);
		insert(living[i % 8]);
		must(allocated <= FLAT);
	}
}

static uint32_t in_turn(uint32_t i)
{
	return 0x11 + i;
}

/* All of 24 bits, none twice. */
static uint32_t scattered(uint32_t i)
{
	return ((i + 1) * 0x9e3779b1u) & QPN_MASK;
}

START_TEST(million_numbers_in_turn_cost_no_memory)
{
	million(in_turn);
}
END_TEST

START_TEST(million_scattered_numbers_cost_no_memory)
{
	million(scattered);
}
END_TEST

START_TEST(all_qps_of_a_context_have_room)
{
	uint32_t i;

	for (i = 0; i < MOST; i++)
		insert(scattered(i));
	for (i = 0; i < MOST; i++)
		found(scattered(i));
	for (; i < 2 * MOST; i++)
		unknown(scattered(i));
	for (i = 0; i < MOST; i += 2)
		pvhca_qp_table_remove(&table, scattered(i));
	for (i = 0; i < MOST; i++) {
		if (i % 2)
			found(scattered(i));
		else
			unknown(scattered(i));
	}
}
END_TEST

/* Against a plain list; numbers are few, so that they meet in the table. */
START_TEST(random_changes_lose_nothing)
{
	uint32_t mask = _i ? QPN_MASK : 2047;
	unsigned int n = 0, turn, i, j;
	uint32_t qpn;

	for (turn = 0; turn < 200000; turn++) {
		if (n < 1024 && (!n || next_random() % 2)) {
			qpn = next_random() & mask;
			for (i = 0; i < n && qpns[i] != qpn; i++)
				;
			must(pvhca_qp_table_insert(&table, qpn, qp_of(qpn)) ==
			     (i < n ? EEXIST : 0));
			if (i == n)
				qpns[n++] = qpn;
		} else {
			i = next_random() % n;
			pvhca_qp_table_remove(&table, qpns[i]);
			unknown(qpns[i]);
			qpns[i] = qpns[--n];
		}
		for (j = 0; n && j < 4; j++)
			found(qpns[next_random() % n]);
	}
	for (i = 0; i < n; i++)
		found(qpns[i]);
}
END_TEST

START_TEST(number_is_entered_once)
{
	insert(5);
	ck_assert_int_eq(pvhca_qp_table_insert(&table, 5, qp_of(6)), EEXIST);
	found(5);
	pvhca_qp_table_remove(&table, 5);
	pvhca_qp_table_remove(&table, 5);
	unknown(5);
	insert(5);
	found(5);
}
END_TEST

START_TEST(numbers_have_24_bits)
{
	ck_assert_int_eq(pvhca_qp_table_insert(&table, QPN_MASK + 1, qp_of(1)), EINVAL);
	insert(QPN_MASK);
	insert(0);
	found(QPN_MASK);
	found(0);
	unknown(QPN_MASK + 1);
	unknown(UINT32_MAX);
}
END_TEST

START_TEST(full_table_says_so)
{
	unsigned int i = 0;
	int err;

	do
		err = pvhca_qp_table_insert(&table, scattered(i), qp_of(scattered(i)));
	while (!err && ++i < PVHCA_QP_TABLE_SIZE);
	ck_assert_int_eq(err, ENOMEM);
	ck_assert_uint_ge(i, MOST);
	unknown(scattered(i));
	found(scattered(i - 1));
	pvhca_qp_table_remove(&table, scattered(0));
	insert(scattered(i));
	found(scattered(i));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("provider QP table");
	TCase *c = tcase_create("qp_table");
	SRunner *runner;
	int failed;

	tcase_set_timeout(c, 30);
	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, million_numbers_in_turn_cost_no_memory);
	tcase_add_test(c, million_scattered_numbers_cost_no_memory);
	tcase_add_test(c, all_qps_of_a_context_have_room);
	tcase_add_loop_test(c, random_changes_lose_nothing, 0, 2);
	tcase_add_test(c, number_is_entered_once);
	tcase_add_test(c, numbers_have_24_bits);
	tcase_add_test(c, full_table_says_so);
	suite_add_tcase(s, c);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
