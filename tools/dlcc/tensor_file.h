/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors in files: ONNX's TensorProto (.pb) and numpy's .npy. */
#ifndef DLCC_TENSOR_FILE_H
#define DLCC_TENSOR_FILE_H

#include <stdio.h>

#include "base/arena.h"
#include "ir/eval.h"

/* Bytes of its data, and elements; exits with EXIT_LIMIT on overflow. */
size_t tensor_bytes(const struct tensor *t, const char *path);
size_t tensor_count(const struct tensor *t, const char *path);

/* By the suffix of the path.  All failures are fatal, with the status that
 * fits: EXIT_IO, EXIT_MODEL for a broken file, EXIT_UNSUPPORTED.  A file that
 * does not say which small type it holds has the wanted one. */
struct tensor tensor_read(const char *path, enum dtype wanted,
			  struct arena *a);
void tensor_write(const char *path, const struct tensor *t, const char *name);

/* npy.c, tensor_pb.c: the same on bytes. */
struct tensor npy_decode(const char *path, const unsigned char *p, size_t n,
			 enum dtype wanted, struct arena *a);
void npy_encode(FILE *f, const struct tensor *t);
struct tensor pb_decode(const char *path, const unsigned char *p, size_t n,
			struct arena *a);
void pb_encode(FILE *f, const struct tensor *t, const char *name);

#endif
