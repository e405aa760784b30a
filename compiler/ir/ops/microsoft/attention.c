/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention and QAttention of com.microsoft: queries, keys and values are
 * products of one input with one matrix, in floats or in 8 bits; then ONNX's
 * Attention, whose mask is made of lengths or of zeros and ones.
 */
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/requantize.h"

enum { IN_X, IN_W, IN_BIAS };
enum { OUT_Y, OUT_PRESENT };

/* Ports that the two have in other places; MAX_PORTS for none. */
struct ports {
	unsigned mask, past, added, past_length;
};

static const struct ports float_ports = { 3, 4, 5, 6 };
static const struct ports integer_ports = { 5, 8, MAX_PORTS, MAX_PORTS };

/* What is computed; the dims are those of ONNX's operator. */
struct form {
	const struct ports *at;
	int64_t heads;
	const struct expr *batch, *len, *past, *total;
	const struct expr *width[3];	/* of all queries, keys, values */
};

static const struct ports *ports_of(const struct op *op)
{
	return op->code == OP_QAttention ? &integer_ports : &float_ports;
}

/* The widths of the three parts of the product. */
static bool read_widths(struct infer *in, struct form *f,
			const struct expr *all)
{
	struct ctx *c = in->ctx;
	const int64_t *size = NULL;
	size_t n = 0;
	int64_t width;

	if (op_attr_def(op_def(in->op), A_qkv_hidden_sizes))
		size = op_ints(in->op, A_qkv_hidden_sizes, &n);
	if (n && n != 3)
		return infer_error(in, "qkv_hidden_sizes has %zu values", n);
	for (unsigned i = 0; i < 3; i++) {
		f->width[i] = n ? expr_const(c, size[i])
				: expr_div(c, all, expr_const(c, 3));
		if (!expr_is_const(f->width[i], &width))
			return infer_unsupported(in, "the weight has a "
						 "symbolic number of columns");
		if (width < 1 || width > INT32_MAX || width % f->heads)
			return infer_error(in, "%lld elements do not make "
					   "%lld heads", (long long)width,
					   (long long)f->heads);
	}
	if (f->width[0] != f->width[1])
		return infer_error(in, "queries and keys differ in size");
	return infer_dims_agree(
		in, expr_add(c, expr_scale(c, f->width[0], 2), f->width[2]),
		all, "the sum of the hidden sizes");
}

static bool read_form(struct infer *in, struct form *f)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, IN_X), *w = infer_type(in, IN_W);

	*f = (struct form){ .at = ports_of(in->op),
			    .heads = op_int(in->op, A_num_heads) };
	const struct type *past = infer_type(in, f->at->past);

	if (x->rank != 3 || w->rank != 2)
		return infer_error(in, "input is %s, weight is %s",
				   type_str(c, x), type_str(c, w));
	if (f->heads < 1 || f->heads > INT32_MAX)
		return infer_error(in, "num_heads is %lld",
				   (long long)f->heads);
	if (past && past->rank != 5)
		return infer_error(in, "'past' is %s, expected rank 5",
				   type_str(c, past));
	f->batch = x->dim[0];
	f->len = x->dim[1];
	f->past = past ? past->dim[3] : expr_const(c, 0);
	f->total = expr_add(c, f->past, f->len);
	return infer_dims_agree(in, w->dim[0], x->dim[2],
				"the inner dim of 'weights'") &&
	       read_widths(in, f, w->dim[1]);
}

static const struct expr *head_size(struct ctx *c, const struct form *f)
{
	return expr_div(c, f->width[2], expr_const(c, f->heads));
}

static bool past_infer(struct infer *in, const struct form *f)
{
	struct ctx *c = in->ctx;

	if (!infer_has(in, f->at->past))
		return true;
	if (f->width[2] != f->width[0])
		return infer_unsupported(in, "'past' is not supported where "
					 "keys and values differ in size");
	const struct expr *dim[] = { expr_const(c, 2), f->batch,
				     expr_const(c, f->heads), NULL,
				     head_size(c, f) };

	return infer_dims(in, f->at->past, 5, dim);
}

