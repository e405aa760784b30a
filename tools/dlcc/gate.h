/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the accuracy gate share. */
#ifndef DLCC_GATE_H
#define DLCC_GATE_H

#include <time.h>

#include "passes/pass.h"
#include "run.h"

/* ---- metric.c ------------------------------------------------------- */

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

struct bound {
	enum metric metric;
	double limit;
};

struct bounds {
	struct bound v[2];
	unsigned n;
};

/* Of two models over samples; each metric of the worst output. */
struct error {
	double value[N_METRIC];
	double right[2];	/* percent, with labels: float, quantized */
};

/* Those of the options; exits with EXIT_USAGE when they make no sense. */
struct bounds bounds_parse(const struct options *o);
/* Are all kept? */
bool bounds_hold(const struct bounds *b, const struct error *e);
/* How much of what is allowed is used up: the more, the worse. */
double bounds_loss(const struct bounds *b, const struct error *e);
/* "cos 0.9991, top1 0.5": what is bounded, or all when nothing is. */
const char *error_text(struct arena *a, const struct bounds *b,
		       const struct error *e);
const char *metric_name(enum metric m);

/* Which element should be the largest of each row of the first output. */
struct labels {
	const int64_t *v;
	size_t n;
};

/* Sums over samples of one output. */
struct sums {
	double signal, noise, least_cos, most_abs, most_rel;
	uint64_t rows, other, right[2];
};
/* Adds one sample's output of the float model, x, and of the other, y; the
 * labels are those of its rows, or NULL. */
void sums_add(struct sums *s, const struct tensor *x, const struct tensor *y,
	      const int64_t *label);
struct error sums_error(const struct sums *s, uint32_t n, bool labelled);
/* How many rows an output has. */
size_t output_rows(const struct tensor *x);

/* ---- gate.c --------------------------------------------------------- */

/* An op, and what the search found out about it. */
struct choice {
	struct quant_op op;		/* its strings are the gate's */
	struct error alone;		/* when it alone is quantized */
	bool measured;
	double sum[N_TRIAL_SUM];	/* with the forms that were chosen */
};

/* A sample of the float model; its results are kept while there is room. */
struct reference {
	const char *dir;
	const int64_t *label;		/* of its first row, or NULL */
	struct run run;
	bool kept;
};

struct gate {
	const struct options *o;
	struct arena a;
	struct bounds bound;
	struct labels labels;
	struct reference *sample;
	size_t n_sample, n_left_out;
	struct variant ref, trial;
	time_t end;
	bool out_of_time;
	unsigned n_trial;
	struct choice *op;
	size_t n_op;
	unsigned char *rung;		/* of each op, as decided */
	struct error all, best;		/* as asked; as decided */
};

/* ---- gate_report.c -------------------------------------------------- */

/* job is the compiled one, or NULL. */
void gate_report(struct gate *g, const struct job *job);

#endif
