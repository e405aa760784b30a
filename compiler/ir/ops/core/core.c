/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ops of every level: the model's body, constants, and the two that tie
 * symbolic dims to run-time facts.
 */
#include "ir/op.h"

/* The model: block arguments are its inputs, core.return its outputs.  Input
 * dims that are symbols are read from the caller. */
OP(core_func, .level = LEVEL_GRAPH | LEVEL_NEST | LEVEL_LOOP, .impure = true,
	.attr = {
		/* Bytes of the arena, set by plan_memory: those known when
		 * the call begins, and all. */
		ATTR(workspace, AT_EXPRS),
		/* Accesses that check_bounds looked at, and how many of them
		 * it could not prove. */
		ATTR(checked, AT_INT),
		ATTR(guarded, AT_INT),
		ATTR(guarded_list, AT_STRS),
		/* Set by quantized_io: scale (0: none) and zero point of each
		 * input, then of each output, and what stayed float and why. */
		ATTR(io_scale, AT_FLOATS),
		ATTR(io_zero, AT_INTS),
		ATTR(io_notes, AT_STRS),
		/* How sums of integers were brought to their result's scale. */
		ATTR(requant, AT_STR),
	});

/* In the body of core.func, `names` are those of the model's outputs. */
OP(core_return, .level = LEVEL_GRAPH | LEVEL_NEST | LEVEL_LOOP,
	.impure = true,
	.attr = {
		ATTR(names, AT_STRS),
	});

OP(core_const, .level = LEVEL_GRAPH | LEVEL_NEST | LEVEL_LOOP,
	.attr = {
		ATTR(value, AT_TENSOR),
	});

/* Makes symbols of the elements of an integer tensor, or of how many of its
 * elements are counts_from, counts_from + 1 and so on.  The call ends with
 * DLRT_SHAPE where there are not as many elements as symbols for them. */
OP(core_bind, .level = LEVEL_GRAPH | LEVEL_NEST | LEVEL_LOOP, .impure = true,
	.attr = {
		ATTR(syms, AT_EXPRS),
		ATTR(counts_from, AT_INT),
	});

/* Ends the call with DLRT_SHAPE unless every zero[] is 0 and every
 * nonneg[] >= 0. */
OP(core_check, .level = LEVEL_GRAPH | LEVEL_NEST | LEVEL_LOOP, .impure = true,
	.attr = {
		ATTR(zero, AT_EXPRS),
		ATTR(nonneg, AT_EXPRS),
	});

/*
 * A recurrence over the iteration variable of its body: operands are the
 * first states, block arguments the current ones; the body yields the next
 * states, then per-step tensors.  Results: the last states, then the per-step
 * tensors stacked along a new leading dim.
 */
OP(core_scan, .level = LEVEL_NEST);
