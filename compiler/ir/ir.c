/* SPDX-License-Identifier: Apache-2.0 */
/* Context, interned types, and the graph of values, ops and blocks. */
#include "ir/ir.h"

#include <stdlib.h>
#include <string.h>

#include "ir/op.h"

struct ctx *ctx_new(void)
{
	struct ctx *c = xrealloc(NULL, 1, sizeof(*c));

	memset(c, 0, sizeof(*c));
	c->fold_steps = INT64_C(1000000000);
	c->fold_bytes = INT64_C(256) << 20;
	c->winograd = -1;
	return c;
}

void ctx_free(struct ctx *c)
{
	arena_free(&c->perm);
	arena_free(&c->temp);
	map_free(&c->strs);
	map_free(&c->types);
	map_free(&c->atoms);
	map_free(&c->exprs);
	free(c);
}

struct str_key {
	const char *s;
	size_t len;
};

static int str_eq(const void *obj, const void *key)
{
	const struct str_key *k = key;

	return strlen(obj) == k->len && !memcmp(obj, k->s, k->len);
}

const char *ctx_intern(struct ctx *c, const char *s, size_t len)
{
	struct str_key key = { s, len };
	uint64_t h = hash_bytes(HASH_INIT, s, len);
	char *found = intern_find(&c->strs, h, str_eq, &key);

	if (!found) {
		found = arena_str(&c->perm, s, len);
		intern_add(&c->strs, h, found);
	}
	return found;
}

/* ---- types ---------------------------------------------------------- */

static int type_eq(const void *obj, const void *key)
{
	const struct type *a = obj, *b = key;

	return a->kind == b->kind && a->dtype == b->dtype &&
	       a->rank == b->rank &&
	       (!a->rank ||
		!memcmp(a->dim, b->dim, a->rank * sizeof(*a->dim)));
}

static const struct type *intern_type(struct ctx *c, struct type key)
{
	uint32_t f[] = { key.kind, key.dtype, key.rank };
	uint64_t h = hash_bytes(HASH_INIT, f, sizeof(f));

	for (uint32_t i = 0; i < key.rank; i++)
		h = hash_bytes(h, &key.dim[i]->serial, 4);
	struct type *t = intern_find(&c->types, h, type_eq, &key);

	if (!t) {
		t = NEW(&c->perm, struct type);
		*t = key;
		if (key.rank)
			t->dim = arena_copy(&c->perm, key.dim,
					    key.rank * sizeof(*key.dim));
		intern_add(&c->types, h, t);
	}
	return t;
}

const struct type *type_tensor(struct ctx *c, enum dtype t, unsigned rank,
			       const struct expr *const *dim)
{
	return intern_type(c, (struct type){ TY_TENSOR, t, rank,
					     (const struct expr **)dim, 0 });
}

const struct type *type_scalar(struct ctx *c, enum dtype t)
{
	return intern_type(c, (struct type){ TY_SCALAR, t, 0, NULL, 0 });
}

const struct type *type_none(struct ctx *c)
{
	return intern_type(c, (struct type){ TY_NONE, 0, 0, NULL, 0 });
}

const char *type_str(struct ctx *c, const struct type *t)
{
	const char *dt = dtype_info[t->dtype].name, *s = "";

	if (t->kind == TY_NONE)
		return "none";
	if (t->kind == TY_SCALAR)
		return dt;
	/* A dim that is not a number or a name stands in parentheses. */
	for (uint32_t i = 0; i < t->rank; i++) {
		const struct atom *a = expr_atom(t->dim[i]);
		bool plain = expr_is_const(t->dim[i], &(int64_t){ 0 }) ||
			     (a && (a->kind == ATOM_SYM ||
				    a->kind == ATOM_DIM));

		s = arena_fmt(&c->temp, plain ? "%s%s," : "%s(%s),", s,
			      expr_str(c, t->dim[i]));
	}
	return arena_fmt(&c->temp, "tensor<[%.*s] %s>",
			 *s ? (int)strlen(s) - 1 : 0, s, dt);
}

const struct expr *type_elems(struct ctx *c, const struct type *t)
{
	const struct expr *n = expr_const(c, 1);

	for (uint32_t i = 0; i < t->rank; i++)
		n = expr_mul(c, n, t->dim[i]);
	return n;
}

bool type_is_static(const struct type *t)
{
	int64_t k;

	for (uint32_t i = 0; i < t->rank; i++)
		if (!expr_is_const(t->dim[i], &k))
			return false;
	return true;
}

/* ---- graph ---------------------------------------------------------- */

struct block *block_new(struct ctx *c, struct region *parent)
{
	struct block *b = NEW(&c->perm, struct block);

	b->parent = parent;
	return b;
}

