/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the importer share. */
#ifndef FRONTEND_INTERNAL_H
#define FRONTEND_INTERNAL_H

#include <string.h>
#include <sys/types.h>

#include "base/vec.h"
#include "frontend/frontend.h"
#include "ir/op.h"
#include "onnx.pb-c.h"

enum {
	MIN_OPSET = 6,
	MAX_OPSET = 28,
	MAX_IR_VERSION = 14,
	MAX_WIRE_DEPTH = 100, /* protobuf's own default */
	MAX_CALL_DEPTH = 100,
	MAX_FUNCTIONS = 10000,
	MAX_OPSET_IMPORTS = 1000,
	MAX_NODES = 1000000,   /* after inlining */
	MAX_PORT_LIST = 65535, /* inputs or outputs of one node */
	MAX_NODE_ATTRS = 256,
	MAX_MODEL_INPUTS = 4096,
	MAX_NAME = 4096, /* of a model input or output */
};
#define MAX_ELEMS (INT64_C(1) << 40)
#define MAX_TENSOR_BYTES (INT64_C(1) << 42)
#define MAX_MODEL_BYTES INT64_C(0x7fffffff)
#define MAX_EXTERNAL_FILE (INT64_C(64) << 30)
#define MAX_EXTERNAL_TOTAL (INT64_C(256) << 30)

/* ---- files (file.c): the only place that opens one ------------------ */

struct file {
	int fd; /* -1: none */
	dev_t dev;
	ino_t ino;
	int64_t size;
};

enum file_error {
	FILE_OK,
	FILE_NOT_OPENED, /* errno says why */
	FILE_NOT_REGULAR,
	FILE_LEAVES, /* the path leads out of the directory */
};

/* A directory to open files beneath; -1 with errno set. */
int directory_open(const char *path);
/* A regular file at any path. */
enum file_error file_open(const char *path, struct file *f);
/* A regular file that the kernel finds without leaving the directory. */
enum file_error file_open_beneath(int dir, const char *path, struct file *f);
/* False with errno set; errno 0 when the file ends early. */
bool model_file_read(const struct file *f, void *dst, int64_t offset,
		     int64_t size);
void file_close(struct file *f);

/* ---- the wire (scan.c, unpack.c) ------------------------------------ */

/*
 * Walks a serialised message without recursion or allocation and refuses what
 * protobuf-c would crash on or take quadratic time for.  Adds up the memory
 * that unpacking will need.
 */
struct scan_result {
	enum exit_code code; /* EXIT_OK when it may be unpacked */
	const char *why;
	size_t at; /* byte offset */
	uint64_t heap;
};
struct scan_result wire_scan(const ProtobufCMessageDescriptor *desc,
			     const uint8_t *p, size_t size,
			     uint64_t heap_limit);

/* protobuf-c's memory, freed as a whole with the message. */
struct budget {
	ProtobufCAllocator alloc;
	uint64_t left;
};
/* NULL after a diagnostic. */
Onnx__ModelProto *model_read(struct ctx *c, const char *path,
			     struct budget *budget);

/* ---- the importer --------------------------------------------------- */

struct function {
	const Onnx__FunctionProto *proto;
	enum { FN_NEW, FN_COUNTING, FN_COUNTED } state;
	unsigned depth; /* of the calls below, itself included */
	uint64_t count; /* nodes after inlining, saturating */
	bool listed;    /* its unsupported nodes are listed */
};

/* A call being inlined: what its body sees besides values.  The model itself
 * is the frame with fn NULL. */
struct frame {
	const struct function *fn;
	const Onnx__NodeProto *call;
	const struct frame *up;
	const char *prefix; /* of node names in locations, or "" */
	unsigned depth;
};

/* Names of one graph or function body, and those around a subgraph. */
struct scope {
	struct map values; /* interned name -> struct value */
	const struct scope *up;
};

struct external_file;