/*
 * The mask is [batch, total] or [batch, len, total] of zeros and ones; the
 * ends of each sequence; or those ends, then the beginnings.  [.., 1] is what
 * exporters write for none.
 */
static bool mask_infer(struct infer *in, const struct form *f)
{
	const struct type *t = infer_type(in, f->at->mask);
	struct ctx *c = in->ctx;
	const struct expr *two = expr_scale(c, f->batch, 2);

	if (!t)
		return true;
	if (t->rank == 1 && (t->dim[0] == f->batch || t->dim[0] == two))
		return true;
	if (t->rank == 1 || t->rank > 3 || !t->rank)
		return infer_unsupported(in, "a mask of type %s for a batch "
					 "of %s is not supported",
					 type_str(c, t), expr_str(c, f->batch));
	if (t->rank == 2 && expr_is(t->dim[1], 1))
		return true;
	return infer_dims_agree(in, t->dim[0], f->batch, "mask batch") &&
	       infer_dims_agree(in, t->dim[t->rank - 1], f->total,
				"mask length") &&
	       (t->rank == 2 ||
		infer_dims_agree(in, t->dim[1], f->len, "mask rows"));
}

/* What only other devices than the CPU do in ONNX Runtime. */
static bool refuse_others(struct infer *in, const struct form *f)
{
	static const enum attr_name absent[] = { A_do_rotary,
						 A_past_present_share_buffer };

	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++)
		if (op_int(in->op, absent[i]))
			return infer_unsupported(in, "attribute '%s' is not "
						 "supported",
						 attr_names[absent[i]]);
	return !infer_has(in, f->at->past_length) ||
	       infer_unsupported(in, "'past_sequence_length' is not "
				 "supported");
}

static bool attention_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	struct form f;

	if (!read_form(in, &f) || !past_infer(in, &f) ||
	    !mask_infer(in, &f) || !refuse_others(in, &f))
		return false;
	const struct type *bias = infer_type(in, IN_BIAS);
	const struct type *added = infer_type(in, f.at->added);
	const struct expr *scores[] = { f.batch, expr_const(c, f.heads), f.len,
					f.total };
	const struct expr *y[] = { f.batch, f.len, f.width[2] };
	const struct expr *present[] = { expr_const(c, 2), f.batch, scores[1],
					 f.total, head_size(c, &f) };

	if (bias && !infer_broadcast_into(in, 1, &infer_type(in, IN_W)->dim[1],
					  bias))
		return false;
	if (added && !infer_broadcast_into(in, 4, scores, added))
		return false;
	enum dtype t = in->op->code == OP_QAttention
			       ? DT_F32 : infer_type(in, IN_X)->dtype;

	infer_set(in, OUT_Y, t, 3, y);
	infer_set(in, OUT_PRESENT, t, 5, present);
	return true;
}

/* ---- meaning -------------------------------------------------------- */

static struct value *product(struct lower *lo)
{
	struct value *x = lower_in(lo, IN_X), *w = lower_in(lo, IN_W), *v;
	struct value *bias = lower_in(lo, IN_BIAS);

	if (lo->op->code == OP_QAttention)
		return g_op(lo, OP_MatMulIntegerToFloat,
			    VALUES(x, w, lower_in(lo, 3), lower_in(lo, 4),
				   lower_in(lo, 6), lower_in(lo, 7), bias),
			    0, NULL);
	v = g_op(lo, OP_MatMul, VALUES(x, w), 0, NULL);
	return bias ? g_op(lo, OP_Add, VALUES(v, bias), 0, NULL) : v;
}

