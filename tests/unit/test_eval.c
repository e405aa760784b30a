/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference evaluator.  A case is a module without inputs that returns
 * what it computes and then, as constants, what that must be, bit for bit.
 */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "ir/eval.h"
#include "ir/op.h"

static struct ctx *c;
static struct arena arena;

static void setup(void)
{
	c = ctx_new();
}

static void teardown(void)
{
	arena_free(&arena);
	ctx_free(c);
}

TestSuite(eval, .init = setup, .fini = teardown);

static struct module *parse(const char *s)
{
	struct module *m = module_parse(c, s, strlen(s), "test.dl");

	cr_assert_not_null(m, "%s", s);
	return m;
}

static struct tensor constant(const struct value *v)
{
	struct tensor t = { .dtype = v->type->dtype, .rank = v->type->rank };
	struct blob b;

	cr_assert(value_const(v, &b));
	for (unsigned i = 0; i < t.rank; i++)
		cr_assert(expr_is_const(v->type->dim[i], &t.dim[i]));
	t.data = (void *)b.data;
	return t;
}

/* Evaluates the ops in order; gives the first failure. */
static enum eval_result run(struct module *m, struct map *vals)
{
	for (struct op *op = op_body(m->func)->first; op; op = op->next) {
		struct tensor in[8] = { 0 }, out[4] = { 0 }, *t;

		if (op->code == OP_core_const) {
			t = NEW(&arena, struct tensor);
			*t = constant(&op->out[0]);
			map_put(vals, op->out[0].id, t);
		}
		if (!op_def(op)->domain)
			continue;
		for (unsigned i = 0; i < op->n_in; i++)
			if (op_in(op, i))
				in[i] = *(struct tensor *)map_get(
					vals, op_in(op, i)->id);
		enum eval_result r = eval_op(c, op, in, out, &arena);

		if (r != EVAL_OK)
			return r;
		for (unsigned i = 0; i < op->n_out; i++)
			map_put(vals, op->out[i].id,
				arena_copy(&arena, &out[i], sizeof(*out)));
	}
	return EVAL_OK;
}

static size_t bytes(const struct tensor *t)
{
	size_t n = dtype_size(t->dtype);

	for (unsigned i = 0; i < t->rank; i++)
		n *= (size_t)t->dim[i];
	return n;
}

static void check(const char *text)
{
	struct map vals = { 0 };
	struct module *m = parse(text);
	struct op *ret = op_body(m->func)->last;

	cr_assert_eq(run(m, &vals), EVAL_OK, "%s", text);
	for (unsigned i = 0; i + 1 < ret->n_in; i += 2) {
		struct tensor *got = map_get(&vals, ret->in[i].val->id);
		struct tensor *want = map_get(&vals, ret->in[i + 1].val->id);

		cr_assert_eq(got->dtype, want->dtype);
		cr_assert_eq(bytes(got), bytes(want));
		cr_assert(!memcmp(got->data, want->data, bytes(got)), "%s",
			  text);
	}
	map_free(&vals);
}

#define CONST(name, type, data)                                      \
	"%" name " = core.const {value = dense<" type ", " data ">}" \
	" : tensor<" type ">\n"
#define UNARY(from, x, op, to, want)                            \
	"func @t() -> (tensor<" to ">, tensor<" to ">) {\n"     \
	CONST("x", from, x) "%y = onnx." op "(%x) : tensor<" to ">\n" \
	CONST("w", to, want) "core.return(%y, %w) }"
/* The attribute stands behind the operands: "Cast" needs it. */
#define CAST(from, x, code, to, want)                           \
	"func @t() -> (tensor<" to ">, tensor<" to ">) {\n"     \
	CONST("x", from, x) "%y = onnx.Cast(%x) {to = " code    \
	"} : tensor<" to ">\n"                                  \
	CONST("w", to, want) "core.return(%y, %w) }"
#define BINARY(ta, a, tb, b, op, attrs, to, want)               \
	"func @t() -> (tensor<" to ">, tensor<" to ">) {\n"     \
	CONST("a", ta, a) CONST("b", tb, b)                     \
	"%y = onnx." op "(%a, %b)" attrs " : tensor<" to ">\n"  \
	CONST("w", to, want) "core.return(%y, %w) }"

