/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes after the pipeline: machine code, and the C header that goes
 * with it.  Both are made from one description of the interface, struct abi,
 * which is taken before the model is lowered, while its types are those that
 * the user knows.
 */
#ifndef CODEGEN_CODEGEN_H
#define CODEGEN_CODEGEN_H

#include "base/vec.h"
#include "ir/ir.h"

enum codegen_kind {
	CODEGEN_OBJ,
	CODEGEN_ASM,
	CODEGEN_LLVM,	/* LLVM's text */
	CODEGEN_BC,	/* LLVM's bitcode */
	CODEGEN_CUDA,	/* CUDA C++ */
	CODEGEN_PTX,
	CODEGEN_CUBIN,	/* machine code of the first architecture */
};

/* ---- the interface of a model --------------------------------------- */

struct abi_tensor {
	const char *name;	/* as in the ONNX file; any bytes but NUL */
	const char *ident;	/* unique in the model: [A-Za-z0-9_]+ */
	enum dtype dtype;
	uint32_t rank;
	const struct expr *const *dim;
	const int64_t *code;	/* the dims as dlrt_tensor.dims has them */
	const struct expr *elems;
	/* Is every dim an expression over abi.dim[] alone? */
	bool sized;
	/* Of 8-bit numbers that the caller quantizes or dequantizes; 0: none. */
	float scale;
	int32_t zero_point;
};

struct abi {
	const char *prefix;
	uint32_t n_in, n_out, n_dim;
	struct abi_tensor *in, *out;
	/* The symbolic dims in the order in which the inputs, from first to
	 * last and from their outermost dim on, mention them. */
	const struct atom **dim;
	const char **dim_name;		/* as in the file; any bytes but NUL */
	const char **dim_ident;

	bool weights_apart;		/* the caller passes the side file */
	bool gpu;			/* it runs through struct dlrt_gpu */
	int64_t workspace_bytes;	/* -1: depends on the dims */
	const char *requant;		/* of core.func, or NULL */

	/* "P_model_<hash>", set by header_emit(): the hash covers all that
	 * the header says, so that a stale header fails to link. */
	const char *model_symbol;
};

/* Lives in the context's permanent arena.  NULL after an error: an input dim
 * that is neither a constant nor a symbol. */
struct abi *abi_describe(struct module *m, const char *prefix);
/* Takes from core.func what passes at the graph level said of inputs and
 * outputs, and the types that these have now. */
void abi_take_io(struct abi *abi, const struct module *m);
/* Takes all that the pipeline left on core.func; sets workspace_bytes. */
void abi_finish(struct abi *abi, const struct module *m);
/* The text of the header, malloc'ed; also sets abi->model_symbol. */
char *header_emit(struct ctx *c, struct abi *abi);

/* ---- machine code --------------------------------------------------- */

/* LLVM's triple, CPU ("native": this one) and attributes; each may be NULL.
 * With a triple of nvptx64 they are for this host's architecture, and `gpus`
 * (NULL: sm_80) lists those of the kernels.  NULL after a diagnostic. */
const struct target *codegen_target(struct ctx *c, const char *triple,
				    const char *cpu, const char *features,
				    const char *gpus);
/* "19.1.7", for --version. */
const char *codegen_llvm_version(void);

enum { MAX_MAPS = 2, MAX_MAP_RANK = 5 };

/* What a kernel copies at once of a tensor, neighbours in memory first. */
struct gpu_box {
	enum dtype dtype;
	unsigned rank, size[MAX_MAP_RANK];
};

/* The tensor: its first element in a buffer, and how far apart neighbours are,
 * in elements.  All are numbers that the host can compute. */
struct gpu_map {
	struct value *buf;
	const struct expr *offset;
	const struct expr *dim[MAX_MAP_RANK], *stride[MAX_MAP_RANK];
	struct gpu_box box;
};

/* Kernels for a GPU, as struct dlrt_gpu_code tells them to the runtime. */
struct gpu_kernel {
	const char *name;
	unsigned program, threads, points, shared_bytes;
	unsigned n_box;
	struct gpu_box box[MAX_MAPS];
};

struct gpu_image {
	unsigned program, kind, arch;
	bool only;
	struct blob data;		/* malloc'ed */
};

/*
 * A loop.kernel: its row of `kernel`, and another one with indices of 32 bits
 * for calls where `bound` fits; NULL: for none.  With maps there is for each a
 * second one that copies boxes of these tensors, for GPUs that can and calls
 * where the driver makes the maps.
 */
struct gpu_launch {
	struct gpu_rows {
		unsigned row, boxes;
	} wide, narrow;
	const struct expr *bound, *points;
	const struct expr *when;	/* a call starts it unless negative;
					 * NULL: each does */
	unsigned n_map;
	struct gpu_map map[MAX_MAPS];
};

struct gpu_code {
	VEC(struct gpu_launch) launch;	/* in the order of the text */
	VEC(struct gpu_kernel) kernel;
	VEC(struct gpu_image) image;
	unsigned min_driver;
	bool spills;			/* a kernel is slow, see nvrtc.c */
	char *report;			/* malloc'ed; NULL: nobody asked */
};

struct codegen_options {
	/* With abi->weights_apart the weights stay out of the object. */
	const struct abi *abi;
	bool pic;
	unsigned opt_level;		/* 0 to 3 */
	/* Of codegen_gpu(): what the host's code launches; NULL: it runs the
	 * kernels itself. */
	const struct gpu_code *gpu;
	const char *nvrtc;		/* the library, or NULL: look for it */
	bool report;			/* what kernels take, as a table */
};

/*
 * What was made: `head`, then `tail` are the bytes of the output, `weights`
 * those of the side file.  The head is malloc'ed; the parts are constants of
 * the module and lie where the module has them.
 */
struct parts {
	struct blob *v;
	size_t n, cap;
};

struct codegen_out {
	struct blob head;
	struct parts tail, weights;
	int64_t weight_bytes;		/* wherever they are */
};

/* Makes code of a module at loop level for c->target.  False after a
 * diagnostic. */
bool codegen_llvm(struct module *m, const struct codegen_options *o,
		  enum codegen_kind kind, struct codegen_out *out);
void codegen_out_free(struct codegen_out *out);

/* The kernels of a module at loop level as CUDA C++. */
bool codegen_cuda(struct module *m, const struct codegen_options *o,
		  struct codegen_out *out);
/* The same, compiled by NVRTC for each architecture of c->target; `code` is
 * freed by gpu_code_free(), after a failure, too. */
bool codegen_gpu(struct module *m, const struct codegen_options *o,
		 struct gpu_code *code);
void gpu_code_free(struct gpu_code *code);

#endif
