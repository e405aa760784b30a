/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be said of a model before any of its ops is understood: versions,
 * names in single-assignment form and in order, arity of calls, and functions
 * that do not recur and do not explode when they are inlined.
 */
#include <string.h>

#include "frontend/internal.h"

/* Names defined so far in one graph or function body. */
struct names {
	struct map set;
	const struct names *up;
};

struct check {
	struct importer *im;
	const struct frame *frame;
};

/* ---- names ---------------------------------------------------------- */

static bool is_defined(const struct names *n, const char *name)
{
	for (; n; n = n->up)
		if (map_get(&n->set, key_of(name)))
			return true;
	return false;
}

static bool define(struct check *k, struct names *n, const char *name,
		   const struct loc *loc, const char *what)
{
	struct diag *d = &k->im->c->diag;

	if (!name || !*name)
		return diag_error(d, EXIT_MODEL, loc, "%s has no name", what);
	name = intern(k->im, name);
	if (is_defined(n, name))
		return diag_error(d, EXIT_MODEL, loc,
				  "%s '%s' has a name that is already in use",
				  what, brief(k->im, name));
	map_put(&n->set, key_of(name), (void *)(uintptr_t)name);
	return true;
}

static bool names_equal(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

static bool undefined(struct check *k, Onnx__NodeProto *const *node, size_t n,
		      const char *name, const struct loc *loc)
{
	struct diag *d = &k->im->c->diag;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < node[i]->n_output; j++)
			if (names_equal(node[i]->output[j], name))
				return diag_error(
					d, EXIT_MODEL, loc,
					"input '%s' is computed by node %zu: "
					"the nodes are not sorted, or form a "
					"cycle",
					brief(k->im, name), i);
	return diag_error(d, EXIT_MODEL, loc, "input '%s' is not defined",
			  brief(k->im, name));
}

/* ---- nodes ---------------------------------------------------------- */

static bool check_graph(struct check *k, const Onnx__GraphProto *g,
			const struct names *up);

static bool check_attrs(struct check *k, const Onnx__NodeProto *node,
			const struct names *names, const struct loc *loc)
{
	struct importer *im = k->im;

	if (node->n_attribute > MAX_NODE_ATTRS)
		return diag_error(&im->c->diag, EXIT_LIMIT, loc,
				  "has %zu attributes, at most %d are read",
				  node->n_attribute, MAX_NODE_ATTRS);
	for (size_t i = 0; i < node->n_attribute; i++) {
		const Onnx__AttributeProto *a = node->attribute[i];

		if (!attr_check(im, a, loc))
			return false;
		for (size_t j = 0; j < i; j++)
			if (!strcmp(a->name, node->attribute[j]->name))
				return diag_error(&im->c->diag, EXIT_MODEL, loc,
						  "attribute '%s' is there "
						  "twice",
						  brief(im, a->name));
		if (a->ref_attr_name && *a->ref_attr_name && !k->frame->fn)
			return diag_error(&im->c->diag, EXIT_MODEL, loc,
					  "attribute '%s' is a reference "
					  "outside of a function",
					  brief(im, a->name));
		if (a->g && !check_graph(k, a->g, names))
			return false;
		for (size_t j = 0; j < a->n_graphs; j++)
			if (!check_graph(k, a->graphs[j], names))
				return false;
	}
	return true;
}

static bool takes_attr(const Onnx__FunctionProto *fn, const char *name)
{
	for (size_t i = 0; i < fn->n_attribute; i++)
		if (!strcmp(fn->attribute[i], name))
			return true;
	for (size_t i = 0; i < fn->n_attribute_proto; i++)
		if (!strcmp(fn->attribute_proto[i]->name, name))
			return true;
	return false;
}

