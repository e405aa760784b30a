/* SPDX-License-Identifier: Apache-2.0 */
/* Winograd's matrices, when they pay, and the weights. */
#include <string.h>

#include "ir/target.h"
#include "passes/nest/winograd.h"

/*
 * Toom and Cook's points 0, +-P, +-Q and infinity.  Rows of B' and columns of
 * A' for +P and -P are sums and differences of the same two halves.  Q = 0 stands
 * for no such pair.
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
#undef P

#define P 0.625
#define Q 1.5
static const struct winograd f4 = {
	.m = 4,
	.r = { { P2 * Q2, 0, -P2 - Q2, 0, 1 },
	       { 0, 0, -Q2, 0, 1 },
	       { 0, -Q2, 0, 1 },
	       { 0, 0, -P2, 0, 1 },
	       { 0, -P2, 0, 1 },
	       { 0, P2 * Q2, 0, -P2 - Q2, 0, 1 } },
	.s = { { 1 },
	       { 0, 1, P },
	       { 0, 1, -P },
	       { 0, 0, 0, 1, Q },
	       { 0, 0, 0, 1, -Q },
	       { 0, 0, 0, 0, 0, 1 } },
	.g = { { 1 / (P2 * Q2) },
	       { .5 / (P2 * (P2 - Q2)), .5 / (P * (P2 - Q2)), .5 / (P2 - Q2) },
	       { .5 / (P2 * (P2 - Q2)), -.5 / (P * (P2 - Q2)), .5 / (P2 - Q2) },
	       { .5 / (Q2 * (Q2 - P2)), .5 / (Q * (Q2 - P2)), .5 / (Q2 - P2) },
	       { .5 / (Q2 * (Q2 - P2)), -.5 / (Q * (Q2 - P2)), .5 / (Q2 - P2) },
	       { 0, 0, 1 } },
	.q = { { 1 },
	       { 0, 1, 1 },
	       { 0, 1, -1 },
	       { 0, 0, 0, 1, 1 },
	       { 0, 0, 0, 1, -1 },
	       { 0, 0, 0, 0, 0, 1 } },
	.p = { { 1, 1, 0, 1 },
	       { 0, 0, P, 0, Q },
	       { 0, P2, 0, Q2 },
	       { 0, 0, P *P2, 0, Q *Q2, 1 } },
};

const struct winograd *winograd_form(int m)
{
	return m == 4 ? &f4 : &f2;
}

/* ---- the choice ----------------------------------------------------- */

static int64_t vectors(const struct ctx *c, int64_t channels)
{
	int64_t lanes = target_lanes(c->target, 32);

	return (channels + lanes - 1) / lanes;
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
 * weights come from memory.
 */
static double product_cost(struct ctx *c, const struct windows *wn,
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
	cost = (double)wn->c_out * sizeof(float) * 2 / isa->dram_bytes_cycle;
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

	return product_cost(c, wn, (double)n2, tiles) +
	       (double)tiles * (double)n2 *
		       (double)(IN * vectors(c, wn->c_in) +
				OUT * vectors(c, wn->c_out)) +
	       LAUNCH;
}

const struct winograd *winograd_choose(struct ctx *c, const struct windows *wn,
				       int64_t most_bytes)
{
	static const struct winograd *const form[] = { &f4, &f2 };
	int64_t lanes = target_lanes(c->target, 32);
	const struct winograd *best = NULL;

	if (wn->size[0] > 1 << 20 || wn->size[1] > 1 << 20 ||
	    wn->c_in < lanes || wn->c_out < lanes)
		return NULL;
	/* An estimate must promise something. */
	double least = 0.9 * product_cost(c, wn, 9,
					  known_images(wn) * wn->size[0] *
						  wn->size[1]);

	for (unsigned i = 0; i < ARRAY_SIZE(form); i++) {
		double cost = winograd_cost(c, wn, form[i]);

		if (cost < least && winograd_bytes(form[i], wn) <= most_bytes) {
			least = cost;
			best = form[i];
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
	int64_t bytes = n * n * (wn->c_in + wn->c_out) * (int64_t)sizeof(float);
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
	    __builtin_mul_overflow(k, n * n * (int64_t)sizeof(float), &k))
		return INT64_MAX;
	return k;
}

/* u = G w G' for one pair of channels, at a distance of `plane`. */
static void transform(const struct winograd *f, double w[3][3], float *u,
		      size_t plane)
{
	unsigned n = f->m + 2;
	double t[MAX_TAPS][3];

	for (unsigned a = 0; a < n; a++)
		for (unsigned q = 0; q < 3; q++)
			t[a][q] = f->g[a][0] * w[0][q] + f->g[a][1] * w[1][q] +
				  f->g[a][2] * w[2][q];
	for (unsigned a = 0; a < n; a++)
		for (unsigned b = 0; b < n; b++, u += plane)
			*u = (float)(t[a][0] * f->g[b][0] +
				     t[a][1] * f->g[b][1] +
				     t[a][2] * f->g[b][2]);
}

static void weight_at(const struct windows *wn, const char *data, int64_t ci,
		      int64_t co, double w[3][3])
{
	int64_t at = wn->base + co * wn->step[0] + ci * wn->step[1];
	enum dtype t = wn->con.b->out[0].type->dtype;

	for (int y = 0; y < 3; y++)
		for (int x = 0; x < 3; x++) {
			int64_t i = at + y * wn->step[2] + x * wn->step[3];

			w[y][x] = scalar_get(t, data, (size_t)i).d;
		}
}

struct value *winograd_weights(struct builder *b, const struct windows *wn,
			       int64_t width)
{
	struct ctx *c = b->ctx;
	int64_t n = wn->f->m + 2, panels = (wn->c_out + width - 1) / width;
	const struct expr *dim[] = { expr_const(c, n), expr_const(c, n),
				     expr_const(c, panels),
				     expr_const(c, wn->c_in),
				     expr_const(c, width) };
	size_t plane = (size_t)(panels * wn->c_in * width);
	size_t size = (size_t)(n * n) * plane * sizeof(float);
	float *u = arena_alloc(&c->perm, size);
	struct blob from;
	double w[3][3];

	/* Columns beyond the last one stay 0. */
	if (wn->c_out % width)
		memset(u, 0, size);
	value_const(wn->con.b->in[0].val, &from);
	for (int64_t co = 0; co < wn->c_out; co++)
		for (int64_t ci = 0; ci < wn->c_in; ci++) {
			weight_at(wn, from.data, ci, co, w);
			transform(wn->f, w,
				  u + (co / width * wn->c_in + ci) * width +
					  co % width,
				  plane);
		}
	return build_const(b, type_tensor(c, DT_F32, 5, dim),
			   (struct blob){ u, size });
}
