/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Normalizations with sums before them: SkipLayerNormalization and
 * SkipSimplifiedLayerNormalization of two tensors, EmbedLayerNormalization
 * and QEmbedLayerNormalization of the rows of tables that words, positions
 * and segments choose.
 */
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/requantize.h"

/* The last dim of x normalized, as results 0 to n_out - 1; beta may be NULL. */
static bool normalize(struct lower *lo, enum opcode code, struct value *x,
		      struct value *gamma, struct value *beta, unsigned n_out)
{
	struct named_attr attr[] = {
		{ A_axis, attr_int(lo->b.ctx, -1) },
		{ A_epsilon, attr_float(lo->b.ctx,
					op_float(lo->op, A_epsilon)) },
	};

	struct op *op = build(&lo->b, &(struct op_spec){
		.code = code, .n_in = beta ? 3 : 2,
		.in = (struct value *[]){ x, gamma, beta }, .n_out = n_out,
		.n_attr = ARRAY_SIZE(attr), .attr = attr });

	for (unsigned i = 0; op && i < n_out; i++)
		lo->result[i] = &op->out[i];
	return op;
}

/* ---- with a skip connection ----------------------------------------- */

enum { SKIP_X, SKIP_Y, SKIP_GAMMA };
enum { SKIP_OUT, SKIP_MEAN, SKIP_INV, SKIP_SUM };

static bool skip_infer(struct infer *in)
{
	const struct type *x = infer_type(in, SKIP_X);

	if (!x->rank)
		return infer_error(in, "'input' is a scalar");
	if (!infer_broadcast_into(in, x->rank, x->dim,
				  infer_type(in, SKIP_Y)))
		return false;
	for (unsigned i = SKIP_GAMMA; i < in->op->n_in; i++)
		if (infer_has(in, i) &&
		    !infer_broadcast_into(in, 1, &x->dim[x->rank - 1],
					  infer_type(in, i)))
			return false;
	const struct expr *dim[MAX_RANK];

	for (unsigned i = 0; i < x->rank; i++)
		dim[i] = i + 1 < x->rank ? x->dim[i] : expr_const(in->ctx, 1);
	/* The other one has no such statistics. */
	if (in->op->code == OP_SkipLayerNormalization) {
		infer_set(in, SKIP_MEAN, DT_F32, x->rank, dim);
		infer_set(in, SKIP_INV, DT_F32, x->rank, dim);
	}
	infer_set(in, SKIP_OUT, x->dtype, x->rank, x->dim);
	infer_set(in, SKIP_SUM, x->dtype, x->rank, x->dim);
	return true;
}

static bool skip(struct lower *lo, enum opcode code, struct value *beta,
		 struct value *bias)
{
	struct value *x = g_op(lo, OP_Add,
			       VALUES(lower_in(lo, SKIP_X),
				      lower_in(lo, SKIP_Y)), 0, NULL);
	unsigned n = lo->op->n_out;

	if (bias)
		x = g_op(lo, OP_Add, VALUES(x, bias), 0, NULL);
	if (lo->op->n_out > SKIP_SUM)
		lo->result[SKIP_SUM] = x;
	if (n > SKIP_SUM)
		n = SKIP_SUM;
	return normalize(lo, code, x, lower_in(lo, SKIP_GAMMA), beta,
			 code == OP_LayerNormalization ? n : 1);
}

static bool skip_layer(struct lower *lo)
{
	return skip(lo, OP_LayerNormalization, lower_in(lo, 3),
		    lower_in(lo, 4));
}

static bool skip_simplified(struct lower *lo)
{
	return skip(lo, OP_RMSNormalization, NULL, lower_in(lo, 3));
}

/* ---- of embeddings -------------------------------------------------- */

/* Ports of the two; a scale and a zero point belong to each of the five
 * tables and vectors from `word` on, MAX_PORTS where they are floats. */
struct ports {
	unsigned ids, segments, word, position, segment, gamma, beta, mask,
		positions, scale, zero;
};

static const struct ports floats = { 0, 1, 2, 3, 4, 5, 6, 7, 8, MAX_PORTS,
				     MAX_PORTS };
static const struct ports integers = { 0, 1, 2, 3, 4, 5, 6, 7, MAX_PORTS, 8,
				       13 };
enum { OUT_Y, OUT_LENGTHS, OUT_SUM };

static const struct ports *ports_of(const struct op *op)
{
	return op->code == OP_QEmbedLayerNormalization ? &integers : &floats;
}

/* Ids are those of each position of each sequence; only those of positions
 * may be the same for all. */
