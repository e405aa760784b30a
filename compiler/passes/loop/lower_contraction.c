/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packed contraction becomes tiles of MR rows by one panel of columns, in
 * one of three orders (struct schedule); the general one is
 *
 *	loop.kernel [batch.., block of rows, panel] {
 *	  loop.for [tile of the block] { kern.contract {mr = MR} ... }
 *	  loop.for [0 or 1]            { kern.contract {mr = rest} ... }
 *	}
 *
 * Several row variables that lie behind one another in memory are one.  Rows
 * beyond the last full tile get tiles of their own size; when the number of
 * rows is symbolic, tiles of 8, 4, 2 and 1.
 *
 * The block of rows is chosen so that its part of A stays in the second-level
 * cache while the panels stream (Goto and van de Geijn 2008, section 4, with
 * the roles of A and B exchanged; no blocking of k is needed here).
 */
#include <string.h>

#include "ir/layout.h"
#include "ir/target.h"
#include "passes/loop/lower.h"
#include "passes/nest/body.h"

enum {
	ENOUGH_ROWS = 28,
	ENOUGH_POINTS = 16,	/* to keep several threads busy */
	MAX_INSIDE = MAX_RANK + 2,
};

struct tiling {
	struct ctx *ctx;
	struct contraction con;
	struct builder b;
	struct cloner cl;
	struct value *out;
	uint8_t order[MAX_RANK];	/* of the variables, as in memory */
	unsigned n_order;
	const struct expr *rows;	/* of the tiled row variable, or 1 */
	const struct expr *m_iv[MAX_RANK];	/* variables it stands for */
	unsigned n_m;
	int64_t width;			/* columns of a panel */
	unsigned mr;
};

/* Tiles of one size: `count` of them from row `first` on. */
struct segment {
	unsigned mr;
	const struct expr *first, *count;
};

/* ---- rows ----------------------------------------------------------- */

struct stride_check {
	struct tiling *t;
	const struct atom *outer, *inner;
	const struct expr *extent;	/* of the inner one */
	bool but_rows;			/* the row operand is not looked at */
	bool ok;
};

static void check_offset(struct stride_check *s, const struct value *buf,
			 const struct expr *const *idx)
{
	struct ctx *c = s->t->ctx;
	const struct expr *off = layout_offset(c, buf, idx), *ko, *ki, *rest;

	if (!expr_linear(c, off, s->outer, &ko, &rest) ||
	    !expr_linear(c, off, s->inner, &ki, &rest) ||
	    ko != expr_mul(c, ki, s->extent))
		s->ok = false;
}

static void check_load(void *arg, struct op *op)
{
	struct stride_check *s = arg;
	size_t n;

	if (s->but_rows && op == s->t->con.a)
		return;
	if (op->code == OP_nest_load) {
		const struct expr *const *idx = op_exprs(op, A_idx, &n);

		check_offset(s, op->in[0].val, idx);
		op_exprs(op, A_guard, &n);
		if (n || op->n_in > 1)
			s->ok = false;
	} else if (op->code == OP_nest_value || op->code == OP_nest_index) {
		s->ok = false;
	}
}

/* Can both variables be walked as one, in all that the statement touches? */
static bool mergeable(struct tiling *t, const struct expr *outer,
		      const struct expr *inner, bool but_rows)
{
	struct stride_check s = { t, expr_atom(outer), expr_atom(inner),
				  expr_atom(inner)->a, but_rows, true };

	check_offset(&s, t->out, point_index(t->con.compute));
	block_walk(op_body(t->con.compute), check_load, &s);
	return s.ok;
}

/*
 * Tiles of a few rows may straddle the lines of an image, each row with an
 * address of its own: worth it when the lines do not divide into good tiles
 * (7 pixels by 6 rows).  Many addresses would not fit the registers.
 */
static bool straddling_pays(const struct tiling *t, const struct expr *outer)
{
	enum { MOST_ADDRESSES = 8 };
	enum dtype dt = t->con.fold->out[0].type->dtype;
	unsigned nv = (unsigned)(t->width /
				 target_lanes(t->ctx->target,
					      dtype_info[dt].bits));
	int64_t lines, line;
	unsigned mr;

	if (!expr_is_const(t->rows, &line) || line > INT32_MAX ||
	    !expr_is_const(expr_atom(outer)->a, &lines) || lines > INT32_MAX)
		return false;
	int64_t apart = lines * target_rows_cost(t->ctx->target, line, nv, &mr);
	int64_t joined = target_rows_cost(t->ctx->target, lines * line, nv,
					  &mr);

	return mr <= MOST_ADDRESSES && joined + joined / 32 < apart;
}

