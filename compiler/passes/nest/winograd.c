/* SPDX-License-Identifier: Apache-2.0 */
/*
 * winograd: windows of 3 x 3 taps that move by one, with fewer products.
 *
 *	y[o, i, j, k] = f(sum c, p, q: x[o, i+p, j+q, c] * w[p, q, c, k])
 * ->
 *	v[a, b, o, s, t, c] =
 *		sum p, q: B[a, p] * B[b, q] * x[o, m*s+p, m*t+q, c]
 *	z[a, b, o, s, t, k] = sum c: v[a, b, o, s, t, c] *
 *				     u[a, b, k div NR, c, k mod NR]
 *	y[o, i, j, k] = f(sum a, b: A[i mod m, a] * A[j mod m, b] *
 *			      z[a, b, o, i div m, j div m, k])
 *
 * with m = 2 or 4 and m+2 values of a and b: 4 or 2.25 products for an output
 * instead of 9.  u is computed here, in double.  The second statement is
 * (m+2)^2 ordinary contractions; the first and the last are marked for
 * lower_loops to write out a tile at a time (`jam`), where the sums, each given
 * as two sparse factors, share what they have in common.  What followed the
 * window's sum follows the last one; guards of the row operand (padding) become
 * guards of the first statement's loads.
 *
 * Of integers v and u are in 16 bits and z in 32, and f takes the exact sum;
 * winograd_exact.c says when that is possible.
 *
 * All three may be computed in strips of some lines of tiles, so that v and z
 * stay in cache (`strip`).  Where a window of x holds an infinity or a NaN, all
 * outputs of its tile may be NaN.
 *
 * Winograd 1980 (Arithmetic Complexity of Computations), Lavin and Gray 2016
 * (Fast Algorithms for Convolutional Neural Networks); the points of m = 4 are
 * chosen for their error, see docs/decisions/007-winograd.md.
 */
#include "ir/layout.h"
#include "ir/target.h"
#include "passes/nest/winograd.h"

/* ---- recognition ---------------------------------------------------- */

/* Offset in the constant as a sum of multiples of the variables. */
static bool weight_steps(struct ctx *c, struct windows *wn)
{
	const struct block *out = op_body(wn->con.compute);
	const struct block *kb = op_body(wn->con.fold);
	size_t n;
	const struct expr *e = layout_offset(c, wn->con.b->in[0].val,
					     op_exprs(wn->con.b, A_idx, &n));
	const struct expr *iv[] = { out->iv[wn->con.col], kb->iv[wn->channel],
				    kb->iv[wn->tap[0]], kb->iv[wn->tap[1]] };
	const struct expr *coef;
	struct cloner cl = { .ctx = c };

	for (uint32_t i = 0; i < out->n_iv; i++)
		if (expr_is(expr_atom(out->iv[i])->a, 1))
			clone_iv(&cl, out->iv[i], expr_const(c, 0));
	e = clone_expr(&cl, e);
	cloner_free(&cl);
	for (unsigned i = 0; i < 4; i++)
		if (!expr_linear(c, e, expr_atom(iv[i]), &coef, &e) ||
		    !expr_is_const(coef, &wn->step[i]))
			return false;
	return expr_is_const(e, &wn->base);
}

/* The index is row + tap + a constant. */
static bool is_window(struct ctx *c, const struct expr *e,
		      const struct expr *row, const struct expr *tap)
{
	const struct expr *k;
	int64_t at;

	return expr_linear(c, e, expr_atom(row), &k, &e) && expr_is(k, 1) &&
	       expr_linear(c, e, expr_atom(tap), &k, &e) && expr_is(k, 1) &&
	       expr_is_const(e, &at);
}

