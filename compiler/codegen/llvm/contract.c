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
#include "codegen/llvm/tile.h"
#include "ir/layout.h"

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
	if (inner && known && kn->nv > 1 && !kn->d.on &&
	    expr_is_const(l->a_step, &as) && expr_is_const(l->b_step, &bs)) {
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
	/* A block that is one group has scales of its own in every step. */
	if (inner && kn->d.on && kn->d.depth == kn->n_k)
		decode_scales(kn, s);
	if (inner)
		for (int64_t u = 0; u < unroll; u++)
			tile_step(kn, a, p, u * as, u * bs);
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
		decode_scales(kn, ps);
		k_loop(kn, depth, pa, pb, ps);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		outer[i] = kn->sum[i];
	for (unsigned i = 0; i < kn->n_sum; i++)
		kn->sum[i] = LLVMConstNull(kn->vec);
	k_loop(kn, depth, pa, pb, ps);
	decode_scales(kn, ps);
	for (unsigned i = 0; i < n; i++)
		kn->sum[i] = decode_block(kn, i / kn->nv, i % kn->nv,
					  outer[i]);
	for (unsigned i = n; i < kn->n_sum; i++)
		kn->sum[i] = LLVMConstNull(kn->vec);
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
		bool fits = dot_panel_fits(kn->dot,
					   (const int8_t *)data.data + at,
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

/* Elements of a panel whose extents are known. */
static LLVMValueRef panel_size(struct kern *kn)
{
	struct block *b = op_body(kn->op);
	int64_t size = kn->nr, k;

	for (unsigned i = 2; i < b->n_iv; i++)
		if (expr_is_const(expr_atom(b->iv[i])->a, &k))
			size *= k;
	return cg_int(kn->g, size);
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

	if (kn->chains) {
		for (unsigned i = 0; i < kn->n_sum; i++)
			kn->sum[i] = LLVMConstNull(kn->vec);
		chain_sums(kn, pa, LLVMBuildSDiv(b, off, panel_size(kn), ""));
		return;
	}
	if (kn->dot && (kn->dot->saturates || kn->dot->narrow))
		table = panels_that_fit(kn, &size, &yes, &no);
	kn->fits = yes && !no;
	if (!table) {
		sum_all(kn, pa, pb, ps);
		return;
	}
	off = LLVMBuildSDiv(b, off, cg_int(g, size), "");
	x = LLVMBuildLoad2(b, g->i8, LLVMBuildGEP2(b, g->i8, table, &off, 1,
						   ""), "");
	LLVMBasicBlockRef fits = cg_block(g, "fits");
	LLVMBasicBlockRef wide = cg_block(g, "wide");
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
	decode_plan(kn);
	if (kn->dot && kn->dot->pairs)
		kn->n_sum = pair_sums(kn);
	sum_panel(kn, pa, pb, ps, off);
	if (kn->dot && kn->dot->pairs)
		pair_rows(kn);
	g->lanes = 1;
	tile_epilogue(kn);
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
			   .chains = op_int(op, A_chains),
			   .d = { .on = op->n_in > 2 && !op_int(op, A_chains),
				  .zero = op->n_in > 3 },
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
