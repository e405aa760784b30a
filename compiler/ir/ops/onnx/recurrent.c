/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of the recurrent ops; see recurrent.h. */
#include "ir/ops/onnx/recurrent.h"

#include <string.h>
#include <strings.h>

#include "ir/ops/onnx/activation.h"
#include "ir/ops/onnx/fold.h"

/* ---- reading the op ------------------------------------------------- */

static bool read_activations(struct infer *in, struct recurrent *r,
			     const char *const *defaults)
{
	const struct attr *names = op_attr(in->op, A_activations);
	const struct attr *list[2] = { op_attr(in->op, A_activation_alpha),
				       op_attr(in->op, A_activation_beta) };
	unsigned n = r->n_dir * r->n_act;
	size_t used[2] = { 0, 0 };

	if (names && names->n != n)
		return infer_error(in, "has %zu activations, expected %u",
				   names->n, n);
	for (unsigned k = 0; k < n; k++) {
		const char *name = names ? names->strs[k]
					 : defaults[k % r->n_act];
		struct activation *a = &r->act[k];
		double *param[2] = { &a->alpha, &a->beta };

		a->def = activation_find(name);
		if (!a->def)
			return infer_unsupported(in, "activation '%.40s' is "
						 "not known", name);
		a->alpha = a->def->param[0];
		a->beta = a->def->param[1];
		/* The lists name only what an activation takes. */
		for (unsigned i = 0; i < a->def->n_param; i++)
			if (list[i] && used[i] < list[i]->n)
				*param[i] = list[i]->floats[used[i]++];
	}
	return true;
}

static bool recurrent_read(struct infer *in, struct recurrent *r,
			   unsigned n_gate, unsigned n_act,
			   const char *const *defaults)
{
	const char *direction = op_str(in->op, A_direction);
	const struct type *x = infer_type(in, RNN_X);
	const struct type *w = infer_type(in, RNN_R);

	*r = (struct recurrent){ .n_dir = 1, .n_gate = n_gate,
				 .n_act = n_act };
	if (x->rank != 3 || w->rank != 3 || infer_type(in, RNN_W)->rank != 3)
		return infer_error(in, "'X', 'W' and 'R' must have rank 3");
	if (!strcasecmp(direction, "bidirectional"))
		r->n_dir = 2;
	else if (!strcasecmp(direction, "reverse"))
		r->reverse = true;
	else if (strcasecmp(direction, "forward"))
		return infer_error(in, "direction is '%.40s'", direction);
	r->batch_first = op_int(in->op, A_layout);
	r->steps = x->dim[r->batch_first];
	r->batch = x->dim[!r->batch_first];
	r->input = x->dim[2];
	r->hidden = w->dim[2];
	r->acc = acc_dtype(x->dtype);
	return read_activations(in, r, defaults);
}

static bool check_operands(struct infer *in, const struct recurrent *r)
{
	struct ctx *c = in->ctx;
	const struct expr *dirs = expr_const(c, r->n_dir);
	const struct expr *gates = expr_scale(c, r->hidden, r->n_gate);
	const struct expr *w[] = { dirs, gates, r->input };
	const struct expr *rec[] = { dirs, gates, r->hidden };
	const struct expr *bias[] = { dirs, expr_scale(c, gates, 2) };
	const struct expr *peep[] = { dirs, expr_scale(c, r->hidden, 3) };
	const struct expr *state[3] = { NULL, NULL, r->hidden };

	state[r->batch_first] = dirs;
	state[!r->batch_first] = r->batch;
	if (op_int(in->op, A_hidden_size) &&
	    !infer_dims_agree(in, r->hidden,
			      expr_const(c, op_int(in->op, A_hidden_size)),
			      "dim 2 of 'R'"))
		return false;
	return infer_dims(in, RNN_W, 3, w) && infer_dims(in, RNN_R, 3, rec) &&
	       infer_dims(in, RNN_B, 2, bias) &&
	       infer_dims(in, RNN_LENS, 1, &r->batch) &&
	       infer_dims(in, RNN_H, 3, state) && infer_dims(in, RNN_C, 3, state) &&
	       infer_dims(in, RNN_P, 2, peep);
}

