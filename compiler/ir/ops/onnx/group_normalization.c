/* SPDX-License-Identifier: Apache-2.0 */
/*
 * InstanceNormalization and GroupNormalization: (x - mean) / deviation over
 * the elements of a channel, or of a group of channels.  Scale and bias are
 * per channel; opset 18 had them per group.
 */
#include "ir/ops/onnx/fold.h"

static bool instance_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);

	if (x->rank < 2)
		return infer_error(in, "input is %s, expected a channel dim",
				   type_str(in->ctx, x));
	return infer_dims(in, 1, 1, &x->dim[1]) &&
	       infer_dims(in, 2, 1, &x->dim[1]) && infer_same(in);
}

static bool group_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0);
	int64_t n = op_int(in->op, A_num_groups), channels;

	if (x->rank < 2)
		return infer_error(in, "input is %s, expected a channel dim",
				   type_str(c, x));
	if (n < 1 || (expr_is_const(x->dim[1], &channels) && channels % n))
		return infer_error(in, "num_groups is %lld for dim %s",
				   (long long)n, expr_str(c, x->dim[1]));
	infer_require_eq(in, expr_mod(c, x->dim[1], expr_const(c, n)),
			 expr_const(c, 0));
	for (unsigned k = 1; k < 3; k++) {
		const struct type *t = infer_type(in, k);

		if (t->rank == 1 && expr_is(t->dim[0], n))
			continue;
		if (!infer_dims(in, k, 1, &x->dim[1]))
			return false;
	}
	return infer_same(in);
}

/* A nest over [N, G], and a fold over the elements of one group. */
struct groups {
	const struct type *x;
	const struct expr *n, *size;	/* groups; channels in each */
};

/* Mean of x, or of the squared deviations from `mean`; as a [N, G]. */
static struct value *group_mean(struct lower *lo, const struct groups *g,
				enum dtype acc, struct value *mean)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0), *v, *m = NULL, *res;
	const struct expr *dim[] = { g->x->dim[0], g->n };
	const struct expr *extent[MAX_RANK], *at[MAX_RANK];
	const struct type *t = type_tensor(c, acc, 2, dim);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *count = expr_const(c, 1);

	for (unsigned i = 1; i < g->x->rank; i++) {
		extent[i - 1] = i == 1 ? g->size : g->x->dim[i];
		count = expr_mul(c, count, extent[i - 1]);
	}
	if (mean)
		m = nest_load(lo, mean, n.iv);
	v = s_const(lo, acc, 0);
	struct fold f = fold_begin(lo, g->x->rank - 1, extent, 1, &v);

	at[0] = n.iv[0];
	at[1] = expr_add(c, expr_mul(c, n.iv[1], g->size), f.iv[0]);
	for (unsigned i = 2; i < g->x->rank; i++)
		at[i] = f.iv[i - 1];
	v = load_as(lo, acc, x, at);
	if (m) {
		v = s_sub(lo, v, m);
		v = s_mul(lo, v, v);
	}
	v = s_add(lo, f.acc[0], v);
	fold_end(lo, &f, &v, &v);
	v = s_div(lo, v, s_expr(lo, acc, count));
	nest_end(lo, &n, 1, &v, &res);
	return res;
}

static bool groups_lower(struct lower *lo, const struct expr *n_groups)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0), *v, *param[2];
	const struct type *t = x->type;
	enum dtype acc = acc_dtype(t->dtype);
	struct groups g = { t, n_groups, expr_div(c, t->dim[1], n_groups) };

	if (lo->op->code == OP_GroupNormalization &&
	    op_int(lo->op, A_stash_type) == dtype_info[DT_F64].onnx)
		acc = DT_F64;
	struct value *mean = group_mean(lo, &g, acc, NULL);
	struct value *inv = inverse_root(lo, group_mean(lo, &g, acc, mean),
					 op_float(lo->op, A_epsilon));
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *at[2] = { n.iv[0], expr_div(c, n.iv[1], g.size) };

	for (unsigned k = 0; k < 2; k++) {
		struct value *p = lower_in(lo, 1 + k);
		bool by_group = p->type->dim[0] == n_groups &&
				p->type->dim[0] != t->dim[1];

		param[k] = load_as(lo, acc, p, by_group ? &at[1] : &n.iv[1]);
	}
	v = s_sub(lo, load_as(lo, acc, x, n.iv), nest_load(lo, mean, at));
	v = s_mul(lo, v, s_mul(lo, nest_load(lo, inv, at), param[0]));
	v = s_cast(lo, t->dtype, s_add(lo, v, param[1]));
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

static bool instance_lower(struct lower *lo)
{
	return groups_lower(lo, lower_type(lo, 0)->dim[1]);
}

static bool group_lower(struct lower *lo)
{
	return groups_lower(lo, expr_const(lo->b.ctx,
					   op_int(lo->op, A_num_groups)));
}

OP(InstanceNormalization, .domain = "", .since = 22,
	.in = { { "input", T_FLOAT }, { "scale", T_FLOAT | P_SAME },
		{ "B", T_FLOAT | P_SAME } },
	.out = { { "output", T_FLOAT } },
	.attr = {
		ATTR(epsilon, AT_FLOAT, .f = 1e-5),
		ATTR(consumed_inputs, AT_INTS),
	},
	.infer = instance_infer,
	.lower = instance_lower);

OP(GroupNormalization, .domain = "", .since = 21, .first = 18,
	.in = { { "X", T_FLOAT }, { "scale", T_FLOAT | P_SAME },
		{ "bias", T_FLOAT | P_SAME } },
	.out = { { "Y", T_FLOAT } },
	.attr = {
		ATTR(epsilon, AT_FLOAT, .f = 1e-5),
		ATTR(num_groups, AT_INT, .required = true),
		ATTR(stash_type, AT_INT, .i = 1),
	},
	.infer = group_infer,
	.lower = group_lower);
