/* SPDX-License-Identifier: Apache-2.0 */
/* What back ends have to know of a loop.kernel alike. */
#ifndef CODEGEN_KERNEL_H
#define CODEGEN_KERNEL_H

#include "base/vec.h"
#include "ir/op.h"

/* What a kernel takes from outside, in the order in which it is passed; 8 bytes
 * each, behind the address of the status. */
struct kernel_args {
	VEC(struct value *) bufs;
	VEC(const struct atom *) atoms;	/* symbols and outer variables */
};

void kernel_args(struct op *kernel, struct kernel_args *args);
void kernel_args_free(struct kernel_args *args);
/* How many points its variables count. */
const struct expr *kernel_points(struct ctx *c, const struct op *kernel);
/* For how many it runs in a call. */
const struct expr *kernel_runs(struct ctx *c, const struct op *kernel);
/* The number by which a status names the op's node; 0: none. */
uint32_t kernel_node(const struct op *op);
/* Is the addition, or subtraction, the next value of what a loop carries, which
 * takes a product in without a rounding between? */
bool kernel_is_sum(const struct op *op);
/* May only one thread run it, since its stores may meet? */
bool kernel_is_serial(const struct op *kernel);

#endif
