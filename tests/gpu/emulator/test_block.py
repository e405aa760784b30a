# SPDX-License-Identifier: Apache-2.0
"""Kernels in CUDA: warps, blocks, shared memory, control flow, atomics."""
import ctypes

import numpy as np

ORDERS = ("forward", "reverse", "random:7")
u64 = ctypes.c_uint64


def i32(v):
    return ctypes.c_int(v)


def each_order(env, test):
    for order in ORDERS:
        with env.setting(ORDER=order):
            test(order)


SHUFFLES = r"""
extern "C" __global__ void k(const int* a, int* o) {
	int t = threadIdx.x, v = a[t], n = blockDim.x;
	o[t] = __shfl_xor_sync(~0u, v, 5);
	o[n + t] = __shfl_up_sync(~0u, v, 3);
	o[2 * n + t] = __shfl_down_sync(~0u, v, 4, 16);
	o[3 * n + t] = __shfl_sync(~0u, v, t * 7, 8);
	o[4 * n + t] = __ballot_sync(~0u, v > 50);
	o[5 * n + t] = __any_sync(~0u, v > 98) + 2 * __all_sync(~0u, v >= 0);
	o[6 * n + t] = __match_any_sync(~0u, v & 3);
	o[7 * n + t] = __reduce_add_sync(~0u, v);
	o[8 * n + t] = __reduce_max_sync(~0u, v - 50);
	o[9 * n + t] = __popc(__activemask());
}"""


