/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quantize: the operands of linear ops become integers, which the graph reads
 * through DequantizeLinear.
 *
 *	%y = onnx.MatMul(%x, %w)
 * ->
 *	%q = onnx.QuantizeLinear(%x, %s, %z)
 *	%a = onnx.DequantizeLinear(%q, %s, %z)
 *	%b = onnx.DequantizeLinear(%wq, %ws) {axis = 1}
 *	%y = onnx.MatMul(%a, %b)
 *
 * Only inputs of ops with a constant weight are touched; their results, sums
 * of branches, norms and attention stay float, where eight bits cost most.
 * What was lost by rounding on the average is added to the result where a
 * profile knows the means of the inputs.
 *
 * The pass states what is quantized; the ops mean the same in float arithmetic.
 * Which of them become products of integers is decided below the graph level.
 */
#include "passes/graph/quantize/quantize.h"

#include <fnmatch.h>
#include <math.h>

/* In the order of the record. */
enum { P_BITS, P_INPUTS, P_BLOCK, P_SPLIT, P_SMOOTH, P_CLE, P_RANGE,
       P_BEYOND };

/* Channels of RUNG_SPLIT. */
enum { SPLIT = 4 };

static struct profile *profile_of(const struct work *w)
{
	return w->data ? w->data->profile : NULL;
}

/* ---- which ops ------------------------------------------------------ */

/* Why the op stays float, or NULL. */
static const char *stays_float(struct work *w, const struct linear *l)
{
	const struct loc *loc = l->op->loc;
	const char *name = loc && loc->name ? loc->name : "";
	const struct stats *s = stats_of(profile_of(w), linear_x(l));
	struct blob data;
	bool kept = false;

	for (unsigned i = 0; w->data && i < w->data->n_keep; i++)
		if (!fnmatch(w->data->keep[i], name, 0))
			w->kept[i] = kept = true;
	if (kept)
		return "as --keep-float says";
	value_const(linear_w(l), &data);
	for (size_t i = 0; i < data.size / sizeof(float); i++)
		if (!isfinite(((const float *)data.data)[i])) {
			diag_warn(&w->ctx->diag, loc, "its weight holds "
				  "infinities or NaNs: it stays float");
			return "its weight holds infinities or NaNs";
		}
	/* A node that no sample reached has no range. */
	if (w->param[P_INPUTS] == INPUT_STATIC &&
	    (!s || s->exp == INT32_MIN)) {
		diag_warn(&w->ctx->diag, loc,
			  "no values were seen at its input: it stays float");
		return "no values were seen at its input";
	}
	return NULL;
}

static struct quant_op *list_ops(struct work *w, const struct linears *all)
{
	struct quant_op *op = NEW_ARRAY(&w->ctx->perm, all->n + 1,
					struct quant_op);

	for (size_t i = 0; i < all->n; i++) {
		op[i].label = op_label(w->ctx, all->v[i].op);
		if (all->v[i].op->loc)
			op[i].name = all->v[i].op->loc->name;
		op[i].why_float = stays_float(w, &all->v[i]);
		rungs_describe(w, &all->v[i], &op[i]);
	}
	if (w->data) {
		w->data->op = op;
		w->data->n_op = all->n;
	}
	return op;
}

static void warn_unmatched(const struct work *w)
{
	for (unsigned i = 0; w->data && i < w->data->n_keep; i++)
		if (!w->kept[i])
			diag_warn(&w->ctx->diag, NULL, "no node that could be "
				  "quantized has a name like '%s'",
				  w->data->keep[i]);
}

/* ---- the result ----------------------------------------------------- */

static struct builder after(struct ctx *c, const struct op *op)
{
	return (struct builder){ c, op->parent, op->next, op->loc };
}

/* All who read y read y + v, which has the statistics that y had. */
static bool add_to_result(const struct work *w, struct builder *b,
			  struct value *y, struct value *v)
{
	struct stats *s = stats_of(profile_of(w), y);
	struct value *sum = v ? build_op(b, OP_Add, 2,
					 (struct value *[]){ y, v }, 0, NULL)
			      : NULL;

