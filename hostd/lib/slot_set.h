/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sets of slots: two levels of bits, so that a set of 4096 costs one load while it is
 * empty. Bit s % 64 of word s / 64 is slot s; bit w of the summary says that word w may
 * be non-zero.
 *
 * A struct slot_set has one owner. A struct shared_slots names a set that several
 * threads or the guest (pvhca-ring.h) change. The adding side sets the word before the
 * summary, and the taking side swaps the summary before the words, so that nothing is
 * lost. The owner chooses the place of both parts: the summaries of several sets in one
 * line of the cache, or the guest's page.
 */
#ifndef HOSTD_LIB_SLOT_SET_H
#define HOSTD_LIB_SLOT_SET_H

#include <endian.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SLOT_SET_WORDS 64
#define SLOT_SET_SLOTS (SLOT_SET_WORDS * 64)

/* Words that the summary does not name are not valid; those that it names are not zero. */
struct slot_set {
	uint64_t summary;
	uint64_t words[SLOT_SET_WORDS];
};

struct shared_slots {
	_Atomic uint64_t *summary;
	_Atomic uint64_t *words;
};

/* ---------------------------------- shared --------------------------------- */

static inline void shared_slots_add(struct shared_slots set, uint32_t slot)
{
	atomic_fetch_or(&set.words[slot / 64], 1ull << (slot % 64));
	atomic_fetch_or(set.summary, 1ull << (slot / 64));
}

/* The owner of the taking side takes some slots of a word out. */
static inline void shared_slots_take_some(struct shared_slots set, unsigned int word, uint64_t bits)
{
	const uint64_t bit = 1ull << word;

	if (atomic_fetch_and(&set.words[word], ~bits) & ~bits)
		return;
	/* The word is empty, unless slots are added just now. */
	atomic_fetch_and(set.summary, ~bit);
	if (atomic_load(&set.words[word]))
		atomic_fetch_or(set.summary, bit);
}

/* A hint: it is cheap, as the line of the cache stays shared, but it may be old. */
static inline bool shared_slots_seem_empty(struct shared_slots set)
{
	return !atomic_load_explicit(set.summary, memory_order_relaxed);
}

/* For a thread that is about to sleep: ordered after all that it did before. */
static inline bool shared_slots_are_empty(struct shared_slots set)
{
	return !atomic_load(set.summary);
}

/* ----------------------------------- walk ---------------------------------- */

/**
 * struct slot_walk - over the members of a set
 * @words: bits of the summary that are still to come
 * @bits: bits of the current word that are still to come
 * @base: the slot of the current word's bit 0
 */
struct slot_walk {
	uint64_t words;
	uint64_t bits;
	uint32_t base;
};

/* Go on with the next word. The caller fetches its bits. */
static inline unsigned int slot_walk_word(struct slot_walk *walk)
{
	unsigned int word = __builtin_ctzll(walk->words);

	walk->words &= walk->words - 1;
	walk->base = word * 64;
	return word;
}

static inline uint32_t slot_walk_slot(struct slot_walk *walk)
{
	uint32_t slot = walk->base + __builtin_ctzll(walk->bits);

	walk->bits &= walk->bits - 1;
	return slot;
}

static inline bool slot_set_next(const struct slot_set *set, struct slot_walk *walk, uint32_t *slot)
{
	while (!walk->bits) {
		if (!walk->words)
			return false;
		walk->bits = set->words[slot_walk_word(walk)];
	}
	*slot = slot_walk_slot(walk);
	return true;
}

static inline bool shared_slots_next(struct shared_slots set, struct slot_walk *walk,
				     uint32_t *slot)
{
	while (!walk->bits) {
		if (!walk->words)
			return false;
		walk->bits = atomic_load(&set.words[slot_walk_word(walk)]);
	}
	*slot = slot_walk_slot(walk);
	return true;
}

