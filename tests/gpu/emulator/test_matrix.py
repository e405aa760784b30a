# SPDX-License-Identifier: Apache-2.0
"""mma, ldmatrix and cp.async against scalar references.

The fragment layouts are written here as the PTX ISA gives them, element by
element: the row and column of each element of a lane.
"""
import ctypes

import numpy as np

from test_block import each_order, i32

MMA = r"""
extern "C" __global__ void k(const unsigned* a, const unsigned* b,
	const unsigned* c, unsigned* d) {
	unsigned t = threadIdx.x;
	asm("mma.sync.aligned.%s {%s}, {%s}, {%s}, {%s};"
		: %s : %s);
	%s
}"""


def kernel(shape, n_a, n_b, n_c, letter):
    """The kernel for registers of these counts; the result is in d."""
    n = [n_c, n_a, n_b, n_c]
    first = [sum(n[:i]) for i in range(4)]
    groups = [", ".join(f"%{first[i] + j}" for j in range(n[i]))
              for i in range(4)]
    kind = "float" if letter == "f" else "unsigned"
    outs = ", ".join(f'"={letter}"(o{i})' for i in range(n_c))
    ins = ", ".join(
        [f'"r"(a[t * {n_a} + {i}])' for i in range(n_a)] +
        [f'"r"(b[t * {n_b} + {i}])' for i in range(n_b)] +
        [f'"{letter}"((({kind}*)c)[t * {n_c} + {i}])' for i in range(n_c)])
    source = MMA % (shape, *groups, outs, ins, " ".join(
        f"(({kind}*)d)[t * {n_c} + {i}] = o{i};" for i in range(n_c)))
    return source.replace("unsigned t =", f"{kind} " + ", ".join(
        f"o{i}" for i in range(n_c)) + ";\n\tunsigned t =", 1)


def f16_a(lane, i, k):
    g, t = lane // 4, lane % 4
    if k == 8:
        return g + 8 * (i >= 2), t * 2 + (i & 1)
    return g + 8 * (i in (2, 3, 6, 7)), t * 2 + (i & 1) + 8 * (i >= 4)


def f16_b(lane, i, k):
    return lane % 4 * 2 + (i & 1) + 8 * (i >= 2), lane // 4


def tf32_a(lane, i, k):
    g, t = lane // 4, lane % 4
    return g + 8 * (i in (1, 3)), t + 4 * (i >= 2)


def tf32_b(lane, i, k):
    return lane % 4 + 4 * i, lane // 4


def s8_a(lane, i, k):
    g, t = lane // 4, lane % 4
    if k == 16:
        return g + 8 * (i >= 4), t * 4 + (i & 3)
    return (g + 8 * (4 <= i < 8 or i >= 12), t * 4 + (i & 3) + 16 * (i >= 8))


def s8_b(lane, i, k):
    return lane % 4 * 4 + (i & 3) + 16 * (i >= 4), lane // 4


def acc(lane, i, k):
    return lane // 4 + 8 * (i >= 2), lane % 4 * 2 + (i & 1)


def spread(m, layout, n, k):
    """The elements of each lane, in order."""
    return np.array([[m[layout(lane, i, k)] for i in range(n)]
                     for lane in range(32)], m.dtype)


def gather(v, layout, shape, k):
    m = np.zeros(shape, v.dtype)
    for lane in range(32):
        for i in range(v.shape[1]):
            m[layout(lane, i, k)] = v[lane, i]
    return m


def bf16(x):
    u = x.astype("f4").view("u4")
    return ((u.astype("u8") + 0x7fff + (u >> 16 & 1)) >> 16).astype("u2")


