// SPDX-License-Identifier: GPL-2.0-or-later
/* The registry of fabrics: what each must have, and the rule for what may be missing. */
#include <string.h>

#include "fabric/fabrics.h"
#include "suite.h"

START_TEST(each_fabric_is_complete_and_found_by_its_name)
{
	unsigned int count = 0;

	for (const struct fabric_ops *const *ops = fabrics; *ops; ops++, count++) {
		ck_assert_ptr_null(fabrics_incomplete(*ops));
		ck_assert_ptr_eq(fabrics_find((*ops)->name), *ops);
		ck_assert_str_eq(fabrics_config()->names[count], (*ops)->name);
	}
	ck_assert_uint_ge(count, 2);
	ck_assert_ptr_null(fabrics_config()->names[count]);
	ck_assert_ptr_null(fabrics_find("nothing"));
	ck_assert_ptr_nonnull(fabrics_find(FABRICS_STANDARD));
}
END_TEST

START_TEST(no_two_fabrics_have_a_setting_of_one_name)
{
	const struct setting_table *const *tables = fabrics_config()->tables;

	for (; *tables; tables++)
		for (size_t i = 0; i < (*tables)->count; i++)
			for (const struct setting_table *const *other = tables + 1; *other; other++)
				for (size_t j = 0; j < (*other)->count; j++)
					ck_assert_str_ne((*tables)->settings[i].key,
							 (*other)->settings[j].key);
}
END_TEST

START_TEST(what_is_needed_must_be_there)
{
	struct fabric_ops ops = *fabrics_find("null");
	struct qp_ops qp = *ops.qp;

	ops.query_port = NULL;
	ck_assert_str_eq(fabrics_incomplete(&ops), "query_port");
	ops = *fabrics_find("null");
	qp.serve = NULL;
	ops.qp = &qp;
	ck_assert_str_eq(fabrics_incomplete(&ops), "qp->serve");
	ops.qp = NULL;
	ck_assert_str_eq(fabrics_incomplete(&ops), "qp");
}
END_TEST

START_TEST(what_belongs_together_is_there_together)
{
	struct fabric_ops ops = *fabrics_find("loopback");

	ops.mw_dealloc = NULL;
	ck_assert_str_eq(fabrics_incomplete(&ops), "mw_dealloc");
	ops.mw_alloc = NULL;
	ck_assert_ptr_null(fabrics_incomplete(&ops));
	ops.srq_create = NULL;
	ck_assert_str_eq(fabrics_incomplete(&ops), "srq_create");
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fabrics");

	tcase_add_test(tc, each_fabric_is_complete_and_found_by_its_name);
	tcase_add_test(tc, no_two_fabrics_have_a_setting_of_one_name);
	tcase_add_test(tc, what_is_needed_must_be_there);
	tcase_add_test(tc, what_belongs_together_is_there_together);
	return suite_run("fabrics", tc);
}
