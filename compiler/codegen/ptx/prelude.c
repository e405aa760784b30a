/* SPDX-License-Identifier: Apache-2.0 */
/* prelude.cuh as a string. */
#include "codegen/ptx/cu.h"

const char gpu_prelude[] = {
#include "prelude.inc"
	0
};
