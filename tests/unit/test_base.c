/* SPDX-License-Identifier: Apache-2.0 */
/* base: arenas, maps, vectors, element types. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/arena.h"
#include "base/dtype.h"
#include "base/map.h"
#include "base/vec.h"

Test(arena, is_zeroed_aligned_and_grows)
{
	struct arena a = { 0 };
	char *last = NULL;

	for (size_t i = 1; i < 3000; i += 7) {
		char *p = arena_alloc(&a, i);

		cr_assert_eq((uintptr_t)p % 16, 0);
		for (size_t k = 0; k < i; k++)
			cr_assert_eq(p[k], 0);
		memset(p, (int)(i & 127) + 1, i);
		cr_assert(!last || last[0] != 0, "an older object was lost");
		last = p;
	}
	arena_free(&a);
	cr_assert_null(a.head);
}

Test(arena, large_objects_keep_the_open_block)
{
	struct arena a = { 0 };
	char *x = arena_alloc(&a, 16), *big = arena_alloc(&a, 1 << 20);
	char *y = arena_alloc(&a, 16);

	cr_assert_eq(y, x + 16);
	memset(big, 1, 1 << 20);
	cr_assert_eq(x[0] | y[0], 0);
	arena_free(&a);
}

Test(arena, text)
{
	struct arena a = { 0 };

	cr_assert_str_eq(arena_fmt(&a, "%d-%s", 7, "x"), "7-x");
	cr_assert_str_eq(arena_str(&a, "abcdef", 3), "abc");
	cr_assert_eq(*(int *)arena_copy(&a, &(int){ 42 }, sizeof(int)), 42);
	arena_free(&a);
}

Test(map, finds_what_was_put)
{
	struct map m = { 0 };
	static int val[10000];

	cr_assert_null(map_get(&m, 1));
	for (uint64_t i = 0; i < 10000; i++)
		map_put(&m, i * i * 2654435761u, &val[i]);
	for (uint64_t i = 0; i < 10000; i++)
		cr_assert_eq(map_get(&m, i * i * 2654435761u), &val[i]);
	cr_assert_null(map_get(&m, 3));
	map_put(&m, 0, &val[5]);
	cr_assert_eq(map_get(&m, 0), &val[5]);
	cr_assert_eq(m.n, 10000);
	map_free(&m);
}

static int str_is(const void *obj, const void *key)
{
	return !strcmp(obj, key);
}

Test(map, interning_survives_equal_hashes)
{
	struct map m = { 0 };

	intern_add(&m, 9, (char *)"a");
	intern_add(&m, 9, (char *)"b");
	intern_add(&m, 10, (char *)"c");
	cr_assert_str_eq(intern_find(&m, 9, str_is, "a"), "a");
	cr_assert_str_eq(intern_find(&m, 9, str_is, "b"), "b");
	cr_assert_str_eq(intern_find(&m, 10, str_is, "c"), "c");
	cr_assert_null(intern_find(&m, 9, str_is, "d"));
	map_free(&m);
}

/* Two names that FNV-1a cannot tell apart, and whatever follows them. */
Test(map, names_cannot_be_made_to_collide)
{
	static const char a[] = "8yn0iYCKYHlIj4-BwPqk";
	static const char b[] = "GReLUrM4wMqfg9yzV3KQ";
	size_t n = sizeof(a) - 1;

	cr_assert_eq(fnv_bytes(FNV_INIT, a, n), fnv_bytes(FNV_INIT, b, n));
	cr_assert_neq(hash_bytes(HASH_INIT, a, n), hash_bytes(HASH_INIT, b, n));
	for (size_t i = 0; i < n; i++)
		cr_assert_neq(hash_bytes(HASH_INIT, a, i),
			      hash_bytes(HASH_INIT, a, i + 1));
}

Test(map, fnv_1a_vectors)
{
	/* From the authors' test suite. */
	cr_assert_eq(fnv_bytes(FNV_INIT, "", 0),
		     UINT64_C(0xcbf29ce484222325));
	cr_assert_eq(fnv_bytes(FNV_INIT, "a", 1),
		     UINT64_C(0xaf63dc4c8601ec8c));
	cr_assert_eq(fnv_bytes(FNV_INIT, "foobar", 6),
		     UINT64_C(0x85944171f73967e8));
}

Test(vec, grows)
{
	VEC(int) v = { 0 };

	for (int i = 0; i < 1000; i++)
		vec_push(&v, i);
	cr_assert_eq(v.n, 1000);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(v.v[i], i);
	vec_free(&v);
}

/* ---- element types -------------------------------------------------- */

/* IEEE 754 binary interchange by its definition, in integers and ldexp. */
static double half_value(unsigned h, int frac, int bias)
{
	int e = (int)(h & 0x7fff) >> frac;
	int m = (int)(h & ((1u << frac) - 1));
	int top = 0x7fff >> frac;
	double s = h >> 15 ? -1 : 1;

	if (e == top)
		return m ? NAN : s * INFINITY;
	return s * (e ? ldexp(1 + ldexp(m, -frac), e - bias)
		      : ldexp(m, 1 - bias - frac));
}

