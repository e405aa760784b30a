/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention: softmax(scale * Q * K' + mask) * V per head, with groups of query
 * heads that share keys and values, and a cache of past ones.
 *
 * Operands of rank 3 hold the heads side by side in the last dim; they are
 * read in place.  The products are contractions; scaling, softcap and masks
 * are pointwise statements between them.
 */
#include <math.h>

#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/softmax.h"

enum { IN_Q, IN_K, IN_V, IN_MASK, IN_PAST_K, IN_PAST_V, IN_LENGTHS };
enum { OUT_Y, OUT_K, OUT_V, OUT_SCORES };
/* What qk_matmul_output is. */
enum { MODE_PRODUCT, MODE_CAPPED, MODE_MASKED, MODE_SOFTMAX };

struct attention {
	bool flat;			/* operands of rank 3 */
	const struct expr *batch, *heads, *kv_heads;
	const struct expr *q_len, *kv_len, *past, *total;
	const struct expr *size, *v_size;	/* of a head */
};

/* Heads and head size of an operand; `attr` counts the heads when flat. */
static bool split_heads(struct infer *in, unsigned k, enum attr_name attr,
			const struct expr **heads, const struct expr **len,
			const struct expr **size)
{
	struct ctx *c = in->ctx;
	const struct type *t = infer_type(in, k);
	int64_t n, width;

	if (t->rank == 4) {
		*heads = t->dim[1];
		*len = t->dim[2];
		*size = t->dim[3];
		return true;
	}
	n = op_int(in->op, attr);
	if (n < 1 || n > INT32_MAX)
		return infer_error(in, "attribute '%s' is %lld for an operand "
				   "of rank 3", attr_names[attr], (long long)n);
	*heads = expr_const(c, n);
	*len = t->dim[1];
	*size = expr_div(c, t->dim[2], *heads);
	if (expr_is_const(t->dim[2], &width) && width % n)
		return infer_error(in, "%lld elements do not make %lld heads",
				   (long long)width, (long long)n);
	infer_require_eq(in, expr_mod(c, t->dim[2], *heads), expr_const(c, 0));
	return true;
}

static bool check_past(struct infer *in, struct attention *a, unsigned k,
		       const struct expr *size)
{
	const struct expr *dim[] = { a->batch, a->kv_heads, a->past, size };

	return infer_dims(in, k, 4, dim);
}

/* The mask broadcasts to [batch, heads, q_len, total]; its last dim may be
 * shorter. */
static bool check_mask(struct infer *in, const struct attention *a)
{
	const struct type *t = infer_type(in, IN_MASK), *outer;
	const struct expr *want[] = { a->batch, a->heads, a->q_len };

	if (!t)
		return true;
	if (!t->rank || t->rank > 4)
		return infer_error(in, "'attn_mask' has rank %u", t->rank);
	outer = type_tensor(in->ctx, t->dtype, t->rank - 1, t->dim);
	if (!infer_broadcast_into(in, 3, want, outer))
		return false;
	return infer_require_ge0(
		in, expr_sub(in->ctx, a->total, t->dim[t->rank - 1]),
		"'attn_mask' is longer than past and present keys");
}

static bool check_groups(struct infer *in, const struct attention *a)
{
	struct ctx *c = in->ctx;
	int64_t q, kv;

	if (expr_is_const(a->heads, &q) && expr_is_const(a->kv_heads, &kv) &&
	    (!kv || q % kv))
		return infer_error(in, "%lld query heads for %lld key heads",
				   (long long)q, (long long)kv);
	infer_require_eq(in, expr_mod(c, a->heads, a->kv_heads),
			 expr_const(c, 0));
	/* That says nothing about no heads of keys, which serve none only. */
	return infer_require_ge0(
		in, expr_sub(c, expr_mul(c, a->heads, a->kv_heads), a->heads),
		"there are query heads, but no heads of keys");
}

static bool read_attention(struct infer *in, struct attention *a)
{
	struct ctx *c = in->ctx;
	const struct type *q = infer_type(in, IN_Q), *k = infer_type(in, IN_K);
	const struct type *v = infer_type(in, IN_V);
	const struct expr *heads, *len, *size;

	if ((q->rank != 3 && q->rank != 4) || k->rank != q->rank ||
	    v->rank != q->rank)
		return infer_error(in, "Q, K and V must all have rank 3 or all "
				   "rank 4");
	*a = (struct attention){ .flat = q->rank == 3, .batch = q->dim[0] };
	if (!split_heads(in, IN_Q, A_q_num_heads, &a->heads, &a->q_len,
			 &a->size) ||
	    !split_heads(in, IN_K, A_kv_num_heads, &a->kv_heads, &a->kv_len,
			 &size) ||
	    !infer_dims_agree(in, size, a->size, "head size of K") ||
	    !split_heads(in, IN_V, A_kv_num_heads, &heads, &len, &a->v_size) ||
	    !infer_dims_agree(in, heads, a->kv_heads, "heads of V") ||
	    !infer_dims_agree(in, len, a->kv_len, "length of V") ||
	    !infer_dims_agree(in, k->dim[0], a->batch, "batch of K") ||
	    !infer_dims_agree(in, v->dim[0], a->batch, "batch of V") ||
	    !check_groups(in, a))
		return false;
	a->past = expr_const(c, 0);
	if (infer_has(in, IN_PAST_K) != infer_has(in, IN_PAST_V))
		return infer_error(in, "needs both or none of past_key and "
				   "past_value");
	if (infer_has(in, IN_PAST_K)) {
		if (infer_type(in, IN_PAST_K)->rank == 4)
			a->past = infer_type(in, IN_PAST_K)->dim[2];
		if (!check_past(in, a, IN_PAST_K, a->size) ||
		    !check_past(in, a, IN_PAST_V, a->v_size))
			return false;
	}
	a->total = expr_add(c, a->past, a->kv_len);
	return true;
}

static bool attention_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *q = infer_type(in, IN_Q);
	int64_t mode = op_int(in->op, A_qk_matmul_output_mode);
	struct attention a;

	if (!read_attention(in, &a) || !check_mask(in, &a))
		return false;
	if (mode < MODE_PRODUCT || mode > MODE_SOFTMAX)
		return infer_error(in, "qk_matmul_output_mode is %lld",
				   (long long)mode);
	if (!infer_dims(in, IN_LENGTHS, 1, &a.batch))
		return false;
	const struct expr *y[] = { a.batch, a.heads, a.q_len, a.v_size };
	const struct expr *k[] = { a.batch, a.kv_heads, a.total, a.size };
	const struct expr *v[] = { a.batch, a.kv_heads, a.total, a.v_size };
	const struct expr *s[] = { a.batch, a.heads, a.q_len, a.total };

	if (a.flat) {
		y[1] = a.q_len;
		y[2] = expr_mul(c, a.heads, a.v_size);
	}
	infer_set(in, OUT_Y, q->dtype, a.flat ? 3 : 4, y);
	infer_set(in, OUT_K, q->dtype, 4, k);
	infer_set(in, OUT_V, infer_type(in, IN_V)->dtype, 4, v);
	infer_set(in, OUT_SCORES, q->dtype, 4, s);
	return true;
}

