/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Register kernels of contractions.
 *
 * A tile of MR rows by NV vectors of columns is kept in registers over the
 * whole of k.  Each step loads NV vectors of the packed panel and broadcasts
 * one element per row (or the other way round when rows are fewer), in the
 * orders that LLVM compiles without a spill: the smaller of the two operands
 * is held, the larger is streamed.  Rows are addressed from one pointer by
 * constant displacements where strides are constant.  The kernel is a function
 * of its own that LLVM's mid-level passes do not touch; what follows the sum
 * (bias, activation, residual) runs on the registers before the only store.
 *
 * The tile forms and why they are so: docs/decisions/004-register-kernels.md.
 */
#include "codegen/llvm/cg.h"
#include "ir/layout.h"

/* One loop over k: what a step moves in A and in the panel. */
struct k_loop {
	const struct atom *iv;
	const struct expr *extent;
	const struct expr *a_step, *b_step, *s_step;
};

/*
 * Weights that are decoded: scales and zero points, panels of their own, which
 * are loaded when the loops that move them have moved.  The steps of a block
 * are summed without them where the registers allow that (`apart`):
 *
 *	sum a * (q - z) * s = s * (sum a * q - z * sum a)
 */
struct decoding {
	bool on, apart, zero;
	const struct expr *off;
	unsigned depth;			/* loops that move them */
	LLVMValueRef scale[MAX_VECS], shift[MAX_VECS];
	LLVMValueRef step;		/* of A within a group */
};

struct kern {
	struct cg *g;
	struct op *op;
	unsigned mr, nv, lanes, nr;
	enum dtype dt, rows, panel;	/* of sums, rows, and the panel */
	unsigned group;			/* products of a lane and step */
	LLVMTypeRef elem, vec, row_elem, panel_elem;
	const struct expr *a_off, *b_off;	/* at row m0, column n0, k 0 */
	struct decoding d;
	LLVMValueRef row_off[MAX_ROWS];		/* in elements */
	int64_t row_const[MAX_ROWS];
	bool rows_const;
	struct k_loop k[MAX_RANK];
	unsigned n_k;
	LLVMValueRef sum[MAX_SUMS + MAX_ROWS];	/* then those of rows alone */
	unsigned n_sum;
	const struct dot *dot;		/* of integers */
	bool fits;			/* the panel, see cg_dot() */
};

/* ---- index maps ----------------------------------------------------- */

struct at_origin {
	const struct atom *iv;
	const struct expr *to;
};

static const struct expr *put(void *arg, const struct atom *a)
{
	const struct at_origin *o = arg;

	return a == o->iv ? o->to : NULL;
}

static const struct expr *with(struct ctx *c, const struct expr *e,
			       const struct expr *iv, const struct expr *to)
{
	struct at_origin o = { expr_atom(iv), to };

	return expr_subst(c, e, put, &o);
}

/* Strides along the k variables; loops that continue each other become one. */
static void plan_k(struct kern *kn)
{
	struct ctx *c = kn->g->c;
	struct block *b = op_body(kn->op);

	for (unsigned i = 2; i < b->n_iv; i++) {
		/* An instruction takes the whole group. */
		if (kn->group > 1 && i + 1 == b->n_iv) {
			const struct expr *step, *rest;

			expr_linear(c, kn->a_off, expr_atom(b->iv[i]), &step,
				    &rest);
			kn->d.step = cg_expr(kn->g, kn->op, step, 0);
			kn->a_off = with(c, kn->a_off, b->iv[i],
					 expr_const(c, 0));
			kn->b_off = with(c, kn->b_off, b->iv[i],
					 expr_const(c, 0));
			break;
		}
		struct k_loop l = { .iv = expr_atom(b->iv[i]) };
		const struct expr *rest;

		l.extent = l.iv->a;
		if (!expr_linear(c, kn->a_off, l.iv, &l.a_step, &rest) ||
		    !expr_linear(c, kn->b_off, l.iv, &l.b_step, &rest) ||
		    !expr_linear(c, kn->d.off, l.iv, &l.s_step, &rest))
			bug(&c->diag, "a contraction's index is not linear");
		kn->d.off = with(c, kn->d.off, b->iv[i], expr_const(c, 0));
		kn->a_off = with(c, kn->a_off, b->iv[i], expr_const(c, 0));
		kn->b_off = with(c, kn->b_off, b->iv[i], expr_const(c, 0));
		if (expr_is(l.extent, 1))
			continue;
		struct k_loop *o = kn->n_k ? &kn->k[kn->n_k - 1] : NULL;

		if (o && o->a_step == expr_mul(c, l.a_step, l.extent) &&
		    o->b_step == expr_mul(c, l.b_step, l.extent) &&
		    o->s_step == expr_mul(c, l.s_step, l.extent)) {
			l.extent = expr_mul(c, l.extent, o->extent);
			*o = l;
		} else {
			kn->k[kn->n_k++] = l;
		}
	}
	if (!kn->n_k)
		kn->k[kn->n_k++] = (struct k_loop){
			NULL, expr_const(c, 1), expr_const(c, 0),
			expr_const(c, 0), expr_const(c, 0)
		};
	for (unsigned i = 0; i < kn->n_k; i++)
		if (!expr_is(kn->k[i].s_step, 0))
			kn->d.depth = i + 1;
}