/* Queries, keys or values: columns of the product. */
static struct value *part(struct lower *lo, struct value *all,
			  const struct form *f, unsigned i)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *dim[] = { f->batch, f->len, f->width[i] }, *at[3];
	const struct type *t = type_tensor(c, all->type->dtype, 3, dim);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v;

	at[0] = n.iv[0];
	at[1] = n.iv[1];
	at[2] = n.iv[2];
	for (unsigned k = 0; k < i; k++)
		at[2] = expr_add(c, at[2], f->width[k]);
	v = nest_load(lo, all, at);
	nest_end(lo, &n, 1, &v, &v);
	return v;
}

/* Past keys (0) or values (1). */
static struct value *past_part(struct lower *lo, const struct form *f,
			       int64_t i)
{
	struct ctx *c = lo->b.ctx;
	struct value *past = lower_in(lo, f->at->past), *v;
	const struct type *p;
	const struct expr *at[5] = { expr_const(c, i) };

	if (!past)
		return NULL;
	p = type_tensor(c, past->type->dtype, 4, past->type->dim + 1);
	struct nest n = nest_begin(lo, 1, &p);

	for (unsigned k = 0; k < 4; k++)
		at[k + 1] = n.iv[k];
	v = nest_load(lo, past, at);
	nest_end(lo, &n, 1, &v, &v);
	return v;
}

/* Is key position iv[3] in the mask, as a bool? */
static struct value *is_kept(struct lower *lo, const struct form *f,
			     struct value *mask, const struct expr *const *iv)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *at[3] = { iv[0], iv[2], iv[3] };
	unsigned rank = mask->type->rank;
	struct value *t, *v;

	if (rank > 1) {
		at[1] = at[rank == 2 ? 2 : 1];
		v = nest_load(lo, mask, at);
		return s_op2(lo, OP_arith_gt, v,
			     s_int(lo, v->type->dtype, 0));
	}
	t = nest_value(lo, iv[3]);
	v = s_op2(lo, OP_arith_lt, t,
		  load_as(lo, DT_I64, mask, at));
	if (mask->type->dim[0] == f->batch)
		return v;
	at[0] = expr_add(c, iv[0], f->batch);
	return s_op2(lo, OP_arith_and, v,
		     s_op2(lo, OP_arith_ge, t, load_as(lo, DT_I64, mask, at)));
}

/* What is added to the scores, as [batch, 1, len or 1, total]; or NULL. */
static struct value *mask_of(struct lower *lo, const struct form *f,
			     enum dtype t)
{
	struct ctx *c = lo->b.ctx;
	struct value *mask = lower_in(lo, f->at->mask), *v;
	const struct expr *one = expr_const(c, 1);

	if (!mask || (mask->type->rank == 2 && expr_is(mask->type->dim[1], 1) &&
		      !expr_is(f->total, 1)))
		return NULL;
	const struct expr *dim[] = { f->batch, one,
				     mask->type->rank == 3 ? f->len : one,
				     f->total };
	const struct type *type = type_tensor(c, t, 4, dim);
	struct nest n = nest_begin(lo, 1, &type);

	v = s_select(lo, is_kept(lo, f, mask, n.iv), s_const(lo, t, 0),
		     s_const(lo, t, op_float(lo->op, A_mask_filter_value)));
	nest_end(lo, &n, 1, &v, &v);
	return v;
}

/* Keys and values so far as one tensor. */
static struct value *join(struct lower *lo, struct value *k, struct value *v)
{
	struct ctx *c = lo->b.ctx;
	struct value *axis = build_ints(&lo->b, 1, (int64_t[]){ 0 });

	k = g_op(lo, OP_Unsqueeze, VALUES(k, axis), 0, NULL);
	v = g_op(lo, OP_Unsqueeze, VALUES(v, axis), 0, NULL);
	return g_op(lo, OP_Concat, VALUES(k, v),
		    ATTRS({ A_axis, attr_int(c, 0) }));
}

