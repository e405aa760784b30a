/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs ONNX test cases through the reference evaluator: every input is made a
 * constant, every node is built from its record and folded by eval_op(), and
 * the outputs are compared with the stored ones.  This tests inference and
 * meaning of the op records, and the evaluator, without any pass.
 *
 *	make -f tests/onnx/eval.mk
 *	build/eval/eval_case [-v] FOLDER...
 *
 * A folder holds model.onnx and test_data_set_0.  Prints the cases that fail
 * and a line "N passed, M failed, K unsupported"; -v prints every case.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ir/eval.h"
#include "ir/op.h"
#include "onnx.pb-c.h"

enum verdict { PASS, FAIL, UNSUPPORTED };

struct name {
	const char *text;
	struct value *val;
};

struct run {
	struct ctx *ctx;
	struct builder b;
	Onnx__ModelProto *model;
	int64_t opset;
	struct name *name;
	size_t n_name, cap;
	const char *folder;
};

static enum verdict say(const char *what, const char *detail, enum verdict v)
{
	fprintf(stderr, "  %s%s%s\n", what, detail ? ": " : "",
		detail ? detail : "");
	return v;
}

/* ---- names ---------------------------------------------------------- */

static struct value *lookup(const struct run *r, const char *text)
{
	for (size_t i = r->n_name; i-- > 0;)
		if (!strcmp(r->name[i].text, text))
			return r->name[i].val;
	return NULL;
}

static void define(struct run *r, const char *text, struct value *v)
{
	if (r->n_name == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 64;
		r->name = xrealloc(r->name, r->cap, sizeof(*r->name));
	}
	r->name[r->n_name++] = (struct name){ text, v };
}

/* ---- tensors -------------------------------------------------------- */

static size_t typed_count(const Onnx__TensorProto *p, enum dtype t)
{
	switch (t) {
	case DT_F32: return p->n_float_data;
	case DT_F64: return p->n_double_data;
	case DT_I64: return p->n_int64_data;
	case DT_U32: case DT_U64: return p->n_uint64_data;
	case DT_F16: case DT_BF16: case DT_I8: case DT_I16: case DT_I32:
	case DT_U8: case DT_U16: case DT_BOOL: case DT_COUNT:
		break;
	}
	return p->n_int32_data;
}

/* Element k of a typed field, as its bytes; all machines we run on are
 * little endian, so the low bytes of an integer come first. */
static const void *typed_elem(const Onnx__TensorProto *p, enum dtype t,
			      size_t k)
{
	switch (t) {
	case DT_F32: return &p->float_data[k];
	case DT_F64: return &p->double_data[k];
	case DT_I64: return &p->int64_data[k];
	case DT_U32: case DT_U64: return &p->uint64_data[k];
	case DT_F16: case DT_BF16: case DT_I8: case DT_I16: case DT_I32:
	case DT_U8: case DT_U16: case DT_BOOL: case DT_COUNT:
		break;
	}
	return &p->int32_data[k];
}

static const struct attr *tensor_attr(struct ctx *c,
				      const Onnx__TensorProto *p)
{
	const struct expr *dim[MAX_RANK];
	enum dtype t;
	size_t n = 1;

	if (!dtype_from_onnx(p->data_type, &t) || p->n_dims > MAX_RANK ||
	    p->n_external_data)
		return NULL;
	for (size_t i = 0; i < p->n_dims; i++) {
		dim[i] = expr_const(c, p->dims[i]);
		if (__builtin_mul_overflow(n, (size_t)p->dims[i], &n) ||
		    n > (size_t)1 << 30)
			return NULL;
	}
	size_t es = dtype_size(t);
	char *data = arena_alloc(&c->perm, n * es + 8);

	if (p->has_raw_data && p->raw_data.len == n * es) {
		if (n) /* no bytes have no address */
			memcpy(data, p->raw_data.data, n * es);
	} else {
		if (typed_count(p, t) != n)
			return NULL;
		for (size_t k = 0; k < n; k++)
			memcpy(data + k * es, typed_elem(p, t, k), es);
	}
	return attr_tensor(c, type_tensor(c, t, (unsigned)p->n_dims, dim),
			   (struct blob){ data, n * es });
}

static struct value *constant(struct run *r, const struct attr *a)
{
	return a ? build_const(&r->b, a->tensor.type, a->tensor.blob) : NULL;
}

static unsigned char *read_file(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");

	if (!f)
		return NULL;
	unsigned char *p = NULL;
	size_t n = 0, cap = 0, got;

	do {
		cap = cap ? 2 * cap : 4096;
		p = xrealloc(p, cap, 1);
		got = fread(p + n, 1, cap - n, f);
		n += got;
	} while (got && n == cap);
	fclose(f);
	*size = n;
	return p;
}

