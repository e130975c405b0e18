// SPDX-License-Identifier: GPL-2.0-or-later
#include <pthread.h>

#include "suite.h"
#include "vm/vm.h"

static _Atomic unsigned int fails, retries;
static struct vm vm;

static void told_failed(struct vm *which)
{
	ck_assert_ptr_eq(which, &vm);
	/* The session's thread may look at once. */
	ck_assert(vm_failing(&vm));
	fails++;
}

static void told_retry(struct vm *which)
{
	ck_assert_ptr_eq(which, &vm);
	ck_assert(atomic_load(&vm.retrying));
	retries++;
}

static const struct vm_thread_ops thread_ops = { .failed = told_failed, .retry = told_retry };

static void setup(void)
{
	vm = (struct vm){ .name = "test", .thread = &thread_ops };
	log_init("error"); /* warnings are what is wanted here */
}

START_TEST(a_fault_of_the_guest_is_told_once)
{
	ck_assert(!vm_failing(&vm));
	vm_guest_fault(&vm, "entry %d", 1);
	vm_guest_fault(&vm, "entry %d", 2);
	vm_fail(&vm, PVHCA_DEV_ERR_HOST, "engine");
	ck_assert_uint_eq(fails, 1);
	ck_assert_uint_eq(vm.failing, PVHCA_DEV_ERR_GUEST);
	ck_assert_uint_eq(vm.counters.protocol_errors, 1);
}
END_TEST

START_TEST(a_fault_of_the_host_is_not_counted_as_the_guests)
{
	vm_fail(&vm, PVHCA_DEV_ERR_HOST, "engine");
	vm_guest_fault(&vm, "entry");
	ck_assert_uint_eq(fails, 1);
	ck_assert_uint_eq(vm.failing, PVHCA_DEV_ERR_HOST);
	ck_assert_uint_eq(vm.counters.protocol_errors, 0);
}
END_TEST

START_TEST(after_a_reset_a_fault_is_told_anew)
{
	vm_guest_fault(&vm, "entry");
	atomic_store(&vm.failing, PVHCA_DEV_ERR_NONE);
	ck_assert(!vm_failing(&vm));
	vm_fail(&vm, PVHCA_DEV_ERR_MEMORY, "gone");
	ck_assert_uint_eq(fails, 2);
	ck_assert_uint_eq(vm.failing, PVHCA_DEV_ERR_MEMORY);
}
END_TEST

static void *fail_often(void *arg)
{
	(void)arg;
	for (int i = 0; i < 1000; i++) {
		vm_guest_fault(&vm, "entry %d", i);
		vm_retry_soon(&vm);
	}
	return NULL;
}

START_TEST(of_many_threads_one_tells)
{
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, fail_often, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(fails, 1);
	ck_assert_uint_eq(retries, 1);
	ck_assert_uint_eq(vm.counters.protocol_errors, 1);
}
END_TEST

START_TEST(a_retry_is_asked_for_once_until_it_is_carried_out)
{
	vm_retry_soon(&vm);
	vm_retry_soon(&vm);
	ck_assert_uint_eq(retries, 1);
	atomic_store(&vm.retrying, false);
	vm_retry_soon(&vm);
	ck_assert_uint_eq(retries, 2);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("fault");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, a_fault_of_the_guest_is_told_once);
	tcase_add_test(tc, a_fault_of_the_host_is_not_counted_as_the_guests);
	tcase_add_test(tc, after_a_reset_a_fault_is_told_anew);
	tcase_add_test(tc, of_many_threads_one_tells);
	tcase_add_test(tc, a_retry_is_asked_for_once_until_it_is_carried_out);
	return suite_run("fault", tc);
}
