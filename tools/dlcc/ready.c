/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can code be made of a module?  The pipelines see to it; a list of passes or
 * a .dl file from the user may not.
 */
#include "driver.h"
#include "ir/layout.h"
#include "ir/op.h"
#include "ir/target.h"

struct readiness {
	struct ctx *ctx;
	const struct expr *workspace;	/* bytes */
	bool ok;
};

static bool check_place(const struct readiness *r, const struct op *op)
{
	struct ctx *c = r->ctx;
	size_t n;
	const struct expr *const *at = op_exprs(op, A_offset, &n);
	const struct expr *end;
	int64_t k;

	if (op_int(op, A_output) >= 0)
		return true;
	if (!n)
		return diag_error(&c->diag, EXIT_USAGE, op->loc,
				  "the buffer has no place; the pass "
				  "plan_memory gives it one");
	end = expr_add(c, at[0], layout_bytes(c, &op->out[0]));
	/* What is symbolic is checked when the model runs. */
	return !expr_is_const(expr_sub(c, r->workspace, end), &k) || k >= 0 ||
	       diag_error(&c->diag, EXIT_USAGE, op->loc,
			  "the buffer ends at byte %s of %s",
			  expr_str(c, end), expr_str(c, r->workspace));
}

static bool check_outputs(const struct readiness *r, const struct op *ret)
{
	for (unsigned i = 0; i < ret->n_in; i++) {
		const struct op *def = def_of(op_in(ret, i), OP_mem_alloc);

		if (!def || op_int(def, A_output) != i)
			return diag_error(&r->ctx->diag, EXIT_USAGE, ret->loc,
					  "output %u is not the buffer that "
					  "is meant for it",
					  i);
	}
	return true;
}

static bool check_tile(const struct readiness *r, const struct op *op)
{
	const struct target *t = r->ctx->target;
	enum dtype dt = op_body(op)->arg[0]->type->dtype;
	int64_t mr = op_int(op, A_mr), nr = op_int(op, A_nr);

	enum dtype rows = op->in[0].val->type->dtype;
	enum dtype panel = op->in[1].val->type->dtype;
	const struct dot *dot = target_dot(t, rows, panel);

	if (dt == DT_I32 && (!dot || op_int(op, A_group) != dot->group))
		return diag_error(&r->ctx->diag, EXIT_USAGE, op->loc,
				  "this CPU has no sum of products of %s by %s "
				  "in groups of %lld",
				  dtype_info[rows].name, dtype_info[panel].name,
				  (long long)op_int(op, A_group));
	return target_tile_fits(t, dtype_info[dt].bits, mr, nr) ||
	       diag_error(&r->ctx->diag, EXIT_USAGE, op->loc,
			  "a tile of %lld by %lld does not fit the registers "
			  "of %s",
			  (long long)mr, (long long)nr, t->isa->name);
}

/* What text at the loop level may get wrong for this target and memory. */
static void check_ready(void *arg, struct op *op)
{
	struct readiness *r = arg;

	if (!r->ok)
		return;
	switch ((int)op->code) {
	case OP_mem_alloc: r->ok = check_place(r, op); break;
	case OP_kern_contract: r->ok = check_tile(r, op); break;
	case OP_core_return: r->ok = check_outputs(r, op); break;
	default: break;
	}
}

bool job_is_lowered(const struct job *job)
{
	struct diag *d = &job->ctx->diag;
	struct readiness r = { job->ctx, NULL, true };
	size_t n;

	if (job->m->levels != LEVEL_LOOP)
		return diag_error(d, EXIT_USAGE, NULL,
				  "the passes do not lead to the loop level; "
				  "--emit=nest shows what they make");
	if (!op_has(job->m->func, A_workspace))
		return diag_error(d, EXIT_USAGE, NULL,
				  "no pass has planned the memory");
	r.workspace = op_exprs(job->m->func, A_workspace, &n)[1];
	block_walk(op_body(job->m->func), check_ready, &r);
	return r.ok;
}
