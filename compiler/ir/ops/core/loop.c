/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop level: buffers, loops, kernels.  A buffer is a tensor-typed value;
 * its memory is described by value->layout.
 */
#include "ir/op.h"

/* Memory of the call: `offset` bytes into the workspace (set by the memory
 * plan), or output number `output` when that is set. */
OP(mem_alloc, .level = LEVEL_LOOP,
	.attr = {
		ATTR(offset, AT_EXPRS),
		ATTR(output, AT_INT, .i = -1),
	});

/* A region that runs for every point of its block's iteration variables, in
 * any order and on any threads; `grain` points at least per task.  In calls
 * where one of `when` is negative it does not run. */
OP(loop_kernel, .level = LEVEL_LOOP, .impure = true,
	.attr = {
		ATTR(grain, AT_INT, .i = 1),
		ATTR(when, AT_EXPRS),
	});

/* Runs its body in order of its one iteration variable, on the caller's
 * thread; the body holds kernels. */
OP(loop_seq, .level = LEVEL_LOOP, .impure = true);

/*
 * A loop inside a kernel.  Operands and block arguments are carried scalars.
 * width > 1: iterations may run in groups of that many lanes, `unroll` groups
 * at once; carried values are then combined by the fold that the yielded
 * values state (add, mul, min, max, and, or of the argument).  width = 1 and
 * an unroll equal to the extent: the steps are written out.
 */
OP(loop_for, .level = LEVEL_LOOP,
	.attr = {
		ATTR(width, AT_INT, .i = 1),
		ATTR(unroll, AT_INT, .i = 1),
	});

OP(loop_yield, .level = LEVEL_LOOP, .impure = true);

/* As nest.load and its counterpart; the stored value comes first. */
OP(mem_load, .level = LEVEL_LOOP,
	.attr = {
		ATTR(idx, AT_EXPRS),
		ATTR(guard, AT_EXPRS),
	});
OP(mem_store, .level = LEVEL_LOOP, .impure = true,
	.attr = {
		ATTR(idx, AT_EXPRS),
		ATTR(guard, AT_EXPRS),
	});

/*
 * A register tile of a contraction: for rows m0..m0+mr and columns n0..n0+nr
 *
 *	acc = sum over the k variables of A[a_idx] * P[b_idx]
 *
 * then the body once per element with acc as its argument.  The block's
 * variables are m, n and then the k's, outermost first.  P is packed so that
 * its last index runs over the columns of one panel.  With a `group`, the last
 * k counts the products of small integers that one instruction adds; it is
 * the last index of P, and steps through consecutive elements of A.
 *
 * With a third operand S, and perhaps a fourth Z, the element of P is
 * (P - Z) * S, of which S and Z have one for each column and block of steps;
 * it is rounded to a half float where `round` names one.
 * A group are then the numbers in a lane of 32 bits of P.
 *
 * With `chains` the third operand has the numbers of P in another order; see
 * pass chain.
 */
OP(kern_contract, .level = LEVEL_LOOP, .impure = true,
	.attr = {
		ATTR(a_idx, AT_EXPRS),
		ATTR(b_idx, AT_EXPRS),
		ATTR(s_idx, AT_EXPRS),		/* of scale and zero point */
		ATTR(round, AT_INT),		/* ONNX's code of a type */
		ATTR(origin, AT_EXPRS),		/* m0, n0, columns left */
		ATTR(mr, AT_INT),
		ATTR(nr, AT_INT),
		ATTR(group, AT_INT, .i = 1),
		ATTR(chains, AT_INT),
	});

/*
 * A tile of a contraction that a block of threads computes:
 *
 *	acc = sum over k of a[m, k] * b[n, k]
 *
 * for m < mr and n < nr.  Three regions: over m and k, yields a; over n and k,
 * yields b; over m and n, with acc as its argument, stores what comes of it.
 * The elements of kr steps of k are in shared memory at once; the order in
 * which they are loaded follows a_along_k, b_along_k: 1 where neighbours in k
 * are neighbours in memory.  a and b have the type of acc, or are half floats
 * where acc is f32, or bytes where it is i32: these go to tensor cores, and so
 * does f32 with another `fp32` than 0 (enum fp32_form).  a_vector or b_vector
 * above 1: the region is one mem.load, and that many neighbours, 16 bytes, can
 * be loaded at once.
 */
OP(kern_tile, .level = LEVEL_LOOP, .impure = true,
	.attr = {
		ATTR(mr, AT_INT),
		ATTR(nr, AT_INT),
		ATTR(kr, AT_INT),
		ATTR(a_along_k, AT_INT),
		ATTR(b_along_k, AT_INT),
		ATTR(a_vector, AT_INT, .i = 1),
		ATTR(b_vector, AT_INT, .i = 1),
		ATTR(fp32, AT_INT),
	});

/*
 * Attention for mr queries, which a block of threads computes in one walk over
 * all keys, nr at a time:
 *
 *	s[m, n] = score of (sum over d of q[m, d] * k[n, d])
 *	e[m, n] = exp(s[m, n] - max over n of s[m, n])
 *	sum[m, e] = sum over n of e[m, n] * v[n, e]
 *	total[m] = sum over n of e[m, n]
 *
 * Five regions: over m and d, yields q; over n and d, yields k; over m and n,
 * with the sum of products as its argument, yields the score; over n and e,
 * yields v; over m and e, with sum and total as its arguments, stores what
 * comes of them.  Only those over m and n, and those over n, depend on n, of
 * which there are as many as keys.  Scores and sums are f32; q, k and v are
 * f32, or all the same half float, which go to tensor cores, as f32 does with
 * another `fp32` than 0; the exponentials are rounded as the others, then.
 * `along` says of q, k and v whether neighbours of their second variable are
 * neighbours in memory, `vector` how many elements can be loaded at once, as of
 * kern.tile.  With `seen` the scores of keys from that number on are -inf for
 * all queries of the tile.
 *
 * Of up to 8 queries no product goes to tensor cores: some lanes of a warp take
 * a key together, nr of them at a time.
 *
 * With `first` it is a part of the keys that is walked over, from that number
 * on and up to `seen`: maximum, sum and total are the part's.  A sixth region,
 * over m, has the maximum and the total as its arguments and stores them.  Of
 * no keys, or where all scores are -inf, the maximum is -inf and the sums are
 * 0.
 */
OP(kern_attend, .level = LEVEL_LOOP, .impure = true,
	.attr = {
		ATTR(mr, AT_INT),
		ATTR(nr, AT_INT),
		ATTR(along, AT_INTS),
		ATTR(vector, AT_INTS),
		ATTR(fp32, AT_INT),
		ATTR(first, AT_EXPRS),
		ATTR(seen, AT_EXPRS),
	});
