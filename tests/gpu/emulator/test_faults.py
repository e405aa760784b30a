# SPDX-License-Identifier: Apache-2.0
"""Planted bugs, each of which must be reported with its place."""
import ctypes
import os

import numpy as np

import cuda
from test_block import ORDERS, SGEMM, i32
from test_matrix import gemm_run

ILLEGAL_ADDRESS, ILLEGAL_INSTRUCTION = 700, 715
MISALIGNED, FAILED, INVALID_PTX = 716, 719, 218
u64 = ctypes.c_uint64


def races(env):
    f = env.kernel(SGEMM.replace("BARRIER", ""))
    a = np.ones((64, 64), "f4")
    for order in ORDERS:
        with env.setting(ORDER=order):
            env.fails(f"sgemm without a barrier, {order}", FAILED,
                      r"kernel k, block \(0,0,0\), thread .*ptx line \d+: "
                      r"race on shared memory",
                      lambda: env.driver.launch(
                          f, (1, 1), (256,),
                          (a, a.copy(), a.copy(), *[i32(64)] * 3)))
            f = env.kernel(SGEMM.replace("BARRIER", ""))
    for body, text in (
            ("s[t] = t; o[t] = s[t ^ 1];", "written by warp 0"),
            ("s[t] = t; __syncwarp(); o[t] = s[t ^ 1];", None),
            ("s[t] = t; __syncwarp(); o[t] = s[t ^ 32];", "race"),
            ("s[t] = t; __syncthreads(); o[t] = s[t ^ 32];", None),
            ("o[t] = s[t ^ 1]; s[t] = t;", "read by warp 0"),
            ("o[t] = s[t ^ 1]; __shfl_sync(~0u, t, 0); s[t] = t;", None),
            ("s[t / 2] = t;", "written by warp 0"),
            ("atomicAdd(s + t % 4, 1); o[t] = t;", None),
            ("atomicAdd(s + t % 4, 1); s[3] = 1;", "race"),
            ("volatile short* h = (volatile short*)s; int u = h[t]; "
             "h[t] = u + 1;", None),
            ("volatile short* h = (volatile short*)s; h[t] = t; "
             "o[t] = h[t ^ 1];", "written by")):
        source = ('extern "C" __global__ void k(int* o) {\n'
                  "\tvolatile __shared__ int v[64];\n"
                  "\tint* s = (int*)v; int t = threadIdx.x;\n"
                  "\tasm volatile(\"\" :: \"l\"(s) : \"memory\");\n"
                  f"\t{body}\n}}").replace(
                      "s[", "((volatile int*)s)[")
        f = env.kernel(source)
        env.fails(f"race: {body}", FAILED if text else 0, text or "",
                  lambda: env.driver.launch(f, (1,), (64,),
                                            (np.zeros(64, "i4"),)))


def addresses(env):
    source = ('extern "C" __global__ void k(const float* a, float* o, '
              "int n, int m) {\n\t__shared__ float s[32]; "
              "extern __shared__ float d[];\n\tint t = threadIdx.x; BODY }")

    def fails(body, code, text, n=0, shared=0):
        f = env.kernel(source.replace("BODY", body))
        env.fails(body, code, text, lambda: env.driver.launch(
            f, (1,), (32,), (np.zeros(32, "f4"), np.zeros(32, "f4"),
                             i32(n), i32(100)), shared=shared))
    fails("o[t] = a[t + n];", 0, "")
    fails("o[t] = a[t + n];", ILLEGAL_ADDRESS,
          r"thread \(31,0,0\).*load of 4 bytes.*4 past the end", n=1)
    fails("o[t + n] = 1;", ILLEGAL_ADDRESS, r"store of 4 bytes", n=-1)
    fails("*(float*)(n + 64ll) = 1;", ILLEGAL_ADDRESS, "nothing is allocated")
    fails("*(float2*)(o + 1) = make();".replace("make()", "*(float2*)a"),
          MISALIGNED, "not aligned to 8")
    fails("s[t + n] = 1; __syncthreads(); o[t] = s[m / 10];",
          ILLEGAL_ADDRESS, "of shared memory", n=100)
    fails("d[t] = 1; __syncthreads(); o[t] = d[31 - t];", 0, "", shared=128)
    fails("d[t] = 1; __syncthreads(); o[t] = d[31 - t];", ILLEGAL_ADDRESS,
          "of shared memory", shared=124)
    fails('if (t == 3) asm("trap;");', FAILED, r"thread \(3,0,0\).*trap")