static void plan(struct kern *kn)
{
	struct cg *g = kn->g;
	struct ctx *c = g->c;
	struct block *b = op_body(kn->op);
	size_t n;
	const struct expr *const *o = op_exprs(kn->op, A_origin, &n);
	const struct expr *a = layout_offset(c, kn->op->in[0].val,
					     op_exprs(kn->op, A_a_idx, &n));
	const struct expr *step, *rest;
	int64_t k;

	kn->b_off = layout_offset(c, kn->op->in[1].val,
				  op_exprs(kn->op, A_b_idx, &n));
	kn->b_off = with(c, kn->b_off, b->iv[1], o[1]);
	kn->a_off = a;
	kn->d.off = expr_const(c, 0);
	if (kn->d.on)
		kn->d.off = with(c, layout_offset(c, kn->op->in[2].val,
						  op_exprs(kn->op, A_s_idx,
							   &n)),
				 b->iv[1], o[1]);
	plan_k(kn);
	a = kn->a_off;
	kn->a_off = with(c, a, b->iv[0], o[0]);
	kn->rows_const = expr_linear(c, a, expr_atom(b->iv[0]), &step,
				     &rest) &&
			 expr_is_const(step, &k);
	for (unsigned r = 0; r < kn->mr; r++) {
		const struct expr *d = expr_sub(
			c, with(c, a, b->iv[0], expr_addc(c, o[0], r)),
			kn->a_off);

		if (kn->rows_const)
			kn->row_const[r] = (int64_t)r * k;
		else
			kn->row_off[r] = cg_expr(g, kn->op, d, 0);
	}
}

/* ---- one step of k -------------------------------------------------- */

static LLVMValueRef element(struct kern *kn, LLVMTypeRef elem,
			    LLVMValueRef base, int64_t k)
{
	struct cg *g = kn->g;
	LLVMValueRef i = cg_int(g, k);

	return k ? LLVMBuildGEP2(g->b, elem, base, &i, 1, "") : base;
}

