/* SPDX-License-Identifier: Apache-2.0 */
#include "passes/nest/body.h"

#include <string.h>

#include "base/vec.h"
#include "ir/eval.h"
#include "ir/layout.h"

/* ---- questions ------------------------------------------------------ */

void each_statement(struct ctx *c, struct block *b,
		    void (*fn)(struct ctx *c, struct op *compute))
{
	for (struct op *op = b->first; op; op = op->next) {
		if (op->code == OP_core_scan)
			each_statement(c, op_body(op), fn);
		if (op->code == OP_nest_compute)
			fn(c, op);
	}
}

bool body_has_fold(const struct block *body)
{
	for (const struct op *op = body->first; op; op = op->next)
		if (op->code == OP_nest_reduce)
			return true;
	return false;
}

struct op *body_fold(const struct block *body)
{
	struct op *fold = NULL;

	for (struct op *op = body->first; op; op = op->next) {
		if (op->code != OP_nest_reduce)
			continue;
		if (fold)
			return NULL;
		fold = op;
	}
	return fold;
}

struct uses {
	const struct block *of;
	uint32_t bits;
	VEC(const struct op *) seen;	/* operands that were followed */
};

static void visit_use(void *arg, const struct atom *a)
{
	struct uses *u = arg;

	for (uint32_t i = 0; i < u->of->n_iv && i < 32; i++)
		if (expr_atom(u->of->iv[i]) == a)
			u->bits |= 1u << i;
}

static void op_uses(const struct op *op, struct uses *u)
{
	for (unsigned i = 0; i < op->n_attr; i++)
		if (op->attr[i].val->kind == AT_EXPRS)
			for (size_t k = 0; k < op->attr[i].val->n; k++)
				expr_visit(op->attr[i].val->exprs[k],
					   visit_use, u);
	for (unsigned r = 0; r < op->n_region; r++) {
		const struct block *b = op->region[r].block;

		for (uint32_t i = 0; i < b->n_iv; i++)
			expr_visit(expr_atom(b->iv[i])->a, visit_use, u);
		for (const struct op *o = b->first; o; o = o->next)
			op_uses(o, u);
	}
	/* Operands inside the same statement carry their own needs. */
	for (unsigned i = 0; i < op->n_in; i++) {
		const struct value *v = op->in[i].val;

		bool seen = false;

		if (!v || v->type->kind != TY_SCALAR || !v->def)
			continue;
		for (size_t k = 0; k < u->seen.n && !seen; k++)
			seen = u->seen.v[k] == v->def;
		if (seen)
			continue;
		vec_push(&u->seen, v->def);
		op_uses(v->def, u);
	}
}

uint32_t op_uses_ivs(const struct op *op, const struct block *of)
{
	struct uses u = { .of = of };

	op_uses(op, &u);
	vec_free(&u.seen);
	return u.bits;
}

uint32_t block_real_ivs(const struct block *b)
{
	uint32_t bits = 0;

	for (uint32_t i = 0; i < b->n_iv && i < 32; i++)
		if (!expr_is(expr_atom(b->iv[i])->a, 1))
			bits |= 1u << i;
	return bits;
}

const struct expr *const *point_index(const struct op *compute)
{
	size_t n;

	return op_has(compute, A_idx) ? op_exprs(compute, A_idx, &n)
				      : op_body(compute)->iv;
}

unsigned memory_order(struct ctx *c, const struct op *compute,
		      const struct value *result, uint8_t *order)
{
	const struct block *b = op_body(compute);
	const struct expr *const *idx = point_index(compute);
	const struct expr *unit, *coef, *rest;
	unsigned n = b->n_iv, rank = result->type->rank;
	uint32_t taken = 0;

	/* From the innermost dim on, and in each from its last digit on. */
	for (unsigned i = rank; i-- > 0;) {
		const struct expr *e = idx[layout_dim(result, i)];

		unit = expr_const(c, 1);
		for (unsigned k = 0; k < b->n_iv;) {
			if (taken >> k & 1 ||
			    !expr_linear(c, e, expr_atom(b->iv[k]), &coef,
					 &rest) ||
			    coef != unit) {
				k++;
				continue;
			}
			taken |= 1u << k;
			order[--n] = (uint8_t)k;
			unit = expr_mul(c, unit, expr_atom(b->iv[k])->a);
			e = rest;
			k = 0;
		}
	}
	for (unsigned k = b->n_iv; k-- > 0;)
		if (!(taken >> k & 1))
			order[--n] = (uint8_t)k;
	return b->n_iv;
}

bool body_has_partial_fold(const struct block *b)
{
	for (const struct op *op = b->first; op; op = op->next)
		if (op->code == OP_nest_reduce &&
		    (op_uses_ivs(op, b) & block_real_ivs(b)) !=
			    block_real_ivs(b))
			return true;
	return false;
}

static void visit_div(void *arg, const struct atom *a)
{
	*(bool *)arg |= a->kind >= ATOM_DIV;
}

bool expr_is_affine(const struct expr *e)
{
	bool found = false;

	expr_visit(e, visit_div, &found);
	return !found;
}

/* ---- constants ------------------------------------------------------ */

struct value *statement_const(struct builder *b, struct op *compute)
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

/* ---- tidying -------------------------------------------------------- */