static inline bool shared_slots_take_next(struct shared_slots set, struct slot_walk *walk,
					  uint32_t *slot)
{
	while (!walk->bits) {
		if (!walk->words)
			return false;
		walk->bits = atomic_exchange(&set.words[slot_walk_word(walk)], 0);
	}
	*slot = slot_walk_slot(walk);
	return true;
}

/*
 * For each slot (uint32_t) of a struct slot_set *set.
 */
#define slot_set_for_each(set, slot)                               \
	for (struct slot_walk walk_ = { .words = (set)->summary }; \
	     slot_set_next(set, &walk_, &(slot));)

/* For each slot of a struct shared_slots. The slots stay members. */
#define shared_slots_for_each(set, slot)                                       \
	for (struct slot_walk walk_ = { .words = atomic_load((set).summary) }; \
	     shared_slots_next(set, &walk_, &(slot));)

/*
 * Likewise, but the slots are taken out, those of a word all at once. The body may add
 * slots again. They are met in another walk, or in this one if their word is still to come.
 */
#define shared_slots_take_each(set, slot)                                             \
	for (struct slot_walk walk_ = { .words = atomic_exchange((set).summary, 0) }; \
	     shared_slots_take_next(set, &walk_, &(slot));)

/* --------------------------------- one owner ------------------------------- */

static inline void slot_set_clear(struct slot_set *set)
{
	set->summary = 0;
}

static inline bool slot_set_is_empty(const struct slot_set *set)
{
	return !set->summary;
}

static inline void slot_set_add_word(struct slot_set *set, unsigned int word, uint64_t bits)
{
	if (set->summary & 1ull << word)
		bits |= set->words[word];
	if (!bits)
		return;
	set->words[word] = bits;
	set->summary |= 1ull << word;
}

static inline void slot_set_add(struct slot_set *set, uint32_t slot)
{
	slot_set_add_word(set, slot / 64, 1ull << (slot % 64));
}

/* Add the members of other, which keeps them. */
static inline void slot_set_add_all(struct slot_set *set, const struct slot_set *other)
{
	uint64_t words = other->summary;

	for (; words; words &= words - 1)
		slot_set_add_word(set, __builtin_ctzll(words),
				  other->words[__builtin_ctzll(words)]);
}

/*
 * Take out the first member at or after *slot, and set *slot to it; behind the last slot
 * comes slot 0. The set is not empty.
 */
static inline void slot_set_pop(struct slot_set *set, uint32_t *slot)
{
	unsigned int word = *slot / 64;
	uint64_t bits = 0, words;

	if (set->summary & 1ull << word)
		bits = set->words[word] & ~0ull << *slot % 64;
	if (!bits) {
		words = word == 63 ? 0 : set->summary & ~0ull << (word + 1);
		word = __builtin_ctzll(words ? words : set->summary);
		bits = set->words[word];
	}
	*slot = word * 64 + __builtin_ctzll(bits);
	set->words[word] &= ~(1ull << *slot % 64);
	if (!set->words[word])
		set->summary &= ~(1ull << word);
}

/* Take all members of from, and add them to set. Returns the number of words that were swapped. */
static inline unsigned int slot_set_take(struct slot_set *set, struct shared_slots from)
{
	struct slot_walk walk = { .words = atomic_exchange(from.summary, 0) };
	unsigned int word, words = 0;

	for (; walk.words; words++) {
		word = slot_walk_word(&walk);
		slot_set_add_word(set, word, atomic_exchange(&from.words[word], 0));
	}
	return words;
}

/* Likewise from a set in guest memory, which is little endian. */
static inline unsigned int slot_set_take_le(struct slot_set *set, struct shared_slots from)
{
	struct slot_walk walk = { .words = le64toh(atomic_exchange(from.summary, 0)) };
	unsigned int word, words = 0;

	for (; walk.words; words++) {
		word = slot_walk_word(&walk);
		slot_set_add_word(set, word, le64toh(atomic_exchange(&from.words[word], 0)));
	}
	return words;
}

#endif
