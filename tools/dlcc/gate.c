/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accuracy gate: --max-error and --max-drop compare the quantized model's
 * results with the float model's over samples.  Where a bound is missed, ops
 * go back to float:
 *
 *  1. Each op is quantized alone and measured end to end; what an op loses
 *     locally says little about what it costs the result.
 *  2. Ops are sorted by that, and the shortest list of the worst that has to
 *     stay float is found by bisection.
 *
 * That is n + log2 n compiles.  When the time for them is used up, or nothing
 * could stay quantized, the bound is not met.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "passes/pass.h"
#include "run.h"
#include "tensor_file.h"

/* METRIC(name, is larger better?) */
#define METRICS         \
	METRIC(cos, true)   \
	METRIC(sqnr, true)  \
	METRIC(abs, false)  \
	METRIC(rel, false)  \
	METRIC(top1, false)

enum metric {
#define METRIC(name, larger) M_##name,
	METRICS
#undef METRIC
	N_METRIC
};

static const struct {
	const char *name;
	bool larger;
} metrics[] = {
#define METRIC(name, larger) { #name, larger },
	METRICS
#undef METRIC
};

struct bound {
	enum metric metric;
	double limit;
};

/* Of two models over samples; each metric of the worst output. */
struct error {
	double value[N_METRIC];
};

struct gate {
	const struct options *o;
	struct bound bound[2];
	unsigned n_bound;
	struct samples samples;
	struct variant ref;
	time_t end;
	size_t n_op;			/* that can be quantized */
	const char **label;
	bool *able;			/* and were, when all were tried */
	struct error all, *alone;
	bool out_of_time;
};

/* ---- bounds --------------------------------------------------------- */

static struct bound parse_bound(const char *option, const char *s,
				unsigned first, unsigned end)
{
	size_t n = strcspn(s, ":");

	for (unsigned i = first; i < end; i++) {
		char *stop;

		if (strlen(metrics[i].name) != n ||
		    memcmp(metrics[i].name, s, n) || !s[n])
			continue;
		double v = strtod(s + n + 1, &stop);

		if (stop != s + n + 1 && !*stop && isfinite(v))
			return (struct bound){ (enum metric)i, v };
	}
	fatal(EXIT_USAGE, "--%s wants %s and a number, not '%s'; see dlcc "
	      "--help", option, first == M_top1 ? "top1:" : "cos:, sqnr:, abs: "
	      "or rel:", s);
}

void gate_check(const struct options *o)
{
	bool wanted = o->max_error || o->max_drop;

	if (o->max_error)
		parse_bound("max-error", o->max_error, 0, M_top1);
	if (o->max_drop)
		parse_bound("max-drop", o->max_drop, M_top1, N_METRIC);
	if (wanted && (!o->quantize || !o->data))
		fatal(EXIT_USAGE, "--max-error and --max-drop need --quantize "
		      "and --data=DIR");
	if (!wanted && o->quant_report)
		fatal(EXIT_USAGE, "--quant-report needs --max-error or "
		      "--max-drop");
	if (!wanted && o->data && !o->run && !o->calibrate)
		fatal(EXIT_USAGE, "--data needs --max-error or --max-drop");
}

/* How far beyond its bound the worst metric is; not above 0 when all hold. */
static double excess(const struct gate *g, const struct error *e)
{
	double most = -INFINITY;

	for (unsigned i = 0; i < g->n_bound; i++) {
		const struct bound *b = &g->bound[i];
		double v = e->value[b->metric];
		double x = metrics[b->metric].larger ? b->limit - v
						     : v - b->limit;

		most = fmax(most, isnan(v) ? INFINITY : x);
	}
	return most;
}

static const char *error_text(struct gate *g, const struct error *e)
{
	char *s = arena_fmt(&g->ref.r.a, "%s", "");

	for (unsigned i = 0; i < g->n_bound; i++) {
		const struct bound *b = &g->bound[i];

		s = arena_fmt(&g->ref.r.a, "%s%s%s %.6g", s, i ? ", " : "",
			      metrics[b->metric].name, e->value[b->metric]);
	}
	return s;
}

/* ---- comparing ------------------------------------------------------ */

/* Sums over all samples of one output. */
struct sums {
	double signal, noise, least_cos, most_abs, most_rel;
	uint64_t rows, other;
};

static uint64_t largest(const struct tensor *t, uint64_t row, uint64_t n)
{
	size_t size = dtype_size(t->dtype);
	const char *p = (const char *)t->data + row * n * size;
	uint64_t best = 0;

	for (uint64_t i = 1; i < n; i++)
		if (scalar_load(t->dtype, p + i * size).d >
		    scalar_load(t->dtype, p + best * size).d)
			best = i;
	return best;
}

static void count_rows(const struct tensor *x, const struct tensor *y,
		       uint64_t n, struct sums *s)
{
	uint64_t row = x->rank ? (uint64_t)x->dim[x->rank - 1] : 1;

	for (uint64_t i = 0; row && i < n / row; i++) {
		s->rows++;
		s->other += largest(x, i, row) != largest(y, i, row);
	}
}

