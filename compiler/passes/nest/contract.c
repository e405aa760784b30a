/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contract: prepares contractions for their register kernels.
 *
 *	y[m, n] = f(sum k: x[m, k] * w[k, n])
 * ->
 *	p[j, k, r] = w[k, NR*j + r]             (a constant when w is one)
 *	y[m, n] = f(sum k: x[m, k] * p[n div NR, k, n mod NR])
 *
 * The columns are packed into panels of NR, zero beyond the last column.  A
 * row operand with guards (padding) or with indices that are not affine is
 * copied first; the copy has the padding in it.  The result and the copy get a
 * layout whose innermost dim is the one that the kernel reads in order:
 * channels last, found from the index maps.
 */
#include <string.h>

#include "ir/layout.h"
#include "ir/target.h"
#include "passes/nest/body.h"
#include "passes/nest/contraction.h"

static int64_t const_or(const struct expr *e, int64_t other)
{
	int64_t k;

	return expr_is_const(e, &k) ? k : other;
}

/*
 * Rows that one tile loop will walk, as far as they are known here: windows
 * keep to one line of pixels; -1 when symbolic.
 */
static int64_t rows_in_line(const struct contraction *con)
{
	const struct block *out = op_body(con->compute);
	int64_t rows = 1, n;

	for (uint32_t i = out->n_iv; i-- > 0;) {
		if (!(con->rows >> i & 1))
			continue;
		if (!expr_is_const(expr_atom(out->iv[i])->a, &n))
			return rows > 1 ? rows : -1;
		if (rows < INT32_MAX)
			rows *= n;
		if (con->window)
			break;
	}
	return rows;
}

/* Does the packed operand come from memory, rather than a cache, each time? */
static bool is_cold(struct ctx *c, const struct contraction *con)
{
	const struct type *t = con->b->in[0].val->type;
	int64_t n = const_or(type_elems(c, t), 0);

	return def_of(con->b->in[0].val, OP_core_const) &&
	       n / 2 * (int64_t)dtype_size(t->dtype) > c->target->isa->l2_bytes;
}

int64_t contraction_width(const struct target *target, enum dtype t,
			  int64_t rows, int64_t cols, bool cold)
{
	const struct isa *isa = target->isa;
	int64_t lanes = target_lanes(target, dtype_info[t].bits);
	int64_t best = isa->tile[0].nv * lanes, best_cost = INT64_MAX;

	for (int i = 0; i < MAX_TILES && isa->tile[i].mr && cols; i++) {
		unsigned mr, nv = isa->tile[i].nv;
		int64_t nr = nv * lanes;
		int64_t cost = target_rows_cost(target, rows, nv, &mr);

		/* Rows of the same tile are counted over the same columns. */
		if (cold && rows > 0)
			cost = target_cold_cost(target, rows, nv);
		cost *= (cols + nr - 1) / nr;
		if (rows < 0)
			cost = cost * 64 / mr;
		if (cost < best_cost) {
			best_cost = cost;
			best = nr;
		}
	}
	return best;
}

static bool reads_constants(struct op *load)
{
	return def_of(load->in[0].val, OP_core_const);
}

static int64_t choose_width(struct ctx *c, const struct contraction *con)
{
	const struct block *out = op_body(con->compute);
	enum dtype t = con->fold->out[0].type->dtype;
	int64_t lanes = target_lanes(c->target, dtype_info[t].bits);
	int64_t n = const_or(expr_atom(out->iv[con->col])->a, 0);
	int64_t best = 4 * lanes;
	const struct dot *dot = contraction_dot(c, con);

	/* A vector of columns has chains of its own. */
	if (dot && dot->saturates && reads_constants(con->b))
		return lanes;
	if (con->rows)
		return contraction_width(c->target, t, rows_in_line(con), n,
					 is_cold(c, con));
	/* A matrix-vector product wants many independent sums. */
	while (best > lanes && n && best >= n + lanes)
		best -= lanes;
	return best;
}

/* Does one of the fold's own variables (a channel) run along the innermost
 * dim of the row operand in memory? */
static bool channels_last(const struct contraction *con)
{
	const struct block *kb = op_body(con->fold);
	const struct value *buf = con->a->in[0].val;
	size_t n;
	const struct expr *const *idx = op_exprs(con->a, A_idx, &n);

	if (!n)
		return false;
	unsigned d = layout_dim(buf, (unsigned)n - 1);

	for (uint32_t i = 0; i < kb->n_iv; i++)
		if (!(con->window >> i & 1) &&
		    expr_uses(idx[d], expr_atom(kb->iv[i])))
			return true;
	return false;
}

