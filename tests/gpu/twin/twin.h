// SPDX-License-Identifier: Apache-2.0
// The machine that generated kernels need, on the host: stands where
// compiler/codegen/ptx/intrinsics.cuh is in the text that dlcc prints.
#ifndef TWIN_H
#define TWIN_H

#include <math.h>
#include <string.h>
#include <type_traits>
#include <utility>

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

struct alignas(8) uint2 {
	u32 x, y;
};
struct alignas(16) uint4 {
	u32 x, y, z, w;
};

struct alignas(64) dl_map {
	u64 word[16];
};
#define DL_MAP(name) const dl_map name

#define __global__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

#define DL_FN static inline __attribute__((always_inline))
// One array for each place in the text, whoever comes there first.
#define DL_SHARED(type, name, n) \
	static const char name##_place = 0; \
	type *const name = (type *)twin_shared(&name##_place, \
					       sizeof(type) * (n))
#define DL_SHARED_ALIGNED(type, name, n) DL_SHARED(type, name, n)
#define DL_SM80 1
// Of sm_90a: TWIN_WGMMA.
#ifdef TWIN_WGMMA
#define DL_WGMMA 1
#else
#define DL_WGMMA 0
#endif

// ---- twin.cpp --------------------------------------------------------

extern int twin_thread, twin_block, twin_blocks;
extern u8 *dl_dynamic;

// Elements of a, b and of a word; sums are f32, or i32 for bytes.
enum twin_type { TWIN_F16, TWIN_BF16, TWIN_TF32, TWIN_I8, TWIN_U8 };

void *twin_shared(const void *place, u64 bytes);
u32 twin_address(const void *p);
void twin_barrier();
u64 twin_shuffle(u64 x, int lanes);
void twin_matrices(u32 *x, int n, const void *row, bool turned);
void twin_mma(twin_type a_type, twin_type b_type, void *d, const u32 *a,
	      const u32 *b);
void twin_copy16(void *to, const void *from, bool there);
void twin_copy_commit();
void twin_copy_wait(int left);
// n columns of 4 bytes' sums: d[n / 8][4].
void twin_wgmma(twin_type a_type, twin_type b_type, void *d, int n, u64 a,
		u64 b, bool a_turned, bool b_turned);
void twin_wgmma_fence();
void twin_wgmma_commit();
// Until all but the last `left` groups are done.
void twin_wgmma_wait(int left);
void twin_proxy_fence();
void twin_phases_init(u64 *bar, int n);
void twin_phases_fence();
// Arrives, and announces bytes.
void twin_phases_arrive(u64 *bar, int bytes);
void twin_phases_wait(u64 *bar, int parity);
void twin_copy_box(void *to, const void *map, u64 *bar, int rank,
		   const int *at);

// ---- threads ---------------------------------------------------------

DL_FN int dl_thread() { return twin_thread; }
DL_FN int dl_block() { return twin_block; }
DL_FN int dl_blocks() { return twin_blocks; }
DL_FN void dl_barrier() { twin_barrier(); }

#define TWIN_SHUFFLE(type) \
	DL_FN type dl_shuffle_xor(type x, int lanes) \
	{ \
		u64 bits = 0; \
		memcpy(&bits, &x, sizeof(x)); \
		bits = twin_shuffle(bits, lanes); \
		memcpy(&x, &bits, sizeof(x)); \
		return x; \
	}
TWIN_SHUFFLE(i32)
TWIN_SHUFFLE(u32)
TWIN_SHUFFLE(i64)
TWIN_SHUFFLE(u64)
TWIN_SHUFFLE(float)
TWIN_SHUFFLE(double)

DL_FN void dl_raise(u32 *status, u32 code)
{
	if (*status < code)
		*status = code;
}

// ---- floats ----------------------------------------------------------

DL_FN float dl_f32(u32 bits)
{
	float x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}
DL_FN double dl_f64(u64 bits)
{
	double x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}
DL_FN u32 dl_bits(float x)
{
	u32 bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}
