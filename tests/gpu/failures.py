# SPDX-License-Identifier: Apache-2.0
"""How a model says that it cannot be opened or run, and that it can."""
import ctypes
import os
import subprocess
import threading

import numpy as np
from onnx import helper, numpy_helper

import nvrtc
import objects
from rig import GPU, as_call, expect, make_model, outputs, tensor

# Cases that need no NVRTC.
WITHOUT = ("failures-no-nvrtc",)
DEVICE, MEMORY = 9, 10
CONSTANTS = (40 * 24 * 4, 24 * 4)
WEIGHTS = sum(CONSTANTS)
FINE = "0 \n0 wrong\n"


def model():
    i, j = np.ogrid[:40, :24]
    w = ((7 * i + 3 * j) % 11 - 5).astype(np.float32)
    return make_model(
        [helper.make_node("MatMul", ["x", "w"], ["s"]),
         helper.make_node("Add", ["s", "b"], ["y"])],
        [tensor("x", np.float32, ["N", 40])],
        [tensor("y", np.float32, ["N", 24])],
        [numpy_helper.from_array(w, "w"),
         numpy_helper.from_array(np.arange(24, dtype=np.float32), "b")])


class Program:
    """calls.c with its two objects, made once; sm_120: one that holds code
    for those alone."""

    def __init__(self, rig):
        self.rig, self.lock, self.made = rig, threading.Lock(), set()

    def path(self, arch):
        folder = self.rig.path("calls_" + arch)
        with self.lock:
            if arch not in self.made:
                self.make(folder, arch)
                self.made.add(arch)
        return os.path.join(folder, "calls")

    def make(self, folder, arch):
        os.makedirs(folder, exist_ok=True)
        path = self.rig.saved(model(), os.path.join(folder, "model"))
        gpu, cpu, apart = (os.path.join(folder, n)
                           for n in ("gpu", "cpu", "apart"))
        for stem, options in (
                (gpu, [GPU, "-march=" + arch]), (cpu, []),
                (apart, [GPU, "-march=" + arch, f"--weights={apart}.bin"])):
            code, said = objects.dlcc_compile(
                self.rig.dlcc, path, stem + ".o", os.path.basename(stem),
                options)
            expect(code == 0, said)
        self.rig.cc("-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O1", "-Wall",
                    "-Wextra", "-Werror", "-I" + folder,
                    f"-I{objects.ROOT}/runtime/include", "-o",
                    os.path.join(folder, "calls"),
                    os.path.join(objects.ROOT, "tests", "gpu", "calls.c"),
                    gpu + ".o", cpu + ".o", apart + ".o",
                    self.rig.runtime(), "-lpthread", "-ldl")

    def run(self, *args, arch="sm_80", driver=None, **env):
        """What it prints, and what is on stderr."""
        env = self.rig.env(**env)
        if driver:
            env["LD_LIBRARY_PATH"] = driver
        done = subprocess.run([self.path(arch), *args], env=env,
                              capture_output=True, timeout=120, text=True)
        return done.stdout, done.stderr


def says(got, wanted):
    out, err = got
    expect(out == wanted, f"{out!r}, not {wanted!r}; {err[-300:]}")
    expect(not err, "stderr: " + err[-300:])


def side_file(p):
    weights = os.path.join(os.path.dirname(p.path("sm_80")), "apart.bin")
    says(p.run("side-file", weights), "1 \n0 \n" + FINE)


def empty_side_file(rig):
    """Of a model without weights."""
    x = np.arange(6, dtype=np.float32)
    model = make_model([helper.make_node("Neg", ["x"], ["y"])],
                       [tensor("x", np.float32, [6])],
                       [tensor("y", np.float32, [6])])
    side = rig.path("empty.bin")
    lib = rig.library(model, "without_weights", "sm_80", ["--weights=" + side])
    with open(side, "rb") as f:
        weights = f.read()
    expect(not weights, f"{len(weights)} bytes")
    answers, said = rig.calls(lib, [as_call({"x": x}, [x])], weights=weights)
    got, = outputs(answers[0], [x], said)
    expect(np.array_equal(got, -x), f"{got}")


def no_driver(rig):
    """A folder whose libcuda.so.1 is none, so that no other is found."""
    folder = rig.path("none")
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, "libcuda.so.1"), "w").close()
    return folder


def poor_driver(rig):
    folder = rig.path("poor")
    os.makedirs(folder, exist_ok=True)
    source = os.path.join(folder, "cuda.c")
    with open(source, "w") as f:
        f.write("int cuInit(unsigned flags) { return (int)flags; }\n")
    rig.cc("-shared", "-fPIC", "-o", os.path.join(folder, "libcuda.so.1"),
           source)
    return folder


NONE = "no CUDA driver: cannot load libcuda.so.1; this model needs an " \
    "NVIDIA GPU and its driver"


