/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention of few queries, which waits for memory: as many lanes as a key has
 * vectors of 16 bytes take a key together, all threads some keys each step, and
 * values likewise.  Queries are in registers; the lanes of a key add up their
 * products by shuffles.  Each such group of lanes has a maximum, a total and
 * sums of its own until the keys are through; then those of a warp are joined
 * by shuffles and those of the warps through shared memory, by the rule for
 * parts of keys (Dao et al., "Flash-Decoding for long-context inference").
 */
#include "codegen/ptx/attend_code.h"

enum {
	THREADS = 128,
	HEAD = 2,		/* maximum and total, ahead of a warp's sums */
};

/* Vectors of a row that a lane has. */
static int64_t chunks(const struct attend_code *a, const struct factor *f)
{
	return f->cols / a->lanes / f->vector;
}

/* Elements of a row that a lane has. */
static int64_t own(const struct attend_code *a, const struct factor *f)
{
	return f->cols / a->lanes;
}

/* Groups of lanes, each with a key. */
static unsigned groups(const struct attend_code *a)
{
	return a->threads / a->lanes;
}

void attend_lanes_describe(struct attend_code *a)
{
	struct factor *f = a->f;
	int64_t all;

	a->threads = THREADS;
	a->lanes = 1;
	for (unsigned i = K; i <= V; i++) {
		if (!f[i].along)
			f[i].vector = 1;
		while (a->lanes < WARP && a->lanes * f[i].vector < f[i].depth)
			a->lanes *= 2;
	}
	for (unsigned i = K; i <= V; i++) {
		all = a->lanes * f[i].vector;
		f[i].rows = groups(a) * a->nr;
		f[i].cols = (f[i].depth + all - 1) / all * all;
	}
	a->k->shared_bytes = (unsigned)(THREADS / WARP * a->mr *
					(HEAD + a->width)) * WORD;
}

/* ---- loads ---------------------------------------------------------- */

/* The column where the lane's vector number c of a row is. */
static void put_column(struct attend_code *a, const struct factor *f,
		       const char *c, const char *plus)
{
	cu_line(a->k, "const int col = (%s * %u + lane) * %lld%s;", c, a->lanes,
		(long long)f->vector, plus);
}

/* x[r][j]: what the lane has of the queries, as of the keys. */
static void put_queries(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = &a->f[K];
	const struct value *v = a->op->region[Q].block->last->in[0].val;
	long long vector = f->vector;

	cu_line(k, "float x[%lld][%lld];", (long long)a->mr,
		(long long)own(a, f));
	attend_loop(k, "r", a->mr, false);
	attend_loop(k, "j", own(a, f), true);
	put_column(a, f, arena_fmt(&k->c->temp, "j / %lld", vector),
		   arena_fmt(&k->c->temp, " + j %% %lld", vector));
	cu_line(k, "x[r][j] = 0.0f;");
	cu_line(k, "if (col < %lld) {", (long long)a->depth);
	k->depth++;
	attend_region(a, Q, "r", "col");
	cu_line(k, "x[r][j] = %s;", cu_val(k, v));
	attend_end(k);
	attend_end(k);
	k->depth--;
}

/* reg[u * chunks + c]: vector c of the group's key number u of the step. */
static void put_load(struct attend_code *a, const struct factor *f)
{
	struct cu *k = a->k;
	long long n = chunks(a, f);

	cu_line(k, "%s reg_%s[%lld];",
		f->vector > 1 ? "uint4" : cu_mem_type(f->type), f->name,
		(long long)a->nr * n);
	attend_loop(k, "e", a->nr * n, true);
	cu_line(k, "const %s row = key0 + e / %lld * %u + group;", a->index, n,
		groups(a));
	put_column(a, f, arena_fmt(&k->c->temp, "e %% %lld", n), "");
	attend_element(a, f);
	attend_end(k);
}