struct value *block_add_arg(struct ctx *c, struct block *b,
			    const struct type *t, const char *name)
{
	struct value *v = NEW(&c->perm, struct value);
	struct value **arg = NEW_ARRAY(&c->perm, b->n_arg + 1, struct value *);

	if (b->n_arg)
		memcpy(arg, b->arg, b->n_arg * sizeof(*arg));
	*v = (struct value){ .type = t, .block = b, .index = b->n_arg,
			     .id = ++c->n_values, .name = name };
	arg[b->n_arg++] = v;
	b->arg = arg;
	return v;
}

const struct expr *block_add_iv(struct ctx *c, struct block *b,
				const struct expr *extent)
{
	const struct expr **iv = NEW_ARRAY(&c->perm, b->n_iv + 1,
					   const struct expr *);

	if (b->n_iv)
		memcpy(iv, b->iv, b->n_iv * sizeof(*iv));
	iv[b->n_iv] = expr_iv(c, extent);
	b->iv = iv;
	return iv[b->n_iv++];
}

static void use_link(struct use *u, struct value *v)
{
	u->val = v;
	if (!v)
		return;
	u->next = v->uses;
	u->prevp = &v->uses;
	if (u->next)
		u->next->prevp = &u->next;
	v->uses = u;
}

static void use_unlink(struct use *u)
{
	if (!u->val)
		return;
	*u->prevp = u->next;
	if (u->next)
		u->next->prevp = u->prevp;
	u->val = NULL;
}

void op_set_in(struct op *op, unsigned i, struct value *v)
{
	use_unlink(&op->in[i]);
	use_link(&op->in[i], v);
}

void op_add_in(struct ctx *c, struct op *op, struct value *v)
{
	struct use *old = op->in;

	op->in = NEW_ARRAY(&c->perm, op->n_in + 1u, struct use);
	for (unsigned i = 0; i < op->n_in; i++) {
		struct value *val = old[i].val;

		use_unlink(&old[i]);
		op->in[i].user = op;
		use_link(&op->in[i], val);
	}
	op->in[op->n_in].user = op;
	use_link(&op->in[op->n_in++], v);
}

void value_replace(struct value *from, struct value *to)
{
	while (from->uses) {
		struct use *u = from->uses;

		use_unlink(u);
		use_link(u, to);
	}
}

void op_insert(struct op *op, struct block *b, struct op *before)
{
	op->parent = b;
	op->next = before;
	op->prev = before ? before->prev : b->last;
	if (op->prev)
		op->prev->next = op;
	else
		b->first = op;
	if (before)
		before->prev = op;
	else
		b->last = op;
}

void op_unlink(struct op *op)
{
	if (op->prev)
		op->prev->next = op->next;
	else
		op->parent->first = op->next;
	if (op->next)
		op->next->prev = op->prev;
	else
		op->parent->last = op->prev;
	op->prev = op->next = NULL;
	op->parent = NULL;
}

void op_erase(struct op *op)
{
	for (unsigned i = 0; i < op->n_region; i++) {
		struct block *b = op->region[i].block;

		while (b && b->last)
			op_erase(b->last);
	}
	for (unsigned i = 0; i < op->n_in; i++)
		use_unlink(&op->in[i]);
	if (op->parent)
		op_unlink(op);
}

struct op *op_parent(const struct op *op)
{
	return op->parent && op->parent->parent ? op->parent->parent->parent
						: NULL;
}

bool op_comes_before(const struct op *p, const struct op *op)
{
	for (op = op->prev; op; op = op->prev)
		if (op == p)
			return true;
	return false;
}

struct op *fold_combiner(const struct op *fold, unsigned i)
{
	const struct block *b = op_body(fold);
	struct value *next = i < fold->n_in ? b->last->in[i].val : NULL;
	struct op *k = next ? next->def : NULL;

	if (!k || k->parent != b || !value_has_one_use(b->arg[i]))
		return NULL;
	switch ((int)k->code) {
	case OP_loop_for:
		return k->in[next->index].val == b->arg[i]
			       ? fold_combiner(k, next->index)
			       : NULL;
	case OP_arith_add: case OP_arith_mul: case OP_arith_min:
	case OP_arith_max: case OP_arith_and: case OP_arith_or:
		return k->in[0].val == b->arg[i] || k->in[1].val == b->arg[i]
			       ? k
			       : NULL;
	default: return NULL;
	}
}

bool fold_is_free(const struct op *fold)
{
	for (unsigned i = 0; i < fold->n_in; i++)
		if (!fold_combiner(fold, i))
			return false;
	return fold->n_in;
}

bool value_is_outside(const struct value *v, const struct op *op)
{
	struct block *b = v->def ? v->def->parent : v->block;

	while (b) {
		if (!b->parent)
			return true;
		if (b->parent->parent == op)
			return false;
		b = b->parent->parent->parent;
	}
	return true;
}

void block_number(struct block *b, uint32_t *n)
{
	for (uint32_t i = 0; i < b->n_arg; i++)
		b->arg[i]->slot = (*n)++;
	for (struct op *op = b->first; op; op = op->next) {
		for (unsigned i = 0; i < op->n_out; i++)
			op->out[i].slot = (*n)++;
		for (unsigned i = 0; i < op->n_region; i++)
			block_number(op->region[i].block, n);
	}
}

