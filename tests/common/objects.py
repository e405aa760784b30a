# SPDX-License-Identifier: Apache-2.0
"""Compiles models, links the objects into runners and runs them.

Shared by the suites that hold compiled code to reference outputs.  See
runner.c for the files that pass between the two.
"""
import glob
import os
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile

import ml_dtypes  # gives numpy the types beyond its own
import numpy as np
from onnx import TensorProto, helper

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
SUITE = os.path.join(ROOT, ".venv", "onnx-1.22.0", "onnx", "backend", "test",
                     "data")
COMPILE_SECONDS = 600
# NVRTC of the set-up, for code for GPUs.
NVRTC = glob.glob(os.path.join(ROOT, ".venv", "lib", "python3*",
                               "site-packages", "nvidia", "*", "lib",
                               "libnvrtc.so.1?"))
if NVRTC:
    os.environ.setdefault("DLCC_NVRTC", NVRTC[0])


def have_nvrtc():
    """Is there the compiler library that code for GPUs needs?"""
    sys.path.append(os.path.join(ROOT, "tests", "gpu", "emulator"))
    import nvrtc

    return nvrtc.load() is not None


def skip_nvrtc(n):
    """Says that so many tests are skipped; returns how many that fails."""
    print(f"SKIPPED: {n} tests, there is no NVRTC (libnvrtc.so)")
    return n if os.environ.get("DLCC_REQUIRE_NVRTC") else 0


def variant(dlcc):
    """The folder of the build that dlcc belongs to."""
    return os.path.dirname(os.path.abspath(dlcc))


def work_folder(dlcc, name, path=None):
    """An empty folder for the files of one run, in the build by default."""
    if path:
        os.makedirs(path, exist_ok=True)
        return os.path.abspath(path)
    return tempfile.mkdtemp(prefix=name + "-", dir=variant(dlcc))


def snapshot(dlcc, folder):
    """Copies dlcc and its library to folder, so that a build meanwhile does
    not pull them away; returns the path of the copy."""
    for name in ("dlcc", "libdlrt.a"):
        shutil.copy2(os.path.join(variant(dlcc), name), folder)
    return os.path.join(folder, "dlcc")


