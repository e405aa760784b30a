/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C header of a model: sizes as macros, one typed function to run it, all
 * of it over the one symbol P_model_<hash> of the object.  The hash is that of
 * the header's own text, so a header of another build fails to link.
 *
 * The text compiles as C99 and later and as C++11 and later.  Names of the
 * model reach it only as cleaned identifiers and as escaped strings.
 */
#include "codegen/codegen.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

enum {
	MAX_NAME = 1000,	/* longer names are only in the object */
	HASH_CHARS = 16,
};

struct header {
	struct ctx *ctx;
	const struct abi *abi;
	FILE *f;
	const char *p;		/* the prefix, as it is and in upper case */
	const char *up;
	const char *symbol;	/* P_model_<hash> */
	bool dynamic_out;	/* some output's size is known after the call */
	VEC(const struct atom *) computed;	/* locals of the function */
};

static const char *to_upper(struct arena *a, const char *s)
{
	char *up = arena_str(a, s, strlen(s));

	for (char *p = up; *p; p++)
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
	return up;
}

/* ---- expressions in C ----------------------------------------------- */

static void put_expr(struct header *h, const struct expr *e);

static void put_call(struct header *h, const char *fn, const struct atom *a)
{
	fprintf(h->f, "%s_%s_(", h->p, fn);
	put_expr(h, a->a);
	fputs(", ", h->f);
	put_expr(h, a->b);
	fputc(')', h->f);
}

static void put_atom(struct header *h, const struct atom *a)
{
	switch (a->kind) {
	case ATOM_SYM:
		for (uint32_t i = 0; i < h->abi->n_dim; i++)
			if (h->abi->dim[i] == a)
				fprintf(h->f, "dim_%s",
					h->abi->dim_ident[i]);
		return;
	case ATOM_DIM:
		for (size_t i = 0; i < h->computed.n; i++)
			if (h->computed.v[i] == a)
				fprintf(h->f, "n%zu_", i);
		return;
	case ATOM_DIV: put_call(h, "div", a); return;
	case ATOM_MOD: put_call(h, "mod", a); return;
	case ATOM_MIN: put_call(h, "min", a); return;
	case ATOM_MAX: put_call(h, "max", a); return;
	case ATOM_IV: case ATOM_ARG: case ATOM_VAL: case ATOM_POISON:
		bug(&h->ctx->diag, "a size in the header is not closed");
	}
}

/* INT64_MIN has no literal of its own type. */
static void put_int(struct header *h, int64_t v)
{
	if (v == INT64_MIN)
		fputs("(-INT64_C(9223372036854775807) - 1)", h->f);
	else if (v < 0)
		fprintf(h->f, "(-INT64_C(%" PRId64 "))", -v);
	else
		fprintf(h->f, "INT64_C(%" PRId64 ")", v);
}

static void put_expr(struct header *h, const struct expr *e)
{
	if (!e->n)
		fputc('0', h->f);
	for (uint32_t i = 0; i < e->n; i++) {
		const struct term *t = &e->term[i];

		if (i)
			fputs(" + ", h->f);
		if (t->coef != 1 || !t->n)
			put_int(h, t->coef);
		for (uint32_t k = 0; k < t->n; k++) {
			if (k || t->coef != 1)
				fputs(" * ", h->f);
			put_atom(h, t->atom[k]);
		}
	}
}

static void find_call(void *arg, const struct atom *a)
{
	bool *found = arg;

	if (a->kind >= ATOM_DIV)
		*found = true;
}

static bool needs_calls(const struct header *h)
{
	struct map seen = { 0 };
	bool found = false;

	for (uint32_t i = 0; i < h->abi->n_out; i++)
		if (h->abi->out[i].sized)
			expr_visit_all(h->abi->out[i].elems, find_call, &found,
				       &seen);
	map_free(&seen);
	return found;
}

