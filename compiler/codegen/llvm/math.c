/* SPDX-License-Identifier: Apache-2.0 */
/* Elementary functions as LLVM IR: what they are built of, and rounding. */
#include "codegen/llvm/math.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "codegen/llvm/math_emit.h"

/* ---- types and constants -------------------------------------------- */

static struct math make(LLVMBuilderRef b, LLVMContextRef c, bool wide,
			unsigned lanes)
{
	struct math m = { .b = b, .lanes = lanes, .wide = wide };

	m.fp = wide ? LLVMDoubleTypeInContext(c) : LLVMFloatTypeInContext(c);
	m.bits = LLVMIntTypeInContext(c, wide ? 64 : 32);
	if (lanes) {
		m.fp = LLVMVectorType(m.fp, lanes);
		m.bits = LLVMVectorType(m.bits, lanes);
	}
	return m;
}

struct math math_of(LLVMBuilderRef b, LLVMTypeRef t)
{
	bool vec = LLVMGetTypeKind(t) == LLVMVectorTypeKind;
	LLVMTypeKind kind =
		LLVMGetTypeKind(vec ? LLVMGetElementType(t) : t);

	assert(kind == LLVMFloatTypeKind || kind == LLVMDoubleTypeKind);
	return make(b, LLVMGetTypeContext(t), kind == LLVMDoubleTypeKind,
		    vec ? LLVMGetVectorSize(t) : 0);
}

struct math math_wide(const struct math *m)
{
	return make(m->b, LLVMGetTypeContext(m->fp), true, m->lanes);
}

val m_to(const struct math *m, val x)
{
	return LLVMBuildFPCast(m->b, x, m->fp, "");
}

val m_fp(const struct math *m, double v)
{
	return LLVMConstReal(m->fp, v);
}

val m_int(const struct math *m, uint64_t v)
{
	LLVMTypeRef i32, elem;
	val one, mask;

	if (!m->lanes)
		return LLVMConstInt(m->bits, v, false);
	i32 = LLVMInt32TypeInContext(LLVMGetTypeContext(m->fp));
	elem = LLVMGetElementType(m->bits);
	mask = LLVMConstNull(LLVMVectorType(i32, m->lanes));
	one = LLVMConstInsertElement(LLVMGetPoison(m->bits),
				     LLVMConstInt(elem, v, false),
				     LLVMConstInt(i32, 0, false));
	return LLVMConstShuffleVector(one, LLVMGetPoison(m->bits), mask);
}

/* ---- arithmetic ----------------------------------------------------- */

val m_add(const struct math *m, val a, val b)
{
	return LLVMBuildFAdd(m->b, a, b, "");
}

val m_sub(const struct math *m, val a, val b)
{
	return LLVMBuildFSub(m->b, a, b, "");
}

val m_mul(const struct math *m, val a, val b)
{
	return LLVMBuildFMul(m->b, a, b, "");
}

val m_div(const struct math *m, val a, val b)
{
	return LLVMBuildFDiv(m->b, a, b, "");
}

/* The builder folds constants, which take no flags. */
static val contract(val v)
{
	if (LLVMIsAInstruction(v))
		LLVMSetFastMathFlags(v, LLVMFastMathAllowContract);
	return v;
}

val m_fma(const struct math *m, val a, val b, val c)
{
	val p = contract(LLVMBuildFMul(m->b, a, b, ""));

	return contract(LLVMBuildFAdd(m->b, p, c, ""));
}

val m_fnma(const struct math *m, val a, val b, val c)
{
	val p = contract(LLVMBuildFMul(m->b, a, b, ""));

	return contract(LLVMBuildFSub(m->b, c, p, ""));
}

static val intrinsic(const struct math *m, const char *name, unsigned n,
		     val *arg)
{
	LLVMBasicBlockRef block = LLVMGetInsertBlock(m->b);
	LLVMModuleRef mod =
		LLVMGetGlobalParent(LLVMGetBasicBlockParent(block));
	LLVMTypeRef t = m->fp;
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	val fn = LLVMGetIntrinsicDeclaration(mod, id, &t, 1);
	LLVMTypeRef type =
		LLVMIntrinsicGetType(LLVMGetTypeContext(t), id, &t, 1);

	return LLVMBuildCall2(m->b, type, fn, arg, n, "");
}

