/* SPDX-License-Identifier: Apache-2.0 */
#include "passes/nest/quantized.h"

#include <string.h>

#include "passes/nest/body.h"

/* ---- scalars -------------------------------------------------------- */

/* All elements of the constant tensor are equal. */
static bool uniform(const struct value *v, union scalar *s)
{
	size_t es = dtype_size(v->type->dtype);
	struct blob data;

	if (!value_const(v, &data) || data.size < es)
		return false;
	for (size_t i = es; i < data.size; i += es)
		if (memcmp(data.data, (const char *)data.data + i, es))
			return false;
	*s = scalar_load(v->type->dtype, data.data);
	return true;
}

bool scalar_const(const struct value *v, union scalar *s)
{
	const struct op *op = v->def;
	enum dtype t = v->type->dtype;
	union scalar b;
	size_t n;

	if (!op)
		return false;
	switch ((int)op->code) {
	case OP_arith_const:
		if (dtype_is_float(t))
			s->d = op_attr(op, A_value)->f;
		else
			s->i = op_attr(op, A_value)->i;
		return true;
	case OP_arith_cast:
		if (!scalar_const(op->in[0].val, s))
			return false;
		*s = scalar_cast(op->in[0].val->type->dtype, t, *s);
		return true;
	case OP_arith_sub:
		if (t != DT_I32 || !scalar_const(op->in[0].val, s) ||
		    !scalar_const(op->in[1].val, &b))
			return false;
		s->i = (int32_t)((uint32_t)s->i - (uint32_t)b.i);
		return true;
	case OP_nest_load:
		op_exprs(op, A_guard, &n);
		return !n && uniform(op->in[0].val, s);
	default:
		return false;
	}
}

uint32_t scalar_ivs(const struct value *v, const struct block *body)
{
	return v->def ? op_uses_ivs(v->def, body) : 0;
}

struct value *clone_scalar(struct cloner *cl, struct builder *b,
			   struct value *v)
{
	struct value *to = cloned(cl, v);

	if (to != v || !v->def)
		return to;
	for (unsigned i = 0; i < v->def->n_in; i++)
		if (v->def->in[i].val->type->kind == TY_SCALAR)
			clone_scalar(cl, b, v->def->in[i].val);
	return &clone_op(cl, b, v->def)->out[v->index];
}

struct value *scalar_plus(struct lower *lo, struct value *v, int64_t k)
{
	union scalar s = { .i = 0 };

	if (v && !scalar_const(v, &s))
		return k ? s_add(lo, v, s_int(lo, DT_I32, k)) : v;
	s.i += k;
	return s.i ? s_int(lo, DT_I32, s.i) : NULL;
}

/* ---- tensors -------------------------------------------------------- */

struct renamed {
	const struct block *of;
	const struct expr *const *to;
};

static const struct expr *to_index(void *arg, const struct atom *a)
{
	const struct renamed *r = arg;

	for (uint32_t i = 0; i < r->of->n_iv; i++)
		if (expr_atom(r->of->iv[i]) == a)
			return r->to[i];
	return NULL;
}

/* The statement's only load, when all that it does is to move elements. */
static struct op *view_load(struct op *s)
{
	struct op *load;
	size_t n;

	if (!s || s->n_out != 1 || op_has(s, A_idx))
		return NULL;
	load = op_body(s)->first;
	return load->code == OP_nest_load && load->n_in == 1 &&
			       !op_exprs(load, A_guard, &n) &&
			       load->next == op_body(s)->last
		       ? load
		       : NULL;
}

/* Reads what the views between look at. */
static void look_through(struct ctx *c, struct factor *f)
{
	struct op *s, *load;

	while ((s = def_of(f->tensor, OP_nest_compute)) &&
	       (load = view_load(s))) {
		struct renamed r = { op_body(s), f->idx };
		const struct expr *idx[MAX_RANK];
		size_t n;
		const struct expr *const *e = op_exprs(load, A_idx, &n);

		for (size_t i = 0; i < n; i++)
			idx[i] = expr_subst(c, e[i], to_index, &r);
		memcpy(f->idx, idx, n * sizeof(*idx));
		f->tensor = load->in[0].val;
	}
}

