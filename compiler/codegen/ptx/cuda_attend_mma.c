/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention on tensor cores (Dao, "FlashAttention-2", section 3).  A warp has
 * 16 queries, whose fragments it keeps, and all keys of a step.  Where the sums of
 * mma.m16n8 are in its threads is where the next one wants its first factor,
 * two tiles of half floats beside each other, so that exponentials stay where
 * they are.  Of tf32 a tile is a factor when columns 2t and 2t + 1 are taken
 * for t and t + 4: rows of values are read in that order.
 *
 * Values lie in rows of keys, which is what the sum runs over: half floats are
 * turned on the way from shared memory (ldmatrix.trans).
 */
#include "codegen/ptx/attend_code.h"

enum {
	SIDE = 16,		/* rows of a fragment, or columns of two */
};

static bool is_half(const struct attend_code *a)
{
	return a->fp32 == FP32_IEEE;
}

static long long words(const struct attend_code *a, long long elements)
{
	return is_half(a) ? elements / 2 : elements;
}

/* Elements of a row that one mma takes. */
static int64_t step(const struct attend_code *a)
{
	return is_half(a) ? 2 * MMA_WORDS : MMA_WORDS;
}

void attend_mma_describe(struct attend_code *a)
{
	bool copies = a->k->c->target->gpu[0]->mma;
	struct factor *f = a->f;
	int64_t bytes = 0;

	a->threads = (unsigned)a->mr / SIDE * WARP;
	f[Q].rows = a->mr;
	f[K].rows = f[V].rows = a->nr;
	for (unsigned i = 0; i < N_FACTORS; i++) {
		int64_t size = (int64_t)dtype_size(f[i].type);

		f[i].cols = (f[i].depth + SIDE - 1) / SIDE * SIDE;
		f[i].stride = f[i].cols + PAD * WORD / size;
		f[i].copies = copies && i != Q && f[i].along &&
			      f[i].vector > 1;
		bytes += f[i].rows * f[i].stride * size;
	}
	a->k->shared_bytes = (unsigned)bytes;
}

/* "dl_mma_f16" */
static const char *mma_name(const struct attend_code *a)
{
	if (a->fp32 != FP32_IEEE)
		return a->fp32 == FP32_TF32 ? "dl_mma_tf32" : "dl_mma_tf32x3";
	return arena_fmt(&a->k->c->temp, "dl_mma_%s",
			 dtype_info[a->f[Q].type].name);
}

static void put_rounded(struct attend_code *a, const char *name)
{
	if (a->fp32 == FP32_TF32)
		cu_line(a->k, "dl_round_tf32(%s);", name);
}

/* ---- products ------------------------------------------------------- */

static void put_start(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = a->f;
	const char *type = cu_mem_type(f[Q].type);
	long long at = 0;

	cu_line(k, "const int lane = dl_thread() %% %d, warp = dl_thread() / "
		"%d;", WARP, WARP);
	for (unsigned i = 0; i < N_FACTORS; i++) {
		cu_line(k, "%s *const shared_%s = (%s *)dl_dynamic + %lld;",
			type, f[i].name, type, at);
		at += f[i].rows * f[i].stride;
	}
	for (unsigned i = 0; i < N_FACTORS; i++)
		attend_load(a, &f[i]);
	cu_line(k, "float acc[%lld][4] = {}, total[2] = {};",
		(long long)f[V].cols / 8);
	cu_line(k, "float most[2] = { dl_f32(0xff800000), "
		"dl_f32(0xff800000) };");
}

/* Fragments of queries are read once where there are registers for them. */
static bool keeps_queries(const struct attend_code *a)
{
	enum { FEW = 64 };

	return is_half(a) &&
	       (a->f[Q].cols <= FEW || a->k->c->target->gpu[0]->mma);
}

/* x[to] = the warp's fragment number i. */
static void put_fragment(struct attend_code *a, const char *to)
{
	const struct factor *f = &a->f[Q];
	long long row = words(a, f->stride);

	cu_line(a->k, "dl_fragment_a(x[%s], (const u32 *)shared_q + "
		"warp * %lld + i * %d, %lld);", to, SIDE * row, MMA_WORDS, row);
}

