// SPDX-License-Identifier: Apache-2.0
// ==== C++ of any machine ==============================================
// What generated kernels build on, from docs/ir.md, over intrinsics.cuh.

// The start of a buffer: of the arena, of the weights, or the caller's.
#define DL_ALIGNED(p) p = (decltype(p))__builtin_assume_aligned(p, 16)

// Of a block: how many threads it has, and with DL_ROOM that it may take all
// the registers.
#ifdef DL_ROOM
#define DL_BOUNDS(threads) __launch_bounds__(threads, 1)
#else
#define DL_BOUNDS(threads) __launch_bounds__(threads)
#endif
// A block that has a multiprocessor for itself.
#define DL_BOUNDS_ALONE(threads) __launch_bounds__(threads, 1)

// Kernels that copy boxes of tensors, unless they come out badly.
#if DL_WGMMA && !defined(DL_NO_BOXES)
#define DL_BOXES 1
#else
#define DL_BOXES 0
#endif

// ---- threads ---------------------------------------------------------

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
	u32 bits = dl_bits(y);

	if ((double)y == x || x != x || (bits & 0x7fffffffu) == 0x7f800000u)
		return y;
	// Back to the neighbour towards zero, then the last bit set.
	if ((x < 0 ? -(double)y : (double)y) > (x < 0 ? -x : x))
		bits--;
	return dl_f32(bits | 1);
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

DL_FN float dl_bf16_value(u16 bits)
{
	return dl_f32((u32)bits << 16);
}
// Of a number that is rounded already.
DL_FN u16 dl_bf16_exact(float x) { return (u16)(dl_bits(x) >> 16); }

// exp(x), for what is rounded to half floats.
DL_FN float dl_exp_half(float x) { return dl_exp2(x * 1.44269504f); }

