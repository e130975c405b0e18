// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/private.h"
#include "suite.h"

static time_t now; /* seconds later than it is; Check looks at the clock, too */

/* The linker leads clock_gettime() of pvhcad here (--wrap). */
int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	int ret = __real_clock_gettime(clock, time);

	time->tv_sec += now;
	return ret;
}

START_TEST(a_user_is_remembered_for_an_hour)
{
	ck_assert(!slow_is_remembered(0));
	ck_assert(!slow_is_remembered(1000));
	slow_remember(1000);
	ck_assert(slow_is_remembered(1000));
	ck_assert(!slow_is_remembered(0));
	now += 3500;
	ck_assert(slow_is_remembered(1000));
	slow_remember(0);
	now += 101;
	ck_assert(!slow_is_remembered(1000));
	ck_assert(slow_is_remembered(0));
	now = 0;
}
END_TEST

START_TEST(of_too_many_the_one_is_forgotten_whose_time_ends_first)
{
	for (uint32_t user = 1; user <= 64; user++, now++)
		slow_remember(user);
	slow_remember(1);
	slow_remember(100);
	ck_assert(slow_is_remembered(100));
	ck_assert(slow_is_remembered(1));
	ck_assert(!slow_is_remembered(2));
	for (uint32_t user = 3; user <= 64; user++)
		ck_assert(slow_is_remembered(user));
	now = 0;
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("slow");

	tcase_add_test(tc, a_user_is_remembered_for_an_hour);
	tcase_add_test(tc, of_too_many_the_one_is_forgotten_whose_time_ends_first);
	return suite_run("session slow", tc);
}
