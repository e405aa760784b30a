# SPDX-License-Identifier: Apache-2.0
"""The driver API as the tests need it: arrays in, arrays out."""
import ctypes
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p

import numpy as np


class Error(Exception):
    def __init__(self, code):
        super().__init__(f"CUDA error {code}")
        self.code = code


def check(code):
    if code:
        raise Error(code)


class Driver:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        check(self.lib.cuInit(0))
        self.begin()

    def begin(self):
        self.ctx = c_void_p()
        check(self.lib.cuDevicePrimaryCtxRetain(byref(self.ctx), 0))
        check(self.lib.cuCtxPushCurrent_v2(self.ctx))

    def end(self):
        """A context that a kernel has broken goes with it."""
        self.lib.cuCtxPopCurrent_v2(None)
        check(self.lib.cuDevicePrimaryCtxRelease_v2(0))

    def load(self, ptx):
        mod = c_void_p()
        check(self.lib.cuModuleLoadData(byref(mod), c_char_p(ptx)))
        return mod

    def unload(self, mod):
        check(self.lib.cuModuleUnload(mod))

    def function(self, mod, name, shared=0):
        f = c_void_p()
        check(self.lib.cuModuleGetFunction(byref(f), mod, name.encode()))
        if shared > 40000:
            check(self.lib.cuFuncSetAttribute(f, 8, shared))
        return f

    def alloc(self, size):
        p = c_uint64()
        check(self.lib.cuMemAlloc_v2(byref(p), c_size_t(max(size, 1))))
        return p.value

    def put(self, array):
        array = np.ascontiguousarray(array)
        p = self.alloc(array.nbytes)
        check(self.lib.cuMemcpyHtoD_v2(c_uint64(p), c_void_p(
            array.ctypes.data), c_size_t(array.nbytes)))
        return p

    def get(self, p, array):
        check(self.lib.cuMemcpyDtoH_v2(c_void_p(array.ctypes.data),
                                       c_uint64(p), c_size_t(array.nbytes)))

    def free(self, p):
        check(self.lib.cuMemFree_v2(c_uint64(p)))

    def launch(self, f, grid, block, args, shared=0, stream=None):
        """Arguments are ctypes values, or arrays, which are copied in and
        out."""
        held, values = [], []
        for a in args:
            if isinstance(a, np.ndarray):
                assert a.flags.c_contiguous
                held.append((self.put(a), a))
                a = c_uint64(held[-1][0])
            values.append(a)
        array = (c_void_p * len(values))(
            *(ctypes.addressof(v) for v in values))
        g = tuple(grid) + (1,) * (3 - len(grid))
        b = tuple(block) + (1,) * (3 - len(block))
        check(self.lib.cuLaunchKernel(
            f, *map(c_uint, g), *map(c_uint, b), c_uint(shared), stream,
            array, None))
        for p, a in held:
            self.get(p, a)
            self.free(p)


def i32(v):
    return c_int(v)
