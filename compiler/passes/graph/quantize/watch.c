/* SPDX-License-Identifier: Apache-2.0 */
/* Which values of a graph a profile is about, and which graph it is. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "passes/graph/quantize/quantize.h"

struct linears linears_find(struct ctx *c, struct block *b)
{
	struct linears all = { 0 };
	struct linear l;

	for (struct op *op = b->first; op; op = op->next)
		if (linear_of(c, op, &l))
			vec_push(&all, l);
	return all;
}

/* ---- values --------------------------------------------------------- */

static bool is_watched(const struct watches *w, const struct value *v)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->v[i].v == v)
			return true;
	return false;
}

/* What the file calls it; what it does not name is numbered. */
static void add_watch(struct ctx *c, struct watches *w, struct value *v,
		      int axis, bool input)
{
	struct watch x = { .v = v, .name = v->name, .axis = axis,
			   .n_channel = 1, .input = input };

	if (is_watched(w, v))
		return;
	if (axis >= 0 && !expr_is_const(v->type->dim[axis], &x.n_channel))
		x.axis = -1;
	bool taken = !x.name;

	for (size_t i = 0; i < w->n; i++)
		taken |= x.name && !strcmp(x.name, w->v[i].name);
	if (taken)
		x.name = arena_fmt(&c->perm, "#%zu", w->n);
	vec_push(w, x);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct watch *)a)->name,
		      ((const struct watch *)b)->name);
}

struct watches graph_watches(struct module *m)
{
	struct linears all = linears_find(m->ctx, op_body(m->func));
	struct watches w = { 0 };

	for (size_t i = 0; i < all.n; i++)
		add_watch(m->ctx, &w, linear_x(&all.v[i]), all.v[i].x_axis,
			  all.v[i].rows);
	for (size_t i = 0; i < all.n; i++)
		add_watch(m->ctx, &w, &all.v[i].op->out[0], all.v[i].y_axis,
			  false);
	vec_free(&all);
	if (w.n)
		qsort(w.v, w.n, sizeof(*w.v), by_name);
	return w;
}

/* ---- the graph ------------------------------------------------------ */

static uint64_t hash_text(uint64_t h, const char *s)
{
	return fnv_bytes(h, s, strlen(s) + 1);
}

static uint64_t hash_number(uint64_t h, uint64_t v)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIx64, v);
	return hash_text(h, text);
}

static uint64_t hash_tensor(struct ctx *c, uint64_t h, const struct attr *a)
{
	h = hash_text(h, type_str(c, a->tensor.type));
	return fnv_bytes(h, a->tensor.blob.data, a->tensor.blob.size);
}

static uint64_t hash_attr(struct ctx *c, uint64_t h, const struct attr *a)
{
	switch (a->kind) {
	case AT_INT: return hash_number(h, (uint64_t)a->i);
	case AT_FLOAT: return fnv_bytes(h, &a->f, sizeof(a->f));
	case AT_STR: return fnv_bytes(h, a->s, a->n);
	case AT_INTS: return fnv_bytes(h, a->ints, a->n * sizeof(*a->ints));
	case AT_FLOATS:
		return fnv_bytes(h, a->floats, a->n * sizeof(*a->floats));
	case AT_STRS:
		for (size_t i = 0; i < a->n; i++)
			h = hash_text(h, a->strs[i]);
		return h;
	case AT_TENSOR: return hash_tensor(c, h, a);
	case AT_EXPRS: return hash_number(h, a->n);
	}
	return h;
}

/* A constant counts by what it holds, another value by where it comes from. */
static uint64_t hash_op(struct ctx *c, const struct op *op)
{
	uint64_t h = hash_text(FNV_INIT, op_name(c, op->code));

	for (unsigned i = 0; i < op->n_attr; i++) {
		h = hash_text(h, attr_names[op->attr[i].name]);
		h = hash_attr(c, h, op->attr[i].val);
	}
	for (unsigned i = 0; i < op->n_in; i++) {
		const struct value *v = op_in(op, i);
		const struct op *k = def_of(v, OP_core_const);

		if (value_is_absent(v))
			h = hash_text(h, "none");
		else if (k)
			h = hash_tensor(c, h, op_attr(k, A_value));
		else
			h = hash_number(h, v->slot);
	}
	return h;
}

const char *op_label(struct ctx *c, const struct op *op)
{
	const char *type = op->loc && op->loc->op ? op->loc->op
						  : op_def(op)->name;

	return op->loc && op->loc->name
		       ? arena_fmt(&c->perm, "%s '%s'", type, op->loc->name)
		       : type;
}

void graph_hash(struct module *m, struct profile *p)
{
	struct block *b = op_body(m->func);
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->n_arg; i++)
		b->arg[i]->slot = n++;
	for (struct op *op = b->first; op; op = op->next) {
		if (op->code == OP_core_const)
			continue;
		for (unsigned i = 0; i < op->n_out; i++)
			op->out[i].slot = n++;
		struct node_hash h = { op_label(m->ctx, op),
				       hash_op(m->ctx, op) };

		vec_push(&p->node, h);
	}
}

static bool check_graph(const struct profile *p, struct module *m,
			const struct loc *loc)
{
	struct profile own = { 0 };
	struct diag *d = &m->ctx->diag;
	size_t i = 0;

	graph_hash(m, &own);
	while (i < own.node.n && i < p->node.n &&
	       own.node.v[i].hash == p->node.v[i].hash)
		i++;
	bool same = i == own.node.n && i == p->node.n;

	if (!same)
		diag_error(d, EXIT_MODEL, loc,
			   "the profile is of another model: its node %zu is "
			   "%s, here it is %s",
			   i, i < p->node.n ? p->node.v[i].label : "missing",
			   i < own.node.n ? own.node.v[i].label : "missing");
	profile_free(&own);
	return same;
}

static struct stats *find(const struct profile *p, const char *name)
{
	size_t lo = 0, hi = p->value.n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int k = strcmp(name, p->value.v[mid]->name);

		if (!k)
			return p->value.v[mid];
		if (k < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

bool profile_bind(struct profile *p, struct module *m, const char *file)
{
	struct loc loc = { .file = file, .node = -1 };

	if (!check_graph(p, m, &loc))
		return false;
	struct watches w = graph_watches(m);
	bool ok = true;

	for (size_t i = 0; i < w.n && ok; i++) {
		struct stats *s = find(p, w.v[i].name);

		if (!s || s->axis != w.v[i].axis ||
		    s->n_channel != w.v[i].n_channel)
			ok = diag_error(&m->ctx->diag, EXIT_MODEL, &loc,
					"the profile lacks value '%s'",
					w.v[i].name);
		else
			map_put(&p->of_value, w.v[i].v->id, s);
	}
	vec_free(&w);
	return ok;
}
