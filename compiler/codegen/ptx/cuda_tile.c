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
 * words, so that the 32 lanes of a load fall into different banks.  Where
 * copies go on the side rows have 128 bytes, in which the 16 bytes number c of
 * row r are at c ^ r % 8: that is the swizzle of 128 bytes by which wgmma reads,
 * too (PTX ISA, "Shared memory matrix layout"), on GPUs that have it.  A factor
 * of half floats whose neighbours are not those in k lies there as it does in
 * memory, 64 of its rows side by side for each step of k, and is turned by
 * ldmatrix or wgmma.
 *
 * A product of f32 as three of tf32: Ootomo and Yokota, "Recovering single
 * precision accuracy from Tensor Cores while surpassing the FP32 theoretical
 * peak performance", section 3.
 */
#include <string.h>

#include "codegen/ptx/tile_code.h"
#include "ir/layout.h"

struct tile_code tile_describe(struct cu *k, struct op *op)
{
	struct tile_code t = { .k = k, .op = op };
	bool mma = k->c->target->gpu[0]->mma;
	int64_t extent;
	t.mr = op_int(op, A_mr);
	t.nr = op_int(op, A_nr);
	t.kr = op_int(op, A_kr);
	for (int i = 0; i < 2; i++)
		t.in[i] = op->region[i].block->last->in[0].val->type->dtype;
	t.sum = op->region[2].block->arg[0]->type->dtype;
	t.fp32 = (enum fp32_form)op_int(op, A_fp32);
	t.mma = t.in[0] != t.sum || t.fp32 != FP32_IEEE;
	t.vector[0] = op_int(op, A_a_vector);
	t.vector[1] = op_int(op, A_b_vector);
	t.whole = expr_is_const(expr_atom(op->region[0].block->iv[1])->a,
				&extent) &&
		  extent % t.kr == 0;
	if (t.mma && mma && t.vector[0] > 1 && t.vector[1] > 1 &&
	    t.kr * (int64_t)dtype_size(t.in[0]) == LINE)
		t.stages = STAGES;
	t.turned[0] = t.stages && !op_int(op, A_a_along_k);
	t.turned[1] = t.stages && !op_int(op, A_b_along_k);
	if (t.mma) {
		/* Warps of 64 x 32 places, or what there is; more columns
		 * than 128 are for wgmma. */
		int64_t rows = t.mr > 64 ? 64 : t.mr > 32 ? 32 : 16;

		t.down = (unsigned)rows / 16;
		t.across = t.nr > 128 ? 8 : t.nr > 32 ? 4 : 2;
		t.warps_n = (unsigned)(t.nr / (t.across * 8));
		t.threads = (unsigned)(t.mr / rows) * t.warps_n * WARP;
		t.wgmma = t.stages && !t.fp32 &&
			  t.mr * 2 == t.threads;
		return t;
	}
	t.down = t.mr >= 128 ? 2 : 1;
	t.across = t.nr >= 128 ? 2 : 1;
	t.threads = (unsigned)(t.mr * t.nr) /
		    (t.down * t.across * SQUARE * SQUARE);
	return t;
}

unsigned cu_tile_threads(struct cu *k, struct op *op)
{
	struct tile_code t = tile_describe(k, op);

	k->shared_bytes = 0;
	for (unsigned i = 0; i < 2; i++)
		k->shared_bytes += t.stages *
				   (unsigned)(tile_shared_elements(&t, i) *
					      (long long)dtype_size(t.in[i]));
	return t.threads;
}

/* ---- multiplying ---------------------------------------------------- */

