// SPDX-License-Identifier: Apache-2.0
// What generated kernels build on, from the PTX ISA manual and docs/ir.md.
// Nothing is included: NVRTC knows the types and functions that are used here.
typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#define DL_FN __device__ __forceinline__
#define DL_SHARED(type, name, n) __shared__ type name[n]
extern __shared__ __align__(1024) u8 dl_dynamic[];
#define DL_SHARED_ALIGNED(type, name, n) __shared__ __align__(16) type name[n]

// The start of a buffer: of the arena, of the weights, or the caller's.
#define DL_ALIGNED(p) p = (decltype(p))__builtin_assume_aligned(p, 16)

// Of a block: how many threads it has, and with DL_ROOM that it may take all
// the registers.
#ifdef DL_ROOM
#define DL_BOUNDS(threads) __launch_bounds__(threads, 1)
#else
#define DL_BOUNDS(threads) __launch_bounds__(threads)
#endif

// ---- threads ---------------------------------------------------------

DL_FN int dl_thread() { return (int)threadIdx.x; }
DL_FN int dl_block() { return (int)blockIdx.x; }
DL_FN int dl_blocks() { return (int)gridDim.x; }
DL_FN void dl_barrier() { __syncthreads(); }

// All 32 lanes of a warp come here together.
DL_FN i32 dl_shuffle_xor(i32 x, int lanes)
{
	return __shfl_xor_sync(0xffffffffu, x, lanes);
}
DL_FN u32 dl_shuffle_xor(u32 x, int lanes)
{
	return __shfl_xor_sync(0xffffffffu, x, lanes);
}
DL_FN i64 dl_shuffle_xor(i64 x, int lanes)
{
	return __shfl_xor_sync(0xffffffffu, x, lanes);
}
DL_FN u64 dl_shuffle_xor(u64 x, int lanes)
{
	return __shfl_xor_sync(0xffffffffu, x, lanes);
}
DL_FN float dl_shuffle_xor(float x, int lanes)
{
	return __shfl_xor_sync(0xffffffffu, x, lanes);
}
DL_FN double dl_shuffle_xor(double x, int lanes)
{
	return __shfl_xor_sync(0xffffffffu, x, lanes);
}
DL_FN i8 dl_shuffle_xor(i8 x, int lanes)
{
	return (i8)dl_shuffle_xor((i32)x, lanes);
}
DL_FN u8 dl_shuffle_xor(u8 x, int lanes)
{
	return (u8)dl_shuffle_xor((u32)x, lanes);
}
DL_FN i16 dl_shuffle_xor(i16 x, int lanes)
{
	return (i16)dl_shuffle_xor((i32)x, lanes);
}
DL_FN u16 dl_shuffle_xor(u16 x, int lanes)
{
	return (u16)dl_shuffle_xor((u32)x, lanes);
}
DL_FN bool dl_shuffle_xor(bool x, int lanes)
{
	return dl_shuffle_xor((u32)x, lanes) != 0;
}

// The largest status stays, whatever the order of the threads.
DL_FN void dl_raise(u32 *status, u32 code) { atomicMax(status, code); }

// ---- indices ---------------------------------------------------------

template <typename T> DL_FN T dl_imin(T a, T b) { return a < b ? a : b; }
template <typename T> DL_FN T dl_imax(T a, T b) { return a > b ? a : b; }

template <typename T> DL_FN T dl_floor_div(T a, T b)
{
	return a / b - (a % b < 0 ? 1 : 0);
}
template <typename T> DL_FN T dl_floor_mod(T a, T b)
{
	return a % b + (a % b < 0 ? b : 0);
}

DL_FN i64 dl_index(i64 x, i64 extent, bool wrap, u32 *status, u32 code)
{
	if (wrap && x < 0)
		x += extent;
	if ((u64)x < (u64)extent)
		return x;
	dl_raise(status, code);
	return 0;
}

// ---- integers --------------------------------------------------------

DL_FN i8 dl_wrap_i(u32 x, u32 bits)
{
	return (i8)((i32)(x << (32 - bits)) >> (32 - bits));
}
DL_FN u8 dl_wrap_u(u32 x, u32 bits) { return (u8)(x & ((1u << bits) - 1)); }

