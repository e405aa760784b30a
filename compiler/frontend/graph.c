/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From nodes to ops.  Everything ends up in one block: function bodies and
 * the taken branch of an If are built where they are called, constants before
 * the nodes of their graph.  Types are inferred on the way; the first fault
 * ends the import.
 */
#include <string.h>

#include "frontend/internal.h"

/* Nodes of one graph or body, and what their names mean. */
struct body {
	const struct frame *frame;
	struct scope *scope;
	Onnx__NodeProto *const *node;
	size_t n;
	const bool *live;
};

static struct value *scope_get(struct importer *im, const struct scope *s,
			       const char *name)
{
	struct value *v = NULL;

	if (!*name)
		return NULL;
	name = intern(im, name);
	for (; s && !v; s = s->up)
		v = map_get(&s->values, key_of(name));
	return v;
}

/* An absent value is not entered, and found as NULL. */
static void scope_put(struct importer *im, struct scope *s, const char *name,
		      struct value *v)
{
	if (*name && v)
		map_put(&s->values, key_of(intern(im, name)), v);
}

static const struct loc *node_loc(struct importer *im,
				  const struct frame *frame,
				  const Onnx__NodeProto *node, size_t index)
{
	struct loc *loc = NEW(&im->c->perm, struct loc);
	const char *name = node->name ? node->name : "";

	*loc = loc_of(im, node, index);
	loc->op = intern(im, node->op_type);
	if (*name && *frame->prefix)
		name = arena_fmt(&im->c->temp, "%s/%s", frame->prefix,
				 brief(im, name));
	else if (!*name)
		name = frame->prefix;
	loc->name = *name ? intern(im, name) : NULL;
	return loc;
}

static size_t trimmed(char *const *name, size_t n)
{
	while (n && !*name[n - 1])
		n--;
	return n;
}

/* ---- ops ------------------------------------------------------------ */

static bool convert_attrs(struct importer *im, const struct frame *frame,
			  const Onnx__NodeProto *node, const struct loc *loc,
			  struct named_attr *attr, unsigned *n)
{
	struct diag *d = &im->c->diag;

	*n = 0;
	for (size_t i = 0; i < node->n_attribute; i++) {
		const Onnx__AttributeProto *a = node->attribute[i];
		const Onnx__AttributeProto *r = attr_of(frame, a);
		struct named_attr *dst = &attr[*n];

		/* The caller left it out: the operator's default holds. */
		if (!r)
			continue;
		if (r != a && a->type && r->type != a->type)
			return diag_error(d, EXIT_MODEL, loc,
					  "attribute '%s' refers to one of "
					  "another type",
					  brief(im, a->name));
		if (!attr_find(a->name, &dst->name))
			return diag_error(d, EXIT_MODEL, loc,
					  "has no attribute '%s'",
					  brief(im, a->name));
		dst->val = attr_import(im, r, loc);
		if (!dst->val)
			return false;
		++*n;
	}
	return true;
}

static bool check_kinds(struct importer *im, const struct op_def *def,
			const struct older *o)
{
	for (unsigned i = 0; i < o->n_attr; i++) {
		const struct attr_def *want = op_attr_def(def, o->attr[i].name);
		const char *name = attr_names[o->attr[i].name];

		if (!want)
			return diag_error(&im->c->diag, EXIT_MODEL, o->loc,
					  "has no attribute '%s'", name);
		if (want->kind != o->attr[i].val->kind)
			return diag_error(&im->c->diag, EXIT_MODEL, o->loc,
					  "attribute '%s' has the wrong type",
					  name);
	}
	return true;
}

static bool check_result_count(struct importer *im, const struct op_def *def,
			       size_t n, const struct loc *loc)
{
	unsigned ports = 0;

	while (ports < MAX_OUTS && def->out[ports].name)
		ports++;
	if (n <= ports || (ports && def->out[ports - 1].types & P_VARIADIC))
		return true;
	return diag_error(&im->c->diag, EXIT_MODEL, loc,
			  "has %zu outputs, at most %u are defined", n, ports);
}