/* The row variable that is innermost in the result's memory, with those
 * before it that continue it. */
static void choose_rows(struct tiling *t)
{
	struct ctx *c = t->ctx;
	const struct block *b = op_body(t->con.compute);

	int64_t known;

	t->rows = expr_const(c, 1);
	for (unsigned i = t->n_order; i-- > 0;) {
		unsigned d = t->order[i];

		if (!(t->con.rows >> d & 1))
			continue;
		bool straddle = false;

		if (t->n_m && !mergeable(t, b->iv[d], t->m_iv[0], false)) {
			straddle = straddling_pays(t, b->iv[d]) &&
				   mergeable(t, b->iv[d], t->m_iv[0], true);
			if (!straddle)
				break;
		}
		/* A known number of rows has better tiles. */
		if (t->n_m && expr_is_const(t->rows, &known) &&
		    known >= ENOUGH_ROWS &&
		    !expr_is_const(expr_atom(b->iv[d])->a, &known))
			break;
		memmove(t->m_iv + 1, t->m_iv, t->n_m * sizeof(*t->m_iv));
		t->m_iv[0] = b->iv[d];
		t->n_m++;
		t->rows = expr_mul(c, t->rows, expr_atom(b->iv[d])->a);
		if (straddle)
			break;
	}
}

static bool is_row(const struct tiling *t, const struct expr *iv)
{
	for (unsigned i = 0; i < t->n_m; i++)
		if (t->m_iv[i] == iv)
			return true;
	return false;
}

/* ---- tiles ---------------------------------------------------------- */

/* Vector registers that the kernel needs beside those of its sums. */
static unsigned registers(const struct tiling *t, unsigned nv)
{
	struct decode d;

	/* Decoded weights, their scales and shifts, and an element. */
	if (product_decodes(t->con.b, &d))
		return 3 * nv + 1;
	/* Both halves of the widened weights and of an element, a product. */
	const struct dot *dot = contraction_dot(t->ctx, &t->con);

	if (dot && dot->saturates)
		return 2 * nv + 3;
	/* An element, the order of bytes in both, and three products. */
	return dot && dot->narrow ? nv + 5 : 0;
}

static unsigned choose_mr(const struct tiling *t)
{
	enum dtype dt = t->con.fold->out[0].type->dtype;
	unsigned nv = (unsigned)(t->width /
				 target_lanes(t->ctx->target,
					      dtype_info[dt].bits));
	unsigned mr;
	int64_t rows;

	if (!expr_is_const(t->rows, &rows))
		rows = -1;
	target_rows_cost(t->ctx->target, rows, nv, &mr);
	return target_fewer_rows(t->ctx->target, rows, nv, registers(t, nv),
				 mr);
}

static unsigned make_segments(struct tiling *t, struct segment *seg)
{
	struct ctx *c = t->ctx;
	const struct expr *mr = expr_const(c, t->mr), *first;
	unsigned n = 0;
	int64_t rows;

	seg[n++] = (struct segment){ t->mr, expr_const(c, 0),
				     expr_div(c, t->rows, mr) };
	if (expr_is_const(t->rows, &rows)) {
		if (rows % t->mr)
			seg[n++] = (struct segment){
				(unsigned)(rows % t->mr),
				expr_const(c, rows - rows % t->mr),
				expr_const(c, 1)
			};
		return n;
	}
	/* The rest by powers of two, the largest first. */
	const struct expr *rest = expr_mod(c, t->rows, mr);

	for (unsigned k = 16; k >= 1; k /= 2) {
		const struct expr *size = expr_const(c, k);

		if (k >= t->mr)
			continue;
		first = expr_sub(c, t->rows, rest);
		seg[n++] = (struct segment){ k, first,
					     expr_div(c, rest, size) };
		rest = expr_mod(c, rest, size);
	}
	return n;
}

/* The sizes only steer a choice: those beyond any cache are alike, and an
 * empty one is as good as 1. */
static int64_t clamp_size(int64_t k)
{
	return k < 1 ? 1 : k > 1 << 20 ? 1 << 20 : k;
}

static int64_t const_or(const struct expr *e, int64_t other)
{
	int64_t k;

	return clamp_size(expr_is_const(e, &k) ? k : other);
}

/* What a kernel's point is, and what it loops over. */
enum order {
	ROWS_POINT,	/* a block of rows; inside: panels, tiles */
	PANEL_POINT,	/* a panel; inside: all rows */
	BOTH_POINT,	/* a block of rows and a panel; inside: tiles */
};

