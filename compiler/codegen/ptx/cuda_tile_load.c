/* SPDX-License-Identifier: Apache-2.0 */
/* How the factors of a kern.tile come to shared memory. */
#include "codegen/ptx/tile_code.h"

const char *tile_factor(unsigned i)
{
	return i ? "b" : "a";
}

static long long side(const struct tile_code *t, unsigned i)
{
	return i ? t->nr : t->mr;
}

/* The ops of a region, with its two variables named. */
void tile_region(struct tile_code *t, unsigned i, const char *first,
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

/* Elements from one row of k to the next. */
long long tile_row_elements(const struct tile_code *t, unsigned i)
{
	if (t->stages)
		return t->kr;
	return t->kr + PAD * WORD / (long long)dtype_size(t->in[i]);
}

long long tile_row_words(const struct tile_code *t)
{
	return tile_row_elements(t, 0) * (long long)dtype_size(t->in[0]) / WORD;
}

/* Elements of a factor in shared memory, for one step. */
long long tile_shared_elements(const struct tile_code *t, unsigned i)
{
	return t->mma ? side(t, i) * tile_row_elements(t, i)
		      : t->kr * (side(t, i) + PAD);
}

/* Groups of neighbours that each thread loads. */
static long long loads(const struct tile_code *t, unsigned i)
{
	return side(t, i) * t->kr / t->threads / t->vector[i];
}

/* Names the place of group e: threads side by side take what lies side by
 * side. */
static void put_place(struct tile_code *t, unsigned i, const char *k_type,
		      const char *k0)
{
	struct cu *k = t->k;
	bool along_k = op_int(t->op, i ? A_b_along_k : A_a_along_k);
	long long v = t->vector[i];
	long long line = (along_k ? t->kr : side(t, i)) / v;
	const char *by = v > 1 ? arena_fmt(&k->c->temp, " * %lld", v) : "";

	cu_line(k, "const int at = e * %u + dl_thread();", t->threads);
	cu_line(k, "const int row = at %c %lld%s;", along_k ? '/' : '%', line,
		along_k ? "" : by);
	cu_line(k, "const %s k = %sat %c %lld%s;", k_type, k0,
		along_k ? '%' : '/', line, along_k ? by : "");
}

/* "(16 bytes at the element that the region loads)", and in *cond when they
 * are there, or NULL. */
static const char *vector_address(struct tile_code *t, unsigned i,
				  const char **cond)
{
	struct cu *k = t->k;
	struct block *b = t->op->region[i].block;

	map_put(&k->atoms, expr_atom(b->iv[0])->serial, (void *)"row");
	map_put(&k->atoms, expr_atom(b->iv[1])->serial, (void *)"k");
	return cu_address(k, b->last->in[0].val->def, cond);
}

const char *tile_border(struct tile_code *t, unsigned i)
{
	const struct block *b = t->op->region[i].block;
	const struct op *load = b->last->in[0].val->def, *other;
	size_t n;

	op_exprs(load, A_guard, &n);
	other = n ? def_of(load->in[1].val, OP_arith_const) : NULL;
	if (!other || t->vector[i] == 1 || !dtype_is_byte(t->in[i]) ||
	    !op_int(other, A_value))
		return NULL;
	return arena_fmt(&t->k->c->temp, "0x%xu",
			 (unsigned)(op_int(other, A_value) & 0xff) *
				 0x01010101u);
}

/*
 * load_a(k0): registers reg_a[] from memory; zeros beyond the last k and where
 * a guard fails.
 */
static void put_load(struct tile_code *t, unsigned i)
{
	struct cu *k = t->k;
	const char *name = tile_factor(i), *type = k->wide ? "i64" : "int";
	const struct block *b = t->op->region[i].block;
	const struct expr *sum = expr_atom(b->iv[1])->a;
	bool whole = t->whole, vector = t->vector[i] > 1;
	const char *x, *cond, *fill = tile_border(t, i);

	cu_line(k, "%s reg_%s[%lld];",
		vector ? "uint4" : cu_mem_type(t->in[i]), name, loads(t, i));
	cu_line(k, "const auto load_%s = [&](%s k0) {", name, type);
	k->depth++;
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int e = 0; e < %lld; e++) {", loads(t, i));
	k->depth++;
	put_place(t, i, type, "k0 + ");
	cu_line(k, "reg_%s[e] = %s;", name, vector ? "uint4{}" : "0");
	if (!whole) {
		cu_line(k, "if (k < %s) {", cu_expr(k, t->op, sum));
		k->depth++;
	}
	if (vector) {
		x = vector_address(t, i, &cond);
		if (cond)
			cu_line(k, "if (%s)", cond);
		cu_line(k, "%sreg_%s[e] = *(const uint4 *)%s;",
			cond ? "\t" : "", name, x);
		if (cond && fill) {
			cu_line(k, "else");
			cu_line(k, "\treg_%s[e] = uint4{%s, %s, %s, %s};", name,
				fill, fill, fill, fill);
		}
	} else {
		tile_region(t, i, "row", "k");
		x = cu_to_mem(k, t->in[i], cu_val(k, b->last->in[0].val));
		cu_line(k, "reg_%s[e] = %s;", name, x);
	}
	for (int n = whole ? 2 : 3; n; n--) {
		k->depth--;
		cu_line(k, n == 1 ? "};" : "}");
	}
}

/* Registers to shared memory: rows of k for the tensor cores, else columns. */
static void put_share(struct tile_code *t, unsigned i)
{
	struct cu *k = t->k;
	const char *name = tile_factor(i), *type = cu_mem_type(t->in[i]);
	bool along_k = op_int(t->op, i ? A_b_along_k : A_a_along_k);
	long long v = t->vector[i];
	long long row = t->mma ? tile_row_elements(t, i) : 1;
	long long step = t->mma ? 1 : side(t, i) + PAD;

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int e = 0; e < %lld; e++) {", loads(t, i));
	k->depth++;
	put_place(t, i, "int", "");
	cu_line(k, "%s *const to = shared_%s + row * %lld + k * %lld;", type,
		name, row, step);
	if (v == 1) {
		cu_line(k, "*to = reg_%s[e];", name);
	} else if ((along_k ? step : row) == 1) {
		cu_line(k, "*(uint4 *)to = reg_%s[e];", name);
	} else {
		cu_line(k, "#pragma unroll");
		cu_line(k, "for (int i = 0; i < %lld; i++)", v);
		cu_line(k, "\tto[i * %lld] = ((const %s *)&reg_%s[e])[i];",
			along_k ? step : row, type, name);
	}
	k->depth--;
	cu_line(k, "}");
}

static void put_shared(struct tile_code *t, unsigned i)
{
	const char *type = cu_mem_type(t->in[i]);

	if (!t->stages) {
		cu_line(t->k, "DL_SHARED_ALIGNED(%s, shared_%s, %lld);", type,
			tile_factor(i), tile_shared_elements(t, i));
		return;
	}
	cu_line(t->k, "%s *const all_%s = (%s *)(dl_dynamic + %lld);", type,
		tile_factor(i), type,
		i ? t->stages * tile_shared_elements(t, 0) *
				(long long)dtype_size(t->in[0])
		  : 0);
}

/* ---- loading on the side -------------------------------------------- */

/* Names where in its stage a copy goes. */
static void put_chunk(struct tile_code *t, unsigned i)
{
	struct cu *k = t->k;
	const char *at = t->turned[i]
				 ? arena_fmt(&k->c->temp,
					     "row / %d * %lld + step * %d",
					     COLUMN, (long long)(COLUMN * t->kr),
					     COLUMN)
				 : arena_fmt(&k->c->temp, "row * %lld",
					     tile_row_elements(t, i));

	cu_line(k, "const int step = (int)(k - k0);");
	if (t->turned[i])
		cu_line(k, "const int chunk = row %% %d / %lld ^ step %% 8;",
			COLUMN, t->vector[i]);
	else
		cu_line(k, "const int chunk = step / %lld ^ row %% 8;",
			t->vector[i]);
	cu_line(k, "%s *const to = all_%s + stage * %lld + %s + chunk * %lld;",
		cu_mem_type(t->in[i]), tile_factor(i),
		tile_shared_elements(t, i), at, t->vector[i]);
}

/* load_a(k0, stage): starts copies to shared memory. */
static void put_copy(struct tile_code *t, unsigned i)
{
	struct cu *k = t->k;
	const char *name = tile_factor(i), *type = k->wide ? "i64" : "int";
	const struct block *b = t->op->region[i].block;
	const char *x, *cond, *step, *fill = tile_border(t, i);

	cu_line(k, "const auto load_%s = [&](%s k0, int stage) {", name, type);
	k->depth++;
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int e = 0; e < %lld; e++) {", loads(t, i));
	k->depth++;
	put_place(t, i, type, "k0 + ");
	x = vector_address(t, i, &cond);
	step = t->whole ? NULL
			: arena_fmt(&k->c->temp, "k < %s",
				    cu_expr(k, t->op,
					    expr_atom(b->iv[1])->a));
	cu_line(k, "const bool there = %s%s%s;", cond ? cond : "",
		cond && step ? " && " : "", step ? step : cond ? "" : "true");
	put_chunk(t, i);
	if (cond && fill) {
		cu_line(k, "if (!there%s%s)", step ? " && " : "",
			step ? step : "");
		cu_line(k, "\t*(uint4 *)to = uint4{%s, %s, %s, %s};", fill,
			fill, fill, fill);
		cu_line(k, "else");
		k->depth++;
	}
	cu_line(k, "dl_copy16(to, %s, there);", x);
	k->depth -= cond && fill;
	k->depth--;
	cu_line(k, "}");
	k->depth--;
	cu_line(k, "};");
}

void tile_shared(struct tile_code *t)
{
	for (unsigned i = 0; i < 2; i++)
		put_shared(t, i);
}

void tile_loads(struct tile_code *t)
{
	tile_shared(t);
	for (unsigned i = 0; i < 2; i++)
		if (t->stages)
			put_copy(t, i);
		else
			put_load(t, i);
}

void tile_share(struct tile_code *t)
{
	for (unsigned i = 0; i < 2; i++)
		put_share(t, i);
}
