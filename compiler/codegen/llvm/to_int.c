/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floats to integers, which saturate.
 *
 * What a value can be is followed back a few steps: clamps that cannot change
 * it and the question for NaN are left out.  Where the value was rounded just
 * before, perhaps with a zero point added, the machine's conversion rounds:
 * it takes halves to the even neighbour as arith.round does.  Each stands in
 * the epilogue of a quantized product, once per element.
 */
#include "codegen/llvm/cg.h"

#include <math.h>
#include <string.h>

enum { MOST_STEPS = 12, MANY = 1 << 16, EXACT = 1 << 20 };

/* All that a value can be, NaN aside. */
struct range {
	double lo, hi;
	bool nan;
};

static const struct range anything = { -INFINITY, INFINITY, true };

static double int_max(enum dtype t)
{
	return ldexp(1, (int)dtype_info[t].bits - dtype_is_signed(t)) - 1;
}

static double int_min(enum dtype t)
{
	return dtype_is_signed(t) ? -ldexp(1, (int)dtype_info[t].bits - 1) : 0;
}

static struct range of_type(enum dtype t)
{
	if (dtype_is_float(t))
		return anything;
	return (struct range){ int_min(t), int_max(t), false };
}

static bool constant(const struct value *v, double *k)
{
	const struct op *op = v->def;
	const struct attr *a;

	if (op && op->code == OP_arith_cast &&
	    constant(op->in[0].val, k)) {
		enum dtype t = op->out[0].type->dtype;

		return dtype_is_float(t) && dtype_info[t].bits >= 32;
	}
	a = op && op->code == OP_arith_const ? op_attr(op, A_value) : NULL;
	if (!a)
		return false;
	*k = a->kind == AT_INT ? (double)a->i : a->f;
	return true;
}

/* The elements of a constant of floats. */
static struct range of_load(const struct op *op)
{
	enum dtype t = op->out[0].type->dtype;
	struct range r = { INFINITY, -INFINITY, false };
	struct blob data;
	size_t n;

	if (t != DT_F32 || op->n_in != 1 ||
	    !value_const(op->in[0].val, &data) ||
	    (n = data.size / sizeof(float)) > MANY || !n)
		return of_type(t);
	for (size_t i = 0; i < n; i++) {
		float x = ((const float *)data.data)[i];

		r.nan |= isnan(x);
		r.lo = fmin(r.lo, x);
		r.hi = fmax(r.hi, x);
	}
	return r;
}

static struct range range_of(const struct value *v, unsigned steps);

/* One that is infinite may meet its opposite, or a zero. */
static struct range finite_or(struct range r, bool ok)
{
	/* Rounding moves an end by less than this. */
	r.lo -= fabs(r.lo) * 1e-6;
	r.hi += fabs(r.hi) * 1e-6;
	if (!ok || !(r.lo > -3e38) || !(r.hi < 3e38))
		return anything;
	return r;
}

static struct range of_arith(const struct op *op, struct range a,
			     struct range b)
{
	bool ok = !a.nan && !b.nan && isfinite(a.lo) && isfinite(a.hi) &&
		  isfinite(b.lo) && isfinite(b.hi);
	double p[4];

	switch ((int)op->code) {
	case OP_arith_add:
		return finite_or((struct range){ a.lo + b.lo, a.hi + b.hi,
						 false }, ok);
	case OP_arith_sub:
		return finite_or((struct range){ a.lo - b.hi, a.hi - b.lo,
						 false }, ok);
	case OP_arith_mul:
		p[0] = a.lo * b.lo;
		p[1] = a.lo * b.hi;
		p[2] = a.hi * b.lo;
		p[3] = a.hi * b.hi;
		return finite_or((struct range){
					 fmin(fmin(p[0], p[1]),
					      fmin(p[2], p[3])),
					 fmax(fmax(p[0], p[1]),
					      fmax(p[2], p[3])),
					 false }, ok);
	case OP_arith_max:
		return (struct range){ fmax(a.lo, b.lo), fmax(a.hi, b.hi),
				       a.nan || b.nan };
	case OP_arith_min:
		return (struct range){ fmin(a.lo, b.lo), fmin(a.hi, b.hi),
				       a.nan || b.nan };
	default: return anything;
	}
}

/* What x is where the comparison with it as the first operand holds. */
static struct range where(const struct op *cmp, const struct value *x,
			  struct range r)
{
	struct range y;

	if (!cmp || cmp->n_in != 2 || cmp->in[0].val != x)
		return r;
	y = range_of(cmp->in[1].val, 1);
	switch ((int)cmp->code) {
	case OP_arith_eq: r.nan = false; break;
	case OP_arith_gt: case OP_arith_ge:
		r.lo = fmax(r.lo, y.lo);
		r.nan = false;
		break;
	case OP_arith_lt: case OP_arith_le:
		r.hi = fmin(r.hi, y.hi);
		r.nan = false;
		break;
	default: break;
	}
	return r;
}

