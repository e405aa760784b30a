/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of values and their text. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "passes/graph/quantize/quantize.h"

enum { N = 6 };

static struct arena arena;
static struct diag diag;

static void setup(void)
{
	diag = (struct diag){ .file = "test" };
}

static void teardown(void)
{
	arena_free(&arena);
}

TestSuite(profile, .init = setup, .fini = teardown);

static const float part[2][N] = {
	{ 1, -2, 3, 0.5f, 1000, -1e-3f },
	{ NAN, 7, INFINITY, -7, 0, 1e-20f },
};

static struct stats *stats(bool gram)
{
	return stats_new(&arena, "v", 1, 3, gram);
}

static uint64_t in_bins(const struct stats *s)
{
	uint64_t n = 0;

	for (int i = 0; i < HIST_BINS; i++)
		n += s->hist[i];
	return n;
}

static void expect_equal(const struct stats *a, const struct stats *b)
{
	cr_assert_eq(a->exp, b->exp);
	cr_assert_eq(a->count, b->count);
	cr_assert_eq(a->n_nan, b->n_nan);
	cr_assert(!memcmp(a->hist, b->hist, sizeof(a->hist)));
	cr_assert(!memcmp(a->min, b->min, 3 * sizeof(float)));
	cr_assert(!memcmp(a->max, b->max, 3 * sizeof(float)));
	cr_assert(!memcmp(a->sum, b->sum, 3 * sizeof(double)));
	cr_assert(!memcmp(a->square, b->square, 3 * sizeof(double)));
}

Test(profile, counts_by_channel)
{
	struct stats *s = stats(false);

	stats_add(s, part[0], 2, 1);
	stats_add(s, part[1], 2, 1);
	cr_assert_eq(s->count, 12);
	cr_assert_eq(s->n_nan, 1);
	cr_assert_eq(s->n_inf, 1);
	cr_assert_eq(in_bins(s), 10);
	cr_assert_eq(s->min[0], -7);
	cr_assert_eq(s->max[0], 1);
	cr_assert_eq(s->max[1], 1000);
	cr_assert_eq(s->sum[2], 3.0 + (double)-1e-3f + (double)1e-20f);
	/* 1000 < 1024 * 2^0, and not below 512 * 2^0. */
	cr_assert_eq(s->exp, 0);
}

Test(profile, bins_do_not_depend_on_the_order)
{
	struct stats *a = stats(false), *b = stats(false);
	float small[3] = { 0.1f, -0.2f, 0.3f }, large[3] = { -5e8f, 1, 2e-9f };

	stats_add(a, small, 1, 1);
	stats_add(a, large, 1, 1);
	stats_add(b, large, 1, 1);
	stats_add(b, small, 1, 1);
	cr_assert_eq(a->exp, b->exp);
	cr_assert(!memcmp(a->hist, b->hist, sizeof(a->hist)));
	/* What is below zero stays there however wide the bins get. */
	cr_assert_eq(a->hist[HIST_BINS / 2 - 1], 1);
}

Test(profile, merging_has_no_order)
{
	struct stats *a[2], *b[2];

	for (int i = 0; i < 2; i++) {
		a[i] = stats(false);
		b[i] = stats(false);
		stats_add(a[i], part[0], 2, 1);
		stats_add(b[i], part[1], 2, 1);
	}
	stats_merge(a[0], b[0]);
	stats_merge(b[1], a[1]);
	expect_equal(a[0], b[1]);
}

Test(profile, nothing_seen)
{
	struct stats *a = stats(false), *b = stats(false);
	float lo, hi;

	stats_merge(a, b);
	stats_range(a, &lo, &hi);
	cr_assert(lo == 0 && hi == 0 && a->exp == INT_MIN);
	stats_add(b, part[0], 2, 1);
	stats_merge(a, b);
	expect_equal(a, b);
}

Test(profile, text_is_read_as_it_was_written)
{
	struct profile p = { .samples = 3 }, q;
	struct node_hash h = { "Conv 'a\"\\b'", 0x123 };
	char *text[2];
	size_t size[2];

	vec_push(&p.node, h);
	vec_push(&p.value, stats(true));
	p.value.v[0]->name = "\x01 odd \"name\" \xc3\xa9";
	stats_add(p.value.v[0], part[0], 2, 1);
	for (int i = 0; i < 2; i++) {
		FILE *f = open_memstream(&text[i], &size[i]);

		profile_write(i ? &q : &p, f);
		fclose(f);
		if (!i)
			cr_assert(profile_parse(&q, &diag, "p", text[0],
						size[0]));
	}
	cr_assert_eq(size[0], size[1]);
	cr_assert(!memcmp(text[0], text[1], size[0]));
	cr_assert_str_eq(q.value.v[0]->name, p.value.v[0]->name);
	expect_equal(p.value.v[0], q.value.v[0]);
	/* Any part of it is refused. */
	for (size_t n = 0; n + 1 < size[0]; n++) {
		struct profile cut;

		text[0][n] = '\0';
		cr_assert(!profile_parse(&cut, &diag, "p", text[0], n));
		text[0][n] = text[1][n];
	}
	free(text[0]);
	free(text[1]);
	profile_free(&p);
	profile_free(&q);
}