/* Does the op need anything that the block defines? */
static bool depends_on(const struct op *op, const struct block *b)
{
	struct uses u = { .of = b };

	for (unsigned i = 0; i < op->n_in; i++) {
		const struct value *v = op->in[i].val;

		if (v && (v->def ? v->def->parent == b : v->block == b))
			return true;
	}
	for (unsigned i = 0; i < op->n_attr; i++)
		if (op->attr[i].val->kind == AT_EXPRS)
			for (size_t k = 0; k < op->attr[i].val->n; k++)
				expr_visit(op->attr[i].val->exprs[k],
					   visit_use, &u);
	if (u.bits)
		return true;
	for (unsigned r = 0; r < op->n_region; r++) {
		const struct block *in = op->region[r].block;

		for (uint32_t i = 0; i < in->n_iv; i++)
			expr_visit(expr_atom(in->iv[i])->a, visit_use, &u);
		for (const struct op *o = in->first; o; o = o->next)
			if (depends_on(o, b))
				return true;
	}
	return u.bits;
}

static void hoist(struct block *body)
{
	for (struct op *op = body->first, *next; op; op = next) {
		next = op->next;
		if (op->code != OP_nest_reduce)
			continue;
		struct block *in = op_body(op);

		hoist(in);
		for (struct op *o = in->first, *on; o; o = on) {
			on = o->next;
			if (op_def(o)->impure || depends_on(o, in))
				continue;
			op_unlink(o);
			op_insert(o, body, op);
		}
	}
}

bool attrs_equal(struct cloner *map, const struct attr *a,
		 const struct attr *b)
{
	if (a == b)
		return true;
	if (a->kind != b->kind || a->n != b->n)
		return false;
	switch (a->kind) {
	case AT_INT: return a->i == b->i;
	case AT_FLOAT: return !memcmp(&a->f, &b->f, sizeof(a->f));
	case AT_EXPRS:
		for (size_t i = 0; i < a->n; i++)
			if (a->exprs[i] !=
			    (map ? clone_expr(map, b->exprs[i]) : b->exprs[i]))
				return false;
		return true;
	case AT_STR: case AT_INTS: case AT_FLOATS: case AT_STRS:
	case AT_TENSOR: break;
	}
	return false;
}

/* Equality of ops under a correspondence of inner variables and values. */
struct twin {
	struct cloner map;	/* of the second op to the first */
};

static bool ops_equal(struct twin *t, const struct op *a, const struct op *b)
{
	if (a->code != b->code || a->n_in != b->n_in ||
	    a->n_out != b->n_out || a->n_attr != b->n_attr ||
	    a->n_region != b->n_region)
		return false;
	for (unsigned i = 0; i < a->n_out; i++)
		if (a->out[i].type != b->out[i].type)
			return false;
	for (unsigned i = 0; i < a->n_in; i++)
		if (a->in[i].val != cloned(&t->map, b->in[i].val))
			return false;
	for (unsigned i = 0; i < a->n_attr; i++)
		if (a->attr[i].name != b->attr[i].name ||
		    !attrs_equal(&t->map, a->attr[i].val, b->attr[i].val))
			return false;
	for (unsigned r = 0; r < a->n_region; r++) {
		struct block *x = a->region[r].block, *y = b->region[r].block;

		if (x->n_iv != y->n_iv || x->n_arg != y->n_arg)
			return false;
		for (uint32_t i = 0; i < x->n_iv; i++) {
			if (expr_atom(x->iv[i])->a !=
			    clone_expr(&t->map, expr_atom(y->iv[i])->a))
				return false;
			clone_iv(&t->map, y->iv[i], x->iv[i]);
		}
		for (uint32_t i = 0; i < x->n_arg; i++)
			clone_value(&t->map, y->arg[i], x->arg[i]);
		const struct op *p = x->first, *q = y->first;

		for (; p && q; p = p->next, q = q->next)
			if (!ops_equal(t, p, q))
				return false;
		if (p || q)
			return false;
	}
	for (unsigned i = 0; i < a->n_out; i++)
		clone_value(&t->map, &b->out[i], (struct value *)&a->out[i]);
	return true;
}

/* An equal op that is visible from `op`. */
static struct op *find_equal(struct ctx *c, struct op *op, struct block *top)
{
	for (struct op *at = op; at; at = op_parent(at)) {
		for (struct op *p = at->prev; p; p = p->prev) {
			struct twin t = { { .ctx = c } };
			bool same = p->code == op->code &&
				    ops_equal(&t, p, op);

			cloner_free(&t.map);
			if (same)
				return p;
		}
		if (at->parent == top)
			break;
	}
	return NULL;
}

static void merge_equal(struct ctx *c, struct block *b, struct block *top)
{
	for (struct op *op = b->first, *next; op; op = next) {
		next = op->next;
		if (op_def(op)->impure)
			continue;
		/* Inner ops first, so that equal folds look equal. */
		for (unsigned r = 0; r < op->n_region; r++)
			merge_equal(c, op->region[r].block, top);
		struct op *p = find_equal(c, op, top);

		if (!p)
			continue;
		for (unsigned i = 0; i < op->n_out; i++)
			value_replace(&op->out[i], &p->out[i]);
		op_erase(op);
	}
}

void body_tidy(struct ctx *c, struct block *body)
{
	hoist(body);
	merge_equal(c, body, body);
	erase_dead(body);
}
