/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a warp: the group of lanes with the lowest program counter goes first,
 * and groups that meet at an instruction go on as one.
 *
 * A collective waits (parks) until the lanes that it names are there, so that
 * code is right even where the text's order is not that of reconvergence.
 */
#include "hopper.h"

#include <stdlib.h>
#include <string.h>

#define SPIN_STEPS 100000

static void group_add(struct frame *f, uint32_t pc, uint32_t mask,
		      enum group_state state, uint32_t need, int bar)
{
	for (int i = 0; i < f->n_groups; i++) {
		struct group *g = &f->g[i];

		if (g->pc == pc && g->state == state && g->bar == bar &&
		    g->need == need) {
			g->mask |= mask;
			return;
		}
	}
	f->g[f->n_groups++] = (struct group){ pc, mask, state, need, bar };
}

static void group_drop(struct frame *f, int i)
{
	f->g[i] = f->g[--f->n_groups];
}

static void find_stop(struct warp *w)
{
	struct frame *f = w->frame;

	w->stop = MAX_PC;
	for (int i = 0; i < f->n_groups; i++)
		if (f->g[i].state == G_READY && f->g[i].pc < w->stop)
			w->stop = f->g[i].pc;
}

/* Parked lanes go on when all that they wait for are there or gone. */
static void wake_parked(struct warp *w)
{
	struct frame *f = w->frame;

	for (int i = 0; i < f->n_groups; i++) {
		struct group *g = &f->g[i];

		if (g->state == G_PARKED && !(g->need & w->live & ~g->mask)) {
			g->state = G_READY;
			g->need = 0;
			g->bar = 0;
		}
	}
}

static void push_frame(struct warp *w, const struct func *f)
{
	struct frame *fr = w->spare;

	/* The spare frame of the same function is reused, as its registers
	 * have the right size. */
	if (fr && fr->func == f) {
		w->spare = fr->up;
	} else {
		fr = calloc(1, sizeof(*fr));
		fr->func = f;
		fr->regs = aligned_alloc(64, f->reg_bytes);
		memset(fr->regs, 0xff, f->reg_bytes);
	}
	fr->n_groups = 0;
	fr->up = w->frame;
	fr->local_base = w->local_top;
	w->local_top += (f->local_bytes + 15) & ~15u;
	w->frame = fr;
	w->base[0] = fr->regs;
	w->base[1] = f->consts;
	w->code = f->code;
}

static void pop_frame(struct warp *w)
{
	struct frame *fr = w->frame, *up = fr->up;

	w->local_top = fr->local_base;
	fr->up = w->spare;
	w->spare = fr;
	w->frame = up;
	if (!up)
		return;
	w->base[0] = up->regs;
	w->base[1] = up->func->consts;
	w->code = up->func->code;
	if (up->mask & w->live)
		group_add(up, up->pc, up->mask & w->live, G_READY, 0, 0);
}

static void drop_dead(struct warp *w)
{
	struct frame *f = w->frame;

	for (int i = f->n_groups - 1; i >= 0; i--) {
		f->g[i].mask &= w->live;
		if (!f->g[i].mask)
			group_drop(f, i);
	}
}

/* Chooses the next group; false if none can go on. */
static bool pick(struct warp *w)
{
	for (;;) {
		struct frame *f = w->frame;
		int best = -1;

		if (!f)
			return false;
		drop_dead(w);
		wake_parked(w);
		if (!f->n_groups) {
			pop_frame(w);
			continue;
		}
		for (int i = 0; i < f->n_groups; i++)
			if (f->g[i].state == G_READY &&
			    (best < 0 || f->g[i].pc < f->g[best].pc))
				best = i;
		if (best < 0)
			return false;
		w->pc = f->g[best].pc;
		w->mask = f->g[best].mask;
		group_drop(f, best);
		for (int i = f->n_groups - 1; i >= 0; i--) {
			if (f->g[i].state != G_READY || f->g[i].pc != w->pc)
				continue;
			w->mask |= f->g[i].mask;
			group_drop(f, i);
		}
		find_stop(w);
		return true;
	}
}

void warp_start(struct warp *w, const struct func *f, uint32_t lanes)
{
	while (w->frame) {
		struct frame *fr = w->frame;

		w->frame = fr->up;
		fr->up = w->spare;
		w->spare = fr;
	}
	w->live = lanes;
	w->local_top = 0;
	w->mask = 0;
	w->bar_lanes = 0;
	w->n_copies = 0;
	memset(w->open_group, 0, sizeof(w->open_group));
	push_frame(w, f);
	group_add(w->frame, 0, lanes, G_READY, 0, 0);
}

