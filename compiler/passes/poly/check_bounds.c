/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_bounds: proves on the emitted loops that
 *  - every access of every kernel is inside its buffer, in each dim, and
 *  - the points of a kernel and the lanes of its loops may run in any order:
 *    it reads nothing that it writes and writes no element twice.
 *
 * What is looked at is the loop level itself, not what made it: each loop
 * gives the bounds of a variable, each guard a constraint, a register tile its
 * rows and columns.  The algebra of expressions proves most, isl the rest.
 *
 * What is not proved is made safe: an access by a condition on the symbols
 * that a call checks once before the kernel, or by one on each access
 * (guard.c); stores that may meet by running the kernel on one thread and its
 * loops without lanes.  core.func's `guarded` counts these, and --verbose
 * lists them.  What can be neither is refused.
 *
 * isl's answer "unknown" (quota, error) reads as "not proved".
 */
#include "passes/poly/prove.h"

struct checker {
	struct prover p;
	struct memo memo;
	unsigned checked, guarded;
	bool plain;			/* a tile that cannot stay one */
	unsigned failed;		/* neither proved nor guarded */
	VEC(const char *) list;		/* what was guarded, in words */
};

/* ---- claims --------------------------------------------------------- */

/* What is above 0 when a variable is below the extent: that of a loop over
 * groups of k counts ceil(x / k) of them, where x is. */
static const struct expr *what_runs(struct ctx *c, const struct expr *extent)
{
	const struct atom *d = expr_atom(extent);
	int64_t k;

	return d && d->kind == ATOM_DIV && expr_is_const(d->b, &k)
		       ? expr_addc(c, d->a, 1 - k)
		       : extent;
}

/*
 * Is a multiple of b above 0, since a variable is below it?  Or below all of
 * the extents around, which is a multiple of b by what a call checked: the
 * elements of what is reshaped.
 */
static bool some_loop_runs(const struct prover *p, const struct expr *b)
{
	struct ctx *c = p->c;
	const struct expr *all = expr_const(c, 1);

	for (size_t i = 0; i < p->vars.n; i++) {
		const struct atom *a = p->vars.v[i].atom;

		if (!a || uses_loose(p, expr_of_atom(c, a)))
			continue;
		if (expr_exact_div(c, what_runs(c, a->a), b))
			return true;
		all = expr_mul(c, all, a->a);
	}
	for (size_t i = 0; i < p->equal.n; i++)
		if (expr_exact_div(c, expr_sub(c, all, p->equal.v[i]), b) ||
		    expr_exact_div(c, expr_add(c, all, p->equal.v[i]), b))
			return true;
	return false;
}

struct trust {
	struct prover *p;
	bool ok;
};

/* The algebra takes divisors to be positive and operands to be below their
 * extents: is that so? */
static void visit_trust(void *arg, const struct atom *a)
{
	struct trust *t = arg;
	struct ctx *c = t->p->c;
	int64_t k;

	if (a->kind == ATOM_ARG || a->kind == ATOM_VAL) {
		t->ok &= a->a && expr_ge0(c, expr_addc(c, a->a, -1));
		return;
	}
	if ((a->kind != ATOM_DIV && a->kind != ATOM_MOD) ||
	    expr_is_const(a->b, &k) || !t->ok)
		return;
	const struct expr *least = expr_addc(c, a->b, -1);

	t->ok = known_ge0(t->p, least) ||
		(known_ge0(t->p, a->b) && some_loop_runs(t->p, a->b)) ||
		holds(t->p, least);
}

static bool trusted(struct prover *p, const struct expr *e)
{
	struct trust t = { p, !uses_loose(p, e) };

	if (t.ok)
		expr_visit(e, visit_trust, &t);
	return t.ok;
}

static const struct atom *symbolic_div(const struct expr *e)
{
	int64_t k;

	for (uint32_t i = 0; i < e->n; i++) {
		const struct term *t = &e->term[i];

		if (t->n == 1 && t->atom[0]->kind == ATOM_DIV &&
		    (t->coef == 1 || t->coef == -1) &&
		    !expr_is_const(t->atom[0]->b, &k))
			return t->atom[0];
	}
	return NULL;
}