static bool check_call(struct check *k, const Onnx__NodeProto *node,
		       const struct function *fn, const struct loc *loc)
{
	struct diag *d = &k->im->c->diag;
	const Onnx__FunctionProto *p = fn->proto;

	if (node->n_input > p->n_input)
		return diag_error(d, EXIT_MODEL, loc,
				  "has %zu inputs, the function takes %zu",
				  node->n_input, p->n_input);
	if (node->n_output > p->n_output)
		return diag_error(d, EXIT_MODEL, loc,
				  "has %zu outputs, the function has %zu",
				  node->n_output, p->n_output);
	for (size_t i = 0; i < node->n_attribute; i++)
		if (!takes_attr(p, node->attribute[i]->name))
			return diag_error(
				d, EXIT_MODEL, loc,
				"the function has no attribute '%s'",
				brief(k->im, node->attribute[i]->name));
	return true;
}

static bool check_refs(struct check *k, const Onnx__NodeProto *node,
		       const struct loc *loc)
{
	if (!k->frame->fn)
		return true;
	for (size_t i = 0; i < node->n_attribute; i++) {
		const char *ref = node->attribute[i]->ref_attr_name;

		if (ref && *ref && !takes_attr(k->frame->fn->proto, ref))
			return diag_error(&k->im->c->diag, EXIT_MODEL, loc,
					  "refers to attribute '%s', which "
					  "the function does not have",
					  brief(k->im, ref));
	}
	return true;
}

static bool check_node(struct check *k, const Onnx__NodeProto *node,
		       const struct names *names, const struct loc *loc)
{
	struct importer *im = k->im;
	const struct function *fn;

	if (!node->op_type || !*node->op_type)
		return diag_error(&im->c->diag, EXIT_MODEL, loc,
				  "a node has no operator");
	if (node->n_input > MAX_PORT_LIST || node->n_output > MAX_PORT_LIST)
		return diag_error(&im->c->diag, EXIT_LIMIT, loc,
				  "has more than %d inputs or outputs",
				  MAX_PORT_LIST);
	if (!check_attrs(k, node, names, loc) || !check_refs(k, node, loc))
		return false;
	fn = function_find(im, node);
	if (fn)
		return check_call(k, node, fn, loc);
	if (!opset_of(im, k->frame, domain_of(node->domain)))
		return diag_error(&im->c->diag, EXIT_MODEL, loc,
				  "the model imports no opset of domain '%s'",
				  brief(im, domain_of(node->domain)));
	return true;
}

static bool check_nodes(struct check *k, struct names *names,
			Onnx__NodeProto *const *node, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct loc loc = loc_of(k->im, node[i], i);

		trim_temp(k->im);
		for (size_t j = 0; j < node[i]->n_input; j++) {
			const char *name = node[i]->input[j];

			if (*name && !is_defined(names, intern(k->im, name)))
				return undefined(k, node, n, name, &loc);
		}
		if (!check_node(k, node[i], names, &loc))
			return false;
		for (size_t j = 0; j < node[i]->n_output; j++)
			if (*node[i]->output[j] &&
			    !define(k, names, node[i]->output[j], &loc,
				    "output"))
				return false;
	}
	return true;
}

/* ---- graphs and functions ------------------------------------------- */

static bool check_initializers(struct check *k, const Onnx__GraphProto *g,
			       struct names *names)
{
	const struct loc *loc = file_loc(k->im);
	struct names own = { .up = NULL };
	bool ok = true;

	if (g->n_sparse_initializer)
		return diag_error(&k->im->c->diag, EXIT_UNSUPPORTED, loc,
				  "sparse initializers are not supported");
	for (size_t i = 0; ok && i < g->n_initializer; i++)
		ok = define(k, &own, g->initializer[i]->name, loc,
			    "initializer");
	/* An initializer may be the default of an input. */
	for (size_t i = 0; ok && i < g->n_input; i++)
		if (g->input[i]->name)
			map_put(&own.set,
				key_of(intern(k->im, g->input[i]->name)), &own);
	for (size_t i = 0; ok && i < g->n_initializer; i++) {
		const char *name = intern(k->im, g->initializer[i]->name);

		if (map_get(&own.set, key_of(name)) != &own)
			ok = define(k, names, name, loc, "initializer");
	}
	map_free(&own.set);
	return ok;
}

