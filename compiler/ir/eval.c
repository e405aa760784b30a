/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference evaluator.
 *
 * An op of the graph level is lowered in a scratch block; nest.compute is then
 * interpreted element by element.  Every scalar carries either a number or,
 * for integers in symbolic mode, an index expression, so that the same
 * meaning computes "Shape -> Gather -> Concat" chains over symbolic dims.
 */
#include "ir/eval_run.h"

#include <string.h>

static void run_block(struct eval *ev, struct block *b);

int64_t eval_budget(const struct ctx *c)
{
	return c->fold_steps;
}

/* ---- index expressions ---------------------------------------------- */

static bool atom_value(void *arg, const struct atom *a, int64_t *v)
{
	struct eval *ev = arg;

	if (a->kind == ATOM_IV && ev->bound[a->serial]) {
		*v = ev->atom[a->serial];
		return true;
	}
	if (a->kind == ATOM_ARG) {
		struct sval s = ev->slot[ev->cur->in[a->id].val->slot];

		*v = s.s.i;
		return !s.unknown && !s.e;
	}
	return a->kind == ATOM_SYM && ev->outer &&
	       ev->outer->symbol(ev->outer->arg, a, v);
}

static const struct expr *atom_expr(void *arg, const struct atom *a)
{
	struct eval *ev = arg;

	if (a->kind == ATOM_IV && ev->bound[a->serial])
		return expr_const(ev->c, ev->atom[a->serial]);
	if (a->kind == ATOM_ARG) {
		struct sval s = ev->slot[ev->cur->in[a->id].val->slot];

		if (s.e)
			return s.e;
		if (!s.unknown)
			return expr_const(ev->c, s.s.i);
	}
	return NULL;
}

static struct sval eval_expr(struct eval *ev, const struct op *op,
			     const struct expr *e)
{
	int64_t v;

	ev->cur = op;
	if (expr_eval(e, atom_value, ev, &v))
		return sval_int(v);
	if (!ev->symbolic)
		return sval_unknown;
	e = expr_subst(ev->c, e, atom_expr, ev);
	if (expr_is_const(e, &v))
		return sval_int(v);
	for (uint32_t i = 0; i < e->n; i++)
		for (uint32_t j = 0; j < e->term[i].n; j++)
			if (e->term[i].atom[j]->kind == ATOM_ARG ||
			    e->term[i].atom[j]->kind == ATOM_POISON)
				return sval_unknown;
	return (struct sval){ .e = e };
}

/* ---- bodies --------------------------------------------------------- */

struct tens *eval_tens(struct eval *ev, const struct value *v)
{
	return map_get(&ev->tensors, v->id);
}

/* Row-major offset of a load as a linear form, when its map is affine. */
static struct affine *affine_of(struct eval *ev, const struct op *op,
				const struct tens *t)
{
	struct affine *f = map_get(&ev->affine, op->out[0].id);
	size_t n;
	const struct expr *const *idx = op_exprs(op, A_idx, &n);
	const struct expr *off;

	if (f)
		return f;
	f = NEW(ev->arena, struct affine);
	map_put(&ev->affine, op->out[0].id, f);
	off = expr_const(ev->c, 0);
	for (size_t i = 0; i < n; i++)
		off = expr_add(ev->c, expr_scale(ev->c, off, t->t.dim[i]),
			       idx[i]);
	for (uint32_t i = 0; i < off->n; i++) {
		const struct term *m = &off->term[i];

		if (m->n > 1 || (m->n && m->atom[0]->kind != ATOM_IV) ||
		    f->n == MAX_RANK)
			return f;
		if (!m->n) {
			f->base = m->coef;
			continue;
		}
		f->iv[f->n].serial = m->atom[0]->serial;
		f->iv[f->n++].coef = m->coef;
	}
	f->ok = true;
	/* Each index must stay inside its dim; then the offset does. */
	for (size_t i = 0; i < n; i++)
		if (!expr_ge0(ev->c, idx[i]) ||
		    !expr_ge0(ev->c,
			      expr_addc(ev->c,
					expr_sub(ev->c,
						 expr_const(ev->c,
							    t->t.dim[i]),
						 idx[i]),
					-1)))
			f->ok = false;
	return f;
}

static struct sval load(struct eval *ev, const struct op *op)
{
	struct tens *t = eval_tens(ev, op->in[0].val);
	size_t n, ng;
	const struct expr *const *idx = op_exprs(op, A_idx, &n);
	const struct expr *const *guard = op_exprs(op, A_guard, &ng);
	int64_t off = 0;

