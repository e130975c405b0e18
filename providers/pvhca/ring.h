/* SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB */
/*
 * The guest's side of the protocol that <rdma/pvhca-ring.h> lays down: how
 * memory shared with pvhcad is read, written and announced.
 *
 * Memory model
 *
 * What each side writes is an index, a phase bit or a bit of a bitmap that the
 * other side polls. Entries behind an index or a phase bit are plain memory;
 * store-release and load-acquire of that index or bit order them.
 *
 * Announcing work is three times the pattern "store mine, full barrier, load
 * yours", of which at least one side then sees the other's store:
 *
 *    pvhca_ring_notify()                 pvhcad
 *  P1 store pi                         H1 summary = 0 (atomic swap)
 *     full barrier                        full barrier (the swap)
 *  P2 pending |= slot, if clear        H2 pending = 0 (atomic swap)
 *     full barrier, if it was written     full barrier (the swap; see (e))
 *  P3 summary |= word, if clear        H3 load pi
 *     full barrier, if it was written     ...
 *  P4 load need_kick                   H4 need_kick = all, full barrier,
 *                                         load summary, sleep if 0
 *
 * (a) A bit may be left alone when it is seen set. Was it seen set after P1's
 *     barrier, then the swap that clears it comes later in the order of that
 *     word, and H3, which follows the swap and its barrier, loads our pi.
 * (b) pending first, summary second, and pvhcad the other way round: is summary
 *     seen set after our pending bit was written, then the swap H1 is yet to
 *     come and H2 finds our bit.
 * (c) If we wrote summary, then P4 follows a full barrier: either P4 loads
 *     H4's need_kick and we ring, or H4 loads our summary and does not sleep.
 *     If we did not write it, it was seen set after P1's barrier. Whoever wrote
 *     it goes through (c) himself, and our pi is served with his by (a). So no
 *     barrier is needed then.
 * (d) Of all that see need_kick set, the one whose atomic and cleared it rings;
 *     one doorbell wakes pvhcad for all, as it looks at summary after waking.
 * (e) On arm64 a swap is no full barrier where it is a load and a store of their
 *     own: a load-acquire may pass the store. Then H3 could load an old pi while
 *     P2 still sees the bit that H2 is about to clear. So pvhcad loads pi by a
 *     sequentially consistent load. Behind the swap's store-release that is in
 *     order on arm64 without a barrier, and on x86 it is a plain load.
 *
 * (f) pvhcad may load a pi at other times, too, and leave bits set as long as it
 *    likes: all that matters is that it does not sleep while summary is not 0.
 *
 * A test walks through all interleavings of this on a weakly ordered memory, and
 * finds a lost wake-up once any of the barriers or orders is given up.
 */
#ifndef __PVHCA_RING_H__
#define __PVHCA_RING_H__

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>

#include <rdma/pvhca-ring.h>
#include <util/compiler.h>

