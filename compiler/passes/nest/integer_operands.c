/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operands of a sum of integers in the form that the target's instruction
 * takes (struct dot): u8 x with zero point z is i8 x - 128 with z - 128, and
 * what has no instruction for bytes reads 16 bits.  Fusion takes that into the
 * statement that makes the numbers.
 */
#include <stdlib.h>

#include "ir/layout.h"
#include "ir/target.h"
#include "passes/nest/body.h"
#include "passes/nest/chains.h"
#include "passes/nest/contraction.h"
#include "passes/nest/integer.h"

/* Is s a statement of v's numbers in the form `type`, as made below? */
static bool is_conversion(const struct op *s, const struct value *v,
			  const struct type *type)
{
	if (s->code != OP_nest_compute || s->n_out != 1 ||
	    s->out[0].type != type || op_has(s, A_idx))
		return false;
	const struct block *b = op_body(s);
	const struct op *op = b->first;
	size_t n;
	const struct expr *const *idx;

	if (op->code != OP_nest_load || op->n_in != 1 || op->in[0].val != v)
		return false;
	idx = op_exprs(op, A_idx, &n);
	for (size_t i = 0; i < n; i++)
		if (idx[i] != b->iv[i])
			return false;
	if (dtype_size(v->type->dtype) == dtype_size(type->dtype)) {
		op = op->next;
		if (op->code != OP_arith_const ||
		    (op_attr(op, A_value)->i & 255) != 128)
			return false;
		op = op->next;
		if (op->code != OP_arith_xor)
			return false;
	}
	op = op->next;
	return op->code == OP_arith_cast && op->next == b->last;
}

/*
 * The tensor in type `to`: of the same size with the sign bit flipped, else
 * widened.  Stated right behind what makes it, once for all readers.
 */
static struct value *converted(const struct integer *t, struct value *v,
			       enum dtype to)
{
	enum dtype from = v->type->dtype;
	struct block *b = v->def ? v->def->parent : v->block;
	const struct type *type = type_tensor(t->c, to, v->type->rank,
					      v->type->dim);
	const struct op *reader = t->compute;

	/* Where the reader is in a recurrence, which that block holds. */
	while (reader->parent != b)
		reader = op_parent(reader);
	for (const struct use *u = v->uses; u; u = u->next) {
		struct op *s = op_parent(u->user);

		if (s && is_conversion(s, v, type) &&
		    op_comes_before(s, reader))
			return &s->out[0];
	}
	struct lower lo = { .b = { t->c, b, v->def ? v->def->next : b->first,
				   t->compute->loc } };
	struct nest n = nest_begin(&lo, 1, &type);
	struct value *x = nest_load(&lo, v, n.iv);

	if (dtype_size(to) == dtype_size(from))
		x = s_op2(&lo, OP_arith_xor, x, s_int(&lo, from, -128));
	x = s_cast(&lo, to, x);
	nest_end(&lo, &n, 1, &x, &x);
	return x;
}

/* The factor reads numbers of type `to`, and its zero point follows. */
static void convert_factor(const struct integer *t, struct factor *f,
			   enum dtype to)
{
	struct op *load = f->load;
	enum dtype from = load->in[0].val->type->dtype;
	bool flip = dtype_size(from) == dtype_size(to);

	if (to == from)
		return;
	struct value *v = converted(t, load->in[0].val, to), *x;
	struct lower lo = integer_cursor(t, t->fold);
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);
	const struct expr *const *guard = op_exprs(load, A_guard, &n);
	struct value *other = n ? load->in[1].val : NULL;

	if (other && flip)
		other = s_op2(&lo, OP_arith_xor, other,
			      s_int(&lo, from, -128));
	if (other)
		other = s_cast(&lo, to, other);
	if (flip)
		f->zero = scalar_plus(&lo, f->zero,
				      from == DT_I8 ? 128 : -128);
	lo.b.block = load->parent;
	lo.b.before = load;
	x = nest_load_guarded(&lo, v, idx, (unsigned)n, guard, other);
	f->load = x->def;
	struct value *old = product_factor(load);

	value_replace(old, s_cast(&lo, old->type->dtype, x));
	op_erase(old->def);
	op_erase(load);
}

/* How the weights of a column and a step of the sum lie in a constant. */
struct weights {
	const int8_t *data;
	bool flip;			/* u8 */
	int64_t base, col, step[MAX_RANK], extent[MAX_RANK], cols;
	unsigned n, channel;
};