	if (!sum)
		return false;
	value_replace(y, sum);
	op_set_in(sum->def, 0, y);
	if (s)
		map_put(&profile_of(w)->of_value, sum->id, s);
	return true;
}

/* The mean of what the result lacks: sum of (w - held) * mean of the input. */
static bool correct_bias(struct work *w, struct linear *l,
			 const struct input *in, const float *was,
			 const float *held)
{
	struct ctx *c = w->ctx;
	struct value *y = &l->op->out[0], *bias;
	struct shape s = const_shape(linear_w(l));
	size_t n = (size_t)const_dim(linear_w(l), l->o_axis);
	double *sum = NEW_ARRAY(&c->temp, n + 1, double);
	float *add = NEW_ARRAY(&c->temp, n + 1, float);

	if (!in->mean || !l->plain || !l->whole || l->y_axis < 0 ||
	    l->k_axis < 0)
		return true;
	int64_t n_mean = const_dim(in->x, in->axis);

	for (int64_t e = 0; e < s.n; e++) {
		int64_t o = shape_at(&s, e, l->o_axis);
		int64_t k = linear_channel(l, o, shape_at(&s, e, l->k_axis));

		if (k < 0 || k >= n_mean)
			return true;
		sum[o] += ((double)was[e] - (double)held[e]) *
			  (double)in->mean[k];
	}
	for (size_t o = 0; o < n; o++)
		add[o] = (float)sum[o];
	if (linear_bias_is_plain(l, &bias) && bias) {
		struct builder b = { c, l->op->parent, l->op, l->op->loc };
		const float *old = const_floats(c, bias);

		for (size_t o = 0; o < n; o++)
			add[o] += old[o];
		op_set_in(l->op, 2, floats_const(&b, bias->type, add));
		return true;
	}
	struct builder b = after(c, l->op);

	unsigned rank = y->type->rank - (unsigned)l->y_axis;

	return add_to_result(w, &b, y, floats_along(&b, rank, 0, n, add));
}

/* ---- the channels that stay float ----------------------------------- */

/* Takes the rows of these channels out of the weight. */
static struct value *split_rows(struct ctx *c, const struct linear *l,
				const struct input *in, float *w)
{
	struct builder b = { c, l->op->parent, l->op, l->op->loc };
	struct shape s = const_shape(linear_w(l));
	const struct type *t = linear_w(l)->type;
	const struct expr *dim[MAX_RANK];
	int64_t block = s.stride[l->k_axis], nk = s.dim[l->k_axis];
	float *rows = NEW_ARRAY(&c->temp,
				(size_t)(s.n / nk * in->n_rest) + 1, float);

	for (int64_t o = 0; o < s.n / nk / block; o++)
		for (int64_t i = 0; i < in->n_rest; i++)
			for (int64_t j = 0; j < block; j++) {
				float *from = &w[(o * nk + in->channel[i]) *
							 block + j];

				rows[(o * in->n_rest + i) * block + j] = *from;
				*from = 0;
			}
	for (unsigned i = 0; i < t->rank; i++)
		dim[i] = t->dim[i];
	dim[l->k_axis] = expr_const(c, in->n_rest);
	return floats_const(&b, type_tensor(c, DT_F32, t->rank, dim), rows);
}

/* Adds the same op over these channels to the result. */
static bool add_rest(const struct work *w, const struct linear *l,
		     const struct input *in, struct value *rows)
{
	struct op *op = l->op;
	struct builder b = after(w->ctx, op);
	struct value *x[MAX_PORTS] = { 0 };

	x[l->x] = in->rest;
	x[l->w] = rows;
	return add_to_result(w, &b, &op->out[0],
			     build_op(&b, op->code, 2, x, op->n_attr,
				      op->attr));
}

