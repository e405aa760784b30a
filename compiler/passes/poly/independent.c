/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May the points of a kernel run in any order, and the iterations of its loops
 * as lanes?  A kernel reads nothing that it writes, so all depends on what it
 * stores: when no element is stored to twice, order is free.
 *
 * A variable that is an index of its own keeps elements apart; what else there
 * is, such as the rows of tiles, is left to isl.  The two indices div(x, b)
 * and mod(x, b) tell as much as x does.
 */
#include "passes/poly/prove.h"

/* Those with variables, and those without: an index that is a constant. */
enum { MAX_PARTS = 2 * MAX_PART_VARS };

struct store {
	const struct op *op, *kernel;
	size_t n;			/* indices, after joining */
	const struct expr *idx[MAX_RANK];
	VEC(uint32_t) joins;		/* which indices, and the divisor */
};

struct stores {
	struct prover *p;
	struct op *kernel;
	VEC(struct store) v;
};

static void join_indices(struct store *s)
{
	for (size_t i = 0; i < s->n; i++)
		for (size_t j = 0; j < s->n; j++) {
			const struct atom *d = expr_atom(s->idx[i]);
			const struct atom *m = expr_atom(s->idx[j]);

			if (!d || d->kind != ATOM_DIV || !m ||
			    m->kind != ATOM_MOD || d->a != m->a ||
			    d->b != m->b)
				continue;
			vec_push(&s->joins, (uint32_t)i);
			vec_push(&s->joins, (uint32_t)j);
			vec_push(&s->joins, d->b->serial);
			s->idx[i] = d->a;
			s->idx[j] = s->idx[--s->n];
			/* What was joined may join again. */
			i = (size_t)-1;
			break;
		}
}

static void find_store(void *arg, struct op *op)
{
	struct stores *s = arg;
	struct store st = { .op = op, .kernel = s->kernel };

	if (op->code != OP_mem_store)
		return;
	const struct expr *const *idx = op_exprs(op, A_idx, &st.n);

	for (size_t i = 0; i < st.n; i++)
		st.idx[i] = idx[i];
	join_indices(&st);
	vec_push(&s->v, st);
}

/* ---- what a store does, for isl ------------------------------------- */

static bool is_true(isl_bool b)
{
	return b == isl_bool_true;
}

static unsigned popcount(uint64_t x)
{
	return (unsigned)__builtin_popcountll(x);
}

static void push_path(struct prover *p, const struct block *b,
		      const struct op *kernel)
{
	const struct op *at = b->parent->parent;

	if (at != kernel)
		push_path(p, at->parent, kernel);
	if (at->code == OP_kern_contract)
		push_tile(p, at, false);
	else
		push_block(p, b);
}

/* Everything that bounds the store. */
static void push_store(struct prover *p, const struct store *s)
{
	const struct op *at = op_parent(s->op);
	size_t n;
	const struct expr *const *guard = op_exprs(s->op, A_guard, &n);

	p->op = s->op;
	push_path(p, s->op->parent, s->kernel);
	if (at->code == OP_kern_contract) {
		const struct expr *col = op_body(at)->iv[1];

		push_guard(p, expr_addc(p->c, expr_sub(p->c, expr_atom(col)->a,
						       col),
					-1), NULL);
	}
	push_args(p, s->op);
	for (size_t i = 0; i < n; i++)
		push_guard(p, guard[i], s->op);
}

/* From the variables of the scope that are loops (the first `loops` of them)
 * to those indices of the store that are in the set. */
static isl_map *index_map(struct prover *p, const struct store *s,
			  uint64_t indices, size_t loops)
{
	isl_multi_pw_aff *mpa;
	isl_map *m;
	int n = 0;

	isl_ctx_reset_operations(p->isl);
	for (size_t i = 0; i < s->n; i++)
		if (indices >> i & 1)
			push_parts(p, s->idx[i]);
	isl_set *dom = isl_set_copy(scope_domain(p));

	mpa = isl_multi_pw_aff_zero(isl_space_map_from_domain_and_range(
		isl_space_copy(p->space),
		isl_space_set_alloc(p->isl, 0, popcount(indices))));
	for (size_t i = 0; i < s->n; i++)
		if (indices >> i & 1)
			mpa = isl_multi_pw_aff_set_pw_aff(
				mpa, n++, to_isl(p, s->idx[i]));
	m = isl_map_intersect_domain(isl_map_from_multi_pw_aff(mpa), dom);
	/* What is no loop may have any value. */
	for (size_t i = p->vars.n; i-- > 0;)
		if (!p->vars.v[i].atom)
			m = isl_map_project_out(m, isl_dim_in, (unsigned)i, 1);
	if (loops < (size_t)isl_map_dim(m, isl_dim_in))
		m = isl_map_project_out(
			m, isl_dim_in, (unsigned)loops,
			(unsigned)isl_map_dim(m, isl_dim_in) - (unsigned)loops);
	return m;
}

