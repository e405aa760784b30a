/* SPDX-License-Identifier: Apache-2.0 */
/* From a model file to code and header, and to files. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dlrt.h"
#include "driver.h"
#include "ir/op.h"
#include "ir/target.h"
#include "ir/text.h"
#include "passes/graph/quantize/profile.h"
#include "passes/pass.h"

/* ---- reading -------------------------------------------------------- */

static bool has_suffix(const char *s, const char *suffix)
{
	size_t n = strlen(s), k = strlen(suffix);

	return n >= k && !strcmp(s + n - k, suffix);
}

static struct module *read_text(struct ctx *c, const char *path,
				const char *blobs)
{
	size_t size;
	/* The text's names and bytes may be used as long as the module. */
	const char *text = file_read(&c->perm, path, &size);
	struct module *m = module_parse_blobs(c, text, size, path, blobs);

	return m && module_verify(m, "parsing") ? m : NULL;
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* In the form in which the pipeline prints its passes. */
static void show_time(const struct job *job, double start, const char *what)
{
	if (job->o->time_passes)
		fprintf(stderr, "%10.3f ms  %s\n", now_ms() - start, what);
}

static void add_read(void *arg, const char *path)
{
	struct job *job = arg;

	vec_push(&job->read, arena_str(&job->ctx->perm, path, strlen(path)));
}

bool job_import(struct job *job)
{
	const struct options *o = job->o;
	double start = now_ms();
	struct frontend_options fo = {
		.data_root = o->data_root, .dim = o->dim, .n_dim = o->n_dim,
		.lenient_tensors = o->lenient, .opened = add_read,
		.opened_arg = job,
	};

	job->ctx = ctx_new();
	job->ctx->winograd = o->winograd;
	job->ctx->strict_qdq = o->strict_qdq;
	job->ctx->fp32 = o->fp32;
	job->ctx->diag.file = o->model;
	job->ctx->diag.no_warnings = o->no_warnings;
	job->ctx->diag.bug_hook = bug_reproduce;
	job->ctx->diag.bug_arg = job;
	if (o->blobs)
		add_read(job, o->blobs);
	if (has_suffix(o->model, ".dl"))
		job->m = read_text(job->ctx, o->model, o->blobs);
	else
		job->m = frontend_import(job->ctx, o->model, &fo);
	show_time(job, start, "(import)");
	return job->m && quantize_prepare(job);
}

/* ---- the pipeline --------------------------------------------------- */

static void show_progress(void *arg, const char *pass, unsigned i, unsigned n)
{
	struct job *job = arg;

	job->pass = pass;
	job->n_passed = i;
	if (job->o->verbose) {
		fprintf(stderr, "dlcc: pass %s\n", pass);
	} else if (job->progress) {
		/* The cursor goes back, so that a message overwrites it. */
		fprintf(stderr, "[%u/%u] %s\033[K\r", i + 1, n, pass);
	}
}

static bool wants_progress(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

const char *job_pipeline(const struct job *job)
{
	static const char requantize[] = "requantize";
	const struct options *o = job->o;
	struct arena *a = &job->ctx->perm;
	const char *s = o->passes ? o->passes : pipeline_text(o->level,
							  job->ctx->target);
	const char *own = quantize_pass(a, o);
	const char *at = *own ? strstr(s, "lower_graph") : NULL;

	if (at)
		s = arena_fmt(a, "%.*s%s%s", (int)(at - s), s, own, at);
	at = o->q31 ? strstr(s, requantize) : NULL;
	if (!at)
		return s;
	at += sizeof(requantize) - 1;
	return arena_fmt(a, "%.*s{q31=1}%s", (int)(at - s), s, at);
}

/*
 * The pipeline up to the pass that lowers to the next level, where `before`
 * names it; NULL runs all.
 */
static bool run_passes(struct job *job, const char *before)
{
	const struct options *o = job->o;
	struct pipeline_options po = {
		.passes = job_pipeline(job),
		.level = o->level, .print_after = o->print_after,
		.verify_each = o->verify_each, .time_passes = o->time_passes,
		.out = stderr, .progress = show_progress, .arg = job,
	};
	/* A list from the user is what the user wants to see. */
	const char *end = before && !o->passes ? strstr(po.passes, before)
					       : NULL;

	if (end)
		po.passes = arena_str(&job->ctx->perm, po.passes,
				      (size_t)(end - po.passes));
	job->progress = !o->verbose && wants_progress();
	bool ok = !*po.passes || pipeline_run(job->m, &po);

	if (job->progress)
		fputs("\033[K", stderr);
	job->progress = false;
	job->pass = NULL;
	return ok;
}

static bool set_target(struct job *job)
{
	const struct options *o = job->o;

	job->ctx->target = codegen_target(job->ctx, o->target, o->cpu,
					  o->features,
					  o->march);
	return job->ctx->target;
}

bool job_passes(struct job *job)
{
	return set_target(job) && run_passes(job, NULL);
}

bool job_graph_passes(struct job *job)
{
	return set_target(job) && run_passes(job, "lower_graph");
}

bool job_nest_passes(struct job *job)
{
	return set_target(job) && run_passes(job, "layout");
}

static void report_io(const struct op *func)
{
	const struct attr *notes = op_attr(func, A_io_notes);

	for (size_t i = 0; notes && i < notes->n; i++)
		fprintf(stderr, "dlcc: %s\n", notes->strs[i]);
}

/* What check_bounds found, for --verbose. */
static void report_proofs(const struct op *func)
{
	const struct attr *list = op_attr(func, A_guarded_list);

	fprintf(stderr, "dlcc: %lld accesses proved, %lld guarded\n",
		(long long)(op_int(func, A_checked) -
			    op_int(func, A_guarded)),
		(long long)op_int(func, A_guarded));
	for (size_t i = 0; list && i < list->n; i++)
		fprintf(stderr, "dlcc: guarded: %s\n", list->strs[i]);
}

/* One image of all kernels, as it is. */
static bool take_image(struct job *job, const struct gpu_code *code, bool ptx)
{
	const struct blob *found = NULL;
	unsigned n = 0;

	for (size_t i = 0; i < code->image.n; i++) {
		if (code->image.v[i].kind != (ptx ? DLRT_PTX : DLRT_CUBIN))
			continue;
		if (!found)
			found = &code->image.v[i].data;
		n++;
	}
	if (n != 1) {
		diag_error(&job->ctx->diag, EXIT_USAGE, NULL,
			   "the kernels are in %u files of this kind: one is "
			   "made by --emit=cuda, all are in the object", n);
		return false;
	}
	char *copy = xrealloc(NULL, found->size + 1, 1);

	memcpy(copy, found->data, found->size);
	/* PTX ends with a NUL that is no part of the text. */
	job->out.head = (struct blob){ copy, found->size - ptx };
	return true;
}

static void report_kernels(const struct gpu_code *code)
{
	fprintf(stderr, "dlcc: %zu kernels for %zu launches%s\n",
		code->kernel.n, code->launch.n,
		code->spills ? ", some of which lack registers" : "");
	for (const char *p = code->report, *end; *p; p = end + 1) {
		end = strchr(p, '\n');
		fprintf(stderr, "dlcc: %.*s\n", (int)(end - p), p);
	}
}

static const struct expr *bytes_of(struct ctx *c, const struct abi_tensor *t)
{
	return expr_ceildiv(c, expr_scale(c, t->elems,
					  dtype_info[t->dtype].bits),
			    expr_const(c, 8));
}

/* What goes between the memory of the host and that of the GPU. */
static void report_copies(struct job *job, const struct abi *abi)
{
	struct ctx *c = job->ctx;
	const struct expr *in = expr_const(c, 0), *out = in;
	struct op *op = op_body(job->m->func)->first;
	unsigned n = 0;

	for (uint32_t i = 0; i < abi->n_in; i++)
		in = expr_add(c, in, bytes_of(c, &abi->in[i]));
	for (uint32_t i = 0; i < abi->n_out; i++)
		out = expr_add(c, out, bytes_of(c, &abi->out[i]));
	for (; op; op = op->next)
		n += op->code == OP_core_bind;
	fprintf(stderr, "dlcc: a call copies %s bytes to the GPU and %s back",
		expr_str(c, in), expr_str(c, out));
	if (n)
		fprintf(stderr, ", and waits %u times to read a tensor", n);
	fprintf(stderr, "; %lld bytes of weights are copied once\n",
		(long long)job->out.weight_bytes);
}

static bool make_code(struct job *job, struct codegen_options *co,
		      enum codegen_kind kind)
{
	const struct target *t = job->ctx->target;
	struct gpu_code code;
	bool ok;

	if (!t->gpu[0] && kind >= CODEGEN_CUDA) {
		diag_error(&job->ctx->diag, EXIT_USAGE, NULL,
			   "--emit=cuda, ptx and cubin need "
			   "--target=nvptx64-nvidia-cuda");
		return false;
	}
	if (kind == CODEGEN_CUDA)
		return codegen_cuda(job->m, co, &job->out);
	if (!t->gpu[0])
		return codegen_llvm(job->m, co, kind, &job->out);
	co->nvrtc = job->o->nvrtc;
	co->report = job->o->verbose;
	ok = codegen_gpu(job->m, co, &code);
	if (ok && job->o->verbose)
		report_kernels(&code);
	co->gpu = &code;
	if (kind == CODEGEN_PTX || kind == CODEGEN_CUBIN)
		ok = ok && take_image(job, &code, kind == CODEGEN_PTX);
	else
		ok = ok && codegen_llvm(job->m, co, kind, &job->out);
	if (ok && job->o->verbose)
		report_copies(job, co->abi);
	gpu_code_free(&code);
	return ok;
}

bool job_compile(struct job *job, enum codegen_kind kind)
{
	struct codegen_options co = {
		.pic = true, .opt_level = (unsigned)job->o->level,
	};

	job->abi = abi_describe(job->m, job->prefix);
	if (!job->abi)
		return false;
	job->abi->weights_apart = job->o->weights;
	if (!job_passes(job))
		return false;
	job->abi->gpu = job->ctx->target->gpu[0];
	if (job->o->verbose) {
		report_io(job->m->func);
		report_proofs(job->m->func);
	}
	if (!job_is_lowered(job))
		return false;
	abi_finish(job->abi, job->m);
	job->header = header_emit(job->ctx, job->abi);
	if (job->o->emit == EMIT_HEADER && !job->o->run)
		return true;
	co.abi = job->abi;
	job->pass = "(code generation)";
	job->n_passed = UINT_MAX;
	double start = now_ms();
	bool ok = make_code(job, &co, kind);

	show_time(job, start, job->pass);
	job->pass = NULL;
	return ok;
}

int job_status(const struct job *job)
{
	const struct diag *d = &job->ctx->diag;

	if (!d->n_errors)
		bug(&job->ctx->diag, "it failed without a message");
	return d->code;
}

void job_free(struct job *job)
{
	free(job->header);
	codegen_out_free(&job->out);
	vec_free(&job->read);
	if (job->profile)
		profile_free(job->profile);
	if (job->ctx)
		ctx_free(job->ctx);
}

/* ---- files ---------------------------------------------------------- */

enum { MAX_FILES = 4 };

/* Everything that a compile writes, in the order of the renames. */
struct files {
	struct output out[MAX_FILES];
	size_t n;
};

static struct output *add_file(struct files *f, const struct job *job,
			       const char *path, const void *data, size_t size)
{
	struct output *out = &f->out[f->n];
	bool is_input = same_file(path, job->o->model);

	for (size_t i = 0; i < job->read.n && !is_input; i++)
		is_input = same_file(path, job->read.v[i]);
	if (is_input)
		fatal(EXIT_USAGE, "%s is the input; it is not overwritten",
		      path);
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(path, "-") && !strcmp(path, f->out[i].path))
			fatal(EXIT_USAGE, "%s would be written twice", path);
	output_open(out, path);
	output_write(out, data, size);
	f->n++;
	return out;
}

static const char *with_suffix(struct arena *a, const char *path,
			       const char *suffix)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');
	size_t n = dot && dot != base ? (size_t)(dot - path) : strlen(path);

	return arena_fmt(a, "%.*s%s", (int)n, path, suffix);
}

