/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dlcc calibrate: the float model, with the values that a profile is about as
 * further outputs, runs over samples; statistics of one sample after the other
 * are added up, so that the number of samples costs time and no memory.
 */
#include <stdlib.h>
#include <string.h>

#include "ir/op.h"
#include "passes/graph/quantize/profile.h"
#include "passes/pass.h"
#include "run.h"
#include "tensor_file.h"

enum { RANDOM_SAMPLES = 8 };

struct calibration {
	struct variant v;
	uint32_t n_out;			/* of the model itself */
	struct watches watch;
	struct profile *p;
};

/* ---- the instrumented model ----------------------------------------- */

static void add_outputs(struct module *m, const struct watches *w)
{
	struct ctx *c = m->ctx;
	struct op *ret = op_body(m->func)->last;
	const struct attr *old = op_attr(ret, A_names);
	struct attr *names = NEW(&c->perm, struct attr);
	size_t n = ret->n_in;
	const char **name = NEW_ARRAY(&c->perm, n + w->n + 1, const char *);

	for (size_t i = 0; i < n; i++)
		name[i] = old && i < old->n ? old->strs[i] : "";
	for (size_t i = 0; i < w->n; i++) {
		name[n + i] = arena_fmt(&c->perm, "watched %zu", i);
		op_add_in(c, ret, w->v[i].v);
	}
	*names = (struct attr){ .kind = AT_STRS, .n = n + w->n,
				.strs = name };
	op_set_attr(c, ret, A_names, names);
}

static bool build_model(struct calibration *k)
{
	struct job *job = &k->v.r.job;
	struct pipeline_options fold = { .passes = "fold", .out = stderr };

	if (!job_import(job) || !pipeline_run(job->m, &fold))
		return false;
	graph_hash(job->m, k->p);
	k->watch = graph_watches(job->m);
	if (!k->watch.n)
		return diag_error(&job->ctx->diag, EXIT_UNSUPPORTED, NULL,
				  "there is nothing to quantize: no product "
				  "with a constant");
	for (size_t i = 0; i < k->watch.n; i++) {
		const struct watch *w = &k->watch.v[i];
		struct arena *a = &k->p->a;

		vec_push(&k->p->value,
			 stats_new(a, arena_str(a, w->name, strlen(w->name)),
				   w->axis, w->n_channel,
				   k->v.own.hessian && w->input));
	}
	for (size_t i = 0; i < k->p->node.n; i++) {
		const char **s = &k->p->node.v[i].label;

		*s = arena_str(&k->p->a, *s, strlen(*s));
	}
	k->n_out = op_body(job->m->func)->last->n_in;
	add_outputs(job->m, &k->watch);
	return variant_load(&k->v);
}

/* ---- samples -------------------------------------------------------- */

static void add_tensor(struct stats *s, const struct tensor *t)
{
	int64_t outer = 1, inner = 1;

	for (unsigned i = 0; i < t->rank; i++)
		if (s->axis < 0 || (int)i > s->axis)
			inner *= t->dim[i];
		else if ((int)i < s->axis)
			outer *= t->dim[i];
	if (t->dtype == DT_F32) {
		stats_add(s, t->data, outer, inner);
		return;
	}
	struct arena a = { 0 };
	size_t n = tensor_count(t, "a value");
	float *v = NEW_ARRAY(&a, n + 1, float);

	for (size_t i = 0; i < n; i++)
		v[i] = (float)scalar_get(t->dtype, t->data, i).d;
	stats_add(s, v, outer, inner);
	arena_free(&a);
}

/* The exit status. */
static int run_one(struct calibration *k, const char *dir, uint64_t seed)
{
	struct run call;
	int status = variant_call(&k->v, dir, seed, &call);

	for (size_t i = 0; i < k->watch.n && !status; i++)
		add_tensor(k->p->value.v[i], &call.out[k->n_out + i]);
	k->p->samples += !status;
	if (dir && !status)
		profile_see(k->p, run_hash(&call));
	arena_free(&call.a);
	return status;
}

static int run_samples(struct calibration *k, const char *root)
{
	struct arena a = { 0 };
	struct samples s = samples_list(&a, root);
	int status = EXIT_OK;

	if (k->v.own.part >= s.n)
		fatal(EXIT_USAGE, "%s holds %zu samples, of which part %zu/%zu "
		      "has none", root, s.n, k->v.own.part + 1,
		      k->v.own.n_part);
	for (size_t i = k->v.own.part; i < s.n && !status;
	     i += k->v.own.n_part) {
		if (k->v.own.verbose)
			fprintf(stderr, "dlcc: sample %s\n", s.dir[i]);
		status = run_one(k, s.dir[i], 0);
	}
	arena_free(&a);
	return status;
}

/* ---- profiles ------------------------------------------------------- */

/* Builds the model and runs it over o->data, or random inputs without. */
static int collect(const struct options *o, struct profile *p)
{
	struct calibration k = { .p = p };
	int status = EXIT_OK;

	variant_init(&k.v, o);
	quantize_drop(&k.v.own);
	if (!build_model(&k))
		status = job_status(&k.v.r.job);
	else if (o->calibrate)
		status = run_samples(&k, o->data);
	else
		for (uint64_t i = 0; i < RANDOM_SAMPLES && !status; i++)
			status = run_one(&k, NULL, i);
	vec_free(&k.watch);
	variant_free(&k.v);
	return status;
}

bool calibrate_synthetic(const struct options *o, struct profile *p)
{
	*p = (struct profile){ .synthetic = true };
	int status = collect(o, p);

	/* The message is out. */
	if (status)
		exit(status);
	return true;
}

static bool merge_one(const struct options *o, struct profile *all,
		      const char *file, struct diag *d)
{
	struct arena text = { 0 };
	struct profile p;
	size_t size;
	const char *s = file_read(&text, file, &size);
	bool ok = profile_parse(&p, d, file, s, size);

	arena_free(&text);
	if (!ok)
		return false;
	if (!all->node.n) {
		*all = p;
		return true;
	}
	ok = profile_merge(all, &p, d, o->model, file);
	profile_free(&p);
	return ok;
}

static int merge(const struct options *o, struct profile *all)
{
	struct diag d = { .file = o->model };

	for (unsigned i = 0; i < o->n_model; i++)
		if (!merge_one(o, all, o->model_list[i], &d))
			return d.code;
	return EXIT_OK;
}

static void write_profile(const struct options *o, const struct profile *p)
{
	struct text text;

	text_open(&text);
	profile_write(p, text.f);
	text_save(&text, o->output);
}

int calibrate_main(const struct options *o)
{
	struct profile p = { 0 };
	int status = o->merge ? merge(o, &p) : collect(o, &p);

	if (!status)
		write_profile(o, &p);
	profile_free(&p);
	return status;
}
