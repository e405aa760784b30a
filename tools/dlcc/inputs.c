/* SPDX-License-Identifier: Apache-2.0 */
/* The inputs of a run: from files in any of three ways, or random. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"
#include "run.h"
#include "tensor_file.h"

const char *tensor_text(struct arena *a, const struct tensor *t)
{
	char *s = arena_fmt(a, "%s[", dtype_info[t->dtype].name);

	for (unsigned i = 0; i < t->rank; i++)
		s = arena_fmt(a, "%s%s%" PRId64, s, i ? "," : "", t->dim[i]);
	return arena_fmt(a, "%s]", s);
}

static const char *dtype_text(int onnx)
{
	enum dtype t;

	return dtype_from_onnx(onnx, &t) ? dtype_info[t].name
					 : onnx_dtype_name(onnx);
}

const char *type_text(struct run *r, const struct dlrt_tensor *t)
{
	char *s = arena_fmt(&r->a, "%s[", dtype_text(t->dtype));

	for (int32_t i = 0; i < t->rank; i++) {
		int64_t d = t->dims[i];
		const char *comma = i ? "," : "";

		if (d >= 0)
			s = arena_fmt(&r->a, "%s%s%" PRId64, s, comma, d);
		else
			s = arena_fmt(&r->a, "%s%s%s", s, comma,
				      d == DLRT_DIM_UNKNOWN
					      ? "?" : r->dim_name[-1 - d]);
	}
	return arena_fmt(&r->a, "%s]", s);
}

/* ---- one input ------------------------------------------------------ */

static bool fits(struct run *r, const struct dlrt_tensor *type,
		 const struct tensor *t)
{
	if (dtype_info[t->dtype].onnx != type->dtype ||
	    (int32_t)t->rank != type->rank)
		return false;
	for (unsigned i = 0; i < t->rank; i++) {
		int64_t d = type->dims[i];

		if (d >= 0 ? d != t->dim[i]
			   : d != DLRT_DIM_UNKNOWN && r->dim[-1 - d] >= 0 &&
				     r->dim[-1 - d] != t->dim[i])
			return false;
		if (d < 0 && d != DLRT_DIM_UNKNOWN)
			r->dim[-1 - d] = t->dim[i];
	}
	return true;
}

/* F32 where the type is none of ours: such a file has a type of its own. */
static enum dtype wanted_type(const struct dlrt_tensor *type)
{
	enum dtype t;

	return dtype_from_onnx(type->dtype, &t) ? t : DT_F32;
}

static void set_input(struct run *r, uint32_t i, const char *path)
{
	const struct dlrt_tensor *type = &r->in_type[i];
	struct tensor t = tensor_read(path, wanted_type(type), &r->a);

	if (r->in[i].data)
		fatal(EXIT_USAGE, "input '%s' is given twice", type->name);
	if (!fits(r, type, &t))
		fatal(EXIT_USAGE, "input '%s' is %s, but %s holds %s",
		      type->name, type_text(r, type), path,
		      tensor_text(&r->a, &t));
	r->in[i] = t;
}

/* ---- random numbers ------------------------------------------------- */

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Floats in [-1, 1); small integers, which are good indices and lengths. */
static void fill_random(struct tensor *t, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t x = next_random(&seed);
		union scalar s;

		if (dtype_is_float(t->dtype))
			s.d = (double)(x >> 11) * 0x1p-52 - 1;
		else if (t->dtype == DT_BOOL)
			s.u = x & 1;
		else
			s.u = x % 4;
		if (dtype_is_float(t->dtype))
			s = scalar_wrap(t->dtype, s);
		scalar_put(t->dtype, t->data, i, s);
	}
}

static void random_input(struct run *r, uint32_t i)
{
	const struct dlrt_tensor *type = &r->in_type[i];
	struct tensor t = { .rank = (unsigned)type->rank };

	if (!dtype_from_onnx(type->dtype, &t.dtype) || type->rank > MAX_RANK)
		fatal(EXIT_UNSUPPORTED, "input '%s' has a type that dlcc "
		      "does not know", type->name);
	for (unsigned k = 0; k < t.rank; k++) {
		int64_t d = type->dims[k];

		/* A dim that nothing says is 1. */
		if (d < 0 && d != DLRT_DIM_UNKNOWN && r->dim[-1 - d] < 0)
			r->dim[-1 - d] = 1;
		t.dim[k] = d >= 0 ? d
			 : d == DLRT_DIM_UNKNOWN ? 1 : r->dim[-1 - d];
	}
	size_t bytes = tensor_bytes(&t, type->name);

	t.data = arena_alloc(&r->a, bytes + 1);
	fill_random(&t, tensor_count(&t, type->name),
		    r->o->seed ^ (uint64_t)i << 32);
	r->in[i] = t;
}

