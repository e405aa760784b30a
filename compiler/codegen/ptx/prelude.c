/* SPDX-License-Identifier: Apache-2.0 */
/* intrinsics.cuh and prelude.cuh as one string. */
#include "codegen/ptx/cu.h"

const char gpu_prelude[] = {
#include "prelude.inc"
	0
};