static bool find_weights(const struct integer *t, const struct contraction *con,
			 const struct op *w, struct weights *s)
{
	struct ctx *c = t->c;
	const struct block *kb = op_body(t->fold);
	int at = contraction_channel_variable(con);
	struct cloner cl = { .ctx = c };
	const struct expr *k, *e;
	struct blob data;
	size_t n;

	if (!value_const(w->in[0].val, &data) || at < 0 || !data.size)
		return false;
	for (uint32_t i = 0; i < t->body->n_iv; i++)
		if (i != con->col)
			clone_iv(&cl, t->body->iv[i], expr_const(c, 0));
	e = clone_expr(&cl, layout_offset(c, w->in[0].val,
					  op_exprs(w, A_idx, &n)));
	cloner_free(&cl);
	*s = (struct weights){ .data = data.data, .n = kb->n_iv,
			       .flip = w->in[0].val->type->dtype == DT_U8,
			       .channel = (unsigned)at };
	const struct expr *col = t->body->iv[con->col];

	if (!expr_is_const(expr_atom(col)->a, &s->cols) ||
	    !expr_linear(c, e, expr_atom(col), &k, &e) ||
	    !expr_is_const(k, &s->col))
		return false;
	for (unsigned i = 0; i < s->n; i++)
		if (!expr_is_const(expr_atom(kb->iv[i])->a, &s->extent[i]) ||
		    s->extent[i] < 1 ||
		    !expr_linear(c, e, expr_atom(kb->iv[i]), &k, &e) ||
		    !expr_is_const(k, &s->step[i]))
			return false;
	return expr_is_const(e, &s->base);
}

/* The weight of a column in part q of a quad: channels run in order. */
static int8_t weight_of(const struct weights *s, int64_t col, int64_t k,
			int64_t q)
{
	int64_t quads = (s->extent[s->channel] + 3) / 4;
	int64_t channel = k % quads * 4 + q, at = s->base + col * s->col;

	k /= quads;
	for (unsigned i = s->n; i-- > 0;)
		if (i != s->channel) {
			at += k % s->extent[i] * s->step[i];
			k /= s->extent[i];
		}
	if (col >= s->cols || channel >= s->extent[s->channel])
		return 0;
	int8_t w = s->data[at + channel * s->step[s->channel]];

	return s->flip ? (int8_t)(w ^ -128) : w;
}

/* Are the steps from one product to the next known in the row operand? */
static bool knows_steps(const struct contraction *con)
{
	const struct block *kb = op_body(con->fold);
	const struct type *t = con->a->in[0].val->type;
	int64_t k;

	for (uint32_t i = 0; i < kb->n_iv; i++)
		if (con->window >> i & 1 &&
		    !expr_is(expr_atom(kb->iv[i])->a, 1))
			for (unsigned d = 1; d < t->rank; d++)
				if (!expr_is_const(t->dim[d], &k))
					return false;
	return true;
}

/*
 * Are the chains that an instruction which saturates needs for the weights
 * cheaper than the other one?  The first panel and one in the middle stand for
 * all.
 */
static bool chains_pay(const struct integer *t, const struct contraction *con,
		       const struct op *w, const struct dot *other)
{
	unsigned cols = target_lanes(t->c->target, 32);
	int64_t n = 1, cost = 0, panels;
	struct weights s;

	if (cols > MAX_CHAIN_COLS || !knows_steps(con) ||
	    !find_weights(t, con, w, &s))
		return false;
	for (unsigned i = 0; i < s.n; i++)
		n *= i == s.channel ? (s.extent[i] + 3) / 4 : s.extent[i];
	panels = (s.cols + cols - 1) / cols;
	int8_t *quads = xrealloc(NULL, (size_t)n * cols * 4, 1);

	for (int64_t part = 0; part < 2; part++) {
		int64_t col = part * (panels / 2) * cols;
		struct chains ch;

		for (int64_t i = 0; i < n * cols * 4; i++)
			quads[i] = weight_of(&s, col + i / 4 % cols,
					     i / 4 / cols, i % 4);
		chains_pack(quads, (size_t)n,
			    (size_t)(s.extent[s.channel] + 3) / 4, cols, &ch);
		cost += chains_cost(&ch);
		chains_free(&ch);
	}
	free(quads);
	return cost * other->group < 2 * n * 4 * other->steps;
}

/* The instruction for these weights, and for the rows as they are if it can
 * be. */
static const struct dot *choose_dot(const struct integer *t,
				    const struct op *rows, const struct op *w)
{
	const struct dot *const *dot = t->c->target->dot;
	struct contraction con;

	if (dot[0]->saturates && dot[1] &&
	    !(contraction_match(t->c, t->compute, &con) &&
	      chains_pay(t, &con, w, dot[1])))
		return dot[1];
	for (unsigned i = 0; i < MAX_DOTS && dot[i]; i++)
		if (dot[i]->rows == rows->in[0].val->type->dtype)
			return dot[i];
	return dot[0];
}

void integer_operands(const struct integer *t, struct factor *f)
{
	int a = contraction_row_factor(t->c, t->compute);

	if (a < 0)
		return;

	/* Bytes that meet floats are widened when they are loaded; i8 has its
	 * zero point at 0 more often. */
	if (f[0].plain || f[1].plain) {
		a = f[0].plain;
		if (f[a].zero)
			convert_factor(t, &f[a], DT_I8);
		return;
	}
	const struct dot *dot = choose_dot(t, f[a].load, f[1 - a].load);

	if (dot->kind == DOT_MMA)
		return;
	convert_factor(t, &f[a], dot->rows);
	/* A panel is widened when it is packed. */
	if (dtype_size(dot->panel) == 1)
		convert_factor(t, &f[1 - a], dot->panel);
}
