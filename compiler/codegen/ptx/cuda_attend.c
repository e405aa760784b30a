/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kern.attend: a block keeps its queries in shared memory and walks over the
 * keys.  Each step it multiplies queries by 64 keys, 32 elements at a time,
 * makes scores of the sums, and from these the maximum so far and exponentials;
 * what was added up before is scaled to the new maximum (Milakov and
 * Gimelshein, algorithm 3).  Then it adds the exponentials times values, some
 * rows at a time.  Keys and values take turns in the same shared memory, each
 * on the way to registers while the one before is multiplied.
 *
 * Of 128 threads 16 side by side share rows, mr / 8 for each: a row's maximum
 * is by shuffles, and nobody else needs a row's exponentials.  All factors lie
 * in shared memory as in a matrix with four words behind each row: then eight
 * threads that read 16 bytes each in rows side by side meet no bank twice.
 */
#include "codegen/ptx/tile_code.h"

enum {
	THREADS = 128,
	ACROSS = 16,		/* threads that share rows */
	CHUNK = 2048,		/* elements of keys or values at a time */
};

enum { Q, K, V };		/* the factors */

struct factor {
	const char *name;
	unsigned region;
	enum dtype type;
	int64_t rows, cols;	/* at a time */
	int64_t depth;		/* columns in all */
	bool along;		/* neighbours in memory are columns */
	int64_t vector;
};

struct attend_code {
	struct cu *k;
	struct op *op;
	int64_t mr, nr, depth, width;	/* width: columns of the result */
	int64_t rows;			/* of a thread */
	/* Of a thread: runs of columns side by side. */
	int64_t run, runs;
	struct factor f[3];
	const char *index, *keys;	/* type of an index; how many keys */
};

static int64_t extent(const struct op *op, unsigned region, unsigned i)
{
	int64_t n = 0;

	expr_is_const(expr_atom(op->region[region].block->iv[i])->a, &n);
	return n;
}

static int64_t ceil_to(int64_t n, int64_t by)
{
	return (n + by - 1) / by * by;
}

static int64_t stride(const struct factor *f)
{
	return (f->region == Q ? ceil_to(f->depth, f->cols) : f->cols) + PAD;
}

static void describe_factor(struct attend_code *a, unsigned i, int64_t rows,
			    int64_t cols)
{
	static const char *const name[] = { "q", "k", "v" };
	static const unsigned region[] = { 0, 1, 3 };
	const struct block *b = a->op->region[region[i]].block;
	size_t n;

	a->f[i] = (struct factor){
		.name = name[i], .region = region[i], .rows = rows,
		.cols = cols, .depth = extent(a->op, region[i], 1),
		.type = b->last->in[0].val->type->dtype,
		.along = op_ints(a->op, A_along, &n)[i],
		.vector = op_ints(a->op, A_vector, &n)[i],
	};
}

static struct attend_code describe(struct cu *k, struct op *op)
{
	struct attend_code a = { .k = k, .op = op };
	int64_t part, values = 64;

	a.mr = op_int(op, A_mr);
	a.nr = op_int(op, A_nr);
	a.depth = extent(op, 0, 1);
	a.width = extent(op, 3, 1);
	a.rows = a.mr * ACROSS / THREADS;
	a.run = a.width <= ACROSS ? 1 : a.width <= 2 * ACROSS ? 2 : SQUARE;
	a.runs = (a.width + ACROSS * a.run - 1) / (ACROSS * a.run);
	part = a.depth > 16 ? 32 : 16;
	while (values * ACROSS * a.run * a.runs > CHUNK)
		values /= 2;
	describe_factor(&a, Q, a.mr, part);
	describe_factor(&a, K, a.nr, part);
	describe_factor(&a, V, values, ACROSS * a.run * a.runs);
	return a;
}

/* Elements of shared memory: queries, exponentials, and what takes turns. */
static int64_t queries(const struct attend_code *a)
{
	return a->mr * stride(&a->f[Q]);
}

static int64_t exponentials(const struct attend_code *a)
{
	return a->mr * (a->nr + PAD);
}

unsigned cu_attend_threads(struct cu *k, struct op *op)
{
	struct attend_code a = describe(k, op);
	int64_t key = a.f[K].rows * stride(&a.f[K]);
	int64_t value = a.f[V].rows * stride(&a.f[V]);

	k->shared_bytes = (unsigned)(queries(&a) + exponentials(&a) +
				     (key > value ? key : value)) * WORD;
	return THREADS;
}

/* The ops of a region, its variables named so. */
static void region(struct attend_code *a, unsigned i, const char *first,
		   const char *second)
{
	struct tile_code t = { .k = a->k, .op = a->op };

	tile_region(&t, i, first, second);
}

