/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times calls of a compiled model.
 *
 * Usage: calls CASE RESULT THREADS
 * CASE holds inputs as for tests/common/runner.c.  After a first call, whose
 * outputs go to RESULT one after the other, each line `N` of the standard
 * input is answered with the seconds of N calls, one per line.
 */
#include "dlrt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RANK_MAX 64

extern const struct dlrt_model *const runner_models[];
extern const size_t runner_n_models;

struct tensor {
	char *name;
	int64_t dtype, rank, dims[RANK_MAX], bytes;
	void *data;
};

static void need(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "calls: %s\n", what);
	exit(5);
}

static void *aligned(size_t bytes)
{
	void *p = NULL;

	need(posix_memalign(&p, 64, bytes + 64) == 0, "out of memory");
	/* The pages are there before the clock runs. */
	memset(p, 0, bytes + 64);
	return p;
}

static int64_t take(FILE *f)
{
	int64_t v = 0;

	need(fread(&v, sizeof(v), 1, f) == 1, "short case");
	return v;
}

static struct tensor *tensors_read(FILE *f, int with_data, size_t *n)
{
	struct tensor *list;

	*n = (size_t)take(f);
	list = calloc(*n + 1, sizeof(*list));
	need(list != NULL, "out of memory");
	for (size_t i = 0; i < *n; i++) {
		struct tensor *t = &list[i];
		size_t length = (size_t)take(f);

		t->dtype = take(f);
		t->rank = take(f);
		need(t->rank <= RANK_MAX, "rank is too large");
		for (int64_t d = 0; d < t->rank; d++)
			t->dims[d] = take(f);
		t->bytes = take(f);
		t->name = calloc(length + 1, 1);
		need(t->name && fread(t->name, 1, length, f) == length,
		     "short case");
		t->data = aligned((size_t)t->bytes);
		if (with_data)
			need(fread(t->data, 1, (size_t)t->bytes, f) ==
			     (size_t)t->bytes, "short case");
	}
	return list;
}

/* The place of the case's input for input i; learns symbolic dims. */
static const void *bind(const struct dlrt_model *m, size_t i,
			const struct tensor *in, size_t n_in, int64_t *dims)
{
	const struct dlrt_tensor *want = &m->inputs[i];
	const struct tensor *t = NULL;

	for (size_t k = 0; k < n_in && !t; k++)
		if (strcmp(in[k].name, want->name) == 0)
			t = &in[k];
	need(t && t->rank == want->rank, "the case lacks an input");
	for (int d = 0; d < want->rank; d++)
		if (want->dims[d] < 0 && want->dims[d] != DLRT_DIM_UNKNOWN)
			dims[-1 - want->dims[d]] = t->dims[d];
	return t->data;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void answer(const struct dlrt_model *m, const struct dlrt_call *call)
{
	char line[32];

	while (fgets(line, sizeof(line), stdin)) {
		for (long n = strtol(line, NULL, 10); n > 0; n--) {
			double start = seconds();
			int32_t ret = m->invoke(call);

			need(ret == DLRT_OK, dlrt_status_text(ret));
			printf("%.9f\n", seconds() - start);
		}
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	const struct dlrt_model *m = runner_models[0];
	size_t n_in, n_out, *bytes;
	struct tensor *in, *out;
	struct dlrt_call call = { 0 };
	const void **inputs;
	void **outputs;
	unsigned threads;
	int64_t *dims;
	FILE *f;

	need(argc == 4, "usage: calls CASE RESULT THREADS");
	threads = (unsigned)strtoul(argv[3], NULL, 10);
	f = fopen(argv[1], "rb");
	need(f != NULL, argv[1]);
	in = tensors_read(f, 1, &n_in);
	out = tensors_read(f, 0, &n_out);
	fclose(f);
	need(n_out == m->n_outputs, "wrong number of outputs");
	dims = calloc(m->n_dims + 1, sizeof(*dims));
	inputs = calloc(m->n_inputs + 1, sizeof(*inputs));
	outputs = calloc(n_out + 1, sizeof(*outputs));
	bytes = calloc(n_out + 1, sizeof(*bytes));
	need(dims && inputs && outputs && bytes, "out of memory");
	for (size_t i = 0; i < m->n_inputs; i++)
		inputs[i] = bind(m, i, in, n_in, dims);
	for (size_t i = 0; i < n_out; i++) {
		outputs[i] = out[i].data;
		bytes[i] = (size_t)out[i].bytes;
	}
	call.inputs = inputs;
	call.outputs = outputs;
	call.output_bytes = bytes;
	call.dims = dims;
	call.workspace_bytes = m->workspace(dims);
	call.workspace = aligned(call.workspace_bytes);
	call.pool = threads > 1 ? dlrt_pool_create(threads) : NULL;
	need(m->invoke(&call) == DLRT_OK, "the first call failed");
	f = fopen(argv[2], "wb");
	need(f != NULL, argv[2]);
	for (size_t i = 0; i < n_out; i++)
		fwrite(outputs[i], 1, bytes[i], f);
	fclose(f);
	answer(m, &call);
	return 0;
}
