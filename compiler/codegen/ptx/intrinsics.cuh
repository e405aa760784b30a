// SPDX-License-Identifier: Apache-2.0
// What kernels need of the machine: an instruction each, from the PTX ISA
// manual.  What is C++ alone is in prelude.cuh, which comes behind this in the
// text that dlcc prints, so that tests/gpu/twin/twin.h can take this one's
// place.  Nothing is included: NVRTC knows the types and functions.
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

// Where a tensor is and what box of it is copied at once, as the driver writes
// it (CUtensorMap).
struct __align__(64) dl_map {
	u64 word[16];
};
#define DL_MAP(name) const __grid_constant__ dl_map name

// Copies on the side, and more forms of mma.
#define DL_SM80 (__CUDA_ARCH__ >= 800)
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define DL_WGMMA 1
#else
#define DL_WGMMA 0
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

// The largest status stays, whatever the order of the threads.
DL_FN void dl_raise(u32 *status, u32 code) { atomicMax(status, code); }

// ---- floats ----------------------------------------------------------

DL_FN float dl_f32(u32 bits) { return __uint_as_float(bits); }
DL_FN double dl_f64(u64 bits) { return __longlong_as_double((i64)bits); }
DL_FN u32 dl_bits(float x) { return __float_as_uint(x); }

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
// Within 2^-22, and 0 below 2^-126.
DL_FN float dl_exp2(float x)
{
	float y;

	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}
#if DL_SM80
// NaN when one of them is.
DL_FN float dl_min(float a, float b)
{
	float x;

	asm("min.NaN.f32 %0, %1, %2;" : "=f"(x) : "f"(a), "f"(b));
	return x;
}
DL_FN float dl_max(float a, float b)
{
	float x;

	asm("max.NaN.f32 %0, %1, %2;" : "=f"(x) : "f"(a), "f"(b));
	return x;
}
DL_FN u16 dl_bf16_bits(float x)
{
	u16 bits;

	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
	return bits;
}
// Two in a word, the first one in its lower half.
DL_FN u32 dl_pack_f16(float x, float y)
{
	u32 bits;

	asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(y), "f"(x));
	return bits;
}
DL_FN u32 dl_pack_bf16(float x, float y)
{
	u32 bits;

	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(y), "f"(x));
	return bits;
}
DL_FN float dl_tf32(float x)
{
	u32 bits;

	asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
	return __uint_as_float(bits);
}
#else
DL_FN u16 dl_bf16_bits(float x)
{
	const u32 bits = dl_bits(x);

	if ((bits & 0x7fffffffu) > 0x7f800000u)
		return 0x7fff;
	return (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
DL_FN u32 dl_pack_f16(float x, float y)
{
	return dl_f16_bits(x) | (u32)dl_f16_bits(y) << 16;
}
#endif

// ---- tensor cores ----------------------------------------------------

DL_FN u32 dl_shared_address(const void *p)
{
	return (u32)__cvta_generic_to_shared(p);
}
// Matrices of 8 rows by 4 words in shared memory: eight lanes in a row point
// to the rows of each, lane l gets word l % 4 of row l / 4.
DL_FN void dl_matrices(u32 (&x)[4], const u32 *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 "
		     "{%0, %1, %2, %3}, [%4];"
		     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
		     : "r"(dl_shared_address(row)) : "memory");
}
DL_FN void dl_matrices(u32 (&x)[2], const u32 *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 "
		     "{%0, %1}, [%2];" : "=r"(x[0]), "=r"(x[1])
		     : "r"(dl_shared_address(row)) : "memory");
}

// The same, each turned: lane l gets rows 2 * (l % 4) and the next one of
// column l / 4 of halves.
DL_FN void dl_matrices_turned(u32 (&x)[4], const u32 *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 "
		     "{%0, %1, %2, %3}, [%4];"
		     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
		     : "r"(dl_shared_address(row)) : "memory");
}
DL_FN void dl_matrices_turned(u32 (&x)[2], const u32 *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 "
		     "{%0, %1}, [%2];" : "=r"(x[0]), "=r"(x[1])
		     : "r"(dl_shared_address(row)) : "memory");
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
#if DL_SM80
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