/* ---- no element twice ----------------------------------------------- */

/*
 * Variables that have nothing to do with each other, with the indices made of
 * them: rows and columns of tiles, say.  Elements are distinct when they are
 * in each such part.
 */
struct part {
	uint64_t vars, indices;
};

/* Adds variables that belong together to what is known of others. */
static unsigned merge(struct part *part, unsigned n, uint64_t vars,
		      uint64_t indices)
{
	struct part all = { vars, indices };
	unsigned left = 0;

	if (!vars && !indices)
		return n;
	for (unsigned i = 0; i < n; i++)
		if (part[i].vars & all.vars) {
			all.vars |= part[i].vars;
			all.indices |= part[i].indices;
		} else {
			part[left++] = part[i];
		}
	part[left++] = all;
	return left;
}

static unsigned split(const struct prover *p, const struct store *s,
		      struct part *part)
{
	unsigned n = 0;

	for (size_t i = 0; i < p->vars.n; i++)
		n = merge(part, n, vars_bounding(p, i) | UINT64_C(1) << i, 0);
	for (size_t i = 0; i < p->guards.n; i++)
		n = merge(part, n, vars_in(p, p->guards.v[i].e,
					   p->guards.v[i].op), 0);
	for (size_t i = 0; i < s->n; i++)
		n = merge(part, n, vars_in(p, s->idx[i], s->op),
			  UINT64_C(1) << i);
	return n;
}

/* Are elements the same for both in terms of what is left of the indices? */
static bool comparable(const struct store *a, const struct store *b)
{
	if (a->joins.n != b->joins.n)
		return false;
	for (size_t i = 0; i < a->joins.n; i++)
		if (a->joins.v[i] != b->joins.v[i])
			return false;
	return true;
}

/* Is it one loop that is an index as it is? */
static bool is_plain(const struct prover *p, const struct store *s,
		     const struct part *part)
{
	if (part->vars & (part->vars - 1))
		return false;
	for (size_t i = 0; i < p->vars.n; i++)
		for (size_t k = 0; k < s->n; k++)
			if (part->vars >> i & 1 && part->indices >> k & 1 &&
			    p->vars.v[i].atom &&
			    expr_atom(s->idx[k]) == p->vars.v[i].atom)
				return true;
	return false;
}

/* A loop that has no say in the indices must not run twice: plain ones. */
static bool runs_once(const struct prover *p, const struct part *part)
{
	for (size_t i = 0; i < p->vars.n; i++)
		if (part->vars >> i & 1 && p->vars.v[i].atom &&
		    !expr_is(p->vars.v[i].atom->a, 1))
			return false;
	return true;
}

static isl_map *part_map(struct prover *p, const struct store *s,
			 const struct part *part)
{
	struct prover q = scope_part(p, part->vars);
	isl_map *m = index_map(&q, s, part->indices, SIZE_MAX);

	scope_part_end(p, &q);
	return m;
}

/* The elements of a store, by parts. */
struct elements {
	unsigned n;
	uint64_t indices[MAX_PARTS];
	isl_set *set[MAX_PARTS];
};

/* Does the store write each element at most once?  The elements of plain
 * parts are seldom asked for. */
static bool store_once(struct prover *p, const struct store *s,
		       struct elements *e, bool want_plain)
{
	struct scope save = scope_mark(p);
	struct part part[MAX_PARTS];
	bool ok;

	push_store(p, s);
	ok = p->vars.n <= MAX_PART_VARS && s->n <= MAX_PART_VARS;
	unsigned n = ok ? split(p, s, part) : 0;

