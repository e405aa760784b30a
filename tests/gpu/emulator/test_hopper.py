# SPDX-License-Identifier: Apache-2.0
"""mbarrier, bulk copies with tensor maps, wgmma: a pipelined product."""
import ctypes
from ctypes import c_uint32, c_uint64

import numpy as np

import cuda
from test_block import each_order, i32

ARCH = "compute_90a"
PRELUDE = r"""
typedef unsigned u32; typedef unsigned long long u64;
struct __align__(64) Map { u64 v[16]; };
__device__ u32 at(const void* p) { return (u32)__cvta_generic_to_shared(p); }
__device__ void init(u32 bar, int n) {
	asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;"
		:: "r"(bar), "r"(n) : "memory");
}
__device__ void expect(u32 bar, u32 n) {
	asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
		:: "r"(bar), "r"(n) : "memory");
}
__device__ void arrive(u32 bar) {
	asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];"
		:: "r"(bar) : "memory");
}
__device__ void wait(u32 bar, int parity) {
	asm volatile("{ .reg .pred P; W: "
		"mbarrier.try_wait.parity.shared::cta.b64 P, [%0], %1; "
		"@P bra D; bra W; D: }" :: "r"(bar), "r"(parity) : "memory");
}
__device__ void load2(u32 dst, const Map* m, int x, int y, u32 bar) {
	asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global"
		".mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
		:: "r"(dst), "l"(m), "r"(x), "r"(y), "r"(bar) : "memory");
}
__device__ void store2(const Map* m, int x, int y, u32 src) {
	asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group "
		"[%0, {%1, %2}], [%3];"
		:: "l"(m), "r"(x), "r"(y), "r"(src) : "memory");
}
"""


def tensor_map(env, addr, dtype, dims, box, swizzle, pitch=None):
    """Of a matrix: dims and box inner dimension first."""
    raw = (ctypes.c_uint8 * 192)()
    base = ctypes.addressof(raw)
    base += -base % 64
    size = {6: 2, 9: 2, 7: 4, 0: 1}[dtype]
    env.code = env.driver.lib.cuTensorMapEncodeTiled(
        ctypes.c_void_p(base), dtype, 2, c_uint64(addr),
        (c_uint64 * 2)(*dims), (c_uint64 * 1)(pitch or dims[0] * size),
        (c_uint32 * 2)(*box), (c_uint32 * 2)(1, 1), 0, swizzle, 0, 0)
    keep = (c_uint64 * 16).from_address(base)
    keep.raw = raw
    return keep


COPY = PRELUDE + r"""
extern "C" __global__ void k(const __grid_constant__ Map in,
	const __grid_constant__ Map out, float* o, int x, int y) {
	extern __shared__ __align__(1024) float s[];
	__shared__ u64 bar;
	int t = threadIdx.x;
	if (t == 0) {
		init(at(&bar), 1);
		asm volatile("fence.mbarrier_init.release.cluster;");
	}
	__syncthreads();
	if (t == 0) {
		expect(at(&bar), 32 * 16 * 4);
		load2(at(s), &in, x, y, at(&bar));
	}
	WAIT
	for (int i = t; i < 512; i += 32)
		o[i] = s[i];
	__syncwarp();
	if (t == 0) {
		store2(&out, x, y, at(s));
		asm volatile("cp.async.bulk.commit_group;" ::: "memory");
		asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
	}
}"""


