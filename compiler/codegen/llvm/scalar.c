/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scalar ops of a loop body, for one iteration or for a group of lanes.
 *
 * Half floats are f32 in registers and rounded after each operation.  Nothing
 * here traps: divisors are made non-zero, shifts bounded, float to integer
 * saturates, guarded loads read a place that is safe when the guard fails.
 */
#include "codegen/llvm/cg.h"
#include "codegen/llvm/math.h"
#include "dlrt.h"
#include "ir/layout.h"

/* ---- index expressions ------------------------------------------------- */

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
	if (a->kind == ATOM_IV || a->kind == ATOM_SYM) {
		x = map_get(&g->atoms, a->serial);
		if (!x)
			bug(&g->c->diag, "no value for '%s' in %s",
			    a->kind == ATOM_IV ? "a variable" : a->name,
			    op ? op_def(op)->name : "the entry");
		if (a == g->lane_iv && lane)
			return LLVMBuildAdd(g->b, x, cg_int(g, lane), "");
		return x;
	}
	x = cg_expr(g, op, a->a, lane);
	y = cg_expr(g, op, a->b, lane);
	if (a->kind == ATOM_MIN || a->kind == ATOM_MAX) {
		LLVMValueRef lt = LLVMBuildICmp(g->b, LLVMIntSLT, x, y, "");

		return a->kind == ATOM_MIN ? LLVMBuildSelect(g->b, lt, x, y, "")
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

/* How e moves along the lanes. */
enum lane_class { LANE_SAME, LANE_UNIT, LANE_STEP, LANE_ANY };

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

static enum lane_class lane_class(struct cg *g, const struct op *op,
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
static struct cv expr_lanes(struct cg *g, const struct op *op,
			    const struct expr *e)
{
	const struct expr *step = NULL;
	LLVMValueRef v;

	switch (lane_class(g, op, e, &step)) {
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

/* ---- half floats -------------------------------------------------------- */

static bool is_vec(LLVMValueRef v)
{
	return LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind;
}

/* The type with this element and the shape of v. */
static LLVMTypeRef like(LLVMValueRef v, LLVMTypeRef elem)
{
	return is_vec(v) ? LLVMVectorType(elem, LLVMGetVectorSize(LLVMTypeOf(v)))
			 : elem;
}

static LLVMValueRef konst(LLVMValueRef as, LLVMTypeRef elem, int64_t k)
{
	LLVMValueRef c[64];

	if (!is_vec(as))
		return LLVMConstInt(elem, (uint64_t)k, true);
	unsigned n = LLVMGetVectorSize(LLVMTypeOf(as));

	for (unsigned i = 0; i < n; i++)
		c[i] = LLVMConstInt(elem, (uint64_t)k, true);
	return LLVMConstVector(c, n);
}

static LLVMValueRef float_const(LLVMValueRef as, LLVMTypeRef elem, double k)
{
	LLVMValueRef c[64];

	if (!is_vec(as))
		return LLVMConstReal(elem, k);
	unsigned n = LLVMGetVectorSize(LLVMTypeOf(as));

	for (unsigned i = 0; i < n; i++)
		c[i] = LLVMConstReal(elem, k);
	return LLVMConstVector(c, n);
}

LLVMValueRef cg_select(struct cg *g, LLVMValueRef cond, LLVMValueRef a,
		       LLVMValueRef b)
{
	return LLVMBuildSelect(g->b, cond, a, b, "");
}

/* f32 -> bits of bf16: add half an ulp, ties to even; NaN stays quiet. */
static LLVMValueRef to_bf16(struct cg *g, LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef i32 = like(x, g->i32);
	LLVMValueRef u = LLVMBuildBitCast(b, x, i32, "");
	LLVMValueRef odd = LLVMBuildAnd(
		b, LLVMBuildLShr(b, u, konst(x, g->i32, 16), ""),
		konst(x, g->i32, 1), "");
	LLVMValueRef r = LLVMBuildAdd(
		b, u, LLVMBuildAdd(b, odd, konst(x, g->i32, 0x7fff), ""), "");
	LLVMValueRef nan = LLVMBuildFCmp(b, LLVMRealUNO, x, x, "");

	r = LLVMBuildSelect(b, nan,
			    LLVMBuildOr(b, u, konst(x, g->i32, 0x400000), ""),
			    r, "");
	return LLVMBuildTrunc(b, LLVMBuildLShr(b, r, konst(x, g->i32, 16), ""),
			      like(x, g->i16), "");
}

static LLVMValueRef from_bf16(struct cg *g, LLVMValueRef h)
{
	LLVMValueRef u = LLVMBuildZExt(g->b, h, like(h, g->i32), "");

	u = LLVMBuildShl(g->b, u, konst(h, g->i32, 16), "");
	return LLVMBuildBitCast(g->b, u, like(h, g->f32), "");
}

/*
 * f32 -> bits of f16 in integer arithmetic, for machines without the
 * instruction: normal numbers by re-biasing and rounding, small ones by
 * letting the float adder round (x + 0.5 aligns the last bit of a denormal
 * half with the last bit of the sum).
 */
static LLVMValueRef to_f16_soft(struct cg *g, LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef i32 = g->i32;
#define K(k) konst(x, i32, (k))
	LLVMValueRef u = LLVMBuildBitCast(b, x, like(x, i32), "");
	LLVMValueRef sign = LLVMBuildAnd(
		b, LLVMBuildLShr(b, u, K(16), ""), K(0x8000), "");
	LLVMValueRef a = LLVMBuildAnd(b, u, K(0x7fffffff), "");
	LLVMValueRef odd = LLVMBuildAnd(b, LLVMBuildLShr(b, a, K(13), ""),
					K(1), "");
	LLVMValueRef n = LLVMBuildAdd(b, a, LLVMBuildAdd(b, odd, K(0xfff), ""),
				      "");

	n = LLVMBuildLShr(b, LLVMBuildSub(b, n, K(0x38000000), ""), K(13), "");
	LLVMValueRef f = LLVMBuildBitCast(b, a, like(x, g->f32), "");
	LLVMValueRef d = LLVMBuildFAdd(b, f, float_const(x, g->f32, 0.5), "");

	d = LLVMBuildSub(b, LLVMBuildBitCast(b, d, like(x, i32), ""),
			 K(0x3f000000), "");
	LLVMValueRef small = LLVMBuildICmp(b, LLVMIntULT, a, K(0x38800000), "");
	LLVMValueRef big = LLVMBuildICmp(b, LLVMIntUGE, a, K(0x477ff000), "");
	LLVMValueRef nan = LLVMBuildICmp(b, LLVMIntUGT, a, K(0x7f800000), "");
	LLVMValueRef r = LLVMBuildSelect(b, small, d, n, "");

	r = LLVMBuildSelect(b, big, K(0x7c00), r, "");
	r = LLVMBuildSelect(b, nan, K(0x7e00), r, "");
#undef K
	return LLVMBuildTrunc(b, LLVMBuildOr(b, r, sign, ""), like(x, g->i16),
			      "");
}

static LLVMValueRef from_f16_soft(struct cg *g, LLVMValueRef h)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef i32 = g->i32;
#define K(k) konst(h, i32, (k))
	LLVMValueRef u = LLVMBuildZExt(b, h, like(h, i32), "");
	LLVMValueRef sign = LLVMBuildShl(
		b, LLVMBuildAnd(b, u, K(0x8000), ""), K(16), "");
	LLVMValueRef m = LLVMBuildShl(b, LLVMBuildAnd(b, u, K(0x7fff), ""),
				      K(13), "");
	/* Multiplying by 2^112 re-biases denormals as well. */
	LLVMValueRef f = LLVMBuildFMul(
		b, LLVMBuildBitCast(b, m, like(h, g->f32), ""),
		float_const(h, g->f32, 0x1p112), "");
	LLVMValueRef special = LLVMBuildICmp(b, LLVMIntUGE, m, K(0x0f800000),
					     "");
	LLVMValueRef r = LLVMBuildSelect(
		b, special, LLVMBuildOr(b, m, K(0x7f800000), ""),
		LLVMBuildBitCast(b, f, like(h, i32), ""), "");

	r = LLVMBuildOr(b, r, sign, "");
#undef K
	return LLVMBuildBitCast(b, r, like(h, g->f32), "");
}

static LLVMValueRef to_half(struct cg *g, enum dtype t, LLVMValueRef x)
{
	if (t == DT_BF16)
		return to_bf16(g, x);
	if (!g->t->isa->f16c)
		return to_f16_soft(g, x);
	x = LLVMBuildFPTrunc(g->b, x, like(x, g->f16), "");
	return LLVMBuildBitCast(g->b, x, like(x, g->i16), "");
}

static LLVMValueRef from_half(struct cg *g, enum dtype t, LLVMValueRef h)
{
	if (t == DT_BF16)
		return from_bf16(g, h);
	if (!g->t->isa->f16c)
		return from_f16_soft(g, h);
	h = LLVMBuildBitCast(g->b, h, like(h, g->f16), "");
	return LLVMBuildFPExt(g->b, h, like(h, g->f32), "");
}

static bool is_half(enum dtype t)
{
	return t == DT_F16 || t == DT_BF16;
}

/* After an operation in f32: what the narrower type would hold. */
static LLVMValueRef rounded(struct cg *g, enum dtype t, LLVMValueRef x)
{
	return is_half(t) ? from_half(g, t, to_half(g, t, x)) : x;
}

static LLVMValueRef from_mem(struct cg *g, enum dtype t, LLVMValueRef x)
{
	if (is_half(t))
		return from_half(g, t, x);
	if (t == DT_BOOL)
		return LLVMBuildICmp(g->b, LLVMIntNE, x,
				     LLVMConstNull(LLVMTypeOf(x)), "");
	return x;
}

static LLVMValueRef to_mem(struct cg *g, enum dtype t, LLVMValueRef x)
{
	if (is_half(t))
		return to_half(g, t, x);
	if (t == DT_BOOL)
		return LLVMBuildZExt(g->b, x, like(x, g->i8), "");
	return x;
}

/* ---- loads and stores ---------------------------------------------------- */

static LLVMValueRef address(struct cg *g, enum dtype t, const struct value *buf,
			    LLVMValueRef offset)
{
	LLVMValueRef base = map_get(&g->bufs, buf->id);

	if (!base)
		bug(&g->c->diag, "no address for buffer %%%u", buf->id);
	return LLVMBuildGEP2(g->b, cg_mem_type(g, t), base, &offset, 1, "");
}

static LLVMValueRef plain_load(struct cg *g, LLVMTypeRef t, LLVMValueRef p,
			       enum dtype dt)
{
	LLVMValueRef v = LLVMBuildLoad2(g->b, t, p, "");

	LLVMSetAlignment(v, (unsigned)dtype_size(dt));
	return v;
}

/* Can a masked load or store of this type be one instruction? */
static bool can_mask(struct cg *g, enum dtype t, bool store)
{
	if (g->t->isa->masked)
		return true;
	return !store && g->t->isa->vector_bits == 256 && dtype_size(t) >= 4;
}

/* All guards hold: i1, or lanes of it; NULL when there are none. */
static struct cv guard_cond(struct cg *g, struct op *op)
{
	struct cv all = { NULL, false };
	size_t n;
	const struct expr *const *guard = op_exprs(op, A_guard, &n);

	for (size_t i = 0; i < n; i++) {
		struct cv e = expr_lanes(g, op, guard[i]);
		LLVMValueRef ok = LLVMBuildICmp(
			g->b, LLVMIntSGE, e.v,
			LLVMConstNull(LLVMTypeOf(e.v)), "");

		if (!all.v) {
			all = (struct cv){ ok, e.vec };
		} else if (all.vec == e.vec) {
			all.v = LLVMBuildAnd(g->b, all.v, ok, "");
		} else {
			LLVMValueRef x = e.vec ? cg_splat(g, all.v) : all.v;
			LLVMValueRef y = e.vec ? ok : cg_splat(g, ok);

			all = (struct cv){ LLVMBuildAnd(g->b, x, y, ""), true };
		}
	}
	return all;
}

/* One element, or a contiguous group, at p; elsewhere when cond is false. */
static LLVMValueRef safe_load(struct cg *g, LLVMTypeRef t, enum dtype dt,
			      LLVMValueRef p, LLVMValueRef cond)
{
	if (cond)
		p = LLVMBuildSelect(g->b, cond, p, g->zeros, "");
	return plain_load(g, t, p, dt);
}

static LLVMValueRef gather(struct cg *g, struct op *op, const struct expr *off,
			   enum dtype dt, struct cv cond)
{
	LLVMTypeRef t = cg_mem_type(g, dt);
	LLVMValueRef v = LLVMGetPoison(LLVMVectorType(t, g->lanes));

	for (unsigned i = 0; i < g->lanes; i++) {
		LLVMValueRef k = cond.v, p;

		if (k && cond.vec)
			k = LLVMBuildExtractElement(g->b, k, cg_int(g, i), "");
		if (g->mask) {
			LLVMValueRef in = LLVMBuildExtractElement(
				g->b, g->mask, cg_int(g, i), "");

			k = k ? LLVMBuildAnd(g->b, k, in, "") : in;
		}
		p = address(g, dt, op->in[0].val, cg_expr(g, op, off, i));
		v = LLVMBuildInsertElement(g->b, v, safe_load(g, t, dt, p, k),
					   cg_int(g, i), "");
	}
	return v;
}

static LLVMValueRef masked_load(struct cg *g, LLVMTypeRef vt, enum dtype dt,
				LLVMValueRef p, LLVMValueRef mask)
{
	LLVMTypeRef over[] = { vt, g->ptr };
	unsigned id = LLVMLookupIntrinsicID("llvm.masked.load", 16);
	LLVMValueRef arg[] = { p,
			       LLVMConstInt(g->i32, dtype_size(dt), false),
			       mask, LLVMConstNull(vt) };

	return LLVMBuildCall2(g->b, LLVMIntrinsicGetType(g->lc, id, over, 2),
			      LLVMGetIntrinsicDeclaration(g->mod, id, over, 2),
			      arg, 4, "");
}

/* +0 or integer 0: what is read from g->zeros and from masked lanes. */
static bool is_zero(const struct value *v)
{
	const struct op *k = def_of(v, OP_arith_const);
	const struct attr *a = k ? op_attr(k, A_value) : NULL;
	union scalar s = { 0 };

	if (!a)
		return false;
	if (a->kind == AT_INT)
		return a->i == 0;
	s.d = a->f;
	return s.u == 0;
}

struct cv cg_load(struct cg *g, struct op *op)
{
	const struct value *buf = op->in[0].val;
	enum dtype dt = buf->type->dtype;
	size_t n;
	const struct expr *off = layout_offset(g->c, buf,
					       op_exprs(op, A_idx, &n));
	const struct expr *step;
	enum lane_class k = lane_class(g, op, off, &step);
	struct cv cond = guard_cond(g, op), r = { NULL, false };
	LLVMTypeRef t = cg_mem_type(g, dt);

	if (k == LANE_SAME && !cond.vec) {
		r.v = safe_load(g, t, dt,
				address(g, dt, buf, cg_expr(g, op, off, 0)),
				cond.v);
	} else if (k == LANE_UNIT && !cond.vec && !g->mask) {
		r.v = safe_load(g, LLVMVectorType(t, g->lanes), dt,
				address(g, dt, buf, cg_expr(g, op, off, 0)),
				cond.v);
		r.vec = true;
	} else if (k == LANE_UNIT && can_mask(g, dt, false)) {
		LLVMValueRef mask = cond.v ? cg_lanes(g, cond) : NULL;

		if (g->mask)
			mask = mask ? LLVMBuildAnd(g->b, mask, g->mask, "")
				    : g->mask;
		r.v = masked_load(g, LLVMVectorType(t, g->lanes), dt,
				  address(g, dt, buf, cg_expr(g, op, off, 0)),
				  mask);
		r.vec = true;
	} else {
		r.v = gather(g, op, off, dt, cond);
		r.vec = true;
	}
	r.v = from_mem(g, dt, r.v);
	/* Where a guard fails zeros are read: often that is what is wanted. */
	if (cond.v && !is_zero(op->in[1].val)) {
		struct cv other = cg_get(g, op->in[1].val);
		bool vec = r.vec || other.vec || cond.vec;

		if (vec) {
			r.v = cg_lanes(g, r);
			other.v = cg_lanes(g, other);
			/* A scalar condition selects whole vectors. */
		}
		r.v = LLVMBuildSelect(g->b, cond.v, r.v, other.v, "");
		r.vec = vec;
	}
	return r;
}

void cg_store(struct cg *g, struct op *op)
{
	struct cv v = cg_get(g, op->in[0].val);
	const struct value *buf = op->in[1].val;
	enum dtype dt = buf->type->dtype;
	size_t n;
	const struct expr *off = layout_offset(g->c, buf,
					       op_exprs(op, A_idx, &n));
	const struct expr *step;
	enum lane_class k = lane_class(g, op, off, &step);
	LLVMValueRef p, st;

	if (k == LANE_SAME) {
		if (v.vec)
			bug(&g->c->diag, "lanes are stored to one element");
		p = address(g, dt, buf, cg_expr(g, op, off, 0));
		st = LLVMBuildStore(g->b, to_mem(g, dt, v.v), p);
		LLVMSetAlignment(st, (unsigned)dtype_size(dt));
		return;
	}
	LLVMValueRef x = to_mem(g, dt, cg_lanes(g, v));

	if (k == LANE_UNIT && !g->mask) {
		p = address(g, dt, buf, cg_expr(g, op, off, 0));
		st = LLVMBuildStore(g->b, x, p);
		LLVMSetAlignment(st, (unsigned)dtype_size(dt));
		return;
	}
	if (k == LANE_UNIT) {
		LLVMTypeRef over[] = { LLVMTypeOf(x), g->ptr };
		unsigned id = LLVMLookupIntrinsicID("llvm.masked.store", 17);
		LLVMValueRef arg[] = {
			x, address(g, dt, buf, cg_expr(g, op, off, 0)),
			LLVMConstInt(g->i32, dtype_size(dt), false), g->mask
		};

		LLVMBuildCall2(g->b, LLVMIntrinsicGetType(g->lc, id, over, 2),
			       LLVMGetIntrinsicDeclaration(g->mod, id, over,
							   2),
			       arg, 4, "");
		return;
	}
	for (unsigned i = 0; i < g->lanes; i++) {
		LLVMBasicBlockRef then = NULL, next = NULL;

		if (g->mask) {
			then = cg_block(g, "lane");
			next = cg_block(g, "next");
			LLVMBuildCondBr(g->b,
					LLVMBuildExtractElement(
						g->b, g->mask, cg_int(g, i),
						""),
					then, next);
			LLVMPositionBuilderAtEnd(g->b, then);
		}
		p = address(g, dt, buf, cg_expr(g, op, off, i));
		st = LLVMBuildStore(g->b,
				    LLVMBuildExtractElement(g->b, x,
							    cg_int(g, i), ""),
				    p);
		LLVMSetAlignment(st, (unsigned)dtype_size(dt));
		if (next) {
			LLVMBuildBr(g->b, next);
			LLVMPositionBuilderAtEnd(g->b, next);
		}
	}
}

/* ---- status --------------------------------------------------------------- */

void cg_raise(struct cg *g, LLVMValueRef cond, int status)
{
	LLVMBasicBlockRef yes = cg_block(g, "raise"), no = cg_block(g, "ok");
	LLVMValueRef code = LLVMConstInt(
		g->i32, (uint64_t)status | (uint64_t)g->node << 8, false);

	if (is_vec(cond)) {
		if (g->mask)
			cond = LLVMBuildAnd(g->b, cond, g->mask, "");
		cond = cg_call(g, "llvm.vector.reduce.or", LLVMTypeOf(cond), 1,
			       &cond);
	}
	LLVMBuildCondBr(g->b, cond, yes, no);
	LLVMPositionBuilderAtEnd(g->b, yes);
	/* The largest code stays, whatever the order of the threads. */
	LLVMBuildAtomicRMW(g->b, LLVMAtomicRMWBinOpUMax, g->status, code,
			   LLVMAtomicOrderingMonotonic, false);
	LLVMBuildBr(g->b, no);
	LLVMPositionBuilderAtEnd(g->b, no);
}

static void index_check(struct cg *g, struct op *op)
{
	size_t n;
	struct cv v = cg_get(g, op->in[0].val);
	struct cv e = expr_lanes(g, op, op_exprs(op, A_extent, &n)[0]);
	bool vec = v.vec || e.vec;
	LLVMValueRef x = vec ? cg_lanes(g, v) : v.v;
	LLVMValueRef ext = vec ? cg_lanes(g, e) : e.v;
	LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(x));

	if (op_int(op, A_wrap)) {
		LLVMValueRef neg = LLVMBuildICmp(g->b, LLVMIntSLT, x, zero,
						 "");

		x = LLVMBuildSelect(g->b, neg,
				    LLVMBuildAdd(g->b, x, ext, ""), x, "");
	}
	LLVMValueRef bad = LLVMBuildICmp(g->b, LLVMIntUGE, x, ext, "");

	cg_raise(g, bad, DLRT_INDEX);
	cg_set(g, &op->out[0], LLVMBuildSelect(g->b, bad, zero, x, ""), vec);
}

/* ---- arithmetic ------------------------------------------------------------ */

static LLVMValueRef int_div(struct cg *g, enum opcode code, enum dtype t,
			    LLVMValueRef a, LLVMValueRef d)
{
	LLVMBuilderRef b = g->b;
	LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(a));
	LLVMTypeRef et = cg_type(g, t);
	LLVMValueRef none = LLVMBuildICmp(b, LLVMIntEQ, d, zero, ""), q;

	cg_raise(g, none, DLRT_DIVZERO);
	if (!dtype_is_signed(t)) {
		d = LLVMBuildSelect(b, none, konst(a, et, 1), d, "");
		q = code == OP_arith_div ? LLVMBuildUDiv(b, a, d, "")
					 : LLVMBuildURem(b, a, d, "");
		return LLVMBuildSelect(b, none, zero, q, "");
	}
	/* x / -1 = -x, which wraps for the smallest integer. */
	LLVMValueRef minus = LLVMBuildICmp(b, LLVMIntEQ, d, konst(a, et, -1),
					   "");
	LLVMValueRef safe = LLVMBuildSelect(
		b, LLVMBuildOr(b, none, minus, ""), konst(a, et, 1), d, "");

	if (code == OP_arith_div)
		q = LLVMBuildSelect(b, minus, LLVMBuildNeg(b, a, ""),
				    LLVMBuildSDiv(b, a, safe, ""), "");
	else
		q = LLVMBuildSelect(b, minus, zero,
				    LLVMBuildSRem(b, a, safe, ""), "");
	return LLVMBuildSelect(b, none, zero, q, "");
}

static LLVMValueRef int_shift(struct cg *g, enum opcode code, enum dtype t,
			      LLVMValueRef a, LLVMValueRef n)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef et = cg_type(g, t);
	unsigned bits = dtype_info[t].bits;
	LLVMValueRef ok = LLVMBuildICmp(b, LLVMIntULT, n, konst(a, et, bits),
					"");
	LLVMValueRef k = LLVMBuildSelect(b, ok, n, konst(a, et, bits - 1), "");

	if (code == OP_arith_shr && dtype_is_signed(t))
		return LLVMBuildAShr(b, a, k, "");
	a = code == OP_arith_shl ? LLVMBuildShl(b, a, k, "")
				 : LLVMBuildLShr(b, a, k, "");
	return LLVMBuildSelect(b, ok, a, LLVMConstNull(LLVMTypeOf(a)), "");
}

