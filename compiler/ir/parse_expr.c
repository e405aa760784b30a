/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens and index expressions of .dl text. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "ir/parse.h"

enum { MAX_DEGREE = 64 };

bool parse_error(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	if (p->failed)
		return false;
	va_start(ap, fmt);
	const char *text = arena_vfmt(&p->c->temp, fmt, ap);
	va_end(ap);
	p->failed = true;
	return diag_error(&p->c->diag, EXIT_MODEL, &p->at, "%s", text);
}

/* ---- tokens --------------------------------------------------------- */

static int peek(const struct parser *p)
{
	return p->p < p->end ? (unsigned char)*p->p : -1;
}

static bool is_word(int ch)
{
	return ch > 0 && ch < 128 && (isalnum(ch) || ch == '_');
}

static void skip_blank(struct parser *p)
{
	for (; p->p < p->end; p->p++) {
		if (*p->p == '\n') {
			p->line++;
			p->line_start = p->p + 1;
		} else if (*p->p == '/' && p->p + 1 < p->end &&
			   p->p[1] == '/') {
			while (p->p + 1 < p->end && p->p[1] != '\n')
				p->p++;
		} else if (*p->p != ' ' && *p->p != '\t' && *p->p != '\r') {
			return;
		}
	}
}

static void lex_word(struct parser *p, enum token tok)
{
	const char *s = p->p;

	while (is_word(peek(p)))
		p->p++;
	p->tok = tok;
	p->len = (size_t)(p->p - s);
	p->text = ctx_intern(p->c, s, p->len);
}

static void lex_number(struct parser *p)
{
	const char *s = p->p;
	char buf[64], *stop;
	bool real = false;

	p->hex = s + 1 < p->end && s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	for (; is_word(peek(p)) || peek(p) == '.' ||
	       ((peek(p) == '-' || peek(p) == '+') && !p->hex &&
		(p->p[-1] == 'e' || p->p[-1] == 'E'));
	     p->p++)
		real |= !p->hex &&
			(*p->p == '.' || *p->p == 'e' || *p->p == 'E');
	size_t n = (size_t)(p->p - s);

	if (n >= sizeof(buf)) {
		parse_error(p, "number is too long");
		return;
	}
	memcpy(buf, s, n);
	buf[n] = '\0';
	p->tok = real ? TOK_FLOAT : TOK_INT;
	p->huge = false;
	if (real) {
		p->d = strtod(buf, &stop);
	} else {
		unsigned base = p->hex ? 16 : 10;

		p->u = 0;
		for (stop = buf + (p->hex ? 2 : 0); isxdigit((uint8_t)*stop);
		     stop++) {
			unsigned digit = *stop <= '9'
						 ? (unsigned)*stop - '0'
						 : (*stop | 32u) - 'a' + 10;

			if (digit >= base)
				break;
			p->huge |= p->u > (UINT64_MAX - digit) / base;
			p->u = p->u * base + digit;
		}
	}
	if (*stop || stop == buf + (p->hex ? 2 : 0))
		parse_error(p, "'%s' is not a number", buf);
}

static int hex_digit(int ch)
{
	return ch >= '0' && ch <= '9' ? ch - '0'
	       : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
	       : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
					: -1;
}

static void lex_string(struct parser *p)
{
	const char *s = ++p->p;
	size_t n = 0;

	while (p->p < p->end && *p->p != '"' && *p->p != '\n')
		p->p += *p->p == '\\' && p->p + 1 < p->end ? 2 : 1;
	if (p->p >= p->end || *p->p != '"') {
		parse_error(p, "string does not end on its line");
		return;
	}
	char *buf = arena_alloc(&p->c->temp, (size_t)(p->p - s) + 1);

	for (; s < p->p; s++) {
		char ch = *s;

		if (ch == '\\' && (s[1] == '\\' || s[1] == '"')) {
			ch = *++s;
		} else if (ch == '\\') {
			int hi = p->p - s > 3 && s[1] == 'x' ? hex_digit(s[2])
							     : -1;
			int lo = hi < 0 ? -1 : hex_digit(s[3]);

			if (lo < 0) {
				parse_error(p, "unknown escape in a string");
				return;
			}
			ch = (char)(hi << 4 | lo);
			s += 3;
		}
		buf[n++] = ch;
	}
	p->p++;
	p->tok = TOK_STR;
	p->text = buf;
	p->len = n;
}

