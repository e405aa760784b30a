/* SPDX-License-Identifier: Apache-2.0 */
/* Winograd's matrices, when they pay, and the weights. */
#include <string.h>

#include "ir/target.h"
#include "passes/nest/winograd.h"

/*
 * Toom and Cook's points 0, +-P, +-Q and infinity.  Rows of B' and columns of
 * A' for +P and -P are sums and differences of the same two halves.  Q = 0
 * stands for no such pair.  Of integers each row of G is a multiple of the true one;
 * the scale divided by that multiple has gone to p.
 */
#define P2 (P * P)
#define Q2 (Q * Q)

#define P 1.0
static const struct winograd f2 = {
	.m = 2,
	.r = { { -P2, 0, 1 }, { 0, 0, 1 }, { 0, 1 }, { 0, -P2, 0, 1 } },
	.s = { { 1 }, { 0, 1, P }, { 0, 1, -P }, { 0, 0, 0, 1 } },
	.g = { { -1 / P2 },
	       { .5 / P2, .5 / P, .5 },
	       { .5 / P2, -.5 / P, .5 },
	       { 0, 0, 1 } },
	.q = { { 1 }, { 0, 1, 1 }, { 0, 1, -1 }, { 0, 0, 0, 1 } },
	.p = { { 1, 1 }, { 0, 0, P, 1 } },
};

static const struct winograd f2_integer = {
	.m = 2,
	.scale = 2,
	.r = { { -P2, 0, 1 }, { 0, 0, 1 }, { 0, 1 }, { 0, -P2, 0, 1 } },
	.s = { { 1 }, { 0, 1, P }, { 0, 1, -P }, { 0, 0, 0, 1 } },
	.g = { { -1 }, { 1, 1, 1 }, { 1, -1, 1 }, { 0, 0, 1 } },
	.q = { { 1 }, { 0, 1, 1 }, { 0, 1, -1 }, { 0, 0, 0, 1 } },
	.p = { { 2, 1 }, { 0, 0, P, 2 } },
};
#undef P

/* B' for four points and infinity. */
#define R4                                                                  \
	{ { P2 * Q2, 0, -P2 - Q2, 0, 1 },                                   \
	  { 0, 0, -Q2, 0, 1 },                                              \
	  { 0, -Q2, 0, 1 },                                                 \
	  { 0, 0, -P2, 0, 1 },                                              \
	  { 0, -P2, 0, 1 },                                                 \
	  { 0, P2 * Q2, 0, -P2 - Q2, 0, 1 } }
#define S4                                                                  \
	{ { 1 },                                                            \
	  { 0, 1, P },                                                      \
	  { 0, 1, -P },                                                     \
	  { 0, 0, 0, 1, Q },                                                \
	  { 0, 0, 0, 1, -Q },                                               \
	  { 0, 0, 0, 0, 0, 1 } }
#define Q4                                                                  \
	{ { 1 },                                                            \
	  { 0, 1, 1 },                                                      \
	  { 0, 1, -1 },                                                     \
	  { 0, 0, 0, 1, 1 },                                                \
	  { 0, 0, 0, 1, -1 },                                               \
	  { 0, 0, 0, 0, 0, 1 } }

#define P 0.625
#define Q 1.5
static const struct winograd f4 = {
	.m = 4,
	.r = R4,
	.s = S4,
	.g = { { 1 / (P2 * Q2) },
	       { .5 / (P2 * (P2 - Q2)), .5 / (P * (P2 - Q2)), .5 / (P2 - Q2) },
	       { .5 / (P2 * (P2 - Q2)), -.5 / (P * (P2 - Q2)), .5 / (P2 - Q2) },
	       { .5 / (Q2 * (Q2 - P2)), .5 / (Q * (Q2 - P2)), .5 / (Q2 - P2) },
	       { .5 / (Q2 * (Q2 - P2)), -.5 / (Q * (Q2 - P2)), .5 / (Q2 - P2) },
	       { 0, 0, 1 } },
	.q = Q4,
	.p = { { 1, 1, 0, 1 },
	       { 0, 0, P, 0, Q },
	       { 0, P2, 0, Q2 },
	       { 0, 0, P *P2, 0, Q *Q2, 1 } },
};

#undef P
#undef Q

/* The scale is 24: rows of G are 4, -6, -6, 24, 24 and 1 times the true
 * ones. */
#define P 1
#define Q 2
static const struct winograd f4_integer = {
	.m = 4,
	.scale = 24,
	.r = R4,
	.s = S4,
	.g = { { 1 },
	       { 1, 1, 1 },
	       { 1, -1, 1 },
	       { 1, 2, 4 },
	       { 1, -2, 4 },
	       { 0, 0, 1 } },
	.q = Q4,
	.p = { { 6, -4, 0, 1 },
	       { 0, 0, -4, 0, 2 },
	       { 0, -4, 0, 4 },
	       { 0, 0, -4, 0, 8, 24 } },
};