static LLVMValueRef int2(struct cg *g, enum opcode code, enum dtype t,
			 LLVMValueRef x, LLVMValueRef y)
{
	LLVMBuilderRef b = g->b;
	bool s = dtype_is_signed(t);

	switch (code) {
	case OP_arith_add: return LLVMBuildAdd(b, x, y, "");
	case OP_arith_sub: return LLVMBuildSub(b, x, y, "");
	case OP_arith_mul: return LLVMBuildMul(b, x, y, "");
	case OP_arith_div: case OP_arith_rem:
		return int_div(g, code, t, x, y);
	case OP_arith_shl: case OP_arith_shr:
		return int_shift(g, code, t, x, y);
	case OP_arith_and: return LLVMBuildAnd(b, x, y, "");
	case OP_arith_or: return LLVMBuildOr(b, x, y, "");
	case OP_arith_xor: return LLVMBuildXor(b, x, y, "");
	case OP_arith_min: case OP_arith_max: {
		LLVMIntPredicate p = code == OP_arith_min
					     ? (s ? LLVMIntSLT : LLVMIntULT)
					     : (s ? LLVMIntSGT : LLVMIntUGT);

		return LLVMBuildSelect(b, LLVMBuildICmp(b, p, x, y, ""), x, y,
				       "");
	}
	default:
		bug(&g->c->diag, "no integer %s", op_defs[code]->name);
	}
}