/*
 * The same claim e >= 0 without floor divisions by symbols, for positive b:
 *	r - div(x, b) >= 0  is  b*r + b - 1 - x >= 0
 *	r + div(x, b) >= 0  is  b*r + x >= 0
 */
static const struct expr *multiplied_out(struct ctx *c, const struct expr *e)
{
	const struct expr *k, *r;
	const struct atom *d;

	while ((d = symbolic_div(e)) && expr_linear(c, e, d, &k, &r)) {
		r = expr_mul(c, r, d->b);
		if (expr_is(k, 1))
			e = expr_add(c, r, d->a);
		else if (expr_is(k, -1))
			e = expr_sub(c, expr_add(c, r, expr_addc(c, d->b, -1)),
				     d->a);
		else
			break;
	}
	return e;
}

static bool proved(struct prover *p, const struct expr *e)
{
	int64_t k;

	if (expr_is_const(e, &k) && k >= 0)
		return true;
	if (trusted(p, e)) {
		if (expr_ge0(p->c, e))
			return true;
		e = multiplied_out(p->c, e);
		if (known_ge0(p, e))
			return true;
	}
	return holds(p, e);
}

/* ---- accesses ------------------------------------------------------- */

static const char *words(struct checker *k, const struct op *op,
			 const char *what, const char *how)
{
	const struct loc *l = op->loc;

	return arena_fmt(&k->p.c->perm, "%s%s'%s': %s of %s%s%s",
			 l && l->op ? l->op : "", l && l->op ? " " : "",
			 l && l->name ? l->name : "", op_def(op)->name, what,
			 how ? ": " : "", how ? how : "");
}

/* Text is somebody's input, all else we made. */
static void refuse(struct checker *k, const struct op *op, const char *what)
{
	struct diag *d = &k->p.c->diag;

	k->failed++;
	if (!op->loc || !op->loc->line)
		bug(d, "%s is not proved", words(k, op, what, NULL));
	diag_error(d, EXIT_MODEL, op->loc, "%s may be outside of the buffer",
		   words(k, op, what, NULL));
}

/* The points where one of the claims fails are guarded against. */
static void not_proved(struct checker *k, struct op *op, const char *what,
		       unsigned n, const struct expr *const *claim, size_t d)
{
	struct prover *p = &k->p;
	struct ctx *c = p->c;
	isl_set *bad = NULL;
	uint64_t used = 0;

	push_facts(p, claim[n - 1]);
	for (unsigned i = 0; i < n; i++) {
		used |= vars_in(p, claim[i], p->op);
		push_parts(p, claim[i]);
	}
	isl_ctx_reset_operations(p->isl);
	for (unsigned i = 0; i < n; i++) {
		isl_set *s = points_where(
			p, expr_addc(c, expr_scale(c, claim[i], -1), -1));

		bad = bad ? isl_set_union(bad, s) : s;
	}
	bool hopeless = false;
	const char *how = guard_access(p, op, bad, used, d, &hopeless);

	isl_set_free(bad);
	/* With all that is known there may be nothing wrong. */
	if (how && !*how)
		return;
	if (hopeless) {
		refuse(k, op, what);
		return;
	}
	if (!how) {
		k->plain = true;
		how = "plain loops instead of a tile";
	}
	k->guarded++;
	vec_push(&k->list, words(k, op, what, how));
}

static const char *dim_words(struct prover *p, const struct value *buf,
			     size_t d)
{
	return arena_fmt(&p->c->perm, "dim %zu of %s", d,
			 type_str(p->c, buf->type));
}