bool recurrent_infer(struct infer *in, unsigned n_gate, unsigned n_act,
		     const char *const *defaults)
{
	struct recurrent r;
	enum dtype t = infer_type(in, 0)->dtype;

	if (!recurrent_read(in, &r, n_gate, n_act, defaults) ||
	    !check_operands(in, &r))
		return false;
	const struct expr *dirs = expr_const(in->ctx, r.n_dir);
	const struct expr *all[] = { r.steps, dirs, r.batch, r.hidden };
	const struct expr *last[] = { dirs, r.batch, r.hidden };

	if (r.batch_first) {
		all[0] = r.batch;
		all[1] = r.steps;
		all[2] = dirs;
		last[0] = r.batch;
		last[1] = dirs;
	}
	infer_set(in, 0, t, 4, all);
	infer_set(in, 1, t, 3, last);
	infer_set(in, 2, t, 3, last);
	return true;
}

/* ---- pieces for cells ----------------------------------------------- */

const struct type *recurrent_state_type(struct ctx *c,
					const struct recurrent *r)
{
	const struct expr *dim[] = { r->batch, r->hidden };

	return type_tensor(c, r->acc, 2, dim);
}

struct value *recurrent_activate(struct lower *lo, const struct recurrent *r,
				 unsigned k, struct value *v)
{
	const struct activation *a = &r->act[r->dir * r->n_act + k];
	double clip = op_has(lo->op, A_clip) ? op_float(lo->op, A_clip) : 0;

	/* Not of LSTM's cell, as in ONNX Runtime. */
	if (clip > 0 && k < 2) {
		v = s_op2(lo, OP_arith_min, v, s_const(lo, r->acc, clip));
		v = s_op2(lo, OP_arith_max, v, s_const(lo, r->acc, -clip));
	}
	return activation_apply(lo, a->def, v, a->alpha, a->beta);
}

struct value *recurrent_gate(struct lower *lo, const struct recurrent *r,
			     struct value *gates, unsigned gate,
			     const struct expr *const *iv)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *at[] = {
		iv[0], expr_add(c, iv[1], expr_scale(c, r->hidden, gate)) };

	return nest_load(lo, gates, at);
}

/* Element g of half `half` of B. */
static struct value *bias_at(struct lower *lo, const struct recurrent *r,
			     unsigned half, const struct expr *g)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *at[] = {
		expr_const(c, r->dir),
		expr_add(c, g, expr_scale(c, r->hidden,
					  (int64_t)half * r->n_gate)) };

	return load_as(lo, r->acc, lower_in(lo, RNN_B), at);
}

struct value *recurrent_product(struct lower *lo, const struct recurrent *r,
				struct value *pre, struct value *state,
				unsigned first, unsigned count,
				bool second_bias)
{
	struct ctx *c = lo->b.ctx;
	struct value *w = lower_in(lo, RNN_R), *v, *res;
	const struct expr *dim[] = { r->batch,
				     expr_scale(c, r->hidden, count) };
	const struct type *t = type_tensor(c, r->acc, 2, dim);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *g = expr_add(c, n.iv[1],
					expr_scale(c, r->hidden, first));

	v = s_const(lo, r->acc, 0);
	struct fold f = fold_begin(lo, 1, &r->hidden, 1, &v);
	const struct expr *is[] = { n.iv[0], f.iv[0] };
	const struct expr *iw[] = { expr_const(c, r->dir), g, f.iv[0] };

	v = s_mul(lo, nest_load(lo, state, is), load_as(lo, r->acc, w, iw));
	v = s_add(lo, f.acc[0], v);
	fold_end(lo, &f, &v, &v);
	if (pre) {
		const struct expr *ip[] = { r->at, n.iv[0], g };

		v = s_add(lo, v, nest_load(lo, pre, ip));
	}
	if (second_bias && lower_in(lo, RNN_B))
		v = s_add(lo, v, bias_at(lo, r, 1, g));
	nest_end(lo, &n, 1, &v, &res);
	return res;
}

