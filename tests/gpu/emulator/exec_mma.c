/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ldmatrix, stmatrix and mma.sync.
 *
 * A register of a fragment holds 8 rows of 4 elements-per-register columns,
 * in the order of the lanes: lane 4 g + t has columns E t .. E t + E - 1 of
 * row g (PTX ISA, "Matrix Fragments for mma").  A is two by one or two by two
 * such blocks (rows first), B is one or two with its columns as rows.
 */
#include "lanes.h"
#include "half.h"
#include "ptx.h"

#include <string.h>

static bool whole_warp(struct warp *w, const struct insn *in, uint32_t m)
{
	if (!gather_lanes(w, m, w->live))
		return false;
	if (m != FULL)
		fault(w, in, __builtin_ctz(m), EMU_ILLEGAL_INSTRUCTION,
		      "a matrix instruction by lanes %08x only", m);
	warp_sync(w);
	return true;
}

/* The rows of a matrix, by the addresses of 8 lanes. */
static void matrix_rows(struct warp *w, const struct insn *in, int i,
			const uint64_t *a, bool is_write, uint16_t *rows[8])
{
	for (int r = 0; r < 8; r++)
		rows[r] = mem_at(w, in, 8 * i + r, a[8 * i + r], 16, in->space,
				 is_write);
}

/* The lanes whose addresses count. */
static uint32_t matrix_lanes(const struct insn *in)
{
	return in->count == 4 ? FULL : (1u << 8 * in->count) - 1;
}

static void ldmatrix(struct warp *w, const struct insn *in, uint32_t m)
{
	uint64_t a[LANES];
	uint16_t *rows[8];

	if (!whole_warp(w, in, m))
		return;
	addresses(w, in, in->op[1], a);
	count_banks(w, in, matrix_lanes(in), a, 16);
	for (int i = 0; i < in->count; i++) {
		u32 *d = reg(w, in->more[i]);

		matrix_rows(w, in, i, a, false, rows);
		for (int l = 0; l < LANES; l++) {
			int g = l / 4, c = 2 * (l % 4);

			d[l] = in->kind
				       ? (u32)rows[c + 1][g] << 16 | rows[c][g]
				       : (u32)rows[g][c + 1] << 16 | rows[g][c];
		}
	}
}

static void stmatrix(struct warp *w, const struct insn *in, uint32_t m)
{
	uint64_t a[LANES];
	uint16_t *rows[8];

	if (!whole_warp(w, in, m))
		return;
	addresses(w, in, in->op[1], a);
	count_banks(w, in, matrix_lanes(in), a, 16);
	for (int i = 0; i < in->count; i++) {
		const u32 *s = reg(w, in->more[i]);

		matrix_rows(w, in, i, a, true, rows);
		for (int l = 0; l < LANES; l++) {
			int g = l / 4, c = 2 * (l % 4);

			*(in->kind ? &rows[c][g] : &rows[g][c]) =
				(uint16_t)s[l];
			*(in->kind ? &rows[c + 1][g] : &rows[g][c + 1]) =
				(uint16_t)(s[l] >> 16);
		}
	}
}

static bool decode_matrix(struct parser *p, const struct stmt *st,
			  struct mods *m, struct insn *in)
{
	bool is_load = m->part[0][0] == 'l';
	const struct opnd *v = &st->o[!is_load];
	uint32_t n = mods_take(m, "x4") ? 4 : mods_take(m, "x2") ? 2 : 1, k;

	mods_take(m, "x1");
	in->kind = mods_take(m, "trans");
	if (!mods_take(m, "sync") || !mods_take(m, "aligned") ||
	    !mods_take(m, "m8n8") || !mods_take(m, "b16") || st->n != 2)
		return false;
	take_space(m, in);
	in->count = (uint8_t)n;
	in->fn = is_load ? ldmatrix : stmatrix;
	in->more = mod_alloc(p->mod, 4 * sizeof(*in->more));
	if (!mods_done(m) || v->n > 4 ||
	    !address_get(p, &st->o[is_load], in, 1))
		return false;
	k = vec_get(p, v, 'w', in->more);
	return k == n;
}

static const char *const names[] = { "f16", "bf16", "tf32", "s8",
				     "u8",  "e4m3", "e5m2" };
