/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passes and pipelines.  A pass is one file with one record, found by
 * tools/registry.awk:
 *
 *	PASS(fuse, .summary = "...", .needs = LEVEL_NEST, .run = fuse_run);
 */
#ifndef PASSES_PASS_H
#define PASSES_PASS_H

#include <stdio.h>

#include "ir/ir.h"

enum { MAX_PARAMS = 8 };

struct pass_args {
	int64_t param[MAX_PARAMS];	/* in the order of the record */
};

struct pass_def {
	const char *name;		/* "lower-loops" for lower_loops */
	const char *summary;
	unsigned needs, leaves;		/* levels; leaves 0: as needs */
	struct {
		const char *name;
		int64_t value;
		const char *help;
	} param[MAX_PARAMS];
	/* False after an error was reported. */
	bool (*run)(struct module *m, const struct pass_args *args);
};

#define PASS(id, ...) \
	const struct pass_def pass_def_##id = { .name = #id, __VA_ARGS__ }

struct pipeline_options {
	const char *passes;		/* pipeline text, NULL: by level */
	int level;			/* -O0 to -O3 */
	const char *print_after;	/* pass name or "all", or NULL */
	const char *stop_after;
	bool verify_each, time_passes;
	FILE *out;			/* for printing */
	/* What runs now, for the reproducer: set by pipeline_run. */
	void (*progress)(void *arg, const char *pass, unsigned i, unsigned n);
	void *arg;
};

/* Runs the passes in order; false after an error was reported. */
bool pipeline_run(struct module *m, const struct pipeline_options *o);
/* The text of -O<level>. */
const char *pipeline_text(int level, const struct target *t);
/* One line per pass: name, summary, parameters. */
void pipeline_list(FILE *out);

/* ---- what a quantization is given beside its parameters ------------- */

struct profile;

/*
 * The ways to hold an op's operands, from the cheapest to the most exact:
 * what the pass's parameters say, then what the gate may take instead.
 */
enum quant_rung {
	RUNG_ASKED,
	RUNG_SPLIT,		/* four channels of the input stay float */
	RUNG_DYNAMIC,		/* ranges from the values at hand */
	RUNG_WEIGHTS,		/* the weight alone, as i8 */
	RUNG_FLOAT,
	N_RUNG
};

/* What a trial returns for each op, summed over the elements, as f32. */
enum trial_sum {
	SUM_X, SUM_X_NOISE,	/* squares of the input and of its error */
	SUM_Y, SUM_Y_NOISE,	/* of the result */
	SUM_CLIPPED,		/* elements outside of the range */
	SUM_COUNT,		/* elements of the input */
	N_TRIAL_SUM
};

/* An op that can be quantized, as the pass found it. */
struct quant_op {
	const char *label;	/* "Conv 'conv1'" */
	const char *name;	/* of the node, or NULL */
	const char *why_float;	/* that no rung but RUNG_FLOAT is open, or
				 * NULL */
	bool open[N_RUNG];
	double us[N_RUNG];	/* estimated for the target below */
	bool is_static[N_RUNG];
	bool sums_ints[N_RUNG];	/* the products are of integers */
	float lo[N_RUNG], hi[N_RUNG];	/* of the static range */
	bool done;		/* it was quantized */
};

struct target;

struct quantize_data {
	struct profile *profile;	/* or NULL */
	const char *profile_file;	/* for messages */
	const char *const *keep;	/* patterns of names of nodes that
					 * stay float */
	unsigned n_keep;
	/* In the order of the ops that can be quantized; NULL: as asked. */
	const unsigned char *rung;
	size_t n_rung;
	/*
	 * Every op in each form that is open, one of which is taken at run
	 * time: the model gets a last input, an i32 rung for each op, and
	 * N_TRIAL_SUM outputs for each op behind its own.
	 */
	bool trial;
	const struct target *target;	/* times are for, or NULL */
	struct quant_op *op;		/* set by the pass */
	size_t n_op;
};

/* ---- what a report is made of --------------------------------------- */

/* Sums of products that pass integer left to floats, in its order. */
struct product_note {
	const struct loc *loc;
	const char *why;
};

struct product_notes {
	struct product_note *v;
	size_t n, cap;
};

/* ---- what passes share ---------------------------------------------- */

/* Copies of ops with values and variables replaced (passes/clone.c). */
struct cloner {
	struct ctx *ctx;
	struct map values;	/* old value id -> new value */
	struct map atoms;	/* old IV atom serial -> new expression */
};
void clone_value(struct cloner *cl, const struct value *from,
		 struct value *to);
void clone_iv(struct cloner *cl, const struct expr *iv,
	      const struct expr *to);
struct value *cloned(const struct cloner *cl, struct value *v);
const struct expr *clone_expr(const struct cloner *cl, const struct expr *e);
/* One op with its regions, before b->before; its results are entered. */
struct op *clone_op(struct cloner *cl, struct builder *b, const struct op *op);
/* Every op of the block but its terminator, which is returned uncloned. */
const struct op *clone_body(struct cloner *cl, struct builder *b,
			    const struct block *body);
void cloner_free(struct cloner *cl);

/* Removes pure ops without uses, innermost first. */
void erase_dead(struct block *b);

#endif
