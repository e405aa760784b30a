/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PTX text as statements: the parser fills these, decode.c reads them.
 */
#ifndef EMU_PTX_H
#define EMU_PTX_H

#include "emu.h"

enum opnd_kind {
	O_NONE,
	O_REG,
	O_SREG,
	O_INT,
	O_FLOAT,
	O_DOUBLE,
	O_SYM,
	O_VEC,
	O_MEM,
	O_SINK,
};

struct opnd {
	enum opnd_kind kind;
	char width; /* of a register: p h w q o */
	bool is_not;
	uint32_t slot;    /* of a register */
	uint64_t bits;    /* of a literal */
	int64_t off;      /* O_MEM: base + off */
	const char *name; /* O_SYM, O_SREG */
	struct scope *scope;
	struct opnd *v; /* O_VEC: elements; O_MEM: base, coordinates */
	int n;
	struct opnd *pair; /* the second of p|q */
};

#define MAX_OPNDS 12
struct stmt {
	const char *op;
	struct opnd guard;
	struct opnd o[MAX_OPNDS];
	int n;
	uint32_t line;
	uint32_t used;	/* bytes of what it loads, a bit each; 0: all */
	const char *text;
	int text_len;
};

enum sym_kind { SYM_REG, SYM_REGS, SYM_VAR, SYM_LABEL, SYM_FUNC, SYM_TARGETS };
struct sym {
	const char *name;
	struct scope *scope;
	enum sym_kind kind;
	char width;
	enum space space;
	uint32_t count;
	uint64_t value; /* slot, offset, address or pc */
	uint64_t size;
	struct func *func;
	const char **labels; /* SYM_TARGETS */
	struct sym *next;
};

struct scope {
	struct scope *up;
};

struct parser {
	struct module *mod;
	const char *p, *start;
	uint32_t line;
	jmp_buf fail;
	int n_errors;
	struct sym *hash[1024];
	struct scope top, *scope;
	struct func *f;
	/* Of the function being read. */
	struct stmt *stmts;
	uint32_t n_stmts, cap_stmts;
	uint32_t reg_top;
	uint32_t const_cap;
	uint32_t top_shared, dyn_align;
	uint32_t used;	/* what a pragma says of the next statement's */
};

void parse_fail(struct parser *p, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 2, 3)));
void parse_module(struct parser *p);
struct sym *sym_find(struct parser *p, struct scope *s, const char *name);

/* decode.c */
void decode_func(struct parser *p);

/* What decoders share. */
struct mods {
	char text[128];
	const char *part[16];
	int n;
	uint32_t used;
};
void mods_split(struct mods *m, const char *op);
bool mods_take(struct mods *m, const char *name);
bool mods_done(const struct mods *m);
uint32_t reg_new(struct parser *p, char width);
uint32_t const_get(struct parser *p, uint64_t bits, char width);
bool opnd_get(struct parser *p, const struct opnd *o, char width, uint32_t *op);
bool address_get(struct parser *p, const struct opnd *o, struct insn *in,
		 int i);
uint32_t vec_get(struct parser *p, const struct opnd *o, char width,
		 uint32_t *out);
uint32_t *more_get(struct parser *p, const struct stmt *st, struct insn *in,
		   const char *widths);

/* exec_mem.c */
bool take_space(struct mods *m, struct insn *in);
bool take_element(struct mods *m, struct insn *in);
void take_hints(struct mods *m);

typedef bool (*decode_fn)(struct parser *p, const struct stmt *st,
			  struct mods *m, struct insn *in);
struct special {
	const char *name;
	decode_fn fn;
};
extern const struct special specials_mem[], specials_cvt[], specials_cmp[],
	specials_warp[], specials_control[], specials_move[], specials_mma[],
	specials_bar[], specials_atom[], specials_async[], specials_hopper[],
	specials_wgmma[];

#endif