/*
 * Order of the fold's variables in the panel but for the group's: that of the
 * row operand in memory, so that it is read in order; those of which scales
 * depend before the others.
 */
static unsigned fold_order(const struct contraction *con,
			   const struct group *g, unsigned *order)
{
	const struct block *kb = op_body(con->fold);
	bool window_first = channels_last(con);
	struct decode d;
	uint32_t outer = product_decodes(con->b, &d) ? op_uses_ivs(d.scale, kb)
						     : 0;
	unsigned n = 0;

	for (int pass = 0; pass < 4; pass++)
		for (uint32_t i = 0; i < kb->n_iv - (g->size > 1); i++)
			if ((con->window >> i & 1) == (window_first ==
						       !(pass & 1)) &&
			    (outer >> i & 1) == (pass < 2))
				order[n++] = i;
	return n;
}

/*
 * Panels keep half floats where a vector of them is widened in an instruction
 * or two when it is loaded: that halves what is read, and each serves all rows
 * of a tile.  A panel packed in the call is read soon, once per block of rows.
 */
static enum dtype panel_dtype(struct ctx *c, const struct contraction *con)
{
	enum dtype t = con->b->out[0].type->dtype;

	const struct dot *dot = contraction_dot(c, con);

	if (dot)
		return dot->panel;
	if (dtype_info[t].bits == 8 && reads_constants(con->b))
		return t;
	if (!dtype_is_half(t))
		return con->fold->out[0].type->dtype;
	return reads_constants(con->b) &&
			       (t == DT_BF16 || c->target->isa->f16c)
		       ? t
		       : DT_F32;
}

/* The panel's dims, each with the index at which the kernel reads it, and the
 * variables of the load with those that stand for them in the panel. */
struct panel {
	struct ctx *c;
	const struct contraction *con;
	struct op *load;
	const struct expr *dim[2 * MAX_RANK], *at[2 * MAX_RANK];
	unsigned rank, panel, column;
	struct rename rn;
};

static void add_dim(struct panel *p, const struct expr *iv)
{
	p->rn.from[p->rn.n++] = p->at[p->rank] = iv;
	p->dim[p->rank++] = expr_atom(iv)->a;
}

/* Batch variables and further columns, panels, steps of the sum, columns, and
 * the group. */
static void choose_dims(struct panel *p, const struct group *g, int64_t nr)
{
	const struct contraction *con = p->con;
	const struct block *out = op_body(con->compute);
	const struct block *kb = op_body(con->fold);
	const struct expr *n = out->iv[con->col], *width = expr_const(p->c, nr);
	uint32_t used = op_uses_ivs(p->load, out);
	uint32_t steps = op_uses_ivs(p->load, kb);
	unsigned order[MAX_RANK];

	for (uint32_t i = 0; i < out->n_iv; i++)
		if (i != con->col &&
		    (con->cols | con->batch) & used & (1u << i))
			add_dim(p, out->iv[i]);
	p->panel = p->rank;
	p->at[p->rank] = expr_div(p->c, n, width);
	p->dim[p->rank++] = expr_ceildiv(p->c, expr_atom(n)->a, width);
	unsigned n_k = fold_order(con, g, order);

	for (unsigned i = 0; i < n_k; i++)
		if (p->load == con->b || steps >> order[i] & 1)
			add_dim(p, kb->iv[order[i]]);
	p->column = p->rank;
	p->at[p->rank] = expr_mod(p->c, n, width);
	p->dim[p->rank++] = width;
	if (g->size > 1 && p->load == con->b)
		add_dim(p, kb->iv[kb->n_iv - 1]);
}

/* Variables of the panel's statement in the load's indices. */
static void rename_dims(struct panel *p, const struct nest *s, int64_t nr)
{
	const struct contraction *con = p->con;
	const struct block *out = op_body(con->compute);
	struct rename *rn = &p->rn;
	unsigned k = 0;

	for (unsigned i = 0; i < p->rank; i++)
		if (i != p->panel && i != p->column)
			rn->to[k++] = s->iv[i];
	rn->from[rn->n] = out->iv[con->col];
	rn->to[rn->n++] = expr_add(p->c, expr_scale(p->c, s->iv[p->panel], nr),
				   s->iv[p->column]);
	/* A variable of extent 1 is no dim of the panels. */
	for (uint32_t i = 0; i < out->n_iv; i++)
		if (expr_is(expr_atom(out->iv[i])->a, 1) && i != con->col) {
			rn->from[rn->n] = out->iv[i];
			rn->to[rn->n++] = expr_const(p->c, 0);
		}
}