enum { M_F16, M_BF16, M_TF32, M_S8, M_U8, M_E4M3, M_E5M2, N_KINDS };

/* The elements of a register, in the order of the lanes. */
static int unpack(float *f, const u32 *r, int kind)
{
	switch (kind) {
	case M_F16:
		for (int l = 0; l < LANES; l++) {
			f[2 * l] = half_to_float(r[l] & 0xffff);
			f[2 * l + 1] = half_to_float(r[l] >> 16);
		}
		return 2;
	case M_BF16:
		for (int l = 0; l < LANES; l++) {
			f[2 * l] = bf16_to_float(r[l]);
			f[2 * l + 1] = as_float(r[l] & 0xffff0000);
		}
		return 2;
	case M_TF32:
		/* The low 13 bits do not take part. */
		for (int l = 0; l < LANES; l++)
			f[l] = as_float(r[l] & 0xffffe000);
		return 1;
	default:
		for (int i = 0; i < 4 * LANES; i++) {
			u32 b = r[i / 4] >> 8 * (i % 4) & 255;

			f[i] = kind == M_S8 ? (float)(int8_t)b
			       : kind == M_U8
				       ? (float)b
				       : (float)format_to(
						 b, kind == M_E4M3 ? &fmt_e4m3
								   : &fmt_e5m2);
		}
		return 4;
	}
}

/* acc[g][n] += a[g][k] * b[n][k] over the columns of one register. */
static void multiply(float acc[8][8], const float *a, const float *b, int n)
{
	float t[16][8];

	for (int k = 0; k < n; k++)
		for (int j = 0; j < 8; j++)
			t[k][j] = b[j * n + k];
	for (int g = 0; g < 8; g++)
		for (int k = 0; k < n; k++)
			for (int j = 0; j < 8; j++)
				acc[g][j] += a[g * n + k] * t[k][j];
}

static void get_acc(const struct warp *w, const uint32_t *c, bool is_half,
		    int h, float acc[8][8])
{
	for (int l = 0; l < LANES; l++) {
		float *at = &acc[l / 4][2 * (l % 4)];

		if (is_half) {
			u32 v = ((u32 *)reg(w, c[h]))[l];

			at[0] = half_to_float(v & 0xffff);
			at[1] = half_to_float(v >> 16);
		} else {
			at[0] = ((float *)reg(w, c[2 * h]))[l];
			at[1] = ((float *)reg(w, c[2 * h + 1]))[l];
		}
	}
}

static void put_acc(struct warp *w, const uint32_t *d, bool is_half, int h,
		    float acc[8][8])
{
	for (int l = 0; l < LANES; l++) {
		const float *at = &acc[l / 4][2 * (l % 4)];

		if (is_half) {
			((u32 *)reg(w, d[h]))[l] = float_to_half(at[1]) << 16 |
						   float_to_half(at[0]);
		} else {
			((float *)reg(w, d[2 * h]))[l] = at[0];
			((float *)reg(w, d[2 * h + 1]))[l] = at[1];
		}
	}
}

/*
 * more: d, a, b, c.  count: registers of A; kind, kind2: types of A and B;
 * size: registers of D; width: registers of C.
 */
static void mma_float(struct warp *w, const struct insn *in, uint32_t m)
{
	const uint32_t *d = in->more, *a = d + in->size, *b = a + in->count;
	const uint32_t *c = b + in->count / 2;
	float fa[4][4 * LANES], fb[2][4 * LANES], acc[2][8][8];
	int n = 0;

	if (!whole_warp(w, in, m))
		return;
	for (int i = 0; i < in->count; i++)
		n = 4 * unpack(fa[i], reg(w, a[i]), in->kind);
	for (int i = 0; i < in->count / 2; i++)
		unpack(fb[i], reg(w, b[i]), in->kind2);
	for (int h = 0; h < 2; h++) {
		get_acc(w, c, in->width == 2, h, acc[h]);
		for (int i = 0; i < in->count / 2; i++)
			multiply(acc[h], fa[2 * i + h], fb[i], n);
	}
	for (int h = 0; h < 2; h++)
		put_acc(w, d, in->size == 2, h, acc[h]);
}

