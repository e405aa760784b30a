/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of a few bits, decoded by the tile that reads them. */
#include "codegen/llvm/tile.h"

/* Have so many sums their place, with what a step needs? */
static bool holds(const struct kern *kn, unsigned n_sum)
{
	return n_sum + kn->mr * kn->nv + 2 * kn->nv + kn->mr + 2 <=
	       kn->g->t->isa->n_vregs;
}

void decode_plan(struct kern *kn)
{
	unsigned n = kn->mr * kn->nv;

	kn->d.to = DT_F32;
	if (op_has(kn->op, A_round))
		dtype_from_onnx((int)op_int(kn->op, A_round), &kn->d.to);
	kn->d.apart = kn->d.on && kn->d.depth < kn->n_k &&
		      kn->d.to == DT_F32 && holds(kn, n + kn->mr);
	n += kn->d.apart && kn->d.zero ? kn->mr : 0;
	kn->d.n_set = kn->d.apart && kn->group > 1 && holds(kn, 2 * n) ? 2 : 1;
	kn->n_sum = kn->d.n_set * n;
}

/* Vector v of scales or zero points. */
static LLVMValueRef load_f32(struct kern *kn, unsigned operand,
			     LLVMValueRef at, unsigned v)
{
	struct cg *g = kn->g;
	enum dtype t = kn->op->in[operand].val->type->dtype;
	LLVMTypeRef elem = cg_mem_type(g, t);
	LLVMValueRef base = map_get(&g->bufs, kn->op->in[operand].val->id);
	LLVMValueRef p = LLVMBuildGEP2(g->b, elem, base, &at, 1, "");
	LLVMTypeRef ints = LLVMVectorType(g->i32, kn->lanes);
	LLVMValueRef x = LLVMBuildLoad2(g->b, LLVMVectorType(elem, kn->lanes),
					tile_element(kn, elem, p,
						(int64_t)(v * kn->lanes)), "");

	LLVMSetAlignment(x, kn->lanes * (unsigned)dtype_size(t));
	if (t == DT_F32)
		return x;
	if (dtype_is_float(t))
		return cg_from_mem(g, t, x);
	return LLVMBuildUIToFP(g->b, LLVMBuildZExt(g->b, x, ints, ""), kn->vec,
			       "");
}

void decode_scales(struct kern *kn, LLVMValueRef at)
{
	struct cg *g = kn->g;

	for (unsigned v = 0; v < kn->nv; v++) {
		kn->d.scale[v] = load_f32(kn, 2, at, v);
		if (!kn->d.zero)
			continue;
		kn->d.shift[v] = load_f32(kn, 3, at, v);
		if (!kn->d.apart)
			kn->d.shift[v] = LLVMBuildFNeg(
				g->b, LLVMBuildFMul(g->b, kn->d.shift[v],
						    kn->d.scale[v], ""),
				"");
	}
}

static LLVMValueRef fused(struct kern *kn, LLVMValueRef a, LLVMValueRef b,
			  LLVMValueRef c)
{
	LLVMValueRef in[] = { a, b, c };

	if (kn->g->t->isa->fma)
		return cg_call(kn->g, "llvm.fma", kn->vec, 3, in);
	return LLVMBuildFAdd(kn->g->b, LLVMBuildFMul(kn->g->b, a, b, ""), c,
			     "");
}

/* Sum i of all sets. */
static LLVMValueRef whole_sum(struct kern *kn, unsigned i)
{
	LLVMValueRef x = kn->sum[i];

	return kn->d.n_set == 1
		       ? x
		       : LLVMBuildFAdd(kn->g->b, x,
				       kn->sum[kn->n_sum / 2 + i], "");
}

/* outer + s * (sum of a * q - z * sum of a) */
LLVMValueRef decode_block(struct kern *kn, unsigned r, unsigned v,
				 LLVMValueRef outer)
{
	LLVMValueRef x = whole_sum(kn, r * kn->nv + v);

	if (kn->d.zero)
		x = fused(kn, LLVMBuildFNeg(kn->g->b, kn->d.shift[v], ""),
			  whole_sum(kn, kn->mr * kn->nv + r), x);
	return fused(kn, x, kn->d.scale[v], outer);
}

/* Is a number the low four bits of an index to a table of all of them? */
static bool by_table(const struct kern *kn)
{
	return kn->group > 1 && dtype_info[kn->panel].bits == 4 &&
	       kn->lanes == 16 && kn->g->t->x86_level;
}

