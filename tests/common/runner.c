/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs compiled models on stored inputs and stores what they answer.
 *
 * Usage: runner CASES
 * CASES holds lines `INDEX INPUT RESULT`: the number of a model in the table
 * that is linked in, a file of inputs and the file to write.  Each case runs
 * in a process of its own and yields one line `INDEX ok` or `INDEX fail WHY`.
 *
 * Each buffer ends at a page that cannot be touched, then begins at one, so
 * that a stray access of one byte is caught on either side.  Workspaces hold
 * NaN first and zeros later, outputs different bytes each time; every answer
 * must have the same bits, with threads too.
 *
 * Both files are sequences of int64 in the machine's order.  Inputs: count,
 * then for each tensor {bytes of name, dtype, rank, dims, bytes}, then its
 * name and data; the outputs follow likewise, without data.  Results: the
 * status, count, then for each {dtype, rank, dims, bytes} and its data.
 */
#define _DEFAULT_SOURCE
#include "dlrt.h"

#include "base/compiler.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define RANK_MAX 64
/* Of a processor; it may have to wait for others, but not forever. */
#define SECONDS_MAX 300
#define WAITING_MAX (4 * SECONDS_MAX)

extern const struct dlrt_model *const runner_models[];
extern const size_t runner_n_models;

struct tensor {
	char *name;
	int64_t dtype, rank, dims[RANK_MAX], bytes;
	const unsigned char *data;
};

struct region {
	unsigned char *map, *data;
	size_t map_bytes, bytes;
	unsigned char fill;
	const char *what;
	size_t number;
};

/* What a handler of SIGSEGV can name; a process runs one case. */
static struct region *regions;
static size_t n_regions;
static const char *case_index;

static _Noreturn void fail(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void fail(const char *fmt, ...)
{
	va_list ap;

	printf("%s fail ", case_index);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	_exit(1);
}

static void *need(void *p)
{
	if (!p)
		fail("out of memory");
	return p;
}

/* Printing here is not async-signal-safe, but this process is lost anyhow and
 * generated code holds no lock. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;

	(void)context;
	for (size_t i = 0; i < n_regions; i++) {
		const struct region *r = &regions[i];
		uintptr_t lo = (uintptr_t)r->map;

		if (at < lo || at >= lo + r->map_bytes)
			continue;
		fail("signal %d at %s %zu, byte %" PRId64 " of %zu", signal,
		     r->what, r->number,
		     (int64_t)(at - (uintptr_t)r->data), r->bytes);
	}
	fail("signal %d outside of all buffers", signal);
}

/* Those of less than 8 bits are packed. */
static size_t dtype_bits(int64_t dtype)
{
	switch (dtype) {
	case 25: case 26:
		return 2;
	case 21: case 22: case 23:
		return 4;
	case 2: case 3: case 9: case 17: case 18: case 19: case 20: case 24:
		return 8;
	case 4: case 5: case 10: case 16:
		return 16;
	case 1: case 6: case 12:
		return 32;
	case 7: case 11: case 13:
		return 64;
	}
	fail("dtype %" PRId64 " has no known size", dtype);
}

/* ---- buffers between guard pages ------------------------------------ */

static struct region *region_new(size_t bytes, size_t align, bool at_end,
				 unsigned char fill, const char *what,
				 size_t number)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t room = (bytes + page - 1) / page * page;
	struct region *r;

	regions = need(realloc(regions, (n_regions + 1) * sizeof(*regions)));
	r = &regions[n_regions++];
	r->map_bytes = room + 2 * page;
	r->map = mmap(NULL, r->map_bytes, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r->map == MAP_FAILED ||
	    (room && mprotect(r->map + page, room, PROT_READ | PROT_WRITE)))
		fail("no memory for %zu bytes of %s", bytes, what);
	r->data = r->map + page;
	if (at_end)
		r->data += (room - bytes) / align * align;
	r->bytes = bytes;
	r->fill = fill;
	r->what = what;
	r->number = number;
	memset(r->map + page, fill, room);
	return r;
}

/* What lies around a buffer in its pages must be as region_new() left it. */
static void region_check(const struct region *r)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const unsigned char *end = r->map + r->map_bytes - page;

	for (const unsigned char *p = r->map + page; p < end; p++) {
		if (p == r->data)
			p += r->bytes;
		if (p < end && *p != r->fill)
			fail("byte %td of %s %zu (%zu bytes) was written",
			     p - r->data, r->what, r->number, r->bytes);
	}
}

