/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/layout.h"

#include "ir/target.h"

enum { ALIAS_BYTES = 2048, LINE_BYTES = 64 };

const struct layout *layout_make(struct ctx *c, const struct type *t,
				 const uint8_t *perm)
{
	struct layout *l = NEW(&c->perm, struct layout);
	int64_t n;

	for (uint32_t i = 0; i < t->rank; i++)
		l->perm[i] = perm ? perm[i] : (uint8_t)i;
	int64_t es = (int64_t)dtype_size(t->dtype);

	if (c->target && c->target->gpu[0])
		return l;
	if (t->rank && expr_is_const(t->dim[l->perm[t->rank - 1]], &n) &&
	    !dtype_is_packed(t->dtype) && n > 0 && n < INT64_MAX / es &&
	    n * es % ALIAS_BYTES == 0)
		l->pad = (uint32_t)(LINE_BYTES / es);
	return l;
}

const struct layout *layout_with_last(struct ctx *c, const struct type *t,
				      unsigned last)
{
	uint8_t perm[MAX_RANK];
	unsigned k = 0;

	for (unsigned i = 0; i < t->rank; i++)
		if (i != last)
			perm[k++] = (uint8_t)i;
	perm[k] = (uint8_t)last;
	return layout_make(c, t, perm);
}

unsigned layout_dim(const struct value *buf, unsigned i)
{
	return buf->layout ? buf->layout->perm[i] : i;
}

/* Elements that logical dim d takes in memory. */
static const struct expr *width(struct ctx *c, const struct value *buf,
				unsigned d)
{
	const struct layout *l = buf->layout;
	const struct expr *e = buf->type->dim[d];

	if (!l)
		return e;
	e = expr_addc(c, e, l->lo[d] + l->hi[d]);
	return l->perm[buf->type->rank - 1] == d ? expr_addc(c, e, l->pad)
						 : e;
}

const struct expr *layout_stride(struct ctx *c, const struct value *buf,
				 unsigned d)
{
	const struct expr *s = expr_const(c, 1);

	for (unsigned i = buf->type->rank; i-- > 0;) {
		unsigned k = layout_dim(buf, i);

		if (k == d)
			break;
		s = expr_mul(c, s, width(c, buf, k));
	}
	return s;
}

const struct expr *layout_offset(struct ctx *c, const struct value *buf,
				 const struct expr *const *idx)
{
	const struct expr *off = expr_const(c, 0), *s = expr_const(c, 1);

	for (unsigned i = buf->type->rank; i-- > 0;) {
		unsigned d = layout_dim(buf, i);
		const struct expr *x = idx[d];

		if (buf->layout)
			x = expr_addc(c, x, buf->layout->lo[d]);
		off = expr_add(c, off, expr_mul(c, x, s));
		s = expr_mul(c, s, width(c, buf, d));
	}
	return off;
}

const struct expr *layout_bytes(struct ctx *c, const struct value *buf)
{
	enum dtype t = buf->type->dtype;
	const struct expr *n = expr_const(c, 1);

	for (unsigned i = 0; i < buf->type->rank; i++)
		n = expr_mul(c, n, width(c, buf, i));
	if (!dtype_is_packed(t))
		return expr_scale(c, n, (int64_t)dtype_size(t));
	return expr_ceildiv(c, n, expr_const(c, 8 / dtype_info[t].bits));
}
