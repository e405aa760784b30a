/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests/math checks.  One row per function: name, opcode, operands, the
 * function of libm to compare with, and the bounds in units in the last place
 * for float and double.
 */
#ifndef TESTS_MATH_CASES_H
#define TESTS_MATH_CASES_H

#define MATH_CASES(X)                                  \
	X(exp, OP_math_exp, 1, expl, 2, 2)             \
	X(log, OP_math_log, 1, logl, 2, 2)             \
	X(log1p, OP_math_log1p, 1, log1pl, 2, 2)       \
	X(expm1, OP_math_expm1, 1, expm1l, 2, 3)       \
	X(tanh, OP_math_tanh, 1, tanhl, 3, 3)          \
	X(erf, OP_math_erf, 1, erfl, 3, 2)             \
	X(sin, OP_math_sin, 1, sinl, 1, 2)             \
	X(cos, OP_math_cos, 1, cosl, 1, 2)             \
	X(tan, OP_math_tan, 1, tanl, 1, 3)             \
	X(asin, OP_math_asin, 1, asinl, 1, 2)          \
	X(acos, OP_math_acos, 1, acosl, 1, 2)          \
	X(atan, OP_math_atan, 1, atanl, 1, 2)          \
	X(pow, OP_math_pow, 2, powl, 1, 2)             \
	X(floor, OP_arith_floor, 1, floorl, 0, 0)      \
	X(ceil, OP_arith_ceil, 1, ceill, 0, 0)         \
	X(round, OP_arith_round, 1, roundevenl, 0, 0)  \
	X(trunc, OP_arith_trunc, 1, truncl, 0, 0)

/* Variants of each: processor, lanes of float and double, and passes run. */
#define MATH_VARIANTS(X)                                              \
	X(base1, "x86-64", 1, 1, "")                                  \
	X(base, "x86-64", 8, 4, "default<O2>")                        \
	X(v3_1, "x86-64-v3", 1, 1, "default<O2>")                     \
	X(v3, "x86-64-v3", 8, 4, "")                                  \
	X(v4, "x86-64-v4", 16, 8, "default<O2>")

#endif