	if (!t || (!t->t.data && !t->sym))
		return sval_unknown;
	for (size_t i = 0; i < ng; i++) {
		struct sval g = eval_expr(ev, op, guard[i]);

		if (g.e) {
			if (expr_ge0(ev->c, g.e))
				continue;
			if (!expr_ge0(ev->c,
				      expr_addc(ev->c,
						expr_scale(ev->c, g.e, -1),
						-1)))
				return sval_unknown;
			g.s.i = -1;
		}
		if (g.unknown)
			return sval_unknown;
		if (g.s.i < 0)
			return ev->slot[op->in[1].val->slot];
	}
	struct affine *f = ng ? NULL : affine_of(ev, op, t);

	if (f && f->ok) {
		off = f->base;
		for (unsigned i = 0; i < f->n; i++)
			off += f->iv[i].coef * ev->atom[f->iv[i].serial];
	} else {
		for (size_t i = 0; i < n; i++) {
			struct sval x = eval_expr(ev, op, idx[i]);

			if (x.unknown || x.e)
				return sval_unknown;
			/* The index 0 that stands for any of an empty dim. */
			if (!t->t.dim[i] && ev->env.err == EVAL_INDEX)
				return sval_int(0);
			if (x.s.i < 0 || x.s.i >= t->t.dim[i])
				bug(&ev->c->diag,
				    "load out of bounds: dim %zu, index %lld "
				    "of %lld",
				    i, (long long)x.s.i,
				    (long long)t->t.dim[i]);
			off = off * t->t.dim[i] + x.s.i;
		}
	}
	if (t->sym)
		return t->sym[off];
	return sval_num(scalar_get(t->t.dtype, t->t.data, (size_t)off));
}

static struct sval index_check(struct eval *ev, const struct op *op)
{
	size_t n;
	struct sval v = ev->slot[op->in[0].val->slot];
	struct sval ext = eval_expr(ev, op, op_exprs(op, A_extent, &n)[0]);

	if (v.unknown || v.e || ext.unknown || ext.e)
		return sval_unknown;
	if (op_int(op, A_wrap) && v.s.i < 0)
		v.s.i = (int64_t)(v.s.u + ext.s.u);
	if (v.s.i < 0 || v.s.i >= ext.s.i) {
		ev->env.err = EVAL_INDEX;
		v.s.i = 0;
	}
	return v;
}

/* Calls run_block() for every point of the block's domain. */
static bool run_domain(struct eval *ev, const struct op *op, struct block *b,
		       void (*point)(struct eval *, struct op *, void *),
		       void *arg)
{
	int64_t ext[MAX_RANK], i[MAX_RANK] = { 0 };

	for (unsigned k = 0; k < b->n_iv; k++) {
		const struct atom *a = expr_atom(b->iv[k]);
		struct sval e = eval_expr(ev, op, a->a);

		if (e.unknown || e.e)
			return false;
		ext[k] = e.s.i;
		ev->atom[a->serial] = 0;
		ev->bound[a->serial] = true;
	}
	for (unsigned k = 0; k < b->n_iv; k++)
		if (ext[k] <= 0)
			return true;
	for (;;) {
		if (--ev->c->fold_steps < 0 || ev->env.err == EVAL_UNKNOWN)
			return false;
		run_block(ev, b);
		point(ev, b->last, arg);
		int k = (int)b->n_iv - 1;

		for (; k >= 0; k--) {
			const struct atom *a = expr_atom(b->iv[k]);

			ev->atom[a->serial] = ++i[k];
			if (i[k] < ext[k])
				break;
			ev->atom[a->serial] = i[k] = 0;
		}
		if (k < 0)
			return true;
	}
}

static void reduce_point(struct eval *ev, struct op *yield, void *arg)
{
	struct block *b = arg;
	struct sval next[MAX_RANK];

	for (unsigned i = 0; i < yield->n_in; i++)
		next[i] = ev->slot[yield->in[i].val->slot];
	for (unsigned i = 0; i < yield->n_in; i++)
		ev->slot[b->arg[i]->slot] = next[i];
}

static void reduce(struct eval *ev, struct op *op)
{
	struct block *b = op_body(op);

	for (unsigned i = 0; i < op->n_in; i++)
		ev->slot[b->arg[i]->slot] = ev->slot[op->in[i].val->slot];
	bool ok = run_domain(ev, op, b, reduce_point, b);

	for (unsigned i = 0; i < op->n_in; i++)
		ev->slot[op->out[i].slot] = ok ? ev->slot[b->arg[i]->slot]
					       : sval_unknown;
}

