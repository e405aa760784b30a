/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements to instructions: a row of a table by its name, or a decoder for
 * the families whose forms are too many for rows.
 */
#define _GNU_SOURCE
#include "ptx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mods_split(struct mods *m, const char *op)
{
	m->n = 0;
	m->used = 1;
	snprintf(m->text, sizeof(m->text), "%s", op);
	for (char *s = m->text, *end; s && m->n < 16; s = end) {
		end = strchr(s, '.');
		if (end)
			*end++ = 0;
		m->part[m->n++] = s;
	}
}

/* Whether a modifier is there; each must be taken by someone. */
bool mods_take(struct mods *m, const char *name)
{
	for (int i = 1; i < m->n; i++) {
		if (!(m->used >> i & 1) && !strcmp(m->part[i], name)) {
			m->used |= 1u << i;
			return true;
		}
	}
	return false;
}

bool mods_done(const struct mods *m)
{
	return m->used == (1u << m->n) - 1;
}

static uint32_t letter_bytes(char width)
{
	return width == 'p' ? 4 : width == 'q' ? 8 * LANES : 4 * LANES;
}

/* A constant for all lanes; equal ones share their place. */
uint32_t const_get(struct parser *p, uint64_t bits, char width)
{
	struct func *f = p->f;
	uint32_t n = letter_bytes(width), at;
	union {
		uint32_t w[LANES];
		uint64_t q[LANES];
	} c;
	unsigned char *old = f->consts;

	for (int l = 0; l < LANES; l++) {
		if (width == 'q')
			c.q[l] = bits;
		else
			c.w[l] = (uint32_t)bits;
	}
	if (width == 'p')
		c.w[0] = bits ? FULL : 0;
	for (at = 0; at + n <= f->const_bytes; at += 64)
		if (!memcmp(old + at, &c, n))
			return at | CONST_BIT;
	at = f->const_bytes;
	if (at + n > p->const_cap) {
		p->const_cap = p->const_cap ? 2 * p->const_cap : 4096;
		f->consts = aligned_alloc(64, p->const_cap);
		if (old)
			memcpy(f->consts, old, f->const_bytes);
		free(old);
	}
	memcpy(f->consts + at, &c, n);
	f->const_bytes = (at + n + 63) & ~63u;
	return at | CONST_BIT;
}

/* The bits of a literal where `width` is wanted. */
static uint64_t literal(const struct opnd *o, char width)
{
	uint64_t bits = o->bits;
	double d;
	float f;

	if (o->kind == O_DOUBLE && width == 'w') {
		memcpy(&d, &bits, 8);
		f = (float)d;
		bits = 0;
		memcpy(&bits, &f, 4);
	} else if (o->kind == O_FLOAT && width == 'q') {
		memcpy(&f, &bits, 4);
		d = (double)f;
		memcpy(&bits, &d, 8);
	}
	return width == 'h' ? bits & 0xffff : bits;
}

/* The value of a name as a constant: an address, or an offset into the
 * shared memory or the parameters of the kernel. */
static bool sym_value(struct parser *p, const struct opnd *o, uint64_t *v,
		      bool *is_frame, enum space *space)
{
	struct sym *y = sym_find(p, o->scope, o->name);

	*is_frame = false;
	if (!y || y->kind != SYM_VAR)
		return false;
	*space = y->space;
	*v = y->value;
	if (y->space == SP_SHARED && y->value == UINT64_MAX)
		*v = p->f->shared_bytes;
	*is_frame = y->space == SP_LOCAL;
	*v += (uint64_t)o->off;
	return true;
}

/* An operand of the width; 'x' takes any register. */
bool opnd_get(struct parser *p, const struct opnd *o, char width, uint32_t *op)
{
	bool is_frame;
	enum space space;
	uint64_t v;

	if (o->is_not || o->pair)
		return false;
	switch (o->kind) {
	case O_REG:
		*op = o->slot;
		return o->width == width || (width == 'x' && o->width != 'p');
	case O_INT:
	case O_FLOAT:
	case O_DOUBLE:
		*op = const_get(p, literal(o, width), width);
		return true;
	case O_SYM:
		if (!sym_value(p, o, &v, &is_frame, &space) || is_frame)
			return false;
		*op = const_get(p, v, width);
		return width == 'q' || width == 'w';
	case O_SINK: *op = reg_new(p, width == 'x' ? 'q' : width); return true;
	default: return false;
	}
}

bool address_get(struct parser *p, const struct opnd *o, struct insn *in, int i)
{
	enum space space;
	uint64_t v;

	if (o->kind != O_MEM || o->n < 1)
		return false;
	in->imm = o->off;
	in->addr = 0;
	switch (o->v[0].kind) {
	case O_REG:
		in->op[i] = o->v[0].slot;
		in->addr = o->v[0].width == 'q' ? 8 : 4;
		return o->v[0].width == 'q' || o->v[0].width == 'w';
	case O_INT: in->imm += (int64_t)o->v[0].bits; return true;
	case O_SYM:
		if (!sym_value(p, &o->v[0], &v, &in->frame, &space))
			return false;
		in->imm += (int64_t)v;
		if (in->space == SP_PARAM && space == SP_LOCAL)
			in->space = SP_LOCAL;
		return true;
	default: return false;
	}
}

/* The elements of a vector, or the one register; how many, 0 if wrong. */
uint32_t vec_get(struct parser *p, const struct opnd *o, char width,
		 uint32_t *out)
{
	if (o->kind != O_VEC)
		return opnd_get(p, o, width, out);
	for (int i = 0; i < o->n; i++)
		if (!opnd_get(p, &o->v[i], width, &out[i]))
			return 0;
	return (uint32_t)o->n;
}