def copies(env):
    f = env.kernel(COPY.replace("WAIT", "wait(at(&bar), 0);"), arch=ARCH)
    m, n = 40, 44
    a = np.arange(m * n, dtype="f4").reshape(m, n)
    for swizzle in (0, 3):
        for x, y in ((0, 0), (32, 16), (-8, 36), (40, -4)):
            p, q = env.driver.put(a), env.driver.put(a * 0)
            maps = [tensor_map(env, v, 7, (n, m), (32, 16), swizzle)
                    for v in (p, q)]
            o, back = np.zeros(512, "f4"), np.zeros((m, n), "f4")
            env.driver.launch(f, (1,), (32,), (*maps, o, i32(x), i32(y)),
                              shared=2048)
            env.driver.get(q, back)
            tile = np.zeros((16, 32), "f4")
            keep = np.zeros((m, n), "f4")
            for r in range(16):
                for c in range(32):
                    if 0 <= y + r < m and 0 <= x + c < n:
                        tile[r, c] = a[y + r, x + c]
                        keep[y + r, x + c] = a[y + r, x + c]
            got = np.zeros((16, 32), "f4")
            for i in range(512):
                byte = i * 4
                if swizzle:
                    byte ^= (byte >> 7 & 7) << 4
                got.flat[i] = o[byte // 4]
            name = f"tile at {x} {y}, swizzle {swizzle}"
            env.check(name, np.array_equal(got, tile))
            env.check(f"{name}, and back", np.array_equal(back, keep))
            env.driver.free(p)
            env.driver.free(q)
    p = env.driver.put(a)
    maps = [tensor_map(env, p, 7, (n, m), (32, 16), 0)] * 2
    bad = env.kernel(COPY.replace("WAIT", ""), arch=ARCH)
    env.fails("no wait for a bulk copy", 719, "copy under way",
              lambda: env.driver.launch(bad, (1,), (32,), (
                  *maps, np.zeros(512, "f4"), i32(0), i32(0)), shared=2048))
    bad = env.kernel(COPY.replace("WAIT", "wait(at(&bar), 1); "
                                  "wait(at(&bar), 0); wait(at(&bar), 1);"),
                     arch=ARCH)
    env.fails("the wrong phase", 719, "deadlock.*for an mbarrier",
              lambda: env.driver.launch(bad, (1,), (32,), (
                  *[tensor_map(env, env.driver.put(a), 7, (n, m), (32, 16),
                               0)] * 2,
                  np.zeros(512, "f4"), i32(0), i32(0)), shared=2048))
    for args in ((7, (44, 40), (32, 16), 3, 100), (7, (44, 40), (64, 16), 3),
                 (7, (44, 40), (33, 16), 0), (7, (44, 40), (32, 257), 0)):
        tensor_map(env, 0, *args)
        env.check(f"tensor map {args}", env.code == 1)


# One producer warp, one consumer warp group: 64 x N per block.
GEMM = PRELUDE + r"""
#define STAGES 3
#define A_BYTES (64 * 128)
#define B_BYTES (TN * 128)
__device__ u64 desc(u32 addr, u32 lead, u32 stride, u64 mode) {
	return (u64)(addr >> 4) | (u64)(lead >> 4) << 16 |
		(u64)(stride >> 4) << 32 | mode << 62;
}
extern "C" __global__ void __launch_bounds__(160)
k(const __grid_constant__ Map ma, const __grid_constant__ Map mb, float* c,
	int m, int n, int kk) {
	extern __shared__ __align__(1024) char s[];
	__shared__ u64 full[STAGES], empty[STAGES];
	int t = threadIdx.x, tiles = (kk + 63) / 64;
	char* sb = s + STAGES * A_BYTES;
	if (t == 0) {
		for (int i = 0; i < STAGES; i++) {
			init(at(full + i), 1);
			init(at(empty + i), 128);
		}
		asm volatile("fence.mbarrier_init.release.cluster;");
	}
	__syncthreads();
	if (t >= 128) {
		asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
		for (int i = 0; i < tiles && t == 128; i++) {
			int st = i % STAGES;
			wait(at(empty + st), i / STAGES & 1 ^ 1);
			expect(at(full + st), A_BYTES + B_BYTES);
			load2(at(s + st * A_BYTES), &ma, i * 64,
			      blockIdx.y * 64, at(full + st));
			LOADB
		}
		return;
	}
	float d[TN / 2];
	for (int i = 0; i < TN / 2; i++)
		d[i] = 0;
	for (int i = 0; i < tiles; i++) {
		int st = i % STAGES;
		wait(at(full + st), i / STAGES & 1);
		asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
		for (int k = 0; k < 4; k++) {
			u64 da = desc(at(s + st * A_BYTES) + k * 32, 16, 1024,
				      1);
			u64 db = DESCB;
			WGMMA
		}
		asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
		EARLY
		asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
		LATE
	}
	int row = blockIdx.y * 64 + t / 32 * 16 + t % 32 / 4;
	for (int i = 0; i < TN / 2; i++) {
		int r = row + i / 2 % 2 * 8;
		int x = blockIdx.x * TN + i / 4 * 8 + t % 4 * 2 + i % 2;
		if (r < m && x < n)
			c[r * n + x] = d[i];
	}
}"""


def source(tn, trans, early="", late="arrive(at(empty + st));"):
    regs = ", ".join(f"%{i}" for i in range(tn // 2))
    outs = ", ".join(f'"+f"(d[{i}])' for i in range(tn // 2))
    k = tn // 2
    wgmma = (f'asm volatile("wgmma.mma_async.sync.aligned.m64n{tn}k16.f32'
             f'.f16.f16 {{{regs}}}, %{k}, %{k + 1}, 1, 1, 1, 0, {trans};"'
             f': {outs} : "l"(da), "l"(db));')
    if trans:
        # Rows of K, 64 columns wide: K by 64 boxes, one after the other.
        load = ("for (int j = 0; j < TN / 64; j++) load2(at(sb + st * "
                "B_BYTES + j * 8192), &mb, blockIdx.x * TN + j * 64, "
                "i * 64, at(full + st));")
        desc = "desc(at(sb + st * B_BYTES) + k * 2048, 8192, 1024, 1)"
    else:
        load = ("load2(at(sb + st * B_BYTES), &mb, i * 64, "
                "blockIdx.x * TN, at(full + st));")
        desc = "desc(at(sb + st * B_BYTES) + k * 32, 16, 1024, 1)"
    text = GEMM.replace("TN", str(tn)).replace("DESCB", desc.replace(
        "TN", str(tn))).replace("LOADB", load.replace("TN", str(tn)))
    return text.replace("WGMMA", wgmma).replace("EARLY", early).replace(
        "LATE", late)


def gemm_run(env, tn, trans, shape, **parts):
    m, n, k = shape
    shared = 3 * (64 + tn) * 128
    f = env.kernel(source(tn, trans, **parts), arch=ARCH, shared=shared)
    rng = np.random.default_rng(12)
    a, b = (rng.normal(size=s).astype("f2") for s in ((m, k), (k, n)))
    p = env.driver.put(a)
    q = env.driver.put(b if trans else b.T)
    ma = tensor_map(env, p, 6, (k, m), (64, 64), 3)
    mb = tensor_map(env, q, 6, (n, k) if trans else (k, n),
                    (64, 64) if trans else (64, tn), 3)
    c = np.zeros((m, n), "f4")
    try:
        env.driver.launch(f, ((n + tn - 1) // tn, (m + 63) // 64), (160,),
                          (ma, mb, c, i32(m), i32(n), i32(k)), shared=shared)
    finally:
        if not env.driver.lib.cuCtxSynchronize():
            env.driver.free(p)
            env.driver.free(q)
    return c, a.astype("f8") @ b.astype("f8")


def gemm(env):
    def test(order):
        for tn, trans in ((64, 0), (64, 1), (128, 1), (128, 0)):
            c, want = gemm_run(env, tn, trans, (100, 136, 456))
            env.close(f"wgmma n{tn} trans {trans} {order}", c, want, 1e-5)
        env.fails(f"a stage released before the wait, {order}", 719,
                  "race on shared memory.*read by", lambda: gemm_run(
                      env, 64, 0, (64, 64, 704), early="arrive(at(empty + "
                      "st));", late=""))
        env.fails(f"a stage never released, {order}", 719, "deadlock",
                  lambda: gemm_run(env, 64, 0, (64, 64, 704), late=""))
    each_order(env, test)


TESTS = [copies, gemm]