/* fmod without a library call: x - trunc(x / y) * y is not exact for large
 * quotients, so the remainder is taken in a loop of exact steps. */
static LLVMValueRef float_rem(struct cg *g, LLVMValueRef x, LLVMValueRef y);

static LLVMValueRef float2(struct cg *g, enum opcode code, LLVMValueRef x,
			   LLVMValueRef y)
{
	LLVMBuilderRef b = g->b;
	LLVMValueRef r;

	switch (code) {
	case OP_arith_add:
		r = LLVMBuildFAdd(b, x, y, "");
		break;
	case OP_arith_sub:
		r = LLVMBuildFSub(b, x, y, "");
		break;
	case OP_arith_mul:
		r = LLVMBuildFMul(b, x, y, "");
		break;
	case OP_arith_div: return LLVMBuildFDiv(b, x, y, "");
	case OP_arith_rem: return float_rem(g, x, y);
	case OP_arith_min: case OP_arith_max: {
		/* x when it is NaN or wins, else y: both NaNs get through. */
		LLVMValueRef wins = LLVMBuildFCmp(
			b, code == OP_arith_min ? LLVMRealOLT : LLVMRealOGT, x,
			y, "");
		LLVMValueRef nan = LLVMBuildFCmp(b, LLVMRealUNO, x, x, "");

		if (LLVMIsConstant(y))
			return LLVMBuildSelect(
				b,
				LLVMBuildFCmp(b,
					      code == OP_arith_min
						      ? LLVMRealOLT
						      : LLVMRealOGT,
					      y, x, ""),
				y, x, "");
		return LLVMBuildSelect(b, LLVMBuildOr(b, wins, nan, ""), x, y,
				       "");
	}
	default:
		if (code == OP_math_pow)
			return emit_math(b, code, x, y);
		bug(&g->c->diag, "no float %s", op_defs[code]->name);
	}
	if (LLVMIsAInstruction(r))
		LLVMSetFastMathFlags(r, LLVMFastMathAllowContract);
	return r;
}

