/* SPDX-License-Identifier: Apache-2.0 */
/* Copying ops under a substitution of values and iteration variables. */
#include "ir/op.h"
#include "passes/pass.h"

void clone_value(struct cloner *cl, const struct value *from,
		 struct value *to)
{
	map_put(&cl->values, from->id, to);
}

void clone_iv(struct cloner *cl, const struct expr *iv, const struct expr *to)
{
	map_put(&cl->atoms, expr_atom(iv)->serial, (void *)to);
}

struct value *cloned(const struct cloner *cl, struct value *v)
{
	struct value *to = v ? map_get(&cl->values, v->id) : NULL;

	return to ? to : v;
}

static const struct expr *subst(void *arg, const struct atom *a)
{
	const struct cloner *cl = arg;
	const struct expr *to = map_get(&cl->atoms, a->serial);

	/* An operand's extent may mention variables that change too. */
	if (!to && a->kind == ATOM_ARG && a->a)
		return expr_arg(cl->ctx, a->id, clone_expr(cl, a->a));
	return to;
}

const struct expr *clone_expr(const struct cloner *cl, const struct expr *e)
{
	return expr_subst(cl->ctx, e, subst, (void *)cl);
}

static const struct attr *clone_attr(const struct cloner *cl,
				     const struct attr *a)
{
	if (a->kind != AT_EXPRS)
		return a;
	const struct expr **e = NEW_ARRAY(&cl->ctx->temp, a->n + 1,
					  const struct expr *);

	for (size_t k = 0; k < a->n; k++)
		e[k] = clone_expr(cl, a->exprs[k]);
	return attr_exprs(cl->ctx, a->n, e);
}

struct op *clone_op(struct cloner *cl, struct builder *b, const struct op *op)
{
	struct ctx *c = cl->ctx;
	struct value **in = NEW_ARRAY(&c->temp, op->n_in + 1u, struct value *);
	const struct type **out = NEW_ARRAY(&c->temp, op->n_out + 1u,
					    const struct type *);
	struct named_attr *attr = NEW_ARRAY(&c->temp, op->n_attr + 1u,
					    struct named_attr);

	for (unsigned i = 0; i < op->n_in; i++)
		in[i] = cloned(cl, op->in[i].val);
	for (unsigned i = 0; i < op->n_out; i++)
		out[i] = op->out[i].type;
	for (unsigned i = 0; i < op->n_attr; i++)
		attr[i] =
			(struct named_attr){ op->attr[i].name,
					     clone_attr(cl, op->attr[i].val) };
	const struct loc *loc = b->loc;

	b->loc = op->loc;
	struct op *copy = build(b, &(struct op_spec){
					   op->code, op->n_in, in, op->n_out,
					   out, op->n_attr, attr,
					   op->n_region });

	b->loc = loc;
	for (unsigned i = 0; i < op->n_out; i++) {
		copy->out[i].layout = op->out[i].layout;
		copy->out[i].name = op->out[i].name;
		clone_value(cl, &op->out[i], &copy->out[i]);
	}
	for (unsigned r = 0; r < op->n_region; r++) {
		const struct block *from = op->region[r].block;
		struct block *to = copy->region[r].block;
		struct builder inner = { c, to, NULL, op->loc };

		for (unsigned i = 0; i < from->n_iv; i++) {
			const struct atom *a = expr_atom(from->iv[i]);

			clone_iv(cl, from->iv[i],
				 block_add_iv(c, to, clone_expr(cl, a->a)));
		}
		for (unsigned i = 0; i < from->n_arg; i++)
			clone_value(cl, from->arg[i],
				    block_add_arg(c, to, from->arg[i]->type,
						  from->arg[i]->name));
		for (struct op *o = from->first; o; o = o->next)
			clone_op(cl, &inner, o);
	}
	/* Attributes may speak of the op's own variables. */
	if (op->n_region)
		for (unsigned i = 0; i < op->n_attr; i++)
			copy->attr[i].val = clone_attr(cl, op->attr[i].val);
	return copy;
}

const struct op *clone_body(struct cloner *cl, struct builder *b,
			    const struct block *body)
{
	for (const struct op *o = body->first; o != body->last; o = o->next)
		clone_op(cl, b, o);
	return body->last;
}

void cloner_free(struct cloner *cl)
{
	map_free(&cl->values);
	map_free(&cl->atoms);
}

static bool is_dead(const struct op *op)
{
	if (op_def(op)->impure || !op->n_out)
		return false;
	for (unsigned i = 0; i < op->n_out; i++)
		if (op->out[i].uses)
			return false;
	return true;
}

void erase_dead(struct block *b)
{
	for (struct op *op = b->last, *prev; op; op = prev) {
		prev = op->prev;
		if (is_dead(op)) {
			op_erase(op);
			continue;
		}
		for (unsigned i = 0; i < op->n_region; i++)
			erase_dead(op->region[i].block);
	}
}