Test(eval, integers)
{
	check(BINARY("[3] i8", "127, -128, 5", "[3] i8", "1, -1, -7", "Add", "",
		     "[3] i8", "-128, 127, -2"));
	check(BINARY("[2] u8", "3, 200", "[2] u8", "5, 100", "Sub", "",
		     "[2] u8", "254, 100"));
	check(BINARY("[2] i32", "65536, -2147483648", "[2] i32", "65536, -1",
		     "Mul", "", "[2] i32", "0, -2147483648"));
	check(BINARY("[4] i32", "7, -7, 7, -2147483648", "[4] i32",
		     "2, 2, -2, -1", "Div", "", "[4] i32",
		     "3, -3, -3, -2147483648"));
	check(BINARY("[4] i8", "7, -7, 7, -7", "[4] i8", "3, 3, -3, -3", "Mod",
		     "", "[4] i8", "1, 2, -2, -1"));
	check(BINARY("[4] i8", "7, -7, 7, -7", "[4] i8", "3, 3, -3, -3", "Mod",
		     " {fmod = 1}", "[4] i8", "1, -1, 1, -1"));
	check(BINARY("[3] u8", "1, 255, 3", "[3] u8", "7, 1, 8", "BitShift",
		     " {direction = \"LEFT\"}", "[3] u8", "128, 254, 0"));
	check(UNARY("[3] i8", "-128, -1, 5", "Abs", "[3] i8", "-128, 1, 5"));
	check(UNARY("[2] i64", "-9223372036854775808, 3", "Neg", "[2] i64",
		    "-9223372036854775808, -3"));
}

Test(eval, floats)
{
	check(BINARY("[4] f32", "1, nan, -0.0, inf", "[4] f32",
		     "nan, 1, 2, 3", "Max", "", "[4] f32",
		     "nan, nan, 2, inf"));
	check(BINARY("[2] f16", "2048, 0.1", "[2] f16", "1, 0.2", "Add", "",
		     "[2] f16", "2048, 0.29980469"));
	check(BINARY("[1] f64", "0.1", "[1] f64", "0.2", "Add", "", "[1] f64",
		     "0.30000000000000004"));
	check(BINARY("[1] f32", "0.1", "[1] f32", "0.2", "Add", "", "[1] f32",
		     "0x3e99999a"));
	check(BINARY("[3] f32", "1, nan, inf", "[3] f32", "1, nan, inf",
		     "Equal", "", "[3] bool", "1, 0, 1"));
	check(UNARY("[5] f32", "0.5, 1.5, 2.5, -0.5, -1.5", "Round", "[5] f32",
		    "0, 2, 2, -0.0, -2"));
	check(UNARY("[2] f64", "4, 2", "Sqrt", "[2] f64",
		    "2, 1.4142135623730951"));
}

Test(eval, casts)
{
	check(CAST("[6] f32", "1.9, -1.9, 300, -300, nan, inf", "3", "[6] i8",
		   "1, -1, 127, -128, 0, 127"));
	check(CAST("[3] f64", "-1, 255.9, 1e10", "2", "[3] u8", "0, 255, 255"));
	check(CAST("[4] f32", "0, -0.0, nan, 0.1", "9", "[4] bool",
		   "0, 0, 1, 1"));
	check(CAST("[3] i32", "300, -1, 128", "3", "[3] i8", "44, -1, -128"));
	check(CAST("[1] i64", "16777217", "1", "[1] f32", "16777216"));
	check(CAST("[2] f32", "65520, 65519.996", "10", "[2] f16",
		   "inf, 65504"));
	check(CAST("[2] bool", "1, 0", "1", "[2] f32", "1, 0"));
	/* A tie of bf16 and the integers next to it, which no f64 holds. */
	check(CAST("[3] i64", "-2314850208468434943, -2314850208468434944, "
		   "-2314850208468434945", "16", "[3] bf16",
		   "-2305843009213693952, -2305843009213693952, "
		   "-2323857407723175936"));
	check(CAST("[2] u64", "9259400833873739776, 9259400833873739777", "16",
		   "[2] bf16", "9223372036854775808, 9295429630892703744"));
}

Test(eval, movement_and_folds)
{
	check(BINARY("[2,1] f32", "1, 2", "[3] f32", "10, 20, 30", "Add", "",
		     "[2,3] f32", "11, 21, 31, 12, 22, 32"));
	check(BINARY("[2,3] f32", "1, 2, 3, 4, 5, 6", "[3,1] f32", "1, 2, 3",
		     "MatMul", "", "[2,1] f32", "14, 32"));
	check(UNARY("[2,3] i16", "1, 2, 3, 4, 5, 6", "Transpose", "[3,2] i16",
		    "1, 4, 2, 5, 3, 6"));
	check(BINARY("[2,3] i8", "1, 2, 3, 4, 5, 6", "[2] i64", "2, -3",
		     "Gather", " {axis = 1}", "[2,2] i8", "3, 1, 6, 4"));
	/* A fold of no elements is its first value. */
	check("func @t() -> (tensor<[] f32>, tensor<[] f32>) {\n"
	      "%x = core.const {value = dense<[0] f32>} : tensor<[0] f32>\n"
	      "%y = onnx.ReduceSum(%x) {keepdims = 0} : tensor<[] f32>\n"
	      "%w = core.const {value = dense<[] f32, 0>} : tensor<[] f32>\n"
	      "core.return(%y, %w) }");
}

