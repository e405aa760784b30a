/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A profile: what values were seen in a float model's values while it ran over
 * samples.  It is text, bound to one graph by a hash of each of its nodes.
 */
#ifndef PASSES_GRAPH_QUANTIZE_PROFILE_H
#define PASSES_GRAPH_QUANTIZE_PROFILE_H

#include <stdio.h>

#include "base/vec.h"
#include "ir/ir.h"

enum { HIST_BINS = 2048, MAX_SEEN = 1024 };

/*
 * Of one value, in constant memory.  Every sum is a sum over samples, so that
 * profiles merge by adding; infinities count as seen but not as summed.
 *
 * Bin i of the histogram counts [(i - 1024) * w, (i - 1023) * w) with
 * w = 2^exp, the least power of two that holds every value seen, so that the
 * bins do not depend on the order of the samples.
 */
struct stats {
	const char *name;
	int axis;			/* of the channels; -1: one channel */
	int64_t n_channel;
	uint64_t count, n_nan, n_inf;
	int exp;			/* INT_MIN: nothing finite was seen */
	uint64_t hist[HIST_BINS];
	/* Of each channel; sums are of the finite values. */
	float *min, *max;
	double *sum, *square;
	double *gram;			/* n_channel squared, or NULL */
};

struct node_hash {
	const char *label;		/* for messages */
	uint64_t hash;
};

struct profile {
	struct arena a;
	uint64_t samples;
	/* The least hashes of them, in order: enough to notice samples that
	 * are used twice, in memory that does not grow. */
	uint64_t seen[MAX_SEEN];
	size_t n_seen;
	bool synthetic;			/* made of random numbers */
	VEC(struct node_hash) node;
	VEC(struct stats *) value;	/* by name */
	struct map of_value;		/* value id -> struct stats */
};

void profile_free(struct profile *p);

/* ---- statistics (stats.c) ------------------------------------------- */

struct stats *stats_new(struct arena *a, const char *name, int axis,
			int64_t n_channel, bool gram);
/* Adds a tensor: outer x n_channel x inner floats. */
void stats_add(struct stats *s, const float *v, int64_t outer, int64_t inner);
void stats_merge(struct stats *to, const struct stats *from);
/* Of all channels; 0 is always inside. */
void stats_range(const struct stats *s, float *min, float *max);
/* The value's channel k is now factor[k] times what it was. */
void stats_scale(struct stats *s, const float *factor);

/* ---- ranges (range.c) ----------------------------------------------- */

enum range_way { RANGE_ALL, RANGE_MSE, RANGE_PERCENTILE };

/* Narrows [*lo, *hi], the range of all values: to that of the least squared
 * error, or so that the share `beyond` of them lies beyond either end.  False
 * where there is no histogram, as after stats_scale(). */
bool stats_narrow(const struct stats *s, enum range_way way, double beyond,
		  float *lo, float *hi);

/* ---- samples (stats.c) ---------------------------------------------- */

void profile_see(struct profile *p, uint64_t hash);
/* Was this sample among them?  Always right when they were at most MAX_SEEN,
 * else only where its hash is as small as those that are kept. */
bool profile_saw(const struct profile *p, uint64_t hash);

/* ---- text (profile.c) ----------------------------------------------- */

/* False after a diagnostic (EXIT_MODEL); p is then empty. */
bool profile_parse(struct profile *p, struct diag *d, const char *file,
		   const char *text, size_t size);
void profile_write(const struct profile *p, FILE *f);
/* Adds b's samples to a; false after a diagnostic, when they are of different
 * models. */
bool profile_merge(struct profile *a, const struct profile *b,
		   struct diag *d, const char *file_a, const char *file_b);

/* ---- the graph (watch.c) -------------------------------------------- */

/* A value that is worth statistics. */
struct watch {
	struct value *v;
	const char *name;		/* unique in the graph */
	int axis;
	int64_t n_channel;
	bool input;			/* of a linear op: a Gram matrix may be
					 * wanted */
};
struct watches {
	struct watch *v;
	size_t n, cap;
};

/* The inputs and results of linear ops, sorted by name. */
struct watches graph_watches(struct module *m);
/* A hash for each op of the graph, in order. */
void graph_hash(struct module *m, struct profile *p);
/* "Conv 'conv1'", for messages. */
const char *op_label(struct ctx *c, const struct op *op);
/* Finds each value's statistics; false after a diagnostic when the profile is
 * of another graph. */
bool profile_bind(struct profile *p, struct module *m, const char *file);
static inline struct stats *stats_of(const struct profile *p,
				     const struct value *v)
{
	return p ? map_get(&p->of_value, v->id) : NULL;
}

#endif