val m_abs(const struct math *m, val a)
{
	return intrinsic(m, "llvm.fabs", 1, &a);
}

val m_sqrt(const struct math *m, val a)
{
	return intrinsic(m, "llvm.sqrt", 1, &a);
}

val m_copysign(const struct math *m, val magnitude, val sign)
{
	return intrinsic(m, "llvm.copysign", 2, (val[]){ magnitude, sign });
}

val m_poly_n(const struct math *m, val x, size_t n, const double *c)
{
	val r = m_fp(m, c[0]);

	for (size_t i = 1; i < n; i++)
		r = m_fma(m, r, x, m_fp(m, c[i]));
	return r;
}

/* ---- comparisons and choice ----------------------------------------- */

val m_lt(const struct math *m, val a, val b)
{
	return LLVMBuildFCmp(m->b, LLVMRealOLT, a, b, "");
}

val m_gt(const struct math *m, val a, val b)
{
	return LLVMBuildFCmp(m->b, LLVMRealOGT, a, b, "");
}

val m_ge(const struct math *m, val a, val b)
{
	return LLVMBuildFCmp(m->b, LLVMRealOGE, a, b, "");
}

val m_eq(const struct math *m, val a, val b)
{
	return LLVMBuildFCmp(m->b, LLVMRealOEQ, a, b, "");
}

val m_nan(const struct math *m, val a, val b)
{
	return LLVMBuildFCmp(m->b, LLVMRealUNO, a, b, "");
}

val m_select(const struct math *m, val cond, val a, val b)
{
	return LLVMBuildSelect(m->b, cond, a, b, "");
}

val m_clamp(const struct math *m, val x, double lo, double hi)
{
	val l = m_fp(m, lo), h = m_fp(m, hi);

	/* x stands last, as minps and maxps return the second of a NaN. */
	x = m_select(m, m_lt(m, h, x), h, x);
	return m_select(m, m_gt(m, l, x), l, x);
}

/* ---- bits ----------------------------------------------------------- */

val m_bits(const struct math *m, val x)
{
	return LLVMBuildBitCast(m->b, x, m->bits, "");
}

val m_float(const struct math *m, val x)
{
	return LLVMBuildBitCast(m->b, x, m->fp, "");
}

val m_iadd(const struct math *m, val a, val b)
{
	return LLVMBuildAdd(m->b, a, b, "");
}

val m_isub(const struct math *m, val a, val b)
{
	return LLVMBuildSub(m->b, a, b, "");
}

val m_and(const struct math *m, val a, val b)
{
	return LLVMBuildAnd(m->b, a, b, "");
}

val m_or(const struct math *m, val a, val b)
{
	return LLVMBuildOr(m->b, a, b, "");
}

val m_xor(const struct math *m, val a, val b)
{
	return LLVMBuildXor(m->b, a, b, "");
}

val m_shl(const struct math *m, val a, unsigned n)
{
	return LLVMBuildShl(m->b, a, m_int(m, n), "");
}

val m_shr(const struct math *m, val a, unsigned n)
{
	return LLVMBuildLShr(m->b, a, m_int(m, n), "");
}

/*
 * Two factors, as one cannot hold 2^n for all n.  The low bits of ti are
 * n + 2 bias; its half, and what is left, are the exponents of the factors.
 * Bits above the exponent's fall out at the left.
 */
val m_scale(const struct math *m, val p, val ti)
{
	unsigned mant = m_mant(m);
	val half = m_shr(m, ti, 1);
	val a = m_float(m, m_shl(m, half, mant));
	val b = m_float(m, m_shl(m, m_isub(m, ti, half), mant));

	return m_mul(m, m_mul(m, p, a), b);
}

