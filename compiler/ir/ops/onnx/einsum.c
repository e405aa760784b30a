/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Einsum: sums of products by labelled dims.  Operands are contracted from
 * left to right; a label is summed by the last contraction that needs it, so
 * chains of products stay polynomial and each step is a contraction.
 */
#include <string.h>

#include "ir/ops/onnx/fold.h"

/* Letters, then the dims of "...", numbered from the last one backwards. */
enum { N_LETTER = 52, N_LABEL = N_LETTER + MAX_RANK };

struct labels {
	unsigned n;
	uint8_t id[MAX_RANK];
};

struct einsum {
	unsigned n;			/* operands */
	unsigned n_dots;		/* dims that "..." stands for */
	bool dots;			/* does an operand have it? */
	struct labels *in, out;
	const struct expr *extent[N_LABEL];
	unsigned count[N_LABEL];	/* of uses in the operands */
};

static bool add_label(struct infer *in, struct labels *l, unsigned id)
{
	if (l->n == MAX_RANK)
		return infer_unsupported(in, "the equation has a term of more "
					 "than %d labels", MAX_RANK);
	l->id[l->n++] = (uint8_t)id;
	return true;
}

/*
 * Reads one term up to `stop` or the end.  n_dots is what "..." stands for;
 * has_dots reports it.
 */
static bool read_term(struct infer *in, const char **text, unsigned n_dots,
		      struct labels *l, bool *has_dots)
{
	const char *s = *text;

	*has_dots = false;
	l->n = 0;
	for (; *s && *s != ',' && strncmp(s, "->", 2); s++) {
		if (*s == ' ')
			continue;
		if (!strncmp(s, "...", 3) && !*has_dots) {
			*has_dots = true;
			s += 2;
			for (unsigned i = n_dots; i-- > 0;)
				if (!add_label(in, l, N_LETTER + i))
					return false;
			continue;
		}
		if (*s >= 'A' && *s <= 'Z') {
			if (!add_label(in, l, (unsigned)(*s - 'A')))
				return false;
		} else if (*s >= 'a' && *s <= 'z') {
			if (!add_label(in, l, (unsigned)(*s - 'a') + 26))
				return false;
		} else {
			return infer_error(in, "the equation has an unexpected "
					   "character at '%.20s'", s);
		}
	}
	*text = s;
	return true;
}

/* The extent of a label is that of all dims that have it; 1 broadcasts. */
static bool unify(struct infer *in, struct einsum *e, unsigned id,
		  const struct expr *dim)
{
	const struct expr **x = &e->extent[id];

	e->count[id]++;
	if (!*x || expr_is(*x, 1)) {
		*x = dim;
		return true;
	}
	if (expr_is(dim, 1))
		return true;
	return infer_dims_agree(in, dim, *x, "a dim of a label");
}

static bool read_operands(struct infer *in, struct einsum *e,
			  const char **text)
{
	for (unsigned k = 0; k < e->n; k++) {
		const struct type *t = infer_type(in, k);
		const char *again = *text;
		struct labels *l = &e->in[k];
		bool dots;

		if (!t)
			return infer_error(in, "operand %u is missing", k);
		if (!read_term(in, text, 0, l, &dots))
			return false;
		if (dots && t->rank >= l->n) {
			unsigned n = t->rank - l->n;

			e->dots = true;
			if (n > e->n_dots)
				e->n_dots = n;
			if (!read_term(in, &again, n, l, &dots))
				return false;
		}
		if (l->n != t->rank)
			return infer_error(in, "operand %u has rank %u, its "
					   "term has %u labels", k, t->rank,
					   l->n);
		for (unsigned i = 0; i < l->n; i++)
			if (!unify(in, e, l->id[i], t->dim[i]))
				return false;
		if ((**text == ',') != (k + 1 < e->n))
			return infer_error(in, "the equation does not have %u "
					   "terms", e->n);
		*text += **text == ',';
	}
	return true;
}

/* Without "->": the dims of "...", then labels that occur once. */
static bool implicit_output(struct infer *in, struct einsum *e)
{
	for (unsigned i = e->n_dots; i-- > 0;)
		if (!add_label(in, &e->out, N_LETTER + i))
			return false;
	for (unsigned id = 0; id < N_LETTER; id++)
		if (e->count[id] == 1 && !add_label(in, &e->out, id))
			return false;
	return true;
}

static bool explicit_output(struct infer *in, struct einsum *e,
			    const char *text)
{
	bool seen[N_LABEL] = { false }, dots;

	if (!read_term(in, &text, e->n_dots, &e->out, &dots))
		return false;
	if (*text)
		return infer_error(in, "the equation goes on at '%.20s'", text);
	if (dots != e->dots && e->n_dots)
		return infer_error(in, "'...' is missing in the result of the "
				   "equation");
	for (unsigned i = 0; i < e->out.n; i++) {
		unsigned id = e->out.id[i];

		if (seen[id] || !e->extent[id])
			return infer_error(in, "label %u of the result is %s",
					   i, seen[id] ? "repeated"
						       : "not in an operand");
		seen[id] = true;
	}
	return true;
}