/* ---- meaning -------------------------------------------------------- */

/* Something indexed by batch, head, position, element, maybe flat. */
struct source {
	struct value *val;
	bool flat;
	const struct expr *size;
};

static struct value *source_load(struct lower *lo, enum dtype acc,
				 const struct source *s,
				 const struct expr *batch,
				 const struct expr *head,
				 const struct expr *pos,
				 const struct expr *elem)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *at[4] = { batch, head, pos, elem };

	if (s->flat) {
		at[1] = pos;
		at[2] = expr_add(c, expr_mul(c, head, s->size), elem);
	}
	return load_as(lo, acc, s->val, at);
}

/* past and x along the positions, as [batch, heads, total, size]. */
static struct value *present(struct lower *lo, const struct attention *a,
			     struct value *past, const struct source *x)
{
	struct ctx *c = lo->b.ctx;
	enum dtype t = x->val->type->dtype;
	const struct expr *dim[] = { a->batch, a->kv_heads, a->total, x->size };
	const struct type *type = type_tensor(c, t, 4, dim);
	struct nest n = nest_begin(lo, 1, &type);
	const struct expr *at[4] = { n.iv[0], n.iv[1], NULL, n.iv[3] }, *guard;
	struct value *v, *res;

	at[2] = expr_sub(c, n.iv[2], a->past);
	guard = at[2];
	if (x->flat) {
		at[1] = at[2];
		at[2] = expr_add(c, expr_mul(c, n.iv[1], x->size), n.iv[3]);
	}
	v = nest_load_guarded(lo, x->val, at, 1, &guard, s_const(lo, t, 0));
	if (past) {
		guard = expr_addc(c, expr_sub(c, a->past, n.iv[2]), -1);
		v = nest_load_guarded(lo, past, n.iv, 1, &guard, v);
	}
	nest_end(lo, &n, 1, &v, &res);
	return res;
}

