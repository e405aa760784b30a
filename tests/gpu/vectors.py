# SPDX-License-Identifier: Apache-2.0
"""Kernels that memory bounds: rows that stay in registers, windows along
channels and chains of elements, 16 bytes at a time, against ONNX Runtime; and
how often their PTX reads and writes what."""
import re

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper

import facts
import nvrtc
from layouts import Net
from rig import error_over_rms, expect, kernels, make_model, tensor

BOUNDS = {np.float32: 5e-6, np.float16: 1e-2, np.float64: 1e-11}
# Lengths at the edges of vectors, of warps and of what threads hold.
LENGTHS = (1, 2, 3, 4, 5, 31, 32, 33, 63, 127, 128, 129, 500, 1000, 1001,
           1024, 1025, 1028)
LONG = (4096, 4100, 8192, 8195, 16384, 16388)


# ---- against ONNX Runtime

def against(rig, name, make, shapes, arch="sm_80", dtype=np.float32,
            exact=np.float64):
    """make(type of all elements) is a model; calls with inputs of each of some
    lists of shapes, against what ONNX Runtime computes of that in f64, or in
    f32 where it has nothing better."""
    rng = np.random.default_rng(7)
    session = onnxruntime.SessionOptions()
    session.log_severity_level = 4
    run = onnxruntime.InferenceSession(
        make(exact).SerializeToString(), session,
        providers=["CPUExecutionProvider"])
    model = make(dtype)
    sets, errors = [], [0.0]
    for each in shapes:
        feeds = {x.name: rng.standard_normal(s).astype(dtype)
                 for x, s in zip(model.graph.input, each)}
        wanted = run.run(None, {k: a.astype(exact)
                                for k, a in feeds.items()})
        sets.append((feeds, [a.astype(dtype) for a in wanted]))
    lib = rig.library(model, name, arch)

    def check(_, want, got):
        errors.append(error_over_rms(want, got))
        return not errors[-1] <= BOUNDS[dtype] and f"error {errors[-1]:.1e}"

    rig.all_ways(lib, sets, check, ("forward", "random:3"))
    return f"error {max(errors):.1e} of the rms"


def norms(nodes, x):
    """A softmax, a norm with a scale, and one behind a sum, of rows."""
    y = [f"{x}_{k}" for k in ("soft", "norm", "sum", "again")]
    nodes += [
        helper.make_node("Softmax", [x], [y[0]], axis=-1),
        helper.make_node("LayerNormalization",
                         [x, f"{x}_scale", f"{x}_shift"], [y[1]], axis=-1),
        helper.make_node("Add", [x, y[1]], [y[2]]),
        helper.make_node("LogSoftmax", [y[2]], [y[3]], axis=-1)]
    return [y[0], y[1], y[3]]


def rows_model(dtype, lengths, count):
    rng = np.random.default_rng(5)
    nodes, weights, inputs, results = [], [], [], []
    for n in lengths:
        x = f"x{n}"
        inputs.append(tensor(x, dtype, [count, n]))
        results += [tensor(y, dtype, [count, n]) for y in norms(nodes, x)]
        for k in ("scale", "shift"):
            w = rng.standard_normal(n).astype(np.float16)
            weights.append(numpy_helper.from_array(w.astype(dtype),
                                                   f"{x}_{k}"))
    return make_model(nodes, inputs, results, weights)


def rows(rig, dtype, lengths, count, arch="sm_80"):
    """`count` is a number of rows, or of symbolic ones a list of some."""
    many = isinstance(count, list)
    dim = "N" if many else count
    name = f"rows_{np.dtype(dtype).name}_{lengths[0]}_{len(lengths)}_{dim}"
    return against(rig, name, lambda t: rows_model(t, lengths, dim),
                   [[(r, n) for n in lengths]
                    for r in (count if many else [count])], arch, dtype)


def dims_model(dtype, images, lines):
    """Rows of more than one dim, columns, rows that may be symbolic."""
    w = [numpy_helper.from_array(np.linspace(-1, 2, 6).astype(np.float16)
                                 .astype(dtype), k) for k in "ab"]
    nodes = [
        helper.make_node("InstanceNormalization", ["x", "a", "b"], ["y"]),
        helper.make_node("Softmax", ["x"], ["t"], axis=1),
        helper.make_node("Softmax", ["z"], ["s"], axis=-1),
        helper.make_node("LpNormalization", ["z"], ["u"], axis=-1, p=2)]
    return make_model(
        nodes, [tensor("x", dtype, images), tensor("z", dtype, lines)],
        [tensor(k, dtype, images) for k in "yt"] +
        [tensor(k, dtype, lines) for k in "su"], w)


def rows_of_dims(rig, images, lines, calls):
    return against(rig, f"dims_{images[0]}_{lines[1]}",
                   lambda t: dims_model(t, images, lines), calls,
                   exact=np.float32)


