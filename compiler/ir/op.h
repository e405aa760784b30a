/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Op records.  One ONNX op is one file with one record:
 *
 *	OP(Gather, .domain = "", .since = 13, ...);
 *
 * tools/registry.awk scans for OP( at the start of a line and for ATTR(, and
 * makes the enums OP_* and A_* and the table op_defs[].  docs/adding-an-op.md
 * walks through one.
 */
#ifndef IR_OP_H
#define IR_OP_H

#include "ir/ir.h"

enum { MAX_PORTS = 20, MAX_OUTS = 4, MAX_ATTRS = 16 };

/* Beside a set of dtypes a port may carry these flags. */
enum {
	P_OPTIONAL = 1u << 24,
	P_VARIADIC = 1u << 25,	/* last port: one or more */
	P_SAME = 1u << 26,	/* dtype equals that of port 0 */
};

struct port {
	const char *name;
	uint32_t types;		/* T_* | P_* */
};

struct attr_def {
	enum attr_name name;
	enum attr_kind kind;
	bool required;
	bool set;		/* a row, not the end of the list */
	int64_t i;		/* defaults */
	double f;
	const char *s;
};
/* ATTR(axis, AT_INT, .i = -1): name, kind, default or .required = true. */
#define ATTR(id, ...) { .name = A_##id, .set = true, .kind = __VA_ARGS__ }

struct infer;
struct lower;
struct older;

struct op_def {
	const char *name;
	enum level level;	/* graph when 0 */
	const char *domain;	/* NULL for ops that are not ONNX's */
	const char *type;	/* op_type in files; the name when NULL */
	/* The operator of this type in the domain "", in its newest form; the
	 * record says nothing else. */
	bool shared;
	int since;		/* newest version; 0: not importable */
	int first;		/* oldest opset the file reads; 1 when 0 */
	struct port in[MAX_PORTS];
	struct port out[MAX_OUTS];
	int min_in;		/* 0: count of the non-optional ports */
	struct attr_def attr[MAX_ATTRS];
	bool impure;		/* has effects or errors: never removed */
	/* A positive factor of any part of operand 0 is one of the same part of
	 * the result, and parts stay in their order. */
	bool keeps_factors;
	bool (*infer)(struct infer *in);
	/* Exactly one meaning for a graph-level op: */
	struct value *(*scalar)(struct lower *lo, struct value *const *x);
	bool (*lower)(struct lower *lo);
	bool (*decompose)(struct lower *lo);
	/* Optional. */
	bool (*older)(struct older *old);	/* normalise an older opset */
	struct value *(*fold)(struct lower *lo);/* an equal value, or NULL */
	bool (*verify)(struct infer *in);
};

#define OP(id, ...)              \
	const struct op_def op_def_##id = { .name = #id, __VA_ARGS__ }

extern const struct op_def *const op_defs[OP_COUNT];
extern const char *const attr_names[A_COUNT];
static inline const struct op_def *op_def(const struct op *op)
{
	return op_defs[op->code];
}
/* The op_type that files have for it. */
static inline const char *op_type(const struct op_def *d)
{
	return d->type ? d->type : d->name;
}
/* "onnx.Gather", "microsoft.QGemm", "arith.add": the name in .dl text. */
const char *op_name(struct ctx *c, enum opcode code);
/* By domain ("" is ONNX's own) and type; NULL when unknown. */
const struct op_def *op_find(const char *domain, const char *type,
			     enum opcode *code);
/* By the name in .dl text. */
bool op_find_text(const char *text, enum opcode *code);
bool attr_find(const char *name, enum attr_name *out);
const struct attr_def *op_attr_def(const struct op_def *d, enum attr_name n);

/* ---- inference ---------------------------------------------------------
 *
 * infer() computes the types of all results from operand types, attributes
 * and what is known of small integer operands.  It is written over expr, so
 * one computation serves static shapes and the shape code at run time.
 */
struct infer {
	struct ctx *ctx;
	struct op *op;
	const struct type **out;	/* to fill: one per result */
};

/* Checks operands against the record and computes the types of all results;
 * out[] has room for n_out + MAX_OUTS and is zeroed.  False after an error. */
bool op_infer(struct ctx *c, struct op *op, const struct type **out);
const struct type *infer_type(struct infer *in, unsigned i);	/* or NULL */
bool infer_has(struct infer *in, unsigned i);
/* False after a diagnostic that names the node; use as the return value. */
bool infer_error(struct infer *in, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool infer_unsupported(struct infer *in, const char *fmt, ...)
	PRINTF_LIKE(2, 3);
void infer_set(struct infer *in, unsigned k, enum dtype t, unsigned rank,
	       const struct expr *const *dim);
/*
 * What an op computes as a dim, which later ones compute with: e itself while
 * it is short, else a computed dim.  A value below 0, which the op has to
 * refuse by a check, may become 0.
 */
const struct expr *infer_dim(struct ctx *c, const struct expr *e);
/* Range-checks axis (negative counts from the end) and normalises it. */
bool infer_axis(struct infer *in, int64_t axis, unsigned rank, unsigned *out);
/*
 * The elements of integer operand i, which must have rank <= 1 and a constant
 * length; unknown ones become symbols that are read at run time.  NULL after an
 * error.
 */
const struct expr **infer_elems(struct infer *in, unsigned i, size_t *n);
/* The same, where the operand's length is `want` if it is known only at run
 * time; a call with another length ends with DLRT_SHAPE. */
const struct expr **infer_list(struct infer *in, unsigned i, size_t want,
			       size_t *n);
/* Symbols for run-time facts of an integer tensor: its n elements or, with
 * `from`, how often each of n integers from *from on occurs among them. */
const struct expr **infer_bind(struct infer *in, struct value *v, size_t n,
			       const int64_t *from);
/* How often each of n integers from `from` on is an element of operand i, a
 * list whose length is only known at run time; NULL for other operands. */
const struct expr **infer_counts(struct infer *in, unsigned i, int64_t from,
				 size_t n);
/* Like infer_elems, but every element must be constant (an axes list). */
bool infer_const_ints(struct infer *in, unsigned i, size_t *n, int64_t **v);
/* Numpy-style broadcast of two shapes; dims that cannot be decided are
 * computed, and checked, when the model runs. */
bool infer_broadcast(struct infer *in, unsigned *rank, const struct expr **dim,
		     const struct type *t);
/* Of two dims; false when they cannot broadcast, without a message. */
bool infer_broadcast_dim(struct infer *in, const struct expr **d,
			 const struct expr *e);
/* The same where the result has to have the shape dim[rank]. */
bool infer_broadcast_into(struct infer *in, unsigned rank,
			  const struct expr *const *dim, const struct type *t);
/* Results of pointwise ops: broadcast of all operands, dtype of operand 0. */
bool infer_pointwise(struct infer *in);
/* The same with a bool result. */
bool infer_compare(struct infer *in);
/* Result 0 has the type of operand 0. */
bool infer_same(struct infer *in);

/*
 * Facts.  What is known to be wrong is an error; what is not known is checked
 * once when the model runs, and a call where it is wrong ends with DLRT_SHAPE.
 */
void infer_require_eq(struct infer *in, const struct expr *a,
		      const struct expr *b);
/* `what` says what is wrong where e < 0. */
bool infer_require_ge0(struct infer *in, const struct expr *e,
		       const char *what);
/* Two dims that must be equal, the found and the expected one; `what` names
 * them.  *a becomes the constant one. */
bool infer_same_dim(struct infer *in, const struct expr **a,
		    const struct expr *b, const char *what);
bool infer_dims_agree(struct infer *in, const struct expr *a,
		      const struct expr *b, const char *what);
/* Operand i is absent or has that rank and these dims; where one is NULL any
 * will do. */
bool infer_dims(struct infer *in, unsigned i, unsigned rank,
		const struct expr *const *dim);
/* For expressions that overflowed; false. */
bool infer_too_large(struct infer *in);
/*
 * A list of axes that may be known only at run time: hit[k][i] is 1 where
 * entry k names dim i, else 0, and any[i] is their sum.
 */
struct axes {
	size_t n;
	const struct expr *hit[MAX_RANK][MAX_RANK], *any[MAX_RANK];
};
/* Reads the axes input for a tensor of that rank; refuses axes out of range
 * or named twice where that is known. */
bool infer_axes(struct infer *in, unsigned i, unsigned rank, struct axes *a);

/* ---- broadcasting at run time (broadcast.c) ------------------------- */

/* r is the dim of a broadcast in which e took part: e is r or 1, where the
 * checks hold that infer_broadcast() states. */
bool broadcast_covers(const struct expr *r, const struct expr *e);
/* 0 where a and b may broadcast, else above. */
const struct expr *broadcast_misfit(struct ctx *c, const struct expr *a,
				    const struct expr *b);
/* The two dims of which r is the broadcast; false when it is none. */
bool broadcast_parts(const struct expr *r, const struct expr *part[2]);
/* 0 where dim is 1, else 1 (either where it is 0). */
const struct expr *broadcast_step(struct ctx *c, const struct expr *dim);
bool broadcast_is_step(const struct expr *e);
/* The index into a dim of an operand where the result's is at iv. */
const struct expr *broadcast_index(struct ctx *c, const struct expr *dim,
				   const struct expr *iv);

/* ---- meaning -----------------------------------------------------------
 *
 * lower() replaces the op by nest-level statements that say what it means; it
 * is run by the evaluator, the folder and the pipeline alike.
 *
 *	struct nest n = nest_begin(lo, 1, &out_type);
 *	struct value *x = nest_load(lo, in, idx);
 *	nest_end(lo, &n, 1, &x, results);
 */
struct lower {
	struct builder b;
	struct op *op;			/* that is being replaced */
	struct value **result;		/* to fill: one per result of op */
};

struct value *lower_in(struct lower *lo, unsigned i); /* NULL when absent */
const struct type *lower_type(struct lower *lo, unsigned result);
/* An axis that infer_axis() accepted, counted from the front. */
unsigned lower_axis(const struct lower *lo, enum attr_name name,
		    unsigned rank);

struct nest {
	struct op *op;			/* nest.compute */
	struct block *saved_block;
	struct op *saved_before;
	unsigned rank;
	const struct expr **iv;		/* one per dim of the result */
};

/* Opens nest.compute with n results that share one shape; the cursor moves
 * into its body, where each result's element at iv[] is computed. */
struct nest nest_begin(struct lower *lo, unsigned n,
		       const struct type *const *out);
/* Yields the elements, moves the cursor back; result[] gets the tensors. */
void nest_end(struct lower *lo, struct nest *n, unsigned n_val,
	      struct value *const *val, struct value **result);

/* A fold over iteration variables of the given extents in row-major order,
 * with n_acc carried scalars; see nest_reduce_begin(). */
struct reduce {
	struct op *op;			/* nest.reduce */
	struct block *saved_block;
	struct op *saved_before;
	const struct expr **iv;
	struct value **acc;		/* carried values, inside the body */
};
struct reduce nest_reduce_begin(struct lower *lo, unsigned n_iv,
				const struct expr *const *extent,
				unsigned n_acc, struct value *const *init);
/* next[] are the new carried values; result[] gets the final ones. */
void nest_reduce_end(struct lower *lo, struct reduce *r,
		     struct value *const *next, struct value **result);

/*
 * A recurrence: `extent` steps in order.  The body sees the step number `t`
 * and the current states (tensors), and holds statements (nests opened while
 * it is open); scan_end() takes the next states, then the per-step outputs.
 * result[] gets the final states, then each output stacked along a new
 * leading dim.
 */
struct scan {
	struct op *op;
	struct block *saved_block;
	struct op *saved_before;
	const struct expr *t;
	struct value **state;
};
struct scan scan_begin(struct lower *lo, const struct expr *extent,
		       unsigned n_state, struct value *const *init,
		       unsigned n_out, const struct type *const *step_type);
void scan_end(struct lower *lo, struct scan *s, unsigned n,
	      struct value *const *next, struct value **result);

/* Element of a tensor at index expressions over the open bodies' IVs. */
struct value *nest_load(struct lower *lo, struct value *tensor,
			const struct expr *const *idx);
/* The same where every guard[] >= 0, else the scalar `other`. */
struct value *nest_load_guarded(struct lower *lo, struct value *tensor,
				const struct expr *const *idx, unsigned n_guard,
				const struct expr *const *guard,
				struct value *other);
/*
 * An i64 scalar as part of an index expression, checked to 0 <= v < extent:
 * a value out of range is replaced by 0 and raises DLRT_INDEX.  The result
 * is used in idx[] of later loads.
 */
const struct expr *nest_index(struct lower *lo, struct value *v,
			      const struct expr *extent);
/* The same for a value that may be negative: counts from the end. */
const struct expr *nest_index_wrap(struct lower *lo, struct value *v,
				   const struct expr *extent);
/* An index expression as an i64 scalar. */
struct value *nest_value(struct lower *lo, const struct expr *e);
/* Load of a tensor that broadcasts to the shape `iv` stands for. */
struct value *nest_load_broadcast(struct lower *lo, struct value *tensor,
				  unsigned rank, const struct expr *const *iv);

/* Scalars of the closed set (ir/ops/core/arith.c, math.c). */
struct value *s_const(struct lower *lo, enum dtype t, double v);
struct value *s_int(struct lower *lo, enum dtype t, int64_t v);
struct value *s_op(struct lower *lo, enum opcode code, struct value *a);
struct value *s_op2(struct lower *lo, enum opcode code, struct value *a,
		    struct value *b);
/* Comparisons give a bool. */
struct value *s_select(struct lower *lo, struct value *cond, struct value *a,
		       struct value *b);
struct value *s_cast(struct lower *lo, enum dtype to, struct value *a);
/* What is beyond low and high becomes that; NaN stays. */
struct value *s_clamp(struct lower *lo, struct value *a, double low,
		      double high);
/* The cast that ONNX asks for with `saturate`: to the 8-bit floats that have
 * signs infinities and large numbers become the largest one. */
struct value *s_cast_saturate(struct lower *lo, enum dtype to,
			      struct value *a);

static inline struct value *s_add(struct lower *lo, struct value *a,
				  struct value *b)
{
	return s_op2(lo, OP_arith_add, a, b);
}
static inline struct value *s_sub(struct lower *lo, struct value *a,
				  struct value *b)
{
	return s_op2(lo, OP_arith_sub, a, b);
}
static inline struct value *s_mul(struct lower *lo, struct value *a,
				  struct value *b)
{
	return s_op2(lo, OP_arith_mul, a, b);
}
static inline struct value *s_div(struct lower *lo, struct value *a,
				  struct value *b)
{
	return s_op2(lo, OP_arith_div, a, b);
}

/* Graph-level op inside a decompose hook; NULL after an error. */
struct value *g_op(struct lower *lo, enum opcode code, unsigned n_in,
		   struct value *const *in, unsigned n_attr,
		   const struct named_attr *attr);

/* Runs the record's scalar hook as a nest; what the lowering pass calls.
 * Dispatches to scalar, lower or decompose. */
bool op_lower(struct lower *lo);

/* ---- older opsets ------------------------------------------------------
 *
 * The importer hands a node as it stands in the file to `older` before the op
 * is built: the hook edits attributes and inputs into the newest form.
 */
struct older {
	struct builder b;
	int64_t opset;
	enum opcode code;		/* may be changed */
	const struct loc *loc;
	unsigned n_in;
	struct value **in;		/* room for MAX_PORTS more */
	unsigned n_attr;
	struct named_attr *attr;	/* room for MAX_ATTRS more */
	unsigned n_out;
};
const struct attr *older_attr(struct older *o, enum attr_name name);
void older_drop_attr(struct older *o, enum attr_name name);
void older_set_attr(struct older *o, enum attr_name name,
		    const struct attr *val);
/* Moves an integer-list attribute to input i (axes, starts, ...). */
bool older_attr_to_input(struct older *o, enum attr_name name, unsigned i);
bool older_error(struct older *o, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
