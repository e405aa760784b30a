/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads and stores, every address checked.
 */
#define _GNU_SOURCE
#include "lanes.h"
#include "ptx.h"

#include <string.h>

static void misaligned(struct warp *w, const struct insn *in, int lane,
		       uint64_t addr, uint32_t size)
{
	fault(w, in, lane, EMU_MISALIGNED,
	      "address 0x%llx is not aligned to %u", (unsigned long long)addr,
	      size);
}

static void not_allocated(struct warp *w, const struct insn *in, int lane,
			  uint64_t addr, uint32_t size, bool is_write)
{
	const struct alloc *a = mem_before(addr);
	const char *what = is_write ? "store" : "load";

	/* Allocations are this far apart. */
	if (!a || addr - a->addr > a->size + 65536)
		fault(w, in, lane, EMU_ILLEGAL_ADDRESS,
		      "%s of %u bytes at 0x%llx, where nothing is allocated",
		      what, size, (unsigned long long)addr);
	fault(w, in, lane, EMU_ILLEGAL_ADDRESS,
	      "%s of %u bytes at 0x%llx, %llu past the end of an allocation "
	      "of %llu",
	      what, size, (unsigned long long)addr,
	      (unsigned long long)(addr + size - a->addr - a->size),
	      (unsigned long long)a->size);
}

static void *global_at(struct warp *w, const struct insn *in, int lane,
		       uint64_t addr, uint32_t size, bool is_write)
{
	const struct alloc *a;

	/* An aligned load that reads on loads what is not used. */
	if (!is_write && in->reach && in->reach < size)
		size = in->reach;
	if (addr - w->lo > w->span - size || w->span < size) {
		a = mem_find(addr);
		if (!a || addr + size > a->addr + a->size)
			not_allocated(w, in, lane, addr, size, is_write);
		w->lo = a->addr;
		w->span = a->size;
		w->delta = (uintptr_t)a->host - a->addr;
	}
	return (void *)(uintptr_t)(addr + w->delta);
}

static void *shared_at(struct warp *w, const struct insn *in, int lane,
		       uint64_t off, uint32_t size, bool is_write)
{
	if (off + size > w->blk->shared_size || off > w->blk->shared_size)
		fault(w, in, lane, EMU_ILLEGAL_ADDRESS,
		      "%s of %u bytes at 0x%llx of %u bytes of shared memory",
		      is_write ? "store" : "load", size,
		      (unsigned long long)off, w->blk->shared_size);
	if (is_write)
		race_write(w, in, lane, (uint32_t)off, size, false);
	else
		race_read(w, in, lane, (uint32_t)off, size);
	return w->blk->shared + off;
}

/* Where a lane's access goes; it does not return if that is nowhere. */
void *mem_at(struct warp *w, const struct insn *in, int lane, uint64_t addr,
	     uint32_t size, int space, bool is_write)
{
	if (addr & (size - 1))
		misaligned(w, in, lane, addr, size);
	if (space == SP_GENERIC) {
		space = (addr & WIN_MASK) == SHARED_WIN  ? SP_SHARED
			: (addr & WIN_MASK) == LOCAL_WIN ? SP_LOCAL
			: (addr & WIN_MASK) == PARAM_WIN ? SP_PARAM
							 : SP_GLOBAL;
		if (space != SP_GLOBAL)
			addr &= ~WIN_MASK;
	}
	switch (space) {
	case SP_SHARED:
		/* The window is of 32 bits, whatever the register. */
		return shared_at(w, in, lane, addr & ~SHARED_WIN, size,
				 is_write);
	case SP_LOCAL:
		if (addr + size > w->local_size)
			fault(w, in, lane, EMU_ILLEGAL_ADDRESS,
			      "%u bytes at 0x%llx of local memory", size,
			      (unsigned long long)addr);
		return w->local + (size_t)lane * w->local_size + addr;
	case SP_PARAM:
		if (is_write || addr + size > w->blk->launch->func->param_bytes)
			fault(w, in, lane, EMU_ILLEGAL_ADDRESS,
			      "%u bytes at 0x%llx of the parameters", size,
			      (unsigned long long)addr);
		return (void *)(w->blk->launch->params + addr);
	default: return global_at(w, in, lane, addr, size, is_write);
	}
}

