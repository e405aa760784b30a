/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A static input's range, narrowed by what its histogram says: fewer values
 * are held in finer steps.  That is only for who asks: in transformers a few
 * extreme values are what attention hangs on.
 */
#include <math.h>

#include "passes/graph/quantize/profile.h"

enum { HALF = HIST_BINS / 2, TRIES = 64, LEAST = 8, STEPS = 255 };

/* Of all values, when [lo, hi] is held in bytes. */
static double squared_error(const struct stats *s, double lo, double hi)
{
	double w = ldexp(1, s->exp), step = (hi - lo) / STEPS, sum = 0;

	for (int i = 0; i < HIST_BINS; i++) {
		double x = (i - HALF + 0.5) * w;
		double d = x < lo ? lo - x : x > hi ? x - hi : 0;

		if (s->hist[i])
			sum += (double)s->hist[i] *
			       (d > 0 ? d * d : step * step / 12);
	}
	return sum;
}

/* The part of one end, `from`, with the least error for the other end. */
static double best_end(const struct stats *s, double from, double other)
{
	double best = from, least = INFINITY;

	for (int i = TRIES; i >= LEAST && from != 0; i--) {
		double end = from * i / TRIES;
		double e = squared_error(s, fmin(end, other),
					 fmax(end, other));

		if (e < least) {
			least = e;
			best = end;
		}
	}
	return best;
}

static void least_squares(const struct stats *s, float *lo, float *hi)
{
	double a = (double)*lo, b = (double)*hi;

	b = best_end(s, b, a);
	a = best_end(s, a, b);
	b = best_end(s, (double)*hi, a);
	*lo = (float)a;
	*hi = (float)b;
}

/* The outer edge of the first bin, seen from one side, beyond which no more
 * than this many values lie. */
static double edge(const struct stats *s, double beyond, bool upper)
{
	double n = 0;
	int i = 0;

	for (; i < HIST_BINS - 1; i++) {
		n += (double)s->hist[upper ? HIST_BINS - 1 - i : i];
		if (n > beyond)
			break;
	}
	return ldexp(upper ? HALF - i : i - HALF, s->exp);
}

bool stats_narrow(const struct stats *s, enum range_way way, double beyond,
		  float *lo, float *hi)
{
	uint64_t n = 0;

	for (int i = 0; i < HIST_BINS; i++)
		n += s->hist[i];
	if (!n && way != RANGE_ALL)
		return false;
	if (way == RANGE_MSE) {
		least_squares(s, lo, hi);
	} else if (way == RANGE_PERCENTILE) {
		beyond *= (double)n;
		*lo = fmaxf(*lo, (float)fmin(edge(s, beyond, false), 0));
		*hi = fminf(*hi, (float)fmax(edge(s, beyond, true), 0));
	}
	return true;
}