def poison(env):
    f = env.kernel('extern "C" __global__ void k(float* o, float* u) {\n'
                   "\tvolatile __shared__ float s[32];\n"
                   "\to[threadIdx.x] = s[threadIdx.x];\n"
                   "\to[threadIdx.x + 32] = u[threadIdx.x];\n}")
    o = np.zeros(64, "f4")
    u = env.driver.alloc(128)
    env.driver.launch(f, (1,), (32,), (o, u64(u)))
    env.driver.free(u)
    env.check("memory starts as NaN", np.all(np.isnan(o)))


def barriers(env):
    def fails(body, text, threads=64):
        f = env.kernel('extern "C" __global__ void k(int* o) {\n'
                       f"\tint t = threadIdx.x;\n\t{body}\n}}")
        env.fails(body, FAILED if text else 0, text, lambda: env.driver.launch(
            f, (1,), (threads,), (np.zeros(64, "i4"),)))
    fails("if (t >= 32) return; __syncthreads(); o[t] = 1;",
          "deadlock: barrier 0 .* has 32 of 64 threads, and 32 have exited")
    fails("if (t < 40) __syncthreads(); o[t] = 1;", "deadlock")
    fails('if (t < 32) asm volatile("bar.sync 1, 64;"); else '
          'asm volatile("bar.sync 2, 64;");', "deadlock")
    fails("if (t % 2) o[t] = __shfl_sync(~0u, t, 1); "
          "else o[t] = __shfl_sync(~0u, t, 2);",
          "deadlock: warp 0, lanes 55555555 wait .* for lanes ffffffff")
    fails("if (t % 2) o[t] = __shfl_sync(0xaaaaaaaau, t, 1); "
          "else o[t] = __shfl_sync(0x55555555u, t, 2);", "")


def copies(env):
    for order in ORDERS:
        with env.setting(ORDER=order):
            env.fails(f"a wait one group short, {order}", FAILED,
                      "target of a copy under way",
                      lambda: gemm_run(env, wait="2"))
            env.fails(f"no barrier in the pipeline, {order}", FAILED, "race|"
                      "under way", lambda: gemm_run(env, barrier=""))
            with env.setting(RACES="0"):
                c, want = gemm_run(env, wait="2")
                env.check(f"a wait one group short is poison, {order}",
                          np.isnan(c).any())


def unknown(env):
    text = (b".version 8.0\n.target sm_80\n.address_size 64\n"
            b".visible .entry k()\n{\n\t.reg .b32 %r<3>;\n"
            b"\tfrobnicate.b32 %r1, %r2;\n\tadd.s32 %r1, %r2, %r2;\n"
            b"\tadd.u33 %r1, %r2, %r2;\n\tret;\n}\n")
    env.fails("unknown instructions", INVALID_PTX,
              r"(?s)line 7: unknown instruction: frobnicate.b32 %r1, %r2;.*"
              r"line 9: unknown instruction: add.u33", lambda:
              env.driver.load(text))
    env.fails("wrong width", INVALID_PTX, "line 8: unknown instruction",
              lambda: env.driver.load(text.replace(b"frobnicate", b"not")
                                      .replace(b"u33", b"u32")
                                      .replace(b"add.s32", b"add.s64")))
    env.fails("an undeclared register", INVALID_PTX, "%r7", lambda:
              env.driver.load(text.replace(b"%r1", b"%r7")))


TESTS = [races, addresses, poison, barriers, copies, unknown]
