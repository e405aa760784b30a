/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads PTX text: variables, functions, and their statements.
 *
 * Names live in scopes, since inline assembly declares registers and labels
 * in braces; `%r<10>` declares a family of which `%r7` is one.
 */
#define _GNU_SOURCE
#include "ptx.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void parse_fail(struct parser *p, const char *fmt, ...)
{
	va_list ap;
	char buf[400];

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	note("ptx line %u: %s", p->line, buf);
	p->n_errors++;
	longjmp(p->fail, 1);
}

static void skip(struct parser *p)
{
	for (;;) {
		if (*p->p == '\n') {
			p->line++;
			p->p++;
		} else if (isspace((unsigned char)*p->p)) {
			p->p++;
		} else if (p->p[0] == '/' && p->p[1] == '/') {
			p->p += strcspn(p->p, "\n");
		} else if (p->p[0] == '/' && p->p[1] == '*') {
			for (p->p += 2; *p->p && strncmp(p->p, "*/", 2);)
				p->line += *p->p++ == '\n';
			p->p += *p->p ? 2 : 0;
		} else {
			return;
		}
	}
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%';
}

static char *keep(struct parser *p, const char *s, size_t n)
{
	char *t = mod_alloc(p->mod, n + 1);

	memcpy(t, s, n);
	t[n] = 0;
	return t;
}

/* A name, a directive or an opcode with its modifiers. */
static const char *word(struct parser *p)
{
	skip(p);
	const char *s = p->p;
	bool dots = *s == '.' || *s == '%';

	while (is_word(*p->p) || (dots && *p->p == '.'))
		p->p++;
	return keep(p, s, (size_t)(p->p - s));
}

static const char *opcode(struct parser *p)
{
	skip(p);
	const char *s = p->p;

	while (is_word(*p->p) || *p->p == '.' ||
	       (*p->p == ':' && p->p[1] == ':') ||
	       (*p->p == ':' && p->p[-1] == ':'))
		p->p++;
	return keep(p, s, (size_t)(p->p - s));
}

static bool accept(struct parser *p, char c)
{
	skip(p);
	if (*p->p != c)
		return false;
	p->p++;
	return true;
}

static void expect(struct parser *p, char c)
{
	if (!accept(p, c))
		parse_fail(p, "expected '%c' before '%.20s'", c, p->p);
}

static uint32_t hash_of(const struct scope *s, const char *name)
{
	uint32_t h = (uint32_t)((uintptr_t)s >> 4) * 2654435761u;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return (h ^ h >> 15) % 1024;
}

static struct sym *sym_in(struct parser *p, struct scope *s, const char *name)
{
	struct sym *y = p->hash[hash_of(s, name)];

	while (y && (y->scope != s || strcmp(y->name, name)))
		y = y->next;
	return y;
}

struct sym *sym_find(struct parser *p, struct scope *s, const char *name)
{
	char prefix[128];
	size_t n = strlen(name);
	bool family;

	while (n && isdigit((unsigned char)name[n - 1]))
		n--;
	family = name[n] && n < sizeof(prefix);
	if (family) {
		memcpy(prefix, name, n);
		prefix[n] = 0;
	}
	for (; s; s = s->up) {
		struct sym *y = sym_in(p, s, name);

		if (y && y->kind != SYM_REGS)
			return y;
		if (!family)
			continue;
		y = sym_in(p, s, prefix);
		if (y && y->kind == SYM_REGS)
			return y;
	}
	return NULL;
}

static struct sym *sym_add(struct parser *p, const char *name,
			   enum sym_kind kind)
{
	struct sym *y = sym_in(p, p->scope, name);
	uint32_t h = hash_of(p->scope, name);

	if (y && kind == SYM_FUNC)
		return y;
	y = mod_alloc(p->mod, sizeof(*y));
	y->name = name;
	y->scope = p->scope;
	y->kind = kind;
	y->next = p->hash[h];
	p->hash[h] = y;
	return y;
}

