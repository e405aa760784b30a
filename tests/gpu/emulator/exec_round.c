/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floating-point operations with directed rounding, flushing of subnormals or
 * saturation, lane by lane.
 *
 * The volatile variables keep the compiler from moving an operation over a
 * change of the rounding mode.
 */
#include "half.h"
#include "round.h"

#include <fenv.h>
#include <math.h>

static int mode_of(uint8_t flags)
{
	return flags & F_RZ   ? FE_TOWARDZERO
	       : flags & F_RM ? FE_DOWNWARD
	       : flags & F_RP ? FE_UPWARD
			      : FE_TONEAREST;
}

static float arith32(int kind, float x, float y, float z)
{
	volatile float a = x, b = y, c = z, r = 0;

	switch (kind) {
	case K_ADD: r = a + b; break;
	case K_SUB: r = a - b; break;
	case K_MUL: r = a * b; break;
	case K_FMA: r = fmaf(a, b, c); break;
	case K_DIV: r = a / b; break;
	case K_RCP: r = 1.0f / a; break;
	case K_SQRT: r = sqrtf(a); break;
	}
	return r;
}

static float minmax32(bool is_max, float a, float b, bool nan)
{
	if (isnan(a) || isnan(b)) {
		if (nan || (isnan(a) && isnan(b)))
			return as_float(0x7fffffff);
		return isnan(a) ? b : a;
	}
	if (a == b)
		return !!signbit(a) == is_max ? b : a;
	return (a > b) == is_max ? a : b;
}

static float other32(int kind, float a, float b, bool nan)
{
	switch (kind) {
	case K_RSQRT: return (float)(1.0 / sqrt((double)a));
	case K_EX2: return exp2f(a);
	case K_LG2: return log2f(a);
	case K_SIN: return sinf(a);
	case K_COS: return cosf(a);
	case K_TANH: return tanhf(a);
	case K_MIN: return minmax32(false, a, b, nan);
	case K_MAX: return minmax32(true, a, b, nan);
	case K_ABS: return fabsf(a);
	default: return -a;
	}
}

void slow32(struct warp *w, const struct insn *in, uint32_t m)
{
	bool ftz = in->flags & F_FTZ, arith = in->kind <= K_SQRT;
	int n = in->kind == K_FMA ? 3 : 2, mode = mode_of(in->flags);
	float *d = reg(w, in->op[0]), v[3] = { 0 };

	for (uint32_t rest = m; rest; rest &= rest - 1) {
		int l = __builtin_ctz(rest);
		float r;

		for (int i = 0; i < n && in->op[i + 1]; i++) {
			v[i] = ((float *)reg(w, in->op[i + 1]))[l];
			v[i] = ftz ? flush(v[i]) : v[i];
		}
		if (arith && mode != FE_TONEAREST)
			fesetround(mode);
		r = arith ? arith32(in->kind, v[0], v[1], v[2])
			  : other32(in->kind, v[0], v[1], in->flags & F_NAN);
		if (arith && mode != FE_TONEAREST)
			fesetround(FE_TONEAREST);
		r = ftz ? flush(r) : r;
		if (in->flags & F_SAT)
			r = r > 0 ? (r < 1 ? r : 1) : 0;
		d[l] = r;
	}
}

static double arith64(int kind, double x, double y, double z)
{
	volatile double a = x, b = y, c = z, r = 0;

	switch (kind) {
	case K_ADD: r = a + b; break;
	case K_SUB: r = a - b; break;
	case K_MUL: r = a * b; break;
	case K_FMA: r = fma(a, b, c); break;
	case K_DIV: r = a / b; break;
	case K_RCP: r = 1.0 / a; break;
	case K_SQRT: r = sqrt(a); break;
	}
	return r;
}

void slow64(struct warp *w, const struct insn *in, uint32_t m)
{
	double *d = reg(w, in->op[0]), v[3] = { 0 };
	int n = in->kind == K_FMA ? 3 : 2;

	fesetround(mode_of(in->flags));
	for (uint32_t rest = m; rest; rest &= rest - 1) {
		int l = __builtin_ctz(rest);

		for (int i = 0; i < n && in->op[i + 1]; i++)
			v[i] = ((double *)reg(w, in->op[i + 1]))[l];
		d[l] = arith64(in->kind, v[0], v[1], v[2]);
	}
	fesetround(FE_TONEAREST);
}
