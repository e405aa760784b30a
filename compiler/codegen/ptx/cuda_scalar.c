/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scalars as CUDA C++, with the meaning that docs/ir.md gives them: integers
 * wrap, floats round once, what C leaves undefined is spelled out.  Names that
 * begin with dl_ are those of intrinsics.cuh and prelude.cuh.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "codegen/ptx/cu.h"
#include "dlrt.h"

#define FMT(...) arena_fmt(&k->c->temp, __VA_ARGS__)

/* ---- types ---------------------------------------------------------- */

const char *cu_type(enum dtype t)
{
	unsigned bits = dtype_info[t].bits;

	if (t == DT_BOOL)
		return "bool";
	if (dtype_is_float(t))
		return t == DT_F64 ? "double" : "float";
	if (dtype_is_signed(t))
		return bits <= 8    ? "i8"
		       : bits == 16 ? "i16"
		       : bits == 32 ? "i32"
				    : "i64";
	return bits <= 8    ? "u8"
	       : bits == 16 ? "u16"
	       : bits == 32 ? "u32"
			    : "u64";
}

const char *cu_mem_type(enum dtype t)
{
	if (t == DT_BOOL || dtype_info[t].bits < 8)
		return "u8";
	if (dtype_is_narrow(t))
		return dtype_info[t].bits == 16 ? "u16" : "u8";
	return cu_type(t);
}

/* The parameters of a float of 8 or 4 bits, as the prelude takes them. */
static const char *format(struct cu *k, enum dtype t)
{
	const struct float_format *f = dtype_format(t);

	return FMT("%u, %u, %" PRIu32 "u, %" PRIu32 "u, %" PRIu32 "u, %" PRIu32
		   "u", f->frac, f->bias, f->max, f->inf, f->nan, f->sign);
}

const char *cu_from_mem(struct cu *k, enum dtype t, const char *x)
{
	if (t == DT_BOOL)
		return FMT("(%s != 0)", x);
	if (t == DT_F8E8M0)
		return FMT("dl_power_value(%s)", x);
	if (!dtype_is_narrow(t))
		return x;
	return dtype_info[t].bits == 16
		       ? FMT("dl_%s_value(%s)", dtype_info[t].name, x)
		       : FMT("dl_f8_value(%s, %s)", x, format(k, t));
}

/* An f32 to the bits of a narrower type. */
static const char *narrowed(struct cu *k, enum dtype t, const char *x)
{
	if (t == DT_F8E8M0)
		return FMT("dl_power_bits(%s)", x);
	return dtype_info[t].bits == 16
		       ? FMT("dl_%s_bits(%s)", dtype_info[t].name, x)
		       : FMT("dl_f8_bits(%s, %s)", x, format(k, t));
}

const char *cu_to_mem(struct cu *k, enum dtype t, const char *x)
{
	if (t == DT_BOOL)
		return FMT("(u8)%s", x);
	if (t == DT_BF16)
		return FMT("dl_bf16_exact(%s)", x);
	return dtype_is_narrow(t) ? narrowed(k, t, x) : x;
}

/* After an operation in f32: what the narrower type holds. */
static const char *rounded(struct cu *k, enum dtype t, const char *x)
{
	return dtype_is_narrow(t) ? cu_from_mem(k, t, narrowed(k, t, x)) : x;
}

/* After an operation on integers of at least 32 bits. */
static const char *wrapped(struct cu *k, enum dtype t, const char *x)
{
	unsigned bits = dtype_info[t].bits;

	if (bits < 8)
		return FMT("dl_wrap_%s(%s, %u)",
			   dtype_is_signed(t) ? "i" : "u", x, bits);
	return FMT("(%s)(%s)", cu_type(t), x);
}

const char *cu_literal(struct cu *k, enum dtype t, union scalar s)
{
	if (t == DT_F64)
		return isfinite(s.d) ? FMT("%.17e", s.d)
		       : isnan(s.d) ? "dl_f64(0x7ff8000000000000)"
		       : s.d > 0    ? "dl_f64(0x7ff0000000000000)"
				    : "dl_f64(0xfff0000000000000)";
	if (dtype_is_float(t))
		return isfinite((float)s.d) ? FMT("%.9ef", (double)(float)s.d)
		       : isnan(s.d) ? "dl_f32(0x7fc00000)"
		       : s.d > 0    ? "dl_f32(0x7f800000)"
				    : "dl_f32(0xff800000)";
	if (t == DT_BOOL)
		return s.u ? "true" : "false";
	return FMT("(%s)%" PRIu64 "ull", cu_type(t), s.u);
}

