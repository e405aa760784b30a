/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention thread by thread.  Of 128 threads 16 side by side share rows, mr /
 * 8 for each: a row's maximum is by shuffles, and nobody else needs a row's
 * exponentials.  Queries stay in shared memory; keys, 32 elements of each at a
 * time, and values, some rows at a time, take turns.
 */
#include "codegen/ptx/attend_code.h"

enum {
	THREADS = 128,
	ACROSS = 16,		/* threads that share rows */
	CHUNK = 2048,		/* elements of values at a time */
};

/* Elements of shared memory. */
static int64_t queries(const struct attend_code *a)
{
	return a->mr * a->f[Q].stride;
}

static int64_t exponentials(const struct attend_code *a)
{
	return a->mr * (a->nr + PAD);
}

void attend_squares_describe(struct attend_code *a)
{
	struct factor *f = a->f;
	int64_t part = a->depth > 16 ? 32 : 16, wide, key, value;

	a->threads = THREADS;
	a->rows = a->mr * ACROSS / THREADS;
	a->run = a->width <= ACROSS ? 1 : a->width <= 2 * ACROSS ? 2 : SQUARE;
	a->runs = (a->width + ACROSS * a->run - 1) / (ACROSS * a->run);
	wide = ACROSS * a->run * a->runs;
	f[Q].rows = a->mr;
	f[K].rows = f[V].rows = a->nr;
	while (f[V].rows * wide > CHUNK)
		f[V].rows /= 2;
	f[Q].cols = f[K].cols = part;
	f[V].cols = wide;
	f[Q].stride = (a->depth + part - 1) / part * part + PAD;
	f[K].stride = part + PAD;
	f[V].stride = wide + PAD;
	key = f[K].rows * f[K].stride;
	value = f[V].rows * f[V].stride;
	a->k->shared_bytes = (unsigned)(queries(a) + exponentials(a) +
					(key > value ? key : value)) * WORD;
}

/* The sums of some columns: s[r][c]. */
static void put_products(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = a->f;

	cu_line(k, "#pragma unroll 2");
	cu_line(k, "for (int d = 0; d < %lld; d += %d) {", (long long)f[K].cols,
		SQUARE);
	k->depth++;
	cu_line(k, "float x[%lld][%d], y[%d][%d];", (long long)a->rows, SQUARE,
		SQUARE, SQUARE);
	attend_loop(k, "r", a->rows, false);
	attend_loop(k, "i", SQUARE, false);
	cu_line(k, "x[r][i] = shared_q[(ty * %lld + r) * %lld + d0 + d + i];",
		(long long)a->rows, (long long)f[Q].stride);
	k->depth -= 2;
	attend_loop(k, "c", SQUARE, false);
	attend_loop(k, "i", SQUARE, false);
	cu_line(k, "y[c][i] = shared_k[(tx + c * %d) * %lld + d + i];", ACROSS,
		(long long)f[K].stride);
	k->depth -= 2;
	attend_loop(k, "i", SQUARE, false);
	attend_loop(k, "r", a->rows, false);
	attend_loop(k, "c", SQUARE, false);
	cu_line(k, "s[r][c] = fmaf(x[r][i], y[c][i], s[r][c]);");
	k->depth -= 3;
	attend_end(k);
}

static void put_scores(struct attend_code *a)
{
	struct cu *k = a->k;

	attend_loop(k, "r", a->rows, false);
	attend_loop(k, "c", SQUARE, true);
	cu_line(k, "const int m = ty * %lld + r;", (long long)a->rows);
	cu_line(k, "const %s n = key0 + tx + c * %d;", a->index, ACROSS);
	attend_score(a, "s[r][c]");
	cu_line(k, "s[r][c] = score;");
	attend_end(k);
	k->depth--;
}

/* The new maximum of each row, and the exponentials: to shared memory. */
static void put_softmax(struct attend_code *a)
{
	struct cu *k = a->k;

	attend_loop(k, "r", a->rows, true);
	cu_line(k, "float next = most[r];");
	attend_loop(k, "c", SQUARE, false);
	cu_line(k, "next = dl_max(next, s[r][c]);");
	k->depth--;
	attend_rescale(a, "most[r]", ACROSS);
	cu_line(k, "total[r] *= scale;");
	attend_loop(k, "c", a->run * a->runs, false);
	cu_line(k, "acc[r][c] *= scale;");
	k->depth--;
	attend_loop(k, "c", SQUARE, true);
	cu_line(k, "const float p = expf(s[r][c] - base);");
	cu_line(k, "total[r] += p;");
	cu_line(k, "shared_p[(ty * %lld + r) * %lld + tx + c * %d] = p;",
		(long long)a->rows, (long long)(a->nr + PAD), ACROSS);
	attend_end(k);
	attend_end(k);
}

