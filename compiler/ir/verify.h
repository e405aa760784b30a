/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the two files of the verifier; nothing else includes it. */
#ifndef IR_VERIFY_H
#define IR_VERIFY_H

#include "ir/op.h"
#include "ir/text.h"

struct verifier {
	struct module *m;
	const char *after;	/* the pass that ran; NULL: text was read */
	struct map values;	/* id -> value; slot 1 while it is visible */
	struct map types;	/* those that were checked */
	struct map ivs;		/* those of the blocks seen so far */
	const struct atom **iv;	/* those visible */
	size_t n_iv, cap_iv;
};

/* An error of the text, or a bug of the pass.  Always returns false. */
bool verify_error(struct verifier *v, const struct op *op, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* Rules of one op that is not ONNX's, beyond structure. */
bool verify_op(struct verifier *v, struct op *op);

#endif