/* Guards must not tell a row from a tap. */
static bool guards_match(struct ctx *c, const struct windows *wn)
{
	const struct block *out = op_body(wn->con.compute);
	const struct block *kb = op_body(wn->con.fold);
	const struct expr *x, *y, *rest;
	union scalar other;
	size_t n;
	const struct expr *const *g = op_exprs(wn->con.a, A_guard, &n);

	if (wn->con.a->n_in > 2 ||
	    (n && (!scalar_const(wn->con.a->in[1].val, &other) ||
		   (!wn->dot && other.d != 0))))
		return false;
	for (size_t i = 0; i < n; i++)
		for (unsigned d = 0; d < 2; d++)
			if (!expr_is_affine(g[i]) ||
			    !expr_linear(c, g[i],
					 expr_atom(out->iv[wn->row[d]]), &x,
					 &rest) ||
			    !expr_linear(c, g[i],
					 expr_atom(kb->iv[wn->tap[d]]), &y,
					 &rest) ||
			    x != y)
				return false;
	return true;
}

/* The row operand's indices: two windows, the others without their rows and
 * taps. */
static bool find_windows(struct ctx *c, struct windows *wn)
{
	const struct block *out = op_body(wn->con.compute);
	const struct block *kb = op_body(wn->con.fold);
	size_t n;
	const struct expr *const *idx = op_exprs(wn->con.a, A_idx, &n);
	unsigned found = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned mixed = 0;

		if (!expr_is_affine(idx[i]))
			return false;
		for (uint32_t k = 0; k < kb->n_iv; k++)
			for (uint32_t r = 0; r < out->n_iv; r++) {
				if (!expr_uses(idx[i], expr_atom(kb->iv[k])) ||
				    !expr_uses(idx[i], expr_atom(out->iv[r])))
					continue;
				if (found == 2 || mixed++ ||
				    !(wn->con.rows >> r & 1) ||
				    !is_window(c, idx[i], out->iv[r],
					       kb->iv[k]))
					return false;
				wn->index[found] = (unsigned)i;
				wn->row[found] = r;
				wn->tap[found++] = k;
			}
	}
	if (found != 2 || wn->row[0] == wn->row[1] || wn->tap[0] == wn->tap[1])
		return false;
	/* Nobody else uses them. */
	for (size_t i = 0; i < n; i++)
		for (unsigned d = 0; d < 2; d++)
			if (i != wn->index[d] &&
			    (expr_uses(idx[i],
				       expr_atom(out->iv[wn->row[d]])) ||
			     expr_uses(idx[i], expr_atom(kb->iv[wn->tap[d]]))))
				return false;
	return true;
}

/* Sums of floats; of integers that pairs of i16 can be made of. */
static bool types_match(struct ctx *c, struct windows *wn)
{
	const struct contraction *con = &wn->con;
	enum dtype t = con->b->out[0].type->dtype;

	wn->dot = NULL;
	wn->elem = wn->sum = con->fold->out[0].type->dtype;
	if (wn->sum == DT_F32)
		return con->a->out[0].type->dtype == DT_F32 &&
		       (t == DT_F32 || dtype_is_half(t));
	wn->elem = DT_I16;
	wn->dot = target_dot(c->target, wn->elem, wn->elem);
	return wn->sum == DT_I32 && wn->dot && wn->dot->group > 1 &&
	       (t == DT_U8 || t == DT_I8) &&
	       winograd_row_range(con, &wn->rows);
}

static bool windows_match(struct ctx *c, struct op *op, struct windows *wn)
{
	if (!contraction_match(c, op, &wn->con))
		return false;
	const struct block *out = op_body(op), *kb = op_body(wn->con.fold);
	const struct contraction *con = &wn->con;

	if (!types_match(c, wn) || con->batch || op_has(op, A_idx) ||
	    con->cols != 1u << con->col || kb->n_iv != 3 ||
	    op_has(op, A_panel) || !def_of(con->b->in[0].val, OP_core_const) ||
	    !find_windows(c, wn))
		return false;
	wn->channel = 3 - wn->tap[0] - wn->tap[1];
	for (unsigned d = 0; d < 2; d++)
		if (!expr_is(expr_atom(kb->iv[wn->tap[d]])->a, 3) ||
		    !expr_is_const(expr_atom(out->iv[wn->row[d]])->a,
				   &wn->size[d]))
			return false;
	return expr_is_const(expr_atom(kb->iv[wn->channel])->a, &wn->c_in) &&
	       expr_is_const(expr_atom(out->iv[con->col])->a, &wn->c_out) &&
	       wn->c_in > 0 && wn->c_out > 0 && wn->size[0] > 0 &&
	       wn->size[1] > 0 &&
	       (!wn->dot || wn->c_in % wn->dot->group == 0) &&
	       guards_match(c, wn) && weight_steps(c, wn);
}

