/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPTQ (Frantar et al. 2022, algorithm 1): rows of a weight are rounded in
 * order, and what rounding a row changes in the result, over the inputs that
 * the Gram matrix H = sum of x x' stands for, is made good as far as possible
 * by the rows that follow.  With U the upper factor of the inverse of H,
 * U' U, which is the transposed Cholesky factor of M' M where M is the inverse
 * of H's own,
 *
 *	error = (w[k] - round(w[k])) / U[k][k]
 *	w[j] -= error * U[k][j]			for j > k
 *
 * H is damped by a hundredth of its mean diagonal.  Everything is in double.
 */
#include <math.h>
#include <stdlib.h>

#include "passes/graph/quantize/quantize.h"

static const double damping = 0.01;

/* In eight sums, so that additions need not wait for each other. */
static double dot(const double *a, const double *b, int64_t n)
{
	enum { LANES = 8 };
	double s[LANES] = { 0 }, sum = 0;
	int64_t k = 0;

	for (; k + LANES <= n; k += LANES)
		for (int i = 0; i < LANES; i++)
			s[i] += a[k + i] * b[k + i];
	for (; k < n; k++)
		sum += a[k] * b[k];
	for (int i = 0; i < LANES; i++)
		sum += s[i];
	return sum;
}

/* a = L L' in the lower half; false when it is not positive definite. */
static bool cholesky(double *a, int64_t n)
{
	for (int64_t j = 0; j < n; j++) {
		double *row = a + j * n, d = row[j] - dot(row, row, j);

		if (!(d > 0) || !isfinite(d))
			return false;
		row[j] = sqrt(d);
		for (int64_t i = j + 1; i < n; i++) {
			double *other = a + i * n;

			other[j] = (other[j] - dot(other, row, j)) / row[j];
		}
	}
	return true;
}

/* The lower factor's inverse, in place, row by row. */
static void invert_lower(double *a, int64_t n)
{
	double *sum = xrealloc(NULL, (size_t)n, sizeof(*sum));

	for (int64_t i = 0; i < n; i++) {
		double *row = a + i * n, d = 1 / row[i];

		for (int64_t j = 0; j < i; j++)
			sum[j] = 0;
		for (int64_t k = 0; k < i; k++)
			for (int64_t j = 0; j <= k; j++)
				sum[j] += row[k] * a[k * n + j];
		for (int64_t j = 0; j < i; j++)
			row[j] = -sum[j] * d;
		row[i] = d;
	}
	free(sum);
}

/* The lower half of a' a, where a is lower. */
static void square_lower(const double *a, double *out, int64_t n)
{
	for (int64_t i = 0; i < n * n; i++)
		out[i] = 0;
	for (int64_t k = 0; k < n; k++)
		for (int64_t i = 0; i <= k; i++)
			for (int64_t j = 0; j <= i; j++)
				out[i * n + j] += a[k * n + i] * a[k * n + j];
}

static void transpose(double *a, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		for (int64_t j = 0; j < i; j++) {
			a[j * n + i] = a[i * n + j];
			a[i * n + j] = 0;
		}
}

/* U, malloc'ed; NULL when the matrix says nothing. */
static double *inverse_factor(const struct gptq *g)
{
	int64_t n = g->k;
	size_t size = (size_t)n * (size_t)n;
	double *h = xrealloc(NULL, size, sizeof(*h)), mean = 0;
	double *u = xrealloc(NULL, size, sizeof(*u));

	for (int64_t i = 0; i < n; i++)
		mean += g->gram[i * n + i] / (double)n;
	for (int64_t i = 0; i < n * n; i++)
		h[i] = g->gram[i];
	for (int64_t i = 0; i < n; i++)
		h[i * n + i] += damping * mean;
	bool ok = mean > 0 && cholesky(h, n);

	if (ok) {
		invert_lower(h, n);
		square_lower(h, u, n);
		ok = cholesky(u, n);
		transpose(u, n);
	}
	free(h);
	if (!ok) {
		free(u);
		return NULL;
	}
	return u;
}

static void carry_column(const struct gptq *g, const double *u, int64_t n,
			 float *col, int *q, double *left, float *now)
{
	for (int64_t k = 0; k < g->k; k++)
		left[k] = col[k];
	for (int64_t k = 0; k < g->k; k++) {
		if (!k || (g->block && k % g->block == 0)) {
			for (int64_t j = k; j < g->k; j++)
				now[j] = (float)left[j];
			g->set_grid(g->arg, k, n, now);
		}
		col[k] = g->round(g->arg, k, n, (float)left[k], &q[k]);
		double error = (left[k] - (double)col[k]) / u[k * g->k + k];

		for (int64_t j = k + 1; j < g->k; j++)
			left[j] -= error * u[k * g->k + j];
	}
}

/* w and q are [n][k]: a column of the weight after the other. */
bool gptq_run(const struct gptq *g, float *w, int *q)
{
	double *u = inverse_factor(g);
	bool ok = u != NULL;
	double *left = xrealloc(NULL, (size_t)g->k + 1, sizeof(*left));
	float *now = xrealloc(NULL, (size_t)g->k + 1, sizeof(*now));

	for (int64_t n = 0; ok && n < g->n; n++)
		carry_column(g, u, n, w + n * g->k, q + n * g->k, left, now);
	free(left);
	free(now);
	free(u);
	return ok;
}
