/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What contractions, reductions and normalisations share: the type they
 * accumulate in, folds that skip dims of extent 1, and statistics of rows.
 */
#ifndef IR_OPS_ONNX_FOLD_H
#define IR_OPS_ONNX_FOLD_H

#include "ir/op.h"

enum { MAX_FOLD = 4 };

/* f32 for the 16-bit floats, else the type itself. */
enum dtype acc_dtype(enum dtype t);
/* The neutral elements of max and min. */
struct value *s_lowest(struct lower *lo, enum dtype t);
struct value *s_highest(struct lower *lo, enum dtype t);
/* An element of x as a scalar of type `to`. */
struct value *load_as(struct lower *lo, enum dtype to, struct value *x,
		      const struct expr *const *idx);
/* nest_load_broadcast() and a cast. */
struct value *load_broadcast_as(struct lower *lo, enum dtype to,
				struct value *x, unsigned rank,
				const struct expr *const *iv);
/* A non-negative expression as a scalar of type t. */
struct value *s_expr(struct lower *lo, enum dtype t, const struct expr *e);

/*
 * nest_reduce_begin() without the dims of constant extent 1, whose index is
 * 0; with no dim left the body is evaluated once, in place.
 */
struct fold {
	struct reduce reduce;
	bool once;
	unsigned n_acc;
	const struct expr *iv[MAX_RANK];
	struct value *acc[MAX_FOLD];
};
struct fold fold_begin(struct lower *lo, unsigned n_iv,
		       const struct expr *const *extent, unsigned n_acc,
		       struct value *const *init);
void fold_end(struct lower *lo, struct fold *f, struct value *const *next,
	      struct value **result);

/*
 * A nest over the dims of x that are not reduced, in which folds over the
 * reduced ones may be opened, one after the other:
 *
 *	rows_begin(lo, &r, x->type, reduced, keep, 1, &dtype);
 *	rows_fold(lo, &r, 1, &init);
 *	next = s_add(lo, r.fold.acc[0], load_as(lo, acc, x, r.at));
 *	rows_fold_end(lo, &r, &next, &sum);
 *	rows_end(lo, &r, 1, &sum, &result);
 */
struct rows {
	struct nest nest;
	struct fold fold;
	const struct type *type;	/* of x */
	const struct expr *kept[MAX_RANK];	/* 1, or 0 where reduced */
	const struct expr *base[MAX_RANK];	/* index where kept, else 0 */
	const struct expr *at[MAX_RANK];	/* the element of x in a fold */
};
/* keep: reduced dims stay, with extent 1. */
void rows_begin(struct lower *lo, struct rows *r, const struct type *x,
		const bool *reduced, bool keep, unsigned n,
		const enum dtype *out);
/* The same when kept[] may depend on run-time values; n_reduced of them are
 * 0. */
void rows_begin_kept(struct lower *lo, struct rows *r, const struct type *x,
		     const struct expr *const *kept, unsigned n_reduced,
		     bool keep, unsigned n, const enum dtype *out);
/* The shape of such a result; its rank is returned. */
unsigned kept_shape(struct ctx *c, const struct type *x,
		    const struct expr *const *kept, unsigned n_reduced,
		    bool keep, const struct expr **dim);
void rows_fold(struct lower *lo, struct rows *r, unsigned n_acc,
	       struct value *const *init);
void rows_fold_end(struct lower *lo, struct rows *r,
		   struct value *const *next, struct value **result);
void rows_end(struct lower *lo, struct rows *r, unsigned n,
	      struct value *const *val, struct value **result);
/* Number of elements that are folded into one. */
const struct expr *rows_count(struct ctx *c, const struct rows *r);

enum row_sum { ROW_SUM, ROW_SQUARES, ROW_DEVIATION };
/*
 * The mean over the reduced dims as a tensor of type acc, dims kept: of x
 * (ROW_SUM), of x * x (ROW_SQUARES), or of the square of x - mean.
 */
struct value *row_mean(struct lower *lo, struct value *x, const bool *reduced,
		       enum dtype acc, enum row_sum what, struct value *mean);
/* 1 / sqrt(x + epsilon), elementwise. */
struct value *inverse_root(struct lower *lo, struct value *x, double epsilon);

/* |v| ^ p and v ^ (1 / p), of which sums make an Lp norm. */
struct value *power_of(struct lower *lo, struct value *v, int64_t p);
struct value *root_of(struct lower *lo, struct value *v, int64_t p);

#endif