static uint32_t slot_bytes(char width)
{
	switch (width) {
	case 'p': return 4;
	case 'q': return 8 * LANES;
	case 'o': return 16 * LANES;
	default: return 4 * LANES;
	}
}

uint32_t reg_new(struct parser *p, char width)
{
	uint32_t slot = p->reg_top;

	/* Vector registers begin at a cache line. */
	if (width != 'p')
		slot = (slot + 63) & ~63u;
	p->reg_top = slot + slot_bytes(width);
	return slot;
}

/* The width letter of a type, 0 if it is none, and its bytes. */
static char type_width(const char *t, uint32_t *bytes)
{
	uint32_t bits;

	if (!strcmp(t, ".pred")) {
		*bytes = 1;
		return 'p';
	}
	if (!strcmp(t, ".f16x2") || !strcmp(t, ".bf16x2")) {
		*bytes = 4;
		return 'w';
	}
	t += strcspn(t, "0123456789");
	bits = (uint32_t)atoi(t);
	*bytes = bits / 8;
	switch (bits) {
	case 8:
	case 16: return 'h';
	case 32: return 'w';
	case 64: return 'q';
	case 128: return 'o';
	default: return 0;
	}
}

static void declare_regs(struct parser *p)
{
	uint32_t bytes, n;
	char width = type_width(word(p), &bytes);

	if (!width)
		parse_fail(p, "unknown type of a register");
	do {
		const char *name = word(p);
		struct sym *y;

		if (accept(p, '<')) {
			y = sym_add(p, name, SYM_REGS);
			n = y->count =
				(uint32_t)strtoul(p->p, (char **)&p->p, 10);
			expect(p, '>');
			y->value = reg_new(p, width);
			p->reg_top += slot_bytes(width) * (n ? n - 1 : 0);
		} else {
			y = sym_add(p, name, SYM_REG);
			y->value = reg_new(p, width);
		}
		y->width = width;
	} while (accept(p, ','));
	expect(p, ';');
}

static uint64_t number(struct parser *p, enum opnd_kind *kind)
{
	bool minus = accept(p, '-');
	uint64_t v;
	const char *s;

	skip(p);
	s = p->p;
	*kind = O_INT;
	if (s[0] == '0' && (s[1] == 'f' || s[1] == 'F')) {
		*kind = O_FLOAT;
		v = strtoull(s + 2, (char **)&p->p, 16);
		return minus ? v ^ 0x80000000u : v;
	}
	if (s[0] == '0' && (s[1] == 'd' || s[1] == 'D')) {
		*kind = O_DOUBLE;
		v = strtoull(s + 2, (char **)&p->p, 16);
		return minus ? v ^ 1ull << 63 : v;
	}
	if (s[0] == '0' && (s[1] == 'b' || s[1] == 'B'))
		v = strtoull(s + 2, (char **)&p->p, 2);
	else
		v = strtoull(s, (char **)&p->p, 0);
	if (p->p == s)
		parse_fail(p, "expected a number before '%.20s'", s);
	if (*p->p == '.' || *p->p == 'e') {
		double d = strtod(s, (char **)&p->p);

		*kind = O_DOUBLE;
		memcpy(&v, &d, 8);
		return minus ? v ^ 1ull << 63 : v;
	}
	if (*p->p == 'U')
		p->p++;
	return minus ? -v : v;
}

/* Initial values: numbers and addresses of variables, in nested braces. */
static void initialise(struct parser *p, unsigned char **at, unsigned char *end,
		       uint32_t bytes)
{
	if (accept(p, '{')) {
		do
			initialise(p, at, end, bytes);
		while (accept(p, ','));
		expect(p, '}');
		return;
	}
	skip(p);
	uint64_t v;
	enum opnd_kind kind;

	if (is_word(*p->p) && !isdigit((unsigned char)*p->p)) {
		const char *name = word(p);
		struct sym *y;

		if (!strcmp(name, "generic")) {
			expect(p, '(');
			name = word(p);
			expect(p, ')');
		}
		y = sym_find(p, p->scope, name);
		if (!y)
			parse_fail(p, "unknown name '%s'", name);
		v = y->value;
		if (accept(p, '+'))
			v += number(p, &kind);
	} else {
		v = number(p, &kind);
		if (kind == O_DOUBLE && bytes == 4) {
			double d;
			float f;

			memcpy(&d, &v, 8);
			f = (float)d;
			memcpy(&v, &f, 4);
		}
	}
	if (*at + bytes > end)
		parse_fail(p, "too many initial values");
	memcpy(*at, &v, bytes);
	*at += bytes;
}