static LLVMValueRef emit_fabs(struct cg *g, LLVMValueRef x)
{
	return cg_call(g, "llvm.fabs", LLVMTypeOf(x), 1, &x);
}

/*
 * fmod by long division (fdlibm's method on magnitudes): while |x| >= |y|,
 * subtract the largest |y| * 2^k that fits.  Each step is exact.  Lanes run
 * until all are done.
 */
static LLVMValueRef float_rem(struct cg *g, LLVMValueRef x, LLVMValueRef y)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef t = LLVMTypeOf(x);
	LLVMTypeRef et = is_vec(x) ? LLVMGetElementType(t) : t;
	bool dbl = et == g->f64;
	LLVMTypeRef it = dbl ? g->i64 : g->i32;
	int64_t expo = dbl ? INT64_C(0x7ff) << 52 : 0x7f800000;
	LLVMValueRef ax = emit_fabs(g, x), ay = emit_fabs(g, y);
	LLVMValueRef inf = float_const(x, et, 1e300 * 1e300);
	LLVMValueRef ok = LLVMBuildAnd(
		b, LLVMBuildFCmp(b, LLVMRealOLT, ax, inf, ""),
		LLVMBuildFCmp(b, LLVMRealOGT, ay, LLVMConstNull(t), ""), "");
	LLVMBasicBlockRef from = LLVMGetInsertBlock(b), head, body, done;

	ax = LLVMBuildSelect(b, ok, ax, LLVMConstNull(t), "");
	head = cg_block(g, "rem");
	body = cg_block(g, "rem.step");
	done = cg_block(g, "rem.done");
	LLVMBuildBr(b, head);
	LLVMPositionBuilderAtEnd(b, head);
	LLVMValueRef r = LLVMBuildPhi(b, t, "");
	LLVMValueRef more = LLVMBuildFCmp(b, LLVMRealOGE, r, ay, "");

	more = LLVMBuildAnd(b, more, ok, "");
	LLVMValueRef any = is_vec(more)
				   ? cg_call(g, "llvm.vector.reduce.or",
					     LLVMTypeOf(more), 1, &more)
				   : more;

	LLVMBuildCondBr(b, any, body, done);
	LLVMPositionBuilderAtEnd(b, body);
	/* s = |y| with the exponent of r, halved when that is too much; a
	 * denormal |y| is subtracted as it is. */
	LLVMTypeRef vit = like(x, it);
	LLVMValueRef mant = LLVMBuildAnd(
		b, LLVMBuildBitCast(b, ay, vit, ""), konst(x, it, ~expo), "");
	LLVMValueRef er = LLVMBuildAnd(b, LLVMBuildBitCast(b, r, vit, ""),
				       konst(x, it, expo), "");
	LLVMValueRef ey = LLVMBuildAnd(b, LLVMBuildBitCast(b, ay, vit, ""),
				       konst(x, it, expo), "");
	LLVMValueRef s = LLVMBuildBitCast(b, LLVMBuildOr(b, mant, er, ""), t,
					  "");
	LLVMValueRef half = LLVMBuildFMul(b, s, float_const(x, et, 0.5), "");

	s = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOGT, s, r, ""), half,
			    s, "");
	LLVMValueRef same = LLVMBuildOr(
		b, LLVMBuildICmp(b, LLVMIntEQ, er, ey, ""),
		LLVMBuildICmp(b, LLVMIntEQ, ey, LLVMConstNull(vit), ""), "");

	s = LLVMBuildSelect(b, same, ay, s, "");
	LLVMValueRef next = LLVMBuildSelect(
		b, more, LLVMBuildFSub(b, r, s, ""), r, "");

	LLVMBuildBr(b, head);
	LLVMValueRef in[] = { ax, next };
	LLVMBasicBlockRef blocks[] = { from, LLVMGetInsertBlock(b) };

	LLVMAddIncoming(r, in, blocks, 2);
	LLVMPositionBuilderAtEnd(b, done);
	LLVMValueRef sgn[] = { r, x };
	LLVMValueRef res = cg_call(g, "llvm.copysign", t, 2, sgn);
	LLVMValueRef nan = float_const(x, et, 0.0);

	/* x mod inf = x for finite x falls out of the loop by itself. */
	nan = LLVMBuildFDiv(b, nan, nan, "");
	LLVMValueRef fin = LLVMBuildFCmp(b, LLVMRealORD, x, y, "");
	LLVMValueRef bad = LLVMBuildNot(b, LLVMBuildAnd(b, ok, fin, ""), "");

	return LLVMBuildSelect(b, bad, nan, res, "");
}

