/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module as .dl text.  Values and iteration variables are numbered in the
 * order in which they appear, so the text does not depend on how the module
 * was made: print(parse(print(m))) equals print(m).
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/op.h"
#include "ir/text.h"

struct printer {
	struct ctx *c;
	char *s;
	size_t n, cap;
	struct map values, ivs, dims;	/* id -> its number, plus one */
	uintptr_t n_values, n_ivs, n_dims;
	struct expr_names names;
	unsigned depth;
};

static void put_bytes(struct printer *p, const char *s, size_t n)
{
	if (p->n + n + 1 > p->cap) {
		p->cap = 2 * (p->n + n + 1);
		p->s = xrealloc(p->s, p->cap, 1);
	}
	memcpy(p->s + p->n, s, n);
	p->n += n;
	p->s[p->n] = '\0';
}

static void put(struct printer *p, const char *s)
{
	put_bytes(p, s, strlen(s));
}

static void put_fmt(struct printer *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void put_fmt(struct printer *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(p, arena_vfmt(&p->c->temp, fmt, ap));
	va_end(ap);
}

static void put_str(struct printer *p, const char *s, size_t len)
{
	put(p, str_quoted(p->c, s, len));
}

/* The number of an id; the next free one when it appears first. */
static uint32_t number(struct map *m, uintptr_t *n, uint64_t id)
{
	void *got = map_get(m, id);

	if (!got) {
		got = (void *)++*n;
		map_put(m, id, got);
	}
	return (uint32_t)((uintptr_t)got - 1);
}

static uint32_t atom_number(void *arg, const struct atom *a)
{
	struct printer *p = arg;

	if (a->kind == ATOM_DIM)
		return number(&p->dims, &p->n_dims, a->serial);
	return a->kind == ATOM_VAL ? number(&p->values, &p->n_values,
					    a->val->id)
				   : number(&p->ivs, &p->n_ivs, a->serial);
}

static void put_expr(struct printer *p, const struct expr *e)
{
	put(p, expr_text(p->c, e, &p->names));
}

static void put_value(struct printer *p, const struct value *v)
{
	if (v)
		put_fmt(p, "%%%u", number(&p->values, &p->n_values, v->id));
	else
		put(p, "none");
}

/* ---- attributes ----------------------------------------------------- */

/* The shortest decimal that reads back as the same element; raw bits when
 * there is none (a NaN with a payload). */
static void put_float(struct printer *p, enum dtype t, const void *data,
		      size_t i)
{
	union scalar s = scalar_get(t, data, i), back;
	char text[64], copy[8], bits[8] = { 0 };
	size_t size = dtype_size(t);
	uint64_t raw = 0;

	element_copy(t, bits, 0, data, i);

	if (isinf(s.d)) {
		put(p, s.d < 0 ? "-inf" : "inf");
		return;
	}
	for (int prec = 1; prec <= 17 && !isnan(s.d); prec++) {
		snprintf(text, sizeof(text), "%.*g", prec, s.d);
		back.d = strtod(text, NULL);
		scalar_store(t, copy, back);
		if (memcmp(copy, bits, size))
			continue;
		if (!strpbrk(text, ".e"))
			strcat(text, ".0");
		put(p, text);
		return;
	}
	back.d = NAN;
	scalar_store(t, copy, back);
	if (!memcmp(copy, bits, size)) {
		put(p, "nan");
		return;
	}
	memcpy(&raw, bits, size);
	put_fmt(p, "0x%" PRIx64, raw);
}

/* Below 0 when the shape is not static: the verifier has yet to say so. */
static int64_t elems(struct printer *p, const struct attr *a)
{
	int64_t n;

	return expr_is_const(type_elems(p->c, a->tensor.type), &n) ? n : -1;
}

static void put_dense(struct printer *p, const struct attr *a)
{
	enum dtype t = a->tensor.type->dtype;
	const uint8_t *data = a->tensor.blob.data;
	int64_t n = elems(p, a);

	for (size_t i = 0; i < (size_t)n; i++) {
		union scalar s = scalar_get(t, data, i);

		put(p, ", ");
		if (dtype_is_float(t))
			put_float(p, t, data, i);
		else if (t == DT_BOOL)
			put_fmt(p, "%u", data[i]);
		else if (dtype_is_signed(t))
			put_fmt(p, "%" PRId64, s.i);
		else
			put_fmt(p, "%" PRIu64, s.u);
	}
}

static void put_dims(struct printer *p, const struct type *t)
{
	put(p, "[");
	for (uint32_t i = 0; i < t->rank; i++) {
		if (i)
			put(p, ",");
		put_expr(p, t->dim[i]);
	}
	put_fmt(p, "] %s", dtype_info[t->dtype].name);
}

static bool is_dense(struct printer *p, const struct attr *a)
{
	int64_t n = elems(p, a);

	return n >= 0 && n <= TEXT_DENSE_MAX &&
	       a->tensor.blob.size == dtype_bytes(a->tensor.type->dtype,
						  (size_t)n);
}

/* dense<[2] i64, 1, 2> or blob<[64] f32, fnv:0123456789abcdef, 256> */
static void put_tensor(struct printer *p, const struct attr *a)
{
	const struct blob *b = &a->tensor.blob;
	bool dense = is_dense(p, a);

	put(p, dense ? "dense<" : "blob<");
	put_dims(p, a->tensor.type);
	if (dense)
		put_dense(p, a);
	else
		put_fmt(p, ", fnv:%016" PRIx64 ", %zu",
			fnv_bytes(FNV_INIT, b->data, b->size), b->size);
	put(p, ">");
}

static void put_item(struct printer *p, const struct attr *a, size_t i)
{
	switch (a->kind) {
	case AT_INTS: put_fmt(p, "%" PRId64, a->ints[i]); break;
	case AT_FLOATS: put_float(p, DT_F64, a->floats, i); break;
	case AT_STRS: put_str(p, a->strs[i], strlen(a->strs[i])); break;
	case AT_EXPRS: put_expr(p, a->exprs[i]); break;
	case AT_INT: case AT_FLOAT: case AT_STR: case AT_TENSOR: break;
	}
}

/* A list says its kind when it is not the one that the record declares. */
static void put_list(struct printer *p, const struct attr *a,
		     const struct attr_def *d)
{
	static const char *const kind[] = { [AT_INTS] = "ints",
					    [AT_FLOATS] = "floats",
					    [AT_STRS] = "strs",
					    [AT_EXPRS] = "exprs" };

	if (!d || d->kind != a->kind)
		put(p, kind[a->kind]);
	put(p, "[");
	for (size_t i = 0; i < a->n; i++) {
		if (i)
			put(p, ", ");
		put_item(p, a, i);
	}
	put(p, "]");
}

static void put_attrs(struct printer *p, const struct op *op)
{
	for (unsigned i = 0; i < op->n_attr; i++) {
		const struct named_attr *na = &op->attr[i];
		const struct attr *a = na->val;

		put_fmt(p, "%s%s = ", i ? ", " : " {", attr_names[na->name]);
		switch (a->kind) {
		case AT_INT: put_fmt(p, "%" PRId64, a->i); break;
		case AT_FLOAT:
			if (isnan(a->f))
				put(p, "nan");
			else
				put_float(p, DT_F64, &a->f, 0);
			break;
		case AT_STR: put_str(p, a->s, a->n); break;
		case AT_TENSOR: put_tensor(p, a); break;
		case AT_INTS: case AT_FLOATS: case AT_STRS: case AT_EXPRS:
			put_list(p, a, op_attr_def(op_def(op), na->name));
			break;
		}
	}
	if (op->n_attr)
		put(p, "}");
}

/* ---- types, ops, blocks --------------------------------------------- */

static void put_type(struct printer *p, const struct type *t)
{
	if (!t) {
		put(p, "?"); /* only in messages about broken modules */
		return;
	}
	switch (t->kind) {
	case TY_NONE: put(p, "none"); break;
	case TY_SCALAR: put(p, dtype_info[t->dtype].name); break;
	case TY_TENSOR:
		put(p, "tensor<");
		put_dims(p, t);
		put(p, ">");
		break;
	}
}

static void put_layout(struct printer *p, const struct layout *l,
		       uint32_t rank)
{
	put(p, " layout{perm=[");
	for (uint32_t i = 0; i < rank; i++)
		put_fmt(p, "%s%u", i ? "," : "", l->perm[i]);
	put(p, "],lo=[");
	for (uint32_t i = 0; i < rank; i++)
		put_fmt(p, "%s%u", i ? "," : "", l->lo[i]);
	put(p, "],hi=[");
	for (uint32_t i = 0; i < rank; i++)
		put_fmt(p, "%s%u", i ? "," : "", l->hi[i]);
	put_fmt(p, "],pad=%u}", l->pad);
}

/* What is known of a value where it is defined. */
static void put_value_type(struct printer *p, const struct value *v)
{
	put_type(p, v->type);
	if (v->name) {
		put(p, " ");
		put_str(p, v->name, strlen(v->name));
	}
	if (v->layout)
		put_layout(p, v->layout, v->type->rank);
}

static void indent(struct printer *p)
{
	for (unsigned i = 0; i < p->depth; i++)
		put(p, "  ");
}

static void put_args(struct printer *p, const struct block *b)
{
	put(p, "(");
	for (uint32_t i = 0; i < b->n_arg; i++) {
		if (i)
			put(p, ", ");
		put_value(p, b->arg[i]);
		put(p, ": ");
		put_value_type(p, b->arg[i]);
	}
	put(p, ")");
}

static void put_op(struct printer *p, const struct op *op);

static void put_body(struct printer *p, const struct block *b)
{
	put(p, " {\n");
	p->depth++;
	for (const struct op *op = b->first; op; op = op->next) {
		indent(p);
		put_op(p, op);
		put(p, "\n");
	}
	p->depth--;
	indent(p);
	put(p, "}");
}

static void put_region(struct printer *p, const struct block *b)
{
	put(p, " [");
	for (uint32_t i = 0; i < b->n_iv; i++) {
		const struct atom *a = expr_atom(b->iv[i]);

		put_fmt(p, "%si%u < ", i ? ", " : "", atom_number(p, a));
		put_expr(p, a->a);
	}
	put(p, "]");
	if (b->n_arg) {
		put(p, " ");
		put_args(p, b);
	}
	put_body(p, b);
}

struct own_use {
	const struct op *op;
	bool found;
};

static void find_own(void *arg, const struct atom *a)
{
	struct own_use *u = arg;

	for (unsigned i = 0; i < u->op->n_region; i++) {
		const struct block *b = u->op->region[i].block;

		for (uint32_t k = 0; k < b->n_iv; k++)
			u->found |= expr_atom(b->iv[k]) == a;
	}
}

/* Do attributes speak of the variables of the op's own bodies? */
static bool uses_own_ivs(const struct op *op)
{
	struct own_use u = { op, false };

	for (unsigned i = 0; op->n_region && i < op->n_attr; i++) {
		const struct attr *a = op->attr[i].val;

		for (size_t k = 0; a->kind == AT_EXPRS && k < a->n; k++)
			expr_visit(a->exprs[k], find_own, &u);
	}
	return u.found;
}

static void put_op(struct printer *p, const struct op *op)
{
	bool late = uses_own_ivs(op);

	for (unsigned i = 0; i < op->n_out; i++) {
		if (i)
			put(p, ", ");
		put_value(p, &op->out[i]);
	}
	put_fmt(p, "%s%s", op->n_out ? " = " : "", op_name(p->c, op->code));
	for (unsigned i = 0; i < op->n_in; i++) {
		put(p, i ? ", " : "(");
		put_value(p, op->in[i].val);
	}
	if (op->n_in)
		put(p, ")");
	if (!late)
		put_attrs(p, op);
	for (unsigned i = 0; i < op->n_region; i++)
		put_region(p, op->region[i].block);
	if (late) {
		put(p, " with");
		put_attrs(p, op);
	}
	for (unsigned i = 0; i < op->n_out; i++) {
		put(p, i ? ", " : " : ");
		put_value_type(p, &op->out[i]);
	}
	if (op->loc && op->loc->name && *op->loc->name) {
		put(p, " @");
		put_str(p, op->loc->name, strlen(op->loc->name));
	}
}

/* What each computed dim is, before it is mentioned. */
static void put_definitions(struct printer *p, const struct module *m)
{
	size_t n;
	const struct atom **dim = module_dims(m, &n);

	for (size_t i = 0; i < n; i++) {
		put_fmt(p, "dim #%u = ", atom_number(p, dim[i]));
		put_expr(p, dim[i]->a);
		put(p, "\n");
	}
}

static void put_func(struct printer *p, const struct module *m)
{
	const struct op *f = m->func;
	const struct block *b = op_body(f);

	put_fmt(p, "func @%s", name_text(p->c, m->name ? m->name : "main"));
	put_args(p, b);
	put(p, " -> (");
	if (b->last && b->last->code == OP_core_return)
		for (unsigned i = 0; i < b->last->n_in; i++) {
			const struct value *v = b->last->in[i].val;

			put(p, i ? ", " : "");
			put_type(p, v ? v->type : type_none(p->c));
		}
	put(p, ")");
	if (f->n_attr)
		put(p, " with");
	put_attrs(p, f);
	put_body(p, b);
	put(p, "\n");
}

static void printer_init(struct printer *p, struct ctx *c)
{
	*p = (struct printer){ .c = c };
	p->names = (struct expr_names){ atom_number, p };
	put(p, "");
}

static char *printer_done(struct printer *p)
{
	map_free(&p->values);
	map_free(&p->ivs);
	map_free(&p->dims);
	return p->s;
}

char *module_print(const struct module *m)
{
	struct printer p;

	printer_init(&p, m->ctx);
	put_definitions(&p, m);
	put_func(&p, m);
	return printer_done(&p);
}

char *op_print(struct ctx *c, const struct op *op)
{
	struct printer p;

	printer_init(&p, c);
	put_op(&p, op);
	return printer_done(&p);
}

/* ---- the sidecar ---------------------------------------------------- */

struct blob_writer {
	struct printer out;
	struct map seen;
};

static void write_op_blobs(void *arg, struct op *op)
{
	static const char zero[8];
	struct blob_writer *w = arg;

	for (unsigned i = 0; i < op->n_attr; i++) {
		const struct attr *a = op->attr[i].val;

		if (a->kind != AT_TENSOR || is_dense(&w->out, a))
			continue;
		const struct blob *b = &a->tensor.blob;
		uint64_t head[2] = { fnv_bytes(FNV_INIT, b->data, b->size),
				     b->size };

		if (map_get(&w->seen, head[0]))
			continue;
		map_put(&w->seen, head[0], (void *)a);
		put_bytes(&w->out, (const char *)head, sizeof(head));
		put_bytes(&w->out, b->data, b->size);
		put_bytes(&w->out, zero, (0 - b->size) % 8);
	}
}

char *module_blobs(const struct module *m, size_t *size)
{
	struct blob_writer w = { .out = { .c = m->ctx } };

	put(&w.out, TEXT_BLOB_MAGIC);
	block_walk(op_body(m->func), write_op_blobs, &w);
	map_free(&w.seen);
	*size = w.out.n;
	return w.out.s;
}