static const struct attr *read_tensor(struct run *r, const char *kind,
				      size_t k)
{
	char path[4096];
	size_t size;

	snprintf(path, sizeof(path), "%s/test_data_set_0/%s_%zu.pb", r->folder,
		 kind, k);
	unsigned char *data = read_file(path, &size);
	Onnx__TensorProto *p =
		data ? onnx__tensor_proto__unpack(NULL, size, data) : NULL;

	free(data);
	if (!p)
		return NULL;
	const struct attr *a = tensor_attr(r->ctx, p);

	onnx__tensor_proto__free_unpacked(p, NULL);
	return a;
}

/* ---- nodes ---------------------------------------------------------- */

static const struct attr *convert_attr(struct ctx *c,
				       const Onnx__AttributeProto *p)
{
	struct attr *a = NEW(&c->perm, struct attr);
	double *d;
	const char **s;

	switch ((int)p->type) {
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
		return attr_int(c, p->i);
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
		return attr_float(c, (double)p->f);
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
		return attr_str(c, arena_str(&c->perm, (char *)p->s.data,
					     p->s.len));
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
		return attr_ints(c, p->n_ints, p->ints);
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
		return tensor_attr(c, p->t);
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
		a->kind = AT_FLOATS;
		a->n = p->n_floats;
		a->floats = d = NEW_ARRAY(&c->perm, a->n + 1, double);
		for (size_t i = 0; i < a->n; i++)
			d[i] = (double)p->floats[i];
		return a;
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
		a->kind = AT_STRS;
		a->n = p->n_strings;
		a->strs = s = NEW_ARRAY(&c->perm, a->n + 1, const char *);
		for (size_t i = 0; i < a->n; i++)
			s[i] = arena_str(&c->perm,
					 (char *)p->strings[i].data,
					 p->strings[i].len);
		return a;
	default:
		return NULL;
	}
}

/* Constant: value, or value_int(s) and value_float(s). */
static struct value *constant_node(struct run *r, const Onnx__NodeProto *node)
{
	struct ctx *c = r->ctx;
	const Onnx__AttributeProto *p =
		node->n_attribute ? node->attribute[0] : NULL;

	if (!p)
		return NULL;
	if (!strcmp(p->name, "value"))
		return constant(r, tensor_attr(c, p->t));
	if (!strcmp(p->name, "value_int"))
		return build_ints(&r->b, -1, &p->i);
	if (!strcmp(p->name, "value_ints"))
		return build_ints(&r->b, (int)p->n_ints, p->ints);
	if (!strcmp(p->name, "value_float"))
		return build_scalar_const(&r->b, DT_F32, (double)p->f);
	if (!strcmp(p->name, "value_floats")) {
		const struct expr *dim = expr_const(c, (int64_t)p->n_floats);
		size_t size = p->n_floats * sizeof(float);

		return build_const(&r->b, type_tensor(c, DT_F32, 1, &dim),
				   (struct blob){ arena_copy(&c->perm,
							     p->floats, size),
						  size });
	}
	return NULL;
}

static enum verdict evaluate(struct ctx *c, struct op *op,
			     struct tensor *out);

/* The data of a constant, or of what `older` built beside the node. */
static bool as_tensor(struct ctx *c, const struct value *v, struct tensor *t)
{
	struct blob data;

	*t = (struct tensor){ 0 };
	if (value_is_absent(v))
		return true;
	if (!value_const(v, &data)) {
		struct tensor out[MAX_OUTS] = { 0 };

		if (!v->def || v->def->n_out > MAX_OUTS ||
		    evaluate(c, v->def, out))
			return false;
		*t = out[v->index];
		return true;
	}
	t->dtype = v->type->dtype;
	t->rank = v->type->rank;
	for (unsigned i = 0; i < t->rank; i++)
		if (!expr_is_const(v->type->dim[i], &t->dim[i]))
			return false;
	t->data = (void *)data.data;
	return true;
}

static enum verdict evaluate(struct ctx *c, struct op *op, struct tensor *out)
{
	struct tensor *in = NEW_ARRAY(&c->perm, op->n_in + 1u, struct tensor);

	for (unsigned i = 0; i < op->n_in; i++)
		if (!as_tensor(c, op_in(op, i), &in[i]))
			return say("operand is not constant", NULL, FAIL);
	for (unsigned i = 0; i < op->n_out; i++)
		if (op->out[i].type->kind == TY_TENSOR &&
		    !type_is_static(op->out[i].type))
			return say("result is not static",
				   type_str(c, op->out[i].type), FAIL);
	switch (eval_op(c, op, in, out, &c->perm)) {
	case EVAL_OK: return PASS;
	case EVAL_UNKNOWN: return say("evaluator", "unknown", FAIL);
	case EVAL_INDEX: return say("evaluator", "index", FAIL);
	case EVAL_DIVZERO: break;
	}
	return say("evaluator", "division by zero", FAIL);
}

