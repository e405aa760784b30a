/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scalar arithmetic of the evaluator, on numbers and on symbolic integers.
 * The switches are over the closed set of scalar ops; the casts to int keep
 * -Wswitch-enum from asking for every other opcode.
 */
#include "ir/eval_scalar.h"

#include <math.h>

#include "ir/op.h"

struct sval sval_num(union scalar s)
{
	return (struct sval){ .s = s };
}

struct sval sval_int(int64_t i)
{
	return sval_num((union scalar){ .i = i });
}

const struct sval sval_unknown = { .unknown = true };

static double libm(enum opcode code, double x)
{
	switch ((int)code) {
	case OP_math_exp: return exp(x);
	case OP_math_log: return log(x);
	case OP_math_log1p: return log1p(x);
	case OP_math_expm1: return expm1(x);
	case OP_math_tanh: return tanh(x);
	case OP_math_erf: return erf(x);
	case OP_math_sin: return sin(x);
	case OP_math_cos: return cos(x);
	case OP_math_tan: return tan(x);
	case OP_math_asin: return asin(x);
	case OP_math_acos: return acos(x);
	case OP_math_atan: return atan(x);
	case OP_arith_neg: return -x;
	case OP_arith_abs: return fabs(x);
	case OP_arith_floor: return floor(x);
	case OP_arith_ceil: return ceil(x);
	case OP_arith_round: return nearbyint(x);
	case OP_arith_trunc: return trunc(x);
	case OP_arith_sqrt: return sqrt(x);
	default: return NAN;
	}
}

static double float2(enum opcode code, double a, double b)
{
	switch ((int)code) {
	case OP_arith_add: return a + b;
	case OP_arith_sub: return a - b;
	case OP_arith_mul: return a * b;
	case OP_arith_div: return a / b;
	case OP_arith_rem: return fmod(a, b);
	case OP_arith_min: return isnan(a) || a < b ? a : b;
	case OP_arith_max: return isnan(a) || a > b ? a : b;
	case OP_math_pow: return pow(a, b);
	default: return NAN;
	}
}

static bool compare(enum opcode code, int lt, int eq)
{
	switch ((int)code) {
	case OP_arith_eq: return eq;
	case OP_arith_ne: return !eq;
	case OP_arith_lt: return lt;
	case OP_arith_le: return lt || eq;
	case OP_arith_gt: return !lt && !eq;
	case OP_arith_ge: return !lt;
	default: return false;
	}
}

static uint64_t int2(struct eval_env *ev, enum opcode code, enum dtype t,
		     union scalar a, union scalar b)
{
	bool sign = dtype_is_signed(t);
	unsigned bits = dtype_info[t].bits;

	switch ((int)code) {
	case OP_arith_add: return a.u + b.u;
	case OP_arith_sub: return a.u - b.u;
	case OP_arith_mul: return a.u * b.u;
	case OP_arith_div:
	case OP_arith_rem:
		if (!b.u) {
			ev->err = EVAL_DIVZERO;
			return 0;
		}
		if (sign && b.i == -1)
			return code == OP_arith_div ? 0 - a.u : 0;
		if (sign)
			return (uint64_t)(code == OP_arith_div ? a.i / b.i
							       : a.i % b.i);
		return code == OP_arith_div ? a.u / b.u : a.u % b.u;
	case OP_arith_min:
		return (sign ? a.i < b.i : a.u < b.u) ? a.u : b.u;
	case OP_arith_max:
		return (sign ? a.i > b.i : a.u > b.u) ? a.u : b.u;
	case OP_arith_and: return a.u & b.u;
	case OP_arith_or: return a.u | b.u;
	case OP_arith_xor: return a.u ^ b.u;
	case OP_arith_shl: return b.u < bits ? a.u << b.u : 0;
	case OP_arith_shr:
		if (sign)
			return (uint64_t)(a.i >> (b.u < bits ? b.u : bits - 1));
		return b.u < bits ? a.u >> b.u : 0;
	default: return 0;
	}
}

/* Symbolic integers: what expr can say, else unknown. */
static struct sval sym2(struct eval_env *ev, enum opcode code, struct sval x,
			struct sval y)
{
	struct ctx *c = ev->c;
	const struct expr *a = x.e ? x.e : expr_const(c, x.s.i);
	const struct expr *b = y.e ? y.e : expr_const(c, y.s.i);
	const struct expr *d = expr_sub(c, a, b), *r = NULL;
	int64_t k;

