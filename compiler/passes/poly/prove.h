/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of passes/poly share: the scope of an access as an isl set.
 *
 * The scope is a stack of variables and constraints.  A variable is one of the
 * loops around the access, an index operand, or a part of an expression that
 * isl cannot follow and that changes from point to point (a product of
 * variables, a division by a symbol): that is a number of which no more than
 * its sign is known.  What does not change from point to point is a parameter:
 * the symbols, and each product of them.
 */
#ifndef PASSES_POLY_PROVE_H
#define PASSES_POLY_PROVE_H

#include <isl/aff.h>
#include <isl/ctx.h>
#include <isl/id.h>
#include <isl/map.h>
#include <isl/options.h>
#include <isl/set.h>
#include <isl/space.h>
#include <isl/val.h>

#include "base/vec.h"
#include "ir/op.h"
#include "passes/pass.h"

struct var {
	const struct atom *atom;	/* of a loop, or NULL */
	const struct value *arg;	/* index operand, or NULL */
	const struct expr *part;	/* what isl cannot follow, or NULL */
	const struct op *op;		/* its operands are meant, or NULL */
	const struct expr *lo, *hi;	/* lo <= variable <= hi, or NULL */
};

struct guard {
	const struct expr *e;		/* >= 0 */
	const struct op *op;		/* whose operands it names, or NULL */
};

struct param {
	const char *name;
	const struct expr *e;
};

struct prover {
	struct ctx *c;
	isl_ctx *isl;
	VEC(struct var) vars;
	VEC(struct guard) guards;
	VEC(const struct atom *) loose;	/* may be beyond their extents */
	VEC(struct param) params;
	VEC(const struct expr *) facts;	/* that calls checked: each >= 0 */
	VEC(const struct expr *) equal;	/* and those of them that are 0 */
	struct map joined;		/* computed dims, see broadcast.c */
	struct map ranges;		/* atom serial -> struct range */
	const struct op *op;		/* whose operands are meant */
	isl_space *space;
	isl_set *dom;			/* of all that is pushed, or NULL */
};

void prover_init(struct prover *p, struct ctx *c);
void prover_free(struct prover *p);

/* Does the algebra know, or a fact say, that e >= 0 wherever it is used? */
bool known_ge0(const struct prover *p, const struct expr *e);

/* The depth of the scope, to go back to. */
struct scope {
	size_t vars, guards, loose;
};
struct scope scope_mark(const struct prover *p);
void scope_reset(struct prover *p, struct scope s);

void push_var(struct prover *p, const struct atom *atom,
	      const struct value *arg, const struct expr *lo,
	      const struct expr *hi);
void push_guard(struct prover *p, const struct expr *e, const struct op *op);
/* The variables of a loop's body. */
void push_block(struct prover *p, const struct block *b);
/* The index operands that op's expressions name. */
void push_args(struct prover *p, const struct op *op);
/* The tile of a contraction: its row and column; the others only with all. */
void push_tile(struct prover *p, const struct op *op, bool all);
/* One whose bounds are made of what is there. */
void push_one(struct prover *p, struct var v);

/* Does e use a variable that may be beyond its extent? */
bool uses_loose(const struct prover *p, const struct expr *e);

/* What calls have checked, and how dims are computed, as far as it has to do
 * with the scope and with e. */
void push_facts(struct prover *p, const struct expr *e);

/* The points of the scope; the prover keeps it. */
isl_set *scope_domain(struct prover *p);
/* The points of the scope where e >= 0. */
isl_set *points_where(struct prover *p, const struct expr *e);
/* Is e >= 0 at every point of the scope? */
bool holds(struct prover *p, const struct expr *e);

/* Sets of variables by their place in the scope, for at most that many. */
enum { MAX_PART_VARS = 64 };
uint64_t vars_in(const struct prover *p, const struct expr *e,
		 const struct op *op);
/* Those that the bounds of variable i mention. */
uint64_t vars_bounding(const struct prover *p, size_t i);
/* The scope with these variables alone; p is not used until its end. */
struct prover scope_part(struct prover *p, uint64_t vars);
void scope_part_end(struct prover *p, struct prover *q);

/* ---- to_isl.c ------------------------------------------------------- */

/* Makes what e consists of known: before scope_domain() and to_isl(). */
void push_parts(struct prover *p, const struct expr *e);
isl_pw_aff *to_isl(struct prover *p, const struct expr *e);
isl_pw_aff *scope_variable(struct prover *p, size_t i);

/* ---- broadcast.c ---------------------------------------------------- */

/* The computed dims that are broadcasts which calls check. */
void find_broadcasts(struct prover *p, const struct module *m);
/* An index and its dim without the step that is 0 where the dim is 1; as they
 * are when they have none. */
void without_step(struct prover *p, const struct expr **idx,
		  const struct expr **dim);

/* ---- memo.c --------------------------------------------------------- */

/* Kernels of which everything was proved, by their text with the variables
 * numbered in order of appearance. */
struct memo {
	struct map seen;
	VEC(uint64_t) key;
	struct map number;	/* of variables and values, from 1 */
	uint64_t n_number;
};

/* What was counted when an equal kernel was proved, or NULL; then the key is
 * that of memo_proved(). */
const unsigned *memo_find(struct memo *m, const struct op *kernel);
void memo_proved(struct ctx *c, struct memo *m, unsigned checked);
void memo_free(struct memo *m);

/* ---- independent.c -------------------------------------------------- */

enum independence {
	DEPENDENT,	/* two points may store to one element */
	POINTS_APART,	/* the points of the kernel do not */
	WRITES_ONCE,	/* no element is stored to twice */
};
enum independence check_stores(struct prover *p, struct op *kernel,
			       unsigned *checked);

/* ---- guard.c -------------------------------------------------------- */

/*
 * Makes an access safe of which `bad` are the points outside of the buffer's
 * dim d, a matter of the variables in `used`.  Says what was done, "" when
 * nothing had to be; NULL when nothing can be, or when it is *hopeless: all
 * calls would go wrong.
 */
const char *guard_access(struct prover *p, struct op *op, isl_set *bad,
			 uint64_t used, size_t d, bool *hopeless);

/* ---- plain.c -------------------------------------------------------- */

/* Replaces a kern.contract by loops, of which it returns the outermost. */
struct op *plain_contract(struct ctx *c, struct op *op);

#endif
