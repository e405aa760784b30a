/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kern.tile: the threads of a block load kr steps of both factors into
 * registers, store them to shared memory and, while they multiply, load the
 * next ones.
 *
 * Products of f32, f64 and i32 are multiplied thread by thread, each a square
 * of 4 x 4 places, or four such.  Half floats, bytes and tf32 go to the tensor
 * cores: a warp has mma.m16n8 tiles of 32 bytes of k, whose fragments (PTX ISA,
 * "Matrix fragments for mma.m16n8k16" and its kin) are the same words for all
 * types when rows in shared memory are rows of k.  Rows are padded by four
 * words, so that the 32 lanes of a load fall into different banks.
 *
 * A product of f32 as three of tf32: Ootomo and Yokota, "Recovering single
 * precision accuracy from Tensor Cores while surpassing the FP32 theoretical
 * peak performance", section 3.
 */
#include "codegen/ptx/cu.h"

enum {
	SQUARE = 4,		/* places of a thread that are neighbours */
	PAD = 4,		/* elements, or words, behind a row */
	WORD = 4,		/* bytes */
	MMA_WORDS = 8,		/* of k in one mma */
	WARP = 32,
};

struct tile_code {
	struct cu *k;
	struct op *op;
	int64_t mr, nr, kr;
	enum dtype in[2], sum;	/* of the factors; of the sum */
	enum fp32_form fp32;
	bool mma;
	unsigned threads;
	/* By the thread: squares down and across; of a warp: mma tiles. */
	unsigned down, across;
	unsigned warps_n;	/* of mma: warps side by side */
};

static struct tile_code describe(struct cu *k, struct op *op)
{
	struct tile_code t = { .k = k, .op = op };
	t.mr = op_int(op, A_mr);
	t.nr = op_int(op, A_nr);
	t.kr = op_int(op, A_kr);
	for (int i = 0; i < 2; i++)
		t.in[i] = op->region[i].block->last->in[0].val->type->dtype;
	t.sum = op->region[2].block->arg[0]->type->dtype;
	t.fp32 = (enum fp32_form)op_int(op, A_fp32);
	t.mma = t.in[0] != t.sum || t.fp32 != FP32_IEEE;
	if (t.mma) {
		/* Warps of 64 x 32 places, or what there is. */
		int64_t rows = t.mr > 64 ? 64 : t.mr > 32 ? 32 : 16;

		t.down = (unsigned)rows / 16;
		t.across = t.nr > 32 ? 4 : 2;
		t.warps_n = (unsigned)(t.nr / (t.across * 8));
		t.threads = (unsigned)(t.mr / rows) * t.warps_n * WARP;
		return t;
	}
	t.down = t.mr >= 128 ? 2 : 1;
	t.across = t.nr >= 128 ? 2 : 1;
	t.threads = (unsigned)(t.mr * t.nr) /
		    (t.down * t.across * SQUARE * SQUARE);
	return t;
}

unsigned cu_tile_threads(const struct op *op)
{
	return describe(NULL, (struct op *)(uintptr_t)op).threads;
}

/* ---- loading -------------------------------------------------------- */

static const char *factor_name(unsigned i)
{
	return i ? "b" : "a";
}

/* The ops of a region, with its two variables named. */
static void put_region(struct tile_code *t, unsigned i, const char *first,
		       const char *second)
{
	struct cu *k = t->k;
	struct block *b = t->op->region[i].block;

	map_put(&k->atoms, expr_atom(b->iv[0])->serial,
		(void *)(uintptr_t)first);
	map_put(&k->atoms, expr_atom(b->iv[1])->serial,
		(void *)(uintptr_t)second);
	k->in_lanes = true;
	for (struct op *op = b->first; op; op = op->next)
		cu_op(k, op);
	k->in_lanes = false;
}

/* Elements of a factor that each thread loads. */
static int64_t loads(const struct tile_code *t, unsigned i)
{
	return (i ? t->nr : t->mr) * t->kr / t->threads;
}

/*
 * load_a(k0): registers load_a[] from memory; zeros beyond the last k.  Threads
 * side by side take what lies side by side.
 */
static void put_load(struct tile_code *t, unsigned i)
{
	struct cu *k = t->k;
	const char *name = factor_name(i), *type = k->wide ? "i64" : "int";
	const struct block *b = t->op->region[i].block;
	int64_t rows = i ? t->nr : t->mr, extent;
	bool along_k = op_int(t->op, i ? A_b_along_k : A_a_along_k);
	const struct expr *sum = expr_atom(b->iv[1])->a;
	bool whole = expr_is_const(sum, &extent) && extent % t->kr == 0;
	const char *x;

	cu_line(k, "%s reg_%s[%lld];", cu_mem_type(t->in[i]), name,
		(long long)loads(t, i));
	cu_line(k, "const auto load_%s = [&](%s k0) {", name, type);
	k->depth++;
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int e = 0; e < %lld; e++) {", (long long)loads(t, i));
	k->depth++;
	cu_line(k, "const int at = e * %u + dl_thread();", t->threads);
	cu_line(k, "const int row = at %c %lld;", along_k ? '/' : '%',
		(long long)(along_k ? t->kr : rows));
	cu_line(k, "const %s k = k0 + at %c %lld;", type, along_k ? '%' : '/',
		(long long)(along_k ? t->kr : rows));
	cu_line(k, "reg_%s[e] = 0;", name);
	if (!whole) {
		cu_line(k, "if (k < %s) {", cu_expr(k, t->op, sum));
		k->depth++;
	}
	put_region(t, i, "row", "k");
	x = cu_to_mem(k, t->in[i], cu_val(k, b->last->in[0].val));
	cu_line(k, "reg_%s[e] = %s;", name, x);
	if (!whole) {
		k->depth--;
		cu_line(k, "}");
	}
	k->depth--;
	cu_line(k, "}");
	k->depth--;
	cu_line(k, "};");
}