#if DL_WGMMA
DL_FN void dl_wgmma_fence()
{
	asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
DL_FN void dl_wgmma_commit()
{
	asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until all but the last N groups are done.
template <int N> DL_FN void dl_wgmma_wait()
{
	asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory");
}
// Sums whose last wait is over.  The compiler does not see that a wait makes
// them, and ptxas moves what reads them before it, to wait for each product by
// itself then (C7514): so they seem to change here.  *never is 0.
#define DL_SETTLE(type, c) \
	template <int N> \
	DL_FN void dl_wgmma_settle(type (&d)[N][4], const u64 *never) \
	{ \
		u64 x; \
	\
		asm volatile("ld.volatile.shared.u64 %0, [%1];" : "=l"(x) \
			     : "r"(dl_shared_address(never)) : "memory"); \
		if (x) \
			for (int i = 0; i < N * 4; i++) \
				asm volatile("mov.b32 %0, 0;" \
					     : c(d[i / 4][i % 4])); \
	}
DL_SETTLE(float, "=f")
DL_SETTLE(i32, "=r")
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
#define DL_REG128(d, c) DL_REG64(d, c), \
	DL_REG4(d, c, 16), DL_REG4(d, c, 17), DL_REG4(d, c, 18), \
	DL_REG4(d, c, 19), DL_REG4(d, c, 20), DL_REG4(d, c, 21), \
	DL_REG4(d, c, 22), DL_REG4(d, c, 23), DL_REG4(d, c, 24), \
	DL_REG4(d, c, 25), DL_REG4(d, c, 26), DL_REG4(d, c, 27), \
	DL_REG4(d, c, 28), DL_REG4(d, c, 29), DL_REG4(d, c, 30), \
	DL_REG4(d, c, 31)
#define DL_LIST32 \
	"%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, " \
	"%15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, " \
	"%28, %29, %30, %31"
#define DL_LIST64 DL_LIST32 ", " \
	"%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, " \
	"%45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, " \
	"%58, %59, %60, %61, %62, %63"
#define DL_LIST128 DL_LIST64 ", " \
	"%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, " \
	"%77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, " \
	"%90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, " \
	"%102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, " \
	"%113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, " \
	"%124, %125, %126, %127"
#define DL_F(x) "+f"(x)
#define DL_R(x) "+r"(x)
// `end` are the scales and, of half floats, whether an operand is turned.
#define DL_WGMMA_FN(head, name, type, k, types, c, end64, end128, end256, ...) \
	head DL_FN void dl_wgmma_##name(type (&d)[8][4], u64 a, u64 b) \
	{ \
		asm volatile("wgmma.mma_async.sync.aligned.m64n64" k "." \
			     types " {" DL_LIST32 "}, %32, %33, " end64 ";" \
			     : DL_REG32(d, c) \
			     : "l"(a), "l"(b) __VA_ARGS__); \
	} \
	head DL_FN void dl_wgmma_##name(type (&d)[16][4], u64 a, u64 b) \
	{ \
		asm volatile("wgmma.mma_async.sync.aligned.m64n128" k "." \
			     types " {" DL_LIST64 "}, %64, %65, " end128 ";" \
			     : DL_REG64(d, c) \
			     : "l"(a), "l"(b) __VA_ARGS__); \
	} \
	head DL_FN void dl_wgmma_##name(type (&d)[32][4], u64 a, u64 b) \
	{ \
		asm volatile("wgmma.mma_async.sync.aligned.m64n256" k "." \
			     types " {" DL_LIST128 "}, %128, %129, " end256 \
			     ";" : DL_REG128(d, c) \
			     : "l"(a), "l"(b) __VA_ARGS__); \
	}
#define DL_TURNED template <int A = 0, int B = 0>
#define DL_HALVES(name, types) \
	DL_WGMMA_FN(DL_TURNED, name, float, "k16", types, DL_F, \
		    "1, 1, 1, %34, %35", "1, 1, 1, %66, %67", \
		    "1, 1, 1, %130, %131", , "n"(A), "n"(B))
#define DL_BYTES(name, types) \
	DL_WGMMA_FN(, name, i32, "k32", types, DL_R, "1", "1", "1")
DL_HALVES(f16, "f32.f16.f16")
DL_HALVES(bf16, "f32.bf16.bf16")
DL_BYTES(i8_i8, "s32.s8.s8")
DL_BYTES(i8_u8, "s32.s8.u8")
DL_BYTES(u8_i8, "s32.u8.s8")
DL_BYTES(u8_u8, "s32.u8.u8")

// A warpgroup gives registers back, or takes more, up to N for each thread.
template <int N> DL_FN void dl_registers_less()
{
	asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(N));
}
template <int N> DL_FN void dl_registers_more()
{
	asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(N));
}

