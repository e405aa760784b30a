/* SPDX-License-Identifier: Apache-2.0 */
/* The importer's entry, and what its files share. */
#include <string.h>

#include "frontend/internal.h"

const char *brief(struct importer *im, const char *name)
{
	enum { MAX_SHOWN = 80 };

	return strlen(name) <= MAX_SHOWN
		       ? name
		       : arena_fmt(&im->arena, "%.*s...", MAX_SHOWN, name);
}

const char *domain_of(const char *domain)
{
	return !domain || !strcmp(domain, "ai.onnx") ? "" : domain;
}

struct loc loc_of(struct importer *im, const Onnx__NodeProto *node,
		  size_t index)
{
	const char *name = node->name ? node->name : "";

	return (struct loc){ .file = im->file,
			     .name = *name ? brief(im, name) : NULL,
			     .op = brief(im,
					 node->op_type ? node->op_type : ""),
			     .node = (int64_t)index };
}

const struct loc *file_loc(struct importer *im)
{
	return im->top;
}

void trim_temp(struct importer *im)
{
	if (im->c->temp.total > 1 << 20)
		arena_free(&im->c->temp);
}

static int64_t version_in(Onnx__OperatorSetIdProto *const *set, size_t n,
			  const char *domain)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(domain_of(set[i]->domain), domain))
			return set[i]->version;
	return 0;
}

int64_t opset_of(struct importer *im, const struct frame *frame,
		 const char *domain)
{
	int64_t v = 0;

	if (frame->fn)
		v = version_in(frame->fn->proto->opset_import,
			       frame->fn->proto->n_opset_import, domain);
	return v ? v
		 : version_in(im->model->opset_import,
			      im->model->n_opset_import, domain);
}

static bool check_options(struct importer *im)
{
	const struct frontend_options *o = im->opt;

	for (unsigned i = 0; o && i < o->n_dim; i++)
		if (o->dim[i].value < 0)
			return diag_error(&im->c->diag, EXIT_USAGE,
					  file_loc(im),
					  "the dim '%s' cannot be %lld",
					  brief(im, o->dim[i].name),
					  (long long)o->dim[i].value);
	return true;
}

static struct module *import(struct importer *im)
{
	const Onnx__GraphProto *g = im->model->graph;

	if (!check_options(im) || !model_check(im))
		return NULL;
	struct module *m = module_new(
		im->c, intern(im, g->name && *g->name ? g->name : im->file));

	return graph_import(im, m) ? m : NULL;
}

static void importer_free(struct importer *im)
{
	map_free(&im->functions);
	map_free(&im->records);
	map_free(&im->tensors);
	map_free(&im->dims);
	map_free(&im->dim_names);
	external_close(im);
	onnx__model_proto__free_unpacked(im->model, &im->budget->alloc);
	arena_free(&im->arena);
	arena_free(&im->c->temp);
}

struct module *frontend_import(struct ctx *c, const char *path,
			       const struct frontend_options *opt)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash && slash[1] ? slash + 1 : path;
	struct budget budget;
	struct importer im = {
		.c = c,
		.opt = opt,
		.path = path,
		.budget = &budget,
		.file = ctx_intern(c, base, strlen(base)),
		.root = -1,
		.open = { .fd = -1 },
		.external_left = MAX_EXTERNAL_TOTAL,
	};

	struct loc *top = NEW(&c->perm, struct loc);

	*top = (struct loc){ .file = im.file, .node = -1 };
	im.top = top;
	c->diag.file = im.file;
	im.model = model_read(c, path, &budget);
	if (!im.model)
		return NULL;
	if (opt && opt->n_dim)
		im.dim_used = NEW_ARRAY(&im.arena, opt->n_dim, bool);
	struct module *m = import(&im);

	importer_free(&im);
	return m;
}