void addresses(struct warp *w, const struct insn *in, uint32_t op,
	       uint64_t a[LANES])
{
	uint64_t add = (uint64_t)in->imm;

	if (in->frame)
		add += w->frame->local_base;
	if (in->addr == 8) {
		const u64 *r = reg(w, op);

		for (int l = 0; l < LANES; l++)
			a[l] = r[l] + add;
	} else if (in->addr == 4) {
		const u32 *r = reg(w, op);

		for (int l = 0; l < LANES; l++)
			a[l] = (u32)(r[l] + (u32)add);
	} else {
		for (int l = 0; l < LANES; l++)
			a[l] = add;
	}
}

void count_banks(struct warp *w, const struct insn *in, uint32_t m,
		 const uint64_t a[LANES], uint32_t size)
{
	if (w->blk->banks &&
	    (in->space == SP_SHARED ||
	     (in->space == SP_GENERIC &&
	      (a[__builtin_ctz(m)] & WIN_MASK) == SHARED_WIN)))
		banks_count(w, in, m, a, size);
}

/* An element from memory to the lane of a register. */
static inline void load_one(const struct insn *in, void *d, const void *s,
			    int l)
{
	int64_t v = 0;

	switch (in->size) {
	case 1: v = in->is_signed ? *(int8_t *)s : *(uint8_t *)s; break;
	case 2: v = in->is_signed ? *(int16_t *)s : *(uint16_t *)s; break;
	case 4:
		v = in->is_signed ? *(int32_t *)s : (int64_t) * (uint32_t *)s;
		break;
	default: v = *(int64_t *)s; break;
	}
	if (in->width == 8)
		((u64 *)d)[l] = (u64)v;
	else if (in->width == 2)
		((u32 *)d)[l] = (u32)v & 0xffff;
	else
		((u32 *)d)[l] = (u32)v;
}

static void ld(struct warp *w, const struct insn *in, uint32_t m)
{
	uint64_t a[LANES];
	uint32_t size = (uint32_t)in->size * in->count;

	addresses(w, in, in->op[1], a);
	count_banks(w, in, m, a, size);
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		unsigned char *s =
			mem_at(w, in, l, a[l], size, in->space, false);

		for (int i = 0; i < in->count; i++)
			load_one(in, reg(w, in->more[i]), s + i * in->size, l);
	}
}

/* One parameter of the kernel for all lanes. */
static void ld_param(struct warp *w, const struct insn *in, uint32_t m)
{
	int first = __builtin_ctz(m);
	unsigned char *s =
		mem_at(w, in, first, (uint64_t)in->imm,
		       (uint32_t)in->size * in->count, SP_PARAM, false);

	for (int i = 0; i < in->count; i++) {
		void *d = reg(w, in->more[i]);

		EACH_LANE(m, load_one(in, d, s + i * in->size, l));
	}
}

/* The words of shared memory at aligned addresses within it, for all lanes at
 * once; NULL where one is not so. */
static uint32_t *shared_words(const struct warp *w, uint32_t m,
			      uint64_t a[LANES], uint32_t size)
{
	uint64_t any = 0, most = 0;

	EACH_LANE(m, a[l] &= ~SHARED_WIN; any |= a[l];
		  most = a[l] > most ? a[l] : most);
	if (any & (size - 1) || most + size > w->blk->shared_size)
		return NULL;
	return (uint32_t *)(void *)w->blk->shared;
}

static bool ld_shared(struct warp *w, const struct insn *in, uint32_t m,
		      uint64_t a[LANES], uint32_t n, u32 *const d[4])
{
	const uint32_t *s = shared_words(w, m, a, 4 * n);

	if (!s)
		return false;
	if (w->blk->races)
		race_read_words(w, in, m, a, n);
	for (uint32_t i = 0; i < n; i++) {
		u32 *to = d[i];

		EACH_LANE(m, to[l] = s[(uint32_t)a[l] / 4 + i]);
	}
	return true;
}

