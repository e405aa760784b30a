/* SPDX-License-Identifier: Apache-2.0 */
/* The tables made from the scanned op records, and look-ups in them. */
#include "ir/op.h"

#include <string.h>

#define X(name) extern const struct op_def op_def_##name;
#include "opcodes.inc"
#undef X

const struct op_def *const op_defs[OP_COUNT] = {
#define X(name) [OP_##name] = &op_def_##name,
#include "opcodes.inc"
#undef X
};

const char *const attr_names[A_COUNT] = {
#define X(name) [A_##name] = #name,
#include "attrs.inc"
#undef X
};

/* Records of ONNX ops are named as ONNX spells them; the others carry their
 * dialect before the first underscore: arith_add is "arith.add". */
const char *op_name(struct ctx *c, enum opcode code)
{
	const struct op_def *d = op_defs[code];
	const char *us = strchr(d->name, '_');

	if (d->domain)
		return arena_fmt(&c->temp, "onnx.%s", d->name);
	return arena_fmt(&c->temp, "%.*s.%s", (int)(us - d->name), d->name,
			 us + 1);
}

const struct op_def *op_find(const char *domain, const char *type,
			     enum opcode *code)
{
	for (int i = 0; i < OP_COUNT; i++) {
		const struct op_def *d = op_defs[i];

		if (d->domain && !strcmp(d->name, type) &&
		    !strcmp(d->domain, domain)) {
			*code = (enum opcode)i;
			return d;
		}
	}
	return NULL;
}

bool op_find_text(const char *text, enum opcode *code)
{
	const char *dot = strchr(text, '.');

	if (!dot)
		return false;
	size_t n = (size_t)(dot - text);
	bool onnx = n == 4 && !memcmp(text, "onnx", 4);

	for (int i = 0; i < OP_COUNT; i++) {
		const struct op_def *d = op_defs[i];

		if (onnx ? d->domain && !strcmp(d->name, dot + 1)
			 : !d->domain && !strncmp(d->name, text, n) &&
				   d->name[n] == '_' &&
				   !strcmp(d->name + n + 1, dot + 1)) {
			*code = (enum opcode)i;
			return true;
		}
	}
	return false;
}

bool attr_find(const char *name, enum attr_name *out)
{
	for (int i = 0; i < A_COUNT; i++)
		if (!strcmp(attr_names[i], name)) {
			*out = (enum attr_name)i;
			return true;
		}
	return false;
}

const struct attr_def *op_attr_def(const struct op_def *d, enum attr_name n)
{
	for (int i = 0; i < MAX_ATTRS && d->attr[i].set; i++)
		if (d->attr[i].name == n)
			return &d->attr[i];
	return NULL;
}
