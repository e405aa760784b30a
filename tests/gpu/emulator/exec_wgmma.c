/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wgmma: a warp computes its 16 of the 64 rows.
 *
 * The result is there at once, as later instructions may copy its registers;
 * but shared memory counts as read until the wait for the group, so that who
 * overwrites a stage too early is found.
 *
 * Descriptors (PTX ISA, "Matrix Descriptor Format"): bits 0-13 start, 16-29
 * leading and 32-45 stride byte offset, all by 16; 49-51 base offset; 62-63
 * swizzle.  Layouts as the canonical ones of the ISA, in 16-byte chunks.
 */
#define _GNU_SOURCE
#include "half.h"
#include "hopper.h"
#include "lanes.h"
#include "ptx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { W_F16, W_BF16, W_TF32, W_E4M3, W_E5M2, W_S8, W_U8, N_TYPES };
static const char *const names[] = { "f16",  "bf16", "tf32", "e4m3",
				     "e5m2", "s8",   "u8" };
static const uint8_t bytes[] = { 2, 2, 4, 1, 1, 1, 1 };

struct form {
	uint8_t type[2];
	bool desc_a, trans[2], half_d;
	bool scale_is_pred;
	int scale_d, sign;
	uint32_t op_scale, op_desc[2], a[4];
	uint32_t n, n_d;
	const uint32_t *d;
};

struct wgmma {
	const struct insn *in;
	uint64_t desc[2];
	uint32_t group;
};

static const struct form *form_of(const struct insn *in)
{
	return (const void *)in->targets;
}

/* The chunk of row `r` (of M or N) at chunk `c` along K, or of chunk `r`
 * along M or N at row `c` of K if that is the major one. */
static uint32_t chunk_at(uint64_t desc, uint32_t r, uint32_t c, bool mn_major)
{
	uint32_t start = (desc & 0x3fff) << 4;
	uint32_t lead = (desc >> 16 & 0x3fff) << 4;
	uint32_t stride = (desc >> 32 & 0x3fff) << 4;
	uint32_t mode = desc >> 62 & 3, width = 256 >> mode, per = width / 16;

	if (!mode && mn_major)
		return start + r * stride + c / 8 * lead + c % 8 * 16;
	if (!mode)
		return start + r / 8 * stride + c * lead + r % 8 * 16;
	if (mn_major)
		return swizzled(start + r % per * 16 + r / per * lead +
					c % 8 * width + c / 8 * stride,
				4 - (int)mode);
	return swizzled(start + r / 8 * stride + r % 8 * width + c * 16,
			4 - (int)mode);
}

static float number(const unsigned char *p, int type)
{
	uint16_t h;
	uint32_t u;

	switch (type) {
	case W_F16: memcpy(&h, p, 2); return half_to_float(h);
	case W_BF16: memcpy(&h, p, 2); return bf16_to_float(h);
	case W_TF32: memcpy(&u, p, 4); return as_float(u & 0xffffe000);
	case W_E4M3: return (float)format_to(*p, &fmt_e4m3);
	case W_E5M2: return (float)format_to(*p, &fmt_e5m2);
	case W_S8: return (int8_t)*p;
	default: return *p;
	}
}

/* Rows first .. first + n of an operand to out[k][row]; out may be NULL. */
static void read_operand(struct warp *w, const struct insn *in, int which,
			 uint64_t desc, uint32_t first, uint32_t n,
			 float out[][256])
{
	const struct form *f = form_of(in);
	int type = f->type[which];
	uint32_t per = 16u / bytes[type], n_k = 32u / bytes[type];
	bool mn = f->trans[which];
	uint32_t n_r = mn ? n / per : n, n_c = mn ? n_k : 2;

	for (uint32_t r = 0; r < n_r; r++) {
		for (uint32_t c = 0; c < n_c; c++) {
			uint32_t at = chunk_at(
				desc, mn ? first / per + r : first + r, c, mn);
			unsigned char *p = mem_at(w, in, (int)(r % LANES), at,
						  16, SP_SHARED, false);

			for (uint32_t i = 0; out && i < per; i++) {
				float v = number(p + i * bytes[type], type);

				if (mn)
					out[c][r * per + i] = v;
				else
					out[c * per + i][r] = v;
			}
		}
	}
}

/* Matrices of 8 rows of 16 bytes are what wgmma reads in a pass at best. */
static void operand_banks(struct warp *w, const struct insn *in, int which,
			  uint64_t desc, uint32_t first, uint32_t n)
{
	const struct form *f = form_of(in);
	uint32_t per = 16u / bytes[f->type[which]];
	bool mn = f->trans[which];
	uint32_t rows = mn ? 32u / bytes[f->type[which]] : n;
	uint32_t chunks = mn ? n / per : 2;
	uint64_t at[LANES] = { 0 };

	for (uint32_t c = 0; c < chunks; c++) {
		for (uint32_t r = 0; r < rows; r++) {
			at[r % 8] = mn ? chunk_at(desc, first / per + c, r, mn)
				       : chunk_at(desc, first + r, c, mn);
			if (r % 8 == 7)
				banks_count(w, in, 0xff, at, 16);
		}
	}
}

