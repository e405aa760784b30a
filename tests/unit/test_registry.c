/* SPDX-License-Identifier: Apache-2.0 */
/* The scanned tables are complete, and every record can be used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "ir/op.h"

static unsigned n_meanings(const struct op_def *d)
{
	return (d->scalar != NULL) + (d->lower != NULL) +
	       (d->decompose != NULL);
}

Test(registry, graph_ops_have_inference_and_one_meaning)
{
	for (int i = 0; i < OP_COUNT; i++) {
		const struct op_def *d = op_defs[i];

		cr_assert_not_null(d);
		if (!d->domain || d->shared)
			continue;
		cr_expect_not_null(d->infer, "%s", d->name);
		cr_expect_eq(n_meanings(d), 1, "%s has %u meanings", d->name,
			     n_meanings(d));
		cr_expect(!d->level || d->level == LEVEL_GRAPH, "%s", d->name);
		cr_expect_not_null(d->out[0].name, "%s has no results",
				   d->name);
	}
}

Test(registry, other_ops_have_a_level_and_a_dialect)
{
	for (int i = 0; i < OP_COUNT; i++) {
		const struct op_def *d = op_defs[i];

		if (d->domain)
			continue;
		cr_expect(d->level, "%s", d->name);
		cr_expect_not_null(strchr(d->name, '_'), "%s", d->name);
	}
}

Test(registry, names_lead_back)
{
	struct ctx *c = ctx_new();

	for (int i = 0; i < OP_COUNT; i++) {
		enum opcode code = OP_COUNT;

		if (op_defs[i]->shared)
			continue;
		cr_expect(op_find_text(op_name(c, (enum opcode)i), &code) &&
				  (int)code == i,
			  "%s", op_defs[i]->name);
		if (op_defs[i]->domain)
			cr_expect(op_find(op_defs[i]->domain,
					  op_type(op_defs[i]), &code) ==
					  op_defs[i] && (int)code == i,
				  "%s", op_defs[i]->name);
	}
	for (int i = 0; i < A_COUNT; i++) {
		enum attr_name a = A_COUNT;

		cr_expect(attr_find(attr_names[i], &a) && (int)a == i);
	}
	cr_assert_not(op_find_text("onnx.NoSuchOp", &(enum opcode){ 0 }));
	cr_assert_not(op_find_text("NoDot", &(enum opcode){ 0 }));
	ctx_free(c);
}

Test(registry, shared_operators_are_those_of_onnx)
{
	for (int i = 0; i < OP_COUNT; i++) {
		const struct op_def *d = op_defs[i], *other;
		enum opcode code;

		if (!d->shared)
			continue;
		other = op_find(d->domain, op_type(d), &code);
		cr_expect(other && other != d && !*other->domain, "%s",
			  d->name);
	}
}

Test(registry, ports_are_well_formed)
{
	for (int i = 0; i < OP_COUNT; i++) {
		const struct op_def *d = op_defs[i];

		for (int k = 0; k < MAX_PORTS && d->in[k].name; k++) {
			uint32_t t = d->in[k].types;
			bool last = k + 1 == MAX_PORTS || !d->in[k + 1].name;

			cr_expect(t & T_ANY, "%s: %s has no type", d->name,
				  d->in[k].name);
			cr_expect(!(t & P_VARIADIC) || last, "%s: %s", d->name,
				  d->in[k].name);
		}
		for (int k = 0; k < MAX_ATTRS && d->attr[k].set; k++)
			for (int j = 0; j < k; j++)
				cr_expect_neq(d->attr[j].name,
					      d->attr[k].name, "%s: %s twice",
					      d->name,
					      attr_names[d->attr[k].name]);
	}
}

/* The scanner reads text, the compiler C: they must see the same ops. */
Test(registry, scanner_saw_every_record)
{
	FILE *p = popen("grep -rhE '^OP[(]' --include='*.c' compiler 2>&1 |"
			" sort | uniq | wc -l", "r");
	int n = 0;

	cr_assert_not_null(p);
	cr_assert_eq(fscanf(p, "%d", &n), 1);
	pclose(p);
	if (!n)
		cr_skip_test("not run from the repository's root");
	cr_assert_eq(n, OP_COUNT);
}