static bool st_shared(struct warp *w, const struct insn *in, uint32_t m,
		      uint64_t a[LANES], uint32_t n, const u32 *const d[4])
{
	uint32_t *s = shared_words(w, m, a, 4 * n);

	if (!s)
		return false;
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);

		if (w->blk->races)
			race_write(w, in, l, (uint32_t)a[l], 4 * n, false);
		for (uint32_t i = 0; i < n; i++)
			s[(uint32_t)a[l] / 4 + i] = d[i][l];
	}
	return true;
}

/* Elements of 4 bytes from one allocation or from shared memory. */
static void ld_w(struct warp *w, const struct insn *in, uint32_t m)
{
	uint64_t a[LANES];
	uint32_t n = in->count, size = 4 * n;
	u32 *d[4];

	for (uint32_t i = 0; i < n; i++)
		d[i] = reg(w, in->more[i]);
	addresses(w, in, in->op[1], a);
	count_banks(w, in, m, a, size);
	if (in->space == SP_SHARED && ld_shared(w, in, m, a, n, d))
		return;
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		const u32 *s;

		if (in->space == SP_GLOBAL && !(a[l] & (size - 1)))
			s = global_at(w, in, l, a[l], size, false);
		else
			s = mem_at(w, in, l, a[l], size, in->space, false);
		for (uint32_t i = 0; i < n; i++)
			d[i][l] = s[i];
	}
}

static void st_w(struct warp *w, const struct insn *in, uint32_t m)
{
	uint64_t a[LANES];
	uint32_t n = in->count, size = 4 * n;
	const u32 *s[4];

	for (uint32_t i = 0; i < n; i++)
		s[i] = reg(w, in->more[i]);
	addresses(w, in, in->op[1], a);
	count_banks(w, in, m, a, size);
	if (in->space == SP_SHARED && st_shared(w, in, m, a, n, s))
		return;
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		u32 *d;

		if (in->space == SP_GLOBAL && !(a[l] & (size - 1)))
			d = global_at(w, in, l, a[l], size, true);
		else
			d = mem_at(w, in, l, a[l], size, in->space, true);
		for (uint32_t i = 0; i < n; i++)
			d[i] = s[i][l];
	}
}

static void st(struct warp *w, const struct insn *in, uint32_t m)
{
	uint64_t a[LANES];
	uint32_t size = (uint32_t)in->size * in->count;

	addresses(w, in, in->op[1], a);
	count_banks(w, in, m, a, size);
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		unsigned char *d =
			mem_at(w, in, l, a[l], size, in->space, true);

		/* Little-endian: the low bytes of the register come first. */
		for (int i = 0; i < in->count; i++) {
			unsigned char *s = reg(w, in->more[i]);

			memcpy(d + i * in->size,
			       s + (size_t)l * (in->width == 8 ? 8 : 4),
			       in->size);
		}
	}
}

bool take_space(struct mods *m, struct insn *in)
{
	static const struct {
		const char *name;
		uint8_t space;
	} names[] = {
		{ "global", SP_GLOBAL },      { "shared", SP_SHARED },
		{ "shared::cta", SP_SHARED }, { "shared::cluster", SP_SHARED },
		{ "local", SP_LOCAL },        { "param", SP_PARAM },
		{ "param::entry", SP_PARAM }, { "param::func", SP_LOCAL },
		{ "const", SP_CONST },
	};

	in->space = SP_GENERIC;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (mods_take(m, names[i].name))
			in->space = names[i].space;
	return true;
}

bool take_element(struct mods *m, struct insn *in)
{
	const char *t = m->part[m->n - 1];
	unsigned bits = 0;

	for (const char *s = t; *s; s++)
		if (*s >= '0' && *s <= '9')
			bits = 10 * bits + (unsigned)(*s - '0');
	if (!strcmp(t, "f16x2") || !strcmp(t, "bf16x2"))
		bits = 32;
	m->used |= 1u << (m->n - 1);
	in->size = (uint8_t)(bits / 8);
	in->is_signed = *t == 's';
	in->count = 1;
	if (mods_take(m, "v2"))
		in->count = 2;
	if (mods_take(m, "v4"))
		in->count = 4;
	if (mods_take(m, "v8"))
		in->count = 8;
	return bits == 8 || bits == 16 || bits == 32 || bits == 64;
}