static void put_calls(struct header *h)
{
	static const struct {
		const char *name, *body;
	} fn[] = {
		{ "div", "a / b - (a % b < 0)" },
		{ "mod", "a % b + (a % b < 0 ? b : 0)" },
		{ "min", "a < b ? a : b" },
		{ "max", "a > b ? a : b" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fn); i++)
		fprintf(h->f,
			"static inline int64_t %s_%s_(int64_t a, int64_t b)\n"
			"{\n\treturn %s;\n}\n",
			h->p, fn[i].name, fn[i].body);
	fputc('\n', h->f);
}

/* ---- names and sizes ------------------------------------------------ */

/* Octal escapes end after three digits, so no later character joins them, and
 * no trigraph, quote or line end is left. */
static void put_string(struct header *h, const char *s)
{
	fputc('"', h->f);
	for (; *s; s++) {
		unsigned char ch = (unsigned char)*s;

		if (ch < 0x20 || ch >= 0x7f || strchr("\"\\?", ch))
			fprintf(h->f, "\\%03o", ch);
		else
			fputc(ch, h->f);
	}
	fputs("\"", h->f);
}

/* All dims, or those that an expression mentions. */
static void put_dim_params(struct header *h, const struct expr *of)
{
	const char *comma = "";

	for (uint32_t i = 0; i < h->abi->n_dim; i++) {
		if (of && !expr_uses(of, h->abi->dim[i]))
			continue;
		fprintf(h->f, "%sint64_t dim_%s", comma,
			h->abi->dim_ident[i]);
		comma = ", ";
	}
	if (!*comma)
		fputs("void", h->f);
}

static void find_computed(void *arg, const struct atom *a)
{
	struct header *h = arg;

	if (a->kind == ATOM_DIM)
		vec_push(&h->computed, a);
}

static int by_serial(const void *pa, const void *pb)
{
	const struct atom *const *a = pa, *const *b = pb;

	return (*a)->serial < (*b)->serial ? -1 : (*a)->serial > (*b)->serial;
}

/* Each computed dim once, before the first that mentions it. */
static void put_computed(struct header *h, const struct expr *e)
{
	struct map seen = { 0 };

	h->computed.n = 0;
	expr_visit_all(e, find_computed, h, &seen);
	map_free(&seen);
	if (!h->computed.n)
		return;
	qsort(h->computed.v, h->computed.n, sizeof(*h->computed.v), by_serial);
	for (size_t i = 0; i < h->computed.n; i++) {
		fprintf(h->f, "\tconst int64_t n%zu_ = ", i);
		put_expr(h, h->computed.v[i]->a);
		fputs(";\n", h->f);
	}
	fputc('\n', h->f);
}

/* Elements of a tensor: a macro when constant, else a function of the dims. */
static void put_elems(struct header *h, const char *dir,
		      const struct abi_tensor *t, const char *up)
{
	int64_t k;

	if (expr_is_const(t->elems, &k)) {
		fprintf(h->f, "#define %s_%s_ELEMS %" PRId64 "\n", h->up, up,
			k);
		return;
	}
	if (!t->sized)
		return;
	fprintf(h->f, "static inline int64_t %s_%s_%s_elems(", h->p, dir,
		t->ident);
	put_dim_params(h, t->elems);
	fputs(")\n{\n", h->f);
	put_computed(h, t->elems);
	fputs("\treturn ", h->f);
	put_expr(h, t->elems);
	fputs(";\n}\n", h->f);
}

static void put_tensor(struct header *h, const char *dir,
		       const struct abi_tensor *t)
{
	struct arena *temp = &h->ctx->temp;
	const char *up = to_upper(temp, arena_fmt(temp, "%s_%s", dir,
						  t->ident));
	int64_t k;

	if (strlen(t->name) <= MAX_NAME) {
		fprintf(h->f, "#define %s_%s_NAME ", h->up, up);
		put_string(h, t->name);
		fputc('\n', h->f);
	}
	fprintf(h->f, "#define %s_%s_RANK %" PRIu32 "\n", h->up, up, t->rank);
	for (uint32_t i = 0; i < t->rank; i++)
		if (expr_is_const(t->dim[i], &k))
			fprintf(h->f, "#define %s_%s_DIM_%" PRIu32
				" %" PRId64 "\n", h->up, up, i, k);
	put_elems(h, dir, t, up);
	fputc('\n', h->f);
}