struct schedule {
	enum order order;
	int64_t block;		/* tiles in a block of rows */
	int64_t depth;		/* steps of k, a guess when symbolic */
	int64_t columns;
};

/*
 * Where the operands live decides.  Panels that fit half of the second-level
 * cache stay there: go on with the rows at once, so that a row of the result
 * is written in one go.  Else the rows stay, if all of them fit, and every
 * panel is read once; else as many rows as fit.
 */
static struct schedule choose_schedule(const struct tiling *t)
{
	const struct isa *isa = t->ctx->target->isa;
	const struct block *kb = op_body(t->con.fold);
	const struct block *body = op_body(t->con.compute);
	struct schedule s = { .depth = 1 };
	int64_t es = (int64_t)dtype_size(t->con.a->in[0].val->type->dtype);
	int64_t rows = const_or(t->rows, 128), tiles, outer = 1, a_bytes, n_b;

	for (uint32_t i = 0; i < kb->n_iv; i++)
		s.depth *= const_or(expr_atom(kb->iv[i])->a, 64);
	s.columns = const_or(expr_atom(body->iv[t->con.col])->a, 256);
	for (uint32_t i = 0; i < body->n_iv; i++)
		if (t->con.rows >> i & 1 && !is_row(t, body->iv[i]))
			outer *= const_or(expr_atom(body->iv[i])->a, 1);
	n_b = s.columns * s.depth *
	      (int64_t)dtype_size(t->con.b->out[0].type->dtype);
	tiles = (rows + t->mr - 1) / t->mr;
	/* Windows read each element several times. */
	a_bytes = rows * outer * s.depth * es;
	for (uint32_t i = 0; i < kb->n_iv; i++)
		if (t->con.window >> i & 1)
			a_bytes /= const_or(expr_atom(kb->iv[i])->a, 1);
	int64_t tile_bytes = t->mr * s.depth * es;

	if (n_b <= isa->l2_bytes / 2 && tiles * outer >= ENOUGH_POINTS) {
		s.order = ROWS_POINT;
		s.block = isa->l1_bytes / 2 / tile_bytes;
		if (s.block > tiles * outer / ENOUGH_POINTS)
			s.block = tiles * outer / ENOUGH_POINTS;
	} else if (a_bytes <= isa->l2_bytes / 4 * 3) {
		s.order = PANEL_POINT;
		s.block = INT32_MAX;
	} else {
		s.order = BOTH_POINT;
		s.block = isa->l2_bytes / 2 / tile_bytes;
		s.block = s.block > 64 ? 64 : s.block;
	}
	if (s.block < 1)
		s.block = 1;
	return s;
}

/* ---- emission ------------------------------------------------------- */

/* Row and column variables of the statement in terms of one element m, n. */
static void bind_element(struct tiling *t, struct cloner *cl,
			 const struct expr *m, const struct expr *n)
{
	struct ctx *c = t->ctx;

	clone_iv(cl, op_body(t->con.compute)->iv[t->con.col], n);
	for (unsigned i = t->n_m; i-- > 0;) {
		const struct expr *ext = expr_atom(t->m_iv[i])->a;

		clone_iv(cl, t->m_iv[i], i ? expr_mod(c, m, ext) : m);
		if (i)
			m = expr_div(c, m, ext);
	}
}

static void copy_map(struct cloner *to, const struct cloner *from)
{
	for (size_t i = 0; i < from->atoms.cap; i++)
		if (from->atoms.slot[i].val)
			map_put(&to->atoms, from->atoms.slot[i].key,
				from->atoms.slot[i].val);
}