void parse_next(struct parser *p)
{
	skip_blank(p);
	p->at.line = p->line;
	p->at.col = (unsigned)(p->p - p->line_start) + 1;
	p->tok = TOK_END;
	p->punct = 0;
	p->text = "";
	if (p->failed || p->p >= p->end)
		return;
	int ch = peek(p);

	if (ch >= '0' && ch <= '9') {
		lex_number(p);
	} else if (is_word(ch)) {
		lex_word(p, TOK_WORD);
	} else if (ch == '"') {
		lex_string(p);
	} else if (ch == '%') {
		p->p++;
		lex_word(p, TOK_VALUE);
		if (!p->len)
			parse_error(p, "'%%' is not followed by a name");
	} else if (ch > 0x20 && ch < 0x7f) {
		p->p++;
		p->tok = TOK_PUNCT;
		p->punct = ch;
	} else {
		parse_error(p, "unexpected byte 0x%02x", (unsigned)ch);
	}
	if (p->failed)
		p->tok = TOK_END;
}

bool parse_accept(struct parser *p, int punct)
{
	if (p->tok != TOK_PUNCT || p->punct != punct)
		return false;
	parse_next(p);
	return true;
}

bool parse_expect(struct parser *p, int punct)
{
	return parse_accept(p, punct) ||
	       parse_error(p, "expected '%c'", punct);
}

bool parse_accept_word(struct parser *p, const char *word)
{
	if (p->tok != TOK_WORD || strcmp(p->text, word) != 0)
		return false;
	parse_next(p);
	return true;
}

bool parse_enter(struct parser *p)
{
	return ++p->depth <= TEXT_DEPTH_MAX ||
	       parse_error(p, "nested too deeply");
}

void parse_leave(struct parser *p)
{
	p->depth--;
}

struct name *parse_name_find(struct map *m, const char *text)
{
	return map_get(m, (uint64_t)(uintptr_t)text);
}

struct name *parse_name_new(struct parser *p, struct map *m, const char *text)
{
	struct name *n = parse_name_find(m, text);

	if (n && (n->val || n->iv)) {
		parse_error(p, "'%s' is defined twice", text);
		return NULL;
	}
	n = NEW(&p->c->temp, struct name);
	n->text = text;
	map_put(m, (uint64_t)(uintptr_t)text, n);
	n->next = p->scope;
	p->scope = n;
	return n;
}

/* ---- expressions ---------------------------------------------------- */

static const struct expr *checked(struct parser *p, const struct expr *e)
{
	if (expr_is_poison(e)) {
		parse_error(p, "the expression is too large");
		return NULL;
	}
	/* Powers are multiplied out: a bound keeps hostile text cheap. */
	if (e->n && e->term[e->n - 1].n > MAX_DEGREE) {
		parse_error(p, "the expression has a degree above %d",
			    MAX_DEGREE);
		return NULL;
	}
	return e;
}

/* "<extent>" after a run-time scalar; *ok is false after an error. */
static const struct expr *extent(struct parser *p, bool *ok)
{
	const struct expr *e = NULL;

	*ok = true;
	if (parse_accept(p, '<')) {
		e = parse_expr(p);
		*ok = e && parse_expect(p, '>');
	}
	return e;
}

static const struct expr *symbol(struct parser *p, bool is_signed)
{
	struct ctx *c = p->c;
	const char *name = p->text, *digits = "0123456789";

	if (p->tok != TOK_WORD && p->tok != TOK_STR) {
		parse_error(p, "expected an expression");
		return NULL;
	}
	if (!*name || strlen(name) != p->len) {
		parse_error(p, "a symbol needs a name without NUL bytes");
		return NULL;
	}
	/* Fresh symbols of inference are "v<n>"; keep them apart. */
	if (is_signed && *name == 'v' && strlen(name) < 10 &&
	    strspn(name + 1, digits) == strlen(name + 1)) {
		uint32_t k = (uint32_t)strtoul(name + 1, NULL, 10);

		if (k > c->n_syms)
			c->n_syms = k;
	}
	const struct expr *e = is_signed ? expr_sym_signed(c, name)
					 : expr_sym(c, name);

	parse_next(p);
	return e;
}