static void regions_free(void)
{
	for (size_t i = 0; i < n_regions; i++)
		munmap(regions[i].map, regions[i].map_bytes);
	free(regions);
	regions = NULL;
	n_regions = 0;
}

/* ---- files ---------------------------------------------------------- */

static unsigned char *file_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	unsigned char *data;
	long size;

	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0)
		fail("%s: %s", path, strerror(errno));
	rewind(f);
	data = need(malloc((size_t)size + 1));
	if (fread(data, 1, (size_t)size, f) != (size_t)size)
		fail("%s: short read", path);
	fclose(f);
	return data;
}

static int64_t take(const unsigned char **at)
{
	int64_t v;

	memcpy(&v, *at, sizeof(v));
	*at += sizeof(v);
	return v;
}

static struct tensor *tensors_read(const unsigned char **at, bool with_data,
				   size_t *n)
{
	struct tensor *list;

	*n = (size_t)take(at);
	list = need(calloc(*n + 1, sizeof(*list)));
	for (size_t i = 0; i < *n; i++) {
		struct tensor *t = &list[i];
		size_t length = (size_t)take(at);

		t->dtype = take(at);
		t->rank = take(at);
		if (t->rank > RANK_MAX)
			fail("rank %" PRId64 " is too large", t->rank);
		for (int64_t d = 0; d < t->rank; d++)
			t->dims[d] = take(at);
		t->bytes = take(at);
		t->name = need(calloc(length + 1, 1));
		memcpy(t->name, *at, length);
		*at += length;
		if (with_data) {
			t->data = *at;
			*at += t->bytes;
		}
	}
	return list;
}

static void put(FILE *f, int64_t v)
{
	fwrite(&v, sizeof(v), 1, f);
}

/* ---- a case --------------------------------------------------------- */

struct run {
	const struct dlrt_model *model;
	struct tensor *in, *out;
	size_t n_in, n_out;
	int64_t *dims;
	size_t *out_bytes;
	size_t n_out_dims;
};

static const struct tensor *tensor_find(const struct tensor *list, size_t n,
					const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	return NULL;
}

/* Finds the input of the case for one of the model and learns symbolic dims
 * from it. */
static const struct tensor *input_bind(struct run *run, size_t i)
{
	const struct dlrt_tensor *want = &run->model->inputs[i];
	const struct tensor *t = tensor_find(run->in, run->n_in, want->name);

	if (!t)
		fail("the case has no input '%s'", want->name);
	if (t->dtype != want->dtype || t->rank != want->rank)
		fail("input '%s': dtype %d and rank %d, not %" PRId64
		     " and %" PRId64, want->name, want->dtype, want->rank,
		     t->dtype, t->rank);
	for (int d = 0; d < want->rank; d++) {
		int64_t dim = want->dims[d];

		if (dim == DLRT_DIM_UNKNOWN)
			continue;
		if (dim < 0 && (uint64_t)(-1 - dim) >= run->model->n_dims)
			fail("input '%s' names no symbolic dim", want->name);
		if (dim < 0)
			run->dims[-1 - dim] = t->dims[d];
		else if (dim != t->dims[d])
			fail("input '%s': dim %d is %" PRId64 ", not %" PRId64,
			     want->name, d, dim, t->dims[d]);
	}
	return t;
}

/* The bytes of an output for these dims; those of the reference when they
 * are only known after the call. */
static size_t output_size(const struct run *run, size_t i)
{
	const struct dlrt_tensor *t = &run->model->outputs[i];
	size_t elems = 1;

	for (int d = 0; d < t->rank; d++) {
		int64_t dim = t->dims[d];

		if (dim == DLRT_DIM_UNKNOWN)
			return (size_t)run->out[i].bytes;
		elems *= (size_t)(dim < 0 ? run->dims[-1 - dim] : dim);
	}
	return (elems * dtype_bits(t->dtype) + 7) / 8;
}