static struct sval scalar_step(struct eval *ev, struct op *op)
{
	const struct attr *a;
	size_t n;

	switch ((int)op->code) {
	case OP_nest_load: return load(ev, op);
	case OP_nest_index: return index_check(ev, op);
	case OP_nest_value:
		return eval_expr(ev, op, op_exprs(op, A_idx, &n)[0]);
	case OP_arith_const:
		a = op_attr(op, A_value);
		if (a->kind == AT_INT)
			return sval_num(scalar_wrap(op->out[0].type->dtype,
					       (union scalar){ .i = a->i }));
		return sval_num(scalar_wrap(op->out[0].type->dtype,
				       (union scalar){ .d = a->f }));
	case OP_arith_select: {
		struct sval k = ev->slot[op->in[0].val->slot];

		if (k.unknown || k.e)
			return sval_unknown;
		return ev->slot[op->in[k.s.u ? 1 : 2].val->slot];
	}
	default:
		if (op->n_in == 1)
			return sval_arith1(op, ev->slot[op->in[0].val->slot]);
		return sval_arith2(&ev->env, op, ev->slot[op->in[0].val->slot],
			      ev->slot[op->in[1].val->slot]);
	}
}

static void run_block(struct eval *ev, struct block *b)
{
	for (struct op *op = b->first; op; op = op->next) {
		if (op->code == OP_nest_reduce)
			reduce(ev, op);
		else if (op->code != OP_nest_yield)
			ev->slot[op->out[0].slot] = scalar_step(ev, op);
	}
	ev->c->fold_steps--;
}

struct store {
	struct op *op;
	struct tens *out[8];
	int64_t off;
};

/* The element that a point is when the statement says so. */
static bool stated_offset(struct eval *ev, struct store *st)
{
	size_t n;
	const struct expr *const *idx = op_exprs(st->op, A_idx, &n);

	if (!n)
		return true;
	st->off = 0;
	for (size_t k = 0; k < n; k++) {
		struct sval e = eval_expr(ev, st->op, idx[k]);

		if (e.unknown)
			return false;
		st->off = st->off * st->out[0]->t.dim[k] + e.s.i;
	}
	return true;
}

static void store_point(struct eval *ev, struct op *yield, void *arg)
{
	struct store *st = arg;

	if (!stated_offset(ev, st)) {
		ev->env.err = EVAL_UNKNOWN;
		return;
	}
	for (unsigned i = 0; i < yield->n_in; i++) {
		struct tens *t = st->out[i];
		struct sval v = ev->slot[yield->in[i].val->slot];

		if (t->sym)
			t->sym[st->off] = v;
		else if (v.unknown || v.e)
			ev->env.err = EVAL_UNKNOWN;
		else
			scalar_put(t->t.dtype, t->t.data, (size_t)st->off,
				   v.s);
	}
	st->off++;
}

/* dst[i...] = src[affine(i...)] without interpreting a body. */
static bool copy_affine(struct eval *ev, struct op *op)
{
	struct block *b = op_body(op);
	struct op *ld = b->first;
	struct tens *src, *dst = eval_tens(ev, &op->out[0]);
	int64_t step[MAX_RANK] = { 0 }, i[MAX_RANK] = { 0 };
	size_t ng;

	if (ev->symbolic || op->n_out != 1 || op_has(op, A_idx) ||
	    dtype_is_packed(op->out[0].type->dtype) ||
	    ld->code != OP_nest_load || ld->next != b->last ||
	    b->last->in[0].val != &ld->out[0] ||
	    (op_exprs(ld, A_guard, &ng), ng) ||
	    !(src = eval_tens(ev, ld->in[0].val)) || !src->t.data)
		return false;
	struct affine *f = affine_of(ev, ld, src);

	if (!f->ok)
		return false;
	for (unsigned k = 0; k < b->n_iv; k++)
		for (unsigned j = 0; j < f->n; j++)
			if (f->iv[j].serial == expr_atom(b->iv[k])->serial)
				step[k] = f->iv[j].coef;
	size_t es = dtype_size(dst->t.dtype);
	const char *s = (const char *)src->t.data + f->base * (int64_t)es;
	char *d = dst->t.data;
	unsigned r = dst->t.rank;
	int64_t rows = 1, n = r ? dst->t.dim[r - 1] : 1;

	for (unsigned k = 0; k + 1 < r; k++)
		rows *= dst->t.dim[k];
	for (int64_t row = 0; row < rows && n > 0; row++) {
		const char *p = s;
		int64_t st = r ? step[r - 1] * (int64_t)es : 0;

		for (unsigned k = 0; k + 1 < r; k++)
			p += i[k] * step[k] * (int64_t)es;
		if (st == (int64_t)es) {
			memcpy(d, p, (size_t)n * es);
			d += (size_t)n * es;
		} else if (es == 4) {
			for (int64_t k = 0; k < n; k++, d += 4, p += st)
				memcpy(d, p, 4);
		} else {
			for (int64_t k = 0; k < n; k++, d += es, p += st)
				memcpy(d, p, es);
		}
		for (int k = (int)r - 2; k >= 0; k--) {
			if (++i[k] < dst->t.dim[k])
				break;
			i[k] = 0;
		}
	}
	ev->c->fold_steps -= rows * n / 16;
	return true;
}