static bool check_result_size(struct importer *im, const struct op *op)
{
	int64_t n;

	for (unsigned i = 0; i < op->n_out; i++) {
		const struct type *t = op->out[i].type;

		if (t->kind != TY_TENSOR)
			continue;
		if (t->rank > MAX_RANK)
			return diag_error(&im->c->diag, EXIT_LIMIT, op->loc,
					  "the result has rank %u, at most %d "
					  "is supported",
					  t->rank, MAX_RANK);
		const struct expr *e = type_elems(im->c, t);

		if (expr_is_poison(e) ||
		    (expr_is_const(e, &n) && n > MAX_ELEMS))
			return diag_error(&im->c->diag, EXIT_LIMIT, op->loc,
					  "the result has more than 2^40 "
					  "elements");
	}
	return true;
}

static bool build_record(struct importer *im, const struct body *b,
			 const Onnx__NodeProto *node, const struct record *r)
{
	struct ctx *c = im->c;
	const struct op_def *def = r->def;
	int64_t opset = record_opset(im, b->frame, node, r);
	struct older o = {
		.b = im->b,
		.opset = opset,
		.code = r->code,
		.loc = im->b.loc,
		.n_in = (unsigned)trimmed(node->input, node->n_input),
		.n_out = (unsigned)trimmed(node->output, node->n_output),
		.in = NEW_ARRAY(&c->temp, node->n_input + MAX_PORTS,
				struct value *),
		.attr = NEW_ARRAY(&c->temp, node->n_attribute + MAX_ATTRS,
				  struct named_attr),
	};

	for (unsigned i = 0; i < o.n_in; i++)
		o.in[i] = scope_get(im, b->scope, node->input[i]);
	if (!convert_attrs(im, b->frame, node, o.loc, o.attr, &o.n_attr))
		return false;
	if (opset < def->since && def->older) {
		if (!def->older(&o))
			return false;
		def = op_defs[o.code];
	}
	while (o.n_in && !o.in[o.n_in - 1])
		o.n_in--;
	if (!check_kinds(im, def, &o) ||
	    !check_result_count(im, def, o.n_out, o.loc))
		return false;
	struct op *op =
		build(&im->b, &(struct op_spec){ .code = o.code,
						 .n_in = o.n_in,
						 .in = o.in,
						 .n_out = o.n_out ? o.n_out : 1,
						 .n_attr = o.n_attr,
						 .attr = o.attr });

	if (!op || !check_result_size(im, op))
		return false;
	for (unsigned i = 0; i < o.n_out; i++) {
		if (!b->frame->fn && *node->output[i])
			op->out[i].name = intern(im, node->output[i]);
		if (!value_is_absent(&op->out[i]))
			scope_put(im, b->scope, node->output[i], &op->out[i]);
	}
	return true;
}

static struct value *build_tensor(struct importer *im,
				  const struct tensor_value *t,
				  const char *name)
{
	struct value *v = build_const(&im->b, t->type, t->blob);

	v->name = name ? intern(im, name) : NULL;
	return v;
}

static bool build_constant(struct importer *im, const struct body *b,
			   const Onnx__NodeProto *node)
{
	const struct tensor_value *t =
		constant_import(im, b->frame, node, im->b.loc);

	if (!t)
		return false;
	if (node->n_input || node->n_output != 1)
		return diag_error(&im->c->diag, EXIT_MODEL, im->b.loc,
				  "must have no inputs and one output");
	scope_put(im, b->scope, node->output[0],
		  build_tensor(im, t, b->frame->fn ? NULL : node->output[0]));
	return true;
}

/* ---- calls ---------------------------------------------------------- */

static bool build_nodes(struct importer *im, const struct body *b);