static void run_prepare(struct run *run)
{
	const struct dlrt_model *m = run->model;

	if (m->abi != DLRT_ABI_VERSION || m->size != sizeof(*m))
		fail("ABI %u and size %u", m->abi, m->size);
	if (m->n_outputs != run->n_out)
		fail("%u outputs, not %zu", m->n_outputs, run->n_out);
	run->dims = need(calloc(m->n_dims + 1, sizeof(*run->dims)));
	for (size_t i = 0; i < m->n_dims; i++)
		run->dims[i] = 1;
	for (size_t i = 0; i < m->n_inputs; i++)
		input_bind(run, i);
	run->out_bytes = need(calloc(run->n_out + 1,
				     sizeof(*run->out_bytes)));
	for (size_t i = 0; i < run->n_out; i++) {
		run->out_bytes[i] = output_size(run, i);
		run->n_out_dims += (size_t)m->outputs[i].rank;
	}
}

enum { LATE_BYTES = 1 << 22 };

/* Twice, since the second call may be a replay of the first. */
static int32_t gpu_call(const struct dlrt_model *m,
			const struct dlrt_call *call)
{
	char why[256];
	struct dlrt_gpu *gpu = dlrt_gpu_open(m, 0, NULL, why, sizeof(why));
	int32_t ret;

	if (!gpu)
		fail("%s", why);
	ret = dlrt_gpu_run(gpu, call);
	if (ret == DLRT_OK)
		ret = dlrt_gpu_run(gpu, call);
	if (*dlrt_gpu_message(gpu))
		fail("%s", dlrt_gpu_message(gpu));
	dlrt_gpu_close(gpu);
	return ret;
}

/* One call on fresh buffers; outputs and their dims go to the caller. */
static int32_t run_call(struct run *run, bool at_end, int fill,
			unsigned threads, unsigned char **results,
			int64_t *out_dims)
{
	const struct dlrt_model *m = run->model;
	const void **in = need(calloc(m->n_inputs + 1, sizeof(*in)));
	void **out = need(calloc(run->n_out + 1, sizeof(*out)));
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct dlrt_call call = { 0 };
	struct region *r;
	int32_t ret;

	for (size_t i = 0; i < m->n_inputs; i++) {
		const struct tensor *t = input_bind(run, i);

		r = region_new((size_t)t->bytes, 1, at_end, 0xa5,
			       "input", i);
		memcpy(r->data, t->data, r->bytes);
		mprotect(r->map + page, r->map_bytes - 2 * page, PROT_READ);
		in[i] = r->data;
	}
	for (size_t i = 0; i < run->n_out; i++) {
		r = region_new(run->out_bytes[i], 1, at_end,
			       (unsigned char)(fill ^ 0xa5), "output", i);
		out[i] = r->data;
	}
	call.workspace_bytes = m->workspace(run->dims);
	r = region_new(call.workspace_bytes, 64, at_end,
		       (unsigned char)fill, "workspace", 0);
	call.inputs = in;
	call.outputs = out;
	call.dims = run->dims;
	call.workspace = r->data;
	call.output_bytes = run->out_bytes;
	call.out_dims = out_dims;
	if (threads)
		call.pool = need(dlrt_pool_create(threads));
	for (size_t i = 0; i < run->n_out_dims; i++)
		out_dims[i] = -1;
	ret = m->gpu ? gpu_call(m, &call) : m->invoke(&call);
	/* What has sizes of the run lies behind what workspace() counts. */
	if (!m->gpu && DLRT_STATUS(ret) == DLRT_WORKSPACE) {
		call.workspace_bytes += LATE_BYTES;
		r = region_new(call.workspace_bytes, 64, at_end,
			       (unsigned char)fill, "workspace", 1);
		call.workspace = r->data;
		ret = m->invoke(&call);
	}
	if (threads)
		dlrt_pool_destroy(call.pool);
	for (size_t i = 0; i < n_regions; i++)
		if (strcmp(regions[i].what, "input") != 0)
			region_check(&regions[i]);
	for (size_t i = 0; i < run->n_out; i++) {
		results[i] = need(malloc(run->out_bytes[i] + 1));
		memcpy(results[i], out[i], run->out_bytes[i]);
	}
	regions_free();
	free(in);
	free(out);
	return ret;
}

static size_t result_bytes(const struct run *run, size_t i,
			   const int64_t *dims)
{
	size_t elems = 1, bytes;

	for (int d = 0; d < run->model->outputs[i].rank; d++) {
		if (dims[d] < 0)
			fail("output %zu: dim %d was not stored", i, d);
		elems *= (size_t)dims[d];
	}
	bytes = (elems * dtype_bits(run->model->outputs[i].dtype) + 7) / 8;
	if (bytes > run->out_bytes[i])
		fail("output %zu: %zu bytes, the buffer has %zu", i, bytes,
		     run->out_bytes[i]);
	return bytes;
}

