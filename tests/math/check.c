/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage: check [--full | --time] [FUNCTION]
 *
 * Compares what emit.c compiled with libm in long double, over bit patterns
 * spread over all floats (every 64th with --full) and doubles, ranges where
 * functions are used, and special values.  Prints the largest error of each
 * function in units in the last place and fails when a bound is passed.
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cases.h"

enum { BLOCK = 4096 };

typedef void fn32(const float *x, const float *y, float *out, int64_t n);
typedef void fn64(const double *x, const double *y, double *out, int64_t n);

#define DECLARE(v, name)       \
	fn32 v##_##name##_f32; \
	fn64 v##_##name##_f64;
#define ROW(v, name) { v##_##name##_f32, v##_##name##_f64 },
/* The variants of one function, in the order of MATH_VARIANTS. */
#define EACH(M, name)                                                      \
	M(base1, name) M(base, name) M(v3_1, name) M(v3, name) M(v4, name)

#define X(name, ...) EACH(DECLARE, name)
MATH_CASES(X)
#undef X

struct pair {
	fn32 *f32;
	fn64 *f64;
};

static const struct variant {
	const char *name, *cpu;
} variants[] = {
#define X(name, cpu, ...) { #name, cpu },
	MATH_VARIANTS(X)
#undef X
};

enum { N_VARIANTS = sizeof(variants) / sizeof(variants[0]) };

static long double nearest_even(long double x)
{
	return nearbyintl(x);
}

#define roundevenl nearest_even
#define X(name, code, n, f, ...) REFERENCE_##n(name, f)
#define REFERENCE_1(name, f)                                         \
	static long double ref_##name(long double x, long double y)  \
	{                                                            \
		(void)y;                                             \
		return f(x);                                         \
	}
#define REFERENCE_2(name, f)                                         \
	static long double ref_##name(long double x, long double y)  \
	{                                                            \
		return f(x, y);                                      \
	}
MATH_CASES(X)
#undef X