/* ---- arithmetic ----------------------------------------------------- */

/* The unsigned type in which integers are added and multiplied. */
static const char *ring(enum dtype t)
{
	return dtype_info[t].bits == 64 ? "u64" : "u32";
}

static const char *int2(struct cu *k, enum opcode code, enum dtype t,
			const char *a, const char *b)
{
	unsigned bits = dtype_info[t].bits;
	uint32_t at = (uint32_t)DLRT_DIVZERO | k->node << 8;
	const char *u = ring(t);
	char c = 0;

	switch ((int)code) {
	case OP_arith_add: c = '+'; break;
	case OP_arith_sub: c = '-'; break;
	case OP_arith_mul: c = '*'; break;
	case OP_arith_and: c = '&'; break;
	case OP_arith_or: c = '|'; break;
	case OP_arith_xor: c = '^'; break;
	case OP_arith_div: case OP_arith_rem:
		return wrapped(k, t, FMT("dl_%s_%s(%s, %s, status, %" PRIu32
					 "u)", code == OP_arith_div ? "div"
								    : "rem",
					 dtype_is_signed(t) ? "i" : "u", a, b,
					 at));
	case OP_arith_shl:
		return wrapped(k, t, FMT("(u64)%s < %u ? (%s)%s << (%s & 63) : "
					 "0", b, bits, u, a, b));
	case OP_arith_shr:
		if (!dtype_is_signed(t))
			return wrapped(k, t,
				       FMT("(u64)%s < %u ? (%s)%s >> (%s & 63)"
					   " : 0", b, bits, u, a, b));
		return wrapped(k, t, FMT("%s >> ((u64)%s < %u ? (int)%s : %u)",
					 a, b, bits, b, bits - 1));
	case OP_arith_min: return FMT("(%s < %s ? %s : %s)", a, b, a, b);
	case OP_arith_max: return FMT("(%s > %s ? %s : %s)", a, b, a, b);
	default: bug(&k->c->diag, "no integer %s", op_defs[code]->name);
	}
	if (t == DT_BOOL && c != '*' && c != '-')
		return FMT("(bool)(%s %c %s)", a, c, b);
	return wrapped(k, t, FMT("(%s)%s %c (%s)%s", u, a, c, u, b));
}

static const char *float2(struct cu *k, enum opcode code, enum dtype t,
			  const char *a, const char *b)
{
	const char *f = t == DT_F64 ? "" : "f";

	switch ((int)code) {
	case OP_arith_add: return FMT("%s + %s", a, b);
	case OP_arith_sub: return FMT("%s - %s", a, b);
	case OP_arith_mul: return FMT("%s * %s", a, b);
	case OP_arith_div: return FMT("%s / %s", a, b);
	case OP_arith_rem: return FMT("fmod%s(%s, %s)", f, a, b);
	case OP_arith_min: return FMT("dl_min(%s, %s)", a, b);
	case OP_arith_max: return FMT("dl_max(%s, %s)", a, b);
	/* CUDA's powf is off by up to 4 ulp. */
	case OP_math_pow:
		return FMT(t == DT_F64 ? "pow(%s, %s)"
				       : "(float)pow((double)%s, (double)%s)",
			   a, b);
	default: bug(&k->c->diag, "no float %s", op_defs[code]->name);
	}
}

const char *cu_arith2(struct cu *k, enum opcode code, enum dtype t,
		      const char *a, const char *b)
{
	if (t == DT_BOOL && code == OP_arith_add)
		code = OP_arith_or;
	if (!dtype_is_float(t))
		return int2(k, code, t, a, b);
	if (code == OP_arith_min || code == OP_arith_max)
		return float2(k, code, t, a, b);
	return rounded(k, t, float2(k, code, t, a, b));
}

