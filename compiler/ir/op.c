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

/* Operators are in the dialect of their domain, where types are as ONNX spells
 * them.  Other ops carry theirs before the first underscore: arith_add is
 * "arith.add". */
static const struct {
	const char *domain, *dialect;
} dialects[] = {
	{ "", "onnx" },
	{ "com.microsoft", "microsoft" },
};

static const char *dialect_of(const struct op_def *d)
{
	for (size_t i = 0; i < ARRAY_SIZE(dialects); i++)
		if (!strcmp(dialects[i].domain, d->domain))
			return dialects[i].dialect;
	return d->domain;
}

const char *op_name(struct ctx *c, enum opcode code)
{
	const struct op_def *d = op_defs[code];
	const char *us = strchr(d->name, '_');

	if (d->domain)
		return arena_fmt(&c->temp, "%s.%s", dialect_of(d), op_type(d));
	return arena_fmt(&c->temp, "%.*s.%s", (int)(us - d->name), d->name,
			 us + 1);
}

const struct op_def *op_find(const char *domain, const char *type,
			     enum opcode *code)
{
	for (int i = 0; i < OP_COUNT; i++) {
		const struct op_def *d = op_defs[i];

		if (d->domain && !strcmp(op_type(d), type) &&
		    !strcmp(d->domain, domain)) {
			if (d->shared)
				return op_find("", type, code);
			*code = (enum opcode)i;
			return d;
		}
	}
	return NULL;
}

static bool is_named(const struct op_def *d, const char *dialect, size_t n,
		     const char *name)
{
	if (d->domain)
		return !d->shared && !strcmp(op_type(d), name) &&
		       strlen(dialect_of(d)) == n &&
		       !memcmp(dialect_of(d), dialect, n);
	return !strncmp(d->name, dialect, n) && d->name[n] == '_' &&
	       !strcmp(d->name + n + 1, name);
}

bool op_find_text(const char *text, enum opcode *code)
{
	const char *dot = strchr(text, '.');

	if (!dot)
		return false;
	for (int i = 0; i < OP_COUNT; i++)
		if (is_named(op_defs[i], text, (size_t)(dot - text), dot + 1)) {
			*code = (enum opcode)i;
			return true;
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