static s32 dot(const float *a, const float *b, int n)
{
	s32 sum = 0;

	for (int k = 0; k < n; k++)
		sum += (s32)a[k] * (s32)b[k];
	return sum;
}

static s32 sum_of(s64 v, bool sat)
{
	if (sat && v > INT32_MAX)
		return INT32_MAX;
	if (sat && v < INT32_MIN)
		return INT32_MIN;
	return (s32)(u32)(u64)v;
}

static void mma_int(struct warp *w, const struct insn *in, uint32_t m)
{
	const uint32_t *d = in->more, *a = d + 4, *b = a + in->count;
	const uint32_t *c = b + in->count / 2;
	float fa[4][4 * LANES], fb[2][4 * LANES];
	s32 out[4][LANES];

	if (!whole_warp(w, in, m))
		return;
	for (int i = 0; i < in->count; i++)
		unpack(fa[i], reg(w, a[i]), in->kind);
	for (int i = 0; i < in->count / 2; i++)
		unpack(fb[i], reg(w, b[i]), in->kind2);
	for (int i = 0; i < 4 * LANES; i++) {
		int r = i / LANES, l = i % LANES, n = 2 * (l % 4) + r % 2;
		s64 sum = ((s32 *)reg(w, c[r]))[l];

		for (int k = 0; k < in->count / 2; k++)
			sum += dot(fa[2 * k + r / 2] + 16 * (l / 4),
				   fb[k] + 16 * n, 16);
		out[r][l] = sum_of(sum, in->flags);
	}
	for (int r = 0; r < 4; r++)
		memcpy(reg(w, d[r]), out[r], sizeof(out[r]));
}

static int kind_of(const char *name)
{
	for (int i = 0; i < N_KINDS; i++)
		if (!strcmp(names[i], name))
			return i;
	return -1;
}

static bool shape_is(const char *shape, int k)
{
	static const char *const shapes[] = { "m16n8k4", "m16n8k8", "m16n8k16",
					      "m16n8k32" };

	for (int i = 0; i < 4; i++)
		if (!strcmp(shapes[i], shape))
			return k == 4 << i;
	return false;
}

/* mma.sync.aligned.shape.row.col{.satfinite}.d.a.b.c */
static bool decode_mma(struct parser *p, const struct stmt *st, struct mods *m,
		       struct insn *in)
{
	static const int per_reg[] = { 2, 2, 1, 4, 4, 4, 4 };
	const char *const *t = &m->part[m->n - 4];
	int a, b, n_a = st->o[1].n;
	bool is_int;

	in->flags = mods_take(m, "satfinite");
	if (m->n != 10 + in->flags || st->n != 4 ||
	    strcmp(m->part[1], "sync") || strcmp(m->part[2], "aligned") ||
	    strcmp(m->part[4], "row") || strcmp(m->part[5], "col"))
		return false;
	a = kind_of(t[1]);
	b = kind_of(t[2]);
	is_int = a == M_S8 || a == M_U8;
	if (a < 0 || b < 0 || per_reg[a] != per_reg[b] || n_a % 2 || n_a > 4 ||
	    !shape_is(m->part[3], 2 * n_a * per_reg[a]))
		return false;
	in->kind = (uint8_t)a;
	in->kind2 = (uint8_t)b;
	in->size = !strcmp(t[0], "f16") ? 2 : 4;
	in->width = !strcmp(t[3], "f16") ? 2 : 4;
	if (is_int ? strcmp(t[0], "s32") || strcmp(t[3], "s32")
		   : (in->size == 4 && strcmp(t[0], "f32")) ||
			     (in->width == 4 && strcmp(t[3], "f32")))
		return false;
	if (st->o[0].n != in->size || st->o[3].n != in->width ||
	    2 * (st->o[2].kind == O_VEC ? st->o[2].n : 1) != n_a)
		return false;
	if (!more_get(p, st, in, "wwww"))
		return false;
	in->count = (uint8_t)n_a;
	in->fn = is_int ? mma_int : mma_float;
	return true;
}

const struct special specials_mma[] = {
	{ "ldmatrix", decode_matrix },
	{ "stmatrix", decode_matrix },
	{ "mma", decode_mma },
	{ 0 },
};
