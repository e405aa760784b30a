/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Index expressions as 64-bit integers, for one iteration or a group of
 * lanes.
 */
#include "codegen/llvm/cg.h"

static LLVMValueRef emit_atom(struct cg *g, const struct op *op,
			      const struct atom *a, unsigned lane);

static LLVMValueRef floor_div(struct cg *g, LLVMValueRef x, LLVMValueRef y,
			      bool nonneg, bool rem)
{
	LLVMBuilderRef b = g->b;

	if (nonneg)
		return rem ? LLVMBuildURem(b, x, y, "")
			   : LLVMBuildUDiv(b, x, y, "");
	LLVMValueRef q = LLVMBuildSDiv(b, x, y, "");
	LLVMValueRef r = LLVMBuildSub(b, x, LLVMBuildMul(b, q, y, ""), "");
	LLVMValueRef neg = LLVMBuildICmp(b, LLVMIntSLT, r, cg_int(g, 0), "");

	if (rem)
		return LLVMBuildAdd(b, r,
				    LLVMBuildSelect(b, neg, y, cg_int(g, 0),
						    ""),
				    "");
	return LLVMBuildSub(b, q, LLVMBuildZExt(b, neg, g->i64, ""), "");
}

LLVMValueRef cg_expr(struct cg *g, const struct op *op, const struct expr *e,
		     unsigned lane)
{
	LLVMValueRef sum = NULL;
	int64_t konst = 0;

	for (uint32_t i = 0; i < e->n; i++) {
		const struct term *t = &e->term[i];

		if (!t->n) {
			konst = t->coef;
			continue;
		}
		LLVMValueRef p = emit_atom(g, op, t->atom[0], lane);

		for (uint32_t j = 1; j < t->n; j++)
			p = LLVMBuildMul(g->b, p,
					 emit_atom(g, op, t->atom[j], lane),
					 "");
		if (t->coef != 1)
			p = LLVMBuildMul(g->b, p, cg_int(g, t->coef), "");
		sum = sum ? LLVMBuildAdd(g->b, sum, p, "") : p;
	}
	if (!sum)
		return cg_int(g, konst);
	return konst ? LLVMBuildAdd(g->b, sum, cg_int(g, konst), "") : sum;
}

static LLVMValueRef emit_atom(struct cg *g, const struct op *op,
			      const struct atom *a, unsigned lane)
{
	LLVMValueRef x, y;

	if (a->kind == ATOM_ARG) {
		struct cv v = cg_get(g, op->in[a->id].val);

		return v.vec ? LLVMBuildExtractElement(g->b, v.v,
						       cg_int(g, lane), "")
			     : v.v;
	}
	if (a->kind == ATOM_IV || a->kind == ATOM_SYM ||
	    a->kind == ATOM_DIM) {
		x = map_get(&g->atoms, a->serial);
		if (!x)
			bug(&g->c->diag, "no value for '%s' in %s",
			    a->kind == ATOM_SYM ? a->name
			    : a->kind == ATOM_IV ? "a variable"
						 : "a computed dim",
			    op ? op_def(op)->name : "the entry");
		if (a == g->lane_iv && lane)
			return LLVMBuildAdd(g->b, x, cg_int(g, lane), "");
		return x;
	}
	x = cg_expr(g, op, a->a, lane);
	y = cg_expr(g, op, a->b, lane);
	if (a->kind == ATOM_MIN || a->kind == ATOM_MAX) {
		LLVMValueRef lt = LLVMBuildICmp(g->b, LLVMIntSLT, x, y, "");

		return a->kind == ATOM_MIN
			       ? LLVMBuildSelect(g->b, lt, x, y, "")
			       : LLVMBuildSelect(g->b, lt, y, x, "");
	}
	int64_t k;

	/* A divisor that is only known at run time could be zero where the
	 * result is not used. */
	if (!expr_is_const(a->b, &k)) {
		LLVMValueRef pos = LLVMBuildICmp(g->b, LLVMIntSGT, y,
						 cg_int(g, 0), "");

		y = LLVMBuildSelect(g->b, pos, y, cg_int(g, 1), "");
	}
	return floor_div(g, x, y, expr_ge0(g->c, a->a), a->kind == ATOM_MOD);
}


struct varying {
	struct cg *g;
	const struct op *op;
	bool found;
};

static void visit_varying(void *arg, const struct atom *a)
{
	struct varying *v = arg;

	if (a->kind == ATOM_ARG)
		v->found |= cg_get(v->g, v->op->in[a->id].val).vec;
}

enum lane_class cg_lane_class(struct cg *g, const struct op *op,
				  const struct expr *e,
				  const struct expr **step)
{
	struct varying v = { g, op, false };
	const struct expr *rest;

	if (g->lanes == 1)
		return LANE_SAME;
	expr_visit(e, visit_varying, &v);
	if (v.found)
		return LANE_ANY;
	if (!expr_uses(e, g->lane_iv))
		return LANE_SAME;
	if (!expr_linear(g->c, e, g->lane_iv, step, &rest))
		return LANE_ANY;
	return expr_is(*step, 1) ? LANE_UNIT : LANE_STEP;
}

static LLVMValueRef iota(struct cg *g, LLVMTypeRef t)
{
	LLVMValueRef k[64];

	for (unsigned i = 0; i < g->lanes; i++)
		k[i] = LLVMConstInt(t, i, false);
	return LLVMConstVector(k, g->lanes);
}

/* e for all lanes, as an i64 vector, or one i64 when it is the same. */
struct cv cg_expr_lanes(struct cg *g, const struct op *op,
			    const struct expr *e)
{
	const struct expr *step = NULL;
	LLVMValueRef v;

	switch (cg_lane_class(g, op, e, &step)) {
	case LANE_SAME:
		return (struct cv){ cg_expr(g, op, e, 0), false };
	case LANE_UNIT: case LANE_STEP:
		v = LLVMBuildMul(g->b, iota(g, g->i64),
				 cg_splat(g, cg_expr(g, op, step, 0)), "");
		v = LLVMBuildAdd(g->b, v, cg_splat(g, cg_expr(g, op, e, 0)),
				 "");
		return (struct cv){ v, true };
	case LANE_ANY: break;
	}
	v = LLVMGetPoison(LLVMVectorType(g->i64, g->lanes));
	for (unsigned i = 0; i < g->lanes; i++)
		v = LLVMBuildInsertElement(g->b, v, cg_expr(g, op, e, i),
					   cg_int(g, i), "");
	return (struct cv){ v, true };
}

LLVMValueRef cg_first_lanes(struct cg *g, LLVMValueRef n)
{
	LLVMValueRef k = LLVMBuildTrunc(g->b, n, g->i32, "");

	return LLVMBuildICmp(g->b, LLVMIntULT, iota(g, g->i32),
			     cg_splat(g, k), "");
}