/* Integers do not wrap where the result is inside of the type's range. */
static struct range of_int(const struct op *op, unsigned steps)
{
	struct range all = of_type(op->out[0].type->dtype), a, b, r = all;

	if (!op->n_in || dtype_is_float(op->in[0].val->type->dtype))
		return all;
	a = range_of(op->in[0].val, steps);
	switch ((int)op->code) {
	case OP_arith_cast: r = a; break;
	case OP_arith_add:
		b = range_of(op->in[1].val, steps);
		r.lo = a.lo + b.lo;
		r.hi = a.hi + b.hi;
		break;
	default: break;
	}
	return r.lo >= all.lo && r.hi <= all.hi ? r : all;
}

static struct range of_op(const struct op *op, unsigned steps)
{
	enum dtype t = op->out[0].type->dtype;
	struct range a, b;
	double k;

	if (op->code == OP_mem_load)
		return of_load(op);
	if (constant(&op->out[0], &k))
		return (struct range){ k, k, isnan(k) };
	if (!dtype_is_float(t))
		return of_int(op, steps);
	switch ((int)op->code) {
	case OP_arith_cast: case OP_arith_round:
		a = range_of(op->in[0].val, steps);
		/* Half an integer, or half of a digit. */
		a.lo -= 1 + fabs(a.lo) * 1e-2;
		a.hi += 1 + fabs(a.hi) * 1e-2;
		return a;
	case OP_arith_select:
		a = where(op->in[0].val->def, op->in[1].val,
			  range_of(op->in[1].val, steps));
		b = range_of(op->in[2].val, steps);
		return (struct range){ fmin(a.lo, b.lo), fmax(a.hi, b.hi),
				       a.nan || b.nan };
	case OP_arith_add: case OP_arith_sub: case OP_arith_mul:
	case OP_arith_max: case OP_arith_min:
		return of_arith(op, range_of(op->in[0].val, steps),
				range_of(op->in[1].val, steps));
	default: return anything;
	}
}

static struct range range_of(const struct value *v, unsigned steps)
{
	if (v->def && steps)
		return of_op(v->def, steps - 1);
	return of_type(v->type->dtype);
}

bool cg_is_within(const struct value *v, int64_t lo, int64_t hi)
{
	struct range r = range_of(v, MOST_STEPS);

	return !r.nan && r.lo >= (double)lo && r.hi <= (double)hi;
}

/* ---- emission ------------------------------------------------------- */

/* To i32, halves to the even neighbour; x is inside of its range. */
static LLVMValueRef nearest(struct cg *g, LLVMValueRef x)
{
	LLVMTypeRef i32 = cg_like(x, g->i32), f32 = LLVMTypeOf(x);
	unsigned n = cg_is_vec(x) ? LLVMGetVectorSize(f32) : 1;
	LLVMValueRef in[] = { x, LLVMConstNull(i32),
			      LLVMConstAllOnes(LLVMInt16TypeInContext(g->lc)),
			      LLVMConstInt(g->i32, 4, false) };
	LLVMTypeRef over[] = { i32, f32 };

	if (n * 32 == g->t->isa->vector_bits && g->t->x86_level) {
		if (n == 16)
			return cg_machine_call(
				g, "llvm.x86.avx512.mask.cvtps2dq.512", 4, in);
		return cg_machine_call(g, n == 8 ? "llvm.x86.avx.cvt.ps2dq.256"
						 : "llvm.x86.sse2.cvtps2dq",
				       1, in);
	}
	if (n == 4 && !strcmp(g->t->arch, "aarch64")) {
		static const char name[] = "llvm.aarch64.neon.fcvtns";
		unsigned id = LLVMLookupIntrinsicID(name, sizeof(name) - 1);

		return LLVMBuildCall2(
			g->b, LLVMIntrinsicGetType(g->lc, id, over, 2),
			LLVMGetIntrinsicDeclaration(g->mod, id, over, 2), in, 1,
			"");
	}
	x = cg_round(g, x);
	return LLVMBuildFPToSI(g->b, x, i32, "");
}

/* The cast's operand without steps that the conversion does itself. */
struct source {
	const struct value *v;
	bool rounds;		/* to the nearest */
	bool nan_is_low;	/* it is the lowest number, not 0 */
	double plus;		/* afterwards */
};

static struct source source_of(const struct op *cast)
{
	enum dtype to = cast->out[0].type->dtype;
	struct source s = { .v = cast->in[0].val };
	const struct op *op = s.v->def, *cmp;
	double k;

