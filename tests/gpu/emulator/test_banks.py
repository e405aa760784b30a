# SPDX-License-Identifier: Apache-2.0
"""Conflicts of banks: patterns whose number of passes is known."""
import os
import tempfile

import numpy as np

from test_block import i32

# A warp loads elements of a type, each lane at `stride` elements from the
# last one; what it reads is stored so that nothing goes.
PATTERN = r"""
extern "C" __global__ void k(TYPE* out, int stride) {
	__shared__ __align__(16) TYPE s[2080];
	int t = threadIdx.x;
	for (int i = t; i < 2080; i += 32)
		s[i] = out[0];
	__syncthreads();
	out[t] = s[INDEX];
}"""
MATRIX = r"""
extern "C" __global__ void k(unsigned* out, int stride) {
	__shared__ __align__(128) unsigned s[2080];
	int t = threadIdx.x;
	for (int i = t; i < 2080; i += 32)
		s[i] = i;
	__syncthreads();
	unsigned a = (unsigned)__cvta_generic_to_shared(s + t % 8 * stride +
		(t / 8 % COUNT * 4 ^ SWIZZLE)), x[4] = {};
	asm volatile("ldmatrix.sync.aligned.m8n8.xCOUNT.shared.b16 "
		"{REGS}, [%4];"
		: "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(a));
	out[t] = x[0] + x[1] + x[2] + x[3];
}"""
COPY = r"""
extern "C" __global__ void k(uint4* out, int stride) {
	__shared__ __align__(16) uint4 s[600];
	int t = threadIdx.x;
	unsigned a = (unsigned)__cvta_generic_to_shared(s + t * stride);
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
		"cp.async.wait_all;" :: "r"(a), "l"(out + t) : "memory");
	__syncthreads();
	out[t] = s[t * stride];
}"""


def counted(env, source, out, stride):
    """{opcode: (accesses, passes at best, passes)} of one warp."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "banks")
        with env.setting(BANKS=path):
            env.driver.launch(env.kernel(source), (1,), (32,),
                              [out, i32(stride)])
        found = {}
        for line in open(path):
            kernel, _, op, *n = line.split()
            assert kernel == "k"
            held = found.setdefault(op.split(".")[0], [0, 0, 0])
            for i, x in enumerate(n):
                held[i] += int(x)
    return {op: tuple(n) for op, n in found.items()}


def expect(env, name, source, out, stride, op, want):
    got = counted(env, source, out, stride).get(op)
    env.check(name, got == want, f"{op}: {got}, wanted {want}")


def loads(env):
    for kind, dtype, index, stride, least, passes in (
            ("float", "f4", "t * stride", 1, 1, 1),
            ("float", "f4", "t * stride", 2, 1, 2),
            ("float", "f4", "t * stride", 32, 1, 32),
            ("float", "f4", "t * stride", 33, 1, 1),
            ("float", "f4", "t * stride", 24, 1, 8),
            ("float", "f4", "t * stride", 0, 1, 1),
            ("float", "f4", "t / 8 * stride", 32, 1, 4),
            ("short", "i2", "t * stride", 1, 1, 1),
            ("short", "i2", "t * stride", 64, 1, 32),
            ("char", "i1", "t * stride", 1, 1, 1),
            ("double", "f8", "t * stride", 1, 2, 2),
            ("double", "f8", "t * stride", 16, 2, 32),
            ("double", "f8", "t * stride", 17, 2, 2),
            ("float4", "4f4", "t * stride", 1, 4, 4),
            ("float4", "4f4", "t * stride", 8, 4, 32),
            ("float4", "4f4", "t * stride", 9, 4, 4),
            ("float4", "4f4", "t / 8 * stride", 8, 4, 4)):
        source = PATTERN.replace("TYPE", kind).replace("INDEX", index)
        expect(env, f"{kind}, {index} by {stride}", source,
               np.zeros(32, dtype), stride, "ld", (1, least, passes))


def stores(env):
    """The loop of the same kernel: 65 steps of neighbours."""
    source = PATTERN.replace("TYPE", "float").replace("INDEX", "t")
    expect(env, "stores", source, np.zeros(32, "f4"), 1, "st", (65, 65, 65))


def half_a_warp(env):
    """Only lanes that take part count."""
    source = PATTERN.replace("TYPE", "float").replace(
        "out[t] = s[INDEX]", "if (t < 8) out[t] = s[t * stride]")
    expect(env, "eight lanes", source, np.zeros(32, "f4"), 32, "ld",
           (1, 1, 8))


def matrices(env):
    for count, stride, swizzle, passes in (
            (4, 32, "0", 32), (4, 36, "0", 4), (2, 36, "0", 2),
            (1, 32, "0", 8), (4, 32, "t % 8 * 4", 4), (4, 16, "0", 16)):
        regs = ", ".join(f"%{i}" for i in range(count))
        source = MATRIX.replace("COUNT", str(count)).replace(
            "REGS", regs).replace("SWIZZLE", swizzle)
        expect(env, f"ldmatrix.x{count}, {stride}, {swizzle}", source,
               np.zeros(32, "u4"), stride, "ldmatrix", (1, count, passes))


def copies(env):
    for stride, passes in ((1, 4), (8, 32), (9, 4)):
        expect(env, f"cp.async by {stride}", COPY, np.zeros((32, 4), "u4"),
               stride, "cp", (1, 4, passes))


def tells_launches_apart(env):
    """Nothing of a launch is counted in the next one; nothing is told where
    nobody asks."""
    source = PATTERN.replace("TYPE", "float").replace("INDEX", "t * stride")
    for stride, passes in ((32, 32), (1, 1)):
        got = counted(env, source, np.zeros(32, "f4"), stride)["ld"]
        env.check(f"stride {stride}", got == (1, 1, passes), str(got))


TESTS = (loads, stores, half_a_warp, matrices, copies, tells_launches_apart)
