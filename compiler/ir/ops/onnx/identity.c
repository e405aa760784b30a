/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/op.h"

static bool identity_decompose(struct lower *lo)
{
	lo->result[0] = lower_in(lo, 0);
	return true;
}

static struct value *identity_fold(struct lower *lo)
{
	return lower_in(lo, 0);
}

OP(Identity, .domain = "", .since = 25,
	.in = { { "input", T_ANY } },
	.out = { { "output", T_ANY } },
	.infer = infer_same,
	.decompose = identity_decompose,
	.fold = identity_fold,
	.keeps_factors = true);
