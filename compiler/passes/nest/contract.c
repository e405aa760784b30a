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

#include "ir/eval.h"
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

static int64_t choose_width(struct ctx *c, const struct contraction *con)
{
	const struct block *out = op_body(con->compute);
	enum dtype t = con->fold->out[0].type->dtype;
	int64_t lanes = target_lanes(c->target, dtype_info[t].bits);
	int64_t n = const_or(expr_atom(out->iv[con->col])->a, 0);
	int64_t best = 4 * lanes;

	if (con->rows)
		return contraction_width(c->target, t, rows_in_line(con), n,
					 is_cold(c, con));
	/* A matrix-vector product wants many independent sums. */
	while (best > lanes && n && best >= n + lanes)
		best -= lanes;
	return best;
}

static struct value *const_of(struct builder *b, struct op *compute)
{
	struct ctx *c = b->ctx;
	struct arena tmp = { 0 };
	struct tensor t;
	struct value *v = NULL;
	int64_t n = 1;

	if (eval_compute(c, compute, &t, &tmp) == EVAL_OK) {
		for (unsigned i = 0; i < t.rank; i++)
			n *= t.dim[i];
		n = (int64_t)dtype_bytes(t.dtype, (size_t)n);
		v = build_const(b, compute->out[0].type,
				(struct blob){ arena_copy(&c->perm, t.data,
							  (size_t)n),
					       (size_t)n });
	}
	arena_free(&tmp);
	return v;
}

static bool reads_constants(struct op *load)
{
	return def_of(load->in[0].val, OP_core_const);
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

/* Order of the fold's variables in the panel but for the group's: that of the
 * row operand in memory, so that it is read in order. */
static unsigned fold_order(const struct contraction *con,
			   const struct group *g, unsigned *order)
{
	const struct block *kb = op_body(con->fold);
	bool window_first = channels_last(con);
	unsigned n = 0;

	for (int pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < kb->n_iv - (g->size > 1); i++)
			if ((con->window >> i & 1) == (window_first == !pass))
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

	if (con->fold->out[0].type->dtype == DT_I32)
		return c->target->dot->panel;
	if (dtype_info[t].bits == 8 && reads_constants(con->b))
		return t;
	if (!dtype_is_half(t))
		return con->fold->out[0].type->dtype;
	return reads_constants(con->b) &&
			       (t == DT_BF16 || c->target->isa->f16c)
		       ? t
		       : DT_F32;
}

static void pack_columns(struct ctx *c, struct contraction *con,
			 const struct group *g)
{
	struct block *out = op_body(con->compute), *kb = op_body(con->fold);
	struct builder b = { c, con->compute->parent, con->compute,
			     con->compute->loc };
	struct lower lo = { .b = b };
	const struct expr *dim[2 * MAX_RANK], *at[2 * MAX_RANK];
	struct rename rn = { .n = 0 };
	int64_t panel_width = choose_width(c, con);
	const struct expr *width = expr_const(c, panel_width);
	const struct expr *n = out->iv[con->col], *cols = expr_atom(n)->a;
	unsigned order[MAX_RANK], rank = 0;

	/* Outer: batch and further columns that the operand uses. */
	for (uint32_t i = 0; i < out->n_iv; i++)
		if (i != con->col && (con->cols | con->batch) >> i & 1) {
			rn.from[rn.n++] = at[rank] = out->iv[i];
			dim[rank++] = expr_atom(out->iv[i])->a;
		}
	at[rank] = expr_div(c, n, width);
	unsigned panel = rank;

	dim[rank++] = expr_ceildiv(c, cols, width);
	unsigned n_k = fold_order(con, g, order);

	for (unsigned i = 0; i < n_k; i++) {
		rn.from[rn.n++] = at[rank] = kb->iv[order[i]];
		dim[rank++] = expr_atom(kb->iv[order[i]])->a;
	}
	unsigned column = rank;

	at[rank] = expr_mod(c, n, width);
	dim[rank++] = width;
	if (g->size > 1) {
		rn.from[rn.n++] = at[rank] = kb->iv[kb->n_iv - 1];
		dim[rank++] = expr_const(c, g->size);
	}

	enum dtype from = con->b->out[0].type->dtype;
	const struct type *t = type_tensor(c, panel_dtype(c, con), rank, dim);
	struct nest s = nest_begin(&lo, 1, &t);
	const struct expr *col = expr_add(c, expr_mul(c, s.iv[panel], width),
					  s.iv[column]);
	unsigned k = 0;

	for (unsigned i = 0; i < rank; i++)
		if (i != panel && i != column)
			rn.to[k++] = s.iv[i];
	rn.from[rn.n] = n;
	rn.to[rn.n++] = col;
	/* A variable of extent 1 is no dim of the panels. */
	for (uint32_t i = 0; i < out->n_iv; i++)
		if (expr_is(expr_atom(out->iv[i])->a, 1) && i != con->col) {
			rn.from[rn.n] = out->iv[i];
			rn.to[rn.n++] = expr_const(c, 0);
		}
	size_t n_idx;
	const struct expr *const *idx = op_exprs(con->b, A_idx, &n_idx);
	const struct expr *e[MAX_RANK], *guard[2];

	for (size_t i = 0; i < n_idx; i++)
		e[i] = expr_subst(c, idx[i], expr_renamed, &rn);
	guard[0] = expr_addc(c, expr_sub(c, cols, col), -1);
	if (g->inside)
		guard[1] = expr_subst(c, g->inside, expr_renamed, &rn);
	struct value *zero = s_const(&lo, from, 0);
	struct value *v = nest_load_guarded(&lo, con->b->in[0].val, e,
					    1 + (g->inside != NULL), guard,
					    zero);
	struct value *packed;

	v = s_cast(&lo, t->dtype, v);

	nest_end(&lo, &s, 1, &v, &packed);
	erase_dead(op_body(s.op));
	if (reads_constants(con->b)) {
		struct value *folded = const_of(&b, s.op);

		if (folded) {
			value_replace(packed, folded);
			op_erase(s.op);
			packed = folded;
		}
	}
	struct op *mul = product_factor(con->b)->uses->user;

	contraction_replace_load(c, con->b, packed, rank, at);
	/* The packed operand becomes the second factor. */
	if (mul->in[0].val != product_factor(con->a)) {
		struct value *p = mul->in[0].val;

		op_set_in(mul, 0, mul->in[1].val);
		op_set_in(mul, 1, p);
	}
	op_set_int(c, con->compute, A_panel, panel_width);
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

static void contract_block(struct ctx *c, struct block *b)
{
	for (struct op *op = b->first; op; op = op->next) {
		if (op->code == OP_core_scan)
			contract_block(c, op_body(op));
		if (op->code == OP_nest_compute)
			contract_statement(c, op);
	}
}

static bool contract_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	contract_block(m->ctx, op_body(m->func));
	erase_dead(op_body(m->func));
	return true;
}

PASS(contract,
	.summary = "Pack the operands of contractions for register kernels",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.run = contract_run);
