/* SPDX-License-Identifier: Apache-2.0 */
/* The text form: what is printed reads back, what is wrong is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include "ir/op.h"
#include "ir/text.h"

static struct ctx *c;

static void setup(void)
{
	c = ctx_new();
}

static void teardown(void)
{
	ctx_free(c);
}

TestSuite(text, .init = setup, .fini = teardown);

/* Prints, reads in a fresh context, prints again. */
static void check_round_trip(const struct module *m, const char *blobs)
{
	struct ctx *other = ctx_new();
	char *s = module_print(m), *t;
	struct module *back = module_parse_blobs(other, s, strlen(s), "again",
						 blobs);

	cr_assert_not_null(back, "%s", s);
	t = module_print(back);
	cr_assert_str_eq(t, s);
	cr_assert_eq(back->levels, m->levels);
	cr_assert(module_verify(back, "test"));
	free(s);
	free(t);
	ctx_free(other);
}

static struct module *parse(const char *s)
{
	return module_parse(c, s, strlen(s), "test.dl");
}

static const char sample[] =
	"// all of the syntax\n"
	"func @\"a model\"(%x: tensor<[N,3] f32> \"x\", "
	"%q: tensor<[\"my dim\",N,div(N, 2)] f32>)"
	" -> (tensor<[N,3] f32>, tensor<[N,3] f32>) {\n"
	"  %c = core.const {value = dense<[3] f32, 1, -0.0, 0x7fc00001>}"
	" : tensor<[3] f32>\n"
	"  %h = core.const {value = dense<[2,1] f16, 0.1, -inf>}"
	" : tensor<[2,1] f16>\n"
	"  %bb = core.const {value = dense<[2] bool, 1, 0>} : tensor<[2] "
	"bool>\n"
	"  %u = core.const {value = dense<[] u64, 18446744073709551615>}"
	" : tensor<[] u64>\n"
	"  %l = core.const {value = dense<[1] i64, -9223372036854775808>}"
	" : tensor<[1] i64>\n"
	"  %zz = core.const {value = dense<[0] i8>} : tensor<[0] i8>\n"
	"  core.bind(%l) {syms = [~v3]}\n"
	"  core.check {zero = [~v3 - 3], nonneg = [N - 1, 2*N*N - ~v3]}\n"
	"  %1 = onnx.Add(%x, %c) : tensor<[N,3] f32> \"sum\" "
	"layout{perm=[1,0],lo=[0,2],hi=[1,0],pad=8} @\"the \\\"node\\\"\"\n"
	"  %2 = nest.compute [i4 < N, i5 < 3] {\n"
	"    %a = nest.load(%1) {idx = [i4, -i5 + 2]} : f32\n"
	"    %z = arith.const {value = -inf} : f32\n"
	"    %k = nest.value {idx = [i4]} : i64\n"
	"    %kk = nest.index(%k) {extent = [N], wrap = 1} : i64\n"
	"    %e = nest.load(%x, %kk) {idx = [$1<N>, i5]} : f32\n"
	"    %r = nest.reduce(%z) [i9 < N, i3 < i4 + i9 + 1] (%m: f32) {\n"
	"      %b = nest.load(%x, %m) {idx = [i9, i5], "
	"guard = [max(i9, i3) + i3*N - 4]} : f32\n"
	"      %n = arith.max(%m, %b) : f32\n"
	"      nest.yield(%n)\n"
	"    } : f32\n"
	"    %s = arith.add(%e, %r) : f32\n"
	"    nest.yield(%s)\n"
	"  } : tensor<[N,3] f32>\n"
	"  core.return(%1, %2)\n"
	"}\n";

Test(text, sample_round_trips)
{
	struct module *m = parse(sample);

	cr_assert_not_null(m);
	cr_assert_str_eq(m->name, "a model");
	cr_assert_eq(m->levels, LEVEL_GRAPH | LEVEL_NEST);
	check_round_trip(m, NULL);
}