static void open_loop(struct cu *k, const char *var, int64_t n, bool brace)
{
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int %s = 0; %s < %lld; %s++)%s", var, var,
		(long long)n, var, brace ? " {" : "");
	k->depth++;
}

static void close_loop(struct cu *k)
{
	k->depth--;
	cu_line(k, "}");
}

/* ---- loads ---------------------------------------------------------- */

static long long loads(const struct factor *f)
{
	return f->rows * f->cols / THREADS / f->vector;
}

/* Row and column, in the chunk, of the thread's place number e. */
static void put_place(struct attend_code *a, const struct factor *f)
{
	struct cu *k = a->k;
	long long v = f->vector;
	long long line = (f->along ? f->cols : f->rows) / v;
	const char *by = v > 1 ? arena_fmt(&k->c->temp, " * %lld", v) : "";

	cu_line(k, "const int at = e * %d + dl_thread();", THREADS);
	cu_line(k, "const int down = at %c %lld%s;", f->along ? '/' : '%', line,
		f->along ? "" : by);
	cu_line(k, "const int on = at %c %lld%s;", f->along ? '%' : '/', line,
		f->along ? by : "");
}

/* "row < n && col < d", or what of it may be false; NULL: nothing. */
static const char *inside(struct attend_code *a, const struct factor *f)
{
	struct arena *temp = &a->k->c->temp;
	const char *rows = NULL, *cols = NULL;
	const struct block *b = a->op->region[f->region].block;
	int64_t n;

	if (f->region != Q && !(expr_is_const(expr_atom(b->iv[0])->a, &n) &&
				n % f->rows == 0))
		rows = arena_fmt(temp, "row < %s", a->keys);
	if (f->depth % f->cols)
		cols = arena_fmt(temp, "col < %lld", (long long)f->depth);
	return rows && cols ? arena_fmt(temp, "%s && %s", rows, cols)
	       : rows	    ? rows
			    : cols;
}

/* to = the element, or the vector of them, at row and col; zeros where there
 * is none. */
static void put_element(struct attend_code *a, const struct factor *f,
			const char *to)
{
	struct cu *k = a->k;
	const struct block *b = a->op->region[f->region].block;
	const struct value *v = b->last->in[0].val;
	const char *cond = inside(a, f), *at;

	cu_line(k, "%s = %s;", to, f->vector > 1 ? "uint4{}" : "0");
	if (cond) {
		cu_line(k, "if (%s) {", cond);
		k->depth++;
	}
	if (f->vector > 1) {
		map_put(&k->atoms, expr_atom(b->iv[0])->serial, (void *)"row");
		map_put(&k->atoms, expr_atom(b->iv[1])->serial, (void *)"col");
		at = cu_address(k, v->def, &cond);
		if (cond)
			cu_line(k, "if (%s)", cond);
		cu_line(k, "%s%s = *(const uint4 *)%s;", cond ? "\t" : "", to,
			at);
	} else {
		region(a, f->region, "row", "col");
		cu_line(k, "%s = %s;", to, cu_to_mem(k, f->type,
						     cu_val(k, v)));
	}
	if (inside(a, f))
		close_loop(k);
}

/* load_k(row0, col0): registers reg_k[] from memory. */
static void put_load(struct attend_code *a, const struct factor *f)
{
	struct cu *k = a->k;

	cu_line(k, "%s reg_%s[%lld];",
		f->vector > 1 ? "uint4" : cu_mem_type(f->type), f->name,
		loads(f));
	cu_line(k, "const auto load_%s = [&](%s row0, int col0) {", f->name,
		a->index);
	k->depth++;
	open_loop(k, "e", loads(f), true);
	put_place(a, f);
	cu_line(k, "const %s row = row0 + down;", a->index);
	cu_line(k, "const int col = col0 + on;");
	put_element(a, f, arena_fmt(&k->c->temp, "reg_%s[e]", f->name));
	close_loop(k);
	k->depth--;
	cu_line(k, "};");
}

/* The registers to shared memory, from column `first` on. */
static void put_share(struct attend_code *a, const struct factor *f,
		      const char *first)
{
	struct cu *k = a->k;
	const char *type = cu_mem_type(f->type);

	open_loop(k, "e", loads(f), true);
	put_place(a, f);
	cu_line(k, "%s *const to = shared_%s + down * %lld + on%s;", type,
		f->name, (long long)stride(f), first);
	if (f->vector == 1) {
		cu_line(k, "*to = reg_%s[e];", f->name);
	} else if (f->along) {
		cu_line(k, "*(uint4 *)to = reg_%s[e];", f->name);
	} else {
		open_loop(k, "i", f->vector, false);
		cu_line(k, "to[i * %lld] = ((const %s *)&reg_%s[e])[i];",
			(long long)stride(f), type, f->name);
		k->depth--;
	}
	close_loop(k);
}