bool warp_done(const struct warp *w)
{
	return !w->live;
}

/* After a step that left the straight line. */
static bool resched(struct warp *w)
{
	if (w->mask && w->next != MAX_PC) {
		if (w->next < w->stop)
			return true;
		group_add(w->frame, w->next, w->mask, G_READY, 0, 0);
	}
	w->mask = 0;
	return pick(w);
}

/* Whoever polls must let others run: the group stands back. */
static void rest(struct warp *w)
{
	struct frame *f = w->frame;

	w->blk->n_rests++;
	if (w->mask && f->n_groups)
		group_add(f, w->pc, w->mask, G_SPIN, 0, 0);
	else if (w->mask)
		group_add(f, w->pc, w->mask, G_READY, 0, 0);
	w->mask = 0;
}

static void wake_spinners(struct warp *w)
{
	struct frame *f = w->frame;

	for (int i = 0; f && i < f->n_groups; i++)
		if (f->g[i].state == G_SPIN)
			f->g[i].state = G_READY;
}

/* Until all lanes have exited or wait. */
void warp_run(struct warp *w)
{
	uint64_t steps = 0, n = 0;
	bool progress;

	w->mask = 0;
	if (!pick(w)) {
		wake_spinners(w);
		if (!pick(w))
			return;
	}
	progress = w->blk->progress;
	w->stalls = 0;
	w->blk->progress = true;
	for (;;) {
		const struct insn *in = &w->code[w->pc];
		uint32_t m = w->mask;

		n++;
		if (in->guard) {
			uint32_t p = pred(w, in->guard);

			m &= in->guard_not ? ~p : p;
			if (!m) {
				w->next = w->pc + 1;
				goto step;
			}
		}
		w->next = w->pc + 1;
		in->fn(w, in, m);
	step:
		if (w->next >= w->stop) {
			if (!resched(w))
				break;
		} else {
			if (w->next <= w->pc && ++steps > SPIN_STEPS) {
				w->pc = w->next;
				rest(w);
				break;
			}
			w->pc = w->next;
		}
	}
	/* Polling alone is no progress, nor is the loop around it. */
	if (w->stalls && n <= 4 * w->stalls && w->live)
		w->blk->progress = progress;
	w->blk->launch->steps += n;
}

/* Lanes `m` wait here until `need` are with them; the others go on. */
void warp_park(struct warp *w, uint32_t m, uint32_t need)
{
	struct frame *f = w->frame;
	uint32_t rest_mask = w->mask & ~m;

	group_add(f, w->pc, m, G_PARKED, need, 0);
	if (rest_mask)
		group_add(f, w->pc + 1, rest_mask, G_READY, 0, 0);
	w->mask = 0;
	w->next = MAX_PC;
}

/* Lanes `m` go on after this instruction when the barrier lets them. */
void warp_wait(struct warp *w, uint32_t m, int bar)
{
	struct frame *f = w->frame;

	group_add(f, w->pc + 1, m, G_BAR, 0, bar);
	if (w->mask & ~m)
		group_add(f, w->pc + 1, w->mask & ~m, G_READY, 0, 0);
	w->mask = 0;
	w->next = MAX_PC;
}

/* A poll that found nothing: again, or further, when others have run. */
void warp_spin(struct warp *w, uint32_t m, bool goes_on)
{
	struct frame *f = w->frame;

	w->stalls++;
	group_add(f, w->pc + goes_on, m, G_SPIN, 0, 0);
	if (w->mask & ~m)
		group_add(f, w->pc + 1, w->mask & ~m, G_READY, 0, 0);
	w->mask = 0;
	w->next = MAX_PC;
}

bool warp_wake(struct warp *w, int bar)
{
	struct frame *f = w->frame;
	bool any = false;

	for (int i = 0; f && i < f->n_groups; i++) {
		if (f->g[i].state != G_BAR || f->g[i].bar != bar)
			continue;
		f->g[i].state = G_READY;
		f->g[i].bar = 0;
		any = true;
	}
	return any;
}

/* Whether the lanes of a collective are all here; if not they wait. */
bool gather_lanes(struct warp *w, uint32_t m, uint32_t need)
{
	if (!(need & w->live & ~m))
		return true;
	warp_park(w, m, need);
	return false;
}