static bool build_call(struct importer *im, const struct body *b,
		       const Onnx__NodeProto *node, const struct function *fn)
{
	const Onnx__FunctionProto *p = fn->proto;
	struct scope inner = { .up = NULL };
	struct map used = { 0 };
	struct frame frame = {
		.fn = fn, .call = node, .up = b->frame, .prefix = ""
	};
	const char *label = node->name && *node->name ? node->name : p->name;
	char **want = NEW_ARRAY(&im->arena, p->n_output, char *);
	size_t n_want = 0;

	/* Prefixes of deep calls end at a length that fits a message. */
	frame.prefix =
		strlen(b->frame->prefix) > 200
			? b->frame->prefix
			: arena_fmt(&im->arena, "%s%s%s", b->frame->prefix,
				    *b->frame->prefix ? "/" : "",
				    brief(im, label));
	for (size_t i = 0; i < node->n_input; i++)
		scope_put(im, &inner, p->input[i],
			  scope_get(im, b->scope, node->input[i]));
	for (size_t i = 0; i < node->n_output; i++)
		if (*node->output[i])
			want[n_want++] = p->output[i];
	struct body body = { &frame, &inner, p->node, p->n_node, NULL };

	body.live = live_nodes(im, p->node, p->n_node, want, n_want, &used);
	bool ok = build_nodes(im, &body);

	for (size_t i = 0; ok && i < node->n_output; i++)
		scope_put(im, b->scope, node->output[i],
			  scope_get(im, &inner, p->output[i]));
	map_free(&used);
	map_free(&inner.values);
	return ok;
}

/* ---- graphs --------------------------------------------------------- */

static char **output_names(struct importer *im, const Onnx__GraphProto *g)
{
	char **name = NEW_ARRAY(&im->arena, g->n_output, char *);

	for (size_t i = 0; i < g->n_output; i++)
		name[i] = g->output[i]->name;
	return name;
}

static bool build_initializers(struct importer *im, struct scope *scope,
			       const Onnx__GraphProto *g,
			       const struct map *used)
{
	im->b.loc = file_loc(im);
	for (size_t i = 0; i < g->n_initializer; i++) {
		Onnx__TensorProto *t = g->initializer[i];
		const char *name = intern(im, t->name);
		const struct tensor_value *v;

		trim_temp(im);
		if (!map_get(used, key_of(name)))
			continue;
		v = tensor_import(im, t, im->b.loc,
				  arena_fmt(&im->c->temp, "initializer '%s'",
					    brief(im, name)));
		if (!v)
			return false;
		scope_put(im, scope, name, build_tensor(im, v, name));
	}
	return true;
}

/* What the nodes of a graph compute, entered into scope. */
static bool build_graph(struct importer *im, const struct frame *frame,
			struct scope *scope, const Onnx__GraphProto *g)
{
	struct map used = { 0 };
	struct body b = { frame, scope, g->node, g->n_node, NULL };

	b.live = live_nodes(im, g->node, g->n_node, output_names(im, g),
			    g->n_output, &used);
	bool ok = list_unsupported(im, frame, b.node, b.n, b.live) &&
		  build_initializers(im, scope, g, &used) &&
		  build_nodes(im, &b);

	map_free(&used);
	return ok;
}

/* Is the one element of v known, and what is it? */
static bool known_bool(const struct value *v, bool *yes)
{
	int64_t k;

	if (!v->known || v->known->n != 1 || !v->known->elem[0] ||
	    !expr_is_const(v->known->elem[0], &k))
		return false;
	*yes = k != 0;
	return true;
}

/* An If whose condition the shapes decide is its branch. */
static bool build_if(struct importer *im, const struct body *b,
		     const Onnx__NodeProto *node)
{
	struct diag *d = &im->c->diag;
	const struct loc *loc = im->b.loc;
	struct value *cond = node->n_input == 1
				     ? scope_get(im, b->scope, node->input[0])
				     : NULL;
	const Onnx__AttributeProto *branch;
	bool yes;

	if (!cond || cond->type->dtype != DT_BOOL)
		return diag_error(d, EXIT_MODEL, loc,
				  "needs one input of type bool");
	if (!known_bool(cond, &yes))
		return diag_error(d, EXIT_UNSUPPORTED, loc,
				  "the condition depends on the inputs, which "
				  "is not supported");
	branch =
		attr_named(b->frame, node, yes ? "then_branch" : "else_branch");
	if (!branch || !branch->g)
		return diag_error(d, EXIT_MODEL, loc, "has no branch");
	if (attr_named(NULL, node, yes ? "then_branch" : "else_branch") !=
	    branch)
		return diag_error(d, EXIT_UNSUPPORTED, loc,
				  "a branch that the caller passes is not "
				  "supported");
	const Onnx__GraphProto *g = branch->g;

	if (g->n_input || g->n_output != node->n_output)
		return diag_error(d, EXIT_MODEL, loc,
				  "a branch has %zu inputs and %zu outputs, "
				  "not 0 and %zu",
				  g->n_input, g->n_output, node->n_output);
	struct scope inner = { .up = b->scope };
	bool ok = build_graph(im, b->frame, &inner, g);

	for (size_t i = 0; ok && i < g->n_output; i++)
		scope_put(im, b->scope, node->output[i],
			  scope_get(im, &inner, g->output[i]->name));
	map_free(&inner.values);
	return ok;
}

