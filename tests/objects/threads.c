/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls each linked model with no pool and with pools of several sizes, on
 * workspaces and outputs that hold NaN or other bytes before; every call must
 * give the same bits.  Prints one line per difference.
 */
#include "dlrt.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 37, MAX_RANK = 8, MAX_TENSORS = 16, ALIGN = 64 };

extern const struct dlrt_model *const runner_models[];
extern const size_t runner_n_models;

static const unsigned counts[] = { 0, 1, 2, 7, 16, 7 };
static const int fills[] = { 0xff, 0, 0xff, 0x5a, 0xff, 0 };

static void *need(void *p)
{
	if (!p) {
		fprintf(stderr, "out of memory\n");
		exit(4);
	}
	return p;
}

/* Elements of a tensor of float whose symbolic dims are all DIM. */
static size_t elements(const struct dlrt_tensor *t)
{
	size_t n = 1;

	for (int d = 0; d < t->rank; d++)
		n *= t->dims[d] < 0 ? DIM : (size_t)t->dims[d];
	return n;
}

static void fill_input(float *x, size_t n)
{
	uint32_t state = 12345;

	for (size_t i = 0; i < n; i++) {
		state = state * 1664525u + 1013904223u;
		x[i] = (float)(state >> 8) / (float)(1 << 23) - 1;
	}
}

static void *buffer(size_t bytes, int fill)
{
	size_t room = (bytes + ALIGN) / ALIGN * ALIGN;
	void *p = need(aligned_alloc(ALIGN, room));

	memset(p, fill, room);
	return p;
}

/* One call; the outputs go to out[], which the caller frees. */
static int32_t call_once(const struct dlrt_model *m, const void *const *in,
			 void **out, unsigned threads, int fill)
{
	int64_t dims[MAX_TENSORS], out_dims[MAX_TENSORS * MAX_RANK];
	size_t bytes[MAX_TENSORS];
	struct dlrt_call call = { 0 };
	int32_t status;

	for (size_t i = 0; i < MAX_TENSORS; i++)
		dims[i] = DIM;
	for (size_t i = 0; i < m->n_outputs; i++) {
		bytes[i] = elements(&m->outputs[i]) * sizeof(float);
		out[i] = buffer(bytes[i], fill ^ 0xa5);
	}
	call.workspace_bytes = m->workspace(dims);
	call.workspace = buffer(call.workspace_bytes, fill);
	call.inputs = in;
	call.outputs = out;
	call.dims = dims;
	call.output_bytes = bytes;
	call.out_dims = out_dims;
	if (threads)
		call.pool = need(dlrt_pool_create(threads));
	status = m->invoke(&call);
	if (threads)
		dlrt_pool_destroy(call.pool);
	free(call.workspace);
	return status;
}

static bool same(const struct dlrt_model *m, size_t number)
{
	const void *in[MAX_TENSORS];
	void *first[MAX_TENSORS], *out[MAX_TENSORS], **to = first;
	bool good = true;

	for (size_t i = 0; i < m->n_inputs; i++) {
		size_t n = elements(&m->inputs[i]);
		float *x = buffer(n * sizeof(*x), 0);

		fill_input(x, n);
		in[i] = x;
	}
	for (size_t w = 0; w < sizeof(counts) / sizeof(*counts); w++) {
		int32_t status = call_once(m, in, to, counts[w], fills[w]);

		if (status) {
			printf("model %zu, %u threads: status %" PRId32 "\n",
			       number, counts[w], status);
			good = false;
		}
		for (size_t i = 0; w && i < m->n_outputs; i++) {
			size_t n = elements(&m->outputs[i]) * sizeof(float);

			if (memcmp(first[i], out[i], n) != 0) {
				printf("model %zu, %u threads, fill %d: "
				       "output %zu has other bits\n", number,
				       counts[w], fills[w], i);
				good = false;
			}
			free(out[i]);
		}
		to = out;
	}
	return good;
}

int main(void)
{
	bool good = true;

	for (size_t i = 0; i < runner_n_models; i++) {
		const struct dlrt_model *m = runner_models[i];

		if (m->n_inputs > MAX_TENSORS || m->n_outputs > MAX_TENSORS ||
		    m->n_dims > MAX_TENSORS)
			return 1;
		good &= same(m, i);
	}
	return !good;
}