static void check_half(enum dtype t, int frac, int bias)
{
	for (unsigned h = 0; h <= 0xffff; h++) {
		double x = half_value(h, frac, bias), y = narrow_value(t, h);

		if (isnan(x)) {
			cr_assert(isnan(y) &&
				  isnan(narrow_value(t, narrow_bits(t, y))),
				  "%04x", h);
			continue;
		}
		cr_assert(x == y && !signbit(x) == !signbit(y), "%04x", h);
		cr_assert_eq(narrow_bits(t, x), h, "%04x", h);
	}
	/* Between two neighbours: the nearer one, the even one of a tie. */
	for (unsigned h = 0; h < (0x7fffu >> frac) << frac; h++) {
		double a = half_value(h, frac, bias);
		double b = half_value(h + 1, frac, bias);

		if (isinf(b)) /* as if the exponent range went on */
			b = 2 * a - half_value(h - 1, frac, bias);
		double mid = (a + b) / 2;

		cr_assert_eq(narrow_bits(t, mid), h + (h & 1),
			     "tie above %04x", h);
		cr_assert_eq(narrow_bits(t, nextafter(mid, a)), h);
		cr_assert_eq(narrow_bits(t, nextafter(mid, b)), h + 1);
		cr_assert_eq(narrow_bits(t, -nextafter(mid, b)),
			     0x8000 | (h + 1));
	}
}

Test(dtype, f16_all_codes)
{
	check_half(DT_F16, 10, 15);
}

Test(dtype, bf16_all_codes)
{
	check_half(DT_BF16, 7, 127);
}

Test(dtype, float_to_integer_saturates)
{
	static const double x[] = { 0, -0.0, 0.9, -0.9, 127.5, 128, -128.9,
				    -129, 255.9, 256, 65535, 65536, 1e9, 3e9,
				    -3e9, 5e9, 9.3e18, -9.3e18, 1.9e19, 1e300,
				    -1e300, INFINITY, -INFINITY, NAN };

	for (int t = 0; t < DT_COUNT; t++) {
		if (dtype_is_float((enum dtype)t) || t == DT_BOOL)
			continue;
		unsigned bits = dtype_info[t].bits;
		bool sign = dtype_is_signed((enum dtype)t);
		long double hi = ldexpl(1, (int)bits - sign) - 1;
		long double lo = sign ? -ldexpl(1, (int)bits - 1) : 0;

		for (size_t i = 0; i < sizeof(x) / sizeof(*x); i++) {
			long double want = isnan(x[i]) ? 0 : truncl(x[i]);
			union scalar s = scalar_cast(DT_F64, (enum dtype)t,
						     (union scalar){ x[i] });

			want = want > hi ? hi : want < lo ? lo : want;
			cr_assert((sign ? (long double)s.i
					: (long double)s.u) == want,
				  "%g to %s", x[i], dtype_info[t].name);
		}
	}
}

Test(dtype, integers_wrap_and_round_trip)
{
	union scalar s = { .i = -1 };

	cr_assert_eq(scalar_cast(DT_I64, DT_U8, s).u, 255);
	cr_assert_eq(scalar_cast(DT_I64, DT_U64, s).u, UINT64_MAX);
	cr_assert_eq(scalar_cast(DT_U64, DT_I16,
				 (union scalar){ .u = 0x18000 }).i, -32768);
	cr_assert_eq(scalar_cast(DT_I64, DT_BOOL, s).u, 1);
	cr_assert_eq(scalar_cast(DT_F32, DT_BOOL,
				 (union scalar){ .d = NAN }).u, 1);
	/* One rounding: 2^24 + 1 in f32, and 2^53 + 1 straight to f32. */
	cr_assert(scalar_cast(DT_I32, DT_F32,
			      (union scalar){ .i = 16777217 }).d == 16777216);
	cr_assert(scalar_cast(DT_U64, DT_F32,
			      (union scalar){ .u = UINT64_MAX }).d ==
		  18446744073709551616.0);
	for (int t = 0; t < DT_COUNT; t++) {
		char a[8], b[8];

		memset(a, 0, sizeof(a));
		a[0] = 1;
		memcpy(b, a, sizeof(a));
		scalar_store((enum dtype)t, b, scalar_load((enum dtype)t, a));
		cr_assert(!memcmp(a, b, dtype_size((enum dtype)t)), "%s",
			  dtype_info[t].name);
	}
}

Test(dtype, names_and_codes)
{
	for (int t = 0; t < DT_COUNT; t++) {
		enum dtype back;

		cr_assert(dtype_from_onnx(dtype_info[t].onnx, &back));
		cr_assert_eq((int)back, t);
		cr_assert_str_eq(onnx_dtype_name(dtype_info[t].onnx),
				 dtype_info[t].name);
	}
	cr_assert_str_eq(onnx_dtype_name(8), "string");
	cr_assert_str_eq(onnx_dtype_name(-1), "unknown");
	cr_assert_str_eq(onnx_dtype_name(1000), "unknown");
}