template <typename T> DL_FN T dl_div_u(T a, T b, u32 *status, u32 code)
{
	if (b != 0)
		return (T)(a / b);
	dl_raise(status, code);
	return 0;
}
template <typename T> DL_FN T dl_rem_u(T a, T b, u32 *status, u32 code)
{
	if (b != 0)
		return (T)(a % b);
	dl_raise(status, code);
	return 0;
}
// x / -1 wraps for the lowest number.
template <typename T> DL_FN T dl_div_i(T a, T b, u32 *status, u32 code)
{
	if (b == (T)-1)
		return (T)(0 - (u64)a);
	if (b != 0)
		return (T)(a / b);
	dl_raise(status, code);
	return 0;
}
template <typename T> DL_FN T dl_rem_i(T a, T b, u32 *status, u32 code)
{
	if (b == (T)-1)
		return 0;
	if (b != 0)
		return (T)(a % b);
	dl_raise(status, code);
	return 0;
}

// Elements of less than 8 bits, the first in the lowest bits of a byte.
DL_FN u8 dl_packed_load_u(const u8 *p, i64 at, u32 bits)
{
	u32 per = 8 / bits;

	return dl_wrap_u(p[at / per] >> ((u32)(at % per) * bits), bits);
}
DL_FN i8 dl_packed_load_i(const u8 *p, i64 at, u32 bits)
{
	return dl_wrap_i(dl_packed_load_u(p, at, bits), bits);
}
DL_FN void dl_packed_store(u8 *p, i64 at, u32 bits, u32 x)
{
	u32 per = 8 / bits, shift = (u32)(at % per) * bits;
	u32 mask = ((1u << bits) - 1) << shift;

	p[at / per] = (u8)((p[at / per] & ~mask) | (x << shift & mask));
}

// ---- floats ----------------------------------------------------------

DL_FN float dl_f32(u32 bits) { return __uint_as_float(bits); }
DL_FN double dl_f64(u64 bits) { return __longlong_as_double((i64)bits); }

template <typename T> DL_FN T dl_min(T a, T b)
{
	return a < b || a != a ? a : b;
}
template <typename T> DL_FN T dl_max(T a, T b)
{
	return a > b || a != a ? a : b;
}

// Towards zero, saturated; NaN gives 0.  below and above are the powers of two
// at which it saturates.
template <typename I, typename F>
DL_FN I dl_saturate(F x, double below, double above, I least, I most)
{
	if (x != x)
		return 0;
	if (x <= (F)below)
		return least;
	return x >= (F)above ? most : (I)x;
}

// As an f32 that rounds to the same narrower float as the f64: to odd.
DL_FN float dl_f32_odd(double x)
{
	float y = (float)x;
	u32 bits = __float_as_uint(y);

	if ((double)y == x || x != x || (bits & 0x7fffffffu) == 0x7f800000u)
		return y;
	// Back to the neighbour towards zero, then the last bit set.
	if ((x < 0 ? -(double)y : (double)y) > (x < 0 ? -x : x))
		bits--;
	return __uint_as_float(bits | 1);
}
// An integer of 64 bits that an f64 holds and that rounds the same.
template <typename T> DL_FN T dl_odd(T x)
{
	const T rest = x & (T)0x7ff;

	if (rest == 0 || (x < (T)(1ll << 53) && x > (T)0 - (T)(1ll << 53)) ||
	    ((T)-1 > (T)0 && x < (T)(1ll << 53)))
		return x;
	return (x - rest) | (T)0x800;
}