/* make has no way to quote a line end. */
static void put_make_name(FILE *f, const char *s)
{
	for (; *s; s++) {
		if (*s == '\n')
			fatal(EXIT_USAGE, "a make rule cannot name a file "
			      "with a line end");
		if (*s == '$')
			fputc('$', f);
		else if (strchr(" \t#:\\", *s))
			fputc('\\', f);
		fputc(*s, f);
	}
}

static void add_depfile(struct files *f, struct job *job)
{
	const struct options *o = job->o;
	const char *path = o->depfile ? o->depfile
				      : with_suffix(&job->ctx->perm, o->output,
						    ".d");
	struct text text;

	text_open(&text);
	for (size_t i = 0; i < f->n; i++) {
		fputs(i ? " " : "", text.f);
		put_make_name(text.f, f->out[i].path);
	}
	fputs(": ", text.f);
	put_make_name(text.f, o->model);
	for (size_t i = 0; i < job->read.n; i++) {
		fputc(' ', text.f);
		put_make_name(text.f, job->read.v[i]);
	}
	fputc('\n', text.f);
	text_close(&text);
	add_file(f, job, path, text.s, text.size);
	free(text.s);
}

/* The object, or the shared object that the C compiler links from it. */
static void add_code(struct files *f, struct job *job)
{
	const struct options *o = job->o;
	const struct blob *code = &job->out.head;

	if (o->emit != EMIT_SO) {
		output_parts(add_file(f, job, o->output, code->data,
				      code->size),
			     &job->out.tail);
		return;
	}
	char *dir = temp_dir(), *path = temp_file(dir, "model.o");
	char *shared = temp_file(dir, "model.so");
	struct output obj;

	output_open(&obj, path);
	output_write(&obj, code->data, code->size);
	output_parts(&obj, &job->out.tail);
	output_commit(&obj, 1);
	link_shared(o, path, shared);

	size_t size;
	const char *bytes = file_read(&job->ctx->perm, shared, &size);

	add_file(f, job, o->output, bytes, size);
}

