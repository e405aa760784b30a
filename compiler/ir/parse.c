/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module from .dl text.  Every type is written in the text; those of ONNX
 * ops are compared with what the op's record infers before anything is
 * computed from them, and the whole module is verified at the end, so text
 * from anywhere either gives a sound module or one error.
 */
#include "ir/parse.h"

#include <stdio.h>
#include <string.h>

#include "base/vec.h"
#include "ir/eval.h"

enum { MAX_PORTS_TEXT = UINT16_MAX };

struct value_vec {
	struct value **v;
	size_t n, cap;
};
struct text_vec {
	const char **v;
	size_t n, cap;
};

/* ---- values --------------------------------------------------------- */

static bool value_details(struct parser *p, struct value *v)
{
	v->type = parse_type(p);
	if (!v->type)
		return false;
	if (p->tok == TOK_STR) {
		v->name = ctx_intern(p->c, p->text, p->len);
		parse_next(p);
	}
	if (!parse_accept_word(p, "layout"))
		return true;
	if (v->type->kind != TY_TENSOR)
		return parse_error(p, "only a tensor has a layout");
	v->layout = parse_layout(p, v->type);
	return v->layout;
}

/* "%x, %y, none" up to the closing parenthesis. */
static bool operands(struct parser *p, struct value_vec *in)
{
	if (!parse_accept(p, '('))
		return true;
	while (!parse_accept(p, ')')) {
		struct value *v = NULL;

		if (in->n && !parse_expect(p, ','))
			return false;
		if (!parse_accept_word(p, "none")) {
			if (p->tok != TOK_VALUE)
				return parse_error(p, "expected a value");
			struct name *n = parse_name_find(&p->values, p->text);

			if (!n || !n->val)
				return parse_error(p, "%%%s is not defined "
						      "here", p->text);
			v = n->val;
			parse_next(p);
		}
		if (in->n == MAX_PORTS_TEXT)
			return parse_error(p, "too many operands");
		vec_push(in, v);
	}
	return true;
}

static bool result_names(struct parser *p, struct text_vec *out)
{
	while (p->tok == TOK_VALUE) {
		if (out->n == MAX_PORTS_TEXT)
			return parse_error(p, "too many results");
		vec_push(out, p->text);
		parse_next(p);
		if (!parse_accept(p, ','))
			return parse_expect(p, '=');
	}
	return !out->n || parse_error(p, "expected a value");
}

/* Results get their types, then their names are visible. */
static bool results(struct parser *p, struct op *op,
		    const struct text_vec *names)
{
	for (unsigned i = 0; i < op->n_out; i++)
		if (!parse_expect(p, i ? ',' : ':') ||
		    !value_details(p, &op->out[i]))
			return false;
	for (unsigned i = 0; i < op->n_out; i++) {
		struct name *n = parse_name_new(p, &p->values, names->v[i]);

		if (!n)
			return false;
		n->val = &op->out[i];
	}
	return true;
}

static bool arguments(struct parser *p, struct block *b)
{
	if (!parse_expect(p, '('))
		return false;
	while (!parse_accept(p, ')')) {
		struct value *v;
		struct name *n;

		if (b->n_arg && !parse_expect(p, ','))
			return false;
		if (p->tok != TOK_VALUE)
			return parse_error(p, "expected a value");
		if (b->n_arg == MAX_PORTS_TEXT)
			return parse_error(p, "too many arguments");
		n = parse_name_new(p, &p->values, p->text);
		if (!n)
			return false;
		parse_next(p);
		v = block_add_arg(p->c, b, type_none(p->c), NULL);
		if (!parse_expect(p, ':') || !value_details(p, v))
			return false;
		n->val = v;
	}
	return true;
}

/* ---- ops ------------------------------------------------------------ */

static bool block_body(struct parser *p, struct block *b);