static void emit_tile(struct tiling *t, unsigned mr, const struct expr *m0,
		      const struct expr *panel)
{
	struct ctx *c = t->ctx;
	struct block *body = op_body(t->con.compute);
	struct block *kb = op_body(t->con.fold);
	const struct expr *cols = expr_atom(body->iv[t->con.col])->a;
	struct cloner cl = { .ctx = c };
	struct value *in[4] = { t->con.a->in[0].val, t->con.b->in[0].val };
	unsigned n_in = 2;
	struct decode d;
	const struct expr *n0 = expr_scale(c, panel, t->width);
	const struct expr *origin[] = { m0, n0, expr_sub(c, cols, n0) };
	const struct expr *e[2 * MAX_RANK];
	size_t n_a, n_b;
	int64_t group;

	if (product_decodes(t->con.b, &d)) {
		in[n_in++] = d.scale->in[0].val;
		if (d.zero)
			in[n_in++] = d.zero->in[0].val;
	}
	copy_map(&cl, &t->cl);
	struct op *kern = build(&t->b, &(struct op_spec){
					       .code = OP_kern_contract,
					       .n_in = n_in, .in = in,
					       .n_region = 1 });
	struct block *kbody = op_body(kern);

	/* The statement may be called after what was fused with it. */
	kern->loc = t->con.fold->loc;
	const struct expr *m = block_add_iv(c, kbody, t->rows);
	const struct expr *n = block_add_iv(c, kbody, cols);

	/* In the order of the panel: that of the packed operand's indices;
	 * a variable of extent 1 may be in none. */
	const struct expr *const *bi = op_exprs(t->con.b, A_idx, &n_b);

	for (uint32_t k = 0; k < kb->n_iv; k++)
		if (expr_is(expr_atom(kb->iv[k])->a, 1))
			clone_iv(&cl, kb->iv[k], expr_const(c, 0));
	for (size_t i = 0; i < n_b; i++)
		for (uint32_t k = 0; k < kb->n_iv; k++)
			if (bi[i] == kb->iv[k] &&
			    !expr_is(expr_atom(kb->iv[k])->a, 1))
				clone_iv(&cl, kb->iv[k],
					 block_add_iv(c, kbody,
						      expr_atom(kb->iv[k])->a));
	bind_element(t, &cl, m, n);
	const struct expr *const *ai = op_exprs(t->con.a, A_idx, &n_a);

	for (size_t i = 0; i < n_a; i++)
		e[i] = clone_expr(&cl, ai[i]);
	op_set_exprs(c, kern, A_a_idx, n_a, e);
	for (size_t i = 0; i < n_b; i++)
		e[i] = clone_expr(&cl, bi[i]);
	op_set_exprs(c, kern, A_b_idx, n_b, e);
	if (n_in > 2 && d.to != DT_F32)
		op_set_int(c, kern, A_round, dtype_info[d.to].onnx);
	if (n_in > 2) {
		const struct expr *const *si = op_exprs(d.scale, A_idx, &n_a);

		for (size_t i = 0; i < n_a; i++)
			e[i] = clone_expr(&cl, si[i]);
		op_set_exprs(c, kern, A_s_idx, n_a, e);
	}
	op_set_exprs(c, kern, A_origin, 3, origin);
	op_set_int(c, kern, A_mr, mr);
	op_set_int(c, kern, A_nr, t->width);
	if (bi[n_b - 1] == kb->iv[kb->n_iv - 1] &&
	    expr_is_const(expr_atom(bi[n_b - 1])->a, &group))
		op_set_int(c, kern, A_group, group);

	/* What happens to each sum. */
	struct builder saved = t->b;
	struct value *acc = block_add_arg(c, kbody,
					  t->con.fold->out[0].type, NULL);

	clone_value(&cl, &t->con.fold->out[0], acc);
	t->b.block = kbody;
	t->b.before = NULL;
	for (struct op *op = body->first; op != body->last; op = op->next) {
		if (op == t->con.fold)
			continue;
		struct op *copy = clone_op(&cl, &t->b, op);

		if (copy->code == OP_nest_load)
			copy->code = OP_mem_load;
	}
	unsigned rank = t->out->type->rank;

	for (unsigned i = 0; i < rank; i++)
		e[i] = clone_expr(&cl, point_index(t->con.compute)[i]);
	struct value *st[] = { cloned(&cl, body->last->in[0].val), t->out };
	struct named_attr attr = { A_idx, attr_exprs(c, rank, e) };

	build(&t->b, &(struct op_spec){ .code = OP_mem_store, .n_in = 2,
					.in = st, .n_attr = 1, .attr = &attr });
	erase_dead(kbody);
	t->b = saved;
	cloner_free(&cl);
}