/* The load reads panels of nr columns, zero beyond the last column. */
static void pack(struct ctx *c, const struct contraction *con,
		 const struct group *g, struct op *load, enum dtype t,
		 int64_t nr)
{
	struct builder b = { c, con->compute->parent, con->compute,
			     con->compute->loc };
	struct lower lo = { .b = b };
	struct panel p = { .c = c, .con = con, .load = load };
	const struct expr *col = op_body(con->compute)->iv[con->col];

	choose_dims(&p, g, nr);
	const struct type *type = type_tensor(c, t, p.rank, p.dim);
	struct nest s = nest_begin(&lo, 1, &type);

	rename_dims(&p, &s, nr);
	size_t n_idx;
	const struct expr *const *idx = op_exprs(load, A_idx, &n_idx);
	const struct expr *e[MAX_RANK], *guard[2];
	bool short_group = g->inside && load == con->b;

	for (size_t i = 0; i < n_idx; i++)
		e[i] = expr_subst(c, idx[i], expr_renamed, &p.rn);
	guard[0] = expr_subst(c, expr_addc(c, expr_sub(c, expr_atom(col)->a,
						       col), -1),
			      expr_renamed, &p.rn);
	if (short_group)
		guard[1] = expr_subst(c, g->inside, expr_renamed, &p.rn);
	struct value *zero = s_const(&lo, load->out[0].type->dtype, 0);
	struct value *v = nest_load_guarded(&lo, load->in[0].val, e,
					    1 + short_group, guard, zero);
	struct value *packed;

	v = s_cast(&lo, t, v);
	nest_end(&lo, &s, 1, &v, &packed);
	erase_dead(op_body(s.op));
	struct value *folded = reads_constants(load) ? statement_const(&b, s.op)
						     : NULL;

	if (folded) {
		value_replace(packed, folded);
		op_erase(s.op);
		packed = folded;
	}
	contraction_replace_load(c, load, packed, p.rank, p.at);
}

static void pack_columns(struct ctx *c, struct contraction *con,
			 const struct group *g)
{
	int64_t nr = choose_width(c, con);
	struct op *mul = fold_product(con->fold);
	struct decode d;

	/* The packed operand becomes the second factor. */
	if (mul->in[0].val != product_factor(con->a)) {
		struct value *v = mul->in[0].val;

		op_set_in(mul, 0, mul->in[1].val);
		op_set_in(mul, 1, v);
	}
	if (product_decodes(con->b, &d)) {
		pack(c, con, g, d.scale, d.scale->out[0].type->dtype, nr);
		if (d.zero)
			pack(c, con, g, d.zero, d.zero->out[0].type->dtype,
			     nr);
		pack(c, con, g, con->b, con->b->out[0].type->dtype, nr);
	} else {
		pack(c, con, g, con->b, panel_dtype(c, con), nr);
	}
	op_set_int(c, con->compute, A_panel, nr);
}

static void contract_statement(struct ctx *c, struct op *op)
{
	struct contraction con;
	struct group g;

	if (op_has(op, A_panel) || !contraction_match(c, op, &con) ||
	    !contraction_fits(c, &con))
		return;
	contraction_group(c, &con, &g);
	if (g.size > 1 && !contraction_match(c, op, &con))
		return;
	if (!contraction_copy_rows(c, &con, &g)) {
		contraction_guard_group(c, &con, &g);
		return;
	}
	if (!contraction_match(c, op, &con))
		return;
	if (!value_is_returned(&op->out[0]))
		contraction_set_layout(c, &con);
	pack_columns(c, &con, &g);
}

static bool contract_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	/* The kernels fuse products and sums. */
	if (!m->ctx->strict_qdq)
		each_statement(m->ctx, op_body(m->func),
			       contract_statement);
	erase_dead(op_body(m->func));
	return true;
}

PASS(contract,
	.summary = "Pack the operands of contractions for register kernels",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.run = contract_run);