static bool check_outputs(struct check *k, const struct names *names,
			  char *const *name, size_t n)
{
	const struct loc *loc = file_loc(k->im);

	for (size_t i = 0; i < n; i++)
		if (!name[i] || !is_defined(names, intern(k->im, name[i])))
			return diag_error(&k->im->c->diag, EXIT_MODEL, loc,
					  "output '%s' is not defined",
					  brief(k->im, name[i] ? name[i] : ""));
	return true;
}

static bool check_graph(struct check *k, const Onnx__GraphProto *g,
			const struct names *up)
{
	struct names names = { .up = up };
	bool ok = true;

	for (size_t i = 0; ok && i < g->n_input; i++)
		ok = define(k, &names, g->input[i]->name, file_loc(k->im),
			    "input");
	ok = ok && check_initializers(k, g, &names) &&
	     check_nodes(k, &names, g->node, g->n_node);
	for (size_t i = 0; ok && i < g->n_output; i++)
		ok = check_outputs(k, &names, &g->output[i]->name, 1);
	map_free(&names.set);
	return ok;
}

static bool check_function(struct importer *im, const struct function *fn)
{
	const Onnx__FunctionProto *p = fn->proto;
	struct frame frame = { .fn = fn };
	struct check k = { im, &frame };
	struct names names = { .up = NULL };
	bool ok = true;

	for (size_t i = 0; ok && i < p->n_input; i++)
		ok = define(&k, &names, p->input[i], file_loc(im),
			    "function input");
	ok = ok && check_nodes(&k, &names, p->node, p->n_node) &&
	     check_outputs(&k, &names, p->output, p->n_output);
	map_free(&names.set);
	return ok;
}

/* ---- the size after inlining ---------------------------------------- */

static bool count_nodes(struct importer *im, Onnx__NodeProto *const *node,
			size_t n, unsigned depth, uint64_t *count,
			unsigned *deepest);

static bool count_function(struct importer *im, struct function *fn,
			   unsigned depth)
{
	struct diag *d = &im->c->diag;
	const Onnx__FunctionProto *p = fn->proto;
	unsigned below = 0;

	if (fn->state == FN_COUNTING)
		return diag_error(d, EXIT_MODEL, file_loc(im),
				  "function '%s' calls itself",
				  brief(im, p->name));
	if (fn->state == FN_NEW) {
		if (depth > MAX_CALL_DEPTH)
			return diag_error(d, EXIT_LIMIT, file_loc(im),
					  "functions call each other more "
					  "than %d deep",
					  MAX_CALL_DEPTH);
		fn->state = FN_COUNTING;
		if (!count_nodes(im, p->node, p->n_node, depth, &fn->count,
				 &below))
			return false;
		fn->depth = below + 1;
		fn->state = FN_COUNTED;
	}
	if (depth + fn->depth > MAX_CALL_DEPTH + 1)
		return diag_error(d, EXIT_LIMIT, file_loc(im),
				  "functions call each other more than %d "
				  "deep",
				  MAX_CALL_DEPTH);
	return true;
}

static bool count_graph(struct importer *im, const Onnx__GraphProto *g,
			unsigned depth, uint64_t *count, unsigned *deepest)
{
	return count_nodes(im, g->node, g->n_node, depth, count, deepest);
}