/* Text does not depend on the order in which symbols were made. */
Test(text, order_of_creation_is_invisible)
{
	const struct expr *b, *a, *dim[2], *out[2];
	struct module *m = module_new(c, "main");

	b = expr_sym(c, "B");
	expr_mul(c, b, b);
	a = expr_sym(c, "A");
	dim[0] = expr_min(c, expr_mul(c, b, a), expr_addc(c, a, 2));
	dim[1] = expr_add(c, b, a);
	out[0] = dim[1];
	out[1] = dim[0];
	struct value *x = block_add_arg(c, op_body(m->func),
					type_tensor(c, DT_F32, 2, dim), NULL);
	struct value *y = block_add_arg(c, op_body(m->func),
					type_tensor(c, DT_F32, 2, out), NULL);
	struct builder bl = { c, op_body(m->func), NULL, NULL };

	build(&bl, &(struct op_spec){ .code = OP_core_return, .n_in = 2,
				      .in = (struct value *[]){ y, x } });
	char *s = module_print(m);

	cr_assert_not_null(strstr(s, "[min(A + 2, A*B),A + B]"), "%s", s);
	free(s);
	check_round_trip(m, NULL);
}

Test(text, floats_keep_their_bits)
{
	static const double v[] = { 0.1, -0.0, 1e300, 4.9406564584124654e-324,
				    INFINITY, -INFINITY, 1.0 / 3, 1e22, 5 };
	struct module *m = module_new(c, "main");
	struct builder bl = { c, op_body(m->func), NULL, NULL };
	const struct expr *n = expr_const(c, ARRAY_SIZE(v));

	build_const(&bl, type_tensor(c, DT_F64, 1, &n),
		    (struct blob){ v, sizeof(v) });
	build(&bl, &(struct op_spec){ .code = OP_core_return });
	char *s = module_print(m);
	struct module *back = parse(s);
	struct blob b;

	cr_assert_not_null(back);
	cr_assert(value_const(&op_body(back->func)->first->out[0], &b));
	cr_assert(!memcmp(b.data, v, sizeof(v)));
	free(s);
}

Test(text, blobs_come_from_a_sidecar)
{
	char path[] = "/tmp/dlcc-test-XXXXXX";
	int fd = mkstemp(path);
	float v[100];
	size_t size;
	struct module *m = module_new(c, "main");
	struct builder bl = { c, op_body(m->func), NULL, NULL };
	const struct expr *n = expr_const(c, 100);

	for (int i = 0; i < 100; i++)
		v[i] = (float)i / 7;
	build_const(&bl, type_tensor(c, DT_F32, 1, &n),
		    (struct blob){ v, sizeof(v) });
	v[3] = 9;
	build(&bl, &(struct op_spec){ .code = OP_core_return });
	char *blobs = module_blobs(m, &size);

	cr_assert(fd >= 0 && write(fd, blobs, size) == (ssize_t)size);
	close(fd);
	free(blobs);
	check_round_trip(m, path);
	cr_assert_eq(truncate(path, 100), 0);
	char *s = module_print(m);

	cr_redirect_stderr();
	cr_assert_null(module_parse_blobs(c, s, strlen(s), "x", path));
	cr_assert_null(parse(s));
	cr_assert_eq(c->diag.code, EXIT_MODEL);
	cr_assert_null(module_parse_blobs(c, s, strlen(s), "x", "/nowhere"));
	free(s);
	unlink(path);
}

/* ---- refusals ------------------------------------------------------- */

#define BODY(args, ops) \
	"func @main(" args ") -> () {\n" ops "\n  core.return\n}\n"
#define NEST(ops)                                      \
	BODY("%x: tensor<[4] f32>", "%y = nest.compute [i0 < 4] {" ops \
	     "} : tensor<[4] f32>")

