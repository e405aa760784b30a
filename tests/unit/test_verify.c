/* SPDX-License-Identifier: Apache-2.0 */
/* What a pass may break is found: each case damages a sound module. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include "ir/op.h"

static const char text[] =
	"func @main(%x: tensor<[N,3] f32>) -> (tensor<[N,3] f32>) {\n"
	"  %c = core.const {value = dense<[3] f32, 1, 2, 3>} : tensor<[3] "
	"f32>\n"
	"  %1 = onnx.Add(%x, %c) : tensor<[N,3] f32>\n"
	"  %2 = nest.compute [i0 < N, i1 < 3] {\n"
	"    %a = nest.load(%1) {idx = [i0, i1]} : f32\n"
	"    %b = arith.add(%a, %a) : f32\n"
	"    nest.yield(%b)\n"
	"  } : tensor<[N,3] f32>\n"
	"  core.return(%2)\n"
	"}\n";

struct ops {
	struct ctx *c;
	struct module *m;
	struct op *konst, *add, *compute, *load, *sum, *yield, *ret;
};

static struct ops sound(void)
{
	struct ops o = { .c = ctx_new() };

	o.m = module_parse(o.c, text, strlen(text), "t");
	cr_assert_not_null(o.m);
	o.konst = op_body(o.m->func)->first;
	o.add = o.konst->next;
	o.compute = o.add->next;
	o.ret = o.compute->next;
	o.load = op_body(o.compute)->first;
	o.sum = o.load->next;
	o.yield = o.sum->next;
	return o;
}

Test(verify, accepts_the_sound_module)
{
	struct ops o = sound();

	cr_assert(module_verify(o.m, "reading"));
	ctx_free(o.c);
}

/* The statement's elements are [i_a, i_b + k * i_b]. */
static void state_index(struct ops *o, unsigned a, unsigned b, int64_t k)
{
	const struct expr *const *iv = op_body(o->compute)->iv;
	const struct expr *idx[] = { iv[a],
				     expr_scale(o->c, iv[b], 1 + k) };

	op_set_exprs(o->c, o->compute, A_idx, 2, idx);
}

Test(verify, accepts_elements_at_an_index)
{
	struct ops o = sound();

	state_index(&o, 0, 1, 0);
	cr_assert(module_verify(o.m, "the test"));
	ctx_free(o.c);
}

/* bug() ends the process with EXIT_BUG. */
#define REJECTS(name, ...)                               \
	Test(verify, name, .exit_code = EXIT_BUG)        \
	{                                                \
		struct ops o = sound();                  \
							 \
		cr_redirect_stderr();                    \
		__VA_ARGS__;                             \
		module_verify(o.m, "the test");          \
	}

REJECTS(use_before_definition,
	op_unlink(o.konst); op_insert(o.konst, o.add->parent, o.compute))
REJECTS(value_of_another_body, op_set_in(o.ret, 0, &o.sum->out[0]))
REJECTS(erased_operand, op_unlink(o.konst))
REJECTS(broken_list, o.load->next = o.yield)
REJECTS(broken_use, o.add->in[0].user = o.ret)
REJECTS(broken_use_list, o.konst->out[0].uses = NULL)
REJECTS(wrong_type, o.add->out[0].type = o.konst->out[0].type)
REJECTS(missing_type, o.add->out[0].type = NULL)
REJECTS(index_without_a_variable, state_index(&o, 0, 0, 0))
REJECTS(index_of_another_dim, state_index(&o, 1, 0, 0))
REJECTS(index_with_gaps, state_index(&o, 0, 1, 1))
REJECTS(missing_yield, op_erase(o.yield))
REJECTS(missing_return, op_erase(o.ret))
REJECTS(level, o.m->levels = LEVEL_GRAPH)
REJECTS(index_count,
	op_set_exprs(o.c, o.load, A_idx, 1, op_body(o.compute)->iv))
REJECTS(foreign_iteration_variable,
	const struct expr *e[2] = { op_body(o.compute)->iv[0],
				    expr_iv(o.c, expr_const(o.c, 3)) };
	op_set_exprs(o.c, o.load, A_idx, 2, e))
REJECTS(poisoned_index,
	const struct expr *e[2] = { op_body(o.compute)->iv[0],
				    expr_addc(o.c, expr_const(o.c, INT64_MAX),
					      1) };
	op_set_exprs(o.c, o.load, A_idx, 2, e))
REJECTS(attribute_kind, op_set_int(o.c, o.load, A_idx, 3))
REJECTS(foreign_attribute, op_set_int(o.c, o.add, A_idx, 3))
REJECTS(constant_size,
	((struct attr *)op_attr(o.konst, A_value))->tensor.blob.size = 8)
REJECTS(scalar_types,
	o.sum->out[0].type = type_scalar(o.c, DT_F64))
REJECTS(two_values_of_one_number, o.add->out[0].id = o.konst->out[0].id)