static bool count_nodes(struct importer *im, Onnx__NodeProto *const *node,
			size_t n, unsigned depth, uint64_t *count,
			unsigned *deepest)
{
	for (size_t i = 0; i < n; i++) {
		trim_temp(im);
		struct function *fn = function_find(im, node[i]);

		if (fn && !count_function(im, fn, depth + 1))
			return false;
		*count += fn ? fn->count + 1 : 1;
		if (*count > MAX_NODES)
			*count = MAX_NODES + 1;
		if (fn && fn->depth > *deepest)
			*deepest = fn->depth;
		for (size_t j = 0; j < node[i]->n_attribute; j++) {
			const Onnx__AttributeProto *a = node[i]->attribute[j];

			if (a->g &&
			    !count_graph(im, a->g, depth, count, deepest))
				return false;
			for (size_t k = 0; k < a->n_graphs; k++)
				if (!count_graph(im, a->graphs[k], depth, count,
						 deepest))
					return false;
		}
	}
	return true;
}

static bool check_size(struct importer *im)
{
	uint64_t count = 0;
	unsigned deepest = 0;

	/* Functions that nobody calls must not recur either. */
	for (size_t i = 0; i < im->model->n_functions; i++) {
		const Onnx__FunctionProto *p = im->model->functions[i];
		Onnx__NodeProto node = { .op_type = p->name,
					 .domain = p->domain,
					 .overload = p->overload };

		if (!count_function(im, function_find(im, &node), 1))
			return false;
	}
	if (!count_graph(im, im->model->graph, 0, &count, &deepest))
		return false;
	if (count > MAX_NODES)
		return diag_error(&im->c->diag, EXIT_LIMIT, file_loc(im),
				  "the model has more than %d nodes after "
				  "its functions are inlined",
				  MAX_NODES);
	return true;
}

/* ---- versions, functions, interface --------------------------------- */

static bool check_imports(struct importer *im,
			  Onnx__OperatorSetIdProto *const *set, size_t n)
{
	struct diag *d = &im->c->diag;
	const struct loc *loc = file_loc(im);

	if (n > MAX_OPSET_IMPORTS)
		return diag_error(d, EXIT_LIMIT, loc,
				  "imports more than %d opsets",
				  MAX_OPSET_IMPORTS);
	for (size_t i = 0; i < n; i++) {
		const char *domain = domain_of(set[i]->domain);

		if (set[i]->version <= 0)
			return diag_error(d, EXIT_MODEL, loc,
					  "opset version %lld of domain '%s' "
					  "is invalid",
					  (long long)set[i]->version,
					  brief(im, domain));
		for (size_t j = 0; j < i; j++)
			if (!strcmp(domain, domain_of(set[j]->domain)))
				return diag_error(d, EXIT_MODEL, loc,
						  "opset of domain '%s' is "
						  "imported twice",
						  brief(im, domain));
		if (!*domain && (set[i]->version < MIN_OPSET ||
				 set[i]->version > MAX_OPSET))
			return diag_error(d, EXIT_UNSUPPORTED, loc,
					  "opset %lld is not supported, "
					  "%d to %d are",
					  (long long)set[i]->version, MIN_OPSET,
					  MAX_OPSET);
	}
	return true;
}

static const char *function_key(struct importer *im, const char *domain,
				const char *name, const char *overload)
{
	return intern(im,
		      arena_fmt(&im->c->temp, "%s\n%s\n%s", domain_of(domain),
				name, overload ? overload : ""));
}

struct function *function_find(struct importer *im, const Onnx__NodeProto *node)
{
	if (!im->functions.n || !node->op_type)
		return NULL;
	return map_get(&im->functions,
		       key_of(function_key(im, node->domain, node->op_type,
					   node->overload)));
}

