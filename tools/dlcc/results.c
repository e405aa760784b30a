/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the outputs of a run: printed, stored, compared. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "run.h"
#include "tensor_file.h"

static size_t count(const struct tensor *t)
{
	return tensor_count(t, "an output");
}

static union scalar element(const struct tensor *t, size_t i)
{
	return scalar_get(t->dtype, t->data, i);
}

static const char *element_text(struct arena *a, const struct tensor *t,
				size_t i)
{
	union scalar s = element(t, i);

	if (dtype_is_float(t->dtype))
		return arena_fmt(a, "%.*g", t->dtype == DT_F64 ? 17 : 8, s.d);
	if (dtype_is_signed(t->dtype))
		return arena_fmt(a, "%" PRId64, s.i);
	return arena_fmt(a, "%" PRIu64, s.u);
}

/* Names come from the file: no control byte reaches the terminal. */
static void print_name(const char *s)
{
	for (; *s; s++) {
		unsigned char ch = (unsigned char)*s;

		if (ch < 0x20 || ch == 0x7f)
			printf("\\x%02x", ch);
		else
			putchar(ch);
	}
}

void results_print(struct run *r)
{
	struct arena temp = { 0 };

	for (uint32_t i = 0; i < r->n_out; i++) {
		const struct tensor *t = &r->out[i];
		size_t n = count(t);
		size_t shown = n < (size_t)r->o->print ? n
						       : (size_t)r->o->print;

		print_name(r->out_type[i].name);
		printf(": %s\n", tensor_text(&temp, t));
		for (size_t k = 0; k < shown; k++)
			printf("%s%s", k ? " " : "  ",
			       element_text(&temp, t, k));
		if (shown)
			puts(shown < n ? " ..." : "");
		arena_free(&temp);
	}
}

void results_save(struct run *r)
{
	const char *suffix = r->o->save_pb ? "pb" : "npy";

	if (mkdir(r->o->save, 0777) < 0 && errno != EEXIST)
		fatal(EXIT_IO, "cannot make %s: %s", r->o->save,
		      strerror(errno));
	for (uint32_t i = 0; i < r->n_out; i++)
		tensor_write(arena_fmt(&r->a, "%s/output_%" PRIu32 ".%s",
				       r->o->save, i, suffix),
			     &r->out[i], r->out_type[i].name);
}

/* ---- comparing ------------------------------------------------------ */

struct difference {
	size_t n;		/* elements that differ */
	size_t first, worst;
	double max;		/* largest |got - want| */
};

/* Sets *diff; integers and bools must be equal. */
static bool same(const struct options *o, const struct tensor *got,
		 const struct tensor *want, size_t i, double *diff)
{
	union scalar a = element(got, i), b = element(want, i);

	if (!dtype_is_float(got->dtype)) {
		*diff = dtype_is_signed(got->dtype)
				? fabs((double)a.i - (double)b.i)
				: fabs((double)a.u - (double)b.u);
		return a.u == b.u;
	}
	if (isnan(a.d) || isnan(b.d) || isinf(a.d) || isinf(b.d)) {
		*diff = INFINITY;
		return (isnan(a.d) && isnan(b.d)) || a.d == b.d;
	}
	*diff = fabs(a.d - b.d);
	return *diff <= o->atol + o->rtol * fabs(b.d);
}

static struct difference compare(const struct options *o,
				 const struct tensor *got,
				 const struct tensor *want)
{
	struct difference d = { 0 };
	size_t n = count(got);

	for (size_t i = 0; i < n; i++) {
		double diff;

		if (same(o, got, want, i, &diff))
			continue;
		if (!d.n++)
			d.first = i;
		if (d.n == 1 || diff > d.max) {
			d.max = diff;
			d.worst = i;
		}
	}
	return d;
}

static bool same_type(const struct tensor *a, const struct tensor *b)
{
	return a->dtype == b->dtype && a->rank == b->rank &&
	       !memcmp(a->dim, b->dim, a->rank * sizeof(*a->dim));
}

static const char *index_text(struct arena *a, const struct tensor *t,
			      size_t i)
{
	const char *s = "]";

	for (unsigned k = t->rank; k-- > 0;) {
		size_t d = (size_t)t->dim[k];

		s = arena_fmt(a, "%s%zu%s", k ? "," : "", i % d, s);
		i /= d;
	}
	return arena_fmt(a, "[%s", s);
}

static bool compare_one(struct run *r, uint32_t i)
{
	const struct tensor *got = &r->out[i], *want = &r->want[i];

	if (!same_type(got, want)) {
		print_name(r->out_type[i].name);
		printf(": is %s, expected %s\n", tensor_text(&r->a, got),
		       tensor_text(&r->a, want));
		return false;
	}
	struct difference d = compare(r->o, got, want);

	if (!d.n)
		return true;
	print_name(r->out_type[i].name);
	printf(": %zu of %zu elements differ, by at most %.3g\n", d.n,
	       count(got), d.max);
	for (int k = 0; k < (d.worst == d.first ? 1 : 2); k++) {
		size_t at = k ? d.worst : d.first;

		printf("  %s %s: is %s, expected %s\n", k ? "worst" : "first",
		       index_text(&r->a, got, at),
		       element_text(&r->a, got, at),
		       element_text(&r->a, want, at));
	}
	return false;
}

bool results_compare(struct run *r)
{
	bool ok = true;

	for (uint32_t i = 0; i < r->n_out; i++)
		ok = compare_one(r, i) && ok;
	if (ok)
		printf("%" PRIu32 " output%s match%s\n", r->n_out,
		       r->n_out == 1 ? "" : "s", r->n_out == 1 ? "es" : "");
	return ok;
}