	switch ((int)code) {
	case OP_arith_add: r = expr_add(c, a, b); break;
	case OP_arith_sub: r = d; break;
	case OP_arith_mul: r = expr_mul(c, a, b); break;
	case OP_arith_div:
	case OP_arith_rem:
		/* Towards zero equals floor for a >= 0, b > 0. */
		if (!expr_ge0(c, a) || !expr_ge0(c, expr_addc(c, b, -1)))
			return sval_unknown;
		r = code == OP_arith_div ? expr_div(c, a, b)
					 : expr_mod(c, a, b);
		break;
	case OP_arith_min: r = expr_min(c, a, b); break;
	case OP_arith_max: r = expr_max(c, a, b); break;
	case OP_arith_eq: case OP_arith_ne: case OP_arith_lt:
	case OP_arith_le: case OP_arith_gt: case OP_arith_ge:
		if (!d->n)
			return sval_int(compare(code, 0, 1));
		if (expr_ge0(c, expr_addc(c, d, -1)))
			return sval_int(compare(code, 0, 0));
		if (expr_ge0(c, expr_addc(c, expr_scale(c, d, -1), -1)))
			return sval_int(compare(code, 1, 0));
		if (code == OP_arith_ge && expr_ge0(c, d))
			return sval_int(1);
		if (code == OP_arith_lt && expr_ge0(c, d))
			return sval_int(0);
		if (code == OP_arith_le && expr_ge0(c, expr_scale(c, d, -1)))
			return sval_int(1);
		if (code == OP_arith_gt && expr_ge0(c, expr_scale(c, d, -1)))
			return sval_int(0);
		return sval_unknown;
	default: return sval_unknown;
	}
	if (expr_is_poison(r))
		return sval_unknown;
	return expr_is_const(r, &k) ? sval_int(k)
				    : (struct sval){ .e = r };
}

struct sval sval_arith2(struct eval_env *ev, const struct op *op, struct sval a,
			  struct sval b)
{
	enum dtype t = op->in[0].val->type->dtype, rt = op->out[0].type->dtype;
	union scalar r = { 0 };

	if (a.unknown || b.unknown)
		return sval_unknown;
	if (a.e || b.e)
		return t == DT_I64 || t == DT_I32 ? sym2(ev, op->code, a, b)
						  : sval_unknown;
	if (rt == DT_BOOL && op->code >= OP_arith_const &&
	    (op->code == OP_arith_eq || op->code == OP_arith_ne ||
	     op->code == OP_arith_lt || op->code == OP_arith_le ||
	     op->code == OP_arith_gt || op->code == OP_arith_ge)) {
		if (dtype_is_float(t)) {
			if (isnan(a.s.d) || isnan(b.s.d))
				r.u = op->code == OP_arith_ne;
			else
				r.u = compare(op->code, a.s.d < b.s.d,
					      a.s.d == b.s.d);
		} else {
			r.u = compare(op->code,
				      dtype_is_signed(t) ? a.s.i < b.s.i
							 : a.s.u < b.s.u,
				      a.s.u == b.s.u);
		}
		return sval_num(r);
	}
	if (dtype_is_float(t)) {
		r.d = float2(op->code, a.s.d, b.s.d);
		/* pow and double arithmetic in f32 round once. */
	} else if (op->code == OP_math_pow) {
		r.d = pow((double)a.s.i, (double)b.s.i);
		return sval_num(scalar_cast(DT_F64, t, r));
	} else {
		r.u = int2(ev, op->code, t, a.s, b.s);
	}
	return sval_num(scalar_wrap(t, r));
}

struct sval sval_arith1(const struct op *op, struct sval a)
{
	enum dtype t = op->in[0].val->type->dtype, to = op->out[0].type->dtype;
	union scalar r = a.s;

	if (a.unknown)
		return sval_unknown;
	if (op->code == OP_arith_cast) {
		if (!a.e)
			return sval_num(scalar_cast(t, to, a.s));
		return to == DT_I64 || to == DT_I32 ? a : sval_unknown;
	}
	if (a.e)
		return sval_unknown;
	if (dtype_is_float(t)) {
		r.d = libm(op->code, a.s.d);
	} else if (op->code == OP_arith_neg) {
		r.u = 0 - a.s.u;
	} else if (op->code == OP_arith_abs) {
		r.u = dtype_is_signed(t) && a.s.i < 0 ? 0 - a.s.u : a.s.u;
	} else if (op->code == OP_arith_not) {
		r.u = t == DT_BOOL ? !a.s.u : ~a.s.u;
	}
	return sval_num(scalar_wrap(t, r));
}