def chain_model(dtype):
    dims = ["N", "M", "K"]
    return make_model(
        [helper.make_node("Add", ["x", "z"], ["a"]),
         helper.make_node("Sigmoid", ["a"], ["b"]),
         helper.make_node("Mul", ["b", "x"], ["y"]),
         helper.make_node("Transpose", ["y"], ["t"], perm=[1, 0, 2])],
        [tensor(x, dtype, dims) for x in "xz"],
        [tensor("y", dtype, dims), tensor("t", dtype, ["M", "N", "K"])])


def chains(rig, dtype):
    """Elements of symbolic dims, and what is left behind the vectors."""
    name = "chains_" + np.dtype(dtype).name
    text = rig.cuda(chain_model(dtype), name)
    expect(re.search(r"\*\(uint4 \*\)all\d+ = \*\(const uint4 \*\)\(b0 \+ "
                     r"first\)", text), "no vectors of elements")
    shapes = [(1, 1, 1), (0, 3, 4), (1, 3, 1), (1, 1, 4), (5, 1, 1),
              (2, 3, 7), (3, 5, 8), (7, 11, 13)]
    return against(rig, name, chain_model, [[s, s] for s in shapes],
                   dtype=dtype)


def turned(rig, size):
    """A transpose to rows of so many, of which a thread may take some."""
    def model(dtype):
        return make_model(
            [helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])],
            [tensor("x", dtype, [size, "N"])],
            [tensor("y", dtype, ["N", size])])
    return against(rig, f"turned_{size}", model,
                   [[(size, n)] for n in (0, 1, 7, 40)])


def windows(n, c):
    """Depthwise windows and pools between products, which make them lie
    channels-last."""
    x = n.node("Relu", n.conv("x", c, c, 1))
    for k, attrs in ((3, {}), (3, {"strides": [2, 2]}),
                     (5, {"dilations": [1, 2], "pads": [2, 4, 2, 4]})):
        x = n.node("Relu", n.conv(x, c, c, k, group=c, **attrs))
    x = n.conv(x, c, c, 1)
    x = n.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2],
               pads=[1] * 4)
    x = n.conv(x, c, c, 1)
    x = n.node("AveragePool", x, kernel_shape=[3, 2], pads=[1, 0, 1, 1])
    gate = n.node("Sigmoid", n.conv(n.node("GlobalAveragePool", x), c, c, 1))
    return n.conv(n.node("Mul", x, gate), c, c, 1)


def windows_model(dtype, batch, c, size):
    n = Net(np.float16, 3)
    y = windows(n, c)
    weights = [numpy_helper.from_array(numpy_helper.to_array(w).astype(dtype),
                                       w.name) for w in n.weights]
    return make_model(n.nodes, [tensor("x", dtype, (batch, c, size, size))],
                      [tensor(y, dtype, None)], weights)


def windows_run(rig, dtype, batch, c, size, arch="sm_80"):
    return against(rig, f"windows_{np.dtype(dtype).name}_{c}_{arch}",
                   lambda t: windows_model(t, batch, c, size),
                   [[(batch, c, size, size)]], arch, dtype, np.float32)


# ---- what is read and written how often

def accesses(rig, model, name, arch):
    """Of each kernel the text, and {"ld" or "st": kinds of accesses to global
    memory}, in the order of its PTX.  Nothing is in local memory."""
    text = rig.cuda(model, name, arch)
    facts.clean(facts.cubin(text, arch)[1], len(kernels(text)[1]))
    ptx = nvrtc.compile(nvrtc.load(), text, arch.replace("sm", "compute"),
                        ("--std=c++17",)).decode()
    found = []
    for k, body in zip(re.findall(r"\.entry (k\d+)", ptx),
                       re.split(r"\.entry k\d+", ptx)[1:]):
        expect(".local" not in body, f"{k} has local memory")
        found.append((kernels(text)[1][k], {
            what: re.findall(what + r"\.global(?:\.nc)?(\S*)", body)
            for what in ("ld", "st")}))
    return found