static LLVMValueRef load_row(struct kern *kn, LLVMValueRef pa, unsigned r,
			     int64_t ahead)
{
	struct cg *g = kn->g;
	LLVMTypeRef t = kn->row_elem;
	LLVMValueRef p, x;

	if (kn->rows_const) {
		p = element(kn, t, pa, kn->row_const[r] + ahead);
	} else {
		p = LLVMBuildGEP2(g->b, t, pa, &kn->row_off[r], 1, "");
		p = element(kn, t, p, ahead);
	}
	x = LLVMBuildLoad2(g->b, kn->group > 1 && !kn->d.on ? kn->elem : t, p,
			   "");
	LLVMSetAlignment(x, (unsigned)dtype_size(kn->rows));
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

static LLVMValueRef load_cols(struct kern *kn, LLVMValueRef pb, unsigned v,
			      int64_t ahead)
{
	struct cg *g = kn->g;
	LLVMValueRef x = LLVMBuildLoad2(
		g->b,
		kn->group > 1 ? kn->vec
			      : LLVMVectorType(kn->panel_elem, kn->lanes),
		element(kn, kn->panel_elem, pb,
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

/* Brings the panel's vectors of a later step near: one line each. */
static void read_ahead(struct kern *kn, LLVMValueRef pb, int64_t ahead)
{
	struct cg *g = kn->g;
	int64_t es = (int64_t)dtype_size(kn->panel);
	int64_t bytes = kn->g->t->isa->prefetch_bytes, line = 64;

	if (!bytes || kn->mr < kn->g->t->isa->prefetch_rows)
		return;
	for (int64_t at = 0; at < kn->nr * kn->group * es; at += line) {
		LLVMValueRef arg[] = {
			element(kn, kn->panel_elem, pb,
				ahead + (bytes + at) / es),
			LLVMConstInt(g->i32, 0, false),
			LLVMConstInt(g->i32, 2, false),
			LLVMConstInt(g->i32, 1, false),
		};

		cg_call(g, "llvm.prefetch", g->ptr, 4, arg);
	}
}

/* ---- decoded weights ------------------------------------------------ */

/* Whether the steps of a block have sums of their own. */
static void plan_decoding(struct kern *kn)
{
	unsigned n = kn->mr * kn->nv;

	kn->d.apart = kn->d.on && kn->d.depth < kn->n_k &&
		      2 * n + 2 * kn->nv + 2 * kn->mr + 2 <=
			      kn->g->t->isa->n_vregs;
	kn->n_sum = n + (kn->d.apart && kn->d.zero ? kn->mr : 0);
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
					element(kn, elem, p,
						(int64_t)(v * kn->lanes)), "");

	LLVMSetAlignment(x, kn->lanes * (unsigned)dtype_size(t));
	if (t == DT_F32)
		return x;
	if (dtype_is_float(t))
		return cg_from_mem(g, t, x);
	return LLVMBuildUIToFP(g->b, LLVMBuildZExt(g->b, x, ints, ""), kn->vec,
			       "");
}

static void load_scales(struct kern *kn, LLVMValueRef at)
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

/* outer + s * (sum of a * q - z * sum of a) */
static LLVMValueRef scaled_block(struct kern *kn, unsigned r, unsigned v,
				 LLVMValueRef outer)
{
	LLVMValueRef x = kn->sum[r * kn->nv + v];

	if (kn->d.zero)
		x = fused(kn, LLVMBuildFNeg(kn->g->b, kn->d.shift[v], ""),
			  kn->sum[kn->mr * kn->nv + r], x);
	return fused(kn, x, kn->d.scale[v], outer);
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
	/* A table of all numbers, by the low four bits of an index. */
	if (bits == 4 && kn->lanes == 16 && g->t->x86_level) {
		LLVMValueRef table[16], in[2];

		for (int k = 0; k < 16; k++)
			table[k] = LLVMConstReal(g->f32,
						 sign && k > 7 ? k - 16 : k);
		in[0] = LLVMConstVector(table, 16);
		in[1] = LLVMBuildLShr(b, lanes,
				      cg_konst(lanes, g->i32, 4 * i), "");
		return cg_machine_call(g, "llvm.x86.avx512.permvar.sf.512", 2,
				       in);
	}
	LLVMValueRef x = LLVMBuildShl(
		b, lanes, cg_konst(lanes, g->i32, 32 - bits * (i + 1)), "");
	LLVMValueRef down = cg_konst(lanes, g->i32, 32 - bits);

	x = sign ? LLVMBuildAShr(b, x, down, "") : LLVMBuildLShr(b, x, down, "");
	return LLVMBuildSIToFP(b, x, kn->vec, "");
}

/* The panel's lanes of a group: 32 bits each, or a number where that is no
 * part of one. */
static void load_lanes(struct kern *kn, LLVMValueRef pb, int64_t ahead,
		       LLVMValueRef *lanes)
{
	struct cg *g = kn->g;

	for (unsigned v = 0; v < kn->nv; v++) {
		if (kn->group == 1) {
			lanes[v] = load_cols(kn, pb, v, ahead);
			continue;
		}
		int64_t at = ahead + (int64_t)v * kn->lanes * kn->group;

		lanes[v] = LLVMBuildLoad2(
			g->b, LLVMVectorType(g->i32, kn->lanes),
			element(kn, g->i8, pb,
				at * dtype_info[kn->panel].bits / 8), "");
		LLVMSetAlignment(lanes[v], kn->lanes * 4);
	}
}

static void decoded_step(struct kern *kn, LLVMValueRef pa, LLVMValueRef pb,
			 int64_t a_ahead, int64_t b_ahead)
{
	struct cg *g = kn->g;
	LLVMValueRef lanes[MAX_VECS], w[MAX_VECS], p = pa;
	unsigned n = kn->mr * kn->nv;

	load_lanes(kn, pb, b_ahead, lanes);
	for (unsigned i = 0; i < kn->group; i++) {
		for (unsigned v = 0; v < kn->nv; v++) {
			w[v] = number(kn, lanes[v], i);
			if (kn->d.apart)
				continue;
			w[v] = kn->d.zero ? fused(kn, w[v], kn->d.scale[v],
						  kn->d.shift[v])
					  : LLVMBuildFMul(g->b, w[v],
							  kn->d.scale[v], "");
		}
		if (i) {
			LLVMValueRef off = LLVMBuildMul(g->b, kn->d.step,
							cg_int(g, i), "");

			p = LLVMBuildGEP2(g->b, kn->row_elem, pa, &off, 1, "");
		}
		for (unsigned r = 0; r < kn->mr; r++) {
			LLVMValueRef x = load_row(kn, p, r, a_ahead);

			for (unsigned v = 0; v < kn->nv; v++)
				multiply_add(kn, r, v, x, w[v]);
			if (kn->n_sum > n)
				kn->sum[n + r] = LLVMBuildFAdd(
					g->b, kn->sum[n + r], x, "");
		}
	}
}

static void k_step(struct kern *kn, LLVMValueRef pa, LLVMValueRef pb,
		   int64_t a_ahead, int64_t b_ahead)
{
	LLVMValueRef held[MAX_ROWS], x;

	if (kn->d.on) {
		decoded_step(kn, pa, pb, a_ahead, b_ahead);
		return;
	}
	read_ahead(kn, pb, b_ahead);
	if (kn->mr >= kn->nv) {
		for (unsigned v = 0; v < kn->nv; v++)
			held[v] = load_cols(kn, pb, v, b_ahead);
		for (unsigned r = 0; r < kn->mr; r++) {
			x = load_row(kn, pa, r, a_ahead);
			for (unsigned v = 0; v < kn->nv; v++)
				multiply_add(kn, r, v, x, held[v]);
		}
		return;
	}
	for (unsigned r = 0; r < kn->mr; r++)
		held[r] = load_row(kn, pa, r, a_ahead);
	for (unsigned v = 0; v < kn->nv; v++) {
		x = load_cols(kn, pb, v, b_ahead);
		for (unsigned r = 0; r < kn->mr; r++)
			multiply_add(kn, r, v, held[r], x);
	}
}

/* A pointer into a packed panel counts bytes; steps are whole groups. */
static LLVMValueRef panel_bytes(struct kern *kn, LLVMValueRef n)
{
	unsigned bits = dtype_info[kn->panel].bits;

	return dtype_is_packed(kn->panel)
		       ? LLVMBuildSDiv(kn->g->b, n, cg_int(kn->g, 8 / bits), "")
		       : n;
}

/* ---- loops over k --------------------------------------------------- */

/*
 * A counted loop that carries the sums and both pointers; `unroll` steps of
 * the innermost variable at once.  Returns the pointers behind the last step.
 */
static void k_nest(struct kern *kn, unsigned depth, LLVMValueRef pa,
		   LLVMValueRef pb, LLVMValueRef ps);

static void k_loop(struct kern *kn, unsigned depth, LLVMValueRef pa,
		   LLVMValueRef pb, LLVMValueRef ps)
{
	struct cg *g = kn->g;
	LLVMBuilderRef b = g->b;
	const struct k_loop *l = &kn->k[depth];
	bool inner = depth + 1 == kn->n_k;
	unsigned n_sum = kn->n_sum;
	int64_t extent, as = 0, bs = 0, unroll = 1;
	bool known = expr_is_const(l->extent, &extent);

	/* With one vector, LLVM lets a second step of sums live beside the
	 * first and spills. */
	if (inner && known && kn->nv > 1 && !kn->d.on && expr_is_const(l->a_step, &as) &&
	    expr_is_const(l->b_step, &bs)) {
		unroll = g->t->isa->unroll_k;
		while (unroll > 1 && extent % unroll)
			unroll--;
	}
	LLVMBasicBlockRef pre = LLVMGetInsertBlock(b);
	LLVMBasicBlockRef body = cg_block(g, inner ? "k.inner" : "k");
	LLVMBasicBlockRef done = cg_block(g, "k.done");
	LLVMValueRef n = cg_expr(g, kn->op, l->extent, 0);
	LLVMValueRef step_a = cg_expr(g, kn->op, expr_scale(g->c, l->a_step,
							    unroll), 0);
	LLVMValueRef step_b = panel_bytes(
		kn, cg_expr(g, kn->op, expr_scale(g->c, l->b_step, unroll), 0));
	LLVMValueRef step_s = cg_expr(g, kn->op, expr_scale(g->c, l->s_step,
							    unroll), 0);
	LLVMValueRef first[MAX_SUMS + MAX_ROWS], phi[MAX_SUMS + MAX_ROWS];

	pre = LLVMGetInsertBlock(b);
	for (unsigned i = 0; i < n_sum; i++)
		first[i] = kn->sum[i];
	if (known && extent > 0)
		LLVMBuildBr(b, body);
	else
		LLVMBuildCondBr(b,
				LLVMBuildICmp(b, LLVMIntSGT, n, cg_int(g, 0),
					      ""),
				body, done);
	LLVMPositionBuilderAtEnd(b, body);
	LLVMValueRef i = LLVMBuildPhi(b, g->i64, "");
	LLVMValueRef a = LLVMBuildPhi(b, g->ptr, "");
	LLVMValueRef p = LLVMBuildPhi(b, g->ptr, "");
	LLVMValueRef s = LLVMBuildPhi(b, g->i64, "");

	for (unsigned k = 0; k < n_sum; k++)
		kn->sum[k] = phi[k] = LLVMBuildPhi(b, kn->vec, "");
	if (inner)
		for (int64_t u = 0; u < unroll; u++)
			k_step(kn, a, p, u * as, u * bs);
	else
		k_nest(kn, depth + 1, a, p, s);
	LLVMValueRef ns = LLVMBuildAdd(b, s, step_s, "");
	LLVMValueRef left = LLVMBuildSub(b, i, cg_int(g, unroll), "");
	LLVMValueRef na = LLVMBuildGEP2(b, kn->row_elem, a, &step_a, 1, "");
	LLVMValueRef np = LLVMBuildGEP2(b, kn->panel_elem, p, &step_b, 1, "");
	LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);

	LLVMBuildCondBr(b,
			LLVMBuildICmp(b, LLVMIntSGT, left, cg_int(g, 0), ""),
			body, done);
	LLVMBasicBlockRef from[] = { pre, latch };

	LLVMAddIncoming(i, (LLVMValueRef[]){ n, left }, from, 2);
	LLVMAddIncoming(a, (LLVMValueRef[]){ pa, na }, from, 2);
	LLVMAddIncoming(p, (LLVMValueRef[]){ pb, np }, from, 2);
	LLVMAddIncoming(s, (LLVMValueRef[]){ ps, ns }, from, 2);
	for (unsigned k = 0; k < n_sum; k++)
		LLVMAddIncoming(phi[k],
				(LLVMValueRef[]){ first[k], kn->sum[k] }, from,
				2);
	LLVMPositionBuilderAtEnd(b, done);
	if (known && extent > 0)
		return;
	for (unsigned k = 0; k < n_sum; k++) {
		LLVMValueRef r = LLVMBuildPhi(b, kn->vec, "");

		LLVMAddIncoming(r, (LLVMValueRef[]){ first[k], kn->sum[k] },
				from, 2);
		kn->sum[k] = r;
	}
}

/* Scales and zero points are those of one block from this depth on. */
static void k_nest(struct kern *kn, unsigned depth, LLVMValueRef pa,
		   LLVMValueRef pb, LLVMValueRef ps)
{
	LLVMValueRef outer[MAX_SUMS];
	unsigned n = kn->mr * kn->nv;

	if (!kn->d.on || depth != kn->d.depth) {
		k_loop(kn, depth, pa, pb, ps);
		return;
	}
	if (!kn->d.apart) {
		load_scales(kn, ps);
		k_loop(kn, depth, pa, pb, ps);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		outer[i] = kn->sum[i];
	for (unsigned i = 0; i < kn->n_sum; i++)
		kn->sum[i] = LLVMConstNull(kn->vec);
	k_loop(kn, depth, pa, pb, ps);
	load_scales(kn, ps);
	for (unsigned i = 0; i < n; i++)
		kn->sum[i] = scaled_block(kn, i / kn->nv, i % kn->nv,
					  outer[i]);
	for (unsigned i = n; i < kn->n_sum; i++)
		kn->sum[i] = LLVMConstNull(kn->vec);
}

/* ---- what follows the sum ------------------------------------------- */

static void bind(struct cg *g, const struct expr *iv, LLVMValueRef v)
{
	map_put(&g->atoms, expr_atom(iv)->serial, v);
}

/* Does the op need the row, or the sum, which differs from row to row? */
static bool per_row(const struct op *op, const struct block *body)
{
	const struct atom *m = expr_atom(body->iv[0]);

	if (!op->n_out)
		return true;
	for (unsigned i = 0; i < op->n_attr; i++)
		if (op->attr[i].val->kind == AT_EXPRS)
			for (size_t k = 0; k < op->attr[i].val->n; k++)
				if (expr_uses(op->attr[i].val->exprs[k], m))
					return true;
	for (unsigned i = 0; i < op->n_in; i++) {
		const struct value *v = op->in[i].val;

		if (v->type->kind != TY_SCALAR)
			continue;
		if (!v->def || v->def->parent != body || v->def->slot)
			return true;
	}
	return false;
}

static void mark_rows(struct block *body)
{
	for (struct op *op = body->first; op; op = op->next)
		op->slot = per_row(op, body);
}

/* Lanes `first` on of a vector, so many. */
static LLVMValueRef lanes_of(struct kern *kn, LLVMValueRef v, unsigned first,
			     unsigned n)
{
	struct cg *g = kn->g;
	LLVMValueRef pick[64];

	if (n == kn->lanes)
		return v;
	if (n == 1)
		return LLVMBuildExtractElement(g->b, v, cg_int(g, first), "");
	for (unsigned i = 0; i < n; i++)
		pick[i] = LLVMConstInt(g->i32, first + i, false);
	return LLVMBuildShuffleVector(g->b, v, LLVMGetPoison(LLVMTypeOf(v)),
				      LLVMConstVector(pick, n), "");
}

/* The body for `n` columns of all rows, in lanes, which lie in one vector of
 * the tile. */
static void epilogue_columns(struct kern *kn, LLVMValueRef m0,
			     LLVMValueRef n0, unsigned first, unsigned n)
{
	struct cg *g = kn->g;
	struct block *body = op_body(kn->op);
	unsigned v = first / kn->lanes;

	g->lanes = n;
	g->lane_iv = n > 1 ? expr_atom(body->iv[1]) : NULL;
	bind(g, body->iv[1], LLVMBuildAdd(g->b, n0, cg_int(g, first), ""));
	for (unsigned r = 0; r < kn->mr; r++) {
		bind(g, body->iv[0],
		     LLVMBuildAdd(g->b, m0, cg_int(g, r), ""));
		cg_set(g, body->arg[0],
		       lanes_of(kn, kn->sum[r * kn->nv + v],
				first % kn->lanes, n),
		       n > 1);
		/* A bias is read once for all rows. */
		for (struct op *op = body->first; op; op = op->next)
			if (!r || op->slot)
				cg_op(g, op);
	}
	g->lanes = 1;
	g->lane_iv = NULL;
}

static void epilogue_vectors(struct kern *kn, LLVMValueRef m0,
			     LLVMValueRef n0, LLVMValueRef left)
{
	struct cg *g = kn->g;

	mark_rows(op_body(kn->op));
	for (unsigned v = 0; v < kn->nv; v++) {
		LLVMBasicBlockRef next = NULL;

		if (left) {
			LLVMValueRef k = LLVMBuildSub(
				g->b, left,
				cg_int(g, (int64_t)(v * kn->lanes)), "");
			LLVMValueRef full = LLVMBuildICmp(
				g->b, LLVMIntSGT, k,
				cg_int(g, kn->lanes), "");
			LLVMBasicBlockRef some = cg_block(g, "some");

			next = cg_block(g, "none");
			LLVMBuildCondBr(g->b,
					LLVMBuildICmp(g->b, LLVMIntSGT, k,
						      cg_int(g, 0), ""),
					some, next);
			LLVMPositionBuilderAtEnd(g->b, some);
			k = LLVMBuildSelect(g->b, full, cg_int(g, kn->lanes),
					    k, "");
			g->lanes = kn->lanes;
			g->mask = cg_first_lanes(g, k);
		}
		epilogue_columns(kn, m0, n0, v * kn->lanes, kn->lanes);
		g->mask = NULL;
		if (next) {
			LLVMBuildBr(g->b, next);
			LLVMPositionBuilderAtEnd(g->b, next);
		}
	}
}

/* A number of columns known here, where masks are dear: vectors, then the
 * halves, quarters and so on of one. */
static void epilogue_pieces(struct kern *kn, LLVMValueRef m0, LLVMValueRef n0,
			    unsigned left)
{
	unsigned n = kn->lanes, first = 0;

	mark_rows(op_body(kn->op));
	while (first < left) {
		while (n > left - first)
			n /= 2;
		epilogue_columns(kn, m0, n0, first, n);
		first += n;
	}
}

/* The last columns one by one, where masks are dear: the sums go through
 * memory. */
static void epilogue_scalars(struct kern *kn, LLVMValueRef m0,
			     LLVMValueRef n0, LLVMValueRef left)
{
	struct cg *g = kn->g;
	LLVMBuilderRef b = g->b;
	struct block *body = op_body(kn->op);
	LLVMTypeRef rows = LLVMArrayType2(kn->vec, kn->mr * kn->nv);
	LLVMBasicBlockRef here = LLVMGetInsertBlock(b);
	LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(g->fn);

	LLVMPositionBuilderBefore(b, LLVMGetFirstInstruction(entry));
	LLVMValueRef tile = LLVMBuildAlloca(b, rows, "tile");

	LLVMPositionBuilderAtEnd(b, here);
	for (unsigned i = 0; i < kn->mr * kn->nv; i++) {
		LLVMValueRef k = cg_int(g, i);

		LLVMBuildStore(b, kn->sum[i],
			       LLVMBuildGEP2(b, kn->vec, tile, &k, 1, ""));
	}
	LLVMBasicBlockRef pre = LLVMGetInsertBlock(b);
	LLVMBasicBlockRef head = cg_block(g, "column");
	LLVMBasicBlockRef one = cg_block(g, "column.body");
	LLVMBasicBlockRef done = cg_block(g, "column.done");

	LLVMBuildBr(b, head);
	LLVMPositionBuilderAtEnd(b, head);
	LLVMValueRef j = LLVMBuildPhi(b, g->i64, "");

	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, j, left, ""), one,
			done);
	LLVMPositionBuilderAtEnd(b, one);
	bind(g, body->iv[1], LLVMBuildAdd(b, n0, j, ""));
	for (unsigned r = 0; r < kn->mr; r++) {
		LLVMValueRef k = LLVMBuildAdd(b, j,
					      cg_int(g, (int64_t)(r * kn->nr)),
					      "");

		bind(g, body->iv[0], LLVMBuildAdd(b, m0, cg_int(g, r), ""));
		cg_set(g, body->arg[0],
		       LLVMBuildLoad2(b, kn->elem,
				      LLVMBuildGEP2(b, kn->elem, tile, &k, 1,
						    ""),
				      ""),
		       false);
		cg_block_ops(g, body);
	}
	LLVMValueRef nj = LLVMBuildAdd(b, j, cg_int(g, 1), "");
	LLVMBasicBlockRef from[] = { pre, LLVMGetInsertBlock(b) };

	LLVMBuildBr(b, head);
	LLVMAddIncoming(j, (LLVMValueRef[]){ cg_int(g, 0), nj }, from, 2);
	LLVMPositionBuilderAtEnd(b, done);
}

static void epilogue(struct kern *kn)
{
	struct cg *g = kn->g;
	size_t n;
	const struct expr *const *o = op_exprs(kn->op, A_origin, &n);
	const struct expr *short_by = expr_addc(g->c, o[2], -(int64_t)kn->nr);
	LLVMValueRef m0 = cg_expr(g, kn->op, o[0], 0);
	LLVMValueRef n0 = cg_expr(g, kn->op, o[1], 0);

	/* Provably whole: the columns are a multiple of the panel. */
	const struct atom *cols = expr_atom(op_body(kn->op)->iv[1]);

	if (expr_ge0(g->c, short_by) ||
	    expr_exact_div(g->c, cols->a, expr_const(g->c, kn->nr))) {
		epilogue_vectors(kn, m0, n0, NULL);
		return;
	}
	LLVMValueRef left = cg_expr(g, kn->op, o[2], 0);
	LLVMBasicBlockRef all = cg_block(g, "whole");
	LLVMBasicBlockRef part = cg_block(g, "part");
	LLVMBasicBlockRef done = cg_block(g, "stored");

	LLVMBuildCondBr(g->b,
			LLVMBuildICmp(g->b, LLVMIntSGE, left,
				      cg_int(g, kn->nr), ""),
			all, part);
	LLVMPositionBuilderAtEnd(g->b, all);
	epilogue_vectors(kn, m0, n0, NULL);
	LLVMBuildBr(g->b, done);
	LLVMPositionBuilderAtEnd(g->b, part);
	int64_t n_cols;

	if (g->t->isa->masked)
		epilogue_vectors(kn, m0, n0, left);
	else if (expr_is_const(cols->a, &n_cols))
		epilogue_pieces(kn, m0, n0, (unsigned)(n_cols % kn->nr));
	else
		epilogue_scalars(kn, m0, n0, left);
	LLVMBuildBr(g->b, done);
	LLVMPositionBuilderAtEnd(g->b, done);
}

/* ---- the function --------------------------------------------------- */

/* For each panel whether it fits; the numbers of both kinds. */
static LLVMValueRef panels_that_fit(struct kern *kn, int64_t *size,
				    size_t *yes, size_t *no)
{
	struct cg *g = kn->g;
	struct block *b = op_body(kn->op);
	struct blob data;
	VEC(LLVMValueRef) table = { 0 };
	LLVMTypeRef i1 = g->i8;
	int64_t k;

	*yes = *no = 0;
	*size = kn->nr;
	if (!value_const(kn->op->in[1].val, &data))
		return NULL;
	for (unsigned i = 2; i < b->n_iv; i++) {
		if (!expr_is_const(expr_atom(b->iv[i])->a, &k))
			return NULL;
		*size *= k;
	}
	for (size_t at = 0; *size && at < data.size; at += (size_t)*size) {
		bool fits = dot_panel_fits((const int8_t *)data.data + at,
					   (size_t)*size);

		*(fits ? yes : no) += 1;
		vec_push(&table, LLVMConstInt(i1, fits, false));
	}
	LLVMValueRef all = LLVMConstArray2(i1, table.v, table.n);
	LLVMValueRef v = NULL;

	if (*yes && *no) {
		v = LLVMAddGlobal(g->mod, LLVMTypeOf(all), "fits");
		LLVMSetInitializer(v, all);
		LLVMSetGlobalConstant(v, true);
		LLVMSetLinkage(v, LLVMPrivateLinkage);
	}
	vec_free(&table);
	return v;
}

static void sum_all(struct kern *kn, LLVMValueRef pa, LLVMValueRef pb,
		    LLVMValueRef ps)
{
	for (unsigned i = 0; i < kn->n_sum; i++)
		kn->sum[i] = LLVMConstNull(kn->vec);
	k_nest(kn, 0, pa, pb, ps);
}

/* Sums along one panel, which begins at element `off`; an instruction that
 * saturates is for those that it is right for. */
static void sum_panel(struct kern *kn, LLVMValueRef pa, LLVMValueRef pb,
		      LLVMValueRef ps, LLVMValueRef off)
{
	struct cg *g = kn->g;
	LLVMBuilderRef b = g->b;
	LLVMValueRef some[MAX_SUMS], table = NULL, x;
	size_t yes = 0, no = 1;
	int64_t size;

	if (kn->dot && dot_saturates(kn->dot))
		table = panels_that_fit(kn, &size, &yes, &no);
	kn->fits = yes && !no;
	if (!table) {
		sum_all(kn, pa, pb, ps);
		return;
	}
	off = LLVMBuildSDiv(b, off, cg_int(g, size), "");
	x = LLVMBuildLoad2(b, g->i8, LLVMBuildGEP2(b, g->i8, table, &off, 1,
						   ""), "");
	LLVMBasicBlockRef fits = cg_block(g, "fits"), wide = cg_block(g, "wide");
	LLVMBasicBlockRef done = cg_block(g, "summed"), from[2];

	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntNE, x,
					 LLVMConstNull(g->i8), ""),
			fits, wide);
	LLVMPositionBuilderAtEnd(b, fits);
	kn->fits = true;
	sum_all(kn, pa, pb, ps);
	for (unsigned i = 0; i < kn->n_sum; i++)
		some[i] = kn->sum[i];
	from[0] = LLVMGetInsertBlock(b);
	LLVMBuildBr(b, done);
	LLVMPositionBuilderAtEnd(b, wide);
	kn->fits = false;
	sum_all(kn, pa, pb, ps);
	from[1] = LLVMGetInsertBlock(b);
	LLVMBuildBr(b, done);
	LLVMPositionBuilderAtEnd(b, done);
	for (unsigned i = 0; i < kn->n_sum; i++) {
		LLVMValueRef in[] = { some[i], kn->sum[i] };

		kn->sum[i] = LLVMBuildPhi(b, kn->vec, "");
		LLVMAddIncoming(kn->sum[i], in, from, 2);
	}
}