	for (unsigned i = 0; i < n && ok; i++) {
		if (is_plain(p, s, &part[i]) && !want_plain)
			continue;
		if (!part[i].indices && runs_once(p, &part[i]))
			continue;
		/* Without indices: is there more than one point? */
		isl_map *m = part_map(p, s, &part[i]);

		ok = is_true(isl_map_is_injective(m));
		if (!part[i].indices) {
			isl_map_free(m);
			continue;
		}
		e->indices[e->n] = part[i].indices;
		e->set[e->n++] = isl_map_range(m);
	}
	scope_reset(p, save);
	p->op = NULL;
	return ok;
}

static void free_elements(struct elements *e)
{
	for (unsigned i = 0; i < e->n; i++)
		isl_set_free(e->set[i]);
}

/* Is there a part in which they have no element in common? */
static bool are_apart(const struct elements *a, const struct elements *b)
{
	for (unsigned i = 0; i < a->n; i++)
		for (unsigned j = 0; j < b->n; j++)
			if (a->indices[i] == b->indices[j] &&
			    is_true(isl_set_is_disjoint(a->set[i], b->set[j])))
				return true;
	return false;
}

/* Two stores that write each element at most once: so do they together? */
static bool stores_once(struct prover *p, const struct store *a,
			const struct store *b, const struct elements *ea,
			const struct elements *eb)
{
	struct elements *all = NEW_ARRAY(&p->c->temp, 2, struct elements);
	bool ok;

	if (a->op->in[1].val != b->op->in[1].val)
		return true;
	if (!comparable(a, b))
		return false;
	if (are_apart(ea, eb))
		return true;
	ok = store_once(p, a, &all[0], true) &&
	     store_once(p, b, &all[1], true) && are_apart(&all[0], &all[1]);
	free_elements(&all[0]);
	free_elements(&all[1]);
	return ok;
}

/* Does every store write each element at most once? */
static bool writes_once(struct stores *s)
{
	struct prover *p = s->p;
	struct elements *e = NEW_ARRAY(&p->c->temp, s->v.n + 1,
				       struct elements);
	bool ok = true;

	for (size_t i = 0; i < s->v.n && ok; i++) {
		ok = store_once(p, &s->v.v[i], &e[i], false);
		for (size_t j = 0; j < i && ok; j++)
			ok = stores_once(p, &s->v.v[i], &s->v.v[j], &e[i],
					 &e[j]);
	}
	for (size_t i = 0; i < s->v.n; i++)
		free_elements(&e[i]);
	return ok;
}

/* ---- points apart --------------------------------------------------- */

static isl_map *point_map(struct prover *p, const struct store *s)
{
	struct scope save = scope_mark(p);
	isl_map *m;

	push_store(p, s);
	m = index_map(p, s, UINT64_MAX >> (64 - (s->n ? s->n : 1)),
		      op_body(s->kernel)->n_iv);
	scope_reset(p, save);
	p->op = NULL;
	return m;
}

/* Do different points of the kernel write different elements of the buffer
 * of store `first`? */
static bool points_apart(struct stores *s, size_t first)
{
	struct prover *p = s->p;
	const struct store *a = &s->v.v[first];
	isl_map *all = point_map(p, a);
	bool ok = true;

	for (size_t j = first + 1; j < s->v.n; j++) {
		const struct store *b = &s->v.v[j];

		if (a->op->in[1].val != b->op->in[1].val)
			continue;
		ok = ok && comparable(a, b);
		if (ok)
			all = isl_map_union(all, point_map(p, b));
	}
	isl_ctx_reset_operations(p->isl);
	ok = ok && is_true(isl_map_is_injective(all));
	isl_map_free(all);
	return ok;
}

enum independence check_stores(struct prover *p, struct op *kernel,
			       unsigned *checked)
{
	struct stores s = { .p = p, .kernel = kernel };
	enum independence r = WRITES_ONCE;

	block_walk(op_body(kernel), find_store, &s);
	*checked += (unsigned)s.v.n;
	if (!writes_once(&s)) {
		r = POINTS_APART;
		for (size_t i = 0; i < s.v.n && r == POINTS_APART; i++)
			if (!points_apart(&s, i))
				r = DEPENDENT;
	}
	for (size_t i = 0; i < s.v.n; i++)
		vec_free(&s.v.v[i].joins);
	vec_free(&s.v);
	return r;
}
