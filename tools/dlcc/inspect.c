/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dlcc inspect --quant: what a file holds as integers, which of its products
 * are summed as such, and what looks wrong.
 *
 * The first part is read off the graph; the second is what the passes made of
 * it up to the one that prepares the register kernels.
 */
#include <stdio.h>
#include <string.h>

#include "driver.h"
#include "inspect.h"
#include "ir/target.h"
#include "passes/graph/quantize/profile.h"
#include "passes/nest/body.h"
#include "passes/pass.h"

/* ---- counts --------------------------------------------------------- */

/* Ops of the block by their kind, those with a row in the table. */
static void counts_print(const struct held_list *all, const struct block *b)
{
	bool counted[OP_COUNT] = { 0 };

	puts("\nops");
	for (size_t i = 0; i < all->n; i++) {
		enum opcode code = all->v[i].op->code;
		unsigned n = 0;

		if (counted[code])
			continue;
		counted[code] = true;
		for (const struct op *op = b->first; op; op = op->next)
			n += op->code == code;
		printf("  %u %s\n", n, op_type(op_defs[code]));
	}
}

/* ---- products ------------------------------------------------------- */

struct products {
	struct ctx *c;
	struct product_notes *notes;
	bool *used;		/* of the notes */
};

/* Why the sum is one of floats, as the pass said of that node; NULL. */
static const char *take_note(struct products *p, const struct loc *loc)
{
	for (size_t i = 0; i < p->notes->n; i++)
		if (p->notes->v[i].loc == loc && !p->used[i]) {
			p->used[i] = true;
			return p->notes->v[i].why;
		}
	return NULL;
}

static const char *form_of(struct arena *a, struct op *compute, struct op *fold,
			   struct op *x, struct op *w)
{
	struct decode d;
	bool decoded = product_decodes(x, &d) || product_decodes(w, &d);

	return arena_fmt(a, "%s x %s%s, summed in %s, %s",
			 dtype_info[x->out[0].type->dtype].name,
			 dtype_info[w->out[0].type->dtype].name,
			 decoded ? " (decoded)" : "",
			 dtype_info[fold->out[0].type->dtype].name,
			 op_has(compute, A_panel) ? "register tiles"
						  : "plain loops");
}

static void product_print(void *arg, struct op *compute)
{
	struct products *p = arg;
	struct op *fold, *x, *w;
	const char *why;

	if (compute->code != OP_nest_compute)
		return;
	fold = body_product(op_body(compute));
	if (!fold || !fold_is_product(fold, &x, &w) ||
	    x->in[0].val == w->in[0].val)
		return;
	/* What was fused with the fold is of other nodes. */
	bool integers = fold->out[0].type->dtype == DT_I32;

	why = integers ? NULL : take_note(p, fold->loc);
	/* Other folds of products are parts of an op, such as transforms. */
	if (!integers && !why && !op_has(compute, A_panel))
		return;
	printf("  %-28s %s: %s%s%s\n", op_label(p->c, fold),
	       integers ? "integers" : "floats",
	       form_of(&p->c->temp, compute, fold, x, w), why ? "; " : "",
	       why ? why : "");
}

static bool products_print(struct job *job)
{
	struct ctx *c = job->ctx;
	struct product_notes notes = { 0 };
	struct products p = { c, &notes, NULL };

	c->products = &notes;
	bool ok = job_nest_passes(job);

	c->products = NULL;
	if (ok) {
		p.used = NEW_ARRAY(&c->temp, notes.n + 1, bool);
		printf("\nproducts, for %s\n",
		       *c->target->cpu ? c->target->cpu
				       : c->target->isa->name);
		block_walk(op_body(job->m->func), product_print, &p);
	}
	vec_free(&notes);
	return ok;
}

/* ---- the command ---------------------------------------------------- */

static bool inspect(struct job *job)
{
	struct ctx *c = job->ctx;
	struct block *b = op_body(job->m->func);
	struct held_list all = held_find(c, b);
	bool ok = true;

	if (!all.n) {
		puts("no quantization");
	} else {
		held_print(c, &all);
		counts_print(&all, b);
		puts("\nsuspicious");
		if (!suspects_print(c, &all))
			puts("  nothing");
		/* Last: the ops above are gone behind the passes. */
		ok = products_print(job);
	}
	vec_free(&all);
	return ok;
}

int inspect_main(const struct options *o)
{
	struct job job = { .o = o, .prefix = "inspect" };
	int status = EXIT_OK;

	if (!job_import(&job) || !inspect(&job))
		status = job_status(&job);
	if (fflush(stdout) || ferror(stdout))
		fatal(EXIT_IO, "cannot write to the standard output");
	job_free(&job);
	return status;
}
