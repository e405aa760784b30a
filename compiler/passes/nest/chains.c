/* SPDX-License-Identifier: Apache-2.0 */
/* Bins for quads: first fit, the largest first (Johnson 1973). */
#include "passes/nest/chains.h"

#include <stdlib.h>
#include <string.h>

/* In 16 bits u8 times so much of one sign fits; what a split quad keeps. */
enum { FULL = 128, KEPT = 64, WINDOW = 1024, LANES = 2 * MAX_CHAIN_COLS };

/* What the pairs of each column add up to, at most, of both signs. */
struct sums {
	uint8_t of[2 * LANES];
};

struct item {
	struct sums sums;
	uint32_t quad, hard;
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

static void add_item(struct packing *p, const int8_t *w, uint32_t quad)
{
	struct item it = { .quad = quad };

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

static int part(int w, unsigned sign)
{
	return sign ? (w < 0 ? -w : 0) : (w > 0 ? w : 0);
}

/* Takes what is too much of one sign from a pair, the larger weight first, and
 * leaves it in `rest`. */
static void clip(int8_t *w, int8_t *rest, unsigned sign, int most)
{
	int all = part(w[0], sign) + part(w[1], sign), big, k;

	/* The rest has to fit, too. */
	if (all - FULL > most)
		most = all - FULL;
	for (int turn = 0; turn < 2 && all > most; turn++) {
		big = part(w[1], sign) > part(w[0], sign);
		k = part(w[big], sign);
		k = all - most < k ? all - most : k;
		w[big] = (int8_t)(sign ? w[big] + k : w[big] - k);
		rest[big] = (int8_t)(sign ? -k : k);
		all -= k;
	}
}

static void add_quad(struct packing *p, const int8_t *from, uint32_t quad)
{
	int8_t w[4 * MAX_CHAIN_COLS], rest[4 * MAX_CHAIN_COLS] = { 0 };
	bool fits = true;

	for (unsigned i = 0; i < 4 * p->cols; i += 2)
		for (unsigned s = 0; s < 2; s++)
			fits &= part(from[i], s) + part(from[i + 1], s) <=
				FULL;
	memcpy(w, from, 4 * (size_t)p->cols);
	for (unsigned i = 0; !fits && i < 4 * p->cols; i += 2)
		for (unsigned s = 0; s < 2; s++)
			clip(w + i, rest + i, s, KEPT);
	add_item(p, w, quad);
	if (!fits)
		add_item(p, rest, quad);
}

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
	if (x->quad != y->quad)
		return x->quad > y->quad ? 1 : -1;
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

static void put_item(struct chains *c, const int8_t *w, unsigned cols,
		     uint32_t quad)
{
	for (unsigned i = 0; i < 4 * cols; i++)
		vec_push(&c->w, w ? w[i] : 0);
	vec_push(&c->quad, quad);
}

void chains_pack(const int8_t *w, size_t n, unsigned cols, struct chains *out)
{
	struct packing p = { .cols = cols };

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < n; i++)
		add_quad(&p, w + i * 4 * cols, (uint32_t)i);
	fill(&p);
	for (unsigned len = MIN_CHAIN; len <= MAX_CHAIN; len++)
		for (size_t k = 0; k < p.bin.n; k++) {
			const struct bin *b = &p.bin.v[k];
			const struct item *it = p.item.v;

			/* One of its own goes with zeros. */
			if ((b->n < MIN_CHAIN ? MIN_CHAIN : b->n) != len)
				continue;
			out->n[len]++;
			for (unsigned i = 0; i < len; i++)
				put_item(out,
					 i < b->n ? it[b->item[i]].w : NULL,
					 cols, it[b->item[i < b->n ? i : 0]]
						       .quad);
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
	vec_free(&c->quad);
}