DL_FN float dl_f16_value(u16 bits)
{
	const float x = dl_f32((bits & 0x7fffu) << 13) * 0x1p112f;
	const u32 top = (bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0;

	return dl_f32(dl_bits(x) | top | (bits & 0x8000u) << 16);
}
// To the nearest, ties to even; GPUs have one NaN.
DL_FN u16 dl_f16_bits(float x)
{
	const u32 sign = dl_bits(x) >> 16 & 0x8000, u = dl_bits(x) & 0x7fffffff;

	if (u > 0x7f800000)
		return 0x7fff;
	if (u >= 0x47800000)
		return (u16)(sign | 0x7c00);
	// The sum with 1/2 has a subnormal number in its last bits.
	if (u < 0x38800000)
		return (u16)(sign | (dl_bits(dl_f32(u) + 0.5f) - 0x3f000000));
	return (u16)(sign | (u - 0x38000000 + 0xfff + (u >> 13 & 1)) >> 13);
}
// Ties go away from zero.
DL_FN float dl_tf32(float x)
{
	const u32 u = dl_bits(x);

	if ((u & 0x7fffffff) > 0x7f800000)
		return dl_f32(0x7fffffff);
	if ((u & 0x7fffffff) == 0x7f800000)
		return x;
	return dl_f32((u + 0x1000) & 0xffffe000);
}

DL_FN float dl_exp2(float x) { return exp2f(x); }
DL_FN float dl_min(float a, float b)
{
	return a != a || b != b ? dl_f32(0x7fffffff)
	       : a == b	       ? dl_f32(dl_bits(a) | dl_bits(b))
			       : a < b ? a : b;
}
DL_FN float dl_max(float a, float b)
{
	return a != a || b != b ? dl_f32(0x7fffffff)
	       : a == b	       ? dl_f32(dl_bits(a) & dl_bits(b))
			       : a > b ? a : b;
}
// GPUs have one NaN of each type.
DL_FN u32 dl_pack_f16(float x, float y)
{
	return dl_f16_bits(x) | (u32)dl_f16_bits(y) << 16;
}
DL_FN u16 dl_bf16_bits(float x)
{
	const u32 u = dl_bits(x);

	return x != x ? 0x7fff : (u16)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
DL_FN u32 dl_pack_bf16(float x, float y)
{
	return dl_bf16_bits(x) | (u32)dl_bf16_bits(y) << 16;
}

// ---- tensor cores ----------------------------------------------------

DL_FN u32 dl_shared_address(const void *p) { return twin_address(p); }
template <int N> DL_FN void dl_matrices(u32 (&x)[N], const u32 *row)
{
	twin_matrices(x, N, row, false);
}
template <int N> DL_FN void dl_matrices_turned(u32 (&x)[N], const u32 *row)
{
	twin_matrices(x, N, row, true);
}
#define TWIN_MMA(name, type, a_type, b_type) \
	DL_FN void dl_mma_##name(type (&d)[4], const u32 (&a)[4], \
				 const u32 (&b)[2]) \
	{ \
		twin_mma(a_type, b_type, d, a, b); \
	} \
	template <int A = 0, int B = 0, int N> \
	DL_FN void dl_wgmma_##name(type (&d)[N][4], u64 a, u64 b) \
	{ \
		twin_wgmma(a_type, b_type, d, N * 8, a, b, A, B); \
	}
TWIN_MMA(f16, float, TWIN_F16, TWIN_F16)
TWIN_MMA(bf16, float, TWIN_BF16, TWIN_BF16)
TWIN_MMA(tf32, float, TWIN_TF32, TWIN_TF32)
TWIN_MMA(i8_i8, i32, TWIN_I8, TWIN_I8)
TWIN_MMA(i8_u8, i32, TWIN_I8, TWIN_U8)
TWIN_MMA(u8_i8, i32, TWIN_U8, TWIN_I8)
TWIN_MMA(u8_u8, i32, TWIN_U8, TWIN_U8)

DL_FN void dl_copy16(void *to, const void *from, bool there)
{
	twin_copy16(to, from, there);
}
DL_FN void dl_copy_commit() { twin_copy_commit(); }
template <int N> DL_FN void dl_copy_wait() { twin_copy_wait(N); }
DL_FN void dl_wgmma_fence() { twin_wgmma_fence(); }
DL_FN void dl_wgmma_commit() { twin_wgmma_commit(); }
template <int N> DL_FN void dl_wgmma_wait() { twin_wgmma_wait(N); }
template <typename T> DL_FN void dl_wgmma_settle(T &, const u64 *) {}
DL_FN void dl_proxy_fence() { twin_proxy_fence(); }

// ---- copies of boxes -------------------------------------------------

template <int N> DL_FN void dl_registers_less() {}
template <int N> DL_FN void dl_registers_more() {}
DL_FN void dl_phases_init(u64 *bar, int n) { twin_phases_init(bar, n); }
DL_FN void dl_phases_fence() { twin_phases_fence(); }
DL_FN void dl_phases_arrive(u64 *bar, bool one)
{
	if (one)
		twin_phases_arrive(bar, 0);
}
DL_FN void dl_phases_expect(u64 *bar, int bytes)
{
	twin_phases_arrive(bar, bytes);
}
DL_FN void dl_phases_wait(u64 *bar, int parity)
{
	twin_phases_wait(bar, parity);
}
template <typename... I>
DL_FN void dl_copy_box(void *to, const dl_map &map, u64 *bar, I... i)
{
	const int at[] = { i... };

	twin_copy_box(to, &map, bar, (int)sizeof...(I), at);
}

// ---- kernels ---------------------------------------------------------

// Where its arguments are in the buffer that it gets.
struct twin_kernel {
	const char *name;
	int n_args, bytes;
	const bool *is_pointer;
	const int *at;
	void (*call)(const u8 *args);
};
template <typename... A> struct twin_places {
	int at[sizeof...(A)] = {}, bytes = 0;

	constexpr twin_places()
	{
		const int size[] = { (int)sizeof(A)... };
		const int align[] = { (int)alignof(A)... };

		for (int i = 0; i < (int)sizeof...(A); i++) {
			bytes = (bytes + align[i] - 1) / align[i] * align[i];
			at[i] = bytes;
			bytes += size[i];
		}
	}
};
template <auto F> struct twin_entry;
template <typename... A, void (*F)(A...)> struct twin_entry<F> {
	static constexpr bool is_pointer[] = { std::is_pointer_v<A>... };
	static constexpr twin_places<A...> places{};

	template <size_t... I>
	static void spread(const u8 *args, std::index_sequence<I...>)
	{
		F(*(const A *)(args + places.at[I])...);
	}
	static void call(const u8 *args)
	{
		spread(args, std::index_sequence_for<A...>());
	}
	static constexpr twin_kernel row(const char *name)
	{
		return { name, (int)sizeof...(A), places.bytes, is_pointer,
			 places.at, call };
	}
};
// What ends the text: TWIN_KERNELS(TWIN_ROW(k0), TWIN_ROW(k1))
#define TWIN_ROW(name) twin_entry<name>::row(#name)
#define TWIN_KERNELS(...) \
	static const twin_kernel twin_all[] = { __VA_ARGS__ }; \
	extern const twin_kernel *const twin_kernels = twin_all; \
	extern const int twin_n_kernels = sizeof(twin_all) / sizeof(*twin_all);
extern const twin_kernel *const twin_kernels;
extern const int twin_n_kernels;

#endif