def once(rig, dtype, n, arch):
    """Each element of many rows is read once and written once, 16 bytes at a
    time: a thread's share of the row and no more."""
    per = 16 // np.dtype(dtype).itemsize
    threads = 32 if n <= 1024 else 128
    share, kind = -(-n // (threads * per)), np.dtype(dtype).name
    for op, extra in (("Softmax", 0), ("LpNormalization", 0),
                      ("LayerNormalization", 2)):
        names = ["x", "g", "b"][:1 + extra]
        model = make_model(
            [helper.make_node(op, names, ["y"], axis=-1)],
            [tensor("x", dtype, [4096, n])], [tensor("y", dtype, [4096, n])],
            [numpy_helper.from_array(np.ones(n, dtype), w)
             for w in names[1:]])
        (text, got), = accesses(rig, model, f"once_{op}_{kind}_{n}_{arch}",
                                  arch)
        expect(text.count("(b0 + ") == 1, f"{op}: rows are read again")
        expect(len(got["ld"]) == (1 + extra) * share and
               len(got["st"]) == share and
               all(".v4" in x for x in got["ld"] + got["st"]),
               f"{op}: {share} of each, not {got}")
    return f"{share} accesses of a thread"


def down(rig, arch):
    """Columns, and rows that are too short for several threads: each has a
    thread, which reads and writes it once."""
    for shape, axis in (((16, 21, 64, 64), 1), ((5000, 11), 1)):
        model = make_model(
            [helper.make_node("Softmax", ["x"], ["y"], axis=axis)],
            [tensor("x", np.float32, shape)],
            [tensor("y", np.float32, shape)])
        (text, got), = accesses(rig, model, f"down_{len(shape)}_{arch}", arch)
        expect(text.count("(b0 + ") == 1, "columns are read again")
        expect(len(got["ld"]) == len(got["st"]) == shape[axis], f"{got}")


def of_channels(rig, dtype, arch):
    """Windows and pools: all accesses are 16 bytes.  Of 3 x 3, which have four
    points at once, each element that these share is read once."""
    model = windows_model(dtype, 64, 64, 56)
    found = accesses(rig, model, f"of_channels_{arch}", arch)
    looped = [(text, got) for text, got in found
              if len(re.findall(r"= 0; i\d+ < [235]; ", text)) == 2]
    expect(len(looped) == 2, f"{len(looped)} kernels with loops over taps")
    for text, got in looped:
        narrow = [x for x in got["ld"] + got["st"] if ".v4" not in x]
        expect(not narrow, f"{text[:300]}: {narrow}")
    counts = []
    for text, got in found:
        loads = re.findall(r"\*\(const uint4 \*\)(\(b.*\));", text)
        if all(".v4" in x for x in got["ld"] + got["st"]) and \
                len(loads) == len(set(loads)):
            counts.append((len(loads), len(got["st"])))
    # Of 3 x 6 elements, or 3 x 9 with strides; weights; and what is added.
    for stride, loads in ((1, 18), (2, 27)):
        expect((loads + 9 + 1, 4) in counts,
               f"stride {stride}: {loads + 10} loads are not in {counts}")


def of_elements(rig, arch):
    """A chain of half floats whose dims are no multiples of eight."""
    dims = [33, 17, 75, 75]
    model = make_model(
        [helper.make_node("Add", ["x", "z"], ["a"]),
         helper.make_node("Relu", ["a"], ["y"])],
        [tensor(x, np.float16, dims) for x in "xz"],
        [tensor("y", np.float16, dims)])
    (text, got), = accesses(rig, model, f"of_elements_{arch}", arch)
    wide = {w: [x for x in got[w] if ".v4" in x] for w in got}
    # Several times where NVRTC unrolls the loop.
    expect(len(wide["ld"]) == 2 * len(wide["st"]) > 0 and
           " % " not in text.split("all", 1)[1].split("for (int v", 1)[0],
           f"{got}")


def cases(rig, full):
    for dtype in (np.float32, np.float16):
        kind = np.dtype(dtype).name
        yield f"rows-{kind}", lambda t=dtype: rows(rig, t, LENGTHS, 5)
        yield f"rows-of-warps-{kind}", \
            lambda t=dtype: rows(rig, t, (33, 129, 1000, 1001), 1061)
        yield f"rows-long-{kind}", lambda t=dtype: rows(rig, t, LONG, 3)
        yield f"rows-symbolic-{kind}", \
            lambda t=dtype: rows(rig, t, (3, 40, 768), [0, 1, 7])
        yield f"windows-{kind}", lambda t=dtype: windows_run(rig, t, 9, 64,
                                                             53)
        yield f"chains-{kind}", lambda t=dtype: chains(rig, t)
    for size in (6, 8, 10, 11, 12):
        yield f"turned-{size}", lambda s=size: turned(rig, s)
    yield "rows-float64", lambda: rows(rig, np.float64, (5, 100, 1000, 4098),
                                       3)
    yield "rows-of-dims", lambda: rows_of_dims(
        rig, [2, 6, 30, 35], [3, 300], [[(2, 6, 30, 35), (3, 300)]])
    yield "rows-of-symbols", lambda: rows_of_dims(
        rig, ["N", 6, "H", "W"], ["M", "K"],
        [[(2, 6, 5, 7), (3, 4)], [(1, 6, 12, 12), (5, 129)],
         [(3, 6, 1, 2), (2, 1)], [(1, 6, 9, 30), (1, 1000)]])
    yield "windows-few", lambda: windows_run(rig, np.float32, 40, 36, 27)
    for arch in facts.ARCHS if full else ("sm_75", "sm_80", "sm_90a"):
        for n in (768, 1024, 4096):
            for dtype in (np.float32, np.float16):
                yield f"once-{np.dtype(dtype).name}-{n}-{arch}", \
                    lambda t=dtype, n=n, a=arch: once(rig, t, n, a)
        yield f"down-{arch}", lambda a=arch: down(rig, a)
        yield f"of-elements-{arch}", lambda a=arch: of_elements(rig, a)
        yield f"of-channels-{arch}", \
            lambda a=arch: of_channels(rig, np.float16, a)
