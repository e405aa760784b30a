# SPDX-License-Identifier: Apache-2.0
"""The driver API: errors, limits, streams, capture and graphs."""
import ctypes
import os
import subprocess
import sys
from ctypes import byref, c_int, c_size_t, c_uint, c_uint64, c_void_p

import numpy as np

import cuda
import one

ADD = one.kernel("add.s32", np.dtype("i4"), [np.dtype("i4")] * 2)


def raises(env, name, code, call):
    try:
        call()
        got = 0
    except cuda.Error as e:
        got = e.code
    env.check(name, got == code, f"{got}, wanted {code}")


def limits(env):
    d = env.driver
    f = d.function(d.load(ADD), "k")
    args = [c_uint64(0)] * 3 + [c_uint(0)]
    for grid, block, shared in (((1,), (1025,), 0), ((1,), (1, 1, 65), 0),
                                ((1, 65536), (1,), 0), ((0,), (1,), 0),
                                ((1,), (1,), 49153)):
        env.fails(f"launch {grid} {block} {shared}", 1, "k: ",
                  lambda: d.launch(f, grid, block, args, shared))
    raises(env, "too much opt-in", 1, lambda: cuda.check(
        d.lib.cuFuncSetAttribute(f, 8, 232449)))
    cuda.check(d.lib.cuFuncSetAttribute(f, 8, 232448))
    raises(env, "opt-in", 0, lambda: d.launch(f, (1,), (1,), args, 232448))
    raises(env, "no such kernel", 500,
           lambda: d.function(d.load(ADD), "none"))
    raises(env, "a cubin", 209, lambda: d.load(b"\x7fELF" + bytes(64)))
    raises(env, "no image", 200, lambda: d.load(b"hello"))
    with env.setting(CC="8.6"):
        env.fails("PTX for another device", 218, "sm_90", lambda: d.load(ADD))
    with env.setting(DRIVER="12000"):
        env.fails("PTX too new", 222, "8.1", lambda: d.load(
            ADD.replace(b"8.0", b"8.1")))
    raises(env, "free twice", 1, lambda: d.free(12345))
    raises(env, "out of memory", 2, lambda: d.alloc(1 << 50))
    value = c_int()
    for which, want in ((75, 9), (76, 0), (97, 232448), (10, 32), (16, 132)):
        cuda.check(d.lib.cuDeviceGetAttribute(byref(value), which, 0))
        env.check(f"attribute {which}", value.value == want)


def extra(env):
    """Parameters as one buffer."""
    d = env.driver
    f = d.function(d.load(ADD), "k")
    a, b = (np.arange(10, dtype="i4") * k for k in (1, 10))
    p = [d.put(v) for v in (a, b, a)]
    buffer = np.zeros(7, "u4")
    buffer[:6] = np.array(p, "u8").view("u4")
    buffer[6] = 10
    for size, code in ((28, 0), (24, 1)):
        n = c_size_t(size)
        pairs = (c_void_p * 5)(1, buffer.ctypes.data, 2,
                               ctypes.addressof(n), 0)
        env.fails(f"{size} bytes of parameters", code, "", lambda: cuda.check(
            d.lib.cuLaunchKernel(f, *[c_uint(1)] * 3, c_uint(32),
                                 *[c_uint(1)] * 2, c_uint(0), None, None,
                                 pairs)))
        if not code:
            f = d.function(d.load(ADD), "k")
    out = np.zeros(10, "i4")
    d.get(p[2], out)
    env.check("the sum", np.array_equal(out, a + b), str(out))
    for v in p:
        d.free(v)


def graphs(env):
    d, lib = env.driver, env.driver.lib
    f = d.function(d.load(ADD), "k")
    s, graph, run = c_void_p(), c_void_p(), c_void_p()
    cuda.check(lib.cuStreamCreate(byref(s), 1))
    x = np.arange(100, dtype="i4")
    out = np.zeros(100, "i4")
    p, q = d.put(x), d.put(x * 0)
    cuda.check(lib.cuStreamBeginCapture_v2(s, 1))
    cuda.check(lib.cuMemcpyHtoDAsync_v2(
        c_uint64(p), c_void_p(x.ctypes.data), c_size_t(400), s))
    d.launch(f, (1,), (128,), [c_uint64(p), c_uint64(q), c_uint64(q),
                               c_uint(100)], stream=s)
    cuda.check(lib.cuMemcpyDtoHAsync_v2(
        c_void_p(out.ctypes.data), c_uint64(q), c_size_t(400), s))
    cuda.check(lib.cuStreamEndCapture(s, byref(graph)))
    env.check("capture runs nothing", not out.any())
    cuda.check(lib.cuGraphInstantiateWithFlags(byref(run), graph,
                                               ctypes.c_ulonglong(0)))
    cuda.check(lib.cuGraphDestroy(graph))
    total = x * 0
    for k in range(3):
        x[:] = np.arange(100) * (k + 1)
        cuda.check(lib.cuGraphLaunch(run, s))
        cuda.check(lib.cuStreamSynchronize(s))
        total = total + x
        env.check(f"replay {k}", np.array_equal(out, total))
    cuda.check(lib.cuGraphExecDestroy(run))

    def breaks(name, code, call):
        cuda.check(lib.cuStreamBeginCapture_v2(s, 1))
        raises(env, name, code, call)
        state = c_int()
        lib.cuStreamIsCapturing(s, byref(state))
        env.check(f"{name}: invalid", state.value == 2)
        raises(env, f"{name}: the end", 901, lambda: cuda.check(
            lib.cuStreamEndCapture(s, byref(graph))))
    breaks("cuMemAlloc in a capture", 900, lambda: d.alloc(16))
    breaks("cuStreamSynchronize in a capture", 900,
           lambda: cuda.check(lib.cuStreamSynchronize(s)))
    breaks("a blocking copy in a capture", 900, lambda: d.get(p, out))
    raises(env, "end without begin", 401, lambda: cuda.check(
        lib.cuStreamEndCapture(s, byref(graph))))
    raises(env, "a destroyed stream", 400, lambda: (
        cuda.check(lib.cuStreamDestroy_v2(s)),
        cuda.check(lib.cuStreamSynchronize(s))))
    d.free(p)
    d.free(q)


def sticky(env):
    d = env.driver
    f = d.function(d.load(ADD), "k")
    p = d.put(np.zeros(8, "i4"))

    def call():
        try:
            d.launch(f, (1,), (32,), [c_uint64(16)] * 3 + [c_uint(4)])
        except cuda.Error:
            pass
        d.get(p, np.zeros(8, "i4"))
    env.fails("an error stays", 700, "nothing is allocated", call)
    d.free(p)


CHILD = """
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, {here!r})
import cuda
try:
    d = cuda.Driver({lib!r})
    d.alloc(1000)
    d.end()
except cuda.Error as e:
    print(e.code)
"""


def processes(env):
    here = os.path.dirname(os.path.abspath(__file__))
    for name, values, want in (("no device", {"DEVICES": "0"}, "100"),
                               ("leaks", {"LEAKS": "1"},
                                "leak: 1000 bytes of device memory")):
        with env.setting(**values):
            r = subprocess.run(
                [sys.executable, "-c", CHILD.format(here=here, lib=env.lib)],
                capture_output=True, text=True)
        env.check(name, want in r.stdout + r.stderr, r.stdout + r.stderr)


TESTS = [limits, extra, graphs, sticky, processes]