/* All have read the block's last ones. */
static void put_queries(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = &a->f[Q];
	long long n = f->cols / step(a);

	cu_line(k, "dl_barrier();");
	cu_line(k, "load_q(0, 0);");
	attend_share(a, f, "");
	cu_line(k, "if (%s < %s)", a->first, a->limit);
	cu_line(k, "\tload_k(%s, 0);", a->first);
	cu_line(k, "dl_barrier();");
	if (!keeps_queries(a))
		return;
	cu_line(k, "u32 x[%lld][4];", n);
	attend_loop(k, "i", n, false);
	put_fragment(a, "i");
	k->depth--;
}

/* What was on its way is there, and all threads are done with what was in the
 * other one's place. */
static void put_arrival(struct attend_code *a, const struct factor *f)
{
	struct cu *k = a->k;

	if (f->copies) {
		cu_line(k, "dl_copy_wait<0>();");
	} else {
		attend_share(a, f, "");
	}
	cu_line(k, "dl_barrier();");
}

static void put_products(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = &a->f[K];
	long long row = words(a, f->stride);
	const char *x = keeps_queries(a) ? "x[i]" : "x[0]";

	cu_line(k, "float s[%lld][4] = {};", (long long)a->nr / 8);
	attend_loop(k, "i", f->cols / step(a), true);
	if (!keeps_queries(a)) {
		cu_line(k, "u32 x[1][4];");
		put_fragment(a, "0");
		put_rounded(a, "x");
	}
	attend_loop(k, "c", a->nr / SIDE, true);
	cu_line(k, "u32 y[2][2];");
	cu_line(k, "dl_fragments_b(y, (const u32 *)shared_k + c * %lld + "
		"i * %d, %lld);", SIDE * row, MMA_WORDS, row);
	put_rounded(a, "y");
	cu_line(k, "%s(s[2 * c], %s, y[0]);", mma_name(a), x);
	cu_line(k, "%s(s[2 * c + 1], %s, y[1]);", mma_name(a), x);
	attend_end(k);
	attend_end(k);
}

/* ---- scores --------------------------------------------------------- */

static void put_scores(struct attend_code *a)
{
	struct cu *k = a->k;

	attend_loop(k, "c", a->nr / 8, false);
	attend_loop(k, "i", 4, true);
	cu_line(k, "const int m = warp * %d + lane / 4 + i / 2 * 8;", SIDE);
	cu_line(k, "const %s n = key0 + c * 8 + lane %% 4 * 2 + i %% 2;",
		a->index);
	attend_score(a, "s[c][i]");
	cu_line(k, "s[c][i] = score;");
	attend_end(k);
	k->depth--;
}

/* A thread has half of four columns in each of two rows. */
static void put_softmax(struct attend_code *a)
{
	struct cu *k = a->k;

	attend_loop(k, "r", 2, true);
	cu_line(k, "float next = most[r];");
	attend_loop(k, "c", a->nr / 8, false);
	cu_line(k, "next = %s(next, %s(s[c][2 * r], s[c][2 * r + 1]));",
		attend_max(a), attend_max(a));
	k->depth--;
	attend_rescale(a, "most[r]", 4);
	cu_line(k, "total[r] *= scale;");
	attend_loop(k, "c", a->f[V].cols / 8, true);
	cu_line(k, "acc[c][2 * r] *= scale;");
	cu_line(k, "acc[c][2 * r + 1] *= scale;");
	attend_end(k);
	attend_loop(k, "c", a->nr / 8, false);
	attend_loop(k, "i", 2, true);
	cu_line(k, "const float p = %s(s[c][2 * r + i] - base);",
		is_half(a) ? "dl_exp_half" : "expf");
	cu_line(k, "total[r] += p;");
	cu_line(k, "s[c][2 * r + i] = p;");
	attend_end(k);
	k->depth--;
	attend_end(k);
}