/* x[] = the thread's places of one step, SQUARE neighbours at a time. */
static void put_places(struct tile_code *t, unsigned i, unsigned n)
{
	struct cu *k = t->k;
	int64_t rows = i ? t->nr : t->mr;

	cu_line(k, "%s %s[%u];", cu_type(t->in[i]), tile_factor(i),
		n * SQUARE);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int e = 0; e < %u; e++)", n * SQUARE);
	cu_line(k, "\t%s[e] = shared_%s[k * %lld + %s * %d + e / %d * %lld + "
		"e %% %d];", tile_factor(i), tile_factor(i),
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

const char *tile_mma_name(const struct tile_code *t)
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

const char *tile_wgmma_name(const struct tile_code *t)
{
	const char *type = tile_mma_name(t) + strlen("dl_mma_");

	if (!t->turned[0] && !t->turned[1])
		return arena_fmt(&t->k->c->temp, "dl_wgmma_%s", type);
	return arena_fmt(&t->k->c->temp, "dl_wgmma_%s<%d, %d>", type,
			 t->turned[0], t->turned[1]);
}

const char *tile_descriptor_name(const struct tile_code *t, unsigned i)
{
	return t->turned[i] ? "dl_descriptor_turned" : "dl_descriptor";
}

static void put_fragments(struct tile_code *t, unsigned i, unsigned n)
{
	struct cu *k = t->k;
	const char *name = tile_factor(i);
	unsigned rows = i ? 8 : 16;

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int e = 0; e < %u; e++)", n);
	if (t->turned[i])
		cu_line(k, "\tdl_fragment_%s_turned(%s[e], shared_%s, "
			"warp_%s * %u + e * %u, k);", name, name, name,
			i ? "n" : "m", n * rows, rows);
	else if (t->stages)
		cu_line(k, "\tdl_fragment_%s_swizzled(%s[e], (const u32 *)"
			"shared_%s, warp_%s * %u + e * %u, k);", name, name,
			name, i ? "n" : "m", n * rows, rows);
	else
		cu_line(k, "\tdl_fragment_%s(%s[e], (const u32 *)shared_%s + "
			"(warp_%s * %u + e * %u) * %lld + k, %lld);", name,
			name, name, i ? "n" : "m", n * rows, rows,
			tile_row_words(t), tile_row_words(t));
}

static void put_mma(struct tile_code *t)
{
	struct cu *k = t->k;

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int k = 0; k < %lld; k += %d) {",
		t->kr * (long long)dtype_size(t->in[0]) / WORD, MMA_WORDS);
	k->depth++;
	cu_line(k, "u32 a[%u][4], b[%u][2];", t->down, t->across);
	put_fragments(t, 0, t->down);
	put_fragments(t, 1, t->across);
	if (t->fp32 == FP32_TF32) {
		cu_line(k, "dl_round_tf32(a);");
		cu_line(k, "dl_round_tf32(b);");
	}
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int r = 0; r < %u; r++)", t->down);
	cu_line(k, "#pragma unroll");
	cu_line(k, "\tfor (int c = 0; c < %u; c++)", t->across);
	cu_line(k, "\t\t%s(acc[r][c], a[r], b[c]);", tile_mma_name(t));
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
		if (t->wgmma) {
			fputs("#if DL_WGMMA\n", k->f);
			cu_line(k, "%s acc[%lld][4] = {};", type,
				(long long)t->nr / 8);
			fputs("#else\n", k->f);
		}
		cu_line(k, "%s acc[%u][%u][4] = {};", type, t->down,
			t->across);
		if (t->wgmma)
			fputs("#endif\n", k->f);
		return;
	}
	unsigned across = (unsigned)t->nr / (t->across * SQUARE);

	cu_line(k, "const int tx = dl_thread() %% %u, ty = dl_thread() / %u;",
		across, across);
	cu_line(k, "%s acc[%u][%u] = {};", type, t->down * SQUARE,
		t->across * SQUARE);
}

/*
 * A warpgroup has 64 rows and all columns: steps of 32 bytes along the rows,
 * to which descriptors point.  They are waited for at once: sums that are in
 * flight over the end of the loop make ptxas wait for each by itself (C7514).
 */
static void put_wgmma(struct tile_code *t)
{
	struct cu *k = t->k;

	cu_line(k, "dl_wgmma_fence();");
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int k = 0; k < 4; k++)");
	cu_line(k, "\t%s(acc, %s(shared_a + dl_thread() / 128 * %lld, k), "
		"%s(shared_b, k));", tile_wgmma_name(t),
		tile_descriptor_name(t, 0), 64 * tile_row_elements(t, 0),
		tile_descriptor_name(t, 1));
	cu_line(k, "dl_wgmma_commit();");
	cu_line(k, "dl_wgmma_wait<0>();");
}

static void put_multiply(struct tile_code *t)
{
	struct cu *k = t->k;

	if (t->wgmma) {
		fputs("#if DL_WGMMA\n", k->f);
		put_wgmma(t);
		fputs("#else\n", k->f);
	}
	if (t->mma)
		put_mma(t);
	else
		put_squares(t);
	if (t->wgmma)
		fputs("#endif\n", k->f);
}