/* What one lane did before is now before what the others do. */
void warp_sync(struct warp *w)
{
	w->clock[w->id]++;
}

/* Control. */
/* Products that nobody has waited for have no results. */
void wgmma_finish(struct warp *w, const struct insn *in, uint32_t m);
void exec_exit(struct warp *w, const struct insn *in, uint32_t m);
void exec_ret(struct warp *w, const struct insn *in, uint32_t m);

void exec_exit(struct warp *w, const struct insn *in, uint32_t m)
{
	wgmma_finish(w, in, m);
	w->live &= ~m;
	if (!w->live)
		stores_finish(w);
	w->blk->exited += (uint32_t)__builtin_popcount(m);
	w->mask &= ~m;
	if (w->mask)
		group_add(w->frame, w->pc + 1, w->mask, G_READY, 0, 0);
	w->mask = 0;
	w->next = MAX_PC;
}

/* From the callee's memory to the place that the call named. */
static void give_result(struct warp *w, uint32_t m)
{
	const struct frame *f = w->frame, *up = f->up;
	const struct insn *call = &up->func->code[up->pc - 1];

	for (uint32_t r = f->func->ret.size ? m : 0; r; r &= r - 1) {
		unsigned char *l =
			w->local + (size_t)__builtin_ctz(r) * w->local_size;

		memcpy(l + up->local_base + call->op[0],
		       l + f->local_base + f->func->ret.offset,
		       f->func->ret.size);
	}
}

void exec_ret(struct warp *w, const struct insn *in, uint32_t m)
{
	if (!w->frame->up) {
		exec_exit(w, in, m);
		return;
	}
	give_result(w, m);
	w->mask &= ~m;
	if (w->mask)
		group_add(w->frame, w->pc + 1, w->mask, G_READY, 0, 0);
	w->mask = 0;
	w->next = MAX_PC;
}

void exec_bra(struct warp *w, const struct insn *in, uint32_t m);
void exec_bra(struct warp *w, const struct insn *in, uint32_t m)
{
	uint32_t others = w->mask & ~m;

	if (!others) {
		w->next = in->target;
		return;
	}
	group_add(w->frame, in->target, m, G_READY, 0, 0);
	group_add(w->frame, w->pc + 1, others, G_READY, 0, 0);
	w->mask = 0;
	w->next = MAX_PC;
}

void exec_brx(struct warp *w, const struct insn *in, uint32_t m);
void exec_brx(struct warp *w, const struct insn *in, uint32_t m)
{
	const uint32_t *idx = reg(w, in->op[0]);

	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);

		if (idx[l] >= in->target)
			fault(w, in, l, EMU_ILLEGAL_INSTRUCTION,
			      "branch target %u of %u", idx[l], in->target);
		group_add(w->frame, in->targets[idx[l]], 1u << l, G_READY, 0,
			  0);
	}
	if (w->mask & ~m)
		group_add(w->frame, w->pc + 1, w->mask & ~m, G_READY, 0, 0);
	w->mask = 0;
	w->next = MAX_PC;
}

/* op[0] is the place of the result in the caller's local memory. */
void exec_call(struct warp *w, const struct insn *in, uint32_t m);
void exec_call(struct warp *w, const struct insn *in, uint32_t m)
{
	const struct func *f = in->callee;
	struct frame *up = w->frame;
	uint32_t top = w->local_top;

	if (!f->is_defined)
		fault(w, in, __builtin_ctz(m), EMU_ILLEGAL_INSTRUCTION,
		      "call of '%s', which is not defined", f->name);
	if (top + f->local_bytes > w->local_size)
		fault(w, in, __builtin_ctz(m), EMU_ILLEGAL_ADDRESS,
		      "stack overflow in '%s'", f->name);
	if (w->mask & ~m)
		group_add(up, w->pc + 1, w->mask & ~m, G_READY, 0, 0);
	for (uint32_t r = m; r; r &= r - 1) {
		unsigned char *l =
			w->local + (size_t)__builtin_ctz(r) * w->local_size;

		for (uint32_t i = 0; i < f->n_params; i++)
			memcpy(l + top + f->params[i].offset,
			       l + up->local_base + in->more[i],
			       f->params[i].size);
	}
	up->pc = w->pc + 1;
	up->mask = m;
	push_frame(w, f);
	w->mask = m;
	w->next = 0;
	w->stop = 0;
}
