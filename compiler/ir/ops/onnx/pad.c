/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pad: constant (guarded loads), edge, reflect or wrap; negative pads crop.
 */
#include <string.h>

#include "ir/ops/onnx/movement.h"

struct pad {
	const struct expr *lo[MAX_RANK], *hi[MAX_RANK];
};

/* Shared by inference and meaning; false after an error. */
static bool pad_read(struct infer *in, struct pad *p)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0);
	struct axes axes = { .n = x->rank };
	size_t n;
	bool some = infer_has(in, 3);

	if (some && !infer_axes(in, 3, x->rank, &axes))
		return false;
	const struct expr **e = infer_list(in, 1, 2 * axes.n, &n);

	if (!e)
		return false;
	if (n != 2 * axes.n)
		return infer_error(in, "%zu pads for %zu axes", n, axes.n);
	for (unsigned i = 0; i < x->rank; i++) {
		p->lo[i] = some ? expr_const(c, 0) : e[i];
		p->hi[i] = some ? expr_const(c, 0) : e[i + x->rank];
		for (size_t k = 0; some && k < axes.n; k++) {
			const struct expr *hit = axes.hit[k][i];

			p->lo[i] = expr_add(c, p->lo[i],
					    expr_mul(c, hit, e[k]));
			p->hi[i] = expr_add(c, p->hi[i],
					    expr_mul(c, hit, e[k + axes.n]));
		}
	}
	return true;
}

static bool pad_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0), *k = infer_type(in, 2);
	const char *mode = op_str(in->op, A_mode);
	const struct expr *dim[MAX_RANK];
	bool constant = !strcmp(mode, "constant");
	struct pad p;

	if (!constant && strcmp(mode, "edge") && strcmp(mode, "reflect") &&
	    strcmp(mode, "wrap"))
		return infer_error(in, "unknown mode '%s'", mode);
	if (k && !expr_is(type_elems(c, k), 1))
		return infer_error(in, "constant_value must be a scalar, is %s",
				   type_str(c, k));
	if (!pad_read(in, &p))
		return false;
	for (unsigned i = 0; i < x->rank; i++) {
		const struct expr *more = expr_add(c, p.lo[i], p.hi[i]);

		dim[i] = expr_add(c, x->dim[i], more);
		if (!infer_require_ge0(in, dim[i], "pads crop more than there "
						   "is"))
			return false;
		dim[i] = infer_dim(c, dim[i]);
		/* Only the constant can fill a dim without elements. */
		if (!constant && dim[i] != x->dim[i] &&
		    !infer_require_ge0(in, expr_addc(c, x->dim[i], -1),
				       "an empty dim cannot be padded"))
			return false;
	}
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

/* Reflection about both ends; the period covers pads wider than the dim. */
static const struct expr *reflect(struct ctx *c, const struct expr *i,
				  const struct expr *dim,
				  const struct expr *lo, const struct expr *hi)
{
	const struct expr *end = expr_addc(c, dim, -1), *m;

	if (expr_ge0(c, expr_sub(c, end, lo)) &&
	    expr_ge0(c, expr_sub(c, end, hi))) {
		/* At most one reflection at either end. */
		m = expr_max(c, i, expr_scale(c, i, -1));
		return expr_min(c, m, expr_sub(c, expr_scale(c, end, 2), m));
	}
	m = expr_scale(c, end, 2);
	i = expr_mod(c, i, expr_max(c, m, expr_const(c, 1)));
	return expr_min(c, i, expr_sub(c, m, i));
}

static const struct expr *source(struct ctx *c, const char *mode,
				 const struct expr *i, const struct expr *dim,
				 const struct expr *lo, const struct expr *hi)
{
	const struct expr *zero = expr_const(c, 0);

	if (*mode == 'e')
		return expr_min(c, expr_max(c, i, zero),
				expr_addc(c, dim, -1));
	return *mode == 'w' ? expr_mod(c, i, dim) : reflect(c, i, dim, lo, hi);
}

static bool pad_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0), *fill = NULL;
	const struct type *t = lower_type(lo, 0);
	const char *mode = op_str(lo->op, A_mode);
	struct infer in = { c, lo->op, NULL };
	const struct expr *idx[MAX_RANK], *guard[2 * MAX_RANK];
	unsigned n_guard = 0;
	struct pad p;

	if (!pad_read(&in, &p))
		return false;
	struct nest n = nest_begin(lo, 1, &t);

	if (*mode == 'c')
		fill = lower_in(lo, 2)
			       ? nest_load_broadcast(lo, lower_in(lo, 2), 0,
						     NULL)
			       : s_const(lo, t->dtype, 0);
	for (unsigned i = 0; i < t->rank; i++) {
		const struct expr *dim = x->type->dim[i];

		idx[i] = expr_sub(c, n.iv[i], p.lo[i]);
		if (fill) {
			guard[n_guard++] = idx[i];
			guard[n_guard++] = expr_addc(
				c, expr_sub(c, dim, idx[i]), -1);
		} else if (!expr_is(p.lo[i], 0) || !expr_is(p.hi[i], 0)) {
			idx[i] = source(c, mode, idx[i], dim, p.lo[i],
					p.hi[i]);
		}
	}
	struct value *v = nest_load_guarded(lo, x, idx, n_guard, guard, fill);

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

/* Before opset 11 pads and the value are attributes. */
static bool pad_older(struct older *o)
{
	const struct attr *value = older_attr(o, A_value);

	if (!older_attr_to_input(o, A_pads, 1))
		return false;
	if (value && o->n_in == 2 && o->in[0])
		o->in[o->n_in++] = build_scalar_const(
			&o->b, o->in[0]->type->dtype, value->f);
	older_drop_attr(o, A_value);
	return true;
}

OP(Pad, .domain = "", .since = 25,
	.in = { { "data", T_ANY }, { "pads", T(I64) },
		{ "constant_value", T_ANY | P_SAME | P_OPTIONAL },
		{ "axes", T_INDEX | P_OPTIONAL } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(mode, AT_STR, .s = "constant"),
		ATTR(pads, AT_INTS),
		ATTR(value, AT_FLOAT),
	},
	.infer = pad_infer,
	.lower = pad_lower,
	.older = pad_older);
