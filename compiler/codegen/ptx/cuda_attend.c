/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kern.attend: a block keeps its queries and walks over the keys.  Each step it
 * multiplies queries by some keys, makes scores of the sums, and from these the
 * maximum so far and exponentials; what was added up before is scaled to the
 * new maximum (Milakov and Gimelshein, algorithm 3).  Then it adds the
 * exponentials times values.  Keys and values are on their way while what came
 * before them is multiplied.
 *
 * All factors lie in shared memory as in a matrix, with 16 bytes behind each
 * row: then threads side by side that read 16 bytes each, in rows side by side,
 * meet no bank twice.
 */
#include "codegen/ptx/attend_code.h"

enum { FEWEST = 32 };		/* queries of a tile */

static int64_t extent(const struct op *op, unsigned region, unsigned i)
{
	int64_t n = 0;

	expr_is_const(expr_atom(op->region[region].block->iv[i])->a, &n);
	return n;
}

static void describe_factor(struct attend_code *a, unsigned i)
{
	static const char *const name[] = { "q", "k", "v" };
	static const unsigned region[] = { 0, 1, 3 };
	const struct block *b = a->op->region[region[i]].block;
	size_t n;

	a->f[i] = (struct factor){
		.name = name[i], .region = region[i],
		.depth = extent(a->op, region[i], 1),
		.type = b->last->in[0].val->type->dtype,
		.along = op_ints(a->op, A_along, &n)[i],
		.vector = op_ints(a->op, A_vector, &n)[i],
	};
}

static struct attend_code describe(struct cu *k, struct op *op)
{
	struct attend_code a = { .k = k, .op = op };

	a.mr = op_int(op, A_mr);
	a.nr = op_int(op, A_nr);
	a.depth = extent(op, 0, 1);
	a.width = extent(op, 3, 1);
	a.fp32 = (enum fp32_form)op_int(op, A_fp32);
	for (unsigned i = 0; i < N_FACTORS; i++)
		describe_factor(&a, i);
	a.few = a.mr < FEWEST;
	a.part = op_has(op, A_first);
	a.mma = !a.few && (a.fp32 != FP32_IEEE || a.f[Q].type != DT_F32);
	if (a.few)
		attend_lanes_describe(&a);
	else if (a.mma)
		attend_mma_describe(&a);
	else
		attend_squares_describe(&a);
	return a;
}

unsigned cu_attend_threads(struct cu *k, struct op *op)
{
	return describe(k, op).threads;
}

void attend_region(struct attend_code *a, unsigned i, const char *first,
		   const char *second)
{
	struct tile_code t = { .k = a->k, .op = a->op };

	tile_region(&t, i, first, second);
}

void attend_loop(struct cu *k, const char *var, int64_t n, bool brace)
{
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int %s = 0; %s < %lld; %s++)%s", var, var,
		(long long)n, var, brace ? " {" : "");
	k->depth++;
}

void attend_end(struct cu *k)
{
	k->depth--;
	cu_line(k, "}");
}

/* ---- loads ---------------------------------------------------------- */

static long long loads(const struct attend_code *a, const struct factor *f)
{
	return f->rows * f->cols / a->threads / f->vector;
}

/* Row and column, among those at a time, of the thread's place number e. */
static void put_place(struct attend_code *a, const struct factor *f)
{
	struct cu *k = a->k;
	long long v = f->vector;
	long long line = (f->along ? f->cols : f->rows) / v;
	const char *by = v > 1 ? arena_fmt(&k->c->temp, " * %lld", v) : "";

	cu_line(k, "const int at = e * %u + dl_thread();", a->threads);
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

	if (a->few)
		rows = arena_fmt(temp, "row < %s", a->limit);
	else if (f->region != Q &&
		 !(expr_is_const(expr_atom(b->iv[0])->a, &n) &&
		   n % a->nr == 0))
		rows = arena_fmt(temp, "row < %s", a->keys);
	if (f->depth % f->cols)
		cols = arena_fmt(temp, "col < %lld", (long long)f->depth);
	return rows && cols ? arena_fmt(temp, "%s && %s", rows, cols)
	       : rows	    ? rows
			    : cols;
}