/* ---- sums of products with constant matrices ------------------------ */

/* sum k0: m0[row0, k0] * sum k1: m1[k0, k1] * sum k2: m2[row1, k2] *
 * sum k3: m3[k2, k3] * leaf(k1, k3) */
struct sums {
	struct value *mat[2];		/* m0 = m2, m1 = m3 */
	const struct expr *row[2];
	struct value *zero;
	struct value *(*leaf)(struct lower *lo, struct sums *s,
			      const struct expr *y, const struct expr *x);
	const struct expr *k[4];
	/* For the leaf. */
	struct windows *wn;
	struct value *from;
	const struct expr *const *iv;
};

static struct value *sum(struct lower *lo, struct sums *s, unsigned i)
{
	struct value *m = s->mat[i % 2], *x, *next;
	const struct expr *at[2];
	struct reduce r;

	if (i == 4)
		return s->leaf(lo, s, s->k[1], s->k[3]);
	r = nest_reduce_begin(lo, 1, &m->type->dim[1], 1, &s->zero);
	s->k[i] = r.iv[0];
	at[0] = i % 2 ? s->k[i - 1] : s->row[i / 2];
	at[1] = s->k[i];
	x = nest_load(lo, m, at);
	x = s_mul(lo, x, sum(lo, s, i + 1));
	next = s_add(lo, r.acc[0], x);
	nest_reduce_end(lo, &r, &next, &x);
	return x;
}

static struct value *matrix(struct lower *lo, enum dtype t, unsigned rows,
			    unsigned cols,
			    const double m[MAX_TAPS][MAX_TAPS])
{
	struct ctx *c = lo->b.ctx;
	const struct expr *dim[] = { expr_const(c, rows), expr_const(c, cols) };
	size_t size = rows * cols * dtype_size(t);
	void *data = arena_alloc(&c->perm, size);

	for (unsigned i = 0; i < rows; i++)
		for (unsigned k = 0; k < cols; k++) {
			union scalar x = { .i = (int64_t)m[i][k] };

			if (dtype_is_float(t))
				x.d = m[i][k];
			scalar_put(t, data, i * cols + k, x);
		}
	return build_const(&lo->b, type_tensor(c, t, 2, dim),
			   (struct blob){ data, size });
}

/* ---- the statements ------------------------------------------------- */

/* Dims of v and z: (m+2)^2, the rows that are no windows, tiles, channels. */
static unsigned tile_dims(struct ctx *c, const struct windows *wn,
			  const struct expr *channels, const struct expr **dim)
{
	const struct block *out = op_body(wn->con.compute);
	unsigned r = 0, m = wn->f->m;

	dim[r++] = expr_const(c, m + 2);
	dim[r++] = expr_const(c, m + 2);
	for (uint32_t i = 0; i < out->n_iv; i++)
		if (i != wn->con.col && i != wn->row[0] && i != wn->row[1])
			dim[r++] = expr_atom(out->iv[i])->a;
	for (unsigned d = 0; d < 2; d++)
		dim[r++] = expr_const(c, (wn->size[d] + m - 1) / m);
	dim[r++] = channels;
	return r;
}

/* An element of x for the tile and the row and column of its window; zero
 * beyond the borders, also below the last line that a tap reads. */