def shuffles(env):
    f = env.kernel(SHUFFLES)
    n, lane = 128, np.arange(128) % 32
    base = np.arange(128) - lane
    a = np.random.default_rng(1).integers(0, 100, n).astype("i4")
    o = np.zeros((10, n), "i4")
    env.driver.launch(f, (1,), (n,), (a, o))
    v = a.reshape(-1, 32)
    seg16 = lane % 16 + 4
    want = [a[base + (lane ^ 5)],
            a[base + np.where(lane >= 3, lane - 3, lane)],
            a[base + np.where(seg16 < 16, lane + 4, lane)],
            a[base + lane // 8 * 8 + (np.arange(128) * 7) % 8],
            np.repeat(((v > 50) << np.arange(32, dtype="u8")).sum(1), 32)
            .astype("u4").view("i4"),
            np.repeat((v > 98).any(1) + 2, 32),
            np.array([sum(1 << j for j in range(32)
                          if v[i // 32, j] % 4 == a[i] % 4)
                      for i in range(n)]).astype("u4").view("i4"),
            np.repeat(v.sum(1), 32), np.repeat(v.max(1) - 50, 32),
            np.full(n, 32)]
    names = ("xor", "up", "down", "idx", "ballot", "any all", "match",
             "redux add", "redux max", "activemask")
    for name, got, w in zip(names, o, want):
        env.check(name, np.array_equal(got, w), f"{got[:8]} {w[:8]}")


REDUCE = r"""
extern "C" __global__ void k(const float* a, float* o, int n) {
	__shared__ float s[32];
	int t = threadIdx.x;
	float v = 0;
	for (int i = blockIdx.x * blockDim.x + t; i < n;
	     i += gridDim.x * blockDim.x)
		v += a[i];
	for (int k = 16; k; k >>= 1)
		v += __shfl_down_sync(~0u, v, k);
	if (t % 32 == 0)
		s[t / 32] = v;
	__syncthreads();
	if (t < 32) {
		v = t < blockDim.x / 32 ? s[t] : 0;
		for (int k = 16; k; k >>= 1)
			v += __shfl_xor_sync(~0u, v, k);
		if (t == 0)
			atomicAdd(o, v);
	}
}"""


def reduction(env):
    f = env.kernel(REDUCE)
    a = np.random.default_rng(2).integers(-9, 9, 5003).astype("f4")

    def test(order):
        o = np.zeros(1, "f4")
        env.driver.launch(f, (3,), (256,), (a, o, i32(len(a))))
        env.check(f"reduction {order}", o[0] == a.sum(), str(o))
    each_order(env, test)


TRANSPOSE = r"""
extern "C" __global__ void k(const float* a, float* o, int m, int n) {
	__shared__ float s[32][33];
	int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32;
	for (int j = threadIdx.y; j < 32; j += blockDim.y)
		if (x < n && y + j < m)
			s[j][threadIdx.x] = a[(y + j) * n + x];
	__syncthreads();
	x = blockIdx.y * 32 + threadIdx.x, y = blockIdx.x * 32;
	for (int j = threadIdx.y; j < 32; j += blockDim.y)
		if (x < m && y + j < n)
			o[(y + j) * m + x] = s[threadIdx.x][j];
}"""


def transpose(env):
    f = env.kernel(TRANSPOSE)
    a = np.arange(70 * 45, dtype="f4").reshape(70, 45)

    def test(order):
        o = np.zeros((45, 70), "f4")
        env.driver.launch(f, (2, 3), (32, 8), (a, o, i32(70), i32(45)))
        env.check(f"transpose {order}", np.array_equal(o, a.T))
    each_order(env, test)


DIVERGE = r"""
extern "C" __global__ void k(const int* a, int* o, int n) {
	int i = blockIdx.x * blockDim.x + threadIdx.x, steps = 0;
	if (i >= n)
		return;
	long long v = a[i];
	while (v != 1) {
		if (v & 1) {
			v = 3 * v + 1;
			if (v % 5 == 0)
				continue;
			steps += 2;
		} else {
			v >>= 1;
			steps++;
		}
		if (steps > 400)
			break;
	}
	switch (i % 7) {
	case 0: steps += 1; break;
	case 1: steps *= 3;
	case 2: steps ^= 5; break;
	case 3: for (int j = 0; j < i % 9; j++) steps += j; break;
	case 5: steps = -steps;
	}
	o[i] = steps;
}"""


def collatz(i, v):
    steps = 0
    while v != 1:
        if v & 1:
            v = 3 * v + 1
            if v % 5 == 0:
                continue
            steps += 2
        else:
            v >>= 1
            steps += 1
        if steps > 400:
            break
    r = i % 7
    if r == 0:
        steps += 1
    elif r == 1:
        steps = steps * 3 ^ 5
    elif r == 2:
        steps ^= 5
    elif r == 3:
        steps += sum(range(i % 9))
    elif r == 5:
        steps = -steps
    return steps


def divergence(env):
    f = env.kernel(DIVERGE)
    a = np.random.default_rng(4).integers(1, 5000, 500).astype("i4")
    o = np.zeros(500, "i4")
    env.driver.launch(f, (4,), (128,), (a, o, i32(500)))
    want = np.array([collatz(i, int(v)) for i, v in enumerate(a)])
    env.check("divergence", np.array_equal(o, want),
              str(np.flatnonzero(o != want)[:8]))


CALLS = r"""
struct pair { float x; int n; };
__device__ __noinline__ pair half_of(pair p) {
	if (p.n > 3)
		p.x *= 0.5f;
	p.n++;
	return p;
}
__device__ __noinline__ int fib(int n) {
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
__constant__ float table[5] = { 1.5f, 2.5f, -3, 4, 5 };
__device__ int hits = 5;
extern "C" __global__ void k(float* o, int* h) {
	int t = threadIdx.x;
	pair p = { table[t % 5], t % 8 };
	float local[9];
	for (int i = 0; i < 9; i++)
		local[i] = i * t;
	while (p.n < 9)
		p = half_of(p);
	o[t] = p.x + fib(t % 10) + local[(t * 7) % 9];
	if (t % 3 == 0)
		atomicAdd(&hits, t);
	__syncthreads();
	if (t == 0)
		*h = hits;
}"""


def calls(env):
    f = env.kernel(CALLS)
    o, h = np.zeros(64, "f4"), np.zeros(1, "i4")
    env.driver.launch(f, (1,), (64,), (o, h))
    fib = [0, 1, 1, 2, 3, 5, 8, 13, 21, 34]
    want = []
    for t in range(64):
        x, n = [1.5, 2.5, -3, 4, 5][t % 5], t % 8
        while n < 9:
            x, n = x * (0.5 if n > 3 else 1), n + 1
        want.append(x + fib[t % 10] + (t * 7) % 9 * t)
    env.check("calls", np.array_equal(o, np.array(want, "f4")), str(o))
    env.check("device variable", h[0] == 5 + sum(range(0, 64, 3)), str(h))


SGEMM = r"""
extern "C" __global__ void __launch_bounds__(256)
k(const float* a, const float* b, float* c, int m, int n, int kk) {
	__shared__ float sa[16][65], sb[16][64];
	int t = threadIdx.x, tx = t % 16, ty = t / 16;
	int row = blockIdx.y * 64, col = blockIdx.x * 64;
	float acc[4][4] = {};
	for (int k0 = 0; k0 < kk; k0 += 16) {
		for (int i = t; i < 1024; i += 256) {
			int r = i / 16, k = i % 16;
			sa[k][r] = row + r < m && k0 + k < kk ?
				a[(row + r) * kk + k0 + k] : 0;
			r = i % 64, k = i / 64;
			sb[k][r] = col + r < n && k0 + k < kk ?
				b[(k0 + k) * n + col + r] : 0;
		}
		__syncthreads();
		for (int k = 0; k < 16; k++)
			for (int i = 0; i < 4; i++)
				for (int j = 0; j < 4; j++)
					acc[i][j] += sa[k][ty * 4 + i] *
						sb[k][tx * 4 + j];
		BARRIER
	}
	for (int i = 0; i < 4; i++)
		for (int j = 0; j < 4; j++)
			if (row + ty * 4 + i < m && col + tx * 4 + j < n)
				c[(row + ty * 4 + i) * n + col + tx * 4 + j] =
					acc[i][j];
}"""


def sgemm(env):
    f = env.kernel(SGEMM.replace("BARRIER", "__syncthreads();"))
    rng = np.random.default_rng(6)
    m, n, k = 100, 75, 50
    a, b = (rng.normal(size=s).astype("f4") for s in ((m, k), (k, n)))

    def test(order):
        c = np.zeros((m, n), "f4")
        env.driver.launch(f, (2, 2), (256,),
                          (a, b, c, i32(m), i32(n), i32(k)))
        env.close(f"sgemm {order}", c, a.astype("f8") @ b, 1e-5)
    each_order(env, test)


BARRIERS = r"""
extern "C" __global__ void k(int* o) {
	__shared__ int s[64];
	int t = threadIdx.x;
	if (t < 64) {
		s[t] = t * t;
		asm volatile("bar.sync 1, 64;" ::: "memory");
		o[t] = s[63 - t];
	} else {
		asm volatile("bar.sync 2, 64;" ::: "memory");
		o[t] = -t;
	}
	o[128 + t] = __syncthreads_count(t % 3 == 0);
	o[256 + t] = __syncthreads_or(t == 77) + 2 * __syncthreads_and(t != 3);
}"""


def barriers(env):
    f = env.kernel(BARRIERS)

    def test(order):
        o = np.zeros((3, 128), "i4")
        env.driver.launch(f, (1,), (128,), (o,))
        t = np.arange(64)
        env.check(f"named barriers {order}",
                  np.array_equal(o[0], [*((63 - t)**2), *(-t - 64)]))
        env.check(f"barrier reductions {order}",
                  np.all(o[1] == 43) and np.all(o[2] == 1))
    each_order(env, test)


ATOMICS = r"""
extern "C" __global__ void k(unsigned* u, float* f, unsigned long long* l,
	double* d) {
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	__shared__ unsigned s;
	if (threadIdx.x == 0)
		s = 0;
	__syncthreads();
	atomicAdd(&s, i);
	__syncthreads();
	if (threadIdx.x == 0)
		atomicAdd(u, s);
	atomicMax(u + 1, i * 7 % 1000);
	atomicMin((int*)u + 2, 5 - i);
	atomicOr(u + 3, 1u << (i % 13));
	atomicAnd(u + 4, ~(1u << (i % 11)));
	atomicXor(u + 5, i);
	atomicInc(u + 6, 9);
	unsigned old = atomicCAS(u + 7, 0, i + 1);
	if (old == 0)
		u[8] = i + 1;
	atomicAdd(f, 0.5f);
	atomicAdd(l, 1ull << 33);
	atomicAdd(d, 0.25);
	atomicExch(l + 1, 99ull);
}"""


def atomics(env):
    f = env.kernel(ATOMICS)
    u, x = np.zeros(9, "u4"), np.zeros(1, "f4")
    u[4] = 0xffffffff
    lo, d = np.zeros(2, "u8"), np.zeros(1, "f8")
    env.driver.launch(f, (3,), (64,), (u, x, lo, d))
    n = 192
    want = [sum(range(n)), max(i * 7 % 1000 for i in range(n)),
            2**32 + 5 - n + 1, 2**13 - 1, 2**32 - 2**11,
            int(np.bitwise_xor.reduce(np.arange(n))), n % 10, u[8], u[8]]
    env.check("atomics", np.array_equal(u, np.array(want, "u4")) and u[7],
              f"{u} {want}")
    env.check("atomics of floats", x[0] == n / 2 and d[0] == n / 4 and
              lo[0] == n << 33 and lo[1] == 99)


TESTS = [shuffles, reduction, transpose, divergence, calls, sgemm, barriers,
         atomics]