/* Shape and type; false when a dim is not known. */
static bool known_dims(struct eval *ev, const struct type *t,
		       struct tensor *out)
{
	out->dtype = t->dtype;
	out->rank = t->rank;
	for (uint32_t i = 0; i < t->rank; i++)
		if (!expr_eval(t->dim[i], atom_value, ev, &out->dim[i]) ||
		    out->dim[i] < 0)
			return false;
	return true;
}

bool tensor_dims(const struct type *t, struct tensor *out)
{
	out->dtype = t->dtype;
	out->rank = t->rank;
	for (uint32_t i = 0; i < t->rank; i++)
		if (!expr_is_const(t->dim[i], &out->dim[i]))
			return false;
	return true;
}

int64_t tensor_elems(const struct tensor *t)
{
	int64_t n = 1;

	for (unsigned i = 0; i < t->rank; i++)
		if (__builtin_mul_overflow(n, t->dim[i], &n))
			return INT64_MAX / 16;
	return n;
}

/* Room for the values of all atoms made so far; keeps those already set. */
static void reserve_atoms(struct eval *ev)
{
	size_t n = ev->c->n_atoms + 64u;

	if (n <= ev->n_atoms)
		return;
	int64_t *atom = NEW_ARRAY(ev->arena, 2 * n, int64_t);
	bool *bound = NEW_ARRAY(ev->arena, 2 * n, bool);

	if (ev->n_atoms) {
		memcpy(atom, ev->atom, ev->n_atoms * sizeof(*atom));
		memcpy(bound, ev->bound, ev->n_atoms * sizeof(*bound));
	}
	ev->atom = atom;
	ev->bound = bound;
	ev->n_atoms = 2 * n;
}

static struct tens *new_tens(struct eval *ev, const struct value *v)
{
	struct tens *t = NEW(ev->arena, struct tens);

	reserve_atoms(ev);
	if (!known_dims(ev, v->type, &t->t))
		return NULL;
	int64_t n = tensor_elems(&t->t), size;

	if (n > ev->c->fold_steps ||
	    __builtin_mul_overflow(n, (int64_t)dtype_size(t->t.dtype), &size) ||
	    size > INT64_C(4) << 30)
		return NULL;
	if (ev->symbolic && n <= 4096)
		t->sym = NEW_ARRAY(ev->arena, (size_t)n + 1, struct sval);
	else if (ev->symbolic)
		return NULL;
	else
		t->t.data = arena_alloc(ev->arena, (size_t)size + 1);
	map_put(&ev->tensors, v->id, t);
	return t;
}

void eval_nest(struct eval *ev, struct op *op)
{
	struct store st = { .op = op };
	uint32_t n = 0;

	for (unsigned i = 0; i < op->n_out; i++)
		if (!(st.out[i] = new_tens(ev, &op->out[i]))) {
			ev->env.err = EVAL_UNKNOWN;
			return;
		}
	reserve_atoms(ev);
	if (copy_affine(ev, op))
		return;
	block_number(op_body(op), &n);
	ev->slot = NEW_ARRAY(ev->arena, n + 1u, struct sval);
	if (!run_domain(ev, op, op_body(op), store_point, &st))
		ev->env.err = EVAL_UNKNOWN;
}

static void eval_const(struct eval *ev, struct op *op)
{
	struct tens *t = NEW(ev->arena, struct tens);
	const struct attr *a = op_attr(op, A_value);

	tensor_dims(a->tensor.type, &t->t);
	t->t.data = (void *)a->tensor.blob.data;
	map_put(&ev->tensors, op->out[0].id, t);
}