/* What a step yields may be an old state, as a state and as an output. */
Test(eval, scan_yields_old_states)
{
	struct module *m = parse(
		"func @t() -> (tensor<[1] i32>, tensor<[1] i32>,"
		" tensor<[3,1] i32>) {\n"
		CONST("a", "[1] i32", "1") CONST("b", "[1] i32", "10")
		"%p, %q, %s = core.scan(%a, %b) [i0 < 3]"
		" (%x: tensor<[1] i32>, %y: tensor<[1] i32>) {\n"
		"%n = nest.compute [i1 < 1] {\n"
		"%u = nest.load(%x) {idx = [i1]} : i32\n"
		"%v = nest.load(%y) {idx = [i1]} : i32\n"
		"%w = arith.add(%u, %v) : i32\n"
		"nest.yield(%w) } : tensor<[1] i32>\n"
		"nest.yield(%y, %n, %x)\n"
		"} : tensor<[1] i32>, tensor<[1] i32>, tensor<[3,1] i32>\n"
		"core.return(%p, %q, %s) }");
	struct tensor out[3];
	static const int32_t stacked[] = { 1, 10, 11 };

	cr_assert_eq(eval_compute(c, op_body(m->func)->last->prev, out, &arena),
		     EVAL_OK);
	cr_assert_eq(*(int32_t *)out[0].data, 21);
	cr_assert_eq(*(int32_t *)out[1].data, 32);
	cr_assert(!memcmp(out[2].data, stacked, sizeof(stacked)));
}

static enum eval_result fails(const char *text)
{
	struct map vals = { 0 };
	enum eval_result r = run(parse(text), &vals);

	map_free(&vals);
	return r;
}

Test(eval, statuses)
{
	cr_assert_eq(fails(BINARY("[2] i32", "1, 2", "[2] i32", "0, 1", "Div",
				  "", "[2] i32", "0, 0")),
		     EVAL_DIVZERO);
	cr_assert_eq(fails(BINARY("[2] f32", "1, 2", "[1] i64", "2", "Gather",
				  "", "[1] f32", "0")),
		     EVAL_INDEX);
	c->fold_steps = 10;
	cr_assert_eq(fails(BINARY("[4,1] f32", "1, 2, 3, 4", "[4] f32",
				  "1, 2, 3, 4", "Add", "", "[4,4] f32",
				  "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16")),
		     EVAL_UNKNOWN);
}

/* Shape -> Gather -> Mul -> Concat over symbols is computed while reading. */
Test(eval, elements_of_shapes_are_known)
{
	struct module *m = parse(
		"func @t(%x: tensor<[N,M,3] f32>) -> (tensor<[2] i64>) {\n"
		"%s = onnx.Shape(%x) : tensor<[3] i64>\n"
		"%i = core.const {value = dense<[1] i64, 0>} : tensor<[1] "
		"i64>\n"
		"%n = onnx.Gather(%s, %i) : tensor<[1] i64>\n"
		"%k = core.const {value = dense<[1] i64, 4>} : tensor<[1] "
		"i64>\n"
		"%p = onnx.Mul(%n, %k) : tensor<[1] i64>\n"
		"%c = onnx.Concat(%p, %k) {axis = 0} : tensor<[2] i64>\n"
		"core.return(%c) }");
	const struct known *k = op_body(m->func)->last->in[0].val->known;

	cr_assert_not_null(k);
	cr_assert_eq(k->n, 2);
	cr_assert_eq(k->elem[0], expr_scale(c, expr_sym(c, "N"), 4));
	cr_assert(expr_is(k->elem[1], 4));
}

/* So are those of the shape of few integers, which are not known. */
Test(eval, shapes_of_unknown_elements_are_known)
{
	struct module *m = parse(
		"func @t(%x: tensor<[2,7] i64>) -> (tensor<[2] i64>) {\n"
		"%s = onnx.Shape(%x) : tensor<[2] i64>\n"
		"core.return(%s) }");
	const struct value *s = op_body(m->func)->last->in[0].val;

	cr_assert_not_null(s->known);
	cr_assert(expr_is(s->known->elem[0], 2));
	cr_assert(expr_is(s->known->elem[1], 7));
	cr_assert_null(op_body(m->func)->arg[0]->known);
}
