/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accuracy gate: --max-error and --max-drop compare the quantized model's
 * results with the float model's over samples that calibration did not see.
 * Where a bound is missed, ops take back some of what quantizing them saves:
 *
 *  1. A trial model holds each op in all its forms and is told at run time
 *     which to take, so that the search compiles once.
 *  2. Each op is quantized alone and measured end to end; what an op loses
 *     locally says little about what it costs the result.
 *  3. Ops are sorted by that, for each microsecond that float would cost.
 *  4. All are float.  As many as the bound allows, the least harmful first,
 *     take the next form; how many is found by bisection.  Then as many as
 *     it allows take the form after that, and so on down to the one that was
 *     asked for.  So few ops are float, then few hold their weights alone.
 *  5. The model is compiled as decided and measured once more.
 *
 * That is n + 4 log2 n runs over the samples.  When the time for them is used
 * up, or nothing could stay quantized, the bound is not met.
 */
#include "gate.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "passes/graph/quantize/profile.h"
#include "tensor_file.h"

/* Results of the float model that are kept rather than computed again. */
static const size_t keep_bytes = (size_t)256 << 20;

void gate_check(const struct options *o)
{
	bool wanted = bounds_parse(o).n || o->quant_report;

	if (wanted && (!o->quantize || !o->data))
		fatal(EXIT_USAGE, "--max-error, --max-drop and --quant-report "
		      "need --quantize and --data=DIR");
	if (o->labels && !o->max_drop)
		fatal(EXIT_USAGE, "--labels needs --max-drop");
	if (!wanted && o->data && !o->run && !o->calibrate)
		fatal(EXIT_USAGE, "--data needs --max-error or --max-drop");
}

/* ---- progress ------------------------------------------------------- */