static bool iteration_variables(struct parser *p, struct block *b)
{
	while (!parse_accept(p, ']')) {
		const struct expr *extent;
		const char *s;
		struct name *n;

		if (b->n_iv && !parse_expect(p, ','))
			return false;
		s = p->text;
		if (p->tok != TOK_WORD || *s != 'i' || !s[1] ||
		    strspn(s + 1, "0123456789") != p->len - 1)
			return parse_error(p, "expected an iteration variable");
		if (b->n_iv == 2 * MAX_RANK)
			return parse_error(p, "too many iteration variables");
		n = parse_name_new(p, &p->ivs, s);
		if (!n)
			return false;
		parse_next(p);
		if (!parse_expect(p, '<') || !(extent = parse_expr(p)))
			return false;
		n->iv = block_add_iv(p->c, b, extent);
	}
	return true;
}

/* The names of the block go out of sight; they are added to *closed. */
static void close_block(struct parser *p, struct name **closed)
{
	for (struct name *n = p->scope, *next; n; n = next) {
		next = n->next;
		n->closed = n->iv;
		n->val = NULL;
		n->iv = NULL;
		n->next = *closed;
		*closed = n;
	}
	p->scope = NULL;
}

/* "with {...}" after the regions: attributes over their variables. */
static bool late_attrs(struct parser *p, struct op *op, struct name *closed)
{
	struct named_attr *attr = NULL;
	unsigned n = 0;
	bool ok;

	if (!parse_accept_word(p, "with"))
		return true;
	if (op->n_attr)
		return parse_error(p, "the op has its attributes already");
	for (struct name *k = closed; k; k = k->next)
		if (k->closed) {
			k->iv = k->closed;
			map_put(&p->ivs, (uint64_t)(uintptr_t)k->text, k);
		}
	ok = parse_attrs(p, op->code, &n, &attr);
	for (struct name *k = closed; k; k = k->next)
		k->iv = NULL;
	op->n_attr = (uint16_t)n;
	op->attr = attr;
	return ok;
}

static bool region(struct parser *p, struct op *op, struct name **closed)
{
	struct name *outer = p->scope;
	struct block *b;
	bool ok;

	if (op->n_region == TEXT_REGIONS_MAX)
		return parse_error(p, "too many regions");
	if (!op->n_region)
		op->region = NEW_ARRAY(&p->c->perm, TEXT_REGIONS_MAX,
				       struct region);
	op->region[op->n_region].parent = op;
	b = block_new(p->c, &op->region[op->n_region]);
	op->region[op->n_region++].block = b;
	p->scope = NULL;
	ok = parse_enter(p) && iteration_variables(p, b) &&
	     ((p->tok == TOK_PUNCT && p->punct == '{') || arguments(p, b)) &&
	     block_body(p, b);
	close_block(p, closed);
	p->scope = outer;
	parse_leave(p);
	return ok;
}

/* "onnx.Softmax": the dialect, a dot, the name. */
static bool opcode_name(struct parser *p, enum opcode *code)
{
	const char *dialect = p->text, *s;

	if (p->tok != TOK_WORD)
		return parse_error(p, "expected an op");
	parse_next(p);
	if (!parse_expect(p, '.'))
		return false;
	s = arena_fmt(&p->c->temp, "%s.%s", dialect, p->text);
	if (p->tok != TOK_WORD || !op_find_text(s, code))
		return parse_error(p, "there is no op %s", s);
	parse_next(p);
	return true;
}

static const struct loc *location(struct parser *p, struct loc at,
				  enum opcode code)
{
	struct loc *l = NEW(&p->c->perm, struct loc);

	*l = at;
	l->op = op_defs[code]->domain
			? op_defs[code]->name
			: ctx_intern(p->c, op_name(p->c, code),
				     strlen(op_name(p->c, code)));
	return l;
}

static bool node_name(struct parser *p, struct loc *l)
{
	if (!parse_accept(p, '@'))
		return true;
	if (p->tok != TOK_STR)
		return parse_error(p, "expected a node's name");
	l->name = ctx_intern(p->c, p->text, p->len);
	parse_next(p);
	return true;
}