def first_error(text):
    """The line of a diagnostic that says why."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if "error:" in line:
            return line.split("error:", 1)[1].strip()
    return lines[0] if lines else "no message"


def dlcc_compile(dlcc, model, output, prefix, options=()):
    """Runs dlcc; returns its exit status and what it said."""
    command = [dlcc, model, "-o", output, "--prefix=" + prefix, *options]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=COMPILE_SECONDS)
    except subprocess.TimeoutExpired:
        return -1, f"error: not done after {COMPILE_SECONDS} s"
    return done.returncode, done.stderr.decode(errors="replace")


# A process begins with the pages of the one that makes it, and they count as
# its own: a small one lies between.
PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL)
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_memory(*command):
    """Bytes that a command had resident at its most."""
    done = subprocess.run([sys.executable, "-c", PEAK, *command],
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True)
    status, kib = map(int, done.stdout.splitlines()[-1].split())
    if status:
        raise RuntimeError(f"{' '.join(command)}: exit status {status}: "
                           f"{done.stderr[-500:]}")
    return kib << 10


def link(dlcc, prefixes, folder, name, source="tests/common/runner.c"):
    """Links FOLDER/PREFIX.o of each prefix with the runner, or another
    source that knows the table of models, to FOLDER/NAME."""
    table = os.path.join(folder, name + "_table.c")
    with open(table, "w") as f:
        f.write("#include <stddef.h>\n")
        for p in prefixes:
            f.write(f'#include "{p}.h"\n')
        f.write("extern const struct dlrt_model *const runner_models[];\n"
                "extern const size_t runner_n_models;\n"
                "const struct dlrt_model *const runner_models[] = {\n")
        for p in prefixes:
            f.write(f"\t&{p}_model,\n")
        f.write("};\nconst size_t runner_n_models = "
                f"{len(prefixes)};\n")
    program = os.path.join(folder, name)
    command = [*shlex.split(os.environ.get("CC", "cc")), "-std=c11", "-O1",
               "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic",
               "-Werror", f"-I{ROOT}/runtime/include", f"-I{ROOT}/compiler",
               f"-I{folder}", "-o", program,
               os.path.join(ROOT, source), table,
               *[os.path.join(folder, p + ".o") for p in prefixes],
               os.path.join(variant(dlcc), "libdlrt.a"), "-lpthread"]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return program


def run(program, cases, folder, env=None):
    """Runs (index, input file, result file) tuples; returns a dict from the
    index to None or to why the case failed.  env: more variables."""
    listing = program + ".cases"
    with open(listing, "w") as f:
        for case in cases:
            f.write("%d %s %s\n" % case)
    done = subprocess.run([program, listing], cwd=folder,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          env={**os.environ, **(env or {})})
    said = {}
    for line in done.stdout.decode(errors="replace").splitlines():
        part = line.split(" ", 2)
        if len(part) < 2 or not part[0].isdigit():
            continue
        said[int(part[0])] = None if part[1] == "ok" else part[2]
    return {c[0]: said.get(c[0], "the runner died") for c in cases}


def onnx_dtype(array):
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def packed_bits(dtype):
    """Bits of an element that shares its byte with others, else None."""
    name = np.dtype(dtype).name
    return 4 if name in ("int4", "uint4", "float4_e2m1fn") else \
        2 if name in ("int2", "uint2") else None


def to_bytes(a):
    """As the ABI has it: types of less than 8 bits are packed, the first
    element in the lowest bits, and what is left of the last byte is 0."""
    bits = packed_bits(a.dtype)
    raw = np.ascontiguousarray(a)
    if bits is None:
        return raw.tobytes()
    per = 8 // bits
    raw = raw.reshape(-1).view(np.uint8) & ((1 << bits) - 1)
    raw = np.pad(raw, (0, -raw.size % per)).reshape(-1, per)
    shifts = np.arange(per, dtype=np.uint8) * bits
    return np.bitwise_or.reduce(raw << shifts, axis=1,
                                dtype=np.uint8).tobytes()


def from_bytes(data, dtype, n):
    bits = packed_bits(dtype)
    if bits is None:
        return np.frombuffer(data, dtype, n)
    shifts = np.arange(8 // bits, dtype=np.uint8) * bits
    raw = np.frombuffer(data, np.uint8)[:, None] >> shifts
    raw = (raw & ((1 << bits) - 1)).reshape(-1)
    if np.any(raw[n:]):
        raise ValueError("the bits behind the last element are not zero")
    return raw[:n].view(dtype)


def write_case(path, inputs, outputs):
    """inputs: name to array; outputs: arrays, of which only the shapes go
    into the file."""
    def head(f, name, a):
        f.write(struct.pack(f"={4 + a.ndim}q", len(name), onnx_dtype(a),
                            a.ndim, *a.shape, len(to_bytes(a))))
        f.write(name)

    with open(path, "wb") as f:
        f.write(struct.pack("=q", len(inputs)))
        for name, a in inputs.items():
            head(f, name.encode(), a)
            f.write(to_bytes(a))
        f.write(struct.pack("=q", len(outputs)))
        for a in outputs:
            head(f, b"", a)


def read_results(path):
    """The outputs that a runner stored."""
    with open(path, "rb") as f:
        data = f.read()
    at = 0

    def take(n):
        nonlocal at
        values = struct.unpack_from(f"={n}q", data, at)
        at += 8 * n
        return values

    _, count = take(2)
    outputs = []
    for _ in range(count):
        dtype, rank = take(2)
        dims = take(rank)
        size, = take(1)
        a = from_bytes(data[at:at + size],
                       helper.tensor_dtype_to_np_dtype(dtype),
                       int(np.prod(dims, dtype=np.int64)))
        at += size
        outputs.append(a.reshape(dims))
    return outputs


def is_float(dtype):
    try:
        ml_dtypes.finfo(dtype)
    except ValueError:
        return False
    return True


def compare(expected, got, rtol, atol):
    """None, or the first difference as a line.  Integers are exact."""
    if len(expected) != len(got):
        return f"{len(got)} outputs, not {len(expected)}"
    for i, (want, have) in enumerate(zip(expected, got)):
        if want.dtype != have.dtype:
            return f"output {i}: dtype {have.dtype}, not {want.dtype}"
        if want.shape != have.shape:
            return f"output {i}: shape {have.shape}, not {want.shape}"
        if is_float(want.dtype):
            w = want.astype(np.float64)
            h = have.astype(np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                same = np.isclose(h, w, rtol, atol, equal_nan=True)
        else:
            w, h = want, have
            same = w == h
        if not np.all(same):
            at = np.unravel_index(np.argmin(same), same.shape)
            return (f"output {i}: {np.count_nonzero(~same)} of {same.size} "
                    f"differ, {list(map(int, at))}: {h[at]}, not {w[at]}")
    return None


def report(passed, failed, unsupported=None):
    """Prints the line that tests/run reads; returns an exit status."""
    line = f"{passed} passed, {failed} failed"
    if unsupported is not None:
        line += f", {unsupported} unsupported"
    print(line)
    sys.stdout.flush()
    return 1 if failed else 0