const char *cu_identity(struct cu *k, enum opcode code, enum dtype t)
{
	union scalar s = { 0 };
	uint64_t max = ~UINT64_C(0) >> (64 - dtype_info[t].bits);

	if (dtype_is_float(t)) {
		s.d = code == OP_arith_mul   ? 1
		      : code == OP_arith_min ? (double)INFINITY
		      : code == OP_arith_max ? -(double)INFINITY
					     : -0.0;
		return cu_literal(k, t, s);
	}
	if (t == DT_BOOL)
		s.u = code == OP_arith_mul || code == OP_arith_and ||
		      code == OP_arith_min;
	else if (code == OP_arith_mul)
		s.u = 1;
	else if (code == OP_arith_and)
		s.u = dtype_is_signed(t) ? ~UINT64_C(0) : max;
	else if (code == OP_arith_min)
		s.u = dtype_is_signed(t) ? max >> 1 : max;
	else if (code == OP_arith_max && dtype_is_signed(t))
		s.u = ~(max >> 1);
	return cu_literal(k, t, s);
}

/* The product that a sum of a fold takes in without a rounding between. */
static struct op *contracted(struct cu *k, const struct op *op, unsigned i)
{
	enum dtype t = op->out[0].type->dtype;

	return kernel_is_sum(op) && !k->c->strict_qdq &&
			       (t == DT_F32 || t == DT_F64)
		       ? def_of(op->in[i].val, OP_arith_mul)
		       : NULL;
}

static const char *add_or_sub(struct cu *k, const struct op *op)
{
	enum dtype t = op->out[0].type->dtype;
	const char *f = t == DT_F64 ? "" : "f";
	bool sub = op->code == OP_arith_sub;
	struct op *mul;

	for (unsigned i = 2; i-- > 0;) {
		mul = contracted(k, op, i);
		if (!mul || (sub && i == 0))
			continue;
		return FMT("fma%s(%s%s, %s, %s)", f, sub ? "-" : "",
			   cu_val(k, mul->in[0].val), cu_val(k, mul->in[1].val),
			   cu_val(k, op->in[1 - i].val));
	}
	return cu_arith2(k, op->code, t, cu_val(k, op->in[0].val),
			 cu_val(k, op->in[1].val));
}

static const char *comparison(enum opcode code)
{
	switch ((int)code) {
	case OP_arith_eq: return "==";
	case OP_arith_ne: return "!=";
	case OP_arith_lt: return "<";
	case OP_arith_le: return "<=";
	case OP_arith_gt: return ">";
	case OP_arith_ge: return ">=";
	default: return NULL;
	}
}

/* ---- one operand ---------------------------------------------------- */

static const char *int_from_float(struct cu *k, enum dtype to, const char *x)
{
	unsigned bits = dtype_info[to].bits;

	/* Bounds that are exact in f32 and f64: powers of two. */
	double top = ldexp(1, (int)bits - dtype_is_signed(to));

	return FMT("dl_saturate<%s>(%s, %.17e, %.17e, (%s)%" PRIu64 "ull, (%s)%"
		   PRIu64 "ull)", cu_type(to), x,
		   dtype_is_signed(to) ? -top : 0.0, top, cu_type(to),
		   dtype_is_signed(to) ? ~UINT64_C(0) << (bits - 1) : 0,
		   cu_type(to),
		   ~UINT64_C(0) >> (64 - bits + dtype_is_signed(to)));
}

static const char *cast(struct cu *k, enum dtype from, enum dtype to,
			const char *x)
{
	if (from == to)
		return x;
	if (to == DT_BOOL)
		return FMT("(%s != 0)", x);
	if (dtype_is_float(from) && dtype_is_float(to)) {
		if (from == DT_F64 && dtype_is_narrow(to))
			return rounded(k, to, FMT("dl_f32_odd(%s)", x));
		return rounded(k, to, FMT("(%s)%s", cu_type(to), x));
	}
	if (dtype_is_float(to)) {
		/* f32 does not hold these: by way of f64, which does. */
		if (dtype_is_narrow(to) && dtype_info[from].bits == 64)
			x = FMT("(double)dl_odd(%s)", x);
		else if (dtype_is_narrow(to) && dtype_info[from].bits == 32)
			x = FMT("(double)%s", x);
		else
			return rounded(k, to, FMT("(%s)%s", cu_type(to), x));
		return rounded(k, to, FMT("dl_f32_odd(%s)", x));
	}
	return dtype_is_float(from) ? int_from_float(k, to, x)
				    : wrapped(k, to, x);
}