/* A from registers: as fragments of mma. */
static void registers_a(const struct warp *w, const struct form *f,
			float out[][256])
{
	uint32_t per = 4u / bytes[f->type[0]];

	for (uint32_t i = 0; i < 4; i++) {
		const unsigned char *r = reg(w, f->a[i]);

		for (uint32_t e = 0; e < LANES * per; e++) {
			uint32_t l = e / per;
			uint32_t k = l % 4 * per + e % per + i / 2 * 4 * per;

			out[k][l / 4 + i % 2 * 8] =
				number(r + e * bytes[f->type[0]], f->type[0]);
		}
	}
}

/* The place of register j of a lane: row and first column. */
static void place_of(const struct form *f, uint32_t j, int l, uint32_t *row,
		     uint32_t *col)
{
	uint32_t step = f->half_d ? 2 : 4;

	*row = (uint32_t)l / 4 + 8 * (f->half_d ? j % 2 : j / 2 % 2);
	*col = j / step * 8 + 2 * ((uint32_t)l % 4) + (f->half_d ? 0 : j % 2);
}

static void accumulate(struct warp *w, const struct insn *in, bool keep,
		       float acc[16][256])
{
	const struct form *f = form_of(in);
	bool is_int = f->type[0] >= W_S8;

	for (uint32_t j = 0; j < f->n_d; j++) {
		uint32_t *d = reg(w, f->d[j]), row, col;

		for (int l = 0; l < LANES; l++) {
			place_of(f, j, l, &row, &col);
			if (is_int) {
				d[l] = (keep ? d[l] : 0) +
				       (uint32_t)(int32_t)acc[row][col];
			} else if (f->half_d) {
				float lo =
					keep ? half_to_float(d[l] & 0xffff) : 0;
				float hi = keep ? half_to_float(d[l] >> 16) : 0;

				d[l] = float_to_half(lo + acc[row][col]) |
				       float_to_half(hi + acc[row][col + 1])
					       << 16;
			} else {
				d[l] = as_bits((keep ? as_float(d[l]) : 0) +
					       acc[row][col]);
			}
		}
	}
}

static void remember(struct warp *w, const struct insn *in,
		     const uint64_t desc[2])
{
	struct warp_hopper *h = hopper_of(w);

	if (h->n_wgmmas == h->cap_wgmmas) {
		h->cap_wgmmas = h->cap_wgmmas ? 2 * h->cap_wgmmas : 16;
		h->wgmmas =
			realloc(h->wgmmas, h->cap_wgmmas * sizeof(*h->wgmmas));
	}
	h->wgmmas[h->n_wgmmas++] =
		(struct wgmma){ in, { desc[0], desc[1] }, h->wgmma_group };
}

static bool whole_warp(struct warp *w, const struct insn *in, uint32_t m)
{
	if (!gather_lanes(w, m, w->live))
		return false;
	if (m != FULL)
		fault(w, in, __builtin_ctz(m), EMU_ILLEGAL_INSTRUCTION,
		      "wgmma by lanes %08x only", m);
	return true;
}

static void mma_async(struct warp *w, const struct insn *in, uint32_t m)
{
	static float a[32][256], b[32][256], acc[16][256];
	const struct form *f = form_of(in);
	uint32_t n_k = 32u / bytes[f->type[0]];
	uint64_t desc[2] = { 0 };
	bool keep = f->scale_d;

	if (!whole_warp(w, in, m))
		return;
	for (int i = !f->desc_a; i < 2; i++) {
		desc[i] = *(uint64_t *)reg(w, f->op_desc[i]);
		if (desc[i] >> 49 & 7)
			fault(w, in, 0, EMU_ILLEGAL_INSTRUCTION,
			      "a matrix descriptor with a base offset");
	}
	if (f->scale_is_pred)
		keep = pred(w, f->op_scale) & 1;
	if (f->desc_a)
		read_operand(w, in, 0, desc[0], (uint32_t)w->id % 4 * 16, 16,
			     a);
	else
		registers_a(w, f, a);
	read_operand(w, in, 1, desc[1], 0, f->n, b);
	if (w->blk->banks && f->desc_a)
		operand_banks(w, in, 0, desc[0], (uint32_t)w->id % 4 * 16, 16);
	if (w->blk->banks)
		operand_banks(w, in, 1, desc[1], 0, f->n);
	memset(acc, 0, sizeof(acc));
	for (uint32_t r = 0; r < 16; r++)
		for (uint32_t k = 0; k < n_k; k++)
			for (uint32_t n = 0; n < f->n; n++)
				acc[r][n] += (float)f->sign * a[k][r] * b[k][n];
	accumulate(w, in, keep, acc);
	remember(w, in, desc);
}