/* ---- scores --------------------------------------------------------- */

/* The sums of a chunk of columns: s[r][c]. */
static void put_products(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = a->f;

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int d = 0; d < %lld; d += %d) {", (long long)f[K].cols,
		SQUARE);
	k->depth++;
	cu_line(k, "float x[%lld][%d], y[%d][%d];", (long long)a->rows, SQUARE,
		SQUARE, SQUARE);
	open_loop(k, "r", a->rows, false);
	open_loop(k, "i", SQUARE, false);
	cu_line(k, "x[r][i] = shared_q[(ty * %lld + r) * %lld + d0 + d + i];",
		(long long)a->rows, (long long)stride(&f[Q]));
	k->depth -= 2;
	open_loop(k, "c", SQUARE, false);
	open_loop(k, "i", SQUARE, false);
	cu_line(k, "y[c][i] = shared_k[(tx + c * %d) * %lld + d + i];", ACROSS,
		(long long)stride(&f[K]));
	k->depth -= 2;
	open_loop(k, "i", SQUARE, false);
	open_loop(k, "r", a->rows, false);
	open_loop(k, "c", SQUARE, false);
	cu_line(k, "s[r][c] = fmaf(x[r][i], y[c][i], s[r][c]);");
	k->depth -= 3;
	close_loop(k);
}

/* What the region makes of the sums; of keys that are not there -inf. */
static void put_scores(struct attend_code *a)
{
	struct cu *k = a->k;
	struct block *b = a->op->region[2].block;

	open_loop(k, "r", a->rows, false);
	open_loop(k, "c", SQUARE, true);
	cu_line(k, "const int m = ty * %lld + r;", (long long)a->rows);
	cu_line(k, "const %s n = n0 + tx + c * %d;", a->index, ACROSS);
	cu_line(k, "float score = dl_f32(0xff800000);");
	cu_line(k, "if (n < %s) {", a->keys);
	k->depth++;
	cu_line(k, "const float v%u = s[r][c];", cu_number(k, b->arg[0]));
	region(a, 2, "m", "n");
	cu_line(k, "score = %s;", cu_val(k, b->last->in[0].val));
	close_loop(k);
	cu_line(k, "s[r][c] = score;");
	close_loop(k);
	k->depth--;
}

/*
 * The new maximum of each row, and the exponentials: to shared memory.  Where
 * all keys so far are -inf it is 0 that is subtracted; should there be no
 * others, the end makes NaN of that.
 */
static void put_softmax(struct attend_code *a)
{
	struct cu *k = a->k;

	open_loop(k, "r", a->rows, true);
	cu_line(k, "float next = most[r];");
	open_loop(k, "c", SQUARE, false);
	cu_line(k, "next = dl_max(next, s[r][c]);");
	k->depth--;
	cu_line(k, "for (int d = %d; d; d /= 2)", ACROSS / 2);
	cu_line(k, "\tnext = dl_max(next, dl_shuffle_xor(next, d));");
	cu_line(k, "const float base = next == dl_f32(0xff800000) ? 0.0f "
		": next;");
	cu_line(k, "const float scale = expf(most[r] - base);");
	cu_line(k, "most[r] = next;");
	cu_line(k, "total[r] *= scale;");
	open_loop(k, "c", a->run * a->runs, false);
	cu_line(k, "acc[r][c] *= scale;");
	k->depth--;
	open_loop(k, "c", SQUARE, true);
	cu_line(k, "const float p = expf(s[r][c] - base);");
	cu_line(k, "total[r] += p;");
	cu_line(k, "shared_p[(ty * %lld + r) * %lld + tx + c * %d] = p;",
		(long long)a->rows, (long long)(a->nr + PAD), ACROSS);
	close_loop(k);
	close_loop(k);
}

/* ---- values --------------------------------------------------------- */