LLVMValueRef cg_arith2(struct cg *g, enum opcode code, enum dtype t,
		       LLVMValueRef a, LLVMValueRef b)
{
	if (t == DT_BOOL && code == OP_arith_add)
		code = OP_arith_or;
	if (!dtype_is_float(t))
		return int2(g, code, t, a, b);
	return rounded(g, t, float2(g, code, a, b));
}

static LLVMValueRef compare(struct cg *g, enum opcode code, enum dtype t,
			    LLVMValueRef a, LLVMValueRef b)
{
	static const struct {
		enum opcode code;
		LLVMRealPredicate f;
		LLVMIntPredicate s, u;
	} row[] = {
		{ OP_arith_eq, LLVMRealOEQ, LLVMIntEQ, LLVMIntEQ },
		{ OP_arith_ne, LLVMRealUNE, LLVMIntNE, LLVMIntNE },
		{ OP_arith_lt, LLVMRealOLT, LLVMIntSLT, LLVMIntULT },
		{ OP_arith_le, LLVMRealOLE, LLVMIntSLE, LLVMIntULE },
		{ OP_arith_gt, LLVMRealOGT, LLVMIntSGT, LLVMIntUGT },
		{ OP_arith_ge, LLVMRealOGE, LLVMIntSGE, LLVMIntUGE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		if (row[i].code != code)
			continue;
		if (dtype_is_float(t))
			return LLVMBuildFCmp(g->b, row[i].f, a, b, "");
		return LLVMBuildICmp(g->b,
				     dtype_info[t].kind == DK_INT ? row[i].s
								  : row[i].u,
				     a, b, "");
	}
	return NULL;
}

static LLVMValueRef cast(struct cg *g, enum dtype from, enum dtype to,
			 LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef t = like(x, cg_type(g, to));

	if (from == to)
		return x;
	if (to == DT_BOOL) {
		LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(x));

		return dtype_is_float(from)
			       ? LLVMBuildFCmp(b, LLVMRealUNE, x, zero, "")
			       : LLVMBuildICmp(b, LLVMIntNE, x, zero, "");
	}
	if (dtype_is_float(from) && dtype_is_float(to)) {
		if (from == DT_F64 && is_half(to)) {
			/* Round to odd on the way, so that rounding twice
			 * equals rounding once. */
			LLVMTypeRef i64 = like(x, g->i64);
			LLVMValueRef u = LLVMBuildBitCast(b, x, i64, "");
			LLVMValueRef low = LLVMBuildAnd(
				b, u, konst(x, g->i64, 0x1fffffff), "");
			LLVMValueRef sticky = LLVMBuildSelect(
				b,
				LLVMBuildICmp(b, LLVMIntNE, low,
					      LLVMConstNull(i64), ""),
				konst(x, g->i64, 0x20000000),
				LLVMConstNull(i64), "");

			u = LLVMBuildAnd(b, u, konst(x, g->i64, ~INT64_C(0x1fffffff)),
					 "");
			u = LLVMBuildOr(b, u, sticky, "");
			x = LLVMBuildBitCast(b, u, LLVMTypeOf(x), "");
		}
		if (from == DT_F64)
			x = LLVMBuildFPTrunc(b, x, t, "");
		else if (to == DT_F64)
			x = LLVMBuildFPExt(b, x, t, "");
		return rounded(g, to, x);
	}
	if (dtype_is_float(to)) {
		x = dtype_info[from].kind == DK_INT
			    ? LLVMBuildSIToFP(b, x, t, "")
			    : LLVMBuildUIToFP(b, x, t, "");
		return rounded(g, to, x);
	}
	if (dtype_is_float(from)) {
		LLVMTypeRef over[] = { t, LLVMTypeOf(x) };
		const char *name = dtype_is_signed(to) ? "llvm.fptosi.sat"
						       : "llvm.fptoui.sat";
		unsigned id = LLVMLookupIntrinsicID(name, 15);

		return LLVMBuildCall2(
			b, LLVMIntrinsicGetType(g->lc, id, over, 2),
			LLVMGetIntrinsicDeclaration(g->mod, id, over, 2), &x,
			1, "");
	}
	if (dtype_info[from].bits < dtype_info[to].bits || from == DT_BOOL)
		return dtype_info[from].kind == DK_INT
			       ? LLVMBuildSExt(b, x, t, "")
			       : LLVMBuildZExt(b, x, t, "");
	if (dtype_info[from].bits > dtype_info[to].bits)
		return LLVMBuildTrunc(b, x, t, "");
	return x;
}

