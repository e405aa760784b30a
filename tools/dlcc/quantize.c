/* SPDX-License-Identifier: Apache-2.0 */
/* The options about quantization, as a pass and its data. */
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "passes/graph/quantize/profile.h"
#include "passes/pass.h"

/* What FORM of --quantize=FORM means to the pass. */
static const struct form {
	const char *name;
	int bits, inputs;
	int64_t block;
} forms[] = {
	{ "int8", 8, 2, 0 },
	{ "int8-dynamic", 8, 1, 0 },
	{ "w8", 8, 0, 0 },
	{ "w4", 4, 0, 32 },
};

/* What TYPE of --precision=TYPE means to the pass. */
static const struct precision {
	const char *name;
	enum dtype to;
} precisions[] = {
	{ "f32", DT_F32 },
	{ "bf16", DT_BF16 },
	{ "fp16", DT_F16 },
};

/* What --range says. */
struct range {
	enum range_way way;
	int64_t beyond;			/* of a million values, either end */
};

/* minmax, mse or percentile:P; false when it is none. */
static bool parse_range(const char *s, struct range *r)
{
	static const char percentile[] = "percentile:";
	size_t n = sizeof(percentile) - 1;
	char *end;

	*r = (struct range){ RANGE_ALL, 0 };
	if (!s || !strcmp(s, "minmax"))
		return true;
	if (!strcmp(s, "mse")) {
		r->way = RANGE_MSE;
		return true;
	}
	if (strncmp(s, percentile, n))
		return false;
	double p = strtod(s + n, &end);

	r->way = RANGE_PERCENTILE;
	if (end == s + n || *end || !(p >= 50 && p < 100))
		return false;
	r->beyond = (int64_t)((100 - p) * 1e4 + 0.5);
	return true;
}

/* FORM or FORM:block=N; NULL when it is neither. */
static const struct form *parse_form(const char *s, int64_t *block)
{
	size_t n = strcspn(s, ":");

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const struct form *f = &forms[i];
		char *end;

		if (strlen(f->name) != n || memcmp(f->name, s, n))
			continue;
		*block = f->block;
		if (!s[n])
			return f;
		if (f->inputs || strncmp(s + n, ":block=", 7))
			return NULL;
		*block = strtoll(s + n + 7, &end, 10);
		return *end || *block < 2 || *block > 65536 ? NULL : f;
	}
	return NULL;
}

/* DT_F32 when nothing is to be rounded. */
static enum dtype precision_of(const struct options *o)
{
	for (size_t i = 0; o->precision && i < ARRAY_SIZE(precisions); i++)
		if (!strcmp(precisions[i].name, o->precision))
			return precisions[i].to;
	if (o->precision)
		fatal(EXIT_USAGE, "--precision does not know '%s'; see dlcc "
		      "--help", o->precision);
	return DT_F32;
}

/* The one of --quantize; NULL without that option. */
static const struct form *form_of(const struct options *o, int64_t *block)
{
	const struct form *f = o->quantize ? parse_form(o->quantize, block)
					   : NULL;

	if (o->quantize && !f)
		fatal(EXIT_USAGE, "--quantize does not know '%s'; see dlcc "
		      "--help", o->quantize);
	return f;
}

/* --passes names all passes, those of these options too. */
static void check_passes(const struct options *o)
{
	const struct {
		const char *name;
		bool given;
	} other[] = {
		{ "quantize", o->quantize },
		{ "precision", precision_of(o) != DT_F32 },
		{ "requant", o->q31 },
		{ "io=quantized", o->io_quantized },
	};

	for (size_t i = 0; o->passes && i < ARRAY_SIZE(other); i++)
		if (other[i].given)
			fatal(EXIT_USAGE, "--%s and --passes exclude each "
			      "other; see dlcc --help", other[i].name);
}