static void check_index(struct checker *k, struct op *op,
			const struct value *buf, const struct expr *const *idx,
			size_t d)
{
	struct prover *p = &k->p;
	struct ctx *c = p->c;
	const struct expr *at = idx[d], *dim = buf->type->dim[d];
	const struct expr *claim[] = {
		at, expr_addc(c, expr_sub(c, dim, at), -1),
	};
	struct scope save = scope_mark(p);

	k->checked++;
	without_step(p, &at, &dim);
	/* What a guard asks is said of the index as it is. */
	if (!proved(p, at) ||
	    !proved(p, expr_addc(c, expr_sub(c, dim, at), -1)))
		not_proved(k, op, dim_words(p, buf, d), 2, claim, d);
	scope_reset(p, save);
}

static void check_op(struct checker *k, struct op *op);
static void check_block(struct checker *k, struct block *b);

/*
 * Rows m0 .. m0+mr-1 must all be rows; the panel's columns n0 .. n0+nr-1 are
 * read, and those below the extent reach the body.
 */
static void check_contract(struct checker *k, struct op *op)
{
	struct prover *p = &k->p;
	struct ctx *c = p->c;
	struct block *b = op_body(op);
	struct scope save = scope_mark(p);
	const struct atom *m = expr_atom(b->iv[0]), *n = expr_atom(b->iv[1]);
	size_t count;
	const struct expr *const *o = op_exprs(op, A_origin, &count);
	const struct expr *rest = expr_sub(c, n->a, o[1]);
	const struct expr *claim[] = {
		o[0], o[1],
		expr_addc(c, expr_sub(c, m->a, o[0]), -op_int(op, A_mr)),
		/* The columns left are those that there are. */
		expr_sub(c, rest, o[2]),
	};
	bool inside = true;

	k->checked++;
	for (unsigned i = 0; i < ARRAY_SIZE(claim); i++)
		inside = inside && proved(p, claim[i]);
	if (!inside) {
		not_proved(k, op, "the tile's place", ARRAY_SIZE(claim), claim,
			   0);
		scope_reset(p, save);
	}
	push_tile(p, op, true);
	vec_push(&p->loose, n);
	const struct expr *const *idx = op_exprs(op, A_a_idx, &count);

	for (size_t i = 0; i < count; i++)
		check_index(k, op, op->in[0].val, idx, i);
	idx = op_exprs(op, A_b_idx, &count);
	for (size_t i = 0; i < count; i++)
		check_index(k, op, op->in[1].val, idx, i);
	idx = op_exprs(op, A_s_idx, &count);
	for (size_t i = 0; i < count; i++)
		for (unsigned s = 2; s < op->n_in; s++)
			check_index(k, op, op->in[s].val, idx, i);
	p->loose.n--;
	if (k->plain) {
		k->plain = false;
		scope_reset(p, save);
		check_op(k, plain_contract(c, op));
		return;
	}
	push_guard(p, expr_addc(c, expr_sub(c, n->a, b->iv[1]), -1), NULL);
	check_block(k, b);
	scope_reset(p, save);
}

static void push_access(struct prover *p, const struct op *op)
{
	size_t n;
	const struct expr *const *guard = op_exprs(op, A_guard, &n);

	p->op = op;
	push_args(p, op);
	for (size_t i = 0; i < n; i++)
		push_guard(p, guard[i], op);
}

static void check_access(struct checker *k, struct op *op, unsigned buf)
{
	struct prover *p = &k->p;
	struct scope save = scope_mark(p);
	size_t n;

	push_access(p, op);
	op_exprs(op, A_idx, &n);
	for (size_t i = 0; i < n; i++) {
		unsigned guarded = k->guarded;

		check_index(k, op, op->in[buf].val, op_exprs(op, A_idx, &n), i);
		if (k->guarded == guarded)
			continue;
		/* Its operands may have other numbers now. */
		scope_reset(p, save);
		push_access(p, op);
	}
	p->op = NULL;
	scope_reset(p, save);
}

static void check_op(struct checker *k, struct op *op)
{
	struct scope save = scope_mark(&k->p);

	switch ((int)op->code) {
	case OP_mem_load: check_access(k, op, 0); break;
	case OP_mem_store: check_access(k, op, 1); break;
	case OP_kern_contract: check_contract(k, op); break;
	default:
		for (unsigned r = 0; r < op->n_region; r++) {
			push_block(&k->p, op->region[r].block);
			check_block(k, op->region[r].block);
			scope_reset(&k->p, save);
		}
		break;
	}
}

