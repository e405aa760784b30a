/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step of k in a register tile: loads of rows and columns, products.  The
 * smaller of the two operands is held, the larger is streamed, in the orders
 * that LLVM compiles without a spill.
 */
#include "codegen/llvm/tile.h"

LLVMValueRef tile_element(struct kern *kn, LLVMTypeRef elem,
			    LLVMValueRef base, int64_t k)
{
	struct cg *g = kn->g;
	LLVMValueRef i = cg_int(g, k);

	return k ? LLVMBuildGEP2(g->b, elem, base, &i, 1, "") : base;
}

LLVMValueRef tile_load_row(struct kern *kn, LLVMTypeRef as, LLVMValueRef pa,
			   unsigned r, int64_t ahead)
{
	struct cg *g = kn->g;
	LLVMTypeRef t = kn->row_elem;
	LLVMValueRef p, x;

	if (kn->rows_const) {
		p = tile_element(kn, t, pa, kn->row_const[r] + ahead);
	} else {
		p = LLVMBuildGEP2(g->b, t, pa, &kn->row_off[r], 1, "");
		p = tile_element(kn, t, p, ahead);
	}
	x = LLVMBuildLoad2(g->b, as, p, "");
	LLVMSetAlignment(x, cg_align(g, kn->op->in[0].val));
	return x;
}

LLVMValueRef tile_row(struct kern *kn, LLVMValueRef pa, unsigned r,
			     int64_t ahead)
{
	struct cg *g = kn->g;
	LLVMTypeRef t = kn->group > 1 && !kn->d.on ? kn->elem : kn->row_elem;
	LLVMValueRef x = tile_load_row(kn, t, pa, r, ahead);

	x = cg_splat(g, x);
	return LLVMTypeOf(x) == kn->vec ? x
					: LLVMBuildSExt(g->b, x, kn->vec, "");
}

/* Bytes as f32. */
static LLVMValueRef widened(struct kern *kn, LLVMValueRef x)
{
	LLVMTypeRef ints = LLVMVectorType(kn->g->i32, kn->lanes);

	x = dtype_is_signed(kn->panel)
		    ? LLVMBuildSExt(kn->g->b, x, ints, "")
		    : LLVMBuildZExt(kn->g->b, x, ints, "");
	return LLVMBuildSIToFP(kn->g->b, x, kn->vec, "");
}

LLVMValueRef tile_columns(struct kern *kn, LLVMValueRef pb, unsigned v,
			      int64_t ahead)
{
	struct cg *g = kn->g;
	LLVMValueRef x = LLVMBuildLoad2(
		g->b,
		kn->group > 1 ? kn->vec
			      : LLVMVectorType(kn->panel_elem, kn->lanes),
		tile_element(kn, kn->panel_elem, pb,
			(int64_t)(v * kn->lanes * kn->group) + ahead),
		"");

	/* Panels are whole vectors of an aligned buffer. */
	LLVMSetAlignment(x, kn->lanes * kn->group *
				    (unsigned)dtype_size(kn->panel));
	if (LLVMTypeOf(x) == kn->vec)
		return x;
	if (kn->dt == DT_I32)
		return LLVMBuildSExt(g->b, x, kn->vec, "");
	if (!dtype_is_float(kn->panel))
		return widened(kn, x);
	return cg_from_mem(g, kn->panel, x);
}

/* Adds row r times vector v to their sum. */
static void multiply_add(struct kern *kn, unsigned r, unsigned v,
			 LLVMValueRef a, LLVMValueRef b)
{
	struct cg *g = kn->g;
	LLVMValueRef in[] = { a, b, kn->sum[r * kn->nv + v] };

	if (kn->dt == DT_I32) {
		kn->sum[r * kn->nv + v] = cg_dot(g, kn->dot, in[2], a, b,
							 kn->fits);
		return;
	}
	if (g->t->isa->fma) {
		kn->sum[r * kn->nv + v] = cg_call(g, "llvm.fma", kn->vec, 3,
						  in);
		return;
	}
	LLVMValueRef m = LLVMBuildFMul(g->b, a, b, "");

	kn->sum[r * kn->nv + v] = LLVMBuildFAdd(g->b, m, in[2], "");
}

void tile_prefetch(struct cg *g, LLVMValueRef p, int64_t size)
{
	const int64_t line = 64;

	for (int64_t at = 0; at < size; at += line) {
		LLVMValueRef off = cg_int(g, at);
		LLVMValueRef arg[] = {
			LLVMBuildGEP2(g->b, g->i8, p, &off, 1, ""),
			LLVMConstInt(g->i32, 0, false),
			LLVMConstInt(g->i32, 2, false),
			LLVMConstInt(g->i32, 1, false),
		};

		cg_call(g, "llvm.prefetch", g->ptr, 4, arg);
	}
}

void tile_read_ahead(struct kern *kn, LLVMValueRef pb, int64_t ahead)
{
	struct cg *g = kn->g;
	int64_t bits = dtype_info[kn->panel].bits;
	int64_t from = ahead * bits / 8 + g->t->isa->prefetch_bytes;

	tile_prefetch(g, tile_element(kn, g->i8, pb, from),
		      (int64_t)kn->nr * kn->group * bits / 8);
}

/*
 * Row, or vector of columns, number i, which is streamed: where a product takes
 * several instructions, it waits for the sums of one before it, so that about
 * three are under way.
 */
static LLVMValueRef in_turn(struct kern *kn, LLVMValueRef x, unsigned i,
			    bool is_row)
{
	unsigned n = is_row ? kn->nv : kn->mr, back = (n + 2) / n;

	if (i < back || !kn->dot || !kn->dot->narrow)
		return x;
	i -= back;
	for (unsigned k = 0; k < n; k++)
		x = cg_dot_after(kn->g, x,
				 kn->sum[is_row ? i * n + k : k * kn->nv + i]);
	return x;
}

void tile_step(struct kern *kn, LLVMValueRef pa, LLVMValueRef pb,
		   int64_t a_ahead, int64_t b_ahead)
{
	const struct isa *isa = kn->g->t->isa;
	LLVMValueRef held[MAX_ROWS], x;

	if (kn->d.on) {
		decode_step(kn, pa, pb, a_ahead, b_ahead);
		return;
	}
	if (isa->prefetch_bytes && kn->mr >= isa->prefetch_rows)
		tile_read_ahead(kn, pb, b_ahead);
	if (kn->dot && kn->dot->pairs) {
		pair_step(kn, pa, pb, a_ahead, b_ahead);
		return;
	}
	if (kn->mr >= kn->nv) {
		for (unsigned v = 0; v < kn->nv; v++)
			held[v] = tile_columns(kn, pb, v, b_ahead);
		for (unsigned r = 0; r < kn->mr; r++) {
			x = tile_row(kn, pa, r, a_ahead);
			x = in_turn(kn, x, r, true);
			for (unsigned v = 0; v < kn->nv; v++)
				multiply_add(kn, r, v, x, held[v]);
		}
		return;
	}
	for (unsigned r = 0; r < kn->mr; r++)
		held[r] = tile_row(kn, pa, r, a_ahead);
	for (unsigned v = 0; v < kn->nv; v++) {
		x = in_turn(kn, tile_columns(kn, pb, v, b_ahead), v, false);
		for (unsigned r = 0; r < kn->mr; r++)
			multiply_add(kn, r, v, held[r], x);
	}
}