static void write_code(struct job *job)
{
	const struct options *o = job->o;
	bool stdout_only = !strcmp(o->output, "-");
	struct files f = { .n = 0 };

	if (o->emit == EMIT_HEADER)
		add_file(&f, job, o->output, job->header, strlen(job->header));
	else if (o->header || (!stdout_only && o->emit <= EMIT_ASM))
		add_file(&f, job, o->header ? o->header
					  : with_suffix(&job->ctx->perm,
							o->output, ".h"),
			 job->header, strlen(job->header));
	if (o->weights && o->emit != EMIT_HEADER)
		output_parts(add_file(&f, job, o->weights, NULL, 0),
			     &job->out.weights);
	if (o->emit != EMIT_HEADER)
		add_code(&f, job);
	if (o->deps)
		add_depfile(&f, job);
	output_commit(f.out, f.n);
}

static void write_text(struct job *job)
{
	char *text = module_print(job->m), *blobs = NULL;
	struct files f = { .n = 0 };
	size_t size;

	add_file(&f, job, job->o->output, text, strlen(text));
	if (job->o->save_blobs) {
		blobs = module_blobs(job->m, &size);
		add_file(&f, job, job->o->save_blobs, blobs, size);
	}
	if (job->o->deps)
		add_depfile(&f, job);
	output_commit(f.out, f.n);
	free(text);
	free(blobs);
}