/* ---- all of them ---------------------------------------------------- */

static void dims_from_options(struct run *r)
{
	for (unsigned i = 0; i < r->o->n_dim; i++)
		for (uint32_t k = 0; k < r->n_dim; k++)
			if (!strcmp(r->o->dim[i].name, r->dim_name[k]))
				r->dim[k] = r->o->dim[i].value;
}

/* "NAME=FILE" when an input has that name, else the whole is a file. */
static uint32_t input_index(struct run *r, const char *spec, uint32_t next,
			    const char **path)
{
	const char *eq = strchr(spec, '=');

	*path = spec;
	for (; eq; eq = strchr(eq + 1, '='))
		for (uint32_t i = 0; i < r->n_in; i++) {
			const char *name = r->in_type[i].name;

			if (strlen(name) == (size_t)(eq - spec) &&
			    !memcmp(name, spec, (size_t)(eq - spec))) {
				*path = eq + 1;
				return i;
			}
		}
	if (next >= r->n_in)
		fatal(EXIT_USAGE, "the model has only %u inputs: '%s' is too "
		      "many", r->n_in, spec);
	return next;
}

static void inputs_from_options(struct run *r)
{
	uint32_t next = 0;

	for (unsigned i = 0; i < r->o->n_input; i++) {
		const char *path;
		uint32_t k;

		while (next < r->n_in && r->in[next].data)
			next++;
		k = input_index(r, r->o->input[i], next, &path);
		set_input(r, k, path);
	}
}

static void inputs_from_data(struct run *r)
{
	const char *dir = r->o->data;

	for (uint32_t i = 0; i < r->n_in; i++)
		set_input(r, i, arena_fmt(&r->a, "%s/input_%" PRIu32 ".pb",
					  dir, i));
	r->want = NEW_ARRAY(&r->a, r->n_out + 1, struct tensor);
	for (uint32_t i = 0; i < r->n_out; i++)
		r->want[i] = tensor_read(
			arena_fmt(&r->a, "%s/output_%" PRIu32 ".pb", dir, i),
			wanted_type(&r->out_type[i]), &r->a);
}

/* Room for the tensors; no dim is known but those of the options. */
static void begin(struct run *r)
{
	r->in = NEW_ARRAY(&r->a, r->n_in + 1, struct tensor);
	r->out = NEW_ARRAY(&r->a, r->n_out + 1, struct tensor);
	r->dim = NEW_ARRAY(&r->a, r->n_dim + 1, int64_t);
	for (uint32_t i = 0; i < r->n_dim; i++)
		r->dim[i] = -1;
	dims_from_options(r);
}

bool run_sample(struct run *r, const char *dir)
{
	static const char *const suffix[] = { "pb", "npy" };

	begin(r);
	for (uint32_t i = 0; i < r->n_in; i++) {
		char *path = NULL;

		for (size_t k = 0; k < ARRAY_SIZE(suffix) && !path; k++) {
			path = arena_fmt(&r->a, "%s/input_%" PRIu32 ".%s", dir,
					 i, suffix[k]);
			if (access(path, F_OK))
				path = NULL;
		}
		if (!path && !i)
			return false;
		if (!path)
			fatal(EXIT_IO, "%s has no input_%" PRIu32 ".pb or .npy "
			      "for input '%s'", dir, i, r->in_type[i].name);
		set_input(r, i, path);
	}
	return true;
}

uint64_t run_hash(const struct run *r)
{
	uint64_t h = FNV_INIT;

	for (uint32_t i = 0; i < r->n_in; i++) {
		const struct tensor *t = &r->in[i];

		h = fnv_bytes(h, t->dim, t->rank * sizeof(t->dim[0]));
		h = fnv_bytes(h, t->data, tensor_bytes(t, "an input"));
	}
	return h;
}

void run_random(struct run *r, int64_t n)
{
	begin(r);
	for (uint32_t i = 0; i < r->n_dim; i++)
		if (r->dim[i] < 0)
			r->dim[i] = n;
	for (uint32_t i = 0; i < r->n_in; i++)
		random_input(r, i);
}

void run_inputs(struct run *r)
{
	begin(r);
	if (r->o->data && r->o->n_input)
		fatal(EXIT_USAGE, "--data and --input exclude each other");
	if (r->o->data)
		inputs_from_data(r);
	else
		inputs_from_options(r);
	for (uint32_t i = 0; i < r->n_in; i++)
		if (!r->in[i].data)
			random_input(r, i);
	for (uint32_t i = 0; i < r->n_dim; i++)
		if (r->dim[i] < 0)
			r->dim[i] = 1;
}
