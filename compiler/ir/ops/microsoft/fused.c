/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ONNX Runtime's optimizer makes of several operators, and writes to
 * files that it saves: each becomes those operators again.
 */
#include <string.h>

#include "ir/ops/onnx/activation.h"
#include "ir/ops/onnx/conv.h"
#include "ir/ops/onnx/matmul.h"

/* ---- FusedMatMul ---------------------------------------------------- */

/* Which dim of the operand becomes dim i: with `batch` its first dim moves in
 * front of the last, then with `swap` the last two change places. */
static int64_t source_dim(unsigned rank, unsigned i, bool swap, bool batch)
{
	if (rank < 2)
		return i;
	if (swap && i + 2 >= rank)
		i = 2 * rank - 3 - i;
	if (batch && i + 1 < rank)
		return i + 2 == rank ? 0 : i + 1;
	return i;
}

static const struct type *moved_type(struct ctx *c, const struct type *t,
				     bool swap, bool batch)
{
	const struct expr *dim[MAX_RANK];

	for (unsigned i = 0; i < t->rank; i++)
		dim[i] = t->dim[source_dim(t->rank, i, swap, batch)];
	return type_tensor(c, t->dtype, t->rank, dim);
}

static struct value *moved(struct lower *lo, struct value *x, bool swap,
			   bool batch)
{
	int64_t perm[MAX_RANK];

	if (!swap && !batch)
		return x;
	for (unsigned i = 0; i < x->type->rank; i++)
		perm[i] = source_dim(x->type->rank, i, swap, batch);
	return g_op(lo, OP_Transpose, VALUES(x),
		    ATTRS({ A_perm, attr_ints(lo->b.ctx, x->type->rank,
					      perm) }));
}

static bool matmul_infer(struct infer *in)
{
	struct op *op = in->op;
	const struct type *a = moved_type(in->ctx, infer_type(in, 0),
					  op_int(op, A_transA),
					  op_int(op, A_transBatchA));
	const struct type *b = moved_type(in->ctx, infer_type(in, 1),
					  op_int(op, A_transB),
					  op_int(op, A_transBatchB));
	const struct expr *dim[MAX_RANK];
	unsigned rank;

	if (!matmul_shape(in, a, b, &rank, dim))
		return false;
	infer_set(in, 0, a->dtype, rank, dim);
	return true;
}

static bool matmul_decompose(struct lower *lo)
{
	double alpha = op_float(lo->op, A_alpha);
	struct value *a = moved(lo, lower_in(lo, 0), op_int(lo->op, A_transA),
				op_int(lo->op, A_transBatchA));
	struct value *b = moved(lo, lower_in(lo, 1), op_int(lo->op, A_transB),
				op_int(lo->op, A_transBatchB));
	struct value *y = g_op(lo, OP_MatMul, VALUES(a, b), 0, NULL);

	if (y && alpha != 1)
		y = g_op(lo, OP_Mul,
			 VALUES(y, build_scalar_const(&lo->b, y->type->dtype,
						      alpha)), 0, NULL);
	lo->result[0] = y;
	return y;
}

/* ---- FusedConv ------------------------------------------------------ */

/* The numbers in activation_params. */
static const double *given_params(const struct op *op, size_t *n)
{
	const struct attr *a = op_attr(op, A_activation_params);

	*n = a ? a->n : 0;
	return a ? a->floats : NULL;
}

/* The activation and its parameters, or their defaults. */
static const struct activation_def *activation_of(const struct op *op,
						  double *param)
{
	const struct activation_def *def =
		activation_find(op_str(op, A_activation));
	size_t n;
	const double *given = given_params(op, &n);

	for (unsigned i = 0; def && i < def->n_param; i++)
		param[i] = i < n ? given[i] : def->param[i];
	return def;
}

static bool conv_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *z = infer_type(in, 3);
	const char *name = op_str(in->op, A_activation);
	const struct expr *dim[MAX_RANK];
	double param[2];
	size_t n;

	given_params(in->op, &n);
	if (!strcmp(name, "Clip") ? n != 2
				  : *name && !activation_of(in->op, param))
		return infer_unsupported(in, "activation '%.40s' with %zu "
					 "parameters is not supported", name,
					 n);
	if (!conv_shape(in, x, infer_type(in, 1), infer_type(in, 2), dim) ||
	    (z && !infer_broadcast_into(in, x->rank, dim, z)))
		return false;
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

static struct value *activate(struct lower *lo, struct value *v)
{
	const char *name = op_str(lo->op, A_activation);
	enum dtype t = v->type->dtype;
	double p[2] = { 0 };
	size_t n;
	const double *given = given_params(lo->op, &n);