static struct value *load_window(struct lower *lo, struct sums *s,
				 const struct expr *y, const struct expr *x)
{
	struct ctx *c = lo->b.ctx;
	struct windows *wn = s->wn;
	const struct block *out = op_body(wn->con.compute);
	const struct block *kb = op_body(wn->con.fold);
	const struct type *t = s->from->type;
	const struct expr *e[MAX_RANK], *g[MAX_RANK * 2], *tap[] = { y, x };
	const struct expr *const *iv = s->iv + 2;
	size_t n, n_guard;
	const struct expr *const *idx = op_exprs(wn->con.a, A_idx, &n);
	const struct expr *const *guard = op_exprs(wn->con.a, A_guard,
						   &n_guard);
	struct cloner cl = { .ctx = c };
	unsigned ng = 0;

	for (uint32_t i = 0; i < out->n_iv; i++)
		if (i != wn->con.col && i != wn->row[0] && i != wn->row[1])
			clone_iv(&cl, out->iv[i], *iv++);
	for (unsigned d = 0; d < 2; d++) {
		clone_iv(&cl, out->iv[wn->row[d]],
			 expr_scale(c, *iv++, wn->f->m));
		clone_iv(&cl, kb->iv[wn->tap[d]], tap[d]);
	}
	clone_iv(&cl, kb->iv[wn->channel], *iv);
	for (size_t i = 0; i < n; i++)
		e[i] = clone_expr(&cl, idx[i]);
	for (unsigned d = 0; d < 2; d++) {
		unsigned i = wn->index[d];

		g[ng++] = e[i];
		g[ng++] = expr_addc(c, expr_sub(c, t->dim[i], e[i]), -1);
	}
	for (size_t i = 0; i < n_guard; i++) {
		const struct expr *k = clone_expr(&cl, guard[i]);

		if (k != g[0] && k != g[1] && k != g[2] && k != g[3])
			g[ng++] = k;
	}
	cloner_free(&cl);

	union scalar other = { .i = 0 };

	if (wn->con.a->n_in > 1)
		scalar_const(wn->con.a->in[1].val, &other);
	return s_cast(lo, wn->elem,
		      nest_load_guarded(lo, s->from, e, ng, g,
					s_int(lo, t->dtype, other.i)));
}

/* Rows of channels as a contraction wants them. */
static void pad_rows(struct ctx *c, struct value *v)
{
	const struct layout *l = layout_make(c, v->type, NULL);

	v->layout = l->pad ? l : NULL;
}

static struct value *transform_rows(struct ctx *c, struct windows *wn,
				    struct lower *lo)
{
	const struct expr *dim[MAX_RANK];
	unsigned n = wn->f->m + 2;
	const struct expr *ch =
		expr_atom(op_body(wn->con.fold)->iv[wn->channel])->a;
	unsigned rank = tile_dims(c, wn, ch, dim);
	const struct type *t = type_tensor(c, wn->elem, rank, dim);
	struct sums s = { .mat = { matrix(lo, wn->elem, n, n, wn->f->s),
				   matrix(lo, wn->elem, n, n, wn->f->r) },
			  .leaf = load_window, .wn = wn,
			  .from = wn->con.a->in[0].val };
	struct nest nest = nest_begin(lo, 1, &t);
	int64_t jam[MAX_RANK];
	struct value *v;

	s.zero = s_const(lo, wn->elem, 0);
	s.row[0] = nest.iv[0];
	s.row[1] = nest.iv[1];
	s.iv = nest.iv;
	v = sum(lo, &s, 0);
	nest_end(lo, &nest, 1, &v, &v);
	for (unsigned i = 0; i < rank; i++)
		jam[i] = i < 2 ? n : 1;
	op_set_attr(c, nest.op, A_jam, attr_ints(c, rank, jam));
	pad_rows(c, v);
	return v;
}

