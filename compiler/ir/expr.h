/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Integer expressions: the one algebra for tensor dimensions, iteration
 * bounds, index maps, sizes and offsets.
 *
 * An expression is a polynomial with 64-bit coefficients over atoms: symbolic
 * and computed dims, iteration variables, run-time values, and floor-div, mod,
 * min, max of other expressions.  Expressions are interned per context in a
 * normal form, so equal ones are the same pointer.  They never overflow
 * silently: a result beyond 63 bits becomes the poison expression, whose
 * constant is refused by expr_is_const() and by every size check.
 */
#ifndef IR_EXPR_H
#define IR_EXPR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctx;
struct map;
struct value;
struct expr;

enum atom_kind {
	ATOM_SYM,	/* a symbolic dim: >= 0 unless id is 1 */
	ATOM_IV,	/* iteration variable; 0 <= iv < extent */
	ATOM_ARG,	/* the id-th operand of the op that holds the
			 * expression, an i64 scalar; 0 <= arg < extent when it has one */
	ATOM_VAL,	/* the same as a value, while a body is being built */
	ATOM_DIM,	/* a computed dim: a symbol whose value is that of a,
			 * >= 0; id is 1 when that depends on signed symbols */
	ATOM_DIV,	/* floor(a / b), b > 0 */
	ATOM_MOD,	/* a - b * floor(a / b), b > 0 */
	ATOM_MIN,
	ATOM_MAX,
	ATOM_POISON,	/* overflowed */
};

struct atom {
	uint32_t serial;		/* creation order; never an address */
	enum atom_kind kind;
	uint32_t id;			/* IV: unique number; ARG: operand */
	const char *name;		/* SYM: its name */
	const struct expr *a, *b;	/* operands; IV, ARG, VAL: a = extent;
					 * DIM: a = definition */
	struct value *val;		/* VAL */
	uint32_t depth;			/* DIM: of definitions in each other */
};

struct term {
	int64_t coef;
	uint32_t n;			/* atoms; 0 for the constant term */
	const struct atom **atom;	/* sorted by serial, may repeat */
};

struct expr {
	uint32_t serial;
	uint32_t n;			/* terms; zero has none */
	struct term *term;		/* constant first, then by atoms */
};

const struct expr *expr_const(struct ctx *c, int64_t k);
const struct expr *expr_sym(struct ctx *c, const char *name);
/* A symbol that may be negative: an element of a run-time tensor. */
const struct expr *expr_sym_signed(struct ctx *c, const char *name);
/*
 * A symbol for the value of max(e, 0), the same for the same e, so that what
 * is computed from it stays short.  The algebra knows it by its definition
 * only where a proof needs that.  e itself when it is a constant or a symbol,
 * or mentions what changes within a call; poison where definitions build on
 * each other so often that walks over them would not end in time.
 */
const struct expr *expr_dim(struct ctx *c, const struct expr *e);
/* A fresh iteration variable, different from all others. */
const struct expr *expr_iv(struct ctx *c, const struct expr *extent);
/* extent may be NULL: nothing is known of the value. */
const struct expr *expr_arg(struct ctx *c, unsigned index,
			    const struct expr *extent);
const struct expr *expr_val(struct ctx *c, struct value *v,
			    const struct expr *extent);

const struct expr *expr_add(struct ctx *c, const struct expr *a,
			    const struct expr *b);
const struct expr *expr_sub(struct ctx *c, const struct expr *a,
			    const struct expr *b);
const struct expr *expr_mul(struct ctx *c, const struct expr *a,
			    const struct expr *b);
const struct expr *expr_scale(struct ctx *c, const struct expr *a, int64_t k);
const struct expr *expr_addc(struct ctx *c, const struct expr *a, int64_t k);
/* floor(a / b) and its remainder; b must be positive wherever evaluated. */
const struct expr *expr_div(struct ctx *c, const struct expr *a,
			    const struct expr *b);
const struct expr *expr_mod(struct ctx *c, const struct expr *a,
			    const struct expr *b);
const struct expr *expr_ceildiv(struct ctx *c, const struct expr *a,
				const struct expr *b);
const struct expr *expr_min(struct ctx *c, const struct expr *a,
			    const struct expr *b);