/* ---- 8-bit numbers that stand for floats ---------------------------- */

/* A hexadecimal float is C99, but C++ has it since C++17 alone; nine digits
 * give the same number. */
static void put_scale(struct header *h, const char *up,
		      const struct abi_tensor *t)
{
	double s = (double)t->scale;

	fprintf(h->f, "#if defined(__cplusplus) && __cplusplus < 201703L\n"
		"#define %s_%s_SCALE %.8ef\n#else\n"
		"#define %s_%s_SCALE %af\n#endif\n",
		h->up, up, s, h->up, up, s);
	fprintf(h->f, "#define %s_%s_ZERO_POINT (%" PRId32 ")\n", h->up, up,
		t->zero_point);
}

/* Beyond +-512 every zero point leaves the range of 8 bits, and what is below
 * that is an integer and a rest, both exact. */
static void put_quantize(struct header *h, const struct abi_tensor *t,
			 const char *up)
{
	const char *type = dtype_info[t->dtype].c;
	int lo = dtype_is_signed(t->dtype) ? -128 : 0;

	fprintf(h->f,
		"/* As QuantizeLinear: halves to even, saturated; NaN gives "
		"%d. */\n"
		"static inline %s %s_quantize_%s(float v)\n{\n"
		"\tfloat x = v / %s_%s_SCALE;\n"
		"\tint32_t q;\n\n"
		"\tif (!(x >= -512.0f))\n\t\tx = -512.0f;\n"
		"\tif (x > 512.0f)\n\t\tx = 512.0f;\n"
		"\tq = (int32_t)x;\n"
		"\tx -= (float)q;\n"
		"\tif (x > 0.5f || (x >= 0.5f && q %% 2 != 0))\n\t\tq++;\n"
		"\tif (x < -0.5f || (x <= -0.5f && q %% 2 != 0))\n\t\tq--;\n"
		"\tq += %s_%s_ZERO_POINT;\n"
		"\treturn (%s)(q < %d ? %d : q > %d ? %d : q);\n}\n",
		lo, type, h->p, t->ident, h->up, up, h->up, up, type, lo, lo,
		lo + 255, lo + 255);
}

static void put_dequantize(struct header *h, const struct abi_tensor *t,
			   const char *up)
{
	fprintf(h->f,
		"static inline float %s_dequantize_%s(%s q)\n{\n"
		"\treturn (float)(q - %s_%s_ZERO_POINT) * %s_%s_SCALE;\n}\n",
		h->p, t->ident, dtype_info[t->dtype].c, h->up, up, h->up, up);
}

static void put_grid(struct header *h, bool is_in, const struct abi_tensor *t)
{
	struct arena *temp = &h->ctx->temp;
	const char *up = to_upper(temp, arena_fmt(temp, "%s_%s",
						  is_in ? "in" : "out",
						  t->ident));

	if (t->scale == 0)
		return;
	put_scale(h, up, t);
	if (is_in)
		put_quantize(h, t, up);
	else
		put_dequantize(h, t, up);
	fputc('\n', h->f);
}

/* ---- all sizes ------------------------------------------------------ */