static bool operands_infer(struct infer *in, const struct ports *at,
			   const struct expr *width)
{
	const struct type *positions = infer_type(in, at->positions);
	const struct type *ids = infer_type(in, at->ids);
	const struct expr *any[2] = { NULL }, *row[] = { NULL, width };

	if (!infer_dims(in, at->ids, 2, any))
		return false;
	bool is_shared = positions && positions->rank &&
			 expr_is(positions->dim[0], 1);
	const struct expr *shared[] = { is_shared ? NULL : ids->dim[0],
					ids->dim[1] };

	return infer_dims(in, at->segments, 2, ids->dim) &&
	       infer_dims(in, at->mask, 2, ids->dim) &&
	       infer_dims(in, at->positions, 2, shared) &&
	       infer_dims(in, at->position, 2, row) &&
	       infer_dims(in, at->segment, 2, row) &&
	       infer_dims(in, at->gamma, 1, &width) &&
	       infer_dims(in, at->beta, 1, &width);
}

static bool embed_infer(struct infer *in)
{
	const struct ports *at = ports_of(in->op);
	const struct type *ids = infer_type(in, at->ids);
	const struct type *word = infer_type(in, at->word);
	bool stored = at == &integers;

	if (word->rank != 2)
		return infer_error(in, "'word_embedding' is %s",
				   type_str(in->ctx, word));
	const struct expr *width = word->dim[1];

	if (!operands_infer(in, at, width))
		return false;
	if (infer_has(in, at->segments) != infer_has(in, at->segment))
		return infer_error(in, "needs both or none of segment_ids and "
				   "segment_embedding");
	for (unsigned i = at->scale; i < in->op->n_in; i++)
		if (!infer_number(in, i))
			return false;
	if (!infer_has(in, at->positions) &&
	    !infer_require_ge0(in, expr_sub(in->ctx,
			infer_type(in, at->position)->dim[0], ids->dim[1]),
			"a sequence is longer than 'position_embedding'"))
		return false;
	const struct expr *dim[] = { ids->dim[0], ids->dim[1], width };
	enum dtype t = stored ? DT_F32 : word->dtype;

	infer_set(in, OUT_Y, t, 3, dim);
	infer_set(in, OUT_LENGTHS, DT_I32, 1, dim);
	infer_set(in, OUT_SUM, t, 3, dim);
	return true;
}

/* An element of table or vector i as an f32. */
static struct value *entry(struct lower *lo, unsigned i,
			   const struct expr *const *idx)
{
	const struct ports *at = ports_of(lo->op);
	struct value *v = nest_load(lo, lower_in(lo, i), idx);
	unsigned k = i - at->word;

	if (at == &floats)
		return s_cast(lo, DT_F32, v);
	return dequantize(lo, v, load_number(lo, DT_F32, at->scale + k),
			  load_number(lo, DT_I32, at->zero + k));
}

/* An element of the row of table i that the ids choose. */
static struct value *chosen(struct lower *lo, unsigned i, struct value *ids,
			    const struct expr *const *iv)
{
	const struct expr *idx[2] = { NULL, iv[2] };

	idx[0] = nest_index(lo, nest_load_broadcast(lo, ids, 2, iv),
			    lower_in(lo, i)->type->dim[0]);
	return entry(lo, i, idx);
}

static struct value *sum_of(struct lower *lo, enum dtype t)
{
	const struct ports *at = ports_of(lo->op);
	const struct type *out = lower_type(lo, OUT_Y);
	struct value *positions = lower_in(lo, at->positions), *v;
	struct nest n;

	out = type_tensor(lo->b.ctx, t, 3, out->dim);
	n = nest_begin(lo, 1, &out);
	v = chosen(lo, at->word, lower_in(lo, at->ids), n.iv);
	v = s_add(lo, v, positions ? chosen(lo, at->position, positions, n.iv)
				   : entry(lo, at->position, n.iv + 1));
	if (lower_in(lo, at->segments))
		v = s_add(lo, v, chosen(lo, at->segment,
					lower_in(lo, at->segments), n.iv));
	v = s_cast(lo, t, v);
	nest_end(lo, &n, 1, &v, &v);
	return v;
}

/* gamma or beta in the type of the sum. */
static struct value *vector(struct lower *lo, unsigned i, enum dtype t)
{
	struct value *x = lower_in(lo, i), *v;
	const struct type *type;

	if (x->type->dtype == t)
		return x;
	type = type_tensor(lo->b.ctx, t, 1, x->type->dim);
	struct nest n = nest_begin(lo, 1, &type);

	v = s_cast(lo, t, entry(lo, i, n.iv));
	nest_end(lo, &n, 1, &v, &v);
	return v;
}

