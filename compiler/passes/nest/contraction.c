/* SPDX-License-Identifier: Apache-2.0 */
#include "passes/nest/contraction.h"

#include "ir/layout.h"
#include "ir/target.h"
#include "passes/nest/body.h"

struct mask {
	const struct block *of;
	uint32_t bits;
};

static void visit(void *arg, const struct atom *a)
{
	struct mask *m = arg;

	for (uint32_t i = 0; i < m->of->n_iv && i < 32; i++)
		if (expr_atom(m->of->iv[i]) == a)
			m->bits |= 1u << i;
}

static uint32_t vars(const struct expr *e, const struct block *b)
{
	struct mask m = { b, 0 };

	expr_visit(e, visit, &m);
	return m.bits;
}

static uint32_t load_vars(const struct op *load, const struct block *b)
{
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);
	uint32_t bits = 0;

	for (size_t i = 0; i < n; i++)
		bits |= vars(idx[i], b);
	idx = op_exprs(load, A_guard, &n);
	for (size_t i = 0; i < n; i++)
		bits |= vars(idx[i], b);
	return bits;
}

/* Fold variables that share an index with one of these of the statement. */
static uint32_t mixed(const struct op *load, const struct block *out,
		      uint32_t of, const struct block *fold)
{
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);
	uint32_t bits = 0;

	for (size_t i = 0; i < n; i++)
		if (vars(idx[i], out) & of)
			bits |= vars(idx[i], fold);
	return bits;
}

static bool packable(const struct op *load, const struct block *out,
		     uint32_t of, const struct block *fold)
{
	size_t n;

	op_exprs(load, A_guard, &n);
	return !n && !mixed(load, out, of, fold) && load->n_in == 1;
}

/* Ops of the block that make v. */
static unsigned makers(const struct value *v, const struct block *b)
{
	unsigned n = 1;

	if (!v->def || v->def->parent != b)
		return 0;
	for (unsigned i = 0; i < v->def->n_in; i++)
		if (v->def->in[i].val->type->kind == TY_SCALAR)
			n += makers(v->def->in[i].val, b);
	return n;
}

/* The factors, mul, add and yield are the whole fold. */
static bool nothing_else(const struct block *fold, struct op *a, struct op *b)
{
	unsigned n = 3, have = 0;

	if (a->parent != fold || b->parent != fold)
		return false;
	n += makers(product_factor(a), fold) + makers(product_factor(b), fold);
	for (const struct op *op = fold->first; op; op = op->next)
		have++;
	return have == n;
}

static int highest(uint32_t bits)
{
	int k = -1;

	for (int i = 0; i < 32; i++)
		if (bits >> i & 1)
			k = i;
	return k;
}

bool contraction_match(struct ctx *c, struct op *compute,
		       struct contraction *con)
{
	struct block *out = op_body(compute), *kb;
	struct op *a, *b;

	if (compute->n_out != 1)
		return false;
	con->compute = compute;
	con->fold = body_product(out);
	if (!con->fold || !fold_is_product(con->fold, &a, &b))
		return false;
	kb = op_body(con->fold);
	if (!nothing_else(kb, a, b))
		return false;
	enum dtype t = con->fold->out[0].type->dtype;
	struct op *init = def_of(con->fold->in[0].val, OP_arith_const);

	if ((t != DT_F32 && t != DT_F64 && t != DT_I32) || !init ||
	    (t == DT_I32 ? op_attr(init, A_value)->i != 0
			 : op_attr(init, A_value)->f != 0))
		return false;
	uint32_t real = block_real_ivs(out);
	uint32_t ua = load_vars(a, out) & real, ub = load_vars(b, out) & real;

	if ((ua | ub) != real)
		return false;
	/* Once packed, it is the second factor.  Before: what can be packed,
	 * a constant rather than a variable, else what has the last column. */
	bool pa = packable(a, out, ~(ua & ub), kb);
	bool pb = packable(b, out, ~(ua & ub), kb);
	bool ca = def_of(a->in[0].val, OP_core_const);
	bool cb = def_of(b->in[0].val, OP_core_const);
	bool swap = !pb || (pa && (ca != cb ? ca
					    : highest(ua & ~ub) >
						      highest(ub & ~ua)));