static void check_block(struct checker *k, struct block *b)
{
	/* A tile may be replaced. */
	for (struct op *op = b->first, *next; op; op = next) {
		next = op->next;
		check_op(k, op);
	}
}

/* ---- kernels -------------------------------------------------------- */

struct written {
	struct checker *k;
	struct map bufs;
	const struct op *read;
};

static void visit_written(void *arg, struct op *op)
{
	struct written *w = arg;

	if (op->code == OP_mem_store)
		map_put(&w->bufs, op->in[1].val->id, op);
}

static void visit_read(void *arg, struct op *op)
{
	struct written *w = arg;

	if (op->code == OP_mem_store)
		return;
	for (unsigned i = 0; i < op->n_in; i++)
		if (op->in[i].val && map_get(&w->bufs, op->in[i].val->id))
			w->read = op;
}

static void check_reads(struct checker *k, struct op *kernel)
{
	struct written w = { .k = k };

	block_walk(op_body(kernel), visit_written, &w);
	block_walk(op_body(kernel), visit_read, &w);
	if (w.read)
		refuse(k, w.read, "what the kernel writes");
	map_free(&w.bufs);
}

/* A store to a packed buffer reads and writes what is beside the element. */
static void visit_shared(void *arg, struct op *op)
{
	if (op->code == OP_mem_store)
		*(bool *)arg |= dtype_is_packed(op->in[1].val->type->dtype);
}

static void no_lanes(void *arg, struct op *op)
{
	if (op->code == OP_loop_for && op_int(op, A_width) > 1)
		op_set_int(arg, op, A_width, 1);
}

static void check_order(struct checker *k, struct op *kernel)
{
	struct ctx *c = k->p.c;
	enum independence r = check_stores(&k->p, kernel, &k->checked);
	bool shared = false;

	block_walk(op_body(kernel), visit_shared, &shared);
	if (r == WRITES_ONCE && !shared)
		return;
	if (r == DEPENDENT || shared)
		/* One task for all points. */
		op_set_int(c, kernel, A_grain, INT64_MAX);
	k->guarded++;
	if (r == WRITES_ONCE) {
		vec_push(&k->list, words(k, kernel, "distinct bytes",
					 "one thread"));
		return;
	}
	block_walk(op_body(kernel), no_lanes, c);
	vec_push(&k->list,
		 words(k, kernel, "distinct elements",
		       r == POINTS_APART && !shared ? "no lanes"
						    : "one thread, no lanes"));
}

/* The variables of the steps around a kernel. */
static void push_steps(struct prover *p, const struct op *op)
{
	const struct op *step = op_parent(op);

	if (step->code != OP_loop_seq)
		return;
	push_steps(p, step);
	push_block(p, op_body(step));
}

static void check_kernel(struct checker *k, struct op *op)
{
	struct scope save = scope_mark(&k->p);
	unsigned before = k->checked, guarded = k->guarded;
	const unsigned *known = memo_find(&k->memo, op);

	if (known) {
		k->checked += *known;
		return;
	}
	check_reads(k, op);
	/* For this a step's variable is one number. */
	check_order(k, op);
	push_steps(&k->p, op);
	check_op(k, op);
	scope_reset(&k->p, save);
	if (k->guarded == guarded && !k->failed)
		memo_proved(k->p.c, &k->memo, k->checked - before);
}

/* ---- sizes ---------------------------------------------------------- */

/* Before op: the call ends unless all of e are >= 0. */
static void check_sizes(struct checker *k, struct op *op, size_t n,
			const struct expr *const *e, const char *what)
{
	struct ctx *c = k->p.c;
	struct builder b = { c, op->parent, op, op->loc };
	struct named_attr attr = { A_nonneg, attr_exprs(c, n, e) };

	build(&b, &(struct op_spec){ .code = OP_core_check, .n_attr = 1,
				     .attr = &attr });
	k->checked++;
	k->guarded++;
	vec_push(&k->list, words(k, op, what, "checked once per call"));
}

