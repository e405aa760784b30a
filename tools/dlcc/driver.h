/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the dlcc program share. */
#ifndef DLCC_DRIVER_H
#define DLCC_DRIVER_H

#include <stdbool.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/vec.h"
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "ir/ir.h"

/* EMIT(enumerator, name, suffix): what a compile may make. */
#define EMIT_KINDS           \
	EMIT(OBJ, "obj", ".o")    \
	EMIT(SO, "so", ".so")     \
	EMIT(ASM, "asm", ".s")    \
	EMIT(LLVM, "llvm", ".ll") \
	EMIT(BC, "bc", ".bc")     \
	EMIT(CUDA, "cuda", ".cu") \
	EMIT(PTX, "ptx", ".ptx") \
	EMIT(CUBIN, "cubin", ".cubin") \
	EMIT(HEADER, "header", ".h") \
	EMIT(IR, "ir", ".dl")     \
	EMIT(NEST, "nest", ".nest.dl") \
	EMIT(LOOP, "loop", ".loop.dl")

enum emit {
#define EMIT(id, name, suffix) EMIT_##id,
	EMIT_KINDS
#undef EMIT
	EMIT_UNSET,
};

/* The command line, parsed and checked; strings are those of argv. */
struct options {
	bool run;			/* the command: dlcc run */
	bool calibrate;			/* the command: dlcc calibrate */
	bool inspect, quant;		/* the command: dlcc inspect --quant */
	const char *model;
	const char *output, *prefix, *header, *weights, *depfile;
	enum emit emit;
	bool deps;
	struct frontend_dim *dim;
	unsigned n_dim;
	const char *target, *cpu, *features;
	const char *march, *nvrtc;	/* of GPUs */
	enum fp32_form fp32;
	const char *passes, *print_after, *data_root, *cc;
	const char *blobs, *save_blobs;
	int level;
	int winograd;			/* as in struct ctx */
	bool strict_qdq;		/* as in struct ctx */
	bool verify_each, time_passes, lenient, verbose;
	const char *quantize, *profile;	/* the form as it was given */
	const char **keep;		/* --keep-float */
	unsigned n_keep;
	int64_t split, smooth;		/* smooth in hundredths */
	bool no_cle;
	bool io_quantized;		/* --io */
	bool q31;			/* --requant */
	const char *precision;		/* as it was given, or NULL */
	const char *range;
	const char *max_error, *max_drop, *labels, *quant_report;
	bool gate_warn;
	bool no_warnings;		/* of trials, which repeat them */
	int64_t gate_budget;		/* seconds */
	/* What the gate decided: the quant_rung of each op that could be
	 * quantized; or NULL. */
	const unsigned char *rung;
	size_t n_rung;
	bool hessian, merge;
	size_t part, n_part;		/* every n_part-th sample */
	const char **model_list;	/* of --merge; model is the first */
	unsigned n_model;

	const char **input;		/* "FILE" or "NAME=FILE" */
	unsigned n_input;
	const char *data, *save;
	double rtol, atol;
	uint64_t seed;
	int64_t print;
	unsigned threads;
	bool bench, eval, save_pb;
};

/* Exits with EXIT_USAGE after one line, or with 0 after --help and such. */
struct options options_parse(struct arena *a, int argc, char **argv);

/* response.c: the arguments with each @FILE replaced by what it holds. */
char **response_expand(struct arena *a, int *argc, char **argv);

/* ---- compile.c ------------------------------------------------------ */

/* A model on its way; filled by the functions below, in their order. */
struct job {
	const struct options *o;
	const char *prefix;
	struct ctx *ctx;
	VEC(const char *) read;	/* files of external data */
	struct module *m;
	struct abi *abi;
	char *header;
	struct codegen_out out;
	const char *pass;	/* that runs now, for the reproducer */
	unsigned n_passed;	/* passes before it */
	bool progress;		/* a line of progress is on the terminal */
	struct profile *profile;	/* of --profile, or NULL */
};