/* The next step is on its way to registers while this one is multiplied. */
static void put_sum(struct tile_code *t, const char *type, const char *extent)
{
	struct cu *k = t->k;

	cu_line(k, "load_a(0);");
	cu_line(k, "load_b(0);");
	cu_line(k, "for (%s k0 = 0; k0 < %s; k0 += %lld) {", type, extent,
		(long long)t->kr);
	k->depth++;
	tile_share(t);
	cu_line(k, "dl_barrier();");
	cu_line(k, "if (k0 + %lld < %s) {", (long long)t->kr, extent);
	cu_line(k, "\tload_a(k0 + %lld);", (long long)t->kr);
	cu_line(k, "\tload_b(k0 + %lld);", (long long)t->kr);
	cu_line(k, "}");
	put_multiply(t);
	cu_line(k, "dl_barrier();");
	k->depth--;
	cu_line(k, "}");
}

/*
 * A ring of stages in shared memory.  The barrier behind the wait says two
 * things: what all threads copied for this step is there, and all have
 * multiplied the step before, whose stage the next copies take.
 */
static void put_sum_staged(struct tile_code *t, const char *type,
			   const char *extent)
{
	struct cu *k = t->k;
	long long kr = t->kr;

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int s = 0; s < %u; s++) {", t->stages - 1);
	k->depth++;
	cu_line(k, "if (s * %lld < %s) {", kr, extent);
	cu_line(k, "\tload_a(s * %lld, s);", kr);
	cu_line(k, "\tload_b(s * %lld, s);", kr);
	cu_line(k, "}");
	cu_line(k, "dl_copy_commit();");
	k->depth--;
	cu_line(k, "}");
	cu_line(k, "int stage = 0;");
	/* Addresses of many steps at once would fill the registers. */
	cu_line(k, "#pragma unroll 1");
	cu_line(k, "for (%s k0 = 0; k0 < %s; k0 += %lld) {", type, extent, kr);
	k->depth++;
	cu_line(k, "dl_copy_wait<%u>();", t->stages - 2);
	if (t->wgmma)
		cu_line(k, "dl_proxy_fence();");
	cu_line(k, "dl_barrier();");
	cu_line(k, "const %s next = k0 + %lld;", type,
		(t->stages - 1) * kr);
	cu_line(k, "if (next < %s) {", extent);
	cu_line(k, "\tload_a(next, (stage + %u) %% %u);", t->stages - 1,
		t->stages);
	cu_line(k, "\tload_b(next, (stage + %u) %% %u);", t->stages - 1,
		t->stages);
	cu_line(k, "}");
	cu_line(k, "dl_copy_commit();");
	for (unsigned i = 0; i < 2; i++)
		cu_line(k, "const %s *const shared_%s = all_%s + stage * %lld;",
			cu_mem_type(t->in[i]), tile_factor(i), tile_factor(i),
			tile_shared_elements(t, i));
	put_multiply(t);
	cu_line(k, "stage = (stage + 1) %% %u;", t->stages);
	k->depth--;
	cu_line(k, "}");
	cu_line(k, "dl_copy_wait<0>();");
	cu_line(k, "dl_barrier();");
}

static bool is_even(const struct expr *e)
{
	for (uint32_t i = 0; i < e->n; i++)
		if (e->term[i].coef % 2)
			return false;
	return true;
}

/* Is a guard true of an odd place wherever it is of the even one before, and
 * the other way round? */
static bool holds_for_pairs(struct cu *k, const struct expr *guard,
			    const struct atom *n)
{
	const struct expr *step, *rest;

	return expr_linear(k->c, guard, n, &step, &rest) &&
	       (expr_is(step, 0) ||
		(expr_is(step, -1) && is_even(expr_addc(k->c, rest, 1))));
}

/* The store of the results, when those of columns 2 i and 2 i + 1 lie side by
 * side at a multiple of their size, and both are to be stored or none; else
 * NULL. */