static void commit(struct warp *w, const struct insn *in, uint32_t m)
{
	if (whole_warp(w, in, m))
		hopper_of(w)->wgmma_group++;
}

static void wait(struct warp *w, const struct insn *in, uint32_t m)
{
	struct warp_hopper *h = hopper_of(w);
	uint32_t kept = 0;

	if (!whole_warp(w, in, m))
		return;
	for (uint32_t i = 0; i < h->n_wgmmas; i++) {
		struct wgmma g = h->wgmmas[i];

		if (g.group + (uint64_t)in->imm >= h->wgmma_group) {
			h->wgmmas[kept++] = g;
			continue;
		}
		/* The operands have been read up to now. */
		if (!w->blk->races)
			continue;
		if (form_of(g.in)->desc_a)
			read_operand(w, g.in, 0, g.desc[0],
				     (uint32_t)w->id % 4 * 16, 16, NULL);
		read_operand(w, g.in, 1, g.desc[1], 0, form_of(g.in)->n, NULL);
	}
	h->n_wgmmas = kept;
	warp_sync(w);
}

/* Products that nobody has waited for have no results. */
void wgmma_finish(struct warp *w, const struct insn *in, uint32_t m);
void wgmma_finish(struct warp *w, const struct insn *in, uint32_t m)
{
	if (w->hopper && w->hopper->n_wgmmas)
		fault(w, in, __builtin_ctz(m), EMU_LAUNCH_FAILED,
		      "exit with a wgmma under way");
}

static void fence(struct warp *w, const struct insn *in, uint32_t m)
{
	whole_warp(w, in, m);
}

static int type_of(const char *name)
{
	for (int i = 0; i < N_TYPES; i++)
		if (!strcmp(names[i], name))
			return i;
	return -1;
}

static bool decode_operands(struct parser *p, const struct stmt *st,
			    struct form *f)
{
	uint32_t d[160], n;
	const struct opnd *s = &st->o[3];

	n = vec_get(p, &st->o[0], 'w', d);
	if (n != f->n / (f->half_d ? 4 : 2))
		return false;
	f->n_d = n;
	f->d = memcpy(mod_alloc(p->mod, n * 4), d, n * 4);
	f->desc_a = st->o[1].kind != O_VEC;
	if (f->desc_a ? !opnd_get(p, &st->o[1], 'q', &f->op_desc[0])
		      : st->o[1].n != 4 || !vec_get(p, &st->o[1], 'w', f->a))
		return false;
	f->scale_is_pred = s->kind == O_REG;
	f->scale_d = s->bits != 0;
	f->sign = 1;
	for (int i = 4; i < st->n && i < 6; i++) {
		if (st->o[i].kind != O_INT)
			return false;
		if ((int64_t)st->o[i].bits == -1)
			f->sign = -f->sign;
	}
	/* With A in registers only B can be transposed. */
	if (f->desc_a && st->n == 8)
		f->trans[0] = st->o[6].bits != 0;
	if (st->n > 6)
		f->trans[1] = st->o[st->n - 1].bits != 0;
	if ((f->trans[0] || f->trans[1]) && bytes[f->type[0]] != 2)
		return false;
	return opnd_get(p, &st->o[2], 'q', &f->op_desc[1]) &&
	       (!f->scale_is_pred || opnd_get(p, s, 'p', &f->op_scale));
}

/* wgmma.mma_async.sync.aligned.m64nNkK.d.a.b */
static bool decode_wgmma(struct parser *p, const struct stmt *st,
			 struct mods *m, struct insn *in)
{
	struct form *f = mod_alloc(p->mod, sizeof(*f));
	unsigned n, k;
	int a, b;

	if (m->n < 4)
		return false;
	if (strcmp(m->part[1], "mma_async")) {
		in->fn = !strcmp(m->part[1], "fence")          ? fence
			 : !strcmp(m->part[1], "commit_group") ? commit
							       : wait;
		in->imm = (int64_t)st->o[0].bits;
		return in->fn != wait || (!strcmp(m->part[1], "wait_group") &&
					  st->n == 1 && st->o[0].kind == O_INT);
	}
	mods_take(m, "satfinite");
	if (m->n < 8 || st->n < 4 ||
	    sscanf(m->part[4], "m64n%uk%u", &n, &k) != 2)
		return false;
	a = type_of(m->part[m->n - 2]);
	b = type_of(m->part[m->n - 1]);
	if (a < 0 || b < 0 || bytes[a] != bytes[b] || k != 32u / bytes[a] ||
	    n % 8 || !n || n > 256)
		return false;
	f->type[0] = (uint8_t)a;
	f->type[1] = (uint8_t)b;
	f->n = n;
	f->half_d = !strcmp(m->part[5], "f16");
	in->targets = (uint32_t *)f;
	in->fn = mma_async;
	return decode_operands(p, st, f);
}

const struct special specials_wgmma[] = {
	{ "wgmma", decode_wgmma },
	{ 0 },
};
