/* SPDX-License-Identifier: Apache-2.0 */
/* How far two models' results are apart, and whether that is too far. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gate.h"
#include "tensor_file.h"

static const struct {
	const char *name;
	bool larger;
} metrics[] = {
#define METRIC(name, larger) { #name, larger },
	METRICS
#undef METRIC
};

const char *metric_name(enum metric m)
{
	return metrics[m].name;
}

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

struct bounds bounds_parse(const struct options *o)
{
	struct bounds b = { .n = 0 };

	if (o->max_error)
		b.v[b.n++] = parse_bound("max-error", o->max_error, 0, M_top1);
	if (o->max_drop)
		b.v[b.n++] = parse_bound("max-drop", o->max_drop, M_top1,
					 N_METRIC);
	return b;
}

bool bounds_hold(const struct bounds *b, const struct error *e)
{
	for (unsigned i = 0; i < b->n; i++) {
		double v = e->value[b->v[i].metric], limit = b->v[i].limit;

		if (metrics[b->v[i].metric].larger ? !(v >= limit)
						   : !(v <= limit))
			return false;
	}
	return true;
}

/* Noise for signal: finer than a count of rows. */
static double noise(const struct error *e)
{
	return pow(10, -e->value[M_sqnr] / 10);
}

double bounds_loss(const struct bounds *b, const struct error *e)
{
	double most = 0;

	for (unsigned i = 0; i < b->n; i++) {
		double v = e->value[b->v[i].metric], limit = b->v[i].limit;
		double allowed, lost;

		switch (b->v[i].metric) {
		case M_cos: lost = 1 - v; allowed = 1 - limit; break;
		case M_sqnr:
			lost = noise(e);
			allowed = pow(10, -limit / 10);
			break;
		case M_top1: lost = noise(e); allowed = 1; break;
		default: lost = v; allowed = limit; break;
		}
		lost /= fmax(allowed, 1e-12);
		most = fmax(most, isnan(lost) ? INFINITY : lost);
	}
	return most;
}

const char *error_text(struct arena *a, const struct bounds *b,
		       const struct error *e)
{
	char *s = arena_fmt(a, "%s", "");

	for (unsigned i = 0; i < (b->n ? b->n : N_METRIC); i++) {
		enum metric m = b->n ? b->v[i].metric : (enum metric)i;

		s = arena_fmt(a, "%s%s%s %.6g", s, i ? ", " : "",
			      metrics[m].name, e->value[m]);
	}
	return s;
}

/* ---- comparing ------------------------------------------------------ */

static int64_t largest(const struct tensor *t, size_t row, size_t n)
{
	size_t best = 0;

	for (size_t i = 1; i < n; i++)
		if (scalar_get(t->dtype, t->data, row * n + i).d >
		    scalar_get(t->dtype, t->data, row * n + best).d)
			best = i;
	return (int64_t)best;
}

size_t output_rows(const struct tensor *x)
{
	size_t row = x->rank ? (size_t)x->dim[x->rank - 1] : 1;

	return row ? tensor_count(x, "an output") / row : 0;
}

/* y is NULL where its rows are not those of x. */
static void add_rows(struct sums *s, const struct tensor *x,
		     const struct tensor *y, const int64_t *label)
{
	size_t rows = output_rows(x);
	size_t n = rows ? tensor_count(x, "an output") / rows : 0;

	for (size_t i = 0; i < rows; i++) {
		int64_t a = largest(x, i, n), b = y ? largest(y, i, n) : 0;

		s->rows++;
		s->other += !y || a != b;
		s->right[0] += label && a == label[i];
		s->right[1] += label && y && b == label[i];
	}
}

void sums_add(struct sums *s, const struct tensor *x, const struct tensor *y,
	      const int64_t *label)
{
	size_t n = tensor_count(x, "an output");
	double xx = 0, yy = 0, xy = 0, dd = 0, most = 0, reach = 0;

	if (!dtype_is_float(x->dtype))
		return;
	/* A size that follows from values may be another. */
	if (tensor_count(y, "an output") != n) {
		s->least_cos = -1;
		s->noise = s->most_abs = s->most_rel = INFINITY;
		add_rows(s, x, NULL, label);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		double a = scalar_get(x->dtype, x->data, i).d;
		double b = scalar_get(y->dtype, y->data, i).d;

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
	add_rows(s, x, y, label);
}

static double percent(uint64_t n, uint64_t of)
{
	return of ? 100 * (double)n / (double)of : 0;
}

struct error sums_error(const struct sums *s, uint32_t n, bool labelled)
{
	struct error e = { .value = { [M_cos] = 1, [M_sqnr] = INFINITY } };

	for (uint32_t i = 0; i < n; i++) {
		double *v = e.value;

		v[M_cos] = fmin(v[M_cos], s[i].least_cos);
		if (s[i].noise > 0)
			v[M_sqnr] = fmin(v[M_sqnr],
					 10 * log10(s[i].signal / s[i].noise));
		v[M_abs] = fmax(v[M_abs], s[i].most_abs);
		v[M_rel] = fmax(v[M_rel], s[i].most_rel);
		v[M_top1] = fmax(v[M_top1], percent(s[i].other, s[i].rows));
	}
	if (labelled) {
		for (int k = 0; k < 2; k++)
			e.right[k] = percent(s[0].right[k], s[0].rows);
		e.value[M_top1] = e.right[0] - e.right[1];
	}
	return e;
}