static const struct op *paired_store(struct tile_code *t)
{
	const struct block *b = t->op->region[2].block;
	const struct atom *n = expr_atom(b->iv[1]);
	const struct expr *step, *rest, *const *guard;
	const struct op *store = NULL;
	const struct value *buf;
	size_t count;

	for (const struct op *op = b->first; op; op = op->next) {
		if (op->code != OP_mem_store)
			continue;
		if (store)
			return NULL;
		store = op;
	}
	if (!store)
		return NULL;
	buf = store->in[1].val;
	if (dtype_is_packed(buf->type->dtype) ||
	    dtype_size(buf->type->dtype) > 4 ||
	    !expr_linear(t->k->c,
			 layout_offset(t->k->c, buf,
				       op_exprs(store, A_idx, &count)),
			 n, &step, &rest) ||
	    !expr_is(step, 1) || !is_even(rest))
		return NULL;
	guard = op_exprs(store, A_guard, &count);
	for (size_t i = 0; i < count; i++)
		if (!holds_for_pairs(t->k, guard[i], n))
			return NULL;
	return store;
}

void tile_pairs(struct tile_code *t)
{
	struct cu *k = t->k;

	k->pairs = paired_store(t);
	if (k->pairs)
		cu_line(k, "__align__(8) %s pair[2];",
			cu_mem_type(k->pairs->in[1].val->type->dtype));
}

void tile_places(struct tile_code *t, unsigned rows, unsigned cols,
		 const char *m, const char *n, const char *sum)
{
	struct cu *k = t->k;

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int r = 0; r < %u; r++)", rows);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int c = 0; c < %u; c++)", cols);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int e = 0; e < 4; e++) {");
	k->depth++;
	cu_line(k, "const int m = %s + r * 16 + lane / 4 + e / 2 * 8;", m);
	cu_line(k, "const int n = %s + c * 8 + lane %% 4 * 2 + e %% 2;", n);
	cu_line(k, "const %s sum = %s;", cu_type(t->sum), sum);
}

static void put_square_places(struct tile_code *t)
{
	struct cu *k = t->k;

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int r = 0; r < %u; r++)", t->down * SQUARE);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int c = 0; c < %u; c++) {", t->across * SQUARE);
	k->depth++;
	cu_line(k, "const int m = ty * %d + r / %d * %lld + r %% %d;", SQUARE,
		SQUARE, (long long)(t->mr / t->down), SQUARE);
	cu_line(k, "const int n = tx * %d + c / %d * %lld + c %% %d;", SQUARE,
		SQUARE, (long long)(t->nr / t->across), SQUARE);
	cu_line(k, "const %s sum = acc[r][c];", cu_type(t->sum));
}

void tile_result(struct tile_code *t)
{
	struct cu *k = t->k;
	struct block *b = t->op->region[2].block;

	cu_indent(k);
	fprintf(k->f, "const %s v%u = sum;\n", cu_type(t->sum),
		cu_number(k, b->arg[0]));
	tile_region(t, 2, "m", "n");
	k->pairs = NULL;
	k->depth--;
	cu_line(k, "}");
}

/* What comes of each sum, place by place. */
static void put_results(struct tile_code *t)
{
	struct cu *k = t->k;

	if (t->mma)
		tile_pairs(t);
	if (t->wgmma) {
		fputs("#if DL_WGMMA\n", k->f);
		tile_places(t, 1, (unsigned)t->nr / 8,
			    "dl_thread() / 32 * 16", "0", "acc[c][e]");
		k->depth--;
		fputs("#else\n", k->f);
	}
	if (t->mma)
		tile_places(t, t->down, t->across,
			    arena_fmt(&k->c->temp, "warp_m * %u",
				      t->down * 16),
			    arena_fmt(&k->c->temp, "warp_n * %u",
				      t->across * 8),
			    "acc[r][c][e]");
	else
		put_square_places(t);
	if (t->wgmma)
		fputs("#endif\n", k->f);
	tile_result(t);
}

void cu_tile(struct cu *k, struct op *op)
{
	struct tile_code t = tile_describe(k, op);
	const char *type = k->wide ? "i64" : "int";
	const char *extent = cu_expr(
		k, op, expr_atom(op->region[0].block->iv[1])->a);

	put_start(&t);
	tile_loads(&t);
	if (t.stages)
		put_sum_staged(&t, type, extent);
	else
		put_sum(&t, type, extent);
	put_results(&t);
}
