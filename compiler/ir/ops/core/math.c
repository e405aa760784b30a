/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The closed set of elementary functions; floats only.  Error bounds of the
 * generated code are in docs/ir.md; the evaluator uses libm in double.
 */
#include "ir/op.h"

#define MATH .level = LEVEL_NEST | LEVEL_LOOP

OP(math_exp, MATH);
OP(math_log, MATH);
OP(math_log1p, MATH);
OP(math_expm1, MATH);
OP(math_tanh, MATH);
OP(math_erf, MATH);
OP(math_sin, MATH);
OP(math_cos, MATH);
OP(math_tan, MATH);
OP(math_asin, MATH);
OP(math_acos, MATH);
OP(math_atan, MATH);
OP(math_pow, MATH);