	if (op_has(compute, A_panel))
		swap = false;
	else if (!pb && !pa)
		return false;
	if (swap) {
		struct op *t_op = a;
		uint32_t t_bits = ua;

		a = b;
		b = t_op;
		ua = ub;
		ub = t_bits;
	}
	con->a = a;
	con->b = b;
	con->rows = ua & ~ub;
	con->cols = ub & ~ua;
	con->batch = ua & ub;
	con->window = mixed(a, out, ~con->batch, kb);
	if (!con->cols)
		return false;
	con->col = (unsigned)highest(con->cols);
	(void)c;
	return true;
}

/* Does i16 hold all numbers of the type? */
static bool fits_i16(enum dtype t)
{
	return t != DT_U16 && dtype_info[t].bits <= 16;
}

const struct dot *contraction_dot(struct ctx *c, const struct contraction *con)
{
	enum dtype a = con->a->out[0].type->dtype;
	enum dtype b = con->b->out[0].type->dtype;
	const struct dot *const *dot = c->target->dot;

	if (con->fold->out[0].type->dtype != DT_I32)
		return NULL;
	/* As they are; or widened, where they are copied and packed. */
	for (int wide = 0; wide < 2; wide++)
		for (size_t i = 0; i < ARRAY_SIZE(c->target->dot) && dot[i];
		     i++)
			if ((a == dot[i]->rows ||
			     (wide && dot[i]->rows == DT_I16 && fits_i16(a))) &&
			    (b == dot[i]->panel ||
			     (dot[i]->panel == DT_I16 && fits_i16(b))))
				return dot[i];
	return NULL;
}

bool contraction_fits(struct ctx *c, const struct contraction *con)
{
	return con->fold->out[0].type->dtype != DT_I32 ||
	       contraction_dot(c, con);
}

enum dtype contraction_row_dtype(struct ctx *c, const struct contraction *con)
{
	const struct dot *dot = contraction_dot(c, con);

	return dot ? dot->rows : con->fold->out[0].type->dtype;
}

void contraction_set_layout(struct ctx *c, const struct contraction *con)
{
	struct value *y = &con->compute->out[0];
	const struct atom *col = expr_atom(op_body(con->compute)->iv[con->col]);
	const struct expr *const *at = point_index(con->compute);
	unsigned rank = y->type->rank, last = 0;

	if (y->layout)
		return;
	while (last < rank && !expr_uses(at[last], col))
		last++;
	const struct layout *l = layout_with_last(c, y->type, last);

	/* Row-major stays unsaid when nothing is padded. */
	if (l->pad || last + 1 < rank)
		y->layout = l;
}

bool value_is_returned(const struct value *v)
{
	for (const struct use *u = v->uses; u; u = u->next)
		if (u->user->code == OP_core_return ||
		    u->user->code == OP_nest_yield ||
		    u->user->code == OP_core_scan)
			return true;
	return false;
}

const struct expr *expr_renamed(void *arg, const struct atom *a)
{
	const struct rename *r = arg;

	for (unsigned i = 0; i < r->n; i++)
		if (expr_atom(r->from[i]) == a)
			return r->to[i];
	return NULL;
}

void contraction_replace_load(struct ctx *c, struct op *load,
			      struct value *tensor, unsigned n,
			      const struct expr *const *idx)
{
	struct lower lo = { .b = { c, load->parent, load, load->loc } };
	const struct type *t = type_scalar(c, tensor->type->dtype);
	struct value *old = t == load->out[0].type ? &load->out[0]
						   : product_factor(load);
	struct named_attr attr = { A_idx, attr_exprs(c, n, idx) };
	struct op *op = build(&lo.b, &(struct op_spec){ .code = OP_nest_load,
							.n_in = 1,
							.in = &tensor,
							.n_out = 1, .out = &t,
							.n_attr = 1,
							.attr = &attr });

	value_replace(old, s_cast(&lo, old->type->dtype, &op->out[0]));
	if (old->def != load)
		op_erase(old->def);
	op_erase(load);
}

bool contraction_reads_once(const struct contraction *con)
{
	return !con->rows && !def_of(con->b->in[0].val, OP_core_const);
}