static void check_calibrate(const struct options *o)
{
	if (!o->output)
		fatal(EXIT_USAGE, "calibrate needs --output=FILE; see dlcc "
		      "--help");
	if (!o->data && !o->merge)
		fatal(EXIT_USAGE, "calibrate needs --data=DIR; see dlcc "
		      "--help");
}

void quantize_check(const struct options *o)
{
	struct range r;
	int64_t block;
	const struct form *f = form_of(o, &block);

	check_passes(o);
	if (f && f->inputs == 2 && !o->profile)
		fatal(EXIT_USAGE, "--quantize=int8 needs the ranges of values: "
		      "give --profile=FILE made by dlcc calibrate, or use "
		      "--quantize=int8-dynamic or --quantize=w8");
	if ((o->split || o->smooth) && !o->profile)
		fatal(EXIT_USAGE, "--split and --smooth need --profile=FILE, "
		      "made by dlcc calibrate");
	if (o->split && f && !f->inputs)
		fatal(EXIT_USAGE, "--split is about inputs, which "
		      "--quantize=%s leaves float", o->quantize);
	if (!parse_range(o->range, &r))
		fatal(EXIT_USAGE, "--range wants minmax, mse or percentile:P "
		      "with P from 50 to below 100, not '%s'", o->range);
	if (r.way && (!f || f->inputs != 2))
		fatal(EXIT_USAGE, "--range is about --quantize=int8");
	if (!f && !o->passes &&
	    (o->profile || (o->n_keep && precision_of(o) == DT_F32)))
		fatal(EXIT_USAGE, "--profile and --keep-float need --quantize");
	gate_check(o);
	if (o->calibrate)
		check_calibrate(o);
}

const char *quantize_pass(struct arena *a, const struct options *o)
{
	struct range r;
	int64_t block;
	const struct form *f = form_of(o, &block);
	const char *first = "";

	parse_range(o->range, &r);
	if (f)
		first = arena_fmt(a, "quantize{bits=%d inputs=%d block=%lld "
				  "split=%lld smooth=%lld cle=%d range=%d "
				  "beyond=%lld},", f->bits, f->inputs,
				  (long long)block, (long long)o->split,
				  (long long)o->smooth, !o->no_cle, (int)r.way,
				  (long long)r.beyond);
	if (precision_of(o) != DT_F32)
		first = arena_fmt(a, "%sprecision{to=%d},", first,
				  dtype_info[precision_of(o)].onnx);
	return arena_fmt(a, "%s%s", first,
			 o->io_quantized ? "quantized_io," : "");
}

void quantize_drop(struct options *o)
{
	o->quantize = o->profile = o->passes = o->precision = NULL;
	o->n_keep = 0;
	o->n_rung = 0;
}

bool profile_is_synthetic(const struct options *o)
{
	return o->profile && !strcmp(o->profile, "synthetic");
}

static bool read_profile(struct job *job)
{
	const struct options *o = job->o;
	struct ctx *c = job->ctx;
	size_t size;

	job->profile = NEW(&c->perm, struct profile);
	if (profile_is_synthetic(o)) {
		diag_warn(&c->diag, NULL, "the ranges of values are those of "
			  "random inputs; nothing says that they fit yours");
		return calibrate_synthetic(o, job->profile);
	}
	vec_push(&job->read, arena_str(&c->perm, o->profile,
				       strlen(o->profile)));
	const char *text = file_read(&c->perm, o->profile, &size);

	return profile_parse(job->profile, &c->diag, o->profile, text, size);
}

bool quantize_prepare(struct job *job)
{
	const struct options *o = job->o;
	struct ctx *c = job->ctx;

	if (!o->quantize && !o->profile && !o->n_keep)
		return true;
	c->quantize = NEW(&c->perm, struct quantize_data);
	*c->quantize = (struct quantize_data){
		.profile_file = o->profile, .keep = o->keep,
		.n_keep = o->n_keep, .rung = o->rung, .n_rung = o->n_rung,
	};
	if (o->profile && !read_profile(job))
		return false;
	c->quantize->profile = job->profile;
	return true;
}