// Floats of 8 and 4 bits, by their bits of fraction, bias, largest number,
// infinity and NaN (0: none), and sign.
DL_FN float dl_f8_value(u32 u, u32 frac, u32 bias, u32 max, u32 inf, u32 nan,
			u32 sign)
{
	u32 mag = u & (sign - 1), s = (u & sign) ? 0x80000000u : 0;
	// Multiplying by a power re-biases subnormal numbers as well.
	float x = dl_f32(mag << (23 - frac)) *
		  dl_f32((254 - bias) << 23);

	if (nan == sign && u == nan)
		return dl_f32(0x7fc00000u);
	if (mag > max)
		x = dl_f32(inf && mag == inf ? 0x7f800000u : 0x7fc00000u);
	return dl_f32(dl_bits(x) | s);
}
DL_FN u8 dl_f8_bits(float x, u32 frac, u32 bias, u32 max, u32 inf, u32 nan,
		    u32 sign)
{
	u32 u = dl_bits(x), a = u & 0x7fffffffu, cut = 23 - frac, r;

	if (a > 0x7f800000u)
		return (u8)(nan ? (nan == sign ? nan : nan |
						 (u >> 31 ? sign : 0)) : 0);
	if (a < (128 - bias) << 23) {
		// The last bit of a sum with this is that of a subnormal.
		u32 magic = (128 - bias - frac + 23) << 23;
		float d = dl_f32(a) + dl_f32(magic);

		r = dl_bits(d) - magic;
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
	i32 u = (i32)dl_bits(x);

	if (u < 0x300000 || u >= 0x7f800000 - 0x400000)
		return 0xff;
	return (u8)(u < 0x600000 ? 0 : (u + 0x400000) >> 23);
}

// ---- tensor cores ----------------------------------------------------

// Fragments of m16n8 tiles from rows of k in shared memory, `row` words apart,
// a multiple of four: lane l gets words l % 4 (and 4 more) of the rows l / 4
// (and 8 more).
DL_FN void dl_fragment_a(u32 (&a)[4], const u32 *p, int row)
{
	const int lane = dl_thread() % 32;

	dl_matrices(a, p + lane % 16 * row + lane / 16 * 4);
}
DL_FN void dl_fragment_b(u32 (&b)[2], const u32 *p, int row)
{
	const int lane = dl_thread() % 32;

	dl_matrices(b, p + lane % 8 * row + lane / 8 % 2 * 4);
}
// Of two tiles: eight rows of k, and the next eight.
DL_FN void dl_fragments_b(u32 (&b)[2][2], const u32 *p, int row)
{
	const int lane = dl_thread() % 32;
	u32 x[4];

	dl_matrices(x, p + (lane / 16 * 8 + lane % 8) * row + lane / 8 % 2 * 4);
	b[0][0] = x[0], b[0][1] = x[1], b[1][0] = x[2], b[1][1] = x[3];
}
// Of two tiles of half floats from 16 rows of eight columns and the next eight,
// where k counts rows.
DL_FN void dl_fragments_turned(u32 (&b)[2][2], const u32 *p, int row)
{
	const int lane = dl_thread() % 32;
	u32 x[4];

	dl_matrices_turned(x, p + lane % 16 * row + lane / 16 * 4);
	b[0][0] = x[0], b[0][1] = x[1], b[1][0] = x[2], b[1][1] = x[3];
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

	dl_matrices(a, dl_swizzled(p, first + lane % 16, k / 4 + lane / 16));
}
DL_FN void dl_fragment_b_swizzled(u32 (&b)[2], const u32 *p, int first, int k)
{
	const int lane = dl_thread() % 32;

	dl_matrices(b, dl_swizzled(p, first + lane % 8, k / 4 + lane / 8 % 2));
}

// Of half floats that lie the other way: columns of 64 rows, one for each of 64
// steps of k, in which 8 rows number c of step s are at c ^ s % 8.
DL_FN const u32 *dl_in_columns(const u16 *p, int row, int k)
{
	return (const u32 *)(p + row / 64 * 4096 + k * 64 +
			     (row % 64 / 8 ^ k % 8) * 8);
}
DL_FN void dl_fragment_a_turned(u32 (&a)[4], const u16 *p, int first, int k)
{
	const int lane = dl_thread() % 32;

	dl_matrices_turned(a, dl_in_columns(p, first + lane / 8 % 2 * 8,
					    k * 2 + lane / 16 * 8 + lane % 8));
}
DL_FN void dl_fragment_b_turned(u32 (&b)[2], const u16 *p, int first, int k)
{
	const int lane = dl_thread() % 32;

	dl_matrices_turned(b, dl_in_columns(p, first, k * 2 + lane % 16));
}

#if DL_SM80
template <int M, int N> DL_FN void dl_round_tf32(u32 (&x)[M][N])
{
#pragma unroll
	for (int i = 0; i < M; i++)
#pragma unroll
		for (int j = 0; j < N; j++)
			x[i][j] = dl_bits(dl_tf32(dl_f32(x[i][j])));
}
// What tf32 leaves of the words is a tf32, too; the product of two such rests
// does not count.
template <int N> DL_FN void dl_halves(const u32 (&x)[N], u32 (&hi)[N],
				      u32 (&lo)[N])
{
	for (int i = 0; i < N; i++) {
		// Cut, not rounded: a number stays one.
		const float v = dl_f32(x[i]);
		const float top = v == v ? dl_f32(x[i] & ~0x1fffu) : v;

		// inf - inf is no rest.
		hi[i] = dl_bits(top);
		lo[i] = v - top == v - top ? dl_bits(dl_tf32(v - top))
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
#endif

#if DL_WGMMA
// 64 or more rows of 128 bytes, swizzled, from the step of 32 bytes number k
// on: the address, 1024 bytes from 8 rows to the next, and the swizzle.
DL_FN u64 dl_descriptor(const void *rows, int k)
{
	const u64 at = dl_shared_address(rows) + k * 32;

	return (at & 0x3ffff) >> 4 | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// The same of columns of 64 rows: 16 steps of k from number 16 * k on, 1024
// bytes from 8 of them to the next, 8192 from 64 rows to the next.
DL_FN u64 dl_descriptor_turned(const void *columns, int k)
{
	const u64 at = dl_shared_address(columns) + k * 2048;

	return (at & 0x3ffff) >> 4 | 512ull << 16 | 64ull << 32 | 1ull << 62;
}

// ---- boxes of tensors ------------------------------------------------

// Tiles in groups of eight rows, column by column: those at work at a time
// share what they load.  Takes the tile's number out of q.
template <typename U, typename T> DL_FN void dl_raster(U &q, U rows, U cols,
						       T &row, T &col)
{
	const U at = q % (rows * cols), first = at / (cols * 8) * 8;
	const U n = rows - first < 8 ? rows - first : 8;
	const U rest = at - first * cols;

	row = (T)(first + rest % n);
	col = (T)(rest / n);
	q /= rows * cols;
}

// A ring of N stages that one thread fills and `warps` empty; full[N] is 0.
// A barrier belongs behind it.
template <int N> DL_FN void dl_ring_init(u64 *full, u64 *empty, int warps)
{
	if (dl_thread() == 0) {
		for (int i = 0; i < N; i++) {
			dl_phases_init(full + i, 1);
			dl_phases_init(empty + i, warps);
		}
		full[N] = 0;
		dl_phases_fence();
	}
}
// The next stage; what is waited for changes with each round.
template <int N> DL_FN void dl_ring_next(int &stage, int &phase)
{
	stage = stage + 1 == N ? 0 : stage + 1;
	phase ^= stage == 0;
}
#endif