static bool wanted(const struct lower *lo, unsigned k)
{
	return k < lo->op->n_out && lo->op->out[k].uses;
}

/* Keys or values with the past ones; makes result `out` where wanted. */
static struct source with_past(struct lower *lo, const struct attention *a,
			       unsigned operand, const struct expr *size,
			       unsigned out)
{
	struct value *past = lower_in(lo, operand == IN_K ? IN_PAST_K
							  : IN_PAST_V);
	struct source s = { lower_in(lo, operand), a->flat, size };

	if (past || (wanted(lo, out) && a->flat)) {
		s.val = present(lo, a, past, &s);
		s.flat = false;
	}
	if (wanted(lo, out))
		lo->result[out] = s.val;
	return s;
}

/* The query head h uses the keys and values of this head. */
static const struct expr *shared_head(struct ctx *c, const struct attention *a,
				      const struct expr *h)
{
	return expr_div(c, h, expr_div(c, a->heads, a->kv_heads));
}

static struct value *scale_factor(struct lower *lo, const struct attention *a,
				  enum dtype acc)
{
	if (op_has(lo->op, A_scale))
		return s_const(lo, acc, op_float(lo->op, A_scale));
	return s_div(lo, s_const(lo, acc, 1),
		     s_op(lo, OP_arith_sqrt, s_expr(lo, acc, a->size)));
}

/* scale * Q * K', [batch, heads, q_len, total]. */
static struct value *product(struct lower *lo, const struct attention *a,
			     const struct source *k, enum dtype acc)
{
	struct ctx *c = lo->b.ctx;
	struct source q = { lower_in(lo, IN_Q), a->flat, a->size };
	const struct expr *dim[] = { a->batch, a->heads, a->q_len, a->total };
	const struct type *t = type_tensor(c, acc, 4, dim);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = s_const(lo, acc, 0), *w, *res;
	struct fold f = fold_begin(lo, 1, &a->size, 1, &v);

	v = source_load(lo, acc, &q, n.iv[0], n.iv[1], n.iv[2], f.iv[0]);
	w = source_load(lo, acc, k, n.iv[0], shared_head(c, a, n.iv[1]),
			n.iv[3], f.iv[0]);
	v = s_add(lo, f.acc[0], s_mul(lo, v, w));
	fold_end(lo, &f, &v, &v);
	v = s_mul(lo, v, scale_factor(lo, a, acc));
	nest_end(lo, &n, 1, &v, &res);
	return res;
}

static struct value *soft_cap(struct lower *lo, struct value *x)
{
	enum dtype t = x->type->dtype;
	double cap = op_float(lo->op, A_softcap);

	if (!(cap > 0))
		return x;
	struct nest n = nest_begin(lo, 1, &x->type);
	struct value *v = nest_load(lo, x, n.iv), *k = s_const(lo, t, cap);

