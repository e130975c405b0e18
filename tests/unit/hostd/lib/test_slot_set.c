// SPDX-License-Identifier: GPL-2.0-or-later
/* lib/slot_set.h: walks, taking, and that nothing is lost between threads. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "lib/slot_set.h"

#define MAX 16

static struct slot_set set;
static _Atomic uint64_t summary, words[SLOT_SET_WORDS];
static const struct shared_slots shared = { &summary, words };
static uint32_t seen[MAX];
static unsigned int num_seen;

static void see(uint32_t slot)
{
	ck_assert_uint_lt(num_seen, MAX);
	seen[num_seen++] = slot;
}

static void expect_seen(unsigned int count, const uint32_t *slots)
{
	ck_assert_uint_eq(num_seen, count);
	for (unsigned int i = 0; i < count; i++)
		ck_assert_uint_eq(seen[i], slots[i]);
	num_seen = 0;
}

#define EXPECT_SEEN(...)                                                    \
	expect_seen(sizeof((uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t), \
		    (uint32_t[]){ __VA_ARGS__ })

static void see_set(void)
{
	uint32_t slot;

	slot_set_for_each (&set, slot)
		see(slot);
}

START_TEST(a_walk_meets_each_member_once_in_order)
{
	/* What the summary does not name is not looked at. */
	memset(set.words, 0xff, sizeof(set.words));
	slot_set_add(&set, 4095);
	slot_set_add(&set, 0);
	slot_set_add(&set, 64);
	slot_set_add(&set, 63);
	slot_set_add(&set, 0);
	see_set();
	EXPECT_SEEN(0, 63, 64, 4095);
}
END_TEST

START_TEST(an_empty_set_has_no_members)
{
	ck_assert(slot_set_is_empty(&set));
	see_set();
	ck_assert_uint_eq(num_seen, 0);
	slot_set_add(&set, 7);
	ck_assert(!slot_set_is_empty(&set));
	slot_set_clear(&set);
	ck_assert(slot_set_is_empty(&set));
	see_set();
	ck_assert_uint_eq(num_seen, 0);
	/* Nor has it what it had before. */
	slot_set_add(&set, 8);
	see_set();
	EXPECT_SEEN(8);
}
END_TEST

START_TEST(a_word_without_bits_is_passed_over)
{
	slot_set_add_word(&set, 3, 0);
	slot_set_add(&set, 5 * 64);
	see_set();
	EXPECT_SEEN(320);
	atomic_store(&summary, 0xff);
	shared_slots_add(shared, 130);
	slot_set_clear(&set);
	slot_set_take(&set, shared);
	see_set();
	EXPECT_SEEN(130);
}
END_TEST

START_TEST(taking_adds_to_what_is_there)
{
	slot_set_add(&set, 1);
	shared_slots_add(shared, 2);
	shared_slots_add(shared, 200);
	ck_assert(!shared_slots_seem_empty(shared));
	ck_assert(!shared_slots_are_empty(shared));
	slot_set_take(&set, shared);
	ck_assert(shared_slots_seem_empty(shared));
	ck_assert(shared_slots_are_empty(shared));
	see_set();
	EXPECT_SEEN(1, 2, 200);
	ck_assert_uint_eq(words[0], 0);
	ck_assert_uint_eq(words[3], 0);
}
END_TEST

START_TEST(a_guests_set_is_little_endian)
{
	const uint8_t third[8] = { 0x08 };

	memcpy(&words[3], third, sizeof(third));
	memcpy(&summary, third, sizeof(third));
	slot_set_take_le(&set, shared);
	see_set();
	EXPECT_SEEN(3 * 64 + 3);
	ck_assert(shared_slots_are_empty(shared));
}
END_TEST

START_TEST(a_look_leaves_the_members)
{
	uint32_t slot;

	shared_slots_add(shared, 70);
	shared_slots_add(shared, 71);
	for (unsigned int i = 0; i < 2; i++) {
		shared_slots_for_each (shared, slot)
			see(slot);
		EXPECT_SEEN(70, 71);
	}
}
END_TEST

START_TEST(what_is_added_while_it_is_taken_is_met_later)
{
	uint32_t slot;

	shared_slots_add(shared, 10);
	shared_slots_add(shared, 11);
	shared_slots_take_each (shared, slot) {
		see(slot);
		shared_slots_add(shared, slot);
	}
	EXPECT_SEEN(10, 11);
	shared_slots_take_each (shared, slot)
		see(slot);
	EXPECT_SEEN(10, 11);
	ck_assert(shared_slots_are_empty(shared));
}
END_TEST

/* --------------------------------- threads --------------------------------- */

#define ROUNDS 200000u

static _Atomic unsigned int added[SLOT_SET_SLOTS];
static unsigned int served[SLOT_SET_SLOTS];

/* Adds work to a slot, then the slot; slots of two words, for both levels to collide. */
static void *add_work(void *seed)
{
	unsigned int state = (uintptr_t)seed;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint32_t slot = rand_r(&state) % 128;

		atomic_fetch_add(&added[slot], 1);
		shared_slots_add(shared, slot);
	}
	return NULL;
}

/* Does all the work that slots have when they are met. */
static void serve(void)
{
	uint32_t slot;

	slot_set_clear(&set);
	slot_set_take(&set, shared);
	slot_set_for_each (&set, slot)
		served[slot] = atomic_load(&added[slot]);
}

START_TEST(nothing_that_a_thread_adds_is_lost)
{
	pthread_t threads[2];

	for (uintptr_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, add_work, (void *)(i + 1)), 0);
	for (unsigned int i = 0; i < ROUNDS; i++)
		serve();
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	serve();
	for (unsigned int i = 0; i < SLOT_SET_SLOTS; i++)
		ck_assert_uint_eq(served[i], added[i]);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("slot_set");

	tcase_add_test(tc, a_walk_meets_each_member_once_in_order);
	tcase_add_test(tc, an_empty_set_has_no_members);
	tcase_add_test(tc, a_word_without_bits_is_passed_over);
	tcase_add_test(tc, taking_adds_to_what_is_there);
	tcase_add_test(tc, a_guests_set_is_little_endian);
	tcase_add_test(tc, a_look_leaves_the_members);
	tcase_add_test(tc, what_is_added_while_it_is_taken_is_met_later);
	tcase_add_test(tc, nothing_that_a_thread_adds_is_lost);
	return suite_run("slot_set", tc);
}