/* Hints, which change nothing here. */
void take_hints(struct mods *m)
{
	static const char *const words[] = {
		"nc",      "ca",      "cg",      "cs",       "lu",
		"cv",      "wb",      "wt",      "volatile", "weak",
		"relaxed", "acquire", "release", "acq_rel",  "cta",
		"cluster", "gpu",     "sys",     "mmio",     "noftz",
		"async",   "sc",
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		mods_take(m, words[i]);
	for (int i = 1; i < m->n; i++)
		if (!strncmp(m->part[i], "L1::", 4) ||
		    !strncmp(m->part[i], "L2::", 4))
			m->used |= 1u << i;
}

/* The registers of the elements; any width that holds one. */
static bool elements(struct parser *p, const struct opnd *o, struct insn *in,
		     bool is_load)
{
	uint32_t v[8];
	int n = o->kind == O_VEC ? o->n : 1;

	if (n != in->count || n > 8)
		return false;
	in->width = 0;
	for (int i = 0; i < n; i++) {
		const struct opnd *e = o->kind == O_VEC ? &o->v[i] : o;
		uint8_t width = in->size == 8 ? 8 : 4;
		char want = width == 8 ? 'q' : 'w';

		if (e->kind == O_REG) {
			width = e->width == 'q' ? 8 : e->width == 'h' ? 2 : 4;
			want = 'x';
		} else if (e->kind == O_SINK ? !is_load : is_load) {
			return false;
		}
		if (in->width && e->kind != O_SINK && width != in->width &&
		    !(width < 8 && in->width < 8))
			return false;
		if (e->kind != O_SINK)
			in->width = width;
		if (in->width && in->size > in->width)
			return false;
		if (!opnd_get(p, e, want, &v[i]))
			return false;
	}
	in->more = mod_alloc(p->mod, sizeof(v));
	memcpy(in->more, v, sizeof(v));
	return true;
}

static bool decode_ld(struct parser *p, const struct stmt *st, struct mods *m,
		      struct insn *in)
{
	if (!take_element(m, in))
		return false;
	take_space(m, in);
	take_hints(m);
	if (!mods_done(m) || st->n < 2 || st->n > 3 ||
	    !address_get(p, &st->o[1], in, 1) ||
	    !elements(p, &st->o[0], in, true))
		return false;
	in->reach = st->used ? (uint8_t)(32 - __builtin_clz(st->used)) : 0;
	in->fn = in->size == 4 && in->width == 4 && in->count <= 4 ? ld_w : ld;
	if (in->space == SP_PARAM && !in->addr)
		in->fn = ld_param;
	return true;
}

static bool decode_st(struct parser *p, const struct stmt *st_, struct mods *m,
		      struct insn *in)
{
	if (!take_element(m, in))
		return false;
	take_space(m, in);
	take_hints(m);
	in->fn = st;
	if (!mods_done(m) || st_->n < 2 || st_->n > 3 ||
	    !address_get(p, &st_->o[0], in, 1) ||
	    !elements(p, &st_->o[1], in, false))
		return false;
	if (in->size == 4 && in->width == 4 && in->count <= 4)
		in->fn = st_w;
	return true;
}

static void nothing(struct warp *w, const struct insn *in, uint32_t m)
{
	(void)w;
	(void)in;
	(void)m;
}

static bool decode_nothing(struct parser *p, const struct stmt *st,
			   struct mods *m, struct insn *in)
{
	(void)p;
	(void)st;
	(void)m;
	in->fn = nothing;
	return true;
}

const struct special specials_mem[] = {
	{ "ld", decode_ld },
	{ "ldu", decode_ld },
	{ "st", decode_st },
	{ "prefetch", decode_nothing },
	{ "prefetchu", decode_nothing },
	{ "membar", decode_nothing },
	{ "fence", decode_nothing },
	{ "discard", decode_nothing },
	{ "applypriority", decode_nothing },
	{ "nanosleep", decode_nothing },
	{ "pmevent", decode_nothing },
	{ "griddepcontrol", decode_nothing },
	{ "setmaxnreg", decode_nothing },
	{ 0 },
};
