/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold between passes: links of the graph, visibility, levels, and
 * types equal to what the records infer.  verify_op.c has the rules of the
 * ops that are not ONNX's.
 */
#include "ir/verify.h"

#include <stdlib.h>
#include <string.h>

bool verify_error(struct verifier *v, const struct op *op, const char *fmt, ...)
{
	struct ctx *c = v->m->ctx;
	va_list ap;

	va_start(ap, fmt);
	const char *text = arena_vfmt(&c->temp, fmt, ap);
	va_end(ap);
	if (!v->after)
		return diag_error(&c->diag, EXIT_MODEL, op->loc, "%s", text);
	bug(&c->diag, "after %s: %s: %s\n%s", v->after, op_name(c, op->code),
	    text, op_print(c, op));
}

/* ---- inference ------------------------------------------------------ */

static bool types_agree(const struct type *a, const struct type *b, bool *exact)
{
	if (a->kind != b->kind || a->dtype != b->dtype || a->rank != b->rank)
		return false;
	for (uint32_t i = 0; i < a->rank; i++) {
		if (a->dim[i] == b->dim[i])
			continue;
		if (!expr_is_late(a->dim[i]) && !expr_is_late(b->dim[i]))
			return false;
		*exact = false;
	}
	return true;
}

static unsigned count_outs(const struct op_def *d)
{
	unsigned n = 0;

	while (n < MAX_OUTS && d->out[n].name)
		n++;
	return n && d->out[n - 1].types & P_VARIADIC ? UINT16_MAX : n;
}

static bool check_const(struct ctx *c, struct op *op)
{
	const struct attr *a = op_attr(op, A_value);
	int64_t n;

	if (!a || a->kind != AT_TENSOR || op->n_out != 1 || op->n_in)
		return diag_error(&c->diag, EXIT_MODEL, op->loc,
				  "needs a tensor and has one result");
	if (op->out[0].type != a->tensor.type)
		return diag_error(&c->diag, EXIT_MODEL, op->loc,
				  "the result is %s, the constant %s",
				  type_str(c, op->out[0].type),
				  type_str(c, a->tensor.type));
	if (!expr_is_const(type_elems(c, a->tensor.type), &n) ||
	    n < 0 || n > INT64_MAX / 16 ||
	    a->tensor.blob.size != dtype_bytes(a->tensor.type->dtype,
					       (size_t)n))
		return diag_error(&c->diag, EXIT_MODEL, op->loc,
				  "the constant has %zu bytes",
				  a->tensor.blob.size);
	return true;
}

bool op_check(struct ctx *c, struct op *op, bool *exact)
{
	const struct type **out;
	struct op *prev = op->prev;
	uint32_t n_syms = c->n_syms;
	unsigned most = count_outs(op_def(op));
	bool ok;

	*exact = true;
	if (op->code == OP_core_const)
		return check_const(c, op);
	for (unsigned i = 0; i < op->n_in; i++)
		if (op_in(op, i) && op_in(op, i)->type->kind == TY_SCALAR)
			return diag_error(&c->diag, EXIT_MODEL, op->loc,
					  "operand %u is no tensor", i);
	if (most && op->n_out > most)
		return diag_error(&c->diag, EXIT_MODEL, op->loc,
				  "has %u outputs, gives at most %u",
				  op->n_out, most);
	out = NEW_ARRAY(&c->temp, op->n_out + MAX_OUTS, const struct type *);
	ok = op_infer(c, op, out);
	/* What inference states about run-time values stands there already. */
	while (op->prev != prev)
		op_erase(op->prev);
	c->n_syms = n_syms;
	for (unsigned i = 0; ok && i < op->n_out; i++)
		if (!types_agree(op->out[i].type, out[i], exact))
			ok = diag_error(&c->diag, EXIT_MODEL, op->loc,
					"result %u is %s, should be %s", i,
					type_str(c, op->out[i].type),
					type_str(c, out[i]));
	return ok;
}

/* ---- expressions ---------------------------------------------------- */

struct atom_check {
	struct verifier *v;
	const struct op *op;	/* holds the expression; NULL: a type */
	const char *wrong;
};