static const struct expr *call(struct parser *p, enum atom_kind kind)
{
	struct ctx *c = p->c;
	const struct expr *a, *b;
	int64_t k;

	parse_next(p);
	if (!parse_expect(p, '(') || !(a = parse_expr(p)) ||
	    !parse_expect(p, ',') || !(b = parse_expr(p)) ||
	    !parse_expect(p, ')'))
		return NULL;
	if (kind == ATOM_MIN)
		return expr_min(c, a, b);
	if (kind == ATOM_MAX)
		return expr_max(c, a, b);
	if (expr_is_const(b, &k) && k <= 0) {
		parse_error(p, "division by %lld", (long long)k);
		return NULL;
	}
	return kind == ATOM_DIV ? expr_div(c, a, b) : expr_mod(c, a, b);
}

static const struct expr *word(struct parser *p)
{
	static const struct {
		const char *name;
		enum atom_kind kind;
	} fn[] = { { "div", ATOM_DIV }, { "mod", ATOM_MOD },
		   { "min", ATOM_MIN }, { "max", ATOM_MAX } };
	const char *s = p->text;

	for (size_t i = 0; i < ARRAY_SIZE(fn); i++)
		if (!strcmp(s, fn[i].name))
			return call(p, fn[i].kind);
	if (!strcmp(s, "poison")) {
		parse_error(p, "the expression overflowed");
		return NULL;
	}
	if (*s != 'i' || !s[1] || strspn(s + 1, "0123456789") != p->len - 1)
		return symbol(p, false);
	struct name *n = parse_name_find(&p->ivs, s);

	if (!n || !n->iv) {
		parse_error(p, "no open block has the iteration variable %s",
			    s);
		return NULL;
	}
	parse_next(p);
	return n->iv;
}

static const struct expr *value_atom(struct parser *p)
{
	struct name *n = parse_name_find(&p->values, p->text);
	bool ok;

	if (!n || !n->val) {
		parse_error(p, "%%%s is not defined here", p->text);
		return NULL;
	}
	parse_next(p);
	const struct expr *e = extent(p, &ok);

	return ok ? expr_val(p->c, n->val, e) : NULL;
}

static const struct expr *arg_atom(struct parser *p)
{
	uint64_t k = p->u;
	bool ok;

	if (p->tok != TOK_INT || p->huge || k > UINT16_MAX) {
		parse_error(p, "'$' is not followed by an operand's number");
		return NULL;
	}
	parse_next(p);
	const struct expr *e = extent(p, &ok);

	return ok ? expr_arg(p->c, (unsigned)k, e) : NULL;
}

static const struct expr *computed_dim(struct parser *p)
{
	if (p->tok != TOK_INT || p->huge || p->u >= p->dims.n) {
		parse_error(p, "'#' is not followed by the number of a dim "
			       "that is defined");
		return NULL;
	}
	const struct expr *e = p->dims.v[p->u];

	parse_next(p);
	return e;
}

static const struct expr *factor(struct parser *p, bool negative)
{
	const struct expr *e = NULL;

	if (p->tok == TOK_INT) {
		uint64_t max = (uint64_t)INT64_MAX + negative;

		if (p->huge || p->u > max) {
			parse_error(p, "number does not fit 64 bits");
			return NULL;
		}
		e = expr_const(p->c, (int64_t)(negative ? 0 - p->u : p->u));
		parse_next(p);
		return e;
	}
	if (p->tok == TOK_WORD)
		e = word(p);
	else if (p->tok == TOK_VALUE)
		e = value_atom(p);
	else if (parse_accept(p, '$'))
		e = arg_atom(p);
	else if (parse_accept(p, '#'))
		e = computed_dim(p);
	else if (parse_accept(p, '~'))
		e = symbol(p, true);
	else if (parse_accept(p, '('))
		e = (e = parse_expr(p)) && parse_expect(p, ')') ? e : NULL;
	else
		e = symbol(p, false);
	return e && negative ? expr_scale(p->c, e, -1) : e;
}

static const struct expr *product(struct parser *p, bool negative)
{
	const struct expr *e = factor(p, negative), *f;

	while (e && parse_accept(p, '*')) {
		f = factor(p, false);
		e = f ? checked(p, expr_mul(p->c, e, f)) : NULL;
	}
	return e ? checked(p, e) : NULL;
}

const struct expr *parse_expr(struct parser *p)
{
	const struct expr *sum, *t;

	if (!parse_enter(p))
		return NULL;
	sum = product(p, parse_accept(p, '-'));
	while (sum) {
		bool minus = parse_accept(p, '-');

		if (!minus && !parse_accept(p, '+'))
			break;
		t = product(p, minus);
		sum = t ? checked(p, expr_add(p->c, sum, t)) : NULL;
	}
	parse_leave(p);
	return sum;
}