struct importer {
	struct ctx *c;
	const struct frontend_options *opt;
	const char *path, *file; /* as given; without directories */
	const struct loc *top;   /* the file as a whole */
	Onnx__ModelProto *model;
	struct budget *budget;
	struct builder b;
	struct arena arena;   /* until the import ends */
	struct map functions; /* interned key -> struct function */
	struct map records;   /* interned key -> struct record */
	struct map tensors;   /* message -> struct tensor_value */
	struct map dims;      /* interned dim_param -> struct dim */
	struct map dim_names; /* names given to symbols */
	bool *dim_used;       /* of opt->dim[] */
	/* External data. */
	int root;
	const char *below_root; /* prefix of locations, or "" */
	struct map files, ranges;
	struct file open;
	struct external_file *open_file;
	int64_t external_left;
};

/* A name of the file, cut to a length that fits a message. */
const char *brief(struct importer *im, const char *name);
const char *domain_of(const char *domain); /* "ai.onnx" and NULL are "" */
static inline uint64_t key_of(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}
static inline const char *intern(struct importer *im, const char *s)
{
	return ctx_intern(im->c, s, strlen(s));
}
/* Of a node, valid as long as the message is. */
struct loc loc_of(struct importer *im, const Onnx__NodeProto *node,
		  size_t index);
const struct loc *file_loc(struct importer *im);
/* Gives back scratch memory; nothing of it may be in use. */
void trim_temp(struct importer *im);

/* tensor.c: bytes in row-major order, exactly as many as the type says. */
struct tensor_value {
	const struct type *type;
	struct blob blob;
};
const struct tensor_value *tensor_import(struct importer *im,
					 Onnx__TensorProto *t,
					 const struct loc *loc,
					 const char *what);
/* external.c: the same for bytes in another file. */
bool external_read(struct importer *im, const Onnx__TensorProto *t,
		   int64_t size, void **data, const struct loc *loc,
		   const char *what);
void external_close(struct importer *im);
/* sha1.c: the 20 bytes in hexadecimal. */
bool sha1_file(const struct file *f, char hex[41]);

/* types.c */
/* Type of a model input. */
const struct type *input_type(struct importer *im,
			      const Onnx__ValueInfoProto *info);
/* What a declaration claims of a value whose type is known is compared. */
bool output_check(struct importer *im, const Onnx__ValueInfoProto *info,
		  const struct value *v);
bool dims_all_used(struct importer *im);

/* check.c: names, order, arity; functions. */
bool model_check(struct importer *im);
struct function *function_find(struct importer *im,
			       const Onnx__NodeProto *node);
/* Of the domain in the frame; 0 when it is not imported. */
int64_t opset_of(struct importer *im, const struct frame *frame,
		 const char *domain);

/* record.c: which op a node means. */
struct record {
	const struct op_def *def; /* NULL: none */
	enum opcode code;
};
const struct record *record_find(struct importer *im,
				 const Onnx__NodeProto *node);
/* The version that its domain has here, or that a shared record has. */
int64_t record_opset(struct importer *im, const struct frame *frame,
		     const Onnx__NodeProto *node, const struct record *r);
bool is_constant(const Onnx__NodeProto *node);
bool is_if(const Onnx__NodeProto *node);
/* Reports the unsupported ones of the live nodes. */
bool list_unsupported(struct importer *im, const struct frame *frame,
		      Onnx__NodeProto *const *node, size_t n, const bool *live);
/* Which nodes have an effect or an output that is used; in im->arena.  used
 * gets every name that a live node or an output mentions. */
bool *live_nodes(struct importer *im, Onnx__NodeProto *const *node, size_t n,
		 char *const *output, size_t n_output, struct map *used);

/* attr.c */
/* The attribute a node has in the file, with references resolved. */
const Onnx__AttributeProto *attr_of(const struct frame *frame,
				    const Onnx__AttributeProto *a);
const Onnx__AttributeProto *attr_named(const struct frame *frame,
				       const Onnx__NodeProto *node,
				       const char *name);
bool attr_check(struct importer *im, const Onnx__AttributeProto *a,
		const struct loc *loc);
const struct attr *attr_import(struct importer *im,
			       const Onnx__AttributeProto *a,
			       const struct loc *loc);
/* The value of a Constant node. */
const struct tensor_value *constant_import(struct importer *im,
					   const struct frame *frame,
					   const Onnx__NodeProto *node,
					   const struct loc *loc);

/* graph.c */
bool graph_import(struct importer *im, struct module *m);

#endif