/* x is the float model's. */
static void add_output(const struct tensor *x, const struct tensor *y,
		       struct sums *s)
{
	size_t size = dtype_size(x->dtype), n = tensor_bytes(x, "an output");
	double xx = 0, yy = 0, xy = 0, dd = 0, most = 0, reach = 0;

	if (!dtype_is_float(x->dtype) || tensor_bytes(y, "an output") != n)
		return;
	for (size_t at = 0; at < n; at += size) {
		double a = scalar_load(x->dtype, (char *)x->data + at).d;
		double b = scalar_load(y->dtype, (char *)y->data + at).d;

		/* Equal infinities are no difference. */
		double d = a == b ? 0 : a - b;

		xx += a * a;
		yy += b * b;
		xy += a * b;
		dd += d * d;
		most = isnan(d) ? INFINITY : fmax(most, fabs(d));
		reach = fmax(reach, fabs(a));
	}
	double cos = dd == 0 ? 1 : xy / sqrt(xx * yy);

	s->signal += xx;
	s->noise += isnan(dd) ? INFINITY : dd;
	s->least_cos = fmin(s->least_cos, isnan(cos) ? -1 : cos);
	s->most_abs = fmax(s->most_abs, most);
	s->most_rel = fmax(s->most_rel, most == 0 ? 0 : most / reach);
	count_rows(x, y, n / size, s);
}

static struct error sum_up(const struct sums *s, uint32_t n)
{
	struct error e = { .value = { [M_cos] = 1, [M_sqnr] = INFINITY } };

	for (uint32_t i = 0; i < n; i++) {
		double *v = e.value;
		double top1 = s[i].rows ? 100 * (double)s[i].other /
						  (double)s[i].rows
					: 0;

		v[M_cos] = fmin(v[M_cos], s[i].least_cos);
		if (s[i].noise > 0)
			v[M_sqnr] = fmin(v[M_sqnr],
					 10 * log10(s[i].signal / s[i].noise));
		v[M_abs] = fmax(v[M_abs], s[i].most_abs);
		v[M_rel] = fmax(v[M_rel], s[i].most_rel);
		v[M_top1] = fmax(v[M_top1], top1);
	}
	return e;
}

/* One sample through both models after the other. */
static int compare(struct gate *g, struct variant *v, struct error *e)
{
	uint32_t n = g->ref.r.n_out;
	struct sums *s = NEW_ARRAY(&v->r.a, n + 1, struct sums);
	int status = EXIT_OK;

	for (uint32_t i = 0; i < n; i++)
		s[i].least_cos = 1;
	for (size_t k = 0; k < g->samples.n && !status; k++) {
		struct run x, y = { .a = { 0 } };

		status = variant_call(&g->ref, g->samples.dir[k], 0, &x);
		if (!status)
			status = variant_call(v, g->samples.dir[k], 0, &y);
		for (uint32_t i = 0; i < n && !status; i++)
			add_output(&x.out[i], &y.out[i], &s[i]);
		arena_free(&x.a);
		arena_free(&y.a);
	}
	*e = sum_up(s, n);
	return status;
}

/* ---- measuring ------------------------------------------------------ */

static void take_labels(struct gate *g, const struct quantize_data *d)
{
	struct arena *a = &g->ref.r.a;

	g->n_op = d->n_op;
	g->label = NEW_ARRAY(a, d->n_op + 1, const char *);
	g->able = NEW_ARRAY(a, d->n_op + 1, bool);
	g->alone = NEW_ARRAY(a, d->n_op + 1, struct error);
	for (size_t i = 0; i < d->n_op; i++) {
		g->label[i] = arena_str(a, d->label[i], strlen(d->label[i]));
		g->able[i] = d->done[i];
	}
}

/* Compiles the model with these ops left float, and compares. */
static int measure(struct gate *g, const bool *stay, struct error *e)
{
	struct variant v;
	int status;

	variant_init(&v, g->o);
	v.own.stay = stay;
	v.own.n_stay = stay ? g->n_op : 0;
	if (!job_import(&v.r.job) || !variant_load(&v)) {
		status = job_status(&v.r.job);
	} else {
		if (!g->n_op)
			take_labels(g, v.r.job.ctx->quantize);
		status = compare(g, &v, e);
	}
	variant_free(&v);
	if (g->o->verbose && !status)
		fprintf(stderr, "dlcc: gate: %s\n", error_text(g, e));
	return status;
}

/* ---- the search ----------------------------------------------------- */

struct rank {
	double excess;
	size_t op;
};

static int by_excess(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;

	if (x->excess != y->excess)
		return x->excess < y->excess ? 1 : -1;
	return (x->op > y->op) - (x->op < y->op);
}

