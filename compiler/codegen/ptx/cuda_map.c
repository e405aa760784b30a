/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a factor of a kern.tile is loaded from, as a tensor of which boxes can
 * be copied (PTX ISA, "Tensor Maps"): the offset of the load is a sum of
 * multiples of the tile's row, of k and of the kernel's variables, each of
 * which counts a dim of its own.  Rows of tiles one behind the other are one
 * dim: beyond its end a copy has zeros, where the load has its guard.  What is
 * side by side in memory, k or rows, is the first dim.
 */
#include "codegen/ptx/tile_code.h"
#include "ir/layout.h"

struct finder {
	struct tile_code *t;
	const struct block *points;	/* of the kernel */
	const struct block *b;		/* of the factor */
	struct tile_map *out;
	int64_t chunk;			/* elements of 16 bytes */
	bool turned;
	const struct expr *stride[MAX_RANK];	/* of each point variable */
	bool bad;
};

/* ---- expressions ---------------------------------------------------- */

static void find_own(void *arg, const struct atom *a)
{
	struct finder *f = arg;

	f->bad |= a->kind == ATOM_ARG || a->kind == ATOM_VAL ||
		  a->kind == ATOM_POISON;
	for (unsigned i = 0; i < f->points->n_iv; i++)
		f->bad |= expr_atom(f->points->iv[i]) == a;
	for (unsigned i = 0; i < f->b->n_iv; i++)
		f->bad |= expr_atom(f->b->iv[i]) == a;
}

/* Can the host compute it, before the launch? */
static bool is_outer(struct finder *f, const struct expr *e)
{
	f->bad = false;
	expr_visit(e, find_own, f);
	return !f->bad;
}

/* Is it a multiple of 16 bytes, whatever the symbols are? */
static bool is_aligned(const struct finder *f, const struct expr *e)
{
	for (uint32_t i = 0; i < e->n; i++)
		if (e->term[i].coef % f->chunk)
			return false;
	return true;
}

/* Takes the multiple of iv out of *e. */
static bool take(struct finder *f, const struct expr **e,
		 const struct expr *iv, const struct expr **stride)
{
	return expr_linear(f->t->k->c, *e, expr_atom(iv), stride, e) &&
	       is_outer(f, *stride);
}

/* ---- dims ----------------------------------------------------------- */

static bool add_dim(struct finder *f, const struct expr *extent,
		    const struct expr *stride, const struct expr *at,
		    int64_t box)
{
	struct gpu_map *m = &f->out->map;
	unsigned d = m->box.rank;

	if (d == MAX_MAP_RANK || !is_outer(f, extent) ||
	    (d && !is_aligned(f, stride)))
		return false;
	m->dim[d] = extent;
	m->stride[d] = stride;
	m->box.size[d] = (unsigned)box;
	f->out->at[d] = at;
	m->box.rank++;
	return true;
}

/*
 * How many rows there are, where variable number i counts tiles of them: what
 * the guard says, or all, where there is none.  NULL: it does not.
 */
static const struct expr *all_rows(struct finder *f, unsigned i, size_t n,
				   const struct expr *const *guard,
				   const struct expr *row_stride)
{
	struct ctx *c = f->t->k->c;
	const struct expr *iv = f->points->iv[i], *e, *step, *one;
	int64_t mr;

	expr_is_const(expr_atom(f->b->iv[0])->a, &mr);
	if (f->stride[i] != expr_scale(c, row_stride, mr))
		return NULL;
	if (!n)
		return expr_scale(c, expr_atom(iv)->a, mr);
	e = guard[0];
	if (!expr_linear(c, e, expr_atom(f->b->iv[0]), &one, &e) ||
	    !expr_is(one, -1) ||
	    !expr_linear(c, e, expr_atom(iv), &step, &e) ||
	    !expr_is(step, -mr) || !is_outer(f, e))
		return NULL;
	return expr_addc(c, e, 1);
}

static bool add_rows(struct finder *f, const struct op *load,
		     const struct expr *stride)
{
	struct ctx *c = f->t->k->c;
	const struct expr *size = expr_atom(f->b->iv[0])->a, *all = NULL;
	int64_t mr;
	size_t n;
	const struct expr *const *guard = op_exprs(load, A_guard, &n);

	if (!expr_is_const(size, &mr) || mr > MAX_BOX || n > 1)
		return false;
	for (unsigned i = 0; i < f->points->n_iv && !all; i++) {
		all = all_rows(f, i, n, guard, stride);
		if (!all)
			continue;
		f->stride[i] = NULL;
		return add_dim(f, all, stride,
			       expr_scale(c, f->points->iv[i], mr),
			       f->turned ? COLUMN : mr);
	}
	/* Tiles that lie elsewhere, all of them whole. */
	return !n && add_dim(f, size, stride, expr_const(c, 0),
			     f->turned ? COLUMN : mr);
}

static bool add_steps(struct finder *f, const struct expr *stride)
{
	return add_dim(f, expr_atom(f->b->iv[1])->a, stride, NULL, f->t->kr);
}

static bool find(struct finder *f)
{
	struct ctx *c = f->t->k->c;
	const struct op *load = f->b->last->in[0].val->def;
	const struct value *buf = load->in[0].val;
	const struct expr *off, *k_stride, *row_stride;
	struct gpu_map *m = &f->out->map;
	size_t n;

	off = layout_offset(c, buf, op_exprs(load, A_idx, &n));
	if (!take(f, &off, f->b->iv[1], &k_stride) ||
	    !take(f, &off, f->b->iv[0], &row_stride) ||
	    !expr_is(f->turned ? row_stride : k_stride, 1))
		return false;
	for (unsigned i = 0; i < f->points->n_iv; i++)
		if (!take(f, &off, f->points->iv[i], &f->stride[i]))
			return false;
	*m = (struct gpu_map){ .buf = load->in[0].val, .offset = off,
			       .box.dtype = buf->type->dtype };
	if (!is_outer(f, off) || !is_aligned(f, off))
		return false;
	if (f->turned ? !add_rows(f, load, row_stride) ||
				!add_steps(f, k_stride)
		      : !add_steps(f, k_stride) ||
				!add_rows(f, load, row_stride))
		return false;
	for (unsigned i = 0; i < f->points->n_iv; i++) {
		const struct expr *iv = f->points->iv[i];

		if (f->stride[i] && !expr_is(f->stride[i], 0) &&
		    !add_dim(f, expr_atom(iv)->a, f->stride[i], iv, 1))
			return false;
	}
	return true;
}

bool tile_map(struct tile_code *t, unsigned i, struct tile_map *map)
{
	struct finder f = { .t = t, .points = op_body(t->k->kernel),
			    .b = t->op->region[i].block, .out = map,
			    .chunk = t->vector[i], .turned = t->turned[i] };
	const struct op *load = f.b->last->in[0].val->def;

	return load && load->code == OP_mem_load && !tile_border(t, i) &&
	       find(&f);
}