static const char *const wrong[] = {
	"",
	"func",
	"func @main",
	"func @main(",
	"func @main() -> () {",
	"func @main() -> () {}",
	"func @main() -> () { core.return } x",
	"func @main() -> (f32) { core.return }",
	"func @main(%x: f32) -> () { core.return }",
	"\x01",
	"func @main() -> () { core.return @\"x }",
	BODY("", "core.nothing"),
	BODY("", "onnx.Add"),
	BODY("", "onnx.Add(none, none)"),
	BODY("", "%1 = onnx.Add(%x, %x) : f32"),
	BODY("%x: tensor<[4] f32>", "%1 = onnx.Add(%x, %x) : f32"),
	BODY("%x: tensor<[4] f32>", "%1 = onnx.Add(%x, %x) : tensor<[5] f32>"),
	BODY("%x: tensor<[4] f32>",
	     "%1 = onnx.Add(%x, %x) {equation = \"x\"} : tensor<[4] f32>"),
	BODY("%x: tensor<[4] f32>, %y: tensor<[3] f32>",
	     "%1 = onnx.Add(%x, %y) : tensor<[4] f32>"),
	BODY("%x: tensor<[4] f32>, %x: tensor<[3] f32>", ""),
	BODY("%x: tensor<[i0] f32>", ""),
	BODY("%x: tensor<[-1] f32>", ""),
	BODY("%x: tensor<[9223372036854775808] f32>", ""),
	BODY("%x: tensor<[9223372036854775807*N + 9223372036854775807*N] f32>",
	     ""),
	BODY("%x: tensor<[div(N, 0)] f32>", ""),
	BODY("%x: tensor<[4] f33>", ""),
	BODY("%x: tensor<[4] f32> layout{perm=[0],lo=[0],hi=[70000],pad=0}",
	     ""),
	BODY("%x: tensor<[4,4] f32> layout{perm=[0,0],lo=[0,0],hi=[0,0],"
	     "pad=0}", ""),
	BODY("", "%c = core.const : tensor<[1] f32>"),
	BODY("", "%c = core.const {value = dense<[2] f32, 1>}"
	     " : tensor<[2] f32>"),
	BODY("", "%c = core.const {value = dense<[1] f32, 1>}"
	     " : tensor<[1] i32>"),
	BODY("", "%c = core.const {value = dense<[1] i8, 128>}"
	     " : tensor<[1] i8>"),
	BODY("", "%c = core.const {value = dense<[1] i8, -129>}"
	     " : tensor<[1] i8>"),
	BODY("", "%c = core.const {value = dense<[N] f32>}"
	     " : tensor<[N] f32>"),
	BODY("", "%c = core.const {value = blob<[64] f32, "
	     "fnv:0123456789abcdef, 256>} : tensor<[64] f32>"),
	BODY("", "%c = core.const {value = 1} : tensor<[1] f32>"),
	BODY("", "core.check {zero = ints[1]}"),
	BODY("", "core.check {zero = [i0]}"),
	BODY("", "core.check {zero = [$0]}"),
	BODY("", "core.check {zero = [poison]}"),
	BODY("", "core.check {zero = [1], zero = [1]}"),
	BODY("%x: tensor<[4] f32>", "core.bind(%x) {syms = [~a, ~b, ~c, ~d]}"),
	BODY("%x: tensor<[4] i32>", "core.bind(%x) {syms = [~a]}"),
	BODY("", "%1 = arith.const {value = 1.0} : f32"),
	BODY("", "core.return"),
	NEST(""),
	NEST("nest.yield"),
	NEST("%a = arith.const {value = 1} : i32 nest.yield(%a)"),
	NEST("%a = nest.load(%x) {idx = []} : f32 nest.yield(%a)"),
	NEST("%a = nest.load(%x) {idx = [i1]} : f32 nest.yield(%a)"),
	NEST("%a = nest.load(%x) {idx = [i0]} : f64 nest.yield(%a)"),
	NEST("%a = nest.load(%x) {idx = [i0], guard = [i0]} : f32"
	     " nest.yield(%a)"),
	NEST("%a = nest.load(%x) {idx = [$0]} : f32 nest.yield(%a)"),
	NEST("%a = nest.load(%y) {idx = [i0]} : f32 nest.yield(%a)"),
	NEST("%a = arith.add(%x, %x) : f32 nest.yield(%a)"),
	NEST("%a = nest.load(%x) {idx = [i0]} : f32"
	     " %b = arith.lt(%a, %a) : f32 nest.yield(%b)"),
	NEST("%a = nest.load(%x) {idx = [i0]} : f32"
	     " %b = nest.reduce(%a) [i1 < 3] (%c: f64) { nest.yield(%c) } : f32"
	     " nest.yield(%b)"),
	NEST("%a = nest.load(%x) {idx = [i0]} : f32"
	     " %b = arith.and(%a, %a) : f32 nest.yield(%b)"),
	NEST("%a = onnx.Add(%x, %x) : tensor<[4] f32> nest.yield(%a)"),
	BODY("%x: tensor<[4] f32>", "%y = nest.compute [i0 < 4] {"
	     " %a = nest.load(%x) {idx = [i0]} : f32 nest.yield(%a) }"
	     " : tensor<[5] f32>"),
	BODY("%x: tensor<[4] f32>", "%y = nest.compute [i0 < 4, i0 < 4] {}"
	     " : tensor<[4,4] f32>"),
};