/* Two dims below 0 would look like a tensor of some elements. */
static void check_dims(struct checker *k, struct op *alloc)
{
	const struct type *t = alloc->out[0].type;
	const struct expr *e[MAX_RANK];
	size_t n = 0;

	for (uint32_t i = 0; i < t->rank; i++)
		if (!known_ge0(&k->p, t->dim[i])) {
			e[n++] = t->dim[i];
			vec_push(&k->p.facts, t->dim[i]);
		}
	if (n)
		check_sizes(k, alloc, n, e,
			    arena_fmt(&k->p.c->perm, "the dims of %s",
				      type_str(k->p.c, t)));
}

/* And two extents like a kernel of some points. */
static void check_extents(struct checker *k, struct op *kernel)
{
	const struct block *b = op_body(kernel);
	const struct expr *e[MAX_RANK * MAX_RANK];
	size_t n = 0;

	for (uint32_t i = 0; i < b->n_iv; i++)
		for (uint32_t j = 0; j < i; j++) {
			const struct expr *most =
				expr_max(k->p.c, expr_atom(b->iv[i])->a,
					 expr_atom(b->iv[j])->a);

			if (!known_ge0(&k->p, expr_atom(b->iv[i])->a) &&
			    !known_ge0(&k->p, expr_atom(b->iv[j])->a) &&
			    !known_ge0(&k->p, most))
				e[n++] = most;
		}
	if (n)
		check_sizes(k, kernel, n, e, "points");
}

static void add_facts(struct checker *k, const struct op *check)
{
	size_t n;
	const struct expr *const *e = op_exprs(check, A_nonneg, &n);

	for (size_t i = 0; i < n; i++)
		vec_push(&k->p.facts, e[i]);
	e = op_exprs(check, A_zero, &n);
	for (size_t i = 0; i < n; i++) {
		vec_push(&k->p.equal, e[i]);
		vec_push(&k->p.facts, e[i]);
		vec_push(&k->p.facts, expr_scale(k->p.c, e[i], -1));
	}
}

/* Facts stay for all that follows in the block and what is inside of it. */
static void check_all(struct checker *k, struct block *b)
{
	size_t facts = k->p.facts.n, equal = k->p.equal.n;

	for (struct op *op = b->first; op; op = op->next) {
		switch ((int)op->code) {
		case OP_core_check: add_facts(k, op); break;
		case OP_mem_alloc: check_dims(k, op); break;
		case OP_loop_seq: check_all(k, op_body(op)); break;
		case OP_loop_kernel:
			check_extents(k, op);
			check_kernel(k, op);
			break;
		default: break;
		}
	}
	k->p.facts.n = facts;
	k->p.equal.n = equal;
}

static void set_list(struct checker *k, struct op *func)
{
	struct ctx *c = k->p.c;
	struct attr *a = NEW(&c->perm, struct attr);

	a->kind = AT_STRS;
	a->n = k->list.n;
	a->strs = arena_copy(&c->perm, k->list.v,
			     k->list.n * sizeof(*k->list.v));
	op_set_attr(c, func, A_guarded_list, a);
}

static bool check_bounds_run(struct module *m, const struct pass_args *args)
{
	struct checker k = { .checked = 0 };

	(void)args;
	prover_init(&k.p, m->ctx);
	find_broadcasts(&k.p, m);
	check_all(&k, op_body(m->func));
	op_set_int(m->ctx, m->func, A_checked, k.checked);
	op_set_int(m->ctx, m->func, A_guarded, k.guarded);
	if (k.list.n)
		set_list(&k, m->func);
	vec_free(&k.list);
	memo_free(&k.memo);
	prover_free(&k.p);
	return !k.failed;
}

PASS(check_bounds,
	.summary = "Prove or guard accesses and parallel points",
	.needs = LEVEL_LOOP, .leaves = LEVEL_LOOP,
	.run = check_bounds_run);