static void put_sizes(struct header *h)
{
	const struct abi *abi = h->abi;

	fprintf(h->f, "#define %s_N_INPUTS %" PRIu32 "\n", h->up, abi->n_in);
	fprintf(h->f, "#define %s_N_OUTPUTS %" PRIu32 "\n", h->up, abi->n_out);
	fprintf(h->f, "#define %s_N_DIMS %" PRIu32 "\n", h->up, abi->n_dim);
	fprintf(h->f, "#define %s_WORKSPACE_ALIGN 64\n", h->up);
	if (abi->workspace_bytes >= 0)
		fprintf(h->f, "#define %s_WORKSPACE_BYTES %" PRId64 "u\n",
			h->up, abi->workspace_bytes);
	if (abi->requant) {
		fprintf(h->f, "#define %s_REQUANT ", h->up);
		put_string(h, abi->requant);
		fputc('\n', h->f);
	}
	fputc('\n', h->f);
	for (uint32_t i = 0; i < abi->n_in; i++) {
		put_tensor(h, "in", &abi->in[i]);
		put_grid(h, true, &abi->in[i]);
	}
	for (uint32_t i = 0; i < abi->n_out; i++) {
		put_tensor(h, "out", &abi->out[i]);
		put_grid(h, false, &abi->out[i]);
	}
}

/* ---- functions ------------------------------------------------------ */

static void put_dims_array(struct header *h)
{
	const struct abi *abi = h->abi;

	if (!abi->n_dim)
		return;
	fprintf(h->f, "\tint64_t dims_[%" PRIu32 "];\n\n", abi->n_dim);
	for (uint32_t i = 0; i < abi->n_dim; i++)
		fprintf(h->f, "\tdims_[%" PRIu32 "] = dim_%s;\n", i,
			abi->dim_ident[i]);
}

static void put_workspace(struct header *h)
{
	fprintf(h->f, "/* Bytes of workspace that a call with these dims "
		"needs; 0 on overflow. */\n"
		"static inline size_t %s_workspace_bytes(", h->p);
	put_dim_params(h, NULL);
	fputs(")\n{\n", h->f);
	put_dims_array(h);
	fprintf(h->f, "\treturn %s_model.workspace(%s);\n}\n\n", h->p,
		h->abi->n_dim ? "dims_" : "NULL");
}

/* "float *out_y, size_t out_y_bytes, int64_t *out_y_dims" and so on: with
 * types for a declaration, without for a call. */
static void put_params(struct header *h, bool types)
{
	const struct abi *abi = h->abi;
	const char *star = types ? "*" : "";

	for (uint32_t i = 0; i < abi->n_dim; i++)
		fprintf(h->f, "%sdim_%s,\n\t", types ? "int64_t " : "",
			abi->dim_ident[i]);
	for (uint32_t i = 0; i < abi->n_in; i++) {
		if (types)
			fprintf(h->f, "const %s *",
				dtype_info[abi->in[i].dtype].c);
		fprintf(h->f, "in_%s,\n\t", abi->in[i].ident);
	}
	for (uint32_t i = 0; i < abi->n_out; i++) {
		const struct abi_tensor *t = &abi->out[i];

		if (types)
			fprintf(h->f, "%s *%s_RESTRICT_ ",
				dtype_info[t->dtype].c, h->up);
		fprintf(h->f, "out_%s,\n\t", t->ident);
		if (!t->sized)
			fprintf(h->f, "%sout_%s_bytes, %s%sout_%s_dims,\n\t",
				types ? "size_t " : "", t->ident,
				types ? "int64_t " : "", star, t->ident);
	}
	if (abi->gpu) {
		fprintf(h->f, "%sgpu", types ? "struct dlrt_gpu *" : "");
		return;
	}
	if (abi->weights_apart)
		fprintf(h->f, "%sweights,\n\t", types ? "const void *" : "");
	if (types)
		fprintf(h->f, "void *%s_RESTRICT_ ", h->up);
	fputs("workspace", h->f);
	if (abi->workspace_bytes < 0)
		fprintf(h->f, ", %sworkspace_bytes", types ? "size_t " : "");
}