	if (op && op->code == OP_arith_select &&
	    (cmp = def_of(op->in[0].val, OP_arith_ge)) &&
	    cmp->in[0].val == op->in[1].val &&
	    cmp->in[1].val == op->in[2].val &&
	    constant(op->in[2].val, &k) && k == int_min(to)) {
		s.nan_is_low = true;
		s.v = op->in[1].val;
	}
	op = def_of(s.v, OP_arith_add);
	if (op && op->out[0].type->dtype == DT_F32 &&
	    def_of(op->in[0].val, OP_arith_round) &&
	    constant(op->in[1].val, &k) && k == rint(k) && fabs(k) < EXACT &&
	    dtype_info[to].bits <= 16) {
		s.plus = k;
		s.v = op->in[0].val;
	}
	op = def_of(s.v, OP_arith_round);
	if (op && op->out[0].type->dtype == DT_F32 &&
	    (dtype_info[to].bits <= 16 || to == DT_I32)) {
		s.rounds = true;
		s.v = op->in[0].val;
	}
	return s;
}

static LLVMValueRef choose(struct cg *g, LLVMRealPredicate p, LLVMValueRef x,
			   LLVMValueRef than, LLVMValueRef other)
{
	return LLVMBuildSelect(g->b, LLVMBuildFCmp(g->b, p, x, than, ""), x,
			       other, "");
}

/* 32 bits signed, whose highest number f32 does not hold. */
static LLVMValueRef wide(struct cg *g, const struct source *s, LLVMValueRef x,
			 LLVMTypeRef elem, struct range r)
{
	LLVMValueRef top = cg_float_const(x, elem, 2147483648.0), y = x, i;
	double below = elem == g->f32 ? 2147483520.0 : 2147483647.0;

	if (r.nan)
		y = choose(g, LLVMRealORD, y, y, LLVMConstNull(LLVMTypeOf(x)));
	if (r.lo < -2147483648.0)
		y = choose(g, LLVMRealOGT, y,
			   cg_float_const(x, elem, -2147483648.0),
			   cg_float_const(x, elem, -2147483648.0));
	if (r.hi > below)
		y = choose(g, LLVMRealOLT, y, cg_float_const(x, elem, below),
			   cg_float_const(x, elem, below));
	i = s->rounds ? nearest(g, y)
		      : LLVMBuildFPToSI(g->b, y, cg_like(x, g->i32), "");
	if (r.hi <= below)
		return i;
	return LLVMBuildSelect(g->b,
			       LLVMBuildFCmp(g->b, LLVMRealOGE, x, top, ""),
			       cg_konst(x, g->i32, INT32_MAX), i, "");
}

static LLVMValueRef narrow(struct cg *g, enum dtype to, const struct source *s,
			   LLVMValueRef x, LLVMTypeRef elem, struct range r)
{
	double lo = int_min(to) - s->plus, hi = int_max(to) - s->plus;
	LLVMValueRef end = cg_float_const(x, elem, lo);

	if (r.nan && !s->nan_is_low)
		x = choose(g, LLVMRealORD, x, x,
			   cg_float_const(x, elem, -s->plus));
	if (r.lo < lo || (r.nan && s->nan_is_low))
		x = choose(g, LLVMRealOGT, x, end, end);
	end = cg_float_const(x, elem, hi);
	if (r.hi > hi)
		x = choose(g, LLVMRealOLT, x, end, end);
	x = s->rounds ? nearest(g, x)
		      : LLVMBuildFPToSI(g->b, x, cg_like(x, g->i32), "");
	if (s->plus != 0)
		x = LLVMBuildAdd(g->b, x, cg_konst(x, g->i32, (int64_t)s->plus),
				 "");
	return LLVMBuildTrunc(g->b, x, cg_like(x, cg_type(g, to)), "");
}

LLVMValueRef cg_float_to_int(struct cg *g, const struct op *cast, bool vec)
{
	enum dtype to = cast->out[0].type->dtype;
	struct source s = source_of(cast);
	struct cv in = cg_get(g, s.v);
	LLVMValueRef x = vec ? cg_lanes(g, in) : in.v;
	LLVMTypeRef t = LLVMTypeOf(x);
	LLVMTypeRef elem = cg_is_vec(x) ? LLVMGetElementType(t) : t;
	struct range r = range_of(s.v, MOST_STEPS);

	if (dtype_info[to].bits <= 16)
		return narrow(g, to, &s, x, elem, r);
	if (to == DT_I32)
		return wide(g, &s, x, elem, r);
	LLVMTypeRef over[] = { cg_like(x, cg_type(g, to)), t };
	const char *name = dtype_is_signed(to) ? "llvm.fptosi.sat"
					       : "llvm.fptoui.sat";
	unsigned id = LLVMLookupIntrinsicID(name, 15);

	return LLVMBuildCall2(g->b, LLVMIntrinsicGetType(g->lc, id, over, 2),
			      LLVMGetIntrinsicDeclaration(g->mod, id, over, 2),
			      &x, 1, "");
}