static uint32_t place(uint32_t *top, uint64_t size, uint32_t align)
{
	uint32_t at = (*top + align - 1) & ~(align - 1);

	*top = at + (uint32_t)size;
	return at;
}

static void var_place(struct parser *p, struct sym *y, uint32_t align,
		      bool is_extern)
{
	struct var *v;

	switch (y->space) {
	case SP_SHARED:
		/* The dynamic part begins where the static part ends. */
		if (is_extern) {
			y->value = UINT64_MAX;
			if (align > p->dyn_align)
				p->dyn_align = align;
		} else {
			y->value = place(p->f ? &p->f->shared_bytes
					      : &p->top_shared,
					 y->size, align);
		}
		return;
	case SP_LOCAL:
	case SP_PARAM:
		if (!p->f)
			parse_fail(p, "'%s' outside a function", y->name);
		y->space = SP_LOCAL;
		y->value = place(&p->f->local_bytes, y->size,
				 align < 16 ? 16 : align);
		return;
	default:
		v = mod_alloc(p->mod, sizeof(*v));
		v->name = y->name;
		v->size = y->size;
		y->value = v->addr = mem_alloc(y->size, true);
		memset(mem_range(y->value, y->size), 0, y->size);
		v->next = p->mod->vars;
		p->mod->vars = v;
	}
}

/* `.space .align n .type name[n][m] = {..}, ..;` after the space. */
static void declare_vars(struct parser *p, enum space space, bool is_extern)
{
	uint32_t align = 0, bytes = 0, vec = 1;
	const char *t;

	while (skip(p), *p->p == '.') {
		enum opnd_kind kind;

		t = word(p);
		if (!strcmp(t, ".align"))
			align = (uint32_t)number(p, &kind);
		else if (!strcmp(t, ".v2") || !strcmp(t, ".v4"))
			vec = (uint32_t)(t[2] - '0');
		else if (!type_width(t, &bytes) && strncmp(t, ".attribute", 10))
			parse_fail(p, "unknown type '%s'", t);
	}
	bytes *= vec;
	do {
		struct sym *y = sym_add(p, word(p), SYM_VAR);
		enum opnd_kind kind;

		y->space = space;
		y->size = bytes;
		while (accept(p, '[')) {
			y->size *= accept(p, ']') ? 0 : number(p, &kind);
			if (p->p[-1] != ']')
				expect(p, ']');
		}
		var_place(p, y,
			  align   ? align
			  : bytes ? bytes
				  : 1,
			  is_extern || !y->size);
		if (accept(p, '=')) {
			unsigned char *at = mem_range(y->value, y->size);

			if (!at)
				parse_fail(p, "no initial values here");

			initialise(p, &at, at + y->size, bytes / vec);
		}
	} while (accept(p, ','));
	expect(p, ';');
}

static void parse_opnd(struct parser *p, struct opnd *o);

static void opnd_list(struct parser *p, struct opnd *o, char end)
{
	struct opnd v[160];

	o->kind = O_VEC;
	while (!accept(p, end)) {
		if (o->n == 160)
			parse_fail(p, "too long a vector");
		memset(&v[o->n], 0, sizeof(v[0]));
		parse_opnd(p, &v[o->n++]);
		accept(p, ',');
	}
	o->v = mod_alloc(p->mod, sizeof(*v) * (size_t)(o->n ? o->n : 1));
	memcpy(o->v, v, sizeof(*v) * (size_t)o->n);
}

