/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scalar ops of a loop body, for one iteration or for a group of lanes.
 * Nothing here traps: divisors are made non-zero, shifts bounded, float to
 * integer saturates.
 */
#include "codegen/llvm/cg.h"
#include "codegen/llvm/math.h"
#include "dlrt.h"

/* ---- status --------------------------------------------------------- */

void cg_raise(struct cg *g, LLVMValueRef cond, int status)
{
	LLVMBasicBlockRef yes = cg_block(g, "raise"), no = cg_block(g, "ok");
	LLVMValueRef code = LLVMConstInt(
		g->i32, (uint64_t)status | (uint64_t)g->node << 8, false);

	if (cg_is_vec(cond)) {
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
	const struct expr *extent = op_exprs(op, A_extent, &n)[0];
	struct cv v = cg_get(g, op->in[0].val);
	int64_t k;

	if (expr_is_const(extent, &k) &&
	    cg_is_within(op->in[0].val, 0, k - 1)) {
		cg_set(g, &op->out[0], v.v, v.vec);
		return;
	}
	struct cv e = cg_expr_lanes(g, op, extent);
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

/* ---- arithmetic ----------------------------------------------------- */

static LLVMValueRef int_div(struct cg *g, enum opcode code, enum dtype t,
			    LLVMValueRef a, LLVMValueRef d)
{
	LLVMBuilderRef b = g->b;
	LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(a));
	LLVMTypeRef et = cg_type(g, t);
	LLVMValueRef none = LLVMBuildICmp(b, LLVMIntEQ, d, zero, ""), q;

	cg_raise(g, none, DLRT_DIVZERO);
	if (!dtype_is_signed(t)) {
		d = LLVMBuildSelect(b, none, cg_konst(a, et, 1), d, "");
		q = code == OP_arith_div ? LLVMBuildUDiv(b, a, d, "")
					 : LLVMBuildURem(b, a, d, "");
		return LLVMBuildSelect(b, none, zero, q, "");
	}
	/* x / -1 = -x, which wraps for the smallest integer. */
	LLVMValueRef minus = LLVMBuildICmp(b, LLVMIntEQ, d, cg_konst(a, et, -1),
					   "");
	LLVMValueRef safe = LLVMBuildSelect(
		b, LLVMBuildOr(b, none, minus, ""), cg_konst(a, et, 1), d, "");

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
	LLVMValueRef ok = LLVMBuildICmp(b, LLVMIntULT, n, cg_konst(a, et, bits),
					"");
	LLVMValueRef k =
		LLVMBuildSelect(b, ok, n, cg_konst(a, et, bits - 1), "");

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

/* A product is contracted with an addition where both allow it: additions do
 * when they are the sum of a fold. */
static LLVMValueRef float2(struct cg *g, enum opcode code, LLVMValueRef x,
			   LLVMValueRef y, bool sum)
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
	if (LLVMIsAInstruction(r) && !g->c->strict_qdq &&
	    (sum || code == OP_arith_mul))
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
	LLVMTypeRef et = cg_is_vec(x) ? LLVMGetElementType(t) : t;
	bool dbl = et == g->f64;
	LLVMTypeRef it = dbl ? g->i64 : g->i32;
	int64_t expo = dbl ? INT64_C(0x7ff) << 52 : 0x7f800000;
	LLVMValueRef ax = emit_fabs(g, x), ay = emit_fabs(g, y);
	LLVMValueRef inf = cg_float_const(x, et, 1e300 * 1e300);
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
	LLVMValueRef any = cg_is_vec(more)
				   ? cg_call(g, "llvm.vector.reduce.or",
					     LLVMTypeOf(more), 1, &more)
				   : more;

	LLVMBuildCondBr(b, any, body, done);
	LLVMPositionBuilderAtEnd(b, body);
	/* s = |y| with the exponent of r, halved when that is too much; a
	 * denormal |y| is subtracted as it is. */
	LLVMTypeRef vit = cg_like(x, it);
	LLVMValueRef mant = LLVMBuildAnd(b, LLVMBuildBitCast(b, ay, vit, ""),
					 cg_konst(x, it, ~expo), "");
	LLVMValueRef er = LLVMBuildAnd(b, LLVMBuildBitCast(b, r, vit, ""),
				       cg_konst(x, it, expo), "");
	LLVMValueRef ey = LLVMBuildAnd(b, LLVMBuildBitCast(b, ay, vit, ""),
				       cg_konst(x, it, expo), "");
	LLVMValueRef s = LLVMBuildBitCast(b, LLVMBuildOr(b, mant, er, ""), t,
					  "");
	LLVMValueRef half = LLVMBuildFMul(b, s, cg_float_const(x, et, 0.5), "");

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
	LLVMValueRef nan = cg_float_const(x, et, 0.0);

	/* x mod inf = x for finite x falls out of the loop by itself. */
	nan = LLVMBuildFDiv(b, nan, nan, "");
	LLVMValueRef fin = LLVMBuildFCmp(b, LLVMRealORD, x, y, "");
	LLVMValueRef bad = LLVMBuildNot(b, LLVMBuildAnd(b, ok, fin, ""), "");

	return LLVMBuildSelect(b, bad, nan, res, "");
}

static LLVMValueRef arith2(struct cg *g, enum opcode code, enum dtype t,
			   LLVMValueRef a, LLVMValueRef b, bool sum)
{
	if (t == DT_BOOL && code == OP_arith_add)
		code = OP_arith_or;
	if (!dtype_is_float(t))
		return cg_wrapped(g, t, int2(g, code, t, a, b));
	return cg_rounded(g, t, float2(g, code, a, b, sum));
}

LLVMValueRef cg_arith2(struct cg *g, enum opcode code, enum dtype t,
		       LLVMValueRef a, LLVMValueRef b)
{
	return arith2(g, code, t, a, b, false);
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

/*
 * An integer as an f64 that rounds to the same half float.  What 53 bits do
 * not hold is rounded to odd, which keeps a tie from coming about.
 */
static LLVMValueRef exact_f64(struct cg *g, enum dtype from, LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef f64 = cg_like(x, g->f64);

	if (dtype_info[from].bits == 64) {
		LLVMValueRef rest = LLVMBuildAnd(
			b, x, cg_konst(x, g->i64, ODD_F64 - 1), "");
		LLVMValueRef odd = LLVMBuildOr(
			b, LLVMBuildSub(b, x, rest, ""),
			cg_konst(x, g->i64, ODD_F64), "");
		LLVMValueRef fits = LLVMBuildICmp(
			b, LLVMIntULE,
			dtype_is_signed(from)
				? LLVMBuildAdd(b, x, cg_konst(x, g->i64,
							      INT64_C(1) << 53),
					       "")
				: x,
			cg_konst(x, g->i64, INT64_C(1) << (53 +
					    dtype_is_signed(from))), "");
		LLVMValueRef exact = LLVMBuildICmp(
			b, LLVMIntEQ, rest, LLVMConstNull(LLVMTypeOf(x)), "");

		x = LLVMBuildSelect(b, LLVMBuildOr(b, fits, exact, ""), x, odd,
				    "");
	}
	return dtype_info[from].kind == DK_INT
		       ? LLVMBuildSIToFP(b, x, f64, "")
		       : LLVMBuildUIToFP(b, x, f64, "");
}

static LLVMValueRef cast(struct cg *g, enum dtype from, enum dtype to,
			 LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef t = cg_like(x, cg_type(g, to));

	if (from == to)
		return x;
	if (to == DT_BOOL) {
		LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(x));

		return dtype_is_float(from)
			       ? LLVMBuildFCmp(b, LLVMRealUNE, x, zero, "")
			       : LLVMBuildICmp(b, LLVMIntNE, x, zero, "");
	}
	if (dtype_is_float(from) && dtype_is_float(to)) {
		if (from == DT_F64 && dtype_is_narrow(to))
			return cg_rounded(g, to, cg_f32_odd(g, x));
		if (from == DT_F64)
			x = LLVMBuildFPTrunc(b, x, t, "");
		else if (to == DT_F64)
			x = LLVMBuildFPExt(b, x, t, "");
		return cg_rounded(g, to, x);
	}
	if (dtype_is_float(to)) {
		/* f32 does not hold these: by way of f64, which does. */
		if (dtype_is_narrow(to) && dtype_info[from].bits > 16)
			return cast(g, DT_F64, to, exact_f64(g, from, x));
		x = dtype_info[from].kind == DK_INT
			    ? LLVMBuildSIToFP(b, x, t, "")
			    : LLVMBuildUIToFP(b, x, t, "");
		return cg_rounded(g, to, x);
	}
	if (dtype_size(from) < dtype_size(to) || from == DT_BOOL)
		x = dtype_info[from].kind == DK_INT
			    ? LLVMBuildSExt(b, x, t, "")
			    : LLVMBuildZExt(b, x, t, "");
	if (dtype_size(from) > dtype_size(to))
		x = LLVMBuildTrunc(b, x, t, "");
	return cg_wrapped(g, to, x);
}

static LLVMValueRef unary(struct cg *g, enum opcode code, enum dtype t,
			  LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(x));

	if (code == OP_arith_not)
		return cg_wrapped(g, t, LLVMBuildNot(b, x, ""));
	if (!dtype_is_float(t)) {
		LLVMValueRef neg = cg_wrapped(g, t, LLVMBuildNeg(b, x, ""));

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
		return cg_rounded(g, t,
			       cg_call(g, "llvm.sqrt", LLVMTypeOf(x), 1, &x));
	case OP_arith_floor: case OP_arith_ceil:
	case OP_arith_round: case OP_arith_trunc:
		return emit_round(b, code, x, g->t->isa->fma);
	default: return cg_rounded(g, t, emit_math(b, code, x, NULL));
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

LLVMValueRef cg_round(struct cg *g, LLVMValueRef x)
{
	return emit_round(g->b, OP_arith_round, x, g->t->isa->fma);
}

void cg_scalar_op(struct cg *g, struct op *op)
{
	struct cv in[3];
	bool vec = false;
	size_t n;
	LLVMValueRef r;

	g->node = kernel_node(op);
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
		struct cv v = cg_expr_lanes(g, op, op_exprs(op, A_idx, &n)[0]);

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
	else if (op->code == OP_arith_cast && dtype_is_float(t) &&
		 !dtype_is_float(op->out[0].type->dtype) &&
		 op->out[0].type->dtype != DT_BOOL)
		r = cg_float_to_int(g, op, vec);
	else if (op->code == OP_arith_cast)
		r = cast(g, t, op->out[0].type->dtype, in[0].v);
	else if (op->n_in == 1)
		r = unary(g, op->code, t, in[0].v);
	else if (!(r = compare(g, op->code, t, in[0].v, in[1].v)))
		r = arith2(g, op->code, t, in[0].v, in[1].v, kernel_is_sum(op));
	cg_set(g, &op->out[0], r, vec);
}