static bool is_terminal(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

static void show_progress(struct gate *g, const struct error *e)
{
	long left = (long)difftime(g->end, time(NULL));

	g->n_trial++;
	if (g->o->verbose)
		fprintf(stderr, "dlcc: gate: %s\n",
			error_text(&g->a, &g->bound, e));
	else if (is_terminal())
		/* The cursor goes back, so that a message overwrites it. */
		fprintf(stderr, "gate: trial %u of about %zu: %s; %ld s left"
			"\033[K\r", g->n_trial, g->n_op + 10,
			error_text(&g->a, &g->bound, e), left < 0 ? 0 : left);
}

static bool has_time(struct gate *g)
{
	if (time(NULL) >= g->end)
		g->out_of_time = true;
	return !g->out_of_time;
}

/* ---- samples -------------------------------------------------------- */

static size_t run_bytes(const struct run *r)
{
	size_t n = 0;

	for (uint32_t i = 0; i < r->n_in; i++)
		n += tensor_bytes(&r->in[i], "an input");
	for (uint32_t i = 0; i < r->n_out; i++)
		n += tensor_bytes(&r->out[i], "an output");
	return n;
}

static void read_labels(struct gate *g)
{
	size_t size;
	const char *s = file_read(&g->a, g->o->labels, &size);
	VEC(int64_t) v = { 0 };

	for (;;) {
		char *end;

		s += strspn(s, " \t\r\n,");
		if (!*s)
			break;
		vec_push(&v, strtoll(s, &end, 10));
		if (end == s || !strchr(" \t\r\n,", *end))
			fatal(EXIT_MODEL, "%s: label %zu is no number",
			      g->o->labels, v.n);
		s = end;
	}
	g->labels = (struct labels){
		arena_copy(&g->a, v.v, v.n * sizeof(*v.v)), v.n };
	vec_free(&v);
}

/* What calibrated the profile must not measure it. */
static void read_profile(const struct gate *g, struct profile *p)
{
	struct diag d = { .file = g->o->model };
	struct arena a = { 0 };
	size_t size;

	*p = (struct profile){ .n_seen = 0 };
	if (!g->o->profile || profile_is_synthetic(g->o))
		return;
	const char *text = file_read(&a, g->o->profile, &size);
	bool ok = profile_parse(p, &d, g->o->profile, text, size);

	arena_free(&a);
	if (!ok)
		exit(d.code);
}

static bool is_float_output(const struct gate *g, uint32_t i)
{
	enum dtype t;

	return i < g->ref.r.n_out &&
	       dtype_from_onnx(g->ref.r.out_type[i].dtype, &t) &&
	       dtype_is_float(t);
}

/* Outputs of other types, such as indices, are not compared. */
static void check_outputs(const struct gate *g)
{
	uint32_t i = 0;

	while (i < g->ref.r.n_out && !is_float_output(g, i))
		i++;
	if (g->bound.n && i == g->ref.r.n_out)
		fatal(EXIT_USAGE, "--max-error and --max-drop compare floats; "
		      "no output of %s has any", g->o->model);
	if (g->o->labels && !is_float_output(g, 0))
		fatal(EXIT_USAGE, "--labels needs floats in the first output "
		      "of %s", g->o->model);
}

/* Calls the float model on each sample; leaves out those that p saw. */
static int take_samples(struct gate *g, const struct samples *all,
			const struct profile *p)
{
	size_t kept = 0, rows = 0;

	g->sample = NEW_ARRAY(&g->a, all->n, struct reference);
	for (size_t i = 0; i < all->n; i++) {
		struct reference *s = &g->sample[g->n_sample];
		int status = variant_call(&g->ref, all->dir[i], 0, &s->run);

		if (status)
			return status;
		s->dir = all->dir[i];
		if (rows < g->labels.n)
			s->label = g->labels.v + rows;
		if (g->ref.r.n_out)
			rows += output_rows(&s->run.out[0]);
		bool seen = profile_saw(p, run_hash(&s->run));

		g->n_left_out += seen;
		g->n_sample += !seen;
		size_t bytes = run_bytes(&s->run);

		s->kept = !seen && bytes <= keep_bytes - kept;
		if (s->kept)
			kept += bytes;
		else
			arena_free(&s->run.a);
	}
	if (g->o->labels && rows != g->labels.n)
		fatal(EXIT_MODEL, "%s has %zu labels, the first output over "
		      "%s has %zu rows", g->o->labels, g->labels.n,
		      g->o->data, rows);
	return EXIT_OK;
}

static int prepare(struct gate *g)
{
	struct samples all = samples_list(&g->a, g->o->data);
	struct profile p;

	if (g->o->labels)
		read_labels(g);
	if (!job_import(&g->ref.r.job) || !variant_load(&g->ref))
		return job_status(&g->ref.r.job);
	check_outputs(g);
	read_profile(g, &p);
	int status = take_samples(g, &all, &p);

	profile_free(&p);
	if (status)
		return status;
	if (!g->n_sample)
		fatal(EXIT_USAGE, "all samples of %s calibrated %s; others "
		      "have to measure it, see calibrate --part",
		      g->o->data, g->o->profile);
	if (g->n_left_out)
		fprintf(stderr, "%s: warning: %zu of %zu samples calibrated "
			"%s; the others measure it\n", g->o->model,
			g->n_left_out, all.n, g->o->profile);
	return EXIT_OK;
}

/* ---- measuring ------------------------------------------------------ */

static int one_sample(struct gate *g, struct variant *v, size_t k,
		      struct sums *sums, struct run *y)
{
	struct reference *s = &g->sample[k];
	int status = s->kept ? EXIT_OK
			     : variant_call(&g->ref, s->dir, 0, &s->run);

	if (!status)
		status = variant_call(v, s->dir, 0, y);
	for (uint32_t i = 0; i < g->ref.r.n_out && !status; i++)
		sums_add(&sums[i], &s->run.out[i], &y->out[i],
			 i ? NULL : s->label);
	if (!s->kept)
		arena_free(&s->run.a);
	return status;
}

/* The trial's sums of each op. */
static void add_trial_sums(struct gate *g, const struct run *y)
{
	const struct tensor *t = y->out + g->ref.r.n_out;

	for (size_t i = 0; i < g->n_op; i++)
		for (int k = 0; k < N_TRIAL_SUM; k++, t++)
			g->op[i].sum[k] += (double)*(const float *)t->data;
}

static int compare(struct gate *g, struct variant *v, struct error *e)
{
	uint32_t n = g->ref.r.n_out;
	struct arena a = { 0 };
	struct sums *s = NEW_ARRAY(&a, n + 1, struct sums);
	int status = EXIT_OK;

	for (uint32_t i = 0; i < n; i++)
		s[i].least_cos = 1;
	for (size_t i = 0; i < g->n_op; i++)
		memset(g->op[i].sum, 0, sizeof(g->op[i].sum));
	for (size_t k = 0; k < g->n_sample && !status; k++) {
		struct run y = { .a = { 0 } };

		status = one_sample(g, v, k, s, &y);
		if (v->last && !status)
			add_trial_sums(g, &y);
		arena_free(&y.a);
	}
	*e = sums_error(s, n, g->o->labels);
	arena_free(&a);
	if (!status)
		show_progress(g, e);
	return status;
}

/* Compiles the model with these rungs, or as asked, and compares. */
static int compile_and_compare(struct gate *g, const unsigned char *rung,
			       struct error *e)
{
	struct variant v;

	variant_init(&v, g->o);
	v.own.rung = rung;
	v.own.n_rung = rung ? g->n_op : 0;
	int status = job_import(&v.r.job) && variant_load(&v)
			     ? compare(g, &v, e)
			     : job_status(&v.r.job);

	variant_free(&v);
	return status;
}

/* ---- the trial model ------------------------------------------------ */

static void take_ops(struct gate *g, const struct quantize_data *d)
{
	g->n_op = d->n_op;
	g->op = NEW_ARRAY(&g->a, d->n_op + 1, struct choice);
	g->rung = NEW_ARRAY(&g->a, d->n_op + 1, unsigned char);
	for (size_t i = 0; i < d->n_op; i++) {
		struct quant_op *op = &g->op[i].op;

		*op = d->op[i];
		op->label = arena_str(&g->a, op->label, strlen(op->label));
		if (op->name)
			op->name = arena_str(&g->a, op->name,
					     strlen(op->name));
		g->rung[i] = op->open[RUNG_ASKED] ? RUNG_ASKED : RUNG_FLOAT;
	}
}

static bool build_trial(struct gate *g)
{
	struct variant *v = &g->trial;
	struct job *job = &v->r.job;
	struct pipeline_options po = { .out = stderr };

	variant_init(v, g->o);
	if (!job_import(job))
		return false;
	struct ctx *c = job->ctx;
	const char *own = quantize_pass(&c->perm, g->o);

	/* Costs are those on the machine that the model is for. */
	c->quantize->target = codegen_target(c, g->o->target, g->o->cpu,
					     g->o->features,
					  g->o->march);
	c->quantize->trial = true;
	po.passes = arena_fmt(&c->perm, "fold,%.*s", (int)strlen(own) - 1,
			      own);
	if (!c->quantize->target || !pipeline_run(job->m, &po))
		return false;
	take_ops(g, c->quantize);
	quantize_drop(&v->own);
	return variant_load(v);
}

/* Sets the rungs that the next calls take. */
static int try(struct gate *g, const unsigned char *rung, struct error *e)
{
	struct arena a = { 0 };
	int32_t *v = NEW_ARRAY(&a, g->n_op + 1, int32_t);
	struct tensor last = { .dtype = DT_I32, .rank = 1,
			       .dim = { (int64_t)g->n_op }, .data = v };

	for (size_t i = 0; i < g->n_op; i++)
		v[i] = rung[i];
	g->trial.last = &last;
	int status = compare(g, &g->trial, e);

	arena_free(&a);
	return status;
}

/* ---- the search ----------------------------------------------------- */

struct rank {
	double worth;		/* what float gains for each microsecond */
	size_t op;
};

static int by_worth(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;

	if (x->worth != y->worth)
		return x->worth < y->worth ? 1 : -1;
	return (x->op > y->op) - (x->op < y->op);
}

static int rank_ops(struct gate *g, struct rank *r, size_t *n)
{
	unsigned char *rung = NEW_ARRAY(&g->a, g->n_op + 1, unsigned char);
	int status = EXIT_OK;

	*n = 0;
	memset(rung, RUNG_FLOAT, g->n_op);
	for (size_t i = 0; i < g->n_op && !status; i++) {
		struct choice *k = &g->op[i];

		if (!k->op.open[RUNG_ASKED])
			continue;
		if (!has_time(g))
			break;
		rung[i] = RUNG_ASKED;
		status = try(g, rung, &k->alone);
		rung[i] = RUNG_FLOAT;
		k->measured = true;
		double us = k->op.us[RUNG_FLOAT] - k->op.us[RUNG_ASKED];

		r[(*n)++] = (struct rank){
			bounds_loss(&g->bound, &k->alone) / fmax(us, 1e-3),
			i };
	}
	qsort(r, *n, sizeof(*r), by_worth);
	return status;
}

/*
 * The last of the ops r[0, n) take the rung `low`, where it is open to them:
 * as many as the bound allows.  It is met with g->rung.
 */
static int bisect(struct gate *g, const struct rank *r, size_t n,
		  enum quant_rung low)
{
	unsigned char *rung = NEW_ARRAY(&g->a, g->n_op + 1, unsigned char);
	size_t lo = 0, hi = n;
	int status = EXIT_OK;

	while (lo < hi && !status && has_time(g)) {
		size_t mid = lo + (hi - lo) / 2;
		struct error e;

		memcpy(rung, g->rung, g->n_op);
		for (size_t i = mid; i < n; i++)
			if (g->op[r[i].op].op.open[low])
				rung[r[i].op] = (unsigned char)low;
		status = try(g, rung, &e);
		if (!status && bounds_hold(&g->bound, &e)) {
			hi = mid;
			memcpy(g->rung, rung, g->n_op);
			g->best = e;
		} else {
			lo = mid + 1;
		}
	}
	return status;
}

/* Where the compiled model misses by a hair what the trial met, one op after
 * the other becomes float. */
static int confirm(struct gate *g, const struct rank *r, size_t n)
{
	int status = compile_and_compare(g, g->rung, &g->best);

	for (size_t i = 0; i < n && !status && has_time(g) &&
			   !bounds_hold(&g->bound, &g->best); i++) {
		if (g->rung[r[i].op] == RUNG_FLOAT)
			continue;
		g->rung[r[i].op] = RUNG_FLOAT;
		status = compile_and_compare(g, g->rung, &g->best);
	}
	return status;
}

static bool any_open(const struct gate *g, enum quant_rung rung)
{
	for (size_t i = 0; i < g->n_op; i++)
		if (g->op[i].op.open[rung])
			return true;
	return false;
}

/* Float is no way to meet a bound on what quantizing costs. */
static bool nothing_left(const struct gate *g)
{
	for (size_t i = 0; i < g->n_op; i++)
		if (g->rung[i] != RUNG_FLOAT)
			return false;
	return true;
}

static int search(struct gate *g)
{
	struct rank *r = NEW_ARRAY(&g->a, g->n_op + 1, struct rank);
	size_t n;
	int status = rank_ops(g, r, &n);

	/* From the most exact form to the cheapest.  Each may take any op:
	 * what one form cannot repair a cheaper one may. */
	if (!g->out_of_time)
		memset(g->rung, RUNG_FLOAT, g->n_op);
	for (int i = RUNG_WEIGHTS; i >= RUNG_ASKED && !status; i--)
		if (has_time(g) && any_open(g, (enum quant_rung)i))
			status = bisect(g, r, n, (enum quant_rung)i);
	if (!status && !nothing_left(g) && bounds_hold(&g->bound, &g->best))
		status = confirm(g, r, n);
	if (!nothing_left(g))
		return status;
	for (size_t i = 0; i < n; i++)
		g->rung[r[i].op] = RUNG_ASKED;
	g->best = g->all;
	return status;
}

/* ---- the gate ------------------------------------------------------- */

static int missed(struct gate *g)
{
	fprintf(stderr, "%s: %s: %s over %zu samples%s\n", g->o->model,
		g->o->gate_warn ? "warning" : "error",
		error_text(&g->a, &g->bound, &g->best), g->n_sample,
		g->out_of_time ? "; the time for more trials is used up"
			       : ", which misses the bound");
	return g->o->gate_warn ? EXIT_OK : EXIT_ACCURACY;
}

static int decide(struct gate *g)
{
	int status = prepare(g);

	if (!status)
		status = compile_and_compare(g, NULL, &g->all);
	g->best = g->all;
	bool met = !status && bounds_hold(&g->bound, &g->best);

	/* The trial also says where the noise comes from. */
	if (status || (met && !g->o->quant_report))
		return status;
	if (!build_trial(g))
		return job_status(&g->trial.r.job);
	if (!met)
		status = search(g);
	if (!status && g->o->quant_report) {
		struct error e;

		status = try(g, g->rung, &e);
	}
	return status;
}

int gate_run(struct options *o, struct gate **out)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (!g)
		fatal(EXIT_LIMIT, "out of memory");
	*out = g;
	g->o = o;
	g->bound = bounds_parse(o);
	g->end = time(NULL) + o->gate_budget;
	variant_init(&g->ref, o);
	quantize_drop(&g->ref.own);
	int status = decide(g);

	if (is_terminal() && !o->verbose)
		fputs("\033[K", stderr);
	variant_free(&g->trial);
	if (!status && !bounds_hold(&g->bound, &g->best))
		status = missed(g);
	if (!status && g->op) {
		o->rung = g->rung;
		o->n_rung = g->n_op;
	}
	return status;
}

void gate_end(struct gate *g, const struct job *job)
{
	if (!g)
		return;
	if (g->op && g->o->quant_report)
		gate_report(g, job);
	for (size_t i = 0; i < g->n_sample; i++)
		if (g->sample[i].kept)
			arena_free(&g->sample[i].run.a);
	variant_free(&g->ref);
	arena_free(&g->a);
	free(g);
}