/* What the parts of one op line say; op->out keeps what is read last. */
static bool op_line(struct parser *p, struct block *b,
		    struct value_vec *in, struct text_vec *out)
{
	struct loc at = p->at;
	struct op_spec spec = { 0 };
	struct named_attr *attr = NULL;
	const struct type **none;

	if (!result_names(p, out))
		return false;
	if (out->n == 0)
		at = p->at;
	if (!opcode_name(p, &spec.code) || !operands(p, in) ||
	    !parse_attrs(p, spec.code, &spec.n_attr, &attr))
		return false;
	none = NEW_ARRAY(&p->c->temp, out->n + 1, const struct type *);
	for (size_t i = 0; i < out->n; i++)
		none[i] = type_none(p->c);
	spec.n_in = (unsigned)in->n;
	spec.in = in->v;
	spec.n_out = (unsigned)out->n;
	spec.out = none;
	spec.attr = attr;
	const struct loc *l = location(p, at, spec.code);
	struct builder bl = { p->c, b, NULL, l };
	struct op *op = build(&bl, &spec);
	struct name *closed = NULL;

	while (parse_accept(p, '['))
		if (!region(p, op, &closed))
			return false;
	if (!late_attrs(p, op, closed) || !results(p, op, out) ||
	    !node_name(p, (struct loc *)l))
		return false;
	if (!op_def(op)->domain && op->code != OP_core_const)
		return true;
	bool exact = true;

	if (!op_check(p->c, op, &exact)) {
		p->failed = true;
		return false;
	}
	if (exact)
		known_compute(p->c, op);
	return true;
}

static bool block_body(struct parser *p, struct block *b)
{
	if (!parse_expect(p, '{'))
		return false;
	while (!parse_accept(p, '}')) {
		struct value_vec in = { 0 };
		struct text_vec out = { 0 };
		bool ok = p->tok != TOK_END
				  ? op_line(p, b, &in, &out)
				  : parse_error(p, "a block is not closed");

		vec_free(&in);
		vec_free(&out);
		if (!ok)
			return false;
	}
	return true;
}

/* ---- modules -------------------------------------------------------- */

/* "-> (types)" must be what core.return gives. */
static bool check_return(struct parser *p, const struct module *m, size_t n,
			 const struct type *const *type)
{
	const struct op *ret = op_body(m->func)->last;

	if (!ret || ret->code != OP_core_return)
		return parse_error(p, "the function does not end in "
				      "core.return");
	if (ret->n_in != n)
		return parse_error(p, "the function returns %u values, not %zu",
				   ret->n_in, n);
	for (size_t i = 0; i < n; i++) {
		const struct value *v = ret->in[i].val;

		if ((v ? v->type : type_none(p->c)) != type[i])
			return parse_error(p, "result %zu has another type",
					   i);
	}
	return true;
}

struct type_vec {
	const struct type **v;
	size_t n, cap;
};

static bool return_types(struct parser *p, struct type_vec *types)
{
	if (!parse_expect(p, '-') || !parse_expect(p, '>') ||
	    !parse_expect(p, '('))
		return false;
	while (!parse_accept(p, ')')) {
		const struct type *t;

		if ((types->n && !parse_expect(p, ',')) || !(t = parse_type(p)))
			return false;
		vec_push(types, t);
	}
	return true;
}

static void add_level(void *arg, struct op *op)
{
	unsigned *levels = arg, l = (unsigned)op_def(op)->level;

	/* Ops that several levels share say nothing. */
	l = l ? l : LEVEL_GRAPH;
	if (l == LEVEL_GRAPH || l == LEVEL_NEST || l == LEVEL_LOOP)
		*levels |= l;
}

