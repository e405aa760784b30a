# SPDX-License-Identifier: Apache-2.0
"""Compiles variants of a model with dlcc and calls them in this process."""
import ctypes
import os
import re
import subprocess

import numpy as np
from onnx import TensorProto, helper, numpy_helper


ABI = 4         # DLRT_ABI_VERSION that the structures below are of


class Tensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_int32),
                ("rank", ctypes.c_int32),
                ("dims", ctypes.POINTER(ctypes.c_int64)),
                ("scale", ctypes.c_float), ("zero_point", ctypes.c_int32),
                ("axis", ctypes.c_int32), ("reserved", ctypes.c_int32)]


class Call(ctypes.Structure):
    _fields_ = [("inputs", ctypes.POINTER(ctypes.c_void_p)),
                ("outputs", ctypes.POINTER(ctypes.c_void_p)),
                ("dims", ctypes.POINTER(ctypes.c_int64)),
                ("workspace", ctypes.c_void_p),
                ("workspace_bytes", ctypes.c_size_t),
                ("output_bytes", ctypes.c_void_p),
                ("out_dims", ctypes.c_void_p),
                ("pool", ctypes.c_void_p), ("weights", ctypes.c_void_p),
                ("device", ctypes.c_void_p)]


class Table(ctypes.Structure):
    """struct dlrt_model."""
    _fields_ = [("abi", ctypes.c_uint32), ("size", ctypes.c_uint32),
                ("name", ctypes.c_char_p), ("n_inputs", ctypes.c_uint32),
                ("n_outputs", ctypes.c_uint32), ("n_dims", ctypes.c_uint32),
                ("n_nodes", ctypes.c_uint32),
                ("inputs", ctypes.POINTER(Tensor)),
                ("outputs", ctypes.POINTER(Tensor)),
                ("dim_names", ctypes.POINTER(ctypes.c_char_p)),
                ("node_names", ctypes.POINTER(ctypes.c_char_p)),
                ("cpu", ctypes.c_char_p), ("weights_bytes", ctypes.c_uint64),
                ("weights_hash", ctypes.c_ubyte * 8),
                ("workspace", ctypes.CFUNCTYPE(
                    ctypes.c_size_t, ctypes.POINTER(ctypes.c_int64))),
                ("invoke", ctypes.CFUNCTYPE(
                    ctypes.c_int32, ctypes.POINTER(Call))),
                ("gpu", ctypes.c_void_p)]


class Failed(Exception):
    pass


def dlcc(program, *args):
    done = subprocess.run([program, *args], stdin=subprocess.DEVNULL,
                          capture_output=True)
    if done.returncode:
        raise Failed(f"dlcc {' '.join(args)}: exit status "
                     f"{done.returncode}: {done.stderr.decode()[-300:]}")
    return done.stderr.decode()


class Variant:
    """A model compiled with some options."""
    count = 0

    def __init__(self, program, model, folder, *options):
        Variant.count += 1
        prefix = f"v{Variant.count}"
        path = os.path.join(folder, prefix + ".so")
        dlcc(program, model, "-o", path, "-mcpu=native", *options)
        with open(os.path.join(folder, prefix + ".h")) as f:
            symbol = re.search(r"extern const struct dlrt_model (\w+);",
                               f.read())[1]
        self.bytes = os.path.getsize(path)
        self.library = ctypes.CDLL(path)
        self.table = Table.in_dll(self.library, symbol)
        if (self.table.abi, self.table.size) != (ABI, ctypes.sizeof(Table)):
            raise Failed("struct dlrt_model is not as it was")

    def __call__(self, *arrays):
        """One call; the outputs as a list of arrays."""
        t = self.table
        arrays = [np.ascontiguousarray(a) for a in arrays]
        dims = (ctypes.c_int64 * (t.n_dims + 1))()
        for k, a in enumerate(arrays):
            for i in range(a.ndim):
                if t.inputs[k].dims[i] < 0:
                    dims[-1 - t.inputs[k].dims[i]] = a.shape[i]
        outputs = []
        for k in range(t.n_outputs):
            o = t.outputs[k]
            shape = [o.dims[i] if o.dims[i] >= 0 else dims[-1 - o.dims[i]]
                     for i in range(o.rank)]
            outputs.append(np.empty(
                shape, helper.tensor_dtype_to_np_dtype(o.dtype)))
        size = max(t.workspace(dims), 1)
        work = np.empty(size + 64, np.uint8)
        base = work.ctypes.data
        call = Call(
            (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays]),
            (ctypes.c_void_p * len(outputs))(
                *[o.ctypes.data for o in outputs]),
            dims, base + -base % 64, size)
        status = t.invoke(ctypes.byref(call))
        if status:
            raise Failed(f"status {status}")
        return outputs


def save_samples(folder, samples):
    """Each a list of arrays, as dlcc calibrate takes them."""
    for n, arrays in enumerate(samples):
        path = os.path.join(folder, f"test_data_set_{n:03}")
        os.makedirs(path, exist_ok=True)
        for k, a in enumerate(arrays):
            with open(os.path.join(path, f"input_{k}.pb"), "wb") as f:
                f.write(numpy_helper.from_array(
                    np.ascontiguousarray(a)).SerializeToString())
    return folder


def cosines(a, b):
    """Of corresponding rows."""
    a, b = np.float64(a), np.float64(b)
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


def sqnr(want, have):
    """Signal to noise in dB."""
    want, have = np.float64(want), np.float64(have)
    noise = ((want - have) ** 2).sum()
    return np.inf if not noise else 10 * np.log10((want ** 2).sum() / noise)