/* Elements from one row of k to the next. */
static long long row_elements(const struct tile_code *t, unsigned i)
{
	return t->kr + PAD * WORD / (long long)dtype_size(t->in[i]);
}

static long long row_words(const struct tile_code *t)
{
	return t->kr * (long long)dtype_size(t->in[0]) / WORD + PAD;
}

/* Registers to shared memory: rows of k for the tensor cores, else columns. */
static void put_share(struct tile_code *t, unsigned i)
{
	struct cu *k = t->k;
	const char *name = factor_name(i);
	int64_t rows = i ? t->nr : t->mr;
	bool along_k = op_int(t->op, i ? A_b_along_k : A_a_along_k);

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int e = 0; e < %lld; e++) {", (long long)loads(t, i));
	k->depth++;
	cu_line(k, "const int at = e * %u + dl_thread();", t->threads);
	cu_line(k, "const int row = at %c %lld, k = at %c %lld;",
		along_k ? '/' : '%', (long long)(along_k ? t->kr : rows),
		along_k ? '%' : '/', (long long)(along_k ? t->kr : rows));
	if (t->mma)
		cu_line(k, t->fp32 == FP32_TF32
				   ? "shared_%s[row * %lld + k] = "
				     "dl_tf32(reg_%s[e]);"
				   : "shared_%s[row * %lld + k] = reg_%s[e];",
			name, row_elements(t, i), name);
	else
		cu_line(k, "shared_%s[k * %lld + row] = reg_%s[e];", name,
			(long long)(rows + PAD), name);
	k->depth--;
	cu_line(k, "}");
}

static void put_shared(struct tile_code *t, unsigned i)
{
	int64_t rows = i ? t->nr : t->mr;

	cu_line(t->k, "DL_SHARED_ALIGNED(%s, shared_%s, %lld);",
		cu_mem_type(t->in[i]), factor_name(i),
		(long long)(t->mma ? rows * row_elements(t, i)
				   : t->kr * (rows + PAD)));
}

/* ---- multiplying ---------------------------------------------------- */

/* x[] = the thread's places of one step, SQUARE neighbours at a time. */
static void put_places(struct tile_code *t, unsigned i, unsigned n)
{
	struct cu *k = t->k;
	int64_t rows = i ? t->nr : t->mr;

	cu_line(k, "%s %s[%u];", cu_type(t->in[i]), factor_name(i),
		n * SQUARE);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int e = 0; e < %u; e++)", n * SQUARE);
	cu_line(k, "\t%s[e] = shared_%s[k * %lld + %s * %d + e / %d * %lld + "
		"e %% %d];", factor_name(i), factor_name(i),
		(long long)(rows + PAD), i ? "tx" : "ty", SQUARE, SQUARE,
		(long long)(rows / n), SQUARE);
}

static void put_squares(struct tile_code *t)
{
	struct cu *k = t->k;
	unsigned m = t->down * SQUARE, n = t->across * SQUARE;
	const char *step = t->sum == DT_F32 ? "fmaf(a[r], b[c], acc[r][c])"
			   : t->sum == DT_F64
				   ? "fma(a[r], b[c], acc[r][c])"
				   : "(i32)((u32)acc[r][c] + "
				     "(u32)a[r] * (u32)b[c])";

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int k = 0; k < %lld; k++) {", (long long)t->kr);
	k->depth++;
	put_places(t, 0, t->down);
	put_places(t, 1, t->across);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int r = 0; r < %u; r++)", m);
	cu_line(k, "#pragma unroll");
	cu_line(k, "\tfor (int c = 0; c < %u; c++)", n);
	cu_line(k, "\t\tacc[r][c] = %s;", step);
	k->depth--;
	cu_line(k, "}");
}

/* "dl_mma_f16": the prelude's function for these types. */
static const char *mma_name(const struct tile_code *t)
{
	if (t->fp32)
		return t->fp32 == FP32_TF32 ? "dl_mma_tf32" : "dl_mma_tf32x3";
	if (t->sum == DT_I32)
		return arena_fmt(&t->k->c->temp, "dl_mma_%s_%s",
				 dtype_info[t->in[0]].name,
				 dtype_info[t->in[1]].name);
	return arena_fmt(&t->k->c->temp, "dl_mma_%s",
			 dtype_info[t->in[0]].name);
}

