/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of `dlcc run` share. */
#ifndef DLCC_RUN_H
#define DLCC_RUN_H

#include "dlrt.h"
#include "driver.h"
#include "ir/eval.h"

/* One run.  The interface is that of the reflection table, also when the
 * evaluator runs the model. */
struct loaded;
struct run {
	const struct options *o;
	struct arena a;
	struct job job;			/* unless the model is an object */
	uint32_t n_in, n_out, n_dim;
	const struct dlrt_tensor *in_type, *out_type;
	const char *const *dim_name;
	int64_t *dim;			/* values; -1 when not given */
	struct tensor *in, *out;
	struct tensor *want;		/* of --data, or NULL */
};

/* ---- inputs.c ------------------------------------------------------- */

/* Fills in[], want[] and dim[] from files, else from random numbers. */
void run_inputs(struct run *r);
/* "f32[2,3]", for messages. */
const char *tensor_text(struct arena *a, const struct tensor *t);
const char *type_text(struct run *r, const struct dlrt_tensor *t);

/* The inputs of r alone, from DIR/input_<n>.pb or .npy; false, without a
 * message, when DIR has no first input. */
bool run_sample(struct run *r, const char *dir);
/* Of the inputs' dims and bytes. */
uint64_t run_hash(const struct run *r);
/* Random inputs where symbolic dims that nothing decides are n. */
void run_random(struct run *r, int64_t n);

/* ---- run.c ---------------------------------------------------------- */

/* Takes the interface from the compiled model's table. */
void run_use_table(struct run *r, const struct dlrt_model *m);
/* The status as one line that names the node, and the exit status. */
int run_report(struct run *r, const struct loaded *l, int32_t status);

/* ---- load.c --------------------------------------------------------- */

struct loaded {
	void *handle;
	const struct dlrt_model *model;
	const void *weights;	/* of a side file, or NULL */
};

/* Links when it is no shared object yet, opens, finds the table, checks. */
struct loaded model_load(struct run *r);
/* Whether the path names an object rather than a model. */
bool is_object(const char *path);

/* ---- variant.c ------------------------------------------------------ */

struct variant {
	struct options own;	/* it is compiled with */
	struct run r;		/* the job, and the interface */
	struct loaded l;
	const struct tensor *last;	/* the last input, which samples lack;
					 * or NULL */
};

/* With the options of a compile or run, but for the CPU at hand.  v must not
 * move any more. */
void variant_init(struct variant *v, const struct options *o);
/* Makes code of the imported module; false after a diagnostic. */
bool variant_load(struct variant *v);
/* One call with the sample in DIR, or with random inputs when it is NULL; the
 * exit status.  The outputs are call->out, in call->a, which the caller frees.
 */
int variant_call(struct variant *v, const char *dir, uint64_t seed,
		 struct run *call);
void variant_free(struct variant *v);

/* The folders of samples: DIR itself and those in it, in order of names. */
struct samples {
	char **dir;
	size_t n;
};
struct samples samples_list(struct arena *a, const char *root);

/* ---- call.c --------------------------------------------------------- */

/* Calls the compiled model; fills out[] and returns its status. */
int32_t run_call(struct run *r, const struct loaded *l);

/* ---- evaluate.c ----------------------------------------------------- */

/* Imports the model and describes its interface. */
bool eval_prepare(struct run *r);
/* Runs the reference evaluator; false after a diagnostic. */
bool eval_run(struct run *r, int32_t *status);

/* ---- results.c ------------------------------------------------------ */

void results_print(struct run *r);
void results_save(struct run *r);
/* False after a table of what differs. */
bool results_compare(struct run *r);

#endif