	v = s_mul(lo, s_op(lo, OP_math_tanh, s_div(lo, v, k)), k);
	nest_end(lo, &n, 1, &v, &x);
	return x;
}

/* v where e >= 0, else -inf. */
static struct value *where_nonneg(struct lower *lo, struct value *v,
				  struct value *e)
{
	e = s_op2(lo, OP_arith_ge, e, s_int(lo, DT_I64, 0));
	return s_select(lo, e, v, s_lowest(lo, v->type->dtype));
}

/* v under attn_mask: added, or -inf where a bool one is false. */
static struct value *under_mask(struct lower *lo, struct value *v,
				const struct expr *const *iv)
{
	struct ctx *c = lo->b.ctx;
	struct value *mask = lower_in(lo, IN_MASK), *m;
	enum dtype acc = v->type->dtype, t = mask->type->dtype;
	unsigned rank = mask->type->rank;
	const struct expr *at[4], *guard;

	for (unsigned i = 0; i < rank; i++)
		at[i] = i + 1 < rank ? broadcast_index(c, mask->type->dim[i],
						       iv[4 - rank + i])
				     : iv[3];
	guard = expr_addc(c, expr_sub(c, mask->type->dim[rank - 1],
				      at[rank - 1]), -1);
	m = dtype_is_float(t) ? s_lowest(lo, t) : s_int(lo, t, 0);
	m = nest_load_guarded(lo, mask, at, 1, &guard, m);
	if (t == DT_BOOL)
		return s_select(lo, m, v, s_lowest(lo, acc));
	v = s_add(lo, v, s_cast(lo, acc, m));
	/* Integers have no infinity to end a short mask with. */
	return dtype_is_float(t) ? v
				 : where_nonneg(lo, v, nest_value(lo, guard));
}

static struct value *masked(struct lower *lo, const struct attention *a,
			    struct value *x)
{
	struct ctx *c = lo->b.ctx;
	struct value *lengths = lower_in(lo, IN_LENGTHS), *v, *e;
	bool causal = op_int(lo->op, A_is_causal);

	if (!lower_in(lo, IN_MASK) && !lengths && !causal)
		return x;
	struct nest n = nest_begin(lo, 1, &x->type);

	v = nest_load(lo, x, n.iv);
	if (lower_in(lo, IN_MASK))
		v = under_mask(lo, v, n.iv);
	if (causal) {
		e = nest_value(lo, expr_sub(c, expr_add(c, n.iv[2], a->past),
					    n.iv[3]));
		v = where_nonneg(lo, v, e);
	}
	if (lengths) {
		e = nest_load(lo, lengths, n.iv);
		e = s_sub(lo, e, nest_value(lo, expr_addc(c, n.iv[3], 1)));
		v = where_nonneg(lo, v, e);
	}
	nest_end(lo, &n, 1, &v, &x);
	return x;
}

/* x in the type of result k, and of its shape. */
static void set_result(struct lower *lo, unsigned k, struct value *x)
{
	const struct type *t = lower_type(lo, k);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = load_as(lo, t->dtype, x, n.iv);

	nest_end(lo, &n, 1, &v, &lo->result[k]);
}

/* weights * V; with flat operands the heads follow the positions, so that
 * the result is [batch, q_len, heads, v_size] before they are joined. */
static struct value *weigh(struct lower *lo, const struct attention *a,
			   struct value *weights, const struct source *x,
			   enum dtype t)
{
	struct ctx *c = lo->b.ctx;
	enum dtype acc = weights->type->dtype;
	unsigned head = a->flat ? 2 : 1, pos = a->flat ? 1 : 2;
	const struct expr *dim[4] = { a->batch, NULL, NULL, a->v_size };

	dim[head] = a->heads;
	dim[pos] = a->q_len;
	const struct type *type = type_tensor(c, t, 4, dim);
	struct nest n = nest_begin(lo, 1, &type);
	struct value *v = s_const(lo, acc, 0), *w, *res;
	struct fold f = fold_begin(lo, 1, &a->total, 1, &v);
	const struct expr *at[] = { n.iv[0], n.iv[head], n.iv[pos], f.iv[0] };