static int measure_alone(struct gate *g, struct rank *r, size_t *n)
{
	bool *stay = NEW_ARRAY(&g->ref.r.a, g->n_op + 1, bool);
	int status = EXIT_OK;

	*n = 0;
	for (size_t i = 0; i < g->n_op; i++)
		stay[i] = true;
	for (size_t i = 0; i < g->n_op && !status; i++) {
		if (!g->able[i])
			continue;
		if (time(NULL) >= g->end) {
			g->out_of_time = true;
			break;
		}
		stay[i] = false;
		status = measure(g, stay, &g->alone[i]);
		stay[i] = true;
		r[(*n)++] = (struct rank){ excess(g, &g->alone[i]), i };
	}
	qsort(r, *n, sizeof(*r), by_excess);
	return status;
}

static void set_prefix(const struct gate *g, const struct rank *r, size_t k,
		       bool *stay)
{
	memset(stay, 0, g->n_op * sizeof(*stay));
	for (size_t i = 0; i < k; i++)
		stay[r[i].op] = true;
}

/* The least k for which the k worst ops left float are enough. */
static int bisect(struct gate *g, const struct rank *r, size_t n, bool *stay,
		  struct error *best)
{
	size_t lo = 1, hi = n;
	int status = EXIT_OK;

	while (lo < hi && !status) {
		size_t mid = lo + (hi - lo) / 2;
		struct error e;

		if (time(NULL) >= g->end) {
			g->out_of_time = true;
			break;
		}
		set_prefix(g, r, mid, stay);
		status = measure(g, stay, &e);
		if (excess(g, &e) <= 0) {
			hi = mid;
			*best = e;
		} else {
			lo = mid + 1;
		}
	}
	set_prefix(g, r, hi, stay);
	return status;
}

/* ---- what is said --------------------------------------------------- */

static void write_report(struct gate *g, const bool *stay,
			 const struct error *e, bool met)
{
	struct output out;
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		fatal(EXIT_LIMIT, "out of memory");
	fprintf(f, "all quantized: %s\n", error_text(g, &g->all));
	fprintf(f, "as decided: %s, %s\n", error_text(g, e),
		met ? "met" : "not met");
	for (size_t i = 0; i < g->n_op; i++) {
		bool is_float = !g->able[i] || (stay && stay[i]);

		fprintf(f, "%s: %s", g->label[i],
			is_float ? "float" : g->o->quantize);
		if (stay && g->able[i])
			fprintf(f, ", alone: %s", error_text(g, &g->alone[i]));
		putc('\n', f);
	}
	if (fclose(f))
		fatal(EXIT_LIMIT, "out of memory");
	output_open(&out, g->o->quant_report);
	output_write(&out, text, size);
	output_commit(&out, 1);
	free(text);
}

static int missed(struct gate *g, const struct error *e)
{
	fprintf(stderr, "%s: %s: %s over %zu samples%s\n", g->o->model,
		g->o->gate_warn ? "warning" : "error", error_text(g, e),
		g->samples.n, g->out_of_time ? "; the time for more trials is "
					       "used up"
					     : ", which misses the bound");
	return g->o->gate_warn ? EXIT_OK : EXIT_ACCURACY;
}

static int decide(struct gate *g, bool **stay, struct error *e)
{
	struct arena *a = &g->ref.r.a;
	int status = measure(g, NULL, &g->all);
	size_t n = 0;

	*e = g->all;
	if (status || excess(g, e) <= 0)
		return status;
	struct rank *r = NEW_ARRAY(a, g->n_op + 1, struct rank);

	*stay = NEW_ARRAY(a, g->n_op + 1, bool);
	status = measure_alone(g, r, &n);
	if (status || g->out_of_time)
		return status;
	status = bisect(g, r, n, *stay, e);
	return status;
}

int gate_run(struct options *o, struct arena *a)
{
	struct gate g = { .o = o, .end = time(NULL) + o->gate_budget };
	struct error e;
	bool *stay = NULL;
	int status;

	if (o->max_error)
		g.bound[g.n_bound++] = parse_bound("max-error", o->max_error,
						   0, M_top1);
	if (o->max_drop)
		g.bound[g.n_bound++] = parse_bound("max-drop", o->max_drop,
						   M_top1, N_METRIC);
	g.samples = samples_list(a, o->data);
	variant_init(&g.ref, o);
	quantize_drop(&g.ref.own);
	if (!job_import(&g.ref.r.job) || !variant_load(&g.ref))
		status = job_status(&g.ref.r.job);
	else
		status = decide(&g, &stay, &e);
	if (!status) {
		bool met = excess(&g, &e) <= 0;

		if (o->quant_report)
			write_report(&g, stay, &e, met);
		if (!met)
			status = missed(&g, &e);
		if (stay) {
			o->stay = arena_copy(a, stay,
					     g.n_op * sizeof(*stay));
			o->n_stay = g.n_op;
		}
	}
	variant_free(&g.ref);
	return status;
}
