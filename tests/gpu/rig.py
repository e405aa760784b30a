# SPDX-License-Identifier: Apache-2.0
"""Compiles models for a GPU and calls them on the stand-in driver."""
import ctypes
import os
import pickle
import re
import shlex
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "common"),
                os.path.join(HERE, "emulator")]
import numpy as np
import onnx
from onnx import helper

import objects

GPU = "--target=nvptx64-nvidia-cuda"
ORDERS = ("forward", "reverse", "random:7")
SECONDS = 600


class Missed(Exception):
    """What a check did not find as it should be."""


def expect(true, why):
    if not true:
        raise Missed(why)


def have_gpu():
    """Of the first GPU of this machine: 90 for compute capability 9.0; None
    without one, or without its driver."""
    count, device = ctypes.c_int(), ctypes.c_int()
    major, minor = ctypes.c_int(), ctypes.c_int()
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or \
            not count.value or cuda.cuDeviceGet(ctypes.byref(device), 0):
        return None
    for value, attribute in ((major, 75), (minor, 76)):
        if cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
    return 10 * major.value + minor.value


class Rig:
    def __init__(self, dlcc, out, driver):
        """driver: the folder of the stand-in; None: this machine's GPU."""
        self.dlcc, self.out, self.driver = dlcc, out, driver
        self.gpu = None if driver else have_gpu()

    def runs(self, arch):
        """Can code for sm_80, say, run?  That of sm_90a runs there alone."""
        number = int(arch[3:].rstrip("a"))
        return not self.gpu or (self.gpu == number if arch.endswith("a")
                                else self.gpu >= number)

    def path(self, *parts):
        return os.path.join(self.out, *parts)

    def env(self, **more):
        """That of programs which find the stand-in driver, which tells of
        memory that is not freed."""
        env = {k: v for k, v in os.environ.items()
               if not k.startswith("DLCC_EMU_")}
        if not self.driver:
            return env
        env["LD_LIBRARY_PATH"] = self.driver
        return {**env, "DLCC_EMU_LEAKS": "1", **more}

    def dlcc_run(self, *args, env=None):
        """The exit status, what is on stdout, what is on stderr."""
        done = subprocess.run([self.dlcc, *args], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=SECONDS,
                              env={**os.environ, **(env or {})})
        return done.returncode, done.stdout, \
            done.stderr.decode(errors="replace")

    def saved(self, model, name):
        if isinstance(model, str):
            return model
        path = self.path(name + ".onnx")
        onnx.save(model, path)
        return path

    def library(self, model, name, arch="sm_80", options=()):
        """NAME.so with the object of the model and the runtime."""
        stem = self.path(name)
        code, said = objects.dlcc_compile(
            self.dlcc, self.saved(model, name), stem + ".o", name,
            [GPU, "-march=" + arch, *options])
        expect(code == 0, f"compile: exit status {code}: "
               + objects.first_error(said))
        self.cc("-shared", "-o", stem + ".so", stem + ".o",
                "-include", stem + ".h", f"-DMODEL={name}_model",
                f"-I{objects.ROOT}/runtime/include",
                os.path.join(HERE, "export.c"), "-fPIC",
                "-Wl,--whole-archive", self.runtime(),
                "-Wl,--no-whole-archive", "-lpthread")
        return stem + ".so"

    def runtime(self):
        return os.path.join(objects.variant(self.dlcc), "libdlrt.a")

    def cc(self, *args):
        done = subprocess.run(
            [*shlex.split(os.environ.get("CC", "cc")), *args],
            capture_output=True, text=True)
        expect(done.returncode == 0, "cc: " + done.stderr[-500:])

    def cuda(self, model, name, arch="sm_80", options=()):
        """The text of the kernels."""
        code, text, said = self.dlcc_run(
            self.saved(model, name), "--emit=cuda", GPU, "-march=" + arch,
            *options, "-o", "-")
        expect(code == 0, f"--emit=cuda: exit status {code}: {said}")
        return text.decode()

    def calls(self, lib, calls, under=(), log=None, weights=None, **env):
        """Answers to calls in one session, and what was on stderr.  under: a
        command that runs another one; log: a file that tells more; weights:
        the bytes of a side file."""
        job = pickle.dumps({"lib": lib, "calls": calls, "weights": weights})
        done = subprocess.run(
            [*under, sys.executable, os.path.join(HERE, "worker.py")],
            input=job, capture_output=True, timeout=SECONDS,
            env=self.env(**env))
        said = done.stderr.decode(errors="replace")
        if done.returncode and log and os.path.exists(log):
            with open(log, errors="replace") as f:
                said += f.read()
        expect(done.returncode == 0, f"the caller ended with "
               f"{done.returncode}: {said[-400:]}")
        return pickle.loads(done.stdout), said

    def all_ways(self, lib, sets, check, orders=ORDERS, **env):
        """All sets, (feeds, wanted) each, in one session: by a graph that is
        captured, by its replay, and so in the other orders of threads; in the
        last order on memory of the device, with two blocks for each kernel.
        check(k, wanted, got) says what is wrong; the bits have to be the
        same each time."""
        ways = [("host", order, 0) for order in
                (orders[0], *(orders[:-1] or orders))]
        ways.append(("device", orders[-1], 2))
        calls = [as_call(feeds, wanted, *way) for way in ways
                 for feeds, wanted in sets]
        answers, said = self.calls(lib, calls, **env)
        expect(len(answers) == len(calls) or answers[-1][0],
               f"{len(answers)} answers to {len(calls)} calls")
        first = {}
        for i, answer in enumerate(answers):
            k, way = i % len(sets), "%s %s %d" % ways[i // len(sets)]
            wanted = sets[k][1]
            got = outputs(answer, wanted, said)
            why = check(k, wanted, got)
            expect(not why, f"set {k}, {way}: {why}")
            first.setdefault(k, got)
            expect(all(a.tobytes() == b.tobytes()
                       for a, b in zip(first[k], got)),
                   f"set {k}: other bits by {way}")


def as_call(feeds, wanted, how="host", order="forward", blocks=0):
    """wanted: arrays, of which only the shapes count.  blocks: the most that
    a kernel gets, which has to take what is left in turn; 0: all."""
    return {"feeds": {k: (a.shape, objects.to_bytes(a))
                      for k, a in feeds.items()},
            "sizes": [len(objects.to_bytes(a)) for a in wanted],
            "how": how, "env": {"DLCC_EMU_ORDER": order,
                                  "DLCC_EMU_BLOCKS": str(blocks)}}


def outputs(answer, wanted, said):
    """The arrays of an answer; they have to be of the shapes of `wanted`."""
    status, message, data, dims = answer
    expect(status == 0, f"status {status}, \"{message}\"; {said[-300:]}")
    expect(not said, "the driver says: " + said[-300:])
    shapes = [d for a in wanted for d in a.shape]
    expect(dims == shapes, f"dims {dims}, not {shapes}")
    return [objects.from_bytes(b, a.dtype, a.size).reshape(a.shape)
            for a, b in zip(wanted, data)]


def error_over_rms(wanted, got):
    """The largest over the outputs."""
    worst = 0.0
    for want, have in zip(wanted, got):
        w, h = want.astype(np.float64), have.astype(np.float64)
        scale = np.sqrt(np.mean(w * w)) if w.size else 1
        error = np.max(np.abs(w - h), initial=0) / (scale or 1)
        worst = max(worst, error) if error == error else np.inf
    return worst


def tensor(name, dtype, shape):
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def make_model(nodes, inputs, results, weights=()):
    graph = helper.make_graph(nodes, "g", inputs, results, list(weights))
    return helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid("", 22)])


def kernels(cuda):
    """The text before the kernels, and that of each by its name."""
    parts = re.split(r'(?=^extern "C" __global__)', cuda, flags=re.M)
    return parts[0], {re.search(r"^(k\d+)\(", p, re.M).group(1): p
                      for p in parts[1:]}