/* Address of the vector at row and col, and in *cond when it is there. */
static const char *vector_address(struct attend_code *a,
				  const struct factor *f, const char **cond)
{
	const struct block *b = a->op->region[f->region].block;
	struct map *atoms = &a->k->atoms;

	map_put(atoms, expr_atom(b->iv[0])->serial, (void *)"row");
	map_put(atoms, expr_atom(b->iv[1])->serial, (void *)"col");
	return cu_address(a->k, b->last->in[0].val->def, cond);
}

void attend_element(struct attend_code *a, const struct factor *f)
{
	struct cu *k = a->k;
	const struct value *v =
		a->op->region[f->region].block->last->in[0].val;
	const char *cond = inside(a, f), *at;
	bool cut = cond;

	cu_line(k, "reg_%s[e] = %s;", f->name, f->vector > 1 ? "uint4{}" : "0");
	if (cut) {
		cu_line(k, "if (%s) {", cond);
		k->depth++;
	}
	if (f->vector > 1) {
		at = vector_address(a, f, &cond);
		if (cond)
			cu_line(k, "if (%s)", cond);
		cu_line(k, "%sreg_%s[e] = *(const uint4 *)%s;",
			cond ? "\t" : "", f->name, at);
	} else {
		attend_region(a, f->region, "row", "col");
		cu_line(k, "reg_%s[e] = %s;", f->name,
			cu_to_mem(k, f->type, cu_val(k, v)));
	}
	if (cut)
		attend_end(k);
}

static void put_copy(struct attend_code *a, const struct factor *f)
{
	struct cu *k = a->k;
	const char *cut = inside(a, f), *cond;
	const char *at = vector_address(a, f, &cond);

	cu_line(k, "dl_copy16(shared_%s + down * %lld + on, %s, %s%s%s);",
		f->name, (long long)f->stride, at, cut ? cut : "",
		cut && cond ? " && " : "",
		cond  ? cond
		: cut ? ""
		      : "true");
}

void attend_load(struct attend_code *a, const struct factor *f)
{
	struct cu *k = a->k;

	if (!f->copies)
		cu_line(k, "%s reg_%s[%lld];",
			f->vector > 1 ? "uint4" : cu_mem_type(f->type),
			f->name, loads(a, f));
	cu_line(k, "const auto load_%s = [&](%s row0, int col0) {", f->name,
		a->index);
	k->depth++;
	attend_loop(k, "e", loads(a, f), true);
	put_place(a, f);
	cu_line(k, "const %s row = row0 + down;", a->index);
	cu_line(k, "const int col = col0 + on;");
	if (f->copies)
		put_copy(a, f);
	else
		attend_element(a, f);
	attend_end(k);
	if (f->copies)
		cu_line(k, "dl_copy_commit();");
	k->depth--;
	cu_line(k, "};");
}

void attend_share(struct attend_code *a, const struct factor *f,
		  const char *first)
{
	struct cu *k = a->k;
	const char *type = cu_mem_type(f->type);

	attend_loop(k, "e", loads(a, f), true);
	put_place(a, f);
	cu_line(k, "%s *const to = shared_%s + down * %lld + on%s;", type,
		f->name, (long long)f->stride, first);
	if (f->vector == 1) {
		cu_line(k, "*to = reg_%s[e];", f->name);
	} else if (f->along) {
		cu_line(k, "*(uint4 *)to = reg_%s[e];", f->name);
	} else {
		attend_loop(k, "i", f->vector, false);
		cu_line(k, "to[i * %lld] = ((const %s *)&reg_%s[e])[i];",
			(long long)f->stride, type, f->name);
		k->depth--;
	}
	attend_end(k);
}

/* ---- scores and sums ------------------------------------------------ */

