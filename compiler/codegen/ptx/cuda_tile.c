/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kern.tile: the threads of a block load kr steps of both factors into
 * registers, store them to shared memory and, while they multiply, load the
 * next ones.
 *
 * Products of f32, f64 and i32 are multiplied thread by thread, each a square
 * of 4 x 4 places, or four such.  Half floats go to the tensor cores: a warp
 * has mma.m16n8k16 tiles, whose fragments (PTX ISA, "Matrix fragments for
 * mma.m16n8k16") are pairs that lie side by side in shared memory, since rows
 * there are rows of k.  Rows are padded so that the 32 lanes of a load fall
 * into different banks.
 */
#include "codegen/ptx/cu.h"

enum {
	SQUARE = 4,		/* places of a thread that are neighbours */
	PAD = 4,		/* elements behind a row of a factor */
	HALF_PAD = 8,
	WARP = 32,
};

struct tile_code {
	struct cu *k;
	struct op *op;
	int64_t mr, nr, kr;
	enum dtype in, sum;	/* of the factors; of the sum */
	bool mma;
	unsigned threads;
	/* By the thread: squares down and across; of a warp: mma tiles. */
	unsigned down, across;
	unsigned warps_n;	/* of mma: warps side by side */
};

static struct tile_code describe(struct cu *k, struct op *op)
{
	struct tile_code t = { .k = k, .op = op };
	const struct block *a = op->region[0].block;

	t.mr = op_int(op, A_mr);
	t.nr = op_int(op, A_nr);
	t.kr = op_int(op, A_kr);
	t.in = a->last->in[0].val->type->dtype;
	t.sum = op->region[2].block->arg[0]->type->dtype;
	t.mma = t.in != t.sum;
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

	cu_line(k, "%s reg_%s[%lld];", cu_mem_type(t->in), name,
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
	x = cu_to_mem(k, t->in, cu_val(k, b->last->in[0].val));
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
		cu_line(k, "shared_%s[row * %lld + k] = reg_%s[e];", name,
			(long long)(t->kr + HALF_PAD), name);
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
		cu_mem_type(t->in), factor_name(i),
		(long long)(t->mma ? rows * (t->kr + HALF_PAD)
				   : t->kr * (rows + PAD)));
}

/* ---- multiplying ---------------------------------------------------- */

/* x[] = the thread's places of one step, SQUARE neighbours at a time. */
static void put_places(struct tile_code *t, unsigned i, unsigned n)
{
	struct cu *k = t->k;
	int64_t rows = i ? t->nr : t->mr;

	cu_line(k, "%s %s[%u];", cu_type(t->in), factor_name(i), n * SQUARE);
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

static void put_mma(struct tile_code *t)
{
	struct cu *k = t->k;
	long long row = t->kr + HALF_PAD;

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int k = 0; k < %lld; k += 16) {", (long long)t->kr);
	k->depth++;
	cu_line(k, "u32 a[%u][4], b[%u][2];", t->down, t->across);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int r = 0; r < %u; r++)", t->down);
	cu_line(k, "\tdl_fragment_a(a[r], shared_a + (warp_m * %u + r * 16) * "
		"%lld + k, %lld);", t->down * 16, row, row);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int c = 0; c < %u; c++)", t->across);
	cu_line(k, "\tdl_fragment_b(b[c], shared_b + (warp_n * %u + c * 8) * "
		"%lld + k, %lld);", t->across * 8, row, row);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int r = 0; r < %u; r++)", t->down);
	cu_line(k, "#pragma unroll");
	cu_line(k, "\tfor (int c = 0; c < %u; c++)", t->across);
	cu_line(k, "\t\tdl_mma_%s(acc[r][c], a[r], b[c]);",
		dtype_info[t->in].name);
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