void block_walk(struct block *b, walk_fn *fn, void *arg)
{
	for (struct op *op = b->first, *next; op; op = next) {
		next = op->next;
		for (unsigned i = 0; i < op->n_region; i++)
			block_walk(op->region[i].block, fn, arg);
		fn(arg, op);
	}
}

struct module *module_new(struct ctx *c, const char *name)
{
	struct module *m = NEW(&c->perm, struct module);
	struct builder b = { c, NULL, NULL, NULL };

	m->ctx = c;
	m->name = name;
	m->levels = LEVEL_GRAPH;
	m->func = build(&b,
			&(struct op_spec){ .code = OP_core_func,
					   .out = (const struct type *[1]){ 0 },
					   .n_region = 1 });
	return m;
}

/* ---- attributes ----------------------------------------------------- */

static struct attr *new_attr(struct ctx *c, enum attr_kind kind, size_t n)
{
	struct attr *a = NEW(&c->perm, struct attr);

	a->kind = kind;
	a->n = n;
	return a;
}

const struct attr *attr_int(struct ctx *c, int64_t v)
{
	struct attr *a = new_attr(c, AT_INT, 1);

	a->i = v;
	return a;
}

const struct attr *attr_float(struct ctx *c, double v)
{
	struct attr *a = new_attr(c, AT_FLOAT, 1);

	a->f = v;
	return a;
}

const struct attr *attr_str(struct ctx *c, const char *s)
{
	struct attr *a = new_attr(c, AT_STR, strlen(s));

	a->s = ctx_intern(c, s, a->n);
	return a;
}

const struct attr *attr_ints(struct ctx *c, size_t n, const int64_t *v)
{
	struct attr *a = new_attr(c, AT_INTS, n);

	a->ints = arena_copy(&c->perm, v, n * sizeof(*v));
	return a;
}

const struct attr *attr_exprs(struct ctx *c, size_t n,
			      const struct expr *const *e)
{
	struct attr *a = new_attr(c, AT_EXPRS, n);

	a->exprs = arena_copy(&c->perm, e, n * sizeof(*e));
	return a;
}

const struct attr *attr_tensor(struct ctx *c, const struct type *t,
			       struct blob b)
{
	struct attr *a = new_attr(c, AT_TENSOR, 1);

	a->tensor.type = t;
	a->tensor.blob = b;
	return a;
}

const struct attr *op_attr(const struct op *op, enum attr_name name)
{
	for (unsigned i = 0; i < op->n_attr; i++)
		if (op->attr[i].name == name)
			return op->attr[i].val;
	return NULL;
}

bool op_has(const struct op *op, enum attr_name name)
{
	return op_attr(op, name);
}

int64_t op_int(const struct op *op, enum attr_name name)
{
	const struct attr *a = op_attr(op, name);
	const struct attr_def *d = op_attr_def(op_def(op), name);

	return a ? a->i : d ? d->i : 0;
}

double op_float(const struct op *op, enum attr_name name)
{
	const struct attr *a = op_attr(op, name);
	const struct attr_def *d = op_attr_def(op_def(op), name);

	return a ? a->f : d ? d->f : 0;
}

const char *op_str(const struct op *op, enum attr_name name)
{
	const struct attr *a = op_attr(op, name);
	const struct attr_def *d = op_attr_def(op_def(op), name);

	return a ? a->s : d && d->s ? d->s : "";
}

const int64_t *op_ints(const struct op *op, enum attr_name name, size_t *n)
{
	const struct attr *a = op_attr(op, name);

	*n = a ? a->n : 0;
	return a ? a->ints : NULL;
}

const struct expr *const *op_exprs(const struct op *op, enum attr_name name,
				   size_t *n)
{
	const struct attr *a = op_attr(op, name);

	*n = a ? a->n : 0;
	return a ? a->exprs : NULL;
}

void op_set_attr(struct ctx *c, struct op *op, enum attr_name name,
		 const struct attr *val)
{
	for (unsigned i = 0; i < op->n_attr; i++)
		if (op->attr[i].name == name) {
			op->attr[i].val = val;
			return;
		}
	struct named_attr *attr = NEW_ARRAY(&c->perm, op->n_attr + 1u,
					    struct named_attr);

	if (op->n_attr)
		memcpy(attr, op->attr, op->n_attr * sizeof(*attr));
	attr[op->n_attr++] = (struct named_attr){ name, val };
	op->attr = attr;
}

void op_set_int(struct ctx *c, struct op *op, enum attr_name name, int64_t v)
{
	op_set_attr(c, op, name, attr_int(c, v));
}

void op_set_exprs(struct ctx *c, struct op *op, enum attr_name name, size_t n,
		  const struct expr *const *e)
{
	op_set_attr(c, op, name, attr_exprs(c, n, e));
}
