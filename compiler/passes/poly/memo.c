/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks repeat their layers: a kernel whose text is that of one proved
 * before needs no proof.  The text is made of all that proofs look at:
 * extents, index maps, guards, and the dims of buffers, with variables and
 * values numbered in order of appearance.  Symbols keep their names.
 */
#include <string.h>

#include "passes/poly/prove.h"

struct entry {
	size_t n;
	const uint64_t *key;
	unsigned checked;
};

static void put(struct memo *m, uint64_t x)
{
	vec_push(&m->key, x);
}

/* The number of a variable or value; the two have different low bits. */
static void put_number(struct memo *m, uint64_t id)
{
	uint64_t n = (uint64_t)(uintptr_t)map_get(&m->number, id);

	if (!n) {
		n = ++m->n_number;
		map_put(&m->number, id, (void *)(uintptr_t)n);
	}
	put(m, n);
}

static void put_value(struct memo *m, const struct value *v)
{
	put_number(m, (uint64_t)v->id << 1 | 1);
}

static void put_expr(struct memo *m, const struct op *op,
		     const struct expr *e);

static void put_atom(struct memo *m, const struct op *op, const struct atom *a)
{
	put(m, a->kind);
	switch (a->kind) {
	case ATOM_IV:
		put_number(m, (uint64_t)a->serial << 1);
		return;
	case ATOM_ARG:
		put_value(m, op->in[a->id].val);
		break;
	case ATOM_DIV: case ATOM_MOD: case ATOM_MIN: case ATOM_MAX:
		put_expr(m, op, a->b);
		break;
	case ATOM_SYM: case ATOM_DIM: case ATOM_VAL: case ATOM_POISON:
		put(m, a->serial);
		return;
	}
	put(m, a->a != NULL);
	if (a->a)
		put_expr(m, op, a->a);
}

static void put_expr(struct memo *m, const struct op *op, const struct expr *e)
{
	put(m, e->n);
	for (uint32_t i = 0; i < e->n; i++) {
		const struct term *t = &e->term[i];

		put(m, (uint64_t)t->coef);
		put(m, t->n);
		for (uint32_t j = 0; j < t->n; j++)
			put_atom(m, op, t->atom[j]);
	}
}

static void put_list(struct memo *m, const struct op *op, enum attr_name name)
{
	size_t n;
	const struct expr *const *e = op_exprs(op, name, &n);

	put(m, n);
	for (size_t i = 0; i < n; i++)
		put_expr(m, op, e[i]);
}

static void put_block(struct memo *m, const struct block *b);

static void put_op(struct memo *m, const struct op *op)
{
	put(m, op->code);
	for (unsigned i = 0; i < op->n_in; i++) {
		const struct value *v = op->in[i].val;

		if (!v || v->type->kind != TY_TENSOR)
			continue;
		put_value(m, v);
		put(m, v->type->serial);
	}
	put_list(m, op, A_idx);
	put_list(m, op, A_guard);
	if (op->code == OP_kern_contract) {
		put_list(m, op, A_a_idx);
		put_list(m, op, A_b_idx);
		put_list(m, op, A_s_idx);
		put_list(m, op, A_origin);
		put(m, (uint64_t)op_int(op, A_mr));
		put(m, (uint64_t)op_int(op, A_nr));
		put(m, (uint64_t)op_int(op, A_group));
	}
	for (unsigned i = 0; i < op->n_region; i++)
		put_block(m, op->region[i].block);
}

static bool matters(const struct op *op)
{
	return op->code == OP_mem_load || op->code == OP_mem_store ||
	       op->n_region;
}

static void put_block(struct memo *m, const struct block *b)
{
	put(m, b->n_iv);
	for (uint32_t i = 0; i < b->n_iv; i++) {
		put_number(m, (uint64_t)expr_atom(b->iv[i])->serial << 1);
		put_expr(m, NULL, expr_atom(b->iv[i])->a);
	}
	for (const struct op *op = b->first; op; op = op->next)
		if (matters(op))
			put_op(m, op);
	put(m, UINT64_MAX);
}

static int same_key(const void *obj, const void *key)
{
	const struct entry *e = obj;
	const struct memo *m = key;

	return e->n == m->key.n &&
	       !memcmp(e->key, m->key.v, e->n * sizeof(*e->key));
}

static uint64_t key_hash(const struct memo *m)
{
	return hash_bytes(HASH_INIT, m->key.v, m->key.n * sizeof(*m->key.v));
}

const unsigned *memo_find(struct memo *m, const struct op *kernel)
{
	m->key.n = 0;
	m->n_number = 0;
	map_free(&m->number);
	/* Steps around it have variables, too. */
	for (const struct op *o = op_parent(kernel);
	     o && o->code == OP_loop_seq; o = op_parent(o))
		put_expr(m, NULL, expr_atom(op_body(o)->iv[0])->a),
		put_number(m,
			   (uint64_t)expr_atom(op_body(o)->iv[0])->serial << 1);
	put_op(m, kernel);

	const struct entry *e = intern_find(&m->seen, key_hash(m), same_key, m);

	return e ? &e->checked : NULL;
}

void memo_proved(struct ctx *c, struct memo *m, unsigned checked)
{
	struct entry *e = NEW(&c->temp, struct entry);

	*e = (struct entry){ m->key.n,
			     arena_copy(&c->temp, m->key.v,
					m->key.n * sizeof(*m->key.v)),
			     checked };
	intern_add(&m->seen, key_hash(m), e);
}

void memo_free(struct memo *m)
{
	map_free(&m->seen);
	map_free(&m->number);
	vec_free(&m->key);
}