DL_FN float dl_f16_value(u16 bits)
{
	float x;

	asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
	return x;
}
DL_FN u16 dl_f16_bits(float x)
{
	u16 bits;

	asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
	return bits;
}
DL_FN float dl_bf16_value(u16 bits)
{
	return __uint_as_float((u32)bits << 16);
}
DL_FN u16 dl_bf16_bits(float x)
{
	u32 bits = __float_as_uint(x);

	if ((bits & 0x7fffffffu) > 0x7f800000u)
		return (u16)(bits >> 16 | 0x40);
	return (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Floats of 8 and 4 bits, by their bits of fraction, bias, largest number,
// infinity and NaN (0: none), and sign.
DL_FN float dl_f8_value(u32 u, u32 frac, u32 bias, u32 max, u32 inf, u32 nan,
			u32 sign)
{
	u32 mag = u & (sign - 1), s = (u & sign) ? 0x80000000u : 0;
	// Multiplying by a power re-biases subnormal numbers as well.
	float x = __uint_as_float(mag << (23 - frac)) *
		  __uint_as_float((254 - bias) << 23);

	if (nan == sign && u == nan)
		return dl_f32(0x7fc00000u);
	if (mag > max)
		x = dl_f32(inf && mag == inf ? 0x7f800000u : 0x7fc00000u);
	return __uint_as_float(__float_as_uint(x) | s);
}
DL_FN u8 dl_f8_bits(float x, u32 frac, u32 bias, u32 max, u32 inf, u32 nan,
		    u32 sign)
{
	u32 u = __float_as_uint(x), a = u & 0x7fffffffu, cut = 23 - frac, r;

	if (a > 0x7f800000u)
		return (u8)(nan ? (nan == sign ? nan : nan |
						 (u >> 31 ? sign : 0)) : 0);
	if (a < (128 - bias) << 23) {
		// The last bit of a sum with this is that of a subnormal.
		u32 magic = (128 - bias - frac + 23) << 23;
		float d = __uint_as_float(a) + __uint_as_float(magic);

		r = __float_as_uint(d) - magic;
	} else {
		r = (a + (a >> cut & 1) + (1u << (cut - 1)) - 1 -
		     ((127 - bias) << 23)) >> cut;
	}
	if (r > max)
		r = inf ? inf : nan ? nan : max;
	if (nan == sign && (r == nan || r == 0))
		return (u8)r;
	return (u8)(r | (u >> 31 ? sign : 0));
}
// f8e8m0: powers of two.
DL_FN float dl_power_value(u32 u)
{
	return dl_f32(u == 0xff ? 0x7fc00000u : u == 0 ? 0x400000u : u << 23);
}
DL_FN u8 dl_power_bits(float x)
{
	i32 u = (i32)__float_as_uint(x);

	if (u < 0x300000 || u >= 0x7f800000 - 0x400000)
		return 0xff;
	return (u8)(u < 0x600000 ? 0 : (u + 0x400000) >> 23);
}

// ---- tensor cores ----------------------------------------------------

// Fragments of m16n8 tiles from rows of k in shared memory, `row` words apart,
// a multiple of four: lane l gets words l % 4 (and 4 more) of the rows l / 4
// (and 8 more), as matrices of 8 rows by 4 words to which the lanes point.
DL_FN u32 dl_shared_address(const void *p)
{
	return (u32)__cvta_generic_to_shared(p);
}
DL_FN void dl_fragment_a(u32 (&a)[4], const u32 *p, int row)
{
	const int lane = dl_thread() % 32;

	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 "
		     "{%0, %1, %2, %3}, [%4];"
		     : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
		     : "r"(dl_shared_address(p + lane % 16 * row +
					     lane / 16 * 4)) : "memory");
}
DL_FN void dl_fragment_b(u32 (&b)[2], const u32 *p, int row)
{
	const int lane = dl_thread() % 32;

	asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 "
		     "{%0, %1}, [%2];" : "=r"(b[0]), "=r"(b[1])
		     : "r"(dl_shared_address(p + lane % 8 * row +
					     lane / 8 % 2 * 4)) : "memory");
}