	v = nest_load(lo, weights, at);
	w = source_load(lo, acc, x, n.iv[0], shared_head(c, a, n.iv[head]),
			f.iv[0], n.iv[3]);
	v = s_add(lo, f.acc[0], s_mul(lo, v, w));
	fold_end(lo, &f, &v, &v);
	v = s_cast(lo, t, v);
	nest_end(lo, &n, 1, &v, &res);
	return res;
}

/* [batch, q_len, heads, v_size] as [batch, q_len, heads * v_size]. */
static struct value *join_heads(struct lower *lo, const struct attention *a,
				struct value *x)
{
	struct ctx *c = lo->b.ctx;
	const struct type *t = lower_type(lo, OUT_Y);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *at[] = { n.iv[0], n.iv[1],
				    expr_div(c, n.iv[2], a->v_size),
				    expr_mod(c, n.iv[2], a->v_size) };
	struct value *v = nest_load(lo, x, at);

	nest_end(lo, &n, 1, &v, &x);
	return x;
}

static bool attention_lower(struct lower *lo)
{
	static const bool last[] = { false, false, false, true };
	const struct type *types[MAX_OUTS] = { NULL };
	struct infer in = { lo->b.ctx, lo->op, types };
	const struct type *out = lower_type(lo, OUT_Y);
	enum dtype acc = acc_dtype(out->dtype);
	int64_t mode = op_int(lo->op, A_qk_matmul_output_mode);
	struct value *stage[4], *y;
	struct attention a;

	if (!read_attention(&in, &a))
		return false;
	if (op_int(lo->op, A_softmax_precision) == dtype_info[DT_F64].onnx)
		acc = DT_F64;
	struct source k = with_past(lo, &a, IN_K, a.size, OUT_K);
	struct source v = with_past(lo, &a, IN_V, a.v_size, OUT_V);

	stage[MODE_PRODUCT] = product(lo, &a, &k, acc);
	stage[MODE_CAPPED] = soft_cap(lo, stage[MODE_PRODUCT]);
	stage[MODE_MASKED] = masked(lo, &a, stage[MODE_CAPPED]);
	stage[MODE_SOFTMAX] = softmax_rows(lo, stage[MODE_MASKED], last, acc,
					   false);
	if (wanted(lo, OUT_SCORES))
		set_result(lo, OUT_SCORES, stage[mode]);
	y = weigh(lo, &a, stage[MODE_SOFTMAX], &v, out->dtype);
	lo->result[OUT_Y] = a.flat ? join_heads(lo, &a, y) : y;
	return true;
}

OP(Attention, .domain = "", .since = 24, .first = 23,
	.in = { { "Q", T_FLOAT }, { "K", T_FLOAT | P_SAME }, { "V", T_FLOAT },
		{ "attn_mask", T_BASIC | P_OPTIONAL },
		{ "past_key", T_FLOAT | P_SAME | P_OPTIONAL },
		{ "past_value", T_FLOAT | P_OPTIONAL },
		{ "nonpad_kv_seqlen", T(I64) | P_OPTIONAL } },
	.out = { { "Y", T_FLOAT }, { "present_key", T_FLOAT | P_OPTIONAL },
		 { "present_value", T_FLOAT | P_OPTIONAL },
		 { "qk_matmul_output", T_FLOAT | P_OPTIONAL } },
	.attr = {
		ATTR(is_causal, AT_INT),
		ATTR(kv_num_heads, AT_INT),
		ATTR(q_num_heads, AT_INT),
		ATTR(qk_matmul_output_mode, AT_INT),
		ATTR(scale, AT_FLOAT),
		ATTR(softcap, AT_FLOAT),
		ATTR(softmax_precision, AT_INT),
	},
	.infer = attention_infer,
	.lower = attention_lower);