/* All operands with their vectors laid out in a row, a width for each. */
uint32_t *more_get(struct parser *p, const struct stmt *st, struct insn *in,
		   const char *widths)
{
	uint32_t v[320], n = 0, k;

	if (strlen(widths) != (size_t)st->n)
		return NULL;
	for (int i = 0; i < st->n; i++) {
		if (st->o[i].kind == O_VEC && st->o[i].n > 130)
			return NULL;
		k = vec_get(p, &st->o[i], widths[i], v + n);
		if (!k || n > 160)
			return NULL;
		n += k;
	}
	in->more = mod_alloc(p->mod, n * sizeof(*v));
	memcpy(in->more, v, n * sizeof(*v));
	in->count = (uint8_t)n;
	return in->more;
}

static const struct row *const tables[] = { rows_int, rows_logic, rows_float,
					    rows_half, rows_control,
					    rows_carry };
static const struct special *const specials[] = {
	specials_mem,     specials_cvt,   specials_cmp,    specials_warp,
	specials_control, specials_move,  specials_mma,    specials_bar,
	specials_atom,    specials_async, specials_hopper, specials_wgmma,
};

#define N_HASH 4096
static const struct row *row_hash[N_HASH];

static uint32_t row_key(const char *s)
{
	uint32_t h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return (h ^ h >> 13) % N_HASH;
}

static void rows_init(void)
{
	if (row_hash[row_key(rows_int[0].name)])
		return;
	for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++) {
		for (const struct row *r = tables[t]; r->name; r++) {
			uint32_t h = row_key(r->name);

			while (row_hash[h])
				h = (h + 1) % N_HASH;
			row_hash[h] = r;
		}
	}
}

static const struct row *row_find(const char *name)
{
	for (uint32_t h = row_key(name); row_hash[h]; h = (h + 1) % N_HASH)
		if (!strcmp(row_hash[h]->name, name))
			return row_hash[h];
	return NULL;
}

static uint8_t flag_of(const char *t)
{
	static const struct {
		const char *name;
		uint8_t flag;
	} flags[] = { { "ftz", F_FTZ },      { "sat", F_SAT },
		      { "rz", F_RZ },        { "rm", F_RM },
		      { "rp", F_RP },        { "rn", F_RN },
		      { "relu", F_RELU },    { "NaN", F_NAN },
		      { "satfinite", F_SAT } };

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		if (!strcmp(flags[i].name, t))
			return flags[i].flag;
	return 0;
}

/* The row of an opcode: by its full name, else without common modifiers. */
static const struct row *row_of(const char *op, uint8_t *flags)
{
	const struct row *r = row_find(op);
	struct mods m;
	char name[128] = "";

	*flags = 0;
	if (r)
		return r;
	mods_split(&m, op);
	for (int i = 0; i < m.n; i++) {
		uint8_t flag = i ? flag_of(m.part[i]) : 0;

		*flags |= flag;
		if (flag)
			continue;
		if (i)
			strcat(name, ".");
		strcat(name, m.part[i]);
	}
	r = row_find(name);
	return r && !(*flags & ~r->flags) ? r : NULL;
}

static bool decode_row(struct parser *p, const struct stmt *st,
		       const struct row *r, struct insn *in)
{
	const char *sig = r->sig;
	int n = (int)strlen(sig);

	if (st->n > 6 || st->n != n)
		return false;
	for (int i = 0; i < n; i++)
		if (!opnd_get(p, &st->o[i], sig[i], &in->op[i]))
			return false;
	in->fn = in->flags & ~F_RN && r->slow ? r->slow : r->fn;
	in->kind = r->kind;
	return true;
}

static bool decode_guard(const struct stmt *st, struct insn *in)
{
	const struct opnd *g = &st->guard;

	if (g->kind == O_NONE)
		return true;
	in->guard = g->slot;
	in->guard_not = g->is_not;
	return g->kind == O_REG && g->width == 'p';
}

static bool decode_stmt(struct parser *p, const struct stmt *st,
			struct insn *in)
{
	const struct row *r;
	struct mods m;

	in->line = st->line;
	in->name = st->op;
	if (!decode_guard(st, in))
		return false;
	mods_split(&m, st->op);
	for (size_t t = 0; t < sizeof(specials) / sizeof(*specials); t++)
		for (const struct special *s = specials[t]; s->name; s++)
			if (!strcmp(s->name, m.part[0]))
				return s->fn(p, st, &m, in);
	r = row_of(st->op, &in->flags);
	return r && decode_row(p, st, r, in);
}

void exec_exit(struct warp *w, const struct insn *in, uint32_t m);
void exec_ret(struct warp *w, const struct insn *in, uint32_t m);

void decode_func(struct parser *p)
{
	struct func *f = p->f;
	uint32_t a = p->dyn_align;

	rows_init();
	p->const_cap = 0;
	f->consts = NULL;
	f->const_bytes = 0;
	f->shared_bytes = (f->shared_bytes + a - 1) & ~(a - 1);
	f->n_code = p->n_stmts + 1;
	f->code = mod_alloc(p->mod, f->n_code * sizeof(*f->code));
	for (uint32_t i = 0; i < p->n_stmts; i++) {
		const struct stmt *st = &p->stmts[i];

		if (!decode_stmt(p, st, &f->code[i])) {
			note("ptx line %u: unknown instruction: %.*s", st->line,
			     st->text_len, st->text);
			p->n_errors++;
		}
	}
	/* Code may end without one. */
	f->code[p->n_stmts].fn = f->is_entry ? exec_exit : exec_ret;
	f->reg_bytes = (p->reg_top + 63) & ~63u;
}
