# SPDX-License-Identifier: Apache-2.0
"""A process that times a compiled model on the GPU, for tests/gpu/bench:
tensors stay in its memory, each call replays a graph."""
import ctypes
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ml_dtypes  # gives numpy the types beyond its own
import numpy as np
from onnx import helper

import sketch
import subjects
import timing
from worker import Call, Model


class Session:
    def __init__(self, library, weights):
        """weights: the path of a file of them, or of their sketch."""
        self.lib = ctypes.CDLL(library)
        self.lib.dlrt_gpu_open.restype = ctypes.c_void_p
        self.lib.dlrt_gpu_message.restype = ctypes.c_char_p
        self.lib.test_model.restype = ctypes.POINTER(Model)
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.gpu = None
        why = ctypes.create_string_buffer(256)
        model = self.lib.test_model()
        gpu = self.lib.dlrt_gpu_open(model, 0, None, why, ctypes.c_size_t(256))
        if not gpu:
            raise RuntimeError(why.value.decode())
        self.gpu = ctypes.c_void_p(gpu)
        if weights:
            data = sketch.read(weights) if weights.endswith(".npz") else \
                np.fromfile(weights, np.uint8)
            self.must(self.lib.dlrt_gpu_weights(
                self.gpu, ctypes.c_void_p(data.ctypes.data)))
        context = ctypes.c_void_p()
        self.must(self.cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
        self.must(self.cuda.cuCtxPushCurrent_v2(context))
        self.place(model.contents)

    def must(self, code):
        if code:
            said = self.lib.dlrt_gpu_message(self.gpu).decode()
            raise RuntimeError(f"status {code}: {said}")

    def memory(self, size):
        at = ctypes.c_uint64()
        self.must(self.cuda.cuMemAlloc_v2(ctypes.byref(at),
                                          ctypes.c_size_t(max(size, 1))))
        return at.value

    def place(self, m):
        rng = subjects.generator()
        inputs = (ctypes.c_void_p * (m.n_inputs + 1))()
        outputs = (ctypes.c_void_p * (m.n_outputs + 1))()
        sizes = (ctypes.c_size_t * (m.n_outputs + 1))()
        self.results = []
        for i in range(m.n_inputs):
            data = subjects.array(*form(m.inputs[i]), rng)
            inputs[i] = self.memory(data.nbytes)
            self.must(self.cuda.cuMemcpyHtoD_v2(
                ctypes.c_uint64(inputs[i]), ctypes.c_void_p(data.ctypes.data),
                ctypes.c_size_t(data.nbytes)))
        for i in range(m.n_outputs):
            self.results.append(np.empty(*form(m.outputs[i])))
            sizes[i] = self.results[-1].nbytes
            outputs[i] = self.memory(sizes[i])
        dims = (ctypes.c_int64 * (m.n_dims + 1))()
        self.call = Call(inputs=inputs, outputs=outputs, dims=dims,
                         output_bytes=sizes)

    def run(self, n):
        for _ in range(n):
            self.must(self.lib.dlrt_gpu_run_device(
                self.gpu, ctypes.byref(self.call), None))
        self.must(self.lib.dlrt_gpu_wait(self.gpu))

    def save(self, stem):
        """The outputs to STEM.K.npy, as floats of 32 bits."""
        for i, a in enumerate(self.results):
            self.must(self.cuda.cuMemcpyDtoH_v2(
                ctypes.c_void_p(a.ctypes.data),
                ctypes.c_uint64(self.call.outputs[i]),
                ctypes.c_size_t(a.nbytes)))
            np.save(f"{stem}.{i}.npy", a.astype(np.float32))


def form(t):
    """Its shape, all of which is known, and numpy's type."""
    return [t.dims[k] for k in range(t.rank)], \
        helper.tensor_dtype_to_np_dtype(t.dtype)


held = {}


def open_(library, weights):
    held["session"] = Session(library, weights)
    held["session"].run(1)


def tune(seconds):
    held["n"] = timing.calls_for(held["session"].run, seconds)


def sample():
    return {"seconds": timing.sample(held["session"].run, held["n"])}


def save(stem):
    held["session"].save(stem)


if __name__ == "__main__":
    timing.serve({"open": open_, "tune": tune, "sample": sample, "save": save})