def too_old():
    lib, major, minor = nvrtc.load(), ctypes.c_int(), ctypes.c_int()
    lib.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{DEVICE} the CUDA driver is too old: the model needs one for " \
        f"CUDA {major.value}.{minor.value}, this one is for " \
        f"{major.value - 1}.4\n", str(1000 * (major.value - 1) + 40)


def old_driver(p):
    text, version = too_old()
    says(p.run("open", "0", DLCC_EMU_DRIVER=version), text)


def lacks_functions(rig, p):
    out, _ = p.run("open", "0", driver=poor_driver(rig))
    expect(out.startswith(f"{DEVICE} the CUDA driver is too old: it lacks cu")
           and out.count("\n") == 1, out)


def device_numbers(p):
    for n in ("1", "-1", "2147483647"):
        says(p.run("open", n), f"{DEVICE} there is no GPU number {n}: the "
             "driver finds 1\n")
    says(p.run("open", "1", DLCC_EMU_DEVICES="2"), "0 \n")


def weights_too_large(p):
    """The status takes 64 bytes."""
    says(p.run("open", "0", DLCC_EMU_MEMORY=str(64 + WEIGHTS - 1)),
         f"{MEMORY} out of memory for the weights: "
         f"{sum(map(place, CONSTANTS))} bytes asked, {WEIGHTS - 1} free\n")


def place(n):
    """Of a constant: loads of small numbers may reach three bytes beyond."""
    return (n + 3 + 63) // 64 * 64


def tensors_too_large(p):
    """The call fails, and a smaller one after it does not."""
    n, memory = 1000, 100000
    out, err = p.run("memory", str(n), DLCC_EMU_MEMORY=str(memory))
    lines = out.split("\n", 1)
    asked = n * (40 + 24) * 4
    words = lines[0].split()
    expect(lines[0].startswith(f"{MEMORY} out of memory for the model's "
                               "tensors: "), out)
    expect(asked <= int(words[8]) <= asked + 4096, f"{out}: not {asked}")
    expect(int(words[11]) <= memory, out)
    says((lines[1], err), FINE)


def no_library(p):
    """Nothing of NVIDIA's is linked."""
    done = subprocess.run(["ldd", p.path("sm_80")], capture_output=True,
                          text=True)
    expect(done.returncode == 0 and "libc.so" in done.stdout, done.stderr)
    for name in ("cuda", "nvrtc", "nvidia", "cublas", "nvJitLink", "dlrt"):
        expect(name not in done.stdout, done.stdout)


def falls_back(rig, p):
    says(p.run("fall-back", driver=no_driver(rig)),
         NONE + "\n" + FINE)
    says(p.run("fall-back"), "GPU\n" + FINE)


def compiler_without(rig):
    """An object needs NVRTC, and says so; the CUDA text does not."""
    path = rig.saved(model(), "without")
    env = {"DLCC_NVRTC": "/nowhere/libnvrtc.so"}
    for kind in ("obj", "ptx", "cubin"):
        out = rig.path("without." + kind)
        code, _, said = rig.dlcc_run(path, "--emit=" + kind, GPU, "-o", out,
                                     env=env)
        expect(code == 5, f"{kind}: exit status {code}: {said}")
        expect("error: /nowhere/libnvrtc.so is no NVRTC that can be loaded ("
               in said and said.count("\n") == 1, said)
        expect(not os.path.exists(out), out + " was left")
    code, text, said = rig.dlcc_run(path, "--emit=cuda", GPU, "-o", "-",
                                    env=env)
    expect(code == 0 and b"__global__" in text and not said, said)


def cases(rig, full):
    p = Program(rig)
    yield "no-nvrtc", lambda: compiler_without(rig)
    yield "no-driver", lambda: says(
        p.run("open", "0", driver=no_driver(rig)), f"{DEVICE} {NONE}\n")
    yield "lacking-driver", lambda: lacks_functions(rig, p)
    yield "no-gpu", lambda: says(
        p.run("open", "0", DLCC_EMU_DEVICES="0"),
        f"{DEVICE} a CUDA driver is installed but it finds no NVIDIA GPU "
        "(CUDA_ERROR_NO_DEVICE)\n")
    yield "no-image", lambda: says(
        p.run("open", "0", arch="sm_120", DLCC_EMU_CC="8.0"),
        f"{DEVICE} no image for sm_80; the object holds: sm_120 "
        "compute_120\n")
    yield "old-driver", lambda: old_driver(p)
    yield "device-number", lambda: device_numbers(p)
    yield "memory-weights", lambda: weights_too_large(p)
    yield "memory-tensors", lambda: tensors_too_large(p)
    yield "arguments", lambda: says(
        p.run("wrong"), "1 \n1 \n1 \n8 \n1 \n1 \n7 the object is for a CPU\n")
    yield "host", lambda: says(p.run("host"), FINE * 3)
    yield "side-file", lambda: side_file(p)
    yield "side-file-empty", lambda: empty_side_file(rig)
    yield "device", lambda: says(p.run("device"), FINE * 3)
    yield "libraries", lambda: no_library(p)
    yield "fall-back", lambda: falls_back(rig, p)
