/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of one value, streamed; and which samples they are of. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "passes/graph/quantize/profile.h"

enum { HALF = HIST_BINS / 2, LEAST_EXP = -160 };

struct stats *stats_new(struct arena *a, const char *name, int axis,
			int64_t n_channel, bool gram)
{
	struct stats *s = NEW(a, struct stats);
	size_t n = (size_t)n_channel;

	*s = (struct stats){ .name = name, .axis = axis,
			     .n_channel = n_channel, .exp = INT_MIN };
	s->min = NEW_ARRAY(a, n, float);
	s->max = NEW_ARRAY(a, n, float);
	s->sum = NEW_ARRAY(a, n, double);
	s->square = NEW_ARRAY(a, n, double);
	for (size_t i = 0; i < n; i++) {
		s->min[i] = INFINITY;
		s->max[i] = -INFINITY;
	}
	if (gram)
		s->gram = arena_array(a, n * n, sizeof(double));
	return s;
}

/* Bins of twice the width, `by` times. */
static void widen(struct stats *s, int by)
{
	uint64_t wide[HIST_BINS] = { 0 };

	for (int i = 0; i < HIST_BINS; i++) {
		/* Rounded down on either side of zero. */
		int k = i - HALF;

		for (int n = by; n > 0 && k != 0 && k != -1; n--)
			k = (k - (k < 0)) / 2;
		wide[HALF + k] += s->hist[i];
	}
	memcpy(s->hist, wide, sizeof(wide));
}

/* Sees to it that [-reach, reach] is inside of the bins. */
static void make_room(struct stats *s, float reach)
{
	int e;

	if (!(reach > 0))
		e = LEAST_EXP;
	else
		frexp(reach, &e), e -= 10;	/* reach < 2^e0 = 1024 * 2^e */
	if (e < LEAST_EXP)
		e = LEAST_EXP;
	if (s->exp != INT_MIN && e > s->exp)
		widen(s, e - s->exp);
	if (s->exp == INT_MIN || e > s->exp)
		s->exp = e;
}

static void add_row(struct stats *s, int64_t k, const float *v, int64_t n)
{
	float lo = s->min[k], hi = s->max[k];
	double sum = 0, square = 0, scale = ldexp(1, -s->exp);

	for (int64_t i = 0; i < n; i++) {
		double x = (double)v[i];

		if (!isfinite(v[i])) {
			*(isnan(v[i]) ? &s->n_nan : &s->n_inf) += 1;
			continue;
		}
		lo = fminf(lo, v[i]);
		hi = fmaxf(hi, v[i]);
		sum += x;
		square += x * x;
		s->hist[HALF + (int)floor(x * scale)]++;
	}
	s->min[k] = lo;
	s->max[k] = hi;
	s->sum[k] += sum;
	s->square[k] += square;
	s->count += (uint64_t)n;
}

/* Rows of channels that lie side by side; others would cost a transpose. */
static void add_gram(struct stats *s, const float *v, int64_t outer)
{
	int64_t n = s->n_channel;

	for (int64_t r = 0; r < outer; r++, v += n)
		for (int64_t i = 0; i < n; i++) {
			double x = (double)v[i], *row = s->gram + i * n;

			if (!isfinite(x))
				continue;
			for (int64_t j = 0; j <= i; j++)
				if (isfinite(v[j]))
					row[j] += x * (double)v[j];
		}
}

void stats_add(struct stats *s, const float *v, int64_t outer, int64_t inner)
{
	int64_t n = outer * s->n_channel * inner;
	float reach = 0;

	for (int64_t i = 0; i < n; i++)
		if (isfinite(v[i]))
			reach = fmaxf(reach, fabsf(v[i]));
	if (n)
		make_room(s, reach);
	for (int64_t o = 0; o < outer; o++)
		for (int64_t k = 0; k < s->n_channel; k++)
			add_row(s, k, v + (o * s->n_channel + k) * inner,
				inner);
	if (s->gram && inner == 1)
		add_gram(s, v, outer);
}

void stats_merge(struct stats *to, const struct stats *from)
{
	struct stats f = *from;
	int64_t n = to->n_channel;

	if (f.exp > to->exp) {
		if (to->exp != INT_MIN)
			widen(to, f.exp - to->exp);
		to->exp = f.exp;
	} else if (f.exp != INT_MIN && f.exp < to->exp) {
		widen(&f, to->exp - f.exp);
	}
	for (int i = 0; i < HIST_BINS; i++)
		to->hist[i] += f.hist[i];
	to->count += f.count;
	to->n_nan += f.n_nan;
	to->n_inf += f.n_inf;
	for (int64_t k = 0; k < n; k++) {
		to->min[k] = fminf(to->min[k], f.min[k]);
		to->max[k] = fmaxf(to->max[k], f.max[k]);
		to->sum[k] += f.sum[k];
		to->square[k] += f.square[k];
	}
	/* A Gram matrix of a part of the samples would weigh them wrong. */
	if (!f.gram)
		to->gram = NULL;
	for (int64_t i = 0; to->gram && i < n * n; i++)
		to->gram[i] += f.gram[i];
}

void stats_range(const struct stats *s, float *min, float *max)
{
	*min = *max = 0;
	for (int64_t k = 0; k < s->n_channel; k++) {
		*min = fminf(*min, s->min[k]);
		*max = fmaxf(*max, s->max[k]);
	}
}

void stats_scale(struct stats *s, const float *factor)
{
	int64_t n = s->n_channel;

	/* The bins are of all channels: they say nothing any more. */
	memset(s->hist, 0, sizeof(s->hist));
	for (int64_t k = 0; k < n; k++) {
		double f = (double)factor[k];

		s->min[k] *= factor[k];
		s->max[k] *= factor[k];
		s->sum[k] *= f;
		s->square[k] *= f * f;
		for (int64_t j = 0; s->gram && j < n; j++) {
			s->gram[k * n + j] *= f;
			s->gram[j * n + k] *= f;
		}
	}
}

/* ---- samples -------------------------------------------------------- */

/* The first that is not less. */
static size_t place_of(const struct profile *p, uint64_t hash)
{
	size_t lo = 0, hi = p->n_seen;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->seen[mid] < hash)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool profile_saw(const struct profile *p, uint64_t hash)
{
	size_t i = place_of(p, hash);

	return i < p->n_seen && p->seen[i] == hash;
}

void profile_see(struct profile *p, uint64_t hash)
{
	size_t i = place_of(p, hash);

	if (i == MAX_SEEN || profile_saw(p, hash))
		return;
	if (p->n_seen < MAX_SEEN)
		p->n_seen++;
	memmove(&p->seen[i + 1], &p->seen[i],
		(p->n_seen - i - 1) * sizeof(p->seen[0]));
	p->seen[i] = hash;
}
