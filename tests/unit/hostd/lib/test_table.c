// SPDX-License-Identifier: GPL-2.0-or-later
#include "suite.h"

#include "pvhca/pvhca-admin.h"
#include "lib/grace.h"
#include "lib/table.h"

static struct table table;
static int object[300];

static void setup(void)
{
	table_init_rcu(&table, NULL, 200);
}

static void teardown(void)
{
	table_fini(&table);
}

START_TEST(what_was_added_is_found_until_it_is_deleted)
{
	uint32_t handle;

	ck_assert_int_eq(table_add(&table, &object[0], &handle), PVHCA_ST_OK);
	ck_assert_ptr_eq(table_find(&table, handle), &object[0]);
	ck_assert_uint_eq(table_used(&table), 1);
	table_del(&table, handle);
	ck_assert_ptr_null(table_find(&table, handle));
	ck_assert_uint_eq(table_used(&table), 0);
}
END_TEST

START_TEST(no_handle_is_never_found)
{
	uint32_t handle;

	ck_assert_ptr_null(table_find(&table, 0));
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(table_add(&table, &object[i], &handle), 0);
	ck_assert_ptr_null(table_find(&table, 0));
	ck_assert_ptr_null(table_find(&table, 1));
	ck_assert_ptr_null(table_find(&table, PVHCA_NO_HANDLE));
	ck_assert_ptr_null(table_find(&table, handle + 1));
	ck_assert_ptr_null(table_find(&table, handle + (1u << 20)));
}
END_TEST

START_TEST(a_stale_handle_does_not_name_the_next_object)
{
	uint32_t old, next;

	for (int i = 0; i < 10000; i++) {
		ck_assert_int_eq(table_add(&table, &object[0], &old), 0);
		table_del(&table, old);
		ck_assert_int_eq(table_add(&table, &object[1], &next), 0);
		ck_assert_uint_ne(old, next);
		ck_assert_uint_ne(next, 0);
		ck_assert_uint_ne(next, PVHCA_NO_HANDLE);
		ck_assert_ptr_null(table_find(&table, old));
		table_del(&table, old);
		ck_assert_ptr_eq(table_find(&table, next), &object[1]);
		table_del(&table, next);
	}
}
END_TEST

START_TEST(the_limit_is_exact_and_room_comes_back)
{
	uint32_t handle[200], more;

	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(table_add(&table, &object[i], &handle[i]), 0);
	ck_assert_int_eq(table_add(&table, &object[200], &more), PVHCA_ST_QUOTA);
	table_del(&table, handle[77]);
	table_del(&table, handle[12]);
	ck_assert_int_eq(table_add(&table, &object[200], &more), 0);
	ck_assert_int_eq(table_add(&table, &object[201], &more), 0);
	ck_assert_int_eq(table_add(&table, &object[202], &more), PVHCA_ST_QUOTA);
	for (int i = 0; i < 200; i++)
		if (i != 77 && i != 12)
			ck_assert_ptr_eq(table_find(&table, handle[i]), &object[i]);
}
END_TEST

START_TEST(random_adding_and_deleting_keeps_all_handles_apart)
{
	uint32_t handle[200] = { 0 };
	unsigned int seed = 1, used = 0;

	for (int round = 0; round < 100000; round++) {
		int i = rand_r(&seed) % 200;

		if (handle[i]) {
			ck_assert_ptr_eq(table_find(&table, handle[i]), &object[i]);
			table_del(&table, handle[i]);
			handle[i] = 0;
			used--;
		} else {
			ck_assert_int_eq(table_add(&table, &object[i], &handle[i]), 0);
			used++;
		}
		ck_assert_uint_eq(table_used(&table), used);
	}
}
END_TEST

/* Nobody but its VM's own threads reads a table in which workers look nothing up. */
START_TEST(only_a_table_that_workers_read_waits_for_them_when_it_grows)
{
	uint64_t before = grace_count();
	uint32_t handle;

	table_fini(&table);
	if (_i)
		table_init(&table, NULL, 200);
	else
		table_init_rcu(&table, NULL, 200);
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(table_add(&table, &object[i], &handle), 0);
	/* 16, 32, 64, 128, 200 */
	ck_assert_uint_eq(grace_count() - before, _i ? 0 : 4);
	/* An emptied table is of the same kind. */
	table_fini(&table);
	for (int i = 0; i < 17; i++)
		ck_assert_int_eq(table_add(&table, &object[i], &handle), 0);
	ck_assert_uint_eq(grace_count() - before, _i ? 0 : 5);
}
END_TEST

