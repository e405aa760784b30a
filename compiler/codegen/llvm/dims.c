/* SPDX-License-Identifier: Apache-2.0 */
/* The dims that the caller gives, and sizes made of them. */
#include "codegen/llvm/cg.h"

/* ---- the dims ------------------------------------------------------- */

void cg_bind_dims(struct cg *g, LLVMValueRef dims)
{
	const struct abi *abi = g->o->abi;

	for (uint32_t i = 0; i < abi->n_dim; i++) {
		LLVMValueRef k = cg_int(g, i);
		LLVMValueRef p = LLVMBuildGEP2(g->b, g->i64, dims, &k, 1, "");

		map_put(&g->atoms, abi->dim[i]->serial,
			LLVMBuildLoad2(g->b, g->i64, p, ""));
	}
}

struct ready {
	struct cg *g;
	bool yes;
};

static void visit_known(void *arg, const struct atom *a)
{
	struct ready *r = arg;

	if (a->kind < ATOM_DIV && !map_get(&r->g->atoms, a->serial))
		r->yes = false;
}

void cg_compute_dims(struct cg *g, const struct map *only, LLVMValueRef *over)
{
	for (size_t i = 0; i < g->n_dim; i++) {
		const struct atom *a = g->dim[i];
		struct ready r = { g, !only || map_get(only, a->serial) };

		if (map_get(&g->atoms, a->serial))
			continue;
		expr_visit(a->a, visit_known, &r);
		if (!r.yes)
			continue;
		LLVMValueRef v = cg_checked_expr(g, a->a, over);

		if (g->dim_slots) {
			LLVMValueRef k = cg_int(g, (int64_t)i);
			LLVMValueRef p = LLVMBuildGEP2(g->b, g->i64,
						       g->dim_slots, &k, 1,
						       "");

			LLVMBuildStore(g->b, v, p);
			v = LLVMBuildLoad2(g->b, g->i64, p, "");
		}
		map_put(&g->atoms, a->serial, v);
	}
}

/* With its address, which would else live as long. */
static LLVMValueRef copy_load(struct cg *g, LLVMValueRef load)
{
	LLVMValueRef p = LLVMGetOperand(load, 0);

	if (LLVMIsAGetElementPtrInst(p)) {
		p = LLVMInstructionClone(p);
		LLVMInsertIntoBuilder(g->b, p);
	}
	return LLVMBuildLoad2(g->b, LLVMTypeOf(load), p, "");
}

/*
 * LLVM's register allocator takes quadratic time on values that live through
 * thousands of blocks.  Where dims are many, each use loads its own; the
 * function runs once per call, and no pass that would undo it runs over it.
 */
static void reload(struct cg *g, LLVMValueRef dim)
{
	LLVMUseRef u = LLVMGetFirstUse(dim), next;

	for (; u; u = next) {
		LLVMValueRef user = LLVMGetUser(u);

		next = LLVMGetNextUse(u);
		if (LLVMIsAPHINode(user))
			continue;
		LLVMPositionBuilderBefore(g->b, user);
		for (int k = LLVMGetNumOperands(user); k-- > 0;)
			if (LLVMGetOperandUse(user, (unsigned)k) == u)
				LLVMSetOperand(user, (unsigned)k,
					       copy_load(g, dim));
	}
}

bool cg_many_dims(const struct cg *g)
{
	enum { MANY_DIMS = 64 };

	return g->o->abi->n_dim + g->n_dim >= MANY_DIMS;
}

void cg_reload_dims(struct cg *g, LLVMValueRef fn)
{
	const struct abi *abi = g->o->abi;

	if (!cg_many_dims(g))
		return;
	cg_add_attr(g, fn, "optnone", NULL);
	cg_add_attr(g, fn, "noinline", NULL);
	for (uint32_t i = 0; i < abi->n_dim; i++)
		reload(g, map_get(&g->atoms, abi->dim[i]->serial));
	for (size_t i = 0; i < g->n_dim; i++) {
		LLVMValueRef dim = map_get(&g->atoms, g->dim[i]->serial);

		if (dim && LLVMIsALoadInst(dim))
			reload(g, dim);
	}
}

LLVMValueRef cg_any_negative(struct cg *g)
{
	const struct abi *abi = g->o->abi;
	LLVMValueRef bad = NULL;

	for (uint32_t i = 0; i < abi->n_dim; i++) {
		LLVMValueRef neg = LLVMBuildICmp(
			g->b, LLVMIntSLT,
			map_get(&g->atoms, abi->dim[i]->serial), cg_int(g, 0),
			"");

		bad = bad ? LLVMBuildOr(g->b, bad, neg, "") : neg;
	}
	return bad;
}

/* ---- sizes ---------------------------------------------------------- */

LLVMValueRef cg_checked(struct cg *g, const char *name, LLVMValueRef a,
			LLVMValueRef b, LLVMValueRef *over)
{
	LLVMValueRef in[] = { a, b };
	LLVMValueRef r = cg_call(g, name, g->i64, 2, in);
	LLVMValueRef o = LLVMBuildExtractValue(g->b, r, 1, "");

	*over = *over ? LLVMBuildOr(g->b, *over, o, "") : o;
	return LLVMBuildExtractValue(g->b, r, 0, "");
}

static LLVMValueRef checked_atom(struct cg *g, const struct atom *a,
				 LLVMValueRef *over)
{
	struct term t = { 1, 1, &a };
	struct expr e = { 0, 1, &t };

	/* The operands' overflow shows in theirs; the result is smaller. */
	if (a->kind >= ATOM_DIV) {
		cg_checked_expr(g, a->a, over);
		cg_checked_expr(g, a->b, over);
	}
	return cg_expr(g, NULL, &e, 0);
}

LLVMValueRef cg_checked_expr(struct cg *g, const struct expr *e,
			     LLVMValueRef *over)
{
	LLVMValueRef sum = cg_int(g, 0);

	for (uint32_t i = 0; i < e->n; i++) {
		LLVMValueRef p = cg_int(g, e->term[i].coef);

		for (uint32_t j = 0; j < e->term[i].n; j++)
			p = cg_checked(g, "llvm.smul.with.overflow", p,
				       checked_atom(g, e->term[i].atom[j],
						    over),
				       over);
		sum = cg_checked(g, "llvm.sadd.with.overflow", sum, p, over);
	}
	return sum;
}

static void visit_divisor(void *arg, const struct atom *a)
{
	int64_t k;

	*(bool *)arg |= (a->kind == ATOM_DIV || a->kind == ATOM_MOD) &&
			!expr_is_const(a->b, &k);
}

/* Dim by dim, as their product might overflow to 0. */
LLVMValueRef cg_has_elements(struct cg *g, const struct abi_tensor *t)
{
	LLVMValueRef some = LLVMConstInt(g->i1, 1, false);

	if (!t->sized)
		return NULL;
	for (uint32_t i = 0; i < t->rank; i++) {
		bool divides = false;
		int64_t k;

		/* Not before the model's own checks. */
		expr_visit(t->dim[i], visit_divisor, &divides);
		if (divides)
			return NULL;
		if (!expr_is_const(t->dim[i], &k))
			some = LLVMBuildAnd(
				g->b, some,
				LLVMBuildICmp(g->b, LLVMIntNE,
					      cg_expr(g, NULL, t->dim[i], 0),
					      cg_int(g, 0), ""),
				"");
		else if (!k)
			return NULL;
	}
	return some;
}
