/* SPDX-License-Identifier: Apache-2.0 */
/* The different kernels of a module, as text. */
#ifndef CODEGEN_PTX_KERNELS_H
#define CODEGEN_PTX_KERNELS_H

#include <stdio.h>

#include "codegen/codegen.h"

struct cuda_kernel {
	char *text;			/* from the parameters on; malloc'ed */
	struct gpu_kernel row;
	bool wide;			/* indices of 64 bits */
	VEC(const struct loc *) nodes;
};

struct cuda_kernels {
	struct ctx *c;
	VEC(struct cuda_kernel) kernel;
	VEC(struct gpu_launch) launch;	/* as in struct gpu_code */
};

void cuda_kernels(struct module *m, struct cuda_kernels *all);
void cuda_kernels_free(struct cuda_kernels *all);
/* "name (op)" of a node: on one line, whatever the name. */
void cuda_put_node(FILE *f, const struct loc *node);
/* One of them, as a function of its name. */
void cuda_put(FILE *f, const struct cuda_kernel *k);

#endif