/* Folds op and replaces each result's name by a constant. */
static enum verdict fold(struct run *r, struct op *op,
			 const Onnx__NodeProto *node)
{
	struct ctx *c = r->ctx;
	struct tensor *out = NEW_ARRAY(&c->perm, op->n_out + 1u,
				       struct tensor);
	enum verdict bad = evaluate(c, op, out);

	if (bad)
		return bad;
	for (unsigned i = 0; i < op->n_out; i++) {
		const struct type *t = op->out[i].type;
		int64_t n;

		if (!*node->output[i] || t->kind != TY_TENSOR)
			continue;
		expr_is_const(type_elems(c, t), &n);
		define(r, node->output[i],
		       build_const(&r->b, t,
				   (struct blob){ out[i].data,
						  (size_t)n *
							  dtype_size(t->dtype)
				   }));
	}
	return PASS;
}

static enum verdict run_node(struct run *r, const Onnx__NodeProto *node)
{
	struct ctx *c = r->ctx;
	struct older o = { .b = r->b, .opset = r->opset };
	struct loc *loc = NEW(&c->perm, struct loc);
	const struct op_def *d;

	*loc = (struct loc){ .file = r->folder, .name = node->name,
			     .op = node->op_type, .node = -1 };
	r->b.loc = o.b.loc = o.loc = loc;
	if (!strcmp(node->op_type, "Constant")) {
		struct value *v = constant_node(r, node);

		if (!v)
			return say("constant of this form", NULL, UNSUPPORTED);
		define(r, node->output[0], v);
		return PASS;
	}
	d = op_find(node->domain ? node->domain : "", node->op_type, &o.code);
	if (!d)
		return say("no op", node->op_type, UNSUPPORTED);
	o.in = NEW_ARRAY(&c->perm, node->n_input + MAX_PORTS, struct value *);
	o.attr = NEW_ARRAY(&c->perm, node->n_attribute + MAX_ATTRS,
			   struct named_attr);
	for (size_t i = 0; i < node->n_input; i++) {
		o.in[i] = *node->input[i] ? lookup(r, node->input[i]) : NULL;
		if (*node->input[i] && !o.in[i])
			return say("undefined", node->input[i], FAIL);
		if (o.in[i])
			o.n_in = (unsigned)i + 1;
	}
	for (size_t i = 0; i < node->n_attribute; i++) {
		struct named_attr *a = &o.attr[o.n_attr++];

		a->val = convert_attr(c, node->attribute[i]);
		if (!a->val)
			return say("attribute of this kind",
				   node->attribute[i]->name, UNSUPPORTED);
		if (!attr_find(node->attribute[i]->name, &a->name) ||
		    !op_attr_def(d, a->name))
			return say("unknown attribute",
				   node->attribute[i]->name, FAIL);
	}
	for (size_t i = 0; i < node->n_output; i++)
		if (*node->output[i])
			o.n_out = (unsigned)i + 1;
	if (r->opset < d->since && d->older && !d->older(&o))
		return FAIL;
	struct op *op = build(&r->b, &(struct op_spec){
					     .code = o.code, .n_in = o.n_in,
					     .in = o.in, .n_out = o.n_out,
					     .n_attr = o.n_attr,
					     .attr = o.attr });

	if (!op)
		return c->diag.code == EXIT_UNSUPPORTED ? UNSUPPORTED : FAIL;
	return fold(r, op, node);
}

/* ---- comparison ----------------------------------------------------- */

static bool close_to(enum dtype t, union scalar got, union scalar want)
{
	if (!dtype_is_float(t))
		return got.u == want.u;
	if (isnan(want.d) || isnan(got.d))
		return isnan(want.d) && isnan(got.d);
	if (isinf(want.d) || isinf(got.d))
		return want.d == got.d;
	return fabs(got.d - want.d) <= 1e-7 + 1e-3 * fabs(want.d);
}

