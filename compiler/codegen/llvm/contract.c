/* SPDX-License-Identifier: Apache-2.0 */
#include "codegen/llvm/cg.h"

void cg_contract(struct cg *g, struct op *op)
{
	bug(&g->c->diag, "%s", op_def(op)->name);
}