static bool attention_decompose(struct lower *lo)
{
	const struct type *types[MAX_OUTS] = { NULL };
	struct infer in = { lo->b.ctx, lo->op, types };
	struct ctx *c = lo->b.ctx;
	bool present = lo->op->n_out > OUT_PRESENT;
	struct value *all = product(lo), *v[6], *added;
	struct form f;
	unsigned n = 3;

	if (!all || !read_form(&in, &f))
		return false;
	struct named_attr attr[4] = {
		{ A_q_num_heads, attr_int(c, f.heads) },
		{ A_kv_num_heads, attr_int(c, f.heads) },
		{ A_is_causal, attr_int(c, op_int(lo->op, A_unidirectional)) },
		{ A_scale, attr_float(c, op_float(lo->op, A_scale)) },
	};

	for (unsigned i = 0; i < 3; i++)
		v[i] = part(lo, all, &f, i);
	v[3] = mask_of(lo, &f, all->type->dtype);
	added = lower_in(lo, f.at->added);
	if (added)
		v[3] = v[3] ? g_op(lo, OP_Add, VALUES(v[3], added), 0, NULL)
			    : added;
	v[4] = past_part(lo, &f, 0);
	v[5] = past_part(lo, &f, 1);
	n = v[4] ? 6 : 4;
	/* 0 stands for 1 / sqrt(head size), the other's default. */
	struct op *op = build(&lo->b, &(struct op_spec){
		.code = OP_Attention, .n_in = n, .in = v,
		.n_out = present ? 3 : 1, .attr = attr,
		.n_attr = op_float(lo->op, A_scale) != 0 ? 4 : 3 });

	if (!op)
		return false;
	lo->result[OUT_Y] = &op->out[0];
	if (present)
		lo->result[OUT_PRESENT] = join(lo, &op->out[1], &op->out[2]);
	return true;
}

#define ATTENTION_ATTRS \
	ATTR(do_rotary, AT_INT), \
	ATTR(mask_filter_value, AT_FLOAT, .f = -10000), \
	ATTR(num_heads, AT_INT, .required = true), \
	ATTR(past_present_share_buffer, AT_INT), \
	ATTR(rotary_embedding_dim, AT_INT), \
	ATTR(scale, AT_FLOAT), \
	ATTR(unidirectional, AT_INT)

OP(MicrosoftAttention, .domain = "com.microsoft", .type = "Attention",
	.since = 1,
	.in = { { "input", T_REAL }, { "weights", T_REAL | P_SAME },
		{ "bias", T_REAL | P_SAME | P_OPTIONAL },
		{ "mask_index", T(I32) | P_OPTIONAL },
		{ "past", T_REAL | P_SAME | P_OPTIONAL },
		{ "attention_bias", T_REAL | P_SAME | P_OPTIONAL },
		{ "past_sequence_length", T(I32) | P_OPTIONAL } },
	.out = { { "output", T_REAL }, { "present", T_REAL | P_OPTIONAL } },
	.attr = {
		ATTENTION_ATTRS,
		ATTR(qkv_hidden_sizes, AT_INTS),
	},
	.infer = attention_infer,
	.decompose = attention_decompose);
OP(QAttention, .domain = "com.microsoft", .since = 1,
	.in = { { "input", T_Q8 }, { "weight", T_Q8 }, { "bias", T(F32) },
		{ "input_scale", T(F32) }, { "weight_scale", T(F32) },
		{ "mask_index", T(I32) | P_OPTIONAL },
		{ "input_zero_point", T_Q8 | P_OPTIONAL },
		{ "weight_zero_point", T_Q8 | P_OPTIONAL },
		{ "past", T(F32) | P_OPTIONAL } },
	.out = { { "output", T(F32) }, { "present", T(F32) | P_OPTIONAL } },
	.attr = {
		ATTENTION_ATTRS,
	},
	.infer = attention_infer,
	.decompose = attention_decompose);