static enum verdict compare(struct run *r, const struct attr *want,
			    const struct value *v)
{
	const struct type *t = want->tensor.type;
	struct blob got;

	if (!v || !value_const(v, &got))
		return say("output is missing", NULL, FAIL);
	if (v->type != t) {
		fprintf(stderr, "  type is %s, not %s\n",
			type_str(r->ctx, v->type), type_str(r->ctx, t));
		return FAIL;
	}
	size_t es = dtype_size(t->dtype), n = got.size / es;

	for (size_t k = 0; k < n; k++) {
		union scalar a = scalar_load(t->dtype,
					     (char *)got.data + k * es);
		union scalar b = scalar_load(
			t->dtype, (char *)want->tensor.blob.data + k * es);

		if (close_to(t->dtype, a, b))
			continue;
		if (dtype_is_float(t->dtype))
			fprintf(stderr, "  element %zu is %.9g, not %.9g\n", k,
				a.d, b.d);
		else
			fprintf(stderr, "  element %zu is %lld, not %lld\n", k,
				(long long)a.i, (long long)b.i);
		return FAIL;
	}
	return PASS;
}

/* ---- cases ---------------------------------------------------------- */

static bool is_initializer(const Onnx__GraphProto *g, const char *name)
{
	for (size_t i = 0; i < g->n_initializer; i++)
		if (!strcmp(g->initializer[i]->name, name))
			return true;
	return false;
}

static bool is_tensor(const Onnx__ValueInfoProto *v)
{
	return v->type &&
	       v->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
}

static enum verdict run_graph(struct run *r)
{
	const Onnx__GraphProto *g = r->model->graph;

	for (size_t i = 0; i < g->n_initializer; i++) {
		struct value *v = constant(
			r, tensor_attr(r->ctx, g->initializer[i]));

		if (!v)
			return say("initializer", g->initializer[i]->name,
				   UNSUPPORTED);
		define(r, g->initializer[i]->name, v);
	}
	for (size_t i = 0, k = 0; i < g->n_input; i++) {
		if (is_initializer(g, g->input[i]->name))
			continue;
		if (!is_tensor(g->input[i]))
			return say("input is no tensor", NULL, UNSUPPORTED);
		struct value *v = constant(r, read_tensor(r, "input", k++));

		if (!v)
			return say("input", g->input[i]->name, UNSUPPORTED);
		define(r, g->input[i]->name, v);
	}
	for (size_t i = 0; i < g->n_node; i++) {
		enum verdict v = run_node(r, g->node[i]);

		if (v)
			return v;
	}
	for (size_t i = 0; i < g->n_output; i++) {
		const struct attr *want = is_tensor(g->output[i])
						  ? read_tensor(r, "output", i)
						  : NULL;

		if (!want)
			return say("output", g->output[i]->name, UNSUPPORTED);
		enum verdict v = compare(r, want,
					 lookup(r, g->output[i]->name));

		if (v)
			return v;
	}
	return PASS;
}

static enum verdict run_case(const char *folder)
{
	struct run r = { .folder = folder };
	char path[4096];
	size_t size;

	snprintf(path, sizeof(path), "%s/model.onnx", folder);
	unsigned char *data = read_file(path, &size);

	if (data)
		r.model = onnx__model_proto__unpack(NULL, size, data);
	free(data);
	if (!r.model || !r.model->graph)
		return say("cannot read", path, FAIL);
	for (size_t i = 0; i < r.model->n_opset_import; i++) {
		const Onnx__OperatorSetIdProto *o = r.model->opset_import[i];

		if (!o->domain || !*o->domain)
			r.opset = o->version;
	}
	r.ctx = ctx_new();
	r.ctx->fold_steps = INT64_C(1) << 40;
	r.b.ctx = r.ctx;
	r.b.block = op_body(module_new(r.ctx, "main")->func);
	enum verdict v = run_graph(&r);

	ctx_free(r.ctx);
	free(r.name);
	onnx__model_proto__free_unpacked(r.model, NULL);
	return v;
}

/* In a process of its own, so that a crash is one failure. */
static enum verdict run_isolated(const char *folder)
{
	int status;

	fflush(NULL);
	pid_t pid = fork();

	if (!pid)
		_exit((int)run_case(folder));
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) ||
	    WEXITSTATUS(status) > (int)UNSUPPORTED)
		return say("crashed", NULL, FAIL);
	return (enum verdict)WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	static const char *const text[] = { "pass", "FAIL", "unsupported" };
	unsigned count[3] = { 0 };
	bool verbose = argc > 1 && !strcmp(argv[1], "-v");

	for (int i = 1 + verbose; i < argc; i++) {
		enum verdict v = run_isolated(argv[i]);
		const char *slash = strrchr(argv[i], '/');

		count[v]++;
		if (verbose || v == FAIL)
			fprintf(stderr, "%s %s\n", text[v],
				slash ? slash + 1 : argv[i]);
	}
	printf("%u passed, %u failed, %u unsupported\n", count[PASS],
	       count[FAIL], count[UNSUPPORTED]);
	return count[FAIL] != 0;
}