/* X * W' + biases for all steps: [steps, batch, gates]. */
static struct value *project(struct lower *lo, const struct recurrent *r,
			     bool split_bias)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, RNN_X), *w = lower_in(lo, RNN_W);
	struct value *v, *res;
	const struct expr *dim[] = { r->steps, r->batch,
				     expr_scale(c, r->hidden, r->n_gate) };
	const struct type *t = type_tensor(c, r->acc, 3, dim);
	struct nest n = nest_begin(lo, 1, &t);

	v = s_const(lo, r->acc, 0);
	struct fold f = fold_begin(lo, 1, &r->input, 1, &v);
	const struct expr *ix[] = { n.iv[r->batch_first],
				    n.iv[!r->batch_first], f.iv[0] };
	const struct expr *iw[] = { expr_const(c, r->dir), n.iv[2], f.iv[0] };

	v = s_mul(lo, load_as(lo, r->acc, x, ix), load_as(lo, r->acc, w, iw));
	v = s_add(lo, f.acc[0], v);
	fold_end(lo, &f, &v, &v);
	if (lower_in(lo, RNN_B)) {
		struct value *b = bias_at(lo, r, 0, n.iv[2]);

		if (!split_bias)
			b = s_add(lo, b, bias_at(lo, r, 1, n.iv[2]));
		v = s_add(lo, v, b);
	}
	nest_end(lo, &n, 1, &v, &res);
	return res;
}

/* ---- the recurrence ------------------------------------------------- */

/* The first state of this direction: the operand or zeros. */
static struct value *first_state(struct lower *lo, const struct recurrent *r,
				 unsigned k)
{
	struct value *init = lower_in(lo, RNN_H + k), *v, *res;
	const struct type *t = recurrent_state_type(lo->b.ctx, r);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *at[3] = { NULL, NULL, n.iv[1] };

	at[r->batch_first] = expr_const(lo->b.ctx, r->dir);
	at[!r->batch_first] = n.iv[0];
	v = init ? load_as(lo, r->acc, init, at) : s_const(lo, r->acc, 0);
	nest_end(lo, &n, 1, &v, &res);
	return res;
}

/*
 * Past the end of a sequence its states stay and its output is 0.  In reverse
 * the end comes first, so the initial state waits until the sequence begins.
 */
static void hold_past_end(struct lower *lo, const struct recurrent *r,
			  unsigned n_state, struct value *const *state,
			  struct value **next, struct value **out)
{
	const struct type *t[MAX_STATES + 1];
	struct value *v[MAX_STATES + 1], *res[MAX_STATES + 1], *inside;

	for (unsigned k = 0; k <= n_state; k++)
		t[k] = recurrent_state_type(lo->b.ctx, r);
	struct nest n = nest_begin(lo, n_state + 1, t);

	inside = load_as(lo, DT_I64, lower_in(lo, RNN_LENS), n.iv);
	inside = s_op2(lo, OP_arith_lt, s_expr(lo, DT_I64, r->at), inside);
	for (unsigned k = 0; k < n_state; k++)
		v[k] = s_select(lo, inside, nest_load(lo, next[k], n.iv),
				nest_load(lo, state[k], n.iv));
	v[n_state] = s_select(lo, inside, nest_load(lo, next[0], n.iv),
			      s_const(lo, r->acc, 0));
	nest_end(lo, &n, n_state + 1, v, res);
	for (unsigned k = 0; k < n_state; k++)
		next[k] = res[k];
	*out = res[n_state];
}

static bool wanted(const struct lower *lo, unsigned k)
{
	return k < lo->op->n_out && lo->op->out[k].uses;
}

/* Runs one direction; res[] gets the last states, then all outputs. */
static bool run_direction(struct lower *lo, struct recurrent *r,
			  unsigned n_state, bool split_bias, cell_fn *cell,
			  struct value **res)
{
	struct ctx *c = lo->b.ctx;
	struct value *init[MAX_STATES], *next[MAX_STATES + 1] = { NULL };
	const struct type *t = recurrent_state_type(c, r);
	bool all = wanted(lo, 0), backward = r->reverse || r->dir == 1;
	struct value *pre = project(lo, r, split_bias);

