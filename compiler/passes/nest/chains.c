/* SPDX-License-Identifier: Apache-2.0 */
/* Quads for bytes: a shortest path.  Bins for quads: first fit, the largest
 * first (Johnson 1973). */
#include "passes/nest/chains.h"

#include <stdlib.h>
#include <string.h>

#include "ir/target.h"

/* In 16 bits u8 times so much of one sign fits. */
enum { FULL = 128, WINDOW = 1024, LANES = 2 * MAX_CHAIN_COLS };

/* What the pairs of each column add up to, at most, of both signs. */
struct sums {
	uint8_t of[2 * LANES];
};

struct item {
	struct sums sums;
	uint32_t first, hard;
	int8_t w[4 * MAX_CHAIN_COLS];
};

struct bin {
	struct sums sums;
	uint32_t n, item[MAX_CHAIN];
};

struct packing {
	unsigned cols;
	VEC(struct item) item;
	VEC(struct bin) bin;
};

static void add_item(struct packing *p, const int8_t *w, uint32_t first)
{
	struct item it = { .first = first };

	memcpy(it.w, w, 4 * (size_t)p->cols);
	for (unsigned i = 0; i < 4 * p->cols; i++) {
		unsigned sign = w[i] < 0, k = (unsigned)abs(w[i]);

		uint8_t *sum = &it.sums.of[sign * LANES + i / 2];

		*sum = (uint8_t)(*sum + k);
	}
	for (unsigned i = 0; i < 2 * LANES; i++)
		it.hard += (uint32_t)it.sums.of[i] * it.sums.of[i];
	vec_push(&p->item, it);
}

/* ---- which quads ---------------------------------------------------- */

/* Bytes that lie behind one another in a row, and their weights. */
struct run {
	const int8_t *w;
	unsigned cols;
	uint32_t n;
};

static int8_t weight(const struct run *r, uint32_t at, unsigned col)
{
	return r->w[(at / 4 * r->cols + col) * 4 + at % 4];
}

/* Can the products of a byte and the next one be added in 16 bits? */
static bool pair_fits(const struct run *r, uint32_t at)
{
	for (unsigned i = 0; i < r->cols; i++)
		if (!dot_pair_fits(weight(r, at, i), weight(r, at + 1, i)))
			return false;
	return true;
}

/* The first byte beyond those that a quad from `first` on can have, if it is
 * to have none before `from`. */
static uint32_t quad_end(const bool *fits, uint32_t first, uint32_t from)
{
	if (first >= from && !fits[first])
		return first + 1;
	return first + 2 >= from && !fits[first + 2] ? first + 3 : first + 4;
}

/* How all bytes up to one are had by the fewest quads: the last of these. */
struct cover {
	uint32_t n, first, from;
};

/*
 * Quads may begin at any byte: where a pair does not fit, the next one is that
 * of the following bytes.  They overlap then, with zeros.
 */
static void cover_run(const struct run *r, const bool *fits, struct cover *at)
{
	for (uint32_t i = 1; i <= r->n; i++)
		at[i].n = UINT32_MAX;
	at[0].n = 0;
	for (uint32_t i = 0; i < r->n; i++)
		for (uint32_t back = 0; back < 4 && back <= i; back++) {
			uint32_t first = i - back, end;

			if (at[i].n == UINT32_MAX || first + 4 > r->n)
				continue;
			end = quad_end(fits, first, i);
			if (end > i && at[i].n + 1 < at[end].n)
				at[end] = (struct cover){ at[i].n + 1, first,
							  i };
		}
}

/* `base` is the position of the run's first byte. */
static void add_run(struct packing *p, const struct run *r, uint32_t base)
{
	struct cover *at = xrealloc(NULL, r->n + 1, sizeof(*at));
	bool *fits = xrealloc(NULL, r->n + 1, sizeof(*fits));

	for (uint32_t i = 0; i + 1 < r->n; i++)
		fits[i] = pair_fits(r, i);
	cover_run(r, fits, at);
	for (uint32_t end = r->n; end; end = at[end].from) {
		int8_t w[4 * MAX_CHAIN_COLS] = { 0 };

		for (uint32_t k = at[end].from; k < end; k++)
			for (unsigned i = 0; i < r->cols; i++)
				w[i * 4 + k - at[end].first] = weight(r, k, i);
		add_item(p, w, base + at[end].first);
	}
	free(fits);
	free(at);
}

/* ---- which together ------------------------------------------------- */

static bool put_into(struct bin *b, const struct item *it, uint32_t at)
{
	struct sums all;
	uint8_t bad = 0;

	for (unsigned i = 0; i < 2 * LANES; i++) {
		uint8_t k = (uint8_t)(b->sums.of[i] + it->sums.of[i]);

		/* Neither is more than FULL: the sum is no more than 256, which
		 * is seen as less than one of them. */
		bad |= (uint8_t)((k > FULL) | (k < it->sums.of[i]));
		all.of[i] = k;
	}
	if (bad)
		return false;
	b->sums = all;
	b->item[b->n++] = at;
	return true;
}

static int harder(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->hard != y->hard)
		return x->hard < y->hard ? 1 : -1;
	if (x->first != y->first)
		return x->first > y->first ? 1 : -1;
	return memcmp(x->w, y->w, sizeof(x->w));
}

static void fill(struct packing *p)
{
	size_t first = 0;

	qsort(p->item.v, p->item.n, sizeof(*p->item.v), harder);
	for (uint32_t i = 0; i < p->item.n; i++) {
		bool done = false;
		size_t tried = 0;

		while (first < p->bin.n && p->bin.v[first].n == MAX_CHAIN)
			first++;
		for (size_t k = first;
		     k < p->bin.n && !done && tried < WINDOW; k++) {
			if (p->bin.v[k].n == MAX_CHAIN)
				continue;
			tried++;
			done = put_into(&p->bin.v[k], &p->item.v[i], i);
		}
		if (!done) {
			struct bin b = { .sums = p->item.v[i].sums, .n = 1,
					 .item = { i } };

			vec_push(&p->bin, b);
		}
	}
}

static void put_item(struct chains *c, const struct item *it, unsigned cols)
{
	for (unsigned i = 0; i < 4 * cols; i++)
		vec_push(&c->w, it->w[i]);
	vec_push(&c->first, it->first);
}

void chains_pack(const int8_t *w, size_t n, size_t run, unsigned cols,
		 struct chains *out)
{
	struct packing p = { .cols = cols };

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < n; i += run) {
		struct run r = { w + i * 4 * cols, cols, 4 * (uint32_t)run };

		add_run(&p, &r, 4 * (uint32_t)i);
	}
	fill(&p);
	for (unsigned len = MIN_CHAIN; len <= MAX_CHAIN; len++)
		for (size_t k = 0; k < p.bin.n; k++) {
			const struct bin *b = &p.bin.v[k];
			const struct item *it = p.item.v;

			if (b->n != len)
				continue;
			out->n[len]++;
			for (unsigned i = 0; i < len; i++)
				put_item(out, &it[b->item[i]], cols);
		}
	vec_free(&p.item);
	vec_free(&p.bin);
}

/* Each quad is multiplied and added; each chain is widened for the last. */
int64_t chains_cost(const struct chains *c)
{
	int64_t cost = 0;

	for (unsigned len = MIN_CHAIN; len <= MAX_CHAIN; len++)
		cost += (int64_t)c->n[len] * (2 * len + 1);
	return cost;
}

void chains_free(struct chains *c)
{
	vec_free(&c->w);
	vec_free(&c->first);
}
