/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A register tile whose instruction takes two rows by two columns, 8 bytes of
 * each: while k runs, a register has four sums,
 *
 *	row 2p: columns 2q, 2q + 1; row 2p + 1: the same columns
 *
 * Pair q is one half of vector q / 2.  The registers of the first half stand
 * where the sums of row 2p will be, those of the second where those of row
 * 2p + 1 will; the last row of an odd number has a partner that no one reads.
 */
#include "codegen/llvm/tile.h"

enum { BYTES = 8 };

unsigned pair_sums(const struct kern *kn)
{
	return (kn->mr + 1) / 2 * 2 * kn->nv;
}

/* Bytes of rows 2p and 2p + 1. */
static LLVMValueRef two_rows(struct kern *kn, LLVMValueRef pa, unsigned p,
			     int64_t ahead)
{
	struct cg *g = kn->g;
	LLVMValueRef x = LLVMGetPoison(LLVMVectorType(g->i64, 2));

	for (unsigned i = 0; i < 2; i++) {
		unsigned r = 2 * p + i < kn->mr ? 2 * p + i : 2 * p;

		x = LLVMBuildInsertElement(
			g->b, x, tile_load_row(kn, g->i64, pa, r, ahead),
			cg_int(g, i), "");
	}
	return LLVMBuildBitCast(g->b, x, LLVMVectorType(g->i8, 2 * BYTES), "");
}

static LLVMValueRef two_columns(struct kern *kn, LLVMValueRef pb, unsigned q,
				int64_t ahead)
{
	struct cg *g = kn->g;
	LLVMValueRef x = LLVMBuildLoad2(
		g->b, LLVMVectorType(g->i8, 2 * BYTES),
		tile_element(kn, kn->panel_elem, pb, 2 * BYTES * q + ahead),
		"");

	LLVMSetAlignment(x, 2 * BYTES);
	return x;
}

static void add_products(struct kern *kn, unsigned p, unsigned q,
			 LLVMValueRef a, LLVMValueRef b)
{
	LLVMValueRef *sum = &kn->sum[(2 * p + q % 2) * kn->nv + q / 2];

	*sum = cg_dot_matrix(kn->g, kn->dot, *sum, a, b);
}

void pair_step(struct kern *kn, LLVMValueRef pa, LLVMValueRef pb,
	       int64_t a_ahead, int64_t b_ahead)
{
	unsigned rows = (kn->mr + 1) / 2, columns = 2 * kn->nv;
	LLVMValueRef held[MAX_ROWS], x;

	if (rows > columns) {
		for (unsigned q = 0; q < columns; q++)
			held[q] = two_columns(kn, pb, q, b_ahead);
		for (unsigned p = 0; p < rows; p++) {
			x = two_rows(kn, pa, p, a_ahead);
			for (unsigned q = 0; q < columns; q++)
				add_products(kn, p, q, x, held[q]);
		}
		return;
	}
	for (unsigned p = 0; p < rows; p++)
		held[p] = two_rows(kn, pa, p, a_ahead);
	for (unsigned q = 0; q < columns; q++) {
		x = two_columns(kn, pb, q, b_ahead);
		for (unsigned p = 0; p < rows; p++)
			add_products(kn, p, q, held[p], x);
	}
}

/* Lanes first, first + 1 of both. */
static LLVMValueRef halves(struct kern *kn, LLVMValueRef lo, LLVMValueRef hi,
			   unsigned first)
{
	struct cg *g = kn->g;
	LLVMValueRef pick[4];

	for (unsigned i = 0; i < 4; i++)
		pick[i] = LLVMConstInt(g->i32, first + i % 2 + i / 2 * 4,
				       false);
	return LLVMBuildShuffleVector(g->b, lo, hi, LLVMConstVector(pick, 4),
				      "");
}

void pair_rows(struct kern *kn)
{
	for (unsigned r = 0; r < kn->mr; r += 2)
		for (unsigned v = 0; v < kn->nv; v++) {
			LLVMValueRef *even = &kn->sum[r * kn->nv + v];
			LLVMValueRef *odd = even + kn->nv;
			LLVMValueRef lo = *even;

			*even = halves(kn, lo, *odd, 0);
			*odd = halves(kn, lo, *odd, 2);
		}
}