	if (!*name)
		return v;
	if (strcmp(name, "Clip")) {
		const struct activation_def *def = activation_of(lo->op, p);

		return activation_apply(lo, def, v, p[0], p[1]);
	}
	v = s_op2(lo, OP_arith_max, v, s_const(lo, t, given[0]));
	return s_op2(lo, OP_arith_min, v, s_const(lo, t, given[1]));
}

/* Conv, then a statement of what follows it. */
static bool conv_decompose(struct lower *lo)
{
	struct op *op = lo->op;
	struct value *in[3] = { lower_in(lo, 0), lower_in(lo, 1),
				lower_in(lo, 2) };
	struct value *z = lower_in(lo, 3), *v;
	struct named_attr attr[MAX_ATTRS];
	unsigned k = 0;

	for (unsigned i = 0; i < op->n_attr; i++)
		if (op_attr_def(op_defs[OP_Conv], op->attr[i].name))
			attr[k++] = op->attr[i];
	v = g_op(lo, OP_Conv, in[2] ? 3 : 2, in, k, attr);
	if (!v)
		return false;
	struct value *y = v;
	struct nest n = nest_begin(lo, 1, &y->type);

	v = nest_load(lo, y, n.iv);
	if (z)
		v = s_add(lo, v, nest_load_broadcast(lo, z, n.rank, n.iv));
	v = activate(lo, v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

/* ---- Gelu with a bias ----------------------------------------------- */

static bool gelu_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *bias = infer_type(in, 1);

	if (bias && !infer_broadcast_into(in, x->rank, x->dim, bias))
		return false;
	return infer_same(in);
}

static bool gelu(struct lower *lo, const char *how)
{
	struct value *x = lower_in(lo, 0), *bias = lower_in(lo, 1);

	if (bias)
		x = g_op(lo, OP_Add, VALUES(x, bias), 0, NULL);
	lo->result[0] = g_op(lo, OP_Gelu, VALUES(x),
			     ATTRS({ A_approximate,
				     attr_str(lo->b.ctx, how) }));
	return lo->result[0];
}

static bool bias_gelu(struct lower *lo)
{
	return gelu(lo, "none");
}

static bool fast_gelu(struct lower *lo)
{
	return gelu(lo, "tanh");
}

/* x * sigmoid(alpha * x) */
static bool quick_gelu(struct lower *lo)
{
	struct named_attr alpha = { A_alpha, attr_float(lo->b.ctx,
				    op_float(lo->op, A_alpha)) };

	lo->result[0] = g_op(lo, OP_Swish, VALUES(lower_in(lo, 0)), 1, &alpha);
	return lo->result[0];
}

OP(FusedMatMul, .domain = "com.microsoft", .since = 1,
	.in = { { "A", T_FLOAT }, { "B", T_FLOAT | P_SAME } },
	.out = { { "Y", T_FLOAT } },
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 1),
		ATTR(transA, AT_INT),
		ATTR(transB, AT_INT),
		ATTR(transBatchA, AT_INT),
		ATTR(transBatchB, AT_INT),
	},
	.infer = matmul_infer,
	.decompose = matmul_decompose);
OP(FusedConv, .domain = "com.microsoft", .since = 1,
	.in = { { "X", T_FLOAT }, { "W", T_FLOAT | P_SAME },
		{ "B", T_FLOAT | P_SAME | P_OPTIONAL },
		{ "Z", T_FLOAT | P_SAME | P_OPTIONAL } },
	.out = { { "Y", T_FLOAT } },
	.attr = {
		ATTR(activation, AT_STR, .s = ""),
		ATTR(activation_params, AT_FLOATS),
		CONV_ATTRS,
	},
	.infer = conv_infer,
	.decompose = conv_decompose);
OP(BiasGelu, .domain = "com.microsoft", .since = 1,
	.in = { { "A", T_REAL }, { "B", T_REAL | P_SAME } },
	.out = { { "C", T_REAL } },
	.infer = gelu_infer,
	.decompose = bias_gelu);
OP(FastGelu, .domain = "com.microsoft", .since = 1,
	.in = { { "X", T_REAL }, { "bias", T_REAL | P_SAME | P_OPTIONAL } },
	.out = { { "Y", T_REAL } },
	.infer = gelu_infer,
	.decompose = fast_gelu);
OP(QuickGelu, .domain = "com.microsoft", .since = 1,
	.in = { { "X", T_FLOAT } },
	.out = { { "Y", T_FLOAT } },
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 1.702f),
	},
	.infer = infer_same,
	.decompose = quick_gelu);