val m_split(const struct math *m, val x, double low, val *k)
{
	unsigned mant = m_mant(m);
	double bias = m->wide ? 1023 : 127;
	uint64_t one = (uint64_t)bias << mant, from;
	double base = ldexp(1, (int)mant);
	val tiny = m_lt(m, x, m_fp(m, m->wide ? 0x1p-1022 : 0x1p-126));
	val big = m_mul(m, x, m_fp(m, base)), i, e;
	float low32 = (float)low;
	uint32_t from32;

	memcpy(&from, &low, sizeof(from));
	memcpy(&from32, &low32, sizeof(from32));
	if (!m->wide)
		from = from32;
	i = m_bits(m, m_select(m, tiny, big, x));
	i = m_iadd(m, i, m_int(m, one - from));
	/* An integer below 2^mant plus 2^mant, as floating point. */
	e = m_or(m, m_shr(m, i, mant), m_int(m, (uint64_t)(bias + mant)
					     << mant));
	*k = m_sub(m, m_float(m, e),
		   m_select(m, tiny, m_fp(m, base + bias + mant),
			    m_fp(m, base + bias)));
	i = m_and(m, i, m_int(m, ((uint64_t)1 << mant) - 1));
	return m_float(m, m_iadd(m, i, m_int(m, from)));
}

/* ---- rounding ------------------------------------------------------- */

LLVMValueRef emit_round(LLVMBuilderRef b, enum opcode code, LLVMValueRef x,
			bool has_sse41)
{
	const struct math mm = math_of(b, LLVMTypeOf(x)), *m = &mm;
	val zero = m_fp(m, 0), one = m_fp(m, 1), limit, a, r;

	if (has_sse41)
		return intrinsic(m, code == OP_arith_floor ? "llvm.floor" :
				    code == OP_arith_ceil ? "llvm.ceil" :
				    code == OP_arith_trunc ? "llvm.trunc" :
				    "llvm.roundeven", 1, &x);
	/* From 2^mantissa on everything is an integer; so is nothing, NaN. */
	limit = m_fp(m, m->wide ? 0x1p52 : 0x1p23);
	a = m_abs(m, x);
	r = m_sub(m, m_add(m, a, limit), limit);
	if (code == OP_arith_trunc) {
		r = m_sub(m, r, m_select(m, m_gt(m, r, a), one, zero));
	} else {
		r = m_copysign(m, r, x);
		if (code == OP_arith_floor)
			r = m_sub(m, r, m_select(m, m_gt(m, r, x), one, zero));
		else if (code == OP_arith_ceil)
			r = m_add(m, r, m_select(m, m_lt(m, r, x), one, zero));
	}
	return m_select(m, m_lt(m, a, limit), m_copysign(m, r, x), x);
}

/* ---- choice of the function ----------------------------------------- */

typedef val unary(const struct math *m, val x);

/* Without a function of its own, float is computed in double. */
struct row {
	unary *f32, *f64;
};

static const struct row table[OP_COUNT] = {
	[OP_math_exp] = { m_exp, m_exp },
	[OP_math_log] = { m_log, m_log },
	[OP_math_log1p] = { m_log1p, m_log1p },
	[OP_math_expm1] = { m_expm1, m_expm1 },
	[OP_math_tanh] = { m_tanh, m_tanh },
	[OP_math_erf] = { m_erf_f32, m_erf_f64 },
	[OP_math_sin] = { m_sin, m_sin },
	[OP_math_cos] = { m_cos, m_cos },
	[OP_math_tan] = { m_tan, m_tan },
	[OP_math_asin] = { NULL, m_asin },
	[OP_math_acos] = { NULL, m_acos },
	[OP_math_atan] = { NULL, m_atan },
};

LLVMValueRef emit_math(LLVMBuilderRef b, enum opcode code, LLVMValueRef x,
		       LLVMValueRef y)
{
	struct math m = math_of(b, LLVMTypeOf(x)), w;

	if (code == OP_math_pow)
		return m.wide ? m_pow_f64(&m, x, y) : m_pow_f32(&m, x, y);
	assert(table[code].f64);
	if (m.wide)
		return table[code].f64(&m, x);
	if (table[code].f32)
		return table[code].f32(&m, x);
	w = math_wide(&m);
	return m_to(&m, table[code].f64(&w, m_to(&w, x)));
}