/* Lowers graph ops of the block until only statements and constants stay. */
bool eval_lower(struct ctx *c, struct block *b)
{
	for (struct op *op = b->first, *next; op; op = next) {
		struct value *result[64] = { 0 };

		next = op->next;
		if (!op_def(op)->domain)
			continue;
		if (op->n_out > ARRAY_SIZE(result))
			return false;
		struct op *prev = op->prev;
		struct lower lo = { { c, b, op, op->loc }, op, result };

		if (!op_lower(&lo))
			return false;
		for (unsigned i = 0; i < op->n_out; i++)
			if (result[i])
				value_replace(&op->out[i], result[i]);
		op_erase(op);
		next = prev ? prev->next : b->first;
	}
	return true;
}

/* A copy of op in a block of its own, with block arguments as operands. */
struct block *eval_scratch(struct ctx *c, struct op *op, struct op **ret)
{
	struct block *b = block_new(c, NULL);
	struct builder bl = { c, b, NULL, op->loc };
	struct value **in = NEW_ARRAY(&c->temp, op->n_in + 1u, struct value *);
	const struct type **ty = NEW_ARRAY(&c->temp, op->n_out + 1u,
					   const struct type *);
	struct value **out = NEW_ARRAY(&c->temp, op->n_out + 1u,
				       struct value *);

	for (unsigned i = 0; i < op->n_in; i++) {
		struct value *v = op_in(op, i);

		if (!v)
			continue;
		in[i] = block_add_arg(c, b, v->type, NULL);
		in[i]->known = v->known;
	}
	for (unsigned i = 0; i < op->n_out; i++)
		ty[i] = op->out[i].type;
	struct op *copy = build(&bl, &(struct op_spec){
					     .code = op->code,
					     .n_in = op->n_in, .in = in,
					     .n_out = op->n_out, .out = ty,
					     .n_attr = op->n_attr,
					     .attr = op->attr });

	for (unsigned i = 0; i < op->n_out; i++)
		out[i] = &copy->out[i];
	*ret = build(&bl, &(struct op_spec){ .code = OP_core_return,
					     .n_in = op->n_out, .in = out });
	return b;
}

/*
 * The states' tensors move from the yield to the block arguments, all of them
 * at once: what is yielded may be an old state.
 */
void eval_scan(struct eval *ev, struct op *op)
{
	struct block *b = op_body(op);
	const struct atom *t = expr_atom(b->iv[0]);
	struct sval n = eval_expr(ev, op, t->a);
	unsigned n_state = b->n_arg;
	struct tens **y = NEW_ARRAY(ev->arena, op->n_out + 1u, struct tens *);

	reserve_atoms(ev);
	if (ev->symbolic || n.unknown) {
		ev->env.err = EVAL_UNKNOWN;
		return;
	}
	for (unsigned i = 0; i < n_state; i++)
		map_put(&ev->tensors, b->arg[i]->id,
			eval_tens(ev, op->in[i].val));
	for (unsigned i = n_state; i < op->n_out; i++)
		if (!new_tens(ev, &op->out[i])) {
			ev->env.err = EVAL_UNKNOWN;
			return;
		}
	for (int64_t step = 0; step < n.s.i && !ev->env.err; step++) {
		ev->atom[t->serial] = step;
		ev->bound[t->serial] = true;
		eval_block(ev, b);
		if (ev->env.err)
			return;
		for (unsigned i = 0; i < op->n_out; i++)
			y[i] = eval_tens(ev, b->last->in[i].val);
		for (unsigned i = 0; i < n_state; i++)
			map_put(&ev->tensors, b->arg[i]->id, y[i]);
		for (unsigned i = n_state; i < op->n_out; i++) {
			struct tens *all = eval_tens(ev, &op->out[i]);
			size_t n_elem = (size_t)tensor_elems(&y[i]->t);

			for (size_t k = 0; k < n_elem; k++)
				element_copy(all->t.dtype, all->t.data,
					     (size_t)step * n_elem + k,
					     y[i]->t.data, k);
		}
	}
	for (unsigned i = 0; i < n_state; i++)
		map_put(&ev->tensors, op->out[i].id,
			eval_tens(ev, b->arg[i]));
}

void eval_block(struct eval *ev, struct block *b)
{
	for (struct op *op = b->first; op && !ev->env.err; op = op->next) {
		if (op->code == OP_nest_compute)
			eval_nest(ev, op);
		else if (op->code == OP_core_scan)
			eval_scan(ev, op);
		else if (op->code == OP_core_const)
			eval_const(ev, op);
	}
}

void eval_free(struct eval *ev)
{
	map_free(&ev->tensors);
	map_free(&ev->affine);
}