void attend_score(struct attend_code *a, const char *sum)
{
	struct cu *k = a->k;
	struct block *b = a->op->region[2].block;

	cu_line(k, "float score = dl_f32(0xff800000);");
	cu_line(k, "if (n < %s) {", a->part ? a->limit : a->keys);
	k->depth++;
	cu_line(k, "const float v%u = %s;", cu_number(k, b->arg[0]), sum);
	attend_region(a, 2, "m", "n");
	cu_line(k, "score = %s;", cu_val(k, b->last->in[0].val));
	attend_end(k);
}

/* Three products of tf32 take all registers there are: ptxas spills fewer where
 * it can take a maximum apart, as the template does. */
const char *attend_max(const struct attend_code *a)
{
	return a->fp32 == FP32_TF32X3 ? "dl_max<float>" : "dl_max";
}

/* Where all keys so far are -inf it is 0 that is subtracted; should there be no
 * others, attend_result() makes NaN of that. */
void attend_rescale(struct attend_code *a, const char *most, unsigned lanes)
{
	struct cu *k = a->k;

	if (lanes > 1) {
		cu_line(k, "for (int d = %u; d; d /= 2)", lanes / 2);
		cu_line(k, "\tnext = %s(next, dl_shuffle_xor(next, d));",
			attend_max(a));
	}
	cu_line(k, "const float base = next == dl_f32(0xff800000) ? 0.0f "
		": next;");
	cu_line(k, "const float scale = expf(%s - base);", most);
	cu_line(k, "%s = next;", most);
}

void attend_result(struct attend_code *a, const char *sum, const char *total,
		   const char *most)
{
	struct cu *k = a->k;
	struct block *b = a->op->region[4].block;
	const char *none = a->part ? "" : " + none";

	cu_line(k, "if (e < %lld) {", (long long)a->width);
	k->depth++;
	if (!a->part)
		/* The difference of -inf and itself. */
		cu_line(k, "const float none = %s == dl_f32(0xff800000) ? "
			"dl_f32(0x7fc00000) : 0.0f;", most);
	cu_line(k, "const float v%u = %s%s;", cu_number(k, b->arg[0]), sum,
		none);
	cu_line(k, "const float v%u = %s%s;", cu_number(k, b->arg[1]), total,
		none);
	attend_region(a, 4, "m", "e");
	attend_end(k);
}

void attend_part(struct attend_code *a, const char *own, const char *total,
		 const char *most)
{
	struct cu *k = a->k;
	struct block *b;

	if (!a->part)
		return;
	b = a->op->region[5].block;
	cu_line(k, "if (%s) {", own);
	k->depth++;
	cu_line(k, "const float v%u = %s;", cu_number(k, b->arg[0]), most);
	cu_line(k, "const float v%u = %s;", cu_number(k, b->arg[1]), total);
	attend_region(a, 5, "m", NULL);
	attend_end(k);
}

/* Which keys are walked over: all, or those that are seen, of a part. */
static void put_range(struct attend_code *a)
{
	struct cu *k = a->k;
	struct op *op = a->op;
	size_t n;
	const struct expr *const *seen = op_exprs(op, A_seen, &n);

	a->index = k->wide ? "i64" : "int";
	a->keys = cu_expr(k, op, expr_atom(op->region[1].block->iv[0])->a);
	a->first = a->part ? "first" : "0";
	a->limit = n ? "limit" : a->keys;
	if (a->part)
		cu_line(k, "const %s first = %s;", a->index,
			cu_expr(k, op, op_exprs(op, A_first, &n)[0]));
	if (a->limit != a->keys)
		cu_line(k, "const %s limit = dl_imin(%s(%s), %s(%s));",
			a->index, a->index, a->keys, a->index,
			cu_expr(k, op, seen[0]));
}

void cu_attend(struct cu *k, struct op *op)
{
	struct attend_code a = describe(k, op);

	put_range(&a);
	if (a.few)
		attend_lanes(&a);
	else if (a.mma)
		attend_mma(&a);
	else
		attend_squares(&a);
}