/* The tiles of all segments in one block of rows and one panel. */
static void emit_tiles(struct tiling *t, const struct expr *blocks,
		       const struct expr *mb, int64_t block,
		       const struct expr *panel)
{
	struct ctx *c = t->ctx;
	struct segment seg[16];
	unsigned n_seg = make_segments(t, seg);
	const struct expr *bl = expr_const(c, block);
	/* 1 in the last block of rows, else 0. */
	const struct expr *last = expr_sub(
		c, expr_const(c, 1),
		expr_min(c, expr_const(c, 1),
			 expr_addc(c, expr_sub(c, blocks, mb), -1)));

	for (unsigned i = 0; i < n_seg; i++) {
		const struct expr *iv, *tile, *count = seg[i].count;
		struct op *loop;

		if (expr_is(count, 0))
			continue;
		tile = expr_const(c, 0);
		if (i == 0) {
			tile = expr_mul(c, mb, bl);
			count = expr_min(c, bl, expr_sub(c, count, tile));
		} else {
			count = expr_mul(c, count, last);
		}
		loop = build_for(&t->b, count, 1, 1, 0, NULL, &iv);
		tile = expr_add(c, tile, iv);
		emit_tile(t, seg[i].mr,
			  expr_add(c, seg[i].first,
				   expr_scale(c, tile, seg[i].mr)),
			  panel);
		build_for_end(&t->b, loop, 0, NULL);
	}
}

static void emit_kernel(struct tiling *t)
{
	struct ctx *c = t->ctx;
	const struct block *body = op_body(t->con.compute);
	struct schedule s = choose_schedule(t);
	const struct expr *mb = expr_const(c, 0), *panel, *blocks, *panels;
	const struct expr *full = expr_div(c, t->rows, expr_const(c, t->mr));
	struct op *k = build(&t->b, &(struct op_spec){
					    .code = OP_loop_kernel,
					    .n_region = 1 });
	struct block *kb = op_body(k);
	struct op *inside[MAX_INSIDE];
	unsigned n_in = 0;
	int64_t per_point = s.depth * t->mr / 32;

	blocks = s.order == PANEL_POINT
			 ? expr_const(c, 1)
			 : expr_max(c,
				    expr_ceildiv(c, full,
						 expr_const(c, s.block)),
				    expr_const(c, 1));
	panels = expr_ceildiv(c, expr_atom(body->iv[t->con.col])->a,
			      expr_const(c, t->width));
	/* What the kernel counts. */
	for (unsigned i = 0; i < t->n_order; i++) {
		unsigned d = t->order[i];

		if (d != t->con.col && !is_row(t, body->iv[d]) &&
		    (s.order != PANEL_POINT || !(t->con.rows >> d & 1)))
			clone_iv(
				&t->cl, body->iv[d],
				block_add_iv(c, kb, expr_atom(body->iv[d])->a));
	}
	if (s.order != PANEL_POINT)
		mb = block_add_iv(c, kb, blocks);
	if (s.order != ROWS_POINT)
		panel = block_add_iv(c, kb, panels);
	t->b.block = kb;
	t->b.before = NULL;
	/* What runs inside of a point. */
	if (s.order == ROWS_POINT) {
		inside[n_in++] =
			build_for(&t->b, panels, 1, 1, 0, NULL, &panel);
		per_point *= s.columns * s.block;
	} else {
		per_point *= t->width *
			     (s.order == PANEL_POINT ? const_or(full, 8)
						     : s.block);
	}
	for (unsigned i = 0; i < t->n_order && s.order == PANEL_POINT; i++) {
		unsigned d = t->order[i];
		const struct expr *iv;

		if (!(t->con.rows >> d & 1) || is_row(t, body->iv[d]))
			continue;
		inside[n_in++] = build_for(&t->b, expr_atom(body->iv[d])->a, 1,
					   1, 0, NULL, &iv);
		clone_iv(&t->cl, body->iv[d], iv);
		per_point *= const_or(expr_atom(body->iv[d])->a, 1);
	}
	emit_tiles(t, blocks, mb, s.block, panel);
	while (n_in > 0)
		build_for_end(&t->b, inside[--n_in], 0, NULL);
	/* About 10 us of work is worth a task. */
	int64_t grain = 40000 / (per_point < 1 ? 1 : per_point);

	op_set_int(c, k, A_grain, grain < 1 ? 1 : grain);
	t->b.block = k->parent;
	t->b.before = k->next;
}

bool lower_contraction(struct ctx *c, struct op *op, struct value *into)
{
	struct tiling t = { .ctx = c, .b = { c, op->parent, op, op->loc },
			    .cl = { .ctx = c } };

	t.width = op_int(op, A_panel);
	if (!t.width || !contraction_match(c, op, &t.con))
		return false;
	t.out = into ? into : new_buffer(&t.b, &op->out[0]);
	t.n_order = memory_order(c, op, t.out, t.order);
	choose_rows(&t);
	t.mr = choose_mr(&t);
	emit_kernel(&t);
	value_replace(&op->out[0], t.out);
	cloner_free(&t.cl);
	op_erase(op);
	return true;
}
