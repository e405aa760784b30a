/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of the status codes, and the library's version. */
#include "dlrt.h"

const char *dlrt_status_text(int32_t ret)
{
	switch (DLRT_STATUS(ret)) {
	case DLRT_OK: return "ok";
	case DLRT_ARG: return "wrong argument";
	case DLRT_SHAPE: return "dims do not fit together";
	case DLRT_INDEX: return "index out of range";
	case DLRT_DIVZERO: return "integer division by zero";
	case DLRT_WORKSPACE: return "workspace or output too small";
	case DLRT_CPU: return "this CPU lacks what the object needs";
	case DLRT_VERSION: return "object and runtime do not fit together";
	case DLRT_LIMIT: return "a size is too large";
	case DLRT_DEVICE: return "the GPU cannot be used";
	case DLRT_MEMORY: return "out of memory";
	}
	return "unknown status";
}

uint32_t dlrt_version(void)
{
	return DLRT_ABI_VERSION;
}