static bool is_byte(const struct value *v)
{
	return v->type->dtype == DT_I8 || v->type->dtype == DT_U8;
}

static void read_load(struct factor *f, struct op *load)
{
	size_t n;
	const struct expr *const *e = op_exprs(load, A_idx, &n);

	f->tensor = load->in[0].val;
	memcpy(f->idx, e, n * sizeof(*e));
	e = op_exprs(load, A_guard, &f->n_guard);
	if (f->n_guard)
		memcpy(f->guard, e, f->n_guard * sizeof(*e));
	f->other = f->n_guard ? load->in[1].val : NULL;
	f->load = load;
}

/* i32(load) or i32(load) - zero, of bytes; zero is NULL or made elsewhere. */
static struct op *stored(const struct value *v, struct value **zero)
{
	struct op *op = def_of(v, OP_arith_sub), *load;

	*zero = op ? op->in[1].val : NULL;
	op = def_of(op ? op->in[0].val : v, OP_arith_cast);
	if (!op || op->out[0].type->dtype != DT_I32 ||
	    !is_byte(op->in[0].val))
		return NULL;
	load = def_of(op->in[0].val, OP_nest_load);
	return load;
}

/* ---- a fold of integers --------------------------------------------- */

static bool inside(const struct value *v, const struct block *b)
{
	return v && v->def && v->def->parent == b;
}

static bool integer_factor(struct lower *lo, const struct block *kb,
			   struct value *v, struct factor *f)
{
	struct op *load = stored(v, &f->zero);
	size_t n;

	if (!load || load->parent != kb || inside(f->zero, kb))
		return false;
	op_exprs(load, A_guard, &n);
	if (load->n_in != 1u + (n > 0) || (n && inside(load->in[1].val, kb)))
		return false;
	read_load(f, load);
	f->zero = scalar_plus(lo, f->zero, 0);
	return true;
}

/* ---- a fold of dequantized numbers ---------------------------------- */

/* The parts of a statement that dequantizes bytes, point by point. */
struct dequantize {
	struct op *load;
	struct value *zero, *scale;
};

static bool dequantize_match(struct op *s, struct dequantize *d)
{
	const struct block *b;
	struct op *mul, *cast;
	size_t n;

	if (!s || s->n_out != 1 || op_has(s, A_idx) ||
	    body_has_fold(op_body(s)))
		return false;
	b = op_body(s);
	mul = def_of(b->last->in[0].val, OP_arith_mul);
	if (!mul || mul->out[0].type->dtype != DT_F32)
		return false;
	cast = def_of(mul->in[0].val, OP_arith_cast);
	d->scale = mul->in[1].val;
	d->load = cast ? stored(cast->in[0].val, &d->zero) : NULL;
	if (!d->load || d->load->n_in != 1)
		return false;
	op_exprs(d->load, A_guard, &n);
	return !n;
}

/* Does the scalar of a statement depend on dims that the load indexes with a
 * variable of the fold? */
static bool varies(const struct value *v, const struct block *of,
		   const struct factor *f, const struct block *kb)
{
	uint32_t bits = v ? scalar_ivs(v, of) : 0;

	for (uint32_t d = 0; d < of->n_iv; d++)
		for (uint32_t k = 0; bits >> d & 1 && k < kb->n_iv; k++)
			if (expr_uses(f->idx[d], expr_atom(kb->iv[k])))
				return true;
	return false;
}

static bool dequantized_factor(struct lower *lo, const struct block *kb,
			       struct value *v, struct factor *f)
{
	struct ctx *c = lo->b.ctx;
	struct op *load = def_of(v, OP_nest_load);
	struct dequantize d;
	union scalar k;

