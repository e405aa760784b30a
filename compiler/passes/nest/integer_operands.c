/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operands of a sum of integers in the form that the target's instruction
 * takes (struct dot): u8 x with zero point z is i8 x - 128 with z - 128, and
 * what has no instruction for bytes reads 16 bits.  Fusion takes that into the
 * statement that makes the numbers.
 */
#include "ir/target.h"
#include "passes/nest/body.h"
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

/* The elements of a constant whose dim of that extent and stride is the
 * innermost one of a sum. */
struct weights {
	enum dtype dtype;
	const int8_t *data;
	int64_t n, extent, stride;
};

static bool read_weights(const struct integer *t, const struct contraction *con,
			 const struct op *load, struct weights *w)
{
	const struct type *type = load->in[0].val->type;
	int at = contraction_channel_variable(con);
	size_t axis = 0, n_idx;
	const struct expr *const *idx = op_exprs(load, A_idx, &n_idx);
	struct blob data;

	if (!value_const(load->in[0].val, &data) || at < 0)
		return false;
	while (axis < n_idx &&
	       !expr_uses(idx[axis], expr_atom(op_body(t->fold)->iv[at])))
		axis++;
	*w = (struct weights){ type->dtype, data.data, 1, 1, 1 };
	for (unsigned i = 0; i < type->rank; i++) {
		int64_t d;

		if (!expr_is_const(type->dim[i], &d))
			return false;
		w->n *= d;
		if (i == axis)
			w->extent = d;
		if (i > axis)
			w->stride *= d;
	}
	return axis < n_idx;
}

/* How many pairs of neighbours along the sum a saturating instruction could
 * not take. */
static int64_t count_misfits(const struct weights *w)
{
	int flip = w->dtype == DT_U8 ? -128 : 0;
	int64_t n = 0;

	for (int64_t i = 0; i + w->stride < w->n; i++) {
		int64_t at = i / w->stride % w->extent;

		if (!(at & 1) && at + 1 < w->extent)
			n += !dot_pair_fits(w->data[i] ^ flip,
					    w->data[i + w->stride] ^ flip);
	}
	return n;
}

/* Are these rare enough for most panels, of two vectors, to have none? */
static bool mostly_fits(const struct integer *t, const struct contraction *con,
			const struct op *load)
{
	int64_t panel = 2 * target_lanes(t->c->target, 32), cols;
	struct weights w;

	return read_weights(t, con, load, &w) &&
	       expr_is_const(expr_atom(t->body->iv[con->col])->a, &cols) &&
	       count_misfits(&w) * 2 * panel <= cols;
}

/* The instruction for these weights. */
static const struct dot *choose_dot(const struct integer *t,
				    const struct op *w)
{
	const struct dot *const *dot = t->c->target->dot;
	struct contraction con;

	return dot[0]->saturates && dot[1] &&
			       !(contraction_match(t->c, t->compute, &con) &&
				 mostly_fits(t, &con, w))
		       ? dot[1]
		       : dot[0];
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
	const struct dot *dot = choose_dot(t, f[1 - a].load);

	if (dot->kind == DOT_MMA)
		return;
	convert_factor(t, &f[a], dot->rows);
	/* A panel is widened when it is packed. */
	if (dtype_size(dot->panel) == 1)
		convert_factor(t, &f[1 - a], dot->panel);
}