static bool add_function(struct importer *im, const Onnx__FunctionProto *p)
{
	struct diag *d = &im->c->diag;
	enum opcode code;

	if (!p->name || !*p->name)
		return diag_error(d, EXIT_MODEL, file_loc(im),
				  "a function has no name");
	if (!*domain_of(p->domain) && op_find("", p->name, &code))
		return diag_error(d, EXIT_MODEL, file_loc(im),
				  "function '%s' has the name of a standard "
				  "operator",
				  brief(im, p->name));
	const char *key = function_key(im, p->domain, p->name, p->overload);
	struct function *fn = NEW(&im->arena, struct function);

	if (map_get(&im->functions, key_of(key)))
		return diag_error(d, EXIT_MODEL, file_loc(im),
				  "function '%s' is defined twice",
				  brief(im, p->name));
	fn->proto = p;
	map_put(&im->functions, key_of(key), fn);
	if (p->n_attribute + p->n_attribute_proto > MAX_NODE_ATTRS)
		return diag_error(d, EXIT_LIMIT, file_loc(im),
				  "function '%s' has more than %d attributes",
				  brief(im, p->name), MAX_NODE_ATTRS);
	for (size_t i = 0; i < p->n_attribute_proto; i++)
		if (!attr_check(im, p->attribute_proto[i], file_loc(im)))
			return false;
	return check_imports(im, p->opset_import, p->n_opset_import);
}

static bool check_version(struct importer *im)
{
	const Onnx__ModelProto *m = im->model;
	struct diag *d = &im->c->diag;
	const struct loc *loc = file_loc(im);

	if (!m->graph)
		return diag_error(d, EXIT_MODEL, loc, "has no graph");
	if (!m->has_ir_version || m->ir_version <= 0)
		return diag_error(d, EXIT_MODEL, loc, "has no IR version");
	if (m->ir_version > MAX_IR_VERSION)
		return diag_error(d, EXIT_UNSUPPORTED, loc,
				  "IR version %lld is newer than %d",
				  (long long)m->ir_version, MAX_IR_VERSION);
	if (!m->n_opset_import)
		return diag_error(d, EXIT_MODEL, loc, "imports no opset");
	return check_imports(im, m->opset_import, m->n_opset_import);
}

static bool check_interface(struct importer *im)
{
	const Onnx__GraphProto *g = im->model->graph;
	struct names names = { .up = NULL };
	struct frame frame = { .fn = NULL };
	struct check k = { im, &frame };
	bool ok = true;

	if (!g->n_output)
		return diag_error(&im->c->diag, EXIT_MODEL, file_loc(im),
				  "the graph has no outputs");
	if (g->n_output > MAX_PORT_LIST)
		return diag_error(&im->c->diag, EXIT_LIMIT, file_loc(im),
				  "the graph has more than %d outputs",
				  MAX_PORT_LIST);
	for (size_t i = 0; ok && i < g->n_output; i++)
		ok = define(&k, &names, g->output[i]->name, file_loc(im),
			    "output");
	map_free(&names.set);
	for (size_t i = 0; ok && i < g->n_input + g->n_output; i++) {
		const char *name = i < g->n_input
					   ? g->input[i]->name
					   : g->output[i - g->n_input]->name;

		if (name && strlen(name) > MAX_NAME)
			ok = diag_error(&im->c->diag, EXIT_LIMIT, file_loc(im),
					"the name '%s' has more than %d bytes",
					brief(im, name), MAX_NAME);
	}
	return ok;
}

bool model_check(struct importer *im)
{
	const Onnx__ModelProto *m = im->model;
	struct frame frame = { .fn = NULL };
	struct check k = { im, &frame };

	if (!check_version(im) || !check_interface(im))
		return false;
	if (m->n_functions > MAX_FUNCTIONS)
		return diag_error(&im->c->diag, EXIT_LIMIT, file_loc(im),
				  "has more than %d functions", MAX_FUNCTIONS);
	for (size_t i = 0; i < m->n_functions; i++)
		if (!add_function(im, m->functions[i]))
			return false;
	for (size_t i = 0; i < m->n_functions; i++) {
		const Onnx__FunctionProto *p = m->functions[i];
		Onnx__NodeProto node = { .op_type = p->name,
					 .domain = p->domain,
					 .overload = p->overload };

		if (!check_function(im, function_find(im, &node)))
			return false;
	}
	return check_graph(&k, m->graph, NULL) && check_size(im);
}
