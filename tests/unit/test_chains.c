/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of quads: they add up to the weights, and fit 16 bits. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "passes/nest/chains.h"

static uint32_t seed;

static uint32_t next(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* Near 0, as a sum of three; a few are at the ends. */
static int8_t weight(uint32_t spread, uint32_t ends)
{
	uint32_t n = 2 * spread + 1;

	if (ends && !next(ends))
		return next(2) ? 127 : -128;
	return (int8_t)((int)((next(n) + next(n) + next(n)) / 3) -
			(int)spread);
}

static void expect_fits(const struct chains *c, unsigned cols)
{
	size_t at = 0;

	for (unsigned len = MIN_CHAIN; len <= MAX_CHAIN; len++)
		for (uint32_t k = 0; k < c->n[len]; k++, at += len)
			for (unsigned pair = 0; pair < 2 * cols; pair++) {
				int up = 0, down = 0;

				for (unsigned i = 0; i < 2 * len; i++) {
					size_t j = (at + i / 2) * 4 * cols +
						   2 * pair + i % 2;
					int w = c->w.v[j];

					up += w > 0 ? 255 * w : 0;
					down += w < 0 ? 255 * w : 0;
				}
				cr_assert(up <= INT16_MAX && down >= INT16_MIN);
			}
	cr_assert_eq(at, c->first.n);
	cr_assert_eq(at * 4 * cols, c->w.n);
}

static void expect_same(const struct chains *c, const int8_t *w, size_t n,
			size_t run, unsigned cols)
{
	size_t quad = 4 * (size_t)cols;
	int *sum = calloc(n * quad + 1, sizeof(*sum));

	for (size_t i = 0; i < c->first.n; i++) {
		size_t at = c->first.v[i];

		/* Within one run. */
		cr_assert_eq(at / (4 * run), (at + 3) / (4 * run));
		for (size_t k = 0; k < quad; k++) {
			size_t byte = at + k % 4;

			sum[byte / 4 * quad + k / 4 * 4 + byte % 4] +=
				c->w.v[i * quad + k];
		}
	}
	for (size_t i = 0; i < n * quad; i++)
		cr_assert_eq(sum[i], w[i]);
	free(sum);
}

Test(chains, are_exact)
{
	static const unsigned columns[] = { 4, 8, 16 };
	static const uint32_t ends[] = { 0, 1, 3, 50, 1000 };

	for (unsigned i = 0; i < 300; i++) {
		unsigned cols = columns[i % 3];
		size_t runs = next(4), run = i % 7 == 6 ? 300 : 1 + next(20);
		size_t n = runs * run;
		int8_t *w = malloc(n * 4 * cols + 1);
		uint32_t spread = 1 + next(127), often = ends[i % 5];
		struct chains a, b;

		for (size_t k = 0; k < n * 4 * cols; k++)
			w[k] = weight(spread, often);
		chains_pack(w, n, run, cols, &a);
		expect_fits(&a, cols);
		expect_same(&a, w, n, run, cols);
		chains_pack(w, n, run, cols, &b);
		cr_assert(!memcmp(a.n, b.n, sizeof(a.n)));
		cr_assert(a.w.n == b.w.n &&
			  (!a.w.n || !memcmp(a.w.v, b.w.v, a.w.n)));
		chains_free(&a);
		chains_free(&b);
		free(w);
	}
}

/* Small weights need one widening for three quads. */
Test(chains, are_long_where_they_can)
{
	int8_t w[9 * 32];
	struct chains c;

	memset(w, 20, sizeof(w));
	chains_pack(w, 9, 3, 8, &c);
	cr_assert_eq(c.n[3], 3);
	cr_assert_eq(c.first.n, 9);
	cr_assert_eq(chains_cost(&c), 21);
	chains_free(&c);
}
