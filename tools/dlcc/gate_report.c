/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --quant-report: what the gate decided for each op, and why.  As JSON where
 * the file is called so.  Nothing in it depends on the clock.
 */
#include <math.h>
#include <string.h>

#include "gate.h"
#include "ir/op.h"
#include "ir/target.h"

/* One row of the report, in either form. */
struct row {
	const char *form;
	double in, out;			/* dB; infinite where nothing is lost */
	double clipped;			/* share of the input */
	const char *kernel, *why;	/* or NULL */
};

/* ---- kernels -------------------------------------------------------- */

struct find_kernel {
	const struct target *target;
	const char *name;
	const struct dot *dot;
};

/* A register tile that sums integers for the node. */
static void visit_kernel(void *arg, struct op *op)
{
	struct find_kernel *f = arg;
	const struct block *b;

	if (op->code != OP_kern_contract || !op->loc || !op->loc->name)
		return;
	b = op_body(op);
	if (b->n_arg && b->arg[0]->type->dtype == DT_I32 &&
	    !strcmp(op->loc->name, f->name))
		f->dot = target_dot(f->target, op->in[0].val->type->dtype,
				    op->in[1].val->type->dtype);
}

static const char *kernel_of(const struct choice *k, enum quant_rung rung,
			     const struct job *job)
{
	struct find_kernel f = { job ? job->ctx->target : NULL, k->op.name,
				 NULL };

	if (!k->op.sums_ints[rung])
		return "float";
	if (!job || !(job->m->levels & LEVEL_LOOP))
		return NULL;
	if (f.name)
		block_walk(op_body(job->m->func), visit_kernel, &f);
	return arena_fmt(&job->ctx->perm, "exact: %s",
			 f.dot ? f.dot->name : "i32");
}

/* ---- rows ----------------------------------------------------------- */

static double decibel(double signal, double noise)
{
	return noise > 0 ? 10 * log10(signal / noise) : INFINITY;
}

static struct row row_of(struct gate *g, size_t i, const struct job *job)
{
	const struct choice *k = &g->op[i];
	enum quant_rung rung = g->rung[i];
	const char *const forms[] = {
		[RUNG_ASKED] = g->o->quantize,
		[RUNG_SPLIT] = arena_fmt(&g->a, "%s, split", g->o->quantize),
		[RUNG_DYNAMIC] = "int8-dynamic",
		[RUNG_WEIGHTS] = "w8",
		[RUNG_FLOAT] = "float",
	};
	struct row r = { .form = forms[rung] };

	r.in = decibel(k->sum[SUM_X], k->sum[SUM_X_NOISE]);
	r.out = decibel(k->sum[SUM_Y], k->sum[SUM_Y_NOISE]);
	if (k->sum[SUM_COUNT] > 0)
		r.clipped = k->sum[SUM_CLIPPED] / k->sum[SUM_COUNT];
	r.kernel = kernel_of(k, rung, job);
	r.why = k->op.why_float;
	if (!r.why && rung != RUNG_ASKED)
		r.why = arena_fmt(&g->a, "%s alone gives %s", g->o->quantize,
				  error_text(&g->a, &g->bound, &k->alone));
	return r;
}

/* ---- text ----------------------------------------------------------- */

static void put_text(struct gate *g, const struct job *job, FILE *f)
{
	const char *met = bounds_hold(&g->bound, &g->best) ? "met"
							   : "not met";

	fprintf(f, "samples: %zu, %zu left out\n", g->n_sample,
		g->n_left_out);
	fprintf(f, "all quantized: %s\n",
		error_text(&g->a, &g->bound, &g->all));
	fprintf(f, "as decided: %s, %s\n",
		error_text(&g->a, &g->bound, &g->best),
		g->bound.n ? met : "no bound");
	if (g->labels.n)
		fprintf(f, "right: float %.4g %%, as decided %.4g %%\n",
			g->best.right[0], g->best.right[1]);
	for (size_t i = 0; i < g->n_op; i++) {
		const struct choice *k = &g->op[i];
		struct row r = row_of(g, i, job);

		fprintf(f, "%s: %s, in %.1f dB, out %.1f dB", k->op.label,
			r.form, r.in, r.out);
		if (k->op.is_static[g->rung[i]])
			fprintf(f, ", range %.6g to %.6g, clipped %.3g %%",
				(double)k->op.lo[g->rung[i]],
				(double)k->op.hi[g->rung[i]],
				100 * r.clipped);
		fprintf(f, ", about %.3g us, float %.3g us",
			k->op.us[g->rung[i]], k->op.us[RUNG_FLOAT]);
		if (r.kernel)
			fprintf(f, ", kernel %s", r.kernel);
		fprintf(f, "%s%s\n", r.why ? ", because " : "",
			r.why ? r.why : "");
	}
}

