/* SPDX-License-Identifier: Apache-2.0 */
/* What follows the sums of a register tile, while they are in registers. */
#include "codegen/llvm/tile.h"

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

void tile_epilogue(struct kern *kn)
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