static void check_atom(void *arg, const struct atom *a)
{
	struct atom_check *k = arg;
	struct verifier *v = k->v;
	const struct value *x = a->val;

	switch (a->kind) {
	case ATOM_SYM: case ATOM_DIM: case ATOM_DIV: case ATOM_MOD:
	case ATOM_MIN: case ATOM_MAX:
		return;
	case ATOM_POISON:
		k->wrong = "overflowed";
		return;
	case ATOM_IV:
		for (size_t i = 0; k->op && i < v->n_iv; i++)
			if (v->iv[i] == a)
				return;
		k->wrong = "uses an iteration variable of no open block";
		return;
	case ATOM_ARG:
		x = k->op ? op_in(k->op, a->id) : NULL;
		if (!x || x->type->kind != TY_SCALAR ||
		    x->type->dtype != DT_I64)
			k->wrong = "refers to an operand that is no i64 scalar";
		return;
	case ATOM_VAL:
		if (!k->op || map_get(&v->values, x->id) != x || !x->slot ||
		    x->type->kind != TY_SCALAR || x->type->dtype != DT_I64)
			k->wrong = "refers to a value that is not visible";
		return;
	}
}

static bool check_expr(struct verifier *v, const struct op *op,
		       const struct op *holder, const struct expr *e)
{
	struct atom_check k = { v, holder, NULL };

	expr_visit(e, check_atom, &k);
	return !k.wrong || verify_error(v, op, "expression '%s' %s",
					expr_str(v->m->ctx, e), k.wrong);
}

static bool check_type(struct verifier *v, const struct op *op,
		       const struct type *t)
{
	if (!t)
		return verify_error(v, op, "a value has no type");
	if (map_get(&v->types, (uint64_t)(uintptr_t)t))
		return true;
	for (uint32_t i = 0; i < t->rank; i++)
		if (!check_expr(v, op, NULL, t->dim[i]))
			return false;
	map_put(&v->types, (uint64_t)(uintptr_t)t, (void *)t);
	return true;
}

/* ---- structure ------------------------------------------------------ */

static bool collect(struct verifier *v, const struct op *op, struct value *x)
{
	if (map_get(&v->values, x->id))
		return verify_error(v, op, "two values have number %u", x->id);
	map_put(&v->values, x->id, x);
	x->slot = 0;
	return check_type(v, op, x->type);
}

/* Links of a block and everything in it; collects the values. */
static bool check_links(struct verifier *v, struct op *parent, unsigned r)
{
	struct block *b = parent->region[r].block;
	struct op *prev = NULL;

	if (parent->region[r].parent != parent || !b ||
	    b->parent != &parent->region[r])
		return verify_error(v, parent, "region %u is not linked", r);
	for (uint32_t i = 0; i < b->n_arg; i++)
		if (b->arg[i]->block != b || b->arg[i]->index != i ||
		    b->arg[i]->def)
			return verify_error(v, parent,
					    "argument %u is not linked", i);
		else if (!collect(v, parent, b->arg[i]))
			return false;
	for (struct op *op = b->first; op; prev = op, op = op->next) {
		if (op->parent != b || op->prev != prev)
			return verify_error(v, parent, "ops are not linked");
		for (unsigned i = 0; i < op->n_out; i++)
			if (op->out[i].def != op || op->out[i].index != i)
				return verify_error(v, op,
						    "result %u is not linked",
						    i);
			else if (!collect(v, op, &op->out[i]))
				return false;
		for (unsigned i = 0; i < op->n_region; i++)
			if (!check_links(v, op, i))
				return false;
	}
	return b->last == prev || verify_error(v, parent, "a block's end");
}

static bool check_uses(struct verifier *v, const struct op *op)
{
	for (unsigned i = 0; i < op->n_in; i++) {
		const struct use *u = &op->in[i];
		const struct value *x = u->val;

		if (!x)
			continue;
		if (map_get(&v->values, x->id) != x || !x->slot)
			return verify_error(v, op, "operand %u is not defined "
						   "before its use", i);
		if (u->user != op || *u->prevp != u ||
		    (u->next && u->next->prevp != &u->next))
			return verify_error(v, op, "operand %u is not in its "
						   "value's list of uses", i);
	}
	return true;
}

static bool check_user_list(struct verifier *v, const struct op *op,
			    const struct value *x)
{
	for (const struct use *u = x->uses; u; u = u->next)
		if (u->val != x || u->user->n_in <= u - u->user->in ||
		    u < u->user->in)
			return verify_error(v, op, "a list of uses is wrong");
	return true;
}