const struct expr *expr_max(struct ctx *c, const struct expr *a,
			    const struct expr *b);
/* 1 where e < 0, else 0. */
const struct expr *expr_is_neg(struct ctx *c, const struct expr *e);
/* 1 where e > 0, else 0. */
const struct expr *expr_is_pos(struct ctx *c, const struct expr *e);
/* 1 where e == 0, else 0. */
const struct expr *expr_is_zero(struct ctx *c, const struct expr *e);
/* The same for |e| <= bound, in a form about which proofs are cheap. */
const struct expr *expr_small_is_zero(struct ctx *c, const struct expr *e,
				      int64_t bound);

bool expr_is_const(const struct expr *e, int64_t *k);
bool expr_is(const struct expr *e, int64_t k);
bool expr_is_poison(const struct expr *e);
/* The atom when e is exactly one atom with coefficient 1, else NULL. */
const struct atom *expr_atom(const struct expr *e);
const struct expr *expr_of_atom(struct ctx *c, const struct atom *a);
/* Does e depend on an element of a run-time tensor, so that it is not known
 * when a call begins? */
bool expr_is_late(const struct expr *e);
/* Is e made of symbols and computed dims alone? */
bool expr_is_closed(const struct expr *e);
/* Is the atom part of e, at any depth, definitions included? */
bool expr_uses(const struct expr *e, const struct atom *a);
/*
 * e = *coef * atom + *rest with neither depending on the atom otherwise;
 * false when e is not linear in it.  coef is zero when e does not use it.
 */
bool expr_linear(struct ctx *c, const struct expr *e, const struct atom *a,
		 const struct expr **coef, const struct expr **rest);
/* Proved for all values of the atoms: e >= 0.  False means "not proved". */
bool expr_ge0(struct ctx *c, const struct expr *e);
/* Proved bound as a constant; false when none is known. */
bool expr_upper(struct ctx *c, const struct expr *e, int64_t *hi);
bool expr_lower(struct ctx *c, const struct expr *e, int64_t *lo);
/* Exact quotient a / b when b divides a as polynomials, else NULL. */
const struct expr *expr_exact_div(struct ctx *c, const struct expr *a,
				  const struct expr *b);

/* Replaces atoms: fn returns the replacement, or NULL to keep the atom.  A
 * computed dim is an atom like others. */
typedef const struct expr *expr_subst_fn(void *arg, const struct atom *a);
const struct expr *expr_subst(struct ctx *c, const struct expr *e,
			      expr_subst_fn *fn, void *arg);
/* The same, and where fn keeps a computed dim its definition is replaced. */
const struct expr *expr_subst_all(struct ctx *c, const struct expr *e,
				  expr_subst_fn *fn, void *arg);
/* Calls fn on every atom at any depth, each term once. */
typedef void expr_visit_fn(void *arg, const struct atom *a);
void expr_visit(const struct expr *e, expr_visit_fn *fn, void *arg);
/* The same, then on the atoms of its definition, once for each computed
 * dim; *seen (first empty, freed by the caller) holds those visited. */
void expr_visit_all(const struct expr *e, expr_visit_fn *fn, void *arg,
		    struct map *seen);

/* Value under an assignment of its atoms; false on overflow or b <= 0.  fn is
 * not asked for computed dims. */
typedef bool expr_value_fn(void *arg, const struct atom *a, int64_t *v);
bool expr_eval(const struct expr *e, expr_value_fn *fn, void *arg, int64_t *v);

/* Text as in .dl: "i3 + 4*div(N, 2) - 1"; lives in the temp arena. */
const char *expr_str(struct ctx *c, const struct expr *e);
/* The same with other numbers for iteration variables, values and computed
 * dims; without them a computed dim is its definition in parentheses. */
struct expr_names {
	uint32_t (*number)(void *arg, const struct atom *a);
	void *arg;
};
const char *expr_text(struct ctx *c, const struct expr *e,
		      const struct expr_names *names);
/* A string as .dl text writes it, quoted and escaped, in the temp arena. */
const char *str_quoted(struct ctx *c, const char *s, size_t len);
/* A name as it is when the parser reads it as one, else quoted. */
const char *name_text(struct ctx *c, const char *s);

#endif