/* Reads the model, as ONNX or as .dl by its suffix. */
bool job_import(struct job *job);
/* Runs the passes of the options, all of them. */
bool job_passes(struct job *job);
/* The same up to the last pass at the graph level. */
bool job_graph_passes(struct job *job);
/* From the graph level to code; also sets the header. */
bool job_compile(struct job *job, enum codegen_kind kind);
/* The same up to the pass that prepares contractions. */
bool job_nest_passes(struct job *job);
/* The pipeline's text, with what the options put in. */
const char *job_pipeline(const struct job *job);
/* ready.c: false after a diagnostic. */
bool job_is_lowered(const struct job *job);
/* The exit status of what was reported. */
int job_status(const struct job *job);
void job_free(struct job *job);

int compile_main(const struct options *o);

/* ---- bug.c ---------------------------------------------------------- */

/* The diag.bug_hook of a job: writes the module as it was before the pass
 * that failed, and how to get there. */
void bug_reproduce(void *job);

/* ---- output.c ------------------------------------------------------- */

/*
 * A file in the making: written beside its final place, put there by
 * output_commit(), and removed when dlcc ends before, by whatever way.  All
 * failures are fatal (EXIT_IO).
 */
struct output {
	const char *path;
	char *temp;		/* NULL: written in place (a device, stdout) */
	int fd;
};

/* Call first: opens fds 0 to 2, handles signals. */
void output_setup(void);
void output_open(struct output *out, const char *path);
void output_write(struct output *out, const void *data, size_t size);
void output_parts(struct output *out, const struct parts *parts);
/* Syncs and closes all n, then renames them in order. */
void output_commit(struct output *out, size_t n);
/* What is written with stdio to `f` until it is closed; fatal when there is
 * no memory for it. */
struct text {
	FILE *f;
	char *s;		/* free()d by the caller of text_close() */
	size_t size;
};
void text_open(struct text *t);
void text_close(struct text *t);
/* Closes it and makes it the file at the path. */
void text_save(struct text *t, const char *path);
/* A new empty directory for temporary files, malloc'ed; removed at the end
 * with the files that temp_file() named in it. */
char *temp_dir(void);
char *temp_file(const char *dir, const char *name);
/* Removes one of either before the end, an empty directory last; frees it. */
void temp_remove(char *path);
bool same_file(const char *a, const char *b);
/* All bytes and a NUL behind them. */
char *file_read(struct arena *a, const char *path, size_t *size);

/* ---- link.c --------------------------------------------------------- */

/* cc -shared: makes a shared object of one object.  Fatal on failure. */
void link_shared(const struct options *o, const char *object,
		 const char *shared);

/* ---- quantize.c ----------------------------------------------------- */

struct profile;

/* Exits with EXIT_USAGE when the options about quantization make no sense. */
void quantize_check(const struct options *o);
/* What the options put before lower_graph: "quantize{...},quantized_io,". */
const char *quantize_pass(struct arena *a, const struct options *o);
/* Makes them the options of a float model. */
void quantize_drop(struct options *o);
/* Does --profile ask for the ranges of random inputs? */
bool profile_is_synthetic(const struct options *o);
/* Reads --profile for the pass; false after a diagnostic. */
bool quantize_prepare(struct job *job);

/* ---- calibrate.c ---------------------------------------------------- */

int calibrate_main(const struct options *o);
/* The profile of a model under random inputs. */
bool calibrate_synthetic(const struct options *o, struct profile *p);

/* ---- inspect.c ------------------------------------------------------ */

int inspect_main(const struct options *o);

/* ---- gate.c --------------------------------------------------------- */

/* Exits with EXIT_USAGE when --max-error or --max-drop make no sense. */
void gate_check(const struct options *o);
struct gate;
/* Compares the quantized model with the float one and decides o->rung; the
 * exit status, and in *g what gate_end() needs. */
int gate_run(struct options *o, struct gate **g);
/* Writes the report, with what the compiled job says, unless it is NULL, and
 * frees g, which may be NULL. */
void gate_end(struct gate *g, const struct job *job);

/* ---- run.c ---------------------------------------------------------- */

int run_main(const struct options *o);

#endif