/* y = element j of what the lane has of the row of key u. */
static void put_number(struct attend_code *a, const struct factor *f)
{
	struct cu *k = a->k;
	long long v = f->vector;
	const char *x = arena_fmt(&k->c->temp, "reg_%s[u * %lld + j / %lld]",
				  f->name, (long long)chunks(a, f), v);

	if (v > 1)
		x = arena_fmt(&k->c->temp, "((const %s *)&%s)[j %% %lld]",
			      cu_mem_type(f->type), x, v);
	cu_line(k, "const float y = %s;", cu_from_mem(k, f->type, x));
}

/* ---- a step --------------------------------------------------------- */

static void put_products(struct attend_code *a)
{
	struct cu *k = a->k;

	cu_line(k, "float s[%lld][%lld] = {};", (long long)a->nr,
		(long long)a->mr);
	attend_loop(k, "u", a->nr, false);
	attend_loop(k, "j", own(a, &a->f[K]), true);
	put_number(a, &a->f[K]);
	attend_loop(k, "r", a->mr, false);
	cu_line(k, "s[u][r] = fmaf(x[r][j], y, s[u][r]);");
	k->depth--;
	attend_end(k);
	k->depth--;
}

static void put_scores(struct attend_code *a)
{
	struct cu *k = a->k;

	attend_loop(k, "u", a->nr, false);
	attend_loop(k, "r", a->mr, true);
	if (a->lanes > 1)
		cu_line(k, "for (int d = %u; d; d /= 2)", a->lanes / 2);
	if (a->lanes > 1)
		cu_line(k, "\ts[u][r] += dl_shuffle_xor(s[u][r], d);");
	cu_line(k, "const int m = r;");
	cu_line(k, "const %s n = key0 + u * %u + group;", a->index, groups(a));
	attend_score(a, "s[u][r]");
	cu_line(k, "s[u][r] = score;");
	attend_end(k);
	k->depth--;
}

/* What was added up before is scaled to the new maximum. */
static void put_scaled(struct attend_code *a)
{
	struct cu *k = a->k;

	cu_line(k, "total[r] *= scale;");
	attend_loop(k, "j", own(a, &a->f[V]), false);
	cu_line(k, "acc[r][j] *= scale;");
	k->depth--;
}

static void put_softmax(struct attend_code *a)
{
	struct cu *k = a->k;

	attend_loop(k, "r", a->mr, true);
	cu_line(k, "float next = most[r];");
	attend_loop(k, "u", a->nr, false);
	cu_line(k, "next = dl_max(next, s[u][r]);");
	k->depth--;
	attend_rescale(a, "most[r]", 1);
	put_scaled(a);
	attend_loop(k, "u", a->nr, true);
	cu_line(k, "s[u][r] = expf(s[u][r] - base);");
	cu_line(k, "total[r] += s[u][r];");
	attend_end(k);
	attend_end(k);
}

static void put_sums(struct attend_code *a)
{
	struct cu *k = a->k;

	attend_loop(k, "u", a->nr, false);
	attend_loop(k, "j", own(a, &a->f[V]), true);
	put_number(a, &a->f[V]);
	attend_loop(k, "r", a->mr, false);
	cu_line(k, "acc[r][j] = fmaf(s[u][r], y, acc[r][j]);");
	k->depth--;
	attend_end(k);
	k->depth--;
}

/* ---- the end -------------------------------------------------------- */

/* The groups of a warp: all have what comes of them. */
static void put_warp(struct attend_code *a)
{
	struct cu *k = a->k;

	if (a->lanes == WARP)
		return;
	attend_loop(k, "r", a->mr, true);
	cu_line(k, "float next = most[r];");
	attend_rescale(a, "most[r]", WARP);
	put_scaled(a);
	cu_line(k, "for (int d = %d; d >= %u; d /= 2) {", WARP / 2, a->lanes);
	k->depth++;
	cu_line(k, "total[r] += dl_shuffle_xor(total[r], d);");
	attend_loop(k, "j", own(a, &a->f[V]), false);
	cu_line(k, "acc[r][j] += dl_shuffle_xor(acc[r][j], d);");
	k->depth--;
	attend_end(k);
	attend_end(k);
}