/* Number i of each lane as an f32. */
static LLVMValueRef number(struct kern *kn, LLVMValueRef lanes, unsigned i)
{
	struct cg *g = kn->g;
	LLVMBuilderRef b = g->b;
	unsigned bits = dtype_info[kn->panel].bits;
	bool sign = dtype_is_signed(kn->panel);

	if (kn->group == 1)
		return lanes;
	if (by_table(kn)) {
		LLVMValueRef table[16], in[2];

		for (int k = 0; k < 16; k++)
			table[k] = LLVMConstReal(g->f32,
						 sign && k > 7 ? k - 16 : k);
		in[0] = LLVMConstVector(table, 16);
		in[1] = LLVMBuildLShr(b, lanes,
				      cg_konst(lanes, g->i32, bits * i), "");
		return cg_machine_call(g, "llvm.x86.avx512.permvar.sf.512", 2,
				       in);
	}
	LLVMValueRef x = LLVMBuildShl(
		b, lanes, cg_konst(lanes, g->i32, 32 - bits * (i + 1)), "");
	LLVMValueRef down = cg_konst(lanes, g->i32, 32 - bits);

	x = sign ? LLVMBuildAShr(b, x, down, "")
		 : LLVMBuildLShr(b, x, down, "");
	return LLVMBuildSIToFP(b, x, kn->vec, "");
}

/* The panel's lanes of a group, from so many bytes on: 32 bits each, or a
 * number where that is no part of one. */
static void load_lanes(struct kern *kn, LLVMValueRef pb, int64_t ahead,
		       unsigned byte, LLVMValueRef *lanes)
{
	struct cg *g = kn->g;

	for (unsigned v = 0; v < kn->nv; v++) {
		if (kn->group == 1) {
			lanes[v] = tile_columns(kn, pb, v, ahead);
			continue;
		}
		int64_t at = ahead + (int64_t)v * kn->lanes * kn->group;

		lanes[v] = LLVMBuildLoad2(
			g->b, LLVMVectorType(g->i32, kn->lanes),
			tile_element(kn, g->i8, pb,
				at * dtype_info[kn->panel].bits / 8 + byte),
			"");
		LLVMSetAlignment(lanes[v], byte ? 1 : kn->lanes * 4);
	}
}

void decode_step(struct kern *kn, LLVMValueRef pa, LLVMValueRef pb,
			 int64_t a_ahead, int64_t b_ahead)
{
	struct cg *g = kn->g;
	LLVMValueRef lanes[MAX_VECS], w[MAX_VECS], p = pa;
	unsigned n = kn->mr * kn->nv, set = kn->n_sum / kn->d.n_set;
	/* Numbers of a byte; those of others are reached by loads from it on,
	 * as what is above an index does not matter. */
	unsigned near = by_table(kn) ? 2 : kn->group;

	/* Decoding fills the window in which the hardware would read on. */
	if (g->t->isa->prefetch_bytes)
		tile_read_ahead(kn, pb, b_ahead);
	for (unsigned i = 0; i < kn->group; i++) {
		LLVMValueRef *sum = kn->sum + i % kn->d.n_set * set;

		if (i % near == 0)
			load_lanes(kn, pb, b_ahead, i / near, lanes);
		for (unsigned v = 0; v < kn->nv; v++) {
			w[v] = number(kn, lanes[v], i % near);
			if (kn->d.apart)
				continue;
			w[v] = kn->d.zero ? fused(kn, w[v], kn->d.scale[v],
						  kn->d.shift[v])
					  : LLVMBuildFMul(g->b, w[v],
							  kn->d.scale[v], "");
			w[v] = cg_rounded(g, kn->d.to, w[v]);
		}
		if (i) {
			LLVMValueRef off = LLVMBuildMul(g->b, kn->d.step,
							cg_int(g, i), "");

			p = LLVMBuildGEP2(g->b, kn->row_elem, pa, &off, 1, "");
		}
		for (unsigned r = 0; r < kn->mr; r++) {
			LLVMValueRef x = tile_row(kn, p, r, a_ahead);

			for (unsigned v = 0; v < kn->nv; v++)
				sum[r * kn->nv + v] = fused(
					kn, x, w[v], sum[r * kn->nv + v]);
			if (set > n)
				sum[n + r] = LLVMBuildFAdd(g->b, sum[n + r], x,
							   "");
		}
	}
}
