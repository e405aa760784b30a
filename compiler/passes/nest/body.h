/* SPDX-License-Identifier: Apache-2.0 */
/* What the nest-level passes ask of a statement's body. */
#ifndef PASSES_NEST_BODY_H
#define PASSES_NEST_BODY_H

#include "ir/op.h"
#include "passes/pass.h"

/* ---- product.c ------------------------------------------------------ */

/* A factor that is decoded where it is read:
 * (f32(load) - f32(zero)) * f32(scale), all loads; zero may be NULL.  It may
 * be rounded to a half float then, as `to` says. */
struct decode {
	struct op *scale, *zero;
	enum dtype to;
};

/*
 * The fold is sum += load * load: what a contraction's body looks like.  Loads
 * of half floats and of small integers may be widened to f32, those of small
 * integers to i32; one of them may be decoded.
 */
bool fold_is_product(const struct op *fold, struct op **a, struct op **b);
/* What the product multiplies: the load, or what is made of it. */
struct value *product_factor(struct op *load);
/* Is the load of a product decoded?  *d is cleared where not. */
bool product_decodes(struct op *load, struct decode *d);
/* Its multiplication, whatever that multiplies; NULL without one. */
struct op *fold_product(const struct op *fold);
/*
 * The fold, of one carried value, with variable k as a quotient by `by`, in
 * its place, and a remainder, which is the last variable; the old one is
 * erased.  Where `by` may not divide k's extent *inside is negative for steps
 * that the fold did not have.
 */
struct op *fold_split(struct ctx *c, struct op *fold, uint32_t k, int64_t by,
		      const struct expr **inside);
/*
 * The fold, of one carried value, with its variables in that order and with
 * those extents, in the new order; the old one is erased.
 */
struct op *fold_arrange(struct ctx *c, struct op *fold, const unsigned *order,
			const struct expr *const *extent);
/* The only fold of the body when it is such a product, else NULL. */
struct op *body_product(const struct block *body);

/* ---- split.c -------------------------------------------------------- */

/* A divisor of one of the statement's variables. */
struct digit {
	const struct block *of;
	unsigned iv;
	int64_t by;		/* the smallest that was found, or 0 */
};

/* For expr_visit(); arg: the struct digit. */
void find_divisor(void *arg, const struct atom *a);
/* The statement with the variable as quotient and remainder, before it. */
struct op *with_digits(struct ctx *c, struct op *compute,
		       const struct digit *d);

/* ---- body.c --------------------------------------------------------- */

/* Calls fn for each statement of the block, those in recurrences too; it may
 * not erase the one it is given. */
void each_statement(struct ctx *c, struct block *b,
		    void (*fn)(struct ctx *c, struct op *compute));
bool body_has_fold(const struct block *body);
/* Its only fold; NULL where there is none or another. */
struct op *body_fold(const struct block *body);
/* Bit i: the ops below use the block's i-th iteration variable. */
uint32_t op_uses_ivs(const struct op *op, const struct block *of);
/* No variable of extent 1 is counted among the bits. */
uint32_t block_real_ivs(const struct block *b);
/* Index of the element that a point of the statement is. */
const struct expr *const *point_index(const struct op *compute);
/* The statement's variables in the order of the result's memory, outermost
 * first, as positions in the block; returns how many. */
unsigned memory_order(struct ctx *c, const struct op *compute,
		      const struct value *result, uint8_t *order);
/* Do folds of the statement depend on some of its variables only, so that they
 * count on the order of the loops? */
bool body_has_partial_fold(const struct block *b);
/* The statement's result as a constant; NULL when it reads others. */
struct value *statement_const(struct builder *b, struct op *compute);
/* Moves what does not depend on a fold's variables out of it, then merges
 * equal ops; removes what is not used. */
void body_tidy(struct ctx *c, struct block *body);
/* Are the numbers and expressions of two attributes equal, those of b with what
 * map (NULL: nothing) replaces?  False for other kinds. */
bool attrs_equal(struct cloner *map, const struct attr *a,
		 const struct attr *b);
/* Are the two expressions free of div and mod? */
bool expr_is_affine(const struct expr *e);

#endif