static LLVMValueRef unary(struct cg *g, enum opcode code, enum dtype t,
			  LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(x));

	if (code == OP_arith_not)
		return LLVMBuildNot(b, x, "");
	if (!dtype_is_float(t)) {
		LLVMValueRef neg = LLVMBuildNeg(b, x, "");

		if (code == OP_arith_neg)
			return neg;
		if (!dtype_is_signed(t))
			return x;
		return LLVMBuildSelect(
			b, LLVMBuildICmp(b, LLVMIntSLT, x, zero, ""), neg, x,
			"");
	}
	switch (code) {
	case OP_arith_neg: return LLVMBuildFNeg(b, x, "");
	case OP_arith_abs: return emit_fabs(g, x);
	case OP_arith_sqrt:
		return rounded(g, t,
			       cg_call(g, "llvm.sqrt", LLVMTypeOf(x), 1, &x));
	case OP_arith_floor: case OP_arith_ceil:
	case OP_arith_round: case OP_arith_trunc:
		return emit_round(b, code, x, g->t->isa->fma);
	default: return rounded(g, t, emit_math(b, code, x, NULL));
	}
}

static LLVMValueRef scalar_const(struct cg *g, struct op *op)
{
	const struct attr *a = op_attr(op, A_value);
	enum dtype t = op->out[0].type->dtype;

	if (dtype_is_float(t)) {
		union scalar s = { .d = a->kind == AT_INT ? (double)a->i
							  : a->f };

		return LLVMConstReal(cg_type(g, t), scalar_wrap(t, s).d);
	}
	return LLVMConstInt(cg_type(g, t),
			    a->kind == AT_INT ? (uint64_t)a->i
					      : (uint64_t)(int64_t)a->f,
			    true);
}