static void parse_address(struct parser *p, struct opnd *o)
{
	enum opnd_kind kind;
	struct opnd v[4] = { 0 };

	o->kind = O_MEM;
	for (o->n = 0; !accept(p, ']');) {
		if (o->n == 4)
			parse_fail(p, "too many parts in an address");
		parse_opnd(p, &v[o->n++]);
		while (skip(p), o->n == 1 && (*p->p == '+' || *p->p == '-')) {
			accept(p, '+');
			o->off += (int64_t)number(p, &kind);
		}
		accept(p, ',');
	}
	o->v = mod_alloc(p->mod, sizeof(v));
	memcpy(o->v, v, sizeof(v));
}

static void opnd_name(struct parser *p, struct opnd *o, const char *name)
{
	struct sym *y = sym_find(p, p->scope, name);
	size_t n;

	o->name = name;
	o->scope = p->scope;
	if (y && y->kind == SYM_REG) {
		o->kind = O_REG;
		o->width = y->width;
		o->slot = (uint32_t)y->value;
		return;
	}
	if (y && y->kind == SYM_REGS) {
		n = strlen(y->name);
		o->kind = O_REG;
		o->width = y->width;
		n = strtoul(name + n, NULL, 10);
		if (n >= y->count)
			parse_fail(p, "'%s' is not declared", name);
		o->slot = (uint32_t)(y->value + n * slot_bytes(y->width));
		return;
	}
	if (*name == '%') {
		o->kind = O_SREG;
		return;
	}
	/* A label or a function may come later. */
	o->kind = O_SYM;
}

static void parse_opnd(struct parser *p, struct opnd *o)
{
	skip(p);
	o->is_not = accept(p, '!');
	skip(p);
	if (accept(p, '{')) {
		opnd_list(p, o, '}');
	} else if (accept(p, '(')) {
		opnd_list(p, o, ')');
	} else if (accept(p, '[')) {
		parse_address(p, o);
	} else if (isdigit((unsigned char)*p->p) || *p->p == '-') {
		o->bits = number(p, &o->kind);
	} else if (*p->p == '_' && !is_word(p->p[1])) {
		p->p++;
		o->kind = O_SINK;
	} else if (is_word(*p->p)) {
		opnd_name(p, o, word(p));
		if (o->kind == O_SYM && accept(p, '+'))
			o->off = (int64_t)number(p, &(enum opnd_kind){ 0 });
	} else {
		parse_fail(p, "unexpected '%.20s'", p->p);
	}
	if (accept(p, '|')) {
		o->pair = mod_alloc(p->mod, sizeof(*o));
		parse_opnd(p, o->pair);
	}
}

static void declare_targets(struct parser *p, const char *name)
{
	struct sym *y = sym_add(p, name, SYM_TARGETS);
	const char *labels[512];

	do {
		if (y->count == 512)
			parse_fail(p, "too many branch targets");
		labels[y->count++] = word(p);
	} while (accept(p, ','));
	expect(p, ';');
	y->labels = mod_alloc(p->mod, sizeof(*labels) * y->count);
	memcpy(y->labels, labels, sizeof(*labels) * y->count);
}

static struct stmt *stmt_new(struct parser *p)
{
	if (p->n_stmts == p->cap_stmts) {
		p->cap_stmts = p->cap_stmts ? 2 * p->cap_stmts : 256;
		p->stmts = realloc(p->stmts, p->cap_stmts * sizeof(*p->stmts));
	}
	struct stmt *st = &p->stmts[p->n_stmts++];

	memset(st, 0, sizeof(*st));
	st->line = p->line;
	return st;
}

static void parse_insn(struct parser *p)
{
	skip(p);
	struct stmt *st = stmt_new(p);

	st->text = p->p;
	st->used = p->used;
	p->used = 0;
	if (accept(p, '@'))
		parse_opnd(p, &st->guard);
	st->op = opcode(p);
	if (!*st->op)
		parse_fail(p, "unexpected '%.20s'", p->p);
	while (!accept(p, ';')) {
		if (st->n == MAX_OPNDS)
			parse_fail(p, "too many operands");
		parse_opnd(p, &st->o[st->n++]);
		accept(p, ',');
	}
	st->text_len = (int)(p->p - st->text);
}