/* Room for what dlrt_call.out_dims takes: every dim of every output. */
static uint64_t out_rank_sum(const struct abi *abi)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < abi->n_out; i++)
		n += abi->out[i].rank;
	return n;
}

/* The room that an output has, where its size is known before the call. */
static void put_room(struct header *h, const struct abi_tensor *t)
{
	struct arena *temp = &h->ctx->temp;
	const char *up = to_upper(temp, t->ident), *comma = "";
	int64_t k;

	if (expr_is_const(t->elems, &k)) {
		fprintf(h->f, "((size_t)%s_OUT_%s_ELEMS", h->up, up);
	} else {
		fprintf(h->f, "((size_t)%s_out_%s_elems(", h->p, t->ident);
		for (uint32_t i = 0; i < h->abi->n_dim; i++) {
			if (!expr_uses(t->elems, h->abi->dim[i]))
				continue;
			fprintf(h->f, "%sdim_%s", comma, h->abi->dim_ident[i]);
			comma = ", ";
		}
		fputc(')', h->f);
	}
	fprintf(h->f, " * %u + 7) / 8", dtype_info[t->dtype].bits);
}

static void put_locals(struct header *h)
{
	const struct abi *abi = h->abi;

	fputs("\tstruct dlrt_call call;\n", h->f);
	fprintf(h->f, "\tconst void *inputs[%" PRIu32 "];\n",
		abi->n_in ? abi->n_in : 1);
	fprintf(h->f, "\tvoid *outputs[%" PRIu32 "];\n",
		abi->n_out ? abi->n_out : 1);
	if (h->dynamic_out || abi->gpu)
		fprintf(h->f, "\tsize_t bytes[%" PRIu32 "];\n",
			abi->n_out ? abi->n_out : 1);
	if (h->dynamic_out)
		fprintf(h->f, "\tint64_t out_dims[%" PRIu64 "];\n"
			"\tint32_t ret;\n", out_rank_sum(abi) + 1);
	if (abi->n_dim)
		put_dims_array(h);
	else
		fputc('\n', h->f);
	/* Arrays have an element even when nothing goes there. */
	if (!abi->n_in)
		fputs("\tinputs[0] = NULL;\n", h->f);
	if (!abi->n_out)
		fputs("\toutputs[0] = NULL;\n", h->f);
	for (uint32_t i = 0; i < abi->n_in; i++)
		fprintf(h->f, "\tinputs[%" PRIu32 "] = in_%s;\n", i,
			abi->in[i].ident);
	for (uint32_t i = 0; i < abi->n_out; i++) {
		fprintf(h->f, "\toutputs[%" PRIu32 "] = out_%s;\n", i,
			abi->out[i].ident);
		if (!h->dynamic_out && !abi->gpu)
			continue;
		if (abi->out[i].sized && abi->gpu) {
			fprintf(h->f, "\tbytes[%" PRIu32 "] = ", i);
			put_room(h, &abi->out[i]);
			fputs(";\n", h->f);
		} else if (abi->out[i].sized)
			fprintf(h->f, "\tbytes[%" PRIu32 "] = SIZE_MAX;\n", i);
		else
			fprintf(h->f, "\tbytes[%" PRIu32
				"] = out_%s_bytes;\n", i, abi->out[i].ident);
	}
}

static void put_out_dims(struct header *h)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < h->abi->n_out; i++) {
		const struct abi_tensor *t = &h->abi->out[i];

		for (uint32_t k = 0; k < t->rank && !t->sized; k++)
			fprintf(h->f, "\tout_%s_dims[%" PRIu32
				"] = out_dims[%" PRIu64 "];\n", t->ident, k,
				at + k);
		at += t->rank;
	}
	fputs("\treturn ret;\n", h->f);
}

/* The end of a function: the call, and what it says of the outputs. */
static void put_return(struct header *h, const char *call)
{
	fprintf(h->f, "\t%s %s;\n", h->dynamic_out ? "ret =" : "return",
		call);
	if (h->dynamic_out)
		put_out_dims(h);
	fputs("}\n\n", h->f);
}