/* Maximum, total and sums of each warp and query: to shared memory. */
static void put_share(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = &a->f[V];
	long long row = HEAD + a->width, v = f->vector;

	cu_line(k, "float *const shared = (float *)dl_dynamic;");
	/* All have read the block's last ones. */
	cu_line(k, "dl_barrier();");
	cu_line(k, "if (dl_thread() %% %d < %u) {", WARP, a->lanes);
	k->depth++;
	attend_loop(k, "r", a->mr, true);
	cu_line(k, "float *const to = shared + (dl_thread() / %d * %lld + r) "
		"* %lld;", WARP, (long long)a->mr, row);
	cu_line(k, "if (lane == 0) {");
	cu_line(k, "\tto[0] = most[r];");
	cu_line(k, "\tto[1] = total[r];");
	cu_line(k, "}");
	attend_loop(k, "j", own(a, f), true);
	put_column(a, f, arena_fmt(&k->c->temp, "j / %lld", v),
		   arena_fmt(&k->c->temp, " + j %% %lld", v));
	cu_line(k, "if (col < %lld)", (long long)a->width);
	cu_line(k, "\tto[%d + col] = acc[r][j];", HEAD);
	attend_end(k);
	attend_end(k);
	attend_end(k);
	cu_line(k, "dl_barrier();");
}

/* top, all and, with `sum`, that: of query m, and column e, of all warps. */
static void put_join(struct attend_code *a, bool sum)
{
	struct cu *k = a->k;
	long long row = HEAD + a->width;

	cu_line(k, "const float *const from = shared + m * %lld;", row);
	cu_line(k, "float top = from[0], all = 0.0f%s;",
		sum ? ", sum = 0.0f" : "");
	cu_line(k, "for (int w = 1; w < %d; w++)", THREADS / WARP);
	cu_line(k, "\ttop = dl_max(top, from[w * %lld]);", a->mr * row);
	cu_line(k, "for (int w = 0; w < %d; w++) {", THREADS / WARP);
	k->depth++;
	cu_line(k, "const float *const at = from + w * %lld;", a->mr * row);
	cu_line(k, "const float weight = expf(at[0] - (top == "
		"dl_f32(0xff800000) ? 0.0f : top));");
	cu_line(k, "all += weight * at[1];");
	if (sum)
		cu_line(k, "sum += weight * at[%d + e];", HEAD);
	attend_end(k);
}

static void put_results(struct attend_code *a)
{
	struct cu *k = a->k;

	cu_line(k, "for (int at = dl_thread(); at < %lld; at += %d) {",
		(long long)(a->mr * a->width), THREADS);
	k->depth++;
	cu_line(k, "const int m = at / %lld, e = at %% %lld;",
		(long long)a->width, (long long)a->width);
	put_join(a, true);
	attend_result(a, "sum", "all", "top");
	attend_end(k);
	if (!a->part)
		return;
	cu_line(k, "if (dl_thread() < %lld) {", (long long)a->mr);
	k->depth++;
	cu_line(k, "const int m = dl_thread();");
	put_join(a, false);
	attend_part(a, "true", "all", "top");
	attend_end(k);
}

void attend_lanes(struct attend_code *a)
{
	struct cu *k = a->k;
	long long rows = a->mr;

	cu_line(k, "const int lane = dl_thread() %% %u, group = dl_thread() / "
		"%u;", a->lanes, a->lanes);
	put_queries(a);
	cu_line(k, "float acc[%lld][%lld] = {}, total[%lld] = {}, most[%lld];",
		rows, (long long)own(a, &a->f[V]), rows, rows);
	attend_loop(k, "r", rows, false);
	cu_line(k, "most[r] = dl_f32(0xff800000);");
	k->depth--;
	cu_line(k, "#pragma unroll 1");
	cu_line(k, "for (%s key0 = %s; key0 < %s; key0 += %lld) {", a->index,
		a->first, a->limit, (long long)a->f[K].rows);
	k->depth++;
	put_load(a, &a->f[K]);
	put_load(a, &a->f[V]);
	put_products(a);
	put_scores(a);
	put_softmax(a);
	put_sums(a);
	attend_end(k);
	put_warp(a);
	put_share(a);
	put_results(a);
}
