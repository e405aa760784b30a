/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The .dl text form beyond module_print() and module_parse(): where the bytes
 * of large constants go to and come from.  docs/ir.md has the grammar.
 *
 * A sidecar file holds "dlblobs1", then for each blob its FNV-1a hash and its
 * size as 64-bit little-endian numbers and its bytes, padded to 8.
 */
#ifndef IR_TEXT_H
#define IR_TEXT_H

#include "ir/ir.h"

enum {
	TEXT_DENSE_MAX = 32,	/* elements of a constant printed in full */
	TEXT_DEPTH_MAX = 256,	/* of nested regions and of expressions */
	TEXT_REGIONS_MAX = 16,	/* of one op */
};
#define TEXT_BLOB_MAGIC "dlblobs1"

/* Like module_parse(); `blobs` is the path of a sidecar file, or NULL. */
struct module *module_parse_blobs(struct ctx *c, const char *text, size_t size,
				  const char *file, const char *blobs);
/* The sidecar of what module_print() says of m, malloc'ed. */
char *module_blobs(const struct module *m, size_t *size);
/*
 * Does an ONNX op or constant have the types that its record infers?  Reports
 * an error when not.  Dims that were bound to elements of run-time tensors
 * may have become known since: then *exact is set to false.
 */
bool op_check(struct ctx *c, struct op *op, bool *exact);
/* One op with its regions, for messages; malloc'ed. */
char *op_print(struct ctx *c, const struct op *op);

#endif