static void put_run_pool(struct header *h)
{
	const struct abi *abi = h->abi;

	fprintf(h->f, "/* Runs the model on the threads of the pool; NULL: on "
		"this thread. */\n"
		"static inline int32_t %s_run_pool(struct dlrt_pool *pool,\n\t",
		h->p);
	put_params(h, true);
	fputs(")\n{\n", h->f);
	put_locals(h);
	fputs("\tcall.inputs = inputs;\n\tcall.outputs = outputs;\n", h->f);
	fprintf(h->f, "\tcall.dims = %s;\n", abi->n_dim ? "dims_" : "NULL");
	fputs("\tcall.workspace = workspace;\n", h->f);
	if (abi->workspace_bytes < 0)
		fputs("\tcall.workspace_bytes = workspace_bytes;\n", h->f);
	else
		fprintf(h->f, "\tcall.workspace_bytes = %s_WORKSPACE_BYTES;\n",
			h->up);
	fprintf(h->f, "\tcall.output_bytes = %s;\n\tcall.out_dims = %s;\n",
		h->dynamic_out ? "bytes" : "NULL",
		h->dynamic_out ? "out_dims" : "NULL");
	fputs("\tcall.pool = pool;\n", h->f);
	fprintf(h->f, "\tcall.weights = %s;\n\tcall.device = NULL;\n",
		abi->weights_apart ? "weights" : "NULL");
	put_return(h, arena_fmt(&h->ctx->temp, "%s_model.invoke(&call)",
				h->p));
}

/* ---- on a GPU ------------------------------------------------------- */

static void put_gpu_call(struct header *h, const char *call)
{
	fputs(")\n{\n", h->f);
	put_locals(h);
	fputs("\tcall.inputs = inputs;\n\tcall.outputs = outputs;\n", h->f);
	fprintf(h->f, "\tcall.dims = %s;\n",
		h->abi->n_dim ? "dims_" : "NULL");
	fputs("\tcall.workspace = NULL;\n\tcall.workspace_bytes = 0;\n"
	      "\tcall.output_bytes = bytes;\n", h->f);
	fprintf(h->f, "\tcall.out_dims = %s;\n",
		h->dynamic_out ? "out_dims" : "NULL");
	fputs("\tcall.pool = NULL;\n\tcall.weights = NULL;\n"
	      "\tcall.device = NULL;\n", h->f);
	put_return(h, call);
}

static void put_gpu(struct header *h)
{
	fprintf(h->f,
		"/* Opens the model on GPU number `device`: see "
		"dlrt_gpu_open(). */\n"
		"static inline struct dlrt_gpu *%s_open(int device,\n\t"
		"int32_t *status, char *message, size_t size)\n{\n"
		"\treturn dlrt_gpu_open(&%s_model, device, status, message, "
		"size);\n}\n\n", h->p, h->p);
	fprintf(h->f, "/* Runs the model on tensors in memory of the host. */\n"
		"static inline int32_t %s_run(\n\t", h->p);
	put_params(h, true);
	put_gpu_call(h, "dlrt_gpu_run(gpu, &call)");
	fprintf(h->f, "/* The same in memory of the GPU, on a CUstream; "
		"dlrt_gpu_wait() has the status. */\n"
		"static inline int32_t %s_run_device(\n\t", h->p);
	put_params(h, true);
	fputs(", void *stream", h->f);
	put_gpu_call(h, "dlrt_gpu_run_device(gpu, &call, stream)");
}

static void put_run(struct header *h)
{
	fprintf(h->f, "static inline int32_t %s_run(\n\t", h->p);
	put_params(h, true);
	fprintf(h->f, ")\n{\n\treturn %s_run_pool(NULL,\n\t", h->p);
	put_params(h, false);
	fputs(");\n}\n\n", h->f);
}