static bool read_equation(struct infer *in, struct einsum *e)
{
	const char *text = op_str(in->op, A_equation);
	unsigned distinct = 0;

	*e = (struct einsum){ .n = in->op->n_in };
	e->in = NEW_ARRAY(&in->ctx->temp, e->n, struct labels);
	if (!read_operands(in, e, &text))
		return false;
	for (unsigned id = 0; id < N_LABEL; id++)
		distinct += e->extent[id] != NULL;
	if (distinct > MAX_RANK)
		return infer_unsupported(in, "the equation has %u labels",
					 distinct);
	return strncmp(text, "->", 2) ? implicit_output(in, e)
				      : explicit_output(in, e, text + 2);
}

static bool einsum_infer(struct infer *in)
{
	const struct expr *dim[MAX_RANK];
	struct einsum e;

	if (!read_equation(in, &e))
		return false;
	for (unsigned i = 0; i < e.out.n; i++)
		dim[i] = e.extent[e.out.id[i]];
	infer_set(in, 0, infer_type(in, 0)->dtype, e.out.n, dim);
	return true;
}

static void mark(bool *set, const struct labels *l)
{
	for (unsigned i = 0; i < l->n; i++)
		set[l->id[i]] = true;
}

/* Labels of the result after operand k: those still needed later. */
static struct labels kept(const struct einsum *e, const bool *present,
			  unsigned k)
{
	bool later[N_LABEL] = { false };
	struct labels l = { 0 };

	if (k + 1 == e->n)
		return e->out;
	mark(later, &e->out);
	for (unsigned i = k + 1; i < e->n; i++)
		mark(later, &e->in[i]);
	for (unsigned id = 0; id < N_LABEL; id++)
		if (present[id] && later[id])
			l.id[l.n++] = (uint8_t)id;
	return l;
}

static struct value *load_labels(struct lower *lo, enum dtype acc,
				 struct value *x, const struct labels *l,
				 const struct expr *const *at)
{
	const struct expr *idx[MAX_RANK];

	for (unsigned i = 0; i < l->n; i++)
		idx[i] = expr_is(x->type->dim[i], 1) ? expr_const(lo->b.ctx, 0)
						     : at[l->id[i]];
	return load_as(lo, acc, x, idx);
}

/* The sum of a * b (b may be NULL) over the labels that `out` lacks. */
static struct value *contract(struct lower *lo, const struct einsum *e,
			      struct value *a, const struct labels *la,
			      struct value *b, const struct labels *lb,
			      const struct labels *out, enum dtype t)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *dim[MAX_RANK], *extent[MAX_RANK], *at[N_LABEL];
	bool present[N_LABEL] = { false }, stays[N_LABEL] = { false };
	enum dtype acc = acc_dtype(t);
	unsigned n_sum = 0;
	struct value *v, *res;

	mark(present, la);
	if (b)
		mark(present, lb);
	mark(stays, out);
	for (unsigned i = 0; i < out->n; i++)
		dim[i] = e->extent[out->id[i]];
	for (unsigned id = 0; id < N_LABEL; id++)
		if (present[id] && !stays[id])
			extent[n_sum++] = e->extent[id];
	const struct type *type = type_tensor(c, t, out->n, dim);
	struct nest n = nest_begin(lo, 1, &type);

	v = s_const(lo, acc, 0);
	struct fold f = fold_begin(lo, n_sum, extent, 1, &v);

	for (unsigned i = 0; i < out->n; i++)
		at[out->id[i]] = n.iv[i];
	n_sum = 0;
	for (unsigned id = 0; id < N_LABEL; id++)
		if (present[id] && !stays[id])
			at[id] = f.iv[n_sum++];
	v = load_labels(lo, acc, a, la, at);
	if (b)
		v = s_mul(lo, v, load_labels(lo, acc, b, lb, at));
	v = s_add(lo, f.acc[0], v);
	fold_end(lo, &f, &v, &v);
	v = s_cast(lo, t, v);
	nest_end(lo, &n, 1, &v, &res);
	return res;
}

static bool einsum_lower(struct lower *lo)
{
	const struct type *types[MAX_OUTS] = { NULL };
	struct infer in = { lo->b.ctx, lo->op, types };
	enum dtype t = lower_type(lo, 0)->dtype;
	struct value *x = lower_in(lo, 0);
	bool present[N_LABEL] = { false };
	struct einsum e;

	if (!read_equation(&in, &e))
		return false;
	struct labels now = e.in[0], next;

	mark(present, &now);
	if (e.n == 1)
		x = contract(lo, &e, x, &now, NULL, NULL, &e.out, t);
	for (unsigned k = 1; k < e.n; k++) {
		mark(present, &e.in[k]);
		next = kept(&e, present, k);
		x = contract(lo, &e, x, &now, lower_in(lo, k), &e.in[k], &next,
			     k + 1 < e.n ? acc_dtype(t) : t);
		now = next;
	}
	lo->result[0] = x;
	return true;
}

OP(Einsum, .domain = "", .since = 12, .first = 12,
	.in = { { "Inputs", T_NUM | P_VARIADIC | P_SAME } },
	.out = { { "Output", T_NUM } },
	.attr = {
		ATTR(equation, AT_STR, .required = true),
	},
	.infer = einsum_infer,
	.lower = einsum_lower);