static void put_fragments(struct tile_code *t, unsigned i, unsigned n)
{
	struct cu *k = t->k;
	const char *name = factor_name(i);
	unsigned rows = i ? 8 : 16;

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int e = 0; e < %u; e++)", n);
	cu_line(k, "\tdl_fragment_%s(%s[e], (const u32 *)shared_%s + "
		"(warp_%s * %u + e * %u) * %lld + k, %lld);", name, name, name,
		i ? "n" : "m", n * rows, rows, row_words(t), row_words(t));
}

static void put_mma(struct tile_code *t)
{
	struct cu *k = t->k;

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int k = 0; k < %lld; k += %d) {", row_words(t) - PAD,
		MMA_WORDS);
	k->depth++;
	cu_line(k, "u32 a[%u][4], b[%u][2];", t->down, t->across);
	put_fragments(t, 0, t->down);
	put_fragments(t, 1, t->across);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int r = 0; r < %u; r++)", t->down);
	cu_line(k, "#pragma unroll");
	cu_line(k, "\tfor (int c = 0; c < %u; c++)", t->across);
	cu_line(k, "\t\t%s(acc[r][c], a[r], b[c]);", mma_name(t));
	k->depth--;
	cu_line(k, "}");
}

/* ---- the tile ------------------------------------------------------- */

static void put_start(struct tile_code *t)
{
	struct cu *k = t->k;
	const char *type = cu_type(t->sum);

	if (t->mma) {
		cu_line(k, "const int lane = dl_thread() %% %d;", WARP);
		cu_line(k, "const int warp_m = dl_thread() / %u;",
			WARP * t->warps_n);
		cu_line(k, "const int warp_n = dl_thread() / %d %% %u;", WARP,
			t->warps_n);
		cu_line(k, "%s acc[%u][%u][4] = {};", type, t->down,
			t->across);
		return;
	}
	unsigned across = (unsigned)t->nr / (t->across * SQUARE);

	cu_line(k, "const int tx = dl_thread() %% %u, ty = dl_thread() / %u;",
		across, across);
	cu_line(k, "%s acc[%u][%u] = {};", type, t->down * SQUARE,
		t->across * SQUARE);
}

static void put_sum(struct tile_code *t)
{
	struct cu *k = t->k;
	const struct block *b = t->op->region[0].block;
	const char *type = k->wide ? "i64" : "int";
	const char *extent = cu_expr(k, t->op, expr_atom(b->iv[1])->a);

	cu_line(k, "load_a(0);");
	cu_line(k, "load_b(0);");
	cu_line(k, "for (%s k0 = 0; k0 < %s; k0 += %lld) {", type, extent,
		(long long)t->kr);
	k->depth++;
	put_share(t, 0);
	put_share(t, 1);
	cu_line(k, "dl_barrier();");
	cu_line(k, "if (k0 + %lld < %s) {", (long long)t->kr, extent);
	cu_line(k, "\tload_a(k0 + %lld);", (long long)t->kr);
	cu_line(k, "\tload_b(k0 + %lld);", (long long)t->kr);
	cu_line(k, "}");
	if (t->mma)
		put_mma(t);
	else
		put_squares(t);
	cu_line(k, "dl_barrier();");
	k->depth--;
	cu_line(k, "}");
}

/* What comes of each sum, place by place. */
static void put_results(struct tile_code *t)
{
	struct cu *k = t->k;
	struct block *b = t->op->region[2].block;
	unsigned rows = t->mma ? t->down : t->down * SQUARE;
	unsigned cols = t->mma ? t->across : t->across * SQUARE;

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int r = 0; r < %u; r++)", rows);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int c = 0; c < %u; c++)", cols);
	if (t->mma) {
		cu_line(k, "#pragma unroll");
		cu_line(k, "for (int e = 0; e < 4; e++) {");
		k->depth++;
		cu_line(k, "const int m = warp_m * %u + r * 16 + lane / 4 + "
			"e / 2 * 8;", t->down * 16);
		cu_line(k, "const int n = warp_n * %u + c * 8 + lane %% 4 * 2 "
			"+ e %% 2;", t->across * 8);
	} else {
		cu_line(k, "{");
		k->depth++;
		cu_line(k, "const int m = ty * %d + r / %d * %lld + r %% %d;",
			SQUARE, SQUARE, (long long)(t->mr / t->down), SQUARE);
		cu_line(k, "const int n = tx * %d + c / %d * %lld + c %% %d;",
			SQUARE, SQUARE, (long long)(t->nr / t->across),
			SQUARE);
	}
	cu_indent(k);
	fprintf(k->f, "const %s v%u = acc[r][c]%s;\n", cu_type(t->sum),
		cu_number(k, b->arg[0]), t->mma ? "[e]" : "");
	put_region(t, 2, "m", "n");
	k->depth--;
	cu_line(k, "}");
}

void cu_tile(struct cu *k, struct op *op)
{
	struct tile_code t = describe(k, op);

	put_shared(&t, 0);
	put_shared(&t, 1);
	put_start(&t);
	put_load(&t, 0);
	put_load(&t, 1);
	put_sum(&t);
	put_results(&t);
}