/* With its weights packed, as pass contract does it. */
static struct value *multiply(struct ctx *c, struct windows *wn,
			      struct lower *lo, struct value *v, int64_t width)
{
	const struct block *out = op_body(wn->con.compute);
	const struct expr *dim[MAX_RANK], *at[MAX_RANK], *ku[6];
	int64_t group = wn->dot ? wn->dot->group : 1;
	const struct expr *ch[] = { expr_const(c, wn->c_in / group),
				    expr_const(c, group) };
	const struct expr *w = expr_const(c, width);
	unsigned rank = tile_dims(
		c, wn, expr_atom(out->iv[wn->con.col])->a, dim);
	const struct type *t = type_tensor(c, wn->sum, rank, dim);
	struct value *u = winograd_weights(&lo->b, wn, width);
	struct nest nest = nest_begin(lo, 1, &t);
	struct value *zero = s_const(lo, wn->sum, 0), *x, *y;
	struct reduce r = nest_reduce_begin(lo, 1 + (group > 1), ch, 1, &zero);

	for (unsigned i = 0; i + 1 < rank; i++)
		at[i] = nest.iv[i];
	at[rank - 1] = ku[3] = r.iv[0];
	if (group > 1) {
		ku[5] = r.iv[1];
		at[rank - 1] = expr_add(c, expr_scale(c, r.iv[0], group),
					r.iv[1]);
	}
	ku[0] = nest.iv[0];
	ku[1] = nest.iv[1];
	ku[2] = expr_div(c, nest.iv[rank - 1], w);
	ku[4] = expr_mod(c, nest.iv[rank - 1], w);
	x = s_cast(lo, wn->sum, nest_load(lo, v, at));
	y = s_cast(lo, wn->sum, nest_load(lo, u, ku));
	x = s_add(lo, r.acc[0], s_mul(lo, x, y));
	nest_reduce_end(lo, &r, &x, &x);
	nest_end(lo, &nest, 1, &x, &x);
	op_set_int(c, nest.op, A_panel, width);
	pad_rows(c, x);
	return x;
}

static struct value *load_product(struct lower *lo, struct sums *s,
				  const struct expr *y, const struct expr *x)
{
	struct ctx *c = lo->b.ctx;
	const struct windows *wn = s->wn;
	const struct block *out = op_body(wn->con.compute);
	const struct expr *at[MAX_RANK], *m = expr_const(c, wn->f->m);
	unsigned r = 0;

	at[r++] = y;
	at[r++] = x;
	for (uint32_t i = 0; i < out->n_iv; i++)
		if (i != wn->con.col && i != wn->row[0] && i != wn->row[1])
			at[r++] = out->iv[i];
	for (unsigned d = 0; d < 2; d++)
		at[r++] = expr_div(c, out->iv[wn->row[d]], m);
	at[r++] = out->iv[wn->con.col];
	return nest_load(lo, s->from, at);
}

/* The statement reads its sum from z. */
static void transform_back(struct ctx *c, struct windows *wn,
			   struct lower *lo, struct value *z)
{
	struct op *op = wn->con.compute, *fold = wn->con.fold;
	struct block *out = op_body(op);
	unsigned m = wn->f->m;
	struct sums s = { .mat = { matrix(lo, wn->sum, m, m + 2, wn->f->p),
				   matrix(lo, wn->sum, m + 2, m + 2,
					  wn->f->q) },
			  .leaf = load_product, .wn = wn, .from = z,
			  .zero = fold->in[0].val };
	struct lower in = { .b = { c, out, fold, fold->loc } };
	int64_t jam[MAX_RANK];

	for (unsigned d = 0; d < 2; d++)
		s.row[d] = expr_mod(c, out->iv[wn->row[d]], expr_const(c, m));
	struct value *y = sum(&in, &s, 0);

	if (wn->dot)
		y = winograd_unscaled(&in, wn->f, y);
	value_replace(&fold->out[0], y);
	op_erase(fold);
	for (uint32_t i = 0; i < out->n_iv; i++)
		jam[i] = i == wn->row[0] || i == wn->row[1] ? m : 1;
	op_set_attr(c, op, A_jam, attr_ints(c, out->n_iv, jam));
}

/* ---- the pass ------------------------------------------------------- */

