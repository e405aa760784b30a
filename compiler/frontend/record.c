/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which nodes matter, and which op record each one means.  All operators that
 * dlcc does not know are listed at once, before any work is done.
 */
#include <string.h>

#include "frontend/internal.h"

const struct record *record_find(struct importer *im,
				 const Onnx__NodeProto *node)
{
	const char *domain = domain_of(node->domain);
	const char *key = intern(
		im, arena_fmt(&im->c->temp, "%s\n%s", domain, node->op_type));
	struct record *r = map_get(&im->records, key_of(key));

	if (!r) {
		r = NEW(&im->arena, struct record);
		r->def = op_find(domain, node->op_type, &r->code);
		if (r->def && !r->def->since)
			r->def = NULL;
		map_put(&im->records, key_of(key), r);
	}
	return r;
}

int64_t record_opset(struct importer *im, const struct frame *frame,
		     const Onnx__NodeProto *node, const struct record *r)
{
	const char *domain = domain_of(node->domain);

	/* A shared operator has the newest form, whatever its domain counts. */
	if (r->def && strcmp(r->def->domain, domain))
		return r->def->since;
	return opset_of(im, frame, domain);
}

static bool is_standard(const Onnx__NodeProto *node, const char *type)
{
	return !*domain_of(node->domain) && !strcmp(node->op_type, type);
}

bool is_constant(const Onnx__NodeProto *node)
{
	return is_standard(node, "Constant");
}

bool is_if(const Onnx__NodeProto *node)
{
	return is_standard(node, "If");
}

/* ---- which nodes matter --------------------------------------------- */

static void use_name(struct importer *im, struct map *used, const char *name)
{
	name = intern(im, name);
	if (*name)
		map_put(used, key_of(name), (void *)(uintptr_t)name);
}

/* A subgraph may read any name around it. */
static void use_graph(struct importer *im, struct map *used,
		      const Onnx__GraphProto *g);

static void use_node(struct importer *im, struct map *used,
		     const Onnx__NodeProto *node)
{
	for (size_t i = 0; i < node->n_input; i++)
		use_name(im, used, node->input[i]);
	for (size_t i = 0; i < node->n_attribute; i++) {
		const Onnx__AttributeProto *a = node->attribute[i];

		if (a->g)
			use_graph(im, used, a->g);
		for (size_t j = 0; j < a->n_graphs; j++)
			use_graph(im, used, a->graphs[j]);
	}
}

static void use_graph(struct importer *im, struct map *used,
		      const Onnx__GraphProto *g)
{
	for (size_t i = 0; i < g->n_node; i++)
		use_node(im, used, g->node[i]);
	for (size_t i = 0; i < g->n_output; i++)
		use_name(im, used, g->output[i]->name);
}

static bool is_live(struct importer *im, const Onnx__NodeProto *node,
		    const struct map *used)
{
	const struct record *r = record_find(im, node);

	if (r->def && r->def->impure && !function_find(im, node))
		return true;
	for (size_t j = 0; j < node->n_output; j++)
		if (*node->output[j] &&
		    map_get(used, key_of(intern(im, node->output[j]))))
			return true;
	return false;
}

bool *live_nodes(struct importer *im, Onnx__NodeProto *const *node, size_t n,
		 char *const *output, size_t n_output, struct map *used)
{
	bool *live = NEW_ARRAY(&im->arena, n, bool);

	for (size_t i = 0; i < n_output; i++)
		use_name(im, used, output[i]);
	/* The nodes are sorted, so one pass from the end sees all uses. */
	for (size_t i = n; i-- > 0;) {
		trim_temp(im);
		live[i] = is_live(im, node[i], used);
		if (live[i])
			use_node(im, used, node[i]);
	}
	return live;
}

/* ---- what is not supported ------------------------------------------ */

struct missing {
	const Onnx__NodeProto *node; /* the first one */
	size_t index, count;
	int64_t opset;
	const char *why;
};

struct missing_list {
	struct importer *im;
	struct map seen; /* record -> struct missing */
	VEC(struct missing *) list;
};

static void add_missing(struct missing_list *l, const struct record *r,
			const Onnx__NodeProto *node, size_t index,
			int64_t opset)
{
	struct missing *m = map_get(&l->seen, key_of(r));

	if (!m) {
		m = NEW(&l->im->arena, struct missing);
		*m = (struct missing){ node, index, 0, opset, NULL };
		m->why = r->def ? "is not an operator of this opset"
				: "operator is not supported";
		map_put(&l->seen, key_of(r), m);
		vec_push(&l->list, m);
	}
	m->count++;
}

static void find_missing(struct missing_list *l, const struct frame *frame,
			 Onnx__NodeProto *const *node, size_t n,
			 const bool *live)
{
	struct importer *im = l->im;

	for (size_t i = 0; i < n; i++) {
		struct function *fn;

		trim_temp(im);
		if (!live[i] || is_constant(node[i]) || is_if(node[i]))
			continue;
		fn = function_find(im, node[i]);
		if (fn && !fn->listed) {
			const Onnx__FunctionProto *p = fn->proto;
			struct frame inner = { .fn = fn, .up = frame };
			struct map used = { 0 };
			bool *alive = live_nodes(im, p->node, p->n_node,
						 p->output, p->n_output, &used);

			map_free(&used);
			fn->listed = true;
			find_missing(l, &inner, p->node, p->n_node, alive);
		}
		if (fn)
			continue;
		const struct record *r = record_find(im, node[i]);
		int64_t opset = record_opset(im, frame, node[i], r);

		if (!r->def || opset < r->def->first)
			add_missing(l, r, node[i], i, opset);
	}
}

bool list_unsupported(struct importer *im, const struct frame *frame,
		      Onnx__NodeProto *const *node, size_t n, const bool *live)
{
	struct missing_list l = { .im = im };

	find_missing(&l, frame, node, n, live);
	bool ok = !l.list.n;

	for (size_t i = 0; i < l.list.n; i++) {
		const struct missing *m = l.list.v[i];
		const char *domain = domain_of(m->node->domain);
		struct loc loc = loc_of(im, m->node, m->index);

		diag_error(&im->c->diag, EXIT_UNSUPPORTED, &loc,
			   "%s (domain '%s', opset %lld, %zu node%s)", m->why,
			   brief(im, *domain ? domain : "ai.onnx"),
			   (long long)m->opset, m->count,
			   m->count == 1 ? "" : "s");
	}
	vec_free(&l.list);
	map_free(&l.seen);
	return ok;
}