def floats(env, rng, k, kind, c_type):
    a, b = rng.normal(size=(16, k)), rng.normal(size=(k, 8))
    c = rng.normal(size=(16, 8)).astype("f2" if c_type == "f16" else "f4")
    la, lb, per = (tf32_a, tf32_b, 1) if kind == "tf32" else (f16_a, f16_b, 2)
    if kind == "f16":
        ra, rb = a.astype("f2"), b.astype("f2")
        a, b = ra.astype("f8"), rb.astype("f8")
    elif kind == "bf16":
        ra, rb = bf16(a), bf16(b)
        a, b = ((v.astype("u4") << 16).view("f4").astype("f8")
                for v in (ra, rb))
    else:
        ra, rb = ((v.astype("f4").view("u4") & 0xffffe000) for v in (a, b))
        a, b = (v.view("f4").astype("f8") for v in (ra, rb))
    fa, fb = (np.ascontiguousarray(spread(v, lay, n, k)).view("u4")
              for v, lay, n in ((ra, la, 16 * k // 32), (rb, lb, 8 * k // 32)))
    fc = np.ascontiguousarray(spread(c, acc, 4, k))
    n_c = 2 if c_type == "f16" else 4
    shape = f"m16n8k{k}.row.col.{c_type}.{kind}.{kind}.{c_type}"
    f = env.kernel(kernel(shape, fa.shape[1], fb.shape[1], n_c,
                          "r" if n_c == 2 else "f"))
    d = np.zeros_like(fc)
    env.driver.launch(f, (1,), (32,), (fa, fb, fc.view("u4"), d))
    env.close(shape, gather(d, acc, (16, 8), k), a @ b + c,
              2e-3 if n_c == 2 else 1e-6)


def mma(env):
    rng = np.random.default_rng(8)
    for k, kind, c in ((16, "f16", "f32"), (8, "f16", "f32"),
                       (16, "f16", "f16"), (8, "f16", "f16"),
                       (16, "bf16", "f32"), (8, "bf16", "f32"),
                       (8, "tf32", "f32"), (4, "tf32", "f32")):
        floats(env, rng, k, kind, c)
    for k in (16, 32):
        for ta, tb in (("s8", "s8"), ("u8", "s8"), ("u8", "u8")):
            info = [np.iinfo("i1" if t == "s8" else "u1") for t in (ta, tb)]
            a = rng.integers(info[0].min, info[0].max + 1, (16, k))
            b = rng.integers(info[1].min, info[1].max + 1, (k, 8))
            c = rng.integers(-10**6, 10**6, (16, 8)).astype("i4")
            fa = spread((a & 255).astype("u1"), s8_a, k // 2, k).view("u4")
            fb = spread((b & 255).astype("u1"), s8_b, k // 4, k).view("u4")
            fc = spread(c, acc, 4, k)
            d = np.zeros_like(fc)
            shape = f"m16n8k{k}.row.col.s32.{ta}.{tb}.s32"
            f = env.kernel(kernel(shape, fa.shape[1], fb.shape[1], 4, "r"))
            env.driver.launch(f, (1,), (32,), (fa, fb, fc, d))
            env.check(shape, np.array_equal(gather(d, acc, (16, 8), k),
                                            a @ b + c))


LDMATRIX = r"""
extern "C" __global__ void k(const unsigned short* a, unsigned* o) {
	__shared__ __align__(16) unsigned short s[32][40];
	int t = threadIdx.x;
	for (int i = t; i < 1024; i += 32)
		s[i / 32][i % 32] = a[i];
	__syncthreads();
	unsigned p = (unsigned)__cvta_generic_to_shared(&s[t][t / 8 * 8]);
	unsigned r[4];
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 "
		"{%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]),
		"=r"(r[3]) : "r"(p));
	for (int i = 0; i < 4; i++)
		o[i * 32 + t] = r[i];
	asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 "
		"{%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(p));
	for (int i = 0; i < 2; i++)
		o[128 + i * 32 + t] = r[i];
	asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
		: "=r"(r[0]) : "r"(p));
	o[192 + t] = r[0];
}"""


def ldmatrix(env):
    f = env.kernel(LDMATRIX)
    a = np.arange(1024, dtype="u2").reshape(32, 32)
    o = np.zeros((7, 32), "u4")
    env.driver.launch(f, (1,), (32,), (a, o))
    mats = [a[8 * i:8 * i + 8, 8 * i:8 * i + 8] for i in range(4)]
    want = [m for m in mats] + [m.T for m in mats[:2]] + mats[:1]
    for i, m in enumerate(want):
        got = o[i].view("u2").reshape(8, 8)
        env.check(f"ldmatrix {i}", np.array_equal(got, m), f"{got} {m}")


GEMM = r"""
typedef unsigned u32;
#define TM 64
#define TN 64
#define TK 32
#define STAGES 3
__device__ void copy16(u32 dst, const void* src, int bytes) {
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
		:: "r"(dst), "l"(src), "r"(bytes) : "memory");
}
__device__ u32 at(const void* p) {
	return (u32)__cvta_generic_to_shared(p);
}
extern "C" __global__ void __launch_bounds__(128)
k(const unsigned short* a, const unsigned short* b, float* c, int m, int n,
	int kk) {
	extern __shared__ __align__(16) unsigned short s[];
	/* A tiles of TM x TK, then B tiles of TK x TN, with a pad of 8. */
	unsigned short* sa = s;
	unsigned short* sb = s + STAGES * TM * (TK + 8);
	int t = threadIdx.x, lane = t % 32;
	int wm = t / 64 * 32, wn = t / 32 % 2 * 32;
	int row = blockIdx.y * TM, col = blockIdx.x * TN;
	float acc[2][4][4] = {};
	auto load = [&](int k0, int st) {
		for (int i = t; i < TM * TK / 8; i += 128) {
			int r = i / (TK / 8), x = i % (TK / 8) * 8;
			int left = row + r < m ? kk - k0 - x : 0;
			left = left < 0 ? 0 : left > 8 ? 8 : left;
			copy16(at(sa + (st * TM + r) * (TK + 8) + x),
			       a + (left ? (row + r) * kk + k0 + x : 0),
			       left * 2);
		}
		for (int i = t; i < TK * TN / 8; i += 128) {
			int r = i / (TN / 8), x = i % (TN / 8) * 8;
			int left = k0 + r < kk ? n - col - x : 0;
			left = left < 0 ? 0 : left > 8 ? 8 : left;
			copy16(at(sb + (st * TK + r) * (TN + 8) + x),
			       b + (left ? (k0 + r) * n + col + x : 0),
			       left * 2);
		}
	};
	int tiles = (kk + TK - 1) / TK;
	for (int st = 0; st < STAGES - 1; st++) {
		if (st < tiles)
			load(st * TK, st);
		asm volatile("cp.async.commit_group;" ::: "memory");
	}
	for (int kt = 0; kt < tiles; kt++) {
		asm volatile("cp.async.wait_group WAIT;" ::: "memory");
		BARRIER
		if (kt + STAGES - 1 < tiles)
			load((kt + STAGES - 1) * TK,
			     (kt + STAGES - 1) % STAGES);
		asm volatile("cp.async.commit_group;" ::: "memory");
		int st = kt % STAGES;
		for (int ks = 0; ks < TK; ks += 16) {
			u32 fa[2][4], fb[4][2];
			for (int i = 0; i < 2; i++)
				asm volatile("ldmatrix.sync.aligned.m8n8.x4"
					".shared.b16 {%0,%1,%2,%3}, [%4];"
					: "=r"(fa[i][0]), "=r"(fa[i][1]),
					"=r"(fa[i][2]), "=r"(fa[i][3])
					: "r"(at(sa + (st * TM + wm + i * 16 +
						lane % 16) * (TK + 8) + ks +
						lane / 16 * 8)));
			for (int j = 0; j < 4; j++)
				asm volatile("ldmatrix.sync.aligned.m8n8.x2"
					".trans.shared.b16 {%0,%1}, [%2];"
					: "=r"(fb[j][0]), "=r"(fb[j][1])
					: "r"(at(sb + (st * TK + ks +
						lane % 16) * (TN + 8) + wn +
						j * 8)));
			for (int i = 0; i < 2; i++)
				for (int j = 0; j < 4; j++)
					asm volatile("mma.sync.aligned."
						"m16n8k16.row.col.f32.f16.f16"
						".f32 {%0,%1,%2,%3}, {%4,%5,"
						"%6,%7}, {%8,%9}, {%0,%1,%2,"
						"%3};" : "+f"(acc[i][j][0]),
						"+f"(acc[i][j][1]),
						"+f"(acc[i][j][2]),
						"+f"(acc[i][j][3])
						: "r"(fa[i][0]), "r"(fa[i][1]),
						"r"(fa[i][2]), "r"(fa[i][3]),
						"r"(fb[j][0]), "r"(fb[j][1]));
		}
	}
	for (int i = 0; i < 2; i++)
		for (int j = 0; j < 4; j++)
			for (int e = 0; e < 4; e++) {
				int r = row + wm + i * 16 + lane / 4 +
					e / 2 * 8;
				int x = col + wn + j * 8 + lane % 4 * 2 +
					e % 2;
				if (r < m && x < n)
					c[r * n + x] = acc[i][j][e];
			}
}"""
SHARED = 3 * (64 * 40 + 32 * 72) * 2


def gemm_run(env, wait="1", barrier="__syncthreads();", shape=(100, 88, 232)):
    f = env.kernel(GEMM.replace("WAIT", wait).replace("BARRIER", barrier),
                   shared=SHARED)
    m, n, k = shape
    rng = np.random.default_rng(10)
    a, b = (rng.normal(size=s).astype("f2") for s in ((m, k), (k, n)))
    c = np.zeros((m, n), "f4")
    env.driver.launch(f, ((n + 63) // 64, (m + 63) // 64), (128,),
                      (a.view("u2"), b.view("u2"), c, i32(m), i32(n), i32(k)),
                      shared=SHARED)
    return c, a.astype("f8") @ b.astype("f8")


def gemm(env):
    def test(order):
        for shape in ((100, 88, 232), (64, 64, 32), (1, 8, 8),
                      (130, 200, 312)):
            c, want = gemm_run(env, shape=shape)
            env.close(f"gemm {shape} {order}", c, want, 1e-5)
    each_order(env, test)


TESTS = [mma, ldmatrix, gemm]
