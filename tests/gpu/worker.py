# SPDX-License-Identifier: Apache-2.0
"""A process that calls one compiled model: a pickled job on its standard
input, the answers on its standard output.  What the stand-in driver says is
on its standard error.

A job has the library and calls, which share one session:
{feeds: {name: (shape, bytes)}, sizes: bytes of each output, how:
"host" or "device", env: {variable: value}}.  An answer is (status, message,
outputs as bytes, their dims in a row).
"""
import ctypes
import os
import pickle
import sys
from ctypes import (POINTER, Structure, byref, c_char_p, c_float, c_int32,
                    c_int64, c_size_t, c_ubyte, c_uint32, c_uint64, c_void_p)

UNKNOWN = -2**63


class Tensor(Structure):
    _fields_ = [("name", c_char_p), ("dtype", c_int32), ("rank", c_int32),
                ("dims", POINTER(c_int64)), ("scale", c_float),
                ("zero_point", c_int32), ("axis", c_int32),
                ("reserved", c_int32)]


class Model(Structure):
    _fields_ = [("abi", c_uint32), ("size", c_uint32), ("name", c_char_p),
                ("n_inputs", c_uint32), ("n_outputs", c_uint32),
                ("n_dims", c_uint32), ("n_nodes", c_uint32),
                ("inputs", POINTER(Tensor)), ("outputs", POINTER(Tensor)),
                ("dim_names", c_void_p), ("node_names", c_void_p),
                ("cpu", c_char_p), ("weights_bytes", c_uint64),
                ("weights_hash", c_ubyte * 8), ("workspace", c_void_p),
                ("invoke", c_void_p), ("gpu", c_void_p)]


class Call(Structure):
    _fields_ = [("inputs", POINTER(c_void_p)), ("outputs", POINTER(c_void_p)),
                ("dims", POINTER(c_int64)), ("workspace", c_void_p),
                ("workspace_bytes", c_size_t),
                ("output_bytes", POINTER(c_size_t)),
                ("out_dims", POINTER(c_int64)), ("pool", c_void_p),
                ("weights", c_void_p), ("device", c_void_p)]


class Failed(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = status, message


class Session:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        self.lib.test_model.restype = POINTER(Model)
        self.model = self.lib.test_model().contents
        assert self.model.size == ctypes.sizeof(Model)
        self.lib.dlrt_gpu_open.restype = c_void_p
        self.lib.dlrt_gpu_message.restype = c_char_p
        status, message = c_int32(), ctypes.create_string_buffer(512)
        self.gpu = c_void_p(self.lib.dlrt_gpu_open(
            byref(self.model), 0, byref(status), message, c_size_t(512)))
        if not self.gpu:
            raise Failed(status.value, message.value.decode())

    def load(self, weights):
        """Of a side file."""
        code = self.lib.dlrt_gpu_weights(self.gpu, weights)
        if code:
            raise Failed(code, self.lib.dlrt_gpu_message(self.gpu).decode())

    def close(self):
        self.lib.dlrt_gpu_close(self.gpu)

    def dims(self, feeds):
        m = self.model
        values = (c_int64 * (m.n_dims + 1))(*[1] * (m.n_dims + 1))
        for i in range(m.n_inputs):
            t = m.inputs[i]
            shape = feeds[t.name.decode()][0]
            assert len(shape) == t.rank, t.name
            for d in range(t.rank):
                dim = t.dims[d]
                if UNKNOWN < dim < 0:
                    values[-1 - dim] = shape[d]
                assert dim < 0 or dim == shape[d], t.name
        return values

    def call(self, feeds, sizes, how, env):
        m = self.model
        os.environ.update(env)
        given = [feeds[m.inputs[i].name.decode()][1]
                 for i in range(m.n_inputs)]
        n_out = sum(m.outputs[i].rank for i in range(m.n_outputs))
        out_dims = (c_int64 * (n_out + 1))(*[-1] * (n_out + 1))
        dims = self.dims(feeds)
        assert len(sizes) == m.n_outputs
        c_in = (c_void_p * (m.n_inputs + 1))()
        c_out = (c_void_p * (m.n_outputs + 1))()
        call = Call(c_in, c_out, dims, None, 0,
                    (c_size_t * (len(sizes) + 1))(*sizes), out_dims)
        run = self.on_host if how == "host" else self.on_device
        status, outputs = run(call, given, sizes)
        message = self.lib.dlrt_gpu_message(self.gpu).decode()
        return status, message, outputs, list(out_dims)[:n_out]

    def on_host(self, call, given, sizes):
        held = [ctypes.create_string_buffer(b, max(len(b), 1)) for b in given]
        outs = [ctypes.create_string_buffer(b"\xa5" * n, max(n, 1))
                for n in sizes]
        for i, b in enumerate(held):
            call.inputs[i] = ctypes.addressof(b)
        for i, b in enumerate(outs):
            call.outputs[i] = ctypes.addressof(b)
        status = self.lib.dlrt_gpu_run(self.gpu, byref(call))
        return status, [b.raw[:n] for b, n in zip(outs, sizes)]

    def on_device(self, call, given, sizes):
        """Each tensor has memory of its own, so that the stand-in sees what
        lies outside of it."""
        cuda = ctypes.CDLL("libcuda.so.1")
        ctx = c_void_p()
        for code in (cuda.cuInit(0),
                     cuda.cuDevicePrimaryCtxRetain(byref(ctx), 0),
                     cuda.cuCtxPushCurrent_v2(ctx)):
            assert not code, code

        def place(n):
            p = c_uint64()
            code = cuda.cuMemAlloc_v2(byref(p), c_size_t(max(n, 1)))
            assert not code, code
            return p.value

        ins, outs = [place(len(b)) for b in given], [place(n) for n in sizes]
        for i, (p, b) in enumerate(zip(ins, given)):
            call.inputs[i] = p
            if b:
                cuda.cuMemcpyHtoD_v2(c_uint64(p), b, c_size_t(len(b)))
        for i, p in enumerate(outs):
            call.outputs[i] = p
        status = self.lib.dlrt_gpu_run_device(self.gpu, byref(call), None) or \
            self.lib.dlrt_gpu_wait(self.gpu)
        back = [ctypes.create_string_buffer(max(n, 1)) for n in sizes]
        for p, b, n in zip(outs, back, sizes):
            if n and not status:
                cuda.cuMemcpyDtoH_v2(b, c_uint64(p), c_size_t(n))
        for p in ins + outs:
            cuda.cuMemFree_v2(c_uint64(p))
        cuda.cuCtxPopCurrent_v2(None)
        cuda.cuDevicePrimaryCtxRelease_v2(0)
        return status, [b.raw[:n] for b, n in zip(back, sizes)]


def main():
    job = pickle.load(sys.stdin.buffer)
    answers = []
    try:
        session = Session(job["lib"])
        if job["weights"] is not None:
            session.load(job["weights"])
        for call in job["calls"]:
            answers.append(session.call(**call))
            if answers[-1][0]:
                break
        session.close()
    except Failed as e:
        answers.append((e.status, e.message, [], []))
    sys.stdout.buffer.write(pickle.dumps(answers))


if __name__ == "__main__":
    main()