static const struct row {
	const char *name;
	int n_in;
	long double (*ref)(long double, long double);
	double bound32, bound64;
	struct pair pair[N_VARIANTS];
} rows[] = {
#define X(name, code, n, f, b32, b64) \
	{ #name, n, ref_##name, b32, b64, { EACH(ROW, name) } },
	MATH_CASES(X)
#undef X
};

enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

struct worst {
	double ulp, x, y, got;
	long double want;
};

/*
 * The distance in units in the last place of the format, with `digits` bits
 * and least exponent `low`; infinite when one is special and the other not.
 */
static double distance(double got, long double want, int digits, int low,
		       double rounded)
{
	int e;

	if (isnan(got) || isnan(rounded))
		return isnan(got) && isnan(rounded) ? 0 : INFINITY;
	if (rounded == 0 && got == 0)
		return signbit(rounded) == signbit(got) ? 0 : INFINITY;
	if (got == rounded)
		return isinf(got) ? 0 : (double)(fabsl(got - want) /
			ldexpl(1, fmax(ilogbl(want), low) - digits + 1));
	if (isinf(got) || isinf(want))
		return INFINITY;
	e = ilogbl(want);
	if (want == 0 || e < low)
		e = low;
	return (double)(fabsl((long double)got - want) /
			ldexpl(1, e - digits + 1));
}

static void note(struct worst *w, double ulp, double x, double y, double got,
		 long double want)
{
	if (!(ulp > w->ulp))
		return;
	*w = (struct worst){ ulp, x, y, got, want };
}

/* One block of operands through every variant. */
struct block {
	double x[BLOCK], y[BLOCK];
	size_t n;
};

static void run32(const struct row *r, const struct block *b,
		  const bool *able, struct worst *w)
{
	static float x[BLOCK], y[BLOCK], out[BLOCK];
	static long double want[BLOCK];

	for (size_t i = 0; i < b->n; i++) {
		x[i] = (float)b->x[i];
		y[i] = (float)b->y[i];
		want[i] = r->ref(x[i], y[i]);
	}
	for (size_t v = 0; v < N_VARIANTS; v++) {
		if (!able[v])
			continue;
		r->pair[v].f32(x, y, out, (int64_t)b->n);
		for (size_t i = 0; i < b->n; i++)
			note(&w[v], distance(out[i], want[i], 24, -126,
					     (float)want[i]),
			     x[i], y[i], out[i], want[i]);
	}
}

static void run64(const struct row *r, const struct block *b,
		  const bool *able, struct worst *w)
{
	static double out[BLOCK];
	static long double want[BLOCK];

	for (size_t i = 0; i < b->n; i++)
		want[i] = r->ref(b->x[i], b->y[i]);
	for (size_t v = 0; v < N_VARIANTS; v++) {
		if (!able[v])
			continue;
		r->pair[v].f64(b->x, b->y, out, (int64_t)b->n);
		for (size_t i = 0; i < b->n; i++)
			note(&w[v], distance(out[i], want[i], 53, -1022,
					     (double)want[i]),
			     b->x[i], b->y[i], out[i], want[i]);
	}
}

/* ---- operands ------------------------------------------------------- */

static const double special[] = {
	0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 1.5, -1.5, 2.5, -2.5,
	INFINITY, -INFINITY, NAN, 0x1p-126, -0x1p-126, 0x1p-149, -0x1p-149,
	0x1p-1022, -0x1p-1022, 0x1p-1074, -0x1p-1074, 0x1.fffffep127,
	-0x1.fffffep127, 0x1.fffffffffffffp1023, -0x1.fffffffffffffp1023,
	0x1p23, -0x1p23, 0x1p24, 0x1.000002p23, 0x1p52, 0x1p53,
	0x1.0000000000001p52, -0x1.0000000000001p52, 0x1.fffffep22,
	0x1.fffffffffffffp51, 0x1.fffffep-2, 0x1.fffffffffffffp-2,
	0x1.fffffep-1, 0x1.fffffffffffffp-1, 0x1.000002p0,
	0x1.0000000000001p0, 88.72284, 88.722832, -87.33655, -103.97208,
	-103.97207, 709.782712893384, 709.7827128933841, -745.1332191019411,
	-745.1332191019412, -708.396, 3.141592653589793, 1.5707963267948966,
	-1.5707963267948966, 0.7853981633974483, 6.283185307179586,
	22, 9.01, 9.02, 3.92, 3.93, 6, 5.92, 1e9, -1e9,
};

enum { N_SPECIAL = sizeof(special) / sizeof(special[0]) };

static uint64_t random_bits(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static double random_in(uint64_t *s, double lo, double hi)
{
	return lo + (hi - lo) * (double)(random_bits(s) >> 11) * 0x1p-53;
}

static double from_bits32(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

static double from_bits64(uint64_t u)
{
	double d;

	memcpy(&d, &u, sizeof(d));
	return d;
}

/* Where the reduction of sin, cos and tan keeps its bound. */
static bool within(const struct row *r, double x)
{
	bool angle = !strcmp(r->name, "sin") || !strcmp(r->name, "cos") ||
		     !strcmp(r->name, "tan");

	return !angle || !(fabs(x) > 1e9) || isinf(x);
}

/* x near where results of pow are finite, so that errors show. */
static void operands_pow(uint64_t *s, double *x, double *y, bool wide)
{
	double range = wide ? 1070 : 148;
	uint64_t kind = random_bits(s) % 4;

	*x = exp2(random_in(s, kind ? -3 : -range, kind ? 3 : range));
	if (kind == 2)
		*x = 1 + random_in(s, -0x1p-8, 0x1p-8);
	*y = random_in(s, -range, range) / log2(*x);
	if (kind == 3) {
		*y = rint(fmod(*y, 64));
		*x = -*x;
	}
}

typedef void run_fn(const struct row *, const struct block *, const bool *,
		    struct worst *);

static void flush(const struct row *r, struct block *b, run_fn *run,
		  const bool *able, struct worst *w)
{
	/* All lanes take part. */
	while (b->n % 16) {
		b->x[b->n] = b->x[b->n - 1];
		b->y[b->n] = b->y[b->n - 1];
		b->n++;
	}
	if (b->n)
		run(r, b, able, w);
	b->n = 0;
}

static void push(const struct row *r, struct block *b, run_fn *run,
		 const bool *able, struct worst *w, double x, double y)
{
	if (!within(r, x))
		return;
	b->x[b->n] = x;
	b->y[b->n] = y;
	if (++b->n == BLOCK)
		flush(r, b, run, able, w);
}

static void check(const struct row *r, bool wide, uint64_t step,
		  const bool *able, struct worst *w)
{
	static const double range[] = { 1, 10, 0.1, 100, 800, 1e5, 1e9 };
	static struct block b;
	run_fn *run = wide ? run64 : run32;
	uint64_t s = 88172645463325252u, n = 0x100000000 / step;
	double x, y;

	b.n = 0;
	for (size_t i = 0; i < N_SPECIAL; i++)
		for (size_t j = 0; j < (r->n_in == 2 ? N_SPECIAL : 1); j++)
			push(r, &b, run, able, w, special[i], special[j]);
	flush(r, &b, run, able, w);
	if (r->n_in == 2) {
		for (uint64_t i = 0; i < n / 8; i++) {
			operands_pow(&s, &x, &y, wide);
			push(r, &b, run, able, w, x, y);
		}
		flush(r, &b, run, able, w);
		return;
	}
	if (wide)
		for (uint64_t i = 0; i < n / 32; i++)
			push(r, &b, run, able, w,
			     from_bits64(random_bits(&s)), 0);
	else
		for (uint64_t i = 0; i < n; i++)
			push(r, &b, run, able, w,
			     from_bits32((uint32_t)(i * step)), 0);
	for (size_t k = 0; k < sizeof(range) / sizeof(range[0]); k++)
		for (uint64_t i = 0; i < n / 128; i++)
			push(r, &b, run, able, w,
			     random_in(&s, -range[k], range[k]), 0);
	/* Near multiples of pi/2, and near 1. */
	for (uint64_t i = 1; i < n / 1024; i++) {
		push(r, &b, run, able, w, (double)i * 1.5707963267948966, 0);
		push(r, &b, run, able, w, 1 + (double)i * 0x1p-30, 0);
		push(r, &b, run, able, w, 1 - (double)i * 0x1p-31, 0);
	}
	flush(r, &b, run, able, w);
}

/* Beyond the bound of the reduction, sin and cos stay in [-1, 1]. */
static bool check_far(const struct row *r, const bool *able)
{
	static float x[BLOCK], out[BLOCK];
	static double dx[BLOCK], dout[BLOCK];
	uint64_t s = 88172645463325252u;
	bool ok = true;

	for (size_t i = 0; i < BLOCK; i++) {
		dx[i] = ldexp(random_in(&s, -2, 2), (int)(i % 1023));
		x[i] = (float)ldexp(random_in(&s, -2, 2), (int)(i % 127));
	}
	for (size_t v = 0; v < N_VARIANTS; v++) {
		if (!able[v])
			continue;
		r->pair[v].f32(x, x, out, BLOCK);
		r->pair[v].f64(dx, dx, dout, BLOCK);
		for (size_t i = 0; i < BLOCK; i++)
			ok = ok && fabsf(out[i]) <= 1 && fabs(dout[i]) <= 1;
	}
	printf("%-6s far%s\n", r->name, ok ? "" : "  FAIL: beyond 1");
	return ok;
}

/* ---- results -------------------------------------------------------- */

static bool report(const struct row *r, bool wide, const bool *able,
		   const struct worst *w)
{
	double bound = wide ? r->bound64 : r->bound32;
	bool ok = true;

	printf("%-6s %s ", r->name, wide ? "f64" : "f32");
	for (size_t v = 0; v < N_VARIANTS; v++)
		if (able[v])
			printf(" %s %.3f", variants[v].name, w[v].ulp);
	printf("\n");
	for (size_t v = 0; v < N_VARIANTS; v++) {
		if (!able[v] || w[v].ulp <= bound)
			continue;
		ok = false;
		printf("  FAIL %s: %g ulp, bound %g: (%a, %a) = %a, not %La\n",
		       variants[v].name, w[v].ulp, bound, w[v].x, w[v].y,
		       w[v].got, w[v].want);
	}
	return ok;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Nanoseconds per element, the best of some runs over a block. */
static void time_all(const bool *able)
{
	static float x[BLOCK], out[BLOCK];
	static double dx[BLOCK], dout[BLOCK];

	for (size_t i = 0; i < BLOCK; i++) {
		x[i] = (float)i / BLOCK * 2 - 1;
		dx[i] = x[i];
	}
	for (size_t k = 0; k < N_ROWS; k++) {
		printf("%-6s", rows[k].name);
		for (size_t v = 0; v < N_VARIANTS; v++) {
			double best[2] = { 1, 1 }, t;

			if (!able[v])
				continue;
			for (int i = 0; i < 50; i++) {
				t = now();
				rows[k].pair[v].f32(x, x, out, BLOCK);
				best[0] = fmin(best[0], now() - t);
				t = now();
				rows[k].pair[v].f64(dx, dx, dout, BLOCK);
				best[1] = fmin(best[1], now() - t);
			}
			printf("  %s %.2f %.2f", variants[v].name,
			       best[0] / BLOCK * 1e9, best[1] / BLOCK * 1e9);
		}
		printf("\n");
	}
}

static bool cpu_is(const char *cpu)
{
	__builtin_cpu_init();
	if (!strcmp(cpu, "x86-64-v4"))
		return __builtin_cpu_supports("avx512f") &&
		       __builtin_cpu_supports("avx512bw") &&
		       __builtin_cpu_supports("avx512dq") &&
		       __builtin_cpu_supports("avx512vl");
	if (!strcmp(cpu, "x86-64-v3"))
		return __builtin_cpu_supports("avx2") &&
		       __builtin_cpu_supports("fma") &&
		       __builtin_cpu_supports("bmi2");
	return true;
}

int main(int argc, char **argv)
{
	bool able[N_VARIANTS], full = argc > 1 && !strcmp(argv[1], "--full");
	const char *only = argc > 1 ? argv[argc - 1] : "-";
	int passed = 0, failed = 0;

	for (size_t v = 0; v < N_VARIANTS; v++)
		able[v] = cpu_is(variants[v].cpu);
	if (argc > 1 && !strcmp(argv[1], "--time")) {
		time_all(able);
		return 0;
	}
	for (size_t k = 0; k < N_ROWS; k++) {
		if (*only != '-' && strcmp(only, rows[k].name))
			continue;
		for (int wide = 0; wide < 2; wide++) {
			struct worst w[N_VARIANTS] = { { 0 } };

			check(&rows[k], wide, full ? 64 : 1024, able, w);
			if (report(&rows[k], wide, able, w))
				passed++;
			else
				failed++;
		}
		if (strcmp(rows[k].name, "sin") && strcmp(rows[k].name, "cos"))
			continue;
		if (check_far(&rows[k], able))
			passed++;
		else
			failed++;
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed > 0;
}