static void put_sums(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = &a->f[V];
	long long run = a->run;

	cu_line(k, "#pragma unroll 2");
	cu_line(k, "for (int n = 0; n < %lld; n += %d) {", (long long)f->rows,
		SQUARE);
	k->depth++;
	cu_line(k, "float x[%lld][%d];", (long long)a->rows, SQUARE);
	attend_loop(k, "r", a->rows, false);
	attend_loop(k, "i", SQUARE, false);
	cu_line(k, "x[r][i] = shared_p[(ty * %lld + r) * %lld + j0 + n + i];",
		(long long)a->rows, (long long)(a->nr + PAD));
	k->depth -= 2;
	attend_loop(k, "i", SQUARE, false);
	attend_loop(k, "c", a->run * a->runs, true);
	cu_line(k, "const float y = shared_v[(n + i) * %lld + c / %lld * "
		"%lld + tx * %lld + c %% %lld];", (long long)f->stride, run,
		ACROSS * run, run, run);
	attend_loop(k, "r", a->rows, false);
	cu_line(k, "acc[r][c] = fmaf(x[r][i], y, acc[r][c]);");
	k->depth--;
	attend_end(k);
	k->depth--;
	attend_end(k);
}

/* ---- the walk ------------------------------------------------------- */

static void put_start(struct attend_code *a)
{
	struct cu *k = a->k;
	long long rows = a->rows;

	cu_line(k, "const int tx = dl_thread() %% %d, ty = dl_thread() / %d;",
		ACROSS, ACROSS);
	cu_line(k, "float *const shared_q = (float *)dl_dynamic;");
	cu_line(k, "float *const shared_p = shared_q + %lld;",
		(long long)queries(a));
	cu_line(k, "float *const shared_k = shared_p + %lld;",
		(long long)exponentials(a));
	cu_line(k, "float *const shared_v = shared_k;");
	for (unsigned i = 0; i < N_FACTORS; i++)
		attend_load(a, &a->f[i]);
	cu_line(k, "float acc[%lld][%lld] = {}, total[%lld] = {}, "
		"most[%lld];", rows, (long long)(a->run * a->runs), rows, rows);
	attend_loop(k, "r", rows, false);
	cu_line(k, "most[r] = dl_f32(0xff800000);");
	k->depth--;
}

/* All of the block's queries. */
static void put_queries(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = &a->f[Q];

	cu_line(k, "for (int d0 = 0; d0 < %lld; d0 += %lld) {",
		(long long)f->depth, (long long)f->cols);
	k->depth++;
	cu_line(k, "load_q(0, d0);");
	attend_share(a, f, " + d0");
	attend_end(k);
}

static void put_keys(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = &a->f[K];

	cu_line(k, "float s[%lld][%d] = {};", (long long)a->rows, SQUARE);
	cu_line(k, "#pragma unroll 1");
	cu_line(k, "for (int d0 = 0; d0 < %lld; d0 += %lld) {",
		(long long)a->depth, (long long)f->cols);
	k->depth++;
	cu_line(k, "dl_barrier();");
	attend_share(a, f, "");
	cu_line(k, "dl_barrier();");
	cu_line(k, "if (d0 + %lld < %lld)", (long long)f->cols,
		(long long)a->depth);
	cu_line(k, "\tload_k(key0, d0 + %lld);", (long long)f->cols);
	cu_line(k, "else");
	cu_line(k, "\tload_v(key0, 0);");
	put_products(a);
	attend_end(k);
}

static void put_values(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = &a->f[V];

	cu_line(k, "#pragma unroll 1");
	cu_line(k, "for (int j0 = 0; j0 < %lld; j0 += %lld) {",
		(long long)a->nr, (long long)f->rows);
	k->depth++;
	cu_line(k, "dl_barrier();");
	attend_share(a, f, "");
	cu_line(k, "dl_barrier();");
	cu_line(k, "if (j0 + %lld < %lld)", (long long)f->rows,
		(long long)a->nr);
	cu_line(k, "\tload_v(key0 + j0 + %lld, 0);", (long long)f->rows);
	cu_line(k, "else if (key0 + %lld < %s)", (long long)a->nr, a->limit);
	cu_line(k, "\tload_k(key0 + %lld, 0);", (long long)a->nr);
	put_sums(a);
	attend_end(k);
}

static void put_results(struct attend_code *a)
{
	struct cu *k = a->k;
	long long run = a->run;

	attend_loop(k, "r", a->rows, true);
	cu_line(k, "for (int d = %d; d; d /= 2)", ACROSS / 2);
	cu_line(k, "\ttotal[r] += dl_shuffle_xor(total[r], d);");
	cu_line(k, "const int m = ty * %lld + r;", (long long)a->rows);
	attend_loop(k, "c", a->run * a->runs, true);
	cu_line(k, "const int e = c / %lld * %lld + tx * %lld + c %% %lld;",
		run, run * ACROSS, run, run);
	attend_result(a, "acc[r][c]", "total[r]", "most[r]");
	attend_end(k);
	attend_part(a, "tx == 0", "total[r]", "most[r]");
	attend_end(k);
}

void attend_squares(struct attend_code *a)
{
	struct cu *k = a->k;

	put_start(a);
	put_queries(a);
	cu_line(k, "load_k(%s, 0);", a->first);
	cu_line(k, "for (%s key0 = %s; key0 < %s; key0 += %lld) {", a->index,
		a->first, a->limit, (long long)a->nr);
	k->depth++;
	put_keys(a);
	put_scores(a);
	put_softmax(a);
	put_values(a);
	attend_end(k);
	put_results(a);
}