/* ---- values --------------------------------------------------------- */

static void put_half_sums(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = &a->f[V];
	const char *type = dtype_info[f->type].name;
	long long row = words(a, f->stride);

	attend_loop(k, "j", a->nr / SIDE, true);
	cu_line(k, "u32 p[4];");
	attend_loop(k, "i", 4, false);
	cu_line(k, "p[i] = dl_pack_%s(s[2 * j + i / 2][i %% 2 * 2], "
		"s[2 * j + i / 2][i %% 2 * 2 + 1]);", type);
	k->depth--;
	attend_loop(k, "c", f->cols / SIDE, true);
	cu_line(k, "u32 y[2][2];");
	cu_line(k, "dl_fragments_turned(y, (const u32 *)shared_v + j * %lld + "
		"c * %d, %lld);", SIDE * row, SIDE / 2, row);
	cu_line(k, "%s(acc[2 * c], p, y[0]);", mma_name(a));
	cu_line(k, "%s(acc[2 * c + 1], p, y[1]);", mma_name(a));
	attend_end(k);
	attend_end(k);
}

static void put_tf32_sums(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = &a->f[V];

	attend_loop(k, "j", a->nr / 8, true);
	cu_line(k, "u32 p[1][4];");
	attend_loop(k, "i", 4, false);
	cu_line(k, "p[0][i] = dl_bits(s[j][i %% 2 * 2 + i / 2]);");
	k->depth--;
	put_rounded(a, "p");
	attend_loop(k, "c", f->cols / 8, true);
	cu_line(k, "const float *const row = shared_v + (j * 8 + lane %% 4 * "
		"2) * %lld + c * 8 + lane / 4;", (long long)f->stride);
	cu_line(k, "u32 y[1][2] = { { dl_bits(row[0]), dl_bits(row[%lld]) } };",
		(long long)f->stride);
	put_rounded(a, "y");
	cu_line(k, "%s(acc[c], p[0], y[0]);", mma_name(a));
	attend_end(k);
	attend_end(k);
}

/* ---- the walk ------------------------------------------------------- */

static void put_results(struct attend_code *a)
{
	struct cu *k = a->k;

	attend_loop(k, "r", 2, false);
	cu_line(k, "for (int d = 2; d; d /= 2)");
	cu_line(k, "\ttotal[r] += dl_shuffle_xor(total[r], d);");
	k->depth--;
	attend_loop(k, "c", a->f[V].cols / 8, false);
	attend_loop(k, "i", 4, true);
	cu_line(k, "const int m = warp * %d + lane / 4 + i / 2 * 8;", SIDE);
	cu_line(k, "const int e = c * 8 + lane %% 4 * 2 + i %% 2;");
	attend_result(a, "acc[c][i]", "total[i / 2]", "most[i / 2]");
	attend_end(k);
	k->depth--;
	if (!a->part)
		return;
	attend_loop(k, "r", 2, true);
	cu_line(k, "const int m = warp * %d + lane / 4 + r * 8;", SIDE);
	attend_part(a, "lane % 4 == 0", "total[r]", "most[r]");
	attend_end(k);
}

void attend_mma(struct attend_code *a)
{
	struct cu *k = a->k;

	put_start(a);
	put_queries(a);
	cu_line(k, "for (%s key0 = %s; key0 < %s; key0 += %lld) {", a->index,
		a->first, a->limit, (long long)a->nr);
	k->depth++;
	put_arrival(a, &a->f[K]);
	cu_line(k, "load_v(key0, 0);");
	put_products(a);
	put_scores(a);
	put_softmax(a);
	put_arrival(a, &a->f[V]);
	cu_line(k, "if (key0 + %lld < %s)", (long long)a->nr, a->limit);
	cu_line(k, "\tload_k(key0 + %lld, 0);", (long long)a->nr);
	if (is_half(a))
		put_half_sums(a);
	else
		put_tf32_sums(a);
	attend_end(k);
	put_results(a);
}