/* How many ones each row of the mask has; 0 without a mask. */
static struct value *lengths(struct lower *lo)
{
	struct value *mask = lower_in(lo, ports_of(lo->op)->mask), *v;
	const struct type *out = lower_type(lo, OUT_LENGTHS);
	struct nest n = nest_begin(lo, 1, &out);

	v = s_int(lo, DT_I32, 0);
	if (mask) {
		struct fold f = fold_begin(lo, 1, &mask->type->dim[1], 1, &v);
		const struct expr *idx[] = { n.iv[0], f.iv[0] };

		v = s_op2(lo, OP_arith_eq, nest_load(lo, mask, idx),
			  s_int(lo, DT_I32, 1));
		v = s_add(lo, f.acc[0], s_cast(lo, DT_I32, v));
		fold_end(lo, &f, &v, &v);
	}
	nest_end(lo, &n, 1, &v, &v);
	return v;
}

static bool embed_decompose(struct lower *lo)
{
	const struct ports *at = ports_of(lo->op);
	enum dtype t = lower_type(lo, OUT_Y)->dtype;
	struct value *sum = sum_of(lo, t);

	if (lo->op->n_out > OUT_LENGTHS)
		lo->result[OUT_LENGTHS] = lengths(lo);
	if (lo->op->n_out > OUT_SUM)
		lo->result[OUT_SUM] = sum;
	return normalize(lo, OP_LayerNormalization, sum,
			 vector(lo, at->gamma, t), vector(lo, at->beta, t), 1);
}

#define EPSILON ATTR(epsilon, AT_FLOAT, .f = 1e-12)

/* The operands behind the common ones, which are optional. */
#define SKIP(meaning, ...) .domain = "com.microsoft", .since = 1, \
	.in = { { "input", T_REAL }, { "skip", T_REAL | P_SAME }, \
		{ "gamma", T_REAL | P_SAME }, __VA_ARGS__ }, \
	.out = { { "output", T_REAL }, { "mean", T(F32) | P_OPTIONAL }, \
		 { "inv_std_var", T(F32) | P_OPTIONAL }, \
		 { "input_skip_bias_sum", T_REAL | P_OPTIONAL } }, \
	.attr = { EPSILON }, \
	.infer = skip_infer, .decompose = meaning

OP(SkipLayerNormalization,
	SKIP(skip_layer, { "beta", T_REAL | P_SAME | P_OPTIONAL },
	     { "bias", T_REAL | P_SAME | P_OPTIONAL }));
OP(SkipSimplifiedLayerNormalization,
	SKIP(skip_simplified, { "bias", T_REAL | P_SAME | P_OPTIONAL }));
OP(EmbedLayerNormalization, .domain = "com.microsoft", .since = 1,
	.in = { { "input_ids", T(I32) },
		{ "segment_ids", T(I32) | P_OPTIONAL },
		{ "word_embedding", T_REAL }, { "position_embedding", T_REAL },
		{ "segment_embedding", T_REAL | P_OPTIONAL },
		{ "gamma", T_REAL }, { "beta", T_REAL },
		{ "mask", T(I32) | P_OPTIONAL },
		{ "position_ids", T(I32) | P_OPTIONAL } },
	.out = { { "output", T_REAL }, { "mask_index", T(I32) | P_OPTIONAL },
		 { "embedding_sum", T_REAL | P_OPTIONAL } },
	.attr = {
		EPSILON,
		ATTR(mask_index_type, AT_INT),
	},
	.infer = embed_infer,
	.decompose = embed_decompose);
OP(QEmbedLayerNormalization, .domain = "com.microsoft", .since = 1,
	.in = { { "input_ids", T(I32) },
		{ "segment_ids", T(I32) | P_OPTIONAL },
		{ "word_embedding_quant", T_Q8 },
		{ "position_embedding_quant", T_Q8 },
		{ "segment_embedding", T_Q8 | P_OPTIONAL },
		{ "gamma_quant", T_Q8 }, { "beta_quant", T_Q8 },
		{ "mask", T(I32) | P_OPTIONAL },
		{ "word_embedding_scale", T(F32) },
		{ "position_embedding_scale", T(F32) },
		{ "segment_embedding_scale", T(F32) | P_OPTIONAL },
		{ "gamma_scale", T(F32) }, { "beta_scale", T(F32) },
		{ "word_embedding_zero_point", T_Q8 },
		{ "position_embedding_zero_point", T_Q8 },
		{ "segment_embedding_zero_point", T_Q8 | P_OPTIONAL },
		{ "gamma_zero_point", T_Q8 }, { "beta_zero_point", T_Q8 } },
	.out = { { "layernorm_out", T(F32) }, { "mask_index_out", T(I32) } },
	.attr = {
		EPSILON,
	},
	.infer = embed_infer,
	.decompose = embed_decompose);