static bool check_attrs(struct verifier *v, const struct op *op)
{
	const struct op_def *d = op_def(op);

	for (unsigned i = 0; i < op->n_attr; i++) {
		const struct attr *a = op->attr[i].val;
		const struct attr_def *def = op_attr_def(d, op->attr[i].name);
		const char *name = attr_names[op->attr[i].name];

		if (!def && d->domain)
			return verify_error(v, op, "has an attribute '%s'",
					    name);
		if (def && def->kind != a->kind &&
		    !(op->code == OP_arith_const && a->kind == AT_INT))
			return verify_error(v, op, "attribute '%s' has another "
						   "kind of value", name);
		for (size_t k = 0; a->kind == AT_EXPRS && k < a->n; k++)
			if (!check_expr(v, op, op, a->exprs[k]))
				return false;
	}
	return true;
}

static bool check_level(struct verifier *v, const struct op *op)
{
	unsigned level = (unsigned)op_def(op)->level;

	level = level ? level : LEVEL_GRAPH;
	return level & v->m->levels ||
	       verify_error(v, op, "is not of the module's level");
}

static void push_iv(struct verifier *v, const struct atom *a)
{
	if (v->n_iv == v->cap_iv) {
		v->cap_iv = v->cap_iv ? 2 * v->cap_iv : 32;
		v->iv = xrealloc(v->iv, v->cap_iv, sizeof(*v->iv));
	}
	v->iv[v->n_iv++] = a;
}

/* The block's iteration variables become visible. */
static bool open_ivs(struct verifier *v, struct op *op, const struct block *b)
{
	for (uint32_t i = 0; i < b->n_iv; i++) {
		const struct atom *a = expr_atom(b->iv[i]);

		if (!a || a->kind != ATOM_IV || !a->a)
			return verify_error(v, op, "an iteration variable is "
						   "none");
		if (map_get(&v->ivs, a->serial))
			return verify_error(v, op, "two blocks have the same "
						   "iteration variable");
		map_put(&v->ivs, a->serial, (void *)a);
		if (!check_expr(v, op, op, a->a))
			return false;
		push_iv(v, a);
	}
	return true;
}

/* May the attributes use the variables of the op's own body? */
static bool speaks_of_own_ivs(const struct op *op)
{
	return op->n_region && (op_def(op)->level == LEVEL_LOOP ||
				op->code == OP_nest_compute);
}

static bool check_op(struct verifier *v, struct op *op);

static bool check_block(struct verifier *v, struct op *op, unsigned r)
{
	struct block *b = op->region[r].block;
	size_t n_iv = v->n_iv;

	if (!open_ivs(v, op, b))
		return false;
	for (uint32_t i = 0; i < b->n_arg; i++) {
		if (!check_user_list(v, op, b->arg[i]))
			return false;
		b->arg[i]->slot = 1;
	}
	for (struct op *o = b->first; o; o = o->next) {
		if (!check_op(v, o))
			return false;
		for (unsigned i = 0; i < o->n_out; i++)
			o->out[i].slot = 1;
	}
	if (speaks_of_own_ivs(op) && !check_attrs(v, op))
		return false;
	for (struct op *o = b->first; o; o = o->next)
		for (unsigned i = 0; i < o->n_out; i++)
			o->out[i].slot = 0;
	for (uint32_t i = 0; i < b->n_arg; i++)
		b->arg[i]->slot = 0;
	v->n_iv = n_iv;
	return true;
}

static bool check_op(struct verifier *v, struct op *op)
{
	struct ctx *c = v->m->ctx;
	bool exact, own = speaks_of_own_ivs(op);

	if (!check_level(v, op) || !check_uses(v, op) ||
	    (!own && !check_attrs(v, op)) || !verify_op(v, op))
		return false;
	for (unsigned i = 0; i < op->n_out; i++)
		if (!check_user_list(v, op, &op->out[i]))
			return false;
	for (unsigned i = 0; i < op->n_region; i++)
		if (!check_block(v, op, i))
			return false;
	if (!op_def(op)->domain && op->code != OP_core_const)
		return true;
	return op_check(c, op, &exact) ||
	       (v->after && verify_error(v, op, "has wrong types"));
}

bool module_verify(struct module *m, const char *after)
{
	struct verifier v = { .m = m, .after = after };
	bool ok = m->func->code == OP_core_func && m->func->n_region == 1;

	if (!ok)
		verify_error(&v, m->func, "is not the function of a module");
	ok = ok && check_links(&v, m->func, 0) && check_op(&v, m->func);
	map_free(&v.values);
	map_free(&v.types);
	map_free(&v.ivs);
	free(v.iv);
	return ok;
}