/* Where CUDA's own function of f32 is off by more than docs/ir.md allows, that
 * of f64 stands in. */
static const struct {
	enum opcode code;
	const char *name;
	bool by_f64;
} functions[] = {
	{ OP_arith_abs, "fabs", false },
	{ OP_arith_floor, "floor", false },
	{ OP_arith_ceil, "ceil", false },
	{ OP_arith_round, "rint", false },
	{ OP_arith_trunc, "trunc", false },
	{ OP_arith_sqrt, "sqrt", false },
	{ OP_math_exp, "exp", false },
	{ OP_math_log, "log", false },
	{ OP_math_log1p, "log1p", false },
	{ OP_math_expm1, "expm1", false },
	{ OP_math_tanh, "tanh", false },
	{ OP_math_erf, "erf", false },
	{ OP_math_sin, "sin", true },
	{ OP_math_cos, "cos", true },
	{ OP_math_tan, "tan", true },
	{ OP_math_asin, "asin", true },
	{ OP_math_acos, "acos", true },
	{ OP_math_atan, "atan", true },
};

static const char *unary(struct cu *k, enum opcode code, enum dtype t,
			 const char *x)
{
	if (code == OP_arith_not)
		return t == DT_BOOL ? FMT("!%s", x)
				    : wrapped(k, t, FMT("~(%s)%s", ring(t), x));
	if (!dtype_is_float(t)) {
		const char *neg = wrapped(k, t, FMT("0 - (%s)%s", ring(t), x));

		if (code == OP_arith_neg)
			return neg;
		return dtype_is_signed(t) ? FMT("(%s < 0 ? %s : %s)", x, neg, x)
					  : x;
	}
	if (code == OP_arith_neg)
		return FMT("-%s", x);
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		if (functions[i].code != code)
			continue;
		if (t != DT_F64 && functions[i].by_f64)
			return rounded(k, t, FMT("(float)%s((double)%s)",
						 functions[i].name, x));
		return rounded(k, t, FMT("%s%s(%s)", functions[i].name,
					 t == DT_F64 ? "" : "f", x));
	}
	bug(&k->c->diag, "no %s on a GPU", op_defs[code]->name);
}

/* ---- ops ------------------------------------------------------------ */

static const char *index_check(struct cu *k, const struct op *op)
{
	size_t n;
	const struct expr *extent = op_exprs(op, A_extent, &n)[0];

	return FMT("dl_index(%s, (i64)%s, %s, status, %" PRIu32 "u)",
		   cu_val(k, op->in[0].val), cu_expr(k, op, extent),
		   op_int(op, A_wrap) ? "true" : "false",
		   (uint32_t)DLRT_INDEX | k->node << 8);
}

static const char *result(struct cu *k, const struct op *op)
{
	enum dtype t;
	const char *x[3] = { NULL };
	size_t n;

	if (op->code == OP_nest_index)
		return index_check(k, op);
	if (op->code == OP_nest_value)
		return cu_expr(k, op, op_exprs(op, A_idx, &n)[0]);
	if (op->n_in < 1 || op->n_in > 3)
		bug(&k->c->diag, "%s inside a kernel", op_def(op)->name);
	for (unsigned i = 0; i < op->n_in; i++)
		x[i] = cu_val(k, op->in[i].val);
	t = op->in[0].val->type->dtype;
	if (op->code == OP_arith_select)
		return FMT("%s ? %s : %s", x[0], x[1], x[2]);
	if (op->code == OP_arith_cast)
		return cast(k, t, op->out[0].type->dtype, x[0]);
	if (op->n_in == 1)
		return unary(k, op->code, t, x[0]);
	if (comparison(op->code))
		return FMT("%s %s %s", x[0], comparison(op->code), x[1]);
	if (op->code == OP_arith_add || op->code == OP_arith_sub)
		return add_or_sub(k, op);
	return cu_arith2(k, op->code, t, x[0], x[1]);
}

void cu_scalar_op(struct cu *k, struct op *op)
{
	const char *r = result(k, op);

	cu_define(k, &op->out[0]);
	fprintf(k->f, "%s;\n", r);
}