// The same from rows of 32 words, in which 4 words number c of row r are at
// c ^ r % 8; the tile begins at a row that is a multiple of 8.
DL_FN const u32 *dl_swizzled(const u32 *p, int row, int chunk)
{
	return p + row * 32 + (chunk ^ row % 8) * 4;
}
DL_FN void dl_fragment_a_swizzled(u32 (&a)[4], const u32 *p, int first, int k)
{
	const int lane = dl_thread() % 32;
	const u32 *q = dl_swizzled(p, first + lane % 16, k / 4 + lane / 16);

	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 "
		     "{%0, %1, %2, %3}, [%4];"
		     : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
		     : "r"(dl_shared_address(q)) : "memory");
}
DL_FN void dl_fragment_b_swizzled(u32 (&b)[2], const u32 *p, int first, int k)
{
	const int lane = dl_thread() % 32;
	const u32 *q = dl_swizzled(p, first + lane % 8, k / 4 + lane / 8 % 2);

	asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 "
		     "{%0, %1}, [%2];" : "=r"(b[0]), "=r"(b[1])
		     : "r"(dl_shared_address(q)) : "memory");
}

// d += a * b, the sums in f32 ("f") or i32 ("r").
#define DL_MMA(name, shape, d_type, types, reg) \
	DL_FN void dl_mma_##name(d_type (&d)[4], const u32 (&a)[4], \
				 const u32 (&b)[2]) \
	{ \
		asm("mma.sync.aligned." shape ".row.col." types " " \
		    "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, " \
		    "{%0, %1, %2, %3};" \
		    : "+" reg(d[0]), "+" reg(d[1]), "+" reg(d[2]), \
		      "+" reg(d[3]) \
		    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), \
		      "r"(b[1])); \
	}
#if __CUDA_ARCH__ >= 800
DL_MMA(f16, "m16n8k16", float, "f32.f16.f16.f32", "f")
DL_MMA(bf16, "m16n8k16", float, "f32.bf16.bf16.f32", "f")
DL_MMA(tf32, "m16n8k8", float, "f32.tf32.tf32.f32", "f")
DL_MMA(i8_i8, "m16n8k32", i32, "s32.s8.s8.s32", "r")
DL_MMA(i8_u8, "m16n8k32", i32, "s32.s8.u8.s32", "r")
DL_MMA(u8_i8, "m16n8k32", i32, "s32.u8.s8.s32", "r")
DL_MMA(u8_u8, "m16n8k32", i32, "s32.u8.u8.s32", "r")

// 16 bytes to shared memory, or zeros, while the thread goes on.
DL_FN void dl_copy16(void *to, const void *from, bool there)
{
	const u32 at = dl_shared_address(to);

	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
		     :: "r"(at), "l"(from), "r"(there ? 16 : 0) : "memory");
}
DL_FN void dl_copy_commit()
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until all but the last N groups are there.
template <int N> DL_FN void dl_copy_wait()
{
	asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory");
}

DL_FN float dl_tf32(float x)
{
	u32 bits;

	asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
	return __uint_as_float(bits);
}
template <int M, int N> DL_FN void dl_round_tf32(u32 (&x)[M][N])
{
#pragma unroll
	for (int i = 0; i < M; i++)
#pragma unroll
		for (int j = 0; j < N; j++)
			x[i][j] = __float_as_uint(
				dl_tf32(__uint_as_float(x[i][j])));
}
// What tf32 leaves of the words is a tf32, too; the product of two such rests
// does not count.
template <int N> DL_FN void dl_halves(const u32 (&x)[N], u32 (&hi)[N],
				      u32 (&lo)[N])
{
	for (int i = 0; i < N; i++) {
		// Cut, not rounded: a number stays one.
		const float v = __uint_as_float(x[i]);
		const float top = v == v ? __uint_as_float(x[i] & ~0x1fffu) : v;

		// inf - inf is no rest.
		hi[i] = __float_as_uint(top);
		lo[i] = v - top == v - top ? __float_as_uint(dl_tf32(v - top))
					   : 0;
	}
}
DL_FN void dl_mma_tf32x3(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2])
{
	u32 a_hi[4], a_lo[4], b_hi[2], b_lo[2];

	dl_halves(a, a_hi, a_lo);
	dl_halves(b, b_hi, b_lo);
	dl_mma_tf32(d, a_lo, b_hi);
	dl_mma_tf32(d, a_hi, b_lo);
	dl_mma_tf32(d, a_hi, b_hi);
}
#else
// Two steps of m16n8k8, which take the halves of the fragments.
DL_FN void dl_mma_f16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2])
{
	for (int i = 0; i < 2; i++)
		asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
		    "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
		    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		    : "r"(a[2 * i]), "r"(a[2 * i + 1]), "r"(b[i]));
}
#endif