static bool build_node(struct importer *im, const struct body *b,
		       const Onnx__NodeProto *node)
{
	const struct function *fn = function_find(im, node);

	if (fn)
		return build_call(im, b, node, fn);
	if (is_constant(node))
		return build_constant(im, b, node);
	if (is_if(node))
		return build_if(im, b, node);
	return build_record(im, b, node, record_find(im, node));
}

static bool build_nodes(struct importer *im, const struct body *b)
{
	for (size_t i = 0; i < b->n; i++) {
		trim_temp(im);
		if (!b->live[i])
			continue;
		im->b.loc = node_loc(im, b->frame, b->node[i], i);
		if (!build_node(im, b, b->node[i]))
			return false;
	}
	return true;
}

/* ---- the model's interface ------------------------------------------ */

static bool build_inputs(struct importer *im, struct module *m,
			 struct scope *scope, const Onnx__GraphProto *g)
{
	struct map preset = { 0 };
	bool ok = true;

	for (size_t i = 0; i < g->n_initializer; i++)
		map_put(&preset, key_of(intern(im, g->initializer[i]->name)),
			scope);
	for (size_t i = 0; ok && i < g->n_input; i++) {
		const char *name = intern(im, g->input[i]->name);
		struct block *body = op_body(m->func);
		const struct type *t;

		/* An input that the file gives a value is a constant. */
		if (map_get(&preset, key_of(name)))
			continue;
		if (body->n_arg == MAX_MODEL_INPUTS) {
			ok = diag_error(&im->c->diag, EXIT_LIMIT, file_loc(im),
					"the graph has more than %d inputs",
					MAX_MODEL_INPUTS);
			break;
		}
		t = input_type(im, g->input[i]);
		ok = t;
		if (ok)
			scope_put(im, scope, name,
				  block_add_arg(im->c, body, t, name));
	}
	map_free(&preset);
	return ok && dims_all_used(im);
}

static bool build_return(struct importer *im, const struct scope *scope,
			 const Onnx__GraphProto *g)
{
	struct ctx *c = im->c;
	struct value **v = NEW_ARRAY(&im->arena, g->n_output, struct value *);
	const char **name = NEW_ARRAY(&c->perm, g->n_output, const char *);
	struct attr *names = NEW(&c->perm, struct attr);

	im->b.loc = file_loc(im);
	for (size_t i = 0; i < g->n_output; i++) {
		name[i] = intern(im, g->output[i]->name);
		v[i] = scope_get(im, scope, name[i]);
		if (!v[i])
			return diag_error(&c->diag, EXIT_MODEL, file_loc(im),
					  "output '%s' has no value",
					  brief(im, name[i]));
		if (!output_check(im, g->output[i], v[i]))
			return false;
	}
	names->kind = AT_STRS;
	names->n = g->n_output;
	names->strs = name;
	struct named_attr attr = { A_names, names };

	build(&im->b, &(struct op_spec){ .code = OP_core_return,
					 .n_in = (unsigned)g->n_output,
					 .in = v,
					 .n_attr = 1,
					 .attr = &attr });
	return true;
}

bool graph_import(struct importer *im, struct module *m)
{
	const Onnx__GraphProto *g = im->model->graph;
	struct frame frame = { .prefix = "" };
	struct scope scope = { .up = NULL };

	im->b = (struct builder){ im->c, op_body(m->func), NULL, file_loc(im) };
	m->opset = opset_of(im, &frame, "");
	bool ok = build_inputs(im, m, &scope, g) &&
		  build_graph(im, &frame, &scope, g) &&
		  build_return(im, &scope, g);

	map_free(&scope.values);
	return ok;
}
