/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What libFuzzer calls, and how a target reads its input. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must not be: libFuzzer keeps the input then. */
#define FUZZ_CHECK(condition)             \
	do {                              \
		if (!(condition))         \
			__builtin_trap(); \
	} while (0)

struct fuzz_input {
	const uint8_t *data;
	size_t size;
};

/* A piece of an input: a byte that says what it is, its length (16 bits, little endian), bytes. */
struct fuzz_piece {
	uint8_t kind;
	const uint8_t *data;
	size_t size;
};

/* The next piece, cut where the input ends. False: there is none. */
static inline bool fuzz_next(struct fuzz_input *input, struct fuzz_piece *piece)
{
	size_t length;

	if (input->size < 3)
		return false;
	piece->kind = input->data[0];
	length = input->data[1] | input->data[2] << 8;
	input->data += 3;
	input->size -= 3;
	piece->size = length < input->size ? length : input->size;
	piece->data = input->data;
	input->data += piece->size;
	input->size -= piece->size;
	return true;
}

/* A number from the beginning of a piece, little endian; 0 where the piece has ended. */
static inline uint32_t fuzz_number(struct fuzz_piece *piece, size_t bytes)
{
	uint32_t number = 0;

	for (size_t i = 0; i < bytes && i < piece->size; i++)
		number |= (uint32_t)piece->data[i] << 8 * i;
	if (bytes > piece->size)
		bytes = piece->size;
	piece->data += bytes;
	piece->size -= bytes;
	return number;
}

#endif
