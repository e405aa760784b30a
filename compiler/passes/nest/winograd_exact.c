/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Winograd's forms of integers: when they are exact.
 *
 * Their points are 0, +-1, +-2 and infinity, so that B' has integers only; the
 * rows of G are multiplied until theirs are, too, and A' makes up for that.  v
 * and u have to fit 16 bits.  All that follows is modulo 2^32 and comes to
 * s * y for a scale s = 2^k * odd.  A product with the inverse of the odd
 * factor makes that 2^k * y, and a shift y, if |y| < 2^(31-k), which the
 * weights and the range of the rows tell.
 */
#include "passes/nest/winograd.h"

static const struct range i16 = { INT16_MIN, INT16_MAX };

static bool holds(struct range r, double least, double most)
{
	return least >= (double)r.least && most <= (double)r.most;
}

/* Twos in the scale of the result. */
static unsigned twos(const struct winograd *f)
{
	return (unsigned)__builtin_ctz(f->scale * f->scale);
}

/* What k times a number of the range adds to the bounds of a sum. */
static void extend(struct range r, double k, double *least, double *most)
{
	*least += k * (double)(k > 0 ? r.least : r.most);
	*most += k * (double)(k > 0 ? r.most : r.least);
}

static bool rows_fit(const struct winograd *f, struct range rows)
{
	unsigned n = f->m + 2;
	double b[MAX_TAPS][MAX_TAPS] = { { 0 } };

	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < n; k++)
			for (unsigned j = 0; j < n; j++)
				b[i][j] += f->s[i][k] * f->r[k][j];
	for (unsigned i = 0; i < n * n; i++) {
		double least = 0, most = 0;

		for (unsigned j = 0; j < n * n; j++)
			extend(rows, b[i / n][j / n] * b[i % n][j % n], &least,
			       &most);
		if (!holds(i16, least, most))
			return false;
	}
	return true;
}

/* The largest of u for weights of at most 8 bits. */
static bool weights_fit(const struct winograd *f)
{
	double most = 0;

	for (unsigned i = 0; i < f->m + 2; i++) {
		double all = 0;

		for (unsigned k = 0; k < 3; k++)
			all += f->g[i][k] > 0 ? f->g[i][k] : -f->g[i][k];
		most = most > all ? most : all;
	}
	return holds(i16, -255 * most * most, 255 * most * most);
}

bool winograd_is_exact(const struct winograd *f, const struct windows *wn)
{
	unsigned k = twos(f);
	struct range y = { INT32_MIN >> k, INT32_MAX >> k };
	struct blob data;
	double w[3][3];

	if (!rows_fit(f, wn->rows) || !weights_fit(f))
		return false;
	value_const(wn->con.b->in[0].val, &data);
	for (int64_t co = 0; co < wn->c_out; co++) {
		double least = 0, most = 0;

		for (int64_t ci = 0; ci < wn->c_in; ci++) {
			winograd_taps(wn, data.data, ci, co, w);
			for (int i = 0; i < 9; i++)
				extend(wn->rows, w[i / 3][i % 3], &least,
				       &most);
		}
		if (!holds(y, least, most))
			return false;
	}
	return true;
}

bool winograd_row_range(const struct contraction *con, struct range *rows)
{
	const struct value *x = con->a->in[0].val;
	enum dtype t = x->type->dtype;
	union scalar other;

	/* Bytes that were widened. */
	if (dtype_info[t].bits > 8 && def_of(x, OP_nest_compute) &&
	    x->def->n_out == 1) {
		struct op *op = def_of(op_body(x->def)->last->in[0].val,
				       OP_arith_cast);

		t = op ? op->in[0].val->type->dtype : t;
	}
	if (dtype_is_float(t) || dtype_info[t].bits > 8 || t == DT_BOOL)
		return false;
	rows->least = dtype_is_signed(t) ? -128 : 0;
	rows->most = dtype_is_signed(t) ? 127 : 255;
	if (con->a->n_in == 1)
		return true;
	if (con->a->n_in > 2 || !scalar_const(con->a->in[1].val, &other))
		return false;
	rows->least = other.i < rows->least ? other.i : rows->least;
	rows->most = other.i > rows->most ? other.i : rows->most;
	return true;
}

struct value *winograd_unscaled(struct lower *lo, const struct winograd *f,
				struct value *v)
{
	uint32_t odd = f->scale * f->scale >> twos(f), inverse = odd;

	/* Newton: each step doubles the bits that are right, 3 at first. */
	for (int i = 0; i < 4; i++)
		inverse *= 2 - odd * inverse;
	if (odd > 1)
		v = s_mul(lo, v, s_int(lo, DT_I32, (int32_t)inverse));
	return s_op2(lo, OP_arith_shr, v, s_int(lo, DT_I32, twos(f)));
}