static void skip_to(struct parser *p, char c)
{
	while (*p->p && *p->p != c) {
		p->line += *p->p == '\n';
		p->p++;
	}
	accept(p, c);
}

static bool space_of(const char *t, enum space *s)
{
	static const char *const names[] = { ".generic", ".global", ".shared",
					     ".local",   ".param",  ".const" };

	for (*s = SP_GLOBAL; *s <= SP_CONST; (*s)++)
		if (!strcmp(t, names[*s]))
			return true;
	return false;
}

static void parse_block(struct parser *p);

/* A load may be wider than what its elements are, as long as it is aligned:
 * "used_bytes_mask" tells which bytes of it count. */
static void parse_pragma(struct parser *p)
{
	static const char used[] = "\"used_bytes_mask ";

	skip(p);
	if (!strncmp(p->p, used, sizeof(used) - 1))
		p->used = (uint32_t)strtoul(p->p + sizeof(used) - 1, NULL, 0);
	skip_to(p, ';');
}

static void parse_directive(struct parser *p)
{
	const char *t = word(p);
	enum space s;

	if (!strcmp(t, ".reg"))
		declare_regs(p);
	else if (space_of(t, &s))
		declare_vars(p, s, false);
	else if (!strcmp(t, ".pragma"))
		parse_pragma(p);
	else if (!strcmp(t, ".loc"))
		p->p += strcspn(p->p, "\n");
	else
		parse_fail(p, "unknown directive '%s'", t);
}

static void parse_line(struct parser *p)
{
	const char *save = p->p, *name;
	uint32_t line = p->line;

	if (accept(p, '{')) {
		parse_block(p);
		return;
	}
	if (*p->p == '.') {
		parse_directive(p);
		return;
	}
	if (is_word(*p->p)) {
		name = word(p);
		if (accept(p, ':')) {
			skip(p);
			if (!strncmp(p->p, ".branchtargets", 14)) {
				word(p);
				declare_targets(p, name);
			} else if (!strncmp(p->p, ".callprototype", 14)) {
				skip_to(p, ';');
			} else {
				sym_add(p, name, SYM_LABEL)->value = p->n_stmts;
			}
			return;
		}
		p->p = save;
		p->line = line;
	}
	parse_insn(p);
}

/* What is between braces; the first one has been read. */
static void parse_block(struct parser *p)
{
	struct scope *s = mod_alloc(p->mod, sizeof(*s));

	s->up = p->scope;
	p->scope = s;
	while (!accept(p, '}')) {
		if (!*p->p)
			parse_fail(p, "the text ends inside a function");
		if (!accept(p, ';'))
			parse_line(p);
	}
	p->scope = s->up;
}

/* Parameters in parentheses, of a function in its local memory. */
static uint32_t parse_params(struct parser *p, struct param *out)
{
	uint32_t n = 0, bytes = 0, align;
	enum opnd_kind kind;

	if (!accept(p, '('))
		return 0;
	while (!accept(p, ')')) {
		struct sym *y;
		bool is_ptr = false;

		align = 0;
		while (skip(p), *p->p == '.') {
			const char *t = word(p);
			uint32_t b;

			if (!strcmp(t, ".ptr")) {
				is_ptr = true;
			} else if (!strcmp(t, ".align")) {
				b = (uint32_t)number(p, &kind);
				if (!is_ptr)
					align = b;
			} else if (type_width(t, &b)) {
				bytes = b;
			}
		}
		y = sym_add(p, word(p), SYM_VAR);
		y->size = bytes;
		while (accept(p, '[')) {
			y->size *= number(p, &kind);
			expect(p, ']');
		}
		align = align ? align : bytes;
		if (n == 512)
			parse_fail(p, "too many parameters");
		if (p->f->is_entry) {
			y->space = SP_PARAM;
			y->value = place(&p->f->param_bytes, y->size, align);
		} else {
			y->space = SP_LOCAL;
			y->value = place(&p->f->local_bytes, y->size, 16);
		}
		out[n++] =
			(struct param){ (uint32_t)y->value, (uint32_t)y->size };
		accept(p, ',');
	}
	return n;
}

