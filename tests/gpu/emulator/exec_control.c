/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes branches and calls; warp.c carries them out.
 */
#define _GNU_SOURCE
#include "ptx.h"

#include <string.h>

void exec_exit(struct warp *w, const struct insn *in, uint32_t m);
void exec_ret(struct warp *w, const struct insn *in, uint32_t m);
void exec_bra(struct warp *w, const struct insn *in, uint32_t m);
void exec_brx(struct warp *w, const struct insn *in, uint32_t m);
void exec_call(struct warp *w, const struct insn *in, uint32_t m);

static void trap(struct warp *w, const struct insn *in, uint32_t m)
{
	fault(w, in, __builtin_ctz(m), EMU_LAUNCH_FAILED, "trap");
}

static void nop(struct warp *w, const struct insn *in, uint32_t m)
{
	(void)w;
	(void)in;
	(void)m;
}

static bool label_pc(struct parser *p, struct scope *s, const char *name,
		     uint32_t *pc)
{
	struct sym *y = sym_find(p, s, name);

	if (!y || y->kind != SYM_LABEL)
		return false;
	*pc = (uint32_t)y->value;
	return true;
}

static bool decode_bra(struct parser *p, const struct stmt *st, struct mods *m,
		       struct insn *in)
{
	mods_take(m, "uni");
	in->fn = exec_bra;
	return mods_done(m) && st->n == 1 && st->o[0].kind == O_SYM &&
	       label_pc(p, st->o[0].scope, st->o[0].name, &in->target);
}

static bool decode_brx(struct parser *p, const struct stmt *st, struct mods *m,
		       struct insn *in)
{
	struct sym *y;

	mods_take(m, "uni");
	if (!mods_take(m, "idx") || !mods_done(m) || st->n != 2 ||
	    st->o[1].kind != O_SYM)
		return false;
	y = sym_find(p, st->o[1].scope, st->o[1].name);
	if (!y || y->kind != SYM_TARGETS)
		return false;
	in->fn = exec_brx;
	in->target = y->count;
	in->targets = mod_alloc(p->mod, y->count * sizeof(*in->targets));
	for (uint32_t i = 0; i < y->count; i++)
		if (!label_pc(p, y->scope, y->labels[i], &in->targets[i]))
			return false;
	return opnd_get(p, &st->o[0], 'w', &in->op[0]);
}

/* The place of a parameter variable in the frame's memory. */
static bool place_of(struct parser *p, const struct opnd *o, uint32_t *at)
{
	struct sym *y;

	if (o->kind != O_SYM)
		return false;
	y = sym_find(p, o->scope, o->name);
	*at = y ? (uint32_t)y->value : 0;
	return y && y->kind == SYM_VAR && y->space == SP_LOCAL;
}

/* call (result), function, (arguments); */
static bool decode_call(struct parser *p, const struct stmt *st, struct mods *m,
			struct insn *in)
{
	int i = st->o[0].kind == O_VEC;
	const struct opnd *args = &st->o[i + 1];
	struct sym *y;

	mods_take(m, "uni");
	if (!mods_done(m) || st->n <= i || st->o[i].kind != O_SYM)
		return false;
	y = sym_find(p, st->o[i].scope, st->o[i].name);
	if (!y || y->kind != SYM_FUNC)
		return false;
	in->fn = exec_call;
	in->callee = y->func;
	if (i && !place_of(p, &st->o[0].v[0], &in->op[0]))
		return false;
	if (st->n == i + 1)
		return y->func->n_params == 0;
	if (args->kind != O_VEC || (uint32_t)args->n != y->func->n_params)
		return false;
	in->more = mod_alloc(p->mod, (size_t)(args->n + 1) * 4);
	for (int k = 0; k < args->n; k++)
		if (!place_of(p, &args->v[k], &in->more[k]))
			return false;
	return true;
}

static bool decode_ret(struct parser *p, const struct stmt *st, struct mods *m,
		       struct insn *in)
{
	(void)p;
	mods_take(m, "uni");
	in->fn = exec_ret;
	return mods_done(m) && !st->n;
}

const struct row rows_control[] = {
	ROW("exit", "", exec_exit),
	ROW("trap", "", trap),
	ROW("brkpt", "", trap),
	ROW("nop", "", nop),
	{ 0 },
};

const struct special specials_control[] = {
	{ "bra", decode_bra },
	{ "brx", decode_brx },
	{ "call", decode_call },
	{ "ret", decode_ret },
	{ 0 },
};