static bool compile(struct job *job)
{
	switch (job->o->emit) {
	case EMIT_IR: return job_graph_passes(job);
	case EMIT_NEST:
		return set_target(job) && run_passes(job, "lower_loops");
	case EMIT_LOOP: return job_passes(job);
	case EMIT_ASM: return job_compile(job, CODEGEN_ASM);
	case EMIT_LLVM: return job_compile(job, CODEGEN_LLVM);
	case EMIT_BC: return job_compile(job, CODEGEN_BC);
	case EMIT_CUDA: return job_compile(job, CODEGEN_CUDA);
	case EMIT_PTX: return job_compile(job, CODEGEN_PTX);
	case EMIT_CUBIN: return job_compile(job, CODEGEN_CUBIN);
	case EMIT_OBJ: case EMIT_SO: case EMIT_HEADER: case EMIT_UNSET:
		break;
	}
	return job_compile(job, CODEGEN_OBJ);
}

int compile_main(const struct options *o)
{
	struct options own = *o;
	struct gate *gate = NULL;
	struct job job = { .o = &own, .prefix = o->prefix };
	int status = EXIT_OK;

	if (!strcmp(o->output, "-") && isatty(STDOUT_FILENO) &&
	    (o->emit == EMIT_OBJ || o->emit == EMIT_BC))
		fatal(EXIT_USAGE, "an object is not written to a terminal");
	if (o->max_error || o->max_drop || o->quant_report)
		status = gate_run(&own, &gate);
	if (status) {
		gate_end(gate, NULL);
		return status;
	}
	if (!job_import(&job) || !compile(&job))
		status = job_status(&job);
	gate_end(gate, status ? NULL : &job);
	if (!status && o->emit >= EMIT_IR)
		write_text(&job);
	else if (!status)
		write_code(&job);
	job_free(&job);
	return status;
}