/* ---- JSON ----------------------------------------------------------- */

static void put_string(FILE *f, const char *s)
{
	if (!s) {
		fputs("null", f);
		return;
	}
	putc('"', f);
	for (; *s; s++) {
		unsigned char ch = (unsigned char)*s;

		if (ch < ' ')
			fprintf(f, "\\u%04x", ch);
		else
			fprintf(f, ch == '"' || ch == '\\' ? "\\%c" : "%c",
				ch);
	}
	putc('"', f);
}

/* JSON has no infinities. */
static void put_number(FILE *f, double v)
{
	if (isfinite(v))
		fprintf(f, "%.9g", v);
	else
		fputs("null", f);
}

static void put_error(FILE *f, const struct error *e)
{
	putc('{', f);
	for (int i = 0; i < N_METRIC; i++) {
		fprintf(f, "%s\"%s\": ", i ? ", " : "",
			metric_name((enum metric)i));
		put_number(f, e->value[i]);
	}
	putc('}', f);
}

static void put_layer(struct gate *g, size_t i, const struct job *job, FILE *f)
{
	const struct choice *k = &g->op[i];
	struct row r = row_of(g, i, job);
	enum quant_rung rung = g->rung[i];

	fputs("    {\"node\": ", f);
	put_string(f, k->op.label);
	fputs(", \"form\": ", f);
	put_string(f, r.form);
	fputs(", \"sqnr_in\": ", f);
	put_number(f, r.in);
	fputs(", \"sqnr_out\": ", f);
	put_number(f, r.out);
	if (k->op.is_static[rung]) {
		fputs(", \"range\": [", f);
		put_number(f, (double)k->op.lo[rung]);
		fputs(", ", f);
		put_number(f, (double)k->op.hi[rung]);
		fputs("], \"clipped\": ", f);
		put_number(f, r.clipped);
	}
	fputs(", \"us\": ", f);
	put_number(f, k->op.us[rung]);
	fputs(", \"us_float\": ", f);
	put_number(f, k->op.us[RUNG_FLOAT]);
	fputs(", \"kernel\": ", f);
	put_string(f, r.kernel);
	fputs(", \"why\": ", f);
	put_string(f, r.why);
	if (k->measured) {
		fputs(", \"alone\": ", f);
		put_error(f, &k->alone);
	}
	putc('}', f);
}

static void put_json(struct gate *g, const struct job *job, FILE *f)
{
	fprintf(f, "{\n  \"samples\": %zu,\n  \"left_out\": %zu,\n"
		"  \"met\": %s,\n", g->n_sample, g->n_left_out,
		bounds_hold(&g->bound, &g->best) ? "true" : "false");
	fputs("  \"bounds\": {", f);
	for (unsigned i = 0; i < g->bound.n; i++)
		fprintf(f, "%s\"%s\": %.9g", i ? ", " : "",
			metric_name(g->bound.v[i].metric),
			g->bound.v[i].limit);
	fputs("},\n  \"all_quantized\": ", f);
	put_error(f, &g->all);
	fputs(",\n  \"as_decided\": ", f);
	put_error(f, &g->best);
	if (g->labels.n)
		fprintf(f, ",\n  \"right\": {\"float\": %.9g, "
			"\"as_decided\": %.9g}", g->best.right[0],
			g->best.right[1]);
	fputs(",\n  \"layers\": [\n", f);
	for (size_t i = 0; i < g->n_op; i++) {
		put_layer(g, i, job, f);
		fputs(i + 1 < g->n_op ? ",\n" : "\n", f);
	}
	fputs("  ]\n}\n", f);
}

/* ---- the file ------------------------------------------------------- */

void gate_report(struct gate *g, const struct job *job)
{
	const char *path = g->o->quant_report;
	size_t n = strlen(path);
	struct text text;

	text_open(&text);
	if (n >= 5 && !strcmp(path + n - 5, ".json"))
		put_json(g, job, text.f);
	else
		put_text(g, job, text.f);
	text_save(&text, path);
}