	if (!load || load->parent != kb)
		return false;
	read_load(f, load);
	if (load->n_in != 1u + (f->n_guard > 0) ||
	    (f->other && (!scalar_const(f->other, &k) || k.d != 0)))
		return false;
	look_through(c, f);
	struct op *s = def_of(f->tensor, OP_nest_compute);
	const struct block *b = s ? op_body(s) : NULL;

	f->why = "an operand is no dequantized tensor of 8 bits";
	if (!dequantize_match(s, &d))
		return false;
	f->why = "a scale or zero point changes along the sum";
	if (varies(d.zero, b, f, kb) || varies(d.scale, b, f, kb))
		return false;
	f->why = NULL;
	struct cloner cl = { .ctx = c };
	struct renamed r = { b, f->idx };
	const struct expr *idx[MAX_RANK];
	size_t n;
	const struct expr *const *e = op_exprs(d.load, A_idx, &n);

	for (uint32_t i = 0; i < b->n_iv; i++)
		clone_iv(&cl, b->iv[i], f->idx[i]);
	f->scale = clone_scalar(&cl, &lo->b, d.scale);
	f->zero = d.zero ? clone_scalar(&cl, &lo->b, d.zero) : NULL;
	cloner_free(&cl);
	for (size_t i = 0; i < n; i++)
		idx[i] = expr_subst(c, e[i], to_index, &r);
	memcpy(f->idx, idx, n * sizeof(*idx));
	f->tensor = d.load->in[0].val;
	look_through(c, f);
	/* The border is 0, which is stored as the zero point. */
	if (f->n_guard)
		f->other = f->zero ? s_cast(lo, f->tensor->type->dtype,
					    f->zero)
				   : s_int(lo, f->tensor->type->dtype, 0);
	f->zero = scalar_plus(lo, f->zero, 0);
	return true;
}

static bool plain_factor(const struct block *kb, const struct value *v,
			 struct factor *f)
{
	struct op *load = def_of(v, OP_nest_load);
	const char *why = f->why;

	if (!load || load->parent != kb || load->n_in > 2)
		return false;
	memset(f, 0, sizeof(*f));
	f->why = why;
	read_load(f, load);
	f->plain = true;
	return load->n_in == 1u + (f->n_guard > 0) && !inside(f->other, kb);
}

void factor_of_load(struct ctx *c, struct op *load, struct factor *f)
{
	memset(f, 0, sizeof(*f));
	read_load(f, load);
	look_through(c, f);
}

bool quantized_factors(struct ctx *c, struct op *compute, struct op *fold,
		       struct factor f[2])
{
	const struct block *kb = op_body(fold);
	struct lower lo = { .b = { c, op_body(compute), fold, compute->loc } };
	enum dtype t = fold->out[0].type->dtype;
	const struct op *sum = kb->last->n_in == 1
				       ? def_of(kb->last->in[0].val,
						OP_arith_add)
				       : NULL;
	const struct op *mul;
	union scalar zero;

	if (!sum || fold->n_in != 1 || (t != DT_I32 && t != DT_F32))
		return false;
	unsigned k = sum->in[0].val == kb->arg[0] ? 1 : 0;

	mul = def_of(sum->in[k].val, OP_arith_mul);
	if (sum->in[1 - k].val != kb->arg[0] || !mul ||
	    !scalar_const(fold->in[0].val, &zero) || zero.u)
		return false;
	memset(f, 0, 2 * sizeof(*f));
	for (int i = 0; i < 2; i++) {
		struct value *v = mul->in[i].val;

		if (t == DT_I32 ? !integer_factor(&lo, kb, v, &f[i])
				: !dequantized_factor(&lo, kb, v, &f[i]) &&
					  !plain_factor(kb, v, &f[i]))
			return false;
	}
	for (int i = 0; i < 2; i++)
		if (f[i].plain && !def_of(f[1 - i].tensor, OP_core_const))
			return false;
	return !f[0].plain || !f[1].plain;
}
