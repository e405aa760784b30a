/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nest level: statements over an iteration domain with a scalar body.
 *
 *	%y = nest.compute [i1 < N, i2 < 8] {
 *	  %a = nest.load(%x) {idx = [i1, i2]} : f32
 *	  nest.yield(%a)
 *	} : tensor<[N,8] f32>
 */
#include "ir/op.h"

/* Every element of the results, at the body's iteration variables, is what
 * the body yields.  Iterations are independent. */
OP(nest_compute, .level = LEVEL_NEST,
	.attr = {
		/* A schedule: a contraction whose second operand is packed
		 * into panels of that many columns (pass contract). */
		ATTR(panel, AT_INT),
		/* Which element a point is, where that is not its variables
		 * themselves (pass split). */
		ATTR(idx, AT_EXPRS),
		/* For each dim how many points are written out at once; 1 or
		 * the whole of a dim's points (pass winograd). */
		ATTR(jam, AT_INTS),
		/* How many statements that read this one follow, then pairs
		 * of a dim and how much of it is computed before they are. */
		ATTR(strip, AT_INTS),
	});

/* A fold in row-major order over the body's iteration variables; operands are
 * the first carried values, block arguments the current ones. */
OP(nest_reduce, .level = LEVEL_NEST);

OP(nest_yield, .level = LEVEL_NEST, .impure = true);

/* Element of operand 0 at idx[]; where a guard[] is negative, operand 1. */
OP(nest_load, .level = LEVEL_NEST,
	.attr = {
		ATTR(idx, AT_EXPRS),
		ATTR(guard, AT_EXPRS),
	});

/* The operand when 0 <= it < extent (after adding extent to a negative one
 * when wrap is set), else 0 and the status DLRT_INDEX. */
OP(nest_index, .level = LEVEL_NEST | LEVEL_LOOP,
	.attr = {
		ATTR(extent, AT_EXPRS),
		ATTR(wrap, AT_INT),
	});

/* The value of an index expression, as i64. */
OP(nest_value, .level = LEVEL_NEST | LEVEL_LOOP,
	.attr = {
		ATTR(idx, AT_EXPRS),
	});