/* What is computed at once: images and lines of tiles, in v and z and in y. */
struct strips {
	int64_t of_tiles[5], of_rows[5];
	size_t n;		/* 0: all is */
	int64_t tiles;		/* of a strip, -1 when symbolic */
};

static struct strips choose_strips(const struct windows *wn)
{
	const struct block *out = op_body(wn->con.compute);
	struct strips s = { .n = 0 };
	int64_t images, lines;
	int images_dim = -1;
	unsigned k = 2, images_at = 0;

	for (uint32_t i = 0; i < out->n_iv; i++) {
		if (i == wn->con.col || i == wn->row[0] || i == wn->row[1])
			continue;
		if (!expr_is(expr_atom(out->iv[i])->a, 1)) {
			images_dim = (int)i;
			images_at = k;
		}
		k++;
	}
	s.tiles = winograd_strip(wn, images_dim, &images, &lines);
	if (images || lines)
		s.n = 1;
	if (images) {
		s.of_tiles[s.n] = images_at;
		s.of_rows[s.n++] = images_dim;
		s.of_tiles[s.n] = s.of_rows[s.n] = images;
		s.n++;
	}
	if (lines) {
		s.of_tiles[s.n] = k;
		s.of_rows[s.n++] = wn->row[0];
		s.of_tiles[s.n] = lines;
		s.of_rows[s.n++] = lines * wn->f->m;
	}
	return s;
}

static void set_strips(struct ctx *c, struct op *op, struct strips *s,
		       int left)
{
	int64_t *v = left ? s->of_tiles : s->of_rows;

	if (!s->n)
		return;
	v[0] = left;
	op_set_attr(c, op, A_strip, attr_ints(c, s->n, v));
}

static void rewrite(struct ctx *c, struct windows *wn)
{
	struct op *op = wn->con.compute;
	struct lower lo = { .b = { c, op->parent, op, op->loc } };
	struct strips s = choose_strips(wn);
	bool cold = winograd_bytes(wn->f, wn) / 2 > c->target->isa->l2_bytes;
	struct value *v, *z;

	if (!value_is_returned(&op->out[0]))
		contraction_set_layout(c, &wn->con);
	v = transform_rows(c, wn, &lo);
	z = multiply(c, wn, &lo, v,
		     contraction_width(c->target, wn->sum, s.tiles, wn->c_out,
				       cold));
	transform_back(c, wn, &lo, z);
	set_strips(c, v->def, &s, 2);
	set_strips(c, z->def, &s, 1);
	set_strips(c, op, &s, 0);
}

static void winograd_block(struct ctx *c, struct block *b, int m,
			   int64_t strip)
{
	for (struct op *op = b->first; op; op = op->next) {
		struct windows wn;

		if (op->code == OP_core_scan)
			winograd_block(c, op_body(op), m, strip);
		if (op->code != OP_nest_compute || !windows_match(c, op, &wn))
			continue;
		wn.f = m < 0 ? winograd_choose(c, &wn, c->fold_bytes)
			     : winograd_form(&wn, m);
		int64_t bytes = wn.f ? winograd_bytes(wn.f, &wn) : INT64_MAX;

		if (bytes > c->fold_bytes)
			continue;
		c->fold_bytes -= bytes;
		wn.tiles = strip > 0 ? strip : winograd_tiles(c, &wn);
		rewrite(c, &wn);
	}
}

static bool winograd_run(struct module *m, const struct pass_args *args)
{
	int tile = args->param[0] < 0 ? m->ctx->winograd
				      : (int)args->param[0];

	if (tile && !m->ctx->strict_qdq)
		winograd_block(m->ctx, op_body(m->func), tile,
			       args->param[1]);
	erase_dead(op_body(m->func));
	return true;
}

PASS(winograd,
	.summary = "Compute 3x3 windows of stride 1 from fewer products",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.param = { { "tile", -1, "outputs of a tile's line: 2, 4, 0: none, "
				 "-1: as --winograd says" },
		   { "strip", 0, "tiles computed at once; 0: by the cache" } },
	.run = winograd_run);
