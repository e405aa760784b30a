/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an ONNX file to the graph level.  Whatever the bytes are, the result
 * is a module or a diagnostic with an exit status in ctx->diag, and the work
 * done is bounded by the size of the file.
 */
#ifndef FRONTEND_FRONTEND_H
#define FRONTEND_FRONTEND_H

#include "ir/ir.h"

/* --dim NAME=VALUE: a symbolic dim of the inputs that gets a size. */
struct frontend_dim {
	const char *name; /* as in the model, or as dlcc prints it */
	int64_t value;
};

struct frontend_options {
	/* External data may come from beneath this directory; NULL: beneath
	 * the one that holds the model. */
	const char *data_root;
	const struct frontend_dim *dim;
	unsigned n_dim;
	/* Accept raw_data that is longer than its tensor. */
	bool lenient_tensors;
	/* Called once for each file of external data; may be NULL. */
	void (*opened)(void *arg, const char *path);
	void *opened_arg;
};

/* NULL after diagnostics.  All that the module refers to lives as long as the
 * context; opt may be NULL. */
struct module *frontend_import(struct ctx *c, const char *path,
			       const struct frontend_options *opt);

#endif