// Barriers in shared memory: a phase ends when `n` have arrived and the bytes
// that were announced are there.
DL_FN void dl_phases_init(u64 *bar, int n)
{
	asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;"
		     :: "r"(dl_shared_address(bar)), "r"(n) : "memory");
}
// What this thread initialised is there for copies, too.
DL_FN void dl_phases_fence()
{
	asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// Those of whom `one` holds.
DL_FN void dl_phases_arrive(u64 *bar, bool one)
{
	asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.u32 p, %1, 0;\n\t"
		     "@p mbarrier.arrive.shared::cta.b64 _, [%0];\n\t}"
		     :: "r"(dl_shared_address(bar)), "r"((u32)one)
		     : "memory");
}
// Arrives, and announces bytes that copies will bring.
DL_FN void dl_phases_expect(u64 *bar, int bytes)
{
	asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
		     :: "r"(dl_shared_address(bar)), "r"(bytes) : "memory");
}
// Until a phase of this parity has ended.
DL_FN void dl_phases_wait(u64 *bar, int parity)
{
	u32 done;

	do {
		asm volatile("{\n\t.reg .pred p;\n\t"
			     "mbarrier.try_wait.parity.shared::cta.b64 p, "
			     "[%1], %2;\n\tselp.u32 %0, 1, 0, p;\n\t}"
			     : "=r"(done) : "r"(dl_shared_address(bar)),
			       "r"(parity) : "memory");
	} while (!done);
}

// A box of a tensor to shared memory, by one thread; elements outside of the
// tensor are zeros.
#define DL_BOX(rank, list, ...) \
	asm volatile("cp.async.bulk.tensor." rank ".shared::cluster.global" \
		     ".mbarrier::complete_tx::bytes [%0], [%1, {" list "}], " \
		     "[%2];" :: "r"(dl_shared_address(to)), "l"(&map), \
		     "r"(dl_shared_address(bar)), __VA_ARGS__ : "memory")
DL_FN void dl_copy_box(void *to, const dl_map &map, u64 *bar, int x, int y)
{
	DL_BOX("2d", "%3, %4", "r"(x), "r"(y));
}
DL_FN void dl_copy_box(void *to, const dl_map &map, u64 *bar, int x, int y,
		       int z)
{
	DL_BOX("3d", "%3, %4, %5", "r"(x), "r"(y), "r"(z));
}
DL_FN void dl_copy_box(void *to, const dl_map &map, u64 *bar, int x, int y,
		       int z, int u)
{
	DL_BOX("4d", "%3, %4, %5, %6", "r"(x), "r"(y), "r"(z), "r"(u));
}
DL_FN void dl_copy_box(void *to, const dl_map &map, u64 *bar, int x, int y,
		       int z, int u, int v)
{
	DL_BOX("5d", "%3, %4, %5, %6, %7", "r"(x), "r"(y), "r"(z), "r"(u),
	       "r"(v));
}
#else
DL_FN void dl_proxy_fence() {}
#endif