/* ---- rounding with a Gram matrix ------------------------------------ */

static void unit_grid(void *arg, int64_t k0, int64_t n, const float *col)
{
	(void)arg, (void)k0, (void)n, (void)col;
}

static float unit_round(void *arg, int64_t k, int64_t n, float v, int *q)
{
	(void)arg, (void)k, (void)n;
	*q = (int)rintf(v);
	return rintf(v);
}

Test(profile, later_rows_make_good_what_rounding_lost)
{
	/* Two inputs that are nearly the same: 0.4 + 0.4 is one step. */
	double gram[4] = { 1, 0.999, 0.999, 1 };
	float w[2] = { 0.4f, 0.4f };
	int q[2];
	struct gptq g = { 2, 1, 0, gram, unit_grid, unit_round, NULL };

	cr_assert(gptq_run(&g, w, q));
	cr_assert_eq(q[0] + q[1], 1);
	/* Without relation each is rounded alone. */
	w[0] = w[1] = 0.4f;
	gram[1] = gram[2] = 0;
	cr_assert(gptq_run(&g, w, q));
	cr_assert_eq(q[0] + q[1], 0);
	/* Inputs that were always 0 say nothing. */
	gram[0] = gram[3] = 0;
	cr_assert(!gptq_run(&g, w, q));
}

/* 9990 values up to 1 on either side of 0, and ten of 100. */
static struct stats *with_outliers(void)
{
	struct stats *s = stats_new(&arena, "x", -1, 1, false);

	for (int i = 0; i < 10000; i++) {
		float v = i < 10 ? 100 : (float)(i % 200 - 100) / 100;

		stats_add(s, &v, 1, 1);
	}
	return s;
}

Test(profile, ranges_are_narrowed_when_asked)
{
	struct stats *s = with_outliers();
	float lo, hi, one = 1;

	stats_range(s, &lo, &hi);
	cr_assert(stats_narrow(s, RANGE_ALL, 0, &lo, &hi) && hi == 100);
	cr_assert(stats_narrow(s, RANGE_PERCENTILE, 2e-3, &lo, &hi));
	cr_assert(hi >= 0.99f && hi < 1.2f && lo == -1);
	stats_range(s, &lo, &hi);
	cr_assert(stats_narrow(s, RANGE_MSE, 0, &lo, &hi));
	cr_assert(hi > 50 && hi <= 100 && lo >= -1 && lo <= 0);
	/* Bins of scaled channels say nothing. */
	stats_scale(s, &one);
	cr_assert(!stats_narrow(s, RANGE_MSE, 0, &lo, &hi));
}

Test(profile, remembers_the_least_hashes)
{
	static struct profile p, q, ab, ba;

	for (uint64_t i = 0; i < 2 * MAX_SEEN; i++)
		profile_see(i % 2 ? &p : &q, i * 0x9e3779b97f4a7c15u);
	cr_assert(p.n_seen == MAX_SEEN && q.n_seen == MAX_SEEN);
	for (uint64_t i = 0; i < 4; i++)
		cr_assert(profile_saw(i % 2 ? &p : &q,
				      i * 0x9e3779b97f4a7c15u) &&
			  !profile_saw(&p, i + 77));
	for (size_t i = 0; i < MAX_SEEN; i++) {
		profile_see(&ab, p.seen[i]);
		profile_see(&ba, q.seen[i]);
	}
	for (size_t i = 0; i < MAX_SEEN; i++) {
		profile_see(&ab, q.seen[i]);
		profile_see(&ba, p.seen[i]);
	}
	cr_assert(ab.n_seen == MAX_SEEN &&
		  !memcmp(ab.seen, ba.seen, sizeof(ab.seen)));
	profile_see(&ab, ab.seen[0]);
	cr_assert(!memcmp(ab.seen, ba.seen, sizeof(ab.seen)));
}