/* "dim #0 = expression", in the order of their numbers. */
static bool definitions(struct parser *p)
{
	while (parse_accept_word(p, "dim")) {
		const struct expr *e;

		if (!parse_expect(p, '#'))
			return false;
		if (p->tok != TOK_INT || p->huge || p->u != p->dims.n)
			return parse_error(p, "expected the number %zu",
					   p->dims.n);
		parse_next(p);
		if (!parse_expect(p, '=') || !(e = parse_expr(p)))
			return false;
		if (!expr_is_closed(e))
			return parse_error(p, "a dim is defined by dims alone");
		vec_push(&p->dims, expr_dim(p->c, e));
	}
	return true;
}

static bool function(struct parser *p, struct module *m)
{
	struct type_vec types = { 0 };
	struct named_attr *attr = NULL;
	unsigned n = 0;
	bool ok;

	if (!parse_accept_word(p, "func"))
		return parse_error(p, "expected 'func'");
	if (!parse_expect(p, '@'))
		return false;
	if (p->tok != TOK_WORD && p->tok != TOK_STR)
		return parse_error(p, "expected the function's name");
	m->name = ctx_intern(p->c, p->text, p->len);
	parse_next(p);
	ok = arguments(p, op_body(m->func)) && return_types(p, &types) &&
	     (!parse_accept_word(p, "with") ||
	      parse_attrs(p, OP_core_func, &n, &attr)) &&
	     block_body(p, op_body(m->func)) &&
	     (p->tok == TOK_END || parse_error(p, "text after the function")) &&
	     !p->failed && check_return(p, m, types.n, types.v);
	for (unsigned i = 0; i < n; i++)
		op_set_attr(p->c, m->func, attr[i].name, attr[i].val);
	vec_free(&types);
	return ok;
}

/* The whole sidecar file, kept until the compile ends. */
static bool sidecar_open(struct ctx *c, const char *path, struct blob *b)
{
	FILE *f = fopen(path, "rb");
	size_t magic = strlen(TEXT_BLOB_MAGIC);
	struct loc at = { .file = path, .node = -1 };
	long size = -1;

	if (f && !fseek(f, 0, SEEK_END))
		size = ftell(f);
	if (size >= 0 && !fseek(f, 0, SEEK_SET)) {
		char *data = arena_alloc(&c->perm, (size_t)size + 1);

		if (fread(data, 1, (size_t)size, f) == (size_t)size)
			*b = (struct blob){ data, (size_t)size };
	}
	if (f)
		fclose(f);
	if (!b->data)
		return diag_error(&c->diag, EXIT_IO, &at, "cannot be read");
	if (b->size < magic || memcmp(b->data, TEXT_BLOB_MAGIC, magic) != 0)
		return diag_error(&c->diag, EXIT_MODEL, &at,
				  "is no file of constants of dlcc");
	return true;
}

struct module *module_parse_blobs(struct ctx *c, const char *text, size_t size,
				  const char *file, const char *blobs)
{
	struct parser p = { .c = c, .p = text, .end = text + size,
			    .line_start = text, .line = 1 };
	struct module *m = module_new(c, "main");
	bool ok;

	p.file = ctx_intern(c, file, strlen(file));
	p.at = (struct loc){ .file = p.file, .node = -1, .line = 1, .col = 1 };
	if (blobs && !sidecar_open(c, blobs, &p.sidecar))
		return NULL;
	parse_next(&p);
	ok = definitions(&p) && function(&p, m) && !p.failed;
	map_free(&p.values);
	map_free(&p.ivs);
	vec_free(&p.dims);
	if (!ok)
		return NULL;
	m->levels = 0;
	block_walk(op_body(m->func), add_level, &m->levels);
	if (!m->levels)
		m->levels = LEVEL_GRAPH;
	return module_verify(m, NULL) ? m : NULL;
}

struct module *module_parse(struct ctx *c, const char *text, size_t size,
			    const char *file)
{
	return module_parse_blobs(c, text, size, file, NULL);
}
