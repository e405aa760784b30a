/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The closed set of scalar arithmetic.  Integers wrap; shifts by the width or
 * more give 0 (or the sign); an integer division by zero raises DLRT_DIVZERO
 * and gives 0, INT_MIN / -1 wraps.  Floats of 16 bits and less are computed in
 * f32 and rounded after every operation.  min and max propagate NaN.
 */
#include "ir/op.h"

#define ARITH .level = LEVEL_NEST | LEVEL_LOOP

OP(arith_const, ARITH,
	.attr = {
		ATTR(value, AT_FLOAT),
	});
/* `sum`: of a fold that is written out; its product may be contracted. */
OP(arith_add, ARITH,
	.attr = {
		ATTR(sum, AT_INT),
	});
OP(arith_sub, ARITH,
	.attr = {
		ATTR(sum, AT_INT),
	});
OP(arith_mul, ARITH);
OP(arith_div, ARITH);	/* integers: towards zero */
OP(arith_rem, ARITH);	/* sign of the dividend, C's fmod and % */
OP(arith_neg, ARITH);
OP(arith_abs, ARITH);
OP(arith_min, ARITH);
OP(arith_max, ARITH);
OP(arith_and, ARITH);
OP(arith_or, ARITH);
OP(arith_xor, ARITH);
OP(arith_not, ARITH);	/* bool: logical; integers: bitwise */
OP(arith_shl, ARITH);
OP(arith_shr, ARITH);
OP(arith_eq, ARITH);	/* ordered: false with NaN */
OP(arith_ne, ARITH);	/* unordered: true with NaN */
OP(arith_lt, ARITH);
OP(arith_le, ARITH);
OP(arith_gt, ARITH);
OP(arith_ge, ARITH);
OP(arith_select, ARITH);
OP(arith_cast, ARITH);	/* float to integer saturates, NaN gives 0 */
OP(arith_floor, ARITH);
OP(arith_ceil, ARITH);
OP(arith_round, ARITH);	/* halves to even */
OP(arith_trunc, ARITH);
OP(arith_sqrt, ARITH);