void cg_scalar_op(struct cg *g, struct op *op)
{
	struct cv in[3];
	bool vec = false;
	size_t n;
	LLVMValueRef r;

	g->node = cg_node_of(g, op);
	switch (op->code) {
	case OP_arith_const:
		cg_set(g, &op->out[0], scalar_const(g, op), false);
		return;
	case OP_mem_load:
	case OP_nest_load: {
		struct cv v = cg_load(g, op);

		cg_set(g, &op->out[0], v.v, v.vec);
		return;
	}
	case OP_nest_index: index_check(g, op); return;
	case OP_nest_value: {
		struct cv v = expr_lanes(g, op, op_exprs(op, A_idx, &n)[0]);

		cg_set(g, &op->out[0], v.v, v.vec);
		return;
	}
	default: break;
	}
	if (op->n_in < 1 || op->n_in > 3)
		bug(&g->c->diag, "%s inside a kernel", op_def(op)->name);
	for (unsigned i = 0; i < op->n_in; i++) {
		in[i] = cg_get(g, op->in[i].val);
		vec |= in[i].vec;
	}
	for (unsigned i = 0; i < op->n_in && vec; i++)
		in[i].v = cg_lanes(g, in[i]);
	enum dtype t = op->in[0].val->type->dtype;

	if (op->code == OP_arith_select)
		r = LLVMBuildSelect(g->b, in[0].v, in[1].v, in[2].v, "");
	else if (op->code == OP_arith_cast)
		r = cast(g, t, op->out[0].type->dtype, in[0].v);
	else if (op->n_in == 1)
		r = unary(g, op->code, t, in[0].v);
	else if (!(r = compare(g, op->code, t, in[0].v, in[1].v)))
		r = cg_arith2(g, op->code, t, in[0].v, in[1].v);
	cg_set(g, &op->out[0], r, vec);
}