const struct winograd *winograd_form(const struct windows *wn, int m)
{
	const struct winograd *f = m == 4 ? wn->dot ? &f4_integer : &f4
				   : wn->dot ? &f2_integer : &f2;

	return !wn->dot || winograd_is_exact(f, wn) ? f : NULL;
}

/* ---- the choice ----------------------------------------------------- */

static double vectors(const struct ctx *c, int64_t channels, enum dtype t)
{
	int64_t lanes = target_lanes(c->target, dtype_info[t].bits);

	return (double)((channels + lanes - 1) / lanes);
}

/* Images, where their number is known. */
static int64_t known_images(const struct windows *wn)
{
	const struct block *out = op_body(wn->con.compute);
	int64_t all = 1, n;

	for (uint32_t i = 0; i < out->n_iv; i++)
		if (i != wn->con.col && i != wn->row[0] && i != wn->row[1] &&
		    expr_is_const(expr_atom(out->iv[i])->a, &n) && n > 0)
			all = n > (1 << 20) / all ? 1 << 20 : all * n;
	return all;
}

/*
 * Issue slots, two a cycle, of `times` products of that many rows; their
 * weights, of such a type, come from memory.
 */
static double product_cost(struct ctx *c, const struct windows *wn,
			   const struct dot *dot, enum dtype weights,
			   double times, int64_t rows)
{
	const struct isa *isa = c->target->isa;
	double best = 0, cost;

	for (int i = 0; i < MAX_TILES && isa->tile[i].mr; i++) {
		unsigned nv = isa->tile[i].nv;
		int64_t width = (int64_t)nv * target_lanes(c->target, 32);

		cost = (double)target_cold_cost(c->target, rows, nv) *
		       (double)((wn->c_out + width - 1) / width);
		best = best > 0 && best < cost ? best : cost;
	}
	if (dot)
		best *= (double)dot->steps / dot->group;
	cost = (double)wn->c_out * (double)dtype_size(weights) * 2 /
	       isa->dram_bytes_cycle;
	best = best > cost ? best : cost;
	return best * times * (double)wn->c_in;
}

/*
 * A transform loads, stores and keeps (m+2)^2 vectors and takes about four
 * operations for each on the way in, three on the way out.
 */
static double winograd_cost(struct ctx *c, const struct windows *wn,
			    const struct winograd *f)
{
	enum { IN = 8, OUT = 6, LAUNCH = 8000 };
	int64_t m = f->m, n2 = (m + 2) * (m + 2);
	int64_t tiles = known_images(wn) * ((wn->size[0] + m - 1) / m) *
			((wn->size[1] + m - 1) / m);

	return product_cost(c, wn, wn->dot, wn->elem, (double)n2, tiles) +
	       (double)tiles * (double)n2 *
		       (IN * vectors(c, wn->c_in, wn->elem) +
			OUT * vectors(c, wn->c_out, wn->sum)) +
	       LAUNCH;
}

const struct winograd *winograd_choose(struct ctx *c, const struct windows *wn,
				       int64_t most_bytes)
{
	static const int form[] = { 4, 2 };
	int64_t lanes = target_lanes(c->target, 32);
	const struct winograd *best = NULL;

	if (wn->size[0] > 1 << 20 || wn->size[1] > 1 << 20 ||
	    wn->c_in < lanes || wn->c_out < lanes)
		return NULL;
	const struct dot *dot = contraction_dot(c, &wn->con);
	enum dtype weights = dot ? dot->panel : wn->elem;
	/* An estimate must promise something. */
	double least = 0.9 * product_cost(c, wn, dot, weights, 9,
					  known_images(wn) * wn->size[0] *
						  wn->size[1]);

	for (unsigned i = 0; i < ARRAY_SIZE(form); i++) {
		const struct winograd *f = winograd_form(wn, form[i]);
		double cost = f ? winograd_cost(c, wn, f) : least;

		if (cost < least && winograd_bytes(f, wn) <= most_bytes) {
			least = cost;
			best = f;
		}
	}
	return best;
}

/*
 * The intermediate tensors of a strip should stay in the second-level cache,
 * but its products also want rows: the weights stream past each strip.
 */