static void tile_body(struct kern *kn)
{
	struct cg *g = kn->g;
	LLVMValueRef pa = map_get(&g->bufs, kn->op->in[0].val->id);
	LLVMValueRef pb = map_get(&g->bufs, kn->op->in[1].val->id);
	LLVMValueRef off;

	plan(kn);
	off = cg_expr(g, kn->op, kn->a_off, 0);
	pa = LLVMBuildGEP2(g->b, kn->row_elem, pa, &off, 1, "");
	off = cg_expr(g, kn->op, kn->b_off, 0);

	LLVMValueRef bytes = panel_bytes(kn, off);

	pb = LLVMBuildGEP2(g->b, kn->panel_elem, pb, &bytes, 1, "");
	LLVMValueRef ps = cg_expr(g, kn->op, kn->d.off, 0);

	g->lanes = kn->lanes; /* for splats */
	plan_decoding(kn);
	sum_panel(kn, pa, pb, ps, off);
	g->lanes = 1;
	epilogue(kn);
}

/* The values that the tile takes as arguments: everything bound so far. */
struct bound {
	VEC(uint64_t) key;
	VEC(LLVMValueRef) val;
};

/* In the order of the keys, not of the map: then the tiles of equal layers
 * are equal functions, of which LLVM keeps one. */