static void delete_it(void *at, void *arg)
{
	uint32_t *handle = arg;

	ck_assert_ptr_nonnull(at);
	table_del(&table, handle[(int *)at - object]);
}

START_TEST(for_each_may_delete)
{
	uint32_t handle[50];

	for (int i = 0; i < 50; i++)
		table_add(&table, &object[i], &handle[i]);
	table_for_each(&table, delete_it, handle);
	ck_assert_uint_eq(table_used(&table), 0);
}
END_TEST

START_TEST(workers_find_what_was_published)
{
	uint32_t handle, next;

	ck_assert_ptr_null(table_find_rcu(&table, 0));
	ck_assert_int_eq(table_add(&table, &object[0], &handle), 0);
	ck_assert_ptr_null(table_find_rcu(&table, handle));
	table_publish(&table, handle);
	ck_assert_ptr_eq(table_find_rcu(&table, handle), &object[0]);
	ck_assert_ptr_null(table_find_rcu(&table, handle + (1u << 20)));
	ck_assert_ptr_null(table_find_rcu(&table, handle + 1));
	ck_assert_ptr_null(table_find_rcu(&table, PVHCA_NO_HANDLE));
	table_unpublish(&table, handle);
	ck_assert_ptr_null(table_find_rcu(&table, handle));
	ck_assert_ptr_eq(table_find(&table, handle), &object[0]);
	table_publish(&table, handle);
	table_del(&table, handle);
	ck_assert_ptr_null(table_find_rcu(&table, handle));
	/* The place has another object now. */
	ck_assert_int_eq(table_add(&table, &object[1], &next), 0);
	table_publish(&table, next);
	ck_assert_ptr_null(table_find_rcu(&table, handle));
	ck_assert_ptr_eq(table_find_rcu(&table, next), &object[1]);
}
END_TEST

START_TEST(what_was_published_stays_so_while_the_table_grows)
{
	uint32_t handle[200];

	for (int i = 0; i < 200; i++) {
		ck_assert_int_eq(table_add(&table, &object[i], &handle[i]), 0);
		if (i & 1)
			table_publish(&table, handle[i]);
	}
	for (int i = 0; i < 200; i++)
		ck_assert_ptr_eq(table_find_rcu(&table, handle[i]), i & 1 ? &object[i] : NULL);
}
END_TEST

START_TEST(an_absurd_limit_is_cut)
{
	table_init(&table, NULL, UINT32_MAX);
	ck_assert_uint_eq(table.limit, TABLE_LIMIT_MAX);
}
END_TEST

START_TEST(what_is_being_made_counts_but_is_not_found)
{
	uint32_t handle, other;

	ck_assert_int_eq(table_reserve(&table, &object[0], &handle), PVHCA_ST_OK);
	ck_assert_uint_eq(table_used(&table), 1);
	ck_assert_ptr_null(table_find(&table, handle));
	ck_assert_int_eq(table_add(&table, &object[1], &other), PVHCA_ST_OK);
	ck_assert_uint_ne(table_index(handle), table_index(other));
	table_made(&table, handle);
	ck_assert_ptr_eq(table_find(&table, handle), &object[0]);
	table_del(&table, handle);
	/* The next at its place begins unfound, too. */
	ck_assert_int_eq(table_reserve(&table, &object[2], &handle), PVHCA_ST_OK);
	ck_assert_ptr_null(table_find(&table, handle));
	table_del(&table, handle);
	table_del(&table, other);
	ck_assert_uint_eq(table_used(&table), 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("table");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_was_added_is_found_until_it_is_deleted);
	tcase_add_test(tc, no_handle_is_never_found);
	tcase_add_test(tc, a_stale_handle_does_not_name_the_next_object);
	tcase_add_test(tc, the_limit_is_exact_and_room_comes_back);
	tcase_add_test(tc, random_adding_and_deleting_keeps_all_handles_apart);
	tcase_add_loop_test(tc, only_a_table_that_workers_read_waits_for_them_when_it_grows, 0, 2);
	tcase_add_test(tc, for_each_may_delete);
	tcase_add_test(tc, workers_find_what_was_published);
	tcase_add_test(tc, what_was_published_stays_so_while_the_table_grows);
	tcase_add_test(tc, what_is_being_made_counts_but_is_not_found);
	tcase_add_test(tc, an_absurd_limit_is_cut);
	return suite_run("table", tc);
}