int64_t winograd_tiles(const struct ctx *c, const struct windows *wn)
{
	enum { LEAST_TILES = 48 };
	int64_t n = wn->f->m + 2;
	int64_t bytes = n * n *
			(wn->c_in * (int64_t)dtype_size(wn->elem) +
			 wn->c_out * (int64_t)dtype_size(wn->sum));
	int64_t tiles = c->target->isa->l2_bytes / 4 * 3 / bytes;

	return tiles < LEAST_TILES ? LEAST_TILES : tiles;
}

int64_t winograd_strip(const struct windows *wn, int images_dim,
		       int64_t *images, int64_t *lines)
{
	const struct block *out = op_body(wn->con.compute);
	int64_t m = wn->f->m, all = (wn->size[0] + m - 1) / m;
	int64_t line = (wn->size[1] + m - 1) / m, n = 1, k;

	*images = *lines = 0;
	k = wn->tiles / (line * all);
	if (images_dim >= 0 &&
	    !expr_is_const(expr_atom(out->iv[images_dim])->a, &n))
		*images = 1;	/* rows whose number is known */
	else if (k < n && n > 1)
		*images = k > 1 ? k : 1;
	n = *images ? *images : n;
	if (line * all < 2 * wn->tiles)
		return n * line * all;
	/* As even as whole lines can be. */
	k = wn->tiles > line ? wn->tiles / line : 1;
	k = (all + k - 1) / k;
	*lines = (all + k - 1) / k;
	return n * line * *lines;
}

/* ---- weights -------------------------------------------------------- */

int64_t winograd_bytes(const struct winograd *f, const struct windows *wn)
{
	int64_t n = f->m + 2, k;

	if (__builtin_mul_overflow(wn->c_in, wn->c_out, &k) ||
	    __builtin_mul_overflow(k, n * n * (int64_t)dtype_size(wn->elem),
				   &k))
		return INT64_MAX;
	return k;
}

/* u = G w G' for one pair of channels. */
static void transform(const struct winograd *f, double w[3][3],
		      double u[MAX_TAPS][MAX_TAPS])
{
	unsigned n = f->m + 2;
	double t[3];

	for (unsigned a = 0; a < n; a++) {
		for (unsigned q = 0; q < 3; q++)
			t[q] = f->g[a][0] * w[0][q] + f->g[a][1] * w[1][q] +
			       f->g[a][2] * w[2][q];
		for (unsigned b = 0; b < n; b++)
			u[a][b] = t[0] * f->g[b][0] + t[1] * f->g[b][1] +
				  t[2] * f->g[b][2];
	}
}

void winograd_taps(const struct windows *wn, const char *data, int64_t ci,
		   int64_t co, double w[3][3])
{
	int64_t at = wn->base + co * wn->step[0] + ci * wn->step[1];
	enum dtype t = wn->con.b->out[0].type->dtype;

	for (int y = 0; y < 3; y++)
		for (int x = 0; x < 3; x++) {
			int64_t i = at + y * wn->step[2] + x * wn->step[3];
			union scalar k = scalar_get(t, data, (size_t)i);

			w[y][x] = wn->dot ? (double)k.i : k.d;
		}
}

struct value *winograd_weights(struct builder *b, const struct windows *wn,
			       int64_t width)
{
	struct ctx *c = b->ctx;
	int64_t n = wn->f->m + 2, panels = (wn->c_out + width - 1) / width;
	int64_t group = wn->dot ? wn->dot->group : 1;
	const struct expr *dim[] = { expr_const(c, n), expr_const(c, n),
				     expr_const(c, panels),
				     expr_const(c, wn->c_in / group),
				     expr_const(c, width),
				     expr_const(c, group) };
	size_t plane = (size_t)(panels * wn->c_in * width);
	size_t size = (size_t)(n * n) * plane * dtype_size(wn->elem);
	void *data = arena_alloc(&c->perm, size);
	float *f32 = data;
	int16_t *i16 = data;
	struct blob from;
	double w[3][3], u[MAX_TAPS][MAX_TAPS];

	/* Columns beyond the last one stay 0. */
	if (wn->c_out % width)
		memset(data, 0, size);
	value_const(wn->con.b->in[0].val, &from);
	for (int64_t co = 0; co < wn->c_out; co++)
		for (int64_t ci = 0; ci < wn->c_in; ci++) {
			size_t at = (size_t)(((co / width * wn->c_in + ci) /
						      group * width +
					      co % width) * group +
					     ci % group);

			winograd_taps(wn, from.data, ci, co, w);
			transform(wn->f, w, u);
			for (int64_t k = 0; k < n * n; k++, at += plane)
				if (wn->dot)
					i16[at] = (int16_t)u[k / n][k % n];
				else
					f32[at] = (float)u[k / n][k % n];
		}
	return build_const(b, type_tensor(c, wn->elem, group > 1 ? 6 : 5, dim),
			   (struct blob){ data, size });
}