static void take(struct bound *b, const struct map *m)
{
	size_t first = b->key.n;

	for (size_t i = 0; i < m->cap; i++) {
		if (!m->slot[i].val)
			continue;
		vec_push(&b->key, 0);
		vec_push(&b->val, NULL);
		size_t k = b->key.n - 1;

		for (; k > first && b->key.v[k - 1] > m->slot[i].key; k--) {
			b->key.v[k] = b->key.v[k - 1];
			b->val.v[k] = b->val.v[k - 1];
		}
		b->key.v[k] = m->slot[i].key;
		b->val.v[k] = m->slot[i].val;
	}
}

void cg_contract(struct cg *g, struct op *op)
{
	enum dtype dt = op_body(op)->arg[0]->type->dtype;
	struct kern kn = { .g = g, .op = op, .dt = dt,
			   .rows = op->in[0].val->type->dtype,
			   .group = (unsigned)op_int(op, A_group),
			   .d = { .on = op->n_in > 2, .zero = op->n_in > 3 },
			   .panel = op->in[1].val->type->dtype,
			   .mr = (unsigned)op_int(op, A_mr),
			   .nr = (unsigned)op_int(op, A_nr) };

	if (dt == DT_I32)
		kn.dot = target_dot(g->t, kn.rows, kn.panel);
	kn.lanes = target_lanes(g->t, dtype_info[dt].bits);
	kn.nv = kn.nr / kn.lanes;
	kn.elem = cg_type(g, dt);
	kn.row_elem = cg_mem_type(g, kn.rows);
	kn.panel_elem = cg_mem_type(g, kn.panel);
	kn.vec = LLVMVectorType(kn.elem, kn.lanes);
	if (!target_tile_fits(g->t, dtype_info[dt].bits, kn.mr, kn.nr))
		bug(&g->c->diag, "a tile of %ux%u vectors", kn.mr, kn.nv);

	/* A function with the buffers, symbols and variables as parameters. */
	struct bound in = { 0 };
	LLVMTypeRef *types;
	size_t n_atom, n_buf;

	take(&in, &g->atoms);
	n_atom = in.key.n;
	take(&in, &g->bufs);
	n_buf = in.key.n - n_atom;
	vec_push(&in.key, 0);
	vec_push(&in.val, g->status);
	types = NEW_ARRAY(&g->c->temp, in.val.n, LLVMTypeRef);
	for (size_t i = 0; i < in.val.n; i++)
		types[i] = LLVMTypeOf(in.val.v[i]);
	LLVMTypeRef ty = LLVMFunctionType(g->void_, types,
					  (unsigned)in.val.n, false);
	LLVMValueRef fn = cg_new_function(g, "tile", ty);

	cg_add_attr(g, fn, "noinline", NULL);
	if (g->o->opt_level)
		cg_add_attr(g, fn, "optnone", NULL);
	LLVMBuildCall2(g->b, ty, fn, in.val.v, (unsigned)in.val.n, "");

	struct map atoms = g->atoms, bufs = g->bufs, vals = g->vals;
	LLVMValueRef outer = g->fn, status = g->status;
	LLVMBasicBlockRef here = LLVMGetInsertBlock(g->b);

	g->atoms = g->bufs = g->vals = (struct map){ 0 };
	for (size_t i = 0; i < n_atom; i++)
		map_put(&g->atoms, in.key.v[i], LLVMGetParam(fn, (unsigned)i));
	for (size_t i = n_atom; i < n_atom + n_buf; i++)
		map_put(&g->bufs, in.key.v[i], LLVMGetParam(fn, (unsigned)i));
	g->fn = fn;
	g->status = LLVMGetParam(fn, (unsigned)(n_atom + n_buf));
	LLVMPositionBuilderAtEnd(g->b, cg_block(g, "entry"));
	tile_body(&kn);
	LLVMBuildRetVoid(g->b);
	map_free(&g->atoms);
	map_free(&g->bufs);
	map_free(&g->vals);
	g->atoms = atoms;
	g->bufs = bufs;
	g->vals = vals;
	g->fn = outer;
	g->status = status;
	LLVMPositionBuilderAtEnd(g->b, here);
	vec_free(&in.key);
	vec_free(&in.val);
}
