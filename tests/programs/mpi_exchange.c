// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MPI between the ranks of a job, with every byte checked: messages of all sizes up to
 * 8 MiB both ways, a sum over all ranks, and a counter that all ranks increment by
 * one-sided atomics. Written to the MPI standard: any implementation compiles it.
 *
 * Rank 0 prints "exchange: ok" at the end; what is wrong ends the job by MPI_Abort.
 */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define LARGEST	   (8u << 20) /* bytes */
#define INCREMENTS 100

static int rank, ranks;

static void fail(const char *what, long long detail)
{
	fprintf(stderr, "rank %d: %s: %lld\n", rank, what, detail);
	MPI_Abort(MPI_COMM_WORLD, 1);
}

static uint8_t pattern(int from, uint32_t size, uint32_t at)
{
	return from * 41 + size * 7 + at * 13 + (at >> 8);
}

static void exchange(uint32_t size, uint8_t *out, uint8_t *in)
{
	int to = (rank + 1) % ranks, from = (rank + ranks - 1) % ranks, count;
	MPI_Status status;

	for (uint32_t i = 0; i < size; i++)
		out[i] = pattern(rank, size, i);
	MPI_Sendrecv(out, size, MPI_BYTE, to, 5, in, LARGEST, MPI_BYTE, from, 5, MPI_COMM_WORLD,
		     &status);
	MPI_Get_count(&status, MPI_BYTE, &count);
	if ((uint32_t)count != size)
		fail("size of a message", count);
	for (uint32_t i = 0; i < size; i++)
		if (in[i] != pattern(from, size, i))
			fail("wrong byte at", i);
}

static void exchange_all(void)
{
	uint8_t *out = malloc(LARGEST), *in = malloc(LARGEST);

	if (!out || !in)
		fail("no memory", LARGEST);
	exchange(0, out, in);
	for (uint32_t size = 1; size <= LARGEST; size *= 8)
		exchange(size, out, in);
	exchange(LARGEST, out, in);
	free(out);
	free(in);
}

static void sum_all(void)
{
	double mine = rank + 1, sum;

	MPI_Allreduce(&mine, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
	if (sum != ranks * (ranks + 1) / 2.0)
		fail("sum over all ranks", (long long)sum);
}

static void count_all(void)
{
	long long *counter, one = 1, before;
	MPI_Win window;

	MPI_Win_allocate(sizeof(*counter), sizeof(*counter), MPI_INFO_NULL, MPI_COMM_WORLD,
			 &counter, &window);
	*counter = 0;
	MPI_Barrier(MPI_COMM_WORLD);
	MPI_Win_lock_all(0, window);
	for (int i = 0; i < INCREMENTS; i++) {
		MPI_Fetch_and_op(&one, &before, MPI_LONG_LONG, 0, 0, MPI_SUM, window);
		MPI_Win_flush(0, window);
		if (before < 0 || before >= (long long)INCREMENTS * ranks)
			fail("counter before an increment", before);
	}
	MPI_Win_unlock_all(window);
	MPI_Barrier(MPI_COMM_WORLD);
	MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, window);
	if (!rank && *counter != (long long)INCREMENTS * ranks)
		fail("counter at the end", *counter);
	MPI_Win_unlock(rank, window);
	MPI_Win_free(&window);
}

int main(int argc, char **argv)
{
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &ranks);
	exchange_all();
	sum_all();
	count_all();
	if (!rank)
		puts("exchange: ok");
	MPI_Finalize();
	return 0;
}