/* Is the op's sum over channels a sum of two such ops? */
static bool can_split(const struct linear *l)
{
	struct value *bias;

	return l->direct && l->plain && l->k_axis >= 0 &&
	       l->k_axis != l->o_axis && l->op->n_out == 1 &&
	       (l->op->n_in == 2 || linear_bias_is_plain(l, &bias));
}

/* ---- one op --------------------------------------------------------- */

struct form form_of(const struct work *w, const struct linear *l,
		    enum quant_rung rung)
{
	struct form f = { (unsigned)w->param[P_BITS],
			  (enum input_form)w->param[P_INPUTS],
			  w->param[P_BLOCK], w->param[P_SPLIT],
			  (enum range_way)w->param[P_RANGE],
			  (double)w->param[P_BEYOND] * 1e-6 };

	switch (rung) {
	case RUNG_SPLIT: f.split = SPLIT; break;
	case RUNG_DYNAMIC: f.inputs = INPUT_DYNAMIC; break;
	case RUNG_WEIGHTS: f = (struct form){ .bits = 8 }; break;
	case RUNG_ASKED: case RUNG_FLOAT: case N_RUNG: break;
	}
	if (f.inputs == INPUT_FLOAT || !can_split(l) ||
	    !stats_of(profile_of(w), linear_x(l)))
		f.split = 0;
	return f;
}

/* Values that several ops read are made once. */
struct input *input_get(struct work *w, const struct linear *l,
			const struct form *f)
{
	struct value *x = linear_x(l);
	uint64_t key = (uint64_t)x->id << 20 | (uint64_t)f->split << 4 |
		       (unsigned)f->inputs << 2 | l->rows * 2u | l->batch;
	struct input *in = map_get(&w->inputs, key);
	const struct stats *s = stats_of(profile_of(w), x);

	if (in)
		return in;
	in = NEW(&w->ctx->perm, struct input);
	if (f->inputs == INPUT_STATIC && s->n_nan + s->n_inf)
		diag_warn(&w->ctx->diag, l->op->loc, "NaNs or infinities were "
			  "seen at its input: its range is that of the others");
	if (!input_quantize(w->ctx, l, f, s, in))
		return NULL;
	map_put(&w->inputs, key, in);
	return in;
}

static struct grid choose_grid(const struct linear *l, const struct form *f)
{
	struct grid g = { 8, f->block, false };

	/* Blocks are of channels.  Where there are too few for one, its scale
	 * would take more room than four bits save. */
	if (l->k_axis < 0 || l->k_axis == l->o_axis ||
	    const_dim(linear_w(l), l->k_axis) < g.block)
		g.block = 0;
	if (f->bits == 4 && g.block)
		g = (struct grid){ 4, g.block, true };
	return g;
}

/* The inputs' Gram matrix, where it can be of use; NULL. */
static const double *gram_of(const struct work *w, const struct linear *l,
			     struct grid grid)
{
	const struct stats *s = stats_of(profile_of(w), linear_x(l));

	if (!s || !s->gram || !l->direct || grid.bits == 8)
		return NULL;
	/* It would fit the weight to a few samples, against all others. */
	if (s->count / (uint64_t)s->n_channel < (uint64_t)s->n_channel) {
		diag_warn(&w->ctx->diag, l->op->loc, "fewer rows than channels "
			  "were seen at its input: its weight is rounded to "
			  "nearest");
		return NULL;
	}
	return s->gram;
}

bool quantize_one(struct work *w, struct linear *l, const struct form *f)
{
	struct ctx *c = w->ctx;
	struct input *in = input_get(w, l, f);
	struct grid grid = choose_grid(l, f);
	struct value *rows = NULL;

	if (!in)
		return false;
	float *was = const_floats(c, linear_w(l));
	float *held = const_floats(c, linear_w(l));

	if (in->rest)
		rows = split_rows(c, l, in, was);
	struct value *q = weight_quantize(c, l, grid, was,
					  gram_of(w, l, grid), held);

	if (!q || !correct_bias(w, l, in, was, held))
		return false;
	op_set_in(l->op, l->w, q);
	op_set_in(l->op, l->x, in->held);
	w->n_done++;
	return !rows || add_rest(w, l, in, rows);
}