static void results_write(const struct run *run, const char *path,
			  int32_t status, unsigned char **results,
			  const int64_t *dims)
{
	FILE *f = fopen(path, "wb");

	if (!f)
		fail("%s: %s", path, strerror(errno));
	put(f, status);
	put(f, (int64_t)run->n_out);
	for (size_t i = 0; i < run->n_out; i++) {
		const struct dlrt_tensor *t = &run->model->outputs[i];
		size_t bytes = result_bytes(run, i, dims);

		put(f, t->dtype);
		put(f, t->rank);
		for (int d = 0; d < t->rank; d++)
			put(f, *dims++);
		put(f, (int64_t)bytes);
		fwrite(results[i], 1, bytes, f);
	}
	if (fclose(f))
		fail("%s: %s", path, strerror(errno));
}

static void case_run(const struct dlrt_model *model, const char *input,
		     const char *result)
{
	static const struct {
		bool at_end;
		int fill;
		unsigned threads;
	} ways[] = { { true, 0xff, 0 }, { false, 0, 0 }, { true, 0xff, 3 } };
	const unsigned char *at = file_read(input);
	struct run run = { .model = model };
	unsigned char **results[3];
	int64_t *dims[3];
	int32_t status[3];

	run.in = tensors_read(&at, true, &run.n_in);
	run.out = tensors_read(&at, false, &run.n_out);
	run_prepare(&run);
	for (size_t w = 0; w < 3; w++) {
		results[w] = need(calloc(run.n_out + 1, sizeof(**results)));
		dims[w] = need(calloc(run.n_out_dims + 1, sizeof(**dims)));
		status[w] = run_call(&run, ways[w].at_end, ways[w].fill,
				     ways[w].threads, results[w], dims[w]);
		if (DLRT_STATUS(status[w]))
			fail("status %d (%s) of node %u '%s'",
			     DLRT_STATUS(status[w]),
			     dlrt_status_text(status[w]), DLRT_NODE(status[w]),
			     DLRT_NODE(status[w]) < model->n_nodes ?
			     model->node_names[DLRT_NODE(status[w])] : "?");
	}
	for (size_t w = 1; w < 3; w++) {
		const char *how = w == 1 ? "buffers placed otherwise" :
			"3 threads";
		size_t first = 0;

		if (memcmp(dims[0], dims[w],
			   run.n_out_dims * sizeof(**dims)) != 0)
			fail("other dims with %s", how);
		for (size_t i = 0; i < run.n_out; i++) {
			size_t n = result_bytes(&run, i, dims[0] + first);

			if (memcmp(results[0][i], results[w][i], n) != 0)
				fail("output %zu: other bits with %s", i, how);
			first += (size_t)model->outputs[i].rank;
		}
	}
	results_write(&run, result, status[0], results[0], dims[0]);
}

static void limit_time(void)
{
	struct itimerval t = { .it_value.tv_sec = SECONDS_MAX };

	setitimer(ITIMER_PROF, &t, NULL);
	alarm(WAITING_MAX);
}

static void case_fork(const char *index, const char *input,
		      const char *result)
{
	unsigned long k = strtoul(index, NULL, 10);
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct sigaction action = { .sa_flags = SA_SIGINFO };

		case_index = index;
		action.sa_sigaction = on_fault;
		sigaction(SIGSEGV, &action, NULL);
		sigaction(SIGBUS, &action, NULL);
		limit_time();
		if (k >= runner_n_models)
			fail("no such model");
		case_run(runner_models[k], input, result);
		printf("%s ok\n", index);
		fflush(stdout);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		printf("%s fail cannot start: %s\n", index, strerror(errno));
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF)
		printf("%s fail not done after %d s\n", index, SECONDS_MAX);
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		printf("%s fail not done after waiting %d s\n", index,
		       WAITING_MAX);
	else if (WIFSIGNALED(status))
		printf("%s fail signal %d\n", index, WTERMSIG(status));
}

int main(int argc, char **argv)
{
	char index[32], input[4096], result[4096];
	FILE *cases;

	if (argc != 2) {
		fprintf(stderr, "usage: runner CASES\n");
		return 1;
	}
	cases = fopen(argv[1], "r");
	if (!cases) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
		return 5;
	}
	while (fscanf(cases, "%31s %4095s %4095s", index, input, result) == 3)
		case_fork(index, input, result);
	fclose(cases);
	return 0;
}