static void parse_performance(struct parser *p, struct func *f)
{
	const char *t = word(p);
	enum opnd_kind kind;
	uint32_t v[3] = { 1, 1, 1 };
	int n = 0;

	skip(p);
	if (*p->p == '"') {
		skip_to(p, ';');
		return;
	}
	while (skip(p), isdigit((unsigned char)*p->p)) {
		if (n < 3)
			v[n++] = (uint32_t)number(p, &kind);
		accept(p, ',');
	}
	if (!strcmp(t, ".maxntid"))
		f->max_threads = v[0] * v[1] * v[2];
	if (!strcmp(t, ".reqntid"))
		memcpy(f->req, v, sizeof(v));
}

static struct func *func_named(struct parser *p, const char *name)
{
	struct sym *y = sym_add(p, name, SYM_FUNC);

	if (!y->func) {
		y->func = mod_alloc(p->mod, sizeof(*y->func));
		y->func->name = name;
		y->func->mod = p->mod;
		y->func->next = p->mod->funcs;
		p->mod->funcs = y->func;
	}
	return y->func;
}

static void parse_func(struct parser *p, bool is_entry)
{
	struct param ret[1], params[512];
	struct scope scope = { .up = &p->top }, *s;
	struct func *f, nothing = { 0 };
	struct parser save;
	uint32_t n_ret = 0;

	s = mod_alloc(p->mod, sizeof(*s));
	*s = scope;
	p->f = &nothing;
	skip(p);
	save = *p;
	/* The name comes after the result, whose place is in the function. */
	if (*p->p == '(')
		skip_to(p, ')');
	f = func_named(p, word(p));
	p->p = save.p;
	p->line = save.line;
	f->is_entry = is_entry;
	f->local_bytes = f->param_bytes = 0;
	f->shared_bytes = p->top_shared;
	p->f = f;
	p->scope = s;
	n_ret = parse_params(p, ret);
	word(p);
	f->n_params = parse_params(p, params);
	f->params = mod_alloc(p->mod, sizeof(*params) * (f->n_params + 1));
	memcpy(f->params, params, sizeof(*params) * f->n_params);
	if (n_ret)
		f->ret = ret[0];
	while (skip(p), *p->p == '.')
		parse_performance(p, f);
	if (accept(p, '{')) {
		p->n_stmts = 0;
		p->reg_top = 64;
		parse_block(p);
		decode_func(p);
		f->is_defined = true;
		/* Variables of what is called lie before those of callers. */
		if (!is_entry)
			p->top_shared = f->shared_bytes;
	} else {
		accept(p, ';');
	}
	p->scope = &p->top;
	p->f = NULL;
}

static void skip_section(struct parser *p)
{
	skip_to(p, '{');
	skip_to(p, '}');
}

static void parse_top(struct parser *p)
{
	const char *t = word(p);
	bool is_extern = false;
	enum space s;

	while (!strcmp(t, ".visible") || !strcmp(t, ".weak") ||
	       !strcmp(t, ".extern") || !strcmp(t, ".common")) {
		is_extern |= !strcmp(t, ".extern");
		t = word(p);
	}
	if (!strcmp(t, ".version") || !strcmp(t, ".target") ||
	    !strcmp(t, ".address_size") || !strcmp(t, ".file"))
		p->p += strcspn(p->p, "\n");
	else if (!strcmp(t, ".entry") || !strcmp(t, ".func"))
		parse_func(p, t[1] == 'e');
	else if (space_of(t, &s))
		declare_vars(p, s, is_extern);
	else if (!strcmp(t, ".section"))
		skip_section(p);
	else if (!strcmp(t, ".pragma"))
		skip_to(p, ';');
	else
		parse_fail(p, "unexpected '%s%.20s'", t, p->p);
}

void parse_module(struct parser *p)
{
	p->scope = &p->top;
	p->dyn_align = 16;
	while (skip(p), *p->p)
		parse_top(p);
}