static inline uint32_t pvhca_load32(const __le32 *p)
{
	return le32toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static inline uint32_t pvhca_load32_acquire(const __le32 *p)
{
	return le32toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

static inline void pvhca_store32(__le32 *p, uint32_t value)
{
	__atomic_store_n(p, htole32(value), __ATOMIC_RELAXED);
}

static inline void pvhca_store32_release(__le32 *p, uint32_t value)
{
	__atomic_store_n(p, htole32(value), __ATOMIC_RELEASE);
}

static inline void pvhca_full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/*
 * Full barrier behind an atomic read-modify-write. On x86 the locked operation
 * is one already; C11 alone promises less.
 */
static inline void pvhca_barrier_after_rmw(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
#else
	pvhca_full_barrier();
#endif
}

/*
 * A piece of a bitmap's word, as large as the CPU changes at once. pvhcad runs on
 * 64 bits and swaps whole words. A 32-bit program changes that half which has the
 * bit: for 64 bits many CPUs need libatomic, and where that takes a lock the
 * operation is not atomic for pvhcad, which does not know the lock. A half is as
 * good: all that is said above of a word holds for each of its bits. Words are little
 * endian, so the lower bits lie in the first half. (A test asks for halves.)
 */
#if UINTPTR_MAX > UINT32_MAX && !defined(PVHCA_HALF_WORDS)
typedef __le64 __attribute__((may_alias)) pvhca_bits;
#define PVHCA_BIT(bit) htole64(1ULL << (bit) % 64)
#else
typedef __le32 __attribute__((may_alias)) pvhca_bits;
#define PVHCA_BIT(bit) htole32(1U << (bit) % 32)
#endif
_Static_assert(__atomic_always_lock_free(sizeof(pvhca_bits), 0),
	       "bits that pvhcad changes, too, need no lock");

static inline pvhca_bits *pvhca_bits_of(__le64 *word, unsigned int bit)
{
	return (pvhca_bits *)word + bit / (8 * sizeof(pvhca_bits));
}

/* Sets a bit that pvhcad clears; a full barrier if it has to be written. */
static inline void pvhca_set_bit(__le64 *word, unsigned int bit)
{
	pvhca_bits *bits = pvhca_bits_of(word, bit);
	pvhca_bits mask = PVHCA_BIT(bit);

	if (__atomic_load_n(bits, __ATOMIC_RELAXED) & mask)
		return;
	__atomic_fetch_or(bits, mask, __ATOMIC_SEQ_CST);
	pvhca_barrier_after_rmw();
}

/* Clears a bit; true if it was set and this call cleared it. */
static inline bool pvhca_test_and_clear_bit(__le64 *word, unsigned int bit)
{
	pvhca_bits *bits = pvhca_bits_of(word, bit);
	pvhca_bits mask = PVHCA_BIT(bit);

	if (likely(!(__atomic_load_n(bits, __ATOMIC_ACQUIRE) & mask)))
		return false;
	return __atomic_fetch_and(bits, ~mask, __ATOMIC_SEQ_CST) & mask;
}

/**
 * pvhca_ring_notify() - tell pvhcad that a producer index has moved
 * @page: the context's
 * @slot: of the queue, < PVHCA_SLOTS
 *
 * To be called after the index was stored. Needs no lock.
 *
 * Return: whether pvhcad sleeps and the caller has to write the doorbell.
 */
static inline bool pvhca_ring_notify(struct pvhca_context_page *page,
				     uint32_t slot)
{
	unsigned int word = slot / 64;

	pvhca_full_barrier();
	pvhca_set_bit(&page->pending[word], slot % 64);
	pvhca_set_bit(&page->summary, word);
	return pvhca_test_and_clear_bit(&page->need_kick, word);
}

static inline bool pvhca_alive(const struct pvhca_context_page *page)
{
	return likely(pvhca_load32(&page->alive));
}

/* The last four bytes of a completion as pvhcad writes them: in one word. */
#define PVHCA_CQE_WORD_OPCODE(word) ((word)&0xff)
#define PVHCA_CQE_WORD_STATUS(word) ((word) >> 8 & 0xff)
#define PVHCA_CQE_WORD_SL(word)	    ((word) >> 16 & 0xff)
#define PVHCA_CQE_WORD_FLAGS(word)  ((word) >> 24)

/*
 * Load-acquires the last word of the entry of index @ci; it is valid, and with
 * it the entry, when its phase is that of the lap which @ci is in.
 */
static inline bool pvhca_cqe_valid(const struct pvhca_cqe *cqe, uint32_t ci,
				   unsigned int log_entries, uint32_t *word)
{
	bool phase = !(ci >> log_entries & 1);

	*word = pvhca_load32_acquire((const __le32 *)&cqe->opcode);
	return !!(PVHCA_CQE_WORD_FLAGS(*word) & PVHCA_CQE_F_PHASE) == phase;
}

#endif /* __PVHCA_RING_H__ */
