/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files that read .dl text; nothing else includes it. */
#ifndef IR_PARSE_H
#define IR_PARSE_H

#include "ir/op.h"
#include "ir/text.h"

enum token {
	TOK_END,
	TOK_WORD,	/* letters, digits, underscores */
	TOK_INT,
	TOK_FLOAT,
	TOK_STR,
	TOK_VALUE,	/* %name */
	TOK_PUNCT,
};

/* What a value or iteration variable name stands for in open blocks. */
struct name {
	struct value *val;
	const struct expr *iv;
	const char *text;
	const struct expr *closed; /* iv, when the block is closed */
	struct name *next;	/* of the same block */
};

struct parser {
	struct ctx *c;
	const char *file;
	const char *p, *end, *line_start;
	unsigned line;
	bool failed;

	/* The current token. */
	enum token tok;
	int punct;
	const char *text;	/* TOK_WORD, TOK_VALUE, TOK_STR: interned */
	size_t len;
	uint64_t u;		/* TOK_INT */
	bool hex, huge;		/* of TOK_INT: 0x..., does not fit 64 bits */
	double d;		/* TOK_FLOAT */
	struct loc at;

	unsigned depth;
	struct map values, ivs;	/* interned name -> struct name */
	struct name *scope;
	struct {
		const struct expr **v;
		size_t n, cap;
	} dims;			/* by number: what "#0" and so on are */
	struct blob sidecar;	/* data NULL: none was given */
};

/* The first error is reported at the current token; returns false. */
bool parse_error(struct parser *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
void parse_next(struct parser *p);
bool parse_accept(struct parser *p, int punct);
bool parse_expect(struct parser *p, int punct);
bool parse_accept_word(struct parser *p, const char *word);
bool parse_enter(struct parser *p);	/* counts nesting; false: too deep */
void parse_leave(struct parser *p);

struct name *parse_name_find(struct map *m, const char *text);
/* NULL after an error: the name is taken in an open block. */
struct name *parse_name_new(struct parser *p, struct map *m, const char *text);

/* All give NULL or false after reporting an error. */
const struct expr *parse_expr(struct parser *p);
bool parse_int(struct parser *p, int64_t *v);
bool parse_dims(struct parser *p, unsigned *rank, const struct expr **dim,
		enum dtype *t);
const struct type *parse_type(struct parser *p);
const struct layout *parse_layout(struct parser *p, const struct type *t);
/* "{name = value, ...}" of an op with this record. */
bool parse_attrs(struct parser *p, enum opcode code, unsigned *n,
		 struct named_attr **attr);

#endif