/* ---- the pass ------------------------------------------------------- */

static bool check_params(struct ctx *c, const int64_t *p)
{
	bool ok = (p[P_BITS] == 4 || p[P_BITS] == 8) && p[P_INPUTS] >= 0 &&
		  p[P_INPUTS] <= INPUT_STATIC && p[P_BLOCK] >= 0 &&
		  p[P_SPLIT] >= 0 && p[P_SMOOTH] >= 0 && p[P_SMOOTH] <= 100 &&
		  p[P_RANGE] >= 0 && p[P_RANGE] <= RANGE_PERCENTILE &&
		  p[P_BEYOND] >= 0 && p[P_BEYOND] <= 500000;

	return ok || diag_error(&c->diag, EXIT_USAGE, NULL,
				"a parameter of quantize is out of range");
}

static bool quantize_as_chosen(struct work *w, struct linear *l,
			       struct quant_op *op, size_t i)
{
	const struct quantize_data *d = w->data;
	enum quant_rung rung = d && i < d->n_rung ? d->rung[i] : RUNG_ASKED;

	if (!op->open[rung] || rung == RUNG_FLOAT)
		return halves_keep(w->ctx, l);
	struct form f = form_of(w, l, rung);

	op->done = true;
	bool ok = quantize_one(w, l, &f);

	/* Copies of a weight need not pile up. */
	arena_free(&w->ctx->temp);
	return ok;
}

static bool quantize_run(struct module *m, const struct pass_args *args)
{
	struct ctx *c = m->ctx;
	struct work w = { .ctx = c, .param = args->param,
			  .data = c->quantize };
	struct profile *p = profile_of(&w);

	w.kept = NEW_ARRAY(&c->perm, w.data ? w.data->n_keep + 1u : 1u, bool);
	if (!check_params(c, w.param))
		return false;
	if (w.param[P_INPUTS] == INPUT_STATIC && !p)
		return diag_error(&c->diag, EXIT_USAGE, NULL,
				  "quantize{inputs=2} needs a profile");
	if (p && !profile_bind(p, m, w.data->profile_file))
		return false;
	struct linears all = linears_find(c, op_body(m->func));
	bool ok = halves_widen(c, &all, p);

	if (w.param[P_CLE])
		equalize(c, &all, p);
	if (w.param[P_SMOOTH] && p)
		smooth(c, &all, (double)w.param[P_SMOOTH] / 100, p);
	struct quant_op *op = list_ops(&w, &all);

	if (ok && w.data && w.data->trial)
		ok = trial_build(&w, m, &all);
	for (size_t i = 0; i < all.n && ok && !(w.data && w.data->trial); i++)
		ok = quantize_as_chosen(&w, &all.v[i], &op[i], i);
	warn_unmatched(&w);
	/* The gate may have left nothing. */
	if (ok && !w.n_done && !(w.data && w.data->rung))
		diag_warn(&c->diag, NULL, "nothing was quantized: no product "
			  "with a constant was found");
	erase_dead(op_body(m->func));
	vec_free(&all);
	map_free(&w.inputs);
	return ok;
}

PASS(quantize,
	.summary = "Hold the operands of products with constants as integers",
	.needs = LEVEL_GRAPH, .leaves = LEVEL_GRAPH,
	.param = {
		{ "bits", 8, "of a weight: 8 or 4" },
		{ "inputs", 0, "0: float, 1: by the values at hand, 2: by the "
			       "profile" },
		{ "block", 0, "weights with a scale in common; 0: a channel" },
		{ "split", 0, "channels of an input that stay float" },
		{ "smooth", 0, "hundredths of an input's range that go to the "
			       "weight" },
		{ "cle", 1, "equalize channels of convolutions that follow "
			    "each other" },
		{ "range", 0, "of an input; 0: of all values, 1: of the least "
			      "squared error, 2: without those beyond" },
		{ "beyond", 100, "values beyond either end, in a million" },
	},
	.run = quantize_run);
