/* SPDX-License-Identifier: Apache-2.0 */
/* What kernels take of a GPU. */
#ifndef CODEGEN_PTX_REPORT_H
#define CODEGEN_PTX_REPORT_H

#include "base/vec.h"
#include "ir/target.h"

struct ctx;
struct cuda_kernels;
struct gpu_kernel;

/* Of a kernel on a GPU: registers of a thread; bytes. */
struct usage {
	const struct gpu *gpu;
	unsigned kernel, registers, stack, spill, shared;
};

struct report {
	struct usage *v;
	size_t n, cap;
};

/* Adds what the log of NVRTC says of the kernels of a program. */
void report_read(struct report *r, const struct gpu *gpu, const char *log);
/* The blocks of a multiprocessor at a time. */
unsigned report_resident(const struct usage *u, const struct gpu_kernel *k);
/* A table, malloc'ed. */
char *report_text(struct report *r, struct ctx *c,
		  const struct cuda_kernels *all);

#endif