static void put_sums(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = &a->f[V];

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int n = 0; n < %lld; n += %d) {", (long long)f->rows,
		SQUARE);
	k->depth++;
	cu_line(k, "float x[%lld][%d];", (long long)a->rows, SQUARE);
	open_loop(k, "r", a->rows, false);
	open_loop(k, "i", SQUARE, false);
	cu_line(k, "x[r][i] = shared_p[(ty * %lld + r) * %lld + j0 + n + i];",
		(long long)a->rows, (long long)(a->nr + PAD));
	k->depth -= 2;
	open_loop(k, "i", SQUARE, false);
	open_loop(k, "c", a->run * a->runs, true);
	cu_line(k, "const float y = shared_v[(n + i) * %lld + c / %lld * %lld + "
		"tx * %lld + c %% %lld];", (long long)stride(f),
		(long long)a->run, (long long)(ACROSS * a->run),
		(long long)a->run, (long long)a->run);
	open_loop(k, "r", a->rows, false);
	cu_line(k, "acc[r][c] = fmaf(x[r][i], y, acc[r][c]);");
	k->depth--;
	close_loop(k);
	k->depth--;
	close_loop(k);
}

/* ---- the walk ------------------------------------------------------- */

static void put_start(struct attend_code *a)
{
	struct cu *k = a->k;
	const struct factor *f = a->f;
	long long rows = a->rows;

	cu_line(k, "const int tx = dl_thread() %% %d, ty = dl_thread() / %d;",
		ACROSS, ACROSS);
	cu_line(k, "float *const shared_q = (float *)dl_dynamic;");
	cu_line(k, "float *const shared_p = shared_q + %lld;",
		(long long)queries(a));
	cu_line(k, "float *const shared_k = shared_p + %lld;",
		(long long)exponentials(a));
	cu_line(k, "float *const shared_v = shared_k;");
	for (unsigned i = 0; i < 3; i++)
		put_load(a, &f[i]);
	cu_line(k, "float acc[%lld][%lld] = {}, total[%lld] = {}, "
		"most[%lld];", rows, (long long)(a->run * a->runs), rows, rows);
	open_loop(k, "r", rows, false);
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
	put_share(a, f, " + d0");
	close_loop(k);
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
	put_share(a, f, "");
	cu_line(k, "dl_barrier();");
	cu_line(k, "if (d0 + %lld < %lld)", (long long)f->cols,
		(long long)a->depth);
	cu_line(k, "\tload_k(n0, d0 + %lld);", (long long)f->cols);
	cu_line(k, "else");
	cu_line(k, "\tload_v(n0, 0);");
	put_products(a);
	close_loop(k);
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
	put_share(a, f, "");
	cu_line(k, "dl_barrier();");
	cu_line(k, "if (j0 + %lld < %lld)", (long long)f->rows,
		(long long)a->nr);
	cu_line(k, "\tload_v(n0 + j0 + %lld, 0);", (long long)f->rows);
	cu_line(k, "else if (n0 + %lld < %s)", (long long)a->nr, a->keys);
	cu_line(k, "\tload_k(n0 + %lld, 0);", (long long)a->nr);
	put_sums(a);
	close_loop(k);
}

static void put_results(struct attend_code *a)
{
	struct cu *k = a->k;
	struct block *b = a->op->region[4].block;
	long long run = a->run;

	open_loop(k, "r", a->rows, true);
	cu_line(k, "for (int d = %d; d; d /= 2)", ACROSS / 2);
	cu_line(k, "\ttotal[r] += dl_shuffle_xor(total[r], d);");
	/* The difference of -inf and itself. */
	cu_line(k, "const float none = most[r] == dl_f32(0xff800000) ? "
		"dl_f32(0x7fc00000) : 0.0f;");
	cu_line(k, "const int m = ty * %lld + r;", (long long)a->rows);
	open_loop(k, "c", a->run * a->runs, true);
	cu_line(k, "const int e = c / %lld * %lld + tx * %lld + c %% %lld;",
		run, run * ACROSS, run, run);
	cu_line(k, "if (e < %lld) {", (long long)a->width);
	k->depth++;
	cu_line(k, "const float v%u = acc[r][c] + none;",
		cu_number(k, b->arg[0]));
	cu_line(k, "const float v%u = total[r] + none;",
		cu_number(k, b->arg[1]));
	region(a, 4, "m", "e");
	close_loop(k);
	close_loop(k);
	close_loop(k);
}

void cu_attend(struct cu *k, struct op *op)
{
	struct attend_code a = describe(k, op);

	a.index = k->wide ? "i64" : "int";
	a.keys = cu_expr(k, op, expr_atom(op->region[1].block->iv[0])->a);
	put_start(&a);
	put_queries(&a);
	cu_line(k, "load_k(0, 0);");
	cu_line(k, "for (%s n0 = 0; n0 < %s; n0 += %lld) {", a.index, a.keys,
		(long long)a.nr);
	k->depth++;
	put_keys(&a);
	put_scores(&a);
	put_softmax(&a);
	put_values(&a);
	close_loop(k);
	put_results(&a);
}