	for (unsigned k = 0; k < n_state; k++)
		init[k] = first_state(lo, r, k);
	struct scan s = scan_begin(lo, r->steps, n_state, init, all, &t);

	r->at = s.t;
	if (backward)
		r->at = expr_addc(c, expr_sub(c, r->steps, s.t), -1);
	if (!cell(lo, r, pre, s.state, next))
		return false;
	next[n_state] = next[0];
	if (lower_in(lo, RNN_LENS))
		hold_past_end(lo, r, n_state, s.state, next, &next[n_state]);
	scan_end(lo, &s, n_state + all, next, res);
	return true;
}

/* Element `at` of the results of all directions; dir selects one. */
static struct value *of_direction(struct lower *lo, unsigned n_dir,
				  struct value *const *piece,
				  const struct expr *dir,
				  const struct expr *const *at0,
				  const struct expr *const *at1)
{
	struct ctx *c = lo->b.ctx;
	struct value *v;
	const struct expr *guard;

	if (n_dir == 1)
		return nest_load(lo, piece[0], at0);
	v = s_const(lo, piece[0]->type->dtype, 0);
	guard = expr_addc(c, dir, -1);
	v = nest_load_guarded(lo, piece[1], at1, 1, &guard, v);
	guard = expr_scale(c, dir, -1);
	return nest_load_guarded(lo, piece[0], at0, 1, &guard, v);
}

/* Result 0 from [steps, batch, hidden] in the order of the recurrence. */
static void join_outputs(struct lower *lo, const struct recurrent *r,
			 struct value *const *piece)
{
	struct ctx *c = lo->b.ctx;
	const struct type *t = lower_type(lo, 0);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *step = n.iv[r->batch_first];
	const struct expr *dir = n.iv[r->batch_first ? 2 : 1];
	const struct expr *batch = n.iv[r->batch_first ? 0 : 2];
	const struct expr *back = expr_addc(c, expr_sub(c, r->steps, step), -1);
	const struct expr *at0[] = { r->reverse ? back : step, batch, n.iv[3] };
	const struct expr *at1[] = { back, batch, n.iv[3] };
	struct value *v = of_direction(lo, r->n_dir, piece, dir, at0, at1);

	v = s_cast(lo, t->dtype, v);
	nest_end(lo, &n, 1, &v, &lo->result[0]);
}

static void join_states(struct lower *lo, const struct recurrent *r,
			unsigned k, struct value *const *piece)
{
	const struct type *t = lower_type(lo, 1 + k);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *at[] = { n.iv[!r->batch_first], n.iv[2] };
	struct value *v = of_direction(lo, r->n_dir, piece,
				       n.iv[r->batch_first], at, at);

	v = s_cast(lo, t->dtype, v);
	nest_end(lo, &n, 1, &v, &lo->result[1 + k]);
}

bool recurrent_lower(struct lower *lo, unsigned n_gate, unsigned n_act,
		     const char *const *defaults, unsigned n_state,
		     bool split_bias, cell_fn *cell)
{
	const struct type *out[MAX_OUTS] = { NULL };
	struct infer in = { lo->b.ctx, lo->op, out };
	struct value *piece[MAX_STATES + 1][2] = { { NULL } };
	struct recurrent r;

	if (!recurrent_read(&in, &r, n_gate, n_act, defaults))
		return false;
	for (r.dir = 0; r.dir < r.n_dir; r.dir++) {
		struct value *res[MAX_STATES + 1] = { NULL };

		if (!run_direction(lo, &r, n_state, split_bias, cell, res))
			return false;
		for (unsigned k = 0; k <= n_state; k++)
			piece[k][r.dir] = res[k];
	}
	if (wanted(lo, 0))
		join_outputs(lo, &r, piece[n_state]);
	for (unsigned k = 0; k < n_state; k++)
		if (wanted(lo, 1 + k))
			join_states(lo, &r, k, piece[k]);
	return true;
}