// ---- tensor cores of sm_90a ------------------------------------------

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define DL_WGMMA 1

// 64 or more rows of 128 bytes, swizzled, from the step of 32 bytes number k
// on: the address, 1024 bytes from 8 rows to the next, and the swizzle.
DL_FN u64 dl_descriptor(const void *rows, int k)
{
	const u64 at = dl_shared_address(rows) + k * 32;

	return (at & 0x3ffff) >> 4 | 1ull << 16 | 64ull << 32 | 1ull << 62;
}
DL_FN void dl_wgmma_fence()
{
	asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
DL_FN void dl_wgmma_commit()
{
	asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
DL_FN void dl_wgmma_wait()
{
	asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
}
// What this thread wrote to shared memory can be read by wgmma.
DL_FN void dl_proxy_fence()
{
	asm volatile("fence.proxy.async;" ::: "memory");
}

#define DL_REG4(d, c, i) c(d[i][0]), c(d[i][1]), c(d[i][2]), c(d[i][3])
#define DL_REG32(d, c) \
	DL_REG4(d, c, 0), DL_REG4(d, c, 1), DL_REG4(d, c, 2), \
	DL_REG4(d, c, 3), DL_REG4(d, c, 4), DL_REG4(d, c, 5), \
	DL_REG4(d, c, 6), DL_REG4(d, c, 7)
#define DL_REG64(d, c) DL_REG32(d, c), \
	DL_REG4(d, c, 8), DL_REG4(d, c, 9), DL_REG4(d, c, 10), \
	DL_REG4(d, c, 11), DL_REG4(d, c, 12), DL_REG4(d, c, 13), \
	DL_REG4(d, c, 14), DL_REG4(d, c, 15)
#define DL_LIST32 \
	"%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, " \
	"%15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, " \
	"%28, %29, %30, %31"
#define DL_LIST64 DL_LIST32 ", " \
	"%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, " \
	"%45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, " \
	"%58, %59, %60, %61, %62, %63"
#define DL_F(x) "+f"(x)
#define DL_R(x) "+r"(x)
// `end` are the scales and, of half floats, that no operand is transposed.
#define DL_WGMMA_FN(name, type, k, types, c, end) \
	DL_FN void dl_wgmma_##name(type (&d)[8][4], u64 a, u64 b) \
	{ \
		asm volatile("wgmma.mma_async.sync.aligned.m64n64" k "." \
			     types " {" DL_LIST32 "}, %32, %33, " end ";" \
			     : DL_REG32(d, c) : "l"(a), "l"(b)); \
	} \
	DL_FN void dl_wgmma_##name(type (&d)[16][4], u64 a, u64 b) \
	{ \
		asm volatile("wgmma.mma_async.sync.aligned.m64n128" k "." \
			     types " {" DL_LIST64 "}, %64, %65, " end ";" \
			     : DL_REG64(d, c) : "l"(a), "l"(b)); \
	}
DL_WGMMA_FN(f16, float, "k16", "f32.f16.f16", DL_F, "1, 1, 1, 0, 0")
DL_WGMMA_FN(bf16, float, "k16", "f32.bf16.bf16", DL_F, "1, 1, 1, 0, 0")
DL_WGMMA_FN(i8_i8, i32, "k32", "s32.s8.s8", DL_R, "1")
DL_WGMMA_FN(i8_u8, i32, "k32", "s32.s8.u8", DL_R, "1")
DL_WGMMA_FN(u8_i8, i32, "k32", "s32.u8.s8", DL_R, "1")
DL_WGMMA_FN(u8_u8, i32, "k32", "s32.u8.u8", DL_R, "1")
#else
#define DL_WGMMA 0
DL_FN void dl_proxy_fence() {}
#endif