/* ---- the file ------------------------------------------------------- */

static void put_shapes(struct header *h, const char *dir,
		       const struct abi_tensor *t)
{
	fprintf(h->f, " *   %s_%s: %s [", dir, t->ident,
		dtype_info[t->dtype].name);
	for (uint32_t i = 0; i < t->rank; i++) {
		fputs(i ? ", " : "", h->f);
		if (t->code[i] >= 0)
			fprintf(h->f, "%" PRId64, t->code[i]);
		else if (t->code[i] == INT64_MIN)
			fputs(t->sized ? "computed" : "?", h->f);
		else
			fprintf(h->f, "dim_%s",
				h->abi->dim_ident[-1 - t->code[i]]);
	}
	fputc(']', h->f);
	if (dtype_is_packed(t->dtype))
		fprintf(h->f, ", %u in a byte, low bits first",
			8 / dtype_info[t->dtype].bits);
	fputc('\n', h->f);
}

static void put_intro(struct header *h)
{
	const struct abi *abi = h->abi;

	fprintf(h->f,
		"/*\n"
		" * Made by dlcc; do not edit.  %s_run() returns an enum "
		"dlrt_status.\n"
		" * All tensors are row-major and owned by the caller; calls "
		"with different\n"
		" * %s may run at the same time.\n"
		" *\n", h->p, abi->gpu ? "gpus" : "workspaces");
	for (uint32_t i = 0; i < abi->n_in; i++)
		put_shapes(h, "in", &abi->in[i]);
	for (uint32_t i = 0; i < abi->n_out; i++)
		put_shapes(h, "out", &abi->out[i]);
	fprintf(h->f, " */\n#ifndef DLCC_%s_H\n#define DLCC_%s_H\n\n"
		"#include <stddef.h>\n#include <stdint.h>\n\n"
		"#include \"dlrt.h\"\n\n"
		"#ifdef __cplusplus\nextern \"C\" {\n"
		"#define %s_RESTRICT_\n#else\n"
		"#define %s_RESTRICT_ restrict\n#endif\n\n",
		h->up, h->up, h->up, h->up);
}

static char *put_all(struct header *h)
{
	char *text = NULL;
	size_t size = 0;

	h->f = open_memstream(&text, &size);
	if (!h->f)
		fatal(EXIT_LIMIT, "out of memory");
	put_intro(h);
	fprintf(h->f, "/* Names, types and dims, for generic tools; the name "
		"fits one object only. */\n"
		"extern const struct dlrt_model %s;\n#define %s_model %s\n\n",
		h->symbol, h->p, h->symbol);
	if (needs_calls(h))
		put_calls(h);
	put_sizes(h);
	put_workspace(h);
	if (h->abi->gpu) {
		put_gpu(h);
	} else {
		put_run_pool(h);
		put_run(h);
	}
	fprintf(h->f, "#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
	bool ok = !ferror(h->f);

	if (fclose(h->f) || !ok)
		fatal(EXIT_LIMIT, "out of memory");
	return text;
}

char *header_emit(struct ctx *c, struct abi *abi)
{
	struct header h = { .ctx = c, .abi = abi, .p = abi->prefix };

	h.up = to_upper(&c->perm, abi->prefix);
	for (uint32_t i = 0; i < abi->n_out; i++)
		h.dynamic_out |= !abi->out[i].sized;
	/* First with a hash of zeros, to have a text to hash. */
	h.symbol = arena_fmt(&c->perm, "%s_model_%0*d", h.p, HASH_CHARS, 0);
	char *text = put_all(&h);
	uint64_t hash = fnv_bytes(FNV_INIT, text, strlen(text));

	free(text);
	h.symbol = arena_fmt(&c->perm, "%s_model_%0*" PRIx64, h.p, HASH_CHARS,
			     hash);
	abi->model_symbol = h.symbol;
	text = put_all(&h);
	vec_free(&h.computed);
	return text;
}
