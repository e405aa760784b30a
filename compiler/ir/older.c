/* SPDX-License-Identifier: Apache-2.0 */
/* What op records use to turn a node of an older opset into the newest form. */
#include "ir/op.h"

static struct named_attr *find(struct older *o, enum attr_name name)
{
	for (unsigned i = 0; i < o->n_attr; i++)
		if (o->attr[i].name == name)
			return &o->attr[i];
	return NULL;
}

const struct attr *older_attr(struct older *o, enum attr_name name)
{
	struct named_attr *a = find(o, name);

	return a ? a->val : NULL;
}

void older_drop_attr(struct older *o, enum attr_name name)
{
	struct named_attr *a = find(o, name);

	if (a)
		*a = o->attr[--o->n_attr];
}

void older_set_attr(struct older *o, enum attr_name name,
		    const struct attr *val)
{
	struct named_attr *a = find(o, name);

	if (!a)
		a = &o->attr[o->n_attr++];
	*a = (struct named_attr){ name, val };
}

bool older_attr_to_input(struct older *o, enum attr_name name, unsigned i)
{
	const struct attr *a = older_attr(o, name);

	if (!a)
		return true;
	if (i < o->n_in && o->in[i])
		return older_error(o, "has input %u and attribute '%s'", i,
				   attr_names[name]);
	if (a->kind != AT_INTS)
		return older_error(o,
				   "attribute '%s' is not a list of integers",
				   attr_names[name]);
	while (o->n_in <= i)
		o->in[o->n_in++] = NULL;
	o->in[i] = build_ints(&o->b, (int)a->n, a->ints);
	older_drop_attr(o, name);
	return true;
}

bool older_error(struct older *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	const char *text = arena_vfmt(&o->b.ctx->temp, fmt, ap);
	va_end(ap);
	return diag_error(&o->b.ctx->diag, EXIT_MODEL, o->loc, "%s", text);
}