Test(text, wrong_text_gives_one_error)
{
	cr_redirect_stderr();
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct ctx *k = ctx_new();
		struct module *m = module_parse(k, wrong[i], strlen(wrong[i]),
						"w");

		cr_expect_null(m, "accepted: %s", wrong[i]);
		cr_expect_eq(k->diag.n_errors, 1, "%u errors: %s",
			     k->diag.n_errors, wrong[i]);
		cr_expect(k->diag.code == EXIT_MODEL ||
				  k->diag.code == EXIT_UNSUPPORTED,
			  "%s", wrong[i]);
		ctx_free(k);
	}
}

Test(text, deep_nesting_is_refused)
{
	enum { N = 100000 };
	char *s = malloc(2 * N + 200);
	size_t n = (size_t)sprintf(s, "func @m(%%x: tensor<[");

	cr_redirect_stderr();
	memset(s + n, '(', N);
	strcpy(s + n + N, "1] f32>) -> () {}");
	cr_assert_null(parse(s));
	n = (size_t)sprintf(s, "func @m(%%x: tensor<[N");
	for (size_t i = 0; i < N / 2; i++)
		memcpy(s + n + 2 * i, "*N", 2);
	strcpy(s + n + N, "] f32>) -> () {}");
	cr_assert_null(parse(s));
	free(s);
}

/* Every cut and many single-byte changes of the sample end in order. */
Test(text, damaged_text_is_safe, .timeout = 120)
{
	size_t n = strlen(sample);
	char *s = malloc(n + 1);
	uint64_t r = 1;

	cr_redirect_stderr();
	for (size_t i = 0; i < n - 2; i += 3) {
		struct ctx *k = ctx_new();

		cr_assert_null(module_parse(k, sample, i, "cut"));
		ctx_free(k);
	}
	for (int i = 0; i < 2000; i++) {
		struct ctx *k = ctx_new();
		struct module *m;

		memcpy(s, sample, n);
		for (int j = 0; j < 1 + i % 3; j++) {
			r = r * 6364136223846793005u + 1442695040888963407u;
			s[(r >> 33) % n] = sample[(r >> 13) % n];
		}
		m = module_parse(k, s, n, "damaged");
		cr_assert(m || k->diag.n_errors);
		if (m)
			free(module_print(m));
		ctx_free(k);
	}
	free(s);
}
